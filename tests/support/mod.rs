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

/// How many threads of this process are called so. Those of other tests count, too.
pub fn threads_named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // One that has ended meanwhile has no name.
    tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .filter(|comm| comm.trim_end() == name)
        .count()
}
