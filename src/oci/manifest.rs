//! Manifests: which config and which layers make an image. OCI's and docker's version 2.

use super::descriptor::{self, Descriptor};
use super::json::{self, List, Object, need};
use super::{MAX_LAYERS, malformed, unsupported};
use crate::error::{Code, Errno, Error, Result};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The media type of a manifest of ours.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of a layer of ours.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

const LAYERS: [&str; 6] = [
    OCI_LAYER,
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

/// Layers that may be distributed by their owners alone, and so may be absent.
const FOREIGN: [&str; 5] = [
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];

/// Whether a media type is that of an index or a manifest list.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// Whether a media type is that of a manifest.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// One layer of a manifest.
#[derive(Clone, Debug)]
pub struct LayerBlob {
    /// Which blob.
    pub descriptor: Descriptor,
    /// It may be absent where its owner alone distributes it.
    pub foreign: bool,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its media type.
    pub media_type: String,
    /// The config's blob.
    pub config: Descriptor,
    /// The layers' blobs, the lowest first.
    pub layers: Vec<LayerBlob>,
}

/// A manifest as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<Object<descriptor::Written>>,
    layers: Option<List<Object<descriptor::Written>, MAX_LAYERS>>,
}

impl Manifest {
    /// Reads a manifest; `told` is the media type that its descriptor gives.
    pub fn parse(data: &[u8], told: &str) -> Result<Manifest> {
        let manifest: Written = json::object(data)?;
        check_schema(manifest.schema_version)?;
        if manifest.manifests.is_some() {
            return Err(malformed("it is a manifest and an index at once"));
        }
        let own = manifest.media_type.unwrap_or_default();
        let media_type = match (told, own.as_str()) {
            ("", "") => OCI_MANIFEST,
            ("", own) => own,
            (told, own) if own.is_empty() || own == told => told,
            (told, own) => {
                return Err(malformed(format!(
                    "it is a {own}, and its descriptor says {told}"
                )));
            }
        };
        if !is_manifest(media_type) {
            return Err(unsupported(format!(
                "manifests of type {media_type} are not supported"
            )));
        }
        let config = Descriptor::read(need(manifest.config, "config")?)?;
        if !matches!(config.media_type.as_str(), OCI_CONFIG | DOCKER_CONFIG) {
            return Err(unsupported(format!(
                "it is no image, but an artifact: its config is of type \"{}\"",
                config.media_type
            )));
        }
        let layers = manifest.layers.unwrap_or_default();
        check_count(layers.count)?;
        Ok(Manifest {
            media_type: media_type.to_string(),
            config,
            layers: layers.items.into_iter().map(layer).collect::<Result<_>>()?,
        })
    }

    /// The text of a manifest of these blobs; the same blobs give the same bytes.
    pub fn write(config: &Descriptor, layers: &[Descriptor]) -> Vec<u8> {
        serde_json::json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.write(),
            "layers": layers.iter().map(Descriptor::write).collect::<Vec<_>>(),
        })
        .to_string()
        .into_bytes()
    }

    /// The descriptor of a config of ours.
    pub fn describe_config(data: &[u8]) -> Descriptor {
        let digest = crate::archive::Digest::of(data);
        Descriptor::new(OCI_CONFIG, digest, data.len() as u64)
    }
}

fn layer(written: Object<descriptor::Written>) -> Result<LayerBlob> {
    let descriptor = Descriptor::read(written)?;
    let told = descriptor.media_type.as_str();
    let foreign = FOREIGN.contains(&told);
    if !foreign && !LAYERS.contains(&told) {
        return Err(unsupported(format!(
            "layers of type \"{told}\" are not supported"
        )));
    }
    Ok(LayerBlob {
        descriptor,
        foreign,
    })
}

/// EMLINK for more layers than a chain can have.
pub(super) fn check_count(layers: usize) -> Result<()> {
    if layers > MAX_LAYERS {
        let message = format!("the image has {layers} layers; {MAX_LAYERS} are the most");
        return Err(Error::new(Code::Limit, Errno::MLINK, message));
    }
    Ok(())
}

/// Only version 2 is what it looks like.
pub(super) fn check_schema(version: Option<u64>) -> Result<()> {
    match need(version, "schemaVersion")? {
        2 => Ok(()),
        version => Err(unsupported(format!(
            "manifests of schemaVersion {version} are not supported"
        ))),
    }
}
