//! Kept blobs: `blob/sha256/<hex>`, plain files that images share.
//!
//! They come and go under the lock of `image/`, with the images that name them.

use crate::archive::Digest;
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::store::Store;
use crate::store::lock::{self, Mode};
use crate::store::stage::Stage;
use crate::sys::OwnedFd;
use crate::sys::dir::DirBuf;
use crate::sys::fs::{self, RenameFlags};
use std::collections::HashSet;

pub(super) const BLOB: &str = "blob";
pub(super) const SHA256: &str = "blob/sha256";

impl Store {
    /// `blob/sha256`; none where no blob was ever kept.
    pub(super) fn blobs(&self) -> Result<Option<OwnedFd>> {
        match fs::open_dir(&self.home, SHA256.as_bytes()) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).call_at("open", SHA256),
        }
    }

    /// Moves blobs out of a stage, where each has its digits for a name. One that is there already
    /// is replaced: it may be damaged, what was just hashed is not.
    pub(super) fn keep_blobs(
        &self,
        stage: &Stage<'_>,
        kept: &[(Digest, u64)],
        sync: bool,
    ) -> Result<()> {
        if kept.is_empty() {
            return Ok(());
        }
        if sync {
            stage.sync()?;
        }
        let blobs = match self.blobs()? {
            Some(blobs) => blobs,
            None => {
                self.make_in_home(BLOB)?;
                self.make_in_home(SHA256)?;
                let blobs = fs::open_dir(&self.home, SHA256.as_bytes()).call_at("open", SHA256)?;
                let above = fs::open_dir(&self.home, BLOB.as_bytes()).call_at("open", BLOB)?;
                fs::sync(&above).call_at("fsync", BLOB)?;
                blobs
            }
        };
        let mut moved = HashSet::new();
        for (digest, _) in kept {
            // A layer may stand in an image twice.
            if !moved.insert(digest) {
                continue;
            }
            let name = digest.hex();
            fs::rename(
                stage.dir()?,
                name.as_bytes(),
                &blobs,
                name.as_bytes(),
                RenameFlags::empty(),
            )
            .call_at("rename", SHA256)?;
        }
        match sync {
            true => fs::sync(&blobs).call_at("fsync", SHA256),
            false => Ok(()),
        }
    }

    /// Takes away the blobs that no image names; gives how many. The caller has `image/` locked.
    /// None goes while an image cannot be read, which may name it.
    pub(super) fn drop_blobs(&self) -> Result<u64> {
        let mut gone = 0;
        for name in self.unnamed_blobs()?.unwrap_or_default() {
            let Some(blobs) = self.blobs()? else {
                break;
            };
            fs::unlink(&blobs, &name).call_at("unlink", SHA256)?;
            gone += 1;
        }
        Ok(gone)
    }

    /// As [`Store::drop_blobs`], for a cleanup: none where somebody works on images.
    pub(in crate::store) fn sweep_blobs(&self) -> Result<Option<u64>> {
        let (Some(images), Some(_)) = (self.images()?, self.blobs()?) else {
            return Ok(Some(0));
        };
        match lock::try_lock(&images, Mode::Exclusive)? {
            true => self.drop_blobs().map(Some),
            false => Ok(None),
        }
    }

    /// The blobs that no image names; none can be told of where an image cannot be read.
    pub(super) fn unnamed_blobs(&self) -> Result<Option<Vec<Vec<u8>>>> {
        let Some(blobs) = self.blobs()? else {
            return Ok(Some(Vec::new()));
        };
        let names = DirBuf::default()
            .sorted_names(&blobs)
            .call_at("getdents64", SHA256)?;
        if names.is_empty() {
            return Ok(Some(names));
        }
        let mut named = HashSet::new();
        for name in self.image_names()? {
            match self.image(&name) {
                Ok(record) => named.extend(record.blobs().map(|(digest, _)| digest)),
                Err(error) if error.code() == Code::NoImage => {}
                Err(_) => return Ok(None),
            }
        }
        let unnamed =
            |name: &Vec<u8>| blob_name(name).is_some_and(|digest| !named.contains(&digest));
        Ok(Some(names.into_iter().filter(unnamed).collect()))
    }

    /// Opens a kept blob.
    pub(super) fn blob(&self, digest: &Digest) -> Result<OwnedFd> {
        let lost = || {
            let message = "a kept blob is missing: import the image again";
            Error::new(Code::Damaged, Errno::IO, message).at(digest.to_string())
        };
        let blobs = self.blobs()?.ok_or_else(lost)?;
        match fs::open_file(&blobs, digest.hex().as_bytes()) {
            Ok(file) => Ok(file),
            Err(Errno::NOENT) => Err(lost()),
            Err(errno) => Err(errno).call_at("open", digest.to_string()),
        }
    }
}

/// The digest that the name of a blob stands for.
pub(super) fn blob_name(name: &[u8]) -> Option<Digest> {
    let name = std::str::from_utf8(name).ok()?;
    Digest::parse(&format!("sha256:{name}")).ok()
}
