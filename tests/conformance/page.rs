//! `docs/conformance.md` holds each case once, and every test that it names is there.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The rows of the page: what the first cell says, and the rest.
fn rows(page: &str) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for line in page.lines() {
        let mut cells = line.trim_matches('|').splitn(2, '|');
        let (Some(first), Some(rest)) = (cells.next(), cells.next()) else {
            continue;
        };
        let digits = first.trim().trim_start_matches('G');
        if line.starts_with('|') && digits.parse::<u32>().is_ok() {
            rows.push((first.trim().to_string(), rest.to_string()));
        }
    }
    rows
}

/// What stands between backquotes and names a test: a program and a path in it.
fn named(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|one| one.split_once(": ")).collect()
}

/// Whether a source has a test function of this name, and not one that only other tests run.
fn has_test(source: &str, name: &str) -> bool {
    let mut lines = source.lines().map(str::trim);
    while lines.any(|line| line == "#[test]") {
        let mut rest = lines.by_ref().skip_while(|line| line.starts_with("//"));
        let Some(function) = rest.next() else {
            return false;
        };
        if function == format!("fn {name}() {{") {
            return true;
        }
    }
    false
}

/// The cases of a module that `main.rs` runs.
fn listed(module: &str) -> Vec<String> {
    let main = text(&root().join("tests/conformance/main.rs")).unwrap();
    let suite = &main[main.find("\nsuite! {").unwrap()..];
    let list = suite.split(';').find_map(|part| {
        let (name, cases) = part.split_once(": ")?;
        (name.split_whitespace().last()? == module).then_some(cases)
    });
    list.unwrap_or_default()
        .split_whitespace()
        .map(String::from)
        .collect()
}

/// What is wrong with a name, if anything.
fn missing(program: &str, path: &str) -> Option<&'static str> {
    let parts: Vec<&str> = path.split("::").collect();
    let there = match (program, &parts[..]) {
        ("conformance", [module, case]) => {
            let file = format!("tests/conformance/cases/{module}.rs");
            let function = format!("\npub fn {case}<A: Api>(");
            text(&root().join(file)).is_some_and(|source| source.contains(&function))
                && listed(module).iter().any(|one| one == case)
        }
        ("layer" | "copy" | "store", [module, test]) => {
            let source = text(&root().join(format!("tests/{program}/{module}.rs")));
            let main = text(&root().join(format!("tests/{program}/main.rs"))).unwrap();
            main.contains(&format!("mod {module};"))
                && source.is_some_and(|source| has_test(&source, test))
        }
        ("layer" | "copy" | "store", [folder, module, test]) => {
            let source = |path: &str| text(&root().join(format!("tests/{program}/{path}.rs")));
            let declares = |path: &str, module: &str| {
                source(path).is_some_and(|source| source.contains(&format!("mod {module};")))
            };
            declares("main", folder)
                && declares(&format!("{folder}/mod"), module)
                && source(&format!("{folder}/{module}"))
                    .is_some_and(|source| has_test(&source, test))
        }
        ("lib", [modules @ .., test]) => {
            let file = format!("src/{}.rs", modules.join("/"));
            text(&root().join(file)).is_some_and(|source| has_test(&source, test))
        }
        ("c", [program]) => root().join(format!("tests/c/{program}.c")).is_file(),
        ("cli", [test]) if test.starts_with("test_") => std::fs::read_dir(root().join("tests/cli"))
            .unwrap()
            .filter_map(|file| text(&file.unwrap().path()))
            .any(|source| source.contains(&format!("\n{test}() {{\n"))),
        _ => return Some("no such kind of test"),
    };
    (!there).then_some("no such test")
}

#[test]
fn every_case_is_there_once() {
    let page = text(&root().join("docs/conformance.md")).unwrap();
    let mut is: Vec<String> = rows(&page).into_iter().map(|row| row.0).collect();
    let mut wanted: Vec<String> = (1..=170).map(|number| number.to_string()).collect();
    wanted.extend((1..=25).map(|number| format!("G{number}")));
    is.sort();
    wanted.sort();
    assert_eq!(is, wanted);
}

#[test]
fn every_test_that_is_named_is_there() {
    let page = text(&root().join("docs/conformance.md")).unwrap();
    let mut wrong = Vec::new();
    let rows = rows(&page);
    for (case, rest) in &rows {
        let tests = named(rest);
        if tests.is_empty() && !rest.contains("Does not apply:") {
            wrong.push(format!("{case}: no test"));
        }
        for (program, path) in tests {
            if let Some(why) = missing(program, path) {
                wrong.push(format!("{case}: {program}: {path}: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What looks after the page sees what is wrong.
#[test]
fn a_name_of_no_test_is_seen() {
    for (program, path) in [
        ("conformance", "graph::create_emptiness"),
        ("conformance", "graph::fill_tree"),
        ("conformance", "echo"),
        ("layer", "equal::cases"),
        ("layer", "tar::dir"),
        ("layer", "cost::child_applies"),
        ("store", "common::open"),
        ("lib", "archive::tests::pax::time"),
        ("c", "main"),
        ("cli", "test_nothing"),
        ("cli", "container"),
        ("program", "test"),
    ] {
        assert!(missing(program, path).is_some(), "{program}: {path}");
    }
    assert_eq!(missing("layer", "equal::every_type_over_every_type"), None);
    assert_eq!(
        rows("| G7 | x | y |\n| case | x |\n7 | x\n| 7 | `a: b` |").len(),
        2
    );
    assert_eq!(
        named("x `a: b::c`, `d` and `e: f`"),
        [("a", "b::c"), ("e", "f")]
    );
}
