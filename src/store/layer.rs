//! One layer of a store: found, locked, read; and the stack of trees that it is the top of.

use super::lock::{self, Mode};
use super::meta::{self, Meta};
use super::options::{Kind, LayerInfo, State};
use super::{Store, id, text, to_trash};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::layer::view::{Stack, Tree};
use crate::sys::dir::DirBuf;
use crate::sys::{AsFd, OwnedFd, fs};
use crate::watch::Watch;
use std::time::Duration;

/// Overlayfs takes as many lowers.
pub const MAX_LOWERS: u32 = 500;

/// A layer, open; what is locked stays so until this goes.
pub struct Layer {
    /// Its id.
    pub id: String,
    /// Its directory.
    pub fd: OwnedFd,
    /// What its `meta` says.
    pub meta: Meta,
    /// The layer directly below.
    pub parent: Option<String>,
}

impl Layer {
    /// The directory with its own content.
    pub fn content(&self) -> &'static str {
        match self.meta.kind {
            Kind::Root => "root",
            Kind::Overlay => "upper",
        }
    }

    /// The directory that mount handles lock.
    pub fn mount_lock(&self) -> &'static str {
        match self.meta.kind {
            Kind::Root => "root",
            Kind::Overlay => "work",
        }
    }

    /// Opens one of its directories.
    pub fn open(&self, name: &str) -> Result<OwnedFd> {
        fs::open_dir(&self.fd, name.as_bytes()).call_at("open", format!("layer/{}/{name}", self.id))
    }

    /// Whether it never changes again.
    pub fn committed(&self) -> bool {
        self.meta.state == State::Committed
    }

    /// Writes its `meta` anew.
    pub fn write_meta(&self, sync: bool) -> Result<()> {
        text::replace(
            self.fd.as_fd(),
            meta::FILE,
            self.meta.write().as_bytes(),
            sync,
        )
    }

    /// What is told of it.
    pub fn info(&self, mounted: bool) -> LayerInfo {
        LayerInfo {
            id: self.id.clone(),
            parent: self.parent.clone(),
            kind: self.meta.kind,
            state: self.meta.state,
            diff_id: self.meta.diff_id,
            blob_digest: self.meta.blob_digest,
            size: self.meta.size.unwrap_or(0),
            entries: self.meta.entries,
            tar_size: self.meta.tar_size,
            blob_size: self.meta.blob_size,
            created: self.meta.created,
            lowers: self.meta.lowers,
            copied_from: self.meta.copied_from.clone(),
            mounted,
            unclean: false,
            skipped_devices: 0,
            skipped_owners: 0,
            skipped_xattrs: 0,
            skipped_sockets: 0,
            skipped_names: 0,
        }
    }
}

/// ENOENT for a layer.
pub fn no_layer(id: &str) -> Error {
    Error::new(Code::NoLayer, Errno::NOENT, "there is no such layer").at(id)
}

/// Whether an error says that there is no whole layer.
pub fn is_absent(error: &Error) -> bool {
    matches!(error.code(), Code::NoLayer | Code::Damaged)
}

impl Store {
    /// The layer `id` as it is now, unlocked.
    pub(super) fn layer(&self, id: &str) -> Result<Layer> {
        loop {
            let fd = match fs::open_dir(&self.layers, id.as_bytes()) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(no_layer(id)),
                Err(errno) => return Err(errno).call_at("open", id),
            };
            let mine = fs::stat(&fd).call_at("statx", id)?;
            let error = match self.read_layer(id, fd) {
                Ok(layer) => return Ok(layer),
                Err(error) => error.at(id),
            };
            // One that was removed while it was read looks damaged.
            match fs::stat_at(&self.layers, id.as_bytes()) {
                Ok(there) if there.same_inode(&mine) => return Err(error),
                Ok(_) => {}
                Err(Errno::NOENT) => return Err(no_layer(id)),
                Err(errno) => return Err(errno).call_at("statx", id),
            }
        }
    }

    fn read_layer(&self, id: &str, fd: OwnedFd) -> Result<Layer> {
        let data = match text::read(&fd, meta::FILE) {
            Ok(data) => data,
            Err(Errno::NOENT) => return Err(no_layer(id).context("it has no meta")),
            Err(errno) => return Err(errno).call("read meta"),
        };
        // Not whole: it was never made.
        let meta = Meta::parse(&data).map_err(|error| match error.code() {
            Code::Damaged => {
                Error::new(Code::Damaged, Errno::NOENT, error.message().to_string()).at(id)
            }
            _ => error,
        })?;
        let parent = match meta.kind {
            Kind::Root => meta.parent.clone(),
            Kind::Overlay => match text::read(&fd, "lower-id") {
                Ok(lower) => Some(id::check(&lower).map_err(damaged_edge)?.to_string()),
                Err(Errno::NOENT) => return Err(damaged_edge("it has no lower-id")),
                Err(errno) => return Err(errno).call("read lower-id"),
            },
        };
        Ok(Layer {
            id: id.to_string(),
            fd,
            meta,
            parent,
        })
    }

    /// The layer `id`, locked. The name is looked up again under the lock: what was removed and
    /// made anew meanwhile is another layer.
    pub(super) fn lock_layer(
        &self,
        id: &str,
        mode: Mode,
        patience: Duration,
        watch: &mut Watch<'_>,
    ) -> Result<Layer> {
        loop {
            let layer = self.layer(id)?;
            lock::lock(&layer.fd, mode, patience, watch).map_err(|e| e.at(id))?;
            let mine = fs::stat(&layer.fd).call_at("statx", id)?;
            match fs::stat_at(&self.layers, id.as_bytes()) {
                // Read again: it may have changed before it was locked.
                Ok(there) if there.same_inode(&mine) => {
                    return self.read_layer(id, layer.fd).map_err(|e| e.at(id));
                }
                Ok(_) | Err(Errno::NOENT) => watch.check()?,
                Err(errno) => return Err(errno).call_at("statx", id),
            }
        }
    }

    /// EEXIST when the layer `id` is there. What is there and was never whole goes to trash.
    pub(super) fn need_free(&self, id: &str) -> Result<()> {
        match self.layer(id) {
            Ok(_) => Err(super::stage::exists(id)),
            Err(error) if is_absent(&error) => {
                if self.discard(id)? {
                    self.warn(&format!(
                        "layer/{id} was never whole and went to trash: {error}"
                    ));
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Moves what is at `id` and was never whole to trash; false where nothing is there. Every
    /// layer comes locked by its maker and goes locked by its remover, so what is looked at under
    /// the lock is what is moved. EEXIST when it turns out to be whole.
    pub(super) fn discard(&self, id: &str) -> Result<bool> {
        let fd = match fs::open_dir(&self.layers, id.as_bytes()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(false),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return match to_trash(self, &self.layers, id.as_bytes()) {
                    Err(error) if error.errno() == Errno::NOENT => Ok(false),
                    done => done.map(|_| true),
                };
            }
            Err(errno) => return Err(errno).call_at("open", id),
        };
        if !lock::try_lock(&fd, Mode::Exclusive)? {
            return Err(super::stage::exists(id));
        }
        let mine = fs::stat(&fd).call_at("statx", id)?;
        match fs::stat_at(&self.layers, id.as_bytes()) {
            Ok(there) if there.same_inode(&mine) => {}
            Ok(_) => return Err(super::stage::exists(id)),
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(errno).call_at("statx", id),
        }
        let held = fs::open_dir_trusted(&fd, b".").call_at("open", id)?;
        match self.read_layer(id, held) {
            Err(error) if is_absent(&error) => {
                to_trash(self, &self.layers, id.as_bytes()).map(|_| true)
            }
            Err(error) => Err(error),
            Ok(_) => Err(super::stage::exists(id)),
        }
    }

    /// The trees of a layer, its own first.
    pub(super) fn stack(&self, layer: &Layer) -> Result<Stack> {
        let mut trees = Vec::with_capacity(layer.meta.lowers.min(MAX_LOWERS) as usize + 1);
        trees.push(self.tree(&layer.id, layer.meta.kind));
        let mut below = match layer.meta.kind {
            Kind::Overlay => layer.parent.clone(),
            Kind::Root => None,
        };
        while let Some(id) = below {
            if trees.len() > MAX_LOWERS as usize {
                return Err(damaged_edge("its chain of layers does not end"));
            }
            let (kind, parent) = self.edge(&id)?;
            trees.push(self.tree(&id, kind));
            below = parent;
        }
        Ok(Stack::new(trees, self.marks))
    }

    fn tree(&self, id: &str, kind: Kind) -> Tree {
        let (name, marked) = match kind {
            Kind::Root => ("root", false),
            Kind::Overlay => ("upper", true),
        };
        Tree::new(
            self.layers.clone(),
            format!("{id}/{name}").into_bytes(),
            marked,
        )
    }

    /// The kind of a layer in a chain, and the layer below it where that is part of the chain. One
    /// small read each: `lower-id` is there or not.
    fn edge(&self, id: &str) -> Result<(Kind, Option<String>)> {
        match text::read(&self.layers, &format!("{id}/lower-id")) {
            Ok(lower) => {
                let lower = id::check(&lower).map_err(damaged_edge)?.to_string();
                Ok((Kind::Overlay, Some(lower)))
            }
            Err(Errno::NOENT) => Ok((Kind::Root, None)),
            Err(errno) => Err(errno).call_at("read", format!("layer/{id}/lower-id")),
        }
    }

    /// The layers that name `layer` as the one directly below. The names in `child/` are hints.
    pub(super) fn children(&self, layer: &Layer) -> Result<Vec<String>> {
        let mut children = Vec::new();
        for name in DirBuf::default()
            .sorted_names(layer.open("child")?)
            .call("getdents64")?
        {
            let Ok(child) = id::check(&name) else {
                continue;
            };
            match self.layer(child) {
                Ok(found) if found.parent.as_deref() == Some(&layer.id) => {
                    children.push(found.id);
                }
                Ok(_) => {}
                Err(error) if matches!(error.code(), Code::NoLayer | Code::Damaged) => {}
                // What cannot be read may be a child.
                Err(error) => return Err(error),
            }
        }
        Ok(children)
    }

    /// Leaves the hint in `parent` that `child` is to be built on it.
    pub(super) fn hint_child(&self, parent: &Layer, child: &str) -> Result<()> {
        match text::create(parent.open("child")?, child, b"") {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => {
                Err(errno).call_at("create", format!("layer/{}/child/{child}", parent.id))
            }
        }
    }

    /// Takes the hint of a removed child away, if nobody builds on the parent now: whoever does
    /// may be making a layer of that name, and relies on the hint. A stale one does no harm.
    pub(super) fn drop_hint(&self, parent: &str, child: &str) {
        let Ok(parent) = self.layer(parent) else {
            return;
        };
        if !matches!(lock::try_lock(&parent.fd, Mode::Exclusive), Ok(true)) {
            return;
        }
        if matches!(
            fs::stat_at(&self.layers, child.as_bytes()),
            Err(Errno::NOENT)
        ) {
            if let Ok(dir) = parent.open("child") {
                let _ = fs::unlink(&dir, child.as_bytes());
            }
        }
    }
}

fn damaged_edge(what: impl std::fmt::Display) -> Error {
    text::damaged(format!("lower-id: {what}"))
}
