//! A tree as lines of text: one for each path, with everything that must be the same.

use crate::support::tree::{Node, Snapshot, show};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// By path; the tree's own root is the empty one.
pub type Lines = BTreeMap<String, String>;

/// Looks at the tree at `root`.
pub fn of(root: &Path) -> Lines {
    let all = Snapshot::of(root).0;
    let line = |(path, node): (Vec<u8>, Node)| (path.escape_ascii().to_string(), line(&node));
    all.into_iter().map(line).collect()
}

/// The digest of one file, as it is in a tree's lines.
pub fn digest(line: &str) -> Option<&str> {
    line.split(' ')
        .find_map(|word| word.strip_prefix("content="))
}

fn line(node: &Node) -> String {
    let mut line = format!(
        "kind={:o} mode={:o} owner={}:{}",
        node.kind, node.mode, node.uid, node.gid
    );
    // When a whiteout was made says nothing.
    if !(node.is_device() && node.rdev == (0, 0)) {
        let _ = write!(line, " mtime={}.{:09}", node.mtime.0, node.mtime.1);
    }
    if node.is_file() {
        let _ = write!(line, " size={} content={}", node.size, hex(&node.content));
    }
    if node.is_link() {
        let _ = write!(line, " target={}", show(&node.target));
    }
    if node.is_device() {
        let _ = write!(line, " device={}:{}", node.rdev.0, node.rdev.1);
    }
    for (name, value) in &node.xattrs {
        let _ = write!(line, " {}={}", show(name), hex(value));
    }
    if !node.is_dir() {
        let _ = write!(line, " leader={}", node.leader.escape_ascii());
    }
    line
}

/// Bytes as text.
pub fn hex(data: &[u8]) -> String {
    data.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a difference is one of a file's content alone.
pub fn is_of_content(difference: &str) -> bool {
    let Some((a, b)) = difference
        .split_once(": ")
        .and_then(|(_, rest)| rest.split_once(" is "))
    else {
        return false;
    };
    let rest = |line: &str| -> Vec<String> {
        let words = line.split(' ').filter(|word| !word.starts_with("content="));
        words.map(str::to_string).collect()
    };
    a != b && digest(a).is_some() && rest(a) == rest(b)
}

/// How two trees differ, a line each, the first few; empty when they do not. `root`: whether the
/// root's own attributes count.
pub fn differences(wanted: &Lines, found: &Lines, root: bool) -> Vec<String> {
    let mut told = Vec::new();
    let paths: std::collections::BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
    for path in paths {
        let (a, b) = (wanted.get(path), found.get(path));
        if a == b || (path.is_empty() && !root) {
            continue;
        }
        let text = |line: Option<&String>| line.cloned().unwrap_or_else(|| "nothing".to_string());
        told.push(format!("/{path}: {} is {}", text(a), text(b)));
    }
    told
}
