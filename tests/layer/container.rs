//! What was really done in a mount, told and applied again.

use crate::lab::{Lab, Tree, assert_tree};
use crate::support::{fsys, have};
use crate::tar::{self, *};
use ovl::store::*;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink as link_to};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

pub fn base() -> Vec<Entry> {
    let mut all = vec![
        dir(""),
        dir("etc"),
        file("etc/passwd", "root:x"),
        file("etc/same", "aaaa"),
    ];
    all.extend([
        dir("tree"),
        dir("tree/sub"),
        file("tree/sub/f", "f"),
        file("tree/g", "g"),
    ]);
    all.extend([
        file("chmod", ""),
        file("xattr", ""),
        file("mv", "moved"),
        file("long", &"x".repeat(9000)),
    ]);
    all.extend([
        file("linked", "linked"),
        hard("linked2", "linked"),
        symlink("ln", "etc"),
        file("gone", ""),
    ]);
    all.extend([
        dir("own"),
        file("own/a", "a"),
        symlink("own/l", "a"),
        file("untouched", "u"),
    ]);
    all
}

fn sh(at: &Path, script: &str) {
    have::run(Command::new("sh").args(["-ec", script]).current_dir(at)).unwrap();
}

/// Changes of every kind.
fn work(at: &Path) {
    fs::write(at.join("etc/new"), "new").unwrap();
    fs::set_permissions(at.join("chmod"), fs::Permissions::from_mode(0o4711)).unwrap();
    xattr::set(at.join("xattr"), "user.note", b"\0\xff").unwrap();
    // As large, and as old.
    let same = fs::OpenOptions::new()
        .write(true)
        .open(at.join("etc/same"))
        .unwrap();
    same.write_at(b"bbbb", 0).unwrap();
    same.set_modified(UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789))
        .unwrap();
    fs::remove_file(at.join("ln")).unwrap();
    link_to("own", at.join("ln")).unwrap();
    fs::remove_dir_all(at.join("tree")).unwrap();
    fs::create_dir(at.join("tree")).unwrap();
    fs::write(at.join("tree/only"), "only").unwrap();
    fs::rename(at.join("mv"), at.join("moved")).unwrap();
    fs::hard_link(at.join("linked"), at.join("linked3")).unwrap();
    for name in ["own", "own/a", "own/l"] {
        lchown(at.join(name), Some(1000), Some(1001)).unwrap();
    }
    fs::OpenOptions::new()
        .write(true)
        .open(at.join("long"))
        .unwrap()
        .set_len(4097)
        .unwrap();
    sh(
        at,
        "mknod null c 1 3; mknod loop b 7 99; mkfifo pipe; rm gone; mkdir -m 1777 tmp2",
    );
    fs::write(at.join("suid"), "suid").unwrap();
    chown(at.join("suid"), Some(3), Some(4)).unwrap();
    fs::set_permissions(at.join("suid"), fs::Permissions::from_mode(0o6755)).unwrap();
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    xattr::set(at.join("suid"), "security.capability", capability).unwrap();
    for name in [&b"bytes \xff\xfe"[..], b"new\nline", b"-rf", b"back\\slash"] {
        fs::write(at.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let old = UNIX_EPOCH + Duration::new(5, 1);
    fs::File::open(at.join("etc/new"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    if have::or_skip("setfacl") {
        sh(
            at,
            "mkdir acl; setfacl -m u:7:rwx -d -m u:8:r acl; touch acl/f; setfacl -m g:9:r chmod",
        );
    }
}

/// Applies a diff in both kinds: the tree is the container's, and so is the diff again.
#[track_caller]
pub fn comes_again(lab: &Lab, parent: &str, tar: &[u8], tree: &Tree) {
    for kind in [Kind::Overlay, Kind::Root] {
        lab.apply("again", parent, kind, tar).unwrap();
        assert_tree(&format!("{kind:?}"), &lab.look("again"), tree);
        assert!(
            lab.diff("again", Against::Parent) == tar,
            "{kind:?}: other bytes"
        );
        lab.remove("again");
    }
}

#[test]
fn what_a_container_did_comes_again() {
    require!("root", "overlay");
    fsys::each(&["ext4", "tmpfs", "xfs", "btrfs"], |_, dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&base()))
            .unwrap();
        lab.create("c", "base");
        lab.change("c", work);
        let tree = lab.look("c");
        let diff = lab.diff("c", Against::Parent);
        let text = diff.escape_ascii().to_string();
        assert!(
            !text.contains("overlay."),
            "overlayfs's own attributes are in the diff"
        );
        // A fourth name of the copied-up file is one inode with the third.
        assert_eq!(tree[&b"linked3"[..]].leader, b"linked");
        comes_again(&lab, "base", &diff, &tree);
        let size = lab.size("c");
        lab.store
            .commit(
                b"c",
                Durability::None,
                CommitFlags::empty(),
                &mut Default::default(),
            )
            .unwrap();
        assert_eq!(
            lab.diff("c", Against::Parent),
            diff,
            "commit changed the diff"
        );
        assert_eq!(lab.size("c"), size, "commit changed the size");
        let whole = lab.diff("c", Against::Nothing);
        lab.apply("whole", "", Kind::Root, &whole).unwrap();
        assert_tree("against nothing", &lab.look("whole"), &tree);
        // Between unrelated layers, both ways.
        for (from, to) in [("base", "whole"), ("whole", "base"), ("whole", "c")] {
            let diff = lab.diff(to, Against::Layer(from.as_bytes()));
            lab.apply("turned", from, Kind::Overlay, &diff).unwrap();
            assert_tree(
                &format!("{from} to {to}"),
                &lab.look("turned"),
                &lab.look(to),
            );
            lab.remove("turned");
        }
        assert!(lab.changes("whole", Against::Layer(b"c")).is_empty());
    });
}

#[test]
fn changes_are_told_exactly() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&base()))
            .unwrap();
        lab.create("c", "base");
        assert!(lab.changes("c", Against::Parent).is_empty());
        lab.change("c", |at| {
            fs::write(at.join("etc/new"), "").unwrap();
            fs::set_permissions(at.join("chmod"), fs::Permissions::from_mode(0o600)).unwrap();
            fs::remove_dir_all(at.join("tree")).unwrap();
            fs::create_dir(at.join("tree")).unwrap();
            fs::write(at.join("tree/g"), "other").unwrap();
            fs::remove_file(at.join("gone")).unwrap();
            fs::remove_dir_all(at.join("own")).unwrap();
            fs::write(at.join("own"), "now a file").unwrap();
        });
        let wanted = [
            "C /chmod",
            "C /etc",
            "A /etc/new",
            "D /gone",
            "C /own",
            "C /tree",
            "C /tree/g",
            "D /tree/sub",
        ];
        assert_eq!(lab.changes("c", Against::Parent), wanted);
        let back = lab.changes("base", Against::Layer(b"c"));
        let wanted = [
            "C /chmod",
            "C /etc",
            "D /etc/new",
            "A /gone",
            "C /own",
            "A /own/a",
            "A /own/l",
            "C /tree",
            "C /tree/g",
            "A /tree/sub",
            "A /tree/sub/f",
        ];
        assert_eq!(back, wanted);
        assert_eq!(lab.changes("c", Against::Layer(b"c")), [""; 0]);
        assert_eq!(
            lab.size("c"),
            "other".len() as u64 + "now a file".len() as u64
        );
        let all = lab.changes("c", Against::Nothing);
        assert!(
            all.iter().all(|line| line.starts_with("A ")) && all.contains(&"A /etc/passwd".into())
        );
    });
}

/// A container over its -init layer: two uppers over one parent.
#[test]
fn an_init_layer_is_compared_like_any() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&base()))
            .unwrap();
        lab.create("c-init", "base");
        lab.change("c-init", |at| {
            fs::write(at.join("etc/hosts"), "init").unwrap()
        });
        lab.create("c", "c-init");
        assert!(lab.changes("c", Against::Layer(b"c-init")).is_empty());
        lab.change("c", |at| {
            fs::write(at.join("etc/passwd"), "changed").unwrap();
            fs::remove_file(at.join("etc/hosts")).unwrap();
        });
        let wanted = ["C /etc", "D /etc/hosts", "C /etc/passwd"];
        assert_eq!(lab.changes("c", Against::Layer(b"c-init")), wanted);
        assert_eq!(
            lab.changes("c", Against::Layer(b"base")),
            ["C /etc", "C /etc/passwd"]
        );
    });
}

/// Names that became one inode without any other change are a change all the same.
#[test]
fn a_new_link_group_of_equal_files_is_told() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        let layer = [
            tar::dir("d").mtime(7, 7),
            file("d/a", "equal"),
            file("d/b", "equal"),
        ];
        lab.apply("base", "", Kind::Root, &tar::bytes(&layer))
            .unwrap();
        lab.create("c", "base");
        lab.change("c", |at| {
            fs::remove_file(at.join("d/b")).unwrap();
            fs::hard_link(at.join("d/a"), at.join("d/b")).unwrap();
            sh(at, "touch -d @7.000000007 d");
        });
        let tree = lab.look("c");
        assert_eq!(tree[&b"d/b"[..]].leader, b"d/a");
        comes_again(&lab, "base", &lab.diff("c", Against::Parent), &tree);
    });
}

/// All whiteouts of an upper are names of one inode; in a tar each stands for itself, parents
/// come first, and what an opaque or removed directory hides is not told again.
#[test]
fn whiteouts_are_no_hard_links_and_none_is_idle() {
    require!("root", "overlay", "ext4", "tar");
    fsys::on("ext4", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&base()))
            .unwrap();
        lab.create("c", "base");
        lab.change("c", |at| {
            sh(at, "rm gone chmod xattr; rm -r tree/sub; rm -r own; mkdir own; touch own/new; touch x; rm x");
        });
        let list = dir.join("diff.tar");
        fs::write(&list, lab.diff("c", Against::Parent)).unwrap();
        let out = Command::new("tar").arg("-tf").arg(&list).output().unwrap();
        let names = String::from_utf8(out.stdout).unwrap();
        let names: Vec<&str> = names
            .lines()
            .map(|n| n.trim_start_matches("./"))
            .filter(|n| !n.is_empty())
            .collect();
        let wanted = [
            ".wh.chmod",
            ".wh.gone",
            "own/",
            "own/.wh.a",
            "own/.wh.l",
            "own/new",
            "tree/",
            "tree/.wh.sub",
            ".wh.xattr",
        ];
        assert_eq!(names, wanted);
        let out = Command::new("tar").arg("-tvf").arg(&list).output().unwrap();
        assert!(!String::from_utf8(out.stdout).unwrap().contains("link to"));
        comes_again(&lab, "base", &fs::read(&list).unwrap(), &lab.look("c"));
    });
}

/// A copied-up link target does not count; what takes its inode number does.
#[test]
fn sizes_count_what_the_tar_brings() {
    require!("root", "overlay", "ext4");
    fsys::on("ext4", |dir| {
        let lab = Lab::new(dir);
        lab.apply("base", "", Kind::Root, &tar::bytes(&base()))
            .unwrap();
        let layers = [
            (vec![hard("z", "long")], 0),
            (
                vec![
                    hard("z", "long"),
                    file("long", "12"),
                    file("z", "345"),
                    file("n", "6"),
                ],
                6,
            ),
            (
                vec![
                    file("a", "12"),
                    hard("b", "a"),
                    symlink("s", "three"),
                    tar::dir("d"),
                ],
                7,
            ),
            (vec![file("a", "12"), file("a", "345"), gone("long")], 3),
        ];
        for (layer, size) in layers {
            for kind in [Kind::Overlay, Kind::Root] {
                lab.apply("x", "base", kind, &tar::bytes(&layer)).unwrap();
                assert_eq!(lab.size("x"), size, "{kind:?} {layer:?}");
                lab.remove("x");
            }
        }
    });
}
