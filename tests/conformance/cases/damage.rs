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
