//! A layer's `meta`: key=value text whose last line is a checksum of the rest.
//!
//! A layer without a whole `meta` was never made. Unknown keys are kept when it is written again;
//! an unknown kind refuses that layer alone.

use super::id;
use super::options::{Kind, State};
use super::text::{self, damaged};
use crate::archive::Digest;
use crate::error::{Code, Errno, Error, Result};
use crate::sys::fs::Time;
#[cfg(doc)]
use crate::sys::ids::IdMaps;

/// The name of the file.
pub const FILE: &str = "meta";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// How the content is kept.
    pub kind: Kind,
    /// Whether it may change.
    pub state: State,
    /// The layer that a `root` layer was made over; an overlay layer says it in `lower-id`.
    pub parent: Option<String>,
    /// Trees below its own.
    pub lowers: u32,
    /// When it was made.
    pub created: Time,
    /// The layer whose upper was copied.
    pub copied_from: Option<String>,
    /// See [`LayerInfo`](super::options::LayerInfo) for these.
    pub diff_id: Option<Digest>,
    /// SHA-256 of the blob.
    pub blob_digest: Option<Digest>,
    /// Size as the design defines it; known once committed.
    pub size: Option<u64>,
    /// Entries of the tar.
    pub entries: u64,
    /// Bytes of the tar.
    pub tar_size: u64,
    /// Bytes of the blob.
    pub blob_size: u64,
    /// SHA-256 of `manifest`.
    pub manifest: Option<Digest>,
    /// What was left out of the tar when it was applied: devices, owners, extended attributes.
    pub skipped: [u64; 3],
    /// The user namespace whose ids the manifest has, see [`IdMaps::word`]; none is the first.
    pub ids: Option<String>,
    /// Keys of a later version.
    pub unknown: Vec<(String, String)>,
}

impl Meta {
    /// A new layer.
    pub fn new(kind: Kind, state: State, created: Time) -> Self {
        Meta {
            kind,
            state,
            parent: None,
            lowers: 0,
            created,
            copied_from: None,
            diff_id: None,
            blob_digest: None,
            size: None,
            entries: 0,
            tar_size: 0,
            blob_size: 0,
            manifest: None,
            skipped: [0; 3],
            ids: None,
            unknown: Vec::new(),
        }
    }

    /// The text of the file.
    pub fn write(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &str| text::line(&mut text, key, value);
        let digest = |d: &Option<Digest>| d.as_ref().map(ToString::to_string);
        line(
            "kind",
            if self.kind == Kind::Root {
                "root"
            } else {
                "overlay"
            },
        );
        let committed = self.state == State::Committed;
        line("state", if committed { "committed" } else { "writable" });
        line("created", &text::write_time(self.created));
        line("lowers", &self.lowers.to_string());
        let words = [
            ("parent", &self.parent),
            ("copied_from", &self.copied_from),
            ("ids", &self.ids),
        ];
        for (key, value) in words {
            if let Some(value) = value {
                line(key, value);
            }
        }
        let digests = [
            ("diff_id", digest(&self.diff_id)),
            ("blob_digest", digest(&self.blob_digest)),
            ("manifest", digest(&self.manifest)),
            ("size", self.size.map(|size| size.to_string())),
        ];
        for (key, value) in digests {
            if let Some(value) = value {
                line(key, &value);
            }
        }
        let counts = [
            ("entries", self.entries),
            ("tar_size", self.tar_size),
            ("blob_size", self.blob_size),
            ("skipped_devices", self.skipped[0]),
            ("skipped_owners", self.skipped[1]),
            ("skipped_xattrs", self.skipped[2]),
        ];
        for (key, value) in counts {
            if value > 0 {
                line(key, &value.to_string());
            }
        }
        for (key, value) in &self.unknown {
            line(key, value);
        }
        text::seal(text)
    }

    /// Reads the text of the file.
    pub fn parse(data: &[u8]) -> Result<Meta> {
        let body = text::sealed(data, FILE)?;
        let mut meta = Meta::new(Kind::Root, State::Writable, Time::default());
        let (mut kind, mut state) = (None, None);
        for (key, value) in text::pairs(body)? {
            match key.as_str() {
                "kind" => kind = Some(read_kind(&value)?),
                "state" => {
                    state = Some(match value.as_str() {
                        "writable" => State::Writable,
                        "committed" => State::Committed,
                        _ => return Err(damaged(format!("unknown state={value}"))),
                    });
                }
                "created" => meta.created = text::time(&value)?,
                "lowers" => meta.lowers = text::number(&value)?,
                "parent" => meta.parent = Some(read_id(value)?),
                "copied_from" => meta.copied_from = Some(read_id(value)?),
                "diff_id" => meta.diff_id = Some(text::digest(&value)?),
                "blob_digest" => meta.blob_digest = Some(text::digest(&value)?),
                "manifest" => meta.manifest = Some(text::digest(&value)?),
                "ids" => meta.ids = Some(value),
                "size" => meta.size = Some(text::number(&value)?),
                "entries" => meta.entries = text::number(&value)?,
                "tar_size" => meta.tar_size = text::number(&value)?,
                "blob_size" => meta.blob_size = text::number(&value)?,
                "skipped_devices" => meta.skipped[0] = text::number(&value)?,
                "skipped_owners" => meta.skipped[1] = text::number(&value)?,
                "skipped_xattrs" => meta.skipped[2] = text::number(&value)?,
                _ => meta.unknown.push((key, value)),
            }
        }
        meta.kind = kind.ok_or_else(|| damaged("meta has no kind"))?;
        meta.state = state.ok_or_else(|| damaged("meta has no state"))?;
        Ok(meta)
    }
}

fn read_kind(value: &str) -> Result<Kind> {
    match value {
        "root" => Ok(Kind::Root),
        "overlay" => Ok(Kind::Overlay),
        other => Err(Error::new(
            Code::Format,
            Errno::OPNOTSUPP,
            format!("the layer is of a kind that this version does not know: {other}"),
        )),
    }
}

fn read_id(value: String) -> Result<String> {
    match id::check(value.as_bytes()) {
        Ok(_) => Ok(value),
        Err(_) => Err(damaged(format!("not an id: {value}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Meta {
        Meta {
            parent: Some("base".into()),
            lowers: 3,
            copied_from: Some("c-init".into()),
            diff_id: Some(Digest::of(b"x")),
            blob_digest: Some(Digest::of(b"y")),
            manifest: Some(Digest::of(b"z")),
            ids: Some("0:1000:1/0:1000:1".into()),
            size: Some(0),
            entries: 5,
            tar_size: 10240,
            blob_size: 99,
            skipped: [1, 0, 3],
            unknown: vec![("later".into(), "a=b".into())],
            ..Meta::new(Kind::Overlay, State::Committed, Time { sec: -1, nsec: 7 })
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let small = Meta::new(Kind::Root, State::Writable, Time { sec: 1, nsec: 0 });
        for meta in [full(), small] {
            assert_eq!(Meta::parse(meta.write().as_bytes()).unwrap(), meta);
        }
    }

    #[test]
    fn any_damage_is_seen() {
        let text = full().write().into_bytes();
        for cut in 0..text.len() {
            assert_eq!(
                Meta::parse(&text[..cut]).unwrap_err().code(),
                Code::Damaged,
                "{cut}"
            );
        }
        for at in 0..text.len() {
            let mut bad = text.clone();
            bad[at] ^= 1;
            assert!(Meta::parse(&bad).is_err(), "{at}");
        }
        let twice = [&text[..], &text[..]].concat();
        assert!(Meta::parse(&twice).is_err());
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let text = full().write().replace("kind=overlay", "kind=erofs");
        let body = &text[..text.find("checksum").unwrap()];
        let text = format!("{body}checksum={}\n", Digest::of(body.as_bytes()));
        assert_eq!(
            Meta::parse(text.as_bytes()).unwrap_err().code(),
            Code::Format
        );
    }
}
