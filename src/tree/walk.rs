//! The walk of a tree, by one thread or by several.
//!
//! It begins on the calling thread. Once that has shown to be long, threads come to help, and whoever
//! has names of directories waiting lends half of those nearest to the root: the largest parts, and
//! nothing above them is left to be done when the lender has to wait for them. So a directory is
//! left when all below it is done, whoever did it, and the root last.

use super::chain::OPEN;
use super::crew::{Crew, Number, WALKS};
use crate::error::Result;
use crate::sys::BorrowedFd;
use crate::sys::thread::{self, Threads};
use crate::watch::Watch;

/// So much is done before threads are started: a thread costs some eighty system calls, which are less
/// than one in a hundred then. An entry is one, and so is what can be done in its time.
const LONG: u64 = 4000;

/// A thread lends again when it has done so much: a part costs some system calls.
const PACE: u64 = 500;

/// The most threads that come to help. More wait for the file system's journal.
const HELPERS: usize = WALKS / 2 - 1;

/// What a walk is for. Each thread has one of its own.
pub trait Visit: Send {
    /// The threads' name.
    const NAME: &'static str;
    /// How many descriptors there are for each level of a place, at most.
    const SIDES: usize;
    /// Where a walk stands.
    type Place: Send;
    /// What is kept of a directory until all below it is done.
    type Kept: Copy + Send;

    /// Goes down into the directory `name` and does all that is in it but directories; `None` when
    /// there is nothing to enter.
    fn enter(
        &mut self,
        place: &mut Self::Place,
        name: Vec<u8>,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Level<Self::Kept>>>;

    /// Ends the directory that the place stands in, `depth` levels below its root, and goes back up
    /// from it. `None` when that is done; else the place stands in it still, to go through it again.
    fn leave(
        &mut self,
        place: &mut Self::Place,
        depth: usize,
        kept: Self::Kept,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Level<Self::Kept>>>;

    /// A place of its own whose root is `place` at `depth`; `None` where that is closed for now.
    fn beside(place: &Self::Place, depth: usize) -> Option<Self::Place>;

    /// The directory that the place stands in, where there is one.
    fn stands(place: &Self::Place) -> Option<BorrowedFd<'_>>;

    /// Whether others may help.
    fn threads(&self) -> Threads;

    /// How much was done.
    fn effort(&self) -> u64;

    /// One for a thread that helps this one, with nothing done so far.
    fn again(&self) -> Self;

    /// Takes what a helper did for its own.
    fn absorb(&mut self, helper: Self);
}

/// A directory on the way: what is kept for its end, and the directories still to be done, last first.
pub struct Level<K> {
    pub kept: K,
    pub below: Vec<Vec<u8>>,
}

/// A walk, or a part of one.
struct Walk<V: Visit> {
    place: V::Place,
    levels: Vec<Level<V::Kept>>,
    /// The first directory is another walk's, and is left there.
    part: bool,
    /// The deepest level of which a part was lent.
    lent: Option<usize>,
}

impl<V: Visit> Walk<V> {
    /// The level that has something to lend, and how many of its names.
    fn spare(&self) -> Option<(usize, usize)> {
        let last = self.levels.len().checked_sub(1)?;
        let spare = |(depth, level): (usize, &Level<V::Kept>)| {
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

    /// Takes so many names out for a walk of their own; `None` where that is closed for now.
    fn split(&mut self, depth: usize, count: usize) -> Option<Self> {
        let place = V::beside(&self.place, depth)?;
        let level = self.levels.get_mut(depth)?;
        Some(Walk {
            place,
            levels: vec![Level {
                kept: level.kept,
                below: level.below.drain(..count).collect(),
            }],
            part: true,
            lent: None,
        })
    }

    /// Lends half of what waits nearest to the root.
    fn lend(&mut self, number: Number, crew: &Crew<'_, Walk<V>>) {
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

/// Walks the tree at `place` with a `visit` that has done nothing so far. What is in its root is done by `begin`.
pub fn run<V: Visit>(
    visit: &mut V,
    mut place: V::Place,
    watch: &mut Watch<'_>,
    begin: impl FnOnce(&mut V, &mut V::Place, &mut Watch<'_>) -> Result<Level<V::Kept>>,
) -> Result<()> {
    let seat = watch.seat();
    watch.leading(&seat, |watch| {
        let level = begin(visit, &mut place, watch)?;
        let walk = Walk {
            place,
            levels: vec![level],
            part: false,
            lent: None,
        };
        let (crew, number) = Crew::new(&seat);
        share(visit, (number, walk), &crew, watch);
        crew.end()
    })
}

/// Does a walk, with helpers if it is long. All have ended when it returns.
fn share<V: Visit>(
    visit: &mut V,
    first: (Number, Walk<V>),
    crew: &Crew<'_, Walk<V>>,
    watch: &mut Watch<'_>,
) {
    let threads = visit.threads();
    let mut asked = threads == Threads::Never;
    // Until all have ended.
    let mut room = None;
    std::thread::scope(|scope| {
        let _stopping = crew.stopping();
        let mut helpers = Vec::new();
        // Nobody but the calling thread looks whether help is wanted.
        let mut recruit = |visit: &V, walk: &Walk<V>| {
            let long = visit.effort() >= LONG;
            if asked || !(long || threads == Threads::Always) || walk.spare().is_none() {
                return;
            }
            asked = true;
            if !threads.wanted(long) {
                return;
            }
            room = V::stands(&walk.place).and_then(|fd| thread::Room::take(fd, descriptors::<V>()));
            if room.is_none() {
                return;
            }
            for _ in 0..helpers_wanted(threads) {
                let helper = visit.again();
                match thread::start(scope, V::NAME, || help(helper, crew)) {
                    Ok(started) => helpers.push(started),
                    // Those that there are will do.
                    Err(_) => break,
                }
            }
            if !helpers.is_empty() {
                crew.share();
            }
        };
        Worker::new(visit, crew).work(Some(first), watch, &mut recruit);
        for helper in helpers {
            visit.absorb(helper.join());
        }
    });
}

/// What a helper does.
fn help<V: Visit>(mut visit: V, crew: &Crew<'_, Walk<V>>) -> V {
    let _stopping = crew.stopping();
    let mut watch = crew.seat().watch();
    Worker::new(&mut visit, crew).work(None, &mut watch, &mut |_, _| {});
    visit
}

/// What the helpers may have open at a time: the walks that they are lent, and what they work on.
fn descriptors<V: Visit>() -> u64 {
    ((WALKS - 1) * V::SIDES * (OPEN + 1) + 8 * HELPERS) as u64
}

/// How many threads are to help the calling one. Whoever wants them always gets as many as may be.
fn helpers_wanted(threads: Threads) -> usize {
    match threads {
        Threads::Always => HELPERS,
        _ => thread::processors().saturating_sub(1).min(HELPERS),
    }
}

/// One thread at its walks.
struct Worker<'w, 'c, V: Visit> {
    visit: &'w mut V,
    crew: &'w Crew<'c, Walk<V>>,
    pace: u64,
    /// How much is done before it lends to others again.
    lends_at: u64,
}

impl<'w, 'c, V: Visit> Worker<'w, 'c, V> {
    fn new(visit: &'w mut V, crew: &'w Crew<'c, Walk<V>>) -> Self {
        let pace = match visit.threads() {
            Threads::Always => 0,
            _ => PACE,
        };
        Worker {
            visit,
            crew,
            pace,
            lends_at: 0,
        }
    }

    /// Does walks until there are none.
    fn work(
        &mut self,
        first: Option<(Number, Walk<V>)>,
        watch: &mut Watch<'_>,
        recruit: &mut dyn FnMut(&V, &Walk<V>),
    ) {
        let done = (|| {
            let mut next = match first {
                None => self.crew.take(|| watch.check())?,
                first => first,
            };
            while let Some((number, walk)) = next {
                self.advance(number, walk, watch, recruit)?;
                next = self.crew.take(|| watch.check())?;
            }
            Ok(())
        })();
        if let Err(error) = done {
            self.crew.fail(error);
        }
    }

    /// Goes on with a walk to its end, or until it has to wait for what it lent.
    fn advance(
        &mut self,
        number: Number,
        mut walk: Walk<V>,
        watch: &mut Watch<'_>,
        recruit: &mut dyn FnMut(&V, &Walk<V>),
    ) -> Result<()> {
        loop {
            recruit(self.visit, &walk);
            if self.crew.is_hungry() && self.visit.effort() >= self.lends_at {
                walk.lend(number, self.crew);
                self.lends_at = self.visit.effort() + self.pace;
            }
            let depth = walk.levels.len().saturating_sub(1);
            let Some(level) = walk.levels.last_mut() else {
                break;
            };
            if let Some(name) = level.below.pop() {
                let entered = self.visit.enter(&mut walk.place, name, watch)?;
                walk.levels.extend(entered);
                continue;
            }
            let kept = level.kept;
            if walk.lent == Some(depth) {
                match self.crew.leave(number, walk) {
                    Some(back) => walk = back,
                    None => return Ok(()),
                }
                walk.lent = None;
            }
            walk.levels.pop();
            if depth > 0 || !walk.part {
                let more = self.visit.leave(&mut walk.place, depth, kept, watch)?;
                walk.levels.extend(more);
            }
        }
        // Its descriptors are closed before another walk may come.
        drop(walk);
        self.crew.done(number);
        Ok(())
    }
}
