//! Link groups of a tree that is being made: names that are one inode in the source become one
//! inode in the copy, whichever of several threads meets them.
//!
//! Who meets the first name of an inode makes the copy; others that meet another name meanwhile
//! wait for that inode. Nobody makes two at a time, so nobody waits in a circle.

use super::aside::Aside;
use crate::bell::Bell;
use crate::error::{Errno, Result, SysResult};
use crate::sys::fs::Meta;
use crate::sys::{BorrowedFd, OwnedFd, fs};
use crate::watch::{LOOK, Watch};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

type Key = (u64, (u32, u32));

/// The first name that the copy has for each inode with several.
pub struct Groups {
    /// What the names' paths are below.
    root: OwnedFd,
    /// Copies that were made before.
    aside: Option<Aside>,
    /// `None` while the copy is being made.
    first: Mutex<HashMap<Key, Option<Group>>>,
    /// A copy was made, or given up.
    settled: Bell,
}

struct Group {
    path: Vec<u8>,
    /// Names that are still to come.
    left: u32,
}

/// What became of a name.
pub enum Joined<'a> {
    /// It is linked to the inode that the copy has.
    Linked,
    /// It is the first of its inode, or its inode has no others: the inode is to be copied.
    First(Making<'a>),
    /// The copy of its inode has all the names that it can have: another is to be made.
    Full(Making<'a>),
}

/// The right to make the copy of an inode, which others wait for until this is dropped.
pub struct Making<'a> {
    group: Option<(&'a Groups, Key)>,
    others: u32,
}

impl Groups {
    /// None but those that were kept aside; paths are below `root`.
    pub fn new(root: BorrowedFd<'_>, aside: Option<Aside>) -> Result<Self> {
        Ok(Groups {
            aside,
            root: fs::open_dir_trusted(root, b".").call("open")?,
            first: Mutex::new(HashMap::new()),
            settled: Bell::default(),
        })
    }

    fn first(&self) -> MutexGuard<'_, HashMap<Key, Option<Group>>> {
        // Nothing panics with the lock held.
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Links `name` in `dir` to the copy of the source's inode `meta`.
    pub fn join(
        &self,
        meta: &Meta,
        dir: BorrowedFd<'_>,
        name: &[u8],
        watch: &mut Watch<'_>,
    ) -> Result<Joined<'_>> {
        let mut making = Making {
            group: None,
            others: meta.nlink.saturating_sub(1),
        };
        if meta.nlink < 2 {
            return Ok(Joined::First(making));
        }
        let key = (meta.ino, meta.dev);
        let mut first = self.first();
        let group = loop {
            match first.get_mut(&key) {
                Some(Some(group)) => break group,
                Some(None) => {
                    let look = &mut || watch.check();
                    first = self.settled.wait_looking(&self.first, first, LOOK, look)?;
                }
                None => {
                    if let Some(aside) = &self.aside {
                        if aside.join(meta, dir, name)? {
                            return Ok(Joined::Linked);
                        }
                    }
                    first.insert(key, None);
                    making.group = Some((self, key));
                    return Ok(Joined::First(making));
                }
            }
        };
        let (parent, base) = match group.path.iter().rposition(|&b| b == b'/') {
            Some(at) => (&group.path[..at], &group.path[at + 1..]),
            None => (&b""[..], group.path.as_slice()),
        };
        let parent = fs::open_dir_deep(&self.root, parent).call_at("open", parent)?;
        match fs::link(&parent, base, dir, name) {
            Ok(()) => {}
            Err(Errno::MLINK) => {
                first.insert(key, None);
                making.group = Some((self, key));
                return Ok(Joined::Full(making));
            }
            Err(errno) => return Err(errno).call("link"),
        }
        group.left -= 1;
        if group.left == 0 {
            first.remove(&key);
        }
        Ok(Joined::Linked)
    }
}

impl Making<'_> {
    /// The copy is made, and this is where it is.
    pub fn made(mut self, path: impl FnOnce() -> Vec<u8>) {
        let Some((groups, key)) = self.group.take() else {
            return;
        };
        let group = Group {
            path: path(),
            left: self.others,
        };
        groups.first().insert(key, Some(group));
        groups.settled.ring_for_all();
    }
}

impl Drop for Making<'_> {
    /// It was not made: the next name of the inode is a first one again.
    fn drop(&mut self) {
        if let Some((groups, key)) = self.group.take() {
            groups.first().remove(&key);
            groups.settled.ring_for_all();
        }
    }
}
