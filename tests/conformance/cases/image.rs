//! Images: an archive in, its name in the list, what it runs, a layout out, and the name gone.

use crate::api::*;
use crate::c_abi::*;
use crate::images::{Image, Import};
use crate::tar::Tar;
use crate::world::*;
use ovl::archive::Digest;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

/// An image of two layers: the files of its OCI layout, and the ids of its layers.
struct Made {
    files: Vec<(String, Vec<u8>)>,
    ids: Vec<String>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

fn made() -> Made {
    let layers = [
        Tar::new().file("etc/name", "base").bytes(),
        Tar::new()
            .file("etc/name", "top")
            .file("new", "new")
            .bytes(),
    ];
    let digests: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = format!(
        "{{\"os\":\"linux\",\"architecture\":\"{}\",\"config\":{{\"Env\":[\"A=1\"],\"Entrypoint\":[\"/e\"],\
         \"Cmd\":[\"c\",\"d\"],\"WorkingDir\":\"/w\",\"User\":\"u\",\"Labels\":{{\"k\":\"v\"}}}},\
         \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"{}\",\"{}\"]}}}}",
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
        digests[0],
        digests[1]
    )
    .into_bytes();
    let describe = |media_type: &str, data: &[u8]| {
        let (digest, size) = (Digest::of(data), data.len());
        format!("{{\"mediaType\":\"{media_type}\",\"digest\":\"{digest}\",\"size\":{size}}}")
    };
    let tar = "application/vnd.oci.image.layer.v1.tar";
    let manifest = format!(
        "{{\"schemaVersion\":2,\"config\":{},\"layers\":[{},{}]}}",
        describe("application/vnd.oci.image.config.v1+json", &config),
        describe(tar, &layers[0]),
        describe(tar, &layers[1])
    )
    .into_bytes();
    let index = format!(
        "{{\"schemaVersion\":2,\"manifests\":[{}]}}",
        describe("application/vnd.oci.image.manifest.v1+json", &manifest)
    );
    let blob = |data: &[u8]| {
        (
            format!("blobs/sha256/{}", Digest::of(data).hex()),
            data.to_vec(),
        )
    };
    let [lower, upper] = &layers;
    Made {
        files: vec![
            (
                "oci-layout".into(),
                b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec(),
            ),
            ("index.json".into(), index.into_bytes()),
            blob(&manifest),
            blob(&config),
            blob(lower),
            blob(upper),
        ],
        ids: vec![
            format!("sha256-{}", digests[0].hex()),
            format!(
                "sha256-{}",
                Digest::of(format!("{} {}", digests[0], digests[1]).as_bytes()).hex()
            ),
        ],
        config,
        manifest,
    }
}

impl Made {
    fn archive(&self) -> Vec<u8> {
        let mut tar = Tar::new();
        for (path, data) in &self.files {
            tar = tar.entry(path, b'0', 0o644, "", data);
        }
        tar.bytes()
    }

    fn unpack(&self, dir: &Path) {
        for (path, data) in &self.files {
            std::fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
            std::fs::write(dir.join(path), data).unwrap();
        }
    }
}

fn import<A: Api>(w: &World<'_, A>, name: &str, bytes: &[u8], how: &Import<'_>) -> Done<Image> {
    let mut rest = bytes;
    let mut read = |buf: &mut [u8]| {
        let n = rest.len().min(buf.len()).min(4093);
        buf[..n].copy_from_slice(&rest[..n]);
        rest = &rest[n..];
        Ok(n)
    };
    A::image_import(&w.store, name, Input::Read(&mut read), how, calm())
}

fn export<A: Api>(w: &World<'_, A>, name: &str) -> Done<(Vec<u8>, Image)> {
    let mut tar = Vec::new();
    let mut write = |buf: &[u8]| {
        let n = buf.len().min(5003);
        tar.extend_from_slice(&buf[..n]);
        Ok(n)
    };
    let info = A::image_export(&w.store, name, Output::Write(&mut write), None, calm())?;
    Ok((tar, info))
}

/// By a callback, a socket, a file and a directory, the same image.
pub fn every_way_in<A: Api>(w: &World<'_, A>) {
    let image = made();
    let archive = image.archive();
    let how = Import::default();
    let file = w.base.join("archive");
    std::fs::write(&file, &archive).unwrap();
    let dir = w.dir("layout");
    image.unpack(&dir);
    let check = |info: Image| {
        assert_eq!((&info.layer, info.layers, info.made), (&image.ids[1], 2, 2));
        assert_eq!(info.config, Digest::of(&image.config).to_string());
        assert_eq!(info.manifest, Digest::of(&image.manifest).to_string());
        assert_eq!(
            (info.size, info.skipped, info.blobs),
            (3 + 3 + 4, [0; 3], false)
        );
        let told = A::image_stat(&w.store, "a/b:1").unwrap();
        assert_eq!(told, Image { made: 0, ..info });
        let list = A::image_list(&w.store).unwrap();
        assert_eq!(list, [("a/b:1".to_string(), image.ids[1].clone(), 2)]);
        w.look(&image.ids[1], |path| {
            assert_eq!(get(path.join("etc/name")), "top");
            assert_eq!(get(path.join("new")), "new");
        });
        A::image_remove(&w.store, "a/b:1", calm()).unwrap();
        assert!(w.list().is_empty() && A::image_list(&w.store).unwrap().is_empty());
    };
    check(import(w, "a/b:1", &archive, &how).unwrap());
    for path in [&file, &dir] {
        let fd = File::open(path).unwrap();
        check(A::image_import(&w.store, "a/b:1", Input::Fd(fd.as_fd()), &how, calm()).unwrap());
    }
    let (reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.write_all(&archive).unwrap();
            drop(writer);
        });
        check(A::image_import(&w.store, "a/b:1", Input::Fd(reader.as_fd()), &how, calm()).unwrap());
    });
    assert!(A::check(&w.store, false, calm()).unwrap().is_empty());
}

/// What it runs, and of what layers it is.
pub fn what_it_says<A: Api>(w: &World<'_, A>) {
    let image = made();
    import(w, "app", &image.archive(), &Import::default()).unwrap();
    let said = A::image_config(&w.store, "app").unwrap();
    let text = |what: u32, name: &str| (what, name.as_bytes().to_vec(), Vec::new());
    let mut wanted = vec![
        (OVL_CONFIG_JSON, image.config.clone(), Vec::new()),
        text(OVL_CONFIG_ENV, "A=1"),
        text(OVL_CONFIG_ENTRYPOINT, "/e"),
        text(OVL_CONFIG_CMD, "c"),
        text(OVL_CONFIG_CMD, "d"),
        text(OVL_CONFIG_WORKING_DIR, "/w"),
        text(OVL_CONFIG_USER, "u"),
        (OVL_CONFIG_LABEL, b"v".to_vec(), b"k".to_vec()),
    ];
    for id in &image.ids {
        let diff_id = w.stat(id).diff_id;
        wanted.push((OVL_CONFIG_LAYER, id.clone().into(), diff_id.into()));
    }
    assert_eq!(said, wanted);
}

/// Out as a stream and into a directory: made anew, or as it came.
pub fn every_way_out<A: Api>(w: &World<'_, A>) {
    let image = made();
    for keep_blobs in [false, true] {
        let how = Import {
            keep_blobs,
            ..Import::default()
        };
        let came = import(w, "app:2", &image.archive(), &how).unwrap();
        assert_eq!(came.blobs, keep_blobs);
        let (tar, told) = export(w, "app:2").unwrap();
        assert_eq!(told.blobs, keep_blobs);
        assert_eq!(told.manifest == came.manifest, keep_blobs);
        let dir = w.dir(if keep_blobs { "kept" } else { "anew" });
        let fd = File::open(&dir).unwrap();
        let out = Output::Fd(fd.as_fd());
        let info = A::image_export(&w.store, "app:2", out, Some("x:3"), calm()).unwrap();
        assert_eq!(info, told);
        assert!(get(dir.join("index.json")).contains("\"x:3\""));
        let again = import(w, "again", &tar, &how).unwrap();
        assert_eq!((again.manifest, again.config), (told.manifest, told.config));
        if keep_blobs {
            for (path, data) in &image.files[2..] {
                assert_eq!(std::fs::read(dir.join(path)).unwrap(), *data);
            }
        }
        let fd = File::open(&dir).unwrap();
        let out = Output::Fd(fd.as_fd());
        let done = A::image_export(&w.store, "app:2", out, None, calm());
        fails(done, libc::ENOTEMPTY, 23, "image_export", "app:2");
    }
}

/// What is refused, and by which names.
pub fn refusals<A: Api>(w: &World<'_, A>) {
    let image = made();
    let archive = image.archive();
    let how = Import::default();
    fails(
        A::image_stat(&w.store, "app"),
        libc::ENOENT,
        26,
        "image_stat",
        "app",
    );
    fails(
        A::image_config(&w.store, "app"),
        libc::ENOENT,
        26,
        "image_config",
        "app",
    );
    fails(
        A::image_remove(&w.store, "app", calm()),
        libc::ENOENT,
        26,
        "image_remove",
        "app",
    );
    fails(export(w, "app"), libc::ENOENT, 26, "image_export", "app");
    fails(
        import(w, "-app", &archive, &how),
        libc::EINVAL,
        2,
        "image_import",
        "-app",
    );
    fails(
        import(w, "app", b"junk", &how),
        libc::EBADMSG,
        11,
        "image_import",
        "app",
    );
    let other = Import {
        reference: Some("other"),
        ..how
    };
    fails(
        import(w, "app", &archive, &other),
        libc::EINVAL,
        2,
        "image_import",
        "app",
    );
    let other = Import {
        platform: Some("plan9/z80"),
        ..how
    };
    fails(
        import(w, "app", &archive, &other),
        libc::EINVAL,
        2,
        "image_import",
        "app",
    );
    let small = Import {
        max_size: 1000,
        ..how
    };
    fails(
        import(w, "app", &archive, &small),
        libc::EFBIG,
        13,
        "image_import",
        "app",
    );
    let mut bad = made();
    bad.files[5].1[512] ^= 1;
    let path = bad.files[5].0.clone();
    fails(
        import(w, "app", &bad.archive(), &how),
        libc::EBADMSG,
        12,
        "image_import",
        &path,
    );
    let gone = bad.files.remove(5).0;
    fails(
        import(w, "app", &bad.archive(), &how),
        libc::EBADMSG,
        10,
        "image_import",
        &gone,
    );
    assert!(w.list().is_empty());
    w.create(&image.ids[0], None).unwrap();
    fails(
        import(w, "app", &archive, &how),
        libc::EEXIST,
        4,
        "image_import",
        &image.ids[0],
    );
    w.remove(&image.ids[0]).unwrap();
    let cancel = A::cancel();
    A::trigger(&cancel);
    let control = Control {
        cancel: Some(&cancel),
        progress: None,
    };
    let mut read = |_: &mut [u8]| Err(libc::EIO);
    let done = A::image_import(&w.store, "app", Input::Read(&mut read), &how, control);
    fails(done, libc::ECANCELED, 16, "image_import", "app");
    let done = A::image_import(&w.store, "app", Input::Read(&mut read), &how, calm());
    fails(done, libc::EIO, 24, "image_import", "app");
    import(w, "app", &archive, &how).unwrap();
    w.remove(&image.ids[1]).unwrap();
    fails(
        A::image_stat(&w.store, "app"),
        libc::ENOENT,
        3,
        "image_stat",
        &image.ids[1],
    );
    fails(
        export(w, "app"),
        libc::ENOENT,
        3,
        "image_export",
        &image.ids[1],
    );
    let found = A::check(&w.store, false, calm()).unwrap();
    assert!(
        found
            .iter()
            .any(|one| one.place == "image/app" && one.words.starts_with("no layer: "))
    );
    assert_eq!(import(w, "app", &archive, &how).unwrap().made, 1);
}
