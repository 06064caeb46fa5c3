//! Whether a writable layer was shut down in order: `layer/<id>/running`.
//!
//! Whoever mounts a layer writable leaves the file, which names the kernel's boot. It goes when the
//! last user unmounts the layer: overlayfs syncs an upper then. Found in a later boot it says that
//! the machine went down meanwhile, and what was not synced may be lost. A mount that never syncs
//! leaves the file until the layer is committed or mounted otherwise, which syncs.
//!
//! A file that is not whole says the same as one of another boot. So it needs no sync where a file
//! system keeps the order in which names were made; others (btrfs) can have a file of the upper that
//! was synced on the disk before it.

use super::layer::Layer;
use super::lock::{self, Mode};
use super::pin;
use super::text;
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
    /// It is of this boot: the kernel has all that was written.
    Current {
        /// It never syncs.
        volatile: bool,
    },
    /// The machine went down meanwhile.
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
        Ok(data) => parse(&data, pin::known_boot()?),
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

fn parse(data: &[u8], now: &str) -> Session {
    let Ok(pairs) = text::pairs(data) else {
        return Session::Lost { volatile: false };
    };
    let is = |key: &str, value: &str| pairs.iter().any(|(k, v)| k == key && v == value);
    let volatile = is("volatile", "1");
    match !now.is_empty() && is("boot", now) {
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
            "the machine went down while the layer was mounted writable, and what was not synced \
             may be lost: {remedy}"
        ),
    )
    .at(&layer.id)
}

/// What was there before [`begin`].
pub struct Before(Option<Vec<u8>>);

/// Notes that the layer is about to be written, with its pins locked. It comes before the mount, which
/// leaves marks of its own.
pub fn begin(layer: &Layer, volatile: bool) -> Result<Before> {
    let text = format!(
        "boot={}\nvolatile={}\n",
        pin::known_boot()?,
        u8::from(volatile)
    );
    let before = match text::read(&layer.fd, FILE) {
        Ok(before) if before == text.as_bytes() => return Ok(Before(Some(before))),
        Ok(before) => Some(before),
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(errno).call_at("read", FILE),
    };
    match (&before, keeps_order(layer)?) {
        // Not whole after a power cut it says the same, so nothing is waited for.
        (None, true) => text::replace_soon(layer.fd.as_fd(), FILE, text.as_bytes())?,
        (_, ordered) => text::replace(layer.fd.as_fd(), FILE, text.as_bytes(), !ordered)?,
    }
    Ok(Before(before))
}

/// Whether no name reaches the disk before those that were made earlier.
fn keeps_order(layer: &Layer) -> Result<bool> {
    // ext4, xfs: one journal (ext2 and an ext4 without one cannot be told from ext4, and keep no
    // order of anything). tmpfs: no disk.
    const ORDERED: [i64; 3] = [0xef53, 0x5846_5342, 0x0102_1994];
    let kind = rustix::fs::fstatfs(&layer.fd).call("fstatfs")?.f_type as i64;
    Ok(ORDERED.contains(&kind))
}

/// The mount came to nothing: what was told before is told again, as far as that can be.
pub fn undo(layer: &Layer, before: Before) {
    let _ = match before.0 {
        // Without ours, the kernel's mark would say that it is lost.
        None if !matches!(marked_volatile(&layer.fd), Ok(false)) => Ok(()),
        None => forget(layer.fd.as_fd()),
        Some(text) => text::replace(layer.fd.as_fd(), FILE, &text, false),
    };
}

/// Says of a lost layer that it is, in our own words, before the kernel's are taken away.
pub fn keep_lost(layer: &Layer) -> Result<()> {
    match text::create(&layer.fd, FILE, b"boot=\nvolatile=1\n") {
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

/// Nothing is left to be told.
pub fn forget(layer: crate::sys::BorrowedFd<'_>) -> Result<()> {
    match fs::unlink(layer, FILE.as_bytes()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
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
    let pins = DirBuf::default().sorted_names(super::again(&aside)?);
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
    parse(data, "boot");
}
