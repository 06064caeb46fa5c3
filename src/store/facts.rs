//! What the kernel, the file system and the caller can do together, found by trying it.

use super::stage::Stage;
use super::{Capability, Store};
use crate::error::{Errno, Result, SysResult};
use crate::mount::oracle::{self, InUse};
use crate::mount::{self, Lowers, Overlay, Upper};
use crate::sys::{AsFd, OwnedFd, fs, xattr};

impl Store {
    /// What this kernel, file system and caller can do together, each found by trying it in the
    /// store.
    pub fn status(&self) -> Result<Vec<Capability>> {
        self.try_all().map_err(|e| e.at("stage").op("status"))
    }

    fn try_all(&self) -> Result<Vec<Capability>> {
        self.writable_disk()?;
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

    /// Whether an overlay holds this upper, from any process or namespace. Only for who keeps
    /// mounts of it away; `pins` is the layer's directory of pins where he has it locked, and a
    /// place for what the question needs.
    pub(super) fn upper_in_use(&self, upper: &OwnedFd, pins: Option<&OwnedFd>) -> Result<InUse> {
        if let Some(pins) = pins {
            return oracle::upper_in_use(upper.as_fd(), pins.as_fd(), self.marks);
        }
        // Where nothing can be made there is a way without.
        let stage = Stage::new(self).ok();
        let scratch = stage.as_ref().and_then(|stage| stage.dir().ok());
        oracle::upper_in_use(
            upper.as_fd(),
            scratch.unwrap_or(self.stage.as_fd()),
            self.marks,
        )
    }

    /// Whether the home can hold an upper: tried once, by making an overlay in `stage/`.
    pub(super) fn holds_upper(&self) -> Result<bool> {
        // Not while the cell is locked: the log callback may use this store.
        if let Some(known) = self.holds_upper.get() {
            return Ok(*known);
        }
        let (holds, why) = self.try_upper()?;
        if let (Ok(()), Some(why)) = (self.holds_upper.set(holds), why) {
            self.warn(&why);
        }
        Ok(holds)
    }

    /// The answer, and the reason of a no.
    fn try_upper(&self) -> Result<(bool, Option<String>)> {
        let stage = Stage::new(self)?;
        let (lower, upper, work) = (
            stage.mkdir("lower")?,
            stage.mkdir("upper")?,
            stage.mkdir("work")?,
        );
        let open = |_| fs::open_dir_trusted(&lower, b".").call("open");
        let mut plan = Overlay::new(Lowers::new(1, open), self.marks);
        plan.volatile = true;
        plan.upper = Some(Upper {
            upper: upper.as_fd(),
            work: work.as_fd(),
        });
        match mount::overlay(&plan) {
            Ok(_) => Ok((true, None)),
            // Nobody may mount here; whoever may later decides by the file system.
            Err(error) if error.errno() == Errno::PERM => {
                let kind = fs::magic(&upper).call("fstatfs")?;
                let marks = xattr::set(&upper, self.marks.opaque(), b"y").is_ok();
                Ok((marks && !NO_UPPER.contains(&kind), None))
            }
            // These say nothing of the file system.
            Err(error)
                if matches!(
                    error.errno(),
                    Errno::NOSPC
                        | Errno::DQUOT
                        | Errno::NOMEM
                        | Errno::MFILE
                        | Errno::NFILE
                        | Errno::IO
                ) =>
            {
                Err(error)
            }
            Err(error) => {
                let why = format!("the store cannot hold an upper: {}", error.message());
                Ok((false, Some(why)))
            }
        }
    }
}

/// File systems that cannot hold an upper: overlayfs itself, NFS.
const NO_UPPER: [i64; 2] = [0x794c_7630, 0x6969];
