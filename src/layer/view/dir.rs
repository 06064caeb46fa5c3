//! A directory of a stack: its parts, which are open or not, and what is known of them.

use super::{Found, Stack};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::layer::foreign;
use crate::sys::fs::{self, Meta};
use crate::sys::xattr::Marks;
use crate::sys::{BorrowedFd, OwnedFd, SysCall};
use std::os::fd::AsFd;

/// The descriptors of a directory that more trees have are closed after each look.
pub(in crate::layer) const KEPT: usize = 16;

/// One tree's part of a merged directory.
#[derive(Debug)]
pub(in crate::layer) struct Part {
    pub(in crate::layer) tree: usize,
    pub(super) open: Option<Open>,
    /// Its path in the tree, when that is not the directory's.
    pub(super) elsewhere: Option<Vec<u8>>,
    /// What its attributes are called, where they were looked at for marks.
    pub(super) attributes: Option<Vec<Vec<u8>>>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) fd: OwnedFd,
    /// Its names were read: it stands behind them.
    pub(super) read: bool,
}

impl From<OwnedFd> for Open {
    fn from(fd: OwnedFd) -> Self {
        Open { fd, read: false }
    }
}

/// A directory of a stack: the trees that have it, nearest first.
#[derive(Debug)]
pub struct Dir {
    pub(super) path: Vec<u8>,
    pub(in crate::layer) parts: Vec<Part>,
    /// See [`foreign::DirMarks`]; and how many parts there were with the one that has it.
    pub(super) misspelt: Option<(Vec<u8>, usize)>,
}

impl Dir {
    /// The path of the directory in its stack; `""` is the root.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// EOPNOTSUPP when an attribute of it would be a mark under the other spelling.
    pub fn need_own_spelling(&self, marks: Marks) -> Result<()> {
        let (name, with) = self
            .misspelt
            .as_ref()
            .map_or((None, 0), |(n, with)| (Some(&n[..]), *with));
        foreign::need_own_spelling(name, marks, with < self.parts.len())
    }

    /// Opens the nearest tree's directory from one in it, `child`, if that is open; what is opened
    /// must be `meta`.
    pub fn open_from(&mut self, child: &Dir, meta: &Meta) -> SysCall<()> {
        let (Some(own), Some(below)) = (self.parts.first_mut(), child.parts.first()) else {
            return Ok(());
        };
        if let (None, Some(below), true) = (&own.open, &below.open, own.tree == below.tree) {
            let fd = fs::open_dir_trusted(&below.fd, b"..")?;
            if fs::stat(&fd)?.same_inode(meta) {
                own.open = Some(fd.into());
            }
        }
        Ok(())
    }

    /// What the attributes of the nearest tree's directory are called, if that is known.
    pub fn attributes(&self) -> Option<&[Vec<u8>]> {
        self.parts.first()?.attributes.as_deref()
    }

    /// How many trees have it.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The trees that have it, nearest first.
    pub fn trees(&self) -> impl Iterator<Item = usize> + '_ {
        self.parts.iter().map(|part| part.tree)
    }

    /// The path in its tree of the part at `at`.
    pub(in crate::layer) fn path_in(&self, at: usize) -> &[u8] {
        let part = &self.parts[at];
        part.elsewhere.as_deref().unwrap_or(&self.path)
    }

    /// Closes the descriptor of one part.
    pub(in crate::layer) fn release_part(&mut self, at: usize) {
        self.parts[at].open = None;
    }

    /// Closes its descriptors; they are opened again when needed.
    pub fn release(&mut self) {
        for part in &mut self.parts {
            part.open = None;
        }
    }

    /// Opens the nearest tree's directory.
    pub fn nearest(&mut self, stack: &Stack) -> Result<BorrowedFd<'_>> {
        self.open_part(stack, 0)
    }

    /// The open descriptor of the part at `at`.
    pub(in crate::layer) fn part(&self, at: usize) -> Result<BorrowedFd<'_>> {
        match &self.parts[at].open {
            Some(open) => Ok(open.fd.as_fd()),
            None => Err(Error::new(
                Code::Bug,
                Errno::NOTRECOVERABLE,
                "no descriptor",
            )),
        }
    }

    /// Opens the part at `at`, as [`Dir::trees`] counts.
    pub fn open_part(&mut self, stack: &Stack, at: usize) -> Result<BorrowedFd<'_>> {
        if self.parts.len() > KEPT {
            // One at a time.
            let others = self.parts.iter_mut().enumerate().filter(|(n, _)| *n != at);
            others.for_each(|(_, part)| part.open = None);
        }
        let part = &mut self.parts[at];
        if part.open.is_none() {
            let tree = &stack.trees[part.tree];
            let path = part.elsewhere.as_deref().unwrap_or(&self.path);
            let fd = tree.open(path).call_at("open", path)?;
            part.open = Some(fd.into());
        }
        self.part(at)
    }
}

/// What another stack, whose trees are the far end of this one's, has at a name: nobody need ask
/// those trees again.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The first part of the directory that the other stack's directory has, too.
    pub from: usize,
    /// How many trees this stack has in front of the other's.
    pub trees: usize,
    /// What was found there.
    pub found: Option<&'a Found>,
}

impl Known<'_> {
    /// Adds it to what lies in front of it.
    pub(super) fn add_to(self, found: &mut Option<Found>) {
        let Some(known) = self.found else { return };
        match found {
            None => {
                *found = Some(Found {
                    meta: known.meta,
                    tree: known.tree + self.trees,
                    dir: known.dir.as_ref().map(|dir| Dir {
                        path: dir.path.clone(),
                        parts: self.parts(dir),
                        misspelt: dir.misspelt.clone(),
                    }),
                    file: None,
                });
            }
            Some(Found { dir: Some(dir), .. }) => {
                let Some(below) = &known.dir else { return };
                let above = dir.parts.len();
                let misspelt = |(name, with): &(Vec<u8>, usize)| (name.clone(), with + above);
                dir.misspelt = dir
                    .misspelt
                    .take()
                    .or(below.misspelt.as_ref().map(misspelt));
                dir.parts.extend(self.parts(below));
            }
            Some(Found { dir: None, .. }) => {}
        }
    }

    /// Parts as this stack counts them, not open.
    fn parts(&self, dir: &Dir) -> Vec<Part> {
        let here = |part: &Part| Part {
            tree: part.tree + self.trees,
            open: None,
            elsewhere: part.elsewhere.clone(),
            attributes: part.attributes.clone(),
        };
        dir.parts.iter().map(here).collect()
    }
}

/// How many parts two directories have in common at the far end: below them the two are equal.
pub fn common(a: (&Stack, &Dir), b: (&Stack, &Dir)) -> usize {
    let parts = |dir: &Dir| (0..dir.parts.len()).rev();
    let same = |&(x, y): &(usize, usize)| {
        a.1.path_in(x) == b.1.path_in(y)
            && a.0.trees[a.1.parts[x].tree].same(&b.0.trees[b.1.parts[y].tree])
    };
    parts(a.1).zip(parts(b.1)).take_while(same).count()
}
