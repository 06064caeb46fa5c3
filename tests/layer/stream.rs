//! Compressed layers of several parts, and other programs' reading of our diffs.

use crate::lab::Lab;
use crate::support::{fsys, have};
use crate::tar::{self, *};
use ovl::archive::Digest;
use ovl::store::{Against, Kind};
use std::io::Write;
use std::process::{Command, Stdio};

pub fn pack(program: &str, data: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(data).unwrap());
        child.wait_with_output().unwrap().stdout
    })
}

#[test]
fn members_and_frames_are_one_layer() {
    require!("root", "tmpfs", "gzip", "zstd");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        let whole = tar::bytes(&crate::cost::image(300));
        let (a, b) = whole.split_at(whole.len() / 3);
        let skippable = [&b"\x5a\x2a\x4d\x18\x08\0\0\0"[..], b"ignored!"].concat();
        for (program, between) in [("gzip", pack("gzip", b"")), ("zstd", skippable)] {
            let blob = [
                between.clone(),
                pack(program, a),
                between.clone(),
                pack(program, b),
                between,
            ]
            .concat();
            let info = lab.apply("x", "", Kind::Root, &blob).unwrap();
            assert_eq!(info.diff_id, Some(Digest::of(&whole)), "{program}");
            assert_eq!(info.blob_digest, Some(Digest::of(&blob)), "{program}");
            assert_eq!(
                (info.tar_size, info.blob_size),
                (whole.len() as u64, blob.len() as u64)
            );
            lab.remove("x");
            for cut in [blob.len() / 2, pack(program, a).len() / 2] {
                let error = lab.apply("x", "", Kind::Root, &blob[..cut]).unwrap_err();
                assert_eq!(error.errno().raw_os_error(), libc::EBADMSG, "{program}");
                lab.assert_nothing("x");
            }
            let junk = [&pack(program, &whole)[..], b"junk"].concat();
            assert!(lab.apply("x", "", Kind::Root, &junk).is_err(), "{program}");
            lab.assert_nothing("x");
        }
    });
}

#[test]
fn other_programs_read_our_diffs() {
    require!("root", "tmpfs", "tar", "bsdtar", "python3");
    fsys::on("tmpfs", |dir| {
        let lab = Lab::new(dir);
        let mut layer = crate::cost::image(200);
        layer.push(
            file("attr", "x")
                .xattr("user.note", b"value")
                .mtime(5, 123_456_789),
        );
        layer.push(fifo("pipe"));
        layer.push(char_device("null", 1, 3));
        layer.push(file(&format!("{}/f", ["long"; 80].join("/")), "deep"));
        lab.apply("x", "", Kind::Root, &tar::bytes(&layer)).unwrap();
        let diff = dir.join("diff.tar");
        std::fs::write(&diff, lab.diff("x", Against::Nothing)).unwrap();
        let tree = lab.look("x");
        let extract = "import sys,tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter='fully_trusted')";
        for program in ["tar", "bsdtar", "python3"] {
            let out = dir.join(program);
            std::fs::create_dir(&out).unwrap();
            let mut command = Command::new(program);
            match program {
                "tar" => command
                    .args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"])
                    .arg(&diff)
                    .arg("-C"),
                "bsdtar" => command.args(["--xattrs", "-xpf"]).arg(&diff).arg("-C"),
                _ => command.args(["-c", extract]).arg(&diff),
            };
            have::run(command.arg(&out)).unwrap();
            let (mut got, mut wanted) = (crate::lab::look(&out), tree.clone());
            if program == "bsdtar" {
                // It leaves the directory that it extracts into alone.
                wanted.insert(vec![], got[&b""[..]].clone());
            }
            if program == "python3" {
                // tarfile sets no extended attributes, nanoseconds, or times of links.
                for seen in got.values_mut().chain(wanted.values_mut()) {
                    seen.xattrs.clear();
                    let sec = if seen.kind == 'l' { 0 } else { seen.mtime.0 };
                    seen.mtime = (sec, 0);
                }
            }
            crate::lab::assert_tree(program, &got, &wanted);
        }
    });
}
