//! From a path of the tar to an open directory of the upper.

use super::{CACHE, Place, Spot, Upper, implied_attributes, seal};
use crate::error::{Errno, Error, Result, SysResult};
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
    /// Opens a directory that must be there.
    pub(super) fn need(&mut self, path: &[u8]) -> Result<Spot> {
        match self.walk(path, Make::Always)? {
            Some(spot) => Ok(spot),
            None => Err(Error::sys(Errno::NOENT, "open")),
        }
    }

    /// Opens the directory `path` of the tar; `None` when it is not there and `make` says so.
    pub(super) fn walk(&mut self, path: &[u8], make: Make) -> Result<Option<Spot>> {
        let known = self.resolved(path).to_vec();
        if let Some(spot) = self.cached(&known) {
            return Ok(Some(spot));
        }
        let (mut here, mut real, rest) = self.nearest(path);
        let mut todo: VecDeque<Vec<u8>> = rest.split(|&b| b == b'/').map(<[u8]>::to_vec).collect();
        let mut links = 0;
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
            let step = self.step(&here, &real, &name, make);
            match step.map_err(|e| e.at(join(&real, &name)))? {
                Step::Into(fd) => {
                    here = Arc::new(fd);
                    real = join(&real, &name);
                }
                Step::Nowhere => return Ok(None),
                Step::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Error::sys(Errno::LOOP, "open").at(path));
                    }
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
        if real != path {
            if self.aliases.len() >= CACHE {
                self.aliases.clear();
            }
            self.aliases.push((path.to_vec(), real.clone()));
        }
        if let Some(spot) = self.cached(&real) {
            return Ok(Some(spot));
        }
        self.open_place(real.clone(), here)?;
        Ok(self.cached(&real))
    }

    /// Where a path of the tar leads, as far as that is known.
    fn resolved<'a>(&'a self, path: &'a [u8]) -> &'a [u8] {
        let alias = self.aliases.iter().find(|(from, _)| from == path);
        alias.map_or(path, |(_, to)| to)
    }

    /// An open directory by its real path, which becomes the most recent.
    fn cached(&mut self, real: &[u8]) -> Option<Spot> {
        if real.is_empty() {
            return Some(self.root.spot());
        }
        let cache = &mut self.cache;
        let at = cache.iter().rposition(|place| place.path == real)?;
        if at + 1 < cache.len() {
            let place = cache.remove(at);
            cache.push(place);
        }
        cache.last().map(Place::spot)
    }

    /// The longest beginning of `path` that is open, where it is, and what is left.
    fn nearest<'p>(&mut self, path: &'p [u8]) -> (Arc<OwnedFd>, Vec<u8>, &'p [u8]) {
        let mut end = path.len();
        while let Some(slash) = path[..end].iter().rposition(|&b| b == b'/') {
            let real = self.resolved(&path[..slash]).to_vec();
            if let Some(spot) = self.cached(&real) {
                return (spot.fd, spot.path, &path[slash + 1..]);
            }
            end = slash;
        }
        (self.root.fd.clone(), Vec::new(), path)
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
                if !there.is_whiteout() {
                    return Err(Error::sys(Errno::NOTDIR, "open"));
                }
                if make == Make::IfBelow {
                    return Ok(Step::Nowhere);
                }
                let times = fs::stat(here).call("statx")?;
                self.replace_by_directory(here, name, &there)?;
                return self.implied(here, &times, real, name, None).map(Step::Into);
            }
            Err(errno) => return Err(errno).call("open"),
        }
        let mut below = self.below_of(real)?;
        let found = match &mut below {
            Some(dir) => self.stack.lookup(dir, name)?,
            None => None,
        };
        match (found, &mut below) {
            (Some(found), Some(dir)) => match found.meta.kind {
                Kind::Directory => {
                    let times = fs::stat(here).call("statx")?;
                    fs::mkdir(here, name, 0o700).call("mkdir")?;
                    self.implied(here, &times, real, name, Some(found))
                        .map(Step::Into)
                }
                Kind::Symlink => {
                    let dir = self.stack.provider(dir, &found)?;
                    fs::read_link(dir, name).call("readlink").map(Step::Link)
                }
                _ => Err(Error::sys(Errno::NOTDIR, "open")),
            },
            _ if make == Make::IfBelow => Ok(Step::Nowhere),
            _ => {
                let times = fs::stat(here).call("statx")?;
                fs::mkdir(here, name, 0o700).call("mkdir")?;
                self.implied(here, &times, real, name, None).map(Step::Into)
            }
        }
    }

    /// Gives a directory that the tar does not name the attributes it has below, or the default;
    /// and the one that it was made in the times it had.
    fn implied(
        &mut self,
        here: &OwnedFd,
        times: &Meta,
        real: &[u8],
        name: &[u8],
        below: Option<Found>,
    ) -> Result<OwnedFd> {
        let fd = fs::open_dir(here, name).call("open")?;
        attrs::disinherit(&fd).call("fremovexattr")?;
        let (attributes, pairs) = match below {
            Some(mut found) => {
                let pairs = match &mut found.dir {
                    Some(dir) => {
                        let below = dir.nearest(&self.stack)?;
                        self.inodes.xattrs(Inode::Open(below))?
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
        fs::set_times(here, times.atime, times.mtime).call("utimensat")?;
        self.implied.insert(join(real, name));
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
            match self
                .stack
                .lookup(&mut dir, name)?
                .and_then(|found| found.dir)
            {
                Some(next) => dir = next,
                None => return Ok(None),
            }
        }
        Ok(Some(dir))
    }

    /// What the parent's stack has of `name` in a directory.
    pub(super) fn lookup_below(&mut self, spot: &Spot, name: &[u8]) -> Result<Option<Found>> {
        let known = self
            .place_mut(&spot.path)
            .is_some_and(|place| place.below.is_some());
        if !known {
            let below = self.below_of(&spot.path)?;
            match self.place_mut(&spot.path) {
                Some(place) => place.below = Some(below),
                None => return Ok(None),
            }
        }
        let place = match self.cache.iter_mut().find(|place| place.path == spot.path) {
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

    fn place_mut(&mut self, real: &[u8]) -> Option<&mut Place> {
        if real.is_empty() {
            return Some(&mut self.root);
        }
        self.cache.iter_mut().find(|place| place.path == real)
    }

    /// Puts a directory that was there already into the cache.
    fn open_place(&mut self, path: Vec<u8>, fd: Arc<OwnedFd>) -> Result<()> {
        let meta = fs::stat(&fd).call_at("statx", &path)?;
        let acl = xattr::get(&fd, attrs::DEFAULT_ACL)
            .call_at("fgetxattr", &path)?
            .is_some();
        self.remember(Place {
            path,
            fd,
            own: self.inodes.setter.makes_own(&meta),
            acl,
            atime: meta.atime,
            mtime: meta.mtime,
            below: None,
        })
    }

    /// Puts an open directory into the cache, as the most recent.
    pub(super) fn remember(&mut self, place: Place) -> Result<()> {
        if self.cache.len() >= CACHE {
            let oldest = self.cache.remove(0);
            seal(&oldest)?;
        }
        self.cache.push(place);
        Ok(())
    }

    /// Something hides what lies below from now on: what was looked up there is stale.
    pub(super) fn hidden(&mut self) {
        self.root.below = None;
        self.cache.iter_mut().for_each(|place| place.below = None);
    }

    /// Something is made at `path`: what was reached through a link of that name no longer is.
    pub(super) fn taken(&mut self, path: &[u8]) {
        self.aliases.retain(|(from, _)| !at_or_below(from, path));
    }

    /// Drops one directory from the cache, without its times.
    pub(super) fn forget(&mut self, real: &[u8]) {
        self.cache.retain(|place| place.path != real);
    }

    /// Drops a directory that is to go, and all below it, from the cache and the books.
    pub(super) fn forget_below(&mut self, real: &[u8]) {
        self.cache.retain(|place| !at_or_below(&place.path, real));
        self.implied.retain(|path| !at_or_below(path, real));
        // A name that led through a link may have led through what goes.
        self.aliases.clear();
    }
}

/// Whether `path` is `top` or in it.
pub(super) fn at_or_below(path: &[u8], top: &[u8]) -> bool {
    path.strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}
