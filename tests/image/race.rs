use crate::common::*;
use crate::make::*;
use crate::support::fsys;
use ovl::error::{Code, Errno};
use ovl::store::{ExportOptions, Target};
use ovl::watch::Watch;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

fn above(base: &Image, text: &str) -> Image {
    let mut layers = base.layers.clone();
    layers.push(Blob::gzip(layer(&[("app", text)])));
    Image::new(layers)
}

#[test]
fn several_imports_of_the_same_layers() {
    require!("root", "overlay");
    let base = small();
    let images: Vec<Image> = (0..4).map(|n| above(&base, &n.to_string())).collect();
    with_store(|store, dir| {
        for _ in 0..20 {
            let made: u64 = std::thread::scope(|scope| {
                let threads: Vec<_> = images
                    .iter()
                    .enumerate()
                    .map(|(n, image)| {
                        // Through stores of their own, as other processes have.
                        let home = dir.join("home");
                        scope.spawn(move || {
                            let store = open(&home);
                            import(&store, &format!("app{n}"), &image.archive())
                                .unwrap()
                                .made
                        })
                    })
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .sum()
            });
            assert_eq!(made, 7, "each layer is made once");
            assert_eq!(layers(store).len(), 7);
            assert_clean(store, dir);
            std::thread::scope(|scope| {
                for n in 0..4 {
                    scope.spawn(move || rmi(store, &format!("app{n}")).unwrap());
                }
            });
            // Two that remove at once may each find the other at work on a layer.
            for id in layers(store).iter().rev() {
                assert!(base.ids().contains(id), "{id}");
            }
            import(store, "rest", &base.archive()).unwrap();
            rmi(store, "rest").unwrap();
            assert!(layers(store).is_empty());
        }
    });
}

#[test]
fn imports_against_removals() {
    require!("root", "overlay");
    let base = small();
    let (a, b) = (above(&base, "a"), above(&base, "b"));
    with_store(|store, dir| {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let worker = |name: &'static str, image: Image, keep: bool| {
                let (home, done) = (dir.join("home"), &done);
                scope.spawn(move || {
                    let store = open(&home);
                    let archive = image.archive();
                    let options = if keep { keeping() } else { quick() };
                    let mut n = 0;
                    while !done.load(Ordering::Relaxed) {
                        import_with(&store, name, &archive, &options).unwrap();
                        // Whole, whatever others do.
                        let info = store.stat_image(name.as_bytes()).unwrap();
                        assert_eq!(info.layers, 4);
                        export(&store, name).unwrap();
                        rmi(&store, name).unwrap();
                        n += 1;
                    }
                    n
                })
            };
            let workers = [
                worker("a", a.clone(), true),
                worker("b", b.clone(), false),
                worker("c", a.clone(), true),
            ];
            // One who reads is never in anybody's way, and never finds half an image.
            let end = std::time::Instant::now() + std::time::Duration::from_secs(4);
            while std::time::Instant::now() < end {
                for image in store.list_images().unwrap() {
                    match store.image_config(image.name.as_bytes()) {
                        Ok(items) => assert!(items.len() > 4),
                        Err(error) => assert_eq!(error.code(), Code::NoImage, "{error}"),
                    }
                }
            }
            done.store(true, Ordering::Relaxed);
            for worker in workers {
                assert!(worker.join().unwrap() > 0);
            }
        });
        assert!(images(store).is_empty());
        // What two removals at once left to each other.
        import(store, "a", &a.archive()).unwrap();
        import(store, "b", &b.archive()).unwrap();
        rmi(store, "a").unwrap();
        rmi(store, "b").unwrap();
        assert!(layers(store).is_empty(), "{:?}", layers(store));
    });
}

#[test]
fn one_name_from_two_sides() {
    require!("root", "overlay");
    let base = small();
    let images = [above(&base, "a"), above(&base, "b")];
    with_store(|store, dir| {
        std::thread::scope(|scope| {
            for image in &images {
                let home = dir.join("home");
                scope.spawn(move || {
                    let store = open(&home);
                    for _ in 0..30 {
                        import_with(&store, "app", &image.archive(), &keeping()).unwrap();
                    }
                });
            }
        });
        let top = store.stat_image(b"app").unwrap().layer.unwrap();
        assert!(images.iter().any(|image| image.top() == top));
        assert_clean(store, dir);
        for image in &images {
            import(store, "app", &image.archive()).unwrap();
        }
        rmi(store, "app").unwrap();
        assert!(layers(store).is_empty());
    });
}

/// What is whole is never called damaged, nor its layers missing.
#[test]
fn exports_while_the_image_is_replaced() {
    require!("root", "overlay");
    let base = small();
    let images = [
        above(&base, "a"),
        Image::new(above(&base, "b").layers[2..].to_vec()),
    ];
    with_store(|store, dir| {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (home, done) = (dir.join("home"), &done);
            let archives = images.each_ref().map(Image::archive);
            let worker = scope.spawn(move || {
                let store = open(&home);
                for n in 0.. {
                    if done.load(Ordering::Relaxed) {
                        return n;
                    }
                    let options = if n % 8 < 4 { keeping() } else { quick() };
                    import_with(&store, "app", &archives[n % 2], &options).unwrap();
                    if n % 16 == 15 {
                        rmi(&store, "app").unwrap();
                    }
                }
                0
            });
            let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
            let (mut whole, mut wrong) = (0, None);
            while std::time::Instant::now() < end && wrong.is_none() {
                let told = [
                    export(store, "app").map(|(archive, _)| assert!(files(&archive).len() >= 4)),
                    store.stat_image(b"app").map(drop),
                ];
                for told in told {
                    match told {
                        Ok(()) => whole += 1,
                        Err(error) if error.code() == Code::NoImage => {}
                        Err(error) => wrong = Some(error),
                    }
                }
            }
            done.store(true, Ordering::Relaxed);
            let replaced = worker.join().unwrap();
            assert!(wrong.is_none(), "{}", wrong.unwrap());
            assert!(replaced > 10 && whole > 10, "{whole}");
        });
    });
}

#[test]
fn two_exports_into_one_directory() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, base| {
        for keep in [keeping(), quick()] {
            import_with(store, "app", &image.archive(), &keep).unwrap();
            for round in 0..150 {
                let out = base.join("out");
                std::fs::create_dir(&out).unwrap();
                let barrier = std::sync::Barrier::new(3);
                let done: Vec<Result<(), Errno>> = std::thread::scope(|scope| {
                    let threads = [(); 3].map(|()| {
                        scope.spawn(|| {
                            let dir = std::fs::File::open(&out).unwrap();
                            barrier.wait();
                            let target = Target::Directory(dir.as_fd());
                            let options = ExportOptions::default();
                            store
                                .export_image(b"app", target, &options, &mut Watch::default())
                                .map(drop)
                                .map_err(|error| error.errno())
                        })
                    });
                    threads.map(|thread| thread.join().unwrap()).to_vec()
                });
                let good = done.iter().filter(|one| one.is_ok()).count();
                assert_eq!(good, 1, "round {round}: {done:?}");
                assert!(
                    done.iter()
                        .all(|one| matches!(one, Ok(()) | Err(Errno::NOTEMPTY))),
                    "round {round}: {done:?}"
                );
                assert_eq!(import_dir(store, "again", &out).unwrap().layers, 3);
                rmi(store, "again").unwrap();
                std::fs::remove_dir_all(&out).unwrap();
            }
        }
    });
}

#[test]
fn a_full_disk() {
    require!("root", "overlay");
    let random: Vec<u8> = crate::support::rng::Rng::new(3, 3).bytes(300 << 10);
    let text: String = random
        .iter()
        .map(|byte| char::from(b'a' + byte % 26))
        .collect();
    let big = |n: usize| Blob::gzip(layer(&[(&format!("f{n}"), &text)]));
    let image = Image::new((0..6).map(big).collect());
    fsys::with_mounts(|base| {
        let dir = base.join("small");
        std::fs::create_dir(&dir).unwrap();
        fsys::mount_tmpfs(&dir, c"mode=755,size=2m").unwrap();
        let store = open(&dir.join("home"));
        let archive = image.archive();
        for options in [quick(), keeping()] {
            let error = fails(import_with(&store, "app", &archive, &options));
            assert_eq!(error.errno(), Errno::NOSPC, "{error}");
            assert!(layers(&store).is_empty() && images(&store).is_empty());
            assert_clean(&store, &dir);
        }
        // What is there stays as it is when what is to replace it does not fit.
        let small = Image::new(image.layers[..1].to_vec());
        import(&store, "app", &small.archive()).unwrap();
        assert_eq!(fails(import(&store, "app", &archive)).errno(), Errno::NOSPC);
        assert_eq!(store.stat_image(b"app").unwrap().layer, Some(small.top()));
        assert_clean(&store, &dir);
        drop(store);
    });
}
