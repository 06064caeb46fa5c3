//! A committed layer's tree held against its manifest.
//!
//! Both come in one order, so they are read side by side: what is remembered is a line of each, the
//! way down, the names of the directories on it, 16 bytes for each inode of several names, and of
//! what differs the first [`MOST`].

use super::damaged::is_wrong_inode;
use super::manifest::{self, BUF, Contents, FILE, Known, Lines, path_of};
use crate::archive::{Digest, Sha256};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::fs::Kind;
use crate::sys::xattr::Marks;
use crate::sys::{AsFd, BorrowedFd, OwnedFd, fs};
use crate::tree::Threads;
use crate::watch::Watch;
use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};

/// Differences that are told of one layer; of more only their number.
pub const MOST: usize = 1000;

/// Bytes of one line; no path that a layer can hold makes a longer one.
const LINE: usize = 16 << 20;

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Compared {
    /// What is wrong with the manifest itself; nothing is compared then.
    pub manifest: Option<String>,
    /// What of the tree differs, the first of it.
    pub problems: Vec<String>,
    /// How much more differs.
    pub more: u64,
    /// Entries that are the parent's by right.
    pub inherited: u64,
    /// Files with content of which the manifest has no digest.
    pub unrecorded: u64,
}

impl Compared {
    fn differs(&mut self, what: String) {
        match self.problems.len() < MOST {
            true => self.problems.push(what),
            false => self.more += 1,
        }
    }
}

/// Which tree is held against which manifest.
pub struct Tree<'a> {
    /// The layer's directory.
    pub layer: BorrowedFd<'a>,
    /// The tree in it.
    pub content: &'a OwnedFd,
    /// The marks that it may hold; none in a tree of kind `root`.
    pub marks: Option<Marks>,
    /// It also has what its parent had.
    pub inherits: bool,
    /// Owners and attributes are compared: not where the manifest has them in the numbers of another
    /// user namespace.
    pub ids: bool,
}

/// What of a layer's tree differs from its manifest. Content is compared where its digest is recorded
/// and `contents` asks for it. EFBIG for a manifest with a line of more than 16 MiB.
pub fn compare(
    tree: &Tree<'_>,
    expected: &Digest,
    contents: Contents,
    watch: &mut Watch<'_>,
) -> Result<Compared> {
    let wrong = |what: &str| {
        Ok(Compared {
            manifest: Some(what.into()),
            ..Compared::default()
        })
    };
    // Read twice: nothing is said of a tree by a manifest that is not the layer's.
    match digest(tree.layer)? {
        None => return wrong("the manifest is missing"),
        Some(is) if is != *expected => {
            return wrong("the manifest is not the one that meta names");
        }
        Some(_) => {}
    }
    let mut sides = Sides {
        wanted: Reader::new(fs::open_file(tree.layer, FILE.as_bytes()).call_at("open", FILE)?),
        line: None,
        found: Compared::default(),
        hash: RandomState::new(),
        shared: tree.marks.is_none(),
        inherits: tree.inherits,
        ids: tree.ids,
    };
    sides.next()?;
    let known = Known {
        marks: tree.marks,
        tagged: None,
        notes: None,
        modes: None,
        threads: Threads::Auto,
    };
    manifest::lines(tree.content, known, contents, watch, &mut sides)?;
    while let Some(line) = sides.line.take() {
        sides.found.differs(format!("{}: missing", path_of(&line)));
        sides.next()?;
    }
    Ok(sides.found)
}

/// The manifest, and beside it the lines of the tree as they come.
struct Sides {
    wanted: Reader,
    /// The manifest's next line.
    line: Option<String>,
    found: Compared,
    hash: RandomState,
    shared: bool,
    inherits: bool,
    ids: bool,
}

impl Sides {
    fn next(&mut self) -> Result<()> {
        self.line = self.wanted.line()?;
        if self.line.as_deref().is_some_and(is_unrecorded) {
            self.found.unrecorded += 1;
        }
        Ok(())
    }
}

/// Whether two lines say the same, but for digests that one of them has not. In a `shared` tree an
/// inode may have a name that came from the parent before all that the manifest knows. Without `ids`
/// owners are not looked at, and of attributes only whether there are any. `hashed` is what the tree's
/// line has for a path in GROUP.
fn agree(want: &str, is: &str, shared: bool, ids: bool, hashed: impl Fn(&str) -> String) -> bool {
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
                || (at == GROUP && x != "-" && y != "-" && hashed(x) == y)
                || (!ids && matches!(at, UID | GID))
                || (!ids && at == XATTRS && x != "-" && y != "-")
        })
}

impl Lines for Sides {
    /// Two paths have one number once in 2^64.
    fn mark(&mut self, path: &str) -> u64 {
        self.hash.hash_one(path)
    }

    fn group(&mut self, mark: u64) -> Result<String> {
        Ok(group(mark))
    }

    fn line(&mut self, is: &str) -> Result<()> {
        let path = path_of(is);
        while let Some(want) = self.line.take() {
            match order(path_of(&want), path) {
                Ordering::Less => {
                    self.found.differs(format!("{}: missing", path_of(&want)));
                    self.next()?;
                }
                Ordering::Equal => {
                    let hashed = |path: &str| group(self.hash.hash_one(path));
                    if !agree(&want, is, self.shared, self.ids, hashed) {
                        self.found
                            .differs(format!("{path}: is {}, was {want}", shown(is)));
                    }
                    return self.next();
                }
                Ordering::Greater => {
                    self.line = Some(want);
                    break;
                }
            }
        }
        match self.inherits {
            true => self.found.inherited += 1,
            false => self.found.differs(format!("{path}: not in the manifest")),
        }
        Ok(())
    }
}

/// What stands for a path in GROUP.
fn group(hash: u64) -> String {
    format!("#{hash:016x}")
}

/// A line of the tree for people: what stands for its group tells them nothing.
fn shown(line: &str) -> String {
    let words = line.split(' ');
    let words = words.map(|word| {
        if word.starts_with('#') {
            "linked"
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a line is of a file with content, and has no digest of it.
fn is_unrecorded(line: &str) -> bool {
    let mut fields = line.split(' ');
    fields.next() == Some("-") && fields.nth(3) != Some("0") && fields.nth(3) == Some("?")
}

/// The order in which a walk meets two escaped paths.
fn order(a: &str, b: &str) -> Ordering {
    bytes_of(a).cmp(bytes_of(b))
}

/// The bytes of an escaped path, with the slash as the least of all: no name has it or a NUL.
pub(super) fn bytes_of(escaped: &str) -> impl Iterator<Item = u8> + '_ {
    let mut rest = escaped.bytes();
    std::iter::from_fn(move || {
        Some(match rest.next()? {
            b'/' => 0,
            b'\\' => {
                let mut digit = || u32::from(rest.next().unwrap_or(b'0').wrapping_sub(b'0'));
                let (a, b, c) = (digit(), digit(), digit());
                (a << 6 | b << 3 | c) as u8
            }
            byte => byte,
        })
    })
}

/// The SHA-256 of a layer's manifest; none where there is none.
fn digest(layer: BorrowedFd<'_>) -> Result<Option<Digest>> {
    let mut hash = Sha256::new();
    let file = match fs::open_file(layer, FILE.as_bytes()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        // Another kind of inode stands in its place.
        Err(errno) if is_wrong_inode(errno) => return Ok(Some(hash.digest())),
        Err(errno) => return Err(errno).call_at("open", FILE),
    };
    if fs::stat(&file).call_at("statx", FILE)?.kind != Kind::File {
        return Ok(Some(hash.digest()));
    }
    let mut buf = vec![0; BUF];
    loop {
        match fs::read(file.as_fd(), &mut buf).call_at("read", FILE)? {
            0 => return Ok(Some(hash.digest())),
            n => hash.update(&buf[..n]),
        }
    }
}

/// Reads lines.
struct Reader {
    file: OwnedFd,
    buf: Vec<u8>,
    at: usize,
}

impl Reader {
    fn new(file: OwnedFd) -> Reader {
        Reader {
            file,
            buf: Vec::new(),
            at: 0,
        }
    }

    fn line(&mut self) -> Result<Option<String>> {
        let mut seen = 0;
        loop {
            let rest = &self.buf[self.at..];
            if let Some(len) = rest[seen..].iter().position(|&byte| byte == b'\n') {
                let line = String::from_utf8_lossy(&rest[..seen + len]).into_owned();
                self.at += seen + len + 1;
                return Ok(Some(line));
            }
            seen = rest.len();
            if seen > LINE {
                let words = "a line of the manifest is longer than 16 MiB";
                return Err(Error::new(Code::Limit, Errno::FBIG, words));
            }
            self.buf.drain(..self.at);
            self.at = 0;
            self.buf.resize(seen + BUF, 0);
            let len = fs::read(&self.file, &mut self.buf[seen..]).call_at("read", FILE)?;
            self.buf.truncate(seen + len);
            if len == 0 {
                let last = String::from_utf8_lossy(&self.buf).into_owned();
                self.buf.clear();
                return Ok((!last.is_empty()).then_some(last));
            }
        }
    }
}

/// Any bytes as lines.
#[cfg(any(test, fuzzing))]
pub fn fuzzing(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let whole = |line: &&str| line.split(' ').count() == 10;
    let same = |path: &str| path.to_string();
    for line in text.lines().filter(whole) {
        assert!(agree(line, line, false, true, same) && agree(line, line, true, false, same));
        for other in text.lines().filter(whole) {
            let (a, b) = (path_of(line), path_of(other));
            assert_eq!(order(a, b), order(b, a).reverse());
            assert!(
                a == b || !agree(line, other, false, false, same),
                "two paths"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::manifest::escape;

    #[test]
    fn the_order_is_that_of_a_walk() {
        let walk: [&[u8]; 9] = [
            b"", b"a", b"a/b", b"a/b/c", b"a/\xff", b"a b", b"a.b", b"a\\", b"\xff",
        ];
        for (at, one) in walk.iter().enumerate() {
            for (place, other) in walk.iter().enumerate() {
                let told = order(&escape(one), &escape(other));
                assert_eq!(told, at.cmp(&place), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn lines_are_read_whole() {
        use std::io::{Seek, Write};
        let long = "x".repeat(3 * BUF);
        let lines = ["a", "", &long, "b", &long[..BUF - 1], "end"];
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(lines.join("\n").as_bytes()).unwrap();
        file.rewind().unwrap();
        let mut reader = Reader::new(file.into());
        for line in lines {
            assert_eq!(reader.line().unwrap().as_deref(), Some(line));
        }
        assert_eq!(reader.line().unwrap(), None);
    }
}
