//! Link groups: which inodes' names are not those they had.

use super::{Change, Visitor};
use crate::error::Result;
use crate::sys::fs::{Kind, Meta};
use crate::watch::Watch;
use std::collections::{HashMap, HashSet};

/// An inode's identity.
pub(super) type Identity = (u64, (u32, u32));

/// Collects the inodes whose link group changed: one of its names did, or equal names of several
/// old inodes became one.
#[derive(Default)]
pub(super) struct Linked {
    pub(super) changed: HashSet<Identity>,
    /// What the first equal name of an inode was.
    old: HashMap<Identity, Identity>,
}

/// See [`Identity`].
pub(super) fn identity(meta: &Meta) -> Identity {
    (meta.ino, meta.dev)
}

impl Visitor for Linked {
    const LINK_GROUPS: bool = false;

    fn change(&mut self, change: &Change<'_>, watch: &mut Watch<'_>) -> Result<()> {
        if let Some(new) = &change.new {
            let meta = new.place.meta;
            if meta.kind != Kind::Directory && meta.nlink > 1 {
                self.changed.insert(identity(meta));
            }
        }
        watch.check()
    }

    fn equal(&mut self, old: &Meta, new: &Meta) {
        let (old, new) = (identity(old), identity(new));
        if *self.old.entry(new).or_insert(old) != old {
            self.changed.insert(new);
        }
    }
}
