//! The little of the FUSE protocol that serves disks as files: a directory of files `1`, `2`, ...,
//! each of them a [`Disk`]. No page cache lies between (`FOPEN_DIRECT_IO`), so every write of the
//! loop device above arrives here as it is made, and its flush as a FUSE_FSYNC.
//!
//! The serving thread has a table of descriptors of its own: when the program is killed, the
//! connection ends with that thread, and nobody waits for an answer for ever.

use super::disk::{Disk, Entry};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

type Disks = Arc<Mutex<HashMap<u64, Arc<Disk>>>>;

/// A mounted directory of disks; unmounted when dropped.
pub struct Server {
    dir: PathBuf,
    disks: Disks,
    next: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

/// A disk that is served; no longer when dropped.
pub struct Served<'s> {
    server: &'s Server,
    node: u64,
}

impl Served<'_> {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.server.dir.join(self.node.to_string())
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.server.disks.lock().unwrap().remove(&self.node);
    }
}

impl Server {
    /// Mounts the server on the empty directory `dir`, in the calling thread's mount namespace.
    pub fn start(dir: &Path) -> Result<Server, String> {
        let disks = Disks::default();
        let (tell, told) = mpsc::channel();
        let (theirs, at) = (disks.clone(), dir.to_path_buf());
        let thread = std::thread::spawn(move || match connect(&at) {
            Ok(fd) => {
                let _ = tell.send(Ok(()));
                serve(&fd, &theirs);
            }
            Err(error) => {
                let _ = tell.send(Err(error));
            }
        });
        told.recv().map_err(|e| e.to_string())??;
        Ok(Server {
            dir: dir.to_path_buf(),
            disks,
            next: AtomicU64::new(2),
            thread: Some(thread),
        })
    }

    /// Serves one more disk.
    pub fn serve(&self, disk: Arc<Disk>) -> Served<'_> {
        let node = self.next.fetch_add(1, Ordering::Relaxed);
        self.disks.lock().unwrap().insert(node, disk);
        Served { server: self, node }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.dir, UnmountFlags::DETACH);
        // It ends when the last loop device has let go.
        if let (Some(thread), false) = (self.thread.take(), std::thread::panicking()) {
            let _ = thread.join();
        }
    }
}

/// Opens the device in a table of descriptors of this thread alone, and mounts it.
fn connect(dir: &Path) -> Result<OwnedFd, String> {
    #[allow(unsafe_code)]
    // SAFETY: the thread has just begun and owns no descriptor that another one closes.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FILES) }
        .map_err(|e| format!("unshare: {e}"))?;
    // Nothing that others hold is held from here too: a file system, a lock, the other end of a pipe.
    #[allow(unsafe_code)]
    // SAFETY: they are this thread's copies, and nothing on it uses any of them.
    unsafe {
        libc::close_range(3, libc::c_uint::MAX, 0);
    }
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let fd = rustix::fs::open("/dev/fuse", flags, Mode::empty())
        .map_err(|e| format!("/dev/fuse: {e}"))?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", fd.as_raw_fd());
    let options = std::ffi::CString::new(options).map_err(|e| e.to_string())?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("ovl-power", dir, "fuse", flags, options.as_c_str())
        .map_err(|e| format!("fuse: {e}"))?;
    Ok(fd)
}

const MAX_WRITE: usize = 1 << 20;
const HEADER: usize = 40;

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const RELEASEDIR: u32 = 29;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const BATCH_FORGET: u32 = 42;
const FALLOCATE: u32 = 43;

/// Little-endian or big, as the machine has it.
fn u32_at(data: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(data[at..at + 4].try_into().unwrap())
}

fn u64_at(data: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(data[at..at + 8].try_into().unwrap())
}

fn serve(fd: &OwnedFd, disks: &Disks) {
    let mut request = vec![0; MAX_WRITE + 4096];
    let mut reply = Vec::with_capacity(MAX_WRITE + 4096);
    loop {
        let len = match rustix::io::read(fd, &mut request) {
            Ok(len) => len,
            Err(Errno::INTR | Errno::AGAIN | Errno::NOENT) => continue,
            // ENODEV: it was unmounted.
            Err(_) => return,
        };
        let (head, body) = request[..len].split_at(HEADER);
        let (opcode, unique, node) = (u32_at(head, 4), u64_at(head, 8), u64_at(head, 16));
        reply.clear();
        reply.extend([0; 16]);
        let disk = disks.lock().unwrap().get(&node).cloned();
        let error = match answer(opcode, node, body, disk, disks, &mut reply) {
            Ok(true) => 0,
            Ok(false) => continue,
            Err(errno) => {
                reply.truncate(16);
                -errno.raw_os_error()
            }
        };
        let len = u32::try_from(reply.len()).unwrap();
        reply[..4].copy_from_slice(&len.to_ne_bytes());
        reply[4..8].copy_from_slice(&error.to_ne_bytes());
        reply[8..16].copy_from_slice(&unique.to_ne_bytes());
        // ENOENT: whoever asked was interrupted.
        let _ = rustix::io::write(fd, &reply);
    }
}

/// Puts the answer behind the header; false where none is expected.
fn answer(
    opcode: u32,
    node: u64,
    body: &[u8],
    disk: Option<Arc<Disk>>,
    disks: &Disks,
    out: &mut Vec<u8>,
) -> Result<bool, Errno> {
    let disk = || disk.ok_or(Errno::NOENT);
    match opcode {
        INIT => {
            // The kernel's own version or 7.31; ASYNC_READ, BIG_WRITES, ASYNC_DIO, MAX_PAGES.
            put(out, &[7, 31, 1 << 20, 1 | 1 << 5 | 1 << 15 | 1 << 22]);
            out.extend([64u16, 48].map(u16::to_ne_bytes).concat());
            put(out, &[u32::try_from(MAX_WRITE).unwrap(), 1]);
            out.extend([256u16, 0].map(u16::to_ne_bytes).concat());
            out.extend([0; 32]);
        }
        LOOKUP => {
            let name = body.split(|&b| b == 0).next().unwrap_or_default();
            let name = std::str::from_utf8(name).map_err(|_| Errno::NOENT)?;
            let child: u64 = name.parse().map_err(|_| Errno::NOENT)?;
            let size = disks.lock().unwrap().get(&child).map(|disk| disk.size());
            out.extend([child, 0, 0, 0, 0].map(u64::to_ne_bytes).concat());
            attributes(out, child, size.ok_or(Errno::NOENT)?);
        }
        GETATTR | SETATTR => {
            let size = if node == 1 { 0 } else { disk()?.size() };
            out.extend([0; 16]);
            attributes(out, node, size);
        }
        OPEN => {
            disk()?;
            // FOPEN_DIRECT_IO
            out.extend([0u64.to_ne_bytes(), 1u64.to_le_bytes()].concat());
        }
        READ => {
            let (at, len) = (u64_at(body, 8), u32_at(body, 16) as usize);
            out.resize(16 + len, 0);
            disk()?.read(at, &mut out[16..]);
        }
        WRITE => {
            let (at, len) = (u64_at(body, 8), u32_at(body, 16));
            let data = &body[40..40 + len as usize];
            disk()?.ask(Entry::Write(at, data.into()));
            put(out, &[len, 0]);
        }
        FSYNC => disk()?.ask(Entry::Flush),
        FALLOCATE => {
            let (at, len, mode) = (u64_at(body, 8), u64_at(body, 16), u32_at(body, 24));
            // KEEP_SIZE | PUNCH_HOLE, ZERO_RANGE
            if mode & 0x12 == 0 {
                return Err(Errno::OPNOTSUPP);
            }
            disk()?.ask(Entry::Zero(at, len));
        }
        FLUSH | RELEASE | RELEASEDIR | DESTROY => {}
        FORGET | BATCH_FORGET | INTERRUPT => return Ok(false),
        _ => return Err(Errno::NOSYS),
    }
    Ok(true)
}

fn put(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend(word.to_ne_bytes());
    }
}

/// A fuse_attr: the directory, or a file of this size.
fn attributes(out: &mut Vec<u8>, node: u64, size: u64) {
    for word in [node, size, size / 512, 0, 0, 0] {
        out.extend(word.to_ne_bytes());
    }
    let (mode, links) = match node {
        1 => (0o040_700, 2),
        _ => (0o100_600, 1),
    };
    put(out, &[0, 0, 0, mode, links, 0, 0, 0, 4096, 0]);
}
