//! A tree of everything that a directory tree can hold, built by descriptor.
//!
//! What a file system cannot hold (a link target of 4095 bytes on xfs) is made as near as it can.
//! Building it takes root.

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, makedev,
};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Levels of the deep part: with names of 20 bytes, three times PATH_MAX.
pub const DEPTH: usize = 600;
/// Files in the large directory.
pub const CROWD: usize = 3000;

/// A directory being filled.
struct Place(OwnedFd);

impl Place {
    fn open(path: &Path) -> Place {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Place(rustix::fs::open(path, flags, Mode::empty()).unwrap())
    }

    fn dir(&self, name: &[u8]) -> Place {
        rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(0o755)).unwrap();
        self.enter(name)
    }

    fn enter(&self, name: &[u8]) -> Place {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Place(rustix::fs::openat(&self.0, name, flags, Mode::empty()).unwrap())
    }

    fn file(&self, name: &[u8], data: &[u8]) -> OwnedFd {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let fd = rustix::fs::openat(&self.0, name, flags, mode).unwrap();
        write_at(&fd, data, 0);
        fd
    }

    fn node(&self, name: &[u8], kind: FileType, dev: (u32, u32)) {
        let dev = makedev(dev.0, dev.1);
        rustix::fs::mknodat(&self.0, name, kind, Mode::from_raw_mode(0o640), dev).unwrap();
    }

    fn symlink(&self, name: &[u8], target: &[u8]) {
        rustix::fs::symlinkat(target, &self.0, name).unwrap();
    }

    fn link(&self, name: &[u8], to: &Place, new: &[u8]) {
        rustix::fs::linkat(&self.0, name, &to.0, new, AtFlags::empty()).unwrap();
    }

    fn chmod(&self, name: &[u8], mode: u32) {
        let mode = Mode::from_raw_mode(mode);
        rustix::fs::chmodat(&self.0, name, mode, AtFlags::empty()).unwrap();
    }

    fn chown(&self, name: &[u8], uid: u32, gid: u32) {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&self.0, name, Some(uid), Some(gid), flags).unwrap();
    }

    fn xattr(&self, name: &[u8], attr: &str, value: &[u8]) {
        let mut path = format!("/proc/self/fd/{}/", self.0.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        rustix::fs::lsetxattr(path.as_slice(), attr, value, XattrFlags::empty())
            .unwrap_or_else(|e| panic!("{attr} on {}: {e}", name.escape_ascii()));
    }

    fn times(&self, name: &[u8], atime: (i64, i64), mtime: (i64, i64)) {
        let time = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
        let times = Timestamps {
            last_access: time(atime),
            last_modification: time(mtime),
        };
        rustix::fs::utimensat(&self.0, name, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn write_at(fd: &OwnedFd, mut data: &[u8], mut at: u64) {
    while !data.is_empty() {
        let n = rustix::io::pwrite(fd, data, at).unwrap();
        data = &data[n..];
        at += n as u64;
    }
}

/// Builds the tree in the existing directory `root`.
pub fn build(root: &Path) {
    let root = Place::open(root);
    kinds(&root.dir(b"kinds"));
    sparse(&root.dir(b"sparse"));
    modes(&root.dir(b"modes"));
    attributes(&root.dir(b"attributes"));
    names(&root.dir(b"names"));
    let bottom = deep(&root.dir(b"deep"));
    groups(&root, &bottom);
    let crowd = root.dir(b"crowd");
    for i in 0..CROWD {
        crowd.file(
            format!("file-{i}").as_bytes(),
            &i.to_le_bytes()[..i % 3 * 4],
        );
    }
    times(&root);
    root.chmod(b".", 0o2751);
    root.chown(b".", 1000, 1001);
    root.chmod(b".", 0o2751);
    root.xattr(b".", "user.root", b"of the tree");
    root.times(b".", (1_000_000_001, 5), (-1_000_000_001, 123_456_789));
}

fn kinds(dir: &Place) {
    dir.file(b"file", b"some content\n");
    dir.file(b"empty", b"");
    dir.file(b"large", &pattern(700_001));
    dir.symlink(b"link", b"file");
    dir.symlink(b"dangling", b"no/such/thing");
    dir.symlink(b"absolute", b"/etc/passwd");
    dir.symlink(b"loop", b"loop");
    let long = |len: usize| [&b"t/"[..], &vec![b'x'; len - 2]].concat();
    match rustix::fs::symlinkat(long(4095), &dir.0, "long") {
        Ok(()) => {}
        // xfs holds 1023 bytes.
        Err(Errno::NAMETOOLONG) => dir.symlink(b"long", &long(1023)),
        Err(e) => panic!("a long link: {e}"),
    }
    dir.node(b"fifo", FileType::Fifo, (0, 0));
    dir.node(b"socket", FileType::Socket, (0, 0));
    dir.node(b"char", FileType::CharacterDevice, (1, 3));
    dir.node(b"block", FileType::BlockDevice, (7, 1000));
    // The largest that xfs takes.
    dir.node(b"large-minor", FileType::CharacterDevice, (511, 0x3_ffff));
    dir.node(b"whiteout", FileType::CharacterDevice, (0, 0));
    dir.dir(b"empty-dir");
    for (i, name) in ["link", "fifo", "socket", "char", "block", "whiteout"]
        .iter()
        .enumerate()
    {
        dir.chown(name.as_bytes(), 100 + i as u32, 200 + i as u32);
    }
    dir.chmod(b"fifo", 0o1467);
    dir.chmod(b"socket", 0o777);
    dir.chmod(b"whiteout", 0);
}

/// Bytes in which no block equals another.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Files with holes; 64 KiB is a multiple of every block size.
fn sparse(dir: &Place) {
    const K64: u64 = 64 << 10;
    let some = pattern(K64 as usize);
    for (name, size, data) in [
        (&b"all"[..], 64 * K64 + 7, &[][..]),
        (b"head", 17 * K64, &[16][..]),
        (b"middle", 18 * K64, &[0, 17][..]),
        (b"tail", 40 * K64 + 3, &[0][..]),
        (b"many", 64 * K64, &[1, 9, 17, 33, 60][..]),
    ] {
        let fd = dir.file(name, b"");
        for at in data {
            write_at(&fd, &some, at * K64);
        }
        rustix::fs::ftruncate(&fd, size).unwrap();
    }
}

fn modes(dir: &Place) {
    for mode in [
        0o0, 0o4755, 0o2755, 0o6711, 0o1644, 0o2644, 0o7777, 0o444, 0o200,
    ] {
        let name = format!("file-{mode:o}");
        dir.file(name.as_bytes(), b"x");
        dir.chown(name.as_bytes(), mode + 1, 70_000);
        dir.chmod(name.as_bytes(), mode);
    }
    for mode in [0o0, 0o1777, 0o2775, 0o4755, 0o7777, 0o555, 0o300] {
        let name = format!("dir-{mode:o}");
        dir.dir(name.as_bytes()).file(b"inside", b"y");
        dir.chown(name.as_bytes(), 0, 70_001);
        dir.chmod(name.as_bytes(), mode);
    }
    dir.file(b"large-owner", b"");
    dir.chown(b"large-owner", 4_000_000_000, 4_000_000_001);
}

/// An ACL's bytes: tag, permissions, id.
pub fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&perm.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

const NOBODY: u32 = u32::MAX;

/// An ACL that names a user and a group: u::rwx, u:1234:rw-, g::r--, g:4321:--x, m::rwx, o::---.
pub fn named_acl() -> Vec<u8> {
    acl(&[
        (0x01, 7, NOBODY),
        (0x02, 6, 1234),
        (0x04, 4, NOBODY),
        (0x08, 1, 4321),
        (0x10, 7, NOBODY),
        (0x20, 0, NOBODY),
    ])
}

/// A file capability: cap_net_raw and cap_net_bind_service, effective; of the user namespace
/// whose root is `root` (revision 3), or of the first one (revision 2).
pub fn capability(root: Option<u32>) -> Vec<u8> {
    let revision: u32 = if root.is_some() { 3 } else { 2 };
    let mut bytes = (revision << 24 | 1).to_le_bytes().to_vec();
    for word in [1u32 << 13 | 1 << 10, 0, 0, 0] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    if let Some(root) = root {
        bytes.extend_from_slice(&root.to_le_bytes());
    }
    bytes
}

fn attributes(dir: &Place) {
    for name in [&b"file-acl"[..], b"both", b"caps", b"caps-3", b"masked"] {
        dir.file(name, b"with attributes");
    }
    let inner = dir.dir(b"dir-acl");
    inner.file(b"before", b"made before the default ACL");
    dir.xattr(b"file-acl", "system.posix_acl_access", &named_acl());
    dir.xattr(b"dir-acl", "system.posix_acl_access", &named_acl());
    dir.xattr(b"dir-acl", "system.posix_acl_default", &named_acl());
    inner.file(b"after", b"inherits an ACL");
    inner.dir(b"dir-after");
    // A mask that is less than the owning group's entry.
    let masked = [(1, 6, NOBODY), (2, 7, 5), (4, 7, NOBODY), (16, 1, NOBODY)];
    let masked = acl(&[&masked[..], &[(32, 4, NOBODY)]].concat());
    dir.xattr(b"masked", "system.posix_acl_access", &masked);
    dir.chown(b"caps", 33, 33);
    dir.xattr(b"caps", "security.capability", &capability(None));
    dir.chown(b"caps-3", 100_000, 100_000);
    dir.chmod(b"caps-3", 0o4755);
    dir.xattr(b"caps-3", "security.capability", &capability(Some(100_000)));
    dir.xattr(b"both", "system.posix_acl_access", &named_acl());
    dir.chmod(b"both", 0o4770);
    dir.xattr(b"both", "user.empty", b"");
    dir.xattr(b"both", "user.large", &pattern(1500));
    dir.xattr(b"both", "user.näme", b"bytes \x00\xff\n");
    dir.xattr(b"both", "trusted.overlay.origin", b"\x00\xfb");
    dir.xattr(b"both", "user.overlay.metacopy", b"");
    dir.xattr(b"both", "security.other", b"module");
    let opaque = dir.dir(b"opaque");
    opaque.file(b"inside", b"");
    dir.xattr(b"opaque", "trusted.overlay.opaque", b"y");
    dir.xattr(b"opaque", "user.overlay.opaque", b"y");
    dir.xattr(b"opaque", "trusted.other", b"kept");
    dir.symlink(b"link", b"caps");
    dir.node(b"fifo", FileType::Fifo, (0, 0));
    dir.node(b"whiteout", FileType::CharacterDevice, (0, 0));
    for name in [&b"link"[..], b"fifo", b"whiteout"] {
        dir.xattr(name, "trusted.special", b"its own");
    }
    dir.xattr(b"fifo", "system.posix_acl_access", &named_acl());
}

fn names(dir: &Place) {
    let long = [b'n'; 255];
    for name in [
        &b"new\nline"[..],
        b"\xff\xfe not UTF-8",
        b"-rf",
        b"--",
        b" ",
        b"...",
        b"\x01\x7f",
        b"back\\slash",
        b".wh.file",
        b"*?[a]",
        b"\xc3\xa9",
        b"e\xcc\x81",
        &long,
    ] {
        dir.file(name, name);
    }
    dir.dir(b"-d\n\xff").file(b"inside", b"");
    dir.dir(&[b'd'; 255]).symlink(b"\xffl", b"\xff\n");
}

fn deep(top: &Place) -> Place {
    let mut at = top.dir(b"a-name-of-20-bytes-0");
    for level in 1..DEPTH {
        if level % 100 == 0 {
            at.file(b"beside", format!("level {level}").as_bytes());
        }
        at = at.dir(b"a-name-of-20-bytes-x");
    }
    at.file(b"bottom", b"far below");
    at.chmod(b".", 0o2711);
    at
}

/// Hard-link groups of every kind, whose names are far apart.
fn groups(root: &Place, bottom: &Place) {
    let (a, b) = (root.dir(b"groups-a"), root.dir(b"groups-b"));
    a.file(b"file", b"one inode");
    a.symlink(b"symlink", b"target of three names");
    a.node(b"fifo", FileType::Fifo, (0, 0));
    a.node(b"socket", FileType::Socket, (0, 0));
    a.node(b"char", FileType::CharacterDevice, (1, 5));
    a.node(b"block", FileType::BlockDevice, (7, 7));
    a.node(b"whiteout", FileType::CharacterDevice, (0, 0));
    for name in [
        "file", "symlink", "fifo", "socket", "char", "block", "whiteout",
    ] {
        let name = name.as_bytes();
        a.chown(name, 11, 12);
        a.link(name, &b, name);
        a.link(name, bottom, &[name, b"-deep"].concat());
    }
    // A group that has one more name outside what is ever copied is made by the tests.
    bottom.file(b"first-below", b"the deep name may come first");
    bottom.link(b"first-below", root, b"zz-last-above");
}

fn times(root: &Place) {
    let dir = root.dir(b"times");
    dir.file(b"old", b"1901");
    dir.times(b"old", (-2_147_483_648, 0), (-2_147_483_647, 999_999_999));
    dir.file(b"before", b"just before the epoch");
    dir.times(b"before", (-1, 1), (-1, 999_999_999));
    dir.file(b"far", b"after 2038");
    dir.times(b"far", (4_294_967_297, 7), (6_000_000_000, 123_456_789));
    dir.symlink(b"link", b"old");
    dir.times(b"link", (17, 18), (-19, 20));
    dir.node(b"fifo", FileType::Fifo, (0, 0));
    dir.times(b"fifo", (1, 2), (3, 4));
    dir.node(b"char", FileType::CharacterDevice, (1, 3));
    dir.times(b"char", (5, 6), (7, 8));
    let inner = dir.dir(b"dir");
    inner.file(b"file", b"");
    dir.times(b"dir", (-5, 5), (-6, 123));
    dir.times(b".", (0, 0), (0, 1));
}
