//! Where the mount of a pin is, and how it ends.

use super::pin::{Pin, parse};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::mount;
use crate::sys::{AsFd, BorrowedFd, OwnedFd, fs};

/// Unmounts what a pin stands for, and takes the pin away once the kernel has no such mount: as
/// long as it has, this is EBUSY, and the pin stays.
pub fn end(pins: BorrowedFd<'_>, pin: &Pin, lazy: bool) -> Result<()> {
    // Where it is now: a directory above it may have been renamed.
    if let Some(path) = pin.whereabouts()? {
        let ended = match &path[..] {
            b"" => Err(no_way(pin)),
            path => mount::unmount_path(path, pin.id, lazy),
        };
        match ended {
            Ok(()) => {}
            // It ended since it was looked at.
            Err(_) if mount::find(pin.id)?.is_none() => {}
            Err(error) if error.code() == Code::Mounted => return Err(no_way(pin)),
            Err(error) => {
                return Err(match error.errno() {
                    Errno::BUSY => Error::new(
                        Code::Mounted,
                        Errno::BUSY,
                        "the mount is busy: a process has a file, a directory or a mount in it, \
                         or something is mounted over it",
                    )
                    .at(&pin.path),
                    Errno::INVAL | Errno::NOENT | Errno::NOTDIR => no_way(pin),
                    _ => error,
                });
            }
        }
    }
    let _ = fs::unlink(pins, pin.name.as_bytes());
    Ok(())
}

/// EBUSY for a mount that is there, and to which its path does not lead.
fn no_way(pin: &Pin) -> Error {
    Error::new(
        Code::Mounted,
        Errno::BUSY,
        "the layer is mounted, and the mount cannot be reached: something is mounted over it, it \
         is outside of this process's root directory, or it came from a namespace of more privilege",
    )
    .at(&pin.path)
}

impl Pin {
    /// Where the mount is now, empty where no path of the caller's leads there; none when it has
    /// ended. EBUSY when it is in another mount namespace, as that of a handle whose process has
    /// left it.
    pub fn whereabouts(&self) -> Result<Option<Vec<u8>>> {
        if let Some(found) = mount::find(self.id)? {
            return Ok(Some(found.path));
        }
        let Some((id, namespace)) = parse(&self.name) else {
            return Ok(None);
        };
        if namespace != mount::namespace_id()? && mount::exists_in(id, namespace).is_some() {
            return Err(Error::new(
                Code::Mounted,
                Errno::BUSY,
                "the mount is in another mount namespace, and can be ended only there",
            )
            .at(&self.path));
        }
        Ok(None)
    }

    /// The mount's root, which `path` leads to; EBUSY when it leads elsewhere.
    pub fn root_at(&self, path: &[u8]) -> Result<OwnedFd> {
        if path.is_empty() {
            return Err(no_way(self));
        }
        match fs::open_dir_trusted(rustix::fs::CWD, path) {
            Ok(root) if mount::identity(root.as_fd())? == self.id => Ok(root),
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => Err(no_way(self)),
            Err(errno) => Err(errno).call_at("open", path),
        }
    }
}
