//! An archive becomes an image of the store.

use super::DIR;
use super::archive::Files;
use super::chain::Chain;
use super::options::{Archive, ImageInfo, ImportFlags, ImportOptions};
use super::record::{Listed, Record};
use super::resolve::{Picked, resolve};
use crate::archive::Digest;
use crate::error::{Errno, Error, Result, SysResult};
use crate::oci::{Platform, Wanted, name};
use crate::store::stage::Stage;
use crate::store::{Durability, Store, now};
use crate::sys::fs;
use crate::tree::remove_tree;
use crate::watch::Watch;

impl Store {
    /// Makes the image `name` of an archive: an OCI layout or docker save. Its layers are named by
    /// their chain IDs; those that are there are used. An image of that name is replaced, and its
    /// layers go as by [`Store::remove_image`]. After a failure the image is as it was, and layers
    /// that were made go again.
    pub fn import_image(
        &self,
        name: &[u8],
        archive: Archive<'_>,
        options: &ImportOptions<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<ImageInfo> {
        self.import(name, archive, options, watch)
            .map_err(|e| e.at(name).op("image_import"))
    }

    fn import(
        &self,
        name: &[u8],
        archive: Archive<'_>,
        options: &ImportOptions<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<ImageInfo> {
        self.writable()?;
        watch.check()?;
        let name = name::check(name)?;
        name::encode(name)?;
        let wanted = wanted(options)?;
        let stage = Stage::new(self)?;
        let files = Files::open(archive, stage.dir()?, &options.limits, watch)?;
        let picked = resolve(&files, &wanted, watch)?;
        let mut chain = Chain::default();
        let done = self
            .bring_chain(&files, &picked, options, &stage, &mut chain, watch)
            .and_then(|()| self.publish(name, &picked, &chain, options, &stage, watch));
        let record = match done {
            Ok(record) => record,
            Err(error) => {
                // What nobody asked for by itself.
                chain.top = None;
                // While it was held, no hint of what was built on it could go.
                if let (Some(parent), Some(next)) = (chain.ids.last(), &chain.next) {
                    self.drop_hint(parent, next);
                }
                self.drop_layers(&chain.made, &mut Watch::default());
                return Err(error);
            }
        };
        let mut info = record.info();
        info.size = chain.size;
        info.made = chain.made.len() as u64;
        [
            info.skipped_devices,
            info.skipped_owners,
            info.skipped_xattrs,
        ] = chain.skipped;
        Ok(info)
    }

    /// Shows the image, whose layers are there.
    fn publish(
        &self,
        name: &str,
        picked: &Picked,
        chain: &Chain,
        options: &ImportOptions<'_>,
        stage: &Stage<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<Record> {
        let kept = options.flags.contains(ImportFlags::KEEP_BLOBS);
        let mut blobs = chain.kept.iter().copied();
        let listed = chain.ids.iter().zip(&picked.parsed.diff_ids);
        let record = Record {
            created: now(),
            manifest: picked
                .manifest
                .as_ref()
                .map(|(data, media_type)| (Digest::of(data), media_type.clone())),
            config: Digest::of(&picked.config),
            layers: listed
                .map(|(id, diff_id)| Listed {
                    id: id.clone(),
                    diff_id: *diff_id,
                    blob: blobs.next(),
                })
                .collect(),
            kept,
        };
        let manifest = picked.manifest.as_ref().map(|(data, _)| data.as_slice());
        let sync = options.durability != Durability::None;
        let own = Stage::new(self)?;
        record.write(&own, manifest, &picked.config)?;
        let encoded = name::encode(name)?;
        let images = self.lock_images(watch)?;
        let there = match fs::stat_at(&images, encoded.as_bytes()) {
            Ok(_) => true,
            Err(Errno::NOENT) => false,
            Err(errno) => return Err(errno).call_at("statx", DIR),
        };
        let shown = self
            .keep_blobs(stage, &chain.kept, sync)
            .and_then(|()| match there {
                true => own
                    .swap(&images, DIR, &encoded, sync)
                    .map(|(_, old)| Some(old)),
                false => own.show(&images, DIR, &encoded, sync).map(|_| None),
            });
        let old = match shown {
            Ok(old) => old,
            Err(error) => {
                if kept {
                    self.drop_blobs_if_possible();
                }
                return Err(error);
            }
        };
        let Some(old) = old else {
            return Ok(record);
        };
        let mut replaced = match fs::open_dir(&self.stage, old.as_bytes()) {
            Ok(dir) => super::remove::remains(&dir),
            Err(_) => Vec::new(),
        };
        replaced.retain(|id| !chain.ids.contains(id));
        self.drop_blobs_if_possible();
        drop(images);
        if let Err(error) = remove_tree(&self.stage, old.as_bytes(), &mut Watch::default()) {
            self.warn(&format!("the replaced image stays in stage/{old}: {error}"));
        }
        self.drop_layers(&replaced, watch);
        Ok(record)
    }
}

fn wanted(options: &ImportOptions<'_>) -> Result<Wanted> {
    let text = |text: Option<&[u8]>, what: &str| match text.map(std::str::from_utf8) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text.to_string())),
        Some(Err(_)) => Err(Error::invalid(format!("{what} is no text"))),
    };
    let platform = text(options.platform, "platform")?;
    Ok(Wanted {
        reference: text(options.reference, "ref")?,
        platform: platform.map(|text| Platform::parse(&text)).transpose()?,
    })
}
