//! Links in an archive: what `tar` would unpack is what is read, and nothing outside of it.

use crate::common::*;
use crate::make::*;
use crate::support::have;
use ovl::archive::Digest;
use ovl::error::Errno;
use ovl::store::*;
use std::path::Path;
use std::process::Command;

fn sym(path: &str, to: &str) -> (String, What) {
    (path.into(), What::Symlink(to.into()))
}

fn hard(path: &str, to: &str) -> (String, What) {
    (path.into(), What::Hard(to.into()))
}

fn dir(path: &str) -> (String, What) {
    (path.into(), What::Dir)
}

/// The layout with another way to its blobs.
fn without_blobs(image: &Image) -> Files {
    let mut files = image.layout();
    files.retain(|(path, _)| !path.starts_with("blobs/"));
    files
}

fn name_of(data: &[u8]) -> String {
    Digest::of(data).hex()
}

/// What becomes of it as a tar, and of what tar(1) unpacks of it: one of both, or an errno.
fn both(store: &Store, base: &Path, files: &Files) -> [Result<(), Errno>; 2] {
    let archive = tar(files);
    let done = |result: ovl::error::Result<ImageInfo>| match result {
        Ok(_) => {
            rmi(store, "app").unwrap();
            Ok(())
        }
        Err(error) => {
            assert!(layers(store).is_empty(), "{error}");
            Err(error.errno())
        }
    };
    let as_tar = done(import(store, "app", &archive));
    let (file, dir) = (base.join("file.tar"), base.join("a/unpacked"));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(&file, &archive).unwrap();
    // It may say that something cannot be unpacked; what it unpacked counts.
    let mut unpack = Command::new("tar");
    let _ = have::run(unpack.arg("-C").arg(&dir).arg("-xf").arg(&file));
    [as_tar, done(import_dir(store, "app", &dir))]
}

#[test]
fn links_are_followed_as_when_unpacked() {
    require!("root", "overlay");
    let image = small();
    let data = &image.layers[1].data;
    let blob_path = format!("blobs/sha256/{}", name_of(data));
    let blobs_in = |dir: &str| -> Files {
        let blobs = image.blobs().into_iter();
        let moved = blobs.map(|(path, what)| (path.replace("blobs/sha256", dir), what));
        moved.collect()
    };
    let layout = |more: &[Files]| [without_blobs(&image), more.concat()].concat();
    let rest: Files = {
        let mut blobs = image.blobs();
        blobs.retain(|(path, _)| *path != blob_path);
        blobs
    };
    with_store(|store, base| {
        for (what, files) in [
            (
                "a directory is a link",
                layout(&[
                    blobs_in("real"),
                    vec![dir("blobs"), sym("blobs/sha256", "../real")],
                ]),
            ),
            (
                "its parent is one, through another",
                layout(&[
                    blobs_in("x/y/sha256"),
                    vec![sym("blobs", "z"), sym("z", "x/./y")],
                ]),
            ),
            (
                "a link goes up and down through a link",
                layout(&[
                    blobs_in("x/y/real"),
                    vec![
                        dir("blobs"),
                        sym("w", "x/y"),
                        sym("blobs/sha256", "../w/../y/real"),
                    ],
                ]),
            ),
            (
                "members behind a link",
                layout(&[vec![dir("real"), sym("blobs", "real")], image.blobs()]),
            ),
            (
                "a hard link is what stood there",
                layout(&[
                    rest.clone(),
                    vec![
                        file("x", data.clone()),
                        hard(&blob_path, "x"),
                        file("x", "junk"),
                    ],
                ]),
            ),
            (
                "a hard link behind a link",
                layout(&[
                    rest.clone(),
                    vec![
                        file("d/x", data.clone()),
                        sym("e", "d"),
                        hard(&blob_path, "e/x"),
                    ],
                ]),
            ),
            (
                "a hard link to a link",
                layout(&[
                    rest.clone(),
                    vec![
                        sym("blobs/there", "../x"),
                        hard("blobs/too", "blobs/there"),
                        file("x", data.clone()),
                        sym(&blob_path, "../too"),
                    ],
                ]),
            ),
            (
                "a hard link to itself",
                layout(&[
                    rest.clone(),
                    vec![file(&blob_path, data.clone()), hard(&blob_path, &blob_path)],
                ]),
            ),
            (
                "a file over a link",
                layout(&[
                    rest.clone(),
                    vec![
                        file("keep", "junk"),
                        sym(&blob_path, "../../keep"),
                        file(&blob_path, data.clone()),
                    ],
                ]),
            ),
            (
                "a directory over a link",
                layout(&[
                    vec![
                        dir("real"),
                        dir("blobs"),
                        sym("blobs/sha256", "../nowhere"),
                        dir("blobs/sha256"),
                    ],
                    image.blobs(),
                ]),
            ),
            (
                "a link out of it that nobody follows",
                layout(&[image.blobs(), vec![sym("out", "/"), sym("up", "..")]]),
            ),
        ] {
            assert_eq!(both(store, base, &files), [Ok(()), Ok(())], "{what}");
        }
    });
}

#[test]
fn links_that_lead_wrong() {
    require!("root", "overlay");
    let image = small();
    let data = &image.layers[1].data;
    let path = format!("blobs/sha256/{}", name_of(data));
    let rest: Files = {
        let mut files = image.layout();
        files.retain(|(there, _)| *there != path);
        files
    };
    let with = |more: Files| [rest.clone(), more].concat();
    with_store(|store, base| {
        std::fs::create_dir_all(base.join("a/outside")).unwrap();
        std::fs::write(base.join("a/outside").join(name_of(data)), data).unwrap();
        let absolute = base.join("a/outside").display().to_string();
        let mut by_dir = without_blobs(&image);
        by_dir.push(dir("blobs"));
        let by = |target: &str| [by_dir.clone(), vec![sym("blobs/sha256", target)]].concat();
        let (out, lacks) = (Err(Errno::XDEV), Err(Errno::BADMSG));
        for (what, files, wanted) in [
            ("a directory leads out", by("../../outside"), out),
            ("a directory leads out, absolute", by(&absolute), out),
            ("a directory leads nowhere", by("../nowhere"), lacks),
            (
                "up from a directory that is not there",
                [
                    by("../nowhere/../real"),
                    vec![file(&format!("real/{}", name_of(data)), data.clone())],
                ]
                .concat(),
                lacks,
            ),
            (
                "a hard link to what comes later",
                with(vec![hard(&path, "x"), file("x", data.clone())]),
                lacks,
            ),
            (
                "a file below a file",
                with(vec![file("x", "x"), sym(&path, "../../x/y")]),
                lacks,
            ),
        ] {
            assert_eq!(both(store, base, &files), [wanted; 2], "{what}");
        }
        // A loop is not the same word in both.
        let files = by("sha256");
        let [as_tar, as_dir] = both(store, base, &files);
        assert_eq!((as_tar, as_dir), (lacks, Err(Errno::LOOP)));
        // What tar would not unpack, or not into its directory.
        for (what, files, errno) in [
            (
                "a member behind a link out of it",
                with(vec![
                    sym("up", "../outside"),
                    file("up/new", "x"),
                    file(&path, data.clone()),
                ]),
                Errno::XDEV,
            ),
            (
                "a member behind a file",
                with(vec![
                    file("x", "x"),
                    file("x/y", ""),
                    file(&path, data.clone()),
                ]),
                Errno::BADMSG,
            ),
            (
                "a file over a directory",
                with(vec![
                    file("x/y", ""),
                    file("x", ""),
                    file(&path, data.clone()),
                ]),
                Errno::BADMSG,
            ),
        ] {
            let error = fails(import(store, "app", &tar(&files)));
            assert_eq!(error.errno(), errno, "{what}: {error}");
            assert!(layers(store).is_empty());
        }
        assert!(!base.join("a/outside/new").exists());
    });
}
