//! Every system call that makes a descriptor asks for close-on-exec with the same call, as strace
//! sees it: there is no moment at which a program that the host starts could inherit one.

use std::collections::HashMap;
use std::process::Command;

/// The calls that make a descriptor, and the word that must be among their arguments; those without
/// one have no way to ask for it. Some that always are close-on-exec are not here (pidfd_open).
const MAKERS: &[(&str, Option<&str>)] = &[
    ("open", Some("O_CLOEXEC")),
    ("openat", Some("O_CLOEXEC")),
    ("openat2", Some("O_CLOEXEC")),
    ("open_by_handle_at", Some("O_CLOEXEC")),
    ("creat", None),
    ("dup", None),
    ("dup2", None),
    ("dup3", Some("O_CLOEXEC")),
    ("pipe", None),
    ("pipe2", Some("O_CLOEXEC")),
    ("socket", Some("SOCK_CLOEXEC")),
    ("socketpair", Some("SOCK_CLOEXEC")),
    ("accept", None),
    ("accept4", Some("SOCK_CLOEXEC")),
    ("recvmsg", Some("MSG_CMSG_CLOEXEC")),
    ("eventfd", None),
    ("eventfd2", Some("EFD_CLOEXEC")),
    ("epoll_create", None),
    ("epoll_create1", Some("EPOLL_CLOEXEC")),
    ("signalfd", None),
    ("signalfd4", Some("SFD_CLOEXEC")),
    ("timerfd_create", Some("TFD_CLOEXEC")),
    ("inotify_init", None),
    ("inotify_init1", Some("IN_CLOEXEC")),
    ("fanotify_init", Some("FAN_CLOEXEC")),
    ("memfd_create", Some("MFD_CLOEXEC")),
    ("memfd_secret", Some("O_CLOEXEC")),
    ("userfaultfd", Some("O_CLOEXEC")),
    ("perf_event_open", Some("PERF_FLAG_FD_CLOEXEC")),
    ("fsopen", Some("FSOPEN_CLOEXEC")),
    ("fsmount", Some("FSMOUNT_CLOEXEC")),
    ("fspick", Some("FSPICK_CLOEXEC")),
    ("open_tree", Some("OPEN_TREE_CLOEXEC")),
];

/// What this library makes them by. A trace without one of these saw nothing.
const USED: [&str; 6] = [
    "openat",
    "openat2",
    "fcntl",
    "fsopen",
    "fsmount",
    "open_tree",
];

/// What is wrong with one line of a trace; `None` for nothing.
fn fault(line: &str) -> Option<String> {
    let (name, arguments) = call(line)?;
    let wanted = match name {
        "fcntl" if arguments.contains("F_DUPFD_CLOEXEC") => return None,
        "fcntl" if arguments.contains("F_DUPFD") => None,
        "fcntl" => return None,
        _ => MAKERS.iter().find(|(maker, _)| *maker == name)?.1,
    };
    match wanted {
        Some(word) if arguments.contains(word) => None,
        _ => Some(line.to_string()),
    }
}

/// The lines of a trace, each call in one: another thread's may stand between its two halves.
fn whole_lines(trace: &str) -> Vec<String> {
    const BEGUN: &str = " <unfinished ...>";
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut lines = Vec::new();
    for line in trace.lines() {
        let thread = line.split(' ').next().unwrap_or_default();
        if let Some(half) = line.strip_suffix(BEGUN) {
            begun.insert(thread, half);
        } else if let Some((_, rest)) = line.split_once(" resumed>") {
            let half = begun.remove(thread).unwrap_or_default();
            lines.push(format!("{half}{rest}"));
        } else {
            lines.push(line.to_string());
        }
    }
    // What a thread was in when the process ended.
    lines.extend(begun.into_values().map(str::to_string));
    lines
}

/// The name of the call that a line begins with, and its arguments.
fn call(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let (name, arguments) = rest.trim_start().split_once('(')?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(plain).then_some((name, arguments))
}

#[test]
fn descriptors_are_close_on_exec_from_birth() {
    require!("root", "overlay", "strace", "gcc");
    let program = crate::build("hammer", &[]);
    let home = tempfile::tempdir_in(crate::library().parent().unwrap()).unwrap();
    let trace = tempfile::NamedTempFile::new().unwrap();
    let names: Vec<String> = MAKERS.iter().map(|(name, _)| format!("?{name}")).collect();
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-o"])
        .arg(trace.path())
        .args(["-e", &format!("trace=fcntl,{}", names.join(","))])
        .args(["-e", "signal=none"])
        .arg(&program)
        .arg(home.path())
        .arg("3");
    let output = crate::play(&mut command);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{told}", output.status);
    let trace = std::fs::read_to_string(trace.path()).unwrap();
    let lines = whole_lines(&trace);
    let faults: Vec<String> = lines.iter().filter_map(|line| fault(line)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for used in USED {
        let mut calls = lines.iter().filter_map(|line| call(line));
        let seen = calls.any(|(name, _)| name == used);
        assert!(seen, "{used} is not in a trace of {} lines", lines.len());
    }
}

#[test]
fn a_trace_is_understood() {
    for good in [
        "12 openat(AT_FDCWD, \"x\", O_RDONLY|O_CLOEXEC) = 3",
        "12 openat2(5, \"x\", {flags=O_RDONLY|O_CLOEXEC, resolve=RESOLVE_BENEATH}, 24 <unfinished ...>",
        "12 fcntl(3, F_GETFD) = 0",
        "12 fcntl(3, F_DUPFD_CLOEXEC, 3) = 4",
        "12 +++ exited with 0 +++",
    ] {
        assert_eq!(fault(good), None);
    }
    let halves =
        "1 pipe2( <unfinished ...>\n2 dup(3) = 4\n1 <... pipe2 resumed>[3, 4], O_CLOEXEC) = 0";
    let lines = whole_lines(halves);
    assert_eq!(lines, ["2 dup(3) = 4", "1 pipe2([3, 4], O_CLOEXEC) = 0"]);
    assert_eq!(fault(&lines[1]), None);
    for bad in [
        "12 openat(AT_FDCWD, \"x\", O_RDONLY) = 3",
        "12 fcntl(3, F_DUPFD, 3) = 4",
        "1 dup(3) = 4",
        "1 fsmount(3, 0, 0) = 4",
    ] {
        assert_eq!(fault(bad).as_deref(), Some(bad));
    }
}
