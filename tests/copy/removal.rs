//! Removing trees by several threads: what one thread removes, they remove, and no more.

use crate::names;
use crate::support::{fsys, torture};
use crate::threads::{deep, mode, sealed, wide};
use ovl::error::{Code, Errno, Result};
use ovl::tree::{Threads, remove_contents_by};
use ovl::watch::{Cancel, Progress, Watch};
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::{Duration, Instant};

const BOTH: [Threads; 2] = [Threads::Always, Threads::Never];

fn remove(dir: &Path, threads: Threads, watch: &mut Watch<'_>) -> Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let root = rustix::fs::open(dir, flags, Mode::empty()).unwrap();
    remove_contents_by(threads, root, watch)
}

/// All of it goes, with and without threads, by equal accounts; what is beside it stays.
fn all_goes(dir: &Path, build: impl Fn(&Path)) {
    fs::write(dir.join("beside"), "x").unwrap();
    let counts = BOTH.map(|threads| {
        let tree = dir.join("tree");
        fs::create_dir(&tree).unwrap();
        build(&tree);
        let mut watch = Watch::default();
        remove(&tree, threads, &mut watch).unwrap();
        assert!(names(&tree).is_empty());
        fs::remove_dir(&tree).unwrap();
        watch.now().entries
    });
    assert_eq!(counts[0], counts[1]);
    assert_eq!(fs::read_to_string(dir.join("beside")).unwrap(), "x");
}

#[test]
fn every_kind_of_inode() {
    fsys::each(&fsys::KINDS, |_, dir| all_goes(dir, torture::build));
}

#[test]
fn wide_and_deep_trees() {
    fsys::each(&["ext4", "tmpfs"], |_, dir| {
        all_goes(dir, |tree| {
            wide(tree, 1500);
            deep(&tree.join("deep"), 300);
        });
    });
}

/// 3000 levels, on a stack of 64 KiB.
#[test]
fn a_deep_tree_on_a_small_stack() {
    fsys::each(&["tmpfs"], |_, dir| {
        std::thread::scope(|scope| {
            let small = std::thread::Builder::new().stack_size(64 << 10);
            let work = || all_goes(dir, |tree| deep(&tree.join("d"), 3000));
            small.spawn_scoped(scope, work).unwrap().join().unwrap();
        });
    });
}

/// Modes that keep their owner out are no obstacle to any of the threads.
#[test]
fn by_their_owner_without_privilege() {
    const NOBODY: u32 = 65_534;
    fsys::each(&["ext4", "tmpfs"], |_, dir| {
        for threads in BOTH {
            let tree = dir.join("tree");
            sealed(&tree);
            let mut dirs = vec![tree.clone()];
            while let Some(at) = dirs.pop() {
                chown(&at, Some(NOBODY), Some(NOBODY)).unwrap();
                for entry in fs::read_dir(&at).unwrap().map(std::result::Result::unwrap) {
                    chown(entry.path(), Some(NOBODY), Some(NOBODY)).unwrap();
                    if entry.file_type().unwrap().is_dir() {
                        dirs.push(entry.path());
                    }
                }
            }
            mode(&tree, 0o700);
            fsys::on_thread(|| {
                crate::unprivileged::become_nobody();
                remove(&tree, threads, &mut Watch::default()).unwrap();
            });
            fs::remove_dir(&tree).unwrap();
        }
    });
}

/// Several threads meet what one of them has to open for all: a directory that its owner may not write
/// to, or that nobody may. Whoever comes second finds it open.
#[test]
fn what_is_closed_is_opened_for_all() {
    const NOBODY: u32 = 65_534;
    fsys::each(&["tmpfs"], |_, dir| {
        for round in 0..200 {
            let tree = dir.join("tree");
            fs::create_dir(&tree).unwrap();
            let made: Vec<_> = (0..8).map(|d| tree.join(format!("d/{d}/x"))).collect();
            for at in &made {
                fs::create_dir_all(at).unwrap();
                fs::write(at.join("file"), "x").unwrap();
            }
            let nobody = round % 2 == 0;
            if nobody {
                let below = made.iter().flat_map(|at| [at.join("file"), at.clone()]);
                let parents = made.iter().map(|at| at.parent().unwrap().to_path_buf());
                for at in below.chain(parents).chain([tree.join("d"), tree.clone()]) {
                    chown(&at, Some(NOBODY), Some(NOBODY)).unwrap();
                }
                mode(&tree.join("d"), [0o500, 0o400, 0o600, 0o000][round / 2 % 4]);
            } else {
                let flags = rustix::fs::IFlags::IMMUTABLE;
                let at = fs::File::open(tree.join("d")).unwrap();
                rustix::fs::ioctl_setflags(&at, flags).unwrap();
            }
            fsys::on_thread(|| {
                if nobody {
                    crate::unprivileged::become_nobody();
                }
                remove(&tree, Threads::Always, &mut Watch::default()).unwrap();
            });
            fs::remove_dir(&tree).unwrap();
        }
    });
}

/// Whoever still writes into the tree does not make the removal fail, and nothing is left when
/// they are done.
#[test]
fn a_tree_that_fills_up_meanwhile() {
    fsys::each(&["ext4", "tmpfs"], |_, dir| {
        for _ in 0..5 {
            let tree = dir.join("tree");
            wide(&tree, 600);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for n in 0..3000 {
                        let at = tree.join(format!("{}/{}/{}", n % 7, n % 31, n % 600));
                        // The directory may be gone.
                        let _ = fs::write(at.join(format!("late-{n}")), "x");
                    }
                });
                remove(&tree, Threads::Always, &mut Watch::default()).unwrap();
            });
            assert!(names(&tree).is_empty());
        }
    });
}

/// Another mount is not gone into by any thread, and the error tells where it is.
#[test]
fn a_mount_in_the_way() {
    require!("root", "tmpfs");
    fsys::with_mounts(|base| {
        for threads in BOTH {
            let tree = base.join("tree");
            wide(&tree, 600);
            let there = tree.join("3/10/10");
            fsys::mount_tmpfs(&there, c"size=1m,mode=755").unwrap();
            fs::write(there.join("kept"), "x").unwrap();
            let error = remove(&tree, threads, &mut Watch::default()).unwrap_err();
            assert_eq!((error.errno(), error.code()), (Errno::BUSY, Code::Mounted));
            assert_eq!(error.path(), b"3/10/10", "{error}");
            assert_eq!(fs::read_to_string(there.join("kept")).unwrap(), "x");
            fsys::unmount(&there);
            remove(&tree, threads, &mut Watch::default()).unwrap();
        }
    });
}

/// The caller's function is called on his thread, and what it says ends all threads.
#[test]
fn progress_and_its_end() {
    fsys::each(&["tmpfs"], |_, dir| {
        let tree = dir.join("tree");
        let me = std::thread::current().id();
        for threads in BOTH {
            wide(&tree, 3000);
            let (mut last, mut calls) = (0, 0);
            let mut tell = |now: &Progress| {
                assert_eq!(std::thread::current().id(), me);
                assert!(now.entries >= last);
                last = now.entries;
                calls += 1;
                std::thread::sleep(Duration::from_millis(100));
                if calls == 2 { 7 } else { 0 }
            };
            let done = remove(&tree, threads, &mut Watch::new(None, Some(&mut tell)));
            match done {
                Err(error) => assert_eq!((error.said_by_callback(), calls), (7, 2)),
                // The helpers may have been done by then.
                Ok(()) => assert!(threads == Threads::Always && calls == 1),
            }
            remove(&tree, threads, &mut Watch::default()).unwrap();
        }
    });
}

#[test]
fn a_cancel_and_a_deadline_stop_all() {
    fsys::each(&["tmpfs"], |_, dir| {
        let tree = dir.join("tree");
        for micros in [0, 500, 2000, 5000] {
            wide(&tree, 2000);
            let cancel = Cancel::new();
            let done = std::thread::scope(|scope| {
                let raise = || {
                    std::thread::sleep(Duration::from_micros(micros));
                    cancel.trigger();
                };
                match micros {
                    0 => raise(),
                    _ => drop(scope.spawn(raise)),
                }
                remove(&tree, Threads::Always, &mut Watch::new(Some(&cancel), None))
            });
            match done {
                Err(error) => assert_eq!(error.code(), Code::Cancelled),
                Ok(()) => assert!(micros > 0, "the flag was up from the beginning"),
            }

            wide(&tree, 2000);
            let mut watch = Watch::default();
            watch.until(Some(Instant::now() + Duration::from_micros(micros)));
            match remove(&tree, Threads::Always, &mut watch) {
                Err(error) => assert!(error.code() == Code::Cancelled && watch.is_late()),
                Ok(()) => assert!(micros > 0, "it was late from the beginning"),
            }
            remove(&tree, Threads::Always, &mut Watch::default()).unwrap();
        }
    });
}
