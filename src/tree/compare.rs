//! Whether two inodes are equal in all that a layer can say.

use super::attrs::Inode;
use crate::error::{Errno, Error, Result, SysResult};
use crate::sys::fs::{Kind, Meta, Time};
use crate::sys::xattr::{self, Pairs};
use crate::sys::{BorrowedFd, OwnedFd, fs};
use crate::watch::Watch;
use std::os::fd::AsFd;

/// Where an inode is: a name in a directory, and its attributes.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The directory.
    pub dir: BorrowedFd<'a>,
    /// The name in it.
    pub name: &'a [u8],
    /// The inode's attributes.
    pub meta: &'a Meta,
    /// The file that has its content, when the inode itself does not.
    pub content: Option<BorrowedFd<'a>>,
}

impl Place<'_> {
    /// Opens what has the content of a regular file.
    pub fn open(&self) -> Result<OwnedFd> {
        match self.content {
            // A descriptor of its own, whose owner need not live on.
            Some(fd) => crate::sys::fd::duplicate(fd).call("fcntl"),
            None => match fs::open_file(self.dir, self.name) {
                // It was a regular file: by now it is none, or a whiteout, or a link.
                Err(Errno::NOENT | Errno::NXIO | Errno::LOOP) => Err(Error::changed()),
                other => other.call("open"),
            },
        }
    }
}

/// The label that a host's SELinux policy puts on every inode: the host's, not the layer's.
const HOST_LABEL: &[u8] = b"security.selinux";

/// The extended attributes of an inode that a layer carries, sorted by name: neither overlayfs's
/// own nor the host's label.
pub fn own_xattrs(inode: Inode<'_>) -> Result<Pairs> {
    own_among(inode, &inode.xattr_names().call("listxattr")?)
}

/// See [`own_xattrs`]: of an inode whose attributes are called `names`.
pub fn own_among(inode: Inode<'_>, names: &[Vec<u8>]) -> Result<Pairs> {
    let mut pairs = Vec::new();
    // What overlayfs keeps is on every inode that it copied up: nobody asks for its value.
    for name in names.iter().filter(|name| is_own(name)) {
        if let Some(value) = inode.xattr(name).call("getxattr")? {
            pairs.push((name.clone(), value));
        }
    }
    pairs.sort();
    Ok(pairs)
}

fn is_own(name: &[u8]) -> bool {
    !xattr::is_overlay(name) && name != HOST_LABEL
}

/// See [`own_xattrs`]: these of all that an inode has.
pub fn own(mut pairs: Pairs) -> Pairs {
    pairs.retain(|(name, _)| is_own(name));
    pairs.sort();
    pairs
}

/// Whether kind, owner, mode, time, device number and size agree. A directory's own time counts
/// where `directory_times` says so; its size never does.
pub fn same_attributes(a: &Meta, b: &Meta, directory_times: bool) -> bool {
    a.kind == b.kind
        && a.uid == b.uid
        && a.gid == b.gid
        && (a.kind == Kind::Symlink || a.mode == b.mode)
        && (a.mtime == b.mtime || (a.kind == Kind::Directory && !directory_times))
        && (!matches!(a.kind, Kind::CharDevice | Kind::BlockDevice) || a.rdev == b.rdev)
        && (!matches!(a.kind, Kind::File | Kind::Symlink) || a.size == b.size)
}

/// Whether two inodes that are no directories are equal. Content is read only when all else
/// agrees; one inode under two names is equal without a look.
pub fn same_entry(a: Place<'_>, b: Place<'_>, watch: &mut Watch<'_>) -> Result<bool> {
    if a.meta.same_inode(b.meta) {
        return Ok(true);
    }
    if !same_attributes(a.meta, b.meta, true) {
        return Ok(false);
    }
    if a.meta.kind == Kind::Symlink {
        let target = |p: Place<'_>| fs::read_link(p.dir, p.name).call_at("readlink", p.name);
        if target(a)? != target(b)? {
            return Ok(false);
        }
    }
    let xattrs = |p: Place<'_>| own_xattrs(Inode::Named(p.dir, p.name)).map_err(|e| e.at(p.name));
    if xattrs(a)? != xattrs(b)? {
        return Ok(false);
    }
    if a.meta.kind == Kind::File {
        same_content(a, b, watch)
    } else {
        Ok(true)
    }
}

const BUF: usize = 128 << 10;

fn same_content(a: Place<'_>, b: Place<'_>, watch: &mut Watch<'_>) -> Result<bool> {
    if a.meta.size == 0 {
        return Ok(true);
    }
    let open = |p: Place<'_>| p.open().map_err(|e| e.at(p.name));
    let (left, right) = (open(a)?, open(b)?);
    let (mut x, mut y) = (vec![0u8; BUF], vec![0u8; BUF]);
    let mut at = 0;
    loop {
        let n = fill(left.as_fd(), &mut x, at).call_at("read", a.name)?;
        let m = fill(right.as_fd(), &mut y, at).call_at("read", b.name)?;
        if x[..n] != y[..m] {
            return Ok(false);
        }
        if n == 0 {
            // A file that shrank while it was read is not what its size said.
            return if at == a.meta.size {
                Ok(true)
            } else {
                Err(Error::changed().at(a.name))
            };
        }
        at += n as u64;
        watch.bytes(n as u64)?;
    }
}

fn fill(fd: BorrowedFd<'_>, buf: &mut [u8], at: u64) -> crate::sys::SysCall<usize> {
    let mut have = 0;
    while have < buf.len() {
        match fs::read_at(fd, &mut buf[have..], at + have as u64)? {
            0 => break,
            n => have += n,
        }
    }
    Ok(have)
}

/// A time cut to what a layer tar is to hold: none later than `clamp`.
pub fn clamp(time: Time, clamp: Option<Time>) -> Time {
    match clamp {
        Some(limit) if time > limit => limit,
        _ => time,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::Code;

    /// What was listed as a regular file, and is none when it is opened.
    #[test]
    fn a_file_that_is_none_any_more() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "data").unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
        // Opened, it says what a whiteout says.
        std::os::unix::net::UnixListener::bind(dir.path().join("device")).unwrap();
        let fd = OwnedFd::from(std::fs::File::open(dir.path()).unwrap());
        let meta = fs::stat_at(&fd, b"file").unwrap();
        let open = |name: &[u8]| {
            Place {
                dir: fd.as_fd(),
                name,
                meta: &meta,
                content: None,
            }
            .open()
        };
        assert!(open(b"file").is_ok());
        for name in [&b"none"[..], b"link", b"device"] {
            let error = open(name).unwrap_err();
            assert_eq!((error.errno(), error.code()), (Errno::STALE, Code::Changed));
        }
    }
}
