//! Inodes kept beside a tree that is being made, for names that come later.
//!
//! A name in the tree may be gone by then. These stay until the tree is done, are no part of it,
//! and take no memory.

use super::attrs::disinherit;
use super::remove_tree;
use crate::error::{Errno, Result, SysResult};
use crate::sys::fs::{self, Meta};
use crate::sys::{AsFd, BorrowedFd, OwnedFd, SysCall};
use crate::watch::Watch;
use std::sync::Arc;

/// Copies, by the inodes that they are of.
const COPIES: &[u8] = b"copies";

/// Files, by names of their own.
const FILES: &[u8] = b"files";

/// See the module's text.
#[derive(Clone)]
pub struct Aside {
    /// On the file system of the tree, and not in it.
    beside: Arc<OwnedFd>,
}

impl Aside {
    /// None yet. They go into new directories in `beside`.
    pub fn new(beside: OwnedFd) -> Self {
        Aside {
            beside: Arc::new(beside),
        }
    }

    /// Makes `name` in `dir` a name of the copy of `source`; whether there is one that can have it.
    pub fn join(&self, source: &Meta, dir: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
        if source.nlink < 2 {
            return Ok(false);
        }
        let Some(copies) = self.open(COPIES).call("open")? else {
            return Ok(false);
        };
        match fs::link(&copies, &key(source), dir, name) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::MLINK) => Ok(false),
            Err(errno) => Err(errno).call("link"),
        }
    }

    /// Keeps the copy of `source` that is at `name` in `dir`, for its other names. It takes the
    /// place of one that can have no more.
    pub fn keep(&self, source: &Meta, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        if source.nlink < 2 {
            return Ok(());
        }
        let (copies, key) = (self.make(COPIES)?, key(source));
        put(&copies, &key, || fs::link(dir, name, &copies, &key)).call("link")
    }

    /// A new file that is not in the tree, in the place of one of that name.
    pub fn create(&self, name: &[u8]) -> Result<OwnedFd> {
        let files = self.make(FILES)?;
        put(&files, name, || fs::create_file(&files, name, 0o600)).call("create")
    }

    /// The directory of those files, if there are any.
    pub fn files(&self) -> Result<Option<OwnedFd>> {
        self.open(FILES).call("open")
    }

    /// Takes all of them away.
    pub fn remove(&self) -> Result<()> {
        for room in [COPIES, FILES] {
            match remove_tree(&self.beside, room, &mut Watch::default()) {
                Err(error) if error.errno() != Errno::NOENT => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn open(&self, room: &[u8]) -> SysCall<Option<OwnedFd>> {
        match fs::open_dir(&self.beside, room) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn make(&self, room: &[u8]) -> Result<OwnedFd> {
        if let Some(fd) = self.open(room).call("open")? {
            return Ok(fd);
        }
        fs::mkdir(&self.beside, room, 0o700).call("mkdir")?;
        let fd = fs::open_dir(&self.beside, room).call("open")?;
        disinherit(&fd).call("fremovexattr")?;
        Ok(fd)
    }
}

fn key(inode: &Meta) -> Vec<u8> {
    let (major, minor) = inode.dev;
    format!("{major}.{minor}.{}", inode.ino).into_bytes()
}

/// Makes `name` in `dir` by `call`, in the place of what is there.
fn put<T>(dir: impl AsFd, name: &[u8], call: impl Fn() -> SysCall<T>) -> SysCall<T> {
    match call() {
        Err(Errno::EXIST) => {
            fs::unlink(dir, name)?;
            call()
        }
        made => made,
    }
}
