//! Damage: found whatever attribute it is in, mended where nothing is lost, and no reason to stay.

use super::apply::listing;
use crate::api::*;
use crate::support::tree::Snapshot;
use crate::tar::Tar;
use crate::world::*;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

/// Rows 18, 44 and 46: each attribute that a layer had when it was committed is looked at; content
/// that changed without a trace is found where its digest was asked for.
pub fn every_attribute_is_checked<A: Api>(w: &World<'_, A>) {
    fn fill(path: &Path) {
        mkdir(path.join("dir"));
        for name in ["file", "other", "dir/in"] {
            put(path.join(name), "content");
        }
        std::fs::hard_link(path.join("file"), path.join("link")).unwrap();
        symlink("file", path.join("soft")).unwrap();
        xattr::set(path.join("other"), "user.note", b"x").unwrap();
    }
    // Without a trace: mtimes are put back.
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 15] = [
        ("mode", |p| chmod(p.join("other"), 0o600)),
        ("set-id", |p| chmod(p.join("file"), 0o4644)),
        ("owner", |p| chown(p.join("other"), Some(1), None).unwrap()),
        ("group", |p| chown(p.join("dir"), None, Some(1)).unwrap()),
        ("mode of a directory", |p| chmod(p.join("dir"), 0o700)),
        ("xattr", |p| {
            xattr::set(p.join("other"), "user.note", b"y").unwrap()
        }),
        ("new xattr", |p| {
            xattr::set(p.join("dir"), "user.note", b"y").unwrap()
        }),
        ("no xattr", |p| {
            xattr::remove(p.join("other"), "user.note").unwrap()
        }),
        ("length", |p| put(p.join("other"), "contents")),
        ("kind", |p| {
            rm(p.join("other"));
            mkdir(p.join("other"));
        }),
        ("target", |p| {
            rm(p.join("soft"));
            symlink("elif", p.join("soft")).unwrap();
        }),
        ("link group", |p| {
            rm(p.join("link"));
            put(p.join("link"), "content");
        }),
        ("gone", |p| rm(p.join("dir/in"))),
        ("new", |p| put(p.join("dir/new"), "")),
        ("time", |p| {
            std::fs::File::open(p.join("other"))
                .unwrap()
                .set_modified(std::time::UNIX_EPOCH)
                .unwrap()
        }),
    ];
    let back = |path: &Path, tree: &Snapshot| {
        for (name, node) in &tree.0 {
            let name = std::str::from_utf8(name).unwrap();
            let time = rustix::fs::Timespec {
                tv_sec: node.mtime.0,
                tv_nsec: node.mtime.1.into(),
            };
            let times = rustix::fs::Timestamps {
                last_access: time,
                last_modification: time,
            };
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            let _ = rustix::fs::utimensat(rustix::fs::CWD, path.join(name), &times, flags);
        }
    };
    for (at, (what, harm)) in harms.iter().enumerate() {
        let id = format!("l{at}");
        w.layer(&id, None, fill);
        w.assert_clean();
        let root = w.home().join("layer").join(&id).join("root");
        let tree = Snapshot::of(&root);
        harm(&root);
        if *what != "time" {
            back(&root, &tree);
        }
        let found = A::check(&w.store, false, calm()).unwrap();
        assert!(!found.is_empty(), "{what}: nothing is found");
        assert!(found.iter().all(|one| one.place == id), "{what}: {found:?}");
        w.remove(&id).unwrap();
    }
    for (id, how, seen) in [
        ("full", Durability::Full, false),
        ("verified", Durability::Verified, true),
    ] {
        w.make(id, None, fill);
        A::commit(&w.store, id, how, calm()).unwrap();
        let tar = Tar::new().file("file", "content").bytes();
        let applied = format!("{id}-tar");
        let how = Apply {
            durability: how,
            ..Apply::default()
        };
        w.apply(&applied, &tar, how).unwrap();
        for id in [id, &applied] {
            let root = w.home().join("layer").join(id).join("root");
            let tree = Snapshot::of(&root);
            put(root.join("file"), "CONTENT");
            back(&root, &tree);
            let found = A::check(&w.store, false, calm()).unwrap();
            assert_eq!(!found.is_empty(), seen, "{id}: {found:?}");
            assert!(found.iter().all(|one| one.place == *id), "{found:?}");
            w.remove(id).unwrap();
        }
    }
}

/// Row 28: the mount point is made when it is missing; other rooms of a layer are found and made
/// again by a repair; nothing of its content is in them.
pub fn missing_rooms<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("file"), "x"));
    w.make("box", Some("base"), |path| put(path.join("own"), "x"));
    rm(w.home().join("layer/box/merged"));
    w.change("box", |path| assert_eq!(listing(path), ["file=x", "own=x"]));
    w.assert_clean();
    for (place, rooms) in [
        ("box", &["work"][..]),
        ("base", &["pin"]),
        ("box", &["work", "merged", "pin"]),
    ] {
        for room in rooms {
            rm(w.home().join("layer").join(place).join(room));
        }
        let found = A::check(&w.store, false, calm()).unwrap();
        assert!(!found.is_empty(), "{rooms:?}");
        assert!(found.iter().all(|one| one.place == place && !one.repaired));
        let mended = A::check(&w.store, true, calm()).unwrap();
        assert!(mended.iter().all(|one| one.repaired), "{mended:?}");
        w.assert_clean();
        w.change("box", |path| {
            assert_eq!(listing(path), ["file=x", "own=x"]);
            put(path.join("own"), "x");
        });
        assert_eq!(w.changes("box"), ["A /own"]);
    }
    w.remove("box").unwrap();
}

/// Row 44, the rest: a layer that lost its tree, or a room, can be removed; one in use cannot, whatever
/// it lost.
pub fn damaged_layers_can_go<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("file"), "x"));
    let outside = w.dir("outside");
    put(outside.join("file"), "outside");
    for lost in [
        &["upper"][..],
        &["work"],
        &["pin"],
        &["merged"],
        &["upper", "work", "merged", "pin"],
    ] {
        w.create("box", Some("base")).unwrap();
        for name in lost {
            rm(w.home().join("layer/box").join(name));
        }
        w.remove("box")
            .unwrap_or_else(|e| panic!("without {lost:?}: {e:?}"));
    }
    for name in ["upper", "work", "pin"] {
        w.create("box", Some("base")).unwrap();
        let tree = w.home().join("layer/box").join(name);
        rm(&tree);
        symlink(&outside, &tree).unwrap();
        w.remove("box").unwrap_or_else(|e| panic!("{name}: {e:?}"));
    }
    assert_eq!(get(outside.join("file")), "outside");
    w.create("box", Some("base")).unwrap();
    let mount = w.enter("box");
    rm(w.home().join("layer/box/work/work"));
    fails(w.remove("box"), libc::EBUSY, 6, "remove", "box");
    mount.unmount();
    w.remove("box").unwrap();
    rm(w.home().join("layer/base/root"));
    w.remove("base").unwrap();
    assert_eq!(w.list(), [""; 0]);
    w.assert_clean();
}

/// A damaged layer that has something to lose is kept until it is removed: its name is not free,
/// neither cleaning up nor a repair takes it, its parent stays; others are as they were.
pub fn what_it_holds_is_kept<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("file"), "x"));
    w.make("box", Some("base"), |path| put(path.join("own"), "mine"));
    w.create("other", Some("base")).unwrap();
    put(w.home().join("layer/box/meta"), "kind=over");
    assert!(!A::exists(&w.store, "box").unwrap());
    assert_eq!(w.list(), ["base", "other"]);
    fails(w.create("box", None), libc::EEXIST, 20, "create", "box");
    let tar = Tar::new().file("file", "").bytes();
    let name = A::NAMES.apply;
    let failure = fails(
        w.apply("box", &tar, Apply::default()),
        libc::EEXIST,
        20,
        name,
        "box",
    );
    assert!(failure.message.contains("ovl rm box"), "{failure:?}");
    fails(w.remove("base"), libc::EBUSY, 5, "remove", "base");
    let done = A::cleanup(&w.store, 0, calm()).unwrap();
    assert_eq!(done, Cleaned::default());
    for repair in [false, true] {
        let found = A::check(&w.store, repair, calm()).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].words.starts_with("damaged: ") && !found[0].repaired,
            "{found:?}"
        );
    }
    assert_eq!(get(w.home().join("layer/box/upper/own")), "mine");
    w.change("other", |path| assert_eq!(listing(path), ["file=x"]));
    w.remove("box").unwrap();
    w.assert_clean();
    w.create("box", Some("base")).unwrap();
}

/// What was not looked at is told, and is no damage.
pub fn notes<A: Api>(w: &World<'_, A>) {
    let all = |how: Durability| {
        w.make("box", None, |path| put(path.join("file"), "x"));
        A::commit(&w.store, "box", how, calm()).unwrap();
        let found = A::check_all(&w.store, false, calm()).unwrap();
        w.remove("box").unwrap();
        found
    };
    assert_eq!(all(Durability::Verified), []);
    let found = all(Durability::Full);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].note && !found[0].repaired && found[0].place == "box",
        "{found:?}"
    );
    assert!(
        found[0].words.starts_with("not recorded: contents"),
        "{found:?}"
    );
}

/// A repair needs the store alone, and says what does not.
pub fn a_repair_is_alone<A: Api>(w: &World<'_, A>) {
    w.create("box", None).unwrap();
    let other = A::open(&w.home(), &Open::default()).unwrap();
    let refused = A::check_all(&w.store, true, calm());
    let failure = fails(refused, libc::EBUSY, 7, "check", "");
    assert!(failure.message.contains("ovl gc"), "{failure:?}");
    assert_eq!(A::check_all(&other, false, calm()).unwrap(), []);
    drop(other);
    assert_eq!(A::check_all(&w.store, true, calm()).unwrap(), []);
    w.remove("box").unwrap();
}

/// A budget ends a cleanup in the middle of one large removal; the next goes on.
pub fn a_budget<A: Api>(w: &World<'_, A>) {
    w.create("box", None).unwrap();
    let root = w.home().join("layer/box/root");
    for at in 0..20_000 {
        put(root.join(at.to_string()), "");
    }
    A::remove(&w.store, "box", true, calm()).unwrap();
    let trash = w.home().join("trash");
    let root = trash.join(&names(&trash)[0]).join("root");
    let done = A::cleanup(&w.store, 1, calm()).unwrap();
    assert_eq!((done.removed, done.busy, done.left), (0, 0, 1));
    let left = names(&root).len();
    assert!(left < 20_000, "nothing went");
    let mut done = done;
    while done.left > 0 {
        done = A::cleanup(&w.store, 20, calm()).unwrap();
    }
    assert_eq!(names(&trash), [""; 0]);
    w.assert_clean();
}

/// What a layer takes: its own, what others have too, and all of it once.
pub fn usage<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        put(path.join("file"), "x".repeat(10_000).as_str())
    });
    let tar = Tar::new().file("own", "y").bytes();
    let how = Apply {
        parent: Some("base"),
        kind: Some(Kind::Root),
        ..Apply::default()
    };
    w.apply("top", &tar, how).unwrap();
    let of = |id: Option<&str>| A::usage(&w.store, id, calm()).unwrap();
    let (base, top, all) = (of(Some("base")), of(Some("top")), of(None));
    assert_eq!(base.shared[1..], [1, 10_000]);
    assert_eq!(base.shared, top.shared);
    assert_eq!(all.shared, [0; 3]);
    for at in 0..3 {
        assert!(base.own[at] > 0 || at == 0, "{base:?}");
        let sum = base.own[at] + top.own[at] + base.shared[at];
        assert!(all.own[at] >= sum, "{at}: {all:?}");
    }
    fails(
        A::usage(&w.store, Some("none"), calm()),
        libc::ENOENT,
        3,
        "usage",
        "none",
    );
    w.remove("top").unwrap();
    assert_eq!(of(Some("base")).shared, [0; 3]);
}
