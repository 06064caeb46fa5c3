//! What a disk may hold when the power goes: everything up to the last flush that was answered,
//! and of what was written since then any part.

use super::disk::{BLOCK, Content, Entry, SECTOR};
use crate::support::rng::Rng;
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

/// Where ext4, xfs and btrfs have superblocks, whose checksum is over more than a sector: none of them
/// outlives one that is written in part. A disk writes these blocks whole.
const SUPERBLOCKS: [u64; 3] = [0, 64 << 10, 64 << 20];

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
    let (mut done, end) = (0, data.len());
    while done < end {
        let place = at + done as u64;
        // The rest of the block if it is a superblock, else a sector.
        let unit = match SUPERBLOCKS.contains(&(place - place % BLOCK as u64)) {
            true => BLOCK,
            false => SECTOR,
        };
        let len = (unit - place as usize % unit).min(end - done);
        if rng.chance(kept) {
            content.write(place, &data[done..done + len]);
        }
        done += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(block: u64, byte: u8) -> Entry {
        Entry::Write(block * 4096, vec![byte; 4096].into())
    }

    /// What is in the first bytes of the first four blocks.
    fn shown(content: &Content) -> [u8; 4] {
        [0, 1, 2, 3].map(|block| {
            let mut byte = [0];
            content.read(block * 4096, &mut byte);
            byte[0]
        })
    }

    #[test]
    fn what_was_flushed_stays() {
        let log = [
            write(0, 1),
            write(1, 1),
            Entry::Flush,
            write(0, 2),
            write(2, 2),
            write(3, 2),
        ];
        let base = Content::new(1 << 20);
        let (mut all, mut none, mut torn) = (0, 0, 0);
        for seed in 0..200 {
            let mut states = States::new(&base, &log);
            for mode in MODES {
                let cut = Cut {
                    number: 0,
                    at: 6,
                    mode,
                };
                let content = states.at(cut, seed);
                let [a, b, c, d] = shown(&content);
                assert!(a > 0 && b == 1, "{mode:?}: flushed, and lost");
                match mode {
                    Mode::All => assert_eq!([a, c, d], [2, 2, 2]),
                    Mode::None => assert_eq!([a, c, d], [1, 0, 0]),
                    _ => {}
                }
                all += usize::from([a, c, d] == [2, 2, 2]);
                none += usize::from([a, c, d] == [1, 0, 0]);
                let mut block = [0; 4096];
                content.read(3 * 4096, &mut block);
                torn += usize::from(block.contains(&0) && block.contains(&2));
            }
        }
        // Neither all nor nothing is what the other modes leave.
        assert!(all < 500 && none < 500 && torn > 20, "{all} {none} {torn}");
    }

    #[test]
    fn nothing_flushed_nothing_kept() {
        let log = [write(0, 1), write(1, 2)];
        let mut states = States::new(&Content::new(1 << 20), &log);
        let cut = |at, mode| Cut {
            number: 0,
            at,
            mode,
        };
        assert_eq!(shown(&states.at(cut(1, Mode::All), 1)), [1, 0, 0, 0]);
        assert_eq!(shown(&states.at(cut(2, Mode::None), 1)), [0; 4]);
        assert_eq!(shown(&states.at(cut(2, Mode::All), 1)), [1, 2, 0, 0]);
    }

    #[test]
    fn a_seed_is_a_choice() {
        let log: Vec<Entry> = (0..50)
            .flat_map(|at| [write(at, 1), Entry::Flush])
            .collect();
        let places = |seed| -> Vec<(usize, Mode)> {
            let cuts = cuts(&log, &[7], seed, 0..200);
            cuts.iter().map(|cut| (cut.at, cut.mode)).collect()
        };
        assert_eq!(places(5), places(5));
        assert_ne!(places(5), places(6));
        let at = |place: usize| {
            places(5)
                .iter()
                .any(|(at, _)| *at == place || *at == place + 1)
        };
        assert!(
            (0..50).all(|flush| at(2 * flush + 1)),
            "a flush was left out"
        );
    }
}
