//! What fails comes out: the errno, the path, and no layer left. Sources that fail or lie, archives
//! cut or changed anywhere, sinks that fail.

use crate::lab::{Lab, threads};
use crate::support::fsys;
use crate::tar::{self, *};
use ovl::archive::{Digest, Sink, Source};
use ovl::error::{Errno, Error, Result};
use ovl::store::*;
use ovl::watch::Watch;
use std::path::Path;

pub const KINDS: [(Kind, &str); 2] = [(Kind::Root, ""), (Kind::Overlay, "base")];

pub fn lab(dir: &Path) -> Lab {
    let lab = Lab::new(dir);
    let base = [tar::dir("d"), file("d/below", "below"), tar::dir("e")];
    lab.apply("base", "", Kind::Root, &tar::bytes(&base))
        .unwrap();
    lab
}

/// A little of everything, in several dialects.
fn layer() -> Vec<u8> {
    let plain = tar::bytes(&[
        tar::dir("d").mode(0o711),
        file("d/f", &"x".repeat(700)).xattr("user.k", b"v"),
        symlink("l", "d"),
        hard("h", "d/f"),
        gone("d/below"),
        opaque("e"),
        fifo("p"),
    ]);
    let long = [b'n'; 120];
    let sparse: Vec<u8> = [
        record(b"GNU.sparse.map", b"2,2,6,1"),
        record(b"GNU.sparse.numblocks", b"2"),
        record(b"GNU.sparse.name", b"s"),
        record(b"GNU.sparse.size", b"10"),
    ]
    .concat();
    [
        &plain[..plain.len() - 1024],
        &block(b"long", b'L', [0o644, 0, 0, 120], (0, 0)),
        &padded(&long),
        &block(b"short", b'0', [0o644, 0, 0, 3], (0, 0)),
        &padded(b"abc"),
        &block(b"meta", b'x', [0o644, 0, 0, sparse.len() as u64], (0, 0)),
        &padded(&sparse),
        &block(b"x", b'0', [0o644, 0, 0, 3], (0, 0)),
        &padded(b"abc"),
        &[0; 1024],
    ]
    .concat()
}

/// The layer as it is, and compressed.
fn forms() -> [(&'static str, Vec<u8>); 3] {
    let whole = layer();
    let packed = |program| crate::stream::pack(program, &whole);
    [
        ("plain", whole.clone()),
        ("gzip", packed("gzip")),
        ("zstd", packed("zstd")),
    ]
}

fn apply(lab: &Lab, kind: Kind, parent: &str, source: &mut dyn Source) -> Result<LayerInfo> {
    let options = ApplyOptions {
        parent: (!parent.is_empty()).then_some(parent.as_bytes()),
        kind: Some(kind),
        durability: Durability::None,
        threads: threads(Threads::Auto),
        ..ApplyOptions::default()
    };
    lab.store
        .apply(b"x", source, &options, &mut Watch::default())
}

/// What a source does at its n-th read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trick {
    Fail(Errno),
    TooMuch,
    End,
}

/// Gives a few bytes at a time.
struct Tricky<'a> {
    data: &'a [u8],
    left: usize,
    trick: Trick,
}

impl Source for Tricky<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        if self.left == 0 {
            return match self.trick {
                Trick::Fail(errno) => Err(Error::sys(errno, "read")),
                Trick::TooMuch => Ok(buf.len() + 1),
                Trick::End => Ok(0),
            };
        }
        self.left -= 1;
        let n = self.data.len().min(buf.len()).min(97);
        buf[..n].copy_from_slice(&self.data[..n]);
        self.data = &self.data[n..];
        Ok(n)
    }
}

#[test]
fn a_source_that_fails_at_any_read_makes_no_layer() {
    require!("root", "overlay", "tmpfs", "gzip", "zstd");
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        let tricks = [
            (Trick::Fail(Errno::IO), libc::EIO),
            (Trick::Fail(Errno::INTR), libc::EINTR),
            (Trick::Fail(Errno::AGAIN), libc::EAGAIN),
            (Trick::TooMuch, libc::EINVAL),
        ];
        for (form, blob) in forms() {
            // One more read tells the end.
            for read in 0..=blob.len().div_ceil(97) {
                for (trick, wanted) in tricks {
                    for (kind, parent) in KINDS {
                        let mut source = Tricky {
                            data: &blob,
                            left: read,
                            trick,
                        };
                        let what = format!("{form}, {kind:?}, read {read}, {trick:?}");
                        let error = apply(&lab, kind, parent, &mut source).unwrap_err();
                        assert_eq!(error.errno().raw_os_error(), wanted, "{what}: {error}");
                        assert!(
                            !error.path().is_empty() && error.operation() == "apply",
                            "{what}"
                        );
                        lab.assert_nothing("x");
                    }
                }
            }
            let mut whole = Tricky {
                data: &blob,
                left: usize::MAX,
                trick: Trick::End,
            };
            apply(&lab, Kind::Overlay, "base", &mut whole).unwrap();
            lab.remove("x");
        }
    });
}

#[test]
fn a_stream_cut_at_any_byte_makes_no_layer() {
    require!("root", "overlay", "tmpfs", "gzip", "zstd");
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        for (form, blob) in forms() {
            let wanted = Digest::of(&layer());
            for cut in 1..blob.len() {
                let (kind, parent) = KINDS[cut % 2];
                let what = format!("{form}, {kind:?}, cut at {cut}");
                match apply(&lab, kind, parent, &mut &blob[..cut]) {
                    Err(error) => {
                        assert_eq!(error.errno(), Errno::BADMSG, "{what}: {error}");
                        lab.assert_nothing("x");
                    }
                    Ok(info) => {
                        // Where an entry is complete a tar may end; nothing that is compressed may.
                        assert!(form == "plain" && cut % 512 == 0, "{what}");
                        assert_ne!(info.diff_id, Some(wanted));
                        lab.remove("x");
                    }
                }
            }
        }
    });
}

#[test]
fn a_flipped_bit_is_an_error_or_changes_nothing() {
    require!("root", "overlay", "tmpfs", "gzip", "zstd");
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        let wanted = Digest::of(&layer());
        let [(_, plain), gzip, zstd] = forms();
        apply(&lab, Kind::Overlay, "base", &mut &plain[..]).unwrap();
        let tree = lab.look("x");
        lab.remove("x");
        // Two headers (between them is data, which a tar has no checksum for), and all of what is
        // compressed: every bit.
        for (form, blob, bytes) in [
            ("plain", plain.clone(), (0..512).chain(1024..1536)),
            (gzip.0, gzip.1.clone(), (0..gzip.1.len()).chain(0..0)),
            (zstd.0, zstd.1.clone(), (0..zstd.1.len()).chain(0..0)),
        ] {
            let (mut refused, mut taken) = (0, 0);
            for at in bytes {
                for bit in 0..8 {
                    let mut blob = blob.clone();
                    blob[at] ^= 1 << bit;
                    let (kind, parent) = KINDS[(at + bit) % 2];
                    let what = format!("{form}, {kind:?}, bit {bit} of byte {at}");
                    match apply(&lab, kind, parent, &mut &blob[..]) {
                        Err(_) => {
                            refused += 1;
                            lab.assert_nothing("x");
                        }
                        Ok(info) => {
                            taken += 1;
                            // A plain tar's bytes are what is hashed; its meaning is the same.
                            assert!(form == "plain" || info.diff_id == Some(wanted), "{what}");
                            if form == "plain" && kind == Kind::Overlay {
                                crate::lab::assert_tree(&what, &lab.look("x"), &tree);
                            }
                            lab.remove("x");
                        }
                    }
                }
            }
            println!("{form}: {refused} refused, {taken} taken");
            assert!(
                refused > 10 * taken,
                "{form}: {refused} refused, {taken} taken"
            );
        }
    });
}

/// Fails at its n-th write.
struct Broken {
    left: usize,
    errno: Errno,
    data: Vec<u8>,
}

impl Sink for Broken {
    fn write_all(&mut self, buf: &[u8]) -> Result<()> {
        if self.left == 0 {
            return Err(Error::sys(self.errno, "write"));
        }
        self.left -= 1;
        self.data.extend_from_slice(buf);
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_at_any_write_ends_the_diff() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        let big = [
            file("d/a", &"a".repeat(800_000)),
            file("d/b", &"b".repeat(800_000)),
        ];
        lab.apply("x", "base", Kind::Overlay, &tar::bytes(&big))
            .unwrap();
        let whole = lab.diff("x", Against::Parent);
        let mut n = 0;
        loop {
            let mut failed = false;
            for errno in [Errno::PIPE, Errno::NOSPC, Errno::IO] {
                let mut sink = Broken {
                    left: n,
                    errno,
                    data: Vec::new(),
                };
                let watch = &mut Watch::default();
                match lab.store.diff(
                    b"x",
                    Against::Parent,
                    &mut sink,
                    &DiffOptions::default(),
                    watch,
                ) {
                    Ok(_) => assert_eq!(sink.data, whole),
                    Err(error) => {
                        assert_eq!((error.errno(), error.operation()), (errno, "diff"));
                        assert!(whole.starts_with(&sink.data));
                        failed = true;
                    }
                }
            }
            if !failed {
                break;
            }
            n += 1;
        }
        assert!(n > 4, "{n} writes");
    });
}
