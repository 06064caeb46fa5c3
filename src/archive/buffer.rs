//! A window over a [`Source`]: bytes that have arrived and are not consumed yet.
//!
//! The buffer has a fixed size, so memory never follows what an input claims. A source that has its
//! bytes in pieces, of a size of its own choice, gives one in exchange for it.

use super::{BEFORE, Source};
use crate::error::{Code, Errno, Error, Result};

pub(super) struct Buffer<S> {
    source: S,
    data: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    taken: u64,
}

impl<S: Source> Buffer<S> {
    pub(super) fn new(source: S, capacity: usize) -> Self {
        Buffer {
            source,
            data: vec![0; capacity],
            start: 0,
            end: 0,
            ended: false,
            taken: 0,
        }
    }

    pub(super) fn unread(&self) -> &[u8] {
        self.data.get(self.start..self.end).unwrap_or_default()
    }

    /// How many bytes were consumed so far.
    pub(super) fn offset(&self) -> u64 {
        self.taken
    }

    pub(super) fn source(&self) -> &S {
        &self.source
    }

    pub(super) fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    pub(super) fn into_source(self) -> S {
        self.source
    }

    /// Consumes `n` bytes (at most what is there) and shows them.
    pub(super) fn take(&mut self, n: usize) -> &[u8] {
        let from = self.start;
        self.start = self.end.min(from + n);
        self.taken += (self.start - from) as u64;
        self.data.get(from..self.start).unwrap_or_default()
    }

    /// Consumes up to `most` bytes and returns how many, 0 at the end. What is not here yet need not
    /// come here, where the source can pass over it.
    pub(super) fn pass(&mut self, most: u64) -> Result<u64> {
        if self.start == self.end && !self.ended {
            let passed = self.source.skip(most)?.min(most);
            self.taken += passed;
            if passed > 0 {
                return Ok(passed);
            }
        }
        let there = self.fill_to(1)? as u64;
        Ok(self
            .take(usize::try_from(there.min(most)).unwrap_or(usize::MAX))
            .len() as u64)
    }

    /// Reads until `want` bytes (at most the capacity) are there or the source ends, and returns
    /// how many there are.
    pub(super) fn fill_to(&mut self, want: usize) -> Result<usize> {
        while self.end - self.start < want && !self.ended {
            if self.exchange()? {
                continue;
            }
            if self.start == self.end {
                self.start = 0;
                self.end = 0;
            } else if self.start + want > self.data.len() {
                self.data.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            let room = self.data.get_mut(self.end..).unwrap_or_default();
            if room.is_empty() {
                break;
            }
            let n = checked_read(&mut self.source, room)?;
            self.ended = n == 0;
            self.end += n;
        }
        Ok(self.end - self.start)
    }

    /// Takes the source's next piece for the window, where it has one, with what is left of the old
    /// window before it.
    fn exchange(&mut self) -> Result<bool> {
        let left = self.end - self.start;
        if left > BEFORE {
            return Ok(false);
        }
        let Some((mut data, range)) = self.source.piece()? else {
            return Ok(false);
        };
        let start = match range.start.checked_sub(left) {
            Some(start) if data.get(range.clone()).is_some() => start,
            _ => return Err(lied()),
        };
        if let Some(room) = data.get_mut(start..range.start) {
            room.copy_from_slice(self.unread());
        }
        self.ended = range.is_empty();
        let old = std::mem::replace(&mut self.data, data);
        (self.start, self.end) = (start, range.end);
        self.source.reuse(old);
        Ok(true)
    }

    /// Reads past the (empty) window, straight to `out`.
    pub(super) fn read_through(&mut self, out: &mut [u8]) -> Result<usize> {
        if self.ended {
            return Ok(0);
        }
        let n = checked_read(&mut self.source, out)?;
        self.ended = n == 0;
        self.taken += n as u64;
        Ok(n)
    }
}

/// A source written by someone else may lie about its count.
pub(super) fn checked_read<S: Source>(source: &mut S, room: &mut [u8]) -> Result<usize> {
    let n = source.read(room)?;
    match n > room.len() {
        true => Err(lied()),
        false => Ok(n),
    }
}

fn lied() -> Error {
    Error::new(
        Code::Invalid,
        Errno::INVAL,
        "the source says that it read more than there is room for",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::ops::Range;

    /// Gives these pieces, with `BEFORE` and `more` in front of each; or a range that is a lie.
    struct Pieces<'a> {
        pieces: &'a [&'a [u8]],
        more: usize,
        lie: Option<Range<usize>>,
        reused: usize,
    }

    impl Source for Pieces<'_> {
        fn read(&mut self, _: &mut [u8]) -> Result<usize> {
            panic!("it has pieces")
        }

        fn piece(&mut self) -> Result<Option<(Vec<u8>, Range<usize>)>> {
            let piece = self.pieces.first().copied().unwrap_or_default();
            self.pieces = self.pieces.get(1..).unwrap_or_default();
            let start = BEFORE + self.more;
            let mut bytes = vec![b'x'; start];
            bytes.extend_from_slice(piece);
            // What comes behind is not the source's.
            bytes.extend_from_slice(b"yyy");
            let range = self.lie.clone().unwrap_or(start..start + piece.len());
            Ok(Some((bytes, range)))
        }

        fn reuse(&mut self, _: Vec<u8>) {
            self.reused += 1;
        }
    }

    fn pieces<'a>(pieces: &'a [&'a [u8]], more: usize) -> Buffer<Pieces<'a>> {
        let source = Pieces {
            pieces,
            more,
            lie: None,
            reused: 0,
        };
        Buffer::new(source, 4 * BEFORE)
    }

    #[test]
    fn pieces_are_one_stream() {
        let all: Vec<u8> = (0..3 * BEFORE).map(|n| (n % 251) as u8).collect();
        for size in [1000, BEFORE - 1, BEFORE, BEFORE + 1, 2 * BEFORE] {
            let cut: Vec<&[u8]> = all.chunks(size).collect();
            for (more, want) in [(0, BEFORE), (7, BEFORE), (0, 512), (0, 1)] {
                let mut buffer = pieces(&cut, more);
                let mut got = Vec::new();
                loop {
                    let there = buffer.fill_to(want).unwrap();
                    if there == 0 {
                        break;
                    }
                    assert!(there >= want.min(all.len() - got.len()));
                    got.extend_from_slice(buffer.take(want));
                }
                assert!(got == all, "pieces of {size}, {want} at a time");
                assert_eq!(buffer.offset(), all.len() as u64);
                // Each brought another one back, the end too.
                assert_eq!(buffer.source().reused, cut.len() + 1);
                assert_eq!(buffer.fill_to(1).unwrap(), 0);
            }
        }
    }

    #[test]
    fn a_piece_that_is_not_there_is_an_error() {
        let inverted = Range {
            start: BEFORE + 2,
            end: BEFORE + 1,
        };
        for lie in [
            BEFORE..BEFORE + 99,
            usize::MAX - 1..usize::MAX,
            inverted,
            0..5,
        ] {
            let mut buffer = pieces(&[b"some", b"more"], 0);
            assert_eq!(buffer.fill_to(1).unwrap(), 4);
            buffer.source_mut().lie = Some(lie.clone());
            let error = buffer.fill_to(5).unwrap_err();
            assert_eq!(error.errno(), Errno::INVAL, "{lie:?}");
            assert_eq!(buffer.unread(), b"some");
        }
    }
}
