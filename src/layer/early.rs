//! The disk writes while a long apply goes on: the sync at its end, which has to wait until all is there, has
//! little left to wait for.
//!
//! What fails here the apply fails with: it may have been told here alone.

use crate::error::{Result, SysResult};
use crate::relay::Relay;
use crate::sys::thread::{self, Started, Threads};
use crate::sys::{OwnedFd, SysCall, fs};
use std::thread::Scope;

/// So much of the tar is read from one sync to the next, at least.
const STEP: usize = 32 << 20;

/// Asks a thread of its own for a sync now and then.
pub struct Early<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    asked: &'scope Relay<()>,
    /// On the file system; an open file that nobody else syncs by.
    root: Option<&'scope OwnedFd>,
    step: usize,
    read: usize,
    thread: Option<Started<'scope, SysCall<()>>>,
}

impl<'scope, 'env> Early<'scope, 'env> {
    /// Nothing is synced without a `root`.
    pub fn new(
        scope: &'scope Scope<'scope, 'env>,
        asked: &'scope Relay<()>,
        root: Option<&'scope OwnedFd>,
        threads: Threads,
    ) -> Self {
        Early {
            scope,
            asked,
            root,
            step: if threads == Threads::Always { 1 } else { STEP },
            read: 0,
            thread: None,
        }
    }

    /// So many bytes more of the tar were read.
    pub fn read(&mut self, bytes: usize) {
        self.read += bytes;
        let (true, Some(root)) = (self.read >= self.step, self.root) else {
            return;
        };
        self.read = 0;
        if self.thread.is_none() {
            let asked = self.asked;
            let work = move || {
                while asked.take().is_some() {
                    fs::sync_fs(root)?;
                }
                Ok(())
            };
            self.thread = thread::start(self.scope, "ovl-sync", work).ok();
            // Without a thread all is left to the end.
            self.root = self.thread.as_ref().map(|_| root);
        }
        // Where it is still at the one before, that is enough.
        self.asked.give_now(());
    }

    /// No more are asked for; waits for the one that is under way.
    pub fn end(mut self) -> Result<()> {
        self.stop();
        match self.thread.take() {
            Some(thread) => thread.join().call("syncfs"),
            None => Ok(()),
        }
    }

    fn stop(&self) {
        // All is synced in the end anyway.
        self.asked.take_now();
        self.asked.close();
    }
}

impl Drop for Early<'_, '_> {
    fn drop(&mut self) {
        self.stop();
        // What has failed already is told; but no thread outlives the call.
        let _ = self.thread.take().map(Started::wait);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn no_thread_outlives_a_call_that_fails() {
        let root = tempfile::tempdir().unwrap();
        let root = OwnedFd::from(std::fs::File::open(root.path()).unwrap());
        for _ in 0..200 {
            let asked = Relay::new(1);
            std::thread::scope(|scope| {
                let mut early = Early::new(scope, &asked, Some(&root), Threads::Always);
                early.read(1);
                let number = early.thread.as_ref().unwrap().number();
                drop(early);
                let task = PathBuf::from(format!("/proc/self/task/{number}"));
                assert!(!task.exists(), "{}", task.display());
            });
        }
    }
}
