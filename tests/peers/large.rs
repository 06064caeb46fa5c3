//! A file of more than 8 GiB, and the largest owner: what the header's own fields cannot say. The
//! archive is a sparse file, of which only the headers are read.

use crate::peer::{Peer, alone, list};
use crate::support::fsys;
use ovl::archive::{Header, Kind, Sink, Time, Writer};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Takes what a writer writes as long as it is the header.
struct Head<'a>(&'a mut Vec<u8>);

impl Sink for Head<'_> {
    fn write_all(&mut self, buf: &[u8]) -> ovl::error::Result<()> {
        self.0.extend_from_slice(buf);
        Ok(())
    }
}

fn file(name: &str, size: u64, uid: u32) -> Header {
    Header {
        path: name.into(),
        kind: Kind::File,
        mode: 0o644,
        uid,
        gid: uid,
        mtime: Time::default(),
        size,
        link: Vec::new(),
        xattrs: Vec::new(),
        major: 0,
        minor: 0,
        sparse: false,
    }
}

#[test]
fn sizes_and_owners_beyond_the_fields_are_read() {
    const SIZE: u64 = (9 << 30) + 1;
    const OWNER: u32 = u32::MAX - 1;
    let _one = alone();
    let dir = fsys::scratch();
    let path = dir.path().join("large.tar");
    let mut head = Vec::new();
    let mut writer = Writer::new(Head(&mut head));
    writer.begin(&file("large", SIZE, OWNER)).unwrap();
    drop(writer);
    let tar = File::create(&path).unwrap();
    tar.write_all_at(&head, 0).unwrap();
    let after = (head.len() as u64 + SIZE).next_multiple_of(512);
    let mut rest = Vec::new();
    let mut writer = Writer::new(Head(&mut rest));
    writer.begin(&file("next", 0, 0)).unwrap();
    writer.finish().unwrap();
    tar.write_all_at(&rest, after).unwrap();
    for peer in [Peer::Gnu, Peer::Bsd, Peer::Containerd] {
        if !peer.there() {
            continue;
        }
        let listed = list(peer, &path).unwrap();
        let lines: Vec<&str> = listed.lines().collect();
        assert_eq!(lines.len(), 2, "{peer:?}: {listed}");
        let said = |what: &str| lines[0].split([' ', '/']).any(|word| word == what);
        assert!(said(&SIZE.to_string()), "{peer:?}: {listed}");
        assert!(said(&OWNER.to_string()), "{peer:?}: {listed}");
        assert!(lines[1].ends_with("next"), "{peer:?}: {listed}");
    }
}
