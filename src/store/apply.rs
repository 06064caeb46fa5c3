//! A layer made of a tar.

use super::commit::committed;
use super::create::{describe, frame, one_more};
use super::layer::Layer;
use super::lock::{Mode, PATIENCE};
use super::manifest::{self, Contents, Known};
use super::meta::Meta;
use super::stage::{Stage, exists};
use super::{ApplyFlags, ApplyOptions, Durability, Kind, LayerInfo, Limits, State, Store, id, now};
use crate::archive::{self, Decoder, DecoderOptions, Source, Summary};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::layer::MAX_PATH;
use crate::layer::apply::{Applied, Rules, apply};
use crate::layer::flatten::{self, How, Sharing};
use crate::layer::upper::LowerLinks;
use crate::layer::view::Stack;
use crate::sys::dir::DirBuf;
use crate::sys::fs;
use crate::sys::ids::IdMaps;
use crate::tree::aside::Aside;
use crate::tree::attrs;
use crate::watch::Watch;

impl Store {
    /// Makes the layer `id` of a tar, plain or compressed by gzip or zstd.
    ///
    /// If `id` is not there, the layer is made over `options.parent`, which must be committed. If
    /// it is there it must be writable, empty and not mounted, and what is made takes its place.
    /// After any failure all is as it was.
    pub fn apply(
        &self,
        id: &[u8],
        source: &mut dyn Source,
        options: &ApplyOptions<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<LayerInfo> {
        self.apply_layer(id, source, options, watch)
            .map_err(|e| e.at(id).op("apply"))
    }

    pub(super) fn apply_layer(
        &self,
        id: &[u8],
        source: &mut dyn Source,
        options: &ApplyOptions<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<LayerInfo> {
        self.writable()?;
        watch.check()?;
        let id = id::check(id)?;
        let place = self.claim(id, options, watch)?;
        let kind = self.kind(options.kind, place.parent.as_ref())?;
        // A root over an overlay is made of what the marks leave of it.
        let marked = |layer: &Layer| layer.meta.kind == Kind::Overlay;
        if kind == Kind::Overlay || place.parent.as_ref().is_some_and(marked) {
            self.need_marks()?;
        }
        let stage = Stage::new(self)?;
        let (mut meta, applied) =
            self.extract(&stage, kind, place.parent.as_ref(), source, options, watch)?;
        let partial = applied.partial;
        meta.skipped = [partial.devices, partial.owners, partial.xattrs];
        let sync = options.durability != Durability::None;
        let lower = match kind {
            Kind::Overlay => place.parent.as_ref().map(|parent| parent.id.as_str()),
            Kind::Root => None,
        };
        describe(&stage, &meta, lower)?;
        watch.check()?;
        let maker = stage.maker();
        let show = || match &place.there {
            Some(_) => stage.exchange(id, sync),
            None => stage.publish(id, sync),
        };
        let fd = match &place.parent {
            Some(parent) => self.build_on(parent, id, maker, show)?,
            None => show()?,
        };
        let parent = place.parent.as_ref().map(|parent| parent.id.clone());
        let layer = Layer::new(id, fd, meta, parent);
        let mut info = layer.info(false);
        info.skipped_devices = partial.devices;
        info.skipped_owners = partial.owners;
        info.skipped_xattrs = partial.xattrs;
        Ok(info)
    }

    /// Locks what the new layer is built on, and what it replaces.
    fn claim(&self, id: &str, options: &ApplyOptions<'_>, watch: &mut Watch<'_>) -> Result<Place> {
        let wanted = options.parent.map(id::check).transpose()?;
        let there = match self.layer(id) {
            Ok(layer) => Some(layer),
            Err(error)
                if matches!(error.code(), Code::NoLayer | Code::Damaged)
                    && !options.flags.contains(ApplyFlags::EXISTING) =>
            {
                None
            }
            Err(error) => return Err(error),
        };
        let Some(there) = there else {
            if wanted == Some(id) {
                return Err(Error::invalid("a layer cannot be its own parent"));
            }
            let parent = wanted
                .map(|parent| self.lock_layer(parent, Mode::Shared, PATIENCE, watch))
                .transpose()?;
            need_committed(parent.as_ref())?;
            self.need_free(id)?;
            return Ok(Place {
                parent,
                there: None,
            });
        };
        if there.committed() {
            // One who asks for a new layer is told that it exists.
            return Err(if wanted.is_some() {
                exists(id)
            } else {
                committed(id)
            });
        }
        if wanted.is_some() && wanted != there.parent.as_deref() {
            return Err(Error::invalid("the layer is there, over another parent"));
        }
        let parent = match &there.parent {
            Some(parent) => Some(self.lock_layer(parent, Mode::Shared, PATIENCE, watch)?),
            None => None,
        };
        need_committed(parent.as_ref())?;
        let there = self.lock_layer(id, Mode::Exclusive, PATIENCE, watch)?;
        if there.committed() {
            return Err(committed(id));
        }
        if there.parent.as_deref() != parent.as_ref().map(|parent| parent.id.as_str()) {
            return Err(Error::new(
                Code::Locked,
                Errno::BUSY,
                "another caller replaced the layer",
            ));
        }
        self.need_unmounted(&there)?;
        let content = there.open(there.content())?;
        if !DirBuf::default().is_empty(&content).call("getdents64")? {
            return Err(Error::new(
                Code::NotEmpty,
                Errno::NOTEMPTY,
                "the layer has content",
            ));
        }
        Ok(Place {
            parent,
            there: Some(there),
        })
    }

    /// The kind that is wanted, or the one that fits.
    fn kind(&self, wanted: Option<Kind>, parent: Option<&Layer>) -> Result<Kind> {
        match (wanted, parent) {
            (Some(Kind::Overlay), None) => {
                Err(Error::invalid("a layer of kind overlay needs a parent"))
            }
            (Some(kind), _) => Ok(kind),
            (None, None) => Ok(Kind::Root),
            (None, Some(_)) if self.holds_upper()? => Ok(Kind::Overlay),
            (None, Some(_)) => Ok(Kind::Root),
        }
    }

    /// Extracts the tar into the stage, checks it, and fills in what the kind needs.
    fn extract(
        &self,
        stage: &Stage<'_>,
        kind: Kind,
        parent: Option<&Layer>,
        source: &mut dyn Source,
        options: &ApplyOptions<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<(Meta, Applied)> {
        let writable = options.flags.contains(ApplyFlags::WRITABLE);
        let state = if writable {
            State::Writable
        } else {
            State::Committed
        };
        let mut meta = Meta::new(kind, state, now());
        // A writable root must not share inodes: it is written in place.
        let shares = kind == Kind::Root && !writable;
        let links = match kind {
            Kind::Overlay => LowerLinks::CopyUp,
            Kind::Root if writable => LowerLinks::Copy,
            Kind::Root => LowerLinks::Share,
        };
        match (kind, parent) {
            (Kind::Overlay, Some(parent)) => meta.lowers = one_more(parent)?,
            (_, parent) => meta.parent = parent.map(|parent| parent.id.clone()),
        }
        let name = if kind == Kind::Root { "root" } else { "upper" };
        let content = stage.mkdir(name)?;
        let stack = match parent {
            Some(parent) => self.stack(parent)?,
            None => Stack::new(Vec::new(), self.marks),
        };
        // Over nothing no marks are made, and nothing is to be filled in.
        let fill = kind == Kind::Root && !stack.trees().is_empty();
        let mut decoder = Decoder::new(source, decoding(&options.limits));
        let contents = match options.durability {
            Durability::Verified => Contents::Read,
            _ => Contents::Skip,
        };
        let rules = Rules {
            strict: options.flags.contains(ApplyFlags::STRICT),
            no_devices: options.flags.contains(ApplyFlags::NO_DEVICES),
            limits: reading(&options.limits),
            max_path: match usize::try_from(options.limits.max_path) {
                Ok(0) => MAX_PATH,
                limit => limit.unwrap_or(usize::MAX),
            },
            max_content: match options.limits.max_size {
                0 => MAX_SIZE,
                limit => limit,
            },
            threads: options.threads,
            durable: options.durability != Durability::None,
            // Who reads the files wants to know what is on the disk.
            notes: !writable && contents == Contents::Skip && fs::keeps_attributes(&content),
        };
        let again = || fs::open_dir_trusted(&content, b".").call("open");
        let aside = Aside::new(fs::open_dir_trusted(stage.dir()?, b".").call("open")?);
        let (mut applied, stack) = apply(
            &mut decoder,
            again()?,
            stack,
            links,
            aside.clone(),
            &rules,
            watch,
        )?;
        let summary = drained(&mut decoder, watch)?;
        check_digest(&summary, options)?;
        describe_tar(&mut meta, &summary, &applied);
        if !writable {
            // They are not needed while a parent is linked in.
            let notes = std::mem::take(&mut applied.notes);
            let known = Known {
                marks: self.marked(kind),
                tagged: Some(&applied.tagged),
                notes: rules.notes.then_some(&notes),
                modes: Some(&applied.shut),
                threads: options.threads,
            };
            let manifest = manifest::write(stage.dir()?, &content, known, contents, watch)?;
            meta.manifest = Some(manifest.digest);
            meta.ids = IdMaps::read().word();
        }
        if let (Durability::Verified, Some(manifest)) = (options.durability, &meta.manifest) {
            fs::sync_fs(&content).call("syncfs")?;
            self.verify(stage.dir()?, kind, &content, manifest, watch)?;
        }
        let modes = std::mem::take(&mut applied.shut);
        if fill {
            let sharing = if shares {
                Sharing::Links
            } else {
                Sharing::Copies
            };
            let how = How {
                sharing,
                strict: rules.strict,
                threads: options.threads,
            };
            let aside = Some(aside.clone());
            let filled = flatten::fill(again()?, &stack, how, modes, aside, watch)?;
            applied.partial = applied.partial.plus(filled.partial);
        } else {
            attrs::shut(again()?, &modes)?;
        }
        aside.remove()?;
        frame(stage, kind)?;
        Ok((meta, applied))
    }
}

/// Where a new layer goes.
struct Place {
    parent: Option<Layer>,
    there: Option<Layer>,
}

fn need_committed(parent: Option<&Layer>) -> Result<()> {
    match parent {
        Some(parent) if !parent.committed() => Err(Error::new(
            Code::NotCommitted,
            Errno::BUSY,
            "the parent is not committed",
        )
        .at(&parent.id)),
        _ => Ok(()),
    }
}

/// Reads what is left of a blob to its end, however long that is.
pub(super) fn drained<S: Source>(
    decoder: &mut Decoder<S>,
    watch: &mut Watch<'_>,
) -> Result<Summary> {
    let mut scratch = vec![0; 256 << 10];
    loop {
        match decoder.read(&mut scratch)? {
            0 => return decoder.finish(),
            more => watch.bytes(more as u64)?,
        }
    }
}

fn check_digest(summary: &Summary, options: &ApplyOptions<'_>) -> Result<()> {
    match (&options.diff_id, &summary.diff_id) {
        (Some(wanted), Some(is)) if wanted != is => Err(Error::new(
            Code::Digest,
            Errno::BADMSG,
            format!("the tar's digest is {is}, not {wanted}"),
        )),
        (Some(_), None) => Err(Error::new(
            Code::Bug,
            Errno::NOTRECOVERABLE,
            "the tar was not hashed",
        )),
        _ => Ok(()),
    }
}

fn describe_tar(meta: &mut Meta, summary: &Summary, applied: &Applied) {
    meta.diff_id = summary.diff_id;
    meta.blob_digest = summary.blob_digest;
    meta.tar_size = summary.diff_size;
    meta.blob_size = summary.blob_size;
    meta.entries = applied.entries;
    meta.size = Some(applied.size);
}

/// Uncompressed bytes of a layer, where the caller names no limit.
const MAX_SIZE: u64 = 64 << 30;

pub(super) fn decoding(limits: &Limits) -> DecoderOptions {
    let mut options = DecoderOptions {
        max_bytes: MAX_SIZE,
        ..DecoderOptions::default()
    };
    if limits.max_size > 0 {
        options.max_bytes = limits.max_size;
    }
    if limits.zstd_window_log > 0 {
        options.zstd_window_log = limits.zstd_window_log;
    }
    options
}

pub(super) fn reading(limits: &Limits) -> archive::Limits {
    let mut reading = archive::Limits::default();
    if limits.max_entries > 0 {
        reading.max_entries = limits.max_entries;
    }
    if limits.max_meta > 0 {
        reading.max_meta_bytes = limits.max_meta;
    }
    if limits.max_xattrs > 0 {
        reading.max_xattr_bytes = limits.max_xattrs;
    }
    if limits.max_path > 0 {
        reading.max_path = usize::try_from(limits.max_path).unwrap_or(usize::MAX);
    }
    reading
}
