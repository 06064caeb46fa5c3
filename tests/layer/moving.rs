//! Files and directories that change while they are read.

use crate::fail::lab;
use crate::support::fsys;
use ovl::archive::Sink;
use ovl::error::{Code, Errno, Result};
use ovl::store::*;
use ovl::tree::{CopyFlags, CopyOptions, Reflink, copy_dir};
use ovl::watch::{Progress, Watch};
use rustix::fs::CWD;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Calls something at the first write that carries much.
struct Meddler<F: FnMut()>(Option<F>, usize);

impl<F: FnMut()> Sink for Meddler<F> {
    fn write_all(&mut self, buf: &[u8]) -> Result<()> {
        self.1 += buf.len();
        if self.1 > 100_000 {
            if let Some(mut meddle) = self.0.take() {
                meddle();
            }
        }
        Ok(())
    }
}

/// A diff of what changes meanwhile would be the content of no instant: an error with the path.
#[test]
fn a_diff_of_what_changes_meanwhile_is_an_error() {
    require!("root", "overlay", "tmpfs", "ext4");
    type Meddle = fn(&Path);
    let cases: [(&str, Meddle, &str); 9] = [
        (
            "written in place, its time put back",
            |at| {
                let file = open(at, "d/big");
                let old = file.metadata().unwrap().modified().unwrap();
                file.write_all_at(b"other", 5).unwrap();
                file.set_modified(old).unwrap();
            },
            "d/big",
        ),
        (
            "shorter",
            |at| open(at, "d/big").set_len(1000).unwrap(),
            "d/big",
        ),
        (
            "longer",
            |at| open(at, "d/big").set_len(8 << 20).unwrap(),
            "d/big",
        ),
        (
            "appended to",
            |at| open(at, "d/big").write_all_at(b"more", 4 << 20).unwrap(),
            "d/big",
        ),
        (
            "written in place",
            |at| open(at, "d/big").write_all_at(b"other", 5).unwrap(),
            "d/big",
        ),
        (
            "gone while read",
            |at| fs::remove_file(at.join("d/big")).unwrap(),
            "d/big",
        ),
        (
            "gone before it is read",
            |at| fs::remove_file(at.join("d/later")).unwrap(),
            "d/later",
        ),
        (
            "another kind",
            |at| {
                fs::remove_file(at.join("d/later")).unwrap();
                fs::create_dir(at.join("d/later")).unwrap();
            },
            "d",
        ),
        (
            "a new name",
            |at| fs::write(at.join("d/new"), "").unwrap(),
            "d",
        ),
    ];
    for kind in ["tmpfs", "ext4"] {
        fsys::on(kind, |dir| {
            let lab = lab(dir);
            let ways = [Threads::Never, Threads::Always];
            let cases = ways
                .into_iter()
                .flat_map(|way| cases.map(|case| (way, case)));
            for (threads, (what, meddle, path)) in cases {
                lab.create("x", "base");
                let at = lab.home.join("layer/x/upper");
                for name in ["a", "d", "z"] {
                    fs::create_dir(at.join(name)).unwrap();
                }
                fs::write(at.join("d/big"), vec![b'x'; 4 << 20]).unwrap();
                for name in ["a/file", "d/later", "z/moves"] {
                    fs::write(at.join(name), "x").unwrap();
                }
                // Times that no clock's grain can hide a change behind.
                for name in ["a", "d", "z", "d/big", "."] {
                    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(9, 9);
                    fs::File::open(at.join(name))
                        .unwrap()
                        .set_modified(old)
                        .unwrap();
                }
                let mut sink = Meddler(Some(|| meddle(&at)), 0);
                let watch = &mut Watch::default();
                let options = DiffOptions {
                    threads,
                    ..DiffOptions::default()
                };
                let done = lab
                    .store
                    .diff(b"x", Against::Parent, &mut sink, &options, watch);
                let error = done.unwrap_err();
                assert_eq!(
                    (error.errno(), error.code()),
                    (Errno::STALE, Code::Changed),
                    "{what}: {error}"
                );
                assert_eq!(error.path(), path.as_bytes(), "{what}: {error}");
                lab.remove("x");
            }
        });
    }
}

/// A directory that goes while those far below it are read is not there to go on in.
#[test]
fn a_diff_of_a_directory_that_goes_meanwhile_is_an_error() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        for (threads, committed) in [
            (Threads::Never, false),
            (Threads::Always, false),
            (Threads::Never, true),
        ] {
            lab.create("x", "base");
            let at = lab.home.join("layer/x/upper");
            // Deeper than what stays open.
            let deep = "d/".repeat(40);
            fs::create_dir_all(at.join(&deep)).unwrap();
            fs::write(at.join(&deep).join("big"), vec![b'x'; 4 << 20]).unwrap();
            if committed {
                lab.commit("x");
            }
            let go = || {
                fs::rename(at.join("d/".repeat(10)), at.join("z")).unwrap();
                fs::remove_dir_all(at.join("d")).unwrap();
            };
            let options = DiffOptions {
                threads,
                ..DiffOptions::default()
            };
            let (sink, watch) = (&mut Meddler(Some(go), 0), &mut Watch::default());
            let done = lab.store.diff(b"x", Against::Parent, sink, &options, watch);
            let error = done.unwrap_err();
            // In a layer that nobody may write to, it is no change.
            let code = match committed {
                true => Code::System,
                false => Code::Changed,
            };
            assert_eq!(
                (error.errno(), error.code()),
                (Errno::NOENT, code),
                "{error}"
            );
            assert!(error.path().starts_with(b"d/d/"), "{error}");
            lab.remove("x");
        }
    });
}

/// What is missing of a chain has not just gone, though somebody may write to the layer: it is damaged.
#[test]
fn a_chain_that_is_damaged_meanwhile_is_told_as_that() {
    require!("root", "overlay", "tmpfs");
    // Deeper than what stays open.
    let deep = "d/".repeat(40);
    // Whose root goes while what is compared with what; or has gone before.
    let cases = [
        ("over", "deep", Against::Parent, false),
        ("alone", "alone", Against::Layer(b"deep"), true),
        ("alone", "deep", Against::Layer(b"deep"), true),
    ];
    for (id, goes, against, before) in cases {
        fsys::on("tmpfs", |dir| {
            let lab = lab(dir);
            let files = [
                crate::tar::file(&format!("{deep}a"), "a"),
                crate::tar::file("d/d/z/z", "z"),
            ];
            lab.apply("deep", "base", Kind::Root, &crate::tar::bytes(&files))
                .unwrap();
            lab.create("over", "deep");
            lab.store
                .create(b"alone", None, CreateFlags::empty(), &mut Watch::default())
                .unwrap();
            let content = if id == "alone" { "root" } else { "upper" };
            let at = lab.home.join("layer").join(id).join(content);
            fs::create_dir_all(at.join(&deep)).unwrap();
            fs::create_dir_all(at.join("d/d/z")).unwrap();
            fs::write(at.join(&deep).join("big"), vec![b'x'; 4 << 20]).unwrap();
            let root = lab.home.join("layer").join(goes).join("root");
            let go = || fs::rename(&root, root.with_file_name("gone")).unwrap();
            let meanwhile = match before {
                true => {
                    go();
                    None
                }
                false => Some(go),
            };
            let options = DiffOptions {
                threads: Threads::Never,
                ..DiffOptions::default()
            };
            let (sink, watch) = (&mut Meddler(meanwhile, 0), &mut Watch::default());
            let done = lab
                .store
                .diff(id.as_bytes(), against, sink, &options, watch);
            let error = done.unwrap_err();
            assert_eq!(error.code(), Code::Damaged, "{id}, {goes}: {error}");
            let words = "it has no root";
            assert!(error.message().contains(words), "{id}, {goes}: {error}");
        });
    }
}

fn open(at: &Path, name: &str) -> fs::File {
    fs::OpenOptions::new()
        .write(true)
        .open(at.join(name))
        .unwrap()
}

/// Files of a committed layer are linked by whoever builds on it: that changes nothing of them.
#[test]
fn a_diff_of_a_layer_that_others_link_to_is_whole() {
    require!("root", "overlay", "ext4");
    fsys::on("ext4", |dir| {
        let lab = lab(dir);
        let files = [crate::tar::file("big", &"x".repeat(1 << 20))];
        lab.apply("x", "base", Kind::Root, &crate::tar::bytes(&files))
            .unwrap();
        let links = std::cell::Cell::new(0);
        let mut sink = Meddler(
            Some(|| {
                lab.apply("y", "x", Kind::Root, &crate::tar::bytes(&[]))
                    .unwrap();
                links.set(links.get() + 1);
            }),
            0,
        );
        let (against, options) = (Against::Nothing, DiffOptions::default());
        lab.store
            .diff(b"x", against, &mut sink, &options, &mut Watch::default())
            .unwrap();
        assert_eq!(links.get(), 1);
    });
}

/// Changes and sizes are asked of containers that run: what goes meanwhile is gone.
#[test]
fn changes_and_sizes_of_what_goes_meanwhile_are_told() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        lab.create("x", "base");
        let at = lab.home.join("layer/x/upper");
        let fill = || {
            for d in 0..4 {
                fs::create_dir_all(at.join(format!("m{d}"))).unwrap();
                for n in 0..100 {
                    fs::write(at.join(format!("m{d}/{n}")), "xx").unwrap();
                }
            }
        };
        fill();
        let mut gone = false;
        let mut go = |_: &Progress| {
            if !std::mem::replace(&mut gone, true) {
                fs::remove_dir_all(at.join("m3")).unwrap();
                fs::remove_file(at.join("m0/99")).unwrap();
            }
            0
        };
        let mut watch = Watch::new(None, Some(&mut go));
        let told = lab
            .store
            .changes(b"x", Against::Parent, &mut watch)
            .unwrap();
        let has = |path: &[u8]| told.iter().any(|change| change.path == path);
        assert!(gone && has(b"/m0/98") && has(b"/m2/99") && !has(b"/m3/0") && !has(b"/m0/99"));
        // The size: while another thread removes and makes.
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    fs::remove_dir_all(at.join("m1")).unwrap();
                    fill();
                }
            });
            let size = |_| {
                let mut watch = Watch::default();
                lab.store.diff_size(b"x", Against::Parent, &mut watch)
            };
            let sizes: Vec<_> = (0..300).map(size).collect();
            // Before anything may panic: the thread has to end.
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(sizes.into_iter().all(|size| size.unwrap() <= 800));
        });
    });
}

/// A copy takes a file as far as it was when it began, and counts that it changed; strict refuses.
#[test]
fn a_copy_of_what_changes_meanwhile_is_counted_or_refused() {
    require!("root", "tmpfs", "ext4");
    const SIZE: usize = 9 << 20;
    type Meddle = fn(&fs::File);
    type Fits = fn(u64) -> bool;
    let cases: [(&str, Meddle, Fits); 4] = [
        (
            "written in place, its time put back",
            |file| {
                let old = file.metadata().unwrap().modified().unwrap();
                file.write_all_at(b"other", 1).unwrap();
                file.set_modified(old).unwrap();
            },
            |len| len == SIZE as u64,
        ),
        (
            "shorter",
            |file| file.set_len(5 << 20).unwrap(),
            |len| len <= SIZE as u64,
        ),
        (
            "longer",
            |file| file.set_len(30 << 20).unwrap(),
            |len| len == SIZE as u64,
        ),
        (
            "written in place",
            |file| file.write_all_at(b"other", 1).unwrap(),
            |len| len == SIZE as u64,
        ),
    ];
    for kind in ["tmpfs", "ext4"] {
        fsys::on(kind, |dir| {
            for (what, meddle, fits) in cases {
                for flags in [CopyFlags::empty(), CopyFlags::STRICT] {
                    let src = dir.join("src");
                    fs::create_dir_all(&src).unwrap();
                    // Data without end in sight: copied in many steps, by read and write.
                    fs::write(src.join("big"), vec![b'x'; SIZE]).unwrap();
                    let file = fs::OpenOptions::new()
                        .write(true)
                        .open(src.join("big"))
                        .unwrap();
                    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(9, 9);
                    file.set_modified(old).unwrap();
                    let mut did = false;
                    let mut go = |_: &Progress| {
                        if !std::mem::replace(&mut did, true) {
                            meddle(&file);
                        }
                        0
                    };
                    let options = CopyOptions {
                        flags,
                        reflink: Reflink::Never,
                        ..CopyOptions::default()
                    };
                    let dst = dir.join("dst");
                    let (from, to) = (src.as_os_str().as_bytes(), dst.as_os_str().as_bytes());
                    let mut watch = Watch::new(None, Some(&mut go));
                    let done = copy_dir(CWD, from, CWD, to, &options, &mut watch);
                    assert!(did, "{what}");
                    match flags {
                        CopyFlags::STRICT => {
                            let error = done.unwrap_err();
                            assert_eq!(
                                (error.errno(), error.code()),
                                (Errno::STALE, Code::Changed),
                                "{what}: {error}"
                            );
                            assert!(error.path().ends_with(b"big"), "{what}: {error}");
                            assert!(!dst.exists());
                        }
                        _ => {
                            assert_eq!(done.unwrap().vanished, 1, "{what}");
                            let len = fs::metadata(dst.join("big")).unwrap().len();
                            assert!(fits(len), "{what}: {len}");
                            fs::remove_dir_all(&dst).unwrap();
                        }
                    }
                }
            }
        });
    }
}
