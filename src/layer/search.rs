//! The way of one lookup down a stack of trees.
//!
//! As a rule it goes through the parts of one merged directory with one name. A redirect changes
//! that for the trees below the one that carries it: another name in the same directory, or a path
//! from the root, which every further tree resolves for itself.

use super::foreign;
use super::view::{Dir, Found, Stack};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::fs::{self, Kind, Meta};
use crate::sys::xattr;
use crate::sys::{BorrowedFd, OwnedFd, SysCall};
use crate::tree::attrs::Inode;
use crate::tree::chain::join;
use std::borrow::Cow;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Where the next tree is asked.
enum At {
    /// In the directory's part of this number.
    Part(usize),
    /// At a path from the root of the tree of this number.
    Root { path: Vec<u8>, tree: usize },
    /// Nothing below is seen.
    End,
}

/// See the module's text.
pub(super) struct Search<'a> {
    name: Cow<'a, [u8]>,
    at: At,
    /// From this part on the answer is known, for the name that was looked up.
    known: usize,
    /// A regular file is opened, see [`Stack::lookup_over`].
    opens: bool,
}

/// What one tree has.
pub(super) struct Hit {
    pub(super) meta: Meta,
    pub(super) tree: usize,
    /// Its path in the tree, when that is not the one that was looked up.
    pub(super) elsewhere: Option<Vec<u8>>,
    /// It was opened.
    pub(super) file: Option<OwnedFd>,
    parent: Parent,
}

enum Parent {
    Part(usize),
    Own(OwnedFd),
}

impl Hit {
    /// The directory that it is in, by [`Search::name`].
    pub(super) fn dir<'a>(&'a self, dir: &'a Dir) -> Result<BorrowedFd<'a>> {
        match &self.parent {
            Parent::Part(at) => dir.part(*at),
            Parent::Own(fd) => Ok(fd.as_fd()),
        }
    }

    /// Closes the part of the directory that it is in.
    pub(super) fn release(&self, dir: &mut Dir) {
        if let Parent::Part(at) = self.parent {
            dir.release_part(at);
        }
    }
}

impl<'a> Search<'a> {
    /// Looks for `name`, from the part `from` of a directory on.
    pub(super) fn new(name: &'a [u8], from: usize) -> Self {
        Search {
            name: Cow::Borrowed(name),
            at: At::Part(from),
            known: usize::MAX,
            opens: false,
        }
    }

    /// Opens what is listed as a regular file of a tree with marks, which is as a rule a changed one.
    pub(super) fn opening(mut self, opens: bool) -> Self {
        self.opens = opens;
        self
    }

    /// Stops before the part `known`, as long as the name is the one that was looked up.
    pub(super) fn until(mut self, known: usize) -> Self {
        self.known = known;
        self
    }

    /// Whether it came to where the answer is known.
    pub(super) fn stands_at_known(&self) -> bool {
        matches!((&self.at, &self.name), (At::Part(at), Cow::Borrowed(_)) if *at == self.known)
    }

    /// What the last hit is called in its directory.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Goes on below `tree` as the redirect that was found there says.
    pub(super) fn follow(&mut self, redirect: Option<Vec<u8>>, tree: usize) {
        let Some(to) = redirect else { return };
        if matches!(self.at, At::End) {
            return;
        }
        let (parent, name) = crate::archive::path::split(to.strip_prefix(b"/").unwrap_or(&to));
        let name = name.to_vec();
        if to.starts_with(b"/") {
            let path = join(parent, &name);
            let tree = tree + 1;
            self.at = At::Root { path, tree };
        } else if let At::Root { path, .. } = &mut self.at {
            *path = join(crate::archive::path::split(path).0, &name);
        }
        self.name = Cow::Owned(name);
    }

    /// The next tree's answer. A whiteout, and what else ends the search, is none.
    pub(super) fn next(&mut self, stack: &Stack, dir: &mut Dir) -> Result<Option<Hit>> {
        loop {
            if self.stands_at_known() {
                return Ok(None);
            }
            match &mut self.at {
                At::End => return Ok(None),
                At::Part(at) => {
                    if *at == dir.parts.len() {
                        return Ok(None);
                    }
                    let part = *at;
                    *at += 1;
                    if let Some(hit) = self.in_part(stack, dir, part)? {
                        return Ok(Some(hit));
                    }
                }
                At::Root { tree, .. } => {
                    if *tree == stack.trees().len() {
                        return Ok(None);
                    }
                    let asked = *tree;
                    *tree += 1;
                    if let Some(hit) = self.at_path(stack, asked)? {
                        return Ok(Some(hit));
                    }
                }
            }
        }
    }

    fn in_part(&mut self, stack: &Stack, dir: &mut Dir, at: usize) -> Result<Option<Hit>> {
        let tree = dir.parts[at].tree;
        let fd = dir.open_part(stack, at)?;
        let marked = stack.trees()[tree].marked;
        let looked = match self.opens && marked {
            true => open_and_look(fd, &self.name),
            false => fs::stat_at(fd, &self.name).map(|meta| (None, meta)),
        };
        let (file, meta) = match looked {
            Ok(looked) => looked,
            Err(Errno::NOENT) => {
                if dir.parts.len() > super::view::KEPT {
                    dir.release_part(at);
                }
                return Ok(None);
            }
            Err(errno) => return Err(errno).call_at("statx", &self.name),
        };
        if marked && foreign::is_whiteout(fd, &self.name, &meta, stack.marks())? {
            self.at = At::End;
            return Ok(None);
        }
        let renamed = matches!(self.name, Cow::Owned(_));
        let in_tree = dir.path_in(at);
        let elsewhere = renamed || in_tree != dir.path();
        Ok(Some(Hit {
            meta,
            tree,
            elsewhere: elsewhere.then(|| join(in_tree, &self.name)),
            file,
            parent: Parent::Part(at),
        }))
    }

    /// Resolves the path in one tree. What a directory on the way is called below, the path is in
    /// the trees below.
    fn at_path(&mut self, stack: &Stack, tree: usize) -> Result<Option<Hit>> {
        let At::Root { path, .. } = &self.at else {
            return Ok(None);
        };
        let path = path.clone();
        let marked = stack.trees()[tree].marked;
        let mut fd = stack.trees()[tree].open(b"").call("open")?;
        let mut below = Vec::new();
        let mut opaque = false;
        let (parent, name) = crate::archive::path::split(&path);
        for part in parent.split(|&b| b == b'/').filter(|part| !part.is_empty()) {
            let meta = match fs::stat_at(&fd, part) {
                Ok(meta) => meta,
                Err(Errno::NOENT) => return self.ended(opaque),
                Err(errno) => return Err(errno).call_at("statx", &path),
            };
            // A whiteout, or anything else that is no directory, is in the way.
            if meta.kind != Kind::Directory {
                return self.ended(true);
            }
            fd = fs::open_dir(&fd, part).call_at("open", &path)?;
            let mut called = part.to_vec();
            if marked {
                let marks = foreign::of_directory(fd.as_fd(), stack.marks())?;
                opaque |= marks.opaque;
                match marks.redirect {
                    Some(to) if to.starts_with(b"/") => {
                        below.clear();
                        called = to[1..].to_vec();
                    }
                    Some(to) => called = to,
                    None => {}
                }
            }
            below = join(&below, &called);
        }
        let meta = match fs::stat_at(&fd, name) {
            Ok(meta) => meta,
            Err(Errno::NOENT) => {
                self.rename(join(&below, name));
                return self.ended(opaque);
            }
            Err(errno) => return Err(errno).call_at("statx", &path),
        };
        if marked && foreign::is_whiteout(fd.as_fd(), name, &meta, stack.marks())? {
            return self.ended(true);
        }
        self.name = Cow::Owned(name.to_vec());
        self.rename(join(&below, name));
        let hit = Hit {
            meta,
            tree,
            elsewhere: Some(path),
            file: None,
            parent: Parent::Own(fd),
        };
        self.ended(opaque)?;
        Ok(Some(hit))
    }

    fn rename(&mut self, to: Vec<u8>) {
        if let At::Root { path, .. } = &mut self.at {
            *path = to;
        }
    }

    fn ended(&mut self, end: bool) -> Result<Option<Hit>> {
        if end {
            self.at = At::End;
        }
        Ok(None)
    }
}

/// Opens what is said to be a regular file, and looks at it then: its name is looked up once. What
/// cannot be opened is looked at by its name.
fn open_and_look(dir: BorrowedFd<'_>, name: &[u8]) -> SysCall<(Option<OwnedFd>, Meta)> {
    match fs::open_file(dir, name) {
        Ok(file) => {
            let meta = fs::stat(&file)?;
            Ok(((meta.kind == Kind::File).then_some(file), meta))
        }
        Err(Errno::NOENT) => Err(Errno::NOENT),
        Err(_) => fs::stat_at(dir, name).map(|meta| (None, meta)),
    }
}

/// A regular file that is open.
pub struct Opened {
    /// For reading, by whoever does that.
    pub file: Arc<OwnedFd>,
    /// What its attributes are called.
    pub attributes: Vec<Vec<u8>>,
}

impl Stack {
    /// Opens the regular file `name`, found in `dir`; none where it cannot be opened now, which
    /// whoever asks for it by its name is told in his own words.
    pub fn open(&self, dir: &mut Dir, name: &[u8], found: &Found) -> Result<Option<Opened>> {
        let file = match &found.file {
            Some(file) => Ok(file.clone()),
            None => fs::open_file(self.provider(dir, found)?, name).map(Arc::new),
        };
        let opened = file.and_then(|file| {
            let attributes = xattr::list(&file)?;
            Ok(Opened { file, attributes })
        });
        Ok(opened.ok())
    }

    /// The content of the regular file `name`, found in `dir`, when the inode itself does not
    /// have it. What is open already need not be looked up.
    pub fn content(
        &self,
        dir: &mut Dir,
        name: &[u8],
        found: &Found,
        opened: Option<&Opened>,
    ) -> Result<Option<OwnedFd>> {
        if !self.trees()[found.tree].marked || found.meta.kind != Kind::File {
            return Ok(None);
        }
        let own = match opened {
            Some(Opened { file, attributes }) => {
                foreign::of_file_among(Inode::Open(file.as_fd()), attributes, self.marks())?
            }
            None => foreign::of_file(self.provider(dir, found)?, name, self.marks())?,
        };
        if !own.metacopy && own.misspelt.is_none() {
            return Ok(None);
        }
        let part = dir.parts.iter().position(|part| part.tree == found.tree);
        let mut search = Search::new(name, part.map_or(0, |at| at + 1));
        if own.misspelt.is_some() {
            let below = Search::new(name, part.map_or(0, |at| at + 1)).next(self, dir)?;
            foreign::need_own_spelling(own.misspelt.as_deref(), self.marks(), below.is_some())?;
            if !own.metacopy {
                return Ok(None);
            }
        }
        search.follow(own.redirect, found.tree);
        while let Some(hit) = search.next(self, dir)? {
            if hit.meta.kind != Kind::File {
                break;
            }
            let from = hit.dir(dir)?;
            if self.trees()[hit.tree].marked {
                let marks = foreign::of_file(from, search.name(), self.marks())?;
                if marks.metacopy {
                    search.follow(marks.redirect, hit.tree);
                    continue;
                }
            }
            if hit.meta.size != found.meta.size {
                break;
            }
            return Ok(Some(fs::open_file(from, search.name()).call("open")?));
        }
        Err(Error::new(
            Code::Damaged,
            Errno::IO,
            "it was copied up under overlayfs's metacopy, and its content is not below it",
        ))
    }
}
