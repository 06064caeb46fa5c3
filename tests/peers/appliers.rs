//! What libovl writes, put on a directory by others.

use crate::lab::{self, Lab, Seen, Tree};
use crate::peer::Peer::{self, Bsd, Containerd, Gnu, Moby, Umoci};
use crate::peer::{ALL, LAYERS, alone, copy};
use crate::rng::Rng;
use crate::support::fsys;
use crate::trees;
use ovl::store::{Against, CommitFlags, Durability, Kind, MountFlags};
use ovl::watch::Watch;
use std::fmt::Write;
use std::path::Path;

/// A difference that is no defect: what an applier makes of a tree that it was told.
pub struct Row {
    who: &'static [Peer],
    pub what: &'static str,
    /// Changes what should be; what is may be looked at where nothing can be foretold.
    change: fn(should: &mut Tree, is: &Tree, before: &Tree),
}

/// `docs/interop.md` tells these to users.
pub const ROWS: [Row; 11] = [
    Row {
        who: &[Containerd, Moby],
        what: "leaves the root's own attributes alone",
        change: |should, is, _| copy_root(should, is, |seen, root| *seen = root.clone()),
    },
    Row {
        who: &[Bsd],
        what: "leaves the root's own time alone",
        change: |should, is, _| copy_root(should, is, |seen, root| seen.mtime = root.mtime),
    },
    Row {
        who: &[Containerd, Moby],
        what: "keeps no time before 1970",
        change: |should, _, _| {
            each(should, |seen| seen.mtime = seen.mtime.max((0, 0)));
        },
    },
    Row {
        who: &[Bsd],
        what: "counts the fraction of a time before 1970 forwards",
        change: |should, _, _| {
            each(should, |seen| {
                if let (..0, 1..) = seen.mtime {
                    seen.mtime = (seen.mtime.0 + 1, 1_000_000_000 - seen.mtime.1);
                }
            });
        },
    },
    Row {
        who: &[Containerd],
        what: "sets no trusted attribute",
        change: |should, _, _| without(should, |name| name.starts_with(b"trusted.")),
    },
    Row {
        who: &[Bsd],
        what: "takes no ACL from an attribute",
        change: |should, _, _| without(should, |name| name.starts_with(ACL)),
    },
    Row {
        who: &[Gnu, Containerd, Moby, Umoci],
        what: "sets no attribute whose name has an equals sign",
        change: |should, _, _| without(should, |name| name.contains(&b'=')),
    },
    Row {
        who: &[Containerd, Moby],
        what: "lets a file inherit the default ACL of its directory",
        change: |should, is, _| {
            let heirs: Vec<Vec<u8>> = should
                .keys()
                .filter(|path| should[parent(path)].xattrs.contains_key(DEFAULT_ACL))
                .cloned()
                .collect();
            for path in heirs {
                let seen = should.get_mut(&path).unwrap();
                seen.xattrs.retain(|name, _| !name.starts_with(ACL));
                let found = is.get(&path).map(|seen| seen.xattrs.clone());
                let acls = found.unwrap_or_default().into_iter();
                seen.xattrs
                    .extend(acls.filter(|(name, _)| name.starts_with(ACL)));
            }
        },
    },
    Row {
        who: &[Umoci],
        what: "sets no attribute that is empty",
        change: |should, _, _| {
            each(should, |seen| {
                seen.xattrs.retain(|_, value| !value.is_empty())
            });
        },
    },
    Row {
        who: &[Containerd, Moby],
        what: "leaves a directory the attributes that its entry no longer has",
        change: |should, _, before| {
            for (path, seen) in should.iter_mut().filter(|(_, seen)| seen.kind == 'd') {
                let old = before.get(path).filter(|old| old.kind == 'd');
                for (name, value) in old.into_iter().flat_map(|old| &old.xattrs) {
                    seen.xattrs.entry(name.clone()).or_insert(value.clone());
                }
            }
        },
    },
    Row {
        who: &[Moby],
        what: "sets a symbolic link's attributes on what it points to",
        change: |should, _, _| {
            let links: Vec<Vec<u8>> = should
                .iter()
                .filter(|(_, seen)| seen.kind == 'l' && !seen.xattrs.is_empty())
                .map(|(path, _)| path.clone())
                .collect();
            for path in links {
                let link = should.get_mut(&path).unwrap();
                let xattrs = std::mem::take(&mut link.xattrs);
                let target = [parent(&path), b"/", &link.data].concat();
                should.get_mut(&target).unwrap().xattrs.extend(xattrs);
            }
        },
    },
];

const ACL: &[u8] = b"system.posix_acl_";
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

fn each(tree: &mut Tree, change: impl Fn(&mut Seen)) {
    tree.values_mut().for_each(change);
}

fn without(tree: &mut Tree, which: impl Fn(&[u8]) -> bool) {
    each(tree, |seen| seen.xattrs.retain(|name, _| !which(name)));
}

fn copy_root(should: &mut Tree, is: &Tree, change: fn(&mut Seen, &Seen)) {
    change(should.get_mut(&b""[..]).unwrap(), &is[&b""[..]]);
}

pub fn parent(path: &[u8]) -> &[u8] {
    let slash = path.iter().rposition(|&b| b == b'/');
    &path[..slash.unwrap_or(0)]
}

/// Overlayfs's own attributes are no part of a layer.
pub fn layered(tree: &mut Tree) {
    without(tree, |name| {
        name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
    });
}

/// What differs when all rows of a peer but one are granted.
pub fn differences(
    peer: Peer,
    is: &Tree,
    should: &Tree,
    before: &Tree,
    but: Option<&str>,
) -> Vec<String> {
    let mut should = should.clone();
    for row in &ROWS {
        if row.who.contains(&peer) && but != Some(row.what) {
            (row.change)(&mut should, is, before);
        }
    }
    told(is, &should)
}

/// What differs, a line each, and no more than that.
pub fn told(is: &Tree, should: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    let new = should.keys().filter(|path| !is.contains_key(*path));
    for path in is.keys().chain(new) {
        let mut line = String::new();
        match (is.get(path), should.get(path)) {
            (Some(is), Some(should)) => {
                macro_rules! compare {
                    ($($field:ident)+) => {$(if is.$field != should.$field {
                        let (is, should) = (&is.$field, &should.$field);
                        let _ = write!(line, " {} {is:?} not {should:?}", stringify!($field));
                    })+};
                }
                compare!(kind mode uid gid mtime leader);
                if is.data != should.data {
                    line += " other content";
                }
                for name in is.xattrs.keys().chain(should.xattrs.keys()) {
                    let (is, should) = (is.xattrs.get(name), should.xattrs.get(name));
                    if is != should {
                        let name = name.escape_ascii();
                        let _ = write!(line, " {name} {is:?} not {should:?}");
                    }
                }
            }
            (Some(_), None) => line += " is there",
            (None, _) => line += " is not there",
        }
        if !line.is_empty() {
            line.truncate(400);
            lines.push(format!("{}:{line}", path.escape_ascii()));
        }
    }
    lines
}

/// The layer of `id` put on a copy of `old` by a peer.
pub fn applied(peer: Peer, dir: &Path, old: Option<&Path>, tar: &[u8]) -> Tree {
    let at = dir.join("at");
    match old {
        Some(old) => copy(old, &at),
        None => std::fs::create_dir(&at).unwrap(),
    }
    peer.apply(&at, tar)
        .unwrap_or_else(|why| panic!("{peer:?}: {why}"));
    let is = lab::look(&at);
    std::fs::remove_dir_all(at).unwrap();
    is
}

pub fn commit(lab: &Lab, id: &str) {
    let flags = CommitFlags::empty();
    let mut watch = Watch::default();
    lab.store
        .commit(id.as_bytes(), Durability::None, flags, &mut watch)
        .unwrap();
}

/// The tree is the one that libovl means, rows granted; the rows without which it would not be.
#[track_caller]
fn check(
    peer: Peer,
    dir: &Path,
    old: Option<&Path>,
    tar: &[u8],
    should: &Tree,
) -> Vec<&'static str> {
    let before = old.map_or_else(Tree::new, lab::look);
    let is = applied(peer, dir, old, tar);
    let lines = differences(peer, &is, should, &before, None);
    assert!(lines.is_empty(), "{peer:?}:\n{}", lines.join("\n"));
    ROWS.iter()
        .filter(|row| row.who.contains(&peer))
        .map(|row| row.what)
        .filter(|what| !differences(peer, &is, should, &before, Some(what)).is_empty())
        .collect()
}

#[test]
fn trees_and_changes_are_the_same_by_all_and_every_row_is_needed() {
    require!("root", "overlay", "tmpfs");
    let _one = alone();
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.create("everything", "");
        lab.change("everything", trees::torture);
        let everything = lab.diff("everything", Against::Nothing);
        let mut torture = lab.look("everything");
        layered(&mut torture);
        lab.apply("again", "", Kind::Root, &everything).unwrap();
        lab::assert_tree("again", &lab.look("again"), &torture);

        lab.create("base", "");
        lab.change("base", trees::base);
        lab.create("work", "base");
        lab.change("work", trees::work);
        let (work, worked) = (lab.diff("work", Against::Parent), lab.look("work"));
        let base = lab.home.join("layer/base/root");

        for peer in ALL.into_iter().filter(|peer| peer.there()) {
            let mut needed = check(peer, dir, None, &everything, &torture);
            if LAYERS.contains(&peer) {
                needed.extend(check(peer, dir, Some(&base), &work, &worked));
            }
            for row in ROWS.iter().filter(|row| row.who.contains(&peer)) {
                assert!(
                    needed.contains(&row.what),
                    "{peer:?} no longer {}",
                    row.what
                );
            }
        }
    });
}

#[test]
fn a_system_is_the_same_by_all() {
    require!("root", "tmpfs");
    let _one = alone();
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.create("s", "");
        lab.change("s", trees::system);
        let should = lab.look("s");
        assert!(should.len() > 300, "{} names", should.len());
        let tar = lab.diff("s", Against::Nothing);
        for peer in ALL.into_iter().filter(|peer| peer.there()) {
            check(peer, dir, None, &tar, &should);
        }
    });
}

/// `OVL_TEST_CHAINS=N` runs N chains, `OVL_TEST_SEED=N` begins with that seed.
#[test]
fn random_chains_are_the_same_by_all() {
    require!("root", "overlay", "tmpfs");
    let _one = alone();
    let peers: Vec<Peer> = LAYERS.into_iter().filter(|peer| peer.there()).collect();
    for seed in crate::rng::seeds(25) {
        fsys::on("tmpfs", |dir| {
            let lab = Lab::new(dir);
            let mut rng = Rng(seed);
            lab.create("0", "");
            lab.change("0", trees::base);
            let below = dir.join("below");
            copy(&lab.home.join("layer/0/root"), &below);
            for at in 1..4 {
                let (old, id) = ((at - 1).to_string(), at.to_string());
                lab.create(&id, &old);
                let told = lab.change(&id, |top| trees::random(top, &mut rng));
                commit(&lab, &id);
                let tar = lab.diff(&id, Against::Parent);
                // A name that was taken from its file's others and is equal to them is not told.
                lab.apply("again", &old, Kind::Root, &tar).unwrap();
                let should = lab.look("again");
                lab.remove("again");
                for &peer in &peers {
                    let is = applied(peer, dir, Some(&below), &tar);
                    let before = lab::look(&below);
                    let lines = differences(peer, &is, &should, &before, None);
                    assert!(
                        lines.is_empty(),
                        "seed {seed}, layer {at}, {peer:?}:\n{}\n{}",
                        lines.join("\n"),
                        told.join("\n")
                    );
                }
                std::fs::remove_dir_all(&below).unwrap();
                let mount = lab.mount(&id, MountFlags::READ_ONLY);
                copy(&lab::path(mount.path()), &below);
                lab::end(mount);
            }
        });
    }
}
