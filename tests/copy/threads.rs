//! Copies by several threads: what one thread makes and tells, they make and tell.

use crate::support::tree::{Compare, Snapshot};
use crate::support::{fsys, have, threads_named, torture};
use crate::{names, options};
use ovl::error::{Code, Errno, Result};
use ovl::tree::{CopyFlags, CopyOptions, CopyStats, Reflink, Threads, copy_dir};
use ovl::watch::{Cancel, Progress, Watch};
use rustix::fs::{CWD, Mode, OFlags};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const LINKS: CopyFlags = CopyFlags::HARD_LINK;

/// Copies with threads, or without.
fn copy(
    src: &Path,
    dst: &Path,
    (threads, flags): (Threads, CopyFlags),
    watch: &mut Watch<'_>,
) -> Result<CopyStats> {
    let options = CopyOptions {
        threads,
        ..options(flags, Reflink::Auto)
    };
    let (src, dst) = (src.as_os_str().as_bytes(), dst.as_os_str().as_bytes());
    copy_dir(CWD, src, CWD, dst, &options, watch)
}

fn calm(src: &Path, dst: &Path, how: (Threads, CopyFlags)) -> CopyStats {
    copy(src, dst, how, &mut Watch::default()).unwrap()
}

/// Both ways of copying, with and without threads: equal trees and equal accounts.
fn same_by_both(dir: &Path, src: &Path) {
    let look = Snapshot::of(src);
    for (flags, inodes) in [(CopyFlags::empty(), false), (LINKS, true)] {
        let how = Compare {
            inodes,
            ..Compare::default()
        };
        let alone = calm(src, &dir.join("alone"), (Threads::Never, flags));
        for round in 0..3 {
            let dst = dir.join(format!("shared-{round}"));
            assert_eq!(calm(src, &dst, (Threads::Always, flags)), alone);
            look.assert_same(&Snapshot::of(&dst), how);
        }
        for name in names(dir) {
            if dir.join(&name) != src {
                fs::remove_dir_all(dir.join(name)).unwrap();
            }
        }
    }
}

#[test]
fn a_tree_of_everything() {
    fsys::each(&fsys::KINDS, |_, dir| {
        let src = dir.join("src");
        fs::create_dir(&src).unwrap();
        torture::build(&src);
        same_by_both(dir, &src);
    });
}

/// As many directories, in each other and beside each other, as keep everybody busy.
pub fn wide(src: &Path, directories: usize) {
    for d in 0..directories {
        let dir = src.join(format!("{}/{}/{d}", d % 7, d % 31));
        fs::create_dir_all(&dir).unwrap();
        for f in 0..4 {
            fs::write(dir.join(f.to_string()), format!("{d} {f}")).unwrap();
        }
    }
}

#[test]
fn wide_trees_and_crowded_directories() {
    fsys::each(&["ext4", "tmpfs"], |_, dir| {
        let src = dir.join("src");
        wide(&src, 800);
        fs::create_dir(src.join("crowd")).unwrap();
        for f in 0..3000 {
            fs::write(src.join(format!("crowd/{f}")), "").unwrap();
        }
        same_by_both(dir, &src);
    });
}

/// Helpers make files with the modes that they are to have: whatever the umask of the process says.
#[test]
fn the_umask_takes_nothing() {
    fsys::each(&["ext4", "tmpfs"], |_, dir| {
        let src = dir.join("src");
        wide(&src, 60);
        for (n, mode) in [0o666, 0o777, 0o4777, 0o060, 0o007, 0].iter().enumerate() {
            for d in 0..7 {
                let path = src.join(format!("{d}/mode-{n}"));
                fs::write(&path, "content").unwrap();
                fs::set_permissions(&path, PermissionsExt::from_mode(*mode)).unwrap();
            }
        }
        for mask in [0, 0o077, 0o777] {
            rustix::process::umask(Mode::from_raw_mode(mask));
            same_by_both(dir, &src);
        }
        rustix::process::umask(Mode::from_raw_mode(0o022));
    });
}

/// What waits of crowded directories is bounded, however deep they are in each other.
#[test]
fn what_waits_is_bounded() {
    fsys::each(&["tmpfs"], |_, dir| {
        let src = dir.join("src");
        let mut at = src.clone();
        let long = "x".repeat(230);
        for _ in 0..12 {
            fs::create_dir(&at).unwrap();
            for f in 0..20_000 {
                rustix::fs::mknodat(
                    CWD,
                    at.join(format!("{f}-{long}")),
                    rustix::fs::FileType::RegularFile,
                    Mode::from_raw_mode(0o644),
                    0,
                )
                .unwrap();
            }
            at = at.join("0");
        }
        let run = |threads: &str| -> u64 {
            let dst = dir.join(threads);
            let told = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "threads::child_tells_its_memory",
                    "--ignored",
                    "--nocapture",
                ])
                .env(TREE, &src)
                .env(TO, &dst)
                .env(HOW, threads)
                .output()
                .unwrap();
            let told = String::from_utf8(told.stdout).unwrap();
            let peak = told.lines().find_map(|line| line.strip_prefix("peak "));
            peak.unwrap_or_else(|| panic!("{told}")).parse().unwrap()
        };
        let (alone, shared) = (run("never"), run("always"));
        // The names of one directory are 6 MB, which each of four threads may have, and of all 72.
        assert!(shared < alone + (32 << 10), "{alone} {shared} KiB");
    });
}

/// Makes the directories of `levels` in each other, with something beside each.
pub fn deep(src: &Path, levels: usize) {
    fs::create_dir(src).unwrap();
    let open = |at: &dyn std::os::fd::AsFd, name: &str| {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        rustix::fs::openat(at.as_fd(), name, flags, Mode::empty()).unwrap()
    };
    let mut at = open(&CWD, src.to_str().unwrap());
    for _ in 0..levels {
        for name in ["before", "down", "then"] {
            rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)).unwrap();
        }
        rustix::fs::symlinkat("x", &at, "link").unwrap();
        at = open(&at, "down");
    }
}

/// Nothing recurses and the descriptors are bounded: 3000 levels, on a stack of 64 KiB.
#[test]
fn deep_trees() {
    fsys::each(&["tmpfs"], |_, dir| {
        let src = dir.join("src");
        deep(&src, 3000);
        std::thread::scope(|scope| {
            let small = std::thread::Builder::new().stack_size(64 << 10);
            let work = || {
                let alone = calm(&src, &dir.join("alone"), (Threads::Never, LINKS));
                let shared = calm(&src, &dir.join("shared"), (Threads::Always, LINKS));
                assert_eq!(alone, shared);
                assert_eq!(alone.directories, 9001);
                // One that is stopped has as much to drop.
                let cancel = Cancel::new();
                let mut entries = 0;
                let mut raise = |now: &Progress| {
                    entries = now.entries;
                    if entries > 5000 {
                        cancel.trigger();
                    }
                    0
                };
                let watch = &mut Watch::new(Some(&cancel), Some(&mut raise));
                let _ = copy(&src, &dir.join("stopped"), (Threads::Always, LINKS), watch);
            };
            small.spawn_scoped(scope, work).unwrap().join().unwrap();
        });
        let look = Snapshot::of(&dir.join("alone"));
        look.assert_same(&Snapshot::of(&dir.join("shared")), Compare::default());
    });
}

/// Each inode has a name in many directories, which different threads meet at the same time.
#[test]
fn link_groups_over_many_directories() {
    fsys::each(&["ext4", "tmpfs"], |_, dir| {
        let src = dir.join("src");
        for d in 0..120 {
            fs::create_dir_all(src.join(format!("{}/{d}", d % 10))).unwrap();
        }
        let path = |d: usize, f: usize| src.join(format!("{}/{d}/{f}", d % 10));
        for f in 0..20 {
            // Large ones take time to make.
            let size = if f < 4 { 3_000_000 } else { 10 };
            fs::write(path(0, f), torture::pattern(size)).unwrap();
            let fifo = path(0, 100 + f);
            let mode = Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
            for d in 1..120 {
                fs::hard_link(path(0, f), path(d, f)).unwrap();
                fs::hard_link(path(0, 100 + f), path(d, 100 + f)).unwrap();
            }
        }
        let stats = calm(
            &src,
            &dir.join("counted"),
            (Threads::Always, CopyFlags::empty()),
        );
        assert_eq!(stats.copied + stats.reflinked, 20);
        assert_eq!(stats.grouped, 2 * 20 * 119);
        fs::remove_dir_all(dir.join("counted")).unwrap();
        same_by_both(dir, &src);
    });
}

/// ext4 gives an inode 65,000 names: the next ones are copies, as many as with one thread.
#[test]
fn inodes_with_all_names_that_they_can_have() {
    fsys::each(&["ext4"], |_, dir| {
        let src = dir.join("src");
        for d in 0..50 {
            fs::create_dir_all(src.join(d.to_string())).unwrap();
        }
        fs::write(src.join("0/0"), "content").unwrap();
        for n in 1..40_000 {
            fs::hard_link(src.join("0/0"), src.join(format!("{}/{n}", n % 50))).unwrap();
        }
        for threads in [Threads::Never, Threads::Always] {
            let dst = dir.join("dst");
            let stats = calm(&src, &dst, (threads, LINKS));
            // In a link copy the inode has 25,000 names left; the rest share one copy.
            assert_eq!(stats.linked, 25_000, "{threads:?}");
            assert_eq!(stats.copied, 1, "{threads:?}");
            assert_eq!(stats.grouped, 14_999, "{threads:?}");
            assert_eq!(stats.link_fallbacks, 15_000, "{threads:?}");
            fs::remove_dir_all(dst).unwrap();
        }
    });
}

pub fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Directories whose attributes would be in the way, or would be handed on, before the end.
pub fn sealed(src: &Path) {
    wide(src, 300);
    let acl = torture::named_acl();
    for d in 0..300 {
        let dir = src.join(format!("{}/{}/{d}", d % 7, d % 31));
        xattr::set(&dir, "system.posix_acl_default", &acl).unwrap();
        mode(&dir, [0o500, 0o2770, 0o1755, 0o3555][d % 4]);
    }
    for d in 0..7 {
        mode(&src.join(d.to_string()), [0o555, 0o2755, 0o500][d % 3]);
    }
    mode(src, 0o555);
}

#[test]
fn sealed_modes_and_inheritance() {
    fsys::each(&["ext4", "tmpfs"], |_, dir| {
        let src = dir.join("src");
        sealed(&src);
        same_by_both(dir, &src);
    });
}

/// The threads are nobody as the caller is, and cannot pass by a mode.
#[test]
fn by_a_caller_without_privilege() {
    const NOBODY: u32 = 65_534;
    fsys::each(&["ext4", "tmpfs"], |_, dir| {
        let src = dir.join("src");
        sealed(&src);
        let mut dirs = vec![src.clone()];
        while let Some(at) = dirs.pop() {
            chown(&at, Some(NOBODY), Some(NOBODY)).unwrap();
            for entry in fs::read_dir(&at).unwrap().map(std::result::Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    dirs.push(entry.path());
                } else if entry.file_name() != "0" {
                    chown(entry.path(), Some(NOBODY), Some(NOBODY)).unwrap();
                }
            }
        }
        mode(dir, 0o777);
        fsys::on_thread(|| {
            crate::unprivileged::become_nobody();
            let how = |threads| (threads, CopyFlags::empty());
            let alone = calm(&src, &dir.join("alone"), how(Threads::Never));
            let shared = calm(&src, &dir.join("shared"), how(Threads::Always));
            assert_eq!(alone, shared);
            assert_eq!(alone.partial.owners, 300);
        });
        let look = Snapshot::of(&dir.join("alone"));
        look.assert_same(&Snapshot::of(&dir.join("shared")), Compare::default());
    });
}

/// What fails in a thread is told as it was, with its path, and all is taken away.
#[test]
fn an_error_in_the_middle() {
    require!("root", "tmpfs");
    fsys::with_mounts(|base| {
        let src = base.join("src");
        wide(&src, 1000);
        let small = base.join("small");
        fs::create_dir(&small).unwrap();
        fsys::mount_tmpfs(&small, c"size=64m,nr_inodes=2000,mode=755").unwrap();
        for _ in 0..20 {
            let how = (Threads::Always, CopyFlags::empty());
            let error = copy(&src, &small.join("dst"), how, &mut Watch::default()).unwrap_err();
            assert_eq!((error.errno(), error.code()), (Errno::NOSPC, Code::System));
            assert!(error.path().starts_with(b"/"), "{error}");
            assert!(names(&small).is_empty());
        }
        // The source goes while it is copied; strict says so.
        for round in 0..10 {
            let gone = base.join("gone");
            wide(&gone, 400);
            let mut once = false;
            let mut remove = |_: &Progress| {
                if !std::mem::replace(&mut once, true) {
                    for name in names(&gone) {
                        fs::remove_dir_all(gone.join(name)).unwrap();
                    }
                }
                0
            };
            let strict = round % 2 == 0;
            let mut flags = CopyFlags::empty();
            flags.set(CopyFlags::STRICT, strict);
            let watch = &mut Watch::new(None, Some(&mut remove));
            let done = copy(&gone, &base.join("dst"), (Threads::Always, flags), watch);
            match strict {
                true => {
                    let error = done.unwrap_err();
                    let told = match error.errno() {
                        Errno::NOENT => Code::Strict,
                        // Of a file that loses its name while a helper reads it.
                        _ => Code::Changed,
                    };
                    assert_eq!(error.code(), told, "{error}");
                }
                false => {
                    assert!(done.unwrap().vanished > 0);
                    fs::remove_dir_all(base.join("dst")).unwrap();
                }
            }
            fs::remove_dir_all(&gone).unwrap();
            assert_eq!(names(base), ["small", "src"]);
        }
    });
}

/// Whoever is at work, the caller's function is called on his thread, with all that was done.
#[test]
fn progress_and_its_end() {
    fsys::each(&["tmpfs"], |_, dir| {
        let src = dir.join("src");
        wide(&src, 2000);
        let me = std::thread::current().id();
        for flags in [CopyFlags::empty(), LINKS] {
            let mut last = 0;
            let mut tell = |now: &Progress| {
                assert_eq!(std::thread::current().id(), me);
                assert!(now.entries >= last);
                last = now.entries;
                0
            };
            let mut watch = Watch::new(None, Some(&mut tell));
            let stats = copy(&src, &dir.join("dst"), (Threads::Always, flags), &mut watch);
            assert_eq!(watch.now().entries, stats.unwrap().entries);
            fs::remove_dir_all(dir.join("dst")).unwrap();

            for how in [Threads::Always, Threads::Never] {
                let mut calls = 0;
                let mut stop = |_: &Progress| {
                    calls += 1;
                    if calls == 2 { 7 } else { 0 }
                };
                let mut slow = |now: &Progress| {
                    std::thread::sleep(Duration::from_millis(100));
                    stop(now)
                };
                let watch = &mut Watch::new(None, Some(&mut slow));
                match copy(&src, &dir.join("dst"), (how, flags), watch) {
                    Err(error) => {
                        assert_eq!(error.said_by_callback(), 7);
                        assert_eq!(error.errno(), Errno::CANCELED);
                    }
                    // The helpers may have been done by then.
                    Ok(_) => fs::remove_dir_all(dir.join("dst")).unwrap(),
                }
                assert_eq!(names(dir), ["src"]);
            }
        }
    });
}

#[test]
fn a_cancel_and_a_deadline_stop_all() {
    fsys::each(&["tmpfs"], |_, dir| {
        let src = dir.join("src");
        wide(&src, 3000);
        let dst = dir.join("dst");
        for micros in [0, 500, 2000, 5000, 10_000] {
            let cancel = Cancel::new();
            let done = std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_micros(micros));
                    cancel.trigger();
                });
                let watch = &mut Watch::new(Some(&cancel), None);
                copy(&src, &dst, (Threads::Always, LINKS), watch)
            });
            match done {
                Err(error) => assert_eq!(error.code(), Code::Cancelled),
                Ok(_) => fs::remove_dir_all(&dst).unwrap(),
            }
            assert_eq!(names(dir), ["src"]);

            let mut watch = Watch::default();
            watch.until(Some(Instant::now() + Duration::from_micros(micros)));
            match copy(&src, &dst, (Threads::Always, LINKS), &mut watch) {
                Err(error) => {
                    assert_eq!(error.code(), Code::Cancelled);
                    assert!(watch.is_late());
                }
                Ok(_) => fs::remove_dir_all(&dst).unwrap(),
            }
            assert_eq!(names(dir), ["src"]);
        }
    });
}

/// A panic of the caller's function goes to the caller, and no thread stays.
#[test]
fn a_panic_of_the_callback() {
    fsys::each(&["tmpfs"], |_, dir| {
        let src = dir.join("src");
        wide(&src, 1000);
        let caught = std::panic::catch_unwind(|| {
            let mut panics = |_: &Progress| -> i32 { panic!("of the caller") };
            let watch = &mut Watch::new(None, Some(&mut panics));
            copy(&src, &dir.join("dst"), (Threads::Always, LINKS), watch).map(drop)
        });
        let panic = caught.unwrap_err();
        assert_eq!(*panic.downcast::<&str>().unwrap(), "of the caller");
    });
}

const TREE: &str = "OVL_TEST_THREADS_TREE";
const TO: &str = "OVL_TEST_THREADS_TO";
const HOW: &str = "OVL_TEST_THREADS_HOW";

/// The other end of the two below: in a process of its own, where nobody else has threads or
/// descriptors.
#[test]
#[ignore = "run by others of this file"]
fn child_copies() {
    let Some(tree) = std::env::var_os(TREE) else {
        return;
    };
    let tree = Path::new(&tree);
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let tasks = || fs::read_dir("/proc/self/task").unwrap().count();
    for threads in [Threads::Always, Threads::Auto] {
        let before = (open(), tasks());
        let mut seen = 0;
        let mut look = |_: &Progress| {
            seen = seen.max(threads_named("ovl-copy"));
            0
        };
        let watch = &mut Watch::new(None, Some(&mut look));
        let dst = tree.join(format!("{threads:?}"));
        copy(&tree.join("src"), &dst, (threads, LINKS), watch).unwrap();
        assert_eq!((open(), tasks()), before);
        println!("{threads:?}: helpers seen: {seen}");
    }
}

fn child(limit: &str, tree: &Path) {
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={limit}"));
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "threads::child_copies"]);
    have::run(command.env(TREE, tree)).unwrap();
    let look = Snapshot::of(&tree.join("src"));
    for threads in ["Always", "Auto"] {
        look.assert_same(&Snapshot::of(&tree.join(threads)), Compare::default());
        fs::remove_dir_all(tree.join(threads)).unwrap();
    }
}

#[test]
fn no_thread_and_no_descriptor_stays() {
    require!("root", "tmpfs", "prlimit");
    fsys::on("tmpfs", |dir| {
        wide(&dir.join("src"), 2000);
        child("20000", dir);
    });
}

/// Where there is no room for the threads' descriptors, or just enough, one thread does it.
#[test]
fn few_descriptors() {
    require!("root", "tmpfs", "prlimit");
    fsys::on("tmpfs", |dir| {
        deep(&dir.join("src"), 100);
        wide(&dir.join("src/wide"), 500);
        for limit in [
            "80", "100", "128", "256", "500", "510", "520", "530", "600", "1024",
        ] {
            child(limit, dir);
        }
    });
}

/// The other end of [`what_waits_is_bounded`]: tells the most memory that a copy takes.
#[test]
#[ignore = "run by another of this file"]
fn child_tells_its_memory() {
    let (Some(src), Some(dst)) = (std::env::var_os(TREE), std::env::var_os(TO)) else {
        return;
    };
    let threads = match std::env::var(HOW).unwrap().as_str() {
        "never" => Threads::Never,
        _ => Threads::Always,
    };
    calm(
        Path::new(&src),
        Path::new(&dst),
        (threads, CopyFlags::empty()),
    );
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("\npeak {}", peak.unwrap().trim().trim_end_matches(" kB"));
}
