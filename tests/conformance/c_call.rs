//! One call through C: its answer, its error, its iterator, and the callbacks that it makes.
//!
//! What holds for every call is asked of every call: errno is the answer's, and an error is there
//! exactly where the call failed.
#![allow(unsafe_code)] // Every call into C is, and every call that comes back.

use crate::api::{Done, Failure, Log, Progress};
use crate::c_abi::*;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};

/// Makes a call, and takes its error apart.
pub fn call(work: impl FnOnce(*mut *mut ovl_error) -> c_int) -> Done<c_int> {
    let mut error = null_mut();
    let answer = work(&raw mut error);
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap();
    if answer >= 0 {
        assert!(error.is_null(), "an error where there is none");
        return Ok(answer);
    }
    assert_eq!(errno, -answer, "errno is the answer's");
    assert!(!error.is_null(), "a failure without an error");
    let c = library();
    // SAFETY: an error that the call has just made; its strings are copied before it is freed.
    let failure = unsafe {
        let mut len = 0;
        let path = (c.ovl_error_path)(error, &raw mut len);
        let failure = Failure {
            errno: (c.ovl_error_errno)(error),
            code: (c.ovl_error_code)(error),
            operation: text((c.ovl_error_operation)(error)),
            path: std::slice::from_raw_parts(path.cast(), len).to_vec(),
            message: text((c.ovl_error_message)(error)),
            said: (c.ovl_error_callback_result)(error),
        };
        assert_eq!(*path.add(len), 0, "a path ends in NUL");
        (c.ovl_error_free)(error);
        failure
    };
    assert_eq!(failure.errno, -answer);
    Err(failure)
}

/// # Safety
/// `text` is a NUL-terminated string.
unsafe fn text(text: *const c_char) -> String {
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().expect("words are UTF-8").to_string()
}

pub fn array(text: &[c_char; 136]) -> String {
    let bytes: Vec<u8> = text.iter().map(|&c| c as u8).collect();
    let text = CStr::from_bytes_until_nul(&bytes).unwrap();
    text.to_str().unwrap().to_string()
}

pub fn string(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).unwrap()
}

pub fn path(path: &Path) -> CString {
    string(path.as_os_str().as_bytes())
}

pub fn pointer(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(null(), |text| text.as_ptr())
}

pub struct Item {
    pub name: Vec<u8>,
    pub detail: Vec<u8>,
    pub what: u32,
}

impl Item {
    pub fn name(&self) -> String {
        String::from_utf8(self.name.clone()).unwrap()
    }

    pub fn detail(&self) -> String {
        String::from_utf8(self.detail.clone()).unwrap()
    }
}

/// The items of the iterator that a call makes.
pub fn items(
    work: impl FnOnce(*mut *mut ovl_iter, *mut *mut ovl_error) -> c_int,
) -> Done<Vec<Item>> {
    let mut iter = null_mut();
    assert_eq!(call(|err| work(&raw mut iter, err))?, 0);
    let c = library();
    let mut items = Vec::new();
    let mut item = ovl_item::default();
    let size = size_of::<ovl_item>();
    // SAFETY: an iterator that the call has just made, and a struct of that size.
    while call(|err| unsafe { (c.ovl_iter_next)(iter, &raw mut item, size, err) })? == 1 {
        // SAFETY: strings that are valid until the next item is asked for.
        let bytes = |text: *const c_char, len: u64| unsafe {
            let text = CStr::from_ptr(text).to_bytes();
            assert_eq!(text.len() as u64, len);
            text.to_vec()
        };
        items.push(Item {
            name: bytes(item.name, item.name_len),
            detail: bytes(item.detail, item.detail_len),
            what: item.what,
        });
    }
    // SAFETY: at the end it stays at the end.
    let again = call(|err| unsafe { (c.ovl_iter_next)(iter, &raw mut item, size, err) })?;
    assert_eq!(again, 0);
    // SAFETY: freed here alone.
    unsafe { (c.ovl_iter_free)(iter) };
    Ok(items)
}

pub type Tell<'a> = Option<&'a mut dyn FnMut(Progress) -> i32>;

pub unsafe extern "C" fn progress(
    user: *mut c_void,
    now: *const ovl_progress,
    size: usize,
) -> c_int {
    assert_eq!(size, size_of::<ovl_progress>());
    // SAFETY: `user` is what the options said, a `Tell` of the caller's; `now` is of that size.
    let (tell, now) = unsafe { (&mut *user.cast::<Tell<'_>>(), &*now) };
    tell.as_mut().unwrap()((now.entries, now.bytes))
}

pub type Read<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<usize, i32>;

pub unsafe extern "C" fn read(user: *mut c_void, buf: *mut c_void, len: usize) -> i64 {
    // SAFETY: `user` is what the options said; the library wants up to `len` bytes at `buf`.
    let (read, buf) = unsafe {
        // What is there is not said, and must not be read by a slice: it is made zeros.
        std::ptr::write_bytes(buf.cast::<u8>(), 0, len);
        (
            &mut *user.cast::<Read<'_>>(),
            std::slice::from_raw_parts_mut(buf.cast::<u8>(), len),
        )
    };
    read(buf).map_or_else(|errno| -i64::from(errno), |n| n as i64)
}

pub type Write<'a> = &'a mut dyn FnMut(&[u8]) -> Result<usize, i32>;

pub unsafe extern "C" fn write(user: *mut c_void, buf: *const c_void, len: usize) -> i64 {
    // SAFETY: `user` is what the options said; the library has `len` bytes at `buf`.
    let (write, buf) = unsafe {
        (
            &mut *user.cast::<Write<'_>>(),
            std::slice::from_raw_parts(buf.cast::<u8>(), len),
        )
    };
    write(buf).map_or_else(|errno| -i64::from(errno), |n| n as i64)
}

pub unsafe extern "C" fn log(user: *mut c_void, level: u32, message: *const c_char) {
    // SAFETY: `user` is the log that the store's wrapper holds; `message` is a string.
    let (log, line) = unsafe { (&*user.cast::<Log>(), text(message)) };
    log.lock().unwrap().push((level, line));
}
