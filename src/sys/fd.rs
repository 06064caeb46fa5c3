//! Descriptors among those of a host: which numbers they get, how they are named, and whether they
//! are still what was opened.

use super::{AsFd, BorrowedFd, OwnedFd, SysCall, retry};
use rustix::fd::{AsRawFd, IntoRawFd};
use rustix::fs::{AtFlags, StatxFlags};
use rustix::io::Errno;
use std::mem::ManuallyDrop;
use std::ops::Deref;

/// Makes a descriptor that is none of the three standard ones.
///
/// A host may have closed these; what it goes on writing to stdout must not end up in a layer.
pub fn above_standard(make: impl FnOnce() -> SysCall<OwnedFd>) -> SysCall<OwnedFd> {
    const FIRST: i32 = libc::STDERR_FILENO + 1;
    let made = make()?;
    match made.as_raw_fd() < FIRST {
        true => rustix::io::fcntl_dupfd_cloexec(&made, FIRST),
        false => Ok(made),
    }
}

/// A second descriptor of the same open file.
pub fn duplicate(fd: impl AsFd) -> SysCall<OwnedFd> {
    above_standard(|| rustix::io::fcntl_dupfd_cloexec(&fd, 0))
}

/// Closes all of these; neighbouring numbers by one call.
pub fn close_all(fds: &mut Vec<OwnedFd>) {
    if fds.len() < 2 {
        return fds.clear();
    }
    fds.sort_unstable_by_key(AsRawFd::as_raw_fd);
    let mut rest = std::mem::take(fds).into_iter().peekable();
    let mut run: Vec<OwnedFd> = Vec::new();
    while let Some(fd) = rest.next() {
        let next = fd.as_raw_fd() + 1;
        run.push(fd);
        if rest.peek().is_none_or(|fd| fd.as_raw_fd() != next) {
            close_run(&mut run);
        }
    }
}

/// Closes these, which are neighbours in order.
fn close_run(run: &mut Vec<OwnedFd>) {
    if let [first, .., last] = &run[..] {
        let (first, last) = (first.as_raw_fd(), last.as_raw_fd());
        // SAFETY: every number in the range is one of `run`, so nobody else's is closed.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0;
        if closed {
            // A kernel that has not the call, or a filter that refuses it, closed none.
            for fd in run.drain(..) {
                let _ = fd.into_raw_fd();
            }
        }
    }
    run.clear();
}

/// A path that leads to what is open. The calling thread's own table is asked: others of the process
/// may have another one, and the thread that the process began with may have ended.
pub fn path(fd: impl AsFd) -> String {
    format!("/proc/thread-self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Whether such paths lead anywhere: a host may live where there is no procfs.
pub fn has_procfs() -> bool {
    retry(|| rustix::fs::lstat("/proc/thread-self")).is_ok()
}

/// A shorter path, where it leads there as well.
pub fn short_path(fd: impl AsFd) -> String {
    let short = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let there = retry(|| rustix::fs::stat(short.as_str()));
    match (there, retry(|| rustix::fs::fstat(&fd))) {
        (Ok(there), Ok(own)) if (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino) => short,
        _ => path(fd),
    }
}

/// A descriptor that lives from call to call.
///
/// Between two calls a host may close it, as with closefrom(3), and the number may by now be that of
/// something else. That is neither used nor closed.
#[derive(Debug)]
pub struct Own {
    fd: ManuallyDrop<OwnedFd>,
    /// Nothing where the kernel would not tell; then only whether it is open can be asked.
    identity: Option<Identity>,
}

type Identity = (u32, u32, u64);

fn identity(fd: BorrowedFd<'_>) -> SysCall<Identity> {
    // What the kernel has at hand is enough: a remote file system is not asked.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let told = retry(|| rustix::fs::statx(fd, c"", flags, StatxFlags::INO))?;
    Ok((told.stx_dev_major, told.stx_dev_minor, told.stx_ino))
}

impl Own {
    /// Remembers what is open.
    pub fn new(fd: OwnedFd) -> Self {
        Own {
            identity: identity(fd.as_fd()).ok(),
            fd: ManuallyDrop::new(fd),
        }
    }

    /// EBADF where the number is not open any more, or is something else.
    pub fn check(&self) -> SysCall<()> {
        match identity(self.fd.as_fd()) {
            Ok(now) if self.identity.is_some_and(|then| then != now) => Err(Errno::BADF),
            Err(Errno::BADF) => Err(Errno::BADF),
            // It is open; what ails it is for the call that uses it to tell.
            _ => Ok(()),
        }
    }
}

impl Deref for Own {
    type Target = OwnedFd;

    fn deref(&self) -> &OwnedFd {
        &self.fd
    }
}

impl AsFd for Own {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let ours = self.check().is_ok();
        // SAFETY: nobody uses `fd` after this.
        let fd = unsafe { ManuallyDrop::take(&mut self.fd) };
        match ours {
            true => drop(fd),
            false => {
                let _ = fd.into_raw_fd();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rustix::fd::FromRawFd;

    fn file() -> OwnedFd {
        tempfile::tempfile().unwrap().into()
    }

    #[test]
    fn a_path_leads_to_what_is_open() {
        let (file, other) = (file(), file());
        for path in [path(&file), short_path(&file)] {
            let there = rustix::fs::stat(path.as_str()).unwrap();
            assert_eq!(there.st_ino, rustix::fs::fstat(&file).unwrap().st_ino);
            assert_ne!(there.st_ino, rustix::fs::fstat(&other).unwrap().st_ino);
        }
    }

    #[test]
    fn all_are_closed_and_no_others() {
        let mut fds: Vec<OwnedFd> = (0..40).map(|_| file()).collect();
        let kept: Vec<OwnedFd> = [30, 17, 3].map(|at| fds.remove(at)).into();
        let places: Vec<_> = fds.iter().map(|fd| identity(fd.as_fd()).unwrap()).collect();
        let numbers: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        fds.reverse();
        close_all(&mut fds);
        assert!(fds.is_empty());
        for (number, place) in numbers.into_iter().zip(places) {
            // SAFETY: the number is asked about, and not used; another test may have it by now.
            let gone = unsafe { BorrowedFd::borrow_raw(number) };
            assert_ne!(identity(gone), Ok(place));
        }
        for fd in kept {
            identity(fd.as_fd()).unwrap();
        }
        close_all(&mut Vec::new());
    }

    #[test]
    fn an_owned_one_is_closed() {
        let own = Own::new(file());
        assert_eq!(own.check(), Ok(()));
        let number = own.as_raw_fd();
        drop(own);
        // SAFETY: the number is asked about, and not used.
        let gone = unsafe { BorrowedFd::borrow_raw(number) };
        // Other tests open files meanwhile.
        let left = rustix::fs::readlink(path(gone), Vec::new());
        assert!(!left.is_ok_and(|left| left.to_bytes().ends_with(b"closed-with-its-owner")));
    }

    /// In a child with one thread: nobody else gets the number meanwhile.
    #[test]
    fn a_number_that_is_another_file_by_now_is_left_alone() {
        let (ours, theirs) = (file(), file());
        // SAFETY: the child makes plain system calls and ends.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let number = ours.as_raw_fd();
            let own = Own::new(ours);
            // SAFETY: this is the host's mistake that the test is about.
            let closed = unsafe { libc::close(number) } == 0 && own.check() == Err(Errno::BADF);
            // SAFETY: as above.
            let reused = unsafe { libc::dup2(theirs.as_raw_fd(), number) } == number;
            let told = own.check() == Err(Errno::BADF);
            drop(own);
            // SAFETY: the number was just made by dup2.
            let there = unsafe { OwnedFd::from_raw_fd(number) };
            let open = identity(there.as_fd()) == identity(theirs.as_fd());
            // SAFETY: the child's end, without destructors.
            unsafe { libc::_exit(i32::from(!(closed && reused && told && open))) };
        }
        let mut status = 0;
        // SAFETY: a child of ours, and an int of ours.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0, "wait status");
    }
}
