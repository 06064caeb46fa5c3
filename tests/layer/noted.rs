//! What an apply knows of the files that it made it does not ask for: its manifest says what the disk
//! says all the same.

use crate::lab::Lab;
use crate::support::fsys;
use crate::tar::*;
use ovl::store::Kind;

const CAPABILITY: &[u8] = crate::random::CAPABILITY;

/// One of each sort is asked for, for the sake of all others: these are met first.
fn asked() -> Vec<Entry> {
    let first = |name, mode, nsec| file(name, "first").mode(mode).mtime(5, nsec);
    vec![
        first("0", 0o644, 0),
        first("00", 0o644, 5),
        first("000", 0o600, 0),
    ]
}

/// The first of a sort is asked for, the second is believed.
fn two_of(sort: impl std::fmt::Display, file: impl Fn(&str) -> Entry) -> [Entry; 2] {
    ["first", "then"].map(|name| file(&format!("{sort}-{name}")))
}

/// Files of all kinds, and whatever becomes of them later in the tar.
fn turns() -> Vec<(&'static str, Vec<Entry>)> {
    let three = || ["d/a", "d/b", "d/c"].map(|path| file(path, path));
    let with = |more: &[Entry]| {
        let mut all = asked();
        all.push(dir("d").mtime(7, 7));
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
                .flat_map(|mode| two_of(mode, |path| file(path, "m").mode(mode)))
                .collect(),
        ),
        (
            "owners, more than are told apart",
            (0..40)
                .flat_map(|n| two_of(n, |path| file(path, "o").owner(n, 40 - n)))
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
            .flat_map(|(at, (sec, nsec))| two_of(at, |path| file(path, "t").mtime(*sec, *nsec)))
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
        ("an empty one", with(&[file("d/empty", "")])),
        (
            "what aufs kept, in its place",
            with(&[
                file(".wh..wh.plnk/1.2", "by aufs"),
                hard("d/b", ".wh..wh.plnk/1.2"),
                hard("d/y", ".wh..wh.plnk/1.2"),
                file("d/y", "again"),
            ]),
        ),
        (
            "a link to what is below, and a file in its place",
            with(&[hard("d/y", "e"), file("e", "new"), hard("d/z", "e")]),
        ),
        (
            "what came from below is taken away",
            with(&[hard("d/y", "e"), gone("e"), file("e", "new")]),
        ),
        (
            "a directory without an entry goes, and comes",
            vec![
                file("i/j/b", "x"),
                opaque("i"),
                gone("i"),
                file("i", "f"),
                file("j", "j"),
                dir("i"),
                hard("i/j", "j"),
            ],
        ),
        (
            "its directory becomes a link to one with the same names",
            with(&[
                dir("q"),
                file("q/b", "other"),
                file("q/c", ""),
                symlink("d", "q"),
                file("d/c", "by the link"),
            ]),
        ),
        ("long directories, with others in between", long()),
    ]
}

/// Directories of more names than are looked at together; every seventh has another name, every
/// eleventh comes again.
fn long() -> Vec<Entry> {
    let mut all = asked();
    for n in 0..300_u32 {
        all.push(file(&format!("l/{n}"), &"l".repeat(n as usize)).mtime(5, n % 2 * 5));
        if n % 13 == 0 {
            all.push(file(&format!("l/{n}-more/{n}"), "x"));
        }
        if n % 7 == 0 {
            all.push(hard(&format!("m/{n}"), &format!("l/{n}")));
        }
    }
    all.extend(
        (0..300)
            .step_by(11)
            .map(|n| file(&format!("l/{n}"), "again")),
    );
    all
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
                if parent.is_empty() && what.contains("below") {
                    continue;
                }
                println!("{name}: {what}, {kind:?} over {parent:?}");
                lab.apply("x", parent, kind, &bytes(&entries)).unwrap();
                lab.assert_sound();
                lab.remove("x");
            }
        }
    });
}

/// An ext4 whose inodes have no room for more than seconds keeps no fractions of them; an xfs with
/// times of 32 bits none of its last second.
#[test]
fn fractions_that_are_not_kept() {
    require!("root", "overlay", "ext4", "xfs");
    for (kind, options) in [("ext4", ["-I", "128"]), ("xfs", ["-m", "bigtime=0"])] {
        fsys::with_mounts(|base| {
            let scratch = fsys::make_with(kind, base, &options).unwrap();
            let lab = Lab::new(&scratch);
            let last = (1 << 31) - 1;
            let mut entries = asked();
            for n in 0..300 {
                entries.push(file(&format!("a/{n}"), "whole").mtime(n, 0));
                entries.push(file(&format!("p{}/{n}", n % 7), "part").mtime(n, 1 + n as u32));
            }
            entries.push(file("last", "").mtime(last, 5));
            lab.apply("x", "", Kind::Root, &bytes(&entries)).unwrap();
            lab.assert_sound();
        });
    }
}
