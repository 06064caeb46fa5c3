//! One layer in many bytes: the forms in which tar programs say the same entries.

use crate::random::Rng;
use crate::tar::{Entry, What, decimal, padded, record};
use std::io::Write;

/// The tar of these entries, each in a form drawn from `seed` and its name, whatever others there
/// are; compressed in one of the ways there are.
pub fn bytes(entries: &[Entry], seed: u64) -> Vec<u8> {
    let rng = &mut Rng(seed);
    let mut tar = Vec::new();
    if rng.below(4) == 0 {
        let pax = record(b"comment", b"said of all that follows");
        tar.extend(header(
            b"pax_global",
            b'g',
            pax.len() as u64,
            &Plain::default(),
        ));
        tar.extend(padded(&pax));
    }
    for entry in entries {
        let name = entry
            .path
            .iter()
            .fold(seed, |sum, &b| sum.wrapping_mul(31) + u64::from(b));
        tar.extend(one(entry, &mut Rng(name)));
    }
    match rng.below(4) {
        0 => tar.extend([0; 512 * 20]),
        1 => {}
        _ => tar.extend([0; 1024]),
    }
    compressed(tar, rng)
}

fn compressed(tar: Vec<u8>, rng: &mut Rng) -> Vec<u8> {
    let at = tar.len() / 2;
    let gzip = |data: &[u8]| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(data).unwrap();
        out.finish().unwrap()
    };
    let zstd = |data: &[u8]| zstd::encode_all(data, 1).unwrap();
    match rng.below(8) {
        0 => gzip(&tar),
        1 => [gzip(&tar[..at]), gzip(b""), gzip(&tar[at..])].concat(),
        2 => zstd(&tar),
        3 => [
            zstd(&tar[..at]),
            // A skippable frame.
            vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3],
            zstd(&tar[at..]),
        ]
        .concat(),
        _ => tar,
    }
}

/// The numbers of a header block, as they are.
#[derive(Default)]
struct Plain {
    mode: u32,
    uid: u64,
    gid: u64,
    sec: i64,
    device: (u32, u32),
    link: Vec<u8>,
    prefix: Vec<u8>,
    /// `ustar\0` and `00`, `ustar  \0`, or nothing at all.
    magic: Magic,
    base256: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Magic {
    #[default]
    Posix,
    Gnu,
    None,
}

fn header(name: &[u8], flag: u8, size: u64, plain: &Plain) -> Vec<u8> {
    let mut b = vec![0u8; 512];
    let mut put = |at: usize, data: &[u8]| b[at..at + data.len()].copy_from_slice(data);
    let number = |value: i64, width: usize| -> Vec<u8> {
        if plain.base256 || value < 0 {
            let mut field = vec![if value < 0 { 0xff } else { 0 }; width];
            field[width - 8..].copy_from_slice(&value.to_be_bytes());
            field[0] |= 0x80;
            return field;
        }
        format!("{value:0w$o}\0", w = width - 1).into_bytes()
    };
    put(0, name);
    put(100, format!("{:07o}\0", plain.mode).as_bytes());
    // Eight bytes hold no 64-bit number: the narrow fields stay octal.
    put(108, format!("{:07o}\0", plain.uid).as_bytes());
    put(116, format!("{:07o}\0", plain.gid).as_bytes());
    put(124, &number(size as i64, 12));
    put(136, &number(plain.sec, 12));
    put(148, b"        ");
    put(156, &[flag]);
    put(157, &plain.link);
    match plain.magic {
        Magic::Posix => put(257, b"ustar\x0000"),
        Magic::Gnu => put(257, b"ustar  \0"),
        Magic::None => {}
    }
    if plain.magic != Magic::None {
        let device = plain.device;
        put(
            329,
            format!("{:07o}\0{:07o}\0", device.0, device.1).as_bytes(),
        );
    }
    if plain.magic == Magic::Posix {
        put(345, &plain.prefix);
    }
    let sum: u32 = b.iter().map(|&x| u32::from(x)).sum();
    b[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    b
}

fn one(entry: &Entry, rng: &mut Rng) -> Vec<u8> {
    let mut pax = Vec::new();
    let mut out = Vec::new();
    let mut path = match rng.below(4) {
        0 => [b"./", &entry.path[..]].concat(),
        1 => [b"/", &entry.path[..]].concat(),
        2 if entry.path.contains(&b'/') => {
            let text = String::from_utf8_lossy(&entry.path).replacen('/', "//./", 1);
            text.into_bytes()
        }
        _ => entry.path.clone(),
    };
    let root = entry.path.is_empty();
    if root && path.is_empty() {
        path = b".".to_vec();
    }
    let directory = entry.what == What::Dir;
    let device = match entry.what {
        What::Char(major, minor) | What::Block(major, minor) => Some((major, minor)),
        _ => None,
    };
    let mut magic = *rng.pick(&[Magic::Posix, Magic::Posix, Magic::Gnu, Magic::None]);
    if device.is_some() && magic == Magic::None {
        magic = Magic::Posix;
    }
    // Before POSIX a directory was a file with a slash behind its name.
    let old_directory = directory && magic == Magic::None && !root;
    if directory && !root && (old_directory || rng.below(3) > 0) {
        path.push(b'/');
    }
    let (flag, data, link): (u8, Vec<u8>, Vec<u8>) = match &entry.what {
        What::File(data) => (*rng.pick(&[b'0', 0, b'7', b'0']), data.clone(), Vec::new()),
        What::Hard(target) => {
            let dots = ["", "./", "/"][rng.below(3)];
            (b'1', Vec::new(), [dots.as_bytes(), target].concat())
        }
        What::Symlink(target) => (b'2', Vec::new(), target.clone()),
        What::Char(..) => (b'3', Vec::new(), Vec::new()),
        What::Block(..) => (b'4', Vec::new(), Vec::new()),
        What::Dir if old_directory => (b'0', Vec::new(), Vec::new()),
        What::Dir => (b'5', Vec::new(), Vec::new()),
        What::Fifo => (b'6', Vec::new(), Vec::new()),
    };
    let mut plain = Plain {
        mode: entry.mode,
        uid: entry.uid.into(),
        gid: entry.gid.into(),
        sec: entry.mtime.0,
        device: device.unwrap_or_default(),
        magic,
        base256: magic == Magic::Gnu && rng.below(2) == 0,
        ..Plain::default()
    };
    // A header may say the type's bits too.
    if rng.below(3) == 0 {
        plain.mode |= match flag {
            b'5' => 0o040_000,
            b'0' | 0 if !old_directory => 0o100_000,
            _ => 0,
        };
    }
    if entry.mtime.1 != 0 || rng.below(4) == 0 {
        // Digits as many as there are, or as some write.
        let whole = decimal(entry.mtime);
        let text = match (entry.mtime.1, rng.below(2)) {
            (0, 0) => entry.mtime.0.to_string(),
            (_, 0) => whole.trim_end_matches('0').into(),
            _ => whole + "000",
        };
        pax.push(record(b"mtime", text.as_bytes()));
        plain.sec = 7;
    }
    let mut name = path.clone();
    match rng.below(5) {
        // Longer than it is: the block's own name is then of no account.
        0 => {
            pax.push(record(b"path", &path));
            name = b"short".to_vec();
        }
        1 if magic == Magic::Gnu => {
            let long = [&path[..], b"\0"].concat();
            out.extend(header(
                b"././@LongLink",
                b'L',
                long.len() as u64,
                &plain_gnu(),
            ));
            out.extend(padded(&long));
            name = b"short".to_vec();
        }
        2 if magic == Magic::Posix && !path.starts_with(b"/") => {
            let slash = path[..path.len() - 1].iter().position(|&b| b == b'/');
            if let Some(at) = slash.filter(|&at| at > 0) {
                plain.prefix = path[..at].to_vec();
                name = path[at + 1..].to_vec();
            }
        }
        _ => {}
    }
    match rng.below(4) {
        _ if link.is_empty() => {}
        0 => pax.push(record(b"linkpath", &link)),
        1 if magic == Magic::Gnu => {
            let long = [&link[..], b"\0"].concat();
            out.extend(header(
                b"././@LongLink",
                b'K',
                long.len() as u64,
                &plain_gnu(),
            ));
            out.extend(padded(&long));
        }
        _ => plain.link = link,
    }
    if rng.below(4) == 0 {
        pax.push(record(b"uid", entry.uid.to_string().as_bytes()));
        plain.uid = 99;
    }
    if rng.below(4) == 0 {
        pax.push(record(b"gid", entry.gid.to_string().as_bytes()));
        plain.gid = 98;
    }
    if rng.below(6) == 0 {
        pax.push(record(b"atime", b"12345.5"));
        pax.push(record(b"VENDOR.unknown", b"\xff\0="));
    }
    let mut size = data.len() as u64;
    if matches!(entry.what, What::File(_)) && rng.below(6) == 0 {
        pax.push(record(b"size", size.to_string().as_bytes()));
        size = 0;
    }
    for (name, value) in &entry.xattrs {
        pax.push(record(&[b"SCHILY.xattr.", &name[..]].concat(), value));
    }
    if !pax.is_empty() {
        // In any order.
        for at in (1..pax.len()).rev() {
            pax.swap(at, rng.below(at + 1));
        }
        let pax = pax.concat();
        let head = header(b"PaxHeaders/x", b'x', pax.len() as u64, &Plain::default());
        // The extended header belongs in front of the long names' ones, or behind.
        let whole = [head, padded(&pax)].concat();
        match rng.below(2) {
            0 => out.extend(whole),
            _ => out.splice(0..0, whole).for_each(drop),
        }
    }
    let flag = match flag {
        b'7' if magic == Magic::None => b'0',
        flag => flag,
    };
    out.extend(header(&name, flag, size, &plain));
    out.extend(padded(&data));
    out
}

fn plain_gnu() -> Plain {
    Plain {
        magic: Magic::Gnu,
        ..Plain::default()
    }
}
