//! Looking for damage, and mending what loses nothing. This file has the store; `inspect` has one
//! layer. The kinds of damage, and what becomes of each, are a table in `docs/store.md`.
//!
//! Who only looks changes nothing: he locks, for no longer than he looks, and what others hold
//! locked he passes by and says so. Who mends has the store for himself.

use super::cleanup::{Leftover, leftover, remove_abandoned};
use super::lock::{self, Mode};
use super::ways::Ways;
use super::{CheckFlags, Problem, Store, format, id};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::dir::DirBuf;
use crate::sys::fs::{self, Kind, Meta};
use crate::sys::{AsFd, OwnedFd};
use crate::watch::Watch;
use std::time::Duration;

/// How long a check waits for one who works on a layer.
pub(super) const GLANCE: Duration = Duration::from_secs(1);

/// How long a repair waits for others to leave the store: between fork and exec a process keeps
/// what its parent has closed.
const LEAVING: Duration = Duration::from_millis(200);

impl Store {
    /// What is wrong in the store: layers that are not whole, that lack their parents, that differ
    /// from their manifests; leftovers; strangers; and notes of what could not be looked at. With
    /// [`CheckFlags::REPAIR`] what can be mended without losing anything is; the store must not be
    /// open elsewhere then (EBUSY).
    pub fn check(&self, flags: CheckFlags, watch: &mut Watch<'_>) -> Result<Vec<Problem>> {
        let mut found = Found {
            repair: flags.contains(CheckFlags::REPAIR),
            problems: Vec::new(),
            ways: Ways::default(),
        };
        let done = match found.repair {
            true => self.repair(&mut found, watch),
            false => self.examine(&mut found, watch),
        };
        done.map_err(|e: Error| e.at(self.path().unwrap_or_default()).op("check"))?;
        Ok(found.problems)
    }

    fn repair(&self, found: &mut Found, watch: &mut Watch<'_>) -> Result<()> {
        self.writable()?;
        watch.check()?;
        // A lock cannot be made exclusive without a moment without it. Only one at a time tries, so
        // that nobody has it in that moment.
        let turn = super::again(&self.trash)?;
        let busy = |e: Error| match e.code() {
            Code::Locked => Error::new(
                Code::Locked,
                Errno::BUSY,
                "the store is open elsewhere, and a repair needs it for itself; \
                 cleaning up (ovl gc) and a check without repair do not",
            ),
            _ => e,
        };
        lock::lock(&turn, Mode::Exclusive, LEAVING, watch).map_err(busy)?;
        let alone = lock::lock(&self.home, Mode::Exclusive, LEAVING, watch).map_err(busy);
        let done = alone.and_then(|()| self.examine(found, watch));
        // Also after a failure, which may have lost the lock that was there: nobody else has it
        // alone, as that takes a turn.
        fs::flock(&self.home, fs::FlockOperation::LockShared).call("flock")?;
        done
    }

    fn examine(&self, found: &mut Found, watch: &mut Watch<'_>) -> Result<()> {
        watch.check()?;
        self.check_home(found)?;
        self.check_names(found)?;
        for id in self.ids()? {
            watch.check()?;
            match self.check_layer(&id, found, watch) {
                // One layer that cannot be read does not keep the others from being looked at.
                Err(error) if error.code() != Code::Cancelled => {
                    found.tell(&id, "unreadable", error.to_string(), false);
                }
                done => done?,
            }
        }
        self.check_images(found, watch)?;
        self.check_leftovers(&self.stage, "stage", found, watch)?;
        self.check_leftovers(&self.trash, "trash", found, watch)
    }

    /// The store's own directories and files.
    fn check_home(&self, found: &mut Found) -> Result<()> {
        for (name, dir) in [
            ("layer", &*self.layers),
            ("stage", &self.stage),
            ("trash", &self.trash),
        ] {
            let mine = fs::stat(dir).call_at("statx", name)?;
            let words = match fs::stat_at(&self.home, name.as_bytes()) {
                Ok(there) if there.same_inode(&mine) => continue,
                Ok(_) => "another is in its place",
                Err(Errno::NOENT) => "it is not there",
                Err(errno) => return Err(errno).call_at("statx", name),
            };
            found.tell(name, "missing", words.into(), false);
        }
        match super::text::read(&self.home, format::FILE) {
            Ok(data) => match format::parse(&data) {
                Ok(format) if format.marks == self.marks => {}
                Ok(_) => {
                    let words = "its marks are not those that the store was opened with".into();
                    found.tell(format::FILE, "store", words, false);
                }
                Err(error) => found.tell(format::FILE, "store", error.message().into(), false),
            },
            Err(errno) => {
                let words = Error::sys(errno, "read").to_string();
                found.tell(format::FILE, "store", words, false);
            }
        }
        let home = fs::stat(&self.home).call("statx")?;
        for (name, dir) in [
            (".", &self.home),
            ("layer", &*self.layers),
            ("stage", &self.stage),
            ("trash", &self.trash),
        ] {
            found.private(name, dir, &home)?;
        }
        Ok(())
    }

    fn check_names(&self, found: &mut Found) -> Result<()> {
        let dir = super::again(&self.layers)?;
        for name in DirBuf::default()
            .sorted_names(dir)
            .call_at("getdents64", "layer")?
        {
            if id::check(&name).is_err() {
                let place = format!("layer/{}", name.escape_ascii());
                found.tell(&place, "foreign", "its name is no id".into(), false);
            }
        }
        let ours = [
            format::FILE,
            "layer",
            "image",
            "blob",
            "stage",
            "trash",
            "lost+found",
        ];
        let dir = super::again(&self.home)?;
        for name in DirBuf::default().sorted_names(dir).call("getdents64")? {
            let place = name.escape_ascii().to_string();
            if format::is_temporary(&name) {
                let mended = found.repair && fs::unlink(&self.home, &name).is_ok();
                let words = "it was to become ovl-store".into();
                found.tell(&place, "temporary", words, mended);
            } else if !ours.iter().any(|ours| ours.as_bytes() == name) {
                found.tell(&place, "foreign", "it is not the store's".into(), false);
            }
        }
        Ok(())
    }

    fn check_leftovers(
        &self,
        dir: &OwnedFd,
        what: &str,
        found: &mut Found,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let names = DirBuf::default().sorted_names(super::again(dir)?);
        for name in names.call_at("getdents64", what)? {
            let place = format!("{what}/{}", name.escape_ascii());
            let _lock = match leftover(dir, &name)? {
                Leftover::Free(lock) => lock,
                Leftover::Gone | Leftover::Held => continue,
                Leftover::Unreadable(error) => {
                    found.tell(&place, "unreadable", error.to_string(), false);
                    continue;
                }
            };
            let mended = match found.repair {
                false => false,
                true => {
                    let gone = match what {
                        "stage" => remove_abandoned(dir, &name, watch),
                        _ => crate::tree::remove_tree(dir, &name, watch),
                    };
                    match gone {
                        Err(error) if error.code() == Code::Cancelled => return Err(error),
                        done => done.is_ok(),
                    }
                }
            };
            found.tell(&place, "leftover", "nobody works on it".into(), mended);
        }
        Ok(())
    }
}

/// What was found.
pub(super) struct Found {
    pub repair: bool,
    pub ways: Ways,
    problems: Vec<Problem>,
}

impl Found {
    /// Damage, and whether it was mended.
    pub fn tell(&mut self, layer: &str, kind: &'static str, detail: String, repaired: bool) {
        self.problems.push(Problem {
            layer: layer.to_string(),
            kind,
            detail,
            repaired,
            note: false,
        });
    }

    /// Something that could not be looked at.
    pub fn note(&mut self, layer: &str, kind: &'static str, detail: String) {
        self.problems.push(Problem {
            layer: layer.to_string(),
            kind,
            detail,
            repaired: false,
            note: true,
        });
    }

    /// An open directory that is to be its owner's alone, who is the home's.
    pub fn private(&mut self, place: &str, dir: &OwnedFd, home: &Meta) -> Result<()> {
        self.private_in(place, "", dir, home)
    }

    /// The same of the directory `name` in a layer.
    pub fn private_in(
        &mut self,
        place: &str,
        name: &str,
        dir: &OwnedFd,
        home: &Meta,
    ) -> Result<()> {
        let meta = fs::stat(dir).call_at("statx", place)?;
        if meta.kind != Kind::Directory {
            return Ok(());
        }
        let colon = if name.is_empty() { "" } else { ": " };
        if (meta.uid, meta.gid) != (home.uid, home.gid) {
            let mended = self.repair && fs::chown(dir.as_fd(), home.uid, home.gid).is_ok();
            let words = format!(
                "{name}{colon}it belongs to {}:{}, the store to {}:{}",
                meta.uid, meta.gid, home.uid, home.gid
            );
            self.tell(place, "owner", words, mended);
        }
        if meta.mode != 0o700 {
            let mended = self.repair && fs::chmod(dir, 0o700).is_ok();
            let words = format!("{name}{colon}its mode is {:04o}, not 0700", meta.mode);
            self.tell(place, "mode", words, mended);
        }
        Ok(())
    }
}
