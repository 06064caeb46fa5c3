//! The ways down from layers, each step of which one check goes once.
//!
//! A layer is locked while it is looked at, and what it is built on cannot go: what was true of a way
//! down is so for the next layer above it.

use super::Store;
use super::layer::{Edge, Layer};
use super::text::damaged;
use crate::error::Result;
use crate::layer::view::Stack;
use std::collections::{HashMap, HashSet};

/// What a check knows of the ways down.
#[derive(Default)]
pub struct Ways {
    /// Layers from which the way down ends.
    ends: HashSet<String>,
    /// Each layer's step in a chain, or what is wrong there.
    steps: HashMap<String, std::result::Result<Edge, String>>,
}

impl Ways {
    /// The way from `id` over `below` down to itself, if there is one.
    pub fn ring(&mut self, store: &Store, id: &str, below: &str) -> Option<String> {
        let mut way = vec![id.to_string()];
        let mut gone = HashSet::new();
        let mut next = Some(below.to_string());
        while let Some(at) = next.take() {
            if at == id {
                way.push(at);
                return Some(way.join(" -> "));
            }
            if self.ends.contains(&at) {
                break;
            }
            if !gone.insert(at.clone()) {
                // Another ring, further down.
                return None;
            }
            next = store.layer(&at).ok().and_then(|layer| layer.parent);
            way.push(at);
        }
        self.ends.extend(way);
        None
    }

    /// The trees of a layer, its own first.
    pub fn stack(&mut self, store: &Store, layer: &Layer) -> Result<Stack> {
        store.stack_by(layer, |id, above| {
            let step = self.steps.entry(id.to_string()).or_insert_with(|| {
                let step = store.edge(id, above);
                step.map_err(|error| error.message().to_string())
            });
            step.clone().map_err(|words| damaged(words).at(id))
        })
    }
}
