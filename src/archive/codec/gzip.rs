//! Gzip members (RFC 1952): header fields, raw deflate, CRC and length.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::skip_padding;
use crate::archive::buffer::Buffer;
use crate::archive::{Source, malformed, truncated};
use crate::error::Result;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;

const FHCRC: u8 = 2;
const FEXTRA: u8 = 4;
const FNAME: u8 = 8;
const FCOMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

pub(super) struct Gzip {
    inflate: Decompress,
    crc: Crc,
    state: State,
}

enum State {
    First,
    Body,
    Between,
    End,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Gzip {
            inflate: Decompress::new(false),
            crc: Crc::new(),
            state: State::First,
        }
    }

    pub(super) fn read<S: Source>(
        &mut self,
        input: &mut Buffer<S>,
        out: &mut [u8],
    ) -> Result<usize> {
        loop {
            match self.state {
                State::First => self.start(input)?,
                State::Body => {
                    let n = self.body(input, out)?;
                    if n > 0 {
                        return Ok(n);
                    }
                }
                State::Between => {
                    input.fill_to(1)?;
                    match input.unread().first() {
                        None => self.state = State::End,
                        Some(0) => {
                            skip_padding(input, "gzip")?;
                            self.state = State::End;
                        }
                        Some(_) => self.start(input)?,
                    }
                }
                State::End => return Ok(0),
            }
        }
    }

    fn start<S: Source>(&mut self, input: &mut Buffer<S>) -> Result<()> {
        read_header(input)?;
        self.inflate.reset(false);
        self.crc.reset();
        self.state = State::Body;
        Ok(())
    }

    fn body<S: Source>(&mut self, input: &mut Buffer<S>, out: &mut [u8]) -> Result<usize> {
        let available = input.fill_to(1)?;
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(input.unread(), out, FlushDecompress::None)
            .map_err(|_| malformed("gzip: the deflate data is damaged"))?;
        let read = (self.inflate.total_in() - read) as usize;
        let written = (self.inflate.total_out() - written) as usize;
        input.take(read);
        self.crc.update(out.get(..written).unwrap_or_default());
        if status == Status::StreamEnd {
            self.check_trailer(input)?;
            self.state = State::Between;
        } else if read == 0 && written == 0 {
            return Err(match available {
                0 => truncated("gzip: the blob ends inside a member"),
                _ => malformed("gzip: the deflate data is damaged"),
            });
        }
        Ok(written)
    }

    fn check_trailer<S: Source>(&mut self, input: &mut Buffer<S>) -> Result<()> {
        let [a, b, c, d, e, f, g, h] = take::<8, S>(input)?;
        if u32::from_le_bytes([a, b, c, d]) != self.crc.sum() {
            return Err(malformed("gzip: the checksum is wrong"));
        }
        if u32::from_le_bytes([e, f, g, h]) != self.crc.amount() {
            return Err(malformed("gzip: the length is wrong"));
        }
        Ok(())
    }
}

fn read_header<S: Source>(input: &mut Buffer<S>) -> Result<()> {
    input.fill_to(MAGIC.len())?;
    if !input
        .unread()
        .iter()
        .zip(MAGIC)
        .all(|(&byte, magic)| byte == magic)
    {
        return Err(malformed("gzip: garbage follows the compressed data"));
    }
    let fixed = take::<10, S>(input)?;
    let [_, _, method, flags, ..] = fixed;
    if method != DEFLATE {
        return Err(malformed(format!(
            "gzip: unknown compression method {method}"
        )));
    }
    if flags & RESERVED != 0 {
        return Err(malformed("gzip: reserved flags are set"));
    }
    let mut crc = Crc::new();
    crc.update(&fixed);
    if flags & FEXTRA != 0 {
        let len = take::<2, S>(input)?;
        crc.update(&len);
        skip(input, usize::from(u16::from_le_bytes(len)), &mut crc)?;
    }
    for flag in [FNAME, FCOMMENT] {
        if flags & flag != 0 {
            skip_string(input, &mut crc)?;
        }
    }
    if flags & FHCRC != 0 {
        let sum = u16::from_le_bytes(take::<2, S>(input)?);
        if u32::from(sum) != crc.sum() & 0xffff {
            return Err(malformed("gzip: the header checksum is wrong"));
        }
    }
    Ok(())
}

fn cut_short() -> crate::error::Error {
    truncated("gzip: the blob ends inside a member's header or trailer")
}

fn take<const N: usize, S: Source>(input: &mut Buffer<S>) -> Result<[u8; N]> {
    input.fill_to(N)?;
    input.take(N).try_into().map_err(|_| cut_short())
}

fn skip<S: Source>(input: &mut Buffer<S>, mut count: usize, crc: &mut Crc) -> Result<()> {
    while count > 0 {
        let n = input.fill_to(1)?.min(count);
        if n == 0 {
            return Err(cut_short());
        }
        crc.update(input.take(n));
        count -= n;
    }
    Ok(())
}

/// Skips a NUL-terminated field of any length.
fn skip_string<S: Source>(input: &mut Buffer<S>, crc: &mut Crc) -> Result<()> {
    loop {
        if input.fill_to(1)? == 0 {
            return Err(cut_short());
        }
        let waiting = input.unread();
        match waiting.iter().position(|&byte| byte == 0) {
            Some(end) => {
                crc.update(input.take(end + 1));
                return Ok(());
            }
            None => {
                let n = waiting.len();
                crc.update(input.take(n));
            }
        }
    }
}
