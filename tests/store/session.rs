//! Whether a writable layer was shut down in order, and what becomes of one that was not.
//!
//! A machine that goes down is told from one that did not by the kernel's boot id, which the test
//! changes where the store wrote it down.

use crate::child;
use crate::common::*;
use crate::support::{fsys, have};
use ovl::error::{Code, Errno};
use ovl::store::*;
use ovl::watch::Watch;
use std::fs;
use std::path::{Path, PathBuf};

fn with_box(body: impl Fn(&Path, &Store) + Sync) {
    require!("root", "overlay");
    fsys::each(&["ext4", "tmpfs"], |_, dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        body(dir, &store);
        assert_clean(&store, dir);
    });
}

fn running(dir: &Path) -> PathBuf {
    layer(dir, "box/running")
}

fn unclean(store: &Store, id: &str) -> bool {
    store.stat(id.as_bytes()).unwrap().unclean
}

/// The layer was shut down in order. A process that another test just started may have held its
/// lock meanwhile: then the next unmount says so.
#[track_caller]
fn ended(dir: &Path, store: &Store, id: &str) {
    let running = layer(dir, &format!("{id}/running"));
    for _ in 0..20 {
        if !running.exists() {
            return;
        }
        unmount(mount(store, id, RW).unwrap());
    }
    panic!("{running:?} stays");
}

/// The machine went down and came up.
fn crash(dir: &Path) {
    let said = fs::read_to_string(running(dir)).unwrap();
    let boot = said.lines().find(|line| line.starts_with("boot=")).unwrap();
    let other = "boot=00000000-0000-4000-8000-000000000000";
    fs::write(running(dir), said.replace(boot, other)).unwrap();
}

fn salvage(store: &Store, id: &str) -> ovl::error::Result<()> {
    let watch = &mut Watch::default();
    store.commit(
        id.as_bytes(),
        Durability::Default,
        CommitFlags::SALVAGE,
        watch,
    )
}

#[track_caller]
fn is_unclean<T>(result: ovl::error::Result<T>) {
    let error = result.map(drop).unwrap_err();
    assert_eq!(error.errno(), Errno::from_raw_os_error(libc::EUCLEAN));
    assert_eq!(error.code(), Code::Unclean);
    assert!(error.to_string().contains("went down"), "{error}");
}

#[test]
fn the_last_unmount_says_that_all_is_well() {
    with_box(|dir, store| {
        let one = mount(store, "box", RW).unwrap();
        assert!(running(dir).exists());
        assert!(!unclean(store, "box"));
        let two = mount(store, "box", RW).unwrap();
        unmount(one);
        assert!(running(dir).exists(), "a handle is left");
        unmount(two);
        ended(dir, store, "box");
        // Without a path, and kept.
        unmount(mount(store, "box", MountFlags::DETACHED).unwrap());
        ended(dir, store, "box");
        drop(mount(store, "box", MountFlags::KEEP).unwrap());
        assert!(running(dir).exists());
        settled(|| store.unmount_at(b"box", UnmountFlags::empty()));
        ended(dir, store, "box");
        // A view that cannot be written says nothing.
        unmount(mount(store, "box", RO).unwrap());
        assert!(!running(dir).exists());
    });
}

#[test]
fn a_descriptor_that_was_passed_on_still_writes() {
    with_box(|dir, store| {
        let one = mount(store, "box", MountFlags::DETACHED).unwrap();
        let copy = one.fd().unwrap().try_clone_to_owned().unwrap();
        unmount(one);
        assert!(running(dir).exists(), "a copy of the mount is left");
        drop(copy);
        unmount(mount(store, "box", MountFlags::DETACHED).unwrap());
        ended(dir, store, "box");
    });
}

#[test]
fn a_killed_holder_is_no_crash_of_the_machine() {
    with_box(|dir, store| {
        child::kill(child::ready(child::command(dir, "hold held")));
        assert!(running(dir).exists());
        assert!(!unclean(store, "box"));
        cleanup(store);
        ended(dir, store, "box");
    });
}

#[test]
fn a_layer_that_was_running_is_lost_with_the_machine() {
    with_box(|dir, store| {
        drop(mount(store, "box", MountFlags::DETACHED).unwrap());
        crash(dir);
        assert!(unclean(store, "box"));
        is_unclean(commit(store, "box"));
        // A view that cannot be written does not change that.
        unmount(mount(store, "box", RO).unwrap());
        assert!(unclean(store, "box"));
        // Going on with it is the caller's choice, and so is taking what there is.
        let again = mount(store, "box", RW).unwrap();
        assert!(!unclean(store, "box"));
        unmount(again);
        settled(|| commit(store, "box"));
    });
    with_box(|dir, store| {
        drop(mount(store, "box", MountFlags::DETACHED).unwrap());
        for torn in [&b""[..], b"boot", b"boot=", b"\xff"] {
            fs::write(running(dir), torn).unwrap();
            assert!(unclean(store, "box"), "{torn:?}");
        }
        salvage(store, "box").unwrap();
        assert!(!unclean(store, "box"));
        assert!(!running(dir).exists());
    });
}

/// The machine is still up, and has nothing more of a disk that was unmounted, as one that failed.
#[test]
fn a_disk_that_was_mounted_anew() {
    require!("root", "overlay");
    for kind in ["ext4", "xfs", "btrfs"] {
        if !have::or_skip(kind) {
            continue;
        }
        fsys::with_mounts(|top| {
            let dir = fsys::make(kind, top).unwrap();
            let table = fs::read_to_string("/proc/thread-self/mounts").unwrap();
            let mut words = table.lines().map(|line| line.split(' '));
            let device = words.find_map(|mut words| {
                let device = words.next()?;
                (words.next()? == dir.to_str()?).then(|| device.to_string())
            });
            let device = device.unwrap();
            // The loop device stays while it is open.
            let _held = fs::File::open(&device).unwrap();
            let mount_it = |args: &[&str], at: &Path| {
                let mut command = std::process::Command::new("mount");
                have::run(command.args(args).arg(at)).unwrap();
            };
            let umount = |at: &Path| {
                settled(|| {
                    rustix::mount::unmount(at, rustix::mount::UnmountFlags::empty())
                        .map_err(|errno| ovl::error::Error::sys(errno, "umount"))
                });
            };
            let first = store(&dir);
            base(&first);
            create(&first, "box", Some("base")).unwrap();
            create(&first, "sound", Some("base")).unwrap();
            unmount(mount(&first, "sound", RW).unwrap());
            drop(mount(&first, "box", MountFlags::DETACHED).unwrap());
            // Another mount of the same disk is no other mounting of it, nor are other options.
            let place = top.join("place");
            fs::create_dir(&place).unwrap();
            mount_it(&["--bind", dir.to_str().unwrap()], &place);
            mount_it(&["-o", "remount,noatime"], &dir);
            assert!(!unclean(&store(&place), "box"), "{kind}");
            umount(&place);
            assert!(!unclean(&first, "box"), "{kind}");
            drop(first);
            umount(&dir);
            mount_it(&["-t", kind, &device], &dir);
            let store = store(&dir);
            assert!(unclean(&store, "box"), "{kind}");
            assert!(!unclean(&store, "sound"), "{kind}");
            is_unclean(commit(&store, "box"));
            unmount(mount(&store, "box", RW).unwrap());
            commit(&store, "box").unwrap();
            assert_clean(&store, &dir);
        });
    }
}

#[test]
fn a_volatile_layer_is_lost_with_the_machine() {
    with_box(|dir, store| {
        let one = mount(store, "box", MountFlags::VOLATILE).unwrap();
        fs::write(path_of(&one).join("x"), "x").unwrap();
        unmount(one);
        assert!(running(dir).exists(), "nothing is synced yet");
        crash(dir);
        assert!(unclean(store, "box"));
        is_unclean(mount(store, "box", RW));
        is_unclean(mount(store, "box", MountFlags::VOLATILE));
        is_unclean(commit(store, "box"));
        // Without our own word the kernel's mark is left.
        fs::remove_file(running(dir)).unwrap();
        assert!(unclean(store, "box"));
        is_unclean(commit(store, "box"));
        salvage(store, "box").unwrap();
        let view = mount(store, "box", RO).unwrap();
        assert_eq!(names(&path_of(&view)), ["base", "x"]);
        unmount(view);
    });
    with_box(|dir, store| {
        unmount(mount(store, "box", MountFlags::VOLATILE).unwrap());
        crash(dir);
        remove(store, "box").unwrap();
    });
}

#[test]
fn a_volatile_layer_is_settled_while_the_machine_is_up() {
    with_box(|dir, store| {
        for at in 0..2 {
            let one = mount(store, "box", MountFlags::VOLATILE).unwrap();
            fs::write(path_of(&one).join(at.to_string()), "x").unwrap();
            unmount(one);
        }
        assert!(layer(dir, "box/work/work/incompat/volatile").exists());
        let one = mount(store, "box", RW).unwrap();
        assert!(!layer(dir, "box/work/work/incompat/volatile").exists());
        unmount(one);
        ended(dir, store, "box");
        unmount(mount(store, "box", MountFlags::VOLATILE).unwrap());
        commit(store, "box").unwrap();
        assert!(!running(dir).exists());
        let view = mount(store, "box", RO).unwrap();
        assert_eq!(names(&path_of(&view)), ["0", "1", "base"]);
        unmount(view);
    });
}

/// A root layer may be mounted twice, on other terms: the later word stands, whichever goes first.
#[test]
fn the_last_mount_of_a_root_layer_ends_in_order() {
    with_box(|dir, store| {
        create(store, "box2", None).unwrap();
        let at = |place: &str, flags: MountFlags| {
            let place = dir.join(place);
            fs::create_dir_all(&place).unwrap();
            let target = Some(place.as_os_str().as_encoded_bytes());
            let options = MountOptions {
                flags,
                target,
                ..MountOptions::default()
            };
            store.mount(b"box2", &options).unwrap()
        };
        // The last unmount says so itself; see `ended` why not always.
        let in_order = |volatile_last: bool| {
            let (one, two) = (at("one", MountFlags::VOLATILE), at("two", RW));
            let (first, last) = match volatile_last {
                true => (two, one),
                false => (one, two),
            };
            unmount(first);
            assert!(layer(dir, "box2/running").exists());
            unmount(last);
            !layer(dir, "box2/running").exists()
        };
        for volatile_last in [true, false] {
            assert!((0..20).any(|_| in_order(volatile_last)), "{volatile_last}");
        }
    });
}

#[test]
fn a_root_layer_says_it_too() {
    with_box(|dir, store| {
        create(store, "box2", None).unwrap();
        let running = layer(dir, "box2/running");
        let one = mount(store, "box2", RW).unwrap();
        assert!(running.exists());
        unmount(one);
        ended(dir, store, "box2");
        drop(mount(store, "box2", RW).unwrap());
        fs::write(&running, "boot=before\nvolatile=0\n").unwrap();
        assert!(unclean(store, "box2"));
        // To build on it would commit it.
        is_unclean(create(store, "child", Some("box2")));
        assert!(store.list().unwrap().iter().all(|id| id != "child"));
        salvage(store, "box2").unwrap();
    });
}

/// Says errors for a moment to whoever asks the kernel whether the layer is in use.
fn out_of(dir: &Path, call: &str, errno: &str, job: &str) -> String {
    let inject = format!("inject={call}:error={errno}");
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
    let output = child::wrapped(&strace, dir, job).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The job "use CALL": of `box`, in the store in `dir`.
pub fn child_uses(dir: &Path, words: &[&str]) {
    let store = store(dir);
    let done = match words {
        ["remove"] => remove(&store, "box"),
        ["commit"] => commit(&store, "box"),
        ["mount"] => mount(&store, "box", MountFlags::KEEP).map(drop),
        other => panic!("{other:?}"),
    };
    println!(
        "{}",
        done.map_or_else(|e| format!("FAILED {e}"), |()| "DONE".into())
    );
}

#[test]
fn no_answer_is_not_that_the_layer_is_free() {
    require!("root", "overlay", "strace");
    with_box(|dir, store| {
        let path = |name: &str| layer(dir, name).to_str().unwrap().to_string();
        let at = dir.join("foreign");
        fs::create_dir(&at).unwrap();
        let options = format!(
            "index=off,lowerdir={},upperdir={},workdir={}",
            path("base/root"),
            path("box/upper"),
            path("box/work")
        );
        let mut mount = std::process::Command::new("mount");
        mount
            .args(["-t", "overlay", "-o", &options, "none"])
            .arg(&at);
        assert!(mount.status().unwrap().success());
        for call in ["fsopen", "open_tree", "fsconfig"] {
            for (errno, job) in [
                ("EMFILE", "use remove"),
                ("ENOMEM", "use remove"),
                ("ENOMEM", "use commit"),
                ("ENOMEM", "use mount"),
            ] {
                let said = out_of(dir, call, errno, job);
                assert!(said.contains("FAILED "), "{call} {errno} {job}: {said}");
            }
        }
        assert_eq!(store.stat(b"box").unwrap().state, State::Writable);
        let mut umount = std::process::Command::new("umount");
        assert!(umount.arg(&at).status().unwrap().success());
    });
}

#[test]
fn a_kept_bind_of_a_root_is_still_written() {
    with_box(|dir, store| {
        create(store, "box2", None).unwrap();
        let (a, b) = (dir.join("a"), dir.join("b"));
        for at in [&a, &b] {
            fs::create_dir(at).unwrap();
            drop(mount_at(store, "box2", MountFlags::KEEP, at).unwrap());
        }
        let end = |at: &Path| {
            let path = std::os::unix::ffi::OsStrExt::as_bytes(at.as_os_str());
            settled(|| store.unmount_at(path, UnmountFlags::empty()));
        };
        end(&b);
        assert!(layer(dir, "box2/running").exists(), "it is mounted at a");
        end(&a);
        ended(dir, store, "box2");
    });
}

#[test]
fn what_is_lost_is_not_copied() {
    with_box(|dir, store| {
        drop(mount(store, "box", MountFlags::DETACHED).unwrap());
        crash(dir);
        is_unclean(create(store, "copy", Some("box")));
        assert!(!store.list().unwrap().contains(&"copy".to_string()));
        let notes: Vec<_> = store
            .check(CheckFlags::empty(), &mut Watch::default())
            .unwrap()
            .into_iter()
            .filter(|problem| problem.kind == "unclean")
            .collect();
        assert!(matches!(&notes[..], [one] if one.note && one.layer == "box"));
        salvage(store, "box").unwrap();
    });
}

#[test]
fn a_mount_that_comes_to_nothing_tells_nothing() {
    with_box(|dir, store| {
        let nowhere = dir.join("nowhere");
        for flags in [RW, MountFlags::VOLATILE] {
            fails(
                mount_at(store, "box", flags, &nowhere).map(drop),
                Errno::NOENT,
            );
            assert!(!unclean(store, "box"));
        }
        commit(store, "box").unwrap();
        assert!(!running(dir).exists());
    });
    with_box(|dir, store| {
        fails(
            mount_at(store, "box", RW, &dir.join("nowhere")).map(drop),
            Errno::NOENT,
        );
        assert!(!running(dir).exists());
        // Killed or out of room while it says so: nothing has run yet.
        for inject in ["inject=write:error=ENOSPC", "inject=write:signal=KILL"] {
            let strace = ["strace", "-f", "-qq", "-o", "/dev/null"];
            let path = layer(dir, "box");
            let wrapper = [&strace[..], &["-P", path.to_str().unwrap(), "-e", inject]].concat();
            let _ = child::wrapped(&wrapper, dir, "use mount").output().unwrap();
            assert!(!unclean(store, "box"), "{inject}");
            let _ = store.unmount_at(b"box", UnmountFlags::empty());
        }
    });
}

#[test]
fn a_detached_mount_that_is_dropped_ended_in_order() {
    with_box(|dir, store| {
        drop(mount(store, "box", MountFlags::DETACHED).unwrap());
        assert!(running(dir).exists());
        for _ in 0..50 {
            cleanup(store);
            if !running(dir).exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the cleanup leaves it");
    });
}
