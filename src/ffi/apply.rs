//! `ovl_apply_layer`: a layer tar to a layer.

use super::boundary;
use super::cancel::{Control, ovl_cancel, ovl_progress_fn};
use super::constants::{OVL_KIND_DEFAULT, OVL_KIND_OVERLAY, OVL_KIND_ROOT};
use super::error::ovl_error;
use super::info::ovl_layer_info;
use super::layer::durability;
use super::opts::{self, Plain};
use super::store::ovl_store;
use super::stream::{self, ovl_read_fn};
use super::text;
use crate::archive::Digest;
use crate::error::{Error, Result};
use crate::store::{ApplyOptions, Kind, Limits, Threads};
use std::ffi::{c_char, c_int, c_void};

/// Options of ovl_apply_layer(). A limit of 0 is the library's own, told with each.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_apply_opts {
    /// `OVL_APPLY_...`
    pub flags: u64,
    /// The layer to build on, committed; NULL for none. Where the layer is there already, NULL or
    /// the parent that it has.
    pub parent: *const c_char,
    /// What the diff ID must be, "sha256:" and 64 digits; NULL to take any.
    pub diff_id: *const c_char,
    /// `OVL_KIND_...`
    pub kind: u32,
    /// `OVL_DURABILITY_...`
    pub durability: u32,
    /// Limit: bytes of the uncompressed tar, and as many of files and link targets, holes included;
    /// 64 GiB.
    pub max_size: u64,
    /// Limit: entries; 16,777,216. Directories that no entry names may be as many, but not more
    /// than 65,536 and 64 for each entry.
    pub max_entries: u64,
    /// Limit: bytes of one header of an entry; 1 MiB.
    pub max_meta: u64,
    /// Limit: bytes of the extended attributes of one entry; 1 MiB.
    pub max_xattrs: u64,
    /// Limit: bytes of one path; 64 KiB as it is written, 16 KiB as it is on the disk.
    pub max_path: u64,
    /// Limit: the window of a zstd stream, as a power of two; 27, at most 31.
    pub zstd_window_log: u32,
    /// 0.
    pub reserved: u32,
    /// Where the bytes come from when `layer_fd` is -1; else NULL.
    pub read: ovl_read_fn,
    /// Handed to `read`.
    pub read_user: *mut c_void,
    /// Stops the call when it is raised, or NULL.
    pub cancel: *mut ovl_cancel,
    /// Is told how far the call is, or NULL.
    pub progress: ovl_progress_fn,
    /// Handed to `progress`.
    pub progress_user: *mut c_void,
}

// SAFETY: integers, pointers, and function pointers in an `Option`.
unsafe impl Plain for ovl_apply_opts {}

/// Applies a layer tar to the layer `id`: plain, gzip or zstd, which it finds out. The bytes come
/// from `layer_fd`, from where it stands to its end, or from the callback `read` when `layer_fd` is
/// -1. The descriptor stays the caller's. It may be a pipe or a socket, and may be non-blocking.
///
/// If `id` is not there, it is made, and all of it appears at once; after a failure it is not
/// there. If `id` is there, it must be writable, empty and not mounted; after a failure it is as it
/// was. After success the layer is committed and on the disk, unless the options say otherwise.
///
/// The symbolic links that an entry's path leads through are followed inside the layer, as a process
/// would that has it as its root; those below it too. A stream of no bytes at all is a layer of
/// nothing: `diff_id` tells whether it was meant.
///
/// Returns 0 and fills `*info` (of `info_size` bytes), unless it is NULL: with the digests, and
/// with how much was left out, if anything.
/// Errors: EBADMSG the tar is malformed (OVL_E_ARCHIVE) or ends early (OVL_E_TRUNCATED), or its
/// digest is another (OVL_E_DIGEST); EINVAL also for a tar that says what no tree may hold, as a
/// name with ".." in it (OVL_E_ARCHIVE), and for an overlay without a parent; EOPNOTSUPP an entry
/// type or a compression that is not handled (OVL_E_UNSUPPORTED); EPERM, EINVAL, EOPNOTSUPP also
/// what the system says of what would be left out, where OVL_APPLY_STRICT is given (OVL_E_STRICT);
/// EXDEV a path would leave the layer, or something is mounted in its way (OVL_E_ESCAPE); EFBIG a
/// limit (OVL_E_LIMIT); EMLINK the chain would be longer than 500, see OVL_CREATE_FLAT
/// (OVL_E_LIMIT); EBADF `layer_fd` is not open for reading; ENOENT no such parent (OVL_E_NO_LAYER),
/// no such layer where OVL_APPLY_EXISTING is given (OVL_E_NO_LAYER), or a hard link to what is not there; ELOOP too many symbolic links in a path; EROFS the layer is
/// committed (OVL_E_COMMITTED), or a store opened read-only; EEXIST it is committed, and `parent`
/// says that it was to be made (OVL_E_LAYER_EXISTS), or what is left of a damaged one is there
/// (OVL_E_DAMAGED); ENOTEMPTY the layer has entries (OVL_E_NOT_EMPTY); EBUSY it is mounted
/// (OVL_E_MOUNTED), the parent is not committed (OVL_E_NOT_COMMITTED), or somebody works on either
/// (OVL_E_LOCKED); EPERM also where the caller cannot use the store's marks (OVL_E_MARKS); what the
/// callback said (OVL_E_CALLBACK); ENOSPC, EDQUOT, EIO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_apply_layer(
    store: *mut ovl_store,
    id: *const c_char,
    layer_fd: c_int,
    opts: *const ovl_apply_opts,
    opts_size: usize,
    info: *mut ovl_layer_info,
    info_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("apply_layer", store, err, |store| {
        // SAFETY: as C promises of its arguments.
        let (id, opts) = unsafe { (text::bytes(id, "id")?, opts::read(opts, opts_size)?) };
        // SAFETY: as C promises of its options.
        let (options, control) = unsafe {
            (
                options(&opts)?,
                Control::new(opts.cancel, opts.progress, opts.progress_user),
            )
        };
        // SAFETY: as above.
        let mut source =
            unsafe { stream::source(layer_fd, opts.read, opts.read_user, control.cancel()) }?;
        let layer =
            control.watch(|watch| store.store.apply(id, source.as_mut(), &options, watch))?;
        // SAFETY: as C promises of its arguments.
        unsafe { opts::write(info, info_size, &ovl_layer_info::from(&layer)) };
        Ok(0)
    })
}

/// # Safety
/// The strings of `opts` are NULL or NUL-terminated, and outlive `'a`.
unsafe fn options<'a>(opts: &ovl_apply_opts) -> Result<ApplyOptions<'a>> {
    opts::reserved(opts.reserved)?;
    // SAFETY: the caller's promise.
    let (parent, diff_id) = unsafe { (text::optional(opts.parent), text::optional(opts.diff_id)) };
    Ok(ApplyOptions {
        flags: opts::flags(opts.flags)?,
        parent,
        kind: kind(opts.kind)?,
        diff_id: diff_id.map(digest).transpose()?,
        durability: durability(opts.durability)?,
        threads: Threads::Auto,
        limits: limits(
            [
                opts.max_size,
                opts.max_entries,
                opts.max_meta,
                opts.max_xattrs,
                opts.max_path,
            ],
            opts.zstd_window_log,
        ),
    })
}

/// How to keep a layer that is made of a tar.
pub(super) fn kind(kind: u32) -> Result<Option<Kind>> {
    match kind {
        OVL_KIND_DEFAULT => Ok(None),
        OVL_KIND_ROOT => Ok(Some(Kind::Root)),
        OVL_KIND_OVERLAY => Ok(Some(Kind::Overlay)),
        other => Err(opts::unknown("kind", other)),
    }
}

/// Limits in the order of the options' members.
pub(super) fn limits(counts: [u64; 5], zstd_window_log: u32) -> Limits {
    let [max_size, max_entries, max_meta, max_xattrs, max_path] = counts;
    Limits {
        max_size,
        max_entries,
        max_meta,
        max_xattrs,
        max_path,
        zstd_window_log,
    }
}

fn digest(text: &[u8]) -> Result<Digest> {
    let text =
        std::str::from_utf8(text).map_err(|_| Error::invalid("diff_id is no digest").at(text))?;
    Digest::parse(text)
}
