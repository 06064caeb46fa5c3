//! Time and memory follow the archive's bytes, and what does not is a limit with an errno.
//!
//! Time is counted as system calls of a child at one size and at four times that; memory is the
//! child's peak. No clock is asked.

use crate::lab::Lab;
use crate::support::{fsys, have};
use crate::tar::{self, *};
use ovl::store::*;
use std::path::{Path, PathBuf};
use std::process::Command;

const CASE: &str = "OVL_TEST_BOUNDS_CASE";
const HOME: &str = "OVL_TEST_BOUNDS_HOME";
const SIZE: &str = "OVL_TEST_BOUNDS_SIZE";

/// A layer to be applied over [`below`], of a size.
type Case = fn(usize) -> Vec<Entry>;

/// What was, or could be, more than linear.
const CASES: &[(&str, Case)] = &[
    ("opaque, said again and again", |n| {
        let mut all: Vec<Entry> = (0..n).map(|i| file(&format!("new/{i}"), "")).collect();
        all.extend((0..n).map(|_| opaque("new")));
        all
    }),
    ("whiteout of one's own, said again and again", |n| {
        let mut all: Vec<Entry> = (0..n).map(|i| file(&format!("new/{i}"), "")).collect();
        all.extend((0..n).map(|_| gone("new")));
        all.extend((0..n).map(|_| gone("d")));
        all
    }),
    ("opaque from the inside out", |n| {
        let deep = ["c"; 40].join("/");
        let mut all: Vec<Entry> = (0..n).map(|i| file(&format!("{deep}/{i}"), "")).collect();
        all.extend(
            (1..=40)
                .rev()
                .map(|depth| opaque(&["c"; 40][..depth].join("/"))),
        );
        all
    }),
    ("replaced, beside implied directories", |n| {
        let mut all: Vec<Entry> = (0..n).map(|i| file(&format!("new/{i}/f"), "")).collect();
        all.extend((0..n).flat_map(|i| [file("f", ""), symlink("f", &i.to_string())]));
        all
    }),
    ("hard links to one from below", |n| {
        (0..n).map(|i| hard(&format!("h/{i}"), "d/f")).collect()
    }),
    ("whiteouts of names that are nowhere", |n| {
        (0..n).map(|i| gone(&format!("d/{i}"))).collect()
    }),
    ("through links, each time another way", |n| {
        let mut all: Vec<Entry> = (0..100)
            .map(|i| symlink(&format!("s{i}"), "d/../d/sub"))
            .collect();
        all.extend((0..n).map(|i| file(&format!("s{}/{i}", i % 100), "")));
        all
    }),
    ("directory and file, in turn", |n| {
        (0..n)
            .flat_map(|i| [dir("t"), file(&format!("t/{i}/deep/er"), ""), file("t", "")])
            .collect()
    }),
    ("marks that hide nothing, in a deep place", |n| {
        let mut all = vec![dir("l/x")];
        all.extend((0..n / 10).flat_map(|i| {
            let link = hard(&format!("h{i}"), "l/f");
            [opaque("l/x"), gone("l/x"), gone("l/nope/x"), link]
        }));
        all
    }),
    ("a whiteout on each level", |n| {
        let deep = "a/".repeat(DEEP);
        let levels = (0..n).map(|i| &deep[..2 * (i % DEEP)]);
        levels.map(|at| gone(&format!("{at}q"))).collect()
    }),
    (
        "directories in a deep place, more than are kept open",
        |n| {
            let deep = vec!["a"; DEEP].join("/");
            let whiteouts = (0..n).map(|i| gone(&format!("{deep}/d{}/q", i % MANY)));
            let nowhere = (0..n).map(|i| gone(&format!("{deep}/n{}/n/q", i % MANY)));
            let files = (0..n).map(|i| file(&format!("{deep}/d{}/e/{i}", i % MANY), ""));
            whiteouts.chain(nowhere).chain(files).collect()
        },
    ),
    ("marks that hide, in a deep place", |n| {
        let deep = vec!["a"; DEEP].join("/");
        let at = |i: usize| format!("{deep}/d{}", i % MANY);
        (0..n)
            .flat_map(|i| {
                [
                    opaque(&at(i)),
                    gone(&at(i)),
                    file(&format!("{}/f", at(i)), ""),
                ]
            })
            .collect()
    }),
    ("directories said again, with attributes", |n| {
        (0..n)
            .map(|i| dir("d").xattr(&format!("trusted.{}", i % 7), b"v"))
            .collect()
    }),
];

/// Levels that the link `l` leads down.
const DEEP: usize = 300;

/// Directories at the end of them.
const MANY: usize = 70;

fn below() -> Vec<Entry> {
    let mut below = vec![dir("d"), file("d/f", "below"), dir("d/sub")];
    below.extend((1..=40).map(|depth| dir(&["c"; 40][..depth].join("/"))));
    let deep = vec!["a"; DEEP].join("/");
    below.extend([file(&format!("{deep}/f"), "deep"), symlink("l", &deep)]);
    below.extend((0..MANY).map(|i| file(&format!("{deep}/d{i}/f"), "")));
    below
}

/// The other end of the tests here; alone it has nothing to do.
#[test]
#[ignore = "run by other tests"]
fn child_applies() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else {
        return;
    };
    let size: usize = std::env::var(SIZE).unwrap().parse().unwrap();
    let case = std::env::var(CASE).unwrap();
    let (name, kind) = case.split_once('|').unwrap();
    let kind = if kind == "root" {
        Kind::Root
    } else {
        Kind::Overlay
    };
    let lab = Lab::new(&home);
    let (_, make) = CASES.iter().find(|case| case.0 == name).unwrap();
    lab.apply("made", "base", kind, &tar::bytes(&make(size)))
        .unwrap();
    lab.diff("made", Against::Parent);
}

/// The system calls of a child that applies a case.
fn calls(home: &Path, case: &str, size: usize) -> u64 {
    let out = home.join("counts");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(&out);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "hostile::bounds::child_applies"]);
    command
        .env(HOME, home)
        .env(CASE, case)
        .env(SIZE, size.to_string());
    have::run(&mut command).unwrap_or_else(|e| panic!("{case}: {e}"));
    let table = std::fs::read_to_string(&out).unwrap();
    let total = table.lines().find(|line| line.ends_with("total")).unwrap();
    total.split_whitespace().nth(3).unwrap().parse().unwrap()
}

/// Four times the entries take four times the system calls, where a square would take sixteen.
#[test]
fn work_follows_the_entries() {
    require!("root", "overlay", "tmpfs", "strace");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&below()))
            .unwrap();
        for (name, _) in CASES {
            for kind in ["root", "overlay"] {
                let case = format!("{name}|{kind}");
                let [none, one, four] = [1, 150, 600].map(|size| {
                    let calls = calls(dir, &case, size);
                    lab.remove("made");
                    calls
                });
                let (one, four) = (one - none, four - none);
                println!("{case}: {one} and {four} system calls");
                assert!(four < 6 * one, "{case}: {one} and {four} system calls");
                // No entry takes more than some calls for each level that it leads down.
                let most = 600 * 4 * DEEP as u64;
                assert!(four < most, "{case}: {four} system calls");
            }
        }
    });
}
