//! Layer archives as bytes: decompression, digests, the tar format, the names of whiteouts.
//!
//! Nothing here opens a path or knows a file system. Bytes come from a [`Source`] and go to a
//! [`Sink`]; what an entry means for a tree is decided above.
//!
//! The way of a layer inwards: a [`Source`] of blob bytes, a [`Decoder`] (codec, digests, byte
//! limit), a [`Reader`] (entries and their data). `Decoder` is itself a `Source`, so that
//! `Reader::new(&mut decoder, limits)` leaves the decoder to the caller, who ends with
//! [`Decoder::finish`]: only then is the whole blob read, checked and hashed. The way outwards is
//! a [`Writer`] on a [`Sink`].
//!
//! # Errors
//!
//! | errno | code | meaning |
//! |---|---|---|
//! | EBADMSG | `Truncated` | the bytes end before the archive does |
//! | EBADMSG | `Archive` | the bytes are not a well-formed archive or compressed stream |
//! | EINVAL | `Archive` | well-formed, but it says what no tree may hold: `..` in a name, owner 2^32, an impossible whiteout or device number |
//! | ENAMETOOLONG | `Archive` | a component of a name is longer than Linux allows |
//! | EOPNOTSUPP | `Archive` | an entry type or sparse format that is not handled |
//! | EOPNOTSUPP | `Unsupported` | a compression that is not handled |
//! | EFBIG | `Limit` | one of [`Limits`], or the byte limit or window of [`DecoderOptions`] |
//!
//! An error of a `Source` or `Sink` passes through as it is. The error's path is the entry's name,
//! its message begins with the place in the uncompressed archive.

mod ahead;
mod buffer;
mod codec;
mod digest;
mod entry;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod header;
pub mod path;
mod pax;
mod reader;
mod records;
mod sparse;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
pub mod whiteout;
mod writer;

pub(crate) use ahead::{Ahead, Begun, Piece};
pub use codec::{Compression, Decoder, DecoderOptions, Summary, compression};
pub use digest::{Digest, Sha256};
pub use entry::{Entry, Kind, Limits, Time};
pub use reader::{Chunk, Reader};
pub use sparse::Region;
pub use stream::{FromRead, ToWrite};
pub use writer::{Header, MAX_REGIONS, Writer};

use crate::error::{Code, Errno, Error, Result};
use std::ops::Range;
use std::time::Duration;

/// Room before the bytes of [`Source::piece`]: what is left of the piece before goes there.
pub const BEFORE: usize = 32 << 10;

/// Where bytes come from.
pub trait Source {
    /// Reads some bytes to the start of `buf` and returns how many; 0 is the end.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize>;

    /// Passes over up to `count` bytes and returns how many: 0 where they have to be read.
    fn skip(&mut self, count: u64) -> Result<u64> {
        let _ = count;
        Ok(0)
    }

    /// The next bytes in a buffer of their own, and where they are in it, where the source has them so:
    /// nobody need copy them. Before them is room for [`BEFORE`] bytes. None: read them. An empty
    /// range is the end.
    fn piece(&mut self) -> Result<Option<(Vec<u8>, Range<usize>)>> {
        Ok(None)
    }

    /// Takes a buffer to be used again, in exchange for one that [`Source::piece`] gave.
    fn reuse(&mut self, buffer: Vec<u8>) {
        drop(buffer);
    }

    /// Waits until a read would give something at once, the end or an error too, but no longer than
    /// so; whether it would. One that cannot tell says yes.
    fn is_ready_within(&mut self, longest: Duration) -> Result<bool> {
        let _ = longest;
        Ok(true)
    }

    /// Gives out what hashes the bytes that are read, for another thread to do that, where it has
    /// such a thing. Whoever has it adds all that is read from then on, and gives it back.
    fn lend_hash(&mut self) -> Option<Sha256> {
        None
    }

    /// Takes back what was lent.
    fn return_hash(&mut self, hash: Sha256) {
        let _ = hash;
    }
}

/// Where bytes go.
pub trait Sink {
    /// Takes all of `buf`.
    fn write_all(&mut self, buf: &[u8]) -> Result<()>;
}

/// A sink that what it is to take can be read into.
pub trait Room: Sink {
    /// Room for the next bytes, at least for one.
    fn room(&mut self) -> Result<&mut [u8]>;

    /// So many bytes of it were filled.
    fn filled(&mut self, count: usize);
}

impl<T: Source + ?Sized> Source for &mut T {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        (**self).read(buf)
    }

    fn skip(&mut self, count: u64) -> Result<u64> {
        (**self).skip(count)
    }

    fn piece(&mut self) -> Result<Option<(Vec<u8>, Range<usize>)>> {
        (**self).piece()
    }

    fn reuse(&mut self, buffer: Vec<u8>) {
        (**self).reuse(buffer);
    }

    fn is_ready_within(&mut self, longest: Duration) -> Result<bool> {
        (**self).is_ready_within(longest)
    }

    fn lend_hash(&mut self) -> Option<Sha256> {
        (**self).lend_hash()
    }

    fn return_hash(&mut self, hash: Sha256) {
        (**self).return_hash(hash);
    }
}

impl<T: Sink + ?Sized> Sink for &mut T {
    fn write_all(&mut self, buf: &[u8]) -> Result<()> {
        (**self).write_all(buf)
    }
}

impl Source for &[u8] {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let n = self.len().min(buf.len());
        let (head, tail) = self.split_at(n);
        if let Some(room) = buf.get_mut(..n) {
            room.copy_from_slice(head);
        }
        *self = tail;
        Ok(n)
    }
}

impl Sink for Vec<u8> {
    fn write_all(&mut self, buf: &[u8]) -> Result<()> {
        self.extend_from_slice(buf);
        Ok(())
    }
}

fn malformed(message: impl Into<String>) -> Error {
    Error::new(Code::Archive, Errno::BADMSG, message)
}

fn truncated(message: impl Into<String>) -> Error {
    Error::new(Code::Truncated, Errno::BADMSG, message)
}

fn forbidden(message: impl Into<String>) -> Error {
    Error::new(Code::Archive, Errno::INVAL, message)
}

fn over_limit(message: impl Into<String>) -> Error {
    Error::new(Code::Limit, Errno::FBIG, message)
}
