//! An image of the store becomes an OCI layout.
//!
//! Where the blobs are kept they are written as they came. Else the layers' tars are made anew by
//! `diff`, uncompressed, and with them the manifest, and the config where a diff ID is another.
//! Equal images give equal bytes.
//!
//! A tar wants each size, and `index.json` each digest, before the bytes. So for a stream every
//! layer is compared twice, first for its digest alone. To spool it would be the other way: it
//! takes the space of the image, and a store that may be written to.

use super::blobs;
use super::options::{ExportOptions, ImageInfo, Target};
use super::record::Record;
use super::target::Layout;
use crate::archive::{Compression, Digest, Sha256, Sink, compression};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::oci::{Config, Descriptor, Manifest, OCI_LAYER, name, write_index};
use crate::store::layer::Layer;
use crate::store::lock::{Mode, PATIENCE};
use crate::store::{Against, DiffOptions, LayerInfo, Store, text};
use crate::sys::{OwnedFd, fs};
use crate::watch::Watch;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// What is written as a blob of the layout.
pub struct Piece {
    digest: Digest,
    size: u64,
    from: From,
}

enum From {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The kept blob; open, as it may go from its name.
    Kept(Arc<OwnedFd>),
    /// The layer's diff.
    Layer(String),
    /// It is written already.
    Written,
}

/// What makes an image, held while it is written.
struct Held {
    config: Vec<u8>,
    manifest: Option<Vec<u8>>,
    /// Those that are kept; none where they are not.
    blobs: HashMap<Digest, Arc<OwnedFd>>,
    _top: Option<Layer>,
}

impl Store {
    /// Writes the image `name` as an OCI layout. What is told is what was written.
    pub fn export_image(
        &self,
        name: &[u8],
        target: Target<'_>,
        options: &ExportOptions<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<ImageInfo> {
        (|| {
            watch.check()?;
            let name = name::check(name)?;
            let reference = match options.reference {
                Some(text) => reference(text)?,
                None => name::tag(name).unwrap_or("latest"),
            };
            let (record, held) =
                self.with_record(name, |record, dir| self.hold(record, dir, watch))?;
            let mut layout = Layout::begin(target)?;
            let done = self.write_image(&record, held, reference, &mut layout, watch);
            match done {
                Ok(info) => Ok(info),
                Err(error) => {
                    layout.undo();
                    Err(error)
                }
            }
        })()
        .map_err(|e: Error| e.at(name).op("image_export"))
    }

    /// Holds all that makes an image, so that it can be written whatever becomes of it.
    fn hold(&self, record: &Record, dir: &OwnedFd, watch: &mut Watch<'_>) -> Result<Held> {
        let mut held = Held {
            config: record.read_config(dir)?,
            manifest: record.read_manifest(dir)?,
            blobs: HashMap::new(),
            _top: None,
        };
        if record.kept {
            for (digest, _) in record.blobs() {
                if let Entry::Vacant(vacant) = held.blobs.entry(digest) {
                    vacant.insert(Arc::new(self.blob(&digest)?));
                }
            }
            return Ok(held);
        }
        for listed in &record.layers {
            self.listed(listed)?;
        }
        // Nobody removes it meanwhile, nor those below it.
        if let Some(top) = record.top() {
            held._top = Some(self.lock_layer(top, Mode::Shared, PATIENCE, watch)?);
        }
        Ok(held)
    }

    fn write_image(
        &self,
        record: &Record,
        held: Held,
        reference: &str,
        layout: &mut Layout<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<ImageInfo> {
        let mut info = record.info();
        let (config, manifest) = (held.config, held.manifest);
        let mut layers = Vec::with_capacity(record.layers.len());
        let mut described = Vec::with_capacity(record.layers.len());
        let mut diff_ids = Vec::with_capacity(record.layers.len());
        for listed in &record.layers {
            let kept = listed
                .blob
                .and_then(|(digest, size)| Some((digest, size, held.blobs.get(&digest)?)));
            match kept {
                Some((digest, size, blob)) => {
                    if manifest.is_none() {
                        described.push(describe_blob(blob, digest, size)?);
                    }
                    diff_ids.push(listed.diff_id);
                    layers.push(Piece {
                        digest,
                        size,
                        from: From::Kept(blob.clone()),
                    });
                }
                None => {
                    info.size += self.listed(listed)?.size;
                    let piece = self.measure(&listed.id, layout, &mut info, watch)?;
                    described.push(Descriptor::new(OCI_LAYER, piece.digest, piece.size));
                    diff_ids.push(piece.digest);
                    layers.push(piece);
                }
            }
        }
        let same = diff_ids
            .iter()
            .eq(record.layers.iter().map(|layer| &layer.diff_id));
        let config = match same {
            true => config,
            false => Config::with_diff_ids(&config, &diff_ids)?,
        };
        let (manifest, media_type) = match (manifest, &record.manifest) {
            (Some(manifest), Some((_, media_type))) if record.kept => {
                (manifest, media_type.clone())
            }
            _ => {
                let config = Manifest::describe_config(&config);
                let manifest = Manifest::write(&config, &described);
                (manifest, crate::oci::OCI_MANIFEST.to_string())
            }
        };
        if record.kept {
            for listed in &record.layers {
                match self.listed(listed) {
                    Ok(layer) => info.size += layer.size,
                    // It need not be there.
                    Err(error) if matches!(error.code(), Code::NoLayer | Code::Damaged) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let [config, manifest] = [config, manifest].map(|data| Piece {
            digest: Digest::of(&data),
            size: data.len() as u64,
            from: From::Bytes(data),
        });
        info.config = Some(config.digest);
        info.manifest = Some(manifest.digest);
        let named = Descriptor::new(&media_type, manifest.digest, manifest.size);
        let mut pieces = vec![manifest, config];
        for layer in layers {
            if pieces.iter().all(|piece| piece.digest != layer.digest) {
                pieces.push(layer);
            }
        }
        layout.head(&write_index(&named, reference))?;
        for piece in &pieces {
            if !matches!(piece.from, From::Written) {
                layout.blob(&piece.digest, piece.size, &mut |sink| {
                    self.write_piece(piece, sink, watch)
                })?;
            }
        }
        layout.finish()?;
        Ok(info)
    }

    /// Digest and size of a layer's tar. Where the layout can take bytes before it knows these, the
    /// tar is written to it.
    fn measure(
        &self,
        id: &str,
        layout: &mut Layout<'_>,
        info: &mut ImageInfo,
        watch: &mut Watch<'_>,
    ) -> Result<Piece> {
        let mut told = None;
        let mut diff = |sink: &mut dyn Sink| {
            let layer = self.layer_tar(id, sink, watch)?;
            let digest = layer.diff_id.unwrap_or(Digest([0; 32]));
            told = Some(layer);
            Ok(digest)
        };
        let written = layout.unknown_blob(&mut diff)?;
        if !written {
            diff(&mut Nothing)?;
        }
        let Some(layer) = told else {
            return Err(Error::new(
                Code::Bug,
                Errno::NOTRECOVERABLE,
                "a diff told nothing",
            ));
        };
        info.skipped_devices += layer.skipped_devices;
        info.skipped_xattrs += layer.skipped_xattrs;
        Ok(Piece {
            digest: layer.diff_id.unwrap_or(Digest([0; 32])),
            size: layer.tar_size,
            from: match written {
                true => From::Written,
                false => From::Layer(id.to_string()),
            },
        })
    }

    fn layer_tar(&self, id: &str, sink: &mut dyn Sink, watch: &mut Watch<'_>) -> Result<LayerInfo> {
        self.diff(
            id.as_bytes(),
            Against::Parent,
            sink,
            &DiffOptions::default(),
            watch,
        )
    }

    fn write_piece(&self, piece: &Piece, sink: &mut dyn Sink, watch: &mut Watch<'_>) -> Result<()> {
        let digest = match &piece.from {
            From::Bytes(data) => return sink.write_all(data),
            From::Written => return Ok(()),
            From::Layer(id) => self.layer_tar(id, sink, watch)?.diff_id,
            From::Kept(blob) => Some(copy_blob(blob, piece, sink, watch)?),
        };
        if digest == Some(piece.digest) {
            return Ok(());
        }
        let what = match &piece.from {
            From::Layer(id) => format!("the layer {id} changed while it was read"),
            _ => "a kept blob is damaged: import the image again".to_string(),
        };
        Err(text::damaged(what).at(piece.digest.to_string()))
    }
}

/// Copies a kept blob, and hashes it on the way.
fn copy_blob(
    blob: &OwnedFd,
    piece: &Piece,
    sink: &mut dyn Sink,
    watch: &mut Watch<'_>,
) -> Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut left = piece.size;
    while left > 0 {
        let most = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let room = buffer.get_mut(..most).unwrap_or_default();
        let n = fs::read(blob, room).call_at("read", blobs::SHA256)?;
        if n == 0 {
            let what = "a kept blob is cut short: import the image again";
            return Err(text::damaged(what).at(piece.digest.to_string()));
        }
        let data = buffer.get(..n).unwrap_or_default();
        hasher.update(data);
        sink.write_all(data)?;
        watch.bytes(n as u64)?;
        left -= n as u64;
    }
    Ok(hasher.digest())
}

/// The descriptor of a kept blob that no manifest told of.
fn describe_blob(blob: &OwnedFd, digest: Digest, size: u64) -> Result<Descriptor> {
    let mut head = [0; 10];
    let got = fs::read_at(blob, &mut head, 0).call_at("read", blobs::SHA256)?;
    let suffix = match compression(head.get(..got).unwrap_or_default())? {
        Compression::Plain => "",
        Compression::Gzip => "+gzip",
        Compression::Zstd => "+zstd",
    };
    Ok(Descriptor::new(
        &format!("{OCI_LAYER}{suffix}"),
        digest,
        size,
    ))
}

/// Takes what nobody wants to see.
struct Nothing;

impl Sink for Nothing {
    fn write_all(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// The name that a layout gives to an image.
fn reference(text: &[u8]) -> Result<&str> {
    match std::str::from_utf8(text) {
        Ok(text) if !text.is_empty() && !text.contains(char::is_control) => Ok(text),
        _ => Err(Error::invalid("ref is empty, or no text").at(text)),
    }
}
