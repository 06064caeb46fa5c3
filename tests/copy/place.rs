//! Where a copy may go, and that the place has no influence on it.

use crate::support::fsys;
use crate::support::torture;
use crate::support::tree::{Compare, Snapshot};
use crate::{copy, linked, names, plain};
use ovl::error::{Code, Errno};
use ovl::tree::{CopyFlags, Reflink, copy_dir};
use ovl::watch::Watch;
use rustix::fs::Mode;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn source(dir: &Path) -> std::path::PathBuf {
    let src = dir.join("src");
    fs::create_dir_all(src.join("sub/empty")).unwrap();
    fs::write(src.join("file"), "content").unwrap();
    fs::write(src.join("sub/other"), "other").unwrap();
    src
}

#[track_caller]
fn refused(src: &Path, dst: &Path, errno: Errno) {
    for result in [plain(src, dst), linked(src, dst)] {
        assert_eq!(result.unwrap_err().errno(), errno, "{dst:?}");
    }
}

#[test]
fn only_a_new_name_or_an_empty_directory_will_do() {
    let dir = fsys::scratch();
    let dir = dir.path();
    let src = source(dir);
    fs::write(dir.join("file"), "kept").unwrap();
    fs::create_dir(dir.join("full")).unwrap();
    fs::write(dir.join("full/kept"), "kept").unwrap();
    symlink("nowhere", dir.join("dangling")).unwrap();
    symlink("loop", dir.join("loop")).unwrap();
    symlink("full", dir.join("to-full")).unwrap();
    let before = Snapshot::of(dir);
    for (dst, errno) in [
        ("file", Errno::EXIST),
        ("file/", Errno::EXIST),
        ("full", Errno::NOTEMPTY),
        ("full/", Errno::NOTEMPTY),
        ("to-full", Errno::NOTEMPTY),
        ("src", Errno::NOTEMPTY),
        ("dangling", Errno::EXIST),
        ("loop", Errno::LOOP),
        ("missing/dst", Errno::NOENT),
        ("missing/.", Errno::NOENT),
        ("missing/..", Errno::NOENT),
        ("file/dst", Errno::EXIST),
        ("src/inside", Errno::INVAL),
        ("src/sub/inside", Errno::INVAL),
        ("src/sub/empty", Errno::INVAL),
        ("full/../src/sub/new", Errno::INVAL),
    ] {
        refused(&src, &dir.join(dst), errno);
    }
    let error = plain(&src, &dir.join("full")).unwrap_err();
    assert_eq!(error.code(), Code::NotEmpty);
    assert_eq!(
        error.path(),
        dir.join("full").as_os_str().as_encoded_bytes()
    );
    refused(&dir.join("no-source"), &dir.join("dst"), Errno::NOENT);
    refused(&dir.join("file"), &dir.join("dst"), Errno::NOTDIR);
    // Not even a time has changed.
    before.assert_same(
        &Snapshot::of(dir),
        Compare {
            mtime: false,
            ..Compare::default()
        },
    );
    assert_eq!(
        names(dir),
        ["dangling", "file", "full", "loop", "src", "to-full"]
    );
}

#[test]
fn links_and_slashes_in_the_paths_are_followed() {
    let dir = fsys::scratch();
    let dir = dir.path();
    let src = source(dir);
    symlink("src", dir.join("to-src")).unwrap();
    fs::create_dir(dir.join("empty")).unwrap();
    symlink("empty", dir.join("to-empty")).unwrap();
    let look = Snapshot::of(&src);
    for (from, dst, lands) in [
        ("src", "slashes///", "slashes"),
        ("src//", ".//dots", "dots"),
        ("to-src", "linked", "linked"),
        ("src", "to-empty", "empty"),
    ] {
        plain(&dir.join(from), &dir.join(dst)).unwrap();
        look.assert_same(&Snapshot::of(&dir.join(lands)), Compare::default());
    }
    assert!(
        fs::symlink_metadata(dir.join("to-empty"))
            .unwrap()
            .is_symlink()
    );
    // Names relative to descriptors, and bytes that are no text.
    let open = |path: &Path| fs::File::open(path).unwrap();
    let (a, b) = (open(&src), open(&dir.join("empty")));
    use std::os::fd::AsFd;
    let (options, mut watch) = (
        crate::options(CopyFlags::empty(), Reflink::Auto),
        Watch::default(),
    );
    copy_dir(
        a.as_fd(),
        b"sub",
        b.as_fd(),
        b"\xff\n",
        &options,
        &mut watch,
    )
    .unwrap();
    copy_dir(a.as_fd(), b".", b.as_fd(), b"-", &options, &mut watch).unwrap();
    assert_eq!(fs::read(dir.join("empty/-/sub/other")).unwrap(), b"other");
    assert_eq!(names(&dir.join("empty")).len(), 4);
}

/// A bind mount hides from `..` that the destination lies in the source.
#[test]
fn a_destination_in_the_source_by_way_of_a_mount_ends() {
    require!("root", "tmpfs");
    fsys::with_mounts(|base| {
        let fs_dir = base.join("small");
        fs::create_dir(&fs_dir).unwrap();
        fsys::mount_tmpfs(&fs_dir, c"size=4m,nr_inodes=3000").unwrap();
        let src = source(&fs_dir);
        fs::create_dir(base.join("bound")).unwrap();
        rustix::mount::mount_bind(src.join("sub"), base.join("bound")).unwrap();
        let before = Snapshot::of(&src);
        for dst in ["bound/new", "bound/empty"] {
            let dst = base.join(dst);
            assert_eq!(plain(&src, &dst).unwrap_err().errno(), Errno::INVAL);
            assert_eq!(linked(&src, &dst).unwrap_err().errno(), Errno::XDEV);
        }
        let how = Compare {
            mtime: false,
            ..Compare::default()
        };
        before.assert_same(&Snapshot::of(&src), how);
    });
}

#[test]
fn set_gid_and_default_acls_of_the_place_do_not_leak_in() {
    fsys::each(&["ext4", "xfs", "btrfs", "tmpfs"], |_, dir| {
        let src = source(dir);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            src.join("sub/fifo"),
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o644),
            0,
        )
        .unwrap();
        symlink("x", src.join("sub/link")).unwrap();
        let place = dir.join("place");
        fs::create_dir(&place).unwrap();
        std::os::unix::fs::chown(&place, Some(3), Some(4)).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o2777)).unwrap();
        xattr::set(&place, "system.posix_acl_default", &torture::named_acl()).unwrap();
        fs::create_dir(place.join("empty")).unwrap();
        assert_eq!(fs::metadata(place.join("empty")).unwrap().gid(), 4);
        let look = Snapshot::of(&src);
        for dst in ["empty", "new"] {
            plain(&src, &place.join(dst)).unwrap();
            look.assert_same(&Snapshot::of(&place.join(dst)), Compare::default());
        }
        let dirs = Compare {
            inodes: true,
            ..Compare::default()
        };
        linked(&src, &place.join("links")).unwrap();
        look.assert_same(&Snapshot::of(&place.join("links")), dirs);
    });
}

/// The umask here is the thread's own.
#[test]
fn the_umask_does_not_matter() {
    require!("root", "tmpfs");
    for mask in [0o077, 0o777, 0] {
        fsys::with_mounts(|base| {
            let src = source(base);
            torture::build(&{
                fs::create_dir(src.join("torture")).unwrap();
                src.join("torture")
            });
            fs::create_dir(base.join("empty")).unwrap();
            rustix::process::umask(Mode::from_raw_mode(mask));
            for dst in ["new", "empty"] {
                copy(&src, &base.join(dst), CopyFlags::STRICT, Reflink::Auto).unwrap();
                Snapshot::of(&src).assert_same(&Snapshot::of(&base.join(dst)), Compare::default());
            }
        });
    }
}
