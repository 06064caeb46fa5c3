//! Names of entries, and of whiteouts.

use crate::archive::path::{clean, split};
use crate::archive::whiteout::{self, Name, classify, encode};
use crate::error::{Code, Errno};

/// Any bytes as a name.
pub fn names(data: &[u8]) {
    component(data);
    let refused = |error: crate::error::Error| {
        assert_eq!(error.code(), Code::Archive);
        assert!(matches!(error.errno(), Errno::INVAL | Errno::NAMETOOLONG));
        assert_eq!(error.path(), data);
    };
    let name = match clean(data) {
        Ok(name) => name,
        Err(error) => {
            // Only for one of the reasons there are.
            let parts = || data.split(|&byte| byte == b'/');
            let long = |part: &[u8]| part.len() > 255;
            assert!(data.contains(&0) || parts().any(|part| part == b".." || long(part)));
            return refused(error);
        }
    };
    assert!(name.len() <= data.len() && !name.contains(&0));
    assert_eq!(clean(&name).unwrap(), name, "clean once is clean");
    if name.is_empty() {
        assert!(data.iter().all(|&byte| byte == b'.' || byte == b'/'));
        return;
    }
    let kept: Vec<_> = data
        .split(|&byte| byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
        .collect();
    assert_eq!(kept.join(&b'/'), name, "nothing but slashes and dots goes");
    for part in name.split(|&byte| byte == b'/') {
        assert!(!matches!(part, b"" | b"." | b".."));
        assert!(part.len() <= 255 || (part.starts_with(whiteout::PREFIX) && part.len() <= 259));
        component(part);
    }
    let (parent, base) = split(&name);
    assert!(!base.is_empty() && !base.contains(&b'/'));
    match parent {
        b"" => assert_eq!(base, name),
        parent => assert_eq!([parent, base].join(&b'/'), name),
    }
}

fn component(base: &[u8]) {
    match classify(base) {
        Ok(Name::Plain) => assert!(!base.starts_with(b".wh.")),
        Ok(Name::Opaque) => assert_eq!(base, b".wh..wh..opq"),
        Ok(Name::AufsMetadata) => assert!(base.starts_with(b".wh..wh.") && base != b".wh..wh..opq"),
        Ok(Name::Whiteout(target)) => {
            assert!(!matches!(target, b"" | b"." | b".."));
            assert_eq!([b".wh.", target].concat(), base);
            // A second prefix cannot be said by libovl's own diff.
            assert_eq!(
                encode(target).is_ok(),
                !target.starts_with(b".wh.")
                    && !target.iter().any(|&byte| byte == 0 || byte == b'/')
            );
        }
        Err(error) => {
            assert_eq!(error.errno(), Errno::INVAL);
            assert!(matches!(base, b".wh." | b".wh.." | b".wh..."));
        }
    }
    if let Ok(marker) = encode(base) {
        assert_eq!(classify(&marker).unwrap(), Name::Whiteout(base));
    }
}
