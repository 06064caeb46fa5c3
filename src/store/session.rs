//! Whether a writable layer was shut down in order: `layer/<id>/running`.
//!
//! Whoever mounts a layer writable leaves the file, which names the kernel's boot and the mounting of
//! the disk. It goes when the last user unmounts the layer: overlayfs syncs an upper then. Found in
//! another boot, or after the disk was mounted anew, it says that what the kernel had in memory may
//! be lost. A mount that never syncs leaves the file until the layer is committed or mounted
//! otherwise, which syncs.
//!
//! The file's name has to be on the disk before anything of what is written under it; what is in the
//! file has not, unless the mount never syncs: one that is not whole says that the layer was lost. A journal (ext4, xfs) keeps
//! names in order, so nothing is waited for while the upper is empty: what is written then has a name
//! that comes after this one. A file that is there already is written in place, which makes no name
//! and waits for no journal (fdatasync(2), writeback). Other file systems (btrfs) can bring a new
//! file to the disk alone. There the directory is synced first.

use super::layer::Layer;
use super::lock::{self, Mode};
use super::maker::Maker;
use super::pin::{self, Pins};
use super::text::{self, Way};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::mount::{self, oracle};
use crate::sys::dir::DirBuf;
use crate::sys::fs;
use crate::sys::xattr::Marks;
use crate::sys::{AsFd, OwnedFd};
use crate::tree::remove_tree;
use crate::watch::Watch;

/// The name of the file.
pub const FILE: &str = "running";

/// What became of the last writable mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// There was none, or it ended in order.
    Ended,
    /// It is of this boot and this mounting of the disk: the kernel has all that was written.
    Current {
        /// It never syncs.
        volatile: bool,
    },
    /// The machine went down meanwhile, or the disk was mounted anew.
    Lost {
        /// It never synced.
        volatile: bool,
    },
}

/// What the layer's last writable mount left.
pub fn of(layer: &Layer) -> Result<Session> {
    read(layer.fd.as_fd())
}

fn read(layer: crate::sys::BorrowedFd<'_>) -> Result<Session> {
    let told = match text::read(layer, FILE) {
        Ok(data) => parse(&data, pin::known_boot()?, fs::instance(layer).as_deref()),
        Err(Errno::NOENT) => Session::Ended,
        // No file: nothing of ours says anything.
        Err(Errno::ISDIR | Errno::LOOP | Errno::NXIO) => Session::Lost { volatile: false },
        Err(errno) => return Err(errno).call_at("read", FILE),
    };
    match told {
        // The kernel's mark of a volatile mount that others made tells no boot.
        Session::Ended | Session::Lost { .. } if marked_volatile(layer)? => {
            Ok(Session::Lost { volatile: true })
        }
        told => Ok(told),
    }
}

/// `disk` is the mounting of the disk now, where that can be told.
fn parse(data: &[u8], now: &str, disk: Option<&str>) -> Session {
    let Ok(pairs) = text::pairs(data) else {
        return Session::Lost { volatile: false };
    };
    let is = |key: &str, value: &str| pairs.iter().any(|(k, v)| k == key && v == value);
    let volatile = is("volatile", "1");
    // Where it could not be told then, or cannot now, the boot is all there is.
    let same_disk = |disk: &str| {
        let told = pairs.iter().find(|(key, _)| key == "disk");
        told.is_none_or(|(_, told)| told.is_empty() || told == disk)
    };
    match !now.is_empty() && is("boot", now) && disk.is_none_or(same_disk) {
        true => Session::Current { volatile },
        false => Session::Lost { volatile },
    }
}

fn marked_volatile(layer: impl AsFd) -> Result<bool> {
    let mark = b"work/work/incompat/volatile";
    match fs::open_path(layer, mark) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(errno).call_at("open", mark),
    }
}

/// EUCLEAN for a layer whose last writable mount was lost.
pub fn unclean(layer: &Layer, remedy: &str) -> Error {
    Error::new(
        Code::Unclean,
        Errno::from_raw_os_error(libc::EUCLEAN),
        format!(
            "the machine went down, or the disk was mounted anew, while the layer was mounted \
             writable, and what was not synced may be lost: {remedy}"
        ),
    )
    .at(&layer.id)
}

/// What was there before [`begin`].
pub struct Before {
    text: Option<Vec<u8>>,
    synced: bool,
}

/// Notes that the layer, whose open tree is `content`, is about to be written, with its pins locked. It
/// comes before the mount, which leaves marks of its own.
pub fn begin(layer: &Layer, content: &OwnedFd, pins: &Pins, volatile: bool) -> Result<Before> {
    let text = format!(
        "boot={}\nvolatile={}\ndisk={}\n",
        pin::known_boot()?,
        u8::from(volatile),
        fs::instance(&layer.fd).unwrap_or_default()
    );
    let (fd, text) = (layer.fd.as_fd(), text.as_bytes());
    let before = match text::read(fd, FILE) {
        Ok(before) if before == text => {
            return Ok(Before {
                text: Some(before),
                synced: false,
            });
        }
        Ok(before) => Some(before),
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(errno).call_at("read", FILE),
    };
    // An older text says after a power cut what the new one would.
    let empty = || {
        let empty = DirBuf::small().is_empty(content);
        // It may become a handle's, who reads it.
        let empty = empty.and_then(|empty| fs::rewind(content).map(|()| empty));
        empty.call_at("getdents64", layer.content())
    };
    let synced = before.is_none() && (!text::keeps_order(fd).call("fstatfs")? || !empty()?);
    let way = match (&before, synced) {
        (Some(_), _) => Way::Whole,
        // Only a whole one says that what was written was never to be synced.
        (None, true) if volatile => Way::Synced,
        (None, true) => Way::Named,
        (None, false) => Way::Soon,
    };
    let written = text::replace_by(fd, pins.maker(), FILE, text, way);
    let before = Before {
        text: before,
        synced,
    };
    if let Err(error) = written {
        // It may have come as far as the name.
        undo(layer, before);
        return Err(error);
    }
    Ok(before)
}

/// The mount came to nothing: what was told before is told again, as far as that can be.
pub fn undo(layer: &Layer, before: Before) {
    let _ = match before.text {
        // Without ours, the kernel's mark would say that it is lost.
        None if !matches!(marked_volatile(&layer.fd), Ok(false)) => Ok(()),
        None if before.synced => forget(layer.fd.as_fd()),
        None => clear(layer.fd.as_fd()).map(drop),
        Some(text) => text::replace(layer.fd.as_fd(), FILE, &text, false),
    };
}

/// Says of a lost layer that it is, in our own words, before the kernel's are taken away.
pub fn keep_lost(layer: &Layer) -> Result<()> {
    match text::create(
        &layer.fd,
        Maker::of(&layer.fd),
        FILE,
        b"boot=\nvolatile=1\n",
    ) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).call_at("create", FILE),
    }
}

/// Has what a volatile mount of this boot left on the disk, so that the layer can be trusted again.
/// The kernel keeps its upper to volatile mounts until its mark is gone.
pub fn settle(layer: &Layer) -> Result<()> {
    fs::sync_fs(&layer.fd).call("syncfs")?;
    drop_mark(layer)?;
    forget(layer.fd.as_fd())
}

/// Takes the kernel's mark of a volatile mount away.
pub fn drop_mark(layer: &Layer) -> Result<()> {
    if !marked_volatile(&layer.fd)? {
        return Ok(());
    }
    let work = fs::open_dir(&layer.fd, b"work/work").call_at("open", "work/work")?;
    remove_tree(&work, b"incompat", &mut Watch::default())
}

/// Nothing is left to be told, on the disk either: a power cut does not bring the file back.
pub fn forget(layer: crate::sys::BorrowedFd<'_>) -> Result<()> {
    match clear(layer)? {
        true => fs::sync(layer).call("fsync"),
        false => Ok(()),
    }
}

/// Takes the file away; says whether it was there.
pub fn clear(layer: crate::sys::BorrowedFd<'_>) -> Result<bool> {
    match fs::unlink(layer, FILE.as_bytes()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).call_at("unlink", FILE),
    }
}

/// A use of the layer ended, with its pins locked: if it was the last, and it was not volatile, the
/// layer was shut down in order. `handle` has the layer's mount lock, shared. Where it cannot be told
/// the file stays, which is the careful answer.
pub fn end(handle: &OwnedFd, marks: Marks) {
    let _ = try_end(handle, marks);
    // A forked child may have the descriptor too: what it keeps is a handle's lock, as before.
    let _ = lock::try_lock(handle, Mode::Shared);
}

/// The same where no handle is at hand, but the locked directory of the layer's pins.
pub fn end_by_pins(pins: &OwnedFd, marks: Marks) {
    for name in [&b"../work"[..], b"../root"] {
        if let Ok(handle) = fs::open_dir_trusted(pins, name) {
            end(&handle, marks);
        }
    }
}

fn try_end(handle: &OwnedFd, marks: Marks) -> Result<()> {
    let layer = fs::open_dir_trusted(handle, b"..").call("open")?;
    if read(layer.as_fd())? != (Session::Current { volatile: false })
        || !lock::try_lock(handle, Mode::Exclusive)?
    {
        return Ok(());
    }
    let aside = fs::open_dir(&layer, b"pin").call_at("open", "pin")?;
    let pins = DirBuf::small().sorted_names(super::again(&aside)?);
    let held = |name: &Vec<u8>| !mount::is_scratch(name);
    if pins.call_at("getdents64", "pin")?.iter().any(held) {
        // Another mount of it, which may be kept without a handle.
        return Ok(());
    }
    match fs::open_dir(&layer, b"upper") {
        // A copy of the mount in another namespace, or a descriptor, may go on writing.
        Ok(upper) => {
            if oracle::upper_in_use(upper.as_fd(), aside.as_fd(), marks)? != oracle::InUse::Free {
                return Ok(());
            }
        }
        // A tree that was written as it is.
        Err(Errno::NOENT) => fs::sync_fs(&layer).call("syncfs")?,
        Err(errno) => return Err(errno).call_at("open", "upper"),
    }
    forget(layer.as_fd())
}

/// Any bytes as the text of the file.
#[cfg(any(test, fuzzing))]
pub fn fuzzing(data: &[u8]) {
    parse(data, "boot", Some("ext4/vda:1"));
}
