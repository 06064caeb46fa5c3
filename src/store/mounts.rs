//! Mounting layers: which mount a caller gets, and when one ends.
//!
//! A mount is *held* (at a path, until its last handle is unmounted), *kept* (until somebody
//! unmounts it) or *detached* (a descriptor). Every handle holds the layer's mount lock shared:
//! that is the count, and it ends with the process. A layer has one writable overlay at most; who
//! mounts it again gets the one there is.

use super::handle::Mount;
use super::last_mount;
use super::layer::{Layer, MAX_LOWERS};
use super::lock::{self, Mode, PATIENCE};
use super::pin::{Pin, Pins, Terms};
use super::session::{self, Session};
use super::{Kind, MountFlags, MountOptions, Store, id, path_of};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::layer::foreign;
use crate::layer::view::Stack;
use crate::mount::{self, Lowers, Overlay, Upper, oracle};
use crate::sys::{AsFd, Own, OwnedFd, fs};
use crate::watch::Watch;

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
        } else if wish.label.is_some() {
            return Err(no_label());
        }
        let mut pins = self.pins(&layer)?;
        // One descriptor for both locks: a fork in between shares them, and does not keep one.
        let handle = Own::new(layer.open(layer.mount_lock())?);
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
        let content = layer.open(layer.content())?;
        if !layer.committed() {
            self.need_free_upper(&layer, &content, &pins, used)?;
        }
        // Nobody writes to it while the mount is there. Of a writable one the disk was looked at.
        let still = layer.committed() || (!wish.terms.writable && fs::is_read_only(&layer.fd));
        if !still {
            self.ready(&layer, &wish)?;
        }
        if !wish.terms.writable {
            let mount = self.make(&layer, &content, &pins, still, &wish)?;
            return self.place(&layer, mount, handle, &pins, &wish);
        }
        let before = session::begin(&layer, &content, &pins, wish.terms.volatile)?;
        let mounted = self
            .make(&layer, &content, &pins, still, &wish)
            .and_then(|mount| self.place(&layer, mount, handle, &pins, &wish));
        if mounted.is_err() {
            session::undo(&layer, before);
        }
        mounted
    }

    /// A writable `root` is its own mount; elsewhere it is bound.
    fn mount_itself(
        &self,
        layer: &Layer,
        handle: Own,
        pins: &Pins,
        wish: &Wish<'_>,
    ) -> Result<Mount> {
        let root = layer.open("root")?;
        let before = session::begin(layer, &root, pins, wish.terms.volatile)?;
        let mounted = self.bind_itself(layer, root, handle, pins, wish);
        if mounted.is_err() {
            session::undo(layer, before);
        }
        mounted
    }

    fn bind_itself(
        &self,
        layer: &Layer,
        root: OwnedFd,
        handle: Own,
        pins: &Pins,
        wish: &Wish<'_>,
    ) -> Result<Mount> {
        if !wish.detached && wish.target.is_none() {
            let path = path_of(root.as_fd())?;
            return Ok(Mount::new(
                path,
                Some(Own::new(root)),
                None,
                handle,
                self.marks,
            ));
        }
        let mount = mount::bind(root.as_fd(), false, Some(pins.dir.as_fd()))?;
        self.place(layer, mount, handle, pins, wish)
    }

    /// The layer is mounted here already: that mount, or a bind of it at another path.
    fn mount_again(&self, pins: Pins, mut pin: Pin, handle: Own, wish: &Wish<'_>) -> Result<Mount> {
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
        let root = pin.root_at(&pin.path)?;
        let read_only = !wish.terms.writable && pin.terms.writable;
        let here = wish.target.is_none() || wish.target.is_some_and(|t| same_place(t, &root));
        if here && !wish.detached && !read_only {
            pins.share(&pin)?;
            if wish.terms.kept && !pin.terms.kept {
                pins.keep(&pin)?;
                pin.terms.kept = true;
            }
            let dir = Own::new(fs::open_dir_trusted(&pins.dir, b".").call("open")?);
            let path = pin.path.clone();
            return Ok(Mount::new(
                path,
                Some(Own::new(root)),
                Some((dir, pin)),
                handle,
                self.marks,
            ));
        }
        let bind = mount::bind(root.as_fd(), read_only, Some(pins.dir.as_fd()))?;
        if wish.detached {
            return Ok(Mount::new(
                Vec::new(),
                Some(Own::new(bind)),
                None,
                handle,
                self.marks,
            ));
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
    fn need_free_upper(
        &self,
        layer: &Layer,
        upper: &OwnedFd,
        pins: &Pins,
        used: bool,
    ) -> Result<()> {
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
        // Here, but not writable.
        if let Some(view) = pins.here.first() {
            return Err(Error::new(
                Code::Mounted,
                Errno::BUSY,
                "the layer is mounted read-only: end that mount first",
            )
            .at(&view.path));
        }
        // Asked of an upper that is held, the kernel says so in its log, too.
        if used || pins.elsewhere.iter().any(|pin| pin.certain) {
            return elsewhere();
        }
        // A descriptor that was passed on is no handle, other programs know no locks, and have work
        // directories of their own, and other namespaces keep copies of mounts: only the kernel can
        // say, in about a millisecond.
        match self.upper_in_use(upper, Some(&pins.dir))? {
            oracle::InUse::Busy => elsewhere(),
            oracle::InUse::Free => {
                for pin in &pins.elsewhere {
                    let _ = fs::unlink(&pins.dir, pin.name.as_bytes());
                }
                Ok(())
            }
            // Where the kernel cannot be asked, a pin is the only word there is.
            oracle::InUse::Unknown(_) if pins.elsewhere.is_empty() => Ok(()),
            oracle::InUse::Unknown(_) => elsewhere(),
        }
    }

    /// Makes the mount, detached, of the layer whose open tree is `content`. `still`: nobody writes to
    /// that.
    fn make(
        &self,
        layer: &Layer,
        content: &OwnedFd,
        pins: &Pins,
        still: bool,
        wish: &Wish<'_>,
    ) -> Result<OwnedFd> {
        if layer.meta.kind == Kind::Root {
            return mount::bind(content.as_fd(), true, Some(pins.dir.as_fd()));
        }
        let (stack, known) = self.stack_to_open(layer)?;
        let make = |stack: &Stack| self.make_of(stack, layer, content, pins, still, wish);
        match make(&stack) {
            // Somebody changed by hand what nobody can by the library.
            Err(error) if known && error.errno() == Errno::NOENT => {
                self.known.forget();
                make(&self.stack(layer)?)
            }
            made => made,
        }
    }

    fn make_of(
        &self,
        stack: &Stack,
        layer: &Layer,
        upper: &OwnedFd,
        pins: &Pins,
        still: bool,
        wish: &Wish<'_>,
    ) -> Result<OwnedFd> {
        // One lower too many for the kernel, the top tree is the upper of a mount that never
        // writes. On a disk that is read-only the kernel takes no upper.
        let as_upper = !still || stack.trees().len() > MAX_LOWERS as usize;
        let below = usize::from(as_upper);
        let lowers = &stack.trees()[below..];
        let open = |at: usize| {
            let tree = &lowers[at];
            let opened = tree.open(b"").call_at("open", tree.name());
            // A chain that is damaged there says so better.
            opened.map_err(|error| self.stack(layer).err().unwrap_or(error))
        };
        let work = layer.open("work")?;
        let mut plan = Overlay::new(Lowers::new(lowers.len(), open), self.marks);
        plan.read_only = !wish.terms.writable;
        plan.volatile = wish.terms.volatile;
        plan.label = wish.label.map(<[u8]>::to_vec);
        plan.source = format!("ovl:{}", layer.id).into_bytes();
        plan.scratch = Some(pins.dir.as_fd());
        if !layer.committed() {
            foreign::refuse(
                layer.open("upper")?,
                &work,
                &stack.below(),
                foreign::Files::Noted,
                &mut Watch::default(),
            )?;
        }
        if as_upper {
            plan.upper = Some(Upper {
                upper: upper.as_fd(),
                work: work.as_fd(),
            });
        }
        match mount::overlay(&plan) {
            Ok(mount) => {
                // The owner of the store could neither look at it nor mount the layer otherwise, when
                // root has mounted it.
                let made = pins.maker().hand_over(&work, &MADE);
                made.call_at("chown", "work")?;
                if as_upper && !layer.committed() {
                    last_mount::note(&work);
                }
                Ok(mount.fd)
            }
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

    /// Makes a layer that was mounted volatile fit to be mounted again, where nothing can be lost.
    fn ready(&self, layer: &Layer, wish: &Wish<'_>) -> Result<()> {
        match session::of(layer)? {
            Session::Lost { volatile: true } => Err(session::unclean(
                layer,
                "it was mounted volatile: remove it, or commit it with OVL_COMMIT_SALVAGE",
            )),
            // The kernel keeps the upper to nobody until its mark is gone.
            Session::Current { volatile: true } => {
                // It changes the layer, whatever the mount may.
                self.writable()?;
                match wish.terms.volatile {
                    true => session::drop_mark(layer),
                    false => session::settle(layer),
                }
            }
            _ => Ok(()),
        }
    }

    /// Attaches a new mount where it is wanted.
    fn place(
        &self,
        layer: &Layer,
        mount: OwnedFd,
        handle: Own,
        pins: &Pins,
        wish: &Wish<'_>,
    ) -> Result<Mount> {
        if wish.detached {
            return Ok(Mount::new(
                Vec::new(),
                Some(Own::new(mount)),
                None,
                handle,
                self.marks,
            ));
        }
        if let Some(target) = wish.target {
            return attach(mount, target, handle, pins, wish);
        }
        match pins.maker().mkdir(&layer.fd, b"merged") {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(Errno::ROFS) => {
                return Err(Error::new(
                    Code::System,
                    Errno::ROFS,
                    "the layer has no place of its own to be mounted at, and the store's file \
                     system is read-only: name a path, or take the mount detached",
                ));
            }
            Err(errno) => {
                let error = Err(errno).call_at("mkdir", "merged");
                return error.map_err(|e| super::may_be_stuck(e, &layer.fd, b"merged"));
            }
        }
        let path = [path_of(layer.fd.as_fd())?, b"/merged".to_vec()].concat();
        attach(mount, &path, handle, pins, wish)
    }
}

/// What overlayfs makes in its work directory.
const MADE: [&[u8]; 3] = [b"work", b"work/incompat", b"work/incompat/volatile"];

/// How long a mount waits, with the pins locked, for one who keeps mounts away.
const MOMENT: std::time::Duration = std::time::Duration::from_millis(200);

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
    handle: Own,
    pins: &Pins,
    wish: &Wish<'_>,
) -> Result<Mount> {
    let place = fs::open_dir_trusted(rustix::fs::CWD, target).call_at("open", target)?;
    let path = path_of(place.as_fd())?;
    // All that can fail comes before it is attached: afterwards nobody would hold it.
    let root = Own::new(fs::open_dir_trusted(&mount, b".").call_at("open", &path)?);
    let dir = Own::new(fs::open_dir_trusted(&pins.dir, b".").call("open")?);
    // The pin first: a mount that a kill leaves without one would never be found.
    let pin = pins.add(mount.as_fd(), &path, wish.terms.clone())?;
    if let Err(error) = mount::attach_at_path(mount.as_fd(), &place, target) {
        pins.forget(&pin.name);
        return Err(error.at(target));
    }
    Ok(Mount::new(
        path,
        Some(root),
        Some((dir, pin)),
        handle,
        pins.marks,
    ))
}

/// A label is an option of an overlay; a `root` layer is mounted without one.
pub(super) fn no_label() -> Error {
    Error::new(
        Code::Unsupported,
        Errno::OPNOTSUPP,
        "a label needs an overlay: make a layer over this one",
    )
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
