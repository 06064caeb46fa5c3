//! Image formats as bytes: OCI layouts, indexes, manifests and configs, and docker save's
//! `manifest.json`; names, platforms and digests.
//!
//! Nothing here opens a path or knows a store; of [`archive`](crate::archive) it uses the digests. What comes in is JSON of somebody else's: it is
//! bounded, and each member is what its specification says or an error, never a guess.
//!
//! # Errors
//!
//! | errno | code | meaning |
//! |---|---|---|
//! | EBADMSG | `Archive` | it is not well-formed, or says what its specification forbids |
//! | EOPNOTSUPP | `Unsupported` | well-formed, but of a type or algorithm that is not handled |
//! | EFBIG | `Limit` | more than [`MAX_JSON`] bytes, [`MAX_DESCRIPTORS`] or [`MAX_WORDS`] |
//! | EMLINK | `Limit` | more than [`MAX_LAYERS`] layers |
//! | EINVAL | `Invalid` | what the caller asked for is not there, or is several |

mod choose;
mod config;
mod descriptor;
mod docker;
mod json;
mod layout;
mod manifest;
pub mod name;
mod platform;
#[cfg(test)]
mod tests;

pub use choose::{Wanted, choose};
pub use config::{Config, chain_ids};
pub use descriptor::Descriptor;
pub use docker::{Saved, choose_saved, parse_saved};
pub use json::{check_size, too_much};
pub use layout::{INDEX, LAYOUT, LAYOUT_TEXT, blob_path, parse_index, parse_layout, write_index};
pub use manifest::{LayerBlob, Manifest, OCI_LAYER, OCI_MANIFEST, is_index, is_manifest};
pub use platform::Platform;

use crate::error::{Code, Errno, Error};

/// Bytes of a manifest, an index or a config; registries take no more.
pub const MAX_JSON: u64 = 4 << 20;

/// Layers of one image; overlayfs takes no longer chain.
pub const MAX_LAYERS: usize = 500;

/// Descriptors of indexes that are looked at for one image, and images of one docker save.
pub const MAX_DESCRIPTORS: usize = 4096;

/// Variables, labels, and words of a command.
pub const MAX_WORDS: usize = 1 << 16;

fn malformed(message: impl Into<String>) -> Error {
    Error::new(Code::Archive, Errno::BADMSG, message)
}

fn unsupported(message: impl Into<String>) -> Error {
    Error::new(Code::Unsupported, Errno::OPNOTSUPP, message)
}
