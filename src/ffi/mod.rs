//! The C surface of `include/ovl.h`.
//!
//! An exported function is a thin shell: it hands its arguments to one function of `boundary`,
//! whose closure turns C values into Rust ones, calls the Rust API, and turns the answer back. The
//! boundary alone catches panics, checks handles, fills `*err` and errno, and makes the return
//! value; nothing else may be exported (`tests/abi` holds the list against the header, the symbol
//! map and these sources).
//!
//! The doc comments of what is exported are the C documentation: cbindgen copies them to the
//! header. They speak to a C programmer. What holds for every function stands once, at the top of
//! the header (`cbindgen.toml`).
//!
//! | file | what it is for |
//! |---|---|
//! | `boundary` | the one way in and out |
//! | `opts` | option structs in, result structs out |
//! | `text` | strings in and out |
//! | `constants` | the literals of the header, held against the Rust values |
//! | `error`, `cancel`, `log`, `iter` | the objects a caller holds beside a store |
//! | `stream` | descriptors and callbacks as sources and sinks |
//! | `store`, `layer`, `apply`, `diff`, `mount`, `spec`, `copy`, `usage`, `image`, `images`, `version` | the calls |
#![allow(unsafe_code)]
// The names are C's.
#![allow(non_camel_case_types)]
// What a C caller must uphold stands at the top of the header, once.
#![allow(clippy::missing_safety_doc)]

mod apply;
mod boundary;
mod cancel;
mod constants;
mod copy;
mod diff;
mod error;
mod image;
mod images;
mod info;
mod iter;
mod layer;
mod log;
mod mount;
mod opts;
mod spec;
mod store;
mod stream;
mod text;
mod usage;
mod version;
