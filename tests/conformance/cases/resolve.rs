//! Where names lead: above the root, beside it, through links, and through trees that are none.

use super::apply::{both, listing};
use super::escape::{inside, prepare, run};
use crate::api::*;
use crate::support::tree::{Compare, Snapshot};
use crate::tar::Tar;
use crate::world::*;
use std::os::unix::fs::symlink;

/// Rows 90, 93, 94, 95 and 110: names that lead up are refused; an absolute one is a name inside. The
/// layer beside, whose name begins alike, is not reached.
pub fn names<A: Api>(w: &World<'_, A>) {
    let out = prepare(w);
    let tar = Tar::new;
    for name in [
        "..",
        "../",
        "../victim",
        "/../victim",
        "../../victim",
        "dir/../../victim",
        "dir/..",
        "dir/../etc/passwd",
    ] {
        run(w, name, &tar().file(name, "x"), Err(libc::EINVAL));
        let dir = tar().entry(name, b'5', 0o777, "", b"");
        run(w, &format!("{name}, a directory"), &dir, Err(libc::EINVAL));
        let through = tar().symlink("l", "/dir").file(&format!("l/{name}"), "x");
        let is = both(w, &through).unwrap_err().errno;
        assert_eq!(is, libc::EINVAL, "l/{name}");
    }
    run(
        w,
        "an absolute name",
        &tar().file(&format!("{out}/unbroken"), "x"),
        Ok(inside(&out, &["unbroken=x"])),
    );
    // Beside the layer "both" that a case makes, there is one whose name begins so.
    w.layer("both-too", None, |path| put(path.join("victim"), "victim"));
    let before = Snapshot::of(&w.home().join("layer/both-too/root"));
    let beside = "../../both-too/root";
    let through = tar()
        .symlink("l", beside)
        .file("l/victim", "x")
        .file("l/.wh.victim", "")
        .link("h", "l/victim");
    let wanted = vec![
        "both-too/".to_string(),
        "both-too/root/".to_string(),
        "both-too/root/victim=x".to_string(),
        "h == both-too/root/victim".to_string(),
        format!("l -> {beside}"),
    ];
    let mut is = both(w, &through).unwrap();
    is.retain(|line| !line.starts_with("etc") && !line.starts_with("dir"));
    assert_eq!(is, wanted);
    let after = Snapshot::of(&w.home().join("layer/both-too/root"));
    after.assert_same(
        &before,
        Compare {
            inodes: true,
            ..Compare::default()
        },
    );
}

/// Rows 134 to 138 and 140, in the shapes of containerd's list: what is and what is not one inode with
/// the file inside that links lead to.
pub fn shapes<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        mkdir(path.join("etc"));
        put(path.join("etc/passwd"), "inside");
        mkdir(path.join("into"));
        symlink("/etc", path.join("leads")).unwrap();
        symlink("/dne", path.join("dead")).unwrap();
    });
    let own = || {
        Tar::new()
            .entry("etc/", b'5', 0o770, "", b"")
            .file("/etc/passwd", "own")
    };
    // The names that are one inode, the first of them last in its line.
    let same: Vec<(&str, Tar, &str)> = vec![
        (
            "down and up through a directory",
            own()
                .dir("dummy/")
                .symlink("l", "/dummy/../etc")
                .link("h", "/l/passwd"),
            "h",
        ),
        (
            "relative, beyond the root",
            own()
                .symlink("sub/d", "../../etc")
                .link("sub/h", "/sub/d/passwd"),
            "sub/h",
        ),
        (
            "down and out",
            own()
                .dir("down/")
                .symlink("sub/d", "../down/../../etc")
                .link("sub/h", "/sub/d/passwd"),
            "sub/h",
        ),
        (
            "relative and long",
            own()
                .symlink("l", "../../../../../../../etc")
                .link("h", "/l/passwd"),
            "h",
        ),
        (
            "several, relative",
            own()
                .symlink("dummy/etc", "/etc")
                .symlink("l", "./dummy/etc")
                .link("h", "l/passwd"),
            "h",
        ),
        ("direct", own().link("h", "/etc/passwd"), "h"),
        (
            "into a directory of the tar",
            own().dir("here/").link("/here/h", "/etc/passwd"),
            "here/h",
        ),
        (
            "into a directory that became a link",
            own().symlink("into", "/etc").link("/into/h", "/etc/passwd"),
            "etc/h",
        ),
        (
            "into one that became a relative link",
            own()
                .symlink("into", "../../etc")
                .link("/into/h", "/etc/passwd"),
            "etc/h",
        ),
        (
            "into a link that became a directory",
            own().dir("/leads/").link("/leads/h", "/etc/passwd"),
            "leads/h",
        ),
    ];
    for (what, tar, name) in same {
        let is = both(w, &tar).unwrap();
        let (first, second) = match name < "etc/passwd" {
            true => (name, "etc/passwd"),
            false => ("etc/passwd", name),
        };
        for line in [format!("{first}=own"), format!("{second} == {first}")] {
            assert!(is.contains(&line), "{what}: {line}: {is:?}");
        }
    }
    // A link to a link that leads nowhere yet is a link still, when there is a file.
    let before = Tar::new()
        .symlink("l", "/etc/new")
        .link("dup", "l")
        .file("/etc/new", "after");
    let is = both(w, &before).unwrap();
    for line in ["dup -> /etc/new", "l == dup", "etc/new=after"] {
        assert!(is.contains(&line.to_string()), "{line}: {is:?}");
    }
    // A file below a directory that was a link is a file of its own.
    let own = Tar::new().dir("/leads/").file("/leads/passwd", "different");
    let is = both(w, &own).unwrap();
    for line in ["leads/passwd=different", "etc/passwd=inside"] {
        assert!(is.contains(&line.to_string()), "{line}: {is:?}");
    }
    for (what, tar, errno) in [
        (
            "a direct target above",
            Tar::new().link("h", "../../etc/passwd"),
            libc::EINVAL,
        ),
        (
            "a link named ..",
            Tar::new().symlink("..", "/etc/"),
            libc::EINVAL,
        ),
        (
            "a link named nothing",
            Tar::new().symlink("", "/etc/"),
            libc::EINVAL,
        ),
        (
            "a link named sub/..",
            Tar::new().symlink("l/sub/..", "/etc/"),
            libc::EINVAL,
        ),
        (
            "up from what is not there",
            Tar::new()
                .symlink("l", "none/../../../etc")
                .link("h", "/l/passwd"),
            libc::ENOENT,
        ),
        (
            "below a whiteout",
            Tar::new().file(".wh.etc/file", "x"),
            libc::EINVAL,
        ),
        (
            "a whiteout by ..",
            Tar::new().file("dne/../.wh.etc", ""),
            libc::EINVAL,
        ),
    ] {
        assert_eq!(both(w, &tar).unwrap_err().errno, errno, "{what}");
    }
    let nothing = Tar::new().file("dead/.wh.etc", "");
    assert_eq!(both(w, &nothing).unwrap(), w.look("base", listing));
}

/// Row 159, RootPath: where a path leads whose way has links in it.
pub fn paths_resolve_inside<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        mkdir(path.join("b/c"));
        mkdir(path.join("d/e"));
    });
    let long = "x/../".repeat(40) + "b";
    type Links<'a> = &'a [(&'a str, &'a str)];
    let cases: &[(Links<'_>, &str, Result<&str, i32>)] = &[
        (&[("a", "b")], "a/f", Ok("b/f")),
        (&[("a", "/b")], "a/f", Ok("b/f")),
        (&[("a", "//b/.//")], "a/f", Ok("b/f")),
        (&[("a", "b/c")], "a/f", Ok("b/c/f")),
        (&[("a", "b/../d")], "a/f", Ok("d/f")),
        (&[("a", "b/c/../../d/./e")], "a/f", Ok("d/e/f")),
        (&[("a", "../../../b")], "a/f", Ok("b/f")),
        (&[("a", "/../../b")], "a/f", Ok("b/f")),
        (&[("d/a", "../b")], "d/a/f", Ok("b/f")),
        (&[("d/a", "../../../b")], "d/a/f", Ok("b/f")),
        (&[("d/a", "b")], "d/a/f", Ok("d/b/f")),
        (&[("d/a", "/b")], "d/a/c/f", Ok("b/c/f")),
        (&[("a", ".")], "a/a/a/f", Ok("f")),
        (&[("a", "..")], "a/f", Ok("f")),
        (&[("a", "/")], "a/f", Ok("f")),
        (&[("a", "none/deep")], "a/f", Ok("none/deep/f")),
        (&[("a", "g"), ("g", "h"), ("h", "/b/c")], "a/f", Ok("b/c/f")),
        (&[("a", "g/c"), ("g", "b")], "a/f", Ok("b/c/f")),
        (
            &[("b/a", "../d"), ("d/a", "../b/a/e")],
            "d/a/f",
            Ok("d/e/f"),
        ),
        (&[("x", "b/c"), ("a", "x/../d")], "a/f", Ok("b/d/f")),
        (&[("x", "b"), ("a", &long)], "a/f", Err(libc::ELOOP)),
        (&[("a", "a")], "a/f", Err(libc::ELOOP)),
        (&[("a", "a/b")], "a/f", Err(libc::ELOOP)),
        (&[("a", "g"), ("g", "a")], "a/f", Err(libc::ELOOP)),
        (&[("a", "/g"), ("g", "../a/b")], "a/f", Err(libc::ELOOP)),
    ];
    for (links, name, wanted) in cases {
        let mut tar = Tar::new();
        for (link, target) in *links {
            tar = tar.symlink(link, target);
        }
        let is = both(w, &tar.file(name, "here"));
        match (is, wanted) {
            (Ok(lines), Ok(place)) => {
                let line = format!("{place}=here");
                assert!(lines.contains(&line), "{links:?} {name}: {lines:?}");
                let files = lines.iter().filter(|line| line.ends_with("=here")).count();
                assert_eq!(files, 1, "{links:?} {name}: {lines:?}");
            }
            (Err(failure), Err(errno)) => {
                assert_eq!(failure.errno, *errno, "{links:?} {failure:?}")
            }
            (is, _) => panic!("{links:?} {name}: {is:?}, not {wanted:?}"),
        }
    }
}

/// Row 123 once more: a tree of the store that became a link is not followed.
pub fn trees_that_became_links<A: Api>(w: &World<'_, A>) {
    let out = prepare(w);
    w.layer("over", Some("base"), |path| put(path.join("new"), "x"));
    let before = Snapshot::of(&w.base.join("outside"));
    for (id, tree) in [("base", "root"), ("over", "upper")] {
        let tree = w.home().join("layer").join(id).join(tree);
        std::fs::rename(&tree, w.base.join("aside")).unwrap();
        symlink(&out, &tree).unwrap();
        let bytes = Tar::new().file("file", "x").bytes();
        for kind in [Kind::Root, Kind::Overlay] {
            let how = Apply {
                parent: Some(id),
                kind: Some(kind),
                ..Apply::default()
            };
            let done = w.apply("new", &bytes, how).map(drop);
            if let Ok(()) = done {
                // Nothing had to be looked up below.
                assert!(kind == Kind::Overlay, "{id}");
                let view = Mounting {
                    read_only: true,
                    ..Mounting::default()
                };
                assert!(w.mount("new", &view).is_err(), "{id}");
                w.remove("new").unwrap();
            }
        }
        assert!(w.diff_to(id, Against::Nothing).is_err(), "{id}");
        assert!(A::changes(&w.store, id, Against::Nothing, calm()).is_err());
        let flat = Create {
            flat: true,
            ..Create::default()
        };
        assert!(A::create(&w.store, "flat", Some(id), flat, calm()).is_err());
        let view = Mounting {
            read_only: true,
            ..Mounting::default()
        };
        assert!(w.mount(id, &view).is_err(), "{id}");
        assert!(
            !A::check(&w.store, false, calm()).unwrap().is_empty(),
            "{id}"
        );
        std::fs::remove_file(&tree).unwrap();
        std::fs::rename(w.base.join("aside"), &tree).unwrap();
    }
    Snapshot::of(&w.base.join("outside")).assert_same(&before, Compare::default());
    assert_eq!(w.look("over", listing).last().unwrap(), "new=x");
}
