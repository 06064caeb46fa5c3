//! Names of layers.

use crate::error::{Error, Result};

/// The longest id, in bytes.
pub const MAX: usize = 128;

/// Checks an id: 1 to 128 of `A-Z a-z 0-9 . _ - + @`, beginning with a letter or digit. So no id
/// is a path, an option, or needs escaping in a mount's options.
pub fn check(id: &[u8]) -> Result<&str> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-+@".contains(b);
    match std::str::from_utf8(id) {
        Ok(text)
            if (1..=MAX).contains(&id.len())
                && id[0].is_ascii_alphanumeric()
                && id.iter().all(plain) =>
        {
            Ok(text)
        }
        _ => Err(Error::invalid(
            "a layer id is 1 to 128 of A-Z a-z 0-9 . _ - + @ and begins with a letter or digit",
        )
        .at(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for good in [&b"a"[..], b"0", b"sha256-abc", b"A.b_c-d+e@f", &[b'x'; 128]] {
            assert!(check(good).is_ok(), "{}", good.escape_ascii());
        }
        let bad: [&[u8]; 14] = [
            b"",
            b".",
            b"..",
            b"a/b",
            b"/a",
            b"-a",
            b".a",
            b"a:b",
            b"a,b",
            b"a b",
            b"a\n",
            b"\xff",
            b"a\\b",
            &[b'x'; 129],
        ];
        for bad in bad {
            let error = check(bad).unwrap_err();
            assert_eq!(error.errno(), crate::error::Errno::INVAL);
        }
    }
}
