//! The image layout: `oci-layout`, `index.json`, `blobs/sha256/<hex>`.

use super::descriptor::Descriptor;
use super::{json, malformed, unsupported};
use crate::archive::Digest;
use crate::error::Result;

/// The file that says that a directory is a layout.
pub const LAYOUT: &str = "oci-layout";
/// What stands in it.
pub const LAYOUT_TEXT: &str = "{\"imageLayoutVersion\":\"1.0.0\"}";
/// The file that names the images.
pub const INDEX: &str = "index.json";

/// Where a blob is.
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Checks the text of `oci-layout`.
pub fn parse_layout(data: &[u8]) -> Result<()> {
    let layout = json::object(data)?;
    match json::need_text(&layout, "imageLayoutVersion")? {
        version if version.starts_with("1.") => Ok(()),
        version => Err(unsupported(format!("unknown imageLayoutVersion {version}"))),
    }
}

/// The descriptors of an index, `index.json` or another, or of a docker manifest list.
pub fn parse_index(data: &[u8]) -> Result<Vec<Descriptor>> {
    let index = json::object(data)?;
    super::manifest::check_schema(&index)?;
    if index.contains_key("config") || index.contains_key("layers") {
        return Err(malformed("it is an index and a manifest at once"));
    }
    if !index.contains_key("manifests") {
        return Err(malformed("it has no \"manifests\""));
    }
    json::array(&index, "manifests")?
        .iter()
        .map(Descriptor::read)
        .collect()
}

/// The text of an `index.json` that names one image.
pub fn write_index(manifest: &Descriptor, name: &str) -> Vec<u8> {
    let mut one = manifest.write();
    one["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": name });
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": super::manifest::OCI_INDEX,
        "manifests": [one],
    })
    .to_string()
    .into_bytes()
}
