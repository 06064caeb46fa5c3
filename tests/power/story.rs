//! A story: what is done to a store before the power goes, and what may be seen of it afterwards.
//!
//! Each call notes how many requests the disk had answered when it began and when it returned.
//! A layer goes through versions; a cut shows one that had begun, and none older than the last
//! one that was promised to stay.

use super::disk::Disk;
use super::images;
use super::scene::Step;
use super::tars::Which;
use super::trees;
use ovl::error::{Code, Result};
use ovl::store::*;
use ovl::watch::Watch;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;

/// One call, as data: it must be possible to make it again.
#[derive(Clone, Debug)]
pub enum Call {
    /// Makes the store.
    Open,
    Apply {
        id: &'static str,
        parent: Option<&'static str>,
        kind: Option<Kind>,
        durability: Durability,
        /// Which tar: a parent's, or a layer over it.
        tar: Which,
    },
    Create {
        id: &'static str,
        parent: Option<&'static str>,
        flags: CreateFlags,
    },
    Commit {
        id: &'static str,
        durability: Durability,
    },
    Remove {
        id: &'static str,
        flags: RemoveFlags,
    },
    /// Makes an image of an archive.
    Import {
        name: &'static str,
        layers: &'static [Which],
        keep: bool,
    },
    RemoveImage {
        name: &'static str,
    },
    Cleanup,
    /// Lets the neighbours work for so many milliseconds.
    Wait(u64),
    /// Mounts a writable layer, does things in it, and unmounts it.
    Container {
        id: &'static str,
        flags: MountFlags,
        steps: &'static [Step],
    },
}

impl Call {
    /// The layer that it is about.
    pub fn id(&self) -> Option<&'static str> {
        match self {
            Call::Open | Call::Cleanup | Call::Wait(_) => None,
            Call::Import { .. } | Call::RemoveImage { .. } => None,
            Call::Apply { id, .. }
            | Call::Create { id, .. }
            | Call::Commit { id, .. }
            | Call::Remove { id, .. }
            | Call::Container { id, .. } => Some(id),
        }
    }

    /// The image that it is about.
    pub fn image(&self) -> Option<&'static str> {
        match self {
            Call::Import { name, .. } | Call::RemoveImage { name } => Some(name),
            _ => None,
        }
    }

    /// The layer that it builds on.
    pub fn parent(&self) -> Option<&'static str> {
        match self {
            Call::Apply { parent, .. } | Call::Create { parent, .. } => *parent,
            _ => None,
        }
    }

    /// What it promises of its layer, once it returned.
    fn promise(&self) -> Promise {
        let by = |durability: &Durability| match durability {
            Durability::None => Promise::Nothing,
            _ => Promise::Stays,
        };
        match self {
            Call::Apply { durability, .. } | Call::Commit { durability, .. } => by(durability),
            Call::Create { flags, .. } => {
                match flags.intersects(CreateFlags::SYNC | CreateFlags::FLAT) {
                    true => Promise::Stays,
                    false => Promise::Whole,
                }
            }
            Call::Container { .. } => Promise::Whole,
            Call::Import { .. } | Call::RemoveImage { .. } => Promise::Stays,
            Call::Open | Call::Remove { .. } | Call::Cleanup | Call::Wait(_) => Promise::Stays,
        }
    }
}

/// What a power cut may do to a version of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Nothing, once its call returned.
    Stays,
    /// Take it away, whole.
    Whole,
    /// Damage it, if `check` sees that.
    Nothing,
}

/// What a layer was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    Absent,
    /// Being written to.
    Anything,
    Tree {
        committed: bool,
        lines: trees::Lines,
    },
}

/// A version of a layer.
#[derive(Clone, Debug)]
pub struct Version {
    pub begin: usize,
    /// When its call returned; none for one that did not.
    pub end: Option<usize>,
    pub promise: Promise,
    pub shown: Shown,
}

/// A file that was synced inside a container.
#[derive(Clone, Debug)]
pub struct Synced {
    pub at: usize,
    pub id: String,
    pub path: String,
    pub digest: String,
}

/// When a call of the story began and returned.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Which, of all calls of the story's window in order.
    pub call: usize,
    pub begin: usize,
    pub end: usize,
}

/// All that was noted.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    pub versions: BTreeMap<String, Vec<Version>>,
    pub done: Vec<Done>,
    pub synced: Vec<Synced>,
}

impl Notes {
    /// When a call of the window began.
    pub fn began(&self, call: usize) -> Option<usize> {
        let done = self.done.iter().find(|done| done.call == call);
        done.map(|done| done.begin)
    }

    /// Where calls began and returned.
    pub fn marks(&self) -> Vec<usize> {
        let calls = self.done.iter().flat_map(|done| [done.begin, done.end]);
        calls.chain(self.synced.iter().map(|one| one.at)).collect()
    }
}

/// Makes calls on a store and notes them.
pub struct Teller<'d> {
    pub disk: &'d Disk,
    pub home: &'d Path,
    pub notes: Mutex<Notes>,
}

impl Teller<'_> {
    /// Makes the call, which must succeed. `number` is its place in the window; what is done
    /// before that has none.
    pub fn tell(&self, store: &Store, call: &Call, number: Option<usize>) {
        let begin = self.disk.position();
        let commits = self.commits(store, call);
        let changed = call.id().into_iter().map(|id| (id, call.promise()));
        let changed: Vec<_> = changed
            .chain(commits.map(|id| (id, Promise::Stays)))
            .collect();
        match call {
            Call::Container { id, flags, steps } => {
                self.note(id, begin, None, Promise::Whole, Shown::Anything);
                let synced = |path: &str, digest: String| {
                    self.notes.lock().unwrap().synced.push(Synced {
                        at: self.disk.position(),
                        id: (*id).to_string(),
                        path: path.to_string(),
                        digest,
                    });
                };
                super::scene::play(store, id, *flags, steps, synced);
                // The kernel syncs an upper whose last mount ends, unless it is volatile.
                let promise = match flags.contains(MountFlags::VOLATILE) {
                    true => Promise::Whole,
                    false => Promise::Stays,
                };
                let end = self.disk.position();
                let shown = look(store, self.home, id);
                self.note(id, begin, Some(end), promise, shown);
            }
            Call::Import { name, .. } | Call::RemoveImage { name } => {
                let mut about = images::layers(store, name);
                make(store, call).unwrap_or_else(|e| panic!("{call:?}: {e}"));
                let end = self.disk.position();
                about.extend(images::layers(store, name));
                about.insert(images::key(name));
                for id in about {
                    let shown = look(store, self.home, &id);
                    self.note(&id, begin, Some(end), Promise::Stays, shown);
                }
            }
            _ => {
                make(store, call).unwrap_or_else(|e| panic!("{call:?}: {e}"));
                let end = self.disk.position();
                for (id, promise) in changed {
                    let shown = look(store, self.home, id);
                    self.note(id, begin, Some(end), promise, shown);
                }
            }
        }
        if let Some(call) = number {
            let end = self.disk.position();
            self.notes
                .lock()
                .unwrap()
                .done
                .push(Done { call, begin, end });
        }
    }

    fn note(&self, id: &str, begin: usize, end: Option<usize>, promise: Promise, shown: Shown) {
        let mut notes = self.notes.lock().unwrap();
        let versions = notes.versions.entry(id.to_string()).or_default();
        versions.push(Version {
            begin,
            end,
            promise,
            shown,
        });
    }

    /// The parent that a create commits first.
    fn commits(&self, store: &Store, call: &Call) -> Option<&'static str> {
        let Call::Create { parent, .. } = call else {
            return None;
        };
        let info = store.stat((*parent)?.as_bytes()).ok()?;
        (info.state == State::Writable && info.kind == Kind::Root).then_some((*parent)?)
    }
}

/// What a layer is now.
pub fn look(store: &Store, home: &Path, id: &str) -> Shown {
    if let Some(name) = images::name_of(id) {
        return images::look(store, home, name);
    }
    match store.stat(id.as_bytes()) {
        Ok(info) => Shown::Tree {
            committed: info.state == State::Committed,
            lines: trees::of(&content(home, &info)),
        },
        Err(error) if matches!(error.code(), Code::NoLayer | Code::Damaged) => Shown::Absent,
        Err(error) => panic!("stat {id}: {error}"),
    }
}

/// Where a layer's own content is.
pub fn content(home: &Path, info: &LayerInfo) -> std::path::PathBuf {
    let name = match info.kind {
        Kind::Root => "root",
        Kind::Overlay => "upper",
    };
    home.join("layer").join(&info.id).join(name)
}

/// Opens the store at `home`.
pub fn open(home: &Path, flags: OpenFlags) -> Result<Store> {
    let options = OpenOptions {
        flags,
        ..Default::default()
    };
    Store::open(home.as_os_str().as_bytes(), options)
}

/// Makes a call. A container is not one that is repeated.
pub fn make(store: &Store, call: &Call) -> Result<()> {
    let watch = &mut Watch::default();
    match call {
        Call::Open | Call::Container { .. } => Ok(()),
        Call::Wait(time) => {
            std::thread::sleep(std::time::Duration::from_millis(*time));
            Ok(())
        }
        Call::Apply {
            id,
            parent,
            kind,
            durability,
            tar,
        } => {
            let options = ApplyOptions {
                parent: parent.map(str::as_bytes),
                kind: *kind,
                durability: *durability,
                ..Default::default()
            };
            let tar = tar.bytes();
            store
                .apply(id.as_bytes(), &mut &tar[..], &options, watch)
                .map(drop)
        }
        Call::Create { id, parent, flags } => {
            store.create(id.as_bytes(), parent.map(str::as_bytes), *flags, watch)
        }
        Call::Commit { id, durability } => {
            store.commit(id.as_bytes(), *durability, CommitFlags::empty(), watch)
        }
        Call::Remove { id, flags } => store.remove(id.as_bytes(), *flags, watch),
        Call::Import { name, layers, keep } => images::import(store, name, layers, *keep),
        Call::RemoveImage { name } => images::remove(store, name),
        Call::Cleanup => store.cleanup(watch).map(drop),
    }
}
