//! What layers take: each inode once, shared where it has names elsewhere.

use crate::common::*;
use crate::support::fsys;
use ovl::error::Errno;
use ovl::store::*;
use ovl::watch::{Cancel, Watch};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn usage(store: &Store, id: Option<&str>) -> Usage {
    let id = id.map(str::as_bytes);
    store.usage(id, &mut Watch::default()).unwrap()
}

/// What find(1) and stat(2) say of inodes with all their names in a directory, and of others.
fn counted(dir: &Path) -> Usage {
    let mut seen = std::collections::HashMap::new();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(path) = pending.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        seen.entry((meta.dev(), meta.ino()))
            .or_insert((meta.clone(), 0))
            .1 += 1;
        if meta.is_dir() {
            pending.extend(names(&path).iter().map(|name| path.join(name)));
        }
    }
    let mut usage = Usage::default();
    for (meta, found) in seen.into_values() {
        let size = if meta.is_dir() { 0 } else { meta.size() };
        if meta.is_dir() || meta.nlink() == found {
            usage.own_inodes += 1;
            usage.own_bytes += meta.blocks() * 512;
            usage.own_size += size;
        } else {
            usage.shared_inodes += 1;
            usage.shared_bytes += meta.blocks() * 512;
            usage.shared_size += size;
        }
    }
    usage
}

#[test]
fn shared_is_what_has_names_elsewhere() {
    fsys::each(&["ext4", "xfs", "btrfs", "tmpfs"], |kind, dir| {
        let store = store(dir);
        apply(&store, "base", None, &tar_of("file", &[7; 100_000])).unwrap();
        let alone = usage(&store, Some("base"));
        assert_eq!((alone.shared_inodes, alone.shared_bytes), (0, 0), "{kind}");
        assert!(
            alone.own_bytes >= 100_000 && alone.own_size >= 100_000,
            "{kind}: {alone:?}"
        );
        let root = Some(Kind::Root);
        apply_as(
            &store,
            "top",
            Some("base"),
            root,
            &tar_of("more", &[8; 50_000]),
        )
        .unwrap();
        create(&store, "box", Some("base")).unwrap();
        let upper = layer(dir, "box/upper");
        fs::write(upper.join("a"), [1; 10_000]).unwrap();
        for name in ["b", "c"] {
            fs::hard_link(upper.join("a"), upper.join(name)).unwrap();
        }
        rustix::fs::sync();
        for id in ["base", "top", "box"] {
            assert_eq!(
                usage(&store, Some(id)),
                counted(&layer(dir, id)),
                "{kind}: {id}"
            );
        }
        for id in ["base", "top"] {
            let shared = usage(&store, Some(id));
            assert_eq!(
                (shared.shared_inodes, shared.shared_size),
                (1, 100_000),
                "{kind}"
            );
        }
        let own = usage(&store, Some("box"));
        assert_eq!(
            (own.shared_inodes, own.shared_size),
            (0, 0),
            "{kind}: {own:?}"
        );
        // In the store nothing is shared, and nothing counts twice.
        let all = usage(&store, None);
        assert_eq!(all, counted(&dir.join("home")), "{kind}");
        assert_eq!((all.shared_inodes, all.shared_bytes), (0, 0), "{kind}");
        remove(&store, "top").unwrap();
        assert_eq!(usage(&store, Some("base")).shared_inodes, 0, "{kind}");
        fs::hard_link(layer(dir, "base/root/file"), dir.join("outside")).unwrap();
        assert_eq!(usage(&store, None).shared_size, 100_000, "{kind}");
    });
}

/// A mounted layer is counted as it is on the disk, not through the mount.
#[test]
fn of_a_running_layer() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        let before = usage(&store, Some("box"));
        let mounted = mount(&store, "box", RW).unwrap();
        fs::write(path_of(&mounted).join("new"), [1; 5000]).unwrap();
        let during = usage(&store, Some("box"));
        assert!(during.own_size >= before.own_size + 5000, "{during:?}");
        assert!(during.own_size < before.own_size + 6000, "{during:?}");
        unmount(mounted);
    });
}

#[test]
fn of_damaged_layers_and_none() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    base(&store);
    fs::write(layer(dir.path(), "base/meta"), "").unwrap();
    assert_eq!(
        usage(&store, Some("base")),
        counted(&layer(dir.path(), "base"))
    );
    let watch = &mut Watch::default();
    assert_eq!(
        fails(store.usage(Some(b"none"), watch), Errno::NOENT).path(),
        b"none"
    );
    fails(store.usage(Some(b"../x"), watch), Errno::INVAL);
    let cancel = Cancel::default();
    cancel.trigger();
    let watch = &mut Watch::new(Some(&cancel), None);
    fails(store.usage(None, watch), Errno::CANCELED);
}
