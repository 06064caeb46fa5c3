//! Making an upper a complete tree: what the stack below it provides is linked in, its marks go.
//!
//! One walk over the directories that the stack has, nearest tree first. A name that the
//! destination has already, from the upper or from a nearer tree, stays. A directory that only one
//! tree has left to give is cloned by `tree::copy` without a look at anything else. Inodes are
//! shared, never touched; one that carries overlayfs's marks is copied without them.

use super::foreign;
use super::view::{Dir, Found, Stack, is_opaque, join};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::dir::{DirBuf, Hint};
use crate::sys::fs::{Kind, Meta};
use crate::sys::xattr;
use crate::sys::{BorrowedFd, OwnedFd, fs};
use crate::tree::Reflink;
use crate::tree::attrs::{Attributes, Inode, Setter, disinherit};
use crate::tree::copier::Copier;
use crate::tree::copy::{CopyFlags, CopyOptions};
use crate::tree::data::DataCopier;
use crate::tree::inode::InodeCopier;
use crate::watch::Watch;
use std::collections::HashMap;
use std::os::fd::AsFd;

/// How what the stack has gets into the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// By hard links: the destination must never be written to.
    Links,
    /// By copies, which share content where the file system can.
    Copies,
}

/// Fills `root`, an upper with marks, with what `stack` has; gives how many links had to be copies.
pub fn fill(
    root: OwnedFd,
    stack: &Stack,
    sharing: Sharing,
    strict: bool,
    watch: &mut Watch<'_>,
) -> Result<u64> {
    let mut job = Job {
        sharing,
        root: fs::open_dir_trusted(&root, b".").call("open")?,
        stack,
        buf: DirBuf::default(),
        inodes: InodeCopier {
            setter: Setter::new(strict),
            data: DataCopier::new(Reflink::Auto),
            no_overlay_xattrs: true,
            hostile_umask: false,
        },
        copies: HashMap::new(),
        fallbacks: 0,
    };
    let below = stack.root()?.and_then(|found| found.dir);
    // Paths, not descriptors: a directory may have thousands of others in it.
    let mut todo = vec![(Vec::new(), below)];
    while let Some((path, below)) = todo.pop() {
        let fd = fs::open_dir_deep(&job.root, &path).call_at("open", &path)?;
        let level = Level { fd, path };
        job.directory(&level, below, &mut todo, watch)
            .map_err(|e| e.at(level.path))?;
    }
    Ok(job.fallbacks)
}

/// Directories of the destination that are to be filled, and what the stack has of each.
type Todo = Vec<(Vec<u8>, Option<Dir>)>;

/// What a name of the upper is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mine {
    Directory,
    Whiteout,
    Other,
}

/// A directory of the destination.
struct Level {
    fd: OwnedFd,
    path: Vec<u8>,
}

struct Job<'a> {
    sharing: Sharing,
    root: OwnedFd,
    stack: &'a Stack,
    buf: DirBuf,
    inodes: InodeCopier,
    /// Copies made of marked inodes, for their other names.
    copies: HashMap<(u64, (u32, u32)), Vec<u8>>,
    fallbacks: u64,
}

impl Job<'_> {
    /// Fills one directory that the upper has, and takes its marks away. Its times stay.
    fn directory(
        &mut self,
        level: &Level,
        below: Option<Dir>,
        todo: &mut Todo,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let before = fs::stat(&level.fd).call("statx")?;
        let opaque = is_opaque(level.fd.as_fd(), self.stack.marks()).call("getxattr")?;
        let listed = self.listed(level)?;
        let mut below = below.filter(|_| !opaque || level.path.is_empty());
        // The upper's own first: what it hides, and what is merged.
        let mut whiteouts = Vec::new();
        for (name, mine) in &listed {
            if *mine == Mine::Whiteout {
                whiteouts.push(name);
            } else if *mine == Mine::Directory {
                let next = match &mut below {
                    Some(dir) => self.stack.lookup(dir, name)?.and_then(|found| found.dir),
                    None => None,
                };
                // What is the upper's alone may still hold marks.
                push(todo, join(&level.path, name), next);
            }
        }
        if let Some(dir) = &mut below {
            self.bring(level, dir, &listed, todo, watch)?;
        }
        for name in whiteouts {
            fs::unlink(&level.fd, name).call_at("unlink", join(&level.path, name))?;
        }
        for name in xattr::list(&level.fd).call("flistxattr")? {
            if xattr::is_overlay(&name) {
                xattr::remove(&level.fd, &name).call("fremovexattr")?;
            }
        }
        fs::set_times(&level.fd, before.atime, before.mtime).call("utimensat")
    }

    /// What the upper itself has in a directory, sorted; asked for only where listing does not say.
    fn listed(&mut self, level: &Level) -> Result<Vec<(Vec<u8>, Mine)>> {
        let mut listed = Vec::new();
        let read = self.buf.for_each(&level.fd, |name, hint| {
            let mine = match hint {
                Hint::Directory => Mine::Directory,
                Hint::File | Hint::Other { char_device: false } => Mine::Other,
                Hint::Other { char_device: true } | Hint::Unknown => {
                    match fs::stat_at(&level.fd, name)? {
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
        level: &Level,
        dir: &mut Dir,
        mine: &[(Vec<u8>, Mine)],
        todo: &mut Todo,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let mut buf = std::mem::take(&mut self.buf);
        let names = self.stack.own_names(dir, dir.parts(), &mut buf);
        self.buf = buf;
        for name in names? {
            if mine.binary_search_by(|(has, _)| has.cmp(&name)).is_ok() {
                continue;
            }
            let Some(found) = self.stack.lookup(dir, &name)? else {
                continue;
            };
            match &found.dir {
                Some(_) => self.clone_directory(level, &name, found, todo, watch)?,
                None => {
                    let from = self.stack.provider(dir, &found)?;
                    let marked = self.stack.trees()[found.tree].marked;
                    let path = join(&level.path, &name);
                    self.link(from, &name, &found.meta, marked, level, watch)
                        .map_err(|e| e.at(path))?;
                    watch.entry()?;
                }
            }
        }
        dir.release();
        Ok(())
    }

    /// Makes a directory that only the stack has. When one plain tree provides it, all that is in
    /// it comes at once; else it is filled in its turn.
    fn clone_directory(
        &mut self,
        level: &Level,
        name: &[u8],
        found: Found,
        todo: &mut Todo,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let Some(mut dir) = found.dir else {
            return Ok(());
        };
        let meta = &found.meta;
        let path = join(&level.path, name);
        fs::mkdir(&level.fd, name, 0o700).call_at("mkdir", &path)?;
        let fd = fs::open_dir(&level.fd, name).call_at("open", &path)?;
        disinherit(&fd).call_at("fremovexattr", &path)?;
        let tree = dir.trees().next().map(|tree| &self.stack.trees()[tree]);
        if dir.parts() == 1 && tree.is_some_and(|tree| !tree.marked) {
            let from = dir.nearest(self.stack)?;
            let from = fs::open_dir_trusted(from, b".").call_at("open", &path)?;
            let flags = match self.sharing {
                Sharing::Links => CopyFlags::HARD_LINK | CopyFlags::NO_OVERLAY_XATTRS,
                Sharing::Copies => CopyFlags::NO_OVERLAY_XATTRS,
            };
            let strict = if self.inodes.setter.strict {
                CopyFlags::STRICT
            } else {
                CopyFlags::empty()
            };
            let options = CopyOptions {
                flags: flags | strict,
                reflink: Reflink::Auto,
            };
            let mut copier = Copier::new(&options)?;
            let root = fs::open_dir_trusted(&fd, b".").call_at("open", &path)?;
            copier.run(from, root, watch).map_err(|e| e.below(&path))?;
            let stats = copier.finish(&fd)?;
            if stats.mounts_skipped > 0 {
                return Err(Error::new(
                    Code::Escape,
                    Errno::XDEV,
                    "something is mounted in the parent's tree",
                )
                .at(&path));
            }
            self.fallbacks += stats.link_fallbacks;
            return Ok(());
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
        push(todo, path, Some(dir));
        Ok(())
    }

    /// Links one inode of the stack to its name in the destination, or copies it where it carries
    /// marks or can have no more names.
    fn link(
        &mut self,
        from: BorrowedFd<'_>,
        name: &[u8],
        meta: &Meta,
        marked: bool,
        level: &Level,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let carries = marked && {
            let names = xattr::list_at(from, name).call("llistxattr")?;
            foreign::need_own_content(&names)?;
            names.iter().any(|name| xattr::is_overlay(name))
        };
        if !carries && self.sharing == Sharing::Links {
            match fs::link(from, name, &level.fd, name) {
                Ok(()) => return Ok(()),
                Err(Errno::MLINK | Errno::PERM) => self.fallbacks += 1,
                Err(errno) => return Err(Error::sys(errno, "link")),
            }
        }
        let key = (meta.ino, meta.dev);
        if let Some(copy) = self.copies.get(&key) {
            let (parent, base) = crate::archive::path::split(copy);
            let parent = fs::open_dir_deep(&self.root, parent).call_at("open", parent)?;
            match fs::link(&parent, base, &level.fd, name) {
                Ok(()) => return Ok(()),
                Err(Errno::MLINK) => {}
                Err(errno) => return Err(Error::sys(errno, "link")),
            }
        }
        self.inodes
            .any(from, name, meta, level.fd.as_fd(), false, watch)?;
        if meta.nlink > 1 {
            self.copies.insert(key, join(&level.path, name));
        }
        Ok(())
    }
}

/// Puts a directory on the list; its part of the stack is opened again when its turn comes.
fn push(todo: &mut Todo, path: Vec<u8>, mut below: Option<Dir>) {
    below.iter_mut().for_each(Dir::release);
    todo.push((path, below));
}
