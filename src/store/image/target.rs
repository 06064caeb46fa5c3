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
use crate::sys::{AsFd, BorrowedFd, OwnedFd};

/// The index, until all is there.
const COMING: &[u8] = b".index.json.ovl";
/// A blob, until its digest is known.
const BLOB: &str = ".blob.ovl";

/// See the module's text.
pub enum Layout<'a> {
    /// A directory.
    Directory(Directory<'a>),
    /// A tar; gone once it is finished.
    Tar(Option<Writer<&'a mut dyn Sink>>),
}

/// A directory, and what was made in it: that alone is taken back.
pub struct Directory<'a> {
    top: BorrowedFd<'a>,
    /// `blobs/sha256`.
    blobs: OwnedFd,
    made: Vec<&'static [u8]>,
    made_blobs: Vec<String>,
}

/// Writes a blob's bytes.
pub type Write<'w> = dyn FnMut(&mut dyn Sink) -> Result<()> + 'w;

impl<'a> Layout<'a> {
    /// ENOTEMPTY where a directory has anything in it. Of several that begin at once one makes
    /// `blobs`, and with it the layout.
    pub fn begin(target: Target<'a>) -> Result<Layout<'a>> {
        let top = match target {
            Target::Stream(sink) => return Ok(Layout::Tar(Some(Writer::new(sink)))),
            Target::Directory(dir) => dir,
        };
        let own = fs::open_dir_trusted(top, b".").call("open")?;
        if !DirBuf::default().is_empty(own).call("getdents64")? {
            return Err(not_empty());
        }
        make(top, b"blobs")?;
        match blobs_in(top) {
            Ok(blobs) => Ok(Layout::Directory(Directory {
                top,
                blobs,
                made: Vec::new(),
                made_blobs: Vec::new(),
            })),
            Err(error) => {
                remove_blobs(top);
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
        let mut file = dir.create_blob(BLOB.to_string())?;
        let digest = write(&mut file)?;
        let name = digest.hex();
        fs::sync(&file.0).call_at("fsync", blob_path(&digest))?;
        let (from, to) = (BLOB.as_bytes(), name.as_bytes());
        fs::rename(&dir.blobs, from, &dir.blobs, to, RenameFlags::empty())
            .call_at("rename", blob_path(&digest))?;
        dir.made_blobs.pop();
        dir.made_blobs.push(name);
        Ok(true)
    }

    /// What goes before the other blobs.
    pub fn head(&mut self, index: &[u8]) -> Result<()> {
        match self {
            Layout::Directory(dir) => {
                dir.put(LAYOUT.as_bytes(), LAYOUT_TEXT.as_bytes())?;
                dir.put(COMING, index)
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
                let mut file = dir.create_blob(digest.hex())?;
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
            Layout::Directory(dir) => dir,
        };
        let above = fs::open_dir(dir.top, b"blobs").call_at("open", "blobs")?;
        let own = fs::open_dir(dir.top, b".").call("open")?;
        fs::sync(&dir.blobs).call_at("fsync", "blobs/sha256")?;
        fs::sync(above).call_at("fsync", "blobs")?;
        fs::sync(&own).call_at("fsync", ".")?;
        let index = INDEX.as_bytes();
        fs::rename(dir.top, COMING, dir.top, index, RenameFlags::NOREPLACE)
            .call_at("rename", INDEX)?;
        dir.made.pop();
        dir.made.push(index);
        fs::sync(own).call_at("fsync", INDEX)
    }

    /// After a failure what was written goes, as far as that can be; a stream has the beginning of
    /// a tar, and no end.
    pub fn undo(&self) {
        if let Layout::Directory(dir) = self {
            for name in &dir.made {
                let _ = fs::unlink(dir.top, name);
            }
            for name in &dir.made_blobs {
                let _ = fs::unlink(&dir.blobs, name.as_bytes());
            }
            remove_blobs(dir.top);
        }
    }
}

impl Directory<'_> {
    fn create_blob(&mut self, name: String) -> Result<File> {
        let made = fs::create_file(&self.blobs, name.as_bytes(), 0o644);
        let file = made.call_at("create", format!("blobs/sha256/{name}"))?;
        self.made_blobs.push(name);
        Ok(File(file))
    }

    /// `COMING` is the last.
    fn put(&mut self, name: &'static [u8], data: &[u8]) -> Result<()> {
        let file = fs::create_file(self.top, name, 0o644).call_at("create", name)?;
        self.made.push(name);
        fs::write_all(&file, data).call_at("write", name)?;
        fs::sync(&file).call_at("fsync", name)
    }
}

/// Makes a directory that nobody else has made meanwhile.
fn make(dir: impl AsFd, name: &[u8]) -> Result<()> {
    match fs::mkdir(dir, name, 0o755) {
        Err(Errno::EXIST) => Err(not_empty()),
        made => made.call_at("mkdir", name),
    }
}

fn blobs_in(top: BorrowedFd<'_>) -> Result<OwnedFd> {
    let above = fs::open_dir(top, b"blobs").call_at("open", "blobs")?;
    make(&above, b"sha256")?;
    fs::open_dir(&above, b"sha256").call_at("open", "blobs/sha256")
}

/// What is not empty stays.
fn remove_blobs(top: BorrowedFd<'_>) {
    if let Ok(above) = fs::open_dir(top, b"blobs") {
        let _ = fs::rmdir(above, b"sha256");
    }
    let _ = fs::rmdir(top, b"blobs");
}

fn not_empty() -> Error {
    let message = "the directory is not empty";
    Error::new(Code::NotEmpty, Errno::NOTEMPTY, message)
}

fn open<'w, 'a>(
    writer: &'w mut Option<Writer<&'a mut dyn Sink>>,
) -> Result<&'w mut Writer<&'a mut dyn Sink>> {
    writer.as_mut().ok_or_else(over)
}

fn over() -> Error {
    Error::new(Code::Bug, Errno::NOTRECOVERABLE, "the layout is written")
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
