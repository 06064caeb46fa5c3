//! What an apply knows of the files that it made it does not ask for: its manifest says what the disk
//! says all the same.

use crate::lab::Lab;
use crate::support::fsys;
use crate::tar::*;
use ovl::store::Kind;

const CAPABILITY: &[u8] = crate::random::CAPABILITY;

/// Files of all kinds, and whatever becomes of them later in the tar.
fn turns() -> Vec<(&'static str, Vec<Entry>)> {
    let three = || ["d/a", "d/b", "d/c"].map(|path| file(path, path));
    let with = |more: &[Entry]| {
        // The first that is met is asked for, for the sake of all.
        let mut all = vec![file("0", "0"), dir("d").mtime(7, 7)];
        all.extend(three());
        all.extend_from_slice(more);
        all
    };
    vec![
        ("plain", with(&[])),
        (
            "again",
            with(&[file("d/b", "longer than before").mode(0o600).mtime(9, 0)]),
        ),
        ("a link to it", with(&[hard("d/z", "d/b")])),
        (
            "a link to it by another way",
            with(&[symlink("s", "d"), hard("y", "s/b"), hard("x", "y")]),
        ),
        (
            "a link to it, and it again",
            with(&[hard("d/z", "d/b"), file("d/b", "new")]),
        ),
        ("a link in its place", with(&[hard("d/b", "d/c")])),
        (
            "a link in its place, and again",
            with(&[hard("d/b", "d/c"), file("d/b", "n"), file("d/c", "")]),
        ),
        ("a symbolic link", with(&[symlink("d/b", "c")])),
        ("a device", with(&[fifo("d/b"), file("d/b", "and back")])),
        ("a directory", with(&[dir("d/b"), file("d/b/in", "x")])),
        (
            "a directory, and back",
            with(&[dir("d/b"), file("d/b/in", "x"), file("d/b", "back")]),
        ),
        (
            "its directory goes, and a link comes",
            with(&[
                file("d", "file"),
                dir("d"),
                file("k", "k"),
                hard("d/b", "k"),
            ]),
        ),
        (
            "its directory goes",
            with(&[file("d", "file"), dir("d"), file("d/b", "new and longer")]),
        ),
        (
            "gone, which means what is below",
            with(&[gone("d/b"), opaque("d")]),
        ),
        (
            "through a link",
            with(&[
                symlink("s", "d"),
                file("s/b", "by the link"),
                file("s/e", "e"),
                dir("s/f"),
                file("s/f/g", ""),
            ]),
        ),
        (
            "modes",
            (0..=0o7777)
                .step_by(0o111)
                .map(|mode| file(&format!("{mode}"), "m").mode(mode))
                .collect(),
        ),
        (
            "owners, more than are told apart",
            (0..40)
                .map(|n| file(&format!("{n}"), "o").owner(n, 40 - n))
                .collect(),
        ),
        (
            "times",
            [
                (0, 0),
                (-1, 0),
                (-1, 999_999_999),
                (1, 1),
                (1 << 31, 0),
                ((1 << 31) - 1, 5),
                (1 << 33, 3),
                (5, 0),
            ]
            .iter()
            .enumerate()
            .map(|(at, (sec, nsec))| file(&format!("{at}"), "t").mtime(*sec, *nsec))
            .collect(),
        ),
        (
            "attributes",
            with(&[
                file("d/cap", "x").xattr("security.capability", CAPABILITY),
                file("d/user", "x").xattr("user.note", b"y"),
                file("d/cap", "none any more"),
                file("d/c", "one more").xattr("user.note", b"z"),
            ]),
        ),
        (
            "an empty one",
            with(&[file("", "").mode(0), file("d/empty", "")][1..]),
        ),
    ]
}

#[test]
fn a_manifest_says_what_the_disk_says() {
    require!("root", "overlay");
    fsys::each(&fsys::KINDS, |name, scratch| {
        let lab = Lab::new(scratch);
        let below = [
            dir("d"),
            file("d/b", "below"),
            file("d/below", "b"),
            file("e", "e"),
        ];
        lab.apply("base", "", Kind::Root, &bytes(&below)).unwrap();
        for (what, entries) in turns() {
            for (parent, kind) in [
                ("", Kind::Root),
                ("base", Kind::Root),
                ("base", Kind::Overlay),
            ] {
                println!("{name}: {what}, {kind:?} over {parent:?}");
                lab.apply("x", parent, kind, &bytes(&entries)).unwrap();
                lab.assert_sound();
                lab.remove("x");
            }
        }
    });
}

/// An ext4 whose inodes have no room for more than seconds keeps no fractions of them.
#[test]
fn fractions_that_are_not_kept() {
    require!("root", "overlay", "ext4");
    fsys::with_mounts(|base| {
        let scratch = fsys::make_with("ext4", base, &["-I", "128"]).unwrap();
        let lab = Lab::new(&scratch);
        let whole = (0..300).map(|n| file(&format!("a/{n}"), "w").mtime(n, 0));
        let parts = (0..300).map(|n| file(&format!("{}/{n}", n % 7), "p").mtime(n, 1 + n as u32));
        let entries: Vec<Entry> = whole.chain(parts).collect();
        lab.apply("x", "", Kind::Root, &bytes(&entries)).unwrap();
        lab.assert_sound();
    });
}
