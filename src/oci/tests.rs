//! Names, platforms, digests and chain IDs. Documents as a whole are tested through archives, in
//! `tests/image`.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::archive::Digest;

#[test]
fn names_and_directories() {
    for (name, directory) in [
        ("a", "a"),
        ("a:1", "a%3A1"),
        ("host:5000/a/b", "host%3A5000%2Fa%2Fb"),
        ("A.b_c-d+e@f", "A.b_c-d+e@f"),
    ] {
        assert_eq!(name::check(name.as_bytes()).unwrap(), name);
        assert_eq!(name::encode(name).unwrap(), directory);
        assert_eq!(name::decode(directory.as_bytes()).unwrap(), name);
    }
    // One spelling alone stands for a name.
    for directory in [
        "a/b", "a%2fb", "a%41", "a%", "%2Fa", "a%2F%2Fb", "a%2F..", "", ".",
    ] {
        assert_eq!(name::decode(directory.as_bytes()), None, "{directory}");
    }
}

#[test]
fn tags() {
    for (name, tag) in [
        ("a:1", Some("1")),
        ("a", None),
        ("host:5000/a", None),
        ("host:5000/a:1", Some("1")),
        ("a:", None),
    ] {
        assert_eq!(name::tag(name), tag, "{name}");
    }
}

#[test]
fn platforms() {
    let of = |text: &str| Platform::parse(text).unwrap();
    assert_eq!(of("linux/x86_64"), of("linux/amd64"));
    assert_eq!(of("linux/arm64/v8"), of("linux/aarch64"));
    assert_eq!(of("linux/arm/v7").to_string(), "linux/arm/v7");
    assert!(of("linux/arm/v7").is(&of("linux/arm")));
    assert!(!of("linux/arm").is(&of("linux/arm/v7")));
    assert!(!of("linux/arm/v6").is(&of("linux/arm/v7")));
    assert!(!of("windows/amd64").is(&of("linux/amd64")));
    assert_eq!(Platform::host().os, "linux");
}

#[test]
fn chains() {
    let ids = [b"a", b"b", b"c"].map(|data| Digest::of(data));
    let chain = chain_ids(&ids);
    assert_eq!(chain[0], ids[0]);
    assert_eq!(
        chain[1],
        Digest::of(format!("{} {}", ids[0], ids[1]).as_bytes())
    );
    assert_eq!(
        chain[2],
        Digest::of(format!("{} {}", chain[1], ids[2]).as_bytes())
    );
    assert!(chain_ids(&[]).is_empty());
}

#[test]
fn other_diff_ids_and_nothing_else() {
    let before = br#"{"z": 1.50, "rootfs": {"type":"layers", "diff_ids":["x"], "more": 1e999}, "a":"\u00e9"}"#;
    let ids = [Digest::of(b"")];
    let after = String::from_utf8(Config::with_diff_ids(before, &ids).unwrap()).unwrap();
    let wanted = format!(
        r#"{{"z": 1.50, "rootfs": {{"type":"layers", "diff_ids":["{}"], "more": 1e999}}, "a":"\u00e9"}}"#,
        ids[0]
    );
    assert_eq!(after, wanted);
}

#[test]
fn whatever_is_written_is_read() {
    let config = Manifest::describe_config(b"{}");
    let layer = Descriptor::new(OCI_LAYER, Digest::of(b"x"), 1);
    let manifest = Manifest::write(&config, std::slice::from_ref(&layer));
    let read = Manifest::parse(&manifest, OCI_MANIFEST).unwrap();
    assert_eq!(read.config.digest().unwrap(), Digest::of(b"{}"));
    assert_eq!(read.layers.len(), 1);
    assert_eq!(read.layers[0].descriptor.digest_text(), layer.digest_text());
    let named = Descriptor::new(OCI_MANIFEST, Digest::of(&manifest), manifest.len() as u64);
    let index = parse_index(&write_index(&named, "1.0"), 1).unwrap();
    assert_eq!(index[0].names, ["1.0"]);
    assert_eq!(index[0].size, named.size);
    parse_layout(LAYOUT_TEXT.as_bytes()).unwrap();
}

#[test]
fn members_that_are_there_twice_and_arrays_for_objects() {
    let id = Digest::of(b"");
    let rootfs = format!(r#""rootfs":{{"type":"layers","diff_ids":["{id}"]}}"#);
    for (text, fine) in [
        (format!("{{{rootfs}}}"), true),
        (format!(r#"{{{rootfs},"x":[],"x":{{}}}}"#), true),
        (format!("{{{rootfs},{rootfs}}}"), false),
        (
            format!(r#"{{{rootfs},"config":{{"Cmd":null,"User":"a","User":"b"}}}}"#),
            false,
        ),
        (
            format!(
                r#"["linux","amd64",null,{{{}}}]"#,
                &rootfs[10..rootfs.len() - 1]
            ),
            false,
        ),
        (format!(r#"{{"rootfs":["layers",["{id}"]]}}"#), false),
    ] {
        assert_eq!(Config::parse(text.as_bytes()).is_ok(), fine, "{text}");
    }
}
