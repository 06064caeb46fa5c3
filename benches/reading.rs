//! Reading a layer tar, and nothing else: decompress, digest, parse. What callgrind can follow where it
//! does not know the system calls that open a tree.

use ovl::archive::{Decoder, DecoderOptions, FromRead, Limits, Reader};
use std::ffi::OsString;
use std::fs::File;

/// The word before the file: this program below callgrind.
pub const OPTION: &str = "--read";

/// The file to read, if this run is for that.
pub fn asked() -> Option<OsString> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? == OPTION {
        args.next()
    } else {
        None
    }
}

/// Reads it to its end.
pub fn read(file: &OsString) -> Result<(), String> {
    let told = |error: ovl::error::Error| error.to_string();
    let file = File::open(file).map_err(|e| e.to_string())?;
    let options = DecoderOptions {
        diff_id: true,
        blob_digest: true,
        ..DecoderOptions::default()
    };
    let mut reader = Reader::new(Decoder::new(FromRead(file), options), Limits::default());
    while reader.next_entry().map_err(told)?.is_some() {
        while reader.next_chunk().map_err(told)?.is_some() {}
    }
    Ok(())
}
