//! What names a version names the same one, and what lists all of something is complete.

use super::surface;
use std::collections::BTreeSet;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The file, where this tree has it.
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(surface::root().join(path)).ok()
}

#[test]
fn all_name_the_same_version() {
    let header = surface::read("include/ovl.h");
    let part = |name: &str| {
        let line = format!("#define OVL_VERSION_{name} ");
        let at = header.find(&line).unwrap() + line.len();
        header[at..].lines().next().unwrap().to_string()
    };
    let named = [part("MAJOR"), part("MINOR"), part("PATCH")].join(".");
    assert_eq!(named, VERSION, "include/ovl.h");

    let changes = surface::read("CHANGELOG.md");
    let heading = changes.lines().find_map(|line| line.strip_prefix("## "));
    assert_eq!(
        heading.unwrap().split(' ').next().unwrap(),
        VERSION,
        "CHANGELOG.md"
    );

    let debian = surface::read("packaging/debian/changelog");
    let entry = debian.split(['(', ')']).nth(1).unwrap();
    assert_eq!(
        entry.rsplit_once('-').unwrap().0,
        VERSION,
        "packaging/debian/changelog"
    );

    let lock = surface::read("Cargo.lock");
    let locked = format!("name = \"libovl\"\nversion = \"{VERSION}\"\n");
    assert!(lock.contains(&locked), "Cargo.lock");

    if let Some(python) = read("bindings/python/src/ovl/_version.py") {
        let line = format!("__version__ = \"{VERSION}\"");
        assert!(python.lines().any(|text| text == line), "bindings/python");
    }
}

/// `packaging/debian/libovl0.symbols` as it is to be, for the symbols of the map: each with the first
/// version that had its node.
fn debian_symbols() -> String {
    let mut text =
        String::from("libovl.so.0 libovl0 #MINVER#\n* Build-Depends-Package: libovl-dev\n");
    let symbols = surface::map_symbols();
    let nodes: BTreeSet<&String> = symbols.iter().map(|(_, node)| node).collect();
    let since = |node: &str| format!("{}.0", node.strip_prefix("LIBOVL_").unwrap());
    for node in &nodes {
        text.push_str(&format!(" {node}@{node} {}\n", since(node)));
    }
    for (name, node) in &symbols {
        text.push_str(&format!(" {name}@{node} {}\n", since(node)));
    }
    text
}

#[test]
fn debian_knows_every_symbol() {
    let expected = debian_symbols();
    let there = surface::read("packaging/debian/libovl0.symbols");
    assert!(
        there == expected,
        "packaging/debian/libovl0.symbols is to be:\n{expected}"
    );
}

#[test]
fn debian_tells_of_every_crate() {
    let lock = surface::read("Cargo.lock");
    let copyright = surface::read("packaging/debian/copyright");
    let crates: BTreeSet<&str> = lock
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .filter(|name| *name != "libovl")
        .collect();
    assert!(crates.len() > 20);
    for name in crates {
        let stanza = format!("\nFiles: vendor/{name}-*\nCopyright: ");
        assert!(
            copyright.contains(&stanza),
            "packaging/debian/copyright lacks {name}: see packaging/copyright.sh"
        );
    }
    // Each licence that is named has its text.
    let named = copyright
        .lines()
        .filter_map(|line| line.strip_prefix("License: "))
        .flat_map(|line| line.split(" or "))
        .flat_map(|line| line.split(" and "));
    for licence in named {
        let text = format!("\nLicense: {licence}\n ");
        assert!(copyright.contains(&text), "{licence} has no text");
    }
}
