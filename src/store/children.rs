//! Which layers are built on a layer: hints in its `child/`, and what those layers say themselves.

use super::layer::{Layer, is_absent, read_lower};
use super::lock::{self, Mode};
use super::maker::Maker;
use super::{Store, damaged, id, text};
use crate::error::{Code, Errno, Result, SysResult};
use crate::sys::dir::DirBuf;
use crate::sys::{OwnedFd, fs};

impl Store {
    /// The layers that name `layer` as the one directly below. The names in `child/` are hints;
    /// where that is lost, all layers are asked.
    pub(super) fn children(&self, layer: &Layer) -> Result<Vec<String>> {
        let (names, hinted) = match fs::open_dir(&layer.fd, b"child") {
            Ok(dir) => (
                DirBuf::default().sorted_names(dir).call("getdents64")?,
                true,
            ),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                let all = self.ids()?.into_iter().map(String::into_bytes);
                (all.collect(), false)
            }
            Err(errno) => return Err(errno).call_at("open", format!("layer/{}/child", layer.id)),
        };
        let mut children = Vec::new();
        for name in names {
            let Ok(child) = id::check(&name) else {
                continue;
            };
            if child != layer.id && self.is_child(child, &layer.id, hinted)? {
                children.push(child.to_string());
            }
        }
        Ok(children)
    }

    /// Whether `child` is built on `parent`; `hinted`: the parent says so.
    pub(super) fn is_child(&self, child: &str, parent: &str, hinted: bool) -> Result<bool> {
        let error = match self.layer(child) {
            Ok(found) => return Ok(found.parent.as_deref() == Some(parent)),
            Err(error) => error,
        };
        if error.code() == Code::NoLayer {
            return Ok(false);
        }
        let fd = match fs::open_dir(&self.layers, child.as_bytes()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            // What cannot be looked at may be a child.
            Err(errno) => return Err(errno).call_at("open", child),
        };
        // What a damaged one holds is read over its parent.
        if is_absent(&error) && damaged::has_nothing(self, &fd)? {
            return Ok(false);
        }
        match read_lower(&fd) {
            Ok(lower) => Ok(lower == parent),
            Err(_) if is_absent(&error) => Ok(hinted),
            // What cannot be read may be a child.
            Err(_) => Err(error),
        }
    }

    /// Leaves the hint in `parent` that `child` is to be built on it.
    pub(super) fn hint_child(&self, parent: &Layer, child: &str, maker: Maker) -> Result<()> {
        let dir = parent.open("child")?;
        match text::create(&dir, maker.exact(false), child, b"") {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno)
                .call_at("create", format!("layer/{}/child/{child}", parent.id))
                .map_err(|error| super::may_be_stuck(error, &dir, child.as_bytes())),
        }
    }

    /// Leaves the hint, by the stage's `maker`, and then makes the layer, `child`, over the locked
    /// `parent`. Where that fails the hint goes again.
    pub(super) fn build_on<T>(
        &self,
        parent: &Layer,
        child: &str,
        maker: Maker,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let made = self.hint_child(parent, child, maker).and_then(|()| make());
        if made.is_err() {
            self.drop_hint_in(&parent.fd, &parent.id, child);
            // The lock may have gone with the attempt to have it alone. The caller fails, too.
            let _ = lock::try_lock(&parent.fd, Mode::Shared);
        }
        made
    }

    /// Takes the hint of a removed child away, if nobody builds on the parent now.
    pub(super) fn drop_hint(&self, parent: &str, child: &str) {
        if let Ok(fd) = fs::open_dir(&self.layers, parent.as_bytes()) {
            self.drop_hint_in(&fd, parent, child);
        }
    }

    /// Takes the hint of a layer away that is not built on `parent`, if nobody else builds on that
    /// now: whoever does may be making a layer of that name, and relies on the hint. A stale one
    /// does no harm.
    fn drop_hint_in(&self, fd: &OwnedFd, parent: &str, child: &str) {
        let alone = lock::try_lock(fd, Mode::Exclusive);
        if matches!(alone, Ok(true)) && self.is_stale(parent, child) {
            if let Ok(dir) = fs::open_dir(fd, b"child") {
                let _ = fs::unlink(&dir, child.as_bytes());
            }
        }
    }

    /// Whether `child` is not there, or is built on another layer. Only who holds `parent` alone may
    /// believe it.
    pub(super) fn is_stale(&self, parent: &str, child: &str) -> bool {
        match self.layer(child) {
            Ok(found) => found.parent.as_deref() != Some(parent),
            Err(error) => error.code() == Code::NoLayer,
        }
    }
}
