//! `ovl_copy_dir`: a tree, outside any store.

use super::boundary;
use super::cancel::{Control, ovl_cancel, ovl_progress_fn};
use super::constants::{OVL_REFLINK_ALWAYS, OVL_REFLINK_AUTO, OVL_REFLINK_NEVER};
use super::error::ovl_error;
use super::opts::{self, Plain};
use super::{stream, text};
use crate::error::Result;
use crate::sys::BorrowedFd;
use crate::tree::{self, CopyOptions, Reflink};
use std::ffi::{c_char, c_int, c_void};

/// Options of ovl_copy_dir().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_copy_opts {
    /// `OVL_COPY_...`
    pub flags: u64,
    /// `OVL_REFLINK_...`
    pub reflink: u32,
    /// 0.
    pub reserved: u32,
    /// Stops the call when it is raised, or NULL.
    pub cancel: *mut ovl_cancel,
    /// Is told how far the call is, or NULL.
    pub progress: ovl_progress_fn,
    /// Handed to `progress`.
    pub progress_user: *mut c_void,
}

// SAFETY: integers, pointers, and a function pointer in an `Option`.
unsafe impl Plain for ovl_copy_opts {}

/// What ovl_copy_dir() did.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_copy_stats {
    /// Entries of the source, its root included.
    pub entries: u64,
    /// Directories.
    pub directories: u64,
    /// Regular files whose content was copied.
    pub copied: u64,
    /// Regular files whose content is shared.
    pub reflinked: u64,
    /// Names linked to an inode of the source.
    pub linked: u64,
    /// Names linked to an inode that the copy made, as they are in the source.
    pub grouped: u64,
    /// Bytes of files copied or shared, holes included.
    pub bytes: u64,
    /// Names that could not be linked, and were copied.
    pub link_fallbacks: u64,
    /// Other mounts in the source, which were not entered.
    pub mounts_skipped: u64,
    /// Names that vanished, and files that changed, while the source was read.
    pub vanished: u64,
    /// Left out: owners that could not be set.
    pub skipped_owners: u64,
    /// Left out: extended attributes that could not be set.
    pub skipped_xattrs: u64,
    /// Left out: device nodes that could not be made.
    pub skipped_devices: u64,
}

// SAFETY: integers.
unsafe impl Plain for ovl_copy_stats {}

/// Copies the directory `src` to `dst`, with all that its files have: owners, modes, times, links
/// among them, extended attributes, holes. `dst` is a name that is not there, which appears when
/// the copy is done, or an empty directory, which is filled. After a failure it is as it was.
/// Relative paths begin at `src_dirfd` and `dst_dirfd`, which are directories or AT_FDCWD; symbolic
/// links in the two paths are followed, those in the tree never. No store is needed.
///
/// Returns 0 and fills `*stats` (of `stats_size` bytes), unless it is NULL.
/// Errors: ENOENT, ENOTDIR, EACCES, EPERM, ELOOP; EBADF a dirfd; EEXIST `dst` is no directory;
/// ENOTEMPTY it has entries (OVL_E_NOT_EMPTY); EINVAL also where it lies in `src`; EXDEV hard links
/// across file systems; EOPNOTSUPP OVL_REFLINK_ALWAYS, and the file system cannot; ENOSPC, EDQUOT,
/// EIO; ESTALE a directory was moved while it was copied (OVL_E_CHANGED). With OVL_COPY_STRICT also
/// EPERM, EINVAL, EOPNOTSUPP, what the system says of what would be left out, and ENOENT of what
/// vanished (OVL_E_STRICT), ESTALE of a file that changed while it was read (OVL_E_CHANGED), and
/// EXDEV of another mount in the tree (OVL_E_ESCAPE).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_copy_dir(
    src_dirfd: c_int,
    src: *const c_char,
    dst_dirfd: c_int,
    dst: *const c_char,
    opts: *const ovl_copy_opts,
    opts_size: usize,
    stats: *mut ovl_copy_stats,
    stats_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::call("copy_dir", err, || {
        // SAFETY: as C promises of its arguments.
        let (src, dst, opts) = unsafe {
            (
                text::bytes(src, "src")?,
                text::bytes(dst, "dst")?,
                opts::read(opts, opts_size)?,
            )
        };
        // SAFETY: as above.
        let (src_dir, dst_dir) = unsafe { (directory(src_dirfd)?, directory(dst_dirfd)?) };
        opts::reserved(opts.reserved)?;
        let options = CopyOptions {
            flags: opts::flags(opts.flags)?,
            reflink: match opts.reflink {
                OVL_REFLINK_AUTO => Reflink::Auto,
                OVL_REFLINK_ALWAYS => Reflink::Always,
                OVL_REFLINK_NEVER => Reflink::Never,
                other => return Err(opts::unknown("reflink", other)),
            },
            ..CopyOptions::default()
        };
        // SAFETY: as above.
        let control = unsafe { Control::new(opts.cancel, opts.progress, opts.progress_user) };
        let done =
            control.watch(|watch| tree::copy_dir(src_dir, src, dst_dir, dst, &options, watch))?;
        let done = ovl_copy_stats {
            entries: done.entries,
            directories: done.directories,
            copied: done.copied,
            reflinked: done.reflinked,
            linked: done.linked,
            grouped: done.grouped,
            bytes: done.bytes,
            link_fallbacks: done.link_fallbacks,
            mounts_skipped: done.mounts_skipped,
            vanished: done.vanished,
            skipped_owners: done.partial.owners,
            skipped_xattrs: done.partial.xattrs,
            skipped_devices: done.partial.devices,
        };
        // SAFETY: as above.
        unsafe { opts::write(stats, stats_size, &done) };
        Ok(0)
    })
}

/// A directory that a path begins at.
///
/// # Safety
/// As for [`stream::borrow`].
unsafe fn directory<'a>(fd: c_int) -> Result<BorrowedFd<'a>> {
    if fd == libc::AT_FDCWD {
        return Ok(rustix::fs::CWD);
    }
    // SAFETY: the caller's promise.
    unsafe { stream::borrow(fd) }
}
