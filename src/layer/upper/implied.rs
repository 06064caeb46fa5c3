//! What an upper holds though no entry of the tar made it: directories on the way to entries, and
//! files that were copied up to be linked to.

use std::collections::BTreeMap;

/// Why the upper holds a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// For what lower layers have there: without that it goes.
    Below,
    /// The way of an entry leads through it, so it stays.
    Way,
}

/// Names without an entry of their own, each with the inode number of the directory it is in:
/// their paths would take memory with the square of a tree's depth.
#[derive(Default)]
pub struct Implied(BTreeMap<(u64, Vec<u8>), Why>);

impl Implied {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `name` in the directory `dir` has no entry.
    pub fn insert(&mut self, dir: u64, name: &[u8], why: Why) {
        self.0.insert((dir, name.to_vec()), why);
    }

    /// It has one now, or is gone; whether it had none.
    pub fn remove(&mut self, dir: u64, name: &[u8]) -> bool {
        !self.0.is_empty() && self.0.remove(&(dir, name.to_vec())).is_some()
    }

    /// Why it is there, if it has none.
    pub fn why(&self, dir: u64, name: &[u8]) -> Option<Why> {
        match self.0.is_empty() {
            true => None,
            false => self.0.get(&(dir, name.to_vec())).copied(),
        }
    }

    /// The way of an entry leads through it, if it has none of its own.
    pub fn on_way(&mut self, dir: u64, name: &[u8]) {
        if let Some(why) = self.0.get_mut(&(dir, name.to_vec())) {
            *why = Why::Way;
        }
    }

    /// The directory is gone; its number may soon be another's.
    pub fn forget(&mut self, dir: u64) {
        let names: Vec<_> = self
            .0
            .range((dir, Vec::new())..)
            .map(|(name, _)| name)
            .take_while(|(at, _)| *at == dir)
            .cloned()
            .collect();
        for name in &names {
            self.0.remove(name);
        }
    }
}
