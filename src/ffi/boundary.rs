//! The one way in and out of the library for C.
//!
//! Whatever goes wrong inside comes out as `-errno`: a failed call, a NULL, a handle that came
//! through a fork, a panic. A panic is a bug of ours and must not unwind into C. It also means that
//! a handle may be in a state that nobody thought of, so the handle is *poisoned*: every later call
//! on it answers ENOTRECOVERABLE.
//!
//! Nothing here allocates on the way of success, so a getter may be called wherever C may.

use super::error::ovl_error;
use crate::error::{Code, Errno, Error, Result};
use crate::sys::fd::has_procfs;
use crate::sys::signal::FileSizeLimit;
use std::any::Any;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

/// What a handle knows of its maker and its health.
pub(super) struct Owner {
    process: u32,
    poisoned: AtomicBool,
}

impl Owner {
    /// Owned by the calling process, in good health.
    pub fn new() -> Self {
        Owner {
            process: std::process::id(),
            poisoned: AtomicBool::new(false),
        }
    }

    /// Whether the calling process is a forked child of the maker.
    ///
    /// Descriptors in a child share the parent's locks; to work with them would be to work with
    /// two processes under one lock.
    fn is_elsewhere(&self) -> bool {
        self.process != std::process::id()
    }

    fn check(&self) -> Result<()> {
        if self.is_elsewhere() {
            return Err(Error::new(
                Code::Forked,
                Errno::OWNERDEAD,
                "the handle belongs to the process that made it, and this is a forked child of it",
            ));
        }
        if self.poisoned.load(Ordering::Relaxed) {
            return Err(Error::new(
                Code::Bug,
                Errno::NOTRECOVERABLE,
                "an earlier call on this handle met a bug of libovl",
            ));
        }
        Ok(())
    }
}

/// What C holds a pointer to, made by `Box::into_raw`.
pub(super) trait Handle: Sized {
    /// What to call it in a message.
    const NAME: &'static str;

    /// Its owner; `None` for plain memory, which works in a forked child too.
    fn owner(&self) -> Option<&Owner>;

    /// EBADF where its descriptors are not its own any more.
    fn check_descriptors(&self) -> Result<()> {
        Ok(())
    }

    /// Gives it up in a forked child: descriptors are closed, and nothing else is touched, neither
    /// on disk nor in the kernel.
    fn close_in_child(self) {
        drop(self);
    }
}

/// A call that has no handle.
pub(super) fn call(
    operation: &'static str,
    err: *mut *mut ovl_error,
    body: impl FnOnce() -> Result<c_int>,
) -> c_int {
    let _limit = FileSizeLimit::hold_back();
    match catch(body) {
        Ok(Ok(value)) => value,
        Ok(Err(error)) | Err(error) => fail(operation, err, error),
    }
}

/// A call on a handle.
pub(super) fn on<H: Handle>(
    operation: &'static str,
    handle: *const H,
    err: *mut *mut ovl_error,
    body: impl FnOnce(&H) -> Result<c_int>,
) -> c_int {
    let _limit = FileSizeLimit::hold_back();
    match enter(handle, body) {
        Ok(value) => value,
        Err(error) => fail(operation, err, error),
    }
}

/// A call that ends the handle where it succeeds.
pub(super) fn end<H: Handle>(
    operation: &'static str,
    handle: *mut H,
    err: *mut *mut ovl_error,
    body: impl FnOnce(&H) -> Result<()>,
) -> c_int {
    let _limit = FileSizeLimit::hold_back();
    match enter(handle.cast_const(), body) {
        Ok(()) => {
            free(handle);
            0
        }
        Err(error) => fail(operation, err, error),
    }
}

/// A question to a handle that has no `err`; `otherwise` makes the answer where there is none.
pub(super) fn get<H: Handle, T>(
    handle: *const H,
    otherwise: impl FnOnce(Errno) -> T,
    body: impl FnOnce(&H) -> T,
) -> T {
    match enter(handle, |handle| Ok(body(handle))) {
        Ok(value) => value,
        Err(error) => {
            set_errno(positive(error.errno()));
            otherwise(error.errno())
        }
    }
}

/// Makes a value where nothing can go wrong but a bug.
pub(super) fn make<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    match catch(body) {
        Ok(value) => value,
        Err(error) => {
            set_errno(positive(error.errno()));
            otherwise
        }
    }
}

/// Gives a handle up. NULL is fine. Never tells an error, and leaves errno alone.
pub(super) fn free<H: Handle>(handle: *mut H) {
    if handle.is_null() {
        return;
    }
    let before = errno();
    // A panic here has nobody to be told to, and what is left of the handle is gone either way.
    let _ = catch(|| {
        // SAFETY: C hands back, once, what `Box::into_raw` gave it.
        let handle = *unsafe { Box::from_raw(handle) };
        match handle.owner() {
            Some(owner) if owner.is_elsewhere() => handle.close_in_child(),
            _ => drop(handle),
        }
    });
    set_errno(before);
}

/// EINVAL where a pointer that the call writes its result to is NULL.
pub(super) fn not_null<T>(out: *mut T, name: &str) -> Result<*mut T> {
    if out.is_null() {
        return Err(Error::invalid(format!("{name} is NULL")));
    }
    Ok(out)
}

/// Gives `value` to C as a new handle.
///
/// # Safety
/// `out` is valid for a write of a pointer.
pub(super) unsafe fn give<H: Handle>(out: *mut *mut H, value: H) {
    // SAFETY: the caller's promise.
    unsafe { out.write(Box::into_raw(Box::new(value))) };
}

/// Runs `body` on a handle that was checked; a panic poisons it.
fn enter<H: Handle, T>(handle: *const H, body: impl FnOnce(&H) -> Result<T>) -> Result<T> {
    // SAFETY: C passes NULL or what `give` gave it, not yet freed.
    let Some(handle) = (unsafe { handle.as_ref() }) else {
        return Err(Error::invalid(format!("the {} is NULL", H::NAME)));
    };
    if let Some(owner) = handle.owner() {
        owner.check()?;
    }
    handle.check_descriptors()?;
    catch(|| body(handle)).unwrap_or_else(|bug| {
        if let Some(owner) = handle.owner() {
            owner.poisoned.store(true, Ordering::Relaxed);
        }
        Err(bug)
    })
}

/// Turns a panic into an error.
///
/// That a panic may have left a value half changed is what poisoning is for, hence
/// `AssertUnwindSafe`.
fn catch<T>(body: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
        let words = words_of(payload.as_ref());
        // Dropping a payload runs code that may panic again; only the usual ones are dropped.
        if words.is_none() {
            std::mem::forget(payload);
        }
        Error::new(
            Code::Bug,
            Errno::NOTRECOVERABLE,
            format!(
                "a bug of libovl: {}",
                words.unwrap_or_else(|| "no message".to_string())
            ),
        )
    })
}

fn words_of(payload: &(dyn Any + Send)) -> Option<String> {
    payload
        .downcast_ref::<&str>()
        .map(|words| (*words).to_string())
        .or_else(|| payload.downcast_ref::<String>().cloned())
}

/// Fills `*err` and errno, and makes the return value.
fn fail(operation: &'static str, err: *mut *mut ovl_error, error: Error) -> c_int {
    let errno = error.errno();
    if !err.is_null() {
        let error = match errno {
            Errno::NOENT if kernels(error.code()) && !has_procfs() => {
                error.context("there is no procfs at /proc, which this may need")
            }
            _ => error,
        };
        let error = ovl_error::new(&error.op(operation));
        // SAFETY: not NULL, and C says it is valid for a write of a pointer.
        unsafe { give(err, error) };
    }
    let raw = positive(errno);
    set_errno(raw);
    -raw
}

/// Whether an error of that code may have the errno of a system call.
fn kernels(code: Code) -> bool {
    matches!(code, Code::System | Code::Changed)
}

/// An errno that C can tell from success.
pub(super) fn positive(errno: Errno) -> c_int {
    checked(errno.raw_os_error())
}

/// `raw` if it is an errno, else EIO.
pub(super) fn checked(raw: c_int) -> c_int {
    match raw {
        1..=4095 => raw,
        _ => libc::EIO,
    }
}

fn errno() -> c_int {
    // SAFETY: glibc and musl give a pointer to the calling thread's errno, always valid.
    unsafe { *libc::__errno_location() }
}

fn set_errno(raw: c_int) {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = raw };
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "tests/boundary.rs"]
mod tests;
