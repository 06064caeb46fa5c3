//! `struct ovl_error`: what failed, where and why.
//!
//! It is a copy in C's terms, made at the boundary when the caller asked for one, and it never
//! changes. It is plain memory, so a forked child can read it too.

use super::boundary::{self, Handle, Owner};
use super::text::Text;
use crate::error::Error;
use std::ffi::{c_char, c_int};

/// What failed, where and why. Made by a failing call that was given an `err`, freed by the caller
/// with ovl_error_free(). It never changes, and any thread may read it.
pub struct ovl_error {
    errno: c_int,
    code: u32,
    callback: c_int,
    operation: Text,
    path: Text,
    message: Text,
}

impl ovl_error {
    pub(super) fn new(error: &Error) -> Self {
        ovl_error {
            errno: boundary::positive(error.errno()),
            code: error.code() as u32,
            callback: error.said_by_callback(),
            operation: Text::new(error.operation()),
            path: Text::new(error.path()),
            // Kernel and archive words may hold a NUL; the rest must not be lost behind it.
            message: Text::new(error.message().replace('\0', "\\0")),
        }
    }
}

impl Handle for ovl_error {
    const NAME: &'static str = "error";

    fn owner(&self) -> Option<&Owner> {
        None
    }
}

/// The errno of a failure, positive: what the call returned, negated. 0 if `error` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_error_errno(error: *const ovl_error) -> c_int {
    boundary::get(error, |_| 0, |error| error.errno)
}

/// The stable code of a failure, one of `OVL_E_...`: it tells conditions apart that share an errno,
/// and never changes its meaning. A newer library may answer codes that are not in this header.
/// 0 if `error` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_error_code(error: *const ovl_error) -> u32 {
    boundary::get(error, |_| 0, |error| error.code)
}

/// The operation that failed: the name of the function without `ovl_`, as "apply_layer". Borrowed
/// from `error`, valid until it is freed; "" if `error` is NULL, never NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_error_operation(error: *const ovl_error) -> *const c_char {
    boundary::get(error, |_| c"".as_ptr(), |error| error.operation.as_ptr())
}

/// The path or name that the failure is about, "" if there is none or `error` is NULL, never NULL.
/// Borrowed from `error`, valid until it is freed. It is bytes: it need not be UTF-8, and a path
/// out of a broken archive may hold any byte; `len`, if not NULL, receives its length without the
/// NUL at its end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_error_path(error: *const ovl_error, len: *mut usize) -> *const c_char {
    boundary::get(
        error,
        |_| {
            // SAFETY: as C promises of `len`.
            unsafe { tell(len, 0) };
            c"".as_ptr()
        },
        |error| {
            // SAFETY: as above.
            unsafe { tell(len, error.path.len()) };
            error.path.as_ptr()
        },
    )
}

/// The failure in words, with its causes, the outermost first, joined by ": ". UTF-8, one
/// line unless the kernel's own words have more. Borrowed from `error`, valid until it is freed; ""
/// if `error` is NULL, never NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_error_message(error: *const ovl_error) -> *const c_char {
    boundary::get(error, |_| c"".as_ptr(), |error| error.message.as_ptr())
}

/// What the caller's own callback returned when it ended the call: non-zero from `progress`,
/// negative from `read` or `write`. Else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_error_callback_result(error: *const ovl_error) -> c_int {
    boundary::get(error, |_| 0, |error| error.callback)
}

/// Frees an error and all that was borrowed from it. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_error_free(error: *mut ovl_error) {
    boundary::free(error);
}

/// # Safety
/// `to` is NULL or valid for a write.
unsafe fn tell(to: *mut usize, value: usize) {
    if !to.is_null() {
        // SAFETY: the caller's promise.
        unsafe { to.write(value) };
    }
}
