//! Files with holes, in all four formats, good and bad.

use super::build::{GNU, Raw, file, padded, pax, tar};
use super::{content, read_all, read_with};
use crate::archive::{Limits, Reader};
use crate::error::{Code, Errno};

/// Ten bytes: "ab" at 2, "c" at 6.
const WANT: &[u8] = b"\0\0ab\0\0c\0\0\0";

fn old(regions: &[(u64, u64)], real_size: u64, stored: u64, more: u8) -> Raw {
    let mut raw = Raw::new(b"s", b'S').magic(GNU).size(stored);
    for (at, (offset, len)) in regions.iter().enumerate() {
        raw = raw.at(
            386 + 24 * at,
            format!("{offset:011o}\0{len:011o}\0").as_bytes(),
        );
    }
    raw.at(482, &[more])
        .at(483, format!("{real_size:011o}\0").as_bytes())
}

fn with(archive: Vec<u8>) -> Vec<u8> {
    tar(&[archive, file(b"after", b"x")])
}

fn check(archive: Vec<u8>, want: &[u8]) {
    let archive = with(archive);
    let all = read_all(&archive[..]).unwrap();
    assert!(all[0].0.sparse);
    assert_eq!(
        (&all[0].0.path[..], &content(&all[0])[..]),
        (&b"s"[..], want)
    );
    assert_eq!(content(&all[1]), b"x", "what follows is found");
    let skipped = super::entries(&archive[..]).unwrap();
    assert_eq!(skipped.len(), 2);
}

fn refuse(archive: Vec<u8>) -> Code {
    let error = read_all(&with(archive)[..]).expect_err("refused");
    assert!(
        matches!(error.errno(), Errno::BADMSG | Errno::FBIG),
        "{error}"
    );
    error.code()
}

fn pax_file(records: &[(&str, &[u8])], data: &[u8]) -> Vec<u8> {
    [pax(records), file(b"GNUSparseFile.1/s", data)].concat()
}

fn version_1(size: &[u8], data: &[u8]) -> Vec<u8> {
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.realsize", size),
    ];
    pax_file(&records, data)
}

fn map_0_1(map: &[u8], count: &[u8], size: &[u8], data: &[u8]) -> Vec<u8> {
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.map", map),
        ("GNU.sparse.numblocks", count),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.size", size),
    ];
    pax_file(&records, data)
}

#[test]
fn old_gnu() {
    let data = padded(b"abc");
    check(
        [old(&[(2, 2), (6, 1)], 10, 3, 0).bytes(), data.clone()].concat(),
        WANT,
    );
    check(
        [old(&[(2, 2), (6, 1), (10, 0)], 10, 3, 0).bytes(), data].concat(),
        WANT,
    );
    check(old(&[], 10, 0, 0).bytes(), &[0; 10]);
    check(old(&[(10, 0)], 10, 0, 0).bytes(), &[0; 10]);
    // 4 + 21 + 21 regions of a byte each, every second byte.
    let regions: Vec<_> = (0..46_u64).map(|at| (2 * at, 1)).collect();
    let mut archive = old(&regions[..4], 92, 46, 1).bytes();
    for (part, more) in [(&regions[4..25], 1), (&regions[25..], 0)] {
        let mut block = vec![0; 512];
        for (at, (offset, len)) in part.iter().enumerate() {
            block[24 * at..][..24]
                .copy_from_slice(format!("{offset:011o}\0{len:011o}\0").as_bytes());
        }
        block[504] = more;
        archive.extend(block);
    }
    archive.extend(padded(&[7; 46]));
    check(archive, &[7, 0].repeat(46));
}

#[test]
fn pax_versions() {
    let records: [(&str, &[u8]); 7] = [
        ("GNU.sparse.size", b"10"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"2"),
        ("GNU.sparse.numbytes", b"2"),
        ("GNU.sparse.offset", b"6"),
        ("GNU.sparse.numbytes", b"1"),
        ("path", b"s"),
    ];
    check(pax_file(&records, b"abc"), WANT);
    check(map_0_1(b"2,2,6,1", b"2", b"10", b"abc"), WANT);
    check(map_0_1(b"", b"0", b"10", b""), &[0; 10]);
    check(
        version_1(
            b"10",
            &[padded(b"2\n2\n2\n6\n1\n"), b"abc".to_vec()].concat(),
        ),
        WANT,
    );
    check(version_1(b"10", &padded(b"1\n10\n0\n")), &[0; 10]);
    // A map of more than one block.
    let mut map = b"300\n".to_vec();
    for at in 0..300 {
        map.extend(format!("{}\n1\n", at * 2).as_bytes());
    }
    check(
        version_1(b"600", &[padded(&map), vec![7; 300]].concat()),
        &[7, 0].repeat(300),
    );
}

#[test]
fn bad_maps() {
    let regions: [(&[u8], &[u8]); 9] = [
        (b"2,2,3,1", b"10"),                    // overlap
        (b"6,2,2,1", b"10"),                    // backwards
        (b"2,2,10,1", b"10"),                   // beyond the size
        (b"2,3,11,0", b"10"),                   // empty, beyond the size
        (b"2,-2,6,5", b"10"),                   // negative
        (b"2,2,9223372036854775807,1", b"10"),  // overflow
        (b"2,2,18446744073709551615,1", b"10"), // overflow
        (b"2,2,6,2", b"10"),                    // more than is stored
        (b"2,1,6,1", b"10"),                    // less than is stored
    ];
    for (map, size) in regions {
        assert_eq!(
            refuse(map_0_1(map, b"2", size, b"abc")),
            Code::Archive,
            "{}",
            map.escape_ascii()
        );
        let text = map
            .iter()
            .map(|&b| if b == b',' { b'\n' } else { b })
            .collect::<Vec<_>>();
        let text = [b"2\n", &text[..], b"\n"].concat();
        let data = [padded(&text), b"abc".to_vec()].concat();
        assert_eq!(
            refuse(version_1(size, &data)),
            Code::Archive,
            "{}",
            map.escape_ascii()
        );
    }
    assert_eq!(
        refuse(map_0_1(b"2,2,6", b"2", b"10", b"abc")),
        Code::Archive
    );
    assert_eq!(
        refuse(map_0_1(b"2,2,6,1", b"3", b"10", b"abc")),
        Code::Archive
    );
    assert_eq!(
        refuse(map_0_1(b"2,2,,1", b"2", b"10", b"abc")),
        Code::Archive
    );
    assert_eq!(refuse(map_0_1(b"2,3", b"1", b"x", b"abc")), Code::Archive);
    assert_eq!(
        refuse(pax_file(&[("GNU.sparse.map", b"2,3")], b"abc")),
        Code::Archive,
        "no size"
    );
    for (key, value) in [
        ("GNU.sparse.numbytes", &b"2"[..]),
        ("GNU.sparse.offset", b"2"),
    ] {
        assert_eq!(
            refuse(pax_file(&[("GNU.sparse.size", b"9"), (key, value)], b"abc")),
            Code::Archive
        );
    }
    for text in [
        &b"x\n"[..],
        b"\n",
        b"1\n\n",
        b"1\n2",
        b"-1\n",
        b"99999999999999999999999\n",
        b"",
    ] {
        let code = refuse(version_1(b"10", &padded(text)));
        assert!(
            matches!(code, Code::Archive | Code::Limit),
            "{}",
            text.escape_ascii()
        );
    }
    let other = [
        ("GNU.sparse.major", &b"2"[..]),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.size", b"1"),
    ];
    let error = read_all(&pax_file(&other, b"x")[..]).unwrap_err();
    assert_eq!(error.errno(), Errno::OPNOTSUPP);
    // On a directory, and twice.
    let on_dir = [
        pax(&[("GNU.sparse.size", b"0")]),
        Raw::new(b"d/", b'5').bytes(),
    ]
    .concat();
    assert_eq!(refuse(on_dir), Code::Archive);
    let twice = [pax(&[("GNU.sparse.size", b"0")]), old(&[], 0, 0, 0).bytes()].concat();
    assert_eq!(refuse(twice), Code::Archive);
    // The old format.
    let old_bad = [
        old(&[(2, 2), (3, 1)], 10, 3, 0),
        old(&[(2, 2), (10, 1)], 10, 3, 0),
        old(&[(2, 2), (6, 1)], 10, 4, 0),
        old(&[(2, 2), (6, 1)], 10, 3, 1),
        old(&[(2, 2), (6, 1)], 10, 3, 0).at(386, b"-1\0"),
        old(&[(2, 2), (6, 1)], 10, 3, 0)
            .at(398, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    ];
    for raw in old_bad {
        assert_eq!(
            refuse([raw.bytes(), padded(b"abc")].concat()),
            Code::Archive
        );
    }
}

#[test]
fn claims() {
    // A map said to have 10^11 regions is refused before any is read.
    assert_eq!(
        refuse(version_1(b"10", &padded(b"100000000000\n0\n1\n"))),
        Code::Limit
    );
    assert_eq!(
        refuse(map_0_1(b"0,1", b"100000000000", b"10", b"x")),
        Code::Limit
    );
    let three = map_0_1(b"0,1,2,1,4,1", b"3", b"10", b"abc");
    let limits = |max| Limits {
        max_sparse_regions: max,
        ..Limits::default()
    };
    assert!(read_with(&three[..], limits(3)).is_ok());
    assert_eq!(
        read_with(&three[..], limits(2)).unwrap_err().code(),
        Code::Limit
    );
    // A hole of 1 TiB costs nothing, unless a limit speaks against it.
    let huge = with(map_0_1(b"1099511627776,1", b"1", b"1099511627777", b"x"));
    let mut reader = Reader::new(&huge[..], Limits::default());
    assert_eq!(reader.next_entry().unwrap().unwrap().size, (1 << 40) + 1);
    let chunk = reader.next_chunk().unwrap().unwrap();
    assert_eq!((chunk.offset, chunk.data), (1 << 40, &b"x"[..]));
    assert!(reader.next_chunk().unwrap().is_none());
    let limits = Limits {
        max_file_bytes: 1 << 40,
        ..Limits::default()
    };
    assert_eq!(
        read_with(&huge[..], limits).unwrap_err().code(),
        Code::Limit
    );
}

/// The name of a sparse file is a name like any other: given as it stands.
#[test]
fn names() {
    let archive = pax_file(
        &[
            ("GNU.sparse.map", b"0,1"),
            ("GNU.sparse.size", b"1"),
            ("GNU.sparse.name", b"../.wh.f"),
        ],
        b"x",
    );
    assert_eq!(read_all(&archive[..]).unwrap()[0].0.path, b"../.wh.f");
}

#[test]
fn every_cut() {
    let whole = version_1(
        b"10",
        &[padded(b"2\n2\n2\n6\n1\n"), b"abc".to_vec()].concat(),
    );
    for cut in 1..whole.len() {
        assert_eq!(
            read_all(&whole[..cut]).unwrap_err().code(),
            Code::Truncated,
            "cut at {cut}"
        );
    }
}
