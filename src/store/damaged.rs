//! Layers that cannot be read whole: what they still are, and what would be lost with them.
//!
//! A power cut may leave the name of a layer that was being made, and nothing behind it. Such a
//! thing is nobody's, and goes. But a layer that lost its `meta` on a failing disk still has its
//! content: it keeps its id and its parent until somebody removes it by name.

use super::layer::{Layer, is_absent, read_lower, read_meta};
use super::lock::{self, Mode};
use super::meta::{self, Meta};
use super::options::{Kind, State};
use super::{Store, manifest, now, session, text};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::mount::oracle::InUse;
use crate::sys::dir::DirBuf;
use crate::sys::{OwnedFd, fs};

/// Another kind of inode stands where a small file of ours should be, or one that is not small.
pub fn is_wrong_inode(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ISDIR | Errno::LOOP | Errno::NXIO | Errno::NODEV | Errno::FBIG | Errno::INVAL
    )
}

/// The disk says that it lost something.
pub fn is_disk(errno: Errno) -> bool {
    // EUCLEAN and EBADMSG: a file system found its own structures or checksums wrong.
    matches!(errno, Errno::IO | Errno::UCLEAN | Errno::BADMSG)
}

/// Something other than a directory has a layer's name.
pub fn no_directory(id: &str) -> Error {
    Error::new(Code::Damaged, Errno::NOENT, "it is no directory").at(id)
}

/// EEXIST for an id that something damaged has.
pub fn in_the_way(id: &str, why: &Error) -> Error {
    Error::new(
        Code::Damaged,
        Errno::EXIST,
        format!(
            "a damaged layer has this id ({}), and is kept for what it holds: \
             remove it first (ovl rm {id})",
            why.message()
        ),
    )
    .at(id)
}

/// Whether a name in a layer's directory is a file that was to replace one of its texts.
pub fn is_temporary(name: &[u8]) -> bool {
    [meta::FILE, "lower-id", session::FILE]
        .iter()
        .any(|file| text::is_temporary(name, file))
}

/// What a name is; none where it is not there. That it cannot be looked at is an error, and no answer.
pub fn kind_at(dir: &OwnedFd, name: &[u8]) -> Result<Option<fs::Kind>> {
    match fs::stat_at(dir, name) {
        Ok(meta) => Ok(Some(meta.kind)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno).call_at("statx", name),
    }
}

/// Whether nothing is lost with a layer that cannot be read: it has no manifest, no content, no
/// child, no pin, nothing that is unknown here, and nobody uses it.
pub fn has_nothing(store: &Store, layer: &OwnedFd) -> Result<bool> {
    match read_meta("", layer) {
        // One that is told what it is was made.
        Ok(_) => return Ok(false),
        Err(error) if is_absent(&error) || is_disk(error.errno()) => {}
        Err(error) => return Err(error),
    }
    let empty = |name: &[u8]| match fs::open_dir(layer, name) {
        Ok(dir) => DirBuf::default().is_empty(dir).call_at("getdents64", name),
        // Another kind of inode, or a mount.
        Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(false),
        Err(errno) => Err(errno).call_at("open", name),
    };
    let names = DirBuf::default().sorted_names(super::again(layer)?);
    for name in names.call_at("getdents64", "layer")? {
        let nothing = match &name[..] {
            b"meta" | b"lower-id" | b"running" => kind_at(layer, &name)? == Some(fs::Kind::File),
            b"child" | b"pin" | b"root" | b"upper" | b"merged" => empty(&name)?,
            // What overlayfs keeps there serves the upper.
            b"work" => fs::open_dir(layer, b"work").is_ok(),
            name => name != manifest::FILE.as_bytes() && is_temporary(name),
        };
        if !nothing {
            return Ok(false);
        }
    }
    Ok(!is_held(store, layer)?)
}

/// Whether a handle, or an overlay that the kernel knows of, has a layer that cannot be read.
fn is_held(store: &Store, layer: &OwnedFd) -> Result<bool> {
    for name in ["root", "work"] {
        match fs::open_dir(layer, name.as_bytes()) {
            Ok(dir) if !lock::try_lock(&dir, Mode::Exclusive)? => return Ok(true),
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(errno).call_at("open", name),
        }
    }
    match fs::open_dir(layer, b"upper") {
        Ok(upper) => Ok(store.upper_in_use(&upper, None)? == InUse::Busy),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
        Err(errno) => Err(errno).call_at("open", "upper"),
    }
}

impl Store {
    /// What can still be said of the layer whose directory this is: its own words where they can
    /// be read, else what the directories in it tell. Two, where they tell of both kinds.
    pub(super) fn remains(&self, id: &str, fd: &OwnedFd) -> Result<Vec<Layer>> {
        let has = |name: &str| kind_at(fd, name.as_bytes()).map(|kind| kind.is_some());
        let meta = read_meta(id, fd).ok();
        let overlay = has("upper")? || has("work")? || has("lower-id")?;
        let kinds: &[Kind] = match (&meta, overlay, has("root")?) {
            (Some(meta), ..) if meta.kind == Kind::Root => &[Kind::Root],
            (Some(_), ..) | (None, true, false) => &[Kind::Overlay],
            (None, true, true) => &[Kind::Overlay, Kind::Root],
            (None, false, _) => &[Kind::Root],
        };
        let layer = |kind: &Kind| {
            let meta = match &meta {
                Some(meta) => meta.clone(),
                None => Meta::new(*kind, State::Writable, now()),
            };
            Ok(Layer {
                id: id.to_string(),
                fd: super::again(fd)?,
                parent: read_lower(fd).ok().or_else(|| meta.parent.clone()),
                meta,
            })
        };
        kinds.iter().map(layer).collect()
    }
}
