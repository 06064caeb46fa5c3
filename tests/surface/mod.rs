//! What the tests of the C surface share: the names in the header, the map and the sources, and the
//! library as it is shipped.
#![allow(dead_code)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The directory of the crate.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A directory for what the tests make.
pub fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The header without its comments.
pub fn header_code() -> String {
    let header = read("include/ovl.h");
    let mut code = String::new();
    let mut rest = header.as_str();
    while let Some((before, after)) = rest.split_once("/*") {
        code.push_str(before);
        rest = after.split_once("*/").unwrap().1;
    }
    code.push_str(rest);
    code
}

fn names_before_paren(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('(').filter_map(|(at, _)| {
        let before = &text[..at];
        let start = before
            .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .map_or(0, |at| at + 1);
        before[start..]
            .starts_with("ovl_")
            .then(|| &before[start..])
    })
}

/// The functions that the header declares.
pub fn header_functions() -> BTreeSet<String> {
    header_code()
        .split_inclusive(';')
        .filter(|text| !text.contains("typedef"))
        .flat_map(|text| {
            names_before_paren(text)
                .map(str::to_string)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The functions that the sources export.
pub fn source_functions() -> BTreeSet<String> {
    sources()
        .iter()
        .flat_map(|source| source.split("#[unsafe(no_mangle)]").skip(1))
        .map(|text| {
            names_before_paren(text)
                .next()
                .expect("a name after no_mangle")
                .to_string()
        })
        .collect()
}

/// The sources of the C surface.
pub fn sources() -> Vec<String> {
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(root().join("src/ffi")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "rs") {
            sources.push(std::fs::read_to_string(path).unwrap());
        }
    }
    sources
}

/// The names in the symbol map, each with its node.
pub fn map_symbols() -> BTreeSet<(String, String)> {
    let mut symbols = BTreeSet::new();
    let mut node = String::new();
    for line in read("abi/libovl.map").lines().map(str::trim) {
        if let Some(name) = line.strip_suffix('{') {
            node = name.trim().to_string();
        } else if let Some(name) = line.strip_suffix(';') {
            if name.starts_with("ovl_") {
                assert!(symbols.insert((name.to_string(), node.clone())), "{name}");
            }
        }
    }
    symbols
}

/// Cargo, building where these tests were built.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).env("CARGO_TARGET_DIR", target());
    cargo
}

/// Where these tests were built.
pub fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

/// The static library that `scripts/sanitize.sh` built with the address sanitizer, when it runs the
/// tests.
pub fn sanitized_archive() -> Option<PathBuf> {
    std::env::var_os("OVL_TEST_ARCHIVE").map(PathBuf::from)
}

/// The static library, and what rustc says that it must be linked with.
pub fn archive() -> &'static (PathBuf, String) {
    static BUILT: OnceLock<(PathBuf, String)> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(archive) = sanitized_archive() {
            return (archive, String::new());
        }
        let mut cargo = cargo();
        cargo
            .args(["rustc", "--lib", "--crate-type", "staticlib", "--locked"])
            .args(["--", "--print", "native-static-libs"]);
        let output = succeed(&mut cargo);
        let told = String::from_utf8(output.stderr).unwrap();
        let libraries = told
            .lines()
            .find_map(|line| line.split_once("native-static-libs: "))
            .expect("rustc lists the native libraries")
            .1
            .trim()
            .to_string();
        (target().join("debug/libovl.a"), libraries)
    })
}

/// The shared library as it is shipped, linked by `cc` with `flags`, as `<scratch>/NAME/libovl.so.0`
/// and the link for the linker beside it.
pub fn shared(name: &str, cc: &str, flags: &str) -> PathBuf {
    let dir = scratch(name);
    let library = dir.join("libovl.so.0");
    succeed(
        Command::new(root().join("abi/link.sh"))
            .arg(cc)
            .arg(&archive().0)
            .arg(&library)
            .env("LDFLAGS", flags),
    );
    let link = dir.join("libovl.so");
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink("libovl.so.0", link).unwrap();
    library
}

/// Runs a command that must succeed.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// What a successful command prints.
pub fn output(command: &mut Command) -> String {
    String::from_utf8(succeed(command).stdout).unwrap()
}
