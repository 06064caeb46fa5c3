//! What the tests of the store share: short names for its calls, and small layers.

use ovl::error::{Errno, Error, Result};
use ovl::store::*;
use ovl::watch::Watch;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub const NONE: CreateFlags = CreateFlags::empty();
pub const RW: MountFlags = MountFlags::empty();
pub const RO: MountFlags = MountFlags::READ_ONLY;

pub fn open(home: &Path) -> Store {
    try_open(home, OpenFlags::empty()).unwrap()
}

pub fn try_open(home: &Path, flags: OpenFlags) -> Result<Store> {
    let options = OpenOptions {
        flags,
        ..Default::default()
    };
    Store::open(home.as_os_str().as_bytes(), options)
}

/// A store in `dir/home`.
pub fn store(dir: &Path) -> Store {
    open(&dir.join("home"))
}

pub fn create(store: &Store, id: &str, parent: Option<&str>) -> Result<()> {
    create_with(store, id, parent, NONE)
}

pub fn create_with(s: &Store, id: &str, parent: Option<&str>, flags: CreateFlags) -> Result<()> {
    let parent = parent.map(str::as_bytes);
    s.create(id.as_bytes(), parent, flags, &mut Watch::default())
}

pub fn commit(store: &Store, id: &str) -> Result<()> {
    let watch = &mut Watch::default();
    store.commit(id.as_bytes(), Durability::None, CommitFlags::empty(), watch)
}

pub fn remove(store: &Store, id: &str) -> Result<()> {
    let watch = &mut Watch::default();
    store.remove(id.as_bytes(), RemoveFlags::empty(), watch)
}

pub fn mount(store: &Store, id: &str, flags: MountFlags) -> Result<Mount> {
    let options = MountOptions {
        flags,
        ..Default::default()
    };
    store.mount(id.as_bytes(), &options)
}

pub fn mount_at(store: &Store, id: &str, flags: MountFlags, target: &Path) -> Result<Mount> {
    let options = MountOptions {
        flags,
        target: Some(target.as_os_str().as_bytes()),
        label: None,
    };
    store.mount(id.as_bytes(), &options)
}

/// Other tests start processes: between fork and exec these hold what this one just closed.
pub fn settled<T>(mut call: impl FnMut() -> Result<T>) -> T {
    for _ in 0..200 {
        match call() {
            Err(error) if error.errno() == Errno::BUSY => {}
            done => return done.unwrap(),
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    call().unwrap()
}

pub fn unmount(mount: Mount) {
    let mut handle = Some(mount);
    settled(
        || match handle.take().unwrap().unmount(UnmountFlags::empty()) {
            Ok(()) => Ok(()),
            Err((back, error)) => {
                handle = Some(back);
                Err(error)
            }
        },
    );
}

/// The damage; [`check_all`] has the notes too.
pub fn check(store: &Store) -> Vec<Problem> {
    let mut found = check_all(store);
    found.retain(|one| !one.note);
    found
}

pub fn check_all(store: &Store) -> Vec<Problem> {
    store
        .check(CheckFlags::empty(), &mut Watch::default())
        .unwrap()
}

pub fn repair(store: &Store) -> Vec<Problem> {
    let watch = &mut Watch::default();
    let mut found = settled(|| store.check(CheckFlags::REPAIR, watch));
    found.retain(|one| !one.note);
    found
}

pub fn cleanup(store: &Store) -> CleanupReport {
    store.cleanup(&mut Watch::default()).unwrap()
}

pub fn path_of(mount: &Mount) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(mount.path()))
}

/// The error of what must fail.
#[track_caller]
pub fn fails<T>(result: Result<T>, errno: Errno) -> Error {
    match result {
        Ok(_) => panic!("it should have failed with {errno:?}"),
        Err(error) => {
            assert_eq!(error.errno(), errno, "{error}");
            error
        }
    }
}

/// The names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The directory of a layer, or of something in it.
pub fn layer(dir: &Path, rest: &str) -> PathBuf {
    dir.join("home/layer").join(rest)
}

/// A plain tar of one file.
pub fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    let put = |header: &mut [u8; 512], at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    put(&mut header, 100, "0000644\0");
    put(&mut header, 108, "0000000\0");
    put(&mut header, 116, "0000000\0");
    put(&mut header, 124, &format!("{:011o}\0", content.len()));
    put(&mut header, 136, "00000000000\0");
    put(&mut header, 148, "        ");
    put(&mut header, 156, "0");
    put(&mut header, 257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
    put(&mut header, 148, &format!("{sum:06o}\0 "));
    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().div_ceil(512) * 512 + 1024, 0);
    tar
}

pub fn apply(store: &Store, id: &str, parent: Option<&str>, tar: &[u8]) -> Result<LayerInfo> {
    apply_as(store, id, parent, None, tar)
}

pub fn apply_as(
    store: &Store,
    id: &str,
    parent: Option<&str>,
    kind: Option<Kind>,
    tar: &[u8],
) -> Result<LayerInfo> {
    let options = ApplyOptions {
        parent: parent.map(str::as_bytes),
        kind,
        durability: Durability::None,
        ..Default::default()
    };
    let mut tar = tar;
    store.apply(id.as_bytes(), &mut tar, &options, &mut Watch::default())
}

/// Layer `base`: root kind, committed, one file of its own name.
pub fn base(store: &Store) {
    apply(store, "base", None, &tar_of("base", b"base")).unwrap();
}

/// Nothing is wrong, nothing is mounted, nothing is left over.
pub fn assert_clean(store: &Store, dir: &Path) {
    // A child that another test is starting has our locks until it execs.
    let start = std::time::Instant::now();
    let rest = |place: &str| names(&dir.join("home").join(place)).len();
    while cleanup(store).busy + rest("stage") as u64 + rest("trash") as u64 > 0
        && start.elapsed().as_secs() < 20
    {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(check(store), []);
    assert_eq!(names(&dir.join("home/stage")), [""; 0]);
    assert_eq!(names(&dir.join("home/trash")), [""; 0]);
    assert_eq!(mounts_below(&dir.join("home")), [""; 0]);
}

/// The mount points below a path, in the calling thread's namespace.
pub fn mounts_below(path: &Path) -> Vec<String> {
    let path = format!("{}/", path.display());
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .filter(|point| point.starts_with(&path))
        .map(str::to_string)
        .collect()
}
