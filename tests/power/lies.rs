//! Syncs that do nothing and say that they did: what shows that the rig sees what they are for.

/// Which syncs are lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// All of them.
    All,
    /// That of a whole file system.
    Syncfs,
    /// Those of a file or directory.
    Fsync,
}

/// From now on this thread, and those that it starts, are told that every such sync succeeded,
/// and none happens. There is no way back.
#[allow(unsafe_code)]
pub fn tell(lies: Lies) {
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let number = |call: libc::c_long| u32::try_from(call).unwrap();
    let (all, file) = match lies {
        Lies::All => (libc::SYS_syncfs, [libc::SYS_fsync, libc::SYS_fdatasync]),
        Lies::Syncfs => (libc::SYS_syncfs, [libc::SYS_syncfs; 2]),
        Lies::Fsync => (libc::SYS_fsync, [libc::SYS_fsync, libc::SYS_fdatasync]),
    };
    let filter = [
        op(LOAD, 0, 0, 0),
        op(EQUAL, 3, 0, number(all)),
        op(EQUAL, 2, 0, number(file[0])),
        op(EQUAL, 1, 0, number(file[1])),
        op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        // Errno 0: success.
        op(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap(),
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the program and its filter live until the calls return, which copy them.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ) == 0
    };
    assert!(done, "seccomp: {}", std::io::Error::last_os_error());
}
