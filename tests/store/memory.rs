//! What a check and a count of usage remember: it does not grow with a layer's files, but by little
//! with those that have several names; and how often they ask the disk.

use crate::child;
use crate::common::*;
use crate::support::fsys;
use ovl::store::*;
use ovl::watch::Watch;
use std::path::Path;

/// Files, in directories of as many.
const FILES: usize = 40_000;
const IN_ONE: usize = 200;

/// What is said of an inode of several names, at most.
const LINKED: u64 = 64;

/// What every call may take besides: buffers, a directory's names, and what the allocator keeps.
const REST: u64 = 2 << 20;

fn many() -> Vec<u8> {
    let mut tar = Vec::new();
    for at in 0..FILES {
        let name = format!("a-directory-of-some-length-{}/file{at}", at / IN_ONE);
        let mut one = tar_of(&name, b"x");
        one.truncate(1024);
        tar.extend(one);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// The most that this process has had in memory, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    words[1].parse::<u64>().unwrap() << 10
}

/// The job "remember CALL".
pub fn child_remembers(dir: &Path, words: &[&str]) {
    let store = store(dir);
    let watch = &mut Watch::default();
    let none = CommitFlags::empty();
    let before = peak();
    match words {
        ["usage"] => drop(store.usage(None, watch).unwrap()),
        ["check"] => assert!(check_all(&store).iter().all(|one| one.note)),
        ["verified"] => store
            .commit(b"whole", Durability::Verified, none, watch)
            .unwrap(),
        other => panic!("{other:?}"),
    }
    println!("GREW {}", peak() - before);
}

#[test]
fn little_is_remembered() {
    require!("root", "overlay");
    fsys::on("tmpfs", |dir| {
        let store = store(dir);
        apply(&store, "base", None, &many()).unwrap();
        // All files have a second name here.
        let over = tar_of("new", b"new");
        apply_as(&store, "top", Some("base"), Some(Kind::Root), &over).unwrap();
        // And none here.
        create(&store, "whole", None).unwrap();
        let root = layer(dir, "whole/root");
        for at in 0..FILES {
            let place = root.join(format!("a-directory-of-some-length-{}", at / IN_ONE));
            if at % IN_ONE == 0 {
                std::fs::create_dir(&place).unwrap();
            }
            std::fs::write(place.join(format!("file{at}")), "x").unwrap();
        }
        for (call, linked) in [("usage", FILES), ("check", FILES), ("verified", 0)] {
            let output = child::command(dir, &format!("remember {call}")).output();
            let said = String::from_utf8(output.unwrap().stdout).unwrap();
            let grew = said.lines().find_map(|line| line.split_once("GREW "));
            let grew: u64 = grew
                .unwrap_or_else(|| panic!("{call}: {said}"))
                .1
                .parse()
                .unwrap();
            let most = REST + LINKED * linked as u64;
            assert!(grew <= most, "{call}: {grew} bytes, and not {most}");
        }
    });
}

/// A check asks as often for each layer, however many are below it.
#[test]
fn a_long_chain_is_looked_at_once() {
    require!("root", "overlay", "strace");
    fsys::on("tmpfs", |dir| {
        let calls = |length: usize| {
            let place = dir.join(length.to_string());
            std::fs::create_dir(&place).unwrap();
            let store = store(&place);
            base(&store);
            let mut below = "base".to_string();
            for at in 0..length {
                let id = format!("l{at}");
                create(&store, &id, Some(&below)).unwrap();
                commit(&store, &id).unwrap();
                below = id;
            }
            let out = place.join("strace");
            let out = out.to_str().unwrap();
            let strace = [
                "strace",
                "-f",
                "-qq",
                "-e",
                "trace=openat2,read,statx",
                "-o",
                out,
            ];
            child::succeeds(child::wrapped(&strace, &place, "remember check"));
            std::fs::read_to_string(out).unwrap().lines().count()
        };
        let (short, long) = (calls(30), calls(90));
        assert!(
            long < short * 4,
            "{short} calls for 30 layers, {long} for 90"
        );
    });
}
