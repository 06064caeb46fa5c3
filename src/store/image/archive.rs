//! The files of an image archive: in a directory, or in a tar that is read once for its names and
//! then where they are.
//!
//! A stream, and a compressed archive, become such a tar first, in a file without a name in the
//! stage. Links lead to other files of the archive, and to nothing else.

use super::names::{self, Names, Place};
use super::options::Archive;
use crate::archive::{
    Compression, Decoder, Kind, Limits as TarLimits, Reader, Source, compression, path,
};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::store::Limits;
use crate::store::apply::{decoding, reading};
use crate::sys::{AsFd, BorrowedFd, OwnedFd, fs};
use crate::watch::Watch;
use std::sync::Arc;

/// Members of an archive: each takes memory, and no image comes near.
const MAX_MEMBERS: u64 = 1 << 16;

/// Bytes of a member's name.
const MAX_NAME: usize = 4096;

/// What is copied at once.
const PIECE: usize = 128 << 10;

/// See the module's text.
pub enum Files {
    /// By path, below a directory.
    Directory(OwnedFd),
    /// In a file.
    Tar(Tar),
}

impl Files {
    /// Opens an archive; `stage` is where a file can be.
    pub fn open(
        from: Archive<'_>,
        stage: BorrowedFd<'_>,
        limits: &Limits,
        watch: &mut Watch<'_>,
    ) -> Result<Files> {
        match from {
            Archive::Directory(dir) => {
                let own = rustix::io::fcntl_dupfd_cloexec(dir, 0).call("dup")?;
                Ok(Files::Directory(own))
            }
            Archive::File(file) => {
                let start = fs::position(file).call("lseek")?;
                let size = fs::stat(file).call("statx")?.size;
                let own = rustix::io::fcntl_dupfd_cloexec(file, 0).call("dup")?;
                let file = Arc::new(own);
                let mut head = [0; 10];
                let got = fs::read_at(&file, &mut head, start).call("read")?;
                let mut plain = Member::new(file.clone(), start, size.saturating_sub(start));
                match compression(head.get(..got).unwrap_or_default())? {
                    Compression::Plain => Tar::read(plain, limits, watch).map(Files::Tar),
                    _ => Self::spool(&mut plain, stage, limits, watch),
                }
            }
            Archive::Stream(source) => Self::spool(source, stage, limits, watch),
        }
    }

    /// Writes the uncompressed stream to a file.
    fn spool(
        source: &mut dyn Source,
        stage: BorrowedFd<'_>,
        limits: &Limits,
        watch: &mut Watch<'_>,
    ) -> Result<Files> {
        let file = fs::scratch_file(stage).call_at("create", "stage")?;
        let mut options = decoding(limits);
        (options.blob_digest, options.diff_id) = (false, false);
        let mut decoder = Decoder::new(source, options);
        let mut piece = vec![0; PIECE];
        let mut size = 0;
        loop {
            let n = decoder.read(&mut piece)?;
            if n == 0 {
                break;
            }
            watch.bytes(n as u64)?;
            let data = piece.get(..n).unwrap_or_default();
            fs::write_all(&file, data).call_at("write", "stage")?;
            size += n as u64;
        }
        Tar::read(Member::new(Arc::new(file), 0, size), limits, watch).map(Files::Tar)
    }

    /// The file at a path; none where there is none. What is there and is no regular file of the
    /// archive is an error.
    pub fn get(&self, path: &str) -> Result<Option<Member>> {
        let clean = path::clean(path.as_bytes())?;
        if clean.is_empty() {
            return Ok(None);
        }
        match self {
            Files::Directory(dir) => {
                let file = match fs::open_within(dir, &clean) {
                    Ok(file) => file,
                    Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                    Err(Errno::XDEV) => return Err(outside(path)),
                    Err(Errno::NXIO | Errno::NODEV) => return Err(no_file(path)),
                    Err(errno) => return Err(errno).call_at("open", path),
                };
                let meta = fs::stat(&file).call_at("statx", path)?;
                match meta.kind {
                    fs::Kind::File => Ok(Some(Member::new(Arc::new(file), 0, meta.size))),
                    _ => Err(no_file(path)),
                }
            }
            Files::Tar(tar) => tar.get(&clean),
        }
    }

    /// The whole of a small file; EFBIG where it is not small.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.get(path)?
            .map(|mut member| member.whole(path))
            .transpose()
    }
}

/// A tar, and where its members are.
pub struct Tar {
    file: Arc<OwnedFd>,
    names: Names,
}

impl Tar {
    /// Reads the names.
    fn read(tar: Member, limits: &Limits, watch: &mut Watch<'_>) -> Result<Tar> {
        let (file, base) = (tar.file.clone(), tar.at);
        let asked = reading(limits);
        let limits = TarLimits {
            max_entries: asked.max_entries.min(MAX_MEMBERS),
            max_path: asked.max_path.min(MAX_NAME),
            ..asked
        };
        let mut names = Names::default();
        let mut reader = Reader::new(tar, limits);
        while let Some(entry) = reader.next_entry().map_err(|e| e.context("the archive"))? {
            watch.check()?;
            let member = match entry.kind {
                Kind::File if entry.sparse => {
                    let message = "a sparse file in an image archive is not supported";
                    return Err(
                        Error::new(Code::Unsupported, Errno::OPNOTSUPP, message).at(&entry.path)
                    );
                }
                Kind::File => names::Member::File(Place {
                    start: base + reader.offset(),
                    size: entry.size,
                }),
                Kind::HardLink => names::Member::HardLink(&entry.link),
                Kind::Symlink => names::Member::Symlink(&entry.link),
                Kind::Directory => names::Member::Directory,
                _ => names::Member::Other,
            };
            names.add(&entry.path, &member)?;
        }
        Ok(Tar { file, names })
    }

    fn get(&self, path: &[u8]) -> Result<Option<Member>> {
        // No name is longer.
        if path.len() > MAX_NAME {
            return Ok(None);
        }
        let found = self.names.find(path).map_err(|e| e.at(path))?;
        Ok(found.map(|place| Member::new(self.file.clone(), place.start, place.size)))
    }
}

fn outside(path: impl AsRef<[u8]>) -> Error {
    let message = "it leads out of the archive";
    Error::new(Code::Escape, Errno::XDEV, message).at(path)
}

fn no_file(path: &str) -> Error {
    Error::new(Code::Archive, Errno::BADMSG, "it is no regular file").at(path)
}

/// A file of an archive, or a part of one.
pub struct Member {
    file: Arc<OwnedFd>,
    at: u64,
    left: u64,
}

impl Member {
    /// `size` bytes of a file, from `start`.
    pub fn new(file: Arc<OwnedFd>, start: u64, size: u64) -> Member {
        Member {
            file,
            at: start,
            left: size,
        }
    }

    /// How many bytes are left.
    pub fn size(&self) -> u64 {
        self.left
    }

    /// All of it; EFBIG for more than any JSON may have.
    pub fn whole(&mut self, path: &str) -> Result<Vec<u8>> {
        crate::oci::check_size(self.left).map_err(|e| e.at(path))?;
        let mut data = vec![0; usize::try_from(self.left).unwrap_or(usize::MAX)];
        let mut len = 0;
        while len < data.len() {
            match self.read(data.get_mut(len..).unwrap_or_default())? {
                0 => break,
                n => len += n,
            }
        }
        Ok(data)
    }
}

impl Source for Member {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        let room = buf.get_mut(..most).unwrap_or_default();
        if room.is_empty() {
            return Ok(0);
        }
        match fs::read_at(self.file.as_fd(), room, self.at).call("read")? {
            0 => Err(Error::new(
                Code::Truncated,
                Errno::BADMSG,
                "the file became shorter while it was read",
            )),
            n => {
                self.at += n as u64;
                self.left -= n as u64;
                Ok(n)
            }
        }
    }

    fn skip(&mut self, count: u64) -> Result<u64> {
        let passed = count.min(self.left);
        self.at += passed;
        self.left -= passed;
        Ok(passed)
    }
}
