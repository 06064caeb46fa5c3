//! A store, and short names for its calls.

use crate::make::Image;
use ovl::error::{Error, Result};
use ovl::store::*;
use ovl::watch::Watch;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub fn open(home: &Path) -> Store {
    Store::open(home.as_os_str().as_bytes(), OpenOptions::default()).unwrap()
}

/// Runs a test with a store on a tmpfs of its own.
pub fn with_store(body: impl FnOnce(&Store, &Path) + Send) {
    crate::support::fsys::with_mounts(|base| {
        let store = open(&base.join("home"));
        body(&store, base);
        assert_clean(&store, base);
    });
}

/// Nothing is damaged, and nothing is left.
pub fn assert_clean(store: &Store, base: &Path) {
    let found = store
        .check(CheckFlags::empty(), &mut Watch::default())
        .unwrap();
    let bad: Vec<_> = found.iter().filter(|one| !one.note).collect();
    assert!(bad.is_empty(), "{bad:?}");
    for name in ["stage", "trash"] {
        assert_eq!(names(&base.join("home").join(name)), [""; 0], "{name}");
    }
}

pub fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let name =
        |e: std::io::Result<std::fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

pub fn import(store: &Store, name: &str, archive: &[u8]) -> Result<ImageInfo> {
    import_with(store, name, archive, &quick())
}

/// Nothing is synced: what a test needs to be fast.
pub fn quick<'a>() -> ImportOptions<'a> {
    ImportOptions {
        durability: Durability::None,
        ..Default::default()
    }
}

pub fn keeping<'a>() -> ImportOptions<'a> {
    ImportOptions {
        flags: ImportFlags::KEEP_BLOBS,
        ..quick()
    }
}

pub fn import_with(
    store: &Store,
    name: &str,
    mut archive: &[u8],
    options: &ImportOptions<'_>,
) -> Result<ImageInfo> {
    let from = Archive::Stream(&mut archive);
    store.import_image(name.as_bytes(), from, options, &mut Watch::default())
}

pub fn import_dir(store: &Store, name: &str, dir: &Path) -> Result<ImageInfo> {
    let dir = File::open(dir).unwrap();
    let from = Archive::Directory(dir.as_fd());
    store.import_image(name.as_bytes(), from, &quick(), &mut Watch::default())
}

pub fn import_file(store: &Store, name: &str, file: &File) -> Result<ImageInfo> {
    let from = Archive::File(file.as_fd());
    store.import_image(name.as_bytes(), from, &quick(), &mut Watch::default())
}

pub fn rmi(store: &Store, name: &str) -> Result<()> {
    store.remove_image(name.as_bytes(), &mut Watch::default())
}

/// The image as an OCI archive.
pub fn export(store: &Store, name: &str) -> Result<(Vec<u8>, ImageInfo)> {
    let mut out = Vec::new();
    let target = Target::Stream(&mut out);
    let options = ExportOptions::default();
    let info = store.export_image(name.as_bytes(), target, &options, &mut Watch::default())?;
    Ok((out, info))
}

/// The whole tree of a layer as a tar: equal trees are equal bytes.
pub fn tree(store: &Store, id: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let options = DiffOptions::default();
    let watch = &mut Watch::default();
    store
        .diff(id.as_bytes(), Against::Nothing, &mut out, &options, watch)
        .unwrap();
    out
}

/// The regular files of a tar, and what they hold.
pub fn files(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut reader = ovl::archive::Reader::new(tar, ovl::archive::Limits::default());
    let mut files = BTreeMap::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut data = Vec::new();
        while let Some(chunk) = reader.next_chunk().unwrap() {
            data.extend_from_slice(chunk.data);
        }
        if entry.kind == ovl::archive::Kind::File {
            files.insert(String::from_utf8(entry.path).unwrap(), data);
        }
    }
    files
}

/// Errno, code and message of a failure.
pub fn fails<T: std::fmt::Debug>(done: Result<T>) -> Error {
    done.expect_err("it must fail")
}

/// The ids of the layers in the store.
pub fn layers(store: &Store) -> Vec<String> {
    store.list().unwrap()
}

pub fn images(store: &Store) -> Vec<String> {
    store
        .list_images()
        .unwrap()
        .into_iter()
        .map(|one| one.name)
        .collect()
}

/// The tree that the layers of an image make when they are applied one by one.
pub fn expected(base: &Path, image: &Image) -> Vec<u8> {
    let store = open(&base.join("expected"));
    let mut parent: Option<String> = None;
    for (n, layer) in image.layers.iter().enumerate() {
        let id = format!("l{n}");
        let options = ApplyOptions {
            parent: parent.as_ref().map(String::as_bytes),
            durability: Durability::None,
            ..Default::default()
        };
        let watch = &mut Watch::default();
        store
            .apply(id.as_bytes(), &mut &layer.data[..], &options, watch)
            .unwrap();
        parent = Some(id);
    }
    let tree = tree(&store, &parent.unwrap());
    drop(store);
    std::fs::remove_dir_all(base.join("expected")).unwrap();
    tree
}
