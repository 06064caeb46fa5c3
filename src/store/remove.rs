//! Removing a layer: one rename takes it out of the store, however large it is.

use super::lock::Mode;
use super::{RemoveFlags, Store, id, to_trash};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::fs;
use crate::tree::remove_tree;
use crate::watch::Watch;
use std::time::Duration;

/// Whoever reads a layer under a lock is done sooner.
const PATIENCE: Duration = Duration::from_millis(200);

impl Store {
    /// Removes the layer `id`. ENOENT when it is not there, EBUSY when layers are built on it or
    /// it is in use. When this returns it is gone; its space is given back too, unless
    /// [`RemoveFlags::DEFER`] leaves that to [`Store::cleanup`].
    pub fn remove(&self, id: &[u8], flags: RemoveFlags, watch: &mut Watch<'_>) -> Result<()> {
        self.remove_layer(id, flags, watch)
            .map_err(|e| e.at(id).op("remove"))
    }

    fn remove_layer(&self, id: &[u8], flags: RemoveFlags, watch: &mut Watch<'_>) -> Result<()> {
        self.writable()?;
        watch.check()?;
        let id = id::check(id)?;
        let layer = self.lock_layer(id, Mode::Exclusive, PATIENCE, watch)?;
        let children = self.children(&layer)?;
        if let Some(child) = children.first() {
            let more = match children.len() {
                1 => String::new(),
                n => format!(" and {} more", n - 1),
            };
            return Err(Error::new(
                Code::HasChildren,
                Errno::BUSY,
                format!("layers are built on it: {child}{more}"),
            ));
        }
        self.need_removable(&layer)?;
        let nonce = to_trash(self, &self.layers, id.as_bytes())?;
        fs::sync(&self.layers).call_at("fsync", "layer")?;
        if let Some(parent) = &layer.parent {
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
}
