//! The whole reader, on bytes that may be a tar.

use super::{Dribble, Item, Read, check_error, read, small_limits};
use crate::archive::{Kind, Limits, Region, Writer};
use crate::error::{Code, Errno};

/// Any bytes; and the same with the checksums of their headers made right, as no fuzzer finds
/// those by itself.
pub fn tar(data: &[u8]) {
    archive(data);
    let mut repaired = data.to_vec();
    repair(&mut repaired);
    if repaired != data {
        archive(&repaired);
    }
}

/// Makes the checksums of all blocks right that look like headers.
pub(crate) fn repair(archive: &mut [u8]) {
    for block in archive.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" || &block[154..156] == b"\0 " {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

/// Reads in every way; all must agree.
pub(super) fn archive(data: &[u8]) {
    let limits = small_limits();
    let whole = read(data, &limits, true);
    let stored: usize = whole
        .items
        .iter()
        .flat_map(|item| &item.1)
        .map(|piece| piece.1.len())
        .sum();
    assert!(stored <= data.len(), "data out of nowhere");

    let torn = read(Dribble(data, 1 + data.len() % 601), &limits, true);
    assert!(torn.items == whole.items, "small reads give something else");
    assert_eq!(torn.end(), whole.end());
    let skimmed = read(data, &limits, false);
    assert!(
        skimmed.entries().eq(whole.entries()),
        "skipped data changes entries"
    );
    assert_eq!(skimmed.end(), whole.end());
    // Larger limits change nothing but where a limit was the end.
    let large = read(data, &Limits::default(), false);
    let same = whole.entries().zip(large.entries()).all(|(a, b)| a == b);
    assert!(same && large.items.len() >= whole.items.len());
    if whole.end() != Some((Errno::FBIG, Code::Limit)) {
        assert_eq!(large.end(), whole.end());
    }
    write_again(&whole);
}

/// What was read can be written, and then read as the same.
fn write_again(whole: &Read) {
    let mut writer = Writer::new(Vec::new());
    let mut written: Vec<Item> = Vec::new();
    let complete =
        whole.items.len() - usize::from(whole.error.is_some() && !whole.items.is_empty());
    for (entry, pieces) in &whole.items[..complete] {
        let regions: Vec<_> = pieces
            .iter()
            .map(|(offset, bytes)| Region {
                offset: *offset,
                len: bytes.len() as u64,
            })
            .collect();
        let begun = match entry.sparse {
            true => writer.begin_sparse(entry, &regions),
            false => writer.begin(entry),
        };
        if let Err(error) = begun {
            // A file that is named like a directory, or one without a name.
            let nameless = entry.path.is_empty() || entry.path.ends_with(b"/");
            assert!(
                nameless && entry.kind != Kind::Directory,
                "{error}: {entry:?}"
            );
            continue;
        }
        for (_, bytes) in pieces {
            writer.data(bytes).unwrap();
        }
        let mut entry = entry.clone();
        if entry.kind == Kind::Directory {
            if entry.path.is_empty() {
                entry.path.push(b'.');
            }
            if !entry.path.ends_with(b"/") {
                entry.path.push(b'/');
            }
        }
        written.push((entry, pieces.clone()));
    }
    let again = writer.finish().unwrap();
    assert_eq!(again.len() % 512, 0);
    let again = read(&again[..], &Limits::default(), true);
    if let Some(error) = &again.error {
        check_error(error);
        panic!("what was written cannot be read: {error}");
    }
    assert!(
        again.items == written,
        "what was written is read as something else"
    );
}
