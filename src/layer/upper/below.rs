//! What the parent's stack has where the upper has a directory.
//!
//! A place knows it once asked. It is found from what the nearest kept place above has, so that a
//! deep place takes one look more than the one it is in.

use super::cache::ROOT;
use super::walk::Stand;
use super::{Place, Upper};
use crate::error::{Errno, Error, Result, SysResult};
use crate::layer::view::{Dir, Found, Stack, is_opaque};
use crate::sys::{OwnedFd, fs};
use std::os::fd::AsFd;

impl Upper {
    /// Whether the parent's stack has the directory of a place, and nothing in the upper hides it.
    pub(super) fn has_below(&mut self, place: usize) -> Result<bool> {
        self.know_below(place)?;
        Ok(matches!(self.at(place).below, Some(Some(_))))
    }

    /// What the parent's stack has of `name` in a place.
    pub(super) fn lookup_below(&mut self, place: usize, name: &[u8]) -> Result<Option<Found>> {
        let (stack, below) = self.below_at(place)?;
        let found = match below {
            Some(dir) => stack.lookup(dir, name),
            None => Ok(None),
        };
        self.rest(place);
        found
    }

    /// The directory in which the parent's stack has `name` of a place, as it was `found`.
    pub(super) fn provider(&mut self, place: usize, found: &Found) -> Result<OwnedFd> {
        let (stack, below) = self.below_at(place)?;
        let dir = below.ok_or_else(|| Error::sys(Errno::NOENT, "open"))?;
        let fd = fs::open_dir_trusted(stack.provider(dir, found)?, b".").call("open");
        self.rest(place);
        fd
    }

    /// What lies below where a walk stands, and the stack to ask about it.
    pub(super) fn below_here<'a>(
        &'a mut self,
        here: &'a mut Stand,
    ) -> Result<(&'a Stack, Option<&'a mut Dir>)> {
        if here.below.is_none() {
            let above = self.above(&here.real);
            if self.at(above).path == here.real {
                let place = self.touch(above);
                return self.below_at(place);
            }
            self.know_below(above)?;
            here.below = Some(self.descend(above, &here.real)?);
        }
        let below = here.below.as_mut().and_then(Option::as_mut);
        Ok((&self.stack, below))
    }

    fn below_at(&mut self, place: usize) -> Result<(&Stack, Option<&mut Dir>)> {
        self.know_below(place)?;
        let place = self.cache.get_mut(place).unwrap_or(&mut self.root);
        Ok((&self.stack, place.below.as_mut().and_then(Option::as_mut)))
    }

    /// Asks once what lies below a place: none when something in the upper hides it.
    fn know_below(&mut self, place: usize) -> Result<()> {
        if self.at(place).below.is_some() {
            return Ok(());
        }
        let below = if place == ROOT {
            match self.root_opaque {
                true => None,
                false => self.stack.root()?.and_then(|found| found.dir),
            }
        } else {
            let path = self.at(place).path.clone();
            // Its own parent: the cache has no place twice, so this goes as deep as it is long.
            let above = self.above(crate::archive::path::split(&path).0);
            self.know_below(above)?;
            self.descend(above, &path)?
        };
        self.at_mut(place).below = Some(below);
        self.rest(place);
        Ok(())
    }

    /// Goes from what lies below a place down to the upper's directory `real` in it.
    fn descend(&mut self, above: usize, real: &[u8]) -> Result<Option<Dir>> {
        let Place {
            fd: top,
            path,
            below,
            ..
        } = self.cache.get_mut(above).unwrap_or(&mut self.root);
        let Some(Some(below)) = below else {
            return Ok(None);
        };
        let rest = &real[path.len()..];
        let mut at: Option<(OwnedFd, Dir)> = None;
        for name in rest.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            let (fd, dir) = match &mut at {
                Some((fd, dir)) => (&*fd, dir),
                None => (&**top, &mut *below),
            };
            let fd = fs::open_dir(fd, name).call_at("open", real)?;
            if is_opaque(fd.as_fd(), self.stack.marks()).call_at("getxattr", real)? {
                at = None;
                break;
            }
            let found = self.stack.lookup(dir, name)?;
            let Some(mut next) = found.and_then(|found| found.dir) else {
                at = None;
                break;
            };
            // By its path each level would take as long as it is deep.
            self.stack.enter(dir, name, &mut next, usize::MAX)?;
            at = Some((fd, next));
        }
        self.rest(above);
        Ok(at.map(|(_, dir)| dir))
    }
}
