//! System calls: their names, and how each can fail.

// The constants are the C library's.
#![allow(non_upper_case_globals)]

use std::fmt::Write;

/// How an errno is given to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The call is not made.
    Instead,
    /// The call is made, and its answer replaced: a descriptor is closed whatever close(2) says.
    After,
}

macro_rules! names {
    ($($name:ident)+) => {
        /// What a call is called.
        pub fn name(number: i64) -> String {
            match number {
                $(n if n == libc::$name => stringify!($name)[4..].to_string(),)+
                457 => "statmount".to_string(),
                458 => "listmount".to_string(),
                number => format!("call {number}"),
            }
        }
    };
}

names! {
    SYS_openat SYS_openat2 SYS_close SYS_close_range SYS_read SYS_pread64 SYS_write SYS_pwrite64
    SYS_readv SYS_writev SYS_lseek SYS_getdents64 SYS_statx SYS_newfstatat SYS_fstat SYS_fstatfs
    SYS_readlinkat SYS_mkdirat SYS_mkdir SYS_mknodat SYS_symlinkat SYS_linkat SYS_unlinkat SYS_renameat2
    SYS_renameat SYS_fchmod SYS_fchmodat SYS_fchmodat2 SYS_fchown SYS_fchownat SYS_utimensat
    SYS_ftruncate SYS_fallocate SYS_fsync SYS_fdatasync SYS_syncfs SYS_flock SYS_ioctl SYS_fcntl
    SYS_copy_file_range SYS_fsetxattr SYS_setxattr SYS_lsetxattr SYS_fgetxattr SYS_getxattr
    SYS_lgetxattr SYS_flistxattr SYS_listxattr SYS_llistxattr SYS_fremovexattr SYS_removexattr
    SYS_lremovexattr SYS_dup SYS_dup3 SYS_pipe2 SYS_eventfd2 SYS_memfd_create SYS_getrandom
    SYS_clock_nanosleep SYS_nanosleep SYS_fsopen SYS_fsconfig SYS_fsmount SYS_open_tree
    SYS_move_mount SYS_mount_setattr SYS_mount SYS_umount2 SYS_mmap SYS_munmap SYS_mremap SYS_brk
    SYS_mprotect SYS_madvise SYS_rt_sigprocmask SYS_rt_sigaction SYS_rt_sigpending
    SYS_rt_sigtimedwait SYS_sigaltstack SYS_futex SYS_clone SYS_clone3 SYS_wait4 SYS_waitid
    SYS_exit SYS_exit_group SYS_gettid SYS_getpid SYS_geteuid SYS_getuid SYS_getegid SYS_getgid
    SYS_getgroups SYS_capget SYS_prctl SYS_umask SYS_tgkill SYS_sched_yield SYS_uname SYS_statfs
    SYS_poll SYS_ppoll SYS_access SYS_faccessat SYS_faccessat2 SYS_chdir SYS_getcwd SYS_prlimit64
    SYS_sched_getaffinity SYS_rseq SYS_set_robust_list SYS_kill
}

/// An errno's name, or its number.
pub fn errno_name(errno: i32) -> String {
    let known = ERRNOS.iter().find(|known| known.1 == errno);
    known.map_or_else(|| format!("errno {errno}"), |known| known.0.to_string())
}

/// The errno of a name.
pub fn errno_of(name: &str) -> Option<i32> {
    ERRNOS
        .iter()
        .find(|known| known.0 == name)
        .map(|known| known.1)
}

const ERRNOS: [(&str, i32); 9] = [
    ("EIO", libc::EIO),
    ("ENOSPC", libc::ENOSPC),
    ("EDQUOT", libc::EDQUOT),
    ("ENOMEM", libc::ENOMEM),
    ("EMFILE", libc::EMFILE),
    ("ENFILE", libc::ENFILE),
    ("EINTR", libc::EINTR),
    ("EAGAIN", libc::EAGAIN),
    ("ENOLCK", libc::ENOLCK),
];

/// What the call may fail with, on a machine that is out of something or breaks. The first two
/// arguments tell what an open is for. None for calls that cannot fail so, or whose failure is the
/// allocator's: it ends the process, which is a kill.
pub fn errnos(number: i64, args: &[u64; 6]) -> (&'static [i32], How) {
    use libc::*;
    const READ: &[i32] = &[EIO, ENOMEM];
    const WRITE: &[i32] = &[EIO, ENOSPC, EDQUOT, ENOMEM];
    let duplicates = |what: u64| [F_DUPFD as u64, F_DUPFD_CLOEXEC as u64].contains(&what);
    let makes = |flags: u64| flags & O_CREAT as u64 != 0;
    let given: &[i32] = match number {
        SYS_openat if makes(args[2]) => &[EIO, ENOSPC, EDQUOT, EMFILE, ENOMEM, EINTR],
        SYS_openat => &[EIO, EMFILE, ENOMEM, EINTR],
        SYS_openat2 => &[EIO, EMFILE, ENFILE, ENOMEM, EINTR, EAGAIN],
        SYS_close => return (&[EIO, ENOSPC, EINTR], How::After),
        SYS_read | SYS_pread64 | SYS_readv => &[EIO, ENOMEM, EINTR],
        SYS_write | SYS_pwrite64 | SYS_writev | SYS_copy_file_range => {
            &[EIO, ENOSPC, EDQUOT, ENOMEM, EINTR]
        }
        SYS_ftruncate | SYS_fallocate => &[EIO, ENOSPC, EDQUOT, EINTR],
        SYS_fsync | SYS_fdatasync | SYS_syncfs => &[EIO, ENOSPC, EDQUOT, EINTR],
        SYS_mkdirat | SYS_mkdir | SYS_mknodat | SYS_symlinkat | SYS_linkat | SYS_renameat2
        | SYS_renameat | SYS_unlinkat | SYS_fchmod | SYS_fchmodat | SYS_fchmodat2 | SYS_fchown
        | SYS_fchownat | SYS_utimensat | SYS_fsetxattr | SYS_setxattr | SYS_lsetxattr
        | SYS_fremovexattr | SYS_removexattr | SYS_lremovexattr => WRITE,
        SYS_ioctl => &[EIO, ENOSPC, ENOMEM, EINTR],
        SYS_getdents64 | SYS_statx | SYS_newfstatat | SYS_fstat | SYS_fstatfs | SYS_statfs
        | SYS_readlinkat | SYS_lseek | SYS_fgetxattr | SYS_getxattr | SYS_lgetxattr
        | SYS_flistxattr | SYS_listxattr | SYS_llistxattr => READ,
        SYS_flock => &[EINTR, ENOMEM, ENOLCK],
        SYS_fcntl if duplicates(args[1]) => &[EMFILE],
        SYS_dup | SYS_dup3 | SYS_pipe2 | SYS_eventfd2 => &[EMFILE],
        SYS_memfd_create | SYS_fsopen | SYS_fsmount | SYS_open_tree => &[EMFILE, ENOMEM],
        SYS_fsconfig | SYS_move_mount | SYS_mount_setattr | SYS_mount => &[ENOMEM, EIO],
        SYS_umount2 => &[ENOMEM],
        457 | 458 => &[ENOMEM, EINTR],
        SYS_getrandom => &[EINTR],
        SYS_clone | SYS_clone3 => &[EAGAIN, ENOMEM],
        _ => &[],
    };
    (given, How::Instead)
}

/// A list of calls, each once with how often it was made.
pub fn tally(numbers: &[i64]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for &number in numbers {
        *counts.entry(name(number)).or_insert(0) += 1;
    }
    let mut line = String::new();
    for (name, count) in counts {
        let _ = write!(line, " {name} {count}");
    }
    line
}
