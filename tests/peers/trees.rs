//! Trees and changes that a layer tar can say.

use crate::rng::Rng;
use crate::support::{have, torture};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything that a tree can hold, but for what is no part of a layer, and paths too long for
/// those who work by path.
pub fn torture(at: &Path) {
    torture::build(at);
    fs::remove_dir_all(at.join("deep")).unwrap();
    let mut todo = vec![at.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                todo.push(entry.path());
                continue;
            }
            let meta = entry.metadata().unwrap();
            let whiteout = kind.is_char_device() && meta.rdev() == 0;
            if kind.is_socket() || whiteout || entry.file_name().as_bytes().starts_with(b".wh.") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
    let equals = at.join("equals");
    fs::write(&equals, "").unwrap();
    xattr::set(&equals, "user.a=b=", b"=\0\xff").unwrap();
}

/// What a machine has: programs, set-id and linked ones, configuration, its many symbolic links.
pub fn system(at: &Path) {
    sh(
        at,
        "mkdir -p usr/bin var
         cp -a /etc /usr/sbin . ; rm -rf etc/mtab
         for one in su mount umount passwd chsh newgrp perl busybox git gzip gunzip; do
            cp -a /usr/bin/$one usr/bin/ 2>/dev/null || :
         done
         for one in sh ls cat true; do ln usr/bin/su usr/bin/$one 2>/dev/null || cp /bin/true usr/bin/$one; done",
    );
}

pub fn sh(at: &Path, script: &str) {
    have::run(Command::new("sh").args(["-ec", script]).current_dir(at)).unwrap();
}

/// A small system, and things to change.
pub fn base(at: &Path) {
    sh(
        at,
        "umask 022
         mkdir -p bin etc/conf.d usr/bin usr/lib/deep/er var/log var/empty home/u tmp
         chmod 1777 tmp; chmod 700 home/u; chown -R 1000:1000 home/u; ln -s usr/lib lib
         echo root:x >etc/passwd; echo a >etc/conf.d/a; echo b >etc/conf.d/b; echo same >etc/same
         echo prog >usr/bin/prog; chmod 4755 usr/bin/prog; ln usr/bin/prog usr/bin/alias; ln usr/bin/prog bin/prog
         ln -s ../usr/bin/prog bin/link; echo lib >usr/lib/lib.so.1; ln -s lib.so.1 usr/lib/lib.so
         echo x >usr/lib/deep/er/x; echo y >usr/lib/deep/y; mkfifo var/pipe; mknod var/null c 1 3; touch -d @1000000000 var/null
         echo log >var/log/log; echo keep >var/log/keep; echo t >t-file; mkdir t-dir t-dir/in t-dir2; echo z >t-dir/in/z; ln -s etc t-link
         mkfifo t-fifo; echo mv >mv-file; mkdir -p mv-dir/sub; echo q >mv-dir/sub/q; echo m >mode; echo o >own; echo xa >xattr",
    );
    let odd = at.join(OsStr::from_bytes(b"odd \xff\xfe"));
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join(OsStr::from_bytes(b"name\n\xc3")), "odd").unwrap();
    fs::write(odd.join("gone"), "odd").unwrap();
    xattr::set(at.join("xattr"), "user.note", b"old").unwrap();
    xattr::set(at.join("xattr"), "user.away", b"old").unwrap();
    xattr::set(at.join("t-dir2"), "user.away", b"old").unwrap();
}

/// Capabilities as version 2 of the attribute holds them.
pub const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Changes of every kind to [`base`].
pub fn work(at: &Path) {
    sh(
        at,
        "umask 022
         chmod 711 .; rm etc/conf.d/a; echo c >etc/conf.d/c; rm -r usr/lib/deep; mkdir -p usr/lib/deep/er; echo new >usr/lib/deep/er/x
         rm -r var/empty; rm var/log/log; rm -r home/u; mkdir home/u; chmod 750 home/u
         rm t-file; mkdir -p t-file/now; echo in >t-file/now/a-file; rm -r t-dir; echo file >t-dir; rm t-link; mkdir t-link; echo n >t-link/n
         rm t-fifo; ln -s t-dir t-fifo; mv mv-file mv-moved; mv mv-dir mv-gone; chmod 2711 mode; chown 7:8 own
         rm lib; mkdir lib; echo own >lib/own; ln usr/bin/prog usr/bin/third; rm bin/prog; echo more >>usr/lib/lib.so.1
         rm var/null; mknod var/null c 1 5; touch -d @1000000000 var/null; mknod var/block b 7 99; mkfifo -m 600 var/new-pipe
         echo one >zz-group; ln zz-group aa-group; ln aa-group usr/mm-group; ln -s target s-one; ln s-one s-two; mkfifo f-one; ln f-one f-two
         rm 'odd '*/gone; touch -d @1000000001 tmp",
    );
    // As large, and as old.
    let same = at.join("etc/same");
    let then = fs::metadata(&same).unwrap().modified().unwrap();
    fs::write(&same, "SAME\n").unwrap();
    let file = fs::File::options().write(true).open(&same).unwrap();
    file.set_modified(then).unwrap();
    xattr::set(at.join("xattr"), "user.note", b"new\0\xff=").unwrap();
    xattr::remove(at.join("xattr"), "user.away").unwrap();
    xattr::remove(at.join("t-dir2"), "user.away").unwrap();
    for (name, uid) in [("suid", 3), ("caps", 0), ("large-owner", 3_000_000)] {
        fs::write(at.join(name), name).unwrap();
        chown(at.join(name), Some(uid), Some(uid)).unwrap();
    }
    fs::set_permissions(at.join("suid"), fs::Permissions::from_mode(0o6755)).unwrap();
    xattr::set(at.join("caps"), "security.capability", CAPABILITY).unwrap();
    fs::hard_link(at.join("caps"), at.join("caps-too")).unwrap();
    fs::hard_link(at.join("suid"), at.join("suid-too")).unwrap();
    symlink("x".repeat(300), at.join("long-link")).unwrap();
    lchown(at.join("long-link"), Some(1000), Some(1000)).unwrap();
    let deep = at.join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f".repeat(90)), "deep").unwrap();
    fs::hard_link(deep.join("f".repeat(90)), at.join("long-hard")).unwrap();
}

/// Things done in a mount at random, as a container would; what was done.
pub fn random(at: &Path, rng: &mut Rng) -> Vec<String> {
    let mut told = Vec::new();
    // What not every differ tells; where it is still there.
    chmod(at, *rng.pick(&[0o711, 0o1755, 0o700])).unwrap();
    let _ = lchown(at.join("t-dir2"), Some(5), Some(rng.below(9) as u32));
    let _ = xattr::set(at.join("bin/prog"), "user.alone", b"1");
    for _ in 0..15 + rng.below(25) {
        let (a, b) = (somewhere(at, rng), new_place(at, rng));
        let show = |path: &Path| path.strip_prefix(at).unwrap().display().to_string();
        // What cannot be done is not done: a name in a file, a directory into itself.
        let what = match rng.below(20) {
            0 | 1 => ("mkdir", fs::create_dir(&b)),
            2..6 => ("write", write(&b, &[b'x'; 600][..rng.below(600)])),
            6 | 7 => ("rename", fs::rename(&a, &b)),
            8 | 9 => ("link", fs::hard_link(&a, &b)),
            10 => (
                "symlink",
                symlink(rng.pick(&["a", "../b", "/etc", "no"]), &b),
            ),
            11 => ("rm", fs::remove_file(&a)),
            12 => ("rm -r", fs::remove_dir_all(&a)),
            13 => (
                "anew",
                fs::remove_dir_all(&a)
                    .and_then(|()| fs::create_dir(&a))
                    .and_then(|()| fs::write(a.join("a"), "a")),
            ),
            14 => (
                "file for dir",
                fs::remove_dir_all(&a).and_then(|()| fs::write(&a, "file")),
            ),
            15 => (
                "dir for file",
                fs::remove_file(&a)
                    .and_then(|()| fs::create_dir(&a))
                    .and_then(|()| fs::write(a.join("b"), "b")),
            ),
            16 => (
                "chmod",
                chmod(&a, *rng.pick(&[0o600, 0o755, 0o4711, 0o1777])),
            ),
            17 if a == *at => ("nothing", Ok(())),
            17 => ("chown", lchown(&a, Some(rng.below(9) as u32), Some(7))),
            18 if a.is_symlink() => ("nothing", Ok(())),
            18 => ("user attribute", xattr::set(&a, "user.note", b"\0=\xff")),
            _ if a.is_symlink() => ("nothing", Ok(())),
            _ if a.is_file() => (
                "capability",
                xattr::set(&a, "security.capability", CAPABILITY),
            ),
            _ => ("mkfifo", mkfifo(&b)),
        };
        if what.1.is_ok() {
            told.push(format!("{} {} {}", what.0, show(&a), show(&b)));
        }
    }
    told
}

/// A write through a link would leave the tree, and one to a FIFO would wait.
fn write(path: &Path, data: &[u8]) -> std::io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() => Ok(()),
        _ => fs::write(path, data),
    }
}

fn chmod(path: &Path, mode: u32) -> std::io::Result<()> {
    if path.is_symlink() {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn mkfifo(path: &Path) -> std::io::Result<()> {
    use rustix::fs::{FileType, Mode};
    let mode = Mode::from_raw_mode(0o640);
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0)?;
    Ok(())
}

/// Something that is there; the deeper, the rarer.
fn somewhere(at: &Path, rng: &mut Rng) -> PathBuf {
    let mut here = at.to_path_buf();
    loop {
        let mut names: Vec<PathBuf> = match fs::read_dir(&here) {
            Ok(names) => names.map(|name| name.unwrap().path()).collect(),
            Err(_) => Vec::new(),
        };
        names.sort();
        if names.is_empty() {
            return here;
        }
        here = rng.pick(&names).clone();
        if here.is_symlink() || rng.below(3) == 0 {
            return here;
        }
    }
}

/// A name, mostly new, in a directory that is there.
fn new_place(at: &Path, rng: &mut Rng) -> PathBuf {
    let mut dir = somewhere(at, rng);
    if dir.is_symlink() || !dir.is_dir() {
        dir.pop();
    }
    dir.join(rng.pick(&["a", "b", "c", "aa", "zz"]))
}
