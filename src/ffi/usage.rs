//! `struct ovl_usage_info`: what a layer takes on the disk.

use super::boundary;
use super::cancel::{Control, ovl_cancel, ovl_progress_fn};
use super::error::ovl_error;
use super::opts::{self, Plain};
use super::store::ovl_store;
use super::text;
use std::ffi::{c_char, c_int, c_void};

/// Options of ovl_usage().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_usage_opts {
    /// 0.
    pub flags: u64,
    /// Stops the call when it is raised, or NULL.
    pub cancel: *mut ovl_cancel,
    /// Is told how far the call is, or NULL.
    pub progress: ovl_progress_fn,
    /// Handed to `progress`.
    pub progress_user: *mut c_void,
}

// SAFETY: an integer, pointers, and a function pointer in an `Option`.
unsafe impl Plain for ovl_usage_opts {}

/// What a layer, or the whole store, takes on the disk. Each inode counts once, however many names
/// it has. It is the layer's own when all its names are in the layer's directory, and shared when
/// it has names elsewhere: layers of kind root share files with their parents.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_usage_info {
    /// Bytes on the disk of its own: what removing the layer gives back.
    pub own_bytes: u64,
    /// Bytes on the disk of what it shares.
    pub shared_bytes: u64,
    /// Inodes of its own, directories and the store's own files among them.
    pub own_inodes: u64,
    /// Inodes that it shares.
    pub shared_inodes: u64,
    /// Lengths of files and of targets of symbolic links of its own, together.
    pub own_size: u64,
    /// The same of what it shares.
    pub shared_size: u64,
}

// SAFETY: integers.
unsafe impl Plain for ovl_usage_info {}

/// Tells what the layer `id` takes on the disk; with NULL, what the whole store takes, in which
/// nothing counts twice. It looks at every name once and reads nothing else. Damaged layers are
/// counted too, mounted ones as they are meanwhile; nobody is waited for.
///
/// Returns 0 and fills `*usage` (of `usage_size` bytes), unless it is NULL.
/// Errors: ENOENT no such layer; EACCES, EIO and what else reading directories meets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_usage(
    store: *mut ovl_store,
    id: *const c_char,
    opts: *const ovl_usage_opts,
    opts_size: usize,
    usage: *mut ovl_usage_info,
    usage_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("usage", store, err, |store| {
        // SAFETY: as C promises of its arguments.
        let (id, opts) = unsafe { (text::optional(id), opts::read(opts, opts_size)?) };
        opts::reserved(opts.flags)?;
        // SAFETY: as above.
        let control = unsafe { Control::new(opts.cancel, opts.progress, opts.progress_user) };
        let found = control.watch(|watch| store.store.usage(id, watch))?;
        let found = ovl_usage_info {
            own_bytes: found.own_bytes,
            shared_bytes: found.shared_bytes,
            own_inodes: found.own_inodes,
            shared_inodes: found.shared_inodes,
            own_size: found.own_size,
            shared_size: found.shared_size,
        };
        // SAFETY: as above.
        unsafe { opts::write(usage, usage_size, &found) };
        Ok(0)
    })
}
