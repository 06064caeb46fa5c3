//! The store through its Rust API.
#[macro_use]
#[path = "../support/mod.rs"]
mod support;
mod smoke;
