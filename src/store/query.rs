//! What is in the store, and how somebody else would mount it.

use super::layer::Layer;
use super::{LayerInfo, SpecFlags, Store, id, path_of, session};
use crate::error::{Code, Error, Result, SysResult};
use crate::mount::spec;
use crate::sys::AsFd;
use crate::sys::dir::DirBuf;

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
        for id in self.ids().map_err(|e| e.at("layer").op("list"))? {
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
        self.look(id, |layer| {
            let mut info = layer.info(self.is_mounted(layer)?);
            info.unclean =
                !layer.committed() && matches!(session::of(layer)?, session::Session::Lost { .. });
            Ok(info)
        })
        .map_err(|e| e.at(id).op("stat"))
    }

    /// What `ask` finds in the layer `id`, with no lock held: one that was removed while it was
    /// looked at is not damaged, but gone, or another one by now.
    fn look<T>(&self, id: &[u8], mut ask: impl FnMut(&Layer) -> Result<T>) -> Result<T> {
        let id = id::check(id)?;
        loop {
            let layer = self.layer(id)?;
            match ask(&layer) {
                Err(_) if !self.is_there(&layer)? => {}
                answer => return answer,
            }
        }
    }

    /// Type, source and options by which somebody else mounts the layer `id`.
    pub fn mount_spec(
        &self,
        id: &[u8],
        flags: SpecFlags,
        label: Option<&[u8]>,
    ) -> Result<spec::Spec> {
        self.look(id, |layer| self.specify(layer, flags, label))
            .map_err(|e| e.at(id).op("mount_spec"))
    }

    fn specify(&self, layer: &Layer, flags: SpecFlags, label: Option<&[u8]>) -> Result<spec::Spec> {
        let layers = path_of(self.layers.as_fd())?;
        let read_only = flags.contains(SpecFlags::READ_ONLY) || layer.committed();
        let below = |path: &[u8]| [&layers[..], b"/", path].concat();
        if layer.meta.kind == super::Kind::Root {
            if label.is_some_and(|label| !label.is_empty()) {
                return Err(super::mounts::no_label());
            }
            return spec::bind(&below(format!("{}/root", layer.id).as_bytes()), read_only);
        }
        self.need_marks()?;
        let stack = self.stack(layer)?;
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
            long: flags.contains(SpecFlags::LONG),
        })
    }
}
