//! What an upper holds though no entry of the tar made it: directories on the way to entries, and
//! files that were copied up to be linked to.

use std::collections::BTreeSet;

/// Names without an entry of their own, each with the inode number of the directory it is in:
/// their paths would take memory with the square of a tree's depth.
#[derive(Default)]
pub struct Implied(BTreeSet<(u64, Vec<u8>)>);

impl Implied {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `name` in the directory `dir` has no entry.
    pub fn insert(&mut self, dir: u64, name: &[u8]) {
        self.0.insert((dir, name.to_vec()));
    }

    /// It has one now, or is gone; whether it had none.
    pub fn remove(&mut self, dir: u64, name: &[u8]) -> bool {
        !self.0.is_empty() && self.0.remove(&(dir, name.to_vec()))
    }

    /// Whether it has none.
    pub fn contains(&self, dir: u64, name: &[u8]) -> bool {
        !self.0.is_empty() && self.0.contains(&(dir, name.to_vec()))
    }

    /// The directory is gone; its number may soon be another's.
    pub fn forget(&mut self, dir: u64) {
        let names: Vec<_> = self
            .0
            .range((dir, Vec::new())..)
            .take_while(|(at, _)| *at == dir)
            .cloned()
            .collect();
        for name in &names {
            self.0.remove(name);
        }
    }
}
