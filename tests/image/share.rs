use crate::common::*;
use crate::make::*;
use ovl::error::{Code, Errno};
use ovl::store::*;
use ovl::watch::{Cancel, Watch};
use std::collections::BTreeSet;

fn above(base: &Image, text: &str) -> Image {
    let mut layers = base.layers.clone();
    layers.push(Blob::gzip(layer(&[("app", text)])));
    Image::new(layers)
}

fn ids(images: &[&Image]) -> Vec<String> {
    let all: BTreeSet<String> = images.iter().flat_map(|image| image.ids()).collect();
    all.into_iter().collect()
}

#[test]
fn layers_are_shared_and_go_with_the_last() {
    require!("root", "overlay");
    let base = small();
    let (a, b) = (above(&base, "a"), above(&base, "b"));
    with_store(|store, _| {
        assert_eq!(import(store, "a", &a.archive()).unwrap().made, 4);
        assert_eq!(import(store, "b", &b.archive()).unwrap().made, 1);
        assert_eq!(
            import(store, "b2", &tar(&b.saved(&["b:1"]))).unwrap().made,
            0
        );
        assert_eq!(import(store, "base", &base.archive()).unwrap().made, 0);
        assert_eq!(layers(store), ids(&[&a, &b]));
        rmi(store, "b").unwrap();
        assert_eq!(layers(store), ids(&[&a, &b]));
        rmi(store, "b2").unwrap();
        assert_eq!(layers(store), ids(&[&a]));
        rmi(store, "a").unwrap();
        assert_eq!(layers(store), ids(&[&base]));
        rmi(store, "base").unwrap();
        assert!(layers(store).is_empty());
        assert_eq!(fails(rmi(store, "base")).code(), Code::NoImage);
    });
}

#[test]
fn what_is_in_use_stays() {
    require!("root", "overlay");
    let base = small();
    let a = above(&base, "a");
    with_store(|store, _| {
        let watch = &mut Watch::default();
        import(store, "a", &a.archive()).unwrap();
        // A container over the second layer, and a mount of the topmost.
        let second = a.ids()[1].clone();
        store
            .create(b"box", Some(second.as_bytes()), CreateFlags::empty(), watch)
            .unwrap();
        let options = MountOptions {
            flags: MountFlags::READ_ONLY | MountFlags::DETACHED,
            ..Default::default()
        };
        let mount = store.mount(a.top().as_bytes(), &options).unwrap();
        rmi(store, "a").unwrap();
        assert!(images(store).is_empty());
        assert_eq!(
            layers(store).len(),
            5,
            "the topmost is mounted, the others have children"
        );
        mount
            .unmount(UnmountFlags::empty())
            .map_err(|(_, e)| e)
            .unwrap();
        import(store, "a", &a.archive()).unwrap();
        rmi(store, "a").unwrap();
        let mut left = a.ids()[..2].to_vec();
        left.push("box".into());
        left.sort();
        assert_eq!(layers(store), left);
        store.remove(b"box", RemoveFlags::empty(), watch).unwrap();
        // Layers that nobody lists are removed by name.
        for id in a.ids()[..2].iter().rev() {
            store
                .remove(id.as_bytes(), RemoveFlags::empty(), watch)
                .unwrap();
        }
    });
}

#[test]
fn a_name_is_replaced_whole() {
    require!("root", "overlay");
    let base = small();
    let (a, b) = (above(&base, "a"), above(&base, "b"));
    with_store(|store, home| {
        import_with(store, "app", &a.archive(), &keeping()).unwrap();
        let blobs = names(&home.join("home/blob/sha256")).len();
        assert_eq!(blobs, 4);
        // A failure leaves it as it is.
        let mut bad = b.archive();
        let at = bad.len() - 2000;
        bad[at] ^= 1;
        assert!(import(store, "app", &bad).is_err());
        assert_eq!(store.stat_image(b"app").unwrap().layer, Some(a.top()));
        assert_eq!(layers(store), ids(&[&a]));
        let info = import(store, "app", &b.archive()).unwrap();
        assert_eq!((info.made, info.layer), (1, Some(b.top())));
        assert_eq!(layers(store), ids(&[&b]), "what the old one alone had goes");
        assert!(names(&home.join("home/blob/sha256")).is_empty());
        let info = import_with(store, "app", &b.archive(), &keeping()).unwrap();
        assert_eq!((info.made, info.blobs), (0, true));
        rmi(store, "app").unwrap();
        assert!(names(&home.join("home/blob/sha256")).is_empty());
        assert!(layers(store).is_empty());
    });
}

#[test]
fn another_layer_has_the_id() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, _| {
        let watch = &mut Watch::default();
        let id = image.ids()[1].clone();
        store
            .create(id.as_bytes(), None, CreateFlags::empty(), watch)
            .unwrap();
        let error = fails(import(store, "app", &image.archive()));
        assert_eq!(
            (error.errno(), error.code()),
            (Errno::EXIST, Code::LayerExists)
        );
        assert!(error.to_string().contains(&id), "{error}");
        assert_eq!(layers(store), std::slice::from_ref(&id));
        store
            .remove(id.as_bytes(), RemoveFlags::empty(), watch)
            .unwrap();
        // The right tar over another parent.
        let tar = &image.layers[1].data;
        let options = ApplyOptions {
            durability: Durability::None,
            ..Default::default()
        };
        store
            .apply(id.as_bytes(), &mut &tar[..], &options, watch)
            .unwrap();
        assert_eq!(
            fails(import(store, "app", &image.archive())).errno(),
            Errno::EXIST
        );
        assert_eq!(layers(store), std::slice::from_ref(&id));
        store
            .remove(id.as_bytes(), RemoveFlags::empty(), watch)
            .unwrap();
        // One that was made by hand as it must be is used.
        let first = image.ids()[0].clone();
        store
            .apply(
                first.as_bytes(),
                &mut &image.layers[0].data[..],
                &options,
                watch,
            )
            .unwrap();
        assert_eq!(import(store, "app", &image.archive()).unwrap().made, 2);
    });
}

#[test]
fn cancelled_a_removal_is_done_sooner() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, home| {
        import(store, "app", &image.archive()).unwrap();
        let cancel = Cancel::new();
        cancel.trigger();
        let watch = &mut Watch::new(Some(&cancel), None);
        assert_eq!(
            fails(store.remove_image(b"app", watch)).code(),
            Code::Cancelled
        );
        assert_eq!(images(store), ["app"]);
        // Once the image is gone, so are its layers.
        let mut calls = 0;
        let mut progress = |_: &ovl::watch::Progress| {
            calls += 1;
            i32::from(calls > 1)
        };
        let watch = &mut Watch::new(None, Some(&mut progress));
        store.remove_image(b"app", watch).unwrap();
        assert!(images(store).is_empty() && layers(store).is_empty());
        store.cleanup(&mut Watch::default()).unwrap();
        assert!(names(&home.join("home/trash")).is_empty());
    });
}
