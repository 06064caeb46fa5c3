//! The walk of a copy: down both sides together.

use super::chain::Chain;
use super::copier::Copier;
use super::groups::Groups;
use super::walk::{self, Level, Visit};
use crate::error::{Errno, Error, Result, SysResult};
use crate::sys::dir::Hint;
use crate::sys::fs::Meta;
use crate::sys::thread::Threads;
use crate::sys::{BorrowedFd, OwnedFd, fs};
use crate::watch::Watch;
use std::os::fd::AsFd;

/// Bytes that are as long to copy as an entry is to make.
const ENTRY_BYTES: u64 = 16 << 10;

/// So many entries of a directory are copied by the thread that reads it; of a crowded one more wait, and
/// others may have a share.
const CROWD: u64 = 1000;

/// So many names of one directory wait at most: some megabytes.
const WAITING: usize = 1 << 15;

/// What waits to be copied.
struct Next {
    name: Vec<u8>,
    hint: Hint,
}

/// One thread's part of a copy.
struct Copying<'a> {
    copier: Copier,
    groups: &'a Groups,
}

/// Where a copy stands, on both sides.
struct Both {
    src: Chain,
    dst: Chain,
}

impl Visit for Copying<'_> {
    const NAME: &'static str = "ovl-copy";
    const SIDES: usize = 2;
    type Place = Both;
    /// Its attributes, for when all in it is done.
    type Kept = Meta;
    type Next = Next;

    fn enter(
        &mut self,
        place: &mut Both,
        Next { name, hint }: Next,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Level<Self>>> {
        let Both { src, dst } = place;
        let is_dir = hint == Hint::Directory
            || !self
                .copier
                .entry(src, dst, &name, hint, self.groups, watch)?;
        if !is_dir {
            return Ok(None);
        }
        let Some(kept) = self.copier.descend(src, dst, name)? else {
            return Ok(None);
        };
        let below = self.copier.entries(src, dst, self.groups, watch)?;
        Ok(Some(Level { kept, below }))
    }

    fn leave(
        &mut self,
        place: &mut Both,
        depth: usize,
        kept: Meta,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Level<Self>>> {
        let Both { src, dst } = place;
        self.copier
            .seal(src.fd()?, dst.fd()?, &kept, depth == 0)
            .map_err(|e| e.at(src.path()))?;
        self.copier.stats.entries += 1;
        self.copier.stats.directories += 1;
        watch.entry()?;
        if depth > 0 {
            src.pop()?;
            dst.pop()?;
        }
        Ok(None)
    }

    fn beside(place: &Both, depth: usize) -> Option<Both> {
        let (src, dst) = (place.src.beside(depth)?, place.dst.beside(depth)?);
        Some(Both { src, dst })
    }

    fn stands(place: &Both) -> Option<BorrowedFd<'_>> {
        place.src.fd().ok()
    }

    fn threads(&self) -> Threads {
        self.copier.threads
    }

    fn effort(&self) -> u64 {
        self.copier.stats.entries + self.copier.stats.bytes / ENTRY_BYTES
    }

    fn again(&self) -> Self {
        Copying {
            copier: self.copier.again(),
            ..*self
        }
    }

    fn absorb(&mut self, helper: Self) {
        self.copier.absorb(helper.copier);
    }
}

impl Copier {
    /// Whether more of a directory of which so much is copied waits for others.
    fn is_crowded(&self, copied: u64) -> bool {
        // Links are made with the directory locked, and who shares extents waits for the file
        // system's own trees, which are a directory's: others would only wait.
        if self.hard_link() || self.stats.reflinked > self.stats.copied {
            return false;
        }
        match self.threads {
            Threads::Never => false,
            Threads::Auto => copied == CROWD && self.threads.wanted(true),
            Threads::Always => copied == 1,
        }
    }

    /// Copies what is no directory where the chains stand; gives what is still to be done, last first.
    /// Files that wait are done before any directory is entered, so they are those of one directory.
    fn entries(
        &mut self,
        src: &Chain,
        dst: &Chain,
        groups: &Groups,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Next>> {
        let next = |name: &[u8], hint| Next {
            name: name.to_vec(),
            hint,
        };
        let (mut copied, mut crowded) = (0, false);
        let mut below = Vec::new();
        let mut files = Vec::new();
        let mut failed: Option<Error> = None;
        let mut buf = std::mem::take(&mut self.buf);
        let read = buf.for_each(src.fd()?, |name, hint| {
            if hint == Hint::Directory {
                below.push(next(name, hint));
                return Ok(());
            }
            let waits = crowded && files.len() < WAITING;
            let done = match waits {
                true => {
                    files.push(next(name, hint));
                    watch.check()
                }
                false => self
                    .entry(src, dst, name, hint, groups, watch)
                    .map(|done| match done {
                        true => copied += 1,
                        false => below.push(next(name, Hint::Directory)),
                    }),
            };
            crowded |= !waits && self.is_crowded(copied);
            done.map_err(|error| {
                let errno = error.errno();
                failed = Some(error);
                errno
            })
        });
        self.buf = buf;
        if let Some(error) = failed {
            return Err(error);
        }
        match read {
            // The directory itself was removed.
            Err(Errno::NOENT) => self.vanished(&src.path())?,
            read => read.call("getdents64").map_err(|e| e.at(src.path()))?,
        }
        below.reverse();
        below.extend(files.into_iter().rev());
        Ok(below)
    }

    /// Copies all of `source`, its own attributes included, into the empty directory `dst`.
    pub fn run(&mut self, source: OwnedFd, dst: OwnedFd, watch: &mut Watch<'_>) -> Result<()> {
        let groups = Groups::new(dst.as_fd(), None)?;
        self.run_below(source, dst, b"", &groups, watch)
    }

    /// The same for a `dst` that is `path` below the root of `groups`.
    pub fn run_below(
        &mut self,
        source: OwnedFd,
        dst: OwnedFd,
        path: &[u8],
        groups: &Groups,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        self.prefix = path.to_vec();
        let kept = fs::stat(&source).call("statx")?;
        self.prepare(&dst, &kept)?;
        let (src, dst) = (Chain::new(source), Chain::new(dst));
        let copier = self.again();
        let mut copying = Copying { copier, groups };
        let copied = walk::run(
            &mut copying,
            Both { src, dst },
            watch,
            |copying, at, watch| {
                let below = copying.copier.entries(&at.src, &at.dst, groups, watch)?;
                Ok(Level { kept, below })
            },
        );
        self.absorb(copying.copier);
        copied
    }
}
