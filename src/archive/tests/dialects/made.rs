//! Archives that the tools write, of one tree, in each of their formats.

use super::readers::{Tool, run};
use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

pub fn by_tools(tools: &[&Tool]) -> Vec<(String, Vec<u8>)> {
    let (small, large) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    tree(small.path(), false);
    tree(large.path(), true);
    let mut all = Vec::new();
    for tool in tools {
        match tool.name {
            "gnu" => gnu(small.path(), large.path(), &mut all),
            "bsd" => bsd(small.path(), large.path(), &mut all),
            _ => python(&mut all),
        }
    }
    all
}

fn gnu(small: &Path, large: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    let snapshot = tempfile::NamedTempFile::new().unwrap();
    let snapshot = snapshot.path().to_str().unwrap();
    let mut add = |name: &str, dir: &Path, args: &[&str]| {
        let dir = dir.to_str().unwrap();
        let args = [&["--sort=name", "-C", dir], args, &["-cf", "-", "."]].concat();
        let output = run("tar", &args, b"");
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        all.push((format!("gnu: {name}"), output.stdout));
    };
    add("v7", small, &["--format=v7"]);
    add("ustar", small, &["--format=ustar"]);
    add("oldgnu", large, &["--format=oldgnu"]);
    add("gnu", large, &["--format=gnu"]);
    add("posix", large, &["--format=posix", "--xattrs"]);
    add(
        "posix with times",
        large,
        &["--format=posix", "--atime-preserve=system"],
    );
    add("gnu, sparse", large, &["--format=gnu", "-S"]);
    add(
        "posix, sparse 0.0",
        large,
        &["--format=posix", "-S", "--sparse-version=0.0"],
    );
    add(
        "posix, sparse 0.1",
        large,
        &["--format=posix", "-S", "--sparse-version=0.1"],
    );
    add(
        "posix, sparse 1.0",
        large,
        &["--format=posix", "-S", "--sparse-version=1.0"],
    );
    add(
        "posix with acls",
        large,
        &["--format=posix", "--acls", "--xattrs"],
    );
    add("gnu, gzip", small, &["-z"]);
    add("gnu, zstd", small, &["--zstd"]);
    add("hard links as files", small, &["--hard-dereference"]);
    add(
        "incremental (refused)",
        small,
        &["--format=gnu", "-g", snapshot],
    );
    add(
        "volume label (refused)",
        small,
        &["--format=gnu", "-V", "label"],
    );
    add(
        "posix, volume label",
        small,
        &["--format=posix", "-V", "label"],
    );
}

fn bsd(small: &Path, large: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    let mut add = |name: &str, dir: &Path, args: &[&str]| {
        let dir = dir.to_str().unwrap();
        let output = run(
            "bsdtar",
            &[args, &["-cf", "-", "-C", dir, "."]].concat(),
            b"",
        );
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        all.push((format!("bsd: {name}"), output.stdout));
    };
    add("v7tar", small, &["--format=v7tar"]);
    add("ustar", small, &["--format=ustar"]);
    add("gnutar", large, &["--format=gnutar"]);
    add("pax", large, &["--format=pax"]);
    add("restricted pax", large, &["--format=paxr"]);
    add("pax, gzip", small, &["--format=pax", "--gzip"]);
    add("pax, zstd", small, &["--format=pax", "--zstd"]);
}

const MAKE: &str = r#"
import sys, tarfile, io
how = sys.argv[1]
out = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=getattr(tarfile, how),
                   **({'pax_headers': {'comment': 'all', 'uid': '77'}} if how == 'PAX_FORMAT' else {}))
def add(name, kind, **more):
    info = tarfile.TarInfo(name)
    info.type = kind
    data = more.pop('data', b'')
    info.size = len(data)
    for key, value in more.items():
        setattr(info, key, value)
    out.addfile(info, io.BytesIO(data))
big = how != 'USTAR_FORMAT'
add('d', tarfile.DIRTYPE, mode=0o1777)
add('c', tarfile.CHRTYPE, devmajor=5, devminor=1, mode=0o620)
add('b', tarfile.BLKTYPE, devmajor=259, devminor=70000)
add('p', tarfile.FIFOTYPE)
add('f', tarfile.REGTYPE, data=b'data', uid=3000000 if big else 7, gid=4000000000 if big else 8, mtime=-5 if big else 5)
add('x' * 99 + '/' + 'y' * 99, tarfile.REGTYPE, data=b'long')
add('s', tarfile.SYMTYPE, linkname='t' * (300 if big else 100))
add('h', tarfile.LNKTYPE, linkname='f')
add('\u00e9\udcff', tarfile.REGTYPE, mtime=1.5 if how == 'PAX_FORMAT' else 1)
if how == 'PAX_FORMAT':
    add('a', tarfile.REGTYPE, pax_headers={'SCHILY.xattr.user.a': 'v\n', 'VENDOR.x': 'y'})
out.close()
"#;

fn python(all: &mut Vec<(String, Vec<u8>)>) {
    for format in ["USTAR_FORMAT", "GNU_FORMAT", "PAX_FORMAT"] {
        let output = run("python3", &["-c", MAKE, format], b"");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        all.push((format!("python: {format}"), output.stdout));
    }
}

/// What all formats can say, and `more`: what only the newer can.
fn tree(root: &Path, more: bool) {
    let path = |name: &str| root.join(name);
    fs::create_dir(path("d")).unwrap();
    fs::create_dir(path("empty")).unwrap();
    fs::write(path("d/f"), b"hello").unwrap();
    fs::write(path("d/none"), b"").unwrap();
    fs::write(
        path("d/large"),
        crate::archive::tests::Random(4).bytes(30_000),
    )
    .unwrap();
    fs::write(path("-n\\"), b"odd name").unwrap();
    fs::hard_link(path("d/f"), path("h")).unwrap();
    symlink("../else/where", path("d/s")).unwrap();
    fs::set_permissions(path("d/f"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(path("d"), fs::Permissions::from_mode(0o1777)).unwrap();
    let (mut sec, mut nsec) = (1_600_000_000, 0);
    if more {
        let fifo = Command::new("mkfifo").arg(path("fifo")).status();
        assert!(fifo.unwrap().success());
        nsec = 123_456_789;
        sec += 1;
        let mut deep = path("deep");
        for _ in 0..3 {
            deep.push("n".repeat(90));
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("f"), b"deep").unwrap();
        fs::hard_link(deep.join("f"), path("z-deep-link")).unwrap();
        symlink("t".repeat(300), path("far")).unwrap();
        fs::write(path(&"m".repeat(150)), b"x").unwrap();
        fs::write(path("new\nline"), b"x").unwrap();
        let sparse = fs::File::create(path("sparse")).unwrap();
        for at in 0..30 {
            sparse.write_all_at(b"data", at << 17).unwrap();
        }
        sparse.set_len(32 << 17).unwrap();
        fs::File::create(path("hole"))
            .unwrap()
            .set_len(1 << 20)
            .unwrap();
        let _ = xattr::set(path("d/f"), "user.note", b"\0\n=x");
        let _ = xattr::set(path("d/f"), "user.a=b", b"v");
    }
    let time = SystemTime::UNIX_EPOCH + Duration::new(sec, nsec);
    for item in walkdir::WalkDir::new(root)
        .contents_first(true)
        .into_iter()
        .map(Result::unwrap)
    {
        if item.file_type().is_file() || item.file_type().is_dir() {
            fs::File::open(item.path())
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
    }
}
