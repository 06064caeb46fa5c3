//! What the integration tests share: what the machine has, scratch file systems, an independent
//! look at trees, and a tree of everything that a tree can hold.
//!
//! A test folder includes it with `#[path = "../support/mod.rs"] mod support;`. None of it uses
//! libovl: what judges the library must not lean on it.
#![allow(dead_code, unused_macros, unused_imports)]

#[macro_use]
pub mod have;
pub mod fsys;
pub mod rng;
pub mod torture;
pub mod tree;
