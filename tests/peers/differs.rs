//! Layers that others make of directories and of an overlay's upper, read by libovl.
//!
//! Two things must hold. What libovl makes of such a layer, in either kind, is what its maker's own
//! applier makes of it. And it is the tree that was told, but for what the maker's layers do not
//! carry: [`CARRIED`] has a row for each.

use crate::appliers::{applied, differences, told};
use crate::lab::{self, Lab, Seen, Tree};
use crate::peer::Peer::{self, Containerd, Moby, Umoci};
use crate::peer::alone;
use crate::rng::Rng;
use crate::support::fsys;
use crate::trees;
use ovl::store::{Kind, MountFlags};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a layer was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Trees,
    Upper,
}

use Made::{Trees, Upper};

const MAKERS: [(Peer, Made); 6] = [
    (Containerd, Trees),
    (Moby, Trees),
    (Umoci, Trees),
    (Containerd, Upper),
    (Moby, Upper),
    (Umoci, Upper),
];

/// What a maker's layers do not carry.
struct Row {
    who: &'static [(Peer, Made)],
    what: &'static str,
    /// Takes it away from what is and from what should be.
    forget: fn(tree: &mut Tree, case: &Case),
}

const CARRIED: [Row; 8] = [
    Row {
        who: &[
            (Containerd, Trees),
            (Moby, Trees),
            (Containerd, Upper),
            (Moby, Upper),
        ],
        what: "the root's own attributes",
        forget: |tree, _| drop(tree.remove(&b""[..])),
    },
    Row {
        who: &[
            (Umoci, Trees),
            (Umoci, Upper),
            (Containerd, Trees),
            (Moby, Trees),
            (Containerd, Upper),
            (Moby, Upper),
        ],
        what: "fractions of seconds",
        forget: |tree, _| tree.values_mut().for_each(|seen| seen.mtime.1 = 0),
    },
    Row {
        who: &[
            (Containerd, Trees),
            (Moby, Trees),
            (Containerd, Upper),
            (Moby, Upper),
        ],
        what: "attributes other than capabilities",
        forget: |tree, _| {
            for seen in tree.values_mut() {
                seen.xattrs.retain(|name, _| name == b"security.capability");
            }
        },
    },
    Row {
        who: &[(Containerd, Trees), (Moby, Trees)],
        what: "a change of content alone, which leaves size and time",
        forget: |tree, case| {
            for (path, seen) in tree {
                let (Some(old), Some(new)) = (case.before.get(path), case.should.get(path)) else {
                    continue;
                };
                if (old.kind, old.data.len(), old.mtime) == (new.kind, new.data.len(), new.mtime) {
                    seen.data.clear();
                }
            }
        },
    },
    Row {
        who: &[(Containerd, Trees), (Moby, Trees)],
        what: "a directory's new time, when nothing else of it changed",
        forget: |tree, case| {
            for (path, seen) in tree.iter_mut().filter(|(_, seen)| seen.kind == 'd') {
                let (Some(old), Some(new)) = (case.before.get(path), case.should.get(path)) else {
                    continue;
                };
                let same = |a: &Seen, b: &Seen| {
                    (a.kind, a.mode, a.uid, a.gid) == (b.kind, b.mode, b.uid, b.gid)
                };
                if same(old, new) {
                    seen.mtime = (0, 0);
                }
            }
        },
    },
    Row {
        who: &[(Containerd, Upper)],
        what: "a directory's new owner, when nothing else of it changed",
        forget: |tree, case| {
            for (path, seen) in tree.iter_mut().filter(|(_, seen)| seen.kind == 'd') {
                let (Some(old), Some(new)) = (case.before.get(path), case.should.get(path)) else {
                    continue;
                };
                if (old.kind, old.mode, old.mtime) == (new.kind, new.mode, new.mtime) {
                    (seen.uid, seen.gid) = (0, 0);
                }
            }
        },
    },
    Row {
        who: &[(Umoci, Trees)],
        what: "a device's new number",
        forget: |tree, _| {
            let devices = tree.values_mut().filter(|seen| "bc".contains(seen.kind));
            devices.for_each(|seen| seen.data.clear());
        },
    },
    Row {
        who: &[(Containerd, Trees), (Moby, Trees)],
        what: "which names are of one file, where that file was there before",
        forget: |tree, _| tree.values_mut().for_each(|seen| seen.leader.clear()),
    },
];

/// A layer of changes, and where it can be looked at.
struct Case {
    old: PathBuf,
    new: PathBuf,
    upper: PathBuf,
    before: Tree,
    should: Tree,
}

impl Case {
    /// `None` where the maker gives up: a directory where the tree below has a file.
    fn layer(&self, maker: (Peer, Made)) -> Option<Vec<u8>> {
        let tar = match maker.1 {
            Trees => maker.0.diff(&self.old, &self.new),
            Upper => maker.0.upper(&self.old, &self.upper),
        };
        match tar {
            Ok(tar) => Some(tar),
            Err(why) if maker == (Containerd, Upper) && why.contains("not a directory") => None,
            Err(why) => panic!("{maker:?}: {why}"),
        }
    }

    fn forgotten(&self, maker: (Peer, Made), tree: &Tree, but: Option<&str>) -> Tree {
        let mut tree = tree.clone();
        for row in &CARRIED {
            if row.who.contains(&maker) && but != Some(row.what) {
                (row.forget)(&mut tree, self);
            }
        }
        tree
    }

    fn differences(&self, maker: (Peer, Made), is: &Tree, but: Option<&str>) -> Vec<String> {
        told(
            &self.forgotten(maker, is, but),
            &self.forgotten(maker, &self.should, but),
        )
    }
}

/// Checks one maker's layer of a case; the rows without which it would not be the same.
fn check(
    lab: &Lab,
    dir: &Path,
    parent: &str,
    maker: (Peer, Made),
    case: &Case,
) -> Result<Vec<&'static str>, String> {
    let Some(tar) = case.layer(maker) else {
        return Ok(Vec::new());
    };
    lab.apply("native", parent, Kind::Overlay, &tar)
        .map_err(|e| e.to_string())?;
    lab.apply("naive", parent, Kind::Root, &tar)
        .map_err(|e| e.to_string())?;
    let (native, naive) = (lab.look("native"), lab.look("naive"));
    lab.remove("native");
    lab.remove("naive");
    let agree = |what: &str, lines: Vec<String>| match lines.is_empty() {
        true => Ok(()),
        false => Err(format!("{maker:?}: {what}:\n{}", lines.join("\n"))),
    };
    agree("overlay and root", told(&native, &naive))?;
    let theirs = applied(maker.0, dir, Some(&case.old), &tar);
    let lines = differences(maker.0, &theirs, &naive, &case.before, None);
    agree("as its maker applies it", lines)?;
    agree("as it was told", case.differences(maker, &naive, None))?;
    let rows = CARRIED.iter().filter(|row| row.who.contains(&maker));
    Ok(rows
        .map(|row| row.what)
        .filter(|what| !case.differences(maker, &naive, Some(what)).is_empty())
        .collect())
}

/// Looks at a writable overlay layer and what is below it; `body` may use the paths.
fn with_case<T>(lab: &Lab, old: PathBuf, id: &str, body: impl FnOnce(&Case) -> T) -> T {
    let mount = lab.mount(id, MountFlags::READ_ONLY);
    let new = lab::path(mount.path());
    let upper = lab.home.join("layer").join(id).join("upper");
    let (before, should) = (lab::look(&old), lab::look(&new));
    let case = Case {
        old,
        new,
        upper,
        before,
        should,
    };
    let done = body(&case);
    lab::end(mount);
    done
}

/// `OVL_TEST_CHAINS=N` tells N random changes, too; `OVL_TEST_SEED=N` begins with that seed.
#[test]
fn layers_of_others_mean_what_their_makers_mean_and_every_row_is_needed() {
    require!("root", "overlay", "tmpfs");
    let _one = alone();
    let makers: Vec<_> = MAKERS.into_iter().filter(|m| m.0.there()).collect();
    let mut needed: BTreeSet<(String, &str)> = BTreeSet::new();
    for seed in std::iter::once(0).chain(crate::rng::seeds(20)) {
        fsys::on("tmpfs", |dir| {
            let lab = Lab::new(dir);
            lab.create("base", "");
            lab.change("base", trees::base);
            lab.create("work", "base");
            let told = lab.change("work", |top| match seed {
                0 => {
                    trees::work(top);
                    vec!["work".to_string()]
                }
                _ => trees::random(top, &mut Rng(seed)),
            });
            with_case(&lab, lab.home.join("layer/base/root"), "work", |case| {
                makers
                    .iter()
                    .flat_map(|&maker| match check(&lab, dir, "base", maker, case) {
                        Ok(rows) => rows.into_iter().map(move |row| (format!("{maker:?}"), row)),
                        Err(why) => panic!("seed {seed}: {why}\n{}", told.join("\n")),
                    })
                    .collect::<Vec<_>>()
            })
        })
        .into_iter()
        .for_each(|row| _ = needed.insert(row));
    }
    for maker in makers {
        for row in CARRIED.iter().filter(|row| row.who.contains(&maker)) {
            let key = (format!("{maker:?}"), row.what);
            assert!(needed.contains(&key), "{maker:?} carries {}", row.what);
        }
    }
}
