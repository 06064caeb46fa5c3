use crate::common::*;
use crate::make::*;
use ovl::archive::Digest;
use ovl::error::{Code, Errno};
use ovl::store::*;
use ovl::watch::{Cancel, Watch};
use serde_json::json;
use std::io::{Seek, Write};

#[test]
fn every_sort_of_archive_gives_the_same_image() {
    require!("root", "overlay");
    let image = small();
    let (oci, saved) = (image.layout(), image.saved(&["app:1"]));
    let both = [oci.clone(), saved.clone()].concat();
    with_store(|store, base| {
        let tree_of = expected(base, &image);
        let check = |what: &str, info: ImageInfo, manifest: bool| {
            assert_eq!(info.layer, Some(image.top()), "{what}");
            assert_eq!(info.layers, 3);
            assert_eq!(info.config, Some(image.config_digest()));
            assert_eq!(
                info.manifest,
                manifest.then(|| image.manifest_digest()),
                "{what}"
            );
            assert_eq!(tree(store, &image.top()), tree_of, "{what}");
            let told = store.stat_image(b"a/b:1").unwrap();
            assert_eq!(
                (told.size, told.config, told.made),
                (info.size, info.config, 0)
            );
            assert_eq!(told.layer, info.layer);
            assert_eq!(images(store), ["a/b:1"]);
            rmi(store, "a/b:1").unwrap();
            assert!(layers(store).is_empty(), "{what}");
        };
        for (what, files, manifest) in [
            ("oci", &oci, true),
            ("saved", &saved, false),
            ("both", &both, true),
        ] {
            let plain = tar(files);
            check(what, import(store, "a/b:1", &plain).unwrap(), manifest);
            check(
                what,
                import(store, "a/b:1", &gzip(&plain)).unwrap(),
                manifest,
            );
            check(
                what,
                import(store, "a/b:1", &zstd(&plain)).unwrap(),
                manifest,
            );
            // As a file, behind something else.
            let path = base.join("archive");
            for data in [&plain, &gzip(&plain)] {
                let mut file = std::fs::File::options()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .open(&path)
                    .unwrap();
                file.write_all(&[1; 1000]).unwrap();
                file.write_all(data).unwrap();
                file.seek(std::io::SeekFrom::Start(1000)).unwrap();
                check(what, import_file(store, "a/b:1", &file).unwrap(), manifest);
                assert_eq!(file.stream_position().unwrap(), 1000);
            }
            std::fs::remove_file(&path).unwrap();
            let dir = base.join("unpacked");
            unpack(files, &dir);
            check(what, import_dir(store, "a/b:1", &dir).unwrap(), manifest);
            std::fs::remove_dir_all(&dir).unwrap();
        }
    });
}

#[test]
fn what_the_config_says() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, _| {
        let info = import(store, "app", &image.archive()).unwrap();
        assert_eq!((info.made, info.blobs), (3, false));
        let items = store.image_config(b"app").unwrap();
        let text = |words: &[&str], make: fn(String) -> ConfigItem| {
            words
                .iter()
                .map(|word| make((*word).into()))
                .collect::<Vec<_>>()
        };
        let label = |key: &str, value: &str| ConfigItem::Label {
            key: key.into(),
            value: value.into(),
        };
        let mut wanted = vec![ConfigItem::Json(image.config_bytes())];
        wanted.extend(text(&["PATH=/bin", "KEY=a value"], ConfigItem::Env));
        wanted.extend(text(&["/bin/tool", "-x"], ConfigItem::Entrypoint));
        wanted.extend(text(&["one"], ConfigItem::Cmd));
        wanted.extend(text(&["/work"], ConfigItem::WorkingDir));
        wanted.extend(text(&["7:8"], ConfigItem::User));
        wanted.extend([label("a", "1"), label("b", "2")]);
        wanted.extend(
            image
                .ids()
                .into_iter()
                .zip(&image.layers)
                .map(|(id, layer)| {
                    ConfigItem::Layer(ImageLayer {
                        id,
                        diff_id: Digest::of(&layer.tar),
                    })
                }),
        );
        assert_eq!(items, wanted);
        for call in [
            store.image_config(b"other").err(),
            store.stat_image(b"other").err(),
            rmi(store, "other").err(),
        ] {
            let error = call.unwrap();
            assert_eq!((error.errno(), error.code()), (Errno::NOENT, Code::NoImage));
        }
    });
}

#[test]
fn a_config_that_says_nothing() {
    require!("root", "overlay");
    with_store(|store, _| {
        let mut image = Image::new(Vec::new());
        image.config = json!({ "rootfs": { "type": "layers" } });
        image.seal();
        let info = import(store, "scratch", &image.archive()).unwrap();
        assert_eq!((info.layer, info.layers, info.size), (None, 0, 0));
        assert_eq!(store.image_config(b"scratch").unwrap().len(), 1);
        assert_eq!(store.list_images().unwrap()[0].layer, None);
        let (archive, _) = export(store, "scratch").unwrap();
        assert_eq!(
            import(store, "again", &archive).unwrap().config,
            info.config
        );
        // Old writers: one word without its array.
        image.config["config"] = json!({ "Cmd": "run", "Entrypoint": null, "Env": null });
        image.seal();
        import(store, "scratch", &image.archive()).unwrap();
        let cmd = ConfigItem::Cmd("run".into());
        assert!(store.image_config(b"scratch").unwrap().contains(&cmd));
    });
}

#[test]
fn names() {
    require!("root", "overlay");
    let image = Image::new(vec![Blob::plain(layer(&[("a", "a")]))]);
    let archive = image.archive();
    let long = "a".repeat(200);
    let slashes = format!("{}b", "a/".repeat(60));
    let deep = format!("{}b", "a/".repeat(70));
    with_store(|store, base| {
        for name in [
            "a",
            "9",
            "a:b",
            "x.y/z-_+@:1.0",
            &long,
            &slashes,
            "host:5000/a",
        ] {
            import(store, name, &archive).unwrap();
            assert_eq!(images(store), [name]);
            assert_eq!(store.stat_image(name.as_bytes()).unwrap().layers, 1);
            rmi(store, name).unwrap();
        }
        let error = fails(import(store, &deep, &archive));
        assert_eq!(error.errno(), Errno::NAMETOOLONG);
        let too_long = "a".repeat(201);
        for name in [
            "", ".", "..", "/a", "a/", "a//b", "a/./b", "a/../b", "a:b:c", "-a", ":a", "a b",
            "a%2Fb", "ä", &too_long,
        ] {
            assert_eq!(
                fails(import(store, name, &archive)).errno(),
                Errno::INVAL,
                "{name}"
            );
            assert_eq!(fails(rmi(store, name)).errno(), Errno::INVAL);
            assert_eq!(
                fails(store.stat_image(name.as_bytes())).errno(),
                Errno::INVAL
            );
        }
        import(store, "a/b:1", &archive).unwrap();
        assert_eq!(
            crate::common::names(&base.join("home/image")),
            ["a%2Fb%3A1"]
        );
    });
}

#[test]
fn kinds_and_durabilities() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, base| {
        let tree_of = expected(base, &image);
        for kind in [Kind::Root, Kind::Overlay] {
            for durability in [Durability::Default, Durability::Full, Durability::Verified] {
                let options = ImportOptions {
                    kind: Some(kind),
                    durability,
                    ..keeping()
                };
                import_with(store, "app", &image.archive(), &options).unwrap();
                assert_eq!(store.stat(image.top().as_bytes()).unwrap().kind, kind);
                assert_eq!(tree(store, &image.top()), tree_of);
                assert_clean(store, base);
                rmi(store, "app").unwrap();
            }
        }
    });
}

#[test]
fn partial_layers_are_told_and_refused() {
    require!("root", "overlay");
    // A layer with a device, by hand: type 3, 1:3.
    let mut device = tar(&vec![file("dev/null", "")]);
    device[156] = b'3';
    device[329..336].copy_from_slice(b"0000001");
    device[337..344].copy_from_slice(b"0000003");
    device[148..156].copy_from_slice(b"        ");
    let sum: u32 = device[..512].iter().map(|&byte| u32::from(byte)).sum();
    device[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let image = Image::new(vec![Blob::plain(layer(&[("a", "a")])), Blob::gzip(device)]);
    with_store(|store, _| {
        let with = |flags| ImportOptions { flags, ..quick() };
        let both = ImportFlags::STRICT | ImportFlags::NO_DEVICES;
        let error = fails(import_with(store, "app", &image.archive(), &with(both)));
        assert_eq!((error.errno(), error.code()), (Errno::PERM, Code::Strict));
        assert!(layers(store).is_empty());
        let info = import_with(
            store,
            "app",
            &image.archive(),
            &with(ImportFlags::NO_DEVICES),
        )
        .unwrap();
        assert_eq!((info.skipped_devices, info.made), (1, 2));
        assert_eq!(store.stat_image(b"app").unwrap().skipped_devices, 0);
        // The layer that is there lacks it, whoever made it.
        let info = import(store, "app2", &image.archive()).unwrap();
        assert_eq!((info.skipped_devices, info.made), (1, 0));
        let error = fails(import_with(
            store,
            "app3",
            &image.archive(),
            &with(ImportFlags::STRICT),
        ));
        assert_eq!(error.code(), Code::Strict);
        assert!(error.message().contains(&image.top()), "{error}");
        assert_eq!(images(store), ["app", "app2"]);
        rmi(store, "app").unwrap();
        rmi(store, "app2").unwrap();
        let info = import_with(store, "app", &image.archive(), &with(ImportFlags::STRICT)).unwrap();
        assert_eq!((info.skipped_devices, info.made), (0, 2));
    });
}

#[test]
fn cancelled_it_leaves_nothing() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, _| {
        let cancel = Cancel::new();
        cancel.trigger();
        let archive = image.archive();
        let mut stream = &archive[..];
        let watch = &mut Watch::new(Some(&cancel), None);
        let error =
            fails(store.import_image(b"app", Archive::Stream(&mut stream), &quick(), watch));
        assert_eq!(error.code(), Code::Cancelled);
        // By the progress function, at every call of it.
        for stop in 1.. {
            let mut calls = 0;
            let mut progress = |_: &ovl::watch::Progress| {
                calls += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
                i32::from(calls == stop)
            };
            let watch = &mut Watch::new(None, Some(&mut progress));
            let mut stream = &archive[..];
            match store.import_image(b"app", Archive::Stream(&mut stream), &quick(), watch) {
                Ok(_) => break,
                Err(error) => assert_eq!(
                    (error.code(), error.said_by_callback()),
                    (Code::Cancelled, 1)
                ),
            }
            assert!(layers(store).is_empty() && images(store).is_empty());
        }
    });
}

#[test]
fn a_store_for_reading_is_read() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, base| {
        import(store, "app", &image.archive()).unwrap();
        let options = OpenOptions {
            flags: OpenFlags::READ_ONLY,
            ..Default::default()
        };
        use std::os::unix::ffi::OsStrExt;
        let reader = Store::open(base.join("home").as_os_str().as_bytes(), options).unwrap();
        assert_eq!(
            fails(import(&reader, "other", &image.archive())).errno(),
            Errno::ROFS
        );
        assert_eq!(fails(rmi(&reader, "app")).errno(), Errno::ROFS);
        assert_eq!(images(&reader), ["app"]);
        assert_eq!(
            export(&reader, "app").unwrap().0,
            export(store, "app").unwrap().0
        );
    });
}
