//! One layer, looked at from all sides, for `check`.

mod edges;
mod rooms;

use super::check::{Found, GLANCE};
use super::damaged;
use super::layer::{Layer, is_absent, read_meta};
use super::lock::{self, Mode};
use super::manifest::Contents;
use super::session::{self, Session};
use super::usage::{Place, Seen, settled};
use super::verify::{self, MOST};
use super::{Kind, State, Store};
use crate::error::{Code, Errno, Result, SysResult};
use crate::layer::foreign;
use crate::sys::fs;
use crate::sys::ids::IdMaps;
use crate::sys::xattr::Marks;
use crate::sys::{AsFd, OwnedFd};
use crate::watch::Watch;

impl Store {
    pub(super) fn check_layer(
        &self,
        id: &str,
        found: &mut Found,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        // Locked, so that nobody changes it or takes it away meanwhile.
        let mode = if found.repair {
            Mode::Exclusive
        } else {
            Mode::Shared
        };
        let dir = match self.lock_dir(id, mode, GLANCE, watch) {
            Ok(dir) => dir,
            Err(error) if error.code() == Code::NoLayer => return Ok(()),
            Err(error) if error.code() == Code::Damaged => {
                found.tell(id, "damaged", error.message().to_string(), false);
                return Ok(());
            }
            Err(error) if error.code() == Code::Locked => {
                let words = "not looked at: another caller is working on it";
                found.note(id, "in use", words.into());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let meta = match read_meta(id, &dir) {
            Ok(meta) => Some(meta),
            Err(error) if error.code() == Code::Format => {
                found.tell(id, "unknown", error.message().to_string(), false);
                return Ok(());
            }
            Err(error) if is_absent(&error) => {
                if damaged::has_nothing(self, &dir)? {
                    let mended = found.repair && self.discard_locked(id, &dir).is_ok();
                    found.tell(id, "not whole", error.message().to_string(), mended);
                    return Ok(());
                }
                let words = format!(
                    "{}; it has content, and only a removal takes it",
                    error.message()
                );
                found.tell(id, "damaged", words, false);
                None
            }
            Err(error) => return Err(error),
        };
        let home = fs::stat(&self.home).call("statx")?;
        found.private(id, &dir, &home)?;
        let Some(meta) = meta else {
            let layers = self.remains(id, &dir)?;
            let kinds: Vec<Kind> = layers.iter().map(|layer| layer.meta.kind).collect();
            return self.check_rooms(id, &dir, &kinds, &home, found).map(drop);
        };
        let mut layer = Layer {
            id: id.to_string(),
            fd: super::again(&dir)?,
            parent: meta.parent.clone(),
            meta,
        };
        if !layer.committed() && matches!(session::of(&layer)?, Session::Lost { .. }) {
            let words = "the machine went down, or the disk was mounted anew, while it was mounted \
                         writable";
            found.note(id, "unclean", words.into());
        }
        let has_content = self.check_rooms(id, &dir, &[layer.meta.kind], &home, found)?;
        let has_parent = self.check_edge(&mut layer, found)?;
        match self.check_pins(&layer, found, watch)? {
            true => self.check_hints(&layer, dir, found)?,
            // The lock is taken anew below.
            false => drop(dir),
        }
        if !has_content {
            return Ok(());
        }
        // For the hints the lock was given up, and others may have come.
        match lock::lock(&layer.fd, mode, GLANCE, watch) {
            Err(error) if error.code() == Code::Locked => {
                found.note(id, "in use", "not looked at: it is being changed".into());
                return Ok(());
            }
            locked => locked?,
        }
        if !self.is_there(&layer)? {
            return Ok(());
        }
        match self.check_tree(&layer, has_parent, found, watch) {
            Err(error) if !layer.committed() && error.errno() == Errno::NOENT => {
                let words = "it changed while it was looked at";
                found.note(id, "in use", words.into());
                Ok(())
            }
            done => done,
        }
    }

    fn check_tree(
        &self,
        layer: &Layer,
        has_parent: bool,
        found: &mut Found,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        self.check_sharing(layer, found, watch)?;
        if layer.meta.kind == Kind::Overlay && has_parent {
            self.check_marks(layer, found, watch)?;
        }
        self.check_manifest(layer, found, watch)
    }

    /// Files that others write to when this layer is written, or the other way round.
    fn check_sharing(&self, layer: &Layer, found: &mut Found, watch: &mut Watch<'_>) -> Result<()> {
        // A committed tree shares its files with those that it was made of, and that are made of
        // it; what is written to one of them the manifests tell.
        if layer.committed() {
            return Ok(());
        }
        let mut last = Vec::new();
        // A running layer has files that are between two names.
        for _ in 0..3 {
            let content = layer.open(layer.content())?;
            // Overlayfs's index has names of files that belong to the upper.
            let index = fs::open_dir(&layer.fd, b"work/index").ok();
            let dirs: Vec<&OwnedFd> = std::iter::once(&content).chain(&index).collect();
            let ((), links) = settled(&dirs, watch, |_, _| {})?;
            // Again, for the paths: what has all its names here, as most, needs none.
            let again = |paths: &mut Vec<Vec<u8>>, place: &Place<'_>| {
                let first = place.seen == Seen::First && place.meta.kind == fs::Kind::File;
                if first && links.lacks(place.meta) && paths.len() <= MOST {
                    paths.push(place.path());
                }
            };
            let mut paths = match links.is_whole() {
                true => Vec::new(),
                false => settled(&[&content], watch, again)?.0,
            };
            paths.sort();
            let again = paths == last || paths.is_empty();
            last = paths;
            if again {
                break;
            }
        }
        if last.len() > MOST {
            last.truncate(MOST);
            let words = "and more files".to_string();
            found.tell(&layer.id, "shared", words, false);
        }
        for path in last {
            let words = format!(
                "/{}: it has names outside the layer, whose content changes with it",
                path.escape_ascii()
            );
            found.tell(&layer.id, "shared", words, false);
        }
        Ok(())
    }

    /// Marks that this store's mounts do not understand.
    fn check_marks(&self, layer: &Layer, found: &mut Found, watch: &mut Watch<'_>) -> Result<()> {
        if !self.sees_marks() {
            let words = "not looked at: the store's marks need CAP_SYS_ADMIN to be seen";
            found.note(&layer.id, "marks", words.into());
            return Ok(());
        }
        let Ok(work) = layer.open("work") else {
            return Ok(());
        };
        let below = found.ways.stack(self, layer)?.below();
        let every = foreign::Files::Every;
        match foreign::refuse(layer.open("upper")?, &work, &below, every, watch) {
            Ok(()) => Ok(()),
            // What another program's overlay left in a writable one can be read (`docs/store.md`).
            Err(error) if error.code() == Code::Unsupported && !layer.committed() => Ok(()),
            Err(error)
                if matches!(
                    error.code(),
                    Code::Marks | Code::Unsupported | Code::Damaged
                ) =>
            {
                found.tell(&layer.id, "marks", error.to_string(), false);
                Ok(())
            }
            // It changed meanwhile: it is running.
            Err(error) if matches!(error.errno(), Errno::NOENT | Errno::STALE) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the caller sees the store's marks. What [`Store::need_marks`] asks has no answer on a
    /// read-only disk, where a check is of use too.
    fn sees_marks(&self) -> bool {
        use rustix::thread::{CapabilitySet, capabilities};
        let able = || {
            capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
        };
        // The number that the kernel gives to the first user namespace.
        let initial = || {
            let link = fs::read_link(rustix::fs::CWD, b"/proc/thread-self/ns/user");
            link.map_or(true, |link| link == b"user:[4026531837]")
        };
        self.marks == Marks::User || (able() && initial())
    }

    /// Holds a committed layer against its manifest.
    fn check_manifest(
        &self,
        layer: &Layer,
        found: &mut Found,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        if layer.meta.state != State::Committed {
            return Ok(());
        }
        let id = &layer.id;
        let Some(expected) = &layer.meta.manifest else {
            found.tell(id, "manifest", "meta names none".into(), false);
            return Ok(());
        };
        if layer.meta.kind == Kind::Overlay && !self.sees_marks() {
            return Ok(());
        }
        let content = layer.open(layer.content())?;
        // A root layer's tree also has what its parent had.
        let shared = layer.meta.kind == Kind::Root && layer.parent.is_some();
        let same_ids = layer.meta.ids == IdMaps::read().word();
        let marks = self.marked(layer.meta.kind);
        let tree = verify::Tree {
            layer: layer.fd.as_fd(),
            content: &content,
            marks,
            inherits: shared,
            ids: same_ids,
        };
        let compared = verify::compare(&tree, expected, Contents::Read, watch)?;
        if !same_ids {
            let words = "owners and attributes: the layer was committed in another user namespace, \
                         whose ids are other ones";
            found.note(id, "not recorded", words.into());
        }
        if let Some(words) = compared.manifest {
            found.tell(id, "manifest", words, false);
        }
        for problem in compared.problems {
            found.tell(id, "differs", problem, false);
        }
        if compared.more > 0 {
            let words = format!("and {} more entries", compared.more);
            found.tell(id, "differs", words, false);
        }
        if shared {
            let words = format!(
                "{} entries that are its parent's by right are held against nothing, nor is what \
                 the layer took away",
                compared.inherited
            );
            found.note(id, "not recorded", words);
        }
        if compared.unrecorded > 0 {
            let words = format!(
                "contents: of {} files there are no digests to hold them against",
                compared.unrecorded
            );
            found.note(id, "not recorded", words);
        }
        Ok(())
    }
}
