//! Symbolic and hard links that lead out. Rows 6 to 30.

use super::{Row, row, run_on};
use crate::lab::Lab;
use crate::support::fsys;
use crate::tar::{self, *};
use libc::{EBADMSG, EINVAL, ELOOP, EMLINK, ENOENT, EPERM};
use ovl::store::Kind;

/// Directories whose real path is longer than PATH_MAX, reached by short names; then a link that
/// climbs out of it, or would if somebody had lost count.
fn beyond_path_max() -> Vec<Entry> {
    let mut list = Vec::new();
    let (mut real, mut short) = (String::new(), String::new());
    for step in 'a'..='p' {
        list.push(dir(&format!("{real}{}", "d".repeat(247))));
        list.push(symlink(&format!("{real}{step}"), &"d".repeat(247)));
        real += &format!("{}/", "d".repeat(247));
        short += &format!("{step}/");
    }
    let last = format!("{short}{}", "l".repeat(254));
    list.push(symlink(&last, &"../".repeat(16)));
    list.push(symlink(
        "escape",
        &format!("{last}/../../../..{}", "/..".repeat(20)),
    ));
    list.push(file("escape/x", "inside"));
    list.push(hard("h", "escape/x"));
    list
}

fn rows(canary: &str) -> Vec<Row> {
    let out = |path: &str| format!("{canary}/{path}");
    let up = "../".repeat(20);
    let chain = |last: usize| -> Vec<Entry> {
        let mut chain: Vec<Entry> = (0..last)
            .map(|n| symlink(&format!("c{n}"), &format!("c{}", n + 1)))
            .collect();
        chain.push(dir(&format!("c{last}")));
        chain.push(file("c0/x", ""));
        chain
    };
    let mut blow: Vec<Entry> = vec![dir("e"), symlink("e/0", ".")];
    blow.extend((1..24).map(|n| symlink(&format!("e/{n}"), &format!("{0}/../e/{0}", n - 1))));
    blow.push(file("e/23/x", ""));
    let back_and_forth: Vec<Entry> = [
        dir("d"),
        symlink("s", &"d/../".repeat(800)),
        file("s/x", ""),
    ]
    .into();
    let sized = {
        let mut tar = tar::bytes_of(&file("a", "a"));
        let mut link = block(b"h", b'1', [0o644, 0, 0, 1024], (0, 0));
        link[157] = b'a';
        tar.extend(checked(link));
        tar.extend(padded(&tar::bytes_of(&file("smuggled", ""))[..1024]));
        tar.extend([0; 1024]);
        tar
    };
    vec![
        row("6 root as link", vec![symlink("./", canary)], EINVAL),
        row("6 root as file", vec![file(".", "x")], EINVAL),
        row("6 root as device", vec![char_device("/", 1, 3)], EINVAL),
        row("6 root as FIFO", vec![fifo(".")], EINVAL),
        row(
            "6 root as hard link",
            vec![file("a", ""), hard(".", "a")],
            EINVAL,
        ),
        row(
            "7 absolute link",
            vec![
                symlink("l", canary),
                file("l/x", "x"),
                file("l/victim", "x"),
            ],
            0,
        ),
        row(
            "8 proc",
            vec![
                symlink("l", "/proc/self/root"),
                file("l/x", "x"),
                symlink("m", "/proc/self/fd/3"),
                file("m/x", "x"),
                symlink("n", "/proc/self/cwd"),
                file("n/x", "x"),
            ],
            0,
        )
        .check(|tree| assert!(tree.contains_key(&b"proc/self/root/x"[..]))),
        row(
            "8 relative",
            vec![
                symlink("l", &format!("{up}{}", &canary[1..])),
                file("l/x", "x"),
            ],
            0,
        ),
        row(
            "9 links to links",
            vec![
                // No names that the canary's own path may begin with.
                symlink("one~", "two~"),
                symlink("two~", "three~/four~"),
                symlink("three~/four~", canary),
                file("one~/x", ""),
            ],
            0,
        ),
        row("11 beyond PATH_MAX", beyond_path_max(), 0)
            .check(|tree| {
                assert_eq!(tree[&b"x"[..]].data, b"inside");
                assert_eq!(tree[&b"h"[..]].data, b"inside");
            })
            .deep(),
        row(
            "12 loop",
            vec![symlink("a", "b"), symlink("b", "a"), file("a/x", "")],
            ELOOP,
        ),
        row("12 chain of 40", chain(40), 0),
        row("12 chain of 41", chain(41), ELOOP),
        row("12 chain of 300", chain(300), ELOOP),
        row("12 expansion", blow, ELOOP),
        // The kernel would follow it. One entry must not keep the store busy.
        row("12 back and forth", back_and_forth, ELOOP),
        row(
            "13 link, then file",
            vec![symlink("l", &out("victim")), file("l", "new").mode(0o4777)],
            0,
        ),
        row(
            "14 link, then directory",
            vec![symlink("l", canary), dir("l").mode(0o777), file("l/x", "")],
            0,
        )
        .check(|tree| assert_eq!((tree[&b"l"[..]].kind, tree[&b"l"[..]].mode), ('d', 0o777))),
        row(
            "15 directory, then link",
            vec![
                dir("d"),
                file("d/f", ""),
                symlink("d", canary),
                file("d/x", ""),
            ],
            0,
        ),
        row(
            "16 times after a swap",
            vec![dir("d"), dir("d/sub").mode(0o777), symlink("d", canary)],
            0,
        ),
        row(
            "17 attributes of a link",
            vec![
                symlink("l", &out("victim"))
                    .mode(0o4777)
                    .owner(9, 9)
                    .xattr("trusted.t", b"v"),
            ],
            0,
        )
        .check(|tree| assert_eq!(tree[&b"l"[..]].uid, 9)),
        row("18 hard link out", vec![hard("h", &out("victim"))], ENOENT),
        row(
            "18 hard link up",
            vec![hard("h", &format!("{up}{}", &out("victim")[1..]))],
            EINVAL,
        ),
        row(
            "19 and write",
            vec![hard("h", &out("victim")), file("h", "x")],
            ENOENT,
        ),
        row(
            "20 hard link through a link",
            vec![symlink("s", canary), hard("h", "s/victim")],
            ENOENT,
        ),
        row(
            "21 hard link to a link",
            vec![symlink("s", &out("victim")), hard("h", "s")],
            0,
        )
        .check(|tree| {
            assert_eq!(
                (tree[&b"h"[..]].kind, &tree[&b"s"[..]].leader[..]),
                ('l', &b"h"[..])
            )
        }),
        // There is no other way than link(2), so another device is nothing special.
        row(
            "22 to another file system",
            vec![hard("h", "/proc/version")],
            ENOENT,
        ),
        row("22 to the host's", vec![hard("h", "/etc/passwd")], ENOENT),
        row(
            "23 target replaced",
            vec![file("o", "1"), hard("h", "o"), file("o", "2")],
            0,
        )
        .check(|tree| {
            assert_eq!(
                (&tree[&b"h"[..]].data[..], &tree[&b"o"[..]].data[..]),
                (&b"1"[..], &b"2"[..])
            )
        }),
        row(
            "24 a later target",
            vec![hard("h", "o"), file("o", "1")],
            ENOENT,
        ),
        row("25 to itself", vec![file("a", ""), hard("a", "a")], EINVAL),
        row("25 to a directory", vec![dir("d"), hard("h", "d")], EPERM),
        row("25 to the root", vec![hard("h", ".")], EINVAL),
        row("25 to nothing", vec![hard("h", "")], EBADMSG),
        row(
            "26 absolute inside",
            vec![file("a", "a"), hard("h", "/a")],
            0,
        )
        .check(|tree| assert_eq!(tree[&b"h"[..]].leader, b"a")),
        row(
            "27 missing parents",
            vec![file("a", "a"), hard("x/y/h", "a")],
            0,
        ),
        super::raw("28 a hard link with data", sized, EBADMSG),
    ]
}

#[test]
fn links_lead_nowhere_outside() {
    require!("root", "overlay", "tmpfs");
    run_on("tmpfs", &[dir("lower")], rows);
}

/// What an earlier layer left is as untrusted as the layer itself.
#[test]
fn links_of_an_earlier_layer_lead_nowhere_outside() {
    require!("root", "overlay", "ext4");
    fsys::on("ext4", |dir| {
        let canary = dir.join("canary").to_str().unwrap().to_string();
        let base = [
            symlink("s", &canary),
            symlink("f", &format!("{canary}/victim")),
            file("lower", "of below").mode(0o640).xattr("user.k", b"v"),
        ];
        super::run(dir, &base, |_| {
            vec![
                row(
                    "10 through",
                    vec![file("s/x", "x"), file("s/victim", "x")],
                    0,
                ),
                row("39 whiteout", vec![gone("s/victim"), gone("f")], 0),
                row(
                    "40 opaque",
                    vec![opaque("s"), tar::dir("s/sub").mode(0o777)],
                    0,
                ),
                row(
                    "13 over",
                    vec![file("f", "x").mode(0o4777), tar::dir("s").mode(0o777)],
                    0,
                ),
                row("37 hidden root", vec![file(".wh...", "")], EINVAL),
            ]
        });
    });
}

/// The stated difference of the kinds: `overlay` copies what it links to up, `root` shares it.
/// Either way the two names of the tar are one inode.
#[test]
fn row_29_a_hard_link_to_a_file_from_below() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        let lower = file("f", "of below").mode(0o640).xattr("user.k", b"v");
        lab.apply("base", "", Kind::Root, &tar::bytes(&[lower]))
            .unwrap();
        for kind in [Kind::Root, Kind::Overlay] {
            let info = lab
                .apply("x", "base", kind, &tar::bytes(&[hard("h", "f")]))
                .unwrap();
            assert_eq!(info.size, 0, "{kind:?}");
            let tree = lab.look("x");
            let h = &tree[&b"h"[..]];
            assert_eq!(
                (&h.data[..], h.mode, &h.leader[..]),
                (&b"of below"[..], 0o640, &b"f"[..])
            );
            assert_eq!(h.xattrs[&b"user.k"[..]], b"v");
            lab.remove("x");
        }
    });
}

/// Row 30. A file system's own limit is its errno; a clone of what is at the limit is made of copies.
#[test]
fn row_30_seventy_thousand_links() {
    require!("root", "overlay", "ext4", "xfs");
    let layer = |links: usize| {
        let mut layer = vec![file("f", "one inode")];
        layer.extend((1..links).map(|n| hard(&format!("d{}/{n}", n % 10), "f")));
        tar::bytes(&layer)
    };
    let base = tar::bytes(&[dir("lower")]);
    for (kind, wanted) in [("ext4", EMLINK), ("xfs", 0)] {
        fsys::on(kind, |at| {
            let lab = Lab::new(at);
            lab.apply("base", "", Kind::Root, &base).unwrap();
            for (kind, parent) in [(Kind::Root, ""), (Kind::Overlay, "base")] {
                let got = lab.apply("x", parent, kind, &layer(70_000));
                assert_eq!(super::errno(got), wanted, "{kind:?}");
                if wanted == 0 {
                    lab.remove("x");
                } else {
                    lab.assert_nothing("x");
                }
            }
        });
    }
    fsys::on("ext4", |at| {
        let lab = Lab::new(at);
        lab.apply("full", "", Kind::Root, &layer(64_999)).unwrap();
        let more = tar::bytes(&[file("own", "own")]);
        lab.apply("child", "full", Kind::Root, &more).unwrap();
        let (tree, mut below) = (lab.look("child"), lab.look("full"));
        below.insert(b"own".to_vec(), tree[&b"own"[..]].clone());
        assert_eq!(tree.len(), below.len());
        let data = |tree: &crate::lab::Tree| -> Vec<_> {
            tree.values()
                .map(|seen| (seen.kind, seen.mode, seen.data.clone()))
                .collect()
        };
        assert_eq!(data(&tree), data(&below));
        // One name more could be linked; the others are one inode of the child's.
        let mut leaders: Vec<_> = tree
            .values()
            .filter(|s| s.data == b"one inode")
            .map(|s| &s.leader)
            .collect();
        leaders.sort();
        leaders.dedup();
        assert_eq!(leaders.len(), 2, "{leaders:?}");
    });
}
