//! Memory: what a layer asks for grows neither with its bytes nor with the depth of its trees.

use crate::lab::Lab;
use crate::support::fsys;
use crate::tar::{self, *};
use ovl::archive::Source;
use ovl::store::*;
use ovl::watch::Watch;
use std::path::PathBuf;
use std::process::Command;

const HOME: &str = "OVL_TEST_MEMORY_HOME";
const CASE: &str = "OVL_TEST_MEMORY_CASE";

/// KiB that a child may take at most. One that applies nothing takes about 5 MiB.
const MOST: u64 = 32 << 10;

/// The pieces of an archive, one after the other; none ends it.
type Pieces = fn(usize) -> Option<Vec<u8>>;

fn chain(top: &str, levels: usize) -> String {
    format!("{top}{}/f", "/d".repeat(levels))
}

/// An archive, and the errno that answers it.
const CASES: &[(&str, Pieces, i32)] = &[
    ("nothing", |_| None, 0),
    (
        "a path of 16 KiB",
        |n| (n < 1).then(|| tar::bytes_of(&file(&chain("0", 8180), ""))),
        0,
    ),
    (
        "whiteouts and links in such a path",
        |n| match n {
            0 => Some(tar::bytes_of(&file(&chain("0", 8000), ""))),
            _ => (n < 50).then(|| {
                let deep = "/d".repeat(8000);
                [
                    tar::bytes_of(&gone(&format!("0{deep}/{n}"))),
                    tar::bytes_of(&dir(&format!("0{deep}/dir{n}"))),
                    tar::bytes_of(&hard(&format!("h{n}"), &format!("0{deep}/f"))),
                ]
                .concat()
            }),
        },
        0,
    ),
    (
        "more files than can be noted",
        |n| {
            (n < 300).then(|| {
                let files = (0..1000).map(|f| file(&format!("directory-{n}/file-{f}"), ""));
                files
                    .map(|file| tar::bytes_of(&file.mtime(5, 0)))
                    .collect::<Vec<_>>()
                    .concat()
            })
        },
        0,
    ),
    (
        "extended headers of a megabyte",
        |n| {
            (n < 40).then(|| {
                let comment = record(b"comment", &vec![b'c'; (1 << 20) - 100]);
                [
                    block(b"meta", b'x', [0o644, 0, 0, comment.len() as u64], (0, 0)),
                    padded(&comment),
                    tar::block(format!("f{n}").as_bytes(), b'0', [0o644, 0, 0, 0], (0, 0)),
                ]
                .concat()
            })
        },
        0,
    ),
    (
        "attributes of a megabyte",
        |n| {
            (n < 40).then(|| {
                let mut f = file(&format!("f{n}"), "");
                for attr in 0..16 {
                    f = f.xattr(&format!("trusted.{attr}"), &vec![b'v'; 64_000]);
                }
                tar::bytes_of(&f)
            })
        },
        0,
    ),
    (
        "a map of 2^18 regions",
        |n| {
            let regions: usize = 1 << 18;
            (n == 0).then(|| {
                let mut map = format!("{regions}\n").into_bytes();
                (0..regions).for_each(|at| map.extend(format!("{}\n1\n", 2 * at).bytes()));
                let data = [padded(&map), vec![b'x'; regions]].concat();
                let size = (2 * regions).to_string();
                let pax = [
                    record(b"GNU.sparse.major", b"1"),
                    record(b"GNU.sparse.minor", b"0"),
                    record(b"GNU.sparse.name", b"s"),
                    record(b"GNU.sparse.realsize", size.as_bytes()),
                ]
                .concat();
                [
                    block(b"meta", b'x', [0o644, 0, 0, pax.len() as u64], (0, 0)),
                    padded(&pax),
                    block(b"s", b'0', [0o644, 0, 0, data.len() as u64], (0, 0)),
                    padded(&data),
                ]
                .concat()
            })
        },
        0,
    ),
    (
        "40,000 files, links and whiteouts",
        |n| {
            (n < 10_000).then(|| {
                [
                    tar::bytes_of(&file(&format!("d{}/f{n}", n % 50), "x")),
                    tar::bytes_of(&hard(
                        &format!("d{}/h{n}", n % 50),
                        &format!("d{}/f{n}", n % 50),
                    )),
                    tar::bytes_of(&symlink(&format!("d{}/l{n}", n % 50), "target")),
                    tar::bytes_of(&gone(&format!("d{}/g{n}", n % 50))),
                ]
                .concat()
            })
        },
        0,
    ),
    (
        "more directories without entries than entries account for",
        |n| Some(tar::bytes_of(&file(&chain(&n.to_string(), 500), ""))),
        libc::EFBIG,
    ),
    (
        "a path that links make too long",
        |n| match n {
            0 => Some(tar::bytes_of(&file(&chain("a", 2000), ""))),
            1 => Some(tar::bytes_of(&symlink(
                "s",
                &format!("a{}", "/d".repeat(1000)),
            ))),
            _ => Some(tar::bytes_of(&file(
                &format!("s/{}{n}", "q/".repeat(7900)),
                "",
            ))),
        },
        libc::EFBIG,
    ),
];

struct Stream {
    pieces: Pieces,
    next: usize,
    piece: Vec<u8>,
    at: usize,
}

impl Source for Stream {
    fn read(&mut self, buf: &mut [u8]) -> ovl::error::Result<usize> {
        if self.at == self.piece.len() {
            match (self.pieces)(self.next) {
                Some(piece) => (self.piece, self.at) = (piece, 0),
                None => return Ok(0),
            }
            self.next += 1;
        }
        let n = buf.len().min(self.piece.len() - self.at);
        buf[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// The other end of the test; alone it has nothing to do.
#[test]
#[ignore = "run by memory_is_bounded"]
fn child_applies() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else {
        return;
    };
    let case = std::env::var(CASE).unwrap();
    let (name, way) = case.split_once('|').unwrap();
    let (_, pieces, wanted) = CASES.iter().find(|case| case.0 == name).unwrap();
    let lab = Lab::new(&home);
    let (kind, parent): (_, Option<&[u8]>) = match way {
        "root" => (Kind::Root, None),
        "root over base" => (Kind::Root, Some(b"base")),
        _ => (Kind::Overlay, Some(b"base")),
    };
    let options = ApplyOptions {
        kind: Some(kind),
        parent,
        durability: Durability::None,
        ..ApplyOptions::default()
    };
    let mut stream = Stream {
        pieces: *pieces,
        next: 0,
        piece: Vec::new(),
        at: 0,
    };
    let done = lab
        .store
        .apply(b"made", &mut stream, &options, &mut Watch::default());
    assert_eq!(super::errno(done), *wanted);
    // What the kernel keeps for the file system is not ours.
    print!("{}", std::fs::read_to_string("/proc/self/status").unwrap());
}

#[test]
fn memory_is_bounded() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&[tar::dir("d")]))
            .unwrap();
        for (name, _, wanted) in CASES {
            for way in ["root", "root over base", "overlay"] {
                let run = Command::new(std::env::current_exe().unwrap())
                    .args([
                        "--exact",
                        "--ignored",
                        "--nocapture",
                        "hostile::memory::child_applies",
                    ])
                    .env(HOME, dir)
                    .env(CASE, format!("{name}|{way}"))
                    .output()
                    .unwrap();
                let text = String::from_utf8_lossy(&run.stdout);
                let said = String::from_utf8_lossy(&run.stderr);
                assert!(run.status.success(), "{name}, {way}: {text} {said}");
                let peak = text
                    .lines()
                    .find_map(|line| line.strip_prefix("VmHWM:"))
                    .unwrap();
                let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
                println!("{name}, {way}: {peak} KiB");
                assert!(peak < MOST, "{name}, {way}: {peak} KiB");
                match wanted {
                    0 => lab.remove("made"),
                    _ => lab.assert_nothing("made"),
                }
            }
        }
    });
}
