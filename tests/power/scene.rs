//! What a container does in its layer.

use super::trees;
use crate::support::rng::Rng;
use ovl::store::{MountFlags, MountOptions, Store, UnmountFlags};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One thing that it does.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Writes a new file of so many bytes.
    File(&'static str, usize),
    /// The same, and syncs it.
    Synced(&'static str, usize),
    /// Appends to a file, which copies it up.
    Append(&'static str, usize),
    /// Deletes a file, which leaves a whiteout where there was one below.
    Delete(&'static str),
    /// Makes a directory.
    Dir(&'static str),
    /// Renames.
    Rename(&'static str, &'static str),
    /// Links a file by a second name.
    Link(&'static str, &'static str),
}

/// Mounts the layer, plays the steps in it and unmounts it. `synced` is told of each file that was
/// synced, and its digest, once that returned.
pub fn play(
    store: &Store,
    id: &str,
    flags: MountFlags,
    steps: &[Step],
    synced: impl Fn(&str, String),
) {
    let options = MountOptions {
        flags,
        ..Default::default()
    };
    let mut handle = Some(store.mount(id.as_bytes(), &options).unwrap());
    let dir = Path::new(OsStr::from_bytes(handle.as_ref().unwrap().path())).to_path_buf();
    for (number, step) in steps.iter().enumerate() {
        let mut rng = Rng::new(77, number as u64);
        let at = |path: &str| dir.join(path);
        match *step {
            Step::File(path, len) => fs::write(at(path), rng.bytes(len)).unwrap(),
            Step::Synced(path, len) => {
                let mut file = File::create(at(path)).unwrap();
                file.write_all(&rng.bytes(len)).unwrap();
                file.sync_all().unwrap();
                let parent = at(path).parent().unwrap().to_path_buf();
                File::open(parent).unwrap().sync_all().unwrap();
                let lines = trees::of(at(path).parent().unwrap());
                let name = path.rsplit('/').next().unwrap();
                synced(path, trees::digest(&lines[name]).unwrap().to_string());
            }
            Step::Append(path, len) => {
                let mut file = File::options().append(true).open(at(path)).unwrap();
                file.write_all(&rng.bytes(len)).unwrap();
            }
            Step::Delete(path) => fs::remove_file(at(path)).unwrap(),
            Step::Dir(path) => fs::create_dir(at(path)).unwrap(),
            Step::Rename(from, to) => fs::rename(at(from), at(to)).unwrap(),
            Step::Link(from, to) => fs::hard_link(at(from), at(to)).unwrap(),
        }
    }
    for _ in 0..200 {
        match handle.take().unwrap().unmount(UnmountFlags::empty()) {
            Ok(()) => return,
            Err((back, error)) if error.errno() == ovl::error::Errno::BUSY => {
                handle = Some(back);
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            Err((_, error)) => panic!("unmount {id}: {error}"),
        }
    }
    panic!("unmount {id}: it stays busy");
}
