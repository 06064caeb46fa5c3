//! Which mount a descriptor is on.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxAttributes, StatxFlags, fstat, statx};
use rustix::io::Errno;

use crate::error::{Code, Error, Result, SysResult};
use crate::sys::fs::open_at;

/// `STATX_MNT_ID_UNIQUE`, Linux 6.8; rustix has no name for it.
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// The number of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MountId {
    /// The number.
    pub id: u64,
    /// Never given to another mount until the next boot (Linux 6.8). Else it is the small number
    /// that mountinfo shows, and may already belong to a later mount.
    pub unique: bool,
}

impl fmt::Display for MountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

fn look(dir: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> std::result::Result<Statx, Errno> {
    // Nothing is asked of the file itself, so a remote file system need not be.
    let flags = flags | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    statx(dir, name, flags, StatxFlags::MNT_ID | MNT_ID_UNIQUE)
}

fn id_of(found: &Statx) -> Result<MountId> {
    let told = StatxFlags::from_bits_retain(found.stx_mask);
    if !told.intersects(MNT_ID_UNIQUE | StatxFlags::MNT_ID) {
        return Err(Error::new(
            Code::Unsupported,
            Errno::OPNOTSUPP,
            "the kernel does not tell mount ids (Linux 5.8 does)",
        ));
    }
    Ok(MountId {
        id: found.stx_mnt_id,
        unique: told.contains(MNT_ID_UNIQUE),
    })
}

/// The mount that `fd` is on.
pub fn identity(fd: BorrowedFd<'_>) -> Result<MountId> {
    id_of(&look(fd, b"", AtFlags::EMPTY_PATH).call("statx")?)
}

/// Whether `fd` is the root of a mount: of a file system, or of a bind.
pub fn is_mount_root(fd: BorrowedFd<'_>) -> Result<bool> {
    let found = look(fd, b"", AtFlags::EMPTY_PATH).call("statx")?;
    root_flag(&found)
}

fn root_flag(found: &Statx) -> Result<bool> {
    if !found
        .stx_attributes_mask
        .contains(StatxAttributes::MOUNT_ROOT)
    {
        return Err(Error::new(
            Code::Unsupported,
            Errno::OPNOTSUPP,
            "the kernel does not tell mount roots (Linux 5.8 does)",
        ));
    }
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// The mount on the entry `name` of `dir`, the topmost if there are several; `None` when nothing is
/// mounted on it, or it is not there.
pub fn mounted_at(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<MountId>> {
    match root_at(dir, name) {
        Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR) => Ok(None),
        answer => answer,
    }
}

/// Whether an overlay has the directory `tree` as its uppermost: its root has the inode's number and
/// birth then, as long as all layers are on one file system.
pub fn shows(root: BorrowedFd<'_>, tree: BorrowedFd<'_>) -> Result<bool> {
    let birth = |fd: BorrowedFd<'_>| {
        let asked = StatxFlags::INO | StatxFlags::BTIME;
        let found = statx(fd, "", AtFlags::EMPTY_PATH, asked).call("statx")?;
        let told = found.stx_mask & asked.bits();
        let at = (found.stx_btime.tv_sec, found.stx_btime.tv_nsec);
        Ok::<_, Error>((found.stx_ino, told, at))
    };
    Ok(birth(root)? == birth(tree)?)
}

/// The mount on the entry `name` of `dir`, the topmost if there are several; `None` when nothing is
/// mounted on it.
pub(super) fn root_at(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<MountId>> {
    let found = look(dir, name, AtFlags::SYMLINK_NOFOLLOW).call_at("statx", name)?;
    Ok(if root_flag(&found)? {
        Some(id_of(&found)?)
    } else {
        None
    })
}

/// The unique id of whatever `path` is on, in the caller's root.
pub(super) fn unique_at(path: &[u8]) -> Option<u64> {
    let found = look(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let id = id_of(&found).ok()?;
    id.unique.then_some(id.id)
}

/// A number for the calling thread's mount namespace, the same for all that are in it: the
/// kernel's own id (Linux 6.11), else the inode of the namespace, which a later namespace may get
/// again.
pub fn namespace_id() -> Result<u64> {
    // Threads of one process may be in different namespaces.
    let path = "/proc/thread-self/ns/mnt";
    let namespace = open_at(CWD, path, OFlags::RDONLY, Mode::empty()).call_at("open", path)?;
    match crate::sys::mount::namespace_id(namespace.as_fd()) {
        Ok(id) => Ok(id),
        // Not known, or filtered; the inode is always there. Nothing else may give a namespace
        // another number than it had before.
        Err(Errno::NOTTY | Errno::NOSYS | Errno::INVAL | Errno::PERM | Errno::ACCESS) => {
            Ok(fstat(&namespace).call_at("fstat", path)?.st_ino)
        }
        Err(errno) => Err(errno).call_at("ioctl", path),
    }
}
