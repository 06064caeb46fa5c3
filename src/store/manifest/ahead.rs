//! The entries of a long tree, with a thread that walks ahead.
//!
//! Walking a directory and asking each file for its attributes cost the kernel about as much as all
//! that is done with an entry afterwards. The thread walks, and whenever it is far enough ahead it
//! asks: the farthest entries first, while who takes them asks for the nearest that are not asked for
//! yet. So neither waits for the other, whatever is dearer on this file system.

use super::entries::{Batch, Walker};
use crate::bell::Bell;
use crate::error::Result;
use crate::sys::BorrowedFd;
use crate::sys::thread::{self, Room, Threads};
use crate::tree::chain::OPEN;
use crate::watch::{LOOK, Watch};
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many entries are done before a thread is started: it costs some eighty system calls.
const LONG: usize = 4000;

/// How far the thread is ahead at most.
const AHEAD: usize = 16;

/// What the thread may have open: a directory and one in it for each that it is ahead, and its way.
const DESCRIPTORS: u64 = (2 * AHEAD + OPEN + 2) as u64;

/// Calls `each` with all entries of a walk, their attributes asked for.
pub fn each(
    mut walker: Walker<'_>,
    threads: Threads,
    watch: &mut Watch<'_>,
    mut each: impl FnMut(Batch, &mut Watch<'_>) -> Result<()>,
) -> Result<()> {
    let mut done = 0;
    let mut may = threads != Threads::Never;
    while let Some(mut batch) = walker.next()? {
        batch.ask()?;
        done += batch.names.len();
        let dir = batch.dir.clone();
        each(batch, watch)?;
        if may && (done >= LONG || threads == Threads::Always) {
            may = false;
            if let Some(_room) = room(threads, done >= LONG, dir.as_fd()) {
                return ahead(walker, watch, each);
            }
        }
    }
    Ok(())
}

fn room(threads: Threads, long: bool, fd: BorrowedFd<'_>) -> Option<Room> {
    let wanted = threads.wanted(long);
    wanted.then(|| Room::take(fd, DESCRIPTORS)).flatten()
}

/// Goes on with a thread that walks; without, where none can be started.
fn ahead(
    mut walker: Walker<'_>,
    watch: &mut Watch<'_>,
    mut each: impl FnMut(Batch, &mut Watch<'_>) -> Result<()>,
) -> Result<()> {
    let queue = Queue::default();
    let started = std::thread::scope(|scope| {
        let walk = || {
            let _closing = Closing(&queue);
            queue.walk(&mut walker);
        };
        let Ok(started) = thread::start(scope, "ovl-entries", walk) else {
            return Ok(false);
        };
        // However this thread leaves, the other one does not go on.
        let closing = Closing(&queue);
        let taken: Result<bool> = (|| {
            while let Some(batch) = queue.take(watch)? {
                each(batch, watch)?;
            }
            Ok(true)
        })();
        drop(closing);
        started.join();
        taken
    })?;
    if !started {
        while let Some(mut batch) = walker.next()? {
            batch.ask()?;
            each(batch, watch)?;
        }
    }
    Ok(())
}

/// What the thread is ahead, in order.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// There is more to be taken, or no more will come.
    filled: Bell,
    /// There is more to be done for the thread.
    freed: Bell,
}

#[derive(Default)]
struct State {
    slots: VecDeque<Slot>,
    /// How many were taken.
    taken: usize,
    /// No more will come, or none is wanted.
    closed: bool,
}

enum Slot {
    /// Walked.
    Raw(Batch),
    /// The thread asks for its attributes.
    Asking,
    /// They are there.
    Ready(Result<Batch>),
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics with the lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread does.
    fn walk(&self, walker: &mut Walker<'_>) {
        let mut more = true;
        loop {
            let mut state = self.state();
            if state.closed {
                return;
            }
            if more && state.slots.len() < AHEAD {
                drop(state);
                let slot = match walker.next() {
                    Ok(Some(batch)) => Slot::Raw(batch),
                    Ok(None) => {
                        more = false;
                        continue;
                    }
                    Err(error) => {
                        more = false;
                        Slot::Ready(Err(error))
                    }
                };
                self.state().slots.push_back(slot);
                self.filled.ring();
                continue;
            }
            let raw = |slot: &Slot| matches!(slot, Slot::Raw(_));
            let Some(at) = state.slots.iter().rposition(raw) else {
                if !more {
                    return;
                }
                // Not for each that is taken: a thread that sleeps is woken by a system call.
                while state.slots.len() > AHEAD / 2 && !state.closed {
                    state = self.freed.wait(state);
                }
                continue;
            };
            let number = state.taken + at;
            let slot = std::mem::replace(&mut state.slots[at], Slot::Asking);
            drop(state);
            let Slot::Raw(mut batch) = slot else {
                return;
            };
            let asked = batch.ask().map(|()| batch);
            let mut state = self.state();
            let at = number - state.taken;
            state.slots[at] = Slot::Ready(asked);
            drop(state);
            self.filled.ring();
        }
    }

    /// The next entries, with their attributes.
    fn take(&self, watch: &mut Watch<'_>) -> Result<Option<Batch>> {
        let mut state = self.state();
        loop {
            match state.slots.front() {
                Some(Slot::Asking) | None if !state.closed => {}
                Some(Slot::Asking) | None => return Ok(None),
                Some(_) => {
                    let slot = state.slots.pop_front();
                    state.taken += 1;
                    let low = state.slots.len() == AHEAD / 2;
                    drop(state);
                    if low {
                        self.freed.ring();
                    }
                    return match slot {
                        Some(Slot::Raw(mut batch)) => batch.ask().map(|()| Some(batch)),
                        Some(Slot::Ready(asked)) => asked.map(Some),
                        _ => Ok(None),
                    };
                }
            }
            let look = &mut || watch.check();
            state = self.filled.wait_looking(&self.state, state, LOOK, look)?;
        }
    }
}

/// Nobody waits any more when it is dropped.
struct Closing<'a>(&'a Queue);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.filled.ring_for_all();
        self.0.freed.ring_for_all();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::{Errno, Error};
    use crate::sys::fs;
    use std::path::Path;

    fn tree(dir: &Path) {
        for d in 0..40 {
            let at = dir.join(format!("{}/{d}", d % 3));
            std::fs::create_dir_all(&at).unwrap();
            for f in 0..d * 10 {
                std::fs::write(at.join(f.to_string()), "x".repeat(f)).unwrap();
            }
        }
        let deep: std::path::PathBuf = (0..100).map(|_| "d").collect();
        std::fs::create_dir_all(dir.join(deep)).unwrap();
    }

    fn walker(dir: &Path) -> Walker<'static> {
        let root = fs::open_dir_trusted(rustix::fs::CWD, dir.as_os_str().as_encoded_bytes());
        Walker::new(root.unwrap(), None)
    }

    /// Every entry's path and size, in the order in which they come.
    fn told(dir: &Path, threads: Threads) -> Vec<(Vec<u8>, u64)> {
        let mut told = Vec::new();
        let take = |batch: Batch, _: &mut Watch<'_>| {
            assert!(batch.names.len() == batch.metas.len() && !batch.names.is_empty());
            for (name, meta) in batch.names.iter().zip(&batch.metas) {
                told.push((batch.path_of(name), meta.size));
            }
            Ok(())
        };
        each(walker(dir), threads, &mut Watch::default(), take).unwrap();
        told
    }

    #[test]
    fn all_entries_in_one_order() {
        let dir = tempfile::tempdir().unwrap();
        tree(dir.path());
        let alone = told(dir.path(), Threads::Never);
        assert_eq!(alone.len(), 3 + 40 + 7800 + 100);
        let parts = |path: &[u8]| path.split(|&b| b == b'/').map(<[u8]>::to_vec).collect();
        let keys: Vec<Vec<Vec<u8>>> = alone.iter().map(|(path, _)| parts(path)).collect();
        assert!(keys.is_sorted());
        for _ in 0..20 {
            assert_eq!(told(dir.path(), Threads::Always), alone);
            assert_eq!(told(dir.path(), Threads::Auto), alone);
        }
    }

    #[test]
    fn an_end_of_either_side_ends_both() {
        let dir = tempfile::tempdir().unwrap();
        tree(dir.path());
        for stop in [0, 1, 10, 50, 90] {
            let mut taken = 0;
            let take = |_: Batch, _: &mut Watch<'_>| {
                taken += 1;
                match taken > stop {
                    true => Err(Error::sys(Errno::NOSPC, "write")),
                    false => Ok(()),
                }
            };
            let root = walker(dir.path());
            let error = each(root, Threads::Always, &mut Watch::default(), take).unwrap_err();
            assert_eq!((error.errno(), taken), (Errno::NOSPC, stop + 1));
        }
        let cancel = crate::watch::Cancel::new();
        let take = |_: Batch, watch: &mut Watch<'_>| {
            cancel.trigger();
            watch.check()
        };
        let watch = &mut Watch::new(Some(&cancel), None);
        let error = each(walker(dir.path()), Threads::Always, watch, take).unwrap_err();
        assert_eq!(error.errno(), Errno::CANCELED);
    }

    #[test]
    fn an_error_comes_after_what_is_before_it() {
        let dir = tempfile::tempdir().unwrap();
        tree(dir.path());
        let mut before = Vec::new();
        let take = |batch: Batch, _: &mut Watch<'_>| {
            // The thread may have been there.
            let _ = std::fs::remove_dir_all(dir.path().join("d"));
            let _ = std::fs::remove_dir_all(dir.path().join("2"));
            before.extend(batch.names.iter().map(|name| batch.path_of(name)));
            Ok(())
        };
        let root = walker(dir.path());
        let error = each(root, Threads::Always, &mut Watch::default(), take).unwrap_err();
        assert_eq!(error.errno(), Errno::NOENT);
        assert!(before.len() > 5000, "{}", before.len());
    }
}
