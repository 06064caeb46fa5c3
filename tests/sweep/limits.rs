//! Limits that are really reached: descriptors, file sizes, full disks, a quota. Each operation is
//! done with ever more room until it succeeds; after each failure the store is looked at whole.

use crate::driver::{self, Place};
use crate::ops::{self, Op};
use crate::point::{self, Reference, Room};
use crate::support::have;
use rustix::mount::{MountFlags, mount_remount};
use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A limit: how it is set, and what failing at it says.
struct Limit {
    name: &'static str,
    /// The file system it is on.
    kind: &'static str,
    errnos: &'static [i32],
    /// Sets it, in the process that does it, just before: so much is left. None takes it back.
    set: fn(&Path, Option<usize>),
    /// How much more is left each time.
    steps: fn(usize) -> usize,
    /// Operations that it is for.
    wanted: fn(&Op) -> bool,
}

const LIMITS: &[Limit] = &[
    Limit {
        name: "descriptors",
        kind: "tmpfs",
        errnos: &[libc::EMFILE],
        set: descriptors,
        steps: |left| left,
        wanted: |_| true,
    },
    Limit {
        name: "file-size",
        kind: "tmpfs",
        errnos: &[libc::EFBIG],
        set: file_size,
        steps: |left| [0, 1, 20, 100, 300, 600, 1000, 3000, 5000, 7000, 200_000][left.min(10)],
        wanted: |_| true,
    },
    Limit {
        name: "tmpfs-blocks",
        kind: "tmpfs",
        errnos: &[libc::ENOSPC],
        set: tmpfs_blocks,
        steps: |left| left,
        wanted: |_| true,
    },
    Limit {
        name: "tmpfs-inodes",
        kind: "tmpfs",
        errnos: &[libc::ENOSPC],
        set: tmpfs_inodes,
        steps: |left| left,
        wanted: |_| true,
    },
    Limit {
        name: "ext4-blocks",
        kind: "ext4",
        errnos: &[libc::ENOSPC],
        set: fill,
        steps: |left| left,
        wanted: writes,
    },
    Limit {
        name: "btrfs-quota",
        kind: "btrfs",
        errnos: &[libc::EDQUOT],
        set: quota,
        steps: |left| left * 16,
        wanted: writes,
    },
];

/// Most steps until an operation has room.
const MOST: usize = 120;

fn writes(op: &Op) -> bool {
    let names = [
        "create",
        "apply",
        "commit",
        "copy",
        "mount-held",
        "remove",
        "import",
    ];
    names.iter().any(|name| op.name.starts_with(name)) && op.name != "copy-links"
}

/// Sets a soft limit of this process.
#[allow(unsafe_code)]
fn limit(what: libc::__rlimit_resource_t, most: u64) {
    let mut now = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: reads and sets a limit of this process, from and to memory of this function.
    unsafe {
        assert_eq!(libc::getrlimit(what, &mut now), 0);
        now.rlim_cur = most.min(now.rlim_max);
        assert_eq!(libc::setrlimit(what, &now), 0);
    }
}

/// The limit is on numbers, and some below those in use are free.
fn descriptors(_: &Path, left: Option<usize>) {
    let Some(left) = left else {
        return limit(libc::RLIMIT_NOFILE, u64::MAX);
    };
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let numbers = open.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut numbers: Vec<u64> = numbers.map(|number| number.parse().unwrap()).collect();
    // The list's own is closed by now.
    numbers.retain(|number| Path::new(&format!("/proc/self/fd/{number}")).exists());
    let mut free = (0..).filter(|number| !numbers.contains(number));
    limit(libc::RLIMIT_NOFILE, free.nth(left).unwrap());
}

#[allow(unsafe_code)]
fn file_size(_: &Path, left: Option<usize>) {
    let Some(left) = left else {
        return limit(libc::RLIMIT_FSIZE, u64::MAX);
    };
    // SAFETY: as callers of the Rust API do; C's callers need not.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    limit(libc::RLIMIT_FSIZE, left as u64);
}

fn remount(dir: &Path, options: String) {
    let options = CString::new(options).unwrap();
    mount_remount(dir, MountFlags::empty(), options.as_c_str()).unwrap();
}

fn tmpfs_blocks(dir: &Path, left: Option<usize>) {
    let stat = rustix::fs::statvfs(dir).unwrap();
    match left {
        Some(left) => {
            // No size is no limit.
            let most = (stat.f_blocks - stat.f_bfree + left as u64).max(1);
            remount(dir, format!("size={}", most * stat.f_frsize));
        }
        None => remount(dir, "size=64m".into()),
    }
}

fn tmpfs_inodes(dir: &Path, left: Option<usize>) {
    let stat = rustix::fs::statvfs(dir).unwrap();
    match left {
        Some(left) => {
            let used = stat.f_files - stat.f_ffree + left as u64;
            remount(dir, format!("nr_inodes={used}"));
        }
        None => remount(dir, "nr_inodes=100000".into()),
    }
}

/// A file that leaves so many blocks of a disk.
fn fill(dir: &Path, left: Option<usize>) {
    let filler = dir.parent().unwrap().join("filler");
    let _ = fs::remove_file(&filler);
    let Some(left) = left else { return };
    // What was removed before may come back late.
    let _ = rustix::fs::syncfs(fs::File::open(dir).unwrap());
    let file = fs::File::create(&filler).unwrap();
    // Not all that is said to be free can be had.
    let stat = rustix::fs::statvfs(&filler).unwrap();
    let none = rustix::fs::FallocateFlags::empty();
    let (mut has, mut more) = (0, stat.f_bfree);
    while more > 0 {
        let size = stat.f_frsize;
        match rustix::fs::fallocate(&file, none, has * size, more * size) {
            Ok(()) => has += more,
            Err(_) => more /= 2,
        }
    }
    file.set_len((has - left as u64) * stat.f_frsize).unwrap();
    let _ = rustix::fs::syncfs(&file);
}

/// Limits what the subvolume `dir` may take to so many KiB more. It is asked from outside: in there
/// even that may be too much.
fn quota(dir: &Path, left: Option<usize>) {
    let base = dir.parent().unwrap();
    let _ = rustix::fs::syncfs(fs::File::open(dir).unwrap());
    let mut btrfs = Command::new("btrfs");
    btrfs.args(["qgroup", "show", "--raw", "-f"]).arg(dir);
    let shown = String::from_utf8(btrfs.output().unwrap().stdout).unwrap();
    let line = shown.lines().find(|line| line.starts_with("0/"));
    let mut words = line.unwrap_or_default().split_whitespace();
    let (group, used) = (words.next().unwrap(), words.next().unwrap());
    let most = match left {
        Some(left) => (used.parse::<usize>().unwrap() + (left << 10)).to_string(),
        None => "none".to_string(),
    };
    let mut btrfs = Command::new("btrfs");
    have::run(btrfs.args(["qgroup", "limit", &most, group]).arg(base)).unwrap();
}

/// Each operation with ever more room; gives how many failed.
pub fn squeeze(name: &str, base: &Path) -> usize {
    let limit = LIMITS.iter().find(|limit| limit.name == name).unwrap();
    let mut place = Place::new(base, limit.kind);
    if limit.name == "btrfs-quota" {
        place = place.quota();
    }
    let (mut wrong, mut met, mut done) = (0, 0, 0);
    for op in ops::all().filter(|op| (limit.wanted)(op)) {
        if driver::only_other(op) {
            continue;
        }
        let found = place.fresh(|dir| point::reference(op, dir));
        let reference = found.unwrap_or_else(|why| panic!("{}: {why}", op.name));
        let mut step = 0;
        loop {
            let left = (limit.steps)(step);
            let (errno, faults) = place.fresh(|dir| one(limit, op, dir, left, &reference));
            for why in faults {
                println!("sweep: {} with {left} {name} left: {why}", op.name);
                wrong += 1;
            }
            if errno == 0 {
                done += 1;
                break;
            }
            met += 1;
            // A sample leaps.
            step += if driver::every() { 1 } else { step.max(1) };
            if step > MOST * 2 {
                println!("sweep: {} never has enough {name}", op.name);
                wrong += 1;
                break;
            }
        }
    }
    println!("sweep: {name}: {done} operations, {met} times too little, {wrong} failures");
    // It was a limit.
    assert!(met > done / 2 || driver::is_only(), "{name}: {met}");
    wrong
}

fn one(
    limit: &Limit,
    op: &Op,
    dir: &Path,
    left: usize,
    reference: &Reference,
) -> (i32, Vec<String>) {
    let room = Room {
        set: &|on| (limit.set)(dir, on.then_some(left)),
        errnos: limit.errnos,
    };
    match point::squeeze(op, dir, reference, &room) {
        Ok(found) => found,
        Err(why) => (0, vec![why]),
    }
}

macro_rules! limits {
    ($($name:ident: $what:literal, $kind:literal;)+) => {
        $(#[test]
        fn $name() {
            require!("root", "overlay", $kind);
            driver::run_limit($what);
        })+
    };
}

limits! {
    few_descriptors: "descriptors", "tmpfs";
    small_files: "file-size", "tmpfs";
    few_blocks: "tmpfs-blocks", "tmpfs";
    few_inodes: "tmpfs-inodes", "tmpfs";
    few_blocks_of_a_disk: "ext4-blocks", "ext4";
    a_quota: "btrfs-quota", "btrfs";
}
