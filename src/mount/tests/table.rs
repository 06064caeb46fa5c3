//! The mount table, by both ways to read it.

use super::*;
use crate::error::Errno;
use crate::mount::table::parse_line;
use crate::mount::{Found, attach, bind, find, identity, mounts_below, namespace_id, overlay};
use crate::sys::mount_testing::{Denied, isolated, private_mounts};

const SYS_STATMOUNT: libc::c_long = libc::SYS_mount_setattr + 15;
const SYS_LISTMOUNT: libc::c_long = libc::SYS_mount_setattr + 16;

fn without_statmount() -> [Denied; 2] {
    [
        Denied::all(SYS_STATMOUNT, Errno::NOSYS),
        Denied::all(SYS_LISTMOUNT, Errno::NOSYS),
    ]
}

/// Mounts an overlay and, below it, a read-only bind; tells what both ways to look see.
fn look(layers: &Layers) -> (Vec<Found>, Option<Found>, Option<Found>) {
    let made = overlay(&Overlay {
        source: b"a source".to_vec(),
        ..layers.writable()
    })
    .unwrap();
    rustix::fs::mkdirat(&made.fd, "below it", Mode::RWXU).unwrap();
    let merged = open_path(layers.base.join("merged"));
    attach(made.fd.as_fd(), merged.as_fd()).unwrap();
    let read_only = bind(layers.work.as_fd(), true, None).unwrap();
    let place = open_path(layers.base.join("merged/below it"));
    attach(read_only.as_fd(), place.as_fd()).unwrap();
    // A name that only begins the same.
    std::fs::create_dir_all(layers.base.join("merged2")).unwrap();
    let beside = bind(layers.work.as_fd(), true, None).unwrap();
    attach(
        beside.as_fd(),
        open_path(layers.base.join("merged2")).as_fd(),
    )
    .unwrap();
    (
        mounts_below(merged.as_fd()).unwrap(),
        find(identity(made.fd.as_fd()).unwrap()).unwrap(),
        find(identity(read_only.as_fd()).unwrap()).unwrap(),
    )
}

fn assert_seen(layers: &Layers, seen: (Vec<Found>, Option<Found>, Option<Found>)) {
    use std::os::unix::ffi::OsStrExt;
    let (below, overlay, bound) = seen;
    let (overlay, bound) = (overlay.unwrap(), bound.unwrap());
    let merged = layers.base.join("merged");
    assert_eq!(overlay.path, merged.as_os_str().as_bytes());
    assert_eq!(bound.path, merged.join("below it").as_os_str().as_bytes());
    assert_eq!(overlay.fs_type, b"overlay");
    assert_eq!(overlay.source, b"a source");
    assert!(!overlay.read_only);
    assert!(bound.read_only);
    assert_ne!(overlay.dev, (0, 0));
    let place = |mount: &Found| (mount.path.clone(), mount.dev, mount.read_only);
    let places: Vec<_> = below.iter().map(place).collect();
    assert_eq!(places, [place(&overlay), place(&bound)]);
}

#[test]
fn by_statmount() {
    if lacks_overlay("by_statmount") {
        return;
    }
    isolated(&[], || {
        let layers = Layers::new(1);
        let seen = look(&layers);
        if !seen.1.as_ref().is_some_and(|found| found.id.unique) {
            return skip("by_statmount", "statmount");
        }
        assert!(seen.0.iter().all(|found| found.id.unique));
        assert_seen(&layers, seen);
    });
}

#[test]
fn by_mountinfo() {
    if lacks_overlay("by_mountinfo") {
        return;
    }
    isolated(&without_statmount(), || {
        let layers = Layers::new(1);
        let seen = look(&layers);
        assert!(seen.0.iter().all(|found| !found.id.unique));
        // These too can be looked up.
        for found in &seen.0 {
            assert_eq!(find(found.id).unwrap().as_ref(), Some(found));
        }
        assert_seen(&layers, seen);
        let gone = {
            let mount = bind(layers.upper.as_fd(), false, None).unwrap();
            identity(mount.as_fd()).unwrap()
        };
        assert_eq!(find(gone).unwrap(), None);
    });
}

#[test]
fn everything_is_below_the_root() {
    isolated_if_root("everything_is_below_the_root", || {
        let root = open_path("/");
        let lines = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let below = mounts_below(root.as_fd()).unwrap();
        assert_eq!(below.len(), lines.lines().count());
    });
}

#[test]
fn namespaces_differ() {
    isolated_if_root("namespaces_differ", || {
        let outer = namespace_id().unwrap();
        assert_eq!(namespace_id().unwrap(), outer);
        let inner = isolated(&[], || namespace_id().unwrap());
        assert_ne!(inner, outer);
        // Each thread has its own answer.
        let moved = std::thread::spawn(|| {
            let before = namespace_id().unwrap();
            private_mounts();
            (before, namespace_id().unwrap())
        })
        .join()
        .unwrap();
        assert_eq!(moved.0, outer);
        assert_ne!(moved.1, outer);
        assert_eq!(namespace_id().unwrap(), outer);
    });
}

fn isolated_if_root(test: &str, work: impl FnOnce() + Send) {
    if lacks_overlay(test) {
        return;
    }
    isolated(&[], work);
}

#[test]
fn lines_of_mountinfo() {
    let line = b"36 35 98:0 /a /mnt\\040two\\134\\012 rw,noatime master:1 shared:2 - ext3 /dev/my\\054root rw,ro_not";
    let found = parse_line(line).unwrap();
    assert_eq!((found.id.id, found.id.unique), (36, false));
    assert_eq!(found.path, b"/mnt two\\\n");
    assert_eq!(found.dev, (98, 0));
    assert_eq!(found.fs_type, b"ext3");
    assert_eq!(found.source, b"/dev/my,root");
    assert!(!found.read_only);
    let ro = parse_line(b"1 1 0:1 / /x rw - tmpfs none ro,size=1").unwrap();
    assert!(ro.read_only);
    // What is no octal number stays as it is.
    let odd = parse_line(b"1 1 0:1 / /x\\9\\400\\04 ro - t s rw").unwrap();
    assert_eq!(
        (odd.path.as_slice(), odd.read_only),
        (&b"/x\\9\\400\\04"[..], true)
    );
    for bad in [
        &b""[..],
        b"1 1 0:1 / /x rw shared:1",
        b"x 1 0:1 / /x rw - t s o",
    ] {
        assert_eq!(parse_line(bad), None);
    }
}
