//! Layers from any bytes: a store with a small parent, and a canary beside it.

use crate::archive::{self, Reader, Sink, Writer};
use crate::error::{Code, Errno, Error, Result};
use crate::store::{
    Against, ApplyOptions, DiffFlags, DiffOptions, Durability, Kind, Limits, OpenOptions,
    RemoveFlags, Store,
};
use crate::sys::dir::DirBuf;
use crate::sys::{OwnedFd, fs, xattr};
use crate::tree::attrs::Inode;
use crate::watch::Watch;
use std::ffi::OsStr;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

/// A store with a parent for hostile layers, and what must not change beside it.
pub struct World {
    pub store: Store,
    home: PathBuf,
    canary: PathBuf,
    before: Vec<String>,
    removed: u64,
}

/// The layer that others are put on.
pub const PARENT: &[u8] = b"mid";

/// Any bytes as a layer.
pub fn apply(data: &[u8]) {
    world(|world| apply_in(world, data));
}

/// Runs with the one world of the process, in `$OVL_FUZZ_DIR`.
pub fn world(run: impl FnOnce(&mut World)) {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    let world = WORLD.get_or_init(|| {
        let dir = std::env::var_os("OVL_FUZZ_DIR").expect("OVL_FUZZ_DIR names a directory");
        let own = format!("world-{}", std::process::id());
        Mutex::new(World::new(&Path::new(&dir).join(own)))
    });
    let mut world = world.lock().unwrap();
    let files = open_files();
    run(&mut world);
    assert_eq!(open_files(), files, "descriptors are left open");
}

/// The same in a world of the caller's.
pub fn apply_in(world: &mut World, data: &[u8]) {
    let _ = world.layer(data, None, Kind::Root);
    let root = world.layer(data, Some(PARENT), Kind::Root);
    let upper = world.layer(data, Some(PARENT), Kind::Overlay);
    match (root, upper) {
        (Ok(root), Ok(upper)) => {
            if !has_hard_links(data) {
                assert!(root == upper, "the kinds give two diffs");
            }
        }
        (Err(a), Err(b)) => assert_eq!((a.errno(), a.code()), (b.errno(), b.code()), "{a} / {b}"),
        (a, b) => panic!("the kinds disagree: {:?} / {:?}", a.err(), b.err()),
    }
    world.check_canary();
}

/// A link to a file from below means a copy in one kind and the file itself in the other: their
/// link groups differ, and so their diffs.
fn has_hard_links(data: &[u8]) -> bool {
    let mut decoder = archive::Decoder::new(data, Default::default());
    let mut reader = Reader::new(&mut decoder, Default::default());
    while let Ok(Some(entry)) = reader.next_entry() {
        if entry.kind == archive::Kind::HardLink {
            return true;
        }
    }
    false
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A diff is as large as the layer's holes; nothing here needs more.
struct Bounded(Vec<u8>);

impl Sink for Bounded {
    fn write_all(&mut self, buf: &[u8]) -> Result<()> {
        assert!(self.0.len() < 64 << 20, "a diff that does not end");
        self.0.extend_from_slice(buf);
        Ok(())
    }
}

impl World {
    /// Makes it at `dir`, which is not there.
    pub fn new(dir: &Path) -> World {
        let canary = dir.join("canary");
        std::fs::create_dir_all(canary.join("sub")).unwrap();
        std::fs::write(canary.join("victim"), "secret").unwrap();
        std::fs::write(canary.join("sub/inner"), "secret").unwrap();
        std::os::unix::fs::symlink("victim", canary.join("link")).unwrap();
        let home = dir.join("home");
        let path = home.as_os_str().as_encoded_bytes();
        let store = Store::open(path, OpenOptions::default()).unwrap();
        let before = look(dir, &canary);
        let mut world = World {
            store,
            home,
            canary,
            before,
            removed: 0,
        };
        let (base, over) = parents(&world.canary);
        world.put(b"base", &base, None, Kind::Root).unwrap();
        world
            .put(PARENT, &over, Some(b"base"), Kind::Overlay)
            .unwrap();
        world
    }

    /// Applies with small limits.
    pub fn put(&mut self, id: &[u8], data: &[u8], parent: Option<&[u8]>, kind: Kind) -> Result<()> {
        let options = ApplyOptions {
            parent,
            kind: Some(kind),
            durability: Durability::None,
            limits: Limits {
                max_size: 4 << 20,
                max_entries: 1000,
                max_path: 5000,
                zstd_window_log: 20,
                ..Limits::default()
            },
            ..ApplyOptions::default()
        };
        self.store
            .apply(id, &mut &data[..], &options, &mut Watch::default())
            .map(drop)
    }

    fn diff(&self, id: &[u8], parent: Option<&[u8]>) -> Vec<u8> {
        let options = DiffOptions {
            flags: DiffFlags::SPARSE,
            ..Default::default()
        };
        let against = parent.map_or(Against::Nothing, Against::Layer);
        let mut bytes = Bounded(Vec::new());
        let info = self
            .store
            .diff(id, against, &mut bytes, &options, &mut Watch::default());
        let info = info.expect("what was applied has a diff");
        assert_eq!((info.skipped_sockets, info.skipped_names), (0, 0));
        bytes.0
    }

    /// Takes a layer away. The store itself would ask the kernel for mounts, which costs most of
    /// the time; it is let to now and then.
    pub fn remove(&mut self, id: &[u8]) {
        self.removed += 1;
        if self.removed % 64 == 0 {
            let none = RemoveFlags::empty();
            return self.store.remove(id, none, &mut Watch::default()).unwrap();
        }
        let path = self.home.join("layer").join(OsStr::from_bytes(id));
        std::fs::remove_dir_all(path).unwrap();
    }

    /// Applies `data` as a layer, checks what came of it, and takes it away. Gives the layer's
    /// diff.
    pub fn layer(&mut self, data: &[u8], parent: Option<&[u8]>, kind: Kind) -> Result<Vec<u8>> {
        let result = self.put(b"x", data, parent, kind);
        self.nothing_left();
        if let Err(error) = result {
            check_error(&error, &[]);
            assert!(!self.home.join("layer/x").exists());
            return Err(error);
        }
        let name = if kind == Kind::Root { "root" } else { "upper" };
        let content = fs::open_dir_trusted(
            rustix::fs::CWD,
            self.home
                .join("layer/x")
                .join(name)
                .as_os_str()
                .as_encoded_bytes(),
        );
        check_tree(&content.unwrap(), kind);
        let diff = self.diff(b"x", parent);
        if let Err(error) = self.put(b"y", &diff, parent, kind) {
            panic!("a diff cannot be applied: {error}");
        }
        let again = self.diff(b"y", parent);
        assert!(again == diff, "the diff of a diff is another");
        self.remove(b"y");
        self.remove(b"x");
        Ok(diff)
    }

    pub fn nothing_left(&self) {
        for place in ["stage", "trash"] {
            let left = std::fs::read_dir(self.home.join(place)).unwrap().count();
            assert_eq!(left, 0, "left in {place}");
        }
    }

    pub fn check_canary(&self) {
        let dir = self.canary.parent().unwrap();
        assert_eq!(look(dir, &self.canary), self.before, "the canary");
    }
}

/// What there is beside the home, and all about it.
fn look(dir: &Path, canary: &Path) -> Vec<String> {
    let mut beside: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|item| item.unwrap().file_name())
        .collect();
    beside.sort();
    let mut seen = vec![format!("{beside:?}")];
    for name in ["", "victim", "link", "sub", "sub/inner"] {
        let path = canary.join(name);
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let names = xattr::list(OwnedFd::from(file)).unwrap();
        let content = std::fs::read(&path).unwrap_or_default();
        let list = std::fs::read_dir(&path)
            .map(Iterator::count)
            .unwrap_or_default();
        seen.push(format!(
            "{name} {:o} {} {} {} {} {} {}.{} {}.{} {names:?} {content:?} {list}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.ino(),
            meta.nlink(),
            meta.size(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        ));
    }
    seen
}

/// No name of a whiteout reaches a tree; no mark of overlayfs a tree of kind `root`.
fn check_tree(dir: &OwnedFd, kind: Kind) {
    let marks = kind == Kind::Overlay;
    let check = |names: Vec<Vec<u8>>| {
        let overlay: Vec<_> = names
            .into_iter()
            .filter(|name| xattr::is_overlay(name))
            .collect();
        let ours = |name: &Vec<u8>| name.ends_with(b".overlay.opaque");
        assert!(
            overlay.iter().all(|name| marks && ours(name)),
            "a mark: {overlay:?}"
        );
    };
    check(xattr::list(dir).unwrap());
    let again = fs::open_dir_trusted(dir, b".").unwrap();
    for name in DirBuf::default().sorted_names(again).unwrap() {
        assert!(!name.starts_with(b".wh."), "{}", name.escape_ascii());
        let meta = fs::stat_at(dir, &name).unwrap();
        assert!(marks || !meta.is_whiteout(), "{}", name.escape_ascii());
        match meta.kind {
            fs::Kind::Directory => check_tree(&fs::open_dir(dir, &name).unwrap(), kind),
            _ => {
                let inode = Inode::Named(dir.as_fd(), &name);
                check(
                    inode
                        .xattrs()
                        .unwrap()
                        .into_iter()
                        .map(|pair| pair.0)
                        .collect(),
                );
            }
        }
    }
}

/// What is read is refused for what it is, never by a mistake of ours; `also`: with these codes, too.
pub(super) fn check_error(error: &Error, also: &[Code]) {
    let code = error.code();
    let of_any = matches!(
        code,
        Code::Archive
            | Code::Truncated
            | Code::Limit
            | Code::Unsupported
            | Code::System
            | Code::Escape
    );
    assert!(of_any || also.contains(&code), "{error}: {code:?}");
    let ours = [
        Errno::NOTRECOVERABLE,
        Errno::BADF,
        Errno::FAULT,
        Errno::NOSYS,
        Errno::MFILE,
        Errno::NOMEM,
        Errno::IO,
    ];
    assert!(!ours.contains(&error.errno()), "{error}");
}

/// Two layers with what hostile ones like to find below.
fn parents(canary: &Path) -> (Vec<u8>, Vec<u8>) {
    use archive::Kind::*;
    let canary = canary.as_os_str().as_encoded_bytes();
    let out = |more: &[u8]| [canary, more].concat();
    let base: Vec<(&[u8], archive::Kind, Vec<u8>)> = vec![
        (b"a/", Directory, vec![]),
        (b"a/f", File, b"below".to_vec()),
        (b"a/h", HardLink, b"a/f".to_vec()),
        (b"a/d/", Directory, vec![]),
        (b"a/d/x", File, b"x".to_vec()),
        (b"b", File, b"b".to_vec()),
        (b"c/", Directory, vec![]),
        (b"c/x", File, b"c".to_vec()),
        (b"l", Symlink, out(b"")),
        (b"m", Symlink, b"a".to_vec()),
        (b"n", Symlink, b"../../../../canary/sub".to_vec()),
        (b"p", Fifo, vec![]),
        (b"v", Symlink, out(b"/victim")),
    ];
    let over: Vec<(&[u8], archive::Kind, Vec<u8>)> = vec![
        (b".wh.b", File, vec![]),
        (b"a/d/", Directory, vec![]),
        (b"a/d/.wh..wh..opq", File, vec![]),
        (b"a/d/y", File, b"y".to_vec()),
        (b"c/x", File, b"over".to_vec()),
        (b"e/", Directory, vec![]),
    ];
    let tar = |list: Vec<(&[u8], archive::Kind, Vec<u8>)>| {
        let mut writer = Writer::new(Vec::new());
        for (path, kind, more) in list {
            let mut header = archive::fuzzing::plain(path, kind);
            header.mode = 0o755;
            match kind {
                File => header.size = more.len() as u64,
                _ => header.link.clone_from(&more),
            }
            writer.begin(&header).unwrap();
            if kind == File {
                writer.data(&more).unwrap();
            }
        }
        writer.finish().unwrap()
    };
    (tar(base), tar(over))
}
