//! A writable layer becomes committed.

use super::layer::Layer;
use super::lock::{Mode, PATIENCE};
use super::manifest::{self, Contents, Known};
use super::session::{self, Session};
use super::{CommitFlags, Durability, Kind, State, Store, id, verify};
use crate::archive::Digest;
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::layer::foreign;
use crate::sys::ids::IdMaps;
use crate::sys::xattr::Marks;
use crate::sys::{AsFd, BorrowedFd, OwnedFd, fs};
use crate::tree::Threads;
use crate::tree::remove_contents;
use crate::watch::Watch;

impl Store {
    /// Makes the layer `id` committed: it never changes again, and others may be built on it.
    /// EBUSY when it is mounted, unless [`CommitFlags::MOUNTED`] says that it may be; EROFS when it is committed already.
    pub fn commit(
        &self,
        id: &[u8],
        durability: Durability,
        flags: CommitFlags,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        (|| {
            self.writable()?;
            watch.check()?;
            self.commit_layer(id::check(id)?, durability, flags, watch)
        })()
        .map_err(|e| e.at(id).op("commit"))
    }

    pub(super) fn commit_layer(
        &self,
        id: &str,
        durability: Durability,
        flags: CommitFlags,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let mut layer = self.lock_layer(id, Mode::Exclusive, PATIENCE, watch)?;
        if layer.committed() {
            return Err(committed(id));
        }
        // Whether it is mounted is a question to the kernel that takes as long as a mount.
        let mounted = flags.contains(CommitFlags::MOUNTED);
        if !mounted {
            self.need_unmounted(&layer)?;
        }
        let session = session::of(&layer)?;
        let lost = matches!(session, Session::Lost { .. });
        if lost && !flags.contains(CommitFlags::SALVAGE) {
            let remedy = "look at it, then remove it or commit it with OVL_COMMIT_SALVAGE";
            return Err(session::unclean(&layer, remedy));
        }
        if layer.meta.kind == Kind::Overlay {
            self.need_marks()?;
            // It could not be mounted under a layer; and only while `work` is whole can it be read.
            let work = layer.open("work")?;
            let every = foreign::Files::Every;
            let below = self.stack(&layer)?.below();
            foreign::refuse(layer.open("upper")?, &work, &below, every, watch)?;
            if lost {
                session::keep_lost(&layer)?;
            }
            if session == (Session::Current { volatile: true }) {
                // It left data unwritten, which is synced whatever the durability.
                fs::sync_fs(&layer.fd).call("syncfs")?;
            }
            // What overlayfs keeps there serves a writable mount, which there will be no new one of.
            if !mounted {
                remove_contents(work, &mut Watch::default())?;
            }
        }
        self.seal(&mut layer, durability, watch)
    }

    /// Makes the layer committed; after an error it is as it was.
    fn seal(&self, layer: &mut Layer, durability: Durability, watch: &mut Watch<'_>) -> Result<()> {
        let before = layer.meta.clone();
        let sealed = self.try_seal(layer, durability, watch);
        if sealed.is_ok() {
            // It is told of writable layers alone: left behind it does no harm.
            let _ = session::clear(layer.fd.as_fd());
            return Ok(());
        }
        let tried = layer.committed();
        layer.meta = before;
        // It may have come as far as the name, which is on no disk: the layer stays writable.
        if !tried || layer.write_meta(false).is_ok() {
            let _ = fs::unlink(&layer.fd, manifest::FILE.as_bytes());
        }
        sealed
    }

    /// Counts, writes the manifest, syncs, and only then says that the layer is committed.
    fn try_seal(
        &self,
        layer: &mut Layer,
        durability: Durability,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let sync = durability != Durability::None;
        let verified = durability == Durability::Verified;
        let content = layer.open(layer.content())?;
        let mut meta = layer.meta.clone();
        let contents = if verified {
            Contents::Read
        } else {
            Contents::Skip
        };
        let known = Known {
            marks: self.marked(layer.meta.kind),
            tagged: None,
            notes: None,
            modes: None,
            threads: Threads::Auto,
        };
        let written = manifest::write(layer.fd.as_fd(), &content, known, contents, watch)
            .map_err(|error| super::may_be_stuck(error, &layer.fd, b"."))?;
        meta.manifest = Some(written.digest);
        meta.size = Some(match meta.kind {
            // A root over a parent has more than its own.
            Kind::Root if layer.parent.is_some() => self.own_size(layer, watch)?,
            _ => written.size,
        });
        meta.ids = IdMaps::read().word();
        meta.state = State::Committed;
        // What it was applied from, if anything, it may no longer be.
        meta.diff_id = None;
        meta.blob_digest = None;
        meta.skipped = [0; 3];
        (meta.entries, meta.tar_size, meta.blob_size) = (0, 0, 0);
        if sync {
            fs::sync_fs(&layer.fd).call("syncfs")?;
            if verified {
                self.verify(
                    layer.fd.as_fd(),
                    layer.meta.kind,
                    &content,
                    &written.digest,
                    watch,
                )?;
            }
        }
        layer.meta = meta;
        layer.write_meta(sync)
    }

    /// The marks that a layer's tree may hold.
    pub(super) fn marked(&self, kind: Kind) -> Option<Marks> {
        (kind == Kind::Overlay).then_some(self.marks)
    }

    /// Reads a tree back from the disk and holds it against its manifest; EIO when it differs.
    pub(super) fn verify(
        &self,
        layer: BorrowedFd<'_>,
        kind: Kind,
        content: &OwnedFd,
        manifest: &Digest,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let tree = verify::Tree {
            layer,
            content,
            marks: self.marked(kind),
            inherits: false,
            ids: true,
        };
        let compared = verify::compare(&tree, manifest, Contents::Disk, watch)?;
        match compared.manifest.iter().chain(&compared.problems).next() {
            None => Ok(()),
            Some(problem) => Err(Error::new(
                Code::Damaged,
                Errno::IO,
                format!("read back: {problem}"),
            )),
        }
    }
}

/// EROFS for a committed layer.
pub(super) fn committed(id: &str) -> Error {
    Error::new(Code::Committed, Errno::ROFS, "the layer is committed").at(id)
}
