//! A condition that knows whether anybody waits for it: to wake nobody is a system call, too.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// See the module's text.
#[derive(Default)]
pub struct Bell {
    condition: Condvar,
    /// Counted with the lock held, so that who has changed something under it sees whoever did not
    /// see that.
    waiting: AtomicUsize,
}

impl Bell {
    /// Waits to be woken.
    pub fn wait<'m, T>(&self, guard: MutexGuard<'m, T>) -> MutexGuard<'m, T> {
        self.waiting(|condition| condition.wait(guard))
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `condition` is false, at most so long.
    pub fn wait_while<'m, T>(
        &self,
        guard: MutexGuard<'m, T>,
        longest: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'m, T> {
        self.waiting(|bell| bell.wait_timeout_while(guard, longest, condition))
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// Waits to be woken, at most so long; then `look` is called, without the lock, and its error ends
    /// the wait.
    pub fn wait_looking<'m, T, E>(
        &self,
        mutex: &'m Mutex<T>,
        guard: MutexGuard<'m, T>,
        every: Duration,
        look: &mut dyn FnMut() -> Result<(), E>,
    ) -> Result<MutexGuard<'m, T>, E> {
        let (guard, waited) = self
            .waiting(|condition| condition.wait_timeout(guard, every))
            .unwrap_or_else(PoisonError::into_inner);
        if !waited.timed_out() {
            return Ok(guard);
        }
        drop(guard);
        look()?;
        Ok(mutex.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn waiting<R>(&self, wait: impl FnOnce(&Condvar) -> R) -> R {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waited = wait(&self.condition);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        waited
    }

    fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Wakes one.
    pub fn ring(&self) {
        if self.is_waited_for() {
            self.condition.notify_one();
        }
    }

    /// Wakes all.
    pub fn ring_for_all(&self) {
        if self.is_waited_for() {
            self.condition.notify_all();
        }
    }
}
