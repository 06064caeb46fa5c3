//! The way of a tar's bytes outwards: gathered into large pieces, which are hashed and written.

use super::Exported;
use super::later::{self, Later, Turn};
use crate::archive::{Room, Sha256, Sink};
use crate::error::Result;

/// Bytes of a piece; only the last is shorter.
pub(super) const PIECE: usize = 256 << 10;

/// A part of a tar.
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    /// What is still to be read into it.
    later: Vec<Later>,
    /// The entry at which it was full: where an error of the sink is told.
    path: Vec<u8>,
}

/// Takes pieces.
pub(super) trait Take {
    /// Takes one, and gives room for another.
    fn take(&mut self, piece: Piece) -> Result<Vec<u8>>;

    /// Leave to have one more file read by who takes the piece.
    fn turn(&self) -> Option<Turn> {
        None
    }

    /// Whether nothing more is wanted for now, with so many bytes to come.
    fn is_enough(&self, _bytes: u64) -> bool {
        false
    }
}

impl<T: Take> Take for &mut T {
    fn take(&mut self, piece: Piece) -> Result<Vec<u8>> {
        (**self).take(piece)
    }
}

/// Gathers pieces.
pub(super) struct Gather<T> {
    to: T,
    buf: Vec<u8>,
    filled: usize,
    later: Vec<Later>,
    path: Vec<u8>,
}

impl<T: Take> Gather<T> {
    pub(super) fn new(to: T) -> Self {
        Gather {
            to,
            buf: vec![0; PIECE],
            filled: 0,
            later: Vec::new(),
            path: Vec::new(),
        }
    }

    /// The entry that is written from now on.
    pub(super) fn set_path(&mut self, path: &[u8]) {
        self.path.clear();
        self.path.extend_from_slice(path);
    }

    /// Leave to have one more file read by who takes the piece.
    pub(super) fn turn(&self) -> Option<Turn> {
        self.to.turn()
    }

    /// Where the next byte goes in the piece.
    pub(super) fn at(&self) -> usize {
        self.filled
    }

    /// The entry that is written.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// A file that is to be read into this piece.
    pub(super) fn later(&mut self, later: Later) {
        self.later.push(later);
    }

    /// Who takes the pieces.
    pub(super) fn to(&mut self) -> &mut T {
        &mut self.to
    }

    /// Whether those who take have enough, with so many bytes to come.
    pub(super) fn is_enough(&self, bytes: u64) -> bool {
        self.to.is_enough(bytes.saturating_add(self.filled as u64))
    }

    /// Hands on what there is.
    pub(super) fn flush(&mut self) -> Result<()> {
        let mut bytes = std::mem::take(&mut self.buf);
        bytes.truncate(std::mem::take(&mut self.filled));
        let path = self.path.clone();
        let later = std::mem::take(&mut self.later);
        self.buf = self.to.take(Piece { bytes, later, path })?;
        self.buf.resize(PIECE, 0);
        Ok(())
    }
}

impl<T: Take> Sink for Gather<T> {
    fn write_all(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            let room = self.room()?;
            let (now, later) = data.split_at(data.len().min(room.len()));
            if let Some(room) = room.get_mut(..now.len()) {
                room.copy_from_slice(now);
            }
            self.filled(now.len());
            data = later;
        }
        Ok(())
    }
}

impl<T: Take> Room for Gather<T> {
    fn room(&mut self) -> Result<&mut [u8]> {
        if self.filled == self.buf.len() {
            self.flush()?;
        }
        Ok(self.buf.get_mut(self.filled..).unwrap_or_default())
    }

    fn filled(&mut self, count: usize) {
        self.filled = (self.filled + count).min(self.buf.len());
    }
}

/// Hashes and writes pieces: the caller's sink, on the caller's thread.
pub(super) struct Out<S> {
    sink: S,
    hash: Sha256,
    bytes: u64,
}

impl<S: Sink> Out<S> {
    pub(super) fn new(sink: S) -> Self {
        Out {
            sink,
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    /// What was written.
    pub(super) fn finish(self, mut done: Exported) -> Exported {
        done.tar_size = self.bytes;
        done.diff_id = Some(self.hash.digest());
        done
    }
}

impl<S: Sink> Take for Out<S> {
    fn take(&mut self, piece: Piece) -> Result<Vec<u8>> {
        let Piece {
            mut bytes,
            later,
            path,
        } = piece;
        for file in &later {
            file.read(&mut bytes)?;
        }
        later::close(later);
        self.bytes += bytes.len() as u64;
        self.hash.update(&bytes);
        self.sink
            .write_all(&bytes)
            .map_err(|error| error.at(path))?;
        Ok(bytes)
    }
}
