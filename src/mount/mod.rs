//! Descriptors and mounts: the plan of an overlay, the ways to ask the kernel for it, and what a
//! mount is afterwards.
//!
//! Nothing here knows of stores or ids. Directories come as descriptors, and an overlay goes out
//! as the descriptor of a *detached* mount: it is usable at once (by `openat` below it), ends when
//! its last copy is closed, and [`attach`] gives it a place. A path is used only where an older
//! kernel has no other way, and then it is one of `/proc`, to a descriptor, so that no name in a store can be
//! mistaken for mount syntax.
//!
//! | file | what it is for |
//! |---|---|
//! | `plan` | what is asked for: lowers, upper, marks |
//! | `overlay` | which way is taken, and which failure is told |
//! | `context` | one file-system context, and the kernel's words in it |
//! | `place` | a mount point of a moment, for kernels that mount by path |
//! | `point` | bind, attach, unmount |
//! | `identity` | which mount a descriptor is on, in which namespace |
//! | `table` | what is mounted where |
//! | `oracle` | whether any process holds a directory as its upper |
//! | `probe` | what this kernel and file system can do, found by doing it |
//! | `spec` | the same plan as strings, for those who mount themselves |

mod context;
mod identity;
pub mod oracle;
mod overlay;
mod place;
mod plan;
mod point;
pub mod probe;
pub mod spec;
mod table;

pub use identity::{MountId, identity, is_mount_root, mounted_at, namespace_id, shows};
pub use overlay::overlay;
pub use place::is_scratch;
pub use plan::{Api, Detached, Lowers, Marks, Overlay, Upper};
pub use point::{attach, attach_at_path, bind, unmount_at, unmount_path};
pub use table::{Found, all, exists_in, find, mounts_below};

#[cfg(test)]
mod tests;

use crate::sys::fd::path as fd_path;
