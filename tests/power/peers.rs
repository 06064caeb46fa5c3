//! Other ways to keep layers, put through the same cuts. What each shows as there after a cut must
//! be as it was made, and what it had said to be done must be there. No more is asked of them:
//! no check, no cleanup, nothing is repeated.

use super::cut::{self, States};
use super::disk::Disk;
use super::fuse::Server;
use super::machine::{self, Mounted};
use super::noise::Noise;
use super::rig::tell;
use super::tars::Which;
use super::trees::{self, Lines};
use crate::support::{fsys, have};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One of them. All that it keeps is below `home`; `aside` is on no disk.
trait Peer: Sync + std::panic::RefUnwindSafe {
    fn name(&self) -> &'static str;
    /// The program that it takes.
    fn program(&self) -> &'static str;
    /// Makes the layer `id` of a tar.
    fn add(&self, home: &Path, aside: &Path, id: &str, tar: &Path) -> Result<(), String>;
    /// Whether it keeps the times of files.
    fn times(&self) -> bool {
        true
    }
    /// The layers that it shows, each with its tree.
    fn shown(&self, home: &Path, aside: &Path) -> Result<BTreeMap<String, PathBuf>, String>;
}

/// `tar x` into a directory, a rename, and a record that is synced: what is often thought enough.
struct Plain;

impl Peer for Plain {
    fn name(&self) -> &'static str {
        "tar x, rename, synced record"
    }
    fn program(&self) -> &'static str {
        "tar"
    }
    fn add(&self, home: &Path, _: &Path, id: &str, tar: &Path) -> Result<(), String> {
        let text = |e: std::io::Error| e.to_string();
        for name in ["tmp", "layers", "records"] {
            fs::create_dir_all(home.join(name)).map_err(text)?;
        }
        let temp = home.join("tmp").join(id);
        fs::create_dir(&temp).map_err(text)?;
        let flags = [
            "-x",
            "--xattrs",
            "--xattrs-include=*",
            "--numeric-owner",
            "-p",
            "-f",
        ];
        have::run(
            Command::new("tar")
                .args(flags)
                .arg(tar)
                .arg("-C")
                .arg(&temp),
        )?;
        fs::rename(&temp, home.join("layers").join(id)).map_err(text)?;
        let records = home.join("records");
        File::create(records.join(id))
            .and_then(|file| file.sync_all())
            .map_err(text)?;
        File::open(records)
            .and_then(|dir| dir.sync_all())
            .map_err(text)
    }
    fn shown(&self, home: &Path, _: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
        let Ok(records) = fs::read_dir(home.join("records")) else {
            return Ok(BTreeMap::new());
        };
        let id = |entry: std::io::Result<fs::DirEntry>| {
            let id = entry.unwrap().file_name().into_string().unwrap();
            (id.clone(), home.join("layers").join(id))
        };
        Ok(records.map(id).collect())
    }
}

/// The store of podman, buildah and CRI-O, by its own tool.
struct ContainersStorage;

impl ContainersStorage {
    fn tool(home: &Path, aside: &Path) -> Command {
        let mut tool = Command::new("containers-storage");
        tool.env("STORAGE_OPTS", "").arg("--storage-driver=overlay");
        tool.arg("--graph")
            .arg(home)
            .arg("--run")
            .arg(aside.join("run"));
        tool
    }
}

impl Peer for ContainersStorage {
    fn name(&self) -> &'static str {
        "containers-storage import-layer"
    }
    fn program(&self) -> &'static str {
        "containers-storage"
    }
    fn add(&self, home: &Path, aside: &Path, id: &str, tar: &Path) -> Result<(), String> {
        let mut tool = Self::tool(home, aside);
        have::run(tool.args(["import-layer", "--id", id, "--file"]).arg(tar))
    }
    fn shown(&self, home: &Path, aside: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
        let text = output(Self::tool(home, aside).arg("layers"))?;
        let path = |id: &str| (id.to_string(), home.join("overlay").join(id).join("diff"));
        Ok(text
            .lines()
            .map(str::trim)
            .filter(|id| !id.is_empty())
            .map(path)
            .collect())
    }
}

/// ostree as it is set up by default, which syncs.
struct Ostree;

impl Ostree {
    fn tool(home: &Path) -> Command {
        let mut tool = Command::new("ostree");
        tool.arg(format!("--repo={}", home.join("repo").display()));
        tool
    }
}

impl Peer for Ostree {
    fn name(&self) -> &'static str {
        "ostree commit"
    }
    fn program(&self) -> &'static str {
        "ostree"
    }
    fn times(&self) -> bool {
        false
    }
    fn add(&self, home: &Path, aside: &Path, id: &str, tar: &Path) -> Result<(), String> {
        if !home.join("repo").exists() {
            have::run(Self::tool(home).args(["init", "--mode=bare"]))?;
        }
        let tree = aside.join(format!("tree-{id}"));
        fs::create_dir_all(&tree).map_err(|e| e.to_string())?;
        // It keeps no special files.
        let flags = ["-x", "--numeric-owner", "-p", "--exclude=*fifo", "-f"];
        have::run(
            Command::new("tar")
                .args(flags)
                .arg(tar)
                .arg("-C")
                .arg(&tree),
        )?;
        let tree = format!("--tree=dir={}", tree.display());
        have::run(Self::tool(home).args(["commit", "-b", id, "-s", "", &tree]))
    }
    fn shown(&self, home: &Path, aside: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
        if !home.join("repo/refs").exists() {
            return Ok(BTreeMap::new());
        }
        let text = output(Self::tool(home).arg("refs"))?;
        let mut shown = BTreeMap::new();
        for id in text.lines() {
            let out = aside.join(format!("out-{id}"));
            let _ = fs::remove_dir_all(&out);
            // What cannot be checked out is shown and not there.
            let _ = have::run(Self::tool(home).args(["checkout", id]).arg(&out));
            shown.insert(id.to_string(), out);
        }
        Ok(shown)
    }
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_string()),
    }
}

/// The tree that a peer shows, without what it does not keep.
fn tree(peer: &dyn Peer, dir: &Path) -> Lines {
    let mut lines = trees::of(dir);
    if !peer.times() {
        for line in lines.values_mut() {
            let words = line.split(' ').filter(|word| !word.starts_with("mtime="));
            *line = words.collect::<Vec<_>>().join(" ");
        }
    }
    lines
}

/// All of them on one file system.
pub fn all(kind: &str, cuts: usize, seed: u64) {
    for peer in [&Plain as &dyn Peer, &ContainersStorage, &Ostree] {
        if have::or_skip(peer.program()) {
            fsys::with_mounts(|base| one(peer, base, kind, cuts, seed));
        }
    }
}

const LAYERS: usize = 6;

/// A layer that was made: its tree, and when its call began and returned.
struct Made {
    begin: usize,
    end: usize,
    lines: Lines,
}

#[derive(Default)]
struct Figures {
    bad: usize,
    shown: usize,
    damaged: usize,
    said: usize,
    gone: usize,
    shut: usize,
}

fn one(peer: &dyn Peer, base: &Path, kind: &str, count: usize, seed: u64) {
    let disks = base.join("disks");
    fs::create_dir(&disks).unwrap();
    let server = Server::start(&disks).unwrap();
    let aside = base.join("aside");
    fs::create_dir(&aside).unwrap();
    let fresh = machine::make(kind, base).unwrap();
    let disk = Disk::new(fresh.clone(), true);
    let dir = base.join("told");
    let mounted = Mounted::new(&server, disk.clone(), kind, &dir).unwrap();
    let home = dir.join("home");
    fs::create_dir(&home).unwrap();
    rustix::fs::syncfs(File::open(&dir).unwrap()).unwrap();
    let start = disk.begin();
    let noise = Noise::start(&dir, &home, seed);
    let mut made = BTreeMap::new();
    for number in 0..LAYERS {
        let (id, tar) = (format!("layer{number}"), aside.join("layer.tar"));
        fs::write(&tar, Which::Base(number as u64).bytes()).unwrap();
        let begin = disk.position();
        peer.add(&home, &aside, &id, &tar)
            .unwrap_or_else(|e| panic!("{}: {e}", peer.name()));
        let end = disk.position();
        let shown = peer.shown(&home, &aside).unwrap();
        let lines = tree(peer, &shown[&id]);
        made.insert(id, Made { begin, end, lines });
    }
    drop(noise);
    let log = disk.end();
    end(mounted, &home);
    let marks: Vec<usize> = made.values().flat_map(|one| [one.begin, one.end]).collect();
    let mut cuts = cut::cuts(&log, &marks, seed, 0..count);
    cuts.sort_by_key(|cut| cut.at);
    let (mut states, mut figures) = (States::new(&start, &log), Figures::default());
    for cut in cuts {
        let disk = Disk::new(states.at(cut, seed), false);
        let Ok(mounted) = Mounted::new(&server, disk, kind, &base.join("cut")) else {
            continue;
        };
        look(
            peer,
            &base.join("cut/home"),
            &aside,
            &made,
            cut.at,
            &mut figures,
        );
        end(mounted, &base.join("cut/home"));
    }
    let Figures {
        bad,
        shown,
        damaged,
        said,
        gone,
        shut,
    } = figures;
    tell(&format!(
        "peer: {kind}: {}: {count} cuts, {bad} of them wrong: of {shown} layers shown {damaged} damaged, \
         of {said} said to be done {gone} gone; {shut} times it did not open",
        peer.name(),
    ));
}

/// Unmounts the disk, and first what the peer left mounted on it.
fn end(mounted: Mounted<'_>, home: &Path) {
    let detach = rustix::mount::UnmountFlags::DETACH;
    let _ = rustix::mount::unmount(home.join("overlay"), detach);
    mounted.unmount().unwrap();
}

fn look(
    peer: &dyn Peer,
    home: &Path,
    aside: &Path,
    made: &BTreeMap<String, Made>,
    at: usize,
    figures: &mut Figures,
) {
    let done: Vec<&String> = made
        .iter()
        .filter(|(_, one)| one.end <= at)
        .map(|(id, _)| id)
        .collect();
    figures.said += done.len();
    let shown = match peer.shown(home, aside) {
        Ok(shown) => shown,
        Err(_) => {
            figures.shut += 1;
            figures.bad += 1;
            return;
        }
    };
    figures.shown += shown.len();
    let verbose = std::env::var_os("OVL_POWER_TELL").is_some();
    let whole = |(id, dir): (&String, &PathBuf)| {
        let lines = std::panic::catch_unwind(|| tree(peer, dir)).ok();
        if let (Some(lines), Some(one), true) = (&lines, made.get(id), verbose) {
            for line in trees::differences(&one.lines, lines, true).iter().take(3) {
                tell(&format!("    {id}: {line}"));
            }
        }
        made.get(id)
            .is_some_and(|one| one.begin <= at && lines.as_ref() == Some(&one.lines))
    };
    let damaged = shown.iter().filter(|one| !whole(*one)).count();
    let gone = done.iter().filter(|id| !shown.contains_key(**id)).count();
    figures.damaged += damaged;
    figures.gone += gone;
    figures.bad += usize::from(damaged + gone > 0);
}
