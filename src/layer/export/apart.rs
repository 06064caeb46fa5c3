//! A diff on two threads: one walks and reads, the caller's own hashes and writes.
//!
//! The caller's sink and functions are called on his thread alone. Pieces of the tar come to it in
//! order, so what fails first in the tar is what is told: an error of the walk waits until all
//! before it is written, and one of the sink ends the walk.
//!
//! The walk begins on the caller's thread, and what it makes is kept back. Only when that gets long is
//! the thread started, which goes on with the walk where it stands.

use super::later::{self, Turn, Waiting};
use super::out::{Out, PIECE, Piece, Take};
use super::{Exported, Style, Writing};
use crate::archive::Sink;
use crate::error::{Code, Errno, Error, Result};
use crate::layer::diff;
use crate::layer::view::{Stack, Tree};
use crate::relay::Relay;
use crate::sys::thread;
use crate::watch::{LOOK, Seat, Watch};

/// Pieces on the way: enough that a thread that is held up for a moment does not hold up the other.
const ON_THE_WAY: usize = 4;

/// Exports with a thread where more than `short` bytes come; none where no thread can be started:
/// nothing was written then.
pub(super) fn export<S: Sink>(
    old: &Stack,
    new: &Stack,
    out: &mut Out<S>,
    style: Style,
    short: u64,
    watch: &mut Watch<'_>,
) -> Result<Option<Exported>> {
    let relays = Relays::default();
    let mut writing = Writing::new(Apart::new(&relays, short), style);
    let mut walk = diff::begin(old, new, &mut writing, style.renamed, watch)?;
    let begun = match walk.run(watch) {
        Ok(true) => walk.visitor().close().map(|()| true),
        other => other,
    };
    let apart = walk.visitor().writer.sink().to();
    let held = std::mem::take(&mut apart.held);
    apart.through = true;
    // For the descriptors of files that the other thread reads, until all have been read.
    let mut room = None;
    if let Ok(false) = begun {
        let base = new.trees().first().map(Tree::base);
        room = base.and_then(|base| thread::Room::take(base, later::MOST as u64));
        apart.waiting = room.as_ref().map(|_| Waiting::default());

        let work = |watch: &mut Watch<'_>| {
            walk.run(watch)?;
            walk.visitor().close()
        };
        if !on_thread(work, &relays, held, out, watch)? {
            return Ok(None);
        }
    } else {
        for piece in held {
            out.take(piece)?;
        }
        begun?;
    }
    drop(room);
    Ok(Some(writing.done))
}

/// Does `work` on a thread, and writes what it gives; false where none can be started.
fn on_thread<S: Sink>(
    work: impl FnOnce(&mut Watch<'_>) -> Result<()> + Send,
    relays: &Relays,
    held: Vec<Piece>,
    out: &mut Out<S>,
    watch: &mut Watch<'_>,
) -> Result<bool> {
    let seat = watch.seat();
    std::thread::scope(|scope| {
        let work = || {
            let _closing = relays.pieces.closing();
            thread::wait_for_turns();
            work(&mut seat.watch())
        };
        let Ok(started) = thread::start(scope, "ovl-output", work) else {
            return Ok(false);
        };
        // However this thread leaves, the other one does not wait for it.
        let ending = Ending(relays, &seat);
        let written = write(relays, held, out, &seat, watch);
        drop(ending);
        let walked = started.join();
        written?;
        walked?;
        watch.look(&seat)?;
        Ok(true)
    })
}

/// Writes all pieces that come.
fn write<S: Sink>(
    relays: &Relays,
    held: Vec<Piece>,
    out: &mut Out<S>,
    seat: &Seat<'_>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    for piece in held {
        relays.spare.give_now(out.take(piece)?);
    }
    while let Some(piece) = relays.pieces.take_looking(LOOK, || watch.look(seat))? {
        relays.spare.give_now(out.take(piece)?);
        watch.look(seat)?;
    }
    Ok(())
}

/// The ways between the two threads.
struct Relays {
    pieces: Relay<Piece>,
    /// Pieces that were written, to be filled again.
    spare: Relay<Vec<u8>>,
}

impl Default for Relays {
    fn default() -> Self {
        Relays {
            pieces: Relay::new(ON_THE_WAY),
            spare: Relay::new(ON_THE_WAY),
        }
    }
}

/// Ends the walk when dropped. One that came to its end by itself does not notice.
struct Ending<'a>(&'a Relays, &'a Seat<'a>);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.1.stop();
        self.0.pieces.close();
    }
}

/// The walking thread's end.
struct Apart<'a> {
    relays: &'a Relays,
    /// Bytes after which there is to be a thread.
    short: u64,
    /// What was made before there is one.
    held: Vec<Piece>,
    through: bool,
    /// Files that are read by the other thread, where there is room for their descriptors.
    waiting: Option<Waiting>,
}

impl<'a> Apart<'a> {
    fn new(relays: &'a Relays, short: u64) -> Self {
        Apart {
            relays,
            short,
            held: Vec::new(),
            through: false,
            waiting: None,
        }
    }
}

impl Take for Apart<'_> {
    fn take(&mut self, piece: Piece) -> Result<Vec<u8>> {
        if !self.through {
            self.held.push(piece);
            return Ok(Vec::new());
        }
        // Why nobody takes it is told by who does not.
        let ended = |_| Error::new(Code::Cancelled, Errno::CANCELED, "nobody writes any more");
        self.relays.pieces.give(piece).map_err(ended)?;
        Ok(self.relays.spare.take_now().unwrap_or_default())
    }

    fn turn(&self) -> Option<Turn> {
        self.waiting.as_ref().and_then(Waiting::one)
    }

    fn is_enough(&self, bytes: u64) -> bool {
        let held = (self.held.len() * PIECE) as u64;
        !self.through && held.saturating_add(bytes) >= self.short
    }
}
