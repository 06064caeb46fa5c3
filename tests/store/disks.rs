//! Disks and homes that are not as one would wish: read-only, full, moved, with flags that forbid.

use crate::child;
use crate::common::*;
use crate::support::{fsys, have};
use ovl::error::{Errno, Error, Result};
use ovl::store::*;
use ovl::watch::Watch;
use rustix::fs::{FallocateFlags, IFlags};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn remount(dir: &Path, how: &str) {
    let mut command = Command::new("mount");
    have::run(command.args(["-o", &format!("remount,{how}")]).arg(dir)).unwrap();
}

fn on_each(kinds: &[&str], body: impl Fn(&str, &Path, &Path) + Sync) {
    for kind in kinds {
        if have::or_skip(kind) {
            fsys::with_mounts(|base| {
                let dir = fsys::make(kind, base).unwrap();
                body(kind, base, &dir);
            });
        }
    }
}

fn changes(store: &Store, id: &str) -> Result<Vec<Change>> {
    store.changes(id.as_bytes(), Against::Parent, &mut Watch::default())
}

/// What can be read is read, and mounted; whatever else is EROFS, with the reason.
#[test]
fn a_read_only_disk() {
    require!("root", "overlay");
    on_each(&["tmpfs", "ext4", "xfs", "btrfs"], |kind, base, dir| {
        let first = store(dir);
        crate::common::base(&first);
        apply(&first, "top", Some("base"), &tar_of("top", b"top")).unwrap();
        create(&first, "box", Some("top")).unwrap();
        let mounted = mount(&first, "box", RW).unwrap();
        fs::write(path_of(&mounted).join("own"), "own").unwrap();
        unmount(mounted);
        create(&first, "plain", None).unwrap();
        let place = base.join("place");
        fs::create_dir(&place).unwrap();
        remount(dir, "ro");
        // The store that was open before, and one that is opened now.
        for store in [&first, &store(dir)] {
            assert_eq!(store.list().unwrap(), ["base", "box", "plain", "top"]);
            assert!(!store.stat(b"box").unwrap().mounted);
            assert_eq!(changes(store, "box").unwrap().len(), 1, "{kind}");
            assert_eq!(
                check(store).iter().filter(|p| !p.note).count(),
                0,
                "{:?}",
                check(store)
            );
            store.mount_spec(b"top", SpecFlags::empty(), None).unwrap();
            let (options, watch) = (DiffOptions::default(), &mut Watch::default());
            for id in ["box", "top", "base"] {
                let against = Against::Nothing;
                store
                    .diff(id.as_bytes(), against, &mut Vec::new(), &options, watch)
                    .unwrap();
                let view = mount(store, id, RO | MountFlags::DETACHED).unwrap();
                assert!(view.fd().is_some());
                unmount(view);
                let view = mount_at(store, id, RO, &place).unwrap();
                assert_eq!(fs::read(place.join("base")).unwrap(), b"base");
                assert_eq!(place.join("own").exists(), id == "box");
                assert!(store.stat(id.as_bytes()).unwrap().mounted);
                unmount(view);
                assert_eq!(names(&place), [""; 0], "{kind} {id}");
                let kept = mount_at(store, id, RO | MountFlags::KEEP, &place);
                forbidden(kept.map(drop), "kept");
                assert_eq!(names(&place), [""; 0]);
            }
            // `box` and `top` have a place of their own, `base` has none.
            unmount(mount(store, "top", RO).unwrap());
            forbidden(mount(store, "base", RO).map(drop), "name a path");
            forbidden(mount(store, "box", RW).map(drop), "read-only");
            forbidden(mount(store, "plain", RW).map(drop), "read-only");
            forbidden(create(store, "new", Some("top")), "read-only");
            forbidden(create(store, "new", None), "read-only");
            forbidden(commit(store, "box"), "read-only");
            forbidden(remove(store, "box"), "read-only");
            forbidden(
                apply(store, "new", None, &tar_of("x", b"x")).map(drop),
                "read-only",
            );
            forbidden(store.cleanup(&mut Watch::default()).map(drop), "read-only");
            forbidden(store.status().map(drop), "read-only");
        }
        remount(dir, "rw");
        unmount(mount(&first, "box", RW).unwrap());
        assert_clean(&first, dir);
    });
}

#[track_caller]
fn forbidden(result: Result<()>, words: &str) {
    let error = fails(result, Errno::ROFS);
    assert!(error.message().contains(words), "{error}");
}

/// Fills a file system to the last byte.
fn fill(dir: &Path) {
    let path = dir.join("filler");
    let mut file = fs::File::create(&path).unwrap();
    let mut at = 0;
    for size in [64 << 20, 1 << 20, 64 << 10, 4096] {
        while rustix::fs::fallocate(&file, FallocateFlags::empty(), at, size).is_ok() {
            at += size;
        }
    }
    // What was kept back for such calls.
    let mut more = fs::File::create(dir.join("filler-2")).unwrap();
    for size in [64 << 10, 4096] {
        while more.write_all(&vec![1; size]).is_ok() {}
    }
    let _ = (file.flush(), more.sync_all());
    for name in 0..500 {
        if fs::write(dir.join(format!("filler-{name}")), "x").is_err() {
            break;
        }
    }
}

/// On a full disk each call works or is ENOSPC; what is there can be read; and removing gives space.
#[test]
fn a_full_disk() {
    require!("root", "overlay");
    on_each(&["tmpfs", "ext4", "xfs", "btrfs"], |kind, _, dir| {
        let store = store(dir);
        base(&store);
        for id in ["box", "other"] {
            create(&store, id, Some("base")).unwrap();
        }
        let large = tar_of("large", &vec![7; 24 << 20]);
        for id in ["large", "later"] {
            apply(&store, id, None, &large).unwrap();
        }
        fill(dir);
        type Call = fn(&Store) -> Result<()>;
        let calls: [(&str, Call); 7] = [
            ("create", |s| create(s, "new", Some("base"))),
            ("create flat", |s| {
                create_with(s, "flat", Some("base"), CreateFlags::FLAT)
            }),
            ("apply", |s| {
                apply(s, "tar", None, &tar_of("x", &vec![1; 1 << 20])).map(drop)
            }),
            ("mount", |s| mount(s, "box", RW).map(unmount)),
            ("view", |s| {
                mount(s, "base", RO | MountFlags::DETACHED).map(drop)
            }),
            ("commit", |s| commit(s, "other")),
            ("status", |s| s.status().map(drop)),
        ];
        let mut refused = 0;
        for (what, call) in calls {
            if let Err(error) = call(&store) {
                assert_eq!(error.errno(), Errno::NOSPC, "{kind} {what}: {error}");
                refused += 1;
            }
        }
        assert!(refused > 0, "{kind} was not full");
        assert_eq!(changes(&store, "large").unwrap().len(), 1);
        assert!(!store.exists(b"tar").unwrap());
        let room = || {
            let at = rustix::fs::statvfs(dir).unwrap();
            at.f_bfree * at.f_frsize
        };
        let before = room();
        remove(&store, "large").unwrap_or_else(|error| panic!("{kind}: {error}"));
        let watch = &mut Watch::default();
        store.remove(b"later", RemoveFlags::DEFER, watch).unwrap();
        store.cleanup(watch).unwrap();
        // xfs counts what was given back a moment later, btrfs when it has time.
        let given = || {
            rustix::fs::syncfs(fs::File::open(dir).unwrap()).unwrap();
            room().saturating_sub(before)
        };
        let start = Instant::now();
        while given() <= 30 << 20 && kind != "btrfs" {
            assert!(start.elapsed().as_secs() < 20, "{kind}: {}", given());
            std::thread::sleep(Duration::from_millis(50));
        }
        apply(&store, "tar", None, &tar_of("x", &vec![1; 1 << 20])).unwrap();
        unmount(mount(&store, "box", RW).unwrap());
        assert_clean(&store, dir);
    });
}

/// A home that is renamed while it is open and mounts are in it, and one that is seen at two places.
#[test]
fn a_home_that_moved() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let first = store(dir);
        base(&first);
        for id in ["held", "kept", "left"] {
            create(&first, id, Some("base")).unwrap();
        }
        let held = mount(&first, "held", RW).unwrap();
        drop(mount(&first, "kept", MountFlags::KEEP).unwrap());
        // By one who is killed.
        drop(mount(&first, "left", RW).unwrap());
        fs::rename(dir.join("home"), dir.join("moved")).unwrap();
        let second = open(&dir.join("moved"));
        for store in [&first, &second] {
            assert_eq!(store.list().unwrap(), ["base", "held", "kept", "left"]);
            assert!(store.path().unwrap().ends_with(b"/moved"));
            create(store, "new", Some("base")).unwrap();
            let again = mount(store, "held", RW).unwrap();
            assert_eq!(path_of(&again), dir.join("moved/layer/held/merged"));
            fs::write(path_of(&again).join("own"), "own").unwrap();
            unmount(again);
            unmount(mount(store, "new", RW).unwrap());
            fails(remove(store, "held"), Errno::BUSY);
            fails(remove(store, "kept"), Errno::BUSY);
            remove(store, "new").unwrap();
        }
        unmount(held);
        settled(|| second.unmount_at(b"kept", UnmountFlags::empty()));
        assert_eq!(cleanup(&first).unmounted, 1);
        assert_eq!(mounts_below(&dir.join("moved")), [""; 0]);
        assert_eq!(names(&dir.join("moved/layer/held/upper")), ["own"]);

        // The same store at another place.
        let place = dir.join("place");
        fs::create_dir(&place).unwrap();
        let mut bind = Command::new("mount");
        have::run(bind.arg("--bind").arg(dir.join("moved")).arg(&place)).unwrap();
        let third = open(&place);
        let mounted = mount(&first, "held", RW).unwrap();
        let same = mount(&third, "held", RW).unwrap();
        assert_eq!(mounted.path(), same.path());
        fails(remove(&third, "held"), Errno::BUSY);
        unmount(mounted);
        unmount(same);
        let there = mount(&third, "kept", RW).unwrap();
        fails(commit(&first, "kept"), Errno::BUSY);
        unmount(there);
        for id in ["held", "kept", "left", "base"] {
            remove(&third, id).unwrap();
        }
        drop((second, third));
        rustix::mount::unmount(&place, rustix::mount::UnmountFlags::empty()).unwrap();
        fs::rename(dir.join("moved"), dir.join("home")).unwrap();
        assert_clean(&first, dir);
    });
}

fn stick(path: &Path, flags: IFlags) {
    let file = fs::File::open(path).unwrap();
    let is = rustix::fs::ioctl_getflags(&file).unwrap();
    let stuck = IFlags::IMMUTABLE | IFlags::APPEND;
    rustix::fs::ioctl_setflags(&file, is.difference(stuck) | flags).unwrap();
}

/// Flags on the store's own directories forbid what they forbid, and the message says so; those in
/// layers' trees are no part of these.
#[test]
fn flags_on_the_stores_directories() {
    require!("root", "overlay");
    on_each(&["ext4", "btrfs"], |kind, _, dir| {
        let store = store(dir);
        base(&store);
        let told = |error: Error| {
            assert_eq!(error.errno(), Errno::PERM, "{kind}: {error}");
            assert!(error.message().contains("chattr"), "{kind}: {error}");
        };
        for flag in [IFlags::IMMUTABLE, IFlags::APPEND] {
            create(&store, "box", Some("base")).unwrap();
            let own = layer(dir, "box");
            stick(&own, flag);
            told(remove(&store, "box").unwrap_err());
            told(commit(&store, "box").unwrap_err());
            stick(&own, IFlags::empty());
            // An append-only directory keeps what the commit began.
            cleanup(&store);
            assert_eq!(check(&store), [], "{kind}");
            // The upper's flags go with it.
            stick(&layer(dir, "box/upper"), flag);
            remove(&store, "box").unwrap();
            create(&store, "box", Some("base")).unwrap();
            stick(&dir.join("home/layer"), IFlags::IMMUTABLE);
            told(remove(&store, "box").unwrap_err());
            told(create(&store, "new", Some("base")).unwrap_err());
            told(apply(&store, "new", None, &tar_of("x", b"x")).unwrap_err());
            stick(&dir.join("home/layer"), IFlags::empty());
            remove(&store, "box").unwrap();
        }
        assert_clean(&store, dir);
    });
}

/// A flag or a mount in the way is told by name, wherever it is met.
#[test]
fn what_is_in_the_way_is_told() {
    require!("root", "overlay");
    on_each(&["ext4"], |_, _, dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        let home = |rest: &str| dir.join("home").join(rest);
        let into = |id: &str| apply(&store, id, None, &tar_of("x", b"x")).map(drop);
        type Call<'a> = Box<dyn Fn() -> Result<()> + 'a>;
        let over = || -> Call<'_> { Box::new(|| create(&store, "new", Some("base"))) };
        let run = || -> Call<'_> { Box::new(|| mount(&store, "box", RW).map(drop)) };
        let (new, plain): (Call<'_>, Call<'_>) = (
            Box::new(|| into("new")),
            Box::new(|| create(&store, "new", None)),
        );
        let cases: Vec<(&str, Vec<Call<'_>>)> = vec![
            ("stage", vec![over(), new, plain]),
            ("trash", vec![Box::new(|| remove(&store, "box"))]),
            ("layer/base/child", vec![over()]),
            ("layer/box", vec![run(), Box::new(|| commit(&store, "box"))]),
            ("layer/box/pin", vec![run()]),
        ];
        for (place, calls) in &cases {
            for call in calls {
                stick(&home(place), IFlags::IMMUTABLE);
                let done = call();
                stick(&home(place), IFlags::empty());
                let error = fails(done, Errno::PERM);
                assert!(error.message().contains("chattr"), "{place}: {error}");
                assert_eq!(check(&store), [], "{place}");
            }
        }
        fs::create_dir(home("over")).unwrap();
        for place in ["layer/box", "layer/box/upper"] {
            let mut bind = Command::new("mount");
            have::run(bind.arg("--bind").arg(home("over")).arg(home(place))).unwrap();
            let stat = |_: &mut Watch<'_>| store.stat(b"box").map(drop);
            let told = |result: Result<()>| {
                let error = fails(result, Errno::XDEV);
                let words = "something is mounted on it";
                assert!(error.message().contains(words), "{place}: {error}");
            };
            if place == "layer/box" {
                told(stat(&mut Watch::default()));
            }
            told(mount(&store, "box", RW).map(drop));
            told(commit(&store, "box"));
            told(remove(&store, "box"));
            let found = check(&store);
            let named = |one: &Problem| one.detail.contains("something is mounted");
            assert!(found.iter().any(named), "{place}: {found:?}");
            let flags = rustix::mount::UnmountFlags::empty();
            rustix::mount::unmount(home(place), flags).unwrap();
        }
        fs::remove_dir(home("over")).unwrap();
        remove(&store, "box").unwrap();
        assert_clean(&store, dir);
    });
}

/// A directory in which somebody works keeps a mount, and the message says what to do.
#[test]
fn busy_directories() {
    require!("root", "overlay", "sleep");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        drop(mount(&store, "box", MountFlags::KEEP).unwrap());
        let place = layer(dir, "box/merged");
        let mut worker = Command::new("sleep");
        let worker = worker.arg("1000").current_dir(&place).spawn().unwrap();
        let error = fails(store.unmount_at(b"box", UnmountFlags::empty()), Errno::BUSY);
        assert!(error.message().contains("process"), "{error}");
        let error = fails(remove(&store, "box"), Errno::BUSY);
        assert!(error.message().contains("mounted at"), "{error}");
        child::kill(worker);
        settled(|| store.unmount_at(b"box", UnmountFlags::empty()));
        remove(&store, "box").unwrap();
        assert_clean(&store, dir);
    });
}
