//! `struct ovl_store`: opening one, and the questions about all of it.

use super::boundary::{self, Handle, Owner, not_null};
use super::cancel::{Control, ovl_cancel, ovl_progress_fn};
use super::constants::{
    OVL_CHECK_DAMAGE, OVL_CHECK_NOTE, OVL_CHECK_REPAIRED, OVL_MARKS_AUTO, OVL_MARKS_TRUSTED,
    OVL_MARKS_USER,
};
use super::error::ovl_error;
use super::iter::{Item, ovl_iter};
use super::log::{self, ovl_log_fn};
use super::opts::{self, Plain};
use super::text;
use crate::error::Result;
use crate::store::{CheckFlags, CleanupOptions, MarksChoice, OpenOptions, Store};
use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

/// An open store. Any number of threads may use it at once.
pub struct ovl_store {
    owner: Owner,
    pub(super) store: Store,
}

const _: fn() = || {
    fn is_shareable<T: Send + Sync>() {}
    is_shareable::<ovl_store>();
};

impl Handle for ovl_store {
    const NAME: &'static str = "store";

    fn owner(&self) -> Option<&Owner> {
        Some(&self.owner)
    }

    fn check_descriptors(&self) -> Result<()> {
        self.store.check_descriptors()
    }
}

/// Options of ovl_store_open().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_store_opts {
    /// `OVL_STORE_...`
    pub flags: u64,
    /// `OVL_MARKS_...`. Another than the store has is -EINVAL.
    pub marks: u32,
    /// The most talkative level to tell, `OVL_LOG_...`; 0 is OVL_LOG_WARNING.
    pub log_level: u32,
    /// Is told what the store does; NULL for nobody.
    pub log: ovl_log_fn,
    /// Handed to `log`.
    pub log_user: *mut c_void,
}

// SAFETY: integers, a pointer, and a function pointer in an `Option`.
unsafe impl Plain for ovl_store_opts {}

/// Options of ovl_list(): none yet.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_list_opts {
    /// 0.
    pub flags: u64,
}

// SAFETY: an integer.
unsafe impl Plain for ovl_list_opts {}

/// Options of ovl_status(): none yet.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_status_opts {
    /// 0.
    pub flags: u64,
}

// SAFETY: an integer.
unsafe impl Plain for ovl_status_opts {}

/// Options of ovl_cleanup().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_cleanup_opts {
    /// 0.
    pub flags: u64,
    /// Stops the call when it is raised, or NULL.
    pub cancel: *mut ovl_cancel,
    /// Is told how far the call is, or NULL.
    pub progress: ovl_progress_fn,
    /// Handed to `progress`.
    pub progress_user: *mut c_void,
    /// Milliseconds to work at most; 0 is as long as it takes.
    pub budget_ms: u64,
}

// SAFETY: integers, pointers, and a function pointer in an `Option`.
unsafe impl Plain for ovl_cleanup_opts {}

/// What ovl_cleanup() did.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_cleanup_stats {
    /// Remains that were removed: of calls that never ended, and of layers removed before.
    pub removed: u64,
    /// Remains that somebody is still working on, or that cannot be removed now (what is mounted
    /// in them, a flag, the disk); the log tells which.
    pub busy: u64,
    /// Mounts that a killed process left behind, and that were ended.
    pub unmounted: u64,
    /// Small things taken out of layers: pins of mounts that have ended, hints of children that are
    /// gone, files that were to replace others.
    pub dropped: u64,
    /// What there was no time for: remains, and layers that were not looked at. 0 is all done.
    pub left: u64,
}

// SAFETY: integers.
unsafe impl Plain for ovl_cleanup_stats {}

/// Options of ovl_check().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_check_opts {
    /// OVL_CHECK_REPAIR or 0.
    pub flags: u64,
    /// Stops the call when it is raised, or NULL.
    pub cancel: *mut ovl_cancel,
    /// Is told how far the call is, or NULL.
    pub progress: ovl_progress_fn,
    /// Handed to `progress`.
    pub progress_user: *mut c_void,
}

// SAFETY: an integer, pointers, and a function pointer in an `Option`.
unsafe impl Plain for ovl_check_opts {}

/// Opens the store in the directory `home`. A directory that is missing or empty becomes a store,
/// unless OVL_STORE_MUST_EXIST or OVL_STORE_READ_ONLY is given; the directories that lead to it are
/// made too.
///
/// Returns 0 and a handle in `*out`, which the caller frees with ovl_store_free(). Many processes,
/// and many handles in one process, may have the same store open.
/// Errors: ENOENT no store there, and none is to be made; ENOTEMPTY the directory has other things
/// in it (OVL_E_NOT_EMPTY); ENOTDIR; EACCES also for a store of another user; EPERM; EINVAL also
/// where `marks` is not what the store has; EOPNOTSUPP a format that this library does not know
/// (OVL_E_FORMAT); ENOSPC, EROFS and what else making a directory meets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_store_open(
    home: *const c_char,
    opts: *const ovl_store_opts,
    opts_size: usize,
    out: *mut *mut ovl_store,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::call("store_open", err, || {
        let out = not_null(out, "out")?;
        // SAFETY: as C promises of its arguments.
        let (home, opts) = unsafe { (text::bytes(home, "home")?, opts::read(opts, opts_size)?) };
        let options = OpenOptions {
            flags: opts::flags(opts.flags)?,
            marks: match opts.marks {
                OVL_MARKS_AUTO => MarksChoice::Auto,
                OVL_MARKS_TRUSTED => MarksChoice::Trusted,
                OVL_MARKS_USER => MarksChoice::User,
                other => return Err(opts::unknown("marks", other)),
            },
            log: log::new(opts.log, opts.log_user, opts.log_level)?,
        };
        let store = ovl_store {
            store: Store::open(home, options)?,
            owner: Owner::new(),
        };
        // SAFETY: not NULL, and C says it is valid for a write of a pointer.
        unsafe { boundary::give(out, store) };
        Ok(0)
    })
}

/// Closes a store. Mounts and what was made from it (`ovl_mnt`, `ovl_iter`) stay as they are. No
/// call on it may still run. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_store_free(store: *mut ovl_store) {
    boundary::free(store);
}

/// Lists the layers of a store, by id in the order of bytes.
///
/// Returns 0 and an iterator in `*out`, which the caller frees with ovl_iter_free(). Its items:
/// `name` is the id. The list is that of one moment.
/// Errors: EIO and what else reading a directory meets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_list(
    store: *mut ovl_store,
    opts: *const ovl_list_opts,
    opts_size: usize,
    out: *mut *mut ovl_iter,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("list", store, err, |store| {
        let out = not_null(out, "out")?;
        // SAFETY: as C promises of its arguments.
        let opts = unsafe { opts::read(opts, opts_size) }?;
        opts::reserved(opts.flags)?;
        let items = store.store.list()?;
        let items = items.into_iter().map(|id| Item::new(0, id, "")).collect();
        // SAFETY: not NULL, and C says it is valid for a write of a pointer.
        unsafe { boundary::give(out, ovl_iter::new(items)) };
        Ok(0)
    })
}

/// Tells what the store can do here: with this kernel, this file system, these privileges. It finds
/// out by doing it.
///
/// Returns 0 and an iterator in `*out`, which the caller frees with ovl_iter_free(). Its items:
/// `name` is a capability, `what` 1 or 0 whether it is there, `detail` why.
/// Errors: EIO, ENOSPC and what else the trial meets that is no answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_status(
    store: *mut ovl_store,
    opts: *const ovl_status_opts,
    opts_size: usize,
    out: *mut *mut ovl_iter,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("status", store, err, |store| {
        let out = not_null(out, "out")?;
        // SAFETY: as C promises of its arguments.
        let opts = unsafe { opts::read(opts, opts_size) }?;
        opts::reserved(opts.flags)?;
        let items = store.store.status()?;
        let items = items
            .into_iter()
            .map(|one| Item::new(u32::from(one.ok), one.name, one.reason))
            .collect();
        // SAFETY: not NULL, and C says it is valid for a write of a pointer.
        unsafe { boundary::give(out, ovl_iter::new(items)) };
        Ok(0)
    })
}

/// Removes what killed processes and power cuts left behind, and ends the mounts of killed
/// processes. Work in progress is left alone, and so is every layer that has anything to lose,
/// however damaged. Nobody must call this: every call copes with remains; they only take room.
///
/// With `budget_ms` it stops in time, be it half-way through one large removal; what is left is for
/// the next call. Each call gets on with it, however short the time. One thing that cannot be
/// removed does not keep the others: it is counted (`busy`) and told to the log.
///
/// Returns 0 and fills `*stats` (of `stats_size` bytes), unless it is NULL.
/// Errors: EROFS a store opened read-only; EACCES, EIO and what else reading the store meets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_cleanup(
    store: *mut ovl_store,
    opts: *const ovl_cleanup_opts,
    opts_size: usize,
    stats: *mut ovl_cleanup_stats,
    stats_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("cleanup", store, err, |store| {
        // SAFETY: as C promises of its arguments.
        let opts = unsafe { opts::read(opts, opts_size) }?;
        opts::reserved(opts.flags)?;
        // SAFETY: as above.
        let control = unsafe { Control::new(opts.cancel, opts.progress, opts.progress_user) };
        let options = CleanupOptions {
            budget: (opts.budget_ms > 0).then(|| Duration::from_millis(opts.budget_ms)),
            ..CleanupOptions::default()
        };
        let done = control.watch(|watch| store.store.cleanup_with(&options, watch))?;
        let done = ovl_cleanup_stats {
            removed: done.removed,
            busy: done.busy,
            unmounted: done.unmounted,
            dropped: done.dropped,
            left: done.left,
        };
        // SAFETY: as above.
        unsafe { opts::write(stats, stats_size, &done) };
        Ok(0)
    })
}

/// Reads the whole store and looks for damage. Nothing is changed, and nobody is waited for longer
/// than a second; what is in use for longer is told so.
///
/// With OVL_CHECK_REPAIR what can be mended without losing anything is mended, and the store must
/// not be open elsewhere, in this process neither.
///
/// Returns 0 and an iterator in `*out`, which the caller frees with ovl_iter_free(). Its items:
/// `name` is the layer or the path, `detail` the kind of damage (words that stay as they are), a
/// colon, and the damage in words; `what` is OVL_CHECK_DAMAGE, OVL_CHECK_REPAIRED, or
/// OVL_CHECK_NOTE for what is no damage: something that could not be looked at, as the contents of
/// files whose digests the layer has not. No items but notes are good news. Damage is no error of
/// this call.
/// Errors: of a repair EROFS a store opened read-only, EBUSY it is open elsewhere (OVL_E_LOCKED);
/// EIO and what else reading meets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_check(
    store: *mut ovl_store,
    opts: *const ovl_check_opts,
    opts_size: usize,
    out: *mut *mut ovl_iter,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("check", store, err, |store| {
        let out = not_null(out, "out")?;
        // SAFETY: as C promises of its arguments.
        let opts = unsafe { opts::read(opts, opts_size) }?;
        let flags: CheckFlags = opts::flags(opts.flags)?;
        // SAFETY: as above.
        let control = unsafe { Control::new(opts.cancel, opts.progress, opts.progress_user) };
        let items = control.watch(|watch| store.store.check(flags, watch))?;
        let items = items
            .into_iter()
            .map(|one| {
                let words = format!("{}: {}", one.kind, one.detail);
                let what = match (one.note, one.repaired) {
                    (true, _) => OVL_CHECK_NOTE,
                    (false, true) => OVL_CHECK_REPAIRED,
                    (false, false) => OVL_CHECK_DAMAGE,
                };
                Item::new(what, one.layer, words)
            })
            .collect();
        // SAFETY: not NULL, and C says it is valid for a write of a pointer.
        unsafe { boundary::give(out, ovl_iter::new(items)) };
        Ok(0)
    })
}
