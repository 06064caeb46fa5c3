//! Trials that mount. Every mount is detached and ends with its descriptor, but for the one that
//! is attached on purpose.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, fgetxattr, statat, unlinkat};
use rustix::io::Errno;

use super::files::{is_whiteout, wrong};
use super::room::{DIR, Room, file, make, names};
use crate::error::{Error, Result, SysResult};
use crate::mount::overlay::{Refusal, overlay_by};
use crate::mount::plan::{Api, Lowers, Marks, Overlay, Upper};
use crate::mount::{self, oracle as ask, point};
use crate::sys::fs::open_at;

/// Directories for an overlay.
struct Parts {
    lowers: Vec<OwnedFd>,
    upper: OwnedFd,
    work: OwnedFd,
    scratch: OwnedFd,
}

impl Parts {
    fn new(room: &Room<'_>, name: &str) -> Result<Self> {
        let dir = room.make(name)?;
        Ok(Parts {
            lowers: vec![make(&dir, "near")?, make(&dir, "far")?],
            upper: make(&dir, "upper")?,
            work: make(&dir, "work")?,
            scratch: make(&dir, "scratch")?,
        })
    }

    fn plan(&self, marks: Marks) -> Overlay<'_> {
        Overlay {
            upper: Some(Upper {
                upper: self.upper.as_fd(),
                work: self.work.as_fd(),
            }),
            scratch: Some(self.scratch.as_fd()),
            ..Overlay::new(Lowers::open_already(&self.lowers), marks)
        }
    }
}

/// Opens the root of a detached mount for reading.
fn root(mount: &OwnedFd) -> Result<OwnedFd> {
    open_at(mount, ".", DIR, rustix::fs::Mode::empty()).call("open")
}

/// An upper that can be used: some failures show only when something is deleted, not when it is
/// mounted.
pub(super) fn upper(room: &Room<'_>, name: &str, marks: Marks) -> Result<()> {
    let parts = Parts::new(room, name)?;
    let far = parts.lowers.last().ok_or_else(|| wrong("no lower"))?;
    file(far, "gone", b"lower")?;
    file(far, "kept", b"lower")?;
    file(make(far, "tree")?, "gone", b"lower")?;

    let mount = mount::overlay(&parts.plan(marks))?;
    let merged = root(&mount.fd)?;
    file(&merged, "made", b"upper")?;
    unlinkat(&merged, "gone", AtFlags::empty()).call_at("unlink", "gone")?;
    unlinkat(&merged, "tree/gone", AtFlags::empty()).call_at("unlink", "tree/gone")?;
    unlinkat(&merged, "tree", AtFlags::REMOVEDIR).call_at("rmdir", "tree")?;
    make(&merged, "tree")?;
    looks_right(&merged)?;
    drop((merged, mount));

    is_whiteout(&parts.upper, "gone")?;
    let tree = open_at(&parts.upper, "tree", DIR, rustix::fs::Mode::empty()).call("open")?;
    let mut value = [0u8; 8];
    let opaque = marks.attribute("opaque");
    let length = fgetxattr(&tree, opaque.as_slice(), &mut value).call("fgetxattr(opaque)")?;
    if value.get(..length) != Some(b"y") {
        return Err(wrong("a directory made anew is not marked opaque"));
    }

    // Again, from what is on disk.
    let mount = mount::overlay(&parts.plan(marks))?;
    looks_right(&root(&mount.fd)?)
}

fn looks_right(merged: &OwnedFd) -> Result<()> {
    let seen: Vec<Vec<u8>> = names(merged)?.into_iter().map(|(name, _)| name).collect();
    let wanted: [&[u8]; 3] = [b"kept", b"made", b"tree"];
    if seen != wanted {
        return Err(wrong("the merged directory lists what it must not"));
    }
    for gone in ["gone", "tree/gone"] {
        match statat(merged, gone, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::sys(errno, "stat").at(gone)),
            Ok(_) => return Err(wrong("what was deleted is still there").at(gone)),
        }
    }
    Ok(())
}

/// A volatile overlay marks its work directory, so that a crash shows.
pub(super) fn volatile(room: &Room<'_>, marks: Marks) -> Result<()> {
    let parts = Parts::new(room, "volatile")?;
    let mount = mount::overlay(&Overlay {
        volatile: true,
        ..parts.plan(marks)
    })?;
    file(root(&mount.fd)?, "made", b"upper")?;
    let mark = "work/incompat/volatile";
    statat(&parts.work, mark, AtFlags::SYMLINK_NOFOLLOW).call_at("stat", mark)?;
    Ok(())
}

/// One way to mount, without an upper: it works where an upper does not.
pub(super) fn way(room: &Room<'_>, api: Api, marks: Marks) -> Result<()> {
    let parts = Parts::new(room, &format!("way-{api:?}"))?;
    let [near, far] = parts.lowers.as_slice() else {
        return Err(wrong("no lowers"));
    };
    file(near, "near", b"")?;
    file(far, "far", b"")?;
    let plan = Overlay {
        upper: None,
        ..parts.plan(marks)
    };
    let mount = overlay_by(api, &plan).map_err(|refusal| match refusal {
        Refusal::Absent { why, .. } => why,
        Refusal::Failed(error) => error,
    })?;
    if names(root(&mount)?)?.len() != 2 {
        return Err(wrong("the overlay does not show both lowers"));
    }
    Ok(())
}

pub(super) fn bind_read_only(room: &Room<'_>) -> Result<()> {
    let dir = room.make("bind")?;
    let mount = point::bind(dir.as_fd(), true, None)?;
    match file(root(&mount)?, "made", b"") {
        Err(error) if error.errno() == Errno::ROFS => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(wrong("a read-only mount takes writes")),
    }
}

pub(super) fn attach(room: &Room<'_>) -> Result<()> {
    let dir = room.make("attach")?;
    let shown = make(&dir, "shown")?;
    let target = make(&dir, "target")?;
    file(&shown, "seen", b"")?;
    let scratch = make(&dir, "scratch")?;
    let mount = point::bind(shown.as_fd(), false, Some(scratch.as_fd()))?;
    let id = mount::identity(mount.as_fd())?;
    point::attach(mount.as_fd(), target.as_fd())?;
    let seen = statat(&dir, "target/seen", AtFlags::SYMLINK_NOFOLLOW).call("stat");
    drop(mount);
    // First the end of the mount, whatever was seen.
    point::unmount_at(dir.as_fd(), b"target", id, true)?;
    seen?;
    Ok(())
}

pub(super) fn statmount(room: &Room<'_>) -> Result<()> {
    let dir = room.make("statmount")?;
    let id = mount::identity(dir.as_fd())?;
    if !id.unique {
        return Err(wrong("statx does not tell unique mount ids (Linux 6.8)"));
    }
    let told = crate::sys::mount::statmount(id.id).call("statmount")?;
    if told.unique_id != id.id {
        return Err(wrong("statmount tells of another mount"));
    }
    Ok(())
}

pub(super) fn oracle(room: &Room<'_>, marks: Marks) -> Result<()> {
    let parts = Parts::new(room, "oracle")?;
    let upper = parts.upper.as_fd();
    ask::self_check(parts.scratch.as_fd(), upper, parts.work.as_fd(), marks)
}
