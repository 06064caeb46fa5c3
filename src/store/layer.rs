//! One layer of a store: found, locked, read; and the stack of trees that it is the top of.

use super::known::Link;
use super::lock::{self, Mode};
use super::meta::{self, Meta};
use super::options::{Kind, LayerInfo, State};
use super::{Store, damaged, id, text, to_trash};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::layer::view::{Stack, Tree};
use crate::sys::handle::handle;
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
    /// One in the open directory `fd`, as its files say.
    pub fn new(id: &str, fd: OwnedFd, meta: Meta, parent: Option<String>) -> Self {
        Layer {
            id: id.to_string(),
            fd,
            meta,
            parent,
        }
    }

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

/// The kind of a layer, and the one below it where that is part of the chain.
pub type Edge = (Kind, Option<String>);

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

    /// What the layer's own files say of it.
    pub(super) fn read_layer(&self, id: &str, fd: OwnedFd) -> Result<Layer> {
        let (meta, parent) = read(&fd, id)?;
        Ok(Layer::new(id, fd, meta, parent))
    }

    /// The directory of the layer `id`, locked, whatever is in it: for those who deal with damaged
    /// layers too. It is looked up again under the lock.
    pub(super) fn lock_dir(
        &self,
        id: &str,
        mode: Mode,
        patience: Duration,
        watch: &mut Watch<'_>,
    ) -> Result<OwnedFd> {
        loop {
            let fd = match fs::open_dir(&self.layers, id.as_bytes()) {
                Ok(fd) => fd,
                Err(Errno::NOENT) => return Err(no_layer(id)),
                Err(Errno::NOTDIR | Errno::LOOP) => return Err(damaged::no_directory(id)),
                Err(errno) => return Err(errno).call_at("open", id),
            };
            lock::lock(&fd, mode, patience, watch).map_err(|e| e.at(id))?;
            let mine = fs::stat(&fd).call_at("statx", id)?;
            match fs::stat_at(&self.layers, id.as_bytes()) {
                Ok(there) if there.same_inode(&mine) => return Ok(fd),
                Ok(_) | Err(Errno::NOENT) => watch.check()?,
                Err(errno) => return Err(errno).call_at("statx", id),
            }
        }
    }

    /// Whether the layer is still the one of its name.
    pub(super) fn is_there(&self, layer: &Layer) -> Result<bool> {
        let mine = fs::stat(&layer.fd).call_at("statx", &layer.id)?;
        match fs::stat_at(&self.layers, layer.id.as_bytes()) {
            Ok(there) => Ok(there.same_inode(&mine)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno).call_at("statx", &layer.id),
        }
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
        if let Some(layer) = self.lock_now(id, mode)? {
            return Ok(layer);
        }
        loop {
            // What is damaged is told before anybody is waited for.
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

    /// The layer `id`, locked, where nobody has it locked: then it is read only once.
    fn lock_now(&self, id: &str, mode: Mode) -> Result<Option<Layer>> {
        let Ok(fd) = fs::open_dir(&self.layers, id.as_bytes()) else {
            return Ok(None);
        };
        if !lock::try_lock(&fd, mode).map_err(|e| e.at(id))? {
            return Ok(None);
        }
        let mine = fs::stat(&fd).call_at("statx", id)?;
        match fs::stat_at(&self.layers, id.as_bytes()) {
            Ok(there) if there.same_inode(&mine) => {
                let read = self.read_layer(id, fd);
                read.map(Some).map_err(|e| e.at(id))
            }
            _ => Ok(None),
        }
    }

    /// EEXIST when the layer `id` is there, or something damaged that may be one. What was never
    /// made, and has nothing to lose, goes to trash.
    pub(super) fn need_free(&self, id: &str) -> Result<()> {
        if fs::open_dir(&self.layers, id.as_bytes()).is_err_and(|errno| errno == Errno::NOENT) {
            return Ok(());
        }
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

    /// Moves what is at `id`, was never made and has nothing to lose to trash; false where nothing
    /// is there. Every layer comes locked by its maker and goes locked by its remover, so what is
    /// looked at under the lock is what is moved. EEXIST when it turns out to be whole, and, as
    /// [`Code::Damaged`], when something would be lost.
    pub(super) fn discard(&self, id: &str) -> Result<bool> {
        let fd = match fs::open_dir(&self.layers, id.as_bytes()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(false),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(damaged::in_the_way(id, &damaged::no_directory(id)));
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
        self.discard_locked(id, &fd)
    }

    /// See [`Store::discard`]; the caller has the directory locked.
    pub(super) fn discard_locked(&self, id: &str, fd: &OwnedFd) -> Result<bool> {
        match self.read_layer(id, super::again(fd)?) {
            Err(error) if is_absent(&error) => {
                if !damaged::has_nothing(self, fd)? {
                    return Err(damaged::in_the_way(id, &error));
                }
                to_trash(self, &self.layers, id.as_bytes()).map(|_| true)
            }
            Err(error) => Err(error),
            Ok(_) => Err(super::stage::exists(id)),
        }
    }

    /// The nearest tree of a layer's alone.
    pub(super) fn own_tree(&self, layer: &Layer) -> Stack {
        Stack::new(vec![self.tree(&layer.id, layer.meta.kind)], self.marks)
    }

    /// The trees of a layer, its own first, for who opens each of them next: that there is one is not
    /// looked at, and a chain that was read before is not read again. What cannot be opened is to be
    /// explained by [`Store::stack`]. Also whether the chain was known.
    pub(super) fn stack_to_open(&self, layer: &Layer) -> Result<(Stack, bool)> {
        let read = || {
            let stack = self.stack_by(layer, |id, above| self.edge_by(id, above, false))?;
            Ok((stack, false))
        };
        let (Kind::Overlay, Some(parent)) = (layer.meta.kind, &layer.parent) else {
            return read();
        };
        // Where it is not there, reading tells what is missing.
        let Ok(Some(top)) = handle(&self.layers, parent.as_bytes()) else {
            return read();
        };
        let mut trees = vec![self.tree(&layer.id, layer.meta.kind)];
        if let Some(links) = self.known.find(&top) {
            trees.extend(links.iter().map(|link| self.tree(&link.id, link.kind)));
            return Ok((Stack::new(trees, self.marks), true));
        }
        let mut links = Vec::with_capacity(layer.meta.lowers.min(MAX_LOWERS) as usize);
        let stack = self.stack_by(layer, |id, above| {
            let edge = self.edge_by(id, above, false)?;
            let id = id.to_string();
            links.push(Link { id, kind: edge.0 });
            Ok(edge)
        })?;
        self.known.keep(top, links);
        Ok((stack, false))
    }

    /// The trees of a layer, its own first.
    pub(super) fn stack(&self, layer: &Layer) -> Result<Stack> {
        self.stack_by(layer, |id, above| self.edge(id, above))
    }

    /// The same, where the caller may know already what [`Store::edge`] says.
    pub(super) fn stack_by(
        &self,
        layer: &Layer,
        mut edge: impl FnMut(&str, &str) -> Result<Edge>,
    ) -> Result<Stack> {
        let mut trees = Vec::with_capacity(layer.meta.lowers.min(MAX_LOWERS) as usize + 1);
        trees.push(self.tree(&layer.id, layer.meta.kind));
        let mut below = match layer.meta.kind {
            Kind::Overlay => layer.parent.clone(),
            Kind::Root => None,
        };
        let mut above = layer.id.clone();
        while let Some(id) = below {
            if trees.len() > MAX_LOWERS as usize {
                return Err(damaged_edge("its chain of layers does not end"));
            }
            let (kind, parent) = edge(&id, &above)?;
            trees.push(self.tree(&id, kind));
            (above, below) = (id, parent);
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
    /// small read each: `lower-id` is there or not. The layer that is damaged is the one told of.
    pub(super) fn edge(&self, id: &str, above: &str) -> Result<Edge> {
        self.edge_by(id, above, true)
    }

    fn edge_by(&self, id: &str, above: &str, look: bool) -> Result<Edge> {
        let below =
            |what: &str| Err(damaged_edge(format!("the layer {id} below {above} {what}")).at(id));
        let there = |name: &str| {
            let path = format!("{id}/{name}");
            match fs::stat_at(&self.layers, path.as_bytes()) {
                Ok(found) => Ok(found.kind == fs::Kind::Directory),
                Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
                Err(errno) => Err(errno).call_at("statx", format!("layer/{path}")),
            }
        };
        match text::read(&self.layers, &format!("{id}/lower-id")) {
            Ok(lower) => match id::check(&lower) {
                Ok(_) if look && !there("upper")? => below("is damaged: it has no upper"),
                Ok(lower) => Ok((Kind::Overlay, Some(lower.to_string()))),
                Err(_) => below("is damaged: its lower-id is no id"),
            },
            Err(Errno::NOENT | Errno::NOTDIR) if there("root")? => Ok((Kind::Root, None)),
            Err(Errno::NOENT) if there("upper")? => below("is damaged: it has no lower-id"),
            Err(Errno::NOENT) if there("")? => below("is damaged: it has no root"),
            Err(Errno::NOENT | Errno::NOTDIR) => below("is missing"),
            Err(errno) if damaged::is_wrong_inode(errno) => {
                below("is damaged: its lower-id is no file")
            }
            Err(errno) => Err(errno).call_at("read", format!("layer/{id}/lower-id")),
        }
    }
}

/// What a layer's own files say of it: its `meta`, and the layer directly below.
pub(super) fn read(fd: &OwnedFd, id: &str) -> Result<(Meta, Option<String>)> {
    let meta = read_meta(id, fd)?;
    let parent = match meta.kind {
        Kind::Root => meta.parent.clone(),
        Kind::Overlay => Some(read_lower(fd)?),
    };
    Ok((meta, parent))
}

/// The layer's `meta`.
pub(super) fn read_meta(id: &str, fd: &OwnedFd) -> Result<Meta> {
    let never = |words: String| Error::new(Code::Damaged, Errno::NOENT, words).at(id);
    let data = match text::read(fd, meta::FILE) {
        Ok(data) => data,
        Err(Errno::NOENT) => return Err(never("it has no meta".into())),
        Err(errno) if damaged::is_wrong_inode(errno) => {
            return Err(never("its meta is no file".into()));
        }
        Err(errno) => return Err(errno).call("read meta"),
    };
    // Not whole: it was never made.
    Meta::parse(&data).map_err(|error| match error.code() {
        Code::Damaged => never(error.message().to_string()),
        _ => error,
    })
}

/// The id in an overlay layer's `lower-id`.
pub(super) fn read_lower(fd: &OwnedFd) -> Result<String> {
    match text::read(fd, "lower-id") {
        Ok(lower) => match id::check(&lower) {
            Ok(lower) => Ok(lower.to_string()),
            Err(_) => Err(damaged_edge("its lower-id is no id")),
        },
        Err(Errno::NOENT) => Err(damaged_edge("it has no lower-id")),
        Err(errno) if damaged::is_wrong_inode(errno) => {
            Err(damaged_edge("its lower-id is no file"))
        }
        Err(errno) => Err(errno).call("read lower-id"),
    }
}

fn damaged_edge(what: impl Into<String>) -> Error {
    text::damaged(what)
}
