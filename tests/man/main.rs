//! The manual pages: they render, and they say what the header and the tool say.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;
mod page;
#[path = "../surface/mod.rs"]
mod surface;

use page::{Page, Prototypes, arguments, pages, spelled};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use support::have;

/// The functions of the header, each with its prototype and its comment.
fn header() -> (Prototypes, BTreeMap<String, String>) {
    let text = surface::read("include/ovl.h");
    let (mut prototypes, mut comments) = (BTreeMap::new(), BTreeMap::new());
    for name in surface::header_functions() {
        let (at, _) = text
            .match_indices(&format!("{name}("))
            .find(|(at, _)| {
                let line = &text[text[..*at].rfind('\n').unwrap() + 1..*at];
                line.starts_with(|c: char| c.is_ascii_lowercase())
            })
            .unwrap();
        let start = text[..at].rfind('\n').unwrap() + 1;
        let end = at + text[at..].find(';').unwrap();
        prototypes.insert(name.clone(), spelled(&text[start..end]));
        let comment = &text[text[..start].rfind("/**").unwrap()..start];
        comments.insert(name, comment.to_string());
    }
    (prototypes, comments)
}

/// The structs with members, and the types of callbacks.
fn header_types() -> BTreeMap<String, String> {
    let code = surface::header_code();
    let mut types = BTreeMap::new();
    for part in code.split("\nstruct ").skip(1) {
        let (name, rest) = part.split_once([' ', ';']).unwrap();
        if let Some(members) = rest.strip_prefix('{') {
            let members = members.split_once("\n};").unwrap().0;
            types.insert(
                name.to_string(),
                spelled(&format!("struct {name} {{{members} }};")),
            );
        }
    }
    for part in code.split("\ntypedef ").skip(1) {
        let part = format!("typedef {};", part.split_once(';').unwrap().0);
        let name = part.split_once("(*").unwrap().1.split_once(')').unwrap().0;
        types.insert(name.to_string(), spelled(&part));
    }
    assert!(types.len() > 20);
    types
}

#[test]
fn every_function_has_a_page_with_its_prototype() {
    let (declared, _) = header();
    let mut told = BTreeMap::new();
    for page in pages() {
        let prototypes = page.prototypes();
        if page.section() == "3" && page.file() != "libovl.3" {
            let names: BTreeSet<String> = page.names().into_iter().collect();
            let functions: BTreeSet<String> = prototypes.keys().cloned().collect();
            assert_eq!(names, functions, "{}: NAME and SYNOPSIS", page.file());
        }
        for (name, prototype) in prototypes {
            assert!(
                told.insert(name.clone(), prototype).is_none(),
                "{name} has two pages"
            );
        }
    }
    assert_eq!(told, declared);
}

#[test]
fn structs_and_callbacks_are_the_headers() {
    let declared = header_types();
    let mut told = BTreeSet::new();
    for page in pages() {
        for code in page.code() {
            let name = if let Some(rest) = code.strip_prefix("struct ") {
                rest.split_once(' ')
                    .filter(|(_, rest)| rest.starts_with('{'))
                    .map(|(name, _)| name)
            } else if code.starts_with("typedef ") {
                code.split_once("(*")
                    .and_then(|(_, rest)| rest.split_once(')'))
                    .map(|(name, _)| name)
            } else {
                None
            };
            let Some(name) = name.filter(|name| name.starts_with("ovl_")) else {
                continue;
            };
            assert_eq!(
                Some(&spelled(&code)),
                declared.get(name),
                "{}: {name}",
                page.file()
            );
            told.insert(name.to_string());
        }
    }
    let all: BTreeSet<String> = declared.into_keys().collect();
    assert_eq!(told, all);
}

/// A member that a page shows, it explains.
#[test]
fn members_are_explained() {
    for page in pages() {
        for code in page
            .code()
            .iter()
            .filter(|code| code.starts_with("struct ovl_") && code.ends_with("};"))
        {
            for line in code.lines().skip(1).filter(|line| line.ends_with(';')) {
                let name = line.trim_end_matches(';').split(['[']).next().unwrap();
                let name = name.rsplit([' ', '*']).next().unwrap();
                if name != "}" {
                    let item = format!("\n.It Fa {name}\n");
                    assert!(page.text.contains(&item), "{}: {name}", page.file());
                }
            }
        }
    }
}

#[test]
fn every_constant_is_described_and_none_is_made_up() {
    let code = surface::header_code();
    let constants: BTreeSet<&str> = code
        .lines()
        .filter_map(|line| line.strip_prefix("#define ")?.split(' ').next())
        .filter(|name| *name != "OVL_H")
        .collect();
    assert!(constants.len() > 60);
    let (mut described, mut named) = (BTreeSet::new(), BTreeSet::new());
    let pages = pages();
    for page in &pages {
        for line in page.text.lines().filter(|line| !line.starts_with(".Dt ")) {
            for (at, _) in line.match_indices("OVL_") {
                let name = &line[at..];
                let end = name
                    .find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
                let name = &name[..end.unwrap_or(name.len())];
                // A family of constants, a node of the map, the environment.
                let whole =
                    !name.ends_with('_') && name != "OVL_STORE" && !line.contains("LIBOVL_");
                if whole {
                    assert!(constants.contains(name), "{}: {name}", page.file());
                    named.insert(name.to_string());
                }
            }
            if let Some(name) = line.strip_prefix(".It Dv ") {
                described.insert(name.to_string());
            }
        }
    }
    for name in constants {
        let found =
            described.contains(name) || name.starts_with("OVL_VERSION_") && named.contains(name);
        assert!(found, "{name} is in no page");
    }
}

/// Each errno that the header tells of a function is in the ERRORS of its page.
#[test]
fn errnos_are_the_headers() {
    let (_, comments) = header();
    let mut checked = 0;
    for page in pages().iter().filter(|page| page.section() == "3") {
        let items = page.lines("ERRORS", ".It Bq Er ");
        for name in page.prototypes().keys() {
            let Some((_, errors)) = comments[name].split_once("Errors: ") else {
                continue;
            };
            for word in errors.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
                let errno = word.len() > 2
                    && word.starts_with('E')
                    && word
                        .chars()
                        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
                if errno {
                    assert!(items.contains(&word), "{}: {name}: {word}", page.file());
                    checked += 1;
                }
            }
        }
        // And no other, but where a comment leaves them to another function's.
        let told: Vec<&str> = page
            .prototypes()
            .keys()
            .filter_map(|name| Some(comments[name].split_once("Errors: ")?.1))
            .collect();
        if !told.is_empty() && !told.iter().any(|errors| errors.contains("as ovl_")) {
            for item in &items {
                let named = told.iter().any(|errors| {
                    errors
                        .split(|c: char| !c.is_ascii_alphanumeric())
                        .any(|word| word == *item)
                });
                assert!(named, "{}: {item} is not in the header", page.file());
            }
        }
        let mut sorted = items.clone();
        sorted.sort_unstable();
        assert_eq!(items, sorted, "{}: in order", page.file());
    }
    assert!(checked > 60);
}

/// The commands of the tool, as its own table has them: name and arguments.
fn commands() -> BTreeSet<(String, String)> {
    let source = surface::read("examples-c/ovl/main.c");
    let table = source.split_once("} commands[] = {").unwrap().1;
    let table = table.split_once("\n};").unwrap().0;
    let commands: BTreeSet<(String, String)> = table
        .lines()
        .filter_map(|line| {
            let mut parts = line.trim().strip_prefix("{ \"")?.split('"');
            let name = parts.next()?.to_string();
            Some((name, parts.nth(1)?.to_string()))
        })
        .collect();
    assert!(commands.len() >= 16);
    commands
}

#[test]
fn every_command_of_the_tool_is_described() {
    let page: Page = pages()
        .into_iter()
        .find(|page| page.file() == "ovl.1")
        .unwrap();
    let told: BTreeSet<(String, String)> = page
        .lines("DESCRIPTION", ".It Ic ")
        .iter()
        .map(|line| {
            let words = arguments(line);
            let usage = words.iter().skip_while(|word| *word != "Li").nth(1);
            (words[0].clone(), usage.cloned().unwrap_or_default())
        })
        .collect();
    assert_eq!(told, commands());
}

/// The kinds of damage are those of `docs/store.md`.
#[test]
fn kinds_of_damage_are_told() {
    let page: Page = pages()
        .into_iter()
        .find(|page| page.file() == "ovl-store.5")
        .unwrap();
    let told: BTreeSet<String> = page
        .lines("DIAGNOSTICS", ".It Li ")
        .iter()
        .map(|line| arguments(line)[0].clone())
        .collect();
    let store = surface::read("docs/store.md");
    let part = store.split_once("## Damage\n").unwrap().1;
    let kinds: BTreeSet<String> = part
        .split("\n## ")
        .next()
        .unwrap()
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once(" | ")?.0))
        .map(|kind| kind.trim_end_matches('`').replace("`, `", ", "))
        .collect();
    assert!(kinds.len() > 20);
    assert_eq!(told, kinds);
}

#[test]
fn references_lead_somewhere() {
    let pages = pages();
    let mut known = BTreeSet::new();
    for page in &pages {
        known.insert(page.file());
        known.extend(
            page.names()
                .iter()
                .map(|name| format!("{name}.{}", page.section())),
        );
    }
    for page in &pages {
        for line in page
            .text
            .lines()
            .filter_map(|line| line.strip_prefix(".Xr "))
        {
            let words = arguments(line);
            let target = format!("{}.{}", words[0], words[1]);
            if words[0].contains("ovl") {
                assert!(known.contains(&target), "{}: {target}", page.file());
            }
        }
        for line in page
            .text
            .lines()
            .filter_map(|line| line.strip_prefix(".Fn "))
        {
            let words = arguments(line);
            let name = words.iter().find(|word| *word != "(").unwrap();
            assert!(
                known.contains(&format!("{name}.3")),
                "{}: {name}()",
                page.file()
            );
        }
    }
}

/// Says what a formatter says of a page, which is to be nothing.
fn silent(command: &mut Command, page: &Page) {
    let output = command.arg(&page.path).output().unwrap();
    let words = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success() && words.is_empty(),
        "{}: {words}",
        page.file()
    );
}

#[test]
fn mandoc_has_nothing_to_say() {
    require!("mandoc");
    for page in pages() {
        silent(
            Command::new("mandoc").args(["-T", "lint", "-W", "warning"]),
            &page,
        );
    }
}

#[test]
fn groff_has_nothing_to_say() {
    require!("groff");
    for page in pages() {
        silent(
            Command::new("groff").args(["-mandoc", "-ww", "-z", "-Tutf8"]),
            &page,
        );
    }
}

#[test]
fn a_mistake_in_a_page_is_seen() {
    require!("mandoc", "groff");
    let path = surface::scratch("man").join("wrong.3");
    std::fs::write(
        &path,
        ".Dd November 28, 2026\n.Dt WRONG 3\n.Os\n.Sh NAME\n.Xx nothing\n",
    )
    .unwrap();
    for (command, arguments) in [
        ("mandoc", &["-T", "lint", "-W", "warning"][..]),
        ("groff", &["-mandoc", "-ww", "-z", "-Tutf8"][..]),
    ] {
        let output = Command::new(command)
            .args(arguments)
            .arg(&path)
            .output()
            .unwrap();
        assert!(
            !output.stderr.is_empty() || !output.stdout.is_empty(),
            "{command}"
        );
    }
}

/// The programs in the pages are programs.
#[test]
fn programs_in_the_pages_compile() {
    let dir = surface::scratch("man");
    let mut programs = 0;
    for page in pages() {
        for code in page.code().iter().filter(|code| code.contains("int main(")) {
            programs += 1;
            let source = dir.join(format!("{}.c", page.file()));
            std::fs::write(&source, format!("{code}\n")).unwrap();
            for compiler in ["gcc", "clang"] {
                if have::or_skip(compiler) {
                    surface::succeed(
                        Command::new(compiler)
                            .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"])
                            .arg("-fsyntax-only")
                            .arg("-I")
                            .arg(surface::root().join("include"))
                            .arg(&source),
                    );
                }
            }
        }
    }
    assert!(programs > 0);
}
