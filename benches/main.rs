//! What libovl costs beside the tools that people know: each job and its peer in turn, whole
//! processes, medians of the ratios. Absolute times mean nothing on a shared machine.
//!
//! `cargo bench` uses `build/ovl`; OVL names another. `OVL_BENCH_DIR` says where to work (default:
//! the temporary directory), `OVL_BENCH_ENTRIES` how large the tree is.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const ROUNDS: usize = 5;

fn main() {
    let ovl = std::env::var("OVL").unwrap_or_else(|_| "build/ovl".into());
    let ovl = std::fs::canonicalize(&ovl).unwrap_or_else(|_| panic!("{ovl} is not built: make"));
    let base = std::env::var_os("OVL_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let work = tempfile::Builder::new()
        .prefix("ovl-bench-")
        .tempdir_in(base)
        .unwrap();
    let entries: usize = std::env::var("OVL_BENCH_ENTRIES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(20_000);
    let dir = work.path();
    println!(
        "{entries} entries in {}, {ROUNDS} rounds, wall time ratio to the peer",
        dir.display()
    );
    grow(&dir.join("tree"), entries);
    sh(dir, "tar --xattrs -C tree -cf tree.tar .");
    sh(dir, "gzip -6 -k tree.tar");

    let ovl = ovl.display();
    compare(
        dir,
        "clone by hard links",
        &format!("{ovl} copy --hardlink tree a"),
        "cp -al tree b",
    );
    compare(
        dir,
        "copy by content",
        &format!("{ovl} copy tree a"),
        "cp -a tree b",
    );
    let apply = |file: &str| format!("{ovl} --store a apply x {file}");
    let untar = |flags: &str, file: &str| format!("mkdir b && tar --xattrs -C b {flags} {file}");
    let plain = format!("{} && sync -f b", untar("-xpf", "tree.tar"));
    compare(dir, "apply tar, synced", &apply("tree.tar"), &plain);
    let packed = format!("{} && sync -f b", untar("-xzpf", "tree.tar.gz"));
    compare(dir, "apply tar.gz, synced", &apply("tree.tar.gz"), &packed);
}

/// A tree with the shape of a root file system: a tenth directories, small files, some links.
fn grow(root: &Path, entries: usize) {
    let mut made = 0;
    for d in 0.. {
        let dir = root.join(format!("d{}/d{d}", d % 50));
        std::fs::create_dir_all(&dir).unwrap();
        for f in 0..8 {
            let mut file = std::fs::File::create(dir.join(format!("file{f}"))).unwrap();
            file.write_all(&vec![b'x'; (f * 700) % 9000]).unwrap();
        }
        std::os::unix::fs::symlink("file0", dir.join("link")).unwrap();
        made += 10;
        if made >= entries {
            return;
        }
    }
}

fn compare(dir: &Path, what: &str, ours: &str, peer: &str) {
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let a = timed(dir, ours);
            let b = timed(dir, peer);
            a / b
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let (low, middle, high) = (ratios[0], ratios[ROUNDS / 2], ratios[ROUNDS - 1]);
    println!("{what:24} {middle:5.2}  ({low:.2} to {high:.2})");
}

/// Seconds that a shell line takes; what it made is removed before and after.
fn timed(dir: &Path, line: &str) -> f64 {
    sh(dir, "rm -rf a b; sync -f .");
    let start = Instant::now();
    sh(dir, line);
    let took = start.elapsed().as_secs_f64();
    sh(dir, "rm -rf a b");
    took
}

fn sh(dir: &Path, line: &str) {
    let mut shell = Command::new("sh");
    shell
        .arg("-ec")
        .arg(line)
        .current_dir(dir)
        .stdout(Stdio::null());
    let status = shell.status().unwrap();
    assert!(status.success(), "{line}: {status}");
}
