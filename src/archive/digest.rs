//! SHA-256 digests as the OCI specifications write them: `sha256:` and 64 lower-case hex digits.

use std::fmt;

use sha2::Digest as _;

use crate::error::{Error, Result};

const ALGORITHM: &str = "sha256:";

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Reads `sha256:` followed by 64 lower-case hex digits; all else is EINVAL.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = || Error::invalid("a digest is \"sha256:\" and 64 lower-case hex digits");
        let hex = text.strip_prefix(ALGORITHM).ok_or_else(refuse)?;
        let mut digest = [0; 32];
        if hex.len() != 2 * digest.len() {
            return Err(refuse());
        }
        for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            for &digit in pair {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(refuse()),
                };
                *byte = *byte << 4 | value;
            }
        }
        Ok(Digest(digest))
    }

    /// The digest of `data`.
    pub fn of(data: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(data);
        hasher.digest()
    }

    /// The 64 hex digits without the algorithm.
    pub fn hex(&self) -> String {
        let mut hex = String::with_capacity(64);
        for byte in self.0 {
            for nibble in [byte >> 4, byte & 15] {
                hex.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        hex
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Digest::parse(text)
    }
}

/// A running SHA-256.
#[derive(Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `data`.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of what was added so far; more may follow.
    pub fn digest(&self) -> Digest {
        Digest(self.0.clone().finalize().into())
    }
}

impl super::Sink for Sha256 {
    fn write_all(&mut self, buf: &[u8]) -> Result<()> {
        self.update(buf);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::Errno;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn text_and_back() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::parse(EMPTY).unwrap(), Digest::of(b""));
        let mut running = Sha256::new();
        running.update(b"a");
        let early = running.digest();
        running.update(b"bc");
        assert_eq!(early, Digest::of(b"a"));
        assert_eq!(running.digest(), Digest::of(b"abc"));
    }

    #[test]
    fn other_texts_are_refused() {
        let upper = EMPTY.replace("e3b0", "E3B0");
        let short = &EMPTY[..EMPTY.len() - 1];
        let long = format!("{EMPTY}0");
        let sha512 = EMPTY.replace("sha256", "sha512");
        let wide = format!("sha256:{}", "é".repeat(32));
        for text in [
            "",
            "sha256:",
            &EMPTY[7..],
            &upper,
            short,
            &long,
            &sha512,
            &wide,
        ] {
            assert_eq!(
                Digest::parse(text).unwrap_err().errno(),
                Errno::INVAL,
                "{text}"
            );
        }
    }
}
