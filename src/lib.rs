//! libovl: an embedded container-layer store.
//!
//! A [`store::Store`] is a directory of layers. A layer is made empty ([`store::Store::create`])
//! or of a layer tar ([`store::Store::apply`]), mounted with overlayfs
//! ([`store::Store::mount`]), compared ([`store::Store::diff`], [`store::Store::changes`]),
//! committed and removed. [`tree::copy_dir`] copies directory trees with all that they carry.
//! The C functions of `include/ovl.h` wrap this API.
//!
//! ```no_run
//! use ovl::archive::FromRead;
//! use ovl::store::{ApplyOptions, CreateFlags, MountOptions, OpenOptions, Store, UnmountFlags};
//! use ovl::watch::Watch;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let watch = &mut Watch::default();
//! let store = Store::open(b"/var/lib/layers", OpenOptions::default())?;
//! let mut tar = FromRead(std::fs::File::open("base.tar.gz")?);
//! store.apply(b"base", &mut tar, &ApplyOptions::default(), watch)?;
//! store.create(b"box", Some(b"base"), CreateFlags::empty(), watch)?;
//! let mount = store.mount(b"box", &MountOptions::default())?;
//! println!("{}", mount.path().escape_ascii());
//! mount.unmount(UnmountFlags::empty()).map_err(|(_, error)| error)?;
//! # Ok(())
//! # }
//! ```
//!
//! The rooms of the house, each with one-way dependencies to those after it:
//! `ffi` → [`store`] → {[`layer`], [`mount`]} → {[`archive`], [`oci`], [`tree`]} → [`sys`].
//! What the crate promises is [`store`], [`tree::copy_dir`], [`archive`], [`error`] and [`watch`];
//! the other rooms are open for its own tests, and may change.
#![warn(missing_docs)]

pub mod archive;
mod bell;
mod digits;
pub mod error;
#[cfg(feature = "capi")]
pub mod ffi;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[doc(hidden)]
pub mod layer;
#[doc(hidden)]
pub mod mount;
#[doc(hidden)]
pub mod oci;
mod relay;
pub mod store;
#[doc(hidden)]
pub mod sys;
pub mod tree;
pub mod watch;
