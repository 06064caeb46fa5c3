use crate::common::*;
use crate::make::*;
use ovl::archive::Digest;
use ovl::error::Code;
use ovl::store::*;
use ovl::watch::Watch;
use std::fs;
use std::path::Path;

/// Places and kinds of what a check finds, notes too.
fn found(store: &Store, flags: CheckFlags) -> Vec<(String, String, bool)> {
    let found = store.check(flags, &mut Watch::default()).unwrap();
    found
        .into_iter()
        .map(|one| (one.layer, one.kind.to_string(), one.note))
        .collect()
}

fn damage(store: &Store) -> Vec<(String, String)> {
    let all = found(store, CheckFlags::empty());
    all.into_iter()
        .filter(|one| !one.2)
        .map(|one| (one.0, one.1))
        .collect()
}

fn one(place: &str, kind: &str) -> Vec<(String, String)> {
    vec![(place.to_string(), kind.to_string())]
}

#[test]
fn a_damaged_image_takes_no_other_down() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, base| {
        let place = base.join("home/image/a");
        let good: Vec<(String, Vec<u8>)> = {
            import(store, "a", &image.archive()).unwrap();
            names(&place)
                .into_iter()
                .map(|name| (name.clone(), fs::read(place.join(&name)).unwrap()))
                .collect()
        };
        assert_eq!(good.len(), 3);
        import(store, "b", &image.archive()).unwrap();
        let mend = || {
            for (name, data) in &good {
                let _ = fs::remove_dir_all(place.join(name));
                fs::write(place.join(name), data).unwrap();
            }
        };
        for (name, data) in &good {
            let path = place.join(name);
            let break_it: [&dyn Fn(); 4] = [
                &|| fs::remove_file(&path).unwrap(),
                &|| fs::write(&path, &data[..data.len() - 1]).unwrap(),
                &|| fs::write(&path, "").unwrap(),
                &|| {
                    fs::remove_file(&path).unwrap();
                    fs::create_dir(&path).unwrap();
                },
            ];
            for (n, damages) in break_it.iter().enumerate() {
                damages();
                assert_eq!(damage(store), one("image/a", "damaged"), "{name} {n}");
                assert_eq!(store.stat_image(b"b").unwrap().layers, 3);
                let listed = images(store);
                assert_eq!(
                    listed.contains(&"a".to_string()),
                    name != "layers",
                    "{listed:?}"
                );
                if name != "manifest" {
                    assert_eq!(
                        fails(store.image_config(b"a")).code(),
                        Code::Damaged,
                        "{name} {n}"
                    );
                }
                export(store, "b").unwrap();
                mend();
            }
        }
        assert!(damage(store).is_empty());
        // Nothing is taken away that a damaged one may list; the last can go all the same.
        fs::write(place.join("layers"), "x").unwrap();
        rmi(store, "b").unwrap();
        assert_eq!(layers(store).len(), 3);
        rmi(store, "a").unwrap();
        assert!(layers(store).is_empty(), "its config told its layers");
        // And it can be imported over.
        import(store, "a", &image.archive()).unwrap();
        fs::write(place.join("layers"), "x").unwrap();
        import(store, "a", &image.archive()).unwrap();
        assert!(damage(store).is_empty());
        // Something else in its place can go, too.
        fs::write(base.join("home/image/c"), "x").unwrap();
        assert_eq!(damage(store), one("image/c", "damaged"));
        rmi(store, "c").unwrap();
    });
}

#[test]
fn layers_that_are_missing() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, _| {
        let watch = &mut Watch::default();
        import(store, "a", &image.archive()).unwrap();
        store
            .remove(image.top().as_bytes(), RemoveFlags::empty(), watch)
            .unwrap();
        assert_eq!(damage(store), one("image/a", "no layer"));
        store
            .create(image.top().as_bytes(), None, CreateFlags::empty(), watch)
            .unwrap();
        assert_eq!(damage(store), one("image/a", "no layer"));
        assert_eq!(fails(store.stat_image(b"a")).code(), Code::Damaged);
        store
            .remove(image.top().as_bytes(), RemoveFlags::empty(), watch)
            .unwrap();
        assert_eq!(import(store, "a", &image.archive()).unwrap().made, 1);
    });
}

#[test]
fn blobs() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, base| {
        import_with(store, "a", &image.archive(), &keeping()).unwrap();
        let dir = base.join("home/blob/sha256");
        let hex = Digest::of(&image.layers[1].data).hex();
        let (place, path) = (format!("blob/sha256/{hex}"), dir.join(&hex));
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[3] ^= 8;
        fs::write(&path, &bad).unwrap();
        assert_eq!(damage(store), one(&place, "differs"));
        fs::remove_file(&path).unwrap();
        assert_eq!(damage(store), one("image/a", "no blob"));
        fs::write(&path, &good).unwrap();
        let other = Digest::of(b"x").hex();
        fs::write(dir.join(&other), "x").unwrap();
        let unused = format!("blob/sha256/{other}");
        assert_eq!(damage(store), one(&unused, "leftover"));
        // It may be a damaged image's: then nobody can tell.
        let layers = base.join("home/image/a/layers");
        let text = fs::read(&layers).unwrap();
        fs::write(&layers, "x").unwrap();
        assert_eq!(damage(store), one("image/a", "damaged"));
        assert!(found(store, CheckFlags::REPAIR).contains(&(
            "blob/sha256".into(),
            "damaged".into(),
            true
        )));
        assert!(dir.join(&other).exists());
        fs::write(&layers, &text).unwrap();
        let mended = store
            .check(CheckFlags::REPAIR, &mut Watch::default())
            .unwrap();
        assert!(mended.iter().any(|one| one.layer == unused && one.repaired));
        assert!(!dir.join(&other).exists() && damage(store).is_empty());
        // A cleanup takes it, too.
        fs::write(dir.join(&other), "x").unwrap();
        store.cleanup(&mut Watch::default()).unwrap();
        assert!(!dir.join(&other).exists() && path.exists());
    });
}

#[test]
fn strangers_and_modes() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, base| {
        import_with(store, "a", &image.archive(), &keeping()).unwrap();
        let home = base.join("home");
        for path in ["image/%", "image/A%2f", "blob/x", "blob/sha256/x"] {
            fs::write(home.join(path), "").unwrap();
            assert_eq!(damage(store), one(path, "foreign"), "{path}");
            fs::remove_file(home.join(path)).unwrap();
        }
        fs::write(home.join("image/a/x"), "").unwrap();
        assert_eq!(damage(store), one("image/a", "foreign"));
        fs::remove_file(home.join("image/a/x")).unwrap();
        use std::os::unix::fs::PermissionsExt;
        for path in ["image", "image/a", "blob", "blob/sha256"] {
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode(&home.join(path)), 0o700, "{path}");
            fs::set_permissions(home.join(path), fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(damage(store), one(path, "mode"));
            store
                .check(CheckFlags::REPAIR, &mut Watch::default())
                .unwrap();
            assert_eq!(mode(&home.join(path)), 0o700, "{path}");
        }
    });
}
