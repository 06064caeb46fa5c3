//! A tree that others change while it is copied: nothing from outside comes in, nothing outside
//! is touched, and whatever fails cleans up.

use crate::support::fsys;
use crate::support::tree::{Compare, Snapshot};
use crate::{copy, names};
use ovl::error::Errno;
use ovl::tree::{CopyFlags, Reflink, copy_dir};
use ovl::watch::{Progress, Watch};
use rustix::fs::{CWD, RenameFlags};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const ROUNDS: usize = 50;
const CANARY: &[u8] = b"the canary, which is nobody's to copy";

fn source(dir: &Path) -> std::path::PathBuf {
    let src = dir.join("src");
    for d in 0..8 {
        let sub = src.join(format!("d{d}/inner/deeper"));
        fs::create_dir_all(&sub).unwrap();
        for f in 0..12 {
            fs::write(sub.join(f.to_string()), vec![b'x'; 20_000]).unwrap();
            fs::write(src.join(format!("d{d}/inner/{f}")), "small").unwrap();
        }
        symlink("deeper/0", src.join(format!("d{d}/inner/link"))).unwrap();
    }
    src
}

/// Swaps directories for links that lead out, and back; shortens, removes and makes files. It
/// holds on to the directories by descriptor, so that its own work never follows a trap.
fn attack(dir: &Path, stop: &AtomicBool) {
    let held: Vec<File> = (0..8)
        .flat_map(|d| ["", "/inner", "/inner/deeper"].map(|sub| format!("src/d{d}{sub}")))
        .map(|path| File::open(dir.join(path)).unwrap())
        .collect();
    let by = |file: &File| PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    for d in 0..8 {
        symlink(dir.join("canary"), dir.join(format!("trap{d}"))).unwrap();
        symlink(dir.join("canary/deeper"), dir.join(format!("trap-in{d}"))).unwrap();
    }
    let mut turn = 0usize;
    while !stop.load(Ordering::Relaxed) {
        let d = turn % 8;
        let [outer, inner, deeper] = [0, 1, 2].map(|level| by(&held[3 * d + level]));
        let swap = |trap: String, target: PathBuf| {
            let flags = RenameFlags::EXCHANGE;
            rustix::fs::renameat_with(CWD, dir.join(trap), CWD, target, flags).unwrap();
        };
        for _ in 0..2 {
            swap(format!("trap{d}"), outer.join("inner"));
            swap(format!("trap-in{d}"), inner.join("deeper"));
        }
        let f = (turn / 8 % 12).to_string();
        let file = deeper.join(&f);
        // What an earlier turn removed is not there: never mind.
        let _ = match turn % 5 {
            0 => OpenOptions::new()
                .write(true)
                .open(&file)
                .and_then(|file| file.set_len(7)),
            1 => fs::remove_file(&file),
            2 => fs::write(&file, vec![b'y'; 30_000]),
            3 => fs::rename(&file, inner.join(&f)),
            _ => fs::remove_file(inner.join("link"))
                .and_then(|()| symlink(dir.join("canary/secret"), inner.join("link")))
                .and_then(|()| fs::write(deeper.join(&f), "made again")),
        };
        turn += 1;
    }
}

/// Raises the flag when it goes out of scope.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn no_canary(copy: &Path) {
    let mut dirs = vec![copy.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            assert_ne!(entry.file_name(), "secret", "{dir:?}");
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() {
                assert_ne!(
                    fs::read(entry.path()).unwrap(),
                    CANARY,
                    "{:?}",
                    entry.path()
                );
            }
        }
    }
}

#[test]
fn a_tree_that_changes_underneath_leads_nobody_out() {
    fsys::each(&["ext4", "tmpfs"], |_, dir| {
        let src = source(dir);
        let canary = dir.join("canary");
        fs::create_dir_all(canary.join("deeper")).unwrap();
        for file in ["secret", "deeper/secret", "deeper/0", "0"] {
            fs::write(canary.join(file), CANARY).unwrap();
        }
        let before = Snapshot::of(&canary);
        let out = dir.join("out");
        fs::create_dir(&out).unwrap();
        let stop = AtomicBool::new(false);
        let (mut done, mut failed) = (0, Vec::new());
        std::thread::scope(|scope| {
            scope.spawn(|| attack(dir, &stop));
            // The attacker must end, whatever is found below.
            let _stop = Raise(&stop);
            for round in 0..ROUNDS {
                let flags = match round % 2 {
                    0 => CopyFlags::empty(),
                    _ => CopyFlags::HARD_LINK,
                };
                let dst = out.join("dst");
                match copy(&src, &dst, flags, Reflink::Auto) {
                    Ok(_) => {
                        done += 1;
                        no_canary(&dst);
                        fs::rename(&dst, dir.join(format!("done-{round}"))).unwrap();
                    }
                    Err(error) => failed.push(error.to_string()),
                }
                assert!(names(&out).is_empty(), "{:?}", names(&out));
            }
        });
        before.assert_same(&Snapshot::of(&canary), Compare::default());
        if std::env::var_os("DBG").is_some() {
            eprintln!("{failed:#?} {done}");
        }
        // Names that go or turn into something else are no reason to fail.
        assert_eq!(done, ROUNDS, "{failed:#?}");
    });
}

/// The directory goes while it is read: from the copy's own callback, so that it is sure to.
#[test]
fn a_directory_that_goes_is_counted() {
    fsys::each(&["ext4", "xfs", "btrfs", "tmpfs"], |_, dir| {
        for flags in [CopyFlags::empty(), CopyFlags::STRICT, CopyFlags::HARD_LINK] {
            let src = dir.join("src");
            fs::create_dir_all(src.join("goes")).unwrap();
            for i in 0..3000 {
                fs::write(src.join(format!("goes/{i}")), "").unwrap();
            }
            let mut gone = false;
            let mut remove = |_: &Progress| {
                if !std::mem::replace(&mut gone, true) {
                    fs::remove_dir_all(src.join("goes")).unwrap();
                }
                0
            };
            let options = crate::options(flags, Reflink::Auto);
            let dst = dir.join("dst");
            let (from, to) = (src.as_os_str().as_bytes(), dst.as_os_str().as_bytes());
            let mut watch = Watch::new(None, Some(&mut remove));
            let result = copy_dir(CWD, from, CWD, to, &options, &mut watch);
            if flags == CopyFlags::STRICT {
                // Another thread may be at a file of it, which changes as it goes.
                let errno = result.unwrap_err().errno();
                assert!(matches!(errno, Errno::NOENT | Errno::STALE), "{errno}");
                assert_eq!(names(dir), ["src"]);
                continue;
            }
            let stats = result.unwrap();
            assert!(stats.vanished > 0, "{stats:?}");
            assert_eq!(names(&dst), ["goes"]);
            let kept = names(&dst.join("goes")).len() as u64;
            assert_eq!(kept + 2, stats.entries);
            fs::remove_dir_all(dst).unwrap();
        }
    });
}
