//! Long chains of layers.

use crate::common::*;
use crate::support::fsys;
use ovl::error::{Code, Errno};
use ovl::store::*;
use std::fs;

/// Makes `l0` (root) and overlay layers up to `l<n>`, each committed.
fn chain(store: &Store, dir: &std::path::Path, from: usize, to: usize) {
    for at in from..=to {
        let parent = at.checked_sub(1).map(|below| format!("l{below}"));
        create(store, &format!("l{at}"), parent.as_deref()).unwrap();
        let content = if at == 0 { "root" } else { "upper" };
        let file = layer(dir, &format!("l{at}/{content}/file{at}"));
        fs::write(file, at.to_string()).unwrap();
        commit(store, &format!("l{at}")).unwrap();
    }
}

fn bottom_and_top_are_seen(store: &Store, id: &str, flags: MountFlags, top: usize) {
    let mounted = mount(store, id, flags).unwrap_or_else(|e| panic!("{id} {flags:?}: {e}"));
    for at in [0, top / 2, top] {
        let file = path_of(&mounted).join(format!("file{at}"));
        assert_eq!(fs::read_to_string(file).unwrap(), at.to_string());
    }
    assert_eq!(names(&path_of(&mounted)).len(), top + 1);
    unmount(mounted);
}

#[test]
fn up_to_the_limit_and_flat_beyond() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let store = store(dir);
        let mut made = 0;
        for depth in [128, 400, 499] {
            chain(&store, dir, made, depth);
            made = depth + 1;
            bottom_and_top_are_seen(&store, &format!("l{depth}"), RO, depth);
            create(&store, "box", Some(&format!("l{depth}"))).unwrap();
            bottom_and_top_are_seen(&store, "box", RW, depth);
            bottom_and_top_are_seen(&store, "box", RO, depth);
            remove(&store, "box").unwrap();
        }
        // l499 with 499 below it: a writable layer over it has 500 lowers, the kernel's limit.
        assert_eq!(store.stat(b"l499").unwrap().lowers, 499);
        create(&store, "last", Some("l499")).unwrap();
        commit(&store, "last").unwrap();
        // Committed, it can still be seen.
        bottom_and_top_are_seen(&store, "last", RO, 499);
        let error = fails(create(&store, "more", Some("last")), Errno::MLINK);
        assert_eq!(error.code(), Code::Limit);
        assert!(error.message().contains("OVL_CREATE_FLAT"), "{error}");
        let overlay = Some(Kind::Overlay);
        fails(
            apply_as(&store, "more", Some("last"), overlay, &tar_of("x", b"")),
            Errno::MLINK,
        );
        create_with(&store, "flat", Some("last"), CreateFlags::FLAT).unwrap();
        create(&store, "more", Some("flat")).unwrap();
        assert_eq!(store.stat(b"more").unwrap().lowers, 1);
        bottom_and_top_are_seen(&store, "more", RW, 499);
    });
}

/// A handle that has read a chain does not read it again: not even what is gone by then.
#[test]
fn a_chain_is_read_once() {
    require!("root", "overlay");
    fsys::with_mounts(|dir| {
        let (store, other) = (store(dir), open(&dir.join("home")));
        chain(&store, dir, 0, 5);
        for id in ["box", "box2"] {
            create(&store, id, Some("l5")).unwrap();
        }
        bottom_and_top_are_seen(&store, "box", RW, 5);
        fs::rename(layer(dir, "l3/lower-id"), layer(dir, "l3/saved")).unwrap();
        bottom_and_top_are_seen(&store, "box2", RW, 5);
        let error = fails(mount(&other, "box2", RW).map(drop), Errno::IO);
        assert_eq!(error.code(), Code::Damaged, "{error}");
        fs::rename(layer(dir, "l3/saved"), layer(dir, "l3/lower-id")).unwrap();
        // Where it is no longer so, it is read anew.
        fs::rename(layer(dir, "l2"), layer(dir, "moved")).unwrap();
        fs::write(layer(dir, "l3/lower-id"), "moved").unwrap();
        bottom_and_top_are_seen(&store, "box2", RW, 5);
        bottom_and_top_are_seen(&store, "box", RW, 5);
    });
}

/// Another layer of a known one's name, and perhaps of its inode number, has its own chain.
#[test]
fn a_known_name_is_no_known_layer() {
    require!("root", "overlay");
    fsys::each(&["ext4", "xfs", "tmpfs"], |_, dir| {
        let store = store(dir);
        for base in ["a", "b"] {
            apply(&store, base, None, &tar_of(base, b"x")).unwrap();
        }
        for round in 0..40 {
            let base = ["a", "b"][round % 2];
            create(&store, "p", Some(base)).unwrap();
            commit(&store, "p").unwrap();
            create(&store, "c", Some("p")).unwrap();
            let mounted = mount(&store, "c", RW).unwrap();
            assert_eq!(names(&path_of(&mounted)), [base], "round {round}");
            unmount(mounted);
            for id in ["c", "p"] {
                settled(|| remove(&store, id));
            }
        }
    });
}
