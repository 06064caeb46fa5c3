//! Opening a store: where one is made, where none is, and what it looks like.

use crate::child;
use crate::common::*;
use crate::support::fsys;
use ovl::error::{Code, Errno};
use ovl::store::*;
use ovl::sys::xattr::Marks;
use rustix::fs::Mode;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_missing_directory_becomes_a_store() {
    let dir = fsys::scratch();
    let home = dir.path().join("a/b//c/home/");
    let store = open(&home);
    assert_eq!(names(&home), ["layer", "ovl-store", "stage", "trash"]);
    let text = fs::read_to_string(home.join("ovl-store")).unwrap();
    let marks = match store.marks() {
        Marks::Trusted => "trusted",
        Marks::User => "user",
    };
    assert_eq!(
        text,
        format!("format=1\nincompat=\nro_compat=\nmarks={marks}\n")
    );
    assert_eq!(store.list().unwrap(), [""; 0]);
    assert_eq!(check(&store), []);
}

#[test]
fn an_empty_directory_becomes_one_and_a_foreign_one_does_not() {
    let dir = fsys::scratch();
    let empty = dir.path().join("empty");
    fs::create_dir_all(empty.join("lost+found")).unwrap();
    open(&empty);
    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis"), "years").unwrap();
    fs::set_permissions(&foreign, PermissionsExt::from_mode(0o755)).unwrap();
    let error = fails(try_open(&foreign, OpenFlags::empty()), Errno::NOTEMPTY);
    assert_eq!(error.code(), Code::NotEmpty);
    assert_eq!(names(&foreign), ["thesis"]);
    assert_eq!(mode(&foreign), 0o755);
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    fails(try_open(&file, OpenFlags::empty()), Errno::NOTDIR);
    fails(Store::open(b"", OpenOptions::default()), Errno::INVAL);
}

#[test]
fn must_exist_and_read_only_make_nothing() {
    let dir = fsys::scratch();
    let home = dir.path().join("home");
    for flags in [OpenFlags::MUST_EXIST, OpenFlags::READ_ONLY] {
        fails(try_open(&home, flags), Errno::NOENT);
        assert!(!home.exists());
        fs::create_dir(&home).unwrap();
        fails(try_open(&home, flags), Errno::NOENT);
        assert_eq!(names(&home), [""; 0]);
        fs::remove_dir(&home).unwrap();
    }
}

#[test]
fn words_of_a_later_version() {
    let dir = fsys::scratch();
    let home = dir.path().join("home");
    create(&open(&home), "a", None).unwrap();
    let file = home.join("ovl-store");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("incompat=\n", "incompat=erofs\n")).unwrap();
    let error = fails(try_open(&home, OpenFlags::empty()), Errno::OPNOTSUPP);
    assert!(error.message().contains("erofs"), "{error}");
    fs::write(&file, text.replace("ro_compat=\n", "ro_compat=quota\n")).unwrap();
    let store = open(&home);
    assert_eq!(store.list().unwrap(), ["a"]);
    fails(create(&store, "b", None), Errno::ROFS);
    fs::write(&file, text.replace("format=1", "format=2")).unwrap();
    fails(try_open(&home, OpenFlags::empty()), Errno::OPNOTSUPP);
    for broken in ["", "format", "format=1\n", "marks=trusted\n"] {
        fs::write(&file, broken).unwrap();
        let error = try_open(&home, OpenFlags::empty()).err().unwrap();
        assert_eq!(error.code(), Code::Damaged, "{broken:?}");
    }
}

#[test]
fn a_store_open_for_reading_refuses_all_changes() {
    let dir = fsys::scratch();
    let writer = store(dir.path());
    create(&writer, "a", None).unwrap();
    let reader = try_open(&dir.path().join("home"), OpenFlags::READ_ONLY).unwrap();
    let watch = &mut ovl::watch::Watch::default();
    fails(create(&reader, "b", Some("a")), Errno::ROFS);
    fails(commit(&reader, "a"), Errno::ROFS);
    fails(remove(&reader, "a"), Errno::ROFS);
    fails(apply(&reader, "b", None, &tar_of("x", b"")), Errno::ROFS);
    fails(reader.cleanup(watch), Errno::ROFS);
    fails(reader.check(CheckFlags::REPAIR, watch), Errno::ROFS);
    fails(mount(&reader, "a", RW), Errno::ROFS);
    assert_eq!(reader.stat(b"a").unwrap().state, State::Writable);
    assert_eq!(check(&reader), []);
    assert_eq!(reader.list().unwrap(), ["a"]);
}

#[test]
fn modes_are_the_owners_alone_whatever_the_umask() {
    require!("root");
    for umask in [0, 0o022, 0o777] {
        fsys::with_mounts(|dir| {
            fs::set_permissions(dir, PermissionsExt::from_mode(0o2777)).unwrap();
            rustix::process::umask(Mode::from_raw_mode(umask));
            let store = store(dir);
            create(&store, "base", None).unwrap();
            create(&store, "box", Some("base")).unwrap();
            let home = dir.join("home");
            let private = [
                "",
                "layer",
                "stage",
                "trash",
                "layer/base",
                "layer/box",
                "layer/base/child",
                "layer/base/pin",
                "layer/box/work",
                "layer/box/merged",
            ];
            for path in private {
                assert_eq!(mode(&home.join(path)), 0o700, "{umask:o} {path}");
            }
            for path in ["layer/base/root", "layer/box/upper"] {
                assert_eq!(mode(&home.join(path)), 0o755, "{umask:o} {path}");
            }
            for path in ["ovl-store", "layer/base/meta", "layer/box/lower-id"] {
                assert_eq!(mode(&home.join(path)), 0o600, "{umask:o} {path}");
            }
        });
    }
}

/// With a default ACL at the place the umask has no say, and without it below that, it has.
#[test]
fn modes_are_the_owners_alone_whatever_is_inherited() {
    require!("root", "tmpfs");
    fsys::with_mounts(|dir| {
        let home = dir.join("home");
        open(&home);
        let acl = crate::support::torture::named_acl();
        for name in ["layer", "stage"] {
            xattr::set(home.join(name), "system.posix_acl_default", &acl).unwrap();
        }
        rustix::process::umask(Mode::from_raw_mode(0o777));
        let store = open(&home);
        create(&store, "base", None).unwrap();
        create(&store, "box", Some("base")).unwrap();
        for layer in ["base", "box"] {
            let rooms = fs::read_dir(home.join("layer").join(layer)).unwrap();
            for room in rooms.map(|entry| entry.unwrap().path()) {
                let wanted = match room.file_name().unwrap().to_str().unwrap() {
                    "root" | "upper" => 0o755,
                    "meta" | "lower-id" | "manifest" => 0o600,
                    _ => 0o700,
                };
                assert_eq!(mode(&room), wanted, "{room:?}");
                for kind in ["access", "default"] {
                    let name = format!("system.posix_acl_{kind}");
                    assert_eq!(xattr::get(&room, name).unwrap(), None, "{room:?}");
                }
            }
        }
    });
}

/// A setgid parent must not leave its bit, nor its group, in the image.
#[test]
fn a_setgid_place_leaves_nothing_in_the_layers() {
    require!("root");
    fsys::with_mounts(|dir| {
        let home = dir.join("home");
        open(&home);
        for name in ["layer", "stage", "trash"] {
            let path = home.join(name);
            std::os::unix::fs::chown(&path, None, Some(1234)).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o2700)).unwrap();
        }
        let store = open(&home);
        create(&store, "base", None).unwrap();
        create(&store, "box", Some("base")).unwrap();
        assert_eq!(mode(&home.join("layer/base")), 0o700);
        for path in ["layer/base/root", "layer/box/upper"] {
            let found = fs::metadata(home.join(path)).unwrap();
            assert_eq!((found.mode() & 0o7777, found.gid()), (0o755, 0), "{path}");
        }
    });
}

#[test]
fn marks_are_fixed_when_the_store_is_made() {
    require!("root");
    fsys::each(&["ext4", "tmpfs"], |_, dir| {
        let with = |name: &str, marks| {
            let options = OpenOptions {
                marks,
                ..Default::default()
            };
            Store::open(dir.join(name).as_os_str().as_bytes(), options)
        };
        assert_eq!(
            with("auto", MarksChoice::Auto).unwrap().marks(),
            Marks::Trusted
        );
        assert_eq!(
            with("user", MarksChoice::User).unwrap().marks(),
            Marks::User
        );
        assert_eq!(
            with("user", MarksChoice::Auto).unwrap().marks(),
            Marks::User
        );
        fails(with("user", MarksChoice::Trusted), Errno::INVAL);
        fails(with("auto", MarksChoice::User), Errno::INVAL);
    });
}

#[test]
fn a_path_may_hold_what_a_mount_option_may_not() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        for name in [
            "co:lon",
            "com,ma",
            "back\\slash",
            "new\nline",
            "a  b ",
            "\u{fc}",
            "=",
            "\"",
        ] {
            let dir = dir.join(name);
            let store = store(&dir);
            base(&store);
            create(&store, "box", Some("base")).unwrap();
            let box_ = mount(&store, "box", RW).unwrap();
            assert_eq!(path_of(&box_), layer(&dir, "box/merged"));
            assert_eq!(fs::read(path_of(&box_).join("base")).unwrap(), b"base");
            fs::write(path_of(&box_).join("new"), "new").unwrap();
            unmount(box_);
            assert_eq!(names(&layer(&dir, "box/upper")), ["new"]);
            let kept = mount(&store, "box", MountFlags::KEEP).unwrap();
            drop(kept);
            settled(|| store.unmount_at(b"box", UnmountFlags::empty()));
            remove(&store, "box").unwrap();
        }
        let bytes = dir.join(OsStr::from_bytes(b"\xff\xfe"));
        create(&store(&bytes), "a", None).unwrap();
    });
}

#[test]
fn a_relative_home_stays_where_it_was() {
    require!("root", "overlay");
    // A thread with a mount namespace of its own has its own working directory.
    fsys::with_mounts(|dir| {
        std::env::set_current_dir(dir).unwrap();
        fs::create_dir(dir.join("elsewhere")).unwrap();
        let store = open(Path::new("home"));
        std::env::set_current_dir(dir.join("elsewhere")).unwrap();
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        let mounted = mount(&store, "box", RW).unwrap();
        assert_eq!(path_of(&mounted), layer(dir, "box/merged"));
        unmount(mounted);
        assert_eq!(names(Path::new(".")), [""; 0]);
        // A home that moves while it is open is the same store.
        fs::rename(dir.join("home"), dir.join("moved")).unwrap();
        create(&store, "late", None).unwrap();
        assert!(dir.join("moved/layer/late").exists());
    });
}

#[test]
fn a_link_to_a_home_is_followed() {
    let dir = fsys::scratch();
    create(&store(dir.path()), "a", None).unwrap();
    symlink("home", dir.path().join("link")).unwrap();
    assert_eq!(open(&dir.path().join("link")).list().unwrap(), ["a"]);
}

/// What a crash in the midst of making a store leaves is taken up again.
#[test]
fn a_store_half_made_is_finished() {
    let dir = fsys::scratch();
    let home = dir.path().join("home");
    fs::create_dir_all(home.join("layer")).unwrap();
    fs::create_dir(home.join("stage")).unwrap();
    fs::write(home.join(".ovl-store.0123"), "format=").unwrap();
    create(&open(&home), "a", None).unwrap();
}

#[test]
fn many_threads_make_one_store() {
    let dir = fsys::scratch();
    for round in 0..20 {
        let home = dir.path().join(format!("home{round}"));
        let start = Instant::now();
        // Everyone keeps his store open until all have it.
        let all = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for at in 0..8 {
                let (home, all) = (&home, &all);
                scope.spawn(move || {
                    let store = open(home);
                    create(&store, &format!("layer{at}"), None).unwrap();
                    all.wait();
                });
            }
        });
        assert!(start.elapsed() < Duration::from_secs(10));
        assert_eq!(open(&home).list().unwrap().len(), 8);
    }
}

pub fn child_opens(dir: &Path, words: &[&str]) {
    create(&open(&dir.join("home")), words[0], None).unwrap();
}

#[test]
fn many_processes_make_one_store() {
    let dir = fsys::scratch();
    let children: Vec<_> = (0..6)
        .map(|at| {
            let mut command = child::command(dir.path(), &format!("open id{at}"));
            command.stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(store(dir.path()).list().unwrap().len(), 6);
}
