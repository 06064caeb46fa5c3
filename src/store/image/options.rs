//! What callers may ask of images, and what they are told.

use super::super::{Durability, Kind, Limits};
use crate::archive::{Digest, Sink, Source};
use crate::sys::BorrowedFd;
use crate::sys::fs::Time;
use bitflags::bitflags;

bitflags! {
    /// Choices of [`Store::import_image`](crate::store::Store::import_image).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ImportFlags: u64 {
        /// Keep the layers' blobs too, so that an export is what was imported.
        const KEEP_BLOBS = 1;
        /// Fail where otherwise something is done in part and counted.
        const STRICT = 2;
        /// Leave device nodes out and count them; EPERM when strict.
        const NO_DEVICES = 4;
    }
}

/// Where an image comes from.
pub enum Archive<'a> {
    /// An OCI layout, or an unpacked docker save.
    Directory(BorrowedFd<'a>),
    /// A tar of one, plain or compressed, in a file, from where that stands to its end. Its
    /// position is left alone.
    File(BorrowedFd<'a>),
    /// The same as a stream.
    Stream(&'a mut dyn Source),
}

/// Where an image goes.
pub enum Target<'a> {
    /// An empty directory, which becomes an OCI layout.
    Directory(BorrowedFd<'a>),
    /// A stream, which gets a tar of one.
    Stream(&'a mut dyn Sink),
}

/// How to import an image.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions<'a> {
    /// Choices.
    pub flags: ImportFlags,
    /// Which of several images: a name, or a tag.
    pub reference: Option<&'a [u8]>,
    /// For which platform, `os/architecture[/variant]`; Linux on this machine otherwise.
    pub platform: Option<&'a [u8]>,
    /// How to keep the layers that have a parent.
    pub kind: Option<Kind>,
    /// What must be on the disk at the end.
    pub durability: Durability,
    /// What each layer may ask for. `max_size` is also the most that a stream, or what is in a
    /// compressed archive, may have.
    pub limits: Limits,
}

/// How to export an image.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExportOptions<'a> {
    /// The name that the layout gives to the image; the tag of its name otherwise, or `latest`.
    pub reference: Option<&'a [u8]>,
}

/// What is known of an image, and for the call that made it what could be done in part.
#[derive(Clone, Debug, Default)]
pub struct ImageInfo {
    /// Its topmost layer.
    pub layer: Option<String>,
    /// The manifest that it was imported from, or that was written.
    pub manifest: Option<Digest>,
    /// The config.
    pub config: Option<Digest>,
    /// The sizes of its layers, together.
    pub size: u64,
    /// How many layers it has.
    pub layers: u64,
    /// When it was imported.
    pub created: Time,
    /// The originals are kept, or were written.
    pub blobs: bool,
    /// Devices left out, of all its layers.
    pub skipped_devices: u64,
    /// Owners that could not be set.
    pub skipped_owners: u64,
    /// Extended attributes left out.
    pub skipped_xattrs: u64,
    /// Layers that the import made; the others were there.
    pub made: u64,
}

/// An image in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRef {
    /// Its name.
    pub name: String,
    /// Its topmost layer.
    pub layer: Option<String>,
    /// How many it has.
    pub layers: usize,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageLayer {
    /// Its id.
    pub id: String,
    /// What its tar hashes to.
    pub diff_id: Digest,
}

/// Something that an image's config says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigItem {
    /// All of it, as it came.
    Json(Vec<u8>),
    /// `KEY=value`.
    Env(String),
    /// A word of the command that always comes first.
    Entrypoint(String),
    /// A word of the rest of the command.
    Cmd(String),
    /// Where it starts.
    WorkingDir(String),
    /// As whom.
    User(String),
    /// A label.
    #[allow(missing_docs)]
    Label { key: String, value: String },
    /// A layer, the lowest first.
    Layer(ImageLayer),
}
