//! PAX records.

use super::{Choices, check_error};
use crate::archive::pax::{Extended, Global};
use crate::archive::records::record;

/// Any bytes as the body of an extended header, and records made of them.
pub fn pax(data: &[u8]) {
    body(data);
    body(&made(&mut Choices(data)));
}

fn body(data: &[u8]) {
    let sound = split(data).is_some();
    match Global::default().update(data) {
        Ok(()) => assert!(sound),
        Err(error) => check_error(&error),
    }
    let said = match Extended::parse(data) {
        Ok(said) => said,
        Err(error) => return check_error(&error),
    };
    let records = split(data).expect("each record is as long as it says");
    for name in said.path.iter().chain(&said.link).chain(said.xattrs.keys()) {
        assert!(!name.is_empty() && !name.contains(&0));
    }
    for owner in [said.uid, said.gid].into_iter().flatten().flatten() {
        assert!(owner < u32::MAX);
    }
    if let Some(Some(time)) = said.mtime {
        assert!(time.nsec < 1_000_000_000);
    }
    for size in said.size.iter().chain(&said.major).chain(&said.minor) {
        assert!(*size <= i64::MAX as u64);
    }
    // The last record of a key is what counts.
    let last = |key: &[u8]| {
        records
            .iter()
            .rev()
            .find(|(k, _)| k == &key)
            .map(|(_, v)| *v)
    };
    assert_eq!(
        said.path.as_deref(),
        last(b"path").filter(|value| !value.is_empty())
    );
    assert_eq!(
        said.link.as_deref(),
        last(b"linkpath").filter(|value| !value.is_empty())
    );
    for (name, value) in &said.xattrs {
        if let Some(raw) = last(&[b"SCHILY.xattr.", &name[..]].concat()) {
            assert_eq!(raw, value);
        }
    }
    // The same said anew.
    let mut again = Vec::new();
    for (key, value) in [(&b"path"[..], &said.path), (b"linkpath", &said.link)] {
        again.extend(value.iter().flat_map(|value| record(key, value)));
    }
    for (name, value) in said.xattrs.iter().filter(|(name, _)| !name.contains(&b'=')) {
        again.extend(record(&[b"SCHILY.xattr.", &name[..]].concat(), value));
    }
    let again = Extended::parse(&again).unwrap();
    assert_eq!((&again.path, &again.link), (&said.path, &said.link));
    assert!(
        again
            .xattrs
            .iter()
            .all(|(name, value)| said.xattrs.get(name) == Some(value))
    );
}

/// The records as the standard has them, read in the simplest way.
fn split(mut data: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !data.is_empty() {
        let space = data.iter().position(|&byte| byte == b' ')?;
        let digits = std::str::from_utf8(&data[..space]).ok()?;
        let len: usize = digits.parse().ok().filter(|_| !digits.starts_with('+'))?;
        if len <= space + 1 || len > data.len() || data[len - 1] != b'\n' {
            return None;
        }
        let record = &data[space + 1..len - 1];
        let equals = record.iter().position(|&byte| byte == b'=')?;
        records.push((&record[..equals], &record[equals + 1..]));
        data = &data[len..];
    }
    Some(records)
}

/// Records whose lengths are right.
fn made(choices: &mut Choices<'_>) -> Vec<u8> {
    const KEYS: [&[u8]; 22] = [
        b"path",
        b"linkpath",
        b"size",
        b"uid",
        b"gid",
        b"mtime",
        b"atime",
        b"hdrcharset",
        b"comment",
        b"SCHILY.devmajor",
        b"SCHILY.devminor",
        b"SCHILY.xattr.user.a",
        b"SCHILY.xattr.",
        b"LIBARCHIVE.xattr.user%2Ea",
        b"LIBARCHIVE.xattr.",
        b"GNU.sparse.major",
        b"GNU.sparse.map",
        b"GNU.sparse.offset",
        b"GNU.sparse.numbytes",
        b"GNU.sparse.name",
        b"GNU.sparse.realsize",
        b"SCHILY.acl.access",
    ];
    let mut data = Vec::new();
    while !choices.is_empty() {
        let mut key = choices.of(&KEYS).to_vec();
        let more = choices.below(4);
        key.extend_from_slice(choices.bytes(more));
        let len = choices.below(40);
        data.extend(record(&key, choices.bytes(len)));
    }
    data
}
