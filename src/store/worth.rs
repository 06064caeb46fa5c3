//! What pins are worth to one who only looks, as a check does.

use super::Store;
use super::layer::Layer;
use super::lock::{self, Mode};
use super::pin::{boot_id, parse, said};
use crate::error::{Result, SysResult};
use crate::mount::{self, MountId};
use crate::sys::OwnedFd;
use crate::sys::dir::DirBuf;

/// What a name in `pin/` is worth, for who only looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// The mount is there, and somebody holds it or asked for it to stay; or nobody can tell.
    Live,
    /// The mount is there, and whoever held it is not.
    Left,
    /// There is no such mount.
    Dead,
    /// It is no pin's name.
    Unknown,
}

impl Store {
    /// What the pins of a layer are worth. The caller has `dir`, which is `pin/`, locked; nothing
    /// is changed.
    pub(super) fn weigh_pins(&self, layer: &Layer, dir: &OwnedFd) -> Result<Vec<(Vec<u8>, Worth)>> {
        let names = DirBuf::default().sorted_names(super::again(dir)?);
        let mut weighed = Vec::new();
        for name in names.call_at("getdents64", "pin")? {
            let worth = self.weigh(layer, dir, &name)?;
            weighed.push((name, worth));
        }
        // One without a pin is nobody's, unless it is a copy of one elsewhere.
        if !weighed.iter().any(|(_, worth)| *worth == Worth::Live) {
            if let Some(id) = self.place_without_pin(layer, &weighed)? {
                weighed.push((id.into_bytes(), Worth::Left));
            }
        }
        Ok(weighed)
    }

    fn place_without_pin(
        &self,
        layer: &Layer,
        pins: &[(Vec<u8>, Worth)],
    ) -> Result<Option<String>> {
        let names = || pins.iter().map(|(name, _)| name);
        let pinned = |id: MountId| {
            let start = format!("{id}.").into_bytes();
            names().any(|name| name.starts_with(&start))
        };
        match self.stray_at_its_place(layer, pinned)? {
            Some(found) => Ok(Some(format!("{}.{}", found.id, mount::namespace_id()?))),
            None => Ok(None),
        }
    }

    fn weigh(&self, layer: &Layer, dir: &OwnedFd, name: &[u8]) -> Result<Worth> {
        let Some((name, (id, namespace))) = std::str::from_utf8(name)
            .ok()
            .and_then(|name| Some((name, parse(name)?)))
        else {
            return Ok(Worth::Unknown);
        };
        let now = boot_id()?;
        let Some(said) = said(dir, name)?.filter(|said| said.is_of(now)) else {
            return Ok(Worth::Dead);
        };
        if namespace != mount::namespace_id()? {
            return Ok(match mount::exists_in(id, namespace) {
                Some(_) => Worth::Live,
                None => Worth::Dead,
            });
        }
        match self.read_pin(layer, dir, name, id, said)? {
            None => Ok(Worth::Dead),
            Some(pin) if pin.terms.kept || !lock::try_lock(&pin.file, Mode::Exclusive)? => {
                Ok(Worth::Live)
            }
            Some(_) => Ok(Worth::Left),
        }
    }
}
