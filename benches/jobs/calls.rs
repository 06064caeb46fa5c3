//! The calls below a millisecond: in C, in a loop, beside the floor; and the same as commands.

use super::Bench;
use crate::job::{Job, OVL, Run, Target};
use crate::place::Place;
use crate::run::{Line, has, sh};

fn layers(count: u64) -> String {
    if count == 1 {
        "1 layer".to_string()
    } else {
        format!("{count} layers")
    }
}

fn frame<'a>(place: &'a Place, name: String, title: String, runs: Vec<Run<'a>>) -> Job<'a> {
    Job {
        name,
        title,
        kind: place.kind.clone(),
        entries: 1,
        repeat: 1,
        steps: true,
        counted: false,
        before: Box::new(|| sh(&place.dir, "sync -f .")),
        runs,
        targets: Vec::new(),
        left_out: Vec::new(),
    }
}

/// Create, mount, unmount, remove, on chains.
pub fn cycle<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    let mut jobs = Vec::new();
    for chain in &bench.options.chains {
        for how in ["volatile", "synced"] {
            // The first call makes the chain, which later ones find.
            sh(&place.dir, &format!("mkdir -p floor-{chain} store-{chain}"))?;
            let run = |who: &str, program: &str, dir: &str| {
                let words = format!(
                    "{program} {dir}-{chain} {chain} {} {how}",
                    bench.options.cycles
                );
                let layer = place.dir.join(format!("{dir}-{chain}/layer/c"));
                Run::new(
                    who,
                    Line::new(&place.dir, &bench.program(&words)).into(&place.dir.join("steps")),
                )
                .checked(move || match layer.exists() {
                    true => Err("a layer was left".to_string()),
                    false => Ok(()),
                })
            };
            let runs = vec![
                run(OVL, "cycle", "store"),
                run("floor", "floor-cycle", "floor"),
            ];
            let title = format!(
                "create, mount, unmount, remove on {}, {how}",
                layers(*chain)
            );
            let mut job = frame(place, format!("cycle-{chain}-{how}"), title, runs);
            job.targets = vec![Target::new("floor", 1.3, None)];
            jobs.push(job);
        }
    }
    Ok(jobs)
}

/// The same as four commands, beside the store that has such commands too.
pub fn commands<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    if !has("containers-storage") {
        return Err(
            "left out: there is no containers-storage (package containers-storage)".to_string(),
        );
    }
    let mut jobs = Vec::new();
    // Longer chains take it minutes to make, one process a layer.
    for chain in bench.options.chains.iter().filter(|chain| **chain <= 120) {
        let ours = bench.ovl(&format!("--store commands-{chain}"));
        let peer = format!(
            "containers-storage --graph peer-{chain}/graph --run peer-{chain}/run --storage-driver overlay"
        );
        let make = format!(
            "p=; for i in $(seq {chain}); do
                 {ours} create l$i $p; {ours} commit --durability none l$i; p=l$i; done
             p=; for i in $(seq {chain}); do {peer} create-layer --id l$i $p >/dev/null; p=l$i; done"
        );
        sh(&place.dir, &make)?;
        let four = |ours: &str, rm: &str, create: &str| {
            format!("{ours} {create}; {ours} mount c; {ours} unmount c; {ours} {rm} c")
        };
        let line = |script: String| Line::shell(&place.dir, &script);
        let runs = vec![
            Run::new(OVL, line(four(&ours, "rm", &format!("create c l{chain}")))),
            Run::new(
                "containers-storage",
                line(four(
                    &peer,
                    "delete-layer",
                    &format!("create-layer --id c l{chain}"),
                )),
            ),
        ];
        let title = format!("the same as four commands, {}", layers(*chain));
        let mut job = frame(place, format!("commands-{chain}"), title, runs);
        job.steps = false;
        job.repeat = 3;
        jobs.push(job);
    }
    Ok(jobs)
}

/// Open, create and mount in stores with many layers.
pub fn open<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    let layers = &bench.options.layers;
    let who = |at: usize| {
        if at == 0 {
            OVL.to_string()
        } else {
            format!("ovl, {} layers", layers[at])
        }
    };
    let mut runs = Vec::new();
    for (at, count) in layers.iter().enumerate() {
        sh(
            &place.dir,
            &bench.program(&format!("open many-{count} --fill {count}")),
        )?;
        let words = format!("open many-{count} {}", bench.options.cycles);
        let line = Line::new(&place.dir, &bench.program(&words)).into(&place.dir.join("steps"));
        runs.push(Run::new(&who(at), line));
    }
    sh(&place.dir, "sync -f .")?;
    let title = format!("open, create and mount in a store of {} layers", layers[0]);
    let mut job = frame(place, "open".to_string(), title, runs);
    job.targets = (1..layers.len())
        .map(|at| {
            let mut target = Target::new(OVL, 1.05, None);
            target.of = who(at);
            target
        })
        .collect();
    Ok(vec![job])
}
