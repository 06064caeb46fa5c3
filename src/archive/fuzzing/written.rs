//! What is written is read as the same.

use super::{Choices, Item, plain, read};
use crate::archive::{Entry, Kind, Limits, Region, Time, Writer};
use crate::error::{Code, Errno};

/// The bytes choose entries; those that the writer takes must come back.
pub fn roundtrip(data: &[u8]) {
    let mut choices = Choices(data);
    let mut writer = Writer::new(Vec::new());
    let mut written: Vec<Item> = Vec::new();
    while !choices.is_empty() && written.len() < 100 {
        let mut entry = entry(&mut choices);
        let regions = regions(&mut entry, &mut choices);
        let begun = match entry.sparse {
            true => writer.begin_sparse(&entry, &regions),
            false => writer.begin(&entry),
        };
        if let Err(error) = begun {
            assert!(matches!(
                (error.errno(), error.code()),
                (Errno::INVAL, Code::Invalid) | (Errno::FBIG, Code::Limit)
            ));
            assert_eq!(error.path(), entry.path);
            continue;
        }
        let mut pieces = Vec::new();
        for region in regions {
            let bytes: Vec<u8> = (0..region.len)
                .map(|n| (n * 7 + region.offset) as u8)
                .collect();
            let (head, tail) = bytes.split_at(bytes.len() / 3);
            writer.data(head).unwrap();
            assert!(
                writer.begin(&entry).is_err(),
                "an entry that is not complete"
            );
            writer.data(tail).unwrap();
            pieces.push((region.offset, bytes));
        }
        assert!(writer.data(b"x").is_err(), "more than was said");
        entry.xattrs.sort();
        if entry.kind == Kind::Directory {
            if entry.path.is_empty() {
                entry.path.push(b'.');
            }
            if !entry.path.ends_with(b"/") {
                entry.path.push(b'/');
            }
        }
        written.push((entry, pieces));
    }
    let archive = writer.finish().unwrap();
    assert_eq!(archive.len() % 512, 0);
    let again = read(&archive[..], &Limits::default(), true);
    assert!(again.error.is_none(), "{:?}", again.error);
    assert!(again.items == written, "{:?}\n{:?}", again.items, written);
}

fn name(choices: &mut Choices<'_>) -> Vec<u8> {
    let len = match choices.byte() {
        len @ 0..=180 => usize::from(len % 40),
        len @ 181..=240 => usize::from(len) - 181 + 70,
        len => (usize::from(len) - 240) * 5000,
    };
    let mut name = choices.bytes(len.min(120)).to_vec();
    if let Some(&last) = name.last() {
        name.resize(len, last);
    }
    name
}

fn entry(choices: &mut Choices<'_>) -> Entry {
    use Kind::*;
    let kind = choices.of(&[
        File,
        Directory,
        Symlink,
        HardLink,
        CharDevice,
        BlockDevice,
        Fifo,
        File,
    ]);
    let mut entry = plain(&name(choices), kind);
    entry.mode = (choices.number() & 0o17777) as u32;
    entry.uid = choices.number() as u32;
    entry.gid = choices.number() as u32;
    entry.mtime = Time {
        sec: choices.number() as i64,
        nsec: (choices.number() % 1_000_000_001) as u32,
    };
    if matches!(kind, Symlink | HardLink) || choices.byte() == 255 {
        entry.link = name(choices);
    }
    if matches!(kind, CharDevice | BlockDevice) || choices.byte() == 255 {
        entry.major = (choices.number() % 0x1010) as u32;
        entry.minor = (choices.number() % 0x10_0010) as u32;
    }
    for _ in 0..choices.byte() % 4 {
        let name = name(choices);
        let len = choices.below(50);
        entry.xattrs.push((name, choices.bytes(len).to_vec()));
    }
    entry
}

/// Gives the entry a size, and says which parts of it are data.
fn regions(entry: &mut Entry, choices: &mut Choices<'_>) -> Vec<Region> {
    if entry.kind != Kind::File {
        return Vec::new();
    }
    entry.sparse = choices.byte() % 4 == 1;
    if !entry.sparse {
        entry.size = choices.number() % 3000;
        let whole = Region {
            offset: 0,
            len: entry.size,
        };
        return Vec::from_iter((entry.size > 0).then_some(whole));
    }
    let mut regions = Vec::new();
    for _ in 0..choices.below(30) {
        let offset = entry.size + choices.number() % (1 << 40) + u64::from(!regions.is_empty());
        let len = choices.number() % 700 + 1;
        regions.push(Region { offset, len });
        entry.size = offset + len;
    }
    entry.size += choices.number() % 3000;
    regions
}
