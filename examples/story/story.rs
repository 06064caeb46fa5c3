//! One story, in Rust:  story STORE BASE.tar APP.tar      (see story.c)

use ovl::archive::{FromRead, ToWrite};
use ovl::error::{Errno, Error};
use ovl::store::{
    Against, ApplyOptions, CreateFlags, DiffFlags, DiffOptions, MountFlags, MountOptions,
    OpenOptions, RemoveFlags, Store, Time, UnmountFlags,
};
use ovl::watch::Watch;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::io::Write;

type Done = Result<(), Box<dyn std::error::Error>>;

fn apply(store: &Store, id: &str, parent: Option<&str>, tar: &str) -> Done {
    let mut tar = FromRead(std::fs::File::open(tar)?);
    let options = ApplyOptions {
        parent: parent.map(str::as_bytes),
        ..Default::default()
    };
    let info = store.apply(id.as_bytes(), &mut tar, &options, &mut Watch::default())?;
    println!("{id} {}", info.diff_id.ok_or("no diff ID")?);
    Ok(())
}

fn main() -> Done {
    let words: Vec<String> = std::env::args().collect();
    let [_, home, base, app] = &words[..] else {
        return Err("story STORE BASE.tar APP.tar".into());
    };
    let store = Store::open(home.as_bytes(), OpenOptions::default())?;
    apply(&store, "base", None, base)?;
    apply(&store, "app", Some("base"), app)?;

    let watch = &mut Watch::default();
    let mut create = || store.create(b"box", Some(b"app"), CreateFlags::empty(), watch);
    create()?;
    if create().is_err_and(|error| error.errno() == Errno::EXIST) {
        println!("box is there already");
    }

    let detached = MountOptions {
        flags: MountFlags::DETACHED,
        ..Default::default()
    };
    let mount = store.mount(b"box", &detached)?;
    let root = mount.fd().ok_or("no descriptor")?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::openat(root, "hello", flags, Mode::from_raw_mode(0o644))?;
    std::fs::File::from(file).write_all(b"hello\n")?;
    rustix::fs::unlinkat(root, "etc/motd", AtFlags::empty())?;
    let ended = mount.unmount(UnmountFlags::empty());
    ended.map_err(|(_, error): (_, Error)| error)?;

    for change in store.changes(b"box", Against::Parent, watch)? {
        println!("{} {}", change.kind.letter(), change.path.escape_ascii());
    }

    let clamp = DiffOptions {
        flags: DiffFlags::CLAMP,
        clamp: Time {
            sec: 1_700_000_000,
            nsec: 0,
        },
        ..DiffOptions::default()
    };
    let mut out = ToWrite(std::io::sink());
    let info = store.diff(b"box", Against::Parent, &mut out, &clamp, watch)?;
    println!("box {}", info.diff_id.ok_or("no diff ID")?);
    Ok(store.remove(b"box", RemoveFlags::empty(), watch)?)
}
