//! Making an upper a complete tree: what the stack below it provides is linked in, its marks go.
//!
//! One walk over the directories that the stack has, nearest tree first. A name that the
//! destination has already, from the upper or from a nearer tree, stays. A directory that only one
//! tree has left to give is cloned by `tree::copy` without a look at anything else. Inodes are
//! shared, never touched; one that carries overlayfs's marks is copied without them.

use super::foreign;
use super::view::{Dir, Found, Listed, Stack, is_opaque};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::dir::{DirBuf, Hint};
use crate::sys::fs::{Kind, Meta};
use crate::sys::thread::Threads;
use crate::sys::xattr;
use crate::sys::{BorrowedFd, OwnedFd, fs};
use crate::tree::Reflink;
use crate::tree::aside::Aside;
use crate::tree::attrs::{self, Attributes, Inode, Partial, Setter, Shut, disinherit};
use crate::tree::chain::{Chain, join};
use crate::tree::copier::Copier;
use crate::tree::copy::{CopyFlags, CopyOptions};
use crate::tree::data::DataCopier;
use crate::tree::groups::{Groups, Joined};
use crate::tree::inode::{InodeCopier, Modes};
use crate::watch::Watch;
use std::os::fd::AsFd;

/// How what the stack has gets into the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// By hard links: the destination must never be written to.
    Links,
    /// By copies, which share content where the file system can.
    Copies,
}

/// How a tree is filled.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// How content gets there.
    pub sharing: Sharing,
    /// Fail where otherwise something is done in part.
    pub strict: bool,
    /// Whether whole trees are linked or copied by several threads.
    pub threads: Threads,
}

/// What a filling was able to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filled {
    /// Links that had to be copies.
    pub fallbacks: u64,
    /// What could be done in part only.
    pub partial: Partial,
}

/// Fills `root`, an upper with marks, with what `stack` has. At the end directories get the modes
/// that were kept back from them, those in `modes` too. Copies that the upper has of the stack's
/// inodes get their other names from `aside`.
pub fn fill(
    root: OwnedFd,
    stack: &Stack,
    how: How,
    modes: Shut,
    aside: Option<Aside>,
    watch: &mut Watch<'_>,
) -> Result<Filled> {
    let How {
        sharing,
        strict,
        threads,
    } = how;
    let mut setter = Setter::new(strict);
    setter.shut = attrs::modes_bind().then_some(modes);
    let mut flags = CopyFlags::NO_OVERLAY_XATTRS;
    flags.set(CopyFlags::HARD_LINK, sharing == Sharing::Links);
    flags.set(CopyFlags::STRICT, strict);
    let mut job = Job {
        sharing,
        stack,
        buf: DirBuf::default(),
        inodes: InodeCopier {
            setter,
            data: DataCopier::new(Reflink::Auto),
            no_overlay_xattrs: true,
            modes: Modes::Unknown,
            changed: None,
            ctimes: false,
        },
        copier: Copier::new(&CopyOptions {
            flags,
            threads,
            ..CopyOptions::default()
        })?,
        groups: Groups::new(root.as_fd(), aside)?,
        fallbacks: 0,
    };
    if let Some(modes) = &mut job.inodes.setter.shut {
        let top = fs::stat(&root).call("statx")?;
        if top.mode & 0o700 != 0o700 {
            modes.insert(top.ino, top.mode);
            fs::chmod(&root, top.mode | 0o700).call("fchmod")?;
        }
    }
    let below = stack.root()?.and_then(|found| found.dir);
    let mut chain = Chain::new(fs::open_dir_trusted(&root, b".").call("open")?);
    // One path for all: each level with its own would take the square of the depth.
    let mut path = Vec::new();
    let mut levels = vec![job.enter(chain.fd()?, &path, below, watch)?];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.todo.pop() else {
            levels.pop();
            if let Some((name, _)) = chain.pop()? {
                path.truncate(path.len().saturating_sub(name.len() + 1));
            }
            continue;
        };
        let mut next = None;
        if let Some(dir) = &mut level.below {
            next = stack.lookup(dir, &name)?.and_then(|found| found.dir);
            if let Some(next) = &mut next {
                stack.enter(dir, &name, next, next.parts())?;
            }
        }
        let parts = level.below.as_ref().map_or(0, Dir::parts);
        let close = match parts > 4 {
            true => levels.len().checked_sub(1),
            false => levels.len().checked_sub(OPEN),
        };
        if let Some(Todo { below, .. }) = close.and_then(|at| levels.get_mut(at)) {
            below.iter_mut().for_each(Dir::release);
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&name);
        let fd = fs::open_dir(chain.fd()?, &name).call_at("open", &path)?;
        chain.push(name, fd)?;
        levels.push(job.enter(chain.fd()?, &path, next, watch)?);
    }
    let Job {
        inodes,
        copier,
        fallbacks,
        ..
    } = job;
    if let Some(modes) = &inodes.setter.shut {
        attrs::shut(fs::open_dir_trusted(&root, b".").call("open")?, modes)?;
    }
    let stats = copier.finish(&root)?;
    Ok(Filled {
        fallbacks: fallbacks + stats.link_fallbacks,
        partial: inodes.setter.partial.plus(stats.partial),
    })
}

/// Directories farther above than this are closed while those below are filled; those that more
/// than a few trees have always are.
const OPEN: usize = 16;

/// A directory of the destination that was filled: what the stack has there, and the directories
/// in it that are still to be filled.
struct Todo {
    below: Option<Dir>,
    todo: Vec<Vec<u8>>,
}

/// What a name of the upper is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mine {
    Directory,
    Whiteout,
    Other,
}

/// A directory of the destination.
struct Level<'a> {
    fd: BorrowedFd<'a>,
    path: &'a [u8],
}

struct Job<'a> {
    sharing: Sharing,
    stack: &'a Stack,
    buf: DirBuf,
    inodes: InodeCopier,
    /// Clones directories.
    copier: Copier,
    /// Copies made of inodes that could not be linked, for their other names.
    groups: Groups,
    fallbacks: u64,
}

impl Job<'_> {
    /// Fills one directory, open as `fd`.
    fn enter(
        &mut self,
        fd: BorrowedFd<'_>,
        path: &[u8],
        below: Option<Dir>,
        watch: &mut Watch<'_>,
    ) -> Result<Todo> {
        let level = Level { fd, path };
        match self.directory(&level, below, watch) {
            Ok((below, todo)) => Ok(Todo { below, todo }),
            Err(error) => Err(error.at(level.path)),
        }
    }

    /// Fills one directory that the upper has, and takes its marks away. Its times stay. Gives
    /// what the stack has there, and the directories in it that are to be filled.
    fn directory(
        &mut self,
        level: &Level<'_>,
        below: Option<Dir>,
        watch: &mut Watch<'_>,
    ) -> Result<(Option<Dir>, Vec<Vec<u8>>)> {
        let before = fs::stat(level.fd).call("statx")?;
        let opaque = is_opaque(level.fd, self.stack.marks()).call("getxattr")?;
        let listed = self.listed(level)?;
        let mut below = below.filter(|_| !opaque || level.path.is_empty());
        // The upper's own first: what it hides, and what is merged.
        let (mut whiteouts, mut todo) = (Vec::new(), Vec::new());
        for (name, mine) in &listed {
            match mine {
                Mine::Whiteout => whiteouts.push(name),
                // What is the upper's alone may still hold marks.
                Mine::Directory => todo.push(name.clone()),
                Mine::Other => {}
            }
        }
        if let Some(dir) = &mut below {
            self.bring(level, dir, &listed, &mut todo, watch)?;
        }
        for name in whiteouts {
            fs::unlink(level.fd, name).call_at("unlink", join(level.path, name))?;
        }
        for name in xattr::list(level.fd).call("flistxattr")? {
            if xattr::is_overlay(&name) {
                xattr::remove(level.fd, &name).call("fremovexattr")?;
            }
        }
        fs::set_times(level.fd, before.atime, before.mtime).call("utimensat")?;
        Ok((below, todo))
    }

    /// What the upper itself has in a directory, sorted; asked for only where listing does not say.
    fn listed(&mut self, level: &Level) -> Result<Vec<(Vec<u8>, Mine)>> {
        let mut listed = Vec::new();
        let read = self.buf.for_each(level.fd, |name, hint| {
            let mine = match hint {
                Hint::Directory => Mine::Directory,
                Hint::File | Hint::Other { char_device: false } => Mine::Other,
                Hint::Other { char_device: true } | Hint::Unknown => {
                    match fs::stat_at(level.fd, name)? {
                        meta if meta.is_whiteout() => Mine::Whiteout,
                        meta if meta.kind == Kind::Directory => Mine::Directory,
                        _ => Mine::Other,
                    }
                }
            };
            listed.push((name.to_vec(), mine));
            Ok::<_, Errno>(())
        });
        read.call("getdents64")?;
        listed.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(listed)
    }

    /// Brings in what the stack has and the directory has not.
    fn bring(
        &mut self,
        level: &Level<'_>,
        dir: &mut Dir,
        mine: &[(Vec<u8>, Mine)],
        todo: &mut Vec<Vec<u8>>,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let mut buf = std::mem::take(&mut self.buf);
        let names = self.stack.own_names(dir, dir.parts(), &mut buf);
        self.buf = buf;
        for Listed { name, .. } in names? {
            if mine.binary_search_by(|(has, _)| has.cmp(&name)).is_ok() {
                continue;
            }
            let Some(found) = self.stack.lookup(dir, &name)? else {
                continue;
            };
            if found.dir.is_some() {
                if !self.clone_directory(level, &name, found, watch)? {
                    todo.push(name);
                }
                continue;
            }
            let from = self.stack.provider(dir, &found)?;
            let marked = self.stack.trees()[found.tree].marked;
            self.link(from, &name, &found.meta, marked, level, watch)
                .map_err(|e| e.at(join(level.path, &name)))?;
            watch.entry()?;
        }
        dir.release();
        Ok(())
    }

    /// Makes a directory that only the stack has. When one plain tree provides it, all that is in
    /// it comes at once, and this is true; else it is to be filled in its turn.
    fn clone_directory(
        &mut self,
        level: &Level<'_>,
        name: &[u8],
        found: Found,
        watch: &mut Watch<'_>,
    ) -> Result<bool> {
        let Some(mut dir) = found.dir else {
            return Ok(true);
        };
        let meta = &found.meta;
        let path = join(level.path, name);
        fs::mkdir(level.fd, name, 0o700).call_at("mkdir", &path)?;
        let fd = fs::open_dir(level.fd, name).call_at("open", &path)?;
        disinherit(&fd).call_at("fremovexattr", &path)?;
        let tree = dir.trees().next().map(|tree| &self.stack.trees()[tree]);
        if dir.parts() == 1 && tree.is_some_and(|tree| !tree.marked) {
            let from = dir.nearest(self.stack)?;
            let from = fs::open_dir_trusted(from, b".").call_at("open", &path)?;
            let root = fs::open_dir_trusted(&fd, b".").call_at("open", &path)?;
            self.copier
                .run_below(from, root, &path, &self.groups, watch)
                .map_err(|e| e.below(&path))?;
            if self.copier.mounts_skipped() > 0 {
                return Err(Error::new(
                    Code::Escape,
                    Errno::XDEV,
                    "something is mounted in the parent's tree",
                )
                .at(&path));
            }
            return Ok(true);
        }
        let from = dir.nearest(self.stack)?;
        let pairs = self.inodes.xattrs(Inode::Open(from))?;
        let inode = Inode::Open(fd.as_fd());
        self.inodes
            .setter
            .put(inode, &Attributes::from(meta), &pairs, false)?;
        inode
            .set_times(meta.atime, meta.mtime)
            .call_at("utimensat", &path)?;
        Ok(false)
    }

    /// Links one inode of the stack to its name in the destination, or copies it where it carries
    /// marks or can have no more names.
    fn link(
        &mut self,
        from: BorrowedFd<'_>,
        name: &[u8],
        meta: &Meta,
        marked: bool,
        level: &Level<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let carries = marked && {
            let names = xattr::list_at(from, name).call("llistxattr")?;
            foreign::need_own_content(&names, self.stack.marks())?;
            names.iter().any(|name| xattr::is_overlay(name))
        };
        if !carries && self.sharing == Sharing::Links {
            match fs::link(from, name, level.fd, name) {
                Ok(()) => return Ok(()),
                Err(Errno::MLINK | Errno::PERM) => self.fallbacks += 1,
                Err(errno) => return Err(Error::sys(errno, "link")),
            }
        }
        let making = match self.groups.join(meta, level.fd, name, watch)? {
            Joined::Linked => return Ok(()),
            Joined::First(making) | Joined::Full(making) => making,
        };
        self.inodes.any(from, name, meta, level.fd, false, watch)?;
        making.made(|| join(level.path, name));
        Ok(())
    }
}
