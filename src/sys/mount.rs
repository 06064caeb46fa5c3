//! The mount calls that rustix and nix lack: mount_setattr(2), statmount(2), listmount(2) and the
//! ioctl that names a mount namespace. Plain bindings: what they mean is said in [`crate::mount`].

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// `MOUNT_ATTR_RDONLY`, also as reported in [`StatMount::mount_attributes`].
pub const MOUNT_ATTR_RDONLY: u64 = 1;

/// `MS_PRIVATE`, the same everywhere.
const MS_PRIVATE: u64 = 1 << 18;

/// `LSMT_ROOT`: list from the root of the mount namespace.
pub const LSMT_ROOT: u64 = u64::MAX;

/// `SB_RDONLY` in [`StatMount::sb_flags`].
const SB_RDONLY: u32 = 1;

// Both calls have the same distance from mount_setattr on every architecture.
const SYS_STATMOUNT: libc::c_long = libc::SYS_mount_setattr + 15;
const SYS_LISTMOUNT: libc::c_long = libc::SYS_mount_setattr + 16;

const STATMOUNT_SB_BASIC: u64 = 0x1;
const STATMOUNT_MNT_BASIC: u64 = 0x2;
const STATMOUNT_MNT_POINT: u64 = 0x10;
const STATMOUNT_FS_TYPE: u64 = 0x20;
const STATMOUNT_SB_SOURCE: u64 = 0x200;

/// Strings of `struct statmount` start here; the fixed part will not outgrow it.
const STRINGS_AT: usize = 512;
/// More than any mount can need: paths and sources are a page at most.
const STATMOUNT_MAX: usize = 1 << 18;

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

#[repr(C)]
struct MountIdRequest {
    size: u32,
    spare: u32,
    mount_id: u64,
    param: u64,
}

fn check(answer: libc::c_long) -> Result<usize, Errno> {
    usize::try_from(answer).map_err(|_| {
        let raw = std::io::Error::last_os_error().raw_os_error();
        Errno::from_raw_os_error(raw.unwrap_or(libc::EINVAL))
    })
}

/// Makes the mount that `mount` is the root of private, and perhaps read-only: mount_setattr(2),
/// Linux 5.12.
pub fn set_private(mount: BorrowedFd<'_>, read_only: bool) -> Result<(), Errno> {
    let attr = MountAttr {
        attr_set: if read_only { MOUNT_ATTR_RDONLY } else { 0 },
        attr_clr: 0,
        propagation: MS_PRIVATE,
        userns_fd: 0,
    };
    // SAFETY: the path is an empty C string and `attr` is a mount_attr of the size told; both
    // outlive the call, which only reads them.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    })?;
    Ok(())
}

/// What statmount(2) told of one mount.
#[derive(Clone, Debug)]
pub struct StatMount {
    /// The id that is not used again.
    pub unique_id: u64,
    /// The id that mountinfo shows.
    pub short_id: u32,
    /// `MOUNT_ATTR_*`.
    pub mount_attributes: u64,
    /// `SB_*`.
    pub sb_flags: u32,
    /// Device of the superblock.
    pub dev: (u32, u32),
    /// Mount point in the caller's root; empty when it is not reachable from there.
    pub mount_point: Vec<u8>,
    /// File system type.
    pub fs_type: Vec<u8>,
    /// Mount source; `None` before Linux 6.13.
    pub source: Option<Vec<u8>>,
}

impl StatMount {
    /// Whether writes are refused, by the mount or by its superblock.
    pub fn read_only(&self) -> bool {
        self.mount_attributes & MOUNT_ATTR_RDONLY != 0 || self.sb_flags & SB_RDONLY != 0
    }

    fn parse(raw: &[u8]) -> Option<Self> {
        let u32_at = |at: usize| Some(u32::from_ne_bytes(raw.get(at..at + 4)?.try_into().ok()?));
        let u64_at = |at: usize| Some(u64::from_ne_bytes(raw.get(at..at + 8)?.try_into().ok()?));
        let mask = u64_at(8)?;
        let text = |bit: u64, at: usize| -> Option<Vec<u8>> {
            if mask & bit == 0 {
                return None;
            }
            let tail = raw.get(STRINGS_AT.checked_add(u32_at(at)? as usize)?..)?;
            let end = tail.iter().position(|byte| *byte == 0)?;
            Some(tail.get(..end)?.to_vec())
        };
        Some(StatMount {
            unique_id: u64_at(40)?,
            short_id: u32_at(56)?,
            mount_attributes: u64_at(64)?,
            sb_flags: u32_at(32)?,
            dev: (u32_at(16)?, u32_at(20)?),
            mount_point: text(STATMOUNT_MNT_POINT, 108).unwrap_or_default(),
            fs_type: text(STATMOUNT_FS_TYPE, 36).unwrap_or_default(),
            source: text(STATMOUNT_SB_SOURCE, 124),
        })
    }
}

/// statmount(2), Linux 6.8. ENOENT when the caller's namespace has no such mount.
pub fn statmount(unique_id: u64) -> Result<StatMount, Errno> {
    let request = MountIdRequest {
        size: size_of::<MountIdRequest>() as u32,
        spare: 0,
        mount_id: unique_id,
        param: STATMOUNT_SB_BASIC
            | STATMOUNT_MNT_BASIC
            | STATMOUNT_MNT_POINT
            | STATMOUNT_FS_TYPE
            | STATMOUNT_SB_SOURCE,
    };
    let mut size = 2048;
    loop {
        // u64 units keep the buffer aligned as the struct is.
        let mut buffer = vec![0u64; size / 8];
        // SAFETY: the request is a mnt_id_req of the size it tells; the kernel writes at most
        // `size` bytes into the buffer, which is that long.
        let answer = check(unsafe {
            libc::syscall(
                SYS_STATMOUNT,
                &raw const request,
                buffer.as_mut_ptr(),
                size,
                0,
            )
        });
        match answer {
            Err(Errno::OVERFLOW) if size < STATMOUNT_MAX => size *= 4,
            Err(errno) => return Err(errno),
            Ok(_) => {
                let raw: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
                return StatMount::parse(&raw).ok_or(Errno::BADMSG);
            }
        }
    }
}

/// Whether the mount namespace `namespace` (its kernel id) has the mount: statmount(2) with a
/// namespace, Linux 6.11. ENOENT when there is no such mount or namespace.
pub fn statmount_in(unique_id: u64, namespace: u64) -> Result<(), Errno> {
    #[repr(C)]
    struct Request {
        size: u32,
        spare: u32,
        mount_id: u64,
        param: u64,
        namespace: u64,
    }
    let request = Request {
        size: size_of::<Request>() as u32,
        spare: 0,
        mount_id: unique_id,
        param: STATMOUNT_MNT_BASIC,
        namespace,
    };
    let mut buffer = [0u64; 256];
    // SAFETY: the request is a mnt_id_req of the size it tells; the kernel writes at most the
    // buffer's length into it.
    check(unsafe {
        libc::syscall(
            SYS_STATMOUNT,
            &raw const request,
            buffer.as_mut_ptr(),
            size_of_val(&buffer),
            0,
        )
    })
    .map(drop)
}

/// listmount(2), Linux 6.8: the unique ids of all mounts below the mount `unique_id` (or
/// [`LSMT_ROOT`]), at any depth, in the order in which they were made.
pub fn listmount(unique_id: u64) -> Result<Vec<u64>, Errno> {
    const BATCH: usize = 512;
    let mut all = Vec::new();
    let mut request = MountIdRequest {
        size: size_of::<MountIdRequest>() as u32,
        spare: 0,
        mount_id: unique_id,
        param: 0,
    };
    loop {
        let mut batch = [0u64; BATCH];
        // SAFETY: the request is a mnt_id_req of the size it tells; the kernel writes at most
        // BATCH ids into the array, which holds that many.
        let count = check(unsafe {
            libc::syscall(
                SYS_LISTMOUNT,
                &raw const request,
                batch.as_mut_ptr(),
                BATCH,
                0,
            )
        })?;
        let got = batch.get(..count).ok_or(Errno::BADMSG)?;
        all.extend_from_slice(got);
        match got.last() {
            Some(last) if count == BATCH => request.param = *last,
            _ => return Ok(all),
        }
    }
}

/// The id of the mount namespace that `namespace` (an open `/proc/.../ns/mnt`) names:
/// `NS_GET_MNTNS_ID`, Linux 6.11; ENOTTY before.
pub fn namespace_id(namespace: BorrowedFd<'_>) -> Result<u64, Errno> {
    // _IOR(0xb7, 5, __u64), composed by rustix because its bits differ between architectures.
    const NS_GET_MNTNS_ID: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u64>(0xb7, 5);
    // SAFETY: this opcode writes one u64 and nothing else, which is what the getter is told.
    unsafe {
        rustix::ioctl::ioctl(
            namespace,
            rustix::ioctl::Getter::<NS_GET_MNTNS_ID, u64>::new(),
        )
    }
}
