//! Images: operations on them, as they lie on the disk, and what must hold of an export.

use crate::lab::*;
use crate::make::{Blob, Image};
use crate::ops::{OP, Op};
use ovl::error::{Errno, Result};
use ovl::store::*;
use ovl::watch::Watch;
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

/// Two layers; `more` makes it another image, over the same first one.
fn image(more: &str) -> Image {
    let top = match more {
        "" => top_tar(),
        more => crate::make::layer(&[(more, "other"), ("d/f", "another")]),
    };
    Image::new(vec![Blob::plain(base_tar()), Blob::gzip(top)])
}

fn import_as(lab: &Lab, name: &str, image: &Image, flags: ImportFlags) -> Result<String> {
    let archive = image.archive();
    let options = ImportOptions {
        flags,
        ..ImportOptions::default()
    };
    let from = &mut &archive[..];
    let from = Archive::Stream(from);
    let watch = &mut Watch::default();
    said(
        lab.store()
            .import_image(name.as_bytes(), from, &options, watch),
    )
}

fn import(lab: &Lab, more: &str, flags: ImportFlags) -> Result<String> {
    import_as(lab, "app:1", &image(more), flags)
}

/// What a call says, without what is another in every store.
fn said(info: Result<ImageInfo>) -> Result<String> {
    info.map(|mut info| {
        info.created = Default::default();
        format!("{info:?}")
    })
}

fn there(lab: &Lab, flags: ImportFlags) {
    import(lab, "", flags).unwrap();
}

fn rmi(lab: &Lab) -> Result<String> {
    lab.store()
        .remove_image(b"app:1", &mut Watch::default())
        .map(|()| String::new())
}

fn export(lab: &Lab, target: Target<'_>) -> Result<String> {
    let options = ExportOptions::default();
    let watch = &mut Watch::default();
    said(lab.store().export_image(b"app:1", target, &options, watch))
}

fn export_bytes(lab: &Lab) -> Result<String> {
    let mut out = Vec::new();
    let told = export(lab, Target::Stream(&mut out))?;
    Ok(format!("{} {told}", ovl::archive::Digest::of(&out)))
}

/// An empty directory, made anew each time.
fn make_out(lab: &mut Lab) {
    let out = lab.dir.join("out");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir(&out).unwrap();
    lab.out = Some(fs::File::open(out).unwrap());
}

fn export_dir(lab: &Lab) -> Result<String> {
    let out = lab.out.as_ref().unwrap();
    export(lab, Target::Directory(out.as_fd()))
}

/// A directory with an `index.json` is a whole layout; after success there is one.
fn check_out(lab: &Lab, succeeded: bool) {
    let out = lab.dir.join("out");
    if !succeeded && !out.join("index.json").exists() {
        return;
    }
    let dir = fs::File::open(out).unwrap();
    let from = Archive::Directory(dir.as_fd());
    let (options, watch) = (ImportOptions::default(), &mut Watch::default());
    lab.store()
        .import_image(b"out", from, &options, watch)
        .expect("what was exported");
    lab.store().remove_image(b"out", watch).unwrap();
}

fn looked_at(lab: &Lab) -> Result<String> {
    let store = lab.store();
    let told = said(store.stat_image(b"app:1"))?;
    let listed = store.list_images()?;
    let config = store.image_config(b"app:1")?;
    Ok(format!("{told} {listed:?} {}", config.len()))
}

const PLAIN: ImportFlags = ImportFlags::empty();
const KEEP: ImportFlags = ImportFlags::KEEP_BLOBS;
const GONE: &[Errno] = &[Errno::NOENT];

pub const OPS: &[Op] = &[
    Op {
        name: "import",
        run: |lab| import(lab, "", PLAIN),
        ..OP
    },
    Op {
        name: "import-kept",
        run: |lab| import(lab, "", KEEP),
        ..OP
    },
    Op {
        name: "import-again",
        prepare: |lab| there(lab, PLAIN),
        run: |lab| import(lab, "", PLAIN),
        ..OP
    },
    Op {
        name: "import-replaces",
        prepare: |lab| there(lab, KEEP),
        run: |lab| import(lab, "more", KEEP),
        ..OP
    },
    Op {
        name: "rmi",
        prepare: |lab| there(lab, PLAIN),
        run: |lab| rmi(lab),
        again: GONE,
        ..OP
    },
    Op {
        name: "rmi-of-shared-layers",
        prepare: |lab| {
            there(lab, KEEP);
            import_as(lab, "other", &image("more"), KEEP).unwrap();
        },
        run: |lab| rmi(lab),
        again: GONE,
        ..OP
    },
    Op {
        name: "export",
        prepare: |lab| there(lab, PLAIN),
        run: |lab| export_bytes(lab),
        ..OP
    },
    Op {
        name: "export-kept",
        prepare: |lab| there(lab, KEEP),
        run: |lab| export_bytes(lab),
        ..OP
    },
    Op {
        name: "export-dir",
        prepare: |lab| there(lab, PLAIN),
        enter: make_out,
        run: |lab| export_dir(lab),
        look: check_out,
        ..OP
    },
    Op {
        name: "export-dir-kept",
        prepare: |lab| there(lab, KEEP),
        enter: make_out,
        run: |lab| export_dir(lab),
        look: check_out,
        ..OP
    },
    Op {
        name: "images",
        prepare: |lab| there(lab, PLAIN),
        run: |lab| looked_at(lab),
        ..OP
    },
];

/// The images and blobs of a store, read without the library.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ImagesView {
    /// By the name of its directory, the files of each.
    pub images: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// By their names.
    pub blobs: BTreeMap<String, Vec<u8>>,
}

impl ImagesView {
    pub fn of(home: &Path) -> ImagesView {
        let mut view = ImagesView {
            images: BTreeMap::new(),
            blobs: files(&home.join("blob/sha256")),
        };
        for entry in fs::read_dir(home.join("image")).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_string();
            view.images.insert(name, files(&path));
        }
        view
    }

    /// The images without what is another in every store.
    pub fn lasting(&self) -> BTreeMap<&str, Vec<String>> {
        let passing = |line: &&str| !line.starts_with("created=") && !line.starts_with("checksum=");
        let lasting = |file: &[u8]| {
            let text = String::from_utf8_lossy(file);
            text.lines().filter(passing).collect::<Vec<_>>().join("\n")
        };
        let images = self.images.iter();
        images
            .map(|(name, files)| {
                (
                    &name[..],
                    files.values().map(|file| lasting(file)).collect(),
                )
            })
            .collect()
    }
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_string();
            (name, fs::read(&path).unwrap())
        })
        .collect()
}
