//! Damage: what was never whole is not there, the rest is not affected, and check names it.

use crate::common::*;
use crate::remove::rewrite_meta;
use crate::support::fsys;
use ovl::error::Errno;
use ovl::store::*;
use std::fs;
use std::path::Path;

#[test]
fn a_meta_cut_or_changed_anywhere_is_no_layer() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    base(&store);
    create(&store, "box", Some("base")).unwrap();
    let file = layer(dir.path(), "box/meta");
    let whole = fs::read(&file).unwrap();
    let gone = |what: &str| {
        assert!(!store.exists(b"box").unwrap(), "{what}");
        fails(store.stat(b"box"), Errno::NOENT);
        assert_eq!(store.list().unwrap(), ["base"], "{what}");
    };
    for len in 0..whole.len() {
        fs::write(&file, &whole[..len]).unwrap();
        gone(&format!("cut at {len}"));
        let mut bad = whole.clone();
        bad[len] ^= 1;
        fs::write(&file, &bad).unwrap();
        gone(&format!("changed at {len}"));
    }
    fs::write(&file, [&whole[..], b"\n"].concat()).unwrap();
    gone("longer");
    fs::remove_file(&file).unwrap();
    gone("without");
    // Its id is free.
    create(&store, "box", Some("base")).unwrap();
    assert_eq!(names(&dir.path().join("home/trash")).len(), 1);
    assert_clean(&store, dir.path());
}

#[test]
fn cleanup_takes_what_was_never_whole() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    base(&store);
    create(&store, "box", Some("base")).unwrap();
    fs::write(layer(dir.path(), "box/meta"), "").unwrap();
    fs::create_dir(layer(dir.path(), "empty")).unwrap();
    fs::create_dir(dir.path().join("home/stage/left")).unwrap();
    fs::write(dir.path().join("home/stage/left/x"), "").unwrap();
    fs::write(dir.path().join("home/trash/file"), "").unwrap();
    cleanup(&store);
    assert_eq!(names(&dir.path().join("home/layer")), ["base"]);
    assert_clean(&store, dir.path());
    remove(&store, "base").unwrap();
}

/// Each kind of damage, the place that check names, and whether repair mends it.
#[test]
fn check_names_the_damage() {
    require!("root");
    type Harm = fn(&Path);
    let cases: [(&str, &str, bool, Harm); 13] = [
        ("box", "not whole", true, |d| {
            fs::write(layer(d, "box/meta"), "x").unwrap()
        }),
        ("box", "no hint", true, |d| {
            fs::remove_file(layer(d, "base/child/box")).unwrap()
        }),
        ("box", "missing", true, |d| {
            fs::remove_dir(layer(d, "box/work")).unwrap()
        }),
        ("box", "missing", false, |d| {
            fs::remove_dir_all(layer(d, "box/upper")).unwrap()
        }),
        ("base", "missing", true, |d| {
            fs::remove_dir(layer(d, "base/pin")).unwrap()
        }),
        ("base", "differs", false, |d| {
            fs::write(layer(d, "base/root/base"), "longer").unwrap()
        }),
        ("base", "differs", false, |d| {
            fs::remove_file(layer(d, "base/root/base")).unwrap()
        }),
        ("base", "differs", false, |d| {
            fs::write(layer(d, "base/root/new"), "").unwrap()
        }),
        ("base", "manifest", false, |d| {
            fs::write(layer(d, "base/manifest"), "\u{ff}").unwrap()
        }),
        ("box", "no parent", false, |d| {
            fs::remove_file(layer(d, "base/child/box")).unwrap();
            fs::write(layer(d, "box/lower-id"), "gone").unwrap()
        }),
        ("box", "cycle", false, |d| {
            fs::remove_file(layer(d, "base/child/box")).unwrap();
            fs::write(layer(d, "box/lower-id"), "box").unwrap();
            fs::write(layer(d, "box/child/box"), "").unwrap();
        }),
        ("stage/left", "leftover", true, |d| {
            fs::create_dir(d.join("home/stage/left")).unwrap()
        }),
        ("trash/left", "leftover", true, |d| {
            fs::write(d.join("home/trash/left"), "").unwrap()
        }),
    ];
    for (at, (place, kind, mends, harm)) in cases.into_iter().enumerate() {
        let dir = fsys::scratch();
        let dir = dir.path();
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        create(&store, "other", None).unwrap();
        commit(&store, "other").unwrap();
        harm(dir);
        let told = |problems: &[Problem]| {
            let all: Vec<_> = problems.iter().map(|p| (p.layer.clone(), p.kind)).collect();
            assert!(!all.is_empty(), "case {at}: nothing is told");
            for one in all {
                assert_eq!(one, (place.to_string(), kind), "case {at}: {problems:?}");
            }
        };
        told(&check(&store));
        let mended = repair(&store);
        assert_eq!(mended[0].layer, place, "case {at}");
        assert_eq!(mended[0].repaired, mends, "case {at}: {mended:?}");
        // What was not whole lies in trash now.
        repair(&store);
        if mends {
            assert_eq!(check(&store), [], "case {at}");
        } else {
            told(&check(&store));
        }
        assert!(store.exists(b"other").unwrap());
    }
}

#[test]
fn check_names_strangers() {
    let dir = fsys::scratch();
    let store = store(dir.path());
    fs::write(dir.path().join("home/notes"), "").unwrap();
    fs::create_dir(dir.path().join("home/layer/.hidden")).unwrap();
    let problems = check(&store);
    let all: Vec<_> = problems.iter().map(|p| (&p.layer[..], p.kind)).collect();
    assert_eq!(all, [("layer/.hidden", "foreign"), ("notes", "foreign")]);
    repair(&store);
    assert!(dir.path().join("home/notes").exists());
}

/// Numbers in a meta are not believed further than they go.
#[test]
fn absurd_numbers() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        base(&store);
        create(&store, "box", Some("base")).unwrap();
        commit(&store, "box").unwrap();
        let absurd = format!("lowers={}", u32::MAX);
        rewrite_meta(dir, "box", |text| text.replace("lowers=1", &absurd));
        fails(create(&store, "more", Some("box")), Errno::MLINK);
        unmount(mount(&store, "box", RO).unwrap());
        remove(&store, "box").unwrap();
    });
}

#[test]
fn a_ring_of_layers_ends() {
    require!("root", "overlay");
    let dir = fsys::scratch();
    let dir = dir.path();
    let store = store(dir);
    base(&store);
    create(&store, "a", Some("base")).unwrap();
    commit(&store, "a").unwrap();
    create(&store, "b", Some("a")).unwrap();
    fs::write(layer(dir, "a/lower-id"), "b").unwrap();
    assert!(mount(&store, "b", RW).is_err());
    let watch = &mut ovl::watch::Watch::default();
    assert!(store.changes(b"b", Against::Nothing, watch).is_err());
    assert!(!check(&store).is_empty());
}
