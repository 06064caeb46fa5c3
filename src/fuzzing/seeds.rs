//! The seeds in `fuzz/seeds`, made here so that what each is stays known. `OVL_WRITE_SEEDS=1 cargo
//! test --lib seeds` writes them; what fuzzers grew (`grown-*`) stays beside them.
#![allow(clippy::unwrap_used)]

use crate::archive::tests::build::{GNU, Raw, V7, file, meta, pax, records, tar};
use crate::archive::tests::codecs::{gzip, zstd};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub type Seeds = BTreeMap<String, Vec<u8>>;

/// Where seeds and regressions are; not in the package.
pub fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(name)
}

#[test]
fn seeds_are_as_they_are_made() {
    if !place("seeds").exists() {
        return println!("SKIP seeds_are_as_they_are_made: lacks fuzz/seeds (a packaged source)");
    }
    let write = std::env::var_os("OVL_WRITE_SEEDS").is_some();
    let mut bytes = 0;
    for (target, seeds) in all() {
        for (name, seed) in seeds {
            let path = place("seeds").join(target).join(&name);
            if write {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, &seed).unwrap();
            }
            let there = std::fs::read(&path).unwrap_or_default();
            assert!(there == seed, "{target}/{name} is not what is made here");
            bytes += seed.len();
        }
    }
    assert!(bytes < 250_000, "{bytes} bytes of seeds");
}

fn all() -> [(&'static str, Seeds); 11] {
    [
        ("tar", dialects()),
        ("apply", attacks()),
        ("pax", headers()),
        ("sparse", maps()),
        ("gzip", members()),
        ("zstd", frames()),
        ("names", names()),
        ("metadata", texts()),
        ("roundtrip", choices()),
        ("layers", choices()),
        ("image", super::image_seeds::images()),
    ]
}

fn named<const N: usize>(list: [(&str, Vec<u8>); N]) -> Seeds {
    list.map(|(name, seed)| (name.to_string(), seed))
        .into_iter()
        .collect()
}

fn link(name: &[u8], target: &[u8]) -> Vec<u8> {
    Raw::new(name, b'2').link(target).bytes()
}

fn hard(name: &[u8], target: &[u8]) -> Vec<u8> {
    Raw::new(name, b'1').link(target).bytes()
}

fn dir(name: &[u8]) -> Vec<u8> {
    Raw::new(name, b'5').at(100, b"0000755\0").bytes()
}

/// One of each dialect, and of what it can say.
fn dialects() -> Seeds {
    let mut old = Raw::new(b"s", b'S').magic(GNU).size(5);
    for at in 0..4 {
        old = old.at(
            386 + 24 * at,
            format!("{:011o} 00000000001 ", 2 * at).as_bytes(),
        );
    }
    let mut block = vec![0; 512];
    block[..24].copy_from_slice(b"00000000010 00000000001 ");
    let old = old.at(482, &[1]).at(483, b"00000000011\0").bytes();
    let text = b"1\n2\n3\n";
    let mut stored = text.to_vec();
    stored.resize(512, 0);
    stored.extend(b"abc");
    let sparse_1: Vec<(&str, &[u8])> = vec![
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.realsize", b"10"),
    ];
    let signed = {
        let mut raw = Raw::new(b"\xff\xe9", b'0').at(148, b"        ");
        let sum: i64 = raw.0.iter().map(|&byte| i64::from(byte as i8)).sum();
        raw = raw.at(148, format!("{sum:06o}\0 ").as_bytes());
        raw.0.to_vec()
    };
    named([
        (
            "v7",
            tar(&[
                Raw::new(b"d/", 0).magic(V7).bytes(),
                Raw::new(b"f", 0).magic(V7).bytes(),
            ]),
        ),
        (
            "ustar-prefix",
            tar(&[Raw::new(b"name", b'0').at(345, b"some/prefix").bytes()]),
        ),
        (
            "star",
            tar(&[Raw::new(b"name", b'0')
                .at(345, b"prefix")
                .at(476, b"00000000001 00000000002 ")
                .at(508, b"tar\0")
                .bytes()]),
        ),
        (
            "gnu-long",
            tar(&[
                meta(b'L', &[b'n'; 200]),
                meta(b'K', &[b't'; 200]),
                Raw::new(b"n", b'2').magic(GNU).bytes(),
            ]),
        ),
        (
            "gnu-times-in-prefix",
            tar(&[Raw::new(b"f", b'0')
                .magic(GNU)
                .at(345, b"00000000001\x0000000000002\0")
                .bytes()]),
        ),
        (
            "base-256",
            tar(&[Raw::new(b"f", b'0')
                .at(108, b"\x80\0\0\0\xee\x6b\x28\0")
                .at(136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfb")
                .bytes()]),
        ),
        (
            "kinds",
            tar(&[
                dir(b"d/"),
                file(b"d/f", b"data"),
                hard(b"h", b"d/f"),
                link(b"l", b"t"),
                Raw::new(b"c", b'3')
                    .at(329, b"0000005\x000000001\0")
                    .bytes(),
                Raw::new(b"b", b'4')
                    .at(329, b"0000010\x000000001\0")
                    .bytes(),
                Raw::new(b"p", b'6').bytes(),
                Raw::new(b"7", b'7').bytes(),
            ]),
        ),
        (
            "pax",
            tar(&[
                pax(&[
                    ("path", b"a\nb"),
                    ("mtime", b"-1.5"),
                    ("uid", b"3000000"),
                    ("SCHILY.xattr.user.a", b"\0=\n"),
                    ("LIBARCHIVE.xattr.user%2Eb", b"AAEC"),
                    ("comment", b""),
                ]),
                file(b"x", b"y"),
            ]),
        ),
        (
            "pax-global",
            tar(&[
                meta(
                    b'g',
                    &records(&[("mtime", b"7.25"), ("uid", b"8"), ("comment", b"0123")]),
                ),
                file(b"f", b""),
                pax(&[("uid", b"")]),
                file(b"g", b""),
            ]),
        ),
        (
            "pax-size",
            tar(&[
                pax(&[("size", b"600")]),
                Raw::new(b"f", b'0').bytes(),
                vec![b'x'; 1024],
            ]),
        ),
        (
            "pax-and-long",
            tar(&[pax(&[("uid", b"1")]), meta(b'L', b"long"), file(b"f", b"")]),
        ),
        (
            "pax-devices",
            tar(&[
                pax(&[("SCHILY.devmajor", b"259"), ("SCHILY.devminor", b"70000")]),
                Raw::new(b"b", b'4').bytes(),
            ]),
        ),
        (
            "acl",
            tar(&[
                pax(&[(
                    "SCHILY.acl.access",
                    b"user::rw-,user:7:r--,group::r--,mask::r--,other::r--",
                )]),
                file(b"f", b""),
            ]),
        ),
        (
            "binary",
            tar(&[
                pax(&[("hdrcharset", b"BINARY"), ("path", b"\xff\xfe")]),
                file(b"f", b""),
            ]),
        ),
        ("sparse-old", tar(&[old, block, file(b"after", b"x")])),
        (
            "sparse-0.0",
            tar(&[
                pax(&[
                    ("GNU.sparse.size", b"10"),
                    ("GNU.sparse.numblocks", b"2"),
                    ("GNU.sparse.offset", b"2"),
                    ("GNU.sparse.numbytes", b"2"),
                    ("GNU.sparse.offset", b"6"),
                    ("GNU.sparse.numbytes", b"1"),
                ]),
                file(b"s", b"abc"),
            ]),
        ),
        (
            "sparse-0.1",
            tar(&[
                pax(&[
                    ("GNU.sparse.size", b"10"),
                    ("GNU.sparse.numblocks", b"2"),
                    ("GNU.sparse.map", b"2,2,6,1"),
                    ("GNU.sparse.name", b"s"),
                ]),
                file(b"x", b"abc"),
            ]),
        ),
        (
            "sparse-1.0",
            tar(&[pax(&sparse_1), file(b"GNUSparseFile.0/s", &stored)]),
        ),
        (
            "incremental",
            tar(&[
                Raw::new(b"d/", b'D').magic(GNU).size(4).bytes(),
                [b"Yf\0\0".to_vec(), vec![0; 508]].concat(),
            ]),
        ),
        (
            "volume",
            tar(&[Raw::new(b"label", b'V').magic(GNU).bytes(), file(b"f", b"")]),
        ),
        ("signed-checksum", tar(&[signed])),
        ("one-zero-block", [file(b"f", b"x"), vec![0; 512]].concat()),
        ("no-end", file(b"f", b"x")),
        (
            "after-the-end",
            [tar(&[file(b"f", b"")]), file(b"g", b"")].concat(),
        ),
        (
            "lone-zero-block",
            [file(b"f", b""), vec![0; 512], file(b"g", b"")].concat(),
        ),
        ("truncated", file(b"f", &[1; 700])[..1000].to_vec()),
    ])
}

/// The classes of attacks on what applies a layer.
fn attacks() -> Seeds {
    let long = |n: usize| vec![b'n'; n];
    let path = |path: &[u8], entry: Vec<u8>| [pax(&[("path", path)]), entry].concat();
    let attr = |key: &str, value: &[u8]| [pax(&[(key, value)]), file(b"a/f", b"x")].concat();
    let deep = b"deep/".repeat(40);
    named([
        ("01-absolute", file(b"/etc/x", b"x")),
        ("02-dotdot", file(b"../canary/victim", b"x")),
        ("03-dotdot-inside", file(b"a/../../canary/victim", b"x")),
        ("04-dotdot-directory", dir(b"..")),
        ("05-the-root", [dir(b"./"), dir(b"/"), dir(b"")].concat()),
        ("06-root-replaced", link(b"./", b"../../../canary")),
        ("07-through-a-link", [link(b"z", b"../../../../canary"), file(b"z/x", b"x"), file(b"z/victim", b"x")].concat()),
        ("08-proc", [link(b"z", b"/proc/self/root"), file(b"z/x", b""), link(b"y", b"/proc/self/fd/3"), file(b"y/x", b"")].concat()),
        ("09-links-to-links", [link(b"x", b"y"), link(b"y", b"c/d"), link(b"c/d", b"../../../../canary"), file(b"x/x", b"")].concat()),
        ("10-link-of-the-parent", [file(b"l/victim", b""), file(b"n/inner", b""), file(b"m/x", b"")].concat()),
        ("12-loop", [link(b"x", b"y"), link(b"y", b"x"), file(b"x/z", b"")].concat()),
        ("13-link-then-file", [link(b"v", b"../../../../canary/victim"), file(b"v", b"new")].concat()),
        ("14-link-then-directory", [link(b"z", b"../../../../canary"), Raw::new(b"z", b'5').at(100, b"0000777\0").bytes()].concat()),
        ("15-directory-then-link", [dir(b"d"), file(b"d/f", b""), link(b"d", b"../../../../canary"), file(b"d/x", b"")].concat()),
        ("16-times-after-a-swap", [dir(b"d/sub"), link(b"d", b"../../../../canary")].concat()),
        ("18-hard-link-outside", [hard(b"h", b"../../../canary/victim"), hard(b"i", b"/canary/victim")].concat()),
        ("20-hard-link-through-a-link", [link(b"z", b"../../../../canary"), hard(b"h", b"z/victim")].concat()),
        ("21-hard-link-to-a-link", [link(b"z", b"../../../../canary/victim"), hard(b"h", b"z"), file(b"h", b"x")].concat()),
        ("23-target-replaced", [file(b"o", b"1"), hard(b"h", b"o"), file(b"o", b"2")].concat()),
        ("24-hard-link-to-nothing", hard(b"h", b"missing")),
        ("25-hard-link-to-itself", [file(b"f", b""), hard(b"f", b"f"), hard(b"g", b"a")].concat()),
        ("26-absolute-target", [file(b"f", b"x"), hard(b"h", b"/f")].concat()),
        ("28-hard-link-with-data", [Raw::new(b"h", b'1').link(b"a/f").size(512).bytes(), file(b"smuggled", b"")].concat()),
        ("29-hard-link-below", [hard(b"h", b"a/f"), hard(b"a/h", b"c/x")].concat()),
        ("31-file-as-parent", [file(b"f", b""), file(b"f/g", b"")].concat()),
        ("32-fifo-then-file", [Raw::new(b"p", b'6').bytes(), file(b"p", b"x")].concat()),
        ("33-twice", [file(b"f", b"1"), dir(b"f"), file(b"f/g", b""), file(b"f", b"2"), dir(b"a"), dir(b"a")].concat()),
        ("34-implied", file(b"x/y/z", b"")),
        ("35-whiteouts-of-nothing", [file(b".wh.", b""), file(b".wh..", b""), file(b".wh...", b"")].concat()),
        ("37-whiteout-of-dotdot", file(b"a/.wh...", b"")),
        ("39-whiteout-through-a-link", [link(b"z", b"../../../../canary"), file(b"z/.wh.victim", b""), file(b"n/.wh.inner", b"")].concat()),
        ("40-opaque-through-a-link", [file(b"l/.wh..wh..opq", b""), file(b"n/.wh..wh..opq", b"")].concat()),
        ("41-opaque", [file(b"a/1", b""), file(b"a/.wh..wh..opq", b""), file(b"a/2", b"")].concat()),
        ("43-opaque-root", [file(b".wh..wh..opq", b""), file(b"new", b"")].concat()),
        ("44-whiteout-then-directory", [file(b".wh.a", b""), dir(b"a"), file(b"a/n", b"")].concat()),
        ("45-directory-then-whiteout", [file(b"a/n", b""), file(b".wh.a", b""), file(b".wh.a", b"")].concat()),
        ("48-whiteout-as-a-parent", [dir(b".wh.d"), file(b".wh.d/x", b"")].concat()),
        ("48-whiteout-as-a-link", [hard(b".wh.a", b"a/f"), link(b".wh.b", b"a")].concat()),
        ("49-aufs", [dir(b".wh..wh.plnk"), file(b".wh..wh.plnk/1.2", b"x"), file(b".wh..wh.aufs", b"")].concat()),
        ("50-long-whiteout", path(&[b"a/.wh.".to_vec(), long(255)].concat(), file(b"x", b""))),
        ("51-device-0-0", [Raw::new(b"b", b'3').bytes(), Raw::new(b"b", b'4').bytes()].concat()),
        ("52-opaque-attribute", attr("SCHILY.xattr.trusted.overlay.opaque", b"y")),
        ("52-redirect", attr("SCHILY.xattr.trusted.overlay.redirect", b"/c")),
        ("52-metacopy", attr("SCHILY.xattr.trusted.overlay.metacopy", b"")),
        ("53-user-marks", attr("SCHILY.xattr.user.overlay.whiteout", b"y")),
        ("54-escaped-marks", attr("SCHILY.xattr.trusted.overlay.overlay.opaque", b"x")),
        ("55-libarchive-marks", attr("LIBARCHIVE.xattr.trusted%2Eoverlay%2Eopaque", b"eQ")),
        ("55-global-attribute", [meta(b'g', &records(&[("SCHILY.xattr.trusted.overlay.opaque", b"y"), ("path", b"../x")])), file(b"f", b"")].concat()),
        ("56-capability", attr("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0")),
        ("57-bad-capability", attr("SCHILY.xattr.security.capability", b"\x01")),
        ("58-default-acl", [pax(&[("SCHILY.xattr.system.posix_acl_default", b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\0\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff")]), dir(b"d"), file(b"d/f", b"")].concat()),
        ("59-attribute-of-64k", attr("SCHILY.xattr.user.a", &[b'v'; 5000])),
        ("59-no-namespace", attr("SCHILY.xattr.nothing", b"v")),
        ("61-device-overflow", Raw::new(b"c", b'3').at(329, b"\x80\0\0\0\0\x10\0\0").bytes()),
        ("62-setuid", Raw::new(b"f", b'0').at(100, b"0006755\0").at(108, b"0000007\0").bytes()),
        ("63-mode-000", [Raw::new(b"d", b'5').at(100, b"0000000\0").bytes(), file(b"d/f", b"")].concat()),
        ("65-owner-minus-one", [pax(&[("uid", b"4294967295")]), file(b"f", b"")].concat()),
        ("66-times", [pax(&[("mtime", b"99999999999999999999")]), file(b"f", b""), pax(&[("mtime", b"-62135596801.5")]), file(b"g", b"")].concat()),
        ("68-odd-names", [file(b"-rf", b""), path(b"a\nb\\\xff", file(b"x", b""))].concat()),
        ("69-name-of-256", path(&long(256), file(b"x", b""))),
        ("70-deep", [path(&deep, dir(b"x")), path(&[&deep[..], b"f"].concat(), file(b"x", b""))].concat()),
        ("76-pax-size-wins", [pax(&[("size", b"1024")]), Raw::new(b"f", b'0').bytes(), file(b"smuggled", b"x")].concat()),
        ("78-pax-size-and-long-name", [pax(&[("size", b"3")]), meta(b'L', b"name"), Raw::new(b"f", b'0').bytes(), file(b"", b"abc")[512..].to_vec()].concat()),
        ("86-hole", [pax(&[("GNU.sparse.size", b"1099511627776"), ("GNU.sparse.map", b"1099511627770,1")]), file(b"s", b"x")].concat()),
        ("86-small-hole", [pax(&[("GNU.sparse.size", b"100000"), ("GNU.sparse.map", b"5,1,70000,2")]), file(b"s", b"xyz")].concat()),
        ("87-sparse-name", [pax(&[("GNU.sparse.size", b"1"), ("GNU.sparse.map", b"0,1"), ("GNU.sparse.name", b"../canary/x")]), file(b"s", b"x")].concat()),
        ("94-gzip", gzip(&tar(&[file(b"f", b"x")]))),
        ("99-zstd", zstd(&tar(&[file(b"f", b"x")]))),
    ])
}

fn headers() -> Seeds {
    let text = |list: &[(&str, &[u8])]| records(list);
    named([
        (
            "names",
            text(&[
                ("path", b"a/b"),
                ("linkpath", b"c"),
                ("hdrcharset", b"BINARY"),
            ]),
        ),
        (
            "numbers",
            text(&[
                ("size", b"9"),
                ("uid", b"1"),
                ("gid", b"-1"),
                ("mtime", b"-1.25"),
                ("mtime", b""),
            ]),
        ),
        (
            "attributes",
            text(&[
                ("SCHILY.xattr.user.a", b"\n=\0"),
                ("LIBARCHIVE.xattr.user%2Ea", b"eA=="),
            ]),
        ),
        (
            "sparse",
            text(&[
                ("GNU.sparse.map", b"1,2,3,4"),
                ("GNU.sparse.numblocks", b"2"),
                ("GNU.sparse.size", b"9"),
            ]),
        ),
        (
            "sparse-pairs",
            text(&[("GNU.sparse.offset", b"1"), ("GNU.sparse.numbytes", b"2")]),
        ),
        ("length-of-nothing", b"3 =\n".to_vec()),
        ("length-too-large", b"99999999999999999999 a=b\n".to_vec()),
        ("no-newline", b"6 a=bc".to_vec()),
        ("newline-inside", b"13 path=a\nb\n\n".to_vec()),
    ])
}

/// The first byte chooses; see the target.
fn maps() -> Seeds {
    let first = |kind: u8, rest: &[u8]| [&[kind], rest].concat();
    let old = [
        &b"\x03"[..],
        b"00000000002 00000000002 00000000006 00000000001 ",
    ]
    .concat();
    named([
        ("old", first(0, &[&old[..], &[0; 60], b"abc"].concat())),
        ("keys", first(1, b"\x0a\x02\x00\x02\x02\x06\x01\x03abc")),
        ("list", first(2, b"\x0a\x072,2,6,1\x03abc")),
        (
            "text",
            first(3, b"\x0a\xfb\x03\x02\0\0\0\0\0\x002\n2\n2\n6\n1\n"),
        ),
        ("agree", first(4, b"\x02\x01\x05\x09\xff\x04\x01")),
    ])
}

fn members() -> Seeds {
    let blob = gzip(b"some content, some content");
    let mut named_member = vec![0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3, 2, 0, b'x', b'y'];
    named_member.extend(b"name\0comment\0");
    let mut crc = flate2::Crc::new();
    crc.update(&named_member);
    named_member.extend((crc.sum() as u16).to_le_bytes());
    named_member.extend(&blob[10..]);
    named([
        ("member", [&[0], &blob[..]].concat()),
        ("members", [&[0], &blob[..], &blob, &gzip(b"")].concat()),
        ("zeros-behind", [&[0], &blob[..], &[0; 30]].concat()),
        ("all-fields", [&[0], &named_member[..]].concat()),
        ("inside", [&[1], &blob[3..]].concat()),
        ("deflate", [&[2, 0], &blob[10..blob.len() - 8]].concat()),
        (
            "content",
            [&[3, 6, 1, 1], &b"content ".repeat(30)[..]].concat(),
        ),
        ("cut", [&[0], &blob[..blob.len() - 3]].concat()),
    ])
}

fn frames() -> Seeds {
    let blob = zstd(b"some content, some content");
    let skip = b"\x50\x2a\x4d\x18\x03\0\0\0abc";
    named([
        ("frame", [&[0], &blob[..]].concat()),
        ("frames", [&[0], &blob[..], skip, &blob].concat()),
        ("skip-first", [&[0], &skip[..], &blob].concat()),
        ("zeros-behind", [&[0], &blob[..], &[0; 30]].concat()),
        ("inside", [&[1], &blob[4..]].concat()),
        ("wide-window", b"\x01\x00\xa0\x01\0\0".to_vec()),
        (
            "content",
            [&[3, 3, 1, 3], &b"content ".repeat(30)[..]].concat(),
        ),
        ("cut", [&[0], &blob[..blob.len() - 3]].concat()),
    ])
}

fn names() -> Seeds {
    named([
        ("plain", b"usr/lib/x".to_vec()),
        ("dots", b"././a/./b//c/".to_vec()),
        ("dotdot", b"a/../b".to_vec()),
        ("absolute", b"//a".to_vec()),
        ("whiteout", b"a/.wh.b".to_vec()),
        ("opaque", b"a/.wh..wh..opq".to_vec()),
        ("aufs", b".wh..wh.plnk/1.2".to_vec()),
        ("of-nothing", b".wh.".to_vec()),
        ("of-dotdot", b".wh...".to_vec()),
        ("twice", b".wh..wh.x".to_vec()),
        ("longest", vec![b'n'; 255]),
        ("too-long", vec![b'n'; 256]),
        (
            "longest-whiteout",
            [b".wh.".to_vec(), vec![b'n'; 255]].concat(),
        ),
        ("bytes", b"\xff\n\\ \x7f".to_vec()),
    ])
}

fn texts() -> Seeds {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    named([
        ("meta-root", b"kind=root\nstate=committed\ncreated=1.000000002\nlowers=0\nparent=base\n".to_vec()),
        ("meta-overlay", format!("kind=overlay\nstate=writable\ncreated=-1.5\nlowers=3\ncopied_from=c-init\ndiff_id={digest}\nsize=0\nlater=a=b\n").into_bytes()),
        ("meta-unknown", b"kind=erofs\nstate=committed\n".to_vec()),
        ("format", b"format=1\nincompat=\nro_compat=\nmarks=trusted\n".to_vec()),
        ("format-later", b"format=1\nincompat=erofs\nro_compat=x\nmarks=user\n".to_vec()),
        ("id", b"sha256-0.a_b+c@d".to_vec()),
        ("pin", b"mode=kept\nview=rw\nvolatile=0\nunique=1\nlabel=\nboot=abc\n".to_vec()),
        ("pin-name", b"123.4026531841".to_vec()),
        ("manifest", b"- 0644 0 0 5 1.000000000 - - ? /a\\040b\nw - - - - - - - - /c\n".to_vec()),
    ])
}

/// For targets that take the bytes as choices, any will do to begin with.
fn choices() -> Seeds {
    let count = |from: u8, step: u8, n: usize| {
        (0..n)
            .map(|at| from.wrapping_add(step.wrapping_mul(at as u8)))
            .collect::<Vec<u8>>()
    };
    named([
        ("upwards", count(0, 1, 256)),
        ("in-sevens", count(3, 7, 300)),
        ("in-elevens", count(1, 11, 300)),
        ("downwards", count(255, 255, 200)),
        ("all-one", vec![1; 100]),
    ])
}
