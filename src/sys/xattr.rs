//! Extended attributes by descriptor, also of what cannot be opened (links, FIFOs, devices).
//!
//! Open files and directories use the `f*xattr` calls. A name in a directory is reached through
//! `/proc/thread-self/fd/N/name` with the `l*xattr` calls, which never follow the last component.

use super::{AsFd, SysCall, fd, retry};
use crate::error::Errno;
use rustix::fs::XattrFlags;

/// Extended attributes as names and values.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The prefixes of what overlayfs keeps for itself.
pub const OVERLAY_PREFIXES: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Whether `name` belongs to overlayfs, under either marks.
pub fn is_overlay(name: &[u8]) -> bool {
    OVERLAY_PREFIXES
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// The attribute that holds a file's capabilities.
pub const CAPABILITY: &[u8] = b"security.capability";

/// Whether an attribute is there, and the caller cannot be told its value: a capability that counts
/// in a user namespace whose root user his own has not. It is read as one without a value, which no
/// file has.
pub fn is_hidden(name: &[u8], value: &[u8]) -> bool {
    name == CAPABILITY && value.is_empty()
}

/// XFS shows the ACLs to root a second time, in a spelling of its own, which on another file system
/// would be an attribute like any.
const XFS_ACLS: [&[u8]; 2] = [b"trusted.SGI_ACL_FILE", b"trusted.SGI_ACL_DEFAULT"];

/// Whether `name` is an ACL as XFS keeps it; no list here has it.
pub fn is_xfs_acl(name: &[u8]) -> bool {
    XFS_ACLS.contains(&name)
}

/// Grows a buffer until the kernel is content.
fn grow(mut call: impl FnMut(&mut [u8]) -> SysCall<usize>) -> SysCall<Vec<u8>> {
    let mut buf = vec![0u8; 1024];
    loop {
        match retry(|| call(&mut buf)) {
            Ok(len) => {
                buf.truncate(len);
                return Ok(buf);
            }
            // The kernel's own limits are 64 KiB for a value and for a list.
            Err(Errno::RANGE) if buf.len() < (1 << 17) => {
                let len = buf.len() * 4;
                buf.resize(len, 0);
            }
            Err(errno) => return Err(errno),
        }
    }
}

fn split(list: &[u8]) -> Vec<Vec<u8>> {
    list.split(|&b| b == 0)
        .filter(|n| !n.is_empty() && !is_xfs_acl(n))
        .map(<[u8]>::to_vec)
        .collect()
}

fn none_if_unsupported(list: SysCall<Vec<u8>>) -> SysCall<Vec<Vec<u8>>> {
    match list {
        Ok(list) => Ok(split(&list)),
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}

/// The names of an open file's attributes; none where the file system has none.
pub fn list(fd: impl AsFd) -> SysCall<Vec<Vec<u8>>> {
    // Most inodes have none: one call with a buffer on the stack says so.
    let mut small = [0u8; 512];
    match retry(|| rustix::fs::flistxattr(&fd, &mut small)) {
        Ok(len) => Ok(split(&small[..len])),
        Err(Errno::RANGE) => none_if_unsupported(grow(|buf| rustix::fs::flistxattr(&fd, buf))),
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}

/// One attribute of an open file.
pub fn get(fd: impl AsFd, name: &[u8]) -> SysCall<Option<Vec<u8>>> {
    absent(grow(|buf| rustix::fs::fgetxattr(&fd, name, buf)))
}

fn absent(value: SysCall<Vec<u8>>) -> SysCall<Option<Vec<u8>>> {
    match value {
        // A capability: see `is_hidden`.
        Err(Errno::OVERFLOW) => Ok(Some(Vec::new())),
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// All attributes of an open file.
pub fn get_all(fd: impl AsFd) -> SysCall<Pairs> {
    let mut pairs = Vec::new();
    for name in list(&fd)? {
        if let Some(value) = get(&fd, &name)? {
            pairs.push((name, value));
        }
    }
    Ok(pairs)
}

/// Sets one attribute of an open file.
pub fn set(fd: impl AsFd, name: &[u8], value: &[u8]) -> SysCall<()> {
    retry(|| rustix::fs::fsetxattr(&fd, name, value, XattrFlags::empty()))
}

/// Sets one attribute of an open file that has it already; ENODATA else.
pub fn replace(fd: impl AsFd, name: &[u8], value: &[u8]) -> SysCall<()> {
    retry(|| rustix::fs::fsetxattr(&fd, name, value, XattrFlags::REPLACE))
}

/// Removes one attribute of an open file; it need not be there.
pub fn remove(fd: impl AsFd, name: &[u8]) -> SysCall<()> {
    match retry(|| rustix::fs::fremovexattr(&fd, name)) {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        other => other,
    }
}

/// The path of `name` in `dir` through procfs; the last component is never followed by the
/// `l*xattr` calls.
fn proc_path(dir: impl AsFd, name: &[u8]) -> Vec<u8> {
    let mut path = fd::path(dir).into_bytes();
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

/// The names of the attributes of `name` in `dir`; a symbolic link's own.
pub fn list_at(dir: impl AsFd, name: &[u8]) -> SysCall<Vec<Vec<u8>>> {
    let path = proc_path(&dir, name);
    // Most inodes have none: one call with a buffer on the stack says so.
    let mut small = [0u8; 512];
    match retry(|| rustix::fs::llistxattr(path.as_slice(), &mut small)) {
        Ok(len) => Ok(split(&small[..len])),
        Err(Errno::RANGE) => {
            none_if_unsupported(grow(|buf| rustix::fs::llistxattr(path.as_slice(), buf)))
        }
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}

/// All attributes of `name` in `dir`; a symbolic link's own.
pub fn get_all_at(dir: impl AsFd, name: &[u8]) -> SysCall<Pairs> {
    let path = proc_path(&dir, name);
    let names = list_at(&dir, name)?;
    let mut pairs = Vec::with_capacity(names.len());
    for attr in names {
        let value = grow(|buf| rustix::fs::lgetxattr(path.as_slice(), attr.as_slice(), buf));
        if let Some(value) = absent(value)? {
            pairs.push((attr, value));
        }
    }
    Ok(pairs)
}

/// All attributes of the inode that an `O_PATH` descriptor holds, a symbolic link's own included.
pub fn get_all_held(fd: impl AsFd) -> SysCall<Pairs> {
    // The jump through procfs ends at the inode itself.
    let path = fd::path(fd);
    let names = none_if_unsupported(grow(|buf| rustix::fs::listxattr(path.as_str(), buf)))?;
    let mut pairs = Vec::with_capacity(names.len());
    for attr in names {
        let value = grow(|buf| rustix::fs::getxattr(path.as_str(), attr.as_slice(), buf));
        if let Some(value) = absent(value)? {
            pairs.push((attr, value));
        }
    }
    Ok(pairs)
}

/// One attribute of `name` in `dir`; a symbolic link's own.
pub fn get_at(dir: impl AsFd, name: &[u8], attr: &[u8]) -> SysCall<Option<Vec<u8>>> {
    let path = proc_path(&dir, name);
    absent(grow(|buf| {
        rustix::fs::lgetxattr(path.as_slice(), attr, buf)
    }))
}

/// Sets one attribute of `name` in `dir`; a symbolic link's own.
pub fn set_at(dir: impl AsFd, name: &[u8], attr: &[u8], value: &[u8]) -> SysCall<()> {
    let path = proc_path(&dir, name);
    retry(|| rustix::fs::lsetxattr(path.as_slice(), attr, value, XattrFlags::empty()))
}

/// Removes one attribute of `name` in `dir`; it need not be there.
pub fn remove_at(dir: impl AsFd, name: &[u8], attr: &[u8]) -> SysCall<()> {
    let path = proc_path(&dir, name);
    match retry(|| rustix::fs::lremovexattr(path.as_slice(), attr)) {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        other => other,
    }
}

/// The extended attributes in which overlayfs keeps its marks. A layer store uses one of them
/// throughout: read with the wrong one, deleted files come back without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// `trusted.overlay.*`; needs CAP_SYS_ADMIN in the initial user namespace.
    Trusted,
    /// `user.overlay.*`; mounted with `userxattr` (Linux 5.11).
    User,
}

impl Marks {
    /// The prefix of every mark.
    pub fn prefix(self) -> &'static [u8] {
        match self {
            Marks::Trusted => OVERLAY_PREFIXES[0],
            Marks::User => OVERLAY_PREFIXES[1],
        }
    }

    /// The marks that this store does not use.
    pub fn other(self) -> Marks {
        match self {
            Marks::Trusted => Marks::User,
            Marks::User => Marks::Trusted,
        }
    }

    /// What a mark is called without its prefix; none for what is no mark of this spelling.
    pub fn name_of(self, attribute: &[u8]) -> Option<&[u8]> {
        attribute.strip_prefix(self.prefix())
    }

    /// The name of one attribute, as `opaque`.
    pub fn attribute(self, name: &str) -> Vec<u8> {
        [self.prefix(), name.as_bytes()].concat()
    }

    /// The attribute that hides all that lower layers have in a directory.
    pub fn opaque(self) -> &'static [u8] {
        match self {
            Marks::Trusted => b"trusted.overlay.opaque",
            Marks::User => b"user.overlay.opaque",
        }
    }
}
