//! Stopping and watching a call: `struct ovl_cancel`, and the progress callback.

use super::boundary::{self, Handle, Owner};
use super::opts::Plain;
use crate::error::Result;
use crate::watch::{Cancel, Progress, ProgressFn, Watch};
use std::ffi::{c_int, c_void};

/// A flag that stops calls. It may be given to any number of calls, on any threads, at once.
pub struct ovl_cancel(Cancel);

impl Handle for ovl_cancel {
    const NAME: &'static str = "cancel object";

    // A flag in memory: a forked child has its own copy.
    fn owner(&self) -> Option<&Owner> {
        None
    }
}

/// How far a call is. Both members only grow.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_progress {
    /// Entries done: files, directories and all else that has a name.
    pub entries: u64,
    /// Bytes done.
    pub bytes: u64,
}

// SAFETY: integers.
unsafe impl Plain for ovl_progress {}

/// Is told how far a call is, at most about ten times a second, and of little work not at all.
/// Non-zero stops the call, which then returns -ECANCELED (OVL_E_CANCELLED);
/// ovl_error_callback_result() gives the number back. `size` is the size of `*progress`, which is
/// valid during the callback alone.
pub type ovl_progress_fn = Option<
    unsafe extern "C" fn(user: *mut c_void, progress: *const ovl_progress, size: usize) -> c_int,
>;

/// Makes a flag that is down. The caller frees it with ovl_cancel_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_cancel_new() -> *mut ovl_cancel {
    boundary::make(std::ptr::null_mut(), || {
        Box::into_raw(Box::new(ovl_cancel(Cancel::new())))
    })
}

/// Raises the flag, for good: every call that was given it, now or later, returns -ECANCELED soon
/// and undoes what it had begun. One atomic store; any thread may do it, and a signal handler too.
/// NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_cancel_trigger(cancel: *mut ovl_cancel) {
    // Not by the way of a handle: an error would be allocated, which a signal handler may not.
    boundary::make((), || {
        // SAFETY: NULL, or made by ovl_cancel_new() and not yet freed.
        if let Some(cancel) = unsafe { cancel.as_ref() } {
            cancel.0.trigger();
        }
    });
}

/// Frees the flag. No call that was given it may still run. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_cancel_free(cancel: *mut ovl_cancel) {
    boundary::free(cancel);
}

/// How a caller watches one call.
pub(super) struct Control<'a> {
    cancel: Option<&'a Cancel>,
    progress: ovl_progress_fn,
    user: *mut c_void,
}

impl<'a> Control<'a> {
    /// From the members of an option struct.
    ///
    /// # Safety
    /// `cancel` is NULL or a live object that outlives `'a`; `progress` may be called with `user`.
    pub unsafe fn new(
        cancel: *mut ovl_cancel,
        progress: ovl_progress_fn,
        user: *mut c_void,
    ) -> Self {
        Control {
            // SAFETY: the caller's promise.
            cancel: unsafe { cancel.as_ref() }.map(|cancel| &cancel.0),
            progress,
            user,
        }
    }

    /// The caller's flag.
    pub fn cancel(&self) -> Option<&'a Cancel> {
        self.cancel
    }

    /// Does `work` under the caller's eyes.
    pub fn watch<T>(&self, work: impl FnOnce(&mut Watch<'_>) -> Result<T>) -> Result<T> {
        let Some(callback) = self.progress else {
            return work(&mut Watch::new(self.cancel, None));
        };
        let mut tell = |now: &Progress| {
            let now = ovl_progress {
                entries: now.entries,
                bytes: now.bytes,
            };
            // SAFETY: the promise of `new`; `now` is alive and of that size.
            unsafe { callback(self.user, &raw const now, size_of::<ovl_progress>()) }
        };
        let progress: &mut ProgressFn<'_> = &mut tell;
        work(&mut Watch::new(self.cancel, Some(progress)))
    }
}
