//! The names in a tar, as one finds them who unpacks it member by member: later members take the
//! place of earlier ones, symbolic links are followed, also on the way to a member, a hard link is
//! what its target was when the link came. Nothing leads out.

use crate::archive::path;
use crate::error::{Code, Errno, Error, Result};
use crate::oci::too_much;
use std::collections::BTreeMap;

/// Files, links and directories of an archive, told or implied: each takes memory, and no image
/// comes near.
const MAX_NODES: usize = 1 << 16;

/// Bytes of their names and of what links say, together.
const MAX_BYTES: usize = 16 << 20;

/// Links on one way.
const MAX_LINKS: usize = 16;

const ROOT: usize = 0;

/// Where a file's data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first byte.
    pub start: u64,
    /// How many there are.
    pub size: u64,
}

/// What a member is.
#[derive(Debug)]
pub enum Member<'a> {
    #[allow(missing_docs)]
    File(Place),
    #[allow(missing_docs)]
    Directory,
    /// What it says.
    Symlink(&'a [u8]),
    /// Its target, from the archive's root.
    HardLink(&'a [u8]),
    /// Devices and the like.
    Other,
}

#[derive(Debug)]
enum Node {
    File(Place),
    Directory {
        parent: usize,
        children: BTreeMap<Box<[u8]>, usize>,
    },
    Symlink(Box<[u8]>),
    Other,
    /// A hard link out of the archive.
    Outside,
}

/// See the module's text.
#[derive(Debug)]
pub struct Names {
    nodes: Vec<Node>,
    bytes: usize,
}

impl Default for Names {
    fn default() -> Self {
        Names {
            nodes: vec![directory(ROOT)],
            bytes: 0,
        }
    }
}

fn directory(parent: usize) -> Node {
    Node::Directory {
        parent,
        children: BTreeMap::new(),
    }
}

impl Names {
    /// The next member. EXDEV where it lies behind a link that leads out, EBADMSG where it cannot be
    /// where it says.
    pub fn add(&mut self, name: &[u8], member: &Member<'_>) -> Result<()> {
        let name = path::clean(name)?;
        let (parent, last) = path::split(&name);
        if last.is_empty() {
            return match member {
                Member::Directory => Ok(()),
                _ => Err(impossible(&name)),
            };
        }
        let dir = self.make_way(parent).map_err(|e| e.at(&name))?;
        let node = match member {
            Member::File(place) => Node::File(*place),
            Member::Directory => directory(dir),
            Member::Symlink(target) => Node::Symlink(self.keep(target)?),
            Member::HardLink(target) => match self.linked(target)? {
                Some(node) => node,
                // There is nothing to link to: none is made.
                None => return Ok(()),
            },
            Member::Other => Node::Other,
        };
        match self.child(dir, last) {
            None => self.insert(dir, last, node).map(drop),
            Some(there) => match (self.nodes.get_mut(there), node) {
                (Some(Node::Directory { .. }), Node::Directory { .. }) => Ok(()),
                (Some(Node::Directory { .. }), _) => Err(impossible(&name)),
                (Some(old), node) => {
                    *old = node;
                    Ok(())
                }
                (None, _) => Err(impossible(&name)),
            },
        }
    }

    /// The file at a path from the root; none where there is nothing. EXDEV where the way leads out,
    /// EBADMSG where it ends at something else.
    pub fn find(&self, path: &[u8]) -> Result<Option<Place>> {
        let Some(found) = self.follow(ROOT, path, true)? else {
            return Ok(None);
        };
        match self.nodes.get(found) {
            Some(Node::File(place)) => Ok(Some(*place)),
            Some(Node::Outside) => Err(outside()),
            _ => Err(no_file()),
        }
    }

    /// The directory at a clean path, made as far as it is not there.
    fn make_way(&mut self, path: &[u8]) -> Result<usize> {
        let mut at = ROOT;
        for part in parts(path) {
            let next = match self.child(at, part) {
                None => self.insert(at, part, directory(at))?,
                Some(_) => self.follow(at, part, true)?.ok_or_else(no_directory)?,
            };
            if !matches!(self.nodes.get(next), Some(Node::Directory { .. })) {
                return Err(no_directory());
            }
            at = next;
        }
        Ok(at)
    }

    /// What a hard link to `target` is; none where nothing is there.
    fn linked(&mut self, target: &[u8]) -> Result<Option<Node>> {
        let Ok(target) = path::clean(target) else {
            return Ok(Some(Node::Outside));
        };
        let found = match self.follow(ROOT, &target, false) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error) if error.code() == Code::Escape => return Ok(Some(Node::Outside)),
            Err(_) => return Ok(None),
        };
        let target = match self.nodes.get(found) {
            Some(Node::File(place)) => return Ok(Some(Node::File(*place))),
            Some(Node::Symlink(target)) => target.clone(),
            Some(Node::Directory { .. }) | None => return Ok(None),
            Some(Node::Other) => return Ok(Some(Node::Other)),
            Some(Node::Outside) => return Ok(Some(Node::Outside)),
        };
        self.keep(&target).map(Node::Symlink).map(Some)
    }

    /// Where a path leads; none where there is nothing. `last`: a link at its end is followed too.
    fn follow(&self, from: usize, path: &[u8], last: bool) -> Result<Option<usize>> {
        let mut at = from;
        let mut links = 0;
        let mut todo: Vec<&[u8]> = parts(path).rev().collect();
        while let Some(part) = todo.pop() {
            let Some(Node::Directory { parent, children }) = self.nodes.get(at) else {
                return Ok(None);
            };
            if part == b".." {
                if at == ROOT {
                    return Err(outside());
                }
                at = *parent;
                continue;
            }
            let Some(&next) = children.get(part) else {
                return Ok(None);
            };
            match self.nodes.get(next) {
                Some(Node::Symlink(target)) if last || !todo.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        let message = "links in the archive lead in a circle";
                        return Err(Error::new(Code::Archive, Errno::BADMSG, message));
                    }
                    if target.starts_with(b"/") {
                        return Err(outside());
                    }
                    todo.extend(parts(target).rev());
                }
                _ => at = next,
            }
        }
        Ok(Some(at))
    }

    fn child(&self, dir: usize, name: &[u8]) -> Option<usize> {
        match self.nodes.get(dir) {
            Some(Node::Directory { children, .. }) => children.get(name).copied(),
            _ => None,
        }
    }

    fn insert(&mut self, dir: usize, name: &[u8], node: Node) -> Result<usize> {
        if self.nodes.len() >= MAX_NODES {
            return Err(too_much(format!(
                "more than {MAX_NODES} files and directories in the archive"
            )));
        }
        let name = self.keep(name)?;
        let new = self.nodes.len();
        match self.nodes.get_mut(dir) {
            Some(Node::Directory { children, .. }) => drop(children.insert(name, new)),
            _ => return Err(no_directory()),
        }
        self.nodes.push(node);
        Ok(new)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<Box<[u8]>> {
        self.bytes += bytes.len();
        if self.bytes > MAX_BYTES {
            return Err(too_much(format!(
                "the names in the archive have more than {MAX_BYTES} bytes"
            )));
        }
        Ok(bytes.into())
    }
}

/// The parts of a path that lead anywhere.
fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
}

fn outside() -> Error {
    Error::new(Code::Escape, Errno::XDEV, "it leads out of the archive")
}

fn no_file() -> Error {
    Error::new(Code::Archive, Errno::BADMSG, "it is no regular file")
}

fn no_directory() -> Error {
    let message = "the archive cannot be unpacked: the way to it leads over no directory";
    Error::new(Code::Archive, Errno::BADMSG, message)
}

fn impossible(name: &[u8]) -> Error {
    let message = "the archive cannot be unpacked: a directory is in its place";
    Error::new(Code::Archive, Errno::BADMSG, message).at(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(start: u64) -> Member<'static> {
        Member::File(Place { start, size: 1 })
    }

    fn at(names: &Names, path: &str) -> Result<Option<u64>> {
        names
            .find(path.as_bytes())
            .map(|found| found.map(|place| place.start))
    }

    fn of(members: &[(&str, Member<'_>)]) -> Names {
        let mut names = Names::default();
        for (name, member) in members {
            names.add(name.as_bytes(), member).unwrap();
        }
        names
    }

    #[test]
    fn as_they_come() {
        let names = of(&[
            ("./a/b", file(1)),
            ("/a/c", file(2)),
            ("a/b", file(3)),
            ("h", Member::HardLink(b"./a/b")),
            ("a/b", file(4)),
            ("early", Member::HardLink(b"late")),
            ("late", file(5)),
            ("s", Member::Symlink(b"a/b")),
            ("t", Member::HardLink(b"s")),
            ("out", Member::HardLink(b"../x")),
            ("dir", Member::HardLink(b"a")),
            ("dev", Member::Other),
            (".", Member::Directory),
        ]);
        for (path, start) in [
            ("a/b", Some(4)),
            ("a/c", Some(2)),
            ("h", Some(3)),
            ("early", None),
            ("dir", None),
            ("s", Some(4)),
            ("t", Some(4)),
            ("a/b/c", None),
            ("a/b/.", Some(4)),
            ("none", None),
        ] {
            assert_eq!(at(&names, path).unwrap(), start, "{path}");
        }
        for (path, errno) in [
            ("a", Errno::BADMSG),
            ("", Errno::BADMSG),
            ("dev", Errno::BADMSG),
            ("out", Errno::XDEV),
            ("..", Errno::XDEV),
        ] {
            assert_eq!(at(&names, path).unwrap_err().errno(), errno, "{path}");
        }
    }

    #[test]
    fn links() {
        let mut names = of(&[
            ("d/e/f", file(1)),
            ("l", Member::Symlink(b"d//./e/")),
            ("l/new", file(2)),
            ("d/e/up", Member::Symlink(b"..")),
            ("l/up/g", file(3)),
            ("loop", Member::Symlink(b"loop")),
            ("root", Member::Symlink(b"/d")),
            ("out", Member::Symlink(b"d/../../x")),
            ("lost", Member::Symlink(b"none/../d")),
        ]);
        for (path, start) in [
            ("l/f", Some(1)),
            ("d/e/new", Some(2)),
            ("d/g", Some(3)),
            ("l/up/up", None),
            ("lost/g", None),
            ("l/up/e/up/g", Some(3)),
        ] {
            assert_eq!(at(&names, path).unwrap(), start, "{path}");
        }
        for (path, errno) in [
            ("loop", Errno::BADMSG),
            ("root/e/f", Errno::XDEV),
            ("out", Errno::XDEV),
        ] {
            assert_eq!(at(&names, path).unwrap_err().errno(), errno, "{path}");
            let error = names.add(format!("{path}/x").as_bytes(), &file(9));
            assert_eq!(error.unwrap_err().errno(), errno, "{path}/x");
        }
        for path in ["d/e/f/x", "lost/x", "d/e", ""] {
            let error = names.add(path.as_bytes(), &file(9)).unwrap_err();
            assert_eq!(error.errno(), Errno::BADMSG, "{path}");
        }
        // What stands there makes room for a directory, and that stays.
        names.add(b"loop", &Member::Directory).unwrap();
        names.add(b"loop/x", &file(7)).unwrap();
        names.add(b"loop", &Member::Directory).unwrap();
        assert_eq!(at(&names, "loop/x").unwrap(), Some(7));
    }

    #[test]
    fn bounds() {
        let mut names = Names::default();
        let deep = "a/".repeat(1 << 15);
        names.add(deep.as_bytes(), &Member::Directory).unwrap();
        let error = names.add(format!("b/{deep}").as_bytes(), &file(1));
        assert_eq!(error.unwrap_err().errno(), Errno::FBIG);
        let mut names = Names::default();
        let long = vec![b'x'; 1 << 20];
        for n in 0..16 {
            let done = names.add(format!("{n}").as_bytes(), &Member::Symlink(&long));
            assert_eq!(done.is_ok(), n < 15, "{n}");
        }
    }
}
