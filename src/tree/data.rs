//! The content of one file: shared, copied in the kernel, or copied here; holes stay holes.

use super::copy::Reflink;
use crate::error::Errno;
use crate::sys::{BorrowedFd, SysCall, fs};

/// How a file's content got across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Extents shared (FICLONE).
    Shared,
    /// Copied.
    Copied,
}

/// Copies contents, and remembers for one call what its file systems cannot do at all.
pub struct DataCopier {
    reflink: Reflink,
    /// FICLONE said that these file systems cannot share.
    no_clone: bool,
    /// copy_file_range said that it cannot work between these file systems.
    no_range: bool,
    buf: Vec<u8>,
}

const BUF: usize = 256 << 10;

impl DataCopier {
    /// A copier that follows `reflink`.
    pub fn new(reflink: Reflink) -> Self {
        DataCopier {
            reflink,
            no_clone: reflink == Reflink::Never,
            // The kernel answers copy_file_range with shared extents where it can.
            no_range: reflink == Reflink::Never,
            buf: Vec::new(),
        }
    }

    /// The same for another thread; it knows what this one has learnt.
    #[must_use]
    pub fn again(&self) -> Self {
        DataCopier {
            buf: Vec::new(),
            ..*self
        }
    }

    /// Fills the new, empty file `to` with the content of `from`, whose size is known. `tick` is told of bytes copied and may stop the copy.
    pub fn copy<E: From<Errno>>(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        size: u64,
        mut tick: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Method, E> {
        if !self.no_clone && size > 0 {
            match fs::clone_file(from, to) {
                Ok(()) => {
                    tick(size)?;
                    return Ok(Method::Shared);
                }
                Err(errno) if self.reflink == Reflink::Always => return Err(errno.into()),
                Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::NOSYS) => {
                    self.no_clone = true;
                }
                // This file alone (no data checksums, inline, swap file): the next may do.
                Err(Errno::INVAL | Errno::PERM | Errno::TXTBSY) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        // The count of blocks does not tell: it includes those that hold attributes, and those
        // beyond the end.
        if size == 0 || !fs::has_hole(from, size)? {
            // A file that grows is not followed; one whose size is not known is read to its end.
            let end = (size > 0).then_some(size);
            self.range(from, to, 0, end, &mut tick)?;
            return Ok(Method::Copied);
        }
        let mut at = 0;
        while let Some((start, end)) = fs::next_data(from, at, size)? {
            self.range(from, to, start, Some(end), &mut tick)?;
            at = end;
        }
        if fs::stat(to)?.size < size {
            fs::truncate(to, size)?;
        }
        Ok(Method::Copied)
    }

    /// Copies from `start` up to `end`, or to the end of the file.
    fn range<E: From<Errno>>(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        start: u64,
        end: Option<u64>,
        tick: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = start;
        loop {
            let left = end.map_or(u64::MAX, |end| end - at);
            if left == 0 {
                break;
            }
            let done = self.step(from, to, at, left)?;
            if done == 0 {
                break;
            }
            at += done as u64;
            tick(done as u64)?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        at: u64,
        left: u64,
    ) -> SysCall<usize> {
        if !self.no_range {
            match fs::copy_range(from, to, at, left) {
                // 0 is the end, or a file system that only read(2) can read (procfs).
                Ok(0) => {}
                Ok(done) => return Ok(done),
                Err(Errno::NOSYS | Errno::XDEV | Errno::OPNOTSUPP) => self.no_range = true,
                Err(Errno::INVAL | Errno::PERM | Errno::BADF | Errno::TXTBSY) => {}
                Err(errno) => return Err(errno),
            }
        }
        if self.buf.is_empty() {
            self.buf.resize(BUF, 0);
        }
        let want = usize::try_from(left).unwrap_or(BUF).min(BUF);
        let got = fs::read_at(from, &mut self.buf[..want], at)?;
        fs::write_all_at(to, &self.buf[..got], at)?;
        Ok(got)
    }
}
