//! Many processes in two mount namespaces on one store, doing whatever the dice say to the same few
//! layers, each killed at any moment and started again. What must hold is looked at all the time by
//! those who work, and at the end by one who comes when all are dead: see `judge.rs` and `end.rs`.
//!
//! `OVL_TORTURE_SECONDS` is the time for each file system of `OVL_TORTURE_KINDS`, `OVL_TEST_SEED` the
//! first seed (chance decides who comes first, so a seed does not repeat a run), and
//! `OVL_TORTURE_ALONE=1` says that nothing else on this machine uses overlayfs: then the kernel's log
//! must be silent about it. `scripts/torture.sh` sets them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod control;
mod end;
mod judge;
mod kernel;
mod recipe;
mod worker;

use std::path::Path;
use std::process::Command;

const JOB: &str = "OVL_TORTURE_JOB";
const DIR: &str = "OVL_TORTURE_DIR";

/// This program again, for one job in a directory; below another program, such as nsenter(1), where
/// one is named.
fn again(below: &[&str], dir: &Path, job: &str) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = match below {
        [] => Command::new(&this),
        [program, rest @ ..] => {
            let mut command = Command::new(program);
            command.args(rest).arg(&this);
            command
        }
    };
    command
        .args(["--exact", "entry", "--nocapture", "--test-threads=1"])
        .env(JOB, job)
        .env(DIR, dir);
    command
}

/// The other processes' side; in the test's own run it is no test.
#[test]
fn entry() {
    let (Ok(job), Some(dir)) = (std::env::var(JOB), std::env::var_os(DIR)) else {
        return;
    };
    let dir = Path::new(&dir);
    let words: Vec<&str> = job.split(' ').collect();
    let number = |at: usize| words[at].parse::<u64>().unwrap();
    match words[0] {
        "control" => control::run(words[1], number(2), number(3)),
        "namespace" => control::hold_namespace(),
        "work" => worker::work(dir, number(1), number(2)),
        "clear" => end::clear(dir),
        other => panic!("{other}"),
    }
}

#[test]
fn many_processes() {
    require!("root", "overlay", "unshare", "nsenter");
    let env = |name: &str, otherwise: &str| std::env::var(name).unwrap_or(otherwise.to_string());
    let seconds = env("OVL_TORTURE_SECONDS", "8");
    let seed = env("OVL_TEST_SEED", "1");
    for kind in env("OVL_TORTURE_KINDS", "tmpfs,ext4").split(',') {
        if !support::have::or_skip(kind) {
            continue;
        }
        // In a process and a namespace of its own, whose descriptors, threads and mounts are counted.
        let job = format!("control {kind} {seconds} {seed}");
        let below = ["unshare", "--mount", "--propagation", "private"];
        let output = again(&below, Path::new("/"), &job).output().unwrap();
        println!("{}", String::from_utf8_lossy(&output.stdout));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{kind}: {said}");
    }
}

/// The model of the recipes, by hand: without it nothing would be judged.
#[test]
fn what_recipes_make() {
    use recipe::{Node, Tree, applied, number_of, promised, tar};
    use sha2::{Digest, Sha256};
    let one = applied(1, &Tree::new());
    assert_eq!(one.get("d1"), Some(&Node::Dir));
    assert_eq!(one.get("s1"), Some(&Node::Link("to/1".into())));
    assert_eq!(one.values().filter(|node| **node == Node::File).count(), 3);
    // Recipe 0 takes d1 away, with all that is in it.
    let both = applied(0, &one);
    assert!(!both.keys().any(|path| path.starts_with("d1")), "{both:?}");
    assert!(both.contains_key("d0") && both.contains_key("s1"));
    for number in 0..recipe::COUNT {
        let sum: String = Sha256::digest(tar(number))
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(number_of(&format!("sha256:{sum}")), Some(number));
    }
    assert_eq!(
        promised(&recipe::name("x", 7, 20)),
        Some(recipe::content(7, 20))
    );
    assert_eq!(promised("x"), None);
}
