//! Archives byte by byte: one for each thing that a dialect says in its own way.

use crate::archive::tests::build::{GNU, Raw, V7, file, meta, padded, pax, records, tar};
use crate::archive::tests::codecs::{gzip, zstd};

type Corpus = Vec<(String, Vec<u8>)>;

const OLD_REGION: &str = "00000000002 00000000002 ";

fn old_sparse(fields: &str, real: &str, stored: u64, data: &[u8]) -> Vec<u8> {
    let raw = Raw::new(b"s", b'S').magic(GNU).size(stored);
    let raw = raw.at(386, fields.as_bytes()).at(483, real.as_bytes());
    [raw.bytes(), padded(data)].concat()
}

fn version_1(map: &[u8], data: &[u8], real: &[u8]) -> Vec<u8> {
    let mut stored = padded(map);
    stored.extend(data);
    let list: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.realsize", real),
    ];
    [pax(&list), file(b"GNUSparseFile.0/s", &stored)].concat()
}

fn with(list: &[(&str, &[u8])], entry: Vec<u8>) -> Vec<u8> {
    [pax(list), entry].concat()
}

fn device(major: &[u8], minor: &[u8]) -> Vec<u8> {
    Raw::new(b"c", b'3').at(329, major).at(337, minor).bytes()
}

/// A header whose checksum is the sum of signed bytes.
fn signed() -> Vec<u8> {
    let raw = Raw::new(b"\xff\xe9", b'0').at(148, b"        ");
    let sum: i64 = raw.0.iter().map(|&byte| i64::from(byte as i8)).sum();
    raw.at(148, format!("{sum:06o}\0 ").as_bytes()).0.to_vec()
}

pub fn by_hand() -> Corpus {
    let f = || Raw::new(b"f", b'0');
    let small = || file(b"f", b"x");
    let time = |field: &[u8]| f().at(136, field).bytes();
    let acl = b"user::rw-,user:7:r--,group::r--,mask::r--,other::r--";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        // v7 and ustar.
        ("v7", tar(&[Raw::new(b"d/", 0).magic(V7).bytes(), Raw::new(b"f", 0).magic(V7).bytes()])),
        ("v7 directory of type 0", tar(&[Raw::new(b"d/", b'0').magic(V7).bytes()])),
        ("ustar file with a slash at its end", tar(&[Raw::new(b"d/", b'0').bytes()])),
        ("ustar type NUL with a slash at its end", tar(&[Raw::new(b"d/", 0).bytes()])),
        ("ustar prefix", tar(&[Raw::new(b"name", b'0').at(345, b"some/prefix").bytes()])),
        ("ustar prefix, empty name", tar(&[Raw::new(b"", b'0').at(345, b"prefix").bytes()])),
        ("ustar name of 100 bytes", tar(&[Raw::new(&[b'n'; 100], b'0').bytes()])),
        ("contiguous file", tar(&[Raw::new(b"f", b'7').size(3).bytes(), padded(b"abc")])),
        ("unknown type", tar(&[Raw::new(b"f", b'Z').bytes()])),
        ("unknown type with data", tar(&[Raw::new(b"f", b'A').size(1).bytes(), padded(b"x"), small()])),
        ("hard link with a size", tar(&[small(), Raw::new(b"h", b'1').link(b"f").size(3).bytes(), padded(b"abc"), file(b"g", b"")])),
        ("hard link with a size and no data", tar(&[small(), Raw::new(b"h", b'1').link(b"f").size(1).bytes(), file(b"g", b"")])),
        ("symlink with a size", tar(&[Raw::new(b"l", b'2').link(b"t").size(3).bytes(), file(b"g", b"")])),
        ("directory with a size", tar(&[Raw::new(b"d/", b'5').size(3).bytes(), file(b"g", b"")])),
        ("symlink without a target", tar(&[Raw::new(b"l", b'2').bytes()])),
        ("file without a name", tar(&[Raw::new(b"", b'0').bytes()])),
        ("device", tar(&[device(b"0000005\0", b"0000001\0")])),
        ("device, base-256", tar(&[device(b"\x80\0\0\0\0\0\x01\x03", b"\x80\0\0\0\0\x01\x11\x70")])),
        ("device too large", tar(&[device(b"0010000\0", b"0000000\0")])),
        ("mode with the file's type", tar(&[f().at(100, b"0100644\0").bytes()])),
        ("names of owners", tar(&[f().at(265, b"daemon").at(297, b"bin").bytes()])),
        // Numbers.
        ("numbers with spaces", tar(&[f().at(100, b"   644 \0").at(124, b"         0 \0").bytes()])),
        ("numbers without an end", tar(&[f().at(100, b"00000644").at(136, b"000000000017").bytes()])),
        ("size in base-256", tar(&[f().at(124, b"\x80\0\0\0\0\0\0\0\0\0\0\x03").bytes(), padded(b"abc")])),
        ("negative size", tar(&[f().at(124, &[0xff; 12]).bytes()])),
        ("size that is no number", tar(&[f().at(124, b"0000000008x\0").bytes()])),
        ("time before 1970, base-256", tar(&[time(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfb")])),
        ("time after 2242, base-256", tar(&[time(b"\x80\0\0\0\0\0\0\x02\0\0\0\0")])),
        ("negative octal time", tar(&[time(b"-0000000005\0")])),
        ("owner in base-256", tar(&[f().at(108, b"\x80\0\0\0\xee\x6b\x28\0").bytes()])),
        ("owner 2^32", tar(&[f().at(108, b"\x80\0\0\x01\0\0\0\0").bytes()])),
        ("owner -2", tar(&[f().at(108, b"\xff\xff\xff\xff\xff\xff\xff\xfe").bytes()])),
        ("owner 4294967295", tar(&[f().at(108, b"\x80\0\0\0\xff\xff\xff\xff").bytes()])),
        ("empty number", tar(&[f().at(108, &[0; 8]).bytes()])),
        // Checksums and ends.
        ("signed checksum", tar(&[signed()])),
        ("wrong checksum", tar(&[small(), f().at(148, b"0000001\0").0.to_vec()])),
        ("wrong checksum first", tar(&[f().at(148, b"0000001\0").0.to_vec(), small()])),
        ("no end", small()),
        ("one zero block", [small(), vec![0; 512]].concat()),
        ("twenty zero blocks", [small(), vec![0; 10240]].concat()),
        ("lone zero block", [small(), vec![0; 512], file(b"g", b""), vec![0; 1024]].concat()),
        ("after the end", [tar(&[small()]), file(b"g", b"")].concat()),
        ("garbage after the end", [tar(&[small()]), vec![b'x'; 512]].concat()),
        ("nothing", Vec::new()),
        ("only zeros", vec![0; 1024]),
        ("truncated header", [small(), f().bytes()[..300].to_vec()].concat()),
        ("truncated data", file(b"f", &[1; 700])[..1000].to_vec()),
        ("truncated padding", file(b"f", &[1; 700])[..1400].to_vec()),
        // GNU.
        ("long name and link", tar(&[meta(b'L', &[b'n'; 300]), meta(b'K', &[b't'; 300]), Raw::new(b"n", b'2').magic(GNU).link(&[b't'; 99]).bytes()])),
        ("long link and name", tar(&[meta(b'K', &[b't'; 300]), meta(b'L', &[b'n'; 300]), Raw::new(b"n", b'2').magic(GNU).link(&[b't'; 99]).bytes()])),
        ("long name with NUL", tar(&[meta(b'L', b"long\0"), f().magic(GNU).bytes()])),
        ("long name with an inner NUL", tar(&[meta(b'L', b"lo\0ng"), f().magic(GNU).bytes()])),
        ("two long names", tar(&[meta(b'L', b"one"), meta(b'L', b"two"), f().magic(GNU).bytes()])),
        ("long name at the end", tar(&[small(), meta(b'L', b"one")])),
        ("long name in an archive of ustar", tar(&[meta(b'L', b"long"), f().bytes()])),
        ("gnu times in the prefix", tar(&[f().magic(GNU).at(345, b"00000000001\x0000000000002\0").bytes()])),
        ("incremental directory", tar(&[Raw::new(b"d/", b'D').magic(GNU).size(4).bytes(), padded(b"Yf\0\0")])),
        ("volume label", tar(&[Raw::new(b"label", b'V').magic(GNU).bytes(), small()])),
        ("continued file", tar(&[Raw::new(b"f", b'M').magic(GNU).size(1).at(369, b"00000000007\0").bytes(), padded(b"x")])),
        ("star prefix", tar(&[Raw::new(b"name", b'0').at(345, b"prefix").at(476, b"00000000001 00000000002 ").at(508, b"tar\0").bytes()])),
        // Sparse files.
        ("sparse, old", tar(&[old_sparse(OLD_REGION, "00000000012\0", 2, b"ab"), small()])),
        ("sparse, old, all hole", tar(&[old_sparse("", "00000000012\0", 0, b""), small()])),
        ("sparse, old, too little stored", tar(&[old_sparse(OLD_REGION, "00000000012\0", 1, b"a"), small()])),
        ("sparse, old, beyond the size", tar(&[old_sparse(OLD_REGION, "00000000003\0", 2, b"ab"), small()])),
        ("sparse, 0.0", tar(&[with(&[("GNU.sparse.size", b"10"), ("GNU.sparse.numblocks", b"2"), ("GNU.sparse.offset", b"2"), ("GNU.sparse.numbytes", b"2"),
            ("GNU.sparse.offset", b"6"), ("GNU.sparse.numbytes", b"1")], file(b"s", b"abc")), small()])),
        ("sparse, 0.1", tar(&[with(&[("GNU.sparse.size", b"10"), ("GNU.sparse.numblocks", b"2"), ("GNU.sparse.map", b"2,2,6,1"), ("GNU.sparse.name", b"s")],
            file(b"GNUSparseFile.1/s", b"abc")), small()])),
        ("sparse, 0.1, wrong count", tar(&[with(&[("GNU.sparse.size", b"10"), ("GNU.sparse.numblocks", b"3"), ("GNU.sparse.map", b"2,2,6,1"), ("GNU.sparse.name", b"s")],
            file(b"GNUSparseFile.1/s", b"abc")), small()])),
        ("sparse, 1.0", tar(&[version_1(b"2\n2\n2\n6\n1\n", b"abc", b"10"), small()])),
        ("sparse, 1.0, overlap", tar(&[version_1(b"2\n2\n2\n3\n1\n", b"abc", b"10"), small()])),
        ("sparse, 1.0, backwards", tar(&[version_1(b"2\n6\n1\n2\n2\n", b"abc", b"10"), small()])),
        ("sparse, 1.0, no number", tar(&[version_1(b"1\nx\n2\n", b"ab", b"10"), small()])),
        ("sparse, 2.0", tar(&[with(&[("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"3")], file(b"s", b"abc"))])),
        // PAX.
        ("pax names", tar(&[with(&[("path", b"a\nb"), ("linkpath", b"c\nd")], Raw::new(b"x", b'2').link(b"y").bytes())])),
        ("pax times", tar(&[with(&[("mtime", b"1.000000001")], small()), with(&[("mtime", b"-1.5")], file(b"g", b"")), with(&[("mtime", b"5")], file(b"h", b""))])),
        ("pax time beyond nanoseconds", tar(&[with(&[("mtime", b"1.1234567899")], small())])),
        ("pax time that is none", tar(&[with(&[("mtime", b"1e5")], small())])),
        ("pax time beyond 64 bits", tar(&[with(&[("mtime", b"99999999999999999999")], small())])),
        ("pax owners", tar(&[with(&[("uid", b"3000000"), ("gid", b"4000000000")], small())])),
        ("pax owner -1", tar(&[with(&[("uid", b"-1")], small())])),
        ("pax owner 2^32", tar(&[with(&[("uid", b"4294967296")], small())])),
        ("pax size", tar(&[with(&[("size", b"3")], [f().bytes(), padded(b"abc")].concat()), file(b"g", b"")])),
        ("pax size against the header's", tar(&[with(&[("size", b"600")], [f().size(3).bytes(), vec![b'x'; 1024]].concat()), file(b"g", b"")])),
        ("pax size 0 against the header's", tar(&[with(&[("size", b"0")], [f().size(3).bytes(), padded(b"abc")].concat()), file(b"g", b"")])),
        ("pax size of a directory", tar(&[with(&[("size", b"3")], Raw::new(b"d/", b'5').bytes()), file(b"g", b"")])),
        ("pax size and long name", tar(&[pax(&[("size", b"3")]), meta(b'L', b"name"), f().bytes(), padded(b"abc"), file(b"g", b"")])),
        ("pax and long name that differ", tar(&[pax(&[("path", b"one")]), meta(b'L', b"two"), f().bytes()])),
        ("two pax headers", tar(&[pax(&[("uid", b"1")]), pax(&[("gid", b"2")]), small()])),
        ("pax, then global", tar(&[pax(&[("uid", b"1")]), meta(b'g', b""), small()])),
        ("pax at the end", tar(&[small(), pax(&[("uid", b"1")])])),
        ("pax global", tar(&[meta(b'g', &records(&[("mtime", b"7.25"), ("uid", b"8"), ("comment", b"0123")])), small(), with(&[("uid", b"9")], file(b"g", b""))])),
        ("pax global taken back", tar(&[meta(b'g', &records(&[("uid", b"8")])), with(&[("uid", b"")], small())])),
        ("pax global path", tar(&[meta(b'g', &records(&[("path", b"other")])), small()])),
        ("pax global attribute", tar(&[meta(b'g', &records(&[("SCHILY.xattr.user.a", b"v")])), small()])),
        ("pax empty path", tar(&[with(&[("path", b"")], small())])),
        ("pax key twice", tar(&[with(&[("uid", b"1"), ("uid", b"2")], small())])),
        ("pax unknown key", tar(&[with(&[("VENDOR.thing", b"\0\xff")], small())])),
        ("pax not UTF-8", tar(&[with(&[("path", b"\xff\xfe")], small())])),
        ("pax binary", tar(&[with(&[("hdrcharset", b"BINARY"), ("path", b"\xff\xfe")], small())])),
        ("pax NUL in a name", tar(&[with(&[("path", b"a\0b")], small())])),
        ("pax record too long", tar(&[meta(b'x', b"99 path=a\n"), small()])),
        ("pax record too short", tar(&[meta(b'x', b"9 path=abc\n"), small()])),
        ("pax record without =", tar(&[meta(b'x', b"7 path\n"), small()])),
        ("pax record with zeros behind", tar(&[meta(b'x', b"8 uid=1\n\0\0\0"), small()])),
        ("pax record with a leading zero", tar(&[meta(b'x', b"09 uid=1\n"), small()])),
        ("pax devices", tar(&[with(&[("SCHILY.devmajor", b"259"), ("SCHILY.devminor", b"70000")], Raw::new(b"b", b'4').bytes())])),
        ("attributes, SCHILY", tar(&[with(&[("SCHILY.xattr.user.a", b"\0\n=\xff")], small())])),
        ("attributes, LIBARCHIVE", tar(&[with(&[("LIBARCHIVE.xattr.user%2Ea", b"AAEC")], small())])),
        ("attributes, both", tar(&[with(&[("SCHILY.xattr.user.a", b"1"), ("LIBARCHIVE.xattr.user.a", b"Mg")], small())])),
        ("attributes, percent in a name", tar(&[with(&[("SCHILY.xattr.user.%41", b"v")], small())])),
        ("acl", tar(&[with(&[("SCHILY.acl.access", acl)], small())])),
        ("acl as attribute", tar(&[with(&[("SCHILY.xattr.system.posix_acl_access", b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x04\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff")], small())])),
        ("whiteouts", tar(&[file(b"d/.wh.f", b""), file(b"d/.wh..wh..opq", b"")])),
        ("absolute and dotted names", tar(&[file(b"/a", b"1"), file(b"./b", b"2"), file(b"c//d", b"3")])),
        // Compressed.
        ("gzip", gzip(&tar(&[small()]))),
        ("gzip, two members", [gzip(&small()), gzip(&tar(&[file(b"g", b"y")]))].concat()),
        ("gzip, zeros behind", [gzip(&tar(&[small()])), vec![0; 100]].concat()),
        ("gzip, garbage behind", [gzip(&tar(&[small()])), b"garbage".to_vec()].concat()),
        ("gzip, truncated", { let blob = gzip(&tar(&[small()])); blob[..blob.len() - 4].to_vec() }),
        ("gzip, wrong checksum", { let mut blob = gzip(&tar(&[small()])); let at = blob.len() - 6; blob[at] ^= 1; blob }),
        ("gzip, wrong checksum after the end", { let mut blob = gzip(&[tar(&[small()]), vec![0; 200_000]].concat()); let at = blob.len() - 6; blob[at] ^= 1; blob }),
        ("zstd", zstd(&tar(&[small()]))),
        ("zstd, two frames", [zstd(&small()), zstd(&tar(&[file(b"g", b"y")]))].concat()),
        ("zstd, truncated", { let blob = zstd(&tar(&[small()])); blob[..blob.len() - 4].to_vec() }),
    ];
    cases
        .into_iter()
        .map(|(name, bytes)| (format!("by hand: {name}"), bytes))
        .collect()
}
