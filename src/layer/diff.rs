//! What one stack of trees has that another has not.
//!
//! Two directories are compared by the names that the trees list which they do not share: the far
//! ends of two stacks that are the same trees are equal and never looked at. For a container and
//! its image that is a walk over the container's upper; for a container and its -init layer over
//! their two uppers; for unrelated trees over both. The answer does not depend on how the content
//! is kept. Both trees are walked whole only where an inode that is told may have other names in
//! what they share: another program's overlay renamed a directory, or the old stack hides it.
//!
//! Names come in the order of their bytes, depth first. A directory in which something changed is
//! told before it even when it did not change itself.

mod linked;

use self::linked::{Identity, Linked, identity};
use super::foreign;
use super::view::{Dir, Found, Stack, common, join};
use crate::error::{Code, Errno, Error, Result};
use crate::sys::OwnedFd;
use crate::sys::dir::DirBuf;
use crate::sys::fs::Meta;
use crate::sys::xattr::Marks;
use crate::tree::attrs::Inode;
use crate::tree::compare::{Place, own_xattrs, same_attributes, same_entry};
use crate::watch::Watch;
use std::collections::HashSet;
use std::os::fd::AsFd;

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

/// The new inode of a change.
#[derive(Clone, Copy)]
pub struct New<'a> {
    /// The directory it is in, and its name there; for a directory itself and `.`.
    pub place: Place<'a>,
    /// The tree that provides it.
    pub tree: usize,
    /// How overlayfs's marks are spelled in that tree, if it may hold any.
    pub marks: Option<Marks>,
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
    let whole = old.renamed
        || new.renamed
        || (V::LINK_GROUPS && linked::reach_shared_trees(old, new, watch)?);
    walk(old, new, visitor, whole, watch)
}

fn walk<V: Visitor>(
    old: &Stack,
    new: &Stack,
    visitor: &mut V,
    whole: bool,
    watch: &mut Watch<'_>,
) -> Result<()> {
    Walk {
        old,
        new,
        whole,
        visitor,
        frames: Vec::new(),
        linked: None,
        buf: DirBuf::default(),
    }
    .run(watch)
}

/// A directory that is being compared.
struct Frame {
    name: Vec<u8>,
    old: Option<Dir>,
    new: Option<Dir>,
    meta: Meta,
    tree: usize,
    /// The directory itself was told.
    told: bool,
    /// Names to look at, last first.
    names: Vec<Vec<u8>>,
}

/// Deeper than this, directories above are closed while those below are looked at; those that
/// more than a few trees have always are.
const OPEN: usize = 16;

struct Walk<'a, V> {
    old: &'a Stack,
    new: &'a Stack,
    /// What both stacks share is walked too: told inodes may have names there.
    whole: bool,
    visitor: &'a mut V,
    frames: Vec<Frame>,
    /// Inodes with changed names; collected by a walk of its own when first needed.
    linked: Option<HashSet<Identity>>,
    buf: DirBuf,
}

impl<V: Visitor> Walk<'_, V> {
    fn run(&mut self, watch: &mut Watch<'_>) -> Result<()> {
        let (old, new) = (self.old.root()?, self.new.root()?);
        let Some(new) = new else {
            return self.delete_all(old, watch);
        };
        self.directory(Vec::new(), old, new, watch)?;
        while let Some(frame) = self.frames.last_mut() {
            match frame.names.pop() {
                Some(name) => self.name(name, watch)?,
                None => {
                    self.frames.pop();
                }
            }
        }
        Ok(())
    }

    /// The new stack has nothing: every name of the old root is gone.
    fn delete_all(&mut self, old: Option<Found>, watch: &mut Watch<'_>) -> Result<()> {
        let Some(mut dir) = old.and_then(|found| found.dir) else {
            return Ok(());
        };
        for name in self.old.names(&mut dir, &mut self.buf)? {
            let change = Change {
                kind: ChangeKind::Delete,
                path: &name,
                new: None,
                only_linked: false,
            };
            self.visitor.change(&change, watch)?;
        }
        Ok(())
    }

    fn path(&self, name: &[u8]) -> Vec<u8> {
        match self.frames.last() {
            Some(frame) => {
                let dir = frame
                    .new
                    .as_ref()
                    .or(frame.old.as_ref())
                    .map_or(&b""[..], Dir::path);
                join(dir, name)
            }
            None => name.to_vec(),
        }
    }

    /// Compares one name of the current directory.
    fn name(&mut self, name: Vec<u8>, watch: &mut Watch<'_>) -> Result<()> {
        let Some(frame) = self.frames.last_mut() else {
            return Ok(());
        };
        let old = match &mut frame.old {
            Some(dir) => self.old.lookup(dir, &name)?,
            None => None,
        };
        let new = match &mut frame.new {
            Some(dir) => self.new.lookup(dir, &name)?,
            None => None,
        };
        match (old, new) {
            (None, None) => Ok(()),
            (Some(_), None) => self.tell(ChangeKind::Delete, &name, None, false, watch),
            (old, Some(new)) if new.dir.is_some() => self.directory(name, old, new, watch),
            (None, Some(new)) => self.tell(ChangeKind::Add, &name, Some(&new), false, watch),
            (Some(old), Some(new)) => self.entry(&name, &old, &new, watch),
        }
    }

    /// Both have something at `name`, and the new is no directory.
    fn entry(
        &mut self,
        name: &[u8],
        old: &Found,
        new: &Found,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        if old.dir.is_none() {
            let path = self.path(name);
            let Some(frame) = self.frames.last_mut() else {
                return Ok(());
            };
            let (Some(old_dir), Some(new_dir)) = (&mut frame.old, &mut frame.new) else {
                return Err(Error::new(Code::Bug, Errno::NOTRECOVERABLE, "no directory"));
            };
            let mut same = || {
                // Attributes first: they cost nothing more.
                if !same_attributes(&old.meta, &new.meta, true) {
                    return Ok(false);
                }
                let from = self.old.content(old_dir, name, old)?;
                let to = self.new.content(new_dir, name, new)?;
                let a = Place {
                    dir: self.old.provider(old_dir, old)?,
                    name,
                    meta: &old.meta,
                    content: from.as_ref().map(OwnedFd::as_fd),
                };
                let b = Place {
                    dir: self.new.provider(new_dir, new)?,
                    name,
                    meta: &new.meta,
                    content: to.as_ref().map(OwnedFd::as_fd),
                };
                same_entry(a, b)
            };
            if same().map_err(|e| e.at(path))? {
                if new.meta.nlink > 1 {
                    self.visitor.equal(&old.meta, new);
                }
                if V::LINK_GROUPS && new.meta.nlink > 1 && self.regrouped(&new.meta, watch)? {
                    return self.tell(ChangeKind::Modify, name, Some(new), true, watch);
                }
                return Ok(());
            }
        }
        self.tell(ChangeKind::Modify, name, Some(new), false, watch)
    }

    /// Whether the names of this inode are not those it had.
    fn regrouped(&mut self, meta: &Meta, watch: &mut Watch<'_>) -> Result<bool> {
        if self.linked.is_none() {
            let mut linked = Linked::default();
            walk(self.old, self.new, &mut linked, self.whole, watch)?;
            self.linked = Some(linked.changed);
        }
        Ok(self
            .linked
            .as_ref()
            .is_some_and(|set| set.contains(&identity(meta))))
    }

    /// The new stack has a directory: compares it, and goes into it.
    fn directory(
        &mut self,
        name: Vec<u8>,
        old: Option<Found>,
        new: Found,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let (old_meta, mut old_dir) = match old {
            Some(old) => (Some(old.meta), old.dir),
            None => (None, None),
        };
        let Some(mut new_dir) = new.dir else {
            return Ok(());
        };
        let shared = match &old_dir {
            Some(_) if self.whole => 0,
            Some(dir) => common((self.old, dir), (self.new, &new_dir)),
            None => 0,
        };
        let old_own = old_dir.as_ref().map_or(0, |dir| dir.parts() - shared);
        let new_own = new_dir.parts() - shared;
        if old_own == 0 && new_own == 0 {
            return Ok(());
        }
        for dir in old_dir.iter().chain([&new_dir]) {
            foreign::need_own_spelling(dir.misspelt(), self.new.marks())
                .map_err(|e| e.at(self.path(&name)))?;
        }
        let same = match (&old_meta, &mut old_dir) {
            (Some(meta), Some(dir)) => {
                self.same_directory((meta, dir), (&new.meta, &mut new_dir))?
            }
            _ => false,
        };
        let mut names = self.new.own_names(&mut new_dir, new_own, &mut self.buf)?;
        if let Some(dir) = &mut old_dir {
            names.extend(self.old.own_names(dir, old_own, &mut self.buf)?);
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        names.dedup();
        let parts = new_dir.parts() + old_dir.as_ref().map_or(0, Dir::parts);
        if self.frames.len() > OPEN || parts > 4 {
            if let Some(frame) = self.frames.last_mut() {
                frame
                    .old
                    .iter_mut()
                    .chain(frame.new.iter_mut())
                    .for_each(Dir::release);
            }
        }
        let told = same;
        self.frames.push(Frame {
            name,
            old: old_dir,
            new: Some(new_dir),
            meta: new.meta,
            tree: new.tree,
            told,
            names,
        });
        if !same {
            let kind = if old_meta.is_some() {
                ChangeKind::Modify
            } else {
                ChangeKind::Add
            };
            self.tell_directories(kind, watch)?;
        } else if let Some(frame) = self.frames.last_mut() {
            // The root is told for its own sake alone.
            frame.told = frame.name.is_empty();
        }
        Ok(())
    }

    fn same_directory(&self, old: (&Meta, &mut Dir), new: (&Meta, &mut Dir)) -> Result<bool> {
        if !same_attributes(old.0, new.0, true) {
            return Ok(false);
        }
        if old.0.same_inode(new.0) {
            return Ok(true);
        }
        let a = own_xattrs(Inode::Open(old.1.nearest(self.old)?))?;
        let b = own_xattrs(Inode::Open(new.1.nearest(self.new)?))?;
        Ok(a == b)
    }

    /// Tells a change of `name`, after the directories that lead to it.
    fn tell(
        &mut self,
        kind: ChangeKind,
        name: &[u8],
        found: Option<&Found>,
        only_linked: bool,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        self.tell_directories(ChangeKind::Modify, watch)?;
        let path = self.path(name);
        let Some(frame) = self.frames.last_mut() else {
            return Ok(());
        };
        let marks = found.and_then(|found| self.new.marks_of(found.tree));
        let mut content = None;
        if let (Some(found), Some(dir)) = (found, &mut frame.new) {
            content = self
                .new
                .content(dir, name, found)
                .map_err(|e| e.at(&path))?;
            if let (Some(marks), true) = (marks, found.meta.nlink > 1) {
                let fd = self.new.provider(dir, found)?;
                foreign::of_file(fd, name, marks)
                    .and_then(|marks| foreign::need_names(&marks))
                    .map_err(|e| e.at(&path))?;
            }
        }
        let new = match (found, &mut frame.new) {
            (Some(found), Some(dir)) => Some(New {
                place: Place {
                    dir: self.new.provider(dir, found)?,
                    name,
                    meta: &found.meta,
                    content: content.as_ref().map(OwnedFd::as_fd),
                },
                tree: found.tree,
                marks,
            }),
            _ => None,
        };
        let change = Change {
            kind,
            path: &path,
            new,
            only_linked,
        };
        self.visitor.change(&change, watch).map_err(|e| e.at(&path))
    }

    /// Tells the directories on the way that have not been told; the last of them as `last`.
    fn tell_directories(&mut self, last: ChangeKind, watch: &mut Watch<'_>) -> Result<()> {
        let depth = self.frames.len();
        let from = self
            .frames
            .iter()
            .rposition(|frame| frame.told)
            .map_or(0, |at| at + 1);
        for (at, frame) in self.frames.iter_mut().enumerate().skip(from) {
            frame.told = true;
            let Some(dir) = &mut frame.new else { continue };
            let path = dir.path().to_vec();
            let kind = if at + 1 == depth {
                last
            } else {
                ChangeKind::Modify
            };
            let place = Place {
                dir: dir.nearest(self.new)?,
                name: b".",
                meta: &frame.meta,
                content: None,
            };
            let new = Some(New {
                place,
                tree: frame.tree,
                marks: self.new.marks_of(frame.tree),
            });
            let change = Change {
                kind,
                path: &path,
                new,
                only_linked: false,
            };
            self.visitor
                .change(&change, watch)
                .map_err(|e| e.at(&path))?;
        }
        Ok(())
    }
}
