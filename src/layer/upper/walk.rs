//! From a path of the tar to an open directory of the upper.

use super::{CACHE, Place, Upper, implied_attributes, seal};
use crate::archive::whiteout;
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::layer::view::{Dir, Found, is_opaque, join};
use crate::sys::fs::{Kind, Meta};
use crate::sys::xattr::{self, Pairs};
use crate::sys::{OwnedFd, fs};
use crate::tree::attrs::{self, Attributes, Inode};
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;

/// As many symbolic links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// Components of all the links' targets in one path: one entry must not keep a store busy.
const MAX_PARTS: usize = 1024;

/// The root, which is no part of the cache.
const ROOT: usize = usize::MAX;

/// What to do about a directory that the upper does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// Make it, with the attributes it has below, or with those of an implied one.
    Always,
    /// Make it only when it exists below.
    IfBelow,
}

/// One step of a walk.
enum Step {
    Into(OwnedFd),
    Link(Vec<u8>),
    Nowhere,
}

impl Upper {
    /// The place of a directory that must be there.
    pub(super) fn need(&mut self, path: &[u8]) -> Result<usize> {
        match self.walk(path, Make::Always)? {
            Some(place) => Ok(place),
            None => Err(Error::sys(Errno::NOENT, "open")),
        }
    }

    /// An open directory by what [`Upper::walk`] gave.
    pub(super) fn at(&self, place: usize) -> &Place {
        self.cache.get(place).unwrap_or(&self.root)
    }

    pub(super) fn at_mut(&mut self, place: usize) -> &mut Place {
        self.cache.get_mut(place).unwrap_or(&mut self.root)
    }

    /// The real path of `name` in a place.
    pub(super) fn real(&self, place: usize, name: &[u8]) -> Vec<u8> {
        join(&self.at(place).path, name)
    }

    /// Opens the directory `path` of the tar; `None` when it is not there and `make` says so.
    pub(super) fn walk(&mut self, path: &[u8], make: Make) -> Result<Option<usize>> {
        if path.is_empty() {
            return Ok(Some(ROOT));
        }
        if let Some(at) = self.cache.iter().rposition(|place| place.key == path) {
            // The most recent is last.
            let place = self.cache.remove(at);
            self.cache.push(place);
            return Ok(Some(self.cache.len() - 1));
        }
        // What an earlier walk knew may be hidden by now.
        self.last_below = None;
        let (start, rest) = self.nearest(path);
        let (mut here, mut real) = (start.fd.clone(), start.path.clone());
        let mut through = start.through.clone();
        let mut todo: VecDeque<Vec<u8>> = rest.split(|&b| b == b'/').map(<[u8]>::to_vec).collect();
        let (mut links, mut parts) = (0, 0);
        while let Some(name) = todo.pop_front() {
            if name.is_empty() || name == b"." {
                continue;
            }
            if name == b".." {
                // Only a link's target says so; above the root is the root.
                real.truncate(real.iter().rposition(|&b| b == b'/').unwrap_or(0));
                here = self.open_real(&real)?;
                continue;
            }
            match self
                .step(&here, &real, &name, make)
                .map_err(|e| e.at(join(&real, &name)))?
            {
                Step::Into(fd) => {
                    here = Arc::new(fd);
                    real = join(&real, &name);
                    self.check_path(real.len())?;
                }
                Step::Nowhere => return Ok(None),
                Step::Link(target) => {
                    links += 1;
                    parts += target.split(|&b| b == b'/').count();
                    if links > MAX_LINKS || parts > MAX_PARTS {
                        return Err(Error::sys(Errno::LOOP, "open").at(path));
                    }
                    through.push(join(&real, &name));
                    if target.starts_with(b"/") {
                        real.clear();
                        here = self.root.fd.clone();
                    }
                    for part in target.split(|&b| b == b'/').rev() {
                        todo.push_front(part.to_vec());
                    }
                }
            }
        }
        if real.is_empty() {
            return Ok(Some(ROOT));
        }
        if let Some(at) = self.cache.iter().position(|place| place.path == real) {
            // Known by another name; one descriptor keeps the times.
            let mut place = self.cache.remove(at);
            place.key = path.to_vec();
            place.through = through;
            self.aliases |= place.key != place.path;
            self.cache.push(place);
            return Ok(Some(self.cache.len() - 1));
        }
        self.open_place(path.to_vec(), real, through, here)?;
        Ok(Some(self.cache.len() - 1))
    }

    /// The place of the longest cached beginning of `path`, and what is left of the path.
    fn nearest<'p>(&self, path: &'p [u8]) -> (&Place, &'p [u8]) {
        let mut best: Option<&Place> = None;
        for place in &self.cache {
            let len = place.key.len();
            let longer = best.is_none_or(|b| len > b.key.len());
            if longer && path.get(len) == Some(&b'/') && path.starts_with(&place.key) {
                best = Some(place);
            }
        }
        match best {
            Some(place) => (place, &path[place.key.len() + 1..]),
            None => (&self.root, path),
        }
    }

    fn open_real(&self, real: &[u8]) -> Result<Arc<OwnedFd>> {
        if real.is_empty() {
            return Ok(self.root.fd.clone());
        }
        fs::open_dir_deep(&self.root.fd, real)
            .call_at("open", real)
            .map(Arc::new)
    }

    fn step(&mut self, here: &OwnedFd, real: &[u8], name: &[u8], make: Make) -> Result<Step> {
        match fs::open_dir(here, name) {
            Ok(fd) => return Ok(Step::Into(fd)),
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let there = fs::stat_at(here, name).call("statx")?;
                if there.kind == Kind::Symlink {
                    return fs::read_link(here, name).call("readlink").map(Step::Link);
                }
                if make == Make::IfBelow {
                    return Ok(Step::Nowhere);
                }
                if !there.is_whiteout() {
                    return Err(Error::sys(Errno::NOTDIR, "open"));
                }
                let before = fs::stat(here).call("statx")?;
                self.replace_by_directory(here, name, &there)?;
                let made = self.implied(here, &before, name, None)?;
                fs::set_times(here, before.atime, before.mtime).call("utimensat")?;
                return Ok(Step::Into(made));
            }
            Err(errno) => return Err(errno).call("open"),
        }
        let mut below = match self.last_below.take() {
            Some((at, below)) if at == real => below,
            _ => self.below_of(real)?,
        };
        let found = match &mut below {
            Some(dir) => self.stack.lookup(dir, name)?,
            None => None,
        };
        match (found, &mut below) {
            (Some(found), Some(dir)) if found.meta.kind == Kind::Symlink => {
                let dir = self.stack.provider(dir, &found)?;
                fs::read_link(dir, name).call("readlink").map(Step::Link)
            }
            (None, _) | (_, None) if make == Make::IfBelow => Ok(Step::Nowhere),
            (Some(found), _) if found.meta.kind != Kind::Directory => match make {
                Make::IfBelow => Ok(Step::Nowhere),
                Make::Always => Err(Error::sys(Errno::NOTDIR, "open")),
            },
            (None, _) if name.starts_with(whiteout::PREFIX) => Err(Error::new(
                Code::Archive,
                Errno::INVAL,
                "a symbolic link leads to a name that whiteouts have",
            )),
            (found, _) => {
                // Nothing else may know `here`, and keep its times.
                let before = fs::stat(here).call("statx")?;
                fs::mkdir(here, name, 0o700).call("mkdir")?;
                let mut found = found;
                let made = self.implied(here, &before, name, found.as_mut())?;
                fs::set_times(here, before.atime, before.mtime).call("utimensat")?;
                let next = found.and_then(|found| found.dir);
                self.last_below = Some((join(real, name), next));
                Ok(Step::Into(made))
            }
        }
    }

    /// Gives a directory that the tar does not name the attributes it has below, or the default.
    fn implied(
        &mut self,
        here: &OwnedFd,
        parent: &Meta,
        name: &[u8],
        below: Option<&mut Found>,
    ) -> Result<OwnedFd> {
        self.one_implied()?;
        self.implied.insert(parent.ino, name);
        let fd = fs::open_dir(here, name).call("open")?;
        attrs::disinherit(&fd).call("fremovexattr")?;
        let (attributes, pairs) = match below {
            Some(found) => {
                let pairs = match &mut found.dir {
                    Some(dir) => {
                        let below = dir.nearest(&self.stack)?;
                        let pairs = self.inodes.xattrs(Inode::Open(below))?;
                        dir.release();
                        pairs
                    }
                    None => Pairs::new(),
                };
                (Attributes::from(&found.meta), pairs)
            }
            None => (implied_attributes(), Pairs::new()),
        };
        self.inodes
            .setter
            .put(Inode::Open(fd.as_fd()), &attributes, &pairs, false)?;
        fs::set_times(&fd, attributes.atime, attributes.mtime).call("utimensat")?;
        Ok(fd)
    }

    /// What the parent's stack has at the upper's directory `real`; none when something in the
    /// upper hides it.
    pub(super) fn below_of(&mut self, real: &[u8]) -> Result<Option<Dir>> {
        if self.root_opaque {
            return Ok(None);
        }
        let Some(mut dir) = self.stack.root()?.and_then(|found| found.dir) else {
            return Ok(None);
        };
        if real.is_empty() {
            return Ok(Some(dir));
        }
        let mut here: Option<OwnedFd> = None;
        for name in real.split(|&b| b == b'/') {
            let fd = match &here {
                Some(fd) => fs::open_dir(fd, name),
                None => fs::open_dir(&self.root.fd, name),
            };
            let fd = fd.call_at("open", real)?;
            if is_opaque(fd.as_fd(), self.stack.marks()).call_at("getxattr", real)? {
                return Ok(None);
            }
            here = Some(fd);
            let found = self.stack.lookup(&mut dir, name)?;
            let Some(mut next) = found.and_then(|found| found.dir) else {
                return Ok(None);
            };
            // By its path each level would take as long as it is deep.
            self.stack.enter(&dir, name, &mut next, usize::MAX)?;
            dir = next;
        }
        Ok(Some(dir))
    }

    /// Whether the parent's stack has the directory of a place, and nothing in the upper hides it.
    pub(super) fn has_below(&mut self, place: usize) -> Result<bool> {
        self.know_below(place)?;
        Ok(matches!(self.at(place).below, Some(Some(_))))
    }

    /// Asks once what lies below a place.
    pub(super) fn know_below(&mut self, place: usize) -> Result<()> {
        if self.at(place).below.is_none() {
            let path = self.at(place).path.clone();
            let mut below = self.below_of(&path)?;
            // One directory may lie in hundreds of layers.
            below.iter_mut().for_each(Dir::release);
            self.at_mut(place).below = Some(below);
        }
        Ok(())
    }

    /// What the parent's stack has of `name` in a place.
    pub(super) fn lookup_below(&mut self, place: usize, name: &[u8]) -> Result<Option<Found>> {
        self.know_below(place)?;
        let place = match self.cache.get_mut(place) {
            Some(place) => place,
            None => &mut self.root,
        };
        match &mut place.below {
            Some(Some(dir)) => {
                let found = self.stack.lookup(dir, name);
                // One directory may lie in hundreds of layers.
                dir.release();
                found
            }
            _ => Ok(None),
        }
    }

    /// Puts a directory that was there already into the cache.
    fn open_place(
        &mut self,
        key: Vec<u8>,
        path: Vec<u8>,
        through: Vec<Vec<u8>>,
        fd: Arc<OwnedFd>,
    ) -> Result<()> {
        let meta = fs::stat(&fd).call_at("statx", &path)?;
        let acl = xattr::get(&fd, attrs::DEFAULT_ACL)
            .call_at("fgetxattr", &path)?
            .is_some();
        self.remember(Place {
            key,
            path,
            fd,
            own: self.inodes.setter.makes_own(&meta),
            acl,
            atime: meta.atime,
            mtime: meta.mtime,
            through,
            below: None,
            ino: Some(meta.ino),
        })
    }

    /// Puts an open directory into the cache, as the most recent.
    pub(super) fn remember(&mut self, place: Place) -> Result<()> {
        self.aliases |= place.key != place.path;
        if self.cache.len() >= CACHE {
            let oldest = self.cache.remove(0);
            seal(&oldest)?;
        }
        self.cache.push(place);
        Ok(())
    }

    /// Empties the cache, putting times back.
    pub(super) fn flush(&mut self) -> Result<()> {
        for place in self.cache.drain(..) {
            seal(&place)?;
        }
        self.root.below = None;
        self.aliases = false;
        Ok(())
    }

    /// The place of the directory `parent`, in which `name` is about to become something else.
    pub(super) fn claim(&mut self, parent: &[u8], name: &[u8]) -> Result<usize> {
        let place = self.need(parent)?;
        let real = self.real(place, name);
        self.check_path(real.len())?;
        if self.taken(&real)? {
            // By its real path: the way to it may lead through what goes.
            return self.need(crate::archive::path::split(&real).0);
        }
        Ok(place)
    }

    /// What is at the real path `real` changes: cached names that lead through links there are
    /// forgotten. Whether there were any.
    pub(super) fn taken(&mut self, real: &[u8]) -> Result<bool> {
        let stale = self.aliases
            && self
                .cache
                .iter()
                .flat_map(|place| &place.through)
                .any(|link| is_below(link, real));
        if stale {
            self.flush()?;
        }
        Ok(stale)
    }

    /// Drops one directory from the cache, without its times.
    pub(super) fn forget(&mut self, real: &[u8]) {
        self.cache.retain(|place| place.path != real);
    }
}

/// Whether `path` is `dir` or below it.
pub(super) fn is_below(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty()
        || path
            .strip_prefix(dir)
            .is_some_and(|rest| rest.first().is_none_or(|&b| b == b'/'))
}
