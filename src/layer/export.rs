//! A comparison becomes a layer tar, in the one form that equal pairs of trees share.

mod apart;
mod holes;
mod later;
mod out;

use super::MAX_PATH;
use super::diff::{self, Change, ChangeKind, New, Renamed, Visitor};
use super::view::Stack;
use crate::archive::{self, Digest, Header, Sink, Writer, path, whiteout};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::fs::{self, Kind, Meta, Time};
use crate::sys::ids::IdMaps;
use crate::sys::thread::Threads;
use crate::sys::xattr::{self, Marks, Pairs};
use crate::sys::{AsFd, BorrowedFd, OwnedFd};
use crate::tree::attrs::Inode;
use crate::tree::chain::join;
use crate::tree::compare;
use crate::watch::Watch;
use later::{Later, Still};
use out::{Gather, Out, Take};
use std::collections::HashMap;
use std::sync::Arc;

/// How a tar is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Refuse what a layer tar cannot say instead of counting it.
    pub strict: bool,
    /// Keep holes of files.
    pub sparse: bool,
    /// No time later than this.
    pub clamp: Option<Time>,
    /// The new stack's own tree may be written to meanwhile.
    pub live: bool,
    /// What is known of renamed directories.
    pub renamed: Renamed,
}

/// What was written.
#[derive(Clone, Debug, Default)]
pub struct Exported {
    /// Entries, whiteouts included.
    pub entries: u64,
    /// Content of regular files and targets of links, each link group once.
    pub size: u64,
    /// Bytes of the tar.
    pub tar_size: u64,
    /// SHA-256 of the tar.
    pub diff_id: Option<Digest>,
    /// Sockets, which a tar cannot say.
    pub sockets: u64,
    /// Devices 0:0, which a layer tar cannot say.
    pub devices: u64,
    /// Names that begin with `.wh.`, which a layer tar cannot say.
    pub names: u64,
    /// Entries with attributes called like overlayfs's marks, which are left out.
    pub xattrs: u64,
    /// Entries whose owner the caller's user namespace has not.
    pub owners: u64,
}

/// Writes what `new` has that `old` has not as a layer tar.
pub fn export<S: Sink>(
    old: &Stack,
    new: &Stack,
    sink: S,
    style: Style,
    threads: Threads,
    watch: &mut Watch<'_>,
) -> Result<Exported> {
    let mut out = Out::new(sink);
    if threads.wanted(true) {
        let short = if threads == Threads::Always { 0 } else { SHORT };
        if let Some(done) = apart::export(old, new, &mut out, style, short, watch)? {
            return Ok(out.finish(done));
        }
    }
    let mut writing = Writing::new(&mut out, style);
    diff::begin(old, new, &mut writing, style.renamed, watch)?.run(watch)?;
    writing.close()?;
    let done = writing.done;
    Ok(out.finish(done))
}

/// Bytes of a tar for which no thread is started.
const SHORT: u64 = 512 << 10;

/// Writes what it is told, in pieces.
struct Writing<T> {
    writer: Writer<Gather<T>>,
    style: Style,
    done: Exported,
    /// The first name of each inode that has several.
    groups: HashMap<(u64, (u32, u32)), Vec<u8>>,
    ids: IdMaps,
}

impl<T: Take> Visitor for Writing<T> {
    const LINK_GROUPS: bool = true;
    const EXACT: bool = true;

    fn pauses(&self, next: Option<&Meta>) -> bool {
        let file = next.filter(|next| next.kind == Kind::File);
        self.writer
            .sink_ref()
            .is_enough(file.map_or(0, |file| file.size))
    }

    fn opens_first(&self) -> bool {
        !self.style.live
    }

    fn reads(&self, meta: &Meta) -> bool {
        meta.nlink < 2 || !self.groups.contains_key(&(meta.ino, meta.dev))
    }

    fn change(&mut self, change: &Change<'_>, watch: &mut Watch<'_>) -> Result<()> {
        self.writer.sink().set_path(change.path);
        let (parent, base) = path::split(change.path);
        if change
            .path
            .split(|&b| b == b'/')
            .any(|part| part.starts_with(whiteout::PREFIX))
        {
            return self.unsayable("a name that begins with .wh.", |done| &mut done.names);
        }
        match &change.new {
            None => self.whiteout(parent, base)?,
            Some(new) => {
                if !self.entry(change.path, new, watch)? {
                    // What was there is gone all the same.
                    if change.kind == ChangeKind::Modify {
                        self.whiteout(parent, base)?;
                    }
                    return Ok(());
                }
            }
        }
        watch.entry()
    }
}

impl<T: Take> Writing<T> {
    fn new(to: T, style: Style) -> Self {
        Writing {
            writer: Writer::new(Gather::new(to)),
            style,
            done: Exported::default(),
            groups: HashMap::new(),
            ids: IdMaps::read(),
        }
    }

    /// Ends the tar.
    fn close(&mut self) -> Result<()> {
        self.writer.sink().set_path(b"");
        self.writer.close()?;
        self.writer.sink().flush()
    }

    fn whiteout(&mut self, parent: &[u8], base: &[u8]) -> Result<()> {
        let path = join(parent, &whiteout::encode(base)?);
        let mut header = Header::new(path, archive::Kind::File);
        header.mtime = archive_time(compare::clamp(Time::default(), self.style.clamp));
        self.begin(&header)
    }

    fn begin(&mut self, header: &Header) -> Result<()> {
        self.count(header)?;
        self.writer.begin(header)
    }

    /// One more entry; what `apply` would refuse for its name is not written.
    fn count(&mut self, header: &Header) -> Result<()> {
        if header.path.len() > MAX_PATH {
            let message = format!("a path of more than {MAX_PATH} bytes");
            return Err(Error::new(Code::Limit, Errno::FBIG, message).at(&header.path));
        }
        self.done.entries += 1;
        Ok(())
    }

    fn add(&mut self, bytes: u64) {
        self.done.size = self.done.size.saturating_add(bytes);
    }

    /// Counts what a layer tar cannot say, or refuses it.
    fn unsayable(&mut self, what: &str, count: fn(&mut Exported) -> &mut u64) -> Result<()> {
        if self.style.strict {
            let message = format!("a layer tar cannot hold {what}");
            return Err(Error::new(Code::Strict, Errno::OPNOTSUPP, message));
        }
        *count(&mut self.done) += 1;
        Ok(())
    }

    /// Writes a new or changed inode; false when it cannot be said.
    fn entry(&mut self, path: &[u8], new: &New<'_>, watch: &mut Watch<'_>) -> Result<bool> {
        let meta = new.place.meta;
        let kind = match meta.kind {
            Kind::File => archive::Kind::File,
            Kind::Directory => archive::Kind::Directory,
            Kind::Symlink => archive::Kind::Symlink,
            Kind::Fifo => archive::Kind::Fifo,
            // In a layer it would be a whiteout.
            Kind::CharDevice if meta.is_whiteout() => {
                return self
                    .unsayable("a device 0:0", |done| &mut done.devices)
                    .map(|()| false);
            }
            Kind::CharDevice => archive::Kind::CharDevice,
            Kind::BlockDevice => archive::Kind::BlockDevice,
            Kind::Socket => {
                return self
                    .unsayable("a socket", |done| &mut done.sockets)
                    .map(|()| false);
            }
        };
        let mut header = Header::new(path.to_vec(), kind);
        let mtime = compare::clamp(meta.mtime, self.style.clamp);
        header.mtime = archive_time(mtime);
        header.mode = if meta.kind == Kind::Symlink {
            0o777
        } else {
            meta.mode
        };
        header.uid = meta.uid;
        header.gid = meta.gid;
        let inode = if meta.kind == Kind::Directory {
            Inode::Open(new.place.dir)
        } else {
            Inode::Named(new.place.dir, new.place.name)
        };
        if meta.kind != Kind::Directory && meta.nlink > 1 {
            let key = (meta.ino, meta.dev);
            if let Some(first) = self.groups.get(&key) {
                header.kind = archive::Kind::HardLink;
                header.link = first.clone();
                // What a chown takes from a file. Many an applier owns each name of an inode, so each
                // name's entry says it again; one that only makes the link loses nothing.
                if meta.kind == Kind::File {
                    header.xattrs = compare::own_xattrs(inode)?;
                    header.xattrs.retain(|(name, value)| {
                        name == xattr::CAPABILITY && !xattr::is_hidden(name, value)
                    });
                }
                return self.begin(&header).map(|()| true);
            }
            self.groups.insert(key, path.to_vec());
        }
        if !self.ids.has_user(meta.uid) || !self.ids.has_group(meta.gid) {
            let what = "an owner that the user namespace has not";
            self.unsayable(what, |done| &mut done.owners)?;
        }
        match meta.kind {
            Kind::File => return self.file(header, new, watch).map(|()| true),
            Kind::Symlink => {
                header.link = fs::read_link(new.place.dir, new.place.name).call("readlink")?;
                self.add(header.link.len() as u64);
            }
            Kind::CharDevice | Kind::BlockDevice => (header.major, header.minor) = meta.rdev,
            _ => {}
        }
        header.xattrs = self.xattrs(inode, new)?;
        self.begin(&header).map(|()| true)
    }

    /// The attributes that an entry carries. Content that is called like overlayfs's marks is not
    /// among them; the marks of the upper itself are none of the content.
    fn xattrs(&mut self, inode: Inode<'_>, new: &New<'_>) -> Result<Pairs> {
        let listed;
        let names = match new.attributes {
            Some(names) => names,
            None => {
                listed = inode.xattr_names().call("listxattr")?;
                &listed
            }
        };
        let mut pairs = compare::own_among(inode, names)?;
        let hidden = |(name, value): &(Vec<u8>, Vec<u8>)| xattr::is_hidden(name, value);
        if pairs.iter().any(hidden) {
            let what = "a capability that the user namespace has not";
            self.unsayable(what, |done| &mut done.xattrs)?;
            pairs.retain(|pair| !hidden(pair));
        }
        let lost = |name: &[u8]| {
            let nested = |marks: Marks| {
                marks
                    .name_of(name)
                    .is_some_and(|n| n.starts_with(b"overlay."))
            };
            xattr::is_overlay(name)
                && new
                    .marks
                    .is_none_or(|marks| marks.name_of(name).is_none() || nested(marks))
        };
        if names.iter().any(|name| lost(name)) {
            self.unsayable("an attribute of overlayfs", |done| &mut done.xattrs)?;
        }
        Ok(pairs)
    }

    fn file(&mut self, mut header: Header, new: &New<'_>, watch: &mut Watch<'_>) -> Result<()> {
        let meta = new.place.meta;
        let still = Still {
            meta: *meta,
            live: self.style.live && new.tree == 0,
        };
        let opened;
        let file = match (new.place.content, new.file) {
            (Some(content), _) => content,
            (None, Some(file)) => file.as_fd(),
            (None, None) => {
                opened = new.place.open()?;
                opened.as_fd()
            }
        };
        let inode = match new.place.content {
            Some(_) => Inode::Named(new.place.dir, new.place.name),
            None => Inode::Open(file),
        };
        header.size = meta.size;
        header.xattrs = self.xattrs(inode, new)?;
        self.add(meta.size);
        let mut holes = None;
        if self.style.sparse && fs::has_hole(file, meta.size).call("lseek")? {
            holes = Some(holes::regions(file, meta.size)?);
        }
        self.count(&header)?;
        match holes {
            Some(regions) => {
                self.writer.begin_sparse(&header, &regions)?;
                for region in regions {
                    self.content(file, region.offset, region.len, watch)?;
                }
            }
            None => {
                self.writer.begin(&header)?;
                let own = new.file.filter(|_| new.place.content.is_none());
                if self.is_left(own, still, watch)? {
                    return Ok(());
                }
                self.content(file, 0, meta.size, watch)?;
            }
        }
        let after = match new.place.content {
            Some(_) => fs::stat_at(new.place.dir, new.place.name),
            None => fs::stat(file),
        };
        still.check(&after.call("statx")?)
    }

    /// Whether the reading of a whole file is left to who writes: where that one takes it, and it fits.
    fn is_left(
        &mut self,
        file: Option<&Arc<OwnedFd>>,
        still: Still,
        watch: &mut Watch<'_>,
    ) -> Result<bool> {
        let len = usize::try_from(still.meta.size).unwrap_or(usize::MAX);
        let Some(file) = file.filter(|_| len > 0) else {
            return Ok(false);
        };
        let Some(turn) = self.writer.sink_ref().turn() else {
            return Ok(false);
        };
        if !self.writer.data_later(len)? {
            return Ok(false);
        }
        let sink = self.writer.sink();
        sink.later(Later {
            file: file.clone(),
            still,
            at: sink.at() - len,
            path: sink.path().to_vec(),
            turn,
        });
        watch.bytes(still.meta.size).map(|()| true)
    }

    fn content(
        &mut self,
        file: BorrowedFd<'_>,
        mut at: u64,
        len: u64,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let end = at + len;
        while at < end {
            let got = self
                .writer
                .data_from(end - at, |room| fs::read_at(file, room, at).call("read"))?;
            if got == 0 {
                return Err(Error::changed());
            }
            at += got as u64;
            watch.bytes(got as u64)?;
        }
        Ok(())
    }
}

fn archive_time(time: Time) -> archive::Time {
    archive::Time {
        sec: time.sec,
        nsec: time.nsec,
    }
}
