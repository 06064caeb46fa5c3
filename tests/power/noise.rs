//! A neighbour on the same file system: it syncs what is its own, and lets the kernel write back
//! some of the store's files early, as it does when it likes. What the store did not sync reaches
//! the disk then in parts and in any order.

use crate::support::rng::Rng;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// `_IOR(0x94, 24, __u64)`: begins a commit of btrfs's transaction, and does not write data back.
const BTRFS_START_SYNC: libc::Ioctl = 0x8008_9418u32 as libc::Ioctl;

/// Goes on until it is dropped.
pub struct Noise {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Noise {
    /// Begins on the file system at `dir`, with the store in `home`.
    pub fn start(dir: &Path, home: &Path, seed: u64) -> Noise {
        let stop = Arc::new(AtomicBool::new(false));
        let (done, dir, home) = (stop.clone(), dir.to_path_buf(), home.to_path_buf());
        let thread = std::thread::spawn(move || {
            let mut rng = Rng::new(seed, 99);
            let own = File::create(dir.join("neighbour")).unwrap();
            while !done.load(Ordering::Relaxed) {
                turn(&own, &dir, &home, &mut rng);
                std::thread::sleep(Duration::from_micros(500 + rng.next() % 8000));
            }
        });
        Noise {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[allow(unsafe_code)]
fn turn(own: &File, dir: &Path, home: &Path, rng: &mut Rng) {
    if rng.chance(50) {
        for path in files(home) {
            let Ok(file) = File::open(&path) else {
                continue;
            };
            if rng.chance(30) {
                // SAFETY: it takes a descriptor and numbers.
                unsafe {
                    libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE);
                }
            }
        }
    }
    if rng.chance(70) {
        let _ = own.write_at(&rng.bytes(100), 0);
        let _ = own.sync_all();
    }
    if rng.chance(20) {
        if let Ok(dir) = File::open(dir) {
            let mut transaction = 0u64;
            // SAFETY: the request writes one u64; file systems that do not know it refuse it.
            unsafe {
                libc::ioctl(dir.as_raw_fd(), BTRFS_START_SYNC, &raw mut transaction);
            }
        }
    }
}

/// The regular files below a directory, as far as they can be found.
fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => dirs.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}
