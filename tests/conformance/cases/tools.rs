//! The cases of containers/storage's command line (its bats files), said with calls.

use super::graph::fill_tree;
use crate::api::*;
use crate::support::tree::{Compare, Snapshot};
use crate::tar::{self, Tar};
use crate::world::*;

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
