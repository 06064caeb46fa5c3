//! Directory trees by descriptor: descend, copy, compare, remove.
//!
//! Nothing here builds a path for the kernel: every inode is reached by its name in an open
//! directory, so a tree may be deeper than `PATH_MAX` and may change underneath without leading
//! anybody outside. Paths exist for messages only.

pub mod aside;
pub mod attrs;
pub mod chain;
pub mod compare;
pub mod copier;
pub mod copy;
mod copying;
pub mod crew;
pub mod data;
pub mod groups;
pub mod inode;
pub mod remove;
mod walk;

pub use crate::sys::thread::Threads;
pub use copy::{CopyFlags, CopyOptions, CopyStats, Reflink, copy_dir};
pub use remove::{remove_contents, remove_contents_by, remove_tree};
