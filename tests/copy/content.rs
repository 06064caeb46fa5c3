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
        let before = Snapshot::of(&src);
        let shares = matches!(kind, "xfs" | "btrfs");
        for reflink in [Reflink::Auto, Reflink::Never] {
            let dst = dir.join(format!("{reflink:?}"));
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
        have::run(Command::new("setfattr").args(["-n", "user.old", "-v", "x"]).arg(&dst)).ok();
        copy(&src, &dst, CopyFlags::STRICT, Reflink::Auto).unwrap();
        before.assert_same(&Snapshot::of(&dst), FULL);
        // Nothing happened to the source.
        before.assert_same(&Snapshot::of(&src), Compare { atime: false, ..FULL });
        assert_eq!(names(dir), ["Auto", "Never", "empty", "src"]);
    });
}
