//! Where the measuring is done: file systems of its own, which end with the run however it ends.
//!
//! As root the program runs itself again in a mount and a pid namespace that die with it. The images
//! lie on the disk, lose their names as soon as they are mounted, and their loop devices detach
//! themselves with the last mount: after a SIGKILL, too, empty directories are all that is left.

use crate::run::sh;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const INSIDE: &str = "OVL_BENCH_INSIDE";

/// A directory on a file system of a known kind.
#[derive(Clone)]
pub struct Place {
    /// `ext4`, or what stands where nothing can be mounted.
    pub kind: String,
    /// An empty directory.
    pub dir: PathBuf,
}

/// Is this the run in its own namespaces, or one that needs none?
pub fn inside() -> bool {
    private() || !can_mount()
}

/// Whether this run has namespaces of its own: what is mounted or started in them ends with it.
pub fn private() -> bool {
    std::env::var_os(INSIDE).is_some()
}

fn can_mount() -> bool {
    let tried = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "true"])
        .output();
    rustix::process::geteuid().is_root() && tried.is_ok_and(|tried| tried.status.success())
}

/// The directory to work in; two runs at once would disturb each other anyway.
pub fn lock(dir: &Path) -> Result<(PathBuf, File), String> {
    let work = dir.join("ovl-bench");
    let told = |error: std::io::Error| format!("{}: {error}", work.display());
    fs::create_dir_all(&work).map_err(told)?;
    let lock = File::open(&work).map_err(told)?;
    if !private() {
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| format!("{}: another run is at work there", work.display()))?;
    }
    Ok((work, lock))
}

/// Runs this program again, in namespaces that end with it.
pub fn supervise(dir: &Path) -> Result<ExitCode, String> {
    let (work, _lock) = lock(dir)?;
    clear(&work)?;
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let status = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--propagation",
            "private",
        ])
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(exe)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .map_err(|error| format!("setpriv: {error}"))?;
    clear(&work)?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
    ))
}

/// Removes what a run without namespaces made, or one that was killed in the wrong moment.
pub fn clear(work: &Path) -> Result<(), String> {
    sh(work, "find . -mindepth 1 -maxdepth 1 -exec rm -rf {} +")
}

/// The file systems of these kinds, and why others are not there.
pub fn all(work: &Path, kinds: &[String]) -> (Vec<Place>, Vec<String>) {
    let mut left_out = Vec::new();
    let mut places = Vec::new();
    if !private() {
        left_out.push(format!("{}: only root can mount them", kinds.join(", ")));
        match stand(work) {
            Ok(place) => places.push(place),
            Err(why) => left_out.push(why),
        }
        return (places, left_out);
    }
    for kind in kinds.iter().filter(|kind| *kind != "here") {
        match make(work, kind) {
            Ok(place) => places.push(place),
            Err(why) => left_out.push(format!("{kind}: {why}")),
        }
    }
    if places.is_empty() {
        match stand(work) {
            Ok(place) => places.push(place),
            Err(why) => left_out.push(why),
        }
    }
    (places, left_out)
}

fn stand(work: &Path) -> Result<Place, String> {
    let dir = work.join("here");
    fs::create_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let kind = crate::machine::kind_of(&dir);
    Ok(Place { kind, dir })
}

/// Makes and mounts one. Sparse: an image takes what is written to it.
fn make(work: &Path, kind: &str) -> Result<Place, String> {
    let dir = work.join(kind);
    fs::create_dir(&dir).map_err(|e| e.to_string())?;
    let mkfs = match kind {
        "tmpfs" => return mount_tmpfs(kind, dir),
        // Tables that are not written now would be later, in the background. One inode for 4 KiB: the
        // trees are of small files.
        "ext4" => "mkfs.ext4 -q -F -i 4096 -E lazy_itable_init=0,lazy_journal_init=0",
        "xfs" => "mkfs.xfs -q -f -m reflink=1",
        "btrfs" => "mkfs.btrfs -q -f",
        _ => return Err("not one of ext4, xfs, btrfs, tmpfs".to_string()),
    };
    let line = format!(
        "truncate -s 40G {kind}.image; PATH=$PATH:/usr/sbin:/sbin; {mkfs} {kind}.image;
         mount -o loop,noatime -t {kind} {kind}.image {kind} && made=1 || made=;
         rm {kind}.image; test -n \"$made\"; rmdir {kind}/lost+found 2>/dev/null || :"
    );
    sh(work, &line)?;
    Ok(Place {
        kind: kind.to_string(),
        dir,
    })
}

fn mount_tmpfs(kind: &str, dir: PathBuf) -> Result<Place, String> {
    sh(&dir, "mount -t tmpfs -o mode=755,size=75% tmpfs \"$PWD\"")?;
    Ok(Place {
        kind: kind.to_string(),
        dir,
    })
}
