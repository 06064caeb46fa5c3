//! Archives that want out, or in where they have no business: a canary beside the store stays as
//! it is, the errno is the promised one, and a refused layer leaves nothing.
//!
//! The classes of attacks are numbered; a row's name begins with its number, so that "row 51" is
//! found by looking for `"51 `. Every row goes through the store into both kinds; what is taken
//! means the same tree in both.
//!
//! What is not a well-formed archive is EBADMSG. EINVAL is for archives that are well-formed and
//! say what no tree may hold.

mod attributes;
mod bounds;
mod headers;
mod links;
mod memory;
mod names;
mod unprivileged;
mod whiteouts;

use crate::lab::{Lab, Tree, assert_tree};
use crate::support::fsys;
use crate::support::tree::Snapshot;
use crate::tar::{self, *};
use ovl::store::*;
use std::os::unix::fs::symlink as link_to;
use std::path::Path;

/// Something outside that nobody may touch.
pub struct Canary<'a> {
    dir: &'a Path,
    before: Snapshot,
}

impl<'a> Canary<'a> {
    pub fn new(dir: &'a Path) -> Canary<'a> {
        let at = dir.join("canary");
        std::fs::create_dir_all(at.join("sub")).unwrap();
        std::fs::write(at.join("victim"), SECRET).unwrap();
        std::fs::write(at.join("sub/inner"), SECRET).unwrap();
        link_to("victim", at.join("link")).unwrap();
        let before = Snapshot::of(&at);
        Canary { dir, before }
    }
    pub fn path(&self) -> String {
        self.dir.join("canary").to_str().unwrap().to_string()
    }
    #[track_caller]
    pub fn assert(&self, what: &str) {
        let now = Snapshot::of(&self.dir.join("canary"));
        let same = |a: &Snapshot, b: &Snapshot| {
            a.0.iter().all(|(path, node)| {
                // Only our own look touched access times.
                let mut node = node.clone();
                b.0.get(path).is_some_and(|other| {
                    node.atime = other.atime;
                    node == *other
                })
            })
        };
        assert!(
            same(&now, &self.before) && same(&self.before, &now),
            "{what}"
        );
    }
}

/// What the canary's files hold, and nothing else may.
pub const SECRET: &str = "the canary's secret, which is in no layer";

/// The errno of an error, or 0.
pub fn errno(result: ovl::error::Result<LayerInfo>) -> i32 {
    result.map_or_else(|e| e.errno().raw_os_error(), |_| 0)
}

/// One attack: the archive, and the errno that answers it, 0 when it is taken.
pub struct Row {
    what: String,
    tar: Vec<u8>,
    errno: i32,
    /// What the merged tree must be like.
    check: fn(&Tree),
    /// The tree may be looked at by paths.
    shallow: bool,
    options: ApplyOptions<'static>,
}

impl Row {
    /// What the tree must be like where the archive is taken.
    fn check(mut self, check: fn(&Tree)) -> Row {
        self.check = check;
        self
    }
    /// Paths in it are longer than a system call takes.
    fn deep(mut self) -> Row {
        self.shallow = false;
        self
    }
    fn limits(mut self, limits: Limits) -> Row {
        self.options.limits = limits;
        self
    }
}

/// A row of entries.
fn row(what: &str, entries: Vec<Entry>, errno: i32) -> Row {
    raw(what, tar::bytes(&entries), errno)
}

/// A row of bytes.
fn raw(what: &str, tar: Vec<u8>, errno: i32) -> Row {
    Row {
        what: what.into(),
        tar,
        errno,
        check: |_| {},
        shallow: true,
        options: ApplyOptions::default(),
    }
}

/// Applies every row to nothing and to a layer of `lower`, in both kinds. The rows are given the
/// canary's path.
fn run(dir: &Path, lower: &[Entry], rows: impl Fn(&str) -> Vec<Row>) {
    let canary = Canary::new(dir);
    let lab = Lab::new(dir);
    lab.apply("base", "", Kind::Root, &tar::bytes(lower))
        .unwrap();
    for row in rows(&canary.path()) {
        let mut trees = Vec::new();
        for (kind, parent) in [
            (Kind::Root, ""),
            (Kind::Root, "base"),
            (Kind::Overlay, "base"),
        ] {
            let what = format!("{}, {kind:?} over {parent:?}", row.what);
            let got = lab.apply_with("evil", parent, kind, &row.tar, row.options.clone());
            if let Err(error) = &got {
                assert_eq!(error.operation(), "apply", "{what}: {error}");
                assert!(!error.path().is_empty(), "{what}: {error}");
            }
            let said = got.as_ref().err().map(ToString::to_string);
            assert_eq!(errno(got), row.errno, "{what}: {said:?}");
            canary.assert(&what);
            if row.errno != 0 {
                lab.assert_nothing("evil");
                continue;
            }
            if row.shallow {
                let tree = lab.look("evil");
                (row.check)(&tree);
                if !parent.is_empty() {
                    trees.push(tree);
                }
            }
            match lab.try_diff("evil", Against::Parent, DiffFlags::empty()) {
                Ok((diff, _)) => {
                    let leaks = diff.windows(SECRET.len()).any(|w| w == SECRET.as_bytes());
                    assert!(!diff.is_empty() && !leaks, "{what}");
                }
                // What took raised limits to apply has no diff that can be applied without.
                Err(error) => {
                    assert!(row.options.limits.max_path > 16 << 10, "{what}: {error}");
                    assert_eq!(error.errno().raw_os_error(), libc::EFBIG, "{what}");
                    assert!(error.path().starts_with(b"d/d/d/"), "{what}");
                }
            }
            canary.assert(&format!("{what}, diff"));
            lab.remove("evil");
            canary.assert(&format!("{what}, remove"));
        }
        if let [root, overlay] = &trees[..] {
            assert_tree(&format!("{}, both kinds", row.what), overlay, root);
        }
    }
}

/// [`run`] on an empty file system of this kind.
fn run_on(kind: &str, lower: &[Entry], rows: impl Fn(&str) -> Vec<Row> + Send) {
    fsys::on(kind, |dir| run(dir, lower, rows));
}
