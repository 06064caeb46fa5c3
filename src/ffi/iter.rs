//! `struct ovl_iter`: a list of results, item by item.
//!
//! The list is whole before the caller sees the first item, so an iterator holds no descriptor, no
//! lock and no store.

use super::boundary::{self, Handle, Owner, not_null};
use super::error::ovl_error;
use super::opts::{self, Plain};
use super::text::Text;
use std::ffi::{c_char, c_int};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A list of results. One thread at a time may use it; it may be handed from thread to thread. It
/// stays as it is whatever becomes of the store.
pub struct ovl_iter {
    owner: Owner,
    items: Vec<Item>,
    next: AtomicUsize,
}

/// One item, owned.
pub(super) struct Item {
    name: Text,
    detail: Text,
    what: u32,
}

impl Item {
    pub fn new(what: u32, name: impl Into<Vec<u8>>, detail: impl Into<Vec<u8>>) -> Self {
        Item {
            name: Text::new(name),
            detail: Text::new(detail),
            what,
        }
    }
}

impl ovl_iter {
    pub(super) fn new(items: Vec<Item>) -> Self {
        ovl_iter {
            owner: Owner::new(),
            items,
            next: AtomicUsize::new(0),
        }
    }
}

impl Handle for ovl_iter {
    const NAME: &'static str = "iterator";

    fn owner(&self) -> Option<&Owner> {
        Some(&self.owner)
    }
}

/// One item of a list. What its members mean stands with the function that made the list. Both
/// strings are NUL-terminated bytes, borrowed from the iterator until its next ovl_iter_next() or
/// ovl_iter_free(); neither is ever NULL.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_item {
    /// The name.
    pub name: *const c_char,
    /// The length of `name`, its NUL not counted.
    pub name_len: u64,
    /// More about it, "" if there is nothing to say.
    pub detail: *const c_char,
    /// The length of `detail`, its NUL not counted.
    pub detail_len: u64,
    /// What it is.
    pub what: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: integers and pointers.
unsafe impl Plain for ovl_item {}

/// Fills `*item` (of `size` bytes) with the next item.
///
/// Returns 1 and an item, or 0 at the end, with `*item` untouched; 0 again if called again.
/// Errors: EINVAL `iter` or `item` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_iter_next(
    iter: *mut ovl_iter,
    item: *mut ovl_item,
    size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("iter_next", iter, err, |iter| {
        let to = not_null(item, "item")?;
        // Each item is given once, and the count never runs past the end.
        let at = iter
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                (at < iter.items.len()).then_some(at + 1)
            });
        let Some(item) = at.ok().and_then(|at| iter.items.get(at)) else {
            return Ok(0);
        };
        let item = ovl_item {
            name: item.name.as_ptr(),
            name_len: item.name.len() as u64,
            detail: item.detail.as_ptr(),
            detail_len: item.detail.len() as u64,
            what: item.what,
            reserved: 0,
        };
        // SAFETY: C says that `to` is writable for `size` bytes.
        unsafe { opts::write(to, size, &item) };
        Ok(1)
    })
}

/// Frees an iterator and all that was borrowed from it. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_iter_free(iter: *mut ovl_iter) {
    boundary::free(iter);
}
