//! What this machine has, and what the run says that it must have.
//!
//! A test that needs something begins with `require!("root", "xfs")`. Each thing is tried. When
//! one is missing, the test says `SKIP <test>: lacks <thing>` on the real standard error (the
//! harness does not swallow it) and returns; but when the run declared the thing in
//! `OVL_TEST_HAVE=root,overlay,xfs,...`, the skip is a failure.
//!
//! Things: `root` (uid 0 that may mount), `userns` (unprivileged user namespaces), `overlay`, `fuse`,
//! a file system of [`super::fsys`], or else the name of a program.

use super::fsys;
use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// Returns from the test when one of the things is missing; see the module's text.
macro_rules! require {
    ($($what:expr),+ $(,)?) => {
        $(if !$crate::support::have::or_skip($what) { return; })+
    };
}

/// The running test's name: libtest names each test's thread after it.
pub fn test_name() -> String {
    std::thread::current()
        .name()
        .unwrap_or("a thread without a name")
        .to_string()
}

/// Whether the run declared that the machine has `what`.
pub fn declared(what: &str) -> bool {
    std::env::var("OVL_TEST_HAVE").is_ok_and(|all| all.split(',').any(|one| one.trim() == what))
}

/// Whether `what` is there; says so when not, and panics when it was declared.
pub fn or_skip(what: &str) -> bool {
    match lack(what) {
        None => true,
        Some(why) => {
            skip(what, &why);
            false
        }
    }
}

/// Records that the running test, or a part of it, lacks `what`.
pub fn skip(what: &str, why: &str) {
    let name = test_name();
    assert!(
        !declared(what),
        "{name}: OVL_TEST_HAVE declares {what}, but: {why}"
    );
    // The harness may be in the middle of a line.
    let line = format!("\nSKIP {name}: lacks {what} ({why})\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Why `what` is not there; tried once for each test program.
fn lack(what: &str) -> Option<String> {
    static TRIED: OnceLock<Mutex<HashMap<String, Option<String>>>> = OnceLock::new();
    let mut tried = TRIED.get_or_init(Mutex::default).lock().unwrap();
    tried
        .entry(what.to_string())
        .or_insert_with(|| try_it(what).err())
        .clone()
}

fn try_it(what: &str) -> Result<(), String> {
    match what {
        "root" => fsys::root(),
        "userns" => run(Command::new("unshare").args(["--user", "--map-root-user", "true"])),
        "overlay" => fsys::try_overlay(),
        "fuse" => std::fs::File::open("/dev/fuse")
            .map(drop)
            .map_err(|e| e.to_string()),
        kind if fsys::KINDS.contains(&kind) => fsys::try_kind(kind),
        program => {
            let found = std::env::var_os("PATH").is_some_and(|path| {
                std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
            });
            found
                .then_some(())
                .ok_or_else(|| "no such program in PATH".to_string())
        }
    }
}

/// Runs a command that must succeed; else what it said.
pub fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{:?}: {}: {}",
        command.get_program(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

/// Whether no work is too short for the library's threads: OVL_TEST_THREADS=always.
pub fn threads_always() -> bool {
    std::env::var_os("OVL_TEST_THREADS").is_some_and(|when| when == "always")
}
