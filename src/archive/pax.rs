//! PAX extended headers: records `LENGTH KEY=VALUE\n`.
//!
//! A record is what its length says, so a newline in a value forges nothing. Within one header the
//! last record of a key wins; an empty value takes the key back, except for attributes, which may
//! be empty. Values are bytes whatever `hdrcharset` says, keys that are not known are passed over.
//!
//! Attributes come as `SCHILY.xattr.NAME`, the value raw, or `LIBARCHIVE.xattr.NAME`, the name
//! percent-encoded and the value in base64; the former wins. GNU tar percent-encodes `%` and `=`
//! in the former too, no other writer does: names are taken as they stand, as container tools do.

use std::collections::BTreeMap;

use super::entry::Time;
use super::sparse::Keys;
use super::{forbidden, malformed};
use crate::error::Result;

pub(super) const SCHILY_XATTR: &[u8] = b"SCHILY.xattr.";
pub(super) const LIBARCHIVE_XATTR: &[u8] = b"LIBARCHIVE.xattr.";

/// What a header says of a key: nothing (outer `None`), "not set" (`Some(None)`), or a value.
type Said<T> = Option<Option<T>>;

/// One parsed extended header.
#[derive(Default)]
pub(super) struct Extended {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Said<u32>,
    pub gid: Said<u32>,
    pub mtime: Said<Time>,
    pub major: Option<u64>,
    pub minor: Option<u64>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub sparse: Keys,
}

/// What global headers set for the entries after them. Names, sizes and attributes are not among
/// it: they make no sense for more than one entry.
#[derive(Default)]
pub(super) struct Global {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Time>,
}

impl Global {
    /// Takes over what a further global header says.
    pub(super) fn update(&mut self, data: &[u8]) -> Result<()> {
        for record in Records(data) {
            match record? {
                (b"uid", value) => self.uid = set(value, |v| owner(v, "uid"))?,
                (b"gid", value) => self.gid = set(value, |v| owner(v, "gid"))?,
                (b"mtime", value) => self.mtime = set(value, time)?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Extended {
    pub(super) fn parse(data: &[u8]) -> Result<Self> {
        let mut this = Extended::default();
        let mut second = BTreeMap::new();
        for record in Records(data) {
            let (key, value) = record?;
            match key {
                b"path" => this.path = set(value, |v| name(v, "path"))?,
                b"linkpath" => this.link = set(value, |v| name(v, "linkpath"))?,
                b"size" => this.size = set(value, |v| decimal(v, "size"))?,
                b"uid" => this.uid = Some(set(value, |v| owner(v, "uid"))?),
                b"gid" => this.gid = Some(set(value, |v| owner(v, "gid"))?),
                b"mtime" => this.mtime = Some(set(value, time)?),
                b"SCHILY.devmajor" => this.major = set(value, |v| decimal(v, "device number"))?,
                b"SCHILY.devminor" => this.minor = set(value, |v| decimal(v, "device number"))?,
                _ => {
                    if let Some(sparse) = key.strip_prefix(b"GNU.sparse.") {
                        this.sparse.record(sparse, value)?;
                    } else if let Some(attr) = key.strip_prefix(SCHILY_XATTR) {
                        this.xattrs
                            .insert(attribute(attr.to_vec())?, value.to_vec());
                    } else if let Some(attr) = key.strip_prefix(LIBARCHIVE_XATTR) {
                        second.insert(attribute(percent_decode(attr)?)?, base64_decode(value)?);
                    }
                }
            }
        }
        for (attr, value) in second {
            this.xattrs.entry(attr).or_insert(value);
        }
        Ok(this)
    }
}

/// The records of a header, in order; ends after the first error.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = split_record(self.0);
        match record {
            Some((key, value, rest)) => {
                self.0 = rest;
                Some(Ok((key, value)))
            }
            None => {
                self.0 = b"";
                Some(Err(malformed("a pax record is malformed")))
            }
        }
    }
}

fn split_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    // A length of more digits than this cannot be met by any header that is read.
    let digits = data.iter().take(20).position(|&byte| byte == b' ')?;
    let len = parse_decimal(data.get(..digits)?)?;
    let len = usize::try_from(len).ok()?;
    let rest = data.get(len..)?;
    let record = data.get(digits + 1..len)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    let key = record
        .get(..equals)
        .filter(|key| !key.is_empty() && !key.contains(&0))?;
    Some((key, record.get(equals + 1..)?, rest))
}

/// An empty value takes a key back.
fn set<T>(value: &[u8], parse: impl Fn(&[u8]) -> Result<T>) -> Result<Option<T>> {
    match value {
        b"" => Ok(None),
        value => parse(value).map(Some),
    }
}

/// Digits only, no sign, no space, within 64 bits.
pub(super) fn parse_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, &byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// A number that fits a file offset.
pub(super) fn decimal(value: &[u8], key: &str) -> Result<u64> {
    parse_decimal(value)
        .filter(|&number| number <= i64::MAX as u64)
        .ok_or_else(|| malformed(format!("pax {key} \"{}\" is not a number", show(value))))
}

/// An owner as Linux can hold it: -1 (4294967295) means "leave alone" there, so it is none.
pub(super) fn check_owner(value: i128, key: &str) -> Result<u32> {
    match u32::try_from(value) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(forbidden(format!("{key} {value} is out of range"))),
    }
}

fn owner(value: &[u8], key: &str) -> Result<u32> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    match parse_decimal(digits).map(i128::from) {
        Some(id) => check_owner(if negative { -id } else { id }, key),
        None if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            Err(forbidden(format!("{key} {} is out of range", show(value))))
        }
        None => Err(malformed(format!(
            "pax {key} \"{}\" is not a number",
            show(value)
        ))),
    }
}

pub(super) fn name(value: &[u8], key: &str) -> Result<Vec<u8>> {
    match value.contains(&0) {
        true => Err(malformed(format!("pax {key} holds a NUL byte"))),
        false => Ok(value.to_vec()),
    }
}

fn attribute(name: Vec<u8>) -> Result<Vec<u8>> {
    match name.is_empty() || name.contains(&0) {
        true => Err(malformed(
            "the name of an extended attribute is empty or holds a NUL byte",
        )),
        false => Ok(name),
    }
}

/// `[-]SECONDS[.FRACTION]`. Digits beyond nanoseconds are cut, seconds beyond 64 bits are the
/// nearest there are.
fn time(value: &[u8]) -> Result<Time> {
    let bad = || malformed(format!("pax mtime \"{}\" is not a time", show(value)));
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    let mut halves = digits.splitn(2, |&byte| byte == b'.');
    let seconds = halves.next().unwrap_or_default();
    let fraction = halves.next().unwrap_or_default();
    if seconds.is_empty() || !seconds.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(bad());
    }
    let sec = parse_decimal(seconds).and_then(|sec| i64::try_from(sec).ok());
    let nsec = (0..9).fold(0, |nsec, at| {
        nsec * 10 + fraction.get(at).map_or(0, |digit| u32::from(digit - b'0'))
    });
    Ok(match (sec, negative) {
        (Some(sec), false) => Time { sec, nsec },
        (Some(sec), true) if nsec == 0 => Time { sec: -sec, nsec },
        (Some(sec), true) => Time {
            sec: -sec - 1,
            nsec: 1_000_000_000 - nsec,
        },
        (None, false) => Time {
            sec: i64::MAX,
            nsec: 0,
        },
        (None, true) => Time {
            sec: i64::MIN,
            nsec: 0,
        },
    })
}

fn show(value: &[u8]) -> String {
    value
        .get(..value.len().min(40))
        .unwrap_or_default()
        .escape_ascii()
        .to_string()
}

fn percent_decode(text: &[u8]) -> Result<Vec<u8>> {
    let bad = || malformed("the name of an extended attribute is badly percent-encoded");
    let hex = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        match (hex(rest.next()), hex(rest.next())) {
            (Some(high), Some(low)) => bytes.push((high << 4 | low) as u8),
            _ => return Err(bad()),
        }
    }
    Ok(bytes)
}

pub(super) fn percent_encode(name: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'%' | b'=' | 0..=b' ' | 0x7f.. => {
                text.extend_from_slice(format!("%{byte:02X}").as_bytes())
            }
            _ => text.push(byte),
        }
    }
    text
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn base64_encode(data: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(data.len().div_ceil(3) * 4);
    for group in data.chunks(3) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte));
        let bits = bits << (8 * (3 - group.len()));
        for at in 0..=group.len() {
            let digit = bits >> (18 - 6 * at) & 63;
            text.push(BASE64.get(digit as usize).copied().unwrap_or_default());
        }
    }
    text
}

/// Padding at the end may be there or not: libarchive writes none.
fn base64_decode(text: &[u8]) -> Result<Vec<u8>> {
    let bad = || malformed("the value of an extended attribute is not base64");
    let pad = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    let digits = text.get(..text.len() - pad).unwrap_or_default();
    if pad > 2 || digits.len() % 4 == 1 {
        return Err(bad());
    }
    let mut data = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for &byte in group {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return Err(bad()),
            };
            bits = bits << 6 | u32::from(digit);
        }
        let [_, bytes @ ..] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        data.extend(bytes.iter().take(group.len() - 1));
    }
    Ok(data)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "tests/pax.rs"]
mod tests;
