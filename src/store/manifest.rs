//! A committed layer's own entries, one line each: what `check` holds the tree against.
//!
//! ```text
//! KIND MODE UID GID SIZE MTIME GROUP XATTRS CONTENT PATH
//! ```
//!
//! KIND is `-` file, `d` directory, `o` opaque directory, `l` link, `c` and `b` devices, `p` FIFO,
//! `s` socket, `w` whiteout. GROUP is `-`, or for another name of an inode the path of its first.
//! XATTRS and CONTENT are SHA-256; CONTENT is that of a link's target, and of a file where the layer was committed
//! with durability `verified`, else `?`. Bytes of paths below 33, above 126 and `\` are `\ooo`.
//!
//! A layer of kind `root` has no marks, and its tree has more than its own entries: what it shares
//! with its parent is held against the parent's manifest alone.

use super::damaged::is_wrong_inode;
use super::text::damaged;
use crate::archive::{Digest, Sha256};
use crate::error::{Errno, Result, SysResult};
use crate::sys::dir::DirBuf;
use crate::sys::fs::{Kind, Meta};
use crate::sys::xattr::{Marks, Pairs};
use crate::sys::{AsFd, BorrowedFd, OwnedFd, fs};
use crate::tree::attrs::{Inode, Shut};
use crate::tree::chain::Chain;
use crate::tree::compare::own;
use crate::watch::Watch;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

/// The name of the file.
pub const FILE: &str = "manifest";

/// How a problem ends that is an entry too many.
pub const STRANGER: &str = ": not in the manifest";

/// Whether files are read for their digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// They are.
    Read,
    /// They are, from the disk: what the kernel still has of them in memory is dropped.
    Disk,
    /// They are not.
    Skip,
}

/// What is known of a tree before it is walked.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The marks that it may hold; none in a tree of kind `root`.
    pub marks: Option<Marks>,
    /// The only inodes that have extended attributes, where that is known: asking each costs as
    /// much as making it.
    pub tagged: Option<&'a HashSet<u64>>,
    /// Directories whose modes are still to be put on, by inode.
    pub modes: Option<&'a Shut>,
}

/// Writes the manifest of the tree `content` into the layer's directory; gives its SHA-256.
pub fn write(
    layer: BorrowedFd<'_>,
    content: &OwnedFd,
    known: Known<'_>,
    contents: Contents,
    watch: &mut Watch<'_>,
) -> Result<Digest> {
    let _ = fs::unlink(layer, FILE.as_bytes());
    let file = super::text::private_file(layer, FILE).call_at("create", FILE)?;
    let mut hash = Sha256::new();
    let mut buf = Vec::with_capacity(BUF);
    let mut put = |buf: &mut Vec<u8>| {
        hash.update(buf);
        let done = fs::write_all(&file, buf).call_at("write", FILE);
        buf.clear();
        done
    };
    lines(content, known, contents, watch, &mut |line| {
        buf.extend_from_slice(line.as_bytes());
        buf.push(b'\n');
        if buf.len() >= BUF {
            put(&mut buf)
        } else {
            Ok(())
        }
    })?;
    put(&mut buf)?;
    Ok(hash.digest())
}

const BUF: usize = 64 << 10;

/// Calls `each` with a line for every entry of the tree, the root too; parents first, names in
/// the order of their bytes.
pub fn lines(
    content: &OwnedFd,
    known: Known<'_>,
    contents: Contents,
    watch: &mut Watch<'_>,
    each: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<()> {
    let root = fs::open_dir_trusted(content, b".").call("open")?;
    let top = fs::stat(&root).call("statx")?;
    let mut job = Job {
        known,
        contents,
        groups: HashMap::new(),
        buf: DirBuf::default(),
    };
    let mut chain = Chain::new(root);
    let line = job.line(chain.fd()?, b".", b"", &top, watch)?;
    each(&line)?;
    let mut pending = vec![job.names(&chain)?];
    while let Some(names) = pending.last_mut() {
        let Some(name) = names.pop() else {
            pending.pop();
            chain.pop()?;
            continue;
        };
        let path = chain.path_of(&name);
        let meta = fs::stat_at(chain.fd()?, &name).call_at("statx", &path)?;
        if meta.kind == Kind::Directory {
            let fd = fs::open_dir(chain.fd()?, &name).call_at("open", &path)?;
            chain.push(name, fd)?;
            let line = job.line(chain.fd()?, b".", &path, &meta, watch)?;
            each(&line)?;
            pending.push(job.names(&chain)?);
        } else if known.marks.is_some() || !meta.is_whiteout() {
            let line = job.line(chain.fd()?, &name, &path, &meta, watch)?;
            each(&line)?;
        }
        watch.entry()?;
    }
    Ok(())
}

struct Job<'a> {
    known: Known<'a>,
    contents: Contents,
    groups: HashMap<u64, String>,
    buf: DirBuf,
}

impl Job<'_> {
    /// The names where the chain stands, last first.
    fn names(&mut self, chain: &Chain) -> Result<Vec<Vec<u8>>> {
        let names = self.buf.sorted_names(chain.fd()?);
        let mut names = names.call_at("getdents64", chain.path())?;
        names.reverse();
        Ok(names)
    }

    fn opaque(&self, xattrs: &Pairs) -> bool {
        self.known.marks.is_some_and(|marks| {
            let mark = (marks.opaque(), &b"y"[..]);
            xattrs
                .iter()
                .any(|(name, value)| (&name[..], &value[..]) == mark)
        })
    }

    fn line(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        meta: &Meta,
        watch: &mut Watch<'_>,
    ) -> Result<String> {
        if meta.is_whiteout() {
            return Ok(whiteout(path));
        }
        let directory = meta.kind == Kind::Directory;
        let inode = if directory {
            Inode::Open(dir)
        } else {
            Inode::Named(dir, name)
        };
        let asked = match self.known.tagged {
            // A directory may have a mark.
            Some(tagged) => directory || tagged.contains(&meta.ino),
            None => true,
        };
        let all = match asked {
            true => inode.xattrs().call_at("listxattr", path)?,
            false => Pairs::new(),
        };
        let kind = match meta.kind {
            Kind::File => '-',
            Kind::Directory if self.opaque(&all) => 'o',
            Kind::Directory => 'd',
            Kind::Symlink => 'l',
            Kind::Fifo => 'p',
            Kind::Socket => 's',
            Kind::CharDevice => 'c',
            Kind::BlockDevice => 'b',
        };
        let size = match meta.kind {
            Kind::File | Kind::Symlink => meta.size,
            Kind::CharDevice | Kind::BlockDevice => {
                u64::from(meta.rdev.0) << 32 | u64::from(meta.rdev.1)
            }
            _ => 0,
        };
        let mut group = "-".to_string();
        if !directory && meta.nlink > 1 {
            match self.groups.entry(meta.ino) {
                Entry::Occupied(first) => group.clone_from(first.get()),
                Entry::Vacant(first) => {
                    first.insert(escape(path));
                }
            }
        }
        let xattrs = digest_xattrs(&own(all));
        let content = match meta.kind {
            Kind::Symlink => {
                let target = fs::read_link(dir, name).call_at("readlink", path)?;
                Digest::of(&target).hex()
            }
            Kind::File if self.contents == Contents::Skip => "?".into(),
            Kind::File => digest_file(dir, name, self.contents, watch)
                .map_err(|e| e.at(path))?
                .hex(),
            _ => "-".into(),
        };
        let kept_back = self.known.modes.filter(|_| directory);
        let mode = *kept_back
            .and_then(|modes| modes.get(&meta.ino))
            .unwrap_or(&meta.mode);
        Ok(format!(
            "{kind} {mode:04o} {} {} {size} {}.{:09} {group} {xattrs} {content} {}",
            meta.uid,
            meta.gid,
            meta.mtime.sec,
            meta.mtime.nsec,
            escape(path)
        ))
    }
}

fn whiteout(path: &[u8]) -> String {
    format!("w - - - - - - - - {}", escape(path))
}

fn digest_xattrs(pairs: &Pairs) -> String {
    if pairs.is_empty() {
        return "-".into();
    }
    let mut hash = Sha256::new();
    for (name, value) in pairs {
        for part in [name, value] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hash.digest().hex()
}

fn digest_file(
    dir: BorrowedFd<'_>,
    name: &[u8],
    contents: Contents,
    watch: &mut Watch<'_>,
) -> Result<Digest> {
    let file = fs::open_file(dir, name).call("open")?;
    if contents == Contents::Disk {
        fs::uncache(&file).call("fadvise64")?;
    }
    let mut hash = Sha256::new();
    let mut buf = vec![0; BUF];
    loop {
        match fs::read(&file, &mut buf).call("read")? {
            0 => return Ok(hash.digest()),
            n => {
                hash.update(&buf[..n]);
                watch.bytes(n as u64)?;
            }
        }
    }
}

fn escape(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len() + 1);
    text.push('/');
    for &byte in path {
        if !(33..127).contains(&byte) || byte == b'\\' {
            let _ = write!(text, "\\{byte:03o}");
        } else {
            text.push(byte as char);
        }
    }
    text
}

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Compared {
    /// What is wrong with the manifest itself; nothing is compared then.
    pub manifest: Option<String>,
    /// What of the tree differs.
    pub problems: Vec<String>,
    /// Files with content of which the manifest has no digest.
    pub unrecorded: u64,
}

/// Which parts of the lines are compared.
#[derive(Clone, Copy)]
pub struct Compare {
    /// The marks that the tree may hold.
    pub marks: Option<Marks>,
    /// Contents, where their digests are recorded.
    pub contents: Contents,
    /// Owners and attributes: not where the manifest has them in the numbers of another user
    /// namespace.
    pub ids: bool,
}

/// What of a layer's tree differs from its manifest.
pub fn compare(
    layer: BorrowedFd<'_>,
    content: &OwnedFd,
    expected: &Digest,
    what: Compare,
    watch: &mut Watch<'_>,
) -> Result<Compared> {
    let mut found = Compared::default();
    let wrong = |what: &str| {
        Ok(Compared {
            manifest: Some(what.into()),
            ..Compared::default()
        })
    };
    let text = match read_whole(layer)? {
        Some(text) => text,
        None => return wrong("the manifest is missing"),
    };
    if Digest::of(&text) != *expected {
        return wrong("the manifest is not the one that meta names");
    }
    let text = String::from_utf8(text).map_err(|_| damaged("the manifest is not text"))?;
    let mut wanted: HashMap<String, &str> =
        text.lines().map(|line| (path_of(line), line)).collect();
    let known = Known {
        marks: what.marks,
        tagged: None,
        modes: None,
    };
    found.unrecorded = text.lines().filter(|line| is_unrecorded(line)).count() as u64;
    let problems = &mut found.problems;
    lines(content, known, what.contents, watch, &mut |line| {
        let path = path_of(line);
        match wanted.remove(&path) {
            None => problems.push(format!("{path}{STRANGER}")),
            Some(want) if !agree(want, line, what.marks.is_none(), what.ids) => {
                problems.push(format!("{path}: is {line}, was {want}"))
            }
            Some(_) => {}
        }
        Ok(())
    })?;
    let mut missing: Vec<_> = wanted.into_keys().collect();
    missing.sort();
    problems.extend(missing.into_iter().map(|path| format!("{path}: missing")));
    Ok(found)
}

/// Whether a line is of a file with content, and has no digest of it.
fn is_unrecorded(line: &str) -> bool {
    let mut fields = line.split(' ');
    fields.next() == Some("-") && fields.nth(3) != Some("0") && fields.nth(3) == Some("?")
}

/// The path that a line is about.
fn path_of(line: &str) -> String {
    line.rsplit(' ').next().unwrap_or_default().to_string()
}

/// Whether two lines say the same, but for digests that one of them has not. In a `shared` tree an
/// inode may have a name that came from the parent before all that the manifest knows. Without `ids`
/// owners are not looked at, and of attributes only whether there are any.
fn agree(want: &str, is: &str, shared: bool, ids: bool) -> bool {
    const UID: usize = 2;
    const GID: usize = 3;
    const GROUP: usize = 6;
    const XATTRS: usize = 7;
    const CONTENT: usize = 8;
    want.split(' ')
        .zip(is.split(' '))
        .enumerate()
        .all(|(at, (x, y))| {
            x == y
                || (at == CONTENT && (x == "?" || y == "?"))
                || (at == GROUP && shared && (x == "-" || y != "-"))
                || (!ids && matches!(at, UID | GID))
                || (!ids && at == XATTRS && x != "-" && y != "-")
        })
}

fn read_whole(layer: BorrowedFd<'_>) -> Result<Option<Vec<u8>>> {
    let file = match fs::open_file(layer, FILE.as_bytes()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        // Another kind of inode stands in its place.
        Err(errno) if is_wrong_inode(errno) => return Ok(Some(Vec::new())),
        Err(errno) => return Err(errno).call_at("open", FILE),
    };
    if fs::stat(&file).call_at("statx", FILE)?.kind != Kind::File {
        return Ok(Some(Vec::new()));
    }
    let mut text = Vec::new();
    let mut buf = vec![0; BUF];
    loop {
        match fs::read(file.as_fd(), &mut buf).call_at("read", FILE)? {
            0 => return Ok(Some(text)),
            n => text.extend_from_slice(&buf[..n]),
        }
    }
}

/// Any bytes as a path, and as lines.
#[cfg(any(test, fuzzing))]
pub fn fuzzing(data: &[u8]) {
    let escaped = escape(data);
    assert!(escaped.bytes().all(|byte| (33..127).contains(&byte)));
    assert_eq!(path_of(&whiteout(data)), escaped);
    let mut plain = Vec::new();
    let mut rest = &escaped.as_bytes()[1..];
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (*first, tail) {
            (b'\\', [a, b, c, tail @ ..]) => {
                let octal = [*a, *b, *c].map(|digit| u32::from(digit - b'0'));
                plain.push((octal[0] << 6 | octal[1] << 3 | octal[2]) as u8);
                rest = tail;
            }
            (byte, _) => plain.push(byte),
        }
    }
    assert_eq!(plain, data, "no two paths have one line");
    if let Ok(text) = std::str::from_utf8(data) {
        let whole = |line: &&str| line.split(' ').count() == 10;
        for line in text.lines().filter(whole) {
            assert!(agree(line, line, false, true) && agree(line, line, true, false));
            for other in text
                .lines()
                .filter(whole)
                .filter(|other| agree(line, other, false, false))
            {
                assert_eq!(path_of(line), path_of(other), "lines of two paths agree");
            }
        }
    }
}
