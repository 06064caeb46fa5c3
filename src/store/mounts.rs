//! Mounting layers: which mount a caller gets, and when one ends.
//!
//! A mount is *held* (at a path, until its last handle is unmounted), *kept* (until somebody
//! unmounts it) or *detached* (a descriptor). Every handle holds the layer's mount lock shared:
//! that is the count, and it ends with the process. A layer has one writable overlay at most; who
//! mounts it again gets the one there is.

use super::layer::{Layer, MAX_LOWERS};
use super::lock::{self, Mode, PATIENCE};
use super::pin::{self, Pin, Pins, Terms};
use super::stage::Stage;
use super::{Kind, MountFlags, MountOptions, Store, UnmountFlags, id, path_of};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::mount::{self, Lowers, Overlay, Upper, oracle};
use crate::sys::xattr::Marks;
use crate::sys::{AsFd, BorrowedFd, OwnedFd, fs, xattr};
use crate::tree::remove_tree;
use crate::watch::Watch;

/// A handle of a mounted layer. Dropping it drops the handle alone: a held mount that nobody holds
/// any more is ended by the next call that meets it.
pub struct Mount {
    path: Vec<u8>,
    /// The mount's root; closed while it is unmounted, since it would keep it busy.
    root: Option<OwnedFd>,
    /// Where the layer's pins are, and the one of this mount; none for a detached mount.
    pin: Option<(OwnedFd, Pin)>,
    /// The layer's mount lock.
    _lock: OwnedFd,
}

impl Mount {
    /// Where it is; empty for a detached mount.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Its root directory.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd)
    }

    /// Ends this use of the mount; the last use of a held mount unmounts it, and any of a kept
    /// one, which is EBUSY while other handles use it. After an error the handle is as it was.
    #[allow(clippy::result_large_err)] // The handle goes back to its owner.
    pub fn unmount(mut self, flags: UnmountFlags) -> std::result::Result<(), (Mount, Error)> {
        match self.end(flags.contains(UnmountFlags::LAZY)) {
            Ok(()) => Ok(()),
            Err(error) => {
                let error = error.at(&self.path).op("unmount");
                Err((self, error))
            }
        }
    }

    fn end(&mut self, lazy: bool) -> Result<()> {
        let Some((dir, pin)) = &self.pin else {
            return Ok(());
        };
        let dir = fs::open_dir_trusted(dir, b".").call("open")?;
        lock::lock(&dir, Mode::Exclusive, PATIENCE, &mut Watch::default())?;
        if !lock::try_lock(&pin.file, Mode::Exclusive)? {
            // A failed conversion may have lost the lock that was there.
            lock::try_lock(&pin.file, Mode::Shared)?;
            if pin.terms.kept {
                return Err(Error::new(
                    Code::Mounted,
                    Errno::BUSY,
                    "other handles use the mount",
                ));
            }
            return Ok(());
        }
        // Closed it could not be opened again under what covers it.
        let there = fs::open_dir_trusted(rustix::fs::CWD, &pin.path);
        if let Ok(Err(error)) = there.map(|there| covered(&there, pin)) {
            lock::try_lock(&pin.file, Mode::Shared)?;
            return Err(error);
        }
        self.root = None;
        let ended = pin::end(dir.as_fd(), pin, lazy);
        if ended.is_err() {
            lock::try_lock(&pin.file, Mode::Shared)?;
            self.root = fs::open_dir_trusted(rustix::fs::CWD, &pin.path).ok();
        }
        ended
    }
}

/// What is asked of a mount.
struct Wish<'a> {
    terms: Terms,
    detached: bool,
    target: Option<&'a [u8]>,
    label: Option<&'a [u8]>,
}

impl Store {
    /// Mounts the layer `id`. A committed layer can only be mounted read-only (else EROFS); a
    /// layer that is mounted where the caller cannot see it is EBUSY.
    pub fn mount(&self, id: &[u8], options: &MountOptions<'_>) -> Result<Mount> {
        self.mount_layer(id, options)
            .map_err(|e| e.at(id).op("mount"))
    }

    fn mount_layer(&self, id: &[u8], options: &MountOptions<'_>) -> Result<Mount> {
        let id = id::check(id)?;
        let wish = wish(options)?;
        if wish.terms.writable {
            self.writable()?;
        }
        let layer = self.lock_layer(id, Mode::Shared, PATIENCE, &mut Watch::default())?;
        if layer.committed() && wish.terms.writable {
            return Err(Error::new(
                Code::Committed,
                Errno::ROFS,
                "the layer is committed: mount it read-only, or make a layer over it",
            ));
        }
        if layer.meta.kind == Kind::Overlay {
            self.need_marks()?;
        }
        let mut pins = self.pins(&layer)?;
        // One descriptor for both locks: a fork in between shares them, and does not keep one.
        let handle = layer.open(layer.mount_lock())?;
        let used = !lock::try_lock(&handle, Mode::Exclusive)?;
        pins.end_leftovers()?;
        let watch = &mut Watch::default();
        lock::lock(&handle, Mode::Shared, MOMENT, watch).map_err(|e| e.at(id))?;
        if layer.meta.kind == Kind::Root && wish.terms.writable {
            return self.mount_itself(&layer, handle, &pins, &wish);
        }
        if let Some(at) = pins
            .here
            .iter()
            .position(|pin| pin.terms.writable || !wish.terms.writable)
        {
            let pin = pins.here.swap_remove(at);
            return self.mount_again(pins, pin, handle, &wish);
        }
        if !layer.committed() {
            self.need_free_upper(&layer, &pins, used)?;
        }
        let mount = self.make(&layer, &wish)?;
        self.place(&layer, mount, handle, &pins, &wish)
    }

    /// A writable `root` is its own mount; elsewhere it is bound.
    fn mount_itself(
        &self,
        layer: &Layer,
        handle: OwnedFd,
        pins: &Pins,
        wish: &Wish<'_>,
    ) -> Result<Mount> {
        let root = layer.open("root")?;
        if !wish.detached && wish.target.is_none() {
            let path = path_of(root.as_fd())?;
            return Ok(Mount {
                path,
                root: Some(root),
                pin: None,
                _lock: handle,
            });
        }
        let scratch = layer.open("pin")?;
        let mount = mount::bind(root.as_fd(), false, Some(scratch.as_fd()))?;
        self.place(layer, mount, handle, pins, wish)
    }

    /// The layer is mounted here already: that mount, or a bind of it at another path.
    fn mount_again(
        &self,
        pins: Pins,
        mut pin: Pin,
        handle: OwnedFd,
        wish: &Wish<'_>,
    ) -> Result<Mount> {
        let agrees = pin.terms.label == wish.terms.label
            && (pin.terms.volatile == wish.terms.volatile || !wish.terms.writable);
        if !agrees {
            return Err(Error::new(
                Code::Mounted,
                Errno::BUSY,
                "the layer is mounted with other options",
            )
            .at(&pin.path));
        }
        let root = fs::open_dir_trusted(rustix::fs::CWD, &pin.path).call_at("open", &pin.path)?;
        covered(&root, &pin)?;
        let read_only = !wish.terms.writable && pin.terms.writable;
        let here = wish.target.is_none() || wish.target.is_some_and(|t| same_place(t, &root));
        if here && !wish.detached && !read_only {
            pins.share(&pin)?;
            if wish.terms.kept && !pin.terms.kept {
                pins.keep(&pin)?;
                pin.terms.kept = true;
            }
            let dir = fs::open_dir_trusted(&pins.dir, b".").call("open")?;
            let path = pin.path.clone();
            return Ok(Mount {
                path,
                root: Some(root),
                pin: Some((dir, pin)),
                _lock: handle,
            });
        }
        let bind = mount::bind(root.as_fd(), read_only, Some(pins.dir.as_fd()))?;
        if wish.detached {
            return Ok(Mount {
                path: Vec::new(),
                root: Some(bind),
                pin: None,
                _lock: handle,
            });
        }
        match wish.target {
            Some(target) => attach(bind, target, handle, &pins, wish),
            None => Err(Error::new(
                Code::Mounted,
                Errno::BUSY,
                "the layer is mounted writable at its own place: name a path for a read-only view",
            )),
        }
    }

    /// EBUSY when an overlay that the caller cannot see holds the layer's upper.
    fn need_free_upper(&self, layer: &Layer, pins: &Pins, used: bool) -> Result<()> {
        let elsewhere = || {
            Err(Error::new(
                Code::Mounted,
                Errno::BUSY,
                "the layer is mounted where this process cannot see it: \
                 have its holder pass the descriptor",
            ))
        };
        if layer.meta.kind != Kind::Overlay {
            return Ok(());
        }
        if used {
            return elsewhere();
        }
        // The kernel makes this with the first overlay: without it there was none, whoever asks.
        let work = layer.open("work")?;
        if matches!(fs::stat_at(&work, b"work"), Err(Errno::NOENT)) {
            return Ok(());
        }
        // A descriptor that was passed on is no handle, other programs know no locks, and other
        // namespaces keep copies of mounts: only the kernel can say, in about a millisecond.
        match oracle::upper_in_use(layer.open("upper")?.as_fd(), layer.open("child")?.as_fd()) {
            oracle::InUse::Busy => elsewhere(),
            _ => {
                for name in &pins.elsewhere {
                    let _ = fs::unlink(&pins.dir, name.as_bytes());
                }
                Ok(())
            }
        }
    }

    /// Makes the mount, detached.
    fn make(&self, layer: &Layer, wish: &Wish<'_>) -> Result<OwnedFd> {
        let scratch = layer.open("pin")?;
        if layer.meta.kind == Kind::Root {
            let root = layer.open("root")?;
            return mount::bind(root.as_fd(), true, Some(scratch.as_fd()));
        }
        let stack = self.stack(layer)?;
        // One lower too many for the kernel, the top tree is the upper of a mount that never
        // writes.
        let as_upper = !layer.committed() || stack.trees().len() > MAX_LOWERS as usize;
        let below = usize::from(as_upper);
        let lowers = &stack.trees()[below..];
        let open = |at: usize| {
            let tree = &lowers[at];
            tree.open(b"").call_at("open", tree.name())
        };
        let upper = layer.open("upper")?;
        let work = layer.open("work")?;
        let mut plan = Overlay::new(Lowers::new(lowers.len(), open), self.marks);
        plan.read_only = !wish.terms.writable;
        plan.volatile = wish.terms.volatile;
        plan.label = wish.label.map(<[u8]>::to_vec);
        plan.source = format!("ovl:{}", layer.id).into_bytes();
        plan.scratch = Some(scratch.as_fd());
        if as_upper {
            refuse_foreign(&upper, self.marks).map_err(|e| e.at(&layer.id))?;
            self.clear_volatile(&work, wish)?;
            plan.upper = Some(Upper {
                upper: upper.as_fd(),
                work: work.as_fd(),
            });
        }
        match mount::overlay(&plan) {
            Ok(mount) => Ok(mount.fd),
            Err(error) if !layer.committed() && matches!(self.holds_upper(), Ok(false)) => {
                Err(Error::new(
                    Code::Unsupported,
                    Errno::OPNOTSUPP,
                    format!(
                        "the store's file system cannot hold an overlay's upper: put the store on \
                         a volume, a tmpfs or a loop file ({})",
                        error.message()
                    ),
                ))
            }
            Err(error) => Err(error),
        }
    }

    /// The mark of a volatile mount: the kernel refuses the upper until it is gone.
    fn clear_volatile(&self, work: &OwnedFd, wish: &Wish<'_>) -> Result<()> {
        let Ok(dir) = fs::open_dir(work, b"work/incompat") else {
            return Ok(());
        };
        if fs::stat_at(&dir, b"volatile").is_err() {
            return Ok(());
        }
        if !wish.terms.volatile {
            return Err(Error::new(
                Code::Unsupported,
                Errno::INVAL,
                "the layer was mounted volatile and may have lost data in a crash: \
                 mount it volatile again, or commit or remove it",
            ));
        }
        drop(dir);
        let work = fs::open_dir(work, b"work").call_at("open", "work")?;
        remove_tree(&work, b"incompat", &mut Watch::default())
    }

    /// Attaches a new mount where it is wanted.
    fn place(
        &self,
        layer: &Layer,
        mount: OwnedFd,
        handle: OwnedFd,
        pins: &Pins,
        wish: &Wish<'_>,
    ) -> Result<Mount> {
        if wish.detached {
            return Ok(Mount {
                path: Vec::new(),
                root: Some(mount),
                pin: None,
                _lock: handle,
            });
        }
        if let Some(target) = wish.target {
            return attach(mount, target, handle, pins, wish);
        }
        match fs::mkdir(&layer.fd, b"merged", 0o700) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).call_at("mkdir", "merged"),
        }
        let path = [path_of(layer.fd.as_fd())?, b"/merged".to_vec()].concat();
        attach(mount, &path, handle, pins, wish)
    }

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
        let leftovers = pins.end_leftovers()?;
        let mut ended = leftovers;
        for pin in &pins.here {
            if only.is_some_and(|name| name != pin.name) {
                continue;
            }
            if !lock::try_lock(&pin.file, Mode::Exclusive)? {
                return Err(
                    Error::new(Code::Mounted, Errno::BUSY, "handles use the mount").at(&pin.path),
                );
            }
            pin::end(pins.dir.as_fd(), pin, lazy)?;
            ended += 1;
        }
        if ended == 0 {
            Err(not_mounted())
        } else {
            Ok(())
        }
    }

    fn unmount_path(&self, path: &[u8], lazy: bool) -> Result<()> {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let mode = rustix::fs::Mode::empty();
        let root = rustix::fs::open(path, flags, mode).call_at("open", path)?;
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
            if fs::stat_at(&self.layers, pin.as_bytes()).is_ok() {
                return self.unmount_layer(&id, Some(&name), lazy);
            }
        }
        Err(Error::new(
            Code::System,
            Errno::INVAL,
            "it is no mount of this store",
        ))
    }

    /// EBUSY when the layer is mounted or a handle is open. Mounts that killed processes left are
    /// ended.
    /// While the result is kept, nobody mounts it.
    pub(super) fn need_unmounted(&self, layer: &Layer) -> Result<OwnedFd> {
        let mut pins = self.pins(layer)?;
        let alone = layer.open(layer.mount_lock())?;
        if !lock::try_lock(&alone, Mode::Exclusive)? {
            return Err(Error::new(
                Code::Mounted,
                Errno::BUSY,
                "a mount handle of it is open",
            ));
        }
        pins.end_leftovers()?;
        if let Some(pin) = pins.here.first() {
            let at = pin.path.escape_ascii();
            return Err(Error::new(
                Code::Mounted,
                Errno::BUSY,
                format!("it is mounted at {at}"),
            ));
        }
        if layer.meta.kind == Kind::Overlay {
            let upper = layer.open("upper")?;
            let answer = oracle::upper_in_use(upper.as_fd(), layer.open("child")?.as_fd());
            if answer == oracle::InUse::Busy {
                return Err(Error::new(
                    Code::Mounted,
                    Errno::BUSY,
                    "an overlay in another namespace, or a detached one, holds it",
                ));
            }
        }
        Ok(alone)
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

    /// Whether the home can hold an upper: tried once, by making an overlay in `stage/`.
    pub(super) fn holds_upper(&self) -> Result<bool> {
        self.holds_upper
            .get_or_try_init(|| self.try_upper())
            .copied()
    }

    fn try_upper(&self) -> Result<bool> {
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
            Ok(_) => Ok(true),
            // Nobody may mount here; whoever may later decides by the file system.
            Err(error) if error.errno() == Errno::PERM => {
                let kind = rustix::fs::fstatfs(&upper).call("fstatfs")?.f_type as i64;
                let marks = xattr::set(&upper, self.marks.opaque(), b"y").is_ok();
                Ok(marks && !NO_UPPER.contains(&kind))
            }
            Err(error) => {
                self.warn(&format!(
                    "the store cannot hold an upper: {}",
                    error.message()
                ));
                Ok(false)
            }
        }
    }
}

/// How long a mount waits, with the pins locked, for one who keeps mounts away.
const MOMENT: std::time::Duration = std::time::Duration::from_millis(200);

/// File systems that cannot hold an upper: overlayfs itself, NFS.
const NO_UPPER: [i64; 2] = [0x794c_7630, 0x6969];

fn wish<'a>(options: &MountOptions<'a>) -> Result<Wish<'a>> {
    let flags = options.flags;
    let detached = flags.contains(MountFlags::DETACHED);
    if detached && (options.target.is_some() || flags.contains(MountFlags::KEEP)) {
        return Err(Error::invalid(
            "a detached mount is at no path and cannot be kept",
        ));
    }
    let label = options.label.filter(|label| !label.is_empty());
    let writable = !flags.contains(MountFlags::READ_ONLY);
    Ok(Wish {
        terms: Terms {
            kept: flags.contains(MountFlags::KEEP),
            writable,
            volatile: writable && flags.contains(MountFlags::VOLATILE),
            label: label.unwrap_or_default().escape_ascii().to_string(),
        },
        detached,
        target: options.target,
        label,
    })
}

/// Attaches `mount` to the directory `target`, and pins it.
fn attach(
    mount: OwnedFd,
    target: &[u8],
    handle: OwnedFd,
    pins: &Pins,
    wish: &Wish<'_>,
) -> Result<Mount> {
    let place = fs::open_dir_trusted(rustix::fs::CWD, target).call_at("open", target)?;
    let path = path_of(place.as_fd())?;
    // The pin first: a mount that a kill leaves without one would never be found.
    let pin = pins.add(mount.as_fd(), &path, wish.terms.clone())?;
    if let Err(error) = mount::attach(mount.as_fd(), place.as_fd()) {
        let _ = fs::unlink(&pins.dir, pin.name.as_bytes());
        return Err(error.at(target));
    }
    drop(place);
    drop(mount);
    let root = fs::open_dir_trusted(rustix::fs::CWD, &path).call_at("open", &path)?;
    let dir = fs::open_dir_trusted(&pins.dir, b".").call("open")?;
    Ok(Mount {
        path,
        root: Some(root),
        pin: Some((dir, pin)),
        _lock: handle,
    })
}

/// Whether the caller's path leads to this mount.
fn same_place(target: &[u8], root: &OwnedFd) -> bool {
    let id = |fd: &OwnedFd| mount::identity(fd.as_fd()).ok();
    match fs::open_dir_trusted(rustix::fs::CWD, target) {
        Ok(fd) => {
            id(&fd) == id(root)
                && matches!((fs::stat(&fd), fs::stat(root)), (Ok(a), Ok(b)) if a.same_inode(&b))
        }
        Err(_) => false,
    }
}

/// An upper written elsewhere may hold a root that overlayfs would read otherwise than this store
/// does. What lies deeper is refused where it is met: the mount says `redirect_dir=nofollow`.
fn refuse_foreign(upper: &OwnedFd, marks: Marks) -> Result<()> {
    for name in ["redirect", "metacopy"] {
        if xattr::get(upper, &marks.attribute(name))
            .call("fgetxattr")?
            .is_some()
        {
            return Err(Error::new(
                Code::Unsupported,
                Errno::OPNOTSUPP,
                format!("the upper was written under overlayfs's {name}"),
            ));
        }
    }
    Ok(())
}

/// EBUSY when what is found at a mount's path is another mount, over it.
fn covered(there: &OwnedFd, pin: &Pin) -> Result<()> {
    let found = mount::identity(there.as_fd())?;
    if found == pin.id || mount::find(pin.id)?.is_none() {
        return Ok(());
    }
    Err(Error::new(
        Code::Mounted,
        Errno::BUSY,
        "the layer is mounted, and something else is mounted over it",
    )
    .at(&pin.path))
}

fn not_mounted() -> Error {
    Error::new(Code::System, Errno::INVAL, "it is not mounted")
}
