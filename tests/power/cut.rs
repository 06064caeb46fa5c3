//! What a disk may hold when the power goes: everything up to the last flush that was answered,
//! and of what was written since then any part.

use super::disk::{Content, Entry, SECTOR};
use super::rng::Rng;
use std::ops::Range;

/// What becomes of the writes that were not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All of them are there.
    All,
    /// None is.
    None,
    /// Each is there or not.
    Some,
    /// Later ones are there, earlier ones are not.
    Reordered,
    /// The last ones are there in part: some of their sectors.
    Torn,
}

const MODES: [Mode; 5] = [
    Mode::All,
    Mode::None,
    Mode::Some,
    Mode::Reordered,
    Mode::Torn,
];

/// One cut of a log.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Its number; with the seed and the log it says everything.
    pub number: usize,
    /// So many requests were answered.
    pub at: usize,
    /// What of them is there.
    pub mode: Mode,
}

/// Where the flushes of a log are.
fn flushes(log: &[Entry]) -> Vec<usize> {
    let all = log.iter().enumerate();
    all.filter(|(_, entry)| matches!(entry, Entry::Flush))
        .map(|(at, _)| at)
        .collect()
}

/// Cuts of a log by this seed. Of four, two are at a flush, each flush in its turn, before it is
/// answered or just after; one is at one of `marks`, the places where a call began or returned; one
/// is anywhere.
pub fn cuts(log: &[Entry], marks: &[usize], seed: u64, numbers: Range<usize>) -> Vec<Cut> {
    let flushes = flushes(log);
    let order = Rng::new(seed, 1).shuffled(flushes.len());
    let cut = |number: usize| {
        let mut rng = Rng::new(seed, 2 + number as u64);
        let mode = MODES[rng.below(MODES.len())];
        let at = match number % 4 {
            0 | 2 if !order.is_empty() => {
                let flush = flushes[order[number / 2 % order.len()]];
                flush + usize::from(rng.chance(20))
            }
            1 if !marks.is_empty() => marks[rng.below(marks.len())],
            _ => rng.below(log.len() + 1),
        };
        Cut { number, at, mode }
    };
    numbers.map(cut).collect()
}

/// Makes the states of cuts, which must come in the order of their places.
pub struct States<'l> {
    log: &'l [Entry],
    solid: Content,
    applied: usize,
}

impl<'l> States<'l> {
    /// `base` is what the disk held when the log began.
    pub fn new(base: &Content, log: &'l [Entry]) -> Self {
        States {
            log,
            solid: base.clone(),
            applied: 0,
        }
    }

    /// What the disk holds after the cut.
    pub fn at(&mut self, cut: Cut, seed: u64) -> Content {
        let before = &self.log[..cut.at];
        let flush = |entry: &Entry| matches!(entry, Entry::Flush);
        let solid = before.iter().rposition(flush).unwrap_or(0);
        for entry in &self.log[self.applied.min(solid)..solid] {
            self.solid.apply(entry);
        }
        self.applied = self.applied.max(solid);
        let mut content = self.solid.clone();
        let pending = &before[solid..];
        let mut rng = Rng::new(seed, u64::MAX - cut.number as u64);
        lose(&mut content, pending, cut.mode, &mut rng);
        content
    }
}

/// Applies what is left of `pending`.
fn lose(content: &mut Content, pending: &[Entry], mode: Mode, rng: &mut Rng) {
    let lost = [10, 50, 90][rng.below(3)];
    // What comes from here on is there, or torn.
    let last = rng.below(pending.len() + 1);
    for (at, entry) in pending.iter().enumerate() {
        match mode {
            Mode::None => {}
            Mode::All => content.apply(entry),
            Mode::Some if rng.chance(lost) => {}
            Mode::Reordered if at < last && rng.chance(lost.max(50)) => {}
            Mode::Torn if at >= last => tear(content, entry, rng),
            _ => content.apply(entry),
        }
    }
}

/// Applies some sectors of a write.
fn tear(content: &mut Content, entry: &Entry, rng: &mut Rng) {
    let Entry::Write(at, data) = entry else {
        return content.apply(entry);
    };
    let kept = [10, 50, 90][rng.below(3)];
    for (sector, piece) in data.chunks(SECTOR).enumerate() {
        if rng.chance(kept) {
            content.write(at + (sector * SECTOR) as u64, piece);
        }
    }
}
