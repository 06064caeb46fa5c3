//! Hands things from one thread to another, in order, with room for so many on the way.
//!
//! Either end may close it: who gives learns that nobody takes any more, who takes still gets what
//! was given before. A thread that waits sleeps; nobody spins, and who does not have to wait makes no
//! system call.

use crate::bell::Bell;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// See the module's text.
pub struct Relay<T> {
    state: Mutex<State<T>>,
    /// Something came, or it was closed.
    filled: Bell,
    /// Something went, or it was closed.
    freed: Bell,
    room: usize,
}

struct State<T> {
    queue: VecDeque<T>,
    closed: bool,
}

impl<T> State<T> {
    /// Whether who gives has to wait.
    fn is_full(&self, room: usize) -> bool {
        self.queue.len() >= room && !self.closed
    }
}

impl<T> Relay<T> {
    /// One with room for `room` things, at least one.
    pub fn new(room: usize) -> Self {
        Relay {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                closed: false,
            }),
            filled: Bell::default(),
            freed: Bell::default(),
            room: room.max(1),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics with the lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `item`, when there is room for it; gives it back where nobody takes any more.
    pub fn give(&self, item: T) -> Result<(), T> {
        let mut state = self.state();
        while state.is_full(self.room) {
            state = self.freed.wait(state);
        }
        self.push(state, item)
    }

    /// The same; while there is no room, `look` is called every so often, and its error ends the wait.
    pub fn give_looking<E>(
        &self,
        item: T,
        every: Duration,
        mut look: impl FnMut() -> Result<(), E>,
    ) -> Result<Result<(), T>, E> {
        let mut state = self.state();
        while state.is_full(self.room) {
            state = self
                .freed
                .wait_looking(&self.state, state, every, &mut look)?;
        }
        Ok(self.push(state, item))
    }

    fn push(&self, mut state: MutexGuard<'_, State<T>>, item: T) -> Result<(), T> {
        if state.closed {
            return Err(item);
        }
        state.queue.push_back(item);
        drop(state);
        self.filled.ring();
        Ok(())
    }

    /// The next thing; `None` when it was closed and nothing is left.
    pub fn take(&self) -> Option<T> {
        let mut state = self.state();
        loop {
            if let Some(item) = state.queue.pop_front() {
                drop(state);
                self.freed.ring();
                return Some(item);
            }
            if state.closed {
                return None;
            }
            state = self.filled.wait(state);
        }
    }

    /// As [`Relay::take`]; while there is nothing, `look` is called every so often, and its error
    /// ends the wait.
    pub fn take_looking<E>(
        &self,
        every: Duration,
        mut look: impl FnMut() -> Result<(), E>,
    ) -> Result<Option<T>, E> {
        let mut state = self.state();
        loop {
            if let Some(item) = state.queue.pop_front() {
                drop(state);
                self.freed.ring();
                return Ok(Some(item));
            }
            if state.closed {
                return Ok(None);
            }
            state = self
                .filled
                .wait_looking(&self.state, state, every, &mut look)?;
        }
    }

    /// The next thing if there is one now.
    pub fn take_now(&self) -> Option<T> {
        let item = self.state().queue.pop_front();
        if item.is_some() {
            self.freed.ring();
        }
        item
    }

    /// Gives `item` if there is room now; else it is dropped.
    pub fn give_now(&self, item: T) {
        let state = self.state();
        if state.queue.len() < self.room {
            let _ = self.push(state, item);
        }
    }

    /// Nobody gives or takes any more. What is on the way can still be taken.
    pub fn close(&self) {
        self.state().closed = true;
        self.filled.ring_for_all();
        self.freed.ring_for_all();
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// How many things are on the way.
    pub fn length(&self) -> usize {
        self.state().queue.len()
    }

    /// Whether who gives would have to wait.
    pub fn is_full(&self) -> bool {
        self.state().is_full(self.room)
    }

    /// Waits until it is closed, or for so long; whether it is.
    pub fn closed_within(&self, time: Duration) -> bool {
        let state = self.state();
        if state.closed {
            return true;
        }
        self.freed
            .wait_while(state, time, |state| !state.closed)
            .closed
    }

    /// Closes it when dropped: an end that panics must not leave the other one waiting.
    pub fn closing(&self) -> Closing<'_, T> {
        Closing(self)
    }
}

/// See [`Relay::closing`].
pub struct Closing<'a, T>(&'a Relay<T>);

impl<T> Drop for Closing<'_, T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn in_order_and_never_more_than_there_is_room_for() {
        for room in [1, 2, 7] {
            let relay = Relay::new(room);
            let on_the_way = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let _closing = relay.closing();
                    for n in 0..10_000 {
                        on_the_way.fetch_add(1, Ordering::SeqCst);
                        relay.give(n).unwrap();
                    }
                });
                let mut next = 0;
                while let Some(n) = relay.take() {
                    assert_eq!(n, next);
                    next += 1;
                    // One that waits to be given, and one that was just taken.
                    assert!(on_the_way.fetch_sub(1, Ordering::SeqCst) <= room + 2);
                }
                assert_eq!(next, 10_000);
            });
        }
    }

    #[test]
    fn whoever_waits_learns_of_the_end() {
        let relay = Relay::new(1);
        relay.give(1).unwrap();
        std::thread::scope(|scope| {
            let giver = scope.spawn(|| relay.give(2));
            let looker = scope
                .spawn(|| relay.give_looking(3, Duration::from_millis(1), || Ok::<(), ()>(())));
            let waiter = scope.spawn(|| relay.closed_within(Duration::from_secs(600)));
            std::thread::sleep(Duration::from_millis(20));
            relay.close();
            assert_eq!(giver.join().unwrap(), Err(2));
            assert_eq!(looker.join().unwrap(), Ok(Err(3)));
            assert!(waiter.join().unwrap());
        });
        assert_eq!((relay.take(), relay.take()), (Some(1), None));
        let empty: Relay<u8> = Relay::new(1);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| empty.take());
            std::thread::sleep(Duration::from_millis(20));
            empty.close();
            assert_eq!(taker.join().unwrap(), None);
        });
    }

    #[test]
    fn a_look_ends_the_wait() {
        let relay = Relay::new(1);
        let every = Duration::from_millis(1);
        relay.give(1).unwrap();
        let mut looks = 0;
        let ended = relay.give_looking(2, every, || {
            looks += 1;
            if looks == 3 { Err("enough") } else { Ok(()) }
        });
        assert_eq!(ended, Err("enough"));
        assert!(!relay.closed_within(every));
    }

    #[test]
    fn a_look_ends_the_wait_for_something() {
        let relay: Relay<u8> = Relay::new(1);
        let every = Duration::from_millis(1);
        let mut looks = 0;
        let mut look = || {
            looks += 1;
            if looks == 3 { Err("enough") } else { Ok(()) }
        };
        assert_eq!(relay.take_looking(every, &mut look), Err("enough"));
        relay.give(1).unwrap();
        relay.close();
        // What is there needs no look.
        let never = || Err("looked");
        assert_eq!(relay.take_looking(every, never), Ok(Some(1)));
        assert_eq!(relay.take_looking(every, never), Ok(None));
    }

    #[test]
    fn what_has_no_room_now_is_dropped() {
        let relay = Relay::new(1);
        assert_eq!((relay.length(), relay.is_full()), (0, false));
        relay.give_now(1);
        relay.give_now(2);
        assert_eq!((relay.length(), relay.is_full()), (1, true));
        assert_eq!((relay.take_now(), relay.take_now()), (Some(1), None));
        relay.give_now(3);
        relay.close();
        assert!(relay.is_closed() && !relay.is_full(), "nobody waits");
    }
}
