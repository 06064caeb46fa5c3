//! The table of errors in the contract: each errno with its code, the operation and the path.

use crate::api::*;
use crate::support::fsys;
use crate::tar::Tar;
use crate::world::*;
use rustix::thread::CapabilitySet;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// EINVAL: what no id can be, options that exclude each other, what makes no sense.
pub fn invalid<A: Api>(w: &World<'_, A>) {
    let long = "x".repeat(129);
    for id in ["", ".", "..", "-a", "a/b", "a:b", "a,b", "\u{e9}", &long] {
        let shown = id.as_bytes().escape_ascii().to_string();
        let told = |done: Done<()>, op| fails(done, libc::EINVAL, 2, op, &shown);
        told(w.create(id, None), "create");
        told(w.commit(id), "commit");
        told(w.remove(id), "remove");
        told(A::exists(&w.store, id).map(drop), "exists");
        told(A::stat(&w.store, id).map(drop), "stat");
        told(w.apply(id, b"", Apply::default()).map(drop), A::NAMES.apply);
        told(w.diff_to(id, Against::Parent).map(drop), "diff");
        let changes = A::changes(&w.store, id, Against::Parent, calm());
        told(changes.map(drop), "changes");
        let size = A::diff_size(&w.store, id, Against::Parent, calm());
        told(size.map(drop), "diff_size");
        told(w.mount(id, &Mounting::default()).map(drop), "mount");
        told(A::spec(&w.store, id, false).map(drop), "mount_spec");
    }
    w.create(&"x".repeat(128), None).unwrap();
    w.layer("base", None, |_| {});
    let own = w.create("own", Some("own"));
    fails(own, libc::EINVAL, 2, "create", "own");
    let both = Mounting {
        detached: true,
        keep: true,
        ..Mounting::default()
    };
    let done = w.mount("base", &both).map(drop);
    fails(done, libc::EINVAL, 2, "mount", "base");
    let over_nothing = Apply {
        kind: Some(Kind::Overlay),
        ..Apply::default()
    };
    let done = w.apply("new", &Tar::new().bytes(), over_nothing);
    fails(done, libc::EINVAL, 2, A::NAMES.apply, "new");
    let other = w.home();
    let marks = Open {
        marks: Marks::User,
        ..Open::default()
    };
    let done = A::open(&other, &marks).map(drop);
    fails(
        done,
        libc::EINVAL,
        2,
        A::NAMES.open,
        &other.to_string_lossy(),
    );
    let done = A::unmount_at(&w.store, b"base", false);
    fails(done, libc::EINVAL, 1, A::NAMES.unmount_at, "base");
    for name in ["../up", "a/../../up"] {
        let done = w.apply("up", &Tar::new().file(name, "x").bytes(), Apply::default());
        fails(done, libc::EINVAL, 10, A::NAMES.apply, name);
    }
}

/// ENOENT: no layer, no parent, no store.
pub fn not_there<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |_| {});
    let told = |done: Done<()>, op| fails(done, libc::ENOENT, 3, op, "no");
    told(w.commit("no"), "commit");
    told(w.remove("no"), "remove");
    told(A::stat(&w.store, "no").map(drop), "stat");
    told(w.diff_to("no", Against::Parent).map(drop), "diff");
    told(w.diff_to("base", Against::Layer("no")).map(drop), "diff");
    told(w.mount("no", &Mounting::default()).map(drop), "mount");
    told(A::spec(&w.store, "no", false).map(drop), "mount_spec");
    told(A::unmount_at(&w.store, b"no", false), A::NAMES.unmount_at);
    told(w.create("new", Some("no")), "create");
    let bytes = Tar::new().bytes();
    told(w.apply_on("new", "no", &bytes).map(drop), A::NAMES.apply);
    assert!(!A::exists(&w.store, "no").unwrap());
    let must_exist = true;
    let how = Open {
        must_exist,
        ..Open::default()
    };
    let (missing, empty) = (w.base.join("missing"), w.dir("empty"));
    for (place, code) in [(missing, 1), (empty, 20)] {
        let done = A::open(&place, &how).map(drop);
        fails(
            done,
            libc::ENOENT,
            code,
            A::NAMES.open,
            &place.to_string_lossy(),
        );
    }
    assert_eq!(names(w.base), ["empty", "home"]);
}

/// EEXIST and ENOTEMPTY: what is there already.
pub fn in_the_way<A: Api>(w: &World<'_, A>) {
    let bytes = Tar::new().file("file", "x").bytes();
    w.layer("base", None, |_| {});
    w.apply_on("child", "base", &bytes).unwrap();
    let done = w.apply_on("child", "base", &bytes);
    fails(done, libc::EEXIST, 4, A::NAMES.apply, "child");
    let other = w.dir("other");
    put(other.join("file"), "x");
    let done = A::open(&other, &Open::default()).map(drop);
    fails(
        done,
        libc::ENOTEMPTY,
        23,
        A::NAMES.open,
        &other.to_string_lossy(),
    );
    let (to, how) = (w.dir("to"), Copying::default());
    let copy = |dst: &Path| A::copy_dir((None, &other), (None, dst), &how, calm()).map(drop);
    put(to.join("file"), "x");
    fails(
        copy(&to),
        libc::ENOTEMPTY,
        23,
        "copy_dir",
        &to.to_string_lossy(),
    );
    let file = to.join("file");
    fails(
        copy(&file),
        libc::EEXIST,
        1,
        "copy_dir",
        &file.to_string_lossy(),
    );
    let inside = other.join("inside");
    fails(
        copy(&inside),
        libc::EINVAL,
        2,
        "copy_dir",
        &inside.to_string_lossy(),
    );
}

/// EBUSY: mounted, locked, built on, and a parent that may still change.
pub fn in_use<A: Api>(w: &World<'_, A>) {
    let bytes = Tar::new().file("file", "x").bytes();
    w.create("base", None).unwrap();
    let done = w.apply_on("child", "base", &bytes);
    fails(done, libc::EBUSY, 9, A::NAMES.apply, "base");
    let flat = Create {
        flat: true,
        ..Create::default()
    };
    w.create("box", Some("base")).unwrap();
    let done = A::create(&w.store, "flat", Some("box"), flat, calm());
    fails(done, libc::EBUSY, 9, "create", "box");
    let mount = w.enter("box");
    fails(w.remove("box"), libc::EBUSY, 6, "remove", "box");
    fails(w.commit("box"), libc::EBUSY, 6, "commit", "box");
    let done = w.apply("box", &bytes, Apply::default());
    fails(done, libc::EBUSY, 6, A::NAMES.apply, "box");
    let done = w.create("copy", Some("box"));
    assert_eq!(done.unwrap_err().errno, libc::EBUSY);
    let live = Create {
        live: true,
        ..Create::default()
    };
    A::create(&w.store, "copy", Some("box"), live, calm()).unwrap();
    mount.unmount();
    fails(w.remove("base"), libc::EBUSY, 5, "remove", "base");
    // Another process reads the layer.
    let shared = rustix::fs::FlockOperation::LockShared;
    let lock = fsys::Locked::new(&w.home().join("layer/box"), shared);
    fails(w.remove("box"), libc::EBUSY, 7, "remove", "box");
    drop(lock);
    w.remove("box").unwrap();
}

/// EROFS: a committed layer, and a store opened for reading.
pub fn read_only<A: Api>(w: &World<'_, A>) {
    let bytes = Tar::new().file("file", "x").bytes();
    w.layer("base", None, |path| put(path.join("file"), "x"));
    fails(w.commit("base"), libc::EROFS, 8, "commit", "base");
    let done = w.apply("base", &bytes, Apply::default());
    fails(done, libc::EROFS, 8, A::NAMES.apply, "base");
    w.create("box", Some("base")).unwrap();
    let read_only = true;
    let how = Open {
        read_only,
        ..Open::default()
    };
    let reader = A::open(&w.home(), &how).unwrap();
    let told = |done: Done<()>, op, path| fails(done, libc::EROFS, 1, op, path);
    let create = A::create(&reader, "new", None, Create::default(), calm());
    told(create, "create", "new");
    told(A::remove(&reader, "box", false, calm()), "remove", "box");
    let commit = A::commit(&reader, "box", Durability::Default, calm());
    told(commit, "commit", "box");
    let mut none = |_: &mut [u8]| Ok(0);
    let from = Input::Read(&mut none);
    let apply = A::apply(&reader, "new", from, &Apply::default(), calm());
    told(apply.map(drop), A::NAMES.apply, "new");
    let home = w.home().display().to_string();
    told(A::cleanup(&reader, 0, calm()).map(drop), "cleanup", &home);
    told(A::check(&reader, true, calm()).map(drop), "check", &home);
    // Reading is no change.
    assert_eq!(A::list(&reader).unwrap(), ["base", "box"]);
    assert_eq!(A::check(&reader, false, calm()).unwrap(), []);
    let size = A::diff_size(&reader, "base", Against::Parent, calm());
    assert_eq!(size.unwrap(), 1);
}

/// EBADMSG: a tar that is none, that ends early, or that is another. None leaves a layer.
pub fn bad_messages<A: Api>(w: &World<'_, A>) {
    let tar = Tar::new().file("file", "x".repeat(3000));
    let whole = tar.clone().bytes();
    let mut broken = whole.clone();
    broken[0] ^= 1;
    let half = tar.unfinished()[..1024].to_vec();
    let op = A::NAMES.apply;
    for (bytes, code, path) in [(&broken, 10, "x"), (&half, 11, "file")] {
        let failure = w.apply("x", bytes, Apply::default()).unwrap_err();
        assert_eq!(
            (failure.errno, failure.code),
            (libc::EBADMSG, code),
            "{path}: {failure:?}"
        );
        assert_eq!(failure.operation, op);
    }
    let digest = format!("sha256:{}", "0".repeat(64));
    let how = Apply {
        diff_id: Some(&digest),
        ..Apply::default()
    };
    let failure = fails(w.apply("x", &whole, how), libc::EBADMSG, 12, op, "x");
    let is = w.apply("right", &whole, Apply::default()).unwrap().diff_id;
    assert!(failure.message.contains(&is) && failure.message.contains(&digest));
    assert_eq!(w.list(), ["right"]);
    w.assert_clean();
}

/// EFBIG: each limit, and one byte less.
pub fn limits<A: Api>(w: &World<'_, A>) {
    let bytes = Tar::new().file("some/file", "x").file("other", "y").bytes();
    let none = Apply::default();
    let limit = |n: u64, set: fn(&mut Apply<'static>, u64)| {
        let mut how = none;
        set(&mut how, n);
        how
    };
    type Set = fn(&mut Apply<'static>, u64);
    let all: [(&str, u64, Set); 3] = [
        ("size", bytes.len() as u64, |how, n| how.max_size = n),
        ("entries", 2, |how, n| how.max_entries = n),
        ("path", 9, |how, n| how.max_path = n),
    ];
    for (id, n, set) in all {
        let failure = w.apply(id, &bytes, limit(n - 1, set)).unwrap_err();
        let is = (failure.errno, failure.code, failure.operation.as_str());
        assert_eq!(is, (libc::EFBIG, 13, A::NAMES.apply), "{id}: {failure:?}");
        assert!(!A::exists(&w.store, id).unwrap());
        w.apply(id, &bytes, limit(n, set)).unwrap();
    }
}

/// EMLINK: overlayfs takes 500 layers; a flat one begins anew.
pub fn too_long_a_chain<A: Api>(w: &World<'_, A>) {
    let mut last = "l0".to_string();
    w.layer(&last, None, |path| put(path.join("file"), "x"));
    for at in 1..=500 {
        let id = format!("l{at}");
        w.create(&id, Some(&last)).unwrap();
        A::commit(&w.store, &id, Durability::None, calm()).unwrap();
        last = id;
    }
    assert_eq!(w.stat(&last).lowers, 500);
    let failure = w.create("more", Some(&last)).unwrap_err();
    let is = (failure.errno, failure.code, failure.operation.as_str());
    assert_eq!(is, (libc::EMLINK, 13, "create"), "{failure:?}");
    assert!(failure.message.contains("OVL_CREATE_FLAT"), "{failure:?}");
    let bytes = Tar::new().bytes();
    let failure = w.apply_on("more", &last, &bytes).unwrap_err();
    assert_eq!((failure.errno, failure.code), (libc::EMLINK, 13));
    let flat = true;
    let how = Create {
        flat,
        ..Create::default()
    };
    A::create(&w.store, "flat", Some(&last), how, calm()).unwrap();
    w.make("more", Some("flat"), |path| {
        assert_eq!(get(path.join("file")), "x")
    });
}

/// EPERM: a caller who may not use the store's marks. Committed roots are read all the same.
pub fn without_marks<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("file"), "x"));
    w.layer("over", Some("base"), |path| put(path.join("new"), "x"));
    let mut sets = rustix::thread::capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::SYS_ADMIN);
    // Of this thread alone, which ends with the case.
    rustix::thread::set_capabilities(None, sets).unwrap();
    let told = |done: Done<()>, op, path| {
        let failure = fails(done, libc::EPERM, 21, op, path);
        assert!(failure.message.contains("CAP_SYS_ADMIN"), "{failure:?}");
    };
    told(w.create("box", Some("base")), "create", "box");
    let overlay = Apply {
        parent: Some("base"),
        kind: Some(Kind::Overlay),
        ..Apply::default()
    };
    let bytes = Tar::new().bytes();
    told(
        w.apply("new", &bytes, overlay).map(drop),
        A::NAMES.apply,
        "new",
    );
    told(w.diff_to("over", Against::Parent).map(drop), "diff", "over");
    let view = Mounting {
        read_only: true,
        ..Mounting::default()
    };
    told(w.mount("over", &view).map(drop), "mount", "over");
    told(
        A::spec(&w.store, "over", true).map(drop),
        "mount_spec",
        "over",
    );
    assert_eq!(w.diff("base").1.size, 1);
    assert!(w.stat("over").committed);
}

/// EXDEV and EOPNOTSUPP: what the file system, the tar or the call cannot say.
pub fn beyond<A: Api>(w: &World<'_, A>) {
    let (from, far) = (w.dir("from"), w.dir("far"));
    put(from.join("file"), "x");
    crate::support::fsys::mount_tmpfs(&far, c"mode=755").unwrap();
    let to = far.join("to");
    let links = Copying {
        hard_link: true,
        ..Copying::default()
    };
    let copy = |dst: &Path, how| A::copy_dir((None, &from), (None, dst), how, calm());
    let failure = copy(&to, &links).unwrap_err();
    let is = (failure.errno, failure.operation.as_str());
    assert_eq!(is, (libc::EXDEV, "copy_dir"), "{failure:?}");
    assert!(!there(&to));
    let shared = Copying {
        reflink: Reflink::Always,
        ..Copying::default()
    };
    let near = w.base.join("near");
    let failure = copy(&near, &shared).unwrap_err();
    assert_eq!(failure.errno, libc::EOPNOTSUPP, "{failure:?}");
    assert!(!there(&near));
    // A mount in the source: counted, or refused.
    let strict = Copying {
        strict: true,
        ..Copying::default()
    };
    mkdir(from.join("sub"));
    crate::support::fsys::mount_tmpfs(&from.join("sub"), c"mode=755").unwrap();
    let failure = copy(&to, &strict).unwrap_err();
    assert_eq!(
        (failure.errno, failure.code),
        (libc::EXDEV, 14),
        "{failure:?}"
    );
    assert_eq!(copy(&to, &Copying::default()).unwrap().mounts_skipped, 1);
    // A socket cannot be said in a tar: counted, or refused.
    w.make("box", None, |path| {
        drop(std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap());
        put(path.join(".wh.name"), "x");
    });
    let (_, info) = w.diff("box");
    assert_eq!(info.skipped, [0, 0, 0, 1, 1]);
    let strict = Diff {
        strict: true,
        ..Diff::default()
    };
    let mut all = |buf: &[u8]| Ok(buf.len());
    let to = Output::Write(&mut all);
    let done = A::diff(&w.store, "box", Against::Parent, to, &strict, calm());
    let failure = done.unwrap_err();
    let is = (failure.errno, failure.code, failure.operation.as_str());
    assert_eq!(is, (libc::EOPNOTSUPP, 22, "diff"), "{failure:?}");
    // An entry of a type that nobody knows.
    let odd = Tar::new().entry("odd", b'M', 0o644, "", b"").bytes();
    let failure = w.apply("odd", &odd, Apply::default()).unwrap_err();
    assert_eq!(
        (failure.errno, failure.code),
        (libc::EOPNOTSUPP, 10),
        "{failure:?}"
    );
}

/// EBADF and EPIPE: descriptors that cannot be used as they are meant.
pub fn wrong_descriptors<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("file"), "x"));
    let place = w.base.join("file");
    let write_only = File::create(&place).unwrap();
    let read_only = File::open(&place).unwrap();
    let from = Input::Fd(write_only.as_fd());
    let done = A::apply(&w.store, "new", from, &Apply::default(), calm());
    fails(done, libc::EBADF, 1, A::NAMES.apply, "new");
    let diff = |to| {
        A::diff(
            &w.store,
            "base",
            Against::Parent,
            to,
            &Diff::default(),
            calm(),
        )
    };
    let done = diff(Output::Fd(read_only.as_fd()));
    fails(done, libc::EBADF, 1, "diff", "base");
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let done = diff(Output::Fd(writer.as_fd()));
    fails(done, libc::EPIPE, 1, "diff", "base");
}
