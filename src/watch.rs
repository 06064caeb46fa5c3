//! Progress and cancellation of one call.
//!
//! A [`Watch`] is handed down through a long call. Work reports entries and bytes to it; it asks
//! the caller's [`Cancel`] at every entry and calls the caller's progress function, on the calling
//! thread, at most ten times a second.

use crate::error::{Code, Errno, Error, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A flag that any thread, or a signal handler, may raise to stop a call.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Cancel {
    /// A flag that is down.
    pub const fn new() -> Self {
        Cancel(AtomicBool::new(false))
    }

    /// Raises the flag; one atomic store.
    pub fn trigger(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the flag is up.
    pub fn is_triggered(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How far a call is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Entries done.
    pub entries: u64,
    /// Bytes of content done.
    pub bytes: u64,
}

/// The caller's progress function; non-zero stops the call.
pub type ProgressFn<'a> = dyn FnMut(&Progress) -> i32 + 'a;

/// How long a thread of a call waits for another before it looks whether the caller wants to stop.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

const EVERY: Duration = Duration::from_millis(100);
/// Looking at the clock costs more than counting.
const CLOCK_ENTRIES: u64 = 64;
const CLOCK_BYTES: u64 = 4 << 20;

/// See the module's text.
#[derive(Default)]
pub struct Watch<'a> {
    cancel: Option<&'a Cancel>,
    progress: Option<&'a mut ProgressFn<'a>>,
    now: Progress,
    looked: Progress,
    told: Option<Instant>,
    deadline: Option<Instant>,
    late: bool,
    seat: Option<&'a Seat<'a>>,
    /// It is the calling thread's, which counts for all.
    leads: bool,
}

/// The watch of a call as its other threads see it: they count, and are told to stop. Functions of
/// the caller's are called on the calling thread alone, which looks now and then ([`Watch::look`]).
#[derive(Debug)]
pub struct Seat<'a> {
    cancel: Option<&'a Cancel>,
    deadline: Option<Instant>,
    stopped: AtomicBool,
    late: AtomicBool,
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Seat<'_> {
    /// A watch for another thread.
    pub fn watch(&self) -> Watch<'_> {
        Watch {
            cancel: self.cancel,
            deadline: self.deadline,
            seat: Some(self),
            ..Watch::default()
        }
    }

    /// All of the call's threads are to stop.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

impl<'a> Watch<'a> {
    /// Watches with the caller's flag and function.
    pub fn new(cancel: Option<&'a Cancel>, progress: Option<&'a mut ProgressFn<'a>>) -> Self {
        Watch {
            cancel,
            progress,
            ..Watch::default()
        }
    }

    /// From then on the work is to stop, as if the caller had cancelled it; [`Watch::is_late`] tells
    /// the two apart.
    pub fn until(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
        self.late = false;
    }

    /// Whether it was the time that stopped the work.
    pub fn is_late(&self) -> bool {
        self.late
    }

    /// What other threads of this call share with it.
    pub fn seat<'s>(&self) -> Seat<'s>
    where
        'a: 's,
    {
        Seat {
            cancel: self.cancel,
            deadline: self.deadline,
            stopped: AtomicBool::new(false),
            late: AtomicBool::new(false),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Takes what the other threads have done since the last look for its own, and checks. What
    /// it fails with, they are to stop for.
    pub fn look(&mut self, seat: &Seat<'_>) -> Result<()> {
        self.now.entries += seat.entries.swap(0, Ordering::Relaxed);
        self.now.bytes += seat.bytes.swap(0, Ordering::Relaxed);
        self.check().inspect_err(|_| seat.stop())
    }

    /// The calling thread's part of a work that others share by `seat`: with the watch that `work`
    /// is given it looks at each entry, and is told to stop as they are.
    pub fn leading<T>(&mut self, seat: &Seat<'_>, work: impl FnOnce(&mut Watch<'_>) -> T) -> T {
        let mut leader = Watch {
            cancel: self.cancel,
            progress: self.progress.as_mut().map(|call| &mut **call as _),
            now: self.now,
            looked: self.looked,
            told: self.told,
            deadline: self.deadline,
            late: self.late,
            seat: Some(seat),
            leads: true,
        };
        let made = work(&mut leader);
        leader.gather();
        (self.now, self.looked, self.told) = (leader.now, leader.looked, leader.told);
        self.late = leader.late || seat.late.load(Ordering::Relaxed);
        made
    }

    /// Takes what the other threads have done for its own.
    fn gather(&mut self) {
        if let (true, Some(seat)) = (self.leads, self.seat) {
            self.now.entries += seat.entries.swap(0, Ordering::Relaxed);
            self.now.bytes += seat.bytes.swap(0, Ordering::Relaxed);
        }
    }

    /// The seat that it counts on, where that is not itself.
    fn counts_on(&self) -> Option<&Seat<'a>> {
        self.seat.filter(|_| !self.leads)
    }

    /// How far the call is.
    pub fn now(&self) -> Progress {
        self.now
    }

    /// One entry is done.
    pub fn entry(&mut self) -> Result<()> {
        match self.counts_on() {
            Some(seat) => drop(seat.entries.fetch_add(1, Ordering::Relaxed)),
            None => self.now.entries += 1,
        }
        self.check()
    }

    /// So many bytes are done.
    pub fn bytes(&mut self, bytes: u64) -> Result<()> {
        match self.counts_on() {
            Some(seat) => drop(seat.bytes.fetch_add(bytes, Ordering::Relaxed)),
            None => self.now.bytes += bytes,
        }
        self.check()
    }

    /// ECANCELED when the caller wants to stop.
    pub fn check(&mut self) -> Result<()> {
        let stopped = self
            .seat
            .is_some_and(|seat| seat.stopped.load(Ordering::Relaxed));
        if stopped || self.cancel.is_some_and(Cancel::is_triggered) {
            return Err(Error::new(Code::Cancelled, Errno::CANCELED, "cancelled"));
        }
        if self.deadline.is_some_and(|end| Instant::now() >= end) {
            self.late = true;
            if let Some(seat) = self.seat {
                seat.late.store(true, Ordering::Relaxed);
            }
            return Err(Error::new(
                Code::Cancelled,
                Errno::CANCELED,
                "the time is up",
            ));
        }
        if self.progress.is_some() {
            self.gather();
        }
        let Some(progress) = &mut self.progress else {
            return Ok(());
        };
        if self.now.entries - self.looked.entries < CLOCK_ENTRIES
            && self.now.bytes - self.looked.bytes < CLOCK_BYTES
        {
            return Ok(());
        }
        self.looked = self.now;
        let now = Instant::now();
        if self.told.is_some_and(|told| now - told < EVERY) {
            return Ok(());
        }
        self.told = Some(now);
        match progress(&self.now) {
            0 => Ok(()),
            said => Err(Error::new(
                Code::Cancelled,
                Errno::CANCELED,
                format!("stopped by the progress callback ({said})"),
            )
            .callback_result(said)),
        }
    }
}
