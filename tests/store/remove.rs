//! Removing, committing, and what is told of layers.

use crate::child;
use crate::common::*;
use crate::support::fsys;
use ovl::error::{Code, Errno};
use ovl::store::*;
use ovl::watch::{Cancel, Watch};
use std::fs;
use std::process::Command;

#[test]
fn children_keep_their_parent() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    base(&store);
    create(&store, "one", Some("base")).unwrap();
    let error = fails(remove(&store, "base"), Errno::BUSY);
    assert_eq!(error.code(), Code::HasChildren);
    assert!(error.message().contains("one"), "{error}");
    create(&store, "two", Some("base")).unwrap();
    apply_as(
        &store,
        "three",
        Some("base"),
        Some(Kind::Root),
        &tar_of("x", b""),
    )
    .unwrap();
    let error = fails(remove(&store, "base"), Errno::BUSY);
    assert!(error.message().contains("and 2 more"), "{error}");
    for id in ["one", "two", "three"] {
        remove(&store, id).unwrap();
    }
    assert_eq!(names(&layer(dir.path(), "base/child")), [""; 0]);
    remove(&store, "base").unwrap();
    fails(remove(&store, "base"), Errno::NOENT);
    assert_clean(&store, dir.path());
}

#[test]
fn stale_hints_are_not_believed() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    base(&store);
    create(&store, "other", None).unwrap();
    create(&store, "broken", Some("base")).unwrap();
    fs::write(layer(dir.path(), "broken/meta"), "kind=").unwrap();
    for hint in ["other", "gone", "broken", "..x", "no id"] {
        fs::write(layer(dir.path(), "base/child").join(hint), "").unwrap();
    }
    remove(&store, "base").unwrap();
    assert_eq!(store.list().unwrap(), ["other"]);
}

/// A child of a kind that a later version knows may need what is below it.
#[test]
fn a_child_that_cannot_be_read_is_believed() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    base(&store);
    create(&store, "late", None).unwrap();
    rewrite_meta(dir.path(), "late", |text| {
        text.replace("kind=root", "kind=erofs")
    });
    fs::write(layer(dir.path(), "base/child/late"), "").unwrap();
    fails(remove(&store, "base"), Errno::OPNOTSUPP);
    fails(mount(&store, "late", RW), Errno::OPNOTSUPP);
    // It is refused alone.
    create(&store, "box", Some("base")).unwrap();
    assert_eq!(store.list().unwrap(), ["base", "box", "late"]);
    cleanup(&store);
    assert!(layer(dir.path(), "late").exists());
}

/// Changes a layer's meta and gives it the right checksum again.
pub fn rewrite_meta(dir: &std::path::Path, id: &str, change: impl Fn(&str) -> String) {
    use sha2::{Digest, Sha256};
    let file = layer(dir, &format!("{id}/meta"));
    let text = fs::read_to_string(&file).unwrap();
    let (body, _) = text.split_at(text.find("checksum=").unwrap());
    let body = change(body);
    let mut sum = String::new();
    for byte in Sha256::digest(&body) {
        sum.push_str(&format!("{byte:02x}"));
    }
    fs::write(file, format!("{body}checksum=sha256:{sum}\n")).unwrap();
}

#[test]
fn unknown_keys_are_kept() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    create(&store, "a", None).unwrap();
    rewrite_meta(dir.path(), "a", |text| {
        format!("{text}flavour=sour=sweet\n")
    });
    commit(&store, "a").unwrap();
    let text = fs::read_to_string(layer(dir.path(), "a/meta")).unwrap();
    assert!(text.contains("\nflavour=sour=sweet\n"), "{text}");
}

#[test]
fn what_is_mounted_stays() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        for flags in [RW, RO, MountFlags::KEEP, MountFlags::DETACHED] {
            let mounted = mount(&store, "box", flags).unwrap();
            for refused in [remove(&store, "box"), commit(&store, "box")] {
                assert_eq!(fails(refused, Errno::BUSY).code(), Code::Mounted);
            }
            assert!(store.stat(b"box").unwrap().mounted);
            unmount(mounted);
            assert!(!store.stat(b"box").unwrap().mounted);
        }
        // A kept mount without a handle.
        drop(mount(&store, "box", MountFlags::KEEP).unwrap());
        assert_eq!(
            fails(remove(&store, "box"), Errno::BUSY).code(),
            Code::Mounted
        );
        settled(|| store.unmount_at(b"box", UnmountFlags::empty()));
        remove(&store, "box").unwrap();
        assert_clean(&store, dir);
    });
}

#[test]
fn an_overlay_that_somebody_else_made_is_found() {
    require!("root", "overlay", "unshare");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        let spec = store.mount_spec(b"box", SpecFlags::empty(), None).unwrap();
        drop(spec);
        let at = |rest: &str| layer(dir, rest).display().to_string();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            at("base/root"),
            at("box/upper"),
            at("box/work")
        );
        let script = format!(
            "mount -t overlay overlay -o '{options}' '{}' && echo READY && exec sleep 1000",
            at("box/merged")
        );
        // In a mount namespace that this process never sees.
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        let other = child::ready(command);
        assert_eq!(
            fails(remove(&store, "box"), Errno::BUSY).code(),
            Code::Mounted
        );
        assert_eq!(
            fails(commit(&store, "box"), Errno::BUSY).code(),
            Code::Mounted
        );
        // A second overlay on the same upper would corrupt it.
        fails(mount(&store, "box", RW), Errno::BUSY);
        child::kill(other);
        unmount(mount(&store, "box", RW).unwrap());
        remove(&store, "box").unwrap();
    });
}

#[test]
fn deferred_removal_leaves_the_work_to_cleanup() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    create(&store, "big", None).unwrap();
    for at in 0..2000 {
        fs::write(layer(dir.path(), &format!("big/root/{at}")), "").unwrap();
    }
    let watch = &mut Watch::default();
    store.remove(b"big", RemoveFlags::DEFER, watch).unwrap();
    assert!(!store.exists(b"big").unwrap());
    let trash = names(&dir.path().join("home/trash"));
    assert_eq!(trash.len(), 1);
    let all = dir.path().join("home/trash").join(&trash[0]).join("root");
    assert_eq!(names(&all).len(), 2000);
    create(&store, "big", None).unwrap();
    // A child that another test is starting has the lock of it until it execs.
    let start = std::time::Instant::now();
    let mut removed = cleanup(&store).removed;
    while removed == 0 && start.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(5));
        removed = cleanup(&store).removed;
    }
    assert_eq!(removed, 1);
    assert_clean(&store, dir.path());
}

/// It is gone by the rename; being told to stop brings it not back.
#[test]
fn a_cancelled_removal_is_a_removal() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    create(&store, "big", None).unwrap();
    for at in 0..100 {
        fs::write(layer(dir.path(), &format!("big/root/{at}")), "").unwrap();
    }
    let cancel = Cancel::default();
    cancel.trigger();
    let watch = &mut Watch::new(Some(&cancel), None);
    match store.remove(b"big", RemoveFlags::empty(), watch) {
        Ok(()) => assert!(!store.exists(b"big").unwrap()),
        Err(error) => {
            assert_eq!(error.errno(), Errno::CANCELED);
            assert!(store.exists(b"big").unwrap());
        }
    }
    remove(&store, "big").unwrap_or_else(|e| assert_eq!(e.errno(), Errno::NOENT));
    assert_clean(&store, dir.path());
}

#[test]
fn commit_once() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    create(&store, "a", None).unwrap();
    fs::write(layer(dir.path(), "a/root/file"), "12345").unwrap();
    fs::hard_link(
        layer(dir.path(), "a/root/file"),
        layer(dir.path(), "a/root/link"),
    )
    .unwrap();
    std::os::unix::fs::symlink("abc", layer(dir.path(), "a/root/soft")).unwrap();
    let watch = &mut Watch::default();
    store
        .commit(b"a", Durability::Verified, CommitFlags::empty(), watch)
        .unwrap();
    let info = store.stat(b"a").unwrap();
    assert_eq!((info.state, info.size), (State::Committed, 8));
    assert_eq!(
        fails(commit(&store, "a"), Errno::ROFS).code(),
        Code::Committed
    );
    assert_eq!(
        fails(mount(&store, "a", RW).map(drop), Errno::ROFS).code(),
        Code::Committed
    );
    fails(apply(&store, "a", None, &tar_of("x", b"")), Errno::ROFS);
    fails(commit(&store, "none"), Errno::NOENT);
    assert_eq!(check(&store), []);
}

/// A layer made of a writable root over a parent counts what it has and its parent has not.
#[test]
fn the_size_of_a_root_over_a_parent_is_its_own() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    apply(&store, "base", None, &tar_of("base", &[7; 1000])).unwrap();
    let watch = &mut Watch::default();
    let options = ApplyOptions {
        parent: Some(b"base"),
        kind: Some(Kind::Root),
        flags: ApplyFlags::WRITABLE,
        ..Default::default()
    };
    let tar = tar_of("own", b"12345");
    store.apply(b"top", &mut &tar[..], &options, watch).unwrap();
    let size = |watch: &mut _| store.diff_size(b"top", Against::Parent, watch).unwrap();
    assert_eq!(size(watch), 5);
    commit(&store, "top").unwrap();
    assert_eq!(size(watch), 5);
    assert_eq!(store.stat(b"top").unwrap().size, 5);
}

/// A layer that was left writable may have changed: once committed it claims no tar.
#[test]
fn a_commit_forgets_the_tar_that_a_writable_layer_came_from() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        let watch = &mut Watch::default();
        let tar = [0u8; 1024];
        let options = ApplyOptions {
            flags: ApplyFlags::WRITABLE,
            ..Default::default()
        };
        let made = store.apply(b"w", &mut &tar[..], &options, watch).unwrap();
        assert!(made.diff_id.is_some());
        std::fs::write(dir.join("home/layer/w/root/new"), "new").unwrap();
        store
            .commit(b"w", Durability::Default, CommitFlags::empty(), watch)
            .unwrap();
        let info = store.stat(b"w").unwrap();
        assert_eq!(
            (info.diff_id, info.blob_digest, info.tar_size),
            (None, None, 0)
        );
        assert_eq!(info.size, 3);
    });
}
