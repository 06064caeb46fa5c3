//! Bind, attach, unmount.

use super::*;
use crate::error::{Code, Errno};
use crate::mount::{
    attach, bind, find, identity, is_mount_root, mounts_below, overlay, unmount_at, unmount_path,
};
use crate::sys::mount_testing::{Denied, isolated};

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
fn a_read_only_bind_without_mount_setattr() {
    if lacks_overlay("a_read_only_bind_without_mount_setattr") {
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
            touch(&dir, "made").unwrap();
            layers.assert_scratch_empty();
            let after = std::fs::read("/proc/thread-self/mountinfo").unwrap();
            assert_eq!(before, after);
        },
    );
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
        unmount_at(base.as_fd(), b"merged", id, false).unwrap();
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
