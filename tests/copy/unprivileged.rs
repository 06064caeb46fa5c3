//! Copies by a caller without privilege: what he may not set is counted, or refused by strict.

use crate::support::fsys;
use crate::support::tree::{Compare, Snapshot};
use crate::{copy, linked, names, plain};
use ovl::error::Errno;
use ovl::tree::{CopyFlags, Reflink};
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::{Gid, Uid};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

const NOBODY: u32 = 65_534;

/// Gives up root; for this thread alone, and with its capabilities.
pub fn become_nobody() {
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    rustix::thread::set_thread_groups(&[gid]).unwrap();
    rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
    rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn node(path: &Path, kind: FileType, minor: u32) {
    let dev = rustix::fs::makedev(u32::from(minor > 0), minor);
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), dev).unwrap();
}

/// Four things of the caller's own, and others that he can only copy in part.
fn source(dir: &Path) -> std::path::PathBuf {
    let src = dir.join("src");
    fs::create_dir_all(src.join("own-dir")).unwrap();
    for name in [
        "own",
        "own-dir/read-only",
        "foreign",
        "caps",
        "foreign-set-id",
    ] {
        fs::write(src.join(name), name).unwrap();
    }
    symlink("own", src.join("foreign-link")).unwrap();
    node(&src.join("own-fifo"), FileType::Fifo, 0);
    node(&src.join("own-socket"), FileType::Socket, 0);
    node(&src.join("own-whiteout"), FileType::CharacterDevice, 0);
    node(&src.join("device"), FileType::CharacterDevice, 3);
    fs::hard_link(src.join("device"), src.join("own-dir/device")).unwrap();
    for name in [
        "",
        "own",
        "own-dir",
        "own-dir/read-only",
        "caps",
        "device",
        "own-fifo",
    ] {
        chown(src.join(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    for name in ["own-socket", "own-whiteout"] {
        chown(src.join(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    mode(&src.join("own"), 0o6755);
    mode(&src.join("own-dir/read-only"), 0o444);
    mode(&src.join("foreign-set-id"), 0o6755);
    mode(&src.join("own-dir"), 0o555);
    xattr::set(src.join("own"), "user.mine", b"value").unwrap();
    xattr::set(src.join("own-dir"), "user.mine", b"value").unwrap();
    let caps = crate::support::torture::capability(None);
    xattr::set(src.join("caps"), "security.capability", &caps).unwrap();
    xattr::set(src.join("caps"), "trusted.unseen", b"not listed").unwrap();
    src
}

#[test]
fn what_cannot_be_set_is_counted() {
    fsys::each(&["ext4", "tmpfs"], |_, dir| {
        let src = source(dir);
        mode(dir, 0o777);
        let before = Snapshot::of(&src);
        fsys::on_thread(|| {
            become_nobody();
            let stats = plain(&src, &dir.join("dst")).unwrap();
            assert_eq!(stats.partial.owners, 3);
            assert_eq!(stats.partial.xattrs, 1);
            assert_eq!(stats.partial.devices, 2);
            let strict = copy(&src, &dir.join("strict"), CopyFlags::STRICT, Reflink::Auto);
            assert_eq!(strict.unwrap_err().errno(), Errno::PERM);
        });
        assert_eq!(names(dir), ["dst", "src"]);
        let after = Snapshot::of(&dir.join("dst"));
        let unseen = |name: &[u8]| name != b"trusted.unseen";
        let how = Compare {
            xattr: unseen,
            ..Compare::default()
        };
        let lines = before.diff(&after, how);
        let changed: Vec<_> = lines.iter().map(|l| l.split(':').next().unwrap()).collect();
        let expected = [
            "! caps",
            "- device",
            "! foreign",
            "! foreign-link",
            "! foreign-set-id",
            "- own-dir/device",
        ];
        assert_eq!(changed, expected, "{lines:#?}");
        // A set-id bit would speak for another owner now.
        assert_eq!(after.at("foreign-set-id").mode, 0o755);
        assert_eq!(after.at("own").mode, 0o6755);
        assert_eq!(after.at("foreign").uid, NOBODY);
    });
}

/// What he makes must be his to work on, whatever the umask and the place say.
#[test]
fn a_hostile_umask_does_not_keep_him_out() {
    fsys::each(&["ext4", "tmpfs"], |_, dir| {
        let src = dir.join("src");
        fs::create_dir_all(src.join("a/b")).unwrap();
        fs::write(src.join("a/b/file"), "content").unwrap();
        xattr::set(src.join("a/b/file"), "user.mine", b"value").unwrap();
        xattr::set(src.join("a"), "user.mine", b"value").unwrap();
        node(&src.join("a/fifo"), FileType::Fifo, 0);
        fs::create_dir(dir.join("place")).unwrap();
        fs::create_dir(dir.join("acl")).unwrap();
        fs::create_dir(dir.join("place/empty")).unwrap();
        for path in ["src", "src/a", "src/a/b", "src/a/b/file", "src/a/fifo"] {
            chown(dir.join(path), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        for path in ["place", "place/empty", "acl"] {
            chown(dir.join(path), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let acl = crate::support::torture::named_acl();
        xattr::set(dir.join("acl"), "system.posix_acl_default", &acl).unwrap();
        let before = Snapshot::of(&src);
        // Threads share the umask with the one that has the mounts, and with no other.
        fsys::on_thread(|| {
            become_nobody();
            for mask in [0o777, 0o277, 0o177, 0o077] {
                rustix::process::umask(Mode::from_raw_mode(mask));
                for (flags, dst) in [
                    (CopyFlags::STRICT, "place/new"),
                    (CopyFlags::STRICT, "place/empty"),
                    (CopyFlags::STRICT, "acl/new"),
                ] {
                    let dst = dir.join(dst);
                    copy(&src, &dst, flags, Reflink::Auto)
                        .unwrap_or_else(|e| panic!("umask {mask:o} {dst:?}: {e}"));
                    before.assert_same(&Snapshot::of(&dst), Compare::default());
                    for name in ["a/b/file", "a/fifo"] {
                        fs::remove_file(dst.join(name)).unwrap();
                    }
                    fs::remove_dir(dst.join("a/b")).unwrap();
                    fs::remove_dir(dst.join("a")).unwrap();
                    if !dst.ends_with("empty") {
                        fs::remove_dir(dst).unwrap();
                    }
                }
            }
        });
    });
}

/// protected_hardlinks, or the file's owner, may forbid a link: that file is copied.
#[test]
fn a_link_that_is_forbidden_is_a_copy() {
    require!("root", "tmpfs");
    let sysctl = fs::read_to_string("/proc/sys/fs/protected_hardlinks").unwrap_or_default();
    if sysctl.trim() != "1" {
        return crate::support::have::skip("protected_hardlinks", "the sysctl is off");
    }
    fsys::on("tmpfs", |dir| {
        let src = source(dir);
        mode(dir, 0o777);
        fsys::on_thread(|| {
            become_nobody();
            let stats = linked(&src, &dir.join("dst")).unwrap();
            // The kernel lets nobody link what is not his: regular files he may read but not
            // write, and anything special that is another's.
            assert!(stats.link_fallbacks >= 2, "{stats:?}");
            assert_eq!(fs::read(dir.join("dst/foreign")).unwrap(), b"foreign");
        });
    });
}
