//! Getting data to the disk.

use super::{AsFd, SysCall, retry};
use rustix::io::Errno;

/// Writes a file's data and attributes to the disk.
pub fn sync(fd: impl AsFd) -> SysCall<()> {
    retry(|| rustix::fs::fsync(&fd))
}

/// Writes the whole file system of `fd` to the disk.
pub fn sync_fs(fd: impl AsFd) -> SysCall<()> {
    retry(|| rustix::fs::syncfs(&fd))
}

/// Writes a file's data out, but waits for no journal: the file is never found empty or torn under a
/// name that it gets after this, where the file system keeps names in order. It does not make the
/// file durable.
pub fn write_through(fd: impl AsFd) -> SysCall<()> {
    const WAIT: libc::c_uint = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    write_out(fd, libc::SYNC_FILE_RANGE_WRITE | WAIT)
}

/// Begins to write a file's data out: several that are begun take the disk the time of one.
pub fn begin_to_write_through(fd: impl AsFd) -> SysCall<()> {
    write_out(fd, libc::SYNC_FILE_RANGE_WRITE)
}

fn write_out(fd: impl AsFd, flags: libc::c_uint) -> SysCall<()> {
    let fd = std::os::fd::AsRawFd::as_raw_fd(&fd.as_fd());
    retry(|| {
        // SAFETY: the descriptor is borrowed for the call, which takes no memory.
        match unsafe { libc::sync_file_range(fd, 0, 0, flags) } {
            0 => Ok(()),
            _ => Err(last_errno()),
        }
    })
    .or_else(|errno| match errno {
        // A file system without writeback.
        Errno::SPIPE | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => Ok(()),
        errno => Err(errno),
    })
}

/// Drops what the kernel has of a file in memory and has written: the next read is the disk's.
pub fn uncache(fd: impl AsFd) -> SysCall<()> {
    retry(|| rustix::fs::fadvise(&fd, 0, None, rustix::fs::Advice::DontNeed))
}

fn last_errno() -> Errno {
    let errno = std::io::Error::last_os_error().raw_os_error();
    Errno::from_raw_os_error(errno.unwrap_or(libc::EIO))
}
