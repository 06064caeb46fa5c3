use crate::common::*;
use crate::make::*;
use crate::support::fsys;
use ovl::error::{Code, Errno};
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
