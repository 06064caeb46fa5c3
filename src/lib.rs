//! libovl: an embedded container-layer store.
#![warn(missing_docs)]

pub mod archive;
pub mod error;
pub mod layer;
pub mod mount;
pub mod store;
pub mod sys;
pub mod tree;
pub mod watch;
