//! One who is not root, and has no user namespace either. Rows 60 and 63.

use super::errno;
use crate::lab::Lab;
use crate::support::fsys;
use crate::tar::{self, *};
use ovl::store::*;
use rustix::process::{Gid, Uid};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

const NOBODY: u32 = 65_534;

/// Runs `body` as nobody, on a thread that nobody else uses, in a directory of his.
fn as_nobody(kind: &str, body: impl FnOnce(&Path) + Send) {
    fsys::on(kind, |dir| {
        let own = dir.join("own");
        std::fs::create_dir(&own).unwrap();
        chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
        fsys::on_thread(|| {
            let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
            rustix::thread::set_thread_groups(&[gid]).unwrap();
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            body(&own);
        });
    });
}

fn mine(entry: Entry) -> Entry {
    entry.owner(NOBODY, NOBODY)
}

/// Nor does his umask keep him out of what he makes.
#[test]
fn a_umask_that_keeps_the_owner_out() {
    require!("root", "tmpfs", "ext4");
    for kind in ["tmpfs", "ext4"] {
        as_nobody(kind, |dir| {
            let lab = Lab::new(dir);
            let tar = tar::bytes(&[
                mine(tar::dir("named").mode(0o755)),
                mine(file("named/f", "data")),
                mine(file("d/f", "data").mode(0o666).xattr("user.mine", b"x")),
            ]);
            for mask in [0o100, 0o200, 0o400, 0o700, 0o777] {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
                let (empty, base, over) = (
                    format!("e{mask:o}"),
                    format!("b{mask:o}"),
                    format!("o{mask:o}"),
                );
                lab.create(&empty, "");
                lab.apply(&base, "", Kind::Root, &tar).unwrap();
                lab.create(&over, &base);
                for (path, wanted) in [
                    (format!("{empty}/root"), 0o755),
                    (format!("{base}/root"), 0o755),
                    (format!("{base}/root/d/f"), 0o666),
                    (format!("{base}/meta"), 0o600),
                    (format!("{over}/upper"), 0o755),
                    (format!("{over}/lower-id"), 0o600),
                    (format!("{over}/work"), 0o700),
                ] {
                    let made = std::fs::metadata(lab.home.join("layer").join(&path)).unwrap();
                    assert_eq!(made.mode() & 0o7777, wanted, "{mask:o} {path}");
                }
                let f = lab.home.join(format!("layer/{base}/root/d/f"));
                assert_eq!(
                    xattr::get(f, "user.mine").unwrap().unwrap(),
                    b"x",
                    "{mask:o}"
                );
            }
        });
    }
}

/// Owners that he may not give are in the manifest as they are on the disk.
#[test]
fn a_manifest_has_the_owners_that_are_there() {
    require!("root", "tmpfs", "ext4");
    for kind in ["tmpfs", "ext4"] {
        as_nobody(kind, |dir| {
            let lab = Lab::new(dir);
            let mut entries = vec![mine(file("0", "x")), mine(file("1", "x"))];
            entries.extend((0..30).map(|n| file(&format!("of-{n}"), "y").owner(n % 3, n)));
            let info = lab
                .apply("x", "", Kind::Root, &tar::bytes(&entries))
                .unwrap();
            assert!(info.skipped_owners >= 30);
            lab.assert_sound();
        });
    }
}

/// What an entry's mode forbids its owner does not keep the rest of the layer out.
#[test]
fn row_63_modes_that_keep_the_owner_out() {
    require!("root", "tmpfs", "ext4");
    let layer = [
        mine(tar::dir("").mode(0o555)),
        mine(tar::dir("shut").mode(0)),
        mine(file("shut/f", "data").mode(0)),
        mine(tar::dir("shut/d").mode(0o111)),
        mine(file("shut/d/g", "data").mode(0o400)),
        mine(tar::dir("ro").mode(0o555)),
        mine(file("ro/f", "1")),
        // Many others in between: the directory is no longer open.
        mine(tar::dir("many").mode(0o500)),
        mine(file("many/replaced/f", "1")),
        mine(tar::dir("many/replaced").mode(0)),
        mine(file("many/replaced", "now a file")),
        mine(tar::dir("again").mode(0)),
        mine(tar::dir("again").mode(0o755)),
        mine(hard("ro/h", "ro/f")),
    ];
    let mut layer = layer.to_vec();
    layer.extend((0..100).map(|n| mine(file(&format!("many/{n}/f"), ""))));
    layer.push(mine(file("shut/last", "data")));
    let tar = tar::bytes(&layer);
    for kind in ["tmpfs", "ext4"] {
        as_nobody(kind, |dir| {
            let lab = Lab::new(dir);
            assert_eq!(lab.store.marks(), ovl::sys::xattr::Marks::User);
            let base = [
                mine(tar::dir("ro").mode(0o555)),
                mine(file("ro/below", "below")),
            ];
            lab.apply("base", "", Kind::Root, &tar::bytes(&base))
                .unwrap();
            for (kind, parent, tree) in [
                (Kind::Root, "", "root"),
                (Kind::Root, "base", "root"),
                (Kind::Overlay, "base", "upper"),
            ] {
                let what = format!("{kind:?} over {parent:?}");
                let made = lab
                    .apply("x", parent, kind, &tar)
                    .unwrap_or_else(|e| panic!("{what}: {e}"));
                // Directories without an entry are root's, which nobody can make them.
                assert!(made.skipped_owners >= 101, "{what}");
                let at = lab.home.join("layer/x").join(tree);
                let mode =
                    |path: &str| std::fs::symlink_metadata(at.join(path)).unwrap().mode() & 0o7777;
                assert_eq!(
                    [
                        mode("."),
                        mode("shut"),
                        mode("ro"),
                        mode("many"),
                        mode("again")
                    ],
                    [0o555, 0, 0o555, 0o500, 0o755],
                    "{what}"
                );
                assert_eq!(mode("many/replaced"), 0o644);
                if parent == "base" && kind == Kind::Root {
                    assert_eq!(std::fs::read(at.join("ro/below")).unwrap(), b"below");
                }
                // What is in there, seen after the way is made free.
                std::fs::set_permissions(at.join("shut"), PermissionsExt::from_mode(0o700))
                    .unwrap();
                assert_eq!(
                    [mode("shut/f"), mode("shut/d"), mode("shut/last")],
                    [0, 0o111, 0o644]
                );
                assert_eq!(std::fs::read(at.join("shut/last")).unwrap(), b"data");
                std::fs::set_permissions(at.join("shut"), PermissionsExt::from_mode(0o0)).unwrap();
                lab.remove("x");
                lab.assert_nothing("x");
            }
            // The manifest says the modes that the directories have in the end.
            let open = [mine(tar::dir("ro").mode(0o555)), mine(file("ro/f", "1"))];
            lab.apply("y", "base", Kind::Root, &tar::bytes(&open))
                .unwrap();
            let problems = lab
                .store
                .check(CheckFlags::empty(), &mut ovl::watch::Watch::default());
            assert!(problems.unwrap().iter().all(|one| one.note));
            // Merged from several layers, with directories that may not be written to.
            lab.apply("z", "base", Kind::Overlay, &tar::bytes(&open))
                .unwrap();
            let more = [mine(file("ro/g", "2"))];
            lab.apply("flat", "z", Kind::Root, &tar::bytes(&more))
                .unwrap();
            let at = lab.home.join("layer/flat/root/ro");
            assert_eq!(std::fs::metadata(&at).unwrap().mode() & 0o7777, 0o555);
            for name in ["below", "f", "g"] {
                assert!(at.join(name).exists(), "{name}");
            }
        });
    }
}

/// A mark takes away no directory of its own layer, in any order, also where a device that it is
/// for cannot be made.
#[test]
fn the_directory_of_a_device_without_privilege() {
    require!("root", "tmpfs");
    let base = tar::bytes(&[mine(tar::dir("d/e"))]);
    as_nobody("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &base).unwrap();
        for parent in ["", "base"] {
            for mark in [gone("d"), opaque("")] {
                let device = char_device("d/e/null", 1, 3);
                for layer in [[device.clone(), mark.clone()], [mark.clone(), device]] {
                    let layer: Vec<Entry> = layer.into_iter().map(mine).collect();
                    let tar = tar::bytes(&layer);
                    let info = lab.apply("x", parent, Kind::Root, &tar).unwrap();
                    assert_eq!(info.skipped_devices, 1);
                    let at = lab.home.join("layer/x/root");
                    assert!(at.join("d/e").exists(), "{layer:?} over {parent:?}");
                    lab.remove("x");
                }
            }
        }
    });
}

#[test]
fn row_60_devices_without_privilege() {
    require!("root", "tmpfs");
    let tar = tar::bytes(&[
        mine(char_device("null", 1, 3)),
        mine(fifo("p")),
        mine(file("f", "f")),
        file("foreign", "").owner(1, 1).mode(0o4755),
    ]);
    as_nobody("tmpfs", |dir| {
        let lab = Lab::new(dir);
        let info = lab.apply("x", "", Kind::Root, &tar).unwrap();
        // The root is another: it has no entry.
        assert_eq!((info.skipped_devices, info.skipped_owners), (1, 2));
        let at = lab.home.join("layer/x/root");
        assert!(!at.join("null").exists() && at.join("f").exists());
        // A set-id bit would speak for the wrong owner.
        assert_eq!(
            std::fs::metadata(at.join("foreign")).unwrap().mode() & 0o7777,
            0o755
        );
        lab.remove("x");
        let strict = ApplyOptions {
            flags: ApplyFlags::STRICT,
            ..ApplyOptions::default()
        };
        assert_eq!(
            errno(lab.apply_with("x", "", Kind::Root, &tar, strict)),
            libc::EPERM
        );
        lab.assert_nothing("x");
    });
}

/// Attributes are set by who may write to a file, whatever mode it is to have, on one thread or on several.
#[test]
fn attributes_of_files_that_nobody_writes_to() {
    require!("root", "ext4");
    let modes = [0o444, 0o555, 0o400, 0o644, 0o4555];
    let layer = modes.map(|mode| {
        let name = format!("{mode:o}");
        mine(file(&name, "data").mode(mode)).xattr("user.k", b"v")
    });
    let tar = tar::bytes(&layer);
    as_nobody("ext4", |dir| {
        let lab = Lab::new(dir);
        for threads in [Threads::Never, Threads::Always] {
            let options = ApplyOptions {
                threads,
                ..ApplyOptions::default()
            };
            let made = lab.apply_with("x", "", Kind::Root, &tar, options).unwrap();
            assert_eq!(made.skipped_xattrs, 0, "{threads:?}");
            for mode in modes {
                let path = lab.home.join(format!("layer/x/root/{mode:o}"));
                let meta = std::fs::metadata(&path).unwrap();
                assert_eq!(meta.permissions().mode() & 0o7777, mode, "{threads:?}");
                let value = xattr::list(&path).unwrap().count();
                assert_eq!(value, 1, "{mode:o}, {threads:?}");
            }
            lab.remove("x");
        }
    });
}
