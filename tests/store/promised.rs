//! What a caller who knows more than the library may ask for: OVL_COMMIT_MOUNTED, OVL_APPLY_EXISTING.

use crate::common::*;
use crate::support::fsys;
use ovl::error::{Code, Errno, Result};
use ovl::store::*;
use ovl::watch::Watch;
use std::fs;

fn commit_mounted(store: &Store, id: &str) -> Result<()> {
    let watch = &mut Watch::default();
    store.commit(id.as_bytes(), Durability::Full, CommitFlags::MOUNTED, watch)
}

#[test]
fn a_mounted_layer_is_committed_where_nobody_writes() {
    require!("root", "overlay");
    fsys::each(&["ext4", "tmpfs"], |_, dir| {
        let store = store(dir);
        apply(&store, "base", None, &tar_of("base", b"b")).unwrap();
        create(&store, "box", Some("base")).unwrap();
        create(&store, "tree", None).unwrap();
        for (id, flags) in [("box", RW), ("tree", RW), ("box2", RO)] {
            if id == "box2" {
                create(&store, id, Some("base")).unwrap();
            }
            let mounted = mount(&store, id, flags).unwrap();
            let file = path_of(&mounted).join("new");
            if flags == RW {
                fs::write(&file, "new").unwrap();
            }
            let error = fails(commit(&store, id), Errno::BUSY);
            assert_eq!(error.code(), Code::Mounted, "{error}");
            commit_mounted(&store, id).unwrap();
            fails(commit_mounted(&store, id), Errno::ROFS);
            let info = store.stat(id.as_bytes()).unwrap();
            assert_eq!(info.state, State::Committed);
            assert_eq!(info.size, if flags == RW { 3 } else { 0 });
            // What is mounted goes on, and ends as it would have.
            assert_eq!(file.exists(), flags == RW);
            let child = format!("on-{id}");
            create(&store, &child, Some(id)).unwrap();
            let view = mount(&store, &child, RW).unwrap();
            assert_eq!(path_of(&view).join("new").exists(), flags == RW);
            unmount(view);
            unmount(mounted);
            assert_eq!(check(&store), []);
            for id in [&child, id] {
                settled(|| remove(&store, id));
            }
        }
        cleanup(&store);
        assert_eq!(names(&dir.join("home/layer")), ["base"]);
    });
}

/// Nobody is asked whether it is mounted, and what overlayfs keeps beside it stays.
#[test]
fn it_is_no_other_commit() {
    require!("root", "overlay");
    fsys::each(&["tmpfs"], |_, dir| {
        let store = store(dir);
        apply(&store, "base", None, &tar_of("base", b"b")).unwrap();
        create(&store, "box", Some("base")).unwrap();
        unmount(mount(&store, "box", RW).unwrap());
        assert_eq!(names(&layer(dir, "box/work")), ["work"]);
        settled(|| commit_mounted(&store, "box"));
        assert_eq!(names(&layer(dir, "box/work")), ["work"]);
        unmount(mount(&store, "box", RO).unwrap());
        assert_eq!(check(&store), []);
        fails(commit_mounted(&store, "none"), Errno::NOENT);
    });
}

#[test]
fn an_apply_that_must_not_make_a_layer() {
    fsys::each(&["tmpfs"], |_, dir| {
        let store = store(dir);
        let tar = tar_of("file", b"x");
        let into = |id: &str| {
            let options = ApplyOptions {
                flags: ApplyFlags::EXISTING | ApplyFlags::WRITABLE,
                durability: Durability::None,
                ..Default::default()
            };
            let watch = &mut Watch::default();
            store.apply(id.as_bytes(), &mut &tar[..], &options, watch)
        };
        let error = fails(into("gone"), Errno::NOENT);
        assert_eq!(error.code(), Code::NoLayer, "{error}");
        assert!(names(&dir.join("home/layer")).is_empty());
        create(&store, "there", None).unwrap();
        into("there").unwrap();
        assert!(layer(dir, "there/root/file").exists());
        remove(&store, "there").unwrap();
        fails(into("there"), Errno::NOENT);
        // A parent changes nothing: it would be that of a new layer.
        apply(&store, "base", None, &tar).unwrap();
        fails(into("gone"), Errno::NOENT);
    });
}
