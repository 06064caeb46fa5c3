//! Cleaning up: in the time that there is, past what cannot be removed, beside everybody else.

use crate::child;
use crate::common::*;
use crate::support::fsys;
use ovl::error::Errno;
use ovl::store::*;
use ovl::watch::{Cancel, Watch};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn within(store: &Store, budget: Duration) -> CleanupReport {
    let options = CleanupOptions {
        budget: Some(budget),
        ..Default::default()
    };
    store.cleanup_with(&options, &mut Watch::default()).unwrap()
}

fn tree(at: &Path, files: usize) {
    fs::create_dir_all(at).unwrap();
    for name in 0..files {
        fs::write(at.join(name.to_string()), "").unwrap();
    }
}

fn count(dir: &Path) -> usize {
    let here = names(dir);
    let below = here.iter().map(|name| dir.join(name));
    let below: usize = below.filter(|p| p.is_dir()).map(|p| count(&p)).sum();
    here.len() + below
}

/// However short the time, something is done each time; the end is reached, and told.
#[test]
fn a_budget_is_kept_within_one_large_tree() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    base(&store);
    tree(&dir.path().join("home/trash/huge/a/b"), 3000);
    tree(&dir.path().join("home/trash/more"), 10);
    tree(&dir.path().join("home/stage/left"), 10);
    let before = count(&dir.path().join("home"));
    // There is no time at all: the first name goes, and what is left is known.
    let done = within(&store, Duration::ZERO);
    let after = count(&dir.path().join("home"));
    assert!(after < before && after > before - 20, "{before} {after}");
    // Both in trash, the one in stage unless it was small enough, and the layer.
    assert!(done.left >= 3, "{done:?}");
    assert_eq!(done.busy, 0);
    let mut rounds = 0;
    loop {
        let done = within(&store, Duration::from_micros(300));
        rounds += 1;
        // Between fork and exec another test's children hold what was just locked.
        if (done.left, done.busy) == (0, 0) {
            break;
        }
        assert!(rounds < 20_000, "{done:?}");
    }
    assert_eq!(names(&dir.path().join("home/trash")), [""; 0]);
    assert_eq!(names(&dir.path().join("home/stage")), [""; 0]);
    assert_eq!(
        within(&store, Duration::from_secs(60)),
        CleanupReport::default()
    );
    assert_clean(&store, dir.path());
}

/// The caller's own word is another: it is an error, as ever.
#[test]
fn cancelled_is_not_late() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    tree(&dir.path().join("home/trash/huge"), 3000);
    let cancel = Cancel::default();
    let options = CleanupOptions {
        budget: Some(Duration::from_secs(1000)),
        ..Default::default()
    };
    let mut told = 0;
    let mut progress = |_: &ovl::watch::Progress| {
        told += 1;
        cancel.trigger();
        0
    };
    let watch = &mut Watch::new(Some(&cancel), Some(&mut progress));
    fails(store.cleanup_with(&options, watch), Errno::CANCELED);
    assert!(told > 0);
    let left = names(&dir.path().join("home/trash/huge")).len();
    assert!(left > 0 && left < 3000, "{left}");
    assert_eq!(cleanup(&store).removed, 1);
}

/// What cannot be removed does not keep the rest; it is counted and told.
#[test]
fn past_what_cannot_be_removed() {
    require!("root");
    fsys::on("ext4", |dir| {
        let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let lines = log.clone();
        let store = Store::open(
            dir.join("home").as_os_str().as_encoded_bytes(),
            OpenOptions {
                log: Some(Box::new(move |_, line| {
                    lines.lock().unwrap().push(line.to_string())
                })),
                ..Default::default()
            },
        )
        .unwrap();
        base(&store);
        let trash = dir.join("home/trash");
        // A shared inode is never touched: its flag stays, and so does this name of it.
        tree(&trash.join("a"), 3);
        fs::hard_link(trash.join("a/1"), dir.join("elsewhere")).unwrap();
        let flag = |on: &str| {
            let set = Command::new("chattr")
                .arg(on)
                .arg(dir.join("elsewhere"))
                .status();
            assert!(set.unwrap().success());
        };
        flag("+i");
        tree(&trash.join("b/mounted"), 0);
        fsys::mount_tmpfs(&trash.join("b/mounted"), c"size=64k").unwrap();
        tree(&trash.join("c"), 3);
        tree(&dir.join("home/stage/d"), 3);
        tree(&dir.join("home/stage/e"), 3);
        fsys::mount_tmpfs(&dir.join("home/stage/e"), c"size=64k").unwrap();
        let done = cleanup(&store);
        assert_eq!((done.removed, done.busy, done.left), (2, 3, 0), "{done:?}");
        assert_eq!(names(&trash), ["a", "b"]);
        assert_eq!(names(&dir.join("home/stage")), ["e"]);
        let told = log.lock().unwrap().join("\n");
        for place in ["trash/a", "trash/b", "stage/e"] {
            assert!(told.contains(place), "{place}: {told}");
        }
        flag("-i");
        for at in [trash.join("b/mounted"), dir.join("home/stage/e")] {
            rustix::mount::unmount(at, rustix::mount::UnmountFlags::empty()).unwrap();
        }
        let done = cleanup(&store);
        assert_eq!((done.removed, done.busy), (3, 0), "{done:?}");
        assert!(dir.join("elsewhere").exists());
        assert_clean(&store, dir);
    });
}

/// Flags that nobody shares are no hindrance.
#[test]
fn past_flags_of_its_own() {
    require!("root");
    fsys::on("ext4", |dir| {
        let store = store(dir);
        let tree_in = dir.join("home/trash/a/deep");
        tree(&tree_in, 3);
        for (flag, name) in [("+i", "0"), ("+a", "1"), ("+i", ".")] {
            let set = Command::new("chattr")
                .arg(flag)
                .arg(tree_in.join(name))
                .status();
            assert!(set.unwrap().success());
        }
        assert_eq!(cleanup(&store).removed, 1);
        assert_clean(&store, dir);
    });
}

/// Small things in layers: out of date they go, in use they stay.
#[test]
fn small_things() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        create(&store, "run", Some("base")).unwrap();
        let mounted = mount(&store, "run", RW).unwrap();
        let pins = names(&layer(dir, "run/pin"));
        let put = || {
            fs::write(layer(dir, "base/child/gone"), "").unwrap();
            fs::write(layer(dir, "box/.meta.1"), "half").unwrap();
            fs::write(layer(dir, "box/manifest"), "half").unwrap();
            fs::write(layer(dir, "run/pin/1.2"), "mode=held\n").unwrap();
            fs::write(dir.join("home/.ovl-store.1"), "half").unwrap();
        };
        put();
        let done = cleanup(&store);
        assert_eq!(
            (done.dropped, done.unmounted, done.busy),
            (5, 0, 0),
            "{done:?}"
        );
        assert_eq!(check(&store), []);
        assert_eq!(names(&layer(dir, "run/pin")), pins);
        assert_eq!(names(&layer(dir, "base/child")), ["box", "run"]);
        put();
        // Somebody builds on base, commits box, and mounts run.
        let hold = |place: &str, how| fsys::Locked::new(&layer(dir, place), how);
        let shared = rustix::fs::FlockOperation::LockShared;
        let alone = rustix::fs::FlockOperation::LockExclusive;
        let held = [
            hold("base", shared),
            hold("box", alone),
            hold("run/pin", alone),
        ];
        assert_eq!(cleanup(&store).dropped, 1, "what was to become ovl-store");
        assert!(layer(dir, "base/child/gone").exists());
        assert!(layer(dir, "box/.meta.1").exists() && layer(dir, "box/manifest").exists());
        assert!(layer(dir, "run/pin/1.2").exists());
        drop(held);
        assert_eq!(cleanup(&store).dropped, 4);
        unmount(mounted);
        assert_clean(&store, dir);
    });
}

/// What a kill leaves of a mount by path, as older kernels mount: a directory, and a mount on it.
#[test]
fn places_of_a_moment() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        let place = layer(dir, "box/pin/mount.00112233aabbccdd");
        for mounted in [false, true] {
            fs::create_dir(&place).unwrap();
            if mounted {
                fsys::mount_tmpfs(&place, c"size=64k").unwrap();
            }
            assert_eq!(check(&store)[0].kind, "leftover");
            let done = cleanup(&store);
            assert_eq!((done.dropped, done.busy), (1, 0), "{done:?}");
            assert!(!place.exists());
            assert_clean(&store, dir);
        }
    });
}

/// Two at once, through one store and through two, beside callers that come and go.
#[test]
fn many_at_once() {
    let dir = fsys::scratch();
    let shared = store(dir.path());
    base(&shared);
    for at in 0..200 {
        tree(&dir.path().join(format!("home/trash/{at}")), 5);
    }
    std::thread::scope(|scope| {
        for at in 0..3 {
            let (shared, dir) = (&shared, dir.path());
            scope.spawn(move || {
                let own = (at == 1).then(|| store(dir));
                let store = own.as_ref().unwrap_or(shared);
                for round in 0..10 {
                    let id = format!("x{at}-{round}");
                    create(store, &id, Some("base")).unwrap();
                    let done = cleanup(store);
                    assert_eq!(done.left, 0, "{done:?}");
                    remove(store, &id).unwrap();
                }
            });
        }
    });
    assert_clean(&shared, dir.path());
    assert_eq!(shared.list().unwrap(), ["base"]);
}

pub fn child_cleans(dir: &Path, _: &[&str]) {
    let store = store(dir);
    println!("READY");
    cleanup(&store);
}

/// Killed at any moment, it leaves what the next one takes.
#[test]
fn killed_half_way() {
    let dir = fsys::scratch();
    let mine = store(dir.path());
    base(&mine);
    for wait in 0..12 {
        tree(&dir.path().join("home/trash/huge/a"), 2000);
        tree(&dir.path().join("home/stage/left"), 200);
        let other = child::ready(child::command(dir.path(), "clean"));
        std::thread::sleep(Duration::from_micros(500 * wait));
        child::kill(other);
        assert_eq!(mine.list().unwrap(), ["base"]);
        settled(|| match cleanup(&mine).busy {
            0 => Ok(()),
            _ => Err(ovl::error::Error::sys(Errno::BUSY, "cleanup")),
        });
        assert_clean(&mine, dir.path());
    }
}
