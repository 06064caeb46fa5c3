//! Which inode a name is, among all that ever have its number.

use super::fs::last_errno;
use super::{AsFd, SysCall, retry};
use rustix::fd::AsRawFd;
use rustix::io::Errno;
use std::ffi::CString;

/// MAX_HANDLE_SZ.
const MOST: usize = 128;

/// A file system's own name for an inode: its number, and what tells it from an earlier inode of that
/// number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle(Vec<u8>);

#[repr(C)]
struct Raw {
    bytes: u32,
    kind: i32,
    data: [u8; MOST],
}

/// The handle of `name` in `dir`; `None` where the file system has none, or the caller may not ask.
pub fn handle(dir: impl AsFd, name: &[u8]) -> SysCall<Option<Handle>> {
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    let mut raw = Raw {
        bytes: MOST as u32,
        kind: 0,
        data: [0; MOST],
    };
    let mut mount: libc::c_int = 0;
    let asked = retry(|| {
        // SAFETY: a string that ends with NUL, a struct with as much room as it says, and an int.
        let said = unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                dir.as_fd().as_raw_fd(),
                name.as_ptr(),
                &raw mut raw,
                &raw mut mount,
                0,
            )
        };
        match said {
            0 => Ok(()),
            _ => Err(last_errno()),
        }
    });
    match asked {
        Ok(()) => {}
        Err(Errno::OPNOTSUPP | Errno::OVERFLOW | Errno::NOSYS | Errno::PERM) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    let data = raw.data.get(..raw.bytes as usize).unwrap_or_default();
    let mut whole = raw.kind.to_le_bytes().to_vec();
    whole.extend_from_slice(data);
    Ok((!data.is_empty()).then_some(Handle(whole)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
impl Handle {
    /// One that no inode has.
    pub fn of(number: u64) -> Self {
        Handle(number.to_le_bytes().to_vec())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn no_two_inodes_have_one() {
        let dir = tempfile::tempdir().unwrap();
        let open = std::fs::File::open(dir.path()).unwrap();
        let Some(top) = handle(&open, b".").unwrap() else {
            return;
        };
        assert_eq!(handle(&open, b".").unwrap(), Some(top));
        let (mut numbers, mut handles) = (HashSet::new(), HashSet::new());
        for _ in 0..100 {
            let at = dir.path().join("d");
            std::fs::create_dir(&at).unwrap();
            numbers.insert(at.metadata().unwrap().ino());
            assert!(handles.insert(handle(&open, b"d").unwrap().unwrap().0));
            std::fs::remove_dir(&at).unwrap();
        }
        println!("{} numbers of 100 directories", numbers.len());
        assert_eq!(handle(&open, b"d"), Err(Errno::NOENT));
    }
}
