//! A store on a scratch file system, and a look at what is in its layers.

use crate::support::have;
use ovl::error::Result;
use ovl::store::*;
use ovl::watch::Watch;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// One inode as seen under one path: all that a layer tar can say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// As `ls -l` says it, but `f` for a file.
    pub kind: char,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: (i64, u32),
    /// Content, target, or device number.
    pub data: Vec<u8>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path of the same inode.
    pub leader: Vec<u8>,
}

/// A tree by its paths; the root is the empty path.
pub type Tree = BTreeMap<Vec<u8>, Seen>;

/// Looks at a directory and all below it.
pub fn look(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut ids = BTreeMap::new();
    let mut todo = vec![Vec::new()];
    while let Some(rel) = todo.pop() {
        let path = root.join(OsStr::from_bytes(&rel));
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let rdev = meta.rdev();
        let device = || format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev)).into();
        let (kind, data) = if kind.is_dir() {
            for child in std::fs::read_dir(&path).unwrap() {
                let name = child.unwrap().file_name();
                let slash: &[u8] = if rel.is_empty() { b"" } else { b"/" };
                todo.push([&rel[..], slash, name.as_bytes()].concat());
            }
            ('d', Vec::new())
        } else if kind.is_symlink() {
            let target = std::fs::read_link(&path).unwrap();
            ('l', target.into_os_string().as_bytes().to_vec())
        } else if kind.is_file() {
            ('f', std::fs::read(&path).unwrap())
        } else if kind.is_fifo() {
            ('p', Vec::new())
        } else if kind.is_socket() {
            ('s', Vec::new())
        } else if kind.is_char_device() {
            ('c', device())
        } else {
            ('b', device())
        };
        let mut xattrs = BTreeMap::new();
        for name in xattr::list(&path).unwrap() {
            let value = xattr::get(&path, &name).unwrap().unwrap();
            xattrs.insert(name.as_bytes().to_vec(), value);
        }
        let seen = Seen {
            kind,
            mode: if kind == 'l' {
                0o777
            } else {
                meta.mode() & 0o7777
            },
            uid: meta.uid(),
            gid: meta.gid(),
            mtime: (meta.mtime(), meta.mtime_nsec() as u32),
            data,
            xattrs,
            leader: Vec::new(),
        };
        tree.insert(rel.clone(), seen);
        ids.insert(rel, (meta.dev(), meta.ino()));
    }
    let mut leaders = HashMap::new();
    for (path, id) in ids {
        let leader: &mut Vec<u8> = leaders.entry(id).or_insert_with(|| path.clone());
        tree.get_mut(&path).unwrap().leader = leader.clone();
    }
    tree
}

/// What differs, a line each.
pub fn differences(is: &Tree, should: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    for path in is
        .keys()
        .chain(should.keys().filter(|path| !is.contains_key(*path)))
    {
        let (a, b) = (is.get(path), should.get(path));
        if a != b {
            let show = |seen: Option<&Seen>| seen.map_or("nothing".into(), brief);
            lines.push(format!(
                "{}: is {}, should be {}",
                path.escape_ascii(),
                show(a),
                show(b)
            ));
        }
    }
    lines
}

fn brief(seen: &Seen) -> String {
    let data = seen.data[..seen.data.len().min(40)].escape_ascii();
    let Seen {
        kind,
        mode,
        uid,
        gid,
        mtime,
        xattrs,
        leader,
        ..
    } = seen;
    let leader = leader.escape_ascii();
    format!("{kind} {mode:o} {uid}:{gid} {mtime:?} {data:?} {xattrs:?} ={leader}")
}

#[track_caller]
pub fn assert_tree(what: &str, is: &Tree, should: &Tree) {
    let lines = differences(is, should);
    assert!(lines.is_empty(), "{what}:\n{}", lines.join("\n"));
}

/// As [`assert_tree`]; but a file that is equal to the one below is left out of a diff, and is
/// again one inode with the names that it had `below`.
#[track_caller]
pub fn assert_same_but_splits(what: &str, is: &Tree, should: &Tree, below: &Tree) {
    let leader = |tree: &Tree, path: &[u8]| tree.get(path).map(|seen| seen.leader.clone());
    let show = |path: &[u8]| path.escape_ascii().to_string();
    // Names that were one inode are; more of them may be, if they were below.
    for (path, seen) in should {
        let (own, first) = (leader(is, path), leader(is, &seen.leader));
        assert_eq!(
            own,
            first,
            "{what}: {} is no longer one with its group",
            show(path)
        );
        let Some(first) = own else { continue };
        let joined = leader(should, &first).is_some_and(|of_first| of_first != seen.leader);
        assert!(
            !joined || leader(below, path) == leader(below, &first),
            "{what}: {} and {} became one inode",
            show(path),
            show(&first)
        );
    }
    let (mut is, mut should) = (is.clone(), should.clone());
    is.values_mut()
        .chain(should.values_mut())
        .for_each(|seen| seen.leader.clear());
    assert_tree(what, &is, &should);
}

/// Unmounts.
pub fn end(mount: Mount) {
    let mut mount = Some(mount);
    patiently(
        || match mount.take().unwrap().unmount(UnmountFlags::empty()) {
            Ok(()) => Ok(()),
            Err((again, error)) => {
                mount = Some(again);
                Err(error)
            }
        },
    );
}

/// Calls again while something is busy: a program that another test starts holds our descriptors,
/// and with them mounts and locks, until its exec.
pub fn patient<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 0..200 {
        match call() {
            Err(error) if error.errno().raw_os_error() == libc::EBUSY => {}
            done => return done,
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    call()
}

fn patiently(call: impl FnMut() -> Result<()>) {
    patient(call).unwrap();
}

/// A path made of bytes.
pub fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// With OVL_TEST_THREADS=always no work is too short for threads, unless a test says otherwise.
pub fn threads(wanted: Threads) -> Threads {
    match wanted {
        Threads::Auto if have::threads_always() => Threads::Always,
        wanted => wanted,
    }
}

pub struct Lab {
    pub home: PathBuf,
    pub store: Store,
}

impl Lab {
    /// A new store below `dir`.
    pub fn new(dir: &Path) -> Lab {
        Lab::with(dir, "home")
    }

    pub fn with(dir: &Path, name: &str) -> Lab {
        let home = dir.join(name);
        let store = Store::open(home.as_os_str().as_bytes(), OpenOptions::default()).unwrap();
        Lab { home, store }
    }

    /// Applies without syncing.
    pub fn apply(&self, id: &str, parent: &str, kind: Kind, tar: &[u8]) -> Result<LayerInfo> {
        self.apply_with(id, parent, kind, tar, ApplyOptions::default())
    }

    pub fn apply_with(
        &self,
        id: &str,
        parent: &str,
        kind: Kind,
        mut tar: &[u8],
        options: ApplyOptions<'_>,
    ) -> Result<LayerInfo> {
        let options = ApplyOptions {
            parent: (!parent.is_empty()).then_some(parent.as_bytes()),
            kind: Some(kind),
            durability: Durability::None,
            threads: threads(options.threads),
            ..options
        };
        self.store
            .apply(id.as_bytes(), &mut tar, &options, &mut Watch::default())
    }

    /// Commits without syncing.
    pub fn commit(&self, id: &str) {
        let flags = CommitFlags::empty();
        self.store
            .commit(
                id.as_bytes(),
                Durability::None,
                flags,
                &mut Watch::default(),
            )
            .unwrap();
    }

    pub fn create(&self, id: &str, parent: &str) {
        let parent = (!parent.is_empty()).then_some(parent.as_bytes());
        self.store
            .create(
                id.as_bytes(),
                parent,
                CreateFlags::empty(),
                &mut Watch::default(),
            )
            .unwrap();
    }

    pub fn mount(&self, id: &str, flags: MountFlags) -> Mount {
        let options = MountOptions {
            flags,
            ..MountOptions::default()
        };
        patient(|| self.store.mount(id.as_bytes(), &options)).unwrap()
    }

    /// Does `work` in the writable mount of a layer.
    pub fn change<T>(&self, id: &str, work: impl FnOnce(&Path) -> T) -> T {
        let mount = self.mount(id, MountFlags::empty());
        let done = work(&path(mount.path()));
        end(mount);
        done
    }

    /// The content of a layer as a container sees it.
    pub fn look(&self, id: &str) -> Tree {
        let info = self.store.stat(id.as_bytes()).unwrap();
        if info.kind == Kind::Root {
            return look(&self.home.join("layer").join(id).join("root"));
        }
        let mount = self.mount(id, MountFlags::READ_ONLY);
        let tree = look(&path(mount.path()));
        end(mount);
        tree
    }

    pub fn try_diff(
        &self,
        id: &str,
        against: Against<'_>,
        flags: DiffFlags,
    ) -> Result<(Vec<u8>, LayerInfo)> {
        let mut tar = Vec::new();
        let options = DiffOptions {
            flags,
            ..DiffOptions::default()
        };
        let info = self.store.diff(
            id.as_bytes(),
            against,
            &mut tar,
            &options,
            &mut Watch::default(),
        )?;
        Ok((tar, info))
    }

    pub fn diff(&self, id: &str, against: Against<'_>) -> Vec<u8> {
        self.try_diff(id, against, DiffFlags::empty()).unwrap().0
    }

    /// The changes of a layer, as `A /path`.
    pub fn changes(&self, id: &str, against: Against<'_>) -> Vec<String> {
        let list = self
            .store
            .changes(id.as_bytes(), against, &mut Watch::default())
            .unwrap();
        list.iter()
            .map(|change| {
                let letter = &format!("{:?}", change.kind)[..1];
                let letter = if letter == "M" { "C" } else { letter };
                format!("{letter} {}", change.path.escape_ascii())
            })
            .collect()
    }

    pub fn size(&self, id: &str) -> u64 {
        self.store
            .diff_size(id.as_bytes(), Against::Parent, &mut Watch::default())
            .unwrap()
    }

    /// No committed layer is other than its manifest says.
    #[track_caller]
    pub fn assert_sound(&self) {
        let flags = CheckFlags::empty();
        let mut found = self.store.check(flags, &mut Watch::default()).unwrap();
        found.retain(|one| !one.note);
        assert!(found.is_empty(), "{found:#?}");
    }

    pub fn remove(&self, id: &str) {
        let flags = RemoveFlags::empty();
        patiently(|| {
            self.store
                .remove(id.as_bytes(), flags, &mut Watch::default())
        });
    }

    /// Nothing of a failed call is left.
    #[track_caller]
    pub fn assert_nothing(&self, id: &str) {
        assert!(!self.store.exists(id.as_bytes()).unwrap(), "{id} is there");
        for room in ["stage", "trash"] {
            let left: Vec<_> = std::fs::read_dir(self.home.join(room)).unwrap().collect();
            assert!(left.is_empty(), "{room} holds {left:?}");
        }
    }
}
