//! One layer, looked at from all sides, for `check`.

use super::check::{Found, GLANCE};
use super::cleanup::Tidied;
use super::damaged;
use super::layer::{Layer, is_absent, read_lower, read_meta};
use super::lock::{self, Mode};
use super::maker::Maker;
use super::manifest::{self, Contents};
use super::session::{self, Session};
use super::usage::{Place, Seen, settled};
use super::verify::{self, MOST};
use super::worth::Worth;
use super::{Kind, State, Store, id, text};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::layer::foreign;
use crate::mount::{self, oracle};
use crate::sys::dir::DirBuf;
use crate::sys::fs::{self, Meta};
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

    /// What is in the layer's directory; says whether its content is.
    fn check_rooms(
        &self,
        id: &str,
        dir: &OwnedFd,
        kinds: &[Kind],
        home: &Meta,
        found: &mut Found,
    ) -> Result<bool> {
        let overlay = kinds.contains(&Kind::Overlay);
        let root = kinds.contains(&Kind::Root);
        let mut has_content = true;
        for (name, ours) in [
            ("child", true),
            ("pin", true),
            ("root", root),
            ("upper", overlay),
            ("work", overlay),
            ("merged", overlay),
        ] {
            if !ours {
                continue;
            }
            let content = matches!(name, "root" | "upper");
            match fs::open_dir(dir, name.as_bytes()) {
                Ok(_) if content => {}
                Ok(room) => found.private_in(id, name, &room, home)?,
                // Something is mounted there, as should be.
                Err(Errno::XDEV) if name == "merged" => {}
                Err(Errno::NOENT) => {
                    let mended = found.repair
                        && !content
                        && self.may_make(dir, name)
                        && Maker::of(dir).mkdir(dir, name.as_bytes()).is_ok();
                    found.tell(id, "missing", format!("it has no {name}"), mended);
                    has_content &= !content;
                }
                Err(errno) => {
                    let words = format!("{name}: {}", Error::sys(errno, "open").message());
                    found.tell(id, "missing", words, false);
                    has_content &= !content;
                }
            }
        }
        self.check_strangers(id, dir, (root, overlay), found)?;
        Ok(has_content)
    }

    /// Whether `work`, which mount handles lock, can be made anew: nobody has the one that went.
    fn may_make(&self, dir: &OwnedFd, name: &str) -> bool {
        match fs::open_dir(dir, b"upper") {
            Ok(upper) if name == "work" => self
                .upper_in_use(&upper, None)
                .is_ok_and(|answer| answer != oracle::InUse::Busy),
            _ => true,
        }
    }

    fn check_strangers(
        &self,
        id: &str,
        dir: &OwnedFd,
        (root, overlay): (bool, bool),
        found: &mut Found,
    ) -> Result<()> {
        let names = DirBuf::default().sorted_names(super::again(dir)?);
        for name in names.call_at("getdents64", id)? {
            let ours = match &name[..] {
                // A root layer has a mount point once it was mounted.
                b"meta" | b"manifest" | b"child" | b"pin" | b"merged" | b"running" => true,
                b"root" => root,
                b"lower-id" | b"upper" | b"work" => overlay,
                _ => false,
            };
            // What is wrong with the other files is told by who reads them.
            if matches!(&name[..], b"manifest" | b"running")
                && damaged::kind_at(dir, &name)?.is_some_and(|kind| kind != fs::Kind::File)
            {
                let words = format!("{} is no file", name.escape_ascii());
                found.tell(id, "foreign", words, false);
            }
            if damaged::is_temporary(&name) && !found.repair {
                // Who mounts the layer makes one too, with the pins locked, and is soon done.
                let pins = fs::open_dir(dir, b"pin");
                if let Ok(pins) = &pins {
                    if lock::lock(pins, Mode::Exclusive, GLANCE, &mut Watch::default()).is_err() {
                        continue;
                    }
                }
                if damaged::kind_at(dir, &name)?.is_none() {
                    continue;
                }
            }
            if damaged::is_temporary(&name) {
                let mended = found.repair && fs::unlink(dir, &name).is_ok();
                let words = format!("{} was to replace a file", name.escape_ascii());
                found.tell(id, "temporary", words, mended);
            } else if !ours {
                let words = format!("{} is not the store's", name.escape_ascii());
                found.tell(id, "foreign", words, false);
            }
        }
        // What lies in a mount point is hidden by the mount, and part of nothing.
        for (room, what) in [
            ("child", "no id, or no file"),
            ("merged", "below the mount point"),
        ] {
            let Ok(inside) = fs::open_dir(dir, room.as_bytes()) else {
                continue;
            };
            let names = DirBuf::default().sorted_names(&inside);
            for name in names.call_at("getdents64", room)? {
                let Some(kind) = damaged::kind_at(&inside, &name)? else {
                    // It went meanwhile.
                    continue;
                };
                let hint = room == "child" && id::check(&name).is_ok() && kind == fs::Kind::File;
                if !hint {
                    let words = format!("{room}/{}: {what}", name.escape_ascii());
                    found.tell(id, "foreign", words, false);
                }
            }
        }
        Ok(())
    }

    /// The way down; says whether there is one as far as it is needed.
    fn check_edge(&self, layer: &mut Layer, found: &mut Found) -> Result<bool> {
        let id = layer.id.clone();
        if layer.meta.kind == Kind::Overlay {
            layer.parent = match read_lower(&layer.fd) {
                Ok(lower) => Some(lower),
                Err(error) => {
                    let known = self.who_names(layer)?;
                    let put = |lower: &String| {
                        text::replace(layer.fd.as_fd(), "lower-id", lower.as_bytes(), true).is_ok()
                    };
                    let missing = damaged::kind_at(&layer.fd, b"lower-id")?.is_none();
                    let mended = found.repair && missing && known.as_ref().is_some_and(put);
                    let hint = match &known {
                        Some(lower) => format!("; it was {lower}"),
                        None => String::new(),
                    };
                    let words = format!("{}{hint}", error.message());
                    found.tell(&id, "no lower-id", words, mended);
                    known.filter(|_| mended)
                }
            };
        }
        let Some(below) = layer.parent.clone() else {
            return Ok(layer.meta.kind == Kind::Root);
        };
        if let Some(ring) = found.ways.ring(self, &id, &below) {
            found.tell(
                &id,
                "cycle",
                format!("it is built on itself: {ring}"),
                false,
            );
            return Ok(false);
        }
        let parent = match self.layer(&below) {
            Ok(parent) => parent,
            // What a root layer took from its parent is its own.
            Err(error) if layer.meta.kind == Kind::Root && error.code() == Code::NoLayer => {
                let words = format!("its parent {below} is missing; it does not need it");
                found.note(&id, "no parent", words);
                return Ok(true);
            }
            Err(error) => {
                let words = format!("its parent {below}: {}", error.message());
                found.tell(&id, "no parent", words, false);
                return Ok(false);
            }
        };
        let hint = format!("child/{id}");
        if damaged::kind_at(&parent.fd, hint.as_bytes())?.is_none() {
            // As one who builds on it.
            let held = found.repair && lock::try_lock(&parent.fd, Mode::Shared)?;
            let mended = held && self.hint_child(&parent, &id).is_ok();
            let words = format!("{below} does not know it as a child");
            found.tell(&id, "no hint", words, mended);
        }
        let lowers = match layer.meta.kind {
            Kind::Root => 0,
            Kind::Overlay => parent.meta.lowers.saturating_add(1),
        };
        if layer.meta.lowers != lowers {
            let words = format!(
                "meta counts {} lowers, there are {lowers}",
                layer.meta.lowers
            );
            found.tell(&id, "lowers", words, false);
        }
        if !parent.committed() {
            let words = format!("its parent {below} is not committed");
            found.tell(&id, "no parent", words, false);
        }
        if let Err(error) = found.ways.stack(self, layer) {
            found.tell(&id, "no parent", error.message().to_string(), false);
            return Ok(false);
        }
        Ok(true)
    }

    /// The one layer that has this as a child, if it fits.
    fn who_names(&self, layer: &Layer) -> Result<Option<String>> {
        let mut named = Vec::new();
        for other in self.ids()? {
            let hint = format!("{other}/child/{}", layer.id);
            if other != layer.id && damaged::kind_at(&self.layers, hint.as_bytes())?.is_some() {
                named.push(other);
            }
        }
        let (Some(one), true) = (named.pop(), named.is_empty()) else {
            return Ok(None);
        };
        let fits = self.layer(&one).is_ok_and(|below| {
            below.committed() && below.meta.lowers.saturating_add(1) == layer.meta.lowers
        });
        Ok(fits.then_some(one))
    }

    /// Pins, and mounts that nobody holds; false when they are locked for long.
    fn check_pins(&self, layer: &Layer, found: &mut Found, watch: &mut Watch<'_>) -> Result<bool> {
        let id = &layer.id;
        let Ok(dir) = layer.open("pin") else {
            return Ok(true);
        };
        match lock::lock(&dir, Mode::Exclusive, GLANCE, watch) {
            Ok(()) => {}
            Err(error) if error.code() == Code::Locked => {
                let words = "not looked at: it is being mounted or unmounted";
                found.note(id, "in use", words.into());
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        let before = self.weigh_pins(layer, &dir)?;
        let mut after = before.clone();
        if found.repair && !before.is_empty() {
            drop(dir);
            // What does not go is told as it is.
            let _ = self.tidy_pins(layer, &mut Tidied::default());
            let names = DirBuf::default().sorted_names(layer.open("pin")?);
            let names = names.call_at("getdents64", "pin")?;
            after.retain(|(name, _)| names.contains(name));
        }
        for (name, worth) in before {
            let mended = !after.contains(&(name.clone(), worth));
            let name_shown = name.escape_ascii();
            let (kind, words) = match worth {
                Worth::Live => continue,
                Worth::Dead => ("dead pin", format!("there is no mount {name_shown}")),
                Worth::Left => ("mount", format!("nobody holds mount {name_shown} any more")),
                Worth::Unknown if mount::is_scratch(&name) => (
                    "leftover",
                    format!("pin/{name_shown}: of a mount that was being made"),
                ),
                Worth::Unknown => ("foreign", format!("pin/{name_shown} is not the store's")),
            };
            found.tell(id, kind, words, mended);
        }
        Ok(true)
    }

    /// Hints of children that are gone, and files of calls that never ended. Only who has the layer
    /// alone knows; who cannot have it passes by. `held` is the lock of this check.
    fn check_hints(&self, layer: &Layer, held: OwnedFd, found: &mut Found) -> Result<()> {
        let id = &layer.id;
        let mut stale = self.stale_hints(layer)?;
        let mut unfinished = self.unfinished(layer)?;
        unfinished.retain(|name| name == manifest::FILE.as_bytes());
        if stale.is_empty() && unfinished.is_empty() {
            return Ok(());
        }
        let mut mended = false;
        if found.repair {
            mended = self.tidy_locked(layer, &mut Tidied::default()).is_ok();
        } else {
            drop(held);
            if !lock::try_lock(&layer.fd, Mode::Exclusive)? {
                return Ok(());
            }
            match self.read_layer(id, super::again(&layer.fd)?) {
                Ok(now) => {
                    stale = self.stale_hints(&now)?;
                    let now = self.unfinished(&now)?;
                    unfinished.retain(|name| now.contains(name));
                }
                Err(_) => return Ok(()),
            }
            lock::try_lock(&layer.fd, Mode::Shared)?;
        }
        // It misleads nobody, and who removes a layer leaves it where others build on the parent.
        for child in stale {
            let words = format!("{child} is no child of it");
            match mended {
                true => found.tell(id, "stale hint", words, true),
                false => found.note(id, "stale hint", words),
            }
        }
        for _ in unfinished {
            let words = "manifest: of a commit that never ended".to_string();
            found.tell(id, "leftover", words, mended);
        }
        Ok(())
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
