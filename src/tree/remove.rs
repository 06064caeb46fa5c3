//! Removing trees: by descriptor, to any depth, never into another mount.

use super::chain::Chain;
use super::walk::{self, Level, Visit};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::dir::{DirBuf, Hint};
use crate::sys::thread::Threads;
use crate::sys::{AsFd, BorrowedFd, OwnedFd, SysCall, fs};
use crate::watch::Watch;

/// A directory that keeps filling up while it is emptied is given up after so many passes.
const PASSES: usize = 64;

use Reading::{All, AtOnce};

/// Removes `name` in `dir` and all below it. EBUSY when another mount is in the way.
pub fn remove_tree(dir: impl AsFd, name: &[u8], watch: &mut Watch<'_>) -> Result<()> {
    match unlink(dir.as_fd(), name) {
        Ok(()) => return watch.entry(),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno).call_at("unlink", name),
    }
    let fd = open_to_empty(dir.as_fd(), name).map_err(|errno| refuse(errno, name))?;
    remove_contents(fd, watch).map_err(|error| error.below(name))?;
    rmdir(dir.as_fd(), name).call_at("rmdir", name)?;
    watch.entry()
}

/// Removes all that is in the open directory `root`, which stays.
pub fn remove_contents(root: OwnedFd, watch: &mut Watch<'_>) -> Result<()> {
    remove_contents_by(Threads::Auto, root, watch)
}

/// The same, with a say in whether other threads help.
pub fn remove_contents_by(threads: Threads, root: OwnedFd, watch: &mut Watch<'_>) -> Result<()> {
    let mut remover = Remover {
        buf: DirBuf::default(),
        removed: 0,
        threads,
    };
    let site = Site {
        chain: Chain::new(root),
        whole: true,
    };
    walk::run(&mut remover, site, watch, |remover, site, watch| {
        remover.level(&site.chain, 1, watch)
    })
}

/// One thread's part of a removal.
struct Remover {
    buf: DirBuf,
    removed: u64,
    threads: Threads,
}

/// Where a removal stands.
struct Site {
    chain: Chain,
    /// It begins where the removal does.
    whole: bool,
}

impl Remover {
    /// Unlinks what is no directory where the chain stands, which is read for the `pass`th time.
    fn level(&mut self, chain: &Chain, pass: usize, watch: &mut Watch<'_>) -> Result<Level<Self>> {
        let reading = if chain.depth() == 0 || pass > 1 {
            All
        } else {
            AtOnce
        };
        let below = self.sweep(chain, reading, watch)?;
        Ok(Level { kept: pass, below })
    }

    fn gone(&mut self, watch: &mut Watch<'_>) -> Result<()> {
        self.removed += 1;
        watch.entry()
    }
}

impl Visit for Remover {
    const NAME: &'static str = "ovl-remove";
    const SIDES: usize = 1;
    type Place = Site;
    /// How often the directory was read.
    type Kept = usize;
    /// The name of a directory.
    type Next = Vec<u8>;

    fn enter(
        &mut self,
        Site { chain, whole }: &mut Site,
        name: Vec<u8>,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Level<Self>>> {
        // Of a layer's own directories most are empty.
        if *whole && chain.depth() == 0 && fs::rmdir(chain.fd()?, &name).is_ok() {
            return self.gone(watch).map(|()| None);
        }
        let fd = match open_to_empty(chain.fd()?, &name) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(refuse(errno, &chain.path_of(&name))),
        };
        chain.push(name, fd)?;
        self.level(chain, 1, watch).map(Some)
    }

    fn leave(
        &mut self,
        Site { chain, .. }: &mut Site,
        _: usize,
        passes: usize,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Level<Self>>> {
        let Some((name, fd)) = chain.pop()? else {
            // The root stays.
            return Ok(None);
        };
        match rmdir(chain.fd()?, &name) {
            Ok(()) | Err(Errno::NOENT) => self.gone(watch).map(|()| None),
            // Read while it was emptied, a directory may not show all it had.
            Err(Errno::NOTEMPTY) if passes < PASSES => {
                let fd = fs::open_dir_trusted(&fd, b".")
                    .map_err(|errno| Error::sys(errno, "open").at(chain.path_of(&name)))?;
                chain.push(name, fd)?;
                self.level(chain, passes + 1, watch).map(Some)
            }
            Err(errno) => Err(errno).call_at("rmdir", chain.path_of(&name)),
        }
    }

    fn beside(site: &Site, depth: usize) -> Option<Site> {
        Some(Site {
            chain: site.chain.beside(depth)?,
            whole: false,
        })
    }

    fn stands(site: &Site) -> Option<BorrowedFd<'_>> {
        site.chain.fd().ok()
    }

    fn threads(&self) -> Threads {
        self.threads
    }

    fn effort(&self) -> u64 {
        self.removed
    }

    fn again(&self) -> Self {
        Remover {
            buf: DirBuf::default(),
            removed: 0,
            ..*self
        }
    }

    fn absorb(&mut self, helper: Self) {
        self.removed += helper.removed;
    }
}

/// How much of a directory is read.
#[derive(Clone, Copy)]
enum Reading {
    /// All that there is.
    All,
    /// What one system call gives; that there is no more, its removal shows.
    AtOnce,
}

impl Remover {
    /// Unlinks what is no directory where the chain stands; gives the names of the directories.
    fn sweep(
        &mut self,
        chain: &Chain,
        reading: Reading,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Vec<u8>>> {
        let mut below = Vec::new();
        let fd = chain.fd()?;
        let mut failed = None;
        let removed = &mut self.removed;
        let each = |name: &[u8], hint| {
            if hint == Hint::Directory {
                below.push(name.to_vec());
                return Ok(());
            }
            match unlink(fd, name) {
                Ok(()) => {}
                Err(Errno::NOENT) => return Ok(()),
                Err(Errno::ISDIR) => {
                    below.push(name.to_vec());
                    return Ok(());
                }
                Err(errno) => {
                    failed = Some(Error::sys(errno, "unlink").at(chain.path_of(name)));
                    return Err(errno);
                }
            }
            *removed += 1;
            watch.entry().map_err(|error| {
                let errno = error.errno();
                failed = Some(error);
                errno
            })
        };
        let read = match reading {
            All => self.buf.for_each(fd, each),
            AtOnce => self.buf.for_each_at_once(fd, each),
        };
        match (failed, read) {
            (Some(error), _) => Err(error),
            // A path takes time as the tree is deep: only for who reads it.
            (None, Err(errno)) => Err(Error::sys(errno, "getdents64").at(chain.path())),
            (None, Ok(())) => Ok(below),
        }
    }
}

/// unlinkat; an immutable or append-only inode of ours, or directory, is freed first.
fn unlink(dir: BorrowedFd<'_>, name: &[u8]) -> SysCall<()> {
    match fs::unlink(dir, name) {
        Err(Errno::PERM) => {
            unstick(dir, name);
            fs::unlink(dir, name)
        }
        Err(Errno::ACCESS) => {
            unlock(dir);
            fs::unlink(dir, name)
        }
        other => other,
    }
}

fn rmdir(dir: BorrowedFd<'_>, name: &[u8]) -> SysCall<()> {
    match fs::rmdir(dir, name) {
        Err(Errno::PERM) => {
            unstick(dir, name);
            fs::rmdir(dir, name)
        }
        Err(Errno::ACCESS) => {
            unlock(dir);
            fs::rmdir(dir, name)
        }
        other => other,
    }
}

/// Opens a directory to be emptied, giving its owner the right to do so first where needed.
fn open_to_empty(dir: BorrowedFd<'_>, name: &[u8]) -> SysCall<OwnedFd> {
    match fs::open_dir(dir, name) {
        Err(Errno::ACCESS) => {
            unlock(dir);
            fs::chmod_at(dir, name, 0o700)?;
            fs::open_dir(dir, name)
        }
        other => other,
    }
}

/// Gives the owner of a directory all rights in it. Whether it worked, or another thread was there
/// first, is seen by what is tried next.
fn unlock(dir: BorrowedFd<'_>) {
    if matches!(fs::stat(dir), Ok(meta) if meta.mode & 0o700 != 0o700) {
        let _ = fs::chmod(dir, 0o700);
    }
}

/// Clears immutable and append-only flags from `dir` and from `name`, unless other names share
/// that inode: nothing is ever done to a shared inode. As for [`unlock`], the next try tells.
fn unstick(dir: BorrowedFd<'_>, name: &[u8]) {
    let _ = fs::clear_immutable(dir);
    let shared = match fs::stat_at(dir, name) {
        Ok(meta) => meta.kind != fs::Kind::Directory && meta.nlink > 1,
        Err(_) => return,
    };
    if !shared {
        let fd = fs::open_dir(dir, name).or_else(|_| fs::open_file(dir, name));
        if let Ok(fd) = fd {
            let _ = fs::clear_immutable(fd);
        }
    }
}

fn refuse(errno: Errno, path: &[u8]) -> Error {
    match errno {
        Errno::XDEV => {
            Error::new(Code::Mounted, Errno::BUSY, "something is mounted there").at(path)
        }
        errno => Error::sys(errno, "open").at(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &std::path::Path) -> OwnedFd {
        fs::open_dir_trusted(rustix::fs::CWD, path.as_os_str().as_encoded_bytes()).unwrap()
    }

    #[test]
    fn removes_every_kind_at_any_depth() {
        let dir = tempfile::tempdir().unwrap();
        let root = open(dir.path());
        let mut chain = Chain::new(open(dir.path()));
        for depth in 0..2500 {
            let fd = chain.fd().unwrap();
            fs::mkdir(fd, b"a-directory", 0o700).unwrap();
            if depth % 500 == 0 {
                fs::create_file(fd, b"file", 0o600).unwrap();
                fs::symlink(b"/", fd, b"link").unwrap();
                fs::mknod(fd, b"fifo", fs::Kind::Fifo, 0o600, (0, 0)).unwrap();
                fs::mknod(fd, b"socket", fs::Kind::Socket, 0o600, (0, 0)).unwrap();
            }
            let fd = fs::open_dir(fd, b"a-directory").unwrap();
            chain.push(b"a-directory".to_vec(), fd).unwrap();
        }
        remove_tree(&root, b"a-directory", &mut Watch::default()).unwrap();
        assert_eq!(
            fs::stat_at(&root, b"a-directory").unwrap_err(),
            Errno::NOENT
        );
        assert!(fs::stat_at(&root, b"fifo").is_ok());
        remove_contents(open(dir.path()), &mut Watch::default()).unwrap();
        assert!(DirBuf::default().is_empty(&root).unwrap());
    }

    #[test]
    fn a_symbolic_link_is_removed_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("kept")).unwrap();
        std::fs::write(dir.path().join("kept/file"), "x").unwrap();
        std::os::unix::fs::symlink("kept", dir.path().join("link")).unwrap();
        remove_tree(open(dir.path()), b"link", &mut Watch::default()).unwrap();
        assert!(dir.path().join("kept/file").exists());
    }

    #[test]
    fn cancelling_stops_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/file"), "x").unwrap();
        let cancel = crate::watch::Cancel::new();
        cancel.trigger();
        let mut watch = Watch::new(Some(&cancel), None);
        let error = remove_tree(open(dir.path()), b"d", &mut watch).unwrap_err();
        assert_eq!(error.errno(), Errno::CANCELED);
    }
}
