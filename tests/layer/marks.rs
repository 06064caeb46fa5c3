//! What other programs' overlays leave in an upper, case by case.

use crate::container::comes_again;
use crate::foreign::elsewhere;
use crate::lab::Lab;
use crate::support::{fsys, have};
use crate::tar::{self, dir, file, hard};
use ovl::error::Errno;
use ovl::store::*;
use std::fs;
use std::path::Path;
use std::process::Command;

fn image() -> Vec<tar::Entry> {
    vec![
        dir("d"),
        file("d/f", "content of f"),
        dir("d/sub"),
        file("d/sub/g", "content of g"),
        file("long", &"long ".repeat(5000)).xattr("user.note", b"kept"),
        file("a", "linked"),
        hard("b", "a"),
    ]
}

fn lab(dir: &Path, name: &str, marks: MarksChoice) -> Lab {
    let home = dir.join(name);
    let options = OpenOptions {
        marks,
        ..OpenOptions::default()
    };
    let store = Store::open(home.as_os_str().as_encoded_bytes(), options).unwrap();
    let lab = Lab { home, store };
    lab.apply("base", "", Kind::Root, &tar::bytes(&image()))
        .unwrap();
    lab.create("box", "base");
    lab
}

fn sh(at: &Path, script: &str) {
    have::run(Command::new("sh").args(["-ec", script]).current_dir(at)).unwrap();
}

/// Both ways to look at a layer refuse it, and say which path it is.
#[track_caller]
fn refused(lab: &Lab, errno: Errno, path: &str) {
    let error = lab
        .try_diff("box", Against::Parent, DiffFlags::empty())
        .unwrap_err();
    assert_eq!(
        (error.errno(), error.path()),
        (errno, path.as_bytes()),
        "{error}"
    );
    let error = lab
        .store
        .changes(b"box", Against::Parent, &mut Default::default())
        .unwrap_err();
    assert_eq!(
        (error.errno(), error.path()),
        (errno, path.as_bytes()),
        "{error}"
    );
}

/// Not to be mounted, nor to be built on, and one of these paths is why.
#[track_caller]
fn not_mounted(lab: &Lab, paths: &[&str]) {
    let commit = || {
        let flags = CommitFlags::empty();
        let mut watch = Default::default();
        lab.store
            .commit(b"box", Durability::None, flags, &mut watch)
    };
    let mount = lab.store.mount(b"box", &MountOptions::default()).map(drop);
    for error in [mount.unwrap_err(), commit().unwrap_err()] {
        assert_eq!(error.errno(), Errno::OPNOTSUPP, "{error}");
        // The first that is found, in the order of the disk.
        let path = String::from_utf8_lossy(error.path());
        assert!(paths.contains(&path.as_ref()), "{path}: {error}");
    }
}

#[test]
fn renamed_directories_and_copied_up_attributes_are_told() {
    require!("root", "overlay", "ext4", "tmpfs", "xfs");
    fsys::each(&["ext4", "tmpfs", "xfs"], |_, at| {
        let lab = lab(at, "home", MarksChoice::Trusted);
        let tree = elsewhere(&lab, "box", "redirect_dir=on,metacopy=on", |at| {
            sh(
                at,
                "mv d e; mkdir new; mv e/sub new/sub2; chmod 600 long; mv long new/sub2/long2",
            );
            sh(at, "echo more >> e/f; mkdir -p d/sub; echo other > d/sub/g");
        });
        assert!(tree[&b"new/sub2/long2"[..]].data.len() == 25000);
        comes_again(&lab, "base", &lab.diff("box", Against::Parent), &tree);
        assert_eq!(lab.size("box"), 25000 + 12 + 5 + 6 + 12);
        not_mounted(&lab, &["e", "new/sub2", "new/sub2/long2"]);
        // A container that is begun with a copy of it is the same container.
        let mut watch = Default::default();
        lab.store
            .create(b"copy", Some(b"box"), CreateFlags::empty(), &mut watch)
            .unwrap();
        assert_eq!(
            lab.diff("copy", Against::Parent),
            lab.diff("box", Against::Parent)
        );
    });
}

#[test]
fn whiteouts_by_attribute_hide() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |at| {
        for marks in [MarksChoice::Trusted, MarksChoice::User] {
            let lab = lab(at, &format!("{marks:?}"), marks);
            let prefix = match marks {
                MarksChoice::User => "user.overlay",
                _ => "trusted.overlay",
            };
            let upper = lab.home.join("layer/box/upper");
            fs::create_dir(upper.join("d")).unwrap();
            xattr::set(upper.join("d"), format!("{prefix}.opaque"), b"x").unwrap();
            // Empty, and so without a mark: a file like any other.
            fs::write(upper.join("d/empty"), "").unwrap();
            for name in ["d/f", "d/nothing", "a"] {
                fs::write(upper.join(name), "").unwrap();
                xattr::set(upper.join(name), format!("{prefix}.whiteout"), b"y").unwrap();
            }
            assert_eq!(
                lab.changes("box", Against::Parent),
                ["D /a", "C /d", "A /d/empty", "D /d/f"]
            );
            let diff = lab.diff("box", Against::Parent);
            let lab_tree = |id| lab.look(id);
            lab.apply("again", "base", Kind::Root, &diff).unwrap();
            let tree = lab_tree("again");
            assert!(!tree.contains_key(&b"d/f"[..]) && tree.contains_key(&b"d/sub/g"[..]));
            lab.remove("again");
            comes_again(&lab, "base", &diff, &tree);
            not_mounted(&lab, &["a", "d/f", "d/nothing"]);
        }
    });
}

#[test]
fn names_that_only_an_index_knows_are_refused() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |at| {
        let one = lab(at, "one", MarksChoice::Trusted);
        let tree = elsewhere(&one, "box", "index=on", |at| sh(at, "echo more >> a"));
        // The kernel shows the change under a name of which the upper says nothing.
        assert_eq!(tree[&b"b"[..]].data, b"linkedmore\n");
        let index = fs::read_dir(one.home.join("layer/box/work/index")).unwrap();
        let name = index
            .map(|entry| entry.unwrap().file_name())
            .next()
            .unwrap();
        let path = format!("work/index/{}", name.to_str().unwrap());
        refused(&one, Errno::OPNOTSUPP, &path);
        not_mounted(&one, &["a"]);
        // With both names in the upper it says all.
        let both = lab(at, "both", MarksChoice::Trusted);
        let tree = elsewhere(&both, "box", "index=on", |at| {
            sh(at, "echo more >> a; chmod 640 b")
        });
        comes_again(&both, "base", &both.diff("box", Against::Parent), &tree);
        // The one that was changed is gone; the other shows it all the same.
        let gone = lab(at, "gone", MarksChoice::Trusted);
        let tree = elsewhere(&gone, "box", "index=on", |at| {
            sh(at, "echo more >> a; rm a")
        });
        assert_eq!(tree[&b"b"[..]].data, b"linkedmore\n");
        let error = gone
            .try_diff("box", Against::Parent, DiffFlags::empty())
            .unwrap_err();
        assert_eq!(error.errno(), Errno::OPNOTSUPP);
    });
}

#[test]
fn marks_of_the_other_spelling_are_refused_where_they_hide() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |at| {
        let plain = lab(at, "plain", MarksChoice::Trusted);
        let work = "rm d/f; chmod 700 d/sub; echo new > d/new";
        // Device whiteouts are the same in both.
        let tree = elsewhere(&plain, "box", "userxattr", |at| sh(at, work));
        comes_again(&plain, "base", &plain.diff("box", Against::Parent), &tree);
        let lab = lab(at, "opaque", MarksChoice::Trusted);
        let tree = elsewhere(&lab, "box", "userxattr", |at| sh(at, "rm -r d; mkdir d"));
        assert!(!tree.contains_key(&b"d/f"[..]));
        refused(&lab, Errno::OPNOTSUPP, "d");
        not_mounted(&lab, &["d"]);
    });
}

/// What any program may set says nothing where there is nothing to hide.
#[test]
fn attributes_like_marks_are_content_where_nothing_is_below() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |at| {
        let lab = lab(at, "home", MarksChoice::Trusted);
        lab.change("box", |at| {
            sh(at, "mkdir -p new/sub; echo f > new/sub/f; echo g > new/g");
            xattr::set(at.join("new"), "user.overlay.opaque", b"y").unwrap();
            xattr::set(at.join("new/g"), "user.overlay.metacopy", b"").unwrap();
            xattr::set(at.join("new/sub/f"), "trusted.overlay.metacopy", b"").unwrap();
        });
        let tree = lab.look("box");
        let (diff, info) = lab
            .try_diff("box", Against::Parent, DiffFlags::empty())
            .unwrap();
        assert_eq!(info.skipped_xattrs, 3);
        let (flags, mut watch) = (CommitFlags::empty(), Default::default());
        lab.store
            .commit(b"box", Durability::None, flags, &mut watch)
            .unwrap();
        // A complete tree on it has all but the attributes.
        lab.apply("on", "box", Kind::Root, &tar::bytes(&[dir("e")]))
            .unwrap();
        lab.apply("again", "base", Kind::Root, &diff).unwrap();
        let again = lab.look("again");
        for path in [&b"new/g"[..], b"new/sub/f"] {
            assert_eq!(again[path].data, tree[path].data);
            assert_eq!(lab.look("on")[path].data, tree[path].data);
        }
    });
}

#[test]
fn a_store_with_user_marks_reads_uppers_of_userxattr() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |at| {
        let lab = lab(at, "home", MarksChoice::User);
        let tree = elsewhere(&lab, "box", "userxattr,xino=on", |at| {
            sh(
                at,
                "rm -r d; mkdir d; echo new > d/new; rm a; chmod 600 long",
            )
        });
        comes_again(&lab, "base", &lab.diff("box", Against::Parent), &tree);
    });
}

/// Attributes that are called like overlayfs's are content of a container too; a tar cannot say
/// them.
#[test]
fn content_that_is_called_like_a_mark_is_counted() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |at| {
        let lab = lab(at, "home", MarksChoice::Trusted);
        lab.change("box", |at| {
            xattr::set(at.join("a"), "user.overlay.origin", b"o").unwrap();
            xattr::set(at.join("d"), "trusted.overlay.opaque", b"y").unwrap();
            sh(at, "chmod 600 a; chmod 700 d; touch plain");
        });
        let (_, info) = lab
            .try_diff("box", Against::Parent, DiffFlags::empty())
            .unwrap();
        assert_eq!(info.skipped_xattrs, 2);
        let error = lab
            .try_diff("box", Against::Parent, DiffFlags::STRICT)
            .unwrap_err();
        assert_eq!((error.errno(), error.path()), (Errno::OPNOTSUPP, &b"a"[..]));
    });
}

#[test]
fn marks_that_lead_nowhere_are_damage() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |at| {
        let bad: [&[u8]; 7] = [b"", b"/", b"../x", b"d/x", b"/d/../x", b"/d//x", b"."];
        for (n, value) in bad.iter().enumerate() {
            let lab = lab(at, &format!("redirect{n}"), MarksChoice::Trusted);
            let new = lab.home.join("layer/box/upper/new");
            fs::create_dir(&new).unwrap();
            xattr::set(&new, "trusted.overlay.redirect", value).unwrap();
            refused(&lab, Errno::INVAL, "new");
        }
        // Content that is not there, is no file, or is not as long as the file says.
        for (name, len) in [("nothing", 5), ("d", 0), ("a", 7)] {
            let lab = lab(at, &format!("metacopy-{name}"), MarksChoice::Trusted);
            let file = lab.home.join("layer/box/upper").join(name);
            fs::File::create(&file).unwrap().set_len(len).unwrap();
            xattr::set(&file, "trusted.overlay.metacopy", b"").unwrap();
            refused(&lab, Errno::IO, name);
        }
    });
}
