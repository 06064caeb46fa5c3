//! Ending mounts by layer or path, and whether a layer is mounted at all.

use super::layer::Layer;
use super::lock::{self, Mode, PATIENCE};
use super::{Kind, Store, UnmountFlags, id, pin, session};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::mount::{self, oracle};
use crate::sys::{AsFd, OwnedFd, fs};
use crate::watch::Watch;

impl Store {
    /// Ends the kept mount of a layer, given by its id, or the one at a path (which has a slash).
    /// EBUSY while handles use it, EINVAL when there is none.
    pub fn unmount_at(&self, id_or_path: &[u8], flags: UnmountFlags) -> Result<()> {
        let lazy = flags.contains(UnmountFlags::LAZY);
        let result = if id_or_path.contains(&b'/') {
            self.unmount_path(id_or_path, lazy)
        } else {
            id::check(id_or_path).and_then(|id| self.unmount_layer(id, None, lazy))
        };
        result.map_err(|e| e.at(id_or_path).op("unmount"))
    }

    fn unmount_layer(&self, id: &str, only: Option<&str>, lazy: bool) -> Result<()> {
        let layer = self.lock_layer(id, Mode::Shared, PATIENCE, &mut Watch::default())?;
        let mut pins = self.pins(&layer)?;
        let (mut ended, _) = pins.end_what_can()?;
        let mut busy = None;
        for pin in &pins.here {
            if only.is_some_and(|name| name != pin.name) {
                continue;
            }
            if !lock::try_lock(&pin.file, Mode::Exclusive)? {
                let used = "handles use the mount";
                busy = Some(Error::new(Code::Mounted, Errno::BUSY, used).at(&pin.path));
                continue;
            }
            match pin::end(pins.dir.as_fd(), pin, lazy) {
                Ok(()) => ended += 1,
                Err(error) if error.errno() == Errno::BUSY => busy = Some(error),
                Err(error) => return Err(error),
            }
        }
        if ended > 0 && !lazy {
            session::end_by_pins(&pins.dir, self.marks);
        }
        match busy {
            Some(error) => return Err(error),
            None if ended > 0 => return Ok(()),
            None => {}
        }
        // A writable `root` is mounted as itself, and there is nothing to end.
        let itself = layer.meta.kind == Kind::Root && !layer.committed();
        if !itself {
            return Err(not_mounted());
        }
        if lock::try_lock(layer.open(layer.mount_lock())?, Mode::Exclusive)? {
            return Ok(());
        }
        Err(Error::new(
            Code::Mounted,
            Errno::BUSY,
            "handles use the layer",
        ))
    }

    fn unmount_path(&self, path: &[u8], lazy: bool) -> Result<()> {
        let (flags, mode) = (rustix::fs::OFlags::PATH, rustix::fs::Mode::empty());
        let root = fs::open_at(rustix::fs::CWD, path, flags, mode).call_at("open", path)?;
        if !mount::is_mount_root(root.as_fd())? {
            return Err(not_mounted());
        }
        let name = format!(
            "{}.{}",
            mount::identity(root.as_fd())?.id,
            mount::namespace_id()?
        );
        drop(root);
        for id in self.ids()? {
            let pin = format!("{id}/pin/{name}");
            match fs::stat_at(&self.layers, pin.as_bytes()) {
                Ok(_) => return self.unmount_layer(&id, Some(&name), lazy),
                // The layer is damaged, or goes.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(errno).call_at("statx", pin),
            }
        }
        Err(Error::new(
            Code::System,
            Errno::INVAL,
            "it is no mount of this store",
        ))
    }

    /// EBUSY when the layer is mounted or a handle is open. Mounts that killed processes left are
    /// ended. While the result is kept, nobody mounts it.
    pub(super) fn need_unmounted(&self, layer: &Layer) -> Result<OwnedFd> {
        let mut pins = self.pins(layer)?;
        let alone = layer.open(layer.mount_lock())?;
        alone_with(&alone)?;
        end_pins(&mut pins)?;
        self.need_upper_unheld(layer)?;
        Ok(alone)
    }

    /// The same of a layer that is to go: what is missing in a damaged one nobody holds.
    pub(super) fn need_removable(&self, layer: &Layer) -> Result<()> {
        let mut pins = match lacks(layer, "pin") {
            true => None,
            false => Some(self.pins(layer)?),
        };
        let alone = match lacks(layer, layer.mount_lock()) {
            true => None,
            false => Some(layer.open(layer.mount_lock())?),
        };
        if let Some(alone) = &alone {
            alone_with(alone)?;
        }
        if let Some(pins) = &mut pins {
            end_pins(pins)?;
        }
        match lacks(layer, layer.content()) {
            true => Ok(()),
            false => self.need_upper_unheld(layer),
        }
    }

    /// No overlay that nobody told of has the layer's upper.
    fn need_upper_unheld(&self, layer: &Layer) -> Result<()> {
        if layer.meta.kind == Kind::Overlay {
            let upper = layer.open("upper")?;
            let answer = self.upper_in_use(&upper)?;
            if answer == oracle::InUse::Busy {
                return Err(Error::new(
                    Code::Mounted,
                    Errno::BUSY,
                    "an overlay in another namespace, or a detached one, holds it",
                ));
            }
        }
        Ok(())
    }

    /// Whether a handle holds the layer, or it is mounted where the caller can see it.
    pub(super) fn is_mounted(&self, layer: &Layer) -> Result<bool> {
        // With the pins locked: nobody else tries the handles' lock now.
        let pins = self.pins(layer)?;
        let handles = layer.open(layer.mount_lock())?;
        // Held exclusive it is no handle's, but one's who keeps mounts away.
        if lock::try_lock(&handles, Mode::Shared)? && !lock::try_lock(&handles, Mode::Exclusive)? {
            return Ok(true);
        }
        Ok(!pins.here.is_empty())
    }
}

/// No handle has the layer's mount lock, and none will while the caller has it.
fn alone_with(lock: &OwnedFd) -> Result<()> {
    if lock::try_lock(lock, Mode::Exclusive)? {
        return Ok(());
    }
    Err(Error::new(
        Code::Mounted,
        Errno::BUSY,
        "a mount handle of it is open",
    ))
}

/// Ends what nobody holds any more; nothing else is mounted.
fn end_pins(pins: &mut pin::Pins) -> Result<()> {
    pins.end_leftovers()?;
    let busy = |why: String| Err(Error::new(Code::Mounted, Errno::BUSY, why));
    if let Some(pin) = pins.here.first() {
        return busy(format!("it is mounted at {}", pin.path.escape_ascii()));
    }
    if pins.elsewhere.iter().any(|pin| pin.certain) {
        return busy("it is mounted in another mount namespace".into());
    }
    Ok(())
}

/// Whether a directory of the layer is missing, or is none.
fn lacks(layer: &Layer, name: &str) -> bool {
    let missing = |errno| matches!(errno, Errno::NOENT | Errno::NOTDIR);
    layer.open(name).is_err_and(|error| missing(error.errno()))
}

fn not_mounted() -> Error {
    Error::new(Code::System, Errno::INVAL, "it is not mounted")
}
