//! A concurrent writer in the stage.

use crate::hostile::Canary;
use crate::lab::Lab;
use crate::support::fsys;
use crate::tar::{self, *};
use ovl::store::Kind;
use std::os::unix::fs::{MetadataExt, symlink as link_to};

/// Somebody who may write into the stage swaps directories and links while the tar is applied.
#[test]
fn swaps_in_the_stage_lead_nowhere_outside() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let canary = Canary::new(dir);
        let lab = Lab::new(dir);
        let mut layer = Vec::new();
        for n in 0..300 {
            layer.push(tar::dir("d").mode(0o700 + n % 8));
            layer.push(tar::dir("d/sub"));
            layer.push(file(&format!("d/sub/f{n}"), "x").owner(7, 7));
            layer.push(file("d/victim", "overwritten").mode(0o666));
            layer.push(hard("d/sub/h", "d/victim"));
        }
        let tar = tar::bytes(&layer);
        let done = std::sync::atomic::AtomicBool::new(false);
        let swaps = std::sync::atomic::AtomicU64::new(0);
        let order = std::sync::atomic::Ordering::Relaxed;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let stage = dir.join("home/stage");
                while !done.load(order) {
                    for work in std::fs::read_dir(&stage).unwrap().flatten() {
                        let root = work.path().join("root");
                        let _ = link_to(canary.path(), root.join("swap"));
                        let exchange = rustix::fs::RenameFlags::EXCHANGE;
                        let at = rustix::fs::CWD;
                        for name in ["d", "d/sub"] {
                            if rustix::fs::renameat_with(
                                at,
                                root.join("swap"),
                                at,
                                root.join(name),
                                exchange,
                            )
                            .is_ok()
                            {
                                swaps.fetch_add(1, order);
                                std::thread::yield_now();
                                let _ = rustix::fs::renameat_with(
                                    at,
                                    root.join("swap"),
                                    at,
                                    root.join(name),
                                    exchange,
                                );
                            }
                        }
                    }
                }
            });
            for round in 0..40 {
                let made = lab.apply("raced", "", Kind::Root, &tar);
                canary.assert(&format!("round {round}"));
                if made.is_ok() {
                    lab.remove("raced");
                    canary.assert(&format!("round {round}, removed"));
                }
            }
            done.store(true, order);
        });
        assert!(swaps.load(order) > 100, "only {} swaps", swaps.load(order));
        assert_eq!(
            std::fs::metadata(dir.join("canary/victim"))
                .unwrap()
                .nlink(),
            1
        );
    });
}
