//! What each entry of a layer tar becomes in an upper.

use super::apply::{Applied, Rules};
use super::filler::{Content, Last};
use super::upper::{Made, Upper};
use crate::archive::{self, Entry, Reader, Source, path, whiteout};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::OwnedFd;
use crate::sys::fs::{self, Kind, Time};
use crate::sys::xattr::{self, Pairs};
use crate::tree::attrs::Attributes;
use crate::tree::inode::PRIVATE;
use crate::watch::Watch;

/// The entries of a tar on their way into an upper.
pub struct Extract<'a> {
    /// Where they go.
    pub upper: Upper,
    /// Where the content of files goes.
    pub content: Content<'a>,
    /// How.
    pub rules: &'a Rules,
    /// No umask takes from the modes of what this thread makes.
    pub no_umask: bool,
    /// What became of them so far.
    pub applied: Applied,
}

impl Extract<'_> {
    /// Extracts all that `reader` has. The content of files may be on its way when this returns.
    pub fn all<S: Source>(&mut self, reader: &mut Reader<S>, watch: &mut Watch<'_>) -> Result<()> {
        let all = self.entries(reader, watch);
        // What came before a failure may have failed before it.
        self.content.flush()?;
        all
    }

    fn entries<S: Source>(&mut self, reader: &mut Reader<S>, watch: &mut Watch<'_>) -> Result<()> {
        while let Some(entry) = reader.next_entry()? {
            self.upper.entry();
            self.entry(reader, &entry, watch)
                .map_err(|e| e.at(&entry.path))?;
            // Data that nobody wants is passed over in pieces: it may be as long as it says.
            while let Some(chunk) = reader.next_chunk()? {
                watch.bytes(chunk.data.len() as u64)?;
            }
            self.applied.entries += 1;
            watch.entry()?;
        }
        Ok(())
    }

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
            let last = Last {
                pairs: self.pairs(entry)?,
                attributes: attributes(entry, Kind::File),
                own: false,
                born: None,
            };
            let file = self.upper.pseudo_file(base)?;
            return self.fill(reader, entry, file, last, watch);
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
            archive::Kind::File => self.file(reader, entry, &path, pairs, watch),
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
        pairs: Pairs,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        // Attributes are set by who may write to the file, and an ACL among them sets the mode.
        let at_once = self.no_umask && pairs.is_empty();
        let mode = match at_once {
            true => entry.mode & 0o777,
            false => PRIVATE,
        };
        let attributes = attributes(entry, Kind::File);
        let wanted = self.rules.notes && pairs.is_empty();
        let plain = wanted.then_some((&attributes, entry.size));
        let (file, made) = self.upper.create(path, mode, plain)?;
        if !self.no_umask && !pairs.is_empty() {
            // user.* is for who may write.
            fs::chmod(&file, PRIVATE).call("fchmod")?;
        }
        let born = (at_once && !made.acl).then_some(mode);
        let last = Last {
            attributes,
            pairs,
            own: made.own,
            born,
        };
        self.fill(reader, entry, file, last, watch)
    }

    /// The content of the new `file`, and what it gets when that is done.
    fn fill<S: Source>(
        &mut self,
        reader: &mut Reader<S>,
        entry: &Entry,
        file: OwnedFd,
        last: Last,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        self.add(entry.size)?;
        self.content.begin(file, &entry.path)?;
        while let Some(chunk) = reader.next_chunk()? {
            self.content.data(chunk.offset, chunk.data)?;
            watch.bytes(chunk.data.len() as u64)?;
        }
        self.content.end(entry.size, last)
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
