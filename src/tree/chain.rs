//! The open directories from the root of a walk down to where it is.
//!
//! A tree can be deeper than the caller's descriptor limit, so only the deepest few levels stay
//! open. A level that was closed is opened again from its child by `..`, and must then be the
//! directory that it was: a tree that was rearranged underneath ends the walk with ESTALE.

use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::dir::{DirBuf, Hint};
use crate::sys::fs::Kind;
use crate::sys::{BorrowedFd, OwnedFd, SysCall, fs};
use crate::watch::Watch;
use std::os::fd::AsFd;
use std::sync::Arc;

/// How many levels stay open.
pub const OPEN: usize = 32;

type Identity = (u64, (u32, u32));

struct Level {
    name: Vec<u8>,
    fd: Option<Arc<OwnedFd>>,
    id: Option<Identity>,
}

/// What opening a name says of a directory that went, or became something else.
pub const GONE: [Errno; 3] = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP];

/// Calls `visit` in each directory of a tree, before those in it; it gives which to go into, or none
/// to end the walk.
/// One that answers to being opened as one of `gone` is passed by.
pub fn walk(
    root: OwnedFd,
    gone: &[Errno],
    watch: &mut Watch<'_>,
    mut visit: impl FnMut(&Chain, &mut Watch<'_>) -> Result<Option<Vec<Vec<u8>>>>,
) -> Result<()> {
    let mut chain = Chain::new(root);
    let mut pending: Vec<_> = visit(&chain, watch)?.into_iter().collect();
    watch.check()?;
    while let Some(below) = pending.last_mut() {
        let Some(name) = below.pop() else {
            pending.pop();
            chain.pop()?;
            continue;
        };
        let fd = match fs::open_dir(chain.fd()?, &name) {
            Ok(fd) => fd,
            Err(errno) if gone.contains(&errno) => continue,
            Err(errno) => return Err(errno).call_at("open", chain.path_of(&name)),
        };
        chain.push(name, fd)?;
        match visit(&chain, watch)? {
            Some(below) => pending.push(below),
            None => return Ok(()),
        }
        watch.check()?;
    }
    Ok(())
}

/// `a/b`, or the one of them that is not empty.
pub fn join(a: &[u8], b: &[u8]) -> Vec<u8> {
    match (a.is_empty(), b.is_empty()) {
        (true, _) => b.to_vec(),
        (_, true) => a.to_vec(),
        _ => [a, b].join(&b'/'),
    }
}

/// See the module's text.
pub struct Chain {
    levels: Vec<Level>,
}

impl Chain {
    /// A chain that stands at its root.
    pub fn new(root: OwnedFd) -> Self {
        Chain::below(Vec::new(), Arc::new(root))
    }

    /// A chain whose root is itself at `path` below another one: paths are told from there.
    fn below(path: Vec<u8>, root: Arc<OwnedFd>) -> Self {
        Chain {
            levels: vec![Level {
                name: path,
                fd: Some(root),
                id: None,
            }],
        }
    }

    /// How many levels there are below the root.
    pub fn depth(&self) -> usize {
        self.levels.len() - 1
    }

    /// Goes down into `fd`, the directory called `name` here.
    pub fn push(&mut self, name: Vec<u8>, fd: OwnedFd) -> Result<()> {
        self.levels.push(Level {
            name,
            fd: Some(Arc::new(fd)),
            id: None,
        });
        if self.levels.len() > OPEN + 1 {
            // The root stays open: nothing above it is ours to go through.
            let close = self.levels.len() - 1 - OPEN;
            if close > 0 {
                if let Some(fd) = self.levels[close].fd.take() {
                    let meta = fs::stat(&fd).call("statx")?;
                    self.levels[close].id = Some((meta.ino, meta.dev));
                }
            }
        }
        Ok(())
    }

    /// The directory that the walk stands in.
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        match self.levels.last().and_then(|level| level.fd.as_ref()) {
            Some(fd) => Ok(fd.as_fd()),
            None => Err(above()),
        }
    }

    /// A chain whose root is the directory that many levels below this one's; `None` where it is closed
    /// for now.
    pub fn beside(&self, depth: usize) -> Option<Self> {
        let fd = self.levels.get(depth)?.fd.clone()?;
        Some(Chain::below(self.path_at(depth), fd))
    }

    /// Opens the directory at `path` below the root.
    pub fn open_from_root(&self, path: &[u8]) -> Result<OwnedFd> {
        match self.levels.first().and_then(|level| level.fd.as_ref()) {
            Some(root) => fs::open_dir_deep(root, path).call_at("open", path),
            None => Err(Error::new(
                Code::Bug,
                Errno::NOTRECOVERABLE,
                "walk without a root",
            )),
        }
    }

    /// The same, to be kept for longer than the walk stands there.
    pub fn shared(&self) -> Result<Arc<OwnedFd>> {
        match self.levels.last().and_then(|level| level.fd.clone()) {
            Some(fd) => Ok(fd),
            None => Err(above()),
        }
    }

    /// Goes back up, and gives the name of the directory that was left and its descriptor.
    pub fn pop(&mut self) -> Result<Option<(Vec<u8>, Arc<OwnedFd>)>> {
        if self.levels.len() < 2 {
            return Ok(None);
        }
        let Some(left) = self.levels.pop() else {
            return Ok(None);
        };
        let Some(left_fd) = left.fd else {
            let error = Error::new(Code::Bug, Errno::NOTRECOVERABLE, "closed level");
            return Err(error.at(self.path_of(&left.name)));
        };
        if let Some(Level { fd: None, id, .. }) = self.levels.last() {
            let fd = reopen(&left_fd, *id).map_err(|errno| {
                let error = Error::sys(errno, "open ..");
                // A path takes time as the tree is deep: only for who reads it.
                let error = error.at(self.path_of(&left.name));
                match errno {
                    Errno::STALE => error.code_is(Code::Changed),
                    _ => error,
                }
            })?;
            if let Some(level) = self.levels.last_mut() {
                level.fd = Some(Arc::new(fd));
            }
        }
        Ok(Some((left.name, left_fd)))
    }

    /// The path of `name` in the current directory, relative to the root, for messages.
    pub fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path();
        if !path.is_empty() && !name.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// The path of the current directory, relative to the root.
    pub fn path(&self) -> Vec<u8> {
        self.path_at(self.depth())
    }

    /// The path of the directory that many levels below the root.
    pub fn path_at(&self, depth: usize) -> Vec<u8> {
        let names = self
            .levels
            .iter()
            .take(depth + 1)
            .map(|l| l.name.as_slice());
        // The root itself has none, but for one that is below another.
        let names: Vec<&[u8]> = names.skip_while(|name| name.is_empty()).collect();
        names.join(&b'/')
    }
}

/// Calls `each` with every directory below `root` and with `root` itself, those below first.
pub fn directories(
    root: OwnedFd,
    each: &mut dyn FnMut(BorrowedFd<'_>) -> Result<()>,
) -> Result<()> {
    let mut buf = DirBuf::default();
    let mut chain = Chain::new(root);
    let mut pending = vec![below(&chain, &mut buf)?];
    while let Some(names) = pending.last_mut() {
        if let Some(name) = names.pop() {
            let fd = fs::open_dir(chain.fd()?, &name);
            let fd = fd.map_err(|errno| Error::sys(errno, "open").at(chain.path_of(&name)))?;
            chain.push(name, fd)?;
            pending.push(below(&chain, &mut buf)?);
            continue;
        }
        pending.pop();
        match chain.pop()? {
            Some((_, fd)) => each(fd.as_fd())?,
            None => each(chain.fd()?)?,
        }
    }
    Ok(())
}

/// The directories where the chain stands.
fn below(chain: &Chain, buf: &mut DirBuf) -> Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    let fd = chain.fd()?;
    let read = buf.for_each(fd, |name, hint| {
        let directory = match hint {
            Hint::Directory => true,
            Hint::Unknown => fs::stat_at(fd, name)?.kind == Kind::Directory,
            Hint::File | Hint::Other { .. } => false,
        };
        if directory {
            names.push(name.to_vec());
        }
        Ok::<_, Errno>(())
    });
    read.map_err(|errno| Error::sys(errno, "getdents64").at(chain.path()))?;
    Ok(names)
}

fn above() -> Error {
    Error::new(Code::Bug, Errno::NOTRECOVERABLE, "walk above its root")
}

fn reopen(child: &OwnedFd, id: Option<Identity>) -> SysCall<OwnedFd> {
    let fd = fs::open_dir_trusted(child, b"..")?;
    let meta = fs::stat(&fd)?;
    if id == Some((meta.ino, meta.dev)) {
        Ok(fd)
    } else {
        Err(Errno::STALE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_up_from_far_below() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::open_dir_trusted(rustix::fs::CWD, dir.path().as_os_str().as_encoded_bytes());
        let root = root.unwrap();
        let top = fs::stat(&root).unwrap();
        let mut chain = Chain::new(root);
        for _ in 0..3 * OPEN {
            fs::mkdir(chain.fd().unwrap(), b"d", 0o700).unwrap();
            let fd = fs::open_dir(chain.fd().unwrap(), b"d").unwrap();
            chain.push(b"d".to_vec(), fd).unwrap();
        }
        assert_eq!(chain.path().len(), 3 * OPEN * 2 - 1);
        while let Some((name, _)) = chain.pop().unwrap() {
            assert_eq!(name, b"d");
        }
        assert!(fs::stat(chain.fd().unwrap()).unwrap().same_inode(&top));
    }

    #[test]
    fn a_moved_directory_ends_the_walk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().as_os_str().as_encoded_bytes();
        let root = fs::open_dir_trusted(rustix::fs::CWD, path).unwrap();
        fs::mkdir(&root, b"elsewhere", 0o700).unwrap();
        let mut chain = Chain::new(root);
        for _ in 0..OPEN + 2 {
            fs::mkdir(chain.fd().unwrap(), b"d", 0o700).unwrap();
            let fd = fs::open_dir(chain.fd().unwrap(), b"d").unwrap();
            chain.push(b"d".to_vec(), fd).unwrap();
        }
        // The second level is closed by now; move the third out of it.
        std::fs::rename(dir.path().join("d/d/d"), dir.path().join("elsewhere/d")).unwrap();
        let mut last = Ok(());
        loop {
            match chain.pop() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    last = Err(error);
                    break;
                }
            }
        }
        let error = last.unwrap_err();
        assert_eq!((error.errno(), error.code()), (Errno::STALE, Code::Changed));
    }
}
