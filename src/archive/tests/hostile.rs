//! Archives that must be refused, and how.

use super::build::{GNU, Raw, file, meta, padded, pax, tar};
use super::{entries, read_all, read_with};
use crate::archive::{Limits, Source};
use crate::error::{Code, Errno, Error, Result};

fn refusal(archive: &[u8]) -> (Errno, Code) {
    let error = read_all(archive).expect_err("refused");
    assert!(error.message().contains("byte "), "{error}");
    (error.errno(), error.code())
}

const MALFORMED: (Errno, Code) = (Errno::BADMSG, Code::Archive);
const FORBIDDEN: (Errno, Code) = (Errno::INVAL, Code::Archive);
const LIMIT: (Errno, Code) = (Errno::FBIG, Code::Limit);

#[test]
fn types() {
    for typeflag in *b"VMDXNAZ8" {
        let got = refusal(&tar(&[Raw::new(b"e", typeflag).magic(GNU).bytes()]));
        assert_eq!(
            got,
            (Errno::OPNOTSUPP, Code::Archive),
            "{}",
            typeflag as char
        );
    }
    let foreign_sparse = refusal(&tar(&[Raw::new(b"e", b'S').bytes()]));
    assert_eq!(foreign_sparse, (Errno::OPNOTSUPP, Code::Archive));
}

#[test]
fn owners_and_devices() {
    let binary: [&[u8]; 4] = [
        b"\x80\0\0\0\xff\xff\xff\xff", // -1 as chown takes it
        b"\x80\0\0\x01\0\0\0\0",       // 2^32
        b"\x80\0\0\x01\0\0\x03\xe8",   // 2^32 + 1000
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    for id in binary {
        for place in [108, 116] {
            assert_eq!(
                refusal(&Raw::new(b"e", b'0').at(place, id).bytes()),
                FORBIDDEN
            );
        }
    }
    for id in ["4294967295", "4294967296", "4294968296", "-1", "-2"] {
        for key in ["uid", "gid"] {
            assert_eq!(
                refusal(&tar(&[pax(&[(key, id.as_bytes())]), file(b"e", b"")])),
                FORBIDDEN
            );
        }
    }
    for typeflag in *b"34" {
        let device = Raw::new(b"e", typeflag);
        let past_major = device.clone().at(329, b"0010000\0");
        let past_minor = device.clone().at(337, b"\x80\0\0\0\0\x10\0\0");
        let wraps = device.clone().at(329, b"\x80\0\0\x01\0\0\0\x01");
        for raw in [past_major, past_minor, wraps] {
            assert_eq!(refusal(&raw.bytes()), FORBIDDEN);
        }
        let by_pax = [pax(&[("SCHILY.devmajor", b"4096")]), device.bytes()].concat();
        assert_eq!(refusal(&by_pax), FORBIDDEN);
    }
}

#[test]
fn numbers() {
    let sizes: [&[u8]; 6] = [
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\0\0\0\x80\0\0\0\0\0\0\0",
        b"0000000008\0",
        b"-1\0",
        b"0x10\0",
        b"1e3\0",
    ];
    for size in sizes {
        let raw = Raw::new(b"e", b'0').at(124, &[0; 12]).at(124, size);
        assert_eq!(refusal(&raw.bytes()), MALFORMED, "{}", size.escape_ascii());
    }
    assert_eq!(
        refusal(
            &Raw::new(b"e", b'0')
                .at(100, b"\xff\xff\xff\xff\xff\xff\xff\xff")
                .bytes()
        ),
        MALFORMED
    );
    for (key, value) in [
        ("mtime", &b"nan"[..]),
        ("mtime", b"1e5"),
        ("size", b"-1"),
        ("size", b"9223372036854775808"),
    ] {
        assert_eq!(
            refusal(&tar(&[pax(&[(key, value)]), file(b"e", b"")])),
            MALFORMED
        );
    }
    // The largest size there is takes no memory: the data is just not there.
    let raw = Raw::new(b"e", b'0').at(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(refusal(&raw.bytes()), (Errno::BADMSG, Code::Truncated));
}

#[test]
fn nul_and_empty_names() {
    for key in [
        "path",
        "linkpath",
        "GNU.sparse.name",
        "SCHILY.xattr.user.\0a",
        "SCHILY.xattr.",
    ] {
        assert_eq!(
            refusal(&tar(&[pax(&[(key, b"a\0b")]), file(b"e", b"")])),
            MALFORMED
        );
    }
    for typeflag in *b"12" {
        assert_eq!(
            refusal(&Raw::new(b"e", typeflag).bytes()),
            MALFORMED,
            "a link to nothing"
        );
    }
}

#[test]
fn chains_of_headers() {
    let x = pax(&[("uid", b"1")]);
    let long = |flag| meta(flag, b"name");
    let global = meta(b'g', b"9 uid=10\n");
    let bad = [
        vec![x.clone(), x.clone(), file(b"e", b"")],
        vec![long(b'L'), long(b'L'), file(b"e", b"")],
        vec![long(b'K'), x.clone(), long(b'K'), file(b"e", b"")],
        vec![x.clone(), global.clone(), file(b"e", b"")],
        vec![long(b'L'), global.clone(), file(b"e", b"")],
        vec![x.clone()],
        vec![long(b'L')],
        vec![pax(&[("path", b"other")]), long(b'L'), file(b"e", b"")],
        vec![
            pax(&[("linkpath", b"other")]),
            long(b'K'),
            Raw::new(b"e", b'2').link(b"t").bytes(),
        ],
        vec![x.repeat(20_000)],
        vec![long(b'L').repeat(20_000)],
    ];
    for parts in bad {
        assert_eq!(refusal(&tar(&parts)), MALFORMED);
    }
    for part in [x.clone(), long(b'L')] {
        assert_eq!(refusal(&part), (Errno::BADMSG, Code::Truncated));
    }
    let good = tar(&[
        global.repeat(1000),
        long(b'K'),
        pax(&[("path", b"name")]),
        long(b'L'),
        file(b"e", b""),
    ]);
    assert_eq!(entries(&good[..]).unwrap()[0].path, b"name");
}

#[test]
fn large_headers() {
    for typeflag in *b"xgLK" {
        for size in [(1 << 20) + 1, 64 << 20, 2 << 30, 4 << 30] {
            assert_eq!(refusal(&Raw::new(b"e", typeflag).size(size).bytes()), LIMIT);
        }
        let claim = Raw::new(b"e", typeflag).size(1 << 20).bytes();
        assert_eq!(refusal(&claim), (Errno::BADMSG, Code::Truncated));
    }
    // As many records as fit, each with a new key: linear time.
    let records: Vec<(String, Vec<u8>)> = (0..40_000)
        .map(|i| (format!("k{i}"), b"v".to_vec()))
        .collect();
    let records: Vec<_> = records
        .iter()
        .map(|(key, value)| (&key[..], &value[..]))
        .collect();
    assert_eq!(
        entries(&tar(&[pax(&records), file(b"e", b"")])[..])
            .unwrap()
            .len(),
        1
    );
    let long = vec![b'n'; (64 << 10) + 1];
    assert_eq!(refusal(&tar(&[meta(b'L', &long), file(b"e", b"")])), LIMIT);
    assert_eq!(
        refusal(&tar(&[pax(&[("path", &long)]), file(b"e", b"")])),
        LIMIT
    );
}

#[test]
fn limits() {
    let archive = tar(&[
        pax(&[("SCHILY.xattr.user.a", &[b'v'; 100])]),
        file(b"a", &[1; 1000]),
        file(b"b", b""),
    ]);
    let default = Limits::default;
    let cases = [
        (
            Limits {
                max_entries: 1,
                ..default()
            },
            &b"b"[..],
        ),
        (
            Limits {
                max_xattr_bytes: 105,
                ..default()
            },
            b"a",
        ),
        (
            Limits {
                max_file_bytes: 999,
                ..default()
            },
            b"a",
        ),
        (
            Limits {
                max_meta_bytes: 99,
                ..default()
            },
            b"meta",
        ),
        (
            Limits {
                max_path: 0,
                ..default()
            },
            b"a",
        ),
    ];
    for (limits, name) in cases {
        let error = read_with(&archive[..], limits.clone()).expect_err("over a limit");
        assert_eq!((error.errno(), error.code()), LIMIT, "{limits:?}");
        assert_eq!(error.path(), name, "{limits:?}");
    }
    let just = Limits {
        max_entries: 2,
        max_xattr_bytes: 106,
        max_file_bytes: 1000,
        max_meta_bytes: 1 << 10,
        max_path: 1,
        ..default()
    };
    assert_eq!(read_with(&archive[..], just).unwrap().len(), 2);
    let globals = meta(b'g', b"").repeat(10);
    assert!(
        read_with(
            &globals[..],
            Limits {
                max_entries: 9,
                ..default()
            }
        )
        .is_err()
    );
}

/// Every cut gives an error, except just after an entry.
#[test]
fn truncation() {
    let mut map = vec![0; 512];
    map[..24].copy_from_slice(b"00000000010 00000000001 ");
    let mut sparse = Raw::new(b"s", b'S').magic(GNU).size(5);
    for at in 0..4 {
        let region = format!("{:011o} 00000000001 ", 2 * at);
        sparse = sparse.at(386 + 24 * at, region.as_bytes());
    }
    let sparse = sparse.at(482, &[1]).at(483, b"00000000011\0").bytes();
    let entries = [
        file(b"empty", b""),
        file(b"a", &[7; 600]),
        [pax(&[("path", b"long"), ("uid", b"7")]), file(b"b", b"x")].concat(),
        [
            meta(b'L', &[b'n'; 600]),
            meta(b'K', b"t"),
            Raw::new(b"c", b'2').magic(GNU).bytes(),
        ]
        .concat(),
        [sparse, map, padded(b"12345")].concat(),
        vec![0; 512],
        vec![0; 512],
    ];
    let mut boundaries = vec![0];
    let mut whole = Vec::new();
    for entry in entries {
        whole.extend(entry);
        boundaries.push(whole.len());
    }
    for cut in 0..=whole.len() {
        let result = read_all(&whole[..cut]);
        match boundaries.iter().position(|&end| end == cut) {
            Some(count) => assert_eq!(result.unwrap().len(), count.min(5), "cut at {cut}"),
            None => assert_eq!(result.unwrap_err().code(), Code::Truncated, "cut at {cut}"),
        }
    }
}

/// An error stays: a caller that goes on does not get entries from the middle of data.
#[test]
fn errors_stick() {
    let mut archive = tar(&[file(b"a", b"x"), file(b"b", b"y"), file(b"c", b"z")]);
    archive[1024] ^= 1;
    let mut reader = crate::archive::Reader::new(&archive[..], Limits::default());
    reader.next_entry().unwrap();
    for _ in 0..3 {
        assert_eq!(reader.next_entry().unwrap_err().errno(), Errno::BADMSG);
        assert!(reader.next_chunk().is_err());
    }
}

#[test]
fn errors_of_the_source_pass() {
    struct Broken<'a>(&'a [u8]);
    impl Source for Broken<'_> {
        fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
            match self.0.read(buf)? {
                0 => Err(Error::new(Code::Callback, Errno::XDEV, "mine")),
                n => Ok(n),
            }
        }
    }
    let archive = file(b"a", &[0; 2000]);
    for cut in (0..archive.len()).step_by(100) {
        let mut decoder = crate::archive::Decoder::new(Broken(&archive[..cut]), Default::default());
        let error = read_all(&mut decoder).unwrap_err();
        assert_eq!(
            (error.errno(), error.code(), error.message()),
            (Errno::XDEV, Code::Callback, "mine")
        );
    }
}
