//! The copy of one tree into one empty directory: descends both sides together, and gives each
//! directory its attributes when all that is in it is done.

use super::attrs::{self, Attributes, Inode, Setter};
use super::chain::{Chain, join};
use super::copy::{CopyFlags, CopyOptions, CopyStats};
use super::data::{DataCopier, Method};
use super::groups::{Groups, Joined, Making};
use super::inode::{InodeCopier, Modes};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::dir::{DirBuf, Hint};
use crate::sys::fs::{Kind, Meta};
use crate::sys::thread::Threads;
use crate::sys::{BorrowedFd, OwnedFd, SysCall, fs, xattr};
use crate::watch::Watch;

/// Whether the umask keeps the owner out of what is made in the empty directory `dir`. Asked of
/// the kernel by making something, since reading the umask means changing it.
fn hostile_umask(dir: &OwnedFd) -> SysCall<bool> {
    const PROBE: &[u8] = b".ovl-probe";
    fs::mkdir(dir, PROBE, 0o700)?;
    let mode = fs::stat_at(dir, PROBE).map(|made| made.mode);
    fs::rmdir(dir, PROBE)?;
    Ok(mode? & 0o700 != 0o700)
}

/// Copies one tree into one directory.
pub struct Copier {
    flags: CopyFlags,
    inodes: InodeCopier,
    pub(super) buf: DirBuf,
    pub(super) stats: CopyStats,
    /// Where the current destination is below the root of the link groups.
    pub(super) prefix: Vec<u8>,
    /// The destination's root, which must not turn up in the source.
    target: Option<(u64, (u32, u32))>,
    /// New inodes belong to the caller's user and group.
    own: bool,
    /// Whether others may help.
    pub(super) threads: Threads,
}

impl Copier {
    /// A copier with these options.
    pub fn new(options: &CopyOptions) -> Result<Self> {
        let strict = options.flags.contains(CopyFlags::STRICT);
        Ok(Copier {
            flags: options.flags,
            inodes: InodeCopier {
                setter: Setter::new(strict),
                data: DataCopier::new(options.reflink),
                no_overlay_xattrs: options.flags.contains(CopyFlags::NO_OVERLAY_XATTRS),
                modes: Modes::Unknown,
                changed: (!strict).then_some(0),
                ctimes: !options.flags.contains(CopyFlags::HARD_LINK),
            },
            buf: DirBuf::default(),
            stats: CopyStats::default(),
            prefix: Vec::new(),
            target: None,
            own: false,
            threads: options.threads,
        })
    }

    /// One for a thread that helps this one, with nothing done so far.
    pub(super) fn again(&self) -> Self {
        Copier {
            inodes: self.inodes.again(),
            buf: DirBuf::default(),
            stats: CopyStats::default(),
            prefix: self.prefix.clone(),
            ..*self
        }
    }

    /// Takes what a helper did for its own.
    pub(super) fn absorb(&mut self, helper: Copier) {
        self.stats = self.stats.plus(helper.stats);
        let (inodes, others) = (&mut self.inodes, helper.inodes);
        inodes.setter.partial = inodes.setter.partial.plus(others.setter.partial);
        if let (Some(changed), Some(more)) = (&mut inodes.changed, others.changed) {
            *changed += more;
        }
    }

    /// What was done; writes the destination `root` to the disk when asked to.
    pub fn finish(mut self, root: &OwnedFd) -> Result<CopyStats> {
        if self.flags.contains(CopyFlags::SYNC) {
            fs::sync_fs(root).call("syncfs")?;
        }
        self.stats.partial = self.inodes.setter.partial;
        self.stats.vanished += self.inodes.changed.unwrap_or(0);
        Ok(self.stats)
    }

    /// Other mounts that were met.
    pub fn mounts_skipped(&self) -> u64 {
        self.stats.mounts_skipped
    }

    fn strict(&self) -> bool {
        self.flags.contains(CopyFlags::STRICT)
    }

    pub(super) fn hard_link(&self) -> bool {
        self.flags.contains(CopyFlags::HARD_LINK)
    }

    /// Makes the destination's root a private place where nothing is inherited.
    pub(super) fn prepare(&mut self, dst: &OwnedFd, source: &Meta) -> Result<()> {
        let made = fs::stat(dst).call("statx")?;
        self.target = Some((made.ino, made.dev));
        if made.mode != 0o700 {
            fs::chmod(dst, 0o700).call("fchmod")?;
        }
        attrs::disinherit(dst).call("fremovexattr")?;
        self.inodes.modes = match hostile_umask(dst).call("mkdir")? {
            true => Modes::Hostile,
            false => Modes::Masked,
        };
        self.own = self.inodes.setter.makes_own(&made);
        if self.hard_link() && made.dev != source.dev {
            return Err(
                Error::sys(Errno::XDEV, "link").context("hard links cannot cross file systems")
            );
        }
        Ok(())
    }

    /// Opens the directory `name` on both sides; `None` when there is nothing to enter.
    pub(super) fn descend(
        &mut self,
        src: &mut Chain,
        dst: &mut Chain,
        name: Vec<u8>,
    ) -> Result<Option<Meta>> {
        match self.open_both(src, dst, &name) {
            Ok(Some((from, to, meta))) => {
                src.push(name.clone(), from)?;
                dst.push(name, to)?;
                Ok(Some(meta))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error.at(src.path_of(&name))),
        }
    }

    fn open_both(
        &mut self,
        src: &Chain,
        dst: &Chain,
        name: &[u8],
    ) -> Result<Option<(OwnedFd, OwnedFd, Meta)>> {
        let from = match fs::open_dir(src.fd()?, name) {
            Ok(fd) => fd,
            Err(Errno::XDEV) => {
                self.skip_mount(&src.path_of(name))?;
                // Its attributes are the other file system's: an empty directory stands for it.
                fs::mkdir(dst.fd()?, name, 0o755).call("mkdir")?;
                fs::chmod_at(dst.fd()?, name, 0o755).call("chmod")?;
                return Ok(None);
            }
            // It was renamed or replaced since the directory was read.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                self.vanished(&src.path_of(name))?;
                return Ok(None);
            }
            Err(errno) => return Err(errno).call("open"),
        };
        let meta = fs::stat(&from).call("statx")?;
        // `..` does not tell when a bind mount leads from the destination into the source.
        if self.target == Some((meta.ino, meta.dev)) {
            return Err(Error::invalid("a directory cannot be copied into itself"));
        }
        fs::mkdir(dst.fd()?, name, 0o700).call("mkdir")?;
        if self.inodes.modes == Modes::Hostile {
            fs::chmod_at(dst.fd()?, name, 0o700).call("chmod")?;
        }
        let to = fs::open_dir(dst.fd()?, name).call("open")?;
        Ok(Some((from, to, meta)))
    }

    /// Copies one entry; false when it turns out to be a directory.
    pub(super) fn entry(
        &mut self,
        src: &Chain,
        dst: &Chain,
        name: &[u8],
        hint: Hint,
        groups: &Groups,
        watch: &mut Watch<'_>,
    ) -> Result<bool> {
        let done = self.entry_here(src, dst, name, hint, groups, watch);
        done.map_err(|error| error.at(src.path_of(name)))
    }

    fn entry_here(
        &mut self,
        src: &Chain,
        dst: &Chain,
        name: &[u8],
        hint: Hint,
        groups: &Groups,
        watch: &mut Watch<'_>,
    ) -> Result<bool> {
        let (from, to) = (src.fd()?, dst.fd()?);
        if self.hard_link() {
            match fs::link(from, name, to, name) {
                Ok(()) => {
                    self.stats.entries += 1;
                    self.stats.linked += 1;
                    watch.entry()?;
                    return Ok(true);
                }
                Err(Errno::MLINK | Errno::PERM) => {}
                Err(Errno::XDEV) => {
                    let Some(kind) = mount_at(from, name) else {
                        let why = "hard links cannot cross file systems or mounts";
                        return Err(Error::sys(Errno::XDEV, "link").context(why));
                    };
                    return self.cross(kind, to, name, &src.path_of(name));
                }
                Err(Errno::NOENT) => return self.vanished(&src.path_of(name)).map(|()| true),
                Err(errno) => return Err(errno).call("link"),
            }
        }
        // What cannot be opened is held, so that all that is read of it is one inode's.
        let held = match hint {
            Hint::File => None,
            _ => match fs::open_path(from, name) {
                Ok(fd) => {
                    let meta = fs::stat(&fd).call("statx")?;
                    Some((fd, meta))
                }
                Err(Errno::XDEV) => {
                    if let Some(kind) = mount_at(from, name) {
                        return self.cross(kind, to, name, &src.path_of(name));
                    }
                    return self.vanished(&src.path_of(name)).map(|()| true);
                }
                Err(Errno::NOENT) => return self.vanished(&src.path_of(name)).map(|()| true),
                Err(errno) => return Err(errno).call("open"),
            },
        };
        if matches!(&held, Some((_, meta)) if meta.kind == Kind::Directory) {
            return Ok(false);
        }
        if self.hard_link() {
            self.stats.link_fallbacks += 1;
        }
        let done = match &held {
            Some((inode, meta)) if meta.kind != Kind::File => {
                self.special(inode, dst, name, meta, groups, watch)?;
                true
            }
            _ => self.file(src, dst, name, groups, watch)?,
        };
        if done {
            self.stats.entries += 1;
        }
        watch.entry()?;
        Ok(true)
    }

    /// Copies a regular file, or links it to the copy that its group has; false when it vanished
    /// or is a mount.
    fn file(
        &mut self,
        src: &Chain,
        dst: &Chain,
        name: &[u8],
        groups: &Groups,
        watch: &mut Watch<'_>,
    ) -> Result<bool> {
        let from = match fs::open_file(src.fd()?, name) {
            Ok(fd) => fd,
            Err(Errno::XDEV) => {
                let path = src.path_of(name);
                match mount_at(src.fd()?, name) {
                    // Counted there.
                    Some(kind) => self.cross(kind, dst.fd()?, name, &path).map(drop)?,
                    None => self.vanished(&path)?,
                }
                return Ok(false);
            }
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => {
                return self.vanished(&src.path_of(name)).map(|()| false);
            }
            Err(errno) => return Err(errno).call("open"),
        };
        let meta = fs::stat(&from).call("statx")?;
        if meta.kind != Kind::File {
            return self.vanished(&src.path_of(name)).map(|()| false);
        }
        let Some(making) = self.join_group(dst, name, &meta, groups, watch)? else {
            return Ok(true);
        };
        match self
            .inodes
            .file(&from, &meta, dst.fd()?, name, self.own, watch)?
        {
            Method::Shared => self.stats.reflinked += 1,
            Method::Copied => self.stats.copied += 1,
        }
        self.stats.bytes += meta.size;
        making.made(|| join(&self.prefix, &dst.path_of(name)));
        Ok(true)
    }

    /// Copies a symbolic link, device, FIFO or socket, held by `from`.
    fn special(
        &mut self,
        from: &OwnedFd,
        dst: &Chain,
        name: &[u8],
        meta: &Meta,
        groups: &Groups,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let Some(making) = self.join_group(dst, name, meta, groups, watch)? else {
            return Ok(());
        };
        if !self.inodes.special(from, meta, dst.fd()?, name, self.own)? {
            return Ok(());
        }
        making.made(|| join(&self.prefix, &dst.path_of(name)));
        Ok(())
    }

    /// Gives a directory its attributes when all below it is done.
    pub(super) fn seal(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        meta: &Meta,
        root: bool,
    ) -> Result<()> {
        let xattrs = self.inodes.wanted(xattr::get_all(from))?;
        if root {
            // A directory of the caller's may have had attributes that the source has not.
            for name in xattr::list(to).call("flistxattr")? {
                if !xattrs.iter().any(|(wanted, _)| *wanted == name) {
                    match xattr::remove(to, &name) {
                        // security.* of the system's own making.
                        Ok(()) | Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {}
                        Err(errno) => return Err(errno).call("fremovexattr"),
                    }
                }
            }
        }
        let inode = Inode::Open(to);
        let own = self.own && !root;
        self.inodes
            .setter
            .put(inode, &Attributes::from(meta), &xattrs, own)?;
        inode.set_times(meta.atime, meta.mtime).call("utimensat")
    }

    /// Links `name` to the copy of the inode that an earlier name of it led to; else it is to be made.
    fn join_group<'g>(
        &mut self,
        dst: &Chain,
        name: &[u8],
        meta: &Meta,
        groups: &'g Groups,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Making<'g>>> {
        Ok(match groups.join(meta, dst.fd()?, name, watch)? {
            Joined::Linked => {
                self.stats.grouped += 1;
                None
            }
            Joined::Full(making) => {
                self.stats.link_fallbacks += 1;
                Some(making)
            }
            Joined::First(making) => Some(making),
        })
    }

    /// A file that is a mount of its own: an empty file stands for it. False for a directory.
    fn cross(&mut self, kind: Kind, to: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<bool> {
        if kind == Kind::Directory {
            return Ok(false);
        }
        self.skip_mount(path)?;
        let file = fs::create_file(to, name, 0o644).call("create")?;
        fs::chmod(file, 0o644).call("fchmod")?;
        Ok(true)
    }

    fn skip_mount(&mut self, path: &[u8]) -> Result<()> {
        if self.strict() {
            return Err(
                Error::new(Code::Escape, Errno::XDEV, "another mount is in the tree").at(path),
            );
        }
        self.stats.mounts_skipped += 1;
        self.stats.entries += 1;
        Ok(())
    }

    pub(super) fn vanished(&mut self, path: &[u8]) -> Result<()> {
        if self.strict() {
            return Err(Error::new(
                Code::Strict,
                Errno::NOENT,
                "it went while the tree was read",
            )
            .at(path));
        }
        self.stats.vanished += 1;
        Ok(())
    }
}

/// The kind of a name that is the root of another mount.
fn mount_at(dir: BorrowedFd<'_>, name: &[u8]) -> Option<Kind> {
    let there = fs::stat_at(dir, name).ok()?;
    there.mount_root.then_some(there.kind)
}
