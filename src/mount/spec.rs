//! The plan of a mount as strings, for those who mount themselves: mount(8), containerd, BuildKit,
//! OCI runtimes.
//!
//! They take the classic form, all lowers in one `lowerdir=`, and split it at every colon and
//! comma without undoing an escape. So a path that would need one is refused, and so is what does
//! not fit in the one page that mount(2) takes.

use super::overlay::{OPTIONS_MAX, context_option};
use super::plan::{Marks, OFF};
use crate::error::{Code, Errno, Error, Result};

/// One mount to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// `overlay`, or `bind` for a single directory.
    pub fs_type: &'static str,
    /// The directory to bind; `overlay` for an overlay.
    pub source: Vec<u8>,
    /// The options, one each.
    pub options: Vec<Vec<u8>>,
}

/// An overlay by paths, all of them absolute.
#[derive(Clone, Debug)]
pub struct OverlayPaths<'a> {
    /// The lowers, nearest first.
    pub lowers: &'a [&'a [u8]],
    /// Upper and work directory.
    pub upper: Option<(&'a [u8], &'a [u8])>,
    /// Where the marks are.
    pub marks: Marks,
    /// Refuse writes.
    pub read_only: bool,
    /// Never sync the upper.
    pub volatile: bool,
    /// SELinux label of every file.
    pub label: Option<&'a [u8]>,
    /// Longer than a page too: the caller knows a way.
    pub long: bool,
}

/// A directory as itself, with the mounts below it.
pub fn bind(dir: &[u8], read_only: bool) -> Result<Spec> {
    absolute(dir)?;
    let access: &[u8] = if read_only { b"ro" } else { b"rw" };
    Ok(Spec {
        fs_type: "bind",
        source: dir.to_vec(),
        options: vec![b"rbind".to_vec(), access.to_vec()],
    })
}

/// An overlay; or, of a single lower without an upper, which overlayfs does not take, a read-only
/// bind of it. (The bind shows the lower's own marks, if it has any: a bottom layer that was never
/// an upper has none.)
pub fn overlay(paths: &OverlayPaths<'_>) -> Result<Spec> {
    match (paths.lowers, paths.upper) {
        ([], _) => return Err(Error::invalid("an overlay needs a lower")),
        ([only], None) => {
            if paths.label.is_some() {
                return Err(Error::invalid("a bind cannot have a label"));
            }
            return bind(only, true);
        }
        _ => {}
    }
    let mut lowerdir = b"lowerdir=".to_vec();
    for (index, lower) in paths.lowers.iter().enumerate() {
        if index > 0 {
            lowerdir.push(b':');
        }
        lowerdir.extend_from_slice(sayable(lower)?);
    }
    let mut options = vec![lowerdir];
    if let Some((upper, work)) = paths.upper {
        options.push([b"upperdir=", sayable(upper)?].concat());
        options.push([b"workdir=", sayable(work)?].concat());
    }
    options.extend(OFF.map(|(key, value)| format!("{key}={value}").into_bytes()));
    if paths.marks == Marks::User {
        options.push(b"userxattr".to_vec());
    }
    if paths.volatile && paths.upper.is_some() {
        options.push(b"volatile".to_vec());
    }
    if let Some(label) = paths.label {
        options.push(context_option(label)?);
    }
    if paths.read_only || paths.upper.is_none() {
        options.push(b"ro".to_vec());
    }
    let length = options.join(&b',').len();
    if length > OPTIONS_MAX && !paths.long {
        return Err(Error::new(
            Code::Limit,
            Errno::INVAL,
            format!("{length} bytes of mount options; {OPTIONS_MAX} fit in the page of mount(2)"),
        ));
    }
    Ok(Spec {
        fs_type: "overlay",
        source: b"overlay".to_vec(),
        options,
    })
}

fn absolute(path: &[u8]) -> Result<()> {
    if !path.starts_with(b"/") || path.contains(&0) {
        return Err(Error::invalid("a mount spec needs an absolute path").at(path));
    }
    Ok(())
}

fn sayable(path: &[u8]) -> Result<&[u8]> {
    absolute(path)?;
    if path.iter().any(|byte| matches!(byte, b':' | b',' | b'\\')) {
        return Err(Error::invalid(
            "a path with a colon, a comma or a backslash cannot be said in a mount spec",
        )
        .at(path));
    }
    Ok(path)
}

impl Spec {
    /// The entry for `mounts` in an OCI runtime configuration. EINVAL where a string is not UTF-8,
    /// which JSON cannot say.
    pub fn to_oci_json(&self, destination: &[u8]) -> Result<String> {
        let options = self
            .options
            .iter()
            .map(|option| quoted(option))
            .collect::<Result<Vec<String>>>()?;
        Ok(format!(
            "{{\"destination\":{},\"type\":{},\"source\":{},\"options\":[{}]}}",
            quoted(destination)?,
            quoted(self.fs_type.as_bytes())?,
            quoted(&self.source)?,
            options.join(",")
        ))
    }
}

fn quoted(bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Error::invalid("JSON cannot say a string that is not UTF-8").at(bytes))?;
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for letter in text.chars() {
        match letter {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            control if control < ' ' => {
                json.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => json.push(other),
        }
    }
    json.push('"');
    Ok(json)
}
