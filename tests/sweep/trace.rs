//! A child process whose system calls are counted, and that meets something at its n-th.
//!
//! The child is a fork; it asks to be traced, and says by two calls that no kernel knows where the
//! operation begins and ends. Between them every call of every thread counts, in the order in
//! which they come. At the n-th the process is killed, or the call is not made and an errno is its
//! answer. All of it ends with the tracer (PTRACE_O_EXITKILL).
#![allow(unsafe_code)]

use crate::calls::{self, How};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::FromRawFd;

/// Where the operation begins and ends: numbers that no kernel has.
const BEGIN: i64 = 0x5eed_0001;
const END: i64 = 0x5eed_0002;

/// A call that is interrupted again and again, or finds a name moving under it again and again, is
/// so often: the library may go on trying, but the kernel does not go on for ever.
const PATIENCE: usize = 6;

/// Seconds after which an operation hangs. The library waits ten for a lock.
const HANGS: u32 = 30;

/// What is done to the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing: its calls are counted.
    Count,
    /// SIGKILL before its n-th call; after the last, that is the end of the operation.
    Kill(usize),
    /// An errno for its n-th call.
    Fail(usize, i32),
    /// An errno for its n-th call, and for all later ones of the same number.
    FailOn(usize, i32),
    /// An errno for its n-th call, and for the next of the same number until so many have failed.
    FailRun(usize, i32, usize),
}

/// One call that was seen.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub number: i64,
    pub args: [u64; 6],
}

/// What became of a child.
#[derive(Debug, Default)]
pub struct Seen {
    /// The calls between the marks, in order, as far as they were watched.
    pub calls: Vec<Call>,
    /// The call that met something.
    pub hit: Option<Call>,
    /// The child went on to its own end.
    pub ended: bool,
    /// How it ended.
    pub status: i32,
}

/// Marks where the operation begins.
pub fn begin() {
    // SAFETY: a number that no kernel knows does nothing.
    unsafe { libc::syscall(BEGIN) };
}

/// Marks where it ended.
pub fn end() {
    // SAFETY: as above.
    unsafe { libc::syscall(END) };
}

/// The two ends of a pipe.
pub fn pipe() -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors, which nobody else owns.
    let [read, write] = unsafe {
        let done = libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC);
        assert_eq!(done, 0, "pipe: {}", std::io::Error::last_os_error());
        ends.map(|fd| File::from_raw_fd(fd))
    };
    (read, write)
}

/// Runs `body` in a fork of this process, which must have no other thread at work. What it returns
/// is the child's exit status.
pub fn fork(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child has one thread, and leaves by _exit.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        leave(body);
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    let got = unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(got, child, "{}", std::io::Error::last_os_error());
    status
}

fn leave(body: impl FnOnce() -> i32) -> ! {
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(101);
    // SAFETY: ends this process without running what the parent's exit would.
    unsafe { libc::_exit(code) }
}

/// Runs `body` in a traced fork.
pub fn run(act: Act, body: impl FnOnce() -> i32) -> Seen {
    // SAFETY: the child has one thread; what it calls before `body` is plain.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: plain calls without memory.
        unsafe {
            libc::alarm(HANGS);
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::raise(libc::SIGSTOP);
        }
        leave(body);
    }
    let mut tracer = Tracer {
        child,
        act,
        seen: Seen::default(),
        inside: false,
        answers: HashMap::new(),
        left: match act {
            Act::FailRun(_, _, most) => most,
            _ => PATIENCE,
        },
        done: false,
    };
    tracer.watch();
    tracer.seen
}

struct Tracer {
    child: libc::pid_t,
    act: Act,
    seen: Seen,
    /// Between the marks.
    inside: bool,
    /// What a thread's call in flight is answered.
    answers: HashMap<libc::pid_t, i32>,
    left: usize,
    /// Nothing more is to be done or counted.
    done: bool,
}

impl Tracer {
    fn watch(&mut self) {
        let mut first = true;
        loop {
            let mut status = 0;
            // SAFETY: waits for traced children, and writes `status`.
            let tid = unsafe { libc::waitpid(-1, &mut status, libc::__WALL) };
            if tid < 0 {
                let error = std::io::Error::last_os_error();
                assert_eq!(error.raw_os_error(), Some(libc::EINTR), "waitpid: {error}");
                continue;
            }
            if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                if tid == self.child {
                    self.seen.status = status;
                    self.seen.ended = libc::WIFEXITED(status);
                    return;
                }
                continue;
            }
            if first {
                first = false;
                let options = libc::PTRACE_O_TRACESYSGOOD
                    | libc::PTRACE_O_TRACECLONE
                    | libc::PTRACE_O_TRACEFORK
                    | libc::PTRACE_O_TRACEVFORK
                    | libc::PTRACE_O_EXITKILL;
                request(libc::PTRACE_SETOPTIONS, tid, 0, options as usize);
                self.resume(tid, 0);
                continue;
            }
            let signal = libc::WSTOPSIG(status);
            let mut pass = 0;
            if signal == libc::SIGTRAP | 0x80 {
                self.stop(tid);
            } else if status >> 16 == 0 && signal != libc::SIGSTOP {
                pass = signal;
            }
            self.resume(tid, pass);
        }
    }

    /// At the entry or the exit of a call.
    fn stop(&mut self, tid: libc::pid_t) {
        let mut info = [0u64; 11];
        let size = std::mem::size_of_val(&info);
        let got = request(
            libc::PTRACE_GET_SYSCALL_INFO,
            tid,
            size,
            info.as_mut_ptr() as usize,
        );
        if got <= 0 {
            return;
        }
        // The first byte says entry or exit.
        match info[0] as u8 {
            1 => {
                let mut args = [0; 6];
                args.copy_from_slice(&info[4..10]);
                let number = info[3] as i64;
                self.enter(tid, Call { number, args });
            }
            2 => {
                if let Some(errno) = self.answers.remove(&tid) {
                    answer(tid, -i64::from(errno));
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, tid: libc::pid_t, call: Call) {
        match call.number {
            BEGIN => {
                self.inside = true;
                return;
            }
            END => {
                if self.inside && self.act == Act::Kill(self.seen.calls.len() + 1) {
                    self.kill(call);
                }
                self.inside = false;
                self.done = true;
                return;
            }
            _ if !self.inside => return,
            _ => self.seen.calls.push(call),
        }
        let now = self.seen.calls.len();
        match self.act {
            Act::Count => {}
            Act::Kill(at) => {
                if at == now {
                    self.kill(call);
                }
            }
            Act::Fail(at, errno) => {
                if at == now {
                    self.done = self.fail(tid, call, errno);
                }
            }
            Act::FailRun(at, errno, _) => {
                let again = self.seen.hit.is_some_and(|hit| hit.number == call.number);
                // Another thread may be in such a call when the run is over.
                if self.left > 0 && (at == now || again) && self.fail(tid, call, errno) {
                    self.left -= 1;
                    self.done = self.left == 0;
                }
            }
            Act::FailOn(at, errno) => {
                let again = self.seen.hit.is_some_and(|hit| hit.number == call.number);
                let endless = errno != libc::EINTR && errno != libc::EAGAIN;
                if at == now || (again && (endless || self.left > 0)) {
                    self.left = self.left.saturating_sub(1);
                    self.fail(tid, call, errno);
                }
            }
        }
    }

    fn kill(&mut self, call: Call) {
        self.seen.hit = Some(call);
        self.done = true;
        // SAFETY: a process that this one made and has not waited for.
        unsafe { libc::kill(self.child, libc::SIGKILL) };
    }

    /// Has the call answered with the errno, if it is one that the call can have.
    fn fail(&mut self, tid: libc::pid_t, call: Call, errno: i32) -> bool {
        let (can, how) = calls::errnos(call.number, &call.args);
        if !can.contains(&errno) {
            return false;
        }
        if how == How::Instead {
            skip(tid);
        }
        self.answers.insert(tid, errno);
        self.seen.hit.get_or_insert(call);
        true
    }

    fn resume(&self, tid: libc::pid_t, signal: i32) {
        let how = if self.done && self.answers.is_empty() {
            libc::PTRACE_CONT
        } else {
            libc::PTRACE_SYSCALL
        };
        // It may be gone already.
        request(how, tid, 0, signal as usize);
    }
}

fn request(what: impl Into<i64>, tid: libc::pid_t, addr: usize, data: usize) -> i64 {
    let what = what.into() as _;
    // SAFETY: what is written to the tracer's memory is within what the caller gave.
    unsafe { libc::ptrace(what, tid, addr, data) }
}

/// The call that is about to be made is not.
#[cfg(target_arch = "x86_64")]
fn skip(tid: libc::pid_t) {
    let at = std::mem::offset_of!(libc::user_regs_struct, orig_rax);
    request(libc::PTRACE_POKEUSER, tid, at, usize::MAX);
}

/// The call's answer.
#[cfg(target_arch = "x86_64")]
fn answer(tid: libc::pid_t, value: i64) {
    let at = std::mem::offset_of!(libc::user_regs_struct, rax);
    request(libc::PTRACE_POKEUSER, tid, at, value as usize);
}

#[cfg(not(target_arch = "x86_64"))]
fn skip(_: libc::pid_t) {
    unimplemented!("the sweep is skipped on this architecture");
}

#[cfg(not(target_arch = "x86_64"))]
fn answer(_: libc::pid_t, _: i64) {
    unimplemented!("the sweep is skipped on this architecture");
}
