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
//!
//! The lines come as a walk meets them: parents first, names in the order of their bytes. `verify`
//! holds a tree against them.

mod ahead;
mod entries;
mod trust;

use self::entries::Walker;
use super::maker::Maker;
use crate::archive::{Digest, Sha256};
use crate::digits::Digits;
use crate::error::{Result, SysResult};
use crate::layer::upper::Notes;
use crate::sys::fs::{Kind, Meta};
use crate::sys::thread::Threads;
use crate::sys::xattr::{Marks, Pairs};
use crate::sys::{AsFd, BorrowedFd, OwnedFd, fs};
use crate::tree::attrs::{Inode, Shut};
use crate::tree::compare::own;
use crate::watch::Watch;
use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

/// The name of the file.
pub const FILE: &str = "manifest";

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
    /// What is known of plain files. It is believed as far as [`trust`] finds it right: not for who wants to know what is on the disk.
    pub notes: Option<&'a Notes>,
    /// Directories whose modes are still to be put on, by inode.
    pub modes: Option<&'a Shut>,
    /// Whether another thread may help.
    pub threads: Threads,
}

/// What was written.
pub struct Written {
    /// The SHA-256 of the manifest.
    pub digest: Digest,
    /// The size of the tree: what its regular files and symbolic links hold, each inode once.
    pub size: u64,
}

/// Writes the manifest of the tree `content` into the layer's directory.
pub fn write(
    layer: BorrowedFd<'_>,
    content: &OwnedFd,
    known: Known<'_>,
    contents: Contents,
    watch: &mut Watch<'_>,
) -> Result<Written> {
    let _ = fs::unlink(layer, FILE.as_bytes());
    let file = Maker::of(layer).file(layer, FILE).call_at("create", FILE)?;
    let mut writer = Writer {
        layer,
        file,
        read: None,
        hash: Sha256::new(),
        buf: Vec::with_capacity(BUF),
        at: 0,
    };
    let size = lines(content, known, contents, watch, &mut writer)?;
    writer.put()?;
    let digest = writer.hash.digest();
    Ok(Written { digest, size })
}

pub(super) const BUF: usize = 64 << 10;

/// Takes the lines of a tree.
pub trait Lines {
    /// A number for the path that the next line is about, which is the first of its inode's.
    fn mark(&mut self, path: &str) -> u64;
    /// The GROUP of another name of the inode whose first was marked so.
    fn group(&mut self, mark: u64) -> Result<String>;
    /// The next line.
    fn line(&mut self, line: &str) -> Result<()>;
}

/// Writes lines. What it remembers of a linked inode is where the line of its first name is.
struct Writer<'a> {
    layer: BorrowedFd<'a>,
    file: OwnedFd,
    read: Option<OwnedFd>,
    hash: Sha256,
    buf: Vec<u8>,
    /// How much is in the file.
    at: u64,
}

impl Writer<'_> {
    fn put(&mut self) -> Result<()> {
        self.hash.update(&self.buf);
        fs::write_all(&self.file, &self.buf).call_at("write", FILE)?;
        self.at += self.buf.len() as u64;
        self.buf.clear();
        Ok(())
    }
}

impl Lines for Writer<'_> {
    fn mark(&mut self, _: &str) -> u64 {
        self.at + self.buf.len() as u64
    }

    fn group(&mut self, mark: u64) -> Result<String> {
        if mark >= self.at {
            self.put()?;
        }
        let file = match &mut self.read {
            Some(file) => file,
            none => none.insert(fs::open_file(self.layer, FILE.as_bytes()).call_at("open", FILE)?),
        };
        let mut line = Vec::new();
        let mut piece = [0; 512];
        loop {
            let at = mark + line.len() as u64;
            let len = fs::read_at(&*file, &mut piece, at).call_at("read", FILE)?;
            let end = piece[..len].iter().position(|&byte| byte == b'\n');
            line.extend_from_slice(&piece[..end.unwrap_or(len)]);
            if end.is_some() || len == 0 {
                return Ok(path_of(&String::from_utf8_lossy(&line)).to_string());
            }
        }
    }

    fn line(&mut self, line: &str) -> Result<()> {
        self.buf.extend_from_slice(line.as_bytes());
        self.buf.push(b'\n');
        match self.buf.len() >= BUF {
            true => self.put(),
            false => Ok(()),
        }
    }
}

/// Tells a line for every entry of the tree, the root too; parents first, names in the order of
/// their bytes. Gives the size of the tree.
pub fn lines(
    content: &OwnedFd,
    known: Known<'_>,
    contents: Contents,
    watch: &mut Watch<'_>,
    out: &mut dyn Lines,
) -> Result<u64> {
    let root = fs::open_dir_trusted(content, b".").call("open")?;
    let top = fs::stat(&root).call("statx")?;
    let mut job = Job {
        known,
        contents,
        groups: HashMap::new(),
        size: 0,
        text: String::new(),
        out,
    };
    job.line(root.as_fd(), b".", b"", &top, watch)?;
    let walker = Walker::new(root, known.notes);
    ahead::each(walker, known.threads, watch, |batch, watch| {
        let entries = batch.names.iter().zip(&batch.metas);
        for (name, meta) in entries {
            let path = batch.path_of(name);
            let open = batch.last.as_ref();
            match open.filter(|_| meta.kind == Kind::Directory) {
                Some(fd) => job.line(fd.as_fd(), b".", &path, meta, watch)?,
                None if known.marks.is_some() || !meta.is_whiteout() => {
                    job.line(batch.dir.as_fd(), name, &path, meta, watch)?;
                }
                None => {}
            }
            watch.entry()?;
        }
        Ok(())
    })?;
    Ok(job.size)
}

struct Job<'a> {
    known: Known<'a>,
    contents: Contents,
    /// What stands for the first name of each linked inode: 16 bytes, however long the path.
    groups: HashMap<u64, u64>,
    size: u64,
    /// Room for a line.
    text: String,
    out: &'a mut dyn Lines,
}

impl Job<'_> {
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
    ) -> Result<()> {
        let shown = escape(path);
        if meta.is_whiteout() {
            return self.out.line(&whiteout(&shown));
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
        let mut group = Cow::Borrowed("-");
        let mut first = true;
        if !directory && meta.nlink > 1 {
            match self.groups.entry(meta.ino) {
                Entry::Occupied(mark) => {
                    group = self.out.group(*mark.get())?.into();
                    first = false;
                }
                Entry::Vacant(mark) => {
                    mark.insert(self.out.mark(&shown));
                }
            }
        }
        if first && matches!(meta.kind, Kind::File | Kind::Symlink) {
            self.size = self.size.saturating_add(meta.size);
        }
        let xattrs = digest_xattrs(&own(all));
        let content: Cow<'_, str> = match meta.kind {
            Kind::Symlink => {
                let target = fs::read_link(dir, name).call_at("readlink", path)?;
                Digest::of(&target).hex().into()
            }
            Kind::File if self.contents == Contents::Skip => "?".into(),
            Kind::File => digest_file(dir, name, self.contents, watch)
                .map_err(|e| e.at(path))?
                .hex()
                .into(),
            _ => "-".into(),
        };
        let kept_back = self.known.modes.filter(|_| directory);
        let mode = *kept_back
            .and_then(|modes| modes.get(&meta.ino))
            .unwrap_or(&meta.mode);
        let text = &mut self.text;
        text.clear();
        text.push(kind);
        let before = if meta.mtime.sec < 0 { " -" } else { " " };
        number::<8>(text, " ", mode.into(), 4);
        number::<10>(text, " ", meta.uid.into(), 1);
        number::<10>(text, " ", meta.gid.into(), 1);
        number::<10>(text, " ", size, 1);
        number::<10>(text, before, meta.mtime.sec.unsigned_abs(), 1);
        number::<10>(text, ".", meta.mtime.nsec.into(), 9);
        for part in [&*group, &*xattrs, &*content, &*shown] {
            text.push(' ');
            text.push_str(part);
        }
        self.out.line(text)
    }
}

/// Adds a number of at least so many digits.
fn number<const BASE: u64>(text: &mut String, before: &str, value: u64, least: usize) {
    text.push_str(before);
    let digits = Digits::of::<BASE>(value, least);
    text.extend(digits.iter().map(|&digit| char::from(digit)));
}

fn whiteout(shown: &str) -> String {
    format!("w - - - - - - - - {shown}")
}

fn digest_xattrs(pairs: &Pairs) -> Cow<'static, str> {
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
    hash.digest().hex().into()
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

pub(super) fn escape(path: &[u8]) -> String {
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

/// The path that a line is about.
pub(super) fn path_of(line: &str) -> &str {
    line.rsplit(' ').next().unwrap_or_default()
}

/// Any bytes as a path.
#[cfg(any(test, fuzzing))]
pub fn fuzzing(data: &[u8]) {
    let escaped = escape(data);
    assert!(escaped.bytes().all(|byte| (33..127).contains(&byte)));
    assert_eq!(path_of(&whiteout(&escaped)), escaped);
    let plain: Vec<u8> = super::verify::bytes_of(&escaped).skip(1).collect();
    let slash = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    let wanted: Vec<u8> = data.iter().map(slash).collect();
    assert_eq!(plain, wanted, "no two paths have one line");
    super::verify::fuzzing(data);
}
