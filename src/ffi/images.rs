//! The images of a store: listed, looked at, removed.

use super::boundary::{self, not_null};
use super::cancel::{Control, ovl_cancel, ovl_progress_fn};
use super::constants::{
    OVL_CONFIG_CMD, OVL_CONFIG_ENTRYPOINT, OVL_CONFIG_ENV, OVL_CONFIG_JSON, OVL_CONFIG_LABEL,
    OVL_CONFIG_LAYER, OVL_CONFIG_USER, OVL_CONFIG_WORKING_DIR,
};
use super::error::ovl_error;
use super::image::ovl_image_info;
use super::iter::{Item, ovl_iter};
use super::opts::{self, Plain};
use super::store::ovl_store;
use super::text;
use crate::store::ConfigItem;
use std::ffi::{c_char, c_int, c_void};

/// Options of ovl_image_remove().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_image_remove_opts {
    /// 0.
    pub flags: u64,
    /// Ends the work early when it is raised, or NULL.
    pub cancel: *mut ovl_cancel,
    /// Is told how far the call is, or NULL.
    pub progress: ovl_progress_fn,
    /// Handed to `progress`.
    pub progress_user: *mut c_void,
}

// SAFETY: integers, pointers, and function pointers in an `Option`.
unsafe impl Plain for ovl_image_remove_opts {}

/// Options of ovl_image_stat().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_image_stat_opts {
    /// 0.
    pub flags: u64,
}

// SAFETY: an integer.
unsafe impl Plain for ovl_image_stat_opts {}

/// Options of ovl_image_list().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_image_list_opts {
    /// 0.
    pub flags: u64,
}

// SAFETY: an integer.
unsafe impl Plain for ovl_image_list_opts {}

/// Options of ovl_image_config().
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ovl_image_config_opts {
    /// 0.
    pub flags: u64,
}

// SAFETY: an integer.
unsafe impl Plain for ovl_image_config_opts {}

/// Removes the image `name`, however damaged it is, and then, from the topmost down, each of its
/// layers that no other image lists, that no layer is built on, and that is not in use. The others
/// stay, and go by ovl_remove(); all stay that may belong to an image that is damaged. Kept blobs
/// go that no image names.
///
/// Returns 0 when the image is gone, whatever became of its layers. Cancelled before that, it
/// fails; cancelled later, it leaves the content of what goes for a cleanup.
/// Errors: ENOENT no such image (OVL_E_NO_IMAGE); EROFS a store opened read-only; EBUSY somebody
/// works on images (OVL_E_LOCKED).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_image_remove(
    store: *mut ovl_store,
    name: *const c_char,
    opts: *const ovl_image_remove_opts,
    opts_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("image_remove", store, err, |store| {
        // SAFETY: as C promises of its arguments.
        let (name, opts) = unsafe { (text::bytes(name, "name")?, opts::read(opts, opts_size)?) };
        opts::reserved(opts.flags)?;
        // SAFETY: as C promises of its options.
        let control = unsafe { Control::new(opts.cancel, opts.progress, opts.progress_user) };
        control.watch(|watch| store.store.remove_image(name, watch))?;
        Ok(0)
    })
}

/// Tells what is known of the image `name`.
///
/// Returns 0 and fills `*info` (of `info_size` bytes).
/// Errors: EINVAL also for what cannot be the name of an image; ENOENT no such image
/// (OVL_E_NO_IMAGE), or one of its layers is missing (OVL_E_NO_LAYER, and the path is the layer's
/// id); EIO it is damaged (OVL_E_DAMAGED).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_image_stat(
    store: *mut ovl_store,
    name: *const c_char,
    opts: *const ovl_image_stat_opts,
    opts_size: usize,
    info: *mut ovl_image_info,
    info_size: usize,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("image_stat", store, err, |store| {
        // SAFETY: as C promises of its arguments.
        let (name, opts) = unsafe { (text::bytes(name, "name")?, opts::read(opts, opts_size)?) };
        opts::reserved(opts.flags)?;
        let done = store.store.stat_image(name)?;
        // SAFETY: as above.
        unsafe { opts::write(info, info_size, &ovl_image_info::from(&done)) };
        Ok(0)
    })
}

/// Lists the images, sorted by name. What is damaged is left out, and told by ovl_check().
///
/// Returns 0 and an iterator in `*out`, which the caller frees with ovl_iter_free(). Its items:
/// `name` is the image's, `detail` the id of its topmost layer, "" where it has none, `what` the
/// number of its layers.
/// Errors: EIO and what else reading the store meets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_image_list(
    store: *mut ovl_store,
    opts: *const ovl_image_list_opts,
    opts_size: usize,
    out: *mut *mut ovl_iter,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("image_list", store, err, |store| {
        let out = not_null(out, "out")?;
        // SAFETY: as C promises of its arguments.
        let opts = unsafe { opts::read(opts, opts_size) }?;
        opts::reserved(opts.flags)?;
        let images = store.store.list_images()?;
        let items = images
            .into_iter()
            .map(|image| {
                let layers = u32::try_from(image.layers).unwrap_or(u32::MAX);
                Item::new(layers, image.name, image.layer.unwrap_or_default())
            })
            .collect();
        // SAFETY: not NULL, and C says it is valid for a write of a pointer.
        unsafe { boundary::give(out, ovl_iter::new(items)) };
        Ok(0)
    })
}

/// Lists what the image `name` runs, and its layers.
///
/// Returns 0 and an iterator in `*out`, which the caller frees with ovl_iter_free(). Its items:
/// `what` is one of `OVL_CONFIG_...`, which tells what `name` and `detail` are. They come in the
/// order of these numbers; of one sort, in that of the config, and labels by their keys.
/// Errors: EINVAL also for `name`; ENOENT no such image (OVL_E_NO_IMAGE); EIO it is damaged
/// (OVL_E_DAMAGED).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ovl_image_config(
    store: *mut ovl_store,
    name: *const c_char,
    opts: *const ovl_image_config_opts,
    opts_size: usize,
    out: *mut *mut ovl_iter,
    err: *mut *mut ovl_error,
) -> c_int {
    boundary::on("image_config", store, err, |store| {
        let out = not_null(out, "out")?;
        // SAFETY: as C promises of its arguments.
        let (name, opts) = unsafe { (text::bytes(name, "name")?, opts::read(opts, opts_size)?) };
        opts::reserved(opts.flags)?;
        let items = store.store.image_config(name)?;
        let items = items.into_iter().map(item).collect();
        // SAFETY: not NULL, and C says it is valid for a write of a pointer.
        unsafe { boundary::give(out, ovl_iter::new(items)) };
        Ok(0)
    })
}

fn item(item: ConfigItem) -> Item {
    match item {
        ConfigItem::Json(data) => Item::new(OVL_CONFIG_JSON, data, ""),
        ConfigItem::Env(text) => Item::new(OVL_CONFIG_ENV, text, ""),
        ConfigItem::Entrypoint(word) => Item::new(OVL_CONFIG_ENTRYPOINT, word, ""),
        ConfigItem::Cmd(word) => Item::new(OVL_CONFIG_CMD, word, ""),
        ConfigItem::WorkingDir(path) => Item::new(OVL_CONFIG_WORKING_DIR, path, ""),
        ConfigItem::User(user) => Item::new(OVL_CONFIG_USER, user, ""),
        ConfigItem::Label { key, value } => Item::new(OVL_CONFIG_LABEL, value, key),
        ConfigItem::Layer(layer) => {
            Item::new(OVL_CONFIG_LAYER, layer.id, layer.diff_id.to_string())
        }
    }
}
