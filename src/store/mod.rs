//! The store on the disk: layers, locks, and what may be done to them.
//!
//! ```text
//! home/
//!   ovl-store               format and marks
//!   layer/<id>/             everything about one layer
//!     meta  lower-id  manifest  child/<id>  root/  upper/ work/ merged/  pin/
//!   image/<name>/           an image: which layers, the manifest and config that it came with
//!     layers  manifest  config
//!   blob/sha256/<hex>       layers as they came, of images that keep them
//!   stage/<nonce>/          work in progress
//!   trash/<nonce>/          removed, not yet deleted
//! ```
//!
//! A layer appears by one rename out of `stage/` and goes by one rename into `trash/`; in between
//! it is always whole. Nothing here is remembered between calls but the open directories: what is
//! true is on the disk, in the locks, and in the mount table.

mod apply;
mod check;
mod children;
mod cleanup;
mod commit;
mod compare;
mod create;
mod damaged;
mod facts;
mod format;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
pub mod id;
mod image;
mod inspect;
mod known;
mod last_mount;
mod layer;
mod lock;
mod maker;
mod manifest;
mod meta;
mod mounts;
mod options;
mod pin;
mod query;
mod reach;
mod remove;
mod session;
mod stage;
mod stray;
mod sync;
mod text;
mod unmount;
mod usage;
mod verify;
mod ways;
mod worth;

pub use handle::Mount;
pub use image::{
    Archive, ConfigItem, ExportOptions, ImageInfo, ImageLayer, ImageRef, ImportFlags,
    ImportOptions, Target,
};
pub use options::*;

use self::maker::Maker;
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::dir::DirBuf;
pub use crate::sys::fs::Time;
use crate::sys::fs::{self, RenameFlags};
pub use crate::sys::thread::Threads;
use crate::sys::xattr::{self, Marks};
use crate::sys::{AsFd, BorrowedFd, Own, OwnedFd};
use crate::watch::Watch;
use once_cell::sync::OnceCell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// An open store. It may be shared between threads; each call locks what it needs.
pub struct Store {
    home: Own,
    layers: Arc<Own>,
    stage: Own,
    trash: Own,
    marks: Marks,
    read_only: bool,
    log: Option<Box<LogFn>>,
    /// Whether the home can hold an upper; tried when first asked.
    holds_upper: OnceCell<bool>,
    syncs: sync::GroupSync,
    known: known::Chains,
    /// Something was believed wrongly of an upper, and that could not be noted there.
    unsure: AtomicBool,
}

impl Store {
    /// Opens the store at `home`. A missing or empty directory becomes a store, unless
    /// [`OpenFlags::MUST_EXIST`] or [`OpenFlags::READ_ONLY`] is given.
    pub fn open(home: &[u8], options: OpenOptions) -> Result<Store> {
        Self::open_at(home, options).map_err(|e| e.at(home).op("open"))
    }

    fn open_at(home: &[u8], options: OpenOptions) -> Result<Store> {
        if home.is_empty() {
            return Err(Error::invalid("the store's path is empty"));
        }
        let make = !options
            .flags
            .intersects(OpenFlags::MUST_EXIST | OpenFlags::READ_ONLY);
        let dir = match fs::open_dir_trusted(rustix::fs::CWD, home) {
            Ok(dir) => dir,
            Err(Errno::NOENT) if make => make_home(home)?,
            Err(Errno::ACCESS) => return Err(not_ones_own(home)),
            Err(errno) => return Err(errno).call_at("open", home),
        };
        let format = match text::read(&dir, format::FILE) {
            Ok(data) => format::parse(&data)?,
            Err(Errno::NOENT) if make => initialise(&dir, options.marks)?,
            Err(Errno::NOENT) => {
                return Err(Error::new(
                    Code::Damaged,
                    Errno::NOENT,
                    "there is no store here",
                ));
            }
            Err(errno) => return Err(errno).call_at("read", format::FILE),
        };
        let wanted = match options.marks {
            MarksChoice::Auto => format.marks,
            MarksChoice::Trusted => Marks::Trusted,
            MarksChoice::User => Marks::User,
        };
        if wanted != format.marks {
            return Err(Error::invalid("the store was made with the other marks"));
        }
        lock::lock(
            &dir,
            lock::Mode::Shared,
            lock::PATIENCE,
            &mut Watch::default(),
        )
        .map_err(|e| match e.code() {
            Code::Locked => e.context("the store is being repaired"),
            _ => e,
        })?;
        let open = |name: &str| {
            fs::open_dir(&dir, name.as_bytes())
                .map(Own::new)
                .call_at("open", name)
        };
        Ok(Store {
            layers: Arc::new(open("layer")?),
            stage: open("stage")?,
            trash: open("trash")?,
            home: Own::new(dir),
            marks: format.marks,
            read_only: format.read_only || options.flags.contains(OpenFlags::READ_ONLY),
            log: options.log,
            holds_upper: OnceCell::new(),
            syncs: sync::GroupSync::default(),
            known: known::Chains::default(),
            unsure: AtomicBool::new(false),
        })
    }

    /// The spelling of the store's marks.
    pub fn marks(&self) -> Marks {
        self.marks
    }

    /// The absolute path of the store, as it is now.
    pub fn path(&self) -> Result<Vec<u8>> {
        path_of(self.home.as_fd())
    }

    /// EBADF where the host has closed one of the store's descriptors.
    pub(crate) fn check_descriptors(&self) -> Result<()> {
        let all = [&self.home, &*self.layers, &self.stage, &self.trash];
        all.into_iter().try_for_each(still_ours)
    }

    fn warn(&self, message: &str) {
        if let Some(log) = &self.log {
            log(LogLevel::Warning, message);
        }
    }

    /// EROFS where nothing may be changed.
    fn writable(&self) -> Result<()> {
        if self.read_only {
            return Err(Error::new(
                Code::System,
                Errno::ROFS,
                "the store is open for reading",
            ));
        }
        self.writable_disk()
    }

    /// EROFS on a disk that is read-only, now.
    fn writable_disk(&self) -> Result<()> {
        if fs::is_read_only(&self.home) {
            return Err(Error::new(
                Code::System,
                Errno::ROFS,
                "the store's file system is read-only: what is there can be read, and mounted \
                 read-only",
            ));
        }
        Ok(())
    }

    /// EPERM, with the reason, where the caller may not use the store's marks.
    fn need_marks(&self) -> Result<()> {
        if self.marks == Marks::User {
            return Ok(());
        }
        // No directory of ours has this attribute. Who may replace it is told that it is absent,
        // who may not is refused; nothing is written.
        match xattr::replace(&self.stage, TRY, b"y") {
            Ok(()) | Err(Errno::NODATA) => Ok(()),
            // So it says of a directory that nobody may change, too.
            Err(Errno::PERM) if fs::is_stuck(&self.stage) => {
                let error = Error::sys(Errno::PERM, "fsetxattr").at("stage");
                Err(may_be_stuck(error, &self.stage, b"."))
            }
            Err(Errno::PERM) => Err(Error::new(
                Code::Marks,
                Errno::PERM,
                "the store's overlay layers are marked by trusted.* attributes, which need \
                 CAP_SYS_ADMIN in the initial user namespace",
            )),
            Err(Errno::ROFS) => Ok(()),
            Err(errno) => Err(errno).call_at("fsetxattr", "stage"),
        }
    }
}

/// EBADF, with the reason, where a handle's descriptor is not the handle's any more.
fn still_ours(own: &Own) -> Result<()> {
    own.check().map_err(|errno| {
        let words = "a descriptor of the handle was closed by someone else";
        Error::new(Code::System, errno, words)
    })
}

const TRY: &[u8] = b"trusted.overlay.ovl-try";

/// Where an open directory is.
fn path_of(fd: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let link = crate::sys::fd::path(fd);
    fs::read_link(rustix::fs::CWD, link.as_bytes()).call_at("readlink", link)
}

/// Now, for `created`.
fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(Time::default(), |t| Time {
        sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
        nsec: t.subsec_nanos(),
    })
}

/// EACCES, and whose the store is, where that can be seen.
fn not_ones_own(home: &[u8]) -> Error {
    let error = Error::sys(Errno::ACCESS, "open").at(home);
    let caller = rustix::process::geteuid().as_raw();
    match fs::stat_at(rustix::fs::CWD, home) {
        Ok(there) if there.uid != caller => error.context(format!(
            "a store is its owner's alone, who is user {}; this is user {caller}",
            there.uid
        )),
        _ => error,
    }
}

/// Makes the directory `home`, and those that lead to it.
fn make_home(home: &[u8]) -> Result<OwnedFd> {
    let mut at = 0;
    while at < home.len() {
        let end = home[at..]
            .iter()
            .position(|&b| b == b'/')
            .map_or(home.len(), |len| at + len);
        let last = home[end..].iter().all(|&b| b == b'/');
        let mode = if last { 0o700 } else { 0o755 };
        if end > at {
            match fs::mkdir(rustix::fs::CWD, &home[..end], mode) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno).call_at("mkdir", &home[..end]),
            }
        }
        at = end + 1;
    }
    fs::open_dir_trusted(rustix::fs::CWD, home).call_at("open", home)
}

/// Makes a store of an empty directory. Whoever comes second finds it made.
fn initialise(home: &OwnedFd, choice: MarksChoice) -> Result<format::Format> {
    // Whoever made it keeps it locked, shared, as long as he has it open: nobody waits for that.
    let start = std::time::Instant::now();
    loop {
        let alone = lock::try_lock(home, lock::Mode::Exclusive)?;
        match text::read(home, format::FILE) {
            Ok(data) => return format::parse(&data),
            Err(Errno::NOENT) if alone => break,
            Err(Errno::NOENT) if start.elapsed() < lock::PATIENCE => {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            Err(Errno::NOENT) => {
                return Err(Error::new(
                    Code::Locked,
                    Errno::BUSY,
                    "another program has the directory locked, and makes no store of it",
                ));
            }
            Err(errno) => return Err(errno).call_at("read", format::FILE),
        }
    }
    for name in DirBuf::default()
        .sorted_names(again(home)?)
        .call("getdents64")?
    {
        if format::is_temporary(&name) {
            // One who was killed left it: the directory is locked, nobody else makes a store.
            fs::unlink(home, &name).call_at("unlink", &name)?;
            continue;
        }
        let ours = matches!(&name[..], b"layer" | b"stage" | b"trash" | b"lost+found");
        if !ours {
            return Err(Error::new(
                Code::NotEmpty,
                Errno::NOTEMPTY,
                "the directory has other things in it and is no store",
            ));
        }
    }
    fs::chmod(home, 0o700).call("chmod")?;
    let maker = Maker::of(home);
    for name in ["layer", "stage", "trash"] {
        match maker.mkdir(home, name.as_bytes()) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).call_at("mkdir", name),
        }
    }
    let marks = match choice {
        MarksChoice::Trusted => Marks::Trusted,
        MarksChoice::User => Marks::User,
        MarksChoice::Auto => match xattr::set(home, TRY, b"y") {
            Ok(()) => {
                xattr::remove(home, TRY).call("fremovexattr")?;
                Marks::Trusted
            }
            Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => Marks::User,
            // The choice is for ever.
            Err(errno) => return Err(errno).call("fsetxattr"),
        },
    };
    text::replace(
        home.as_fd(),
        format::FILE,
        format::write(marks).as_bytes(),
        true,
    )?;
    Ok(format::Format {
        marks,
        read_only: false,
    })
}

fn again(dir: &OwnedFd) -> Result<OwnedFd> {
    fs::open_dir_trusted(dir, b".").call("open")
}

const STUCK: &str = "it is immutable or append-only (see lsattr; chattr -i -a)";

/// Says what forbids a change of a directory, or of what is in it, where the kernel says EPERM.
fn may_be_stuck(error: Error, dir: impl AsFd, name: &[u8]) -> Error {
    if error.errno() != Errno::PERM {
        return error;
    }
    let there = fs::open_dir(&dir, name).or_else(|_| fs::open_file(&dir, name));
    if there.is_ok_and(fs::is_stuck) {
        return error.context(STUCK);
    }
    may_be_stuck_in(error, "its directory", dir)
}

/// The same of a directory that is called so.
fn may_be_stuck_in(error: Error, called: &str, dir: impl AsFd) -> Error {
    match error.errno() == Errno::PERM && fs::is_stuck(dir) {
        true => error.context(format!("{called}: {STUCK}")),
        false => error,
    }
}

/// Moves something into `trash/`; gives its name there.
fn to_trash(store: &Store, from: &OwnedFd, name: &[u8]) -> Result<String> {
    let nonce = fs::random_name().call("getrandom")?;
    fs::rename(
        from,
        name,
        &store.trash,
        nonce.as_bytes(),
        RenameFlags::NOREPLACE,
    )
    .call_at("rename", name)
    .map_err(|error| may_be_stuck(error, from, name))
    .map_err(|error| may_be_stuck_in(error, "trash", &store.trash))?;
    Ok(nonce)
}
