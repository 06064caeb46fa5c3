//! Random chains of layers: every kind, every order, the reference, and the diffs.
//!
//! `OVL_TEST_CHAINS=N` runs N chains; `OVL_TEST_SEED=N` begins with that seed.

use crate::dialect;
use crate::lab::{Lab, assert_same_but_splits, assert_tree, differences};
use crate::reference::{Links, Model};
use crate::support::fsys;
pub use crate::support::rng::Rng;
use crate::tar::{self, Entry, What};
use ovl::store::{Against, ApplyFlags, ApplyOptions, Kind, LayerInfo};
use std::path::Path;

/// Few, so that they meet.
pub const NAMES: [&str; 7] = ["a", "b", "c", "d", "lib", "x", "\u{e9}\n\\"];

/// File capabilities, version 2.
pub const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn path(rng: &mut Rng) -> String {
    let depth = *rng.pick(&[1, 1, 2, 2, 2, 3, 3, 4]);
    let parts: Vec<&str> = (0..depth).map(|_| *rng.pick(&NAMES)).collect();
    parts.join("/")
}

fn entry(rng: &mut Rng) -> Entry {
    let at = path(rng);
    let entry = match rng.below(20) {
        0..5 => tar::dir(&at),
        5..9 => tar::file(&at, ["", "one", "longer content"][rng.below(3)]),
        9..12 => {
            let up = ["", "/", "../", "./"][rng.below(4)];
            let target = match rng.below(4) {
                0 => format!("{}/../{}", path(rng), path(rng)),
                _ => path(rng),
            };
            tar::symlink(&at, &format!("{up}{target}"))
        }
        12..14 => tar::hard(&at, &path(rng)),
        14 => tar::fifo(&at),
        15 if rng.below(2) == 0 => Entry::new(&at, What::Block(7, rng.below(3) as u32)),
        15 => tar::char_device(&at, 1, rng.below(3) as u32 + 1),
        16..19 => tar::gone(&at),
        _ if rng.below(6) == 0 => tar::opaque(""),
        _ => tar::opaque(&at),
    };
    if entry
        .path
        .rsplit(|&b| b == b'/')
        .next()
        .unwrap()
        .starts_with(b".wh.")
    {
        return entry;
    }
    let modes = [0o755, 0o700, 0o1777, 0o644, 0o4755, 0o2750];
    let mut entry = entry
        .mode(*rng.pick(&modes))
        .mtime(1_000_000 + rng.below(3) as i64, rng.below(2) as u32 * 5);
    if rng.below(8) == 0 {
        entry = entry.mtime(-1 - rng.below(3) as i64, rng.below(2) as u32 * 999_999_999);
    }
    if rng.below(3) == 0 {
        entry = entry.owner(*rng.pick(&[0, 1000, 70_000]), rng.below(2) as u32 * 1000);
    }
    if matches!(entry.what, What::File(_)) && rng.below(6) == 0 {
        entry = entry.xattr("security.capability", CAPABILITY);
    }
    let hard = matches!(entry.what, What::Hard(_));
    if rng.below(5) == 0 && !hard {
        entry = entry.xattr("trusted.note", &[rng.below(2) as u8]);
    }
    entry
}

/// Files that come before all others in a tree: an apply asks the disk for one of each sort, and believes
/// its notes on the rest.
fn first() -> [Entry; 4] {
    let one = |name, mode, nsec| tar::file(name, "first").mode(mode).mtime(1, nsec);
    [
        one("0", 0o755, 0),
        one("00", 0o700, 0),
        one("000", 0o644, 0),
        one("0000", 0o755, 5),
    ]
}

pub type Chain = Vec<Vec<Entry>>;

/// The chain of a seed.
pub fn chain(seed: u64) -> Chain {
    let mut rng = Rng(seed);
    let layers = 3 + rng.below(3);
    (0..layers)
        .map(|_| {
            let random = (0..8 + rng.below(28)).map(|_| entry(&mut rng));
            first().into_iter().chain(random).collect()
        })
        .collect()
}

type Way = (&'static str, fn(usize) -> Kind);

/// The ways a chain is kept: for each layer above the first whether it is a complete tree. In the
/// last all are left writable, and committed when they have been looked at.
const WAYS: [Way; 4] = [
    ("overlay", |_| Kind::Overlay),
    ("root", |_| Kind::Root),
    ("mixed", |at| {
        if at % 2 == 0 {
            Kind::Root
        } else {
            Kind::Overlay
        }
    }),
    (WRITTEN, |_| Kind::Root),
];

const WRITTEN: &str = "written";

/// Calls `work` with a store below `dir`, which it clears after; a panic is an error too.
pub fn caught<T>(dir: &Path, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    std::fs::remove_dir_all(dir.join("home")).map_err(|e| format!("left behind: {e}"))?;
    done.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(text
            .or(panic.downcast_ref::<&str>().copied())
            .unwrap_or("panic")
            .to_string())
    })
}

/// The seeds of a run: so many, or what the environment says; and how far it is, for long ones.
pub fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let count = number("OVL_TEST_CHAINS").unwrap_or(count);
    let first = number("OVL_TEST_SEED").unwrap_or(1);
    (first..first + count).inspect(move |seed| {
        let done = seed - first;
        if done > 0 && done % 100 == 0 {
            let name = std::thread::current();
            println!("{}: {done} done", name.name().unwrap_or("?"));
        }
    })
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|n| n.parse().ok())
}

/// What each layer of a chain says, without the entries that cannot be.
fn sound(chain: &Chain, links: impl Fn(usize) -> Links) -> Chain {
    let mut model = Model::empty();
    let mut layers = Vec::new();
    for (at, entries) in chain.iter().enumerate() {
        let mut entries = entries.clone();
        model = loop {
            match model.apply(&entries, links(at)) {
                Ok(next) => break next,
                Err(bad) => drop(entries.remove(bad)),
            }
        };
        layers.push(entries);
    }
    layers
}

/// Makes the layers of a chain, some of each kind; gives the id of the last.
pub fn build(lab: &Lab, seed: u64, chain: &Chain) -> Result<String, String> {
    let kind = |at: usize| match at == 0 || (seed + at as u64) % 4 == 0 {
        true => Kind::Root,
        false => Kind::Overlay,
    };
    let links = |at: usize| match kind(at) {
        Kind::Root => Links::Share,
        _ => Links::CopyUp,
    };
    let mut parent = String::new();
    for (at, entries) in sound(chain, links).into_iter().enumerate() {
        let id = format!("l{at}");
        let tar = dialect::bytes(&entries, seed + at as u64);
        lab.apply(&id, &parent, kind(at), &tar)
            .map_err(|e| format!("{id}: {e}"))?;
        parent = id;
    }
    Ok(parent)
}

/// Runs a chain; what went wrong, in words.
fn run(dir: &Path, chain: &Chain, seed: u64) -> Result<(), String> {
    caught(dir, || check(&Lab::new(dir), chain, seed))
}

fn check(lab: &Lab, chain: &Chain, seed: u64) -> Result<(), String> {
    let mut diffs: Vec<Vec<(crate::lab::Tree, crate::lab::Tree, Vec<u8>)>> =
        vec![Vec::new(); chain.len()];
    for (way, kind_of) in WAYS {
        let mut model = Model::empty();
        let mut parent = String::new();
        for (at, entries) in chain.iter().enumerate() {
            let kind = if at == 0 { Kind::Root } else { kind_of(at) };
            let links = if kind == Kind::Root {
                Links::Share
            } else {
                Links::CopyUp
            };
            let id = format!("{way}-{at}");
            let mut entries = entries.clone();
            // An entry that cannot be fails the layer in every kind.
            let next = loop {
                match model.apply(&entries, links) {
                    Ok(next) => break next,
                    Err(bad) => {
                        let tar = tar::bytes(&entries[..=bad]);
                        if apply(lab, way, &id, &parent, kind, &tar).is_ok() {
                            return Err(format!("{id}: {:?} was taken", entries[bad]));
                        }
                        entries.remove(bad);
                    }
                }
            };
            // The same entries in other words every time.
            let tar = match way {
                "root" => tar::bytes(&entries),
                _ => dialect::bytes(&entries, seed + way.len() as u64),
            };
            apply(lab, way, &id, &parent, kind, &tar).map_err(|e| format!("{id}: {e}"))?;
            lab.assert_sound();
            let (before, after) = (model.tree(), next.tree());
            let lines = differences(&lab.look(&id), &after);
            if !lines.is_empty() {
                return Err(format!("{id}:\n{}", lines.join("\n")));
            }
            if way == WRITTEN {
                lab.commit(&id);
            }
            let diff = lab.diff(&id, Against::Parent);
            for other in ["again", "again-root"] {
                let kind = if other == "again" && at > 0 {
                    Kind::Overlay
                } else {
                    Kind::Root
                };
                lab.apply(other, &parent, kind, &diff)
                    .map_err(|e| format!("{id} {other}: {e}"))?;
                assert_same_but_splits(
                    &format!("{id} {kind:?} again"),
                    &lab.look(other),
                    &after,
                    &before,
                );
                if lab.diff(other, Against::Parent) != diff {
                    return Err(format!("{id}: the diff of its diff differs ({kind:?})"));
                }
                lab.remove(other);
            }
            for (old, new, bytes) in &diffs[at] {
                if *old == before && *new == after && *bytes != diff {
                    return Err(format!("{id}: another way gave other bytes"));
                }
            }
            diffs[at].push((before, after, diff));
            (model, parent) = (next, id);
        }
        let whole = lab.diff(&parent, Against::Nothing);
        lab.apply("whole", "", Kind::Root, &whole)
            .map_err(|e| format!("whole: {e}"))?;
        assert_tree("against nothing", &lab.look("whole"), &model.tree());
        lab.remove("whole");
    }
    Ok(())
}

fn apply(
    lab: &Lab,
    way: &str,
    id: &str,
    parent: &str,
    kind: Kind,
    tar: &[u8],
) -> ovl::error::Result<LayerInfo> {
    let mut options = ApplyOptions::default();
    options.flags.set(ApplyFlags::WRITABLE, way == WRITTEN);
    lab.apply_with(id, parent, kind, tar, options)
}

/// Drops entries and layers while it still fails.
fn shrink(dir: &Path, mut chain: Chain, seed: u64) -> Chain {
    let mut tries = 0;
    loop {
        let before: usize = chain.iter().map(Vec::len).sum();
        for layer in (0..chain.len()).rev() {
            for at in (0..chain[layer].len()).rev() {
                let mut less = chain.clone();
                less[layer].remove(at);
                tries += 1;
                if tries < 1500 && run(dir, &less, seed).is_err() {
                    chain = less;
                }
            }
        }
        if chain.iter().map(Vec::len).sum::<usize>() == before || tries >= 1500 {
            chain.retain(|layer| !layer.is_empty());
            return chain;
        }
    }
}

#[test]
fn chains_mean_the_same_in_every_kind() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        for seed in seeds(100) {
            let chain = chain(seed);
            if let Err(first) = run(dir, &chain, seed) {
                let less = shrink(dir, chain, seed);
                let why = run(dir, &less, seed).err().unwrap_or(first);
                let text: Vec<String> = less
                    .iter()
                    .map(|layer| layer.iter().map(said).collect::<Vec<_>>().join("\n"))
                    .collect();
                panic!(
                    "seed {seed}: {why}\n--- layers ---\n{}",
                    text.join("\n--\n")
                );
            }
        }
    });
}

/// An entry, in words.
pub fn said(entry: &Entry) -> String {
    let Entry {
        path,
        what,
        mode,
        uid,
        gid,
        mtime,
        xattrs,
    } = entry;
    let path = path.escape_ascii();
    format!("{path} {what:?} {mode:o} {uid}:{gid} {mtime:?} {xattrs:?}")
}
