//! What a layer has to do with others: the one below it, those built on it, and its mounts.

use super::super::check::{Found, GLANCE};
use super::super::cleanup::Tidied;
use super::super::layer::{Layer, read_lower};
use super::super::lock::{self, Mode};
use super::super::maker::Maker;
use super::super::worth::Worth;
use super::super::{Kind, Store, damaged, manifest, text};
use crate::error::{Code, Result, SysResult};
use crate::mount;
use crate::sys::dir::DirBuf;
use crate::sys::{AsFd, OwnedFd};
use crate::watch::Watch;

impl Store {
    /// The way down; says whether there is one as far as it is needed.
    pub(super) fn check_edge(&self, layer: &mut Layer, found: &mut Found) -> Result<bool> {
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
            let mended = held && self.hint_child(&parent, &id, Maker::of(&parent.fd)).is_ok();
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
    pub(super) fn check_pins(
        &self,
        layer: &Layer,
        found: &mut Found,
        watch: &mut Watch<'_>,
    ) -> Result<bool> {
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
    pub(super) fn check_hints(
        &self,
        layer: &Layer,
        held: OwnedFd,
        found: &mut Found,
    ) -> Result<()> {
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
            match self.read_layer(id, super::super::again(&layer.fd)?) {
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
}
