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
pub fn run<A: Api>(w: &World<'_, A>, what: &str, tar: &Tar, wanted: Wanted) {
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
pub fn prepare<A: Api>(w: &World<'_, A>) -> String {
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
pub fn inside(outside: &str, rest: &[&str]) -> Vec<String> {
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
    // The names come after every path's own.
    run(
        w,
        "inside, by a name like the one outside",
        &tar()
            .file(&file[1..], "own")
            .link("~h", &file)
            .link("~i", &file[1..]),
        {
            let own = "unbroken=own".to_string();
            let same = |name: &str| format!("{name} == {}", &file[1..]);
            let mut rest = inside(&out, &[&own]);
            rest.extend([same("~h"), same("~i")]);
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
