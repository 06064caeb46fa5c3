//! Small layer tars with something of everything.

use crate::support::rng::Rng;
use crate::tar::{self, Entry, What, dir, fifo, gone, hard, opaque, symlink};

/// Which tar: its seed decides contents and sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// A tree of its own.
    Base(u64),
    /// Changes to one.
    Over(u64),
}

const SIZES: [usize; 8] = [0, 1, 300, 4096, 5000, 20_000, 70_000, 200_000];

impl Which {
    /// The tar.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Which::Base(seed) => tar::bytes(&base(seed)),
            Which::Over(seed) => tar::bytes(&over(seed)),
        }
    }
}

fn content(path: &str, rng: &mut Rng) -> Entry {
    // Large ones are rare.
    let size = SIZES[rng.below(SIZES.len()).min(rng.below(SIZES.len()))];
    let mut entry = Entry::new(path, What::File(rng.bytes(size)));
    if rng.chance(30) {
        let value = rng.bytes(20);
        entry = entry.xattr("user.note", &value);
    }
    if rng.chance(20) {
        entry = entry.mode(0o755).owner(1000, 100);
    }
    entry.mtime(1_500_000_000 + (rng.below(1 << 20) as i64), 5000)
}

fn base(seed: u64) -> Vec<Entry> {
    let mut rng = Rng::new(seed, 0);
    let mut all = Vec::new();
    for name in ["etc", "usr", "var"] {
        all.push(dir(name).xattr("user.dir", name.as_bytes()));
        for number in 0..6 {
            all.push(content(&format!("{name}/f{number}"), &mut rng));
        }
        all.push(dir(&format!("{name}/sub")).mode(0o700).owner(7, 8));
        for number in 0..3 {
            all.push(content(&format!("{name}/sub/g{number}"), &mut rng));
        }
        all.push(symlink(&format!("{name}/link"), "f0"));
        all.push(hard(&format!("{name}/sub/hard"), &format!("{name}/f1")));
    }
    all.push(Entry::new("usr/set", What::File(b"#!/bin/sh\n".to_vec())).mode(0o4755));
    all.push(hard("etc/hard", "usr/f2"));
    all.push(fifo("var/fifo"));
    all
}

fn over(seed: u64) -> Vec<Entry> {
    let mut rng = Rng::new(seed, 1);
    let mut all = Vec::new();
    let own = format!("own{seed}");
    all.push(dir(&own));
    for number in 0..5 {
        all.push(content(&format!("{own}/n{number}"), &mut rng));
    }
    all.push(hard(&format!("{own}/hard"), &format!("{own}/n0")));
    all.push(symlink(&format!("{own}/link"), "nowhere"));
    // Changed, deleted, replaced, linked from below.
    for number in 0..3 {
        all.push(content(&format!("usr/f{number}"), &mut rng));
    }
    all.push(gone("etc/f3"));
    all.push(gone("usr/link"));
    all.push(opaque("var/sub"));
    all.push(dir("var/sub"));
    all.push(content("var/sub/new", &mut rng));
    all.push(hard("var/again", "var/f4"));
    all
}
