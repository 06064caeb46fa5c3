//! Files by descriptor: what they are, their names and attributes; [`open`] and [`data`] have the rest.

mod data;
mod open;

pub use data::*;
pub use open::*;

use super::fd;
pub use super::instance::instance;
pub use super::sync::{begin_to_write_through, sync, sync_fs, uncache, write_through};
use super::{AsFd, BorrowedFd, SysCall, retry};
use crate::error::Errno;
use rustix::fs::{AtFlags, Gid, Mode, StatxFlags, Timespec, Timestamps, Uid};
use std::sync::atomic::{AtomicBool, Ordering};

pub use rustix::fs::{FlockOperation, RenameFlags};

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

    /// A file with one name, as far as it is known to who made it; what else there is to a file is 0.
    pub fn of_file(mode: u32, (uid, gid): (u32, u32), size: u64, mtime: Time) -> Meta {
        Meta {
            kind: Kind::File,
            mode,
            uid,
            gid,
            nlink: 1,
            size,
            blocks: 0,
            rdev: (0, 0),
            ino: 0,
            dev: (0, 0),
            atime: Time::default(),
            mtime,
            ctime: Time::default(),
            mount_root: false,
        }
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

/// Whether a directory here has two links and one for each directory in it, or, where these are too many,
/// a number below two.
pub fn links_count_directories(fd: impl AsFd) -> bool {
    // Elsewhere it may be any number.
    magic(fd).is_ok_and(|magic| [EXT, XFS, TMPFS].contains(&magic))
}

/// [`magic`] of ext2, ext3 and ext4.
pub const EXT: i64 = 0xef53;

/// The same of xfs.
pub const XFS: i64 = 0x5846_5342;

/// The same of tmpfs.
pub const TMPFS: i64 = 0x0102_1994;

/// [`magic`] of btrfs.
pub const BTRFS: i64 = 0x9123_683e;

/// The number that statfs(2) has for the kind of the file system.
pub fn magic(fd: impl AsFd) -> SysCall<i64> {
    // Another type on other processors.
    let kind = retry(|| rustix::fs::fstatfs(&fd))?.f_type as i64;
    Ok(kind)
}

/// Whether an inode has one of the flags immutable and append-only.
pub fn is_stuck(fd: impl AsFd) -> bool {
    use rustix::fs::IFlags;
    retry(|| rustix::fs::ioctl_getflags(&fd))
        .is_ok_and(|flags| flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND))
}

/// Whether a file in this new directory is what it was given, under the name that it was given: on one of
/// the file systems of which that is known, and where case is told apart.
pub fn keeps_attributes(dir: impl AsFd) -> bool {
    use rustix::fs::IFlags;
    const CASEFOLD: IFlags = IFlags::from_bits_retain(0x4000_0000);
    let known = magic(&dir).is_ok_and(|magic| [EXT, XFS, TMPFS, BTRFS].contains(&magic));
    let folds = retry(|| rustix::fs::ioctl_getflags(&dir));
    known && !folds.is_ok_and(|flags| flags.contains(CASEFOLD))
}

/// Attributes of an open file.
pub fn stat(fd: impl AsFd) -> SysCall<Meta> {
    let sx = retry(|| rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS))?;
    Meta::from(&sx)
}

/// The mode of an open file (07777). Who asks for times, too, has the kernel tell them from the next
/// change's: that one costs a transaction more (Linux 6.13, xfs and ext4).
pub fn mode(fd: impl AsFd) -> SysCall<u32> {
    let sx = retry(|| rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MODE))?;
    Ok(u32::from(sx.stx_mode) & 0o7777)
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
