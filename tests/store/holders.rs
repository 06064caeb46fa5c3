//! In use is the truth: who holds a layer, in whatever process and namespace, keeps it from being
//! removed, committed, copied, applied into and mounted a second time; and once all who held it are
//! killed, everything can be done to it. docs/concurrency.md has the same table in words.

use crate::child;
use crate::common::*;
use crate::support::{fsys, have};
use ovl::error::{Code, Errno, Result};
use ovl::store::*;
use ovl::watch::Watch;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command};

/// Whatever keeps a layer in use; dropped in the order of its fields.
#[derive(Default)]
struct Held {
    mounts: Vec<Mount>,
    descriptors: Vec<OwnedFd>,
    files: Vec<fs::File>,
    processes: Vec<Child>,
    /// Somebody else's mount in this namespace.
    foreign: Vec<std::path::PathBuf>,
    /// To be ended by the library.
    kept: bool,
}

impl Held {
    fn end(self, store: &Store) {
        drop((self.mounts, self.descriptors, self.files));
        for process in self.processes {
            child::kill(process);
        }
        for path in self.foreign {
            rustix::mount::unmount(&path, rustix::mount::UnmountFlags::empty()).unwrap();
        }
        if self.kept {
            settled(|| store.unmount_at(b"box", UnmountFlags::empty()));
        }
    }
}

type Hold = fn(&Path, &Store) -> Held;

/// What a second writable mount is told.
#[derive(Clone, Copy, PartialEq)]
enum Second {
    /// It gets the mount there is.
    Shares,
    Busy,
}

const UNSHARE: [&str; 4] = ["unshare", "--mount", "--propagation", "private"];

fn mounted(store: &Store, flags: MountFlags) -> Held {
    Held {
        mounts: vec![mount(store, "box", flags).unwrap()],
        ..Held::default()
    }
}

fn process(command: Command) -> Held {
    Held {
        processes: vec![child::ready(command)],
        ..Held::default()
    }
}

fn overlay_options(dir: &Path, rest: &str) -> String {
    overlay_with(dir, &layer(dir, "box/work"), rest)
}

fn overlay_with(dir: &Path, work: &Path, rest: &str) -> String {
    let at = |rest: &str| layer(dir, rest).display().to_string();
    format!(
        "lowerdir={},upperdir={},workdir={},{rest}",
        at("base/root"),
        at("box/upper"),
        work.display()
    )
}

/// It leaves no trace in the layer.
fn foreign_work(dir: &Path, _: &Store) -> Held {
    let work = dir.join("work-of-its-own");
    let _ = fs::create_dir(&work);
    foreign(dir, "overlay", &overlay_with(dir, &work, "index=off"))
}

fn foreign(dir: &Path, kind: &str, options: &str) -> Held {
    let place = dir.join("foreign");
    let _ = fs::create_dir(&place);
    let mut command = Command::new("mount");
    command.args(["-t", kind, kind, "-o", options]).arg(&place);
    have::run(&mut command).unwrap();
    Held {
        foreign: vec![place],
        ..Held::default()
    }
}

/// A mount that a process made and keeps at a number of descriptor; another process opened it there.
pub fn child_lends(dir: &Path, _: &[&str]) {
    let store = store(dir);
    let mounted = mount(&store, "box", MountFlags::DETACHED).unwrap();
    let number = mounted.fd().unwrap().as_raw_fd();
    fs::write(dir.join("lent"), number.to_string()).unwrap();
    child::wait_for_the_end();
}

pub fn child_borrows(dir: &Path, words: &[&str]) {
    let number = fs::read_to_string(dir.join("lent")).unwrap();
    let _root = fs::File::open(format!("/proc/{}/fd/{number}", words[0])).unwrap();
    child::wait_for_the_end();
}

fn borrowed(dir: &Path, _: &Store) -> Held {
    let maker = child::ready(child::command(dir, "lend"));
    let other = child::ready(child::command(dir, &format!("borrow {}", maker.id())));
    child::kill(maker);
    Held {
        processes: vec![other],
        ..Held::default()
    }
}

fn cloned_namespace(_: &Path, store: &Store) -> Held {
    let first = mount(store, "box", RW).unwrap();
    let mut clone = Command::new(UNSHARE[0]);
    clone
        .args(&UNSHARE[1..])
        .args(["sh", "-c", "echo READY && exec sleep 1000"]);
    let held = process(clone);
    // Ended here; the clone has a mount of its own.
    unmount(first);
    held
}

fn lazily_unmounted(_: &Path, store: &Store) -> Held {
    let mounted = mount(store, "box", RW).unwrap();
    let open = fs::File::open(path_of(&mounted).join("base")).unwrap();
    let ended = mounted.unmount(UnmountFlags::LAZY);
    ended.map_err(|(_, error)| error).unwrap();
    Held {
        files: vec![open],
        ..Held::default()
    }
}

fn passed_on(_: &Path, store: &Store) -> Held {
    let mounted = mount(store, "box", MountFlags::DETACHED).unwrap();
    let copy = mounted.fd().unwrap().try_clone_to_owned().unwrap();
    unmount(mounted);
    Held {
        descriptors: vec![copy],
        ..Held::default()
    }
}

fn kept_elsewhere(dir: &Path, _: &Store) -> Held {
    // The namespace stays, the process that mounted there is gone.
    let mut keeper = Command::new(UNSHARE[0]);
    keeper
        .args(&UNSHARE[1..])
        .args(["sh", "-c", "echo READY && exec sleep 1000"]);
    let keeper = child::ready(keeper);
    let namespace = format!("--mount=/proc/{}/ns/mnt", keeper.id());
    let enter = ["nsenter", &namespace, "--"];
    child::kill(child::ready(child::wrapped(&enter, dir, "hold kept")));
    Held {
        processes: vec![keeper],
        ..Held::default()
    }
}

#[rustfmt::skip]
const HOLDERS: [(&str, Second, Hold); 15] = [
    ("a handle here", Second::Shares, |_, s| mounted(s, RW)),
    ("a kept mount here, without a handle", Second::Shares, |_, s| {
        drop(mount(s, "box", MountFlags::KEEP).unwrap());
        Held { kept: true, ..Held::default() }
    }),
    ("a detached mount here", Second::Busy, |_, s| mounted(s, MountFlags::DETACHED)),
    ("its descriptor, passed on here", Second::Busy, passed_on),
    ("another process", Second::Shares, |dir, _| process(child::command(dir, "hold held"))),
    ("another process, detached", Second::Busy, |dir, _| process(child::command(dir, "hold detached"))),
    ("its descriptor, in a third process", Second::Busy, borrowed),
    ("another namespace", Second::Busy, |dir, _| process(child::wrapped(&UNSHARE, dir, "hold held"))),
    ("another namespace, kept, its maker dead", Second::Busy, kept_elsewhere),
    ("a clone of the namespace", Second::Busy, cloned_namespace),
    ("a lazily ended mount that is used", Second::Busy, lazily_unmounted),
    ("a foreign overlay", Second::Busy, |dir, _| foreign(dir, "overlay", &overlay_options(dir, "index=off"))),
    ("a foreign overlay with a work directory of its own", Second::Busy, foreign_work),
    ("a foreign overlay in another namespace", Second::Busy, |dir, _| {
        let script = format!(
            "mount -t overlay overlay -o '{}' '{}' && echo READY && exec sleep 1000",
            overlay_options(dir, "index=off"),
            layer(dir, "box/merged").display()
        );
        let mut command = Command::new(UNSHARE[0]);
        command.args(&UNSHARE[1..]).args(["sh", "-c", &script]);
        process(command)
    }),
    ("a read-only view here", Second::Busy, |_, s| mounted(s, RO)),
];

fn busy(what: &str, who: &str, result: Result<()>, code: Code) {
    match result {
        Ok(()) => panic!("{what} went through under {who}"),
        Err(error) => {
            let is = (error.errno(), error.code());
            assert_eq!(is, (Errno::BUSY, code), "{what} under {who}: {error}");
            assert!(error.message().len() > 10, "{error}");
        }
    }
}

#[test]
fn who_holds_a_layer() {
    require!("root", "overlay", "unshare", "nsenter");
    let all = HOLDERS.iter();
    for (&(who, second, hold), used) in all.flat_map(|one| [(one, false), (one, true)]) {
        fsys::with_mounts(|dir| {
            let store = store(dir);
            base(&store);
            create(&store, "box", Some("base")).unwrap();
            if used {
                unmount(mount(&store, "box", RW).unwrap());
            }
            let held = hold(dir, &store);
            refused(&store, who, second);
            // Again: what refuses changes nothing.
            refused(&store, who, second);
            held.end(&store);
            settled(|| mount(&store, "box", RW).map(unmount));
            settled(|| commit(&store, "box"));
            remove(&store, "box").unwrap();
            assert_clean(&store, dir);
        });
    }
}

fn refused(store: &Store, who: &str, second: Second) {
    busy("remove", who, remove(store, "box"), Code::Mounted);
    busy("commit", who, commit(store, "box"), Code::Mounted);
    let copy = create(store, "copy", Some("box"));
    busy("create", who, copy, Code::Mounted);
    let into = apply(store, "box", None, &tar_of("x", b"x")).map(drop);
    busy("apply", who, into, Code::Mounted);
    match second {
        Second::Busy => busy(
            "mount",
            who,
            mount(store, "box", RW).map(drop),
            Code::Mounted,
        ),
        Second::Shares => match mount(store, "box", RW) {
            Ok(mount) => drop(mount),
            Err(error) => panic!("mount under {who}: {error}"),
        },
    }
    // Who accepts that it moves gets a copy.
    create_with(store, "copy", Some("box"), CreateFlags::LIVE).unwrap();
    remove(store, "copy").unwrap();
    assert!(!store.list().unwrap().contains(&"copy".to_string()));
}

/// An overlay of another program with `index=on` leaves an index in `work`: the layer is refused
/// from then on, but it can be removed.
#[test]
fn a_foreign_overlay_with_an_index() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        let held = foreign(dir, "overlay", &overlay_options(dir, "index=on"));
        let who = "a foreign overlay with an index";
        busy("remove", who, remove(&store, "box"), Code::Mounted);
        busy("commit", who, commit(&store, "box"), Code::Mounted);
        busy(
            "mount",
            who,
            mount(&store, "box", RW).map(drop),
            Code::Mounted,
        );
        held.end(&store);
        remove(&store, "box").unwrap();
        assert_clean(&store, dir);
    });
}

/// What is left of a layer is not taken for nothing while an overlay of another program has it.
#[test]
fn a_foreign_overlay_holds_what_was_never_whole() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        let held = foreign_work(dir, &store);
        fs::remove_file(layer(dir, "box/meta")).unwrap();
        let error = fails(create(&store, "box", Some("base")), Errno::EXIST);
        assert_eq!(error.code(), Code::Damaged);
        cleanup(&store);
        assert!(layer(dir, "box/upper").exists());
        busy("remove", "it", remove(&store, "box"), Code::Mounted);
        held.end(&store);
        remove(&store, "box").unwrap();
        assert_clean(&store, dir);
    });
}

/// Committed layers: views of them, and children.
#[test]
fn who_holds_a_committed_layer() {
    require!("root", "overlay", "unshare", "nsenter");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        apply(&store, "top", Some("base"), &tar_of("top", b"t")).unwrap();
        busy(
            "remove",
            "a child",
            remove(&store, "base"),
            Code::HasChildren,
        );
        for flags in [RO, RO | MountFlags::DETACHED, RO | MountFlags::KEEP] {
            for id in ["top", "base"] {
                if id == "base" {
                    remove(&store, "top").unwrap();
                }
                let view = mount(&store, id, flags).unwrap();
                busy("remove", "a view", remove(&store, id), Code::Mounted);
                // What is built on it is no use of its tree that anybody could harm.
                create(&store, "child", Some(id)).unwrap();
                busy("remove", "a child", remove(&store, id), Code::HasChildren);
                remove(&store, "child").unwrap();
                drop(view);
                if flags.contains(MountFlags::KEEP) {
                    busy("remove", "a kept view", remove(&store, id), Code::Mounted);
                    store
                        .unmount_at(id.as_bytes(), UnmountFlags::empty())
                        .unwrap();
                } else {
                    cleanup(&store);
                }
            }
            apply(&store, "top", Some("base"), &tar_of("top", b"t")).unwrap();
        }
        // A view that a dead process of another namespace keeps there.
        let mut keeper = Command::new(UNSHARE[0]);
        keeper
            .args(&UNSHARE[1..])
            .args(["sh", "-c", "echo READY && exec sleep 1000"]);
        let keeper = child::ready(keeper);
        let namespace = format!("--mount=/proc/{}/ns/mnt", keeper.id());
        let enter = ["nsenter", &namespace, "--"];
        child::kill(child::ready(child::wrapped(&enter, dir, "hold-top")));
        busy(
            "remove",
            "a view elsewhere",
            remove(&store, "top"),
            Code::Mounted,
        );
        cleanup(&store);
        busy(
            "remove",
            "a view elsewhere",
            remove(&store, "top"),
            Code::Mounted,
        );
        child::kill(keeper);
        settled(|| remove(&store, "top"));
        assert_clean(&store, dir);
    });
}

pub fn child_keeps_top(dir: &Path, _: &[&str]) {
    let store = store(dir);
    drop(mount(&store, "top", RO | MountFlags::KEEP).unwrap());
    child::wait_for_the_end();
}

/// A program that another thread starts has copies of all descriptors until its exec. One handle is
/// given up meanwhile, and the other is the last: it unmounts, or says that it cannot.
#[test]
fn copies_of_a_handle_do_not_hide_who_is_the_last() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        // In a process of its own: the copies would be of what other tests have open, too.
        child::succeeds(child::command(dir, "fork"));
        remove(&store, "box").unwrap();
        assert_clean(&store, dir);
    });
}

#[allow(unsafe_code)]
pub fn child_forks(dir: &Path, _: &[&str]) {
    let store = store(dir);
    for freed in [true, false] {
        let first = mount(&store, "box", RW).unwrap();
        let last = mount(&store, "box", RW).unwrap();
        // SAFETY: the child makes plain system calls until it is killed, and ends with this thread.
        let child = unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                loop {
                    libc::pause();
                }
            }
            child
        };
        assert!(child > 0);
        match freed {
            true => drop(first),
            false => unmount(first),
        }
        let (last, error) = last.unmount(UnmountFlags::empty()).err().unwrap();
        assert_eq!((error.errno(), error.code()), (Errno::BUSY, Code::Mounted));
        // SAFETY: a child of ours.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
        unmount(last);
        let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        assert!(!table.contains("ovl:box"), "{table}");
    }
}

/// A writable `root` is mounted as itself.
#[test]
fn who_holds_a_writable_root() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        let other = dir.join("other");
        fs::create_dir(&other).unwrap();
        for at in 0..3 {
            create(&store, "plain", None).unwrap();
            let held = match at {
                0 => mount(&store, "plain", RW),
                1 => mount(&store, "plain", MountFlags::DETACHED),
                _ => mount_at(&store, "plain", RW, &other),
            };
            let held = held.unwrap();
            busy("remove", "a root", remove(&store, "plain"), Code::Mounted);
            busy("commit", "a root", commit(&store, "plain"), Code::Mounted);
            busy(
                "create",
                "a root",
                create(&store, "over", Some("plain")),
                Code::Mounted,
            );
            let into = apply(&store, "plain", None, &tar_of("x", b"x")).map(drop);
            busy("apply", "a root", into, Code::Mounted);
            unmount(mount(&store, "plain", MountFlags::DETACHED).unwrap());
            unmount(held);
            remove(&store, "plain").unwrap();
        }
        assert_clean(&store, dir);
    });
}

/// What nobody can see: the kernel keeps no mark of lowers and of binds. The removal is one rename,
/// and what others still show of the layer gets empty; nothing outside the layer is touched.
#[test]
fn what_nobody_can_see() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        let mounted = mount(&store, "box", RW).unwrap();
        fs::write(path_of(&mounted).join("own"), "x").unwrap();
        unmount(mounted);
        commit(&store, "box").unwrap();
        let at = |rest: &str| layer(dir, rest).display().to_string();
        let lowers = format!("lowerdir={}:{}", at("box/upper"), at("base/root"));
        let as_lower = foreign(dir, "overlay", &lowers);
        let bind = dir.join("bind");
        fs::create_dir(&bind).unwrap();
        let mut command = Command::new("mount");
        have::run(command.args(["--bind", &at("base/root")]).arg(&bind)).unwrap();
        let open = fs::File::open(at("base/root")).unwrap();
        remove(&store, "box").unwrap();
        remove(&store, "base").unwrap();
        assert_eq!(names(&bind), [""; 0]);
        rustix::mount::unmount(&bind, rustix::mount::UnmountFlags::empty()).unwrap();
        as_lower.end(&store);
        drop(open);
        assert_clean(&store, dir);
    });
}

/// Mounts that killed holders left at one path, one over the other: a cleanup ends them from the top,
/// of whichever layer they are.
#[test]
fn leftovers_that_cover_one_another() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        let place = dir.join("place");
        fs::create_dir(&place).unwrap();
        for id in ["a", "b", "c"] {
            create(&store, id, Some("base")).unwrap();
        }
        // Each handle goes without an unmount, as with a kill.
        for id in ["b", "a", "c", "b", "a"] {
            drop(mount_at(&store, id, RO, &place));
        }
        assert!(fs::read_dir(&place).unwrap().count() > 0);
        let report = store.cleanup(&mut Watch::default()).unwrap();
        assert_eq!(report.busy, 0);
        assert_eq!(names(&place), [""; 0]);
        for id in ["a", "b", "c"] {
            assert_eq!(names(&layer(dir, &format!("{id}/pin"))), [""; 0]);
            remove(&store, id).unwrap();
        }
        assert_clean(&store, dir);
    });
}
