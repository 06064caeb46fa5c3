use super::*;
use crate::ffi::error;
use std::ffi::CStr;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

struct Thing {
    owner: Owner,
    dropped: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

impl Handle for Thing {
    const NAME: &'static str = "thing";

    fn owner(&self) -> Option<&Owner> {
        Some(&self.owner)
    }

    fn close_in_child(self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

fn thing() -> (*mut Thing, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (dropped, closed) = (Arc::default(), Arc::default());
    let thing = Thing {
        owner: Owner::new(),
        dropped: Arc::clone(&dropped),
        closed: Arc::clone(&closed),
    };
    (Box::into_raw(Box::new(thing)), dropped, closed)
}

fn message(error: *const ovl_error) -> String {
    // SAFETY: an error of the boundary's.
    let message = unsafe { CStr::from_ptr(error::ovl_error_message(error)) };
    message.to_str().unwrap().to_string()
}

fn code(error: *const ovl_error) -> u32 {
    // SAFETY: an error of the boundary's.
    unsafe { error::ovl_error_code(error) }
}

#[test]
fn success_leaves_err_and_errno_alone() {
    let mut err = std::ptr::without_provenance_mut::<ovl_error>(0x10);
    set_errno(77);
    assert_eq!(call("try", &raw mut err, || Ok(5)), 5);
    assert_eq!(err as usize, 0x10);
    assert_eq!(errno(), 77);
}

#[test]
fn failure_is_told_thrice() {
    let mut err = null_mut();
    let failing = || Err(Error::sys(Errno::NOSPC, "write").at("/some/where").op("x"));
    assert_eq!(call("try", &raw mut err, failing), -libc::ENOSPC);
    assert_eq!(errno(), libc::ENOSPC);
    // SAFETY: an error of the boundary's; `len` is ours.
    unsafe {
        assert_eq!(error::ovl_error_errno(err), libc::ENOSPC);
        let mut len = 0;
        let path = error::ovl_error_path(err, &raw mut len);
        assert_eq!(CStr::from_ptr(path).to_bytes(), b"/some/where");
        assert_eq!(len, 11);
        let operation = error::ovl_error_operation(err);
        assert_eq!(CStr::from_ptr(operation).to_bytes(), b"try");
    }
    assert_eq!(message(err), "write: No space left on device");
    free(err);
    assert_eq!(call("try", null_mut(), failing), -libc::ENOSPC);
}

#[test]
fn a_path_with_nul_keeps_its_length() {
    let mut err = null_mut();
    let failing = || Err(Error::invalid("a\0b").at(b"x\0y"));
    assert_eq!(call("try", &raw mut err, failing), -libc::EINVAL);
    assert_eq!(message(err), "a\\0b");
    // SAFETY: an error of the boundary's; `len` is ours.
    unsafe {
        let mut len = 0;
        let path = error::ovl_error_path(err, &raw mut len);
        assert_eq!(std::slice::from_raw_parts(path.cast::<u8>(), len), b"x\0y");
    }
    free(err);
}

#[test]
fn null_error_has_getters() {
    // SAFETY: NULL is allowed.
    unsafe {
        assert_eq!(error::ovl_error_errno(null()), 0);
        assert_eq!(error::ovl_error_code(null()), 0);
        assert_eq!(error::ovl_error_callback_result(null()), 0);
        let mut len = 9;
        let path = error::ovl_error_path(null(), &raw mut len);
        assert_eq!((CStr::from_ptr(path).to_bytes(), len), (&b""[..], 0));
        error::ovl_error_path(null(), null_mut());
        assert!(!error::ovl_error_message(null()).is_null());
        assert!(!error::ovl_error_operation(null()).is_null());
        error::ovl_error_free(null_mut());
    }
}

#[test]
fn a_panic_is_an_errno_and_poisons() {
    let (handle, dropped, closed) = thing();
    let mut err = null_mut();
    let result = on("try", handle, &raw mut err, |_| panic!("a {}", "mishap"));
    assert_eq!(result, -libc::ENOTRECOVERABLE);
    assert_eq!(errno(), libc::ENOTRECOVERABLE);
    assert_eq!(message(err), "a bug of libovl: a mishap");
    assert_eq!(code(err), Code::Bug as u32);
    free(err);

    let mut ran = false;
    let again = on("try", handle, &raw mut err, |_| {
        ran = true;
        Ok(0)
    });
    assert_eq!(again, -libc::ENOTRECOVERABLE);
    assert!(!ran);
    assert_eq!(code(err), Code::Bug as u32);
    free(err);
    assert_eq!(get(handle, |errno| -positive(errno), |_| 0), again);

    free(handle);
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    assert_eq!(closed.load(Ordering::Relaxed), 0);
}

#[test]
fn an_error_does_not_poison() {
    let (handle, ..) = thing();
    let failing = |_: &Thing| Err(Error::invalid("no"));
    assert_eq!(on("try", handle, null_mut(), failing), -libc::EINVAL);
    assert_eq!(on("try", handle, null_mut(), |_| Ok(3)), 3);
    free(handle);
}

#[test]
fn a_panic_without_a_handle_is_an_errno() {
    let odd = || std::panic::panic_any(7_u8);
    assert_eq!(call("try", null_mut(), odd), -libc::ENOTRECOVERABLE);
    assert_eq!(make(-1, || panic!("x")), -1);
}

#[test]
fn null_handle() {
    let mut err = null_mut();
    let result = on("try", null::<Thing>(), &raw mut err, |_| Ok(0));
    assert_eq!(result, -libc::EINVAL);
    assert_eq!(message(err), "the thing is NULL");
    free(err);
    free(null_mut::<Thing>());
    assert_eq!(
        end("try", null_mut::<Thing>(), null_mut(), |_| Ok(())),
        -libc::EINVAL
    );
}

#[test]
fn an_end_frees_on_success_alone() {
    let (handle, dropped, _) = thing();
    let failing = |_: &Thing| Err(Error::sys(Errno::BUSY, "umount2"));
    assert_eq!(end("try", handle, null_mut(), failing), -libc::EBUSY);
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    assert_eq!(end("try", handle, null_mut(), |_| Ok(())), 0);
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

#[test]
fn a_forked_child_may_only_free() {
    let (handle, dropped, closed) = thing();
    // What fork(2) does to a handle: it is the same, and the process is another.
    // SAFETY: the handle is alive and nobody else has it.
    unsafe { (*handle).owner.process = std::process::id() ^ 1 };
    let mut err = null_mut();
    let result = on("try", handle, &raw mut err, |_| Ok(0));
    assert_eq!(result, -libc::EOWNERDEAD);
    assert_eq!(code(err), Code::Forked as u32);
    free(err);
    assert_eq!(end("try", handle, null_mut(), |_| Ok(())), result);
    set_errno(5);
    free(handle);
    assert_eq!(errno(), 5);
    assert_eq!(closed.load(Ordering::Relaxed), 1);
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

#[test]
fn an_errno_that_is_none_is_eio() {
    assert_eq!(checked(0), libc::EIO);
    assert_eq!(checked(-3), libc::EIO);
    assert_eq!(checked(i32::MIN), libc::EIO);
    assert_eq!(checked(4095), 4095);
    assert_eq!(checked(4096), libc::EIO);
}
