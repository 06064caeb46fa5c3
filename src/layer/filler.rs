//! The content of new files: written at once, or handed in batches to the thread that does that.

use crate::error::{Errno, Error, Result, SysResult};
use crate::relay::Relay;
use crate::sys::xattr::Pairs;
use crate::sys::{OwnedFd, SysCall, fd, fs};
use crate::tree::attrs::{Attributes, Inode, Partial, Setter};
use crate::watch::Watch;
use std::cell::RefCell;
use std::collections::HashSet;
use std::os::fd::AsFd;

/// Files in one batch: each is a descriptor.
pub const FILES: usize = 32;

/// Files that are done and closed together by the other thread: the more of them, the more are
/// neighbours.
pub const CLOSING: usize = 96;

/// Bytes in one batch, of content, paths and attributes.
const BYTES: usize = 256 << 10;

/// What a file gets when its content is complete.
pub struct Last {
    /// Owner, mode, times.
    pub attributes: Attributes,
    /// Extended attributes.
    pub pairs: Pairs,
    /// It belongs to the caller's own user and group.
    pub own: bool,
    /// It was made with this mode, and has it.
    pub born: Option<u32>,
}

/// Where the content of files goes: into them, or to another thread where that one has time for it and
/// this one has not.
pub struct Content<'a> {
    filler: Filler,
    feed: Option<&'a Feed<'a>>,
    /// Where the file goes that was begun last, if to the other thread.
    handed: Option<&'a Feed<'a>>,
}

impl<'a> Content<'a> {
    /// What this thread writes, `filler` does.
    pub fn new(filler: Filler, feed: Option<&'a Feed<'a>>) -> Self {
        Content {
            filler,
            feed,
            handed: None,
        }
    }

    /// A new file of this path in the tar; what follows is its content, until its end.
    pub fn begin(&mut self, file: OwnedFd, path: &[u8]) -> Result<()> {
        self.handed = self.feed.filter(|feed| feed.is_wanted());
        match self.handed {
            None => {
                self.filler.begin(file);
                self.pass_on()
            }
            Some(feed) => feed.begin(file, path),
        }
    }

    /// The next piece of it, from `offset` on.
    pub fn data(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        match self.handed {
            None => {
                self.filler.data(offset, data).call("write")?;
                match offset {
                    // Its beginning looked.
                    0 => Ok(()),
                    _ => self.pass_on(),
                }
            }
            Some(feed) => feed.data(offset, data),
        }
    }

    /// What was handed over before must not wait for a file that is filled here, nor its failure.
    fn pass_on(&self) -> Result<()> {
        self.feed.map_or(Ok(()), Feed::pass_on)
    }

    /// It is complete, `size` bytes long.
    pub fn end(&mut self, size: u64, last: Last) -> Result<()> {
        match self.handed {
            None => {
                self.filler.end(size, &last)?;
                self.filler.close_some();
                Ok(())
            }
            Some(feed) => feed.end(size, last),
        }
    }

    /// Nothing is kept back.
    pub fn flush(&mut self) -> Result<()> {
        match self.feed {
            None => Ok(()),
            Some(feed) => feed.flush(),
        }
    }

    /// What this thread did.
    pub fn filled(self) -> Filled {
        self.filler.filled()
    }
}

/// What became of the files.
#[derive(Default)]
pub struct Filled {
    /// What could be done in part only.
    pub partial: Partial,
    /// Inodes that have extended attributes.
    pub tagged: HashSet<u64>,
}

impl Filled {
    /// With what became of others.
    pub fn plus(mut self, more: Filled) -> Self {
        self.partial = self.partial.plus(more.partial);
        self.tagged.extend(more.tagged);
        self
    }
}

/// Writes content into files, one after the other.
pub struct Filler {
    setter: Setter,
    file: Option<OwnedFd>,
    /// How far the file is written.
    written: u64,
    /// Files that are done, and how many of them it may keep open.
    closing: Vec<OwnedFd>,
    keep: usize,
    /// The path of the file in the tar.
    path: Vec<u8>,
}

impl Filler {
    /// One that keeps about so many files open that are done, to close them together; 0: none.
    pub fn new(strict: bool, keep: usize) -> Self {
        let mut setter = Setter::new(strict);
        setter.tagged = Some(HashSet::new());
        Filler {
            setter,
            file: None,
            written: 0,
            closing: Vec::new(),
            keep,
            path: Vec::new(),
        }
    }

    /// What was done.
    pub fn filled(self) -> Filled {
        Filled {
            partial: self.setter.partial,
            tagged: self.setter.tagged.unwrap_or_default(),
        }
    }

    fn begin(&mut self, file: OwnedFd) {
        self.file = Some(file);
        self.written = 0;
    }

    fn data(&mut self, offset: u64, data: &[u8]) -> SysCall<()> {
        let file = self.file.as_ref().ok_or(Errno::BADF)?;
        match (offset, self.written) {
            (0, 0) => fs::write_all(file, data)?,
            // After a hole the place has to be said.
            _ => fs::write_all_at(file, data, offset)?,
        }
        self.written = offset + data.len() as u64;
        Ok(())
    }

    fn end(&mut self, size: u64, last: &Last) -> Result<()> {
        let file = self.file.take().ok_or(Errno::BADF).call("close")?;
        if self.written < size {
            fs::truncate(&file, size).call("ftruncate")?;
        }
        let attributes = &last.attributes;
        let inode = Inode::Open(file.as_fd());
        self.setter
            .put_on(inode, attributes, &last.pairs, last.own, last.born)?;
        inode
            .set_times(attributes.atime, attributes.mtime)
            .call("utimensat")?;
        self.closing.push(file);
        Ok(())
    }

    /// All of a batch.
    pub fn batch(&mut self, batch: &mut Batch, watch: &mut Watch<'_>) -> Result<()> {
        let mut bytes = &batch.bytes[..];
        let mut lasts = batch.lasts.drain(..);
        for step in batch.steps.drain(..) {
            let done = match step {
                Step::Begin(file, length) => {
                    let (path, rest) = bytes.split_at(length);
                    bytes = rest;
                    self.path.clear();
                    self.path.extend_from_slice(path);
                    self.begin(file);
                    Ok(())
                }
                Step::Data(offset, length) => {
                    let (data, rest) = bytes.split_at(length);
                    bytes = rest;
                    watch.check()?;
                    self.data(offset, data).call("write")
                }
                Step::End(size) => {
                    let last = lasts.next().ok_or(Errno::BADF).call("close");
                    last.and_then(|last| self.end(size, &last))
                }
            };
            done.map_err(|e| e.at(&self.path))?;
        }
        self.close_some();
        drop(lasts);
        batch.clear();
        Ok(())
    }

    fn close_some(&mut self) {
        if self.closing.len() >= self.keep {
            fd::close_all(&mut self.closing);
        }
    }
}

/// Things to be done to files, in order. Their bytes are all in one place.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    steps: Vec<Step>,
    /// What the files that end get, in their order.
    lasts: Vec<Last>,
    files: usize,
    weight: usize,
}

enum Step {
    /// This file, and the length of its path.
    Begin(OwnedFd, usize),
    /// So many bytes at this offset.
    Data(u64, usize),
    /// The end of a file of this size.
    End(u64),
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        self.steps.clear();
        self.lasts.clear();
        (self.files, self.weight) = (0, 0);
    }

    fn add(&mut self, step: Step, bytes: &[u8], more: usize) {
        self.bytes.extend_from_slice(bytes);
        self.steps.push(step);
        self.weight += bytes.len() + more + size_of::<Step>();
    }

    fn is_full(&self) -> bool {
        self.files >= FILES || self.weight >= BYTES
    }
}

/// Hands files to a [`Filler`] on another thread.
pub struct Feed<'a> {
    batches: &'a Relay<Batch>,
    used: &'a Relay<Batch>,
    /// Whether whoever makes files is behind.
    behind: &'a dyn Fn() -> bool,
    batch: RefCell<Batch>,
}

impl<'a> Feed<'a> {
    /// Full batches go to `batches`, and come back by `used`.
    pub fn new(
        batches: &'a Relay<Batch>,
        used: &'a Relay<Batch>,
        behind: &'a dyn Fn() -> bool,
    ) -> Self {
        Feed {
            batches,
            used,
            behind,
            batch: RefCell::default(),
        }
    }

    /// Whether the next file is to go this way.
    fn is_wanted(&self) -> bool {
        (self.behind)() && !self.batches.is_full()
    }

    /// As [`Feed::flush`], where that need not wait.
    fn pass_on(&self) -> Result<()> {
        let has_steps = !self.batch.borrow().steps.is_empty();
        match has_steps && self.batches.is_full() {
            true => Ok(()),
            false => self.flush(),
        }
    }

    fn begin(&self, file: OwnedFd, path: &[u8]) -> Result<()> {
        self.batch.borrow_mut().files += 1;
        self.add(Step::Begin(file, path.len()), path, 0)
    }

    fn data(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.add(Step::Data(offset, data.len()), data, 0)
    }

    fn end(&self, size: u64, last: Last) -> Result<()> {
        let pairs = last.pairs.iter();
        let more = pairs.map(|(name, value)| name.len() + value.len() + size_of::<Last>());
        let more = more.sum::<usize>() + size_of::<Last>();
        self.batch.borrow_mut().lasts.push(last);
        self.add(Step::End(size), b"", more)
    }

    fn add(&self, step: Step, bytes: &[u8], more: usize) -> Result<()> {
        let mut batch = self.batch.borrow_mut();
        batch.add(step, bytes, more);
        let full = batch.is_full();
        drop(batch);
        match full {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Nothing is kept back. An error where the filler has ended: what it failed with is told in the
    /// place of this.
    pub fn flush(&self) -> Result<()> {
        let ended = || Error::sys(Errno::PIPE, "write");
        if self.batch.borrow().steps.is_empty() {
            return match self.batches.is_closed() {
                true => Err(ended()),
                false => Ok(()),
            };
        }
        let empty = self.used.take_now().unwrap_or_default();
        let full = self.batch.replace(empty);
        self.batches.give(full).map_err(|_| ended())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::fs::{Kind, Time};
    use std::cell::Cell;
    use std::fs::{File, read};
    use std::path::Path;

    fn begin(content: &mut Content<'_>, dir: &Path, name: &str) -> Result<()> {
        let file = File::create(dir.join(name)).unwrap();
        content.begin(file.into(), name.as_bytes())
    }

    fn end(content: &mut Content<'_>, size: u64) -> Result<()> {
        let time = Time { sec: 5, nsec: 7 };
        let attributes = Attributes {
            kind: Kind::File,
            mode: 0o640,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            atime: time,
            mtime: time,
        };
        let last = Last {
            attributes,
            pairs: vec![(b"bogus.k".to_vec(), b"v".to_vec())],
            own: true,
            born: None,
        };
        content.end(size, last)
    }

    #[test]
    fn two_threads_have_a_share() {
        let dir = tempfile::tempdir().unwrap();
        let (batches, used) = (Relay::new(2), Relay::new(2));
        let is_behind = Cell::new(false);
        let behind = || is_behind.get();
        let feed = Feed::new(&batches, &used, &behind);
        let mut content = Content::new(Filler::new(false, 2), Some(&feed));
        let made = |content: &mut Content<'_>, name: &str, handed: bool| {
            is_behind.set(handed);
            begin(content, dir.path(), name).unwrap();
            content.data(0, name.as_bytes()).unwrap();
            end(content, name.len() as u64).unwrap();
        };
        let whole = |name: &str| read(dir.path().join(name)).unwrap() == name.as_bytes();

        made(&mut content, "first", false);
        made(&mut content, "second", true);
        assert!(whole("first") && !whole("second"));
        assert_eq!(batches.length(), 0, "one file is no batch");
        // It does not wait for a file that is filled here.
        made(&mut content, "third", false);
        assert_eq!(batches.length(), 1);
        // Nor does this thread wait where there is no room for more.
        for n in 0..2 * FILES {
            made(&mut content, &format!("more {n}"), true);
        }
        assert!(batches.is_full());
        assert!(!whole("more 0") && whole(&format!("more {}", FILES + 1)));

        let mut filler = Filler::new(false, 2);
        let mut fill = || {
            while let Some(mut batch) = batches.take_now() {
                filler.batch(&mut batch, &mut Watch::default()).unwrap();
            }
        };
        fill();
        content.flush().unwrap();
        fill();
        for n in 0..2 * FILES {
            assert!(whole(&format!("more {n}")), "{n}");
        }
        let all = content.filled().plus(filler.filled());
        assert_eq!(all.partial.xattrs, 3 + 2 * FILES as u64);
    }

    #[test]
    fn a_file_that_is_filled_here_sees_that_the_other_thread_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (batches, used) = (Relay::new(1), Relay::new(1));
        let feed = Feed::new(&batches, &used, &|| false);
        let mut content = Content::new(Filler::new(false, 2), Some(&feed));
        begin(&mut content, dir.path(), "long").unwrap();
        content.data(0, b"some").unwrap();
        batches.close();
        let error = content.data(4, b"more").unwrap_err();
        assert_eq!(error.errno(), Errno::PIPE);
        let error = begin(&mut content, dir.path(), "next").unwrap_err();
        assert_eq!(error.errno(), Errno::PIPE);
    }
}
