//! What changed between two trees, said as simply as can be: every path of both is looked at.

use crate::lab::{Seen, Tree};
use std::collections::BTreeMap;

/// The changes as `ovl changes` has them: `A /path`, `C /path`, `D /path`, parents first.
pub fn changes(old: &Tree, new: &Tree) -> Vec<String> {
    // By their components: a directory's content comes before what sorts behind its name.
    let mut told: BTreeMap<Vec<&[u8]>, char> = BTreeMap::new();
    for path in old.keys().chain(new.keys()).filter(|path| !path.is_empty()) {
        let letter = match (old.get(path), new.get(path)) {
            (Some(a), Some(b)) if same(a, b) => continue,
            (Some(_), Some(_)) => 'C',
            (None, _) => 'A',
            // What went with its directory is told by that.
            (Some(_), None) if new.get(parent(path)).is_none_or(|dir| dir.kind != 'd') => continue,
            (Some(_), None) => 'D',
        };
        told.insert(parts(path), letter);
        let mut up = parent(path);
        while !up.is_empty() {
            told.entry(parts(up)).or_insert('C');
            up = parent(up);
        }
    }
    let line = |(path, letter): (&Vec<&[u8]>, &char)| {
        let path = path.join(&b'/');
        format!("{letter} /{}", path.escape_ascii())
    };
    told.iter().map(line).collect()
}

fn same(a: &Seen, b: &Seen) -> bool {
    let alone = |seen: &Seen| Seen {
        leader: Vec::new(),
        ..seen.clone()
    };
    alone(a) == alone(b)
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|&b| b == b'/')
        .map_or(b"", |at| &path[..at])
}

fn parts(path: &[u8]) -> Vec<&[u8]> {
    path.split(|&b| b == b'/').collect()
}
