//! Copying one inode that is no directory, with all that it carries.

use super::attrs::{Attributes, Inode, Setter};
use super::data::{DataCopier, Method};
use crate::error::{Errno, Error, Result, SysResult};
use crate::sys::fs::{Kind, Meta};
use crate::sys::xattr::{self, Pairs};
use crate::sys::{BorrowedFd, OwnedFd, SysCall, fs};
use crate::watch::Watch;
use std::os::fd::AsFd;

/// The mode of a file whose attributes are still to come.
pub const PRIVATE: u32 = 0o600;

/// What becomes of the mode that a file is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modes {
    /// A directory's ACL may have its say: it is put on when all else is done.
    Unknown,
    /// The umask keeps the owner out of what he makes.
    Hostile,
    /// The umask may take from it, which another thread may change at any time, and so may a file system
    /// with one of its own: each file is looked at.
    Masked,
}

/// How inodes are copied during one call.
pub struct InodeCopier {
    /// Puts the attributes on.
    pub setter: Setter,
    /// Copies contents.
    pub data: DataCopier,
    /// Leave out overlayfs's own extended attributes.
    pub no_overlay_xattrs: bool,
    /// What becomes of the modes that files are made with.
    pub modes: Modes,
    /// Files that changed while they were copied; `None` makes that an error.
    pub changed: Option<u64>,
    /// A file whose inode changed counts as changed too: not where others may link to it.
    pub ctimes: bool,
}

impl InodeCopier {
    /// The same for another thread, with nothing done so far.
    #[must_use]
    pub fn again(&self) -> Self {
        InodeCopier {
            setter: Setter::new(self.setter.strict),
            data: self.data.again(),
            changed: self.changed.map(|_| 0),
            ..*self
        }
    }

    /// Copies the regular file `from`, whose attributes are `meta`, to the new name `name`.
    pub fn file(
        &mut self,
        from: &OwnedFd,
        meta: &Meta,
        dir: BorrowedFd<'_>,
        name: &[u8],
        own: bool,
        watch: &mut Watch<'_>,
    ) -> Result<Method> {
        let xattrs = self.wanted(xattr::get_all(from))?;
        let attributes = Attributes::from(meta);
        // Attributes are for who may write, an ACL among them sets the mode, and what somebody else is to
        // have is nobody's until then.
        let at_once = self.modes == Modes::Masked
            && xattrs.is_empty()
            && own
            && self.setter.is_own(&attributes);
        let mode = if at_once { meta.mode & 0o777 } else { PRIVATE };
        let to = fs::create_file(dir, name, mode).call("create")?;
        // To look costs a fraction of what it costs to put the mode on.
        let born = match at_once {
            true => Some(fs::mode(&to).call("statx")?),
            false => None,
        };
        if self.modes == Modes::Hostile {
            fs::chmod(&to, PRIVATE).call("fchmod")?;
        }
        let method = self
            .data
            .copy(from.as_fd(), to.as_fd(), meta.size, |bytes| {
                watch.bytes(bytes).map_err(Stop::Said)
            });
        let method = match method {
            Ok(method) => method,
            Err(Stop::Said(error)) => return Err(error),
            Err(Stop::Call(errno)) => return Err(errno).call("copy"),
        };
        if method == Method::Copied {
            let after = fs::stat(from).call("statx")?;
            let quiet = !self.ctimes || after.ctime == meta.ctime;
            if !quiet || (after.size, after.mtime) != (meta.size, meta.mtime) {
                match &mut self.changed {
                    Some(count) => *count += 1,
                    None => return Err(Error::changed()),
                }
            }
        }
        let inode = Inode::Open(to.as_fd());
        self.setter.put_on(inode, &attributes, &xattrs, own, born)?;
        inode.set_times(meta.atime, meta.mtime).call("utimensat")?;
        Ok(method)
    }

    /// Copies a symbolic link, device, FIFO or socket that `from` holds (O_PATH) to the new name
    /// `name`; false when the caller may not make it.
    pub fn special(
        &mut self,
        from: &OwnedFd,
        meta: &Meta,
        dir: BorrowedFd<'_>,
        name: &[u8],
        own: bool,
    ) -> Result<bool> {
        if meta.kind == Kind::Symlink {
            let target = fs::read_link(from, b"").call("readlink")?;
            fs::symlink(&target, dir, name).call("symlink")?;
        } else if !self.setter.make_node(dir, name, meta.kind, meta.rdev)? {
            return Ok(false);
        }
        let xattrs = self.wanted(xattr::get_all_held(from))?;
        let inode = Inode::Named(dir, name);
        self.setter
            .put(inode, &Attributes::from(meta), &xattrs, own)?;
        inode.set_times(meta.atime, meta.mtime).call("utimensat")?;
        Ok(true)
    }

    /// Copies `name` of `from`, whatever it is but a directory, to the same name in `dir`.
    pub fn any(
        &mut self,
        from: BorrowedFd<'_>,
        name: &[u8],
        meta: &Meta,
        dir: BorrowedFd<'_>,
        own: bool,
        watch: &mut Watch<'_>,
    ) -> Result<bool> {
        if meta.kind != Kind::File {
            let held = fs::open_path(from, name).call("open")?;
            let meta = fs::stat(&held).call("statx")?;
            return self.special(&held, &meta, dir, name, own);
        }
        let file = fs::open_file(from, name).call("open")?;
        let meta = fs::stat(&file).call("statx")?;
        if meta.kind != Kind::File {
            return Err(Error::changed());
        }
        self.file(&file, &meta, dir, name, own, watch).map(|_| true)
    }

    /// The extended attributes that the copy of `inode` is to have.
    pub fn xattrs(&self, inode: Inode<'_>) -> Result<Pairs> {
        self.wanted(inode.xattrs())
    }

    /// Leaves out of an inode's attributes what is not to be copied.
    pub fn wanted(&self, pairs: SysCall<Pairs>) -> Result<Pairs> {
        let mut pairs = pairs.call("listxattr")?;
        if self.no_overlay_xattrs {
            pairs.retain(|(name, _)| !xattr::is_overlay(name));
        }
        Ok(pairs)
    }
}

/// Why a data copy stopped.
enum Stop {
    Call(Errno),
    Said(Error),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Stop::Call(errno)
    }
}
