//! Handles of the C side, freed when they are dropped.
#![allow(unsafe_code)] // They are freed by C, and go from thread to thread as the header allows.

use crate::api::Log;
use crate::c_abi::{library, ovl_cancel, ovl_mnt, ovl_store};

pub struct Store {
    pub raw: *mut ovl_store,
    /// What the log callback writes to; it outlives the handle.
    pub _log: Option<Box<Log>>,
}

// SAFETY: the header says that any number of threads may use it.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: made by ovl_store_open(), and freed here alone.
        unsafe { (library().ovl_store_free)(self.raw) };
    }
}

pub struct Mount(pub *mut ovl_mnt);

// SAFETY: the header says that it may be handed from thread to thread.
unsafe impl Send for Mount {}

impl Drop for Mount {
    fn drop(&mut self) {
        // SAFETY: made by ovl_mount(); NULL after an ovl_unmount() that freed it.
        unsafe { (library().ovl_mnt_free)(self.0) };
    }
}

pub struct Cancel(pub *mut ovl_cancel);

// SAFETY: the header says that any thread may use it.
unsafe impl Send for Cancel {}
// SAFETY: as above.
unsafe impl Sync for Cancel {}

impl Drop for Cancel {
    fn drop(&mut self) {
        // SAFETY: made by ovl_cancel_new(), and freed here alone.
        unsafe { (library().ovl_cancel_free)(self.0) };
    }
}
