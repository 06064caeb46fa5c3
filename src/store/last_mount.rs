//! Whether the last mount of an upper was one of ours.
//!
//! Before ours an upper is searched for what overlays of other programs leave, and under it nothing of the
//! kind is made. Each mount that has an upper, whoever mounts, begins with a directory `work/work` that overlayfs makes
//! anew. Ours leave a mark on it, which the next one takes away with the directory: where it is, nobody
//! need search the upper again.
//!
//! It does not show who had a work directory of his own, or wrote into the upper by hand. A diff that
//! comes to what cannot be then says so ([`doubt`]).

use super::layer::Layer;
use crate::error::{Errno, Result, SysResult};
use crate::sys::OwnedFd;
use crate::sys::fs::{self, Kind};

/// What overlayfs makes in its work directory, which lets nobody in.
const MADE: &[u8] = b"work";

/// The mark: a bit that means nothing on a directory. (The sticky bit would: it says who may remove what overlayfs
/// makes there.)
const MARK: u32 = libc::S_ISUID;

/// The mount with this work directory is ours. Where that cannot be noted the upper is searched again.
pub fn note(work: &OwnedFd) {
    let _ = fs::chmod_at(work, MADE, MARK);
}

/// Whether it was.
pub fn was_ours(layer: &Layer) -> Result<bool> {
    match fs::stat_at(&layer.open("work")?, MADE) {
        Ok(made) => Ok(made.kind == Kind::Directory && made.mode & MARK != 0),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).call_at("statx", "work/work"),
    }
}

/// It was not all that there was, as it turns out; whether that could be noted.
pub fn doubt(layer: &Layer) -> bool {
    let work = layer.open("work");
    work.is_ok_and(|work| fs::chmod_at(&work, MADE, 0).is_ok())
}
