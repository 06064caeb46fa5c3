//! `include/ovl.h` as a C programmer meets it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;
#[path = "../surface/mod.rs"]
mod surface;

use std::collections::BTreeSet;
use std::process::Command;
use support::have;

/// Compiles `source` with the header, warnings being errors; `Err` is what the compiler says.
fn compile(
    compiler: &str,
    standard: &str,
    flags: &[&str],
    name: &str,
    source: &str,
) -> Result<(), String> {
    let cpp = compiler.ends_with("++");
    let dir = surface::scratch("header");
    let file = dir.join(format!(
        "{compiler}-{standard}-{name}.{}",
        if cpp { "cc" } else { "c" }
    ));
    std::fs::write(&file, source).unwrap();
    let output = Command::new(compiler)
        .arg(format!("-std={standard}"))
        .args([
            "-Wall",
            "-Wextra",
            "-Wshadow",
            "-Wundef",
            "-Wconversion",
            "-Werror",
            "-pedantic",
        ])
        .args(flags)
        .arg("-fsyntax-only")
        .arg("-I")
        .arg(surface::root().join("include"))
        .arg(&file)
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

const MATRIX: [(&str, &[&str]); 4] = [
    ("gcc", &["c99", "c11", "c17", "c2x", "gnu99", "gnu17"]),
    ("clang", &["c99", "c11", "c17", "c2x", "gnu17"]),
    ("g++", &["c++11", "c++14", "c++17", "c++20", "c++2b"]),
    ("clang++", &["c++11", "c++14", "c++17", "c++20", "c++2b"]),
];

fn every_dialect(flags: &[&str], name: &str, source: &str) {
    for (compiler, standards) in MATRIX {
        if !have::or_skip(compiler) {
            continue;
        }
        for standard in standards {
            if let Err(words) = compile(compiler, standard, flags, name, source) {
                panic!("{compiler} -std={standard}: {words}");
            }
        }
    }
}

#[test]
fn it_compiles_in_every_dialect() {
    // Twice: the guard. First of all: it includes what it needs.
    every_dialect(
        &[],
        "alone",
        "#include <ovl.h>\n#include <ovl.h>\nint main(void) { return 0; }\n",
    );
}

#[test]
fn a_mistake_is_seen() {
    for (compiler, standards) in MATRIX {
        if have::or_skip(compiler) {
            let wrong = "#include <ovl.h>\nint main(void) { return ovl_version(); }\n";
            assert!(
                compile(compiler, standards[0], &[], "wrong", wrong).is_err(),
                "{compiler}"
            );
        }
    }
}

/// Every function can be named and every type used as a value, in C and C++: no type bears a
/// function's name, which C++ would not tell apart.
#[test]
fn every_name_is_usable() {
    let mut source = String::from("#include <ovl.h>\nint main(void) {\n    int n = 0;\n");
    for name in surface::header_functions() {
        source.push_str(&format!("    n += {name} != 0;\n"));
    }
    let structs = structs();
    for name in &structs {
        assert!(!surface::header_functions().contains(name), "{name}");
        source.push_str(&format!("    n += (int)sizeof(struct {name});\n"));
    }
    assert!(structs.len() > 20);
    source.push_str("    return n == 0;\n}\n");
    every_dialect(
        &[
            "-Wno-address",
            "-Wno-unknown-warning-option",
            "-Wno-nonnull-compare",
        ],
        "names",
        &source,
    );
}

/// The structs that have members.
fn structs() -> BTreeSet<String> {
    surface::header_code()
        .lines()
        .filter_map(|line| {
            line.strip_prefix("struct ")?
                .strip_suffix(" {")
                .map(str::to_string)
        })
        .collect()
}

/// Members never move: what is below was shipped, or will be with the first release. New members
/// are added here, at the end of a struct's line.
#[test]
#[cfg(target_pointer_width = "64")]
fn members_stay_where_they_are() {
    let layout = surface::read("tests/header/layout.txt");
    let mut source = String::from("#include <ovl.h>\n");
    let mut listed = BTreeSet::new();
    for line in layout
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (name, members) = line.split_once(':').unwrap();
        listed.insert(name.to_string());
        for member in members.split_whitespace() {
            let (member, at) = member.split_once('=').unwrap();
            let what = match member {
                "sizeof" => format!("sizeof(struct {name})"),
                member => format!("offsetof(struct {name}, {member})"),
            };
            source.push_str(&format!(
                "_Static_assert({what} == {at}, \"{name} {member}\");\n"
            ));
        }
    }
    assert_eq!(listed, structs());
    for compiler in ["gcc", "clang"] {
        if have::or_skip(compiler) {
            if let Err(words) = compile(compiler, "c11", &["-Wpadded"], "layout", &source) {
                panic!("{words}");
            }
        }
    }
}

/// Nothing whose size or sign a compiler chooses, and nothing that a binding cannot say.
#[test]
fn it_has_plain_types_alone() {
    let code = surface::header_code();
    for word in code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
        assert!(
            !matches!(
                word,
                "enum"
                    | "bool"
                    | "_Bool"
                    | "long"
                    | "short"
                    | "unsigned"
                    | "union"
                    | "inline"
                    | "static"
            ),
            "{word}"
        );
    }
    for line in code.lines() {
        assert!(!line.contains(" : "), "a bitfield: {line}");
        if let Some(define) = line.strip_prefix("#define ") {
            let name = define.split_whitespace().next().unwrap();
            assert!(!name.contains('('), "a macro with arguments: {line}");
        }
    }
}

/// Every function says what it is, and one that can fail, what it returns and why it fails.
#[test]
fn every_function_is_documented() {
    let header = surface::read("include/ovl.h");
    for name in surface::header_functions() {
        let at = header.find(&format!("{name}(")).unwrap();
        let declared = header.match_indices(&format!("{name}(")).any(|(at, _)| {
            let line = header[..at].rfind('\n').unwrap();
            let before = header[..line].trim_end();
            let Some(doc) = before.strip_suffix("*/") else {
                return false;
            };
            let doc = &doc[doc.rfind("/**").unwrap()..];
            let end = at + header[at..].find(';').unwrap();
            if header[at..end].contains("struct ovl_error **err") {
                assert!(
                    doc.contains("Returns "),
                    "{name} does not say what it returns"
                );
                assert!(doc.contains("Errors: "), "{name} does not say how it fails");
            }
            doc.len() > 40
        });
        assert!(declared, "{name} is not documented ({at})");
    }
}

#[test]
fn it_is_what_cbindgen_writes() {
    // Fetching is not this test's business: without the tool it cannot run.
    let tool = surface::cargo()
        .args([
            "tree",
            "--offline",
            "--locked",
            "--features",
            "header",
            "-e",
            "build",
        ])
        .output()
        .unwrap();
    if !tool.status.success() {
        have::skip("cbindgen", "it is not in cargo's cache");
        return;
    }
    surface::succeed(surface::cargo().env("OVL_HEADER", "check").args([
        "build",
        "--lib",
        "--offline",
        "--locked",
        "--features",
        "header",
    ]));
}
