//! Cases of other stores that need a disk's file system.

use crate::lab::{Lab, look};
use crate::support::fsys;
use crate::tar::{self, *};
use ovl::store::*;
use rustix::fs::IFlags;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file of the parent that has all the names it can have: a child of kind `root` gets a copy, one
/// for all its names, and so does a flat layer.
#[test]
fn a_parent_with_files_of_many_names_has_children() {
    require!("root", "overlay", "ext4");
    fsys::on("ext4", |dir| {
        const MAX: u64 = 65_000;
        let lab = Lab::new(dir);
        let layer = [
            dir_of(),
            file("d/full", "full").mode(0o4755).owner(3, 4),
            hard("d/again", "d/full"),
            file("d/free", "free"),
        ];
        lab.apply("base", "", Kind::Root, &tar::bytes(&layer))
            .unwrap();
        let root = lab.home.join("layer/base/root");
        fs::create_dir(dir.join("names")).unwrap();
        for at in 2..MAX {
            fs::hard_link(root.join("d/full"), dir.join(format!("names/{at}"))).unwrap();
        }
        let before = look(&root);
        let over = tar::bytes(&[file("new", "new")]);
        lab.apply("over", "base", Kind::Overlay, &over).unwrap();
        lab.apply("child", "base", Kind::Root, &over).unwrap();
        let watch = &mut Default::default();
        let flags = CreateFlags::FLAT;
        lab.store
            .create(b"flat", Some(b"over"), flags, watch)
            .unwrap();
        let wanted = lab.look("over");
        let ino = |id: &str, name: &str| {
            let path = lab.home.join("layer").join(id).join("root").join(name);
            fs::metadata(path).unwrap().ino()
        };
        for id in ["child", "flat"] {
            crate::lab::assert_tree(id, &lab.look(id), &wanted);
            assert_eq!(ino(id, "d/full"), ino(id, "d/again"), "{id}");
            assert_ne!(ino(id, "d/full"), ino("base", "d/full"), "{id}");
            assert_eq!(ino(id, "d/free"), ino("base", "d/free"), "{id}");
        }
        assert_eq!(look(&root), before);
        assert_eq!(fs::metadata(root.join("d/full")).unwrap().nlink(), MAX);
    });
}

fn dir_of() -> Entry {
    tar::dir("d")
}

fn flag(path: &Path, flag: IFlags) {
    let file = fs::File::open(path).unwrap();
    let stuck = IFlags::IMMUTABLE | IFlags::APPEND;
    let others = rustix::fs::ioctl_getflags(&file).unwrap() - stuck;
    rustix::fs::ioctl_setflags(&file, others | flag).unwrap();
}

/// Files that nobody may change or link, in a parent and in a layer that is to go.
#[test]
fn immutable_files_keep_nobody() {
    require!("root", "overlay");
    fsys::each(&["ext4", "xfs", "btrfs"], |kind, dir| {
        let lab = Lab::new(dir);
        let layer = [dir_of(), file("d/stuck", "stuck"), file("d/log", "log")];
        lab.apply("base", "", Kind::Root, &tar::bytes(&layer))
            .unwrap();
        let root = lab.home.join("layer/base/root");
        flag(&root.join("d/stuck"), IFlags::IMMUTABLE);
        flag(&root.join("d/log"), IFlags::APPEND);
        let over = tar::bytes(&[file("d/new", "new")]);
        for id in ["child", "over"] {
            let kind = if id == "over" {
                Kind::Overlay
            } else {
                Kind::Root
            };
            lab.apply(id, "base", kind, &over).unwrap();
            assert_eq!(lab.look(id)[&b"d/stuck"[..]].data, b"stuck", "{id}");
            let changes = lab.changes(id, Against::Parent);
            assert_eq!(changes, ["C /d", "A /d/new"], "{kind:?} {id}");
        }
        // The parent's flags are its own still.
        assert!(fs::write(root.join("d/stuck"), "x").is_err(), "{kind}");
        lab.create("box", "base");
        let upper = lab.home.join("layer/box/upper");
        fs::create_dir_all(upper.join("deep/er")).unwrap();
        fs::write(upper.join("deep/er/file"), "x").unwrap();
        for name in ["deep/er/file", "deep/er", "deep"] {
            flag(&upper.join(name), IFlags::IMMUTABLE);
        }
        for id in ["box", "child", "over", "base"] {
            lab.remove(id);
            lab.assert_nothing(id);
        }
    });
}

/// What a diff leaves dense, and what a copy keeps: holes, by their blocks.
#[test]
fn holes_come_through_a_tar_that_says_them() {
    require!("root", "overlay");
    fsys::each(&["ext4", "xfs", "btrfs"], |kind, dir| {
        use std::os::unix::fs::FileExt;
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&[])).unwrap();
        lab.create("box", "base");
        lab.change("box", |at| {
            let file = fs::File::create(at.join("holes")).unwrap();
            file.write_all_at(&[b'x'; 65_536], 1 << 20).unwrap();
            file.write_all_at(&[b'y'; 65_536], 3 << 20).unwrap();
            file.set_len(4 << 20).unwrap();
            fs::File::create(at.join("all"))
                .unwrap()
                .set_len(1 << 20)
                .unwrap();
            fs::write(at.join("dense"), vec![0; 1 << 20]).unwrap();
        });
        let (sparse, info) = lab
            .try_diff("box", Against::Parent, DiffFlags::SPARSE)
            .unwrap();
        assert_eq!(info.size, 6 << 20, "{kind}");
        for (id, as_kind) in [("over", Kind::Overlay), ("root", Kind::Root)] {
            lab.apply(id, "base", as_kind, &sparse).unwrap();
            crate::lab::assert_tree(id, &lab.look(id), &lab.look("box"));
            let content = if as_kind == Kind::Root {
                "root"
            } else {
                "upper"
            };
            let at = lab.home.join("layer").join(id).join(content);
            let blocks = |name: &str| fs::metadata(at.join(name)).unwrap().blocks() * 512;
            assert!(blocks("holes") < 1 << 20, "{kind} {}", blocks("holes"));
            assert!(blocks("all") < 64 << 10, "{kind} {}", blocks("all"));
            assert_eq!(lab.size(id), 6 << 20);
        }
        // The same tree: a dense diff says the same of all of them.
        let dense = lab.diff("box", Against::Parent);
        assert_eq!(lab.diff("over", Against::Parent), dense);
        assert_eq!(lab.diff("root", Against::Parent), dense);
    });
}
