//! From a blob as it was shipped to the bytes of the tar: codec, digests, byte limit.
//!
//! The codec is told by the blob's first bytes: gzip (any number of members), zstd (any number of
//! frames, skippable ones too) or else plain. Zeros may follow the last member or frame, nothing
//! else may. Names of other codecs are refused by name. A gzip inside a gzip is not looked for:
//! what comes out is not a tar.
//!
//! Memory is two fixed buffers and the codec's window (32 KiB, or for zstd at most what
//! [`DecoderOptions::zstd_window_log`] allows), whatever the blob says.
//!
//! A `Decoder` owns all its state and is `Send` when its source is: it can be run on another
//! thread behind a channel that is again a [`Source`], and the hashers, each fed whole buffers in
//! order, can move behind queues of their own. Callers see `read` and `finish` only.

mod gzip;
mod zst;

use super::buffer::Buffer;
use super::digest::{Digest, Sha256};
use super::{Source, malformed, over_limit};
use crate::error::{Code, Errno, Error, Result};
use std::time::Duration;

/// Compressed bytes are read in pieces of this size.
const INPUT: usize = 128 << 10;

/// What `finish` reads the rest of a blob with.
const DRAIN: usize = 128 << 10;

/// The longest magic number that is looked for.
const MAGIC: usize = 10;

/// How a blob is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// What a [`Decoder`] computes and allows.
#[derive(Clone, Debug)]
pub struct DecoderOptions {
    /// Hash the blob's own bytes.
    pub blob_digest: bool,
    /// Hash the uncompressed bytes.
    pub diff_id: bool,
    /// More uncompressed bytes than this are EFBIG, those after the end of the tar included.
    pub max_bytes: u64,
    /// The largest zstd window, as a power of two.
    pub zstd_window_log: u32,
}

impl Default for DecoderOptions {
    fn default() -> Self {
        DecoderOptions {
            blob_digest: true,
            diff_id: true,
            max_bytes: u64::MAX,
            zstd_window_log: 27,
        }
    }
}

/// What is known of a blob when all of it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// SHA-256 of the uncompressed bytes, if it was asked for.
    pub diff_id: Option<Digest>,
    /// SHA-256 of the blob, if it was asked for.
    pub blob_digest: Option<Digest>,
    /// How many uncompressed bytes there are.
    pub diff_size: u64,
    /// How many bytes the blob has.
    pub blob_size: u64,
    /// How the blob is compressed.
    pub compression: Compression,
}

/// Reads a blob and gives its uncompressed bytes. See the module's text.
pub struct Decoder<S> {
    input: Buffer<Tap<S>>,
    options: DecoderOptions,
    codec: Option<Codec>,
    /// Of the uncompressed bytes; a plain blob needs none of its own.
    hasher: Option<Sha256>,
    produced: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Ended,
    Failed,
}

enum Codec {
    Plain,
    Gzip(gzip::Gzip),
    Zstd(zst::Zstd),
}

impl<S: Source> Decoder<S> {
    /// Nothing is read before the first `read` or `finish`.
    pub fn new(source: S, options: DecoderOptions) -> Self {
        let hasher = (options.blob_digest || options.diff_id).then(Sha256::new);
        let tap = Tap {
            source,
            hasher,
            count: 0,
        };
        Decoder {
            input: Buffer::new(tap, INPUT),
            options,
            codec: None,
            hasher: None,
            produced: 0,
            state: State::Running,
        }
    }

    /// Gives the next uncompressed bytes; 0 is the end of the blob, reached with all checksums
    /// right. After an error every further call fails.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        match self.state {
            State::Ended => return Ok(0),
            State::Failed => return Err(malformed("reading the blob has failed before")),
            State::Running if buf.is_empty() => return Ok(0),
            State::Running => {}
        }
        let result = self.step(buf);
        match result {
            Ok(0) => self.state = State::Ended,
            Ok(_) => {}
            Err(_) => self.state = State::Failed,
        }
        result
    }

    /// Reads whatever is left of the blob, so that all of it is checked and hashed, and sums up.
    pub fn finish(&mut self) -> Result<Summary> {
        if self.state != State::Ended {
            let mut scratch = vec![0; DRAIN];
            while self.read(&mut scratch)? > 0 {}
        }
        let tap = self.input.source();
        let blob = tap.hasher.as_ref().map(Sha256::digest);
        let (compression, diff) = match self.codec {
            Some(Codec::Gzip(_)) => (Compression::Gzip, self.hasher.as_ref().map(Sha256::digest)),
            Some(Codec::Zstd(_)) => (Compression::Zstd, self.hasher.as_ref().map(Sha256::digest)),
            Some(Codec::Plain) | None => (Compression::Plain, blob),
        };
        Ok(Summary {
            diff_id: diff.filter(|_| self.options.diff_id),
            blob_digest: blob.filter(|_| self.options.blob_digest),
            diff_size: self.produced,
            blob_size: tap.count,
            compression,
        })
    }

    /// How many bytes of the blob were read so far, for progress.
    pub fn blob_bytes(&self) -> u64 {
        self.input.source().count
    }

    /// What hashes the uncompressed bytes.
    fn diff_hasher(&mut self) -> &mut Option<Sha256> {
        match self.codec {
            Some(Codec::Plain) | None => &mut self.input.source_mut().hasher,
            Some(Codec::Gzip(_) | Codec::Zstd(_)) => &mut self.hasher,
        }
    }

    fn step(&mut self, buf: &mut [u8]) -> Result<usize> {
        if self.codec.is_none() {
            self.codec = Some(self.detect()?);
        }
        // One byte more than allowed tells "just enough" from "too much".
        let room = (self.options.max_bytes - self.produced).saturating_add(1);
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(buf.len());
        let out = buf.get_mut(..room).unwrap_or_default();
        let n = match &mut self.codec {
            Some(Codec::Gzip(codec)) => codec.read(&mut self.input, out)?,
            Some(Codec::Zstd(codec)) => codec.read(&mut self.input, out)?,
            Some(Codec::Plain) | None => read_plain(&mut self.input, out)?,
        };
        if n as u64 > self.options.max_bytes - self.produced {
            let max = self.options.max_bytes;
            return Err(over_limit(format!(
                "the layer has more than {max} uncompressed bytes"
            )));
        }
        self.produced += n as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(out.get(..n).unwrap_or_default());
        }
        Ok(n)
    }

    fn detect(&mut self) -> Result<Codec> {
        self.input.fill_to(MAGIC)?;
        let codec = match compression(self.input.unread())? {
            Compression::Gzip => Codec::Gzip(gzip::Gzip::new()),
            Compression::Zstd => Codec::Zstd(zst::Zstd::new(self.options.zstd_window_log)?),
            Compression::Plain => Codec::Plain,
        };
        if !matches!(codec, Codec::Plain) {
            self.hasher = self.options.diff_id.then(Sha256::new);
            if !self.options.blob_digest {
                self.input.source_mut().hasher = None;
            }
        }
        Ok(codec)
    }
}

impl<S: Source> Source for Decoder<S> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        Decoder::read(self, buf)
    }

    /// Of what it has a codec may make nothing yet, and read more.
    fn is_ready_within(&mut self, longest: Duration) -> Result<bool> {
        match self.input.unread().is_empty() && self.state == State::Running {
            true => self.input.source_mut().source.is_ready_within(longest),
            false => Ok(true),
        }
    }

    /// That of the uncompressed bytes; it is the blob's own where the blob is plain.
    fn lend_hash(&mut self) -> Option<Sha256> {
        match self.codec {
            None => None,
            // What has been read and not given is in the blob's already.
            Some(Codec::Plain) if !self.input.unread().is_empty() => None,
            Some(_) => self.diff_hasher().take(),
        }
    }

    fn return_hash(&mut self, hash: Sha256) {
        *self.diff_hasher() = Some(hash);
    }
}

/// How a blob is compressed that begins so; EOPNOTSUPP for other codecs, by name.
pub fn compression(head: &[u8]) -> Result<Compression> {
    match head {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        // The longer magics leave a tar alone whose first name begins with, say, "BZh9".
        [
            b'B',
            b'Z',
            b'h',
            b'1'..=b'9',
            0x31,
            0x41,
            0x59,
            0x26,
            0x53,
            0x59,
            ..,
        ]
        | [
            b'B',
            b'Z',
            b'h',
            b'1'..=b'9',
            0x17,
            0x72,
            0x45,
            0x38,
            0x50,
            0x90,
            ..,
        ] => Err(unsupported("bzip2")),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(unsupported("xz")),
        [0x04, 0x22, 0x4d, 0x18, ..] => Err(unsupported("lz4")),
        _ => Ok(Compression::Plain),
    }
}

fn unsupported(name: &str) -> Error {
    let message = format!("the layer is compressed with {name}; only gzip and zstd are supported");
    Error::new(Code::Unsupported, Errno::OPNOTSUPP, message)
}

fn read_plain<S: Source>(input: &mut Buffer<S>, out: &mut [u8]) -> Result<usize> {
    let waiting = input.unread().len().min(out.len());
    if waiting == 0 {
        return input.read_through(out);
    }
    if let Some(room) = out.get_mut(..waiting) {
        room.copy_from_slice(input.take(waiting));
    }
    Ok(waiting)
}

/// Consumes zeros to the end of the blob; anything else is refused.
fn skip_padding<S: Source>(input: &mut Buffer<S>, codec: &str) -> Result<()> {
    loop {
        let n = input.fill_to(1)?;
        if n == 0 {
            return Ok(());
        }
        if input.take(n).iter().any(|&byte| byte != 0) {
            return Err(malformed(format!(
                "{codec}: garbage follows the compressed data"
            )));
        }
    }
}

/// Counts and hashes the blob's bytes as they come.
struct Tap<S> {
    source: S,
    hasher: Option<Sha256>,
    count: u64,
}

impl<S: Source> Source for Tap<S> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let n = self.source.read(buf)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(buf.get(..n).unwrap_or_default());
        }
        self.count += n as u64;
        Ok(n)
    }
}
