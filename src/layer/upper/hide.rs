//! Whiteouts and opaque markers: what the tar takes away of the layers below.
//!
//! They speak of lower layers alone. What this tar has at the same name stays, in whatever order
//! the two come, and nothing is marked where there is nothing to hide.

use super::{Make, Upper, implied_attributes};
use crate::error::{Errno, Result, SysResult};
use crate::layer::view::join;
use crate::sys::dir::DirBuf;
use crate::sys::fs::Kind;
use crate::sys::xattr::{self, Pairs};
use crate::sys::{OwnedFd, fs};
use crate::tree::attrs::Attributes;
use crate::tree::remove_tree;
use crate::watch::Watch;

impl Upper {
    /// `.wh.NAME` in the directory `parent`: hides what lower layers have at `name`.
    pub fn whiteout(&mut self, parent: &[u8], name: &[u8]) -> Result<()> {
        let Some(place) = self.walk(parent, Make::IfBelow)? else {
            return Ok(());
        };
        let dir = self.at(place).fd.clone();
        let real = self.real(place, name);
        match fs::stat_at(&dir, name) {
            Ok(there) if there.is_whiteout() => return Ok(()),
            Ok(there) if there.kind == Kind::Directory => {
                if self.has_entries(&dir, &real, name)? {
                    return self.hide_below(&dir, &real, name);
                }
                self.drop_implied(&dir, &real, name)?;
            }
            Ok(_) if self.implied.contains(&real) => self.drop_implied(&dir, &real, name)?,
            // The tar's own file hides what is below.
            Ok(_) => return Ok(()),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).call("statx"),
        }
        // Dropping directories may have emptied the cache.
        let Some(place) = self.walk(parent, Make::IfBelow)? else {
            return Ok(());
        };
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
            self.root_opaque = true;
        } else if self.below_of(&real)?.is_some() {
            xattr::set(&dir, self.stack.marks().opaque(), b"y").call("fsetxattr")?;
        }
        self.flush()?;
        self.cut_off(&real)
    }

    /// The directory `name` is the tar's own, and hides what is below from now on.
    fn hide_below(&mut self, dir: &OwnedFd, real: &[u8], name: &[u8]) -> Result<()> {
        self.flush()?;
        let fd = fs::open_dir(dir, name).call("open")?;
        if self.below_of(real)?.is_some() {
            xattr::set(&fd, self.stack.marks().opaque(), b"y").call("fsetxattr")?;
        }
        self.reset_implied(real)?;
        self.cut_off(real)
    }

    /// What the directory `real` had from below is gone: directories in it that were implied lose
    /// the attributes they had there, and whiteouts in it hide nothing any more.
    fn cut_off(&mut self, real: &[u8]) -> Result<()> {
        let inside: Vec<Vec<u8>> = self
            .implied
            .iter()
            .filter(|path| {
                real.is_empty() || (path.starts_with(real) && path.get(real.len()) == Some(&b'/'))
            })
            .cloned()
            .collect();
        for path in inside {
            self.reset_implied(&path)?;
        }
        self.sweep_whiteouts(real)
    }

    /// Gives an implied directory the default attributes.
    fn reset_implied(&mut self, real: &[u8]) -> Result<()> {
        if !self.implied.contains(real) {
            return Ok(());
        }
        let fd = match fs::open_dir_deep(&self.root.fd, real) {
            Ok(fd) => fd,
            // A copied-up file.
            Err(Errno::NOTDIR | Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno).call_at("open", real),
        };
        let Attributes { atime, mtime, .. } = implied_attributes();
        self.put_directory(&fd, &implied_attributes(), &Pairs::new(), false)?;
        fs::set_times(&fd, atime, mtime).call("utimensat")
    }

    /// Removes the whiteouts at any depth below `real`, keeping directories' times.
    fn sweep_whiteouts(&mut self, real: &[u8]) -> Result<()> {
        let mut todo = vec![real.to_vec()];
        let mut buf = DirBuf::default();
        while let Some(path) = todo.pop() {
            let fd = fs::open_dir_deep(&self.root.fd, &path).call_at("open", &path)?;
            let before = fs::stat(&fd).call_at("statx", &path)?;
            let mut removed = false;
            for name in buf.sorted_names(&fd).call_at("getdents64", &path)? {
                let meta = fs::stat_at(&fd, &name).call_at("statx", join(&path, &name))?;
                if meta.is_whiteout() {
                    fs::unlink(&fd, &name).call_at("unlink", join(&path, &name))?;
                    removed = true;
                } else if meta.kind == Kind::Directory {
                    todo.push(join(&path, &name));
                }
            }
            if removed {
                fs::set_times(&fd, before.atime, before.mtime).call_at("utimensat", &path)?;
            }
        }
        Ok(())
    }

    /// Whether the tar itself has put anything at or below the directory `name`.
    fn has_entries(&self, dir: &OwnedFd, real: &[u8], name: &[u8]) -> Result<bool> {
        if !self.implied.contains(real) {
            return Ok(true);
        }
        let mut todo = vec![(fs::open_dir(dir, name).call("open")?, real.to_vec())];
        let mut buf = DirBuf::default();
        while let Some((fd, path)) = todo.pop() {
            for name in buf.sorted_names(&fd).call_at("getdents64", &path)? {
                let child = join(&path, &name);
                let meta = fs::stat_at(&fd, &name).call_at("statx", &child)?;
                if meta.is_whiteout() {
                    continue;
                }
                if !self.implied.contains(&child) {
                    return Ok(true);
                }
                if meta.kind == Kind::Directory {
                    todo.push((fs::open_dir(&fd, &name).call_at("open", &child)?, child));
                }
            }
        }
        Ok(false)
    }

    /// Takes away what was only implied.
    fn drop_implied(&mut self, dir: &OwnedFd, real: &[u8], name: &[u8]) -> Result<()> {
        self.forget_below(real)?;
        remove_tree(dir, name, &mut Watch::default())
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
