//! Reads a tar: entries one after the other, and their data.
//!
//! Known are v7, ustar, GNU (long names, base-256, old sparse files), PAX (per entry and global,
//! all GNU sparse versions), and star as far as it is ustar.
//!
//! Before an entry there may be one `x`, one `L` and one `K` header, in any order. A second of a
//! kind, a `g` header or the end of the archive after one of them, and a name told differently
//! by `x` and by `L` or `K`, are malformed. So chains are short by themselves.
//!
//! The archive ends with two zero blocks, with one at the end of the stream, or with the stream
//! itself where an entry is complete. What follows the end is left alone.

use super::buffer::Buffer;
use super::entry::{Before, Entry, Limits, describe};
use super::header::{self, BLOCK, Block, cut_short, field};
use super::pax::{Extended, Global};
use super::sparse::{self, Map, Place, Region, TextMap};
use super::{Source, malformed, over_limit, truncated};
use crate::error::{Error, Result};

/// The window over the archive, where the source does not have pieces of its own.
const WINDOW: usize = 256 << 10;

/// Data up to this length is never torn over two chunks.
const WHOLE: u64 = super::BEFORE as u64;

/// A piece of a file's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Where in the file it belongs.
    pub offset: u64,
    /// The bytes; never empty.
    pub data: &'a [u8],
}

/// Reads entries from a [`Source`]. See the module's text.
pub struct Reader<R> {
    input: Buffer<R>,
    limits: Limits,
    global: Global,
    entries: u64,
    body: Body,
    /// Name of the current entry, for errors.
    name: Vec<u8>,
    scratch: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Ended,
    Failed,
}

/// What is left of the current entry's data.
#[derive(Default)]
struct Body {
    offset: u64,
    /// Of the current region.
    left: u64,
    regions: std::vec::IntoIter<Region>,
    /// Bytes in the archive, of all regions.
    stored: u64,
    padding: u64,
}

impl<R: Source> Reader<R> {
    /// Nothing is read before the first `next_entry`.
    pub fn new(source: R, limits: Limits) -> Self {
        Reader {
            input: Buffer::new(source, WINDOW),
            limits,
            global: Global::default(),
            entries: 0,
            body: Body::default(),
            name: Vec::new(),
            scratch: Vec::new(),
            state: State::Running,
        }
    }

    /// The next entry, `None` at the end. Data of the one before that was not read is skipped.
    /// After an error every further call fails.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        match self.state {
            State::Ended => return Ok(None),
            State::Failed => return Err(failed_before()),
            State::Running => {}
        }
        let result = self.advance();
        match result {
            Ok(Some(_)) => {}
            Ok(None) => self.state = State::Ended,
            Err(_) => self.state = State::Failed,
        }
        result
    }

    /// The next piece of the current entry's data, `None` when there is no more. Holes are not
    /// given; data of up to 32 KiB without a hole in it comes in one piece.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk<'_>>> {
        if self.state == State::Failed {
            return Err(failed_before());
        }
        while self.body.left == 0 {
            let Some(region) = self.body.regions.next() else {
                return Ok(None);
            };
            self.body.offset = region.offset;
            self.body.left = region.len;
        }
        let want = self.body.left.min(WHOLE) as usize;
        let there = self
            .input
            .fill_to(want)
            .inspect_err(|_| self.state = State::Failed)?;
        if there == 0 {
            self.state = State::Failed;
            let error = cut_short("a file's data");
            return Err(at(self.input.offset(), &self.name, error));
        }
        let n = self.body.left.min(there as u64);
        let offset = self.body.offset;
        self.body.offset += n;
        self.body.left -= n;
        self.body.stored -= n;
        Ok(Some(Chunk {
            offset,
            data: self.input.take(n as usize),
        }))
    }

    /// How many bytes of the archive were used so far.
    pub fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// Gives the source back; it may have been read beyond the end of the archive.
    pub fn into_source(self) -> R {
        self.input.into_source()
    }

    fn advance(&mut self) -> Result<Option<Entry>> {
        let rest = std::mem::take(&mut self.body);
        if !self.skip(rest.stored + rest.padding)? {
            let error = cut_short("a file's data or its padding");
            return Err(at(self.input.offset(), &self.name, error));
        }
        self.name.clear();
        let mut before = Before::default();
        loop {
            let place = self.input.offset();
            let Some(bytes) = self.block("a header")? else {
                if before.is_empty() {
                    return Ok(None);
                }
                let error = truncated("the archive ends after an extended header");
                return Err(at(place, &self.name, error));
            };
            if bytes.iter().all(|&byte| byte == 0) {
                if before.is_empty() {
                    return self.end(place);
                }
                let error = malformed("the archive ends after an extended header");
                return Err(at(place, &self.name, error));
            }
            let block = Block::parse(&bytes).map_err(|error| at(place, b"", error))?;
            if !before.has_name() {
                self.name = block.name();
            }
            let kind = block.typeflag();
            if !matches!(kind, b'x' | b'g' | b'L' | b'K') {
                self.count(place)?;
                return self.entry(place, &block, before).map(Some);
            }
            let twice = match kind {
                b'x' => before.pax.is_some(),
                b'L' => before.path.is_some(),
                b'K' => before.link.is_some(),
                _ => !before.is_empty(),
            };
            if twice {
                let message = "extended headers follow each other that do not go together";
                return Err(at(place, &self.name, malformed(message)));
            }
            self.meta(place, &block)?;
            let data = std::mem::take(&mut self.scratch);
            let taken = self.take_meta(kind, &data, &mut before);
            self.scratch = data;
            taken.map_err(|error| at(place, &self.name, error))?;
            if kind == b'g' {
                self.count(place)?;
            }
        }
    }

    fn take_meta(&mut self, kind: u8, data: &[u8], before: &mut Before) -> Result<()> {
        match kind {
            b'x' => {
                let pax = Extended::parse(data)?;
                if let Some(path) = pax.sparse.name.as_ref().or(pax.path.as_ref()) {
                    self.name.clone_from(path);
                }
                before.pax = Some(pax);
            }
            b'g' => self.global.update(data)?,
            _ => {
                let text = header::text(data).to_vec();
                if kind == b'L' {
                    self.name.clone_from(&text);
                    before.path = Some(text);
                } else {
                    before.link = Some(text);
                }
            }
        }
        Ok(())
    }

    /// Reads the data of an extended header to `scratch`, which grows only with what arrives.
    fn meta(&mut self, place: u64, block: &Block<'_>) -> Result<()> {
        let fault = |error, name: &[u8]| at(place, name, error);
        let size = block
            .unsigned(field::SIZE, "size")
            .map_err(|error| fault(error, &self.name))?;
        if size > self.limits.max_meta_bytes {
            let max = self.limits.max_meta_bytes;
            let message = format!("an extended header of {size} bytes; {max} are allowed");
            return Err(fault(over_limit(message), &self.name));
        }
        self.scratch.clear();
        let mut left = size;
        while left > 0 {
            let n = self
                .input
                .fill_to(1)?
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            if n == 0 {
                return Err(fault(cut_short("an extended header"), &self.name));
            }
            self.scratch.extend_from_slice(self.input.take(n));
            left -= n as u64;
        }
        match self.skip(header::padding(size))? {
            true => Ok(()),
            false => Err(fault(cut_short("an extended header"), &self.name)),
        }
    }

    fn entry(&mut self, place: u64, block: &Block<'_>, before: Before) -> Result<Entry> {
        let described = describe(block, before, &self.global, &self.limits);
        let (mut entry, data) = described.map_err(|error| at(place, &self.name, error))?;
        self.name.clone_from(&entry.path);
        let mut stored = data.stored;
        let padding = header::padding(stored);
        let Some(map) = data.map else {
            self.body = Body {
                left: stored,
                stored,
                padding,
                ..Body::default()
            };
            return Ok(entry);
        };
        entry.sparse = true;
        let map = match map {
            Place::Header(map) if data.old_extended => self.old_extensions(map)?,
            Place::Header(map) => map,
            Place::Data => self.text_map(&mut stored)?,
        };
        let regions = map
            .finish(entry.size, stored)
            .map_err(|error| at(place, &self.name, error))?;
        self.body = Body {
            regions: regions.into_iter(),
            stored,
            padding,
            ..Body::default()
        };
        Ok(entry)
    }

    fn old_extensions(&mut self, mut map: Map) -> Result<Map> {
        loop {
            let place = self.input.offset();
            let Some(block) = self.block("a sparse map")? else {
                return Err(at(place, &self.name, cut_short("a sparse map")));
            };
            let (regions, more) = sparse::old_extension(&block);
            let full = map
                .push_old(regions)
                .map_err(|error| at(place, &self.name, error))?;
            match (more, full) {
                (false, _) => return Ok(map),
                (true, true) => {}
                (true, false) => {
                    let error = malformed("the sparse map goes on after its end");
                    return Err(at(place, &self.name, error));
                }
            }
        }
    }

    fn text_map(&mut self, stored: &mut u64) -> Result<Map> {
        let mut map = TextMap::new(self.limits.max_sparse_regions);
        loop {
            let place = self.input.offset();
            *stored = stored.checked_sub(BLOCK as u64).ok_or_else(|| {
                at(
                    place,
                    &self.name,
                    malformed("the sparse map is longer than the entry"),
                )
            })?;
            let Some(block) = self.block("a sparse map")? else {
                return Err(at(place, &self.name, cut_short("a sparse map")));
            };
            if map
                .feed(&block)
                .map_err(|error| at(place, &self.name, error))?
            {
                return Ok(map.into_map());
            }
        }
    }

    /// A zero block was read where a header may be: the end, unless something other follows.
    fn end(&mut self, place: u64) -> Result<Option<Entry>> {
        match self.block("the second zero block")? {
            Some(block) if block.iter().any(|&byte| byte != 0) => Err(at(
                place,
                b"",
                malformed("a lone zero block between entries"),
            )),
            _ => Ok(None),
        }
    }

    /// The next block; `None` where the stream ends before it.
    fn block(&mut self, what: &str) -> Result<Option<[u8; BLOCK]>> {
        match self.input.fill_to(BLOCK)? {
            0 => Ok(None),
            n if n < BLOCK => Err(at(self.input.offset(), &self.name, cut_short(what))),
            _ => Ok(self.input.take(BLOCK).try_into().ok()),
        }
    }

    /// Consumes `count` bytes; false if the stream ends before.
    fn skip(&mut self, mut count: u64) -> Result<bool> {
        while count > 0 {
            match self.input.pass(count)? {
                0 => return Ok(false),
                passed => count -= passed,
            }
        }
        Ok(true)
    }

    fn count(&mut self, place: u64) -> Result<()> {
        self.entries += 1;
        match self.entries > self.limits.max_entries {
            true => {
                let message = format!("more than {} entries", self.limits.max_entries);
                Err(at(place, &self.name, over_limit(message)))
            }
            false => Ok(()),
        }
    }
}

fn failed_before() -> Error {
    malformed("reading the archive has failed before")
}

/// An error of the entry `name`, found at byte `place`.
fn at(place: u64, name: &[u8], error: Error) -> Error {
    error.context(format_args!("byte {place}")).at(name)
}
