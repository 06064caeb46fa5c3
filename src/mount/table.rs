//! What is mounted, as the calling thread's namespace has it: by statmount(2) and listmount(2), and
//! where they are missing by reading mountinfo.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::fd_path;
use super::identity::{MountId, unique_at};
use crate::error::{Error, Result, SysResult};
use crate::sys::{fs, mount as sys};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its id: unique where the kernel tells.
    pub id: MountId,
    /// The mount point in the caller's root; empty when it cannot be reached from there.
    pub path: Vec<u8>,
    /// The file system's type.
    pub fs_type: Vec<u8>,
    /// The mount's source.
    pub source: Vec<u8>,
    /// Major and minor number of the superblock's device.
    pub dev: (u32, u32),
    /// Writes are refused, by the mount or by its superblock.
    pub read_only: bool,
}

/// Looks a mount up in the calling thread's namespace. `None` when it is not there: it has ended,
/// is detached, or is in another namespace. (Before Linux 6.8 also when it lies outside of the
/// caller's root.)
///
/// Of one that lies outside of the root of a caller without privilege, the kernel tells nothing but
/// that it is there: all but its id is empty then.
pub fn find(id: MountId) -> Result<Option<Found>> {
    if id.unique {
        let mut refused = false;
        match sys::statmount(id.id) {
            Ok(told) => return Ok(Some(with_source(told)?)),
            Err(Errno::NOENT) => return Ok(None),
            // Not known or filtered.
            Err(Errno::NOSYS | Errno::INVAL) => {}
            Err(Errno::PERM) => refused = true,
            Err(errno) => return Err(Error::sys(errno, "statmount")),
        }
        // Only the topmost mount at each place can still be matched.
        let line = mountinfo()?
            .into_iter()
            .find(|line| unique_at(&line.path) == Some(id.id));
        if line.is_none() && refused && !is_filtered() {
            return Ok(Some(out_of_reach(id)));
        }
        return Ok(line.map(|line| Found { id, ..line }));
    }
    Ok(mountinfo()?.into_iter().find(|line| line.id == id))
}

/// Whether statmount(2) is refused whatever it is asked. The kernel looks a mount up before it asks who
/// may know, so of one that never was it says that.
fn is_filtered() -> bool {
    const NEVER: u64 = u64::MAX - 1;
    !matches!(sys::statmount(NEVER), Err(Errno::NOENT))
}

fn out_of_reach(id: MountId) -> Found {
    Found {
        id,
        path: Vec::new(),
        fs_type: Vec::new(),
        source: Vec::new(),
        dev: (0, 0),
        read_only: false,
    }
}

/// Whether another mount namespace has a mount, both by the kernel's ids: `None` when it has not,
/// or is gone; false when the kernel cannot be asked (before Linux 6.11, without privilege).
pub fn exists_in(id: u64, namespace: u64) -> Option<bool> {
    match sys::statmount_in(id, namespace) {
        Ok(()) => Some(true),
        Err(Errno::NOENT) => None,
        Err(_) => Some(false),
    }
}

/// The mounts at the directory `dir` and below it, in the order in which they were made: to end
/// them all, go backwards. Mounts that cover one another are all told.
pub fn mounts_below(dir: BorrowedFd<'_>) -> Result<Vec<Found>> {
    let path = rustix::fs::readlink(fd_path(dir), Vec::new())
        .call("readlink")?
        .into_bytes();
    list(|place| at_or_below(place, &path))
}

/// All mounts of the calling thread's namespace, in the order in which they were made.
pub fn all() -> Result<Vec<Found>> {
    list(|_| true)
}

fn list(wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Found>> {
    let ids = match sys::listmount(sys::LSMT_ROOT) {
        Ok(ids) => ids,
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {
            let mut lines = mountinfo()?;
            lines.retain(|line| wanted(&line.path));
            return Ok(lines);
        }
        Err(errno) => return Err(Error::sys(errno, "listmount")),
    };
    let mut found = Vec::new();
    for id in ids {
        match sys::statmount(id) {
            Ok(told) if wanted(&told.mount_point) => found.push(with_source(told)?),
            // Ended since the list was made, or out of a reach that is short.
            Ok(_) | Err(Errno::NOENT | Errno::PERM) => {}
            Err(errno) => return Err(Error::sys(errno, "statmount")),
        }
    }
    Ok(found)
}

fn at_or_below(path: &[u8], dir: &[u8]) -> bool {
    match path.strip_prefix(dir) {
        Some(rest) => rest.is_empty() || rest.starts_with(b"/") || dir == b"/",
        None => false,
    }
}

fn with_source(told: sys::StatMount) -> Result<Found> {
    let read_only = told.read_only();
    let source = match told.source {
        Some(source) => source,
        // Before 6.13 only mountinfo has it.
        None => mountinfo()?
            .into_iter()
            .find(|line| line.id.id == u64::from(told.short_id))
            .map(|line| line.source)
            .unwrap_or_default(),
    };
    Ok(Found {
        id: MountId {
            id: told.unique_id,
            unique: true,
        },
        path: told.mount_point,
        fs_type: told.fs_type,
        source,
        dev: told.dev,
        read_only,
    })
}

fn mountinfo() -> Result<Vec<Found>> {
    let path = "/proc/thread-self/mountinfo";
    let text = fs::read_whole(path).call_at("read", path)?;
    Ok(text
        .split(|byte| *byte == b'\n')
        .filter_map(parse_line)
        .collect())
}

/// One line: `id parent major:minor root path options [tag ...] - type source options`.
pub(super) fn parse_line(line: &[u8]) -> Option<Found> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = number(fields.next()?)?;
    let _parent = fields.next()?;
    let mut dev = fields.next()?.split(|byte| *byte == b':');
    let dev = (number(dev.next()?)?, number(dev.next()?)?);
    let _root = fields.next()?;
    let path = unescape(fields.next()?);
    let options = fields.next()?;
    fields.find(|field| *field == b"-")?;
    let fs_type = unescape(fields.next()?);
    let source = unescape(fields.next()?);
    let sb_options = fields.next().unwrap_or_default();
    let ro = |options: &[u8]| {
        options
            .split(|byte| *byte == b',')
            .any(|word| word == b"ro")
    };
    Some(Found {
        id: MountId {
            id: u64::from(id),
            unique: false,
        },
        path,
        fs_type,
        source,
        dev,
        read_only: ro(options) || ro(sb_options),
    })
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Undoes `\ooo`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        match (first, tail) {
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ],
            ) => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}
