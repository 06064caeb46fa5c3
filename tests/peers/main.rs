//! What libovl writes and reads, next to the layer code of others: GNU tar and bsdtar, and the
//! archive packages of containerd, moby and umoci, which `main.go` here links.
//!
//! Every difference is a row of a table, and every row is shown to be needed; a difference without a
//! row fails. `docs/interop.md` tells the rows to users.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;
#[path = "../layer/lab.rs"]
#[allow(dead_code)]
mod lab;
#[path = "../layer/tar.rs"]
#[allow(dead_code)]
mod tar;

mod appliers;
mod dialects;
mod differs;
mod large;
mod peer;
mod rng;
mod suite;
mod trees;
