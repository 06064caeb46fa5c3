//! What is written is read back exactly, and the same input gives the same bytes.

use super::{Dribble, Random, content, entry, read_all};
use crate::archive::{Digest, Entry, Kind, Region, Time, Writer};
use crate::error::Errno;

/// One of everything, with its data.
pub fn everything() -> Vec<(Entry, Vec<u8>)> {
    let mut items = Vec::new();
    let mut add = |entry: Entry, data: &[u8]| {
        let size = if entry.kind == Kind::File {
            data.len() as u64
        } else {
            0
        };
        items.push((Entry { size, ..entry }, data.to_vec()));
    };
    add(
        Entry {
            mode: 0o755,
            ..entry(b"./", Kind::Directory)
        },
        b"",
    );
    add(
        Entry {
            mode: 0o1777,
            ..entry(b"d/", Kind::Directory)
        },
        b"",
    );
    add(entry(b"d/empty", Kind::File), b"");
    add(
        Entry {
            mode: 0o4755,
            ..entry(b"d/f", Kind::File)
        },
        b"hello",
    );
    add(entry(b"d/block", Kind::File), &[7; 512]);
    add(entry(b"d/large", Kind::File), &Random(1).bytes(700_001));
    add(
        Entry {
            link: b"d/f".to_vec(),
            ..entry(b"h", Kind::HardLink)
        },
        b"",
    );
    add(
        Entry {
            link: b"/nowhere".to_vec(),
            mode: 0o777,
            ..entry(b"s", Kind::Symlink)
        },
        b"",
    );
    add(
        Entry {
            major: 0xfff,
            minor: 0xfffff,
            ..entry(b"c", Kind::CharDevice)
        },
        b"",
    );
    add(
        Entry {
            major: 8,
            minor: 1,
            ..entry(b"b", Kind::BlockDevice)
        },
        b"",
    );
    add(entry(b"p", Kind::Fifo), b"");
    for len in [99, 100, 101, 255, 4000] {
        let name = [b"d/".to_vec(), vec![b'n'; len - 2]].concat();
        add(entry(&name, Kind::File), b"x");
        add(
            Entry {
                link: name,
                ..entry(format!("s{len}").as_bytes(), Kind::Symlink)
            },
            b"",
        );
        let dir = [vec![b'e'; len - 1], b"/".to_vec()].concat();
        add(entry(&dir, Kind::Directory), b"");
    }
    let odd = [&b"\xff\xfe\n=\\"[..], &[b'\xfe'; 120]].concat();
    add(entry(b"-odd\xff\n", Kind::File), b"x");
    add(
        Entry {
            link: odd.clone(),
            ..entry(&odd, Kind::HardLink)
        },
        b"",
    );
    for (sec, nsec) in [
        (0, 0),
        (1, 1),
        (-1, 0),
        (-2, 500_000_000),
        (1 << 33, 0),
        ((1 << 33) - 1, 999_999_999),
    ] {
        let name = format!("t{sec}.{nsec}");
        add(
            Entry {
                mtime: Time { sec, nsec },
                ..entry(name.as_bytes(), Kind::File)
            },
            b"",
        );
    }
    for id in [0o7777777, 0o10000000, u32::MAX - 1] {
        add(
            Entry {
                uid: id,
                gid: id,
                ..entry(format!("o{id}").as_bytes(), Kind::File)
            },
            b"",
        );
    }
    let xattrs: Vec<(Vec<u8>, Vec<u8>)> = vec![
        (
            b"security.capability".to_vec(),
            b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
        ),
        (b"user.%41".to_vec(), b"raw".to_vec()),
        (b"user.a=b".to_vec(), b"\0\n=\xff".to_vec()),
        (b"user.empty".to_vec(), Vec::new()),
        (b"user.large".to_vec(), Random(2).bytes(64 << 10)),
    ];
    for (name, kind) in [
        (&b"x"[..], Kind::File),
        (b"xd/", Kind::Directory),
        (b"xc", Kind::CharDevice),
    ] {
        add(
            Entry {
                xattrs: xattrs.clone(),
                ..entry(name, kind)
            },
            b"",
        );
    }
    items
}

pub fn write(items: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in items {
        writer.begin(entry).unwrap();
        for piece in data.chunks(9_999) {
            writer.data(piece).unwrap();
        }
    }
    writer.finish().unwrap()
}

#[test]
fn everything_comes_back() {
    let items = everything();
    let archive = write(&items);
    assert_eq!(archive.len() % 512, 0);
    assert_eq!(write(&items), archive, "the same bytes again");
    for step in [100, usize::MAX] {
        let all = read_all(Dribble(&archive, step)).unwrap();
        assert_eq!(all.len(), items.len());
        for (got, want) in all.iter().zip(&items) {
            assert_eq!(got.0, want.0);
            assert!(content(got) == want.1);
        }
    }
}

/// The form is part of the contract: digests of layers hang on it.
#[test]
fn the_form_is_fixed() {
    let digest = Digest::of(&write(&everything())).hex();
    assert_eq!(
        digest,
        "6597e16ac9c5e94eff6734b508919b299119146e4e3a53d8aa23473bc12dd6dd"
    );
}

#[test]
fn plain_where_it_fits() {
    let archive = write(&[(
        Entry {
            size: 1,
            ..entry(&[b'n'; 100], Kind::File)
        },
        b"x".to_vec(),
    )]);
    assert_eq!(archive.len(), 512 + 512 + 1024);
    let dir = |path: &[u8]| {
        read_all(&write(&[(entry(path, Kind::Directory), vec![])])[..]).unwrap()[0]
            .0
            .path
            .clone()
    };
    assert_eq!(
        (dir(b""), dir(b"."), dir(b"d")),
        (b"./".to_vec(), b"./".to_vec(), b"d/".to_vec())
    );
}

#[test]
fn sparse_files() {
    let region = |offset, len| Region { offset, len };
    let cases: [(u64, Vec<Region>); 6] = [
        (0, vec![]),
        (1 << 40, vec![]),
        (10, vec![region(0, 10)]),
        (1 << 40, vec![region(5, 1), region(1 << 20, 70_000)]),
        (100, vec![region(99, 1)]),
        (2000, (0..500).map(|at| region(4 * at, 1)).collect()),
    ];
    for (size, regions) in cases {
        for path in [&b"d/s"[..], &[b'l'; 300]] {
            let header = Entry {
                size,
                sparse: true,
                ..entry(path, Kind::File)
            };
            let mut writer = Writer::new(Vec::new());
            writer.begin_sparse(&header, &regions).unwrap();
            for region in &regions {
                writer
                    .data(&vec![region.offset as u8 | 1; region.len as usize])
                    .unwrap();
            }
            writer.begin(&entry(b"after", Kind::File)).unwrap();
            let all = read_all(&writer.finish().unwrap()[..]).unwrap();
            assert_eq!(all.len(), 2);
            assert_eq!(all[0].0, header);
            let want: Vec<_> = regions
                .iter()
                .map(|r| (r.offset, vec![r.offset as u8 | 1; r.len as usize]))
                .collect();
            assert!(all[0].1 == want);
        }
    }
}

#[test]
fn what_cannot_be_written() {
    let refuse = |entry: Entry| {
        let error = Writer::new(Vec::new()).begin(&entry).expect_err("refused");
        assert_eq!(
            (error.errno(), error.path()),
            (Errno::INVAL, &entry.path[..])
        );
    };
    let file = || entry(b"f", Kind::File);
    refuse(entry(b"a\0b", Kind::File));
    refuse(entry(b"", Kind::File));
    refuse(entry(b"f/", Kind::File));
    refuse(entry(b"s", Kind::Symlink));
    refuse(Entry {
        link: b"t".to_vec(),
        ..file()
    });
    refuse(Entry {
        mode: 0o100644,
        ..file()
    });
    refuse(Entry {
        uid: u32::MAX,
        ..file()
    });
    refuse(Entry {
        gid: u32::MAX,
        ..file()
    });
    refuse(Entry {
        mtime: Time {
            sec: 0,
            nsec: 1_000_000_000,
        },
        ..file()
    });
    refuse(Entry {
        size: 1 << 63,
        ..file()
    });
    refuse(Entry {
        size: 1,
        ..entry(b"d", Kind::Directory)
    });
    refuse(Entry { major: 1, ..file() });
    refuse(Entry {
        major: 0x1000,
        ..entry(b"c", Kind::CharDevice)
    });
    refuse(Entry {
        minor: 0x100000,
        ..entry(b"c", Kind::CharDevice)
    });
    let attr = |name: &[u8]| (name.to_vec(), Vec::new());
    refuse(Entry {
        xattrs: vec![attr(b"")],
        ..file()
    });
    refuse(Entry {
        xattrs: vec![attr(b"a\0")],
        ..file()
    });
    refuse(Entry {
        xattrs: vec![attr(b"a"), attr(b"a")],
        ..file()
    });
    let huge = Entry {
        xattrs: vec![(b"user.a".to_vec(), vec![0; 1 << 20])],
        ..file()
    };
    assert_eq!(
        Writer::new(Vec::new()).begin(&huge).unwrap_err().errno(),
        Errno::FBIG
    );
    let bad = |size, regions: &[(u64, u64)]| {
        let regions: Vec<_> = regions
            .iter()
            .map(|&(offset, len)| Region { offset, len })
            .collect();
        let error = Writer::new(Vec::new()).begin_sparse(&Entry { size, ..file() }, &regions);
        assert_eq!(error.expect_err("refused").errno(), Errno::INVAL);
    };
    bad(10, &[(0, 0)]);
    bad(10, &[(0, 2), (2, 1)]);
    bad(10, &[(4, 2), (0, 1)]);
    bad(10, &[(4, 7)]);
    bad(10, &[(u64::MAX, 2)]);
}

#[test]
fn sizes_must_be_kept() {
    let header = Entry {
        size: 5,
        ..entry(b"f", Kind::File)
    };
    let begun = || {
        let mut writer = Writer::new(Vec::new());
        writer.begin(&header).unwrap();
        writer.data(b"1234").unwrap();
        writer
    };
    let is_about_f = |error: crate::error::Error| {
        assert_eq!((error.errno(), error.path()), (Errno::INVAL, &b"f"[..]))
    };
    is_about_f(begun().data(b"56").unwrap_err());
    is_about_f(begun().end().unwrap_err());
    is_about_f(begun().begin(&header).unwrap_err());
    is_about_f(begun().finish().err().unwrap());
    let mut exact = begun();
    exact.data(b"5").unwrap();
    assert!(exact.finish().is_ok());
}
