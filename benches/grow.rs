//! Makes trees: deterministic, with all that an image may have in it.

use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

/// Numbers that are the same on every run (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.roll() >> 11) % limit
    }

    /// The size of a file: most are small, as in /usr.
    fn size(&mut self) -> u64 {
        let most = match self.below(100) {
            0..=69 => 1500,
            70..=94 => 8 << 10,
            95..=98 => 32 << 10,
            _ => 200 << 10,
        };
        self.below(most)
    }
}

const WORDS: [&str; 16] = [
    "layer ",
    "store ",
    "mount ",
    "upper ",
    "lower ",
    "the ",
    "of ",
    "and ",
    "inode ",
    "entry ",
    "digest ",
    "archive ",
    "owner ",
    "time\n",
    "link ",
    "0123456789 ",
];

/// `size` bytes: words, and one part in `noise` that no compressor gets smaller.
fn content(dice: &mut Dice, size: u64, noise: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size as usize + 64);
    while (bytes.len() as u64) < size {
        if dice.below(noise) == 0 {
            for _ in 0..8 {
                bytes.extend_from_slice(&dice.roll().to_le_bytes());
            }
        } else {
            for _ in 0..10 {
                bytes.extend_from_slice(WORDS[dice.below(16) as usize].as_bytes());
            }
        }
    }
    bytes.truncate(size as usize);
    bytes
}

/// A tree of this many entries in the shape of a root file system: one entry in ten a directory, one
/// in fifty a symlink, one in fifty another name of a file; extended attributes, ACLs, capabilities,
/// owners, devices (what the caller may make of these), fifos, a sparse file.
pub fn root_file_system(root: &Path, entries: u64) -> io::Result<()> {
    let mut dice = Dice(6);
    let mut dirs = vec![root.to_path_buf()];
    let mut files: Vec<PathBuf> = Vec::new();
    specials(root)?;
    for made in 10..entries.max(10) {
        let dir =
            dirs[(dirs.len() as u64 - 1 - dice.below(dirs.len().min(40) as u64)) as usize].clone();
        let path = match made % 50 {
            n if n % 10 == 0 => {
                let parent = dirs[dice.below(dirs.len() as u64) as usize].clone();
                let depth = parent.components().count() - root.components().count();
                let path = if depth < 9 { &parent } else { root }.join(format!("dir{made}"));
                fs::create_dir(&path)?;
                dirs.push(path.clone());
                path
            }
            1 => {
                let path = dir.join(format!("link{made}"));
                symlink(format!("../file{made}"), &path)?;
                path
            }
            2 if !files.is_empty() => {
                let path = dir.join(format!("again{made}"));
                fs::hard_link(&files[dice.below(files.len() as u64) as usize], &path)?;
                continue;
            }
            _ => {
                let path = dir.join(format!("file{made}.conf"));
                let size = dice.size();
                fs::write(&path, content(&mut dice, size, 8))?;
                decorate(&mut dice, &path, made)?;
                if made % 7 == 0 {
                    files.push(path.clone());
                }
                path
            }
        };
        set_time(&path, made)?;
    }
    for (i, dir) in dirs.iter().enumerate().rev() {
        set_time(dir, i as u64)?;
    }
    Ok(())
}

/// Modes, owners and attributes of some files.
fn decorate(dice: &mut Dice, path: &Path, made: u64) -> io::Result<()> {
    if made % 16 == 3 {
        let mode = [0o755, 0o600, 0o4755, 0o2755][dice.below(4) as usize];
        // The owner first: it takes set-uid bits away.
        if is_root() && made % 32 == 3 {
            chown(path, Some(1000), Some(100))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    match made % 256 {
        5 | 69 | 133 => xattr::set(path, "user.origin", format!("made {made}").as_bytes()),
        // u::rw-, u:1000:r--, g::r--, m::r--, o::r--
        7 if is_root() => xattr::set(path, "system.posix_acl_access", &acl()),
        // cap_net_raw+ep
        9 if is_root() => xattr::set(
            path,
            "security.capability",
            &[
                1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
        _ => Ok(()),
    }
}

fn acl() -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in [
        (1u16, 6u16, u32::MAX),
        (2, 4, 1000),
        (4, 4, u32::MAX),
        (16, 4, u32::MAX),
        (32, 4, u32::MAX),
    ] {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&rights.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// What there is once: devices, a fifo, a sparse file.
fn specials(root: &Path) -> io::Result<()> {
    let dev = root.join("dev");
    fs::create_dir(&dev)?;
    let mode = Mode::from_raw_mode(0o666);
    if is_root() {
        for (name, minor) in [("null", 3), ("zero", 5), ("full", 7)] {
            let device = rustix::fs::makedev(1, minor);
            mknodat(CWD, dev.join(name), FileType::CharacterDevice, mode, device)?;
        }
        let block = rustix::fs::makedev(7, 0);
        mknodat(CWD, dev.join("loop0"), FileType::BlockDevice, mode, block)?;
    }
    mknodat(CWD, dev.join("initctl"), FileType::Fifo, mode, 0)?;
    let sparse = File::create(dev.join("sparse"))?;
    sparse.set_len(1 << 20)?;
    sparse.write_all_at(b"in the middle", 500_000)?;
    for entry in fs::read_dir(&dev)? {
        set_time(&entry?.path(), 1)?;
    }
    set_time(&dev, 2)
}

/// Files of 1 KiB, a hundred in a directory.
pub fn small_files(root: &Path, files: u64) -> io::Result<()> {
    let mut dice = Dice(7);
    for d in 0..files.div_ceil(100) {
        let dir = root.join(format!("top{}", d % 40)).join(format!("dir{d}"));
        fs::create_dir_all(&dir)?;
        for f in d * 100..files.min((d + 1) * 100) {
            let path = dir.join(format!("file{f}"));
            File::create(&path)?.write_all(&content(&mut dice, 1024, 4))?;
            decorate(&mut dice, &path, f)?;
            set_time(&path, f)?;
        }
        set_time(&dir, d)?;
    }
    for top in fs::read_dir(root)? {
        set_time(&top?.path(), 1001)?;
    }
    set_time(root, 3)
}

/// Files of some 30 KB, together this many megabytes, that gzip makes half as large.
pub fn mixed(root: &Path, megabytes: u64) -> io::Result<()> {
    let mut dice = Dice(8);
    let mut left = megabytes * 1_000_000;
    let mut made = 0;
    while left > 0 {
        let dir = root.join(format!("dir{}", made / 20));
        fs::create_dir_all(&dir)?;
        let size = (dice.below(60_000) + 200).min(left);
        let path = dir.join(format!("file{made}"));
        fs::write(&path, content(&mut dice, size, 4))?;
        decorate(&mut dice, &path, made)?;
        set_time(&path, made)?;
        left -= size;
        made += 1;
    }
    for d in 0..made.div_ceil(20) {
        set_time(&root.join(format!("dir{d}")), d)?;
    }
    set_time(root, 4)
}

/// Whole seconds and fractions, in turn.
fn set_time(path: &Path, made: u64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: 1_600_000_000 + (made * 977 % 100_000_000) as i64,
        tv_nsec: if made % 4 == 0 {
            (made * 7919 % 1_000_000_000) as _
        } else {
            0
        },
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
