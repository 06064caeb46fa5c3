//! A manual page as the tests read it: mdoc, line by line.

use super::surface;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A page: its file, and its text.
pub struct Page {
    pub path: PathBuf,
    pub text: String,
}

/// A function of a SYNOPSIS, or of the header: what it returns and takes, in one spelling.
pub type Prototypes = BTreeMap<String, String>;

pub fn pages() -> Vec<Page> {
    let mut pages: Vec<Page> = std::fs::read_dir(surface::root().join("docs/man"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext.len() == 1))
        .map(|path| Page {
            text: std::fs::read_to_string(&path).unwrap(),
            path,
        })
        .collect();
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(pages.len() > 20);
    pages
}

/// One spelling of a piece of C: single spaces, none at brackets and stars.
pub fn spelled(code: &str) -> String {
    let mut out = String::new();
    for word in code.split_whitespace() {
        let glued = out.is_empty()
            || out.ends_with(['(', '*', '{'])
            || word.starts_with([')', ',', ';', '(']);
        if !glued {
            out.push(' ');
        }
        out.push_str(word);
    }
    out.replace("* ", "*")
}

/// The arguments of a macro's line: words, or what stands between double quotes.
pub fn arguments(line: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (argument, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        arguments.push(argument.replace("\\-", "-").replace("\\e", "\\"));
        rest = after.trim_start();
    }
    arguments
}

impl Page {
    /// The name of the file, as `ovl_create.3`.
    pub fn file(&self) -> String {
        self.path.file_name().unwrap().to_str().unwrap().to_string()
    }

    pub fn section(&self) -> &str {
        self.path.extension().unwrap().to_str().unwrap()
    }

    /// What follows `.MACRO ` on each of its lines, in the part of the page under `heading`.
    pub fn lines<'a>(&'a self, heading: &str, of: &'a str) -> Vec<&'a str> {
        let start = format!(".Sh {heading}\n");
        let Some((_, part)) = self.text.split_once(&start) else {
            return Vec::new();
        };
        let part = part.split("\n.Sh ").next().unwrap();
        part.lines()
            .filter_map(|line| line.strip_prefix(of))
            .collect()
    }

    /// The names that the page is found by.
    pub fn names(&self) -> Vec<String> {
        let names = self.lines("NAME", ".Nm ");
        names
            .iter()
            .map(|line| arguments(line)[0].clone())
            .collect()
    }

    /// What the SYNOPSIS declares.
    pub fn prototypes(&self) -> Prototypes {
        let mut prototypes = BTreeMap::new();
        let (mut kind, mut name, mut taken) = (String::new(), String::new(), Vec::new());
        for line in self.lines("SYNOPSIS", ".") {
            let (of, rest) = line.split_once(' ').unwrap_or((line, ""));
            match of {
                "Ft" => kind = arguments(rest)[0].clone(),
                "Fo" => name = arguments(rest)[0].clone(),
                "Fa" => taken.push(arguments(rest)[0].clone()),
                "Fc" => {
                    let code = spelled(&format!("{kind} {name}({})", taken.join(", ")));
                    assert!(prototypes.insert(name.clone(), code).is_none(), "{name}");
                    taken.clear();
                }
                _ => {}
            }
        }
        prototypes
    }

    /// The blocks of code.
    pub fn code(&self) -> Vec<String> {
        self.text
            .split(".Bd -literal")
            .skip(1)
            .map(|block| {
                let code = block.split_once('\n').unwrap().1;
                code.split("\n.Ed").next().unwrap().replace("\\e", "\\")
            })
            .collect()
    }
}
