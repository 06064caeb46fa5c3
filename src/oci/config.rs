//! Configs: what a container of an image runs, and the diff IDs of its layers.

use super::descriptor::read_digest;
use super::json::{self, List, Object, Texts, Words, need};
use super::platform::{self, Platform};
use super::{MAX_LAYERS, MAX_WORDS, malformed, manifest, unsupported};
use crate::archive::Digest;
use crate::error::Result;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A config as it is written.
#[derive(Deserialize)]
struct Written {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    rootfs: Option<Object<Rootfs>>,
    config: Option<Object<Run>>,
}

#[derive(Deserialize)]
struct Rootfs {
    r#type: Option<String>,
    diff_ids: Option<List<String, MAX_LAYERS>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Run {
    env: Option<List<String, MAX_WORDS>>,
    entrypoint: Option<Words>,
    cmd: Option<Words>,
    working_dir: Option<String>,
    user: Option<String>,
    labels: Option<Texts>,
}

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
        let written: Written = json::object(data)?;
        let platform = platform::Written {
            os: written.os,
            architecture: written.architecture,
            variant: written.variant,
        };
        let mut config = Config {
            platform: platform.read(),
            diff_ids: diff_ids(need(written.rootfs, "rootfs")?)?,
            ..Config::default()
        };
        let Some(Object(run)) = written.config else {
            return Ok(config);
        };
        let words = |words: Option<Words>| words.unwrap_or_default().0.all("words of a command");
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        config.env = run.env.unwrap_or_default().all("variables")?;
        config.entrypoint = words(run.entrypoint)?;
        config.cmd = words(run.cmd)?;
        config.working_dir = given(run.working_dir);
        config.user = given(run.user);
        let labels = run.labels.unwrap_or_default();
        if labels.too_many {
            let message = format!("more than {MAX_WORDS} labels");
            return Err(json::too_much(message));
        }
        let labels = labels.pairs.into_iter();
        let pairs = labels.map(|(key, value)| (key, value.unwrap_or_default()));
        config.labels = pairs.collect();
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

    /// The config with other diff IDs; all else stays as it was written, to the byte.
    pub fn with_diff_ids(data: &[u8], diff_ids: &[Digest]) -> Result<Vec<u8>> {
        #[derive(Deserialize)]
        struct Outer<'a> {
            #[serde(borrow)]
            rootfs: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Inner<'a> {
            #[serde(borrow)]
            diff_ids: Option<&'a RawValue>,
        }
        let outer: Outer<'_> = json::object(data)?;
        let rootfs = need(outer.rootfs, "rootfs")?.get();
        let inner: Inner<'_> = json::object(rootfs.as_bytes())?;
        let old = need(inner.diff_ids, "diff_ids")?.get();
        let ids: Vec<String> = diff_ids.iter().map(|id| format!("\"{id}\"")).collect();
        let new = format!("[{}]", ids.join(","));
        // It is a part of `data`.
        let start = (old.as_ptr() as usize).wrapping_sub(data.as_ptr() as usize);
        let rest = start.checked_add(old.len());
        match (data.get(..start), rest.and_then(|rest| data.get(rest..))) {
            (Some(before), Some(after)) => Ok([before, new.as_bytes(), after].concat()),
            _ => Err(malformed("its diff IDs are not in it")),
        }
    }
}

fn diff_ids(Object(rootfs): Object<Rootfs>) -> Result<Vec<Digest>> {
    match need(rootfs.r#type, "type")?.as_str() {
        "layers" => {}
        other => {
            return Err(unsupported(format!(
                "a rootfs of type \"{other}\" is not supported"
            )));
        }
    }
    let ids = rootfs.diff_ids.unwrap_or_default();
    manifest::check_count(ids.count)?;
    ids.items.iter().map(|id| read_digest(id)).collect()
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
