//! A handle of a mounted layer, and how its use ends.

use super::UnmountFlags;
use super::lock::{self, Mode, PATIENCE};
use super::pin::Pin;
use super::reach;
use super::session;
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::mount;
use crate::sys::xattr::Marks;
use crate::sys::{AsFd, BorrowedFd, Own, fs};
use crate::watch::Watch;

/// A handle of a mounted layer. Dropping it drops the handle alone: a held mount that nobody holds
/// any more is ended by the next call that meets it.
pub struct Mount {
    pub(super) path: Vec<u8>,
    /// The mount's root; closed while it is unmounted, since it would keep it busy.
    pub(super) root: Option<Own>,
    /// Where the layer's pins are, and the one of this mount; none for a detached mount.
    pub(super) pin: Option<(Own, Pin)>,
    /// The layer's mount lock.
    pub(super) lock: Own,
    /// The store's.
    pub(super) marks: Marks,
    /// The process that made it.
    process: u32,
}

impl Mount {
    /// One of the calling process.
    pub(super) fn new(
        path: Vec<u8>,
        root: Option<Own>,
        pin: Option<(Own, Pin)>,
        lock: Own,
        marks: Marks,
    ) -> Self {
        Mount {
            path,
            root,
            pin,
            lock,
            marks,
            process: std::process::id(),
        }
    }

    /// Where it is; empty for a detached mount.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Its root directory.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd)
    }

    /// EBADF where the host has closed one of the handle's descriptors.
    pub(crate) fn check_descriptors(&self) -> Result<()> {
        let pin = self.pin.iter().flat_map(|(dir, pin)| [dir, &pin.file]);
        let all = self.root.iter().chain(pin).chain([&self.lock]);
        all.into_iter().try_for_each(super::still_ours)
    }

    /// Ends this use of the mount; the last use of a held mount unmounts it, and any of a kept
    /// one, which is EBUSY while other handles use it. After an error the handle is as it was.
    #[allow(clippy::result_large_err)] // The handle goes back to its owner.
    pub fn unmount(mut self, flags: UnmountFlags) -> std::result::Result<(), (Mount, Error)> {
        match self.end(flags.contains(UnmountFlags::LAZY)) {
            Ok(()) => Ok(()),
            Err(error) => {
                let error = error.at(&self.path).op("unmount");
                Err((self, error))
            }
        }
    }

    fn end(&mut self, lazy: bool) -> Result<()> {
        let Some((dir, pin)) = &self.pin else {
            self.root = None;
            self.ended_alone();
            return Ok(());
        };
        let dir = fs::open_dir_trusted(dir, b".").call("open")?;
        lock::lock(&dir, Mode::Exclusive, PATIENCE, &mut Watch::default())?;
        if !lock::try_lock(&pin.file, Mode::Exclusive)? {
            // A failed conversion may have lost the lock that was there.
            lock::try_lock(&pin.file, Mode::Shared)?;
            if pin.terms.kept {
                return Err(Error::new(
                    Code::Mounted,
                    Errno::BUSY,
                    "other handles use the mount",
                ));
            }
            return Ok(());
        }
        // Closed it could not be opened again where no path leads to it.
        if let Err(error) = reachable(pin) {
            lock::try_lock(&pin.file, Mode::Shared)?;
            return Err(error);
        }
        self.root = None;
        let ended = reach::end(dir.as_fd(), pin, lazy);
        if ended.is_err() {
            lock::try_lock(&pin.file, Mode::Shared)?;
            let path = pin.whereabouts().ok().flatten();
            let root = path.and_then(|path| pin.root_at(&path).ok());
            self.root = root.map(Own::new);
        } else if !lazy {
            session::end(&self.lock, self.marks);
        }
        ended
    }

    /// A mount that has no pin: others are kept from making one meanwhile.
    fn ended_alone(&self) {
        let Ok(pins) = fs::open_dir_trusted(&self.lock, b"../pin") else {
            return;
        };
        if lock::lock(&pins, Mode::Exclusive, PATIENCE, &mut Watch::default()).is_ok() {
            session::end(&self.lock, self.marks);
        }
    }
}

/// What the handle has locked is unlocked in so many words: closed alone it would stay locked for as long
/// as a program that another thread just started has copies of the descriptors, and the last handle
/// would not know that it is the last. A forked child's copies are not its own to unlock.
impl Drop for Mount {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return;
        }
        let pin = self.pin.iter().map(|(_, pin)| &pin.file);
        for lock in pin.chain([&self.lock]) {
            if lock.check().is_ok() {
                lock::unlock(lock);
            }
        }
    }
}

/// EBUSY when the mount is there, and no path leads to it, or it is in another namespace.
fn reachable(pin: &Pin) -> Result<()> {
    // Where it was made, it most often is.
    if let Ok(Some(there)) = mount::mounted_at(rustix::fs::CWD, &pin.path) {
        if there == pin.id {
            return Ok(());
        }
    }
    match pin.whereabouts()? {
        Some(path) => pin.root_at(&path).map(drop),
        None => Ok(()),
    }
}
