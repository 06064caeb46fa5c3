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

use super::reader::Time;
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
mod tests {
    use super::*;
    use crate::error::Errno;

    #[test]
    fn times() {
        let t = |sec, nsec| Time { sec, nsec };
        let long = format!("1.{}", "9".repeat(60));
        let good = [
            ("0", t(0, 0)),
            ("1.5", t(1, 500_000_000)),
            ("-1.5", t(-2, 500_000_000)),
            ("-1", t(-1, 0)),
            ("-0.000000001", t(-1, 999_999_999)),
            ("5.", t(5, 0)),
            (&long, t(1, 999_999_999)),
            ("1152921504606846976", t(1 << 60, 0)),
            ("99999999999999999999", t(i64::MAX, 0)),
            ("-99999999999999999999", t(i64::MIN, 0)),
        ];
        for (text, want) in good {
            assert_eq!(time(text.as_bytes()).unwrap(), want, "{text}");
        }
        for text in [
            "nan", "1e5", "inf", "-", ".5", "-.5", "+1", " 1", "1 ", "1.2.3", "0x1", "--1",
        ] {
            assert_eq!(
                time(text.as_bytes()).unwrap_err().errno(),
                Errno::BADMSG,
                "{text}"
            );
        }
    }

    #[test]
    fn owners() {
        assert_eq!(owner(b"4294967294", "uid").unwrap(), u32::MAX - 1);
        for text in [
            "4294967295",
            "4294967296",
            "4294968296",
            "-1",
            "-2",
            "99999999999999999999999",
        ] {
            assert_eq!(
                owner(text.as_bytes(), "uid").unwrap_err().errno(),
                Errno::INVAL,
                "{text}"
            );
        }
        for text in ["x", "-", "1 ", "1.0", "0x1"] {
            assert_eq!(
                owner(text.as_bytes(), "uid").unwrap_err().errno(),
                Errno::BADMSG,
                "{text}"
            );
        }
    }

    #[test]
    fn malformed_records() {
        let bad: [&[u8]; 20] = [
            b"x",
            b" ",
            b"5",
            b"0 a=b\n",
            b"1 a=b\n",
            b"2 a=b\n",
            b"5 a=b\n",
            b"7 a=b\n",
            b"6 a=b\nx",
            b"99999999999999999999 a=b\n",
            b"18446744073709551616 a=b\n",
            b"-6 a=b\n",
            b"+6 a=b\n",
            b" 6 a=b\n",
            b"6x a=b\n",
            b"6  a=b\n",
            b"5 =b\n",
            b"5 ab\n",
            b"6 a=bc",
            b"8 a\0b=c\n",
        ];
        for data in bad {
            let shown = data.escape_ascii();
            let error = Extended::parse(data)
                .err()
                .unwrap_or_else(|| panic!("{shown}"));
            assert_eq!(error.errno(), Errno::BADMSG, "{shown}");
            assert!(Global::default().update(data).is_err(), "{shown}");
        }
        assert!(
            Extended::parse(b"6 a=b\n06 a=b\n").is_err(),
            "06 is not the record's length"
        );
        assert!(Extended::parse(b"07 a=b\n").is_ok());
    }

    #[test]
    fn a_newline_forges_nothing() {
        let inner = b"12 path=evil\n";
        let mut data = format!("{} path=a\n", 9 + 2 + inner.len()).into_bytes();
        data.extend_from_slice(inner);
        data.push(b'\n');
        let parsed = Extended::parse(&data).unwrap();
        assert_eq!(parsed.path.unwrap(), b"a\n12 path=evil\n");
    }

    #[test]
    fn last_record_wins_and_empty_takes_back() {
        let parsed = Extended::parse(b"9 path=a\n9 path=b\n9 uid=10\n7 uid=\n").unwrap();
        assert_eq!(parsed.path.unwrap(), b"b");
        assert_eq!(parsed.uid, Some(None));
        assert_eq!(parsed.gid, None);
    }

    #[test]
    fn base64_and_percent() {
        for len in 0..20_u8 {
            let data: Vec<u8> = (0..len).map(|i| i.wrapping_mul(77) ^ 0xa5).collect();
            let text = base64_encode(&data);
            assert_eq!(base64_decode(&text).unwrap(), data);
            let padded = [&text[..], &b"=="[..(3 - data.len() % 3) % 3]].concat();
            assert_eq!(base64_decode(&padded).unwrap(), data);
        }
        for text in ["A", "AAAAA", "A===", "AA A", "AA\n", "=AAA", "AA-_"] {
            assert!(base64_decode(text.as_bytes()).is_err(), "{text}");
        }
        let name = b"user.a=b%c \xff";
        assert_eq!(percent_decode(&percent_encode(name)).unwrap(), name);
        for text in ["%", "%4", "%zz", "a%4"] {
            assert!(percent_decode(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn attributes() {
        let record = |key: &str, value: &[u8]| super::super::writer::record(key.as_bytes(), value);
        let parsed = Extended::parse(
            &[
                record("LIBARCHIVE.xattr.user.a", b"eHg"),
                record("SCHILY.xattr.user.a", b"\0\n="),
                record("LIBARCHIVE.xattr.user.%3D", b"eHg="),
                record("SCHILY.xattr.user.e", b""),
            ]
            .concat(),
        )
        .unwrap();
        let got: Vec<_> = parsed.xattrs.into_iter().collect();
        let want = [
            (&b"user.="[..], &b"xx"[..]),
            (b"user.a", b"\0\n="),
            (b"user.e", b""),
        ];
        assert_eq!(got, want.map(|(k, v)| (k.to_vec(), v.to_vec())));
        for (key, value) in [
            ("SCHILY.xattr.", &b"x"[..]),
            ("LIBARCHIVE.xattr.", b"eHg"),
            ("LIBARCHIVE.xattr.user.a%00", b"eHg"),
            ("LIBARCHIVE.xattr.user.a", b"*"),
            ("path", b"a\0b"),
            ("linkpath", b"a\0b"),
            ("size", b"-1"),
            ("size", b"9223372036854775808"),
        ] {
            assert!(Extended::parse(&record(key, value)).is_err(), "{key}");
        }
    }
}
