//! The image layout: `oci-layout`, `index.json`, `blobs/sha256/<hex>`.

use super::descriptor::{self, Descriptor};
use super::json::{self, List, Object, need};
use super::{MAX_DESCRIPTORS, malformed, unsupported};
use crate::archive::Digest;
use crate::error::Result;
use serde::Deserialize;
use serde::de::IgnoredAny;

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
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Written {
        image_layout_version: Option<String>,
    }
    let layout: Written = json::object(data)?;
    match need(layout.image_layout_version, "imageLayoutVersion")? {
        version if version.starts_with("1.") => Ok(()),
        version => Err(unsupported(format!("unknown imageLayoutVersion {version}"))),
    }
}

/// The descriptors of an index, `index.json` or another, or of a docker manifest list; EFBIG for
/// more than `most`.
pub fn parse_index(data: &[u8], most: usize) -> Result<Vec<Descriptor>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Written {
        schema_version: Option<u64>,
        manifests: Option<List<Object<descriptor::Written>, MAX_DESCRIPTORS>>,
        config: Option<IgnoredAny>,
        layers: Option<IgnoredAny>,
    }
    let index: Written = json::object(data)?;
    super::manifest::check_schema(index.schema_version)?;
    if index.config.is_some() || index.layers.is_some() {
        return Err(malformed("it is an index and a manifest at once"));
    }
    let list = need(index.manifests, "manifests")?;
    if list.count > most {
        return Err(json::too_much(format!(
            "more than {MAX_DESCRIPTORS} descriptors to choose from"
        )));
    }
    list.items.into_iter().map(Descriptor::read).collect()
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
