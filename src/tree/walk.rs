//! The walk of a tree, by one thread or by several.
//!
//! It begins on the calling thread. Once that has shown to be long, threads come to help, and whoever
//! has work waiting lends half of that nearest to the root: the largest parts, and
//! nothing above them is left to be done when the lender has to wait for them. So a directory is
//! left when all below it is done, whoever did it, and the root last.

use super::chain::OPEN;
use super::crew::{Crew, Number, WALKS};
use crate::error::Result;
use crate::sys::BorrowedFd;
use crate::sys::thread::{self, Threads};
use crate::watch::Watch;

/// So much is done before threads are started: a thread costs some eighty system calls, as long as
/// twenty entries take. An entry is one, and so is what can be done in its time.
const LONG: u64 = 1000;

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
    /// What is still to be done in a directory.
    type Next: Send;

    /// Goes down into the directory that is next and does all that is in it but what it gives as
    /// the level's; `None` when there is nothing to enter.
    fn enter(
        &mut self,
        place: &mut Self::Place,
        next: Self::Next,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Level<Self>>>;

    /// Ends the directory that the place stands in, `depth` levels below its root, and goes back up
    /// from it. `None` when that is done; else the place stands in it still, to go through it again.
    fn leave(
        &mut self,
        place: &mut Self::Place,
        depth: usize,
        kept: Self::Kept,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Level<Self>>>;

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

/// A directory on the way: what is kept for its end, and what is still to be done in it, last first.
pub struct Level<V: Visit + ?Sized> {
    pub kept: V::Kept,
    pub below: Vec<V::Next>,
}

/// A walk, or a part of one.
struct Walk<V: Visit> {
    place: V::Place,
    levels: Vec<Level<V>>,
    /// The first directory is another walk's, and is left there.
    part: bool,
    /// The deepest level of which a part was lent.
    lent: Option<usize>,
}

impl<V: Visit> Walk<V> {
    /// The levels that have something to lend, the nearest to the root first, and how many names each.
    fn spare(&self) -> impl Iterator<Item = (usize, usize)> + use<'_, V> {
        let last = self.levels.len().saturating_sub(1);
        self.levels
            .iter()
            .enumerate()
            .map(move |(depth, level)| {
                let names = level.below.len();
                // The walk is in one of the names of each level but the last, so it keeps something.
                let count = if depth == last {
                    names / 2
                } else {
                    names.div_ceil(2)
                };
                (depth, count)
            })
            .filter(|&(_, count)| count > 0)
    }

    /// Takes so many names out for a walk of their own.
    fn split(&mut self, place: V::Place, depth: usize, count: usize) -> Option<Self> {
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

    /// Lends half of what waits nearest to the root, where that is open now.
    fn lend(&mut self, number: Number, crew: &Crew<'_, Walk<V>>) {
        let found = self.spare().find_map(|(depth, count)| {
            let place = V::beside(&self.place, depth)?;
            Some((place, depth, count))
        });
        let Some((place, depth, count)) = found else {
            return;
        };
        let Some(part) = self.split(place, depth, count) else {
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
    begin: impl FnOnce(&mut V, &mut V::Place, &mut Watch<'_>) -> Result<Level<V>>,
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
            if asked || !(long || threads == Threads::Always) || walk.spare().next().is_none() {
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
            if let Some(next) = level.below.pop() {
                let entered = self.visit.enter(&mut walk.place, next, watch)?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::OwnedFd;
    use std::os::fd::AsFd;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A directory in a directory, and so on, so deep; each of the upper ones has files too, and the last
    /// one many.
    const DEPTH: usize = 100;
    const LAST: usize = 1000;
    /// As many levels are open.
    const OPEN: usize = 8;

    struct Deep<'a> {
        helps: bool,
        entered: u64,
        /// Files of the last directory that helpers had.
        shared: &'a AtomicUsize,
    }

    /// A level of the whole tree, and where the place's own root is.
    struct Place {
        root: usize,
        at: usize,
        any: Arc<OwnedFd>,
    }

    enum Next {
        Down,
        File,
    }

    impl Deep<'_> {
        fn level(at: usize) -> Level<Self> {
            let mut below: Vec<_> = (0..if at == DEPTH { LAST } else { 4 })
                .map(|_| Next::File)
                .collect();
            below.extend((at < DEPTH).then_some(Next::Down));
            Level { kept: (), below }
        }
    }

    impl Visit for Deep<'_> {
        const NAME: &'static str = "ovl-test";
        const SIDES: usize = 1;
        type Place = Place;
        type Kept = ();
        type Next = Next;

        fn enter(
            &mut self,
            place: &mut Place,
            next: Next,
            watch: &mut Watch<'_>,
        ) -> Result<Option<Level<Self>>> {
            self.entered += 1;
            watch.entry()?;
            if let Next::Down = next {
                place.at += 1;
                return Ok(Some(Deep::level(place.at)));
            }
            if place.at == DEPTH {
                if self.helps {
                    self.shared.fetch_add(1, Ordering::Relaxed);
                } else if self.shared.load(Ordering::Relaxed) == 0 {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
            }
            Ok(None)
        }

        fn leave(
            &mut self,
            place: &mut Place,
            _: usize,
            (): (),
            _: &mut Watch<'_>,
        ) -> Result<Option<Level<Self>>> {
            place.at = place.at.saturating_sub(1);
            Ok(None)
        }

        fn beside(place: &Place, depth: usize) -> Option<Place> {
            let at = place.root + depth;
            (place.at - at < OPEN).then(|| Place {
                root: at,
                at,
                any: place.any.clone(),
            })
        }

        fn stands(place: &Place) -> Option<BorrowedFd<'_>> {
            Some(place.any.as_fd())
        }

        fn threads(&self) -> Threads {
            Threads::Always
        }

        fn effort(&self) -> u64 {
            self.entered
        }

        fn again(&self) -> Self {
            Deep {
                helps: true,
                entered: 0,
                ..*self
            }
        }

        fn absorb(&mut self, helper: Self) {
            self.entered += helper.entered;
        }
    }

    #[test]
    fn what_is_deep_is_shared_too() {
        let shared = AtomicUsize::new(0);
        let mut deep = Deep {
            helps: false,
            entered: 0,
            shared: &shared,
        };
        let any: OwnedFd = tempfile::tempfile().unwrap().into();
        let top = Place {
            root: 0,
            at: 0,
            any: Arc::new(any),
        };
        let begin = |_: &mut Deep<'_>, _: &mut Place, _: &mut Watch<'_>| Ok(Deep::level(0));
        run(&mut deep, top, &mut Watch::default(), begin).unwrap();
        assert_eq!(deep.entered as usize, DEPTH * 5 + LAST);
        assert!(shared.into_inner() > 0, "nobody lent what is open");
    }
}
