//! Work without entries can be stopped too: data that is passed over, what follows an archive, content
//! that is compared.

use crate::fail::lab;
use crate::support::fsys;
use crate::tar::{self, block};
use ovl::archive::Source;
use ovl::error::{Errno, Result};
use ovl::store::*;
use ovl::watch::{Progress, Watch};
use std::os::unix::fs::FileExt;

/// Some bytes, and then zeros, as many as anyone wants; counts them.
struct Zeros<'a>(&'a [u8], u64);

impl Source for Zeros<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        if !self.0.is_empty() {
            return self.0.read(buf);
        }
        buf.fill(0);
        self.1 += buf.len() as u64;
        Ok(buf.len())
    }
}

const ENOUGH: u64 = 16 << 20;

/// Stops a call that has done so much, as it says itself.
fn stop(progress: &Progress) -> i32 {
    i32::from(progress.bytes >= ENOUGH)
}

#[test]
fn data_that_nobody_wants_can_be_stopped() {
    require!("root", "tmpfs");
    let size = 64 << 30;
    let whiteout = block(b".wh.x", b'0', [0o644, 0, 0, size - 4096], (0, 0));
    let aufs = block(b".wh..wh.plnk/1", b'0', [0o644, 0, 0, size - 4096], (0, 0));
    let ended = tar::bytes(&[tar::dir("d")]);
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        for (what, begin) in [("whiteout", whiteout), ("aufs", aufs), ("the end", ended)] {
            let mut source = Zeros(&begin, 0);
            let mut go = stop;
            let mut watch = Watch::new(None, Some(&mut go));
            let options = ApplyOptions::default();
            let error = lab
                .store
                .apply(b"x", &mut source, &options, &mut watch)
                .unwrap_err();
            assert_eq!(error.errno(), Errno::CANCELED, "{what}: {error}");
            // Progress is told every 4 MiB, and at most ten times a second.
            assert!(source.1 < 16 << 30, "{what}: {} bytes", source.1);
            lab.assert_nothing("x");
        }
    });
}

#[test]
fn a_comparison_of_equal_content_can_be_stopped() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        let hole = [
            tar::record(b"GNU.sparse.map", b"0,1"),
            tar::record(b"GNU.sparse.numblocks", b"1"),
            tar::record(b"GNU.sparse.name", b"hole"),
            tar::record(b"GNU.sparse.size", b"8589934592"),
        ]
        .concat();
        let layer = [
            block(b"meta", b'x', [0o644, 0, 0, hole.len() as u64], (0, 0)),
            tar::padded(&hole),
            block(b"hole", b'0', [0o644, 0, 0, 1], (0, 0)),
            tar::padded(b"x"),
            vec![0; 1024],
        ]
        .concat();
        lab.apply("holes", "base", Kind::Root, &layer).unwrap();
        lab.create("box", "holes");
        // Equal to the one below, and another inode.
        let copy = lab.home.join("layer/box/upper/hole");
        let below = std::fs::metadata(lab.home.join("layer/holes/root/hole")).unwrap();
        let file = std::fs::File::create(&copy).unwrap();
        file.set_len(below.len()).unwrap();
        file.write_all_at(b"x", 0).unwrap();
        file.set_permissions(below.permissions()).unwrap();
        file.set_modified(below.modified().unwrap()).unwrap();
        let mut go = stop;
        let mut watch = Watch::new(None, Some(&mut go));
        let (against, options) = (Against::Parent, DiffOptions::default());
        let mut sink = Vec::new();
        let error = lab
            .store
            .diff(b"box", against, &mut sink, &options, &mut watch)
            .unwrap_err();
        assert_eq!(error.errno(), Errno::CANCELED, "{error}");
        lab.remove("box");
    });
}
