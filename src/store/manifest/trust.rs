//! How far notes on files are right: one of each sort is asked for.
//!
//! A file system may keep less of a time than it was given, or ignore an owner or a mode without a word.

use crate::sys::fs::{Meta, Time};
use crate::sys::{OwnedFd, fs};
use std::collections::HashSet;

/// So many sorts of owner, group and mode are told apart; files of others are all asked for.
const SORTS: usize = 256;

/// What was found so far.
#[derive(Default)]
pub struct Trust {
    /// Something other than a time was not as noted.
    lost: bool,
    /// By the digits of a fraction of a second: whether times with so many are kept.
    times: [Option<bool>; 10],
    /// Owners, groups and modes that are kept.
    sorts: HashSet<(u32, u32, u32)>,
}

impl Trust {
    /// What is to be told of the file `name` in `dir`, of which this is noted; `None` where it has to be
    /// asked for.
    pub fn told(&mut self, noted: Meta, dir: &OwnedFd, name: &[u8]) -> Option<Meta> {
        let digits = digits(noted.mtime);
        let sort = (noted.uid, noted.gid, noted.mode);
        if self.lost || self.times[digits] == Some(false) {
            return None;
        }
        if self.times[digits].is_some() && self.sorts.contains(&sort) {
            return Some(noted);
        }
        let is = fs::stat_at(dir, name).ok()?;
        let but_times = |meta: &Meta| {
            (
                meta.kind, meta.uid, meta.gid, meta.mode, meta.nlink, meta.size,
            )
        };
        if but_times(&is) != but_times(&noted) {
            self.lost = true;
            return Some(is);
        }
        self.times[digits] = Some(is.mtime == noted.mtime);
        if self.sorts.len() < SORTS {
            self.sorts.insert(sort);
        }
        Some(is)
    }
}

/// How many digits the fraction of a second has.
fn digits(time: Time) -> usize {
    let (mut digits, mut left) = (9, time.nsec);
    while digits > 0 && left % 10 == 0 {
        (digits, left) = (digits - 1, left / 10);
    }
    digits
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs::{File, FileTimes};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    /// A file that is so old, and what is right to note of it.
    fn file(at: &Path, name: &str, sec: u64, nsec: u32) -> Meta {
        let file = File::create(at.join(name)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::new(sec, nsec);
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
        let is = fs::stat(&file).unwrap();
        Meta::of_file(is.mode, (is.uid, is.gid), is.size, is.mtime)
    }

    fn open(at: &Path) -> OwnedFd {
        fs::open_dir_trusted(rustix::fs::CWD, at.as_os_str().as_encoded_bytes()).unwrap()
    }

    #[test]
    fn one_of_each_sort_is_asked_for() {
        let at = tempfile::tempdir().unwrap();
        let dir = open(at.path());
        let mut trust = Trust::default();
        let mut told = |noted: Meta, name: &str| {
            let told = trust.told(noted, &dir, name.as_bytes());
            told.map(|meta| meta.ino > 0)
        };
        let (asked, noted) = (Some(true), Some(false));
        for (name, sec, nsec, wanted) in [
            ("a", 1, 0, asked),
            ("b", 2, 0, noted),
            ("c", 0, 500_000_000, asked),
            ("d", 3, 100_000_000, noted),
            ("e", 3, 123_456_700, asked),
            ("f", 3, 123_456_789, asked),
            ("g", 4, 987_654_321, noted),
        ] {
            assert_eq!(
                told(file(at.path(), name, sec, nsec), name),
                wanted,
                "{name}"
            );
        }
        // Its time is not kept: nor are others as fine.
        let time = Time {
            sec: 4,
            nsec: 12_000_000,
        };
        let wrong = Meta {
            mtime: time,
            ..file(at.path(), "h", 4, 0)
        };
        assert_eq!(told(wrong, "h"), asked);
        assert_eq!(told(wrong, "h"), None);
        assert_eq!(told(file(at.path(), "i", 5, 0), "i"), noted);
        // Who believes does not look; and of what is not there nothing is known.
        assert_eq!(told(file(at.path(), "i", 5, 0), "not there"), noted);
        let unseen = Meta {
            mode: 0o1,
            ..file(at.path(), "i", 5, 0)
        };
        assert_eq!(told(unseen, "not there"), None);
        // Another mode is another sort; and whoever finds one wrong believes nothing any more.
        let other = Meta {
            mode: 0o7,
            ..file(at.path(), "k", 5, 0)
        };
        assert_eq!(told(other, "k"), asked);
        assert_eq!(told(file(at.path(), "i", 5, 0), "i"), None);
    }

    #[test]
    fn so_many_sorts_are_told_apart() {
        let at = tempfile::tempdir().unwrap();
        let dir = open(at.path());
        let mut trust = Trust::default();
        let plain = file(at.path(), "a", 1, 0);
        // Each is right: the file has that mode by then.
        for turn in 0..2 {
            for mode in 0..SORTS as u32 + 2 {
                fs::chmod_at(&dir, b"a", mode).unwrap();
                let told = trust.told(Meta { mode, ..plain }, &dir, b"a").unwrap();
                let asked = told.ino > 0;
                assert_eq!(asked, turn == 0 || mode >= SORTS as u32, "{turn}: {mode:o}");
            }
        }
    }

    #[test]
    fn digits_of_fractions() {
        for (nsec, wanted) in [(0, 0), (5, 9), (10, 8), (999_999_999, 9), (500_000_000, 1)] {
            assert_eq!(digits(Time { sec: 7, nsec }), wanted);
        }
    }
}
