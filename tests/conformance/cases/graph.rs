//! The graph drivers' cases: moby's `graphtest` and layer tests, containers/storage's drivers.

use crate::api::*;
use crate::support::tree::{Compare, Snapshot};
use crate::tar::Tar;
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

pub fn fill_tree(path: &Path) {
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
