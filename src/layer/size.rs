//! The size of a layer: what the regular files and symbolic links in its own tree hold.

use crate::error::{Errno, Error, Result};
use crate::sys::dir::{DirBuf, Hint};
use crate::sys::fs::Kind;
use crate::sys::{OwnedFd, fs};
use crate::tree::chain::{Chain, GONE, walk};
use crate::watch::Watch;
use std::collections::HashSet;

/// What goes while it is looked at, in the upper of a running container, does not count.
///
/// The sizes of regular files and symbolic links below `root`, each inode once; inodes in `skip`
/// belong to a lower layer.
pub fn of_tree(root: OwnedFd, skip: &HashSet<u64>, watch: &mut Watch<'_>) -> Result<u64> {
    let mut buf = DirBuf::default();
    let mut seen = HashSet::new();
    let mut total = 0;
    walk(root, &GONE, watch, |chain, _| {
        one(chain, &mut buf, skip, &mut seen, &mut total).map(Some)
    })?;
    Ok(total)
}

fn one(
    chain: &Chain,
    buf: &mut DirBuf,
    skip: &HashSet<u64>,
    seen: &mut HashSet<u64>,
    total: &mut u64,
) -> Result<Vec<Vec<u8>>> {
    let mut below = Vec::new();
    let fd = chain.fd()?;
    let read = buf.for_each(fd, |name, hint| {
        if hint == Hint::Directory {
            below.push(name.to_vec());
            return Ok(());
        }
        let meta = match fs::stat_at(fd, name) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        match meta.kind {
            Kind::Directory => below.push(name.to_vec()),
            Kind::File | Kind::Symlink => {
                let first = meta.nlink < 2 || seen.insert(meta.ino);
                if first && !skip.contains(&meta.ino) {
                    *total = total.saturating_add(meta.size);
                }
            }
            _ => {}
        }
        Ok::<_, Errno>(())
    });
    match read {
        // The directory itself was removed.
        Ok(()) | Err(Errno::NOENT) => Ok(below),
        Err(errno) => Err(Error::sys(errno, "read").at(chain.path())),
    }
}
