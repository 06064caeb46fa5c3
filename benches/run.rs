//! Runs programs: those that are timed, and the shell lines around them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// What takes longer hangs.
const LIMIT: Duration = Duration::from_secs(1800);

/// A command line.
#[derive(Clone)]
pub struct Line {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Where it runs.
    pub dir: PathBuf,
    /// The file that takes its standard output.
    pub stdout: PathBuf,
}

/// What a run cost.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    /// Seconds.
    pub wall: f64,
    /// Seconds, user and system, of the process and all that it waited for.
    pub cpu: f64,
    /// Peak of the largest process, in KiB; never below this program's own.
    pub rss: u64,
}

impl Line {
    /// `words` are split at spaces; no argument here has one.
    pub fn new(dir: &Path, words: &str) -> Line {
        Line::of(dir, words.split(' ').map(str::to_string).collect())
    }

    /// A line for the shell.
    pub fn shell(dir: &Path, script: &str) -> Line {
        Line::of(dir, ["sh", "-ec", script].map(str::to_string).to_vec())
    }

    fn of(dir: &Path, argv: Vec<String>) -> Line {
        Line {
            argv,
            dir: dir.to_path_buf(),
            stdout: "/dev/null".into(),
        }
    }

    /// The same with its standard output in a file.
    pub fn into(mut self, file: &Path) -> Line {
        self.stdout = file.to_path_buf();
        self
    }

    /// The same below another program.
    pub fn under(&self, words: &str) -> Line {
        let mut line = self.clone();
        line.argv = words.split(' ').map(str::to_string).collect();
        line.argv.extend_from_slice(&self.argv);
        line
    }

    /// Runs it and says what it cost; a failure says what it said.
    pub fn timed(&self) -> Result<Cost, String> {
        self.run().map(|(cost, _)| cost)
    }

    /// Runs it; its cost, and its standard error.
    pub fn run(&self) -> Result<(Cost, String), String> {
        use std::os::unix::process::CommandExt;
        let told = |error: std::io::Error| format!("{}: {error}", self.argv.join(" "));
        let mut errors = tempfile::tempfile().map_err(told)?;
        let mut command = Command::new(&self.argv[0]);
        command
            .args(&self.argv[1..])
            .current_dir(&self.dir)
            .env("LC_ALL", "C")
            // cargo's: with it the loader looks for every library in all of its directories first.
            .env_remove("LD_LIBRARY_PATH")
            .stdin(Stdio::null())
            .stdout(File::create(&self.stdout).map_err(told)?)
            .stderr(errors.try_clone().map_err(told)?)
            .process_group(0);
        let start = Instant::now();
        let child = command.spawn().map_err(told)?;
        let _watch = watch(&child);
        let (status, mut cost) = wait(&child).map_err(told)?;
        cost.wall = start.elapsed().as_secs_f64();
        let said = read_back(&mut errors).map_err(told)?;
        if status != 0 {
            return Err(format!(
                "{}: status {status:#x}: {}",
                self.argv.join(" "),
                said.trim()
            ));
        }
        Ok((cost, said))
    }
}

fn read_back(file: &mut File) -> std::io::Result<String> {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Kills the child's process group when it takes too long; dropped, it does nothing any more.
fn watch(child: &Child) -> Sender<()> {
    let (sender, receiver) = channel();
    let group = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    std::thread::spawn(move || {
        if receiver.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            if let Some(group) = group {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
        }
    });
    sender
}

/// wait4(2), which also says what the child cost.
#[allow(unsafe_code)]
fn wait(child: &Child) -> std::io::Result<(i32, Cost)> {
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let mut status = 0;
    // SAFETY: a plain struct of numbers, of which all zeroes is one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live locals of the right types; nobody else waits for this child.
        let said = unsafe { libc::wait4(child.id() as libc::pid_t, &mut status, 0, &mut usage) };
        if said >= 0 {
            break;
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let cost = Cost {
        wall: 0.0,
        cpu: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        rss: usage.ru_maxrss as u64,
    };
    Ok((status, cost))
}

/// A shell line that must succeed.
pub fn sh(dir: &Path, script: &str) -> Result<(), String> {
    Line::shell(dir, script).timed().map(drop)
}

/// What a shell line prints.
pub fn ask(script: &str) -> String {
    let said = Command::new("sh")
        .args(["-c", script])
        .stderr(Stdio::null())
        .output();
    said.map_or_else(
        |_| String::new(),
        |said| String::from_utf8_lossy(&said.stdout).trim().to_string(),
    )
}

/// Whether a program is installed.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .any(|dir| dir.join(program).is_file())
}
