//! `struct ovl_mnt`: a mounted layer.

use super::boundary::{self, Handle, Owner, not_null};
use super::error::ovl_error;
use super::opts::{self, Plain};
use super::store::ovl_store;
use super::text::{self, Text};
use crate::error::Result;
use crate::store::{Mount, MountFlags, MountOptions, UnmountFlags};
use std::ffi::{c_char, c_int};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A handle on a mounted layer. One thread at a time may use it; it may be handed from thread to
/// thread. The layer counts as mounted while it lives.
pub struct ovl_mnt {
    owner: Owner,
    path: Text,
    // Empty only while an unmount is tried, or after a bug in one.
    mount: Mutex<Option<Mount>>,
}

impl ovl_mnt {
    fn new(mount: Mount) -> Self {
        ovl_mnt {
            owner: Owner::new(),
            path: Text::new(mount.path()),
            mount: Mutex::new(Some(mount)),
        }
    }

    fn mount(&self) -> MutexGuard<'_, Option<Mount>> {
        // A panic is the boundary's affair; the option is whole at any time.
        self.mount.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle for ovl_mnt {
    const NAME: &'static str = "mount";

    fn owner(&self) -> Option<&Owner> {
        Some(&self.owner)
    }

    fn check_descriptors(&self) -> Result<()> {
        match &*self.mount() {
            Some(mount) => mount.check_descriptors(),
            None => Ok(()),
        }
    }
}

/// Options of ovl_mount().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_mount_opts {
    /// `OVL_MOUNT_...`
    pub flags: u64,
    /// The directory to mount at; NULL for one in the store. Not with OVL_MOUNT_DETACHED.
    pub target: *const c_char,
    /// An SELinux label for every file, or NULL.
    pub label: *const c_char,
}

// SAFETY: an integer and pointers.
unsafe impl Plain for ovl_mount_opts {}

/// Options of ovl_unmount() and ovl_unmount_at().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_unmount_opts {
    /// OVL_UNMOUNT_LAZY or 0.
    pub flags: u64,
}

// SAFETY: an integer.
unsafe impl Plain for ovl_unmount_opts {}

/// Mounts a layer: the merged tree of the layer and all below it. A committed layer needs
/// OVL_MOUNT_READ_ONLY. Without a target and without OVL_MOUNT_DETACHED it is mounted at a place in
/// the store. A layer that is mounted there already, in this mount namespace and with the same
/// options, gives the mount there is, and its mount at another target is that mount too.
///
/// A writable layer of kind root that is mounted in the store is mounted as itself: the path is that
/// of its own tree, there is no mount, and a handle alone keeps it in use.
///
/// A mount is held by its handles: it ends with an ovl_unmount() of the last one. A handle that ends
/// without, by ovl_mnt_free() or with its process, leaves the mount to the next call that meets it,
/// which ends it if no other handle holds it. OVL_MOUNT_KEEP and OVL_MOUNT_DETACHED say otherwise.
///
/// Returns 0 and a handle in `*out`, which the caller ends with ovl_unmount() or ovl_mnt_free().
/// Errors: ENOENT no such layer (OVL_E_NO_LAYER), or no such target; EPERM the caller may not
/// mount, or cannot use the store's marks (OVL_E_MARKS); EBUSY it is mounted with other options or
/// in another mount namespace (OVL_E_MOUNTED), or somebody works on it (OVL_E_LOCKED); EROFS a
/// writable mount of a committed layer (OVL_E_COMMITTED); EOPNOTSUPP the kernel or the file system
/// cannot (OVL_E_UNSUPPORTED; the message says what can), or another program's overlay wrote to the
/// layer what this mount would not show (OVL_E_UNSUPPORTED, with the path; ovl_diff() reads it);
/// EUCLEAN it was mounted volatile when the machine went down (OVL_E_UNCLEAN); ENOTDIR, EACCES of
/// the target; and what the kernel said to the mount, with its own words in the message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_mount(
    store: *mut ovl_store,
    id: *const c_char,
    opts: *const ovl_mount_opts,
    opts_size: usize,
    out: *mut *mut ovl_mnt,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("mount", store, err, |store| {
        let out = not_null(out, "out")?;
        // SAFETY: as C promises of its arguments.
        let (id, opts) = unsafe { (text::bytes(id, "id")?, opts::read(opts, opts_size)?) };
        let flags: MountFlags = opts::flags(opts.flags)?;
        // SAFETY: as C promises of its options.
        let (target, label) = unsafe { (text::optional(opts.target), text::optional(opts.label)) };
        let options = MountOptions {
            flags,
            target,
            label,
        };
        let mount = ovl_mnt::new(store.store.mount(id, &options)?);
        // SAFETY: not NULL, and C says it is valid for a write of a pointer.
        unsafe { boundary::give(out, mount) };
        Ok(0)
    })
}

/// Gives a mount up, and frees its handle. The last handle of a mount ends it. A kept mount ends with
/// any handle, if it is the only one; a detached one when its last descriptor is closed.
///
/// Returns 0. After a failure nothing has changed, and the handle is still the caller's.
/// Errors: EBUSY files on it are open, or it is somebody's working directory (see
/// OVL_UNMOUNT_LAZY), or other handles on a kept mount are open (OVL_E_MOUNTED); so too where the
/// process is in another mount namespace now, or no path leads to the mount; EPERM the caller may
/// not unmount.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_unmount(
    mnt: *mut ovl_mnt,
    opts: *const ovl_unmount_opts,
    opts_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::end("unmount", mnt, err, |mnt| {
        // SAFETY: as C promises of its arguments.
        let opts = unsafe { opts::read(opts, opts_size) }?;
        let flags: UnmountFlags = opts::flags(opts.flags)?;
        let taken = mnt.mount().take();
        let Some(mount) = taken else {
            return Err(crate::error::Error::invalid("it is being unmounted"));
        };
        mount.unmount(flags).map_err(|(mount, error)| {
            *mnt.mount() = Some(mount);
            error
        })
    })
}

/// Ends the kept mounts of a layer, given by its id, or the one at a path, which has a slash in it,
/// whoever made them.
///
/// Returns 0; also for a writable layer of kind root that no handle is open on, which needs no mount
/// (see ovl_mount()).
/// Errors: EINVAL also where it is not mounted, or where the mount is not this store's; ENOENT no
/// such layer (OVL_E_NO_LAYER) or path; EBUSY handles on it or files on it are open (see
/// OVL_UNMOUNT_LAZY), it is mounted in another mount namespace, or no path leads to it
/// (OVL_E_MOUNTED); EPERM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_unmount_at(
    store: *mut ovl_store,
    id_or_path: *const c_char,
    opts: *const ovl_unmount_opts,
    opts_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("unmount_at", store, err, |store| {
        // SAFETY: as C promises of its arguments.
        let (place, opts) = unsafe {
            (
                text::bytes(id_or_path, "id_or_path")?,
                opts::read(opts, opts_size)?,
            )
        };
        let flags: UnmountFlags = opts::flags(opts.flags)?;
        store.store.unmount_at(place, flags)?;
        Ok(0)
    })
}

/// The absolute path of a mount, "" for a detached one. Bytes: it need not be UTF-8. Borrowed from
/// `mnt`, valid until that is freed. NULL, with errno set, where there is no answer: `mnt` is NULL
/// (EINVAL), came through a fork (EOWNERDEAD), has lost a descriptor (EBADF) or met a bug
/// (ENOTRECOVERABLE).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_mnt_path(mnt: *const ovl_mnt) -> *const c_char {
    boundary::get(mnt, |_| std::ptr::null(), |mnt| mnt.path.as_ptr())
}

/// The root of a mount as a descriptor, for the `...at` calls and for move_mount(2). It belongs to
/// `mnt`, is valid until that is freed or given to ovl_unmount(), and must not be closed; a duplicate
/// may live on, and keeps the mount in use. -errno where there is no answer, as ovl_mnt_path(); also
/// -EBADF where the host has closed a descriptor of the handle, and after an ovl_unmount() that failed
/// and found the mount gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_mnt_fd(mnt: *const ovl_mnt) -> c_int {
    boundary::get(
        mnt,
        |errno| -boundary::positive(errno),
        |mnt| match mnt.mount().as_ref().and_then(Mount::fd) {
            Some(fd) => fd.as_raw_fd(),
            None => -libc::EBADF,
        },
    )
}

/// Drops a handle, and unmounts nothing: see ovl_mount() for what becomes of the mount. NULL does
/// nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_mnt_free(mnt: *mut ovl_mnt) {
    boundary::free(mnt);
}
