//! Several threads make of a tar what one makes: the same trees, the same failures.

use crate::cost::image;
use crate::fail::lab;
use crate::lab::{Lab, Tree};
use crate::support::{fsys, threads_named};
use crate::tar::{self, *};
use ovl::archive::{Digest, Source};
use ovl::error::{Code, Errno, Error, Result};
use ovl::store::*;
use ovl::watch::{Cancel, Progress, Watch};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const BOTH: [Threads; 2] = [Threads::Never, Threads::Always];
/// The last: which thread fills a file is another one's from time to time.
const WAYS: [Threads; 3] = [Threads::Never, Threads::Always, Threads::Auto];

fn options(threads: Threads, parent: &str, kind: Kind) -> ApplyOptions<'_> {
    ApplyOptions {
        parent: (!parent.is_empty()).then_some(parent.as_bytes()),
        kind: Some(kind),
        durability: Durability::None,
        threads,
        ..ApplyOptions::default()
    }
}

fn options_of(threads: Threads) -> ApplyOptions<'static> {
    options(threads, "", Kind::Root)
}

/// What a call gave: the layer as it is told and looks, with its manifest, or the failure.
type Told = std::result::Result<(Tree, u64, u64, String, Vec<u8>), (Errno, Code, Vec<u8>, String)>;

fn told(lab: &Lab, id: &str, done: Result<LayerInfo>) -> Told {
    match done {
        Ok(info) => {
            let tree = lab.look(id);
            lab.assert_sound();
            let manifest = fs::read(lab.home.join("layer").join(id).join("manifest")).unwrap();
            lab.remove(id);
            let partial = [
                info.skipped_devices,
                info.skipped_owners,
                info.skipped_xattrs,
            ];
            let size = info.size;
            Ok((
                tree,
                size,
                info.entries,
                format!("{:?} {partial:?}", info.diff_id),
                manifest,
            ))
        }
        Err(error) => {
            lab.assert_nothing(id);
            let path = error.path().to_vec();
            Err((error.errno(), error.code(), path, error.to_string()))
        }
    }
}

fn applied(lab: &Lab, tar: &[u8], options: &ApplyOptions<'_>) -> Told {
    let watch = &mut Watch::default();
    told(
        lab,
        "x",
        lab.store.apply(b"x", &mut &tar[..], options, watch),
    )
}

/// A long tar: small and large files, and of each thing that a thread could do too early.
fn long() -> Vec<Entry> {
    let mut all = image(2500);
    for n in 0..300 {
        let name = format!("modes/{n}");
        all.push(
            file(&name, "mode")
                .mode(n * 13 % 0o10000)
                .owner(n % 3, n % 2),
        );
        all.push(file(&format!("twice/{}", n % 90), &format!("the {n}th")));
        all.push(hard(&format!("links/{n}"), &name));
        // Noted, and left out and counted, by whichever thread fills it.
        all.push(file(&format!("tagged/{n}"), "x").xattr("user.k", b"v"));
        all.push(file(&format!("odd/{n}"), "x").xattr("bogus.k", b"v"));
    }
    all.push(dir("sgid").mode(0o2775).owner(0, 7));
    all.push(file("sgid/f", "group").mode(0o664));
    let acl = [
        &[
            2, 0, 0, 0, 1, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, 4, 0, 5, 0, 0xff, 0xff, 0xff, 0xff,
        ][..],
        &[0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
    ]
    .concat();
    all.push(dir("acl").xattr("system.posix_acl_default", &acl));
    all.push(file("acl/f", "inherits nothing").mode(0o666));
    all.push(file("tagged", "x").xattr("user.k", b"v").mode(0o606));
    all.push(file("large", &"0123456789abcdef".repeat(200_000)));
    all.push(file("twice/1", "the last"));
    all.push(symlink("modes/0", "replaced"));
    all.push(gone("modes/1"));
    all.push(file("empty", ""));
    all
}

#[test]
fn the_same_trees() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        let tar = tar::bytes(&long());
        assert!(tar.len() > 3 << 20);
        for (kind, parent) in [
            (Kind::Root, ""),
            (Kind::Root, "base"),
            (Kind::Overlay, "base"),
        ] {
            let [one, many, some] =
                WAYS.map(|how| applied(&lab, &tar, &options(how, parent, kind)));
            let partial = &one.as_ref().unwrap().3;
            assert!(partial.ends_with("[0, 0, 300]"), "{partial}");
            assert!(one == many, "{kind:?} over {parent:?} differs");
            assert!(
                one == some,
                "{kind:?} over {parent:?} differs from time to time"
            );
        }
    });
}

/// Wherever it ends, and whatever is wrong where, the failure is the same and nothing stays.
#[test]
fn the_same_failures() {
    require!("root", "overlay", "tmpfs", "gzip", "zstd");
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        let entries = &long()[1000..1900];
        let whole = tar::bytes(entries);
        let mut failures = 0;
        let mut compare = |what: &str, tar: &[u8], strict: bool| {
            let [one, many, some] = WAYS.map(|how| {
                let mut options = options(how, "base", Kind::Overlay);
                options.flags.set(ApplyFlags::STRICT, strict);
                applied(&lab, tar, &options)
            });
            failures += usize::from(one.is_err());
            assert!(one == many, "{what}: {:?} {:?}", one.err(), many.err());
            assert!(one == some, "{what}: {:?} {:?}", one.err(), some.err());
        };
        for at in (0..whole.len()).step_by(whole.len() / 37) {
            compare("cut short", &whole[..at], false);
            let mut damaged = whole.clone();
            damaged[at / 512 * 512..][..8].fill(0xff);
            compare("damaged", &damaged, false);
        }
        for program in ["gzip", "zstd"] {
            let blob = crate::stream::pack(program, &whole);
            for at in (0..blob.len()).step_by(blob.len() / 17) {
                compare("a blob cut short", &blob[..at], false);
                let mut damaged = blob.clone();
                damaged[at] ^= 0xff;
                compare("a damaged blob", &damaged, false);
                let mut damaged = whole.clone();
                let at = at * (whole.len() / blob.len());
                damaged[at / 512 * 512..][..8].fill(0xff);
                compare(
                    "a packed one",
                    &crate::stream::pack(program, &damaged),
                    false,
                );
            }
        }
        // One that the thread that extracts finds, after or before one that the other one finds.
        let outside = hard("wrong", "nowhere");
        let hidden = file("hidden", "x").xattr("security.selinux\0", b"");
        for (first, then) in [(&outside, &hidden), (&hidden, &outside)] {
            for gap in [0, 1, 40, 300] {
                let mut all = entries[..200].to_vec();
                all.push(first.clone());
                all.extend_from_slice(&entries[200..200 + gap]);
                all.push(then.clone());
                compare("two of them", &tar::bytes(&all), true);
            }
        }
        let mut device = entries.to_vec();
        device.insert(700, char_device("null", 0, 0));
        compare("a whiteout of overlayfs", &tar::bytes(&device), false);
        assert!(failures > 60, "{failures}");
    });
}

/// Some bytes of a tar, and then something else.
struct Then<'a, F>(&'a [u8], F);

impl<F: FnMut(&mut [u8]) -> Result<usize>> Source for Then<'_, F> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        match self.0.is_empty() {
            false => self.0.read(buf),
            true => (self.1)(buf),
        }
    }
}

#[test]
fn what_a_source_fails_with_is_told() {
    require!("root", "tmpfs", "gzip");
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        let tar = tar::bytes(&long());
        let fail = |_: &mut [u8]| Err(Error::sys(Errno::STALE, "read"));
        // In the beginning, in the middle, and behind the end of the tar.
        for at in [0, 100, 600 << 10, tar.len() / 2, tar.len()] {
            let results = BOTH.map(|how| {
                let mut source = Then(&tar[..at], fail);
                let options = options(how, "", Kind::Root);
                let done = lab
                    .store
                    .apply(b"x", &mut source, &options, &mut Watch::default());
                told(&lab, "x", done)
            });
            for result in results {
                assert_eq!(result.unwrap_err().0, Errno::STALE, "at {at}");
            }
        }
        // Far behind its end, where nobody reads the pieces.
        let short = tar::bytes(&image(50));
        for (tar, after) in [(&tar, 2 << 20), (&tar, 300 << 10), (&short, 300 << 10)] {
            let mut padded = tar.clone();
            padded.resize(padded.len() + after, 0);
            let packed = crate::stream::pack("gzip", &padded);
            for how in [Threads::Never, Threads::Always, Threads::Auto] {
                for blob in [&padded, &packed] {
                    let mut source = Then(blob, fail);
                    let options = options(how, "", Kind::Root);
                    let watch = &mut Watch::default();
                    let done = lab.store.apply(b"x", &mut source, &options, watch);
                    assert_eq!(
                        told(&lab, "x", done).unwrap_err().0,
                        Errno::STALE,
                        "{how:?}"
                    );
                }
            }
        }
    });
}

/// A source that gives a tar with a mistake in it, and nothing more, nor its end.
struct Stalls<'a>(&'a [u8]);

impl Source for Stalls<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        assert!(!self.0.is_empty(), "read though it would wait for ever");
        self.0.read(buf)
    }

    fn is_ready_within(&mut self, longest: Duration) -> Result<bool> {
        if self.0.is_empty() {
            std::thread::sleep(longest);
        }
        Ok(!self.0.is_empty())
    }
}

#[test]
fn a_failure_waits_for_no_writer() {
    require!("root", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        let mut all = long();
        all.insert(1500, char_device("null", 0, 0));
        let tar = tar::bytes(&all);
        let options = options(Threads::Always, "", Kind::Root);
        let mut source = Stalls(&tar[..tar.len() - 2000]);
        let done = lab
            .store
            .apply(b"x", &mut source, &options, &mut Watch::default());
        assert_eq!(told(&lab, "x", done).unwrap_err().0, Errno::PERM);
        // In the beginning, where it is not known yet how long the tar is.
        let early = tar::bytes(&[tar::dir("d"), char_device("null", 0, 0), file("f", "x")]);
        for how in [Threads::Always, Threads::Auto] {
            let options = options_of(how);
            let mut source = Stalls(&early[..early.len() - 1024]);
            let done = lab
                .store
                .apply(b"x", &mut source, &options, &mut Watch::default());
            assert_eq!(told(&lab, "x", done).unwrap_err().0, Errno::PERM, "{how:?}");
        }
        // What the thread that fills meets, with too few files behind it for a batch.
        let mut all = long();
        all.truncate(1500);
        all.push(file("refused", "x").xattr("bogus.k", b"v"));
        all.extend((0..5).map(|n| file(&format!("behind/{n}"), "x")));
        let tar = tar::bytes(&all);
        let mut strict = options_of(Threads::Always);
        strict.flags = ApplyFlags::STRICT;
        let mut source = Stalls(&tar[..tar.len() - 2048]);
        let done = lab
            .store
            .apply(b"x", &mut source, &strict, &mut Watch::default());
        let failure = told(&lab, "x", done).unwrap_err();
        assert_eq!(
            (failure.1, &failure.2[..]),
            (Code::Strict, &b"refused"[..]),
            "{failure:?}"
        );
        // And one who cancels does not wait either, before the first byte or in the middle.
        let whole = tar::bytes(&long());
        let packed = crate::stream::pack("gzip", &whole);
        for some in [&whole[..whole.len() / 2], &packed[..packed.len() / 2], &[]] {
            let cancel = Cancel::new();
            let done = std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(300));
                    cancel.trigger();
                });
                let watch = &mut Watch::new(Some(&cancel), None);
                lab.store.apply(b"x", &mut Stalls(some), &options, watch)
            });
            assert_eq!(told(&lab, "x", done).unwrap_err().0, Errno::CANCELED);
        }
    });
}

/// Comes late and slowly, and sees whether the tar is hashed on a thread of its own.
struct Late<'a> {
    blob: &'a [u8],
    waits: u32,
    seen: bool,
}

impl Source for Late<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        std::thread::sleep(Duration::from_millis(1));
        self.seen |= threads_named("ovl-hash") > 0;
        let most = buf.len().min(2 << 10);
        self.blob.read(&mut buf[..most])
    }

    fn is_ready_within(&mut self, longest: Duration) -> Result<bool> {
        let waits = std::mem::take(&mut self.waits);
        std::thread::sleep(longest * waits.min(1));
        self.waits = waits.saturating_sub(1);
        Ok(waits == 0)
    }
}

/// What a blob is shows only with its first bytes.
#[test]
fn a_blob_that_comes_late_is_hashed_apart() {
    require!("root", "tmpfs", "zstd");
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        let tar = tar::bytes(&long());
        for blob in [&crate::stream::pack("zstd", &tar), &tar] {
            let mut source = Late {
                blob,
                waits: 3,
                seen: false,
            };
            let options = options(Threads::Always, "", Kind::Root);
            let watch = &mut Watch::default();
            let info = lab.store.apply(b"x", &mut source, &options, watch).unwrap();
            assert_eq!(info.diff_id, Some(Digest::of(&tar)));
            assert_eq!(info.blob_digest, Some(Digest::of(blob)));
            assert!(source.seen);
            lab.remove("x");
        }
    });
}

/// Progress is told on the calling thread, to the last entry; what it says stops all.
#[test]
fn progress_and_its_answer() {
    require!("root", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        let tar = tar::bytes(&long());
        let caller = std::thread::current().id();
        let counts = BOTH.map(|how| {
            let mut calls = 0;
            let mut last = 0;
            let mut go = |progress: &Progress| {
                assert_eq!(std::thread::current().id(), caller);
                assert!(progress.entries >= last);
                last = progress.entries;
                calls += 1;
                0
            };
            let mut watch = Watch::new(None, Some(&mut go));
            let options = options(how, "", Kind::Root);
            lab.store
                .apply(b"x", &mut &tar[..], &options, &mut watch)
                .unwrap();
            let now = watch.now();
            assert!(calls > 0);
            lab.remove("x");
            (now.entries, now.bytes)
        });
        assert_eq!(counts[0], counts[1]);
        for how in BOTH {
            let mut go = |progress: &Progress| if progress.entries > 900 { 77 } else { 0 };
            let options = options(how, "", Kind::Root);
            // Slow enough for more than one look.
            let mut slow = Slow(&tar, false);
            let mut watch = Watch::new(None, Some(&mut go));
            let error = lab
                .store
                .apply(b"x", &mut slow, &options, &mut watch)
                .unwrap_err();
            assert_eq!(error.errno(), Errno::CANCELED);
            assert!(error.to_string().contains("(77)"), "{error}");
            assert!(slow.1 || how == Threads::Never, "no thread was there");
            lab.assert_nothing("x");
        }
    });
}

/// Sees also whether there are threads.
struct Slow<'a>(&'a [u8], bool);

impl Source for Slow<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        std::thread::sleep(Duration::from_millis(20));
        self.1 |= threads_named("ovl-fill") > 0;
        let most = buf.len().min(100 << 10);
        self.0.read(&mut buf[..most])
    }
}

/// A source that panics does so in its caller, and leaves nothing behind.
#[test]
fn a_panic_is_the_callers() {
    require!("root", "tmpfs", "gzip");
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        let tar = tar::bytes(&long());
        let packed = crate::stream::pack("gzip", &tar);
        let left = AtomicUsize::new(0);
        for (how, blob) in BOTH
            .into_iter()
            .flat_map(|how| [(how, &tar), (how, &packed)])
        {
            let panics = |_: &mut [u8]| -> Result<usize> { std::panic::panic_any("of the source") };
            let mut source = Then(&blob[..blob.len() / 2], panics);
            let options = options(how, "", Kind::Root);
            let call = std::panic::AssertUnwindSafe(|| {
                lab.store
                    .apply(b"x", &mut source, &options, &mut Watch::default())
            });
            let panic = std::panic::catch_unwind(call).unwrap_err();
            assert_eq!(*panic.downcast::<&str>().unwrap(), "of the source");
            left.fetch_add(
                fs::read_dir(lab.home.join("stage")).unwrap().count(),
                Ordering::Relaxed,
            );
        }
        assert_eq!(left.into_inner(), 0);
    });
}

/// The tar is hashed on another thread than the blob; what follows its end is in the digest too.
#[test]
fn the_same_digests() {
    require!("root", "tmpfs", "gzip", "zstd");
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        for (after, with) in [(0, 0), (512, 0), (300 << 10, 0), (5 << 20, b'x')] {
            let mut tar = tar::bytes(&long());
            tar.resize(tar.len() + after, with);
            let blobs = ["gzip", "zstd"].map(|program| crate::stream::pack(program, &tar));
            for blob in blobs.iter().chain([&tar]) {
                for how in [Threads::Never, Threads::Always, Threads::Auto] {
                    let mut options = options(how, "", Kind::Root);
                    options.diff_id = Some(Digest::of(&tar));
                    let watch = &mut Watch::default();
                    let info = lab
                        .store
                        .apply(b"x", &mut &blob[..], &options, watch)
                        .unwrap();
                    assert_eq!(info.diff_id, Some(Digest::of(&tar)), "{how:?} {after}");
                    assert_eq!(info.blob_digest, Some(Digest::of(blob)), "{how:?} {after}");
                    assert_eq!(info.tar_size, tar.len() as u64);
                    lab.remove("x");
                }
            }
        }
    });
}

/// A source that gives a few bytes at a time takes no more for that.
#[test]
fn small_reads() {
    require!("root", "tmpfs");
    struct Few<'a>(&'a [u8], usize);
    impl Source for Few<'_> {
        fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
            let most = buf.len().min(self.1);
            self.0.read(&mut buf[..most])
        }
    }
    fsys::on("tmpfs", |dir| {
        let lab = lab(dir);
        let tar = tar::bytes(&long());
        for few in [7, 1460] {
            for how in [Threads::Never, Threads::Always, Threads::Auto] {
                let watch = &mut Watch::default();
                let options = options_of(how);
                let info = lab
                    .store
                    .apply(b"x", &mut Few(&tar, few), &options, watch)
                    .unwrap();
                assert_eq!(info.diff_id, Some(Digest::of(&tar)), "{how:?}, {few}");
                lab.remove("x");
            }
        }
    });
}
