//! Files whose content is read by who writes: the walk only leaves room for it.
//!
//! Looking at a file costs the walk as much as all that comes after costs the other thread, so the
//! reading is the other's, as long as not too many files are open for it.

use crate::error::{Error, Result, SysResult};
use crate::sys::fs::{self, Meta};
use crate::sys::{AsFd, BorrowedFd, OwnedFd, fd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Files that are open to be read later, at most.
pub(super) const MOST: usize = 256;

/// How many files there are to be read later.
#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    /// One more, if there is room for it.
    pub(super) fn one(&self) -> Option<Turn> {
        let turn = Turn(self.clone());
        (self.0.fetch_add(1, Ordering::Relaxed) < MOST).then_some(turn)
    }
}

/// One of those.
pub(super) struct Turn(Waiting);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a file must still be when it has been read.
#[derive(Clone, Copy)]
pub(super) struct Still {
    pub(super) meta: Meta,
    /// Somebody may write to it meanwhile.
    pub(super) live: bool,
}

impl Still {
    /// An error where it is another inode by now, or has had other content.
    pub(super) fn check(&self, after: &Meta) -> Result<()> {
        let Still { meta, live } = self;
        // Who writes can put the time of data back, but not that of the inode; which a new link to a
        // file of a layer that nobody writes to moves as well.
        let quiet = !live || after.ctime == meta.ctime;
        match quiet
            && after.same_inode(meta)
            && (after.size, after.mtime) == (meta.size, meta.mtime)
        {
            true => Ok(()),
            false => Err(Error::changed()),
        }
    }
}

/// A file that is to be read.
pub(super) struct Later {
    pub(super) file: Arc<OwnedFd>,
    pub(super) still: Still,
    /// Where its content goes in the piece.
    pub(super) at: usize,
    pub(super) path: Vec<u8>,
    pub(super) turn: Turn,
}

impl Later {
    /// Reads all of it to where it goes in `bytes`. It is still open then.
    pub(super) fn read(&self, bytes: &mut [u8]) -> Result<()> {
        let len = self.still.meta.size as usize;
        let room = bytes
            .get_mut(self.at..)
            .and_then(|rest| rest.get_mut(..len));
        let file = self.file.as_fd();
        whole(file, room.unwrap_or_default())
            .and_then(|()| self.still.check(&fs::stat(file).call("statx")?))
            .map_err(|error| error.at(&self.path))
    }
}

/// Closes files that were read.
pub(super) fn close(read: Vec<Later>) {
    let (files, _turns): (Vec<_>, Vec<Turn>) =
        read.into_iter().map(|file| (file.file, file.turn)).unzip();
    fd::close_all(&mut files.into_iter().filter_map(Arc::into_inner).collect());
}

fn whole(file: BorrowedFd<'_>, mut room: &mut [u8]) -> Result<()> {
    let mut at = 0;
    while !room.is_empty() {
        match fs::read_at(file, room, at).call("read")? {
            0 => return Err(Error::changed()),
            got => {
                at += got as u64;
                room = room.get_mut(got..).unwrap_or_default();
            }
        }
    }
    Ok(())
}
