//! Copies by hard link: the same inodes, to which nothing is done, and the files that cannot be
//! linked.

use crate::support::fsys;
use crate::support::torture;
use crate::support::tree::{Compare, Snapshot};
use crate::{linked, names};
use ovl::error::Errno;
use rustix::fs::IFlags;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[test]
fn every_inode_is_shared_and_untouched() {
    fsys::each(&["ext4", "xfs", "btrfs", "tmpfs"], |kind, dir| {
        let src = dir.join("src");
        fs::create_dir(&src).unwrap();
        torture::build(&src);
        let before = Snapshot::of(&src);
        fs::create_dir(dir.join("empty")).unwrap();
        for dst in ["new", "empty"] {
            let stats = linked(&src, &dir.join(dst)).unwrap();
            let how = Compare {
                inodes: true,
                holes: true,
                ..Compare::default()
            };
            before.assert_same(&Snapshot::of(&dir.join(dst)), how);
            before.assert_same(&Snapshot::of(&src), how);
            assert_eq!(stats.directories, before.count(|n| n.is_dir()), "{kind}");
            assert_eq!(stats.linked, before.count(|n| !n.is_dir()), "{kind}");
            assert_eq!(stats.entries, stats.linked + stats.directories);
            assert_eq!((stats.copied, stats.reflinked, stats.grouped), (0, 0, 0));
            assert_eq!((stats.link_fallbacks, stats.bytes), (0, 0));
        }
        assert_eq!(names(dir), ["empty", "new", "src"]);
    });
}

#[test]
fn across_file_systems_it_is_refused() {
    require!("root", "tmpfs");
    fsys::with_mounts(|base| {
        let other = fsys::make("tmpfs", base).unwrap();
        fs::create_dir(base.join("src")).unwrap();
        fs::write(base.join("src/file"), "x").unwrap();
        fs::create_dir(other.join("empty")).unwrap();
        fs::create_dir(base.join("bound")).unwrap();
        rustix::mount::mount_bind(base, base.join("bound")).unwrap();
        for dst in ["tmpfs/new", "tmpfs/empty", "bound/new"] {
            let error = linked(&base.join("src"), &base.join(dst)).unwrap_err();
            assert_eq!(error.errno(), Errno::XDEV, "{dst}");
        }
        assert_eq!(names(&other), ["empty"]);
        assert!(names(&other.join("empty")).is_empty());
        assert_eq!(names(base), ["bound", "src", "tmpfs"]);
    });
}

fn ino(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn an_inode_with_all_the_names_it_can_have_is_copied_once() {
    fsys::each(&["ext4"], |_, dir| {
        const MAX: u64 = 65_000;
        let src = dir.join("src");
        fs::create_dir(&src).unwrap();
        fs::create_dir(dir.join("names")).unwrap();
        for (name, room) in [("full", 0), ("nearly", 1)] {
            let first = src.join(format!("{name}-0"));
            fs::write(&first, name).unwrap();
            fs::hard_link(&first, src.join(format!("{name}-1"))).unwrap();
            fs::hard_link(&first, src.join(format!("{name}-2"))).unwrap();
            for i in 3..MAX - room {
                fs::hard_link(&first, dir.join(format!("names/{name}-{i}"))).unwrap();
            }
        }
        fs::write(src.join("other"), "other").unwrap();
        let before = Snapshot::of(&src);
        let stats = linked(&src, &dir.join("dst")).unwrap();
        // Three names of the full inode; two of the other, which had room for one more.
        assert_eq!((stats.link_fallbacks, stats.linked), (5, 2));
        assert_eq!((stats.copied + stats.reflinked, stats.grouped), (2, 3));
        assert_eq!(stats.entries, 8);
        let links = Compare {
            links: false,
            ..Compare::default()
        };
        before.assert_same(&Snapshot::of(&dir.join("dst")), links);
        before.assert_same(&Snapshot::of(&src), Compare::default());
        let copied = |name: &str| ino(&dir.join("dst").join(name));
        assert_eq!(copied("full-0"), copied("full-1"));
        assert_eq!(copied("full-0"), copied("full-2"));
        assert_ne!(copied("full-0"), ino(&src.join("full-0")));
        assert_eq!(copied("other"), ino(&src.join("other")));
    });
}

#[test]
fn an_immutable_file_is_copied() {
    fsys::each(&["ext4", "xfs", "btrfs"], |kind, dir| {
        let src = dir.join("src");
        fs::create_dir(&src).unwrap();
        fs::write(src.join("a"), "stuck").unwrap();
        fs::hard_link(src.join("a"), src.join("b")).unwrap();
        fs::write(src.join("c"), "append").unwrap();
        fs::write(src.join("d"), "free").unwrap();
        let stuck = IFlags::IMMUTABLE | IFlags::APPEND;
        let flag = |name: &str, flag| {
            let file = fs::File::open(src.join(name)).unwrap();
            let others = rustix::fs::ioctl_getflags(&file).unwrap() - stuck;
            rustix::fs::ioctl_setflags(&file, others | flag).unwrap();
        };
        flag("a", IFlags::IMMUTABLE);
        flag("c", IFlags::APPEND);
        let before = Snapshot::of(&src);
        let stats = linked(&src, &dir.join("dst")).unwrap();
        assert_eq!((stats.linked, stats.link_fallbacks), (1, 3), "{kind}");
        assert_eq!((stats.copied + stats.reflinked, stats.grouped), (2, 1));
        before.assert_same(&Snapshot::of(&dir.join("dst")), Compare::default());
        for name in ["a", "c"] {
            assert_ne!(ino(&src.join(name)), ino(&dir.join("dst").join(name)));
        }
        assert_eq!(ino(&src.join("d")), ino(&dir.join("dst/d")));
        // The copies are free of the flags, and the source still has them.
        fs::write(dir.join("dst/a"), "changed").unwrap();
        assert!(fs::write(src.join("a"), "changed").is_err());
        flag("a", IFlags::empty());
        flag("c", IFlags::empty());
    });
}
