//! The bodies of the fuzz targets of `fuzz/`, compiled for them and for tests alone.
//!
//! A target is a function of bytes that panics where a promise is broken. The test here runs all
//! targets over the seeds and over the inputs that once broke something. See `docs/fuzzing.md`.
#![allow(missing_docs)]

pub use crate::archive::fuzzing::{gzip, names, pax, roundtrip, sparse, tar, zstd};
pub use crate::store::fuzzing::{apply, image, layers, metadata};

#[cfg(test)]
mod image_seeds;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod seeds;
