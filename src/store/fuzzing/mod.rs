//! What the fuzz targets of the store do with their bytes. See `docs/fuzzing.md`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod image;
mod layers;
mod world;

pub use image::{image, image_in};
pub use layers::{layers, layers_in};
pub use world::{World, apply, apply_in};

use super::meta::Meta;
use super::options::{Kind, State};
use super::{format, id, manifest, pin, session, text};
use crate::archive::Digest;
use crate::archive::fuzzing::Choices;
use crate::error::{Code, Errno, Error};
use crate::sys::fs::Time;

/// Any bytes as each of the store's small files, and values that are written and read.
pub fn metadata(data: &[u8]) {
    read_meta(data);
    let sum = Digest::of(data);
    read_meta(&[data, format!("checksum={sum}\n").as_bytes()].concat());
    written_meta(&mut Choices(data));
    if let Ok(id) = id::check(data) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte);
        assert!((1..=128).contains(&id.len()) && id.bytes().all(plain) && !id.starts_with('.'));
        assert_eq!(id.as_bytes(), data);
    }
    match format::parse(data) {
        Ok(format) if !format.read_only => {
            assert_eq!(
                format::parse(format::write(format.marks).as_bytes()).unwrap(),
                format
            );
        }
        Ok(_) => {}
        Err(error) => refused(&error),
    }
    if let Ok(pairs) = text::pairs(data) {
        for (key, value) in pairs {
            assert!(!key.contains(['=', '\n']) && !value.contains('\n'));
        }
    }
    pin::fuzzing(data);
    session::fuzzing(data);
    manifest::fuzzing(data);
}

/// What is wrong with a file of the store is damage, or of a later version.
fn refused(error: &Error) {
    assert!(matches!(
        (error.code(), error.errno()),
        (Code::Damaged, Errno::IO) | (Code::Format, Errno::OPNOTSUPP)
    ));
}

fn read_meta(data: &[u8]) {
    match Meta::parse(data) {
        Ok(meta) => {
            for id in meta.parent.iter().chain(&meta.copied_from) {
                assert!(id::check(id.as_bytes()).is_ok());
            }
            assert_eq!(Meta::parse(meta.write().as_bytes()).unwrap(), meta);
        }
        Err(error) => refused(&error),
    }
}

fn written_meta(choices: &mut Choices<'_>) {
    let kind = choices.of(&[Kind::Root, Kind::Overlay]);
    let state = choices.of(&[State::Writable, State::Committed]);
    let created = Time {
        sec: choices.number() as i64,
        nsec: (choices.number() % 1_000_000_000) as u32,
    };
    let mut meta = Meta::new(kind, state, created);
    let id = |choices: &mut Choices<'_>| {
        let len = choices.below(129);
        id::check(choices.bytes(len)).ok().map(str::to_string)
    };
    meta.parent = id(choices);
    meta.copied_from = id(choices);
    meta.lowers = choices.number() as u32;
    let digest = |choices: &mut Choices<'_>| {
        let len = choices.below(3);
        (len > 0).then(|| Digest::of(choices.bytes(len)))
    };
    meta.diff_id = digest(choices);
    meta.blob_digest = digest(choices);
    meta.manifest = digest(choices);
    meta.size = (choices.below(2) == 1).then(|| choices.number());
    meta.entries = choices.number();
    meta.tar_size = choices.number();
    meta.blob_size = choices.number();
    let text = meta.write();
    assert_eq!(Meta::parse(text.as_bytes()).unwrap(), meta);
    // Whatever byte changes, it is seen.
    let mut bad = text.into_bytes();
    let at = choices.number() as usize % bad.len();
    bad[at] ^= choices.byte().max(1);
    assert!(Meta::parse(&bad).is_err());
}
