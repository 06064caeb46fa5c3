//! Descriptors: what a blob is, its digest and its size.

use super::json::{Object, need};
use super::platform::{self, Platform};
use super::{malformed, unsupported};
use crate::archive::Digest;
use crate::error::Result;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// A descriptor as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    media_type: Option<String>,
    digest: Option<String>,
    size: Option<u64>,
    platform: Option<Object<platform::Written>>,
    annotations: Option<Object<Annotations>>,
}

/// By its writer's choice a descriptor in an index bears the image's name in one of these.
#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "io.containerd.image.name")]
    containerd: Option<String>,
    #[serde(rename = "org.opencontainers.image.ref.name")]
    oci: Option<String>,
    /// BuildKit marks so what tells of another manifest and is no image.
    #[serde(rename = "vnd.docker.reference.type")]
    reference_type: Option<IgnoredAny>,
}

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
    /// What a descriptor says. Its digest is looked at when it is asked for: one of an unknown
    /// algorithm that nobody needs does no harm.
    pub(super) fn read(Object(written): Object<Written>) -> Result<Descriptor> {
        let platform = written.platform.and_then(|Object(one)| one.read());
        let (mut names, mut attestation) = (Vec::new(), false);
        if let Some(Object(annotations)) = written.annotations {
            names.extend(annotations.containerd);
            names.extend(annotations.oci);
            attestation = annotations.reference_type.is_some();
        }
        attestation |= platform.as_ref().is_some_and(Platform::is_unknown);
        Ok(Descriptor {
            media_type: written.media_type.unwrap_or_default(),
            size: need(written.size, "size")?,
            platform,
            names,
            attestation,
            digest: need(written.digest, "digest")?,
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
