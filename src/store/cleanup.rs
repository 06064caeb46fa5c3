//! Taking away what does not belong in the store.

use super::layer::{Layer, is_absent};
use super::lock::{self, Mode};
use super::{CleanupReport, Store, format, meta, text};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::OwnedFd;
use crate::sys::dir::DirBuf;
use crate::sys::fs;
use crate::tree::remove_tree;
use crate::watch::Watch;

impl Store {
    /// Takes away what killed processes left: work in progress, removed layers, layers that were
    /// never whole, held mounts. No layer that has an id and a whole `meta` is touched.
    pub fn cleanup(&self, watch: &mut Watch<'_>) -> Result<CleanupReport> {
        (|| {
            self.writable()?;
            watch.check()?;
            let mut report = CleanupReport::default();
            // Whoever makes a store has it locked alone, and here it is open.
            self.sweep_texts(&self.home, format::FILE, &mut report)?;
            self.sweep(&self.stage, "stage", &mut report, watch)?;
            self.sweep_layers(&mut report, watch)?;
            self.sweep(&self.trash, "trash", &mut report, watch)?;
            Ok(report)
        })()
        .map_err(|e: Error| e.at(self.path().unwrap_or_default()).op("cleanup"))
    }

    fn sweep(
        &self,
        dir: &OwnedFd,
        what: &str,
        report: &mut CleanupReport,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let names = DirBuf::default().sorted_names(super::again(dir)?);
        for name in names.call_at("getdents64", what)? {
            watch.check()?;
            let lock = match fs::open_dir(dir, &name) {
                Ok(entry) => entry,
                Err(Errno::NOENT) => continue,
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    // Nobody can hold it.
                    remove_tree(dir, &name, watch).map_err(|e| e.below(what))?;
                    report.removed += 1;
                    continue;
                }
                Err(errno) => return Err(errno).call_at("open", what),
            };
            if !lock::try_lock(&lock, Mode::Exclusive)? {
                report.busy += 1;
                continue;
            }
            match remove_tree(dir, &name, watch) {
                Ok(()) => report.removed += 1,
                // It became a layer, or another cleanup had it.
                Err(error) if error.errno() == Errno::NOENT => {}
                Err(error) if error.code() == Code::Cancelled => return Err(error),
                Err(error) => {
                    report.busy += 1;
                    self.warn(&format!("{what}/{}: {error}", name.escape_ascii()));
                }
            }
        }
        Ok(())
    }

    /// Takes away what replacements of the file `name` left when they were cut short.
    fn sweep_texts(&self, dir: &OwnedFd, name: &str, report: &mut CleanupReport) -> Result<()> {
        for entry in texts_left(dir, name)? {
            match fs::unlink(dir, &entry) {
                Ok(()) => report.removed += 1,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).call_at("unlink", entry),
            }
        }
        Ok(())
    }

    /// The same of a layer's `meta`, unless somebody is at work on it.
    fn sweep_meta(&self, layer: &Layer, report: &mut CleanupReport) -> Result<()> {
        if texts_left(&layer.fd, meta::FILE)?.is_empty()
            || !lock::try_lock(&layer.fd, Mode::Exclusive)?
        {
            return Ok(());
        }
        self.sweep_texts(&layer.fd, meta::FILE, report)
    }

    fn sweep_layers(&self, report: &mut CleanupReport, watch: &mut Watch<'_>) -> Result<()> {
        for id in self.ids()? {
            watch.check()?;
            match self.layer(&id) {
                Ok(layer) => {
                    self.sweep_meta(&layer, report)?;
                    let ended = self.pins(&layer).and_then(|mut pins| pins.end_leftovers());
                    match ended {
                        Ok(ended) => report.unmounted += ended,
                        Err(_) => report.busy += 1,
                    }
                }
                Err(error) if is_absent(&error) => match self.discard(&id) {
                    Ok(_) => {}
                    // Somebody made it meanwhile.
                    Err(error) if error.errno() == Errno::EXIST => {}
                    Err(error) => return Err(error),
                },
                Err(_) => report.busy += 1,
            }
        }
        Ok(())
    }
}

/// What replacements of the file `name` left in `dir`, or are making there now.
pub(super) fn texts_left(dir: &OwnedFd, name: &str) -> Result<Vec<Vec<u8>>> {
    let mut names = DirBuf::default()
        .sorted_names(super::again(dir)?)
        .call("getdents64")?;
    names.retain(|entry| text::is_leftover(entry, name));
    Ok(names)
}
