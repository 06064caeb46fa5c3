//! Whiteouts and opaque markers: what the tar takes away of the layers below.
//!
//! They speak of lower layers alone. What this tar has at the same name stays, in whatever order
//! the two come, and nothing is marked where there is nothing to hide.

use super::{Make, Upper, implied_attributes};
use crate::error::{Errno, Result, SysResult};
use crate::layer::view::{is_opaque, join};
use crate::sys::dir::DirBuf;
use crate::sys::fs::Kind;
use crate::sys::xattr::{self, Pairs};
use crate::sys::{OwnedFd, fs};
use crate::tree::attrs::Attributes;
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
        if there.is_some() && !directory && !self.implied.contains(&real) {
            // The tar's own file hides what is below.
            return Ok(());
        }
        let mut stays = false;
        if directory {
            let own = fs::open_dir(&self.at(place).fd, name).call("open")?;
            let opaque = is_opaque(own.as_fd(), self.stack.marks()).call("getxattr")?;
            if opaque && !self.implied.contains(&real) {
                return Ok(());
            }
            let below = self.below_of(&real)?.is_some();
            self.flush()?;
            self.cut_off(&real)?;
            stays = !self.drop_if_empty(&real)?;
            if stays && below {
                let fd = fs::open_dir_deep(&self.root.fd, &real).call("open")?;
                xattr::set(&fd, self.stack.marks().opaque(), b"y").call("fsetxattr")?;
            }
        } else {
            self.taken(&real)?;
        }
        // The cache may have been emptied.
        match self.walk(crate::archive::path::split(&real).0, Make::IfBelow)? {
            Some(again) if !stays => place = again,
            _ => return Ok(()),
        }
        let dir = self.at(place).fd.clone();
        if let (Some(there), false) = (there, directory) {
            fs::unlink(&dir, name).call("unlink")?;
            self.gone(&there);
            self.implied.remove(&real);
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
        // Said again it hides nothing more.
        let marks = self.stack.marks();
        let already = match real.is_empty() {
            true => self.root_opaque,
            false => is_opaque(dir.as_fd(), marks).call("getxattr")?,
        };
        if already {
            return Ok(());
        }
        if real.is_empty() {
            self.root_opaque = true;
        } else if self.below_of(&real)?.is_some() {
            xattr::set(&dir, self.stack.marks().opaque(), b"y").call("fsetxattr")?;
        }
        self.flush()?;
        self.cut_off(&real)
    }

    /// What the directory `real` had from below is gone: what was made in it only because of that
    /// goes too, directories that hold entries of the tar lose the attributes they had below, and
    /// whiteouts hide nothing any more. The cache is empty; directories keep their times.
    fn cut_off(&mut self, real: &[u8]) -> Result<()> {
        let mut dirs = vec![real.to_vec()];
        let mut buf = DirBuf::default();
        let mut at = 0;
        while let Some(path) = dirs.get(at).cloned() {
            at += 1;
            let fd = fs::open_dir_deep(&self.root.fd, &path).call_at("open", &path)?;
            let before = fs::stat(&fd).call_at("statx", &path)?;
            let mut removed = false;
            for name in buf.sorted_names(&fd).call_at("getdents64", &path)? {
                let child = join(&path, &name);
                let meta = fs::stat_at(&fd, &name).call_at("statx", &child)?;
                if meta.kind == Kind::Directory {
                    dirs.push(child);
                } else if meta.is_whiteout() || self.implied.remove(&child) {
                    fs::unlink(&fd, &name).call_at("unlink", &child)?;
                    self.gone(&meta);
                    removed = true;
                }
            }
            if removed {
                fs::set_times(&fd, before.atime, before.mtime).call_at("utimensat", &path)?;
            }
        }
        // Directories in it, the deepest first.
        for path in dirs.iter().skip(1).rev() {
            self.drop_if_empty(path)?;
        }
        Ok(())
    }

    /// An implied directory that is cut off: it goes when nothing is in it, and gets the default
    /// attributes otherwise. Whether it is gone.
    fn drop_if_empty(&mut self, real: &[u8]) -> Result<bool> {
        if !self.implied.contains(real) {
            return Ok(false);
        }
        let (parent, name) = crate::archive::path::split(real);
        let parent = fs::open_dir_deep(&self.root.fd, parent).call_at("open", real)?;
        let before = fs::stat(&parent).call_at("statx", real)?;
        match fs::rmdir(&parent, name) {
            Ok(()) => {
                self.implied.remove(real);
                fs::set_times(&parent, before.atime, before.mtime).call_at("utimensat", real)?;
                return Ok(true);
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(errno).call_at("rmdir", real),
        }
        let fd = fs::open_dir(&parent, name).call_at("open", real)?;
        let Attributes { atime, mtime, .. } = implied_attributes();
        self.put_directory(&fd, &implied_attributes(), &Pairs::new(), false)?;
        fs::set_times(&fd, atime, mtime).call_at("utimensat", real)?;
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
        if self.links == super::LowerLinks::Share {
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
