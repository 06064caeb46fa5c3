//! The graph drivers' cases: moby's `graphtest` and layer tests, containers/storage's drivers and
//! command line tests.

use crate::api::*;
use crate::support::tree::{Compare, Snapshot};
use crate::tar::{self, Tar};
use crate::world::*;
use std::os::unix::fs::chown;
use std::path::Path;

/// Row 1, DriverTestCreateEmpty; and whatever the umask.
pub fn create_empty<A: Api>(w: &World<'_, A>) {
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    w.create("empty", None).unwrap();
    rustix::process::umask(before);
    assert!(A::exists(&w.store, "empty").unwrap());
    let mount = w.enter("empty");
    assert_eq!(who(&mount.path), (0o755, 0, 0));
    assert_eq!(names(&mount.path), [""; 0]);
    mount.unmount();
    w.remove("empty").unwrap();
    assert!(!A::exists(&w.store, "empty").unwrap());
}

fn fill_base(path: &Path) {
    mkdir(path.join("a subdir"));
    chown(path.join("a subdir"), Some(1), Some(2)).unwrap();
    chmod(path.join("a subdir"), 0o1705);
    put(path.join("a file"), "");
    chmod(path.join("a file"), 0o4222);
}

fn is_base(path: &Path) {
    assert_eq!(names(path), ["a file", "a subdir"]);
    assert_eq!(who(path.join("a subdir")), (0o1705, 1, 2));
    assert_eq!(who(path.join("a file")), (0o4222, 0, 0));
}

/// Row 2, DriverTestCreateBase.
pub fn create_base<A: Api>(w: &World<'_, A>) {
    w.make("base", None, fill_base);
    w.look("base", is_base);
}

/// Row 3, DriverTestCreateSnap. A writable root is committed for it.
pub fn create_snap<A: Api>(w: &World<'_, A>) {
    w.make("base", None, fill_base);
    assert!(!w.stat("base").committed);
    w.create("snap", Some("base")).unwrap();
    assert!(w.stat("base").committed);
    w.change("snap", is_base);
    assert_eq!(w.changes("snap"), [""; 0]);
}

/// A chain of `count` layers: each has a file of its own, and counts in one that all have.
fn chain<A: Api>(w: &World<'_, A>, count: usize) -> String {
    let mut last = None;
    for at in 0..count {
        let id = format!("l{at}");
        w.layer(&id, last.as_deref(), |path| {
            put(path.join(format!("f{at}")), at.to_string());
            put(path.join("top"), at.to_string());
        });
        last = Some(id);
    }
    last.unwrap()
}

/// Rows 4 and 74, DriverTestDeepLayerRead and 128LayersMount.
pub fn deep_layer_read<A: Api>(w: &World<'_, A>) {
    let last = chain(w, 129);
    assert_eq!(w.stat(&last).lowers, 128);
    w.make("box", Some(&last), |path| {
        assert_eq!(get(path.join("f0")), "0");
        assert_eq!(get(path.join("f64")), "64");
        assert_eq!(get(path.join("top")), "128");
        assert_eq!(names(path).len(), 130);
    });
}

fn fill_tree(path: &Path) {
    for at in 0..10 {
        put(path.join(format!("base{at}")), "x".repeat(at + 1));
    }
    mkdir(path.join("var/lib/deep"));
    put(path.join("var/lib/deep/file"), "deep");
    put(path.join("gone"), "gone");
}

/// Row 5, DriverTestDiffApply.
pub fn diff_apply<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, fill_tree);
    w.make("upper", Some("base"), |path| {
        for at in 0..10 {
            put(path.join(format!("upper{at}")), "y".repeat(100 * at));
        }
        rm(path.join("gone"));
        rm(path.join("var/lib"));
    });
    let (bytes, told) = w.diff("upper");
    let size = w.size("upper", Against::Parent);
    assert_eq!((size, told.size), (4500, 4500));
    for (id, kind) in [("over", Kind::Overlay), ("flat", Kind::Root)] {
        let how = Apply {
            parent: Some("base"),
            kind: Some(kind),
            ..Apply::default()
        };
        let info = w.apply(id, &bytes, how).unwrap();
        assert_eq!((info.size, info.kind), (size, kind));
        assert_eq!(info.diff_id, told.diff_id);
        assert_eq!(w.size(id, Against::Parent), size);
        let is = w.look(id, Snapshot::of);
        let wanted = w.look("upper", Snapshot::of);
        is.assert_same(&wanted, Compare::default());
        assert!(!is.0.contains_key(&b"var/lib"[..]) && !is.0.contains_key(&b"gone"[..]));
        assert_eq!(w.diff(id).0, bytes);
    }
}

/// Row 12: what runs can be read, and it reads the same when it does not run.
pub fn diff_of_a_running_layer<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, fill_tree);
    w.create("box", Some("base")).unwrap();
    let mount = w.enter("box");
    put(mount.path.join("new"), "new");
    rm(mount.path.join("gone"));
    let running = (w.diff("box").0, w.changes("box"));
    assert!(w.stat("box").mounted);
    mount.unmount();
    assert!(!w.stat("box").mounted);
    assert_eq!((w.diff("box").0, w.changes("box")), running);
    assert_eq!(running.1, ["D /gone", "A /new"]);
}

/// Row 13, TestMountInit.
pub fn init_layer_is_seen<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("file"), "base"));
    w.make("init", Some("base"), |path| {
        put(path.join("file"), "init");
        chmod(path.join("file"), 0o640);
    });
    w.create("box", Some("init")).unwrap();
    let info = w.stat("box");
    let about = (info.parent.as_str(), info.copied_from.as_str(), info.lowers);
    assert_eq!(about, ("base", "init", 1));
    w.change("box", |path| {
        assert_eq!(get(path.join("file")), "init");
        assert_eq!(who(path.join("file")).0, 0o640);
    });
    // It needs its source no more.
    w.remove("init").unwrap();
    w.look("box", |path| assert_eq!(get(path.join("file")), "init"));
}

/// Row 14, TestMountSize.
pub fn size_is_the_containers_own<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        put(path.join("base"), "b".repeat(1000))
    });
    w.make("init", Some("base"), |path| {
        put(path.join("init"), "i".repeat(100))
    });
    w.make("box", Some("init"), |path| {
        put(path.join("own"), "o".repeat(10))
    });
    assert_eq!(w.size("box", Against::Layer("init")), 10);
    assert_eq!(w.size("box", Against::Parent), 110);
    assert_eq!(w.size("box", Against::Nothing), 1110);
}

/// Row 15, TestMountChanges.
pub fn changes_are_exactly_four<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        for name in ["chmod", "write", "remove", "keep"] {
            put(path.join(name), "before");
        }
    });
    w.make("box", Some("base"), |path| {
        chmod(path.join("chmod"), 0o755);
        put(path.join("write"), "after!");
        rm(path.join("remove"));
        put(path.join("new"), "new");
        // Copied up, and as it was: no change.
        chmod(path.join("keep"), 0o600);
        chmod(path.join("keep"), 0o644);
    });
    let wanted = ["C /chmod", "A /new", "D /remove", "C /write"];
    assert_eq!(w.changes("box"), wanted);
}

/// Row 16, TestMountApply.
pub fn apply_onto_a_writable_layer<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("old"), "old"));
    w.create("box", Some("base")).unwrap();
    let writable = true;
    let how = Apply {
        writable,
        ..Apply::default()
    };
    let bytes = Tar::new().file("new", "new").bytes();
    let info = w.apply("box", &bytes, how).unwrap();
    assert!(!info.committed && info.parent == "base");
    w.change("box", |path| {
        assert_eq!(get(path.join("new")), "new");
        assert_eq!(get(path.join("old")), "old");
        put(path.join("more"), "more");
    });
    assert_eq!(w.changes("box"), ["A /more", "A /new"]);
}

/// Row 21: the mode of the parent's root is the child's.
pub fn root_mode_is_inherited<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        chown(path, Some(3), Some(4)).unwrap();
        chmod(path, 0o555);
    });
    w.layer("one", Some("base"), |path| {
        assert_eq!(who(path), (0o555, 3, 4))
    });
    w.make("two", Some("one"), |path| {
        assert_eq!(who(path), (0o555, 3, 4))
    });
    assert_eq!(w.changes("two"), [""; 0]);
}

/// Row 23, CreateFromTemplate.
pub fn create_from_template<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, fill_tree);
    w.make("template", Some("base"), |path| {
        put(path.join("base0"), "other");
        rm(path.join("gone"));
        put(path.join("var/lib/new"), "new");
    });
    w.create("copy", Some("template")).unwrap();
    assert_eq!(w.changes_to("copy", Against::Layer("template")), [""; 0]);
    let wanted = [
        "C /base0",
        "D /gone",
        "C /var",
        "C /var/lib",
        "A /var/lib/new",
    ];
    assert_eq!(w.changes("copy"), wanted);
    assert_eq!(w.changes_to("copy", Against::Layer("base")), wanted);
    assert_eq!(w.diff("copy").0, w.diff("template").0);
}

/// Row 24, TestOverlayEcho: at each depth a chain of directories goes in the second layer, and comes
/// back in the third, while that is mounted.
pub fn echo<A: Api>(w: &World<'_, A>) {
    let deep = |from: usize, to: usize| {
        let parts: Vec<String> = (from..to).map(|at| format!("d{at}")).collect();
        parts.join("/")
    };
    w.layer("base", None, |path| {
        mkdir(path.join(deep(0, 10)));
        for at in 1..=10 {
            put(path.join(deep(0, at)).join("file"), "base");
        }
    });
    for depth in 0..10 {
        let place = deep(0, depth + 1);
        let (second, third) = (format!("second{depth}"), format!("third{depth}"));
        // The directories on the way have something changed in them.
        let way: Vec<String> = (1..=depth)
            .map(|at| format!("C /{}", deep(0, at)))
            .collect();
        w.layer(&second, Some("base"), |path| rm(path.join(&place)));
        let gone = [&way[..], &[format!("D /{place}")]].concat();
        assert_eq!(w.changes(&second), gone);
        w.create(&third, Some(&second)).unwrap();
        let mount = w.enter(&third);
        mkdir(mount.path.join(&place));
        put(mount.path.join(&place).join("file"), "third");
        let back = [
            &way[..],
            &[format!("A /{place}"), format!("A /{place}/file")],
        ]
        .concat();
        assert_eq!(w.changes(&third), back);
        // Against the base it is the same directory with less in it.
        let mut other = way.clone();
        other.push(format!("C /{place}"));
        if depth < 9 {
            other.push(format!("D /{place}/d{}", depth + 1));
        }
        other.push(format!("C /{place}/file"));
        assert_eq!(w.changes_to(&third, Against::Layer("base")), other);
        mount.unmount();
    }
}

/// Row 25, TestOverlayListLayers.
pub fn list_is_what_was_made<A: Api>(w: &World<'_, A>) {
    assert_eq!(w.list(), [""; 0]);
    for id in ["b", "a", "B", "10", "9", "a-b", "a.b", "a+b@c_d"] {
        w.create(id, None).unwrap();
    }
    let sorted = ["10", "9", "B", "a", "a+b@c_d", "a-b", "a.b", "b"];
    assert_eq!(w.list(), sorted);
    w.remove("a").unwrap();
    assert_eq!(w.list().len(), sorted.len() - 1);
    w.assert_clean();
}

/// Row 27, "more than 127 layers": each is made, mounted and written; then an image is made of it.
pub fn three_hundred_layers<A: Api>(w: &World<'_, A>) {
    let last = chain(w, 301);
    let (bytes, told) = w.diff_to(&last, Against::Nothing).unwrap();
    assert_eq!(told.entries, 303);
    let info = w.apply("image", &bytes, Apply::default()).unwrap();
    assert_eq!((info.diff_id, info.lowers), (told.diff_id, 0));
    let flat = true;
    let how = Create {
        flat,
        ..Create::default()
    };
    A::create(&w.store, "flat", Some(&last), how, calm()).unwrap();
    let wanted = w.look(&last, Snapshot::of);
    for id in ["image", "flat"] {
        let is = w.look(id, Snapshot::of);
        is.assert_same(&wanted, Compare::default());
    }
    assert_eq!(w.changes_to("flat", Against::Layer("image")), [""; 0]);
}

/// Row 30, delete-layer.bats.
pub fn leaves_go_first<A: Api>(w: &World<'_, A>) {
    w.layer("one", None, |_| {});
    w.layer("two", Some("one"), |_| {});
    w.create("three", Some("two")).unwrap();
    let failure = fails(w.remove("one"), libc::EBUSY, 5, "remove", "one");
    assert!(failure.message.contains("two"), "{failure:?}");
    fails(w.remove("two"), libc::EBUSY, 5, "remove", "two");
    for id in ["three", "two", "one"] {
        w.remove(id).unwrap();
    }
    assert_eq!(w.list(), [""; 0]);
    w.assert_clean();
}

/// Row 31, mount-layer.bats, and the same through two stores.
pub fn mounts_are_counted<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("file"), "x"));
    w.create("box", Some("base")).unwrap();
    let other = A::open(&w.home(), &Open::default()).unwrap();
    let one = w.enter("box");
    let two = A::mount(&other, "box", &Mounting::default()).unwrap();
    assert_eq!(A::mount_path(&two), one.path.as_os_str().as_encoded_bytes());
    put(one.path.join("new"), "new");
    let path = one.path.clone();
    one.unmount();
    // Another handle: the mount is still there, and nothing may go.
    assert_eq!(get(path.join("new")), "new");
    fails(w.remove("box"), libc::EBUSY, 6, "remove", "box");
    fails(w.commit("box"), libc::EBUSY, 6, "commit", "box");
    assert!(A::unmount(two, false).is_ok());
    assert!(!there(path.join("new")));
    assert!(!w.stat("box").mounted);
    w.look("box", |path| assert_eq!(get(path.join("new")), "new"));
    w.remove("box").unwrap();
}

/// Rows 6 and 36, changes.bats: exact lists over several layers.
pub fn changes_of_each_layer<A: Api>(w: &World<'_, A>) {
    w.layer("low", None, |path| {
        mkdir(path.join("dir"));
        for name in ["dir/one", "dir/two", "three"] {
            put(path.join(name), name);
        }
    });
    w.layer("mid", Some("low"), |path| {
        rm(path.join("dir/one"));
        put(path.join("dir/new"), "new");
        put(path.join("dir-before"), "sorts between");
    });
    w.make("top", Some("mid"), |path| {
        rm(path.join("dir"));
        put(path.join("dir"), "a file now");
        put(path.join("three"), "THREE");
    });
    let all = ["A /dir", "A /dir/one", "A /dir/two", "A /three"];
    assert_eq!(w.changes("low"), all);
    let mid = ["C /dir", "A /dir/new", "D /dir/one", "A /dir-before"];
    assert_eq!(w.changes("mid"), mid);
    assert_eq!(w.changes("top"), ["C /dir", "C /three"]);
    let both = ["C /dir", "A /dir-before", "C /three"];
    assert_eq!(w.changes_to("top", Against::Layer("low")), both);
    let whole = ["A /dir", "A /dir-before", "A /three"];
    assert_eq!(w.changes_to("top", Against::Nothing), whole);
    // Backwards: what would have to be done to come from the top to the bottom.
    let back = [
        "C /dir",
        "A /dir/one",
        "A /dir/two",
        "D /dir-before",
        "C /three",
    ];
    assert_eq!(w.changes_to("low", Against::Layer("top")), back);
}

/// Row 37, diff.bats.
pub fn diff_is_its_own_files<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, fill_tree);
    w.make("box", Some("base"), |path| {
        put(path.join("new"), "new");
        put(path.join("var/lib/deep/new"), "new");
        rm(path.join("gone"));
    });
    let (bytes, info) = w.diff("box");
    let wanted = [
        ".wh.gone",
        "new",
        "var/",
        "var/lib/",
        "var/lib/deep/",
        "var/lib/deep/new",
    ];
    let mut is = tar::names(&bytes);
    is.sort();
    is.retain(|name| !matches!(name.as_str(), "./" | "."));
    assert_eq!(is, wanted);
    let about = (info.size, info.tar_size, info.blob_size);
    assert_eq!(about, (6, bytes.len() as u64, bytes.len() as u64));
}

/// Row 38, apply-diff.bats.
pub fn diff_remove_apply<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, fill_tree);
    w.make("box", Some("base"), |path| {
        put(path.join("var/lib/new"), "new");
        rm(path.join("base9"));
        std::os::unix::fs::symlink("new", path.join("var/lib/link")).unwrap();
    });
    let before = w.look("box", Snapshot::of);
    let (bytes, told) = w.diff("box");
    w.remove("box").unwrap();
    w.create("box", Some("base")).unwrap();
    let how = Apply {
        diff_id: Some(&told.diff_id),
        ..Apply::default()
    };
    let info = w.apply("box", &bytes, how).unwrap();
    assert!(info.committed);
    let after = w.look("box", Snapshot::of);
    after.assert_same(&before, Compare::default());
}

/// Row 39: what is applied takes the place of an empty writable layer, and of nothing else.
pub fn apply_takes_the_place<A: Api>(w: &World<'_, A>) {
    let bytes = Tar::new().dir("dir/").file("dir/file", "new").bytes();
    w.create("empty", None).unwrap();
    let info = w.apply("empty", &bytes, Apply::default()).unwrap();
    assert!(info.committed && info.kind == Kind::Root);
    w.look("empty", |path| {
        assert_eq!(get(path.join("dir/file")), "new")
    });
    w.make("full", None, |path| put(path.join("mine"), "mine"));
    let op = A::NAMES.apply;
    let done = w.apply("full", &bytes, Apply::default());
    fails(done, libc::ENOTEMPTY, 23, op, "full");
    w.look("full", |path| assert_eq!(names(path), ["mine"]));
}

/// Row 40, apply-junk.bats: what is no tar, plain or in any wrapping, leaves no layer.
pub fn junk_leaves_no_layer<A: Api>(w: &World<'_, A>) {
    let noise: Vec<u8> = (0..4096_u32).map(|i| (i * 7 + i / 3) as u8 | 1).collect();
    let wrapped = |magic: &[u8]| [magic, &noise].concat();
    let cases = [
        ("plain", noise.clone(), libc::EBADMSG),
        (
            "gzip",
            wrapped(b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
            libc::EBADMSG,
        ),
        ("zstd", wrapped(b"\x28\xb5\x2f\xfd\x24"), libc::EBADMSG),
        ("bzip2", wrapped(b"BZh91AY&SY"), libc::EOPNOTSUPP),
        ("xz", wrapped(b"\xfd7zXZ\0"), libc::EOPNOTSUPP),
        ("short", noise[..100].to_vec(), libc::EBADMSG),
    ];
    for (id, bytes, errno) in &cases {
        let failure = w.apply(id, bytes, Apply::default()).unwrap_err();
        assert_eq!(failure.errno, *errno, "{id}: {failure:?}");
        assert!(!A::exists(&w.store, id).unwrap(), "{id}");
        w.create(id, None).unwrap();
        w.apply(id, bytes, Apply::default()).unwrap_err();
        w.change(id, |path| assert_eq!(names(path), [""; 0], "{id}"));
    }
    w.assert_clean();
}
