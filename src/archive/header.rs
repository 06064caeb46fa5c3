//! The 512-byte header block: v7, ustar, GNU and star.
//!
//! Numbers are octal text or, as GNU writes what does not fit, big-endian two's complement marked
//! by the field's first bit. Octal text may be led by spaces and ends at a NUL or a space; what
//! follows a NUL is not looked at, as some writers leave old bytes there.

use super::{malformed, truncated};
use crate::error::Result;

/// The unit of everything in a tar.
pub(super) const BLOCK: usize = 512;

/// The largest numbers of a field of 12 and of 8 bytes in octal.
pub(super) const MAX_OCTAL_12: u64 = 0o77_777_777_777;
pub(super) const MAX_OCTAL_8: u64 = 0o7_777_777;

/// Where the fields are: first byte and length.
pub(super) mod field {
    pub type Field = (usize, usize);
    pub const NAME: Field = (0, 100);
    pub const MODE: Field = (100, 8);
    pub const UID: Field = (108, 8);
    pub const GID: Field = (116, 8);
    pub const SIZE: Field = (124, 12);
    pub const MTIME: Field = (136, 12);
    pub const CHECKSUM: Field = (148, 8);
    pub const TYPE: usize = 156;
    pub const LINK: Field = (157, 100);
    pub const MAGIC: Field = (257, 8);
    pub const MAJOR: Field = (329, 8);
    pub const MINOR: Field = (337, 8);
    pub const PREFIX: Field = (345, 155);
    /// star keeps times in the prefix's last bytes.
    pub const STAR_PREFIX: Field = (345, 131);
    pub const STAR_TRAILER: Field = (508, 4);
    /// The old GNU sparse format: four regions, a flag that more follow, the real size.
    pub const SPARSE: Field = (386, 96);
    pub const SPARSE_MORE: usize = 482;
    pub const SPARSE_SIZE: Field = (483, 12);
}
use field::Field;

pub(super) const MAGIC_USTAR: &[u8; 8] = b"ustar\x0000";
const MAGIC_GNU: &[u8; 8] = b"ustar  \0";

/// The dialect, told by the magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    V7,
    Ustar,
    Gnu,
}

/// A block whose checksum is right.
pub(super) struct Block<'a> {
    bytes: &'a [u8; BLOCK],
}

impl<'a> Block<'a> {
    pub(super) fn parse(bytes: &'a [u8; BLOCK]) -> Result<Self> {
        let block = Block { bytes };
        let claim = octal(block.raw(field::CHECKSUM), "checksum")
            .map_err(|_| malformed("this is no tar header"))?;
        if claim != checksum(bytes, u64::from) && claim != signed_checksum(bytes) {
            return Err(malformed(
                "the header checksum is wrong, or this is no tar header",
            ));
        }
        Ok(block)
    }

    pub(super) fn raw(&self, (start, len): Field) -> &'a [u8] {
        self.bytes.get(start..start + len).unwrap_or_default()
    }

    pub(super) fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    pub(super) fn typeflag(&self) -> u8 {
        self.byte(field::TYPE)
    }

    pub(super) fn format(&self) -> Format {
        let magic = self.raw(field::MAGIC);
        if magic == MAGIC_GNU {
            Format::Gnu
        } else if magic.starts_with(b"ustar\0") {
            Format::Ustar
        } else {
            Format::V7
        }
    }

    /// The name, with the prefix where the dialect has one.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(self.raw(field::NAME));
        let prefix = match self.format() {
            Format::Ustar if self.raw(field::STAR_TRAILER) == b"tar\0" => field::STAR_PREFIX,
            Format::Ustar => field::PREFIX,
            Format::V7 | Format::Gnu => return name.to_vec(),
        };
        match text(self.raw(prefix)) {
            b"" => name.to_vec(),
            prefix => [prefix, name].join(&b'/'),
        }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        text(self.raw(field::LINK)).to_vec()
    }

    /// A field that must be a number from 0 to 2^63-1.
    pub(super) fn unsigned(&self, field: Field, name: &str) -> Result<u64> {
        unsigned(self.raw(field), name)
    }

    /// A field that may be negative; beyond 64 bits it is the nearest number there is.
    pub(super) fn clamped(&self, field: Field, name: &str) -> Result<i64> {
        let value = number(self.raw(field), name)?;
        Ok(value.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }
}

/// `raw` as a number from 0 to 2^63-1.
pub(super) fn unsigned(raw: &[u8], name: &str) -> Result<u64> {
    let value = number(raw, name)?;
    match u64::try_from(value) {
        Ok(value) if value <= i64::MAX as u64 => Ok(value),
        Ok(_) => Err(malformed(format!("the {name} field is too large"))),
        Err(_) => Err(malformed(format!("the {name} field is negative"))),
    }
}

/// Everything up to the first NUL.
pub(super) fn text(raw: &[u8]) -> &[u8] {
    raw.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn number(raw: &[u8], name: &str) -> Result<i128> {
    let first = raw.first().copied().unwrap_or_default();
    if first & 0x80 == 0 {
        return octal(raw, name).map(i128::from);
    }
    // Bit 6 of the first byte is the sign. The widest field has 12 bytes: 95 bits.
    let mut value = i128::from(first & 0x3f) - i128::from(first & 0x40);
    for &byte in raw.iter().skip(1) {
        value = value << 8 | i128::from(byte);
    }
    Ok(value)
}

fn octal(raw: &[u8], name: &str) -> Result<u64> {
    let bad = || malformed(format!("the {name} field is not an octal number"));
    let digits = raw.trim_ascii_start();
    let digits = text(digits);
    if digits.is_empty() && raw.iter().any(|&byte| byte != 0 && byte != b' ') {
        // Readers disagree whether a leading NUL ends the number.
        return Err(bad());
    }
    let mut value = 0_u64;
    let mut rest = digits.iter();
    for &byte in rest.by_ref() {
        match byte {
            b'0'..=b'7' => value = value << 3 | u64::from(byte - b'0'),
            b' ' => break,
            _ => return Err(bad()),
        }
    }
    match rest.all(|&byte| byte == b' ') {
        true => Ok(value),
        false => Err(bad()),
    }
}

/// The sum of the block's bytes, with the checksum field taken for spaces.
pub(super) fn checksum(bytes: &[u8; BLOCK], value: impl Fn(u8) -> u64) -> u64 {
    let (start, len) = field::CHECKSUM;
    let sum = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |sum: u64, &byte| sum.wrapping_add(value(byte)))
    };
    let own = sum(bytes.get(start..start + len).unwrap_or_default());
    sum(bytes)
        .wrapping_sub(own)
        .wrapping_add(len as u64 * u64::from(b' '))
}

/// Some old tars summed signed chars.
fn signed_checksum(bytes: &[u8; BLOCK]) -> u64 {
    checksum(bytes, |byte| i64::from(byte as i8) as u64)
}

/// How many bytes of padding follow `size` bytes of data.
pub(super) fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// A block that the source ended in.
pub(super) fn cut_short(what: &str) -> crate::error::Error {
    truncated(format!("the archive ends inside {what}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let good: [(&[u8], i128); 12] = [
            (b"0000644\0", 0o644),
            (b"   644 \0", 0o644),
            (b"644\0\xff\xff\xff\xff", 0o644),
            (b"        ", 0),
            (b"\0\0\0\0", 0),
            (b"77777777", 0o77777777),
            (b"\x80\0\0\0\0\0\0\x01", 1),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", -1),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
            (b"\x80\0\0\0\x10\0\0\0\0\0\0\0", 1 << 60),
            (b"\xc0\0\0\0\0\0\0\0", -(1 << 62)),
            (b"777777777777", 0o777777777777),
        ];
        for (raw, value) in good {
            assert_eq!(number(raw, "x").unwrap(), value, "{}", raw.escape_ascii());
        }
        let bad: [&[u8]; 7] = [
            b"0000008\0",
            b"-1\0",
            b"0x10\0",
            b"12 34 \0",
            b"1e5\0",
            b"+1\0",
            b"\x0001\0",
        ];
        for raw in bad {
            assert!(number(raw, "x").is_err(), "{}", raw.escape_ascii());
        }
        assert!(unsigned(b"\xff\xff\xff\xff", "x").is_err());
        assert!(unsigned(b"\x80\0\0\0\x80\0\0\0\0\0\0\0", "x").is_err());
        assert!(unsigned(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", "x").is_ok());
    }

    #[test]
    fn padding_fills_the_block() {
        for (size, pad) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)] {
            assert_eq!(padding(size), pad);
        }
    }
}
