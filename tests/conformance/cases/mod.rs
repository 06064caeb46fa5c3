//! The cases.
pub mod graph;
