//! Making the store's own files and directories: whose they are, and of which mode.
//!
//! They are for the store's owner alone, whatever the umask and the place say. Root may use a store of
//! somebody else, who must be able to go on with it.

use crate::error::Errno;
use crate::sys::ids::IdMaps;
use crate::sys::{AsFd, OwnedFd, SysCall, fs};

/// What is asked once, and not for each file and directory.
#[derive(Clone, Copy, Debug)]
pub struct Maker {
    /// Whom they belong to, where that is not the caller.
    owner: Option<(u32, u32)>,
    /// What is made gets the mode that is asked for.
    exact: bool,
}

impl Maker {
    /// For what belongs to the owner of `dir`.
    pub fn of(dir: impl AsFd) -> Self {
        Maker {
            owner: owner_to_be(dir),
            exact: false,
        }
    }

    /// For a directory of which it is known whether what is made in it gets the mode that is asked for:
    /// it hands down neither ACL nor group, and the umask took nothing from its own.
    pub fn exact(self, exact: bool) -> Self {
        Maker { exact, ..self }
    }

    /// What overlayfs has made in the open directory `dir` becomes the owner's, as far as it is there.
    pub fn hand_over(&self, dir: impl AsFd, names: &[&[u8]]) -> SysCall<()> {
        for name in names {
            match self.give(&dir, name) {
                // A mount of a disk that is read-only has made nothing.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ROFS) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Makes a directory.
    pub fn mkdir(&self, dir: impl AsFd, name: &[u8]) -> SysCall<()> {
        fs::mkdir(&dir, name, 0o700)?;
        let mode = || match self.exact {
            true => Ok(()),
            false => fs::chmod_at(&dir, name, 0o700),
        };
        let done = mode().and_then(|()| self.give(&dir, name));
        if done.is_err() {
            let _ = fs::rmdir(&dir, name);
        }
        done
    }

    /// Gives what was just made to its owner.
    pub fn give(&self, dir: impl AsFd, name: &[u8]) -> SysCall<()> {
        match self.owner {
            Some((uid, gid)) => fs::chown_at(dir, name, uid, gid),
            None => Ok(()),
        }
    }

    /// Makes a file, to be written.
    pub fn file(&self, dir: impl AsFd, name: &str) -> SysCall<OwnedFd> {
        let file = fs::create_file(&dir, name.as_bytes(), 0o600)?;
        let mode = || match self.exact {
            true => Ok(()),
            false => fs::chmod(&file, 0o600),
        };
        let done = mode().and_then(|()| match self.owner {
            Some((uid, gid)) => fs::chown(&file, uid, gid),
            None => Ok(()),
        });
        if let Err(errno) = done {
            let _ = fs::unlink(&dir, name.as_bytes());
            return Err(errno);
        }
        Ok(file)
    }
}

/// Whom the store's own files and directories in `dir` belong to, where that is not the caller.
fn owner_to_be(dir: impl AsFd) -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    // Nor one that the caller's user namespace has not, which is nobody to give anything to.
    let above = fs::stat(dir).ok().filter(|above| above.uid != 0)?;
    let ids = IdMaps::read();
    let known = ids.has_user(above.uid) && ids.has_group(above.gid);
    known.then_some((above.uid, above.gid))
}
