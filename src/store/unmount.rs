//! Ending mounts by layer or path, and whether a layer is mounted at all.

use super::layer::Layer;
use super::lock::{self, Mode, PATIENCE};
use super::{Kind, Store, UnmountFlags, id, pin, reach, session};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::mount::{self, MountId, oracle};
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

    /// `only`: this mount of it, and no other.
    fn unmount_layer(&self, id: &str, only: Option<MountId>, lazy: bool) -> Result<()> {
        let layer = self.lock_layer(id, Mode::Shared, PATIENCE, &mut Watch::default())?;
        let mut pins = self.pins(&layer)?;
        let (mut ended, _) = pins.end_what_can()?;
        let mut busy = None;
        let known = match only {
            Some(only) => pins.here.iter().any(|pin| pin.id == only),
            None => ended > 0 || !pins.here.is_empty(),
        };
        if !known {
            self.adopt_asked(&layer, &mut pins, only)?;
        }
        for pin in &pins.here {
            if only.is_some_and(|only| only != pin.id) {
                continue;
            }
            if !lock::try_lock(&pin.file, Mode::Exclusive)? {
                let used = "handles use the mount";
                busy = Some(Error::new(Code::Mounted, Errno::BUSY, used).at(&pin.path));
                continue;
            }
            match reach::end(pins.dir.as_fd(), pin, lazy) {
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
        let busy = |why: &str| Err(Error::new(Code::Mounted, Errno::BUSY, why));
        if pins.elsewhere.iter().any(|pin| pin.certain) {
            return busy("it is mounted in another mount namespace, and can be ended only there");
        }
        let free = lock::try_lock(layer.open(layer.mount_lock())?, Mode::Exclusive)?;
        // A writable `root` is mounted as itself, and there is nothing to end.
        let itself = layer.meta.kind == Kind::Root && !layer.committed();
        match (free, itself) {
            (true, true) => Ok(()),
            (true, false) => Err(not_mounted()),
            (false, _) => busy("a handle of it is open, and its mount is not here to be ended"),
        }
    }

    /// Before it is said that nothing of the layer is mounted: whether a mount of it has no pin.
    fn adopt_asked(
        &self,
        layer: &Layer,
        pins: &mut pin::Pins,
        only: Option<MountId>,
    ) -> Result<()> {
        let Some(only) = only else {
            return self.adopt_all(layer, pins);
        };
        match mount::find(only)? {
            Some(found) if pins.elsewhere.is_empty() => self.adopt_one(layer, pins, found),
            _ => Ok(()),
        }
    }

    fn unmount_path(&self, path: &[u8], lazy: bool) -> Result<()> {
        let (flags, mode) = (rustix::fs::OFlags::PATH, rustix::fs::Mode::empty());
        let root = fs::open_at(rustix::fs::CWD, path, flags, mode).call_at("open", path)?;
        if !mount::is_mount_root(root.as_fd())? {
            return Err(not_mounted());
        }
        let (mounted, inode) = (
            mount::identity(root.as_fd())?,
            fs::stat(&root).call_at("statx", path)?,
        );
        drop(root);
        let name = format!("{mounted}.{}", mount::namespace_id()?);
        let ids = self.ids()?;
        for id in &ids {
            let pin = format!("{id}/pin/{name}");
            match fs::stat_at(&self.layers, pin.as_bytes()) {
                Ok(_) => return self.unmount_layer(id, Some(mounted), lazy),
                // The layer is damaged, or goes.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(errno).call_at("statx", pin),
            }
        }
        // It has no pin: its name says whose it is, or, of a `root`, its inode.
        let source = mount::find(mounted)?.map(|found| found.source);
        for id in &ids {
            let root = format!("{id}/root");
            let named = source.as_deref() == Some(format!("ovl:{id}").as_bytes());
            let same = |there: fs::Meta| there.same_inode(&inode);
            if named || fs::stat_at(&self.layers, root.as_bytes()).is_ok_and(same) {
                return self.unmount_layer(id, Some(mounted), lazy);
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
        if layer.meta.kind == Kind::Overlay {
            self.need_upper_unheld(layer, &layer.open("upper")?, Some(&pins))?;
        }
        Ok(alone)
    }

    /// The same of a layer that is to go: what is missing in a damaged one nobody holds. Whether the
    /// kernel could be asked for holders that nobody told of.
    pub(super) fn need_removable(&self, layer: &Layer) -> Result<bool> {
        let mut pins = match part(layer, "pin")? {
            Some(dir) => Some(self.pins_in(layer, dir)?),
            None => None,
        };
        let alone = part(layer, layer.mount_lock())?;
        if let Some(alone) = &alone {
            alone_with(alone)?;
        }
        if let Some(pins) = &mut pins {
            end_pins(pins)?;
        }
        match part(layer, layer.content())? {
            Some(upper) if layer.meta.kind == Kind::Overlay => {
                self.need_upper_unheld(layer, &upper, pins.as_ref())
            }
            _ => Ok(true),
        }
    }

    /// No overlay that nobody told of has the layer's upper; false where the kernel cannot say.
    fn need_upper_unheld(
        &self,
        layer: &Layer,
        upper: &OwnedFd,
        pins: Option<&pin::Pins>,
    ) -> Result<bool> {
        match self.upper_in_use(upper, pins.map(|pins| &pins.dir))? {
            oracle::InUse::Free => return Ok(true),
            oracle::InUse::Unknown(_) => return Ok(false),
            oracle::InUse::Busy => {}
        }
        let busy = |why: &str| Error::new(Code::Mounted, Errno::BUSY, why);
        let strays = pins.map(|pins| self.strays(layer, pins)).transpose()?;
        Err(match strays.and_then(|strays| strays.into_iter().next()) {
            Some(found) => busy("a copy of a mount of it is here: end it").at(found.path),
            None => busy("an overlay in another namespace, or a detached one, holds it"),
        })
    }

    /// Whether a handle holds the layer, or the kernel has a mount of it, here or elsewhere.
    pub(super) fn is_mounted(&self, layer: &Layer) -> Result<bool> {
        // With the pins locked: nobody else tries the handles' lock now.
        let pins = self.pins(layer)?;
        let handles = layer.open(layer.mount_lock())?;
        // Held exclusive it is no handle's, but one's who keeps mounts away.
        if lock::try_lock(&handles, Mode::Shared)? && !lock::try_lock(&handles, Mode::Exclusive)? {
            return Ok(true);
        }
        Ok(!pins.here.is_empty() || pins.elsewhere.iter().any(|pin| pin.certain))
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

/// A directory of the layer, unless it is missing, or is none.
fn part(layer: &Layer, name: &str) -> Result<Option<OwnedFd>> {
    match layer.open(name) {
        Ok(part) => Ok(Some(part)),
        Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

fn not_mounted() -> Error {
    Error::new(Code::System, Errno::INVAL, "it is not mounted")
}
