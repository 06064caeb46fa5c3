//! What lies in a layer's directory: all that belongs there, and nothing else.

use super::super::check::{Found, GLANCE};
use super::super::lock::{self, Mode};
use super::super::maker::Maker;
use super::super::{Kind, Store, damaged, id};
use crate::error::{Errno, Error, Result, SysResult};
use crate::mount::oracle;
use crate::sys::OwnedFd;
use crate::sys::dir::DirBuf;
use crate::sys::fs::{self, Meta};
use crate::watch::Watch;

impl Store {
    /// What is in the layer's directory; says whether its content is.
    pub(super) fn check_rooms(
        &self,
        id: &str,
        dir: &OwnedFd,
        kinds: &[Kind],
        home: &Meta,
        found: &mut Found,
    ) -> Result<bool> {
        let overlay = kinds.contains(&Kind::Overlay);
        let root = kinds.contains(&Kind::Root);
        let mut has_content = true;
        for (name, ours) in [
            ("child", true),
            ("pin", true),
            ("root", root),
            ("upper", overlay),
            ("work", overlay),
            ("merged", overlay),
        ] {
            if !ours {
                continue;
            }
            let content = matches!(name, "root" | "upper");
            match fs::open_dir(dir, name.as_bytes()) {
                Ok(_) if content => {}
                Ok(room) => found.private_in(id, name, &room, home)?,
                // Something is mounted there, as should be.
                Err(Errno::XDEV) if name == "merged" => {}
                Err(Errno::NOENT) => {
                    let mended = found.repair
                        && !content
                        && self.may_make(dir, name)
                        && Maker::of(dir).mkdir(dir, name.as_bytes()).is_ok();
                    found.tell(id, "missing", format!("it has no {name}"), mended);
                    has_content &= !content;
                }
                Err(errno) => {
                    let words = format!("{name}: {}", Error::sys(errno, "open").message());
                    found.tell(id, "missing", words, false);
                    has_content &= !content;
                }
            }
        }
        self.check_strangers(id, dir, (root, overlay), found)?;
        Ok(has_content)
    }

    /// Whether `work`, which mount handles lock, can be made anew: nobody has the one that went.
    fn may_make(&self, dir: &OwnedFd, name: &str) -> bool {
        match fs::open_dir(dir, b"upper") {
            Ok(upper) if name == "work" => self
                .upper_in_use(&upper, None)
                .is_ok_and(|answer| answer != oracle::InUse::Busy),
            _ => true,
        }
    }

    fn check_strangers(
        &self,
        id: &str,
        dir: &OwnedFd,
        (root, overlay): (bool, bool),
        found: &mut Found,
    ) -> Result<()> {
        let names = DirBuf::default().sorted_names(super::super::again(dir)?);
        for name in names.call_at("getdents64", id)? {
            let ours = match &name[..] {
                // A root layer has a mount point once it was mounted.
                b"meta" | b"manifest" | b"child" | b"pin" | b"merged" | b"running" => true,
                b"root" => root,
                b"lower-id" | b"upper" | b"work" => overlay,
                _ => false,
            };
            // What is wrong with the other files is told by who reads them.
            if matches!(&name[..], b"manifest" | b"running")
                && damaged::kind_at(dir, &name)?.is_some_and(|kind| kind != fs::Kind::File)
            {
                let words = format!("{} is no file", name.escape_ascii());
                found.tell(id, "foreign", words, false);
            }
            if damaged::is_temporary(&name) && !found.repair {
                // Who mounts the layer makes one too, with the pins locked, and is soon done.
                let pins = fs::open_dir(dir, b"pin");
                if let Ok(pins) = &pins {
                    if lock::lock(pins, Mode::Exclusive, GLANCE, &mut Watch::default()).is_err() {
                        continue;
                    }
                }
                if damaged::kind_at(dir, &name)?.is_none() {
                    continue;
                }
            }
            if damaged::is_temporary(&name) {
                let mended = found.repair && fs::unlink(dir, &name).is_ok();
                let words = format!("{} was to replace a file", name.escape_ascii());
                found.tell(id, "temporary", words, mended);
            } else if !ours {
                let words = format!("{} is not the store's", name.escape_ascii());
                found.tell(id, "foreign", words, false);
            }
        }
        // What lies in a mount point is hidden by the mount, and part of nothing.
        for (room, what) in [
            ("child", "no id, or no file"),
            ("merged", "below the mount point"),
        ] {
            let Ok(inside) = fs::open_dir(dir, room.as_bytes()) else {
                continue;
            };
            let names = DirBuf::default().sorted_names(&inside);
            for name in names.call_at("getdents64", room)? {
                let Some(kind) = damaged::kind_at(&inside, &name)? else {
                    // It went meanwhile.
                    continue;
                };
                let hint = room == "child" && id::check(&name).is_ok() && kind == fs::Kind::File;
                if !hint {
                    let words = format!("{room}/{}: {what}", name.escape_ascii());
                    found.tell(id, "foreign", words, false);
                }
            }
        }
        Ok(())
    }
}
