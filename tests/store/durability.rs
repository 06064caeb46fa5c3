//! What is synced, and how often; and what becomes of a layer whose sync fails.

use crate::child;
use crate::common::*;
use crate::support::fsys;
use ovl::store::*;
use ovl::watch::Watch;
use std::path::Path;

/// The job "make WHAT": one call that makes or commits a layer, in the store in `dir`.
pub fn make(dir: &Path, words: &[&str]) {
    let store = store(dir);
    let watch = &mut Watch::default();
    let durability = match words[1..] {
        ["none"] => Durability::None,
        ["full"] => Durability::Full,
        ["verified"] => Durability::Verified,
        _ => Durability::Default,
    };
    // What waits to be synced is written before the end of a long one.
    let (threads, content) = match words[0] {
        "long" => (Threads::Always, vec![7; 8 << 20]),
        _ => (Threads::default(), b"new".to_vec()),
    };
    let options = ApplyOptions {
        durability,
        threads,
        ..Default::default()
    };
    let done = match words[0] {
        "apply" | "long" => {
            let tar = tar_of("new", &content);
            store
                .apply(b"new", &mut &tar[..], &options, watch)
                .map(drop)
        }
        "again" => {
            let tar = tar_of("new", b"new");
            store
                .apply(b"empty", &mut &tar[..], &options, watch)
                .map(drop)
        }
        "commit" => store.commit(b"empty", durability, CommitFlags::empty(), watch),
        "commit-overlay" => store.commit(b"box", durability, CommitFlags::empty(), watch),
        "create" => create(&store, "new", None),
        "over" => create(&store, "new", Some("base")),
        "sync" => create_with(&store, "new", Some("base"), CreateFlags::SYNC),
        "flat" => create_with(&store, "new", Some("base"), CreateFlags::FLAT),
        "copy" => create(&store, "new", Some("box")),
        "copy-empty" => create(&store, "new", Some("over")),
        "remove" => remove(&store, "empty"),
        // Left to the caller to unmount.
        "mount-new" => {
            create(&store, "new", Some("base")).unwrap();
            mount(&store, "new", MountFlags::KEEP).map(drop)
        }
        "mount-box" => mount(&store, "box", MountFlags::KEEP).map(drop),
        "run-new" => {
            create(&store, "new", Some("base")).unwrap();
            run(&store, "new", RW)
        }
        "run-box" => run(&store, "box", RW),
        "run-empty" => run(&store, "empty", RW),
        "view-box" => run(&store, "box", RO),
        other => panic!("{other}"),
    };
    if let Err(error) = done {
        println!("FAILED {error}");
    }
}

/// Mounts the layer and unmounts it.
fn run(store: &Store, id: &str, flags: MountFlags) -> ovl::error::Result<()> {
    let held = mount(store, id, flags)?;
    held.unmount(UnmountFlags::empty()).map_err(|(_, e)| e)
}

/// `base`, committed; `empty`, writable; `over`, an upper without a file; `box`, one with.
fn prepare(dir: &Path) -> Store {
    let store = store(dir);
    base(&store);
    create(&store, "empty", None).unwrap();
    create(&store, "over", Some("base")).unwrap();
    create(&store, "box", Some("base")).unwrap();
    let held = mount(&store, "box", RW).unwrap();
    std::fs::write(path_of(&held).join("file"), "content").unwrap();
    std::fs::create_dir(path_of(&held).join("dir")).unwrap();
    unmount(held);
    let held = mount(&store, "over", RW).unwrap();
    std::fs::create_dir(path_of(&held).join("dir")).unwrap();
    unmount(held);
    store
}

/// What the call did: how many of each of the calls that sync, as strace(1) tells.
fn syncs(dir: &Path, what: &str) -> (usize, usize) {
    let out = dir.join("strace");
    let strace = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=syncfs,fsync,fdatasync,sync",
        "-o",
    ];
    let mut wrapper = strace.to_vec();
    wrapper.push(out.to_str().unwrap());
    child::succeeds(child::wrapped(&wrapper, dir, &format!("make {what}")));
    let trace = std::fs::read_to_string(&out).unwrap();
    let count = |call: &str| trace.matches(&format!(" {call}(")).count();
    assert_eq!(count("sync") + count("fdatasync"), 0, "{trace}");
    (count("syncfs"), count("fsync"))
}

#[test]
fn one_sync_for_a_layer_and_one_for_its_name() {
    require!("root", "overlay", "strace");
    fsys::on("ext4", |dir| {
        for (what, syncfs, fsync) in [
            ("apply full", 1, 1),
            ("apply default", 1, 1),
            ("apply none", 0, 0),
            // Read back from the disk before it is shown.
            ("apply verified", 2, 1),
            ("again full", 1, 1),
            // The meta that says it, and its name.
            ("commit full", 1, 2),
            ("commit none", 0, 0),
            ("commit-overlay full", 1, 2),
            ("commit-overlay none", 0, 0),
            ("create", 0, 0),
            ("over", 0, 0),
            ("sync", 1, 1),
            ("flat", 1, 1),
            // The content of a copied upper is there, or the layer is not.
            ("copy", 1, 0),
            ("copy-empty", 0, 0),
            ("remove", 0, 1),
            // There is nothing that could be written in place.
            ("mount-new", 0, 0),
            // That it runs is on the disk before it does.
            ("mount-box", 0, 1),
            // And that it does no more.
            ("run-new", 0, 1),
            ("run-box", 0, 2),
            ("run-empty", 1, 1),
            ("view-box", 0, 0),
        ] {
            let place = dir.join(what);
            std::fs::create_dir(&place).unwrap();
            let store = prepare(&place);
            assert_eq!(syncs(&place, what), (syncfs, fsync), "{what}");
            for id in ["new", "box"] {
                let _ = store.unmount_at(id.as_bytes(), UnmountFlags::empty());
            }
            assert_clean(&store, &place);
        }
    });
}

#[test]
fn a_long_apply_is_written_meanwhile() {
    require!("root", "overlay", "strace");
    fsys::on("ext4", |dir| {
        for what in ["long full", "long none"] {
            let place = dir.join(what);
            std::fs::create_dir(&place).unwrap();
            let store = prepare(&place);
            let (syncfs, fsync) = syncs(&place, what);
            match what {
                "long full" => assert!(syncfs > 1 && fsync == 1, "{syncfs}, {fsync}"),
                _ => assert_eq!((syncfs, fsync), (0, 0)),
            }
            assert_clean(&store, &place);
        }
    });
}

#[test]
fn what_is_verified_is_read_from_the_disk() {
    require!("root", "overlay", "strace");
    fsys::on("ext4", |dir| {
        for (what, calls) in [("apply verified", 1), ("apply full", 0)] {
            let place = dir.join(what);
            std::fs::create_dir(&place).unwrap();
            drop(prepare(&place));
            let out = place.join("strace");
            let mut wrapper = vec!["strace", "-f", "-qq", "-e", "trace=fadvise64", "-o"];
            wrapper.push(out.to_str().unwrap());
            child::succeeds(child::wrapped(&wrapper, &place, &format!("make {what}")));
            let trace = std::fs::read_to_string(&out).unwrap();
            assert_eq!(
                trace.matches("POSIX_FADV_DONTNEED").count(),
                calls,
                "{trace}"
            );
        }
    });
}

#[test]
fn what_cannot_be_synced_is_not_there() {
    require!("root", "overlay", "strace");
    fsys::on("ext4", |dir| {
        for what in [
            "apply full",
            // One that nobody waits for then.
            "long full",
            "again full",
            "commit full",
            "sync",
            "flat",
            "copy",
            "remove",
        ] {
            for (call, when) in [("syncfs", 1), ("fsync", 1), ("fsync", 2)] {
                let none = [("copy", "fsync"), ("remove", "syncfs")];
                // Only a commit has two: of the text that says it, and of its name.
                if none.contains(&(what, call)) || (when == 2 && what != "commit full") {
                    continue;
                }
                let place = dir.join(format!("{what} {call} {when}"));
                std::fs::create_dir(&place).unwrap();
                let store = prepare(&place);
                let before = check_list(&store);
                let inject = format!("inject={call}:error=EIO:when={when}");
                let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
                let output = child::wrapped(&wrapper, &place, &format!("make {what}"))
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(said.contains("FAILED "), "{what}, {call}: {said}");
                assert!(
                    said.contains("Input/output error"),
                    "{what}, {call}: {said}"
                );
                assert_eq!(check_list(&store), before, "{what}, {call}");
                // Before any cleanup.
                assert_eq!(wrong(&store), [], "{what}, {call}");
                assert_clean(&store, &place);
            }
        }
    });
}

/// What a check says, but for contents that were not recorded.
fn wrong(store: &Store) -> Vec<Problem> {
    let mut all = check_all(store);
    all.retain(|one| one.kind != "not recorded");
    all
}

/// A call that fails leaves nothing: not in the layer, not in its parent, not its pin.
#[test]
fn what_failed_left_nothing() {
    require!("root", "overlay", "strace");
    fsys::on("ext4", |dir| {
        for (what, call, errno) in [
            ("over", "renameat2", "EIO"),
            ("copy", "renameat2", "EIO"),
            ("flat", "renameat2", "EIO"),
            ("sync", "syncfs", "EIO"),
            ("commit full", "write", "ENOSPC"),
            ("commit full", "renameat2", "EIO"),
            ("commit-overlay verified", "syncfs", "EIO"),
            ("mount-box", "", ""),
            ("mount-box", "flock", "ENOLCK"),
            ("mount-box", "fchmod", "EIO"),
            ("mount-box", "move_mount", "EIO"),
            ("mount-box", "fsync", "EIO"),
        ] {
            let place = dir.join(format!("{what} {call}"));
            std::fs::create_dir(&place).unwrap();
            let store = prepare(&place);
            let mut failed = 0;
            // Each of the call's few, the store's opening apart.
            for when in 1..=12 {
                let inject = format!("inject={call}:error={errno}:when={when}");
                let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
                // Room for the file that says that the layer runs, and not for a pin.
                let room = ["prlimit", "--fsize=84", "sh", "-c"];
                let room = [&room[..], &["trap '' XFSZ; exec \"$0\" \"$@\""]].concat();
                let wrapper = if call.is_empty() {
                    &room[..]
                } else {
                    &strace[..]
                };
                let output = child::wrapped(wrapper, &place, &format!("make {what}"))
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stdout);
                if said.contains("FAILED ") {
                    failed += 1;
                    assert_eq!(wrong(&store), [], "{what}, {call} {when}: {said}");
                    let left = names(&layer(&place, "box/pin"));
                    assert_eq!(left, [""; 0], "{what}, {call} {when}");
                } else {
                    let _ = store.unmount_at(b"box", UnmountFlags::empty());
                }
            }
            assert!(failed > 0, "{what}, {call}: nothing failed");
        }
    });
}

/// The layers, and which of them are committed.
fn check_list(store: &Store) -> Vec<(String, bool)> {
    let mut list = Vec::new();
    for id in store.list().unwrap() {
        let state = store.stat(id.as_bytes()).unwrap().state;
        list.push((id, state == State::Committed));
    }
    list
}
