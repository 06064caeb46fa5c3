//! The records of a PAX header, as they are written.

use super::entry::Time;
use super::pax;
use crate::digits::Digits;
use crate::error::{Error, Result};
use std::borrow::Cow;

/// A key and its value.
type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// Records in the making. A header has few: they are sorted when all are there.
#[derive(Default)]
pub(super) struct Records<'a> {
    all: Vec<Pair<'a>>,
    /// A name among them is not UTF-8.
    pub(super) binary: bool,
}

impl<'a> Records<'a> {
    /// One that is not there yet.
    pub(super) fn add(&mut self, key: &'a str, value: impl Into<Cow<'a, [u8]>>) {
        let value = value.into();
        self.binary |= std::str::from_utf8(&value).is_err();
        self.all.push((key.as_bytes().into(), value));
    }

    pub(super) fn number(&mut self, key: &'a str, value: u64) {
        self.add(key, Digits::decimal(value).to_vec());
    }

    pub(super) fn attribute(&mut self, name: &[u8], value: &'a [u8]) -> Result<()> {
        if name.is_empty() || name.contains(&0) {
            return Err(Error::invalid(
                "an extended attribute's name is empty or holds a NUL byte",
            ));
        }
        let (key, value) = if name.contains(&b'=') {
            let key = [pax::LIBARCHIVE_XATTR, &pax::percent_encode(name)].concat();
            (key, pax::base64_encode(value).into())
        } else {
            ([pax::SCHILY_XATTR, name].concat(), value.into())
        };
        self.all.push((key.into(), value));
        Ok(())
    }

    /// All of them, sorted by key.
    pub(super) fn encode(mut self) -> Result<Vec<u8>> {
        self.all.sort_unstable();
        if self.all.windows(2).any(|two| two[0].0 == two[1].0) {
            return Err(Error::invalid("an extended attribute is given twice"));
        }
        let mut bytes = Vec::new();
        for (key, value) in &self.all {
            append(&mut bytes, key, value);
        }
        Ok(bytes)
    }
}

/// Appends a record; its length counts its own digits.
fn append(bytes: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = Digits::decimal(rest as u64);
    loop {
        let more = Digits::decimal((rest + len.len()) as u64);
        let enough = more.len() == len.len();
        len = more;
        if enough {
            break;
        }
    }
    bytes.reserve(rest + len.len());
    for part in [&*len, b" ", key, b"=", value, b"\n"] {
        bytes.extend_from_slice(part);
    }
}

/// One record, right or wrong.
#[cfg(any(test, fuzzing))]
pub(super) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(&mut bytes, key, value);
    bytes
}

/// A time as PAX writes it, without needless zeros.
pub(super) fn time(Time { sec, nsec }: Time) -> Vec<u8> {
    let (sign, sec, nsec) = match (sec < 0, nsec) {
        (false, _) => (&b""[..], sec.unsigned_abs(), nsec),
        (true, 0) => (&b"-"[..], sec.unsigned_abs(), 0),
        (true, _) => (&b"-"[..], (sec + 1).unsigned_abs(), 1_000_000_000 - nsec),
    };
    let mut text = Vec::with_capacity(32);
    text.extend_from_slice(sign);
    text.extend_from_slice(&Digits::decimal(sec));
    if nsec > 0 {
        let fraction = Digits::of::<10>(nsec.into(), 9);
        let zeros = fraction.iter().rev().take_while(|&&d| d == b'0').count();
        text.push(b'.');
        text.extend_from_slice(fraction.get(..fraction.len() - zeros).unwrap_or_default());
    }
    text
}
