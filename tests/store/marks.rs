//! Callers without privilege: their own stores work, those of others say why not.

use crate::child;
use crate::common::*;
use crate::support::fsys;
use ovl::archive::{self, Header, Writer};
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
        "strict" => strict_store(dir),
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

/// A tar with one file that has `change` made to it.
fn tar_with(kind: archive::Kind, change: impl Fn(&mut Header)) -> Vec<u8> {
    let mut header = Header::new(b"entry".to_vec(), kind);
    change(&mut header);
    let mut tar = Vec::new();
    let mut writer = Writer::new(&mut tar);
    writer.begin(&header).unwrap();
    writer.finish().unwrap();
    tar
}

/// What a namespace with one id cannot make: counted one by one, and refused by strict with its
/// code. Broken values are refused by either.
fn strict_store(dir: &Path) {
    use archive::Kind::{BlockDevice, CharDevice, File};
    let store = store(dir);
    apply(&store, "base", None, &tar_of("base", b"x")).unwrap();
    let attribute = |name: &'static [u8], value: Vec<u8>| {
        move |header: &mut Header| header.xattrs.push((name.to_vec(), value.clone()))
    };
    let words = |words: &[u32]| {
        words
            .iter()
            .flat_map(|w| w.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let acl = |user: u32| {
        let entries = [
            (1u16, 6u16, !0),
            (2, 6, user),
            (4, 4, !0),
            (16, 6, !0),
            (32, 4, !0),
        ];
        let mut value = words(&[2]);
        for (tag, mode, id) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(mode.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    };
    let capability = b"security.capability";
    let access = b"system.posix_acl_access";
    let cap3 = |root: u32| words(&[0x0300_0001, 1 << 13, 0, 0, 0, root]);
    // Devices, owners, attributes.
    let counted: [(&str, Vec<u8>, [u64; 3]); 8] = [
        (
            "char",
            tar_with(CharDevice, |h| (h.major, h.minor) = (1, 3)),
            [1, 0, 0],
        ),
        (
            "block",
            tar_with(BlockDevice, |h| (h.major, h.minor) = (7, 0)),
            [1, 0, 0],
        ),
        ("user", tar_with(File, |h| h.uid = 1234), [0, 1, 0]),
        ("group", tar_with(File, |h| h.gid = 1234), [0, 1, 0]),
        (
            "acl",
            tar_with(File, attribute(access, acl(1234))),
            [0, 0, 1],
        ),
        (
            "capability",
            tar_with(File, attribute(capability, cap3(1234))),
            [0, 0, 1],
        ),
        (
            "trusted",
            tar_with(File, attribute(b"trusted.x", b"y".to_vec())),
            [0, 0, 1],
        ),
        ("none", tar_with(File, attribute(access, acl(0))), [0, 0, 0]),
    ];
    for kind in [Kind::Root, Kind::Overlay] {
        for (what, tar, wanted) in &counted {
            let id = format!("{what}-{kind:?}");
            let strict = ApplyOptions {
                parent: Some(b"base"),
                kind: Some(kind),
                flags: ApplyFlags::STRICT,
                ..Default::default()
            };
            let watch = &mut Watch::default();
            let refused = store.apply(id.as_bytes(), &mut &tar[..], &strict, watch);
            if *wanted == [0; 3] {
                refused.unwrap();
                remove(&store, &id).unwrap();
            } else {
                let error = refused.unwrap_err();
                assert_eq!(error.code(), Code::Strict, "{id}: {error}");
                assert!(!layer(dir, &id).exists(), "{id}");
            }
            let info = apply_as(&store, &id, Some("base"), Some(kind), tar).unwrap();
            let got = [
                info.skipped_devices,
                info.skipped_owners,
                info.skipped_xattrs,
            ];
            assert_eq!(got, *wanted, "{id}");
            remove(&store, &id).unwrap();
        }
        let broken = [acl(0)[..5].to_vec(), acl(1234)[..7].to_vec()];
        for value in broken {
            let tar = tar_with(File, attribute(access, value));
            let error = apply_as(&store, "broken", Some("base"), Some(kind), &tar).unwrap_err();
            assert_eq!(error.errno(), Errno::INVAL, "{error}");
            assert!(!layer(dir, "broken").exists());
        }
    }
    remove(&store, "base").unwrap();
    assert_clean(&store, dir);
}

#[test]
fn strict_in_a_user_namespace() {
    require!("userns", "overlay");
    let dir = fsys::scratch();
    child::succeeds(child::wrapped(&IN_USERNS, dir.path(), "userns strict"));
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
