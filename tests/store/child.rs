//! Other processes: this program run again, in the mount namespace of the thread that starts it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const WORK: &str = "OVL_TEST_CHILD";
const DIR: &str = "OVL_TEST_CHILD_DIR";

/// What a child does in a directory; the rest of its words are arguments.
type Job = fn(&Path, &[&str]);

const JOBS: &[(&str, Job)] = &[
    ("open", crate::open::child_opens),
    ("hold", crate::mount::child_holds),
    ("lend", crate::holders::child_lends),
    ("borrow", crate::holders::child_borrows),
    ("hold-top", crate::holders::child_keeps_top),
    ("fork", crate::holders::child_forks),
    ("clean", crate::gc::child_cleans),
    ("churn", crate::races::child_churns),
    ("look", crate::races::child_looks),
    ("userns", crate::marks::child_in_userns),
    ("make", crate::durability::make),
    ("use", crate::session::child_uses),
    ("view", crate::reach::child_views),
    ("chrooted", crate::reach::child_chroots),
    ("blind", crate::reach::child_is_blind),
    ("blind-keeps", crate::reach::child_keeps_blindly),
    ("remember", crate::memory::child_remembers),
];

/// The child's side; in the parent's run it is no test.
#[test]
fn entry() {
    let (Ok(work), Some(dir)) = (std::env::var(WORK), std::env::var_os(DIR)) else {
        return;
    };
    let words: Vec<&str> = work.split(' ').collect();
    let job = JOBS.iter().find(|job| job.0 == words[0]).unwrap();
    job.1(Path::new(&dir), &words[1..]);
}

/// The command that runs `work` in `dir`.
pub fn command(dir: &Path, work: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    with(&mut command, dir, work);
    command
}

/// The same below another program, such as unshare(1).
pub fn wrapped(wrapper: &[&str], dir: &Path, work: &str) -> Command {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]);
    command.arg(std::env::current_exe().unwrap());
    with(&mut command, dir, work);
    command
}

fn with(command: &mut Command, dir: &Path, work: &str) {
    command
        .args(["--exact", "child::entry", "--nocapture", "--test-threads=1"])
        .env(WORK, work)
        .env(DIR, dir);
}

/// Starts a child, and waits until it says that it is ready.
pub fn ready(mut command: Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().ends_with("READY")),
        "the child ended before it was ready"
    );
    child
}

/// Says so, and waits to be killed.
pub fn wait_for_the_end() -> ! {
    // A test that fails kills nobody.
    let kill = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(kill).unwrap();
    println!("READY");
    loop {
        std::thread::park();
    }
}

/// A child that must succeed.
pub fn succeeds(mut command: Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// SIGKILL, and the end of it.
pub fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}
