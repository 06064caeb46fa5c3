//! The shared library as a linker and a loader meet it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;
mod frozen;
#[path = "../surface/mod.rs"]
mod surface;
mod versions;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use support::have;

const LINKERS: [&str; 3] = ["bfd", "gold", "lld"];

#[test]
fn header_map_and_sources_agree() {
    let map: BTreeSet<String> = surface::map_symbols()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert!(map.len() >= 36);
    assert_eq!(map, surface::header_functions());
    assert_eq!(map, surface::source_functions());
}

/// No exported function does anything but through the boundary.
#[test]
fn every_function_is_one_call_of_the_boundary() {
    for source in surface::sources() {
        for text in source.split("#[unsafe(no_mangle)]").skip(1) {
            let (signature, rest) = text.split_once(" {\n").unwrap();
            let body = rest.split_once("\n}\n").unwrap().0;
            assert!(
                signature
                    .trim_start()
                    .starts_with("pub unsafe extern \"C\" fn ovl_"),
                "{signature}"
            );
            let mut code = body
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let first = code.next().unwrap();
            assert!(first.starts_with("    boundary::"), "{signature}: {first}");
            // All that follows is indented further, up to the end of that call.
            let last = code.clone().next_back().unwrap_or(first);
            assert!(
                last == first || last.starts_with("    }") || last.starts_with("    )"),
                "{signature}: {last}"
            );
            let middle = code.filter(|line| line.starts_with("    ") && !line.starts_with("     "));
            assert!(middle.count() <= 1, "{signature}: more than one statement");
        }
    }
}

/// Nothing else leaves the crate by an unmangled name.
#[test]
fn nothing_is_exported_elsewhere() {
    for entry in walkdir::WalkDir::new(surface::root().join("src")) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let here = text.contains("no_mangle") || text.contains("export_name");
            let ours = entry.path().starts_with(surface::root().join("src/ffi"));
            assert!(ours || !here, "{}", entry.path().display());
        }
    }
}

/// The dynamic symbols that a library defines for others: name and version.
fn exported(library: &Path) -> BTreeSet<(String, String)> {
    let table = surface::output(
        Command::new("readelf")
            .args(["-W", "--dyn-syms"])
            .arg(library),
    );
    table
        .lines()
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [_, _, _, kind, binding, _, section, name, ..] = columns[..] else {
                return None;
            };
            let defined = section.parse::<u32>().is_ok();
            if !defined || binding == "LOCAL" || kind == "Type" {
                return None;
            }
            let (name, version) = name.split_once("@@").unwrap_or((name, ""));
            Some((name.to_string(), version.to_string()))
        })
        .collect()
}

#[test]
fn each_linker_exports_the_map_and_nothing_else() {
    require!("gcc", "readelf");
    for linker in LINKERS {
        if !have::or_skip(&format!("ld.{linker}")) {
            continue;
        }
        let library = surface::shared(
            &format!("abi-{linker}"),
            "gcc",
            &format!("-fuse-ld={linker}"),
        );
        let mut found = exported(&library);
        // Marks that gold sets at the ends of sections.
        found.retain(|(name, version)| {
            !(version.is_empty() && matches!(name.as_str(), "_edata" | "_end" | "__bss_start"))
        });
        assert_eq!(found, surface::map_symbols(), "{linker}");

        let dynamic = surface::output(
            Command::new("readelf")
                .args(["-W", "-d", "-l"])
                .arg(&library),
        );
        assert!(
            dynamic.contains("soname: [libovl.so.0]"),
            "{linker}: {dynamic}"
        );
        for word in ["NODELETE", "NOW", "GNU_RELRO"] {
            assert!(dynamic.contains(word), "{linker}: no {word}\n{dynamic}");
        }
        assert!(!dynamic.contains("TEXTREL"), "{linker}");
        assert!(
            !dynamic.contains("RPATH") && !dynamic.contains("RUNPATH"),
            "{linker}"
        );
        for line in dynamic.lines().filter(|line| line.contains("(NEEDED)")) {
            let known = ["libc.so.6", "libgcc_s.so.1", "libm.so.6", "ld-linux"];
            assert!(
                known.iter().any(|name| line.contains(name)),
                "{linker}: {line}"
            );
        }
        let stack = dynamic
            .lines()
            .find(|line| line.contains("GNU_STACK"))
            .unwrap();
        assert!(!stack.contains("RWE"), "{linker}: {stack}");
    }
}

/// `cargo build` alone gives a library that a loader takes for the same.
#[test]
fn cargos_own_library_has_the_name() {
    require!("readelf");
    surface::succeed(surface::cargo().args([
        "rustc",
        "--lib",
        "--crate-type",
        "cdylib",
        "--locked",
    ]));
    let library = surface::target().join("debug/libovl.so");
    let dynamic = surface::output(Command::new("readelf").args(["-W", "-d"]).arg(&library));
    assert!(dynamic.contains("soname: [libovl.so.0]") && dynamic.contains("NODELETE"));
    let names: BTreeSet<String> = exported(&library)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, surface::header_functions());
}

/// All but libgcc_s: the compiler adds what it needs of its own run-time library, shared or static,
/// and there is no libgcc_s for a program that is linked with `-static` or `-static-pie`.
#[test]
fn pkg_config_lists_what_a_static_link_needs() {
    let (_, libraries) = surface::archive();
    let needed: Vec<&str> = libraries
        .split_whitespace()
        .filter(|library| *library != "-lgcc_s")
        .collect();
    let pc = surface::read("pkgconfig/ovl.pc.in");
    let told = pc
        .lines()
        .find_map(|line| line.strip_prefix("Libs.private: "))
        .unwrap();
    assert_eq!(told, needed.join(" "));
    assert!(!pc.contains("Requires"));
}

const PROGRAM: &str = r#"
#include <dlfcn.h>
#include <ovl.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    struct ovl_error *err = NULL;
    int rc = ovl_copy_dir(-100, "/nonexistent", -100, "/nonexistent/too", NULL, 0, NULL, 0, &err);
    if (rc >= 0 || ovl_error_errno(err) != -rc)
        return 1;
    ovl_error_free(err);
    puts(ovl_version());
    return 0;
}
"#;

#[test]
fn programs_link_either_way() {
    require!("gcc");
    let dir = surface::scratch("abi-programs");
    let source = dir.join("program.c");
    std::fs::write(&source, PROGRAM).unwrap();
    let include = surface::root().join("include");
    let version = format!("{}\n", env!("CARGO_PKG_VERSION"));

    let program = dir.join("static");
    let (archive, libraries) = surface::archive();
    surface::succeed(
        Command::new("gcc")
            .arg("-I")
            .arg(&include)
            .arg(&source)
            .arg("-o")
            .arg(&program)
            .arg(archive)
            .args(libraries.split_whitespace()),
    );
    assert_eq!(surface::output(&mut Command::new(&program)), version);

    let program = dir.join("shared");
    let library = surface::shared("abi-programs", "gcc", "");
    surface::succeed(
        Command::new("gcc")
            .arg("-I")
            .arg(&include)
            .arg(&source)
            .arg("-o")
            .arg(&program)
            .arg("-L")
            .arg(library.parent().unwrap())
            .arg("-lovl")
            .arg(format!(
                "-Wl,-rpath,{}",
                library.parent().unwrap().display()
            )),
    );
    assert_eq!(surface::output(&mut Command::new(&program)), version);
    if have::or_skip("readelf") {
        let needs = surface::output(Command::new("readelf").args(["-W", "-V"]).arg(&program));
        assert!(needs.contains("LIBOVL_0.1"), "{needs}");
    }
}
