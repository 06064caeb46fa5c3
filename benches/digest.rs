//! Whether two trees are the same: a digest over all that a copy is to keep. libovl has no part in it.
//!
//! Of each entry: path, type, mode, owner, modification time with its nanoseconds, size or device
//! number, target, extended attributes (ACLs and capabilities among them), the group of names that are
//! one inode, and the content. Not: holes, and the other times.

use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is compared.
#[derive(Clone, Copy, PartialEq)]
pub enum Scope {
    /// Everything.
    All,
    /// Not the directories, since a diff leaves those out that are as they were, and not overlayfs's
    /// own attributes.
    Files,
    /// What a floor does: neither attributes, nor which names are one inode, nor fractions of seconds.
    Floor,
}

/// The digest of a tree, and how many entries it has.
#[derive(Clone, PartialEq, Debug)]
pub struct TreeDigest {
    /// SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// Its root counts.
    pub entries: u64,
}

/// The digest of the tree at `root`.
pub fn of(root: &Path, scope: Scope) -> Result<TreeDigest, String> {
    let mut sha = Sha256::new();
    let mut entries = 0;
    each(root, scope, &mut |line| {
        sha.update(line.as_bytes());
        entries += 1;
    })?;
    Ok(TreeDigest {
        sha256: hex(&sha.finalize()),
        entries,
    })
}

/// Where two trees differ first: for an error's words.
pub fn difference(got: &Path, wanted: &Path, scope: Scope) -> Result<String, String> {
    let lines = |root: &Path| -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        each(root, scope, &mut |line| {
            lines.push(line.trim_end().to_string())
        })?;
        Ok(lines)
    };
    let (got, wanted) = (lines(got)?, lines(wanted)?);
    let at = got
        .iter()
        .zip(&wanted)
        .position(|(got, wanted)| got != wanted);
    let at = at.unwrap_or(got.len().min(wanted.len()));
    let show = |lines: &[String]| lines.get(at).map_or("nothing", String::as_str).to_string();
    Ok(format!("got {}; wanted {}", show(&got), show(&wanted)))
}

/// Tells the line of each entry, in the order of the sorted names.
fn each(root: &Path, scope: Scope, tell: &mut dyn FnMut(&str)) -> Result<(), String> {
    let mut groups = HashMap::new();
    let mut left: Vec<PathBuf> = vec![root.to_path_buf()];
    while let Some(path) = left.pop() {
        let told = |error: std::io::Error| format!("{}: {error}", path.display());
        let meta = path.symlink_metadata().map_err(told)?;
        if meta.is_dir() {
            let mut names = Vec::new();
            for entry in fs::read_dir(&path).map_err(told)? {
                names.push(entry.map_err(told)?.path());
            }
            names.sort_unstable_by(|a, b| b.cmp(a));
            left.append(&mut names);
        }
        if scope != Scope::Files || !meta.is_dir() {
            tell(&line(root, &path, &meta, scope, &mut groups).map_err(told)?);
        }
    }
    Ok(())
}

fn line(
    root: &Path,
    path: &Path,
    meta: &Metadata,
    scope: Scope,
    groups: &mut HashMap<(u64, u64), String>,
) -> std::io::Result<String> {
    let name = escaped(
        path.strip_prefix(root)
            .unwrap_or(path)
            .as_os_str()
            .as_bytes(),
    );
    let kind = meta.file_type();
    let mut line = format!(
        "/{name} mode={:o} owner={}:{} mtime={}",
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.mtime()
    );
    if scope != Scope::Floor {
        let _ = write!(line, ".{:09}", meta.mtime_nsec());
    }
    let _ = match () {
        () if kind.is_file() => write!(line, " size={} data={}", meta.len(), content(path)?),
        () if kind.is_symlink() => {
            write!(
                line,
                " to={}",
                escaped(fs::read_link(path)?.as_os_str().as_bytes())
            )
        }
        () if kind.is_dir() => Ok(()),
        () => write!(line, " device={:x}", meta.rdev()),
    };
    if scope == Scope::Floor {
        line.push('\n');
        return Ok(line);
    }
    let mut names: Vec<_> = xattr::list(path)?.collect();
    names.sort_unstable();
    // SELinux labels what is made after its own rules, and XFS shows each ACL a second time.
    let other = |name: &&OsString| {
        *name != "security.selinux"
            && !name.as_bytes().starts_with(b"trusted.SGI_ACL_")
            && (scope == Scope::All || !name.as_bytes().starts_with(b"trusted.overlay."))
    };
    for name in names.iter().filter(other) {
        let value = xattr::get(path, name)?.unwrap_or_default();
        let _ = write!(line, " {}={}", escaped(name.as_bytes()), hex(&value));
    }
    if meta.nlink() > 1 && !kind.is_dir() {
        // A clone by links shares its inodes with the source: the group is what lies in this tree.
        let first = groups
            .entry((meta.dev(), meta.ino()))
            .or_insert_with(|| name.clone());
        if *first != name {
            let _ = write!(line, " link=/{first}");
        }
    }
    line.push('\n');
    Ok(line)
}

fn content(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut sha = Sha256::new();
    let mut buffer = [0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&sha.finalize())),
            n => sha.update(&buffer[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
