//! An OCI layout that is being written: a directory, or a tar of one.
//!
//! In a directory `index.json` comes last, by a rename, when all else is on the disk: what has one
//! is whole. In the tar it stands before the blobs, so that a reader knows early what there is.

use super::options::Target;
use crate::archive::{Digest, Header, Kind, Sink, Writer};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::oci::{INDEX, LAYOUT, LAYOUT_TEXT, blob_path};
use crate::sys::dir::DirBuf;
use crate::sys::fs::{self, RenameFlags};
use crate::sys::{BorrowedFd, OwnedFd};
use crate::tree::remove_tree;
use crate::watch::Watch;

/// The index, until all is there.
const COMING: &[u8] = b".index.json.ovl";
/// A blob, until its digest is known.
const BLOB: &[u8] = b"blobs/sha256/.blob.ovl";

/// See the module's text.
pub enum Layout<'a> {
    /// A directory.
    Directory(BorrowedFd<'a>),
    /// A tar; gone once it is finished.
    Tar(Option<Writer<&'a mut dyn Sink>>),
}

/// Writes a blob's bytes.
pub type Write<'w> = dyn FnMut(&mut dyn Sink) -> Result<()> + 'w;

impl<'a> Layout<'a> {
    /// ENOTEMPTY where a directory has anything in it.
    pub fn begin(target: Target<'a>) -> Result<Layout<'a>> {
        let dir = match target {
            Target::Stream(sink) => return Ok(Layout::Tar(Some(Writer::new(sink)))),
            Target::Directory(dir) => dir,
        };
        let own = fs::open_dir_trusted(dir, b".").call("open")?;
        if !DirBuf::default().is_empty(own).call("getdents64")? {
            return Err(Error::new(
                Code::NotEmpty,
                Errno::NOTEMPTY,
                "the directory is not empty",
            ));
        }
        let made = fs::mkdir(dir, b"blobs", 0o755)
            .and_then(|()| fs::mkdir(dir, b"blobs/sha256", 0o755))
            .call_at("mkdir", "blobs/sha256");
        let layout = Layout::Directory(dir);
        match made {
            Ok(()) => Ok(layout),
            Err(error) => {
                layout.undo();
                Err(error)
            }
        }
    }

    /// A blob of which the digest is known when it is written; false where that cannot be done.
    pub fn unknown_blob(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Sink) -> Result<Digest>,
    ) -> Result<bool> {
        let Layout::Directory(dir) = self else {
            return Ok(false);
        };
        let mut file = File(fs::create_file(*dir, BLOB, 0o644).call_at("create", BLOB)?);
        let digest = write(&mut file)?;
        let path = blob_path(&digest);
        fs::sync(&file.0).call_at("fsync", &path)?;
        fs::rename(*dir, BLOB, *dir, path.as_bytes(), RenameFlags::empty())
            .call_at("rename", path)?;
        Ok(true)
    }

    /// What goes before the other blobs.
    pub fn head(&mut self, index: &[u8]) -> Result<()> {
        match self {
            Layout::Directory(dir) => {
                put(*dir, LAYOUT.as_bytes(), LAYOUT_TEXT.as_bytes())?;
                put(*dir, COMING, index)
            }
            Layout::Tar(writer) => {
                let writer = open(writer)?;
                for (name, data) in [(LAYOUT, LAYOUT_TEXT.as_bytes()), (INDEX, index)] {
                    writer.begin(&header(name, Kind::File, data.len() as u64))?;
                    writer.data(data)?;
                }
                writer.begin(&header("blobs", Kind::Directory, 0))?;
                writer.begin(&header("blobs/sha256", Kind::Directory, 0))
            }
        }
    }

    /// One blob.
    pub fn blob(&mut self, digest: &Digest, size: u64, write: &mut Write<'_>) -> Result<()> {
        let path = blob_path(digest);
        match self {
            Layout::Directory(dir) => {
                let made = fs::create_file(*dir, path.as_bytes(), 0o644);
                let mut file = File(made.call_at("create", &path)?);
                write(&mut file)?;
                fs::sync(&file.0).call_at("fsync", path)
            }
            Layout::Tar(writer) => {
                let writer = open(writer)?;
                writer.begin(&header(&path, Kind::File, size))?;
                write(&mut Data(writer))?;
                writer.end()
            }
        }
    }

    /// The end: now the layout is whole.
    pub fn finish(&mut self) -> Result<()> {
        let dir = match self {
            Layout::Tar(writer) => {
                let writer = writer.take().ok_or_else(over)?;
                return writer.finish().map(drop);
            }
            Layout::Directory(dir) => *dir,
        };
        for name in [&b"blobs/sha256"[..], b"blobs", b"."] {
            let below = fs::open_dir(dir, name).call_at("open", name)?;
            fs::sync(below).call_at("fsync", name)?;
        }
        let own = fs::open_dir(dir, b".").call("open")?;
        fs::rename(dir, COMING, dir, INDEX.as_bytes(), RenameFlags::NOREPLACE)
            .call_at("rename", INDEX)?;
        fs::sync(own).call_at("fsync", INDEX)
    }

    /// After a failure a directory is empty again, as far as that can be; a stream has the
    /// beginning of a tar, and no end.
    pub fn undo(&self) {
        if let Layout::Directory(dir) = self {
            for name in [INDEX.as_bytes(), COMING, LAYOUT.as_bytes()] {
                let _ = fs::unlink(dir, name);
            }
            let own: Result<OwnedFd> = fs::open_dir(dir, b".").call("open");
            if let Ok(own) = own {
                let _ = remove_tree(&own, b"blobs", &mut Watch::default());
            }
        }
    }
}

fn open<'w, 'a>(
    writer: &'w mut Option<Writer<&'a mut dyn Sink>>,
) -> Result<&'w mut Writer<&'a mut dyn Sink>> {
    writer.as_mut().ok_or_else(over)
}

fn over() -> Error {
    Error::new(Code::Bug, Errno::NOTRECOVERABLE, "the layout is written")
}

fn put(dir: BorrowedFd<'_>, name: &[u8], data: &[u8]) -> Result<()> {
    let file = fs::create_file(dir, name, 0o644).call_at("create", name)?;
    fs::write_all(&file, data).call_at("write", name)?;
    fs::sync(&file).call_at("fsync", name)
}

/// Always the same owner, mode and time.
fn header(name: &str, kind: Kind, size: u64) -> Header {
    Header {
        mode: if kind == Kind::Directory {
            0o755
        } else {
            0o644
        },
        size,
        ..Header::new(name.as_bytes().to_vec(), kind)
    }
}

struct File(OwnedFd);

impl Sink for File {
    fn write_all(&mut self, buf: &[u8]) -> Result<()> {
        fs::write_all(&self.0, buf).call("write")
    }
}

struct Data<'w, 'a>(&'w mut Writer<&'a mut dyn Sink>);

impl Sink for Data<'_, '_> {
    fn write_all(&mut self, buf: &[u8]) -> Result<()> {
        self.0.data(buf)
    }
}
