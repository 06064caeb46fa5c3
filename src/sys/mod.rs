//! Descriptors and system calls: rustix and nix, plus the few calls that they lack.
#![allow(unsafe_code)]

pub mod fs;
pub mod mount;
#[cfg(test)]
pub mod mount_testing;
