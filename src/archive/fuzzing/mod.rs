//! What the fuzz targets of the archive code do with their bytes.
//!
//! Each takes any bytes and panics where a promise is broken. See `docs/fuzzing.md`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod codecs;
mod names;
mod records;
mod sparse;
mod tar;
mod written;

pub use codecs::{gzip, zstd};
pub use names::names;
pub use records::pax;
pub use sparse::sparse;
pub(crate) use tar::repair;
pub use tar::tar;
pub use written::roundtrip;

use super::{Entry, Kind, Limits, Reader, Source};
use crate::error::{Code, Errno, Error, Result};

/// Makes choices of the fuzzer's bytes, from the first to the last; then all are 0.
pub struct Choices<'a>(pub &'a [u8]);

impl<'a> Choices<'a> {
    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    pub fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(n.min(self.0.len()));
        self.0 = tail;
        head
    }

    pub fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// A number, often one at an edge.
    pub fn number(&mut self) -> u64 {
        let small = u64::from(self.byte());
        match small {
            0..=199 => small,
            200..=240 => {
                let power = 1_u64 << (self.byte() & 63);
                power.wrapping_add(small).wrapping_sub(220)
            }
            _ => {
                let mut bytes = [0; 8];
                let taken = self.bytes(8);
                bytes[..taken.len()].copy_from_slice(taken);
                u64::from_le_bytes(bytes)
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Gives a few bytes at a time.
struct Dribble<'a>(&'a [u8], usize);

impl Source for Dribble<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let n = self.1.min(buf.len());
        self.0.read(&mut buf[..n])
    }
}

/// An entry with its data: pieces that do not touch.
type Item = (Entry, Vec<(u64, Vec<u8>)>);

/// What came of reading an archive.
struct Read {
    items: Vec<Item>,
    error: Option<Error>,
}

impl Read {
    /// What kind of end it was.
    fn end(&self) -> Option<(Errno, Code)> {
        self.error
            .as_ref()
            .map(|error| (error.errno(), error.code()))
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.items.iter().map(|item| &item.0)
    }
}

/// Reads all entries, and their data if it is wanted, and sees that the reader keeps its promises.
fn read(source: impl Source, limits: &Limits, data: bool) -> Read {
    let mut reader = Reader::new(source, limits.clone());
    let mut items = Vec::new();
    let error = loop {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break None,
            Err(error) => break Some(error),
        };
        check_entry(&entry, limits);
        let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut end = 0;
        let broken = loop {
            if !data {
                break None;
            }
            match reader.next_chunk() {
                Ok(Some(chunk)) => {
                    assert!(!chunk.data.is_empty());
                    assert!(chunk.offset >= end, "a piece goes backwards");
                    end = chunk.offset + chunk.data.len() as u64;
                    assert!(end <= entry.size);
                    match pieces.last_mut() {
                        Some((at, bytes)) if *at + bytes.len() as u64 == chunk.offset => {
                            bytes.extend_from_slice(chunk.data);
                        }
                        _ => pieces.push((chunk.offset, chunk.data.to_vec())),
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if data && broken.is_none() && !entry.sparse {
            assert_eq!(end, entry.size);
        }
        items.push((entry, pieces));
        if broken.is_some() {
            break broken;
        }
    };
    assert!(items.len() as u64 <= limits.max_entries);
    if let Some(error) = &error {
        check_error(error);
        assert!(reader.next_entry().is_err() && reader.next_chunk().is_err());
    } else {
        assert!(reader.next_entry().unwrap().is_none());
    }
    Read { items, error }
}

/// An archive is refused in one of few ways.
fn check_error(error: &Error) {
    let told = (error.errno(), error.code());
    let known = [
        (Errno::BADMSG, Code::Archive),
        (Errno::BADMSG, Code::Truncated),
        (Errno::INVAL, Code::Archive),
        (Errno::NAMETOOLONG, Code::Archive),
        (Errno::OPNOTSUPP, Code::Archive),
        (Errno::OPNOTSUPP, Code::Unsupported),
        (Errno::FBIG, Code::Limit),
    ];
    assert!(known.contains(&told), "{error}: {told:?}");
    assert!(
        error.message().len() < 4096,
        "a message as long as the input"
    );
}

fn check_entry(entry: &Entry, limits: &Limits) {
    assert!(entry.mode <= 0o7777 && entry.uid < u32::MAX && entry.gid < u32::MAX);
    assert!(entry.mtime.nsec < 1_000_000_000);
    assert!(entry.path.len() <= limits.max_path && entry.link.len() <= limits.max_path);
    assert!(!entry.path.contains(&0) && !entry.link.contains(&0));
    let is_link = matches!(entry.kind, Kind::HardLink | Kind::Symlink);
    assert_eq!(is_link, !entry.link.is_empty());
    assert!(entry.kind == Kind::File || (entry.size == 0 && !entry.sparse));
    assert!(entry.size <= limits.max_file_bytes);
    let is_device = matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice);
    assert!(is_device || (entry.major, entry.minor) == (0, 0));
    assert!(entry.major <= 0xfff && entry.minor <= 0xf_ffff);
    assert!(entry.xattrs.is_sorted_by(|a, b| a.0 < b.0));
    let mut bytes = 0;
    for (name, value) in &entry.xattrs {
        assert!(!name.is_empty() && !name.contains(&0));
        bytes += (name.len() + value.len()) as u64;
    }
    assert!(bytes <= limits.max_xattr_bytes);
}

/// Limits that a small input reaches.
fn small_limits() -> Limits {
    Limits {
        max_entries: 500,
        max_meta_bytes: 32 << 10,
        max_xattr_bytes: 8 << 10,
        max_path: 4000,
        max_sparse_regions: 200,
        max_file_bytes: 1 << 40,
    }
}

/// An entry with nothing special.
pub fn plain(path: &[u8], kind: Kind) -> Entry {
    Entry {
        mode: 0o644,
        ..Entry::new(path.to_vec(), kind)
    }
}
