//! Continuity's own suite for what tells and applies layers, in `fstest_test.go`.

use crate::peer::{alone, go, program};
use crate::support::{fsys, have};
use std::path::Path;

#[test]
fn the_suite_for_appliers_passes_in_both_kinds() {
    require!("root", "overlay");
    let _one = alone();
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/ovl");
    assert!(tool.is_file(), "{} is not there: run make", tool.display());
    if program().is_none() {
        return;
    }
    let mut go = go().unwrap();
    fsys::with_mounts(|dir| {
        go.args(["test", "-count=1", "."])
            .env("OVL", &tool)
            .env("TMPDIR", dir);
        have::run(&mut go).unwrap();
    });
}
