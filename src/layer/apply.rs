//! A layer tar becomes the content of a layer.
//!
//! A tar that is long is worked on by several threads at a time, where there is more than one processor:
//!
//! - the caller's reads and decompresses the blob, and hashes it where it is compressed: his functions
//!   are called there and nowhere else;
//! - `ovl-hash` hashes the tar;
//! - `ovl-extract` reads the tar, and makes what its entries say;
//! - `ovl-fill` writes the content of files, and puts their attributes on, while `ovl-extract` is behind
//!   the caller's. Otherwise that one does it: it has the file in its cache.
//!
//! The three wait for their turns: where there are fewer processors than threads, the one that
//! decompresses is behind, and would be stopped each time that there is something for the others.
//!
//! Where the layer is to be on the disk in the end, `ovl-sync` has it written meanwhile.
//!
//! What is on its way between them is bounded. A call ends as it would with one thread: of two failures
//! the one that comes first in the tar is told, which is the one of the thread that is further
//! behind in it.

use super::early::Early;
use super::extract::Extract;
use super::filler::{Batch, CLOSING, Content, FILES, Feed, Filled, Filler};
use super::size;
use super::upper::{Bounds, LowerLinks, Notes, Upper};
use super::view::Stack;
use crate::archive::{self, Ahead, Begun, Piece, Reader, Sha256, Source};
use crate::error::{Error, Result, SysResult};
use crate::relay::Relay;
use crate::sys::OwnedFd;
use crate::sys::fs;
use crate::sys::thread::{self, Room, Started, Threads};
use crate::tree::aside::Aside;
use crate::tree::attrs::{Partial, Shut};
use crate::watch::{LOOK, Seat, Watch};
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

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
    /// Whether parts of it go on at the same time.
    pub threads: Threads,
    /// All is synced in the end.
    pub durable: bool,
    /// Somebody wants to know what plain files are like.
    pub notes: bool,
}

/// What became of a tar.
#[derive(Default)]
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
    /// What plain files are like, as far as it is wanted and known.
    pub notes: Notes,
}

/// A tar that is shorter is done before threads have started.
const SHORT: usize = 512 << 10;

/// Descriptors that the threads have more than one would: of files that are made and not filled yet, and
/// some to spare for what else goes on in the process.
const DESCRIPTORS: u64 = 384;

/// Pieces of the tar that wait to be extracted, and as many to be hashed.
const AHEAD: usize = 4;

/// Batches of files that wait to be filled.
const BATCHES: usize = 4;

/// So many files are filled by one thread before the other has its turn, where they take turns.
const TURN: u64 = 5;

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
    let upper = Upper::new(root, stack, links, aside, rules.strict, bounds)?;
    let mut source = Begun::new(source);
    let wanted = rules.threads.wanted(true)
        && (source.is_long(SHORT, LOOK, || watch.check())? || rules.threads == Threads::Always);
    let room = match wanted {
        true => Room::take(&again, DESCRIPTORS),
        false => None,
    };
    let done = match &room {
        Some(_) => together(source, upper, &again, rules, watch)?,
        None => alone(source, upper, rules, watch)?,
    };
    drop(room);
    done.finish(again, watch)
}

/// All that the tar says is done but what is done in the end.
struct Done {
    upper: Upper,
    applied: Applied,
    filled: Filled,
}

impl Done {
    fn finish(self, root: OwnedFd, watch: &mut Watch<'_>) -> Result<(Applied, Stack)> {
        let Done {
            mut upper,
            mut applied,
            filled,
        } = self;
        let (replaced, borrowed) = (upper.replaced(), upper.borrowed().clone());
        let noted = upper.noted();
        let (stack, inodes) = upper.finish()?;
        if replaced {
            applied.size = size::of_tree(root, &borrowed, watch)?;
        }
        let partial = inodes.setter.partial.plus(filled.partial);
        applied.partial = applied.partial.plus(partial);
        applied.shut = inodes.setter.shut.unwrap_or_default();
        applied.tagged = inodes.setter.tagged.unwrap_or_default();
        applied.tagged.extend(filled.tagged);
        // What came from below may have any.
        applied.tagged.extend(&borrowed);
        if applied.partial.owners == 0 {
            applied.notes = noted.sorted();
        }
        Ok((applied, stack))
    }
}

/// One thing after the other.
fn alone<S: Source>(
    source: Begun<S>,
    upper: Upper,
    rules: &Rules,
    watch: &mut Watch<'_>,
) -> Result<Done> {
    let mut job = Extract {
        upper,
        content: Content::new(Filler::new(rules.strict, 0), None),
        rules,
        no_umask: false,
        applied: Applied::default(),
    };
    let mut reader = Reader::new(source, rules.limits.clone());
    job.all(&mut reader, watch)?;
    // The tar may have ended before what its reading failed with.
    reader.into_source().untold()?;
    Ok(done(job))
}

fn done(job: Extract<'_>) -> Done {
    Done {
        upper: job.upper,
        applied: job.applied,
        filled: job.content.filled(),
    }
}

/// What the threads of one call share.
struct Shared<'a> {
    rules: &'a Rules,
    seat: Seat<'a>,
    /// The tar that is to be hashed, or what its reading failed with.
    unhashed: Relay<Result<Piece>>,
    /// The same, to be extracted.
    tar: Relay<Result<Piece>>,
    /// Room for more of it.
    empty: Relay<Piece>,
    batches: Relay<Batch>,
    used: Relay<Batch>,
    /// Closed when the tar is extracted.
    extracted: Relay<()>,
}

/// See the module's text.
fn together<S: Source>(
    mut source: Begun<S>,
    upper: Upper,
    root: &OwnedFd,
    rules: &Rules,
    watch: &mut Watch<'_>,
) -> Result<Done> {
    let syncs = Relay::new(1);
    let shared = &Shared {
        rules,
        seat: watch.seat(),
        unhashed: Relay::new(AHEAD),
        tar: Relay::new(AHEAD),
        empty: Relay::new(2 * AHEAD + 2),
        batches: Relay::new(BATCHES),
        used: Relay::new(BATCHES + 2),
        extracted: Relay::new(1),
    };
    // Whoever gets to extract takes it.
    let upper = Mutex::new(Some(upper));
    let take = &|| {
        let mut upper = upper.lock().unwrap_or_else(PoisonError::into_inner);
        upper
            .take()
            .ok_or_else(|| Error::invalid("extracted twice"))
    };
    std::thread::scope(|scope| {
        // However this ends, nobody waits for this thread.
        let _closing = (
            shared.unhashed.closing(),
            shared.tar.closing(),
            shared.batches.closing(),
        );
        let filler = thread::start(scope, "ovl-fill", || shared.fill()).ok();
        let fed = filler.is_some();
        let extractor = thread::start(scope, "ovl-extract", move || shared.extract(take()?, fed));
        let Ok(extractor) = extractor else {
            shared.batches.close();
            filler.map(Started::join).transpose()?;
            return alone(source, take()?, rules, watch);
        };
        let lent = source.lend_hash();
        let hasher = lent
            .clone()
            .and_then(|hash| thread::start(scope, "ovl-hash", move || shared.hash(hash)).ok());
        let pieces = match (&hasher, lent) {
            (Some(_), _) => &shared.unhashed,
            (None, None) => &shared.tar,
            (None, Some(hash)) => {
                source.return_hash(hash);
                &shared.tar
            }
        };
        let mut early = Early::new(scope, &syncs, rules.durable.then_some(root), rules.threads);
        let read = shared.read(&mut source, pieces, &mut early, watch);
        let extracted = extractor.join();
        shared.batches.close();
        let filled = filler.map(Started::join).transpose();
        let hashed = hasher.map(Started::join);
        // What the caller wants comes first, then what is the furthest behind in the tar.
        let unread = read?;
        let (filled, mut done) = (filled?, extracted?);
        let (mut hash, unextracted) = hashed.unzip();
        // The tar ended before the blob did, which nobody has looked at.
        let rest = std::iter::from_fn(|| shared.tar.take_now())
            .chain(unextracted.flatten())
            .chain(std::iter::from_fn(|| shared.unhashed.take_now()))
            .chain(unread);
        for piece in rest {
            let mut piece = piece?;
            if let Some(hash) = &mut hash {
                piece.hash(hash);
            }
        }
        if let Some(hash) = hash {
            source.return_hash(hash);
        }
        source.untold()?;
        early.end()?;
        if let Some(filled) = filled {
            done.filled = done.filled.plus(filled);
        }
        Ok(done)
    })
}

impl Shared<'_> {
    /// Reads the tar into `pieces` until all is extracted. An error is what the caller wants; what
    /// reading failed with goes where the tar goes. What nobody takes is given back.
    fn read<S: Source>(
        &self,
        source: &mut Begun<S>,
        pieces: &Relay<Result<Piece>>,
        early: &mut Early<'_, '_>,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Result<Piece>>> {
        let _closing = pieces.closing();
        let mut untaken = None;
        loop {
            watch.look(&self.seat)?;
            // A writer who pauses must not keep a failure from being told.
            if !source.is_ready_within(LOOK)? {
                match self.extracted.is_closed() {
                    true => break,
                    false => continue,
                }
            }
            let mut piece = self.empty.take_now().unwrap_or_default();
            let read = piece.read(source, || watch.look(&self.seat));
            early.read(piece.length());
            let (item, last) = match read {
                Ok(false) => break,
                Ok(true) => (Ok(piece), false),
                Err(error) => (Err(error), true),
            };
            match pieces.give_looking(item, LOOK, || watch.look(&self.seat))? {
                Ok(()) if !last => {}
                Ok(()) => break,
                Err(item) => {
                    untaken = Some(item);
                    break;
                }
            }
        }
        pieces.close();
        while !self.extracted.closed_within(LOOK) {
            watch.look(&self.seat)?;
        }
        watch.look(&self.seat)?;
        Ok(untaken)
    }

    /// Adds what was read to `hash` and hands it on, as long as somebody extracts it. Gives back what
    /// nobody took.
    fn hash(&self, mut hash: Sha256) -> (Sha256, Option<Result<Piece>>) {
        thread::wait_for_turns();
        let _closing = (self.unhashed.closing(), self.tar.closing());
        while let Some(mut item) = self.unhashed.take() {
            if let Ok(piece) = &mut item {
                piece.hash(&mut hash);
            }
            if let Err(item) = self.tar.give(item) {
                return (hash, Some(item));
            }
        }
        (hash, None)
    }

    fn extract(&self, upper: Upper, fed: bool) -> Result<Done> {
        let _closing = (
            self.extracted.closing(),
            self.tar.closing(),
            self.batches.closing(),
        );
        thread::wait_for_turns();
        let begun = Cell::new(0_u64);
        let behind = || match self.rules.threads {
            // Whoever wants threads always gets both ways, in turn.
            Threads::Always => {
                begun.set(begun.get() + 1);
                begun.get() / TURN % 2 == 0
            }
            _ => self.tar.length() + 1 >= AHEAD,
        };
        let feed = Feed::new(&self.batches, &self.used, &behind);
        // A file must not wait for the next one to come: it may have failed already.
        let idle = || if fed { feed.flush() } else { Ok(()) };
        let filler = Filler::new(self.rules.strict, FILES);
        let content = Content::new(filler, fed.then_some(&feed));
        let no_umask = thread::own_umask().is_ok() && upper.keeps_modes();
        let mut job = Extract {
            upper,
            content,
            rules: self.rules,
            no_umask,
            applied: Applied::default(),
        };
        let source = Ahead::new(&self.tar, &self.empty, &idle);
        let mut reader = Reader::new(source, self.rules.limits.clone());
        job.all(&mut reader, &mut self.seat.watch())?;
        Ok(done(job))
    }

    fn fill(&self) -> Result<Filled> {
        let _closing = self.batches.closing();
        thread::wait_for_turns();
        let mut filler = Filler::new(self.rules.strict, CLOSING);
        let mut watch = self.seat.watch();
        while let Some(mut batch) = self.batches.take() {
            filler.batch(&mut batch, &mut watch)?;
            self.used.give_now(batch);
        }
        Ok(filler.filled())
    }
}
