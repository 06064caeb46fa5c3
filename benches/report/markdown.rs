//! The report in words and tables.

use super::{Outcome, PEAK, Report, Row, Spread, Verdict};
use std::fmt::Write as _;

/// The whole report.
pub fn write(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = String::from("# What libovl costs\n\n");
    let _ = writeln!(
        text,
        "{}, {} CPUs, {} MiB, Linux {}; images on {}; {} rounds. A ratio is ours to the other, of the same round: \
         the median, and the extremes. `cpu` is user and system time of the whole process tree. A peak below {} MiB \
         reads as that. How it is measured: docs/performance.md.\n",
        machine.cpu,
        machine.cpus,
        machine.memory_mib,
        machine.kernel,
        machine.disk,
        report.rounds,
        report.floor_rss_kib / 1024
    );
    for why in &report.failed {
        let _ = writeln!(text, "**Failed:** {why}\n");
    }
    summary(&mut text, report);
    for job in &report.jobs {
        outcome(&mut text, job);
    }
    if !report.instructions.is_empty() {
        text.push_str("\n## Instructions\n\nIn user space, by callgrind.\n\n| job | entries | instructions | per entry |\n|---|---|---|---|\n");
        for line in &report.instructions {
            let each = line.count as f64 / line.entries.max(1) as f64;
            let _ = writeln!(
                text,
                "| {} | {} | {} | {each:.0} |",
                line.job, line.entries, line.count
            );
        }
    }
    text.push_str("\n## Programs\n\n");
    for (program, version) in &machine.programs {
        let _ = writeln!(text, "- {program}: {version}");
    }
    if !report.left_out.is_empty() || !machine.missing.is_empty() {
        text.push_str("\n## Left out\n\n");
        for what in &report.left_out {
            let _ = writeln!(text, "- {what}");
        }
        for (program, package) in &machine.missing {
            let _ = writeln!(
                text,
                "- {program}: not installed (Debian's package is {package})"
            );
        }
    }
    text
}

/// Every ratio that is to be reached; of the peaks, the highest.
pub fn summary(text: &mut String, report: &Report) {
    text.push_str("| job | on | measure | at most | got | |\n|---|---|---|---|---|---|\n");
    let mut peak: Option<&Verdict> = None;
    let mut put = |job: &str, kind: &str, verdict: &Verdict| {
        let reached = if verdict.reached {
            "reached"
        } else {
            "**missed**"
        };
        let _ = writeln!(
            text,
            "| {job} | {kind} | {} | {:.2} | {:.2} | {reached} |",
            verdict.what, verdict.target, verdict.got
        );
    };
    for job in &report.jobs {
        for verdict in &job.verdicts {
            if verdict.what != PEAK {
                put(&job.title, &job.kind, verdict);
            } else if peak.is_none_or(|peak| peak.got < verdict.got) {
                peak = Some(verdict);
            }
        }
    }
    if let Some(peak) = peak {
        put("all of them", "", peak);
    }
}

fn outcome(text: &mut String, job: &Outcome) {
    let _ = writeln!(
        text,
        "\n## {} ({})\n\n`{}`, load {:.1} when it began.\n",
        job.title, job.kind, job.name, job.load
    );
    text.push_str("| | wall s | cpu s | peak MiB | wall ratio | cpu ratio | |\n|---|---|---|---|---|---|---|\n");
    for row in &job.rows {
        let peak = row
            .rss_kib
            .map_or("-".to_string(), |kib| format!("{:.1}", kib as f64 / 1024.0));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {peak} | {} | {} | {} |",
            row.who,
            seconds(Some(row.wall)),
            seconds(row.cpu),
            ratio(row.wall_ratio),
            ratio(row.cpu_ratio),
            note(row)
        );
    }
    if !job.calls.is_empty() {
        text.push_str("\n| | system calls per entry | the most frequent |\n|---|---|---|\n");
        for calls in &job.calls {
            let names: Vec<String> = calls
                .names
                .iter()
                .map(|(name, each)| format!("{name} {each:.2}"))
                .collect();
            let _ = writeln!(
                text,
                "| {} | {:.2} | {} |",
                calls.who,
                calls.per_entry,
                names.join(", ")
            );
        }
    }
}

fn note(row: &Row) -> String {
    let mut notes: Vec<String> = Vec::new();
    if !row.steps.is_empty() {
        let steps: Vec<String> = row
            .steps
            .iter()
            .map(|(name, us)| format!("{name} {us:.0} us"))
            .collect();
        notes.push(steps.join(", "));
    }
    if row.rss_kib.is_none() {
        notes.push("the daemon does the work: its CPU time is not seen".to_string());
    }
    if let Some(flaw) = &row.flaw {
        let flaw: String = flaw
            .chars()
            .take(300)
            .map(|c| if c == '|' { '/' } else { c })
            .collect();
        notes.push(format!("not the whole tree: {flaw}"));
    }
    notes.join("; ")
}

fn seconds(spread: Option<Spread>) -> String {
    spread.map_or("-".to_string(), |s| {
        format!("{:.4} ({:.4} to {:.4})", s.median, s.min, s.max)
    })
}

fn ratio(spread: Option<Spread>) -> String {
    spread.map_or("".to_string(), |s| {
        format!("{:.2} ({:.2} to {:.2})", s.median, s.min, s.max)
    })
}
