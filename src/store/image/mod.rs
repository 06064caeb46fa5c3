//! Images: a name for a chain of layers, and the manifest and config that it came with.
//!
//! An image is a directory, `image/<name>/`, that appears, is replaced and goes by one rename, and
//! never changes in between. Its layers are named by their chain IDs, so images share them; nothing
//! counts who uses a layer. Whoever takes a layer away has it locked, alone, and then asks all
//! images; an import holds the topmost layer that it has, shared, until its image is there.
//!
//! `image/` is locked, alone, by who publishes or removes an image, for as long as that takes and
//! no longer: under this lock kept blobs come and go. Readers lock nothing.

mod archive;
mod blobs;
mod chain;
mod check;
mod export;
mod import;
mod names;
mod options;
mod record;
mod remove;
mod resolve;
mod target;

pub use options::*;

use super::lock::{self, Mode};
use super::maker::Maker;
use super::{LayerInfo, Store};
use crate::archive::Digest;
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::oci::{Config, name};
use crate::sys::OwnedFd;
use crate::sys::dir::DirBuf;
use crate::sys::fs;
use crate::watch::Watch;
use record::Record;

/// Where images are, in the store's home.
const DIR: &str = "image";

impl Store {
    /// What is known of the image `name`.
    pub fn stat_image(&self, name: &[u8]) -> Result<ImageInfo> {
        (|| {
            let (record, size) = self.with_record(name::check(name)?, |record, _| {
                let layers = record.layers.iter().map(|listed| self.listed(listed));
                layers
                    .map(|layer| layer.map(|one| one.size))
                    .sum::<Result<u64>>()
            })?;
            let mut info = record.info();
            info.size = size;
            Ok(info)
        })()
        .map_err(|e: Error| e.at(name).op("image_stat"))
    }

    /// The names of all images, sorted, and their layers. What is damaged is left out.
    pub fn list_images(&self) -> Result<Vec<ImageRef>> {
        (|| {
            let mut found = Vec::new();
            for name in self.image_names()? {
                match self.image(&name) {
                    Ok(record) => found.push(ImageRef {
                        name,
                        layer: record.top().map(str::to_string),
                        layers: record.layers.len(),
                    }),
                    Err(error) if matches!(error.code(), Code::NoImage | Code::Damaged) => {}
                    Err(error) => return Err(error),
                }
            }
            found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            Ok(found)
        })()
        .map_err(|e: Error| e.at(DIR).op("image_list"))
    }

    /// What the image `name` runs, and its layers.
    pub fn image_config(&self, name: &[u8]) -> Result<Vec<ConfigItem>> {
        (|| {
            let (record, json) =
                self.with_record(name::check(name)?, |record, dir| record.read_config(dir))?;
            let config = Config::parse(&json).map_err(|e| e.context("its config"))?;
            let mut items = vec![ConfigItem::Json(json)];
            items.extend(config.env.into_iter().map(ConfigItem::Env));
            items.extend(config.entrypoint.into_iter().map(ConfigItem::Entrypoint));
            items.extend(config.cmd.into_iter().map(ConfigItem::Cmd));
            items.extend(config.working_dir.map(ConfigItem::WorkingDir));
            items.extend(config.user.map(ConfigItem::User));
            let labels = config.labels.into_iter();
            items.extend(labels.map(|(key, value)| ConfigItem::Label { key, value }));
            let layers = record.layers.into_iter();
            items.extend(layers.map(|one| {
                ConfigItem::Layer(ImageLayer {
                    id: one.id,
                    diff_id: one.diff_id,
                })
            }));
            Ok(items)
        })()
        .map_err(|e: Error| e.at(name).op("image_config"))
    }

    /// The record of the image `name`.
    fn image(&self, name: &str) -> Result<Record> {
        self.with_record(name, |_, _| Ok(()))
            .map(|(record, ())| record)
    }

    /// The record of the image `name`, and what is read beside it: all of one image, also where it
    /// is replaced meanwhile. What has gone with the image is then looked for in the new one.
    fn with_record<T>(
        &self,
        name: &str,
        mut read: impl FnMut(&Record, &OwnedFd) -> Result<T>,
    ) -> Result<(Record, T)> {
        let encoded = name::encode(name)?;
        let images = self.images()?.ok_or_else(|| no_image(name))?;
        loop {
            let dir = match fs::open_dir(&images, encoded.as_bytes()) {
                Ok(dir) => dir,
                Err(Errno::NOENT) => return Err(no_image(name)),
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return Err(super::text::damaged("it is no directory").at(name));
                }
                Err(errno) => return Err(errno).call_at("open", name),
            };
            let told = Record::read(&dir).and_then(|record| {
                let more = read(&record, &dir)?;
                Ok((record, more))
            });
            let error = match told {
                Ok(told) => return Ok(told),
                Err(error) => error.at(name),
            };
            if error.code() == Code::Cancelled {
                return Err(error);
            }
            // One that went while it was read looks damaged.
            let mine = fs::stat(&dir).call_at("statx", name)?;
            match fs::stat_at(&images, encoded.as_bytes()) {
                Ok(there) if there.same_inode(&mine) => return Err(error),
                Ok(_) => {}
                Err(Errno::NOENT) => return Err(no_image(name)),
                Err(errno) => return Err(errno).call_at("statx", name),
            }
        }
    }

    /// `image/`; none where no image was ever imported.
    fn images(&self) -> Result<Option<OwnedFd>> {
        match fs::open_dir(&self.home, DIR.as_bytes()) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).call_at("open", DIR),
        }
    }

    /// `image/`, made where it is not there, and locked alone. The lock goes with the descriptor.
    fn lock_images(&self, watch: &mut Watch<'_>) -> Result<OwnedFd> {
        let dir = match self.images()? {
            Some(dir) => dir,
            None => {
                self.make_in_home(DIR)?;
                fs::open_dir(&self.home, DIR.as_bytes()).call_at("open", DIR)?
            }
        };
        lock::lock(&dir, Mode::Exclusive, lock::PATIENCE, watch).map_err(|e| e.at(DIR))?;
        Ok(dir)
    }

    /// Makes a directory of the store's, which is on the disk when this returns.
    fn make_in_home(&self, name: &str) -> Result<()> {
        match Maker::of(&self.home).mkdir(&self.home, name.as_bytes()) {
            Ok(()) => fs::sync(&self.home).call_at("fsync", "."),
            Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno).call_at("mkdir", name),
        }
    }

    /// The names of the images, whether they can be read or not.
    fn image_names(&self) -> Result<Vec<String>> {
        let Some(dir) = self.images()? else {
            return Ok(Vec::new());
        };
        let names = DirBuf::default()
            .sorted_names(dir)
            .call_at("getdents64", DIR)?;
        Ok(names.iter().filter_map(|name| name::decode(name)).collect())
    }

    /// A layer that an image lists: committed, and made of that diff ID.
    fn listed(&self, listed: &record::Listed) -> Result<LayerInfo> {
        let layer = match self.layer(&listed.id) {
            Err(error) if error.code() == Code::NoLayer => {
                return Err(Error::new(
                    Code::NoLayer,
                    Errno::NOENT,
                    "the image's layer is missing: import it again",
                )
                .at(&listed.id));
            }
            layer => layer?,
        };
        if !layer.committed() || layer.meta.diff_id != Some(listed.diff_id) {
            let what = "it is another layer than the image lists";
            return Err(super::text::damaged(what).at(&listed.id));
        }
        Ok(layer.info(false))
    }

    /// Whether an image lists the layer `id`, or one cannot be read that may.
    fn is_listed(&self, id: &str) -> Result<bool> {
        for name in self.image_names()? {
            match self.image(&name) {
                Ok(record) if record.layers.iter().any(|one| one.id == id) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.code() == Code::NoImage => {}
                Err(_) => return Ok(true),
            }
        }
        Ok(false)
    }
}

/// The id of the layer of a chain ID.
fn layer_id(chain: &Digest) -> String {
    format!("sha256-{}", chain.hex())
}

/// ENOENT for an image.
fn no_image(name: &str) -> Error {
    Error::new(Code::NoImage, Errno::NOENT, "there is no such image").at(name)
}
