//! Containers on containers: random work in libovl's own mounts, against the kernel's truth.

use crate::lab::{Lab, Tree, assert_same_but_splits, assert_tree, patient};
use crate::random::{self, Chain, Rng};
use crate::support::fsys;
use crate::tar::bytes;
use crate::truth;
use crate::work::{self, Step};
use ovl::store::*;
use std::collections::BTreeSet;
use std::path::Path;

/// A chain of layers, and lives of containers, each on the one before.
#[derive(Clone)]
struct Case {
    seed: u64,
    layers: Chain,
    lives: Vec<Vec<Step>>,
}

impl Case {
    fn new(seed: u64) -> Case {
        let mut rng = Rng(seed ^ 0xc0de);
        let mut layers = random::chain(seed);
        layers.truncate(1 + rng.below(3));
        let lives = (0..1 + rng.below(3)).map(|_| {
            let count = 3 + rng.below(25);
            work::steps(&mut rng, count)
        });
        Case {
            seed,
            layers,
            lives: lives.collect(),
        }
    }

    fn run(&self, dir: &Path) -> Result<(), String> {
        random::caught(dir, || {
            let lab = Lab::new(dir);
            let mut trees = Vec::new();
            let mut parent = random::build(&lab, self.seed, &self.layers)?;
            trees.push((parent.clone(), lab.look(&parent)));
            for (at, steps) in self.lives.iter().enumerate() {
                let id = format!("box{at}");
                lab.create(&id, &parent);
                lab.change(&id, |merged| work::run(merged, steps));
                let tree = lab.look(&id);
                told(&lab, &id, &parent, &trees[at].1, &tree)?;
                let size = lab.size(&id);
                let diff = lab.diff(&id, Against::Parent);
                let commit = || {
                    let (flags, mut watch) = (CommitFlags::empty(), Default::default());
                    lab.store
                        .commit(id.as_bytes(), Durability::None, flags, &mut watch)
                };
                patient(commit).map_err(|e| e.to_string())?;
                if lab.diff(&id, Against::Parent) != diff || lab.size(&id) != size {
                    return Err(format!("{id}: commit changed what is told"));
                }
                trees.push((id.clone(), tree));
                parent = id;
            }
            // Each against each: ancestors, descendants, and against nothing.
            for (from, old) in &trees {
                for (to, new) in &trees {
                    across(&lab, (from, old), (to, new))?;
                }
            }
            let whole = lab.diff(&parent, Against::Nothing);
            lab.apply("whole", "", Kind::Root, &whole)
                .map_err(|e| e.to_string())?;
            let (_, tree) = &trees[trees.len() - 1];
            assert_tree("whole", &lab.look("whole"), tree);
            // Two complete trees that share nothing.
            for (from, old) in &trees {
                across(&lab, (from, old), ("whole", tree))?;
                across(&lab, ("whole", tree), (from, old))?;
            }
            Ok(())
        })
    }

    fn shrink(mut self, dir: &Path, mut why: String) -> String {
        loop {
            let mut less = Vec::new();
            for life in 0..self.lives.len() {
                for at in (0..self.lives[life].len()).rev() {
                    let mut case = self.clone();
                    case.lives[life].remove(at);
                    less.push(case);
                }
            }
            for layer in (0..self.layers.len()).rev() {
                for at in (0..self.layers[layer].len()).rev() {
                    let mut case = self.clone();
                    case.layers[layer].remove(at);
                    less.push(case);
                }
            }
            match less
                .into_iter()
                .find_map(|case| Some((case.run(dir).err()?, case)))
            {
                Some((now, case)) => (why, self) = (now, case),
                None => break,
            }
        }
        let lines = |layer: &Vec<_>| {
            layer
                .iter()
                .map(random::said)
                .collect::<Vec<_>>()
                .join("\n")
        };
        let layers: Vec<String> = self.layers.iter().map(lines).collect();
        let (seed, layers, lives) = (self.seed, layers.join("\n--\n"), self.lives);
        format!("seed {seed}: {why}\n--- layers ---\n{layers}\n--- lives ---\n{lives:?}")
    }
}

/// Changes and diff of a layer against its parent, and the diff applied again.
fn told(lab: &Lab, id: &str, parent: &str, old: &Tree, new: &Tree) -> Result<(), String> {
    let (is, should) = (lab.changes(id, Against::Parent), truth::changes(old, new));
    if is != should {
        return Err(format!("{id}: changes {is:?}, should be {should:?}"));
    }
    let diff = lab.diff(id, Against::Parent);
    well_formed(&diff, old, new).map_err(|e| format!("{id}: {e}"))?;
    for kind in [Kind::Overlay, Kind::Root] {
        lab.apply("again", parent, kind, &diff)
            .map_err(|e| format!("{id}: {e}"))?;
        assert_same_but_splits(&format!("{id} {kind:?}"), &lab.look("again"), new, old);
        if lab.diff("again", Against::Parent) != diff {
            return Err(format!("{id}: the diff of its diff differs ({kind:?})"));
        }
        lab.remove("again");
    }
    Ok(())
}

/// The diff between any two layers makes one of the other.
fn across(lab: &Lab, old: (&str, &Tree), new: (&str, &Tree)) -> Result<(), String> {
    let what = format!("{} to {}", old.0, new.0);
    let against = Against::Layer(old.0.as_bytes());
    let (is, should) = (lab.changes(new.0, against), truth::changes(old.1, new.1));
    if is != should {
        return Err(format!("{what}: changes {is:?}, should be {should:?}"));
    }
    let diff = lab.diff(new.0, against);
    well_formed(&diff, old.1, new.1).map_err(|e| format!("{what}: {e}"))?;
    lab.apply("turned", old.0, Kind::Root, &diff)
        .map_err(|e| format!("{what}: {e}"))?;
    assert_same_but_splits(&what, &lab.look("turned"), new.1, old.1);
    lab.remove("turned");
    Ok(())
}

/// Parents come before what is in them, whiteouts hide what is there and nothing twice, and no
/// name is told twice.
fn well_formed(diff: &[u8], old: &Tree, new: &Tree) -> Result<(), String> {
    let mut told = BTreeSet::new();
    let mut last: Vec<Vec<u8>> = Vec::new();
    for (name, link) in TarNames(diff) {
        let path = name.strip_suffix(b"/").unwrap_or(&name);
        let path = path.strip_prefix(b"./").unwrap_or(path).to_vec();
        let path = if path == b"." { Vec::new() } else { path };
        let show = || path.escape_ascii().to_string();
        let cut = path.iter().rposition(|&b| b == b'/');
        let (parent, base) = cut.map_or((&b""[..], &path[..]), |at| (&path[..at], &path[at + 1..]));
        let real = match base.strip_prefix(b".wh.") {
            Some(hidden) if parent.is_empty() => hidden.to_vec(),
            Some(hidden) => [parent, b"/", hidden].concat(),
            None => path.clone(),
        };
        if !told.insert(real.clone()) {
            return Err(format!("{} is told twice", show()));
        }
        if !parent.is_empty() && !told.contains(parent) {
            return Err(format!("{} is told before its directory", show()));
        }
        let parts: Vec<Vec<u8>> = real.split(|&b| b == b'/').map(<[u8]>::to_vec).collect();
        if parts < last {
            return Err(format!("{} is out of order", show()));
        }
        last = parts;
        if real != path && (!old.contains_key(&real) || new.contains_key(&real)) {
            return Err(format!("{} hides nothing", show()));
        }
        if link.is_some_and(|to| !told.contains(&to)) {
            return Err(format!("{} is a link to what was not told", show()));
        }
    }
    Ok(())
}

/// The names in a tar of libovl's writing: PAX or ustar, hard links with what they are to.
struct TarNames<'a>(&'a [u8]);

impl Iterator for TarNames<'_> {
    type Item = (Vec<u8>, Option<Vec<u8>>);
    fn next(&mut self) -> Option<Self::Item> {
        let (mut path, mut link) = (None, None);
        loop {
            let head = self.0.get(..512)?;
            if head.iter().all(|&b| b == 0) {
                return None;
            }
            let size = std::str::from_utf8(&head[124..135]).unwrap();
            let size = usize::from_str_radix(size.trim_end_matches(['\0', ' ']), 8).unwrap();
            let data = &self.0[512..512 + size];
            self.0 = &self.0[512 + size.next_multiple_of(512)..];
            if head[156] != b'x' {
                let text = |field: &[u8]| {
                    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
                    field[..end].to_vec()
                };
                let (name, prefix) = (text(&head[..100]), text(&head[345..500]));
                let name = if prefix.is_empty() {
                    name
                } else {
                    [prefix, name].join(&b'/')
                };
                let link = link.unwrap_or_else(|| text(&head[157..257]));
                return Some((path.unwrap_or(name), (head[156] == b'1').then_some(link)));
            }
            let mut rest = data;
            while let Some(space) = rest.iter().position(|&b| b == b' ') {
                let len: usize = std::str::from_utf8(&rest[..space])
                    .unwrap()
                    .parse()
                    .unwrap();
                let record = &rest[space + 1..len - 1];
                if let Some(value) = record.strip_prefix(b"path=") {
                    path = Some(value.to_vec());
                } else if let Some(value) = record.strip_prefix(b"linkpath=") {
                    link = Some(value.to_vec());
                }
                rest = &rest[len..];
            }
        }
    }
}

#[test]
fn random_lives_are_told_as_the_kernel_shows_them() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        for seed in random::seeds(60) {
            let case = Case::new(seed);
            if let Err(why) = case.run(dir) {
                panic!("{}", case.shrink(dir, why));
            }
        }
    });
}

/// The reader of names above reads what it is to read.
#[test]
fn names_of_a_tar_are_read() {
    let long = "long/".repeat(60) + "x";
    let layer = [
        crate::tar::dir("d"),
        crate::tar::file(&long, "x"),
        crate::tar::hard("h", &long),
    ];
    let tar = bytes(&layer);
    let names: Vec<_> = TarNames(&tar).collect();
    let wanted = [
        (b"d".to_vec(), None),
        (long.clone().into_bytes(), None),
        (b"h".to_vec(), Some(long.into_bytes())),
    ];
    assert_eq!(names, wanted);
}
