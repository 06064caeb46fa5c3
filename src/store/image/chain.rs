//! The layers of an image: those that are there are used, the others are made.

use super::archive::{Files, Member};
use super::layer_id;
use super::options::{ImportFlags, ImportOptions};
use super::resolve::{Blob, Picked, hash, need_digest};
use crate::archive::{Decoder, Digest, Source};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::oci;
use crate::store::apply::{decoding, drained};
use crate::store::layer::Layer;
use crate::store::lock::{Mode, PATIENCE};
use crate::store::stage::Stage;
use crate::store::{ApplyFlags, ApplyOptions, Store, Threads};
use crate::sys::{OwnedFd, fs};
use crate::watch::Watch;

/// How often a layer is made that somebody removes at once.
const TRIES: usize = 16;

/// What an import has done so far.
#[derive(Default)]
pub struct Chain {
    /// The topmost layer that is there, held so that nobody removes it. Those below it have a
    /// child.
    pub top: Option<Layer>,
    /// The ids of the layers, the lowest first.
    pub ids: Vec<String>,
    /// The one that is on its way.
    pub next: Option<String>,
    /// Those that were made now.
    pub made: Vec<String>,
    /// Blobs that lie in the stage, each under its digits.
    pub kept: Vec<(Digest, u64)>,
    /// The sizes of the layers, together.
    pub size: u64,
    /// Devices, owners and extended attributes left out of them.
    pub skipped: [u64; 3],
}

impl Store {
    /// Has all layers of an image in the store. What was made stands in `chain`, also after a
    /// failure.
    pub(super) fn bring_chain(
        &self,
        files: &Files,
        picked: &Picked,
        options: &ImportOptions<'_>,
        stage: &Stage<'_>,
        chain: &mut Chain,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let ids = oci::chain_ids(&picked.parsed.diff_ids);
        let count = picked.layers.len();
        for (n, (blob, id)) in picked.layers.iter().zip(ids).enumerate() {
            let mut bring = Bring {
                store: self,
                files,
                blob,
                options,
                id: layer_id(&id),
                parent: chain.ids.last().cloned(),
                keep: options
                    .flags
                    .contains(ImportFlags::KEEP_BLOBS)
                    .then_some(stage),
                seen: None,
                made: false,
            };
            chain.next = Some(bring.id.clone());
            let layer = bring.layer(watch);
            if bring.made {
                chain.made.push(bring.id.clone());
            }
            let layer = layer.map_err(|e| {
                e.context(format!("layer {} of {count}", n + 1))
                    .at(&blob.path)
            })?;
            chain
                .kept
                .extend(bring.seen.filter(|_| bring.keep.is_some()));
            chain.size += layer.meta.size.unwrap_or(0);
            for (sum, one) in chain.skipped.iter_mut().zip(layer.meta.skipped) {
                *sum += one;
            }
            chain.ids.push(layer.id.clone());
            chain.top = Some(layer);
        }
        Ok(())
    }
}

/// One layer on its way.
struct Bring<'a, 's> {
    store: &'s Store,
    files: &'a Files,
    blob: &'a Blob,
    options: &'a ImportOptions<'a>,
    id: String,
    parent: Option<String>,
    /// Where its blob is kept.
    keep: Option<&'a Stage<'s>>,
    /// The blob's digest and size, once it was read and is right.
    seen: Option<(Digest, u64)>,
    made: bool,
}

impl Bring<'_, '_> {
    /// The layer, locked: made, or found and its blob looked at.
    fn layer(&mut self, watch: &mut Watch<'_>) -> Result<Layer> {
        for _ in 0..TRIES {
            watch.check()?;
            match self
                .store
                .lock_layer(&self.id, Mode::Shared, PATIENCE, watch)
            {
                Ok(layer) => {
                    self.fits(&layer)?;
                    if self.seen.is_none() {
                        self.seen = Some(self.check_blob(watch)?);
                    }
                    return Ok(layer);
                }
                // What is damaged is refused by name when it is to be made.
                Err(error) if matches!(error.code(), Code::NoLayer | Code::Damaged) => {}
                Err(error) => return Err(error),
            }
            match self.make(watch) {
                Ok(()) => {}
                // Somebody else made it meanwhile.
                Err(error) if matches!(error.code(), Code::LayerExists | Code::Committed) => {}
                Err(error) => return Err(self.say_why(error, watch)),
            }
        }
        Err(Error::new(
            Code::Locked,
            Errno::BUSY,
            "another caller removes the layer again and again",
        ))
    }

    /// EEXIST unless the layer that has the id is the one that is wanted.
    fn fits(&self, layer: &Layer) -> Result<()> {
        let is = layer.committed()
            && layer.meta.diff_id == Some(self.blob.diff_id)
            && layer.parent == self.parent;
        if !is {
            return Err(Error::new(
                Code::LayerExists,
                Errno::EXIST,
                format!("another layer has the id {}", self.id),
            )
            .at(&self.id));
        }
        let strict = self.options.flags.contains(ImportFlags::STRICT);
        if strict && layer.meta.skipped != [0; 3] {
            return Err(Error::new(
                Code::Strict,
                Errno::OPNOTSUPP,
                format!(
                    "the layer {} is there, but not all of it could be made: remove it first",
                    self.id
                ),
            )
            .at(&self.id));
        }
        Ok(())
    }

    fn member(&self) -> Result<Member> {
        let lost = || Error::new(Code::Archive, Errno::BADMSG, "the archive lost it");
        self.files.get(&self.blob.path)?.ok_or_else(lost)
    }

    /// The blob, and with it a copy in the stage where blobs are kept.
    fn source(&self) -> Result<Copying> {
        let copy = match self.keep {
            Some(stage) => {
                let name = self.kept_name();
                match fs::unlink(stage.dir()?, name.as_bytes()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno).call_at("unlink", "stage"),
                }
                Some(
                    stage
                        .maker()
                        .file(stage.dir()?, &name)
                        .call_at("create", "stage")?,
                )
            }
            None => None,
        };
        Ok(Copying {
            member: self.member()?,
            copy,
        })
    }

    /// The name in the stage: what the blob's digest is may be known only afterwards.
    fn kept_name(&self) -> String {
        format!("blob.{}", self.blob.diff_id.hex())
    }

    /// The blob is read, and is `digest`.
    fn have(&self, digest: Digest, size: u64) -> Result<(Digest, u64)> {
        if let Some((told, _)) = &self.blob.told {
            need_digest(&digest, told)?;
        }
        if let Some(stage) = self.keep {
            let (from, to) = (self.kept_name(), digest.hex());
            fs::rename(
                stage.dir()?,
                from.as_bytes(),
                stage.dir()?,
                to.as_bytes(),
                fs::RenameFlags::empty(),
            )
            .call_at("rename", "stage")?;
        }
        Ok((digest, size))
    }

    /// Makes the layer of its blob.
    fn make(&mut self, watch: &mut Watch<'_>) -> Result<()> {
        let flags = self.options.flags;
        let mut apply = ApplyFlags::empty();
        apply.set(ApplyFlags::STRICT, flags.contains(ImportFlags::STRICT));
        apply.set(
            ApplyFlags::NO_DEVICES,
            flags.contains(ImportFlags::NO_DEVICES),
        );
        let options = ApplyOptions {
            threads: Threads::Auto,
            flags: apply,
            parent: self.parent.as_ref().map(String::as_bytes),
            kind: self.options.kind.filter(|_| self.parent.is_some()),
            diff_id: Some(self.blob.diff_id),
            durability: self.options.durability,
            limits: self.options.limits,
        };
        let mut source = self.source()?;
        let info = self
            .store
            .apply_layer(self.id.as_bytes(), &mut source, &options, watch)?;
        self.made = true;
        let digest = info
            .blob_digest
            .ok_or_else(|| Error::new(Code::Bug, Errno::NOTRECOVERABLE, "apply told no digest"))?;
        self.seen = Some(self.have(digest, info.blob_size)?);
        Ok(())
    }

    /// Reads the blob of a layer that is there: against its descriptor, or, where there is none,
    /// against its diff ID.
    fn check_blob(&self, watch: &mut Watch<'_>) -> Result<(Digest, u64)> {
        let mut source = self.source()?;
        let size = source.member.size();
        if self.blob.told.is_some() {
            let digest = hash(&mut source, watch)?;
            return self.have(digest, size);
        }
        let mut decoder = Decoder::new(&mut source, decoding(&self.options.limits));
        let summary = drained(&mut decoder, watch)?;
        if let Some(is) = &summary.diff_id {
            need_digest(is, &self.blob.diff_id)?;
        }
        match summary.blob_digest {
            Some(digest) => self.have(digest, size),
            None => Err(Error::new(
                Code::Bug,
                Errno::NOTRECOVERABLE,
                "no digest of the blob",
            )),
        }
    }

    /// A blob that is not the one that was meant fails in many ways; what is to be told is that.
    fn say_why(&self, error: Error, watch: &mut Watch<'_>) -> Error {
        let Some((told, _)) = &self.blob.told else {
            return error;
        };
        let of_the_bytes = matches!(
            error.code(),
            Code::Archive
                | Code::Digest
                | Code::Truncated
                | Code::Unsupported
                | Code::Escape
                | Code::Limit
        );
        if !of_the_bytes {
            return error;
        }
        let digest = self
            .member()
            .and_then(|mut member| hash(&mut member, watch));
        match digest.map(|is| need_digest(&is, told)) {
            Ok(Err(mismatch)) => mismatch.context(error.message().to_string()),
            _ => error,
        }
    }
}

/// A member, and a copy of what is read of it.
struct Copying {
    member: Member,
    copy: Option<OwnedFd>,
}

impl Source for Copying {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let n = self.member.read(buf)?;
        if let Some(copy) = &self.copy {
            fs::write_all(copy, buf.get(..n).unwrap_or_default()).call_at("write", "stage")?;
        }
        Ok(n)
    }
}
