//! Who waits for whom: readers not for writers of other layers, nobody for a callback, nobody for
//! ever; and a layer that is removed and made again is never taken for the one before.

use crate::common::*;
use crate::support::fsys;
use ovl::archive::{Sink, Source};
use ovl::error::{Code, Errno, Result};
use ovl::store::*;
use ovl::watch::{Progress, Watch};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Longer than all patience together: who takes as long, hangs. A thread that hangs cannot be
/// ended, so the program is.
fn within<T: Send>(what: &str, call: impl FnOnce() -> T + Send) -> T {
    let (done, is_done) = channel::<()>();
    std::thread::scope(|scope| {
        let what = what.to_string();
        scope.spawn(move || {
            let left = is_done.recv_timeout(Duration::from_secs(120));
            if left == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{what} hangs");
                std::process::abort();
            }
        });
        let result = call();
        drop(done);
        result
    })
}

/// A tar whose reader stops before its first byte, says so, and waits.
struct Stalled<'a> {
    tar: &'a [u8],
    reached: Option<Sender<()>>,
    go: Receiver<()>,
}

impl Source for Stalled<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        if let Some(reached) = self.reached.take() {
            let _ = reached.send(());
            let _ = self.go.recv();
        }
        self.tar.read(buf)
    }
}

/// Applies to `id` with a read that stalls while `body` runs.
fn while_applying(store: &Store, id: &str, parent: Option<&str>, body: impl FnOnce()) {
    let tar = tar_of("own", b"own");
    let (reached, is_reached) = channel();
    let (go, stalled) = channel();
    std::thread::scope(|scope| {
        let tar = &tar;
        let applying = scope.spawn(move || {
            let mut source = Stalled {
                tar,
                reached: Some(reached),
                go: stalled,
            };
            let options = ApplyOptions {
                parent: parent.map(str::as_bytes),
                durability: Durability::None,
                ..Default::default()
            };
            let watch = &mut Watch::default();
            store.apply(id.as_bytes(), &mut source, &options, watch)
        });
        is_reached.recv().unwrap();
        body();
        drop(go);
        applying.join().unwrap().unwrap();
    });
}

fn diff(store: &Store, id: &str, against: Against<'_>) -> Result<LayerInfo> {
    let (options, watch) = (DiffOptions::default(), &mut Watch::default());
    store.diff(id.as_bytes(), against, &mut Vec::new(), &options, watch)
}

/// Every call, on layers that nobody else uses: all of it works, whatever goes on elsewhere.
fn everything_elsewhere(store: &Store) {
    static TURN: AtomicU64 = AtomicU64::new(0);
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    let id = |name: &str| format!("{name}-{turn}");
    let (one, two, copy) = (id("one"), id("two"), id("copy"));
    let watch = &mut Watch::default();
    create(store, &one, Some("base")).unwrap();
    create(store, &copy, Some(&one)).unwrap();
    apply(store, &two, Some("base"), &tar_of("x", b"x")).unwrap();
    let mounted = mount(store, &one, RW).unwrap();
    std::fs::write(path_of(&mounted).join("new"), "x").unwrap();
    let _ = store.unmount_at(one.as_bytes(), UnmountFlags::empty());
    unmount(mounted);
    unmount(mount(store, &two, RO | MountFlags::DETACHED).unwrap());
    commit(store, &one).unwrap();
    assert!(store.exists(one.as_bytes()).unwrap());
    assert!(store.list().unwrap().contains(&one));
    assert_eq!(store.stat(one.as_bytes()).unwrap().state, State::Committed);
    diff(store, &one, Against::Parent).unwrap();
    let changes = store.changes(one.as_bytes(), Against::Layer(two.as_bytes()), watch);
    assert!(!changes.unwrap().is_empty());
    store
        .diff_size(one.as_bytes(), Against::Nothing, watch)
        .unwrap();
    store
        .mount_spec(one.as_bytes(), SpecFlags::empty(), None)
        .unwrap();
    store.status().unwrap();
    for id in [copy, two, one] {
        remove(store, &id).unwrap();
    }
    cleanup(store);
}

/// Every call on the layer that another call is working on. It does what it can, or says EBUSY; all
/// at once, for some of them wait for as long as anybody waits.
fn everything_here(store: &Store, id: &str) {
    type Call = fn(&Store, &str) -> Result<()>;
    let calls: [(&str, Call); 13] = [
        ("stat", |s, id| s.stat(id.as_bytes()).map(drop)),
        ("exists", |s, id| s.exists(id.as_bytes()).map(drop)),
        ("mount", |s, id| {
            mount(s, id, RO | MountFlags::DETACHED).map(drop)
        }),
        ("mount rw", |s, id| {
            mount(s, id, MountFlags::DETACHED).map(drop)
        }),
        ("unmount", |s, id| {
            s.unmount_at(id.as_bytes(), UnmountFlags::empty())
        }),
        ("diff", |s, id| diff(s, id, Against::Parent).map(drop)),
        ("changes", |s, id| {
            s.changes(id.as_bytes(), Against::Nothing, &mut Watch::default())
                .map(drop)
        }),
        ("create over it", |s, id| create(s, "over", Some(id))),
        ("create it", |s, id| create(s, id, Some("base"))),
        ("apply", |s, id| {
            apply(s, id, None, &tar_of("y", b"y")).map(drop)
        }),
        ("commit", commit),
        ("remove", remove),
        ("check", |s, _| {
            s.check(CheckFlags::empty(), &mut Watch::default())
                .map(drop)
        }),
    ];
    std::thread::scope(|scope| {
        for (name, call) in calls {
            scope.spawn(move || {
                let Err(error) = call(store, id) else { return };
                let fine = match error.errno() {
                    Errno::BUSY | Errno::NOENT | Errno::EXIST | Errno::ROFS => true,
                    Errno::NOTEMPTY | Errno::INVAL => {
                        ["apply", "unmount", "create it"].contains(&name)
                    }
                    _ => false,
                };
                assert!(fine, "{name}: {error}");
            });
        }
    });
}

#[test]
fn nobody_waits_for_another_layers_writer() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "empty", Some("base")).unwrap();
        // One that is new: nobody sees it before it is whole.
        while_applying(&store, "new", Some("base"), || {
            everything_elsewhere(&store);
            assert!(!store.exists(b"new").unwrap());
            fails(store.stat(b"new"), Errno::NOENT);
            assert_eq!(store.list().unwrap(), ["base", "empty"]);
        });
        // One that is there: who only asks for it does not wait, who would use it does, not for ever.
        while_applying(&store, "empty", None, || {
            everything_elsewhere(&store);
            assert!(store.exists(b"empty").unwrap());
            assert_eq!(store.stat(b"empty").unwrap().state, State::Writable);
            assert_eq!(store.list().unwrap(), ["base", "empty", "new"]);
            store
                .mount_spec(b"empty", SpecFlags::empty(), None)
                .unwrap();
            type Call = fn(&Store) -> Result<()>;
            let calls: [Call; 6] = [
                |s| mount(s, "empty", RW).map(drop),
                |s| diff(s, "empty", Against::Parent).map(drop),
                |s| create(s, "over", Some("empty")),
                |s| apply(s, "empty", None, &tar_of("y", b"y")).map(drop),
                |s| commit(s, "empty"),
                |s| remove(s, "empty"),
            ];
            std::thread::scope(|scope| {
                for call in calls {
                    let store = &store;
                    scope.spawn(move || {
                        let error =
                            within("a call on a busy layer", || fails(call(store), Errno::BUSY));
                        assert_eq!(error.code(), Code::Locked, "{error}");
                    });
                }
            });
        });
        assert_eq!(store.stat(b"empty").unwrap().state, State::Committed);
        for id in ["new", "empty", "base"] {
            remove(&store, id).unwrap();
        }
        assert_clean(&store, dir);
    });
}

/// What a callback of a call does; it is called once in it.
type Inside<'a> = &'a mut (dyn FnMut() + Send);

/// Calls `inside` at its first byte.
struct Calling<'a, 'b>(&'a [u8], Option<Inside<'b>>);

impl Source for Calling<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        if let Some(inside) = self.1.take() {
            inside();
        }
        self.0.read(buf)
    }
}

impl Sink for Calling<'_, '_> {
    fn write_all(&mut self, _: &[u8]) -> Result<()> {
        if let Some(inside) = self.1.take() {
            inside();
        }
        Ok(())
    }
}

/// Runs a call with a progress function that calls `inside` once.
fn watched<T>(inside: Inside<'_>, call: impl FnOnce(&mut Watch<'_>) -> T) -> T {
    let mut inside = Some(inside);
    let mut progress = |_: &Progress| {
        if let Some(inside) = inside.take() {
            inside();
        }
        0
    };
    call(&mut Watch::new(None, Some(&mut progress)))
}

const EMPTY: ApplyOptions<'static> = ApplyOptions {
    flags: ApplyFlags::empty(),
    parent: None,
    kind: None,
    diff_id: None,
    durability: Durability::None,
    threads: Threads::Auto,
    limits: Limits {
        max_size: 0,
        max_entries: 0,
        max_meta: 0,
        max_xattrs: 0,
        max_path: 0,
        zstd_window_log: 0,
    },
};

type WithCallback = fn(&Store, Inside<'_>) -> Result<()>;

/// Each call that has a callback, on the layer `full` or the one named.
#[rustfmt::skip]
const CALLS: [(&str, &str, WithCallback); 12] = [
    ("apply, read", "new", |s, inside| {
        let mut source = Calling(&tar_of("z", b"z"), Some(inside));
        s.apply(b"new", &mut source, &EMPTY, &mut Watch::default()).map(drop)
    }),
    ("apply, progress", "new", |s, inside| {
        let tar = many_files();
        watched(inside, |watch| s.apply(b"new", &mut &tar[..], &EMPTY, watch)).map(drop)
    }),
    ("apply into a layer, read", "void", |s, inside| {
        let mut source = Calling(&tar_of("z", b"z"), Some(inside));
        s.apply(b"void", &mut source, &EMPTY, &mut Watch::default()).map(drop)
    }),
    ("diff, write", "full", |s, inside| {
        let (options, watch) = (DiffOptions::default(), &mut Watch::default());
        s.diff(b"full", Against::Parent, &mut Calling(&[], Some(inside)), &options, watch).map(drop)
    }),
    ("diff, progress", "full", |s, inside| {
        let options = DiffOptions::default();
        watched(inside, |w| s.diff(b"full", Against::Parent, &mut Vec::new(), &options, w)).map(drop)
    }),
    ("changes", "full", |s, inside| {
        watched(inside, |watch| s.changes(b"full", Against::Nothing, watch)).map(drop)
    }),
    ("diff_size", "full", |s, inside| {
        watched(inside, |watch| s.diff_size(b"full", Against::Nothing, watch)).map(drop)
    }),
    ("create, copying", "full", |s, inside| {
        watched(inside, |watch| s.create(b"copy", Some(b"full"), NONE, watch))
    }),
    ("create, flat", "base", |s, inside| {
        watched(inside, |watch| s.create(b"flat", Some(b"base"), CreateFlags::FLAT, watch))
    }),
    ("commit", "full", |s, inside| {
        watched(inside, |w| s.commit(b"full", Durability::Verified, CommitFlags::empty(), w))
    }),
    ("remove", "full", |s, inside| {
        watched(inside, |watch| s.remove(b"full", RemoveFlags::empty(), watch))
    }),
    ("check", "base", |s, inside| {
        watched(inside, |watch| s.check(CheckFlags::empty(), watch)).map(drop)
    }),
];

/// A tar of more files than go by between two looks at the clock.
fn many_files() -> Vec<u8> {
    let mut tar = Vec::new();
    for at in 0..200 {
        let one = tar_of(&format!("file-{at}"), b"x");
        tar.extend_from_slice(&one[..1024]);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// A callback may use the store. No lock of this process is held over it, and the locks of layers
/// are not waited for in vain.
#[test]
fn callbacks_may_use_the_store() {
    require!("root", "overlay");
    std::thread::scope(|scope| {
        for (name, id, call) in CALLS {
            scope.spawn(move || {
                fsys::with_mounts(|dir| called_back(dir, name, id, call));
            });
        }
    });
}

fn called_back(dir: &Path, name: &str, id: &str, call: WithCallback) {
    let store = store(dir);
    apply(&store, "base", None, &many_files()).unwrap();
    create(&store, "void", Some("base")).unwrap();
    let options = ApplyOptions {
        flags: ApplyFlags::WRITABLE,
        parent: Some(b"base"),
        ..EMPTY
    };
    let tar = many_files();
    store
        .apply(b"full", &mut &tar[..], &options, &mut Watch::default())
        .unwrap();
    for file in names(&layer(dir, "full/upper")) {
        std::fs::write(layer(dir, "full/upper").join(file), "changed").unwrap();
    }
    let mut times = 0;
    let mut inside = || {
        times += 1;
        within(name, || {
            everything_elsewhere(&store);
            everything_here(&store, id);
        });
    };
    let done = call(&store, &mut inside);
    assert_eq!(times, 1, "{name} had no callback");
    if let Err(error) = done {
        // Somebody was first, in the callback.
        assert_eq!(error.errno(), Errno::EXIST, "{name}: {error}");
    }
    assert_clean(&store, dir);
}

/// Two of everything, each in the order of the other, until somebody would have locked up.
#[test]
fn opposite_orders() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        for id in ["a", "b"] {
            create(&store, id, Some("base")).unwrap();
        }
        let start = Instant::now();
        let on = || start.elapsed() < Duration::from_secs(3);
        let done = AtomicU64::new(0);
        let run = |one: &str, other: &str, turn: u64| -> Result<()> {
            let watch = &mut Watch::default();
            match turn % 6 {
                0 => diff(&store, one, Against::Layer(other.as_bytes())).map(drop),
                1 => {
                    let copy = format!("copy-{one}");
                    create(&store, &copy, Some(one))?;
                    remove(&store, &copy)
                }
                2 => {
                    remove(&store, one)?;
                    create(&store, one, Some(other))
                }
                3 => {
                    remove(&store, one)?;
                    apply(&store, one, Some("base"), &tar_of("x", b"x")).map(drop)
                }
                4 => store
                    .changes(one.as_bytes(), Against::Parent, watch)
                    .map(drop),
                _ => {
                    remove(&store, one)?;
                    create(&store, one, Some("base"))
                }
            }
        };
        std::thread::scope(|scope| {
            for (at, (one, other)) in [("a", "b"), ("b", "a"), ("a", "b"), ("b", "a")]
                .iter()
                .enumerate()
            {
                let (run, on, done) = (&run, &on, &done);
                scope.spawn(move || {
                    let mut turn = at as u64;
                    while on() {
                        turn += 1;
                        let result = within("a pair of calls", || run(one, other, turn));
                        done.fetch_add(1, Ordering::Relaxed);
                        if let Err(error) = result {
                            let errno = error.errno();
                            let fine = [Errno::BUSY, Errno::NOENT, Errno::EXIST, Errno::ROFS];
                            assert!(fine.contains(&errno), "{error}");
                            // Work is short, and nobody waits for long.
                            let waited =
                                error.code() == Code::Locked && error.operation() == "diff";
                            assert!(!waited, "{error}");
                        }
                    }
                });
            }
        });
        assert!(done.load(Ordering::Relaxed) > 50);
        for id in store.list().unwrap().into_iter().rev() {
            let _ = remove(&store, &id);
        }
        for id in store.list().unwrap().into_iter().rev() {
            remove(&store, &id).unwrap();
        }
        assert_clean(&store, dir);
    });
}

/// What is read under one name is one layer, however often it is removed and made again.
#[test]
fn a_layer_made_again_is_another() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        let bytes = |at: usize| vec![b'0' + at as u8; 40_000 + at];
        let parents = ["p0", "p1"];
        for (at, id) in parents.iter().enumerate() {
            apply(&store, id, None, &tar_of("below", &bytes(at))).unwrap();
        }
        let make = |at: usize| {
            let kind = [Kind::Overlay, Kind::Root][at / 2 % 2];
            let tar = tar_of("own", &bytes(at % 2));
            apply_as(&store, "x", Some(parents[at % 2]), Some(kind), &tar)
        };
        let mut digests = [BTreeSet::new(), BTreeSet::new()];
        for at in 0..2 {
            make(at).unwrap();
            for (against, known) in [Against::Parent, Against::Nothing].iter().zip(&mut digests) {
                known.insert(
                    diff(&store, "x", *against)
                        .unwrap()
                        .diff_id
                        .unwrap()
                        .to_string(),
                );
            }
            remove(&store, "x").unwrap();
        }
        assert_eq!(digests.each_ref().map(BTreeSet::len), [2, 2]);
        let stop = AtomicBool::new(false);
        let (seen, made) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let (store, stop, digests, seen) = (&store, &stop, &digests, &seen);
            for reader in 0..3 {
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let result = match reader {
                            0 | 1 => {
                                let against = [Against::Parent, Against::Nothing][reader];
                                diff(store, "x", against).map(|info| {
                                    let id = info.diff_id.unwrap().to_string();
                                    assert!(digests[reader].contains(&id), "{against:?}");
                                })
                            }
                            _ => mount(store, "x", RO | MountFlags::DETACHED).map(|mounted| {
                                let read = |name: &str| {
                                    use std::os::fd::AsRawFd;
                                    let fd = mounted.fd().unwrap().as_raw_fd();
                                    std::fs::read(format!("/proc/self/fd/{fd}/{name}")).unwrap()
                                };
                                assert_eq!(read("own"), read("below"));
                            }),
                        };
                        match result {
                            Ok(()) => {
                                seen.fetch_add(1, Ordering::Relaxed);
                                // Who removes it waits for those who read it, not for ever.
                                std::thread::sleep(Duration::from_millis(5));
                            }
                            Err(error) => {
                                let is = (error.errno(), error.code());
                                assert_eq!(is, (Errno::NOENT, Code::NoLayer), "{error}");
                            }
                        }
                    }
                });
            }
            let start = Instant::now();
            let mut at: usize = 0;
            while start.elapsed() < Duration::from_secs(3) {
                at += 1;
                make(at).unwrap();
                made.fetch_add(1, Ordering::Relaxed);
                // Now and then it stays until somebody saw it.
                let before = seen.load(Ordering::Relaxed);
                for _ in 0..at % 2 * 50 {
                    if seen.load(Ordering::Relaxed) > before {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                while let Err(error) = remove(store, "x") {
                    assert_eq!(error.errno(), Errno::BUSY, "{error}");
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        let (seen, made) = (seen.into_inner(), made.into_inner());
        assert!(seen > 20 && made > 20, "{seen} seen of {made}");
        for id in parents {
            remove(&store, id).unwrap();
        }
        assert_clean(&store, dir);
    });
}
