//! What an archive may cost: descriptors, names, memory, and the patience of one who wants to stop.

use crate::common::*;
use crate::make::*;
use ovl::archive::{Header, Kind, Writer};
use ovl::error::{Code, Errno};
use ovl::store::*;
use ovl::watch::{Progress, Watch};
use serde_json::{Value, json};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

/// A descriptor of what no machine here runs; no two are one.
fn other(n: usize) -> Value {
    let digest = ovl::archive::Digest::of(n.to_string().as_bytes());
    json!({
        "mediaType": MANIFEST,
        "digest": digest.to_string(),
        "size": 7,
        "platform": { "os": "linux", "architecture": "s390x" },
    })
}

fn here() -> Value {
    let platform = ovl::oci::Platform::host();
    json!({ "os": platform.os, "architecture": platform.architecture })
}

#[test]
fn descriptors_are_counted() {
    require!("root", "overlay");
    let image = small();
    with_store(|store, _| {
        let with = |count: usize| {
            let mut list: Vec<Value> = (1..count).map(other).collect();
            let mut mine = image.described(None);
            mine["platform"] = here();
            list.push(mine);
            list
        };
        import(store, "app", &tar(&layout(&with(4096), image.blobs()))).unwrap();
        rmi(store, "app").unwrap();
        let error = fails(import(
            store,
            "app",
            &tar(&layout(&with(4097), image.blobs())),
        ));
        assert_eq!(
            (error.errno(), error.code()),
            (Errno::FBIG, Code::Limit),
            "{error}"
        );
        // All that are looked at, not those of one index.
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": with(3000) });
        let index = index.to_string();
        let mut named = describe(INDEX, index.as_bytes());
        named["platform"] = here();
        let mut outer: Vec<Value> = (10_000..12_000).map(other).collect();
        outer.push(named);
        let mut blobs = image.blobs();
        blobs.push(blob(index.as_bytes()));
        let error = fails(import(store, "app", &tar(&layout(&outer, blobs))));
        assert_eq!(
            (error.errno(), error.code()),
            (Errno::FBIG, Code::Limit),
            "{error}"
        );
        // Of docker save too.
        let mut saved = image.saved(&["a:1"]);
        let list: Vec<Value> = (0..4097)
            .map(|n| json!({ "Config": "x", "RepoTags": [format!("a:{n}")], "Layers": [] }))
            .collect();
        saved.retain(|(path, _)| path != "manifest.json");
        saved.push(file("manifest.json", Value::from(list).to_string()));
        let error = fails(import(store, "app", &tar(&saved)));
        assert_eq!(
            (error.errno(), error.code()),
            (Errno::FBIG, Code::Limit),
            "{error}"
        );
    });
}

/// Who wants to stop is heard while indexes are read, before there is any layer.
#[test]
fn stopped_while_it_chooses() {
    require!("root", "overlay");
    let image = small();
    let pad = " ".repeat(3 << 20);
    let (mut described, mut blobs) = (image.described(None), image.blobs());
    for _ in 0..4 {
        let text = json!({ "schemaVersion": 2, "manifests": [described] }).to_string() + &pad;
        described = describe(INDEX, text.as_bytes());
        blobs.push(blob(text.as_bytes()));
    }
    with_store(|store, base| {
        let dir = base.join("layout");
        unpack(&layout(&[described], blobs), &dir);
        let dir = std::fs::File::open(dir).unwrap();
        let mut seen = 0;
        let mut stop = |progress: &Progress| {
            seen = progress.bytes;
            1
        };
        let watch = &mut Watch::new(None, Some(&mut stop));
        let from = Archive::Directory(dir.as_fd());
        let error = fails(store.import_image(b"app", from, &quick(), watch));
        assert_eq!(error.errno(), Errno::CANCELED, "{error}");
        assert!((4 << 20..13 << 20).contains(&seen), "{seen}");
        assert!(layers(store).is_empty());
    });
}

#[test]
fn names_of_members_are_counted() {
    require!("root", "overlay");
    let name = |n: usize| {
        let mut name = format!("{n:05}");
        while name.len() + 241 <= 4000 {
            name += "/";
            name += &"n".repeat(240);
        }
        name.into_bytes()
    };
    let archive = |link: bool| {
        let mut writer = Writer::new(Vec::new());
        for n in 0..5000 {
            let header = match link {
                true => Header {
                    link: name(n),
                    ..Header::new(format!("l{n}").into_bytes(), Kind::Symlink)
                },
                false => Header::new(name(n), Kind::File),
            };
            writer.begin(&header).unwrap();
        }
        gzip(&writer.finish().unwrap())
    };
    with_store(|store, _| {
        for link in [false, true] {
            let error = fails(import(store, "app", &archive(link)));
            assert_eq!(
                (error.errno(), error.code()),
                (Errno::FBIG, Code::Limit),
                "{error}"
            );
            // Files with so long names are too many directories first.
            let says = if link { "bytes" } else { "directories" };
            assert!(error.message().contains(says), "{error}");
        }
    });
}

const MEMORY: &str = "OVL_TEST_IMAGE_MEMORY";

/// The most that this process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let words = line.unwrap().split_whitespace().nth(1);
    words.unwrap().parse().unwrap()
}

/// The child's side: imports a layout, and tells what memory that took. Otherwise it is no test.
#[test]
fn child_measures() {
    let Some(dir) = std::env::var_os(MEMORY) else {
        return;
    };
    let dir = Path::new(&dir);
    let store = open(&dir.join("home"));
    // The peak is what there is now.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    let done = import_dir(&store, "app", &dir.join("layout"));
    let told = match done {
        Ok(_) => {
            store.image_config(b"app").unwrap();
            "ok".to_string()
        }
        Err(error) => format!("{:?}: {error}", error.errno()),
    };
    println!("\npeak: {} {told}", peak() - before);
}

/// Hostile JSON of 4 MiB does not take many times its size, whichever of the documents it is.
#[test]
fn json_takes_little_memory() {
    require!("root", "overlay");
    const SIZE: usize = (4 << 20) - 4096;
    // Of what libovl never looks at, and of what it does.
    let fill = |one: &str| {
        let mut text = one.repeat(SIZE / one.len());
        text.pop();
        text
    };
    let image = small();
    let of = |path: &str, text: String, files: &Files| {
        let mut files = files.clone();
        files.retain(|(there, _)| there != path);
        files.push(file(path, text));
        files
    };
    let (lay, saved) = (image.layout(), image.saved(&["a:1"]));
    let index = |inside: String| of("index.json", inside, &lay);
    let config = |inside: String| {
        let mut image = image.clone();
        image.config_text = Some(inside.into_bytes());
        image.seal();
        image.layout()
    };
    let manifest = |inside: String| {
        let mut image = image.clone();
        image.manifest_text = Some(inside.into_bytes());
        image.layout()
    };
    let rootfs = &image.config["rootfs"];
    let cases: Vec<(&str, Files)> = vec![
        ("an index's own", {
            let list = json!([image.described(None)]);
            index(format!(
                r#"{{"schemaVersion":2,"manifests":{list},"x":[{}]}}"#,
                fill("[],")
            ))
        }),
        (
            "descriptors",
            index(format!(
                r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
                fill(r#"{"size":1,"digest":""},"#)
            )),
        ),
        (
            "annotations",
            index(format!(
                r#"{{"schemaVersion":2,"manifests":[{{"size":1,"digest":"","annotations":{{{}}}}}]}}"#,
                (0..SIZE / 12)
                    .map(|n| format!(r#""{n}":"","#))
                    .collect::<String>()
                    .trim_end_matches(',')
            )),
        ),
        (
            "layers of a manifest",
            manifest(format!(
                r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
                image.manifest["config"],
                fill(r#"{"size":1,"digest":""},"#)
            )),
        ),
        (
            "diff IDs",
            config(format!(
                r#"{{"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
                fill(r#""","#)
            )),
        ),
        (
            "a config's own",
            config(format!(
                r#"{{"rootfs":{rootfs},"history":[{}]}}"#,
                fill("{},")
            )),
        ),
        (
            "Env",
            config(format!(
                r#"{{"rootfs":{rootfs},"config":{{"Env":[{}]}}}}"#,
                fill(r#""","#)
            )),
        ),
        (
            "Cmd",
            config(format!(
                r#"{{"rootfs":{rootfs},"config":{{"Cmd":[{}]}}}}"#,
                fill(r#""","#)
            )),
        ),
        (
            "Labels",
            config(format!(
                r#"{{"rootfs":{rootfs},"config":{{"Labels":{{{}}}}}}}"#,
                (0..SIZE / 12)
                    .map(|n| format!(r#""{n}":"","#))
                    .collect::<String>()
                    .trim_end_matches(',')
            )),
        ),
        (
            "images of docker save",
            of(
                "manifest.json",
                format!("[{}]", fill(r#"{"Config":""},"#)),
                &saved,
            ),
        ),
        ("layers of images of docker save", {
            let layers = vec![r#""""#; 500].join(",");
            let one = format!(r#"{{"Config":"","Layers":[{layers}]}},"#);
            of("manifest.json", format!("[{}]", fill(&one)), &saved)
        }),
        (
            "layers of docker save",
            of(
                "manifest.json",
                format!(r#"[{{"Config":"","Layers":[{}]}}]"#, fill(r#""","#)),
                &saved,
            ),
        ),
        (
            "tags of docker save",
            of(
                "manifest.json",
                format!(r#"[{{"Config":"","RepoTags":[{}]}}]"#, fill(r#""","#)),
                &saved,
            ),
        ),
    ];
    let mut most = 0;
    for (what, files) in &cases {
        crate::support::fsys::with_mounts(|base| {
            unpack(files, &base.join("layout"));
            drop(open(&base.join("home")));
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "bounds::child_measures", "--nocapture"])
                .arg("--test-threads=1")
                .env(MEMORY, base)
                .stderr(Stdio::inherit())
                .output()
                .unwrap();
            assert!(child.status.success());
            let said = String::from_utf8(child.stdout).unwrap();
            let line = said.lines().find_map(|line| line.strip_prefix("peak: "));
            let line = line.unwrap();
            println!("{what}: {line}");
            let kib: u64 = line.split(' ').next().unwrap().parse().unwrap();
            most = most.max(kib);
        });
    }
    assert!(most < 48 << 10, "{most} KiB for 4 MiB of JSON");
}
