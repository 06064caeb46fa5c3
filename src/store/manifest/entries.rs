//! The entries of a tree, parents first, names in the order of their bytes.

use super::trust::Trust;
use crate::error::{Errno, Error, Result, SysResult};
use crate::layer::upper::{Files, Notes};
use crate::sys::dir::{DirBuf, Hint};
use crate::sys::fs::{Kind, Meta};
use crate::sys::{OwnedFd, SysCall, fs};
use crate::tree::chain::{Chain, join};
use std::sync::Arc;

/// How many entries are handed on at a time.
const BATCH: usize = 128;

/// Some entries of one directory, one after the other.
pub struct Batch {
    pub dir: Arc<OwnedFd>,
    /// The directory's path, for messages and lines.
    pub path: Vec<u8>,
    pub names: Vec<Vec<u8>>,
    /// The attributes of each, once somebody has asked for those that were not known.
    pub metas: Vec<Meta>,
    /// What was known of each, where there are notes.
    known: Vec<Option<Meta>>,
    /// The last name is a directory, and this is it: its entries come next.
    pub last: Option<Arc<OwnedFd>>,
}

impl Batch {
    /// The path of one of its names.
    pub fn path_of(&self, name: &[u8]) -> Vec<u8> {
        join(&self.path, name)
    }

    /// Asks for all attributes, unless somebody has.
    pub fn ask(&mut self) -> Result<()> {
        if !self.metas.is_empty() {
            return Ok(());
        }
        let mut metas = Vec::with_capacity(self.names.len());
        for (at, name) in self.names.iter().enumerate() {
            if let Some(Some(known)) = self.known.get(at) {
                metas.push(*known);
                continue;
            }
            let open = self.last.as_ref().filter(|_| at + 1 == self.names.len());
            let meta = match open {
                Some(fd) => fs::stat(fd),
                None => fs::stat_at(&self.dir, name),
            };
            let meta = meta.map_err(|errno| Error::sys(errno, "statx").at(self.path_of(name)))?;
            if open.is_none() && meta.kind == Kind::Directory {
                return Err(Error::changed().at(self.path_of(name)));
            }
            metas.push(meta);
        }
        self.metas = metas;
        Ok(())
    }
}

/// Walks a tree, and asks of its files no more than whether notes on them are right.
pub struct Walker<'a> {
    chain: Chain,
    notes: Option<&'a Notes>,
    trust: Trust,
    levels: Vec<Level<'a>>,
    /// The directory that was told last is still to be read.
    unread: bool,
    buf: DirBuf,
}

/// What is left of a directory on the way. Its path is not kept: all together they grow with the
/// square of the depth.
struct Level<'a> {
    names: std::vec::IntoIter<(Vec<u8>, Hint)>,
    /// Once its path was needed.
    notes: Option<Files<'a>>,
}

impl<'a> Walker<'a> {
    /// Below `root`, from where it stands. `notes`: what is known of plain files.
    pub fn new(root: OwnedFd, notes: Option<&'a Notes>) -> Self {
        Walker {
            chain: Chain::new(root),
            notes,
            trust: Trust::default(),
            levels: Vec::new(),
            unread: true,
            buf: DirBuf::default(),
        }
    }

    /// The next entries; `None` when there are no more.
    pub fn next(&mut self) -> Result<Option<Batch>> {
        if std::mem::take(&mut self.unread) {
            let names = self.read()?.into_iter();
            self.levels.push(Level { names, notes: None });
        }
        while let Some(level) = self.levels.last_mut() {
            let left = level.names.len();
            if left == 0 {
                self.levels.pop();
                self.chain.pop()?;
                continue;
            }
            let mut batch = Batch {
                dir: self.chain.shared()?,
                path: self.chain.path(),
                names: Vec::with_capacity(left.min(BATCH)),
                metas: Vec::new(),
                known: Vec::new(),
                last: None,
            };
            if let (Some(notes), None) = (self.notes, &level.notes) {
                level.notes = Some(notes.of(&batch.path));
            }
            while batch.names.len() < BATCH {
                let Some((name, hint)) = level.names.next() else {
                    break;
                };
                let directory = is_directory(&batch.dir, &name, hint)
                    .map_err(|errno| Error::sys(errno, "statx").at(batch.path_of(&name)))?;
                if let Some(notes) = &mut level.notes {
                    let noted = notes.next(&name).filter(|_| hint == Hint::File);
                    let told = |noted| self.trust.told(noted, &batch.dir, &name);
                    batch.known.push(noted.and_then(told));
                }
                batch.names.push(name);
                if let (true, Some(name)) = (directory, batch.names.last()) {
                    let path = batch.path_of(name);
                    let fd = fs::open_dir(&batch.dir, name).call_at("open", &path)?;
                    self.chain.push(name.clone(), fd)?;
                    batch.last = Some(self.chain.shared()?);
                    self.unread = true;
                    break;
                }
            }
            return Ok(Some(batch));
        }
        Ok(None)
    }

    fn read(&mut self) -> Result<Vec<(Vec<u8>, Hint)>> {
        let mut names = Vec::new();
        let read = self.buf.for_each(self.chain.fd()?, |name, hint| {
            names.push((name.to_vec(), hint));
            Ok::<_, Errno>(())
        });
        // A path takes time as the tree is deep: only for who reads it.
        read.map_err(|errno| Error::sys(errno, "getdents64").at(self.chain.path()))?;
        names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(names)
    }
}

fn is_directory(dir: &OwnedFd, name: &[u8], hint: Hint) -> SysCall<bool> {
    match hint {
        Hint::Directory => Ok(true),
        Hint::File | Hint::Other { .. } => Ok(false),
        Hint::Unknown => Ok(fs::stat_at(dir, name)?.kind == Kind::Directory),
    }
}
