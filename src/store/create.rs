//! New layers.

use super::layer::{Layer, MAX_LOWERS, is_absent};
use super::lock::{Mode, PATIENCE};
use super::manifest::{self, Contents, Known};
use super::meta::{self, Meta};
use super::session::{self, Session};
use super::stage::Stage;
use super::{CommitFlags, CreateFlags, Durability, Kind, State, Store, id, now, text};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::layer::flatten::{self, How, Sharing};
use crate::layer::foreign;
use crate::layer::view::Stack;
use crate::sys::ids::IdMaps;
use crate::sys::thread::Threads;
use crate::sys::{AsFd, OwnedFd, fs};
use crate::tree::attrs::{Attributes, Inode, Setter, Shut};
use crate::tree::copier::Copier;
use crate::tree::copy::{CopyFlags, CopyOptions};
use crate::watch::Watch;

impl Store {
    /// Makes the layer `id`, over `parent` where there is one.
    ///
    /// | parent | the new layer |
    /// |---|---|
    /// | none | an empty `root` |
    /// | `root`, committed | an empty `upper` over it |
    /// | `root`, writable | EBUSY when mounted; it is committed, then as above |
    /// | `overlay`, writable | a copy of its `upper`, over the layer below it; EBUSY when mounted, unless [`CreateFlags::LIVE`] |
    /// | `overlay`, committed | an empty `upper` stacked on it |
    ///
    /// [`CreateFlags::FLAT`] makes a committed `root` layer of the parent's merged tree instead,
    /// which shares the parent's inodes; it is what EMLINK names for a chain of more than 500.
    pub fn create(
        &self,
        id: &[u8],
        parent: Option<&[u8]>,
        flags: CreateFlags,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        self.create_layer(id, parent, flags, watch)
            .map_err(|e| e.at(id).op("create"))
    }

    fn create_layer(
        &self,
        id: &[u8],
        parent: Option<&[u8]>,
        flags: CreateFlags,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        self.writable()?;
        watch.check()?;
        let id = id::check(id)?;
        let parent = parent.map(id::check).transpose()?;
        if parent == Some(id) {
            return Err(Error::invalid("a layer cannot be its own parent"));
        }
        let sync = flags.contains(CreateFlags::SYNC);
        let Some(parent) = parent else {
            if flags.contains(CreateFlags::FLAT) {
                return Err(Error::invalid(
                    "without a parent there is nothing to make flat",
                ));
            }
            self.need_free(id)?;
            return self.create_empty(id, sync);
        };
        // Before the parent may be committed: what fails changes nothing.
        self.need_free(id)?;
        let flat = flags.contains(CreateFlags::FLAT);
        if !flat {
            self.need_marks()?;
        }
        let (parent, lower) = self.parent_to_build_on(parent, watch)?;
        if flat {
            return self.create_flat(id, &parent, watch);
        }
        if parent.committed() {
            return self.create_over(id, &parent, sync);
        }
        // Nobody mounts it while it is copied.
        let _unmounted = match flags.contains(CreateFlags::LIVE) {
            true => None,
            false => Some(self.need_unmounted(&parent)?),
        };
        let live = flags.contains(CreateFlags::LIVE);
        let lower = lower.ok_or_else(|| text::damaged("it has no lower-id"))?;
        self.create_copy(id, &parent, &lower, live, sync, watch)
    }

    /// Locks the parent so that it stays, and before it what a writable overlay is over: a copy
    /// will be over that. A writable `root` is committed first.
    fn parent_to_build_on(
        &self,
        parent: &str,
        watch: &mut Watch<'_>,
    ) -> Result<(Layer, Option<Layer>)> {
        let layer = self.lock_layer(parent, Mode::Shared, PATIENCE, watch)?;
        if layer.committed() {
            return Ok((layer, None));
        }
        drop(layer);
        loop {
            let seen = self.layer(parent)?;
            let below = match seen.meta.kind {
                Kind::Overlay if !seen.committed() => seen.parent.clone(),
                _ => None,
            };
            let lower = match &below {
                Some(lower) => match self.lock_layer(lower, Mode::Shared, PATIENCE, watch) {
                    // Both went meanwhile, perhaps.
                    Err(error) if is_absent(&error) && self.layer(parent)?.parent != below => {
                        continue;
                    }
                    lower => Some(lower?),
                },
                None => None,
            };
            let layer = self.lock_layer(parent, Mode::Shared, PATIENCE, watch)?;
            if layer.committed() {
                return Ok((layer, None));
            }
            if layer.meta.kind == Kind::Overlay {
                // Another layer of that name may have come since.
                if lower.is_some() && layer.parent == below {
                    return Ok((layer, lower));
                }
                watch.check()?;
                continue;
            }
            drop((layer, lower));
            match self.commit_layer(parent, Durability::Default, CommitFlags::empty(), watch) {
                Ok(()) => {}
                Err(error) if error.code() == Code::Committed => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn create_empty(&self, id: &str, sync: bool) -> Result<()> {
        let stage = Stage::new(self)?;
        let root = stage.mkdir("root")?;
        fs::chmod(&root, 0o755).call("fchmod")?;
        frame(&stage, Kind::Root)?;
        let meta = Meta::new(Kind::Root, State::Writable, now());
        finish(stage, id, &meta, None, sync)
    }

    /// An empty upper over a committed layer.
    fn create_over(&self, id: &str, parent: &Layer, sync: bool) -> Result<()> {
        let mut meta = Meta::new(Kind::Overlay, State::Writable, now());
        meta.lowers = one_more(parent)?;
        let stage = Stage::new(self)?;
        let upper = stage.mkdir("upper")?;
        // The nearest tree has the root, however long the chain is.
        like_root_of(&upper, &self.own_tree(parent))?;
        frame(&stage, Kind::Overlay)?;
        self.build_on(parent, id, stage.maker(), || {
            finish(stage, id, &meta, Some(&parent.id), sync)
        })
    }

    /// The seed's rule for a container over its -init layer: a copy of the parent's upper, over
    /// what the parent itself is over.
    fn create_copy(
        &self,
        id: &str,
        source: &Layer,
        lower: &Layer,
        live: bool,
        sync: bool,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let mut meta = Meta::new(Kind::Overlay, State::Writable, now());
        meta.lowers = source.meta.lowers;
        meta.copied_from = Some(source.id.clone());
        let stage = Stage::new(self)?;
        let upper = stage.mkdir("upper")?;
        // A whiteout that is not copied is a deleted file that comes back.
        let options = CopyOptions {
            flags: if live {
                CopyFlags::empty()
            } else {
                CopyFlags::STRICT
            },
            ..CopyOptions::default()
        };
        let mut copier = Copier::new(&options)?;
        if matches!(session::of(source)?, Session::Lost { .. }) {
            let remedy = "make the layer over what it is built on, or commit it with \
                          OVL_COMMIT_SALVAGE and build on that";
            return Err(session::unclean(source, remedy));
        }
        foreign::need_no_index(&source.open("work")?, self.marks)?;
        let from = source.open("upper")?;
        copier.run(
            from,
            fs::open_dir_trusted(&upper, b".").call("open")?,
            watch,
        )?;
        let copied = copier.finish(&upper)?;
        let partial = copied.partial;
        if partial.devices + partial.xattrs > 0 {
            return Err(Error::new(
                Code::Strict,
                Errno::PERM,
                "not all whiteouts and attributes of the upper can be copied",
            ));
        }
        frame(&stage, Kind::Overlay)?;
        self.build_on(lower, id, stage.maker(), || {
            describe(&stage, &meta, Some(&lower.id))?;
            if copied.bytes > 0 && !sync {
                // Not asked for a layer that a power cut leaves: but it may not leave half of one.
                stage.sync()?;
            }
            stage.publish(id, sync).map(drop)
        })
    }

    /// The parent's merged tree as one `root`, by hard links. Its inodes are the parent's, so it
    /// is committed from the start: writing to it would write to them.
    fn create_flat(&self, id: &str, parent: &Layer, watch: &mut Watch<'_>) -> Result<()> {
        if !parent.committed() {
            return Err(Error::new(
                Code::NotCommitted,
                Errno::BUSY,
                "only a committed layer can be made flat: its files will be shared",
            )
            .at(&parent.id));
        }
        if parent.meta.kind == Kind::Overlay {
            self.need_marks()?;
        }
        let mut meta = Meta::new(Kind::Root, State::Committed, now());
        meta.parent = Some(parent.id.clone());
        meta.size = Some(0);
        let stage = Stage::new(self)?;
        let root = stage.mkdir("root")?;
        let stack = self.stack(parent)?;
        like_root_of(&root, &stack)?;
        // Its own entries are none but the root: the rest is its parent's.
        let known = Known {
            marks: None,
            tagged: None,
            notes: None,
            modes: None,
            threads: Threads::Auto,
        };
        let manifest = manifest::write(stage.dir()?, &root, known, Contents::Skip, watch)?;
        meta.manifest = Some(manifest.digest);
        meta.ids = IdMaps::read().word();
        let how = How {
            sharing: Sharing::Links,
            strict: true,
            threads: Threads::Auto,
        };
        flatten::fill(root, &stack, how, Shut::new(), None, watch)?;
        frame(&stage, Kind::Root)?;
        self.build_on(parent, id, stage.maker(), || {
            finish(stage, id, &meta, None, true)
        })
    }
}

/// How many trees a layer on `parent` has below; EMLINK when overlayfs takes no more.
pub(super) fn one_more(parent: &Layer) -> Result<u32> {
    let lowers = parent.meta.lowers.saturating_add(1);
    if lowers > MAX_LOWERS {
        return Err(Error::new(
            Code::Limit,
            Errno::MLINK,
            format!(
                "the chain below would be longer than {MAX_LOWERS} layers: \
                 make a flat layer of the parent (OVL_CREATE_FLAT) and build on that"
            ),
        ));
    }
    Ok(lowers)
}

/// Gives a new directory of a stage the attributes that the root of `stack` has.
pub(super) fn like_root_of(dir: &OwnedFd, stack: &Stack) -> Result<()> {
    let Some(mut found) = stack.root()? else {
        return Ok(());
    };
    let inode = Inode::Open(dir.as_fd());
    let pairs = match &mut found.dir {
        Some(root) => crate::tree::compare::own_xattrs(Inode::Open(root.nearest(stack)?))?,
        None => Vec::new(),
    };
    Setter::new(false).put(inode, &Attributes::from(&found.meta), &pairs, false)?;
    inode
        .set_times(found.meta.atime, found.meta.mtime)
        .call("utimensat")
}

/// Makes the directories that every layer of a kind has.
pub(super) fn frame(stage: &Stage<'_>, kind: Kind) -> Result<()> {
    let names: &[&str] = match kind {
        Kind::Root => &["child", "pin"],
        Kind::Overlay => &["child", "pin", "work", "merged"],
    };
    names.iter().try_for_each(|name| stage.make_dir(name))
}

/// Writes what says what the layer is, and shows it.
fn finish(stage: Stage<'_>, id: &str, meta: &Meta, lower: Option<&str>, sync: bool) -> Result<()> {
    describe(&stage, meta, lower)?;
    stage.publish(id, sync).map(drop)
}

/// Writes `lower-id` and `meta` into a stage.
pub(super) fn describe(stage: &Stage<'_>, meta: &Meta, lower: Option<&str>) -> Result<()> {
    let meta = meta.write();
    let lower = lower.map(|lower| ("lower-id", lower.as_bytes()));
    let texts: Vec<_> = lower
        .into_iter()
        .chain([(meta::FILE, meta.as_bytes())])
        .collect();
    text::create_whole(stage.dir()?, stage.maker(), &texts)
}
