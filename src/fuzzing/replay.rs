//! All targets over their seeds, and over what once broke something.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::seeds::place;
use crate::store::fuzzing::{World, apply_in, image_in, layers_in};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The files for a target; there must be some, unless this is a packaged source.
fn inputs(target: &str) -> Vec<PathBuf> {
    if !place("seeds").exists() {
        println!("SKIP {target}: lacks fuzz/seeds (a packaged source)");
        return Vec::new();
    }
    let mut files = Vec::new();
    for kind in ["seeds", "regressions"] {
        let Ok(dir) = std::fs::read_dir(place(kind).join(target)) else {
            assert_eq!(kind, "regressions", "{target} has no seeds");
            continue;
        };
        files.extend(dir.map(|item| item.unwrap().path()));
    }
    files.sort();
    files
}

fn replay(target: &str, mut run: impl FnMut(&[u8])) {
    for file in inputs(target) {
        println!("{}", file.display());
        run(&std::fs::read(file).unwrap());
    }
}

macro_rules! targets {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name), super::$name);
        })*
    };
}

targets!(tar, pax, sparse, gzip, zstd, names, roundtrip, metadata);

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A store of kind `overlay` needs marks that only root may set.
fn with_world(target: &str, run: fn(&mut World, &[u8])) {
    if !is_root() {
        let declared = std::env::var("OVL_TEST_HAVE").unwrap_or_default();
        assert!(
            !declared.split(',').any(|one| one == "root"),
            "root is declared"
        );
        return eprintln!("\nSKIP {target}: lacks root");
    }
    let memory = std::path::Path::new("/dev/shm");
    let dir = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    let dir = dir.unwrap();
    let mut world = World::new(&dir.path().join("world"));
    replay(target, |data| run(&mut world, data));
}

#[test]
fn apply() {
    with_world("apply", apply_in);
}

#[test]
fn layers() {
    with_world("layers", layers_in);
}

#[test]
fn image() {
    // The seeds do not fail for a mistake in them.
    static IMAGES: AtomicUsize = AtomicUsize::new(0);
    with_world("image", |world, data| {
        let is_image = image_in(world, data);
        IMAGES.fetch_add(is_image.into(), Ordering::Relaxed);
    });
    let images = IMAGES.load(Ordering::Relaxed);
    assert!(
        images >= 8 || inputs("image").is_empty() || !is_root(),
        "{images}"
    );
}
