use crate::common::*;
use crate::make::*;
use crate::support::rng::Rng;
use ovl::store::*;
use ovl::watch::Watch;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const DIR: &str = "OVL_TEST_IMAGE_DIR";

fn image() -> Image {
    let text = "some text ".repeat(2000);
    let files: Vec<(String, &str)> = (0..40)
        .map(|n| (format!("d{}/f{n}", n % 5), &text[..]))
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (&path[..], *text))
        .collect();
    let mut image = small();
    image.layers.push(Blob::gzip(layer(&files)));
    image.layers.push(Blob::zstd(layer(&files[..20])));
    Image::new(image.layers)
}

/// The child's side: imports and removes until it is killed. In the parent's run it is no test.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let store = open(&Path::new(&dir).join("home"));
    let archive = image().archive();
    loop {
        import_with(
            &store,
            "app",
            &archive,
            &ImportOptions {
                flags: ImportFlags::KEEP_BLOBS,
                ..Default::default()
            },
        )
        .unwrap();
        import(&store, "app", &archive).unwrap();
        rmi(&store, "app").unwrap();
    }
}

#[test]
fn killed_at_any_moment() {
    require!("root", "overlay");
    let image = image();
    crate::support::fsys::with_mounts(|base| {
        drop(open(&base.join("home")));
        let mut rng = Rng::new(1, 1);
        for round in 0..40 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
                .env(DIR, base)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_micros(2000 + rng.below(60_000) as u64));
            child.kill().unwrap();
            let status = child.wait().unwrap();
            assert!(
                !status.success() && status.code().is_none(),
                "round {round}: {status}"
            );
            let store = open(&base.join("home"));
            // An image that is there is whole; leftovers are all that there is.
            let watch = &mut Watch::default();
            for one in store.check(CheckFlags::empty(), watch).unwrap() {
                let fine = one.note || matches!(one.kind, "leftover" | "stale hint");
                assert!(fine, "round {round}: {one:?}");
            }
            for name in images(&store) {
                let info = store.stat_image(name.as_bytes()).unwrap();
                assert_eq!(info.layer, Some(image.top()), "round {round}");
            }
            store.cleanup(watch).unwrap();
            import_with(&store, "app", &image.archive(), &keeping()).unwrap();
            assert_clean(&store, base);
            rmi(&store, "app").unwrap();
            // What a killed import made and nobody lists is used by the next, and goes with it.
            assert!(layers(&store).is_empty(), "round {round}");
            assert!(
                names(&base.join("home/blob/sha256")).is_empty(),
                "round {round}"
            );
            assert_clean(&store, base);
        }
    });
}
