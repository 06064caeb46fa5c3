//! The open directories that an upper keeps: the last ones that were walked to, and those where
//! their ways part. Many entries in a deep place then take one way there.

use super::walk::{Stand, is_below};
use super::{Make, Place, Upper, seal};
use crate::error::{Result, SysResult};
use crate::layer::view::Dir;
use crate::sys::{fs, xattr};
use crate::tree::attrs;

/// Open directories kept; each is one descriptor.
const CACHE: usize = 64;

/// So many of them, the last used, also keep open what lies below them.
const RECENT: usize = 4;

/// The root, which is no part of the cache.
pub(super) const ROOT: usize = usize::MAX;

/// Bytes of the paths that a name leads through. One that leads through more is not kept: a link's
/// target may say `..` hundreds of times.
const THROUGH: usize = 64 << 10;

impl Upper {
    /// An open directory by what [`Upper::walk`] gave.
    pub(super) fn at(&self, place: usize) -> &Place {
        self.cache.get(place).unwrap_or(&self.root)
    }

    pub(super) fn at_mut(&mut self, place: usize) -> &mut Place {
        self.cache.get_mut(place).unwrap_or(&mut self.root)
    }

    /// The place whose name is the longest beginning of `path`; now the last used.
    pub(super) fn nearest(&mut self, path: &[u8]) -> usize {
        // Most entries are where the one before was.
        if self.cache.last().is_some_and(|place| place.key == path) {
            return self.cache.len() - 1;
        }
        let best = self.longest(|place| is_below(path, &place.key).then_some(place.key.len()));
        self.touch(best)
    }

    /// The place that is at the real path `real`, or else the one nearest above it.
    pub(super) fn above(&self, real: &[u8]) -> usize {
        self.longest(|place| is_below(real, &place.path).then_some(place.path.len()))
    }

    fn longest(&self, len: impl Fn(&Place) -> Option<usize>) -> usize {
        let all = self.cache.iter().enumerate();
        all.filter_map(|(at, place)| Some((len(place)?, at)))
            .max()
            .map_or(ROOT, |(_, at)| at)
    }

    /// How much of `path` the way to another place has in common with it: there one is to be kept,
    /// where none is.
    pub(super) fn fork(&self, path: &[u8]) -> usize {
        let common = |place: &Place| {
            let same = path.iter().zip(&place.key).take_while(|(a, b)| a == b);
            let same = same.count();
            let whole = |all: &[u8]| all.get(same).is_none_or(|&b| b == b'/');
            match whole(path) && whole(&place.key) {
                true => same,
                false => path[..same].iter().rposition(|&b| b == b'/').unwrap_or(0),
            }
        };
        self.cache.iter().map(common).max().unwrap_or(0)
    }

    /// Makes a place the last used.
    pub(super) fn touch(&mut self, at: usize) -> usize {
        if at == ROOT {
            return ROOT;
        }
        let place = self.cache.remove(at);
        self.push(place)
    }

    fn push(&mut self, place: Place) -> usize {
        self.cache.push(place);
        let last = self.cache.len() - 1;
        if let Some(at) = last.checked_sub(RECENT) {
            self.rest(at);
        }
        last
    }

    /// Closes what lies below a place that is not among the last used.
    pub(super) fn rest(&mut self, at: usize) {
        if at == ROOT || at + RECENT < self.cache.len() {
            let below = &mut self.at_mut(at).below;
            below.iter_mut().flatten().for_each(Dir::release);
        }
    }

    /// Puts where a walk stands into the cache, as the last used, under the name `key`.
    ///
    /// The way of a mark is not noted as that of an entry is. So what a mark leads to through links is
    /// kept under its own path: an entry goes that way again.
    pub(super) fn keep(&mut self, key: &[u8], here: Stand, make: Make) -> Result<usize> {
        let Stand {
            fd,
            real: path,
            mut through,
            below,
        } = here;
        if path.is_empty() {
            return Ok(ROOT);
        }
        let mut key = key.to_vec();
        let long = through.iter().map(Vec::len).sum::<usize>() > THROUGH;
        if long || (make == Make::IfBelow && !through.is_empty()) {
            (key, through) = (path.clone(), Vec::new());
        }
        if let Some(at) = self.cache.iter().position(|place| place.path == path) {
            // Known by another name; one descriptor keeps the times.
            let place = &mut self.cache[at];
            self.aliases |= key != place.path;
            (place.key, place.through) = (key, through);
            return Ok(self.touch(at));
        }
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
            below,
            ino: Some(meta.ino),
        })
    }

    /// Puts an open directory into the cache, as the last used.
    pub(super) fn remember(&mut self, place: Place) -> Result<usize> {
        self.aliases |= place.key != place.path;
        if self.cache.len() >= CACHE {
            let oldest = self.cache.remove(0);
            seal(&oldest)?;
        }
        Ok(self.push(place))
    }

    /// Takes the directory `real` and all below it out of the cache, putting times back, and the
    /// names that lead through there.
    pub(super) fn settle(&mut self, real: &[u8]) -> Result<()> {
        let through = |place: &Place| place.through.iter().any(|link| is_below(link, real));
        let goes = |place: &Place| is_below(&place.path, real) || through(place);
        let all = std::mem::take(&mut self.cache).into_iter();
        let (gone, kept): (Vec<Place>, Vec<Place>) = all.partition(goes);
        self.cache = kept;
        gone.iter().try_for_each(seal)?;
        if real.is_empty() {
            self.root.below = None;
        }
        self.aliases = self.cache.iter().any(|place| place.key != place.path);
        Ok(())
    }

    /// Drops one directory from the cache, without its times.
    pub(super) fn forget(&mut self, real: &[u8]) {
        self.cache.retain(|place| place.path != real);
    }
}
