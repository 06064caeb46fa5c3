//! Looking for damage, and mending what loses nothing.

use super::layer::{Layer, is_absent};
use super::lock::{self, Mode, PATIENCE};
use super::manifest::{self, Contents};
use super::{CheckFlags, Kind, Problem, State, Store, format, id, meta, text};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::dir::DirBuf;
use crate::sys::{AsFd, OwnedFd, fs};
use crate::watch::Watch;

impl Store {
    /// What is wrong in the store: layers that are not whole, that lack their parents, that differ
    /// from their manifests; leftovers; strangers. With [`CheckFlags::REPAIR`] what can be mended
    /// without losing a layer is.
    pub fn check(&self, flags: CheckFlags, watch: &mut Watch<'_>) -> Result<Vec<Problem>> {
        let mut found = Found {
            repair: flags.contains(CheckFlags::REPAIR),
            problems: Vec::new(),
        };
        (|| {
            if found.repair {
                self.writable()?;
            }
            watch.check()?;
            self.check_names(&mut found)?;
            for id in self.ids()? {
                watch.check()?;
                self.check_layer(&id, &mut found, watch)?;
            }
            self.check_leftovers(&self.stage, "stage", &mut found, watch)?;
            self.check_leftovers(&self.trash, "trash", &mut found, watch)?;
            Ok(())
        })()
        .map_err(|e: Error| e.at(self.path().unwrap_or_default()).op("check"))?;
        Ok(found.problems)
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
        let ours = ["ovl-store", "layer", "stage", "trash", "lost+found"];
        let dir = super::again(&self.home)?;
        for name in DirBuf::default().sorted_names(dir).call("getdents64")? {
            let place = name.escape_ascii().to_string();
            if text::is_leftover(&name, format::FILE) {
                let mended = found.repair && fs::unlink(&self.home, &name).is_ok();
                found.tell(&place, "leftover", "nobody works on it".into(), mended);
            } else if !ours.iter().any(|ours| ours.as_bytes() == name) {
                found.tell(&place, "foreign", "it is not the store's".into(), false);
            }
        }
        Ok(())
    }

    fn check_layer(&self, id: &str, found: &mut Found, watch: &mut Watch<'_>) -> Result<()> {
        // Locked, so that nobody changes it or takes it away meanwhile.
        let layer = match self.lock_layer(id, Mode::Shared, PATIENCE, watch) {
            Ok(layer) => layer,
            Err(error) if is_absent(&error) => {
                if fs::stat_at(&self.layers, id.as_bytes()).is_ok() {
                    let mended = found.repair && self.discard(id).is_ok();
                    found.tell(id, "not whole", error.message().to_string(), mended);
                }
                return Ok(());
            }
            Err(error) if error.code() == Code::Cancelled => return Err(error),
            Err(error) => {
                found.tell(id, "unreadable", error.message().to_string(), false);
                return Ok(());
            }
        };
        // Under the shared lock nobody is making one.
        for name in super::cleanup::texts_left(&layer.fd, meta::FILE)? {
            let mended = found.repair && fs::unlink(&layer.fd, &name).is_ok();
            let words = format!("nobody works on {}", name.escape_ascii());
            found.tell(id, "leftover", words, mended);
        }
        for name in ["child", "pin", layer.content(), layer.mount_lock()] {
            if let Err(error) = layer.open(name) {
                let mended = found.repair
                    && matches!(name, "child" | "pin" | "work")
                    && super::make_dir(&layer.fd, name.as_bytes()).is_ok();
                found.tell(id, "missing", error.to_string(), mended);
                if !mended {
                    return Ok(());
                }
            }
        }
        if let Some(parent) = &layer.parent {
            match self.layer(parent) {
                Ok(parent) => {
                    if fs::stat_at(&parent.fd, format!("child/{id}").as_bytes()).is_err() {
                        let mended = found.repair && self.hint_child(&parent, id).is_ok();
                        let words = format!("{} does not know it as a child", parent.id);
                        found.tell(id, "no hint", words, mended);
                    }
                }
                Err(error) => {
                    let words = format!("its parent {parent}: {}", error.message());
                    found.tell(id, "no parent", words, false);
                    return Ok(());
                }
            }
            if let Err(error) = self.stack(&layer) {
                found.tell(id, "no parent", error.message().to_string(), false);
                return Ok(());
            }
        }
        match self.check_content(&layer, found, watch) {
            // One layer that cannot be read does not keep the others from being looked at.
            Err(error) if error.code() != Code::Cancelled => {
                found.tell(id, "unreadable", error.to_string(), false);
                Ok(())
            }
            done => done,
        }
    }

    /// Holds a committed layer against its manifest.
    fn check_content(&self, layer: &Layer, found: &mut Found, watch: &mut Watch<'_>) -> Result<()> {
        let (State::Committed, Some(expected)) = (layer.meta.state, &layer.meta.manifest) else {
            return Ok(());
        };
        if layer.meta.kind == Kind::Overlay {
            self.need_marks()?;
        }
        let content = layer.open(layer.content())?;
        // A root layer's tree also has what its parent had.
        let shared = layer.meta.kind == Kind::Root && layer.parent.is_some();
        let problems = manifest::compare(
            layer.fd.as_fd(),
            &content,
            self.marked(layer.meta.kind),
            expected,
            Contents::Read,
            watch,
        )?;
        for problem in problems {
            if !(shared && problem.ends_with(manifest::STRANGER)) {
                found.tell(&layer.id, "differs", problem, false);
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
            let entry = match fs::open_dir(dir, &name) {
                Ok(entry) => Some(entry),
                Err(Errno::NOENT) => continue,
                // No directory: nobody can hold it.
                Err(Errno::NOTDIR | Errno::LOOP) => None,
                Err(errno) => return Err(errno).call_at("open", what),
            };
            if let Some(entry) = &entry {
                if !lock::try_lock(entry, Mode::Exclusive)? {
                    continue;
                }
            }
            let mended = found.repair && crate::tree::remove_tree(dir, &name, watch).is_ok();
            let place = format!("{what}/{}", name.escape_ascii());
            found.tell(&place, "leftover", "nobody works on it".into(), mended);
        }
        Ok(())
    }
}

struct Found {
    repair: bool,
    problems: Vec<Problem>,
}

impl Found {
    fn tell(&mut self, layer: &str, kind: &'static str, detail: String, repaired: bool) {
        self.problems.push(Problem {
            layer: layer.to_string(),
            kind,
            detail,
            repaired,
        });
    }
}
