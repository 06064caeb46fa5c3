//! The jobs: one for each line of the table in docs/performance.md.

mod apply;
mod calls;
mod clone;
mod daemon;
mod diff;
mod remove;

use crate::digest::{self, Scope, TreeDigest};
use crate::inputs::Inputs;
use crate::job::{Job, Run};
use crate::options::Options;
use crate::place::Place;
use crate::run::{Line, sh};
use std::path::{Path, PathBuf};

/// What every job is built from.
pub struct Bench<'a> {
    /// Sizes.
    pub options: &'a Options,
    /// Trees and tars.
    pub inputs: &'a Inputs<'a>,
    /// The programs of floors/ and calls/, compiled.
    pub programs: PathBuf,
}

type Build = for<'a> fn(&'a Bench<'a>, &'a Place) -> Result<Vec<Job<'a>>, String>;

/// A job of the table: its name, the file systems that it is about, what makes it.
pub struct Entry {
    /// What JOBS= names.
    pub name: &'static str,
    /// On these file systems.
    pub kinds: &'static [&'static str],
    /// Only root can do it.
    pub root: bool,
    /// Makes it.
    pub build: Build,
}

/// All of them, in the order of the report.
pub const ALL: &[Entry] = &[
    entry("clone-hardlink", &["ext4"], clone::hard_link),
    entry("clone-content", &["ext4"], clone::content),
    entry("clone-reflink", &["xfs"], clone::reflink),
    entry("apply-tar", &["tmpfs", "ext4"], apply::plain),
    entry("apply-tar-synced", &["ext4", "xfs"], apply::plain_synced),
    entry("apply-gz", &["ext4"], apply::gzip),
    entry("apply-gz-synced", &["ext4", "xfs"], apply::gzip_synced),
    entry("apply-zst", &["ext4"], apply::zstd),
    entry("apply-zst-synced", &["ext4", "xfs"], apply::zstd_synced),
    root_only("diff-many", &["ext4"], diff::many),
    root_only("diff-one", &["ext4"], diff::one),
    root_only("cycle", &["ext4", "tmpfs"], calls::cycle),
    root_only("commands", &["ext4"], calls::commands),
    root_only("remove-gone", &["ext4"], remove::gone),
    entry("remove-space", &["ext4"], remove::space),
    root_only("open", &["ext4"], calls::open),
];

const fn entry(name: &'static str, kinds: &'static [&'static str], build: Build) -> Entry {
    Entry {
        name,
        kinds,
        root: false,
        build,
    }
}

const fn root_only(name: &'static str, kinds: &'static [&'static str], build: Build) -> Entry {
    Entry {
        name,
        kinds,
        root: true,
        build,
    }
}

impl Bench<'_> {
    /// `ovl` with these words.
    fn ovl(&self, words: &str) -> String {
        format!("{} {words}", self.options.ovl.display())
    }

    /// A program of floors/ (`floor-NAME`) or calls/ with these words.
    fn program(&self, words: &str) -> String {
        format!("{}/{words}", self.programs.display())
    }

    /// A floor over a whole tree, with as many threads as libovl would run on two processors.
    fn floor(&self, place: &Place, words: &str) -> Run<'_> {
        Run::new(
            "floor",
            Line::new(&place.dir, &self.program(&format!("{words} 2"))),
        )
    }

    /// The large tree on `place`, whose own files a clone by links needs, and its digest.
    fn tree_on(&self, place: &Place) -> Result<(PathBuf, TreeDigest), String> {
        let from = self.inputs.tree()?;
        let to = place.dir.join("tree");
        if !to.exists() {
            sh(
                &place.dir,
                &format!("cp -a '{}' tree; sync -f .", from.display()),
            )?;
        }
        let digest = self.inputs.digest("tree", &from)?;
        same(&to, &from, &digest).map_err(|e| format!("cp -a to {}: {e}", place.kind))?;
        Ok((to, digest))
    }
}

/// Ok when the tree at `got` is the one of this digest, which is still at `wanted`.
fn same(got: &Path, wanted: &Path, digest: &TreeDigest) -> Result<(), String> {
    if digest::of(got, Scope::All)? == *digest {
        return Ok(());
    }
    Err(digest::difference(got, wanted, Scope::All)?)
}

/// Ok when the two trees are the same, as far as is looked at.
fn same_as_far(scope: Scope, got: &Path, wanted: &Path) -> Result<(), String> {
    if digest::of(got, scope)? == digest::of(wanted, scope)? {
        return Ok(());
    }
    Err(digest::difference(got, wanted, scope)?)
}

/// The one path that a pattern stands for.
fn only(dir: &Path, pattern: &str) -> Result<PathBuf, String> {
    let found = crate::run::ask(&format!("ls -d '{}'/{pattern}", dir.display()));
    match found.lines().collect::<Vec<_>>().as_slice() {
        [one] => Ok(PathBuf::from(one)),
        all => Err(format!(
            "{}/{pattern}: there are {}",
            dir.display(),
            all.len()
        )),
    }
}
