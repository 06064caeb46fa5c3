//! Names: out of the root, the root itself, impossible lengths, any bytes. Rows 1 to 5, 31 to 34, 67 to 71.

use super::{row, run_on};
use crate::tar::{self, *};
use libc::{EBADMSG, EFBIG, EINVAL, ENAMETOOLONG, ENOTDIR};
use ovl::store::Limits;

fn any(path: &[u8]) -> Entry {
    Entry::new(path, What::File(b"x".to_vec()))
}

fn rows(_: &str) -> Vec<super::Row> {
    let up = "../".repeat(20);
    let long = "n".repeat(255);
    let mut levels = vec![];
    let mut path = String::new();
    for n in 0..1100 {
        path += if n == 0 { "deep" } else { "/deep" };
        levels.push(dir(&path));
    }
    levels.push(file(&format!("{path}/f"), "bottom"));
    let generous = Limits {
        max_path: 1 << 20,
        ..Limits::default()
    };
    let ten_thousand = format!("{}f", "d/".repeat(10_000));
    let dots = format!("{}x", "./".repeat(100_000));
    let nul = |key: &[u8]| {
        let pax = record(key, b"a\0b");
        let mut tar = block(b"meta", b'x', [0o644, 0, 0, pax.len() as u64], (0, 0));
        tar.extend(padded(&pax));
        tar.extend(block(b"e", b'2', [0o644, 0, 0, 0], (0, 0)));
        tar.extend([0; 1024]);
        tar
    };
    vec![
        row("1 absolute name", vec![file("/etc/x", "x")], 0)
            .check(|tree| assert_eq!(tree[&b"etc/x"[..]].data, b"x")),
        row("2 .. at start", vec![file("../x", "x")], EINVAL),
        row("2 many ..", vec![file(&format!("{up}x"), "x")], EINVAL),
        row("3 .. inside", vec![file("a/../../x", "x")], EINVAL),
        row(
            "3 .. that stays",
            vec![dir("a"), file("a/../b", "x")],
            EINVAL,
        ),
        row(
            "4 directory ..",
            vec![dir("..").mode(0o777).owner(9, 9)],
            EINVAL,
        ),
        row("5 the root", vec![dir("./").mode(0o711)], 0)
            .check(|tree| assert_eq!(tree[&b""[..]].mode, 0o711)),
        row("5 the root as .", vec![dir(".").mode(0o711)], 0),
        row("5 the root as /", vec![dir("/").mode(0o711)], 0),
        row("5 the root without a name", vec![dir("").mode(0o711)], 0),
        row(
            "31 a file as parent",
            vec![file("a", "a"), file("a/b", "b")],
            ENOTDIR,
        ),
        row(
            "32 fifo and device, then file",
            vec![
                fifo("p"),
                file("p", "x"),
                char_device("c", 1, 3),
                file("c", "x"),
            ],
            0,
        )
        .check(|tree| assert_eq!((tree[&b"p"[..]].kind, tree[&b"c"[..]].kind), ('f', 'f'))),
        row(
            "33 the last one wins, children stay",
            vec![
                dir("d"),
                file("d/f", "1"),
                dir("d").mode(0o700),
                file("d/f", "2"),
                dir("e"),
                file("e/f", ""),
                file("e", "file"),
                dir("e"),
                file("e/g", ""),
            ],
            0,
        )
        .check(|tree| {
            assert_eq!(tree[&b"d/f"[..]].data, b"2");
            assert_eq!(tree[&b"d"[..]].mode, 0o700);
            assert!(!tree.contains_key(&b"e/f"[..]) && tree.contains_key(&b"e/g"[..]));
        }),
        row("34 implied parents", vec![file("x/y/z", "z")], 0).check(|tree| {
            for dir in [&b"x"[..], b"x/y"] {
                let seen = &tree[dir];
                assert_eq!((seen.mode, seen.uid, seen.gid), (0o755, 0, 0));
            }
        }),
        super::raw("67 NUL in path", nul(b"path"), EBADMSG),
        super::raw("67 NUL in linkpath", nul(b"linkpath"), EBADMSG),
        super::raw(
            "67 NUL in the name of an attribute",
            nul(b"SCHILY.xattr.user.\0a"),
            EBADMSG,
        ),
        row(
            "68 names of any bytes",
            vec![
                any(b"-\n\xff\\\x01"),
                any(b"-rf"),
                any(b"a\\..\\b"),
                any(b"\xc3\xa9"),
                any(b"e\xcc\x81"),
                any(b"new\n9 path=evil\n"),
                any(b"\xed\xa0\x80/.../...."),
            ],
            0,
        )
        .check(|tree| {
            for name in [
                &b"-\n\xff\\\x01"[..],
                b"\xc3\xa9",
                b"e\xcc\x81",
                b"\xed\xa0\x80/.../....",
            ] {
                assert_eq!(tree[name].data, b"x");
            }
            assert!(!tree.contains_key(&b"evil"[..]));
        }),
        row("69 255 bytes", vec![file(&long, "")], 0),
        row(
            "69 256 bytes",
            vec![file(&format!("{long}n"), "")],
            ENAMETOOLONG,
        ),
        row(
            "69 256 bytes inside",
            vec![file(&format!("a/{long}n/b"), "")],
            ENAMETOOLONG,
        ),
        row("70 1100 levels, each told", levels, 0).deep(),
        row(
            "70 10,000 levels, beyond the limit",
            vec![file(&ten_thousand, "x")],
            EFBIG,
        ),
        row(
            "70 10,000 levels, within",
            vec![file(&ten_thousand, "x")],
            0,
        )
        .deep()
        .limits(generous),
        row(
            "71 10,000 dots",
            vec![file(&format!("{}x", "./".repeat(10_000)), "")],
            0,
        ),
        row(
            "71 100,000 dots, beyond the limit",
            vec![file(&dots, "")],
            EFBIG,
        ),
        row("71 100,000 dots, within", vec![file(&dots, "")], 0).limits(generous),
    ]
}

#[test]
fn names_lead_nowhere_outside() {
    require!("root", "overlay", "tmpfs");
    run_on("tmpfs", &[tar::dir("lower")], rows);
}

#[test]
fn names_lead_nowhere_outside_on_disks() {
    require!("root", "overlay", "ext4", "xfs");
    for kind in ["ext4", "xfs"] {
        run_on(kind, &[tar::dir("lower")], |canary| {
            let disks = ["68", "69"];
            let mut rows = rows(canary);
            rows.retain(|row| disks.contains(&&row.what[..2]));
            rows
        });
    }
}
