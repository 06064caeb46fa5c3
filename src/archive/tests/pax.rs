//! Records and the values in them.

use super::*;
use crate::error::Errno;

#[test]
fn times() {
    let t = |sec, nsec| Time { sec, nsec };
    let long = format!("1.{}", "9".repeat(60));
    let good = [
        ("0", t(0, 0)),
        ("1.5", t(1, 500_000_000)),
        ("-1.5", t(-2, 500_000_000)),
        ("-1", t(-1, 0)),
        ("-0.000000001", t(-1, 999_999_999)),
        ("5.", t(5, 0)),
        (&long, t(1, 999_999_999)),
        ("1152921504606846976", t(1 << 60, 0)),
        ("99999999999999999999", t(i64::MAX, 0)),
        ("-99999999999999999999", t(i64::MIN, 0)),
    ];
    for (text, want) in good {
        assert_eq!(time(text.as_bytes()).unwrap(), want, "{text}");
    }
    for text in [
        "nan", "1e5", "inf", "-", ".5", "-.5", "+1", " 1", "1 ", "1.2.3", "0x1", "--1",
    ] {
        assert_eq!(
            time(text.as_bytes()).unwrap_err().errno(),
            Errno::BADMSG,
            "{text}"
        );
    }
}

#[test]
fn owners() {
    assert_eq!(owner(b"4294967294", "uid").unwrap(), u32::MAX - 1);
    for text in [
        "4294967295",
        "4294967296",
        "4294968296",
        "-1",
        "-2",
        "99999999999999999999999",
    ] {
        assert_eq!(
            owner(text.as_bytes(), "uid").unwrap_err().errno(),
            Errno::INVAL,
            "{text}"
        );
    }
    for text in ["x", "-", "1 ", "1.0", "0x1"] {
        assert_eq!(
            owner(text.as_bytes(), "uid").unwrap_err().errno(),
            Errno::BADMSG,
            "{text}"
        );
    }
}

#[test]
fn malformed_records() {
    let bad: [&[u8]; 20] = include!("malformed_records.in");
    for data in bad {
        let shown = data.escape_ascii();
        let error = Extended::parse(data)
            .err()
            .unwrap_or_else(|| panic!("{shown}"));
        assert_eq!(error.errno(), Errno::BADMSG, "{shown}");
        assert!(Global::default().update(data).is_err(), "{shown}");
    }
    assert!(
        Extended::parse(b"6 a=b\n06 a=b\n").is_err(),
        "06 is not the record's length"
    );
    assert!(Extended::parse(b"07 a=b\n").is_ok());
}

#[test]
fn a_newline_forges_nothing() {
    let inner = b"12 path=evil\n";
    let mut data = format!("{} path=a\n", 9 + 2 + inner.len()).into_bytes();
    data.extend_from_slice(inner);
    data.push(b'\n');
    let parsed = Extended::parse(&data).unwrap();
    assert_eq!(parsed.path.unwrap(), b"a\n12 path=evil\n");
}

#[test]
fn last_record_wins_and_empty_takes_back() {
    let parsed = Extended::parse(b"9 path=a\n9 path=b\n9 uid=10\n7 uid=\n").unwrap();
    assert_eq!(parsed.path.unwrap(), b"b");
    assert_eq!(parsed.uid, Some(None));
    assert_eq!(parsed.gid, None);
}

#[test]
fn base64_and_percent() {
    for len in 0..20_u8 {
        let data: Vec<u8> = (0..len).map(|i| i.wrapping_mul(77) ^ 0xa5).collect();
        let text = base64_encode(&data);
        assert_eq!(base64_decode(&text).unwrap(), data);
        let padded = [&text[..], &b"=="[..(3 - data.len() % 3) % 3]].concat();
        assert_eq!(base64_decode(&padded).unwrap(), data);
    }
    for text in ["A", "AAAAA", "A===", "AA A", "AA\n", "=AAA", "AA-_"] {
        assert!(base64_decode(text.as_bytes()).is_err(), "{text}");
    }
    let name = b"user.a=b%c \xff";
    assert_eq!(percent_decode(&percent_encode(name)).unwrap(), name);
    for text in ["%", "%4", "%zz", "a%4"] {
        assert!(percent_decode(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn attributes() {
    let record = |key: &str, value: &[u8]| super::super::records::record(key.as_bytes(), value);
    let parsed = Extended::parse(
        &[
            record("LIBARCHIVE.xattr.user.a", b"eHg"),
            record("SCHILY.xattr.user.a", b"\0\n="),
            record("LIBARCHIVE.xattr.user.%3D", b"eHg="),
            record("SCHILY.xattr.user.e", b""),
        ]
        .concat(),
    )
    .unwrap();
    let got: Vec<_> = parsed.xattrs.into_iter().collect();
    let want = [
        (&b"user.="[..], &b"xx"[..]),
        (b"user.a", b"\0\n="),
        (b"user.e", b""),
    ];
    assert_eq!(got, want.map(|(k, v)| (k.to_vec(), v.to_vec())));
    for (key, value) in [
        ("SCHILY.xattr.", &b"x"[..]),
        ("LIBARCHIVE.xattr.", b"eHg"),
        ("LIBARCHIVE.xattr.user.a%00", b"eHg"),
        ("LIBARCHIVE.xattr.user.a", b"*"),
        ("path", b"a\0b"),
        ("linkpath", b"a\0b"),
        ("size", b"-1"),
        ("size", b"9223372036854775808"),
    ] {
        assert!(Extended::parse(&record(key, value)).is_err(), "{key}");
    }
}
