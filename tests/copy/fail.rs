//! A copy that fails leaves things as they were.

use crate::support::fsys;
use crate::support::torture;
use crate::support::tree::{Compare, Snapshot};
use crate::{copy, names, plain};
use ovl::error::{Code, Errno};
use ovl::tree::{CopyFlags, Reflink, copy_dir};
use ovl::watch::{Cancel, Progress, Watch};
use rustix::fs::CWD;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An empty directory with attributes of every sort.
fn decorated(dir: &Path) -> std::path::PathBuf {
    let dst = dir.join("place/empty");
    fs::create_dir_all(&dst).unwrap();
    std::os::unix::fs::chown(&dst, Some(21), Some(22)).unwrap();
    xattr::set(&dst, "system.posix_acl_access", &torture::named_acl()).unwrap();
    xattr::set(&dst, "system.posix_acl_default", &torture::named_acl()).unwrap();
    xattr::set(&dst, "user.mine", b"kept").unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&dst, fs::Permissions::from_mode(0o3775)).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1234, 5678);
    let file = fs::File::open(&dst).unwrap();
    file.set_times(fs::FileTimes::new().set_modified(old).set_accessed(old))
        .unwrap();
    dst
}

#[test]
fn a_full_disk() {
    require!("root", "tmpfs");
    fsys::with_mounts(|base| {
        let src = base.join("src");
        fs::create_dir_all(src.join("sub")).unwrap();
        for i in 0..64 {
            fs::write(src.join(format!("sub/{i}")), torture::pattern(65_536)).unwrap();
        }
        let small = base.join("small");
        fs::create_dir(&small).unwrap();
        fsys::mount_tmpfs(&small, c"size=1m,mode=755").unwrap();
        decorated(&small);
        let before = Snapshot::of(&small);
        for dst in ["new", "place/empty"] {
            let error = plain(&src, &small.join(dst)).unwrap_err();
            assert_eq!(error.errno(), Errno::NOSPC);
            before.assert_same(
                &Snapshot::of(&small),
                Compare {
                    root: false,
                    ..Compare::default()
                },
            );
        }
    });
}

#[test]
fn cancelling_and_callbacks_stop_it_half_way() {
    fsys::each(&["ext4", "xfs", "btrfs", "tmpfs"], |_, dir| {
        let src = dir.join("src");
        fs::create_dir(&src).unwrap();
        torture::build(&src);
        decorated(dir);
        let before = Snapshot::of(&dir.join("place"));
        for flags in [CopyFlags::empty(), CopyFlags::HARD_LINK] {
            for dst in ["place/new", "place/empty"] {
                let options = crate::options(flags, Reflink::Auto);
                let dst = dir.join(dst);
                let go = |watch: &mut Watch<'_>| {
                    let (src, dst) = (src.as_os_str().as_bytes(), dst.as_os_str().as_bytes());
                    copy_dir(CWD, src, CWD, dst, &options, watch).unwrap_err()
                };
                let cancel = Cancel::new();
                let mut seen = 0;
                let mut raise = |now: &Progress| {
                    seen = now.entries;
                    cancel.trigger();
                    0
                };
                let error = go(&mut Watch::new(Some(&cancel), Some(&mut raise)));
                assert_eq!(
                    (error.errno(), error.code()),
                    (Errno::CANCELED, Code::Cancelled)
                );
                assert!(seen > 0, "stopped before anything was made");
                let error = go(&mut Watch::new(None, Some(&mut |_| 7)));
                assert_eq!(error.errno(), Errno::CANCELED);
                assert_eq!(error.said_by_callback(), 7);
                let how = Compare {
                    root: false,
                    ..Compare::default()
                };
                before.assert_same(&Snapshot::of(&dir.join("place")), how);
            }
        }
        assert_eq!(names(&dir.join("place")), ["empty"]);
    });
}

/// The root's attributes come last of all; a strict copy may fail even there.
#[test]
fn strict_fails_at_the_very_end() {
    require!("root", "tmpfs");
    fsys::with_mounts(|base| {
        let src = base.join("src");
        fs::create_dir(&src).unwrap();
        fs::write(src.join("file"), "x").unwrap();
        xattr::set(&src, "user.here", b"but not there").unwrap();
        let there = base.join("ramfs");
        fs::create_dir(&there).unwrap();
        let none = rustix::mount::MountFlags::empty();
        rustix::mount::mount("ramfs", &there, "ramfs", none, None).unwrap();
        let dst = there.join("empty");
        fs::create_dir(&dst).unwrap();
        std::os::unix::fs::chown(&dst, Some(21), Some(22)).unwrap();
        fs::set_permissions(&dst, std::os::unix::fs::PermissionsExt::from_mode(0o3751)).unwrap();
        let before = Snapshot::of(&there);
        for name in ["empty", "new"] {
            let error = copy(&src, &there.join(name), CopyFlags::STRICT, Reflink::Auto);
            assert_eq!(error.unwrap_err().errno(), Errno::OPNOTSUPP);
            let how = Compare {
                root: false,
                ..Compare::default()
            };
            before.assert_same(&Snapshot::of(&there), how);
        }
        let stats = plain(&src, &dst).unwrap();
        assert_eq!(stats.partial.xattrs, 1);
    });
}
