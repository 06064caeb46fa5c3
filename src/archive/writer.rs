//! Writes a tar in one canonical form: the same entries give the same bytes.
//!
//! An entry is one ustar header when that can say everything. What it cannot say goes to one PAX
//! header before it, in this form:
//!
//! * A name or link target of more than 100 bytes is a `path` or `linkpath` record; the header
//!   holds its first 100 bytes. The ustar prefix is not used. Names that need no record stand in
//!   the header as they are, whatever their bytes; a record that is not UTF-8 brings
//!   `hdrcharset=BINARY` with it.
//! * An owner above 2097151, a size of 8 GiB and more, an mtime with a fraction, before 1970 or
//!   after 2242 are records; the header's field is 0, or the whole seconds where they fit.
//! * Extended attributes are `SCHILY.xattr.NAME`; a name with `=` in it cannot be said that way and
//!   is `LIBARCHIVE.xattr.` with the name percent-encoded and the value in base64.
//! * Records are sorted by key. There are no names of owners, and no times but mtime.
//!
//! What a [`Reader`](super::Reader) with the default [`Limits`] would refuse is not written: EFBIG.
//!
//! A directory's name ends in `/`; the root is `./`. Sparse files are GNU's version 1.0. The archive
//! ends with two zero blocks and is not padded further.

use super::entry::{Entry, Kind, Limits, MAX_MAJOR, MAX_MINOR};
use super::header::{self, BLOCK, MAX_OCTAL_8, MAX_OCTAL_12, field};
use super::records::{Records, time};
use super::sparse::Region;
use super::{Room, Sink, over_limit};
use crate::digits::Digits;
use crate::error::{Error, Result};
use std::borrow::Cow;

/// What is written of an entry: the same that is read. `sparse` is not looked at, the call decides.
pub type Header = Entry;

/// The most regions of one sparse file that are written; its map may have one more, at the end.
pub const MAX_REGIONS: usize = super::entry::MAX_REGIONS as usize - 1;

/// Room for a head that is kept.
const MOST_HEAD: usize = 64 << 10;

const PAX_NAME: &[u8] = b"././@PaxHeader";
const SPARSE_DIR: &[u8] = b"GNUSparseFile.0/";

/// Writes entries to a [`Sink`]. See the module's text.
pub struct Writer<W> {
    sink: W,
    /// Of the current entry's data.
    left: u64,
    padding: usize,
    /// Name of the current entry, for errors.
    name: Vec<u8>,
    /// Room for what stands before its data.
    head: Vec<u8>,
}

impl<W: Sink> Writer<W> {
    /// Nothing is written yet.
    pub fn new(sink: W) -> Self {
        Writer {
            sink,
            left: 0,
            padding: 0,
            name: Vec::new(),
            head: Vec::with_capacity(3 * BLOCK),
        }
    }

    /// Ends the entry before and writes a header. `header.size` bytes of data must follow, which
    /// is 0 for all but regular files.
    pub fn begin(&mut self, header: &Header) -> Result<()> {
        self.end()?;
        check(header)
            .and_then(|()| write_head(&mut self.head, header, None))
            .map_err(|error| error.at(&header.path))?;
        self.open(header, header.size)
    }

    /// As `begin`, for a regular file of which only `regions` are written. They go upwards and do
    /// not touch nor overlap; their bytes, one region after the other, must follow.
    pub fn begin_sparse(&mut self, header: &Header, regions: &[Region]) -> Result<()> {
        self.end()?;
        check(header)
            .and_then(|()| check_regions(header, regions))
            .and_then(|()| write_head(&mut self.head, header, Some(regions)))
            .map_err(|error| error.at(&header.path))?;
        let stored = regions.iter().map(|region| region.len).sum();
        self.open(header, stored)
    }

    /// Writes data of the current entry. More than its header says is EINVAL.
    pub fn data(&mut self, data: &[u8]) -> Result<()> {
        self.left = self
            .left
            .checked_sub(data.len() as u64)
            .ok_or_else(|| Error::invalid("more data than the header says").at(&self.name))?;
        self.put(data)
    }

    /// Ends the current entry. Less data than its header says is EINVAL.
    pub fn end(&mut self) -> Result<()> {
        if self.left > 0 {
            let message = format!("{} bytes fewer than the header says", self.left);
            return Err(Error::invalid(message).at(&self.name));
        }
        let padding = std::mem::take(&mut self.padding);
        self.put([0; BLOCK].get(..padding).unwrap_or_default())
    }

    /// Ends the archive and gives the sink back.
    pub fn finish(mut self) -> Result<W> {
        self.close()?;
        Ok(self.sink)
    }

    /// Ends the archive.
    pub fn close(&mut self) -> Result<()> {
        self.end()?;
        self.put(&[0; 2 * BLOCK])
    }

    /// Where the bytes go.
    pub fn sink(&mut self) -> &mut W {
        &mut self.sink
    }

    /// The same, to look at.
    pub fn sink_ref(&self) -> &W {
        &self.sink
    }

    /// Begins the entry that `head` is of.
    fn open(&mut self, header: &Header, stored: u64) -> Result<()> {
        self.sink.write_all(&self.head)?;
        // The next one will hardly be so large.
        if self.head.capacity() > MOST_HEAD {
            self.head = Vec::new();
        }
        self.name.clone_from(&header.path);
        self.left = stored;
        self.padding = header::padding(stored) as usize;
        Ok(())
    }

    fn put(&mut self, data: &[u8]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        self.sink.write_all(data)
    }
}

impl<W: Room> Writer<W> {
    /// Leaves the place for `len` bytes of data of the current entry to whoever has the sink; where
    /// there is no room for all of them, nothing is done.
    pub fn data_later(&mut self, len: usize) -> Result<bool> {
        if len as u64 > self.left || self.sink.room()?.len() < len {
            return Ok(false);
        }
        self.sink.filled(len);
        self.left -= len as u64;
        Ok(true)
    }

    /// Writes data of the current entry that `read` puts where it will lie, at most `most` bytes;
    /// how many it were.
    pub fn data_from(
        &mut self,
        most: u64,
        read: impl FnOnce(&mut [u8]) -> Result<usize>,
    ) -> Result<usize> {
        let most = usize::try_from(most.min(self.left)).unwrap_or(usize::MAX);
        let room = self.sink.room()?;
        let most = most.min(room.len());
        let got = read(room.get_mut(..most).unwrap_or_default())?;
        self.sink.filled(got);
        self.left = self.left.saturating_sub(got as u64);
        Ok(got)
    }
}

fn check(header: &Header) -> Result<()> {
    let bad = |message: &str| Err(Error::invalid(message));
    if header.path.contains(&0) || header.link.contains(&0) {
        return bad("a name holds a NUL byte");
    }
    if header.path.is_empty() && header.kind != Kind::Directory {
        return bad("only a directory can be the root");
    }
    if header.path.ends_with(b"/") && header.kind != Kind::Directory {
        return bad("only a directory's name may end in a slash");
    }
    if header.link.is_empty() == matches!(header.kind, Kind::HardLink | Kind::Symlink) {
        return bad("links have a target, nothing else has");
    }
    if header.mode > 0o7777 {
        return bad("the mode has more than permission bits");
    }
    if header.uid == u32::MAX || header.gid == u32::MAX {
        return bad("4294967295 is no owner");
    }
    if header.mtime.nsec >= 1_000_000_000 {
        return bad("the mtime has more than 999999999 nanoseconds");
    }
    if header.size > i64::MAX as u64 || (header.size > 0 && header.kind != Kind::File) {
        return bad("the size is not one that the entry can have");
    }
    let device = matches!(header.kind, Kind::CharDevice | Kind::BlockDevice);
    let (max_major, max_minor) = if device {
        (MAX_MAJOR, MAX_MINOR)
    } else {
        (0, 0)
    };
    if header.major > max_major || header.minor > max_minor {
        return bad("the device number is not one that the entry can have");
    }
    Ok(())
}

fn check_regions(header: &Header, regions: &[Region]) -> Result<()> {
    if header.kind != Kind::File {
        return Err(Error::invalid("only a regular file can be sparse"));
    }
    if regions.len() > MAX_REGIONS {
        let message = format!("a sparse file has more than {MAX_REGIONS} regions");
        return Err(over_limit(message));
    }
    let mut free = 0;
    for region in regions {
        let end = region
            .offset
            .checked_add(region.len)
            .filter(|&end| end <= header.size);
        let Some(end) = end.filter(|_| region.offset >= free && region.len > 0) else {
            return Err(Error::invalid("the regions of a sparse file are wrong"));
        };
        free = end + 1;
    }
    Ok(())
}

/// All that stands before the data, in the place of what is in `head`: PAX header, header, sparse map.
fn write_head(head: &mut Vec<u8>, header: &Header, regions: Option<&[Region]>) -> Result<()> {
    let name = shown_name(header);
    let max = Limits::default().max_path;
    if name.len() > max || header.link.len() > max {
        return Err(over_limit(format!("a name is longer than {max} bytes")));
    }
    let mut records = Records::default();
    let map = regions.map(|regions| sparse_map(regions, header.size));
    let mut size = header.size;
    let mut shown = &*name;
    let sparse_name;
    if let (Some(map), Some(regions)) = (&map, regions) {
        size = map.len() as u64 + regions.iter().map(|region| region.len).sum::<u64>();
        records.add("GNU.sparse.major", &b"1"[..]);
        records.add("GNU.sparse.minor", &b"0"[..]);
        records.number("GNU.sparse.realsize", header.size);
        records.add("GNU.sparse.name", &*name);
        let (_, base) = super::path::split(&name);
        sparse_name = [SPARSE_DIR, base].concat();
        shown = &sparse_name;
    } else if name.len() > field::NAME.1 {
        records.add("path", &*name);
    }
    if header.link.len() > field::LINK.1 {
        records.add("linkpath", &*header.link);
    }
    if records.binary {
        records.add("hdrcharset", &b"BINARY"[..]);
    }
    for (name, value) in &header.xattrs {
        records.attribute(name, value)?;
    }
    let mut number = |key: &'static str, value: u64, max: u64| {
        if value <= max {
            return value;
        }
        records.number(key, value);
        0
    };
    let uid = number("uid", header.uid.into(), MAX_OCTAL_8);
    let gid = number("gid", header.gid.into(), MAX_OCTAL_8);
    let size = number("size", size, MAX_OCTAL_12);
    let mtime = u64::try_from(header.mtime.sec)
        .ok()
        .filter(|&sec| sec <= MAX_OCTAL_12);
    if mtime.is_none() || header.mtime.nsec != 0 {
        records.add("mtime", time(header.mtime));
    }

    head.clear();
    let pax = records.encode()?;
    if !pax.is_empty() {
        if pax.len() as u64 > Limits::default().max_meta_bytes {
            return Err(over_limit(
                "the extended attributes do not fit a PAX header",
            ));
        }
        let mut block = Ustar::new(PAX_NAME, b'x');
        block.octal(field::MODE, 0o644);
        block.octal(field::SIZE, pax.len() as u64);
        head.extend_from_slice(&block.seal());
        head.extend_from_slice(&pax);
        pad(head);
    }
    let mut block = Ustar::new(shown, typeflag(header.kind));
    block.octal(field::MODE, header.mode.into());
    block.octal(field::UID, uid);
    block.octal(field::GID, gid);
    block.octal(field::SIZE, size);
    block.octal(field::MTIME, mtime.unwrap_or(0));
    block.bytes(field::LINK, &header.link);
    block.octal(field::MAJOR, header.major.into());
    block.octal(field::MINOR, header.minor.into());
    head.extend_from_slice(&block.seal());
    head.extend_from_slice(&map.unwrap_or_default());
    Ok(())
}

/// The entry's name as the tar has it.
fn shown_name(header: &Header) -> Cow<'_, [u8]> {
    let path = match &*header.path {
        b"" => b".",
        path => path,
    };
    match header.kind == Kind::Directory && !path.ends_with(b"/") {
        true => [path, b"/"].concat().into(),
        false => path.into(),
    }
}

fn typeflag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

/// The map of a sparse file. An empty region at the end tells GNU tar the size when the file ends
/// in a hole.
fn sparse_map(regions: &[Region], size: u64) -> Vec<u8> {
    let end = regions.last().map_or(0, |last| last.offset + last.len);
    let tail = (end < size || regions.is_empty()).then_some(Region {
        offset: size,
        len: 0,
    });
    let mut map = format!("{}\n", regions.len() + usize::from(tail.is_some())).into_bytes();
    for region in regions.iter().chain(&tail) {
        map.extend_from_slice(format!("{}\n{}\n", region.offset, region.len).as_bytes());
    }
    pad(&mut map);
    map
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
}

/// A header block in the making.
struct Ustar([u8; BLOCK]);

impl Ustar {
    fn new(name: &[u8], typeflag: u8) -> Self {
        let mut block = Ustar([0; BLOCK]);
        block.bytes(field::NAME, name);
        block.bytes((field::TYPE, 1), &[typeflag]);
        block.bytes(field::MAGIC, header::MAGIC_USTAR);
        for number in [
            field::MODE,
            field::UID,
            field::GID,
            field::MTIME,
            field::MAJOR,
            field::MINOR,
        ] {
            block.octal(number, 0);
        }
        block
    }

    /// Writes as much of `value` as the field holds.
    fn bytes(&mut self, (start, len): field::Field, value: &[u8]) {
        let value = value.get(..len).unwrap_or(value);
        if let Some(room) = self.0.get_mut(start..start + value.len()) {
            room.copy_from_slice(value);
        }
    }

    /// Octal digits and a NUL.
    fn octal(&mut self, at: field::Field, value: u64) {
        let (start, len) = at;
        self.bytes((start, len - 1), &Digits::of::<8>(value, len - 1));
    }

    fn seal(mut self) -> [u8; BLOCK] {
        let sum = header::checksum(&self.0, u64::from);
        let (start, len) = field::CHECKSUM;
        self.octal((start, len - 1), sum);
        self.bytes((start + len - 1, 1), b" ");
        self.0
    }
}
