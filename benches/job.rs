//! A job: what is compared, and the rounds that compare it.

use crate::options::Options;
use crate::run::{Cost, Line};
use std::fs;

/// The name of ours in every table.
pub const OVL: &str = "ovl";

/// What is done before or after a run, untimed.
pub type Step<'a> = Box<dyn Fn() -> Result<(), String> + 'a>;

/// Several ways to do the same thing.
pub struct Job<'a> {
    /// What JOBS= names.
    pub name: String,
    /// What the report says.
    pub title: String,
    /// The file system.
    pub kind: String,
    /// How many entries it is about; 1 where that says nothing.
    pub entries: u64,
    /// Runs of each in a round: more than one for what takes milliseconds.
    pub repeat: usize,
    /// Are the times the program's own, of its steps?
    pub steps: bool,
    /// Whether system calls are counted.
    pub counted: bool,
    /// Before every run.
    pub before: Step<'a>,
    /// Ours is the first.
    pub runs: Vec<Run<'a>>,
    /// What is to be reached.
    pub targets: Vec<Target>,
    /// Peers that could not be prepared, and why.
    pub left_out: Vec<String>,
}

/// One way to do it.
pub struct Run<'a> {
    /// The program, or what it stands for.
    pub who: String,
    /// How it is called.
    pub line: Line,
    /// After the job's `before`.
    pub before: Step<'a>,
    /// The full comparison of what it made.
    pub check: Step<'a>,
    /// Is its work done in another process, whose time nobody here sees?
    pub daemon: bool,
}

/// A ratio to reach.
#[derive(Clone)]
pub struct Target {
    /// Whose ratio: ours, or another row of ours.
    pub of: String,
    /// To this one.
    pub against: String,
    /// Wall time.
    pub wall: Option<f64>,
    /// User and system time.
    pub cpu: Option<f64>,
    /// System calls for each entry.
    pub calls: Option<f64>,
}

impl Target {
    /// Of ours against a peer.
    pub fn new(against: &str, wall: f64, cpu: Option<f64>) -> Target {
        Target {
            of: OVL.into(),
            against: against.into(),
            wall: Some(wall),
            cpu,
            calls: None,
        }
    }
}

/// All that one way cost, round by round.
pub struct Series {
    /// See [`Run::who`].
    pub who: String,
    /// Of each round, the median of its repeats.
    pub costs: Vec<Cost>,
    /// The medians of the steps, of the first round to the last.
    pub steps: Vec<(String, Vec<f64>)>,
    /// See [`Run::daemon`].
    pub daemon: bool,
    /// Why what a peer made is not the whole tree.
    pub flaw: Option<String>,
    /// Why a peer could not do it; its costs say nothing then.
    pub failed: Option<String>,
}

impl<'a> Run<'a> {
    /// Nothing before it, and nothing to compare.
    pub fn new(who: &str, line: Line) -> Run<'a> {
        let nothing = || -> Step<'a> { Box::new(|| Ok(())) };
        Run {
            who: who.into(),
            line,
            before: nothing(),
            check: nothing(),
            daemon: false,
        }
    }

    /// Compared afterwards.
    pub fn checked(mut self, check: impl Fn() -> Result<(), String> + 'a) -> Run<'a> {
        self.check = Box::new(check);
        self
    }

    /// Prepared.
    pub fn after(mut self, before: impl Fn() -> Result<(), String> + 'a) -> Run<'a> {
        self.before = Box::new(before);
        self
    }
}

/// Rounds in which all take their turn, each time from the next one on.
pub fn measure(job: &Job, options: &Options) -> Result<Vec<Series>, String> {
    let mut all: Vec<Series> = job.runs.iter().map(Series::new).collect();
    for round in 0..options.rounds {
        for turn in 0..job.runs.len() {
            let at = (round + turn) % job.runs.len();
            let (run, series) = (&job.runs[at], &mut all[at]);
            if series.failed.is_some() {
                continue;
            }
            match several(job, run, series) {
                Ok(cost) => series.costs.push(cost),
                // A peer that cannot do it must not cost the others' measures.
                Err(error) if !run.who.starts_with(OVL) => series.failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        eprint!(".");
    }
    Ok(all)
}

impl Series {
    fn new(run: &Run) -> Series {
        Series {
            who: run.who.clone(),
            costs: Vec::new(),
            steps: Vec::new(),
            daemon: run.daemon,
            flaw: None,
            failed: None,
        }
    }
}

/// A round's runs of one way.
fn several(job: &Job, run: &Run, series: &mut Series) -> Result<Cost, String> {
    let mut costs = Vec::new();
    for _ in 0..job.repeat {
        costs.push(once(job, run, series)?);
    }
    Ok(middle(&mut costs))
}

fn once(job: &Job, run: &Run, series: &mut Series) -> Result<Cost, String> {
    let told = |error: String| format!("{} on {}: {}: {error}", job.name, job.kind, run.who);
    (job.before)()
        .and_then(|()| (run.before)())
        .map_err(|e| told(format!("before: {e}")))?;
    let mut cost = run.line.timed().map_err(told)?;
    if job.steps {
        cost.wall = read_steps(run, series).map_err(told)?;
    }
    // What a peer leaves out is told in the report; ours leaves nothing out.
    match (run.check)() {
        Err(error) if run.who.starts_with(OVL) => return Err(told(format!("wrong: {error}"))),
        Err(error) => {
            series.flaw.get_or_insert(error);
        }
        Ok(()) => {}
    }
    Ok(cost)
}

/// The program's own times, in microseconds; the sum of them in seconds.
fn read_steps(run: &Run, series: &mut Series) -> Result<f64, String> {
    let text = fs::read_to_string(&run.line.stdout).map_err(|e| e.to_string())?;
    let mut total = None;
    for line in text.lines() {
        let (name, value) = line
            .split_once(' ')
            .ok_or_else(|| format!("it said: {line}"))?;
        let value: f64 = value.parse().map_err(|_| format!("it said: {line}"))?;
        if name == "total" {
            total = Some(value / 1e6);
        } else if let Some((_, values)) = series.steps.iter_mut().find(|(known, _)| known == name) {
            values.push(value);
        } else {
            series.steps.push((name.to_string(), vec![value]));
        }
    }
    total.ok_or_else(|| "it said no total".to_string())
}

/// The median of each measure; the peak is the largest.
fn middle(costs: &mut [Cost]) -> Cost {
    let pick = |costs: &[Cost], what: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(what).collect();
        median(&mut values)
    };
    Cost {
        wall: pick(costs, |cost| cost.wall),
        cpu: pick(costs, |cost| cost.cpu),
        rss: costs.iter().map(|cost| cost.rss).max().unwrap_or_default(),
    }
}

/// The median; of an even number, the mean of the two in the middle.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}
