//! Threads that share a walk of a tree.
//!
//! A walk is one thread's at a time. Who has a walk with much left to do lends a part of it to
//! whoever is without work: a walk of its own. A walk that cannot go on before what it lent is done
//! is left here, and goes on with whichever thread is free then; no thread waits for a certain other.
//!
//! There are few walks at any time, and so they hold few descriptors, whatever the shape of the tree;
//! where there are as many as may be, nobody lends. They are in a table, and not in each other: none
//! is dropped by way of another one.

use crate::error::{Error, Result};
use crate::watch::{LOOK, Seat};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many walks there are at most: twice as many as threads.
pub const WALKS: usize = 8;

/// The number of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(usize);

/// See the module's text.
pub struct Crew<'a, W> {
    state: Mutex<State<W>>,
    /// Something is there to be taken, or all is over.
    changed: Condvar,
    /// A part of a walk would be taken.
    hungry: AtomicBool,
    seat: &'a Seat<'a>,
}

struct State<W> {
    /// Walks that no thread is at, and that can go on.
    ready: Vec<(Number, W)>,
    walks: [Option<Entry<W>>; WALKS],
    /// Threads without work.
    idle: usize,
    /// Others than the first thread are there, or will be at once.
    shared: bool,
    over: bool,
    error: Option<Error>,
}

struct Entry<W> {
    /// The walk that lent this one.
    lender: Option<Number>,
    /// How many walks that were lent by this one are not done.
    lent: usize,
    /// The walk, while it waits for them.
    left: Option<W>,
}

impl<W> Entry<W> {
    fn new(lender: Option<Number>) -> Self {
        Entry {
            lender,
            lent: 0,
            left: None,
        }
    }
}

impl<W> State<W> {
    fn free(&self) -> Option<usize> {
        self.walks.iter().position(Option::is_none)
    }

    fn entry(&mut self, number: Number) -> Option<&mut Entry<W>> {
        self.walks[number.0].as_mut()
    }
}

impl<'a, W> Crew<'a, W> {
    /// A crew with one walk, which the calling thread is at.
    pub fn new(seat: &'a Seat<'a>) -> (Self, Number) {
        let mut walks = [const { None }; WALKS];
        walks[0] = Some(Entry::new(None));
        let crew = Crew {
            state: Mutex::new(State {
                ready: Vec::new(),
                walks,
                idle: 0,
                shared: false,
                over: false,
                error: None,
            }),
            changed: Condvar::new(),
            hungry: AtomicBool::new(false),
            seat,
        };
        (crew, Number(0))
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        // Nothing panics with the lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called after each change.
    fn tell(&self, state: &State<W>) {
        // One walk is always ready, so that nobody who is done has to wait for a lender.
        let few = state.ready.len() <= state.idle;
        let hungry = state.shared && few && !state.over && state.free().is_some();
        self.hungry.store(hungry, Ordering::Relaxed);
    }

    /// Where the threads count, and learn that they are to stop.
    pub fn seat(&self) -> &'a Seat<'a> {
        self.seat
    }

    /// More threads come.
    pub fn share(&self) {
        let mut state = self.state();
        state.shared = true;
        self.tell(&state);
    }

    /// Whether it is worth while to lend. Costs nothing.
    pub fn is_hungry(&self) -> bool {
        self.hungry.load(Ordering::Relaxed)
    }

    /// Lends `part` of the walk `lender`. There is room for it where the crew is hungry, unless
    /// others were faster: then it comes back.
    pub fn lend(&self, lender: Number, part: W) -> Option<W> {
        let mut state = self.state();
        let Some(free) = state.free() else {
            return Some(part);
        };
        state.walks[free] = Some(Entry::new(Some(lender)));
        state.ready.push((Number(free), part));
        if let Some(entry) = state.entry(lender) {
            entry.lent += 1;
        }
        self.tell(&state);
        let idle = state.idle > 0;
        drop(state);
        if idle {
            self.changed.notify_one();
        }
        None
    }

    /// Leaves a walk here until all that it lent is done; where that is so, it comes back.
    pub fn leave(&self, number: Number, walk: W) -> Option<W> {
        let mut state = self.state();
        match state.entry(number) {
            Some(entry) if entry.lent > 0 => {
                entry.left = Some(walk);
                None
            }
            _ => Some(walk),
        }
    }

    /// The walk is done.
    pub fn done(&self, number: Number) {
        let mut state = self.state();
        let entry = state.walks[number.0].take();
        match entry.and_then(|entry| entry.lender) {
            None => state.over = true,
            Some(lender) => {
                let left = state.entry(lender).and_then(|entry| {
                    entry.lent -= 1;
                    (entry.lent == 0).then(|| entry.left.take()).flatten()
                });
                state.ready.extend(left.map(|walk| (lender, walk)));
            }
        }
        self.tell(&state);
        let idle = state.idle > 0;
        drop(state);
        if idle {
            self.changed.notify_all();
        }
    }

    /// A walk to go on with, when there is one; `None` when all is over. `look` is called every
    /// so often, and its error ends the wait.
    pub fn take(&self, mut look: impl FnMut() -> Result<()>) -> Result<Option<(Number, W)>> {
        let mut state = self.state();
        loop {
            if state.over {
                return Ok(None);
            }
            if let Some(walk) = state.ready.pop() {
                self.tell(&state);
                return Ok(Some(walk));
            }
            state.idle += 1;
            self.tell(&state);
            let (back, waited) = self
                .changed
                .wait_timeout(state, LOOK)
                .unwrap_or_else(PoisonError::into_inner);
            state = back;
            state.idle -= 1;
            self.tell(&state);
            if waited.timed_out() {
                drop(state);
                look()?;
                state = self.state();
            }
        }
    }

    /// All threads are to stop, because of `error` where it is the first.
    pub fn fail(&self, error: Error) {
        // Noted before anybody is stopped: what comes of that is not the reason.
        self.state().error.get_or_insert(error);
        self.stop();
    }

    fn stop(&self) {
        self.seat.stop();
        let mut state = self.state();
        state.over = true;
        self.tell(&state);
        drop(state);
        self.changed.notify_all();
    }

    /// Stops all threads when it is dropped by a panic.
    pub fn stopping(&self) -> Stopping<'_, 'a, W> {
        Stopping(self)
    }

    /// What went wrong, when all threads have ended.
    pub fn end(self) -> Result<()> {
        let state = self.state.into_inner();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        state.error.map_or(Ok(()), Err)
    }
}

/// See [`Crew::stopping`].
pub struct Stopping<'c, 'a, W>(&'c Crew<'a, W>);

impl<W> Drop for Stopping<'_, '_, W> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::Errno;
    use crate::watch::Watch;
    use std::sync::atomic::AtomicU64;

    /// Adds up `from..to`, lending halves.
    fn add(crew: &Crew<'_, (u64, u64)>, first: Option<(Number, (u64, u64))>, sum: &AtomicU64) {
        let mut next = first;
        while let Some((number, (mut from, mut to))) = next {
            while from < to {
                if crew.is_hungry() && to - from > 1 {
                    let half = from + (to - from) / 2;
                    match crew.lend(number, (half, to)) {
                        None => to = half,
                        Some(back) => assert_eq!(back, (half, to)),
                    }
                }
                sum.fetch_add(from, Ordering::Relaxed);
                from += 1;
            }
            if crew.leave(number, (to, to)).is_some() {
                crew.done(number);
            }
            next = crew.take(|| Ok(())).unwrap();
        }
    }

    #[test]
    fn all_is_done_once() {
        for threads in [1, 2, 7] {
            let watch = Watch::default();
            let seat = watch.seat();
            let (crew, first) = Crew::new(&seat);
            let sum = AtomicU64::new(0);
            crew.share();
            std::thread::scope(|scope| {
                for _ in 1..threads {
                    scope.spawn(|| add(&crew, None, &sum));
                }
                add(&crew, Some((first, (0, 100_000))), &sum);
            });
            crew.end().unwrap();
            assert_eq!(sum.into_inner(), 100_000 * 99_999 / 2);
        }
    }

    #[test]
    fn the_first_error_is_told_and_ends_all_waits() {
        let watch = Watch::default();
        let seat = watch.seat();
        let (crew, first) = Crew::<()>::new(&seat);
        assert!(crew.lend(first, ()).is_none());
        assert!(crew.take(|| Ok(())).unwrap().is_some());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| crew.take(|| Ok(())).unwrap().is_none());
            crew.fail(Error::sys(Errno::NOSPC, "mkdir"));
            assert!(waiter.join().unwrap());
        });
        crew.fail(seat.watch().check().unwrap_err());
        assert_eq!(crew.end().unwrap_err().errno(), Errno::NOSPC);
    }

    #[test]
    fn nobody_lends_more_than_there_is_room_for() {
        let watch = Watch::default();
        let seat = watch.seat();
        let (crew, first) = Crew::new(&seat);
        assert!(!crew.is_hungry());
        crew.share();
        assert!(crew.is_hungry());
        for n in 1..WALKS {
            assert!(crew.lend(first, n).is_none());
            assert!(!crew.is_hungry());
        }
        assert_eq!(crew.lend(first, 8), Some(8));
        assert!(crew.leave(first, 0).is_none());
        for _ in 1..WALKS {
            let (number, _) = crew.take(|| Ok(())).unwrap().unwrap();
            crew.done(number);
        }
        assert_eq!(crew.take(|| Ok(())).unwrap(), Some((first, 0)));
        crew.done(first);
        assert_eq!(crew.take(|| Ok(())).unwrap(), None);
    }

    #[test]
    fn a_look_ends_the_wait() {
        let watch = Watch::default();
        let seat = watch.seat();
        let (crew, _) = Crew::<()>::new(&seat);
        let error = crew.take(|| Err(Error::sys(Errno::CANCELED, "look")));
        assert_eq!(error.unwrap_err().errno(), Errno::CANCELED);
    }
}
