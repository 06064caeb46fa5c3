//! Clones of the large tree: by hard links, by content, by reflinks.

use super::{Bench, same, same_as_far};
use crate::digest::Scope;
use crate::job::{Job, Run, Target};
use crate::place::Place;
use crate::run::{Line, has, sh};

struct How {
    name: &'static str,
    title: &'static str,
    ours: &'static str,
    /// Words with SRC and DST left open, the reference first.
    peers: &'static [(&'static str, &'static str, &'static str)],
    wall: f64,
    cpu: f64,
    calls: Option<f64>,
    /// Of the floor's wall and CPU time.
    floor: (f64, f64),
}

/// `cp -al`.
pub fn hard_link<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    let how = How {
        name: "clone-hardlink",
        title: "hard-link clone",
        ours: "--hardlink",
        peers: &[
            ("cp -al", "cp", "cp -al tree b"),
            ("rsync", "rsync", "rsync -aHAX --link-dest=../tree tree/ b"),
        ],
        wall: 0.42,
        cpu: 0.74,
        calls: Some(2.3),
        floor: (1.14, 1.09),
    };
    both(bench, place, &how)
}

/// `cp -a`, by content.
pub fn content<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    let how = How {
        name: "clone-content",
        title: "content clone",
        ours: "--reflink=never",
        peers: &[
            ("cp -a", "cp", "cp -a --reflink=never tree b"),
            ("rsync", "rsync", "rsync -aHAX tree/ b"),
        ],
        wall: 0.45,
        cpu: 0.80,
        calls: None,
        floor: (1.22, 1.11),
    };
    both(bench, place, &how)
}

/// `cp -a`, by reflinks, which it tries by itself.
pub fn reflink<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    if sh(&place.dir, "echo x >x; cp --reflink=always x y; rm x y").is_err() {
        return Err(format!("left out: {} has no reflinks", place.kind));
    }
    let how = How {
        name: "clone-reflink",
        title: "reflink clone",
        ours: "--reflink=always",
        peers: &[("cp -a", "cp", "cp -a --reflink=always tree b")],
        wall: 0.45,
        cpu: 0.70,
        calls: None,
        floor: (1.25, 1.13),
    };
    both(bench, place, &how)
}

/// The job without a sync, and the one with.
fn both<'a>(bench: &'a Bench<'a>, place: &'a Place, how: &How) -> Result<Vec<Job<'a>>, String> {
    Ok(vec![
        job(bench, place, how, false)?,
        job(bench, place, how, true)?,
    ])
}

fn job<'a>(
    bench: &'a Bench<'a>,
    place: &'a Place,
    how: &How,
    sync: bool,
) -> Result<Job<'a>, String> {
    let (tree, digest) = bench.tree_on(place)?;
    let durability = if sync { "full" } else { "none" };
    let ours = bench.ovl(&format!(
        "copy {} --durability {durability} tree a",
        how.ours
    ));
    let entries = digest.entries;
    let check = move |name: &'static str| {
        let (tree, digest) = (tree.clone(), digest.clone());
        move || same(&place.dir.join(name), &tree, &digest)
    };
    let mut runs = vec![Run::new("ovl", Line::new(&place.dir, &ours)).checked(check("a"))];
    let mut targets = Vec::new();
    for (who, program, words) in how.peers.iter().filter(|(_, program, _)| has(program)) {
        let (who, line) = match sync {
            true => {
                let script = format!("{words}; sync -f b");
                (format!("{who} + sync"), Line::shell(&place.dir, &script))
            }
            false => (who.to_string(), Line::new(&place.dir, words)),
        };
        if *program == "cp" {
            targets.push(if sync {
                Target::new(&who, 0.75, None)
            } else {
                Target::new(&who, how.wall, Some(how.cpu))
            });
        }
        runs.push(Run::new(&who, line).checked(check("b")));
    }
    if let Some(first) = targets.first_mut().filter(|_| !sync) {
        first.calls = how.calls;
    }
    if !sync {
        let (wall, cpu) = how.floor;
        targets.push(Target::new("floor", wall, Some(cpu)));
        let name = how.name.trim_start_matches("clone-");
        runs.push(
            bench
                .floor(place, &format!("floor-clone {name} tree b"))
                .checked(|| {
                    let tree = place.dir.join("tree");
                    same_as_far(Scope::Floor, &place.dir.join("b"), &tree)
                }),
        );
    }
    let synced = if sync { ", synced" } else { "" };
    Ok(Job {
        name: format!("{}{}", how.name, if sync { "-synced" } else { "" }),
        title: format!("{}, {entries} entries{synced}", how.title),
        kind: place.kind.clone(),
        entries,
        repeat: 1,
        steps: false,
        counted: !sync,
        before: Box::new(|| sh(&place.dir, "rm -rf a b; sync -f .")),
        runs,
        targets,
        left_out: Vec::new(),
    })
}
