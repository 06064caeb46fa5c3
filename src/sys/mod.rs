//! Descriptors and system calls: rustix and nix, plus the few calls that they lack.
//!
//! Everything here takes descriptors and names relative to them, retries EINTR, and opens
//! close-on-exec. This module and `ffi` are the only ones that may hold `unsafe`.
#![allow(unsafe_code)]

pub mod dir;
pub mod fd;
pub mod fs;
pub mod handle;
pub mod ids;
mod instance;
pub mod mount;
#[cfg(test)]
pub mod mount_testing;
pub mod signal;
mod sync;
pub mod thread;
pub mod xattr;

pub use fd::Own;
pub use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

/// The result of a bare system call.
pub type SysCall<T> = std::result::Result<T, rustix::io::Errno>;

/// Repeats a system call that a signal interrupted; rustix does not.
pub(crate) fn retry<T>(mut call: impl FnMut() -> SysCall<T>) -> SysCall<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}
