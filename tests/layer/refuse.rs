//! What is no layer is refused whole: cut archives, wrong digests, places that are taken.

use crate::hostile::errno;
use crate::lab::Lab;
use crate::support::fsys;
use crate::tar::{self, *};
use ovl::archive::Digest;
use ovl::store::*;
use ovl::watch::Watch;

/// Every cut of an archive is an error, except right after an entry; no layer comes of it.
#[test]
fn a_cut_archive_makes_no_layer() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&[tar::dir("d")]))
            .unwrap();
        let layer = [
            tar::dir("d"),
            file("d/f", &"x".repeat(1300)).xattr("user.k", b"v"),
            symlink("l", "d"),
            hard("h", "d/f"),
        ];
        let whole = tar::bytes(&layer);
        let mut ends = vec![0];
        for n in 1..=layer.len() {
            ends.push(layer[..n].iter().map(|e| tar::bytes_of(e).len()).sum());
        }
        let cuts = (0..whole.len())
            .step_by(512)
            .chain((1..whole.len()).step_by(373));
        for cut in cuts {
            for (kind, parent) in [(Kind::Root, ""), (Kind::Overlay, "base")] {
                let got = errno(lab.apply("cut", parent, kind, &whole[..cut]));
                // The end marker may be short, or missing.
                let fits = ends.contains(&cut) || cut >= ends[layer.len()] && cut % 512 == 0;
                assert_eq!(got, if fits { 0 } else { libc::EBADMSG }, "cut at {cut}");
                if got == 0 {
                    lab.remove("cut");
                } else {
                    lab.assert_nothing("cut");
                }
            }
        }
    });
}

#[test]
fn a_wrong_digest_makes_no_layer() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&[])).unwrap();
        let right = tar::bytes(&[file("f", "f")]);
        let options = || ApplyOptions {
            diff_id: Some(Digest::of(&right)),
            ..ApplyOptions::default()
        };
        let wrong = tar::bytes(&[file("f", "g")]);
        lab.create("there", "base");
        for kind in [Kind::Root, Kind::Overlay] {
            let mut trailing = right.clone();
            trailing.extend([1; 512]);
            for bad in [&wrong, &trailing] {
                assert_eq!(
                    errno(lab.apply_with("x", "base", kind, bad, options())),
                    libc::EBADMSG
                );
                lab.assert_nothing("x");
                assert_eq!(
                    errno(lab.apply_with("there", "base", kind, bad, options())),
                    libc::EBADMSG
                );
                assert_eq!(lab.store.stat(b"there").unwrap().state, State::Writable);
                assert_eq!(lab.look("there").len(), 1);
            }
            assert_eq!(
                errno(lab.apply_with("x", "base", kind, &right, options())),
                0
            );
            lab.remove("x");
        }
    });
}

#[test]
fn a_layer_that_is_there_must_be_empty_and_writable() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        let tar = tar::bytes(&[file("f", "f")]);
        lab.apply("base", "", Kind::Root, &tar::bytes(&[tar::dir("d")]))
            .unwrap();
        lab.create("c", "base");
        let into = |id: &str| {
            let mut source = &tar[..];
            lab.store.apply(
                id.as_bytes(),
                &mut source,
                &ApplyOptions::default(),
                &mut Watch::default(),
            )
        };
        let mount = lab.mount("c", MountFlags::empty());
        assert_eq!(errno(into("c")), libc::EBUSY);
        crate::lab::end(mount);
        into("c").unwrap();
        assert_eq!(lab.look("c")[&b"f"[..]].data, b"f");
        assert_eq!(errno(into("c")), libc::EROFS);
        lab.create("full", "base");
        lab.change("full", |at| {
            std::fs::write(at.join("d/own"), "own").unwrap()
        });
        let before = lab.look("full");
        assert_eq!(errno(into("full")), libc::ENOTEMPTY);
        assert_eq!(lab.look("full"), before);
        assert_eq!(
            errno(lab.apply("orphan", "none", Kind::Root, &tar)),
            libc::ENOENT
        );
        lab.assert_nothing("orphan");
    });
}
