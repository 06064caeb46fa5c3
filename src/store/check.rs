//! Looking for damage, and mending what loses nothing.

use super::lock::{self, Mode};
use super::manifest::{self, Contents};
use super::{CheckFlags, Problem, State, Store, id};
use crate::error::{Code, Error, Result, SysResult};
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
            self.check_names(&mut found)?;
            for id in self.ids()? {
                self.check_layer(&id, &mut found, watch)?;
            }
            self.check_leftovers(&self.stage, "stage", &mut found, watch)?;
            self.check_leftovers(&self.trash, "trash", &mut found, watch)?;
            Ok(())
        })()
        .map_err(|e: Error| e.op("check"))?;
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
            if !ours.iter().any(|ours| ours.as_bytes() == name) {
                let place = name.escape_ascii().to_string();
                found.tell(&place, "foreign", "it is not the store's".into(), false);
            }
        }
        Ok(())
    }

    fn check_layer(&self, id: &str, found: &mut Found, watch: &mut Watch<'_>) -> Result<()> {
        let layer = match self.layer(id) {
            Ok(layer) => layer,
            Err(error) if matches!(error.code(), Code::NoLayer | Code::Damaged) => {
                if fs::stat_at(&self.layers, id.as_bytes()).is_ok() {
                    let mended = found.repair && self.need_free(id).is_ok();
                    found.tell(id, "not whole", error.message().to_string(), mended);
                }
                return Ok(());
            }
            Err(error) => {
                found.tell(id, "unreadable", error.message().to_string(), false);
                return Ok(());
            }
        };
        for name in ["child", "pin", layer.content(), layer.mount_lock()] {
            if let Err(error) = layer.open(name) {
                let mended = found.repair
                    && matches!(name, "child" | "pin" | "work")
                    && fs::mkdir(&layer.fd, name.as_bytes(), 0o700).is_ok();
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
                }
            }
        }
        if layer.meta.state == State::Committed {
            if let Some(expected) = &layer.meta.manifest {
                let content = layer.open(layer.content())?;
                // A root layer's tree also has what its parent had.
                let shared = layer.meta.kind == super::Kind::Root && layer.parent.is_some();
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
                        found.tell(id, "differs", problem, false);
                    }
                }
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
            let Ok(entry) = fs::open_dir(dir, &name) else {
                continue;
            };
            if !lock::try_lock(&entry, Mode::Exclusive)? {
                continue;
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
