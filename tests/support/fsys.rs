//! Scratch file systems that leave nothing behind, even when the test program is killed.
//!
//! [`with_mounts`] runs a body on a thread of its own that left the process's mount namespace
//! (and its umask and working directory: they are the thread's alone). Threads and programs that
//! the body starts are in that namespace too. All images and mount points lie in a tmpfs mounted
//! there over one fixed empty directory, so the kernel takes everything back with the last thread:
//! the mounts, then the loop devices (`mount -o loop` attaches them with autoclear), then the
//! images. Nothing has to be cleaned up by anybody.
//!
//! Two things to know in a body: `/proc/self/mounts` is the main thread's view, ask
//! `/proc/thread-self/mounts`; and a descriptor that outlives the body keeps its mount alive.

use super::have;
use rustix::fs::FlockOperation;
use rustix::mount::{MountFlags, MountPropagationFlags};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file systems that can be asked for.
pub const KINDS: [&str; 4] = ["ext4", "xfs", "btrfs", "tmpfs"];

/// Runs `body` with an empty file system of each kind: its name and its root directory. A kind
/// that the machine lacks is skipped by name; see [`have`].
pub fn each(kinds: &[&str], body: impl Fn(&str, &Path) + Sync) {
    require!("root");
    for kind in kinds {
        if have::or_skip(kind) {
            on(kind, |dir| body(kind, dir));
        }
    }
}

/// Runs `body` with an empty file system of this kind, which must be there.
pub fn on<T: Send>(kind: &str, body: impl FnOnce(&Path) -> T + Send) -> T {
    with_mounts(|base| {
        let dir = make(kind, base).unwrap_or_else(|why| panic!("{kind}: {why}"));
        body(&dir)
    })
}

/// Runs `body` on a thread with a mount namespace of its own; it is given an empty directory on
/// a tmpfs. A panic of the body is the caller's.
pub fn with_mounts<T: Send>(body: impl FnOnce(&Path) -> T + Send) -> T {
    on_thread(|| {
        let base = enter().unwrap_or_else(|why| panic!("a mount namespace: {why}"));
        body(&base)
    })
}

/// Runs `body` on a thread of its own, under the test's name, with room for deep recursion.
pub fn on_thread<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name(have::test_name())
            .stack_size(32 << 20)
            .spawn_scoped(scope, body)
            .expect("a thread")
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Ends a mount of a body's. A child that another test has just forked holds the descriptors of this
/// process until it runs its program.
#[track_caller]
pub fn unmount(at: &Path) {
    use rustix::mount::{UnmountFlags, unmount};
    let mut tries = 250;
    while let Err(errno) = unmount(at, UnmountFlags::NOFOLLOW) {
        tries -= 1;
        let busy = errno == rustix::io::Errno::BUSY && tries > 0;
        assert!(busy, "umount {}: {errno}", at.display());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A lock that ends when this is dropped. Closing the file would not do: a child that another test
/// has just forked has a copy of it until it runs its program.
pub struct Locked(File);

impl Locked {
    /// Takes the lock of the file or directory at `path`.
    pub fn new(path: &Path, how: FlockOperation) -> Self {
        let file = File::open(path).unwrap();
        rustix::fs::flock(&file, how).unwrap();
        Locked(file)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// A new directory on the disk that the build is on, or, where another user built, in the
/// system's place for such; removed when dropped.
pub fn scratch() -> tempfile::TempDir {
    let _ = fs::create_dir_all(env!("CARGO_TARGET_TMPDIR"));
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// Gives the calling thread its own mount namespace with a tmpfs over the fixed directory: one that
/// every system has, so that a test's paths, and what they mean in a layer, are the same wherever it
/// was built. Not where that would hide the build itself.
fn enter() -> Result<PathBuf, String> {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut base = PathBuf::from("/mnt");
    let real = fs::canonicalize(&base).is_ok_and(|real| real == base && real.is_dir());
    if !real || build.starts_with(&base) {
        base = build.join("mounts");
        fs::create_dir_all(&base).map_err(|e| e.to_string())?;
    }
    leave_namespace().map_err(|e| format!("unshare: {e}"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(|e| format!("private mounts: {e}"))?;
    mount_tmpfs(&base, c"mode=755,size=75%")?;
    Ok(base)
}

#[allow(unsafe_code)]
fn leave_namespace() -> rustix::io::Result<()> {
    // SAFETY: a new mount namespace (with it, a working directory and umask of the thread's own)
    // takes no descriptor or memory from any other thread.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
}

/// Mounts a tmpfs on `dir`, with options as mount(8) takes them.
pub fn mount_tmpfs(dir: &Path, options: &std::ffi::CStr) -> Result<(), String> {
    rustix::mount::mount("tmpfs", dir, "tmpfs", MountFlags::empty(), options)
        .map_err(|e| format!("tmpfs: {e}"))
}

/// Makes and mounts a file system of this kind below `base`.
pub fn make(kind: &str, base: &Path) -> Result<PathBuf, String> {
    make_with(kind, base, &[])
}

/// The same, with more options for mkfs.
pub fn make_with(kind: &str, base: &Path, options: &[&str]) -> Result<PathBuf, String> {
    let dir = base.join(kind);
    fs::create_dir(&dir).map_err(|e| e.to_string())?;
    if kind == "tmpfs" {
        mount_tmpfs(&dir, c"mode=755,size=512m,nr_inodes=1m")?;
        return Ok(dir);
    }
    let image = base.join(format!("{kind}.image"));
    // Sparse: it costs the memory that is written. mkfs.xfs refuses less than 300 MiB.
    let file = File::create(&image).map_err(|e| e.to_string())?;
    file.set_len(600 << 20).map_err(|e| e.to_string())?;
    drop(file);
    let mut mkfs = Command::new(format!("mkfs.{kind}"));
    match kind {
        // The lazy initialisation of the tables would go on in the background.
        "ext4" => mkfs.args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
        "xfs" => mkfs.args(["-q", "-f", "-m", "reflink=1"]),
        _ => mkfs.args(["-q", "-f"]),
    };
    have::run(mkfs.args(options).arg(&image))?;
    let mut mount = Command::new("mount");
    have::run(mount.args(["-o", "loop", "-t", kind]).arg(&image).arg(&dir))?;
    // What holds the space is the loop device now.
    fs::remove_file(&image).map_err(|e| e.to_string())?;
    let lost = dir.join("lost+found");
    if lost.exists() {
        fs::remove_dir(lost).map_err(|e| e.to_string())?;
    }
    Ok(dir)
}

/// Whether this is root with the right to mount.
pub(super) fn root() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("not uid 0".to_string());
    }
    on_thread(|| enter().map(drop))
}

pub(super) fn try_kind(kind: &str) -> Result<(), String> {
    on_thread(|| make(kind, &enter()?).map(drop))
}

pub(super) fn try_overlay() -> Result<(), String> {
    on_thread(|| {
        let base = enter()?;
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(base.join(name)).map_err(|e| e.to_string())?;
        }
        let at = |name: &str| base.join(name).display().to_string();
        let data = format!(
            "lowerdir={},upperdir={},workdir={}",
            at("lower"),
            at("upper"),
            at("work")
        );
        let data = std::ffi::CString::new(data).map_err(|e| e.to_string())?;
        let none = MountFlags::empty();
        rustix::mount::mount("overlay", at("merged"), "overlay", none, data.as_c_str())
            .map_err(|e| format!("overlay: {e}"))
    })
}
