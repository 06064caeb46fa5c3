//! Tests of the archive code as a whole.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod build;
pub mod codecs;
mod dialects;
mod entries;
mod hostile;
mod mutate;
mod roundtrip;
mod sparse;
mod tools;

use crate::archive::{Entry, Kind, Limits, Reader, Source, Time};
use crate::error::Result;

/// An entry with all of its data: the chunks as they came.
type Item = (Entry, Vec<(u64, Vec<u8>)>);

/// Everything in an archive.
fn read_all(source: impl Source) -> Result<Vec<Item>> {
    read_with(source, Limits::default())
}

fn read_with(source: impl Source, limits: Limits) -> Result<Vec<Item>> {
    let mut reader = Reader::new(source, limits);
    let mut items = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut data: Vec<(u64, Vec<u8>)> = Vec::new();
        while let Some(chunk) = reader.next_chunk()? {
            assert!(!chunk.data.is_empty());
            assert!(chunk.offset + chunk.data.len() as u64 <= entry.size);
            match data.last_mut() {
                Some((at, bytes)) if *at + bytes.len() as u64 == chunk.offset => {
                    bytes.extend_from_slice(chunk.data);
                }
                _ => data.push((chunk.offset, chunk.data.to_vec())),
            }
        }
        items.push((entry, data));
    }
    assert!(reader.next_entry()?.is_none(), "the end is the end");
    Ok(items)
}

/// Only the entries, read without looking at their data.
fn entries(source: impl Source) -> Result<Vec<Entry>> {
    let mut reader = Reader::new(source, Limits::default());
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        entries.push(entry);
    }
    Ok(entries)
}

/// The content of a file with its holes filled.
fn content(item: &Item) -> Vec<u8> {
    let mut bytes = vec![0; item.0.size as usize];
    for (at, data) in &item.1 {
        bytes[*at as usize..][..data.len()].copy_from_slice(data);
    }
    bytes
}

fn entry(path: &[u8], kind: Kind) -> Entry {
    Entry {
        mode: 0o644,
        mtime: Time {
            sec: 1_700_000_000,
            nsec: 0,
        },
        ..Entry::new(path.to_vec(), kind)
    }
}

/// Gives `step` bytes at a time.
struct Dribble<'a>(&'a [u8], usize);

impl Source for Dribble<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let n = self.1.min(buf.len());
        self.0.read(&mut buf[..n])
    }
}

/// xorshift64*: the same numbers on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}
