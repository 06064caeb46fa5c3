//! A source whose beginning was read before anybody asked, and one that another thread reads.

use super::buffer::checked_read;
use super::{BEFORE, Sha256, Source};
use crate::error::Result;
use crate::relay::Relay;
use crate::watch::LOOK;
use std::ops::Range;
use std::time::Duration;

/// What is read at once, at most.
const PIECE: usize = 256 << 10;

/// A piece is not handed on with less, as long as there is more at once.
const ENOUGH: usize = 64 << 10;

/// Some of a source's bytes.
#[derive(Default)]
pub struct Piece {
    /// Kept at its full length; the first [`BEFORE`] are not the source's.
    bytes: Vec<u8>,
    length: usize,
    /// They are in the source's hash.
    hashed: bool,
}

impl Piece {
    /// Fills it with the next bytes of `source`; false at the end. `look` is asked between two reads.
    pub fn read<S: Source>(
        &mut self,
        source: &mut Begun<S>,
        mut look: impl FnMut() -> Result<()>,
    ) -> Result<bool> {
        // Those were read before the hash was lent.
        self.hashed = source.has_head();
        self.length = 0;
        self.bytes.resize(BEFORE + PIECE, 0);
        self.length = checked_read(source, self.room())?;
        while self.length > 0
            && self.length < ENOUGH
            && self.hashed == source.has_head()
            && source.is_ready_within(Duration::ZERO)?
        {
            look()?;
            match checked_read(source, self.room()) {
                Ok(0) => break,
                Ok(more) => self.length += more,
                Err(error) => {
                    source.end = Some(Err(error));
                    break;
                }
            }
        }
        Ok(self.length > 0)
    }

    fn room(&mut self) -> &mut [u8] {
        let filled = BEFORE + self.length;
        self.bytes.get_mut(filled..).unwrap_or_default()
    }

    fn bytes(&self) -> &[u8] {
        let end = BEFORE + self.length;
        self.bytes.get(BEFORE..end).unwrap_or_default()
    }

    /// How many they are.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Adds them to the hash that the source has lent.
    pub fn hash(&mut self, hash: &mut Sha256) {
        if !std::mem::replace(&mut self.hashed, true) {
            hash.update(self.bytes());
        }
    }
}

/// A source, and what was read of it to see how long it is.
pub struct Begun<S> {
    head: Vec<u8>,
    /// So many bytes of it were read, and so many of these are given.
    length: usize,
    given: usize,
    /// What reading ended with: the source's end, or an error that is still to be told.
    end: Option<Result<()>>,
    source: S,
}

impl<S: Source> Begun<S> {
    /// Nothing is read yet.
    pub fn new(source: S) -> Self {
        Begun {
            head: Vec::new(),
            length: 0,
            given: 0,
            end: None,
            source,
        }
    }

    /// Whether it has more than `most` bytes, or pauses before these are here; so many are read to
    /// see that. An error in them is for whoever reads so far. `look` is asked between two reads.
    pub fn is_long(
        &mut self,
        most: usize,
        pause: Duration,
        mut look: impl FnMut() -> Result<()>,
    ) -> Result<bool> {
        // Not touched before something is read into it: most tars are short.
        self.head = vec![0; most + 1];
        while self.length <= most && self.end.is_none() {
            look()?;
            if !self.source.is_ready_within(pause)? {
                // Before the first byte there is nothing to be done meanwhile, and nothing known.
                if self.length == 0 {
                    continue;
                }
                return Ok(true);
            }
            let room = self.head.get_mut(self.length..).unwrap_or_default();
            let most = room.len();
            match self.source.read(room) {
                Ok(0) => self.end = Some(Ok(())),
                Ok(more) => self.length += more.min(most),
                Err(error) => self.end = Some(Err(error)),
            }
        }
        Ok(self.length > most)
    }

    /// The error that reading ended with, if nobody has met it.
    pub fn untold(self) -> Result<()> {
        self.end.unwrap_or(Ok(()))
    }

    /// Whether the next read gives what was read to see how long it is.
    fn has_head(&self) -> bool {
        self.given < self.length
    }
}

impl<S: Source> Source for Begun<S> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let mut rest = self.head.get(self.given..self.length).unwrap_or_default();
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
/// to be read into again.
pub struct Ahead<'a> {
    pieces: &'a Relay<Result<Piece>>,
    empty: &'a Relay<Piece>,
    piece: Piece,
    given: usize,
    idle: &'a dyn Fn() -> Result<()>,
}

impl<'a> Ahead<'a> {
    /// The end comes when `pieces` is closed. `idle` is called before the next one is waited for, and
    /// now and then while it is; its error ends that.
    pub fn new(
        pieces: &'a Relay<Result<Piece>>,
        empty: &'a Relay<Piece>,
        idle: &'a dyn Fn() -> Result<()>,
    ) -> Self {
        Ahead {
            pieces,
            empty,
            piece: Piece::default(),
            given: 0,
            idle,
        }
    }

    /// Goes on to the next piece where this one is given; false at the end.
    fn next(&mut self) -> Result<bool> {
        while self.given == self.piece.length {
            let used = std::mem::take(&mut self.piece);
            self.reuse(used.bytes);
            self.given = 0;
            let next = match self.pieces.take_now() {
                Some(next) => Some(next),
                None => {
                    (self.idle)()?;
                    self.pieces.take_looking(LOOK, self.idle)?
                }
            };
            match next.transpose()? {
                Some(next) => self.piece = next,
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

impl Source for Ahead<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        if !self.next()? {
            return Ok(0);
        }
        let mut rest = self.piece.bytes().get(self.given..).unwrap_or_default();
        let read = rest.read(buf)?;
        self.given += read;
        Ok(read)
    }

    fn piece(&mut self) -> Result<Option<(Vec<u8>, Range<usize>)>> {
        if !self.next()? {
            // Of an end there is no buffer, only room.
            return Ok(Some((vec![0; BEFORE], BEFORE..BEFORE)));
        }
        let Piece { bytes, length, .. } = std::mem::take(&mut self.piece);
        let given = std::mem::take(&mut self.given);
        Ok(Some((bytes, BEFORE + given..BEFORE + length)))
    }

    fn reuse(&mut self, bytes: Vec<u8>) {
        if bytes.capacity() > 0 {
            self.empty.give_now(Piece {
                bytes,
                ..Piece::default()
            });
        }
    }
}
