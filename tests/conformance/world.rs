//! What a case works in: a store on a file system of its own, and short ways to say what it does.

use crate::api::*;
use std::fs::Permissions;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A store of a side, and an empty directory beside it.
pub struct World<'a, A: Api> {
    pub base: &'a Path,
    pub store: A::Store,
}

impl<'a, A: Api> World<'a, A> {
    pub fn new(base: &'a Path) -> Self {
        let store = A::open(&base.join("home"), &Open::default()).unwrap();
        World { base, store }
    }

    pub fn home(&self) -> PathBuf {
        self.base.join("home")
    }

    /// A new directory beside the store.
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.base.join(name);
        std::fs::create_dir(&dir).unwrap();
        dir
    }

    pub fn create(&self, id: &str, parent: Option<&str>) -> Done<()> {
        A::create(&self.store, id, parent, Create::default(), calm())
    }

    pub fn commit(&self, id: &str) -> Done<()> {
        A::commit(&self.store, id, Durability::Default, calm())
    }

    pub fn remove(&self, id: &str) -> Done<()> {
        A::remove(&self.store, id, false, calm())
    }

    pub fn stat(&self, id: &str) -> Info {
        A::stat(&self.store, id).unwrap()
    }

    pub fn list(&self) -> Vec<String> {
        A::list(&self.store).unwrap()
    }

    /// Applies a tar that comes in odd pieces.
    pub fn apply(&self, id: &str, tar: &[u8], how: Apply<'_>) -> Done<Info> {
        let mut rest = tar;
        let mut read = |buf: &mut [u8]| {
            let n = rest.len().min(buf.len()).min(4093);
            buf[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            Ok(n)
        };
        A::apply(&self.store, id, Input::Read(&mut read), &how, calm())
    }

    pub fn apply_on(&self, id: &str, parent: &str, tar: &[u8]) -> Done<Info> {
        let parent = Some(parent);
        let how = Apply {
            parent,
            ..Apply::default()
        };
        self.apply(id, tar, how)
    }

    /// The layer tar, and what is told of it.
    pub fn diff_to(&self, id: &str, against: Against<'_>) -> Done<(Vec<u8>, Info)> {
        let mut tar = Vec::new();
        let mut write = |buf: &[u8]| {
            let n = buf.len().min(5003);
            tar.extend_from_slice(&buf[..n]);
            Ok(n)
        };
        let to = Output::Write(&mut write);
        let info = A::diff(&self.store, id, against, to, &Diff::default(), calm())?;
        Ok((tar, info))
    }

    pub fn diff(&self, id: &str) -> (Vec<u8>, Info) {
        self.diff_to(id, Against::Parent).unwrap()
    }

    pub fn size(&self, id: &str, against: Against<'_>) -> u64 {
        A::diff_size(&self.store, id, against, calm()).unwrap()
    }

    /// Lines like "A /path".
    pub fn changes_to(&self, id: &str, against: Against<'_>) -> Vec<String> {
        let all = A::changes(&self.store, id, against, calm()).unwrap();
        let line = |(letter, path): &(char, Vec<u8>)| format!("{letter} {}", path.escape_ascii());
        all.iter().map(line).collect()
    }

    pub fn changes(&self, id: &str) -> Vec<String> {
        self.changes_to(id, Against::Parent)
    }

    pub fn mount(&self, id: &str, how: &Mounting<'_>) -> Done<Held<A>> {
        A::mount(&self.store, id, how).map(Held::new)
    }

    /// Mounts a layer for writing.
    pub fn enter(&self, id: &str) -> Held<A> {
        self.mount(id, &Mounting::default()).unwrap()
    }

    /// Mounts a layer for reading.
    pub fn view(&self, id: &str) -> Held<A> {
        let read_only = true;
        let how = Mounting {
            read_only,
            ..Mounting::default()
        };
        self.mount(id, &how).unwrap()
    }

    /// Makes a layer, fills it through its mount, and leaves it writable.
    pub fn make(&self, id: &str, parent: Option<&str>, fill: impl FnOnce(&Path)) {
        self.create(id, parent).unwrap();
        self.change(id, fill);
    }

    /// Makes a committed layer.
    pub fn layer(&self, id: &str, parent: Option<&str>, fill: impl FnOnce(&Path)) {
        self.make(id, parent, fill);
        self.commit(id).unwrap();
    }

    pub fn change(&self, id: &str, work: impl FnOnce(&Path)) {
        let mount = self.enter(id);
        work(&mount.path);
        mount.unmount();
    }

    pub fn look<T>(&self, id: &str, work: impl FnOnce(&Path) -> T) -> T {
        let mount = self.view(id);
        let seen = work(&mount.path);
        mount.unmount();
        seen
    }

    /// Nothing is wrong, and nothing was left behind.
    pub fn assert_clean(&self) {
        assert_eq!(A::check(&self.store, false, calm()).unwrap(), []);
    }
}

/// A mount handle, and where it is.
pub struct Held<A: Api> {
    pub mount: A::Mount,
    pub path: PathBuf,
}

impl<A: Api> Held<A> {
    fn new(mount: A::Mount) -> Self {
        let path = PathBuf::from(std::ffi::OsString::from_vec(A::mount_path(&mount)));
        Held { mount, path }
    }

    pub fn unmount(self) {
        self.try_unmount().map_err(|(_, failure)| failure).unwrap();
    }

    pub fn try_unmount(self) -> Result<(), (Self, Failure)> {
        let path = self.path;
        A::unmount(self.mount, false).map_err(|(mount, failure)| (Held { mount, path }, failure))
    }
}

/// Fails unless a call failed like this.
#[track_caller]
pub fn fails<T>(done: Done<T>, errno: i32, code: u32, operation: &str, path: &str) -> Failure {
    let Err(failure) = done else {
        panic!("{operation} {path}: it succeeded");
    };
    let is = (
        failure.errno,
        failure.code,
        failure.operation.as_str(),
        failure.path.escape_ascii().to_string(),
    );
    let wanted = (errno, code, operation, path.to_string());
    assert_eq!(is, wanted, "{failure:?}");
    assert!(!failure.message.is_empty() && !failure.message.contains("os error"));
    failure
}

pub fn put(path: impl AsRef<Path>, data: impl AsRef<[u8]>) {
    std::fs::write(path, data).unwrap();
}

pub fn get(path: impl AsRef<Path>) -> String {
    String::from_utf8(std::fs::read(path).unwrap()).unwrap()
}

pub fn mkdir(path: impl AsRef<Path>) {
    std::fs::create_dir_all(path).unwrap();
}

pub fn rm(path: impl AsRef<Path>) {
    let path = path.as_ref();
    if path.is_dir() && !path.is_symlink() {
        std::fs::remove_dir_all(path).unwrap();
    } else {
        std::fs::remove_file(path).unwrap();
    }
}

pub fn chmod(path: impl AsRef<Path>, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Mode bits, owner and group.
pub fn who(path: impl AsRef<Path>) -> (u32, u32, u32) {
    let meta = std::fs::symlink_metadata(path).unwrap();
    (meta.mode() & 0o7777, meta.uid(), meta.gid())
}

pub fn there(path: impl AsRef<Path>) -> bool {
    path.as_ref().symlink_metadata().is_ok()
}

/// The names in a directory, sorted.
pub fn names(path: impl AsRef<Path>) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
