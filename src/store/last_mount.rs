//! Whether the last mount of an upper was one of ours.
//!
//! Before ours an upper is searched for what overlays of other programs leave, and under it nothing of the
//! kind is made. Each mount that has an upper, whoever mounts, begins with a directory `work/work` that overlayfs makes
//! anew. Ours leave a mark on it, which the next one takes away with the directory: where it is, nobody
//! need search the upper again.
//!
//! It does not show who had a work directory of his own, or wrote into the upper by hand.

use super::layer::Layer;
use crate::error::{Errno, Result, SysResult};
use crate::sys::{OwnedFd, fs};

/// What overlayfs makes in its work directory, which lets nobody in.
const MADE: &[u8] = b"work";

/// The mark: that bit, of which overlayfs takes no notice.
const STICKY: u32 = 0o1000;

/// The mount with this work directory is ours. Where that cannot be noted the upper is searched again.
pub fn note(work: &OwnedFd) {
    let _ = fs::chmod_at(work, MADE, STICKY);
}

/// Whether it was.
pub fn was_ours(layer: &Layer) -> Result<bool> {
    match fs::stat_at(&layer.open("work")?, MADE) {
        Ok(made) => Ok(made.mode & STICKY != 0),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).call_at("statx", "work/work"),
    }
}

/// It was not, as it turns out.
pub fn doubt(layer: &Layer) {
    if let Ok(work) = layer.open("work") {
        let _ = fs::chmod_at(&work, MADE, 0);
    }
}
