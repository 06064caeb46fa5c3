//! The contract's own cases: opening, mounts of each sort, damage, leftovers, specs, copies, and
//! what is told of a layer.

use crate::api::*;
use crate::support::fsys;
use crate::support::tree::{Compare, Snapshot};
use crate::tar::Tar;
use crate::world::*;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A missing directory becomes a store, with those that lead to it; marks are fixed then; a format
/// that is not known is refused.
pub fn opening<A: Api>(w: &World<'_, A>) {
    let place = w.base.join("some/where");
    let user = Open {
        marks: Marks::User,
        ..Open::default()
    };
    drop(A::open(&place, &user).unwrap());
    assert!(get(place.join("ovl-store")).contains("marks=user"));
    drop(A::open(&place, &user).unwrap());
    drop(A::open(&place, &Open::default()).unwrap());
    let trusted = Open {
        marks: Marks::Trusted,
        ..Open::default()
    };
    let shown = place.to_string_lossy().into_owned();
    let done = A::open(&place, &trusted).map(drop);
    fails(done, libc::EINVAL, 2, A::NAMES.open, &shown);
    let format = get(place.join("ovl-store"));
    put(
        place.join("ovl-store"),
        format.replace("format=1", "format=2"),
    );
    let done = A::open(&place, &Open::default()).map(drop);
    fails(done, libc::EOPNOTSUPP, 19, A::NAMES.open, "ovl-store");
    let file = w.base.join("file");
    put(&file, "x");
    let done = A::open(&file, &Open::default()).map(drop);
    fails(
        done,
        libc::ENOTDIR,
        1,
        A::NAMES.open,
        &file.to_string_lossy(),
    );
}

/// A store with `user.*` marks: the same merged trees.
pub fn user_marks<A: Api>(w: &World<'_, A>) {
    let user = Open {
        marks: Marks::User,
        ..Open::default()
    };
    let store = A::open(&w.base.join("user"), &user).unwrap();
    let (base, store) = (w.base, store);
    let mine = World::<A> { base, store };
    for w in [w, &mine] {
        w.layer("base", None, |path| {
            mkdir(path.join("dir/sub"));
            put(path.join("gone"), "x");
        });
        let tar = Tar::new()
            .file(".wh.gone", "")
            .dir("dir/")
            .file("dir/.wh..wh..opq", "");
        w.apply_on("over", "base", &tar.file("dir/new", "new").bytes())
            .unwrap();
        w.look("over", |path| {
            assert_eq!(names(path), ["dir"]);
            assert_eq!(names(path.join("dir")), ["new"]);
        });
    }
    assert_eq!(mine.diff("over").1.diff_id, w.diff("over").1.diff_id);
}

/// Held: it ends with its last handle, and a handle that is dropped leaves it to the next call.
pub fn held_mounts<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("file"), "x"));
    w.create("box", Some("base")).unwrap();
    let place = w.dir("place");
    let at = Mounting {
        target: Some(&place),
        ..Mounting::default()
    };
    let held = w.mount("box", &at).unwrap();
    assert_eq!(held.path, place);
    assert_eq!(get(place.join("file")), "x");
    // A file in it is open: nothing changes, and the handle is the caller's still.
    let open = std::fs::File::open(place.join("file")).unwrap();
    let (held, failure) = held.try_unmount().err().unwrap();
    let is = (failure.errno, failure.operation.as_str());
    assert_eq!(is, (libc::EBUSY, "unmount"), "{failure:?}");
    assert_eq!(failure.path, place.as_os_str().as_bytes());
    drop(open);
    let root = A::mount_fd(&held.mount);
    assert!(rustix::fs::statat(root, "file", rustix::fs::AtFlags::empty()).is_ok());
    drop(held);
    assert!(there(place.join("file")));
    let done = A::cleanup(&w.store, 0, calm()).unwrap();
    assert_eq!((done.unmounted, done.busy), (1, 0));
    assert!(!there(place.join("file")));
    // A target that is not there.
    let lost = w.base.join("lost");
    let at = Mounting {
        target: Some(&lost),
        ..Mounting::default()
    };
    let done = w.mount("box", &at).map(drop);
    fails(done, libc::ENOENT, 1, "mount", &lost.to_string_lossy());
}

/// Kept: it stays without a handle, until it is unmounted by the layer's id or by its path.
pub fn kept_mounts<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("file"), "x"));
    w.create("box", Some("base")).unwrap();
    let place = w.dir("place");
    let keep = Mounting {
        keep: true,
        target: Some(&place),
        ..Mounting::default()
    };
    for name in [&b"box"[..], place.as_os_str().as_bytes()] {
        let kept = w.mount("box", &keep).unwrap();
        let done = A::unmount_at(&w.store, name, false);
        assert_eq!(done.unwrap_err().errno, libc::EBUSY);
        drop(kept);
        assert_eq!(A::cleanup(&w.store, 0, calm()).unwrap(), Cleaned::default());
        assert!(there(place.join("file")) && w.stat("box").mounted);
        fails(w.remove("box"), libc::EBUSY, 6, "remove", "box");
        A::unmount_at(&w.store, name, false).unwrap();
        assert!(!there(place.join("file")) && !w.stat("box").mounted);
        // Row 72: once is enough.
        let shown = String::from_utf8_lossy(name).into_owned();
        let done = A::unmount_at(&w.store, name, false);
        fails(done, libc::EINVAL, 1, A::NAMES.unmount_at, &shown);
    }
    // Lazily, though a file in it is open.
    drop(w.mount("box", &keep).unwrap());
    let open = std::fs::File::open(place.join("file")).unwrap();
    let done = A::unmount_at(&w.store, b"box", false);
    assert_eq!(done.unwrap_err().errno, libc::EBUSY);
    A::unmount_at(&w.store, b"box", true).unwrap();
    assert!(!there(place.join("file")));
    assert_eq!(std::io::read_to_string(open).unwrap(), "x");
}

/// Detached: a descriptor, at no path; gone with its last copy.
pub fn detached_mounts<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("file"), "x"));
    w.create("box", Some("base")).unwrap();
    let how = Mounting {
        detached: true,
        ..Mounting::default()
    };
    let mount = A::mount(&w.store, "box", &how).unwrap();
    assert_eq!(A::mount_path(&mount), b"");
    let copy = A::mount_fd(&mount).try_clone_to_owned().unwrap();
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CREATE;
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    drop(rustix::fs::openat(A::mount_fd(&mount), "new", flags, mode).unwrap());
    fails(w.remove("box"), libc::EBUSY, 6, "remove", "box");
    A::unmount(mount, false)
        .map_err(|(_, failure)| failure)
        .unwrap();
    assert!(rustix::fs::statat(&copy, "new", rustix::fs::AtFlags::empty()).is_ok());
    drop(copy);
    assert_eq!(w.changes("box"), ["A /new"]);
    w.remove("box").unwrap();
}

/// Row 32: a volatile mount can be made again after it was not ended in order, and, as the machine
/// is still up, any other: its data is synced first.
pub fn volatile_mounts<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |_| {});
    w.create("box", Some("base")).unwrap();
    let how = Mounting {
        volatile: true,
        ..Mounting::default()
    };
    for at in 0..2 {
        let mount = w.mount("box", &how).unwrap();
        put(mount.path.join(at.to_string()), "x");
        drop(mount);
    }
    A::cleanup(&w.store, 0, calm()).unwrap();
    let mount = w.mount("box", &Mounting::default()).unwrap();
    assert!(mount.path.join("1").exists());
    mount.unmount();
    w.commit("box").unwrap();
    assert_eq!(w.changes("box"), ["A /0", "A /1"]);
}

/// How others mount a layer: strings with paths that are there, and the entry of an OCI runtime.
pub fn specs<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("file"), "x"));
    w.layer("mid", Some("base"), |path| put(path.join("mid"), "x"));
    w.create("box", Some("mid")).unwrap();
    let home = w.home().canonicalize().unwrap();
    let at = |name: &str| format!("{}/layer/{name}", home.display());
    let base = A::spec(&w.store, "base", false).unwrap();
    assert_eq!(
        (base.fs_type.as_str(), base.source),
        ("bind", at("base/root").into_bytes())
    );
    assert_eq!(base.options, [b"rbind".to_vec(), b"ro".to_vec()]);
    let spec = A::spec(&w.store, "box", false).unwrap();
    assert_eq!(spec.fs_type, "overlay");
    let mut options: Vec<String> = Vec::new();
    for option in &spec.options {
        options.push(String::from_utf8(option.clone()).unwrap());
    }
    let wanted = [
        format!("lowerdir={}:{}", at("mid/upper"), at("base/root")),
        format!("upperdir={}", at("box/upper")),
        format!("workdir={}", at("box/work")),
        "index=off".to_string(),
    ];
    for one in &wanted {
        assert!(options.contains(one), "{one}: {options:?}");
    }
    // mount(8) takes it.
    let place = w.dir("place");
    let data = std::ffi::CString::new(options.join(",")).unwrap();
    let none = rustix::mount::MountFlags::empty();
    rustix::mount::mount("overlay", &place, "overlay", none, data.as_c_str()).unwrap();
    assert_eq!(names(&place), ["file", "mid"]);
    rustix::mount::unmount(&place, rustix::mount::UnmountFlags::empty()).unwrap();
    let view = A::spec(&w.store, "box", true).unwrap();
    assert!(view.options.contains(&b"ro".to_vec()));
    let json = A::spec_json(&w.store, "box", "/a \"b\"").unwrap();
    assert!(json.starts_with(r#"{"destination":"/a \"b\"","type":"overlay","source":"overlay","#));
    assert!(json.contains(&format!("\"{}\"", wanted[1])));
    // What cannot be said in one.
    let odd = A::open(&w.base.join("with:colon"), &Open::default()).unwrap();
    let odd = World::<A> {
        base: w.base,
        store: odd,
    };
    odd.layer("base", None, |_| {});
    odd.create("box", Some("base")).unwrap();
    let failure = A::spec(&odd.store, "box", false).unwrap_err();
    assert_eq!(
        (failure.errno, failure.code),
        (libc::EINVAL, 2),
        "{failure:?}"
    );
    // The library's own mount needs no such string.
    odd.change("box", |path| put(path.join("file"), "x"));
}

/// Row 44, check: what differs from what was committed, and what is left over.
pub fn damage_is_found<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        put(path.join("file"), "right");
        put(path.join("other"), "x");
    });
    w.create("box", Some("base")).unwrap();
    w.assert_clean();
    let root = w.home().join("layer/base/root");
    put(root.join("file"), "longer than before");
    rm(root.join("other"));
    mkdir(w.home().join("stage/left"));
    mkdir(w.home().join("layer/half"));
    let check = |repair| A::check(&w.store, repair, calm()).unwrap();
    let found = check(false);
    let places: Vec<&str> = found.iter().map(|one| one.place.as_str()).collect();
    // The root too: its mtime.
    let wanted = ["base", "base", "base", "half", "stage/left"];
    assert_eq!(places, wanted, "{found:?}");
    assert!(
        found
            .iter()
            .all(|one| !one.repaired && !one.words.is_empty())
    );
    let mended = check(true);
    assert!(
        mended
            .iter()
            .all(|one| one.repaired != (one.place == "base")),
        "{mended:?}"
    );
    // What repair left is for a person; nothing went that was a layer.
    assert_eq!(w.list(), ["base", "box"]);
    let left = check(false);
    assert!(left.iter().all(|one| one.place == "base"), "{left:?}");
}

/// Row 29 and the trash: what killed processes left goes, what is in use stays.
pub fn leftovers_go<A: Api>(w: &World<'_, A>) {
    assert_eq!(A::cleanup(&w.store, 0, calm()).unwrap(), Cleaned::default());
    w.make("box", None, |path| put(path.join("file"), "x"));
    A::remove(&w.store, "box", true, calm()).unwrap();
    assert_eq!(names(w.home().join("trash")).len(), 1);
    mkdir(w.home().join("stage/old/root"));
    mkdir(w.home().join("stage/busy/root"));
    let alone = rustix::fs::FlockOperation::LockExclusive;
    let _lock = fsys::Locked::new(&w.home().join("stage/busy"), alone);
    let done = A::cleanup(&w.store, 0, calm()).unwrap();
    assert_eq!((done.removed, done.busy, done.unmounted), (2, 1, 0));
    assert_eq!(names(w.home().join("stage")), ["busy"]);
    assert_eq!(names(w.home().join("trash")), [""; 0]);
}

/// A layer that was never whole goes to trash, and the log tells of it.
pub fn the_log_tells<A: Api>(w: &World<'_, A>) {
    let log = Log::default();
    let how = Open {
        log: Some(log.clone()),
        ..Open::default()
    };
    let store = A::open(&w.home(), &how).unwrap();
    mkdir(w.home().join("layer/half"));
    assert!(!A::exists(&store, "half").unwrap());
    A::create(&store, "half", None, Create::default(), calm()).unwrap();
    let told = log.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].0 == 2 && told[0].1.contains("half"), "{told:?}");
}

/// Each capability has a name; what is not there has a reason.
pub fn status_has_reasons<A: Api>(w: &World<'_, A>) {
    let all = A::status(&w.store).unwrap();
    assert!(!all.is_empty());
    for one in &all {
        assert!(
            !one.name.is_empty() && (one.ok || !one.reason.is_empty()),
            "{one:?}"
        );
    }
    // Root on a tmpfs, which is what a case is, can do that much.
    let marks = all.iter().find(|one| one.name == "trusted_xattrs");
    assert!(marks.unwrap().ok, "{all:?}");
    w.assert_clean();
}

/// Rows 53 to 55, copy: everything, link groups, and links to the source.
pub fn copies<A: Api>(w: &World<'_, A>) {
    let from = w.dir("from");
    mkdir(from.join("dir/sub"));
    put(from.join("file"), "data");
    std::fs::hard_link(from.join("file"), from.join("dir/link")).unwrap();
    std::os::unix::fs::symlink("../file", from.join("dir/symlink")).unwrap();
    chmod(from.join("dir"), 0o1750);
    let wanted = Snapshot::of(&from);
    let links = Copying {
        hard_link: true,
        ..Copying::default()
    };
    let base = std::fs::File::open(w.base).unwrap();
    let copy = |to: &Path, how: &Copying| {
        let from = (Some(base.as_fd()), Path::new("from"));
        A::copy_dir(from, (Some(base.as_fd()), to), how, calm()).unwrap()
    };
    let done = copy(Path::new("copy"), &Copying::default());
    let about = (done.entries, done.directories, done.grouped, done.bytes);
    assert_eq!(about, (6, 3, 1, 4));
    assert_eq!(done.copied + done.reflinked, 1);
    Snapshot::of(&w.base.join("copy")).assert_same(&wanted, Compare::default());
    // An empty directory is filled.
    let empty = w.dir("empty");
    let never = Copying {
        reflink: Reflink::Never,
        ..Copying::default()
    };
    assert_eq!(copy(&empty, &never).copied, 1);
    Snapshot::of(&empty).assert_same(&wanted, Compare::default());
    let linked = copy(Path::new("linked"), &links);
    assert!(linked.linked >= 2 && linked.copied == 0 && linked.skipped == [0; 3]);
    let inode = |path: &Path| path.metadata().unwrap().ino();
    assert_eq!(
        inode(&w.base.join("linked/file")),
        inode(&from.join("file"))
    );
    assert_ne!(inode(&w.base.join("copy/file")), inode(&from.join("file")));
}

/// What is told of a layer by the call that made it, and later.
pub fn info_stays<A: Api>(w: &World<'_, A>) {
    let tar = Tar::new()
        .dir("dir/")
        .file("dir/file", "12345")
        .symlink("dir/link", "file");
    let bytes = tar.link("dir/hard", "dir/file").fifo("fifo").bytes();
    for how in [Durability::None, Durability::Full, Durability::Verified] {
        let id = format!("{how:?}");
        let how = Apply {
            durability: how,
            ..Apply::default()
        };
        let info = w.apply(&id, &bytes, how).unwrap();
        let len = bytes.len() as u64;
        let about = (info.size, info.entries, info.tar_size, info.blob_size);
        assert_eq!(about, (9, 5, len, len));
        assert_eq!(info.diff_id, info.blob_digest);
        assert_eq!((info.parent.as_str(), info.copied_from.as_str()), ("", ""));
        assert!(info.committed && !info.mounted && info.lowers == 0);
        assert!(info.created.0 > 1_600_000_000 && info.created.1 < 1_000_000_000);
        assert_eq!(w.stat(&id), info);
        assert_eq!(w.size(&id, Against::Parent), 9);
    }
    // Devices left out are counted by the call, and refused by a strict one.
    let device = Tar::new().device("null", 1, 3).bytes();
    let none = Apply {
        no_devices: true,
        ..Apply::default()
    };
    let info = w.apply("none", &device, none).unwrap();
    assert_eq!(info.skipped, [1, 0, 0, 0, 0]);
    assert_eq!(w.stat("none").skipped, [0; 5]);
    let strict = Apply {
        strict: true,
        ..none
    };
    let failure = w.apply("strict", &device, strict).unwrap_err();
    assert_eq!(
        (failure.errno, failure.code),
        (libc::EPERM, 22),
        "{failure:?}"
    );
}
