//! Looking for damage in images and kept blobs. What there is stands in `docs/store.md`.

use super::blobs::{BLOB, SHA256, blob_name};
use super::record::{FILES, Record};
use super::resolve::hash;
use super::{DIR, archive::Member};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::oci::{Config, chain_ids, name};
use crate::store::check::Found;
use crate::store::lock::{self, Mode};
use crate::store::{Store, check::GLANCE};
use crate::sys::OwnedFd;
use crate::sys::dir::DirBuf;
use crate::sys::fs::{self, Kind};
use crate::watch::Watch;
use std::sync::Arc;

impl Store {
    pub(in crate::store) fn check_images(
        &self,
        found: &mut Found,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let home = fs::stat(&self.home).call("statx")?;
        if let Some(images) = told(found, DIR, fs::open_dir(&self.home, DIR.as_bytes()))? {
            found.private(DIR, &images, &home)?;
            for encoded in DirBuf::default()
                .sorted_names(&images)
                .call_at("getdents64", DIR)?
            {
                watch.check()?;
                let place = format!("{DIR}/{}", encoded.escape_ascii());
                let Some(name) = name::decode(&encoded) else {
                    found.tell(&place, "foreign", "its name is no image's".into(), false);
                    continue;
                };
                match fs::open_dir(&images, &encoded) {
                    Ok(dir) => {
                        found.private(&place, &dir, &home)?;
                        match self.check_image(&place, &name, &dir, found) {
                            Err(error) if error.code() != Code::Cancelled => {
                                found.tell(&place, "unreadable", error.to_string(), false);
                            }
                            done => done?,
                        }
                    }
                    Err(Errno::NOENT) => {}
                    Err(Errno::NOTDIR | Errno::LOOP) => {
                        found.tell(&place, "damaged", "it is no directory".into(), false);
                    }
                    Err(errno) => {
                        let words = Error::sys(errno, "open").to_string();
                        found.tell(&place, "unreadable", words, false);
                    }
                }
            }
        }
        let Some(above) = told(found, BLOB, fs::open_dir(&self.home, BLOB.as_bytes()))? else {
            return Ok(());
        };
        found.private(BLOB, &above, &home)?;
        for name in DirBuf::default()
            .sorted_names(&above)
            .call_at("getdents64", BLOB)?
        {
            if name != b"sha256" {
                let place = format!("{BLOB}/{}", name.escape_ascii());
                found.tell(&place, "foreign", "it is not the store's".into(), false);
            }
        }
        let Some(blobs) = told(found, SHA256, fs::open_dir(&self.home, SHA256.as_bytes()))? else {
            return Ok(());
        };
        found.private(SHA256, &blobs, &home)?;
        self.check_blobs(&blobs, found, watch)
    }

    /// One image: its files, its layers, and that its blobs are there.
    fn check_image(&self, place: &str, name: &str, dir: &OwnedFd, found: &mut Found) -> Result<()> {
        let names = DirBuf::default()
            .sorted_names(fs::open_dir_trusted(dir, b".").call("open")?)
            .call_at("getdents64", place)?;
        for file in names {
            if !FILES.iter().any(|known| known.as_bytes() == file) {
                let words = format!("{}: it is not the store's", file.escape_ascii());
                found.tell(place, "foreign", words, false);
            }
        }
        // One that is replaced or removed meanwhile is not damaged.
        let gone = || self.is_gone(name, dir);
        let record = match Record::read(dir) {
            Err(error) if error.code() == Code::Damaged => {
                if !gone() {
                    found.tell(place, "damaged", error.message().into(), false);
                }
                return Ok(());
            }
            record => record?,
        };
        let mut problems = Vec::new();
        match record
            .read_config(dir)
            .and_then(|data| Config::parse(&data))
        {
            Ok(config) => {
                let chain = chain_ids(&config.diff_ids)
                    .into_iter()
                    .map(|id| super::layer_id(&id));
                if !chain.eq(record.layers.iter().map(|layer| layer.id.clone())) {
                    problems.push(("damaged", "its config names other layers".to_string()));
                }
            }
            Err(error) => problems.push(("damaged", error.message().to_string())),
        }
        if let Err(error) = record.read_manifest(dir) {
            problems.push(("damaged", error.message().to_string()));
        }
        for listed in &record.layers {
            if let Err(error) = self.listed(listed) {
                let words = format!("{}: {}", listed.id, error.message());
                problems.push(("no layer", words));
            }
            if let Some((digest, size)) = &listed.blob {
                let there = match self.blob(digest) {
                    Ok(file) => fs::stat(file).is_ok_and(|meta| meta.size == *size),
                    Err(error) if error.code() == Code::Damaged => false,
                    Err(error) => return Err(error),
                };
                if !there {
                    problems.push((
                        "no blob",
                        format!("{digest}: it is not there, or not whole"),
                    ));
                }
            }
        }
        if !problems.is_empty() && gone() {
            return Ok(());
        }
        for (kind, words) in problems {
            found.tell(place, kind, words, false);
        }
        Ok(())
    }

    /// Whether an image's directory has gone from its name.
    fn is_gone(&self, name: &str, dir: &OwnedFd) -> bool {
        let (Ok(Some(images)), Ok(encoded)) = (self.images(), name::encode(name)) else {
            return false;
        };
        match (fs::stat(dir), fs::stat_at(&images, encoded.as_bytes())) {
            (Ok(mine), Ok(there)) => !there.same_inode(&mine),
            (_, Err(errno)) => errno == Errno::NOENT,
            _ => false,
        }
    }

    /// The kept blobs: whether each is the one that its name says, and of use.
    fn check_blobs(&self, blobs: &OwnedFd, found: &mut Found, watch: &mut Watch<'_>) -> Result<()> {
        let names = fs::open_dir_trusted(blobs, b".").call("open")?;
        for name in DirBuf::default()
            .sorted_names(names)
            .call_at("getdents64", SHA256)?
        {
            let place = format!("{SHA256}/{}", name.escape_ascii());
            let Some(digest) = blob_name(&name) else {
                found.tell(&place, "foreign", "its name is no digest".into(), false);
                continue;
            };
            let file = match fs::open_file(blobs, &name) {
                Ok(file) => file,
                Err(Errno::NOENT) => continue,
                Err(errno) => {
                    let words = Error::sys(errno, "open").to_string();
                    found.tell(&place, "unreadable", words, false);
                    continue;
                }
            };
            let meta = fs::stat(&file).call_at("statx", &place)?;
            if meta.kind != Kind::File {
                found.tell(&place, "foreign", "it is no file".into(), false);
                continue;
            }
            let mut member = Member::new(Arc::new(file), 0, meta.size);
            match hash(&mut member, watch) {
                Ok(is) if is == digest => {}
                Ok(is) => {
                    found.tell(&place, "differs", format!("its digest is {is}"), false);
                }
                Err(error) if error.code() == Code::Cancelled => return Err(error),
                Err(error) => found.tell(&place, "unreadable", error.to_string(), false),
            }
        }
        self.check_unused(found, watch)
    }

    fn check_unused(&self, found: &mut Found, watch: &mut Watch<'_>) -> Result<()> {
        // One who publishes an image shows its blobs first.
        let Some(images) = self.images()? else {
            return Ok(());
        };
        match lock::lock(&images, Mode::Exclusive, GLANCE, watch) {
            Err(error) if error.code() == Code::Locked => {
                let words = "not looked for blobs of no image: somebody works on images";
                found.note(SHA256, "in use", words.into());
                return Ok(());
            }
            locked => locked?,
        }
        let Some(unused) = self.unnamed_blobs()? else {
            let words = "not looked for blobs of no image: an image cannot be read";
            found.note(SHA256, "damaged", words.into());
            return Ok(());
        };
        let blobs = self.blobs()?;
        for name in unused {
            let mended = found.repair
                && blobs
                    .as_ref()
                    .is_some_and(|blobs| fs::unlink(blobs, &name).is_ok());
            let place = format!("{SHA256}/{}", name.escape_ascii());
            found.tell(&place, "leftover", "no image names it".into(), mended);
        }
        Ok(())
    }
}

/// A directory of the store's; none where it is not there, or something else is, which is told.
fn told(
    found: &mut Found,
    place: &str,
    opened: crate::sys::SysCall<OwnedFd>,
) -> Result<Option<OwnedFd>> {
    match opened {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            found.tell(place, "missing", "another is in its place".into(), false);
            Ok(None)
        }
        Err(errno) => Err(errno).call_at("open", place),
    }
}
