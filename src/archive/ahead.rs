//! A source whose beginning was read before anybody asked, and one that another thread reads.

use super::{Sha256, Source};
use crate::error::Result;
use crate::relay::Relay;
use std::time::Duration;

/// What is read at once.
const PIECE: usize = 256 << 10;

/// Some of a source's bytes.
#[derive(Default)]
pub struct Piece {
    bytes: Vec<u8>,
    /// They are in the source's hash.
    hashed: bool,
}

impl Piece {
    /// Fills it with the next bytes of `source`; false at the end.
    pub fn read<S: Source>(&mut self, source: &mut Begun<S>) -> Result<bool> {
        // Those were read before the hash was lent.
        self.hashed = source.has_head();
        self.bytes.resize(PIECE, 0);
        let length = source.read(&mut self.bytes)?;
        self.bytes.truncate(length);
        Ok(length > 0)
    }

    /// Adds them to a hash that was lent.
    pub fn hash(&mut self, hash: &mut Option<Sha256>) {
        if let (Some(hash), false) = (hash, self.hashed) {
            hash.update(&self.bytes);
        }
        self.hashed = true;
    }
}

/// A source, and what was read of it to see how long it is.
pub struct Begun<S> {
    head: Vec<u8>,
    given: usize,
    /// What reading the beginning ended with: the source's end, or an error.
    end: Option<Result<()>>,
    source: S,
}

impl<S: Source> Begun<S> {
    /// Nothing is read yet.
    pub fn new(source: S) -> Self {
        Begun {
            head: Vec::new(),
            given: 0,
            end: None,
            source,
        }
    }

    /// Whether it has more than `most` bytes; so many are read to see that. An error in them is for
    /// whoever reads so far. `look` is asked between two reads.
    pub fn is_longer_than(
        &mut self,
        most: usize,
        mut look: impl FnMut() -> Result<()>,
    ) -> Result<bool> {
        while self.head.len() <= most && self.end.is_none() {
            look()?;
            let from = self.head.len();
            self.head.resize(most + 1, 0);
            let read = self
                .source
                .read(self.head.get_mut(from..).unwrap_or_default());
            let length = *read.as_ref().unwrap_or(&0);
            self.head.truncate(from + length.min(most + 1 - from));
            match read {
                Ok(0) => self.end = Some(Ok(())),
                Ok(_) => {}
                Err(error) => self.end = Some(Err(error)),
            }
        }
        Ok(self.head.len() > most)
    }

    /// The error that reading the beginning ended with, if nobody has met it.
    pub fn untold(self) -> Result<()> {
        self.end.unwrap_or(Ok(()))
    }

    /// Whether the next read gives what was read to see how long it is.
    fn has_head(&self) -> bool {
        self.given < self.head.len()
    }
}

impl<S: Source> Source for Begun<S> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let mut rest = self.head.get(self.given..).unwrap_or_default();
        if !rest.is_empty() {
            let read = rest.read(buf)?;
            self.given += read;
            return Ok(read);
        }
        self.head = Vec::new();
        match self.end.take() {
            None => self.source.read(buf),
            Some(Ok(())) => {
                self.end = Some(Ok(()));
                Ok(0)
            }
            Some(Err(error)) => Err(error),
        }
    }

    fn is_ready_within(&mut self, longest: Duration) -> Result<bool> {
        match self.has_head() || self.end.is_some() {
            true => Ok(true),
            false => self.source.is_ready_within(longest),
        }
    }

    fn lend_hash(&mut self) -> Option<Sha256> {
        self.source.lend_hash()
    }

    fn return_hash(&mut self, hash: Sha256) {
        self.source.return_hash(hash);
    }
}

/// Pieces that another thread has read, or the error that it met, in its place. What is used goes back
/// to be read into again. They are hashed here, so that whoever decompresses need not.
pub struct Ahead<'a> {
    pieces: &'a Relay<Result<Piece>>,
    empty: &'a Relay<Piece>,
    hash: Option<Sha256>,
    piece: Piece,
    given: usize,
}

impl<'a> Ahead<'a> {
    /// The end comes when `pieces` is closed.
    pub fn new(
        pieces: &'a Relay<Result<Piece>>,
        empty: &'a Relay<Piece>,
        hash: Option<Sha256>,
    ) -> Self {
        Ahead {
            pieces,
            empty,
            hash,
            piece: Piece::default(),
            given: 0,
        }
    }

    /// Gives the hash back, of all pieces that were taken.
    pub fn into_hash(self) -> Option<Sha256> {
        self.hash
    }
}

impl Source for Ahead<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        while self.given == self.piece.bytes.len() {
            let used = std::mem::take(&mut self.piece);
            self.given = 0;
            if used.bytes.capacity() > 0 {
                self.empty.give_now(used);
            }
            match self.pieces.take() {
                Some(next) => self.piece = next?,
                None => return Ok(0),
            }
            self.piece.hash(&mut self.hash);
        }
        let mut rest = self.piece.bytes.get(self.given..).unwrap_or_default();
        let read = rest.read(buf)?;
        self.given += read;
        Ok(read)
    }
}
