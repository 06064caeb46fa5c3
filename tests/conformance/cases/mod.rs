//! The cases.
pub mod change;
pub mod error;
pub mod graph;
pub mod snapshot;
pub mod store;
pub mod tools;
pub mod watch;
