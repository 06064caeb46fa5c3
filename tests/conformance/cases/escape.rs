//! Archives that lead elsewhere: containerd's and go-archive's breakouts, each with what becomes of
//! it inside, and a directory outside that stays as it was.

use super::apply::{both, listing};
use crate::api::*;
use crate::support::tree::{Compare, Snapshot};
use crate::tar::Tar;
use crate::world::*;
use std::os::unix::fs::symlink;
use std::path::Path;

/// What a case gives: the lines that are in the layer besides those of `base`, or an errno.
type Wanted = Result<Vec<String>, i32>;

/// Runs a case over `base`; nothing outside is read or written.
#[track_caller]
fn run<A: Api>(w: &World<'_, A>, what: &str, tar: &Tar, wanted: Wanted) {
    let outside = Snapshot::of(&w.base.join("outside"));
    let is = match both(w, tar) {
        Ok(mut lines) => {
            let base = w.look("base", listing);
            lines.retain(|line| !base.contains(line));
            Ok(lines)
        }
        Err(failure) => {
            assert_eq!(failure.operation, A::NAMES.apply, "{what}: {failure:?}");
            Err(failure.errno)
        }
    };
    assert_eq!(is, wanted, "{what}");
    let inodes = Compare {
        inodes: true,
        ..Compare::default()
    };
    Snapshot::of(&w.base.join("outside")).assert_same(&outside, inodes);
    assert_eq!(outside.at("unbroken").nlink, 1);
    assert_eq!(w.list(), ["base"], "{what}");
}

/// The store, `base` in it, and the directory outside.
fn prepare<A: Api>(w: &World<'_, A>) -> String {
    let outside = w.dir("outside");
    put(outside.join("unbroken"), "outside");
    mkdir(outside.join("sub"));
    w.layer("base", None, |path| {
        mkdir(path.join("etc"));
        put(path.join("etc/passwd"), "inside");
        mkdir(path.join("dir"));
        put(path.join("dir/file"), "low");
    });
    outside.to_str().unwrap().to_string()
}

/// The lines of a path inside that is spelled like the one outside, with its directories.
fn inside(outside: &str, rest: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    let path = &outside[1..];
    for (at, _) in path.match_indices('/') {
        lines.push(format!("{}/", &path[..at]));
    }
    lines.push(format!("{path}/"));
    lines.extend(rest.iter().map(|line| format!("{path}/{line}")));
    lines
}

fn lines(some: &[&str], more: Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = some.iter().map(|line| line.to_string()).collect();
    all.extend(more);
    all.sort_by_key(|line| {
        let path = line.split(['=', ' ']).next().unwrap().trim_end_matches('/');
        path.as_bytes().to_vec()
    });
    all
}

/// Rows 92, 96, 109, 123 and 134: what is written through a symbolic link is written inside.
pub fn symlinks<A: Api>(w: &World<'_, A>) {
    let out = prepare(w);
    let up = format!("{}{}", "../".repeat(30), &out[1..]);
    let link = |name: &str, to: &str| format!("{name} -> {to}");
    let with = |links: &[(&str, &str)], rest: &[&str]| {
        let links: Vec<String> = links.iter().map(|(name, to)| link(name, to)).collect();
        let links: Vec<&str> = links.iter().map(String::as_str).collect();
        Ok(lines(&links, inside(&out, rest)))
    };
    let tar = Tar::new;
    run(
        w,
        "absolute",
        &tar().symlink("l", &out).file("l/unbroken", "x"),
        with(&[("l", &out)], &["unbroken=x"]),
    );
    run(
        w,
        "absolute, a directory",
        &tar()
            .symlink("l", &out)
            .entry("l/sub/", b'5', 0o777, "", b""),
        with(&[("l", &out)], &["sub/"]),
    );
    run(
        w,
        "up and out",
        &tar().symlink("l", &up).file("l/unbroken", "x"),
        with(&[("l", &up)], &["unbroken=x"]),
    );
    run(
        w,
        "several, absolute",
        &tar()
            .symlink("l", &out)
            .symlink("m", "/l")
            .file("m/unbroken", "x"),
        with(&[("l", &out), ("m", "/l")], &["unbroken=x"]),
    );
    run(
        w,
        "several, relative",
        &tar()
            .symlink("l", &up)
            .symlink("dir/m", "../l")
            .file("dir/m/unbroken", "x"),
        with(&[("l", &up), ("dir/m", "../l")], &["unbroken=x"]),
    );
    run(
        w,
        "two hops",
        &tar()
            .symlink("dir/loop", ".")
            .symlink("dir/loop/victim", "../../..")
            .file("dir/loop/victim/f", "x"),
        Ok(lines(
            &["dir/loop -> .", "dir/victim -> ../../..", "f=x"],
            vec![],
        )),
    );
    let file = format!("{out}/unbroken");
    run(
        w,
        "an empty file over a link",
        &tar().symlink("l", &file).file("l", ""),
        Ok(lines(&["l="], vec![])),
    );
    run(
        w,
        "a link to its own directory's parent",
        &tar().symlink("dir/l", "..").file("dir/l/f", "x"),
        Ok(lines(&["dir/l -> ..", "f=x"], vec![])),
    );
    run(
        w,
        "a link's name with a slash",
        &tar().symlink("l/", &out).file("l/unbroken", "x"),
        with(&[("l", &out)], &["unbroken=x"]),
    );
    run(
        w,
        "above by a relative link, then an absolute one",
        &tar()
            .symlink("dir/l", "../../..")
            .symlink("m", "/dir/l")
            .file("m/f", "x"),
        Ok(lines(&["dir/l -> ../../..", "f=x", "m -> /dir/l"], vec![])),
    );
    run(
        w,
        "proc",
        &tar().symlink("l", "/proc/self/root").file("l/f", "x"),
        Ok(lines(
            &[
                "l -> /proc/self/root",
                "proc/",
                "proc/self/",
                "proc/self/root/",
                "proc/self/root/f=x",
            ],
            vec![],
        )),
    );
}

/// Rows 135, 138 and 169: a link takes the place of a directory, and a directory that of a link.
pub fn one_over_another<A: Api>(w: &World<'_, A>) {
    let out = prepare(w);
    let tar = Tar::new;
    run(
        w,
        "a link over a directory of the tar",
        &tar()
            .dir("d/")
            .file("d/gone", "x")
            .symlink("d", "etc")
            .file("d/new", "x"),
        Ok(lines(&["d -> etc", "etc/new=x"], vec![])),
    );
    run(
        w,
        "a link over a directory of the tar, out",
        &tar().dir("d/").symlink("d", &out).file("d/unbroken", "x"),
        Ok(lines(
            &[&format!("d -> {out}")],
            inside(&out, &["unbroken=x"]),
        )),
    );
    let low = listing_without(w, "dir");
    let over = tar().symlink("dir", "etc").file("dir/new", "x").bytes();
    w.apply_on("new", "base", &over).unwrap();
    let wanted = lines(&["dir -> etc", "etc/new=x"], low);
    assert_eq!(w.look("new", listing), wanted);
    w.remove("new").unwrap();
    run(
        w,
        "a directory over a link",
        &tar().symlink("l", &out).dir("l/").file("l/unbroken", "x"),
        Ok(lines(&["l/", "l/unbroken=x"], vec![])),
    );
    run(
        w,
        "a directory over a link, and a hard link into it",
        &tar()
            .symlink("l", &out)
            .entry("l/", b'5', 0o700, "", b"")
            .file("l/f", "x")
            .link("h", "l/f"),
        Ok(lines(&["h=x", "l/", "l/f == h"], vec![])),
    );
    // A link from below: an entry for the directory replaces it, what is behind it stays.
    w.remove("base").unwrap();
    w.layer("base", None, |path| {
        mkdir(path.join("usr/lib"));
        put(path.join("usr/lib/so"), "so");
        symlink("usr/lib", path.join("lib")).unwrap();
    });
    let over = tar().dir("lib/").file("lib/new", "x");
    let wanted = ["lib/", "lib/new=x", "usr/", "usr/lib/", "usr/lib/so=so"];
    assert_eq!(both(w, &over).unwrap(), wanted);
    // Without one, it is followed.
    let through = tar().file("lib/new", "x");
    let wanted = [
        "lib -> usr/lib",
        "usr/",
        "usr/lib/",
        "usr/lib/new=x",
        "usr/lib/so=so",
    ];
    assert_eq!(both(w, &through).unwrap(), wanted);
    // A file is no directory.
    let below = tar().file("usr/lib/so/f", "x");
    assert_eq!(both(w, &below).unwrap_err().errno, libc::ENOTDIR);
}

fn listing_without<A: Api>(w: &World<'_, A>, dir: &str) -> Vec<String> {
    let mut all = w.look("base", listing);
    all.retain(|line| !line.starts_with(&format!("{dir}/")));
    all
}

/// Rows 91, 136 and 137: a hard link's target is inside, or there is none; what is said of a link's
/// name is not said of what it leads to.
pub fn hard_links<A: Api>(w: &World<'_, A>) {
    let out = prepare(w);
    let up = format!("{}{}", "../".repeat(30), &out[1..]);
    let file = format!("{out}/unbroken");
    let tar = Tar::new;
    for (what, target, errno) in [
        ("absolute", file.clone(), libc::ENOENT),
        ("up and out", format!("{up}/unbroken"), libc::EINVAL),
        ("down and out", format!("dir/{up}/unbroken"), libc::EINVAL),
        ("its own parent", "..".to_string(), libc::EINVAL),
    ] {
        let link = tar().link("h", &target);
        run(w, what, &link, Err(errno));
        let write = link.file("h", "x");
        run(w, &format!("{what}, and write"), &write, Err(errno));
    }
    for (what, dir) in [("absolute", &out), ("relative", &up)] {
        let through = tar().symlink("l", dir).link("h", "l/unbroken");
        run(
            w,
            &format!("through a link, {what}"),
            &through,
            Err(libc::ENOENT),
        );
    }
    run(
        w,
        "inside, by a name like the one outside",
        &tar()
            .file(&file[1..], "own")
            .link("h", &file)
            .link("i", &file[1..]),
        {
            let mut rest = inside(&out, &["unbroken == h"]);
            rest.extend(["h=own".to_string(), "i == h".to_string()]);
            Ok(lines(&[], rest))
        },
    );
    // A hard link to a symbolic link is that link: writing to it replaces it.
    for (what, target) in [
        ("absolute", file.as_str()),
        ("relative", &format!("{up}/unbroken")),
    ] {
        let link = tar().symlink("l", target).entry("h", b'1', 0o777, "l", b"");
        let same = vec![format!("h -> {target}"), "l == h".to_string()];
        run(
            w,
            &format!("to a link, {what}"),
            &link,
            Ok(lines(&[], same)),
        );
        let wanted = vec!["h=x".to_string(), format!("l -> {target}")];
        let write = link.clone().entry("h", b'0', 0o4777, "", b"x");
        run(
            w,
            &format!("to a link, {what}, and write"),
            &write,
            Ok(wanted),
        );
    }
    run(
        w,
        "to a link that comes later",
        &tar().link("h", "l").symlink("l", &file),
        Err(libc::ENOENT),
    );
}

/// Rows 86, 139, 140 and 168: whiteouts of what is no name are refused; others take away what is
/// inside alone, a link itself and not what it leads to.
pub fn whiteouts<A: Api>(w: &World<'_, A>) {
    let out = prepare(w);
    let tar = Tar::new;
    for name in [
        ".wh.",
        ".wh..",
        ".wh...",
        "etc/.wh.",
        "etc/.wh..",
        "etc/.wh...",
        "./.wh..",
        "etc/../.wh.dir",
        "../.wh.outside",
        "dne/../../.wh.outside",
    ] {
        run(w, name, &tar().file(name, ""), Err(libc::EINVAL));
    }
    w.remove("base").unwrap();
    w.layer("base", None, |path| {
        mkdir(path.join("etc"));
        put(path.join("etc/passwd"), "inside");
        symlink(&out, path.join("link")).unwrap();
        symlink("etc", path.join("near")).unwrap();
        symlink("nowhere/at/all", path.join("dead")).unwrap();
    });
    let all = w.look("base", listing);
    let without = |gone: &[&str]| {
        let mut lines = all.clone();
        lines.retain(|line| !gone.contains(&line.split(['=', ' ']).next().unwrap()));
        lines
    };
    for (name, gone) in [
        (".wh.link", &["link"][..]),
        (".wh.dead", &["dead"]),
        ("link/.wh.unbroken", &[]),
        ("link/.wh..wh..opq", &[]),
        ("dead/.wh.file", &[]),
        ("near/.wh.passwd", &["etc/passwd"]),
        ("near/.wh..wh..opq", &["etc/passwd"]),
        (".wh.etc", &["etc/", "etc/passwd"]),
        ("none/.wh.file", &[]),
        ("etc/passwd/.wh.file", &[]),
    ] {
        let is = both(w, &tar().file(name, "")).unwrap();
        assert_eq!(is, without(gone), "{name}");
        // Where it leads, and whatever is made of it later.
        assert_eq!(get(Path::new(&out).join("unbroken")), "outside", "{name}");
        assert!(there(Path::new(&out).join("sub")), "{name}");
    }
}

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

/// Row 159, RootPath: where a path leads whose way has links in it.
pub fn paths_resolve_inside<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |path| {
        mkdir(path.join("b/c"));
        mkdir(path.join("d/e"));
    });
    let long = "x/../".repeat(40) + "b";
    let cases: &[(&[(&str, &str)], &str, Result<&str, i32>)] = &[
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
