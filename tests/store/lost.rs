//! Every file and directory of a layer is removed, changed and replaced in turn: check names it and
//! changes nothing, the other layers are as they were, a cleanup loses nothing, a repair mends what
//! it says it does, and the layer can be removed.

use crate::common::*;
use crate::support::fsys;
use crate::support::tree::Snapshot;
use ovl::error::{Code, Errno};
use ovl::store::*;
use ovl::watch::Watch;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A complete layer, one of changes over it, one that is written over that; and another.
fn fill(dir: &Path) {
    let store = store(dir);
    for id in ["base", "other"] {
        create(&store, id, None).unwrap();
        let root = layer(dir, id).join("root");
        fs::create_dir(root.join("dir")).unwrap();
        fs::write(root.join("dir/file"), id).unwrap();
        fs::hard_link(root.join("dir/file"), root.join("link")).unwrap();
        symlink("dir/file", root.join("soft")).unwrap();
    }
    let seal = |id: &str| {
        let watch = &mut Watch::default();
        let none = CommitFlags::empty();
        store
            .commit(id.as_bytes(), Durability::Verified, none, watch)
            .unwrap();
    };
    seal("base");
    seal("other");
    for (id, parent) in [("mid", "base"), ("box", "mid")] {
        create(&store, id, Some(parent)).unwrap();
        let upper = layer(dir, id).join("upper");
        fs::create_dir(upper.join("own")).unwrap();
        fs::write(upper.join("own/file"), id).unwrap();
        if id == "mid" {
            seal("mid");
        }
    }
    assert_eq!(check_all(&store), []);
}

/// What lies below a directory, itself first.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_path_buf()];
    let mut at = 0;
    while at < all.len() {
        if fs::symlink_metadata(&all[at]).unwrap().is_dir() {
            let here = all[at].clone();
            all.extend(names(&here).iter().map(|name| here.join(name)));
        }
        at += 1;
    }
    all
}

fn remove_any(path: &Path) {
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// Without what a look changes.
fn all_of(path: &Path) -> Snapshot {
    let mut all = Snapshot::of(path);
    for node in all.0.values_mut() {
        node.atime = (0, 0);
    }
    all
}

const HARMS: [&str; 7] = [
    "gone",
    "flipped",
    "cut",
    "file",
    "directory",
    "link",
    "fifo",
];

/// Does it, unless it would be no harm.
fn harm(how: &str, path: &Path, outside: &Path) -> bool {
    let meta = fs::symlink_metadata(path).unwrap();
    if meta.is_file() && matches!(how, "flipped" | "cut") {
        let mut data = fs::read(path).unwrap();
        let Some(last) = data.len().checked_sub(1) else {
            return false;
        };
        match how {
            "flipped" => data[last / 2] ^= 4,
            _ => data.truncate(last),
        }
        // In place, as a disk does it; nothing but the content tells.
        let times = meta.modified().unwrap();
        fs::write(path, data).unwrap();
        fs::File::open(path).unwrap().set_modified(times).unwrap();
        return true;
    }
    if matches!(how, "flipped" | "cut") || (how == "file" && meta.is_file()) {
        return false;
    }
    if how == "directory" && meta.is_dir() {
        return false;
    }
    remove_any(path);
    match how {
        "gone" => {}
        "file" => fs::write(path, "no directory").unwrap(),
        "directory" => fs::create_dir(path).unwrap(),
        "link" if meta.is_dir() => symlink(outside, path).unwrap(),
        "link" => symlink(outside.join("canary"), path).unwrap(),
        _ => {
            let kind = rustix::fs::FileType::Fifo;
            let mode = rustix::fs::Mode::RWXU;
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
        }
    }
    true
}

fn suffer(dir: &Path, id: &str, how: &str, path: &Path) -> bool {
    let home = dir.join("home");
    let outside = dir.join("outside");
    if !harm(how, path, &outside) {
        return false;
    }
    let what = format!("{} {how}", path.strip_prefix(&home).unwrap().display());
    let what = what.as_str();
    let store = store(dir);

    let before = all_of(&home);
    let found = check(&store);
    assert_eq!(all_of(&home), before, "{what}: a look changed something");
    let named = |place: &str| found.iter().any(|one| one.layer == place);
    // Content of a layer that may be written is as it is; a hint is missed by the child.
    let free = id == "box" && path.starts_with(home.join("layer/box/upper/own"));
    let child = path.strip_prefix(home.join("layer").join(id).join("child"));
    let place = match child.ok().and_then(Path::to_str) {
        Some("") | None => id,
        Some(hint) if how == "gone" => hint,
        Some(_) => id,
    };
    let gone = path == home.join("layer").join(id) && how == "gone";
    if gone {
        // What was built on it says so, or, by a note, what it was built on.
        let hint = check_all(&store).iter().any(|one| one.kind == "stale hint");
        assert!(hint || !found.is_empty(), "{what}");
    } else {
        assert_eq!(named(place), !free, "{what}: {found:?}");
    }
    assert!(!named("other"), "{what}: {found:?}");

    // The other layer is of use, and the damaged one's children tell of it.
    assert!(
        store.list().unwrap().contains(&"other".to_string()),
        "{what}"
    );
    create(&store, "more", Some("other")).unwrap();
    let changes = |id: &str| store.changes(id.as_bytes(), Against::Parent, &mut Watch::default());
    assert_eq!(changes("more").unwrap(), [], "{what}");
    assert_eq!(changes("other").unwrap().len(), 4, "{what}");
    remove(&store, "more").unwrap();
    if let Err(error) = changes("box") {
        let told = format!("{error}");
        let names = told.contains(id) || told.contains("no such layer");
        assert!(names || told.contains("upper"), "{what}: {told}");
    }

    // A cleanup loses nothing of any layer.
    let layers = all_of(&home.join("layer"));
    cleanup(&store);
    let after = all_of(&home.join("layer"));
    for (path, node) in &layers.0 {
        let hint = path.windows(7).any(|part| part == b"/child/");
        assert!(
            hint || after.0.contains_key(path),
            "{what}: {}",
            path.escape_ascii()
        );
        if node.is_file() && !hint {
            let now = &after.0[path];
            assert_eq!((now.ino, &now.content), (node.ino, &node.content), "{what}");
        }
    }
    // Nor is it taken for free.
    if !gone && !store.exists(id.as_bytes()).unwrap() {
        let error = fails(create(&store, id, None), Errno::EXIST);
        assert_eq!(error.code(), Code::Damaged, "{what}");
        assert!(error.message().contains("ovl rm"), "{what}: {error}");
        let error = fails(apply(&store, id, None, &tar_of("x", b"")), Errno::EXIST);
        assert_eq!(error.code(), Code::Damaged, "{what}");
    }

    // What a repair says it mended is not found again, and nothing is lost by it either.
    let mended = repair(&store);
    let left = check(&store);
    for one in &mended {
        let again = left
            .iter()
            .any(|left| (&left.layer, left.kind) == (&one.layer, one.kind));
        assert!(!one.repaired || !again, "{what}: {one:?} in {left:?}");
    }
    for (path, node) in &layers.0 {
        if node.is_file() && !path.windows(7).any(|part| part == b"/child/") {
            let now = Snapshot::of(&home.join("layer"));
            assert_eq!(now.0[path].content, node.content, "{what}: repair");
        }
    }

    // Whatever it lost, it can go; those above it first.
    for id in ["box", "mid", "base"] {
        match remove(&store, id) {
            Err(error) if gone && error.errno() == Errno::NOENT => {}
            done => done.unwrap_or_else(|error| panic!("{what}: {id}: {error}")),
        }
    }
    assert_eq!(check(&store), [], "{what}");
    assert_eq!(names(&home.join("layer")), ["other"], "{what}");
    assert_eq!(names(&home.join("trash")), [""; 0], "{what}");
    assert_eq!(
        fs::read(outside.join("canary")).unwrap(),
        b"canary",
        "{what}"
    );
    assert_eq!(
        fs::metadata(&outside).unwrap().mode() & 0o7777,
        0o755,
        "{what}"
    );
    true
}

fn sweep(id: &str) {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        fs::create_dir(dir.join("model")).unwrap();
        fill(&dir.join("model"));
        let copy = |to: &Path| {
            let from = dir.join("model/home");
            let copied = Command::new("cp").arg("-a").args([&from, to]).status();
            assert!(copied.unwrap().success());
        };
        fs::create_dir(dir.join("outside")).unwrap();
        fs::write(dir.join("outside/canary"), "canary").unwrap();
        copy(&dir.join("home"));
        let paths = below(&layer(dir, id));
        assert!(paths.len() > 8);
        let mut fresh = true;
        for path in paths {
            for how in HARMS {
                if !fresh {
                    fs::remove_dir_all(dir.join("home")).unwrap();
                    copy(&dir.join("home"));
                }
                fresh = !suffer(dir, id, how, &path);
            }
        }
    });
}

#[test]
fn a_complete_layer_loses_anything() {
    sweep("base");
}

#[test]
fn a_layer_of_changes_loses_anything() {
    sweep("mid");
}

#[test]
fn a_writable_layer_loses_anything() {
    sweep("box");
}
