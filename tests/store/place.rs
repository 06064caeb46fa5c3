//! Homes that cannot hold an upper, and mounts that others make.

use crate::common::*;
use crate::support::{fsys, have};
use ovl::error::Errno;
use ovl::store::*;
use ovl::watch::Watch;
use std::fs;
use std::path::Path;
use std::process::Command;

/// An overlay mount in `dir`, as the root of a container has it.
fn overlay_in(dir: &Path) -> std::path::PathBuf {
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    let at = |name: &str| dir.join(name).display().to_string();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        at("lower"),
        at("upper"),
        at("work")
    );
    let mut mount = Command::new("mount");
    mount.args(["-t", "overlay", "overlay", "-o", &options, &at("merged")]);
    have::run(&mut mount).unwrap();
    dir.join("merged")
}

#[test]
fn a_home_on_an_overlay() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let dir = &overlay_in(dir);
        let store = store(dir);
        base(&store);
        // The kind that works here, without being asked for.
        let info = apply(&store, "top", Some("base"), &tar_of("top", b"t")).unwrap();
        assert_eq!(info.kind, Kind::Root);
        let watch = &mut Watch::default();
        let mut tar = Vec::new();
        let options = DiffOptions::default();
        store
            .diff(b"top", Against::Parent, &mut tar, &options, watch)
            .unwrap();
        apply(&store, "again", Some("base"), &tar).unwrap();
        assert_eq!(
            names(&layer(dir, "again/root")),
            names(&layer(dir, "top/root"))
        );
        let view = mount(&store, "top", RO).unwrap();
        assert_eq!(names(&path_of(&view)), ["base", "top"]);
        unmount(view);
        create(&store, "box", Some("top")).unwrap();
        let error = fails(mount(&store, "box", RW).map(drop), Errno::OPNOTSUPP);
        for remedy in ["volume", "tmpfs", "loop"] {
            assert!(error.message().contains(remedy), "{error}");
        }
        for id in ["box", "again", "top", "base"] {
            remove(&store, id).unwrap();
        }
        assert_clean(&store, dir);
    });
}

/// Nothing of the store is locked in this process while the caller is told something.
#[test]
fn a_log_callback_may_use_the_store() {
    require!("root", "overlay");
    use std::sync::{Arc, OnceLock};
    fsys::with_mounts(|dir| {
        let home = overlay_in(dir).join("home");
        let told: Arc<OnceLock<Arc<Store>>> = Arc::default();
        let again = told.clone();
        let options = OpenOptions {
            log: Some(Box::new(move |_, message| {
                let store = again.get().unwrap();
                // Where the upper cannot be is what it is told, and what this asks again.
                let made = apply(store, "inside", Some("base"), &tar_of("x", b"x"));
                assert_eq!(made.unwrap().kind, Kind::Root, "{message}");
                remove(store, "inside").unwrap();
            })),
            ..Default::default()
        };
        let path = std::os::unix::ffi::OsStrExt::as_bytes(home.as_os_str());
        let store = Arc::new(Store::open(path, options).unwrap());
        let _ = told.set(store.clone());
        base(&store);
        let made = apply(&store, "top", Some("base"), &tar_of("top", b"t"));
        assert_eq!(made.unwrap().kind, Kind::Root);
    });
}

#[test]
fn a_large_layer_goes_by_one_rename() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    create(&store, "big", None).unwrap();
    for at in 0..3000 {
        fs::write(layer(dir.path(), &format!("big/root/{at}")), "").unwrap();
    }
    // Told to stop at the first entry, the layer is gone all the same.
    let seen = std::cell::Cell::new(0);
    let mut stop = |_: &ovl::watch::Progress| {
        seen.set(seen.get() + 1);
        1
    };
    let watch = &mut Watch::new(None, Some(&mut stop));
    let done = store.remove(b"big", RemoveFlags::empty(), watch);
    assert!(done.is_ok() || store.exists(b"big").unwrap(), "{done:?}");
    drop(done);
    let _ = remove(&store, "big");
    assert!(!store.exists(b"big").unwrap());
    assert_clean(&store, dir.path());
}

#[test]
fn status_tells_what_works() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        let all = store.status().unwrap();
        assert!(all.len() > 3, "{all:?}");
        assert!(all.iter().all(|one| !one.name.is_empty()));
        assert!(all.iter().any(|one| one.ok));
        assert_clean(&store, dir);
    });
}
