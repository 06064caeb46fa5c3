//! Loop devices over served disks, and file systems on them.

use super::disk::{Content, Disk};
use super::fuse::{Served, Server};
use crate::support::have;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
/// LO_FLAGS_AUTOCLEAR, LO_FLAGS_DIRECT_IO
const LOOP_FLAGS: u32 = 4 | 16;

/// A loop device over the file at `path`: it goes with its last user.
pub fn attach(path: &Path) -> Result<(OwnedFd, PathBuf), String> {
    let open = |path: &Path| {
        rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| format!("{}: {e}", path.display()))
    };
    let file = open(path)?;
    let control = open(Path::new("/dev/loop-control"))?;
    // struct loop_config
    let mut config = [0u8; 304];
    let fd = u32::try_from(file.as_raw_fd()).unwrap();
    config[..4].copy_from_slice(&fd.to_ne_bytes());
    config[60..64].copy_from_slice(&LOOP_FLAGS.to_ne_bytes());
    for _ in 0..100 {
        #[allow(unsafe_code)]
        // SAFETY: this request takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(format!(
                "a loop device: {}",
                std::io::Error::last_os_error()
            ));
        }
        let name = PathBuf::from(format!("/dev/loop{number}"));
        let device = open(&name)?;
        #[allow(unsafe_code)]
        // SAFETY: the request reads a struct loop_config, which is 304 bytes.
        let done = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, config.as_ptr()) };
        if done == 0 {
            return Ok((device, name));
        }
        let error = std::io::Error::last_os_error();
        // Somebody else was faster.
        if error.raw_os_error() != Some(libc::EBUSY) {
            return Err(format!("{}: {error}", name.display()));
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Err("no loop device stays free".to_string())
}

/// A mounted file system; unmounted when dropped.
pub struct Mounted<'s> {
    dir: PathBuf,
    mounted: bool,
    _served: Served<'s>,
}

impl<'s> Mounted<'s> {
    /// Mounts the file system of this kind that is on `disk`.
    pub fn new(
        server: &'s Server,
        disk: Arc<Disk>,
        kind: &str,
        dir: &Path,
    ) -> Result<Self, String> {
        let served = server.serve(disk);
        let (_device, name) = attach(&served.path())?;
        std::fs::create_dir_all(dir).map_err(|e| e.to_string())?;
        // Its like is mounted beside it.
        let options = if kind == "xfs" { c"nouuid" } else { c"" };
        rustix::mount::mount(&name, dir, kind, MountFlags::empty(), options)
            .map_err(|e| format!("{kind}: {e}"))?;
        Ok(Mounted {
            dir: dir.to_path_buf(),
            mounted: true,
            _served: served,
        })
    }

    /// Ends it; fails while something uses it.
    pub fn unmount(mut self) -> Result<(), String> {
        for _ in 0..200 {
            match rustix::mount::unmount(&self.dir, UnmountFlags::empty()) {
                // A thread that has just ended may still hold a file.
                Err(rustix::io::Errno::BUSY) => {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                done => {
                    self.mounted = done.is_err();
                    return done.map_err(|e| format!("umount: {e}"));
                }
            }
        }
        Err("umount: it stays busy".to_string())
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if self.mounted {
            let _ = rustix::mount::unmount(&self.dir, UnmountFlags::DETACH);
        }
    }
}

/// An empty file system of this kind.
pub fn make(kind: &str, base: &Path) -> Result<Content, String> {
    let path = base.join(format!("{kind}.new"));
    let file = File::create(&path).map_err(|e| e.to_string())?;
    // As small as each makes it; only what is written counts.
    let size: u64 = match kind {
        "ext4" => 64 << 20,
        "xfs" => 320 << 20,
        _ => 160 << 20,
    };
    file.set_len(size).map_err(|e| e.to_string())?;
    let mut mkfs = Command::new(format!("mkfs.{kind}"));
    match kind {
        "ext4" => mkfs
            .args(["-q", "-F", "-b", "4096", "-J", "size=8"])
            .args(["-E", "lazy_itable_init=0,lazy_journal_init=0"]),
        "xfs" => mkfs.args(["-q", "-f", "-m", "reflink=1"]),
        _ => mkfs.args(["-q", "-f"]),
    };
    have::run(mkfs.arg(&path))?;
    let mut content = Content::new(size);
    let file = File::open(&path).map_err(|e| e.to_string())?;
    let mut block = [0; super::disk::BLOCK];
    let mut at = 0;
    // The holes that mkfs left are not read.
    while let Ok(data) = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) {
        let end = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(data)).unwrap_or(size);
        at = data - data % block.len() as u64;
        while at < end {
            let len = rustix::io::pread(&file, &mut block, at).map_err(|e| e.to_string())?;
            if block[..len].iter().any(|&b| b != 0) {
                content.write(at, &block[..len]);
            }
            at += block.len() as u64;
        }
    }
    std::fs::remove_file(&path).map_err(|e| e.to_string())?;
    Ok(content)
}
