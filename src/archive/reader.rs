//! Reads a tar: entries one after the other, and their data.
//!
//! Known are v7, ustar, GNU (long names, base-256, old sparse files), PAX (per entry and global,
//! all GNU sparse versions), and star as far as it is ustar. What readers elsewhere disagree on is
//! refused rather than guessed:
//!
//! * Before an entry there may be one `x`, one `L` and one `K` header, in any order. A second of a
//!   kind, a `g` header or the end of the archive after one of them, and a name told differently
//!   by `x` and by `L` or `K`, are malformed. So chains are short by themselves.
//! * A PAX size wins over the header's. The two may differ only where a writer has a reason: the
//!   header says 0, or the PAX size does not fit the header.
//! * Only regular files have data. A hard link whose header has a size is malformed: some writers
//!   put data there, some do not. A PAX size of a link, a directory or a device means nothing, nor
//!   does the header's size of anything but a file or a hard link.
//! * A file is a directory when its name ends in `/` and its type is NUL, or `0` in a v7 header;
//!   it must have no data then.
//!
//! The archive ends with two zero blocks, with one at the end of the stream, or with the stream
//! itself where an entry is complete. What follows the end is left alone.

use super::buffer::Buffer;
use super::header::{self, BLOCK, Block, Format, cut_short, field};
use super::pax::{self, Extended, Global};
use super::sparse::{self, Map, Place, Region, TextMap};
use super::{Source, forbidden, malformed, over_limit, truncated};
use crate::error::{Code, Errno, Error, Result};

/// The window over the archive; the largest chunk is not larger.
const WINDOW: usize = 256 << 10;

/// Data up to this length is never torn over two chunks.
const WHOLE: u64 = 32 << 10;

/// Linux's device numbers: 12 and 20 bits.
pub(super) const MAX_MAJOR: u32 = 0xfff;
pub(super) const MAX_MINOR: u32 = 0xf_ffff;

/// What a [`Reader`] puts up with. What is beyond is EFBIG.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Entries and global headers of one archive.
    pub max_entries: u64,
    /// Bytes of one PAX or long-name header.
    pub max_meta_bytes: u64,
    /// Names and values of one entry's extended attributes, together.
    pub max_xattr_bytes: u64,
    /// Bytes of a name or a link's target.
    pub max_path: usize,
    /// Regions of one sparse file; each takes 16 bytes of memory.
    pub max_sparse_regions: u64,
    /// Bytes of one file when its holes are filled.
    pub max_file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_entries: 1 << 24,
            max_meta_bytes: 1 << 20,
            max_xattr_bytes: 1 << 20,
            max_path: 64 << 10,
            max_sparse_regions: 1 << 18,
            max_file_bytes: i64::MAX as u64,
        }
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// Another name of a file that came before.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// A time since 1970; `nsec` counts upwards, before 1970 too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds, less than 1,000,000,000.
    pub nsec: u32,
}

/// One entry, as the archive tells it: names are raw, `path::clean` makes them safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name as it stands in the archive.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, `07777`.
    pub mode: u32,
    /// Owner; never `u32::MAX`.
    pub uid: u32,
    /// Group; never `u32::MAX`.
    pub gid: u32,
    /// Time of the last change.
    pub mtime: Time,
    /// Size of a regular file, holes included; else 0.
    pub size: u64,
    /// Target of a symbolic or hard link; else empty.
    pub link: Vec<u8>,
    /// Extended attributes, sorted by name, each name once.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Major number of a device; else 0.
    pub major: u32,
    /// Minor number of a device; else 0.
    pub minor: u32,
    /// The archive has a map of the file's holes.
    pub sparse: bool,
}

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

/// The headers that go before an entry's own.
#[derive(Default)]
struct Before {
    pax: Option<Extended>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Before {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.path.is_none() && self.link.is_none()
    }
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
            if before.is_empty() {
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
            let mut data = std::mem::take(&mut self.scratch);
            let taken = self.take_meta(kind, &mut data, &mut before);
            self.scratch = data;
            taken.map_err(|error| at(place, &self.name, error))?;
            if kind == b'g' {
                self.count(place)?;
            }
        }
    }

    fn take_meta(&mut self, kind: u8, data: &mut Vec<u8>, before: &mut Before) -> Result<()> {
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
            let n = self
                .input
                .fill_to(1)?
                .min(usize::try_from(count).unwrap_or(usize::MAX));
            if n == 0 {
                return Ok(false);
            }
            self.input.take(n);
            count -= n as u64;
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

/// How an entry's data lies in the archive.
struct Data {
    stored: u64,
    map: Option<Place>,
    /// Blocks with more of the map follow the header.
    old_extended: bool,
}

/// Puts together what the header and those before it say.
fn describe(
    block: &Block<'_>,
    before: Before,
    global: &Global,
    limits: &Limits,
) -> Result<(Entry, Data)> {
    let typeflag = block.typeflag();
    let pax = before.pax.unwrap_or_default();
    let Extended {
        path,
        link,
        size,
        uid,
        gid,
        mtime,
        major,
        minor,
        xattrs,
        sparse,
    } = pax;
    let path = one_name(sparse.name.clone().or(path), before.path, "name")?;
    let path = path.unwrap_or_else(|| block.name());
    let link = one_name(link, before.link, "link target")?;
    let link = link.unwrap_or_else(|| block.link());
    for name in [&path, &link] {
        if name.len() > limits.max_path {
            return Err(over_limit(format!(
                "a name is longer than {} bytes",
                limits.max_path
            )));
        }
    }
    let slash = path.ends_with(b"/");
    let kind = match typeflag {
        0 if slash => Kind::Directory,
        b'0' if slash && block.format() == Format::V7 => Kind::Directory,
        0 | b'0' | b'7' => Kind::File,
        b'S' if block.format() == Format::Gnu => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        _ => {
            let message = format!(
                "entries of type '{}' are not supported",
                typeflag.escape_ascii()
            );
            return Err(Error::new(Code::Archive, Errno::OPNOTSUPP, message));
        }
    };
    let mut entry = Entry {
        path,
        kind,
        mode: (block.unsigned(field::MODE, "mode")? & 0o7777) as u32,
        uid: choose(uid, global.uid, || owner(block, field::UID, "uid"))?,
        gid: choose(gid, global.gid, || owner(block, field::GID, "gid"))?,
        mtime: choose(mtime, global.mtime, || {
            let sec = block.clamped(field::MTIME, "mtime")?;
            Ok(Time { sec, nsec: 0 })
        })?,
        size: 0,
        link: Vec::new(),
        xattrs: xattrs.into_iter().collect(),
        major: 0,
        minor: 0,
        sparse: false,
    };
    let attributes: usize = entry
        .xattrs
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if attributes as u64 > limits.max_xattr_bytes {
        let message = format!(
            "more than {} bytes of extended attributes",
            limits.max_xattr_bytes
        );
        return Err(over_limit(message));
    }
    if matches!(kind, Kind::HardLink | Kind::Symlink) {
        if link.is_empty() {
            return Err(malformed("a link without a target"));
        }
        entry.link = link;
    }
    if matches!(kind, Kind::CharDevice | Kind::BlockDevice) {
        entry.major = device(block, major, field::MAJOR, MAX_MAJOR)?;
        entry.minor = device(block, minor, field::MINOR, MAX_MINOR)?;
    }
    let mut data = Data {
        stored: 0,
        map: None,
        old_extended: false,
    };
    if kind != Kind::File {
        let no_data = kind == Kind::HardLink || !matches!(typeflag, b'2'..=b'6');
        if no_data && block.unsigned(field::SIZE, "size")? != 0 {
            return Err(malformed("a hard link or directory with data"));
        }
        if !sparse.is_empty() {
            return Err(malformed("a sparse entry that is no regular file"));
        }
        return Ok((entry, data));
    }
    data.stored = data_size(block, size)?;
    entry.size = data.stored;
    if typeflag == b'S' {
        if !sparse.is_empty() {
            return Err(malformed("a sparse file has two maps"));
        }
        let mut map = Map::new(limits.max_sparse_regions);
        let full = map.push_old(block.raw(field::SPARSE))?;
        data.old_extended = block.byte(field::SPARSE_MORE) != 0;
        if data.old_extended && !full {
            return Err(malformed("the sparse map goes on after its end"));
        }
        entry.size = block.unsigned(field::SPARSE_SIZE, "real size")?;
        data.map = Some(Place::Header(map));
    } else if !sparse.is_empty() {
        let (size, place) = sparse.place(limits.max_sparse_regions)?;
        entry.size = size;
        data.map = Some(place);
    }
    if entry.size > limits.max_file_bytes {
        return Err(over_limit(format!(
            "a file of more than {} bytes",
            limits.max_file_bytes
        )));
    }
    Ok((entry, data))
}

/// The size of the data by the header and by PAX, see the module's text.
fn data_size(block: &Block<'_>, pax: Option<u64>) -> Result<u64> {
    let Some(size) = pax else {
        return block.unsigned(field::SIZE, "size");
    };
    // A field that PAX overrides may hold anything, as long as it is not another plain size.
    let plain = block.unsigned(field::SIZE, "size").unwrap_or(0);
    if plain != 0 && plain != size && size <= super::writer::MAX_OCTAL_12 {
        return Err(malformed(format!(
            "the header says {plain} bytes, PAX says {size}"
        )));
    }
    Ok(size)
}

fn one_name(pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>, what: &str) -> Result<Option<Vec<u8>>> {
    match (pax, gnu) {
        (Some(pax), Some(gnu)) if pax != gnu => Err(malformed(format!(
            "PAX and GNU headers give two different {what}s"
        ))),
        (pax, gnu) => Ok(pax.or(gnu)),
    }
}

/// The entry's own PAX header, else the global one, else the block. An empty record of the entry
/// takes the global value back.
fn choose<T>(
    own: Option<Option<T>>,
    global: Option<T>,
    field: impl Fn() -> Result<T>,
) -> Result<T> {
    match own.unwrap_or(global) {
        Some(value) => Ok(value),
        None => field(),
    }
}

fn owner(block: &Block<'_>, at: field::Field, name: &str) -> Result<u32> {
    pax::check_owner(block.clamped(at, name)?.into(), name)
}

fn device(block: &Block<'_>, pax: Option<u64>, at: field::Field, max: u32) -> Result<u32> {
    let number = match pax {
        Some(number) => number,
        None => block.unsigned(at, "device number")?,
    };
    match u32::try_from(number) {
        Ok(number) if number <= max => Ok(number),
        _ => Err(forbidden(format!(
            "device number {number} is larger than {max}"
        ))),
    }
}

fn failed_before() -> Error {
    malformed("reading the archive has failed before")
}

/// An error of the entry `name`, found at byte `place`.
fn at(place: u64, name: &[u8], error: Error) -> Error {
    error.context(format_args!("byte {place}")).at(name)
}
