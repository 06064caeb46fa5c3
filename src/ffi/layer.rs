//! The life of a layer: create, commit, remove, and the questions about one.

use super::boundary;
use super::cancel::{Control, ovl_cancel, ovl_progress_fn};
use super::constants::{
    OVL_DURABILITY_DEFAULT, OVL_DURABILITY_FULL, OVL_DURABILITY_NONE, OVL_DURABILITY_VERIFIED,
};
use super::error::ovl_error;
use super::info::ovl_layer_info;
use super::opts::{self, Plain};
use super::store::ovl_store;
use super::text;
use crate::error::Result;
use crate::store::{CommitFlags, Durability, RemoveFlags};
use std::ffi::{c_char, c_int, c_void};

/// Options of ovl_create().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_create_opts {
    /// `OVL_CREATE_...`
    pub flags: u64,
    /// Stops the call when it is raised, or NULL.
    pub cancel: *mut ovl_cancel,
    /// Is told how far the call is, or NULL.
    pub progress: ovl_progress_fn,
    /// Handed to `progress`.
    pub progress_user: *mut c_void,
}

// SAFETY: an integer, pointers, and a function pointer in an `Option`.
unsafe impl Plain for ovl_create_opts {}

/// Options of ovl_commit().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_commit_opts {
    /// `OVL_COMMIT_...`
    pub flags: u64,
    /// `OVL_DURABILITY_...`
    pub durability: u32,
    /// 0.
    pub reserved: u32,
    /// Stops the call when it is raised, or NULL.
    pub cancel: *mut ovl_cancel,
    /// Is told how far the call is, or NULL.
    pub progress: ovl_progress_fn,
    /// Handed to `progress`.
    pub progress_user: *mut c_void,
}

// SAFETY: as above.
unsafe impl Plain for ovl_commit_opts {}

/// Options of ovl_remove().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_remove_opts {
    /// OVL_REMOVE_DEFER or 0.
    pub flags: u64,
    /// Stops the call when it is raised, or NULL.
    pub cancel: *mut ovl_cancel,
    /// Is told how far the call is, or NULL.
    pub progress: ovl_progress_fn,
    /// Handed to `progress`.
    pub progress_user: *mut c_void,
}

// SAFETY: as above.
unsafe impl Plain for ovl_remove_opts {}

/// Options of ovl_exists(): none yet.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_exists_opts {
    /// 0.
    pub flags: u64,
}

// SAFETY: an integer.
unsafe impl Plain for ovl_exists_opts {}

/// Makes the writable layer `id` on `parent`, or on nothing if `parent` is NULL.
///
/// On nothing it is an empty tree. On a committed layer it is a set of changes, empty yet; a
/// writable `root` layer is committed for that. On a writable `overlay` layer it begins with a copy
/// of that layer's changes, and lies on what that one lies on.
///
/// Returns 0.
/// Errors: EEXIST the layer is there (OVL_E_LAYER_EXISTS), or what is left of a damaged one, which
/// ovl_remove() takes away (OVL_E_DAMAGED); ENOENT the parent is not (OVL_E_NO_LAYER); EUCLEAN the
/// writable parent was mounted when the machine went down (OVL_E_UNCLEAN); EINVAL also for an id
/// that is not 1 to 128 of A-Z a-z 0-9 . _ - + @, beginning with a letter or a digit; EBUSY the
/// parent is writable and mounted (OVL_E_MOUNTED), or somebody works on it (OVL_E_LOCKED); EMLINK
/// the chain would be longer than 500, see OVL_CREATE_FLAT (OVL_E_LIMIT); EPERM the caller cannot
/// use the store's marks (OVL_E_MARKS); EOPNOTSUPP the file system cannot hold changes
/// (OVL_E_UNSUPPORTED); EROFS a store opened read-only; ESTALE a parent that is copied changed
/// meanwhile (OVL_E_CHANGED); ENOSPC, EDQUOT; EIO, also where the parent is damaged
/// (OVL_E_DAMAGED).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_create(
    store: *mut ovl_store,
    id: *const c_char,
    parent: *const c_char,
    opts: *const ovl_create_opts,
    opts_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("create", store, err, |store| {
        // SAFETY: as C promises of its arguments.
        let (id, parent, opts) = unsafe {
            (
                text::bytes(id, "id")?,
                text::optional(parent),
                opts::read(opts, opts_size)?,
            )
        };
        let flags = opts::flags(opts.flags)?;
        // SAFETY: as above.
        let control = unsafe { Control::new(opts.cancel, opts.progress, opts.progress_user) };
        control.watch(|watch| store.store.create(id, parent, flags, watch))?;
        Ok(0)
    })
}

/// Commits a writable layer: it never changes again, and others may be built on it. After success it
/// is on the disk, unless `durability` says otherwise.
///
/// Returns 0.
/// Errors: ENOENT no such layer (OVL_E_NO_LAYER); EROFS it is committed already (OVL_E_COMMITTED),
/// or a store opened read-only; EBUSY it is mounted, and OVL_COMMIT_MOUNTED is not given
/// (OVL_E_MOUNTED), or somebody works on it (OVL_E_LOCKED); ESTALE it changed while it was read
/// (OVL_E_CHANGED); EUCLEAN the machine went down while it was mounted writable, and
/// OVL_COMMIT_SALVAGE is not given (OVL_E_UNCLEAN); EPERM the caller cannot use the store's marks
/// (OVL_E_MARKS); EOPNOTSUPP another program's overlay wrote to the layer what no mount of it would
/// show (OVL_E_UNSUPPORTED, with the path; ovl_diff() reads it, and its tar can be applied);
/// ENOSPC, EDQUOT; EIO, also with OVL_DURABILITY_VERIFIED where the content is read back and
/// differs (OVL_E_DAMAGED).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_commit(
    store: *mut ovl_store,
    id: *const c_char,
    opts: *const ovl_commit_opts,
    opts_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("commit", store, err, |store| {
        // SAFETY: as C promises of its arguments.
        let (id, opts) = unsafe { (text::bytes(id, "id")?, opts::read(opts, opts_size)?) };
        let flags: CommitFlags = opts::flags(opts.flags)?;
        opts::reserved(opts.reserved)?;
        let durability = durability(opts.durability)?;
        // SAFETY: as above.
        let control = unsafe { Control::new(opts.cancel, opts.progress, opts.progress_user) };
        control.watch(|watch| store.store.commit(id, durability, flags, watch))?;
        Ok(0)
    })
}

/// Removes a layer. It is gone at once, for good. Then its files are deleted, which takes time; what
/// a cancel or OVL_REMOVE_DEFER leaves of them, a later ovl_cleanup() deletes.
///
/// Returns 0, also where not all files could be deleted.
/// Errors: ENOENT no such layer (OVL_E_NO_LAYER); EBUSY it is mounted (OVL_E_MOUNTED), other layers
/// are built on it (OVL_E_HAS_CHILDREN), or somebody works on it (OVL_E_LOCKED); EROFS a store
/// opened read-only; EACCES, EIO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_remove(
    store: *mut ovl_store,
    id: *const c_char,
    opts: *const ovl_remove_opts,
    opts_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("remove", store, err, |store| {
        // SAFETY: as C promises of its arguments.
        let (id, opts) = unsafe { (text::bytes(id, "id")?, opts::read(opts, opts_size)?) };
        let flags: RemoveFlags = opts::flags(opts.flags)?;
        // SAFETY: as above.
        let control = unsafe { Control::new(opts.cancel, opts.progress, opts.progress_user) };
        control.watch(|watch| store.store.remove(id, flags, watch))?;
        Ok(0)
    })
}

/// Tells whether a layer is there.
///
/// Returns 1 if it is, 0 if it is not.
/// Errors: EINVAL also for what cannot be an id; EIO and what else reading meets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_exists(
    store: *mut ovl_store,
    id: *const c_char,
    opts: *const ovl_exists_opts,
    opts_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("exists", store, err, |store| {
        // SAFETY: as C promises of its arguments.
        let (id, opts) = unsafe { (text::bytes(id, "id")?, opts::read(opts, opts_size)?) };
        opts::reserved(opts.flags)?;
        Ok(c_int::from(store.store.exists(id)?))
    })
}

/// Tells what is known of a layer.
///
/// Returns 0 and fills `*info` (of `info_size` bytes), unless it is NULL. The `skipped` members are
/// 0.
/// Errors: ENOENT no such layer (OVL_E_NO_LAYER); EINVAL also for what cannot be an id; EOPNOTSUPP
/// a kind of layer that this library does not know (OVL_E_FORMAT); EIO and what else reading meets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_stat(
    store: *mut ovl_store,
    id: *const c_char,
    info: *mut ovl_layer_info,
    info_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("stat", store, err, |store| {
        // SAFETY: as C promises of its arguments.
        let id = unsafe { text::bytes(id, "id") }?;
        let layer = store.store.stat(id)?;
        // SAFETY: as above.
        unsafe { opts::write(info, info_size, &ovl_layer_info::from(&layer)) };
        Ok(0)
    })
}

/// One of `OVL_DURABILITY_...`.
pub(super) fn durability(number: u32) -> Result<Durability> {
    match number {
        OVL_DURABILITY_DEFAULT => Ok(Durability::Default),
        OVL_DURABILITY_NONE => Ok(Durability::None),
        OVL_DURABILITY_FULL => Ok(Durability::Full),
        OVL_DURABILITY_VERIFIED => Ok(Durability::Verified),
        other => Err(opts::unknown("durability", other)),
    }
}
