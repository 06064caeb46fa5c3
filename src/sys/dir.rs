//! Reading directories with getdents64(2), through one reusable buffer.

use super::{AsFd, SysCall};
use crate::error::Errno;
use rustix::fs::{FileType, RawDir};
use std::mem::MaybeUninit;

/// What getdents says of an entry's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// Anything else; the flag tells a character device, which may be a whiteout.
    Other {
        /// A character device.
        char_device: bool,
    },
    /// The file system does not say: ask statx.
    Unknown,
}

/// A buffer for getdents64, large enough for most directories in one call.
pub struct DirBuf(Box<[MaybeUninit<u8>]>);

impl Default for DirBuf {
    fn default() -> Self {
        DirBuf(vec![MaybeUninit::uninit(); 64 << 10].into_boxed_slice())
    }
}

impl DirBuf {
    /// One for a directory that has a few names.
    pub fn small() -> Self {
        DirBuf(vec![MaybeUninit::uninit(); 4 << 10].into_boxed_slice())
    }

    /// Calls `each` with every entry of the open directory `fd`, from its current position,
    /// except `.` and `..`. Stops at the first error.
    pub fn for_each<E: From<Errno>>(
        &mut self,
        fd: impl AsFd,
        each: impl FnMut(&[u8], Hint) -> Result<(), E>,
    ) -> Result<(), E> {
        self.read(fd, false, each)
    }

    /// The same, but a directory that fits well into the buffer is read by one system call. Whoever
    /// must have seen all has to look again.
    pub fn for_each_at_once<E: From<Errno>>(
        &mut self,
        fd: impl AsFd,
        each: impl FnMut(&[u8], Hint) -> Result<(), E>,
    ) -> Result<(), E> {
        self.read(fd, true, each)
    }

    fn read<E: From<Errno>>(
        &mut self,
        fd: impl AsFd,
        once: bool,
        mut each: impl FnMut(&[u8], Hint) -> Result<(), E>,
    ) -> Result<(), E> {
        const HEAD: usize = 32;
        let well = self.0.len() / 2;
        let mut size = 0;
        let mut entries = RawDir::new(fd, &mut self.0);
        loop {
            if once && (1..well).contains(&size) && entries.is_buffer_empty() {
                return Ok(());
            }
            let Some(entry) = entries.next() else {
                return Ok(());
            };
            let entry = match entry {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let name = entry.file_name().to_bytes();
            size += HEAD + name.len();
            if name == b"." || name == b".." {
                continue;
            }
            let hint = match entry.file_type() {
                FileType::Directory => Hint::Directory,
                FileType::RegularFile => Hint::File,
                FileType::Unknown => Hint::Unknown,
                other => Hint::Other {
                    char_device: other == FileType::CharacterDevice,
                },
            };
            each(name, hint)?;
        }
    }

    /// The names in the open directory `fd`, sorted by their bytes.
    pub fn sorted_names(&mut self, fd: impl AsFd) -> SysCall<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        self.for_each(fd, |name, _| {
            names.push(name.to_vec());
            Ok::<_, Errno>(())
        })?;
        names.sort_unstable();
        Ok(names)
    }

    /// Whether the open directory `fd` has no entries.
    pub fn is_empty(&mut self, fd: impl AsFd) -> SysCall<bool> {
        match self.for_each(fd, |_, _| Err(Errno::NOTEMPTY)) {
            Ok(()) => Ok(true),
            Err(Errno::NOTEMPTY) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}
