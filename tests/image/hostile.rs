use crate::common::*;
use crate::make::*;
use crate::support::rng::Rng;
use ovl::archive::Digest;
use ovl::error::{Code, Errno};
use ovl::store::*;
use serde_json::{Value, json};
use std::path::Path;

/// It fails, and nothing came of it.
#[track_caller]
fn refused(store: &Store, files: &Files) -> (Errno, Code, String) {
    refused_bytes(store, &tar(files))
}

#[track_caller]
fn refused_bytes(store: &Store, archive: &[u8]) -> (Errno, Code, String) {
    let error = fails(import(store, "app", archive));
    assert!(
        layers(store).is_empty() && images(store).is_empty(),
        "{error}"
    );
    (error.errno(), error.code(), error.to_string())
}

/// The files with one changed.
fn change(files: &Files, path: &str, what: What) -> Files {
    let mut files = files.clone();
    let one = files.iter_mut().find(|(there, _)| there == path).unwrap();
    one.1 = what;
    files
}

fn path_of(data: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(data).hex())
}

#[test]
fn every_digest_and_size_is_verified() {
    require!("root", "overlay");
    let image = small();
    let files = image.layout();
    with_store(|store, _| {
        for (path, what) in &files {
            let What::File(data) = what else {
                unreachable!()
            };
            if !path.starts_with("blobs/") {
                continue;
            }
            for at in [0, data.len() / 2, data.len() - 1] {
                let mut bad = data.clone();
                bad[at] ^= 1;
                let (errno, code, said) = refused(store, &change(&files, path, What::File(bad)));
                assert_eq!(
                    (errno, code),
                    (Errno::BADMSG, Code::Digest),
                    "{path} {at}: {said}"
                );
            }
            for bad in [&data[..data.len() - 1], &[], &[&data[..], b"x"].concat()] {
                let (errno, code, said) =
                    refused(store, &change(&files, path, What::File(bad.to_vec())));
                assert_eq!(
                    (errno, code),
                    (Errno::BADMSG, Code::Digest),
                    "{path}: {said}"
                );
            }
            let gone: Files = files
                .iter()
                .filter(|(there, _)| there != path)
                .cloned()
                .collect();
            let (errno, code, said) = refused(store, &gone);
            assert_eq!((errno, code), (Errno::BADMSG, Code::Archive));
            assert!(said.contains(path), "{said}");
        }
        // A layer that is there is read all the same.
        import(store, "there", &image.archive()).unwrap();
        let path = path_of(&image.layers[1].data);
        let mut bad = image.layers[1].data.clone();
        bad[30] ^= 1;
        let error = fails(import(
            store,
            "app",
            &tar(&change(&files, &path, What::File(bad))),
        ));
        assert_eq!(error.code(), Code::Digest);
        assert_eq!(layers(store).len(), 3);
        let saved = image.saved(&["a:1"]);
        let layer = saved
            .iter()
            .find(|(path, _)| path.ends_with("layer.tar"))
            .unwrap()
            .0
            .clone();
        let bad = What::File(layer_of("other"));
        let error = fails(import(store, "app", &tar(&change(&saved, &layer, bad))));
        assert_eq!(error.code(), Code::Digest);
    });
}

fn layer_of(text: &str) -> Vec<u8> {
    layer(&[("name", text)])
}

#[test]
fn diff_ids_are_verified() {
    require!("root", "overlay");
    with_store(|store, _| {
        let ids = |image: &Image| {
            image.config["rootfs"]["diff_ids"]
                .as_array()
                .unwrap()
                .clone()
        };
        for n in 0..3 {
            let mut image = small();
            let mut wrong = ids(&image);
            wrong[n] = Digest::of(b"other").to_string().into();
            image.config["rootfs"]["diff_ids"] = wrong.into();
            image.seal();
            for files in [image.layout(), image.saved(&["a:1"])] {
                let (errno, code, said) = refused(store, &files);
                assert_eq!((errno, code), (Errno::BADMSG, Code::Digest), "{said}");
                assert!(said.contains(&format!("layer {} of 3", n + 1)), "{said}");
            }
        }
        for change in [-1, 1] {
            let mut image = small();
            let mut wrong = ids(&image);
            match change {
                1 => wrong.push(wrong[0].clone()),
                _ => drop(wrong.pop()),
            }
            image.config["rootfs"]["diff_ids"] = wrong.into();
            image.seal();
            for files in [image.layout(), image.saved(&["a:1"])] {
                assert_eq!(refused(store, &files).1, Code::Archive);
            }
        }
        // The config's own name, of docker save.
        let image = small();
        let files = image.saved(&["a:1"]);
        let config = format!("{}.json", image.config_digest().hex());
        let bad = [&image.config_bytes()[..], b" "].concat();
        let (errno, code, _) = refused(store, &change(&files, &config, What::File(bad)));
        assert_eq!((errno, code), (Errno::BADMSG, Code::Digest));
    });
}

#[test]
fn unsupported_types_are_named() {
    require!("root", "overlay");
    with_store(|store, _| {
        let check = |what: &str, edit: &dyn Fn(&mut Image)| {
            let mut image = small();
            edit(&mut image);
            let (errno, code, said) = refused(store, &image.layout());
            assert_eq!(
                (errno, code),
                (Errno::OPNOTSUPP, Code::Unsupported),
                "{what}: {said}"
            );
            assert!(said.contains(what), "{what}: {said}");
        };
        for what in [
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            "application/vnd.in-toto+json",
            "x/y",
        ] {
            check(what, &|image| {
                image.manifest["layers"][1]["mediaType"] = what.into()
            });
        }
        for what in [
            "application/vnd.oci.empty.v1+json",
            "application/vnd.example.config",
        ] {
            check(what, &|image| {
                image.manifest["config"]["mediaType"] = what.into()
            });
        }
        check("schemaVersion 1", &|image| {
            image.manifest["schemaVersion"] = 1.into()
        });
        check("sha512", &|image| {
            let digest = format!("sha512:{}", "0".repeat(128));
            image.manifest["layers"][0]["digest"] = digest.into();
        });
        check("sha512", &|image| {
            image.config["rootfs"]["diff_ids"][0] = format!("sha512:{}", "0".repeat(128)).into();
            image.seal();
        });
        check("layers+base", &|image| {
            image.config["rootfs"]["type"] = "layers+base".into();
            image.seal();
        });
        check("xz", &|image| {
            let data = b"\xfd7zXZ\0\0\0".to_vec();
            image.layers[2].data = data;
            image.seal();
        });
        // An index that names something of another type, or by another algorithm.
        let image = small();
        let mut described = image.described(None);
        described["mediaType"] = "application/vnd.docker.distribution.manifest.v1+prettyjws".into();
        let mut typeless = image.clone();
        typeless
            .manifest
            .as_object_mut()
            .unwrap()
            .remove("mediaType");
        let mut other = typeless.described(None);
        other["mediaType"] = described["mediaType"].clone();
        let (errno, _, said) = refused(store, &layout(&[other], typeless.blobs()));
        assert_eq!(errno, Errno::OPNOTSUPP);
        assert!(said.contains("v1+prettyjws"), "{said}");
        described["digest"] = format!("sha512:{}", "0".repeat(128)).into();
        let (errno, _, said) = refused(store, &layout(&[described], image.blobs()));
        assert_eq!(errno, Errno::OPNOTSUPP);
        assert!(said.contains("sha512"), "{said}");
        let old = vec![file("repositories", "{}"), file("abc/layer.tar", "")];
        assert_eq!(refused(store, &old).0, Errno::OPNOTSUPP);
        let layout = change(
            &image.layout(),
            "oci-layout",
            What::File(br#"{"imageLayoutVersion":"2.0.0"}"#.to_vec()),
        );
        assert_eq!(refused(store, &layout).0, Errno::OPNOTSUPP);
    });
}

#[test]
fn foreign_layers() {
    require!("root", "overlay");
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let mut image = small();
    image.layers[1].media_type = foreign.into();
    image.seal();
    with_store(|store, _| {
        let path = path_of(&image.layers[1].data);
        let gone: Files = image
            .layout()
            .into_iter()
            .filter(|(there, _)| *there != path)
            .collect();
        let (errno, code, said) = refused(store, &gone);
        assert_eq!((errno, code), (Errno::OPNOTSUPP, Code::Unsupported));
        assert!(said.contains(foreign), "{said}");
        import(store, "app", &image.archive()).unwrap();
    });
}

#[test]
fn junk() {
    require!("root", "overlay");
    let image = small();
    let files = image.layout();
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let texts: [&[u8]; 15] = [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b"3",
        b"\"x\"",
        b"\xff",
        b"{\"schemaVersion\":2}",
        br#"{"schemaVersion":"2","manifests":[]}"#,
        br#"{"schemaVersion":2,"manifests":{}}"#,
        br#"{"schemaVersion":2,"manifests":[1]}"#,
        br#"{"schemaVersion":2,"manifests":[{}]}"#,
        br#"{"schemaVersion":2,"manifests":[{"digest":"sha256:x","size":-1}]}"#,
        &deep,
    ];
    with_store(|store, _| {
        for text in texts {
            for path in ["oci-layout", "index.json"] {
                let (errno, code, said) =
                    refused(store, &change(&files, path, What::File(text.to_vec())));
                assert_eq!(
                    (errno, code),
                    (Errno::BADMSG, Code::Archive),
                    "{path}: {said}"
                );
            }
            let saved = change(
                &image.saved(&["a:1"]),
                "manifest.json",
                What::File(text.to_vec()),
            );
            assert_eq!(refused(store, &saved).0, Errno::BADMSG);
            let mut bad = image.clone();
            bad.config_text = Some(text.to_vec());
            bad.seal();
            assert_eq!(refused(store, &bad.layout()).0, Errno::BADMSG);
            bad = image.clone();
            bad.manifest_text = Some(text.to_vec());
            assert_eq!(refused(store, &bad.layout()).0, Errno::BADMSG);
        }
        for (pointer, value) in [
            ("/config/Env", json!("x")),
            ("/config/Env", json!([1])),
            ("/config/Env", json!(["A=\0"])),
            ("/config/Cmd", json!({})),
            ("/config/Cmd", json!(["\0"])),
            ("/config/Labels", json!([])),
            ("/config/Labels", json!({ "a": 1 })),
            ("/config/User", json!(1)),
            ("/config/User", json!("\0")),
            ("/config", json!([])),
            ("/rootfs", json!([])),
            ("/rootfs/diff_ids", json!("x")),
            ("/rootfs/diff_ids", json!(["x", "y", "z"])),
            ("/rootfs", Value::Null),
            ("/os", json!(1)),
        ] {
            let mut bad = image.clone();
            *bad.config.pointer_mut(pointer).unwrap() = value;
            bad.seal();
            let (errno, _, said) = refused(store, &bad.layout());
            assert_eq!(errno, Errno::BADMSG, "{pointer}: {said}");
        }
        // A manifest that is an index too.
        let mut both = image.clone();
        both.manifest["manifests"] = json!([]);
        assert_eq!(refused(store, &both.layout()).0, Errno::BADMSG);
        let mut other = image.described(None);
        other["mediaType"] = INDEX.into();
        assert_eq!(
            refused(store, &layout(&[other], image.blobs())).0,
            Errno::BADMSG
        );
        let mut other = image.described(None);
        other["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json".into();
        assert_eq!(
            refused(store, &layout(&[other], image.blobs())).0,
            Errno::BADMSG
        );
        assert_eq!(refused(store, &layout(&[], image.blobs())).0, Errno::BADMSG);
        // An index that leads to itself cannot be written; one that goes deep can.
        let (mut described, mut blobs) = (image.described(None), image.blobs());
        for _ in 0..20 {
            let text = json!({ "schemaVersion": 2, "manifests": [described] }).to_string();
            described = describe(INDEX, text.as_bytes());
            blobs.push(blob(text.as_bytes()));
        }
        assert_eq!(
            refused(store, &layout(&[described], blobs)).0,
            Errno::BADMSG
        );
        for bytes in [
            &b""[..],
            b"x",
            &[0; 1024],
            &[7; 3000],
            b"\x1f\x8b",
            &layer_of("a"),
        ] {
            assert_eq!(refused_bytes(store, bytes).0, Errno::BADMSG, "{bytes:?}");
        }
    });
}

#[test]
fn huge_documents() {
    require!("root", "overlay");
    let image = small();
    let huge = [vec![b' '; 5 << 20], b"{}".to_vec()].concat();
    with_store(|store, base| {
        for path in ["index.json", "oci-layout"] {
            let files = change(&image.layout(), path, What::File(huge.clone()));
            let (errno, code, _) = refused(store, &files);
            assert_eq!((errno, code), (Errno::FBIG, Code::Limit));
        }
        let mut bad = image.clone();
        bad.config_text = Some(huge.clone());
        bad.seal();
        assert_eq!(refused(store, &bad.layout()).0, Errno::FBIG);
        let mut bad = image.clone();
        bad.manifest_text = Some(huge);
        assert_eq!(refused(store, &bad.layout()).0, Errno::FBIG);
        // What is said to be small, and is a terabyte of nothing in a directory.
        let dir = base.join("unpacked");
        unpack(&image.layout(), &dir);
        let index = std::fs::File::create(dir.join("index.json")).unwrap();
        index.set_len(1 << 40).unwrap();
        assert_eq!(fails(import_dir(store, "app", &dir)).errno(), Errno::FBIG);
        let mut many = image.clone();
        many.config["rootfs"]["diff_ids"] = vec![Digest::of(b"").to_string(); 501].into();
        many.seal();
        assert_eq!(refused(store, &many.layout()).0, Errno::MLINK);
        let options = ImportOptions {
            limits: Limits {
                max_size: 1000,
                ..Default::default()
            },
            ..quick()
        };
        let error = fails(import_with(store, "app", &image.archive(), &options));
        assert_eq!((error.errno(), error.code()), (Errno::FBIG, Code::Limit));
        let members: Files = (0..70_000).map(|n| file(&format!("f{n}"), "")).collect();
        assert_eq!(refused(store, &members).0, Errno::FBIG);
    });
}

#[test]
fn cut_anywhere() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, base| {
        for archive in [image.archive(), tar(&image.saved(&["a:1"]))] {
            // Without the end the archive is still whole.
            let whole = archive.len() - 1024;
            for cut in (0..whole).step_by(512).chain([whole - 1, 700, 2000]) {
                let (errno, _, said) = refused_bytes(store, &archive[..cut]);
                // docker save without its manifest.json is what docker wrote before there was one.
                let old = errno == Errno::OPNOTSUPP && said.contains("before docker 1.10");
                assert!(errno == Errno::BADMSG || old, "{cut}: {said}");
                std::fs::write(base.join("cut"), &archive[..cut]).unwrap();
                let file = std::fs::File::open(base.join("cut")).unwrap();
                assert_eq!(fails(import_file(store, "app", &file)).errno(), errno);
            }
            let packed = gzip(&archive);
            for cut in (0..packed.len()).step_by(97) {
                assert_eq!(
                    refused_bytes(store, &packed[..cut]).0,
                    Errno::BADMSG,
                    "{cut}"
                );
            }
            import(store, "app", &archive[..whole]).unwrap();
            rmi(store, "app").unwrap();
        }
    });
}

#[test]
fn names_that_are_there_twice() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, _| {
        // The last counts, as for who unpacks it.
        let mut files = image.layout();
        files.insert(0, file("index.json", "junk"));
        import(store, "app", &tar(&files)).unwrap();
        rmi(store, "app").unwrap();
        files.push(file("./index.json", "junk"));
        assert_eq!(refused(store, &files).0, Errno::BADMSG);
    });
}

#[test]
fn links_lead_nowhere_else() {
    require!("root", "overlay");
    let image = small();
    let files = image.layout();
    let path = path_of(&image.layers[1].data);
    let secret = image.layers[1].data.clone();
    let over = What::Symlink("../../there".into());
    with_store(|store, base| {
        std::fs::write(base.join("secret"), &secret).unwrap();
        let absolute = base.join("secret").display().to_string();
        let mut inside = change(&files, &path, over.clone());
        inside.push(file("there", secret.clone()));
        let mut hard = change(&inside, &path, What::Hard("there".into()));
        // A hard link comes after what it links to.
        hard.rotate_right(1);
        for files in [&inside, &hard] {
            import(store, "app", &tar(files)).unwrap();
            rmi(store, "app").unwrap();
        }
        let unpacked = base.join("a/b/layout");
        let dir_of = |files: &Files| {
            let _ = std::fs::remove_dir_all(&unpacked);
            unpack(files, &unpacked);
            import_dir(store, "app", &unpacked)
        };
        dir_of(&inside).unwrap();
        rmi(store, "app").unwrap();
        for target in [
            &absolute[..],
            "../../../../../secret",
            "/etc/passwd",
            "../../../x",
            "/proc/self/environ",
            "/proc/self/exe",
        ] {
            let files = change(&files, &path, What::Symlink(target.into()));
            let (errno, code, said) = refused(store, &files);
            assert_eq!(
                (errno, code),
                (Errno::XDEV, Code::Escape),
                "{target}: {said}"
            );
            assert_eq!(fails(dir_of(&files)).errno(), Errno::XDEV, "{target}");
        }
        for target in ["x", &path[13..], "."] {
            let files = change(&files, &path, What::Symlink(target.into()));
            assert_eq!(refused(store, &files).0, Errno::BADMSG, "{target}");
            assert!(dir_of(&files).is_err(), "{target}");
        }
        let files = change(&files, &path, What::Dir);
        assert_eq!(refused(store, &files).0, Errno::BADMSG);
        assert_eq!(fails(dir_of(&files)).errno(), Errno::BADMSG);
        assert!(layers(store).is_empty());
        // A directory above it that is a link.
        let _ = std::fs::remove_dir_all(&unpacked);
        unpack(&image.layout(), &unpacked);
        std::fs::rename(unpacked.join("blobs"), base.join("blobs")).unwrap();
        std::os::unix::fs::symlink(base.join("blobs"), unpacked.join("blobs")).unwrap();
        assert_eq!(
            fails(import_dir(store, "app", &unpacked)).errno(),
            Errno::XDEV
        );
        // A pipe is not waited for.
        std::fs::remove_file(unpacked.join("index.json")).unwrap();
        mkfifo(&unpacked.join("index.json"));
        assert_eq!(
            fails(import_dir(store, "app", &unpacked)).errno(),
            Errno::BADMSG
        );
    });
}

fn mkfifo(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

#[test]
fn paths_of_docker_save_stay_inside() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, _| {
        let saved = image.saved(&["a:1"]);
        let text = saved
            .iter()
            .find(|(path, _)| path == "manifest.json")
            .unwrap();
        let What::File(text) = &text.1 else {
            unreachable!()
        };
        let list: Value = serde_json::from_slice(text).unwrap();
        for (pointer, path, errno) in [
            ("/0/Config", "../x", Errno::INVAL),
            ("/0/Config", "/etc/passwd", Errno::BADMSG),
            ("/0/Config", "", Errno::BADMSG),
            ("/0/Layers/0", "../../etc/passwd", Errno::INVAL),
            ("/0/Layers/0", "x\0y", Errno::INVAL),
            ("/0/Layers/0", ".", Errno::BADMSG),
        ] {
            let mut list = list.clone();
            *list.pointer_mut(pointer).unwrap() = path.into();
            let files = change(&saved, "manifest.json", What::File(list.to_string().into()));
            assert_eq!(refused(store, &files).0, errno, "{pointer} {path}");
        }
    });
}

/// Any bytes are refused or make a whole image; nothing else ever comes of them.
#[test]
fn mutations() {
    require!("root", "overlay");
    let image = small();
    let archives = [
        image.archive(),
        tar(&image.saved(&["a:1"])),
        gzip(&image.archive()),
    ];
    let mut good = 0;
    with_store(|store, base| {
        for seed in 0..600 {
            let mut rng = Rng::new(seed, 5);
            let mut bytes = archives[seed as usize % archives.len()].clone();
            for _ in 0..=rng.below(3) {
                let at = rng.below(bytes.len());
                match rng.below(5) {
                    0 => bytes[at] ^= 1 << rng.below(8),
                    1 => bytes[at] = *rng.pick(b"\0 0/9\"{}[]:,\xff"),
                    2 => {
                        let len = rng.below(700).min(bytes.len() - at);
                        bytes.drain(at..at + len);
                    }
                    3 => {
                        let len = rng.below(700).min(bytes.len() - at);
                        let copy = bytes[at..at + len].to_vec();
                        let to = rng.below(bytes.len());
                        bytes.splice(to..to, copy);
                    }
                    _ => {
                        let block = at / 512 * 512;
                        let end = (block + 512).min(bytes.len());
                        bytes[block..end].fill(0);
                    }
                }
            }
            match import(store, "app", &bytes) {
                Ok(info) => {
                    good += 1;
                    assert_eq!(info.layer, Some(image.top()), "seed {seed}");
                    rmi(store, "app").unwrap();
                }
                Err(error) => {
                    let said = (error.errno(), error.code());
                    assert!(
                        !matches!(error.code(), Code::Bug | Code::System),
                        "seed {seed}: {said:?} {error}"
                    );
                }
            }
            assert!(layers(store).is_empty(), "seed {seed}");
            if seed % 50 == 0 {
                assert_clean(store, base);
            }
        }
    });
    // Some changes touch nothing that matters.
    assert!(good > 0 && good < 400, "{good}");
}
