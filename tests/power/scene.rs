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
    /// Writes a file that is there in place, which makes no name.
    Over(&'static str, usize),
    /// The same, and has its data on the disk, which waits for no journal.
    Data(&'static str, usize),
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

impl Step {
    /// How many bytes it writes.
    fn len(&self) -> usize {
        match *self {
            Step::File(_, len)
            | Step::Synced(_, len)
            | Step::Over(_, len)
            | Step::Data(_, len)
            | Step::Append(_, len) => len,
            _ => 0,
        }
    }

    /// The file that it writes.
    pub fn writes(&self) -> Option<&'static str> {
        match *self {
            Step::File(path, _)
            | Step::Synced(path, _)
            | Step::Over(path, _)
            | Step::Data(path, _)
            | Step::Append(path, _)
            | Step::Delete(path) => Some(path),
            Step::Dir(_) | Step::Rename(..) | Step::Link(..) => None,
        }
    }
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
    let told = |path: &str| {
        let lines = trees::of(dir.join(path).parent().unwrap());
        let name = path.rsplit('/').next().unwrap();
        synced(path, trees::digest(&lines[name]).unwrap().to_string());
    };
    for (number, step) in steps.iter().enumerate() {
        // Other bytes than in other containers.
        let seed = 77 + step.len() as u64;
        let mut rng = Rng::new(seed, number as u64);
        let at = |path: &str| dir.join(path);
        match *step {
            Step::File(path, len) => fs::write(at(path), rng.bytes(len)).unwrap(),
            Step::Synced(path, len) => {
                let mut file = File::create(at(path)).unwrap();
                file.write_all(&rng.bytes(len)).unwrap();
                file.sync_all().unwrap();
                let parent = at(path).parent().unwrap().to_path_buf();
                File::open(parent).unwrap().sync_all().unwrap();
                told(path);
            }
            Step::Over(path, len) | Step::Data(path, len) => {
                let mut file = File::options().write(true).open(at(path)).unwrap();
                file.write_all(&rng.bytes(len)).unwrap();
                if let Step::Data(..) = step {
                    file.sync_data().unwrap();
                    told(path);
                }
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
