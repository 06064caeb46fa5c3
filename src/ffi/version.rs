//! The version of the library.

use super::boundary;
use std::ffi::{CStr, c_char};

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version holds no NUL"),
    };

/// The version of the library that runs, as "0.1.0". Never NULL; valid for ever.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_version() -> *const c_char {
    boundary::make(VERSION.as_ptr(), || VERSION.as_ptr())
}
