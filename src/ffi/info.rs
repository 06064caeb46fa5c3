//! `struct ovl_layer_info`: what is known of a layer.

use super::constants::{OVL_KIND_OVERLAY, OVL_KIND_ROOT, OVL_STATE_COMMITTED, OVL_STATE_WRITABLE};
use super::opts::Plain;
use super::text;
use crate::store::{Kind, LayerInfo, State};
use std::ffi::c_char;

/// What is known of a layer. Strings end in NUL, and are "" where there is nothing to say.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_layer_info {
    /// The layer.
    pub id: [c_char; 136],
    /// The layer that it is built on.
    pub parent: [c_char; 136],
    /// "sha256:" and 64 digits: the digest of the uncompressed layer tar, where it is known.
    pub diff_id: [c_char; 136],
    /// The digest of the bytes that ovl_apply_layer() was given, compressed or not, where it is
    /// known.
    pub blob_digest: [c_char; 136],
    /// The layer whose changes this one began with.
    pub copied_from: [c_char; 136],
    /// OVL_KIND_ROOT or OVL_KIND_OVERLAY.
    pub kind: u32,
    /// OVL_STATE_WRITABLE or OVL_STATE_COMMITTED.
    pub state: u32,
    /// Bytes of its own: regular files and symlink targets of the layer's tar that are there at its
    /// end, each link group once. Of a writable layer what it was applied with, or 0: see
    /// ovl_diff_size().
    pub size: u64,
    /// Entries of the layer tar, where a tar was read or written; else 0.
    pub entries: u64,
    /// Bytes of the uncompressed layer tar, where a tar was read or written.
    pub tar_size: u64,
    /// Bytes that ovl_apply_layer() was given.
    pub blob_size: u64,
    /// When it was made, in seconds since 1970,
    pub created_sec: i64,
    /// and nanoseconds.
    pub created_nsec: u32,
    /// How many layers it lies on.
    pub lowers: u32,
    /// 1 if it is mounted, or a mount handle is open; else 0.
    pub mounted: u32,
    /// 1 if the machine went down, or the disk was mounted anew, while it was mounted writable, so
    /// that what was not synced may be lost; else 0. Told until it is mounted writable again, or
    /// committed; never of mounts that others made of ovl_mount_spec()'s words.
    pub unclean: u32,
    /// Left out by the call that filled this: device nodes that could not be made.
    pub skipped_devices: u64,
    /// Left out: owners that could not be set; of a diff, entries whose owner the caller's user
    /// namespace has not.
    pub skipped_owners: u64,
    /// Left out: extended attributes that could not be set; of a diff, entries with attributes that
    /// are called like overlayfs's own, or with a capability that the caller's user namespace has not.
    pub skipped_xattrs: u64,
    /// Left out: sockets, which a tar cannot say.
    pub skipped_sockets: u64,
    /// Left out: files whose names begin with ".wh.", which would be whiteouts in a tar.
    pub skipped_names: u64,
}

// SAFETY: integers.
unsafe impl Plain for ovl_layer_info {}

impl From<&LayerInfo> for ovl_layer_info {
    fn from(info: &LayerInfo) -> Self {
        let digest = |digest: &Option<crate::archive::Digest>| {
            text::array(&digest.as_ref().map(ToString::to_string).unwrap_or_default())
        };
        ovl_layer_info {
            id: text::array(&info.id),
            parent: text::array(info.parent.as_deref().unwrap_or_default()),
            diff_id: digest(&info.diff_id),
            blob_digest: digest(&info.blob_digest),
            copied_from: text::array(info.copied_from.as_deref().unwrap_or_default()),
            kind: match info.kind {
                Kind::Root => OVL_KIND_ROOT,
                Kind::Overlay => OVL_KIND_OVERLAY,
            },
            state: match info.state {
                State::Writable => OVL_STATE_WRITABLE,
                State::Committed => OVL_STATE_COMMITTED,
            },
            size: info.size,
            entries: info.entries,
            tar_size: info.tar_size,
            blob_size: info.blob_size,
            created_sec: info.created.sec,
            created_nsec: info.created.nsec,
            lowers: info.lowers,
            mounted: u32::from(info.mounted),
            unclean: u32::from(info.unclean),
            skipped_devices: info.skipped_devices,
            skipped_owners: info.skipped_owners,
            skipped_xattrs: info.skipped_xattrs,
            skipped_sockets: info.skipped_sockets,
            skipped_names: info.skipped_names,
        }
    }
}
