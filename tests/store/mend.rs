//! What check names and a repair mends, kind by kind; who may repair; and what is only looked at.

use crate::child;
use crate::common::*;
use crate::remove::rewrite_meta;
use crate::support::fsys;
use ovl::error::{Code, Errno};
use ovl::store::*;
use ovl::watch::Watch;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

/// Kinds and places, in order.
fn told(problems: &[Problem]) -> Vec<(&str, &str)> {
    problems.iter().map(|p| (&p.layer[..], p.kind)).collect()
}

struct Case {
    place: &'static str,
    kind: &'static str,
    mends: bool,
    harm: fn(&Path),
}

fn case(place: &'static str, kind: &'static str, mends: bool, harm: fn(&Path)) -> Case {
    Case {
        place,
        kind,
        mends,
        harm,
    }
}

/// Each is found as it is called, alone; what is mended is not found again, and what is not is left
/// as it was.
#[test]
fn kind_by_kind() {
    require!("root", "overlay");
    let cases = [
        case(".", "mode", true, |d| chmod(&d.join("home"), 0o755)),
        case("stage", "mode", true, |d| {
            chmod(&d.join("home/stage"), 0o711)
        }),
        case("box", "mode", true, |d| chmod(&layer(d, "box"), 0o755)),
        case("box", "mode", true, |d| chmod(&layer(d, "box/pin"), 0o1700)),
        case("box", "mode", true, |d| chmod(&layer(d, "box/merged"), 0)),
        case("box", "owner", true, |d| {
            chown(layer(d, "box/work"), Some(1), None).unwrap()
        }),
        case("layer", "owner", true, |d| {
            chown(d.join("home/layer"), None, Some(1)).unwrap()
        }),
        case(".ovl-store.1", "temporary", true, |d| {
            fs::write(d.join("home/.ovl-store.1"), "format").unwrap()
        }),
        case("box", "temporary", true, |d| {
            fs::write(layer(d, "box/.meta.123"), "kind").unwrap()
        }),
        case("box", "missing", true, |d| {
            fs::remove_dir(layer(d, "box/merged")).unwrap()
        }),
        case("base", "stale hint", true, |d| {
            fs::write(layer(d, "base/child/gone"), "").unwrap()
        }),
        case("base", "stale hint", true, |d| {
            fs::write(layer(d, "base/child/other"), "").unwrap()
        }),
        case("box", "leftover", true, |d| {
            fs::write(layer(d, "box/manifest"), "half").unwrap()
        }),
        case("box", "leftover", true, |d| {
            fs::create_dir(layer(d, "box/pin/mount.0123456789abcdef")).unwrap()
        }),
        case("box", "dead pin", true, |d| {
            fs::write(layer(d, "box/pin/12.34"), "mode=held\n").unwrap()
        }),
        case("box", "no lower-id", true, |d| {
            fs::remove_file(layer(d, "box/lower-id")).unwrap()
        }),
        case("box", "no lower-id", false, |d| {
            // Two say that it is theirs.
            fs::remove_file(layer(d, "box/lower-id")).unwrap();
            fs::write(layer(d, "other/child/box"), "").unwrap();
        }),
        case("box", "lowers", false, |d| {
            rewrite_meta(d, "box", |text| text.replace("lowers=1", "lowers=7"))
        }),
        case("base", "manifest", false, |d| {
            rewrite_meta(d, "base", |text| {
                let kept = text.lines().filter(|line| !line.starts_with("manifest="));
                kept.map(|line| format!("{line}\n")).collect()
            })
        }),
        case("other", "unknown", false, |d| {
            rewrite_meta(d, "other", |text| text.replace("kind=root", "kind=erofs"))
        }),
        case("base", "foreign", false, |d| {
            fs::write(layer(d, "base/notes"), "").unwrap()
        }),
        case("other", "foreign", false, |d| {
            fs::write(layer(d, "other/lower-id"), "base").unwrap()
        }),
        case("base", "foreign", false, |d| {
            fs::write(layer(d, "base/pin/notes"), "").unwrap()
        }),
        case("base", "foreign", false, |d| {
            fs::write(layer(d, "base/child/..x"), "").unwrap()
        }),
        case("box", "foreign", false, |d| {
            fs::write(layer(d, "box/merged/hidden"), "").unwrap()
        }),
        case("box", "shared", false, |d| {
            let file = layer(d, "box/upper/own");
            fs::hard_link(file, d.join("outside")).unwrap()
        }),
        case("box", "shared", false, |d| {
            let file = layer(d, "base/root/base");
            fs::hard_link(file, layer(d, "box/upper/theirs")).unwrap()
        }),
        case("box", "marks", false, |d| {
            let hides = layer(d, "box/upper/dir");
            fs::create_dir_all(&hides).unwrap();
            fs::remove_file(layer(d, "other/root/dir")).ok();
            xattr::set(hides, "user.overlay.opaque", b"y").unwrap()
        }),
        case("file", "damaged", false, |d| {
            fs::write(layer(d, "file"), "no layer").unwrap()
        }),
        case("ovl-store", "store", false, |d| {
            fs::write(d.join("home/ovl-store"), "format=2\n").unwrap()
        }),
    ];
    for (at, case) in cases.iter().enumerate() {
        fsys::with_mounts(|dir| {
            let store = store(dir);
            let mut tar = tar_of("base", b"base");
            tar.truncate(1024);
            tar.extend(tar_of("dir/file", b"x"));
            apply(&store, "base", None, &tar).unwrap();
            create(&store, "box", Some("base")).unwrap();
            fs::write(layer(dir, "box/upper/own"), "own").unwrap();
            create(&store, "other", None).unwrap();
            commit(&store, "other").unwrap();
            assert_eq!(check(&store), [], "case {at}");
            (case.harm)(dir);
            let what = format!("case {at}: {} {}", case.place, case.kind);
            // A stale hint is a note.
            let mut found = check_all(&store);
            found.retain(|one| !one.note || one.kind == case.kind);
            let mut kinds = told(&found);
            kinds.dedup();
            // Whoever wrote into a directory that a manifest knows changed that too.
            kinds.retain(|one| *one != ("base", "differs"));
            assert_eq!(kinds, [(case.place, case.kind)], "{what}: {found:?}");
            let mended = repair(&store);
            let one = mended.iter().find(|one| one.kind == case.kind).unwrap();
            assert_eq!(one.repaired, case.mends, "{what}: {mended:?}");
            if case.mends {
                assert_eq!(check(&store), [], "{what}");
                remove(&store, "box").unwrap();
            } else if case.kind != "no lower-id" {
                assert_eq!(told(&check(&store)), told(&found), "{what}");
            }
        });
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A repair is for who has the store alone, and gives it back as it was, also when it fails.
#[test]
fn a_repair_is_alone() {
    let dir = fsys::scratch();
    let mine = store(dir.path());
    base(&mine);
    let other = store(dir.path());
    let watch = &mut Watch::default();
    for (one, two) in [(&mine, &other), (&other, &mine)] {
        let error = fails(one.check(CheckFlags::REPAIR, watch), Errno::BUSY);
        assert_eq!(error.code(), Code::Locked);
        assert!(error.message().contains("ovl gc"), "{error}");
        // Both still have it, and work in it.
        assert_eq!(check(two), []);
        cleanup(one);
    }
    let home = fs::File::open(dir.path().join("home")).unwrap();
    let alone = || flock(&home, FlockOperation::NonBlockingLockExclusive);
    assert!(alone().is_err());
    drop(other);
    assert_eq!(repair(&mine), []);
    // Shared again: others come in, and nobody has it alone.
    assert!(alone().is_err());
    flock(&home, FlockOperation::NonBlockingLockShared).unwrap();
    fails(mine.check(CheckFlags::REPAIR, watch), Errno::BUSY);
    flock(&home, FlockOperation::Unlock).unwrap();
    assert_eq!(repair(&mine), []);
    drop(mine);
    let home = fs::File::open(dir.path().join("home")).unwrap();
    settled(|| {
        flock(&home, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| ovl::error::Error::sys(Errno::BUSY, "flock"))
    });
}

/// Two repairs through one open store, and through two: one of them at a time has it.
#[test]
fn repairs_at_once() {
    let dir = fsys::scratch();
    let shared = store(dir.path());
    base(&shared);
    create(&shared, "box", None).unwrap();
    std::thread::scope(|scope| {
        for at in 0..4 {
            let (shared, dir) = (&shared, dir.path());
            scope.spawn(move || {
                for _ in 0..30 {
                    let own = (at % 2 == 1).then(|| store(dir));
                    let store = own.as_ref().unwrap_or(shared);
                    match store.check(CheckFlags::REPAIR, &mut Watch::default()) {
                        Ok(found) => assert!(found.iter().all(|one| one.note), "{found:?}"),
                        Err(error) => assert_eq!(error.code(), Code::Locked, "{error}"),
                    }
                }
            });
        }
    });
    assert_eq!(repair(&shared), []);
}

/// Nobody waits long for a layer that others work on; it is told, and the rest is looked at.
#[test]
fn what_is_in_use_is_passed_by() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    base(&store);
    create(&store, "box", None).unwrap();
    fs::write(layer(dir.path(), "base/root/new"), "").unwrap();
    let held = fsys::Locked::new(&layer(dir.path(), "box"), FlockOperation::LockExclusive);
    let found = check_all(&store);
    assert!(told(&found).contains(&("base", "differs")), "{found:?}");
    let notes: Vec<_> = found.iter().filter(|one| one.layer == "box").collect();
    assert_eq!(notes.len(), 1, "{found:?}");
    assert!(notes[0].note && notes[0].kind == "in use", "{found:?}");
    drop(held);
    let _held = fsys::Locked::new(&layer(dir.path(), "box/pin"), FlockOperation::LockExclusive);
    let found = check_all(&store);
    assert!(
        found
            .iter()
            .any(|one| one.note && one.layer == "box" && one.kind == "in use")
    );
}

/// What was not recorded is said; what was is compared.
#[test]
fn contents_are_recorded_or_not() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    base(&store);
    create(&store, "empty", None).unwrap();
    fs::write(layer(dir.path(), "empty/root/empty"), "").unwrap();
    commit(&store, "empty").unwrap();
    create(&store, "verified", None).unwrap();
    fs::write(layer(dir.path(), "verified/root/file"), "x").unwrap();
    let watch = &mut Watch::default();
    let none = CommitFlags::empty();
    store
        .commit(b"verified", Durability::Verified, none, watch)
        .unwrap();
    let found = check_all(&store);
    assert_eq!(told(&found), [("base", "not recorded")]);
    assert!(found[0].note && !found[0].repaired && found[0].detail.starts_with("contents: of 1 "));
}

/// Mounts whose holder was killed are named, and ended by a repair; what is held or kept stays.
#[test]
fn mounts_of_the_dead() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let mine = store(dir);
        base(&mine);
        for id in ["box", "held", "kept"] {
            create(&mine, id, Some("base")).unwrap();
        }
        let other = child::ready(child::command(dir, "hold held"));
        let held = mount(&mine, "held", RW).unwrap();
        drop(mount(&mine, "kept", MountFlags::KEEP).unwrap());
        assert_eq!(check(&mine), []);
        child::kill(other);
        let found = settled(|| {
            let found = check(&mine);
            match found.is_empty() {
                false => Ok(found),
                true => Err(ovl::error::Error::sys(Errno::BUSY, "kill")),
            }
        });
        assert_eq!(told(&found), [("box", "mount")]);
        assert_eq!(mounts_below(&dir.join("home")).len(), 3);
        let mended = repair(&mine);
        assert!(mended.len() == 1 && mended[0].repaired, "{mended:?}");
        assert_eq!(mounts_below(&dir.join("home")).len(), 2);
        assert_eq!(check(&mine), []);
        unmount(held);
        settled(|| mine.unmount_at(b"kept", UnmountFlags::empty()));
        assert_clean(&mine, dir);
    });
}

/// A room that handles lock is not made anew while somebody has the one that went.
#[test]
fn rooms_of_running_layers() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        let mounted = mount(&store, "box", MountFlags::DETACHED).unwrap();
        fs::rename(layer(dir, "box/work"), layer(dir, "box/.gone")).unwrap();
        let found = repair(&store);
        let lost = found.iter().find(|one| one.kind == "missing").unwrap();
        assert!(!lost.repaired, "{found:?}");
        assert!(!layer(dir, "box/work").exists());
        fails(remove(&store, "box"), Errno::BUSY);
        drop(mounted);
        let found = repair(&store);
        assert!(
            found
                .iter()
                .any(|one| one.kind == "missing" && one.repaired)
        );
        assert_eq!(
            layer(dir, "box/work").metadata().unwrap().mode() & 0o7777,
            0o700
        );
        remove(&store, "box").unwrap();
    });
}

/// What can be told of a parent only by its hints is not lost with it.
#[test]
fn a_damaged_child_keeps_its_parent() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    let dir = dir.path();
    base(&store);
    create(&store, "box", Some("base")).unwrap();
    // Nothing is in it: nothing is lost.
    let meta = fs::read(layer(dir, "box/meta")).unwrap();
    fs::write(layer(dir, "box/meta"), "").unwrap();
    fs::write(layer(dir, "box/upper/own"), "own").unwrap();
    for lost in [&["box/meta"][..], &["box/lower-id"], &["base/child"]] {
        for name in lost {
            let path = layer(dir, name);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
        if lost == ["base/child"] {
            fs::write(layer(dir, "box/lower-id"), "base").unwrap();
        }
        let error = fails(remove(&store, "base"), Errno::BUSY);
        assert_eq!(error.code(), Code::HasChildren, "{lost:?}");
        assert!(error.message().contains("box"), "{error}");
    }
    // Found, though no hint leads to it.
    fs::write(layer(dir, "box/meta"), meta).unwrap();
    let error = fails(remove(&store, "base"), Errno::BUSY);
    assert_eq!(error.code(), Code::HasChildren);
    assert!(repair(&store).iter().all(|one| one.repaired));
    assert_eq!(names(&layer(dir, "base/child")), ["box"]);
    remove(&store, "box").unwrap();
    remove(&store, "base").unwrap();
    assert_clean(&store, dir);
}

/// A layer in use can be removed by nobody, whatever it lost.
#[test]
fn damaged_and_in_use() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        for lost in ["meta", "lower-id", "pin", "work", "merged", "child"] {
            create(&store, "box", Some("base")).unwrap();
            let mounted = mount(&store, "box", MountFlags::DETACHED).unwrap();
            let gone = dir.join("gone");
            fs::rename(layer(dir, "box").join(lost), &gone).unwrap();
            let error = fails(remove(&store, "box"), Errno::BUSY);
            assert_eq!(error.code(), Code::Mounted, "{lost}: {error}");
            // Nor is it anything that was never made.
            cleanup(&store);
            assert!(layer(dir, "box/upper").exists(), "{lost}");
            drop(mounted);
            remove(&store, "box").unwrap_or_else(|e| panic!("{lost}: {e}"));
            let _ = fs::remove_file(&gone).or_else(|_| fs::remove_dir_all(&gone));
            assert_eq!(names(&dir.join("home/trash")), [""; 0], "{lost}");
        }
    });
}

/// Small files that are something else are named, keep nobody else from working, and go.
#[test]
fn files_that_are_none() {
    require!("root");
    let dir = fsys::scratch();
    let store = store(dir.path());
    let dir = dir.path();
    base(&store);
    for name in ["running", "manifest"] {
        for kind in ["directory", "link", "fifo"] {
            create(&store, "box", Some("base")).unwrap();
            fs::write(layer(dir, "box/upper/own"), "own").unwrap();
            let at = layer(dir, "box").join(name);
            match kind {
                "directory" => fs::create_dir(&at).unwrap(),
                "link" => std::os::unix::fs::symlink("/etc/passwd", &at).unwrap(),
                _ => {
                    let fifo = rustix::fs::FileType::Fifo;
                    let mode = rustix::fs::Mode::RWXU;
                    rustix::fs::mknodat(rustix::fs::CWD, &at, fifo, mode, 0).unwrap();
                }
            }
            let found = check(&store);
            assert_eq!(
                told(&found),
                [("box", "foreign")],
                "{name} {kind}: {found:?}"
            );
            assert!(found[0].detail.starts_with(name), "{found:?}");
            create(&store, "more", Some("base")).unwrap();
            assert_eq!(cleanup(&store).busy, 0, "{name} {kind}");
            assert_eq!(store.list().unwrap(), ["base", "box", "more"]);
            remove(&store, "more").unwrap();
            remove(&store, "box").unwrap_or_else(|e| panic!("{name} {kind}: {e}"));
        }
    }
    assert_clean(&store, dir);
}

/// A repair gives way to who mounts a layer, and goes on with the rest of it.
#[test]
fn a_repair_beside_a_mount() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    base(&store);
    fs::write(layer(dir.path(), "base/root/new"), "").unwrap();
    let _pins = fsys::Locked::new(
        &layer(dir.path(), "base/pin"),
        FlockOperation::LockExclusive,
    );
    let watch = &mut Watch::default();
    let found = settled(|| store.check(CheckFlags::REPAIR, watch));
    assert!(told(&found).contains(&("base", "differs")), "{found:?}");
    let notes = found.iter().filter(|one| one.kind == "in use").count();
    assert_eq!(notes, 1, "{found:?}");
}
