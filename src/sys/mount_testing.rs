//! For tests alone: a thread with mounts of its own, and system calls that fail on purpose.

use rustix::io::Errno;

/// Which system call a filter answers, by number and perhaps by the value of one argument.
#[derive(Clone, Copy, Debug)]
pub struct Denied {
    /// The call's number.
    pub call: libc::c_long,
    /// Only where the low half of this argument has this value.
    pub argument: Option<(u32, u32)>,
    /// What the caller is told.
    pub errno: Errno,
}

impl Denied {
    /// Every use of `call` fails with `errno`.
    pub fn all(call: libc::c_long, errno: Errno) -> Self {
        Denied {
            call,
            argument: None,
            errno,
        }
    }
}

/// Runs `work` on a thread that has a private mount namespace, where `denied` calls fail.
pub fn isolated<T: Send>(denied: &[Denied], work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            private_mounts();
            deny(denied);
            work()
        });
        match thread.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Gives the calling thread a mount namespace of its own, from which nothing leaks.
#[expect(clippy::unwrap_used, reason = "tests")]
pub fn private_mounts() {
    use rustix::mount::{MountPropagationFlags, mount_change};
    // SAFETY: the thread is one of ours and ends soon; it shares no file system state afterwards.
    unsafe {
        rustix::thread::unshare_unsafe(
            rustix::thread::UnshareFlags::FS | rustix::thread::UnshareFlags::NEWNS,
        )
    }
    .unwrap();
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .unwrap();
}

/// Makes `denied` calls of the calling thread fail from now on.
#[expect(clippy::unwrap_used, reason = "tests")]
pub fn deny(denied: &[Denied]) {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const NUMBER_AT: u32 = 0;
    const ARGUMENTS_AT: u32 = 16;
    if denied.is_empty() {
        return;
    }
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = Vec::new();
    for one in denied {
        let refuse = libc::SECCOMP_RET_ERRNO | one.errno.raw_os_error() as u32;
        program.push(step(LOAD, 0, 0, NUMBER_AT));
        match one.argument {
            None => program.push(step(EQUAL, 0, 1, one.call as u32)),
            Some((index, value)) => {
                let low = if cfg!(target_endian = "big") { 4 } else { 0 };
                program.push(step(EQUAL, 0, 3, one.call as u32));
                program.push(step(LOAD, 0, 0, ARGUMENTS_AT + 8 * index + low));
                program.push(step(EQUAL, 0, 1, value));
            }
        }
        program.push(step(RETURN, 0, 0, refuse));
    }
    program.push(step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: plain integers; affects this thread alone.
    let answer = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(answer, 0);
    // SAFETY: `filter` points to `len` instructions that live until after the call.
    let answer = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
}
