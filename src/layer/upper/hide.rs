//! Whiteouts and opaque markers: what the tar takes away of the layers below.
//!
//! They speak of lower layers alone. What this tar has at the same name stays, in whatever order
//! the two come, and nothing is marked where there is nothing to hide.

use super::implied::Why;
use super::{Make, Upper, implied_attributes};
use crate::error::{Errno, Error, Result, SysResult};
use crate::layer::view::is_opaque;
use crate::sys::dir::DirBuf;
use crate::sys::fs::{Kind, Meta};
use crate::sys::xattr::{self, Pairs};
use crate::sys::{BorrowedFd, OwnedFd, fs};
use crate::tree::attrs::Attributes;
use crate::tree::chain::Chain;
use std::os::fd::AsFd;

impl Upper {
    /// `.wh.NAME` in the directory `parent`: hides what lower layers have at `name`.
    pub fn whiteout(&mut self, parent: &[u8], name: &[u8]) -> Result<()> {
        let Some(mut place) = self.walk(parent, Make::IfBelow)? else {
            return Ok(());
        };
        let real = self.real(place, name);
        let there = match fs::stat_at(&self.at(place).fd, name) {
            Ok(there) if there.is_whiteout() => return Ok(()),
            Ok(there) => Some(there),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno).call("statx"),
        };
        let directory = there.is_some_and(|there| there.kind == Kind::Directory);
        let implied = match there {
            Some(_) => {
                let ino = self.ino(place)?;
                self.implied.why(ino, name).is_some()
            }
            None => false,
        };
        if there.is_some() && !directory && !implied {
            // The tar's own file hides what is below.
            return Ok(());
        }
        if directory {
            // Said again, or of what no layer below has, it hides nothing; but a directory that is
            // there only because of an opaque marker goes, or what it has from below.
            let own = fs::open_dir(&self.at(place).fd, name).call("open")?;
            let opaque = is_opaque(own.as_fd(), self.stack.marks()).call("getxattr")?;
            let below = self.lookup_below(place, name)?;
            let hides = !opaque && below.is_some_and(|found| found.dir.is_some());
            if !hides && !implied {
                return Ok(());
            }
            let dir = self.at(place).fd.clone();
            self.settle(&real)?;
            if hides {
                self.cut_off(&real)?;
            }
            let before = fs::stat(&dir).call("statx")?;
            if !self.drop_if_empty(dir.as_fd(), &before, name)? {
                if !hides {
                    return Ok(());
                }
                let fd = fs::open_dir(&dir, name).call("open")?;
                return xattr::set(&fd, self.stack.marks().opaque(), b"y").call("fsetxattr");
            }
        } else {
            self.taken(&real)?;
        }
        // It may no longer be in the cache.
        match self.walk(crate::archive::path::split(&real).0, Make::IfBelow)? {
            Some(again) => place = again,
            None => return Ok(()),
        }
        let dir = self.at(place).fd.clone();
        if let (Some(there), false) = (there, directory) {
            fs::unlink(&dir, name).call("unlink")?;
            self.gone(&there);
            self.has_entry(place, name)?;
        }
        if self.lookup_below(place, name)?.is_some() {
            self.mark_whiteout(&dir, name)?;
        }
        Ok(())
    }

    /// `.wh..wh..opq` in `path`: hides all that lower layers have in that directory.
    pub fn opaque(&mut self, path: &[u8]) -> Result<()> {
        let Some(place) = self.walk(path, Make::IfBelow)? else {
            return Ok(());
        };
        let (dir, real) = (self.at(place).fd.clone(), self.at(place).path.clone());
        if real.is_empty() {
            if std::mem::replace(&mut self.root_opaque, true) {
                return Ok(());
            }
        } else if self.has_below(place)? {
            xattr::set(&dir, self.stack.marks().opaque(), b"y").call("fsetxattr")?;
        } else {
            // Said again, or of what no layer below has, it hides nothing.
            return Ok(());
        }
        self.settle(&real)?;
        self.cut_off(&real)
    }

    /// What the directory `real` had from below is gone: what was made in it only because of that
    /// goes too, directories that hold entries of the tar lose the attributes they had below, and
    /// whiteouts hide nothing any more. The cache has none of them; directories keep their times.
    fn cut_off(&mut self, real: &[u8]) -> Result<()> {
        let top = fs::open_dir_deep(&self.root.fd, real).call_at("open", real)?;
        self.cut_off_below(top).map_err(|e| e.below(real))
    }

    fn cut_off_below(&mut self, top: OwnedFd) -> Result<()> {
        let mut buf = DirBuf::default();
        let mut chain = Chain::new(top);
        let mut pending = vec![self.cut_off_level(chain.fd()?, &mut buf)?];
        while let Some((_, below)) = pending.last_mut() {
            if let Some(name) = below.pop() {
                let fd = fs::open_dir(chain.fd()?, &name);
                let fd = fd.map_err(|errno| Error::sys(errno, "open").at(chain.path_of(&name)))?;
                // What is opaque was cut off before.
                let opaque = is_opaque(fd.as_fd(), self.stack.marks()).call("getxattr")?;
                chain.push(name, fd)?;
                pending.push(match opaque {
                    true => (fs::stat(chain.fd()?).call("statx")?, Vec::new()),
                    false => self.cut_off_level(chain.fd()?, &mut buf)?,
                });
                continue;
            }
            pending.pop();
            if let (Some((name, _)), Some((parent, _))) = (chain.pop()?, pending.last()) {
                self.drop_if_empty(chain.fd()?, parent, &name)?;
            }
        }
        Ok(())
    }

    /// One directory of those; gives what it was, and the directories in it.
    fn cut_off_level(
        &mut self,
        fd: BorrowedFd<'_>,
        buf: &mut DirBuf,
    ) -> Result<(Meta, Vec<Vec<u8>>)> {
        let before = fs::stat(fd).call("statx")?;
        let (mut below, mut removed) = (Vec::new(), false);
        for name in buf.sorted_names(fd).call("getdents64")? {
            let meta = fs::stat_at(fd, &name).call_at("statx", &name)?;
            if meta.kind == Kind::Directory {
                below.push(name);
            } else if meta.is_whiteout() || self.implied.remove(before.ino, &name) {
                fs::unlink(fd, &name).call_at("unlink", &name)?;
                self.gone(&meta);
                removed = true;
            }
        }
        if removed {
            fs::set_times(fd, before.atime, before.mtime).call("utimensat")?;
        }
        Ok((before, below))
    }

    /// An implied directory that is cut off: it goes when nothing is in it and no entry's way leads
    /// through it, and gets the default attributes otherwise. Whether it is gone. What holds it was `before` and keeps its times.
    fn drop_if_empty(
        &mut self,
        parent: BorrowedFd<'_>,
        before: &Meta,
        name: &[u8],
    ) -> Result<bool> {
        let Some(why) = self.implied.why(before.ino, name) else {
            return Ok(false);
        };
        let fd = fs::open_dir(parent, name).call_at("open", name)?;
        let removed = match why {
            Why::Below => fs::rmdir(parent, name),
            Why::Way => Err(Errno::NOTEMPTY),
        };
        match removed {
            Ok(()) => {
                self.implied.remove(before.ino, name);
                if let Some(shut) = &mut self.inodes.setter.shut {
                    shut.remove(&fs::stat(&fd).call_at("statx", name)?.ino);
                }
                fs::set_times(parent, before.atime, before.mtime).call_at("utimensat", name)?;
                return Ok(true);
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(errno).call_at("rmdir", name),
        }
        let Attributes { atime, mtime, .. } = implied_attributes();
        self.put_directory(&fd, &implied_attributes(), &Pairs::new(), false)?;
        fs::set_times(&fd, atime, mtime).call_at("utimensat", name)?;
        Ok(false)
    }

    fn mark_whiteout(&mut self, dir: &OwnedFd, name: &[u8]) -> Result<()> {
        fs::mknod(dir, name, Kind::CharDevice, 0, (0, 0)).call("mknod")
    }

    /// The kernel ignores an opaque root, so each name below gets a mark of its own.
    pub(super) fn hide_root(&mut self) -> Result<()> {
        let Some(mut below) = self.stack.root()?.and_then(|found| found.dir) else {
            return Ok(());
        };
        if self.links != super::LowerLinks::CopyUp {
            // The parent's tree will not be linked in at all.
            return Ok(());
        }
        let mut buf = DirBuf::default();
        for name in self.stack.names(&mut below, &mut buf)? {
            let root = self.root.fd.clone();
            match fs::stat_at(&root, &name) {
                Err(Errno::NOENT) => self.mark_whiteout(&root, &name)?,
                Ok(there) if there.kind == Kind::Directory => {
                    let fd = fs::open_dir(&root, &name).call_at("open", &name)?;
                    xattr::set(&fd, self.stack.marks().opaque(), b"y").call("fsetxattr")?;
                }
                Ok(_) => {}
                Err(errno) => return Err(errno).call_at("statx", &name),
            }
        }
        Ok(())
    }
}
