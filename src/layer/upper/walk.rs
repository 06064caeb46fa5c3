//! From a path of the tar to an open directory of the upper.

use super::cache::ROOT;
use super::implied::Why;
use super::{Upper, implied_attributes};
use crate::archive::path::split;
use crate::archive::whiteout;
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::layer::view::{Dir, Found};
use crate::sys::fs::{Kind, Meta};
use crate::sys::xattr::Pairs;
use crate::sys::{OwnedFd, fs};
use crate::tree::attrs::{self, Attributes, Inode};
use crate::tree::chain::join;
use std::os::fd::AsFd;
use std::sync::Arc;

/// As many symbolic links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// Components of all the links' targets in one path: one entry must not keep a store busy.
const MAX_PARTS: usize = 1024;

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
    Into,
    Link(Vec<u8>),
    Nowhere,
}

/// Where a walk stands.
pub(super) struct Stand {
    pub(super) fd: Arc<OwnedFd>,
    pub(super) real: Vec<u8>,
    /// See [`Place`].
    pub(super) through: Vec<Vec<u8>>,
    /// What the parent's stack has here, where the walk knows it of its last step.
    pub(super) below: Option<Option<Dir>>,
}

impl Stand {
    /// The same, to come back to.
    fn again(&self) -> Stand {
        Stand {
            fd: self.fd.clone(),
            real: self.real.clone(),
            through: self.through.clone(),
            below: None,
        }
    }

    fn enter(&mut self, fd: OwnedFd, name: &[u8]) {
        self.fd = Arc::new(fd);
        if !self.real.is_empty() {
            self.real.push(b'/');
        }
        self.real.extend_from_slice(name);
        self.below = None;
    }
}

impl Upper {
    /// The place of a directory that must be there.
    pub(super) fn need(&mut self, path: &[u8]) -> Result<usize> {
        match self.walk(path, Make::Always)? {
            Some(place) => Ok(place),
            None => Err(Error::sys(Errno::NOENT, "open")),
        }
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
        let nearest = self.nearest(path);
        if self.at(nearest).key == path {
            return Ok(Some(nearest));
        }
        let start = self.at(nearest);
        let fork = Some(self.fork(path)).filter(|&at| at > start.key.len() && at < path.len());
        let mut here = Stand {
            fd: start.fd.clone(),
            real: start.path.clone(),
            through: start.through.clone(),
            below: None,
        };
        // How far `path` was gone, and the rest of the links that were met there, last part first.
        let mut gone = start.key.len();
        let mut ahead: Vec<Vec<u8>> = Vec::new();
        let (mut links, mut parts) = (0, 0);
        let mut way = None;
        loop {
            let before = gone;
            let own = ahead.is_empty();
            if own && Some(gone) == fork {
                way = Some((gone, here.again()));
            }
            let name = match ahead.pop() {
                Some(name) => name,
                None if gone == path.len() => break,
                None => {
                    let from = if gone == 0 { 0 } else { gone + 1 };
                    let name = path[from..]
                        .split(|&b| b == b'/')
                        .next()
                        .unwrap_or_default();
                    gone = from + name.len();
                    name.to_vec()
                }
            };
            if name.is_empty() || name == b"." {
                continue;
            }
            if name == b".." {
                // Only a link's target says so.
                self.leave(&mut here, make)?;
                continue;
            }
            match self
                .step(&mut here, &name, make)
                .map_err(|e| e.at(join(&here.real, &name)))?
            {
                Step::Into => self.check_path(here.real.len())?,
                Step::Nowhere => {
                    if own {
                        way = Some((before, here));
                    }
                    if let Some((at, here)) = way {
                        self.keep(&path[..at], here, make)?;
                    }
                    return Ok(None);
                }
                Step::Link(target) => {
                    links += 1;
                    parts += target.split(|&b| b == b'/').count();
                    if links > MAX_LINKS || parts > MAX_PARTS {
                        return Err(Error::sys(Errno::LOOP, "open").at(path));
                    }
                    here.through.push(join(&here.real, &name));
                    if target.starts_with(b"/") {
                        self.leave_all(&mut here, make)?;
                    }
                    ahead.extend(target.split(|&b| b == b'/').rev().map(<[u8]>::to_vec));
                }
            }
        }
        if let Some((at, here)) = way {
            self.keep(&path[..at], here, make)?;
        }
        self.keep(path, here, make).map(Some)
    }

    /// Goes one directory up; above the root is the root.
    fn leave(&mut self, here: &mut Stand, make: Make) -> Result<()> {
        if here.real.is_empty() {
            return Ok(());
        }
        let known = here.through.last();
        if !known.is_some_and(|last| is_below(last, &here.real)) {
            here.through.push(here.real.clone());
        }
        let (above, name) = split(&here.real);
        here.fd = self.open_real(above)?;
        if make == Make::Always {
            self.leads_through(&here.fd, name)?;
        }
        let above = above.len();
        here.real.truncate(above);
        here.below = None;
        Ok(())
    }

    /// Goes to the root.
    fn leave_all(&mut self, here: &mut Stand, make: Make) -> Result<()> {
        if make == Make::Always && !here.real.is_empty() && !self.implied.is_empty() {
            // What is above it holds it, and stays with it.
            let (above, name) = split(&here.real);
            let above = self.open_real(above)?;
            self.leads_through(&above, name)?;
        }
        here.real.clear();
        here.fd = self.root.fd.clone();
        here.below = None;
        Ok(())
    }

    /// The way of an entry leads through a directory, and on by a link: nothing in it need tell that
    /// this layer has it.
    fn leads_through(&mut self, above: &OwnedFd, name: &[u8]) -> Result<()> {
        if !self.implied.is_empty() {
            let ino = fs::stat(above).call("statx")?.ino;
            self.implied.on_way(ino, name);
        }
        Ok(())
    }

    pub(super) fn open_real(&self, real: &[u8]) -> Result<Arc<OwnedFd>> {
        if real.is_empty() {
            return Ok(self.root.fd.clone());
        }
        fs::open_dir_deep(&self.root.fd, real)
            .call_at("open", real)
            .map(Arc::new)
    }

    fn step(&mut self, here: &mut Stand, name: &[u8], make: Make) -> Result<Step> {
        let fd = here.fd.clone();
        match fs::open_dir(&fd, name) {
            Ok(next) => {
                here.enter(next, name);
                return Ok(Step::Into);
            }
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let there = fs::stat_at(&fd, name).call("statx")?;
                if there.kind == Kind::Symlink {
                    return fs::read_link(&fd, name).call("readlink").map(Step::Link);
                }
                if make == Make::IfBelow {
                    return Ok(Step::Nowhere);
                }
                if !there.is_whiteout() {
                    return Err(Error::sys(Errno::NOTDIR, "open"));
                }
                let before = fs::stat(&fd).call("statx")?;
                self.replace_by_directory(&fd, name, &there)?;
                let made = self.implied(&fd, &before, name, None, Why::Way)?;
                fs::set_times(&fd, before.atime, before.mtime).call("utimensat")?;
                here.enter(made, name);
                return Ok(Step::Into);
            }
            Err(errno) => return Err(errno).call("open"),
        }
        let (stack, mut below) = self.below_here(here)?;
        let mut found = match &mut below {
            Some(dir) => stack.lookup(dir, name)?,
            None => None,
        };
        match (&mut found, below) {
            (Some(found), Some(dir)) if found.meta.kind == Kind::Symlink => {
                let dir = stack.provider(dir, found)?;
                return fs::read_link(dir, name).call("readlink").map(Step::Link);
            }
            (Some(found), _) if found.meta.kind != Kind::Directory => {
                return match make {
                    Make::IfBelow => Ok(Step::Nowhere),
                    Make::Always => Err(Error::sys(Errno::NOTDIR, "open")),
                };
            }
            (Some(found), Some(dir)) => {
                if let Some(next) = &mut found.dir {
                    stack.enter(dir, name, next, usize::MAX)?;
                }
            }
            _ if make == Make::IfBelow => return Ok(Step::Nowhere),
            _ if name.starts_with(whiteout::PREFIX) => {
                return Err(Error::new(
                    Code::Archive,
                    Errno::INVAL,
                    "a symbolic link leads to a name that whiteouts have",
                ));
            }
            _ => {}
        }
        // Nothing else may know `here`, and keep its times.
        let before = fs::stat(&fd).call("statx")?;
        fs::mkdir(&fd, name, 0o700).call("mkdir")?;
        let why = match found {
            Some(_) => Why::Below,
            None => Why::Way,
        };
        let made = self.implied(&fd, &before, name, found.as_mut(), why)?;
        fs::set_times(&fd, before.atime, before.mtime).call("utimensat")?;
        here.enter(made, name);
        here.below = Some(found.and_then(|found| found.dir));
        Ok(Step::Into)
    }

    /// Gives a directory that the tar does not name the attributes it has below, or the default.
    fn implied(
        &mut self,
        here: &OwnedFd,
        parent: &Meta,
        name: &[u8],
        below: Option<&mut Found>,
        why: Why,
    ) -> Result<OwnedFd> {
        self.one_implied()?;
        self.implied.insert(parent.ino, name, why);
        let fd = fs::open_made(here, name).call("open")?;
        attrs::disinherit(&fd).call("fremovexattr")?;
        let (attributes, pairs) = match below {
            Some(found) => {
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
        Ok(fd)
    }

    /// The place of the directory `parent`, in which `name` is about to become something else.
    pub(super) fn claim(&mut self, parent: &[u8], name: &[u8]) -> Result<usize> {
        let place = self.need(parent)?;
        let real = self.real(place, name);
        self.check_path(real.len())?;
        if self.taken(&real)? {
            // By its real path: the way to it may lead through what goes.
            return self.need(split(&real).0);
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
            self.settle(real)?;
        }
        Ok(stale)
    }
}

/// Whether `path` is `dir` or below it.
pub(super) fn is_below(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty()
        || path
            .strip_prefix(dir)
            .is_some_and(|rest| rest.first().is_none_or(|&b| b == b'/'))
}
