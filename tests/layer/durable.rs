//! A long apply that is to be on the disk in the end is written while it goes on.

use crate::lab::Lab;
use crate::support::{fsys, threads_named};
use crate::tar;
use ovl::archive::Source;
use ovl::error::{Errno, Error, Result};
use ovl::store::*;
use ovl::watch::Watch;

/// A tar that is read in pieces; whether there was a thread that syncs before its end.
struct Watched<'a> {
    tar: &'a [u8],
    fails: bool,
    seen: bool,
}

impl Source for Watched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        self.seen |= threads_named("ovl-sync") > 0;
        if self.fails && self.tar.len() < 1 << 20 {
            return Err(Error::sys(Errno::IO, "read"));
        }
        self.tar.read(buf)
    }
}

#[test]
fn a_durable_apply_is_written_meanwhile() {
    require!("root", "ext4");
    fsys::on("ext4", |dir| {
        let lab = Lab::new(dir);
        let data = "0123456789abcdef".repeat(1 << 17);
        let files = |count: usize| {
            let file = |n| tar::file(&format!("f{n}"), &data);
            tar::bytes(&(0..count).map(file).collect::<Vec<_>>())
        };
        // By itself after 32 MiB, always at once.
        let (long, short) = (files(20), files(10));
        let apply = |tar: &[u8], durability, threads, fails| {
            let options = ApplyOptions {
                durability,
                threads,
                ..ApplyOptions::default()
            };
            let mut source = Watched {
                tar,
                fails,
                seen: false,
            };
            let done = lab
                .store
                .apply(b"x", &mut source, &options, &mut Watch::default());
            assert_eq!(threads_named("ovl-sync"), 0);
            match done {
                Ok(_) => lab.remove("x"),
                Err(error) => {
                    assert!(fails && error.errno() == Errno::IO, "{error}");
                    lab.assert_nothing("x");
                }
            }
            source.seen
        };
        let auto = Threads::Auto;
        if std::thread::available_parallelism().unwrap().get() > 1 {
            assert!(apply(&long, Durability::Full, auto, false));
            assert!(apply(&long, Durability::Default, auto, false));
        }
        assert!(!apply(&short, Durability::Full, auto, false));
        assert!(apply(&short, Durability::Full, Threads::Always, false));
        assert!(apply(&short, Durability::Full, Threads::Always, true));
        assert!(!apply(&long, Durability::None, Threads::Always, false));
        assert!(!apply(&long, Durability::Full, Threads::Never, false));
    });
}
