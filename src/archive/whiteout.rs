//! The names by which a layer tar says that something of the layers below is gone.

use super::forbidden;
use crate::error::Result;

/// What a whiteout's name begins with.
pub const PREFIX: &[u8] = b".wh.";

/// The marker of a directory that hides everything below it in lower layers.
pub const OPAQUE: &[u8] = b".wh..wh..opq";

/// Where aufs keeps files that have several names, for hard links to lead to.
pub const PSEUDO_LINKS: &[u8] = b".wh..wh.plnk";

/// What aufs's own names begin with.
const META: &[u8] = b".wh..wh.";

/// What the last component of a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// An ordinary name.
    Plain,
    /// The named sibling is gone.
    Whiteout(&'a [u8]),
    /// The parent directory hides what lies below.
    Opaque,
    /// Bookkeeping of aufs (`.wh..wh.plnk`, `.wh..wh.aufs` and the like): it and everything below
    /// it is no part of the layer.
    AufsMetadata,
}

/// What the component `base` means. A whiteout of nothing, `.` or `..` is EINVAL.
pub fn classify(base: &[u8]) -> Result<Name<'_>> {
    let Some(target) = base.strip_prefix(PREFIX) else {
        return Ok(Name::Plain);
    };
    if base == OPAQUE {
        return Ok(Name::Opaque);
    }
    if base.starts_with(META) {
        return Ok(Name::AufsMetadata);
    }
    match target {
        b"" | b"." | b".." => Err(forbidden("a whiteout must name a file").at(base)),
        _ => Ok(Name::Whiteout(target)),
    }
}

/// The marker for `target`, one component. A name that begins with `.wh.` itself cannot be said in
/// a layer tar and is EINVAL, as are the empty name, `.`, `..` and names with a slash or NUL.
pub fn encode(target: &[u8]) -> Result<Vec<u8>> {
    if matches!(target, b"" | b"." | b"..")
        || target.starts_with(PREFIX)
        || target.iter().any(|&byte| byte == b'/' || byte == 0)
    {
        return Err(forbidden("no whiteout can say this name").at(target));
    }
    Ok([PREFIX, target].concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::Errno;

    #[test]
    fn meanings() {
        let cases: [(&[u8], Name<'_>); 10] = [
            (b"a", Name::Plain),
            (b".w", Name::Plain),
            (b".whx", Name::Plain),
            (b".wh.a", Name::Whiteout(b"a")),
            (b".wh....", Name::Whiteout(b"...")),
            (b".wh..a", Name::Whiteout(b".a")),
            (b".wh..wh..opq", Name::Opaque),
            (b".wh..wh.plnk", Name::AufsMetadata),
            (b".wh..wh..opqx", Name::AufsMetadata),
            (b".wh..wh.", Name::AufsMetadata),
        ];
        for (base, meaning) in cases {
            assert_eq!(classify(base).unwrap(), meaning, "{}", base.escape_ascii());
        }
        for base in [&b".wh."[..], b".wh..", b".wh..."] {
            assert_eq!(classify(base).unwrap_err().errno(), Errno::INVAL);
        }
    }

    #[test]
    fn encode_is_the_inverse() {
        let longest = vec![b'n'; 255];
        for target in [&b"a"[..], b"...", b".a", b"\xff\n", &longest] {
            let marker = encode(target).unwrap();
            assert_eq!(classify(&marker).unwrap(), Name::Whiteout(target));
        }
        for target in [&b""[..], b".", b"..", b".wh.a", b".wh.", b"a/b", b"a\0"] {
            assert_eq!(encode(target).unwrap_err().errno(), Errno::INVAL);
        }
    }
}
