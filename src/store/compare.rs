//! Diffs, changes and sizes: one layer against another.

use super::layer::{Layer, is_absent};
use super::lock::{Mode, PATIENCE};
use super::{
    Against, Change, DiffFlags, DiffOptions, Kind, LayerInfo, Store, id, last_mount, text,
};
use crate::archive::Sink;
use crate::error::{Code, Errno, Error, Result};
use crate::layer::diff::{self, Renamed, Visitor};
use crate::layer::export::{Style, export};
use crate::layer::view::Stack;
use crate::layer::{foreign, size};
use crate::sys::fs;
use crate::tree::chain::GONE;
use crate::watch::Watch;
use std::collections::HashSet;
use std::sync::atomic::Ordering;

impl Store {
    /// Writes what the layer `id` has that `against` has not as a layer tar. Equal pairs of trees
    /// give equal bytes, however they are kept. The result tells the tar's digest and sizes.
    pub fn diff(
        &self,
        id: &[u8],
        against: Against<'_>,
        sink: &mut dyn Sink,
        options: &DiffOptions,
        watch: &mut Watch<'_>,
    ) -> Result<LayerInfo> {
        (|| {
            let pair = self.pair(id, against, watch)?;
            let renamed = self.renamed(&pair, watch)?;
            let style = Style {
                strict: options.flags.contains(DiffFlags::STRICT),
                sparse: options.flags.contains(DiffFlags::SPARSE),
                clamp: options
                    .flags
                    .contains(DiffFlags::CLAMP)
                    .then_some(options.clamp),
                live: !pair.layer.committed(),
                renamed,
            };
            let done = export(&pair.old, &pair.new, sink, style, options.threads, watch)
                .map_err(|error| self.doubt(&pair, error))
                .map_err(|error| pair.explain(self, error))?;
            let mut info = pair.layer.info(false);
            info.diff_id = done.diff_id;
            info.blob_digest = done.diff_id;
            info.entries = done.entries;
            info.size = done.size;
            info.tar_size = done.tar_size;
            info.blob_size = done.tar_size;
            info.skipped_sockets = done.sockets;
            info.skipped_devices = done.devices;
            info.skipped_names = done.names;
            info.skipped_xattrs = done.xattrs;
            info.skipped_owners = done.owners;
            Ok(info)
        })()
        .map_err(|e: Error| e.at(id).op("diff"))
    }

    /// The paths in which the layer `id` differs from `against`, parents first; a directory in
    /// which something differs is told as modified.
    pub fn changes(
        &self,
        id: &[u8],
        against: Against<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Change>> {
        (|| {
            let pair = self.pair(id, against, watch)?;
            let mut list = List(Vec::new());
            diff::compare(&pair.old, &pair.new, &mut list, watch)
                .map_err(|error| pair.explain(self, error))?;
            Ok(list.0)
        })()
        .map_err(|e: Error| e.at(id).op("changes"))
    }

    /// The size in bytes of what the layer `id` has and `against` has not: content of regular
    /// files and targets of symbolic links, each link group once. Against a committed layer's own
    /// parent it was counted when it was made.
    pub fn diff_size(&self, id: &[u8], against: Against<'_>, watch: &mut Watch<'_>) -> Result<u64> {
        (|| {
            watch.check()?;
            let layer = self.layer(id::check(id)?)?;
            if against == Against::Parent {
                if let (true, Some(size)) = (layer.committed(), layer.meta.size) {
                    return Ok(size);
                }
                if layer.meta.kind == Kind::Overlay {
                    let layer = self.lock_layer(&layer.id, Mode::Shared, PATIENCE, watch)?;
                    self.stack_told(&layer)?;
                    // Looked for always: nothing would show that it was believed wrongly.
                    let upper = || layer.open("upper");
                    if layer.committed() || !foreign::has_renamed(upper()?, self.marks, watch)? {
                        return size::of_tree(upper()?, &HashSet::new(), watch);
                    }
                }
            }
            drop(layer);
            let pair = self.pair(id, against, watch)?;
            let mut sum = Sum::default();
            diff::compare(&pair.old, &pair.new, &mut sum, watch)
                .map_err(|error| pair.explain(self, error))?;
            Ok(sum.total)
        })()
        .map_err(|e: Error| e.at(id).op("diff_size"))
    }

    /// What a locked `root` layer has and its parent has not. The parent cannot go: it has a child.
    pub(super) fn own_size(&self, layer: &Layer, watch: &mut Watch<'_>) -> Result<u64> {
        let old = match &layer.parent {
            Some(parent) => self.stack(&self.layer(parent)?)?,
            None => Stack::new(Vec::new(), self.marks),
        };
        if old.trees().iter().any(|tree| tree.marked) {
            self.need_marks()?;
        }
        let mut sum = Sum::default();
        diff::compare(&old, &self.stack(layer)?, &mut sum, watch)?;
        Ok(sum.total)
    }

    /// The stack of a layer, which another program's overlay may have written if it is writable.
    fn stack_told(&self, layer: &Layer) -> Result<Stack> {
        let stack = self.stack(layer)?;
        if stack.trees().iter().any(|tree| tree.marked) {
            self.need_marks()?;
        }
        if layer.meta.kind == Kind::Overlay && !layer.committed() {
            foreign::need_no_index(&layer.open("work")?, self.marks)?;
        }
        Ok(stack)
    }

    /// Whether one of the layers has directories that another program's overlay renamed.
    fn renamed(&self, pair: &Pair, watch: &mut Watch<'_>) -> Result<Renamed> {
        if pair.old.shared_trees(&pair.new) == 0 {
            return Ok(Renamed::No);
        }
        // A doubt that could not be noted would never end.
        let may_doubt = || !self.unsure.load(Ordering::Relaxed) && self.writable().is_ok();
        let mut renamed = Renamed::No;
        for layer in pair.writable() {
            if may_doubt() && last_mount::was_ours(layer)? {
                renamed = Renamed::BelievedNot;
            } else if foreign::has_renamed(layer.open("upper")?, self.marks, watch)? {
                return Ok(Renamed::Yes);
            }
        }
        Ok(renamed)
    }

    /// What a diff failed with: where it is what was believed of renamed directories, that is believed no more.
    fn doubt(&self, pair: &Pair, error: Error) -> Error {
        if !diff::believed_wrongly(&error) {
            return error;
        }
        for layer in pair.writable() {
            if !last_mount::doubt(layer) {
                self.unsure.store(true, Ordering::Relaxed);
            }
        }
        error.context("directories were renamed in an upper, not by a mount of the library's")
    }

    /// Locks both layers of a comparison, and reads their stacks.
    fn pair(&self, id: &[u8], against: Against<'_>, watch: &mut Watch<'_>) -> Result<Pair> {
        watch.check()?;
        let id = id::check(id)?;
        let (layer, other) = loop {
            let seen = self.layer(id)?;
            let wanted = match against {
                Against::Parent => seen.parent.clone(),
                Against::Nothing | Against::Layer(b"") => None,
                Against::Layer(other) => Some(id::check(other)?.to_string()),
            };
            // Another layer of that name came meanwhile: its parent is another, perhaps.
            let replaced = |layer: &Layer| against == Against::Parent && layer.parent != wanted;
            // The parent first.
            let other = match &wanted {
                Some(other) if other != id => {
                    match self.lock_layer(other, Mode::Shared, PATIENCE, watch) {
                        Err(error) if is_absent(&error) && replaced(&self.layer(id)?) => continue,
                        Err(error) if against == Against::Parent => {
                            return Err(error.context(format!("the layer below {id}")));
                        }
                        other => Some(other?),
                    }
                }
                _ => None,
            };
            let layer = self.lock_layer(id, Mode::Shared, PATIENCE, watch)?;
            if !replaced(&layer) {
                break (layer, other);
            }
            watch.check()?;
        };
        let own = matches!(against, Against::Layer(other) if other == id.as_bytes());
        let new = self.stack_told(&layer)?;
        let old = match &other {
            Some(other) => self.stack_told(other)?,
            None if own => new.clone(),
            None => Stack::new(Vec::new(), self.marks),
        };
        Ok(Pair {
            layer,
            old,
            new,
            other,
        })
    }
}

/// Two locked layers.
struct Pair {
    layer: Layer,
    old: Stack,
    new: Stack,
    other: Option<Layer>,
}

impl Pair {
    /// Those with an upper that may be written to.
    fn writable(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.layer)
            .chain(&self.other)
            .filter(|layer| layer.meta.kind == Kind::Overlay && !layer.committed())
    }

    /// A name that is not there any more: a chain that is damaged says so better, and in a layer that
    /// somebody may write to it has just gone.
    fn explain(&self, store: &Store, error: Error) -> Error {
        if error.code() != Code::System || !GONE.contains(&error.errno()) {
            return error;
        }
        let damage = |layer: &Layer| {
            let own = match fs::open_dir(&layer.fd, layer.content().as_bytes()) {
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    Err(text::damaged(format!("it has no {}", layer.content())).at(&layer.id))
                }
                _ => Ok(()),
            };
            own.and_then(|()| store.stack(layer).map(drop)).err()
        };
        let mut layers = std::iter::once(&self.layer).chain(&self.other);
        if let Some(damage) = layers.clone().find_map(damage) {
            return damage;
        }
        match layers.all(Layer::committed) {
            true => error,
            false => error
                .code_is(Code::Changed)
                .context("it changed while it was read"),
        }
    }
}

struct List(Vec<Change>);

impl Visitor for List {
    const LINK_GROUPS: bool = false;

    fn change(&mut self, change: &diff::Change<'_>, watch: &mut Watch<'_>) -> Result<()> {
        // The root is the layer itself, not a path in it.
        if !change.path.is_empty() {
            let path = [b"/", change.path].concat();
            self.0.push(Change {
                path,
                kind: change.kind,
            });
        }
        watch.entry()
    }
}

#[derive(Default)]
struct Sum {
    total: u64,
    seen: HashSet<(u64, (u32, u32))>,
}

impl Visitor for Sum {
    const LINK_GROUPS: bool = false;

    fn change(&mut self, change: &diff::Change<'_>, watch: &mut Watch<'_>) -> Result<()> {
        if let Some(new) = &change.new {
            let meta = new.place.meta;
            let counts = matches!(meta.kind, fs::Kind::File | fs::Kind::Symlink);
            if counts && (meta.nlink < 2 || self.seen.insert((meta.ino, meta.dev))) {
                self.total = self.total.saturating_add(meta.size);
            }
        }
        watch.entry()
    }
}
