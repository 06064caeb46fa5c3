//! What is in the store, and what does not belong there.

use super::layer::is_absent;
use super::lock::{self, Mode};
use super::{Capability, CleanupReport, LayerInfo, SpecFlags, Store, id, path_of};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::mount::{self, spec};
use crate::sys::dir::DirBuf;
use crate::sys::{AsFd, OwnedFd};
use crate::tree::remove_tree;
use crate::watch::Watch;

impl Store {
    /// Whether the layer `id` is there.
    pub fn exists(&self, id: &[u8]) -> Result<bool> {
        match id::check(id).and_then(|id| self.layer(id)) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.code(), Code::NoLayer | Code::Damaged) => Ok(false),
            Err(error) => Err(error.at(id).op("exists")),
        }
    }

    /// The ids of all layers, sorted. What is not a whole layer is left out.
    pub fn list(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for id in self.ids().map_err(|e| e.op("list"))? {
            // A layer of a kind that is unknown here is a layer all the same.
            let skip = |e: &Error| matches!(e.code(), Code::NoLayer | Code::Damaged);
            if !self.layer(&id).is_err_and(|e| skip(&e)) {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// The names in `layer/` that are ids, sorted.
    pub(super) fn ids(&self) -> Result<Vec<String>> {
        let dir = super::again(&self.layers)?;
        let names = DirBuf::default()
            .sorted_names(dir)
            .call_at("getdents64", "layer")?;
        Ok(names
            .iter()
            .filter_map(|name| id::check(name).ok())
            .map(str::to_string)
            .collect())
    }

    /// What is known of the layer `id`.
    pub fn stat(&self, id: &[u8]) -> Result<LayerInfo> {
        (|| {
            let layer = self.layer(id::check(id)?)?;
            let mounted = self.is_mounted(&layer)?;
            Ok(layer.info(mounted))
        })()
        .map_err(|e: Error| e.at(id).op("stat"))
    }

    /// Takes away what killed processes left: work in progress, removed layers, layers that were
    /// never whole, held mounts. No layer that has an id and a whole `meta` is touched.
    pub fn cleanup(&self, watch: &mut Watch<'_>) -> Result<CleanupReport> {
        (|| {
            self.writable()?;
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
            let lock = match super::open_entry(dir, &name) {
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
        for id in self.ids()? {
            watch.check()?;
            match self.layer(&id) {
                Ok(layer) => {
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

    /// What this kernel, file system and caller can do together, each found by trying it in the
    /// store.
    pub fn status(&self) -> Result<Vec<Capability>> {
        self.try_all().map_err(|e| e.op("status"))
    }

    fn try_all(&self) -> Result<Vec<Capability>> {
        let stage = super::stage::Stage::new(self)?;
        let probe = mount::probe::probe(stage.dir()?)?;
        Ok(probe
            .capabilities()
            .into_iter()
            .map(|(name, capability)| Capability {
                name,
                ok: capability.ok,
                reason: capability.reason.clone(),
            })
            .collect())
    }

    /// Type, source and options by which somebody else mounts the layer `id`.
    pub fn mount_spec(
        &self,
        id: &[u8],
        flags: SpecFlags,
        label: Option<&[u8]>,
    ) -> Result<spec::Spec> {
        self.specify(id, flags, label)
            .map_err(|e| e.at(id).op("mount_spec"))
    }

    fn specify(&self, id: &[u8], flags: SpecFlags, label: Option<&[u8]>) -> Result<spec::Spec> {
        let layer = self.layer(id::check(id)?)?;
        let layers = path_of(self.layers.as_fd())?;
        let read_only = flags.contains(SpecFlags::READ_ONLY) || layer.committed();
        let below = |path: &[u8]| [&layers[..], b"/", path].concat();
        if layer.meta.kind == super::Kind::Root {
            return spec::bind(&below(format!("{}/root", layer.id).as_bytes()), read_only);
        }
        self.need_marks()?;
        let stack = self.stack(&layer)?;
        let own = usize::from(!layer.committed());
        let lowers: Vec<Vec<u8>> = stack.trees()[own..]
            .iter()
            .map(|tree| below(tree.name()))
            .collect();
        let lowers: Vec<&[u8]> = lowers.iter().map(Vec::as_slice).collect();
        let upper = below(format!("{}/upper", layer.id).as_bytes());
        let work = below(format!("{}/work", layer.id).as_bytes());
        spec::overlay(&spec::OverlayPaths {
            lowers: &lowers,
            upper: (!layer.committed()).then_some((&upper[..], &work[..])),
            marks: self.marks,
            read_only,
            volatile: false,
            label,
        })
    }
}
