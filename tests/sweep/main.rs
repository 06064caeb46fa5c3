//! The sweep: every operation is killed at its first, second, third ... system call, and each of
//! its calls fails with every errno that such a call can have, once and from then on. After every
//! such point the store is looked at whole. docs/sweep.md says what must hold.
//!
//! A run does a sample; `OVL_SWEEP=all` does every point (`make sweep`), and
//! `OVL_SWEEP_ONLY='create-copy EIO+:17'` one.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod calls;
mod driver;
mod images;
mod lab;
mod limits;
#[path = "../image/make.rs"]
#[allow(dead_code)]
mod make;
mod ops;
mod point;
mod proof;
#[path = "../layer/tar.rs"]
#[allow(dead_code)]
mod tar;
mod trace;
mod view;

/// A test for the operations whose names begin so.
macro_rules! swept {
    ($($name:ident: $($prefix:literal)+;)+) => {
        $(#[test]
        fn $name() {
            driver::sweep(&[$($prefix),+]);
        })+

        #[test]
        fn every_operation_is_swept() {
            let all = [$($($prefix),+),+];
            for op in ops::all() {
                let tests = all.iter().filter(|prefix| op.name.starts_with(*prefix));
                assert_eq!(tests.count(), 1, "{}", op.name);
            }
        }
    };
}

swept! {
    opens: "open";
    creates: "create";
    applies_a_root: "apply-root" "apply-writable" "apply-usual";
    applies_an_overlay: "apply-overlay" "apply-into";
    applies_what_is_compressed: "apply-gzip" "apply-zstd";
    commits: "commit";
    mounts: "mount";
    unmounts: "unmount";
    removes: "remove";
    cleans_up: "cleanup" "repair";
    compares: "diff" "changes";
    looks: "stat" "list" "check";
    refuses: "refused";
    copies: "copy";
    images: "import" "rmi" "export" "images";
}
