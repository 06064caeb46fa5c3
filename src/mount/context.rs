//! One file-system context (fsopen(2)): parameters in, a detached mount out, and on failure the
//! kernel's own words, which mount(2) can only put in the system log.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::retry_on_intr;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use crate::error::{Code, Errno, Error, describe};
use crate::sys::fd::above_standard;

/// A failed step: what the system call said, and what the kernel said about it.
#[derive(Debug)]
pub(super) struct Failure {
    pub errno: Errno,
    pub step: String,
    pub words: Vec<String>,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        let mut message = format!("{}: {}", failure.step, describe(failure.errno));
        if !failure.words.is_empty() {
            message = format!("{message} (kernel: {})", failure.words.join("; "));
        }
        Error::new(Code::System, failure.errno, message)
    }
}

/// A context for an overlay.
pub(super) struct Context(OwnedFd);

type Step<T> = std::result::Result<T, Failure>;

impl Context {
    pub fn open() -> Step<Self> {
        above_standard(|| retry_on_intr(|| fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)))
            .map(Context)
            .map_err(|errno| Failure {
                errno,
                step: "fsopen(overlay)".into(),
                words: Vec::new(),
            })
    }

    fn step<T>(&self, step: impl FnOnce() -> String, answer: rustix::io::Result<T>) -> Step<T> {
        answer.map_err(|errno| Failure {
            errno,
            step: step(),
            words: self.words(),
        })
    }

    pub fn set_fd(&self, key: &str, value: BorrowedFd<'_>) -> Step<()> {
        let answer = retry_on_intr(|| fsconfig_set_fd(&self.0, key, value));
        self.step(|| format!("fsconfig({key})"), answer)
    }

    pub fn set_string(&self, key: &str, value: &[u8]) -> Step<()> {
        let answer = retry_on_intr(|| fsconfig_set_string(&self.0, key, value));
        self.step(|| format!("fsconfig({key}={})", printable(value)), answer)
    }

    pub fn set_flag(&self, key: &str) -> Step<()> {
        let answer = retry_on_intr(|| fsconfig_set_flag(&self.0, key));
        self.step(|| format!("fsconfig({key})"), answer)
    }

    pub fn create(&self) -> Step<()> {
        let answer = retry_on_intr(|| fsconfig_create(&self.0));
        self.step(|| "fsconfig(create)".into(), answer)
            .map_err(|mut failure| {
                // Up to 6.18 overlayfs says most of what it finds here in the system log alone.
                if failure.words.is_empty() {
                    failure.words.push("its reason is in the system log".into());
                }
                failure
            })
    }

    pub fn mount(&self, read_only: bool) -> Step<OwnedFd> {
        let attributes = if read_only {
            MountAttrFlags::MOUNT_ATTR_RDONLY
        } else {
            MountAttrFlags::empty()
        };
        let cloexec = FsMountFlags::FSMOUNT_CLOEXEC;
        let answer = above_standard(|| retry_on_intr(|| fsmount(&self.0, cloexec, attributes)));
        self.step(|| "fsmount".into(), answer)
    }

    /// The messages that wait in the context, without their severity letter. Each read takes one;
    /// the kernel keeps eight, the bound is against one that never says it is done.
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut line = vec![0u8; 4096];
        while words.len() < 32 {
            match retry_on_intr(|| rustix::io::read(&self.0, &mut line)) {
                Ok(length) if length > 0 => {
                    let text = line.get(..length).unwrap_or_default();
                    let text = text.strip_suffix(b"\n").unwrap_or(text);
                    let text = match text {
                        [b'e' | b'w' | b'i', b' ', rest @ ..] => rest,
                        whole => whole,
                    };
                    words.push(printable(text));
                }
                _ => break,
            }
        }
        words
    }
}

/// As text for a message of one line.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            control if control.is_control() => line.extend(control.escape_default()),
            other => line.push(other),
        }
    }
    line
}
