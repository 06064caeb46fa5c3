//! Layer tars into a tree, with digests where it is ours.

use super::daemon::Containerd;
use super::{Bench, only, same, same_as_far};
use crate::digest::Scope;
use crate::inputs::{Archive, TAR};
use crate::job::{Job, Run, Target};
use crate::place::Place;
use crate::run::{Line, has, sh};

/// Many small files.
pub fn plain<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    let archive = bench.inputs.small()?;
    let mut tar = Target::new("tar", 0.50, Some(0.80));
    tar.calls = Some(5.0);
    let floor = bench
        .floor(
            place,
            &format!("floor-extract {} b", archive.file.display()),
        )
        .checked({
            let tree = archive.tree.clone();
            move || same_as_far(Scope::Floor, &place.dir.join("b"), &tree)
        });
    let targets = vec![tar, Target::new("floor", 1.39, Some(1.31))];
    let mut jobs = job(bench, place, "apply-tar", "plain tar", archive, "", targets)?;
    if let Some(job) = jobs.first_mut() {
        job.runs.push(floor);
    }
    Ok(jobs)
}

/// The same with the default durability.
pub fn plain_synced<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    synced(
        bench,
        place,
        "apply-tar-synced",
        "plain tar",
        bench.inputs.small()?,
        "",
    )
}

/// Mixed content, gzip.
pub fn gzip<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    let archive = bench.inputs.packed("gzip")?;
    let targets = vec![
        Target::new("tar", 0.50, Some(0.65)),
        Target::new("containerd", 0.60, None),
        Target::new("containers-storage", 0.50, None),
    ];
    job(bench, place, "apply-gz", "tar.gz", archive, " -z", targets)
}

/// The same with the default durability.
pub fn gzip_synced<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    synced(
        bench,
        place,
        "apply-gz-synced",
        "tar.gz",
        bench.inputs.packed("gzip")?,
        " -z",
    )
}

/// Mixed content, zstd.
pub fn zstd<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    let archive = bench.inputs.packed("zstd")?;
    let targets = vec![Target::new("tar", 0.60, Some(0.90))];
    job(
        bench,
        place,
        "apply-zst",
        "tar.zst",
        archive,
        " --zstd",
        targets,
    )
}

/// The same with the default durability.
pub fn zstd_synced<'a>(bench: &'a Bench<'a>, place: &'a Place) -> Result<Vec<Job<'a>>, String> {
    synced(
        bench,
        place,
        "apply-zst-synced",
        "tar.zst",
        bench.inputs.packed("zstd")?,
        " --zstd",
    )
}

/// A store and a directory, new and empty; what the peers left is gone, their mounts too.
const BEFORE: &str = "umount c/graph/overlay 2>/dev/null || :; rm -rf a b c; mkdir b; OVL --store a create probe; OVL --store a rm probe; sync -f .";

fn frame<'a>(
    bench: &'a Bench<'a>,
    place: &'a Place,
    name: &str,
    title: String,
    archive: &Archive,
    ours: &str,
) -> Job<'a> {
    let before = BEFORE.replace("OVL", &bench.options.ovl.display().to_string());
    let ours = bench.ovl(&format!(
        "--store a apply x{ours} {}",
        archive.file.display()
    ));
    let run = Run::new("ovl", Line::new(&place.dir, &ours));
    Job {
        name: name.to_string(),
        title,
        kind: place.kind.clone(),
        entries: archive.digest.entries,
        repeat: 1,
        steps: false,
        counted: false,
        before: Box::new(move || sh(&place.dir, &before)),
        runs: vec![run.checked(check(place, archive, "a/layer/x/root"))],
        targets: Vec::new(),
        left_out: Vec::new(),
    }
}

/// What is at `path`, a pattern, must be what the archive holds.
fn check(
    place: &Place,
    archive: &Archive,
    path: &'static str,
) -> impl Fn() -> Result<(), String> + use<> {
    let (dir, archive) = (place.dir.clone(), archive.clone());
    move || same(&only(&dir, path)?, &archive.tree, &archive.digest)
}

fn job<'a>(
    bench: &'a Bench<'a>,
    place: &'a Place,
    name: &str,
    what: &str,
    archive: Archive,
    packed: &str,
    targets: Vec<Target>,
) -> Result<Vec<Job<'a>>, String> {
    let title = format!("apply {what}, {} entries", archive.digest.entries);
    let mut job = frame(bench, place, name, title, &archive, " --durability none");
    let file = archive.file.display();
    let tar = format!("{TAR}{packed} -xpf {file} -C b");
    let mut peers = vec![("tar", "tar", tar, "b")];
    peers.push((
        "bsdtar",
        "bsdtar",
        format!("bsdtar --acls --xattrs -xpf {file} -C b"),
        "b",
    ));
    // The store of podman and buildah by itself; its layer is a directory of its overlay driver.
    let storage = format!(
        "containers-storage --graph c/graph --run c/run --storage-driver overlay import-layer -f {file}"
    );
    peers.push((
        "containers-storage",
        "containers-storage",
        storage,
        "c/graph/overlay/*/diff",
    ));
    for (who, program, words, result) in peers {
        // This one mounts.
        if has(program) && (who != "containers-storage" || crate::place::private()) {
            let run = Run::new(who, Line::new(&place.dir, &words));
            job.runs.push(run.checked(check(place, &archive, result)));
        }
    }
    job.counted = true;
    job.targets = targets;
    if has("buildah") && crate::place::private() {
        job.runs.push(buildah(place, &archive));
    }
    if packed == " -z" && has("umoci") {
        let told = umoci(place, &archive, &mut job);
        job.left_out
            .extend(told.err().map(|why| format!("umoci: {why}")));
    }
    if packed == " -z" && Containerd::is_there() {
        let result = "e/root/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs";
        match Containerd::start(place, &archive) {
            Ok(daemon) => job
                .runs
                .push(daemon.run().checked(check(place, &archive, result))),
            Err(why) => job.left_out.push(format!("containerd: {why}")),
        }
    }
    Ok(vec![job])
}

/// buildah adds the layer to a container of nothing, which is there before.
fn buildah<'a>(place: &'a Place, archive: &Archive) -> Run<'a> {
    let buildah = "buildah --root c/graph --runroot c/run --storage-driver overlay";
    let file = archive.file.display();
    let line = format!("{buildah} add -q working-container {file} /");
    Run::new("buildah", Line::new(&place.dir, &line))
        .after(move || sh(&place.dir, &format!("{buildah} from scratch; sync -f .")))
        .checked(check(place, archive, "c/graph/overlay/*/diff"))
}

/// umoci unpacks images: the layer is in one, gzipped by umoci itself.
fn umoci<'a>(place: &'a Place, archive: &Archive, job: &mut Job<'a>) -> Result<(), String> {
    let make = format!(
        "rm -rf oci; umoci init --layout oci; umoci new --image oci:x;
         gzip -dc {} >oci.tar; umoci raw add-layer --image oci:x oci.tar; rm oci.tar",
        archive.file.display()
    );
    sh(&place.dir, &make)?;
    let run = Run::new(
        "umoci",
        Line::new(&place.dir, "umoci raw unpack --image oci:x b/x"),
    );
    job.runs.push(run.checked(check(place, archive, "b/x")));
    Ok(())
}

fn synced<'a>(
    bench: &'a Bench<'a>,
    place: &'a Place,
    name: &str,
    what: &str,
    archive: Archive,
    packed: &str,
) -> Result<Vec<Job<'a>>, String> {
    let title = format!("apply {what}, {} entries, synced", archive.digest.entries);
    let mut job = frame(bench, place, name, title, &archive, "");
    let script = format!(
        "set -f; {TAR}{packed} -xpf {} -C b; sync -f b",
        archive.file.display()
    );
    let run = Run::new("tar + sync", Line::shell(&place.dir, &script));
    job.runs.push(run.checked(check(place, &archive, "b")));
    job.targets = vec![Target::new("tar + sync", 0.75, None)];
    Ok(vec![job])
}
