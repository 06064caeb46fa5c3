//! Opening, below a directory and as a caller says.

use super::super::fd::above_standard;
use super::super::{AsFd, OwnedFd, SysCall, retry};
use super::{chmod_at, unlink};
use crate::error::Errno;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};

/// The longest path that one system call is given; longer ones are walked in pieces.
const PIECE: usize = 4000;

/// How far a name may lead when it is opened below a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cross {
    /// Stay in this mount: EXDEV at another.
    Never,
    /// Go into other mounts.
    Mounts,
}

/// Opens `name` below `dir`: no symbolic link is followed, `..` does not lead out.
pub fn open_below(dir: impl AsFd, name: &[u8], flags: OFlags, cross: Cross) -> SysCall<OwnedFd> {
    let mut resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    if cross == Cross::Never {
        resolve |= ResolveFlags::NO_XDEV;
    }
    let flags = flags | OFlags::CLOEXEC;
    let mut renamed = 0;
    loop {
        match above_standard(|| rustix::fs::openat2(&dir, name, flags, Mode::empty(), resolve)) {
            // EAGAIN: something was renamed while the kernel looked.
            Err(Errno::INTR | Errno::AGAIN) => {}
            // So it says of what was renamed away from below `dir`, too: worth another look.
            Err(Errno::XDEV) if renamed < 16 && same_mount(&dir, name) => renamed += 1,
            other => return other,
        }
    }
}

/// Whether a name is of its directory's own mount, or gone.
fn same_mount(dir: impl AsFd, name: &[u8]) -> bool {
    let mount = |name: &[u8]| {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
        let sx = retry(|| rustix::fs::statx(&dir, name, flags, StatxFlags::MNT_ID))?;
        let told = StatxFlags::from_bits_retain(sx.stx_mask).contains(StatxFlags::MNT_ID);
        Ok(told.then_some(sx.stx_mnt_id))
    };
    match (mount(b""), mount(name)) {
        (Ok(Some(here)), Ok(Some(there))) => here == there,
        (_, Err(Errno::NOENT)) => true,
        _ => false,
    }
}

/// Opens a directory below `dir` for reading, in this mount.
pub fn open_dir(dir: impl AsFd, name: &[u8]) -> SysCall<OwnedFd> {
    open_below(dir, name, DIRECTORY, Cross::Never)
}

/// Opens a directory that was just made, also where the umask keeps its maker out.
pub fn open_made(dir: impl AsFd, name: &[u8]) -> SysCall<OwnedFd> {
    match open_dir(&dir, name) {
        Err(Errno::ACCESS) => {
            chmod_at(&dir, name, 0o700)?;
            open_dir(&dir, name)
        }
        opened => opened,
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW);

/// Opens a directory by a relative path of any length, in this mount; `""` is `dir` itself.
pub fn open_dir_deep(dir: impl AsFd, path: &[u8]) -> SysCall<OwnedFd> {
    if path.is_empty() {
        return open_dir(dir, b".");
    }
    if path.len() <= PIECE {
        return open_dir(dir, path);
    }
    let mut at: Option<OwnedFd> = None;
    let mut rest = path;
    while !rest.is_empty() {
        let (piece, tail) = if rest.len() <= PIECE {
            (rest, &rest[rest.len()..])
        } else {
            let cut = rest[..PIECE]
                .iter()
                .rposition(|&b| b == b'/')
                .ok_or(Errno::NAMETOOLONG)?;
            (&rest[..cut], &rest[cut + 1..])
        };
        let next = match &at {
            Some(fd) => open_dir(fd, piece)?,
            None => open_dir(&dir, piece)?,
        };
        at = Some(next);
        rest = tail;
    }
    at.ok_or(Errno::NOENT)
}

/// openat(2), close-on-exec.
pub fn open_at(
    dir: impl AsFd,
    path: impl rustix::path::Arg + Copy,
    flags: OFlags,
    mode: Mode,
) -> SysCall<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    above_standard(|| retry(|| rustix::fs::openat(&dir, path, flags, mode)))
}

/// Opens a directory that the caller named: symbolic links and mounts are followed.
pub fn open_dir_trusted(dir: impl AsFd, path: &[u8]) -> SysCall<OwnedFd> {
    open_at(dir, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// Opens an inode for nothing but its descriptor.
pub fn open_path(dir: impl AsFd, name: &[u8]) -> SysCall<OwnedFd> {
    open_below(dir, name, OFlags::PATH | OFlags::NOFOLLOW, Cross::Never)
}

/// Opens a regular file for reading, never blocking on a FIFO or touching its access time.
pub fn open_file(dir: impl AsFd, name: &[u8]) -> SysCall<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    // O_NOATIME is for the owner alone.
    match open_below(&dir, name, flags | OFlags::NOATIME, Cross::Never) {
        Err(Errno::PERM) => open_below(&dir, name, flags, Cross::Never),
        other => other,
    }
}

/// Opens a file for reading by a path of somebody else's: symbolic links are followed as far as they
/// stay below `dir`, EXDEV where one does not. It may be no regular file.
pub fn open_within(dir: impl AsFd, path: &[u8]) -> SysCall<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut renamed = 0;
    loop {
        match rustix::fs::openat2(&dir, path, flags, Mode::empty(), resolve) {
            Err(Errno::INTR) => {}
            // Something was renamed while the kernel looked; somebody may do so for ever.
            Err(Errno::AGAIN) if renamed < 1000 => renamed += 1,
            other => return other,
        }
    }
}

/// Makes a file in `dir` that has no name, for reading and writing: it goes with its descriptor.
pub fn scratch_file(dir: impl AsFd) -> SysCall<OwnedFd> {
    const NAME: &[u8] = b".scratch";
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = retry(|| rustix::fs::openat(&dir, NAME, flags, Mode::from_raw_mode(0o600)))?;
    unlink(&dir, NAME)?;
    Ok(file)
}

/// Makes a new regular file for writing; EEXIST when the name is taken.
pub fn create_file(dir: impl AsFd, name: &[u8], mode: u32) -> SysCall<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    open_at(dir, name, flags, Mode::from_raw_mode(mode))
}

/// A file of this process alone, in memory.
pub fn nameless() -> SysCall<OwnedFd> {
    above_standard(|| rustix::fs::memfd_create("ovl", rustix::fs::MemfdFlags::CLOEXEC))
}

/// Whether a file that is made in `dir` by this thread has the mode that it is made with: neither the
/// umask nor the file system takes any of it. Not where that cannot be seen without a trace.
pub fn keeps_modes(dir: impl AsFd) -> bool {
    let all = Mode::RWXU | Mode::RWXG | Mode::RWXO;
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    above_standard(|| rustix::fs::openat(&dir, ".", flags, all))
        .and_then(super::stat)
        .is_ok_and(|made| made.mode == all.bits())
}
