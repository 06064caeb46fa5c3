//! All points of an operation, or a sample of them, in a process and a mount namespace of its own.

use crate::calls;
use crate::limits;
use crate::ops::{self, Op};
use crate::point::{self, Reference};
use crate::proof;
use crate::support::{fsys, have};
use crate::trace::{Act, Call};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The operation that a process of ours sweeps.
const OPERATION: &str = "OVL_SWEEP_OPERATION";
/// `all`: every point; `kills`: every one that is a kill; else a sample.
const HOW: &str = "OVL_SWEEP";
/// One point: an operation and what it meets, or the operation alone for all of it.
const ONLY: &str = "OVL_SWEEP_ONLY";
/// The file system: tmpfs, or another of the support's.
const KIND: &str = "OVL_SWEEP_FS";
/// Which sample.
const SEED: &str = "OVL_SWEEP_SEED";

/// Points of one operation in a sample.
const SAMPLE: usize = 60;
/// How often in a row a call fails.
const RUNS: [usize; 2] = [2, 3];
/// Failures after which an operation is given up.
const ENOUGH: usize = 25;

fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The limit that a process of ours squeezes operations by.
const LIMIT: &str = "OVL_SWEEP_LIMIT";

/// Whether one operation is asked for, and it is another.
pub fn only_other(op: &Op) -> bool {
    let only = var(ONLY);
    let only = only.as_deref().and_then(|only| only.split(' ').next());
    only.is_some_and(|only| only != op.name)
}

/// Whether one operation is asked for.
pub fn is_only() -> bool {
    var(ONLY).is_some()
}

fn how() -> String {
    var(HOW).unwrap_or_default()
}

/// Whether every point is played, not a sample.
pub fn every() -> bool {
    var(HOW).as_deref() == Some("all") || var(ONLY).is_some()
}

/// Whether the injector knows this machine.
pub fn right_machine() -> bool {
    if cfg!(target_arch = "x86_64") {
        return true;
    }
    have::skip("x86_64", "the injector knows no other machine");
    false
}

/// Squeezes all operations by one limit.
pub fn run_limit(name: &str) {
    // One point needs no limit.
    let point = var(ONLY).is_some_and(|only| only.contains(' '));
    if !right_machine() || point {
        return;
    }
    if let Some(why) = child(LIMIT, name, &how()) {
        panic!("{why}");
    }
}

/// All points of one operation; what was said when some failed.
pub fn sweep_of(name: &str) -> Option<String> {
    child(OPERATION, name, "all")
}

/// Runs a process of ours; what it said when it failed.
fn child(what: &str, name: &str, how: &str) -> Option<String> {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "driver::child_sweeps", "--ignored"]);
    child.args(["--nocapture", "--test-threads=1"]);
    let output = child.env(what, name).env(HOW, how).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for line in said.lines().filter(|line| line.starts_with("sweep: ")) {
        println!("{line}");
    }
    let why = String::from_utf8_lossy(&output.stderr);
    (!output.status.success()).then(|| format!("{name}\n{said}{why}"))
}

/// Sweeps the operations whose names begin so, each in a process of its own.
pub fn sweep(prefixes: &[&str]) {
    require!("root", "overlay", "tmpfs");
    if !right_machine() {
        return;
    }
    let mut failed = Vec::new();
    for op in ops::all() {
        let mine = prefixes.iter().any(|prefix| op.name.starts_with(prefix));
        if mine && !only_other(op) {
            failed.extend(child(OPERATION, op.name, &how()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The process that sweeps one operation; alone it has nothing to do.
#[test]
#[ignore = "run by other tests"]
fn child_sweeps() {
    let (operation, limit) = (var(OPERATION), var(LIMIT));
    if operation.is_none() && limit.is_none() {
        return;
    }
    die_with_the_parent();
    point::keep_panics();
    // The harness is in the middle of a line.
    println!();
    let failures = fsys::with_mounts(|base| match (&operation, &limit) {
        (Some(name), _) => {
            let kind = var(KIND).unwrap_or_else(|| "tmpfs".to_string());
            Sweep::new(ops::find(name), Place::new(base, &kind)).run()
        }
        (None, Some(name)) if name == "injector" => {
            proof::injector(base);
            0
        }
        (None, limit) => limits::squeeze(limit.as_deref().unwrap(), base),
    });
    assert_eq!(failures, 0);
}

#[allow(unsafe_code)]
fn die_with_the_parent() {
    // SAFETY: asks for a signal at the parent's end.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Where points are played, one after the other.
pub struct Place {
    base: PathBuf,
    kind: String,
    /// Each directory is a subvolume, and what it takes is counted.
    quota: bool,
}

impl Place {
    pub fn new(base: &Path, kind: &str) -> Place {
        let base = match kind {
            "tmpfs" => {
                fs::create_dir(base.join("point")).unwrap();
                base.to_path_buf()
            }
            _ => fsys::make(kind, base).unwrap_or_else(|why| panic!("{kind}: {why}")),
        };
        Place {
            base,
            kind: kind.to_string(),
            quota: false,
        }
    }

    /// From now on each directory is a subvolume, and what it takes is counted.
    pub fn quota(&self) -> Place {
        let mut btrfs = Command::new("btrfs");
        have::run(btrfs.args(["quota", "enable"]).arg(&self.base)).unwrap();
        Place {
            base: self.base.clone(),
            kind: self.kind.clone(),
            quota: true,
        }
    }

    /// Gives `body` an empty directory.
    pub fn fresh<T>(&self, body: impl FnOnce(&Path) -> T) -> T {
        let dir = self.base.join("point");
        if self.kind == "tmpfs" {
            fsys::mount_tmpfs(&dir, c"mode=755,size=64m").unwrap();
        } else if self.quota {
            have::run(
                Command::new("btrfs")
                    .args(["subvolume", "create"])
                    .arg(&dir),
            )
            .unwrap();
        } else {
            fs::create_dir(&dir).unwrap();
        }
        let result = body(&dir);
        // What a failure left mounted, and the place itself.
        let detach = rustix::mount::UnmountFlags::DETACH;
        let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        let mut points: Vec<&str> = points.filter(|p| Path::new(p).starts_with(&dir)).collect();
        points.reverse();
        for point in points {
            let _ = rustix::mount::unmount(point, detach);
        }
        if self.quota {
            have::run(
                Command::new("btrfs")
                    .args(["subvolume", "delete"])
                    .arg(&dir),
            )
            .unwrap();
        } else if self.kind != "tmpfs" {
            fs::remove_dir_all(&dir).unwrap();
        }
        result
    }
}

struct Sweep {
    op: &'static Op,
    place: Place,
    failures: usize,
    played: usize,
    kills: usize,
    /// Points at which the operation was done all the same, and failed although done.
    borne: usize,
    late: BTreeMap<String, usize>,
}

impl Sweep {
    fn new(op: &'static Op, place: Place) -> Sweep {
        Sweep {
            op,
            place,
            failures: 0,
            played: 0,
            kills: 0,
            borne: 0,
            late: BTreeMap::new(),
        }
    }

    fn run(mut self) -> usize {
        let start = Instant::now();
        let found = self.place.fresh(|dir| point::reference(self.op, dir));
        let reference = match found {
            Ok(reference) => reference,
            Err(why) => {
                println!("sweep: {}: {why}", self.op.name);
                return 1;
            }
        };
        let only = var(ONLY);
        match only.as_deref().and_then(|only| only.split_once(' ')) {
            Some((_, point)) => self.play(parse(point), &reference),
            None => self.all(&reference),
        }
        let numbers: Vec<i64> = reference.calls.iter().map(|call| call.number).collect();
        println!(
            "sweep: {} on {}: {} calls, {} points ({} kills), {} borne, {} failures, {:.1} s",
            self.op.name,
            self.place.kind,
            numbers.len(),
            self.played,
            self.kills,
            self.borne,
            self.failures,
            start.elapsed().as_secs_f64()
        );
        if !self.late.is_empty() {
            println!("sweep: {}: failed and done: {:?}", self.op.name, self.late);
        }
        if var("OVL_SWEEP_CALLS").is_some() {
            println!("sweep: {}:{}", self.op.name, calls::tally(&numbers));
        }
        self.failures
    }

    fn all(&mut self, reference: &Reference) {
        let mut points = points(&reference.calls);
        let kills = var(HOW).as_deref() == Some("kills");
        if kills {
            points.retain(|act| matches!(act, Act::Kill(_)));
        }
        let every = every() || kills;
        let step = match every {
            true => self.op.stride,
            false => points.len().div_ceil(SAMPLE).max(1),
        };
        let seed: usize = var(SEED).map_or(0, |seed| seed.parse().unwrap());
        for act in points.into_iter().skip(seed % step).step_by(step) {
            self.play(act, reference);
            if self.failures >= ENOUGH {
                println!("sweep: {}: given up", self.op.name);
                return;
            }
        }
        // It may take more calls than the first time.
        if every {
            for at in reference.calls.len() + 2.. {
                if !self.reached(at, reference) {
                    break;
                }
            }
        }
    }

    fn reached(&mut self, at: usize, reference: &Reference) -> bool {
        let before = self.kills;
        self.play(Act::Kill(at), reference);
        self.kills > before
    }

    fn play(&mut self, act: Act, reference: &Reference) {
        let op = self.op;
        let outcome = self.place.fresh(|dir| point::play(op, dir, act, reference));
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(why) => {
                self.tell(act, None, &why);
                return;
            }
        };
        // The calls moved, and there was none at which to do it.
        let Some(hit) = outcome.seen.hit else {
            return;
        };
        self.played += 1;
        if matches!(act, Act::Kill(_)) {
            self.kills += 1;
        } else if outcome.told.ended && outcome.told.errno == 0 {
            self.borne += 1;
        }
        if outcome.late {
            let name = calls::name(hit.number);
            *self.late.entry(name).or_insert(0) += 1;
        }
        for why in &outcome.wrong {
            self.tell(act, Some(hit), why);
        }
    }

    fn tell(&mut self, act: Act, hit: Option<Call>, why: &str) {
        self.failures += 1;
        let (op, kind) = (self.op.name, &self.place.kind);
        let call = hit.map_or(String::new(), |hit| {
            format!(" ({}, {})", calls::name(hit.number), hit.number)
        });
        let point = show(act);
        let why = why.replace('\n', " | ");
        println!("sweep: {op} {point}{call} on {kind}: {why}");
        println!("sweep:     again: sh scripts/sweep.sh --fs {kind} '{op} {point}'");
        let _ = std::io::stdout().flush();
    }
}

/// Every point of these calls: the kills, and each errno of each call, once and from then on.
fn points(calls: &[Call]) -> Vec<Act> {
    let mut points: Vec<Act> = (1..=calls.len() + 1).map(Act::Kill).collect();
    for (at, call) in calls.iter().enumerate() {
        let (errnos, _) = calls::errnos(call.number, &call.args);
        points.extend(errnos.iter().map(|&errno| Act::Fail(at + 1, errno)));
        points.extend(errnos.iter().map(|&errno| Act::FailOn(at + 1, errno)));
        // Who asks a second time may get an answer; the third time too.
        let runs = errnos
            .iter()
            .flat_map(|&errno| RUNS.map(|most| (errno, most)));
        points.extend(runs.map(|(errno, most)| Act::FailRun(at + 1, errno, most)));
    }
    points
}

fn show(act: Act) -> String {
    match act {
        Act::Count => "count".to_string(),
        Act::Kill(at) => format!("kill:{at}"),
        Act::Fail(at, errno) => format!("{}:{at}", calls::errno_name(errno)),
        Act::FailOn(at, errno) => format!("{}+:{at}", calls::errno_name(errno)),
        Act::FailRun(at, errno, most) => format!("{}*{most}:{at}", calls::errno_name(errno)),
    }
}

fn parse(text: &str) -> Act {
    let (what, at) = text.split_once(':').expect("WHAT:N");
    let at = at.parse().expect("a number");
    let errno = |name: &str| calls::errno_of(name).expect("an errno");
    if let Some((name, most)) = what.split_once('*') {
        return Act::FailRun(at, errno(name), most.parse().expect("a number"));
    }
    match (what, what.strip_suffix('+')) {
        ("kill", _) => Act::Kill(at),
        (_, Some(name)) => Act::FailOn(at, errno(name)),
        (name, None) => Act::Fail(at, errno(name)),
    }
}
