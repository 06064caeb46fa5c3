//! Images in a story: what is there of one, and what may be seen of it after a cut. It goes through
//! versions as a layer does, under a name that no layer can have.

use super::again::wrong_again;
use super::judge::Look;
use super::story::{self, Call, Shown};
use super::tars::Which;
use super::trees;
use crate::make::{Blob, Image};
use ovl::error::{Code, Result};
use ovl::store::*;
use ovl::watch::Watch;
use std::collections::BTreeSet;
use std::path::Path;

/// What an image is noted as.
pub fn key(name: &str) -> String {
    format!("image:{name}")
}

/// The image's name, of what is noted.
pub fn name_of(key: &str) -> Option<&str> {
    key.strip_prefix("image:")
}

pub fn import(store: &Store, name: &str, layers: &[Which], keep: bool) -> Result<()> {
    let blobs = layers.iter().map(|which| Blob::gzip(which.bytes()));
    let archive = Image::new(blobs.collect()).archive();
    let mut flags = ImportFlags::empty();
    flags.set(ImportFlags::KEEP_BLOBS, keep);
    let options = ImportOptions {
        flags,
        ..Default::default()
    };
    let mut from = &archive[..];
    let from = Archive::Stream(&mut from);
    store
        .import_image(name.as_bytes(), from, &options, &mut Watch::default())
        .map(drop)
}

pub fn remove(store: &Store, name: &str) -> Result<()> {
    store.remove_image(name.as_bytes(), &mut Watch::default())
}

/// The ids of an image's layers; none where it is not there.
pub fn layers(store: &Store, name: &str) -> BTreeSet<String> {
    let Ok(items) = store.image_config(name.as_bytes()) else {
        return BTreeSet::new();
    };
    let layer = |item| match item {
        ConfigItem::Layer(layer) => Some(layer.id),
        _ => None,
    };
    items.into_iter().filter_map(layer).collect()
}

/// What an image is now: its files, and the blobs that it names.
pub fn look(store: &Store, home: &Path, name: &str) -> Shown {
    match store.stat_image(name.as_bytes()) {
        Err(error) if error.code() == Code::NoImage => return Shown::Absent,
        // What is wrong with it, `check` tells.
        _ => {}
    }
    let dir = home.join("image").join(name);
    let mut lines = trees::of(&dir);
    let text = std::fs::read_to_string(dir.join("layers")).unwrap_or_default();
    let blobs = trees::of(&home.join("blob"));
    for (path, line) in blobs {
        let digest = path.rsplit('/').next().unwrap_or_default();
        if digest.len() == 64 && text.contains(&format!(" sha256:{digest} ")) {
            let is = trees::digest(&line).unwrap_or_default();
            lines.insert(format!("blob/{digest}"), is.to_string());
        }
    }
    Shown::Tree {
        committed: true,
        lines,
    }
}

impl Look<'_> {
    /// Looks at one image.
    pub fn image(&mut self, store: &Store, key: &str, name: &str) {
        let may = self.versions(key);
        let found = look(store, self.home, name);
        if found == Shown::Absent {
            if may.iter().all(|version| version.shown != Shown::Absent) {
                self.wrong(format!("image {name} is gone"));
            }
            return;
        }
        if let Err(error) = store.stat_image(name.as_bytes()) {
            return self.wrong(format!("image {name}: {error}"));
        }
        if may.iter().any(|version| version.shown == found) {
            return;
        }
        let Shown::Tree { lines, .. } = &found else {
            return;
        };
        let told = may.iter().filter_map(|version| match &version.shown {
            Shown::Tree { lines: wanted, .. } => Some(trees::differences(wanted, lines, true)),
            _ => None,
        });
        let told = told.min_by_key(Vec::len);
        self.wrong(format!("image {name}: {told:?}"));
    }

    /// Makes a call on an image again, which the cut interrupted.
    pub fn repeat_image(&mut self, store: &Store, call: &Call, name: &str) {
        let removes = matches!(call, Call::RemoveImage { .. });
        match story::make(store, call) {
            Ok(()) => {}
            Err(error) if removes && error.code() == Code::NoImage => {}
            Err(error) => return self.wrong(wrong_again(call, &error)),
        }
        let is_there = store.stat_image(name.as_bytes()).is_ok();
        if is_there == removes {
            self.wrong(format!("again {call:?}: the image is there: {is_there}"));
        }
    }

    /// Every image can be removed, and no blob is left.
    pub fn remove_images(&mut self, store: &Store) {
        for image in store.list_images().unwrap_or_default() {
            if let Err(error) = remove(store, &image.name) {
                self.wrong(format!("rmi {}: {error}", image.name));
            }
        }
        for place in ["image", "blob/sha256"] {
            let left = std::fs::read_dir(self.home.join(place)).map_or(0, Iterator::count);
            if left > 0 {
                self.wrong(format!("of all images {left} entries stay in {place}/"));
            }
        }
    }
}
