//! The chains that this handle has read lately.
//!
//! What a committed layer is built on never changes, and none of it can be removed before the layer
//! itself. So whoever mounts over the same layer again need not read its chain again, which is three
//! system calls for each layer in it. The layer is known by its directory's handle: another layer may have got
//! its name, and the number of its inode.

use super::Kind;
use crate::sys::handle::Handle;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Layers in all chains that are remembered: at most some 800 KiB, were all names the longest.
const MOST: usize = 4096;

/// A layer of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub id: String,
    pub kind: Kind,
}

/// See the module's text.
#[derive(Default)]
pub struct Chains(Mutex<VecDeque<Chain>>);

struct Chain {
    top: Handle,
    links: Arc<[Link]>,
}

impl Chains {
    /// The chain that begins with the layer whose directory is this one.
    pub fn find(&self, top: &Handle) -> Option<Arc<[Link]>> {
        let mut chains = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = chains.iter().position(|chain| chain.top == *top)?;
        let chain = chains.remove(at)?;
        let links = chain.links.clone();
        chains.push_front(chain);
        Some(links)
    }

    /// Remembers a chain; those that were not asked for the longest go.
    pub fn keep(&self, top: Handle, links: Vec<Link>) {
        let mut chains = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        chains.retain(|chain| chain.top != top);
        chains.push_front(Chain {
            top,
            links: links.into(),
        });
        let mut all = 0;
        chains.retain(|chain| {
            all += chain.links.len();
            all <= MOST
        });
    }

    /// Forgets everything: something was not as it was known.
    pub fn forget(&self) {
        let mut chains = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        chains.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn links(count: usize) -> Vec<Link> {
        let link = |n: usize| Link {
            id: n.to_string(),
            kind: Kind::Overlay,
        };
        (0..count).map(link).collect()
    }

    #[test]
    fn what_was_asked_for_last_stays() {
        let chains = Chains::default();
        for n in 0..9 {
            chains.keep(Handle::of(n), links(500));
            assert!(chains.find(&Handle::of(0)).is_some());
        }
        // Eight of 500 are remembered.
        assert!(chains.find(&Handle::of(1)).is_none());
        assert_eq!(*chains.find(&Handle::of(2)).unwrap(), links(500));
        chains.keep(Handle::of(2), links(3));
        assert_eq!(chains.find(&Handle::of(2)).unwrap().len(), 3);
        chains.keep(Handle::of(20), links(MOST + 1));
        assert!(chains.find(&Handle::of(20)).is_none());
        chains.forget();
        assert!(chains.find(&Handle::of(2)).is_none());
    }
}
