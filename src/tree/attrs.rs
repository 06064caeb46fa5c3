//! Putting attributes on inodes that were just made: owner, xattrs, mode and times, in the order
//! in which the kernel does not undo them.
//!
//! chown(2) strips set-id bits and file capabilities, so it comes first; an ACL sets mode bits,
//! so the mode follows it; times come last. What an unprivileged caller may not set is counted,
//! and is an error for a strict one.

use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::fs::{Kind, Meta, Time};
use crate::sys::ids::IdMaps;
use crate::sys::xattr::{self, Pairs};
use crate::sys::{BorrowedFd, OwnedFd, SysCall, fs};
use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;

/// What could be done in part only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Partial {
    /// Owners that could not be set.
    pub owners: u64,
    /// Extended attributes that could not be set.
    pub xattrs: u64,
    /// Device nodes that could not be made.
    pub devices: u64,
}

impl Partial {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Partial) -> Partial {
        Partial {
            owners: self.owners + other.owners,
            xattrs: self.xattrs + other.xattrs,
            devices: self.devices + other.devices,
        }
    }
}

/// An inode that attributes are put on: open, or by name where it cannot be opened.
#[derive(Clone, Copy)]
pub enum Inode<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A name in a directory; a symbolic link's own attributes.
    Named(BorrowedFd<'a>, &'a [u8]),
}

impl Inode<'_> {
    fn chown(self, uid: u32, gid: u32) -> SysCall<()> {
        match self {
            Inode::Open(fd) => fs::chown(fd, uid, gid),
            Inode::Named(dir, name) => fs::chown_at(dir, name, uid, gid),
        }
    }

    fn chmod(self, mode: u32) -> SysCall<()> {
        match self {
            Inode::Open(fd) => fs::chmod(fd, mode),
            Inode::Named(dir, name) => fs::chmod_at(dir, name, mode),
        }
    }

    fn stat(self) -> SysCall<Meta> {
        match self {
            Inode::Open(fd) => fs::stat(fd),
            Inode::Named(dir, name) => fs::stat_at(dir, name),
        }
    }

    /// Sets one extended attribute.
    pub fn set_xattr(self, name: &[u8], value: &[u8]) -> SysCall<()> {
        match self {
            Inode::Open(fd) => xattr::set(fd, name, value),
            Inode::Named(dir, base) => xattr::set_at(dir, base, name, value),
        }
    }

    /// Removes one extended attribute; it need not be there.
    pub fn remove_xattr(self, name: &[u8]) -> SysCall<()> {
        match self {
            Inode::Open(fd) => xattr::remove(fd, name),
            Inode::Named(dir, base) => xattr::remove_at(dir, base, name),
        }
    }

    /// The names of all extended attributes.
    pub fn xattr_names(self) -> SysCall<Vec<Vec<u8>>> {
        match self {
            Inode::Open(fd) => xattr::list(fd),
            Inode::Named(dir, base) => xattr::list_at(dir, base),
        }
    }

    /// One extended attribute.
    pub fn xattr(self, name: &[u8]) -> SysCall<Option<Vec<u8>>> {
        match self {
            Inode::Open(fd) => xattr::get(fd, name),
            Inode::Named(dir, base) => xattr::get_at(dir, base, name),
        }
    }

    /// All extended attributes.
    pub fn xattrs(self) -> SysCall<Pairs> {
        match self {
            Inode::Open(fd) => xattr::get_all(fd),
            Inode::Named(dir, base) => xattr::get_all_at(dir, base),
        }
    }

    /// Sets access and modification time.
    pub fn set_times(self, atime: Time, mtime: Time) -> SysCall<()> {
        match self {
            Inode::Open(fd) => fs::set_times(fd, atime, mtime),
            Inode::Named(dir, name) => fs::set_times_at(dir, name, atime, mtime),
        }
    }
}

/// Owner, mode and times to be put on an inode.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Attributes {
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub atime: Time,
    pub mtime: Time,
}

impl From<&Meta> for Attributes {
    fn from(meta: &Meta) -> Self {
        Attributes {
            kind: meta.kind,
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            atime: meta.atime,
            mtime: meta.mtime,
        }
    }
}

/// Puts attributes on inodes; knows whom new inodes belong to, so that no call says what is so
/// already.
#[derive(Debug)]
pub struct Setter {
    uid: u32,
    gid: u32,
    /// Refuse what can be done only in part.
    pub strict: bool,
    /// What was done in part.
    pub partial: Partial,
    /// Inodes that got extended attributes, where somebody wants to know.
    pub tagged: Option<HashSet<u64>>,
    /// Modes that would keep the caller out of directories in which he still has work to do, by
    /// inode; see [`shut`]. `None` for who puts modes on when all else is done, or may go anywhere.
    pub shut: Option<Shut>,
}

/// The modes that directories are still to get.
pub type Shut = HashMap<u64, u32>;

/// Set-user-id, set-group-id, sticky.
const SET_ID: u32 = 0o7000;

/// What the owner of a directory needs to work in it.
const OPEN_MODE: u32 = 0o700;

/// Whether modes keep the caller out of his own directories.
pub fn modes_bind() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    !capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::DAC_OVERRIDE))
}

/// Gives the directories at and below `root` the modes that were kept back.
pub fn shut(root: OwnedFd, modes: &Shut) -> Result<()> {
    if modes.is_empty() {
        return Ok(());
    }
    super::chain::directories(root, &mut |fd| {
        let meta = fs::stat(fd).call("statx")?;
        match modes.get(&meta.ino) {
            Some(&mode) => fs::chmod(fd, mode).call("fchmod"),
            None => Ok(()),
        }
    })
}

impl Setter {
    /// For the calling process.
    pub fn new(strict: bool) -> Self {
        Setter {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            strict,
            partial: Partial::default(),
            tagged: None,
            shut: None,
        }
    }

    /// Whether what is made in the directory with these attributes belongs to the caller's own
    /// user and group (it may be set-gid, or on a file system that inherits groups).
    pub fn makes_own(&self, dir: &Meta) -> bool {
        self.is_group(dir.gid)
    }

    /// Whether these are the caller's own user and group.
    pub fn is_own(&self, attrs: &Attributes) -> bool {
        attrs.uid == self.uid && attrs.gid == self.gid
    }

    /// Whether this is the group of what the caller makes.
    pub fn is_group(&self, gid: u32) -> bool {
        gid == self.gid
    }

    /// Puts owner, xattrs and mode on a new `inode`; `own` says that its owner is the caller's.
    /// Times are separate, since work on an inode may go on.
    pub fn put(
        &mut self,
        inode: Inode<'_>,
        attrs: &Attributes,
        xattrs: &Pairs,
        own: bool,
    ) -> Result<()> {
        self.put_on(inode, attrs, xattrs, own, None)
    }

    /// The same for an inode that is known to have had the mode `born` when it was made.
    pub fn put_on(
        &mut self,
        inode: Inode<'_>,
        attrs: &Attributes,
        xattrs: &Pairs,
        own: bool,
        born: Option<u32>,
    ) -> Result<()> {
        let mut mode = attrs.mode;
        if !(own && self.is_own(attrs)) {
            match inode.chown(attrs.uid, attrs.gid) {
                Ok(()) => {}
                // EINVAL: an owner that the user namespace does not map.
                Err(errno @ (Errno::PERM | Errno::INVAL)) => {
                    if self.strict {
                        return Err(Error::sys(errno, "chown")
                            .code_is(Code::Strict)
                            .context(format!("owner {}:{} cannot be set", attrs.uid, attrs.gid)));
                    }
                    self.partial.owners += 1;
                    // Set-id bits would now speak for the wrong owner.
                    mode &= 0o1777;
                }
                Err(errno) => return Err(Error::sys(errno, "chown")),
            }
        }
        for (name, value) in xattrs {
            self.put_xattr(inode, name, value)?;
        }
        if let (Some(tagged), false) = (&mut self.tagged, xattrs.is_empty()) {
            tagged.insert(inode.stat().call("statx")?.ino);
        }
        if let (Some(shut), Kind::Directory) = (&mut self.shut, attrs.kind) {
            let ino = inode.stat().call("statx")?.ino;
            // A number that another directory had may be told anew.
            shut.remove(&ino);
            if mode & OPEN_MODE != OPEN_MODE {
                shut.insert(ino, mode);
                mode |= OPEN_MODE;
            }
        }
        // An ACL sets bits of the mode; and a set-id bit may not have come through all this.
        let has_it = born == Some(mode) && xattrs.is_empty() && mode & SET_ID == 0;
        if attrs.kind != Kind::Symlink && !has_it {
            inode.chmod(mode).call("chmod")?;
        }
        Ok(())
    }

    /// Puts one extended attribute on `inode`.
    pub fn put_xattr(&mut self, inode: Inode<'_>, name: &[u8], value: &[u8]) -> Result<()> {
        let set = match xattr::is_hidden(name, value) {
            true => Err(Errno::PERM),
            false => inode.set_xattr(name, value),
        };
        let Err(errno) = set else {
            return Ok(());
        };
        let beyond_caller = match errno {
            Errno::PERM | Errno::OPNOTSUPP | Errno::ACCESS => true,
            Errno::INVAL => names_unmapped(name, value),
            _ => false,
        };
        if beyond_caller && !self.strict {
            self.partial.xattrs += 1;
            return Ok(());
        }
        let error = Error::sys(errno, "setxattr")
            .context(format!("extended attribute {}", name.escape_ascii()));
        Err(match beyond_caller {
            true => error.code_is(Code::Strict),
            false => error,
        })
    }

    /// Makes a device, FIFO or socket; false when the caller may not, which is counted.
    pub fn make_node(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        kind: Kind,
        rdev: (u32, u32),
    ) -> Result<bool> {
        match fs::mknod(dir, name, kind, 0o600, rdev) {
            Ok(()) => Ok(true),
            Err(Errno::PERM) if matches!(kind, Kind::CharDevice | Kind::BlockDevice) => {
                if self.strict {
                    return Err(Error::new(
                        Code::Strict,
                        Errno::PERM,
                        format!(
                            "device {}:{} cannot be made without privilege",
                            rdev.0, rdev.1
                        ),
                    ));
                }
                self.partial.devices += 1;
                Ok(false)
            }
            Err(errno) => Err(Error::sys(errno, "mknod")),
        }
    }
}

/// Whether an attribute holds a user or group that the caller's user namespace has not, for which the
/// kernel has the same errno as for one that is malformed: an entry of an ACL, or the root user of
/// the namespace in which a capability counts.
fn names_unmapped(name: &[u8], value: &[u8]) -> bool {
    const CAPABILITY_3: usize = 24;
    const USER: u16 = 2;
    const GROUP: u16 = 8;
    let word = |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).ok();
    let maps = IdMaps::read();
    if name == xattr::CAPABILITY && value.len() == CAPABILITY_3 {
        return word(&value[20..]).is_some_and(|root| !maps.has_user(root));
    }
    if name != ACCESS_ACL && name != DEFAULT_ACL {
        return false;
    }
    let entries = value.get(4..).unwrap_or_default().chunks_exact(8);
    entries.into_iter().any(|entry| {
        let id = word(&entry[4..]).unwrap_or_default();
        match u16::from_le_bytes([entry[0], entry[1]]) {
            USER => !maps.has_user(id),
            GROUP => !maps.has_group(id),
            _ => false,
        }
    })
}

/// The names of the two ACLs that a directory hands to what is made in it.
pub const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
/// See [`ACCESS_ACL`].
pub const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// Takes off a new directory what it inherited, so that nothing made in it inherits more. Whether there
/// was anything.
pub fn disinherit(dir: &OwnedFd) -> SysCall<bool> {
    let mut inherited = false;
    for name in xattr::list(dir)? {
        if name == ACCESS_ACL || name == DEFAULT_ACL {
            xattr::remove(dir.as_fd(), &name)?;
            inherited = true;
        }
    }
    Ok(inherited)
}

/// Gives a directory the attributes back that it had, as far as that can be done.
pub fn put_back(dir: &OwnedFd, before: &Meta, xattrs: &Pairs) {
    let fd = dir.as_fd();
    let now = fs::stat(fd);
    if !now.is_ok_and(|now| (now.uid, now.gid) == (before.uid, before.gid)) {
        let _ = fs::chown(fd, before.uid, before.gid);
    }
    for name in xattr::list(fd).unwrap_or_default() {
        if !xattrs.iter().any(|(had, _)| *had == name) {
            let _ = xattr::remove(fd, &name);
        }
    }
    for (name, value) in xattrs {
        let _ = xattr::set(fd, name, value);
    }
    let _ = fs::chmod(fd, before.mode);
    let _ = fs::set_times(fd, before.atime, before.mtime);
}
