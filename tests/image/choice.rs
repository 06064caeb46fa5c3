use crate::common::*;
use crate::make::*;
use ovl::error::Errno;
use ovl::store::*;
use serde_json::{Value, json};

fn one(text: &str) -> Image {
    Image::new(vec![Blob::plain(layer(&[("name", text)]))])
}

fn asked<'a>(reference: Option<&'a str>, platform: Option<&'a str>) -> ImportOptions<'a> {
    ImportOptions {
        reference: reference.map(str::as_bytes),
        platform: platform.map(str::as_bytes),
        ..quick()
    }
}

/// Imports with a choice; the image's top layer, or what the refusal says.
fn choose(
    store: &Store,
    files: &Files,
    reference: Option<&str>,
    platform: Option<&str>,
) -> Result<String, String> {
    match import_with(store, "app", &tar(files), &asked(reference, platform)) {
        Ok(info) => {
            rmi(store, "app").unwrap();
            Ok(info.layer.unwrap())
        }
        Err(error) => {
            assert_eq!(error.errno(), Errno::INVAL, "{error}");
            assert!(layers(store).is_empty());
            Err(error.message().to_string())
        }
    }
}

fn on(mut descriptor: Value, platform: &str) -> Value {
    let mut parts = platform.split('/');
    descriptor["platform"] = json!({ "os": parts.next(), "architecture": parts.next() });
    if let Some(variant) = parts.next() {
        descriptor["platform"]["variant"] = variant.into();
    }
    descriptor
}

#[test]
fn by_name() {
    require!("root", "overlay");
    let (a, b) = (one("a"), one("b"));
    let mut both = vec![
        a.described(Some("1.0")),
        a.described(Some("latest")),
        b.described(Some("2.0")),
    ];
    both[2]["annotations"]["io.containerd.image.name"] = "registry.example/team/app:2.0".into();
    let files = layout(&both, [a.blobs(), b.blobs()].concat());
    with_store(|store, _| {
        let by = |name| choose(store, &files, name, None);
        assert_eq!(by(Some("1.0")), Ok(a.top()));
        assert_eq!(by(Some("latest")), Ok(a.top()));
        for name in [
            "2.0",
            "registry.example/team/app:2.0",
            "team/app:2.0",
            "app:2.0",
        ] {
            assert_eq!(by(Some(name)), Ok(b.top()), "{name}");
        }
        for (name, says) in [
            (None, "several"),
            (Some("3.0"), "no image is called \"3.0\""),
            (Some("pp:2.0"), "no image"),
        ] {
            let said = by(name).unwrap_err();
            assert!(
                said.contains(says) && said.contains("1.0") && said.contains("app:2.0"),
                "{said}"
            );
        }
        // One image under two names is one.
        let twice = layout(&both[..2], a.blobs());
        assert_eq!(choose(store, &twice, None, None), Ok(a.top()));
        let not_text = ImportOptions {
            reference: Some(b"\xff"),
            ..quick()
        };
        assert_eq!(
            fails(import_with(store, "app", &tar(&files), &not_text)).errno(),
            Errno::INVAL
        );
    });
}

#[test]
fn by_name_from_docker_save() {
    require!("root", "overlay");
    let (a, b) = (
        one("a"),
        Image::new([one("a").layers, one("b").layers].concat()),
    );
    let files = saved(&[(&a, &["app:1", "app:latest"]), (&b, &["host:5000/x/app:2"])]);
    with_store(|store, _| {
        let by = |name| choose(store, &files, name, None);
        for name in ["app:1", "app:latest", "latest", "1"] {
            assert_eq!(by(Some(name)), Ok(a.top()), "{name}");
        }
        for name in ["host:5000/x/app:2", "x/app:2", "app:2", "2"] {
            assert_eq!(by(Some(name)), Ok(b.top()), "{name}");
        }
        let said = by(None).unwrap_err();
        assert!(
            said.contains("app:1 = app:latest") && said.contains("host:5000/x/app:2"),
            "{said}"
        );
        assert!(by(Some("5000/x/app:2")).is_err());
        // Its layer is a link to the first image's.
        let dir = files
            .iter()
            .filter(|(_, what)| matches!(what, What::Symlink(_)))
            .count();
        assert_eq!(dir, 1);
    });
}

#[test]
fn by_platform() {
    require!("root", "overlay");
    let platforms = [
        "linux/amd64",
        "linux/arm64/v8",
        "linux/arm/v6",
        "linux/arm/v7",
        "windows/amd64",
    ];
    let images: Vec<Image> = platforms
        .iter()
        .map(|text| {
            let mut image = one(text);
            let mut parts = text.split('/');
            image.config["os"] = parts.next().unwrap().into();
            image.config["architecture"] = parts.next().unwrap().into();
            if let Some(variant) = parts.next() {
                image.config["variant"] = variant.into();
            }
            image.seal();
            image
        })
        .collect();
    let mut inside: Vec<Value> = images
        .iter()
        .zip(platforms)
        .map(|(image, text)| on(image.described(None), text))
        .collect();
    // What tells of the others is no image.
    let mut note = on(one("note").described(None), "unknown/unknown");
    note["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    inside.push(note);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": inside }).to_string();
    let mut named = describe(INDEX, index.as_bytes());
    named["annotations"] = json!({ "org.opencontainers.image.ref.name": "1.0" });
    let mut blobs: Files = images.iter().flat_map(Image::blobs).collect();
    blobs.push(blob(index.as_bytes()));
    let nested = layout(&[named], blobs.clone());
    let flat = layout(&inside, blobs);
    let top = |n: usize| Ok(images[n].top());
    let host = match std::env::consts::ARCH {
        "x86_64" => 0,
        "aarch64" => 1,
        _ => return,
    };
    with_store(|store, _| {
        for files in [&nested, &flat] {
            let by = |platform| choose(store, files, None, platform);
            assert_eq!(by(None), top(host));
            for (asked, n) in [
                ("linux/amd64", 0),
                ("linux/x86_64", 0),
                ("linux/amd64/v1", 0),
                ("linux/arm64", 1),
                ("linux/arm64/v8", 1),
                ("linux/aarch64", 1),
                ("linux/arm/v6", 2),
                ("linux/arm/v7", 3),
                ("windows/amd64", 4),
            ] {
                assert_eq!(by(Some(asked)), top(n), "{asked}");
            }
            for asked in [
                "linux/s390x",
                "linux/amd64/v2",
                "linux/arm",
                "unknown/unknown",
            ] {
                let said = by(Some(asked)).unwrap_err();
                assert!(said.contains("linux/arm/v7"), "{said}");
            }
            for asked in [
                "",
                "linux",
                "linux/",
                "/amd64",
                "linux/arm/v7/x",
                "linux/a b",
            ] {
                let said = by(Some(asked)).unwrap_err();
                assert!(said.contains("os/architecture"), "{said}");
            }
        }
        // The name is index.json's.
        assert_eq!(
            choose(store, &nested, Some("1.0"), Some("linux/arm64")),
            top(1)
        );
    });
}

#[test]
fn one_that_is_alone() {
    require!("root", "overlay");
    let image = one("a");
    with_store(|store, _| {
        let with = |descriptor: Value| layout(&[descriptor], image.blobs());
        let plain = with(image.described(None));
        assert_eq!(choose(store, &plain, None, None), Ok(image.top()));
        // What it runs on stands in its config then.
        assert_eq!(
            choose(store, &plain, None, Some("linux/amd64")),
            Ok(image.top())
        );
        let said = choose(store, &plain, None, Some("linux/s390x")).unwrap_err();
        assert!(said.contains("linux/amd64"), "{said}");
        let other = with(on(image.described(None), "linux/s390x"));
        let said = choose(store, &other, None, None).unwrap_err();
        assert!(said.contains("linux/s390x"), "{said}");
        let said = choose(store, &image.saved(&["a:1"]), None, Some("linux/s390x")).unwrap_err();
        assert!(said.contains("linux/amd64"), "{said}");
    });
}

/// What runs on another system is taken by who asks for that, and by nobody else.
#[test]
fn another_system() {
    require!("root", "overlay");
    let mut image = one("a");
    image.config["os"] = "windows".into();
    image.seal();
    let other = one("b");
    with_store(|store, _| {
        let alone = image.layout();
        let told = layout(&[on(other.described(None), "linux/amd64")], other.blobs());
        for files in [&alone, &image.saved(&["a:1"])] {
            let said = choose(store, files, None, None).unwrap_err();
            assert!(said.contains("windows/amd64"), "{said}");
            assert_eq!(
                choose(store, files, None, Some("windows/amd64")),
                Ok(image.top())
            );
            assert!(choose(store, files, None, Some("linux/amd64")).is_err());
        }
        if ovl::oci::Platform::host().architecture == "amd64" {
            assert_eq!(choose(store, &told, None, None), Ok(other.top()));
            // Whatever the index says of it.
            let lies = layout(&[on(image.described(None), "linux/amd64")], image.blobs());
            let said = choose(store, &lies, None, None).unwrap_err();
            assert!(said.contains("windows/amd64"), "{said}");
        }
        // Another processor's is taken, as an emulator may run it; one that tells no system too.
        image.config["os"] = "linux".into();
        image.config["architecture"] = "s390x".into();
        image.seal();
        assert_eq!(choose(store, &image.layout(), None, None), Ok(image.top()));
        image.config.as_object_mut().unwrap().remove("os");
        image.seal();
        assert_eq!(choose(store, &image.layout(), None, None), Ok(image.top()));
    });
}
