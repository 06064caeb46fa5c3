//! `ovl_mount_spec`: how to mount a layer, for those who do it themselves.

use super::boundary::{self, not_null};
use super::constants::{OVL_SPEC_JSON, OVL_SPEC_OPTION, OVL_SPEC_SOURCE, OVL_SPEC_TYPE};
use super::error::ovl_error;
use super::iter::{Item, ovl_iter};
use super::opts::{self, Plain};
use super::store::ovl_store;
use super::text;
use crate::error::Error;
use crate::store::SpecFlags;
use std::ffi::{c_char, c_int};

/// Options of ovl_mount_spec().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_spec_opts {
    /// `OVL_SPEC_READ_ONLY`, `OVL_SPEC_OCI_JSON`, `OVL_SPEC_LONG`
    pub flags: u64,
    /// An SELinux label for every file, or NULL.
    pub label: *const c_char,
    /// With OVL_SPEC_OCI_JSON, where the layer goes in the container; NULL is "/".
    pub destination: *const c_char,
}

// SAFETY: an integer and pointers.
unsafe impl Plain for ovl_spec_opts {}

/// Tells how a layer is mounted, for mount(8), containerd or an OCI runtime, and mounts nothing.
/// libovl does not see a mount that others make: the caller sees to it that the layer is neither
/// committed nor removed meanwhile.
///
/// Returns 0 and an iterator in `*out`, which the caller frees with ovl_iter_free(). Its items:
/// `name` is a string, `what` which one: OVL_SPEC_TYPE, then OVL_SPEC_SOURCE, then OVL_SPEC_OPTION
/// for each option in their order; or, with OVL_SPEC_OCI_JSON, OVL_SPEC_JSON alone.
/// Errors: ENOENT no such layer (OVL_E_NO_LAYER); EINVAL also where a path cannot be said in a spec
/// (colon, comma, backslash) or JSON (not UTF-8); E2BIG also where the spec is longer than mount(2)
/// takes, without OVL_SPEC_LONG; EPERM the caller cannot use the store's marks (OVL_E_MARKS).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_mount_spec(
    store: *mut ovl_store,
    id: *const c_char,
    opts: *const ovl_spec_opts,
    opts_size: usize,
    out: *mut *mut ovl_iter,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("mount_spec", store, err, |store| {
        let out = not_null(out, "out")?;
        // SAFETY: as C promises of its arguments.
        let (id, opts) = unsafe { (text::bytes(id, "id")?, opts::read(opts, opts_size)?) };
        let flags: SpecFlags = opts::flags(opts.flags)?;
        // SAFETY: as C promises of its options.
        let (label, destination) =
            unsafe { (text::optional(opts.label), text::optional(opts.destination)) };
        let wants_json = flags.contains(SpecFlags::OCI_JSON);
        if destination.is_some() && !wants_json {
            return Err(Error::invalid("destination goes with OVL_SPEC_OCI_JSON"));
        }
        let spec = store.store.mount_spec(id, flags, label)?;
        let items = if wants_json {
            let json = spec.to_oci_json(destination.unwrap_or(b"/"))?;
            vec![Item::new(OVL_SPEC_JSON, json, "")]
        } else {
            let mut items = vec![
                Item::new(OVL_SPEC_TYPE, spec.fs_type, ""),
                Item::new(OVL_SPEC_SOURCE, spec.source, ""),
            ];
            let options = spec.options.into_iter();
            items.extend(options.map(|option| Item::new(OVL_SPEC_OPTION, option, "")));
            items
        };
        // SAFETY: not NULL, and C says it is valid for a write of a pointer.
        unsafe { boundary::give(out, ovl_iter::new(items)) };
        Ok(0)
    })
}
