//! `image/<name>/`: three files, made together and never changed.
//!
//! ```text
//! layers      key=value text, sealed by a checksum; see below
//! config      the config as it came
//! manifest    the manifest as it came; none where there was none
//! ```
//!
//! `layers` says `created`, `config` (its digest), `manifest` and `media_type` where there is one,
//! `blobs=1` where the layers' blobs are kept, and a line for each layer, the lowest first:
//! `layer=<id> <diff ID>`, followed by the blob's digest and size where it is kept. Unknown keys are
//! passed over.

use super::options::ImageInfo;
use crate::archive::Digest;
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::oci::{self, Config, MAX_JSON};
use crate::store::stage::Stage;
use crate::store::text::{self, damaged};
use crate::store::{damaged as broken, id};
use crate::sys::OwnedFd;
use crate::sys::fs::Time;

const LAYERS: &str = "layers";
const CONFIG: &str = "config";
const MANIFEST: &str = "manifest";

/// The names of the files.
pub const FILES: [&str; 3] = [LAYERS, CONFIG, MANIFEST];

/// A layer that an image lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// What its tar hashes to.
    pub diff_id: Digest,
    /// The blob that it came in, and its size, where that is kept.
    pub blob: Option<(Digest, u64)>,
}

/// What `layers` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the image was imported.
    pub created: Time,
    /// The manifest and its media type.
    pub manifest: Option<(Digest, String)>,
    /// The config.
    pub config: Digest,
    /// The layers, the lowest first.
    pub layers: Vec<Listed>,
    /// Their blobs are kept.
    pub kept: bool,
}

impl Record {
    /// The id of the topmost layer.
    pub fn top(&self) -> Option<&str> {
        self.layers.last().map(|layer| layer.id.as_str())
    }

    /// The blobs that are kept for it.
    pub fn blobs(&self) -> impl Iterator<Item = (Digest, u64)> + '_ {
        self.layers.iter().filter_map(|layer| layer.blob)
    }

    /// What is told of it; sizes are the layers'.
    pub fn info(&self) -> ImageInfo {
        ImageInfo {
            layer: self.top().map(str::to_string),
            manifest: self.manifest.as_ref().map(|(digest, _)| *digest),
            config: Some(self.config),
            layers: self.layers.len() as u64,
            created: self.created,
            blobs: self.kept,
            ..ImageInfo::default()
        }
    }

    /// The text of `layers`.
    fn text(&self) -> String {
        let mut text = String::new();
        text::line(&mut text, "created", &text::write_time(self.created));
        if let Some((digest, media_type)) = &self.manifest {
            text::line(&mut text, "manifest", &digest.to_string());
            text::line(&mut text, "media_type", media_type);
        }
        text::line(&mut text, "config", &self.config.to_string());
        if self.kept {
            text::line(&mut text, "blobs", "1");
        }
        for layer in &self.layers {
            let blob = match layer.blob {
                Some((digest, size)) => format!(" {digest} {size}"),
                None => String::new(),
            };
            let value = format!("{} {}{blob}", layer.id, layer.diff_id);
            text::line(&mut text, "layer", &value);
        }
        text::seal(text)
    }

    fn parse(data: &[u8]) -> Result<Record> {
        let body = text::sealed(data, LAYERS)?;
        let mut record = Record {
            created: Time::default(),
            manifest: None,
            config: Digest([0; 32]),
            layers: Vec::new(),
            kept: false,
        };
        let (mut config, mut media_type, mut manifest) = (None, None, None);
        for (key, value) in text::pairs(body)? {
            match key.as_str() {
                "created" => record.created = text::time(&value)?,
                "manifest" => manifest = Some(text::digest(&value)?),
                "media_type" => media_type = Some(value),
                "config" => config = Some(text::digest(&value)?),
                "blobs" => record.kept = value == "1",
                "layer" => record.layers.push(listed(&value)?),
                _ => {}
            }
        }
        record.config = config.ok_or_else(|| damaged("layers has no config"))?;
        record.manifest = manifest.zip(media_type);
        Ok(record)
    }

    /// Writes all three files into the stage.
    pub fn write(&self, stage: &Stage<'_>, manifest: Option<&[u8]>, config: &[u8]) -> Result<()> {
        let text = self.text();
        let files = [
            (CONFIG, Some(config)),
            (MANIFEST, manifest),
            (LAYERS, Some(text.as_bytes())),
        ];
        let there = |(name, data): (&'static str, Option<_>)| data.map(|data| (name, data));
        let files: Vec<_> = files.into_iter().filter_map(there).collect();
        text::create_whole(stage.dir()?, stage.maker(), &files)
    }

    /// The record in an image's directory. What is missing or wrong is [`Code::Damaged`].
    pub fn read(dir: &OwnedFd) -> Result<Record> {
        Record::parse(&file(dir, LAYERS)?)
    }

    /// The config, which must be the one that `layers` names.
    pub fn read_config(&self, dir: &OwnedFd) -> Result<Vec<u8>> {
        whole(dir, CONFIG, &self.config)
    }

    /// The manifest, where there is one.
    pub fn read_manifest(&self, dir: &OwnedFd) -> Result<Option<Vec<u8>>> {
        match &self.manifest {
            Some((digest, _)) => whole(dir, MANIFEST, digest).map(Some),
            None => Ok(None),
        }
    }
}

/// What the layers of an image are that lost its `layers`: its config tells, if that can be read.
/// Nothing vouches for it, so it is good for looking, and no more.
pub fn layers_by_config(dir: &OwnedFd) -> Vec<Listed> {
    let Ok(config) = file(dir, CONFIG).and_then(|data| Config::parse(&data)) else {
        return Vec::new();
    };
    let chain = oci::chain_ids(&config.diff_ids);
    let both = chain.iter().zip(config.diff_ids);
    both.map(|(chain, diff_id)| Listed {
        id: super::layer_id(chain),
        diff_id,
        blob: None,
    })
    .collect()
}

fn listed(value: &str) -> Result<Listed> {
    let bad = || damaged(format!("not a layer: {value}"));
    let mut words = value.split(' ');
    let (Some(id), Some(diff_id)) = (words.next(), words.next()) else {
        return Err(bad());
    };
    let id = id::check(id.as_bytes()).map_err(|_| bad())?.to_string();
    let blob = match (words.next(), words.next()) {
        (Some(digest), Some(size)) => Some((text::digest(digest)?, text::number(size)?)),
        (None, _) => None,
        (Some(_), None) => return Err(bad()),
    };
    Ok(Listed {
        id,
        diff_id: text::digest(diff_id)?,
        blob,
    })
}

fn whole(dir: &OwnedFd, name: &str, digest: &Digest) -> Result<Vec<u8>> {
    let data = file(dir, name)?;
    match Digest::of(&data) == *digest {
        true => Ok(data),
        false => Err(damaged(format!(
            "{name} is not the one that it was imported with"
        ))),
    }
}

fn file(dir: &OwnedFd, name: &str) -> Result<Vec<u8>> {
    let lost = |words: &str| Error::new(Code::Damaged, Errno::IO, words.to_string());
    match text::read_to(dir, name, usize::try_from(MAX_JSON).unwrap_or(usize::MAX)) {
        Ok(data) => Ok(data),
        Err(Errno::NOENT) => Err(lost(&format!("the image has no {name}"))),
        Err(errno) if broken::is_wrong_inode(errno) => {
            Err(lost(&format!("the image's {name} is no file")))
        }
        Err(errno) => Err(errno).call_at("read", name),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn full() -> Record {
        let listed = |n: &str, blob| Listed {
            id: format!("sha256-{n}"),
            diff_id: Digest::of(n.as_bytes()),
            blob,
        };
        Record {
            created: Time { sec: 5, nsec: 7 },
            manifest: Some((Digest::of(b"m"), "application/x+json".into())),
            config: Digest::of(b"c"),
            layers: vec![listed("a", Some((Digest::of(b"b"), 9))), listed("b", None)],
            kept: true,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let small = Record {
            manifest: None,
            layers: Vec::new(),
            kept: false,
            ..full()
        };
        for record in [full(), small] {
            assert_eq!(Record::parse(record.text().as_bytes()).unwrap(), record);
        }
    }

    #[test]
    fn any_damage_is_seen() {
        let text = full().text().into_bytes();
        for cut in 0..text.len() {
            assert_eq!(
                Record::parse(&text[..cut]).unwrap_err().code(),
                Code::Damaged
            );
        }
        for at in 0..text.len() {
            let mut bad = text.clone();
            bad[at] ^= 1;
            assert!(Record::parse(&bad).is_err(), "{at}");
        }
    }
}
