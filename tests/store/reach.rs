//! Mounts that are there, though the caller does not find them where they were made: covered, outside
//! of its root, in another namespace, copied by propagation, or seen through a procfs that tells little.

use crate::child;
use crate::common::*;
use crate::support::{fsys, have};
use ovl::error::{Code, Errno, Error, Result};
use ovl::store::*;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

const SHARED: [&str; 4] = ["unshare", "--mount", "--propagation", "unchanged"];
const PRIVATE: [&str; 4] = ["unshare", "--mount", "--propagation", "private"];

/// A store with `base`, the writable `box` over it, and the committed `top`.
fn with_layers(body: impl FnOnce(&Path, &Store) + Send) {
    require!("root", "overlay", "unshare", "mount", "setpriv");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        apply(&store, "top", Some("base"), &tar_of("top", b"t")).unwrap();
        body(dir, &store);
        assert_clean(&store, dir);
    });
}

fn end(store: &Store, id: &str) -> Result<()> {
    store.unmount_at(id.as_bytes(), UnmountFlags::empty())
}

fn keep(store: &Store, id: &str, flags: MountFlags) {
    drop(mount(store, id, flags | MountFlags::KEEP).unwrap());
}

fn mounted(store: &Store, id: &str) -> bool {
    store.stat(id.as_bytes()).unwrap().mounted
}

#[track_caller]
fn busy<T>(result: Result<T>) -> Error {
    let error = fails(result, Errno::BUSY);
    assert_eq!(error.code(), Code::Mounted, "{error}");
    error
}

fn bind(from: &Path, to: &Path) {
    have::run(Command::new("mount").arg("--bind").args([from, to])).unwrap();
}

/// Whether the kernel has a mount of this source here.
fn is_here(id: &str) -> bool {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    // A `root` is bound, and has no name.
    table.contains(&format!(" ovl:{id} ")) || table.contains(&format!("/layer/{id}/merged "))
}

/// A view of a committed layer, kept.
pub fn child_views(dir: &Path, words: &[&str]) {
    keep(&store(dir), words[0], RO);
    child::wait_for_the_end();
}

/// What is bound over the home hides the mounts in it; their pins stay.
#[test]
fn a_mount_under_a_cover_is_still_a_mount() {
    with_layers(|dir, store| {
        let home = dir.join("home");
        keep(store, "box", RW);
        keep(store, "top", RO);
        bind(&home, &home);
        for id in ["box", "top"] {
            busy(end(store, id));
            assert!(mounted(store, id));
            busy(remove(store, id));
        }
        busy(mount(store, "box", RW));
        assert_eq!(cleanup(store).unmounted, 0);
        fsys::unmount(&home);
        for id in ["box", "top"] {
            assert!(is_here(id));
            end(store, id).unwrap();
            assert!(!is_here(id));
        }
    });
}

#[test]
fn a_leftover_under_a_cover_waits() {
    with_layers(|dir, store| {
        let home = dir.join("home");
        child::kill(child::ready(child::command(dir, "hold held")));
        bind(&home, &home);
        let report = cleanup(store);
        assert_eq!((report.unmounted, report.busy), (0, 1));
        fsys::unmount(&home);
        assert!(is_here("box"));
        assert_eq!(cleanup(store).unmounted, 1);
        assert!(!is_here("box"));
    });
}

/// In a root of its own, in the same mount namespace.
pub fn child_chroots(dir: &Path, words: &[&str]) {
    rustix::process::chroot(dir.join("root")).unwrap();
    std::env::set_current_dir("/").unwrap();
    let store = open(Path::new("/home"));
    for id in ["box", "top"] {
        assert!(mounted(&store, id));
        busy(end(&store, id));
        busy(remove(&store, id));
    }
    // Without privilege it may not ask for the store's marks.
    if words.is_empty() {
        busy(mount(&store, "box", RW));
    }
    cleanup(&store);
}

#[test]
fn a_mount_outside_of_the_callers_root() {
    with_layers(|dir, store| {
        let (root, other, view) = (dir.join("root"), dir.join("other"), dir.join("view"));
        for path in [&root, &root.join("home"), &root.join("proc"), &other, &view] {
            fs::create_dir(path).unwrap();
        }
        let keep_at = |id, flags, at: &Path| {
            drop(mount_at(store, id, flags | MountFlags::KEEP, at).unwrap());
        };
        keep_at("box", RW, &other);
        keep_at("top", RO, &view);
        bind(&dir.join("home"), &root.join("home"));
        bind(Path::new("/proc"), &root.join("proc"));
        child::succeeds(child::command(dir, "chrooted"));
        // The kernel tells less to who may not mount.
        let weak = ["setpriv", "--bounding-set", "-sys_admin"];
        child::succeeds(child::wrapped(&weak, dir, "chrooted weak"));
        fsys::unmount(&root.join("home"));
        fsys::unmount(&root.join("proc"));
        for id in ["box", "top"] {
            assert!(is_here(id));
            end(store, id).unwrap();
            assert!(!is_here(id));
        }
    });
}

/// The calling thread gets a mount namespace of its own; gives the one that it had.
#[allow(unsafe_code)]
fn leave() -> fs::File {
    let before = fs::File::open("/proc/thread-self/ns/mnt").unwrap();
    // SAFETY: a new mount namespace takes no descriptor or memory from any other thread.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
    use rustix::mount::MountPropagationFlags as Is;
    rustix::mount::mount_change("/", Is::PRIVATE | Is::REC).unwrap();
    before
}

fn enter(namespace: &fs::File) {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::os::fd::AsFd;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount)).unwrap();
}

#[test]
fn a_handle_whose_process_left_the_namespace() {
    with_layers(|dir, store| {
        let held = mount(store, "box", RW).unwrap();
        let before = leave();
        for _ in 0..2 {
            let pins = names(&layer(dir, "box/pin"));
            assert_eq!(pins.len(), 1);
        }
        let (held, error) = held.unmount(UnmountFlags::empty()).err().unwrap();
        busy::<()>(Err(error));
        assert!(held.fd().is_some());
        assert_eq!(names(&layer(dir, "box/pin")).len(), 1);
        busy(remove(store, "box"));
        enter(&before);
        assert!(is_here("box"));
        unmount(held);
        assert!(!is_here("box"));
    });
}

/// What is mounted in another namespace is mounted.
#[test]
fn a_mount_elsewhere_is_told() {
    with_layers(|dir, store| {
        assert!(!mounted(store, "box"));
        let other = child::ready(child::wrapped(&PRIVATE, dir, "hold kept"));
        assert!(mounted(store, "box"));
        assert!(busy(end(store, "box")).message().contains("namespace"));
        child::kill(other);
        settled(|| remove(store, "box"));
        create(store, "box", Some("base")).unwrap();
        assert_eq!(fails(end(store, "box"), Errno::INVAL).code(), Code::System);
        // A handle of a detached mount is a use; nothing is here to be unmounted.
        let held = mount(store, "box", MountFlags::DETACHED).unwrap();
        busy(end(store, "box"));
        unmount(held);
    });
}

#[test]
fn a_view_in_plain_sight_is_named() {
    with_layers(|dir, store| {
        let view = mount(store, "box", RO).unwrap();
        let error = busy(mount(store, "box", RW));
        assert_eq!(
            error.path(),
            layer(dir, "box/merged").as_os_str().as_bytes()
        );
        assert!(error.message().contains("read-only"), "{error}");
        unmount(view);
    });
}

/// The same with the home in a shared mount: mounts are copied into other namespaces.
fn with_shared(body: impl FnOnce(&Path, &Store) + Send) {
    with_layers(|dir, _| {
        let home = dir.join("home");
        bind(&home, &home);
        rustix::mount::mount_change(&home, rustix::mount::MountPropagationFlags::SHARED).unwrap();
        body(dir, &open(&home));
        fsys::unmount(&home);
    });
}

/// A process mounts in a namespace that goes with it.
fn gone(dir: &Path, work: &str, id: &str) {
    let other = child::ready(child::wrapped(&SHARED, dir, work));
    // While it is there, its mount is the one to be ended.
    let store = store(dir);
    assert!(is_here(id));
    busy(end(&store, id));
    assert_eq!(cleanup(&store).unmounted, 0);
    assert!(is_here(id));
    child::kill(other);
    assert!(is_here(id));
    let pin = fs::read_dir(layer(dir, &format!("{id}/pin"))).unwrap();
    let pin = pin.into_iter().next().unwrap().unwrap().file_name();
    let pin = pin.into_string().unwrap();
    let (mount, namespace) = pin.split_once('.').unwrap();
    let (mount, namespace) = (mount.parse().unwrap(), namespace.parse().unwrap());
    // The namespace goes in the kernel's own time.
    for _ in 0..400 {
        if ovl::mount::exists_in(mount, namespace).is_none() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("the namespace stays");
}

#[test]
fn a_copy_of_a_kept_mount_is_kept() {
    with_shared(|dir, store| {
        let path = layer(dir, "box/merged");
        for by in [b"box", path.as_os_str().as_bytes()] {
            gone(dir, "hold kept", "box");
            assert_eq!(cleanup(store).unmounted, 0);
            assert!(mounted(store, "box"));
            busy(remove(store, "box"));
            busy(commit(store, "box"));
            // It is as good as any.
            drop(mount(store, "box", RW).unwrap());
            settled(|| store.unmount_at(by, UnmountFlags::empty()));
            assert!(!is_here("box"));
            assert!(!mounted(store, "box"));
        }
        assert!(!store.stat(b"box").unwrap().unclean);
    });
}

#[test]
fn a_copy_of_a_held_mount_is_ended() {
    with_shared(|dir, store| {
        gone(dir, "hold held", "box");
        assert_eq!(cleanup(store).unmounted, 1);
        assert!(!is_here("box"));
        gone(dir, "hold held", "box");
        remove(store, "box").unwrap();
        assert!(!is_here("box"));
    });
}

#[test]
fn a_copy_of_a_view_holds_the_layer() {
    with_shared(|dir, store| {
        for id in ["top", "base"] {
            gone(dir, &format!("view {id}"), id);
            busy(remove(store, id));
            assert!(mounted(store, id));
            end(store, id).unwrap();
            assert!(!mounted(store, id));
            if id == "top" {
                remove(store, id).unwrap();
                remove(store, "box").unwrap();
            }
        }
    });
}

/// Somebody in a third namespace took the pin away: what is at the layer's own place is found.
#[test]
fn a_copy_without_a_pin() {
    with_shared(|dir, store| {
        let pins = layer(dir, "box/pin");
        let lose = || {
            gone(dir, "hold kept", "box");
            fs::remove_dir_all(&pins).unwrap();
            fs::create_dir(&pins).unwrap();
        };
        lose();
        assert!(check(store).iter().any(|found| found.kind == "mount"));
        assert!(mounted(store, "box"));
        end(store, "box").unwrap();
        lose();
        assert_eq!(cleanup(store).unmounted, 1);
        lose();
        remove(store, "box").unwrap();
        assert!(!is_here("box"));
    });
}

/// A bind that somebody made of a mount goes on when that ended: it is named, and ended when asked.
#[test]
fn a_bind_of_a_mount_that_ended() {
    with_layers(|dir, store| {
        let other = dir.join("other");
        fs::create_dir(&other).unwrap();
        let path = other.as_os_str().as_bytes();
        for by in [b"box", path] {
            keep(store, "box", RW);
            bind(&layer(dir, "box/merged"), &other);
            end(store, "box").unwrap();
            assert_eq!(busy(remove(store, "box")).path(), path);
            assert_eq!(cleanup(store).unmounted, 0);
            busy(mount(store, "box", RW));
            settled(|| store.unmount_at(by, UnmountFlags::empty()));
            assert_eq!(names(&other), [""; 0]);
        }
        // Another store's mount of the same name is not this one's.
        let twin = open(&dir.join("twin"));
        base(&twin);
        create(&twin, "box", Some("base")).unwrap();
        keep(&twin, "box", RW);
        fails(end(store, "box"), Errno::INVAL);
        let path = dir.join("twin/layer/box/merged");
        let stranger = store.unmount_at(path.as_os_str().as_bytes(), UnmountFlags::empty());
        fails(stranger, Errno::INVAL);
        end(&twin, "box").unwrap();
    });
}

/// A procfs that shows processes alone hides the boot id.
pub fn child_is_blind(dir: &Path, _: &[&str]) {
    assert!(!Path::new("/proc/sys").exists());
    let store = store(dir);
    assert!(mounted(&store, "top"));
    busy(remove(&store, "top"));
    busy(remove(&store, "box"));
    // Whether it went down in order cannot be told, and is not guessed.
    let untold = |error: Error| {
        assert_eq!(error.code(), Code::Unsupported);
        assert!(error.message().contains("boot id"), "{error}");
    };
    untold(fails(store.stat(b"box"), Errno::OPNOTSUPP));
    untold(fails(mount(&store, "fresh", RW), Errno::OPNOTSUPP));
    assert_eq!(names(&layer(dir, "fresh/pin")), [""; 0]);
    assert!(!store.stat(b"fresh").unwrap().unclean);
    cleanup(&store);
    assert_eq!(names(&layer(dir, "top/pin")).len(), 1);
    end(&store, "box").unwrap();
    assert!(!is_here("box"));
}

pub fn child_keeps_blindly(dir: &Path, _: &[&str]) {
    keep(&store(dir), "top", RO);
}

#[test]
fn a_process_that_cannot_see_the_boot_id() {
    with_layers(|dir, store| {
        create(store, "fresh", Some("base")).unwrap();
        keep(store, "box", RW);
        keep(store, "top", RO);
        let mut mount = Command::new("mount");
        have::run(mount.args(["-t", "proc", "-o", "subset=pid", "proc", "/proc"])).unwrap();
        child::succeeds(child::command(dir, "blind"));
        fsys::unmount(Path::new("/proc"));
        assert!(is_here("top"));
        assert!(mounted(store, "top"));
        end(store, "top").unwrap();
        assert!(!store.stat(b"box").unwrap().unclean);
        // And what such a process noted is believed.
        have::run(&mut mount).unwrap();
        child::succeeds(child::command(dir, "blind-keeps"));
        fsys::unmount(Path::new("/proc"));
        assert!(mounted(store, "top"));
        busy(remove(store, "top"));
        end(store, "top").unwrap();
    });
}

/// A child that cannot be looked at is a child.
#[test]
fn a_child_that_something_is_mounted_over() {
    with_layers(|dir, store| {
        remove(store, "top").unwrap();
        let place = layer(dir, "box");
        fsys::mount_tmpfs(&place, c"size=1m").unwrap();
        assert!(remove(store, "base").is_err());
        fsys::unmount(&place);
        assert!(store.exists(b"base").unwrap());
        remove(store, "box").unwrap();
        remove(store, "base").unwrap();
    });
}

/// What a killed `status` had mounted in its stage.
#[test]
fn a_mount_in_an_abandoned_stage() {
    with_layers(|dir, store| {
        let ends: [fn(&Store) -> bool; 2] = [
            |store| cleanup(store).removed == 1,
            |store| repair(store).iter().any(|found| found.kind == "leftover"),
        ];
        for end in ends {
            let place = dir.join("home/stage/left/probe/target");
            fs::create_dir_all(&place).unwrap();
            bind(dir, &place);
            fsys::mount_tmpfs(&place, c"size=1m").unwrap();
            assert!(end(store));
            assert_eq!(names(&dir.join("home/stage")), [""; 0]);
            assert_eq!(mounts_below(&dir.join("home")), [""; 0]);
        }
    });
}
