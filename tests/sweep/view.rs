//! A store as it lies on the disk, read without the library.

use crate::images::ImagesView;
use crate::support::tree::{Compare, Snapshot};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A layer's own files.
#[derive(Clone)]
pub struct LayerView {
    meta: Vec<u8>,
    lower: Option<Vec<u8>>,
    manifest: Option<Vec<u8>>,
    content: Option<Snapshot>,
}

/// Every layer with a `meta`, and what else an operation may have made.
#[derive(Clone, Default)]
pub struct View {
    pub format: Option<Vec<u8>>,
    pub layers: BTreeMap<String, LayerView>,
    /// The destination of a copy.
    pub copy: Option<Snapshot>,
    pub images: ImagesView,
}

/// What overlayfs notes in an upper of its own accord.
fn counts(name: &[u8]) -> bool {
    let noted: [&[u8]; 3] = [
        b"trusted.overlay.uuid",
        b"trusted.overlay.origin",
        b"trusted.overlay.impure",
    ];
    !noted.contains(&name)
}

impl View {
    pub fn of(dir: &Path) -> View {
        let home = dir.join("home");
        let mut layers = BTreeMap::new();
        for entry in fs::read_dir(home.join("layer")).into_iter().flatten() {
            let path = entry.unwrap().path();
            let Ok(meta) = fs::read(path.join("meta")) else {
                continue;
            };
            let content = ["root", "upper"].map(|name| path.join(name));
            let content = content.iter().find(|path| path.exists());
            let layer = LayerView {
                meta,
                lower: fs::read(path.join("lower-id")).ok(),
                manifest: fs::read(path.join("manifest")).ok(),
                content: content.map(|path| Snapshot::of(path)),
            };
            let id = path.file_name().unwrap().to_str().unwrap().to_string();
            layers.insert(id, layer);
        }
        let copy = dir.join("copy");
        View {
            format: fs::read(home.join("ovl-store")).ok(),
            layers,
            copy: copy.exists().then(|| Snapshot::of(&copy)),
            images: ImagesView::of(&home),
        }
    }

    /// What is neither as in `before`, which is this very store, nor as in `after`, which is another
    /// that the operation was done in; a line each. `strict`: all of it must be as in `after`, but
    /// for layers and blobs of images: those that no image names may stay, and what one names must be
    /// there, says `check`. They do not make an operation done.
    pub fn judge(&self, before: &View, after: &View, strict: bool) -> (Vec<String>, bool) {
        let mut wrong = Vec::new();
        let mut changed = false;
        let mut tell = |what: String, is_before: bool, is_after: bool, why: Vec<String>| {
            let of_images = what.starts_with("layer sha256-") || what.starts_with("blob");
            if !is_before && is_after && !of_images {
                changed = true;
            }
            let strict = strict && !of_images;
            if !(is_after || is_before && !strict) {
                wrong.push(format!("{what}: {}", why.join("; ")));
            }
        };
        let ids = before.layers.keys().chain(after.layers.keys());
        let mut ids: Vec<&String> = ids.chain(self.layers.keys()).collect();
        ids.sort();
        ids.dedup();
        for id in ids {
            let (is, was, will) = (
                self.layers.get(id),
                before.layers.get(id),
                after.layers.get(id),
            );
            let from_before = unlike(is, was, true);
            let mut from_after = unlike(is, will, false);
            // What the operation has nothing to do with keeps its inodes.
            if unlike(was, will, false).is_empty() && was.is_some() {
                from_after = from_before.clone();
            }
            let (is_before, is_after) = (from_before.is_empty(), from_after.is_empty());
            let why = [&from_before[..], &["or".into()], &from_after[..]].concat();
            tell(format!("layer {id}"), is_before, is_after, why);
        }
        let made = |view: &View| {
            view.format
                .clone()
                .map(|text| text.escape_ascii().to_string())
        };
        tell(
            "ovl-store".into(),
            made(self) == made(before),
            made(self) == made(after),
            vec![format!("{:?}", made(self))],
        );
        let copied = |other: &View| match (&self.copy, &other.copy) {
            (None, None) => Vec::new(),
            (Some(a), Some(b)) => a.diff(b, how(false)),
            (a, _) => vec![format!("there: {}", a.is_some())],
        };
        let (is_before, is_after) = (copied(before), copied(after));
        let both = [&is_before[..], &is_after[..]].concat();
        tell(
            "copy".into(),
            is_before.is_empty(),
            is_after.is_empty(),
            both,
        );
        let shown = |view: &View| format!("{:?}", view.images.lasting());
        tell(
            "images".into(),
            self.images.images == before.images.images,
            shown(self) == shown(after),
            vec![shown(self)],
        );
        let (is, was, will) = (&self.images, &before.images, &after.images);
        let names = is.blobs.keys().chain(was.blobs.keys());
        let mut names: Vec<&String> = names.chain(will.blobs.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let [is, was, will] = [is, was, will].map(|view| view.blobs.get(name));
            let why = vec![format!("there: {}", is.is_some())];
            tell(format!("blob {name}"), is == was, is == will, why);
        }
        (wrong, changed)
    }

    /// How many names each inode has, where that differs.
    pub fn names_differ(&self, other: &View) -> Vec<String> {
        let mut lines = Vec::new();
        for (id, layer) in &self.layers {
            let there = other
                .layers
                .get(id)
                .and_then(|layer| layer.content.as_ref());
            let (Some(is), Some(should)) = (&layer.content, there) else {
                continue;
            };
            for (path, node) in &is.0 {
                let Some(wanted) = should.0.get(path).filter(|node| !node.is_dir()) else {
                    continue;
                };
                if node.nlink != wanted.nlink {
                    let (path, is, should) = (path.escape_ascii(), node.nlink, wanted.nlink);
                    lines.push(format!("{id}/{path} has {is} names, not {should}"));
                }
            }
        }
        lines
    }
}

fn how(inodes: bool) -> Compare {
    Compare {
        inodes,
        xattr: counts,
        ..Compare::default()
    }
}

/// What differs between two layers. `same`: it is the same store's, so the inodes are the same;
/// otherwise times of now and what follows from them do not count.
fn unlike(a: Option<&LayerView>, b: Option<&LayerView>, same: bool) -> Vec<String> {
    let (a, b) = match (a, b) {
        (None, None) => return Vec::new(),
        (Some(a), Some(b)) => (a, b),
        (a, _) => {
            return vec![format!(
                "it is{} there",
                if a.is_some() { "" } else { " not" }
            )];
        }
    };
    let mut lines = Vec::new();
    let meta = |layer: &LayerView| {
        let text = layer.meta.escape_ascii().to_string();
        if same {
            return text;
        }
        let passing = ["created=", "manifest=", "sum=", "checksum="];
        let lines = text.split("\\n");
        let lines = lines.filter(|line| !passing.iter().any(|key| line.starts_with(key)));
        lines.collect::<Vec<_>>().join(" ")
    };
    if meta(a) != meta(b) {
        lines.push(format!("meta {} -> {}", meta(a), meta(b)));
    }
    if a.lower != b.lower {
        lines.push("lower-id".into());
    }
    // A writable layer's means nothing: no `meta` names it.
    let named = |layer: &LayerView| layer.meta.windows(9).any(|word| word == b"manifest=");
    if same && a.manifest != b.manifest && (named(a) || named(b)) {
        lines.push("manifest".into());
    }
    match (&a.content, &b.content) {
        (Some(a), Some(b)) if same => lines.extend(a.diff(b, how(true))),
        (Some(a), Some(b)) => {
            let (mut a, mut b) = (a.clone(), b.clone());
            for tree in [&mut a, &mut b] {
                for (path, node) in &mut tree.0 {
                    if path.is_empty() || (node.is_device() && node.rdev == (0, 0)) {
                        node.mtime = (0, 0);
                    }
                }
            }
            lines.extend(a.diff(&b, how(false)));
        }
        (None, None) => {}
        _ => lines.push("its tree is missing".into()),
    }
    lines
}
