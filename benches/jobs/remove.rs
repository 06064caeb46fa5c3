//! Removing the large tree: until it is gone from the store, and until its space is back.

use super::Bench;
use crate::job::{Job, OVL, Run, Target};
use crate::place::Place;
use crate::run::{Line, sh};
use std::path::Path;

/// Until it is gone: the call against the same kernel calls, and against itself on a small layer.
pub fn gone<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    let large = bench.inputs.tree_tar()?;
    let little = bench.inputs.little()?;
    let ovl = bench.options.ovl.display();
    // An upper of that many entries over an empty layer. The first transaction after so many others clears
    // the journal behind it, which is not the removal's work: `settled` has that done.
    let layer = "mkdir -p empty; tar -C empty -cf empty.tar .
        \"$OVL\" --store a apply base --durability none empty.tar
        \"$OVL\" --store a apply x --parent base --kind overlay --durability none \"$TAR\"
        sync -f .; rm -f settled; : >settled; sync settled; sync -f .";
    let with = |tar: &Path| format!("OVL={ovl} TAR={}; {layer}", tar.display());
    let out = place.dir.join("steps");
    let run = |who: &str, program: &str, tar: &Path| {
        let line = Line::new(&place.dir, &bench.program(program)).into(&out);
        let make = with(tar);
        Run::new(who, line)
            .after(move || sh(&place.dir, &make))
            .checked(|| is_gone(&place.dir))
    };
    let small = format!("ovl, {} entries", little.digest.entries);
    let mut constant = Target::new(&small, 1.5, None);
    constant.of = OVL.to_string();
    Ok(vec![Job {
        name: "remove-gone".to_string(),
        title: format!("remove until it is gone, {} entries", large.digest.entries),
        kind: place.kind.clone(),
        entries: large.digest.entries,
        repeat: 1,
        steps: true,
        counted: false,
        before: Box::new(|| sh(&place.dir, "rm -rf a; sync -f .")),
        runs: vec![
            run(OVL, "remove a", &large.file),
            run("floor", "floor-remove a", &large.file),
            run(&small, "remove a", &little.file),
        ],
        targets: vec![Target::new("floor", 1.5, None), constant],
        left_out: Vec::new(),
    }])
}

fn is_gone(dir: &Path) -> Result<(), String> {
    match dir.join("a/layer/x").exists() {
        true => Err("the layer is still there".to_string()),
        false => Ok(()),
    }
}

/// Until the space is back: the tool against `rm -rf` of the same tree, and the floor.
pub fn space<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    let archive = bench.inputs.tree_tar()?;
    let make = format!(
        "rm -rf a; {}; sync -f .",
        bench.ovl(&format!(
            "--store a apply x --durability none {}",
            archive.file.display()
        ))
    );
    let dir = &place.dir;
    Ok(vec![Job {
        name: "remove-space".to_string(),
        title: format!(
            "remove until the space is back, {} entries",
            archive.digest.entries
        ),
        kind: place.kind.clone(),
        entries: archive.digest.entries,
        repeat: 1,
        steps: false,
        counted: true,
        before: Box::new(move || sh(dir, &make)),
        runs: vec![
            Run::new(OVL, Line::new(dir, &bench.ovl("--store a rm x")))
                .checked(|| sh(dir, "test ! -e a/layer/x && test -z \"$(ls a/trash)\"")),
            Run::new("rm -rf", Line::new(dir, "rm -rf a/layer/x/root"))
                .checked(|| sh(dir, "test ! -e a/layer/x/root")),
            bench
                .floor(place, "floor-rmtree a/layer/x/root")
                .checked(|| sh(dir, "test ! -e a/layer/x/root")),
        ],
        targets: vec![
            Target::new("rm -rf", 0.65, Some(0.95)),
            Target::new("floor", 1.10, Some(1.10)),
        ],
        left_out: Vec::new(),
    }])
}
