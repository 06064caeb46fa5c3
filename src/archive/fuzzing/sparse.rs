//! Sparse files: the four formats, with good maps and with any.

use super::{Choices, plain, read, small_limits, tar::archive};
use crate::archive::header::padding;
use crate::archive::records::record;
use crate::archive::{Kind, Limits, Region, Writer};

/// The first byte says how the rest is taken: as a map in one of the formats, or as regions that
/// all formats must tell alike.
pub fn sparse(data: &[u8]) {
    let mut choices = Choices(data);
    match choices.byte() % 5 {
        0 => archive(&old(&mut choices)),
        1 => archive(&keys(&mut choices)),
        2 => archive(&list(&mut choices)),
        3 => archive(&text(&mut choices)),
        _ => agree(&mut choices),
    }
}

/// A header block with a right checksum.
fn header(typeflag: u8, magic: &[u8; 8], size: u64, more: &[(usize, &[u8])]) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"s");
    put(100, b"0000644\x000000000\x000000000\0");
    let wide = [&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat();
    put(124, &wide);
    put(136, b"00000000000\0        ");
    put(156, &[typeflag]);
    put(257, magic);
    for &(at, bytes) in more {
        put(at, bytes);
    }
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

const GNU: &[u8; 8] = b"ustar  \0";
const USTAR: &[u8; 8] = b"ustar\x0000";

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len() + padding(bytes.len() as u64) as usize, 0);
    bytes
}

fn with_records(records: Vec<u8>, size: u64, data: &[u8]) -> Vec<u8> {
    let pax = header(b'x', USTAR, records.len() as u64, &[]);
    let own = header(b'0', USTAR, size, &[]);
    [
        pax,
        padded(records),
        own,
        padded(data.to_vec()),
        vec![0; 1024],
    ]
    .concat()
}

fn size(choices: &mut Choices<'_>) -> u64 {
    choices.number() & i64::MAX as u64
}

/// Old GNU: the fields of the header and of extension blocks are the fuzzer's.
fn old(choices: &mut Choices<'_>) -> Vec<u8> {
    let size = size(choices);
    let map = choices.bytes(96 + 1 + 12);
    let blocks = choices.below(4) * 512;
    let rest = [choices.bytes(blocks), choices.0].concat();
    [
        header(b'S', GNU, size, &[(386, map)]),
        padded(rest),
        vec![0; 1024],
    ]
    .concat()
}

/// 0.0: the fuzzer's bytes are numbers.
fn keys(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut records = record(b"GNU.sparse.size", size(choices).to_string().as_bytes());
    let count = choices.below(30);
    if choices.below(2) == 0 {
        records.extend(record(
            b"GNU.sparse.numblocks",
            count.to_string().as_bytes(),
        ));
    }
    for _ in 0..count {
        for key in [&b"GNU.sparse.offset"[..], b"GNU.sparse.numbytes"] {
            records.extend(record(key, choices.number().to_string().as_bytes()));
        }
    }
    let size = size(choices);
    with_records(records, size, choices.0)
}

/// 0.1: the fuzzer's bytes are the map's text.
fn list(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut records = record(b"GNU.sparse.size", size(choices).to_string().as_bytes());
    let len = usize::from(choices.byte());
    records.extend(record(b"GNU.sparse.map", choices.bytes(len)));
    let size = size(choices);
    with_records(records, size, choices.0)
}

/// 1.0: the fuzzer's bytes are the map's text and the data.
fn text(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut records = record(b"GNU.sparse.major", b"1");
    records.extend(record(b"GNU.sparse.minor", b"0"));
    records.extend(record(
        b"GNU.sparse.realsize",
        size(choices).to_string().as_bytes(),
    ));
    let size = size(choices);
    with_records(records, size, choices.0)
}

/// A file with a good map, said in all formats.
fn agree(choices: &mut Choices<'_>) {
    let mut regions = Vec::new();
    let (mut at, mut stored) = (0, 0);
    while !choices.is_empty() && regions.len() < 60 {
        at += choices.number() % (1 << 32) + 1;
        let len = choices.number() % 600 + 1;
        regions.push(Region { offset: at, len });
        at += len;
        stored += len;
    }
    let size = at + choices.number() % (1 << 20);
    let data: Vec<u8> = (0..stored).map(|n| (n % 251) as u8 | 1).collect();
    let said = |key: &[u8], value: u64| record(key, value.to_string().as_bytes());

    let octal = |n: u64| [&[0x80, 0, 0, 0][..], &n.to_be_bytes()].concat();
    let pair = |region: &Region| [octal(region.offset), octal(region.len)].concat();
    let (first, rest) = regions.split_at(regions.len().min(4));
    let mut fields = first.iter().flat_map(pair).collect::<Vec<_>>();
    fields.resize(96, 0);
    fields.push(u8::from(!rest.is_empty()));
    fields.extend(octal(size));
    let mut old = header(b'S', GNU, stored, &[(386, &fields)]);
    let mut blocks = rest.chunks(21).peekable();
    while let Some(block) = blocks.next() {
        let mut bytes = block.iter().flat_map(pair).collect::<Vec<_>>();
        bytes.resize(504, 0);
        bytes.push(u8::from(blocks.peek().is_some()));
        old.extend(padded(bytes));
    }
    old.extend(padded(data.clone()));

    let mut keys = said(b"GNU.sparse.size", size);
    keys.extend(said(b"GNU.sparse.numblocks", regions.len() as u64));
    for region in &regions {
        keys.extend(said(b"GNU.sparse.offset", region.offset));
        keys.extend(said(b"GNU.sparse.numbytes", region.len));
    }
    let numbers = regions
        .iter()
        .flat_map(|region| [region.offset, region.len]);
    let map = numbers.map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let list = [
        said(b"GNU.sparse.size", size),
        record(b"GNU.sparse.map", map.as_bytes()),
    ]
    .concat();

    let mut entry = plain(b"s", Kind::File);
    (entry.size, entry.sparse) = (size, true);
    let mut writer = Writer::new(Vec::new());
    writer.begin_sparse(&entry, &regions).unwrap();
    writer.data(&data).unwrap();

    let mut from = 0;
    let pieces: Vec<(u64, Vec<u8>)> = regions
        .iter()
        .map(|region| {
            let bytes = data[from..from + region.len as usize].to_vec();
            from += bytes.len();
            (region.offset, bytes)
        })
        .collect();
    let all = [
        old,
        with_records(keys, stored, &data),
        with_records(list, stored, &data),
        writer.finish().unwrap(),
    ];
    for (format, archive) in all.iter().enumerate() {
        let got = read(
            &archive[..],
            &Limits {
                max_file_bytes: i64::MAX as u64,
                ..small_limits()
            },
            true,
        );
        assert!(got.error.is_none(), "{format}: {:?}", got.error);
        assert_eq!(got.items.len(), 1);
        assert_eq!(got.items[0].0, entry, "{format}");
        assert!(got.items[0].1 == pieces, "{format}: other content");
    }
}
