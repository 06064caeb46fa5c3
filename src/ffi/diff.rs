//! What a layer changes: as a tar, as a list, as a size.

use super::boundary::{self, not_null};
use super::cancel::{Control, ovl_cancel, ovl_progress_fn};
use super::constants::{OVL_CHANGE_ADD, OVL_CHANGE_DELETE, OVL_CHANGE_MODIFY};
use super::error::ovl_error;
use super::info::ovl_layer_info;
use super::iter::{Item, ovl_iter};
use super::opts::{self, Plain};
use super::store::ovl_store;
use super::stream::{self, ovl_write_fn};
use super::text;
use crate::error::Error;
use crate::layer::diff::ChangeKind;
use crate::store::{Against, DiffFlags, DiffOptions};
use crate::sys::fs::Time;
use std::ffi::{c_char, c_int, c_void};

/// Options of ovl_diff().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_diff_opts {
    /// `OVL_DIFF_...`
    pub flags: u64,
    /// With OVL_DIFF_CLAMP, the latest time that an entry may have, in seconds since 1970,
    pub clamp_sec: i64,
    /// and nanoseconds, below 1000000000. Both are 0 without OVL_DIFF_CLAMP.
    pub clamp_nsec: u32,
    /// 0.
    pub reserved: u32,
    /// Where the bytes go when `out_fd` is -1; else NULL.
    pub write: ovl_write_fn,
    /// Handed to `write`.
    pub write_user: *mut c_void,
    /// Stops the call when it is raised, or NULL.
    pub cancel: *mut ovl_cancel,
    /// Is told how far the call is, or NULL.
    pub progress: ovl_progress_fn,
    /// Handed to `progress`.
    pub progress_user: *mut c_void,
}

// SAFETY: integers, pointers, and function pointers in an `Option`.
unsafe impl Plain for ovl_diff_opts {}

/// Options of ovl_changes().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_changes_opts {
    /// 0.
    pub flags: u64,
    /// Stops the call when it is raised, or NULL.
    pub cancel: *mut ovl_cancel,
    /// Is told how far the call is, or NULL.
    pub progress: ovl_progress_fn,
    /// Handed to `progress`.
    pub progress_user: *mut c_void,
}

// SAFETY: as above.
unsafe impl Plain for ovl_changes_opts {}

/// Options of ovl_diff_size().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_diff_size_opts {
    /// 0.
    pub flags: u64,
    /// Stops the call when it is raised, or NULL.
    pub cancel: *mut ovl_cancel,
    /// Is told how far the call is, or NULL.
    pub progress: ovl_progress_fn,
    /// Handed to `progress`.
    pub progress_user: *mut c_void,
}

// SAFETY: as above.
unsafe impl Plain for ovl_diff_size_opts {}

/// Writes the layer tar that leads from `parent` to `id`, uncompressed, to `out_fd`, or to the
/// callback `write` when `out_fd` is -1. `parent` NULL is the layer's own parent, "" is nothing: the
/// whole tree. Equal trees give equal bytes. The descriptor stays the caller's. It may be a pipe
/// or a socket, and may be non-blocking; a reader that goes away is -EPIPE, and no SIGPIPE: the
/// calling thread has it blocked while it writes.
///
/// After a failure the output holds the beginning of a tar, and no end.
///
/// Returns 0 and fills `*info` (of `info_size` bytes), unless it is NULL: with the diff ID and the
/// size of what was written, and with how much was left out, if anything.
/// Errors: ENOENT no such layer or parent (OVL_E_NO_LAYER); EBADF `out_fd` is not open for writing;
/// EPIPE; EBUSY somebody works on the layer (OVL_E_LOCKED); EPERM also where the caller cannot use
/// the store's marks (OVL_E_MARKS); EOPNOTSUPP something cannot be said in a tar and
/// OVL_DIFF_STRICT is given (OVL_E_STRICT), or another program's overlay wrote to the layer what
/// the upper does not tell (OVL_E_UNSUPPORTED, OVL_E_MARKS); what the callback said
/// (OVL_E_CALLBACK); ESTALE, or ENOENT of what went, something in a layer that is written to
/// changed while it was read (OVL_E_CHANGED): try again; ENOSPC, EIO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_diff(
    store: *mut ovl_store,
    id: *const c_char,
    parent: *const c_char,
    out_fd: c_int,
    opts: *const ovl_diff_opts,
    opts_size: usize,
    info: *mut ovl_layer_info,
    info_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("diff", store, err, |store| {
        // SAFETY: as C promises of its arguments.
        let (id, against, opts) = unsafe {
            (
                text::bytes(id, "id")?,
                against(parent),
                opts::read(opts, opts_size)?,
            )
        };
        let options = DiffOptions {
            flags: opts::flags(opts.flags)?,
            clamp: Time {
                sec: opts.clamp_sec,
                nsec: opts.clamp_nsec,
            },
            ..DiffOptions::default()
        };
        opts::reserved(opts.reserved)?;
        if opts.clamp_nsec >= 1_000_000_000 {
            return Err(Error::invalid("clamp_nsec is a second or more"));
        }
        if !options.flags.contains(DiffFlags::CLAMP) && options.clamp != Time::default() {
            return Err(Error::invalid(
                "clamp_sec and clamp_nsec go with OVL_DIFF_CLAMP",
            ));
        }
        // SAFETY: as above.
        let control = unsafe { Control::new(opts.cancel, opts.progress, opts.progress_user) };
        // SAFETY: as above.
        let mut sink =
            unsafe { stream::sink(out_fd, opts.write, opts.write_user, control.cancel()) }?;
        let done = control.watch(|watch| {
            store
                .store
                .diff(id, against, sink.as_mut(), &options, watch)
        })?;
        // SAFETY: as above.
        unsafe { opts::write(info, info_size, &ovl_layer_info::from(&done)) };
        Ok(0)
    })
}

/// Lists what leads from `parent` to `id`, in the order of the paths. `parent` NULL is the layer's
/// own parent, "" is nothing: the whole tree.
///
/// Returns 0 and an iterator in `*out`, which the caller frees with ovl_iter_free(). Its items:
/// `name` is the path, beginning with "/"; `what` is one of `OVL_CHANGE_...`, which are the letters
/// A, C and D.
/// Errors: as ovl_diff(), but for those of the output.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_changes(
    store: *mut ovl_store,
    id: *const c_char,
    parent: *const c_char,
    opts: *const ovl_changes_opts,
    opts_size: usize,
    out: *mut *mut ovl_iter,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("changes", store, err, |store| {
        let out = not_null(out, "out")?;
        // SAFETY: as C promises of its arguments.
        let (id, against, opts) = unsafe {
            (
                text::bytes(id, "id")?,
                against(parent),
                opts::read(opts, opts_size)?,
            )
        };
        opts::reserved(opts.flags)?;
        // SAFETY: as above.
        let control = unsafe { Control::new(opts.cancel, opts.progress, opts.progress_user) };
        let items = control.watch(|watch| store.store.changes(id, against, watch))?;
        let items = items
            .into_iter()
            .map(|change| {
                let what = match change.kind {
                    ChangeKind::Add => OVL_CHANGE_ADD,
                    ChangeKind::Modify => OVL_CHANGE_MODIFY,
                    ChangeKind::Delete => OVL_CHANGE_DELETE,
                };
                Item::new(what, change.path, "")
            })
            .collect();
        // SAFETY: not NULL, and C says it is valid for a write of a pointer.
        unsafe { boundary::give(out, ovl_iter::new(items)) };
        Ok(0)
    })
}

/// Tells how many bytes of files lead from `parent` to `id`, as ovl_layer_info.size counts them.
/// `parent` NULL is the layer's own parent, "" is nothing: the whole tree.
///
/// Returns 0 and the bytes in `*out`.
/// Errors: as ovl_changes().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_diff_size(
    store: *mut ovl_store,
    id: *const c_char,
    parent: *const c_char,
    opts: *const ovl_diff_size_opts,
    opts_size: usize,
    out: *mut u64,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("diff_size", store, err, |store| {
        let out = not_null(out, "out")?;
        // SAFETY: as C promises of its arguments.
        let (id, against, opts) = unsafe {
            (
                text::bytes(id, "id")?,
                against(parent),
                opts::read(opts, opts_size)?,
            )
        };
        opts::reserved(opts.flags)?;
        // SAFETY: as above.
        let control = unsafe { Control::new(opts.cancel, opts.progress, opts.progress_user) };
        let bytes = control.watch(|watch| store.store.diff_size(id, against, watch))?;
        // SAFETY: not NULL, and C says it is valid for a write.
        unsafe { out.write(bytes) };
        Ok(0)
    })
}

/// What a layer is held against.
///
/// # Safety
/// `parent` is NULL or a NUL-terminated string that outlives `'a`.
unsafe fn against<'a>(parent: *const c_char) -> Against<'a> {
    // SAFETY: the caller's promise.
    match unsafe { text::optional(parent) } {
        None => Against::Parent,
        Some([]) => Against::Nothing,
        Some(id) => Against::Layer(id),
    }
}
