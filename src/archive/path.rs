//! Names as archives spell them, made plain.

use super::{forbidden, whiteout};
use crate::error::{Code, Errno, Error, Result};

/// The longest name of one file.
const NAME_MAX: usize = 255;

/// The name relative to the layer's root, in its one plain spelling: no slash at either end, none
/// doubled, no `.`; the root itself is empty.
///
/// `..` anywhere and NUL are EINVAL, even where the result would stay inside the root. A component
/// of more than 255 bytes is ENAMETOOLONG, except that a whiteout may name a file of 255 bytes:
/// markers are never made on a disk.
pub fn clean(name: &[u8]) -> Result<Vec<u8>> {
    if name.contains(&0) {
        return Err(forbidden("the name holds a NUL byte").at(name));
    }
    let mut plain = Vec::with_capacity(name.len());
    for part in name.split(|&byte| byte == b'/') {
        if part.is_empty() || part == b"." {
            continue;
        }
        if part == b".." {
            return Err(forbidden("the name holds \"..\"").at(name));
        }
        let hidden = part.strip_prefix(whiteout::PREFIX).unwrap_or(part);
        if hidden.len() > NAME_MAX {
            let message = format!("a part of the name is longer than {NAME_MAX} bytes");
            return Err(Error::new(Code::Archive, Errno::NAMETOOLONG, message).at(name));
        }
        if !plain.is_empty() {
            plain.push(b'/');
        }
        plain.extend_from_slice(part);
    }
    Ok(plain)
}

/// Parent and last component of a clean name; the parent of a name without a slash is the root, "".
pub fn split(clean: &[u8]) -> (&[u8], &[u8]) {
    match clean.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (
            clean.get(..slash).unwrap_or_default(),
            clean.get(slash + 1..).unwrap_or_default(),
        ),
        None => (b"", clean),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name() {
        let same: [&[u8]; 7] = [
            b"a/b",
            b"/a/b",
            b"./a/b",
            b"a//b/",
            b"././/a/./b/.",
            b"///a/b//",
            b"a/b/./",
        ];
        for name in same {
            assert_eq!(clean(name).unwrap(), b"a/b");
        }
        let root: [&[u8]; 5] = [b"", b".", b"./", b"/", b"//.//"];
        for name in root {
            assert_eq!(clean(name).unwrap(), b"");
        }
    }

    #[test]
    fn bytes_are_kept() {
        for name in [
            &b"-rf"[..],
            b"a\nb",
            b"\xff\xfe",
            b"a\\b",
            b"...",
            b"..a/a..",
        ] {
            assert_eq!(clean(name).unwrap(), name);
        }
    }

    #[test]
    fn escapes_and_nul() {
        let bad: [&[u8]; 8] = [
            b"..",
            b"../x",
            b"a/../b",
            b"a/../../x",
            b"/..",
            b"./..",
            b"a/..",
            b"a\0b",
        ];
        for name in bad {
            let error = clean(name).unwrap_err();
            assert_eq!((error.errno(), error.code()), (Errno::INVAL, Code::Archive));
            assert_eq!(error.path(), name);
        }
    }

    #[test]
    fn lengths() {
        let name = |n: usize| [b"d/".to_vec(), vec![b'n'; n]].concat();
        assert!(clean(&name(255)).is_ok());
        assert_eq!(clean(&name(256)).unwrap_err().errno(), Errno::NAMETOOLONG);
        let marker = |n: usize| [b"d/.wh.".to_vec(), vec![b'n'; n]].concat();
        assert!(clean(&marker(255)).is_ok());
        assert_eq!(clean(&marker(256)).unwrap_err().errno(), Errno::NAMETOOLONG);
        assert!(clean(&b"./".repeat(100_000)).unwrap().is_empty());
        assert_eq!(clean(&b"d/".repeat(10_000)).unwrap().len(), 19_999);
    }

    #[test]
    fn parents() {
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"a"), (&b""[..], &b"a"[..]));
        assert_eq!(split(b""), (&b""[..], &b""[..]));
    }
}
