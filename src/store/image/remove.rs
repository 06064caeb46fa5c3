//! Removing an image, and those of its layers that nobody else has a use for.

use super::record::{Record, layers_by_config};
use super::{DIR, no_image};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::oci::name;
use crate::store::lock::{self, Mode};
use crate::store::{RemoveFlags, Store, to_trash};
use crate::sys::OwnedFd;
use crate::sys::fs::{self, RenameFlags};
use crate::tree::remove_tree;
use crate::watch::Watch;

impl Store {
    /// Removes the image `name`, and then, from the topmost down, each of its layers that no other
    /// image lists, that no layer is built on and that nobody uses. Kept blobs go that no image
    /// names. When this returns the image is gone, also where a layer was left.
    pub fn remove_image(&self, name: &[u8], watch: &mut Watch<'_>) -> Result<()> {
        (|| {
            self.writable()?;
            watch.check()?;
            let name = name::check(name)?;
            let encoded = name::encode(name)?;
            let images = self.images()?.ok_or_else(|| no_image(name))?;
            lock::lock(&images, Mode::Exclusive, lock::PATIENCE, watch).map_err(|e| e.at(DIR))?;
            let layers = match fs::open_dir(&images, encoded.as_bytes()) {
                Ok(dir) => remains(&dir),
                Err(Errno::NOENT) => return Err(no_image(name)),
                // Something else has its name, and can go.
                Err(Errno::NOTDIR | Errno::LOOP) => Vec::new(),
                Err(errno) => return Err(errno).call_at("open", name),
            };
            let nonce = to_trash(self, &images, encoded.as_bytes())?;
            if let Err(errno) = fs::sync(&images) {
                let (from, to) = (&self.trash, &images);
                let _ = fs::rename(
                    from,
                    nonce.as_bytes(),
                    to,
                    encoded.as_bytes(),
                    RenameFlags::NOREPLACE,
                );
                return Err(errno).call_at("fsync", DIR);
            }
            self.drop_blobs_if_possible();
            drop(images);
            if let Err(error) = remove_tree(&self.trash, nonce.as_bytes(), &mut Watch::default()) {
                self.warn(&format!("the image stays in trash/{nonce}: {error}"));
            }
            self.drop_layers(&layers, watch);
            Ok(())
        })()
        .map_err(|e: Error| e.at(name).op("image_remove"))
    }

    /// Takes away layers that no image lists, that nothing is built on and that nobody uses: the
    /// last of `ids` first. One that cannot go stays. A caller who cancels is done sooner: what
    /// goes is left in `trash/` then.
    pub(super) fn drop_layers(&self, ids: &[String], watch: &mut Watch<'_>) {
        for id in ids.iter().rev() {
            let dropped = match watch.check() {
                Ok(()) => self.drop_layer(id, RemoveFlags::empty(), watch),
                Err(_) => self.drop_layer(id, RemoveFlags::DEFER, &mut Watch::default()),
            };
            match dropped {
                Ok(()) => {}
                Err(error) if is_wanted(&error) => {}
                Err(error) => self.warn(&format!("the layer {id} stays: {error}")),
            }
        }
    }

    fn drop_layer(&self, id: &str, flags: RemoveFlags, watch: &mut Watch<'_>) -> Result<()> {
        // Whoever used the layer for an image meanwhile had it locked, and its image is there.
        self.remove_if(id.as_bytes(), flags, watch, |layers| {
            let whole =
                matches!(layers, [layer] if layer.committed() && layer.meta.diff_id.is_some());
            if whole && !self.is_listed(id)? {
                return Ok(());
            }
            Err(Error::new(Code::Locked, Errno::BUSY, "an image lists it"))
        })
    }

    pub(super) fn drop_blobs_if_possible(&self) {
        if let Err(error) = self.drop_blobs() {
            self.warn(&format!("blobs that no image names stay: {error}"));
        }
    }
}

/// The ids of the layers of an image that goes, however damaged it is.
pub(super) fn remains(dir: &OwnedFd) -> Vec<String> {
    let listed = match Record::read(dir) {
        Ok(record) => record.layers,
        Err(_) => layers_by_config(dir),
    };
    listed.into_iter().map(|layer| layer.id).collect()
}

/// A layer that is gone, or that somebody has a use for.
fn is_wanted(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::NoLayer | Code::HasChildren | Code::Mounted | Code::Locked
    )
}
