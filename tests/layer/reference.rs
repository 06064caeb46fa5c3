//! What a layer tar means, said as simply as can be: a tree in memory, entries put into it in
//! their order, whiteouts taking away what came from below. It knows nothing of overlayfs.

use crate::lab::{Seen, Tree};
use crate::tar::{Entry, What};
use std::collections::{BTreeMap, HashMap};

/// How a hard link to a file from below is made: the stated difference between the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    Share,
    CopyUp,
}

/// Whose a name is in the layer that is being applied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The layers' below.
    Below,
    /// A directory that the way of an entry leads through.
    Way,
    /// The layer has an entry for it.
    Entry,
}

#[derive(Clone)]
struct Inode {
    /// As in [`Seen`]; the leader is found in the end.
    seen: Seen,
    /// Names in a directory: the inode, and whose it is.
    names: BTreeMap<Vec<u8>, (usize, Whose)>,
    /// The layer that made it.
    born: usize,
}

/// A tree, and how many layers went into it.
#[derive(Clone)]
pub struct Model {
    inodes: Vec<Inode>,
    layers: usize,
}

const ROOT: usize = 0;

fn implied() -> Seen {
    Seen {
        kind: 'd',
        mode: 0o755,
        ..Seen::default()
    }
}

impl Model {
    pub fn empty() -> Model {
        let root = Inode {
            seen: implied(),
            names: BTreeMap::new(),
            born: 0,
        };
        Model {
            inodes: vec![root],
            layers: 0,
        }
    }

    /// The tree with one more layer; `Err` is the number of an entry that cannot be.
    pub fn apply(&self, entries: &[Entry], links: Links) -> Result<Model, usize> {
        let mut next = self.clone();
        next.layers += 1;
        for inode in &mut next.inodes {
            inode
                .names
                .values_mut()
                .for_each(|name| name.1 = Whose::Below);
        }
        for (at, entry) in entries.iter().enumerate() {
            next.entry(entry, links).ok_or(at)?;
        }
        Ok(next)
    }

    fn new_inode(&mut self, seen: Seen) -> usize {
        self.inodes.push(Inode {
            seen,
            names: BTreeMap::new(),
            born: self.layers,
        });
        self.inodes.len() - 1
    }

    fn is_dir(&self, inode: usize) -> bool {
        self.inodes[inode].seen.kind == 'd'
    }

    /// The directory at `path`, links followed inside the root. The inner `None`: there is none,
    /// and it was not to be made; the outer: it cannot be.
    fn walk(&mut self, path: &[u8], make: bool) -> Option<Option<usize>> {
        let mut todo: Vec<Vec<u8>> = path
            .split(|&b| b == b'/')
            .rev()
            .map(<[u8]>::to_vec)
            .collect();
        let mut here = vec![ROOT];
        let mut followed = 0;
        while let Some(name) = todo.pop() {
            let dir = *here.last().unwrap();
            if name.is_empty() || name == b"." {
                continue;
            }
            if name == b".." {
                if here.len() > 1 {
                    here.pop();
                }
                continue;
            }
            let next = match self.inodes[dir].names.get(&name) {
                Some(&(inode, _)) => inode,
                None if !make => return Some(None),
                None => {
                    let new = self.new_inode(implied());
                    let whose = Whose::Way;
                    self.inodes[dir].names.insert(name.clone(), (new, whose));
                    new
                }
            };
            let seen = &self.inodes[next].seen;
            match seen.kind {
                'd' => {
                    here.push(next);
                    let whose = &mut self.inodes[dir].names.get_mut(&name).unwrap().1;
                    if make && *whose == Whose::Below {
                        *whose = Whose::Way;
                    }
                }
                'l' => {
                    followed += 1;
                    if followed > 40 {
                        return None;
                    }
                    if seen.data.starts_with(b"/") {
                        here.truncate(1);
                    }
                    todo.extend(seen.data.split(|&b| b == b'/').rev().map(<[u8]>::to_vec));
                }
                _ if make => return None,
                _ => return Some(None),
            }
        }
        Some(here.pop())
    }

    fn entry(&mut self, entry: &Entry, links: Links) -> Option<()> {
        let parts: Vec<&[u8]> = entry.path.split(|&b| b == b'/').collect();
        let parts: Vec<&[u8]> = parts
            .into_iter()
            .filter(|p| !p.is_empty() && *p != b".")
            .collect();
        // The bookkeeping of aufs.
        if parts
            .iter()
            .any(|p| p.starts_with(b".wh..wh.") && *p != b".wh..wh..opq")
        {
            return Some(());
        }
        let Some((name, parent)) = parts.split_last() else {
            return (entry.what == What::Dir).then(|| self.dress(ROOT, entry));
        };
        let parent = parent.join(&b'/');
        if *name == b".wh..wh..opq" {
            if let Some(dir) = self.walk(&parent, false)? {
                self.strip(dir);
            }
            return Some(());
        }
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            if let Some(dir) = self.walk(&parent, false)? {
                self.hide(dir, hidden);
            }
            return Some(());
        }
        let linked = match &entry.what {
            What::Hard(target) if *target == entry.path => return None,
            What::Hard(target) => Some(self.target(target, links)?),
            _ => None,
        };
        let dir = self.walk(&parent, true)??;
        let there_is = self.inodes[dir].names.get(*name).map(|name| name.0);
        if let (Some((_, from)), Some(old)) = (linked, there_is) {
            if self.holds(old, from) {
                return None;
            }
        }
        let linked = linked.map(|(inode, _)| inode);
        let there = self.inodes[dir].names.get(*name).copied();
        let inode = match (linked, there) {
            (Some(inode), _) => inode,
            (None, Some((inode, _))) if entry.what == What::Dir && self.is_dir(inode) => inode,
            _ => self.new_inode(Seen::default()),
        };
        self.inodes[dir]
            .names
            .insert(name.to_vec(), (inode, Whose::Entry));
        if linked.is_none() {
            self.dress(inode, entry);
        }
        Some(())
    }

    /// The inode that a hard link is to, and the directory it is in.
    fn target(&mut self, path: &[u8], links: Links) -> Option<(usize, usize)> {
        let at = path.iter().rposition(|&b| b == b'/');
        let (parent, name) = at.map_or((&b""[..], path), |at| (&path[..at], &path[at + 1..]));
        let dir = self.walk(parent, false)??;
        let inode = self.inodes[dir].names.get(name)?.0;
        if self.is_dir(inode) {
            return None;
        }
        if links == Links::Share || self.inodes[inode].born == self.layers {
            return Some((inode, dir));
        }
        let copy = self.new_inode(self.inodes[inode].seen.clone());
        let whose = Whose::Below;
        self.inodes[dir].names.insert(name.to_vec(), (copy, whose));
        Some((copy, dir))
    }

    /// Whether a directory is, or has in it, the one that a link's target is in.
    fn holds(&self, dir: usize, from: usize) -> bool {
        let mut names = self.inodes[dir].names.values();
        dir == from || names.any(|&(child, _)| self.holds(child, from))
    }

    /// What an entry says of its inode.
    fn dress(&mut self, inode: usize, entry: &Entry) {
        let (kind, data) = match &entry.what {
            What::Dir => ('d', Vec::new()),
            What::File(data) => ('f', data.clone()),
            What::Symlink(target) => ('l', target.clone()),
            What::Fifo => ('p', Vec::new()),
            What::Char(major, minor) => ('c', format!("{major}:{minor}").into()),
            What::Block(major, minor) => ('b', format!("{major}:{minor}").into()),
            What::Hard(_) => unreachable!(),
        };
        self.inodes[inode].seen = Seen {
            kind,
            mode: if kind == 'l' { 0o777 } else { entry.mode },
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            data,
            xattrs: entry.xattrs.iter().cloned().collect(),
            leader: Vec::new(),
        };
    }

    /// Takes away what came from below at a name: all of it, or what a directory has of it that the
    /// way of an entry leads through.
    fn hide(&mut self, dir: usize, name: &[u8]) {
        let Some(&(inode, whose)) = self.inodes[dir].names.get(name) else {
            return;
        };
        if self.is_dir(inode) {
            self.strip(inode);
        }
        match whose {
            Whose::Below => drop(self.inodes[dir].names.remove(name)),
            Whose::Way => self.inodes[inode].seen = implied(),
            Whose::Entry => {}
        }
    }

    /// Takes away what came from below in a directory.
    fn strip(&mut self, dir: usize) {
        let names: Vec<Vec<u8>> = self.inodes[dir].names.keys().cloned().collect();
        for name in names {
            self.hide(dir, &name);
        }
    }

    /// The tree as [`crate::lab::look`] would see it.
    pub fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        let mut todo = vec![(Vec::new(), ROOT)];
        let mut ids = BTreeMap::new();
        while let Some((path, inode)) = todo.pop() {
            for (name, &(child, _)) in &self.inodes[inode].names {
                let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                todo.push(([&path[..], slash, name].concat(), child));
            }
            tree.insert(path.clone(), self.inodes[inode].seen.clone());
            ids.insert(path, inode);
        }
        let mut leaders = HashMap::new();
        for (path, inode) in ids {
            let leader: &mut Vec<u8> = leaders.entry(inode).or_insert_with(|| path.clone());
            let leader = leader.clone();
            tree.get_mut(&path).unwrap().leader = leader;
        }
        tree
    }
}
