//! Layers as content: a tar becomes a tree (`apply`), two trees become a tar (`export`).
//!
//! Every tar is extracted the same way, into the form of an overlayfs upper: the layer's own
//! entries, whiteouts, opaque directories. For a layer of kind `overlay` that is all; for a layer
//! of kind `root` the parent's tree is then linked in behind it (`flatten`), which also takes the
//! marks away. One extractor for both kinds is what makes native equal naive.
//!
//! `view` reads a stack of such trees as one, as overlayfs would, without a mount.

pub mod apply;
pub mod diff;
mod early;
pub mod export;
mod extract;
mod filler;
pub mod flatten;
pub mod foreign;
mod search;
pub mod size;
pub mod upper;
pub mod view;

/// Bytes of a path without its `./` and doubled slashes, where the caller names no limit: four
/// times what one system call takes. A deep path costs the square of its depth. No diff has a
/// longer one.
pub const MAX_PATH: usize = 16 << 10;
