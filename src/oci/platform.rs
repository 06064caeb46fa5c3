//! What an image runs on: `os/architecture[/variant]`, in the words of Go.

use crate::error::{Error, Result};
use serde::Deserialize;
use std::fmt;

/// A platform as a descriptor or a config writes it.
#[derive(Deserialize)]
pub(super) struct Written {
    pub os: Option<String>,
    pub architecture: Option<String>,
    pub variant: Option<String>,
}

impl Written {
    /// None where it tells neither system nor processor.
    pub fn read(&self) -> Option<Platform> {
        let os = self.os.as_deref().unwrap_or_default();
        let architecture = self.architecture.as_deref().unwrap_or_default();
        let variant = self.variant.as_deref().filter(|text| !text.is_empty());
        (!os.is_empty() || !architecture.is_empty())
            .then(|| Platform::of(os, architecture, variant))
    }
}

/// See the module's text. Spellings of one platform are made the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// As in `linux`.
    pub os: String,
    /// As in `amd64`.
    pub architecture: String,
    /// As in `v7`; mostly there is none.
    pub variant: Option<String>,
}

impl Platform {
    /// Reads `os/architecture[/variant]`; all else is EINVAL.
    pub fn parse(text: &str) -> Result<Platform> {
        let parts: Vec<&str> = text.split('/').collect();
        let plain = |part: &&str| {
            let word = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            !part.is_empty() && part.bytes().all(word)
        };
        match parts[..] {
            [os, architecture] if parts.iter().all(plain) => Ok(Self::of(os, architecture, None)),
            [os, architecture, variant] if parts.iter().all(plain) => {
                Ok(Self::of(os, architecture, Some(variant)))
            }
            _ => Err(Error::invalid(
                "a platform is os/architecture or os/architecture/variant",
            )),
        }
    }

    /// Linux on this machine.
    pub fn host() -> Platform {
        let little = cfg!(target_endian = "little");
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" if little => "ppc64le",
            "powerpc64" => "ppc64",
            "mips64" if little => "mips64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Self::of("linux", architecture, None)
    }

    fn of(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        let architecture = match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            "i386" | "i686" => "386",
            other => other,
        };
        // What every machine of an architecture has is no variant.
        let variant = variant.filter(|variant| {
            !matches!(
                (architecture, *variant),
                ("amd64", "v1") | ("arm64", "v8" | "8")
            )
        });
        Platform {
            os: os.to_string(),
            architecture: architecture.to_string(),
            variant: variant.map(str::to_string),
        }
    }

    /// Whether this is what `wanted` says; of what it does not say, any will do.
    pub fn is(&self, wanted: &Platform) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || self.variant == wanted.variant)
    }

    /// Builders write so of what no machine runs.
    pub(super) fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}
