//! Whiteouts, opaque directories, and forged marks of overlayfs. Rows 35 to 55.

use super::{Row, errno, row, run_on};
use crate::lab::Lab;
use crate::support::fsys;
use crate::tar::{self, *};
use libc::{EINVAL, ENOENT, EPERM};
use ovl::store::*;

fn lower() -> Vec<Entry> {
    vec![
        dir("d"),
        file("d/f", "below"),
        file("d/g", "below"),
        dir("d/sub"),
        file("d/sub/h", "below"),
        file("top", "below"),
    ]
}

fn rows(canary: &str) -> Vec<Row> {
    let long = "n".repeat(255);
    vec![
        row("35 whiteout of nothing", vec![file(".wh.", "")], EINVAL),
        row("36 whiteout of .", vec![file("d/.wh..", "")], EINVAL),
        row(
            "37 whiteout of .., at the root",
            vec![file(".wh...", "")],
            EINVAL,
        ),
        row(
            "37 whiteout of .., in d",
            vec![file("d/.wh...", "")],
            EINVAL,
        ),
        row(
            "37 whiteout of .., deeper",
            vec![file("d/sub/.wh...", "")],
            EINVAL,
        ),
        row("38 whiteout above", vec![file("../.wh.x", "")], EINVAL),
        row("38 absolute whiteout", vec![file("/d/.wh.f", "")], 0)
            .check(|tree| assert!(!tree.contains_key(&b"d/f"[..]))),
        row(
            "39 whiteout through a link",
            vec![symlink("s", canary), gone("s/victim")],
            0,
        ),
        row(
            "40 opaque through a link",
            vec![symlink("s", canary), opaque("s")],
            0,
        ),
        row("41 opaque first", vec![opaque("d"), file("d/new", "")], 0).check(only_new),
        row("41 opaque last", vec![file("d/new", ""), opaque("d")], 0).check(only_new),
        row(
            "42 opaque without its directory",
            vec![opaque("d"), file("d/new", "")],
            0,
        )
        .check(only_new),
        row(
            "42 opaque before it",
            vec![opaque("d"), dir("d").mode(0o711), file("d/new", "")],
            0,
        )
        .check(|tree| {
            only_new(tree);
            assert_eq!(tree[&b"d"[..]].mode, 0o711);
        }),
        row("43 opaque root", vec![opaque(""), file("d/new", "")], 0).check(|tree| {
            only_new(tree);
            assert!(!tree.contains_key(&b"top"[..]));
        }),
        row(
            "44 whiteout and a new directory",
            vec![gone("d"), dir("d"), file("d/new", "")],
            0,
        )
        .check(only_new),
        row(
            "45 whiteout of what is made again",
            vec![file("d/new", ""), gone("d")],
            0,
        )
        .check(only_new),
        row(
            "46 whiteouts, twice and after opaque",
            vec![
                gone("d"),
                gone("d"),
                opaque("d"),
                gone("d/f"),
                opaque("d"),
                gone("top"),
                gone("top"),
            ],
            0,
        )
        .check(|tree| assert!(!tree.contains_key(&b"d/f"[..]) && !tree.contains_key(&b"top"[..]))),
        row(
            "47 whiteout in a directory that is nowhere",
            vec![gone("no/such")],
            0,
        )
        .check(|tree| assert!(!tree.contains_key(&b"no"[..]))),
        row(
            "48 whiteout as directory",
            vec![dir(".wh.d"), file(".wh.d/child", "")],
            EINVAL,
        ),
        row(
            "48 whiteout as parent",
            vec![file(".wh.d/child", "")],
            EINVAL,
        ),
        row("48 whiteout as link", vec![symlink(".wh.d", "x")], EINVAL),
        row(
            "48 whiteout as device",
            vec![char_device(".wh.d", 1, 3)],
            EINVAL,
        ),
        row("48 whiteout as FIFO", vec![fifo(".wh.d")], EINVAL),
        row(
            "48 whiteout as hard link",
            vec![file("x", ""), hard(".wh.d", "x")],
            EINVAL,
        ),
        row(
            "49 metadata of aufs",
            vec![
                dir(".wh..wh.plnk"),
                file(".wh..wh.plnk/1.2", ""),
                file("d/.wh..wh.aufs", ""),
            ],
            0,
        )
        .check(|tree| {
            assert!(
                tree.keys()
                    .all(|path| !path.windows(4).any(|w| w == b".wh."))
            )
        }),
        row(
            "49 pseudo-links of aufs",
            vec![
                file(".wh..wh.plnk/1.2", "linked").mode(0o751),
                hard("d/one", ".wh..wh.plnk/1.2"),
                hard("two", ".wh..wh.plnk/1.2"),
                gone("d/one"),
                opaque(""),
            ],
            0,
        )
        .check(|tree| {
            assert_eq!(tree.len(), 4);
            assert_eq!(tree[&b"two"[..]].data, b"linked");
            assert_eq!(tree[&b"two"[..]].mode, 0o751);
            assert_eq!(tree[&b"two"[..]].leader, b"d/one");
        }),
        row(
            "49 a pseudo-link said again",
            vec![
                file(".wh..wh.plnk/1.2", "first"),
                hard("one", ".wh..wh.plnk/1.2"),
                file(".wh..wh.plnk/1.2", "second"),
                hard("two", ".wh..wh.plnk/1.2"),
            ],
            0,
        )
        .check(|tree| {
            assert_eq!(tree[&b"one"[..]].data, b"first");
            assert_eq!(tree[&b"two"[..]].data, b"second");
        }),
        row(
            "49 a pseudo-link to nothing",
            vec![dir(".wh..wh.plnk"), hard("one", ".wh..wh.plnk/1.2")],
            ENOENT,
        ),
        row(
            "49 pseudo-links elsewhere are none",
            vec![
                file("d/.wh..wh.plnk/1.2", ""),
                hard("one", "d/.wh..wh.plnk/1.2"),
            ],
            ENOENT,
        ),
        row(
            "49 pseudo-links that are no files",
            vec![
                symlink(".wh..wh.plnk/1.2", canary),
                hard("one", ".wh..wh.plnk/1.2"),
            ],
            ENOENT,
        ),
        row(
            "49 pseudo-links through a link",
            vec![
                file(".wh..wh.plnk/1.2", ""),
                symlink("s", ".wh..wh.plnk"),
                hard("one", "s/1.2"),
            ],
            ENOENT,
        ),
        row("50 whiteout of a long name", vec![gone(&long)], 0),
        row("51 forged whiteout", vec![char_device("top", 0, 0)], EPERM),
        row(
            "51 forged whiteout of a new name",
            vec![char_device("x", 0, 0)],
            EPERM,
        ),
    ]
}

/// All of `d` is new; applied to nothing there is the same.
fn only_new(tree: &crate::lab::Tree) {
    let below: Vec<_> = tree.keys().filter(|path| path.starts_with(b"d/")).collect();
    assert_eq!(below, [b"d/new"]);
}

#[test]
fn whiteouts_lead_nowhere_outside() {
    require!("root", "overlay", "tmpfs");
    run_on("tmpfs", &lower(), rows);
}

#[test]
fn whiteouts_lead_nowhere_outside_on_disks() {
    require!("root", "overlay", "ext4", "xfs");
    for kind in ["ext4", "xfs"] {
        run_on(kind, &lower(), rows);
    }
}

/// Rows 52 to 54: overlayfs's own attributes never come out of a tar, on any inode, under either
/// prefix, by either key.
#[test]
fn overlay_attributes_are_dropped_or_refused() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&lower()))
            .unwrap();
        for prefix in ["trusted", "user"] {
            for name in [
                "opaque",
                "redirect",
                "metacopy",
                "origin",
                "impure",
                "nlink",
                "uuid",
                "protattr",
                "upper",
                "whiteout",
                "overlay.opaque",
            ] {
                let name = format!("{prefix}.overlay.{name}");
                let layer = tar::bytes(&[
                    tar::dir("d").xattr(&name, b"y"),
                    file("n", "").xattr(&name, b"y"),
                ]);
                never_seen(&lab, &layer, 2, &name);
                // Row 55: the other key, its name percent-encoded.
                let hidden = name.replace("overlay", "over%6cay");
                let layer = [
                    with_pax(
                        b"d",
                        b'5',
                        &[(&format!("LIBARCHIVE.xattr.{hidden}"), b"eQ")],
                    ),
                    with_pax(b"n", b'0', &[(&format!("LIBARCHIVE.xattr.{name}"), b"eQ")]),
                    vec![0; 1024],
                ]
                .concat();
                never_seen(&lab, &layer, 2, &name);
            }
        }
    });
}

/// An entry after an extended header.
fn with_pax(name: &[u8], flag: u8, records: &[(&str, &[u8])]) -> Vec<u8> {
    let pax: Vec<u8> = records
        .iter()
        .flat_map(|(key, value)| record(key.as_bytes(), value))
        .collect();
    [
        block(b"meta", b'x', [0o644, 0, 0, pax.len() as u64], (0, 0)),
        padded(&pax),
        block(name, flag, [0o755, 0, 0, 0], (0, 0)),
    ]
    .concat()
}

fn never_seen(lab: &Lab, layer: &[u8], skipped: u64, name: &str) {
    for kind in [Kind::Root, Kind::Overlay] {
        let info = lab.apply("x", "base", kind, layer).unwrap();
        assert_eq!(info.skipped_xattrs, skipped, "{name}");
        let tree = lab.look("x");
        assert!(tree.contains_key(&b"d/f"[..]), "{name}");
        assert!(tree.values().all(|seen| seen.xattrs.is_empty()), "{name}");
        lab.remove("x");
        let strict = ApplyOptions {
            flags: ApplyFlags::STRICT,
            ..ApplyOptions::default()
        };
        let refused = lab.apply_with("x", "base", kind, layer, strict);
        assert_eq!(
            errno(refused),
            if skipped > 0 { EPERM } else { 0 },
            "{name}"
        );
        if skipped > 0 {
            lab.assert_nothing("x");
        } else {
            lab.remove("x");
        }
    }
}

/// Of row 49: what no link leads to is no part of the layer, and does not count.
#[test]
fn pseudo_links_count_once_or_not_at_all() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&lower()))
            .unwrap();
        let layer = tar::bytes(&[
            file(".wh..wh.plnk/1.2", "linked"),
            hard("one", ".wh..wh.plnk/1.2"),
            hard("two", ".wh..wh.plnk/1.2"),
            file(".wh..wh.plnk/3.4", "not linked"),
            file("plain", "plain"),
        ]);
        for kind in [Kind::Root, Kind::Overlay] {
            let info = lab.apply("x", "base", kind, &layer).unwrap();
            assert_eq!(info.size, 11, "{kind:?}");
            let mut left = std::fs::read_dir(lab.home.join("layer/x")).unwrap();
            assert!(left.all(|one| {
                !["copies", "files"].contains(&one.unwrap().file_name().to_str().unwrap())
            }));
            lab.remove("x");
        }
    });
}

/// Row 55: a global header says nothing of attributes, and a whiteout has none: neither is counted.
#[test]
fn row_55_attributes_of_what_has_none() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&lower()))
            .unwrap();
        let mark = record(b"SCHILY.xattr.trusted.overlay.opaque", b"y");
        let layer = [
            block(b"global", b'g', [0o644, 0, 0, mark.len() as u64], (0, 0)),
            padded(&mark),
            tar::bytes_of(&tar::dir("d")),
            with_pax(
                b"d/.wh.g",
                b'0',
                &[("SCHILY.xattr.trusted.overlay.opaque", b"y")],
            ),
            vec![0; 1024],
        ]
        .concat();
        never_seen(&lab, &layer, 0, "a global header");
        lab.apply("x", "base", Kind::Overlay, &layer).unwrap();
        assert!(!lab.look("x").contains_key(&b"d/g"[..]));
    });
}
