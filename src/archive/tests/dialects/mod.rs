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

/// How two readings differ, each way in a word; and what is said.
fn differences(ours: &Told, theirs: &Told) -> BTreeMap<&'static str, String> {
    match (&ours.refused, &theirs.refused) {
        (Some(_), Some(_)) => return BTreeMap::new(),
        (Some(why), None) => return [("accepts", why.clone())].into(),
        (None, Some(why)) => return [("refuses", why.clone())].into(),
        (None, None) => {}
    }
    let names = |told: &Told| {
        let name = |seen: &Seen| seen.name.escape_ascii().to_string();
        told.entries.iter().map(name).collect::<Vec<_>>()
    };
    if names(ours) != names(theirs) {
        return [("names", format!("{:?}\n{:?}", names(ours), names(theirs)))].into();
    }
    let mut differ = BTreeMap::<_, String>::new();
    for (a, b) in ours.entries.iter().zip(&theirs.entries) {
        for (&field, said) in &b.fields {
            let mine = &a.fields[field];
            if mine != said {
                let name = a.name.escape_ascii();
                *differ.entry(field).or_default() += &format!("{name}: {mine:?} {said:?}\n");
            }
        }
    }
    if theirs.content.is_some() && theirs.content != ours.content {
        differ.insert("content", String::new());
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
            for (what, said) in differences(&ours, &theirs) {
                details += &format!("\n{case} / {} / {what}\n{said}\n", tool.name);
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
