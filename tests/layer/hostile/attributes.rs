//! Owners, modes, times, extended attributes and devices that go wrong. Rows 56 to 62, 64 to 66.

use super::{Row, raw, row, run_on};
use crate::lab::Lab;
use crate::support::{fsys, torture};
use crate::tar::{self, *};
use libc::{E2BIG, EBADMSG, EFBIG, EINVAL, ENOSPC, ERANGE};
use ovl::store::{Against, Kind};

/// A file whose extended header has these records.
fn with(records: &[(&str, &[u8])]) -> Vec<u8> {
    let pax: Vec<u8> = records
        .iter()
        .flat_map(|(key, value)| record(key.as_bytes(), value))
        .collect();
    [
        block(b"meta", b'x', [0o644, 0, 0, pax.len() as u64], (0, 0)),
        padded(&pax),
        block(b"e", b'0', [0o4755, 0, 0, 0], (0, 0)),
        vec![0; 1024],
    ]
    .concat()
}

/// A set-id file whose header has `bytes` at `at`.
fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut head = block(b"e", b'0', [0o4755, 0, 0, 0], (0, 0));
    head[at..at + bytes.len()].copy_from_slice(bytes);
    [checked(head), vec![0; 1024]].concat()
}

const UID: usize = 108;
const MTIME: usize = 136;

fn rows(_: &str) -> Vec<Row> {
    let v2 = torture::capability(None);
    let v3 = torture::capability(Some(1000));
    let cap = "security.capability";
    let acl = "system.posix_acl_default";
    vec![
        row(
            "56 capability v2, foreign owner",
            vec![file("f", "data").owner(9, 9).xattr(cap, &v2)],
            0,
        )
        .check(|tree| {
            let seen = &tree[&b"f"[..]];
            assert_eq!(
                seen.xattrs[&b"security.capability"[..]],
                torture::capability(None)
            );
            assert_eq!(seen.uid, 9);
        }),
        row(
            "57 capability v3",
            vec![file("f", "").owner(9, 9).xattr(cap, &v3)],
            0,
        )
        .check(|tree| {
            assert_eq!(
                tree[&b"f"[..]].xattrs[&b"security.capability"[..]],
                torture::capability(Some(1000))
            )
        }),
        row(
            "57 capability of a wrong length",
            vec![file("f", "").xattr(cap, &v2[..7])],
            EINVAL,
        ),
        row(
            "57 capability of no bytes",
            vec![file("f", "").xattr(cap, b"")],
            EINVAL,
        ),
        row(
            "58 default ACL above",
            vec![
                dir("a").xattr(acl, &torture::named_acl()),
                file("a/f", "").mode(0o604),
                dir("a/d").mode(0o705),
                fifo("a/p").mode(0o602),
                symlink("a/l", "f"),
                file("a/implied/f", "").mode(0o640),
            ],
            0,
        )
        .check(|tree| {
            assert!(
                tree[&b"a"[..]]
                    .xattrs
                    .contains_key(&b"system.posix_acl_default"[..])
            );
            for (path, mode) in [
                ("a/f", 0o604),
                ("a/d", 0o705),
                ("a/p", 0o602),
                ("a/implied", 0o755),
                ("a/implied/f", 0o640),
            ] {
                let seen = &tree[path.as_bytes()];
                assert_eq!((seen.mode, seen.xattrs.len()), (mode, 0), "{path}");
            }
        }),
        row(
            "60 devices",
            vec![char_device("c", 1, 3), Entry::new("b", What::Block(7, 9))],
            0,
        )
        .check(|tree| {
            assert_eq!(
                (&tree[&b"c"[..]].data[..], &tree[&b"b"[..]].data[..]),
                (&b"1:3"[..], &b"7:9"[..])
            )
        }),
        row(
            "61 major number",
            vec![char_device("x", 1 << 20, 0)],
            EINVAL,
        ),
        row(
            "61 minor number",
            vec![char_device("x", 0, 1 << 20)],
            EINVAL,
        ),
        row(
            "62 set-id bits, foreign owner, sgid parent",
            vec![
                dir("g").mode(0o2775).owner(0, 7),
                file("g/f", "x").mode(0o6755).owner(9, 9),
                file("g/own", "x").mode(0o4711),
                dir("g/d").mode(0o755),
                file("g/implied/f", "x").mode(0o2750).owner(0, 3),
            ],
            0,
        )
        .check(|tree| {
            let is = |path: &str| {
                let seen = &tree[path.as_bytes()];
                (seen.mode, seen.uid, seen.gid)
            };
            assert_eq!(is("g"), (0o2775, 0, 7));
            assert_eq!(is("g/f"), (0o6755, 9, 9));
            assert_eq!(is("g/own"), (0o4711, 0, 0));
            assert_eq!(is("g/d"), (0o755, 0, 0));
            assert_eq!(is("g/implied"), (0o755, 0, 0));
            assert_eq!(is("g/implied/f"), (0o2750, 0, 3));
        }),
        raw(
            "64 owner 2^32",
            patched(UID, b"\x80\0\0\x01\0\0\0\0"),
            EINVAL,
        ),
        raw(
            "64 owner 2^32 + 1000",
            patched(UID, b"\x80\0\0\x01\0\0\x03\xe8"),
            EINVAL,
        ),
        raw("64 PAX owner 2^32", with(&[("uid", b"4294967296")]), EINVAL),
        raw(
            "64 PAX group 2^32 + 1000",
            with(&[("gid", b"4294968296")]),
            EINVAL,
        ),
        row(
            "65 owner 4294967295",
            vec![file("x", "").owner(u32::MAX, 0)],
            EINVAL,
        ),
        raw("65 owner -1", patched(UID, &[0xff; 8]), EINVAL),
        raw("65 PAX owner -1", with(&[("uid", b"-1")]), EINVAL),
        raw("65 PAX group -2", with(&[("gid", b"-2")]), EINVAL),
        row(
            "66 time before 1970",
            vec![file("x", "").mtime(-2, 250_000_000)],
            0,
        )
        .check(|tree| assert_eq!(tree[&b"x"[..]].mtime, (-2, 250_000_000))),
        row(
            "66 time before 1901",
            vec![file("x", "").mtime(-2_147_483_649, 0)],
            0,
        ),
        row(
            "66 time after 2038",
            vec![file("x", "").mtime(2_147_483_648, 1)],
            0,
        ),
        raw(
            "66 time 2^60",
            patched(MTIME, b"\x80\0\0\0\x10\0\0\0\0\0\0\0"),
            0,
        ),
        raw(
            "66 PAX time of 60 digits",
            with(&[("mtime", &[b'9'; 60])]),
            0,
        ),
        raw(
            "66 PAX time of 60 digits, negative",
            with(&[("mtime", &[b"-", &[b'9'; 60][..]].concat())]),
            0,
        ),
        raw(
            "66 PAX time of many decimals",
            with(&[("mtime", &[b"7.", &[b'1'; 60][..]].concat())]),
            0,
        )
        .check(|tree| assert_eq!(tree[&b"e"[..]].mtime, (7, 111_111_111))),
        raw("66 PAX time nan", with(&[("mtime", b"nan")]), EBADMSG),
        raw("66 PAX time 1e5", with(&[("mtime", b"1e5")]), EBADMSG),
        raw("66 PAX time 0x10", with(&[("mtime", b"0x10")]), EBADMSG),
    ]
}

#[test]
fn attributes_are_exact_or_refused() {
    require!("root", "overlay", "tmpfs", "ext4", "xfs");
    for kind in ["tmpfs", "ext4", "xfs"] {
        run_on(kind, &[dir("lower")], rows);
    }
}

/// XFS shows ACLs in a spelling of its own as well. A diff has them once, wherever it is made, and
/// a tar that has them in that spelling does not set them behind the mode's back.
#[test]
fn acls_are_said_once_on_every_file_system() {
    require!("root", "overlay", "tmpfs", "ext4", "xfs");
    let acl = torture::named_acl();
    let layer = [
        dir("d").xattr("system.posix_acl_default", &acl),
        file("d/f", "")
            .xattr("system.posix_acl_access", &acl)
            .mode(0o674),
    ];
    let foreign = [file("f", "")
        .xattr("trusted.SGI_ACL_FILE", b"\0\0\0\0")
        .mode(0o640)];
    let diffs = ["tmpfs", "ext4", "xfs"].map(|kind| {
        fsys::on(kind, |at| {
            let lab = Lab::new(at);
            lab.apply("base", "", Kind::Root, &tar::bytes(&[])).unwrap();
            let info = lab
                .apply("f", "base", Kind::Overlay, &tar::bytes(&foreign))
                .unwrap();
            assert_eq!(info.skipped_xattrs, 1, "{kind}");
            assert!(lab.look("f")[&b"f"[..]].xattrs.is_empty(), "{kind}");
            lab.apply("x", "base", Kind::Overlay, &tar::bytes(&layer))
                .unwrap();
            lab.diff("x", Against::Parent)
        })
    });
    assert!(diffs[0] == diffs[1] && diffs[1] == diffs[2]);
}

/// Row 59. What fits is there; what does not is the file system's errno or a limit's, and never
/// the half of it.
#[test]
fn row_59_attributes_that_may_not_fit() {
    require!("root", "overlay", "tmpfs", "ext4", "xfs");
    let many = |count: usize, len: usize| -> Vec<Entry> {
        let mut f = file("f", "");
        for n in 0..count {
            f = f.xattr(&format!("trusted.{n:06}"), &vec![b'v'; len]);
        }
        vec![f]
    };
    let one = |name: &str, len: usize| vec![file("f", "").xattr(name, &vec![b'v'; len])];
    let longest = format!("trusted.{}", "n".repeat(247));
    let first_too_long = format!("{longest}n");
    for (kind, holds_64k) in [("tmpfs", 0), ("ext4", ENOSPC), ("xfs", 0)] {
        run_on(kind, &[dir("lower")], |_| {
            vec![
                row("59 64 KiB", one("trusted.k", 1 << 16), holds_64k).check(|tree| {
                    assert_eq!(tree[&b"f"[..]].xattrs[&b"trusted.k"[..]].len(), 1 << 16)
                }),
                row("59 64 KiB and one", one("trusted.k", (1 << 16) + 1), E2BIG),
                row("59 a name of 255", one(&longest, 1), 0),
                row("59 a name of 256", one(&first_too_long, 1), ERANGE),
                row("59 no value", one("trusted.k", 0), 0)
                    .check(|tree| assert_eq!(tree[&b"f"[..]].xattrs.len(), 1)),
                raw("59 no name", with(&[("SCHILY.xattr.", b"v")]), EBADMSG),
                raw(
                    "59 NUL in the name",
                    with(&[("SCHILY.xattr.user.a\0b", b"v")]),
                    EBADMSG,
                ),
                row(
                    "59 more than a block",
                    many(40, 200),
                    if kind == "ext4" { ENOSPC } else { 0 },
                )
                .check(|tree| assert_eq!(tree[&b"f"[..]].xattrs.len(), 40)),
                // The kernel lists 64 KiB of names: more could be set and never be read again.
                row(
                    "59 more names than can be listed",
                    many(6000, 1),
                    if kind == "ext4" { ENOSPC } else { E2BIG },
                ),
                row("59 a megabyte", many(20, 60_000), EFBIG),
                row(
                    "59 on all kinds",
                    vec![
                        tar::dir("d").xattr("trusted.k", b"v"),
                        symlink("l", "d").xattr("trusted.k", b"v"),
                        fifo("p").xattr("trusted.k", b"v"),
                        char_device("c", 1, 3).xattr("trusted.k", b"v"),
                    ],
                    0,
                )
                .check(|tree| {
                    assert_eq!(
                        tree.values().filter(|seen| seen.xattrs.len() == 1).count(),
                        4
                    )
                }),
            ]
        });
    }
}
