//! Archives that want out, or in where they have no business: a canary beside the store stays as
//! it is, the errno is the promised one, and a refused layer leaves nothing.

use crate::lab::Lab;
use crate::support::fsys;
use crate::support::tree::Snapshot;
use crate::tar::{self, *};
use ovl::store::*;
use std::os::unix::fs::symlink as link_to;
use std::path::Path;

/// Something outside that nobody may touch.
pub struct Canary<'a> {
    dir: &'a Path,
    before: Snapshot,
}

impl<'a> Canary<'a> {
    pub fn new(dir: &'a Path) -> Canary<'a> {
        let at = dir.join("canary");
        std::fs::create_dir_all(at.join("sub")).unwrap();
        std::fs::write(at.join("victim"), "secret").unwrap();
        std::fs::write(at.join("sub/inner"), "secret").unwrap();
        link_to("victim", at.join("link")).unwrap();
        let before = Snapshot::of(&at);
        Canary { dir, before }
    }
    pub fn path(&self) -> String {
        self.dir.join("canary").to_str().unwrap().to_string()
    }
    #[track_caller]
    pub fn assert(&self, what: &str) {
        let now = Snapshot::of(&self.dir.join("canary"));
        let same = |a: &Snapshot, b: &Snapshot| {
            a.0.iter().all(|(path, node)| {
                // Only our own look touched access times.
                let mut node = node.clone();
                b.0.get(path).is_some_and(|other| {
                    node.atime = other.atime;
                    node == *other
                })
            })
        };
        assert!(
            same(&now, &self.before) && same(&self.before, &now),
            "{what}"
        );
    }
}

/// The errno of an error, or 0.
pub fn errno(result: ovl::error::Result<LayerInfo>) -> i32 {
    result.map_or_else(|e| e.errno().raw_os_error(), |_| 0)
}

/// Rows of attacks: the layer, and the errno that answers it, 0 when it is taken.
fn rows(canary: &str) -> Vec<(&'static str, Vec<Entry>, i32)> {
    use libc::{EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM};
    let out = |path: &str| format!("{canary}/{path}");
    let up = "../".repeat(20);
    let long = "n".repeat(255);
    let chain: Vec<Entry> = (0..300)
        .map(|n| symlink(&format!("c{n}"), &format!("c{}", n + 1)))
        .collect();
    let mut blow: Vec<Entry> = vec![dir("e"), symlink("e/0", ".")];
    blow.extend((1..24).map(|n| symlink(&format!("e/{n}"), &format!("{0}/../e/{0}", n - 1))));
    blow.push(file("e/23/x", ""));
    let mut deep = vec![];
    let mut path = String::new();
    for n in 0..1100 {
        path += if n == 0 { "deep" } else { "/deep" };
        deep.push(dir(&path));
    }
    deep.push(file(&format!("{path}/f"), "bottom"));
    let with = |mut list: Vec<Entry>, last: Entry| {
        list.push(last);
        list
    };
    vec![
        ("1 absolute name", vec![file("/etc/x", "x")], 0),
        ("2 .. at start", vec![file("../x", "x")], EINVAL),
        ("2 many ..", vec![file(&format!("{up}x"), "x")], EINVAL),
        ("3 .. inside", vec![file("a/../../x", "x")], EINVAL),
        (
            "3 .. that stays",
            vec![dir("a"), file("a/../b", "x")],
            EINVAL,
        ),
        (
            "4 directory ..",
            vec![dir("..").mode(0o777).owner(9, 9)],
            EINVAL,
        ),
        ("5 the root", vec![dir("./").mode(0o711)], 0),
        ("6 root as link", vec![symlink("./", canary)], EINVAL),
        ("6 root as file", vec![file(".", "x")], EINVAL),
        ("6 root as device", vec![char_device("/", 1, 3)], EINVAL),
        (
            "6 root as hard link",
            vec![file("a", ""), hard(".", "a")],
            EINVAL,
        ),
        (
            "7 absolute link",
            vec![
                symlink("l", canary),
                file("l/x", "x"),
                file("l/victim", "x"),
            ],
            0,
        ),
        (
            "8 proc",
            vec![
                symlink("l", "/proc/self/root"),
                file("l/x", "x"),
                symlink("m", "/proc/self/fd/3"),
                file("m/x", "x"),
            ],
            0,
        ),
        (
            "8 relative",
            vec![
                symlink("l", &format!("{up}{}", &canary[1..])),
                file("l/x", "x"),
            ],
            0,
        ),
        (
            "9 links to links",
            vec![
                symlink("a", "b"),
                symlink("b", "c/d"),
                symlink("c/d", canary),
                file("a/x", ""),
            ],
            0,
        ),
        (
            "12 loop",
            vec![symlink("a", "b"), symlink("b", "a"), file("a/x", "")],
            ELOOP,
        ),
        ("12 chain", with(chain, file("c0/x", "")), ELOOP),
        ("12 expansion", blow, ELOOP),
        (
            "13 link, then file",
            vec![symlink("l", &out("victim")), file("l", "new").mode(0o4777)],
            0,
        ),
        (
            "14 link, then directory",
            vec![symlink("l", canary), dir("l").mode(0o777), file("l/x", "")],
            0,
        ),
        (
            "15 directory, then link",
            vec![
                dir("d"),
                file("d/f", ""),
                symlink("d", canary),
                file("d/x", ""),
            ],
            0,
        ),
        (
            "16 times after a swap",
            vec![dir("d"), dir("d/sub").mode(0o777), symlink("d", canary)],
            0,
        ),
        (
            "17 attributes of a link",
            vec![
                symlink("l", &out("victim"))
                    .mode(0o4777)
                    .owner(9, 9)
                    .xattr("trusted.t", b"v"),
            ],
            0,
        ),
        ("18 hard link out", vec![hard("h", &out("victim"))], ENOENT),
        (
            "18 hard link up",
            vec![hard("h", &format!("{up}{}", &out("victim")[1..]))],
            EINVAL,
        ),
        (
            "19 and write",
            vec![hard("h", &out("victim")), file("h", "x")],
            ENOENT,
        ),
        (
            "20 hard link through a link",
            vec![symlink("s", canary), hard("h", "s/victim")],
            ENOENT,
        ),
        (
            "21 hard link to a link",
            vec![symlink("s", &out("victim")), hard("h", "s")],
            0,
        ),
        (
            "23 target replaced",
            vec![file("o", "1"), hard("h", "o"), file("o", "2")],
            0,
        ),
        (
            "24 a later target",
            vec![hard("h", "o"), file("o", "1")],
            ENOENT,
        ),
        ("25 to itself", vec![file("a", ""), hard("a", "a")], EINVAL),
        ("25 to a directory", vec![dir("d"), hard("h", "d")], EPERM),
        ("25 to the root", vec![hard("h", ".")], EINVAL),
        (
            "26 absolute inside",
            vec![file("a", "a"), hard("h", "/a")],
            0,
        ),
        (
            "27 missing parents",
            vec![file("a", "a"), hard("x/y/h", "a")],
            0,
        ),
        (
            "31 a file as parent",
            vec![file("a", "a"), file("a/b", "b")],
            ENOTDIR,
        ),
        (
            "32 fifo, then file",
            vec![
                fifo("p"),
                file("p", "x"),
                char_device("c", 1, 3),
                file("c", "x"),
            ],
            0,
        ),
        ("35 whiteout of nothing", vec![file(".wh.", "")], EINVAL),
        ("36 whiteout of .", vec![file("d/.wh..", "")], EINVAL),
        ("37 whiteout of ..", vec![file("d/sub/.wh...", "")], EINVAL),
        ("38 whiteout above", vec![file("../.wh.x", "")], EINVAL),
        (
            "39 whiteout through a link",
            vec![symlink("s", canary), gone("s/victim")],
            0,
        ),
        (
            "40 opaque through a link",
            vec![symlink("s", canary), opaque("s")],
            0,
        ),
        (
            "48 whiteout as directory",
            vec![dir(".wh.d"), file(".wh.d/child", "")],
            EINVAL,
        ),
        (
            "48 whiteout as parent",
            vec![file(".wh.d/child", "")],
            EINVAL,
        ),
        ("48 whiteout as link", vec![symlink(".wh.d", "x")], EINVAL),
        (
            "48 whiteout as hard link",
            vec![file("x", ""), hard(".wh.d", "x")],
            EINVAL,
        ),
        ("50 whiteout of a long name", vec![gone(&long)], 0),
        ("51 forged whiteout", vec![char_device("x", 0, 0)], EPERM),
        (
            "61 device number",
            vec![char_device("x", 1 << 20, 0)],
            EINVAL,
        ),
        (
            "65 owner -1",
            vec![file("x", "").owner(u32::MAX, 0)],
            EINVAL,
        ),
        (
            "68 names of any bytes",
            vec![Entry::new(
                b"-\n\xff\\\x01".as_slice(),
                What::File(b"x".to_vec()),
            )],
            0,
        ),
        ("69 255 bytes", vec![file(&long, "")], 0),
        (
            "69 256 bytes",
            vec![file(&format!("{long}n"), "")],
            ENAMETOOLONG,
        ),
        ("70 deep", deep, 0),
        (
            "71 many dots",
            vec![file(&format!("{}x", "./".repeat(10_000)), "")],
            0,
        ),
    ]
}

fn run(dir: &Path, lower: &[Entry], rows: impl Fn(&str) -> Vec<(&'static str, Vec<Entry>, i32)>) {
    let canary = Canary::new(dir);
    let lab = Lab::new(dir);
    lab.apply("base", "", Kind::Root, &tar::bytes(lower))
        .unwrap();
    for (what, layer, wanted) in rows(&canary.path()) {
        for (kind, parent) in [
            (Kind::Root, ""),
            (Kind::Root, "base"),
            (Kind::Overlay, "base"),
        ] {
            let what = format!("{what}, {kind:?} over {parent:?}");
            let got = lab.apply("evil", parent, kind, &tar::bytes(&layer));
            if let Err(error) = &got {
                assert!(error.operation() == "apply", "{what}: {error}");
            }
            assert_eq!(errno(got), wanted, "{what}");
            canary.assert(&what);
            if wanted == 0 {
                let diff = lab.diff("evil", Against::Parent);
                assert!(!diff.is_empty());
                canary.assert(&format!("{what}, diff"));
                lab.remove("evil");
                canary.assert(&format!("{what}, remove"));
            } else {
                lab.assert_nothing("evil");
            }
        }
    }
}

#[test]
fn nothing_outside_is_touched() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        run(dir, &[tar::dir("d")], rows);
    });
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
        ];
        run(dir, &base, |_| {
            vec![
                (
                    "10 through",
                    vec![file("s/x", "x"), file("s/victim", "x")],
                    0,
                ),
                ("39 whiteout", vec![gone("s/victim"), gone("f")], 0),
                (
                    "40 opaque",
                    vec![opaque("s"), tar::dir("s/sub").mode(0o777)],
                    0,
                ),
                (
                    "13 over",
                    vec![file("f", "x").mode(0o4777), tar::dir("s").mode(0o777)],
                    0,
                ),
                ("37 hidden root", vec![file(".wh...", "")], libc::EINVAL),
            ]
        });
    });
}

/// overlayfs's own attributes never come out of a tar, on any inode, under either prefix.
#[test]
fn overlay_attributes_are_dropped_or_refused() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply(
            "base",
            "",
            Kind::Root,
            &tar::bytes(&[tar::dir("d"), file("d/f", "f")]),
        )
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
                let layer = [
                    tar::dir("d").xattr(&name, b"y"),
                    file("n", "").xattr(&name, b"y"),
                ];
                for kind in [Kind::Root, Kind::Overlay] {
                    let info = lab.apply("x", "base", kind, &tar::bytes(&layer)).unwrap();
                    assert_eq!(info.skipped_xattrs, 2, "{name}");
                    let tree = lab.look("x");
                    assert!(tree.contains_key(&b"d/f"[..]), "{name}");
                    assert!(tree.values().all(|seen| seen.xattrs.is_empty()), "{name}");
                    lab.remove("x");
                    let strict = ApplyOptions {
                        flags: ApplyFlags::STRICT,
                        ..ApplyOptions::default()
                    };
                    let refused = lab.apply_with("x", "base", kind, &tar::bytes(&layer), strict);
                    assert_eq!(errno(refused), libc::EPERM, "{name}");
                    lab.assert_nothing("x");
                }
            }
        }
    });
}
