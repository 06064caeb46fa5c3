//! Names of images, and how they are written as names of directories.

use crate::error::{Errno, Error, Result};

/// The longest name, in bytes.
pub const MAX: usize = 200;

/// The longest name of a directory.
const NAME_MAX: usize = 255;

/// Checks a name: 1 to 200 of `A-Z a-z 0-9 . _ - + @ /` and at most one `:`, beginning with a
/// letter or digit, with no empty part, `.` or `..` between slashes.
pub fn check(name: &[u8]) -> Result<&str> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-+@/:".contains(b);
    let part = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
    match std::str::from_utf8(name) {
        Ok(text)
            if (1..=MAX).contains(&name.len())
                && name[0].is_ascii_alphanumeric()
                && name.iter().all(plain)
                && name.iter().filter(|&&b| b == b':').count() <= 1
                && name.split(|&b| b == b'/').all(part) =>
        {
            Ok(text)
        }
        _ => Err(Error::invalid(
            "an image's name is 1 to 200 of A-Z a-z 0-9 . _ - + @ / and at most one colon, begins \
             with a letter or digit, and has no empty part, . or .. between slashes",
        )
        .at(name)),
    }
}

/// A checked name as the name of a directory: `/` and `:` are `%2F` and `%3A`.
pub fn encode(name: &str) -> Result<String> {
    let encoded = name.replace('/', "%2F").replace(':', "%3A");
    if encoded.len() > NAME_MAX {
        return Err(Error::new(
            crate::error::Code::Invalid,
            Errno::NAMETOOLONG,
            format!("the image's name is longer than {NAME_MAX} bytes with / and : as %2F and %3A"),
        )
        .at(name));
    }
    Ok(encoded)
}

/// The name that a directory's name stands for; none where no name is written so.
pub fn decode(encoded: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(encoded).ok()?;
    let name = text.replace("%2F", "/").replace("%3A", ":");
    check(name.as_bytes()).ok()?;
    (encode(&name).ok()?.as_bytes() == encoded).then_some(name)
}

/// What follows the colon after the last slash.
pub fn tag(name: &str) -> Option<&str> {
    let last = name.rsplit('/').next()?;
    last.split_once(':')
        .map(|(_, tag)| tag)
        .filter(|tag| !tag.is_empty())
}
