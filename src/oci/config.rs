//! Configs: what a container of an image runs, and the diff IDs of its layers.

use super::descriptor::read_digest;
use super::platform::Platform;
use super::{json, malformed, manifest, unsupported};
use crate::archive::Digest;
use crate::error::Result;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a config says, as far as it is looked at here. No text has a NUL in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// What the image runs on, where it tells.
    pub platform: Option<Platform>,
    /// The diff IDs of its layers, the lowest first.
    pub diff_ids: Vec<Digest>,
    /// `KEY=value`, each.
    pub env: Vec<String>,
    /// The words of the command that always come first.
    pub entrypoint: Vec<String>,
    /// The words that come next, unless others are given.
    pub cmd: Vec<String>,
    /// Where it starts.
    pub working_dir: Option<String>,
    /// As whom it runs: `user`, `uid`, `user:group` or `uid:gid`.
    pub user: Option<String>,
    /// Keys and values, sorted.
    pub labels: Vec<(String, String)>,
}

impl Config {
    /// Reads a config.
    pub fn parse(data: &[u8]) -> Result<Config> {
        let object = json::object(data)?;
        let mut config = Config {
            platform: Platform::read(&object)?,
            diff_ids: diff_ids(&object)?,
            ..Config::default()
        };
        let Some(run) = json::member(&object, "config")? else {
            return Ok(config);
        };
        config.env = json::texts(run, "Env")?.unwrap_or_default();
        config.entrypoint = words(run, "Entrypoint")?;
        config.cmd = words(run, "Cmd")?;
        let given = |key| json::text(run, key).map(|text| text.filter(|text| !text.is_empty()));
        config.working_dir = given("WorkingDir")?.map(str::to_string);
        config.user = given("User")?.map(str::to_string);
        if let Some(labels) = json::member(run, "Labels")? {
            for key in labels.keys() {
                let value = json::text(labels, key)?.unwrap_or_default();
                config.labels.push((key.clone(), value.to_string()));
            }
        }
        config.need_no_nul()?;
        Ok(config)
    }

    fn need_no_nul(&self) -> Result<()> {
        let labels = self.labels.iter().flat_map(|(key, value)| [key, value]);
        let lists = [&self.env, &self.entrypoint, &self.cmd]
            .into_iter()
            .flatten();
        let mut all = lists
            .chain(&self.working_dir)
            .chain(&self.user)
            .chain(labels);
        match all.any(|text| text.contains('\0')) {
            true => Err(malformed("a text in it holds a NUL")),
            false => Ok(()),
        }
    }

    /// The config with other diff IDs; all else stays as it was written.
    pub fn with_diff_ids(data: &[u8], diff_ids: &[Digest]) -> Result<Vec<u8>> {
        type Members = BTreeMap<String, Box<RawValue>>;
        fn read(text: &str) -> Result<Members> {
            serde_json::from_str(text).map_err(|error| malformed(format!("not JSON: {error}")))
        }
        let unsaid = |error: serde_json::Error| malformed(format!("not JSON: {error}"));
        let text = std::str::from_utf8(data).map_err(|_| malformed("not JSON: it is no UTF-8"))?;
        let mut config = read(text)?;
        let mut rootfs = match config.get("rootfs") {
            Some(rootfs) => read(rootfs.get())?,
            None => Members::new(),
        };
        let ids: Vec<String> = diff_ids.iter().map(Digest::to_string).collect();
        rootfs.insert(
            "diff_ids".into(),
            serde_json::value::to_raw_value(&ids).map_err(unsaid)?,
        );
        config.insert(
            "rootfs".into(),
            serde_json::value::to_raw_value(&rootfs).map_err(unsaid)?,
        );
        serde_json::to_vec(&config).map_err(unsaid)
    }
}

fn diff_ids(object: &Map<String, Value>) -> Result<Vec<Digest>> {
    let Some(rootfs) = json::member(object, "rootfs")? else {
        return Err(malformed("it has no \"rootfs\""));
    };
    match json::need_text(rootfs, "type")? {
        "layers" => {}
        other => {
            return Err(unsupported(format!(
                "a rootfs of type \"{other}\" is not supported"
            )));
        }
    }
    let ids = json::texts(rootfs, "diff_ids")?.unwrap_or_default();
    manifest::check_count(ids.len())?;
    ids.iter().map(|id| read_digest(id)).collect()
}

/// The words of a command. Old writers put a single one without its array.
fn words(object: &Map<String, Value>, key: &str) -> Result<Vec<String>> {
    match object.get(key) {
        Some(Value::String(word)) => Ok(vec![word.clone()]),
        _ => Ok(json::texts(object, key)?.unwrap_or_default()),
    }
}

/// The chain ID of each layer: of the lowest its diff ID, of every other the SHA-256 of the one
/// below, a space, and its diff ID.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = match chain.last() {
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
            None => *diff_id,
        };
        chain.push(next);
    }
    chain
}
