//! What is in open files: reading, writing, holes, shared extents.

use super::super::{AsFd, SysCall, retry};
use super::open_at;
use crate::error::Errno;
use rustix::fs::{CWD, Mode, OFlags};

/// Goes back to the first name of an open directory.
pub fn rewind(dir: impl AsFd) -> SysCall<()> {
    retry(|| rustix::fs::seek(&dir, rustix::fs::SeekFrom::Start(0))).map(drop)
}

/// Where an open file stands.
pub fn position(fd: impl AsFd) -> SysCall<u64> {
    retry(|| rustix::fs::seek(&fd, rustix::fs::SeekFrom::Current(0)))
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
