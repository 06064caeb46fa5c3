//! A corpus of tar dialects, made by hand and by tools, read by libovl and by GNU tar, bsdtar and
//! Python's tarfile. Whatever they read differently stands in [`table`], with the reason; what is
//! not there fails the test, and so does a row that no longer holds. See `docs/tar.md`.

mod corpus;
mod made;
mod readers;
mod table;

use std::collections::{BTreeMap, BTreeSet};

/// An entry as a reader tells it.
#[derive(Debug, Default)]
struct Seen {
    /// Without slashes at its end.
    name: Vec<u8>,
    /// What else it tells; not all readers tell all.
    fields: BTreeMap<&'static str, String>,
}

/// What a reader makes of an archive.
#[derive(Debug, Default)]
struct Told {
    entries: Vec<Seen>,
    /// It ends with an error.
    refused: Option<String>,
    /// SHA-256 of the content of all files in their order, from readers that tell no more of it.
    content: Option<String>,
}

/// The words for how two readings differ.
fn differences(ours: &Told, theirs: &Told) -> BTreeSet<&'static str> {
    match (&ours.refused, &theirs.refused) {
        (Some(_), Some(_)) => return BTreeSet::new(),
        (Some(_), None) => return ["accepts"].into(),
        (None, Some(_)) => return ["refuses"].into(),
        (None, None) => {}
    }
    let names = |told: &Told| {
        told.entries
            .iter()
            .map(|e| e.name.clone())
            .collect::<Vec<_>>()
    };
    if names(ours) != names(theirs) {
        return ["names"].into();
    }
    let mut differ = BTreeSet::new();
    for (a, b) in ours.entries.iter().zip(&theirs.entries) {
        for (&field, said) in &b.fields {
            let mine = match field {
                // GNU tar tells names and lengths only.
                "xattrs" if said.contains(':') => &a.fields["lengths"],
                _ => &a.fields[field],
            };
            if mine != said {
                differ.insert(field);
            }
        }
    }
    if theirs.content.is_some() && theirs.content != ours.content {
        differ.insert("content");
    }
    differ
}

#[test]
fn every_disagreement_is_explained() {
    let tools: Vec<_> = readers::TOOLS
        .iter()
        .filter(|tool| readers::have(tool))
        .collect();
    let mut corpus = corpus::by_hand();
    corpus.extend(made::by_tools(&tools));
    let names: BTreeSet<&str> = corpus.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names.len(), corpus.len(), "each case has a name of its own");
    let mut found = BTreeSet::new();
    let mut details = String::new();
    for (case, archive) in &corpus {
        let ours = readers::ours(archive);
        if !case.starts_with("by hand: ") {
            assert!(
                ours.refused.is_none() || case.contains("(refused)"),
                "{case}: {:?}",
                ours.refused
            );
        }
        for tool in &tools {
            let theirs = (tool.read)(archive);
            for what in differences(&ours, &theirs) {
                details += &format!(
                    "\n{case} / {} / {what}\n  {ours:?}\n  {theirs:?}\n",
                    tool.name
                );
                found.insert((case.clone(), tool.name, what));
            }
        }
    }
    let explained: BTreeSet<_> = table::ROWS
        .iter()
        .flat_map(|row| {
            row.tools
                .iter()
                .map(move |tool| (row.case.to_string(), *tool, row.what))
        })
        .filter(|(case, tool, _)| {
            tools.iter().any(|t| t.name == *tool) && names.contains(&case[..])
        })
        .collect();
    let new: Vec<_> = found.difference(&explained).collect();
    let stale: Vec<_> = explained.difference(&found).collect();
    if std::env::var_os("OVL_TEST_DETAILS").is_some() {
        println!("{details}");
    }
    assert!(
        new.is_empty(),
        "not explained (OVL_TEST_DETAILS=1 tells more): {new:#?}"
    );
    assert!(stale.is_empty(), "explained, but they agree: {stale:#?}");
}

/// A row of a case that no longer exists explains nothing.
#[test]
fn the_table_is_about_the_corpus() {
    let corpus = corpus::by_hand();
    for row in table::ROWS
        .iter()
        .filter(|row| row.case.starts_with("by hand: "))
    {
        assert!(
            corpus.iter().any(|(name, _)| name == row.case),
            "{}",
            row.case
        );
        assert!(!row.why.is_empty());
    }
}
