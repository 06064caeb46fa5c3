//! Images, through the Rust API: archives that the tests make themselves, byte by byte.
//!
//! | file | what it holds |
//! |---|---|
//! | `make` | images, layouts and docker save archives |
//! | `common` | a store, and short names for its calls |
//! | `import` | what becomes of an archive, of every sort |
//! | `choice` | which of several images |
//! | `bounds` | what an archive may cost: descriptors, names, memory |
//! | `links` | links in an archive, as when it is unpacked |
//! | `hostile` | wrong digests, cut archives, links out of it, junk, and mutations of all sorts |
//! | `share` | layers that images share, replacing, removing |
//! | `export` | layouts back out |
//! | `check` | damage, and what is kept of it |
//! | `kill`, `race` | killed at any moment; several at once; a full disk |
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod check;
mod choice;
mod common;
mod export;
mod hostile;
mod import;
mod kill;
mod links;
mod make;
mod race;
mod share;
