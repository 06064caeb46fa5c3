//! Other mounts in the source are not entered.

use crate::support::fsys;
use crate::support::tree::Snapshot;
use crate::{copy, names};
use ovl::error::{Code, Errno};
use ovl::tree::{CopyFlags, Reflink};
use rustix::fs::{CWD, FileType, Mode};
use std::fs;
use std::path::Path;

#[test]
fn other_mounts_are_left_empty_and_counted() {
    require!("root", "tmpfs");
    fsys::with_mounts(|base| {
        let src = base.join("src");
        for dir in ["src/other", "src/same", "inner"] {
            fs::create_dir_all(base.join(dir)).unwrap();
        }
        for file in [
            "src/file",
            "src/plain",
            "canary",
            "inner/canary",
            "src/fifo",
        ] {
            fs::write(base.join(file), file).unwrap();
        }
        let fifo = base.join("a-fifo");
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, mode, 0).unwrap();
        fsys::mount_tmpfs(&src.join("other"), c"mode=4711").unwrap();
        fs::write(src.join("other/canary"), "canary").unwrap();
        let bind = |from: &Path, to: &Path| rustix::mount::mount_bind(from, to);
        bind(&base.join("inner"), &src.join("same")).unwrap();
        bind(&base.join("canary"), &src.join("file")).unwrap();
        bind(&fifo, &src.join("fifo")).unwrap();
        for (name, flags) in [
            ("content", CopyFlags::empty()),
            ("links", CopyFlags::HARD_LINK),
        ] {
            let dst = base.join(name);
            let stats = copy(&src, &dst, flags, Reflink::Auto).unwrap();
            assert_eq!(stats.mounts_skipped, 4, "{name}");
            assert_eq!(stats.entries, 6, "{name}");
            let look = Snapshot::of(&dst);
            assert_eq!(look.0.len(), 6, "{name}");
            for dir in ["other", "same"] {
                assert!(look.at(dir).is_dir());
                assert_eq!(look.at(dir).mode, 0o755);
            }
            for file in ["file", "fifo"] {
                assert!(look.at(file).is_file());
                assert_eq!((look.at(file).size, look.at(file).mode), (0, 0o644));
            }
            assert_eq!(fs::read(dst.join("plain")).unwrap(), b"src/plain");

            let strict = base.join("strict");
            let error = copy(&src, &strict, flags | CopyFlags::STRICT, Reflink::Auto).unwrap_err();
            assert_eq!((error.errno(), error.code()), (Errno::XDEV, Code::Escape));
            assert!(!strict.exists());
        }
        let left = ["a-fifo", "canary", "content", "inner", "links", "src"];
        assert_eq!(names(base), left);
        assert_eq!(fs::read(base.join("canary")).unwrap(), b"canary");
    });
}

/// The source itself, and the destination, may be the root of a mount.
#[test]
fn a_mount_can_be_copied_onto_a_mount() {
    require!("root", "tmpfs");
    fsys::with_mounts(|base| {
        for dir in ["a", "b"] {
            fs::create_dir(base.join(dir)).unwrap();
            fsys::mount_tmpfs(&base.join(dir), c"mode=700").unwrap();
        }
        fs::write(base.join("a/file"), "x").unwrap();
        let stats = crate::plain(&base.join("a"), &base.join("b")).unwrap();
        assert_eq!((stats.entries, stats.mounts_skipped), (2, 0));
        assert_eq!(fs::read(base.join("b/file")).unwrap(), b"x");
    });
}
