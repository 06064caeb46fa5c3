//! Link groups: which inodes' names are not those they had.

use super::{Change, Visitor, walk};
use crate::error::Result;
use crate::layer::view::{Found, Stack};
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

    fn equal(&mut self, old: &Meta, new: &Found) {
        let (old, new) = (identity(old), identity(&new.meta));
        if *self.old.entry(new).or_insert(old) != old {
            self.changed.insert(new);
        }
    }
}

/// Whether an inode that would be told is provided by a tree that both stacks have, and may have
/// other names there. That is so only where the old stack has trees of its own in front of it.
pub(super) fn reach_shared_trees(old: &Stack, new: &Stack, watch: &mut Watch<'_>) -> Result<bool> {
    let shared = old.shared_trees(new);
    if shared == 0 || shared == old.trees().len() {
        return Ok(false);
    }
    let mut reach = Reach {
        first: new.trees().len() - shared,
        found: false,
    };
    walk::run(old, new, &mut reach, false, watch)?;
    Ok(reach.found)
}

struct Reach {
    /// The first tree that the old stack has too.
    first: usize,
    found: bool,
}

impl Visitor for Reach {
    const LINK_GROUPS: bool = false;

    fn change(&mut self, change: &Change<'_>, watch: &mut Watch<'_>) -> Result<()> {
        if let Some(new) = &change.new {
            let meta = new.place.meta;
            self.found |= meta.kind != Kind::Directory && meta.nlink > 1 && new.tree >= self.first;
        }
        watch.check()
    }

    fn equal(&mut self, old: &Meta, new: &Found) {
        // Several old inodes may have become one.
        self.found |= new.tree >= self.first && !old.same_inode(&new.meta);
    }
}
