//! containerd's snapshotter suite (rows 56 to 74), said with layers.

use crate::api::*;
use crate::support::tree::{Compare, Snapshot};
use crate::world::*;
use std::os::unix::fs::{chown, symlink};

/// Rows 56 to 58, Basic, StatActive, StatCommitted, Transitivity.
pub fn parents_and_states<A: Api>(w: &World<'_, A>) {
    w.layer("one", None, |path| {
        put(path.join("foo"), "foo");
        mkdir(path.join("a/b/c"));
    });
    w.layer("two", Some("one"), |path| {
        put(path.join("bar"), "bar");
        mkdir(path.join("a/b/c/d"));
    });
    w.make("three", Some("two"), |path| {
        assert_eq!(get(path.join("foo")), "foo");
        assert_eq!(get(path.join("bar")), "bar");
        assert!(there(path.join("a/b/c/d")));
    });
    let about = |id: &str| {
        let info = w.stat(id);
        assert_eq!(info.id, id);
        (info.parent, info.kind, info.committed, info.lowers)
    };
    let none = String::new();
    assert_eq!(about("one"), (none, Kind::Root, true, 0));
    assert_eq!(about("two"), ("one".into(), Kind::Overlay, true, 1));
    assert_eq!(about("three"), ("two".into(), Kind::Overlay, false, 2));
}

/// Row 59: a name that is taken, a parent that is not there.
pub fn names_are_taken_once<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |_| {});
    w.create("box", Some("base")).unwrap();
    let again = w.create("box", Some("base"));
    fails(again, libc::EEXIST, 4, "create", "box");
    fails(w.create("base", None), libc::EEXIST, 4, "create", "base");
    let lost = w.create("new", Some("nothing"));
    fails(lost, libc::ENOENT, 3, "create", "nothing");
    assert_eq!(w.list(), ["base", "box"]);
}

/// Rows 61 and 67, Remove and RemoveIntermediateSnapshot: a name can be used again.
pub fn removed_names_are_free<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("old"), "old"));
    w.layer("mid", Some("base"), |_| {});
    w.create("top", Some("mid")).unwrap();
    fails(w.remove("mid"), libc::EBUSY, 5, "remove", "mid");
    for id in ["top", "mid", "base"] {
        w.remove(id).unwrap();
    }
    w.make("base", None, |path| assert_eq!(names(path), [""; 0]));
    fails(w.remove("mid"), libc::ENOENT, 3, "remove", "mid");
}

/// Row 62, Walk and StatInWalk.
pub fn stat_of_all_that_is_listed<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |_| {});
    for at in 0..5 {
        w.create(&format!("box{at}"), Some("base")).unwrap();
    }
    let children = w
        .list()
        .iter()
        .filter(|id| w.stat(id).parent == "base")
        .count();
    assert_eq!(children, 5);
}

/// Row 63, LayerFileupdate (moby#21555): the same second, the same size.
pub fn same_second_same_size<A: Api>(w: &World<'_, A>) {
    let mut last: Option<String> = None;
    for at in 0..5 {
        let (id, text) = (format!("l{at}"), format!("text{at}"));
        w.layer(&id, last.as_deref(), |path| {
            put(path.join("file"), &text);
            let stamp = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
            let file = std::fs::File::open(path.join("file")).unwrap();
            file.set_modified(stamp).unwrap();
        });
        let wanted = if last.is_some() { "C /file" } else { "A /file" };
        assert_eq!(w.changes(&id), [wanted]);
        w.look(&id, |path| assert_eq!(get(path.join("file")), text));
        last = Some(id);
    }
}

/// Row 64, RemoveDirectoryInLowerLayer (moby#25244).
pub fn a_new_directory_hides_the_old<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        mkdir(path.join("dir/sub"));
        put(path.join("dir/file"), "x");
        put(path.join("dir/sub/file"), "x");
    });
    w.layer("gone", Some("base"), |path| rm(path.join("dir")));
    w.layer("again", Some("gone"), |path| mkdir(path.join("dir/new")));
    w.layer("both", Some("base"), |path| {
        rm(path.join("dir"));
        mkdir(path.join("dir/new"));
    });
    for id in ["again", "both"] {
        w.look(id, |path| assert_eq!(names(path.join("dir")), ["new"]));
    }
    let wanted = ["C /dir", "D /dir/file", "A /dir/new", "D /dir/sub"];
    assert_eq!(w.changes("both"), wanted);
    assert_eq!(w.changes_to("again", Against::Layer("base")), wanted);
    // One form, whatever the kind and the way.
    let (both, _) = w.diff("both");
    let root = Apply {
        parent: Some("base"),
        kind: Some(Kind::Root),
        ..Apply::default()
    };
    w.apply("flat", &both, root).unwrap();
    assert_eq!(w.diff("flat").0, both);
}

/// Row 65, Chown (moby#20240).
pub fn chown_keeps_the_rest<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        mkdir(path.join("opt/a"));
        put(path.join("opt/a/b"), "hello");
        symlink("b", path.join("opt/a/link")).unwrap();
        chmod(path.join("opt/a"), 0o2750);
    });
    w.layer("child", Some("base"), |path| {
        for name in ["opt", "opt/a", "opt/a/b"] {
            chown(path.join(name), Some(7), Some(8)).unwrap();
        }
        std::os::unix::fs::lchown(path.join("opt/a/link"), Some(7), Some(8)).unwrap();
        chmod(path.join("opt/a"), 0o2750);
    });
    w.make("grandchild", Some("child"), |path| {
        assert_eq!(get(path.join("opt/a/b")), "hello");
        assert_eq!(get(path.join("opt/a/link")), "hello");
        assert_eq!(who(path.join("opt/a")), (0o2750, 7, 8));
        assert_eq!(who(path.join("opt/a/b")), (0o644, 7, 8));
        assert_eq!(who(path.join("opt/a/link")).1, 7);
    });
    let wanted = ["C /opt", "C /opt/a", "C /opt/a/b", "C /opt/a/link"];
    assert_eq!(w.changes("child"), wanted);
}

/// Row 66, DirectoryPermissionOnCommit (moby#27298).
pub fn directories_keep_their_modes<A: Api>(w: &World<'_, A>) {
    let dirs = ["dir1", "dir2", "dir3"];
    w.layer("base", None, |path| {
        for (at, name) in dirs.iter().enumerate() {
            mkdir(path.join(name));
            chown(path.join(name), Some(at as u32), Some(9)).unwrap();
            chmod(path.join(name), 0o1700 + 0o11 * at as u32);
        }
    });
    let mut last = "base".to_string();
    for (at, name) in dirs.iter().enumerate() {
        let id = format!("l{at}");
        w.layer(&id, Some(&last), |path| {
            put(path.join(name).join("file"), "x")
        });
        last = id;
    }
    let modes = |path: &std::path::Path| dirs.map(|name| who(path.join(name)));
    let wanted = w.look("base", modes);
    assert_eq!(w.look(&last, modes), wanted);
    assert_eq!(wanted[2], (0o1722, 2, 9));
    // The same through tars.
    let mut parent = "base".to_string();
    for at in 0..dirs.len() {
        let (bytes, _) = w.diff(&format!("l{at}"));
        let id = format!("t{at}");
        w.apply_on(&id, &parent, &bytes).unwrap();
        parent = id;
    }
    let (is, wanted) = (w.look(&parent, Snapshot::of), w.look(&last, Snapshot::of));
    is.assert_same(&wanted, Compare::default());
}

/// Rows 68 and 69, DeletedFilesInChildSnapshot and MoveFileFromLowerLayer.
pub fn what_went_stays_away<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        mkdir(path.join("dir"));
        put(path.join("dir/moves"), "moves");
        put(path.join("goes"), "goes");
    });
    w.layer("child", Some("base"), |path| {
        rm(path.join("goes"));
        std::fs::rename(path.join("dir/moves"), path.join("dir/moved")).unwrap();
    });
    w.make("grandchild", Some("child"), |path| {
        assert_eq!(names(path), ["dir"]);
        assert_eq!(names(path.join("dir")), ["moved"]);
        assert_eq!(get(path.join("dir/moved")), "moves");
    });
    let wanted = ["C /dir", "A /dir/moved", "D /dir/moves", "D /goes"];
    assert_eq!(w.changes("child"), wanted);
}

/// Row 70, Rename (moby#25409): a directory from below cannot be renamed, by choice; one of the
/// layer's own can.
pub fn directories_from_below_are_not_renamed<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| mkdir(path.join("below/sub")));
    w.make("box", Some("base"), |path| {
        let rename = |from: &str, to: &str| std::fs::rename(path.join(from), path.join(to));
        let error = rename("below", "other").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EXDEV));
        mkdir(path.join("own/sub"));
        rename("own", "mine").unwrap();
    });
    assert_eq!(w.changes("box"), ["A /mine", "A /mine/sub"]);
}

/// Row 71, ViewReadonly: of a committed layer, and of a writable one of either kind.
pub fn a_view_is_not_written<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| put(path.join("file"), "x"));
    w.create("box", Some("base")).unwrap();
    w.create("root", None).unwrap();
    for id in ["base", "box", "root"] {
        w.look(id, |path| {
            let error = std::fs::write(path.join("new"), "new").unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EROFS), "{id}");
        });
    }
    let how = Mounting::default();
    let done = w.mount("base", &how);
    fails(done.map(drop), libc::EROFS, 8, "mount", "base");
}

/// Row 73, RootPermission.
pub fn roots_are_0755<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| assert_eq!(who(path), (0o755, 0, 0)));
    w.make("box", Some("base"), |path| {
        assert_eq!(who(path), (0o755, 0, 0))
    });
    // What leads there is the owner's alone.
    for place in ["home", "home/layer", "home/layer/box"] {
        assert_eq!(who(w.base.join(place)).0, 0o700, "{place}");
    }
}
