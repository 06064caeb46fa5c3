//! The Rust side: `ovl::store` and `ovl::tree`.

use crate::api::{self, Api, Done, Failure, Input, Names, Output};
use ovl::archive::{Digest, Sink, Source};
use ovl::error::{Code, Errno, Error, Result};
use ovl::layer::diff::ChangeKind;
use ovl::store::*;
use ovl::tree::copy::{CopyFlags, CopyOptions, Reflink, copy_dir};
use ovl::watch::{Cancel, Progress, ProgressFn, Watch};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

pub struct Rust;

pub fn failure(error: Error) -> Failure {
    Failure {
        errno: error.errno().raw_os_error(),
        code: error.code() as u32,
        operation: error.operation().to_string(),
        path: error.path().to_vec(),
        message: error.message().to_string(),
        said: error.said_by_callback(),
    }
}

/// Works under the caller's eyes.
pub fn watched<T>(
    control: api::Control<'_, Rust>,
    work: impl FnOnce(&mut Watch<'_>) -> Result<T>,
) -> Done<T> {
    let done = match control.progress {
        None => work(&mut Watch::new(control.cancel, None)),
        Some(tell) => {
            let mut tell = |now: &Progress| tell((now.entries, now.bytes));
            let tell: &mut ProgressFn<'_> = &mut tell;
            work(&mut Watch::new(control.cancel, Some(tell)))
        }
    };
    done.map_err(failure)
}

/// An error of the caller's own source or sink, which passes through as it is.
fn of_callback(errno: i32) -> Error {
    let words = "the callback failed";
    Error::new(Code::Callback, Errno::from_raw_os_error(errno), words).callback_result(-errno)
}

impl Source for Input<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        match self {
            Input::Fd(fd) => rustix::io::read(fd, buf).map_err(|e| Error::sys(e, "read")),
            Input::Read(read) => read(buf).map_err(of_callback),
        }
    }
}

impl Sink for Output<'_> {
    fn write_all(&mut self, mut buf: &[u8]) -> Result<()> {
        while !buf.is_empty() {
            let took = match self {
                Output::Fd(fd) => rustix::io::write(fd, buf).map_err(|e| Error::sys(e, "write"))?,
                Output::Write(write) => write(buf).map_err(of_callback)?,
            };
            buf = &buf[took..];
        }
        Ok(())
    }
}

fn info(info: LayerInfo) -> api::Info {
    let digest = |digest: Option<Digest>| digest.map(|d| d.to_string()).unwrap_or_default();
    api::Info {
        id: info.id,
        parent: info.parent.unwrap_or_default(),
        diff_id: digest(info.diff_id),
        blob_digest: digest(info.blob_digest),
        copied_from: info.copied_from.unwrap_or_default(),
        kind: match info.kind {
            Kind::Root => api::Kind::Root,
            Kind::Overlay => api::Kind::Overlay,
        },
        committed: info.state == State::Committed,
        size: info.size,
        entries: info.entries,
        tar_size: info.tar_size,
        blob_size: info.blob_size,
        created: (info.created.sec, info.created.nsec),
        lowers: info.lowers,
        mounted: info.mounted,
        skipped: [
            info.skipped_devices,
            info.skipped_owners,
            info.skipped_xattrs,
            info.skipped_sockets,
            info.skipped_names,
        ],
    }
}

pub fn durability(durability: api::Durability) -> Durability {
    match durability {
        api::Durability::Default => Durability::Default,
        api::Durability::None => Durability::None,
        api::Durability::Full => Durability::Full,
        api::Durability::Verified => Durability::Verified,
    }
}

fn against(against: api::Against<'_>) -> Against<'_> {
    match against {
        api::Against::Parent => Against::Parent,
        api::Against::Nothing => Against::Nothing,
        api::Against::Layer(id) => Against::Layer(id.as_bytes()),
    }
}

/// The flags whose conditions hold.
macro_rules! flags {
    ($type:ident: $($when:expr => $flag:ident),+ $(,)?) => {{
        let mut flags = $type::empty();
        $(flags.set($type::$flag, $when);)+
        flags
    }};
}
pub(crate) use flags;

impl Api for Rust {
    type Store = Store;
    type Mount = Mount;
    type Cancel = Cancel;

    const NAMES: Names = Names {
        open: "open",
        apply: "apply",
        unmount_at: "unmount",
    };

    fn cancel() -> Cancel {
        Cancel::new()
    }

    fn trigger(cancel: &Cancel) {
        cancel.trigger();
    }

    fn open(home: &Path, how: &api::Open) -> Done<Store> {
        let options = OpenOptions {
            flags: flags!(OpenFlags: how.must_exist => MUST_EXIST, how.read_only => READ_ONLY),
            marks: match how.marks {
                api::Marks::Auto => MarksChoice::Auto,
                api::Marks::Trusted => MarksChoice::Trusted,
                api::Marks::User => MarksChoice::User,
            },
            log: how.log.clone().map(|log| -> Box<LogFn> {
                Box::new(move |level, line| {
                    log.lock().unwrap().push((level as u32, line.to_string()));
                })
            }),
        };
        Store::open(home.as_os_str().as_bytes(), options).map_err(failure)
    }

    fn list(store: &Store) -> Done<Vec<String>> {
        store.list().map_err(failure)
    }

    fn status(store: &Store) -> Done<Vec<api::Capability>> {
        let all = store.status().map_err(failure)?;
        let plain = |one: Capability| api::Capability {
            name: one.name.to_string(),
            ok: one.ok,
            reason: one.reason,
        };
        Ok(all.into_iter().map(plain).collect())
    }

    fn cleanup(
        store: &Store,
        budget_ms: u64,
        control: api::Control<'_, Self>,
    ) -> Done<api::Cleaned> {
        let options = CleanupOptions {
            budget: (budget_ms > 0).then(|| Duration::from_millis(budget_ms)),
            ..CleanupOptions::default()
        };
        let done = watched(control, |watch| store.cleanup_with(&options, watch))?;
        Ok(api::Cleaned {
            removed: done.removed,
            busy: done.busy,
            unmounted: done.unmounted,
            dropped: done.dropped,
            left: done.left,
        })
    }

    fn usage(store: &Store, id: Option<&str>, control: api::Control<'_, Self>) -> Done<api::Usage> {
        let id = id.map(str::as_bytes);
        let found = watched(control, |watch| store.usage(id, watch))?;
        Ok(api::Usage {
            own: [found.own_bytes, found.own_inodes, found.own_size],
            shared: [found.shared_bytes, found.shared_inodes, found.shared_size],
        })
    }

    fn check_all(
        store: &Store,
        repair: bool,
        control: api::Control<'_, Self>,
    ) -> Done<Vec<api::Problem>> {
        let flags = flags!(CheckFlags: repair => REPAIR);
        let found = watched(control, |watch| store.check(flags, watch))?;
        let plain = |one: Problem| api::Problem {
            place: one.layer,
            words: format!("{}: {}", one.kind, one.detail),
            repaired: one.repaired,
            note: one.note,
        };
        Ok(found.into_iter().map(plain).collect())
    }

    fn create(
        store: &Store,
        id: &str,
        parent: Option<&str>,
        how: api::Create,
        control: api::Control<'_, Self>,
    ) -> Done<()> {
        let flags = flags!(CreateFlags: how.live => LIVE, how.flat => FLAT, how.sync => SYNC);
        let parent = parent.map(str::as_bytes);
        watched(control, |watch| {
            store.create(id.as_bytes(), parent, flags, watch)
        })
    }

    fn apply(
        store: &Store,
        id: &str,
        mut input: Input<'_>,
        how: &api::Apply<'_>,
        control: api::Control<'_, Self>,
    ) -> Done<api::Info> {
        let options = ApplyOptions {
            flags: flags!(ApplyFlags:
                how.writable => WRITABLE, how.strict => STRICT, how.no_devices => NO_DEVICES),
            parent: how.parent.map(str::as_bytes),
            kind: how.kind.map(|kind| match kind {
                api::Kind::Root => Kind::Root,
                api::Kind::Overlay => Kind::Overlay,
            }),
            diff_id: how.diff_id.map(|text| Digest::parse(text).unwrap()),
            durability: durability(how.durability),
            threads: Threads::Auto,
            limits: Limits {
                max_size: how.max_size,
                max_entries: how.max_entries,
                max_meta: how.max_meta,
                max_xattrs: how.max_xattrs,
                max_path: how.max_path,
                zstd_window_log: how.zstd_window_log,
            },
        };
        watched(control, |watch| {
            store.apply(id.as_bytes(), &mut input, &options, watch)
        })
        .map(info)
    }

    fn commit(
        store: &Store,
        id: &str,
        how: api::Durability,
        control: api::Control<'_, Self>,
    ) -> Done<()> {
        let how = durability(how);
        watched(control, |watch| {
            store.commit(id.as_bytes(), how, CommitFlags::empty(), watch)
        })
    }

    fn remove(store: &Store, id: &str, defer: bool, control: api::Control<'_, Self>) -> Done<()> {
        let flags = flags!(RemoveFlags: defer => DEFER);
        watched(control, |watch| store.remove(id.as_bytes(), flags, watch))
    }

    fn exists(store: &Store, id: &str) -> Done<bool> {
        store.exists(id.as_bytes()).map_err(failure)
    }

    fn stat(store: &Store, id: &str) -> Done<api::Info> {
        store.stat(id.as_bytes()).map(info).map_err(failure)
    }

    fn diff(
        store: &Store,
        id: &str,
        other: api::Against<'_>,
        mut output: Output<'_>,
        how: &api::Diff,
        control: api::Control<'_, Self>,
    ) -> Done<api::Info> {
        let mut options = DiffOptions {
            flags: flags!(DiffFlags:
                how.strict => STRICT, how.sparse => SPARSE, how.clamp.is_some() => CLAMP),
            ..DiffOptions::default()
        };
        if let Some((sec, nsec)) = how.clamp {
            options.clamp.sec = sec;
            options.clamp.nsec = nsec;
        }
        watched(control, |watch| {
            store.diff(id.as_bytes(), against(other), &mut output, &options, watch)
        })
        .map(info)
    }

    fn changes(
        store: &Store,
        id: &str,
        other: api::Against<'_>,
        control: api::Control<'_, Self>,
    ) -> Done<Vec<(char, Vec<u8>)>> {
        let all = watched(control, |watch| {
            store.changes(id.as_bytes(), against(other), watch)
        })?;
        let plain = |one: Change| {
            let letter = match one.kind {
                ChangeKind::Add => 'A',
                ChangeKind::Modify => 'C',
                ChangeKind::Delete => 'D',
            };
            (letter, one.path)
        };
        Ok(all.into_iter().map(plain).collect())
    }

    fn diff_size(
        store: &Store,
        id: &str,
        other: api::Against<'_>,
        control: api::Control<'_, Self>,
    ) -> Done<u64> {
        watched(control, |watch| {
            store.diff_size(id.as_bytes(), against(other), watch)
        })
    }

    fn mount(store: &Store, id: &str, how: &api::Mounting<'_>) -> Done<Mount> {
        let options = MountOptions {
            flags: flags!(MountFlags:
                how.read_only => READ_ONLY, how.keep => KEEP,
                how.detached => DETACHED, how.volatile => VOLATILE),
            target: how.target.map(|path| path.as_os_str().as_bytes()),
            label: None,
        };
        store.mount(id.as_bytes(), &options).map_err(failure)
    }

    fn mount_path(mount: &Mount) -> Vec<u8> {
        mount.path().to_vec()
    }

    fn mount_fd(mount: &Mount) -> BorrowedFd<'_> {
        mount.fd().unwrap()
    }

    fn unmount(mount: Mount, lazy: bool) -> std::result::Result<(), (Mount, Failure)> {
        let flags = flags!(UnmountFlags: lazy => LAZY);
        mount
            .unmount(flags)
            .map_err(|(mount, error)| (mount, failure(error)))
    }

    fn unmount_at(store: &Store, id_or_path: &[u8], lazy: bool) -> Done<()> {
        let flags = flags!(UnmountFlags: lazy => LAZY);
        store.unmount_at(id_or_path, flags).map_err(failure)
    }

    fn spec(store: &Store, id: &str, read_only: bool) -> Done<api::Spec> {
        let flags = flags!(SpecFlags: read_only => READ_ONLY);
        let spec = store
            .mount_spec(id.as_bytes(), flags, None)
            .map_err(failure)?;
        Ok(api::Spec {
            fs_type: spec.fs_type.to_string(),
            source: spec.source,
            options: spec.options,
        })
    }

    fn spec_json(store: &Store, id: &str, destination: &str) -> Done<String> {
        store
            .mount_spec(id.as_bytes(), SpecFlags::OCI_JSON, None)
            .and_then(|spec| spec.to_oci_json(destination.as_bytes()))
            .map_err(failure)
    }

    fn copy_dir(
        src: (Option<BorrowedFd<'_>>, &Path),
        dst: (Option<BorrowedFd<'_>>, &Path),
        how: &api::Copying,
        control: api::Control<'_, Self>,
    ) -> Done<api::Copied> {
        let options = CopyOptions {
            flags: flags!(CopyFlags:
                how.hard_link => HARD_LINK, how.strict => STRICT,
                how.no_overlay_xattrs => NO_OVERLAY_XATTRS, how.sync => SYNC),
            reflink: match how.reflink {
                api::Reflink::Auto => Reflink::Auto,
                api::Reflink::Always => Reflink::Always,
                api::Reflink::Never => Reflink::Never,
            },
            ..CopyOptions::default()
        };
        let path = |path: &Path| path.as_os_str().as_bytes().to_vec();
        let (from, to) = (path(src.1), path(dst.1));
        let (src, dst) = (
            src.0.unwrap_or(rustix::fs::CWD),
            dst.0.unwrap_or(rustix::fs::CWD),
        );
        let done = watched(control, |watch| {
            copy_dir(src, &from, dst, &to, &options, watch)
        })?;
        Ok(api::Copied {
            entries: done.entries,
            directories: done.directories,
            copied: done.copied,
            reflinked: done.reflinked,
            linked: done.linked,
            grouped: done.grouped,
            bytes: done.bytes,
            link_fallbacks: done.link_fallbacks,
            mounts_skipped: done.mounts_skipped,
            vanished: done.vanished,
            skipped: [
                done.partial.owners,
                done.partial.xattrs,
                done.partial.devices,
            ],
        })
    }
}
