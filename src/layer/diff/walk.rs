//! The walk over two stacks: which names to look at, and when a directory is told.

use super::linked::{Identity, Linked, identity};
use super::{Change, ChangeKind, New, Visitor};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::layer::foreign;
use crate::layer::search::Opened;
use crate::layer::view::{Dir, Found, Known, Listed, Stack, common};
use crate::sys::dir::DirBuf;
use crate::sys::fs::{Kind, Meta};
use crate::sys::xattr::Pairs;
use crate::sys::{OwnedFd, fs};
use crate::tree::attrs::Inode;
use crate::tree::chain::join;
use crate::tree::compare::{Place, own_among, own_xattrs, same_attributes, same_entry};
use crate::watch::Watch;
use std::collections::HashSet;
use std::os::fd::AsFd;

/// Walks both stacks at once. `whole`: what they share, too.
pub(super) fn run<V: Visitor>(
    old: &Stack,
    new: &Stack,
    visitor: &mut V,
    whole: bool,
    watch: &mut Watch<'_>,
) -> Result<()> {
    Walk::new(old, new, visitor, whole).run(watch).map(drop)
}

impl<'a, V: Visitor> Walk<'a, V> {
    /// A walk that has not begun.
    pub(super) fn new(old: &'a Stack, new: &'a Stack, visitor: &'a mut V, whole: bool) -> Self {
        let shared = old.shared_trees(new);
        let own = new.trees().len() - shared;
        Walk {
            old,
            new,
            whole,
            believed: false,
            begun: false,
            own,
            ahead: (shared == old.trees().len()).then_some(own),
            visitor,
            frames: Vec::new(),
            linked: None,
            buf: DirBuf::default(),
        }
    }

    /// Who is told.
    pub fn visitor(&mut self) -> &mut V {
        self.visitor
    }
}

/// A directory that is being compared.
struct Frame {
    name: Vec<u8>,
    old: Option<Dir>,
    new: Option<Dir>,
    meta: Meta,
    tree: usize,
    /// A tree lists names in it that the old stack does not share: it may change meanwhile.
    own: bool,
    /// The first part of the new directory from which on the old one has the same.
    known: Option<usize>,
    /// The directory itself was told.
    told: bool,
    /// Names to look at, last first.
    names: Vec<Listed>,
}

/// Directories farther above than this are closed while those below are looked at; those that more
/// than a few trees have always are.
const OPEN: usize = 16;

/// A comparison under way.
pub struct Walk<'a, V> {
    old: &'a Stack,
    new: &'a Stack,
    /// What both stacks share is walked too: told inodes may have names there.
    whole: bool,
    /// It is not, and nobody looked for renamed directories.
    pub(super) believed: bool,
    begun: bool,
    /// How many trees the new stack has in front of those that both have.
    own: usize,
    /// How many trees the new stack has in front of all of the old one's, where it has these.
    ahead: Option<usize>,
    visitor: &'a mut V,
    frames: Vec<Frame>,
    /// Inodes with changed names; collected by a walk of its own when first needed.
    linked: Option<HashSet<Identity>>,
    buf: DirBuf,
}

impl<V: Visitor> Walk<'_, V> {
    /// Begins, or goes on, until the visitor wants to pause; false where it does.
    pub fn run(&mut self, watch: &mut Watch<'_>) -> Result<bool> {
        if !std::mem::replace(&mut self.begun, true) {
            let (old, new) = (self.old.root()?, self.new.root()?);
            let Some(new) = new else {
                return self.delete_all(old, watch).map(|()| true);
            };
            self.directory(Vec::new(), old, new, watch)?;
        }
        while let Some(frame) = self.frames.last_mut() {
            match frame.names.pop() {
                Some(listed) if !self.name(&listed, watch)? => {
                    if let Some(frame) = self.frames.last_mut() {
                        frame.names.push(listed);
                    }
                    return Ok(false);
                }
                Some(_) => {}
                None => self.leave()?,
            }
        }
        Ok(true)
    }

    /// All of a directory was looked at.
    fn leave(&mut self) -> Result<()> {
        let Some(mut frame) = self.frames.pop() else {
            return Ok(());
        };
        let (Some(dir), true) = (&mut frame.new, V::EXACT && frame.own) else {
            return Ok(());
        };
        let now = fs::stat(dir.nearest(self.new)?);
        // By its path it would take as long as it is deep.
        if let Some(Frame {
            new: Some(above),
            meta,
            ..
        }) = self.frames.last_mut()
        {
            let _ = above.open_from(dir, meta);
        }
        let now = now.call("statx").map_err(|e| e.at(dir.path()))?;
        // Not its change time: who mounts the layer has overlayfs note things on its directories.
        if now.same_inode(&frame.meta) && now.mtime == frame.meta.mtime {
            return Ok(());
        }
        Err(Error::changed().at(dir.path()))
    }

    /// Whether a name that is listed and not found is hidden by a whiteout, and did not just go.
    fn is_hidden(&mut self, name: &[u8]) -> Result<bool> {
        let Some(frame) = self.frames.last_mut() else {
            return Ok(true);
        };
        let sides = [(self.new, &mut frame.new), (self.old, &mut frame.old)];
        for (stack, dir) in sides {
            let Some(dir) = dir else { continue };
            let trees: Vec<usize> = dir.trees().collect();
            for (at, tree) in trees.into_iter().enumerate() {
                let Some(marks) = stack.marks_of(tree) else {
                    continue;
                };
                let fd = dir.open_part(stack, at)?;
                match fs::stat_at(fd, name) {
                    Ok(there) if foreign::is_whiteout(fd, name, &there, marks)? => return Ok(true),
                    Ok(_) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno).call_at("statx", name),
                }
            }
        }
        Ok(false)
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

    /// Compares one name of the current directory; false where the visitor wants to pause first.
    fn name(&mut self, listed: &Listed, watch: &mut Watch<'_>) -> Result<bool> {
        let name = &listed.name[..];
        let Some(frame) = self.frames.last_mut() else {
            return Ok(true);
        };
        let old = match &mut frame.old {
            Some(dir) => self.old.lookup(dir, name)?,
            None => None,
        };
        let known = self.ahead.zip(frame.known).map(|(trees, from)| Known {
            from,
            trees,
            found: old.as_ref(),
        });
        let open = listed.file && self.visitor.opens_first();
        let new = match &mut frame.new {
            Some(dir) => self.new.lookup_over(dir, name, known, open)?,
            None => None,
        };
        if self.visitor.pauses(new.as_ref().map(|new| &new.meta)) {
            return Ok(false);
        }
        match (old, new) {
            (None, None) if V::EXACT && !self.is_hidden(name)? => {
                Err(Error::changed().at(self.path(name)))
            }
            (None, None) => Ok(()),
            (Some(_), None) => self.tell(ChangeKind::Delete, name, None, false, watch),
            (old, Some(new)) if new.dir.is_some() => self.directory(name.to_vec(), old, new, watch),
            (None, Some(new)) => self.tell(ChangeKind::Add, name, Some(&new), false, watch),
            (Some(old), Some(new)) => self.entry(name, &old, &new, watch),
        }
        .map(|()| true)
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
                let from = self.old.content(old_dir, name, old, None)?;
                let to = self.new.content(new_dir, name, new, None)?;
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
                same_entry(a, b, watch)
            };
            if same().map_err(|e| e.at(path))? {
                if new.meta.nlink > 1 {
                    if !old.meta.same_inode(&new.meta) {
                        self.need_seen(new).map_err(|e| e.at(self.path(name)))?;
                    }
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

    /// ESTALE where an inode that is no directory has, perhaps, names in what both stacks share, and nobody looked.
    fn need_seen(&self, new: &Found) -> Result<()> {
        match self.believed && new.tree >= self.own && new.meta.nlink > 1 {
            true => Err(Error::new(Code::Changed, Errno::STALE, super::UNSEEN)),
            false => Ok(()),
        }
    }

    /// Whether the names of this inode are not those it had.
    fn regrouped(&mut self, meta: &Meta, watch: &mut Watch<'_>) -> Result<bool> {
        if self.linked.is_none() {
            let mut linked = Linked::default();
            run(self.old, self.new, &mut linked, self.whole, watch)?;
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
        let same = old_dir
            .as_ref()
            .map_or(0, |dir| common((self.old, dir), (self.new, &new_dir)));
        let shared = if self.whole { 0 } else { same };
        let known = old_dir.as_ref().filter(|dir| dir.parts() == same);
        let known = known.map(|_| new_dir.parts() - same);
        let old_own = old_dir.as_ref().map_or(0, |dir| dir.parts() - shared);
        let new_own = new_dir.parts() - shared;
        if old_own == 0 && new_own == 0 {
            return Ok(());
        }
        for dir in old_dir.iter().chain([&new_dir]) {
            dir.need_own_spelling(self.new.marks())
                .map_err(|e| e.at(self.path(&name)))?;
        }
        if let Some(frame) = self.frames.last() {
            if let Some(above) = &frame.new {
                self.new.enter(above, &name, &mut new_dir, new_own.max(1))?;
            }
            if let (Some(above), Some(dir)) = (&frame.old, &mut old_dir) {
                self.old.enter(above, &name, dir, old_own.max(1))?;
            }
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
        names.sort_unstable_by(|a, b| b.name.cmp(&a.name));
        names.dedup_by(Listed::is_again);
        let parts = new_dir.parts() + old_dir.as_ref().map_or(0, Dir::parts);
        let close = match parts > 4 {
            true => self.frames.len().checked_sub(1),
            false => self.frames.len().checked_sub(OPEN),
        };
        if let Some(frame) = close.and_then(|at| self.frames.get_mut(at)) {
            frame
                .old
                .iter_mut()
                .chain(frame.new.iter_mut())
                .for_each(Dir::release);
        }
        let told = same;
        self.frames.push(Frame {
            name,
            old: old_dir,
            new: Some(new_dir),
            meta: new.meta,
            tree: new.tree,
            own: new_own > 0,
            known,
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
        Ok(directory_xattrs(self.old, old.1)? == directory_xattrs(self.new, new.1)?)
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
        if let Some(found) = found {
            self.need_seen(found).map_err(|e| e.at(&path))?;
        }
        let Some(frame) = self.frames.last_mut() else {
            return Ok(());
        };
        let (content, opened);
        let new = match (found, &mut frame.new) {
            (Some(found), Some(dir)) => {
                let at = |e: Error| e.at(&path);
                opened = match found.meta.kind == Kind::File && self.visitor.reads(&found.meta) {
                    true => self.new.open(dir, name, found).map_err(at)?,
                    false => None,
                };
                let opened = opened.as_ref();
                content = self.new.content(dir, name, found, opened).map_err(at)?;
                let marks = self.new.marks_of(found.tree);
                let place = Place {
                    dir: self.new.provider(dir, found)?,
                    name,
                    meta: &found.meta,
                    content: content.as_ref().map(OwnedFd::as_fd),
                };
                if let (Some(marks), true) = (marks, found.meta.nlink > 1) {
                    let own = match opened {
                        Some(Opened { file, attributes }) => {
                            foreign::of_file_among(Inode::Open(file.as_fd()), attributes, marks)
                        }
                        None => foreign::of_file(place.dir, name, marks),
                    };
                    own.and_then(|own| foreign::need_names(&own)).map_err(at)?;
                }
                Some(New {
                    place,
                    tree: found.tree,
                    marks,
                    attributes: opened.map(|opened| &opened.attributes[..]),
                    file: opened.map(|opened| &opened.file),
                })
            }
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
            dir.nearest(self.new)?;
            let kind = if at + 1 == depth {
                last
            } else {
                ChangeKind::Modify
            };
            let place = Place {
                dir: dir.part(0)?,
                name: b".",
                meta: &frame.meta,
                content: None,
            };
            let new = Some(New {
                place,
                tree: frame.tree,
                marks: self.new.marks_of(frame.tree),
                attributes: dir.attributes(),
                file: None,
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

fn directory_xattrs(stack: &Stack, dir: &mut Dir) -> Result<Pairs> {
    dir.nearest(stack)?;
    let inode = Inode::Open(dir.part(0)?);
    match dir.attributes() {
        Some(names) => own_among(inode, names),
        None => own_xattrs(inode),
    }
}
