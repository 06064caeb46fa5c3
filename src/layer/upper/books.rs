//! The books of an upper: what in it has no entry of its own, what came from below, how much there
//! may be; and forgetting what is gone.

use super::{Upper, walk};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::dir::{DirBuf, Hint};
use crate::sys::{OwnedFd, fs};
use crate::tree::chain;
use std::collections::HashMap;

/// Directories that are made without an entry of their own: so many at once, and so many more for
/// each entry. Two bytes of a name are enough for one.
const IMPLIED: (u64, u64) = (1 << 16, 64);

impl Upper {
    /// Drops a directory that goes, and all below it, from the cache and the books.
    pub(super) fn forget_below(&mut self, dir: &OwnedFd, name: &[u8], real: &[u8]) -> Result<()> {
        self.cache
            .retain(|place| !walk::is_below(&place.path, real));
        let nothing = self
            .inodes
            .setter
            .shut
            .as_ref()
            .is_none_or(HashMap::is_empty);
        if self.implied.is_empty() && self.borrowed.is_empty() && nothing {
            return Ok(());
        }
        let fd = fs::open_dir(dir, name).call("open")?;
        let mut buf = DirBuf::default();
        // Names that were met of inodes that belong to a lower layer.
        let mut met: HashMap<u64, u32> = HashMap::new();
        chain::directories(fd, &mut |fd| {
            let ino = fs::stat(fd).call("statx")?.ino;
            self.implied.forget(ino);
            if let Some(shut) = &mut self.inodes.setter.shut {
                shut.remove(&ino);
            }
            if self.borrowed.is_empty() {
                return Ok(());
            }
            let again = fs::open_dir(fd, b".").call("open")?;
            let read = buf.for_each(again, |name, hint| {
                if hint == Hint::Directory {
                    return Ok(());
                }
                let meta = fs::stat_at(fd, name)?;
                if self.borrowed.contains(&meta.ino) {
                    let names = met.entry(meta.ino).or_insert(0);
                    *names += 1;
                    if *names == meta.nlink {
                        self.borrowed.remove(&meta.ino);
                    }
                }
                Ok::<_, Errno>(())
            });
            read.call("getdents64")
        })
        .map_err(|e| e.below(real))
    }

    /// `name` in a place has an entry of its own now.
    pub(super) fn has_entry(&mut self, place: usize, name: &[u8]) -> Result<bool> {
        if self.implied.is_empty() {
            return Ok(false);
        }
        let ino = self.ino(place)?;
        Ok(self.implied.remove(ino, name))
    }

    /// The way of an entry that could not be made leads to a place.
    pub(super) fn on_way(&mut self, place: usize) -> Result<()> {
        let path = &self.at(place).path;
        if self.implied.is_empty() || path.is_empty() {
            return Ok(());
        }
        let (above, name) = crate::archive::path::split(path);
        let ino = fs::stat(self.open_real(above)?).call("statx")?.ino;
        let name = name.to_vec();
        self.implied.on_way(ino, &name);
        Ok(())
    }

    /// The inode number of a place.
    pub(super) fn ino(&mut self, place: usize) -> Result<u64> {
        let place = self.at_mut(place);
        if let Some(ino) = place.ino {
            return Ok(ino);
        }
        let ino = fs::stat(&place.fd).call("statx")?.ino;
        place.ino = Some(ino);
        Ok(ino)
    }

    /// One more entry of the tar.
    pub fn entry(&mut self) {
        self.counts.1 += 1;
    }

    /// One more directory without an entry.
    pub(super) fn one_implied(&mut self) -> Result<()> {
        let (implied, entries) = &mut self.counts;
        *implied += 1;
        let room = IMPLIED.0.saturating_add(entries.saturating_mul(IMPLIED.1));
        let max = room.min(self.bounds.max_implied);
        if *implied > max {
            let message = format!("more than {max} directories without entries of their own");
            return Err(Error::new(Code::Limit, Errno::FBIG, message));
        }
        Ok(())
    }

    /// EFBIG for a path that symbolic links made too long.
    pub(super) fn check_path(&self, len: usize) -> Result<()> {
        if len > self.bounds.max_path {
            let message = format!(
                "a path of more than {} bytes, symbolic links followed",
                self.bounds.max_path
            );
            return Err(Error::new(Code::Limit, Errno::FBIG, message));
        }
        Ok(())
    }
}
