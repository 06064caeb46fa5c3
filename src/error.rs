//! The one error type: what failed, where, and why.
//!
//! An [`Error`] carries an errno (what the C functions return, negated), a stable [`Code`] for
//! conditions that errno cannot tell apart, the operation, the path as bytes, and a message whose
//! causes are joined by `": "`. Layers of the code add to it on the way up: the innermost known
//! path and the outermost operation win.

use std::fmt;

pub use rustix::io::Errno;

/// The result of every fallible call in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Stable numbers for conditions; they never change meaning and are only added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Code {
    /// A system call failed; errno says how.
    System = 1,
    /// An argument, option or flag that is not allowed.
    Invalid = 2,
    /// The layer is not there.
    NoLayer = 3,
    /// The layer is there already.
    LayerExists = 4,
    /// Other layers are built on this one.
    HasChildren = 5,
    /// The layer is mounted, or a mount handle is open.
    Mounted = 6,
    /// Another caller is working on the layer.
    Locked = 7,
    /// The layer is committed and never changes again.
    Committed = 8,
    /// The layer (or its parent) is not committed yet.
    NotCommitted = 9,
    /// The archive is malformed.
    Archive = 10,
    /// The archive ends before its end.
    Truncated = 11,
    /// A digest differs from the one given.
    Digest = 12,
    /// A limit of the options was reached.
    Limit = 13,
    /// A path leaves its root, or another mount is in the way.
    Escape = 14,
    /// The kernel or the file system cannot do it, and there is no way around.
    Unsupported = 15,
    /// The caller cancelled.
    Cancelled = 16,
    /// A bug of the library was caught.
    Bug = 17,
    /// A handle was used in a forked child.
    Forked = 18,
    /// The store has a format that this library does not know.
    Format = 19,
    /// The directory is not a store, or part of it is damaged.
    Damaged = 20,
    /// The caller may not use the store's marks (`trusted.*` needs privilege).
    Marks = 21,
    /// A strict call met something that it can only do in part.
    Strict = 22,
    /// The destination exists and is not empty.
    NotEmpty = 23,
    /// A caller's callback failed.
    Callback = 24,
    /// The machine went down while the layer was mounted writable: data may be lost.
    Unclean = 25,
    /// The image is not there.
    NoImage = 26,
    /// Somebody changed what was being read: the same call may succeed the next time.
    Changed = 27,
}

/// What failed, where, and why. See the module's text.
#[derive(Debug, thiserror::Error)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    errno: Errno,
    code: Code,
    op: &'static str,
    path: Vec<u8>,
    message: String,
    callback: i32,
}

impl Error {
    /// An error with words of our own.
    pub fn new(code: Code, errno: Errno, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            errno,
            code,
            op: "",
            path: Vec::new(),
            message: message.into(),
            callback: 0,
        }))
    }

    /// EINVAL with `message`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::Invalid, Errno::INVAL, message)
    }

    /// What was read is not what is there any more.
    pub fn changed() -> Self {
        Self::new(Code::Changed, Errno::STALE, "it changed while it was read")
    }

    /// A failed system call: `call` is its name.
    pub fn sys(errno: Errno, call: &str) -> Self {
        let mut message = format!("{call}: {}", describe(errno));
        if (errno, call) == (Errno::XDEV, "open") {
            // Names are opened within one mount, always; the system's words do not tell of one.
            message = format!("something is mounted on it: {message}");
        }
        Self::new(Code::System, errno, message)
    }

    /// Sets the path, unless a deeper layer has already named one.
    #[must_use]
    pub fn at(mut self, path: impl AsRef<[u8]>) -> Self {
        if self.0.path.is_empty() {
            self.0.path = path.as_ref().to_vec();
        }
        self
    }

    /// Puts `base/` before a path that a deeper layer gave relative to `base`.
    #[must_use]
    pub fn below(mut self, base: impl AsRef<[u8]>) -> Self {
        let mut path = base.as_ref().to_vec();
        if !path.is_empty() && !self.0.path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&self.0.path);
        self.0.path = path;
        self
    }

    /// Sets the operation; the outermost caller wins.
    #[must_use]
    pub fn op(mut self, op: &'static str) -> Self {
        self.0.op = op;
        self
    }

    /// Puts a cause in front of the message.
    #[must_use]
    pub fn context(mut self, message: impl fmt::Display) -> Self {
        self.0.message = format!("{message}: {}", self.0.message);
        self
    }

    /// Replaces the stable code.
    #[must_use]
    pub fn code_is(mut self, code: Code) -> Self {
        self.0.code = code;
        self
    }

    /// Keeps what the caller's own callback returned.
    #[must_use]
    pub fn callback_result(mut self, said: i32) -> Self {
        self.0.callback = said;
        self
    }

    /// What the caller's callback returned when it stopped the call, else 0.
    pub fn said_by_callback(&self) -> i32 {
        self.0.callback
    }

    /// The errno.
    pub fn errno(&self) -> Errno {
        self.0.errno
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The operation, as in `create`.
    pub fn operation(&self) -> &'static str {
        self.0.op
    }

    /// The path in question, as bytes; empty when there is none.
    pub fn path(&self) -> &[u8] {
        &self.0.path
    }

    /// The message with its causes.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.op.is_empty() {
            write!(f, "{}: ", self.0.op)?;
        }
        if !self.0.path.is_empty() {
            write!(f, "{}: ", self.0.path.escape_ascii())?;
        }
        f.write_str(&self.0.message)
    }
}

/// The system's words for an errno, without Rust's "(os error N)".
pub fn describe(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

/// Gives a failed system call its name and path.
pub trait SysResult<T> {
    /// The call's name, no path.
    fn call(self, call: &str) -> Result<T>;
    /// The call's name and the path it was about.
    fn call_at(self, call: &str, path: impl AsRef<[u8]>) -> Result<T>;
}

impl<T> SysResult<T> for std::result::Result<T, Errno> {
    fn call(self, call: &str) -> Result<T> {
        self.map_err(|errno| Error::sys(errno, call))
    }

    fn call_at(self, call: &str, path: impl AsRef<[u8]>) -> Result<T> {
        self.map_err(|errno| Error::sys(errno, call).at(path))
    }
}
