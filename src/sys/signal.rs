//! Writing to a descriptor of the host's without SIGPIPE, and waiting for one with an eye on a
//! cancel flag.
//!
//! A write to a pipe whose reader is gone raises SIGPIPE, which ends a process that has not
//! provided for it. A library may not change the disposition of a signal, since that is the
//! process's; it may change the calling thread's mask for a moment. SIGPIPE of a write is sent to
//! the writing thread, so it stays pending there while it is blocked, and is taken away again with
//! `sigtimedwait` before the mask is put back. One that was pending already is the host's, and
//! stays. Sockets have `MSG_NOSIGNAL`, regular files never raise it. SIGXFSZ, which a write beyond
//! the limit on file sizes raises, is held back in the same way for as long as a call takes.

use super::fs::last_errno;
use super::{SysCall, retry};
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;
use std::mem::MaybeUninit;

/// What a descriptor is, as far as writing to it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Never raises SIGPIPE and never waits for another process.
    File,
    /// May raise SIGPIPE, which a flag of the call prevents.
    Socket,
    /// May raise SIGPIPE: a pipe, a terminal, another device.
    Stream,
}

impl Channel {
    /// What `fd` is; EBADF where it is not open.
    pub fn of(fd: impl AsFd) -> SysCall<Self> {
        use rustix::fs::FileType;
        let stat = retry(|| rustix::fs::fstat(&fd))?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::BlockDevice => Channel::File,
            FileType::Socket => Channel::Socket,
            _ => Channel::Stream,
        })
    }
}

/// write(2) that answers EPIPE and raises nothing.
pub fn write(fd: impl AsFd, channel: Channel, data: &[u8]) -> SysCall<usize> {
    match channel {
        Channel::File => retry(|| rustix::io::write(&fd, data)),
        Channel::Socket => send(fd, data, 0),
        Channel::Stream => without_pipe_signal(data.len(), || rustix::io::write(&fd, data)),
    }
}

/// The same, but it takes only what there is room for, and answers EAGAIN where there is none, whatever
/// the descriptor's mode. EOPNOTSUPP where the kernel cannot do that (for pipes, before Linux 6.4).
pub fn write_now(fd: impl AsFd, channel: Channel, data: &[u8]) -> SysCall<usize> {
    match channel {
        Channel::File => write(fd, channel, data),
        Channel::Socket => send(fd, data, libc::MSG_DONTWAIT),
        Channel::Stream => {
            // "Where it stands", as a pipe has no offsets.
            const HERE: u64 = u64::MAX;
            let len = data.len();
            let data = [std::io::IoSlice::new(data)];
            let flags = rustix::io::ReadWriteFlags::NOWAIT;
            match without_pipe_signal(len, || rustix::io::pwritev2(&fd, &data, HERE, flags)) {
                Err(Errno::NOSYS | Errno::INVAL | Errno::SPIPE | Errno::PERM) => {
                    Err(Errno::OPNOTSUPP)
                }
                other => other,
            }
        }
    }
}

fn send(fd: impl AsFd, data: &[u8], flags: libc::c_int) -> SysCall<usize> {
    retry(|| {
        // SAFETY: `data` is readable for its length.
        let sent = unsafe {
            libc::send(
                fd.as_fd().as_raw_fd(),
                data.as_ptr().cast(),
                data.len(),
                flags | libc::MSG_NOSIGNAL,
            )
        };
        usize::try_from(sent).map_err(|_| last_errno())
    })
}

/// A write of `len` bytes. Where the reader goes while it waits, it says how many it wrote, and the
/// signal comes all the same.
fn without_pipe_signal(len: usize, write: impl FnMut() -> SysCall<usize>) -> SysCall<usize> {
    let held = HeldBack::new(libc::SIGPIPE)?;
    let result = retry(write);
    if result != Ok(len) {
        held.take();
    }
    result
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Bytes to read, or the end.
    Readable,
    /// Room to write, or an error to be told by a write.
    Writable,
}

/// Waits until `fd` is ready, at most `milliseconds`; tells whether it is. A signal ends the wait
/// early.
pub fn wait(fd: impl AsFd, readiness: Readiness, milliseconds: u32) -> SysCall<bool> {
    let mut one = libc::pollfd {
        fd: fd.as_fd().as_raw_fd(),
        events: match readiness {
            Readiness::Readable => libc::POLLIN,
            Readiness::Writable => libc::POLLOUT,
        },
        revents: 0,
    };
    let timeout = i32::try_from(milliseconds).unwrap_or(i32::MAX);
    // SAFETY: one entry, and it is ours.
    match unsafe { libc::poll(&raw mut one, 1, timeout) } {
        0 => Ok(false),
        1.. => Ok(true),
        _ => match last_errno() {
            Errno::INTR => Ok(false),
            errno => Err(errno),
        },
    }
}

/// While this lives, a write beyond the process's limit on file sizes (RLIMIT_FSIZE) is EFBIG on the
/// calling thread and no SIGXFSZ, which ends a process that has not provided for it. Where there is
/// no limit, which is usual, nothing is done.
pub struct FileSizeLimit(Option<HeldBack>);

impl FileSizeLimit {
    /// From now on.
    pub fn hold_back() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize);
        FileSizeLimit(match limit.current {
            Some(_) => HeldBack::new(libc::SIGXFSZ).ok(),
            None => None,
        })
    }
}

impl Drop for FileSizeLimit {
    fn drop(&mut self) {
        if let Some(held) = &self.0 {
            held.take();
        }
    }
}

/// A signal blocked on the calling thread, until this is dropped.
struct HeldBack {
    signal: libc::sigset_t,
    before: libc::sigset_t,
    was_pending: bool,
}

impl HeldBack {
    fn new(signal: libc::c_int) -> SysCall<Self> {
        let set = only(signal);
        let mut pending = MaybeUninit::<libc::sigset_t>::zeroed();
        let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: all point to sets of ours. sigpending fails for a bad pointer only.
        let was_pending = unsafe {
            libc::sigpending(pending.as_mut_ptr());
            libc::sigismember(pending.as_ptr(), signal) == 1
        };
        // SAFETY: as above; the mask is the calling thread's alone.
        let failed =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, before.as_mut_ptr()) };
        if failed != 0 {
            return Err(Errno::from_raw_os_error(failed));
        }
        Ok(HeldBack {
            signal: set,
            // SAFETY: filled by the call; zeroes are a set as well.
            before: unsafe { before.assume_init() },
            was_pending,
        })
    }

    /// Takes away the signal that a write of ours raised, unless one was there before.
    fn take(&self) {
        if self.was_pending {
            return;
        }
        let now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // EAGAIN says that none is pending: none was raised, or the host ignores it.
        let _ = retry(|| {
            // SAFETY: a set and a time of ours; no information is asked for.
            let signal = unsafe {
                libc::sigtimedwait(&raw const self.signal, std::ptr::null_mut(), &raw const now)
            };
            if signal < 0 {
                return Err(last_errno());
            }
            Ok(())
        });
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        // SAFETY: the mask that pthread_sigmask gave. It fails for a bad argument only.
        unsafe {
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.before,
                std::ptr::null_mut(),
            );
        }
    }
}

fn only(signal: libc::c_int) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: a set of ours, made empty and then given a signal that exists.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        set.assume_init()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rustix::fd::{FromRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    fn pipe() -> (OwnedFd, OwnedFd) {
        let mut ends = [0; 2];
        // SAFETY: two ints of ours; the descriptors are new and owned by nobody else.
        unsafe {
            assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
            (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
        }
    }

    fn is_pending() -> bool {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: a set of ours.
        unsafe {
            libc::sigpending(set.as_mut_ptr());
            libc::sigismember(set.as_ptr(), libc::SIGPIPE) == 1
        }
    }

    fn mask() -> bool {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: a set of ours; the mask is asked for, not changed.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr());
            libc::sigismember(set.as_ptr(), libc::SIGPIPE) == 1
        }
    }

    /// Runs `test` in a child whose SIGPIPE kills, which the test harness's does not; the child's
    /// exit status tells.
    fn in_child(test: impl FnOnce() -> bool) {
        // SAFETY: the child makes plain system calls and ends.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            // SAFETY: the child's own disposition, and its end without destructors.
            unsafe {
                libc::signal(libc::SIGPIPE, libc::SIG_DFL);
                libc::_exit(i32::from(!test()));
            }
        }
        let mut status = 0;
        // SAFETY: a child of ours, and an int of ours.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0, "wait status");
    }

    fn broken() -> OwnedFd {
        let (read, write) = pipe();
        drop(read);
        write
    }

    #[test]
    fn broken_pipe_is_an_errno() {
        let pipe = broken();
        in_child(|| {
            write(&pipe, Channel::of(&pipe).unwrap(), b"x") == Err(Errno::PIPE)
                && !is_pending()
                && !mask()
        });
    }

    #[test]
    fn without_the_help_the_child_dies() {
        let pipe = broken();
        // SAFETY: as in `in_child`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: as in `in_child`.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            let _ = rustix::io::write(&pipe, b"x");
            // SAFETY: as in `in_child`.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: as in `in_child`.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGPIPE);
    }

    #[test]
    fn too_large_a_file_is_an_errno() {
        let file = tempfile::tempfile().unwrap();
        in_child(|| {
            use rustix::process::{Resource, Rlimit, setrlimit};
            // SAFETY: the child's own disposition.
            unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_DFL) };
            let (current, maximum) = (Some(4), None);
            setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
            let held = FileSizeLimit::hold_back();
            let short = rustix::io::write(&file, b"12345") == Ok(4);
            let over = rustix::io::write(&file, b"5") == Err(Errno::FBIG);
            let longer = rustix::fs::ftruncate(&file, 5) == Err(Errno::FBIG);
            drop(held);
            short && over && longer
        });
    }

    #[test]
    fn broken_socket_is_an_errno() {
        let (one, other) = UnixStream::pair().unwrap();
        drop(other);
        in_child(|| {
            write(&one, Channel::of(&one).unwrap(), b"x") == Err(Errno::PIPE) && !is_pending()
        });
    }

    #[test]
    fn a_pending_one_is_the_hosts() {
        let pipe = broken();
        in_child(|| {
            let held = HeldBack::new(libc::SIGPIPE).unwrap();
            // SAFETY: SIGPIPE is blocked on this thread.
            unsafe { libc::raise(libc::SIGPIPE) };
            let ok =
                write(&pipe, Channel::Stream, b"x") == Err(Errno::PIPE) && is_pending() && mask();
            held.take();
            ok && !is_pending()
        });
    }

    #[test]
    fn a_reader_that_goes_while_the_writer_waits_is_no_signal() {
        in_child(|| {
            let (read, write_end) = pipe();
            let reader = std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(50));
                drop(read);
            });
            let much = vec![7; 1 << 20];
            let some = write(&write_end, Channel::Stream, &much);
            let then = write(&write_end, Channel::Stream, &much);
            let joined = reader.join().is_ok();
            let counted = matches!(some, Ok(some) if some < much.len());
            joined && counted && then == Err(Errno::PIPE) && !is_pending()
        });
    }

    #[test]
    fn a_pipe_takes_what_it_has_room_for() {
        let (read, write_end) = pipe();
        let much = vec![7; 1 << 20];
        let room = match write_now(&write_end, Channel::Stream, &much) {
            // Before Linux 6.4.
            Err(Errno::OPNOTSUPP) => return,
            other => other.unwrap(),
        };
        assert!(room > 4096 && room < much.len(), "{room}");
        let full = write_now(&write_end, Channel::Stream, &much);
        assert_eq!(full, Err(Errno::AGAIN));
        rustix::io::read(&read, &mut vec![0; room]).unwrap();
        assert_eq!(write_now(&write_end, Channel::Stream, &much), Ok(room));
        drop(read);
        in_child(|| {
            let gone = write_now(broken(), Channel::Stream, b"x");
            gone == Err(Errno::PIPE) && !is_pending()
        });
    }

    #[test]
    fn a_socket_takes_what_it_has_room_for() {
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let much = vec![7; 4 << 20];
        let room = write_now(&one, Channel::Socket, &much).unwrap();
        assert!(room < much.len());
        let full = write_now(&one, Channel::Socket, &much);
        assert_eq!(full, Err(Errno::AGAIN));
        drop(other);
        let gone = write_now(&one, Channel::Socket, &much);
        assert!(
            matches!(gone, Err(Errno::PIPE | Errno::CONNRESET)),
            "{gone:?}"
        );
    }

    #[test]
    fn whole_pipe_is_written() {
        let (read, write_end) = pipe();
        assert_eq!(write(&write_end, Channel::Stream, b"abc"), Ok(3));
        let mut got = [0; 8];
        assert_eq!(rustix::io::read(&read, &mut got), Ok(3));
        assert!(!wait(&read, Readiness::Readable, 1).unwrap());
        assert!(wait(&write_end, Readiness::Writable, 1).unwrap());
    }
}
