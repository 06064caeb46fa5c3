use crate::support::{fsys, tree};
use ovl::store::*;
use ovl::watch::Watch;
use std::path::Path;
use std::process::Command;

fn tar(dir: &Path, names: &[&str]) -> Vec<u8> {
    let out = Command::new("tar")
        .arg("--format=pax")
        .arg("--xattrs")
        .arg("-C")
        .arg(dir)
        .arg("-cf")
        .arg("-")
        .args(names)
        .output()
        .unwrap();
    assert!(out.status.success());
    out.stdout
}

#[test]
fn layers_end_to_end() {
    require!("root", "overlay");
    fsys::each(&["ext4", "xfs", "btrfs", "tmpfs"], |_, dir| {
        let w = &mut Watch::default();
        let store = Store::open(
            dir.join("home").as_os_str().as_encoded_bytes(),
            OpenOptions::default(),
        )
        .unwrap();
        let src = dir.join("src");
        std::fs::create_dir_all(src.join("etc/deep")).unwrap();
        std::fs::write(src.join("etc/passwd"), "root").unwrap();
        std::fs::write(src.join("etc/gone"), "x").unwrap();
        std::fs::write(src.join("etc/deep/file"), "y").unwrap();
        std::os::unix::fs::symlink("etc", src.join("conf")).unwrap();
        let base = tar(&src, &["."]);
        let info = store
            .apply(b"base", &mut &base[..], &ApplyOptions::default(), w)
            .unwrap();
        assert_eq!(info.kind, Kind::Root);
        let two = dir.join("two");
        std::fs::create_dir_all(two.join("conf")).unwrap();
        std::fs::write(two.join("conf/new"), "new").unwrap();
        std::fs::write(two.join("conf/.wh.gone"), "").unwrap();
        let second = tar(&two, &["conf/new", "conf/.wh.gone"]);
        for (id, kind) in [(&b"over"[..], None), (b"root", Some(Kind::Root))] {
            let options = ApplyOptions {
                parent: Some(b"base"),
                kind,
                ..Default::default()
            };
            let info = store.apply(id, &mut &second[..], &options, w).unwrap();
            assert_eq!(info.size, 3);
        }
        let mount = |id: &[u8], flags| {
            store
                .mount(
                    id,
                    &MountOptions {
                        flags,
                        ..Default::default()
                    },
                )
                .unwrap()
        };
        let ro = mount(b"over", MountFlags::READ_ONLY);
        let path =
            |m: &Mount| std::path::PathBuf::from(std::ffi::OsStr::from_encoded_bytes(m.path()));
        trait E {
            fn from_encoded_bytes(b: &[u8]) -> &Self;
        }
        impl E for std::ffi::OsStr {
            fn from_encoded_bytes(b: &[u8]) -> &Self {
                std::os::unix::ffi::OsStrExt::from_bytes(b)
            }
        }
        let merged = tree::Snapshot::of(&path(&ro));
        let plain = tree::Snapshot::of(&dir.join("home/layer/root/root"));
        merged.assert_same(
            &plain,
            tree::Compare {
                inodes: false,
                ..Default::default()
            },
        );
        crate::common::unmount(ro);
        store
            .create(b"c", Some(b"over"), CreateFlags::empty(), w)
            .unwrap();
        let m = mount(b"c", MountFlags::empty());
        let p = path(&m);
        std::fs::write(p.join("etc/added"), "added").unwrap();
        std::fs::remove_file(p.join("etc/passwd")).unwrap();
        std::fs::remove_dir_all(p.join("etc/deep")).unwrap();
        std::fs::create_dir(p.join("etc/deep")).unwrap();
        let changes = store.changes(b"c", Against::Parent, w).unwrap();
        println!("{changes:?}");
        let mut tar1 = Vec::new();
        let info = store
            .diff(b"c", Against::Parent, &mut tar1, &DiffOptions::default(), w)
            .unwrap();
        println!("{info:?}");
        let after = tree::Snapshot::of(&p);
        assert_eq!(
            store
                .remove(b"c", RemoveFlags::empty(), w)
                .unwrap_err()
                .errno()
                .raw_os_error(),
            libc::EBUSY
        );
        crate::common::unmount(m);
        for (id, parent, kind) in [
            (&b"d1"[..], &b"over"[..], Kind::Overlay),
            (b"d2", b"root", Kind::Root),
            (b"d3", b"root", Kind::Overlay),
        ] {
            let options = ApplyOptions {
                parent: Some(parent),
                kind: Some(kind),
                ..Default::default()
            };
            store.apply(id, &mut &tar1[..], &options, w).unwrap();
            let mut tar2 = Vec::new();
            let again = store
                .diff(id, Against::Parent, &mut tar2, &DiffOptions::default(), w)
                .unwrap();
            if tar1 != tar2 {
                std::fs::write("/tmp/t1.tar", &tar1).unwrap();
                std::fs::write("/tmp/t2.tar", &tar2).unwrap();
            }
            assert_eq!(again.diff_id, info.diff_id);
            let m = mount(id, MountFlags::READ_ONLY);
            tree::Snapshot::of(&path(&m)).assert_same(
                &after,
                tree::Compare {
                    inodes: false,
                    ..Default::default()
                },
            );
            crate::common::unmount(m);
        }
        let found = store.check(CheckFlags::empty(), w).unwrap();
        assert!(found.iter().all(|one| one.note), "{found:?}");
        for id in [&b"d1"[..], b"d2", b"d3", b"c", b"over", b"root", b"base"] {
            store.remove(id, RemoveFlags::empty(), w).unwrap();
        }
        assert!(store.list().unwrap().is_empty());
    });
}
