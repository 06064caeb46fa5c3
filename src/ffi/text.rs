//! Strings across the boundary: bytes, never required to be UTF-8.

use crate::error::{Error, Result};
use std::ffi::{CStr, c_char};

/// A string of C's; EINVAL for NULL.
///
/// # Safety
/// `text` is NULL or a NUL-terminated string that outlives `'a`.
pub(super) unsafe fn bytes<'a>(text: *const c_char, name: &str) -> Result<&'a [u8]> {
    // SAFETY: the caller's promise.
    unsafe { optional(text) }.ok_or_else(|| Error::invalid(format!("{name} is NULL")))
}

/// A string of C's, or none.
///
/// # Safety
/// As for [`bytes`].
pub(super) unsafe fn optional<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not NULL, so NUL-terminated and long-lived by the caller's promise.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// A string for C that a handle keeps: its bytes, and a NUL after them.
pub(super) struct Text(Vec<u8>);

impl Text {
    /// Keeps `bytes` as they are. A NUL among them ends the string early for C, which is why a
    /// length goes with those that can hold one.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        let mut bytes = bytes.into();
        bytes.push(0);
        Text(bytes)
    }

    /// Where it begins; valid as long as `self` is.
    pub fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }

    /// Its length, the last NUL not counted.
    pub fn len(&self) -> usize {
        self.0.len() - 1
    }
}

/// An array of a result struct that holds `text` and ends in NUL.
///
/// Ids and digests are bounded below these sizes; a longer text would be a bug, and is cut.
pub(super) fn array<const N: usize>(text: &str) -> [c_char; N] {
    let mut array = [0; N];
    let room = N.saturating_sub(1);
    for (to, from) in array.iter_mut().take(room).zip(text.bytes()) {
        *to = from as c_char;
    }
    array
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "tests/text.rs"]
mod tests;
