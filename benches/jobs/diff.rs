//! Diffs of a container over the large tree: of many changed files, and of one.

use super::{Bench, same_as_far};
use crate::digest::Scope;
use crate::inputs::TAR;
use crate::job::{Job, Run, Target};
use crate::place::Place;
use crate::run::{Line, sh};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Many.
pub fn many<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    let changed = bench.options.changed;
    let target = Target::new("tar -c", 0.70, Some(0.90));
    Ok(vec![job(bench, place, "diff-many", changed, 1, target)?])
}

/// One: a few milliseconds, so it is done often.
pub fn one<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    let target = Target::new("tar -c", 1.5, None);
    Ok(vec![job(bench, place, "diff-one", 1, 20, target)?])
}

fn job<'a>(
    bench: &'a Bench<'a>,
    place: &'a Place,
    name: &str,
    changed: u64,
    repeat: usize,
    target: Target,
) -> Result<Job<'a>, String> {
    let entries = fill(bench, place, name, changed)?;
    let upper = place.dir.join("store/layer").join(name).join("upper");
    let ours = Line::new(
        &place.dir,
        &bench.ovl(&format!("--store store diff {name}")),
    );
    let peer = Line::new(
        &place.dir,
        &format!("{TAR} --format=posix -C store/layer/{name}/upper -c ."),
    );
    let check = |out: &'static str| {
        let (dir, upper) = (place.dir.clone(), upper.clone());
        move || same_files(&dir, out, &upper)
    };
    Ok(Job {
        name: name.to_string(),
        title: format!("diff, {changed} changed of {entries}"),
        kind: place.kind.clone(),
        entries: changed,
        repeat,
        steps: false,
        counted: true,
        before: Box::new(|| sh(&place.dir, "rm -f a.tar b.tar; sync -f .")),
        runs: vec![
            Run::new("ovl", ours.into(&place.dir.join("a.tar"))).checked(check("a.tar")),
            Run::new("tar -c", peer.into(&place.dir.join("b.tar"))).checked(check("b.tar")),
        ],
        targets: vec![target],
        left_out: Vec::new(),
    })
}

/// Makes the container of this name in `store`, with so many files changed in its mount; how many
/// entries lie below it.
fn fill(bench: &Bench, place: &Place, name: &str, changed: u64) -> Result<u64, String> {
    let archive = bench.inputs.tree_tar()?;
    if !place.dir.join("store/layer/tree").exists() {
        let file = archive.file.display();
        sh(
            &place.dir,
            &bench.ovl(&format!(
                "--store store apply tree --durability none {file}"
            )),
        )?;
    }
    let container = format!(
        "{} && {}",
        bench.ovl(&format!("--store store create {name} tree")),
        bench.ovl(&format!("--store store mount {name}"))
    );
    sh(&place.dir, &container)?;
    let merged = place.dir.join("store/layer").join(name).join("merged");
    let done = change(&merged, changed).map_err(|e| format!("{}: {e}", merged.display()));
    sh(
        &place.dir,
        &bench.ovl(&format!("--store store unmount {name}")),
    )?;
    match done? {
        0 => Ok(archive.digest.entries),
        left => Err(format!(
            "left out: there are {left} files too few to change"
        )),
    }
}

/// Appends a line to so many files; how many there were too few.
fn change(dir: &Path, mut left: u64) -> std::io::Result<u64> {
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        let mut paths: Vec<PathBuf> = fs::read_dir(&dir)?
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<_>>()?;
        paths.sort_unstable();
        for path in paths {
            let meta = path.symlink_metadata()?;
            if meta.is_dir() {
                dirs.push(path);
            } else if meta.is_file() && left > 0 {
                OpenOptions::new()
                    .append(true)
                    .open(&path)?
                    .write_all(b"changed\n")?;
                left -= 1;
            }
        }
    }
    Ok(left)
}

/// The files of the tar are those of the upper. Directories are not compared: a diff leaves those
/// out that are as they were, and a tar has them all.
fn same_files(dir: &Path, out: &str, upper: &Path) -> Result<(), String> {
    // With --acls, GNU tar passes over ACLs that come as attributes; in its own tars they come as both.
    let tar = TAR.replace(" --acls", "");
    sh(
        dir,
        &format!("rm -rf out; mkdir out; {tar} -xpf {out} -C out"),
    )?;
    let told = same_as_far(Scope::Files, &dir.join("out"), upper);
    sh(dir, "rm -rf out")?;
    told
}
