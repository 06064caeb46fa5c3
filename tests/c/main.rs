//! Tests written in C: each `tests/c/*.c` is a program on the shared library as it is shipped. It
//! gets an empty directory as its argument, says what is wrong on stderr, and exits with 0 when all
//! is right, with 77 and a line "SKIP thing: reason" when it lacks a thing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;
#[path = "../surface/mod.rs"]
mod surface;

mod traced;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use support::have;

/// No program takes half a minute, under a sanitizer and beside others; one that hangs must not
/// hang what runs this.
const PATIENCE: Duration = Duration::from_secs(300);

fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| match surface::sanitized_archive() {
        Some(_) => surface::shared("c-sanitized", "gcc", "-fsanitize=address,undefined"),
        None => surface::shared("c", "gcc", ""),
    })
}

fn build(name: &str, flags: &[&str]) -> PathBuf {
    let dir = library().parent().unwrap();
    let program = dir.join(format!("{name}{}", flags.concat()));
    surface::succeed(
        Command::new("gcc")
            .args([
                "-std=gnu11",
                "-g",
                "-O1",
                "-Wall",
                "-Wextra",
                "-Wshadow",
                "-Werror",
            ])
            .args(flags)
            .arg("-I")
            .arg(surface::root().join("include"))
            .arg("-o")
            .arg(&program)
            .arg(surface::root().join(format!("tests/c/{name}.c")))
            .arg("-L")
            .arg(dir)
            .arg(format!("-Wl,-rpath,{}", dir.display()))
            // Not where a program asks the loader by itself.
            .args(["-Wl,--as-needed", "-Wl,--disable-new-dtags"])
            .args(["-lovl", "-lpthread"]),
    );
    program
}

/// What becomes of a program; one that does not end is a failure, and is ended.
fn play(command: &mut Command) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    // What they say fits a pipe.
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > PATIENCE {
            let stuck = where_it_is(child.id());
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            panic!("{command:?} hangs\n{stuck}{told}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

/// What each thread of a process, and of its children, is waiting for.
fn where_it_is(process: u32) -> String {
    let mut told = String::new();
    for task in std::fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        told += &format!(
            "{}: {} in {}, system call {}",
            task.path().display(),
            read("comm").trim(),
            read("wchan"),
            read("syscall")
        );
        for child in read("children").split_whitespace() {
            told += &where_it_is(child.parse().unwrap());
        }
    }
    told
}

fn judge(output: &Output) {
    let told = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        let (what, why) = told
            .lines()
            .find_map(|line| line.strip_prefix("SKIP ")?.split_once(": "))
            .expect("a skip tells what is missing");
        have::skip(what, why);
        return;
    }
    assert!(output.status.success(), "{}\n{told}", output.status);
}

fn run(name: &str) {
    require!("gcc");
    if surface::sanitized_archive().is_some() {
        // A program without the sanitizer's runtime cannot load it.
        return run_sanitized(name);
    }
    let program = build(name, &[]);
    let home = tempfile::tempdir_in(library().parent().unwrap()).unwrap();
    judge(&play(Command::new(&program).arg(home.path())));
}

/// The same under the address sanitizer: no byte beyond what the caller gave is touched, and no
/// memory is lost. The library's own memory comes from the same malloc, and its copies are made by
/// the same memcpy. `scripts/sanitize.sh address` runs these with a library that is itself built
/// with the sanitizer.
fn run_sanitized(name: &str) {
    require!("gcc");
    if !sanitizer_works() {
        have::skip(
            "asan",
            "gcc -fsanitize=address makes no program that finds a mistake",
        );
        return;
    }
    let flags = match surface::sanitized_archive() {
        Some(_) => ["-fsanitize=address,undefined", "-fno-sanitize-recover"].as_slice(),
        None => &["-fsanitize=address"],
    };
    let program = build(name, flags);
    let home = tempfile::tempdir_in(library().parent().unwrap()).unwrap();
    judge(&play(sanitized(&program).arg(home.path())));
}

fn sanitized(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("ASAN_OPTIONS", "exitcode=99:detect_leaks=1");
    command
}

/// Whether a leak and a byte too far are found: a sanitizer that is not there finds none either.
fn sanitizer_works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let source = "#include <stdlib.h>\n\
                      int main(int c, char **v) { char *p = malloc(8); \
                      if (c > 1) return ((volatile char *)p)[8]; p = 0; return p == v[0]; }\n";
        let dir = library().parent().unwrap();
        let (file, program) = (dir.join("asan.c"), dir.join("asan"));
        std::fs::write(&file, source).unwrap();
        let built = Command::new("gcc")
            .arg("-fsanitize=address")
            .arg(&file)
            .arg("-o")
            .arg(&program)
            .output()
            .unwrap();
        let found = |argument: &[&str]| {
            let output = sanitized(&program).args(argument).output();
            output.is_ok_and(|output| output.status.code() == Some(99))
        };
        built.status.success() && found(&[]) && found(&["far"])
    })
}

macro_rules! programs {
    ($($name:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })+

        mod sanitized {
            $(#[test]
            fn $name() {
                super::run_sanitized(stringify!($name));
            })+
        }

        /// Every program is run.
        #[test]
        fn all_are_listed() {
            let mut there: Vec<String> = std::fs::read_dir(surface::root().join("tests/c"))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|ext| ext == "c"))
                .map(|path| path.file_stem().unwrap().to_str().unwrap().to_string())
                .collect();
            there.sort();
            let mut listed = vec![$(stringify!($name)),+];
            listed.sort_unstable();
            assert_eq!(there, listed);
        }
    };
}

programs!(
    nulls, options, results, forks, children, streams, watching, guest, mounts, hammer, signals,
    closing, loading, stacks, places,
);
