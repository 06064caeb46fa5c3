//! A disk in memory that remembers what was asked of it, and what is left of that after a cut.
//!
//! Blocks are shared between all disks made of one another: a disk as it was at some cut costs its
//! table of blocks, and what is written to it afterwards is its own.

use std::sync::{Arc, Mutex};

/// Bytes of a block of the table.
pub const BLOCK: usize = 4096;
/// What a disk writes whole or not at all.
pub const SECTOR: usize = 512;

type Block = [u8; BLOCK];

/// The content of a disk. Blocks that are not there are zeros.
#[derive(Clone, Default)]
pub struct Content {
    blocks: Vec<Option<Arc<Block>>>,
}

impl Content {
    /// `size` bytes of zeros.
    pub fn new(size: u64) -> Content {
        let count = usize::try_from(size).unwrap().div_ceil(BLOCK);
        Content {
            blocks: vec![None; count],
        }
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        (self.blocks.len() * BLOCK) as u64
    }

    /// The blocks that are not zeros.
    pub fn blocks(&self) -> impl Iterator<Item = (usize, &Block)> {
        let some = |(at, block): (usize, &'_ Option<Arc<Block>>)| block.is_some().then_some(at);
        let there: Vec<usize> = self.blocks.iter().enumerate().filter_map(some).collect();
        there
            .into_iter()
            .filter_map(|at| self.blocks[at].as_deref().map(|block| (at, block)))
    }

    /// The pieces of `len` bytes at `at`: block, where in it, where in the bytes, how many.
    fn pieces(at: u64, len: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        let at = usize::try_from(at).unwrap();
        let mut done = 0;
        std::iter::from_fn(move || {
            if done == len {
                return None;
            }
            let here = at + done;
            let some = (BLOCK - here % BLOCK).min(len - done);
            let piece = (here / BLOCK, here % BLOCK, done, some);
            done += some;
            Some(piece)
        })
    }

    /// Reads; what lies behind the end is zeros.
    pub fn read(&self, at: u64, out: &mut [u8]) {
        for (block, from, to, len) in Self::pieces(at, out.len()) {
            match self.blocks.get(block) {
                Some(Some(data)) => out[to..to + len].copy_from_slice(&data[from..from + len]),
                _ => out[to..to + len].fill(0),
            }
        }
    }

    /// Writes; what lies behind the end is lost.
    pub fn write(&mut self, at: u64, data: &[u8]) {
        for (block, to, from, len) in Self::pieces(at, data.len()) {
            let Some(slot) = self.blocks.get_mut(block) else {
                return;
            };
            let here = slot.get_or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(here)[to..to + len].copy_from_slice(&data[from..from + len]);
        }
    }

    /// Writes zeros.
    pub fn zero(&mut self, at: u64, len: u64) {
        let end = (at + len).min(self.size());
        let len = usize::try_from(end.saturating_sub(at)).unwrap();
        for (block, to, _, len) in Self::pieces(at, len) {
            match &mut self.blocks[block] {
                slot if len == BLOCK => *slot = None,
                Some(data) => Arc::make_mut(data)[to..to + len].fill(0),
                None => {}
            }
        }
    }

    /// Does what was asked, a flush excepted: that is nothing to a content.
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Write(at, data) => self.write(*at, data),
            Entry::Zero(at, len) => self.zero(*at, *len),
            Entry::Flush => {}
        }
    }
}

/// One request to a disk.
#[derive(Clone)]
pub enum Entry {
    /// Data at an offset.
    Write(u64, Arc<[u8]>),
    /// So many zeros at an offset: a hole, a discard.
    Zero(u64, u64),
    /// What came before is on the medium when this is answered.
    Flush,
}

/// A disk that a file system is mounted on.
pub struct Disk {
    inner: Mutex<(Content, Option<Vec<Entry>>)>,
    size: u64,
}

impl Disk {
    /// A disk with this content; `logs` whether it remembers.
    pub fn new(content: Content, logs: bool) -> Arc<Disk> {
        Arc::new(Disk {
            size: content.size(),
            inner: Mutex::new((content, logs.then(Vec::new))),
        })
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads.
    pub fn read(&self, at: u64, out: &mut [u8]) {
        self.inner.lock().unwrap().0.read(at, out);
    }

    /// Does and remembers a request.
    pub fn ask(&self, entry: Entry) {
        let (content, log) = &mut *self.inner.lock().unwrap();
        content.apply(&entry);
        if let Some(log) = log {
            log.push(entry);
        }
    }

    /// How many requests it has answered since it began to remember.
    pub fn position(&self) -> usize {
        let inner = self.inner.lock().unwrap();
        inner.1.as_ref().map_or(0, Vec::len)
    }

    /// Forgets the requests so far: gives the content that they led to.
    pub fn begin(&self) -> Content {
        let (content, log) = &mut *self.inner.lock().unwrap();
        *log = Some(Vec::new());
        content.clone()
    }

    /// What it remembers; it remembers no more.
    pub fn end(&self) -> Vec<Entry> {
        self.inner.lock().unwrap().1.take().unwrap_or_default()
    }
}
