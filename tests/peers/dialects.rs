//! Layers that no differ would write: entries at random, in any order. containerd and moby put them on
//! a plain tree, libovl on a layer. Where those two agree, libovl agrees with them, or [`CLASSES`]
//! says why not: each class is another way to write a layer that libovl reads as the first, and that
//! the two read as libovl does.

use crate::lab::{self, Lab, Tree};
use crate::peer::Peer::{self, Containerd, Moby};
use crate::peer::{alone, copy};
use crate::rng::Rng;
use crate::support::fsys;
use crate::tar::{self, Entry, What, bytes};
use crate::{appliers::told, rng};
use ovl::store::Kind;
use std::path::{Path, PathBuf};

const NAMES: [&str; 5] = ["a", "b", "c", "n", "lib"];

fn path(rng: &mut Rng) -> String {
    let depth = *rng.pick(&[1, 1, 2, 2, 3]);
    let parts: Vec<&str> = (0..depth).map(|_| *rng.pick(&NAMES)).collect();
    parts.join("/")
}

fn entry(rng: &mut Rng) -> Entry {
    let at = path(rng);
    let entry = match rng.below(18) {
        0..5 => tar::dir(&at),
        5..8 => tar::file(&at, ["", "one", "longer"][rng.below(3)]),
        8..10 => tar::symlink(&at, ["a", "/b", "../c", "n", "b/b"][rng.below(5)]),
        10 => {
            let there = ["a/a", "b/b/c", "f", "lib", "a", "n"];
            tar::hard(&at, there[rng.below(there.len())])
        }
        11 => tar::fifo(&at),
        12..17 => return tar::gone(&at),
        _ => return tar::opaque(if rng.below(4) == 0 { "" } else { &at }),
    };
    let modes = [0o755, 0o700, 0o1777, 0o644, 0o4755];
    entry.mode(*rng.pick(&modes))
}

/// A tree of the same names, to put layers on.
fn below() -> Vec<Entry> {
    let mut all = vec![tar::dir("").mode(0o755)];
    for name in ["a", "b", "c"] {
        all.push(tar::dir(name).mode(0o750).owner(1, 1));
        all.push(tar::file(&format!("{name}/a"), "below"));
        all.push(tar::dir(&format!("{name}/b")));
        all.push(tar::file(&format!("{name}/b/c"), "deep"));
        all.push(tar::dir(&format!("{name}/b/n")));
    }
    all.push(tar::symlink("lib", "a/b"));
    all.push(tar::file("f", "file"));
    all.push(tar::hard("c/lib", "f"));
    all
}

/// Times of directories are left out: an applier that follows names changes those that it only
/// passes, and sets none on what it only implies.
fn plain(mut tree: Tree) -> Tree {
    let dirs = tree.values_mut().filter(|seen| seen.kind == 'd');
    dirs.for_each(|seen| seen.mtime = (0, 0));
    tree.remove(&b""[..]);
    tree
}

struct Bench<'a> {
    dir: &'a Path,
    lab: &'a Lab,
    below: PathBuf,
}

impl Bench<'_> {
    fn ours(&self, entries: &[Entry]) -> Option<Tree> {
        let tar = bytes(entries);
        let applied = self.lab.apply("x", "below", Kind::Root, &tar);
        applied.ok().map(|_| {
            let tree = self.lab.look("x");
            self.lab.remove("x");
            plain(tree)
        })
    }

    fn theirs(&self, peer: Peer, entries: &[Entry]) -> Option<Tree> {
        let at = self.dir.join("at");
        copy(&self.below, &at);
        let done = peer.apply(&at, &bytes(entries));
        let tree = done.is_ok().then(|| plain(lab::look(&at)));
        std::fs::remove_dir_all(at).unwrap();
        tree
    }

    /// Without the entries of which `which` holds and that change nothing.
    fn needed(
        &self,
        entries: &[Entry],
        ours: &Option<Tree>,
        which: fn(&Entry) -> bool,
    ) -> Vec<Entry> {
        let mut less = entries.to_vec();
        for at in (0..entries.len()).rev().filter(|&at| which(&entries[at])) {
            let entry = less.remove(at);
            if !same(&self.ours(&less), ours) {
                less.insert(at, entry);
            }
        }
        less
    }

    /// How many classes it takes until the two have the tree that we have; `None` when they do not
    /// agree on the layer as it is.
    fn classes(&self, entries: &[Entry]) -> Result<Option<usize>, String> {
        let ours = self.ours(entries);
        let [a, b] = [Containerd, Moby].map(|peer| self.theirs(peer, entries));
        if same(&ours, &a) && same(&ours, &b) {
            return Ok(Some(0));
        }
        if !same(&a, &b) {
            return Ok(None);
        }
        let mut entries = entries.to_vec();
        let mut lines = Vec::new();
        for (class, (_, rewrite)) in CLASSES.iter().enumerate() {
            let mut new = rewrite(self, &entries, &ours);
            if !same(&self.ours(&new), &ours) {
                new = entries;
            }
            entries = new;
            let theirs = [Containerd, Moby].map(|peer| self.theirs(peer, &entries));
            if theirs.iter().all(|tree| same(tree, &ours)) {
                return Ok(Some(class + 1));
            }
            lines = theirs
                .iter()
                .map(|tree| {
                    tree.as_ref()
                        .map_or(vec!["refused".into()], |tree| {
                            told(tree, ours.as_ref().unwrap_or(&Tree::new()))
                        })
                        .join("\n")
                })
                .collect();
        }
        Err(format!(
            "{}\nrewritten:\n{}",
            lines.join("\n-\n"),
            show(&entries)
        ))
    }
}

fn same(a: &Option<Tree>, b: &Option<Tree>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => told(a, b).is_empty(),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn is_mark(entry: &Entry) -> bool {
    let name = entry.path.rsplit(|&b| b == b'/').next().unwrap();
    name.starts_with(b".wh.")
}

/// Where a name leads: links among its parents followed, inside the tree.
fn lead(path: &[u8], tree: &Tree) -> Vec<u8> {
    let mut todo: Vec<Vec<u8>> = path.rsplit(|&b| b == b'/').map(<[u8]>::to_vec).collect();
    let mut here: Vec<Vec<u8>> = Vec::new();
    while let Some(name) = todo.pop() {
        if name == b".." {
            here.pop();
            continue;
        }
        if name.is_empty() || name == b"." {
            continue;
        }
        here.push(name);
        let link = tree.get(&here.join(&b'/')).filter(|seen| seen.kind == 'l');
        if let Some(link) = link.filter(|_| !todo.is_empty() && todo.len() < 100) {
            here.pop();
            if link.data.starts_with(b"/") {
                here.clear();
            }
            todo.extend(link.data.rsplit(|&b| b == b'/').map(<[u8]>::to_vec));
        }
    }
    here.join(&b'/')
}

type Rewrite = fn(&Bench, &[Entry], &Option<Tree>) -> Vec<Entry>;

/// What libovl does, and the same layer without what the two do otherwise.
const CLASSES: [(&str, Rewrite); 5] = [
    (
        "a mark that hides nothing from below does nothing",
        |bench, entries, ours| bench.needed(entries, ours, is_mark),
    ),
    (
        "an entry is done where its name leads when it is read",
        |bench, entries, _| {
            let mut now = plain(lab::look(&bench.below));
            let mut entries = entries.to_vec();
            for at in 0..entries.len() {
                let entry = &mut entries[at];
                entry.path = lead(&entry.path, &now);
                if let What::Hard(target) = &mut entry.what {
                    *target = lead(target, &now);
                }
                now = bench.ours(&entries[..=at]).unwrap_or(now);
            }
            entries
        },
    ),
    (
        "a mark hides what is below, never what is in its own layer",
        |_, entries, _| {
            let (mut marks, others): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(is_mark);
            marks.extend(others);
            marks
        },
    ),
    (
        "a hard link changes nothing of the file",
        |_, entries, ours| {
            let mut entries = entries.to_vec();
            for entry in &mut entries {
                let What::Hard(target) = &entry.what else {
                    continue;
                };
                // One of the two may be something else in the end.
                let names = [&entry.path, target];
                let mut there = names.iter().filter_map(|name| ours.as_ref()?.get(*name));
                if let Some(file) = there.find(|seen| seen.kind != 'd') {
                    (entry.mode, entry.uid, entry.gid) = (file.mode, file.uid, file.gid);
                    entry.mtime = file.mtime;
                }
            }
            entries
        },
    ),
    (
        "of an entry that a later one replaces nothing is left to do",
        |bench, entries, ours| bench.needed(entries, ours, |_| true),
    ),
];

fn show(entries: &[Entry]) -> String {
    let lines = entries.iter().map(|entry| {
        let what = match &entry.what {
            What::Hard(to) | What::Symlink(to) => format!(
                "{} -> {}",
                if matches!(entry.what, What::Hard(_)) {
                    "hard"
                } else {
                    "symlink"
                },
                to.escape_ascii()
            ),
            what => format!("{what:?}"),
        };
        format!("  {} {what} {:o}", entry.path.escape_ascii(), entry.mode)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `OVL_TEST_CHAINS=N` tries N layers; `OVL_TEST_SEED=N` begins with that seed.
#[test]
fn random_layers_are_read_alike_or_for_a_reason() {
    require!("root", "tmpfs");
    let _one = alone();
    if !(Containerd.there() && Moby.there()) {
        return;
    }
    let mut counts = [0; CLASSES.len() + 1];
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply("below", "", Kind::Root, &bytes(&below()))
            .unwrap();
        let bench = Bench {
            dir,
            lab: &lab,
            below: lab.home.join("layer/below/root"),
        };
        for seed in rng::seeds(300) {
            let mut rng = Rng(seed);
            let mut entries: Vec<Entry> = (0..1 + rng.below(6)).map(|_| entry(&mut rng)).collect();
            // A link to what a later mark takes away has no other order.
            let is_link = |entry: &Entry| matches!(entry.what, What::Hard(_));
            if let Some(link) = entries.iter().position(is_link) {
                let mut at = 0..;
                entries.retain(|entry| at.next().unwrap() < link || !is_mark(entry));
            }
            match bench.classes(&entries) {
                Ok(class) => class.into_iter().for_each(|class| counts[class] += 1),
                Err(why) => panic!("seed {seed}:\n{}\n{why}", show(&entries)),
            }
        }
    });
    for (class, (what, _)) in CLASSES.iter().enumerate() {
        assert!(counts[class + 1] > 0, "no layer shows that {what}");
    }
}
