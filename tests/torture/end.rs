//! When all are dead: nothing is left, nothing is wrong, and all of it can be taken away.

use crate::judge;
use crate::kernel;
use crate::worker::Desk;
use ovl::error::{Code, Errno};
use ovl::store::*;
use ovl::watch::Watch;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn open(desk: &Desk) -> Store {
    Store::open(desk.home().as_os_str().as_bytes(), OpenOptions::default()).unwrap()
}

/// The store's mounts in the calling thread's namespace.
fn left(desk: &Desk) -> Vec<String> {
    let base = format!("{}/", desk.base.display());
    let all = kernel::mounts("thread-self").into_iter();
    let ours = |mount: &kernel::Mounted| {
        mount.source.starts_with("ovl:")
            || mount.point.starts_with(&format!("{base}home/"))
            || mount.point.starts_with(&format!("{base}at/"))
    };
    all.filter(ours).map(|mount| mount.point).collect()
}

/// In one of the namespaces: a cleanup ends what was held, and kept mounts can be ended.
pub fn clear(base: &Path) {
    let desk = Desk {
        base: base.to_path_buf(),
    };
    let store = open(&desk);
    // What is kept may cover what was held, and the other way round.
    let mut before = usize::MAX;
    let mut refused = Vec::new();
    while left(&desk).len() < before {
        before = left(&desk).len();
        refused.clear();
        let report = store.cleanup(&mut Watch::default()).unwrap();
        if report.busy > 0 {
            refused.push(format!(
                "nobody is left, and to a cleanup {} are busy",
                report.busy
            ));
        }
        for id in store.list().unwrap() {
            match store.unmount_at(id.as_bytes(), UnmountFlags::empty()) {
                Ok(()) => {}
                Err(error) if (error.errno(), error.code()) == (Errno::INVAL, Code::System) => {}
                // The other namespace has its turn.
                Err(error) if error.message().contains("another mount namespace") => {}
                Err(error) => refused.push(format!("nobody is left: {error}: {}", holders(&error))),
            }
        }
    }
    for refused in refused {
        desk.finding(&refused);
    }
    for point in left(&desk) {
        desk.finding(&format!("still mounted: {point}"));
    }
}

/// The mounts at and below the path of an error, and the processes that are in one of them.
fn holders(error: &ovl::error::Error) -> String {
    let path = String::from_utf8_lossy(error.path()).into_owned();
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let mut all: Vec<String> = table
        .lines()
        .filter(|l| l.contains(&path))
        .map(str::to_string)
        .collect();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        for place in ["fd", "map_files"] {
            for link in fs::read_dir(process.path().join(place))
                .into_iter()
                .flatten()
                .flatten()
            {
                if fs::read_link(link.path()).is_ok_and(|to| to.starts_with(&path)) {
                    all.push(link.path().display().to_string());
                }
            }
        }
        for link in ["cwd", "root"] {
            if fs::read_link(process.path().join(link)).is_ok_and(|to| to.starts_with(&path)) {
                all.push(process.path().join(link).display().to_string());
            }
        }
    }
    all.join("; ")
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// After both namespaces were cleared. Gives how many layers there were.
pub fn judge(desk: &Desk) -> usize {
    let store = open(desk);
    let say = |what: String| desk.finding(&what);
    for problem in store
        .check(CheckFlags::empty(), &mut Watch::default())
        .unwrap()
    {
        if !problem.note {
            say(format!("check at the end: {problem:?}"));
        }
    }
    let ids = store.list().unwrap();
    for id in &ids {
        let info = store.stat(id.as_bytes()).unwrap();
        if info.mounted {
            say(format!("{id} is mounted, by nobody"));
        }
        let pins = names(&desk.home().join(format!("layer/{id}/pin")));
        if !pins.is_empty() {
            say(format!("{id}: pins of nothing: {pins:?}"));
        }
        match judge::verify(&store, id, &desk.register()) {
            Ok(Ok(_)) => {}
            Ok(Err(wrong)) => say(wrong),
            Err(error) => say(format!("{id}: {error}")),
        }
    }
    let there = names(&desk.home().join("layer"));
    if there != ids {
        say(format!("layer/ has {there:?}, of which layers are {ids:?}"));
    }
    // Children first.
    let mut todo = ids.clone();
    while !todo.is_empty() {
        let before = todo.len();
        todo.retain(|id| {
            let done = store.remove(id.as_bytes(), RemoveFlags::empty(), &mut Watch::default());
            match done {
                Ok(()) => false,
                Err(error) if error.code() == Code::HasChildren => true,
                Err(error) => {
                    say(format!("at the end: {error}"));
                    false
                }
            }
        });
        if todo.len() == before {
            say(format!("each has children: {todo:?}"));
            break;
        }
    }
    drop(store);
    for place in ["layer", "stage", "trash"] {
        let rest = names(&desk.home().join(place));
        if !rest.is_empty() {
            say(format!("{place}/ still has {rest:?}"));
        }
    }
    let home = names(&desk.home());
    if home != ["layer", "ovl-store", "stage", "trash"] {
        say(format!("home has {home:?}"));
    }
    let dir = fs::File::open(desk.home()).unwrap();
    let alone = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    if rustix::fs::flock(&dir, alone).is_err() {
        say("somebody still has the store locked".to_string());
    }
    ids.len()
}
