//! A caller's descriptor or callback as a source or a sink of bytes.
//!
//! A descriptor is the caller's: it is read or written from where it stands, and neither closed nor
//! changed. It may be non-blocking, then its readiness is waited for. It may be one that blocks for
//! ever, so where the caller can cancel, no system call is begun that would wait: what has no room
//! or no bytes is waited for a tenth of a second at a time, with a look at the flag in between.

use super::boundary;
use crate::archive::{Sink, Source};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::signal::{self, Channel, Readiness};
use crate::sys::{BorrowedFd, SysCall, fs};
use crate::watch::Cancel;
use std::ffi::{c_int, c_void};
use std::time::Duration;

/// Reads up to `len` bytes to `buf`. Returns how many, 0 at the end, or -errno, with which the call
/// then fails; with -EIO, if it is neither.
pub type ovl_read_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, buf: *mut c_void, len: usize) -> i64>;

/// Takes up to `len` bytes, at least one, from `buf`. Returns how many, or -errno, with which the
/// call then fails; with -EIO, if it is neither.
pub type ovl_write_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, buf: *const c_void, len: usize) -> i64>;

/// How long to wait between two looks at the flag, in milliseconds.
const LOOK: u32 = 100;

/// What a pipe has room for when it says that it has room (PIPE_BUF): so much is written at a time where
/// the kernel cannot be asked to write what there is room for.
const ROOM: usize = 4096;

/// The source that a caller gave: exactly one of both.
///
/// # Safety
/// `fd` stays open for `'a` if it is open at all; `callback` may be called with `user`.
pub(super) unsafe fn source<'a>(
    fd: c_int,
    callback: ovl_read_fn,
    user: *mut c_void,
    cancel: Option<&'a Cancel>,
) -> Result<Box<dyn Source + 'a>> {
    match (fd, callback) {
        (-1, Some(callback)) => Ok(Box::new(Reading { callback, user })),
        (-1, None) => Err(Error::invalid(
            "the descriptor is -1, and there is no read callback",
        )),
        // SAFETY: the caller's promise.
        (_, None) => Ok(Box::new(unsafe { Descriptor::new(fd, cancel) }?)),
        (_, Some(_)) => Err(Error::invalid(
            "a read callback goes with a descriptor of -1",
        )),
    }
}

/// The sink that a caller gave: exactly one of both.
///
/// # Safety
/// As for [`source`].
pub(super) unsafe fn sink<'a>(
    fd: c_int,
    callback: ovl_write_fn,
    user: *mut c_void,
    cancel: Option<&'a Cancel>,
) -> Result<Box<dyn Sink + 'a>> {
    match (fd, callback) {
        (-1, Some(callback)) => Ok(Box::new(Writing { callback, user })),
        (-1, None) => Err(Error::invalid(
            "the descriptor is -1, and there is no write callback",
        )),
        // SAFETY: the caller's promise.
        (_, None) => Ok(Box::new(unsafe { Descriptor::new(fd, cancel) }?)),
        (_, Some(_)) => Err(Error::invalid(
            "a write callback goes with a descriptor of -1",
        )),
    }
}

/// A descriptor of the caller's; EBADF where it cannot be one.
///
/// # Safety
/// `fd` stays open for `'a`, or is not open.
pub(super) unsafe fn borrow<'a>(fd: c_int) -> Result<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(Error::sys(Errno::BADF, "descriptor"));
    }
    // SAFETY: not -1, the one value that cannot be borrowed; the rest is the caller's promise. A
    // number that is not open is answered by EBADF from whatever uses it.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

struct Descriptor<'a> {
    fd: BorrowedFd<'a>,
    channel: Channel,
    cancel: Option<&'a Cancel>,
    /// The kernel cannot be asked to write no more than there is room for.
    waits: bool,
    /// What it takes at a time: less than all where it is a socket of messages.
    most: usize,
}

impl<'a> Descriptor<'a> {
    /// # Safety
    /// As for [`borrow`].
    unsafe fn new(fd: c_int, cancel: Option<&'a Cancel>) -> Result<Self> {
        // SAFETY: the caller's promise.
        let fd = unsafe { borrow(fd) }?;
        let channel = Channel::of(fd).call("fstat")?;
        Ok(Descriptor {
            fd,
            channel,
            cancel,
            waits: false,
            most: usize::MAX,
        })
    }

    /// As much as it takes; a socket of messages takes none that is too long.
    fn write_some(&mut self, data: &[u8]) -> Result<SysCall<usize>> {
        let piece = data.get(..self.most).unwrap_or(data);
        match self.write_part(piece)? {
            Err(Errno::MSGSIZE) if piece.len() > ROOM => {
                self.most = ROOM;
                self.write_part(piece.get(..ROOM).unwrap_or(piece))
            }
            other => Ok(other),
        }
    }

    /// write(2) that does not wait where the caller may want to cancel: EAGAIN where it would.
    fn write_part(&mut self, data: &[u8]) -> Result<SysCall<usize>> {
        if !self.is_watched() {
            return Ok(signal::write(self.fd, self.channel, data));
        }
        if self.cancel.is_some_and(Cancel::is_triggered) {
            return Err(cancelled());
        }
        if !self.waits {
            match signal::write_now(self.fd, self.channel, data) {
                Err(Errno::OPNOTSUPP) => self.waits = true,
                other => return Ok(other),
            }
        }
        self.wait(Readiness::Writable)?;
        let piece = data.get(..ROOM).unwrap_or(data);
        Ok(signal::write(self.fd, self.channel, piece))
    }

    /// Whether a system call may wait for ever, and the caller wants to cancel.
    fn is_watched(&self) -> bool {
        self.channel != Channel::File && self.cancel.is_some()
    }

    fn wait(&self, readiness: Readiness) -> Result<()> {
        loop {
            if self.cancel.is_some_and(Cancel::is_triggered) {
                return Err(cancelled());
            }
            if signal::wait(self.fd, readiness, LOOK).call("poll")? {
                return Ok(());
            }
        }
    }
}

fn cancelled() -> Error {
    Error::new(Code::Cancelled, Errno::CANCELED, "cancelled")
}

impl Source for Descriptor<'_> {
    fn is_ready_within(&mut self, longest: Duration) -> Result<bool> {
        if self.channel == Channel::File {
            return Ok(true);
        }
        let longest = u32::try_from(longest.as_millis()).unwrap_or(LOOK);
        signal::wait(self.fd, Readiness::Readable, longest).call("poll")
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        if self.is_watched() {
            self.wait(Readiness::Readable)?;
        }
        loop {
            match fs::read(self.fd, buf) {
                Err(Errno::AGAIN) => self.wait(Readiness::Readable)?,
                other => return other.call("read"),
            }
        }
    }
}

impl Sink for Descriptor<'_> {
    fn write_all(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            match self.write_some(data)? {
                Ok(0) => return Err(Error::sys(Errno::IO, "write")),
                Ok(written) => data = data.get(written..).unwrap_or_default(),
                Err(Errno::AGAIN) => self.wait(Readiness::Writable)?,
                Err(errno) => return Err(errno).call("write"),
            }
        }
        Ok(())
    }
}

struct Reading {
    callback: unsafe extern "C" fn(*mut c_void, *mut c_void, usize) -> i64,
    user: *mut c_void,
}

impl Source for Reading {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        // SAFETY: the promise of `source`; `buf` is writable for its length.
        let said = unsafe { (self.callback)(self.user, buf.as_mut_ptr().cast(), buf.len()) };
        answer("read", said, buf.len())
    }
}

struct Writing {
    callback: unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> i64,
    user: *mut c_void,
}

impl Sink for Writing {
    fn write_all(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            // SAFETY: the promise of `sink`; `data` is readable for its length.
            let said = unsafe { (self.callback)(self.user, data.as_ptr().cast(), data.len()) };
            match answer("write", said, data.len())? {
                0 => return Err(broken("the write callback took nothing")),
                taken => data = data.get(taken..).unwrap_or_default(),
            }
        }
        Ok(())
    }
}

/// How many bytes a callback says that it moved, of `most`.
fn answer(name: &str, said: i64, most: usize) -> Result<usize> {
    if let Ok(moved) = usize::try_from(said) {
        if moved > most {
            return Err(broken(format!(
                "the {name} callback says {moved} bytes, of {most}"
            )));
        }
        return Ok(moved);
    }
    let result = i32::try_from(said).unwrap_or(i32::MIN);
    let errno = Errno::from_raw_os_error(boundary::checked(result.saturating_neg()));
    Err(Error::new(
        Code::Callback,
        errno,
        format!(
            "the {name} callback failed: {}",
            crate::error::describe(errno)
        ),
    )
    .callback_result(result))
}

fn broken(message: impl Into<String>) -> Error {
    Error::new(Code::Callback, Errno::IO, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "tests/stream.rs"]
mod tests;
