//! A mount point of a moment: older kernels mount by path alone, and what is mounted there can be
//! cloned into a detached mount, after which the place is not needed.
//!
//! The place is a new directory below one that the caller gave. Mounting on a directory that is
//! open already would not do: its descriptor goes on showing what the mount covers.
//!
//! While it lasts others can see the mount, and where the caller's directory lies in a shared mount
//! it propagates; so does its end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, mkdirat, unlinkat};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, OpenTreeFlags, UnmountFlags, mount_change, open_tree, unmount,
};

use super::fd_path;
use crate::error::{Error, Result, SysResult};
use crate::sys::fd::above_standard;

const PREFIX: &str = "mount.";

/// Whether this is the name of such a place: what is left of one by a kill may go.
pub fn is_scratch(name: &[u8]) -> bool {
    [PREFIX, super::probe::room::PREFIX]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix.as_bytes()))
        .is_some_and(|nonce| nonce.len() == 16 && nonce.iter().all(u8::is_ascii_hexdigit))
}

pub(super) struct Place<'a> {
    parent: BorrowedFd<'a>,
    name: String,
    mounted: bool,
}

impl<'a> Place<'a> {
    pub fn new(parent: BorrowedFd<'a>) -> Result<Self> {
        for _ in 0..64 {
            let name = format!("{PREFIX}{}", nonce()?);
            match mkdirat(parent, name.as_str(), Mode::RWXU) {
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::sys(errno, "mkdir").at(&name)),
                Ok(()) => {
                    return Ok(Place {
                        parent,
                        name,
                        mounted: false,
                    });
                }
            }
        }
        Err(Error::sys(Errno::EXIST, "mkdir"))
    }

    /// The path to mount on.
    pub fn path(&self) -> String {
        format!("{}/{}", fd_path(self.parent), self.name)
    }

    /// Tells that something is mounted here now, so that it ends with the place.
    pub fn is_mounted(&mut self) {
        self.mounted = true;
    }

    /// A detached clone of what is mounted here; the place and its own mount are gone afterwards.
    pub fn take(mut self) -> Result<OwnedFd> {
        // Mounted in a shared mount it is shared too, and so would the clone be.
        mount_change(self.path().as_str(), MountPropagationFlags::PRIVATE)
            .call("mount(private)")?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW
            | OpenTreeFlags::AT_NO_AUTOMOUNT;
        let clone = above_standard(|| open_tree(self.parent, self.name.as_str(), flags));
        let clone = clone.call("open_tree")?;
        self.end()?;
        Ok(clone)
    }

    fn end(&mut self) -> Result<()> {
        if std::mem::take(&mut self.mounted) {
            unmount(
                self.path().as_str(),
                UnmountFlags::DETACH | UnmountFlags::NOFOLLOW,
            )
            .call("umount2")?;
        }
        let name = std::mem::take(&mut self.name);
        if !name.is_empty() {
            unlinkat(self.parent, name.as_str(), AtFlags::REMOVEDIR).call("rmdir")?;
        }
        Ok(())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Only after a failure, and that is what the caller is told.
        let _ = self.end();
    }
}

/// A detached clone of the mount that `dir` is in, with `dir` as its root; shared as that is.
pub(super) fn clone_detached(dir: impl AsFd) -> std::result::Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    above_standard(|| open_tree(dir, "", flags))
}

/// Sixteen hex digits that nobody else has.
pub(super) fn nonce() -> Result<String> {
    let mut bytes = [0u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).call("getrandom")?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}
