//! Bytes from and to the standard library's readers and writers.

use super::{Sink, Source};
use crate::error::{Code, Errno, Error, Result};
use std::io;

/// A reader as a [`Source`].
pub struct FromRead<R>(pub R);

impl<R: io::Read> Source for FromRead<R> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        loop {
            match self.0.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.map_err(|error| said("read", &error)),
            }
        }
    }
}

/// A writer as a [`Sink`]. It is not flushed: that is its owner's.
pub struct ToWrite<W>(pub W);

impl<W: io::Write> Sink for ToWrite<W> {
    fn write_all(&mut self, buf: &[u8]) -> Result<()> {
        self.0.write_all(buf).map_err(|error| said("write", &error))
    }
}

/// The system's errors as they are; what a reader or writer says of its own is EIO.
fn said(call: &str, error: &io::Error) -> Error {
    match Errno::from_io_error(error) {
        Some(errno) => Error::sys(errno, call),
        None => Error::new(Code::Callback, Errno::IO, format!("{call}: {error}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Interrupted once, then some bytes, then an error of its own.
    struct Odd(u32);

    impl io::Read for Odd {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Err(io::ErrorKind::Interrupted.into()),
                2 => {
                    buf[0] = b'x';
                    Ok(1)
                }
                3 => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
                _ => Err(io::Error::other("no more")),
            }
        }
    }

    #[test]
    fn errors_keep_what_they_say() {
        let mut source = FromRead(Odd(0));
        let mut buf = [0; 4];
        assert_eq!(source.read(&mut buf).unwrap(), 1);
        let error = source.read(&mut buf).unwrap_err();
        assert_eq!((error.errno(), error.code()), (Errno::NOSPC, Code::System));
        let error = source.read(&mut buf).unwrap_err();
        assert_eq!((error.errno(), error.code()), (Errno::IO, Code::Callback));
        assert!(error.message().contains("no more"), "{error}");
    }

    #[test]
    fn what_is_written_is_there() {
        let mut to = ToWrite(Vec::new());
        to.write_all(b"some").unwrap();
        to.write_all(b" bytes").unwrap();
        assert_eq!(to.0, b"some bytes");
        let mut full = [0; 3];
        let error = ToWrite(&mut full[..]).write_all(b"more").unwrap_err();
        assert_eq!(error.errno(), Errno::IO);
    }
}
