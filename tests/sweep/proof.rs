//! That the sweep can fail: careless operations, each of which it must catch, and the injector
//! itself, over calls that are known.

use crate::calls;
use crate::driver;
use crate::lab::Lab;
use crate::ops::{OP, Op};
use crate::support::fsys;
use crate::trace::{self, Act};
use ovl::error::{Errno, Result};
use ovl::tree::{CopyOptions, copy_dir};
use ovl::watch::Watch;
use rustix::fs::CWD;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A layer made in its place, `meta` before the tree.
fn copy_in_place(lab: &Lab) -> Result<String> {
    let (from, to) = (lab.at("base"), lab.at("x"));
    let _ = fs::create_dir(&to);
    let (from, to) = (from.as_os_str().as_bytes(), to.as_os_str().as_bytes());
    let options = CopyOptions::default();
    let watch = &mut Watch::default();
    copy_dir(CWD.as_fd(), from, CWD.as_fd(), to, &options, watch).map(|_| String::new())
}

/// Operations that are wrong, and what the sweep says of them.
pub const CARELESS: &[Op] = &[
    Op {
        name: "careless-in-place",
        prepare: |lab| lab.base(),
        run: |lab| copy_in_place(lab),
        again: &[Errno::NOTEMPTY],
        damage: &["not whole"],
        ..OP
    },
    Op {
        name: "careless-swallows",
        prepare: |lab| lab.raw(),
        run: |lab| {
            let _ = rustix::fs::unlink(lab.at("raw/root/g"));
            Ok(String::new())
        },
        ..OP
    },
    Op {
        name: "careless-leaks",
        prepare: |lab| lab.base(),
        run: |lab| {
            std::mem::forget(fs::File::open(lab.at("base/root/g")));
            lab.store().list().map(|_| String::new())
        },
        ..OP
    },
    Op {
        name: "careless-touches",
        prepare: |lab| lab.mid(),
        run: |lab| {
            // What another layer has is changed for a moment.
            let file = lab.at("base/root/g");
            let has = fs::metadata(&file).unwrap().permissions();
            let mut other = has.clone();
            std::os::unix::fs::PermissionsExt::set_mode(&mut other, 0o600);
            fs::set_permissions(&file, other).unwrap();
            fs::set_permissions(&file, has).unwrap();
            Ok(String::new())
        },
        ..OP
    },
    Op {
        name: "careless-leaves",
        prepare: |lab| lab.base(),
        run: |lab| {
            let _ = fs::create_dir(lab.home().join("stage/left"));
            lab.store().list()?;
            let _ = fs::remove_dir(lab.home().join("stage/left"));
            Ok(String::new())
        },
        ..OP
    },
    Op {
        name: "careless-mounts",
        prepare: |lab| lab.base(),
        run: |lab| {
            let (from, to) = (lab.at("base/root"), lab.dir.join("target"));
            rustix::mount::mount_bind(from, &to).unwrap();
            let listed = lab.store().list();
            fsys::unmount(&to);
            listed.map(|_| String::new())
        },
        ..OP
    },
];

/// The sweep of a careless operation fails, and says this.
#[track_caller]
fn caught(name: &str, words: &str) {
    require!("root", "overlay", "tmpfs");
    // One point of another operation is asked for.
    if !driver::right_machine() || driver::is_only() {
        return;
    }
    let said = driver::sweep_of(name).expect("the sweep found nothing");
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_layer_made_in_place_is_caught() {
    caught("careless-in-place", "the store is wrong: layer x");
}

#[test]
fn an_error_that_is_swallowed_is_caught() {
    caught("careless-swallows", "the store is wrong: layer raw");
}

#[test]
fn a_descriptor_that_stays_open_is_caught() {
    caught("careless-leaks", "it leaks /");
}

#[test]
fn another_layers_inode_that_is_touched_is_caught() {
    caught("careless-touches", "! g: mode");
}

#[test]
fn work_that_is_left_lying_is_caught() {
    caught("careless-leaves", "it leaves home/stage/left");
}

#[test]
fn a_mount_that_stays_is_caught() {
    caught("careless-mounts", "a mount stays");
}

#[test]
fn the_injector_does_what_it_says() {
    require!("root", "tmpfs");
    driver::run_limit("injector");
}

/// Makes directories `a`, `b`, ... and says for each whether it could.
fn make(dir: &Path, out: &mut fs::File) -> i32 {
    use std::io::Write;
    trace::begin();
    let made = ["a", "b", "c", "d"].map(|name| rustix::fs::mkdir(dir.join(name), 0o700.into()));
    trace::end();
    let said = made.map(|made| made.map_or_else(|errno| errno.raw_os_error(), |()| 0));
    let _ = write!(out, "{said:?}");
    0
}

/// What was said, and what is there.
fn tried(base: &Path, act: Act) -> (trace::Seen, String, usize) {
    use std::io::Read;
    let dir = base.join("tried");
    fs::create_dir(&dir).unwrap();
    let (mut read, mut write) = trace::pipe();
    let seen = trace::run(act, || make(&dir, &mut write));
    drop(write);
    let mut said = String::new();
    read.read_to_string(&mut said).unwrap();
    let there = fs::read_dir(&dir).unwrap().count();
    fs::remove_dir_all(&dir).unwrap();
    (seen, said, there)
}

/// In a process of its own: it waits for any child.
pub fn injector(base: &Path) {
    let (seen, said, there) = tried(base, Act::Count);
    assert_eq!((seen.calls.len(), there), (4, 4), "{said}");
    assert!(
        seen.calls
            .iter()
            .all(|call| calls::name(call.number) == "mkdirat")
    );
    for at in 1..=5 {
        let (seen, said, there) = tried(base, Act::Kill(at));
        // Before the call, not after it.
        assert_eq!((said.as_str(), there), ("", at - 1));
        assert!(seen.hit.is_some() && !seen.ended);
    }
    let (seen, said, there) = tried(base, Act::Kill(6));
    assert_eq!((said.as_str(), there), ("[0, 0, 0, 0]", 4));
    assert!(seen.hit.is_none() && seen.ended);
    let (_, said, there) = tried(base, Act::Fail(2, libc::EIO));
    assert_eq!((said.as_str(), there), ("[0, 5, 0, 0]", 3));
    let (_, said, there) = tried(base, Act::FailOn(2, libc::ENOSPC));
    assert_eq!((said.as_str(), there), ("[0, 28, 28, 28]", 1));
    // Not one that mkdir can have.
    let (seen, said, there) = tried(base, Act::Fail(2, libc::EMFILE));
    assert_eq!((said.as_str(), there), ("[0, 0, 0, 0]", 4));
    assert!(seen.hit.is_none());
    // Calls of another thread count, and go with the process.
    let counted = |act| {
        trace::run(act, || {
            trace::begin();
            let thread = std::thread::spawn(|| rustix::fs::access("/", rustix::fs::Access::EXISTS));
            let done = thread.join();
            trace::end();
            i32::from(done.is_err())
        })
    };
    let seen = counted(Act::Count);
    let named = |call: &trace::Call| calls::name(call.number).contains("access");
    let at = seen
        .calls
        .iter()
        .position(named)
        .expect("the thread's call");
    assert!(counted(Act::Kill(at + 1)).hit.is_some());
}
