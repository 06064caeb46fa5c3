//! Mounts and places: bind, attach, unmount.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount};

use super::fd_path;
use super::identity::{MountId, identity, root_at};
use super::place::{Place, clone_detached};
use crate::error::{Code, Error, Result, SysResult};
use crate::sys::fs::{open_at, open_dir_trusted};
use crate::sys::mount as sys;

/// A detached mount of the directory `dir` itself. Mounts below it are not part of it, and none
/// come or go later: it is private, though `dir` may be in a shared mount.
///
/// Linux 5.10 and 5.11 cannot say so of a detached mount; there it is made at a place of a moment in
/// `scratch`, and without one that is EOPNOTSUPP.
pub fn bind(
    dir: BorrowedFd<'_>,
    read_only: bool,
    scratch: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd> {
    let clone = clone_detached(dir).call("open_tree")?;
    match (sys::set_private(clone.as_fd(), read_only), scratch) {
        (Ok(()), _) => Ok(clone),
        (Err(Errno::NOSYS), Some(scratch)) => bind_at_place(clone.as_fd(), read_only, scratch),
        (Err(Errno::NOSYS), None) => Err(Error::new(
            Code::Unsupported,
            Errno::OPNOTSUPP,
            "a detached bind needs mount_setattr (Linux 5.12), or a scratch directory",
        )),
        (Err(errno), _) => Err(Error::sys(errno, "mount_setattr")),
    }
}

/// A clone keeps the flags of what it was cloned from, so: attach, remount, clone.
fn bind_at_place(
    clone: BorrowedFd<'_>,
    read_only: bool,
    scratch: BorrowedFd<'_>,
) -> Result<OwnedFd> {
    use nix::mount::{MsFlags, mount};
    let mut place = Place::new(scratch)?;
    move_mount(
        clone,
        "",
        CWD,
        place.path().as_str(),
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .call("move_mount")?;
    place.is_mounted();
    if read_only {
        // A remount says all flags anew; a locked one that is left out would be refused.
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(
            None::<&str>,
            place.path().as_str(),
            None::<&str>,
            flags | kept_flags(clone)?,
            None::<&str>,
        )
        .map_err(errno_of)
        .call("mount(remount)")?;
    }
    place.take()
}

fn kept_flags(mount: BorrowedFd<'_>) -> Result<nix::mount::MsFlags> {
    use nix::mount::MsFlags;
    use rustix::fs::StatVfsMountFlags as Is;
    let now = rustix::fs::fstatvfs(mount).call("fstatvfs")?.f_flag;
    let mut flags = MsFlags::empty();
    for (is, say) in [
        (Is::NODEV, MsFlags::MS_NODEV),
        (Is::NOSUID, MsFlags::MS_NOSUID),
        (Is::NOEXEC, MsFlags::MS_NOEXEC),
        (Is::NOATIME, MsFlags::MS_NOATIME),
        (Is::NODIRATIME, MsFlags::MS_NODIRATIME),
        (Is::RELATIME, MsFlags::MS_RELATIME),
    ] {
        if now.contains(is) {
            flags |= say;
        }
    }
    Ok(flags)
}

/// nix has an errno of its own.
pub(super) fn errno_of(errno: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(errno as i32)
}

/// Puts a detached mount on the directory `target`. Its descriptor stays usable, and keeps the
/// mount busy for a plain unmount until it is closed.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    move_mount(
        mount,
        "",
        target,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
    .call("move_mount")
}

/// The same on the directory that is open as `target`, to which `path` leads. A mount that covered the
/// path and ended since `target` was opened takes nothing any more: the one below it is meant then.
pub fn attach_at_path(mount: BorrowedFd<'_>, target: &OwnedFd, path: &[u8]) -> Result<()> {
    const TRIES: usize = 8;
    let mut result = attach(mount, target.as_fd());
    let mut before = None;
    for _ in 1..TRIES {
        match &result {
            Err(error) if matches!(error.errno(), Errno::NOENT | Errno::INVAL) => {}
            _ => break,
        }
        let Ok(there) = open_dir_trusted(CWD, path) else {
            break;
        };
        let tried = match before {
            Some(tried) => tried,
            None => identity(target.as_fd())?,
        };
        let now = identity(there.as_fd())?;
        if now == tried {
            break;
        }
        before = Some(now);
        result = attach(mount, there.as_fd());
    }
    result
}

/// Ends the mount on the entry `name` of `parent`, if it is the mount `expected`; another one there
/// is EBUSY, none is EINVAL. `lazy` detaches it now and lets it end with its last user; else a mount
/// that is used, be it by an open descriptor of this process, is EBUSY.
///
/// The kernel has no call that unmounts by id, so there is a moment between the check and the
/// call: something else is hit only if in that moment someone unmounts, or mounts over, the same
/// name. (A descriptor of the mount's root does no better: umount2 on its `/proc` link goes on to
/// whatever covers it, and the descriptor keeps the mount busy.)
pub fn unmount_at(
    parent: BorrowedFd<'_>,
    name: &[u8],
    expected: MountId,
    lazy: bool,
) -> Result<()> {
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
        return Err(Error::invalid(
            "a mount point is named by one path component",
        ));
    }
    match root_at(parent, name)? {
        None => return Err(not_a_mount().at(name)),
        Some(there) if there != expected => {
            return Err(Error::new(
                Code::Mounted,
                Errno::BUSY,
                format!("mount {there} is here, not mount {expected}"),
            )
            .at(name));
        }
        Some(_) => {}
    }
    let mut path = fd_path(parent).into_bytes();
    path.push(b'/');
    path.extend_from_slice(name);
    let mut flags = UnmountFlags::NOFOLLOW;
    if lazy {
        flags |= UnmountFlags::DETACH;
    }
    rustix::mount::unmount(path.as_slice(), flags).call_at("umount2", name)
}

/// As [`unmount_at`], by path. The last component is never followed.
pub fn unmount_path(path: &[u8], expected: MountId, lazy: bool) -> Result<()> {
    if path.is_empty() {
        return Err(Error::invalid("an empty path leads to no mount"));
    }
    let mut path = path;
    while let [start @ .., b'/'] = path {
        path = start;
    }
    let (parent, name): (&[u8], &[u8]) = match path.iter().rposition(|byte| *byte == b'/') {
        None => (b".", path),
        Some(0) => (b"/", path.get(1..).unwrap_or_default()),
        Some(at) => (
            path.get(..at).unwrap_or_default(),
            path.get(at + 1..).unwrap_or_default(),
        ),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let dir = open_at(CWD, parent, flags, Mode::empty()).call_at("open", parent)?;
    unmount_at(dir.as_fd(), name, expected, lazy).map_err(|error| error.below(parent))
}

fn not_a_mount() -> Error {
    Error::new(Code::System, Errno::INVAL, "nothing is mounted here")
}
