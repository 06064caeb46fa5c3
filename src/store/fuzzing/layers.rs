//! Layers of entries that the bytes choose: names that meet each other and the parent's.

use super::world::{PARENT, World, apply_in, world};
use crate::archive::fuzzing::{Choices, plain};
use crate::archive::{Entry, Kind, Time, Writer};
use crate::store;

/// Two layers, one on the other; the second is what is looked at.
pub fn layers(data: &[u8]) {
    world(|world| layers_in(world, data));
}

/// The same in a world of the caller's.
pub fn layers_in(world: &mut World, data: &[u8]) {
    let mut choices = Choices(data);
    let lower = choices.byte();
    if lower % 4 == 0 {
        return apply_in(world, &tar(&mut choices, 60));
    }
    let first = tar(&mut choices, usize::from(lower) % 16);
    let second = tar(&mut choices, 60);
    if world
        .put(b"low", &first, Some(PARENT), store::Kind::Overlay)
        .is_err()
    {
        world.check_canary();
        return;
    }
    let root = world.layer(&second, Some(b"low"), store::Kind::Root);
    let upper = world.layer(&second, Some(b"low"), store::Kind::Overlay);
    assert_eq!(
        root.is_ok(),
        upper.is_ok(),
        "{:?} / {:?}",
        root.err(),
        upper.err()
    );
    world.remove(b"low");
    world.check_canary();
}

fn path(choices: &mut Choices<'_>) -> Vec<u8> {
    const PARTS: [&[u8]; 32] = [
        b"a",
        b"b",
        b"c",
        b"d",
        b"e",
        b"f",
        b"h",
        b"l",
        b"m",
        b"n",
        b"x",
        b"y",
        b"v",
        b"p",
        b"canary",
        b"victim",
        b".",
        b"..",
        b"",
        b".wh.a",
        b".wh.d",
        b".wh.x",
        b".wh.f",
        b".wh.b",
        b".wh..wh..opq",
        b".wh..wh.plnk",
        b".wh.",
        b".wh..",
        b".wh...",
        b"\xff\n",
        b".wh..wh.aufs",
        b"a",
    ];
    let byte = choices.byte();
    let depth = [1, 1, 2, 2, 3, 3, 4, 9][usize::from(byte & 7)];
    let mut path = Vec::new();
    if byte & 0xf8 == 0xf8 {
        path.push(b'/');
    }
    for at in 0..depth {
        if at > 0 {
            path.push(b'/');
        }
        match choices.byte() {
            part @ ..=223 => path.extend_from_slice(PARTS[usize::from(part) % PARTS.len()]),
            len => path.resize(path.len() + (usize::from(len) - 223) * 8, b'n'),
        }
    }
    path
}

fn tar(choices: &mut Choices<'_>, most: usize) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for _ in 0..most {
        if choices.is_empty() {
            break;
        }
        let (entry, data) = entry(choices);
        if writer.begin(&entry).is_ok() {
            writer.data(&data).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn entry(choices: &mut Choices<'_>) -> (Entry, Vec<u8>) {
    use Kind::*;
    let kinds = [
        File,
        File,
        Directory,
        Directory,
        Symlink,
        HardLink,
        Fifo,
        CharDevice,
        BlockDevice,
        File,
    ];
    let kind = choices.of(&kinds);
    let mut entry = plain(&path(choices), kind);
    let look = choices.byte();
    entry.mode = if look & 1 == 0 {
        0o755
    } else {
        (choices.number() & 0o7777) as u32
    };
    if look & 2 != 0 {
        entry.uid = choices.byte().into();
        entry.gid = choices.byte().into();
    }
    if look & 4 != 0 {
        entry.mtime = Time {
            sec: choices.byte().into(),
            nsec: choices.byte().into(),
        };
    }
    if look & 24 == 24 {
        const NAMES: [&[u8]; 9] = [
            b"user.a",
            b"trusted.overlay.opaque",
            b"user.overlay.whiteout",
            b"trusted.overlay.redirect",
            b"trusted.overlay.metacopy",
            b"trusted.x",
            b"security.capability",
            b"system.posix_acl_default",
            b"trusted.overlay.overlay.opaque",
        ];
        let name = choices.of(&NAMES).to_vec();
        let value = match choices.below(4) {
            0 => b"y".to_vec(),
            1 => b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
            2 => [
                &b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\x05\0\xff\xff\xff\xff"[..],
                b"\x20\0\x05\0\xff\xff\xff\xff",
            ]
            .concat(),
            _ => {
                let len = choices.below(30);
                choices.bytes(len).to_vec()
            }
        };
        entry.xattrs.push((name, value));
    }
    let mut data = Vec::new();
    match kind {
        File => {
            let len = choices.below(64);
            data = choices.bytes(len).to_vec();
            entry.size = data.len() as u64;
        }
        HardLink => entry.link = path(choices),
        Symlink => {
            entry.link = match choices.byte() {
                byte if byte & 3 == 0 => b"/proc/self/root".to_vec(),
                byte if byte & 3 == 1 => {
                    [b"../".repeat(usize::from(byte >> 5)), b"canary".to_vec()].concat()
                }
                _ => path(choices),
            };
        }
        CharDevice | BlockDevice => {
            entry.major = choices.below(3) as u32;
            entry.minor = choices.below(3) as u32;
        }
        _ => {}
    }
    (entry, data)
}
