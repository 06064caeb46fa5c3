//! flock(2) on directories: who uses what. A lock ends with its owner, however he ends.
//!
//! | directory | shared | exclusive |
//! |---|---|---|
//! | home | every open store | repair, change of format |
//! | `stage/<nonce>` | | its maker |
//! | `layer/<id>` | building on it, diff | commit, apply into, remove |
//! | `layer/<id>/pin` | | mounting and unmounting it |
//! | `layer/<id>/work` (`root`) | every mount handle | |
//!
//! Order: home, parent before child, then by id, `pin`, `work`.

use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::AsFd;
use crate::sys::fs::{self, FlockOperation};
use crate::watch::Watch;
use std::time::{Duration, Instant};

/// How a directory is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// With others.
    Shared,
    /// Alone.
    Exclusive,
}

/// How long a call waits for another to be done with a layer. Work under an exclusive lock is
/// short, but for an apply into a layer that exists.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Takes the lock if it is free.
pub fn try_lock(fd: impl AsFd, mode: Mode) -> Result<bool> {
    let operation = match mode {
        Mode::Shared => FlockOperation::NonBlockingLockShared,
        Mode::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    match fs::flock(fd, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno).call("flock"),
    }
}

/// Gives the lock up, whoever else has the open file.
pub fn unlock(fd: impl AsFd) {
    let _ = fs::flock(fd, FlockOperation::Unlock);
}

/// Waits for the lock up to `patience`, and no longer than the caller does; EBUSY then.
pub fn lock(fd: impl AsFd, mode: Mode, patience: Duration, watch: &mut Watch<'_>) -> Result<()> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(200);
    while !try_lock(&fd, mode)? {
        watch.check()?;
        if start.elapsed() >= patience {
            return Err(Error::new(
                Code::Locked,
                Errno::BUSY,
                "another caller is working on it",
            ));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(())
}
