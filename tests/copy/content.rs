//! Copies by content: all that a tree holds, holes, shared extents.

use crate::support::fsys;
use crate::support::have;
use crate::support::torture;
use crate::support::tree::{Compare, Snapshot};
use crate::{copy, names, plain};
use ovl::error::Errno;
use ovl::tree::{CopyFlags, Reflink};
use std::fs;
use std::path::Path;
use std::process::Command;

const ALL: [&str; 4] = ["ext4", "xfs", "btrfs", "tmpfs"];
const FULL: Compare = Compare {
    owner: true,
    atime: true,
    mtime: true,
    links: true,
    holes: true,
    root: true,
    inodes: false,
    xattr: |_| true,
};

fn tortured(dir: &Path) -> std::path::PathBuf {
    let src = dir.join("src");
    fs::create_dir(&src).unwrap();
    torture::build(&src);
    src
}

#[test]
fn everything_is_kept() {
    fsys::each(&ALL, |kind, dir| {
        let src = tortured(dir);
        let first_look = Snapshot::of(&src);
        let shares = matches!(kind, "xfs" | "btrfs");
        for reflink in [Reflink::Auto, Reflink::Never] {
            let dst = dir.join(format!("{reflink:?}"));
            // Reading a directory touches its access time: look anew.
            let before = Snapshot::of(&src);
            let stats = copy(&src, &dst, CopyFlags::STRICT, reflink).unwrap();
            let after = Snapshot::of(&dst);
            before.assert_same(&after, FULL);
            assert_eq!(stats.entries, before.0.len() as u64);
            assert_eq!(stats.directories, before.count(|n| n.is_dir()));
            let first = |path: &[u8]| before.0[path].leader == path;
            let files = before.0.iter().filter(|(p, n)| n.is_file() && first(p));
            let with_content = files.clone().filter(|(_, n)| n.size > 0).count() as u64;
            let files = files.count() as u64;
            assert_eq!(stats.copied + stats.reflinked, files);
            if shares && reflink == Reflink::Auto {
                assert_eq!(stats.reflinked, with_content, "{kind}");
            } else {
                assert_eq!(stats.reflinked, 0, "{kind}");
            }
            let groups = before.0.iter().filter(|(p, n)| !n.is_dir() && !first(p));
            assert_eq!(stats.grouped, groups.count() as u64);
            assert_eq!((stats.linked, stats.link_fallbacks), (0, 0));
            assert_eq!((stats.mounts_skipped, stats.vanished), (0, 0));
            assert_eq!(stats.partial, Default::default());
        }
        // Into an empty directory, whose own attributes give way.
        let dst = dir.join("empty");
        fs::create_dir(&dst).unwrap();
        xattr::set(&dst, "user.old", b"x").unwrap();
        xattr::set(&dst, "system.posix_acl_default", &torture::named_acl()).unwrap();
        let before = Snapshot::of(&src);
        copy(&src, &dst, CopyFlags::STRICT, Reflink::Auto).unwrap();
        before.assert_same(&Snapshot::of(&dst), FULL);
        // Nothing happened to the source.
        first_look.assert_same(
            &Snapshot::of(&src),
            Compare {
                atime: false,
                ..FULL
            },
        );
        assert_eq!(names(dir), ["Auto", "Never", "empty", "src"]);
    });
}

/// Whether filefrag says that extents of this file are shared.
fn shares(file: &Path) -> bool {
    let output = Command::new("filefrag")
        .arg("-vs")
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().contains("shared")
}

#[test]
fn sharing_is_what_was_asked_for() {
    require!("filefrag");
    fsys::each(&["xfs", "btrfs"], |_, dir| {
        fs::create_dir(dir.join("src")).unwrap();
        for i in 0..3 {
            fs::write(dir.join(format!("src/{i}")), torture::pattern(300_000)).unwrap();
        }
        for (name, reflink, shared) in [
            ("never", Reflink::Never, 0),
            ("auto", Reflink::Auto, 3),
            ("always", Reflink::Always, 3),
        ] {
            let dst = dir.join(name);
            let stats = copy(&dir.join("src"), &dst, CopyFlags::SYNC, reflink).unwrap();
            assert_eq!((stats.reflinked, stats.copied), (shared, 3 - shared));
            assert_eq!(stats.bytes, 900_000);
            for i in 0..3 {
                assert_eq!(shares(&dst.join(i.to_string())), shared > 0, "{name}");
            }
        }
    });
}

#[test]
fn always_fails_where_nothing_can_be_shared() {
    fsys::each(&["ext4", "tmpfs"], |_, dir| {
        fs::create_dir(dir.join("src")).unwrap();
        fs::create_dir(dir.join("empty")).unwrap();
        fs::write(dir.join("src/file"), "content").unwrap();
        for dst in ["dst", "empty"] {
            let error = copy(
                &dir.join("src"),
                &dir.join(dst),
                CopyFlags::empty(),
                Reflink::Always,
            );
            assert_eq!(error.unwrap_err().errno(), Errno::OPNOTSUPP);
        }
        assert_eq!(names(dir), ["empty", "src"]);
        assert!(names(&dir.join("empty")).is_empty());
    });
}

/// Blocks that hold attributes or lie beyond the end make a file with holes look dense.
#[test]
fn holes_are_kept_whatever_the_block_count_says() {
    fsys::each(&["ext4", "xfs", "btrfs", "tmpfs"], |_, dir| {
        fs::create_dir(dir.join("src")).unwrap();
        let path = dir.join("src/attributes");
        let file = fs::File::create(&path).unwrap();
        file.set_len(4096).unwrap();
        use std::os::unix::fs::FileExt;
        file.write_all_at(&torture::pattern(4096), 4096).unwrap();
        xattr::set(&path, "user.large", &torture::pattern(3000)).unwrap();
        let file = fs::File::create(dir.join("src/beyond")).unwrap();
        file.write_all_at(&torture::pattern(65536), 65536).unwrap();
        let keep = rustix::fs::FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&file, keep, 131_072, 1 << 20).unwrap();
        for reflink in [Reflink::Never, Reflink::Auto] {
            let dst = dir.join(format!("{reflink:?}"));
            copy(&dir.join("src"), &dst, CopyFlags::empty(), reflink).unwrap();
            let look = Snapshot::of(&dir.join("src"));
            look.assert_same(
                &Snapshot::of(&dst),
                Compare {
                    atime: false,
                    ..FULL
                },
            );
        }
    });
}

#[test]
fn overlayfs_own_attributes_can_be_left_out() {
    fsys::each(&["ext4"], |_, dir| {
        let src = tortured(dir);
        let dst = dir.join("dst");
        copy(&src, &dst, CopyFlags::NO_OVERLAY_XATTRS, Reflink::Auto).unwrap();
        let (before, after) = (Snapshot::of(&src), Snapshot::of(&dst));
        let overlay = |name: &[u8]| name.windows(9).any(|part| part == b".overlay.");
        let has = |node: &crate::support::tree::Node| node.xattrs.keys().any(|n| overlay(n));
        assert_eq!((before.count(has), after.count(has)), (2, 0));
        let xattr = |name: &[u8]| !name.windows(9).any(|part| part == b".overlay.");
        before.assert_same(
            &after,
            Compare {
                xattr,
                ..Compare::default()
            },
        );
    });
}

/// From one file system to another: nothing is shared, all is kept.
#[test]
fn across_file_systems() {
    if !["root", "ext4", "btrfs"]
        .iter()
        .all(|what| have::or_skip(what))
    {
        return;
    }
    fsys::with_mounts(|base| {
        let from = fsys::make("ext4", base).unwrap();
        let to = fsys::make("btrfs", base).unwrap();
        let src = tortured(&from);
        plain(&src, &to.join("dst")).unwrap();
        let look = Snapshot::of(&src);
        look.assert_same(&Snapshot::of(&to.join("dst")), Compare::default());
        let always = copy(
            &src,
            &to.join("always"),
            CopyFlags::empty(),
            Reflink::Always,
        );
        assert_eq!(always.unwrap_err().errno(), Errno::XDEV);
        assert_eq!(names(&to), ["dst"]);
    });
}
