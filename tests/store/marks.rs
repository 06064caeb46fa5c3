//! Callers without privilege: their own stores work, those of others say why not.

use crate::child;
use crate::common::*;
use crate::support::fsys;
use ovl::error::{Code, Errno};
use ovl::store::*;
use ovl::sys::xattr::Marks;
use ovl::watch::Watch;
use std::fs;
use std::path::Path;

const IN_USERNS: [&str; 4] = ["unshare", "--user", "--map-root-user", "--mount"];

pub fn child_in_userns(dir: &Path, words: &[&str]) {
    match words[0] {
        "own" => own_store(dir),
        "foreign" => foreign_store(dir),
        other => panic!("{other}"),
    }
}

/// A store made in a user namespace: marks of its own, all calls work.
fn own_store(dir: &Path) {
    let store = store(dir);
    assert_eq!(store.marks(), Marks::User);
    create(&store, "base", None).unwrap();
    fs::create_dir_all(layer(dir, "base/root/etc/deep")).unwrap();
    fs::write(layer(dir, "base/root/etc/deep/file"), "x").unwrap();
    fs::write(layer(dir, "base/root/gone"), "x").unwrap();
    create(&store, "box", Some("base")).unwrap();
    let mounted = mount(&store, "box", RW).unwrap();
    let top = path_of(&mounted);
    fs::remove_file(top.join("gone")).unwrap();
    fs::remove_dir_all(top.join("etc/deep")).unwrap();
    fs::create_dir(top.join("etc/deep")).unwrap();
    unmount(mounted);
    let deep = layer(dir, "box/upper/etc/deep");
    assert!(xattr::get(deep, "user.overlay.opaque").unwrap().is_some());
    create(&store, "copy", Some("box")).unwrap();
    let watch = &mut Watch::default();
    let mut tar = Vec::new();
    let options = DiffOptions::default();
    store
        .diff(b"copy", Against::Parent, &mut tar, &options, watch)
        .unwrap();
    commit(&store, "box").unwrap();
    for kind in [Kind::Root, Kind::Overlay] {
        let id = format!("{kind:?}");
        apply_as(&store, &id, Some("base"), Some(kind), &tar).unwrap();
        let view = mount(&store, &id, RO).unwrap();
        assert_eq!(names(&path_of(&view)), ["etc"], "{kind:?}");
        assert_eq!(names(&path_of(&view).join("etc/deep")), [""; 0], "{kind:?}");
        unmount(view);
    }
    create_with(&store, "flat", Some("box"), CreateFlags::FLAT).unwrap();
    assert_eq!(names(&layer(dir, "flat/root")), ["etc"]);
    assert_eq!(names(&layer(dir, "flat/root/etc/deep")), [""; 0]);
    for id in ["flat", "copy", "Root", "Overlay", "box", "base"] {
        remove(&store, id).unwrap();
    }
    assert_clean(&store, dir);
}

#[test]
fn a_store_in_a_user_namespace() {
    require!("userns", "overlay");
    let dir = fsys::scratch();
    child::succeeds(child::wrapped(&IN_USERNS, dir.path(), "userns own"));
}

#[test]
fn a_store_of_one_who_is_not_even_root() {
    require!("root", "userns", "overlay", "setpriv");
    fsys::with_mounts(|base| {
        let dir = base.join("nobodys");
        fs::create_dir(&dir).unwrap();
        std::os::unix::fs::chown(&dir, Some(65534), Some(65534)).unwrap();
        // The program may lie where only root can go.
        let program = base.join("program");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(IN_USERNS)
            .arg(&program)
            .args(["--exact", "child::entry", "--nocapture"])
            .env("OVL_TEST_CHILD", "userns own")
            .env("OVL_TEST_CHILD_DIR", &dir)
            .current_dir(base);
        child::succeeds(command);
    });
}

/// What reads or makes marks is EPERM with the reason; the wrong spelling would bring deleted
/// files back without an error.
fn foreign_store(dir: &Path) {
    let store = store(dir);
    assert_eq!(store.marks(), Marks::Trusted);
    let watch = &mut Watch::default();
    let denied = |what: &str, error: ovl::error::Error| {
        assert_eq!(error.errno(), Errno::PERM, "{what}: {error}");
        assert_eq!(error.code(), Code::Marks, "{what}: {error}");
        assert!(error.message().contains("trusted"), "{what}: {error}");
    };
    let tar = tar_of("new", b"x");
    denied("create", create(&store, "a", Some("over")).unwrap_err());
    denied("copy", create(&store, "a", Some("box")).unwrap_err());
    denied(
        "over a root",
        create(&store, "a", Some("free")).unwrap_err(),
    );
    assert_eq!(store.stat(b"free").unwrap().state, State::Writable);
    let flat = create_with(&store, "a", Some("over"), CreateFlags::FLAT);
    denied("flat", flat.unwrap_err());
    for kind in [None, Some(Kind::Root), Some(Kind::Overlay)] {
        let applied = apply_as(&store, "a", Some("over"), kind, &tar);
        denied(&format!("apply {kind:?}"), applied.unwrap_err());
    }
    denied("mount", mount(&store, "over", RO).err().unwrap());
    let options = DiffOptions::default();
    let done = store.diff(b"over", Against::Parent, &mut Vec::new(), &options, watch);
    denied("diff", done.unwrap_err());
    denied(
        "changes",
        store.changes(b"over", Against::Parent, watch).unwrap_err(),
    );
    denied("commit", commit(&store, "box").unwrap_err());
    assert!(!layer(dir, "a").exists());
    // What needs no marks works.
    apply(&store, "plain", None, &tar).unwrap();
    apply_as(&store, "plain2", Some("plain"), Some(Kind::Root), &tar).unwrap();
    remove(&store, "plain2").unwrap();
    remove(&store, "plain").unwrap();
}

#[test]
fn a_trusted_store_seen_from_a_user_namespace() {
    require!("root", "userns", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "free", None).unwrap();
        create(&store, "over", Some("base")).unwrap();
        let whiteout = layer(dir, "over/upper/base");
        let kind = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, whiteout, kind, 0o600.into(), 0).unwrap();
        commit(&store, "over").unwrap();
        create(&store, "box", Some("over")).unwrap();
        child::succeeds(child::wrapped(&IN_USERNS, dir, "userns foreign"));
        assert_eq!(store.list().unwrap(), ["base", "box", "free", "over"]);
        assert_clean(&store, dir);
    });
}
