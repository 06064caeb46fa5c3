//! A stack of trees read as one, by the rules of overlayfs: the nearest tree that has a name
//! decides what it is, directories are merged until one is opaque or something else is in the
//! way, a whiteout hides. A directory's redirect says what it is called in the trees below; the
//! content of a metacopy file is that of the next file below.
//!
//! Nothing is mounted, so this works without privilege and for chains that are nowhere mounted.
//! A tree is a path below one open directory (`layer/`), opened when it is needed: a stack of 500
//! holds no descriptors.

mod dir;

pub(super) use dir::KEPT;
use dir::Part;
pub use dir::{Dir, Known, common};

use super::foreign;
use super::search::Search;
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::dir::{DirBuf, Hint};
use crate::sys::fs::{Kind, Meta};
use crate::sys::xattr::{self, Marks};
use crate::sys::{BorrowedFd, Own, OwnedFd, SysCall, fs};
use crate::tree::chain::join;
use std::os::fd::AsFd;
use std::sync::Arc;

/// One tree of a stack.
#[derive(Clone, Debug)]
pub struct Tree {
    base: Arc<Own>,
    prefix: Vec<u8>,
    /// Whether character devices 0:0 and the opaque attribute mean what overlayfs says.
    pub marked: bool,
}

impl Tree {
    /// The tree at `prefix` below `base`.
    pub fn new(base: Arc<Own>, prefix: Vec<u8>, marked: bool) -> Self {
        Tree {
            base,
            prefix,
            marked,
        }
    }

    /// Opens the directory `path` of the tree.
    pub fn open(&self, path: &[u8]) -> SysCall<OwnedFd> {
        if path.is_empty() {
            return fs::open_dir_deep(&self.base, &self.prefix);
        }
        let mut full = Vec::with_capacity(self.prefix.len() + 1 + path.len());
        full.extend_from_slice(&self.prefix);
        full.push(b'/');
        full.extend_from_slice(path);
        fs::open_dir_deep(&self.base, &full)
    }

    /// The path of the tree below its base, for messages.
    pub fn name(&self) -> &[u8] {
        &self.prefix
    }

    /// The directory that it is below.
    pub fn base(&self) -> BorrowedFd<'_> {
        self.base.as_fd()
    }

    fn same(&self, other: &Tree) -> bool {
        self.prefix == other.prefix && Arc::ptr_eq(&self.base, &other.base)
    }
}

/// A stack of trees, nearest first.
#[derive(Clone, Debug)]
pub struct Stack {
    trees: Vec<Tree>,
    marks: Marks,
}

/// A name found in a merged directory.
#[derive(Debug)]
pub struct Found {
    /// Its attributes.
    pub meta: Meta,
    /// The tree that provides it.
    pub tree: usize,
    /// When it is a directory: its merged contents.
    pub dir: Option<Dir>,
    /// When it is a regular file that was opened to look at it: that.
    pub file: Option<Arc<OwnedFd>>,
}

/// A name that a directory lists.
#[derive(Debug)]
pub struct Listed {
    /// The name.
    pub name: Vec<u8>,
    /// It is said to be a regular file.
    pub file: bool,
}

impl Listed {
    /// Whether it is the name of the one before it, which then may be a file if either says so.
    pub fn is_again(&mut self, before: &mut Listed) -> bool {
        let again = self.name == before.name;
        before.file |= again && self.file;
        again
    }
}

impl Stack {
    /// A stack of these trees, nearest first; none is a tree with nothing in it.
    pub fn new(trees: Vec<Tree>, marks: Marks) -> Self {
        Stack { trees, marks }
    }

    /// The trees, nearest first.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// How overlayfs's marks are spelled in one tree, if it may hold any.
    pub fn marks_of(&self, tree: usize) -> Option<Marks> {
        self.trees[tree].marked.then_some(self.marks)
    }

    /// How overlayfs's marks are spelled here.
    pub fn marks(&self) -> Marks {
        self.marks
    }

    /// What lies below the nearest tree.
    pub fn below(&self) -> Stack {
        let trees = self.trees.iter().skip(1).cloned().collect();
        Stack::new(trees, self.marks)
    }

    /// How many trees at the far end are the same in another stack.
    pub fn shared_trees(&self, other: &Stack) -> usize {
        let pairs = self.trees.iter().rev().zip(other.trees.iter().rev());
        pairs.take_while(|(a, b)| a.same(b)).count()
    }

    /// The merged root; `None` for an empty stack.
    pub fn root(&self) -> Result<Option<Found>> {
        let Some(nearest) = self.trees.first() else {
            return Ok(None);
        };
        let fd = nearest.open(b"").call_at("open", nearest.name())?;
        let meta = fs::stat(&fd).call_at("statx", nearest.name())?;
        let mut parts: Vec<Part> = (0..self.trees.len())
            .map(|tree| Part {
                tree,
                open: None,
                elsewhere: None,
                attributes: None,
            })
            .collect();
        parts[0].open = Some(fd.into());
        Ok(Some(Found {
            meta,
            tree: 0,
            dir: Some(Dir {
                path: Vec::new(),
                parts,
                misspelt: None,
            }),
            file: None,
        }))
    }

    /// Looks `name` up in `dir`.
    pub fn lookup(&self, dir: &mut Dir, name: &[u8]) -> Result<Option<Found>> {
        self.lookup_over(dir, name, None, false)
    }

    /// The same, where what the far end has may be known. A file is opened first
    /// and then looked at where `open` says so and it is likely to be a change.
    pub fn lookup_over(
        &self,
        dir: &mut Dir,
        name: &[u8],
        known: Option<Known<'_>>,
        open: bool,
    ) -> Result<Option<Found>> {
        self.look(dir, name, known, open)
            .map_err(|error| error.below(&dir.path))
    }

    fn look(
        &self,
        dir: &mut Dir,
        name: &[u8],
        known: Option<Known<'_>>,
        open: bool,
    ) -> Result<Option<Found>> {
        let mut found: Option<Found> = None;
        let keep = dir.parts.len() <= KEPT;
        let until = known.map_or(usize::MAX, |known| known.from);
        let mut search = Search::new(name, 0).until(until).opening(open);
        loop {
            let Some(hit) = search.next(self, dir)? else {
                if let Some(known) = known.filter(|_| search.stands_at_known()) {
                    known.add_to(&mut found);
                }
                break;
            };
            if hit.meta.kind != Kind::Directory {
                if found.is_none() {
                    found = Some(Found {
                        meta: hit.meta,
                        tree: hit.tree,
                        dir: None,
                        file: hit.file.map(Arc::new),
                    });
                }
                break;
            }
            let (mut open, mut attributes) = (None, None);
            let mut marks = foreign::DirMarks::default();
            if self.trees[hit.tree].marked {
                let child = fs::open_dir(hit.dir(dir)?, search.name()).call_at("open", name)?;
                let names = xattr::list(&child).call_at("flistxattr", name)?;
                marks = foreign::of_directory_among(child.as_fd(), &names, self.marks)
                    .map_err(|e| e.at(name))?;
                attributes = Some(names);
                open = keep.then(|| child.into());
            }
            if !keep {
                hit.release(dir);
            }
            let part = Part {
                tree: hit.tree,
                open,
                elsewhere: hit.elsewhere,
                attributes,
            };
            match found.as_mut().and_then(|f| f.dir.as_mut()) {
                Some(dir) => {
                    dir.parts.push(part);
                    let at = dir.parts.len();
                    dir.misspelt = dir
                        .misspelt
                        .take()
                        .or(marks.misspelt.map(|name| (name, at)));
                }
                None => {
                    let dir = Dir {
                        path: join(&dir.path, name),
                        parts: vec![part],
                        misspelt: marks.misspelt.map(|name| (name, 1)),
                    };
                    found = Some(Found {
                        meta: hit.meta,
                        tree: hit.tree,
                        dir: Some(dir),
                        file: None,
                    });
                }
            }
            if marks.opaque {
                break;
            }
            search.follow(marks.redirect, hit.tree);
        }
        Ok(found)
    }

    /// Opens the nearest `count` parts of `dir`, which was found as `name` in `parent`, where the
    /// parent's are open: by its path it takes as long as it is deep.
    pub fn enter(&self, parent: &Dir, name: &[u8], dir: &mut Dir, count: usize) -> Result<()> {
        if dir.parts.len() > KEPT {
            return Ok(());
        }
        for part in dir.parts.iter_mut().take(count) {
            let above = parent.parts.iter().find(|above| above.tree == part.tree);
            if part.elsewhere.is_some() {
                continue;
            }
            if let (
                None,
                Some(Part {
                    open: Some(above), ..
                }),
            ) = (&part.open, above)
            {
                let fd = fs::open_dir(&above.fd, name);
                part.open = Some(fd.call_at("open", &dir.path)?.into());
            }
        }
        Ok(())
    }

    /// The directory that provides `name` as `found`, for reading it.
    pub fn provider<'a>(&self, dir: &'a mut Dir, found: &Found) -> Result<BorrowedFd<'a>> {
        match dir.parts.iter().position(|part| part.tree == found.tree) {
            Some(at) => dir.open_part(self, at),
            None => Err(Error::new(Code::Bug, Errno::NOTRECOVERABLE, "no such part")),
        }
    }

    /// The merged names of `dir`, sorted; whiteouts hide, and are not told.
    pub fn names(&self, dir: &mut Dir, buf: &mut DirBuf) -> Result<Vec<Vec<u8>>> {
        let mut names = self.own_names(dir, dir.parts.len(), buf)?;
        let mut kept = Vec::with_capacity(names.len());
        for Listed { name, .. } in names.drain(..) {
            if self.lookup(dir, &name)?.is_some() {
                kept.push(name);
            }
        }
        Ok(kept)
    }

    /// The names that the nearest `count` trees of `dir` list, whiteouts too; sorted, once each.
    pub fn own_names(&self, dir: &mut Dir, count: usize, buf: &mut DirBuf) -> Result<Vec<Listed>> {
        let mut names = Vec::new();
        for at in 0..count {
            let Part {
                tree,
                open,
                elsewhere,
                ..
            } = &mut dir.parts[at];
            let path = elsewhere.as_deref().unwrap_or(&dir.path);
            let opened;
            let fd = match open {
                Some(open) => {
                    if open.read {
                        fs::rewind(&open.fd).call_at("lseek", path)?;
                    }
                    open.read = true;
                    &open.fd
                }
                None => {
                    opened = self.trees[*tree].open(path).call_at("open", path)?;
                    &opened
                }
            };
            buf.for_each(fd, |name, hint| {
                names.push(Listed {
                    name: name.to_vec(),
                    file: hint == Hint::File,
                });
                Ok::<_, Errno>(())
            })
            .call_at("getdents64", path)?;
        }
        names.sort_unstable_by(|a: &Listed, b| a.name.cmp(&b.name));
        names.dedup_by(Listed::is_again);
        Ok(names)
    }
}

/// Whether an open directory hides what lower layers have in it.
pub fn is_opaque(dir: BorrowedFd<'_>, marks: Marks) -> SysCall<bool> {
    Ok(xattr::get(dir, marks.opaque())?.is_some_and(|value| value == b"y"))
}
