//! Taking away what does not belong in the store.

use super::layer::is_absent;
use super::lock::{self, Mode};
use super::{CleanupReport, Store};
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
            self.sweep(&self.stage, "stage", &mut report, watch)?;
            self.sweep_layers(&mut report, watch)?;
            self.sweep(&self.trash, "trash", &mut report, watch)?;
            Ok(report)
        })()
        .map_err(|e: Error| e.op("cleanup"))
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

    fn sweep_layers(&self, report: &mut CleanupReport, watch: &mut Watch<'_>) -> Result<()> {
        // One layer's mount may cover another's: as long as some end, the rest is tried again.
        loop {
            let (mut ended, mut busy) = (0, 0);
            for id in self.ids()? {
                watch.check()?;
                match self.layer(&id) {
                    Ok(layer) => match self.pins(&layer).and_then(|mut pins| pins.end_what_can()) {
                        Ok((some, stays)) => {
                            ended += some;
                            busy += u64::from(stays.is_some());
                        }
                        // It went meanwhile.
                        Err(_) if !self.is_there(&layer)? => {}
                        Err(_) => busy += 1,
                    },
                    Err(error) if is_absent(&error) => match self.discard(&id) {
                        Ok(_) => {}
                        // Somebody made it meanwhile.
                        Err(error) if error.errno() == Errno::EXIST => {}
                        Err(error) => return Err(error),
                    },
                    Err(_) => busy += 1,
                }
            }
            report.unmounted += ended;
            if ended == 0 || busy == 0 {
                report.busy += busy;
                return Ok(());
            }
        }
    }
}
