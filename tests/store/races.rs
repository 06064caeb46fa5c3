//! Many callers at once, and callers that are killed.

use crate::child;
use crate::common::*;
use crate::support::fsys;
use ovl::error::{Code, Errno, Error, Result};
use ovl::store::*;
use ovl::watch::Watch;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A generator of numbers that need not be good.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// What may be said to one whose layer another one makes, mounts, commits or removes meanwhile.
fn allowed(what: &str, error: &Error) {
    let errno = error.errno();
    let all = [
        Errno::EXIST,
        Errno::NOENT,
        Errno::BUSY,
        Errno::ROFS,
        Errno::NOTEMPTY,
        Errno::INVAL,
    ];
    let fine = all.contains(&errno)
        && match errno {
            // Another parent than it has, or nothing mounted.
            Errno::INVAL => ["apply", "unmount_at"].contains(&what),
            Errno::ROFS => ["commit", "mount", "apply"].contains(&what),
            Errno::EXIST | Errno::NOTEMPTY => ["create", "apply"].contains(&what),
            _ => true,
        };
    assert!(fine, "{what}: {errno:?}: {error:?}");
}

/// Does whatever the dice say to the same few layers until the time is over.
fn churn(store: &Store, seed: u64, time: Duration) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let tar = tar_of("own", &vec![b'o'; 70_000]);
    let start = Instant::now();
    let watch = &mut Watch::default();
    let mut held: Vec<Mount> = Vec::new();
    while start.elapsed() < time {
        let id = format!("id{}", dice.roll(4));
        let parent = format!("id{}", dice.roll(4));
        let (what, done): (_, Result<()>) = match dice.roll(12) {
            0 | 1 => ("create", create(store, &id, None)),
            2 | 3 if id != parent => ("create", create(store, &id, Some(&parent))),
            4 => ("apply", apply(store, &id, None, &tar).map(drop)),
            5 if id != parent => ("apply", apply(store, &id, Some(&parent), &tar).map(drop)),
            6 => ("commit", commit(store, &id)),
            7 => {
                let flags = [RW, RO, RW, MountFlags::DETACHED][dice.roll(4) as usize];
                ("mount", mount(store, &id, flags).map(|m| held.push(m)))
            }
            8 => ("cleanup", store.cleanup(watch).map(drop)),
            9 => ("stat", store.stat(id.as_bytes()).map(drop)),
            10 => {
                let ended = store.unmount_at(id.as_bytes(), UnmountFlags::empty());
                ("unmount_at", ended)
            }
            _ => ("remove", remove(store, &id)),
        };
        if let Err(error) = done {
            allowed(what, &error);
        }
        while held.len() > 1 {
            let ended = held.remove(0).unmount(UnmountFlags::empty());
            if let Err((_, error)) = ended {
                allowed("unmount", &error);
            }
        }
        let listed = store.list();
        assert!(listed.is_ok(), "{listed:?}");
    }
    for mount in held {
        if let Err((_, error)) = mount.unmount(UnmountFlags::empty()) {
            allowed("unmount", &error);
        }
    }
}

pub fn child_churns(dir: &Path, words: &[&str]) {
    let number = |at: usize| words[at].parse::<u64>().unwrap();
    churn(&store(dir), number(0), Duration::from_millis(number(1)));
}

pub fn child_looks(dir: &Path, _: &[&str]) {
    let store = store(dir);
    println!("READY");
    while !dir.join("over").exists() {
        for _ in 0..64 {
            if let Err(error) = store.mount_spec(b"top", SpecFlags::empty(), None) {
                assert_eq!(error.code(), Code::NoLayer, "{error:?}");
            }
        }
    }
    // Nobody reads what the test harness would say.
    std::process::exit(0);
}

/// A chain that goes while somebody looks at it, and is held up at that, is not damaged.
#[test]
fn a_chain_that_goes_while_it_is_looked_at() {
    let dir = fsys::scratch();
    let dir = dir.path();
    let made = store(dir);
    let looker = child::ready(child::command(dir, "look"));
    let pid = rustix::process::Pid::from_child(&looker);
    let mut dice = Dice(815);
    for _ in 0..200 {
        create(&made, "base", None).unwrap();
        commit(&made, "base").unwrap();
        create(&made, "top", Some("base")).unwrap();
        std::thread::sleep(Duration::from_micros(dice.roll(300)));
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        remove(&made, "top").unwrap();
        remove(&made, "base").unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    }
    fs::write(dir.join("over"), "").unwrap();
    let said = looker.wait_with_output().unwrap();
    assert!(said.status.success(), "{said:?}");
}

/// Every layer that is there is whole, and all of it can be taken away.
fn assert_consistent(dir: &Path) {
    let store = store(dir);
    cleanup(&store);
    for id in store.list().unwrap() {
        let info = store.stat(id.as_bytes()).unwrap();
        let content = if info.kind == Kind::Root {
            "root"
        } else {
            "upper"
        };
        let file = layer(dir, &format!("{id}/{content}/own"));
        if info.diff_id.is_some() {
            assert_eq!(fs::read(file).unwrap(), vec![b'o'; 70_000], "{id}");
        }
    }
    assert_clean(&store, dir);
    for _ in 0..8 {
        for id in store.list().unwrap() {
            if let Err(error) = remove(&store, &id) {
                assert_eq!(error.errno(), Errno::BUSY, "{error}");
                assert_eq!(error.code(), ovl::error::Code::HasChildren, "{error}");
            }
        }
    }
    assert_eq!(store.list().unwrap(), [""; 0]);
    assert_clean(&store, dir);
}

#[test]
fn threads_and_processes_at_once() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let shared = store(dir);
        let children: Vec<_> = (0..4)
            .map(|at| {
                let mut command = child::command(dir, &format!("churn {} 5000", at + 100));
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        std::thread::scope(|scope| {
            for at in 0..3 {
                let shared = &shared;
                scope.spawn(move || churn(shared, at + 1, Duration::from_secs(5)));
            }
        });
        for child in children {
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
        }
        drop(shared);
        assert_consistent(dir);
    });
}

#[test]
fn killed_at_any_moment() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        drop(store(dir));
        let mut dice = Dice(4711);
        let start = Instant::now();
        let mut round = 0;
        while start.elapsed() < Duration::from_secs(8) {
            round += 1;
            let children: Vec<_> = (0..2)
                .map(|at| {
                    let work = format!("churn {} 60000", round * 2 + at);
                    let mut command = child::command(dir, &work);
                    command.stdout(Stdio::null()).stderr(Stdio::piped());
                    command.spawn().unwrap()
                })
                .collect();
            std::thread::sleep(Duration::from_micros(8_000 + dice.roll(60_000)));
            for mut child in children {
                child.kill().unwrap();
                let output = child.wait_with_output().unwrap();
                // One that failed ended by itself.
                let said = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), None, "{said}");
            }
            if round % 8 == 0 {
                assert_consistent(dir);
            } else {
                let store = store(dir);
                assert_eq!(
                    store.list().unwrap().len(),
                    names(&dir.join("home/layer")).len()
                );
            }
        }
        assert_consistent(dir);
        assert!(round > 20, "{round} rounds");
    });
}

/// Two who make the same layer: one does, whatever else happens, and nobody's is thrown away.
#[test]
fn the_winner_keeps_his_layer() {
    require!("root");
    fsys::with_mounts(|dir| {
        let shared = store(dir);
        let (mut made, start) = (0, Instant::now());
        while start.elapsed() < Duration::from_secs(2) {
            let winners: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|at| {
                        let shared = &shared;
                        scope.spawn(move || match at {
                            0 => {
                                let done = shared.cleanup(&mut Watch::default());
                                done.unwrap();
                                0
                            }
                            _ => match create(shared, "same", None) {
                                Ok(()) => 1,
                                Err(error) => {
                                    assert!(
                                        [Errno::EXIST, Errno::BUSY].contains(&error.errno()),
                                        "{error}"
                                    );
                                    0
                                }
                            },
                        })
                    })
                    .collect();
                threads.into_iter().map(|t| t.join().unwrap()).sum()
            });
            assert_eq!(winners, 1);
            assert!(shared.exists(b"same").unwrap());
            remove(&shared, "same").unwrap();
            made += 1;
        }
        assert!(made > 100, "{made}");
        assert_clean(&shared, dir);
    });
}

/// Also when the test fails.
struct Stop<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Looking at a layer must not take its lock from one who is mounting it.
#[test]
fn a_handle_is_always_counted() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let shared = store(dir);
        base(&shared);
        create(&shared, "box", Some("base")).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        shared.stat(b"box").unwrap();
                    }
                });
            }
            let _stop = Stop(&stop);
            for _ in 0..150 {
                let mounted = settled(|| mount(&shared, "box", MountFlags::DETACHED));
                assert!(shared.stat(b"box").unwrap().mounted);
                unmount(mounted);
            }
        });
    });
}
