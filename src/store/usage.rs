//! What a layer takes on the disk, and what of it other layers take too.
//!
//! Layers of kind `root` share files with their parents by hard links, so sizes cannot be added
//! up. An inode is a layer's own when every name that it has is in the layer's directory.

use super::{Store, Usage, id};
use crate::error::{Errno, Error, Result, SysResult};
use crate::sys::dir::DirBuf;
use crate::sys::fs::{self, Kind, Meta};
use crate::sys::{AsFd, OwnedFd};
use crate::tree::chain::{Chain, GONE, walk};
use crate::watch::Watch;
use std::collections::HashMap;

/// A running layer is looked at again when its directories move under the walk.
const TRIES: usize = 8;

impl Store {
    /// What the layer `id` takes, or the whole store: one walk through the names, which reads
    /// nothing else. A damaged layer is counted as any other, a mounted one as it is meanwhile.
    pub fn usage(&self, id: Option<&[u8]>, watch: &mut Watch<'_>) -> Result<Usage> {
        let place = id.unwrap_or_default();
        self.count(id, watch).map_err(|e| e.at(place).op("usage"))
    }

    fn count(&self, id: Option<&[u8]>, watch: &mut Watch<'_>) -> Result<Usage> {
        watch.check()?;
        let Some(id) = id.map(id::check).transpose()? else {
            return usage_of(&self.home, watch);
        };
        loop {
            let dir = match fs::open_dir(&self.layers, id.as_bytes()) {
                Ok(dir) => dir,
                Err(Errno::NOENT) => return Err(super::layer::no_layer(id)),
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return Err(super::damaged::no_directory(id));
                }
                Err(errno) => return Err(errno).call_at("open", id),
            };
            let usage = usage_of(&dir, watch)?;
            let mine = fs::stat(&dir).call("statx")?;
            // Removed while it was walked, it was not whole.
            match fs::stat_at(&self.layers, id.as_bytes()) {
                Ok(there) if there.same_inode(&mine) => return Ok(usage),
                _ => watch.check()?,
            }
        }
    }
}

fn usage_of(dir: &OwnedFd, watch: &mut Watch<'_>) -> Result<Usage> {
    let (usage, _) = settled(&[dir], watch, |usage: &mut Usage, place| {
        let meta = place.meta;
        match place.seen {
            Seen::Whole => add_own(usage, meta),
            Seen::First => {
                usage.shared_inodes += 1;
                usage.shared_bytes += meta.blocks * 512;
                usage.shared_size += size(meta);
            }
            Seen::Again => {}
            Seen::Last => {
                // A file that is written to meanwhile was smaller when it was first met.
                let less = |from: &mut u64, by: u64| *from = from.saturating_sub(by);
                less(&mut usage.shared_inodes, 1);
                less(&mut usage.shared_bytes, meta.blocks * 512);
                less(&mut usage.shared_size, size(meta));
                add_own(usage, meta);
            }
        }
    })?;
    Ok(usage)
}

fn add_own(usage: &mut Usage, meta: &Meta) {
    usage.own_inodes += 1;
    usage.own_bytes += meta.blocks * 512;
    usage.own_size += size(meta);
}

/// The size that counts: what a directory says of itself depends on the file system.
fn size(meta: &Meta) -> u64 {
    match meta.kind {
        Kind::File | Kind::Symlink => meta.size,
        _ => 0,
    }
}

/// What a walk has met of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It has no other name.
    Whole,
    /// One of several names, the first.
    First,
    /// Another.
    Again,
    /// The last: all are in the tree.
    Last,
}

/// A name that a walk meets.
pub(super) struct Place<'a> {
    chain: &'a Chain,
    name: &'a [u8],
    pub meta: &'a Meta,
    pub seen: Seen,
}

impl Place<'_> {
    /// Its path from the root of the walk.
    pub fn path(&self) -> Vec<u8> {
        self.chain.path_of(self.name)
    }
}

/// How many names of each inode of several were not met: 16 bytes for one, whatever its names.
#[derive(Default)]
pub(super) struct Links(HashMap<[u32; 3], u32>);

impl Links {
    /// The number of an inode, and the device's as the kernel packs it.
    fn key(meta: &Meta) -> [u32; 3] {
        let (major, minor) = meta.dev;
        let (high, low) = ((meta.ino >> 32) as u32, meta.ino as u32);
        [high, low, major << 20 | (minor & 0xf_ffff)]
    }

    fn meet(&mut self, meta: &Meta) -> Seen {
        let mut seen = Seen::Again;
        let left = self.0.entry(Self::key(meta)).or_insert_with(|| {
            seen = Seen::First;
            meta.nlink
        });
        if *left == 1 {
            seen = Seen::Last;
        }
        // A name that is moved while the walk goes on may be met twice.
        *left = left.saturating_sub(1);
        seen
    }

    /// Whether all names of all inodes were met.
    pub fn is_whole(&self) -> bool {
        self.0.values().all(|left| *left == 0)
    }

    /// Whether an inode has names that were not met.
    pub fn lacks(&self, meta: &Meta) -> bool {
        self.0.get(&Self::key(meta)).is_some_and(|left| *left > 0)
    }
}

/// Walks the trees at `dirs`, as often as it takes to see them at rest enough to find the way. Calls
/// `each` for every name, the roots too; gives what it made, and the inodes of several names.
pub(super) fn settled<T: Default>(
    dirs: &[&OwnedFd],
    watch: &mut Watch<'_>,
    each: impl Fn(&mut T, &Place<'_>),
) -> Result<(T, Links)> {
    for _ in 1..TRIES {
        match once(dirs, watch, &each) {
            Err(error) if error.errno() == Errno::STALE => {}
            done => return done,
        }
    }
    once(dirs, watch, &each)
}

fn once<T: Default>(
    dirs: &[&OwnedFd],
    watch: &mut Watch<'_>,
    each: &impl Fn(&mut T, &Place<'_>),
) -> Result<(T, Links)> {
    let mut walk = Walk {
        made: T::default(),
        links: Links::default(),
        buf: DirBuf::default(),
        each,
    };
    for dir in dirs {
        walk.tree(super::again(dir)?, watch)?;
    }
    Ok((walk.made, walk.links))
}

struct Walk<'a, T, F> {
    made: T,
    links: Links,
    buf: DirBuf,
    each: &'a F,
}

impl<T, F: Fn(&mut T, &Place<'_>)> Walk<'_, T, F> {
    fn tree(&mut self, root: OwnedFd, watch: &mut Watch<'_>) -> Result<()> {
        let meta = fs::stat(&root).call("statx")?;
        // What something was mounted on is passed by too.
        let gone = [&GONE[..], &[Errno::XDEV]].concat();
        walk(root, &gone, watch, |chain, watch| {
            if chain.depth() == 0 {
                self.meet(chain, b"", &meta);
            }
            self.directory(chain, watch).map(Some)
        })
    }

    fn meet(&mut self, chain: &Chain, name: &[u8], meta: &Meta) {
        let seen = match meta.kind == Kind::Directory || meta.nlink < 2 {
            true => Seen::Whole,
            false => self.links.meet(meta),
        };
        let place = Place {
            chain,
            name,
            meta,
            seen,
        };
        (self.each)(&mut self.made, &place);
    }

    /// All names where the chain stands; gives those of the directories.
    fn directory(&mut self, chain: &Chain, watch: &mut Watch<'_>) -> Result<Vec<Vec<u8>>> {
        let fd = chain.fd()?;
        let mut names = Vec::new();
        let read = self.buf.for_each(fd, |name, _| {
            names.push(name.to_vec());
            Ok::<_, Errno>(())
        });
        match read {
            // The directory itself was removed.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::sys(errno, "getdents64").at(chain.path())),
        }
        let mut below = Vec::new();
        for name in names {
            watch.entry()?;
            let meta = match fs::stat_at(fd.as_fd(), &name) {
                Ok(meta) if meta.mount_root => continue,
                Ok(meta) => meta,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(Error::sys(errno, "statx").at(chain.path_of(&name))),
            };
            self.meet(chain, &name, &meta);
            if meta.kind == Kind::Directory {
                below.push(name);
            }
        }
        Ok(below)
    }
}
