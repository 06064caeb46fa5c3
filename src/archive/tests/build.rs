//! Archives made by hand, wrong ones too.

use crate::archive::records::record;

pub const END: [u8; 1024] = [0; 1024];
pub const GNU: &[u8] = b"ustar  \0";
pub const V7: &[u8] = b"\0\0\0\0\0\0\0\0";

/// A header block; its checksum is made right by `bytes`.
#[derive(Clone)]
pub struct Raw(pub [u8; 512]);

impl Raw {
    pub fn new(name: &[u8], typeflag: u8) -> Self {
        let raw = Raw([0; 512])
            .at(0, name)
            .at(100, b"0000644\0")
            .at(108, b"0000000\0");
        let raw = raw.at(116, b"0000000\0").size(0).at(136, b"00000000000\0");
        raw.at(156, &[typeflag]).at(257, b"ustar\x0000")
    }

    pub fn at(mut self, place: usize, bytes: &[u8]) -> Self {
        self.0[place..place + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn size(self, size: u64) -> Self {
        self.at(124, format!("{size:011o}\0").as_bytes())
    }

    pub fn link(self, target: &[u8]) -> Self {
        self.at(157, target)
    }

    pub fn magic(self, magic: &[u8]) -> Self {
        self.at(257, magic)
    }

    pub fn bytes(self) -> Vec<u8> {
        let raw = self.at(148, b"        ");
        let sum: u32 = raw.0.iter().map(|&byte| u32::from(byte)).sum();
        raw.at(148, format!("{sum:06o}\0 ").as_bytes()).0.to_vec()
    }
}

/// Data with its padding.
pub fn padded(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    bytes.resize(data.len().next_multiple_of(512), 0);
    bytes
}

/// An extended header with its data.
pub fn meta(typeflag: u8, data: &[u8]) -> Vec<u8> {
    let header = Raw::new(b"meta", typeflag).size(data.len() as u64);
    [header.bytes(), padded(data)].concat()
}

/// PAX records.
pub fn records(list: &[(&str, &[u8])]) -> Vec<u8> {
    list.iter()
        .flat_map(|(key, value)| record(key.as_bytes(), value))
        .collect()
}

/// A PAX header for the next entry.
pub fn pax(list: &[(&str, &[u8])]) -> Vec<u8> {
    meta(b'x', &records(list))
}

/// A plain file with its data.
pub fn file(name: &[u8], data: &[u8]) -> Vec<u8> {
    let header = Raw::new(name, b'0').size(data.len() as u64);
    [header.bytes(), padded(data)].concat()
}

/// The parts and the end of the archive.
pub fn tar(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), END.to_vec()].concat()
}
