//! An independent look at a directory tree, and the difference of two.
//!
//! A [`Snapshot`] holds, for every path below a directory (the directory itself is the empty
//! path), all that a copy must keep. It walks by descriptor, because the trees of the tests are
//! deeper than PATH_MAX, and opens every directory anew from the root, because they are deeper
//! than the descriptor limit.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, SeekFrom, StatxFlags};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Bytes that make up a path relative to the snapshot's root.
pub type Bytes = Vec<u8>;

/// One inode as seen under one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// File type bits, as in `st_mode`.
    pub kind: u32,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub atime: (i64, u32),
    pub mtime: (i64, u32),
    pub ctime: (i64, u32),
    /// Of regular files and links; other sizes mean nothing.
    pub size: u64,
    pub blocks: u64,
    pub nlink: u32,
    pub dev: (u32, u32),
    pub ino: u64,
    pub rdev: (u32, u32),
    /// SHA-256 of a regular file's blocks that are not all zero, with their offsets.
    pub content: Bytes,
    pub target: Bytes,
    pub xattrs: BTreeMap<Bytes, Bytes>,
    /// SEEK_DATA's map of a regular file.
    pub data: Vec<(u64, u64)>,
    /// The first path, in order of bytes, that leads to the same inode.
    pub leader: Bytes,
}

impl Node {
    pub fn is_dir(&self) -> bool {
        self.kind == FileType::Directory.as_raw_mode()
    }
    pub fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile.as_raw_mode()
    }
    pub fn is_link(&self) -> bool {
        self.kind == FileType::Symlink.as_raw_mode()
    }
    pub fn is_device(&self) -> bool {
        let kind = FileType::from_raw_mode(self.kind);
        matches!(kind, FileType::CharacterDevice | FileType::BlockDevice)
    }
    /// The identity of the inode.
    pub fn id(&self) -> ((u32, u32), u64) {
        (self.dev, self.ino)
    }
}

/// What two snapshots are compared for.
#[derive(Clone, Copy)]
pub struct Compare {
    pub owner: bool,
    pub atime: bool,
    pub mtime: bool,
    pub links: bool,
    /// The map of data and holes of regular files.
    pub holes: bool,
    /// The root's own attributes.
    pub root: bool,
    /// The same inodes, except directories.
    pub inodes: bool,
    /// The extended attributes that count.
    pub xattr: fn(&[u8]) -> bool,
}

impl Default for Compare {
    fn default() -> Self {
        Compare {
            owner: true,
            atime: false,
            mtime: true,
            links: true,
            holes: false,
            root: true,
            inodes: false,
            xattr: |_| true,
        }
    }
}

/// All of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(pub BTreeMap<Bytes, Node>);

impl Snapshot {
    /// Looks at the directory `root` and all below it, other mounts included.
    pub fn of(root: &Path) -> Snapshot {
        let fd = rustix::fs::open(root, DIR, Mode::empty()).unwrap();
        let mut nodes = BTreeMap::new();
        let mut dirs = vec![Vec::new()];
        nodes.insert(Vec::new(), node(fd.as_fd(), b""));
        while let Some(path) = dirs.pop() {
            let dir = open_deep(fd.as_fd(), &path);
            for name in names(&dir) {
                let node = node(dir.as_fd(), &name);
                let mut full = path.clone();
                if !full.is_empty() {
                    full.push(b'/');
                }
                full.extend_from_slice(&name);
                if node.is_dir() {
                    dirs.push(full.clone());
                }
                nodes.insert(full, node);
            }
        }
        let mut leaders: HashMap<_, Bytes> = HashMap::new();
        for (path, node) in &mut nodes {
            let leader = leaders.entry(node.id()).or_insert_with(|| path.clone());
            node.leader = leader.clone();
        }
        Snapshot(nodes)
    }

    /// The node at `path`.
    pub fn at(&self, path: &str) -> &Node {
        self.0
            .get(path.as_bytes())
            .unwrap_or_else(|| panic!("nothing at {path}"))
    }

    /// How many nodes there are for which `what` holds.
    pub fn count(&self, what: impl Fn(&Node) -> bool) -> u64 {
        self.0.values().filter(|node| what(node)).count() as u64
    }

    /// What differs, a line each; empty when nothing does.
    pub fn diff(&self, other: &Snapshot, how: Compare) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, a) in &self.0 {
            if path.is_empty() && !how.root {
                continue;
            }
            match other.0.get(path) {
                None => lines.push(format!("- {}", show(path))),
                Some(b) => differ(path, a, b, how, &mut lines),
            }
        }
        for path in other.0.keys().filter(|path| !self.0.contains_key(*path)) {
            lines.push(format!("+ {}", show(path)));
        }
        lines
    }

    /// Panics with what differs.
    #[track_caller]
    pub fn assert_same(&self, other: &Snapshot, how: Compare) {
        let lines = self.diff(other, how);
        let shown = lines.len().min(40);
        assert!(
            lines.is_empty(),
            "{} differences:\n{}",
            lines.len(),
            lines[..shown].join("\n")
        );
    }
}

/// A path or name for people; very long ones are cut.
pub fn show(path: &[u8]) -> String {
    let text = path.escape_ascii().to_string();
    match text.len() {
        0 => ".".to_string(),
        len if len > 160 => format!("{}...{}", &text[..80], &text[len - 60..]),
        _ => text,
    }
}

fn differ(path: &[u8], a: &Node, b: &Node, how: Compare, lines: &mut Vec<String>) {
    let mut line = String::new();
    let mut say = |what: &str, a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| {
        let _ = write!(line, " {what} {a:?} -> {b:?};");
    };
    macro_rules! check {
        ($($when:expr => $field:ident),+ $(,)?) => {
            $(if $when && a.$field != b.$field {
                say(stringify!($field), &a.$field, &b.$field);
            })+
        };
    }
    if a.mode != b.mode && !a.is_link() {
        say("mode", &format!("{:o}", a.mode), &format!("{:o}", b.mode));
    }
    check!(
        true => kind,
        how.owner => uid,
        how.owner => gid,
        // Looking at a link's target touches its access time.
        how.atime && !a.is_link() => atime,
        how.mtime => mtime,
        a.is_file() || a.is_link() => size,
        a.is_device() => rdev,
        true => content,
        how.holes => data,
        how.inodes && !a.is_dir() => dev,
        how.inodes && !a.is_dir() => ino,
    );
    if a.target != b.target {
        say("target", &show(&a.target), &show(&b.target));
    }
    if how.links && a.leader != b.leader {
        say("same inode as", &show(&a.leader), &show(&b.leader));
    }
    let names = a.xattrs.keys().chain(b.xattrs.keys());
    let names: std::collections::BTreeSet<_> = names.filter(|name| (how.xattr)(name)).collect();
    for name in names {
        let (x, y) = (a.xattrs.get(name), b.xattrs.get(name));
        if x != y {
            let text = |v: Option<&Bytes>| v.map(|v| show(v));
            say(&format!("xattr {}", show(name)), &text(x), &text(y));
        }
    }
    if !line.is_empty() {
        lines.push(format!("! {}:{line}", show(path)));
    }
}

const DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NOATIME)
    .union(OFlags::CLOEXEC);

/// Opens without touching the access time where that is allowed.
fn open(dir: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> OwnedFd {
    rustix::fs::openat(dir, path, flags, Mode::empty())
        .or_else(|_| rustix::fs::openat(dir, path, flags - OFlags::NOATIME, Mode::empty()))
        .unwrap_or_else(|e| panic!("open {}: {e}", show(path)))
}

/// Opens the directory at a path of any length.
pub fn open_deep(root: BorrowedFd<'_>, path: &[u8]) -> OwnedFd {
    let mut at = open(root, b".", DIR);
    let names: Vec<&[u8]> = path.split(|&b| b == b'/').collect();
    for some in names.chunks(12) {
        let piece = some.join(&b'/');
        if !piece.is_empty() {
            at = open(at.as_fd(), &piece, DIR);
        }
    }
    at
}

fn names(dir: &OwnedFd) -> Vec<Bytes> {
    Dir::read_from(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_bytes().to_vec())
        .filter(|name| name != b"." && name != b"..")
        .collect()
}

fn node(dir: BorrowedFd<'_>, name: &[u8]) -> Node {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let sx = rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS)
        .unwrap_or_else(|e| panic!("statx {}: {e}", show(name)));
    let mode = u32::from(sx.stx_mode);
    let time = |t: rustix::fs::StatxTimestamp| (t.tv_sec, t.tv_nsec);
    let mut node = Node {
        kind: mode & 0o170000,
        mode: mode & 0o7777,
        uid: sx.stx_uid,
        gid: sx.stx_gid,
        atime: time(sx.stx_atime),
        mtime: time(sx.stx_mtime),
        ctime: time(sx.stx_ctime),
        size: sx.stx_size,
        blocks: sx.stx_blocks,
        nlink: sx.stx_nlink,
        dev: (sx.stx_dev_major, sx.stx_dev_minor),
        ino: sx.stx_ino,
        rdev: (sx.stx_rdev_major, sx.stx_rdev_minor),
        content: Vec::new(),
        target: Vec::new(),
        xattrs: xattrs(dir, name),
        data: Vec::new(),
        leader: Vec::new(),
    };
    if node.is_link() {
        let target = rustix::fs::readlinkat(dir, name, Vec::new()).unwrap();
        node.target = target.into_bytes();
    } else if node.is_file() {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOATIME | OFlags::CLOEXEC;
        let fd = open(dir, name, flags);
        node.data = data_map(&fd, node.size);
        node.content = digest(&fd, &node.data);
    }
    node
}

fn xattrs(dir: BorrowedFd<'_>, name: &[u8]) -> BTreeMap<Bytes, Bytes> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(if name.is_empty() { b"." } else { name });
    let mut list = vec![0; 1 << 16];
    let len = match rustix::fs::llistxattr(path.as_slice(), &mut list) {
        Ok(len) => len,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(e) => panic!("listxattr {}: {e}", show(name)),
    };
    let mut all = BTreeMap::new();
    let mut value = vec![0; 1 << 16];
    for attr in list[..len].split(|&b| b == 0).filter(|n| !n.is_empty()) {
        let len = rustix::fs::lgetxattr(path.as_slice(), attr, &mut value)
            .unwrap_or_else(|e| panic!("getxattr {} {}: {e}", show(name), show(attr)));
        all.insert(attr.to_vec(), value[..len].to_vec());
    }
    all
}

fn data_map(fd: &OwnedFd, size: u64) -> Vec<(u64, u64)> {
    let mut map = Vec::new();
    let mut at = 0;
    while at < size {
        let Ok(start) = rustix::fs::seek(fd, SeekFrom::Data(at)) else {
            break;
        };
        let end = rustix::fs::seek(fd, SeekFrom::Hole(start)).unwrap();
        map.push((start, end.min(size)));
        at = end;
    }
    map
}

const BLOCK: usize = 4096;

fn digest(fd: &OwnedFd, data: &[(u64, u64)]) -> Bytes {
    let mut sum = Sha256::new();
    let mut block = vec![0; BLOCK];
    for &(start, end) in data {
        let mut at = start - start % BLOCK as u64;
        while at < end {
            let mut have = 0;
            while have < BLOCK {
                match rustix::io::pread(fd, &mut block[have..], at + have as u64).unwrap() {
                    0 => break,
                    n => have += n,
                }
            }
            if block[..have].iter().any(|&b| b != 0) {
                sum.update(at.to_le_bytes());
                sum.update(&block[..have]);
            }
            at += BLOCK as u64;
        }
    }
    sum.finalize().to_vec()
}
