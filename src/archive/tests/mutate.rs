//! Changed archives: never a panic, never without end, whatever the bytes.

use super::codecs::{gzip, zstd};
use super::{Random, roundtrip};
use crate::archive::{Decoder, DecoderOptions, Kind, Limits, Reader, Region, Writer};
use crate::archive::{path, whiteout};

/// Reads all there is, and sees that the reader keeps what it promises.
fn chew(blob: &[u8]) -> bool {
    let options = DecoderOptions {
        max_bytes: 4 << 20,
        ..Default::default()
    };
    let mut decoder = Decoder::new(blob, options);
    let mut reader = Reader::new(&mut decoder, Limits::default());
    let limits = Limits::default();
    while let Ok(Some(entry)) = reader.next_entry() {
        assert!(entry.mode <= 0o7777 && entry.uid < u32::MAX && entry.gid < u32::MAX);
        assert!(entry.mtime.nsec < 1_000_000_000);
        assert!(entry.path.len() <= limits.max_path && entry.link.len() <= limits.max_path);
        assert!(entry.kind == Kind::File || entry.size == 0);
        assert!(entry.xattrs.is_sorted_by(|a, b| a.0 < b.0));
        if let Ok(clean) = path::clean(&entry.path) {
            assert!(!clean.split(|&b| b == b'/').any(|part| part == b".."));
            let _ = whiteout::classify(path::split(&clean).1);
        }
        let mut end = 0;
        while let Ok(Some(chunk)) = reader.next_chunk() {
            assert!(chunk.offset >= end && !chunk.data.is_empty());
            end = chunk.offset + chunk.data.len() as u64;
            assert!(end <= entry.size);
        }
    }
    let ended = reader.next_entry().is_ok();
    decoder.finish().is_ok() && ended
}

/// A small archive with every feature of the writer, and an old sparse file.
fn seed() -> Vec<u8> {
    let mut items = roundtrip::everything();
    items.retain(|(entry, data)| {
        data.len() < 1000
            && entry.path.len() < 300
            && entry.xattrs.iter().all(|(_, value)| value.len() < 1000)
    });
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in &items {
        writer.begin(entry).unwrap();
        writer.data(data).unwrap();
    }
    let mut header = super::entry(b"sparse", Kind::File);
    header.size = 1 << 30;
    writer
        .begin_sparse(
            &header,
            &[
                Region { offset: 5, len: 3 },
                Region {
                    offset: 600,
                    len: 9,
                },
            ],
        )
        .unwrap();
    writer.data(b"abc123456789").unwrap();
    let mut archive = writer.finish().unwrap();
    archive.truncate(archive.len() - 1024);
    archive.extend(super::build::meta(b'L', b"long"));
    let old = super::build::Raw::new(b"old", b'S')
        .magic(super::build::GNU)
        .size(5);
    let old = old
        .at(386, b"00000000002 00000000005 ")
        .at(483, b"00000000020\0")
        .bytes();
    archive.extend(old);
    archive.extend(super::build::padded(b"12345"));
    archive.extend(super::build::END);
    archive
}

/// Makes the checksums of all blocks right that look like headers, so that changes get past them.
fn repair(archive: &mut [u8]) {
    for block in archive.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const LIKELY: &[u8] = b"\0 0179-+=\n,./xgLKS\x7f\x80\xff";
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(8) {
            0 => bytes[at] = random.next() as u8,
            1..=3 => bytes[at] = LIKELY[random.below(LIKELY.len())],
            4 => bytes[at] ^= 1 << random.below(8),
            5 => {
                let to = random.below(bytes.len());
                let len = random.below(40).min(bytes.len() - at.max(to));
                bytes.copy_within(at..at + len, to);
            }
            6 => {
                let block = at / 512 * 512;
                let end = (block + 512).min(bytes.len());
                match random.below(3) {
                    0 => drop(bytes.drain(block..end)),
                    1 => bytes[block..end].fill(0),
                    _ => {
                        let copy = bytes[block..end].to_vec();
                        bytes.splice(block..block, copy);
                    }
                }
            }
            _ => bytes.truncate(at + 1),
        }
    }
}

#[test]
fn mutated_archives() {
    let seed = seed();
    assert!(chew(&seed));
    let mut random = Random(0x5eed);
    let mut fine = 0;
    for round in 0..4000 {
        let mut archive = seed.clone();
        mutate(&mut archive, &mut random);
        if round % 4 != 0 {
            repair(&mut archive);
        }
        fine += u32::from(chew(&archive));
    }
    assert!(
        (200..3800).contains(&fine),
        "{fine}: changes must matter, not always"
    );
}

/// Headers are rare in the bytes, so they get rounds of their own.
#[test]
fn mutated_headers() {
    let seed = seed();
    let headers: Vec<usize> = (0..seed.len() / 512)
        .map(|block| block * 512)
        .filter(|&at| &seed[at + 257..at + 262] == b"ustar")
        .collect();
    assert!(headers.len() > 40);
    let mut random = Random(0xbad);
    for _ in 0..4000 {
        let at = headers[random.below(headers.len())];
        let mut end = at + 1024;
        end = end.min(seed.len());
        let mut part = seed[at..end].to_vec();
        for _ in 0..=random.below(3) {
            let place = [
                100, 108, 116, 124, 136, 156, 257, 329, 337, 386, 398, 482, 483, 512,
            ][random.below(14)];
            let place = (place + random.below(13)).min(part.len() - 1);
            part[place] = b"\0 0123456789=\n-\x80\xff"[random.below(17)];
        }
        let mut archive = seed.clone();
        archive.splice(at..end, part);
        repair(&mut archive);
        chew(&archive);
    }
}

#[test]
fn mutated_blobs() {
    let mut archive = seed();
    archive.truncate(archive.len().min(20_000));
    let mut random = Random(0xb10b);
    for blob in [
        gzip(&archive),
        zstd(&archive),
        [gzip(b""), gzip(&archive)].concat(),
    ] {
        for _ in 0..700 {
            let mut blob = blob.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(blob.len());
                blob[at] = random.next() as u8;
            }
            if random.below(4) == 0 {
                blob.truncate(random.below(blob.len()));
            }
            chew(&blob);
        }
    }
}

#[test]
fn noise() {
    let mut random = Random(1);
    for _ in 0..300 {
        let len = random.below(3000);
        let mut noise = random.bytes(len);
        for magic in [&b"\x1f\x8b\x08\0"[..], b"\x28\xb5\x2f\xfd", b""] {
            let n = magic.len().min(noise.len());
            noise[..n].copy_from_slice(&magic[..n]);
            chew(&noise);
        }
    }
}
