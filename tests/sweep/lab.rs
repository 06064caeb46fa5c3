//! The store of one point, and short names for the library's calls.

use crate::support::have;
use crate::tar::{self, *};
use ovl::error::Result;
use ovl::store::*;
use ovl::watch::Watch;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// With OVL_TEST_THREADS=always no work is too short for threads, where a call can be told.
pub fn threads() -> Threads {
    match have::threads_always() {
        true => Threads::Always,
        false => Threads::Auto,
    }
}

/// Where a point is played: `dir/home` is the store. All else in `dir` is the operation's own.
pub struct Lab {
    pub dir: PathBuf,
    pub store: Option<Store>,
    /// A handle that the operation found, or that it made.
    pub mount: Option<Mount>,
    /// The caller's directory for an export.
    pub out: Option<fs::File>,
}

impl Lab {
    pub fn new(dir: &Path) -> Lab {
        Lab {
            dir: dir.to_path_buf(),
            store: None,
            mount: None,
            out: None,
        }
    }

    /// With the store open.
    pub fn open(dir: &Path) -> Lab {
        let mut lab = Lab::new(dir);
        lab.store = Some(lab.try_open().unwrap());
        lab
    }

    pub fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    pub fn try_open(&self) -> Result<Store> {
        Store::open(self.home().as_os_str().as_bytes(), OpenOptions::default())
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// A file of a layer.
    pub fn at(&self, path: &str) -> PathBuf {
        self.home().join("layer").join(path)
    }

    pub fn apply(&self, id: &str, how: &Apply<'_>) -> Result<LayerInfo> {
        let options = ApplyOptions {
            parent: how.parent.map(str::as_bytes),
            kind: how.kind,
            durability: how.durability,
            flags: how.flags,
            threads: threads(),
            ..ApplyOptions::default()
        };
        let mut tar = how.tar;
        self.store()
            .apply(id.as_bytes(), &mut tar, &options, &mut Watch::default())
    }

    pub fn create(&self, id: &str, parent: Option<&str>, flags: CreateFlags) -> Result<()> {
        let parent = parent.map(str::as_bytes);
        self.store()
            .create(id.as_bytes(), parent, flags, &mut Watch::default())
    }

    pub fn commit(&self, id: &str, durability: Durability) -> Result<()> {
        let watch = &mut Watch::default();
        self.store()
            .commit(id.as_bytes(), durability, CommitFlags::empty(), watch)
    }

    pub fn remove(&self, id: &str, flags: RemoveFlags) -> Result<()> {
        self.store()
            .remove(id.as_bytes(), flags, &mut Watch::default())
    }

    pub fn mount(&self, id: &str, flags: MountFlags, target: Option<&Path>) -> Result<Mount> {
        let options = MountOptions {
            flags,
            target: target.map(|target| target.as_os_str().as_bytes()),
            label: None,
        };
        self.store().mount(id.as_bytes(), &options)
    }

    /// Layer `base`: a committed root with an inode of every kind.
    pub fn base(&self) {
        let tar = base_tar();
        self.apply("base", &Apply::none(&tar)).unwrap();
    }

    /// Layer `mid`: committed, over `base`.
    pub fn mid(&self) {
        self.base();
        let tar = top_tar();
        let how = Apply {
            parent: Some("base"),
            kind: Some(Kind::Overlay),
            ..Apply::none(&tar)
        };
        self.apply("mid", &how).unwrap();
    }

    /// Layer `raw`: a writable root that somebody wrote in.
    pub fn raw(&self) {
        self.create("raw", None, CreateFlags::empty()).unwrap();
        let root = self.at("raw/root");
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "written").unwrap();
        fs::write(root.join("g"), "").unwrap();
        std::os::unix::fs::symlink("d", root.join("l")).unwrap();
        settle(&root);
    }

    /// Layer `box` over `base`, as a container left it.
    pub fn boxed(&self) {
        self.base();
        self.create("box", Some("base"), CreateFlags::empty())
            .unwrap();
        fill_upper(&self.at("box/upper"));
    }

    /// Layer `box` over `base`, written in a mount.
    pub fn used(&self, flags: MountFlags) {
        self.base();
        self.create("box", Some("base"), CreateFlags::empty())
            .unwrap();
        let mount = self.mount("box", flags, None).unwrap();
        let merged = self.at("box/merged");
        fs::write(merged.join("new"), "in the mount").unwrap();
        fs::remove_file(merged.join("g")).unwrap();
        fs::write(merged.join("d/f"), "copied up").unwrap();
        if mount.unmount(UnmountFlags::empty()).is_err() {
            panic!("unmount");
        }
        settle(&self.at("box/upper"));
    }
}

/// A tar and what is made of it.
pub struct Apply<'a> {
    pub parent: Option<&'a str>,
    pub kind: Option<Kind>,
    pub durability: Durability,
    pub flags: ApplyFlags,
    pub tar: &'a [u8],
}

impl<'a> Apply<'a> {
    pub fn none(tar: &'a [u8]) -> Self {
        Apply {
            parent: None,
            kind: None,
            durability: Durability::None,
            flags: ApplyFlags::empty(),
            tar,
        }
    }
}

pub fn base_tar() -> Vec<u8> {
    tar::bytes(&[
        tar::dir("./").mode(0o751).owner(5, 6),
        tar::dir("d").mode(0o711).owner(3, 4),
        file("d/f", &"below".repeat(140))
            .xattr("user.k", b"v")
            .mode(0o4755),
        hard("h", "d/f"),
        symlink("l", "d"),
        fifo("p"),
        char_device("c", 1, 3),
        tar::dir("e").xattr("user.of", b"a directory"),
        file("e/x", "x"),
        file("g", "to go"),
    ])
}

pub fn top_tar() -> Vec<u8> {
    tar::bytes(&[
        tar::dir("./").mode(0o750),
        file("d/f", &"above".repeat(150)).owner(7, 8),
        gone("g"),
        tar::dir("e").mode(0o700),
        opaque("e"),
        file("e/y", "y").xattr("user.k", b"w"),
        hard("e/z", "e/y"),
        hard("n", "h"),
        symlink("l", "e"),
    ])
}

/// What a container leaves in an upper: files, a whiteout, an opaque directory.
fn fill_upper(upper: &Path) {
    fs::write(upper.join("new"), "new").unwrap();
    fs::hard_link(upper.join("new"), upper.join("again")).unwrap();
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, upper.join("g"), FileType::CharacterDevice, mode, 0).unwrap();
    fs::create_dir(upper.join("e")).unwrap();
    xattr::set(upper.join("e"), "trusted.overlay.opaque", b"y").unwrap();
    fs::write(upper.join("e/own"), "x".repeat(5000)).unwrap();
    std::os::unix::fs::symlink("new", upper.join("l")).unwrap();
    settle(upper);
}

/// Gives all of a tree one time: what is made anew for each point is compared.
pub fn settle(root: &Path) {
    let time = Timespec {
        tv_sec: 1_500_000_000,
        tv_nsec: 7,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    let walk = walkdir::WalkDir::new(root).contents_first(true);
    for entry in walk {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(CWD, entry.unwrap().path(), &times, flags).unwrap();
    }
}

/// A tree with an inode of every kind, for copies.
pub fn plant(root: &Path) {
    fs::create_dir(root).unwrap();
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/f"), "content".repeat(900)).unwrap();
    xattr::set(root.join("d/f"), "user.k", b"v").unwrap();
    fs::hard_link(root.join("d/f"), root.join("h")).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("l")).unwrap();
    let node = |name: &str, kind, dev| {
        let mode = Mode::from_raw_mode(0o640);
        rustix::fs::mknodat(CWD, root.join(name), kind, mode, dev).unwrap();
    };
    node("p", FileType::Fifo, 0);
    node("s", FileType::Socket, 0);
    node("c", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    node("b", FileType::BlockDevice, rustix::fs::makedev(7, 99));
    let hole = fs::File::create(root.join("hole")).unwrap();
    hole.set_len(100_000).unwrap();
    std::os::unix::fs::chown(root.join("d"), Some(3), Some(4)).unwrap();
    xattr::set(root, "user.root", b"of the tree").unwrap();
    settle(root);
}

/// Compressed as a registry has it.
pub fn gzip(data: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}
