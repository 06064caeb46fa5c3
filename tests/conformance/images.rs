//! What a store can do with images, on both surfaces: a part of [`Api`] that has a file of its own.
#![allow(unsafe_code)] // Every call into C is.
#![allow(clippy::needless_update)] // The structs grow: what is not named here must stay zero.

use crate::api::*;
use crate::c_abi::*;
use crate::c_api::{self, C, bits, size};
use crate::c_call::*;
use crate::rust_api::{self, Rust, failure};
use ovl::store::{self, ImportFlags};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;

#[derive(Clone, Copy, Default)]
pub struct Import<'a> {
    pub keep_blobs: bool,
    pub strict: bool,
    pub no_devices: bool,
    pub reference: Option<&'a str>,
    pub platform: Option<&'a str>,
    pub kind: Option<Kind>,
    pub durability: Durability,
    pub max_size: u64,
}

/// What is known of an image; strings are empty where there is nothing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub layer: String,
    pub manifest: String,
    pub config: String,
    pub size: u64,
    pub layers: u64,
    pub created: (i64, u32),
    pub blobs: bool,
    /// Devices, owners, extended attributes.
    pub skipped: [u64; 3],
    pub made: u64,
}

/// A number of `OVL_CONFIG_...`, a name and a detail.
pub type Said = (u32, Vec<u8>, Vec<u8>);

pub trait Images: Sized {
    fn image_import(
        store: &<Self as Api>::Store,
        name: &str,
        input: Input<'_>,
        how: &Import<'_>,
        control: Control<'_, Self>,
    ) -> Done<Image>
    where
        Self: Api;
    fn image_export(
        store: &<Self as Api>::Store,
        name: &str,
        output: Output<'_>,
        reference: Option<&str>,
        control: Control<'_, Self>,
    ) -> Done<Image>
    where
        Self: Api;
    fn image_remove(
        store: &<Self as Api>::Store,
        name: &str,
        control: Control<'_, Self>,
    ) -> Done<()>
    where
        Self: Api;
    fn image_stat(store: &<Self as Api>::Store, name: &str) -> Done<Image>
    where
        Self: Api;
    /// Names, topmost layers, and how many.
    fn image_list(store: &<Self as Api>::Store) -> Done<Vec<(String, String, u32)>>
    where
        Self: Api;
    fn image_config(store: &<Self as Api>::Store, name: &str) -> Done<Vec<Said>>
    where
        Self: Api;
}

fn told(info: &store::ImageInfo) -> Image {
    let digest = |digest: &Option<ovl::archive::Digest>| {
        digest.as_ref().map(ToString::to_string).unwrap_or_default()
    };
    Image {
        layer: info.layer.clone().unwrap_or_default(),
        manifest: digest(&info.manifest),
        config: digest(&info.config),
        size: info.size,
        layers: info.layers,
        created: (info.created.sec, info.created.nsec),
        blobs: info.blobs,
        skipped: [
            info.skipped_devices,
            info.skipped_owners,
            info.skipped_xattrs,
        ],
        made: info.made,
    }
}

/// What a descriptor is, as the C functions find out by themselves.
fn kind(fd: BorrowedFd<'_>) -> rustix::fs::FileType {
    rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(fd).unwrap().st_mode)
}

impl Images for Rust {
    fn image_import(
        store: &store::Store,
        name: &str,
        mut input: Input<'_>,
        how: &Import<'_>,
        control: Control<'_, Self>,
    ) -> Done<Image> {
        let flags = rust_api::flags!(ImportFlags:
            how.keep_blobs => KEEP_BLOBS, how.strict => STRICT, how.no_devices => NO_DEVICES);
        let options = store::ImportOptions {
            flags,
            reference: how.reference.map(str::as_bytes),
            platform: how.platform.map(str::as_bytes),
            kind: how.kind.map(|kind| match kind {
                Kind::Root => store::Kind::Root,
                Kind::Overlay => store::Kind::Overlay,
            }),
            durability: rust_api::durability(how.durability),
            limits: store::Limits {
                max_size: how.max_size,
                ..Default::default()
            },
        };
        let from = match input {
            Input::Fd(fd) if kind(fd).is_dir() => store::Archive::Directory(fd),
            Input::Fd(fd) if kind(fd).is_file() => store::Archive::File(fd),
            _ => store::Archive::Stream(&mut input),
        };
        let done = rust_api::watched(control, |watch| {
            store.import_image(name.as_bytes(), from, &options, watch)
        })?;
        Ok(told(&done))
    }

    fn image_export(
        store: &store::Store,
        name: &str,
        mut output: Output<'_>,
        reference: Option<&str>,
        control: Control<'_, Self>,
    ) -> Done<Image> {
        let options = store::ExportOptions {
            reference: reference.map(str::as_bytes),
        };
        let to = match output {
            Output::Fd(fd) if kind(fd).is_dir() => store::Target::Directory(fd),
            _ => store::Target::Stream(&mut output),
        };
        let done = rust_api::watched(control, |watch| {
            store.export_image(name.as_bytes(), to, &options, watch)
        })?;
        Ok(told(&done))
    }

    fn image_remove(store: &store::Store, name: &str, control: Control<'_, Self>) -> Done<()> {
        rust_api::watched(control, |watch| store.remove_image(name.as_bytes(), watch))
    }

    fn image_stat(store: &store::Store, name: &str) -> Done<Image> {
        store
            .stat_image(name.as_bytes())
            .map(|info| told(&info))
            .map_err(failure)
    }

    fn image_list(store: &store::Store) -> Done<Vec<(String, String, u32)>> {
        let all = store.list_images().map_err(failure)?;
        let plain =
            |one: store::ImageRef| (one.name, one.layer.unwrap_or_default(), one.layers as u32);
        Ok(all.into_iter().map(plain).collect())
    }

    fn image_config(store: &store::Store, name: &str) -> Done<Vec<Said>> {
        use store::ConfigItem;
        let all = store.image_config(name.as_bytes()).map_err(failure)?;
        let plain = |one: ConfigItem| match one {
            ConfigItem::Json(data) => (OVL_CONFIG_JSON, data, Vec::new()),
            ConfigItem::Env(text) => (OVL_CONFIG_ENV, text.into(), Vec::new()),
            ConfigItem::Entrypoint(word) => (OVL_CONFIG_ENTRYPOINT, word.into(), Vec::new()),
            ConfigItem::Cmd(word) => (OVL_CONFIG_CMD, word.into(), Vec::new()),
            ConfigItem::WorkingDir(path) => (OVL_CONFIG_WORKING_DIR, path.into(), Vec::new()),
            ConfigItem::User(user) => (OVL_CONFIG_USER, user.into(), Vec::new()),
            ConfigItem::Label { key, value } => (OVL_CONFIG_LABEL, value.into(), key.into()),
            ConfigItem::Layer(layer) => (
                OVL_CONFIG_LAYER,
                layer.id.into(),
                layer.diff_id.to_string().into(),
            ),
        };
        Ok(all.into_iter().map(plain).collect())
    }
}

fn plain(info: &ovl_image_info) -> Image {
    Image {
        layer: array(&info.layer),
        manifest: array(&info.manifest),
        config: array(&info.config),
        size: info.size,
        layers: info.layers,
        created: (info.created_sec, info.created_nsec),
        blobs: match info.blobs {
            0 => false,
            1 => true,
            other => panic!("blobs {other}"),
        },
        skipped: [
            info.skipped_devices,
            info.skipped_owners,
            info.skipped_xattrs,
        ],
        made: info.made,
    }
}

impl Images for C {
    fn image_import(
        store: &<C as Api>::Store,
        name: &str,
        input: Input<'_>,
        how: &Import<'_>,
        mut control: Control<'_, Self>,
    ) -> Done<Image> {
        let (reference, platform) = (how.reference.map(string), how.platform.map(string));
        let mut opts = c_api::watched!(
            ovl_image_import_opts, control,
            flags: bits([
                (how.keep_blobs, OVL_IMPORT_KEEP_BLOBS),
                (how.strict, OVL_IMPORT_STRICT),
                (how.no_devices, OVL_IMPORT_NO_DEVICES),
            ]),
            r#ref: pointer(&reference),
            platform: pointer(&platform),
            kind: match how.kind {
                None => OVL_KIND_DEFAULT,
                Some(Kind::Root) => OVL_KIND_ROOT,
                Some(Kind::Overlay) => OVL_KIND_OVERLAY,
            },
            durability: c_api::durability(how.durability),
            max_size: how.max_size,
        );
        let mut callback;
        let fd = match input {
            Input::Fd(fd) => fd.as_raw_fd(),
            Input::Read(from) => {
                callback = from;
                opts.read = Some(read);
                opts.read_user = (&raw mut callback).cast();
                -1
            }
        };
        let mut info = ovl_image_info::default();
        let (name, info_size) = (string(name), size(&info));
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            let (name, opts_size, info) = (name.as_ptr(), size(&opts), &mut info);
            let import = library().ovl_image_import;
            import(store.raw, name, fd, &opts, opts_size, info, info_size, err)
        })?;
        Ok(plain(&info))
    }

    fn image_export(
        store: &<C as Api>::Store,
        name: &str,
        output: Output<'_>,
        reference: Option<&str>,
        mut control: Control<'_, Self>,
    ) -> Done<Image> {
        let reference = reference.map(string);
        let mut opts = c_api::watched!(ovl_image_export_opts, control, r#ref: pointer(&reference));
        let mut callback;
        let fd = match output {
            Output::Fd(fd) => fd.as_raw_fd(),
            Output::Write(to) => {
                callback = to;
                opts.write = Some(write);
                opts.write_user = (&raw mut callback).cast();
                -1
            }
        };
        let mut info = ovl_image_info::default();
        let (name, info_size) = (string(name), size(&info));
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            let (name, opts_size, info) = (name.as_ptr(), size(&opts), &mut info);
            let export = library().ovl_image_export;
            export(store.raw, name, fd, &opts, opts_size, info, info_size, err)
        })?;
        Ok(plain(&info))
    }

    fn image_remove(
        store: &<C as Api>::Store,
        name: &str,
        mut control: Control<'_, Self>,
    ) -> Done<()> {
        let opts = c_api::watched!(ovl_image_remove_opts, control);
        let name = string(name);
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            (library().ovl_image_remove)(store.raw, name.as_ptr(), &opts, size(&opts), err)
        })
        .map(drop)
    }

    fn image_stat(store: &<C as Api>::Store, name: &str) -> Done<Image> {
        let opts = ovl_image_stat_opts::default();
        let mut info = ovl_image_info::default();
        let (name, info_size) = (string(name), size(&info));
        // SAFETY: arguments as the header wants them.
        call(|err| unsafe {
            let (name, opts_size, info) = (name.as_ptr(), size(&opts), &mut info);
            (library().ovl_image_stat)(store.raw, name, &opts, opts_size, info, info_size, err)
        })?;
        Ok(plain(&info))
    }

    fn image_list(store: &<C as Api>::Store) -> Done<Vec<(String, String, u32)>> {
        let opts = ovl_image_list_opts::default();
        // SAFETY: arguments as the header wants them.
        let all = items(|out, err| unsafe {
            (library().ovl_image_list)(store.raw, &opts, size(&opts), out, err)
        })?;
        Ok(all
            .iter()
            .map(|one| (one.name(), one.detail(), one.what))
            .collect())
    }

    fn image_config(store: &<C as Api>::Store, name: &str) -> Done<Vec<Said>> {
        let name = string(name);
        // SAFETY: arguments as the header wants them.
        let all = items(|out, err| unsafe {
            (library().ovl_image_config)(store.raw, name.as_ptr(), std::ptr::null(), 0, out, err)
        })?;
        Ok(all
            .into_iter()
            .map(|one| (one.what, one.name, one.detail))
            .collect())
    }
}
