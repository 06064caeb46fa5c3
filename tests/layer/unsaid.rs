//! What a tar can say only in part, or only when asked: sockets, holes, clamped times, uppers
//! that other mount options made.

use crate::container::base;
use crate::lab::{Lab, assert_tree};
use crate::support::fsys;
use crate::tar;
use ovl::store::*;
use std::fs;
use std::os::unix::fs::FileExt;

#[test]
fn what_a_tar_cannot_say_is_counted_or_refused() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&base()))
            .unwrap();
        lab.create("c", "base");
        lab.change("c", |at| {
            std::os::unix::net::UnixListener::bind(at.join("socket")).unwrap();
            fs::write(at.join(".wh.name"), "").unwrap();
            fs::write(at.join("said"), "said").unwrap();
        });
        let (tar, info) = lab
            .try_diff("c", Against::Parent, DiffFlags::empty())
            .unwrap();
        assert_eq!((info.skipped_sockets, info.skipped_names), (1, 1));
        assert!(
            lab.try_diff("c", Against::Parent, DiffFlags::STRICT)
                .is_err()
        );
        lab.apply("again", "base", Kind::Overlay, &tar).unwrap();
        let mut tree = lab.look("c");
        tree.remove(&b"socket"[..]);
        tree.remove(&b".wh.name"[..]);
        assert_tree("the rest", &lab.look("again"), &tree);
    });
}

#[test]
fn holes_are_kept_when_asked_and_times_are_clamped() {
    require!("root", "overlay", "ext4");
    fsys::on("ext4", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&base()))
            .unwrap();
        lab.create("c", "base");
        lab.change("c", |at| {
            let file = fs::File::create(at.join("holes")).unwrap();
            file.write_at(b"start", 0).unwrap();
            file.write_at(b"end", 3 << 20).unwrap();
            file.set_len(5 << 20).unwrap();
        });
        let dense = lab.diff("c", Against::Parent);
        let (sparse, _) = lab
            .try_diff("c", Against::Parent, DiffFlags::SPARSE)
            .unwrap();
        assert!(dense.len() > 5 << 20 && sparse.len() < 1 << 20);
        lab.apply("dense", "base", Kind::Overlay, &dense).unwrap();
        lab.apply("sparse", "base", Kind::Overlay, &sparse).unwrap();
        assert_tree("sparse", &lab.look("sparse"), &lab.look("dense"));
        let blocks = |id: &str| {
            let path = lab.home.join("layer").join(id).join("upper/holes");
            std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap())
        };
        assert!(
            blocks("sparse") < 100 && blocks("dense") > 9000,
            "{} {}",
            blocks("sparse"),
            blocks("dense")
        );
        let options = DiffOptions {
            flags: DiffFlags::CLAMP,
            clamp: ovl::sys::fs::Time {
                sec: 1_000,
                nsec: 0,
            },
            ..DiffOptions::default()
        };
        let mut tar = Vec::new();
        lab.store
            .diff(
                b"c",
                Against::Parent,
                &mut tar,
                &options,
                &mut Default::default(),
            )
            .unwrap();
        lab.apply("clamped", "base", Kind::Root, &tar).unwrap();
        assert_eq!(lab.look("clamped")[&b"holes"[..]].mtime, (1000, 0));
    });
}

/// What a socket took the place of is gone, though the socket itself cannot be told.
#[test]
fn what_became_a_socket_does_not_come_back() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        let image = [
            tar::dir("run"),
            tar::file("run/gone", "x"),
            tar::dir("run/was"),
        ];
        lab.apply("base", "", Kind::Root, &tar::bytes(&image))
            .unwrap();
        lab.create("c", "base");
        lab.change("c", |at| {
            fs::remove_file(at.join("run/gone")).unwrap();
            fs::remove_dir(at.join("run/was")).unwrap();
            for name in ["gone", "was"] {
                std::os::unix::net::UnixListener::bind(at.join("run").join(name)).unwrap();
            }
        });
        let (tar, info) = lab
            .try_diff("c", Against::Parent, DiffFlags::empty())
            .unwrap();
        assert_eq!(info.skipped_sockets, 2);
        lab.apply("again", "base", Kind::Overlay, &tar).unwrap();
        let mut tree = lab.look("c");
        tree.remove(&b"run/gone"[..]);
        tree.remove(&b"run/was"[..]);
        assert_tree("without the sockets", &lab.look("again"), &tree);
    });
}

/// A device 0:0 in a complete tree is content there, and would be a whiteout in a layer.
#[test]
fn a_device_that_would_hide_is_counted() {
    require!("root", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.create("plain", "");
        lab.change("plain", |at| {
            fs::write(at.join("f"), "f").unwrap();
            let kind = rustix::fs::FileType::CharacterDevice;
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, at.join("n"), kind, mode, 0).unwrap();
        });
        let (tar, info) = lab
            .try_diff("plain", Against::Parent, DiffFlags::empty())
            .unwrap();
        assert_eq!(info.skipped_devices, 1);
        lab.apply("again", "", Kind::Root, &tar).unwrap();
        let mut tree = lab.look("plain");
        tree.remove(&b"n"[..]);
        assert_tree("without the device", &lab.look("again"), &tree);
        let error = lab
            .try_diff("plain", Against::Parent, DiffFlags::STRICT)
            .unwrap_err();
        assert_eq!(error.path(), b"n");
    });
}
