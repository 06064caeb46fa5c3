//! What a layer takes on the disk, and what of it other layers take too.
//!
//! Layers of kind `root` share files with their parents by hard links, so sizes cannot be added
//! up. An inode is a layer's own when every name that it has is in the layer's directory.

use super::{Store, Usage, id};
use crate::error::{Errno, Error, Result, SysResult};
use crate::sys::dir::DirBuf;
use crate::sys::fs::{self, Kind, Meta};
use crate::sys::{AsFd, OwnedFd};
use crate::tree::chain::Chain;
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
    let (mut usage, linked) = settled(dir, watch, |usage: &mut Usage, _, meta| {
        if meta.kind == Kind::Directory || meta.nlink < 2 {
            add_own(usage, meta);
        }
    })?;
    for link in linked.into_values() {
        if link.names >= link.meta.nlink {
            add_own(&mut usage, &link.meta);
        } else {
            usage.shared_inodes += 1;
            usage.shared_bytes += link.meta.blocks * 512;
            usage.shared_size += size(&link.meta);
        }
    }
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

/// An inode of several names.
pub(super) struct Link {
    pub meta: Meta,
    /// How many were found.
    pub names: u32,
    /// The first.
    pub path: Vec<u8>,
}

/// The inodes of several names in a tree.
pub(super) type Links = HashMap<(u64, (u32, u32)), Link>;

/// Walks the tree at `dir`, as often as it takes to see it at rest enough to find the way. Calls
/// `each` for every name, the root too; gives what it made, and the inodes of several names.
pub(super) fn settled<T: Default>(
    dir: &OwnedFd,
    watch: &mut Watch<'_>,
    each: impl Fn(&mut T, &[u8], &Meta),
) -> Result<(T, Links)> {
    for _ in 1..TRIES {
        match once(dir, watch, &each) {
            Err(error) if error.errno() == Errno::STALE => {}
            done => return done,
        }
    }
    once(dir, watch, &each)
}

fn once<T: Default>(
    dir: &OwnedFd,
    watch: &mut Watch<'_>,
    each: &impl Fn(&mut T, &[u8], &Meta),
) -> Result<(T, Links)> {
    let mut walk = Walk {
        made: T::default(),
        links: Links::new(),
        buf: DirBuf::default(),
        each,
    };
    let root = super::again(dir)?;
    let meta = fs::stat(&root).call("statx")?;
    each(&mut walk.made, b"", &meta);
    let mut chain = Chain::new(root);
    let mut pending = vec![walk.directory(&chain, watch)?];
    while let Some(below) = pending.last_mut() {
        let Some(name) = below.pop() else {
            pending.pop();
            chain.pop()?;
            continue;
        };
        let fd = match fs::open_dir(chain.fd()?, &name) {
            Ok(fd) => fd,
            // It went, or became something else, or something was mounted there.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => continue,
            Err(errno) => return Err(Error::sys(errno, "open").at(chain.path_of(&name))),
        };
        chain.push(name, fd)?;
        pending.push(walk.directory(&chain, watch)?);
    }
    Ok((walk.made, walk.links))
}

struct Walk<'a, T, F> {
    made: T,
    links: Links,
    buf: DirBuf,
    each: &'a F,
}

impl<T, F: Fn(&mut T, &[u8], &Meta)> Walk<'_, T, F> {
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
            (self.each)(&mut self.made, &name, &meta);
            if meta.kind == Kind::Directory {
                below.push(name);
            } else if meta.nlink > 1 {
                let link = self
                    .links
                    .entry((meta.ino, meta.dev))
                    .or_insert_with(|| Link {
                        meta,
                        names: 0,
                        path: chain.path_of(&name),
                    });
                link.names += 1;
                link.meta = meta;
            }
        }
        Ok(below)
    }
}
