//! Images: a name for a chain of layers, from an archive and to one.

use super::apply::{kind, limits};
use super::boundary;
use super::cancel::{Control, ovl_cancel, ovl_progress_fn};
use super::error::ovl_error;
use super::layer::durability;
use super::opts::{self, Plain};
use super::store::ovl_store;
use super::stream::{self, ovl_read_fn, ovl_write_fn};
use super::text;
use crate::error::{Result, SysResult};
use crate::store::{Archive, ExportOptions, ImageInfo, ImportOptions, Target};
use crate::sys::fs::{self, Kind};
use std::ffi::{c_char, c_int, c_void};

/// Options of ovl_image_import(). A limit of 0 is the library's own, as with ovl_apply_layer(), and
/// holds for each layer.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_image_import_opts {
    /// `OVL_IMPORT_...`
    pub flags: u64,
    /// Which image of an archive that holds several: its name, the end of it after a slash, or its
    /// tag; NULL for the only one.
    pub r#ref: *const c_char,
    /// For which platform, "os/architecture" or "os/architecture/variant", where there are several;
    /// NULL for Linux on this machine.
    pub platform: *const c_char,
    /// `OVL_KIND_...`, of the layers that have a parent.
    pub kind: u32,
    /// `OVL_DURABILITY_...`
    pub durability: u32,
    /// Limit: bytes of an uncompressed layer tar; 64 GiB. Also of an archive that comes as a stream
    /// or compressed, when it is uncompressed.
    pub max_size: u64,
    /// Limit: entries of a layer; 16,777,216.
    pub max_entries: u64,
    /// Limit: bytes of one header of an entry; 1 MiB.
    pub max_meta: u64,
    /// Limit: bytes of the extended attributes of one entry; 1 MiB.
    pub max_xattrs: u64,
    /// Limit: bytes of one path; 64 KiB as it is written, 16 KiB as it is on the disk.
    pub max_path: u64,
    /// Limit: the window of a zstd stream, as a power of two; 27, at most 31.
    pub zstd_window_log: u32,
    /// 0.
    pub reserved: u32,
    /// Where the bytes of the archive come from when `fd` is -1; else NULL.
    pub read: ovl_read_fn,
    /// Handed to `read`.
    pub read_user: *mut c_void,
    /// Stops the call when it is raised, or NULL.
    pub cancel: *mut ovl_cancel,
    /// Is told how far the call is, or NULL.
    pub progress: ovl_progress_fn,
    /// Handed to `progress`.
    pub progress_user: *mut c_void,
}

// SAFETY: integers, pointers, and function pointers in an `Option`.
unsafe impl Plain for ovl_image_import_opts {}

/// Options of ovl_image_export().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_image_export_opts {
    /// 0.
    pub flags: u64,
    /// What the layout calls the image (org.opencontainers.image.ref.name); NULL for the tag of its
    /// name, or "latest".
    pub r#ref: *const c_char,
    /// Where the bytes go when `fd` is -1; else NULL.
    pub write: ovl_write_fn,
    /// Handed to `write`.
    pub write_user: *mut c_void,
    /// Stops the call when it is raised, or NULL.
    pub cancel: *mut ovl_cancel,
    /// Is told how far the call is, or NULL.
    pub progress: ovl_progress_fn,
    /// Handed to `progress`.
    pub progress_user: *mut c_void,
}

// SAFETY: as above.
unsafe impl Plain for ovl_image_export_opts {}

/// What is known of an image. Strings end in NUL, and are "" where there is nothing to say.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_image_info {
    /// Its topmost layer, which a container is created over; "" for an image without layers.
    pub layer: [c_char; 136],
    /// "sha256:" and 64 digits: the digest of the manifest that it was imported from, or that
    /// ovl_image_export() wrote; "" where docker save told none.
    pub manifest: [c_char; 136],
    /// The digest of its config: the image ID.
    pub config: [c_char; 136],
    /// The sizes of its layers, as in ovl_layer_info.size, together.
    pub size: u64,
    /// How many layers it has.
    pub layers: u64,
    /// When it was imported, in seconds since 1970,
    pub created_sec: i64,
    /// and nanoseconds.
    pub created_nsec: u32,
    /// 1 if the originals are kept, or were written; else 0.
    pub blobs: u32,
    /// Left out of its layers: device nodes that could not be made; of those that were there
    /// before, too. 0 in a stat.
    pub skipped_devices: u64,
    /// Left out: owners that could not be set.
    pub skipped_owners: u64,
    /// Left out: extended attributes that could not be set; of an export, entries with attributes
    /// that are called like overlayfs's own.
    pub skipped_xattrs: u64,
    /// How many layers the import made; the others were there.
    pub made: u64,
}

// SAFETY: integers.
unsafe impl Plain for ovl_image_info {}

impl From<&ImageInfo> for ovl_image_info {
    fn from(info: &ImageInfo) -> Self {
        let digest = |digest: &Option<crate::archive::Digest>| {
            text::array(&digest.as_ref().map(ToString::to_string).unwrap_or_default())
        };
        ovl_image_info {
            layer: text::array(info.layer.as_deref().unwrap_or_default()),
            manifest: digest(&info.manifest),
            config: digest(&info.config),
            size: info.size,
            layers: info.layers,
            created_sec: info.created.sec,
            created_nsec: info.created.nsec,
            blobs: u32::from(info.blobs),
            skipped_devices: info.skipped_devices,
            skipped_owners: info.skipped_owners,
            skipped_xattrs: info.skipped_xattrs,
            made: info.made,
        }
    }
}

/// Makes the image `name` of an archive: an OCI layout or what docker save writes. `fd` is a
/// directory (a layout, or an unpacked docker save), or the tar of one, plain or compressed by gzip
/// or zstd: a file, which is read from where it stands to its end and not moved, or a pipe or a
/// socket; or -1 for the callback `read`. The descriptor stays the caller's. Nothing is fetched
/// from anywhere.
///
/// `name` is 1 to 200 of "A-Z a-z 0-9 . _ - + @ /" and at most one colon, begins with a letter or
/// digit, and has no empty part, "." or ".." between slashes.
///
/// Every digest and size is verified: of the manifest, the config and each layer. The layers are
/// named by their chain IDs, "sha256-" and 64 digits. Those that are there are used, also by
/// several imports at once; the others are made, and are committed. The image appears, or takes the
/// place of one of its name, at once, and is on the disk when the call returns, unless the options
/// say otherwise. Layers of an image that is replaced go as by ovl_image_remove(). After a failure
/// the image is as it was, and layers that were made go again; after a kill they stay, whole, for
/// the next import.
///
/// Returns 0 and fills `*info` (of `info_size` bytes), unless it is NULL.
/// Errors: EINVAL also for `name`, and where `ref` and `platform` mean no image, or several: the
/// message lists those that there are, or the image is for another system than Linux and `platform`
/// does not say that; ENAMETOOLONG `name` has too many slashes; EBADMSG an
/// archive, manifest or config is malformed, or lacks something (OVL_E_ARCHIVE), or ends early
/// (OVL_E_TRUNCATED), or a digest or size is another than was told (OVL_E_DIGEST); EOPNOTSUPP a
/// type of manifest, config or layer, an algorithm or a compression that is not handled
/// (OVL_E_UNSUPPORTED), by name; EFBIG a limit, or more than 4 MiB of manifest or config,
/// 4096 descriptors, 65536 variables or labels, or 65536 members or 16 MiB of names in the archive
/// (OVL_E_LIMIT); EMLINK more than 500 layers; EXDEV a path leaves the archive or a layer
/// (OVL_E_ESCAPE); EEXIST another layer has the id of one of the image's (OVL_E_LAYER_EXISTS), or a
/// damaged one (OVL_E_DAMAGED); EOPNOTSUPP also where OVL_IMPORT_STRICT meets a layer that could
/// only be made in part (OVL_E_STRICT); EROFS a store opened read-only; and what ovl_apply_layer()
/// tells of a layer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_image_import(
    store: *mut ovl_store,
    name: *const c_char,
    fd: c_int,
    opts: *const ovl_image_import_opts,
    opts_size: usize,
    info: *mut ovl_image_info,
    info_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("image_import", store, err, |store| {
        // SAFETY: as C promises of its arguments.
        let (name, opts) = unsafe { (text::bytes(name, "name")?, opts::read(opts, opts_size)?) };
        opts::reserved(opts.reserved)?;
        // SAFETY: as C promises of its options.
        let (reference, platform, control) = unsafe {
            (
                text::optional(opts.r#ref),
                text::optional(opts.platform),
                Control::new(opts.cancel, opts.progress, opts.progress_user),
            )
        };
        let options = ImportOptions {
            flags: opts::flags(opts.flags)?,
            reference,
            platform,
            kind: kind(opts.kind)?,
            durability: durability(opts.durability)?,
            limits: limits(
                [
                    opts.max_size,
                    opts.max_entries,
                    opts.max_meta,
                    opts.max_xattrs,
                    opts.max_path,
                ],
                opts.zstd_window_log,
            ),
        };
        // SAFETY: as above.
        let mut source =
            unsafe { stream::source(fd, opts.read, opts.read_user, control.cancel()) }?;
        let archive = match what(fd)? {
            // SAFETY: as C promises of its arguments.
            Some(Kind::Directory) => Archive::Directory(unsafe { stream::borrow(fd) }?),
            // SAFETY: as above.
            Some(Kind::File) => Archive::File(unsafe { stream::borrow(fd) }?),
            _ => Archive::Stream(source.as_mut()),
        };
        let done =
            control.watch(|watch| store.store.import_image(name, archive, &options, watch))?;
        // SAFETY: as C promises of its arguments.
        unsafe { opts::write(info, info_size, &ovl_image_info::from(&done)) };
        Ok(0)
    })
}

/// Writes the image `name` as an OCI layout: into `fd` where that is a directory, which must be
/// empty; else as a tar of one, uncompressed, to `fd`, or to the callback `write` when `fd` is -1.
/// The descriptor stays the caller's, as with ovl_diff().
///
/// An image whose blobs are kept (OVL_IMPORT_KEEP_BLOBS) is written as it was imported: its
/// manifest, its config and its blobs byte for byte. Otherwise the layer tars are made anew,
/// uncompressed, and with them a manifest, and a config where diff IDs are others: their digests
/// differ from those of the original. The same image gives the same bytes. For a stream each layer
/// is read twice.
///
/// In a directory `index.json` comes last, and all is on the disk when the call returns; after a
/// failure what was written is gone again. Of several exports into one directory at once, one goes
/// on. A stream has the beginning of a tar after a failure, and no end. The image is written whole
/// if it is replaced or removed meanwhile: kept blobs are all open for as long as that takes.
///
/// Returns 0 and fills `*info` (of `info_size` bytes), unless it is NULL: `manifest` and `config`
/// are those that were written.
/// Errors: ENOENT no such image (OVL_E_NO_IMAGE), or one of its layers is missing (OVL_E_NO_LAYER,
/// and the path is the layer's id); ENOTEMPTY the directory is not empty (OVL_E_NOT_EMPTY); EINVAL
/// also for `ref`; EIO also for an image or a blob that is damaged (OVL_E_DAMAGED); and as
/// ovl_diff().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_image_export(
    store: *mut ovl_store,
    name: *const c_char,
    fd: c_int,
    opts: *const ovl_image_export_opts,
    opts_size: usize,
    info: *mut ovl_image_info,
    info_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("image_export", store, err, |store| {
        // SAFETY: as C promises of its arguments.
        let (name, opts) = unsafe { (text::bytes(name, "name")?, opts::read(opts, opts_size)?) };
        opts::reserved(opts.flags)?;
        // SAFETY: as C promises of its options.
        let (reference, control) = unsafe {
            (
                text::optional(opts.r#ref),
                Control::new(opts.cancel, opts.progress, opts.progress_user),
            )
        };
        let options = ExportOptions { reference };
        // SAFETY: as above.
        let mut sink = unsafe { stream::sink(fd, opts.write, opts.write_user, control.cancel()) }?;
        let target = match what(fd)? {
            // SAFETY: as C promises of its arguments.
            Some(Kind::Directory) => Target::Directory(unsafe { stream::borrow(fd) }?),
            _ => Target::Stream(sink.as_mut()),
        };
        let done =
            control.watch(|watch| store.store.export_image(name, target, &options, watch))?;
        // SAFETY: as C promises of its arguments.
        unsafe { opts::write(info, info_size, &ovl_image_info::from(&done)) };
        Ok(0)
    })
}

/// What a descriptor is; none for -1.
fn what(fd: c_int) -> Result<Option<Kind>> {
    if fd == -1 {
        return Ok(None);
    }
    // SAFETY: it is used for this call alone, and a number that is not open is answered by EBADF.
    let fd = unsafe { stream::borrow(fd) }?;
    fs::stat(fd).call("fstat").map(|meta| Some(meta.kind))
}
