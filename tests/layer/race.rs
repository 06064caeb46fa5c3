//! A concurrent writer: a thread and another process swap directories with links that lead out,
//! under everything that reads or writes trees. Not a byte comes from outside or gets there.
//!
//! The attackers hold directories by descriptor and open them without following links, so that
//! their own work never leads out. `OVL_TEST_SWAPS` asks for a longer run.

use crate::hostile::{Canary, SECRET};
use crate::lab::Lab;
use crate::support::fsys;
use crate::tar::{self, *};
use ovl::store::*;
use ovl::tree::{CopyFlags, CopyOptions, Reflink, Threads, copy_dir};
use ovl::watch::Watch;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

const DIR: &str = "OVL_TEST_RACE_DIR";
const TREES: &str = "OVL_TEST_RACE_TREES";

/// The directories that the attackers swap in a tree.
const NAMES: [(&str, &str); 4] = [("", "d"), ("d", "sub"), ("d/sub", "e"), ("", "f")];

/// Swaps that a test waits for.
fn wanted() -> u64 {
    std::env::var("OVL_TEST_SWAPS").map_or(600, |n| n.parse().unwrap())
}

fn open(dir: impl AsFd, name: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// The directory at `path` in `tree`, through directories alone.
fn inside(tree: &Path, path: &str) -> rustix::io::Result<OwnedFd> {
    let mut at = open(CWD, tree)?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        at = open(&at, Path::new(name))?;
    }
    Ok(at)
}

/// One turn of swaps in a tree; how many there were.
fn swap(tree: &Path, canary: &Path) -> u64 {
    let mut swaps = 0;
    let Ok(top) = inside(tree, "") else { return 0 };
    for (target, trap) in [("", "trap"), ("sub", "trap-in")] {
        let _ = rustix::fs::symlinkat(canary.join(target), &top, trap);
        for (parent, name) in NAMES {
            let Ok(parent) = inside(tree, parent) else {
                continue;
            };
            for _ in 0..2 {
                let done =
                    rustix::fs::renameat_with(&top, trap, &parent, name, RenameFlags::EXCHANGE);
                swaps += u64::from(done.is_ok());
                std::thread::yield_now();
            }
        }
    }
    swaps
}

/// The trees that are there: `*` in a pattern is any name.
fn trees(dir: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![dir.to_path_buf()];
    for part in pattern.split('/') {
        found = found
            .into_iter()
            .flat_map(|at| match part {
                "*" => fs::read_dir(&at)
                    .map(|list| list.flatten().map(|entry| entry.path()).collect())
                    .unwrap_or_default(),
                _ => vec![at.join(part)],
            })
            .collect();
    }
    found
}

fn attack(dir: &Path, patterns: &str, swaps: &AtomicU64, go_on: impl Fn() -> bool) {
    let canary = dir.join("canary");
    while go_on() {
        for tree in patterns.split(' ').flat_map(|pattern| trees(dir, pattern)) {
            swaps.fetch_add(swap(&tree, &canary), Relaxed);
        }
    }
}

/// The other process; alone it has nothing to do.
#[test]
#[ignore = "run by other tests"]
fn child_attacks() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let parent = rustix::process::getppid();
    let patterns = std::env::var(TREES).unwrap();
    attack(Path::new(&dir), &patterns, &AtomicU64::new(0), || {
        rustix::process::getppid() == parent
    });
}

/// The attackers end with this, however a test ends.
struct Attackers<'a>(&'a AtomicBool, Child);

impl Drop for Attackers<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
        let _ = self.1.kill();
        let _ = self.1.wait();
    }
}

/// Calls `round` while the trees in `dir` that the patterns name are under attack, until there
/// were swaps enough. The canary must stay as it is.
fn under_attack(dir: &Path, patterns: &str, mut round: impl FnMut(usize)) {
    let canary = Canary::new(dir);
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "race::child_attacks"])
            .env(DIR, dir)
            .env(TREES, patterns)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let _attackers = Attackers(&stop, child);
        scope.spawn(|| attack(dir, patterns, &swaps, || !stop.load(Relaxed)));
        let mut n = 0;
        while n < 12 || swaps.load(Relaxed) < wanted() {
            round(n);
            canary.assert(&format!("round {n}"));
            n += 1;
            assert!(n < 100_000, "only {} swaps", swaps.load(Relaxed));
        }
        println!(
            "{n} rounds, {} swaps and another process's",
            swaps.load(Relaxed)
        );
    });
    canary.assert("at the end");
}

/// Nothing below `root` holds what the canary holds. It is still under attack: no path leads there.
#[track_caller]
fn no_secret(root: &Path) {
    let Ok(root) = open(CWD, root) else { return };
    let mut todo = vec![root];
    while let Some(dir) = todo.pop() {
        for entry in rustix::fs::Dir::read_from(&dir).unwrap().flatten() {
            let name = Path::new(OsStr::from_bytes(entry.file_name().to_bytes()));
            if matches!(name.to_str(), Some("." | "..")) {
                continue;
            }
            if let Ok(below) = open(&dir, name) {
                todo.push(below);
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            if let Ok(file) = rustix::fs::openat(&dir, name, flags, Mode::empty()) {
                let mut data = Vec::new();
                let _ = fs::File::from(file).read_to_end(&mut data);
                assert_ne!(data, SECRET.as_bytes(), "{name:?}");
            }
        }
    }
}

#[track_caller]
fn no_secret_in(tar: &[u8]) {
    let found = tar.windows(SECRET.len()).any(|w| w == SECRET.as_bytes());
    assert!(!found, "the canary's content is in a tar");
}

/// A layer whose directories are the attackers'.
fn layer() -> Vec<Entry> {
    let mut layer = vec![dir("d"), dir("d/sub"), dir("d/sub/e"), dir("f")];
    for n in 0..60 {
        layer.push(dir("d").mode(0o700 + n % 8));
        layer.push(dir("d/sub").xattr("trusted.k", b"v"));
        layer.push(file(&format!("d/sub/e/{n}"), "x").owner(7, 7));
        layer.push(file("d/victim", "overwritten").mode(0o666));
        layer.push(file("d/sub/inner", "overwritten"));
        layer.push(hard(&format!("f/h{n}"), "d/victim"));
        layer.push(symlink(&format!("d/sub/l{n}"), "victim").owner(9, 9));
        layer.push(fifo("f/p").mode(0o666));
        layer.push(gone("d/link"));
        layer.push(opaque("d/sub"));
    }
    layer
}

/// The same as files on a disk.
fn fill(at: &Path) {
    fs::create_dir_all(at.join("d/sub/e")).unwrap();
    fs::create_dir_all(at.join("f")).unwrap();
    for n in 0..40 {
        for place in ["d", "d/sub", "d/sub/e", "f"] {
            fs::write(at.join(place).join(n.to_string()), "own").unwrap();
        }
    }
    for name in ["d/victim", "f/victim", "d/sub/inner", "d/sub/e/victim"] {
        fs::write(at.join(name), "own").unwrap();
    }
}

fn remove(lab: &Lab, id: &str) {
    // Attacked trees may be left for a cleanup.
    let _ = lab
        .store
        .remove(id.as_bytes(), RemoveFlags::empty(), &mut Watch::default());
    let _ = lab.store.cleanup(&mut Watch::default());
}

#[test]
fn apply_leads_nowhere_outside() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        let tar = tar::bytes(&layer());
        lab.apply("base", "", Kind::Root, &tar).unwrap();
        under_attack(dir, "home/stage/*/root home/stage/*/upper", |n| {
            let (kind, parent) = [
                (Kind::Root, ""),
                (Kind::Root, "base"),
                (Kind::Overlay, "base"),
            ][n % 3];
            if lab.apply("x", parent, kind, &tar).is_ok() {
                no_secret(&lab.home.join("layer/x"));
                remove(&lab, "x");
            }
        });
    });
}

#[test]
fn clones_of_a_parent_lead_nowhere_outside() {
    require!("root", "overlay", "ext4");
    fsys::on("ext4", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&layer()))
            .unwrap();
        let upper = [file("d/own", "own"), file("f/own", "own")];
        lab.apply("over", "base", Kind::Overlay, &tar::bytes(&upper))
            .unwrap();
        let small = tar::bytes(&[file("d/new", "x"), hard("g", "d/victim")]);
        let patterns = "home/layer/base/root home/layer/over/upper home/stage/*/root";
        under_attack(dir, patterns, |n| {
            let made = match n % 3 {
                0 => lab.apply("x", "base", Kind::Root, &small).is_ok(),
                1 => lab.apply("x", "over", Kind::Root, &small).is_ok(),
                _ => lab
                    .store
                    .create(
                        b"x",
                        Some(b"over"),
                        CreateFlags::FLAT,
                        &mut Watch::default(),
                    )
                    .is_ok(),
            };
            if made {
                no_secret(&lab.home.join("layer/x"));
                remove(&lab, "x");
            }
        });
    });
}

#[test]
fn copies_of_an_upper_lead_nowhere_outside() {
    require!("root", "overlay", "xfs");
    fsys::on("xfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&layer()))
            .unwrap();
        lab.create("init", "base");
        fill(&lab.home.join("layer/init/upper"));
        under_attack(dir, "home/layer/init/upper home/stage/*/upper", |_| {
            let made = lab.store.create(
                b"c",
                Some(b"init"),
                CreateFlags::empty(),
                &mut Watch::default(),
            );
            if made.is_ok() {
                no_secret(&lab.home.join("layer/c"));
                remove(&lab, "c");
            }
        });
    });
}

#[test]
fn comparisons_lead_nowhere_outside() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&layer()))
            .unwrap();
        lab.create("c", "base");
        fill(&lab.home.join("layer/c/upper"));
        let (mut whole, mut failed) = (0, 0);
        under_attack(dir, "home/layer/c/upper", |n| {
            let against = [Against::Parent, Against::Nothing][n % 2];
            let mut tar = Vec::new();
            let watch = &mut Watch::default();
            match lab
                .store
                .diff(b"c", against, &mut tar, &DiffOptions::default(), watch)
            {
                Ok(_) => whole += 1,
                Err(error) => {
                    assert!(!error.path().is_empty(), "{error}");
                    failed += 1;
                }
            }
            // What was written before an error, too.
            no_secret_in(&tar);
            let _ = lab.store.changes(b"c", against, watch);
            let _ = lab.store.diff_size(b"c", against, watch);
        });
        println!("{whole} diffs, {failed} told of a change");
        assert!(failed > 0);
    });
}

#[test]
fn removals_lead_nowhere_outside() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        let tar = tar::bytes(&layer());
        under_attack(dir, "home/layer/x/root home/trash/*/root", |_| {
            lab.apply("x", "", Kind::Root, &tar).unwrap();
            remove(&lab, "x");
            assert!(!lab.store.exists(b"x").unwrap());
        });
        let left = lab.store.cleanup(&mut Watch::default()).unwrap();
        assert_eq!(left.busy, 0);
        assert_eq!(fs::read_dir(lab.home.join("trash")).unwrap().count(), 0);
    });
}

/// Whole trees, their source and their destination under attack, in every mode.
#[test]
fn copies_of_trees_lead_nowhere_outside() {
    require!("root", "xfs", "tmpfs");
    for kind in ["xfs", "tmpfs"] {
        fsys::on(kind, |dir| {
            fill(&dir.join("src"));
            fs::create_dir(dir.join("out")).unwrap();
            let modes = [
                (CopyFlags::empty(), Reflink::Auto),
                (CopyFlags::empty(), Reflink::Never),
                (CopyFlags::HARD_LINK, Reflink::Auto),
                (CopyFlags::STRICT, Reflink::Auto),
            ];
            under_attack(dir, "src out/*", |n| {
                let (flags, reflink) = modes[n % modes.len()];
                let out = dir.join("out/dst");
                if n % 8 > 3 {
                    fs::create_dir(&out).unwrap();
                }
                let (from, to) = (dir.join("src"), out.as_os_str().as_bytes());
                let threads = [Threads::Auto, Threads::Always][n / 8 % 2];
                let options = CopyOptions {
                    flags,
                    reflink,
                    threads,
                };
                let watch = &mut Watch::default();
                let _ = copy_dir(CWD, from.as_os_str().as_bytes(), CWD, to, &options, watch);
                no_secret(&dir.join("out"));
                // The attackers may make something new in it meanwhile.
                while fs::remove_dir_all(dir.join("out")).is_err() && dir.join("out").exists() {}
                fs::create_dir(dir.join("out")).unwrap();
            });
        });
    }
}
