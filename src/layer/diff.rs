//! What one stack of trees has that another has not.
//!
//! Two directories are compared by the names that the trees list which they do not share: the far
//! ends of two stacks that are the same trees are equal and never looked at. For a container and
//! its image that is a walk over the container's upper; for a container and its -init layer over
//! their two uppers; for unrelated trees over both. The answer does not depend on how the content
//! is kept. Both trees are walked whole only where link groups are told, and an inode that is told may have
//! other names in what they share: another program's overlay renamed a directory, or the old stack hides
//! it.
//!
//! Names come in the order of their bytes, depth first. A directory in which something changed is
//! told before it even when it did not change itself.
//!
//! A writable layer may change while it is compared. What a tar is made of must not: see
//! [`Visitor::EXACT`].

mod linked;
mod walk;

pub use walk::Walk;

use super::view::{Found, Stack};
use crate::error::{Code, Error, Result};
use crate::sys::OwnedFd;
use crate::sys::fs::Meta;
use crate::sys::xattr::Marks;
use crate::tree::compare::Place;
use crate::watch::Watch;
use std::sync::Arc;

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The old stack does not have it.
    Add,
    /// Both have it, and it differs; or something in it does.
    Modify,
    /// The new stack does not have it.
    Delete,
}

impl ChangeKind {
    /// `A`, `C` or `D`, as lists of changes have it.
    pub fn letter(self) -> char {
        match self {
            ChangeKind::Add => 'A',
            ChangeKind::Modify => 'C',
            ChangeKind::Delete => 'D',
        }
    }
}

/// The new inode of a change.
#[derive(Clone, Copy)]
pub struct New<'a> {
    /// The directory it is in, and its name there; for a directory itself and `.`.
    pub place: Place<'a>,
    /// The tree that provides it.
    pub tree: usize,
    /// How overlayfs's marks are spelled in that tree, if it may hold any.
    pub marks: Option<Marks>,
    /// What its attributes are called, where that is known.
    pub attributes: Option<&'a [Vec<u8>]>,
    /// It is open, because the visitor reads it.
    pub file: Option<&'a Arc<OwnedFd>>,
}

/// A change, with what is needed to tell it.
pub struct Change<'a> {
    /// What became of it.
    pub kind: ChangeKind,
    /// Its path; `""` is the root.
    pub path: &'a [u8],
    /// The new inode; none when it is deleted.
    pub new: Option<New<'a>>,
    /// Nothing but another name of its inode changed: told for the sake of the link group.
    pub only_linked: bool,
}

/// Is told of changes.
pub trait Visitor {
    /// Whether unchanged names of an inode that got another name are told too.
    const LINK_GROUPS: bool;
    /// Whether a name that goes, or a directory that changes, while the new trees are read is an
    /// error: what is told would be the content of no instant. Else it counts as gone. (What moves
    /// from where nothing was looked at yet to where all was is not seen by either.)
    const EXACT: bool = false;
    /// Whether the walk is to pause before it looks further at a name, which has this inode now.
    fn pauses(&self, _next: Option<&Meta>) -> bool {
        false
    }
    /// Whether what a directory lists as a regular file may be opened before it is looked at: where
    /// nobody writes, it is none of another kind by then.
    fn opens_first(&self) -> bool {
        false
    }
    /// Whether the content of this regular file will be read.
    fn reads(&self, _meta: &Meta) -> bool {
        false
    }
    /// One change. An error ends the comparison.
    fn change(&mut self, change: &Change<'_>, watch: &mut Watch<'_>) -> Result<()>;
    /// A name whose inode, with more names than one, is equal to the old one.
    fn equal(&mut self, _old: &Meta, _new: &Found) {}
}

/// Compares `new` with `old` and tells `visitor` what differs.
pub fn compare<V: Visitor>(
    old: &Stack,
    new: &Stack,
    visitor: &mut V,
    watch: &mut Watch<'_>,
) -> Result<()> {
    begin(old, new, visitor, Renamed::No, watch)?
        .run(watch)
        .map(drop)
}

/// Whether directories of the stacks' own trees are elsewhere in those that the stacks share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renamed {
    /// None is, or it does not matter.
    #[default]
    No,
    /// Some are.
    Yes,
    /// Nobody looked, as there should be none. Where one is met that matters, it is ESTALE.
    BelievedNot,
}

/// What a name says that proves [`Renamed::BelievedNot`] wrong.
const UNSEEN: &str = "it may have names in directories that were not looked at: try again";

/// Whether a comparison ended because [`Renamed::BelievedNot`] was wrong.
pub fn believed_wrongly(error: &Error) -> bool {
    error.code() == Code::Changed && error.message() == UNSEEN
}

/// The same, for a visitor that pauses.
pub fn begin<'a, V: Visitor>(
    old: &'a Stack,
    new: &'a Stack,
    visitor: &'a mut V,
    renamed: Renamed,
    watch: &mut Watch<'_>,
) -> Result<Walk<'a, V>> {
    let whole =
        V::LINK_GROUPS && (renamed == Renamed::Yes || linked::reach_shared_trees(old, new, watch)?);
    let mut walk = Walk::new(old, new, visitor, whole);
    walk.believed = V::LINK_GROUPS && !whole && renamed == Renamed::BelievedNot;
    Ok(walk)
}
