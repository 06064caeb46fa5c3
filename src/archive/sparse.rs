//! Files with holes: the old GNU format, and GNU's 0.0, 0.1 and 1.0 on PAX.
//!
//! All four say the same: the real size, and the regions that hold data, whose bytes follow in the
//! archive without gaps. A map must go forwards, stay inside the file, and account for exactly the
//! bytes that are stored.

use super::header::{self, BLOCK};
use super::pax::{decimal, name};
use super::{malformed, over_limit};
use crate::error::{Code, Errno, Error, Result};

/// A part of a file that holds data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Where it begins in the file.
    pub offset: u64,
    /// How long it is.
    pub len: u64,
}

/// Length of a region in a block of the old format: two numbers of 12 bytes.
const OLD_REGION: usize = 24;

/// A map as it is read.
pub(super) struct Map {
    regions: Vec<Region>,
    seen: u64,
    max: u64,
    end: u64,
    stored: u64,
}

impl Map {
    pub(super) fn new(max: u64) -> Self {
        Map {
            regions: Vec::new(),
            seen: 0,
            max,
            end: 0,
            stored: 0,
        }
    }

    pub(super) fn push(&mut self, offset: u64, len: u64) -> Result<()> {
        self.seen += 1;
        self.check_count(self.seen)?;
        if offset < self.end {
            return Err(malformed(
                "the sparse map overlaps itself or goes backwards",
            ));
        }
        self.end = offset
            .checked_add(len)
            .filter(|&end| end <= i64::MAX as u64)
            .ok_or_else(|| malformed("the sparse map goes beyond the largest file"))?;
        // Regions do not overlap, so this sum is at most `end`.
        self.stored += len;
        if len > 0 {
            self.regions.push(Region { offset, len });
        }
        Ok(())
    }

    pub(super) fn check_count(&self, count: u64) -> Result<()> {
        match count > self.max {
            true => Err(over_limit(format!(
                "the sparse map has more than {} regions",
                self.max
            ))),
            false => Ok(()),
        }
    }

    /// The regions, when they fit a file of `size` bytes of which `stored` are in the archive.
    pub(super) fn finish(self, size: u64, stored: u64) -> Result<Vec<Region>> {
        if self.end > size {
            return Err(malformed("the sparse map goes beyond the file's size"));
        }
        if self.stored != stored {
            return Err(malformed(format!(
                "the sparse map says {} bytes, the archive holds {stored}",
                self.stored
            )));
        }
        Ok(self.regions)
    }

    /// Regions of a header or extension block of the old format; an empty one ends them. True if
    /// all are in use.
    pub(super) fn push_old(&mut self, raw: &[u8]) -> Result<bool> {
        for region in raw.chunks_exact(OLD_REGION) {
            let (offset, len) = region.split_at(OLD_REGION / 2);
            if offset.first() == Some(&0) || len.first() == Some(&0) {
                return Ok(false);
            }
            self.push(
                header::unsigned(offset, "sparse offset")?,
                header::unsigned(len, "sparse length")?,
            )?;
        }
        Ok(true)
    }
}

/// The extension block of the old format: 21 regions and the flag that another block follows.
pub(super) fn old_extension(block: &[u8; BLOCK]) -> (&[u8], bool) {
    let (regions, rest) = block.split_at(21 * OLD_REGION);
    (regions, rest.first() != Some(&0))
}

/// The `GNU.sparse.*` records of a PAX header.
#[derive(Default)]
pub(super) struct Keys {
    version: (Option<u64>, Option<u64>),
    pub(super) name: Option<Vec<u8>>,
    size: Option<u64>,
    real_size: Option<u64>,
    count: Option<u64>,
    /// Offsets and lengths in turn, of 0.0 or 0.1.
    numbers: Vec<u64>,
    any: bool,
}

/// Where the map of a PAX sparse file is.
pub(super) enum Place {
    /// It was in the header.
    Header(Map),
    /// It stands before the data (1.0).
    Data,
}

impl Keys {
    pub(super) fn record(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.any = true;
        match key {
            b"major" => self.version.0 = Some(decimal(value, "GNU.sparse.major")?),
            b"minor" => self.version.1 = Some(decimal(value, "GNU.sparse.minor")?),
            b"name" => self.name = Some(name(value, "GNU.sparse.name")?),
            b"size" => self.size = Some(decimal(value, "GNU.sparse.size")?),
            b"realsize" => self.real_size = Some(decimal(value, "GNU.sparse.realsize")?),
            b"numblocks" => self.count = Some(decimal(value, "GNU.sparse.numblocks")?),
            b"offset" | b"numbytes" => {
                if (self.numbers.len() % 2 == 0) != (key == b"offset") {
                    return Err(malformed("sparse offsets and lengths do not come in turn"));
                }
                self.numbers.push(decimal(value, "sparse region")?);
            }
            b"map" => {
                let numbers = value
                    .split(|&byte| byte == b',')
                    .filter(|_| !value.is_empty());
                self.numbers = numbers
                    .map(|n| decimal(n, "GNU.sparse.map"))
                    .collect::<Result<_>>()?;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.any
    }

    /// The real size, and where the map is.
    pub(super) fn place(&self, max_regions: u64) -> Result<(u64, Place)> {
        match self.version {
            (Some(1), Some(0)) => match self.real_size {
                Some(size) if self.numbers.is_empty() => Ok((size, Place::Data)),
                Some(_) => Err(malformed("a sparse file has two maps")),
                None => Err(malformed("a sparse file does not say its size")),
            },
            (None, None) | (Some(0), Some(0 | 1)) => {
                let size = self.size.or(self.real_size);
                let size = size.ok_or_else(|| malformed("a sparse file does not say its size"))?;
                let mut map = Map::new(max_regions);
                map.check_count(self.count.unwrap_or(0))?;
                for pair in self.numbers.chunks(2) {
                    match *pair {
                        [offset, len] => map.push(offset, len)?,
                        _ => return Err(malformed("the sparse map ends with half a region")),
                    }
                }
                if self.count.is_some_and(|count| count != map.seen) {
                    return Err(malformed("the sparse map's count of regions is wrong"));
                }
                Ok((size, Place::Header(map)))
            }
            _ => Err(Error::new(
                Code::Archive,
                Errno::OPNOTSUPP,
                "a sparse file is of an unknown version",
            )),
        }
    }
}

/// Reads the map of 1.0: decimal numbers, a newline after each, padded to a block.
pub(super) struct TextMap {
    map: Map,
    left: Option<u64>,
    offset: Option<u64>,
    number: Option<u64>,
}

impl TextMap {
    pub(super) fn new(max_regions: u64) -> Self {
        TextMap {
            map: Map::new(max_regions),
            left: None,
            offset: None,
            number: None,
        }
    }

    /// Takes one block; true when the map is complete.
    pub(super) fn feed(&mut self, block: &[u8]) -> Result<bool> {
        let bad = || malformed("the sparse map is not a list of numbers");
        for &byte in block {
            if byte != b'\n' {
                let digit = byte.wrapping_sub(b'0');
                if digit > 9 {
                    return Err(bad());
                }
                let number = self.number.unwrap_or(0).checked_mul(10);
                self.number = number.and_then(|number| number.checked_add(u64::from(digit)));
                self.number.ok_or_else(bad)?;
                continue;
            }
            let number = self.number.take().ok_or_else(bad)?;
            match (self.left, self.offset.take()) {
                (None, _) => {
                    self.map.check_count(number)?;
                    self.left = Some(number);
                }
                (Some(_), None) => self.offset = Some(number),
                (Some(left), Some(offset)) => {
                    self.map.push(offset, number)?;
                    self.left = Some(left - 1);
                }
            }
            if self.left == Some(0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn into_map(self) -> Map {
        self.map
    }
}
