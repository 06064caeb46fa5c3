//! What holds when things go wrong or on for long: full disks, stores opened again, mounts within
//! mounts, flags that forbid, long chains, odd paths.

use super::apply::listing;
use crate::api::*;
use crate::support::fsys;
use crate::support::tree::{Compare, Snapshot};
use crate::tar::Tar;
use crate::world::*;
use rustix::fs::IFlags;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

/// Gap 12, with row 7: a full disk, of bytes or of inodes, in the midst of an apply or a copy: the
/// kernel's error, no layer, nothing left behind; an empty layer stays empty.
pub fn full_disks<A: Api>(w: &World<'_, A>) {
    let many = (0..400).fold(Tar::new(), |tar, at| {
        tar.file(&format!("some/dir/{at}"), "x")
    });
    let large = Tar::new()
        .file("first", "x".repeat(1 << 20))
        .file("second", "x".repeat(8 << 20));
    let inodes = c"mode=755,size=64m,nr_inodes=200";
    let bytes = c"mode=755,size=4m";
    for (name, options, tar) in [("inodes", inodes, many), ("bytes", bytes, large)] {
        let place = w.dir(name);
        fsys::mount_tmpfs(&place, options).unwrap();
        let store = A::open(&place.join("home"), &Open::default()).unwrap();
        let w = World::<A> {
            base: &place,
            store,
        };
        w.layer("base", None, |path| put(path.join("file"), "x"));
        w.create("empty", Some("base")).unwrap();
        let left = |w: &World<'_, A>| {
            let room = rustix::fs::statvfs(w.base).unwrap();
            (room.f_bfree, room.f_ffree)
        };
        let before = (Snapshot::of(&w.home()), left(&w));
        let tar = tar.bytes();
        for (id, parent, kind) in [
            ("root", None, Some(Kind::Root)),
            ("child", Some("base"), Some(Kind::Root)),
            ("over", Some("base"), Some(Kind::Overlay)),
            ("empty", None, None),
        ] {
            let how = Apply {
                parent,
                kind,
                ..Apply::default()
            };
            let failure = w.apply(id, &tar, how).unwrap_err();
            let is = (failure.errno, failure.operation.as_str());
            assert_eq!(
                is,
                (libc::ENOSPC, A::NAMES.apply),
                "{name} {id}: {failure:?}"
            );
            assert!(!failure.path.is_empty(), "{failure:?}");
            assert_eq!(w.list(), ["base", "empty"], "{name} {id}");
            w.assert_clean();
            // The child's hint in the parent went, too.
            let now = Snapshot::of(&w.home());
            let mtime = Compare {
                mtime: false,
                ..Compare::default()
            };
            now.assert_same(&before.0, mtime);
            assert_eq!(left(&w), before.1, "{name} {id}");
        }
        assert!(!w.stat("empty").committed);
        w.look("empty", |path| assert_eq!(names(path), ["file"]));
        // There is room for less.
        let small = Tar::new().file("file", "y").bytes();
        let info = w.apply("empty", &small, Apply::default()).unwrap();
        assert!(info.committed);
        w.look("empty", |path| assert_eq!(get(path.join("file")), "y"));
    }
}

/// Row 19 and gap 10: a store that was closed and opened again tells the same, and finds its mounts: a
/// layer is never mounted twice.
pub fn opened_again<A: Api>(w: &World<'_, A>) {
    let place = w.base.join("again");
    let open = || A::open(&place, &Open::default()).unwrap();
    let keep = Mounting {
        keep: true,
        ..Mounting::default()
    };
    let first = World::<A> {
        base: w.base,
        store: open(),
    };
    first.layer("base", None, |path| put(path.join("file"), "x"));
    let tar = Tar::new().file("new", "x").bytes();
    first.apply_on("over", "base", &tar).unwrap();
    first.make("box", Some("over"), |path| put(path.join("own"), "x"));
    let kept = first.mount("box", &keep).unwrap();
    let path = kept.path.clone();
    let mounts = || {
        std::fs::read_to_string("/proc/thread-self/mountinfo")
            .unwrap()
            .lines()
            .count()
    };
    let told = |w: &World<'_, A>| -> Vec<Info> { w.list().iter().map(|id| w.stat(id)).collect() };
    let (before, count) = (told(&first), mounts());
    drop(kept);
    drop(first);
    for _ in 0..2 {
        let again = World::<A> {
            base: w.base,
            store: open(),
        };
        assert_eq!(told(&again), before);
        let one = again.enter("box");
        let two = again.mount("box", &keep).unwrap();
        assert_eq!((&one.path, &two.path, mounts()), (&path, &path, count));
        put(path.join("own"), "y");
        fails(again.remove("box"), libc::EBUSY, 6, "remove", "box");
        drop((one, two));
        assert_eq!(
            A::cleanup(&again.store, 0, calm()).unwrap(),
            Cleaned::default()
        );
        assert_eq!(get(path.join("own")), "y");
    }
    let last = World::<A> {
        base: w.base,
        store: open(),
    };
    A::unmount_at(&last.store, b"box", false).unwrap();
    assert_eq!(mounts(), count - 1);
    for id in ["box", "over", "base"] {
        last.remove(id).unwrap();
    }
    last.assert_clean();
}

/// Rows 50 and 83: what others mounted inside a layer keeps it; a removal never goes into it.
pub fn mounts_inside<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| mkdir(path.join("dir/sub")));
    w.make("box", Some("base"), |path| put(path.join("dir/file"), "x"));
    let mount = w.enter("box");
    let inner = mount.path.join("dir/sub");
    fsys::mount_tmpfs(&inner, c"mode=755").unwrap();
    put(inner.join("precious"), "precious");
    let (mount, failure) = mount.try_unmount().err().unwrap();
    assert_eq!(failure.errno, libc::EBUSY, "{failure:?}");
    fails(w.remove("box"), libc::EBUSY, 6, "remove", "box");
    assert_eq!(get(inner.join("precious")), "precious");
    // Lazily, both go from here.
    assert!(A::unmount(mount.mount, true).is_ok());
    assert!(!there(&inner));
    // On the tree itself, where no call of the library would have put it.
    let inner = w.home().join("layer/box/upper/dir");
    fsys::mount_tmpfs(&inner, c"mode=755").unwrap();
    put(inner.join("precious"), "precious");
    w.remove("box").unwrap();
    // The layer is gone by its name; what is mounted in it stays, and with it the way there.
    let trash = w.home().join("trash");
    let left = names(&trash);
    assert_eq!(left.len(), 1);
    let inner = trash.join(&left[0]).join("upper/dir");
    assert_eq!(get(inner.join("precious")), "precious");
    let done = A::cleanup(&w.store, 0, calm()).unwrap();
    assert_eq!((done.removed, names(&trash).len()), (0, 1));
    assert_eq!(get(inner.join("precious")), "precious");
    rustix::mount::unmount(&inner, rustix::mount::UnmountFlags::empty()).unwrap();
    assert_eq!(A::cleanup(&w.store, 0, calm()).unwrap().removed, 1);
    assert_eq!(names(&trash), [""; 0]);
    w.assert_clean();
}

/// Whether the file system of the cases has flags that forbid changes.
fn stick(path: &Path, flag: IFlags) -> bool {
    let file = std::fs::File::open(path).unwrap();
    let stuck = IFlags::IMMUTABLE | IFlags::APPEND;
    let Ok(flags) = rustix::fs::ioctl_getflags(&file) else {
        return false;
    };
    rustix::fs::ioctl_setflags(&file, flags.difference(stuck) | flag).is_ok()
}

/// Rows 33, 34 and 132: flags that forbid changes are no part of a layer: they keep nobody from
/// building on it or removing it.
pub fn immutable_files<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        put(path.join("file"), "x");
        put(path.join("log"), "x");
        mkdir(path.join("dir"));
        put(path.join("dir/in"), "x");
    });
    let root = w.home().join("layer/base/root");
    if !stick(&root.join("file"), IFlags::IMMUTABLE) {
        return crate::support::have::skip("immutable files", "the file system has no such flag");
    }
    assert!(stick(&root.join("log"), IFlags::APPEND));
    let tar = Tar::new().file("new", "x").file("dir/new", "x").bytes();
    for kind in [Kind::Root, Kind::Overlay] {
        let how = Apply {
            parent: Some("base"),
            kind: Some(kind),
            ..Apply::default()
        };
        let id = format!("{kind:?}");
        w.apply(&id, &tar, how).unwrap();
        let wanted = ["dir/", "dir/in=x", "dir/new=x", "file=x", "log=x", "new=x"];
        assert_eq!(w.look(&id, listing), wanted);
        assert_eq!(w.changes(&id), ["C /dir", "A /dir/new", "A /new"]);
    }
    w.make("box", Some("base"), |path| put(path.join("own"), "x"));
    let upper = w.home().join("layer/box/upper");
    mkdir(upper.join("deep/er"));
    put(upper.join("deep/er/file"), "x");
    for name in ["own", "deep/er/file", "deep/er", "deep"] {
        assert!(stick(&upper.join(name), IFlags::IMMUTABLE));
    }
    for id in ["box", "Root", "Overlay", "base"] {
        w.remove(id).unwrap();
    }
    assert_eq!(names(w.home().join("trash")), [""; 0]);
    w.assert_clean();
}

/// Row 74 to the letter: after each of 128 layers the view is what a plain directory would be.
pub fn each_of_many_layers<A: Api>(w: &World<'_, A>) {
    let plain = w.dir("plain");
    chmod(&plain, 0o755);
    let step = |path: &Path, at: usize| {
        let dir = path.join(format!("d{}", at % 7));
        mkdir(&dir);
        put(dir.join(format!("f{at}")), at.to_string());
        put(path.join("last"), at.to_string());
        if at % 3 == 2 {
            rm(path.join(format!("d{}", (at - 2) % 7)));
        }
        if at % 5 == 4 {
            symlink(format!("f{at}"), path.join(format!("l{at}"))).unwrap();
        }
        if at % 11 == 10 {
            chmod(path.join("last"), 0o600 + (at as u32 % 8));
        }
    };
    let mut last: Option<String> = None;
    for at in 0..128 {
        step(&plain, at);
        let id = format!("l{at}");
        w.create(&id, last.as_deref()).unwrap();
        w.change(&id, |path| step(path, at));
        A::commit(&w.store, &id, Durability::None, calm()).unwrap();
        let times = Compare {
            mtime: false,
            ..Compare::default()
        };
        let wanted = Snapshot::of(&plain);
        w.look(&id, Snapshot::of).assert_same(&wanted, times);
        last = Some(id);
    }
    assert_eq!(w.stat("l127").lowers, 127);
}

/// Rows 75, 76 and 78: what each sort of layer is to those who mount it, word for word.
pub fn specs_of_each_sort<A: Api>(w: &World<'_, A>) {
    let home = w.home().canonicalize().unwrap();
    let at = |name: &str| format!("{}/layer/{name}", home.display());
    let spec = |id: &str, read_only| {
        let spec = A::spec(&w.store, id, read_only).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let options: Vec<String> = spec.options.iter().map(|one| text(one)).collect();
        (spec.fs_type, text(&spec.source), options.join(","))
    };
    let said = |kind: &str, source: &str, options: &str| {
        (kind.to_string(), source.to_string(), options.to_string())
    };
    let fixed = "index=off,metacopy=off,redirect_dir=nofollow,xino=off,nfs_export=off";
    w.create("one", None).unwrap();
    assert_eq!(
        spec("one", false),
        said("bind", &at("one/root"), "rbind,rw")
    );
    assert_eq!(spec("one", true), said("bind", &at("one/root"), "rbind,ro"));
    w.commit("one").unwrap();
    assert_eq!(
        spec("one", false),
        said("bind", &at("one/root"), "rbind,ro")
    );
    w.create("two", Some("one")).unwrap();
    let two = format!(
        "lowerdir={},upperdir={},workdir={},{fixed}",
        at("one/root"),
        at("two/upper"),
        at("two/work")
    );
    assert_eq!(spec("two", false), said("overlay", "overlay", &two));
    w.commit("two").unwrap();
    let view = format!("lowerdir={}:{},{fixed},ro", at("two/upper"), at("one/root"));
    assert_eq!(spec("two", false), said("overlay", "overlay", &view));
    w.create("three", Some("two")).unwrap();
    let three = format!(
        "lowerdir={}:{},upperdir={},workdir={},{fixed}",
        at("two/upper"),
        at("one/root"),
        at("three/upper"),
        at("three/work")
    );
    assert_eq!(spec("three", false), said("overlay", "overlay", &three));
}

/// Gap 8: a home and a mount point whose names hold what mount options may not.
pub fn any_path<A: Api>(w: &World<'_, A>) {
    for name in ["a:b", "a,b", "a\\b", "a b", "lowerdir=x,", "\u{e9}\n"] {
        let place = w.dir(name);
        let store = A::open(&place.join(name), &Open::default()).unwrap();
        let odd = World::<A> {
            base: &place,
            store,
        };
        odd.layer("base", None, |path| put(path.join("file"), "x"));
        odd.layer("over", Some("base"), |path| put(path.join("over"), "x"));
        odd.create("box", Some("over")).unwrap();
        let target = odd.dir(&format!("at {name}"));
        let how = Mounting {
            target: Some(&target),
            ..Mounting::default()
        };
        let mount = odd.mount("box", &how).unwrap();
        assert_eq!(mount.path, target);
        put(target.join("new"), "x");
        assert_eq!(names(&target), ["file", "new", "over"]);
        mount.unmount();
        assert_eq!(odd.changes("box"), ["A /new"]);
        let (bytes, _) = odd.diff("box");
        odd.apply_on("again", "over", &bytes).unwrap();
        assert_eq!(
            odd.look("again", |path| names(path)),
            ["file", "new", "over"]
        );
        assert_eq!(target.metadata().unwrap().nlink(), 2);
        odd.assert_clean();
    }
}
