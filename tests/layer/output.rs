//! A diff says and does the same with a thread of its own and without.

use crate::fail::lab;
use crate::lab::Lab;
use crate::support::{fsys, threads_named};
use ovl::archive::Sink;
use ovl::error::{Code, Errno, Error, Result};
use ovl::store::*;
use ovl::watch::{Cancel, Progress, Watch};
use std::fs;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

const WAYS: [Threads; 3] = [Threads::Never, Threads::Always, Threads::Auto];

/// Takes so many bytes; then it does something, whose error it fails with for ever.
struct Until<F: FnMut() -> Result<()>> {
    most: usize,
    then: F,
    taken: Vec<u8>,
    ended: bool,
    thread: ThreadId,
}

impl<F: FnMut() -> Result<()>> Until<F> {
    fn new(most: usize, then: F) -> Self {
        Until {
            most,
            then,
            taken: Vec::new(),
            ended: false,
            thread: thread::current().id(),
        }
    }
}

impl<F: FnMut() -> Result<()>> Sink for Until<F> {
    fn write_all(&mut self, buf: &[u8]) -> Result<()> {
        assert_eq!(self.thread, thread::current().id());
        assert!(!self.ended, "written to after its failure");
        let room = self.most.saturating_sub(self.taken.len());
        self.taken.extend_from_slice(&buf[..buf.len().min(room)]);
        if buf.len() > room {
            let done = (self.then)();
            self.ended = done.is_err();
            return done;
        }
        Ok(())
    }
}

/// A layer `x` over `base` of about 8 MiB, with everything in it that a tar says in its own way.
fn fill(lab: &Lab) {
    lab.create("x", "base");
    let at = lab.home.join("layer/x/upper");
    fs::create_dir(at.join("d")).unwrap();
    for n in 0..600 {
        let dir = at.join(format!("s{}", n % 7));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("{n}")), format!("{n}").repeat(n * 3)).unwrap();
    }
    fs::write(at.join("d/large"), vec![b'l'; (3 << 20) + 17]).unwrap();
    let holes = fs::File::create(at.join("holes")).unwrap();
    holes.set_len(2 << 20).unwrap();
    holes.write_all_at(b"middle", 1 << 20).unwrap();
    fs::hard_link(at.join("d/large"), at.join("linked")).unwrap();
    fs::write(at.join("n".repeat(200)), "long").unwrap();
    std::os::unix::fs::symlink("t".repeat(300), at.join("symlink")).unwrap();
    let cap = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(at.join("s0/0"), "trusted.one", b"value", cap).unwrap();
    rustix::fs::setxattr(at.join("s1"), "trusted.two", &[7; 900], cap).unwrap();
}

fn diff(
    lab: &Lab,
    threads: Threads,
    sink: &mut dyn Sink,
    watch: &mut Watch<'_>,
) -> Result<LayerInfo> {
    let options = DiffOptions {
        threads,
        ..DiffOptions::default()
    };
    lab.store.diff(b"x", Against::Parent, sink, &options, watch)
}

fn on_a_filled_lab(test: impl Fn(&Lab) + Sync) {
    for kind in ["tmpfs", "ext4"] {
        fsys::on(kind, |dir| {
            let lab = lab(dir);
            fill(&lab);
            test(&lab);
        });
    }
}

#[test]
fn the_bytes_are_the_same() {
    require!("root", "overlay", "tmpfs", "ext4");
    on_a_filled_lab(|lab| {
        for flags in [DiffFlags::empty(), DiffFlags::SPARSE] {
            for against in [Against::Parent, Against::Nothing] {
                let [one, others @ ..] = WAYS.map(|threads| {
                    let (mut tar, clamp) = (Vec::new(), Time::default());
                    let options = DiffOptions {
                        flags,
                        clamp,
                        threads,
                    };
                    let watch = &mut Watch::default();
                    let info = lab.store.diff(b"x", against, &mut tar, &options, watch);
                    let info = info.unwrap();
                    assert_eq!(info.diff_id, Some(ovl::archive::Digest::of(&tar)));
                    assert_eq!(info.tar_size, tar.len() as u64);
                    (info.entries, info.size, tar)
                });
                for other in others {
                    assert!(one == other, "{flags:?} {against:?}");
                }
            }
        }
    });
}

#[test]
fn a_sink_that_fails_is_told_the_same() {
    require!("root", "overlay", "tmpfs", "ext4");
    on_a_filled_lab(|lab| {
        let whole = lab.diff("x", Against::Parent);
        let full = || Err(Error::new(Code::System, Errno::NOSPC, "no room"));
        for at in (0..whole.len())
            .step_by(whole.len() / 37)
            .chain([1, whole.len() - 1])
        {
            let [one, others @ ..] = WAYS.map(|threads| {
                let mut sink = Until::new(at, full);
                let error = diff(lab, threads, &mut sink, &mut Watch::default()).unwrap_err();
                assert!(sink.taken == whole[..at], "{at}");
                (error.errno(), error.path().to_vec(), error.to_string())
            });
            assert_eq!(one.0, Errno::NOSPC);
            for other in others {
                assert_eq!(one, other, "{at}");
            }
        }
    });
}

#[test]
fn what_fails_in_the_walk_is_told_the_same() {
    require!("root", "overlay", "tmpfs", "ext4");
    on_a_filled_lab(|lab| {
        // Behind all but the last names.
        let socket = lab.home.join("layer/x/upper/zz");
        let _listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
        let [one, others @ ..] = WAYS.map(|threads| {
            let mut tar = Vec::new();
            let options = DiffOptions {
                flags: DiffFlags::STRICT,
                threads,
                ..DiffOptions::default()
            };
            let watch = &mut Watch::default();
            let done = lab
                .store
                .diff(b"x", Against::Parent, &mut tar, &options, watch);
            (done.unwrap_err().to_string(), tar)
        });
        assert!(
            one.0.contains("socket") && one.1.len() > 4 << 20,
            "{}",
            one.0
        );
        for other in others {
            assert!(one == other, "{}", other.0);
        }
    });
}

#[test]
fn it_can_be_stopped_in_the_middle() {
    require!("root", "overlay", "tmpfs", "ext4");
    on_a_filled_lab(|lab| {
        for threads in WAYS {
            let cancel = Cancel::new();
            let mut sink = Until::new(1 << 20, || {
                cancel.trigger();
                Ok(())
            });
            let error = diff(
                lab,
                threads,
                &mut sink,
                &mut Watch::new(Some(&cancel), None),
            );
            assert_eq!(error.unwrap_err().errno(), Errno::CANCELED);

            // By his function, on his thread.
            let own = thread::current().id();
            let mut said = 0;
            let mut go = |_: &Progress| {
                assert_eq!(own, thread::current().id());
                assert_eq!(said, 0, "called after it stopped the call");
                said = 7;
                7
            };
            let mut watch = Watch::new(None, Some(&mut go));
            let error = diff(lab, threads, &mut Vec::new(), &mut watch).unwrap_err();
            assert_eq!(
                (error.errno(), error.code()),
                (Errno::CANCELED, Code::Cancelled)
            );
            assert!(error.message().contains("(7)"), "{error}");
        }
    });
}

/// The thread is full of what nobody takes, and the sink waits for ever but for the flag.
#[test]
fn a_sink_that_waits_can_be_stopped() {
    require!("root", "overlay", "tmpfs", "ext4");
    on_a_filled_lab(|lab| {
        for threads in WAYS {
            let cancel = Cancel::new();
            let begun = Instant::now();
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(Duration::from_millis(100));
                    cancel.trigger();
                });
                let mut sink = Until::new(0, || {
                    while !cancel.is_triggered() {
                        thread::sleep(Duration::from_millis(5));
                    }
                    Err(Error::new(Code::Cancelled, Errno::CANCELED, "waited"))
                });
                let error = diff(
                    lab,
                    threads,
                    &mut sink,
                    &mut Watch::new(Some(&cancel), None),
                );
                assert_eq!(error.unwrap_err().errno(), Errno::CANCELED);
            });
            assert!(begun.elapsed() < Duration::from_secs(60));
        }
    });
}

/// Nobody else works in that process, so its threads and descriptors can be counted.
#[test]
fn nothing_is_left() {
    require!("root", "overlay", "tmpfs", "ext4");
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "output::child_leaves_nothing",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stderr)
    );
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
}

#[test]
#[ignore = "run by nothing_is_left"]
fn child_leaves_nothing() {
    let threads = || threads_named("ovl-output");
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    on_a_filled_lab(|lab| {
        let before = descriptors();
        for way in WAYS {
            let mut seen = 0;
            let mut look = Until::new(0, || {
                seen = seen.max(threads());
                Ok(())
            });
            diff(lab, way, &mut look, &mut Watch::default()).unwrap();
            let wanted = way.wanted(true);
            assert_eq!(seen, usize::from(wanted), "{way:?}");
            assert_eq!((threads(), descriptors()), (0, before), "{way:?}");

            let fail = || Err(Error::new(Code::System, Errno::NOSPC, "no room"));
            let mut sink = Until::new(1 << 20, fail);
            diff(lab, way, &mut sink, &mut Watch::default()).unwrap_err();
            assert_eq!((threads(), descriptors()), (0, before), "{way:?}");

            let caught = catch_unwind(AssertUnwindSafe(|| {
                let mut sink = Until::new(1 << 20, || panic!("of the sink"));
                diff(lab, way, &mut sink, &mut Watch::default())
            }));
            assert_eq!(
                *caught.unwrap_err().downcast::<&str>().unwrap(),
                "of the sink"
            );
            assert_eq!(descriptors(), before, "{way:?}");
            // Of a panic's threads the kernel may tell a moment longer.
            let until = std::time::Instant::now() + Duration::from_secs(30);
            while threads() > 0 {
                assert!(std::time::Instant::now() < until, "{way:?}");
                std::thread::yield_now();
            }
        }
        // What is short has none.
        lab.create("y", "base");
        fs::write(lab.home.join("layer/y/upper/few"), "bytes").unwrap();
        let mut look = Until::new(0, || {
            assert_eq!(threads(), 0);
            Ok(())
        });
        let (options, watch) = (DiffOptions::default(), &mut Watch::default());
        let done = lab
            .store
            .diff(b"y", Against::Parent, &mut look, &options, watch);
        done.unwrap();
    });
}
