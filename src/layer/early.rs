//! The disk writes while a long apply goes on: the sync at its end, which has to wait until all is there, has
//! little left to wait for.
//!
//! Nothing depends on it. What fails here is told to who syncs at the end by a descriptor that was
//! open before the first write, and is ignored here.

use crate::relay::Relay;
use crate::sys::thread::{self, Started};
use crate::sys::{OwnedFd, fs};
use std::thread::Scope;

/// So much of the tar is read from one sync to the next, at least.
const STEP: usize = 32 << 20;

/// Asks a thread of its own for a sync now and then.
pub struct Early<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    asked: &'scope Relay<()>,
    /// On the file system; an open file that has no other use.
    root: Option<&'scope OwnedFd>,
    read: usize,
    thread: Option<Started<'scope, ()>>,
}

impl<'scope, 'env> Early<'scope, 'env> {
    /// There is none without a `root`.
    pub fn new(
        scope: &'scope Scope<'scope, 'env>,
        asked: &'scope Relay<()>,
        root: Option<&'scope OwnedFd>,
    ) -> Self {
        Early {
            scope,
            asked,
            root,
            read: 0,
            thread: None,
        }
    }

    /// So many bytes more of the tar were read.
    pub fn read(&mut self, bytes: usize) {
        self.read += bytes;
        let (true, Some(root)) = (self.read >= STEP, self.root) else {
            return;
        };
        self.read = 0;
        if self.thread.is_none() {
            let asked = self.asked;
            let work = move || while asked.take().is_some_and(|()| fs::sync_fs(root).is_ok()) {};
            self.thread = thread::start(self.scope, "ovl-sync", work).ok();
            // Without a thread it goes as it did.
            self.root = self.thread.as_ref().map(|_| root);
        }
        // Where it is still at the one before, that is enough.
        self.asked.give_now(());
    }
}

impl Drop for Early<'_, '_> {
    fn drop(&mut self) {
        // Who is waited for at the end syncs anyway.
        self.asked.take_now();
        self.asked.close();
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }
}
