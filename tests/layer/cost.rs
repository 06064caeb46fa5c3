//! What applying costs: system calls, descriptors, memory, in runs of this program of their own.

use crate::lab::{Lab, assert_tree};
use crate::reference::{Links, Model};
use crate::support::{fsys, have};
use crate::tar::{self, *};
use ovl::store::{Against, ApplyOptions, Kind, Limits};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const HOME: &str = "OVL_TEST_LAYER_HOME";
const TAR: &str = "OVL_TEST_LAYER_TAR";
const OVER: &str = "OVL_TEST_LAYER_OVER";

/// Entries in the shape of a system image: directories before what is in them, one in nine;
/// one in eleven a symbolic link; a few links, owners and capabilities.
pub fn image(entries: usize) -> Vec<Entry> {
    let mut all = vec![dir("")];
    let mut at = 0;
    while all.len() < entries {
        let top = ["usr/lib", "usr/share", "usr/bin", "etc", "var/lib"][at % 5];
        if at < 5 {
            let mut path = String::new();
            for part in top.split('/') {
                path = format!("{path}/{part}");
                if !all.iter().any(|e| e.path == path.as_bytes()[1..]) {
                    all.push(dir(&path[1..]));
                }
            }
        }
        let here = format!("{top}/package-{at}");
        all.push(dir(&here));
        for f in 0..8 {
            let path = format!("{here}/file-{f}");
            all.push(match (f, at % 8) {
                (7, _) if at % 7 > 0 => symlink(&path, "file-0"),
                (5, 0) => hard(&path, &format!("{here}/file-0")),
                (4, 1) => file(&path, "owned").owner(33, 33).mode(0o4755),
                _ => file(&path, &"text\n".repeat(f * 50)),
            });
        }
        at += 1;
    }
    all
}

/// The other end of the tests here; alone it has nothing to do.
#[test]
#[ignore = "run by other tests"]
fn child_applies() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else {
        return;
    };
    let lab = Lab::new(&home);
    let Some(tar) = std::env::var_os(TAR) else {
        return;
    };
    let over = std::env::var(OVER).unwrap_or_default();
    let kind = if over.is_empty() {
        Kind::Root
    } else {
        Kind::Overlay
    };
    let kind = if over.ends_with("-root") {
        Kind::Root
    } else {
        kind
    };
    let parent = over.strip_suffix("-root").unwrap_or(&over);
    lab.apply("made", parent, kind, &fs::read(tar).unwrap())
        .unwrap();
    if std::env::var_os("OVL_TEST_LAYER_DIFF").is_some() {
        lab.diff("made", Against::Parent);
        lab.diff("made", Against::Nothing);
    }
}

/// This program's test above, after `before` (strace, prlimit).
fn child(before: &[&str], home: &Path, tar: Option<&Path>, over: &str) -> Command {
    let mut command = Command::new(before[0]);
    command
        .args(&before[1..])
        .arg(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "cost::child_applies"]);
    command.env(HOME, home).env(OVER, over);
    match tar {
        Some(tar) => command.env(TAR, tar),
        None => command.env_remove(TAR),
    };
    command
}

/// System calls for each entry, and the table.
fn calls(dir: &Path, tar: &Path, over: &str, entries: usize) -> (f64, String) {
    let out = dir.join("counts");
    let out_name = out.to_str().unwrap();
    let count = |tar: Option<&Path>| -> (u64, String) {
        have::run(&mut child(
            &["strace", "-f", "-c", "-o", out_name],
            dir,
            tar,
            over,
        ))
        .unwrap();
        let table = fs::read_to_string(&out).unwrap();
        // The last line is the total. A debug build looks at each descriptor before it closes it.
        let rows = table
            .lines()
            .filter(|line| !line.ends_with("total") && !line.ends_with("fcntl"));
        let counts = rows.filter_map(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
        (counts.sum(), table)
    };
    let idle = count(None).0;
    let (all, table) = count(Some(tar));
    ((all - idle) as f64 / entries as f64, table)
}

#[test]
fn an_entry_takes_at_most_five_calls() {
    require!("root", "overlay", "strace");
    let scratch = fsys::scratch();
    let lab = Lab::new(scratch.path());
    let entries = image(3000);
    let tar = scratch.path().join("image.tar");
    fs::write(&tar, tar::bytes(&entries)).unwrap();
    let small = [
        dir("usr"),
        dir("usr/lib"),
        file("usr/lib/so", "so"),
        dir("etc"),
    ];
    lab.apply("base", "", Kind::Root, &tar::bytes(&small))
        .unwrap();
    for (what, over, limit) in [
        ("root", "", 5.0),
        ("overlay", "base", 5.0),
        ("root over a base", "base-root", 6.0),
    ] {
        let (each, table) = calls(scratch.path(), &tar, over, entries.len());
        println!("{what}: {each:.2} system calls an entry");
        assert!(
            each <= limit,
            "{what}: {each:.2} system calls an entry\n{table}"
        );
        assert!(each > 3.0, "strace saw nothing: {each}");
        lab.remove("made");
    }
}

/// Descriptors do not grow with the width or depth of trees, nor with the length of chains.
#[test]
fn few_descriptors_are_enough() {
    require!("root", "overlay", "tmpfs", "prlimit");
    fsys::on("tmpfs", |scratch| {
        let lab = Lab::new(scratch);
        let mut wide: Vec<Entry> = (0..400).map(|n| file(&format!("w/{n}/f"), "x")).collect();
        wide.push(file(&["deep"; 300].join("/"), "bottom"));
        lab.apply("base", "", Kind::Root, &tar::bytes(&wide))
            .unwrap();
        let mut parent = "base".to_string();
        for n in 0..150 {
            let id = format!("base-{n}");
            let layer = [dir("w").mtime(n, 0), file(&format!("w/{n}/g"), "y")];
            lab.apply(&id, &parent, Kind::Overlay, &tar::bytes(&layer))
                .unwrap();
            parent = id;
        }
        lab.apply(
            "base-two",
            "base",
            Kind::Overlay,
            &tar::bytes(&[file(&format!("{}/g", ["deep"; 299].join("/")), "")]),
        )
        .unwrap();
        let over: Vec<Entry> = (0..400).map(|n| file(&format!("w/{n}/h"), "z")).collect();
        let tar = scratch.join("over.tar");
        fs::write(&tar, tar::bytes(&over)).unwrap();
        for over in [
            "",
            "base",
            "base-root",
            "base-two-root",
            "base-149",
            "base-149-root",
        ] {
            let mut command = child(&["prlimit", "--nofile=160"], scratch, Some(&tar), over);
            command.env("OVL_TEST_LAYER_DIFF", "1");
            have::run(&mut command).unwrap_or_else(|e| panic!("over {over:?}: {e}"));
            lab.remove("made");
        }
    });
}

/// A gigabyte of zeros is stopped at the limit, in little memory.
#[test]
fn a_bomb_is_stopped_in_little_memory() {
    require!("root", "tmpfs", "gzip");
    fsys::on("tmpfs", |dir| {
        Lab::new(dir);
        let exe = std::env::current_exe().unwrap();
        for form in ["file", "after the end"] {
            let mut command = Command::new(&exe);
            command.args([
                "--exact",
                "--ignored",
                "--nocapture",
                "cost::child_takes_a_bomb",
            ]);
            let run = command
                .env(HOME, dir)
                .env("OVL_TEST_BOMB", form)
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&run.stdout).into_owned();
            assert!(
                run.status.success(),
                "{form}: {text} {}",
                String::from_utf8_lossy(&run.stderr)
            );
            let peak = text
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:"))
                .unwrap();
            let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
            assert!(peak < 64 << 10, "{form}: {peak} KiB");
        }
    });
}

#[test]
#[ignore = "run by a_bomb_is_stopped_in_little_memory"]
fn child_takes_a_bomb() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else {
        return;
    };
    let size: u64 = 1 << 30;
    let head = match std::env::var("OVL_TEST_BOMB").unwrap().as_str() {
        "file" => tar::block(b"zeros", b'0', [0o644, 0, 0, size], (0, 0)),
        _ => tar::bytes(&[file("small", "x")]),
    };
    // gzip of the head and of zeros: two members, made as they are read.
    let mut gzip = Command::new("sh")
        .args(["-c", "cat; head -c 1073741824 /dev/zero"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut gzip.stdin.take().unwrap(), &head).unwrap();
    let mut pack = Command::new("gzip")
        .arg("-1")
        .stdin(gzip.stdout.take().unwrap())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut bomb = Pipe(pack.stdout.take().unwrap());
    let lab = Lab::new(&home);
    let options = ApplyOptions {
        limits: Limits {
            max_size: 200 << 20,
            ..Limits::default()
        },
        ..ApplyOptions::default()
    };
    let done = lab.store.apply(
        b"bomb",
        &mut bomb,
        &options,
        &mut ovl::watch::Watch::default(),
    );
    assert_eq!(done.unwrap_err().errno().raw_os_error(), libc::EFBIG);
    lab.assert_nothing("bomb");
    for mut child in [gzip, pack] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    print!("{}", fs::read_to_string("/proc/self/status").unwrap());
}

struct Pipe(std::process::ChildStdout);

impl ovl::archive::Source for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> ovl::error::Result<usize> {
        Ok(std::io::Read::read(&mut self.0, buf).unwrap())
    }
}

/// The image above means the same in both kinds, too.
#[test]
fn an_image_is_what_its_tar_says() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        let entries = image(3000);
        let model = Model::empty().apply(&entries, Links::Share).unwrap().tree();
        lab.apply("empty", "", Kind::Root, &tar::bytes(&[]))
            .unwrap();
        lab.apply("root", "", Kind::Root, &tar::bytes(&entries))
            .unwrap();
        lab.apply("overlay", "empty", Kind::Overlay, &tar::bytes(&entries))
            .unwrap();
        for id in ["root", "overlay"] {
            assert_tree(id, &lab.look(id), &model);
            let size: usize = model
                .iter()
                .filter(|(path, seen)| "fl".contains(seen.kind) && seen.leader == **path)
                .map(|(_, seen)| seen.data.len())
                .sum();
            assert_eq!(lab.size(id), size as u64);
        }
    });
}
