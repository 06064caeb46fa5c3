//! Mounts of a layer that no pin tells of.
//!
//! A mount that is made in a shared mount comes up in every namespace that shares it, each time with
//! a number of its own; the pin has the number of one. While that one is there, its namespace ends
//! it, and the others with it. When its namespace is gone, what is left here is the layer's mount:
//! it gets a pin, on the same terms, and is treated as any other.

use super::layer::Layer;
use super::pin::{Pins, Terms};
use super::{Kind, Store};
use crate::error::{Errno, Result, SysResult};
use crate::mount::{self, Found, MountId};
use crate::sys::{AsFd, OwnedFd, fs};

impl Store {
    /// Gives pins to mounts of the layer that are in the caller's namespace and have none, unless they
    /// are somebody's: at the layer's own mount point, and where pins lost their mounts with a
    /// namespace (`orphans` were their terms) anywhere. The caller has just read all pins.
    pub(super) fn adopt_strays(
        &self,
        layer: &Layer,
        pins: &mut Pins,
        orphans: &[Terms],
    ) -> Result<()> {
        // The one that they are copies of ends them.
        if !pins.elsewhere.is_empty() {
            return Ok(());
        }
        let found = match orphans {
            [] => {
                let pinned = |id: MountId| pins.here.iter().any(|pin| pin.id == id);
                self.stray_at_its_place(layer, pinned)?
                    .into_iter()
                    .collect()
            }
            _ => self.strays(layer, pins)?,
        };
        for found in found {
            let alike = orphans.iter().filter(|of| of.writable != found.read_only);
            let terms = alike.max_by_key(|of| of.kept).cloned();
            let mut terms = terms.unwrap_or_else(|| unknown(&found));
            // It may be a bind of somebody else's: nothing but its inode tells of it.
            terms.kept |= layer.meta.kind == Kind::Root && !orphans.is_empty();
            pins.adopt(found, terms)?;
        }
        Ok(())
    }

    /// Gives a pin to every overlay of the layer here that has none.
    pub(super) fn adopt_all(&self, layer: &Layer, pins: &mut Pins) -> Result<()> {
        if layer.meta.kind != Kind::Overlay || !pins.elsewhere.is_empty() {
            return Ok(());
        }
        for found in self.strays(layer, pins)? {
            let terms = unknown(&found);
            pins.adopt(found, terms)?;
        }
        Ok(())
    }

    /// Gives one mount a pin, if it is the layer's.
    pub(super) fn adopt_one(&self, layer: &Layer, pins: &mut Pins, found: Found) -> Result<()> {
        if is_of(layer, self.disk(layer)?, &found)? {
            let terms = unknown(&found);
            pins.adopt(found, terms)?;
        }
        Ok(())
    }

    /// A mount of the layer at `merged` that has no pin.
    pub(super) fn stray_at_its_place(
        &self,
        layer: &Layer,
        pinned: impl Fn(MountId) -> bool,
    ) -> Result<Option<Found>> {
        match mount::mounted_at(layer.fd.as_fd(), b"merged")? {
            Some(id) if !pinned(id) => {
                let found = mount::find(id)?;
                let disk = self.disk(layer)?;
                found.map_or(Ok(None), |found| {
                    Ok(is_of(layer, disk, &found)?.then_some(found))
                })
            }
            _ => Ok(None),
        }
    }

    /// All mounts of the layer in the caller's namespace that have no pin. All mounts are asked for
    /// their names.
    pub(super) fn strays(&self, layer: &Layer, pins: &Pins) -> Result<Vec<Found>> {
        let (mut strays, disk) = (Vec::new(), self.disk(layer)?);
        for found in mount::all()? {
            let known = pins.here.iter().any(|pin| pin.id == found.id);
            if !known && is_of(layer, disk, &found)? {
                strays.push(found);
            }
        }
        Ok(strays)
    }

    /// The device of the store's file system, as a table of mounts has it; only a `root` is known by
    /// it.
    fn disk(&self, layer: &Layer) -> Result<Option<(u32, u32)>> {
        if layer.meta.kind == Kind::Overlay {
            return Ok(None);
        }
        let home = mount::find(mount::identity(self.home.as_fd())?)?;
        Ok(home.map(|home| home.dev))
    }
}

/// Whether a mount shows the layer: its name, and the inode that it has on top. A `root` is bound
/// from `disk`, and has no name.
fn is_of(layer: &Layer, disk: Option<(u32, u32)>, found: &Found) -> Result<bool> {
    let overlay = found.fs_type == b"overlay";
    let named = match layer.meta.kind {
        Kind::Overlay => overlay && found.source == format!("ovl:{}", layer.id).as_bytes(),
        Kind::Root => !overlay && disk == Some(found.dev),
    };
    if !named {
        return Ok(false);
    }
    let (Some(root), Some(tree)) = (open(found)?, own_tree(layer)?) else {
        return Ok(false);
    };
    match layer.meta.kind {
        Kind::Overlay => mount::shows(root.as_fd(), tree.as_fd()),
        Kind::Root => {
            let (root, tree) = (fs::stat(root).call("statx")?, fs::stat(tree).call("statx")?);
            Ok(root.same_inode(&tree))
        }
    }
}

/// A mount's root, where its path leads to it.
fn open(found: &Found) -> Result<Option<OwnedFd>> {
    match fs::open_dir_trusted(rustix::fs::CWD, &found.path) {
        Ok(root) if mount::identity(root.as_fd())? == found.id => Ok(Some(root)),
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
        Err(errno) => Err(errno).call_at("open", &found.path),
    }
}

fn own_tree(layer: &Layer) -> Result<Option<OwnedFd>> {
    match fs::open_dir(&layer.fd, layer.content().as_bytes()) {
        Ok(tree) => Ok(Some(tree)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno).call_at("open", layer.content()),
    }
}

/// What is agreed of a mount that nobody tells of: it is nobody's.
fn unknown(found: &Found) -> Terms {
    Terms {
        kept: false,
        writable: !found.read_only,
        volatile: false,
        label: String::new(),
    }
}
