//! What was released stays: the nodes of the symbol map, and the interface that they stand for.

use super::surface;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn script(name: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg(surface::root().join("abi").join(name));
    command
}

fn words(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// `(version, released)` of each version that the changes tell of.
fn versions() -> Vec<(String, bool)> {
    surface::read("CHANGELOG.md")
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| {
            let version = heading.split_whitespace().next().unwrap();
            (version.to_string(), !heading.contains("unreleased"))
        })
        .collect()
}

#[test]
fn released_nodes_are_what_they_were() {
    surface::succeed(script("released.sh").arg("check"));
    let frozen = surface::read("abi/released.sha256");
    let nodes: Vec<String> = surface::map_symbols().into_iter().map(|(_, n)| n).collect();
    for (version, released) in versions() {
        let node = format!("LIBOVL_{}", version.rsplit_once('.').unwrap().0);
        if nodes.contains(&node) {
            assert_eq!(
                frozen
                    .lines()
                    .any(|line| line.ends_with(&format!("  {node}"))),
                released,
                "{version} and {node}: see docs/release.md"
            );
        }
    }
}

#[test]
fn a_released_node_that_changes_is_seen() {
    let abi = surface::scratch("abi-released");
    for file in ["released.sh", "libovl.map", "released.sha256"] {
        fs::copy(surface::root().join("abi").join(file), abi.join(file)).unwrap();
    }
    let run = |args: &[&str]| {
        Command::new("sh")
            .arg(abi.join("released.sh"))
            .args(args)
            .output()
            .unwrap()
    };
    if !surface::read("abi/released.sha256").contains("  LIBOVL_0.1") {
        assert!(run(&["freeze", "LIBOVL_0.1"]).status.success());
    }
    assert!(!run(&["freeze", "LIBOVL_0.1"]).status.success(), "twice");
    assert!(
        !run(&["freeze", "LIBOVL_9.9"]).status.success(),
        "not there"
    );

    let map = surface::read("abi/libovl.map");
    let later = map.replace(
        "local:\n    *;\n};",
        "};\n\nLIBOVL_9.9 {\nglobal:\n    ovl_other;\nlocal:\n    *;\n} LIBOVL_0.1;",
    );
    let cases = [
        (map.clone(), true),
        (later, true),
        (map.replace("    ovl_stat;\n", ""), false),
        (
            map.replace("    ovl_stat;\n", "    ovl_stat;\n    ovl_stat2;\n"),
            false,
        ),
        (map.replace("LIBOVL_0.1", "LIBOVL_0.2"), false),
    ];
    for (text, right) in cases {
        let changed = abi.join("changed.map");
        fs::write(&changed, &text).unwrap();
        let output = run(&["check", changed.to_str().unwrap()]);
        assert_eq!(output.status.success(), right, "{}\n{text}", words(&output));
    }
}

/// What the baselines say of a header and a map.
fn compared(header: &Path, map: &Path) -> Output {
    script("baseline.sh")
        .arg("check")
        .args([header, map])
        .output()
        .unwrap()
}

#[test]
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
fn programs_built_before_still_run() {
    require!("abidiff", "gcc");
    let root = surface::root();
    let output = compared(&root.join("include/ovl.h"), &root.join("abi/libovl.map"));
    assert!(output.status.success(), "{}", words(&output));
    for entry in fs::read_dir(root.join("abi")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "abi") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains("filepath="), "{}", path.display());
        }
    }
}

/// A header and a map with one thing in them changed.
struct Changed {
    dir: PathBuf,
    header: String,
    map: String,
}

impl Changed {
    fn new(name: &str) -> Changed {
        Changed {
            dir: surface::scratch(&format!("abi-changed-{name}")),
            header: surface::read("include/ovl.h"),
            map: surface::read("abi/libovl.map"),
        }
    }

    /// Replaces the first `from` behind `place` in the header.
    fn edit(mut self, place: &str, from: &str, to: &str) -> Changed {
        let at = self.header.find(place).unwrap();
        let at = at + self.header[at..].find(from).unwrap();
        self.header.replace_range(at..at + from.len(), to);
        self
    }

    fn map(mut self, from: &str, to: &str) -> Changed {
        assert!(self.map.contains(from));
        self.map = self.map.replace(from, to);
        self
    }

    fn compared(self) -> Output {
        let (header, map) = (self.dir.join("ovl.h"), self.dir.join("map"));
        fs::write(&header, self.header).unwrap();
        fs::write(&map, self.map).unwrap();
        compared(&header, &map)
    }
}

#[test]
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
fn what_would_break_them_is_seen() {
    require!("abidiff", "gcc");
    let new = Changed::new;
    let breaks = [
        new("gone")
            .edit("int ovl_exists(", "int ovl_exists(", "int ovl_is_there(")
            .map("ovl_exists;", ""),
        new("parameter").edit("int ovl_apply_layer(", "int layer_fd", "int64_t layer_fd"),
        new("result").edit("\nuint32_t ovl_error_code(", "uint32_t", "int32_t"),
        new("between").edit(
            "struct ovl_apply_opts {",
            "uint64_t flags;\n",
            "uint64_t flags;\n    uint64_t more;\n",
        ),
        new("swapped")
            .edit(
                "struct ovl_progress {",
                "uint64_t entries",
                "uint64_t bytes",
            )
            .edit("Bytes done.", "uint64_t bytes", "uint64_t entries"),
        new("shorter").edit("struct ovl_layer_info {", "char id[136]", "char id[128]"),
        new("last").edit(
            "struct ovl_spec_opts {",
            "    const char *destination;\n",
            "",
        ),
        new("callback").edit(
            "typedef int (*ovl_progress_fn)",
            "typedef int ",
            "typedef int64_t ",
        ),
        new("node").map("LIBOVL_0.1", "LIBOVL_0.2"),
    ];
    for changed in breaks {
        let name = changed.dir.display().to_string();
        let output = changed.compared();
        assert_eq!(output.status.code(), Some(1), "{name}: {}", words(&output));
        assert!(
            words(&output).contains("differs from"),
            "{name}: {}",
            words(&output)
        );
    }
    let additions = [
        new("function")
            .edit(
                "int ovl_exists(",
                "int ovl_exists(",
                "int ovl_other(const char *name,\n    int number);\nint ovl_exists(",
            )
            .map("    ovl_exists;", "    ovl_exists;\n    ovl_other;"),
        new("member").edit(
            "struct ovl_spec_opts {",
            "destination;\n",
            "destination;\n    uint64_t more;\n",
        ),
        new("constant").edit(
            "#define OVL_E_SYSTEM",
            "#define",
            "#define OVL_E_OTHER 99\n#define",
        ),
    ];
    for changed in additions {
        let name = changed.dir.display().to_string();
        let output = changed.compared();
        assert!(output.status.success(), "{name}: {}", words(&output));
    }
}
