//! What came out: numbers, and whether they reach what they are to reach.

pub mod markdown;
pub mod plot;

use crate::counts::{Calls, Instructions};
use crate::job::{Job, OVL, Series, median};
use crate::machine::Machine;
use crate::run::Cost;
use serde::Serialize;

/// The peak that no job may pass, in KiB: the library's budget, without what grows with links and names.
const MOST_MEMORY: u64 = 48 << 10;

/// What the verdict on it is called.
const PEAK: &str = "peak memory, MiB";

/// The whole report.
#[derive(Serialize)]
pub struct Report {
    /// The version of this form.
    pub version: u32,
    /// What it ran on.
    pub machine: Machine,
    /// Rounds of each job.
    pub rounds: usize,
    /// This program's own peak, below which no peak is told from another, in KiB.
    pub floor_rss_kib: u64,
    /// The jobs.
    pub jobs: Vec<Outcome>,
    /// Instructions of ours.
    pub instructions: Vec<Instructions>,
    /// What was not done, and why.
    pub left_out: Vec<String>,
    /// What libovl did wrong, or could not do.
    pub failed: Vec<String>,
}

/// What a job gave.
#[derive(Serialize)]
pub struct Outcome {
    /// What JOBS= names.
    pub name: String,
    /// In words.
    pub title: String,
    /// The file system.
    pub kind: String,
    /// Entries.
    pub entries: u64,
    /// The load average when it began.
    pub load: f64,
    /// Each way.
    pub rows: Vec<Row>,
    /// What was to be reached.
    pub verdicts: Vec<Verdict>,
    /// System calls.
    pub calls: Vec<Calls>,
}

/// A median, and the extremes.
#[derive(Serialize, Clone, Copy)]
pub struct Spread {
    /// The median of the rounds.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// One way of a job.
#[derive(Serialize)]
pub struct Row {
    /// The program.
    pub who: String,
    /// Seconds.
    pub wall: Spread,
    /// Seconds, user and system; none where a daemon did the work, or a step is too short for it.
    pub cpu: Option<Spread>,
    /// Peak, in KiB; none for a daemon.
    pub rss_kib: Option<u64>,
    /// Ours to this one.
    pub wall_ratio: Option<Spread>,
    /// Ours to this one.
    pub cpu_ratio: Option<Spread>,
    /// Microseconds of the steps, where it told them.
    pub steps: Vec<(String, f64)>,
    /// What it made is not the whole tree: how.
    pub flaw: Option<String>,
}

/// Whether something was reached.
#[derive(Serialize)]
pub struct Verdict {
    /// In words.
    pub what: String,
    /// At most.
    pub target: f64,
    /// What it was.
    pub got: f64,
    /// At most that.
    pub reached: bool,
}

impl Verdict {
    fn new(what: String, target: f64, got: f64) -> Verdict {
        Verdict {
            what,
            target,
            got,
            reached: got <= target,
        }
    }
}

/// The numbers of a job.
pub fn outcome(job: &Job, load: f64, all: &[Series], calls: Vec<Calls>) -> Outcome {
    let done = || all.iter().filter(|series| series.failed.is_none());
    let rows: Vec<Row> = done().map(|series| row(job, &all[0], series)).collect();
    let mut verdicts = Vec::new();
    for target in &job.targets {
        let find = |who: &str| done().find(|series| series.who == who);
        let (Some(of), Some(against)) = (find(&target.of), find(&target.against)) else {
            continue;
        };
        let (wall, cpu) = ratios(of, against);
        let words = |what: &str| format!("{what}, {} to {}", of.who, against.who);
        if let (Some(most), Some(wall)) = (target.wall, wall) {
            verdicts.push(Verdict::new(words("wall"), most, wall.median));
        }
        if let (Some(most), Some(cpu)) = (target.cpu, cpu) {
            verdicts.push(Verdict::new(words("CPU"), most, cpu.median));
        }
        let ours = calls.iter().find(|calls| calls.who == target.of);
        if let (Some(most), Some(ours)) = (target.calls, ours) {
            verdicts.push(Verdict::new(
                "system calls per entry".to_string(),
                most,
                ours.per_entry,
            ));
        }
    }
    let peak = all
        .iter()
        .filter(|series| series.who.starts_with(OVL))
        .flat_map(|series| &series.costs);
    if let Some(peak) = peak.map(|cost| cost.rss).max() {
        verdicts.push(Verdict::new(
            PEAK.to_string(),
            MOST_MEMORY as f64 / 1024.0,
            peak as f64 / 1024.0,
        ));
    }
    Outcome {
        name: job.name.clone(),
        title: job.title.clone(),
        kind: job.kind.clone(),
        entries: job.entries,
        load,
        rows,
        verdicts,
        calls,
    }
}

fn row(job: &Job, ours: &Series, series: &Series) -> Row {
    let (wall_ratio, cpu_ratio) = match series.who == ours.who {
        true => (None, None),
        false => ratios(ours, series),
    };
    Row {
        who: series.who.clone(),
        wall: spread(series, |cost| cost.wall),
        // The process of a step also sets up what it measures.
        cpu: (!series.daemon && !job.steps).then(|| spread(series, |cost| cost.cpu)),
        rss_kib: (!series.daemon).then(|| {
            series
                .costs
                .iter()
                .map(|cost| cost.rss)
                .max()
                .unwrap_or_default()
        }),
        wall_ratio,
        cpu_ratio: cpu_ratio.filter(|_| !job.steps),
        steps: series
            .steps
            .iter()
            .map(|(name, values)| (name.clone(), median(&mut values.clone())))
            .collect(),
        flaw: series.flaw.clone(),
    }
}

fn spread(series: &Series, what: fn(&Cost) -> f64) -> Spread {
    of(series.costs.iter().map(what).collect())
}

fn of(mut values: Vec<f64>) -> Spread {
    let median = median(&mut values);
    let pick = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
    Spread {
        median,
        min: pick(values.first()),
        max: pick(values.last()),
    }
}

/// Wall and CPU of one to another, round by round. A daemon's CPU is not known, and what takes less
/// than a tick has none.
fn ratios(of_this: &Series, to: &Series) -> (Option<Spread>, Option<Spread>) {
    let each = |what: fn(&Cost) -> f64| -> Option<Spread> {
        let pairs = of_this.costs.iter().zip(&to.costs);
        let ratios: Vec<f64> = pairs
            .map(|(a, b)| what(a) / what(b))
            .filter(|ratio| ratio.is_finite())
            .collect();
        (!ratios.is_empty()).then(|| of(ratios))
    };
    let cpu = if to.daemon {
        None
    } else {
        each(|cost| cost.cpu)
    };
    (each(|cost| cost.wall), cpu)
}
