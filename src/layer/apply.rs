//! A layer tar becomes the content of a layer.

use super::size;
use super::upper::{Bounds, LowerLinks, Made, Upper};
use super::view::Stack;
use crate::archive::{self, Entry, Reader, Source, path, whiteout};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::fs::{self, Kind, Time};
use crate::sys::xattr::{self, Pairs};
use crate::sys::{OwnedFd, SysCall};
use crate::tree::aside::Aside;
use crate::tree::attrs::{Attributes, Inode, Partial, Shut};
use crate::watch::Watch;
use std::collections::HashSet;
use std::os::fd::AsFd;

/// How a tar is applied.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Fail where otherwise something is done in part and counted.
    pub strict: bool,
    /// Leave device nodes out, and count them.
    pub no_devices: bool,
    /// What the tar may ask for.
    pub limits: archive::Limits,
    /// Bytes of a path as it is on the disk.
    pub max_path: usize,
    /// Bytes of the content of files and of targets of links, holes included.
    pub max_content: u64,
}

/// What became of a tar.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Entries of the tar, whiteouts included.
    pub entries: u64,
    /// The layer's size: content of regular files and targets of symbolic links, each group once.
    pub size: u64,
    /// What could be done in part only.
    pub partial: Partial,
    /// Inodes that have extended attributes, overlayfs's own aside.
    pub tagged: HashSet<u64>,
    /// Modes of directories that are to be put on when all is done, see [`attrs::shut`].
    ///
    /// [`attrs::shut`]: crate::tree::attrs::shut
    pub shut: Shut,
}

/// Extracts `source` into the empty directory `root`, over `stack`. Gives also what of the stack
/// is still to be seen below: nothing, when the tar hides all. For kind `root` that is to be
/// filled in (see `flatten`), which takes the marks away. What is kept `aside` the caller removes.
pub fn apply<S: Source>(
    source: S,
    root: OwnedFd,
    stack: Stack,
    links: LowerLinks,
    aside: Aside,
    rules: &Rules,
    watch: &mut Watch<'_>,
) -> Result<(Applied, Stack)> {
    let again = fs::open_dir_trusted(&root, b".").call("open")?;
    let bounds = Bounds {
        max_path: rules.max_path,
        max_implied: rules.limits.max_entries,
    };
    let mut job = Job {
        upper: Upper::new(root, stack, links, aside, rules.strict, bounds)?,
        rules,
        applied: Applied::default(),
    };
    let mut reader = Reader::new(source, rules.limits.clone());
    while let Some(entry) = reader.next_entry()? {
        job.upper.entry();
        job.entry(&mut reader, &entry, watch)
            .map_err(|e| e.at(&entry.path))?;
        // Data that nobody wants is passed over in pieces: it may be as long as it says.
        while let Some(chunk) = reader.next_chunk()? {
            watch.bytes(chunk.data.len() as u64)?;
        }
        job.applied.entries += 1;
        watch.entry()?;
    }
    let Job {
        upper, mut applied, ..
    } = job;
    let (replaced, borrowed) = (upper.replaced(), upper.borrowed().clone());
    let (stack, inodes) = upper.finish()?;
    if replaced {
        applied.size = size::of_tree(again, &borrowed, watch)?;
    }
    applied.partial = applied.partial.plus(inodes.setter.partial);
    applied.shut = inodes.setter.shut.unwrap_or_default();
    applied.tagged = inodes.setter.tagged.unwrap_or_default();
    // What came from below may have any.
    applied.tagged.extend(&borrowed);
    Ok((applied, stack))
}

struct Job<'a> {
    upper: Upper,
    rules: &'a Rules,
    applied: Applied,
}

impl Job<'_> {
    fn entry<S: Source>(
        &mut self,
        reader: &mut Reader<S>,
        entry: &Entry,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let path = path::clean(&entry.path)?;
        if path.len() > self.rules.max_path {
            let message = format!("a path of more than {} bytes", self.rules.max_path);
            return Err(Error::new(Code::Limit, Errno::FBIG, message));
        }
        let (parent, base) = path::split(&path);
        match whiteout::classify(base)? {
            whiteout::Name::Plain => {}
            whiteout::Name::AufsMetadata => return Ok(()),
            marker => {
                if entry.kind != archive::Kind::File {
                    return Err(refuse("a whiteout can only be a regular file"));
                }
                if in_aufs(parent) {
                    return Ok(());
                }
                no_marker_in(parent)?;
                return match marker {
                    whiteout::Name::Whiteout(name) => self.upper.whiteout(parent, name),
                    _ => self.upper.opaque(parent),
                };
            }
        }
        if parent == whiteout::PSEUDO_LINKS && entry.kind == archive::Kind::File {
            let pairs = self.pairs(entry)?;
            let file = self.upper.pseudo_file(base)?;
            return self.content(reader, entry, &file, &pairs, false, watch);
        }
        if in_aufs(parent) {
            return Ok(());
        }
        no_marker_in(parent)?;
        let pairs = self.pairs(entry)?;
        match entry.kind {
            archive::Kind::Directory => {
                self.upper
                    .directory(&path, &attributes(entry, Kind::Directory), &pairs)
            }
            archive::Kind::File => self.file(reader, entry, &path, &pairs, watch),
            archive::Kind::HardLink => {
                let target = path::clean(&entry.link)?;
                match path::split(&target) {
                    (whiteout::PSEUDO_LINKS, name) => self.upper.pseudo_link(&path, name),
                    _ => self.upper.hard_link(&path, &target, watch),
                }
                .map(drop)
            }
            archive::Kind::Symlink => {
                if entry.link.is_empty() {
                    return Err(refuse("a symbolic link without a target"));
                }
                let made = self.upper.symlink(&path, &entry.link)?;
                self.add(entry.link.len() as u64)?;
                self.dress(&made, entry, Kind::Symlink, &pairs)
            }
            archive::Kind::Fifo => self.node(entry, &path, Kind::Fifo, &pairs),
            archive::Kind::CharDevice => self.node(entry, &path, Kind::CharDevice, &pairs),
            archive::Kind::BlockDevice => self.node(entry, &path, Kind::BlockDevice, &pairs),
        }
    }

    fn file<S: Source>(
        &mut self,
        reader: &mut Reader<S>,
        entry: &Entry,
        path: &[u8],
        pairs: &Pairs,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let (file, made) = self.upper.create(path)?;
        self.content(reader, entry, &file, pairs, made.own, watch)
    }

    /// What the entry says of the new `file`.
    fn content<S: Source>(
        &mut self,
        reader: &mut Reader<S>,
        entry: &Entry,
        file: &OwnedFd,
        pairs: &Pairs,
        own: bool,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        self.add(entry.size)?;
        let mut end = 0;
        while let Some(chunk) = reader.next_chunk()? {
            write(file, chunk.offset, end, chunk.data).call("write")?;
            end = chunk.offset + chunk.data.len() as u64;
            watch.bytes(chunk.data.len() as u64)?;
        }
        if end < entry.size {
            fs::truncate(file, entry.size).call("ftruncate")?;
        }
        let attributes = attributes(entry, Kind::File);
        let inode = Inode::Open(file.as_fd());
        self.upper
            .inodes
            .setter
            .put(inode, &attributes, pairs, own)?;
        inode
            .set_times(attributes.atime, attributes.mtime)
            .call("utimensat")
    }

    /// So many bytes of content, holes included. What follows the length of files (digests, diffs,
    /// copies) takes as long for a hole as for data.
    fn add(&mut self, bytes: u64) -> Result<()> {
        let max = self.rules.max_content;
        if bytes > max.saturating_sub(self.applied.size) {
            let message = format!("the layer's files hold more than {max} bytes");
            return Err(Error::new(Code::Limit, Errno::FBIG, message));
        }
        self.applied.size += bytes;
        Ok(())
    }

    fn node(&mut self, entry: &Entry, path: &[u8], kind: Kind, pairs: &Pairs) -> Result<()> {
        let rdev = (entry.major, entry.minor);
        if kind == Kind::CharDevice && rdev == (0, 0) {
            return Err(Error::new(
                Code::Archive,
                Errno::PERM,
                "a character device 0:0 is overlayfs's whiteout and cannot be in a layer",
            ));
        }
        if kind != Kind::Fifo && self.rules.no_devices {
            if self.rules.strict {
                return Err(Error::new(
                    Code::Strict,
                    Errno::PERM,
                    "devices are not allowed",
                ));
            }
            self.applied.partial.devices += 1;
            return Ok(());
        }
        match self.upper.node(path, kind, rdev)? {
            Some(made) => self.dress(&made, entry, kind, pairs),
            None => Ok(()),
        }
    }

    /// Puts the entry's attributes on what was made for it.
    fn dress(&mut self, made: &Made, entry: &Entry, kind: Kind, pairs: &Pairs) -> Result<()> {
        let attributes = attributes(entry, kind);
        self.upper
            .inodes
            .setter
            .put(made.inode(), &attributes, pairs, made.own)?;
        made.inode()
            .set_times(attributes.atime, attributes.mtime)
            .call("utimensat")
    }

    /// The extended attributes that may reach the disk: overlayfs's own never do, nor the ACLs in
    /// the spelling of XFS.
    fn pairs(&mut self, entry: &Entry) -> Result<Pairs> {
        let mut pairs = Pairs::with_capacity(entry.xattrs.len());
        for (name, value) in &entry.xattrs {
            if xattr::is_hidden(name, value) {
                return Err(refuse("a file capability without a value"));
            }
            let own = xattr::is_overlay(name);
            if !own && !xattr::is_xfs_acl(name) {
                pairs.push((name.clone(), value.clone()));
            } else if self.rules.strict {
                return Err(Error::new(
                    Code::Strict,
                    Errno::PERM,
                    format!(
                        "extended attribute {} is {}'s own",
                        name.escape_ascii(),
                        if own { "overlayfs" } else { "XFS" }
                    ),
                ));
            } else {
                self.applied.partial.xattrs += 1;
            }
        }
        Ok(pairs)
    }
}

/// Writes the next piece of a file; after a hole its place has to be said.
fn write(file: &OwnedFd, at: u64, end: u64, data: &[u8]) -> SysCall<()> {
    if at == end && end == 0 {
        return fs::write_all(file, data);
    }
    fs::write_all_at(file, data, at)
}

fn attributes(entry: &Entry, kind: Kind) -> Attributes {
    let mtime = Time {
        sec: entry.mtime.sec,
        nsec: entry.mtime.nsec,
    };
    Attributes {
        kind,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        atime: mtime,
        mtime,
    }
}

/// Below aufs's own directories nothing belongs to the layer.
fn in_aufs(parent: &[u8]) -> bool {
    parent
        .split(|&b| b == b'/')
        .any(|part| matches!(whiteout::classify(part), Ok(whiteout::Name::AufsMetadata)))
}

fn no_marker_in(parent: &[u8]) -> Result<()> {
    if parent
        .split(|&b| b == b'/')
        .any(|part| part.starts_with(whiteout::PREFIX))
    {
        return Err(refuse("an entry below a whiteout"));
    }
    Ok(())
}

fn refuse(message: &str) -> Error {
    Error::new(Code::Archive, Errno::INVAL, message)
}
