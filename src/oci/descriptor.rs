//! Descriptors: what a blob is, its digest and its size.

use super::platform::Platform;
use super::{json, malformed, unsupported};
use crate::archive::Digest;
use crate::error::Result;
use serde_json::Value;

/// By its writer's choice a descriptor in an index bears the image's name in one of these.
const NAMES: [&str; 2] = [
    "io.containerd.image.name",
    "org.opencontainers.image.ref.name",
];

/// BuildKit marks so what tells of another manifest and is no image.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// What the blob is; empty where the writer left it out.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// What the image in it runs on.
    pub platform: Option<Platform>,
    /// The names of the image in it.
    pub names: Vec<String>,
    /// It tells of another manifest, and is no image.
    pub attestation: bool,
    digest: String,
}

impl Descriptor {
    /// Reads a descriptor. Its digest is looked at when it is asked for: one of an unknown
    /// algorithm that nobody needs does no harm.
    pub fn read(value: &Value) -> Result<Descriptor> {
        let object = json::as_object(value)?;
        let platform = match json::member(object, "platform")? {
            Some(platform) => Platform::read(platform)?,
            None => None,
        };
        let (mut names, mut attestation) = (Vec::new(), false);
        if let Some(annotations) = json::member(object, "annotations")? {
            for key in NAMES {
                names.extend(json::text(annotations, key)?.map(str::to_string));
            }
            attestation = annotations.contains_key(REFERENCE_TYPE);
        }
        attestation |= platform.as_ref().is_some_and(Platform::is_unknown);
        Ok(Descriptor {
            media_type: json::text(object, "mediaType")?
                .unwrap_or_default()
                .to_string(),
            size: json::need_number(object, "size")?,
            platform,
            names,
            attestation,
            digest: json::need_text(object, "digest")?.to_string(),
        })
    }

    /// A descriptor of our own.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.to_string(),
            size,
            platform: None,
            names: Vec::new(),
            attestation: false,
            digest: digest.to_string(),
        }
    }

    /// Its digest; EOPNOTSUPP for another algorithm than SHA-256.
    pub fn digest(&self) -> Result<Digest> {
        read_digest(&self.digest)
    }

    /// The digest as it was written, for comparing and for messages.
    pub fn digest_text(&self) -> &str {
        &self.digest
    }

    pub(super) fn write(&self) -> Value {
        serde_json::json!({
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        })
    }
}

/// A digest of somebody else's.
pub(super) fn read_digest(text: &str) -> Result<Digest> {
    if let Ok(digest) = Digest::parse(text) {
        return Ok(digest);
    }
    let algorithm = text.split_once(':').map(|(algorithm, _)| algorithm);
    match algorithm {
        Some(name) if name != "sha256" && name.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            Err(unsupported(format!(
                "digests by {name} are not supported, only by sha256"
            )))
        }
        _ => Err(malformed(
            "a digest is \"sha256:\" and 64 lower-case hex digits",
        )),
    }
}
