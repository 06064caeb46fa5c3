//! Headers that lie, contradict each other or are broken. Rows 72 to 100.

use super::{Row, raw, run_on};
use crate::tar::{self, *};
use libc::{EBADMSG, EFBIG, EINVAL, EOPNOTSUPP};

const GNU: &[u8] = b"ustar  \0";
const SIZE: usize = 124;
const MAGIC: usize = 257;

fn head(name: &[u8], flag: u8, size: u64) -> Vec<u8> {
    block(name, flag, [0o644, 0, 0, size], (0, 0))
}

/// The same with `bytes` at `at`.
fn patch(mut head: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    head[at..at + bytes.len()].copy_from_slice(bytes);
    checked(head)
}

/// A header of kind x, g, L or K, with its data.
fn meta(flag: u8, data: &[u8]) -> Vec<u8> {
    [head(b"meta", flag, data.len() as u64), padded(data)].concat()
}

fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let data: Vec<u8> = records
        .iter()
        .flat_map(|(key, value)| record(key.as_bytes(), value))
        .collect();
    meta(b'x', &data)
}

fn plain(name: &[u8], data: &[u8]) -> Vec<u8> {
    [head(name, b'0', data.len() as u64), padded(data)].concat()
}

fn all(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), vec![0; 1024]].concat()
}

fn long_names() -> Vec<Row> {
    let name = [b'n'; 150];
    let inner: Vec<u8> = [&b"cut\0"[..], &[b'x'; 200]].concat();
    let long = |flag, data: &[u8]| all(&[meta(flag, data), plain(b"short", b"x")]);
    let claim = |flag, size| all(&[head(b"meta", flag, size)]);
    let k = |i: usize| (format!("k{i}"), b"v".to_vec());
    let records: Vec<_> = (0..40_000).map(k).collect();
    let records: Vec<_> = records.iter().map(|(k, v)| (&k[..], &v[..])).collect();
    let x = pax(&[("uid", b"1")]);
    let l = meta(b'L', b"name");
    vec![
        raw("72 long name without NUL", long(b'L', &name), 0)
            .check(|tree| assert_eq!(tree[&[b'n'; 150][..]].data, b"x")),
        raw("72 long name with a NUL inside", long(b'L', &inner), 0)
            .check(|tree| assert_eq!(tree[&b"cut"[..]].data, b"x")),
        raw("72 long name of 64 MiB", claim(b'L', 64 << 20), EFBIG),
        raw(
            "72 long name that claims 4 GiB",
            claim(b'L', 4 << 30),
            EFBIG,
        ),
        raw(
            "72 long target that claims 4 GiB",
            claim(b'K', 4 << 30),
            EFBIG,
        ),
        raw("73 PAX header of 64 MiB", claim(b'x', 64 << 20), EFBIG),
        raw(
            "73 PAX header that claims 2 GiB",
            claim(b'x', 2 << 30),
            EFBIG,
        ),
        raw(
            "73 global header that claims 2 GiB",
            claim(b'g', 2 << 30),
            EFBIG,
        ),
        raw(
            "73 PAX header that is not there",
            claim(b'x', 1 << 20),
            EBADMSG,
        ),
        raw(
            "73 40,000 records",
            all(&[pax(&records), plain(b"e", b"x")]),
            0,
        )
        .check(|tree| assert_eq!(tree[&b"e"[..]].data, b"x")),
        raw(
            "74 20,000 x headers",
            all(&[x.repeat(20_000), plain(b"e", b"")]),
            EBADMSG,
        ),
        raw(
            "74 20,000 L headers",
            all(&[l.repeat(20_000), plain(b"e", b"")]),
            EBADMSG,
        ),
        raw(
            "74 20,000 global headers",
            all(&[meta(b'g', b"9 uid=10\n").repeat(20_000), plain(b"e", b"")]),
            0,
        )
        .check(|tree| assert_eq!(tree[&b"e"[..]].uid, 10)),
        raw(
            "80 two x headers",
            all(&[x.clone(), x.clone(), plain(b"e", b"")]),
            EBADMSG,
        ),
        raw(
            "80 x, then g",
            all(&[x.clone(), meta(b'g', b"9 uid=10\n"), plain(b"e", b"")]),
            EBADMSG,
        ),
        raw(
            "80 x at the end",
            all(&[plain(b"e", b""), x.clone()]),
            EBADMSG,
        ),
        raw(
            "80 L at the end of the stream",
            [plain(b"e", b""), l].concat(),
            EBADMSG,
        ),
        raw(
            "80 two names",
            all(&[
                pax(&[("path", b"one")]),
                meta(b'L', b"two"),
                plain(b"e", b""),
            ]),
            EBADMSG,
        ),
    ]
}

fn record_syntax() -> Vec<Row> {
    let bad: [&[u8]; 20] = include!("../../../src/archive/tests/malformed_records.in");
    let mut rows: Vec<Row> = bad
        .iter()
        .map(|data| {
            let what = format!("75 record {}", data.escape_ascii());
            raw(&what, all(&[meta(b'x', data), plain(b"e", b"")]), EBADMSG)
        })
        .collect();
    rows.extend(bad.iter().map(|data| {
        let what = format!("75 global record {}", data.escape_ascii());
        raw(&what, all(&[meta(b'g', data), plain(b"e", b"")]), EBADMSG)
    }));
    rows
}

fn sizes() -> Vec<Row> {
    let inner = all(&[plain(b"smuggled", b"evil")]);
    let size = inner.len().to_string();
    let smuggler = [
        pax(&[("size", size.as_bytes())]),
        head(b"outer", b'0', 0),
        inner.clone(),
        plain(b"after", b""),
    ];
    let reverse = [
        pax(&[("size", b"0")]),
        plain(b"outer", &inner),
        plain(b"after", b""),
    ];
    let long = [
        pax(&[("size", b"3")]),
        meta(b'L', b"long"),
        plain(b"e", b"abc"),
        plain(b"after", b""),
    ];
    let mut rows = vec![
        raw("76 PAX size over a header of 0", all(&smuggler), 0).check(|tree| {
            assert!(!tree.contains_key(&b"smuggled"[..]) && tree.contains_key(&b"after"[..]));
            assert_eq!(tree[&b"outer"[..]].data.len(), 2048);
        }),
        // POSIX would take it. Readers disagree, and what they disagree on is refused.
        raw(
            "77 PAX size 0 over a header of more",
            all(&reverse),
            EBADMSG,
        ),
        raw("78 PAX size, then L, then the file", all(&long), 0)
            .check(|tree| assert_eq!(tree[&b"long"[..]].data, b"abc")),
        raw(
            "81 global header with a path",
            all(&[meta(b'g', &record(b"path", b"../evil")), plain(b"e", b"")]),
            0,
        )
        .check(|tree| assert!(tree.contains_key(&b"e"[..]))),
        raw(
            "81 global header with an attribute",
            all(&[
                meta(b'g', &record(b"SCHILY.xattr.user.k", b"v")),
                plain(b"e", b""),
            ]),
            0,
        )
        .check(|tree| assert!(tree[&b"e"[..]].xattrs.is_empty())),
        raw(
            "82 access time in the prefix of an old GNU header",
            all(&[patch(
                patch(head(b"e", b'0', 0), MAGIC, GNU),
                345,
                b"14725764000\x0014725764000\0",
            )]),
            0,
        )
        .check(|tree| assert!(tree.contains_key(&b"e"[..]))),
    ];
    for (flag, what) in [
        (b'5', "directory"),
        (b'2', "symbolic link"),
        (b'1', "hard link"),
    ] {
        let mut entry = head(b"e2", flag, 0);
        if flag != b'5' {
            entry = patch(entry, 157, b"first");
        }
        rows.push(
            raw(
                &format!("79 PAX size of a {what}"),
                all(&[
                    plain(b"first", b""),
                    pax(&[("size", b"1024")]),
                    entry,
                    plain(b"after", b""),
                ]),
                0,
            )
            .check(|tree| {
                assert!(tree.contains_key(&b"after"[..]) && tree.contains_key(&b"e2"[..]))
            }),
        );
    }
    let fields: [&[u8]; 7] = [
        &[0xff; 12],                                   // -1
        b"\x80\0\0\0\x80\0\0\0\0\0\0\0",               // 2^63
        b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", // 2^63-1, and no data
        b"0000000008\0\0",
        b"-1\0\0\0\0\0\0\0\0\0\0",
        b"0x10\0\0\0\0\0\0\0\0",
        b"1e3\0\0\0\0\0\0\0\0\0",
    ];
    rows.extend(fields.iter().map(|field| {
        let what = format!("83 size {}", field.escape_ascii());
        raw(
            &what,
            all(&[patch(head(b"e", b'0', 0), SIZE, field)]),
            EBADMSG,
        )
    }));
    for value in ["-1", "9223372036854775808", "0x10", "1e3"] {
        let what = format!("83 PAX size {value}");
        rows.push(raw(
            &what,
            all(&[pax(&[("size", value.as_bytes())]), plain(b"e", b"")]),
            EBADMSG,
        ));
    }
    rows
}

/// A sparse file of GNU's version 0.1, with two regions of "ab" and "c" unless told otherwise.
fn sparse(name: &[u8], map: &str, blocks: &str, size: &str, data: &[u8]) -> Vec<u8> {
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.map", map.as_bytes()),
        ("GNU.sparse.numblocks", blocks.as_bytes()),
        ("GNU.sparse.name", name),
        ("GNU.sparse.size", size.as_bytes()),
    ];
    all(&[pax(&records), plain(b"GNUSparseFile.1/s", data)])
}

fn sparse_files() -> Vec<Row> {
    let want = |tree: &crate::lab::Tree| assert_eq!(tree[&b"s"[..]].data, b"\0\0ab\0\0c\0\0\0");
    let version_0: [(&str, &[u8]); 7] = [
        ("GNU.sparse.size", b"10"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"2"),
        ("GNU.sparse.numbytes", b"2"),
        ("GNU.sparse.offset", b"6"),
        ("GNU.sparse.numbytes", b"1"),
        ("path", b"s"),
    ];
    let version_1: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.realsize", b"10"),
    ];
    let in_data = |map: &[u8]| {
        let data = [padded(map), b"abc".to_vec()].concat();
        all(&[pax(&version_1), plain(b"x", &data)])
    };
    // Old GNU: four regions in the header, more in a block after it.
    let region = |offset: u64, len: u64| format!("{offset:011o}\0{len:011o}\0").into_bytes();
    let mut old = patch(head(b"s", b'S', 3), MAGIC, GNU);
    old = patch(old, 386, &[region(2, 2), region(6, 1)].concat());
    old = patch(old, 483, b"00000000012\0");
    let mut extended = patch(head(b"s", b'S', 6), MAGIC, GNU);
    extended = patch(
        extended,
        386,
        &(0..4).flat_map(|n| region(2 * n, 1)).collect::<Vec<_>>(),
    );
    extended = patch(extended, 482, b"\x01");
    extended = patch(extended, 483, b"00000000014\0");
    let mut more: Vec<u8> = (4..6).flat_map(|n| region(2 * n, 1)).collect();
    more.resize(512, 0);
    let mut rows = vec![
        raw(
            "84 sparse 0.0",
            all(&[pax(&version_0), plain(b"x", b"abc")]),
            0,
        )
        .check(want),
        raw(
            "84 sparse 0.1",
            sparse(b"s", "2,2,6,1", "2", "10", b"abc"),
            0,
        )
        .check(want),
        raw("84 sparse 1.0", in_data(b"2\n2\n2\n6\n1\n"), 0).check(want),
        raw("84 old sparse", all(&[old, padded(b"abc")]), 0).check(want),
        raw(
            "84 old sparse, extended",
            all(&[extended, more, padded(&[b'7'; 6])]),
            0,
        )
        .check(|tree| assert_eq!(tree[&b"s"[..]].data, b"7\x007\x007\x007\x007\x007\0")),
        raw(
            "86 a map said to have 10^11 regions",
            sparse(b"s", "0,1", "100000000000", "10", b"x"),
            EFBIG,
        ),
        raw(
            "86 the same in the data",
            in_data(b"100000000000\n0\n1\n"),
            EFBIG,
        ),
        raw(
            "87 sparse name above",
            sparse(b"../x", "0,1", "1", "1", b"x"),
            EINVAL,
        ),
        raw(
            "87 sparse name of a whiteout",
            sparse(b".wh.f", "0,1", "1", "1", b"x"),
            0,
        )
        .check(|tree| assert!(tree.keys().all(|path| !path.starts_with(b".wh")))),
    ];
    let bad = [
        ("overlap", "2,2,3,1", "10"),
        ("backwards", "6,2,2,1", "10"),
        ("beyond the size", "2,2,10,1", "10"),
        ("negative", "2,-2,6,5", "10"),
        ("overflow", "2,2,9223372036854775807,1", "10"),
        ("overflow of 64 bits", "2,2,18446744073709551615,1", "10"),
        ("more than is stored", "2,2,6,2", "10"),
        ("less than is stored", "2,1,6,1", "10"),
        ("negative size", "2,2,6,1", "-10"),
    ];
    for (what, map, size) in bad {
        rows.push(raw(
            &format!("85 {what}"),
            sparse(b"s", map, "2", size, b"abc"),
            EBADMSG,
        ));
        let text = format!("2\n{}\n", map.replace(',', "\n"));
        if !size.starts_with('-') {
            rows.push(raw(
                &format!("85 {what}, 1.0"),
                in_data(text.as_bytes()),
                EBADMSG,
            ));
        }
    }
    rows
}

fn types_and_ends() -> Vec<Row> {
    let file = plain(b"e", b"x");
    let there = |tree: &crate::lab::Tree| assert_eq!(tree[&b"e"[..]].data, b"x");
    let signed = {
        // A checksum over signed bytes, as old writers made it.
        let mut head = head(b"\xff\xfe", b'0', 0);
        head[148..156].fill(b' ');
        let sum: i64 = head.iter().map(|&b| i64::from(b as i8)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        head
    };
    let broken = |n: usize| {
        let mut tar = all(&[file.clone(), plain(b"f", b"")]);
        tar[n] ^= 1;
        tar
    };
    let mut rows = vec![
        raw(
            "88 type 7",
            all(&[[head(b"e", b'7', 1), padded(b"x")].concat()]),
            0,
        )
        .check(there),
        raw("89 no end marker", file.clone(), 0).check(there),
        raw(
            "89 one zero block",
            [file.clone(), vec![0; 512]].concat(),
            0,
        )
        .check(there),
        raw("89 10,240 zeros", vec![0; 10_240], 0),
        raw("89 nothing at all", vec![], 0),
        raw(
            "90 a zero block in the middle",
            all(&[file.clone(), vec![0; 512], plain(b"f", b"")]),
            EBADMSG,
        ),
        raw(
            "91 entries after the end",
            all(&[all(std::slice::from_ref(&file)), plain(b"ghost", b"")]),
            0,
        )
        .check(|tree| assert!(!tree.contains_key(&b"ghost"[..]))),
        raw(
            "91 garbage after the end",
            [all(std::slice::from_ref(&file)), vec![0xa5; 777]].concat(),
            0,
        )
        .check(there),
        raw("93 bad checksum of the first", broken(0), EBADMSG),
        raw("93 bad checksum of the second", broken(1024), EBADMSG),
        raw("93 signed checksum", all(&[signed]), 0)
            .check(|tree| assert!(tree.contains_key(&b"\xff\xfe"[..]))),
    ];
    rows.extend(b"VMDXNAZ8".iter().map(|&flag| {
        let entry = patch(head(b"e", flag, 0), MAGIC, GNU);
        raw(
            &format!("88 type {}", flag as char),
            all(&[entry]),
            EOPNOTSUPP,
        )
    }));
    rows
}

#[test]
fn headers_are_believed_or_refused() {
    require!("root", "overlay", "tmpfs");
    run_on("tmpfs", &[tar::dir("lower")], |_| {
        let mut rows = long_names();
        rows.extend(record_syntax());
        rows.extend(sizes());
        rows.extend(sparse_files());
        rows.extend(types_and_ends());
        rows
    });
}

/// Row 86: a hole of a tebibyte is more than a layer may hold, unless the caller allows it; then it
/// stays a hole, in the layer and in what is made of it.
#[test]
fn row_86_a_large_hole_stays_one() {
    require!("root", "overlay", "ext4", "xfs", "tmpfs");
    use crate::lab::Lab;
    use crate::support::fsys;
    use ovl::error::Errno;
    use ovl::store::*;
    use ovl::watch::Watch;
    use std::os::unix::fs::MetadataExt;
    for fs in ["ext4", "xfs", "tmpfs"] {
        fsys::on(fs, |at| {
            let lab = Lab::new(at);
            lab.apply("base", "", Kind::Root, &tar::bytes(&[tar::dir("d")]))
                .unwrap();
            let layer = sparse(b"s", "1099511627776,1", "1", "1099511627777", b"x");
            for kind in [Kind::Root, Kind::Overlay] {
                let error = lab.apply("x", "base", kind, &layer).unwrap_err();
                assert_eq!((error.errno(), error.path()), (Errno::FBIG, &b"s"[..]));
                lab.assert_nothing("x");
                let allowed = |id, tar: &[u8]| {
                    let mut options = ApplyOptions {
                        parent: Some(b"base"),
                        kind: Some(kind),
                        ..ApplyOptions::default()
                    };
                    options.limits.max_size = 2 << 40;
                    lab.store
                        .apply(id, &mut &*tar, &options, &mut Watch::default())
                };
                let info = allowed(b"x", &layer).unwrap();
                assert_eq!(info.size, (1 << 40) + 1);
                let tree = if kind == Kind::Root { "root" } else { "upper" };
                let meta =
                    std::fs::metadata(lab.home.join("layer/x").join(tree).join("s")).unwrap();
                assert_eq!(meta.size(), (1 << 40) + 1);
                assert!(meta.blocks() < 1 << 12, "{fs}: {} blocks", meta.blocks());
                let (diff, _) = lab
                    .try_diff("x", Against::Parent, DiffFlags::SPARSE)
                    .unwrap();
                assert!(diff.len() < 1 << 20);
                allowed(b"again", &diff).unwrap();
                lab.remove("again");
                lab.remove("x");
            }
        });
    }
}
