//! What a copy costs: system calls and descriptors, in runs of this program of their own.

use crate::support::tree::{Compare, Snapshot};
use crate::support::{fsys, have, torture};
use crate::{linked, plain};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TREE: &str = "OVL_TEST_CLONE";
const CONTENT: &str = "OVL_TEST_CLONE_CONTENT";

/// A tree of the shape of a system image: a tenth directories, a tenth links.
fn image(src: &Path) -> u64 {
    fs::create_dir(src).unwrap();
    let mut entries = 1;
    for d in 0..560 {
        let dir = src.join(format!("{}/{d}", d % 40));
        if d < 40 {
            fs::create_dir(src.join(format!("{d}"))).unwrap();
            entries += 1;
        }
        fs::create_dir(&dir).unwrap();
        entries += 1;
        for f in 0..9 {
            let path = dir.join(format!("file-{f}"));
            match f {
                8 => std::os::unix::fs::symlink("file-0", path).unwrap(),
                _ => fs::write(path, "x").unwrap(),
            }
            entries += 1;
        }
    }
    entries
}

/// Runs the child below under strace; how many system calls it made. A build with debug assertions
/// asks of each descriptor that it closes whether it is open: these calls are not counted.
fn calls(tree: Option<&Path>, out: &Path) -> u64 {
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(out);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "cost::child_clones_a_tree"]);
    // The cost is that of a copy as callers have it.
    command.env_remove("OVL_TEST_THREADS");
    match tree {
        Some(tree) => command.env(TREE, tree),
        None => command.env_remove(TREE),
    };
    let run = command.output().unwrap();
    assert!(run.status.success(), "{run:?}");
    let table = fs::read_to_string(out).unwrap();
    let of = |call: &str| -> Option<u64> {
        let mut lines = table.lines().map(str::split_whitespace);
        let mut line = lines.find(|line| line.clone().last() == Some(call))?;
        line.nth(3)?.parse().ok()
    };
    let asked = match cfg!(debug_assertions) {
        true => of("fcntl").unwrap_or(0),
        false => 0,
    };
    of("total").unwrap_or_else(|| panic!("{table}")) - asked
}

/// The other end of [`calls`]; alone it has nothing to do.
#[test]
#[ignore = "run by a_clone_by_hard_links_is_cheap"]
fn child_clones_a_tree() {
    if let Some(tree) = std::env::var_os(TREE) {
        let tree = PathBuf::from(tree);
        let copy = match std::env::var_os(CONTENT) {
            Some(_) => plain,
            None => linked,
        };
        copy(&tree.join("src"), &tree.join("dst")).unwrap();
    }
}

#[test]
fn a_clone_by_hard_links_is_cheap() {
    require!("strace");
    let dir = fsys::scratch();
    let entries = image(&dir.path().join("src"));
    assert!(entries >= 5000);
    let out = dir.path().join("counts");
    let idle = calls(None, &out);
    let all = calls(Some(dir.path()), &out);
    assert!(dir.path().join("dst/0/0/file-8").is_symlink());
    let each = (all - idle) as f64 / entries as f64;
    assert!(
        each <= 2.1,
        "{each:.3} system calls an entry:\n{}",
        fs::read_to_string(&out).unwrap()
    );
    println!("{each:.3} system calls an entry");
    assert!(each > 1.0, "strace saw nothing: {each}");
}

/// The deep part of the torture tree has 600 levels; descriptors must not grow with them.
#[test]
fn a_deep_tree_takes_few_descriptors() {
    require!("root", "tmpfs", "prlimit");
    fsys::on("tmpfs", |dir| {
        fs::create_dir(dir.join("src")).unwrap();
        torture::build(&dir.join("src"));
        let mut command = Command::new("prlimit");
        command
            .args(["--nofile=100"])
            .arg(std::env::current_exe().unwrap());
        command.args(["--exact", "--ignored", "cost::child_clones_a_tree"]);
        have::run(command.env(TREE, dir).env(CONTENT, "")).unwrap();
        let look = Snapshot::of(&dir.join("src"));
        look.assert_same(&Snapshot::of(&dir.join("dst")), Compare::default());
    });
}
