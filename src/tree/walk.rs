//! The walk of a copy, by one thread or by several.
//!
//! It begins on the calling thread. Once that has shown to be long, threads come to help, and whoever
//! has names of directories waiting lends half of those nearest to the root: the largest parts, and
//! nothing above them is left to be done when the lender has to wait for them. So a directory is
//! sealed when all below it is done, whoever did it, and the root last.

use super::chain::{Chain, OPEN};
use super::copier::Copier;
use super::crew::{Crew, Number, WALKS};
use super::groups::Groups;
use crate::error::{Result, SysResult};
use crate::sys::fs::Meta;
use crate::sys::thread::{self, Threads};
use crate::sys::{OwnedFd, fs};
use crate::watch::Watch;
use std::os::fd::AsFd;

/// So much is done before threads are started: a thread costs some eighty system calls, which are less
/// than one in a hundred then. An entry is one, and so is what can be copied in its time.
const LONG: u64 = 4000;

/// Bytes that are as long to copy as an entry is to make.
const ENTRY_BYTES: u64 = 16 << 10;

/// A thread lends again when it has done so much: a part costs some system calls.
const PACE: u64 = 500;

/// The most threads that come to help. More wait for the file system's journal.
const HELPERS: usize = WALKS / 2 - 1;

/// What the helpers may have open at a time: the walks that they are lent, and what they work on.
const DESCRIPTORS: u64 = ((WALKS - 1) * 2 * (OPEN + 1) + 8 * HELPERS) as u64;

/// A directory on the way: its attributes for the end, and the directories still to be done.
struct Level {
    meta: Meta,
    below: Vec<Vec<u8>>,
}

/// A walk down both sides together, or a part of one.
struct Walk {
    src: Chain,
    dst: Chain,
    levels: Vec<Level>,
    /// The first directory is another walk's, and is sealed there.
    part: bool,
    /// The deepest level of which a part was lent.
    lent: Option<usize>,
}

impl Walk {
    /// The level that has something to lend, and how many of its names.
    fn spare(&self) -> Option<(usize, usize)> {
        let last = self.levels.len().checked_sub(1)?;
        let spare = |(depth, level): (usize, &Level)| {
            let names = level.below.len();
            // The walk is in one of the names of each level but the last, so it keeps something.
            let count = if depth == last {
                names / 2
            } else {
                names.div_ceil(2)
            };
            (count > 0).then_some((depth, count))
        };
        self.levels.iter().enumerate().find_map(spare)
    }

    /// Takes so many names out for a walk of their own; `None` where descriptors are short.
    fn split(&mut self, depth: usize, count: usize) -> Option<Walk> {
        let again = |chain: &Chain| {
            let fd = chain.fd_at(depth)?.try_clone_to_owned().ok()?;
            Some(Chain::below(chain.path_at(depth), fd))
        };
        let (src, dst) = (again(&self.src)?, again(&self.dst)?);
        let level = self.levels.get_mut(depth)?;
        Some(Walk {
            src,
            dst,
            levels: vec![Level {
                meta: level.meta,
                below: level.below.drain(..count).collect(),
            }],
            part: true,
            lent: None,
        })
    }

    /// Lends half of what waits nearest to the root.
    fn lend(&mut self, number: Number, crew: &Crew<'_, Walk>) {
        let Some((depth, count)) = self.spare() else {
            return;
        };
        let Some(part) = self.split(depth, count) else {
            return;
        };
        match crew.lend(number, part) {
            None => self.lent = self.lent.max(Some(depth)),
            Some(back) => {
                let names = back.levels.into_iter().flat_map(|level| level.below);
                self.levels[depth].below.splice(..0, names);
            }
        }
    }
}

/// What the threads of one copy share.
struct Shared<'a> {
    crew: Crew<'a, Walk>,
    groups: &'a Groups,
}

/// Looks whether help is wanted with a walk; nobody but the calling thread does.
type Recruit<'r> = dyn FnMut(&Copier, &Walk) + 'r;

impl Copier {
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
        let meta = fs::stat(&source).call("statx")?;
        self.prepare(&dst, &meta)?;
        let (src, dst) = (Chain::new(source), Chain::new(dst));
        let begun = self.effort();
        let seat = watch.seat();
        watch.leading(&seat, |watch| {
            let below = self.entries(&src, &dst, groups, watch)?;
            let walk = Walk {
                src,
                dst,
                levels: vec![Level { meta, below }],
                part: false,
                lent: None,
            };
            let (crew, number) = Crew::new(&seat);
            let shared = Shared { crew, groups };
            self.share(walk, number, begun, &shared, watch);
            shared.crew.end()
        })
    }

    /// Does a walk, with helpers if it is long. All have ended when it returns.
    fn share(
        &mut self,
        walk: Walk,
        number: Number,
        begun: u64,
        shared: &Shared<'_>,
        watch: &mut Watch<'_>,
    ) {
        let threads = self.threads;
        let mut asked = threads == Threads::Never;
        // Until all have ended.
        let mut room = None;
        std::thread::scope(|scope| {
            let _stopping = shared.crew.stopping();
            let mut helpers = Vec::new();
            let mut recruit = |copier: &Copier, walk: &Walk| {
                let long = copier.effort() - begun >= LONG;
                if asked || !(long || threads == Threads::Always) || walk.spare().is_none() {
                    return;
                }
                asked = true;
                if !threads.wanted(long) {
                    return;
                }
                let fd = walk.src.fd().ok();
                room = fd.and_then(|fd| thread::Room::take(fd, DESCRIPTORS));
                if room.is_none() {
                    return;
                }
                for _ in 0..helpers_wanted(threads) {
                    let helper = copier.again();
                    match thread::start(scope, "ovl-copy", || helper.help(shared)) {
                        Ok(started) => helpers.push(started),
                        // Those that there are will do.
                        Err(_) => break,
                    }
                }
                if !helpers.is_empty() {
                    shared.crew.share();
                }
            };
            self.work(Some((number, walk)), shared, watch, &mut recruit);
            for helper in helpers {
                self.absorb(helper.join());
            }
        });
    }

    /// How much was done.
    fn effort(&self) -> u64 {
        self.stats.entries + self.stats.bytes / ENTRY_BYTES
    }

    fn pace(&self) -> u64 {
        match self.threads {
            Threads::Always => 0,
            _ => PACE,
        }
    }

    /// What a helper does.
    fn help(mut self, shared: &Shared<'_>) -> Self {
        let _stopping = shared.crew.stopping();
        let mut watch = shared.crew.seat().watch();
        self.work(None, shared, &mut watch, &mut |_, _| {});
        self
    }

    /// Does walks until there are none.
    fn work(
        &mut self,
        first: Option<(Number, Walk)>,
        shared: &Shared<'_>,
        watch: &mut Watch<'_>,
        recruit: &mut Recruit<'_>,
    ) {
        let done = (|| {
            let mut next = match first {
                None => shared.crew.take(|| watch.check())?,
                first => first,
            };
            while let Some((number, walk)) = next {
                self.advance(number, walk, shared, watch, recruit)?;
                next = shared.crew.take(|| watch.check())?;
            }
            Ok(())
        })();
        if let Err(error) = done {
            shared.crew.fail(error);
        }
    }

    /// Goes on with a walk to its end, or until it has to wait for what it lent.
    fn advance(
        &mut self,
        number: Number,
        mut walk: Walk,
        shared: &Shared<'_>,
        watch: &mut Watch<'_>,
        recruit: &mut Recruit<'_>,
    ) -> Result<()> {
        let Shared { crew, groups } = shared;
        loop {
            recruit(self, &walk);
            if crew.is_hungry() && self.effort() >= self.lends_at {
                walk.lend(number, crew);
                self.lends_at = self.effort() + self.pace();
            }
            let depth = walk.levels.len().saturating_sub(1);
            let Some(level) = walk.levels.last_mut() else {
                break;
            };
            if let Some(name) = level.below.pop() {
                if let Some(meta) = self.descend(&mut walk.src, &mut walk.dst, name)? {
                    let below = self.entries(&walk.src, &walk.dst, groups, watch)?;
                    walk.levels.push(Level { meta, below });
                }
                continue;
            }
            let meta = level.meta;
            if walk.lent == Some(depth) {
                match crew.leave(number, walk) {
                    Some(back) => walk = back,
                    None => return Ok(()),
                }
                walk.lent = None;
            }
            if depth > 0 || !walk.part {
                self.seal(walk.src.fd()?, walk.dst.fd()?, &meta, depth == 0)
                    .map_err(|e| e.at(walk.src.path()))?;
                self.stats.entries += 1;
                self.stats.directories += 1;
                watch.entry()?;
            }
            walk.levels.pop();
            if depth > 0 {
                walk.src.pop()?;
                walk.dst.pop()?;
            }
        }
        // Its descriptors are closed before another walk may come.
        drop(walk);
        crew.done(number);
        Ok(())
    }
}

/// How many threads are to help the calling one. Whoever wants them always gets as many as may be.
fn helpers_wanted(threads: Threads) -> usize {
    match threads {
        Threads::Always => HELPERS,
        _ => thread::processors().saturating_sub(1).min(HELPERS),
    }
}
