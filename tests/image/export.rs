use crate::common::*;
use crate::make::*;
use ovl::archive::{Digest, Sink};
use ovl::error::{Code, Errno, Error, Result};
use ovl::store::*;
use ovl::watch::Watch;
use serde_json::{Value, json};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

fn export_dir(store: &Store, name: &str, dir: &Path, reference: Option<&str>) -> Result<ImageInfo> {
    let dir = File::open(dir).unwrap();
    let options = ExportOptions {
        reference: reference.map(str::as_bytes),
    };
    let target = Target::Directory(dir.as_fd());
    store.export_image(name.as_bytes(), target, &options, &mut Watch::default())
}

/// The files of a directory, as those of an archive.
fn files_of(dir: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let walk = walkdir::WalkDir::new(dir)
        .into_iter()
        .map(|entry| entry.unwrap());
    let files = walk.filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            let path = entry.path().strip_prefix(dir).unwrap();
            (
                path.to_str().unwrap().to_string(),
                std::fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

#[test]
fn kept_blobs_come_back_byte_for_byte() {
    require!("root", "overlay");
    let mut image = small();
    // Bytes that nobody would write again.
    image.config_text = Some(format!(" {}\n", image.config).into_bytes());
    image.seal();
    image.manifest_text = Some(format!("\n{:#}\n", image.manifest).into_bytes());
    with_store(|store, base| {
        let info = import_with(store, "app:1.0", &image.archive(), &keeping()).unwrap();
        assert!(info.blobs && store.stat_image(b"app:1.0").unwrap().blobs);
        let (archive, told) = export(store, "app:1.0").unwrap();
        assert_eq!(
            (told.manifest, told.config, told.blobs),
            (info.manifest, info.config, true)
        );
        assert_eq!((told.layer, told.size), (info.layer.clone(), info.size));
        let mut wanted = files(&image.archive());
        let mut got = files(&archive);
        assert_eq!(
            got.remove("index.json").is_some(),
            wanted.remove("index.json").is_some()
        );
        assert_eq!(got, wanted);
        let dir = base.join("out");
        std::fs::create_dir(&dir).unwrap();
        export_dir(store, "app:1.0", &dir, None).unwrap();
        assert_eq!(files_of(&dir), files(&archive));
        // And again, from either.
        assert_eq!(
            import(store, "again", &archive).unwrap().manifest,
            info.manifest
        );
        assert_eq!(
            import_dir(store, "again", &dir).unwrap().manifest,
            info.manifest
        );
        // Layers are not asked for.
        rmi(store, "again").unwrap();
        for id in image.ids().iter().rev() {
            store
                .remove(id.as_bytes(), RemoveFlags::empty(), &mut Watch::default())
                .unwrap();
        }
        assert_eq!(export(store, "app:1.0").unwrap().0, archive);
        import(store, "app:1.0", &archive).unwrap();
    });
}

#[test]
fn kept_blobs_of_docker_save() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, _| {
        let info = import_with(store, "app", &tar(&image.saved(&["app:1"])), &keeping()).unwrap();
        assert_eq!(info.manifest, None);
        let (archive, told) = export(store, "app").unwrap();
        assert_eq!(
            (told.config, told.blobs),
            (Some(image.config_digest()), true)
        );
        let got = files(&archive);
        for layer in &image.layers {
            assert_eq!(
                got[&format!("blobs/sha256/{}", Digest::of(&layer.data).hex())],
                layer.data
            );
        }
        let manifest = &got[&format!("blobs/sha256/{}", told.manifest.unwrap().hex())];
        let manifest: Value = serde_json::from_slice(manifest).unwrap();
        let types: Vec<&str> = manifest["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["mediaType"].as_str().unwrap())
            .collect();
        assert_eq!(
            types,
            [LAYER, &format!("{LAYER}+gzip"), &format!("{LAYER}+zstd")]
        );
        assert_eq!(import(store, "again", &archive).unwrap().made, 0);
    });
}

#[test]
fn layers_are_made_anew() {
    require!("root", "overlay");
    let mut image = small();
    image.config["unknown"] =
        json!({ "z": [1, 2.5, "x"], "a": null, "big": 18446744073709551615u64 });
    image.config_text = Some(
        image
            .config
            .to_string()
            .replace("2.5", "2.50000000000000000001")
            .into_bytes(),
    );
    image.seal();
    with_store(|store, base| {
        let wanted = expected(base, &image);
        import(store, "app:1.0", &image.archive()).unwrap();
        let (archive, told) = export(store, "app:1.0").unwrap();
        assert!(!told.blobs);
        assert_ne!(told.config, Some(image.config_digest()));
        assert_eq!(
            export(store, "app:1.0").unwrap().0,
            archive,
            "the same bytes"
        );
        let dir = base.join("out");
        std::fs::create_dir(&dir).unwrap();
        assert_eq!(
            export_dir(store, "app:1.0", &dir, None).unwrap().manifest,
            told.manifest
        );
        assert_eq!(files_of(&dir), files(&archive));
        let got = files(&archive);
        let index: Value = serde_json::from_slice(&got["index.json"]).unwrap();
        let named = &index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
        assert_eq!(named, "1.0");
        // All of the config is kept but the diff IDs, to the letter.
        let text = |digest: Digest| {
            String::from_utf8(got[&format!("blobs/sha256/{}", digest.hex())].clone()).unwrap()
        };
        let config = text(told.config.unwrap());
        assert!(config.contains("2.50000000000000000001"), "{config}");
        let as_value = |text: &str| {
            let mut value: Value =
                serde_json::from_str(&text.replace("2.50000000000000000001", "0")).unwrap();
            value["rootfs"]["diff_ids"] = Value::Null;
            value
        };
        let original = String::from_utf8(image.config_bytes()).unwrap();
        assert_eq!(as_value(&config), as_value(&original));
        rmi(store, "app:1.0").unwrap();
        let info = import(store, "again", &archive).unwrap();
        assert_eq!(
            (info.manifest, info.config, info.layers),
            (told.manifest, told.config, 3)
        );
        assert_eq!(tree(store, &info.layer.unwrap()), wanted);
        // What was made anew once stays as it is.
        let (second, again) = export(store, "again").unwrap();
        assert_eq!((again.manifest, again.config), (told.manifest, told.config));
        let both = [&archive, &second].map(|archive| {
            let mut files = files(archive);
            files.remove("index.json");
            files
        });
        assert_eq!(both[0], both[1]);
    });
}

#[test]
fn names_in_the_layout() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, base| {
        let name_in = |name: &str, reference: Option<&str>| {
            let dir = base.join("out");
            std::fs::create_dir(&dir).unwrap();
            export_dir(store, name, &dir, reference).unwrap();
            let index: Value =
                serde_json::from_slice(&std::fs::read(dir.join("index.json")).unwrap()).unwrap();
            std::fs::remove_dir_all(&dir).unwrap();
            index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
                .as_str()
                .unwrap()
                .to_string()
        };
        for (name, said) in [
            ("app", "latest"),
            ("x/app:2", "2"),
            ("host:5000/app", "latest"),
        ] {
            import(store, name, &image.archive()).unwrap();
            assert_eq!(name_in(name, None), said);
            assert_eq!(name_in(name, Some("y:3")), "y:3");
            rmi(store, name).unwrap();
        }
        import(store, "app", &image.archive()).unwrap();
        let dir = base.join("out");
        std::fs::create_dir(&dir).unwrap();
        for bad in ["", "a\nb"] {
            assert_eq!(
                fails(export_dir(store, "app", &dir, Some(bad))).errno(),
                Errno::INVAL
            );
        }
        assert!(names(&dir).is_empty());
        std::fs::write(dir.join("x"), "").unwrap();
        let error = fails(export_dir(store, "app", &dir, None));
        assert_eq!(
            (error.errno(), error.code()),
            (Errno::NOTEMPTY, Code::NotEmpty)
        );
        assert_eq!(fails(export(store, "other")).code(), Code::NoImage);
    });
}

#[test]
fn a_failure_leaves_the_directory_empty() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, base| {
        let dir = base.join("out");
        std::fs::create_dir(&dir).unwrap();
        import(store, "app", &image.archive()).unwrap();
        let middle = image.ids()[1].clone();
        let from = base.join("home/layer").join(&middle);
        std::fs::rename(&from, base.join("away")).unwrap();
        for error in [
            fails(export_dir(store, "app", &dir, None)),
            fails(export(store, "app")),
            fails(store.stat_image(b"app")),
        ] {
            assert_eq!((error.errno(), error.code()), (Errno::NOENT, Code::NoLayer));
            assert_eq!(error.path(), middle.as_bytes());
        }
        assert!(names(&dir).is_empty());
        assert_eq!(images(store), ["app"]);
        std::fs::rename(base.join("away"), &from).unwrap();
        // A kept blob that was changed, cut, or taken away.
        import_with(store, "app", &image.archive(), &keeping()).unwrap();
        let blob = base
            .join("home/blob/sha256")
            .join(Digest::of(&image.layers[1].data).hex());
        let good = std::fs::read(&blob).unwrap();
        let mut changed = good.clone();
        changed[20] ^= 1;
        for bad in [Some(&changed[..]), Some(&good[..good.len() - 1]), None] {
            match bad {
                Some(bad) => std::fs::write(&blob, bad).unwrap(),
                None => std::fs::remove_file(&blob).unwrap(),
            }
            let error = fails(export_dir(store, "app", &dir, None));
            assert_eq!(
                (error.errno(), error.code()),
                (Errno::IO, Code::Damaged),
                "{error}"
            );
            assert!(names(&dir).is_empty());
        }
        // Importing it again mends that.
        import_with(store, "app", &image.archive(), &keeping()).unwrap();
        assert_eq!(std::fs::read(&blob).unwrap(), good);
        export_dir(store, "app", &dir, None).unwrap();
    });
}

#[test]
fn a_sink_that_fails() {
    require!("root", "overlay");
    struct Full(usize);
    impl Sink for Full {
        fn write_all(&mut self, buf: &[u8]) -> Result<()> {
            self.0 = self
                .0
                .checked_sub(buf.len())
                .ok_or_else(|| Error::sys(Errno::NOSPC, "write"))?;
            Ok(())
        }
    }
    let image = small();
    with_store(|store, _| {
        import(store, "app", &image.archive()).unwrap();
        let whole = export(store, "app").unwrap().0.len();
        for room in (0..whole).step_by(500) {
            let target = &mut Full(room);
            let options = ExportOptions::default();
            let done = store.export_image(
                b"app",
                Target::Stream(target),
                &options,
                &mut Watch::default(),
            );
            assert_eq!(fails(done).errno(), Errno::NOSPC);
        }
    });
}

/// An export goes on, whatever becomes of the image meanwhile.
#[test]
fn replaced_and_removed_while_it_is_written() {
    require!("root", "overlay");
    struct Meanwhile<'a> {
        out: Vec<u8>,
        act: Option<&'a dyn Fn()>,
    }
    impl Sink for Meanwhile<'_> {
        fn write_all(&mut self, buf: &[u8]) -> Result<()> {
            if let Some(act) = self.act.take() {
                act();
            }
            self.out.extend_from_slice(buf);
            Ok(())
        }
    }
    let image = small();
    let other = Image::new(vec![Blob::gzip(layer(&[("name", "other")]))]);
    with_store(|store, base| {
        let replace = || drop(import_with(store, "app", &other.archive(), &keeping()).unwrap());
        let remove = || rmi(store, "app").unwrap();
        for act in [&replace as &dyn Fn(), &remove] {
            for keep in [true, false] {
                let how = if keep { keeping() } else { quick() };
                import_with(store, "app", &image.archive(), &how).unwrap();
                let wanted = export(store, "app").unwrap().0;
                let mut sink = Meanwhile {
                    out: Vec::new(),
                    act: Some(act),
                };
                let target = Target::Stream(&mut sink);
                let options = ExportOptions::default();
                store
                    .export_image(b"app", target, &options, &mut Watch::default())
                    .unwrap();
                assert!(sink.out == wanted);
                // The layers stayed while they were read.
                import(store, "app", &image.archive()).unwrap();
                rmi(store, "app").unwrap();
                assert!(layers(store).is_empty());
                assert_clean(store, base);
            }
        }
    });
}

/// What others have put into the directory stays, and of what was written nothing does.
#[test]
fn only_what_was_written_is_taken_back() {
    require!("root", "overlay");
    let big = crate::support::rng::Rng::new(5, 5).bytes(5 << 20);
    let image = Image::new(vec![Blob::plain(tar(&vec![
        file("big", big),
        file("small", "x"),
    ]))]);
    with_store(|store, base| {
        import_with(store, "app", &image.archive(), &keeping()).unwrap();
        for theirs in ["blobs/sha256/theirs", "blobs/theirs", "index.json"] {
            let dir = base.join("out");
            std::fs::create_dir(&dir).unwrap();
            let mut stop = |_: &ovl::watch::Progress| {
                std::fs::write(dir.join(theirs), "theirs").unwrap();
                1
            };
            let watch = &mut Watch::new(None, Some(&mut stop));
            let opened = File::open(&dir).unwrap();
            let target = Target::Directory(opened.as_fd());
            let options = ExportOptions::default();
            let error = fails(store.export_image(b"app", target, &options, watch));
            assert_eq!(error.errno(), Errno::CANCELED, "{theirs}: {error}");
            let left: Vec<String> = files_of(&dir).into_keys().collect();
            assert_eq!(left, [theirs]);
            std::fs::remove_dir_all(&dir).unwrap();
        }
    });
}
