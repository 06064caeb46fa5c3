//! What a tar becomes: whiteouts, implied directories, names, links, attributes. Each in both kinds.

use crate::api::*;
use crate::support::torture;
use crate::support::tree::{Compare, Snapshot};
use crate::tar::{self, Tar};
use crate::world::*;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const KINDS: [Kind; 2] = [Kind::Overlay, Kind::Root];

/// What is in a tree, a line each: directories with a slash, files with their content, links with
/// their targets, other names of an inode with its first.
pub fn listing(path: &Path) -> Vec<String> {
    let tree = Snapshot::of(path);
    let mut lines = Vec::new();
    for (name, node) in tree.0.iter().filter(|(name, _)| !name.is_empty()) {
        let name = name.escape_ascii().to_string();
        let leader = node.leader.escape_ascii().to_string();
        lines.push(if node.is_dir() {
            format!("{name}/")
        } else if leader != name {
            format!("{name} == {leader}")
        } else if node.is_link() {
            format!("{name} -> {}", node.target.escape_ascii())
        } else if node.is_file() {
            format!("{name}={}", get(path.join(&name)))
        } else {
            name
        });
    }
    lines
}

/// Applies over `base` in both kinds, and gives the listing, which is the same.
pub fn both<A: Api>(w: &World<'_, A>, tar: &Tar) -> Done<Vec<String>> {
    let mut seen: Option<Vec<String>> = None;
    for kind in KINDS {
        let how = Apply {
            parent: Some("base"),
            kind: Some(kind),
            ..Apply::default()
        };
        w.apply("both", &tar.clone().bytes(), how)?;
        let is = w.look("both", listing);
        w.remove("both").unwrap();
        if let Some(other) = &seen {
            assert_eq!(&is, other, "{kind:?}");
        }
        seen = Some(is);
    }
    Ok(seen.unwrap())
}

/// Row 89, ApplyLayerWhiteouts: hidden names, names that begin alike, an opaque marker amid its
/// directory, an opaque root.
pub fn whiteouts<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        for name in ["bar/bay", "foo/.bcd", "foo/cde"] {
            mkdir(path.join(name));
        }
        for name in [
            ".baz",
            "baz",
            "foobar",
            "bar/bax",
            "foo/.abc",
            "foo/.bcd/a",
            "foo/cde/def",
            "foo/cde/efg",
            "foo/fgh",
        ] {
            put(path.join(name), "low");
        }
    });
    let bar = ["bar/", "bar/bax=low", "bar/bay/"];
    let amid = Tar::new()
        .file(".bay", "up")
        .file(".wh.baz", "")
        .dir("foo/")
        .file("foo/.bce", "up")
        .file("foo/.wh..wh..opq", "")
        .dir("foo/cde/")
        .file("foo/cde/efg", "up");
    let left = ["foo/", "foo/.bce=up", "foo/cde/", "foo/cde/efg=up"];
    let wanted = [&[".bay=up", ".baz=low"][..], &bar, &left, &["foobar=low"]];
    assert_eq!(both(w, &amid).unwrap(), wanted.concat());
    let hidden = Tar::new()
        .file(".wh..baz", "")
        .file(".wh.foobar", "")
        .file("foo/.abc", "up")
        .file("foo/.wh.cde", "")
        .file("foo/.wh..bcd", "");
    let left = ["baz=low", "foo/", "foo/.abc=up", "foo/fgh=low"];
    assert_eq!(both(w, &hidden).unwrap(), [&bar[..], &left].concat());
    let root = Tar::new()
        .file(".abc", "up")
        .file("abc", "up")
        .file(".wh..wh..opq", "")
        .dir("foo/");
    assert_eq!(both(w, &root).unwrap(), [".abc=up", "abc=up", "foo/"]);
    let nothing = Tar::new().file(".wh..wh..opq", "");
    assert_eq!(both(w, &nothing).unwrap(), [""; 0]);
}

/// Rows 104, 113 and 148: directories that no entry names are 0755 and root's, whatever the umask;
/// those that are below stay as they are; those that an entry names are as it says.
pub fn implied_parents<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        mkdir(path.join("tmp"));
        chmod(path.join("tmp"), 0o1777);
        mkdir(path.join("root"));
        std::os::unix::fs::chown(path.join("root"), Some(5), Some(6)).unwrap();
        chmod(path.join("root"), 0o2700);
        xattr::set(path.join("root"), "user.note", b"kept").unwrap();
    });
    let tar = Tar::new()
        .file("new/deep/file", "x")
        .file("tmp/new/file", "x")
        .file("root/file", "x")
        .entry("named/", b'5', 0o700, "", b"")
        .file("named/deep/file", "x")
        .entry("late/in/", b'5', 0o1711, "", b"")
        .file("late/in/file", "x")
        .entry("late/", b'5', 0o3770, "", b"");
    for umask in [0, 0o022, 0o027, 0o777] {
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
        for kind in KINDS {
            let how = Apply {
                parent: Some("base"),
                kind: Some(kind),
                ..Apply::default()
            };
            w.apply("new", &tar.clone().bytes(), how).unwrap();
            w.look("new", |path| {
                let told = format!("{kind:?}, umask {umask:o}");
                for (name, wanted) in [
                    ("new", (0o755, 0, 0)),
                    ("new/deep", (0o755, 0, 0)),
                    ("tmp", (0o1777, 0, 0)),
                    ("tmp/new", (0o755, 0, 0)),
                    ("root", (0o2700, 5, 6)),
                    ("named", (0o700, 0, 0)),
                    ("named/deep", (0o755, 0, 0)),
                    ("late", (0o3770, 0, 0)),
                    ("late/in", (0o1711, 0, 0)),
                    ("root/file", (0o644, 0, 0)),
                ] {
                    assert_eq!(who(path.join(name)), wanted, "{told}: {name}");
                }
                let note = xattr::get(path.join("root"), "user.note").unwrap();
                assert_eq!(note.as_deref(), Some(&b"kept"[..]), "{told}");
            });
            w.remove("new").unwrap();
        }
        rustix::process::umask(before);
    }
}

/// Row 125: names that only look like something else, and what is said of each in a diff.
pub fn odd_names<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |_| {});
    let all = [
        "..gitme", "...", "..a", "a..", "a..b", ".", "-rf", " ", "wh.x", ".wh", ".whx", "*",
    ];
    let mut tar = Tar::new();
    let mut wanted = Vec::new();
    for name in all.iter().filter(|name| **name != ".") {
        tar = tar
            .file(&format!("{name}-dir/{name}"), *name)
            .file(name, *name);
        wanted.push(format!("{name}={name}"));
        wanted.push(format!("{name}-dir/"));
        wanted.push(format!("{name}-dir/{name}={name}"));
    }
    let paths = |lines: &mut Vec<String>| {
        lines.sort_by_key(|line| {
            line.split(['='])
                .next()
                .unwrap()
                .trim_end_matches('/')
                .to_owned()
        });
    };
    let mut is = both(w, &tar).unwrap();
    paths(&mut is);
    paths(&mut wanted);
    assert_eq!(is, wanted);
    w.apply_on("new", "base", &tar.bytes()).unwrap();
    let (bytes, told) = w.diff("new");
    assert_eq!(told.entries as usize, wanted.len());
    w.apply_on("again", "base", &bytes).unwrap();
    assert_eq!(w.changes_to("again", Against::Layer("new")), [""; 0]);
}

/// Row 126: a stream that says nothing, and takes its time for it, is a layer of nothing.
pub fn empty_and_slow<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("file"), "x"));
    let end = [0; 1024];
    for (id, bytes) in [("none", &end[..0]), ("zeros", &end[..])] {
        let mut rest = bytes;
        let mut waits = 3;
        let mut read = |buf: &mut [u8]| {
            if waits > 0 {
                waits -= 1;
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            let n = rest.len().min(1).min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            Ok(n)
        };
        let how = Apply {
            parent: Some("base"),
            ..Apply::default()
        };
        let info = A::apply(&w.store, id, Input::Read(&mut read), &how, calm()).unwrap();
        assert_eq!((info.entries, info.size), (0, 0), "{id}");
        assert_eq!(info.tar_size, bytes.len() as u64, "{id}");
        assert_eq!(w.changes(id), [""; 0]);
        assert_eq!(w.look(id, listing), ["file=x"]);
    }
}

/// Row 99: a global header makes nothing by itself.
pub fn global_headers<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |_| {});
    let tar = Tar::new()
        .global(&[("comment", b"0123456789"), ("path", b"foo/bar")])
        .file("file", "x")
        .global(&[("comment", b"more")]);
    assert_eq!(both(w, &tar).unwrap(), ["file=x"]);
    let info = w.apply("new", &tar.bytes(), Apply::default()).unwrap();
    assert_eq!((info.entries, info.size), (1, 1));
}

/// Rows 97, 98, 101 and 111: targets of hard links are found inside, absolute ones and through links
/// too; a link to a symbolic link is one more name of that; a symbolic link's target is kept byte by
/// byte.
pub fn links<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| mkdir(path.join("usr/lib")));
    let tar = Tar::new()
        .file("a", "a")
        .link("absolute", "/a")
        .link("dotted", "./a")
        .symlink("lib", "/usr/lib")
        .file("lib/so", "so")
        .link("through", "lib/so")
        .link("through2", "/lib/so")
        .symlink("odd", "a//b/../c/./")
        .link("odd2", "odd")
        .symlink("out", "/etc/passwd")
        .link("out2", "out");
    let wanted = [
        "a=a",
        "absolute == a",
        "dotted == a",
        "lib -> /usr/lib",
        "odd -> a//b/../c/./",
        "odd2 == odd",
        "out -> /etc/passwd",
        "out2 == out",
        "through=so",
        "through2 == through",
        "usr/",
        "usr/lib/",
        "usr/lib/so == through",
    ];
    assert_eq!(both(w, &tar).unwrap(), wanted);
    w.apply_on("new", "base", &tar.bytes()).unwrap();
    let odd = tar::headers(&w.diff("new").0);
    let odd = odd.iter().find(|header| header.name == "odd").unwrap();
    assert_eq!((odd.kind, odd.link.as_str()), (b'2', "a//b/../c/./"));
}

/// Rows 107, 108 and 147, gaps 17, 19 and 20: what an inode can have comes through apply, mount, diff
/// and apply.
pub fn attributes<A: Api>(w: &World<'_, A>) {
    let (acl, two) = (torture::named_acl(), torture::capability(None));
    let three = torture::capability(Some(100_000));
    w.layer("base", None, |path| {
        mkdir(path.join("shut"));
        xattr::set(path.join("shut"), "system.posix_acl_default", &acl).unwrap();
    });
    let with =
        |tar: Tar, name: &str, value: &[u8]| tar.pax(&[(&format!("SCHILY.xattr.{name}"), value)]);
    let mut tar = with(Tar::new(), "security.capability", &two);
    tar = tar.entry("caps2", b'0', 0o4755, "", b"x");
    tar = with(tar, "security.capability", &three).entry("caps3", b'0', 0o6711, "", b"x");
    tar = with(tar, "system.posix_acl_access", &acl).entry("acl", b'0', 0o770, "", b"x");
    tar = with(tar, "system.posix_acl_default", &acl).entry("dir/", b'5', 0o2755, "", b"");
    // Nothing of its directory's default ACL.
    tar = tar
        .file("dir/plain", "x")
        .file("shut/plain", "x")
        .dir("shut/dir/");
    tar = with(tar, "user.bytes", b"\0\n=\xff").file("user", "x");
    tar = with(tar, "user.none", b"").file("empty", "x");
    tar = with(tar, "trusted.mine", b"y").symlink("link", "x");
    tar = tar.pax(&[
        ("mtime", b"-1.000000001"),
        ("uid", b"4000000000"),
        ("gid", b"70000"),
    ]);
    tar = tar.entry("old", b'0', 0o7777, "", b"x");
    tar = tar
        .pax(&[("mtime", b"6000000000.123456789")])
        .symlink("far", "x");
    tar = tar.pax(&[("mtime", b"5.5")]).fifo("pipe");
    tar = tar.pax(&[("mtime", b"7.000000007")]).device("tty", 5, 1);
    tar = tar.pax(&[("mtime", b"9.9")]).dir("times/");
    tar = tar.file("times/later", "x");
    for kind in KINDS {
        let how = Apply {
            parent: Some("base"),
            kind: Some(kind),
            ..Apply::default()
        };
        let id = format!("{kind:?}");
        let info = w.apply(&id, &tar.clone().bytes(), how).unwrap();
        assert_eq!(info.skipped, [0; 5]);
        let tree = w.look(&id, Snapshot::of);
        let of = |name: &str| {
            let mut all: Vec<(String, Vec<u8>)> = Vec::new();
            for (key, value) in &tree.at(name).xattrs {
                all.push((key.escape_ascii().to_string(), value.clone()));
            }
            all
        };
        let one = |name: &str, value: &[u8]| vec![(name.to_string(), value.to_vec())];
        for (name, wanted) in [
            ("caps2", one("security.capability", &two)),
            ("caps3", one("security.capability", &three)),
            ("acl", one("system.posix_acl_access", &acl)),
            ("dir", one("system.posix_acl_default", &acl)),
            ("shut", one("system.posix_acl_default", &acl)),
            ("dir/plain", vec![]),
            ("shut/plain", vec![]),
            ("shut/dir", vec![]),
            ("user", one("user.bytes", b"\0\n=\xff")),
            ("empty", one("user.none", b"")),
            ("link", one("trusted.mine", b"y")),
        ] {
            assert_eq!(of(name), wanted, "{kind:?} {name}");
        }
        for (name, mode) in [
            ("caps2", 0o4755),
            ("caps3", 0o6711),
            ("acl", 0o770),
            ("dir", 0o2755),
            ("old", 0o7777),
            ("shut/plain", 0o644),
            ("shut/dir", 0o755),
        ] {
            assert_eq!(tree.at(name).mode, mode, "{kind:?} {name}");
        }
        for (name, time) in [
            ("old", (-2, 999_999_999)),
            ("far", (6_000_000_000, 123_456_789)),
            ("pipe", (5, 500_000_000)),
            ("tty", (7, 7)),
            ("times", (9, 900_000_000)),
        ] {
            assert_eq!(tree.at(name).mtime, time, "{kind:?} {name}");
        }
        assert_eq!(
            (tree.at("old").uid, tree.at("old").gid),
            (4_000_000_000, 70_000)
        );
        assert_eq!(tree.at("tty").rdev, (5, 1));
        let (bytes, _) = w.diff(&id);
        for again in KINDS {
            let how = Apply {
                kind: Some(again),
                ..how
            };
            w.apply("again", &bytes, how).unwrap();
            w.look("again", Snapshot::of)
                .assert_same(&tree, Compare::default());
            assert_eq!(w.diff("again").0, bytes, "{kind:?} {again:?}");
            w.remove("again").unwrap();
        }
    }
    assert_eq!(w.diff("Root").0, w.diff("Overlay").0);
}

/// Row 129: the label that a host's policy puts on files is in no diff; what else they have is.
pub fn labels_are_the_hosts<A: Api>(w: &World<'_, A>) {
    if Path::new("/sys/fs/selinux/enforce").exists() {
        return crate::support::have::skip("no SELinux", "the kernel sets labels itself");
    }
    w.layer("base", None, |path| put(path.join("old"), "x"));
    w.make("box", Some("base"), |path| {
        put(path.join("new"), "x");
        xattr::set(path.join("new"), "security.selinux", b"u:r:t:s0").unwrap();
        xattr::set(path.join("new"), "user.note", b"x").unwrap();
        xattr::set(path.join("old"), "security.selinux", b"u:r:t:s0").unwrap();
    });
    assert_eq!(w.changes("box"), ["A /new"]);
    let (bytes, _) = w.diff("box");
    w.apply_on("again", "base", &bytes).unwrap();
    let tree = w.look("again", Snapshot::of);
    let names: Vec<_> = tree.at("new").xattrs.keys().collect();
    assert_eq!(names, [b"user.note"]);
}

/// Row 11: what a file system without extended attributes cannot hold is counted, or refused.
pub fn without_xattrs<A: Api>(w: &World<'_, A>) {
    let place = w.dir("ramfs");
    let none = rustix::mount::MountFlags::empty();
    rustix::mount::mount("ramfs", &place, "ramfs", none, None).unwrap();
    let store = A::open(&place.join("home"), &Open::default()).unwrap();
    let plain = World::<A> {
        base: &place,
        store,
    };
    let tar = Tar::new()
        .pax(&[("SCHILY.xattr.user.note", b"x")])
        .file("file", "content")
        .file("other", "x");
    let bytes = tar.bytes();
    let strict = Apply {
        strict: true,
        ..Apply::default()
    };
    let failure = plain.apply("new", &bytes, strict).unwrap_err();
    let is = (failure.errno, failure.path.escape_ascii().to_string());
    assert_eq!(is, (libc::EOPNOTSUPP, "file".to_string()), "{failure:?}");
    assert_eq!(plain.list(), [""; 0]);
    let info = plain.apply("new", &bytes, Apply::default()).unwrap();
    assert_eq!(info.skipped, [0, 0, 1, 0, 0]);
    assert_eq!(plain.look("new", listing), ["file=content", "other=x"]);
    plain.assert_clean();
}

/// Gap 20, with rows 41 and 106: a child of kind `root` has its parent's files, and nothing is done to
/// them, whatever its tar says of their names.
pub fn shared_files_stay<A: Api>(w: &World<'_, A>) {
    let caps = torture::capability(None);
    w.layer("base", None, |path| {
        mkdir(path.join("dir"));
        for name in ["kept", "chmod", "rewrite", "gone", "dir/caps", "linked"] {
            put(path.join(name), name);
            chmod(path.join(name), 0o6755);
            xattr::set(path.join(name), "security.capability", &caps).unwrap();
        }
    });
    let base = w.home().join("layer/base/root");
    let before = Snapshot::of(&base);
    let tar = Tar::new()
        .pax(&[("uid", b"7")])
        .entry("chmod", b'0', 0o600, "", b"chmod")
        .file("rewrite", "other")
        .file(".wh.gone", "")
        .entry("dir/", b'5', 0o700, "", b"")
        .link("link", "linked");
    let how = Apply {
        parent: Some("base"),
        kind: Some(Kind::Root),
        ..Apply::default()
    };
    w.apply("child", &tar.bytes(), how).unwrap();
    let child = Snapshot::of(&w.home().join("layer/child/root"));
    for name in ["kept", "dir/caps", "linked"] {
        let (is, was) = (child.at(name), before.at(name));
        assert_eq!(is.id(), was.id(), "{name}");
        assert_eq!((is.mode, is.xattrs.len()), (0o6755, 1), "{name}");
        assert_eq!(is.xattrs[&b"security.capability"[..]], caps, "{name}");
    }
    for name in ["chmod", "rewrite"] {
        assert_ne!(child.at(name).id(), before.at(name).id(), "{name}");
    }
    assert_eq!((child.at("chmod").mode, child.at("chmod").uid), (0o600, 7));
    assert_eq!(child.at("link").id(), child.at("linked").id());
    assert!(!child.0.contains_key(&b"gone"[..]));
    let after = Snapshot::of(&base);
    after.assert_same(
        &before,
        Compare {
            inodes: true,
            ..Compare::default()
        },
    );
    assert_eq!(before.at("kept").nlink + 1, after.at("kept").nlink);
    w.remove("child").unwrap();
    assert_eq!(base.join("kept").metadata().unwrap().nlink(), 1);
    w.assert_clean();
}
