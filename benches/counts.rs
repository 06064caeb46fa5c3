//! What does not depend on how busy the machine is: system calls, and instructions.

use crate::inputs::Inputs;
use crate::job::{Job, OVL, Run};
use crate::reading;
use crate::run::{Line, has, sh};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The system calls of one run.
#[derive(Serialize)]
pub struct Calls {
    /// The program.
    pub who: String,
    /// All of them.
    pub total: u64,
    /// For each entry of the job.
    pub per_entry: f64,
    /// The most frequent ones, for each entry.
    pub names: Vec<(String, f64)>,
}

/// The instructions of one run.
#[derive(Serialize)]
pub struct Instructions {
    /// What ran.
    pub job: String,
    /// How many entries.
    pub entries: u64,
    /// How many instructions, in user space.
    pub count: u64,
}

/// Counts the system calls of ours and of the first peer: strace makes a long run of a short one.
pub fn calls(job: &Job) -> Result<Vec<Calls>, String> {
    let mut all = Vec::new();
    for run in job.runs.iter().take(2) {
        let file = job.runs[0].line.dir.join("strace.out");
        // Threads and children too.
        let line = run
            .line
            .under(&format!("strace -f -qq -c -o {}", file.display()));
        let done = (job.before)()
            .and_then(|()| (run.before)())
            .and_then(|()| line.timed());
        match done {
            // A peer's failure has been told.
            Err(_) if !run.who.starts_with(OVL) => continue,
            done => done?,
        };
        let text = std::fs::read_to_string(&file).map_err(|e| e.to_string())?;
        let _ = std::fs::remove_file(&file);
        all.push(table(job, run, &text));
    }
    Ok(all)
}

/// Reads strace's summary: "% time, seconds, usecs/call, calls, [errors,] syscall".
fn table(job: &Job, run: &Run, text: &str) -> Calls {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(Ok(calls)), Some(name)) =
            (words.get(3).map(|word| word.parse::<u64>()), words.last())
        else {
            continue;
        };
        if words.len() >= 5 && *name != "total" {
            *counts.entry(name).or_default() += calls;
        }
    }
    let entries = job.entries.max(1) as f64;
    let total = counts.values().sum();
    let mut names: Vec<(String, f64)> = counts
        .into_iter()
        .map(|(name, calls)| (name.to_string(), calls as f64 / entries))
        .collect();
    names.sort_by(|a, b| b.1.total_cmp(&a.1));
    names.truncate(8);
    Calls {
        who: run.who.clone(),
        total,
        per_entry: total as f64 / entries,
        names,
    }
}

/// Instructions of ours, on a small tree.
pub fn instructions(
    ovl: &Path,
    inputs: &Inputs,
    dir: &Path,
    left_out: &mut Vec<String>,
) -> Result<Vec<Instructions>, String> {
    let archive = inputs.little()?;
    let entries = archive.digest.entries;
    let pack = format!(
        "rm -rf i; mkdir i; cd i; cp -a '{}' tree; cp {} t.tar; gzip -nk t.tar; {}",
        archive.tree.display(),
        archive.file.display(),
        if has("zstd") { "zstd -q t.tar" } else { ":" }
    );
    sh(dir, &pack)?;
    let dir = dir.join("i");
    let mut all = Vec::new();
    // A valgrind that does not know openat2 can follow neither a copy nor an apply.
    let ovl = ovl.display();
    for (job, words) in [
        ("hard-link clone", "copy --hardlink tree a"),
        ("content clone", "copy --reflink=never tree b"),
        (
            "apply, plain tar",
            "--store s apply plain --durability none t.tar",
        ),
        (
            "apply, tar.gz",
            "--store s apply gz --durability none t.tar.gz",
        ),
        ("diff, everything", "--store s diff plain"),
    ] {
        match count(&Line::new(&dir, &format!("{ovl} {words}"))) {
            Ok(count) => all.push(Instructions {
                job: job.to_string(),
                entries,
                count,
            }),
            Err(error) if error.contains("Function not implemented") => {
                left_out.push(
                    "instructions of whole runs: this valgrind does not know openat2".to_string(),
                );
                break;
            }
            Err(error) => return Err(error),
        }
    }
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    for (job, file) in [
        ("reading a plain tar: digest, parse", "t.tar"),
        ("reading a tar.gz: decompress, digests, parse", "t.tar.gz"),
        ("reading a tar.zst: decompress, digests, parse", "t.tar.zst"),
    ] {
        if dir.join(file).exists() {
            let line = Line::new(
                &dir,
                &format!("{} {} {file}", exe.display(), reading::OPTION),
            );
            all.push(Instructions {
                job: job.to_string(),
                entries,
                count: count(&line)?,
            });
        }
    }
    sh(&dir, "cd ..; rm -rf i")?;
    Ok(all)
}

fn count(line: &Line) -> Result<u64, String> {
    let (_, said) = line
        .under("valgrind --tool=callgrind --callgrind-out-file=/dev/null")
        .run()?;
    said.lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
        .ok_or_else(|| format!("callgrind said no count: {said}"))
}
