//! What a diff holds, in which order and with which times, and what becomes of what cannot be read.

use super::change::{comes_again, told_below_the_root, touch};
use crate::api::*;
use crate::support::tree::Snapshot;
use crate::tar::{self, Header};
use crate::world::*;
use rustix::thread::CapabilitySet;
use std::os::unix::fs::{FileExt, chown, symlink};
use std::path::Path;

/// Rows 142 and 144: each directory on the way once, before what is in it; for a whiteout and for a
/// hard link too.
pub fn parents_come_first<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        mkdir(path.join("a/b/c"));
        put(path.join("a/b/c/one"), "one");
        put(path.join("a/b/c/two"), "two");
        mkdir(path.join("gone/with/all"));
        mkdir(path.join("z/y"));
    });
    w.make("box", Some("base"), |path| {
        put(path.join("a/b/c/one"), "ONE");
        put(path.join("a/b/new"), "new");
        rm(path.join("a/b/c/two"));
        rm(path.join("gone"));
        std::fs::hard_link(path.join("a/b/new"), path.join("z/y/link")).unwrap();
    });
    let wanted = [
        "a/",
        "a/b/",
        "a/b/c/",
        "a/b/c/one",
        "a/b/c/.wh.two",
        "a/b/new",
        ".wh.gone",
        "z/",
        "z/y/",
        "z/y/link",
    ];
    assert_eq!(told_below_the_root(w, "box"), wanted);
    comes_again(w, "box");
}

/// Rows 106, 122 and 152: a link to an old file takes its other names along; the first name, by its
/// bytes, has the content, whichever was made first.
pub fn link_groups<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        for name in [
            "m-unmodified",
            "m-before",
            "m-modified",
            "m-split",
            "m-less",
        ] {
            put(path.join(name), name);
        }
        std::fs::hard_link(path.join("m-split"), path.join("m-split2")).unwrap();
        std::fs::hard_link(path.join("m-less"), path.join("m-less2")).unwrap();
    });
    w.make("box", Some("base"), |path| {
        let link = |from: &str, to: &str| {
            std::fs::hard_link(path.join(from), path.join(to)).unwrap();
        };
        link("m-unmodified", "z-unmodified");
        link("m-before", "a-before");
        link("m-modified", "a-modified");
        put(path.join("m-modified"), "modified");
        // Away, and made again as its own.
        rm(path.join("m-split2"));
        put(path.join("m-split2"), "m-split");
        rm(path.join("m-less2"));
        for name in ["new3", "new1", "new2"] {
            match name {
                "new3" => put(path.join(name), "new"),
                _ => link("new3", name),
            }
        }
    });
    let role = |header: &Header| {
        (
            header.name.clone(),
            header.kind as char,
            header.link.clone(),
        )
    };
    let is: Vec<_> = tar::headers(&w.diff("box").0)
        .iter()
        .filter(|header| header.name != "./")
        .map(role)
        .collect();
    let file = |name: &str| (name.to_string(), '0', String::new());
    let linked = |name: &str, to: &str| (name.to_string(), '1', to.to_string());
    let wanted = [
        file("a-before"),
        file("a-modified"),
        linked("m-before", "a-before"),
        file(".wh.m-less2"),
        linked("m-modified", "a-modified"),
        file("m-split2"),
        file("m-unmodified"),
        file("new1"),
        linked("new2", "new1"),
        linked("new3", "new1"),
        linked("z-unmodified", "m-unmodified"),
    ];
    assert_eq!(is, wanted);
    comes_again(w, "box");
    let tree = w.look("box", Snapshot::of);
    for (a, b) in [
        ("m-unmodified", "z-unmodified"),
        ("a-before", "m-before"),
        ("a-modified", "m-modified"),
        ("new1", "new3"),
    ] {
        assert_eq!(tree.at(a).id(), tree.at(b).id(), "{a}");
    }
    assert_eq!(tree.at("m-unmodified").nlink, 2);
    assert_ne!(tree.at("m-split").id(), tree.at("m-split2").id());
}

/// Rows 121, 51 and 160: each inode once, by its length and not by its blocks; what goes counts 0.
pub fn sizes<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        put(path.join("gone"), "x".repeat(1000));
        put(path.join("stays"), "x".repeat(1000));
    });
    let size = |id: &str, work: &dyn Fn(&Path)| {
        w.make(id, Some("base"), work);
        let size = w.size(id, Against::Parent);
        assert_eq!(w.diff(id).1.size, size);
        w.commit(id).unwrap();
        assert_eq!((w.size(id, Against::Parent), w.stat(id).size), (size, size));
        size
    };
    assert_eq!(size("only-delete", &|path| rm(path.join("gone"))), 0);
    let links = size("links", &|path| {
        put(path.join("a"), "12345");
        std::fs::hard_link(path.join("a"), path.join("b")).unwrap();
        std::fs::hard_link(path.join("a"), path.join("c")).unwrap();
    });
    assert_eq!(links, 5);
    let sum = size("sum", &|path| {
        mkdir(path.join("d/e"));
        put(path.join("d/f"), "123");
        put(path.join("d/e/f"), "1234");
        put(path.join("empty"), "");
        symlink("12", path.join("link")).unwrap();
    });
    assert_eq!(sum, 9);
    let holes = size("holes", &|path| {
        let file = std::fs::File::create(path.join("holes")).unwrap();
        file.write_all_at(b"x", (1 << 20) - 1).unwrap();
    });
    assert_eq!(holes, 1 << 20);
    let missing = A::diff_size(&w.store, "no", Against::Parent, calm());
    fails(missing, libc::ENOENT, 3, "diff_size", "no");
}

/// Rows 130, 146 and 170: later times are cut to the one that is asked for, no other; whiteouts have
/// none. Without it times are as they are.
pub fn clamped<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("gone"), "x"));
    let times = [
        ("before", (-5, 7)),
        ("older", (999, 999_999_999)),
        ("same", (1000, 500)),
        ("newer", (1000, 501)),
        ("newest", (2_000_000_000, 1)),
    ];
    w.make("box", Some("base"), |path| {
        rm(path.join("gone"));
        for (name, (sec, nsec)) in times {
            put(path.join(name), name);
            touch(path.join(name), sec, nsec);
        }
    });
    let write = |clamp| {
        let mut bytes = Vec::new();
        let mut write = |buf: &[u8]| {
            bytes.extend_from_slice(buf);
            Ok(buf.len())
        };
        let how = Diff {
            clamp,
            ..Diff::default()
        };
        let to = Output::Write(&mut write);
        A::diff(&w.store, "box", Against::Parent, to, &how, calm()).unwrap();
        bytes
    };
    let limit = (1000, 500);
    for (id, clamp) in [("plain", None), ("clamped", Some(limit))] {
        let bytes = write(clamp);
        assert_eq!(write(clamp), bytes, "not the same twice");
        let headers = tar::headers(&bytes);
        let marker = headers.iter().find(|one| one.name == ".wh.gone").unwrap();
        assert_eq!((marker.mtime, marker.size, marker.kind), (0, 0, b'0'));
        w.apply_on(id, "base", &bytes).unwrap();
        let tree = w.look(id, Snapshot::of);
        for (name, time) in times {
            let time: (i64, u32) = (time.0, time.1 as u32);
            let wanted = match clamp {
                Some(limit) => time.min(limit),
                None => time,
            };
            assert_eq!(tree.at(name).mtime, wanted, "{id} {name}");
        }
    }
}

/// Row 131: what cannot be read is an error that names it, and not a shorter tar.
pub fn unreadable_is_an_error<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        put(path.join("a"), "x");
        mkdir(path.join("dir"));
        put(path.join("dir/secret"), "x".repeat(100));
        chown(path.join("dir/secret"), Some(1000), Some(1000)).unwrap();
        chmod(path.join("dir/secret"), 0);
        put(path.join("z"), "x");
    });
    w.layer("shut", None, |path| {
        mkdir(path.join("dir"));
        put(path.join("dir/file"), "x");
        chown(path.join("dir"), Some(1000), Some(1000)).unwrap();
        chmod(path.join("dir"), 0);
    });
    let whole = w.diff("base").0;
    let mut sets = rustix::thread::capabilities(None).unwrap();
    sets.effective
        .remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
    // Of this thread alone, which ends with the case.
    rustix::thread::set_capabilities(None, sets).unwrap();
    let done = w.diff_to("base", Against::Parent);
    fails(done, libc::EACCES, 1, "diff", "dir/secret");
    let failure = w.diff_to("shut", Against::Parent).unwrap_err();
    let is = (failure.errno, failure.operation.as_str());
    assert_eq!(is, (libc::EACCES, "diff"), "{failure:?}");
    assert!(failure.path.ends_with(b"dir"), "{failure:?}");
    let mut got = Vec::new();
    let mut write = |buf: &[u8]| {
        got.extend_from_slice(buf);
        Ok(buf.len())
    };
    let to = Output::Write(&mut write);
    let how = Diff::default();
    let done = A::diff(&w.store, "base", Against::Parent, to, &how, calm());
    done.unwrap_err();
    // Nobody takes what there is for a layer: it has no end.
    assert!(got.len() < whole.len() && whole.starts_with(&got));
    let src = w.home().join("layer/base/root");
    let to = w.base.join("copy");
    let copy = A::copy_dir((None, &src), (None, &to), &Copying::default(), calm());
    let failure = copy.unwrap_err();
    let is = (failure.errno, failure.operation.as_str());
    assert_eq!(is, (libc::EACCES, "copy_dir"), "{failure:?}");
    assert!(failure.path.ends_with(b"dir/secret"), "{failure:?}");
    assert!(!there(&to));
}

/// Rows 84, 85, 87, 155 and 164: marks on the disk become whiteouts of what is there below, and no
/// devices; a new directory that is marked, and hides nothing, has none.
pub fn marks_are_spelled_out<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        for name in ["d1", "d1/sub", "d3"] {
            mkdir(path.join(name));
        }
        for name in ["d1/f1", "d1/old", "d1/sub/f", "d3/f1", "d3/f2"] {
            put(path.join(name), "below");
        }
    });
    w.make("box", Some("base"), |path| {
        rm(path.join("d1"));
        for (name, mode) in [("d1", 0o700), ("d2", 0o750), ("d3", 0o770)] {
            mkdir(path.join(name));
            chmod(path.join(name), mode);
        }
        put(path.join("d1/f1"), "above");
        put(path.join("d2/f1"), "above");
        rm(path.join("d3/f1"));
    });
    let upper = w.home().join("layer/box/upper");
    xattr::set(upper.join("d2"), "trusted.overlay.opaque", b"y").unwrap();
    let opaque = |name: &str| xattr::get(upper.join(name), "trusted.overlay.opaque").unwrap();
    assert_eq!(opaque("d1"), Some(b"y".to_vec()));
    let wanted = [
        ("d1/", '5', 0o700),
        ("d1/f1", '0', 0o644),
        ("d1/.wh.old", '0', 0),
        ("d1/.wh.sub", '0', 0),
        ("d2/", '5', 0o750),
        ("d2/f1", '0', 0o644),
        ("d3/", '5', 0o770),
        ("d3/.wh.f1", '0', 0),
    ];
    let (bytes, _) = w.diff("box");
    let headers = tar::headers(&bytes);
    let mut is = Vec::new();
    for header in headers.iter().filter(|header| header.name != "./") {
        let marker = header.name.contains(".wh.");
        let mode = if marker { 0 } else { header.mode };
        is.push((header.name.as_str(), header.kind as char, mode));
    }
    assert_eq!(is, wanted);
    assert!(!bytes.windows(8).any(|some| some == b".overlay"));
    comes_again(w, "box");
    // Without anything below, the names of the markers are nowhere.
    w.apply("alone", &bytes, Apply::default()).unwrap();
    let tree = w.look("alone", Snapshot::of);
    let paths: Vec<String> = tree
        .0
        .keys()
        .map(|p| p.escape_ascii().to_string())
        .collect();
    assert_eq!(paths, ["", "d1", "d1/f1", "d2", "d2/f1", "d3"]);
    let modes = ["d1", "d2", "d3"].map(|name| tree.at(name).mode);
    assert_eq!(modes, [0o700, 0o750, 0o770]);
    assert!(tree.0.values().all(|node| node.xattrs.is_empty()));
}
