//! What an overlay is made of, before anyone is asked to make it.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::error::{Error, Result, SysResult};

pub use crate::sys::xattr::Marks;

/// The lowers, nearest first. They are opened when they are needed, one at a time where the kernel
/// takes each as it comes, so that a long chain does not need as many descriptors; where one way to
/// mount is not there they are opened again for the next.
pub struct Lowers<'a> {
    count: usize,
    open: Box<dyn Fn(usize) -> Result<OwnedFd> + 'a>,
}

impl<'a> Lowers<'a> {
    /// `count` lowers, where `open(0)` opens the nearest. They may be opened with O_PATH.
    pub fn new(count: usize, open: impl Fn(usize) -> Result<OwnedFd> + 'a) -> Self {
        Lowers {
            count,
            open: Box::new(open),
        }
    }

    /// Lowers that are open already.
    pub fn open_already(lowers: &'a [OwnedFd]) -> Self {
        Self::new(lowers.len(), move |index| {
            let lower = lowers
                .get(index)
                .ok_or_else(|| Error::invalid(format!("there is no lower {index}")))?;
            crate::sys::fd::duplicate(lower).call("dup")
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Opens one.
    pub fn open(&self, index: usize) -> Result<OwnedFd> {
        (self.open)(index)
    }
}

/// Where changes go. Both directories are on one file system, under one mount.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// The changes.
    pub upper: BorrowedFd<'a>,
    /// Overlayfs's own directory.
    pub work: BorrowedFd<'a>,
}

/// An overlay to be made. `index`, `metacopy`, `redirect_dir`, `xino` and `nfs_export` are always
/// said to be off, whatever the kernel's defaults are, so that an upper looks the same everywhere.
pub struct Overlay<'a> {
    /// The lowers: at least one; without an upper at least two, as the kernel has it (a single
    /// one is its own read-only view: [`super::bind`] it).
    pub lowers: Lowers<'a>,
    /// Where changes go; without one the overlay is read-only.
    pub upper: Option<Upper<'a>>,
    /// Where the marks are.
    pub marks: Marks,
    /// Refuse writes, though there may be an upper.
    pub read_only: bool,
    /// Never sync the upper: after a crash it cannot be used again. Ignored without an upper.
    pub volatile: bool,
    /// SELinux label of every file (`context=`).
    pub label: Option<Vec<u8>>,
    /// What the mount table shows as the source.
    pub source: Vec<u8>,
    /// A directory on which nothing else happens, used by kernels that mount only by path
    /// (before Linux 6.7): a mount point of a moment is made in it. Without it such a kernel
    /// answers EOPNOTSUPP.
    pub scratch: Option<BorrowedFd<'a>>,
}

impl<'a> Overlay<'a> {
    /// A read-only overlay of `lowers`; set the rest as needed.
    pub fn new(lowers: Lowers<'a>, marks: Marks) -> Self {
        Overlay {
            lowers,
            upper: None,
            marks,
            read_only: false,
            volatile: false,
            label: None,
            source: b"overlay".to_vec(),
            scratch: None,
        }
    }

    /// Refuses what no kernel can make.
    pub(super) fn check(&self) -> Result<()> {
        match (self.lowers.count(), &self.upper) {
            (0, _) => Err(Error::invalid("an overlay needs a lower")),
            (1, None) => Err(Error::invalid(
                "an overlay without an upper needs two lowers; bind the one there is",
            )),
            _ => Ok(()),
        }
    }

    /// Options that are words.
    pub(super) fn flags(&self) -> Vec<&'static str> {
        let mut flags = Vec::new();
        if self.marks == Marks::User {
            flags.push("userxattr");
        }
        if self.volatile && self.upper.is_some() {
            flags.push("volatile");
        }
        flags
    }
}

/// Features that every overlay turns off. All of them are known to Linux 5.10; a later kernel may
/// drop one, and then there is nothing to turn off.
pub(super) const OFF: [(&str, &str); 5] = [
    ("index", "off"),
    ("metacopy", "off"),
    ("redirect_dir", "nofollow"),
    ("xino", "off"),
    ("nfs_export", "off"),
];

/// The way in which an overlay was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// fsopen and fsconfig, every directory by descriptor: Linux 6.13.
    Descriptors,
    /// fsopen and fsconfig, every directory as `/proc/thread-self/fd/N`: Linux 6.7.
    Strings,
    /// mount(2), all lowers in one string.
    Legacy,
}

/// A mount that is nowhere yet.
#[derive(Debug)]
pub struct Detached {
    /// The root of the mount, as open_tree or fsmount gave it (an O_PATH descriptor). The mount
    /// ends when the last copy is closed, unless it was attached.
    pub fd: OwnedFd,
    /// How it was made.
    pub api: Api,
}
