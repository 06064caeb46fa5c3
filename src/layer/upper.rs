//! The upper of a layer while a tar is extracted into it.
//!
//! Paths of the tar are walked one component at a time from the upper's root, by descriptor.
//! What the upper lacks is looked up below, in the parent's stack: a directory is made in the
//! upper with the attributes it has there, a symbolic link is followed inside the root, as the
//! container will see it. So an entry lands where it would in a plain copy of the parent.
//!
//! Open directories are cached. A directory's times are put on when it leaves the cache: those of
//! its tar entry, or those it had before entries went into it.

mod below;
mod books;
mod cache;
mod hide;
mod implied;
mod link;
mod noted;
mod walk;

pub use noted::{Files, Noted, Notes};
pub use walk::Make;

use self::implied::Implied;
use super::view::{Dir, Stack};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::fs::{Kind, Meta, Time};
use crate::sys::xattr::{self, Pairs};
use crate::sys::{OwnedFd, SysCall, fs};
use crate::tree::aside::Aside;
use crate::tree::attrs::{self, Attributes, Inode, Setter};
use crate::tree::data::DataCopier;
use crate::tree::inode::{InodeCopier, Modes};
use crate::tree::{Reflink, remove_tree};
use crate::watch::Watch;
use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::sync::Arc;

/// How a hard link to a file of a lower layer is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LowerLinks {
    /// By linking to the lower inode: kind `root`, which shares inodes with its parent.
    Share,
    /// By copying the file up first: kind `overlay`.
    CopyUp,
    /// By copying the file once for all its names: a writable `root`. The copy is kept aside, for
    /// those that no entry gives it.
    Copy,
}

/// What implied directories that exist nowhere get: the same in every run.
const IMPLIED_MODE: u32 = 0o755;

/// What a layer may ask of an upper.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of a path as it is on the disk, after symbolic links.
    pub max_path: usize,
    /// Directories without an entry of their own.
    pub max_implied: u64,
}

/// An open directory of the upper.
pub struct Place {
    /// The path as the tar says it.
    key: Vec<u8>,
    /// Where that is, after symbolic links.
    path: Vec<u8>,
    /// The directory.
    pub fd: Arc<OwnedFd>,
    /// What is made here belongs to the caller's own user and group.
    pub own: bool,
    /// What is made here inherits an ACL.
    acl: bool,
    atime: Time,
    mtime: Time,
    /// Real paths that `key` leads through: of symbolic links, and of directories that a link's
    /// target leaves by `..`.
    through: Vec<Vec<u8>>,
    /// What the parent's stack has here, once asked for.
    below: Option<Option<Dir>>,
    /// Its inode number, once asked for.
    ino: Option<u64>,
}

/// See the module's text.
pub struct Upper {
    root: Place,
    cache: Vec<Place>,
    /// Some cached name led through a symbolic link.
    aliases: bool,
    stack: Stack,
    links: LowerLinks,
    /// What hard links lead to that is not in the tree.
    aside: Aside,
    /// What was made without an entry of its own.
    implied: Implied,
    /// Implied directories made, and entries seen.
    counts: (u64, u64),
    bounds: Bounds,
    /// Inodes that came from below and do not count in the layer's size.
    borrowed: HashSet<u64>,
    /// The tar hides all that the parent has.
    root_opaque: bool,
    /// An entry took another's place: the size has to be counted again.
    replaced: bool,
    /// Makes copies of inodes, and puts attributes on.
    pub inodes: InodeCopier,
    /// What plain files will be like.
    noted: Noted,
}

impl Upper {
    /// See [`fs::keeps_modes`].
    pub fn keeps_modes(&self) -> bool {
        fs::keeps_modes(&self.root.fd)
    }

    /// The empty directory `root`, over `stack`.
    pub fn new(
        root: OwnedFd,
        stack: Stack,
        links: LowerLinks,
        aside: Aside,
        strict: bool,
        bounds: Bounds,
    ) -> Result<Self> {
        attrs::disinherit(&root).call("fremovexattr")?;
        let mut setter = Setter::new(strict);
        setter.tagged = Some(HashSet::new());
        setter.shut = attrs::modes_bind().then(HashMap::new);
        let inodes = InodeCopier {
            setter,
            data: DataCopier::new(Reflink::Auto),
            no_overlay_xattrs: true,
            modes: Modes::Unknown,
            changed: None,
            ctimes: false,
        };
        let meta = fs::stat(&root).call("statx")?;
        let root = Place {
            key: Vec::new(),
            path: Vec::new(),
            fd: Arc::new(root),
            own: inodes.setter.makes_own(&meta),
            acl: false,
            atime: Time::default(),
            mtime: Time::default(),
            through: Vec::new(),
            below: None,
            ino: Some(meta.ino),
        };
        let mut upper = Upper {
            root,
            cache: Vec::new(),
            aliases: false,
            stack,
            links,
            aside,
            implied: Implied::default(),
            counts: (0, 0),
            bounds,
            borrowed: HashSet::new(),
            root_opaque: false,
            replaced: false,
            inodes,
            noted: Noted::default(),
        };
        upper.inherit_root()?;
        Ok(upper)
    }

    /// The root looks like the parent's until an entry says otherwise.
    fn inherit_root(&mut self) -> Result<()> {
        let (attributes, pairs) = match self.stack.root()? {
            Some(mut found) => {
                let pairs = match &mut found.dir {
                    Some(dir) => {
                        let fd = dir.nearest(&self.stack)?;
                        self.inodes.xattrs(Inode::Open(fd))?
                    }
                    None => Pairs::new(),
                };
                (Attributes::from(&found.meta), pairs)
            }
            None => (implied_attributes(), Pairs::new()),
        };
        self.put_root(&attributes, &pairs)
    }

    fn put_root(&mut self, attributes: &Attributes, pairs: &Pairs) -> Result<()> {
        let root = self.root.fd.clone();
        self.put_directory(&root, attributes, pairs, false)?;
        self.root.acl = has_default_acl(pairs);
        self.root.own = self
            .inodes
            .setter
            .makes_own(&fs::stat(&root).call("statx")?);
        self.root.atime = attributes.atime;
        self.root.mtime = attributes.mtime;
        Ok(())
    }

    /// Whether entries took the place of others, so that sizes have to be counted again.
    pub fn replaced(&self) -> bool {
        self.replaced
    }

    /// Inodes that do not count in the layer's size.
    pub fn borrowed(&self) -> &HashSet<u64> {
        &self.borrowed
    }

    /// What plain files will be like.
    pub fn noted(&mut self) -> Noted {
        std::mem::take(&mut self.noted)
    }

    /// Puts the directories' times back, and ends the extraction. The stack that the tar left to
    /// be seen is returned: none of it when the tar hides all.
    pub fn finish(mut self) -> Result<(Stack, InodeCopier)> {
        if self.root_opaque {
            self.hide_root()?;
        }
        self.settle(b"")?;
        seal(&self.root)?;
        let stack = if self.root_opaque {
            Stack::new(Vec::new(), self.stack.marks())
        } else {
            self.stack
        };
        Ok((stack, self.inodes))
    }

    /// Makes the directory `path` as the tar says it is, or changes the one there is.
    pub fn directory(&mut self, path: &[u8], attributes: &Attributes, pairs: &Pairs) -> Result<()> {
        if path.is_empty() {
            return self.put_root(attributes, pairs);
        }
        let (parent, name) = crate::archive::path::split(path);
        let place = self.claim(parent, name)?;
        let (dir, real) = (self.at(place).fd.clone(), self.real(place, name));
        let inherits = self.at(place).acl;
        let own = self.at(place).own;
        let made = match fs::mkdir(&dir, name, 0o700) {
            Ok(()) => true,
            Err(Errno::EXIST) => {
                let there = fs::stat_at(&dir, name).call("statx")?;
                if there.kind == Kind::Directory {
                    false
                } else {
                    self.replace_by_directory(&dir, name, &there)?;
                    true
                }
            }
            Err(errno) => return Err(errno).call("mkdir"),
        };
        self.has_entry(place, name)?;
        // A cached descriptor of this directory would put old times back.
        self.forget(&real);
        let fd = match made {
            true => fs::open_made(&dir, name),
            false => fs::open_dir(&dir, name),
        };
        let fd = Arc::new(fd.call("open")?);
        if made && inherits {
            attrs::disinherit(&fd).call("fremovexattr")?;
        }
        if made && !inherits {
            // New, it has nothing that would have to go.
            let inode = Inode::Open((*fd).as_fd());
            self.inodes
                .setter
                .put(inode, attributes, pairs, own && made)?;
        } else {
            self.put_directory(&fd, attributes, pairs, own && made)?;
        }
        let own = if own && made && self.inodes.setter.is_group(attributes.gid) {
            true
        } else {
            let meta = fs::stat(&fd).call("statx")?;
            self.inodes.setter.makes_own(&meta)
        };
        self.remember(Place {
            key: real.clone(),
            path: real,
            fd,
            own,
            acl: has_default_acl(pairs),
            atime: attributes.atime,
            mtime: attributes.mtime,
            through: Vec::new(),
            below: None,
            ino: None,
        })?;
        Ok(())
    }

    /// Gives a directory exactly these attributes, overlayfs's marks aside.
    fn put_directory(
        &mut self,
        fd: &OwnedFd,
        attributes: &Attributes,
        pairs: &Pairs,
        own: bool,
    ) -> Result<()> {
        let has = xattr::list(fd).call("flistxattr")?;
        let wanted: HashSet<&[u8]> = match has.is_empty() {
            true => HashSet::new(),
            false => pairs.iter().map(|(name, _)| &name[..]).collect(),
        };
        for name in has {
            if !xattr::is_overlay(&name) && !wanted.contains(&name[..]) {
                match xattr::remove(fd, &name) {
                    // security.* of the system's own making stays where it may not be removed.
                    Ok(()) | Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {}
                    Err(errno) => return Err(errno).call("fremovexattr"),
                }
            }
        }
        self.inodes
            .setter
            .put(Inode::Open(fd.as_fd()), attributes, pairs, own)
    }

    /// Makes a new regular file at `path` with this mode, which an ACL or the umask may take from,
    /// and gives it and where it is made. `plain`: what it will be like when it is complete, where it
    /// will have no extended attributes.
    pub fn create(
        &mut self,
        path: &[u8],
        mode: u32,
        plain: Option<(&Attributes, u64)>,
    ) -> Result<(OwnedFd, Made)> {
        let create = |dir: &OwnedFd, name: &[u8]| fs::create_file(dir, name, mode);
        let (file, made, place) = self.make(path, "create", create)?;
        if made.acl {
            xattr::remove(&file, attrs::ACCESS_ACL).call("fremovexattr")?;
        }
        if let (Some((attributes, size)), false) = (plain, made.acl) {
            let dir = self.cache.get(place).unwrap_or(&self.root);
            self.noted.file(&dir.path, &made.name, attributes, size);
        }
        Ok((file, made))
    }

    /// Makes a symbolic link at `path`.
    pub fn symlink(&mut self, path: &[u8], target: &[u8]) -> Result<Made> {
        let link = |dir: &OwnedFd, name: &[u8]| fs::symlink(target, dir, name);
        self.make(path, "symlink", link).map(|((), made, _)| made)
    }

    /// Makes a device or FIFO at `path`; `None` when the caller may not, which is counted.
    pub fn node(&mut self, path: &[u8], kind: Kind, rdev: (u32, u32)) -> Result<Option<Made>> {
        let (mut place, name) = self.parent(path)?;
        match fs::stat_at(&self.at(place).fd, name) {
            Ok(_) => place = self.clear(place, name)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).call("statx"),
        }
        let dir = self.at(place).fd.clone();
        if !self
            .inodes
            .setter
            .make_node(dir.as_fd(), name, kind, rdev)?
        {
            self.on_way(place)?;
            return Ok(None);
        }
        let made = self.made(place, name);
        if made.acl {
            xattr::remove_at(&dir, name, attrs::ACCESS_ACL).call("lremovexattr")?;
        }
        Ok(Some(made))
    }

    /// Makes something at `path` by `call`, in the place of what is there. Gives also the place that it
    /// is in.
    fn make<T>(
        &mut self,
        path: &[u8],
        what: &str,
        call: impl Fn(&OwnedFd, &[u8]) -> SysCall<T>,
    ) -> Result<(T, Made, usize)> {
        let (mut place, name) = self.parent(path)?;
        loop {
            match call(&self.at(place).fd, name) {
                Ok(made) => return Ok((made, self.made(place, name), place)),
                Err(Errno::EXIST) => place = self.clear(place, name)?,
                Err(errno) => return Err(errno).call(what),
            }
        }
    }

    fn made(&self, place: usize, name: &[u8]) -> Made {
        let place = self.at(place);
        Made {
            dir: place.fd.clone(),
            name: name.to_vec(),
            own: place.own,
            acl: place.acl,
        }
    }

    /// The parent directory of an entry that is no directory, and its name there.
    fn parent<'p>(&mut self, path: &'p [u8]) -> Result<(usize, &'p [u8])> {
        if path.is_empty() {
            return Err(Error::new(
                Code::Archive,
                Errno::INVAL,
                "the root of a layer can only be a directory",
            ));
        }
        let (parent, name) = crate::archive::path::split(path);
        Ok((self.claim(parent, name)?, name))
    }

    /// Takes away what is at `name`, for something that is no directory. Gives the place anew:
    /// directories of the cache may have gone too.
    fn clear(&mut self, place: usize, name: &[u8]) -> Result<usize> {
        let dir = self.at(place).fd.clone();
        let real = self.real(place, name);
        let there = match fs::stat_at(&dir, name) {
            Ok(meta) => meta,
            Err(Errno::NOENT) => return Ok(place),
            Err(errno) => return Err(errno).call("statx"),
        };
        if there.is_whiteout() {
            fs::unlink(&dir, name).call("unlink")?;
            return Ok(place);
        }
        let parent = self.at(place).path.clone();
        self.replaced = true;
        self.has_entry(place, name)?;
        if there.kind == Kind::Directory {
            self.forget_below(&dir, name, &real)?;
            self.noted.doubt_all();
        } else {
            self.noted.doubt(&real);
        }
        remove_tree(&dir, name, &mut Watch::default())?;
        self.gone(&there);
        self.need(&parent)
    }

    /// An inode lost a name: its number may soon be another's.
    fn gone(&mut self, inode: &Meta) {
        if inode.kind != Kind::Directory && inode.nlink == 1 {
            self.borrowed.remove(&inode.ino);
        }
    }

    /// Takes away what is no directory at `name`, and makes one in its place. What it hid below
    /// must not come back: the directory is opaque.
    fn replace_by_directory(&mut self, dir: &OwnedFd, name: &[u8], there: &Meta) -> Result<()> {
        if !there.is_whiteout() {
            self.replaced = true;
            self.gone(there);
        }
        // No note is taken for a directory's; a file can come here again by `clear` alone.
        fs::unlink(dir, name).call("unlink")?;
        fs::mkdir(dir, name, 0o700).call("mkdir")?;
        if !self.stack.trees().is_empty() {
            let fd = fs::open_made(dir, name).call("open")?;
            xattr::set(&fd, self.stack.marks().opaque(), b"y").call("fsetxattr")?;
        }
        Ok(())
    }
}

/// Something that was just made, for its attributes.
pub struct Made {
    dir: Arc<OwnedFd>,
    name: Vec<u8>,
    /// It belongs to the caller's own user and group.
    pub own: bool,
    /// It inherited an ACL, which was taken away and has left its mode as it may be.
    pub acl: bool,
}

impl Made {
    /// The inode by its name.
    pub fn inode(&self) -> Inode<'_> {
        Inode::Named((*self.dir).as_fd(), &self.name)
    }
}

/// Puts a directory's times on.
fn seal(place: &Place) -> Result<()> {
    fs::set_times(&place.fd, place.atime, place.mtime).call_at("utimensat", &place.path)
}

fn has_default_acl(pairs: &Pairs) -> bool {
    pairs.iter().any(|(name, _)| name == attrs::DEFAULT_ACL)
}

/// What an implied directory that exists nowhere gets.
fn implied_attributes() -> Attributes {
    Attributes {
        kind: Kind::Directory,
        mode: IMPLIED_MODE,
        uid: 0,
        gid: 0,
        atime: Time::default(),
        mtime: Time::default(),
    }
}
