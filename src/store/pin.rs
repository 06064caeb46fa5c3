//! Mounts at paths, as the store remembers them: `pin/<mount id>.<namespace id>`.
//!
//! A pin is believed only while the kernel knows that mount. Every handle that uses the mount
//! holds its pin locked, shared: a pin of a held mount whose lock is free was left by somebody who
//! died, and the mount may be ended. A kept mount stays without a handle.

use super::layer::Layer;
use super::lock::{self, Mode};
use super::maker::Maker;
use super::reach;
use super::session;
use super::text;
use super::{Kind, Store};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::mount::{self, MountId};
use crate::sys::dir::DirBuf;
use crate::sys::xattr::Marks;
use crate::sys::{AsFd, BorrowedFd, Own, OwnedFd, SysCall, fs};
use once_cell::sync::OnceCell;
use rustix::fs::OFlags;

/// What a pin's file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Stays until somebody unmounts it.
    pub kept: bool,
    /// It can be written.
    pub writable: bool,
    /// It never syncs.
    pub volatile: bool,
    /// SELinux label, escaped.
    pub label: String,
}

/// The first line of a pin: both forms have one length.
const KEPT: &str = "mode=kept\n";
const HELD: &str = "mode=held\n";

impl Terms {
    fn write(&self, id: MountId, boot: &str) -> String {
        let word = |yes: bool, a: &str, b: &str| if yes { a.to_string() } else { b.to_string() };
        format!(
            "{}view={}\nvolatile={}\nunique={}\nlabel={}\nboot={boot}\n",
            word(self.kept, KEPT, HELD),
            word(self.writable, "rw", "ro"),
            u8::from(self.volatile),
            u8::from(id.unique),
            self.label
        )
    }
}

/// A mount that exists, and its pin.
pub struct Pin {
    /// The pin's name.
    pub name: String,
    /// Its file; a lock on it is a use of the mount.
    pub file: Own,
    /// What was agreed.
    pub terms: Terms,
    /// The mount.
    pub id: MountId,
    /// Where it is, in the caller's namespace.
    pub path: Vec<u8>,
}

/// What the pins of a layer say.
pub struct Pins {
    /// The directory, locked: nobody else mounts or unmounts the layer.
    pub dir: OwnedFd,
    /// The layer's mounts in the caller's namespace.
    pub here: Vec<Pin>,
    /// Pins of mounts in other namespaces that the kernel still knows, or cannot be asked about.
    pub elsewhere: Vec<Elsewhere>,
    boot: &'static str,
    /// The store's.
    pub marks: Marks,
    maker: OnceCell<Maker>,
}

/// A pin of a mount in another namespace.
pub struct Elsewhere {
    /// The pin's name.
    pub name: String,
    /// The kernel says that it is there; otherwise nobody can tell.
    pub certain: bool,
}

impl Store {
    /// Locks and reads the pins of a layer. Those whose mounts have ended are taken away.
    pub(super) fn pins(&self, layer: &Layer) -> Result<Pins> {
        self.pins_in(layer, layer.open("pin")?)
    }

    /// The same, of the open directory `dir`.
    pub(super) fn pins_in(&self, layer: &Layer, dir: OwnedFd) -> Result<Pins> {
        let mut watch = crate::watch::Watch::default();
        lock::lock(&dir, Mode::Exclusive, lock::PATIENCE, &mut watch)
            .map_err(|e| e.at(&layer.id))?;
        let mut pins = Pins {
            here: Vec::new(),
            elsewhere: Vec::new(),
            boot: boot_id()?,
            marks: self.marks,
            maker: OnceCell::new(),
            dir,
        };
        let names = DirBuf::small()
            .sorted_names(&pins.dir)
            .call_at("getdents64", "pin")?;
        if names.is_empty() {
            self.adopt_strays(layer, &mut pins, &[])?;
            return Ok(pins);
        }
        let here = mount::namespace_id()?;
        // Pins whose mounts went with their namespaces.
        let mut orphans = Vec::new();
        for name in names {
            let Ok(name) = String::from_utf8(name) else {
                continue;
            };
            let Some((id, namespace)) = parse(&name) else {
                continue;
            };
            let said = said(&pins.dir, &name)?.filter(|said| said.is_of(pins.boot));
            if let (Some(said), true) = (&said, namespace != here) {
                match mount::exists_in(id, namespace) {
                    Some(certain) => pins.elsewhere.push(Elsewhere { name, certain }),
                    None => orphans.push((name, said.terms.clone())),
                }
                continue;
            }
            let pin = match said {
                Some(said) if namespace == here => {
                    self.read_pin(layer, &pins.dir, &name, id, said)?
                }
                _ => None,
            };
            match pin {
                Some(pin) => pins.here.push(pin),
                None => {
                    let _ = fs::unlink(&pins.dir, name.as_bytes());
                }
            }
        }
        // What is still here of their mounts has a pin of its own before they go.
        let terms: Vec<Terms> = orphans.iter().map(|(_, terms)| terms.clone()).collect();
        self.adopt_strays(layer, &mut pins, &terms)?;
        for (name, _) in orphans {
            let _ = fs::unlink(&pins.dir, name.as_bytes());
        }
        // The newest first: it may cover others at the same path, and only what is on top can end.
        pins.here.sort_by_key(|pin| std::cmp::Reverse(pin.id.id));
        Ok(pins)
    }

    /// The mount of a pin, if it is there and can be the layer's: ids begin anew with every boot,
    /// and before Linux 6.8 within one.
    pub(super) fn read_pin(
        &self,
        layer: &Layer,
        dir: &OwnedFd,
        name: &str,
        id: u64,
        said: Said,
    ) -> Result<Option<Pin>> {
        let id = MountId {
            id,
            unique: said.unique,
        };
        let Some(found) = mount::find(id)? else {
            return Ok(None);
        };
        let ours = match &found.fs_type[..] {
            // Told nothing but that it is there. Only a number that never comes back says so.
            b"" => true,
            b"overlay" => found.source == format!("ovl:{}", layer.id).as_bytes(),
            _ => {
                let home = mount::find(mount::identity(dir.as_fd())?)?;
                layer.meta.kind == Kind::Root && home.is_some_and(|home| home.dev == found.dev)
            }
        };
        if !ours {
            return Ok(None);
        }
        let file = fs::open_below(dir, name.as_bytes(), OFlags::RDONLY, fs::Cross::Never);
        let file = file.map(Own::new).call_at("open", name)?;
        Ok(Some(Pin {
            name: name.to_string(),
            file,
            terms: said.terms,
            id,
            path: found.path,
        }))
    }
}

/// What a pin's file says.
pub(super) struct Said {
    pub terms: Terms,
    unique: bool,
    /// Empty where its maker could not see it; none where the file is not whole.
    boot: Option<String>,
}

impl Said {
    /// Whether it can be of the boot `now`. Where one of the two cannot be told, the kernel's word on
    /// the mount is all there is.
    pub fn is_of(&self, now: &str) -> bool {
        let is = |boot: &String| boot == now || boot.is_empty() || now.is_empty();
        self.boot.as_ref().is_some_and(is)
    }
}

/// Reads a pin's file; one that is not whole says nothing. One that cannot be read now may be that
/// of a mount.
pub(super) fn said(dir: &OwnedFd, name: &str) -> Result<Option<Said>> {
    match text::read(dir, name) {
        Ok(data) => Ok(read_said(&data)),
        Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR | Errno::FBIG) => Ok(None),
        Err(errno) => Err(errno).call_at("read", name),
    }
}

fn read_said(data: &[u8]) -> Option<Said> {
    let pairs = text::pairs(data).ok()?;
    let mut said = Said {
        terms: Terms {
            kept: false,
            writable: false,
            volatile: false,
            label: String::new(),
        },
        unique: false,
        boot: None,
    };
    for (key, value) in pairs {
        match (key.as_str(), value.as_str()) {
            ("mode", mode) => said.terms.kept = mode == "kept",
            ("view", view) => said.terms.writable = view == "rw",
            ("volatile", flag) => said.terms.volatile = flag == "1",
            ("unique", flag) => said.unique = flag == "1",
            ("label", label) => said.terms.label = label.to_string(),
            ("boot", boot) => said.boot = Some(boot.to_string()),
            _ => {}
        }
    }
    Some(said)
}

/// The kernel's name for the time since it started, which must be known.
pub(super) fn known_boot() -> Result<&'static str> {
    match boot_id()? {
        "" => Err(Error::new(
            Code::Unsupported,
            Errno::OPNOTSUPP,
            "whether the machine went down while a layer was mounted writable is told by the \
             kernel's boot id, which cannot be read here: procfs is needed whole (no subset=pid)",
        )
        .at(BOOT_ID)),
        boot => Ok(boot),
    }
}

/// The kernel's name for the time since it started; empty where procfs is missing, or shows
/// processes alone.
pub(super) fn boot_id() -> Result<&'static str> {
    static BOOT: OnceCell<String> = OnceCell::new();
    match BOOT.get_or_try_init(read_boot_id) {
        Ok(boot) => Ok(boot),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::PERM) => Ok(""),
        // Nothing is believed of a pin from another time: an error must not look like one.
        Err(errno) => Err(errno).call_at("read", BOOT_ID),
    }
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

fn read_boot_id() -> SysCall<String> {
    let root = fs::open_dir_trusted(rustix::fs::CWD, b"/")?;
    let path = &BOOT_ID.as_bytes()[1..];
    let file = fs::open_below(&root, path, OFlags::RDONLY, fs::Cross::Mounts)?;
    let mut buf = [0; 64];
    let len = fs::read(&file, &mut buf)?;
    Ok(String::from_utf8_lossy(&buf[..len]).trim().to_string())
}

impl Pins {
    /// Who makes what a mount of the layer needs.
    pub fn maker(&self) -> Maker {
        *self.maker.get_or_init(|| Maker::of(&self.dir))
    }

    /// Writes the pin of a new mount, and locks it for its first handle.
    pub fn add(&self, root: BorrowedFd<'_>, path: &[u8], terms: Terms) -> Result<Pin> {
        let id = mount::identity(root)?;
        let name = format!("{}.{}", id.id, mount::namespace_id()?);
        let _ = fs::unlink(&self.dir, name.as_bytes());
        let text = terms.write(id, self.boot);
        let file = match text::create(&self.dir, self.maker(), &name, text.as_bytes()) {
            Ok(()) => fs::open_below(&self.dir, name.as_bytes(), OFlags::RDONLY, fs::Cross::Never)
                .call_at("open", &name)
                .inspect_err(|_| self.forget(&name))?,
            Err(Errno::ROFS) if terms.kept => {
                return Err(Error::new(
                    Code::System,
                    Errno::ROFS,
                    "the store's file system is read-only, and a kept mount is noted there: hold \
                     the mount, or take it detached",
                ));
            }
            // A mount that can be noted nowhere is its handle's alone.
            Err(Errno::ROFS) => fs::nameless().call("memfd_create")?,
            Err(errno) => {
                let error = Err(errno).call_at("create", &name);
                return error.map_err(|e| super::may_be_stuck(e, &self.dir, name.as_bytes()));
            }
        };
        let pin = Pin {
            file: Own::new(file),
            name,
            terms,
            id,
            path: path.to_vec(),
        };
        match self.share(&pin) {
            Ok(()) => Ok(pin),
            Err(error) => {
                self.forget(&pin.name);
                Err(error)
            }
        }
    }

    /// Takes the pin of a mount away that came to nothing.
    pub fn forget(&self, name: &str) {
        let _ = fs::unlink(&self.dir, name.as_bytes());
    }

    /// Gives a mount that has none a pin, which nobody holds.
    pub fn adopt(&mut self, found: mount::Found, terms: Terms) -> Result<()> {
        let name = format!("{}.{}", found.id, mount::namespace_id()?);
        let _ = fs::unlink(&self.dir, name.as_bytes());
        let text = terms.write(found.id, self.boot);
        let file = match text::create(&self.dir, self.maker(), &name, text.as_bytes()) {
            Ok(()) => fs::open_below(&self.dir, name.as_bytes(), OFlags::RDONLY, fs::Cross::Never),
            Err(Errno::ROFS) => fs::nameless(),
            Err(errno) => {
                let _ = fs::unlink(&self.dir, name.as_bytes());
                Err(errno)
            }
        };
        self.here.push(Pin {
            file: file.map(Own::new).call_at("create", &name)?,
            name,
            terms,
            id: found.id,
            path: found.path,
        });
        Ok(())
    }

    /// Locks a pin for one more handle. Whoever would lock it alone has the directory's lock.
    pub fn share(&self, pin: &Pin) -> Result<()> {
        if lock::try_lock(&pin.file, Mode::Shared)? {
            return Ok(());
        }
        Err(Error::new(Code::Locked, Errno::BUSY, "another caller ends the mount").at(&pin.path))
    }

    /// A held mount becomes a kept one. Written in place: the file's locks are its handles.
    pub fn keep(&self, pin: &Pin) -> Result<()> {
        let file = fs::open_below(
            &self.dir,
            pin.name.as_bytes(),
            OFlags::WRONLY,
            fs::Cross::Never,
        )
        .call_at("open", &pin.name)?;
        fs::write_all(&file, KEPT.as_bytes()).call_at("write", &pin.name)
    }

    /// Ends the held mounts that nobody holds. One that is busy stays, and is EBUSY.
    pub fn end_leftovers(&mut self) -> Result<u64> {
        match self.end_what_can()? {
            (ended, None) => Ok(ended),
            (_, Some(busy)) => Err(busy),
        }
    }

    /// The same, telling how many ended, and of one that is busy.
    pub fn end_what_can(&mut self) -> Result<(u64, Option<Error>)> {
        let (mut ended, mut busy) = (0, None);
        let mut kept = Vec::new();
        for pin in self.here.drain(..) {
            if pin.terms.kept || !lock::try_lock(&pin.file, Mode::Exclusive)? {
                kept.push(pin);
                continue;
            }
            match reach::end(self.dir.as_fd(), &pin, false) {
                Ok(()) => ended += 1,
                // The others are no worse for it.
                Err(error) if error.errno() == Errno::BUSY => {
                    busy = Some(error);
                    kept.push(pin);
                }
                Err(error) => return Err(error),
            }
        }
        self.here = kept;
        if ended > 0 {
            session::end_by_pins(&self.dir, self.marks);
        }
        Ok((ended, busy))
    }
}

/// Mount id and namespace id of a pin's name.
pub(super) fn parse(name: &str) -> Option<(u64, u64)> {
    let (id, namespace) = name.split_once('.')?;
    Some((id.parse().ok()?, namespace.parse().ok()?))
}

/// Any bytes as the text and the name of a pin.
#[cfg(any(test, fuzzing))]
pub fn fuzzing(data: &[u8]) {
    if let Some(said) = read_said(data) {
        let id = MountId {
            id: 7,
            unique: said.unique,
        };
        let boot = said.boot.clone().unwrap_or_default();
        let again = read_said(said.terms.write(id, &boot).as_bytes());
        assert!(again.is_some_and(|again| {
            again.terms == said.terms && again.unique == said.unique && again.boot == Some(boot)
        }));
    }
    if let Some((id, namespace)) = std::str::from_utf8(data).ok().and_then(parse) {
        assert_eq!(parse(&format!("{id}.{namespace}")), Some((id, namespace)));
    }
}
