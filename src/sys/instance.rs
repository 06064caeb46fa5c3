//! Which mounting of a disk a file system is: what the kernel has in memory of it ends with that.

use super::{AsFd, BorrowedFd, SysCall, retry};
use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::ioctl::{Getter, ioctl};

/// FS_IOC_GETFSSYSFSPATH (Linux 6.9): a length, and the name of the file system in /sys/fs.
const SYSFS_PATH: u32 = 0x8081_1501;
/// BTRFS_IOC_FS_INFO: after two numbers of 64 bits the file system's UUID.
const BTRFS_INFO: u32 = 0x8400_941f;

/// A word for this mounting of the file system of `fd`: it stays the same for all its mounts, binds
/// and remounts, in all namespaces, and changes when the last of them is gone and the disk is
/// mounted anew. `None` where nobody can tell: a file system that has no directory in /sys/fs (tmpfs,
/// whose content ends with it), an older kernel, no sysfs.
pub fn instance(fd: impl AsFd) -> Option<String> {
    let name = sysfs_name(fd.as_fd()).or_else(|_| btrfs_name(fd.as_fd()));
    let name = name.ok()?;
    let path = format!("/sys/fs/{name}");
    // sysfs never gives a number twice between boots, and makes the directory with the superblock.
    let found = retry(|| rustix::fs::statx(CWD, &path, AtFlags::empty(), StatxFlags::INO));
    Some(format!("{name}:{}", found.ok()?.stx_ino))
}

fn sysfs_name(fd: BorrowedFd<'_>) -> SysCall<String> {
    // SAFETY: the request writes one struct of 129 bytes, of plain bytes.
    let told = retry(|| unsafe { ioctl(fd, Getter::<SYSFS_PATH, [u8; 129]>::new()) })?;
    let name = told[1..].iter().take(usize::from(told[0]));
    Ok(name.map(|&byte| char::from(byte)).collect())
}

fn btrfs_name(fd: BorrowedFd<'_>) -> SysCall<String> {
    // SAFETY: the request writes one struct of 1024 bytes, of plain numbers. The number is btrfs's
    // own: other file systems refuse it.
    let told = retry(|| unsafe { ioctl(fd, Getter::<BTRFS_INFO, [u8; 1024]>::new()) })?;
    let mut name = String::from("btrfs/");
    for (at, byte) in told[16..32].iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            name.push('-');
        }
        name.push_str(&format!("{byte:02x}"));
    }
    Ok(name)
}
