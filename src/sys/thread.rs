//! Threads of the library's own, for the length of one call.
//!
//! They live in somebody else's process. So no signal of the host's is delivered to them, they bear
//! the name of their work, and when a call returns the kernel has forgotten them: a host with one
//! thread has one again, and may change its namespaces as before.

use super::fs::last_errno;
use super::{SysCall, retry};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Whether a call may have threads of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// Where the work is long enough and there is more than one processor.
    #[default]
    Auto,
    /// All is done on the calling thread.
    Never,
    /// However short the work is.
    Always,
}

impl Threads {
    /// Whether work that is `long`, or not, gets threads now.
    ///
    /// Never where a standard descriptor is closed: what one thread opens has such a number for a
    /// moment, in which another one may write to it.
    pub fn wanted(self, long: bool) -> bool {
        match self {
            Threads::Never => false,
            Threads::Auto => long && processors() > 1 && standard_are_open(),
            Threads::Always => standard_are_open(),
        }
    }
}

/// How many processors the calling thread may run on.
pub fn processors() -> usize {
    rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize)
}

fn standard_are_open() -> bool {
    (0..=libc::STDERR_FILENO).all(|number| {
        // SAFETY: the number is asked about, and not used.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        rustix::io::fcntl_getfd(fd) != Err(Errno::BADF)
    })
}

/// Gives the calling thread, one of ours, a umask of its own that takes nothing away. Its working
/// and root directories are its own from then on, too.
pub fn own_umask() -> SysCall<()> {
    // SAFETY: the thread is one of ours, and everything we do goes by descriptors.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS) }?;
    rustix::process::umask(rustix::fs::Mode::empty());
    Ok(())
}

/// The calling thread, one of ours, works on what another one makes. When there is something for it
/// again it does not take the processor from that one, but waits for its turn; its share stays what
/// it was. A policy that the host has chosen is left alone; and where a filter of the host's looks at
/// system calls nothing is asked for, as it may end the process for one that it does not expect.
pub fn wait_for_turns() {
    // SAFETY: 0 is the calling thread, which is only asked about.
    let policy = || unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
    if !is_filtered() && policy() == libc::c_long::from(libc::SCHED_OTHER) {
        // Where that is not allowed, all goes on as it would.
        let _ = set_policy(libc::SCHED_BATCH);
    }
}

fn is_filtered() -> bool {
    // SAFETY: it is only asked.
    unsafe { libc::prctl(libc::PR_GET_SECCOMP) > 0 }
}

/// Gives the calling thread a policy without priorities; whether that was allowed.
fn set_policy(policy: libc::c_int) -> bool {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the calling thread; the parameters are ours, and only read.
    unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const param) == 0 }
}

/// A thread that was started.
pub struct Started<'scope, T> {
    handle: ScopedJoinHandle<'scope, T>,
    id: Arc<AtomicI32>,
}

/// Starts `work` on a thread of this name, of at most 15 bytes.
pub fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> SysCall<Started<'scope, T>> {
    let id = Arc::new(AtomicI32::new(0));
    let own = id.clone();
    let _blocked = Blocked::new()?;
    let handle = Builder::new()
        .name(name.to_string())
        .stack_size(STACK)
        .spawn_scoped(scope, move || {
            own.store(rustix::thread::gettid().as_raw_pid(), Ordering::Release);
            work()
        })
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
    Ok(Started { handle, id })
}

/// Much more than any call was seen to take: what a host's thread-local variables take is in it.
const STACK: usize = 512 << 10;

impl<T> Started<'_, T> {
    /// Waits for its end, and gives what it made. Its panic is the caller's.
    pub fn join(self) -> T {
        self.wait()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Waits for its end, and gives what it made or panicked with.
    pub fn wait(self) -> std::thread::Result<T> {
        let made = self.handle.join();
        forgotten(self.id.load(Ordering::Acquire));
        made
    }

    /// Its number, once it runs.
    #[cfg(test)]
    pub fn number(&self) -> i32 {
        loop {
            match self.id.load(Ordering::Acquire) {
                0 => std::thread::yield_now(),
                id => return id,
            }
        }
    }
}

/// Waits until the kernel counts the thread no more: its memory is given back a moment before.
fn forgotten(id: i32) {
    // Not for ever: the number could be another thread's by now.
    for turn in 0..1000 {
        // SAFETY: no signal is sent; the kernel is asked whether there is such a thread.
        let gone = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), id, 0) } != 0;
        if gone && last_errno() == Errno::SRCH {
            return;
        }
        if turn < 100 {
            std::thread::yield_now();
        } else {
            // On a busy machine it may not have had its turn; who is waited for needs the processor.
            let moment = rustix::thread::Timespec {
                tv_sec: 0,
                tv_nsec: 1_000_000,
            };
            let _ = rustix::thread::nanosleep(&moment);
        }
    }
}

/// While this lives, the calling thread has all signals blocked but those of its own mistakes.
struct Blocked(libc::sigset_t);

impl Blocked {
    fn new() -> SysCall<Self> {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: the sets are ours; sigfillset writes the whole of one before it is used, and
        // pthread_sigmask the other one where it returns 0.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            for fault in [
                libc::SIGSEGV,
                libc::SIGBUS,
                libc::SIGFPE,
                libc::SIGILL,
                libc::SIGTRAP,
                libc::SIGSYS,
                libc::SIGABRT,
            ] {
                libc::sigdelset(all.as_mut_ptr(), fault);
            }
            match libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) {
                0 => Ok(Blocked(before.assume_init())),
                errno => Err(Errno::from_raw_os_error(errno)),
            }
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set is the one that the thread had.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }
}

/// Descriptors that calls of this process may open because they have threads.
static RESERVED: AtomicU64 = AtomicU64::new(0);

/// So many descriptors, until it is dropped.
pub struct Room(u64);

impl Room {
    /// Room for so many more, where the process is not near its limit: a call must not fail for the
    /// sake of its threads, nor of those of another call. `fd` is any that is open.
    pub fn take(fd: impl AsFd, count: u64) -> Option<Self> {
        let room = Room(count);
        let all = RESERVED
            .fetch_add(count, Ordering::Relaxed)
            .saturating_add(count);
        has_room(fd, all).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        RESERVED.fetch_sub(self.0, Ordering::Relaxed);
    }
}

fn has_room(fd: impl AsFd, count: u64) -> bool {
    // The kernel makes the table as long as the number that it is asked for, so not at the limit.
    const NEAR: u64 = 512;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let Some(limit) = limit else { return true };
    let from = limit.saturating_sub(count).min(NEAR) as i32;
    retry(|| rustix::io::fcntl_dupfd_cloexec(&fd, from))
        .is_ok_and(|first| (first.as_raw_fd() as u64).saturating_add(count) <= limit)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fs::keeps_modes;
    use super::*;

    fn threads() -> Vec<i32> {
        let mut ids: Vec<i32> = std::fs::read_dir("/proc/self/task")
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .into_string()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_thread_has_its_name_and_no_signals_and_is_forgotten() {
        for _ in 0..200 {
            let id = std::thread::scope(|scope| {
                let work = || {
                    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
                    assert!(status.contains("Name:\tovl-test\n"), "{status}");
                    // SIGTERM is 15, SIGUSR1 10, SIGCHLD 17; SIGSEGV is 11.
                    let mask = status
                        .lines()
                        .find_map(|line| line.strip_prefix("SigBlk:\t"));
                    let mask = u64::from_str_radix(mask.unwrap(), 16).unwrap();
                    for (signal, blocked) in [(15, true), (10, true), (17, true), (11, false)] {
                        assert_eq!(mask >> (signal - 1) & 1 == 1, blocked, "signal {signal}");
                    }
                    rustix::thread::gettid().as_raw_pid()
                };
                start(scope, "ovl-test", work).unwrap().join()
            });
            assert!(!threads().contains(&id));
        }
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("SigBlk:\t0000000000000000\n"), "{status}");
    }

    #[test]
    fn a_panic_is_the_callers() {
        let caught = std::panic::catch_unwind(|| {
            std::thread::scope(|scope| {
                start(scope, "ovl-test", || panic!("of the thread"))
                    .unwrap()
                    .join();
            });
        });
        assert_eq!(
            *caught.unwrap_err().downcast::<&str>().unwrap(),
            "of the thread"
        );
    }

    #[test]
    fn a_umask_of_its_own() {
        let before = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let umask = |status: &str| -> String {
            status
                .lines()
                .find(|line| line.starts_with("Umask:"))
                .unwrap()
                .into()
        };
        std::thread::scope(|scope| {
            let work = || {
                own_umask().unwrap();
                let dir = std::fs::File::open(env!("CARGO_MANIFEST_DIR")).unwrap();
                assert!(keeps_modes(&dir));
                // This thread's alone.
                rustix::process::umask(rustix::fs::Mode::WOTH);
                assert!(!keeps_modes(&dir));
                rustix::process::umask(rustix::fs::Mode::empty());
                std::fs::read_to_string("/proc/thread-self/status").unwrap()
            };
            let inside = start(scope, "ovl-test", work).unwrap().join();
            assert_eq!(umask(&inside), "Umask:\t0000");
        });
        let after = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert_eq!(umask(&before), umask(&after));
    }

    /// The policy is the 41st field of `stat`, the 39th after the name.
    fn policy() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        rest.split(' ').nth(38).unwrap().parse().unwrap()
    }

    #[test]
    fn it_waits_for_its_turns_and_nobody_else_does() {
        let before = policy();
        let wanted = match before {
            libc::SCHED_OTHER if !is_filtered() => libc::SCHED_BATCH,
            other => other,
        };
        std::thread::scope(|scope| {
            let work = || {
                wait_for_turns();
                policy()
            };
            let inside = start(scope, "ovl-test", work).unwrap().join();
            assert_eq!(inside, wanted);
            let idle = || {
                assert!(set_policy(libc::SCHED_IDLE));
                wait_for_turns();
                policy()
            };
            let inside = start(scope, "ovl-test", idle).unwrap().join();
            assert_eq!(inside, libc::SCHED_IDLE);
            let filtered = || {
                let mut allow = libc::sock_filter {
                    code: (libc::BPF_RET | libc::BPF_K) as u16,
                    jt: 0,
                    jf: 0,
                    k: libc::SECCOMP_RET_ALLOW,
                };
                let program = libc::sock_fprog {
                    len: 1,
                    filter: &raw mut allow,
                };
                // SAFETY: the filter is this thread's alone, and the kernel copies it.
                let set = unsafe {
                    libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                    let filter = libc::SECCOMP_MODE_FILTER;
                    libc::prctl(libc::PR_SET_SECCOMP, filter, &raw const program)
                };
                assert_eq!(set, 0);
                wait_for_turns();
                policy()
            };
            let inside = start(scope, "ovl-test", filtered).unwrap().join();
            assert_eq!(inside, before);
        });
        assert_eq!(policy(), before);
    }

    #[test]
    fn room_for_descriptors() {
        let file: rustix::fd::OwnedFd = tempfile::tempfile().unwrap().into();
        assert!(has_room(&file, 8));
        assert!(!has_room(&file, u64::MAX));
        // Others of this program may have some meanwhile.
        let one = Room::take(&file, 8).unwrap();
        assert!(RESERVED.load(Ordering::Relaxed) >= 8);
        assert!(Room::take(&file, u64::MAX / 2).is_none());
        drop(one);
        assert!(RESERVED.load(Ordering::Relaxed) < u64::MAX / 2);
    }

    /// One that has no turn for a while is waited for all the same.
    #[test]
    fn a_thread_that_ends_late_is_waited_for() {
        let (tell, told) = std::sync::mpsc::channel();
        let late = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid().as_raw_pid()).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(100));
        });
        let id = told.recv().unwrap();
        assert!(threads().contains(&id));
        forgotten(id);
        assert!(!threads().contains(&id));
        late.join().unwrap();
    }

    #[test]
    fn who_wants_threads() {
        assert!(!Threads::Never.wanted(true));
        assert!(!Threads::Auto.wanted(false));
        assert_eq!(Threads::Auto.wanted(true), processors() > 1);
        assert!(Threads::Always.wanted(false));
    }
}
