//! The file `ovl-store`: what kind of store this is.
//!
//! ```text
//! format=1
//! incompat=
//! ro_compat=
//! marks=trusted
//! ```
//!
//! A word in `incompat` that is not known here refuses the store, one in `ro_compat` opens it for
//! reading alone.

use super::text;
use crate::error::{Code, Errno, Error, Result};
use crate::sys::xattr::Marks;

/// The name of the file.
pub const FILE: &str = "ovl-store";

/// Whether a name is that of a file that was to become it.
pub fn is_temporary(name: &[u8]) -> bool {
    text::is_temporary(name, FILE)
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The marks of every overlay layer in the store.
    pub marks: Marks,
    /// Something in it is newer than this library: it may be read.
    pub read_only: bool,
}

/// The text for a new store.
pub fn write(marks: Marks) -> String {
    let marks = match marks {
        Marks::Trusted => "trusted",
        Marks::User => "user",
    };
    format!("format=1\nincompat=\nro_compat=\nmarks={marks}\n")
}

/// Reads the text; EOPNOTSUPP where a newer library is needed.
pub fn parse(data: &[u8]) -> Result<Format> {
    let refuse = |what: String| Err(Error::new(Code::Format, Errno::OPNOTSUPP, what).at(FILE));
    let (mut version, mut marks, mut read_only) = (None, None, false);
    for (key, value) in text::pairs(data).map_err(|e| e.at(FILE))? {
        match (key.as_str(), value.as_str()) {
            ("format", _) => version = Some(value),
            ("incompat" | "ro_compat", "") => {}
            ("incompat", words) => {
                return refuse(format!(
                    "the store uses what this version does not know: {words}"
                ));
            }
            ("ro_compat", _) => read_only = true,
            ("marks", "trusted") => marks = Some(Marks::Trusted),
            ("marks", "user") => marks = Some(Marks::User),
            ("marks", other) => return refuse(format!("unknown marks={other}")),
            _ => {}
        }
    }
    match version.as_deref() {
        Some("1") => {}
        Some(other) => return refuse(format!("unknown format={other}")),
        None => return Err(text::damaged("it has no format").at(FILE)),
    }
    match marks {
        Some(marks) => Ok(Format { marks, read_only }),
        None => Err(text::damaged("it has no marks").at(FILE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for marks in [Marks::Trusted, Marks::User] {
            let format = parse(write(marks).as_bytes()).unwrap();
            assert_eq!(
                format,
                Format {
                    marks,
                    read_only: false
                }
            );
        }
    }

    #[test]
    fn unknown_words() {
        let with = |line: &str| parse(format!("format=1\nmarks=user\n{line}\n").as_bytes());
        assert_eq!(
            with("incompat=erofs").unwrap_err().errno(),
            Errno::OPNOTSUPP
        );
        assert!(with("ro_compat=new").unwrap().read_only);
        assert!(!with("whatever=else").unwrap().read_only);
        assert_eq!(with("format=2").unwrap_err().code(), Code::Format);
        assert_eq!(parse(b"").unwrap_err().code(), Code::Damaged);
        assert_eq!(parse(b"\xff").unwrap_err().code(), Code::Damaged);
    }
}
