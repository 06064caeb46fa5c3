//! The cases.
pub mod error;
pub mod graph;
pub mod snapshot;
pub mod watch;
