//! Link groups of a tree that is being made: names that are one inode in the source become one
//! inode in the copy.

use super::aside::Aside;
use crate::error::{Errno, Result, SysResult};
use crate::sys::fs::Meta;
use crate::sys::{BorrowedFd, OwnedFd, fs};
use std::collections::HashMap;

/// The first name that the copy has for each inode with several.
pub struct Groups {
    /// What the names' paths are below.
    root: OwnedFd,
    /// Copies that were made before.
    aside: Option<Aside>,
    first: HashMap<(u64, (u32, u32)), Group>,
}

struct Group {
    path: Vec<u8>,
    /// Names that are still to come.
    left: u32,
}

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It is linked to the inode that the copy has.
    Linked,
    /// It is the first of its inode, or its inode has no others: the inode is to be copied.
    First,
    /// The copy of its inode has all the names that it can have: another is to be made.
    Full,
}

impl Groups {
    /// None but those that were kept aside; paths are below `root`.
    pub fn new(root: BorrowedFd<'_>, aside: Option<Aside>) -> Result<Self> {
        Ok(Groups {
            aside,
            root: fs::open_dir_trusted(root, b".").call("open")?,
            first: HashMap::new(),
        })
    }

    /// Links `name` in `dir` to the copy of the source's inode `meta`.
    pub fn join(&mut self, meta: &Meta, dir: BorrowedFd<'_>, name: &[u8]) -> Result<Joined> {
        if meta.nlink < 2 {
            return Ok(Joined::First);
        }
        let key = (meta.ino, meta.dev);
        let Some(group) = self.first.get_mut(&key) else {
            return Ok(match &self.aside {
                Some(aside) if aside.join(meta, dir, name)? => Joined::Linked,
                _ => Joined::First,
            });
        };
        let (parent, base) = match group.path.iter().rposition(|&b| b == b'/') {
            Some(at) => (&group.path[..at], &group.path[at + 1..]),
            None => (&b""[..], group.path.as_slice()),
        };
        let parent = fs::open_dir_deep(&self.root, parent).call_at("open", parent)?;
        match fs::link(&parent, base, dir, name) {
            Ok(()) => {}
            Err(Errno::MLINK) => {
                self.first.remove(&key);
                return Ok(Joined::Full);
            }
            Err(errno) => return Err(errno).call("link"),
        }
        group.left -= 1;
        if group.left == 0 {
            self.first.remove(&key);
        }
        Ok(Joined::Linked)
    }

    /// Remembers where the copy of the source's inode `meta` is.
    pub fn found(&mut self, meta: &Meta, path: impl FnOnce() -> Vec<u8>) {
        if meta.nlink > 1 {
            let group = Group {
                path: path(),
                left: meta.nlink - 1,
            };
            self.first.insert((meta.ino, meta.dev), group);
        }
    }
}
