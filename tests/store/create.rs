//! The table of create: what each kind of parent gives, on the disk too.

use crate::common::*;
use crate::support::tree::{self, Compare, Snapshot};
use crate::support::{fsys, torture};
use ovl::error::{Code, Errno};
use ovl::store::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

#[test]
fn without_a_parent_an_empty_root() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    create(&store, "a", None).unwrap();
    assert_eq!(
        names(&layer(dir.path(), "a")),
        ["child", "meta", "pin", "root"]
    );
    assert_eq!(names(&layer(dir.path(), "a/root")), [""; 0]);
    let info = store.stat(b"a").unwrap();
    assert_eq!((info.kind, info.state), (Kind::Root, State::Writable));
    assert_eq!((info.parent, info.lowers, info.mounted), (None, 0, false));
}

#[test]
fn over_a_root_an_upper_with_the_attributes_of_that_root() {
    require!("root");
    fsys::each(&["ext4", "xfs", "btrfs", "tmpfs"], |kind, dir| {
        let store = store(dir);
        create(&store, "base", None).unwrap();
        let root = layer(dir, "base/root");
        fs::write(root.join("file"), "x").unwrap();
        chown(&root, Some(12), Some(34)).unwrap();
        xattr::set(&root, "user.colour", b"blue").unwrap();
        xattr::set(&root, "trusted.overlay.opaque", b"y").unwrap();
        let acl = torture::named_acl();
        xattr::set(&root, "system.posix_acl_default", &acl).unwrap();
        fs::set_permissions(&root, PermissionsExt::from_mode(0o3751)).unwrap();
        let file = fs::File::open(&root).unwrap();
        let old = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_000);
        file.set_times(fs::FileTimes::new().set_modified(old).set_accessed(old))
            .unwrap();
        create(&store, "box", Some("base")).unwrap();
        let parts = [
            "child", "lower-id", "merged", "meta", "pin", "upper", "work",
        ];
        assert_eq!(names(&layer(dir, "box")), parts);
        assert_eq!(fs::read(layer(dir, "box/lower-id")).unwrap(), b"base");
        let upper = layer(dir, "box/upper");
        assert_eq!(names(&upper), [""; 0]);
        let found = fs::metadata(&upper).unwrap();
        assert_eq!((found.uid(), found.gid()), (12, 34), "{kind}");
        assert_eq!(found.mode() & 0o7777, 0o3751, "{kind}");
        assert_eq!(found.modified().unwrap(), old, "{kind}");
        let get = |name| xattr::get(&upper, name).unwrap();
        assert_eq!(get("user.colour").unwrap(), b"blue");
        assert_eq!(get("system.posix_acl_default").unwrap(), acl);
        assert_eq!(get("trusted.overlay.opaque"), None);
        // The writable parent was committed on the way.
        assert_eq!(store.stat(b"base").unwrap().state, State::Committed);
        assert_eq!(store.stat(b"box").unwrap().lowers, 1);
        assert!(layer(dir, "base/child/box").exists());
    });
}

#[test]
fn over_a_committed_overlay_a_stack() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        apply(&store, "two", Some("base"), &tar_of("two", b"2")).unwrap();
        create(&store, "box", Some("two")).unwrap();
        assert_eq!(fs::read(layer(dir, "box/lower-id")).unwrap(), b"two");
        assert_eq!(names(&layer(dir, "box/upper")), [""; 0]);
        assert_eq!(store.stat(b"box").unwrap().lowers, 2);
        let mounted = mount(&store, "box", RW).unwrap();
        assert_eq!(names(&path_of(&mounted)), ["base", "two"]);
        unmount(mounted);
    });
}

/// Every kind of inode, whiteouts and opaque directories in the -init layer's upper.
fn init_layer(store: &Store, dir: &Path) {
    base(store);
    create(store, "init", Some("base")).unwrap();
    let upper = layer(dir, "init/upper");
    fs::create_dir(upper.join("etc")).unwrap();
    xattr::set(upper.join("etc"), "trusted.overlay.opaque", b"y").unwrap();
    fs::write(upper.join("etc/hosts"), "127.0.0.1").unwrap();
    fs::hard_link(upper.join("etc/hosts"), upper.join("linked")).unwrap();
    symlink("etc/hosts", upper.join("soft")).unwrap();
    let node = |name: &str, kind, dev| {
        rustix::fs::mknodat(CWD, upper.join(name), kind, Mode::from_raw_mode(0o640), dev).unwrap();
    };
    node("base", FileType::CharacterDevice, 0);
    node("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    node("fifo", FileType::Fifo, 0);
    node("socket", FileType::Socket, 0);
    xattr::set(upper.join("etc/hosts"), "user.a", b"b").unwrap();
    chown(upper.join("soft"), Some(5), Some(6)).unwrap();
    chown(&upper, Some(7), Some(8)).unwrap();
}

#[test]
fn over_a_writable_overlay_a_copy_of_its_upper() {
    fsys::each(&["ext4", "xfs", "btrfs", "tmpfs"], |_, dir| {
        let store = store(dir);
        init_layer(&store, dir);
        let source = Snapshot::of(&layer(dir, "init/upper"));
        create(&store, "box", Some("init")).unwrap();
        Snapshot::of(&layer(dir, "box/upper")).assert_same(&source, Compare::default());
        let info = store.stat(b"box").unwrap();
        assert_eq!(info.parent.as_deref(), Some("base"));
        assert_eq!(info.copied_from.as_deref(), Some("init"));
        assert_eq!(info.state, State::Writable);
        assert_eq!(fs::read(layer(dir, "box/lower-id")).unwrap(), b"base");
        // It is its own: writing to one is not seen in the other, and the source may go.
        fs::write(layer(dir, "box/upper/etc/hosts"), "mine").unwrap();
        Snapshot::of(&layer(dir, "init/upper")).assert_same(&source, Compare::default());
        remove(&store, "init").unwrap();
        let mounted = mount(&store, "box", RW).unwrap();
        let all = names(&path_of(&mounted));
        assert_eq!(all, ["etc", "fifo", "linked", "null", "socket", "soft"]);
        unmount(mounted);
        fails(remove(&store, "base"), Errno::BUSY);
        assert_clean(&store, dir);
    });
}

#[test]
fn a_mounted_source_is_copied_only_live() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        init_layer(&store, dir);
        let mounted = mount(&store, "init", RW).unwrap();
        let error = fails(create(&store, "box", Some("init")), Errno::BUSY);
        assert_eq!(error.code(), Code::Mounted);
        assert!(!layer(dir, "box").exists());
        create_with(&store, "box", Some("init"), CreateFlags::LIVE).unwrap();
        let detached = mount(&store, "box", MountFlags::DETACHED).unwrap();
        fails(create(&store, "more", Some("box")), Errno::BUSY);
        unmount(detached);
        create(&store, "more", Some("box")).unwrap();
        unmount(mounted);
    });
}

#[test]
fn a_mounted_root_is_not_committed() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    create(&store, "base", None).unwrap();
    let mounted = mount(&store, "base", RW).unwrap();
    fails(create(&store, "box", Some("base")), Errno::BUSY);
    assert_eq!(store.stat(b"base").unwrap().state, State::Writable);
    unmount(mounted);
    create(&store, "box", Some("base")).unwrap();
}

#[test]
fn what_is_refused() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    create(&store, "a", None).unwrap();
    fails(create(&store, "a", None), Errno::EXIST);
    fails(create(&store, "b", Some("none")), Errno::NOENT);
    fails(create(&store, "b", Some("b")), Errno::INVAL);
    for bad in [
        "", ".", "..", "a/b", "../home", ".hidden", "-x", "a:b", "a,b", "a b",
    ] {
        fails(create(&store, bad, None), Errno::INVAL);
        fails(create(&store, "b", Some(bad)), Errno::INVAL);
        fails(store.stat(bad.as_bytes()), Errno::INVAL);
        fails(store.exists(bad.as_bytes()), Errno::INVAL);
        fails(remove(&store, bad), Errno::INVAL);
        fails(commit(&store, bad), Errno::INVAL);
        fails(mount(&store, bad, RW), Errno::INVAL);
    }
    assert_eq!(store.list().unwrap(), ["a"]);
    assert_clean(&store, dir.path());
}

/// What fails changes nothing, not even a parent that would have been committed.
#[test]
fn a_parent_is_not_committed_for_nothing() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    create(&store, "base", None).unwrap();
    create(&store, "taken", None).unwrap();
    fails(create(&store, "taken", Some("base")), Errno::EXIST);
    assert_eq!(store.stat(b"base").unwrap().state, State::Writable);
}

#[test]
fn flat_is_the_merged_tree_of_the_same_inodes() {
    fsys::each(&["ext4", "xfs", "btrfs", "tmpfs"], |_, dir| {
        let store = store(dir);
        create(&store, "base", None).unwrap();
        let root = layer(dir, "base/root");
        torture::build(&root);
        // Overlayfs shows their names where it does not merge, and nothing behind them.
        for (path, node) in &Snapshot::of(&root).0 {
            if node.is_device() && node.rdev == (0, 0) {
                let cut = path.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
                let root = fs::File::open(&root).unwrap();
                let place = tree::open_deep(root.as_fd(), &path[..cut.saturating_sub(1)]);
                rustix::fs::unlinkat(place, &path[cut..], AtFlags::empty()).unwrap();
            }
        }
        fs::create_dir(root.join("hidden")).unwrap();
        fs::write(root.join("hidden/below"), "x").unwrap();
        fs::write(root.join("deleted"), "x").unwrap();
        create(&store, "over", Some("base")).unwrap();
        let mounted = mount(&store, "over", RW).unwrap();
        let top = path_of(&mounted);
        fs::remove_dir_all(top.join("hidden")).unwrap();
        fs::create_dir(top.join("hidden")).unwrap();
        fs::write(top.join("hidden/new"), "y").unwrap();
        fs::remove_file(top.join("deleted")).unwrap();
        fs::write(top.join("added"), "z").unwrap();
        chown(&top, Some(9), Some(9)).unwrap();
        unmount(mounted);
        fails(
            create_with(&store, "flat", Some("over"), CreateFlags::FLAT),
            Errno::BUSY,
        );
        commit(&store, "over").unwrap();
        let before = Snapshot::of(&root);
        create_with(&store, "flat", Some("over"), CreateFlags::FLAT).unwrap();
        let mut lower = Snapshot::of(&root);
        let flat = Snapshot::of(&layer(dir, "flat/root"));
        let view = mount(&store, "over", RO).unwrap();
        let merged = Snapshot::of(&path_of(&view));
        let how = Compare {
            // Names like marks in a plain tree are no marks: an overlay hides them or not.
            xattr: |name| !name.windows(9).any(|part| part == b".overlay."),
            ..Compare::default()
        };
        flat.assert_same(&merged, how);
        unmount(view);
        let id = |snapshot: &Snapshot, path: &str| snapshot.at(path).id();
        assert_eq!(
            id(&flat, "added"),
            id(&Snapshot::of(&layer(dir, "over/upper")), "added")
        );
        let mut shared = 0;
        for (path, node) in &flat.0 {
            let below = lower.0.get(path);
            if node.is_file() && below.is_some_and(|below| below.id() == node.id()) {
                shared += 1;
            }
            let marks = |name: &Vec<u8>| name.starts_with(b"trusted.overlay.");
            let leaked = below.is_none() && node.xattrs.keys().any(marks);
            assert!(!leaked, "{}", path.escape_ascii());
        }
        assert!(shared > 50, "{shared} files are shared");
        // But for their counts of links and change times, the lower's inodes were not touched.
        for (path, node) in &mut lower.0 {
            let was = &before.0[path];
            node.nlink = was.nlink;
            node.ctime = was.ctime;
            node.atime = was.atime;
        }
        assert_eq!(lower, before);
        let info = store.stat(b"flat").unwrap();
        assert_eq!((info.kind, info.state), (Kind::Root, State::Committed));
        fails(remove(&store, "over"), Errno::BUSY);
        assert_clean(&store, dir);
        create(&store, "box", Some("flat")).unwrap();
    });
}
