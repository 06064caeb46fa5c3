//! Hard links of the tar, also to what only a lower layer has.

use super::implied::Why;
use super::walk::is_below;
use super::{LowerLinks, Made, Make, Upper};
use crate::archive::whiteout;
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::layer::foreign;
use crate::layer::view::Found;
use crate::sys::fs::{Kind, Meta};
use crate::sys::xattr;
use crate::sys::{OwnedFd, fs};
use crate::tree::chain::join;
use crate::watch::Watch;
use std::os::fd::AsFd;

impl Upper {
    /// Makes `path` another name of `target`, both paths of the tar.
    ///
    /// A target that only a lower layer has is linked where the kind shares inodes; otherwise it
    /// is copied up under its own name first, so that both names of the tar are one inode. In a
    /// complete tree all its names are: there the copy is also for those that the tar does not tell.
    pub fn hard_link(&mut self, path: &[u8], target: &[u8], watch: &mut Watch<'_>) -> Result<Made> {
        if target.is_empty() {
            return Err(Error::new(
                Code::Archive,
                Errno::INVAL,
                "a hard link to the root",
            ));
        }
        if path == target {
            return Err(Error::new(
                Code::Archive,
                Errno::INVAL,
                "a hard link to itself",
            ));
        }
        let (to_parent, to_name) = crate::archive::path::split(target);
        let missing = || {
            Error::sys(Errno::NOENT, "link")
                .context(format!("hard link to {}", target.escape_ascii()))
        };
        let from = self.walk(to_parent, Make::IfBelow)?.ok_or_else(missing)?;
        // To make a name may move the places.
        let (from_dir, own) = (self.at(from).fd.clone(), self.at(from).own);
        let from_real = self.real(from, to_name);
        match fs::stat_at(&from_dir, to_name) {
            Ok(meta) if meta.is_whiteout() => return Err(missing()),
            Ok(meta) if meta.kind == Kind::Directory => return Err(to_directory()),
            Ok(meta) => {
                self.noted.doubt(&from_real);
                return self.link_here(path, &from_dir, &from_real, &meta);
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).call("statx"),
        }
        let found = self.lookup_below(from, to_name)?.ok_or_else(missing)?;
        if found.meta.kind == Kind::Directory {
            return Err(to_directory());
        }
        let lower = self.provider(from, &found)?;
        let may_share = self.may_share(&lower, to_name, &found)?;
        if self.links == LowerLinks::Share && may_share {
            match self.link_here(path, &lower, &from_real, &found.meta) {
                Err(error) if matches!(error.errno(), Errno::MLINK | Errno::PERM) => {}
                other => {
                    self.borrowed.insert(found.meta.ino);
                    return other;
                }
            }
        }
        let joins = self.links != LowerLinks::CopyUp;
        if !joins || !self.aside.join(&found.meta, from_dir.as_fd(), to_name)? {
            let made = self.inodes.any(
                lower.as_fd(),
                to_name,
                &found.meta,
                from_dir.as_fd(),
                own,
                watch,
            )?;
            if !made {
                return Err(missing());
            }
            if joins {
                self.aside.keep(&found.meta, from_dir.as_fd(), to_name)?;
            }
        }
        let copy = fs::stat_at(&from_dir, to_name).call("statx")?;
        self.borrowed.insert(copy.ino);
        let parent = fs::stat(&from_dir).call("statx")?.ino;
        self.implied.insert(parent, to_name, Why::Below);
        self.link_here(path, &from_dir, &from_real, &copy)
    }

    /// A new file for what aufs kept as `name`: no part of the tree but by hard links to it.
    pub fn pseudo_file(&mut self, name: &[u8]) -> Result<OwnedFd> {
        // What has no name in the end does not count.
        self.replaced = true;
        self.aside.create(name)
    }

    /// Makes `path` a name of what aufs kept as `name` for its hard links.
    pub fn pseudo_link(&mut self, path: &[u8], name: &[u8]) -> Result<Made> {
        let target = join(whiteout::PSEUDO_LINKS, name);
        let missing = || {
            Error::sys(Errno::NOENT, "link")
                .context(format!("hard link to {}", target.escape_ascii()))
        };
        let files = self.aside.files()?.ok_or_else(missing)?;
        let inode = match fs::stat_at(&files, name) {
            Err(Errno::NOENT) => return Err(missing()),
            other => other.call("statx")?,
        };
        self.link_here(path, &files, &target, &inode)
    }

    /// Links `path` to an inode that exists: the one at `target` of the tree, reached in `from`.
    fn link_here(
        &mut self,
        path: &[u8],
        from: &OwnedFd,
        target: &[u8],
        inode: &Meta,
    ) -> Result<Made> {
        let (_, name) = crate::archive::path::split(target);
        let (mut place, new) = self.parent(path)?;
        loop {
            let real = self.real(place, new);
            if real != target && is_below(target, &real) {
                return Err(Error::sys(Errno::NOENT, "link")
                    .context("a hard link in place of the directory that its target is in"));
            }
            let dir = self.at(place).fd.clone();
            match fs::link(from, name, &dir, new) {
                Ok(()) => return Ok(self.made(place, new)),
                Err(Errno::EXIST) => {
                    let there = fs::stat_at(&dir, new).call("statx")?;
                    if there.same_inode(inode) {
                        self.has_entry(place, new)?;
                        return Ok(self.made(place, new));
                    }
                    place = self.clear(place, new)?;
                }
                Err(errno) => return Err(errno).call("link"),
            }
        }
    }

    /// An inode with overlayfs's marks on it must not be seen as plain content.
    fn may_share(&self, lower: &OwnedFd, name: &[u8], found: &Found) -> Result<bool> {
        if !self
            .stack
            .trees()
            .get(found.tree)
            .is_some_and(|tree| tree.marked)
        {
            return Ok(true);
        }
        let names = xattr::list_at(lower, name).call("llistxattr")?;
        foreign::need_own_content(&names, self.stack.marks())?;
        Ok(!names.iter().any(|name| xattr::is_overlay(name)))
    }
}

fn to_directory() -> Error {
    Error::new(Code::Archive, Errno::PERM, "a hard link to a directory")
}
