//! Files by descriptor: opening below a directory, attributes, data.

use super::fd::{self, above_standard};
pub use super::instance::instance;
pub use super::sync::{begin_to_write_through, sync, sync_fs, uncache, write_through};
use super::{AsFd, BorrowedFd, OwnedFd, SysCall, retry};
use crate::error::Errno;
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, StatxFlags, Timespec, Timestamps, Uid,
};
use std::sync::atomic::{AtomicBool, Ordering};

pub use rustix::fs::{FlockOperation, RenameFlags};

/// The longest path that one system call is given; longer ones are walked in pieces.
const PIECE: usize = 4000;

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

impl Kind {
    fn of(mode: u32) -> SysCall<Kind> {
        Ok(match mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File,
            libc::S_IFDIR => Kind::Directory,
            libc::S_IFLNK => Kind::Symlink,
            libc::S_IFIFO => Kind::Fifo,
            libc::S_IFSOCK => Kind::Socket,
            libc::S_IFCHR => Kind::CharDevice,
            libc::S_IFBLK => Kind::BlockDevice,
            _ => return Err(Errno::OPNOTSUPP),
        })
    }

    fn bits(self) -> u32 {
        match self {
            Kind::File => libc::S_IFREG,
            Kind::Directory => libc::S_IFDIR,
            Kind::Symlink => libc::S_IFLNK,
            Kind::Fifo => libc::S_IFIFO,
            Kind::Socket => libc::S_IFSOCK,
            Kind::CharDevice => libc::S_IFCHR,
            Kind::BlockDevice => libc::S_IFBLK,
        }
    }
}

/// A point in time as the kernel keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Seconds since the epoch.
    pub sec: i64,
    /// Nanoseconds, below 10^9.
    pub nsec: u32,
}

/// An inode's attributes.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Permission, set-id and sticky bits (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub nlink: u32,
    /// Size in bytes.
    pub size: u64,
    /// 512-byte blocks in use.
    pub blocks: u64,
    /// Major and minor number of a device node.
    pub rdev: (u32, u32),
    /// Inode number.
    pub ino: u64,
    /// File system, as major and minor number.
    pub dev: (u32, u32),
    /// Last access.
    pub atime: Time,
    /// Last change of the data.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Whether this is the root of a mount.
    pub mount_root: bool,
}

impl Meta {
    /// A whiteout as overlayfs writes it: a character device 0:0.
    pub fn is_whiteout(&self) -> bool {
        self.kind == Kind::CharDevice && self.rdev == (0, 0)
    }

    /// The same inode.
    pub fn same_inode(&self, other: &Meta) -> bool {
        self.ino == other.ino && self.dev == other.dev
    }

    fn from(sx: &rustix::fs::Statx) -> SysCall<Meta> {
        let time = |t: &rustix::fs::StatxTimestamp| Time {
            sec: t.tv_sec,
            nsec: t.tv_nsec,
        };
        Ok(Meta {
            kind: Kind::of(u32::from(sx.stx_mode))?,
            mode: u32::from(sx.stx_mode) & 0o7777,
            uid: sx.stx_uid,
            gid: sx.stx_gid,
            nlink: sx.stx_nlink,
            size: sx.stx_size,
            blocks: sx.stx_blocks,
            rdev: (sx.stx_rdev_major, sx.stx_rdev_minor),
            ino: sx.stx_ino,
            dev: (sx.stx_dev_major, sx.stx_dev_minor),
            atime: time(&sx.stx_atime),
            mtime: time(&sx.stx_mtime),
            ctime: time(&sx.stx_ctime),
            mount_root: sx
                .stx_attributes
                .contains(rustix::fs::StatxAttributes::MOUNT_ROOT),
        })
    }
}

/// Attributes of `name` in `dir`; a symbolic link's own.
pub fn stat_at(dir: impl AsFd, name: &[u8]) -> SysCall<Meta> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let sx = retry(|| rustix::fs::statx(&dir, name, flags, StatxFlags::BASIC_STATS))?;
    Meta::from(&sx)
}

/// Whether writes are refused where this is open, by the mount or the file system.
pub fn is_read_only(fd: impl AsFd) -> bool {
    rustix::fs::fstatvfs(fd)
        .is_ok_and(|at| at.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// A file of this process alone, in memory.
pub fn nameless() -> SysCall<OwnedFd> {
    above_standard(|| rustix::fs::memfd_create("ovl", rustix::fs::MemfdFlags::CLOEXEC))
}

/// Whether an inode has one of the flags immutable and append-only.
pub fn is_stuck(fd: impl AsFd) -> bool {
    use rustix::fs::IFlags;
    retry(|| rustix::fs::ioctl_getflags(&fd))
        .is_ok_and(|flags| flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND))
}

/// Attributes of an open file.
pub fn stat(fd: impl AsFd) -> SysCall<Meta> {
    let sx = retry(|| rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS))?;
    Meta::from(&sx)
}

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
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
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

/// Goes back to the first name of an open directory.
pub fn rewind(dir: impl AsFd) -> SysCall<()> {
    retry(|| rustix::fs::seek(&dir, rustix::fs::SeekFrom::Start(0))).map(drop)
}

/// Where an open file stands.
pub fn position(fd: impl AsFd) -> SysCall<u64> {
    retry(|| rustix::fs::seek(&fd, rustix::fs::SeekFrom::Current(0)))
}

/// Makes a new regular file for writing; EEXIST when the name is taken.
pub fn create_file(dir: impl AsFd, name: &[u8], mode: u32) -> SysCall<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    open_at(dir, name, flags, Mode::from_raw_mode(mode))
}

/// Makes a directory.
pub fn mkdir(dir: impl AsFd, name: &[u8], mode: u32) -> SysCall<()> {
    retry(|| rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(mode)))
}

/// Makes any inode but a directory or symbolic link.
pub fn mknod(dir: impl AsFd, name: &[u8], kind: Kind, mode: u32, rdev: (u32, u32)) -> SysCall<()> {
    let file_type = rustix::fs::FileType::from_raw_mode(kind.bits());
    let dev = rustix::fs::makedev(rdev.0, rdev.1);
    retry(|| rustix::fs::mknodat(&dir, name, file_type, Mode::from_raw_mode(mode), dev))
}

/// Makes a symbolic link.
pub fn symlink(target: &[u8], dir: impl AsFd, name: &[u8]) -> SysCall<()> {
    retry(|| rustix::fs::symlinkat(target, &dir, name))
}

/// Gives an inode one more name; a symbolic link is linked, not followed.
pub fn link(from: impl AsFd, name: &[u8], to: impl AsFd, new: &[u8]) -> SysCall<()> {
    retry(|| rustix::fs::linkat(&from, name, &to, new, AtFlags::empty()))
}

/// A symbolic link's target.
pub fn read_link(dir: impl AsFd, name: &[u8]) -> SysCall<Vec<u8>> {
    retry(|| rustix::fs::readlinkat(&dir, name, Vec::new())).map(|c| c.into_bytes())
}

/// Removes a name that is no directory.
pub fn unlink(dir: impl AsFd, name: &[u8]) -> SysCall<()> {
    retry(|| rustix::fs::unlinkat(&dir, name, AtFlags::empty()))
}

/// Removes an empty directory.
pub fn rmdir(dir: impl AsFd, name: &[u8]) -> SysCall<()> {
    retry(|| rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR))
}

/// Renames; `flags` as in renameat2(2).
pub fn rename(
    from: impl AsFd,
    name: &[u8],
    to: impl AsFd,
    new: &[u8],
    flags: RenameFlags,
) -> SysCall<()> {
    retry(|| rustix::fs::renameat_with(&from, name, &to, new, flags))
}

fn uid(raw: u32) -> Option<Uid> {
    Some(Uid::from_raw(raw))
}

fn gid(raw: u32) -> Option<Gid> {
    Some(Gid::from_raw(raw))
}

/// Sets the owner of an open file.
pub fn chown(fd: impl AsFd, owner: u32, group: u32) -> SysCall<()> {
    retry(|| rustix::fs::fchown(&fd, uid(owner), gid(group)))
}

/// Sets the owner of a name; a symbolic link's own.
pub fn chown_at(dir: impl AsFd, name: &[u8], owner: u32, group: u32) -> SysCall<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    retry(|| rustix::fs::chownat(&dir, name, uid(owner), gid(group), flags))
}

/// Sets the permission bits of an open file.
pub fn chmod(fd: impl AsFd, mode: u32) -> SysCall<()> {
    retry(|| rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)))
}

/// Whether this kernel lacks fchmodat2(2) (before 6.6); only the lack is remembered.
static NO_FCHMODAT2: AtomicBool = AtomicBool::new(false);

/// Sets the permission bits of a name that is no symbolic link, following none.
pub fn chmod_at(dir: impl AsFd, name: &[u8], mode: u32) -> SysCall<()> {
    if !NO_FCHMODAT2.load(Ordering::Relaxed) {
        match fchmodat2(dir.as_fd(), name, mode) {
            Err(Errno::NOSYS) => NO_FCHMODAT2.store(true, Ordering::Relaxed),
            other => return other,
        }
    }
    let fd = open_path(&dir, name)?;
    if stat(&fd)?.kind == Kind::Symlink {
        return Err(Errno::OPNOTSUPP);
    }
    let path = fd::path(&fd);
    let mode = Mode::from_raw_mode(mode);
    retry(|| rustix::fs::chmodat(rustix::fs::CWD, path.as_str(), mode, AtFlags::empty()))
}

fn fchmodat2(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> SysCall<()> {
    let name = std::ffi::CString::new(name).map_err(|_| Errno::INVAL)?;
    retry(|| {
        // SAFETY: `name` is a NUL-terminated string that lives through the call; the kernel
        // only reads it.
        let ret = unsafe {
            libc::syscall(
                libc::SYS_fchmodat2,
                rustix::fd::AsRawFd::as_raw_fd(&dir),
                name.as_ptr(),
                mode,
                libc::AT_SYMLINK_NOFOLLOW,
            )
        };
        if ret == 0 { Ok(()) } else { Err(last_errno()) }
    })
}

/// The calling thread's errno, after a raw call through libc.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn stamps(atime: Time, mtime: Time) -> Timestamps {
    let spec = |t: Time| Timespec {
        tv_sec: t.sec,
        tv_nsec: t.nsec.into(),
    };
    Timestamps {
        last_access: spec(atime),
        last_modification: spec(mtime),
    }
}

/// Sets access and modification time of an open file.
pub fn set_times(fd: impl AsFd, atime: Time, mtime: Time) -> SysCall<()> {
    retry(|| rustix::fs::futimens(&fd, &stamps(atime, mtime)))
}

/// Sets access and modification time of a name; a symbolic link's own.
pub fn set_times_at(dir: impl AsFd, name: &[u8], atime: Time, mtime: Time) -> SysCall<()> {
    let times = stamps(atime, mtime);
    retry(|| rustix::fs::utimensat(&dir, name, &times, AtFlags::SYMLINK_NOFOLLOW))
}

/// Writes all of `data`.
pub fn write_all(fd: impl AsFd, mut data: &[u8]) -> SysCall<()> {
    while !data.is_empty() {
        match retry(|| rustix::io::write(&fd, data))? {
            0 => return Err(Errno::IO),
            n => data = &data[n..],
        }
    }
    Ok(())
}

/// Writes all of `data` at `offset`.
pub fn write_all_at(fd: impl AsFd, mut data: &[u8], mut offset: u64) -> SysCall<()> {
    while !data.is_empty() {
        match retry(|| rustix::io::pwrite(&fd, data, offset))? {
            0 => return Err(Errno::IO),
            n => {
                data = &data[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}

/// Reads into `buf`; 0 at the end.
pub fn read(fd: impl AsFd, buf: &mut [u8]) -> SysCall<usize> {
    retry(|| rustix::io::read(&fd, &mut *buf))
}

/// All of a file that the kernel writes as it is read, by its path.
pub fn read_whole(path: &str) -> SysCall<Vec<u8>> {
    let file = open_at(CWD, path, OFlags::RDONLY, Mode::empty())?;
    let mut text = Vec::new();
    // The kernel gives out whole pages.
    let mut part = vec![0; 16 << 10];
    loop {
        match read(&file, &mut part)? {
            0 => return Ok(text),
            length => text.extend_from_slice(&part[..length]),
        }
    }
}

/// Reads into `buf` from `offset`; 0 at the end.
pub fn read_at(fd: impl AsFd, buf: &mut [u8], offset: u64) -> SysCall<usize> {
    retry(|| rustix::io::pread(&fd, &mut *buf, offset))
}

/// Sets a file's size.
pub fn truncate(fd: impl AsFd, size: u64) -> SysCall<()> {
    retry(|| rustix::fs::ftruncate(&fd, size))
}

/// The next range of data at or after `from` and before `size`: `None` when only a hole is left.
/// A file system without holes says that all is data.
pub fn next_data(fd: impl AsFd, from: u64, size: u64) -> SysCall<Option<(u64, u64)>> {
    use rustix::fs::{SeekFrom, seek};
    if from >= size {
        return Ok(None);
    }
    let start = match retry(|| seek(&fd, SeekFrom::Data(from))) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((from, size))),
        Err(errno) => return Err(errno),
    };
    if start >= size {
        return Ok(None);
    }
    let end = retry(|| seek(&fd, SeekFrom::Hole(start)))?;
    Ok(Some((start, end.min(size))))
}

/// Whether there is a hole before `size`; a file system without holes says no.
pub fn has_hole(fd: impl AsFd, size: u64) -> SysCall<bool> {
    use rustix::fs::{SeekFrom, seek};
    match retry(|| seek(&fd, SeekFrom::Hole(0))) {
        Ok(start) => Ok(start < size),
        // NXIO: it is shorter by now than the caller believes.
        Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Shares the whole of `from`'s data with the empty file `to`.
pub fn clone_file(from: impl AsFd, to: impl AsFd) -> SysCall<()> {
    retry(|| rustix::fs::ioctl_ficlone(&to, &from))
}

/// copy_file_range(2) from and to `offset`.
pub fn copy_range(from: impl AsFd, to: impl AsFd, offset: u64, len: u64) -> SysCall<usize> {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(1 << 30);
    retry(|| {
        let (mut src, mut dst) = (offset, offset);
        rustix::fs::copy_file_range(&from, Some(&mut src), &to, Some(&mut dst), len)
    })
}

/// flock(2).
pub fn flock(fd: impl AsFd, operation: FlockOperation) -> SysCall<()> {
    retry(|| rustix::fs::flock(&fd, operation))
}

/// Clears the immutable and append-only flags of an open file; says whether there were any.
pub fn clear_immutable(fd: impl AsFd) -> SysCall<bool> {
    use rustix::fs::IFlags;
    let flags = retry(|| rustix::fs::ioctl_getflags(&fd))?;
    let stuck = IFlags::IMMUTABLE | IFlags::APPEND;
    if !flags.intersects(stuck) {
        return Ok(false);
    }
    retry(|| rustix::fs::ioctl_setflags(&fd, flags.difference(stuck)))?;
    Ok(true)
}

/// Bytes from the kernel's random pool, for names that must not be guessed or meet.
pub fn random_name() -> SysCall<String> {
    let mut bytes = [0u8; 12];
    let mut have = 0;
    while have < bytes.len() {
        have += retry(|| {
            rustix::rand::getrandom(&mut bytes[have..], rustix::rand::GetRandomFlags::empty())
        })?;
    }
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
