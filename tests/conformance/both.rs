//! One store seen from both sides at once: what one makes, the other tells of in the same words.

use crate::api::*;
use crate::c_api::C;
use crate::rust_api::Rust;
use crate::support::fsys;
use crate::tar::Tar;
use crate::world::*;

/// All that a side tells of a layer, as text.
fn all<A: Api>(w: &World<'_, A>, id: &str) -> String {
    let store = &w.store;
    let mut told = format!("{:?}\n", w.stat(id));
    for against in [Against::Parent, Against::Nothing, Against::Layer("base")] {
        told += &format!("{:?}\n", w.changes_to(id, against));
        told += &format!("{:?}\n", w.size(id, against));
        let (bytes, info) = w.diff_to(id, against).unwrap();
        told += &format!("{}\n{info:?}\n", bytes.escape_ascii());
    }
    told += &format!("{:?}\n", A::spec(store, id, false).unwrap());
    told + &A::spec_json(store, id, "/").unwrap()
}

/// Every way to fail, with what differs by design (the names of some operations) left out.
fn failures<A: Api>(w: &World<'_, A>) -> Vec<(i32, u32, Vec<u8>, String)> {
    let store = &w.store;
    let bytes = Tar::new().file("file", "x").bytes();
    let how = Mounting::default;
    let failed = [
        w.create("base", None),
        w.create("a/b", None),
        w.create("new", Some("none")),
        w.commit("base"),
        w.commit("none"),
        w.remove("base"),
        w.apply("base", &bytes, Apply::default()).map(drop),
        w.apply("new", b"junk", Apply::default()).map(drop),
        w.apply("new", &bytes[..700], Apply::default()).map(drop),
        w.apply_on("new", "box", &bytes).map(drop),
        w.mount("base", &how()).map(drop),
        w.mount("none", &how()).map(drop),
        w.diff_to("base", Against::Layer("none")).map(drop),
        A::unmount_at(store, b"box", false),
        A::unmount_at(store, b"/", false),
        A::stat(store, "none").map(drop),
        A::spec(store, "none", false).map(drop),
        A::open(&w.home().join("layer"), &Open::default()).map(drop),
    ];
    let plain = |done: Done<()>| {
        let failure = done.unwrap_err();
        (failure.errno, failure.code, failure.path, failure.message)
    };
    failed.map(plain).into()
}

#[test]
fn both_sides_tell_the_same() {
    require!("root", "overlay");
    fsys::with_mounts(|base| {
        let (rust, c) = (World::<Rust>::new(base), World::<C>::new(base));
        let tar = Tar::new()
            .dir("dir/")
            .file("dir/file", "x")
            .file("gone", "x");
        rust.apply("base", &tar.bytes(), Apply::default()).unwrap();
        let over = Tar::new()
            .file(".wh.gone", "")
            .file("dir/new", "new")
            .bytes();
        c.apply_on("over", "base", &over).unwrap();
        rust.make("init", Some("over"), |path| put(path.join("init"), "x"));
        c.make("box", Some("init"), |path| {
            put(path.join("dir/file"), "other");
            std::fs::hard_link(path.join("dir/file"), path.join("hard")).unwrap();
        });
        assert_eq!(rust.list(), ["base", "box", "init", "over"]);
        assert_eq!(rust.list(), c.list());
        for id in rust.list() {
            assert_eq!(all(&rust, &id), all(&c, &id), "{id}");
        }
        assert_eq!(Rust::status(&rust.store), C::status(&c.store));
        assert_eq!(failures(&rust), failures(&c));
        let one = rust.enter("box");
        let two = c.enter("box");
        assert_eq!(one.path, two.path);
        assert!(rust.stat("box").mounted && rust.stat("box") == c.stat("box"));
        one.unmount();
        two.unmount();
        put(rust.home().join("layer/base/root/gone"), "damaged");
        let damage = Rust::check(&rust.store, false, calm()).unwrap();
        assert_eq!(damage.len(), 1);
        assert_eq!(C::check(&c.store, false, calm()).unwrap(), damage);
    });
}

/// E2BIG and unknown flags are of C alone: `tests/c/options.c`. What a C caller built later would
/// send is refused by every call before it does anything.
#[test]
fn sizes_are_of_c_alone() {
    require!("root");
    fsys::with_mounts(|base| {
        let w = World::<C>::new(base);
        let failure = crate::c_api::create_with_more(&w.store, "box", 1).unwrap_err();
        let is = (failure.errno, failure.code, failure.operation.as_str());
        assert_eq!(is, (libc::E2BIG, 2, "create"), "{failure:?}");
        assert_eq!(w.list(), [""; 0]);
        crate::c_api::create_with_more(&w.store, "box", 0).unwrap();
        assert_eq!(w.list(), ["box"]);
    });
}
