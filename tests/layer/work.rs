//! What programs do in a container, as data: random system calls, done in a mounted tree.
//!
//! A step that cannot be done is left out, as a program would see an error; what was really done is
//! read off the mount.

use crate::random::{CAPABILITY, NAMES, Rng};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Timespec, Timestamps,
    Uid, chmodat, chownat, linkat, mkdirat, mknodat, openat, openat2, renameat_with, symlinkat,
    utimensat,
};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

#[derive(Clone, Debug)]
pub enum Step {
    Mkdir(String, u32),
    Write(String, &'static str),
    Append(String),
    /// Another byte, the same size and time.
    Edit(String),
    Truncate(String, u64),
    Open(String),
    Chmod(String, u32),
    Chown(String, u32, u32),
    Touch(String, i64),
    Xattr(String, u8),
    Capability(String),
    Remove(String),
    Rename(String, String),
    Exchange(String, String),
    Link(String, String),
    Symlink(String, String),
    Fifo(String),
    Device(String, u32),
}

fn path(rng: &mut Rng) -> String {
    let depth = *rng.pick(&[1, 1, 2, 2, 3]);
    let parts: Vec<&str> = (0..depth).map(|_| *rng.pick(&NAMES)).collect();
    parts.join("/")
}

/// So many random steps.
pub fn steps(rng: &mut Rng, count: usize) -> Vec<Step> {
    (0..count).map(|_| step(rng)).collect()
}

fn step(rng: &mut Rng) -> Step {
    let at = path(rng);
    match rng.below(30) {
        0..3 => Step::Mkdir(at, *rng.pick(&[0o755, 0o700, 0o1777, 0o2750])),
        3..5 => Step::Write(at, ["", "one", "longer content"][rng.below(3)]),
        5 => Step::Append(at),
        6..8 => Step::Edit(at),
        8 => Step::Truncate(at, rng.below(20) as u64),
        9 => Step::Open(at),
        10..13 => Step::Chmod(at, *rng.pick(&[0o755, 0o600, 0o4711, 0o2750])),
        13..15 => Step::Chown(at, rng.below(3) as u32, rng.below(3) as u32),
        15 => Step::Touch(at, 1_000_000 + rng.below(3) as i64),
        16..18 => Step::Xattr(at, rng.below(2) as u8),
        18 => Step::Capability(at),
        19..22 => Step::Remove(at),
        22..25 => Step::Rename(at, path(rng)),
        25 => Step::Exchange(at, path(rng)),
        26 => Step::Link(at, path(rng)),
        27 => Step::Symlink(
            at,
            format!("{}{}", ["", "/", "../"][rng.below(3)], path(rng)),
        ),
        28 => Step::Fifo(at),
        _ => Step::Device(at, rng.below(3) as u32 + 1),
    }
}

/// The directory that a path's last name is in, links followed inside the root.
fn parent<'a>(root: &OwnedFd, path: &'a str) -> rustix::io::Result<(OwnedFd, &'a str)> {
    let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let dir = openat2(root, dir, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    Ok((dir, name))
}

fn file(root: &OwnedFd, path: &str, flags: OFlags) -> rustix::io::Result<std::fs::File> {
    let (dir, name) = parent(root, path)?;
    let is_file = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
    if !is_file && !flags.contains(OFlags::CREATE) {
        return Err(rustix::io::Errno::NOENT);
    }
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(openat(&dir, name, flags, Mode::from_raw_mode(0o644))?.into())
}

/// Calls `work` with a path of the inode itself, in a directory that is held open.
fn by_path(
    root: &OwnedFd,
    path: &str,
    work: impl FnOnce(&Path) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let (dir, name) = parent(root, path)?;
    work(Path::new(&format!(
        "/proc/self/fd/{}/{name}",
        dir.as_raw_fd()
    )))
}

/// Does the steps in the tree at `root`.
pub fn run(root: &Path, steps: &[Step]) {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, root, flags, Mode::empty()).unwrap();
    for step in steps {
        // What is refused to a program is refused.
        let _ = one(&root, step);
    }
}

fn one(root: &OwnedFd, step: &Step) -> std::io::Result<()> {
    match step {
        Step::Mkdir(path, mode) => {
            let (dir, name) = parent(root, path)?;
            mkdirat(&dir, name, Mode::from_raw_mode(0o700))?;
            chmodat(&dir, name, Mode::from_raw_mode(*mode), AtFlags::empty())?;
        }
        Step::Write(path, data) => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
            file(root, path, flags)?.write_all(data.as_bytes())?;
        }
        Step::Append(path) => {
            file(root, path, OFlags::WRONLY | OFlags::APPEND)?.write_all(b"more")?;
        }
        Step::Edit(path) => {
            let file = file(root, path, OFlags::RDWR)?;
            let meta = file.metadata()?;
            if meta.len() > 0 {
                file.write_all_at(b"#", meta.len() - 1)?;
                file.set_modified(meta.modified()?)?;
            }
        }
        Step::Truncate(path, len) => file(root, path, OFlags::WRONLY)?.set_len(*len)?,
        Step::Open(path) => drop(file(root, path, OFlags::RDWR)?),
        Step::Chmod(path, mode) => {
            let (dir, name) = parent(root, path)?;
            let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if !FileType::from_raw_mode(stat.st_mode).is_symlink() {
                chmodat(&dir, name, Mode::from_raw_mode(*mode), AtFlags::empty())?;
            }
        }
        Step::Chown(path, uid, gid) => {
            let (dir, name) = parent(root, path)?;
            let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
            chownat(&dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Step::Touch(path, sec) => {
            let (dir, name) = parent(root, path)?;
            let time = Timespec {
                tv_sec: *sec,
                tv_nsec: 5,
            };
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            utimensat(&dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Step::Xattr(path, value) => {
            by_path(root, path, |path| {
                xattr::set(path, "trusted.note", &[*value])
            })?;
        }
        Step::Capability(path) => {
            drop(file(root, path, OFlags::RDONLY)?);
            by_path(root, path, |path| {
                xattr::set(path, "security.capability", CAPABILITY)
            })?;
        }
        Step::Remove(path) => by_path(root, path, |path| {
            match std::fs::symlink_metadata(path)?.is_dir() {
                true => std::fs::remove_dir_all(path),
                false => std::fs::remove_file(path),
            }
        })?,
        Step::Rename(from, to) | Step::Exchange(from, to) => {
            let flags = match step {
                Step::Exchange(..) => RenameFlags::EXCHANGE,
                _ => RenameFlags::empty(),
            };
            let (old, from) = parent(root, from)?;
            let (new, to) = parent(root, to)?;
            renameat_with(&old, from, &new, to, flags)?;
        }
        Step::Link(path, to) => {
            let (new, name) = parent(root, path)?;
            let (old, to) = parent(root, to)?;
            linkat(&old, to, &new, name, AtFlags::empty())?;
        }
        Step::Symlink(path, target) => {
            let (dir, name) = parent(root, path)?;
            symlinkat(target.as_str(), &dir, name)?;
        }
        Step::Fifo(path) => {
            let (dir, name) = parent(root, path)?;
            mknodat(&dir, name, FileType::Fifo, Mode::from_raw_mode(0o640), 0)?;
        }
        Step::Device(path, minor) => {
            let (dir, name) = parent(root, path)?;
            let device = rustix::fs::makedev(1, *minor);
            let mode = Mode::from_raw_mode(0o600);
            mknodat(&dir, name, FileType::CharacterDevice, mode, device)?;
        }
    }
    Ok(())
}
