//! Entries, and how they are put together from the headers that tell of them.
//!
//! Where one thing is told twice, or where readers elsewhere disagree on what is meant, the entry
//! is refused rather than guessed at:
//!
//! * A PAX size wins over the header's. The two may differ only where a writer has a reason: the
//!   header says 0, or the PAX size does not fit the header.
//! * Only regular files have data. A hard link whose header has a size is malformed: some writers
//!   put data there, some do not. A PAX size of a link, a directory or a device means nothing, nor
//!   does the header's size of anything but a file or a hard link.
//! * A file is a directory when its name ends in `/` and its type is NUL, or `0` in a v7 header;
//!   it must have no data then.

use super::header::{self, Block, Format, field};
use super::pax::{self, Extended, Global};
use super::sparse::{Map, Place};
use super::{forbidden, malformed, over_limit};
use crate::error::{Code, Errno, Error, Result};

/// Linux's device numbers: 12 and 20 bits.
pub(super) const MAX_MAJOR: u32 = 0xfff;
pub(super) const MAX_MINOR: u32 = 0xf_ffff;

/// Regions of a sparse file that are read by default.
pub(super) const MAX_REGIONS: u64 = 1 << 18;

/// What a [`Reader`](super::Reader) puts up with. What is beyond is EFBIG.
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
            max_sparse_regions: MAX_REGIONS,
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

impl Entry {
    /// An entry of which nothing is said but what it is and its name.
    pub fn new(path: Vec<u8>, kind: Kind) -> Entry {
        Entry {
            path,
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            size: 0,
            link: Vec::new(),
            xattrs: Vec::new(),
            major: 0,
            minor: 0,
            sparse: false,
        }
    }
}

/// The headers that go before an entry's own.
#[derive(Default)]
pub(super) struct Before {
    pub(super) pax: Option<Extended>,
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
}

impl Before {
    pub(super) fn is_empty(&self) -> bool {
        self.pax.is_none() && self.path.is_none() && self.link.is_none()
    }

    /// The entry's name is known from one of them.
    pub(super) fn has_name(&self) -> bool {
        let pax = self.pax.as_ref();
        let in_pax = pax.is_some_and(|pax| pax.path.is_some() || pax.sparse.name.is_some());
        in_pax || self.path.is_some()
    }
}

/// How an entry's data lies in the archive.
pub(super) struct Data {
    pub(super) stored: u64,
    pub(super) map: Option<Place>,
    /// Blocks with more of the map follow the header.
    pub(super) old_extended: bool,
}

/// Puts together what the header and those before it say.
pub(super) fn describe(
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
    if plain != 0 && plain != size && size <= header::MAX_OCTAL_12 {
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
