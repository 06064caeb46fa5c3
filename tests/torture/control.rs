//! Who starts, kills and starts again; and the report.

use crate::end;
use crate::kernel::{self, Log};
use crate::recipe::Dice;
use crate::support::{fsys, have};
use crate::worker::{Desk, HANG};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Half of them in each namespace.
const PROCESSES: u64 = 8;
/// The first of each half lives for seconds: who is killed at once never waits long.
const ELDERS: [u64; 2] = [0, PROCESSES / 2];

/// A process that keeps a mount namespace until whoever started it ends.
pub fn hold_namespace() {
    println!("READY");
    let _ = std::io::stdin().read(&mut [0; 1]);
}

struct Slot {
    number: u64,
    started: Instant,
    child: Child,
}

struct Run<'a> {
    desk: &'a Desk,
    /// The process that holds the second namespace.
    other: &'a Child,
    dice: Dice,
    starts: u64,
    kills: u64,
}

impl Run<'_> {
    fn start(&mut self, number: u64) -> Slot {
        self.starts += 1;
        let job = format!("work {number} {}", self.dice.roll(1 << 40));
        Slot {
            number,
            started: Instant::now(),
            child: self.spawn(number >= PROCESSES / 2, &job),
        }
    }

    /// Starts a job in the first or the second namespace. It ends when its input does: with us.
    fn spawn(&self, there: bool, job: &str) -> Child {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.other.id());
        let enter: &[&str] = match there {
            true => &["nsenter", &namespace, "--"],
            false => &[],
        };
        let mut command = crate::again(enter, &self.desk.base, job);
        let log = self.desk.base.join("stderr");
        let log = fs::File::options()
            .append(true)
            .create(true)
            .open(log)
            .unwrap();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        command.spawn().unwrap()
    }

    fn kill(&mut self, slot: &mut Slot) {
        slot.child.kill().unwrap();
        let status = slot.child.wait().unwrap();
        self.kills += 1;
        if status.signal() != Some(libc::SIGKILL) {
            self.desk.finding(&format!(
                "process {} ended by itself: {status}",
                slot.number
            ));
        }
    }

    /// Kills and starts until the time is over.
    fn torture(&mut self, time: Duration) -> Vec<Slot> {
        let start = Instant::now();
        let mut slots: Vec<Slot> = (0..PROCESSES).map(|number| self.start(number)).collect();
        while start.elapsed() < time && self.findings().is_empty() {
            std::thread::sleep(Duration::from_millis(2 + self.dice.roll(120)));
            let at = self.dice.roll(PROCESSES) as usize;
            let slot = &mut slots[at];
            let old = Duration::from_millis(2_000 + self.dice.roll(12_000));
            if !ELDERS.contains(&slot.number) || slot.started.elapsed() > old {
                self.kill(slot);
                *slot = self.start(slot.number);
            }
            for shared in kernel::shared_uppers("thread-self", &self.other.id().to_string()) {
                self.desk.finding(&shared);
            }
        }
        slots
    }

    /// Half are told to end, and must; half are killed.
    fn finish(&mut self, slots: Vec<Slot>) {
        for mut slot in slots {
            if slot.number % 2 == 1 {
                self.kill(&mut slot);
                continue;
            }
            drop(slot.child.stdin.take());
            match ended(&mut slot.child, HANG * 2) {
                Some(status) if status.success() => {}
                Some(status) => self
                    .desk
                    .finding(&format!("process {}: {status}", slot.number)),
                None => {
                    self.desk
                        .finding(&format!("process {} does not end", slot.number));
                    self.kill(&mut slot);
                }
            }
        }
        // Mounts of the one namespace keep layers in the other from going.
        for there in [true, false, true] {
            let mut child = self.spawn(there, "clear");
            match ended(&mut child, HANG * 2) {
                Some(status) if status.success() => {}
                status => self.desk.finding(&format!("clearing: {status:?}")),
            }
        }
    }

    fn findings(&self) -> String {
        fs::read_to_string(self.desk.base.join("findings")).unwrap_or_default()
    }
}

fn ended(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < patience {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// One run on one file system; panics with what was found.
pub fn run(kind: &str, seconds: u64, seed: u64) {
    let images = env!("CARGO_TARGET_TMPDIR");
    let mut log = Log::from_now();
    let before = (kernel::counts(), kernel::loops(images));
    let mut findings = fsys::on(kind, |dir| inside(kind, dir, seconds, seed));
    let said = log.of_overlays();
    match said {
        Some(lines) => {
            let mut counts: BTreeMap<String, u64> = BTreeMap::new();
            for line in lines {
                *counts.entry(line).or_default() += 1;
            }
            // An upper is held: the answer to a question, and then to a second, which may find that
            // it is free by now.
            let held = counts
                .iter()
                .filter(|(line, _)| line.starts_with("overlayfs: lowerdir is in-use"))
                .map(|(_, count)| *count)
                .sum();
            for (line, count) in counts {
                println!("kernel, {count} times: {line}");
                let second = line.ends_with("must reside under the same mount");
                // A file of a lower that is mounted got its second name from a `root` layer between
                // two looks of the kernel, which goes on with the count that it had.
                let linked =
                    line.contains("failed to get index nlink") && line.ends_with("err=-61)");
                let fine = line.contains("index=off") || linked || (second && count <= held);
                if !fine && std::env::var_os("OVL_TORTURE_ALONE").is_some() {
                    findings += &format!("kernel: {line}\n");
                }
            }
        }
        None => have::skip("kmsg", "the kernel's log cannot be read"),
    }
    // The kernel takes the namespace back when it has time, and so it does those of tests before.
    let now = || (kernel::counts(), kernel::loops(images));
    let fine = |now: &(String, usize)| now.0 == before.0 && now.1 <= before.1;
    for _ in 0..200 {
        if fine(&now()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let after = now();
    println!("before: {}, {} loop devices", before.0, before.1);
    println!("after:  {}, {} loop devices", after.0, after.1);
    if !fine(&after) {
        findings += "there is more than before\n";
    }
    assert!(findings.is_empty(), "seed {seed}:\n{findings}");
}

fn inside(kind: &str, dir: &Path, seconds: u64, seed: u64) -> String {
    let desk = Desk {
        base: dir.to_path_buf(),
    };
    for name in ["register", "at", "done"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    for slot in 0..PROCESSES {
        for at in 0..2 {
            fs::create_dir(dir.join(format!("at/{slot}-{at}"))).unwrap();
        }
    }
    let unshare = ["unshare", "--mount", "--propagation", "private"];
    let mut other = crate::again(&unshare, dir, "namespace");
    let mut other = other
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("READY")));
    let mut run = Run {
        desk: &desk,
        other: &other,
        dice: Dice::new(seed),
        starts: 0,
        kills: 0,
    };
    let start = Instant::now();
    let slots = run.torture(Duration::from_secs(seconds));
    run.finish(slots);
    let layers = end::judge(&desk);
    let (starts, kills) = (run.starts, run.kills);
    let findings = run.findings();
    drop(other.stdin.take());
    other.wait().unwrap();
    println!(
        "---- torture on {kind}: {:.1} s, seed {seed}, {starts} processes started, {kills} killed, \
         {layers} layers at the end",
        start.elapsed().as_secs_f64()
    );
    report(&desk);
    if !findings.is_empty() {
        let stderr = fs::read_to_string(dir.join("stderr")).unwrap_or_default();
        eprintln!("what the processes said:\n{stderr}");
    }
    findings
}

/// Calls that were made, what they said, and which took long.
fn report(desk: &Desk) {
    let read = |name: &str| fs::read_to_string(desk.base.join(name)).unwrap_or_default();
    let mut calls: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for slot in 0..PROCESSES {
        for line in read(&format!("done/{slot}")).lines() {
            if let Some((name, how)) = line.split_once(' ') {
                calls.entry(name.to_string()).or_default()[usize::from(how == "1")] += 1;
            }
        }
    }
    for (name, [failed, done]) in &calls {
        println!("  {name:<11} {done:>7} done {failed:>7} refused");
    }
    let mut said: BTreeMap<String, u64> = BTreeMap::new();
    for line in read("said").lines() {
        *said.entry(line.to_string()).or_default() += 1;
    }
    println!("  what they said (and in how many processes):");
    for (line, count) in said {
        println!("    {line} ({count})");
    }
    let slow = read("slow");
    println!("  {} calls took more than a second", slow.lines().count());
    for line in slow.lines().take(20) {
        println!("    {line}");
    }
}
