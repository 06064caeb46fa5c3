//! The numbers of the header, as literals, so that cbindgen prints them as they are; each is held
//! against the Rust value that it stands for.

use crate::error::Code;
use crate::store::{
    ApplyFlags, CheckFlags, CommitFlags, CreateFlags, DiffFlags, ImportFlags, LogLevel, MountFlags,
    OpenFlags, RemoveFlags, SpecFlags, UnmountFlags,
};
use crate::tree::CopyFlags;

/// This header's version. ovl_version() has that of the library.
pub const OVL_VERSION_MAJOR: u32 = 0;
/// See OVL_VERSION_MAJOR.
pub const OVL_VERSION_MINOR: u32 = 1;
/// See OVL_VERSION_MAJOR.
pub const OVL_VERSION_PATCH: u32 = 0;

/// A system call failed; errno says how.
pub const OVL_E_SYSTEM: u32 = 1;
/// An argument, option or flag that is not allowed.
pub const OVL_E_INVALID: u32 = 2;
/// The layer is not there.
pub const OVL_E_NO_LAYER: u32 = 3;
/// The layer is there already.
pub const OVL_E_LAYER_EXISTS: u32 = 4;
/// Other layers are built on this one.
pub const OVL_E_HAS_CHILDREN: u32 = 5;
/// The layer is mounted, or a mount handle is open.
pub const OVL_E_MOUNTED: u32 = 6;
/// Another caller is working on the layer.
pub const OVL_E_LOCKED: u32 = 7;
/// The layer is committed and never changes again.
pub const OVL_E_COMMITTED: u32 = 8;
/// The layer, or its parent, is not committed yet.
pub const OVL_E_NOT_COMMITTED: u32 = 9;
/// The archive is malformed.
pub const OVL_E_ARCHIVE: u32 = 10;
/// The archive ends before its end.
pub const OVL_E_TRUNCATED: u32 = 11;
/// A digest differs from the one given.
pub const OVL_E_DIGEST: u32 = 12;
/// A limit of the options was reached.
pub const OVL_E_LIMIT: u32 = 13;
/// A path leaves its root, or another mount is in the way.
pub const OVL_E_ESCAPE: u32 = 14;
/// The kernel or the file system cannot do it, and there is no way around.
pub const OVL_E_UNSUPPORTED: u32 = 15;
/// The caller cancelled.
pub const OVL_E_CANCELLED: u32 = 16;
/// A bug of the library was caught.
pub const OVL_E_BUG: u32 = 17;
/// A handle was used in a forked child.
pub const OVL_E_FORKED: u32 = 18;
/// The store has a format that this library does not know.
pub const OVL_E_FORMAT: u32 = 19;
/// The directory is not a store, or part of it is damaged.
pub const OVL_E_DAMAGED: u32 = 20;
/// The caller may not use the store's marks (`trusted.*` needs privilege).
pub const OVL_E_MARKS: u32 = 21;
/// A strict call met something that it can only do in part.
pub const OVL_E_STRICT: u32 = 22;
/// The destination exists and is not empty.
pub const OVL_E_NOT_EMPTY: u32 = 23;
/// A caller's callback failed.
pub const OVL_E_CALLBACK: u32 = 24;
/// The machine went down while the layer was mounted writable: data may be lost.
pub const OVL_E_UNCLEAN: u32 = 25;
/// The image is not there.
pub const OVL_E_NO_IMAGE: u32 = 26;
/// Somebody changed what was being read: the same call may succeed the next time.
pub const OVL_E_CHANGED: u32 = 27;

/// ovl_store_open(): the store must be there; a missing or empty directory is not made one.
pub const OVL_STORE_MUST_EXIST: u64 = 1;
/// ovl_store_open(): nothing in the store is changed; calls that would are -EROFS.
pub const OVL_STORE_READ_ONLY: u64 = 2;
/// ovl_store_opts.marks: what the store has; for a new one, what the caller may set.
pub const OVL_MARKS_AUTO: u32 = 0;
/// ovl_store_opts.marks: `trusted.overlay.*`, which needs CAP_SYS_ADMIN.
pub const OVL_MARKS_TRUSTED: u32 = 1;
/// ovl_store_opts.marks: `user.overlay.*`, which any owner may set.
pub const OVL_MARKS_USER: u32 = 2;

/// Log level: something failed that no return value tells.
pub const OVL_LOG_ERROR: u32 = 1;
/// Log level: something that a person should look at.
pub const OVL_LOG_WARNING: u32 = 2;
/// Log level: what is done.
pub const OVL_LOG_INFO: u32 = 3;
/// Log level: how it is done.
pub const OVL_LOG_DEBUG: u32 = 4;

/// ovl_create(): accept that a mounted parent changes while it is copied.
pub const OVL_CREATE_LIVE: u64 = 1;
/// ovl_create(): a committed `root` layer of the parent's merged tree, by hard links, instead of
/// one more level.
pub const OVL_CREATE_FLAT: u64 = 2;
/// ovl_create(): the new layer is on the disk when the call returns.
pub const OVL_CREATE_SYNC: u64 = 4;

/// ovl_apply_layer(): leave the layer writable.
pub const OVL_APPLY_WRITABLE: u64 = 1;
/// ovl_apply_layer(): fail with OVL_E_STRICT where otherwise something is left out and counted.
pub const OVL_APPLY_STRICT: u64 = 2;
/// ovl_apply_layer(): leave out device nodes, and count them; with OVL_APPLY_STRICT, fail.
pub const OVL_APPLY_NO_DEVICES: u64 = 4;
/// ovl_apply_layer(): the layer must be there; none is made.
pub const OVL_APPLY_EXISTING: u64 = 8;
/// ovl_apply_opts.kind: overlay where there is a parent and the store can hold an upper, else root.
pub const OVL_KIND_DEFAULT: u32 = 0;
/// ovl_apply_opts.kind: a complete tree. Also in ovl_layer_info.kind.
pub const OVL_KIND_ROOT: u32 = 1;
/// ovl_apply_opts.kind: only the changes, over the parent. Also in ovl_layer_info.kind.
pub const OVL_KIND_OVERLAY: u32 = 2;
/// ovl_layer_info.state: the layer can be changed.
pub const OVL_STATE_WRITABLE: u32 = 1;
/// ovl_layer_info.state: the layer never changes again.
pub const OVL_STATE_COMMITTED: u32 = 2;
/// Durability: what is usual for the call; OVL_DURABILITY_FULL for what becomes committed.
pub const OVL_DURABILITY_DEFAULT: u32 = 0;
/// Durability: nothing is synced. A power cut may take the layer, or leave it damaged.
pub const OVL_DURABILITY_NONE: u32 = 1;
/// Durability: the layer is on the disk when the call returns.
pub const OVL_DURABILITY_FULL: u32 = 2;
/// Durability: as full, and the content is read back, and its digests are kept.
pub const OVL_DURABILITY_VERIFIED: u32 = 3;

/// ovl_commit(): accept what the layer holds now, though the machine went down while it was mounted
/// writable, and what was not synced then may be lost.
pub const OVL_COMMIT_SALVAGE: u64 = 1;
/// ovl_commit(): the layer may be mounted, by whoever; the caller sees to it that nobody writes to it
/// any more.
pub const OVL_COMMIT_MOUNTED: u64 = 2;

/// ovl_remove(): leave the files for a later ovl_cleanup().
pub const OVL_REMOVE_DEFER: u64 = 1;

/// ovl_mount(): refuse writes.
pub const OVL_MOUNT_READ_ONLY: u64 = 1;
/// ovl_mount(): the mount stays when its last handle is freed, until it is unmounted.
pub const OVL_MOUNT_KEEP: u64 = 2;
/// ovl_mount(): no path; the mount is a descriptor (ovl_mnt_fd()), and ends with its last copy.
pub const OVL_MOUNT_DETACHED: u64 = 4;
/// ovl_mount(): never sync the upper: for layers that are thrown away. ovl_commit() syncs it, and
/// so does a later mount without this. If the machine goes down before, the layer is OVL_E_UNCLEAN.
/// With OVL_MOUNT_READ_ONLY there is nothing to sync, and it says nothing.
pub const OVL_MOUNT_VOLATILE: u64 = 8;
/// ovl_unmount(), ovl_unmount_at(): detach now, and end when the last user is gone.
pub const OVL_UNMOUNT_LAZY: u64 = 1;
/// ovl_mount_spec(): a spec of a read-only mount.
pub const OVL_SPEC_READ_ONLY: u64 = 1;
/// ovl_mount_spec(): one item, the mount as an entry of `mounts` in an OCI runtime configuration.
pub const OVL_SPEC_OCI_JSON: u64 = 2;
/// ovl_mount_spec(): options longer than the one page of mount(2) too, for a caller that shortens them
/// (relative to a common directory, as containerd does) or gives them to fsconfig(2).
pub const OVL_SPEC_LONG: u64 = 4;
/// ovl_item.what of ovl_mount_spec(): the type of the file system, once.
pub const OVL_SPEC_TYPE: u32 = 1;
/// ovl_item.what of ovl_mount_spec(): the source, once.
pub const OVL_SPEC_SOURCE: u32 = 2;
/// ovl_item.what of ovl_mount_spec(): one option.
pub const OVL_SPEC_OPTION: u32 = 3;
/// ovl_item.what of ovl_mount_spec(): the entry in JSON.
pub const OVL_SPEC_JSON: u32 = 4;

/// ovl_diff(): fail with OVL_E_STRICT where otherwise something is left out and counted.
pub const OVL_DIFF_STRICT: u64 = 1;
/// ovl_diff(): keep holes; else files are written dense, which every reader of tars understands.
pub const OVL_DIFF_SPARSE: u64 = 2;
/// ovl_diff(): no time is later than ovl_diff_opts.clamp_sec and clamp_nsec.
pub const OVL_DIFF_CLAMP: u64 = 4;
/// ovl_item.what of ovl_changes(): the path is new.
pub const OVL_CHANGE_ADD: u32 = 65;
/// ovl_item.what of ovl_changes(): the path was there, and is another now.
pub const OVL_CHANGE_MODIFY: u32 = 67;
/// ovl_item.what of ovl_changes(): the path is gone.
pub const OVL_CHANGE_DELETE: u32 = 68;

/// ovl_check(): mend what can be mended without losing anything.
pub const OVL_CHECK_REPAIR: u64 = 1;
/// ovl_item.what of ovl_check(): damage.
pub const OVL_CHECK_DAMAGE: u32 = 0;
/// ovl_item.what of ovl_check(): damage that was mended.
pub const OVL_CHECK_REPAIRED: u32 = 1;
/// ovl_item.what of ovl_check(): no damage, but something that could not be looked at.
pub const OVL_CHECK_NOTE: u32 = 2;

/// ovl_copy_dir(): link files to the source's instead of copying their content.
pub const OVL_COPY_HARD_LINK: u64 = 1;
/// ovl_copy_dir(): fail where otherwise something is done in part and counted.
pub const OVL_COPY_STRICT: u64 = 2;
/// ovl_copy_dir(): leave out overlayfs's own attributes (`trusted.overlay.*`, `user.overlay.*`).
pub const OVL_COPY_NO_OVERLAY_XATTRS: u64 = 4;
/// ovl_copy_dir(): the copy is on the disk when the call returns.
pub const OVL_COPY_SYNC: u64 = 8;
/// ovl_copy_opts.reflink: share the content of a file where the file system can, else copy it.
pub const OVL_REFLINK_AUTO: u32 = 0;
/// ovl_copy_opts.reflink: share it, or fail.
pub const OVL_REFLINK_ALWAYS: u32 = 1;
/// ovl_copy_opts.reflink: never share it.
pub const OVL_REFLINK_NEVER: u32 = 2;

/// ovl_image_import(): keep the layers' blobs as they came, beside the manifest and the config, so
/// that an export is what was imported, byte for byte.
pub const OVL_IMPORT_KEEP_BLOBS: u64 = 1;
/// ovl_image_import(): as OVL_APPLY_STRICT, for every layer; one that is there already must be
/// whole too.
pub const OVL_IMPORT_STRICT: u64 = 2;
/// ovl_image_import(): as OVL_APPLY_NO_DEVICES, for every layer that is made.
pub const OVL_IMPORT_NO_DEVICES: u64 = 4;
/// ovl_item.what of ovl_image_config(): `name` is the config as it came, byte for byte; once.
pub const OVL_CONFIG_JSON: u32 = 1;
/// ovl_item.what of ovl_image_config(): `name` is one "KEY=value" of the environment.
pub const OVL_CONFIG_ENV: u32 = 2;
/// ovl_item.what of ovl_image_config(): `name` is one word of the entrypoint, with which the
/// command begins.
pub const OVL_CONFIG_ENTRYPOINT: u32 = 3;
/// ovl_item.what of ovl_image_config(): `name` is one word of the rest of the command.
pub const OVL_CONFIG_CMD: u32 = 4;
/// ovl_item.what of ovl_image_config(): `name` is the directory in which the command starts.
pub const OVL_CONFIG_WORKING_DIR: u32 = 5;
/// ovl_item.what of ovl_image_config(): `name` is whom the command runs as: "user", "uid",
/// "user:group" or "uid:gid".
pub const OVL_CONFIG_USER: u32 = 6;
/// ovl_item.what of ovl_image_config(): `name` is the value of a label, `detail` its key.
pub const OVL_CONFIG_LABEL: u32 = 7;
/// ovl_item.what of ovl_image_config(): `name` is the id of a layer, the lowest first, `detail` its
/// diff ID.
pub const OVL_CONFIG_LAYER: u32 = 8;

const _: () = {
    assert!(number(env!("CARGO_PKG_VERSION_MAJOR")) == OVL_VERSION_MAJOR);
    assert!(number(env!("CARGO_PKG_VERSION_MINOR")) == OVL_VERSION_MINOR);
    assert!(number(env!("CARGO_PKG_VERSION_PATCH")) == OVL_VERSION_PATCH);
    assert!(Code::System as u32 == OVL_E_SYSTEM);
    assert!(Code::Invalid as u32 == OVL_E_INVALID);
    assert!(Code::NoLayer as u32 == OVL_E_NO_LAYER);
    assert!(Code::LayerExists as u32 == OVL_E_LAYER_EXISTS);
    assert!(Code::HasChildren as u32 == OVL_E_HAS_CHILDREN);
    assert!(Code::Mounted as u32 == OVL_E_MOUNTED);
    assert!(Code::Locked as u32 == OVL_E_LOCKED);
    assert!(Code::Committed as u32 == OVL_E_COMMITTED);
    assert!(Code::NotCommitted as u32 == OVL_E_NOT_COMMITTED);
    assert!(Code::Archive as u32 == OVL_E_ARCHIVE);
    assert!(Code::Truncated as u32 == OVL_E_TRUNCATED);
    assert!(Code::Digest as u32 == OVL_E_DIGEST);
    assert!(Code::Limit as u32 == OVL_E_LIMIT);
    assert!(Code::Escape as u32 == OVL_E_ESCAPE);
    assert!(Code::Unsupported as u32 == OVL_E_UNSUPPORTED);
    assert!(Code::Cancelled as u32 == OVL_E_CANCELLED);
    assert!(Code::Bug as u32 == OVL_E_BUG);
    assert!(Code::Forked as u32 == OVL_E_FORKED);
    assert!(Code::Format as u32 == OVL_E_FORMAT);
    assert!(Code::Damaged as u32 == OVL_E_DAMAGED);
    assert!(Code::Marks as u32 == OVL_E_MARKS);
    assert!(Code::Strict as u32 == OVL_E_STRICT);
    assert!(Code::NotEmpty as u32 == OVL_E_NOT_EMPTY);
    assert!(Code::Callback as u32 == OVL_E_CALLBACK);
    assert!(Code::Unclean as u32 == OVL_E_UNCLEAN);
    assert!(Code::NoImage as u32 == OVL_E_NO_IMAGE);
    assert!(Code::Changed as u32 == OVL_E_CHANGED);
    assert!(LogLevel::Error as u32 == OVL_LOG_ERROR);
    assert!(LogLevel::Warning as u32 == OVL_LOG_WARNING);
    assert!(LogLevel::Info as u32 == OVL_LOG_INFO);
    assert!(LogLevel::Debug as u32 == OVL_LOG_DEBUG);
    assert!(OpenFlags::MUST_EXIST.bits() == OVL_STORE_MUST_EXIST);
    assert!(OpenFlags::READ_ONLY.bits() == OVL_STORE_READ_ONLY);
    assert!(OpenFlags::all().bits() == 3);
    assert!(CreateFlags::LIVE.bits() == OVL_CREATE_LIVE);
    assert!(CreateFlags::FLAT.bits() == OVL_CREATE_FLAT);
    assert!(CreateFlags::SYNC.bits() == OVL_CREATE_SYNC);
    assert!(CreateFlags::all().bits() == 7);
    assert!(ApplyFlags::WRITABLE.bits() == OVL_APPLY_WRITABLE);
    assert!(ApplyFlags::STRICT.bits() == OVL_APPLY_STRICT);
    assert!(ApplyFlags::NO_DEVICES.bits() == OVL_APPLY_NO_DEVICES);
    assert!(ApplyFlags::EXISTING.bits() == OVL_APPLY_EXISTING);
    assert!(ApplyFlags::all().bits() == 15);
    assert!(MountFlags::READ_ONLY.bits() == OVL_MOUNT_READ_ONLY);
    assert!(MountFlags::KEEP.bits() == OVL_MOUNT_KEEP);
    assert!(MountFlags::DETACHED.bits() == OVL_MOUNT_DETACHED);
    assert!(MountFlags::VOLATILE.bits() == OVL_MOUNT_VOLATILE);
    assert!(MountFlags::all().bits() == 15);
    assert!(CommitFlags::SALVAGE.bits() == OVL_COMMIT_SALVAGE);
    assert!(CommitFlags::MOUNTED.bits() == OVL_COMMIT_MOUNTED);
    assert!(CommitFlags::all().bits() == 3);
    assert!(RemoveFlags::DEFER.bits() == OVL_REMOVE_DEFER);
    assert!(RemoveFlags::all().bits() == 1);
    assert!(UnmountFlags::LAZY.bits() == OVL_UNMOUNT_LAZY);
    assert!(UnmountFlags::all().bits() == 1);
    assert!(SpecFlags::READ_ONLY.bits() == OVL_SPEC_READ_ONLY);
    assert!(SpecFlags::OCI_JSON.bits() == OVL_SPEC_OCI_JSON);
    assert!(SpecFlags::LONG.bits() == OVL_SPEC_LONG);
    assert!(SpecFlags::all().bits() == 7);
    assert!(DiffFlags::STRICT.bits() == OVL_DIFF_STRICT);
    assert!(DiffFlags::SPARSE.bits() == OVL_DIFF_SPARSE);
    assert!(DiffFlags::CLAMP.bits() == OVL_DIFF_CLAMP);
    assert!(DiffFlags::all().bits() == 7);
    assert!(CheckFlags::REPAIR.bits() == OVL_CHECK_REPAIR);
    assert!(CheckFlags::all().bits() == 1);
    assert!(CopyFlags::HARD_LINK.bits() == OVL_COPY_HARD_LINK);
    assert!(CopyFlags::STRICT.bits() == OVL_COPY_STRICT);
    assert!(CopyFlags::NO_OVERLAY_XATTRS.bits() == OVL_COPY_NO_OVERLAY_XATTRS);
    assert!(CopyFlags::SYNC.bits() == OVL_COPY_SYNC);
    assert!(CopyFlags::all().bits() == 15);
    assert!(ImportFlags::KEEP_BLOBS.bits() == OVL_IMPORT_KEEP_BLOBS);
    assert!(ImportFlags::STRICT.bits() == OVL_IMPORT_STRICT);
    assert!(ImportFlags::NO_DEVICES.bits() == OVL_IMPORT_NO_DEVICES);
    assert!(ImportFlags::all().bits() == 7);
    assert!(OVL_CHANGE_ADD == b'A' as u32);
    assert!(OVL_CHANGE_MODIFY == b'C' as u32);
    assert!(OVL_CHANGE_DELETE == b'D' as u32);
};

/// A decimal number.
const fn number(text: &str) -> u32 {
    let mut rest = text.as_bytes();
    let mut value = 0;
    while let [digit, more @ ..] = rest {
        value = value * 10 + (*digit - b'0') as u32;
        rest = more;
    }
    value
}
