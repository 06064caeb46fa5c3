//! Blobs: what the decoder gives, beside what the codecs' own readers give.

use super::{Choices, Dribble, check_error};
use crate::archive::{Compression, Decoder, DecoderOptions, Digest, Source, Summary};
use crate::error::{Error, Result};
use std::io::{Read as _, Write as _};

const MAX: u64 = 1 << 20;
const WINDOW: u32 = 20;

fn decode(source: impl Source, step: usize) -> Result<(Vec<u8>, Summary)> {
    let options = DecoderOptions {
        max_bytes: MAX,
        zstd_window_log: WINDOW,
        ..Default::default()
    };
    let mut decoder = Decoder::new(source, options);
    let mut bytes = Vec::new();
    let mut buf = vec![0; step];
    let failed = loop {
        match decoder.read(&mut buf) {
            Ok(0) => break None,
            Ok(n) => bytes.extend_from_slice(&buf[..n]),
            Err(error) => break Some(error),
        }
        assert!(bytes.len() as u64 <= MAX, "more than the limit came out");
    };
    match failed {
        None => decoder.finish().map(|summary| (bytes, summary)),
        Some(error) => {
            check_error(&error);
            assert!(decoder.finish().is_err() && decoder.read(&mut buf).is_err());
            Err(error)
        }
    }
}

/// Decodes in two ways that must agree, and checks the sums.
fn both(blob: &[u8]) -> Result<Vec<u8>> {
    let whole = decode(blob, 64 << 10);
    let torn = decode(Dribble(blob, 1 + blob.len() % 61), 1 + blob.len() % 997);
    let end = |error: &Error| (error.errno(), error.code());
    match (whole, torn) {
        (Ok((bytes, summary)), Ok((again, same))) => {
            assert!(
                bytes == again && summary == same,
                "small reads give something else"
            );
            assert_eq!(summary.diff_id, Some(Digest::of(&bytes)));
            assert_eq!(summary.blob_digest, Some(Digest::of(blob)));
            assert_eq!(
                (summary.diff_size, summary.blob_size),
                (bytes.len() as u64, blob.len() as u64)
            );
            if summary.compression == Compression::Plain {
                assert!(bytes == blob);
            }
            Ok(bytes)
        }
        (Err(a), Err(b)) => {
            assert_eq!(end(&a), end(&b));
            Err(a)
        }
        (a, b) => panic!("small reads: {:?}, {:?}", a.err(), b.err()),
    }
}

/// What another reader gives before it ends or fails; no more than matters here.
fn reference(reader: impl std::io::Read) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let done = reader.take(MAX + 1).read_to_end(&mut bytes);
    (bytes, done.is_ok())
}

/// The first byte says what the rest is: a blob, the inside of a member, or content.
pub fn gzip(data: &[u8]) {
    let mut choices = Choices(data);
    match choices.byte() % 4 {
        0 => gzip_blob(choices.0),
        1 => gzip_blob(&[b"\x1f\x8b\x08", choices.0].concat()),
        2 => gzip_blob(&member(&mut choices)),
        _ => gzip_content(&mut choices),
    }
}

fn gzip_blob(blob: &[u8]) {
    let Ok(bytes) = both(blob) else { return };
    if blob.starts_with(b"\x1f\x8b") {
        let (theirs, _) = reference(flate2::read::MultiGzDecoder::new(blob));
        assert!(theirs == bytes, "another reader gives something else");
    }
}

/// The fuzzer's deflate data with the header and the sums that it needs.
fn member(choices: &mut Choices<'_>) -> Vec<u8> {
    let flags = choices.byte() & 0x1d;
    let mut blob = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3];
    if flags & 4 != 0 {
        let extra = choices.bytes(9);
        blob.extend((extra.len() as u16).to_le_bytes());
        blob.extend_from_slice(extra);
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            blob.extend(choices.bytes(7).iter().map(|&byte| byte | 1));
            blob.push(0);
        }
    }
    let mut bytes = Vec::new();
    let mut inflate = flate2::bufread::DeflateDecoder::new(choices.0);
    let sound = inflate
        .by_ref()
        .take(MAX + 1)
        .read_to_end(&mut bytes)
        .is_ok();
    let used = inflate.total_in() as usize;
    blob.extend_from_slice(&choices.0[..used.min(choices.0.len())]);
    let mut crc = flate2::Crc::new();
    crc.update(&bytes);
    blob.extend(crc.sum().to_le_bytes());
    blob.extend((bytes.len() as u32).to_le_bytes());
    if sound && bytes.len() as u64 <= MAX {
        assert!(both(&blob).expect("a sound member") == bytes);
    }
    blob
}

fn gzip_content(choices: &mut Choices<'_>) {
    let level = flate2::Compression::new(u32::from(choices.byte() % 10));
    let cut = usize::from(choices.byte());
    let padding = choices.below(3) * 511;
    let content = choices.0;
    let mut blob = Vec::new();
    for part in content.chunks(cut.max(1) * 40) {
        let mut encoder = flate2::write::GzEncoder::new(&mut blob, level);
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    if blob.is_empty() {
        return;
    }
    blob.resize(blob.len() + padding, 0);
    assert!(both(&blob).unwrap() == content);
    for cut in [1, 4, 9].map(|n: usize| blob.len().saturating_sub(padding + n)) {
        assert!(cut < 3 || both(&blob[..cut]).is_err(), "a cut blob");
    }
}

/// As [`gzip`].
pub fn zstd(data: &[u8]) {
    let mut choices = Choices(data);
    match choices.byte() % 4 {
        0 => zstd_blob(choices.0),
        1 => zstd_blob(&[b"\x28\xb5\x2f\xfd", choices.0].concat()),
        2 => zstd_blob(&[b"\x50\x2a\x4d\x18", choices.0].concat()),
        _ => zstd_content(&mut choices),
    }
}

fn zstd_blob(blob: &[u8]) {
    let result = both(blob);
    if !blob.starts_with(b"\x28\xb5\x2f\xfd") {
        return;
    }
    let mut decoder = ::zstd::stream::read::Decoder::new(blob).unwrap();
    decoder.window_log_max(WINDOW).unwrap();
    let (theirs, sound) = reference(decoder);
    match result {
        Ok(bytes) => assert!(theirs == bytes, "another reader gives something else"),
        Err(error) => {
            // Given all at once the codec compares the length of a frame with its header, always.
            let sound = sound && ::zstd::bulk::decompress(blob, MAX as usize + 1).is_ok();
            assert!(!sound || theirs.len() as u64 > MAX, "only here: {error}");
        }
    }
}

fn zstd_content(choices: &mut Choices<'_>) {
    let level = i32::from(choices.byte() % 8);
    let cut = usize::from(choices.byte());
    let odd = choices.byte();
    let content = choices.0;
    let mut blob = Vec::new();
    for part in content.chunks(cut.max(1) * 40) {
        if odd & 1 != 0 {
            let id = 0x184d_2a50_u32 + u32::from(odd >> 4);
            blob.extend([id.to_le_bytes(), u32::from(odd).to_le_bytes()].concat());
            blob.resize(blob.len() + usize::from(odd), odd);
        }
        let mut encoder = ::zstd::stream::write::Encoder::new(&mut blob, level).unwrap();
        encoder.window_log(WINDOW).unwrap();
        encoder.include_checksum(odd & 2 != 0).unwrap();
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    if blob.is_empty() {
        return;
    }
    if odd & 4 != 0 {
        blob.resize(blob.len() + 700, 0);
    } else {
        assert!(both(&blob[..blob.len() - 1]).is_err(), "a cut blob");
    }
    assert!(both(&blob).unwrap() == content);
}
