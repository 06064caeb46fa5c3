//! The log callback of a store.

use super::constants::{OVL_LOG_DEBUG, OVL_LOG_ERROR, OVL_LOG_WARNING};
use super::opts;
use crate::error::Result;
use crate::store::LogLevel;
use std::ffi::{CString, c_char, c_void};

/// Is told what a store does, one line without a newline at a time. It runs on the thread that made
/// the call, during the call; where threads share a store, it may run on several at once. `message`
/// is valid during the callback alone.
pub type ovl_log_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, level: u32, message: *const c_char)>;

/// What the store calls: the caller's function as a closure, or nothing.
pub(super) type Log = Box<dyn Fn(LogLevel, &str) + Send + Sync>;

/// A pointer of the caller's that goes back to the caller's function and nowhere else.
struct User(*mut c_void);

// SAFETY: libovl never looks at it; that the function bears calls from every thread that uses the
// store stands in the contract of ovl_log_fn.
unsafe impl Send for User {}
// SAFETY: as above.
unsafe impl Sync for User {}

impl User {
    fn pointer(&self) -> *mut c_void {
        self.0
    }
}

/// The caller's log function, told nothing above `level` (0: errors and warnings).
pub(super) fn new(callback: ovl_log_fn, user: *mut c_void, level: u32) -> Result<Option<Log>> {
    let highest = match level {
        0 => OVL_LOG_WARNING,
        OVL_LOG_ERROR..=OVL_LOG_DEBUG => level,
        _ => return Err(opts::unknown("log_level", level)),
    };
    let Some(callback) = callback else {
        return Ok(None);
    };
    let user = User(user);
    Ok(Some(Box::new(move |level, message| {
        let level = level as u32;
        if level > highest {
            return;
        }
        // What cannot be said in C after that is said with the NUL spelled out.
        let message = CString::new(message.replace('\0', "\\0")).unwrap_or_default();
        // SAFETY: the contract of ovl_log_fn; `message` lives to the end of the call.
        unsafe { callback(user.pointer(), level, message.as_ptr()) };
    })))
}
