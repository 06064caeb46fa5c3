//! The C side: the functions of the shared library, called as a C program calls them, with real
//! structs and their sizes, error objects, iterators and callbacks.
// The structs grow: what is not named here must stay zero.
#![allow(clippy::needless_update)]
#![allow(unsafe_code)] // Every call into C is.

use crate::api::*;
use crate::c_abi::*;
use crate::c_call::*;
use crate::c_handle::{Cancel, Mount, Store};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::ptr::{null, null_mut};

pub struct C;

/// An option struct with the members by which a call is watched. `$control` must live as long as
/// the call: the callback's `user` points to it.
macro_rules! watched {
    ($type:ident, $control:ident $(, $member:ident: $value:expr)* $(,)?) => {
        $type {
            cancel: $control.cancel.map_or(null_mut(), |cancel| cancel.0),
            progress: $control.progress.is_some().then_some(progress as unsafe extern "C" fn(_, _, _) -> _),
            progress_user: (&raw mut $control.progress).cast(),
            $($member: $value,)*
            ..$type::default()
        }
    };
}
pub(crate) use watched;

pub fn bits<const N: usize>(all: [(bool, u64); N]) -> u64 {
    all.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum()
}

pub fn durability(durability: Durability) -> u32 {
    match durability {
        Durability::Default => OVL_DURABILITY_DEFAULT,
        Durability::None => OVL_DURABILITY_NONE,
        Durability::Full => OVL_DURABILITY_FULL,
        Durability::Verified => OVL_DURABILITY_VERIFIED,
    }
}

fn against(against: Against<'_>) -> Option<CString> {
    match against {
        Against::Parent => None,
        Against::Nothing => Some(string("")),
        Against::Layer(id) => Some(string(id)),
    }
}

fn info(info: &ovl_layer_info) -> Info {
    assert_eq!(info.unclean, 0);
    Info {
        id: array(&info.id),
        parent: array(&info.parent),
        diff_id: array(&info.diff_id),
        blob_digest: array(&info.blob_digest),
        copied_from: array(&info.copied_from),
        kind: match info.kind {
            OVL_KIND_ROOT => Kind::Root,
            OVL_KIND_OVERLAY => Kind::Overlay,
            other => panic!("kind {other}"),
        },
        committed: match info.state {
            OVL_STATE_WRITABLE => false,
            OVL_STATE_COMMITTED => true,
            other => panic!("state {other}"),
        },
        size: info.size,
        entries: info.entries,
        tar_size: info.tar_size,
        blob_size: info.blob_size,
        created: (info.created_sec, info.created_nsec),
        lowers: info.lowers,
        mounted: match info.mounted {
            0 => false,
            1 => true,
            other => panic!("mounted {other}"),
        },
        skipped: [
            info.skipped_devices,
            info.skipped_owners,
            info.skipped_xattrs,
            info.skipped_sockets,
            info.skipped_names,
        ],
    }
}

/// The size that goes with a struct.
pub fn size<T>(_: &T) -> usize {
    size_of::<T>()
}

impl Api for C {
    type Store = Store;
    type Mount = Mount;
    type Cancel = Cancel;

    const NAMES: Names = Names {
        open: "store_open",
        apply: "apply_layer",
        unmount_at: "unmount_at",
    };

    fn cancel() -> Cancel {
        // SAFETY: it has no arguments.
        let raw = unsafe { (library().ovl_cancel_new)() };
        assert!(!raw.is_null());
        Cancel(raw)
    }

    fn trigger(cancel: &Cancel) {
        // SAFETY: not yet freed.
        unsafe { (library().ovl_cancel_trigger)(cancel.0) };
    }

    fn open(home: &Path, how: &Open) -> Done<Store> {
        let user = how.log.clone().map(Box::new);
        let opts = ovl_store_opts {
            flags: bits([
                (how.must_exist, OVL_STORE_MUST_EXIST),
                (how.read_only, OVL_STORE_READ_ONLY),
            ]),
            marks: match how.marks {
                Marks::Auto => OVL_MARKS_AUTO,
                Marks::Trusted => OVL_MARKS_TRUSTED,
                Marks::User => OVL_MARKS_USER,
            },
            log: user.is_some().then_some(log),
            log_user: user
                .as_deref()
                .map_or(null_mut(), |log| std::ptr::from_ref(log).cast_mut().cast()),
            ..ovl_store_opts::default()
        };
        let home = path(home);
        let mut raw = null_mut();
        // SAFETY: arguments as the header wants them; the log lives in the wrapper.
        let done = call(|err| unsafe {
            (library().ovl_store_open)(home.as_ptr(), &opts, size(&opts), &mut raw, err)
        });
        match done {
            Ok(_) => Ok(Store { raw, _log: user }),
            Err(failure) => {
                assert!(raw.is_null(), "a failed open leaves the output alone");
                Err(failure)
            }
        }
    }

    fn list(store: &Store) -> Done<Vec<String>> {
        // SAFETY: arguments as the header wants them; NULL and 0 are the defaults.
        let all =
            items(|out, err| unsafe { (library().ovl_list)(store.raw, null(), 0, out, err) })?;
        Ok(all.iter().map(Item::name).collect())
    }

    fn status(store: &Store) -> Done<Vec<Capability>> {
        let opts = ovl_status_opts::default();
        // SAFETY: arguments as the header wants them.
        let all = items(|out, err| unsafe {
            (library().ovl_status)(store.raw, &opts, size(&opts), out, err)
        })?;
        let plain = |one: &Item| Capability {
            name: one.name(),
            ok: one.what == 1,
            reason: one.detail(),
        };
        Ok(all.iter().map(plain).collect())
    }

    fn cleanup(store: &Store, budget_ms: u64, mut control: Control<'_, Self>) -> Done<Cleaned> {
        let opts = watched!(ovl_cleanup_opts, control, budget_ms: budget_ms);
        let mut stats = ovl_cleanup_stats::default();
        let stats_size = size(&stats);
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            let stats = &mut stats;
            (library().ovl_cleanup)(store.raw, &opts, size(&opts), stats, stats_size, err)
        })?;
        Ok(Cleaned {
            removed: stats.removed,
            busy: stats.busy,
            unmounted: stats.unmounted,
            dropped: stats.dropped,
            left: stats.left,
        })
    }

    fn usage(store: &Store, id: Option<&str>, mut control: Control<'_, Self>) -> Done<Usage> {
        let opts = watched!(ovl_usage_opts, control);
        let id = id.map(|id| CString::new(id).unwrap());
        let id = id.as_ref().map_or(std::ptr::null(), |id| id.as_ptr());
        let mut usage = ovl_usage_info::default();
        let usage_size = size(&usage);
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            let usage = &mut usage;
            (library().ovl_usage)(store.raw, id, &opts, size(&opts), usage, usage_size, err)
        })?;
        Ok(Usage {
            own: [usage.own_bytes, usage.own_inodes, usage.own_size],
            shared: [usage.shared_bytes, usage.shared_inodes, usage.shared_size],
        })
    }

    fn check_all(
        store: &Store,
        repair: bool,
        mut control: Control<'_, Self>,
    ) -> Done<Vec<Problem>> {
        let flags = bits([(repair, OVL_CHECK_REPAIR)]);
        let opts = watched!(ovl_check_opts, control, flags: flags);
        // SAFETY: arguments as the header wants them.
        let all = items(|out, err| unsafe {
            (library().ovl_check)(store.raw, &opts, size(&opts), out, err)
        })?;
        let plain = |one: &Item| Problem {
            place: one.name(),
            words: one.detail(),
            repaired: one.what == OVL_CHECK_REPAIRED,
            note: one.what == OVL_CHECK_NOTE,
        };
        Ok(all.iter().map(plain).collect())
    }

    fn create(
        store: &Store,
        id: &str,
        parent: Option<&str>,
        how: Create,
        mut control: Control<'_, Self>,
    ) -> Done<()> {
        let flags = bits([
            (how.live, OVL_CREATE_LIVE),
            (how.flat, OVL_CREATE_FLAT),
            (how.sync, OVL_CREATE_SYNC),
        ]);
        let opts = watched!(ovl_create_opts, control, flags: flags);
        let (id, parent) = (string(id), parent.map(string));
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            let parent = pointer(&parent);
            (library().ovl_create)(store.raw, id.as_ptr(), parent, &opts, size(&opts), err)
        })
        .map(drop)
    }

    fn apply(
        store: &Store,
        id: &str,
        input: Input<'_>,
        how: &Apply<'_>,
        mut control: Control<'_, Self>,
    ) -> Done<Info> {
        let (parent, diff_id) = (how.parent.map(string), how.diff_id.map(string));
        let mut opts = watched!(
            ovl_apply_opts, control,
            flags: bits([
                (how.writable, OVL_APPLY_WRITABLE),
                (how.strict, OVL_APPLY_STRICT),
                (how.no_devices, OVL_APPLY_NO_DEVICES),
            ]),
            parent: pointer(&parent),
            diff_id: pointer(&diff_id),
            kind: match how.kind {
                None => OVL_KIND_DEFAULT,
                Some(Kind::Root) => OVL_KIND_ROOT,
                Some(Kind::Overlay) => OVL_KIND_OVERLAY,
            },
            durability: durability(how.durability),
            max_size: how.max_size,
            max_entries: how.max_entries,
            max_meta: how.max_meta,
            max_xattrs: how.max_xattrs,
            max_path: how.max_path,
            zstd_window_log: how.zstd_window_log,
        );
        let mut callback;
        let fd = match input {
            Input::Fd(fd) => fd.as_raw_fd(),
            Input::Read(from) => {
                callback = from;
                opts.read = Some(read);
                opts.read_user = (&raw mut callback).cast();
                -1
            }
        };
        let mut out = ovl_layer_info::default();
        let (id, out_size) = (string(id), size(&out));
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            let (opts_size, out) = (size(&opts), &mut out);
            let apply = library().ovl_apply_layer;
            apply(
                store.raw,
                id.as_ptr(),
                fd,
                &opts,
                opts_size,
                out,
                out_size,
                err,
            )
        })?;
        Ok(info(&out))
    }

    fn commit(
        store: &Store,
        id: &str,
        how: Durability,
        mut control: Control<'_, Self>,
    ) -> Done<()> {
        let opts = watched!(ovl_commit_opts, control, durability: durability(how));
        let id = string(id);
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            (library().ovl_commit)(store.raw, id.as_ptr(), &opts, size(&opts), err)
        })
        .map(drop)
    }

    fn remove(store: &Store, id: &str, defer: bool, mut control: Control<'_, Self>) -> Done<()> {
        let flags = bits([(defer, OVL_REMOVE_DEFER)]);
        let opts = watched!(ovl_remove_opts, control, flags: flags);
        let id = string(id);
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            (library().ovl_remove)(store.raw, id.as_ptr(), &opts, size(&opts), err)
        })
        .map(drop)
    }

    fn exists(store: &Store, id: &str) -> Done<bool> {
        let (id, opts) = (string(id), ovl_exists_opts::default());
        // SAFETY: arguments as the header wants them.
        let answer = call(|err| unsafe {
            (library().ovl_exists)(store.raw, id.as_ptr(), &opts, size(&opts), err)
        })?;
        assert!(answer <= 1);
        Ok(answer == 1)
    }

    fn stat(store: &Store, id: &str) -> Done<Info> {
        let (id, mut out) = (string(id), ovl_layer_info::default());
        let out_size = size(&out);
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            (library().ovl_stat)(store.raw, id.as_ptr(), &mut out, out_size, err)
        })?;
        Ok(info(&out))
    }

    fn diff(
        store: &Store,
        id: &str,
        other: Against<'_>,
        output: Output<'_>,
        how: &Diff,
        mut control: Control<'_, Self>,
    ) -> Done<Info> {
        let (clamp_sec, clamp_nsec) = how.clamp.unwrap_or_default();
        let mut opts = watched!(
            ovl_diff_opts, control,
            flags: bits([
                (how.strict, OVL_DIFF_STRICT),
                (how.sparse, OVL_DIFF_SPARSE),
                (how.clamp.is_some(), OVL_DIFF_CLAMP),
            ]),
            clamp_sec: clamp_sec,
            clamp_nsec: clamp_nsec,
        );
        let mut callback;
        let fd = match output {
            Output::Fd(fd) => fd.as_raw_fd(),
            Output::Write(to) => {
                callback = to;
                opts.write = Some(write);
                opts.write_user = (&raw mut callback).cast();
                -1
            }
        };
        let mut out = ovl_layer_info::default();
        let (id, other, out_size) = (string(id), against(other), size(&out));
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            let (id, other, opts_size) = (id.as_ptr(), pointer(&other), size(&opts));
            let (diff, out) = (library().ovl_diff, &mut out);
            diff(
                store.raw, id, other, fd, &opts, opts_size, out, out_size, err,
            )
        })?;
        Ok(info(&out))
    }

    fn changes(
        store: &Store,
        id: &str,
        other: Against<'_>,
        mut control: Control<'_, Self>,
    ) -> Done<Vec<(char, Vec<u8>)>> {
        let opts = watched!(ovl_changes_opts, control);
        let (id, other) = (string(id), against(other));
        // SAFETY: arguments as the header wants them.
        let all = items(|out, err| unsafe {
            let (id, other) = (id.as_ptr(), pointer(&other));
            (library().ovl_changes)(store.raw, id, other, &opts, size(&opts), out, err)
        })?;
        let plain = |one: Item| {
            let letter = match one.what {
                OVL_CHANGE_ADD => 'A',
                OVL_CHANGE_MODIFY => 'C',
                OVL_CHANGE_DELETE => 'D',
                other => panic!("change {other}"),
            };
            (letter, one.name)
        };
        Ok(all.into_iter().map(plain).collect())
    }

    fn diff_size(
        store: &Store,
        id: &str,
        other: Against<'_>,
        mut control: Control<'_, Self>,
    ) -> Done<u64> {
        let opts = watched!(ovl_diff_size_opts, control);
        let (id, other, mut bytes) = (string(id), against(other), 0);
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            let (id, other, bytes) = (id.as_ptr(), pointer(&other), &mut bytes);
            (library().ovl_diff_size)(store.raw, id, other, &opts, size(&opts), bytes, err)
        })?;
        Ok(bytes)
    }

    fn mount(store: &Store, id: &str, how: &Mounting<'_>) -> Done<Mount> {
        let target = how.target.map(path);
        let opts = ovl_mount_opts {
            flags: bits([
                (how.read_only, OVL_MOUNT_READ_ONLY),
                (how.keep, OVL_MOUNT_KEEP),
                (how.detached, OVL_MOUNT_DETACHED),
                (how.volatile, OVL_MOUNT_VOLATILE),
            ]),
            target: pointer(&target),
            ..ovl_mount_opts::default()
        };
        let (id, mut raw) = (string(id), null_mut());
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            (library().ovl_mount)(store.raw, id.as_ptr(), &opts, size(&opts), &mut raw, err)
        })?;
        Ok(Mount(raw))
    }

    fn mount_path(mount: &Mount) -> Vec<u8> {
        // SAFETY: not yet freed; the string is copied at once.
        unsafe { CStr::from_ptr((library().ovl_mnt_path)(mount.0)) }
            .to_bytes()
            .to_vec()
    }

    fn mount_fd(mount: &Mount) -> BorrowedFd<'_> {
        // SAFETY: not yet freed; the descriptor is valid as long as the handle is.
        unsafe {
            let fd = (library().ovl_mnt_fd)(mount.0);
            assert!(fd >= 0, "ovl_mnt_fd: {fd}");
            BorrowedFd::borrow_raw(fd)
        }
    }

    fn unmount(mut mount: Mount, lazy: bool) -> Result<(), (Mount, Failure)> {
        let opts = ovl_unmount_opts {
            flags: bits([(lazy, OVL_UNMOUNT_LAZY)]),
        };
        // SAFETY: not yet freed.
        let done = call(|err| unsafe { (library().ovl_unmount)(mount.0, &opts, size(&opts), err) });
        match done {
            Ok(_) => {
                mount.0 = null_mut();
                Ok(())
            }
            Err(failure) => Err((mount, failure)),
        }
    }

    fn unmount_at(store: &Store, id_or_path: &[u8], lazy: bool) -> Done<()> {
        let opts = ovl_unmount_opts {
            flags: bits([(lazy, OVL_UNMOUNT_LAZY)]),
        };
        let place = string(id_or_path);
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            (library().ovl_unmount_at)(store.raw, place.as_ptr(), &opts, size(&opts), err)
        })
        .map(drop)
    }

    fn spec(store: &Store, id: &str, read_only: bool) -> Done<Spec> {
        let opts = ovl_spec_opts {
            flags: bits([(read_only, OVL_SPEC_READ_ONLY)]),
            ..ovl_spec_opts::default()
        };
        let mut all = mount_spec(store, id, &opts)?.into_iter();
        let (first, second) = (all.next().unwrap(), all.next().unwrap());
        assert_eq!((first.what, second.what), (OVL_SPEC_TYPE, OVL_SPEC_SOURCE));
        let option = |one: Item| {
            assert_eq!(one.what, OVL_SPEC_OPTION);
            one.name
        };
        Ok(Spec {
            fs_type: first.name(),
            source: second.name,
            options: all.map(option).collect(),
        })
    }

    fn spec_json(store: &Store, id: &str, destination: &str) -> Done<String> {
        let destination = string(destination);
        let opts = ovl_spec_opts {
            flags: OVL_SPEC_OCI_JSON,
            destination: destination.as_ptr(),
            ..ovl_spec_opts::default()
        };
        let all = mount_spec(store, id, &opts)?;
        assert_eq!((all.len(), all[0].what), (1, OVL_SPEC_JSON));
        Ok(all[0].name())
    }

    fn copy_dir(
        src: (Option<BorrowedFd<'_>>, &Path),
        dst: (Option<BorrowedFd<'_>>, &Path),
        how: &Copying,
        mut control: Control<'_, Self>,
    ) -> Done<Copied> {
        let opts = watched!(
            ovl_copy_opts, control,
            flags: bits([
                (how.hard_link, OVL_COPY_HARD_LINK),
                (how.strict, OVL_COPY_STRICT),
                (how.no_overlay_xattrs, OVL_COPY_NO_OVERLAY_XATTRS),
                (how.sync, OVL_COPY_SYNC),
            ]),
            reflink: match how.reflink {
                Reflink::Auto => OVL_REFLINK_AUTO,
                Reflink::Always => OVL_REFLINK_ALWAYS,
                Reflink::Never => OVL_REFLINK_NEVER,
            },
        );
        let dir = |fd: Option<BorrowedFd<'_>>| fd.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd());
        let (src_fd, src, dst_fd, dst) = (dir(src.0), path(src.1), dir(dst.0), path(dst.1));
        let mut stats = ovl_copy_stats::default();
        let stats_size = size(&stats);
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            let (src, dst, copy) = (src.as_ptr(), dst.as_ptr(), library().ovl_copy_dir);
            let (opts_size, stats) = (size(&opts), &mut stats);
            copy(
                src_fd, src, dst_fd, dst, &opts, opts_size, stats, stats_size, err,
            )
        })?;
        Ok(Copied {
            entries: stats.entries,
            directories: stats.directories,
            copied: stats.copied,
            reflinked: stats.reflinked,
            linked: stats.linked,
            grouped: stats.grouped,
            bytes: stats.bytes,
            link_fallbacks: stats.link_fallbacks,
            mounts_skipped: stats.mounts_skipped,
            vanished: stats.vanished,
            skipped: [
                stats.skipped_owners,
                stats.skipped_xattrs,
                stats.skipped_devices,
            ],
        })
    }
}

fn mount_spec(store: &Store, id: &str, opts: &ovl_spec_opts) -> Done<Vec<Item>> {
    let id = string(id);
    // SAFETY: arguments as the header wants them.
    items(|out, err| unsafe {
        (library().ovl_mount_spec)(store.raw, id.as_ptr(), opts, size(opts), out, err)
    })
}

/// Creates a layer with options that are eight bytes longer than the library knows.
pub fn create_with_more(store: &Store, id: &str, more: u64) -> Done<()> {
    #[repr(C)]
    struct Longer {
        opts: ovl_create_opts,
        more: u64,
    }
    let opts = Longer {
        opts: ovl_create_opts::default(),
        more,
    };
    let id = string(id);
    // SAFETY: as the header wants them; the size is that of the longer struct.
    call(|err| unsafe {
        let known = std::ptr::from_ref(&opts).cast();
        (library().ovl_create)(store.raw, id.as_ptr(), null(), known, size(&opts), err)
    })
    .map(drop)
}
