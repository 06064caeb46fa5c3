//! Copying a tree, by content or by hard links.
//!
//! A new destination is made under a temporary name beside it and renamed at the end; an empty
//! directory is filled in place. Either way a failed copy leaves nothing behind. A directory's own
//! attributes are set when all that is in it is done, so its times and a mode that forbids writing
//! hold; until then it is 0700. An inode that got a second name by linking is never touched.

use super::attrs::{self, Partial};
use super::copier::Copier;
use super::remove;
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::dir::DirBuf;
use crate::sys::fs::RenameFlags;
use crate::sys::thread::Threads;
use crate::sys::{BorrowedFd, OwnedFd, fs, xattr};
use crate::watch::Watch;

bitflags::bitflags! {
    /// Choices of a copy.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CopyFlags: u64 {
        /// Link files to the source's instead of copying their content.
        const HARD_LINK = 1;
        /// Fail where otherwise something is done in part and counted.
        const STRICT = 2;
        /// Leave out overlayfs's own extended attributes (`trusted.overlay.*`, `user.overlay.*`).
        const NO_OVERLAY_XATTRS = 4;
        /// Write the destination's file system to the disk before the copy is shown.
        const SYNC = 8;
    }
}

/// Whether file content may be shared with the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reflink {
    /// Shared where the file system can, else copied; decided for each file.
    #[default]
    Auto,
    /// Shared, or the copy fails.
    Always,
    /// Never shared.
    Never,
}

/// How to copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyOptions {
    /// Choices.
    pub flags: CopyFlags,
    /// Whether content may be shared.
    pub reflink: Reflink,
    /// Whether the call may have threads of its own.
    pub threads: Threads,
}

/// What a copy did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyStats {
    /// Entries of the source, its root included.
    pub entries: u64,
    /// Directories.
    pub directories: u64,
    /// Regular files whose content was copied.
    pub copied: u64,
    /// Regular files whose content is shared (FICLONE).
    pub reflinked: u64,
    /// Names linked to an inode of the source.
    pub linked: u64,
    /// Names linked to an inode made by this copy (link groups).
    pub grouped: u64,
    /// Bytes of files copied or shared, holes included.
    pub bytes: u64,
    /// Names that could not be linked (EMLINK, EPERM) and were copied.
    pub link_fallbacks: u64,
    /// Other mounts in the source that were not entered.
    pub mounts_skipped: u64,
    /// Names that vanished, and files that changed, while the source was read: a file is then as
    /// far as it was read.
    pub vanished: u64,
    /// What could be done in part only.
    pub partial: Partial,
}

impl CopyStats {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: CopyStats) -> CopyStats {
        CopyStats {
            entries: self.entries + other.entries,
            directories: self.directories + other.directories,
            copied: self.copied + other.copied,
            reflinked: self.reflinked + other.reflinked,
            linked: self.linked + other.linked,
            grouped: self.grouped + other.grouped,
            bytes: self.bytes + other.bytes,
            link_fallbacks: self.link_fallbacks + other.link_fallbacks,
            mounts_skipped: self.mounts_skipped + other.mounts_skipped,
            vanished: self.vanished + other.vanished,
            partial: self.partial.plus(other.partial),
        }
    }
}

/// Copies the directory `src` to `dst`, which must not exist or be an empty directory.
///
/// Both are paths of the caller's, relative to the directories given; symbolic links in them are
/// followed. ENOTEMPTY when `dst` has entries, EEXIST when it is no directory, EINVAL when it
/// lies in `src`, EXDEV for hard links across file systems.
pub fn copy_dir(
    src_dir: BorrowedFd<'_>,
    src: &[u8],
    dst_dir: BorrowedFd<'_>,
    dst: &[u8],
    options: &CopyOptions,
    watch: &mut Watch<'_>,
) -> Result<CopyStats> {
    (|| {
        watch.check()?;
        let source = fs::open_dir_trusted(src_dir, src).call_at("open", src)?;
        match fs::open_dir_trusted(dst_dir, dst) {
            Ok(fd) => fill(source, fd, options, watch).map_err(|e| e.below(dst)),
            Err(Errno::NOENT) => create(source, dst_dir, dst, options, watch),
            Err(Errno::NOTDIR) => Err(Error::sys(Errno::EXIST, "open").at(dst)),
            Err(errno) => Err(errno).call_at("open", dst),
        }
    })()
    .map_err(|e| e.op("copy_dir"))
}

/// Copies into the empty directory `dst`.
fn fill(
    source: OwnedFd,
    dst: OwnedFd,
    options: &CopyOptions,
    watch: &mut Watch<'_>,
) -> Result<CopyStats> {
    if !DirBuf::default().is_empty(&dst).call("getdents64")? {
        return Err(Error::new(
            Code::NotEmpty,
            Errno::NOTEMPTY,
            "the destination has entries",
        ));
    }
    refuse_inside(&source, &dst)?;
    let before = fs::stat(&dst).call("statx")?;
    let xattrs = xattr::get_all(&dst).call("fgetxattr")?;
    let result = Copier::new(options).and_then(|mut copier| {
        fs::chmod(&dst, 0o700).call("fchmod")?;
        copier.run(source, clone_fd(&dst)?, watch)?;
        copier.finish(&dst)
    });
    if result.is_err() {
        // Best effort: the error in hand is the one to tell.
        let _ = clone_fd(&dst).and_then(|fd| remove::remove_contents(fd, &mut Watch::default()));
        attrs::put_back(&dst, &before, &xattrs);
    }
    result
}

/// Copies to the new name `dst`.
fn create(
    source: OwnedFd,
    dst_dir: BorrowedFd<'_>,
    dst: &[u8],
    options: &CopyOptions,
    watch: &mut Watch<'_>,
) -> Result<CopyStats> {
    let end = dst.iter().rposition(|&b| b != b'/').map_or(0, |at| at + 1);
    let trimmed = &dst[..end];
    let (parent, base) = match trimmed.iter().rposition(|&b| b == b'/') {
        Some(0) => (&b"/"[..], &trimmed[1..]),
        Some(at) => (&trimmed[..at], &trimmed[at + 1..]),
        None => (&b"."[..], trimmed),
    };
    if matches!(base, b"" | b"." | b"..") {
        return Err(Errno::NOENT).call_at("open", dst);
    }
    let parent = fs::open_dir_trusted(dst_dir, parent).call_at("open", parent)?;
    refuse_inside(&source, &parent).map_err(|e| e.at(dst))?;
    if fs::stat_at(&parent, base).is_ok() {
        // A symbolic link that leads nowhere: known now rather than when all is copied.
        return Err(Error::sys(Errno::EXIST, "open").at(dst));
    }
    let temp = format!(".ovl-copy-{}", fs::random_name().call("getrandom")?).into_bytes();
    fs::mkdir(&parent, &temp, 0o700).call_at("mkdir", dst)?;
    let result = (|| {
        let root = fs::open_made(&parent, &temp).call("open")?;
        fs::chmod(&root, 0o700).call("fchmod")?;
        let mut copier = Copier::new(options)?;
        copier.run(source, clone_fd(&root)?, watch)?;
        let stats = copier.finish(&root)?;
        match fs::rename(&parent, &temp, &parent, base, RenameFlags::NOREPLACE) {
            // A file system without the flag; rename(2) puts a directory over an empty one only.
            Err(Errno::INVAL) => fs::rename(&parent, &temp, &parent, base, RenameFlags::empty()),
            other => other,
        }
        .call("rename")?;
        if options.flags.contains(CopyFlags::SYNC) {
            if let Err(errno) = fs::sync(&parent) {
                // Nobody may rely on a name that is not on the disk.
                let _ = fs::rename(&parent, base, &parent, &temp, RenameFlags::NOREPLACE);
                return Err(errno).call("fsync");
            }
        }
        Ok(stats)
    })();
    if result.is_err() {
        let _ = remove::remove_tree(&parent, &temp, &mut Watch::default());
    }
    result.map_err(|e: Error| e.below(dst))
}

fn clone_fd(fd: &OwnedFd) -> Result<OwnedFd> {
    fs::open_dir_trusted(fd, b".").call("open")
}

/// EINVAL when `dst` is `source` or below it: such a copy would never end.
fn refuse_inside(source: &OwnedFd, dst: &OwnedFd) -> Result<()> {
    let source = fs::stat(source).call("statx")?;
    let mut at = fs::open_dir_trusted(dst, b".").call("open")?;
    loop {
        let here = fs::stat(&at).call("statx")?;
        if here.same_inode(&source) {
            return Err(Error::invalid("a directory cannot be copied into itself"));
        }
        let up = match fs::open_dir_trusted(&at, b"..") {
            Ok(up) => up,
            Err(Errno::ACCESS) => return Ok(()),
            Err(errno) => return Err(errno).call("open .."),
        };
        if fs::stat(&up).call("statx")?.same_inode(&here) {
            return Ok(());
        }
        at = up;
    }
}
