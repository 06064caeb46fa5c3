//! What new files were given, for who tells it later: the kernel need not be asked again.
//!
//! A manifest says of each entry what statx says. Of a plain file that an apply has made, that is what
//! it was given. Who does anything else to a name that may have been noted says so; what is in doubt is
//! asked for, as is all that there was no room for.

use crate::sys::fs::{Meta, Time};
use crate::tree::attrs::Attributes;
use std::cmp::Ordering;
use std::collections::HashMap;

/// Bytes of notes at most, some 200,000 files; and of doubts beyond them. As they grow, they take up to
/// twice as many.
const MOST: usize = 8 << 20;
const MORE: usize = 1 << 20;

/// What a directory costs beside its path.
const DIRECTORY: usize = 64;

/// A file, or a name of which nothing is known any more.
struct Note {
    /// The directory's number.
    dir: u32,
    /// Where its name begins.
    name: u32,
    size: u32,
    sec: u32,
    nsec: u32,
    /// The number of its owner and group.
    owner: u16,
    /// [`DOUBTFUL`] where nothing is known.
    mode: u16,
    length: u8,
}

/// The last second that every file system has.
const LAST: u32 = i32::MAX.unsigned_abs();

const DOUBTFUL: u16 = u16::MAX;

/// Notes as they are made.
#[derive(Default)]
pub struct Noted {
    dirs: HashMap<Vec<u8>, u32>,
    /// The directory that was noted last, by its path.
    last: Option<(Vec<u8>, u32)>,
    owners: Vec<(u32, u32)>,
    names: Vec<u8>,
    notes: Vec<Note>,
    bytes: usize,
}

impl Noted {
    /// A new file in the directory `dir`, a real path, will have exactly these attributes, this size,
    /// one name, and no extended attributes.
    pub fn file(&mut self, dir: &[u8], name: &[u8], attributes: &Attributes, size: u64) {
        let Attributes { mode, mtime, .. } = attributes;
        // The kernel may withhold set-id bits, a file system times that are farther away: of its first
        // and its last second it keeps no fraction.
        let (Ok(mode @ ..=0o777), Ok(sec)) = (u16::try_from(*mode), u32::try_from(mtime.sec))
        else {
            return;
        };
        if sec >= LAST || (sec == 0 && mtime.nsec > 0) {
            return;
        }
        let (Ok(size), Some(owner)) = (
            u32::try_from(size),
            self.owner((attributes.uid, attributes.gid)),
        ) else {
            return;
        };
        self.add(dir, name, MOST, |note| Note {
            size,
            sec,
            nsec: mtime.nsec,
            owner,
            mode,
            ..note
        });
    }

    /// What is at the real path `path` is no longer what was noted, or has another name.
    pub fn doubt(&mut self, path: &[u8]) {
        let (dir, name) = crate::archive::path::split(path);
        let known = self.dirs.contains_key(dir);
        // Without room for the doubt, nothing is known of the rest either.
        if known && !self.add(dir, name, MOST + MORE, |note| note) {
            self.doubt_all();
        }
    }

    /// The same of all that was noted so far.
    pub fn doubt_all(&mut self) {
        *self = Noted::default();
    }

    fn owner(&mut self, owner: (u32, u32)) -> Option<u16> {
        let at = self.owners.iter().rposition(|known| *known == owner);
        let at = at.unwrap_or(self.owners.len());
        if at == self.owners.len() {
            // So few that looking for one takes no time.
            if at >= 16 {
                return None;
            }
            self.owners.push(owner);
        }
        u16::try_from(at).ok()
    }

    /// Adds one, unless there would be more bytes than `most`.
    fn add(
        &mut self,
        dir: &[u8],
        name: &[u8],
        most: usize,
        with: impl FnOnce(Note) -> Note,
    ) -> bool {
        let known = self.last.as_ref().filter(|(last, _)| last == dir);
        let known = known.map(|(_, number)| *number);
        let Some(dir) = known.or_else(|| self.number(dir)) else {
            return false;
        };
        let bytes = self.bytes + size_of::<Note>() + name.len();
        let place = u32::try_from(self.names.len()).ok();
        let (Some(at), Ok(length), true) = (place, u8::try_from(name.len()), bytes <= most) else {
            return false;
        };
        self.bytes = bytes;
        self.names.extend_from_slice(name);
        self.notes.push(with(Note {
            dir,
            name: at,
            size: 0,
            sec: 0,
            nsec: 0,
            owner: 0,
            mode: DOUBTFUL,
            length,
        }));
        true
    }

    /// The number of a directory, which it gets here if it has none; `None` without room.
    fn number(&mut self, dir: &[u8]) -> Option<u32> {
        let number = match self.dirs.get(dir) {
            Some(number) => *number,
            None => {
                let next = u32::try_from(self.dirs.len()).ok()?;
                let bytes = self.bytes + 2 * dir.len() + DIRECTORY;
                if bytes > MOST {
                    return None;
                }
                self.bytes = bytes;
                self.dirs.insert(dir.to_vec(), next);
                next
            }
        };
        self.last = Some((dir.to_vec(), number));
        Some(number)
    }

    /// To be looked up.
    pub fn sorted(mut self) -> Notes {
        let (names, notes) = (&self.names, &mut self.notes);
        // Of two on one name the last stays the last: its name lies behind.
        let key = |note: &Note| (note.dir, note.name(names), note.name);
        notes.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        Notes(self)
    }
}

impl Note {
    fn name<'a>(&self, names: &'a [u8]) -> &'a [u8] {
        let from = self.name as usize;
        names
            .get(from..from + usize::from(self.length))
            .unwrap_or_default()
    }
}

/// Notes in order.
#[derive(Default)]
pub struct Notes(Noted);

impl Notes {
    /// Those on the files of the directory `dir`, a real path.
    pub fn of(&self, dir: &[u8]) -> Files<'_> {
        let Noted { dirs, notes, .. } = &self.0;
        let left = dirs.get(dir).map_or(&[][..], |number| {
            let from = notes.partition_point(|note| note.dir < *number);
            let notes = &notes[from..];
            &notes[..notes.partition_point(|note| note.dir == *number)]
        });
        Files {
            notes: &self.0,
            left,
        }
    }
}

/// Notes on the files of one directory.
pub struct Files<'a> {
    notes: &'a Noted,
    left: &'a [Note],
}

impl Files<'_> {
    /// What is noted of the file `name`, in [`Meta::of_file`]'s way. Names come in the order of their bytes.
    pub fn next(&mut self, name: &[u8]) -> Option<Meta> {
        let names = &self.notes.names;
        let mut found = None;
        while let Some((note, left)) = self.left.split_first() {
            match note.name(names).cmp(name) {
                Ordering::Greater => break,
                // What was said last is so.
                Ordering::Equal => found = Some(note),
                Ordering::Less => {}
            }
            self.left = left;
        }
        let note = found.filter(|note| note.mode != DOUBTFUL)?;
        let (uid, gid) = *self.notes.owners.get(usize::from(note.owner))?;
        let mtime = Time {
            sec: note.sec.into(),
            nsec: note.nsec,
        };
        Some(Meta::of_file(
            note.mode.into(),
            (uid, gid),
            note.size.into(),
            mtime,
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::fs::Kind;

    fn attributes(mode: u32, sec: i64) -> Attributes {
        let mtime = Time { sec, nsec: 3 };
        Attributes {
            kind: Kind::File,
            mode,
            uid: 1,
            gid: 2,
            atime: mtime,
            mtime,
        }
    }

    /// The size that is known of a file.
    fn size(notes: &Notes, dir: &[u8], name: &[u8]) -> Option<u64> {
        let meta = notes.of(dir).next(name)?;
        assert_eq!((meta.kind, meta.nlink), (Kind::File, 1));
        assert_eq!((meta.mode, meta.uid, meta.gid), (0o640, 1, 2));
        assert_eq!(meta.mtime, attributes(0, 9).mtime);
        Some(meta.size)
    }

    #[test]
    fn the_last_word_counts() {
        let mut noted = Noted::default();
        let file = |noted: &mut Noted, path: &[u8], size| {
            let (dir, name) = crate::archive::path::split(path);
            noted.file(dir, name, &attributes(0o640, 9), size);
        };
        for path in ["b/z", "b/a", "a", "c/a", "b/y", "a/b"] {
            file(&mut noted, path.as_bytes(), path.len() as u64);
        }
        noted.doubt(b"b/a");
        noted.doubt(b"b/y");
        noted.doubt(b"nowhere/x");
        file(&mut noted, b"b/y", 77);
        noted.doubt(b"a");
        let notes = noted.sorted();
        let found = |path: &[u8]| {
            let (dir, name) = crate::archive::path::split(path);
            size(&notes, dir, name)
        };
        let paths: [&[u8]; 8] = [b"b/z", b"b/a", b"a", b"c/a", b"b/y", b"a/b", b"b/x", b"x/a"];
        let known = [Some(3), None, None, Some(3), Some(77), Some(3), None, None];
        assert_eq!(paths.map(found), known);
        let mut in_order = notes.of(b"b");
        assert!(
            [b"a", b"x"]
                .iter()
                .all(|name| in_order.next(*name).is_none())
        );
        assert_eq!(in_order.next(b"y").unwrap().size, 77);
        assert_eq!(in_order.next(b"z").unwrap().size, 3);
    }

    #[test]
    fn what_the_kernel_may_see_otherwise_is_not_noted() {
        let mut noted = Noted::default();
        let too_large = u64::from(u32::MAX) + 1;
        for (name, mode, sec, size) in [
            (b"a", 0o4755, 9, 1),
            (b"b", 0o1644, 9, 1),
            (b"c", 0o640, -1, 1),
            (b"d", 0o640, i64::from(LAST), 1),
            (b"g", 0o640, 0, 1),
            (b"e", 0o640, 9, too_large),
            (b"f", 0o640, 9, too_large - 1),
        ] {
            noted.file(b"", name, &attributes(mode, sec), size);
        }
        for uid in 0..99 {
            let owned = Attributes {
                uid,
                ..attributes(0o640, 9)
            };
            noted.file(b"owned", format!("{uid:02}").as_bytes(), &owned, 1);
        }
        let notes = noted.sorted();
        let known = [b"a", b"b", b"c", b"d", b"g", b"e", b"f"].map(|name| size(&notes, b"", name));
        assert_eq!(
            known,
            [None, None, None, None, None, None, Some(too_large - 1)]
        );
        assert_eq!(notes.0.notes.len(), 1 + 16);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut noted = Noted::default();
        let name = |n: u32| format!("{n:032}").into_bytes();
        for n in 0..400_000 {
            noted.file(&name(n / 50), &name(n), &attributes(0o640, 9), n.into());
        }
        assert!(noted.bytes <= MOST && noted.notes.len() > 100_000);
        let last = u32::try_from(noted.notes.len()).unwrap() - 1;
        noted.doubt(&[&name(1)[..], b"/", &name(77)].concat());
        // Nothing was noted there, and there is nothing to be in doubt.
        noted.doubt(&[&name(399_999 / 50)[..], b"/", &name(399_999)].concat());
        assert_eq!(noted.notes.len(), last as usize + 2);
        let again = noted.sorted();
        assert_eq!(size(&again, &name(1), &name(77)), None);
        assert_eq!(size(&again, &name(1), &name(78)), Some(78));
        assert_eq!(
            size(&again, &name(last / 50), &name(last)),
            Some(last.into())
        );
        // More doubts than there is room for.
        let mut noted = again.0;
        for n in 0..100_000 {
            noted.doubt(&[&name(1)[..], b"/", &name(n)].concat());
        }
        let notes = noted.sorted();
        assert_eq!(size(&notes, &name(1), &name(78)), None);
        assert_eq!(size(&notes, &name(2), &name(100)), None);
    }
}
