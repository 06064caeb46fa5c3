//! The store through its Rust API: one file for each subject.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod child;
mod common;

mod chain;
mod create;
mod damage;
mod disks;
mod durability;
mod gc;
mod holders;
mod locks;
mod lost;
mod marks;
mod memory;
mod mend;
mod mount;
mod open;
mod place;
mod promised;
mod races;
mod reach;
mod remove;
mod session;
mod smoke;
mod usage;
