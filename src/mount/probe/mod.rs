//! What this kernel, this file system and this caller can do together, found by doing it.
//!
//! No version is read and nothing is remembered: a filter may come later, another directory may be
//! on another file system. Whoever asks keeps the answer for as long as it is sure.

mod files;
mod mounts;
pub(super) mod room;

use std::os::fd::BorrowedFd;

use crate::error::Result;
use crate::mount::plan::{Api, Marks};
use room::Room;

/// One thing that works or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// It was done, and the result was looked at.
    pub ok: bool,
    /// Why not; empty when it works.
    pub reason: String,
}

impl From<Result<()>> for Capability {
    fn from(result: Result<()>) -> Self {
        match result {
            Ok(()) => Capability {
                ok: true,
                reason: String::new(),
            },
            Err(error) => Capability {
                ok: false,
                reason: error.to_string(),
            },
        }
    }
}

/// Everything that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// `trusted.*` attributes can be set.
    pub trusted_xattrs: Capability,
    /// `user.*` attributes can be set.
    pub user_xattrs: Capability,
    /// A whiteout can be made: a character device 0:0.
    pub whiteout_nodes: Capability,
    /// An upper here, with `trusted.overlay.*` marks: files and directories made and deleted, and
    /// the merged view right now and after a remount.
    pub overlay_trusted: Capability,
    /// The same with `user.overlay.*` marks.
    pub overlay_user: Capability,
    /// `volatile` uppers.
    pub volatile: Capability,
    /// Lowers by descriptor (Linux 6.13).
    pub by_descriptor: Capability,
    /// Lowers by `lowerdir+` (Linux 6.7).
    pub by_string: Capability,
    /// mount(2), and a detached clone of what it mounted.
    pub by_mount: Capability,
    /// A detached read-only bind.
    pub bind_read_only: Capability,
    /// A detached mount attached to a directory, and unmounted there.
    pub attach: Capability,
    /// statmount(2).
    pub statmount: Capability,
    /// [`super::oracle`].
    pub oracle: Capability,
    /// FICLONE.
    pub reflink: Capability,
    /// copy_file_range(2).
    pub copy_file_range: Capability,
    /// O_TMPFILE, and a name given afterwards.
    pub tmpfile: Capability,
    /// RENAME_EXCHANGE of directories.
    pub rename_exchange: Capability,
    /// RENAME_NOREPLACE of directories.
    pub rename_noreplace: Capability,
    /// readdir tells the types of entries; overlayfs needs it of an upper.
    pub d_type: Capability,
    /// openat2(2), with RESOLVE_BENEATH.
    pub openat2: Capability,
}

impl Probe {
    /// All of them with their names.
    pub fn capabilities(&self) -> [(&'static str, &Capability); 20] {
        [
            ("trusted_xattrs", &self.trusted_xattrs),
            ("user_xattrs", &self.user_xattrs),
            ("whiteout_nodes", &self.whiteout_nodes),
            ("overlay_trusted", &self.overlay_trusted),
            ("overlay_user", &self.overlay_user),
            ("volatile", &self.volatile),
            ("by_descriptor", &self.by_descriptor),
            ("by_string", &self.by_string),
            ("by_mount", &self.by_mount),
            ("bind_read_only", &self.bind_read_only),
            ("attach", &self.attach),
            ("statmount", &self.statmount),
            ("oracle", &self.oracle),
            ("reflink", &self.reflink),
            ("copy_file_range", &self.copy_file_range),
            ("tmpfile", &self.tmpfile),
            ("rename_exchange", &self.rename_exchange),
            ("rename_noreplace", &self.rename_noreplace),
            ("d_type", &self.d_type),
            ("openat2", &self.openat2),
        ]
    }

    /// The marks that an upper here can have, the kernel's own before the user's.
    pub fn marks(&self) -> Option<Marks> {
        if self.overlay_trusted.ok {
            Some(Marks::Trusted)
        } else if self.overlay_user.ok {
            Some(Marks::User)
        } else {
            None
        }
    }
}

/// Tries everything in a new directory below `scratch`, which is removed again with all that is in
/// it. An error means that the directory could not be made or removed; whatever else fails is a
/// capability that is not there.
pub fn probe(scratch: BorrowedFd<'_>) -> Result<Probe> {
    let room = Room::new(scratch)?;
    let all = try_all(&room);
    room.remove()?;
    Ok(all)
}

/// Tries only whether an upper with `marks` works below `scratch`.
pub fn probe_upper(scratch: BorrowedFd<'_>, marks: Marks) -> Result<Capability> {
    let room = Room::new(scratch)?;
    let answer = mounts::upper(&room, "upper", marks);
    room.remove()?;
    Ok(answer.into())
}

fn try_all(room: &Room<'_>) -> Probe {
    let overlay_trusted = Capability::from(mounts::upper(room, "trusted", Marks::Trusted));
    let overlay_user = Capability::from(mounts::upper(room, "user", Marks::User));
    let marks = if !overlay_trusted.ok && overlay_user.ok {
        Marks::User
    } else {
        Marks::Trusted
    };
    Probe {
        trusted_xattrs: files::xattr(room, Marks::Trusted).into(),
        user_xattrs: files::xattr(room, Marks::User).into(),
        whiteout_nodes: files::whiteout(room).into(),
        overlay_trusted,
        overlay_user,
        volatile: mounts::volatile(room, marks).into(),
        by_descriptor: mounts::way(room, Api::Descriptors, marks).into(),
        by_string: mounts::way(room, Api::Strings, marks).into(),
        by_mount: mounts::way(room, Api::Legacy, marks).into(),
        bind_read_only: mounts::bind_read_only(room).into(),
        attach: mounts::attach(room).into(),
        statmount: mounts::statmount(room).into(),
        oracle: mounts::oracle(room, marks).into(),
        reflink: files::reflink(room).into(),
        copy_file_range: files::copy_range(room).into(),
        tmpfile: files::tmpfile(room).into(),
        rename_exchange: files::exchange(room).into(),
        rename_noreplace: files::no_replace(room).into(),
        d_type: files::d_type(room).into(),
        openat2: files::openat2(room).into(),
    }
}
