//! Work in progress: a directory in `stage/` that becomes a layer by one rename, or goes.
//!
//! Its maker holds it locked. A stage whose lock is free was left by somebody who died: anyone may
//! take it away. The lock goes with the directory when it is renamed, so a new layer is locked
//! until its maker is done.

use super::Store;
use super::lock::{self, Mode};
use super::maker::Maker;
use super::sync::Age;
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::fs::{self, RenameFlags};
use crate::sys::{AsFd, BorrowedFd, OwnedFd};
use crate::tree::attrs::disinherit;
use crate::tree::remove_tree;
use crate::watch::Watch;

const TRIES: usize = 16;

/// See the module's text.
pub struct Stage<'s> {
    store: &'s Store,
    name: String,
    dir: Option<OwnedFd>,
    age: Age,
    maker: Maker,
}

impl<'s> Stage<'s> {
    /// A new, empty, locked directory in `stage/`.
    pub fn new(store: &'s Store) -> Result<Self> {
        let maker = Maker::of(&store.stage);
        // A cleanup may meet it before it is locked, and take it away.
        for _ in 0..TRIES {
            let name = fs::random_name().call("getrandom")?;
            match fs::mkdir(&store.stage, name.as_bytes(), 0o700) {
                Ok(()) => {}
                Err(Errno::NOENT) => continue,
                Err(errno) => {
                    let error = Err(errno).call_at("mkdir", "stage");
                    return error.map_err(|e| super::may_be_stuck(e, &store.stage, b"."));
                }
            }
            match take(store, &name, maker) {
                Ok(None) => {}
                Ok(Some((dir, maker))) => {
                    let age = store.syncs.age();
                    return Ok(Stage {
                        store,
                        name,
                        dir: Some(dir),
                        age,
                        maker,
                    });
                }
                Err(error) => {
                    let _ = fs::rmdir(&store.stage, name.as_bytes());
                    return Err(error);
                }
            }
        }
        Err(Error::new(
            Code::Locked,
            Errno::BUSY,
            "cleanups take away every new directory",
        ))
    }

    /// The directory.
    pub fn dir(&self) -> Result<BorrowedFd<'_>> {
        match &self.dir {
            Some(dir) => Ok(dir.as_fd()),
            None => Err(Error::new(Code::Bug, Errno::NOTRECOVERABLE, "no stage")),
        }
    }

    /// Who makes files and directories in it.
    pub fn maker(&self) -> Maker {
        self.maker
    }

    /// Makes a directory in it.
    pub fn make_dir(&self, name: &str) -> Result<()> {
        let made = self.maker.mkdir(self.dir()?, name.as_bytes());
        made.call_at("mkdir", name)
    }

    /// Makes a directory in it, and opens that.
    pub fn mkdir(&self, name: &str) -> Result<OwnedFd> {
        self.make_dir(name)?;
        fs::open_dir(self.dir()?, name.as_bytes()).call_at("open", name)
    }

    /// Shows it as the layer `id`, which must not be there. `sync`: all of it is on the disk
    /// first, and its name when this returns. Gives the layer's directory, still locked.
    pub fn publish(self, id: &str, sync: bool) -> Result<OwnedFd> {
        let layers = self.store.layers.clone();
        self.show(&layers, "layer", id, sync)
            .map_err(|error| match error.errno() {
                Errno::EXIST => exists(id),
                _ => error,
            })
    }

    /// Puts it in the place of the layer `id`, which goes.
    pub fn exchange(self, id: &str, sync: bool) -> Result<OwnedFd> {
        let store = self.store;
        let (dir, name) = self.swap(&store.layers, "layer", id, sync)?;
        // What it was lies in the stage now; it was empty.
        if let Err(error) = remove_tree(&store.stage, name.as_bytes(), &mut Watch::default()) {
            store.warn(&format!(
                "the replaced layer stays in stage/{name}: {error}"
            ));
        }
        Ok(dir)
    }

    /// Shows it as `name` in the directory `to`, which is called `place`; see [`Stage::publish`].
    pub fn show(mut self, to: &OwnedFd, place: &str, name: &str, sync: bool) -> Result<OwnedFd> {
        if sync {
            self.sync()?;
        }
        let from = &self.store.stage;
        fs::rename(
            from,
            self.name.as_bytes(),
            to,
            name.as_bytes(),
            RenameFlags::NOREPLACE,
        )
        .call_at("rename", name)
        .map_err(|error| super::may_be_stuck(error, to, b"."))
        .map_err(|error| super::may_be_stuck_in(error, "stage", from))?;
        let dir = self.dir.take();
        let store = self.store;
        drop(self);
        if sync {
            if let Err(errno) = fs::sync(to) {
                // Nobody may rely on a name that is not on the disk. The lock is ours still.
                if let Ok(nonce) = super::to_trash(store, to, name.as_bytes()) {
                    let _ = remove_tree(&store.trash, nonce.as_bytes(), &mut Watch::default());
                }
                return Err(errno).call_at("fsync", place);
            }
        }
        dir.ok_or_else(|| Error::new(Code::Bug, Errno::NOTRECOVERABLE, "no stage"))
    }

    /// Puts it in the place of `name` in the directory `to`, which is called `place`. What was there
    /// lies in `stage/` then, under the name that this gives.
    pub fn swap(
        mut self,
        to: &OwnedFd,
        place: &str,
        name: &str,
        sync: bool,
    ) -> Result<(OwnedFd, String)> {
        if sync {
            self.sync()?;
        }
        let from = &self.store.stage;
        let exchange = |staged: &str| {
            fs::rename(
                from,
                staged.as_bytes(),
                to,
                name.as_bytes(),
                RenameFlags::EXCHANGE,
            )
            .call_at("rename", name)
            .map_err(|error| super::may_be_stuck(error, to, name.as_bytes()))
            .map_err(|error| super::may_be_stuck_in(error, "stage", from))
        };
        exchange(&self.name)?;
        let dir = self.dir.take();
        let staged = std::mem::take(&mut self.name);
        drop(self);
        if sync {
            if let Err(errno) = fs::sync(to) {
                // What was there comes back; nobody relies on what is not on the disk.
                exchange(&staged)?;
                let _ = remove_tree(from, staged.as_bytes(), &mut Watch::default());
                return Err(errno).call_at("fsync", place);
            }
        }
        let dir = dir.ok_or_else(|| Error::new(Code::Bug, Errno::NOTRECOVERABLE, "no stage"))?;
        Ok((dir, staged))
    }

    /// Has all of it on the disk.
    pub fn sync(&self) -> Result<()> {
        let dir = self.dir()?;
        self.store.syncs.sync(dir, self.age).call("syncfs")
    }
}

impl Drop for Stage<'_> {
    /// What did not become a layer goes; what cannot go now is left for a cleanup.
    fn drop(&mut self) {
        if self.name.is_empty() || self.dir.is_none() {
            return;
        }
        let gone = remove_tree(
            &self.store.stage,
            self.name.as_bytes(),
            &mut Watch::default(),
        );
        if let Err(error) = gone {
            self.store
                .warn(&format!("leftovers stay in stage/{}: {error}", self.name));
        }
    }
}

/// Opens and locks a new directory of the stage; `None` when a cleanup had it first.
fn take(store: &Store, name: &str, maker: Maker) -> Result<Option<(OwnedFd, Maker)>> {
    let (opened, shut) = match fs::open_dir(&store.stage, name.as_bytes()) {
        Err(Errno::ACCESS) => (fs::open_made(&store.stage, name.as_bytes()), true),
        opened => (opened, false),
    };
    let dir = match opened {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno).call_at("open", "stage"),
    };
    let locked = lock::try_lock(&dir, Mode::Exclusive)?;
    let made = match fs::stat_at(&store.stage, name.as_bytes()) {
        Ok(made) if locked => made,
        Ok(_) | Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno).call_at("statx", "stage"),
    };
    let inherited = disinherit(&dir).call("fremovexattr")?;
    let exact = made.mode == 0o700 && !inherited && !shut;
    if !exact {
        fs::chmod(&dir, 0o700).call("fchmod")?;
    }
    maker
        .give(&store.stage, name.as_bytes())
        .call_at("chown", "stage")?;
    Ok(Some((dir, maker.exact(exact))))
}

/// EEXIST for a layer.
pub fn exists(id: &str) -> Error {
    Error::new(Code::LayerExists, Errno::EXIST, "the layer exists").at(id)
}
