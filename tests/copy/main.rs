//! Copying a tree: `ovl::tree::copy_dir`, a folder of sentences about what it promises.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod content;
mod cost;
mod fail;
mod hardlink;
mod hostile;
mod mounts;
mod place;
mod removal;
mod threads;
mod unprivileged;

use ovl::error::Result;
use ovl::tree::{CopyFlags, CopyOptions, CopyStats, Reflink, Threads, copy_dir};
use ovl::watch::Watch;
use rustix::fs::CWD;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// These choices; with OVL_TEST_THREADS=always each copy has threads, however small it is.
pub fn options(flags: CopyFlags, reflink: Reflink) -> CopyOptions {
    CopyOptions {
        flags,
        reflink,
        threads: match support::have::threads_always() {
            true => Threads::Always,
            false => Threads::Auto,
        },
    }
}

/// Copies with these choices, not watched.
pub fn copy(src: &Path, dst: &Path, flags: CopyFlags, reflink: Reflink) -> Result<CopyStats> {
    let options = options(flags, reflink);
    let (src, dst) = (src.as_os_str().as_bytes(), dst.as_os_str().as_bytes());
    copy_dir(CWD, src, CWD, dst, &options, &mut Watch::default())
}

/// Copies by content with the defaults.
pub fn plain(src: &Path, dst: &Path) -> Result<CopyStats> {
    copy(src, dst, CopyFlags::empty(), Reflink::Auto)
}

/// Copies by hard link with the defaults.
pub fn linked(src: &Path, dst: &Path) -> Result<CopyStats> {
    copy(src, dst, CopyFlags::HARD_LINK, Reflink::Auto)
}

/// The names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
