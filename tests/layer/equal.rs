//! Native equals naive: the cases that no other tool gets right, one by one.

use crate::lab::{Lab, assert_same_but_splits, assert_tree};
use crate::reference::{Links, Model};
use crate::support::fsys;
use crate::tar::{self, *};
use ovl::store::{Against, ApplyFlags, ApplyOptions, Kind};
use std::path::Path;

/// The layer that most cases lie on.
fn base() -> Vec<Entry> {
    vec![
        dir("").mtime(1, 1),
        dir("d")
            .mode(0o700)
            .owner(5, 6)
            .mtime(2, 2)
            .xattr("trusted.k", b"v"),
        file("d/f", "lower f").mode(0o4711),
        file("d/g", "lower g"),
        dir("d/e").mode(0o1777).mtime(3, 3),
        file("d/e/h", "lower h"),
        symlink("d/e/out", "/tmp"),
        dir("tmp").mode(0o1777).mtime(4, 4),
        dir("usr"),
        dir("usr/lib").mode(0o751).mtime(5, 5),
        file("usr/lib/so", "library"),
        symlink("lib", "usr/lib"),
        symlink("abs", "/usr/lib"),
        symlink("up", "../../usr/lib"),
        symlink("hop", "lib"),
        symlink("dead", "usr/none/deeper"),
        file("x", "lower x"),
        hard("y", "x"),
        fifo("p"),
        char_device("null", 1, 3),
    ]
}

type Case = (&'static str, Vec<Vec<Entry>>);

fn case(name: &'static str, layer: Vec<Entry>) -> Case {
    (name, vec![layer])
}

/// Cases with one layer over [`base`], or several.
fn cases() -> Vec<Case> {
    let mut all = vec![
        case(
            "a: a file, then its whiteout",
            vec![file("x", "new"), gone("x")],
        ),
        case(
            "a: a whiteout, then the file",
            vec![gone("x"), file("x", "new")],
        ),
        case(
            "a: a whiteout twice",
            vec![gone("x"), gone("x"), gone("d"), gone("d")],
        ),
        case("a: new file and whiteout", vec![file("n", ""), gone("n")]),
        case(
            "b: whiteout, directory, child",
            vec![gone("d"), dir("d"), file("d/n", "n")],
        ),
        case("b: whiteout, child", vec![gone("d"), file("d/n", "n")]),
        case(
            "b: children, directory, whiteout",
            vec![file("d/n", "n"), dir("d"), gone("d")],
        ),
        case("b: child, whiteout", vec![file("d/e/n", "n"), gone("d")]),
        case(
            "b: child, whiteout, whiteout of a child",
            vec![file("d/n", "n"), gone("d"), gone("d/f")],
        ),
        case(
            "b: whiteout of a child, then of it",
            vec![gone("d/e/h"), gone("d")],
        ),
        case("c: opaque root first", vec![opaque(""), file("d/n", "n")]),
        case(
            "c: opaque root last",
            vec![file("d/n", "n"), dir("tmp"), hard("z", "x"), opaque("")],
        ),
        case("c: opaque root alone", vec![opaque("")]),
        case(
            "c: opaque root, links",
            vec![file("lib/n", "n"), opaque(""), file("lib/m", "m")],
        ),
        case(
            "d: implied parents keep attributes",
            vec![file("tmp/n", "n"), file("d/e/n", "n")],
        ),
        case(
            "d: implied parents that are new",
            vec![file("q/r/s/t", "t"), file("d/q/r", "r")],
        ),
        case(
            "e: below a link",
            vec![file("lib/n", "n"), dir("lib/sub"), file("lib/sub/m", "")],
        ),
        case(
            "e: below an absolute link",
            vec![file("abs/n", "n"), gone("abs/so")],
        ),
        case("e: below a link above the root", vec![file("up/n", "n")]),
        case("e: below a dead link", vec![file("dead/n", "n")]),
        case(
            "e: below two links",
            vec![
                file("hop/n", "n"),
                symlink("lib", "tmp"),
                file("hop/m", "m"),
            ],
        ),
        case(
            "e: a link goes meanwhile",
            vec![file("lib/n", ""), gone("lib"), file("lib/m", "")],
        ),
        case(
            "e: a link becomes a directory",
            vec![file("lib/n", ""), dir("lib"), file("lib/m", "")],
        ),
        case(
            "e: a chain's link goes",
            vec![file("hop/n", ""), gone("lib"), file("hop/m", "")],
        ),
        case(
            "e: through a directory and out again",
            vec![symlink("s", "new/../d"), file("s/n", "n"), gone("new")],
        ),
        case(
            "e: through a directory and out again, marks first",
            vec![opaque(""), symlink("s", "d/new/../../t"), file("s/n", "n")],
        ),
        case(
            "e: through a directory and out again, marks last",
            vec![symlink("s", "d/new/../../t"), file("s/n", "n"), opaque("")],
        ),
        case(
            "e: through a lower directory and out again, its whiteout first",
            vec![gone("d/e"), symlink("s", "d/e/../../t"), file("s/n", "n")],
        ),
        case(
            "e: through a lower directory and out again, its whiteout last",
            vec![symlink("s", "d/e/../../t"), file("s/n", "n"), gone("d/e")],
        ),
        case(
            "e: out of a lower directory to the root, all hidden last",
            vec![file("d/e/out/n", "n"), opaque("")],
        ),
        case(
            "e: out of a lower directory to the root, its whiteout last",
            vec![file("d/e/out/n", "n"), gone("d/e")],
        ),
        case(
            "e: out of a lower directory to the root, a mark before it",
            vec![gone("d/e/out/x"), file("d/e/out/n", "n"), opaque("")],
        ),
        case(
            "e: what it led through is replaced",
            vec![
                symlink("s", "new/../d"),
                file("s/n", "n"),
                symlink("new", "usr/lib"),
                file("s/m", "m"),
            ],
        ),
        case(
            "e: opaque through a link",
            vec![file("lib/n", "n"), opaque("lib")],
        ),
        case(
            "f: a link to a lower file",
            vec![hard("z", "x"), hard("d/z", "d/f")],
        ),
        case(
            "f: and the file again",
            vec![hard("z", "x"), file("x", "12"), file("z", "345")],
        ),
        case("f: and its whiteout", vec![hard("z", "x"), gone("x")]),
        case("f: through a link", vec![hard("z", "lib/so"), gone("usr")]),
        case(
            "e: an entry takes the place of a link on its own way",
            vec![symlink("d/b", "."), file("d/b/b", "b")],
        ),
        case(
            "f: to a lower symlink, fifo, device",
            vec![hard("1", "lib"), hard("2", "p"), hard("3", "null")],
        ),
        case(
            "f: in a directory that goes",
            vec![hard("z", "d/f"), gone("d")],
        ),
        case(
            "f: in a directory made opaque",
            vec![hard("d/z", "d/f"), opaque("d")],
        ),
        case(
            "f: link back, then whiteout",
            vec![hard("z", "x"), hard("x", "z"), gone("x")],
        ),
        case("f: one of two names", vec![hard("z", "x"), gone("y")]),
        case(
            "f: both names, and the whiteout of the first",
            vec![hard("z", "x"), hard("w", "y"), gone("x")],
        ),
        case(
            "f: all names of it go",
            vec![hard("z", "x"), hard("w", "y"), gone("x"), gone("y")],
        ),
        case("g: opaque in a directory not listed", vec![opaque("d")]),
        case(
            "g: opaque, then the whiteout of the directory",
            vec![opaque("d"), gone("d"), gone("d")],
        ),
        case(
            "g: opaque inside, then whiteouts outwards",
            vec![opaque("d/e"), gone("d/e"), opaque("d"), gone("d")],
        ),
        case(
            "g: opaque, whiteout, and the directory again",
            vec![
                opaque("d"),
                gone("d"),
                file("d/e/n", "n"),
                gone("d/e"),
                gone("d"),
            ],
        ),
        case(
            "g: opaque, child, before and after",
            vec![file("d/n", "n"), opaque("d"), file("d/m", "m")],
        ),
        case(
            "g: opaque of a file, of nothing",
            vec![opaque("x"), opaque("none/none")],
        ),
        case(
            "g: opaque and implied below",
            vec![file("d/e/n", "n"), opaque("d")],
        ),
        case(
            "g: whiteout in it, then opaque",
            vec![gone("d/e/h"), opaque("d")],
        ),
        case(
            "h: a whiteout where nothing is",
            vec![gone("none/x"), gone("nothing"), gone("d/none")],
        ),
        case(
            "nested whiteouts",
            vec![gone("d"), gone("d/f"), gone("d/e/h")],
        ),
        case(
            "nested whiteouts, inner first",
            vec![gone("d/e/h"), gone("d/f"), gone("d")],
        ),
        case(
            "whiteout below a file of the tar",
            vec![file("d", "now a file"), gone("d/f")],
        ),
        case("whiteout below a lower file", vec![gone("x/y")]),
        case(
            "whiteout of a link, not its target",
            vec![gone("lib"), gone("dead")],
        ),
        case(
            "aufs's own",
            vec![
                dir(".wh..wh.plnk"),
                file(".wh..wh.plnk/1.2", ""),
                file(".wh..wh.aufs", ""),
            ],
        ),
        case(
            "dir, file, dir",
            vec![dir("d"), file("d", "f"), dir("d"), file("d/n", "n")],
        ),
        case(
            "dir after its children",
            vec![file("n/a", "a"), dir("n").mode(0o711).mtime(9, 9)],
        ),
        case(
            "a link to a file that is replaced",
            vec![file("o", "1"), hard("h", "o"), file("o", "2")],
        ),
        case(
            "the same link twice",
            vec![symlink("s/l", "a"), symlink("s/l", "b"), file("s/n", "")],
        ),
        case(
            "a name beginning alike",
            vec![file("d-b/x", ""), gone("d"), file("d.c", "")],
        ),
        case(
            "the root's attributes",
            vec![dir("./").mode(0o710).owner(7, 8).mtime(9, 9)],
        ),
        case(
            "dots and slashes",
            vec![file("./d/./n", "n"), file("/d//m", "m"), gone("/./d/f")],
        ),
        (
            "three layers",
            vec![
                vec![gone("d/f"), file("d/n", "n"), opaque("tmp")],
                vec![gone("d"), file("tmp/t", "t")],
                vec![file("d/z", "z"), gone("tmp/t"), gone("x"), gone("y")],
            ],
        ),
        (
            "opaque within the chain",
            vec![
                vec![opaque("d"), file("d/1", "1"), file("d/e/1", "1")],
                vec![file("d/e/2", "2"), opaque("d/e")],
                vec![file("d/e/3", "3"), gone("d/1"), hard("d/e/4", "d/e/2")],
            ],
        ),
    ];
    let deep = ["q"; 60].join("/");
    all.push((
        "deep",
        vec![
            vec![
                file(&format!("{deep}/f"), "f"),
                file(&format!("{deep}/g"), "g"),
            ],
            vec![gone(&format!("{deep}/f")), dir(&deep[..41]).mode(0o700)],
            vec![opaque(&deep[..21]), file(&format!("{deep}/h"), "h")],
        ],
    ));
    all
}

/// Every type over every type: in one tar, over a lower layer, with a whiteout between.
fn types() -> Vec<Case> {
    let make: [fn() -> Vec<Entry>; 6] = [
        || vec![dir("t").mode(0o710), file("t/child", "c")],
        || vec![file("t", "content")],
        || vec![symlink("t", "d")],
        || vec![fifo("t")],
        || vec![char_device("t", 1, 5)],
        || vec![hard("t", "x")],
    ];
    let mut all = Vec::new();
    for a in make {
        for b in make {
            let same = std::ptr::fn_addr_eq(a, b) && a()[0].what == hard("", "x").what;
            let hidden = if same { vec![] } else { vec![gone("t")] };
            all.push(("types in one tar", vec![[a(), b()].concat()]));
            all.push(("types over layers", vec![a(), b()]));
            all.push(("types, hidden", vec![a(), [hidden.clone(), b()].concat()]));
            all.push(("types, hidden after", vec![a(), [b(), hidden].concat()]));
        }
    }
    all
}

fn run(dir: &Path, cases: &[Case]) {
    let lab = Lab::new(dir);
    let base = base();
    lab.apply("base", "", Kind::Root, &tar::bytes(&base))
        .unwrap();
    for (name, layers) in cases {
        for (kind, flags) in [
            (Kind::Overlay, ApplyFlags::empty()),
            (Kind::Root, ApplyFlags::empty()),
            (Kind::Root, ApplyFlags::WRITABLE),
        ] {
            let links = if kind == Kind::Root {
                Links::Share
            } else {
                Links::CopyUp
            };
            let mut model = Model::empty().apply(&base, links).unwrap();
            let mut made = vec!["base".to_string()];
            for (at, layer) in layers.iter().enumerate() {
                let before = model.tree();
                model = model
                    .apply(layer, links)
                    .unwrap_or_else(|bad| panic!("{name}: {bad}"));
                let id = format!("l{at}");
                let what = format!("{name} [{at}] {kind:?} {flags:?}");
                let options = ApplyOptions {
                    flags,
                    ..ApplyOptions::default()
                };
                let parent = made.last().unwrap();
                lab.apply_with(&id, parent, kind, &tar::bytes(layer), options)
                    .unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_tree(&what, &lab.look(&id), &model.tree());
                if flags.contains(ApplyFlags::WRITABLE) {
                    lab.commit(&id);
                }
                let diff = lab.diff(&id, Against::Parent);
                lab.apply("again", parent, kind, &diff).unwrap();
                let again = lab.look("again");
                let what = format!("{what}, its diff");
                assert_same_but_splits(&what, &again, &model.tree(), &before);
                lab.remove("again");
                made.push(id);
            }
            made.iter().skip(1).rev().for_each(|id| lab.remove(id));
        }
    }
    assert_tree(
        "the base",
        &lab.look("base"),
        &Model::empty().apply(&base, Links::Share).unwrap().tree(),
    );
}

#[test]
fn listed_cases_mean_the_same_in_both_kinds() {
    require!("root", "overlay");
    fsys::each(&["ext4", "tmpfs", "xfs", "btrfs"], |kind, dir| {
        let all = cases();
        let some = if matches!(kind, "ext4" | "tmpfs") {
            &all[..]
        } else {
            &all[..12]
        };
        run(dir, some);
    });
}

#[test]
fn every_type_over_every_type() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| run(dir, &types()));
}

/// Marks at the bottom of a chain would be seen as devices when the layer is used bare.
#[test]
fn a_bottom_layer_holds_no_marks() {
    require!("root", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        let layer = [
            gone("x"),
            file("d/n", ""),
            opaque("d"),
            gone("d/y"),
            opaque(""),
        ];
        lab.apply("one", "", Kind::Root, &tar::bytes(&layer))
            .unwrap();
        let tree = lab.look("one");
        let names: Vec<String> = tree.keys().map(|p| p.escape_ascii().to_string()).collect();
        assert_eq!(names, ["", "d", "d/n"]);
        assert!(tree.values().all(|seen| seen.xattrs.is_empty()));
    });
}

/// An upper holds marks only where they hide something.
#[test]
fn an_upper_holds_no_idle_marks() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&base()))
            .unwrap();
        let layer = [
            gone("none"),
            gone("tmp/none"),
            opaque("usr/none"),
            gone("x"),
            gone("d/f"),
            opaque("d"),
        ];
        lab.apply("one", "base", Kind::Overlay, &tar::bytes(&layer))
            .unwrap();
        let upper = crate::lab::look(&lab.home.join("layer/one/upper"));
        let marks: Vec<&[u8]> = upper
            .iter()
            .filter(|(_, s)| s.kind == 'c')
            .map(|(p, _)| &p[..])
            .collect();
        assert_eq!(marks, [b"x"]);
        assert_eq!(
            upper[&b"d"[..]].xattrs[&b"trusted.overlay.opaque"[..]],
            b"y"
        );
    });
}
