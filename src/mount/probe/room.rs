//! A directory to try things in, which leaves nothing behind.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, mkdirat, statat, unlinkat};
use rustix::io::Errno;

use crate::error::{Error, Result, SysResult};
use crate::mount::fd_path;
use crate::mount::place::nonce;
use crate::sys::fs::{open_at, open_dir_trusted};

/// What its names begin with.
pub(in crate::mount) const PREFIX: &str = "probe.";

/// How deep a trial's directories can lie: overlayfs's work directory is the deepest.
const DEPTH: usize = 16;

pub(super) const DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW);

pub(in crate::mount) struct Room<'a> {
    parent: BorrowedFd<'a>,
    name: String,
    dir: OwnedFd,
    removed: bool,
}

impl<'a> Room<'a> {
    pub fn new(parent: BorrowedFd<'a>) -> Result<Self> {
        let name = format!("{PREFIX}{}", nonce()?);
        let dir = make(parent, &name)?;
        Ok(Room {
            parent,
            name,
            dir,
            removed: false,
        })
    }

    /// A new directory in the room.
    pub fn make(&self, name: &str) -> Result<OwnedFd> {
        make(self.dir.as_fd(), name)
    }

    /// A new directory in the room that is not opened; its path.
    pub fn mkdir(&self, name: &str) -> Result<String> {
        mkdirat(&self.dir, name, Mode::RWXU).call_at("mkdir", name)?;
        Ok(format!("{}/{name}", fd_path(self.dir.as_fd())))
    }

    /// Whether something is there.
    pub fn has(&self, path: &str) -> bool {
        statat(&self.dir, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// As [`Room::remove`], of a room whose content is known: nothing is read unless there is more.
    pub fn remove_these(mut self, known: &[(&str, AtFlags)]) -> Result<()> {
        self.removed = true;
        for (path, flags) in known {
            let _ = unlinkat(&self.dir, *path, *flags);
        }
        match unlinkat(self.parent, self.name.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) => Ok(()),
            Err(_) => self.clear(),
        }
    }

    /// Removes the room and all that is in it.
    pub fn remove(mut self) -> Result<()> {
        self.removed = true;
        self.clear()
    }

    fn clear(&self) -> Result<()> {
        empty(self.dir.as_fd(), DEPTH)?;
        unlinkat(self.parent, self.name.as_str(), AtFlags::REMOVEDIR).call_at("rmdir", &self.name)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if !self.removed {
            // Only on the way out of a panic.
            let _ = self.clear();
        }
    }
}

/// Makes a directory and opens it.
pub(super) fn make(parent: impl AsFd, name: &str) -> Result<OwnedFd> {
    mkdirat(&parent, name, Mode::RWXU).call_at("mkdir", name)?;
    let dir = open_at(&parent, name, DIR, Mode::empty());
    if dir.is_err() {
        let _ = unlinkat(&parent, name, AtFlags::REMOVEDIR);
    }
    dir.call_at("open", name)
}

/// Makes a file that holds `content`.
pub(super) fn file(parent: impl AsFd, name: &str, content: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    let fd = open_at(parent, name, flags, Mode::RUSR | Mode::WUSR).call_at("create", name)?;
    let written = rustix::io::write(&fd, content).call_at("write", name)?;
    if written != content.len() {
        return Err(Error::sys(Errno::NOSPC, "write").at(name));
    }
    Ok(fd)
}

/// The names in a directory, with their types.
pub(super) fn names(dir: impl AsFd) -> Result<Vec<(Vec<u8>, FileType)>> {
    let mut names = Vec::new();
    let again = open_dir_trusted(dir, b".").call("open")?;
    for entry in Dir::new(again).call("readdir")? {
        let entry = entry.call("readdir")?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    names.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(names)
}

fn empty(dir: BorrowedFd<'_>, depth: usize) -> Result<()> {
    for (name, _) in names(dir)? {
        let name = name.as_slice();
        // Types are not asked: this runs too where readdir does not tell them.
        match unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) => continue,
            Err(Errno::ISDIR | Errno::PERM) if depth > 0 => {}
            Err(errno) => return Err(Error::sys(errno, "unlink").at(name)),
        }
        let below = open_at(dir, name, DIR, Mode::empty()).call_at("open", name)?;
        empty(below.as_fd(), depth - 1)?;
        unlinkat(dir, name, AtFlags::REMOVEDIR).call_at("rmdir", name)?;
    }
    Ok(())
}
