//! Power cuts. A real file system lies on a loop device over a disk that this program serves; the
//! disk remembers every write and every flush. A story is told to a store on it, and then the
//! power goes at one place of the log after another: the disk that is left holds what was flushed,
//! and any part of the rest. It is mounted, and the store on it must hold what was promised.
//!
//! `OVL_POWER_CUTS` sets the number of cuts, `OVL_POWER_SEED` their choice, and
//! `OVL_POWER_ONLY=ext4/apply/SEED/NUMBER` looks at one cut of a log that was kept: that of a story in
//! which something was wrong, or of every one with `OVL_POWER_KEEP`.
//! docs/power-cuts.md has the whole of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;
#[path = "../layer/tar.rs"]
#[allow(dead_code)]
mod tar;

#[path = "../image/make.rs"]
#[allow(dead_code)]
mod make;

mod again;
mod cut;
mod disk;
mod fuse;
mod images;
mod judge;
mod lies;
mod machine;
mod noise;
mod peers;
mod record;
mod rig;
mod scene;
mod scripts;
mod story;
mod tars;
mod trees;

use lies::Lies;
use rig::Run;

/// Cuts of each file system in a quick run.
const QUICK: [(&str, usize); 3] = [("ext4", 240), ("xfs", 36), ("btrfs", 36)];

#[test]
fn nothing_is_lost() {
    require!("root", "overlay", "fuse");
    if std::env::var_os("OVL_POWER_ONLY").is_some() {
        return rig::only();
    }
    let cuts = std::env::var("OVL_POWER_CUTS").ok();
    let cuts: Option<usize> = cuts.map(|cuts| cuts.parse().expect("OVL_POWER_CUTS: a number"));
    let mut wrong = 0;
    for (kind, quick) in QUICK {
        if support::have::or_skip(kind) {
            let count = cuts.map_or(quick, |cuts| cuts.div_ceil(QUICK.len()));
            wrong += Run::new(kind, count).honest().wrong;
        }
    }
    assert_eq!(wrong, 0, "wrong states; each is told above");
}

/// The moment after a container synced a file: it is there, and that the container ran is told.
/// btrfs brings the file through its log alone, without what else was done before.
#[test]
fn a_running_layer_is_told() {
    require!("root", "overlay", "fuse");
    for (kind, _) in QUICK {
        if support::have::or_skip(kind) {
            Run::new(kind, 0).synced();
        }
    }
}

/// The stories again, with syncs that are lies: that must find wrong layers, or it could find none.
#[test]
fn without_syncs_it_is() {
    require!("root", "overlay", "fuse", "ext4");
    for (kind, _) in QUICK {
        if support::have::or_skip(kind) {
            for lies in [Lies::All, Lies::Syncfs, Lies::Fsync] {
                let sum = Run::new(kind, 20).lying(lies);
                // Few cuts fall where only that of a directory counts.
                let seen = sum.wrong > 0 || lies == Lies::Fsync;
                assert!(seen, "{kind}: the rig does not see lost syncs");
            }
        }
    }
}

/// Other stores, for comparison; asked for by `make power-peers`.
#[test]
#[ignore = "a comparison, and no test of the library"]
fn peers() {
    require!("root", "fuse");
    let cuts = std::env::var("OVL_POWER_CUTS").map_or(100, |cuts| cuts.parse().unwrap());
    for (kind, _) in QUICK {
        if support::have::or_skip(kind) {
            peers::all(kind, cuts, 1);
        }
    }
}

/// The disk sees each write and each flush of a device above it as it is made.
#[test]
fn the_disk_sees_flushes() {
    require!("root", "fuse");
    rig::flushes();
}
