//! What is a change: continuity's and go-archive's cases, said with layers.

use crate::api::*;
use crate::support::tree::{Compare, Snapshot};
use crate::tar;
use crate::world::*;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;

/// Sets the time of last modification of anything.
pub fn touch(path: impl AsRef<Path>, sec: i64, nsec: i64) {
    let time = rustix::fs::Timespec {
        tv_sec: sec,
        tv_nsec: nsec,
    };
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, path.as_ref(), &times, flags).unwrap();
}

/// The same tree, however the diff of a layer over `base` is applied; and the same bytes again.
pub fn comes_again<A: Api>(w: &World<'_, A>, id: &str) {
    let (bytes, told) = w.diff(id);
    let wanted = w.look(id, Snapshot::of);
    for kind in [Kind::Overlay, Kind::Root] {
        let again = format!("again-{id}-{kind:?}");
        let how = Apply {
            parent: Some("base"),
            kind: Some(kind),
            diff_id: Some(&told.diff_id),
            ..Apply::default()
        };
        w.apply(&again, &bytes, how).unwrap();
        w.look(&again, Snapshot::of)
            .assert_same(&wanted, Compare::default());
        assert_eq!(w.diff(&again).0, bytes, "{again}");
        w.remove(&again).unwrap();
    }
}

/// The names of a layer's diff, in their order.
pub fn told<A: Api>(w: &World<'_, A>, id: &str) -> Vec<String> {
    tar::names(&w.diff(id).0)
}

/// Row 6, DriverTestChanges: twenty files, some of each sort.
pub fn twenty_files<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        for at in 0..20 {
            mkdir(path.join(format!("dir{}", at % 2)));
            put(path.join(format!("dir{}/file{at:02}", at % 2)), "before");
        }
    });
    w.make("box", Some("base"), |path| {
        for at in 0..20 {
            let file = path.join(format!("dir{}/file{at:02}", at % 2));
            match at % 5 {
                0 => rm(&file),
                1 => put(&file, "after"),
                2 => put(file.with_extension("new"), "new"),
                _ => {}
            }
        }
        mkdir(path.join("dir2"));
    });
    let wanted = [
        "C /dir0",
        "D /dir0/file00",
        "A /dir0/file02.new",
        "C /dir0/file06",
        "D /dir0/file10",
        "A /dir0/file12.new",
        "C /dir0/file16",
        "C /dir1",
        "C /dir1/file01",
        "D /dir1/file05",
        "A /dir1/file07.new",
        "C /dir1/file11",
        "D /dir1/file15",
        "A /dir1/file17.new",
        "A /dir2",
    ];
    assert_eq!(w.changes("box"), wanted);
    comes_again(w, "box");
}

/// Rows 119 and 153, ChangesDirsMutated and DirectoryReplace and the like: each sort of change once,
/// and nothing of what stayed.
pub fn mutations<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        for name in ["dir1", "dir2/sub/deep", "dir3", "dir4", "dir1-before"] {
            mkdir(path.join(name));
        }
        for name in ["dir1/f", "dir2/sub/f", "dir2/f", "dir1-before/f", "dir1.x"] {
            put(path.join(name), "x");
        }
        for name in ["file1", "file2", "file3", "file4", "file5"] {
            put(path.join(name), "x");
        }
        symlink("target1", path.join("link1")).unwrap();
        symlink("target1", path.join("link2")).unwrap();
    });
    w.make("box", Some("base"), |path| {
        rm(path.join("dir1"));
        rm(path.join("dir2/sub"));
        rm(path.join("dir3"));
        put(path.join("dir3"), "a file now");
        touch(path.join("dir4"), 77, 7);
        rm(path.join("file1"));
        put(path.join("file2"), "y");
        touch(path.join("file3"), 5, 0);
        rm(path.join("file4"));
        mkdir(path.join("file4/in"));
        // As long as before, and as old.
        let mtime = path.join("link1").symlink_metadata().unwrap();
        rm(path.join("link1"));
        symlink("target2", path.join("link1")).unwrap();
        touch(path.join("link1"), mtime.mtime(), mtime.mtime_nsec());
        rm(path.join("link2"));
        // As large and as old, but another inode with another mode.
        let mtime = path.join("file5").metadata().unwrap();
        rm(path.join("file5"));
        put(path.join("file5"), "x");
        chmod(path.join("file5"), 0o404);
        touch(path.join("file5"), mtime.mtime(), mtime.mtime_nsec());
        put(path.join("new"), "new");
        symlink("new", path.join("newlink")).unwrap();
    });
    let wanted = [
        "D /dir1",
        "C /dir2",
        "D /dir2/sub",
        "C /dir3",
        "C /dir4",
        "D /file1",
        "C /file2",
        "C /file3",
        "C /file4",
        "A /file4/in",
        "C /file5",
        "C /link1",
        "D /link2",
        "A /new",
        "A /newlink",
    ];
    assert_eq!(w.changes("box"), wanted);
    // A directory that went is one whiteout; the names that begin alike are not its own.
    let entries = [
        ".wh.dir1",
        "dir2/",
        "dir2/.wh.sub",
        "dir3",
        "dir4/",
        ".wh.file1",
        "file2",
        "file3",
        "file4/",
        "file4/in/",
        "file5",
        "link1",
        ".wh.link2",
        "new",
        "newlink",
    ];
    assert_eq!(told_below_the_root(w, "box"), entries);
    comes_again(w, "box");
}

/// As [`told`], without the root's own entry.
pub fn told_below_the_root<A: Api>(w: &World<'_, A>, id: &str) -> Vec<String> {
    let mut names = told(w, id);
    names.retain(|name| name != "./");
    names
}

/// Rows 115, 118, 141 and 156: nothing changed is no change and a tar without entries, though inodes
/// were copied up; the root is in no list of changes.
pub fn nothing_is_an_empty_tar<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        put(path.join("file"), "x");
        mkdir(path.join("dir"));
    });
    w.create("box", Some("base")).unwrap();
    for round in 0..2 {
        assert_eq!(w.changes("box"), [""; 0]);
        let (bytes, info) = w.diff("box");
        assert_eq!(bytes, [0; 1024], "round {round}");
        assert_eq!((info.entries, info.size, info.tar_size), (0, 0, 1024));
        // The size of a writable layer is that of what its upper holds.
        assert_eq!(w.size("box", Against::Parent), round);
        w.change("box", |path| {
            for name in ["file", "dir"] {
                let (mode, ..) = who(path.join(name));
                chmod(path.join(name), 0o700);
                chmod(path.join(name), mode);
            }
        });
    }
    assert!(there(w.home().join("layer/box/upper/file")));
    w.change("box", |path| chmod(path, 0o711));
    assert_eq!(w.changes("box"), [""; 0]);
    assert_eq!(told(w, "box"), ["./"]);
    comes_again(w, "box");
}

/// Row 117: the directories on the way are listed, though they are as they were, their times too.
pub fn the_way_is_told<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        mkdir(path.join("a/b"));
        touch(path.join("a/b"), 1000, 1);
        touch(path.join("a"), 1000, 1);
    });
    w.make("box", Some("base"), |path| {
        put(path.join("a/b/new"), "x");
        touch(path.join("a/b"), 1000, 1);
    });
    assert_eq!(w.changes("box"), ["C /a", "C /a/b", "A /a/b/new"]);
    assert_eq!(told_below_the_root(w, "box"), ["a/", "a/b/", "a/b/new"]);
    comes_again(w, "box");
}

/// Gap 15, with rows 15 and 143: each attribute alone, of a file, a directory and a link.
pub fn metadata_alone<A: Api>(w: &World<'_, A>) {
    type Work = fn(&Path);
    let all: [(&str, Work); 9] = [
        ("chmod", |p| chmod(p, 0o2751)),
        ("chown", |p| chown(p, Some(4_000_000_000), None).unwrap()),
        ("chgrp", |p| chown(p, None, Some(7)).unwrap()),
        ("user", |p| xattr::set(p, "user.note", b"\0\xff").unwrap()),
        ("other", |p| xattr::set(p, "user.was", b"other").unwrap()),
        ("without", |p| xattr::remove(p, "user.was").unwrap()),
        ("trusted", |p| xattr::set(p, "trusted.note", b"").unwrap()),
        ("acl", |p| {
            let acl = crate::support::torture::named_acl();
            xattr::set(p, "system.posix_acl_access", &acl).unwrap();
        }),
        // A nanosecond.
        ("time", |p| touch(p, 1000, 2)),
    ];
    w.layer("base", None, |path| {
        for (name, _) in all {
            for kind in ["dir", "file"] {
                let at = path.join(format!("{kind}-{name}"));
                match kind {
                    "dir" => mkdir(&at),
                    _ => put(&at, "content"),
                }
                xattr::set(&at, "user.was", b"before").unwrap();
                touch(&at, 1000, 1);
            }
        }
        for name in ["link-owner", "link-time", "link-same"] {
            symlink("target", path.join(name)).unwrap();
            touch(path.join(name), 1000, 1);
        }
    });
    w.make("box", Some("base"), |path| {
        for (name, work) in all {
            for kind in ["dir", "file"] {
                work(&path.join(format!("{kind}-{name}")));
            }
        }
        std::os::unix::fs::lchown(path.join("link-owner"), Some(5), Some(6)).unwrap();
        for name in ["link-time", "link-same"] {
            touch(path.join(name), 1000, 2);
        }
        touch(path.join("link-same"), 1000, 1);
    });
    let mut changes = Vec::new();
    let mut entries = Vec::new();
    for kind in ["dir", "file"] {
        let mut names: Vec<&str> = all.iter().map(|one| one.0).collect();
        names.sort();
        for name in names {
            changes.push(format!("C /{kind}-{name}"));
            let slash = if kind == "dir" { "/" } else { "" };
            entries.push(format!("{kind}-{name}{slash}"));
        }
    }
    for name in ["link-owner", "link-time"] {
        changes.push(format!("C /{name}"));
        entries.push(name.to_string());
    }
    assert_eq!(w.changes("box"), changes);
    assert_eq!(told_below_the_root(w, "box"), entries);
    comes_again(w, "box");
}

/// Row 154, and moby#21555 once more: the same time and size say nothing; neither do whole seconds.
pub fn the_same_time<A: Api>(w: &World<'_, A>) {
    let names = ["equal", "differs", "empty", "whole", "half"];
    w.layer("base", None, |path| {
        for name in names {
            put(
                path.join(name),
                if name == "empty" { "" } else { "content" },
            );
            touch(path.join(name), 1000, 0);
        }
        touch(path.join("half"), 1000, 500);
    });
    w.make("box", Some("base"), |path| {
        for name in names {
            rm(path.join(name));
        }
        for (name, content) in [
            ("equal", "content"),
            ("differs", "CONTENT"),
            ("empty", ""),
            ("whole", "content"),
            ("half", "content"),
        ] {
            put(path.join(name), content);
            touch(path.join(name), 1000, 0);
        }
        // The same second, one of the two cut to it.
        touch(path.join("whole"), 1000, 500);
    });
    assert_eq!(w.changes("box"), ["C /differs", "C /half", "C /whole"]);
    assert_eq!(told_below_the_root(w, "box"), ["differs", "half", "whole"]);
    comes_again(w, "box");
}
