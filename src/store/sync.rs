//! One syncfs(2) for all layers that wait for one.
//!
//! Callers that come while one is under way gather, and one of them then syncs for all of these.
//! A write that failed long ago is told only to descriptors that were open then: of those who
//! gathered, the one whose descriptor is the oldest is asked.

use crate::error::Errno;
use crate::sys::{AsFd, OwnedFd, SysCall, fs};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The order in which descriptors were opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(u64);

/// See the module's text.
#[derive(Default)]
pub struct GroupSync {
    ages: AtomicU64,
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Default)]
struct State {
    /// The number of the group that gathers.
    group: u64,
    /// Who has come to it.
    waiting: Vec<(Age, OwnedFd)>,
    /// Somebody syncs for the group before.
    busy: bool,
    /// What came out for groups whose members have not all gone.
    results: BTreeMap<u64, (SysCall<()>, usize)>,
}

impl GroupSync {
    /// The age of a descriptor that was just opened: to be asked before the first write.
    pub fn age(&self) -> Age {
        Age(self.ages.fetch_add(1, Ordering::Relaxed))
    }

    /// Has all that was written before the call on the disk, as [`fs::sync_fs`] does.
    pub fn sync(&self, fd: impl AsFd, age: Age) -> SysCall<()> {
        self.sync_by(fd, age, |fd| fs::sync_fs(fd))
    }

    fn sync_by(
        &self,
        fd: impl AsFd,
        age: Age,
        sync: impl Fn(&OwnedFd) -> SysCall<()>,
    ) -> SysCall<()> {
        // The same open file: what failed before is told to it too.
        let own = crate::sys::fd::duplicate(&fd)?;
        let mut state = self.lock();
        let group = state.group;
        state.waiting.push((age, own));
        loop {
            if let Some(result) = state.take(group) {
                return result;
            }
            if state.busy {
                state = self
                    .done
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let members = std::mem::take(&mut state.waiting);
            state.group += 1;
            state.busy = true;
            drop(state);
            let oldest = members.iter().min_by_key(|(age, _)| *age);
            let result = oldest.map_or(Err(Errno::IO), |(_, fd)| sync(fd));
            let count = members.len();
            // They hold their owners' locks.
            drop(members);
            state = self.lock();
            state.busy = false;
            state.results.insert(group, (result, count));
            self.done.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What came out for a member of `group`.
    fn take(&mut self, group: u64) -> Option<SysCall<()>> {
        let (result, left) = self.results.get_mut(&group)?;
        let result = *result;
        *left -= 1;
        if *left == 0 {
            self.results.remove(&group);
        }
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn file() -> OwnedFd {
        tempfile::tempfile().unwrap().into()
    }

    #[test]
    fn those_who_wait_share_one() {
        let group = GroupSync::default();
        let calls = AtomicU64::new(0);
        let (entered, begun) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let slow = |_: &OwnedFd| {
            if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                entered.send(()).unwrap();
                gate.lock().unwrap().recv().unwrap();
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            scope.spawn(|| group.sync_by(file(), group.age(), slow).unwrap());
            begun.recv().unwrap();
            // All of these come too late for the first, which is under way.
            for _ in 0..8 {
                scope.spawn(|| group.sync_by(file(), group.age(), slow).unwrap());
            }
            while group.lock().waiting.len() < 8 {
                std::thread::yield_now();
            }
            go.send(()).unwrap();
        });
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        assert!(group.lock().results.is_empty());
    }

    #[test]
    fn a_failure_is_everybodys_and_the_oldest_is_asked() {
        let group = GroupSync::default();
        let (entered, begun) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let (old, old_age) = (file(), group.age());
        let (new, new_age) = (file(), group.age());
        let asked = Mutex::new(Vec::new());
        let same =
            |a: &OwnedFd, b: &OwnedFd| fs::stat(a).unwrap().same_inode(&fs::stat(b).unwrap());
        let fails = |fd: &OwnedFd| {
            asked.lock().unwrap().push(same(fd, &old));
            Err(Errno::IO)
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let wait = |_: &OwnedFd| {
                    entered.send(()).unwrap();
                    gate.lock().unwrap().recv().unwrap();
                    Ok(())
                };
                group.sync_by(file(), group.age(), wait).unwrap();
            });
            begun.recv().unwrap();
            let both = [(&new, new_age), (&old, old_age)].map(|(fd, age)| {
                let (group, fails) = (&group, &fails);
                scope.spawn(move || group.sync_by(fd, age, fails))
            });
            while group.lock().waiting.len() < 2 {
                std::thread::yield_now();
            }
            go.send(()).unwrap();
            for one in both {
                assert_eq!(one.join().unwrap(), Err(Errno::IO));
            }
        });
        assert_eq!(*asked.lock().unwrap(), [true]);
    }
}
