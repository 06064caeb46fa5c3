//! Bind, attach, unmount.

use super::*;
use crate::error::{Code, Errno};
use crate::mount::{
    attach, attach_at_path, bind, find, identity, is_mount_root, mounts_below, overlay, unmount_at,
    unmount_path,
};
use crate::sys::mount_testing::{Denied, isolated};
use rustix::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

#[test]
fn a_bind_is_the_directory_itself() {
    if lacks_overlay("a_bind_is_the_directory_itself") {
        return;
    }
    let layers = Layers::new(1);
    let dir = open(layers.base.join("lower/0"));
    let writable = bind(dir.as_fd(), false, None).unwrap();
    touch(&writable, "made").unwrap();
    assert!(exists(&dir, "made"));
    assert!(is_mount_root(writable.as_fd()).unwrap());
    assert!(!is_mount_root(dir.as_fd()).unwrap());

    let read_only = bind(dir.as_fd(), true, None).unwrap();
    assert_eq!(touch(&read_only, "other"), Err(Errno::ROFS));
    assert_eq!(read(&read_only, "who"), "0");
    // The other clone is not concerned.
    touch(&writable, "other").unwrap();
}

#[test]
fn a_bind_without_mount_setattr() {
    if lacks_overlay("a_bind_without_mount_setattr") {
        return;
    }
    isolated(
        &[Denied::all(libc::SYS_mount_setattr, Errno::NOSYS)],
        || {
            let layers = Layers::new(1);
            let dir = open(layers.base.join("lower/0"));
            let error = bind(dir.as_fd(), true, None).unwrap_err();
            assert_eq!(error.errno(), Errno::OPNOTSUPP);
            assert_eq!(error.code(), Code::Unsupported);

            let before = std::fs::read("/proc/thread-self/mountinfo").unwrap();
            let mount = bind(dir.as_fd(), true, Some(layers.scratch.as_fd())).unwrap();
            assert_eq!(touch(&mount, "made"), Err(Errno::ROFS));
            assert_eq!(read(&mount, "who"), "0");
            let mount = bind(dir.as_fd(), false, Some(layers.scratch.as_fd())).unwrap();
            touch(&mount, "made").unwrap();
            assert!(exists(&dir, "made"));
            layers.assert_scratch_empty();
            let after = std::fs::read("/proc/thread-self/mountinfo").unwrap();
            assert_eq!(before, after);
        },
    );
}

/// What is mounted in the directory later does not show in the view, nor the other way round.
#[test]
fn a_view_is_private() {
    if lacks_overlay("a_view_is_private") {
        return;
    }
    for denied in [
        vec![],
        vec![
            Denied::all(libc::SYS_mount_setattr, Errno::NOSYS),
            Denied::all(libc::SYS_fsopen, Errno::NOSYS),
        ],
    ] {
        isolated(&denied, || {
            let base = tempfile::tempdir().unwrap();
            let flags = rustix::mount::MountFlags::empty();
            let tmpfs = |at: &Path| rustix::mount::mount("tmpfs", at, "tmpfs", flags, None);
            tmpfs(base.path()).unwrap();
            let shared = rustix::mount::MountPropagationFlags::SHARED;
            rustix::mount::mount_change(base.path(), shared).unwrap();
            let layers = Layers::below(base.path().to_path_buf(), 2);
            for name in ["from", "to"] {
                std::fs::create_dir(layers.base.join("lower/0").join(name)).unwrap();
            }
            let mut views = Vec::new();
            for read_only in [false, true] {
                let dir = open(layers.base.join("lower/0"));
                let scratch = Some(layers.scratch.as_fd());
                views.push(bind(dir.as_fd(), read_only, scratch).unwrap());
            }
            views.push(overlay(&layers.view()).unwrap().fd);
            // Attached, the view is shared as its new surroundings are, but no peer of its source.
            let merged = layers.base.join("merged");
            attach(views[0].as_fd(), open_path(&merged).as_fd()).unwrap();
            let place = layers.base.join("lower/0/to");
            tmpfs(&place).unwrap();
            std::fs::write(place.join("later"), "").unwrap();
            for view in &views {
                assert!(exists(view, "to"));
                assert!(!exists(view, "to/later"));
            }
            assert!(!merged.join("to/later").exists());
            tmpfs(&merged.join("from")).unwrap();
            std::fs::write(merged.join("from/later"), "").unwrap();
            assert!(!layers.base.join("lower/0/from/later").exists());
            drop((views, layers));
            rustix::mount::unmount(base.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
        });
    }
}

/// What covered the target ends between its opening and the attaching.
#[test]
fn attached_where_a_mount_just_ended() {
    if lacks_overlay("attached_where_a_mount_just_ended") {
        return;
    }
    isolated(&[], || {
        let layers = Layers::new(2);
        let merged = layers.base.join("merged");
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", &merged, "tmpfs", flags, None).unwrap();
        let target = OwnedFd::from(std::fs::File::open(&merged).unwrap());
        rustix::mount::unmount(&merged, rustix::mount::UnmountFlags::DETACH).unwrap();
        let made = overlay(&layers.writable()).unwrap();
        let error = attach(made.fd.as_fd(), target.as_fd()).unwrap_err();
        assert!(matches!(error.errno(), Errno::NOENT | Errno::INVAL));
        let path = merged.as_os_str().as_bytes();
        attach_at_path(made.fd.as_fd(), &target, path).unwrap();
        let inside = open_path(&merged);
        let id = identity(made.fd.as_fd()).unwrap();
        assert_eq!(identity(inside.as_fd()).unwrap(), id);
        drop(inside);
        // A target that is gone stays an error.
        let gone = layers.base.join("gone");
        std::fs::create_dir(&gone).unwrap();
        let target = OwnedFd::from(std::fs::File::open(&gone).unwrap());
        std::fs::remove_dir(&gone).unwrap();
        let other = overlay(&layers.view()).unwrap();
        let path = gone.as_os_str().as_bytes();
        let error = attach_at_path(other.fd.as_fd(), &target, path).unwrap_err();
        assert_eq!(error.errno(), Errno::NOENT);
    });
}

#[test]
fn attached_then_unmounted() {
    if lacks_overlay("attached_then_unmounted") {
        return;
    }
    isolated(&[], || {
        let layers = Layers::new(2);
        let made = overlay(&layers.writable()).unwrap();
        let id = identity(made.fd.as_fd()).unwrap();
        let base = open(&layers.base);
        let merged = open_path(layers.base.join("merged"));
        assert_eq!(find(id).unwrap(), None);
        attach(made.fd.as_fd(), merged.as_fd()).unwrap();

        assert_eq!(find(id).unwrap().unwrap().id, id);
        // Both ways lead to the same mount.
        touch(&made.fd, "made").unwrap();
        assert!(layers.base.join("merged/made").exists());
        let inside = open_path(layers.base.join("merged"));
        assert_eq!(identity(inside.as_fd()).unwrap(), id);
        drop(inside);

        let error = unmount_at(base.as_fd(), b"merged", id, false).unwrap_err();
        assert_eq!(error.errno(), Errno::BUSY, "its descriptor is open");
        drop(made);
        // What another test starts has a copy of it until it execs.
        let start = std::time::Instant::now();
        while let Err(error) = unmount_at(base.as_fd(), b"merged", id, false) {
            assert_eq!(error.errno(), Errno::BUSY);
            assert!(start.elapsed().as_secs() < 20, "{error}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(find(id).unwrap(), None);
        let error = unmount_at(base.as_fd(), b"merged", id, false).unwrap_err();
        assert_eq!(error.errno(), Errno::INVAL);
    });
}

#[test]
fn never_another_mount() {
    if lacks_overlay("never_another_mount") {
        return;
    }
    isolated(&[], || {
        let layers = Layers::new(2);
        let base = open(&layers.base);
        let merged = open_path(layers.base.join("merged"));
        let mine = overlay(&layers.view()).unwrap();
        let other = bind(layers.upper.as_fd(), false, None).unwrap();
        let (mine_id, other_id) = (
            identity(mine.fd.as_fd()).unwrap(),
            identity(other.as_fd()).unwrap(),
        );
        attach(mine.fd.as_fd(), merged.as_fd()).unwrap();
        let on_top = open_path(layers.base.join("merged"));
        attach(other.as_fd(), on_top.as_fd()).unwrap();
        drop(on_top);

        for lazy in [false, true] {
            let error = unmount_at(base.as_fd(), b"merged", mine_id, lazy).unwrap_err();
            assert_eq!(error.errno(), Errno::BUSY);
            assert_eq!(error.code(), Code::Mounted);
        }
        let there: Vec<_> = mounts_below(merged.as_fd()).unwrap();
        let ids: Vec<_> = there.iter().map(|mount| mount.id).collect();
        assert_eq!(ids, [mine_id, other_id]);

        // From the top down, backwards through the list.
        drop((mine, other));
        for id in ids.into_iter().rev() {
            unmount_at(base.as_fd(), b"merged", id, false).unwrap();
        }
        assert_eq!(mounts_below(merged.as_fd()).unwrap(), []);
    });
}

#[test]
fn unmounted_by_path() {
    if lacks_overlay("unmounted_by_path") {
        return;
    }
    isolated(&[], || {
        let layers = Layers::new(2);
        let odd = layers.base.join("odd name,\\134:\n");
        std::fs::create_dir(&odd).unwrap();
        use std::os::unix::ffi::OsStrExt;
        for (suffix, lazy) in [("", false), ("//", true)] {
            let mount = bind(layers.upper.as_fd(), false, None).unwrap();
            let id = identity(mount.as_fd()).unwrap();
            attach(mount.as_fd(), open_path(&odd).as_fd()).unwrap();
            assert_eq!(find(id).unwrap().unwrap().path, odd.as_os_str().as_bytes());
            if !lazy {
                drop(mount);
            }
            let path = [odd.as_os_str().as_bytes(), suffix.as_bytes()].concat();
            unmount_path(&path, id, lazy).unwrap();
            assert_eq!(find(id).unwrap(), None);
        }
        // A link to a mount is not the mount.
        let mount = bind(layers.upper.as_fd(), false, None).unwrap();
        let id = identity(mount.as_fd()).unwrap();
        attach(mount.as_fd(), open_path(&odd).as_fd()).unwrap();
        let link = layers.base.join("link");
        std::os::unix::fs::symlink(&odd, &link).unwrap();
        let error = unmount_path(link.as_os_str().as_bytes(), id, true).unwrap_err();
        assert_eq!(error.errno(), Errno::INVAL);
        assert_eq!(error.path(), link.as_os_str().as_bytes());
        for path in [&b"/"[..], b"..", b"", b"x/.."] {
            assert_eq!(
                unmount_path(path, id, true).unwrap_err().errno(),
                if path == b"x/.." {
                    Errno::NOENT
                } else {
                    Errno::INVAL
                }
            );
        }
    });
}
