//! Layer tars as lists of entries, and as the bytes that say them.

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Dir,
    File(Vec<u8>),
    Symlink(Vec<u8>),
    Hard(Vec<u8>),
    Fifo,
    Char(u32, u32),
    Block(u32, u32),
}

/// One entry. Whiteouts are files with their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: Vec<u8>,
    pub what: What,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: (i64, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    pub fn new(path: impl AsRef<[u8]>, what: What) -> Entry {
        let mode = if what == What::Dir { 0o755 } else { 0o644 };
        Entry {
            path: path.as_ref().to_vec(),
            what,
            mode,
            uid: 0,
            gid: 0,
            mtime: (1_600_000_000, 123_456_789),
            xattrs: Vec::new(),
        }
    }
    pub fn mode(mut self, mode: u32) -> Entry {
        self.mode = mode;
        self
    }
    pub fn owner(mut self, uid: u32, gid: u32) -> Entry {
        (self.uid, self.gid) = (uid, gid);
        self
    }
    pub fn mtime(mut self, sec: i64, nsec: u32) -> Entry {
        self.mtime = (sec, nsec);
        self
    }
    pub fn xattr(mut self, name: &str, value: &[u8]) -> Entry {
        self.xattrs.push((name.into(), value.to_vec()));
        self
    }
}

pub fn dir(path: &str) -> Entry {
    Entry::new(path, What::Dir)
}
pub fn file(path: &str, data: &str) -> Entry {
    Entry::new(path, What::File(data.into()))
}
pub fn symlink(path: &str, target: &str) -> Entry {
    Entry::new(path, What::Symlink(target.into()))
}
pub fn hard(path: &str, target: &str) -> Entry {
    Entry::new(path, What::Hard(target.into()))
}
pub fn fifo(path: &str) -> Entry {
    Entry::new(path, What::Fifo)
}
pub fn char_device(path: &str, major: u32, minor: u32) -> Entry {
    Entry::new(path, What::Char(major, minor))
}
/// `.wh.NAME` beside `path`'s last component.
pub fn gone(path: &str) -> Entry {
    match path.rsplit_once('/') {
        Some((dir, name)) => file(&format!("{dir}/.wh.{name}"), ""),
        None => file(&format!(".wh.{path}"), ""),
    }
}
/// The opaque marker in a directory.
pub fn opaque(path: &str) -> Entry {
    if path.is_empty() {
        return file(".wh..wh..opq", "");
    }
    file(&format!("{path}/.wh..wh..opq"), "")
}

/// One record of an extended header.
pub fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    [len.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// A time as an extended header says it, with nine digits behind the point.
pub fn decimal((sec, nsec): (i64, u32)) -> String {
    // -1 s + 0.25 s is said as -0.75.
    match (sec < 0, nsec) {
        (true, 1..) => format!("-{}.{:09}", -(sec + 1), 1_000_000_000 - nsec),
        _ => format!("{sec}.{nsec:09}"),
    }
}

/// A header block with its checksum.
pub fn block(name: &[u8], flag: u8, numbers: [u64; 4], device: (u32, u32)) -> Vec<u8> {
    let mut b = vec![0u8; 512];
    let mut put = |at: usize, data: &[u8]| b[at..at + data.len()].copy_from_slice(data);
    put(0, &name[..name.len().min(100)]);
    let [mode, uid, gid, size] = numbers;
    put(
        100,
        format!("{mode:07o}\0{uid:07o}\0{gid:07o}\0{size:011o}\0").as_bytes(),
    );
    put(136, b"00000000000\0        ");
    put(156, &[flag]);
    put(257, b"ustar\x0000");
    put(
        329,
        format!("{:07o}\0{:07o}\0", device.0, device.1).as_bytes(),
    );
    checked(b)
}

/// The header block with its checksum made right.
pub fn checked(mut b: Vec<u8>) -> Vec<u8> {
    b[148..156].fill(b' ');
    let sum: u32 = b.iter().map(|&x| u32::from(x)).sum();
    b[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    b
}

pub fn padded(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().next_multiple_of(512), 0);
    data
}

/// The bytes of one entry, its names and times in an extended header.
pub fn bytes_of(entry: &Entry) -> Vec<u8> {
    let mut pax = record(b"path", &entry.path);
    pax.extend(record(b"mtime", decimal(entry.mtime).as_bytes()));
    let (flag, data, link, device): (u8, &[u8], &[u8], _) = match &entry.what {
        What::File(data) => (b'0', data, b"", (0, 0)),
        What::Hard(target) => (b'1', b"", target, (0, 0)),
        What::Symlink(target) => (b'2', b"", target, (0, 0)),
        What::Char(major, minor) => (b'3', b"", b"", (*major, *minor)),
        What::Block(major, minor) => (b'4', b"", b"", (*major, *minor)),
        What::Dir => (b'5', b"", b"", (0, 0)),
        What::Fifo => (b'6', b"", b"", (0, 0)),
    };
    if !link.is_empty() {
        pax.extend(record(b"linkpath", link));
    }
    pax.extend(record(b"uid", entry.uid.to_string().as_bytes()));
    pax.extend(record(b"gid", entry.gid.to_string().as_bytes()));
    for (name, value) in &entry.xattrs {
        pax.extend(record(&[b"SCHILY.xattr.", &name[..]].concat(), value));
    }
    let numbers = [u64::from(entry.mode), 0, 0, data.len() as u64];
    [
        block(b"meta", b'x', [0o644, 0, 0, pax.len() as u64], (0, 0)),
        padded(&pax),
        block(&entry.path, flag, numbers, device),
        padded(data),
    ]
    .concat()
}

/// The layer tar of these entries.
pub fn bytes(entries: &[Entry]) -> Vec<u8> {
    let mut all: Vec<u8> = entries.iter().flat_map(bytes_of).collect();
    all.extend([0; 1024]);
    all
}
