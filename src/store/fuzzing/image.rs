//! Images from any bytes: an archive as it is, or the documents and links of one, put together with
//! the digests that they need.

use super::world::{World, check_error, world};
use crate::archive::fuzzing::{Choices, repair};
use crate::archive::{Digest, Header, Kind, Writer};
use crate::error::{Code, Result};
use crate::store::{
    Archive, CheckFlags, Durability, ExportOptions, ImageInfo, ImportFlags, ImportOptions, Limits,
    Target,
};
use crate::watch::Watch;

/// Any bytes as an image. The first says what the others are.
pub fn image(data: &[u8]) {
    world(|world| {
        image_in(world, data);
    });
}

/// What the first byte says.
const DOCUMENTS: u8 = 1;
const SAVED: u8 = 2;
const KEEP: u8 = 4;
const REPAIR: u8 = 8;
const ELSEWHERE: u8 = 16;
const REFERENCE: u8 = 32;
const PLATFORM: u8 = 64;

/// The same in a world of the caller's; whether it was an image.
pub fn image_in(world: &mut World, data: &[u8]) -> bool {
    let Some((&how, rest)) = data.split_first() else {
        return false;
    };
    let mut archive = match how & DOCUMENTS {
        0 => rest.to_vec(),
        _ => documents(how, rest),
    };
    if how & REPAIR != 0 {
        repair(&mut archive);
    }
    let done = import(world, b"x", &archive, how);
    let is_image = done.is_ok();
    match done {
        Ok(info) => whole(world, &info, how),
        Err(error) => {
            check_error(&error, &[Code::Digest, Code::Invalid]);
            assert!(!error.path().is_empty() && !error.operation().is_empty());
        }
    }
    gone(world);
    world.check_canary();
    is_image
}

fn import(world: &World, name: &[u8], mut archive: &[u8], how: u8) -> Result<ImageInfo> {
    let mut flags = ImportFlags::empty();
    flags.set(ImportFlags::KEEP_BLOBS, how & KEEP != 0);
    let options = ImportOptions {
        flags,
        reference: (how & REFERENCE != 0).then_some(b"1".as_slice()),
        platform: (how & PLATFORM != 0).then_some(b"linux/arm".as_slice()),
        durability: Durability::None,
        limits: Limits {
            max_size: 4 << 20,
            max_entries: 1000,
            max_path: 5000,
            zstd_window_log: 20,
            ..Limits::default()
        },
        ..ImportOptions::default()
    };
    let from = Archive::Stream(&mut archive);
    world
        .store
        .import_image(name, from, &options, &mut Watch::default())
}

fn export(world: &World, name: &[u8]) -> (Vec<u8>, ImageInfo) {
    let mut out = Vec::new();
    let options = ExportOptions::default();
    let target = Target::Stream(&mut out);
    let done = world
        .store
        .export_image(name, target, &options, &mut Watch::default());
    let info = done.expect("what was imported can be exported");
    (out, info)
}

/// An image that came in can be read, goes out, and comes in again as the same.
fn whole(world: &mut World, info: &ImageInfo, how: u8) {
    let found = world
        .store
        .check(CheckFlags::empty(), &mut Watch::default())
        .unwrap();
    let bad: Vec<_> = found.iter().filter(|one| !one.note).collect();
    assert!(bad.is_empty(), "{bad:?}");
    let told = world.store.stat_image(b"x").unwrap();
    assert_eq!(
        (&told.layer, told.layers, told.size, told.config),
        (&info.layer, info.layers, info.size, info.config)
    );
    world.store.image_config(b"x").unwrap();
    let (archive, first) = export(world, b"x");
    // The platform that was asked for may have been the only word of it; the name is another.
    let again = import(world, b"y", &archive, how & !(REFERENCE | KEEP));
    let again = match again {
        Ok(again) => again,
        Err(error) => panic!("an export cannot be imported: {error}"),
    };
    assert_eq!(
        (again.config, again.manifest, again.layers),
        (first.config, first.manifest, first.layers)
    );
    if how & KEEP != 0 {
        assert_eq!((&again.layer, again.made), (&info.layer, 0));
        assert_eq!(first.config, info.config);
    } else {
        let (second, _) = export(world, b"y");
        assert!(second == archive, "an export of an export is another");
    }
    for name in [b"y", b"x"] {
        let done = world.store.remove_image(name, &mut Watch::default());
        done.unwrap();
    }
}

/// Nothing of any image is left.
fn gone(world: &World) {
    world.nothing_left();
    assert!(world.store.list_images().unwrap().is_empty());
    assert_eq!(world.store.list().unwrap(), ["base", "mid"]);
    assert_eq!(
        world.store.sweep_blobs().unwrap(),
        Some(0),
        "blobs are left"
    );
}

/// Between the parts of [`documents`].
const END: u8 = 0x1e;

/// An archive of documents: config, manifest (or docker save's `manifest.json`), an index, the
/// `index.json`, links, and up to four layers. In a document `%0` to `%3` are the layers' digests
/// and `%4` to `%7` their sizes; `%c` and `%C` those of the config, `%m` and `%M` of the manifest,
/// `%i` and `%I` of the index. Links are choices, half of them before the files.
fn documents(how: u8, data: &[u8]) -> Vec<u8> {
    let mut parts = data.split(|&byte| byte == END);
    let mut next = || parts.next().unwrap_or_default();
    let [config, manifest, index, top, links] = [(); 5].map(|()| next());
    let layers: Vec<Vec<u8>> = parts.take(4).map(layer).collect();
    let mut said: Vec<(u8, String)> = Vec::new();
    for (n, layer) in (b'0'..).zip(&layers) {
        said.push((n, Digest::of(layer).to_string()));
        said.push((n + 4, layer.len().to_string()));
    }
    let mut tell = |text: &[u8], [digest, size]: [u8; 2]| {
        let text = filled(text, &said);
        said.push((digest, Digest::of(&text).to_string()));
        said.push((size, text.len().to_string()));
        text
    };
    let config = tell(config, *b"cC");
    let manifest = tell(manifest, *b"mM");
    let index = tell(index, *b"iI");
    let top = tell(top, *b"tT");

    let mut writer = Writer::new(Vec::new());
    let mut links = Choices(links);
    let later = links.0.len() / 2;
    while links.0.len() > later {
        put_link(&mut writer, &mut links);
    }
    if how & SAVED != 0 {
        put(&mut writer, "c.json", &config);
        put(&mut writer, "manifest.json", &manifest);
        for (n, layer) in layers.iter().enumerate() {
            put(&mut writer, &n.to_string(), layer);
        }
    } else {
        put(
            &mut writer,
            "oci-layout",
            crate::oci::LAYOUT_TEXT.as_bytes(),
        );
        put(&mut writer, "index.json", &top);
        let dir = match how & ELSEWHERE {
            0 => "blobs/sha256",
            _ => "real",
        };
        for blob in [&config, &manifest, &index].into_iter().chain(&layers) {
            let path = format!("{dir}/{}", Digest::of(blob).hex());
            put(&mut writer, &path, blob);
        }
    }
    while !links.is_empty() {
        put_link(&mut writer, &mut links);
    }
    writer.finish().unwrap()
}

/// A layer: its headers' checksums are made right.
fn layer(data: &[u8]) -> Vec<u8> {
    let mut layer = data.to_vec();
    repair(&mut layer);
    layer
}

fn filled(text: &[u8], said: &[(u8, String)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        let name = match byte {
            b'%' => rest.as_slice().first(),
            _ => None,
        };
        match name.and_then(|name| said.iter().find(|one| one.0 == *name)) {
            Some((_, value)) => {
                rest.next();
                out.extend_from_slice(value.as_bytes());
            }
            None => out.push(byte),
        }
    }
    out
}

fn put(writer: &mut Writer<Vec<u8>>, path: &str, data: &[u8]) {
    let header = Header {
        size: data.len() as u64,
        ..Header::new(path.into(), Kind::File)
    };
    writer.begin(&header).unwrap();
    writer.data(data).unwrap();
}

fn put_link(writer: &mut Writer<Vec<u8>>, choices: &mut Choices<'_>) {
    const PATHS: [&str; 16] = [
        "blobs",
        "blobs/sha256",
        "../real",
        "real",
        "x",
        "x/y",
        "x/blobs",
        "index.json",
        "manifest.json",
        "0",
        "..",
        "../..",
        "/real",
        "./x/../real",
        "1",
        "c.json",
    ];
    let kinds = [
        Kind::Symlink,
        Kind::HardLink,
        Kind::Symlink,
        Kind::Directory,
        Kind::File,
        Kind::Fifo,
    ];
    let mut header = Header::new(choices.of(&PATHS).into(), choices.of(&kinds));
    if matches!(header.kind, Kind::Symlink | Kind::HardLink) {
        header.link = choices.of(&PATHS).into();
    }
    let _ = writer.begin(&header);
}
