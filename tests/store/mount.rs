//! Mounts of layers: held, kept and detached; who gets which; how they end.

use crate::child;
use crate::common::*;
use crate::support::fsys;
use ovl::error::{Code, Errno};
use ovl::store::*;
use ovl::watch::Watch;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A store with `base` and the writable `box` over it, in a mount namespace of its own.
fn with_box(body: impl FnOnce(&Path, &Store) + Send) {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        body(dir, &store);
        assert_clean(&store, dir);
    });
}

#[test]
fn a_second_mount_is_the_first() {
    with_box(|dir, store| {
        let one = mount(store, "box", RW).unwrap();
        let two = mount(store, "box", RW).unwrap();
        assert_eq!(one.path(), two.path());
        assert_eq!(mounts_below(&dir.join("home")).len(), 1);
        fs::write(path_of(&one).join("x"), "x").unwrap();
        unmount(one);
        assert_eq!(fs::read(path_of(&two).join("x")).unwrap(), b"x");
        unmount(two);
        assert_eq!(mounts_below(&dir.join("home")).len(), 0);
        assert_eq!(names(&layer(dir, "box/upper")), ["x"]);
    });
}

#[test]
fn another_path_is_a_bind() {
    with_box(|dir, store| {
        let other = dir.join("other");
        fs::create_dir(&other).unwrap();
        let one = mount(store, "box", RW).unwrap();
        let two = mount_at(store, "box", RW, &other).unwrap();
        assert_eq!(path_of(&two), other);
        fs::write(other.join("x"), "x").unwrap();
        assert_eq!(fs::read(path_of(&one).join("x")).unwrap(), b"x");
        // Whichever goes first, the other stays.
        unmount(one);
        assert!(other.join("x").exists());
        fails(remove(store, "box"), Errno::BUSY);
        let three = mount(store, "box", RW).unwrap();
        fs::write(path_of(&three).join("y"), "y").unwrap();
        assert!(other.join("y").exists());
        unmount(two);
        unmount(three);
        assert_eq!(names(&other), [""; 0]);
    });
}

#[test]
fn a_read_only_view_of_what_is_mounted_writable() {
    with_box(|dir, store| {
        let other = dir.join("other");
        fs::create_dir(&other).unwrap();
        let one = mount(store, "box", RW).unwrap();
        let view = mount_at(store, "box", RO, &other).unwrap();
        let denied = fs::write(other.join("x"), "x").unwrap_err();
        assert_eq!(denied.raw_os_error(), Some(libc::EROFS));
        fs::write(path_of(&one).join("y"), "y").unwrap();
        assert!(other.join("y").exists());
        unmount(view);
        unmount(one);
    });
}

#[test]
fn options_that_disagree_are_busy() {
    with_box(|_, store| {
        let one = mount(store, "box", RW).unwrap();
        let volatile = mount(store, "box", MountFlags::VOLATILE);
        assert_eq!(fails(volatile.map(drop), Errno::BUSY).code(), Code::Mounted);
        unmount(one);
        let one = mount(store, "box", RO).unwrap();
        fails(mount(store, "box", RW).map(drop), Errno::BUSY);
        unmount(one);
        let both = MountFlags::DETACHED | MountFlags::KEEP;
        fails(mount(store, "box", both).map(drop), Errno::INVAL);
    });
}

#[test]
fn committed_layers_are_views() {
    with_box(|_, store| {
        apply(store, "top", Some("base"), &tar_of("top", b"t")).unwrap();
        for id in ["base", "top"] {
            fails(mount(store, id, RW).map(drop), Errno::ROFS);
            let view = mount(store, id, RO).unwrap();
            let denied = fs::write(path_of(&view).join("x"), "x").unwrap_err();
            assert_eq!(denied.raw_os_error(), Some(libc::EROFS), "{id}");
            // In use: it stays, and so does what it shows.
            let detached = mount(store, id, RO | MountFlags::DETACHED).unwrap();
            unmount(view);
            if id == "top" {
                fails(remove(store, id), Errno::BUSY);
            }
            unmount(detached);
        }
    });
}

#[test]
fn a_kept_mount_stays_until_somebody_ends_it() {
    with_box(|dir, store| {
        let end = |what: &[u8]| store.unmount_at(what, UnmountFlags::empty());
        fails(end(b"box"), Errno::INVAL);
        fails(end(b"none"), Errno::NOENT);
        fails(end(b"no-such/x"), Errno::NOENT);
        fails(end(dir.as_os_str().as_bytes()), Errno::INVAL);
        let kept = mount(store, "box", MountFlags::KEEP).unwrap();
        let path = path_of(&kept);
        fails(end(b"box"), Errno::BUSY);
        drop(kept);
        cleanup(store);
        assert!(path.join("base").exists());
        // One more handle, gone again, changes nothing.
        drop(mount(store, "box", RW).unwrap());
        assert!(path.join("base").exists());
        end(path.as_os_str().as_bytes()).unwrap();
        assert_eq!(names(&path), [""; 0]);
        let other = dir.join("other");
        fs::create_dir(&other).unwrap();
        drop(mount_at(store, "box", MountFlags::KEEP, &other).unwrap());
        end(b"box").unwrap();
        assert_eq!(names(&other), [""; 0]);
    });
}

#[test]
fn a_busy_mount_keeps_its_handle() {
    with_box(|_, store| {
        let mounted = mount(store, "box", RW).unwrap();
        let open = fs::File::open(path_of(&mounted).join("base")).unwrap();
        let (mounted, error) = mounted.unmount(UnmountFlags::empty()).err().unwrap();
        assert_eq!((error.errno(), error.code()), (Errno::BUSY, Code::Mounted));
        assert!(mounted.fd().is_some());
        fs::write(path_of(&mounted).join("x"), "x").unwrap();
        fails(remove(store, "box"), Errno::BUSY);
        drop(open);
        unmount(mounted);
        let mounted = mount(store, "box", RW).unwrap();
        let open = fs::File::open(path_of(&mounted).join("base")).unwrap();
        let lazily = mounted.unmount(UnmountFlags::LAZY);
        lazily.map_err(|(_, error)| error).unwrap();
        // It lives on where nobody sees it, so nobody else may have the upper.
        fails(remove(store, "box"), Errno::BUSY);
        fails(mount(store, "box", RW).map(drop), Errno::BUSY);
        drop(open);
        unmount(mount(store, "box", RW).unwrap());
    });
}

/// A detached mount lives as long as any copy of its descriptor, whatever became of the handle.
#[test]
fn a_descriptor_that_was_passed_on_holds_the_upper() {
    with_box(|_, store| {
        let mounted = mount(store, "box", MountFlags::DETACHED).unwrap();
        assert_eq!(mounted.path(), b"");
        let passed = mounted.fd().unwrap().try_clone_to_owned().unwrap();
        unmount(mounted);
        fails(mount(store, "box", RW).map(drop), Errno::BUSY);
        fails(remove(store, "box"), Errno::BUSY);
        drop(passed);
        unmount(mount(store, "box", RW).unwrap());
    });
}

#[test]
fn what_covers_a_mount_is_not_taken_for_it() {
    with_box(|_, store| {
        let mounted = mount(store, "box", RW).unwrap();
        fsys::mount_tmpfs(&path_of(&mounted), c"mode=755").unwrap();
        let second = mount(store, "box", RW);
        fails(second.map(drop), Errno::BUSY);
        let (mounted, _) = mounted.unmount(UnmountFlags::empty()).err().unwrap();
        fsys::unmount(&path_of(&mounted));
        unmount(mounted);
    });
}

/// Its descriptor stands at the first name: who reads it sees all.
#[test]
fn the_descriptor_of_a_mount_is_read_from_its_begin() {
    with_box(|dir, store| {
        create(store, "box2", None).unwrap();
        for (id, content) in [("box", "box/upper"), ("box2", "box2/root")] {
            fs::write(layer(dir, content).join("x"), "x").unwrap();
            let mounted = mount(store, id, RW).unwrap();
            let fd = mounted.fd().unwrap();
            let names = rustix::fs::Dir::new(rustix::io::dup(fd).unwrap()).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().to_bytes().to_vec());
            assert!(names.collect::<Vec<_>>().contains(&b"x".to_vec()), "{id}");
            unmount(mounted);
        }
    });
}

#[test]
fn a_volatile_mount_marks_the_layer() {
    with_box(|_, store| {
        let mounted = mount(store, "box", MountFlags::VOLATILE).unwrap();
        fs::write(path_of(&mounted).join("x"), "x").unwrap();
        unmount(mounted);
        unmount(mount(store, "box", MountFlags::VOLATILE).unwrap());
        commit(store, "box").unwrap();
        let view = mount(store, "box", RO).unwrap();
        assert_eq!(names(&path_of(&view)), ["base", "x"]);
        unmount(view);
    });
}

#[test]
fn a_label_is_the_kernels_to_take() {
    with_box(|_, store| {
        if Path::new("/sys/fs/selinux/enforce").exists() {
            return;
        }
        let options = MountOptions {
            label: Some(b"system_u:object_r:container_file_t:s0:c1,c2"),
            ..Default::default()
        };
        let error = store.mount(b"box", &options).err().unwrap();
        assert_eq!(error.errno(), Errno::INVAL, "{error}");
        assert!(error.to_string().contains("context"), "{error}");
    });
}

pub fn child_holds(dir: &Path, words: &[&str]) {
    let store = store(dir);
    let flags = match words[0] {
        "kept" => MountFlags::KEEP,
        "detached" => MountFlags::DETACHED,
        _ => RW,
    };
    let mounted = mount(&store, "box", flags).unwrap();
    if let Some(fd) = mounted.fd() {
        let file = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        rustix::fs::openat(fd, "by-the-child", file, 0o644.into()).unwrap();
    }
    child::wait_for_the_end();
}

#[test]
fn two_processes_share_a_mount() {
    with_box(|dir, store| {
        let other = child::ready(child::command(dir, "hold held"));
        let mounted = mount(store, "box", RW).unwrap();
        assert!(path_of(&mounted).join("by-the-child").exists());
        assert_eq!(mounts_below(&dir.join("home")).len(), 1);
        child::kill(other);
        assert!(path_of(&mounted).join("by-the-child").exists());
        unmount(mounted);
    });
}

#[test]
fn what_a_killed_process_held_is_ended() {
    with_box(|dir, store| {
        type End = fn(&Store) -> ovl::error::Result<()>;
        let ends: [End; 4] = [
            |s| mount(s, "box", RW).map(unmount),
            |s| s.cleanup(&mut Watch::default()).map(drop),
            |s| s.unmount_at(b"box", UnmountFlags::empty()),
            |s| remove(s, "box"),
        ];
        for end in ends {
            let other = child::ready(child::command(dir, "hold held"));
            fails(remove(store, "box"), Errno::BUSY);
            assert_eq!(cleanup(store).unmounted, 0);
            child::kill(other);
            assert_eq!(mounts_below(&dir.join("home")).len(), 1);
            end(store).unwrap();
            assert_eq!(mounts_below(&dir.join("home")).len(), 0);
        }
    });
}

#[test]
fn a_killed_process_with_a_kept_or_detached_mount() {
    with_box(|dir, store| {
        let other = child::ready(child::command(dir, "hold detached"));
        fails(mount(store, "box", RW).map(drop), Errno::BUSY);
        child::kill(other);
        unmount(mount(store, "box", RW).unwrap());
        child::kill(child::ready(child::command(dir, "hold kept")));
        assert_eq!(cleanup(store).unmounted, 0);
        fails(remove(store, "box"), Errno::BUSY);
        settled(|| store.unmount_at(b"box", UnmountFlags::empty()));
    });
}

#[test]
fn a_holder_in_another_mount_namespace() {
    with_box(|dir, store| {
        let unshare = ["unshare", "--mount", "--propagation", "private"];
        let other = child::ready(child::wrapped(&unshare, dir, "hold held"));
        let error = fails(mount(store, "box", RW).map(drop), Errno::BUSY);
        assert!(error.message().contains("descriptor"), "{error}");
        fails(remove(store, "box"), Errno::BUSY);
        child::kill(other);
        unmount(mount(store, "box", RW).unwrap());
        assert_eq!(names(&layer(dir, "box/pin")), [""; 0]);
    });
}

#[test]
fn a_writable_root_is_its_own_mount() {
    with_box(|dir, store| {
        create(store, "plain", None).unwrap();
        let one = mount(store, "plain", RW).unwrap();
        let two = mount(store, "plain", RW).unwrap();
        assert_eq!(path_of(&one), layer(dir, "plain/root"));
        assert_eq!(one.path(), two.path());
        unmount(one);
        fails(commit(store, "plain"), Errno::BUSY);
        let other = dir.join("other");
        fs::create_dir(&other).unwrap();
        let bound = mount_at(store, "plain", RW, &other).unwrap();
        fs::write(other.join("x"), "x").unwrap();
        unmount(bound);
        unmount(two);
        let view = mount(store, "plain", RO).unwrap();
        let denied = fs::write(path_of(&view).join("y"), "y").unwrap_err();
        assert_eq!(denied.raw_os_error(), Some(libc::EROFS));
        unmount(view);
        commit(store, "plain").unwrap();
    });
}

/// A writable `root` is mounted as itself: ending that is nothing, but not an error either.
#[test]
fn a_writable_root_is_unmounted_as_it_is_mounted() {
    with_box(|_, store| {
        let watch = &mut Watch::default();
        store
            .create(b"plain", None, CreateFlags::empty(), watch)
            .unwrap();
        let kept = MountOptions {
            flags: MountFlags::KEEP,
            ..Default::default()
        };
        let mount = store.mount(b"plain", &kept).unwrap();
        let error = store
            .unmount_at(b"plain", UnmountFlags::empty())
            .unwrap_err();
        assert_eq!(error.errno(), Errno::BUSY);
        drop(mount);
        settled(|| store.unmount_at(b"plain", UnmountFlags::empty()));
        let label = MountOptions {
            label: Some(b"system_u:object_r:container_file_t:s0"),
            ..Default::default()
        };
        assert_eq!(
            store.mount(b"plain", &label).err().unwrap().errno(),
            Errno::OPNOTSUPP
        );
        let flat = store
            .create(b"flat", None, CreateFlags::FLAT, watch)
            .unwrap_err();
        assert_eq!(flat.errno(), Errno::INVAL);
    });
}

/// A pin is a number, and numbers come back: what it names must be a mount of the layer.
#[test]
fn a_stale_pin_ends_nobody_elses_mount() {
    with_box(|dir, store| {
        let strange = dir.join("strange");
        fs::create_dir(&strange).unwrap();
        fsys::mount_tmpfs(&strange, c"size=1m").unwrap();
        let root = fs::File::open(&strange).unwrap();
        let id = ovl::mount::identity(std::os::fd::AsFd::as_fd(&root)).unwrap();
        drop(root);
        let name = format!("{}.{}", id.id, ovl::mount::namespace_id().unwrap());
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        for boot in [boot.trim(), "another-boot"] {
            let text = format!(
                "mode=held\nview=rw\nvolatile=0\nunique={}\nlabel=\nboot={boot}\n",
                u8::from(id.unique)
            );
            let pin = dir.join("home/layer/box/pin").join(&name);
            fs::write(&pin, text).unwrap();
            store.cleanup(&mut Watch::default()).unwrap();
            assert!(!pin.exists(), "a pin of nothing stays");
            let there = fs::metadata(&strange).unwrap();
            let above = fs::metadata(dir).unwrap();
            use std::os::unix::fs::MetadataExt;
            assert_ne!(there.dev(), above.dev(), "the stranger was unmounted");
        }
    });
}

/// Somebody who builds on the parent relies on the hint of the name that he makes.
#[test]
fn a_hint_stays_while_somebody_builds_on_the_parent() {
    with_box(|dir, store| {
        let watch = &mut Watch::default();
        let hint = dir.join("home/layer/base/child/box");
        assert!(hint.exists());
        let shared = rustix::fs::FlockOperation::LockShared;
        let parent = fsys::Locked::new(&dir.join("home/layer/base"), shared);
        store.remove(b"box", RemoveFlags::empty(), watch).unwrap();
        assert!(hint.exists(), "the hint went under a builder");
        drop(parent);
        store
            .create(b"box", Some(b"base"), CreateFlags::empty(), watch)
            .unwrap();
        store.remove(b"box", RemoveFlags::empty(), watch).unwrap();
        assert!(!hint.exists(), "a hint of nothing stays");
    });
}
