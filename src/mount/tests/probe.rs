//! The probe: what it says must be so, and it leaves nothing.

use super::*;
use crate::error::Errno;
use crate::mount::probe::{Probe, probe, probe_upper};
use crate::sys::mount_testing::{Denied, isolated};

/// Probes, and checks that nothing is left: not in the directory, not in the mount table.
fn run(scratch: &Path) -> Probe {
    let mounts = || std::fs::read("/proc/thread-self/mountinfo").unwrap();
    let before = mounts();
    let answer = probe(open(scratch).as_fd()).unwrap();
    assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 0);
    assert_eq!(mounts(), before);
    for (name, capability) in answer.capabilities() {
        assert_eq!(capability.ok, capability.reason.is_empty(), "{name}");
    }
    answer
}

fn refused(answer: &Probe) -> Vec<&'static str> {
    let all = answer.capabilities();
    all.iter()
        .filter(|(_, capability)| !capability.ok)
        .map(|(name, _)| *name)
        .collect()
}

#[test]
fn here() {
    if lacks_overlay("here") {
        return;
    }
    isolated(&[], || {
        let base = tempfile::tempdir().unwrap();
        let answer = run(base.path());
        let fs = rustix::fs::statfs(base.path()).unwrap().f_type;
        if fs != 0xef53 {
            return skip("here", "ext4");
        }
        assert_eq!(answer.marks(), Some(Marks::Trusted));
        for needed in [&answer.openat2, &answer.d_type, &answer.rename_exchange] {
            assert!(needed.ok, "{answer:#?}");
        }
        assert!(!answer.reflink.ok, "ext4 has no reflinks");
        assert!(answer.reflink.reason.contains("FICLONE"), "{answer:#?}");
    });
}

#[test]
fn on_tmpfs() {
    if lacks_overlay("on_tmpfs") {
        return;
    }
    isolated(&[], || {
        let base = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", base.path(), "tmpfs", flags, None).unwrap();
        let answer = run(base.path());
        assert!(answer.overlay_trusted.ok, "{answer:#?}");
        assert!(!answer.reflink.ok);
        rustix::mount::unmount(base.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}

/// An upper on an overlay is refused; files and read-only overlays work.
#[test]
fn on_an_overlay() {
    if lacks_overlay("on_an_overlay") {
        return;
    }
    isolated(&[], || {
        let layers = Layers::new(1);
        let made = crate::mount::overlay(&layers.writable()).unwrap();
        let merged = open_path(layers.base.join("merged"));
        crate::mount::attach(made.fd.as_fd(), merged.as_fd()).unwrap();
        let scratch = layers.base.join("merged/scratch");
        std::fs::create_dir(&scratch).unwrap();
        let answer = run(&scratch);
        assert_eq!(answer.marks(), None);
        for none in [
            &answer.overlay_trusted,
            &answer.overlay_user,
            &answer.oracle,
        ] {
            assert!(!none.ok, "{answer:#?}");
        }
        for is in [
            &answer.openat2,
            &answer.rename_noreplace,
            &answer.bind_read_only,
        ] {
            assert!(is.ok, "{answer:#?}");
        }
        let marks = probe_upper(open(&scratch).as_fd(), Marks::Trusted).unwrap();
        assert!(
            !marks.ok && marks.reason.contains("not supported as upperdir"),
            "{marks:?}"
        );
    });
}

#[test]
fn what_is_filtered_is_missing() {
    if lacks_overlay("what_is_filtered_is_missing") {
        return;
    }
    isolated(&[], || {
        let base = tempfile::tempdir().unwrap();
        let all = refused(&run(base.path()));
        for (call, gone) in [
            (
                libc::SYS_fsopen,
                &["by_descriptor", "by_string", "oracle"][..],
            ),
            (libc::SYS_mount, &["by_mount"]),
            (libc::SYS_mount_setattr, &["bind_read_only"]),
            (libc::SYS_move_mount, &["attach"]),
            (libc::SYS_mount_setattr + 15, &["statmount"]),
            (libc::SYS_copy_file_range, &["copy_file_range"]),
            (libc::SYS_openat2, &["openat2"]),
            (
                libc::SYS_renameat2,
                &["rename_exchange", "rename_noreplace"],
            ),
            (libc::SYS_mknodat, &["whiteout_nodes"]),
            (libc::SYS_fsetxattr, &["trusted_xattrs", "user_xattrs"]),
        ] {
            let now = isolated(&[Denied::all(call, Errno::NOSYS)], || {
                refused(&run(base.path()))
            });
            let mut wanted = all.clone();
            wanted.extend(gone);
            let sorted = |mut names: Vec<&'static str>| {
                names.sort_unstable();
                names
            };
            assert_eq!(sorted(now), sorted(wanted), "without call {call}");
        }
    });
}

#[test]
fn in_a_user_namespace() {
    if !lacks_overlay("in_a_user_namespace") && !in_user_namespace("probe::inside_user_namespace") {
        skip("in_a_user_namespace", "userns");
    }
}

/// Run by [`in_a_user_namespace`].
#[test]
#[ignore = "for a user namespace"]
fn inside_user_namespace() {
    let base = tempfile::tempdir().unwrap();
    let answer = run(base.path());
    assert_eq!(answer.marks(), Some(Marks::User), "{answer:#?}");
    assert!(!answer.trusted_xattrs.ok);
    assert!(!answer.overlay_trusted.ok);
    assert!(
        answer.volatile.ok && answer.oracle.ok && answer.by_descriptor.ok,
        "{answer:#?}"
    );
}
