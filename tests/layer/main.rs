//! Applying layer tars and telling differences, through the store.
//!
//! `reference` says what a tar means without overlayfs; everything else compares with it or with
//! what was really done in a mount.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod container;
mod containers;
mod cost;
mod dialect;
mod durable;
mod equal;
mod fail;
mod foreign;
mod full;
mod hostile;
mod interop;
mod lab;
mod marks;
mod moving;
mod noted;
mod output;
mod peers;
mod race;
mod random;
mod reference;
mod refuse;
mod stop;
mod stream;
mod tar;
mod threads;
mod truth;
mod unsaid;
mod view;
mod work;
