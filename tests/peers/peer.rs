//! The peers, as programs that read and write layer tars.

use crate::support::have;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};

/// One test at a time: a program that another thread is about to start holds, for a moment, the
/// locks of the store that is used here.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|broken| broken.into_inner())
}

/// Something else that puts a layer on a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Gnu,
    Bsd,
    Containerd,
    Moby,
    Umoci,
}

use Peer::{Bsd, Containerd, Gnu, Moby, Umoci};

pub const ALL: [Peer; 5] = [Gnu, Bsd, Containerd, Moby, Umoci];
/// Those that know what a whiteout is.
pub const LAYERS: [Peer; 3] = [Containerd, Moby, Umoci];

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Gnu => "tar",
            Bsd => "bsdtar",
            Containerd => "containerd",
            Moby => "moby",
            Umoci => "umoci",
        }
    }

    /// Whether it is there; says so when not.
    pub fn there(self) -> bool {
        match self {
            Gnu | Bsd => have::or_skip(self.name()),
            _ => program().is_some(),
        }
    }

    /// Puts a layer on what is in `dir`.
    pub fn apply(self, dir: &Path, tar: &[u8]) -> Result<(), String> {
        let mut command = match self {
            Gnu => {
                let mut tar = Command::new("tar");
                tar.args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-p"]);
                tar.args(["--same-owner", "-xf", "-", "-C"]).arg(dir);
                tar
            }
            Bsd => {
                let mut tar = Command::new("bsdtar");
                tar.args(["--numeric-owner", "--xattrs", "-p", "-xf", "-", "-C"])
                    .arg(dir);
                tar
            }
            _ => {
                let mut peers = Command::new(program().unwrap());
                peers.args(["apply", self.name()]).arg(dir);
                peers
            }
        };
        told(&mut command, tar).map(drop)
    }

    /// The layer that leads from one plain tree to another.
    pub fn diff(self, old: &Path, new: &Path) -> Result<Vec<u8>, String> {
        let mut peers = Command::new(program().unwrap());
        told(peers.args(["diff", self.name()]).args([old, new]), &[])
    }

    /// The layer of an overlay's upper.
    pub fn upper(self, lower: &Path, upper: &Path) -> Result<Vec<u8>, String> {
        let mut peers = Command::new(program().unwrap());
        told(peers.args(["upper", self.name()]).args([lower, upper]), &[])
    }
}

/// The entries of an archive as a listing has them, that can be read from a file without its data.
pub fn list(peer: Peer, tar: &Path) -> Result<String, String> {
    let mut command = match peer {
        Gnu => Command::new("tar"),
        Bsd => Command::new("bsdtar"),
        _ => Command::new(program().unwrap()),
    };
    match peer {
        Gnu | Bsd => command.args(["--numeric-owner", "-tvf"]),
        _ => command.arg("list"),
    };
    told(command.arg(tar), &[]).map(|out| String::from_utf8_lossy(&out).into_owned())
}

/// A copy of a tree by none of them.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    have::run(Command::new("cp").arg("-aT").args([from, to])).unwrap();
}

/// Runs a command with this input; its output, or what it complains of.
fn told(command: &mut Command, input: &[u8]) -> Result<Vec<u8>, String> {
    let mut child = command
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{command:?}: {e}"))?;
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // One that fails early does not read all.
        scope.spawn(move || stdin.write_all(input).is_ok());
        child.wait_with_output().unwrap()
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("{}: {}", output.status, errors.trim()))
}

/// The Go program, built here; `None`, and said why, where there is no Go or no modules.
pub fn program() -> Option<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
        // Without the modules there are no peers; with them, the program must build.
        have::run(go()?.args(["mod", "download"]))?;
        have::run(go()?.args(["build", "-o"]).arg(&out).arg("."))
            .unwrap_or_else(|why| panic!("{why}"));
        Ok(out)
    });
    match built {
        Ok(program) => Some(program),
        Err(why) => {
            have::skip("go", why);
            None
        }
    }
}

/// The Go tool, in the directory of the program.
pub fn go() -> Result<Command, String> {
    let usual = PathBuf::from("/usr/local/go/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([usual])
        .map(|dir| dir.join("go"))
        .find(|go| go.is_file())
        .ok_or("no such program in PATH")?;
    let mut go = Command::new(found);
    go.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers"))
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0");
    Ok(go)
}
