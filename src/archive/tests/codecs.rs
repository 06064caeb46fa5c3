//! Blobs: recognising, decoding, hashing, refusing.

use std::io::Write as _;

use flate2::{Compression as Level, GzBuilder, write::GzEncoder};

use super::build::{file, tar};
use super::{Dribble, Random, read_all};
use crate::archive::{Compression, Decoder, DecoderOptions, Digest, Source, Summary};
use crate::error::{Code, Errno, Error, Result};

pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(data: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn skippable(len: usize) -> Vec<u8> {
    let mut frame = vec![0x5a, 0x2a, 0x4d, 0x18];
    frame.extend((len as u32).to_le_bytes());
    frame.resize(8 + len, 9);
    frame
}

fn decode_with(
    source: impl Source,
    options: DecoderOptions,
    piece: usize,
) -> Result<(Vec<u8>, Summary)> {
    let mut decoder = Decoder::new(source, options);
    let mut data = Vec::new();
    let mut buf = vec![0; piece];
    loop {
        match decoder.read(&mut buf)? {
            0 => break,
            n => data.extend_from_slice(&buf[..n]),
        }
    }
    assert_eq!(decoder.read(&mut buf)?, 0, "the end is the end");
    let summary = decoder.finish()?;
    assert_eq!(decoder.finish()?, summary);
    Ok((data, summary))
}

fn decode(blob: &[u8]) -> Result<Vec<u8>> {
    decode_with(blob, DecoderOptions::default(), 64 << 10).map(|(data, _)| data)
}

fn refusal(blob: &[u8]) -> (Errno, Code) {
    let error = decode(blob).expect_err("refused");
    (error.errno(), error.code())
}

const MALFORMED: (Errno, Code) = (Errno::BADMSG, Code::Archive);
const TRUNCATED: (Errno, Code) = (Errno::BADMSG, Code::Truncated);
const LIMIT: (Errno, Code) = (Errno::FBIG, Code::Limit);

fn sample() -> Vec<u8> {
    let mut random = Random(7);
    let mut data = random.bytes(200_000);
    data.extend(vec![b'z'; 300_000]);
    data
}

#[test]
fn both_digests() {
    let data = sample();
    let cases = [
        (Compression::Plain, data.clone()),
        (Compression::Gzip, gzip(&data)),
        (Compression::Zstd, zstd(&data)),
    ];
    for (compression, blob) in cases {
        let want = Summary {
            diff_id: Some(Digest::of(&data)),
            blob_digest: Some(Digest::of(&blob)),
            diff_size: data.len() as u64,
            blob_size: blob.len() as u64,
            compression,
        };
        for (step, piece) in [
            (usize::MAX, 1 << 18),
            (1000, 77),
            (usize::MAX, 1000),
            (7, 1 << 16),
        ] {
            let (got, summary) =
                decode_with(Dribble(&blob, step), DecoderOptions::default(), piece).unwrap();
            assert!(got == data);
            assert_eq!(summary, want);
        }
        assert_eq!(
            Decoder::new(&blob[..], Default::default())
                .finish()
                .unwrap(),
            want,
            "drained"
        );
        for (blob_digest, diff_id) in [(false, false), (true, false), (false, true)] {
            let options = DecoderOptions {
                blob_digest,
                diff_id,
                ..Default::default()
            };
            let (_, summary) = decode_with(&blob[..], options, 1 << 16).unwrap();
            assert_eq!(
                summary.blob_digest,
                want.blob_digest.filter(|_| blob_digest)
            );
            assert_eq!(summary.diff_id, want.diff_id.filter(|_| diff_id));
        }
    }
    let (got, summary) = decode_with(&b""[..], DecoderOptions::default(), 10).unwrap();
    assert_eq!((got.len(), summary.compression), (0, Compression::Plain));
    assert_eq!(summary.diff_id, Some(Digest::of(b"")));
}

#[test]
fn what_is_lent_hashes_the_rest() {
    let data = sample();
    for blob in [data.clone(), gzip(&data), zstd(&data)] {
        let (_, wanted) = decode_with(&blob[..], DecoderOptions::default(), 4096).unwrap();
        for first in [1, 512, 128 << 10, 300 << 10, data.len()] {
            let mut decoder = Decoder::new(&blob[..], DecoderOptions::default());
            assert!(decoder.lend_hash().is_none(), "nothing is known yet");
            let mut buf = vec![0; first];
            let mut read = 0;
            while read < first {
                read += decoder.read(&mut buf[read..]).unwrap();
            }
            // Of a plain blob more may have been read than given.
            if let Some(mut hash) = decoder.lend_hash() {
                assert!(decoder.lend_hash().is_none(), "it is lent");
                let half = (data.len() - first) / 2;
                let mut buf = vec![0; half];
                let mut read = 0;
                while read < half {
                    read += decoder.read(&mut buf[read..]).unwrap();
                }
                hash.update(&buf);
                decoder.return_hash(hash);
            } else {
                assert!(blob == data && first < 128 << 10, "{first}");
            }
            assert_eq!(decoder.finish().unwrap(), wanted, "{first}");
        }
    }
}

#[test]
fn recognised_by_content() {
    let refused: [(&[u8], &str); 4] = [
        (b"BZh91AY&SY....", "bzip2"),
        (b"BZh9\x17\x72\x45\x38\x50\x90\0\0\0\0", "bzip2"),
        (b"\xfd7zXZ\0....", "xz"),
        (b"\x04\x22\x4d\x18....", "lz4"),
    ];
    for (blob, name) in refused {
        let error = decode(blob).unwrap_err();
        assert_eq!(
            (error.errno(), error.code()),
            (Errno::OPNOTSUPP, Code::Unsupported)
        );
        assert!(error.message().contains(name));
    }
    for name in [&b"BZh9"[..], b"\xfd7zXY", b"\x28\xb5\x2f\xfe"] {
        let archive = tar(&[file(name, b"x")]);
        assert!(
            decode(&archive).unwrap() == archive,
            "a plain tar whose first name looks odd"
        );
    }
    for start in [&b"\x1f"[..], b"\x28\xb5", b"B"] {
        assert_eq!(decode(start).unwrap(), start, "too short to tell");
    }
}

#[test]
fn gzip_members() {
    let fields = GzBuilder::new()
        .filename("n")
        .comment("c")
        .extra(vec![7; 300])
        .mtime(5);
    let mut encoder = fields.write(Vec::new(), Level::fast());
    encoder.write_all(b"fields,").unwrap();
    let fields = encoder.finish().unwrap();
    // FHCRC, which the encoder cannot write: flags 2 and the checksum of the ten bytes.
    let plain = gzip(b"crc");
    let mut with_crc = plain[..10].to_vec();
    with_crc[3] = 2;
    let mut crc = flate2::Crc::new();
    crc.update(&with_crc);
    with_crc.extend((crc.sum() as u16).to_le_bytes());
    with_crc.extend(&plain[10..]);
    let blob = [gzip(b"one,"), gzip(b""), fields, with_crc.clone()].concat();
    assert_eq!(decode(&blob).unwrap(), b"one,fields,crc");
    assert_eq!(
        decode_with(Dribble(&blob, 1), Default::default(), 3)
            .unwrap()
            .0,
        b"one,fields,crc"
    );
    assert_eq!(decode(&[&blob[..], &[0; 5000]].concat()).unwrap().len(), 14);
    with_crc[10] ^= 1;
    assert_eq!(refusal(&with_crc), MALFORMED);
}

#[test]
fn damaged_gzip() {
    let data = sample();
    let good = gzip(&data);
    let len = good.len();
    let flip = |at: usize| {
        let mut blob = good.clone();
        blob[at] ^= 0x80;
        blob
    };
    for at in [len - 8, len - 5, len - 4, len - 1] {
        assert_eq!(refusal(&flip(at)), MALFORMED, "trailer");
    }
    assert_eq!(refusal(&flip(2)), MALFORMED, "method");
    assert_eq!(refusal(&flip(3)), MALFORMED, "reserved flag");
    assert!(matches!(refusal(&flip(len / 2)), MALFORMED | TRUNCATED));
    for tail in [
        &b"x"[..],
        b"garbage",
        b"\0\0x",
        b"\x1f\x00",
        &[0x1f, 0x8b, 9, 0, 0, 0, 0, 0, 0, 0],
    ] {
        assert_eq!(
            refusal(&[&good[..], tail].concat()),
            MALFORMED,
            "{}",
            tail.escape_ascii()
        );
    }
    assert_eq!(refusal(&[&good[..], &good[..5]].concat()), TRUNCATED);
}

#[test]
fn zstd_frames() {
    let blob = [
        skippable(100),
        zstd(b"one,"),
        skippable(0),
        zstd(b""),
        zstd(b"two"),
        skippable(70_000),
    ]
    .concat();
    for step in [1, 13, usize::MAX] {
        let (data, summary) = decode_with(Dribble(&blob, step), Default::default(), 3).unwrap();
        assert_eq!(
            (&data[..], summary.compression),
            (&b"one,two"[..], Compression::Zstd)
        );
    }
    assert_eq!(decode(&skippable(3)).unwrap(), b"");
    assert_eq!(decode(&[&blob[..], &[0; 5000]].concat()).unwrap().len(), 7);
    for tail in [&b"garbage"[..], b"\0\0x", &gzip(b"x")] {
        assert_eq!(refusal(&[&blob[..], tail].concat()), MALFORMED);
    }
}

#[test]
fn damaged_zstd() {
    let good = zstd(&sample());
    let len = good.len();
    let mut blob = good.clone();
    blob[len - 1] ^= 1;
    assert_eq!(refusal(&blob), MALFORMED, "checksum");
    // A frame that says 5 bytes and has 3: descriptor 0x20, one byte of size, a last raw block.
    let frame = |size: u8, data: &[u8]| {
        let block = ((data.len() as u32) << 3 | 1).to_le_bytes();
        [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, size], &block[..3], data].concat()
    };
    assert_eq!(decode(&frame(3, b"abc")).unwrap(), b"abc");
    assert_eq!(refusal(&frame(5, b"abc")), MALFORMED);
    assert_eq!(refusal(&frame(2, b"abc")), MALFORMED);
    // One that says 256 and has none, in a last block that is empty.
    let none = [0x28, 0xb5, 0x2f, 0xfd, 0x40, 0, 0, 0, 1, 0, 0];
    for step in [1, 5, usize::MAX] {
        let done = decode_with(Dribble(&none, step), Default::default(), 3);
        assert!(
            done.is_err_and(|error| error.errno() == Errno::BADMSG),
            "{step}"
        );
    }
    // Windows: 2^31, 2^28, 2^27; the last is allowed. The block is empty.
    let window = |log: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3, 1, 0, 0];
    assert_eq!(refusal(&window(31)), LIMIT);
    assert_eq!(refusal(&window(28)), LIMIT);
    assert_eq!(decode(&window(27)).unwrap(), b"");
    let narrow = DecoderOptions {
        zstd_window_log: 20,
        ..Default::default()
    };
    assert_eq!(
        decode_with(&window(21)[..], narrow, 10).unwrap_err().code(),
        Code::Limit
    );
    // A single segment takes its content for the window.
    let mut segment = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
    segment.extend((1_u64 << 40).to_le_bytes());
    assert_eq!(refusal(&[&segment[..], &[1, 0, 0]].concat()), LIMIT);
}

/// Every cut of a blob is an error, or (plain, where an entry ends) a shorter archive.
#[test]
fn every_cut() {
    let archive = tar(&[file(b"a", b"hello"), file(b"b", &[3; 700])]);
    for (name, blob) in [("gzip", gzip(&archive)), ("zstd", zstd(&archive))] {
        for cut in 4..blob.len() {
            assert_eq!(refusal(&blob[..cut]), TRUNCATED, "{name} cut at {cut}");
            let mut decoder = Decoder::new(&blob[..cut], Default::default());
            let read = read_all(&mut decoder).map(|items| items.len());
            assert!(
                read.is_err() || decoder.finish().is_err(),
                "{name} cut at {cut}"
            );
        }
    }
    // The tar ends before the blob does: only `finish` sees what is wrong behind it.
    let mut blob = gzip(&[&archive[..], &sample()].concat());
    let last = blob.len() - 1;
    blob[last] ^= 1;
    let mut decoder = Decoder::new(&blob[..], Default::default());
    assert_eq!(read_all(&mut decoder).unwrap().len(), 2);
    assert_eq!(decoder.finish().unwrap_err().code(), Code::Archive);
    assert_eq!(
        decoder.finish().unwrap_err().errno(),
        Errno::BADMSG,
        "and again"
    );
}

#[test]
fn twice_compressed() {
    let archive = tar(&[file(b"a", b"hello")]);
    let twice = gzip(&gzip(&archive));
    let mut decoder = Decoder::new(&twice[..], Default::default());
    assert_eq!(read_all(&mut decoder).unwrap_err().code(), Code::Truncated);
    let long = tar(&[file(b"a", &Random(3).bytes(5000))]);
    let twice = gzip(&gzip(&long));
    let mut decoder = Decoder::new(&twice[..], Default::default());
    assert_eq!(read_all(&mut decoder).unwrap_err().code(), Code::Archive);
}

#[test]
fn byte_limit() {
    let data = sample();
    let with = |max_bytes| DecoderOptions {
        max_bytes,
        ..Default::default()
    };
    let len = data.len() as u64;
    for blob in [data.clone(), gzip(&data), zstd(&data)] {
        assert!(decode_with(&blob[..], with(len), 1 << 16).is_ok());
        for max in [0, 1, 1000, len - 1] {
            let error = decode_with(&blob[..], with(max), 1 << 16).unwrap_err();
            assert_eq!((error.errno(), error.code()), LIMIT);
            let error = Decoder::new(&blob[..], with(max)).finish().unwrap_err();
            assert_eq!((error.errno(), error.code()), LIMIT, "drained");
        }
    }
    assert!(decode_with(&gzip(b"")[..], with(0), 10).is_ok());
    // A bomb behind the end of the tar.
    let bomb = [tar(&[file(b"a", b"x")]), vec![0; 32 << 20]].concat();
    for blob in [gzip(&bomb), zstd(&bomb)] {
        assert!(blob.len() < 100_000);
        let mut decoder = Decoder::new(&blob[..], with(1 << 20));
        assert_eq!(read_all(&mut decoder).unwrap().len(), 1);
        assert_eq!(decoder.finish().unwrap_err().code(), Code::Limit);
    }
}

#[test]
fn a_lying_source() {
    struct Liar;
    impl Source for Liar {
        fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
            Ok(buf.len() + 1)
        }
    }
    let error: Error = Decoder::new(Liar, Default::default()).finish().unwrap_err();
    assert_eq!(error.errno(), Errno::INVAL);
    assert!(read_all(Liar).is_err());
}

#[test]
fn can_move_to_a_thread() {
    fn send<T: Send>(_: &T) {}
    send(&Decoder::new(&b""[..], Default::default()));
    send(&crate::archive::Reader::new(&b""[..], Default::default()));
}
