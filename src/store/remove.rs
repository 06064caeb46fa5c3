//! Removing a layer: one rename takes it out of the store, however large it is.

use super::damaged::is_disk;
use super::layer::{Layer, is_absent, read};
use super::lock::Mode;
use super::{Kind, RemoveFlags, Store, id, to_trash};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::mount;
use crate::mount::oracle::InUse;
use crate::sys::dir::DirBuf;
use crate::sys::fs::RenameFlags;
use crate::sys::{OwnedFd, fs};
use crate::tree::remove_tree;
use crate::watch::Watch;
use std::time::Duration;

/// Whoever reads a layer under a lock is done sooner.
const PATIENCE: Duration = Duration::from_millis(200);

impl Store {
    /// Removes the layer `id`, however damaged it is. ENOENT when it is not there, EBUSY when
    /// layers are built on it or it is in use. When this returns it is gone; its space is given back too, unless
    /// [`RemoveFlags::DEFER`] leaves that to [`Store::cleanup`].
    pub fn remove(&self, id: &[u8], flags: RemoveFlags, watch: &mut Watch<'_>) -> Result<()> {
        self.remove_if(id, flags, watch, |_| Ok(()))
            .map_err(|e| e.at(id).op("remove"))
    }

    /// Removes the layer `id` unless `may` says why not. It is asked under the layer's lock: nobody
    /// builds on the layer, or reads it under a lock, while the answer holds.
    pub(super) fn remove_if(
        &self,
        id: &[u8],
        flags: RemoveFlags,
        watch: &mut Watch<'_>,
        may: impl FnOnce(&[Layer]) -> Result<()>,
    ) -> Result<()> {
        self.writable()?;
        watch.check()?;
        let id = id::check(id)?;
        let remains = match self.lock_dir(id, Mode::Exclusive, PATIENCE, watch) {
            Ok(dir) => Some(self.readable(id, dir)?),
            // Something else has the layer's name: nobody can use it.
            Err(error) if error.code() == Code::Damaged => None,
            Err(error) => return Err(error),
        };
        let (_lock, layers) = remains.unwrap_or_default();
        may(&layers)?;
        for layer in &layers {
            self.need_childless(layer)?;
            if !self.need_removable(layer)? {
                self.need_no_sign(layer)?;
            }
        }
        let nonce = to_trash(self, &self.layers, id.as_bytes())?;
        if let Err(errno) = fs::sync(&self.layers) {
            // Nobody may rely on what is not on the disk: the layer comes back.
            let (from, to) = (&self.trash, &self.layers);
            let _ = fs::rename(
                from,
                nonce.as_bytes(),
                to,
                id.as_bytes(),
                RenameFlags::NOREPLACE,
            );
            return Err(errno).call_at("fsync", "layer");
        }
        if let Some(parent) = layers.first().and_then(|layer| layer.parent.as_ref()) {
            self.drop_hint(parent, id);
        }
        // The lock goes on to the trash entry: a cleanup leaves it to us.
        if !flags.contains(RemoveFlags::DEFER) {
            if let Err(error) = remove_tree(&self.trash, nonce.as_bytes(), watch) {
                self.warn(&format!(
                    "{id} is removed; its content stays in trash/{nonce}: {error}"
                ));
            }
        }
        Ok(())
    }

    /// The layer in a locked directory, or what is left of it: however damaged it is, it can go. The lock
    /// is the layer's, or stands beside the remains.
    fn readable(&self, id: &str, dir: OwnedFd) -> Result<(Option<OwnedFd>, Vec<Layer>)> {
        match read(&dir, id) {
            Ok((meta, parent)) => Ok((None, vec![Layer::new(id, dir, meta, parent)])),
            Err(error) if is_absent(&error) || is_disk(error.errno()) => {
                let layers = self.remains(id, &dir)?;
                Ok((Some(dir), layers))
            }
            Err(error) => Err(error),
        }
    }

    /// EBUSY when layers are built on it.
    fn need_childless(&self, layer: &Layer) -> Result<()> {
        let children = self.children(layer)?;
        let Some(child) = children.first() else {
            return Ok(());
        };
        let more = match children.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        Err(Error::new(
            Code::HasChildren,
            Errno::BUSY,
            format!("layers are built on it: {child}{more}"),
        ))
    }

    /// For who knows that the kernel cannot say whether an overlay has the upper: EBUSY when something
    /// else says that one may, a pin from another namespace that nobody can confirm, or, where the pins are
    /// lost, an overlay of this name in the caller's own.
    fn need_no_sign(&self, layer: &Layer) -> Result<()> {
        if layer.meta.kind != Kind::Overlay {
            return Ok(());
        }
        let upper = match fs::open_dir(&layer.fd, b"upper") {
            Ok(upper) => upper,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(errno) => return Err(errno).call_at("open", "upper"),
        };
        let sign = match fs::open_dir(&layer.fd, b"pin") {
            // What is dead has gone from there, and what is here was found.
            Ok(pins) => DirBuf::default()
                .sorted_names(pins)
                .call("getdents64")?
                .iter()
                .any(|name| !mount::is_scratch(name)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                let source = format!("ovl:{}", layer.id).into_bytes();
                mount::all()?.iter().any(|mount| mount.source == source)
            }
            Err(errno) => return Err(errno).call_at("open", "pin"),
        };
        if !sign {
            return Ok(());
        }
        match self.upper_in_use(&upper, None)? {
            InUse::Free => Ok(()),
            InUse::Busy | InUse::Unknown(_) => Err(Error::new(
                Code::Mounted,
                Errno::BUSY,
                "it seems to be mounted elsewhere, and the kernel cannot be asked",
            )),
        }
    }
}
