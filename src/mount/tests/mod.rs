//! Real overlays on the real kernel. They need root; what attaches anything does so on a thread
//! with mounts of its own.
#![expect(clippy::unwrap_used, reason = "tests")]

mod oracle;
mod points;
mod probe;
mod spec;
mod table;
mod ways;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use tempfile::TempDir;

use super::{Lowers, Marks, Overlay, Upper};

/// Says that a test cannot run; fails it where the machine is declared to have what it lacks.
fn skip(test: &str, lacks: &str) {
    let declared = std::env::var("OVL_TEST_HAVE").unwrap_or_default();
    assert!(
        !declared.split(',').any(|have| have == lacks),
        "{test} skipped on a machine declared to have {lacks}"
    );
    println!("SKIP {test}: lacks {lacks}");
}

/// Whether overlays can be made at all; says so if not.
fn lacks_overlay(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        skip(test, "root");
        return true;
    }
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !known.contains("\toverlay\n") {
        skip(test, "overlay");
        return true;
    }
    false
}

fn open(path: impl AsRef<Path>) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path.as_ref(), flags, Mode::empty()).unwrap()
}

fn open_path(path: impl AsRef<Path>) -> OwnedFd {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path.as_ref(), flags, Mode::empty()).unwrap()
}

/// Directories for overlays: `lower/N` each holding `who` (N) and `only-N`, and `upper`, `work`,
/// `scratch`, `merged`.
struct Layers {
    base: PathBuf,
    count: usize,
    upper: OwnedFd,
    work: OwnedFd,
    scratch: OwnedFd,
    _temporary: Option<TempDir>,
}

impl Layers {
    fn new(count: usize) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let base = temporary.path().to_path_buf();
        let mut layers = Self::below(base, count);
        layers._temporary = Some(temporary);
        layers
    }

    fn below(base: PathBuf, count: usize) -> Self {
        for name in ["upper", "work", "scratch", "merged"] {
            std::fs::create_dir_all(base.join(name)).unwrap();
        }
        for index in 0..count {
            let lower = base.join(format!("lower/{index}"));
            std::fs::create_dir_all(&lower).unwrap();
            std::fs::write(lower.join("who"), index.to_string()).unwrap();
            std::fs::write(lower.join(format!("only-{index}")), "").unwrap();
        }
        Layers {
            upper: open(base.join("upper")),
            work: open(base.join("work")),
            scratch: open(base.join("scratch")),
            base,
            count,
            _temporary: None,
        }
    }

    /// A read-only view of the lowers.
    fn view(&self) -> Overlay<'_> {
        let lowers = Lowers::new(self.count, |index| {
            Ok(open(self.base.join(format!("lower/{index}"))))
        });
        Overlay {
            scratch: Some(self.scratch.as_fd()),
            ..Overlay::new(lowers, Marks::Trusted)
        }
    }

    /// The same with an upper.
    fn writable(&self) -> Overlay<'_> {
        Overlay {
            upper: Some(Upper {
                upper: self.upper.as_fd(),
                work: self.work.as_fd(),
            }),
            ..self.view()
        }
    }

    /// Nothing of a place of a moment is left.
    fn assert_scratch_empty(&self) {
        let left = std::fs::read_dir(self.base.join("scratch"))
            .unwrap()
            .count();
        assert_eq!(left, 0);
    }
}

impl Drop for Layers {
    /// Ends what a test attached, so that the directories can be removed.
    fn drop(&mut self) {
        use rustix::mount::{UnmountFlags, unmount};
        let Ok(mounts) = super::mounts_below(open_path(&self.base).as_fd()) else {
            return;
        };
        for mount in mounts
            .iter()
            .rev()
            .filter(|mount| mount.fs_type != b"tmpfs")
        {
            let _ = unmount(
                mount.path.as_slice(),
                UnmountFlags::DETACH | UnmountFlags::NOFOLLOW,
            );
        }
    }
}

/// Reads a file below a descriptor.
fn read(dir: impl AsFd, name: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(dir, name, flags, Mode::empty()).unwrap();
    std::io::read_to_string(std::fs::File::from(file)).unwrap()
}

/// Makes an empty file below a descriptor.
fn touch(dir: impl AsFd, name: &str) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::RUSR).map(drop)
}

/// Whether a name is there below a descriptor.
fn exists(dir: impl AsFd, name: &str) -> bool {
    rustix::fs::accessat(
        dir,
        name,
        rustix::fs::Access::EXISTS,
        rustix::fs::AtFlags::empty(),
    )
    .is_ok()
}

/// Runs the ignored test `name` of this file in a user namespace of its own; false when there can
/// be none.
fn in_user_namespace(name: &str) -> bool {
    let unshare = |args: &[&std::ffi::OsStr]| {
        std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount"])
            .args(args)
            .output()
    };
    if !unshare(&["true".as_ref()]).is_ok_and(|output| output.status.success()) {
        return false;
    }
    let program = std::env::current_exe().unwrap();
    let name = format!("mount::tests::{name}");
    let output = unshare(&[
        program.as_os_str(),
        "--exact".as_ref(),
        name.as_ref(),
        "--ignored".as_ref(),
        "--nocapture".as_ref(),
    ])
    .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    true
}
