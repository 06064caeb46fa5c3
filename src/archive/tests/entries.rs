//! What well-formed archives mean.

use super::build::{END, GNU, Raw, V7, file, meta, padded, pax, records, tar};
use super::{Dribble, content, entries, read_all};
use crate::archive::{Kind, Time};
use crate::error::{Code, Errno};

#[test]
fn kinds() {
    let archive = tar(&[
        file(b"f", b"data"),
        Raw::new(b"h", b'1').link(b"f").bytes(),
        Raw::new(b"s", b'2').link(b"/else/where").bytes(),
        Raw::new(b"c", b'3')
            .at(329, b"0000005\0")
            .at(337, b"3777777\0")
            .bytes(),
        Raw::new(b"b", b'4').at(329, b"0007777\0").bytes(),
        Raw::new(b"d/", b'5').bytes(),
        Raw::new(b"p", b'6').bytes(),
        [Raw::new(b"contiguous", b'7').size(1).bytes(), padded(b"x")].concat(),
        Raw::new(b"old", 0).magic(V7).bytes(),
        Raw::new(b"olddir/", 0).magic(V7).bytes(),
        Raw::new(b"olddir0/", b'0').magic(V7).bytes(),
        Raw::new(b"newdir/", 0).bytes(),
        Raw::new(b"file/", b'0').bytes(),
    ]);
    let all = entries(&archive[..]).unwrap();
    let kinds: Vec<_> = all.iter().map(|entry| entry.kind).collect();
    use Kind::*;
    let want = [
        File,
        HardLink,
        Symlink,
        CharDevice,
        BlockDevice,
        Directory,
        Fifo,
        File,
        File,
        Directory,
        Directory,
        Directory,
        File,
    ];
    assert_eq!(kinds, want);
    assert_eq!(
        (&all[1].link[..], &all[2].link[..]),
        (&b"f"[..], &b"/else/where"[..])
    );
    assert_eq!((all[3].major, all[3].minor), (5, 0xfffff));
    assert_eq!(all[4].major, 0xfff);
    assert_eq!(content(&read_all(&archive[..]).unwrap()[7]), b"x");
}

#[test]
fn names_are_bytes() {
    let odd: [&[u8]; 8] = [
        b"-rf",
        b"a\nb",
        b"\xff\xfe",
        b"a\\b",
        b"/abs",
        b"../up",
        b".",
        b"",
    ];
    for name in odd {
        let archive = tar(&[Raw::new(name, b'0').bytes(), file(b"z", b"z")]);
        let all = entries(&archive[..]).unwrap();
        assert_eq!(all[0].path, name);
        assert_eq!(all.len(), 2);
    }
}

#[test]
fn prefixes() {
    let with_prefix = Raw::new(b"name", b'0').at(345, b"some/dir");
    let path = |raw: Raw| entries(&raw.bytes()[..]).unwrap().remove(0).path;
    assert_eq!(path(with_prefix.clone()), b"some/dir/name");
    assert_eq!(
        path(with_prefix.clone().magic(GNU)),
        b"name",
        "GNU keeps times there"
    );
    assert_eq!(path(with_prefix.magic(V7)), b"name");
    let star = Raw::new(b"name", b'0')
        .at(345, b"dir")
        .at(476, b"12345670123 ")
        .at(508, b"tar\0");
    assert_eq!(path(star), b"dir/name");
    let full = Raw::new(&[b'n'; 100], b'0').at(345, &[b'p'; 155]);
    assert_eq!(path(full).len(), 256);
}

#[test]
fn gnu_long_names() {
    let long = [b'l'; 300];
    let cases: [(&[u8], &[u8]); 3] = [
        (&[&long[..], b"\0"].concat(), &long),
        (&long, &long),
        (b"cut\0here", b"cut"),
    ];
    for (data, want) in cases {
        let archive = tar(&[
            meta(b'L', data),
            meta(b'K', data),
            Raw::new(b"short", b'2').magic(GNU).link(b"target").bytes(),
            file(b"after", b""),
        ]);
        let all = entries(&archive[..]).unwrap();
        assert_eq!((&all[0].path[..], &all[0].link[..]), (want, want));
        assert_eq!(all[1].path, b"after", "a long name is for one entry");
    }
}

#[test]
fn pax_records() {
    let archive = tar(&[
        pax(&[
            ("path", b"p/a/x"),
            ("uid", b"4294967294"),
            ("gid", b"3000000"),
            ("mtime", b"-1.25"),
            ("SCHILY.xattr.user.b", b"\0\n"),
            ("SCHILY.xattr.user.a", b""),
            ("hdrcharset", b"BINARY"),
            ("comment", b"nothing"),
        ]),
        Raw::new(b"short", b'0')
            .at(108, b"garbage!")
            .at(136, b"garbage!")
            .bytes(),
        pax(&[("linkpath", b"far/away")]),
        Raw::new(b"s", b'2').link(b"near").bytes(),
        file(b"plain", b""),
    ]);
    let all = entries(&archive[..]).unwrap();
    assert_eq!(all[0].path, b"p/a/x");
    assert_eq!((all[0].uid, all[0].gid), (u32::MAX - 1, 3_000_000));
    assert_eq!(
        all[0].mtime,
        Time {
            sec: -2,
            nsec: 750_000_000
        }
    );
    let attrs = [
        (b"user.a".to_vec(), b"".to_vec()),
        (b"user.b".to_vec(), b"\0\n".to_vec()),
    ];
    assert_eq!(all[0].xattrs, attrs);
    assert_eq!(all[1].link, b"far/away");
    assert_eq!(
        (all[2].uid, all[2].xattrs.len()),
        (0, 0),
        "a pax header is for one entry"
    );
}

#[test]
fn header_numbers() {
    let archive = tar(&[
        Raw::new(b"a", b'0')
            .at(100, b"0104755\0")
            .at(108, b"\x80\0\0\0\xff\xff\xff\xfe")
            .at(136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe")
            .bytes(),
        Raw::new(b"b", b'0')
            .at(136, b"\x80\0\0\0\x10\0\0\0\0\0\0\0")
            .bytes(),
        Raw::new(b"c", b'0')
            .at(136, b"\x80\0\x01\0\0\0\0\0\0\0\0\0")
            .bytes(),
    ]);
    let all = entries(&archive[..]).unwrap();
    assert_eq!((all[0].mode, all[0].uid), (0o4755, u32::MAX - 1));
    assert_eq!(all[0].mtime, Time { sec: -2, nsec: 0 });
    assert_eq!(all[1].mtime.sec, 1 << 60);
    assert_eq!(all[2].mtime.sec, i64::MAX, "clamped");
}

/// Global headers give defaults for owners and times, nothing else, and make no entry.
#[test]
fn global_headers() {
    let global = |list: &[(&str, &[u8])]| meta(b'g', &records(list));
    let archive = tar(&[
        global(&[("comment", b"0123456789abcdef0123456789abcdef01234567")]),
        global(&[
            ("path", b"evil"),
            ("linkpath", b"evil"),
            ("size", b"99"),
            ("uid", b"7"),
            ("mtime", b"5.5"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("GNU.sparse.major", b"1"),
        ]),
        file(b"a", b"1"),
        pax(&[("uid", b"8"), ("mtime", b"")]),
        file(b"b", b"22"),
        global(&[("uid", b"")]),
        Raw::new(b"c", b'2').link(b"t").bytes(),
    ]);
    let all = entries(&archive[..]).unwrap();
    assert_eq!(all.len(), 3);
    let told: Vec<_> = all
        .iter()
        .map(|e| (&e.path[..], e.uid, e.size, e.mtime.sec))
        .collect();
    assert_eq!(
        told,
        [(&b"a"[..], 7, 1, 5), (b"b", 8, 2, 0), (b"c", 0, 0, 5)]
    );
    assert!(
        all.iter()
            .all(|entry| entry.xattrs.is_empty() && !entry.sparse)
    );
    assert_eq!(all[2].link, b"t");
}

/// The archive inside the data of an outer one stays data, whatever the header's size field says.
#[test]
fn tarmageddon() {
    let inner = tar(&[file(b"smuggled", b"boo")]);
    let size = inner.len().to_string();
    for gnu_name in [false, true] {
        let long = if gnu_name {
            meta(b'L', b"outer")
        } else {
            Vec::new()
        };
        let archive = tar(&[
            pax(&[("size", size.as_bytes())]),
            long,
            Raw::new(b"outer", b'0').size(0).bytes(),
            inner.clone(),
            file(b"last", b""),
        ]);
        let all = read_all(&archive[..]).unwrap();
        let names: Vec<_> = all.iter().map(|item| &item.0.path[..]).collect();
        assert_eq!(names, [&b"outer"[..], b"last"]);
        assert_eq!(content(&all[0]), inner);
    }
}

#[test]
fn sizes_that_disagree() {
    let archive = |pax_size: &[u8], size: u64| {
        tar(&[
            pax(&[("size", pax_size)]),
            [Raw::new(b"f", b'0').size(size).bytes(), padded(b"abc")].concat(),
        ])
    };
    assert!(entries(&archive(b"3", 3)[..]).is_ok());
    for (pax_size, size) in [(&b"0"[..], 3), (b"3", 2), (b"2", 3)] {
        let error = entries(&archive(pax_size, size)[..]).unwrap_err();
        assert_eq!((error.errno(), error.path()), (Errno::BADMSG, &b"f"[..]));
    }
    // Too large for the field: what stands there is the writer's makeshift.
    let huge = tar(&[
        pax(&[("size", b"8589934592")]),
        Raw::new(b"f", b'0').size(0o77777777777).bytes(),
    ]);
    let mut reader = crate::archive::Reader::new(&huge[..], Default::default());
    assert_eq!(reader.next_entry().unwrap().unwrap().size, 1 << 33);
}

/// A PAX size on what has no data means nothing; nor does a plain one, except on a hard link.
#[test]
fn sizes_without_data() {
    for typeflag in *b"123456" {
        let raw = Raw::new(b"e", typeflag).link(b"t");
        let archive = tar(&[
            pax(&[("size", b"512")]),
            raw.clone().bytes(),
            file(b"next", b""),
        ]);
        let all = entries(&archive[..]).unwrap();
        assert_eq!((all.len(), all[0].size), (2, 0), "{}", typeflag as char);
        let archive = tar(&[raw.size(512).bytes(), file(b"next", b"")]);
        match typeflag {
            b'1' => assert_eq!(entries(&archive[..]).unwrap_err().errno(), Errno::BADMSG),
            _ => assert_eq!(entries(&archive[..]).unwrap().len(), 2),
        }
    }
    let archive = tar(&[
        Raw::new(b"d/", 0).magic(V7).size(512).bytes(),
        file(b"next", b""),
    ]);
    assert_eq!(entries(&archive[..]).unwrap_err().errno(), Errno::BADMSG);
}

#[test]
fn ends() {
    let one = file(b"a", b"x");
    let good: [Vec<u8>; 6] = [
        one.clone(),
        [&one[..], &[0; 512]].concat(),
        tar(std::slice::from_ref(&one)),
        [&one[..], &[0; 10240]].concat(),
        [&tar(std::slice::from_ref(&one))[..], b"garbage"].concat(),
        [&tar(std::slice::from_ref(&one))[..], &file(b"b", b"y")[..]].concat(),
    ];
    for archive in good {
        assert_eq!(entries(&archive[..]).unwrap().len(), 1);
    }
    for archive in [&b""[..], &END, &[0; 10240]] {
        assert!(entries(archive).unwrap().is_empty());
    }
    let lone = [&one[..], &[0; 512], &one[..]].concat();
    let error = entries(&lone[..]).unwrap_err();
    assert_eq!(
        (error.errno(), error.code()),
        (Errno::BADMSG, Code::Archive)
    );
    assert!(error.message().contains("byte 1024"), "{}", error.message());
}

#[test]
fn checksums() {
    let high = Raw::new(b"\xff\xff\xff", b'0').at(148, b"        ");
    let signed: i32 = high.0.iter().map(|&byte| i32::from(byte as i8)).sum();
    let block = high.at(148, format!("{signed:06o}\0 ").as_bytes()).0;
    assert_eq!(entries(&block[..]).unwrap()[0].path, b"\xff\xff\xff");
    for at in [0, 100, 156, 511] {
        let mut second = tar(&[file(b"a", b"x"), file(b"b", b"y")]);
        second[1024 + at] ^= 1;
        let error = entries(&second[..]).unwrap_err();
        assert_eq!(
            (error.errno(), error.code()),
            (Errno::BADMSG, Code::Archive)
        );
        assert!(error.message().contains("byte 1024"), "{}", error.message());
    }
}

#[test]
fn chunks() {
    let small = vec![1; 30_000];
    let large: Vec<u8> = (0..700_000_u32).map(|i| (i >> 8) as u8).collect();
    let mut parts = vec![file(b"large", &large)];
    parts.extend((0..20).map(|_| file(b"small", &small)));
    let archive = tar(&parts);
    let mut reader = crate::archive::Reader::new(&archive[..], Default::default());
    reader.next_entry().unwrap();
    let mut got = Vec::new();
    while let Some(chunk) = reader.next_chunk().unwrap() {
        assert_eq!(chunk.offset, got.len() as u64);
        got.extend_from_slice(chunk.data);
    }
    assert_eq!(got, large);
    while reader.next_entry().unwrap().is_some() {
        assert_eq!(
            reader.next_chunk().unwrap().unwrap().data,
            small,
            "small data comes whole"
        );
        assert!(reader.next_chunk().unwrap().is_none());
    }
    for step in [1, 511, 513] {
        let all = read_all(Dribble(&archive, step)).unwrap();
        assert_eq!(all.len(), 21);
        assert_eq!(content(&all[0]), large);
    }
}
