//! What libovl costs beside the tools that people know, and beside what the kernel needs at least: how
//! it is measured, and how the report is read, is in docs/performance.md.
//!
//! `make bench` runs it; `cargo bench -- JOB...` runs the jobs whose names begin so.

mod counts;
mod digest;
mod grow;
mod inputs;
mod job;
mod jobs;
mod machine;
mod options;
mod place;
mod reading;
mod report;
mod run;

use jobs::Bench;
use options::Options;
use place::Place;
use report::{Report, markdown, plot};
use run::{has, sh};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(file) = reading::asked() {
        return finish(reading::read(&file).map(|()| ExitCode::SUCCESS));
    }
    let said = Options::read().and_then(|options| match place::inside() {
        true => measure(&options).map(|()| ExitCode::SUCCESS),
        false => place::supervise(&options.dir),
    });
    finish(said)
}

fn finish(said: Result<ExitCode, String>) -> ExitCode {
    said.unwrap_or_else(|error| {
        eprintln!("bench: {error}");
        ExitCode::FAILURE
    })
}

fn measure(options: &Options) -> Result<(), String> {
    let (work, _lock) = place::lock(&options.dir)?;
    place::clear(&work)?;
    let (places, mut left_out) = place::all(&work, &options.kinds);
    let first = places.first().ok_or("there is no file system to work on")?;
    let own = first.dir.join("in");
    let inputs = inputs::Inputs::new(options, own.clone())?;
    let programs = own.join("programs");
    if let Err(why) = compile(options, &programs) {
        // Jobs that are nothing but these programs fail then; the others miss their floors.
        left_out.push(format!("the C programs beside it: {why}"));
    }
    let bench = Bench {
        options,
        inputs: &inputs,
        programs,
    };
    let mut report = Report {
        version: 1,
        machine: machine::Machine::here(&options.dir),
        rounds: options.rounds,
        floor_rss_kib: 0,
        jobs: Vec::new(),
        instructions: Vec::new(),
        left_out: Vec::new(),
        failed: Vec::new(),
    };
    for entry in jobs::ALL.iter().filter(|entry| options.wants(entry.name)) {
        for place in standing(entry, &places, &mut left_out) {
            let done =
                run_entry(&bench, entry, place, &mut report, &mut left_out).and(clean(place));
            // The other jobs' figures are worth having all the same.
            if let Err(why) = done {
                eprintln!("\nbench: {why}");
                report.failed.push(why);
            }
        }
    }
    if !options.wants("instructions") {
    } else if has("valgrind") {
        eprint!("instructions ");
        report.instructions =
            counts::instructions(&options.ovl, &inputs, &first.dir, &mut left_out)?;
        eprintln!();
    } else {
        left_out.push("instructions: there is no valgrind".to_string());
    }
    if !has("strace") {
        left_out.push("system calls: there is no strace".to_string());
    }
    report.floor_rss_kib = own_peak();
    report.left_out = left_out;
    write(options, &report)?;
    // What is mounted there ends with the namespace.
    if !place::private() {
        place::clear(&work)?;
    }
    match report.failed.len() {
        0 => Ok(()),
        count => Err(format!("{count} of the jobs failed")),
    }
}

/// The file systems that a job is about; where there is but one without a choice, that.
fn standing<'a>(
    entry: &jobs::Entry,
    places: &'a [Place],
    left_out: &mut Vec<String>,
) -> Vec<&'a Place> {
    let root = rustix::process::geteuid().is_root();
    if entry.root && !root {
        left_out.push(format!("{}: only root can do it", entry.name));
        return Vec::new();
    }
    let on: Vec<&Place> = places
        .iter()
        .filter(|place| entry.kinds.contains(&place.kind.as_str()))
        .collect();
    if on.is_empty() && places.len() == 1 {
        return places.iter().take(1).collect();
    }
    for kind in entry
        .kinds
        .iter()
        .filter(|kind| !places.iter().any(|place| place.kind == **kind))
    {
        left_out.push(format!("{} on {kind}: there is no {kind}", entry.name));
    }
    on
}

fn run_entry(
    bench: &Bench,
    entry: &jobs::Entry,
    place: &Place,
    report: &mut Report,
    left_out: &mut Vec<String>,
) -> Result<(), String> {
    eprintln!("{} on {}", entry.name, place.kind);
    let jobs = match (entry.build)(bench, place) {
        Ok(jobs) => jobs,
        Err(why) => match why.strip_prefix("left out: ") {
            Some(why) => {
                left_out.push(format!("{}: {why}", entry.name));
                return Ok(());
            }
            None => return Err(format!("{}: {why}", entry.name)),
        },
    };
    for job in jobs {
        eprint!("    {} ", job.title);
        let load = machine::load();
        let all = job::measure(&job, bench.options)?;
        let calls = if job.counted && has("strace") {
            counts::calls(&job)?
        } else {
            Vec::new()
        };
        let outcome = report::outcome(&job, load, &all, calls);
        eprintln!();
        for row in &outcome.rows {
            let ratio = row.wall_ratio.map_or(String::new(), |ratio| {
                format!("  wall ratio {:.2}", ratio.median)
            });
            eprintln!("        {:24} {:9.4} s{ratio}", row.who, row.wall.median);
        }
        report.jobs.push(outcome);
        left_out.extend(job.left_out);
        left_out.extend(all.into_iter().filter_map(|series| series.failed));
    }
    Ok(())
}

/// Removes all but the inputs and programs, and the tree that several jobs share.
fn clean(place: &Place) -> Result<(), String> {
    sh(
        &place.dir,
        "umount */graph/overlay store/layer/*/merged 2>/dev/null || :
         find . -mindepth 1 -maxdepth 1 ! -name in ! -name tree -exec rm -rf {} +
         sync -f .",
    )
}

/// Compiles the programs of calls/ and floors/.
fn compile(options: &Options, programs: &Path) -> Result<(), String> {
    fs::create_dir(programs).map_err(|e| format!("{}: {e}", programs.display()))?;
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let build = top.join("build");
    let beside = options
        .ovl
        .parent()
        .filter(|dir| dir.join("libovl.so").exists());
    let library = beside.unwrap_or(&build);
    let script = format!(
        "CC=${{CC:-cc}}; W='-O2 -std=c11 -pedantic -Wall -Wextra -Wshadow'
         for name in cycle remove clone extract rmtree; do
             $CC $W -pthread '{top}'/benches/floors/$name.c -o floor-$name
         done
         for name in cycle remove open; do
             $CC $W -I'{top}/include' '{top}'/benches/calls/$name.c -o $name -L'{lib}' -lovl -Wl,-rpath,'{lib}'
         done",
        top = top.display(),
        lib = library.display()
    );
    sh(programs, &script)
}

fn write(options: &Options, report: &Report) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", options.out.display());
    fs::create_dir_all(&options.out).map_err(told)?;
    let json = serde_json::to_string_pretty(report).map_err(|e| e.to_string())?;
    for (name, text) in [
        ("report.md", markdown::write(report)),
        ("report.json", json + "\n"),
        ("wall.svg", plot::wall(report)),
        ("cpu.svg", plot::cpu(report)),
    ] {
        fs::write(options.out.join(name), text).map_err(told)?;
    }
    let mut table = String::new();
    markdown::summary(&mut table, report);
    println!("\n{table}");
    for what in &report.left_out {
        println!("left out: {what}");
    }
    for (program, package) in &report.machine.missing {
        println!("left out: {program} is not installed (Debian's package is {package})");
    }
    println!("{}", options.out.join("report.md").display());
    Ok(())
}

/// This program's own peak, in KiB: what a child starts with.
fn own_peak() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}
