//! The operations: each prepares a store, and then does one thing to it.

use crate::lab::*;
use crate::support::fsys;
use ovl::error::{Code, Errno, Result};
use ovl::store::*;
use ovl::tree::{CopyFlags, CopyOptions, copy_dir};
use ovl::watch::Watch;
use rustix::fs::CWD;
use std::fmt::Debug;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

/// One operation.
pub struct Op {
    pub name: &'static str,
    /// Makes what it finds; the store is open.
    pub prepare: fn(&Lab),
    /// Just before, in the process that does it.
    pub enter: fn(&mut Lab),
    /// Does it; gives what it says.
    pub run: fn(&mut Lab) -> Result<String>,
    /// What it says when it was done already.
    pub again: &'static [Errno],
    /// It finds no store, and opens it itself.
    pub opens: bool,
    /// It works in a directory of the caller's, where a kill may leave a part.
    pub in_place: bool,
    /// Calls after which it is done, though it fails when they do.
    pub late: &'static [&'static str],
    /// What `check` finds before it.
    pub damage: &'static [&'static str],
    /// All points are every so many.
    pub stride: usize,
    /// Looks at what it made outside of the store; whether it succeeded.
    pub look: fn(&Lab, bool),
    /// Takes back what was prepared and nothing of the library's ends.
    pub undo: fn(&Lab),
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Op> {
    OPS.iter().chain(crate::images::OPS)
}

pub const OP: Op = Op {
    name: "",
    prepare: |_| {},
    enter: |_| {},
    run: |_| Ok(String::new()),
    again: &[],
    opens: false,
    in_place: false,
    late: &[],
    damage: &[],
    stride: 1,
    look: |_, _| {},
    undo: |_| {},
};

const NONE: CreateFlags = CreateFlags::empty();
const EXIST: &[Errno] = &[Errno::EXIST];
const ROFS: &[Errno] = &[Errno::ROFS];
const GONE: &[Errno] = &[Errno::NOENT];
const ANY: &[&str] = &["any"];
const RW: MountFlags = MountFlags::empty();

/// What a call says, without what is another in every store.
fn said(info: Result<LayerInfo>) -> Result<String> {
    info.map(|mut info| {
        info.created = Default::default();
        format!("{info:?}")
    })
}

fn told<T: Debug>(result: Result<T>) -> Result<String> {
    result.map(|value| format!("{value:?}"))
}

fn over<'a>(parent: &'a str, kind: Kind, tar: &'a [u8]) -> Apply<'a> {
    Apply {
        parent: Some(parent),
        kind: Some(kind),
        ..Apply::none(tar)
    }
}

fn lasting(durability: Durability, how: Apply<'_>) -> Apply<'_> {
    Apply { durability, ..how }
}

/// What must be refused, and so: anything else is said otherwise.
fn refused<T>(code: Code, result: Result<T>) -> Result<String> {
    match result {
        Ok(_) => Ok("it went through".to_string()),
        Err(error) if error.code() == code => Ok(format!("{code:?}")),
        Err(error) => Err(error),
    }
}

/// A chain of three, and a copy that was put in a root of its own.
fn family(lab: &Lab) {
    lab.mid();
    lab.create("box", Some("mid"), NONE).unwrap();
    lab.apply("x", &over("base", Kind::Root, &top_tar()))
        .unwrap();
}

fn mount(lab: &mut Lab, id: &str, flags: MountFlags, target: bool) -> Result<String> {
    let target = target.then(|| lab.dir.join("target"));
    let mount = lab.mount(id, flags, target.as_deref())?;
    let detached = mount.path().is_empty();
    lab.mount = Some(mount);
    Ok(format!("detached: {detached}"))
}

fn unmount(lab: &mut Lab, flags: UnmountFlags) -> Result<String> {
    let Some(mount) = lab.mount.take() else {
        return Ok(String::new());
    };
    mount
        .unmount(flags)
        .map(|()| String::new())
        .map_err(|(back, error)| {
            lab.mount = Some(back);
            error
        })
}

fn hold(lab: &mut Lab, id: &str, flags: MountFlags) {
    lab.mount = Some(lab.mount(id, flags, None).unwrap());
}

fn keep(lab: &Lab, id: &str) {
    drop(lab.mount(id, MountFlags::KEEP, None).unwrap());
}

fn box_path(lab: &Lab) -> Vec<u8> {
    lab.at("box/merged").into_os_string().into_encoded_bytes()
}

fn check(lab: &Lab, flags: CheckFlags) -> Result<String> {
    told(
        lab.store()
            .check(flags, &mut Watch::default())
            .map(|mut found| {
                // Names in stage and trash are another in every store.
                found.retain(|problem| !problem.note);
                for problem in &mut found {
                    let place = problem.layer.split('/').next().unwrap().to_string();
                    problem.layer = place;
                }
                found
            }),
    )
}

fn diff(lab: &Lab, id: &str, against: Against<'_>) -> Result<String> {
    let mut tar = Vec::new();
    let options = DiffOptions {
        threads: threads(),
        ..DiffOptions::default()
    };
    let watch = &mut Watch::default();
    let info = lab
        .store()
        .diff(id.as_bytes(), against, &mut tar, &options, watch);
    said(info)
}

fn copy(lab: &Lab, flags: CopyFlags) -> Result<String> {
    let (from, to) = (lab.dir.join("plant"), lab.dir.join("copy"));
    let options = CopyOptions {
        flags,
        threads: threads(),
        ..CopyOptions::default()
    };
    let (from, to) = (from.as_os_str().as_bytes(), to.as_os_str().as_bytes());
    told(copy_dir(
        CWD.as_fd(),
        from,
        CWD.as_fd(),
        to,
        &options,
        &mut Watch::default(),
    ))
}

/// An overlay of another program over the layer's upper, with a work directory of its own.
fn foreign(lab: &Lab) {
    lab.boxed();
    let (work, place) = (lab.dir.join("work"), lab.dir.join("target"));
    fs::create_dir(&work).unwrap();
    let at = |path: &str| lab.at(path).display().to_string();
    let options = format!(
        "lowerdir={},upperdir={},workdir={},index=off",
        at("base/root"),
        at("box/upper"),
        work.display()
    );
    let options = std::ffi::CString::new(options).unwrap();
    let none = rustix::mount::MountFlags::empty();
    rustix::mount::mount("foreign", place, "overlay", none, options.as_c_str()).unwrap();
}

fn end_foreign(lab: &Lab) {
    fsys::unmount(&lab.dir.join("target"));
}

/// What killed processes leave, of every sort.
fn leave_things(lab: &Lab) {
    lab.boxed();
    lab.raw();
    lab.remove("raw", RemoveFlags::DEFER).unwrap();
    let stage = lab.home().join("stage/left");
    fs::create_dir(&stage).unwrap();
    fs::create_dir(stage.join("root")).unwrap();
    fs::write(stage.join("root/f"), "half").unwrap();
    fs::write(lab.home().join("trash/file"), "").unwrap();
    fs::create_dir(lab.at("broken")).unwrap();
    fs::create_dir(lab.at("broken/root")).unwrap();
    // Its holder goes with this process.
    std::mem::forget(lab.mount("box", RW, None).unwrap());
    fs::write(lab.at("base/pin/1.1"), "mode=held\n").unwrap();
}

pub const OPS: &[Op] = &[
    Op {
        name: "open-new",
        run: |lab| told(lab.try_open().map(|store| store.marks())),
        opens: true,
        late: &["openat2", "flock", "fsync"],
        ..OP
    },
    Op {
        name: "open-old",
        prepare: |lab| lab.base(),
        run: |lab| told(lab.try_open().map(|store| store.marks())),
        ..OP
    },
    Op {
        name: "create-empty",
        run: |lab| told(lab.create("x", None, NONE)),
        again: EXIST,
        ..OP
    },
    Op {
        name: "create-empty-sync",
        run: |lab| told(lab.create("x", None, CreateFlags::SYNC)),
        again: EXIST,
        ..OP
    },
    Op {
        name: "create-over-root",
        prepare: |lab| lab.base(),
        run: |lab| told(lab.create("x", Some("base"), NONE)),
        again: EXIST,
        ..OP
    },
    Op {
        name: "create-over-root-sync",
        prepare: |lab| lab.base(),
        run: |lab| told(lab.create("x", Some("base"), CreateFlags::SYNC)),
        again: EXIST,
        ..OP
    },
    Op {
        name: "create-over-writable-root",
        prepare: |lab| lab.raw(),
        run: |lab| told(lab.create("x", Some("raw"), NONE)),
        again: EXIST,
        // The parent was to be committed, and stays so.
        late: ANY,
        ..OP
    },
    Op {
        name: "create-copy",
        prepare: |lab| lab.boxed(),
        run: |lab| told(lab.create("x", Some("box"), NONE)),
        again: EXIST,
        ..OP
    },
    Op {
        name: "create-flat",
        prepare: |lab| lab.mid(),
        run: |lab| told(lab.create("x", Some("mid"), CreateFlags::FLAT)),
        again: EXIST,
        ..OP
    },
    Op {
        name: "create-stacked",
        prepare: |lab| lab.mid(),
        run: |lab| told(lab.create("x", Some("mid"), NONE)),
        again: EXIST,
        ..OP
    },
    Op {
        name: "create-over-broken",
        prepare: |lab| fs::create_dir(lab.at("x")).unwrap(),
        run: |lab| told(lab.create("x", None, NONE)),
        again: EXIST,
        damage: &["not whole"],
        ..OP
    },
    Op {
        name: "apply-root",
        run: |lab| said(lab.apply("x", &Apply::none(&base_tar()))),
        again: ROFS,
        ..OP
    },
    Op {
        name: "apply-root-full",
        run: |lab| said(lab.apply("x", &lasting(Durability::Full, Apply::none(&base_tar())))),
        again: ROFS,
        ..OP
    },
    Op {
        name: "apply-root-verified",
        run: |lab| {
            said(lab.apply(
                "x",
                &lasting(Durability::Verified, Apply::none(&base_tar())),
            ))
        },
        again: ROFS,
        ..OP
    },
    Op {
        name: "apply-root-over-root",
        prepare: |lab| lab.base(),
        run: |lab| said(lab.apply("x", &over("base", Kind::Root, &top_tar()))),
        again: EXIST,
        ..OP
    },
    Op {
        name: "apply-root-over-overlay",
        prepare: |lab| lab.mid(),
        run: |lab| said(lab.apply("x", &over("mid", Kind::Root, &top_tar()))),
        again: EXIST,
        ..OP
    },
    Op {
        name: "apply-overlay",
        prepare: |lab| lab.base(),
        run: |lab| said(lab.apply("x", &over("base", Kind::Overlay, &top_tar()))),
        again: EXIST,
        ..OP
    },
    Op {
        name: "apply-overlay-verified",
        prepare: |lab| lab.base(),
        run: |lab| {
            let tar = top_tar();
            let how = lasting(Durability::Verified, over("base", Kind::Overlay, &tar));
            said(lab.apply("x", &how))
        },
        again: EXIST,
        ..OP
    },
    Op {
        name: "apply-overlay-stacked",
        prepare: |lab| lab.mid(),
        run: |lab| said(lab.apply("x", &over("mid", Kind::Overlay, &top_tar()))),
        again: EXIST,
        ..OP
    },
    Op {
        name: "apply-usual-kind",
        prepare: |lab| lab.base(),
        run: |lab| {
            let tar = top_tar();
            let how = Apply {
                parent: Some("base"),
                ..Apply::none(&tar)
            };
            said(lab.apply("x", &how))
        },
        again: EXIST,
        ..OP
    },
    Op {
        name: "apply-writable-root",
        prepare: |lab| lab.base(),
        run: |lab| {
            let tar = top_tar();
            let how = Apply {
                flags: ApplyFlags::WRITABLE,
                ..over("base", Kind::Root, &tar)
            };
            said(lab.apply("x", &how))
        },
        again: &[Errno::NOTEMPTY],
        ..OP
    },
    Op {
        name: "apply-into",
        prepare: |lab| {
            lab.base();
            lab.create("x", Some("base"), NONE).unwrap();
        },
        run: |lab| {
            let tar = top_tar();
            let how = Apply {
                kind: Some(Kind::Overlay),
                durability: Durability::Full,
                ..Apply::none(&tar)
            };
            said(lab.apply("x", &how))
        },
        again: ROFS,
        ..OP
    },
    Op {
        name: "apply-gzip",
        run: |lab| said(lab.apply("x", &Apply::none(&gzip(&base_tar())))),
        again: ROFS,
        ..OP
    },
    Op {
        name: "apply-zstd",
        run: |lab| said(lab.apply("x", &Apply::none(&zstd(&base_tar())))),
        again: ROFS,
        ..OP
    },
    Op {
        name: "commit-root",
        prepare: |lab| lab.raw(),
        run: |lab| told(lab.commit("raw", Durability::Default)),
        again: ROFS,
        ..OP
    },
    Op {
        name: "commit-root-verified",
        prepare: |lab| lab.raw(),
        run: |lab| told(lab.commit("raw", Durability::Verified)),
        again: ROFS,
        ..OP
    },
    Op {
        name: "commit-overlay",
        prepare: |lab| lab.used(RW),
        run: |lab| told(lab.commit("box", Durability::Default)),
        again: ROFS,
        ..OP
    },
    Op {
        name: "commit-volatile",
        prepare: |lab| lab.used(MountFlags::VOLATILE),
        run: |lab| told(lab.commit("box", Durability::None)),
        again: ROFS,
        ..OP
    },
    Op {
        name: "mount-held",
        prepare: |lab| lab.boxed(),
        run: |lab| mount(lab, "box", RW, false),
        ..OP
    },
    Op {
        name: "mount-kept",
        prepare: |lab| lab.boxed(),
        run: |lab| mount(lab, "box", MountFlags::KEEP, false),
        ..OP
    },
    Op {
        name: "mount-at-a-target",
        prepare: |lab| lab.boxed(),
        run: |lab| mount(lab, "box", RW, true),
        ..OP
    },
    Op {
        name: "mount-detached",
        prepare: |lab| lab.boxed(),
        run: |lab| mount(lab, "box", MountFlags::DETACHED, false),
        ..OP
    },
    Op {
        name: "mount-used",
        prepare: |lab| lab.used(RW),
        run: |lab| mount(lab, "box", RW, false),
        ..OP
    },
    Op {
        name: "mount-volatile",
        prepare: |lab| lab.used(MountFlags::VOLATILE),
        run: |lab| mount(lab, "box", MountFlags::VOLATILE, false),
        ..OP
    },
    Op {
        name: "mount-read-only",
        prepare: |lab| lab.mid(),
        run: |lab| mount(lab, "mid", MountFlags::READ_ONLY, false),
        ..OP
    },
    Op {
        name: "mount-root-read-only",
        prepare: |lab| lab.base(),
        run: |lab| mount(lab, "base", MountFlags::READ_ONLY, true),
        ..OP
    },
    Op {
        name: "mount-root",
        prepare: |lab| lab.raw(),
        run: |lab| mount(lab, "raw", RW, true),
        ..OP
    },
    Op {
        name: "mount-again",
        prepare: |lab| {
            lab.boxed();
            keep(lab, "box");
        },
        run: |lab| mount(lab, "box", RW, false),
        ..OP
    },
    Op {
        name: "mount-again-elsewhere",
        prepare: |lab| {
            lab.boxed();
            keep(lab, "box");
        },
        run: |lab| mount(lab, "box", RW, true),
        ..OP
    },
    Op {
        name: "mount-over-a-leftover",
        prepare: |lab| {
            lab.boxed();
            std::mem::forget(lab.mount("box", RW, None).unwrap());
        },
        run: |lab| mount(lab, "box", RW, false),
        ..OP
    },
    Op {
        name: "unmount",
        prepare: |lab| lab.boxed(),
        enter: |lab| hold(lab, "box", RW),
        run: |lab| unmount(lab, UnmountFlags::empty()),
        ..OP
    },
    Op {
        name: "unmount-lazy",
        prepare: |lab| lab.boxed(),
        enter: |lab| hold(lab, "box", RW),
        run: |lab| unmount(lab, UnmountFlags::LAZY),
        ..OP
    },
    Op {
        name: "unmount-by-id",
        prepare: |lab| {
            lab.boxed();
            keep(lab, "box");
        },
        run: |lab| told(lab.store().unmount_at(b"box", UnmountFlags::empty())),
        again: &[Errno::INVAL],
        ..OP
    },
    Op {
        name: "unmount-by-path",
        prepare: |lab| {
            lab.boxed();
            keep(lab, "box");
        },
        run: |lab| {
            told(
                lab.store()
                    .unmount_at(&box_path(lab), UnmountFlags::empty()),
            )
        },
        again: &[Errno::INVAL],
        ..OP
    },
    Op {
        name: "remove-root",
        prepare: |lab| lab.base(),
        run: |lab| told(lab.remove("base", RemoveFlags::empty())),
        again: GONE,
        ..OP
    },
    Op {
        name: "remove-child",
        prepare: |lab| {
            lab.base();
            lab.apply("x", &over("base", Kind::Root, &top_tar()))
                .unwrap();
        },
        run: |lab| told(lab.remove("x", RemoveFlags::empty())),
        again: GONE,
        ..OP
    },
    Op {
        name: "remove-used",
        prepare: |lab| lab.used(RW),
        run: |lab| told(lab.remove("box", RemoveFlags::empty())),
        again: GONE,
        ..OP
    },
    Op {
        name: "remove-leftover-mount",
        prepare: |lab| {
            lab.boxed();
            std::mem::forget(lab.mount("box", RW, None).unwrap());
        },
        run: |lab| told(lab.remove("box", RemoveFlags::empty())),
        again: GONE,
        ..OP
    },
    Op {
        name: "remove-defer",
        prepare: |lab| lab.used(RW),
        run: |lab| told(lab.remove("box", RemoveFlags::DEFER)),
        again: GONE,
        ..OP
    },
    Op {
        name: "cleanup",
        prepare: leave_things,
        run: |lab| told(lab.store().cleanup(&mut Watch::default()).map(drop)),
        damage: &["not whole"],
        ..OP
    },
    Op {
        name: "diff",
        prepare: |lab| lab.mid(),
        run: |lab| diff(lab, "mid", Against::Parent),
        ..OP
    },
    Op {
        name: "diff-all",
        prepare: |lab| lab.mid(),
        run: |lab| diff(lab, "mid", Against::Nothing),
        ..OP
    },
    Op {
        name: "diff-writable",
        prepare: |lab| lab.used(RW),
        run: |lab| diff(lab, "box", Against::Parent),
        ..OP
    },
    Op {
        name: "changes",
        prepare: |lab| lab.boxed(),
        run: |lab| {
            told(
                lab.store()
                    .changes(b"box", Against::Parent, &mut Watch::default()),
            )
        },
        ..OP
    },
    Op {
        name: "diff-size",
        prepare: |lab| lab.boxed(),
        run: |lab| {
            told(
                lab.store()
                    .diff_size(b"box", Against::Nothing, &mut Watch::default()),
            )
        },
        ..OP
    },
    Op {
        name: "stat",
        prepare: |lab| lab.boxed(),
        run: |lab| said(lab.store().stat(b"box")),
        ..OP
    },
    Op {
        name: "list",
        prepare: |lab| lab.boxed(),
        run: |lab| told(lab.store().list()),
        ..OP
    },
    Op {
        name: "check",
        prepare: |lab| lab.mid(),
        run: |lab| check(lab, CheckFlags::empty()),
        ..OP
    },
    Op {
        name: "repair",
        prepare: |lab| {
            lab.mid();
            fs::remove_file(lab.at("base/child/mid")).unwrap();
            let stage = lab.home().join("stage/left");
            fs::create_dir(&stage).unwrap();
            fs::write(stage.join("f"), "").unwrap();
            fs::create_dir(lab.at("broken")).unwrap();
        },
        run: |lab| check(lab, CheckFlags::REPAIR).map(|_| String::new()),
        damage: &["not whole", "no hint"],
        ..OP
    },
    Op {
        name: "status",
        prepare: |lab| lab.base(),
        // What could not be tried is told as what cannot be done.
        run: |lab| lab.store().status().map(|_| String::new()),
        // Two thousand calls, most of them alike.
        stride: 11,
        ..OP
    },
    Op {
        name: "refused-remove-of-a-parent",
        prepare: |lab| lab.boxed(),
        run: |lab| {
            let removed = lab.remove("base", RemoveFlags::empty());
            refused(Code::HasChildren, removed)
        },
        ..OP
    },
    Op {
        name: "refused-remove-of-a-root-parent",
        prepare: |lab| {
            family(lab);
            lab.remove("box", RemoveFlags::empty()).unwrap();
            lab.remove("mid", RemoveFlags::empty()).unwrap();
        },
        run: |lab| {
            let removed = lab.remove("base", RemoveFlags::empty());
            refused(Code::HasChildren, removed)
        },
        ..OP
    },
    Op {
        name: "refused-remove-without-hints",
        prepare: |lab| {
            family(lab);
            fs::remove_dir_all(lab.at("mid/child")).unwrap();
        },
        run: |lab| {
            let removed = lab.remove("mid", RemoveFlags::empty());
            refused(Code::HasChildren, removed)
        },
        damage: &["missing", "no hint"],
        undo: |lab| {
            let own: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            fs::create_dir(lab.at("mid/child")).unwrap();
            fs::set_permissions(lab.at("mid/child"), own).unwrap();
            fs::write(lab.at("mid/child/box"), "").unwrap();
        },
        ..OP
    },
    Op {
        name: "refused-remove-of-a-damaged-child's-parent",
        prepare: |lab| {
            lab.boxed();
            fs::remove_file(lab.at("box/meta")).unwrap();
        },
        run: |lab| {
            let removed = lab.remove("base", RemoveFlags::empty());
            refused(Code::HasChildren, removed)
        },
        damage: &["damaged"],
        undo: |lab| lab.remove("box", RemoveFlags::empty()).unwrap(),
        ..OP
    },
    Op {
        name: "refused-remove-of-what-is-mounted",
        prepare: |lab| {
            lab.used(RW);
            keep(lab, "box");
        },
        run: |lab| {
            let removed = lab.remove("box", RemoveFlags::empty());
            refused(Code::Mounted, removed)
        },
        ..OP
    },
    Op {
        name: "refused-remove-of-a-view",
        prepare: |lab| {
            lab.mid();
            let kept = MountFlags::KEEP | MountFlags::READ_ONLY;
            drop(lab.mount("mid", kept, None).unwrap());
        },
        run: |lab| {
            let removed = lab.remove("mid", RemoveFlags::empty());
            refused(Code::Mounted, removed)
        },
        ..OP
    },
    Op {
        name: "refused-remove-of-what-is-held",
        prepare: |lab| lab.used(RW),
        enter: |lab| hold(lab, "box", MountFlags::DETACHED),
        run: |lab| {
            let removed = lab.remove("box", RemoveFlags::empty());
            refused(Code::Mounted, removed)
        },
        ..OP
    },
    Op {
        name: "refused-remove-under-a-foreign-overlay",
        prepare: foreign,
        run: |lab| {
            let removed = lab.remove("box", RemoveFlags::empty());
            refused(Code::Mounted, removed)
        },
        undo: end_foreign,
        ..OP
    },
    Op {
        name: "refused-mount-under-a-foreign-overlay",
        prepare: foreign,
        run: |lab| {
            let mounted = lab.mount("box", RW, None);
            refused(Code::Mounted, mounted)
        },
        undo: end_foreign,
        ..OP
    },
    Op {
        name: "refused-commit-of-what-is-mounted",
        prepare: |lab| {
            lab.used(RW);
            keep(lab, "box");
        },
        run: |lab| refused(Code::Mounted, lab.commit("box", Durability::Default)),
        ..OP
    },
    Op {
        name: "refused-create-over-a-mount",
        prepare: |lab| {
            lab.used(RW);
            keep(lab, "box");
        },
        run: |lab| refused(Code::Mounted, lab.create("x", Some("box"), NONE)),
        ..OP
    },
    Op {
        name: "refused-create-of-what-is-damaged",
        prepare: |lab| {
            lab.boxed();
            fs::remove_file(lab.at("box/meta")).unwrap();
        },
        run: |lab| refused(Code::Damaged, lab.create("box", Some("base"), NONE)),
        damage: &["damaged"],
        undo: |lab| lab.remove("box", RemoveFlags::empty()).unwrap(),
        ..OP
    },
    Op {
        name: "refused-writable-mount",
        prepare: |lab| lab.mid(),
        run: |lab| refused(Code::Committed, lab.mount("mid", RW, None)),
        ..OP
    },
    Op {
        name: "copy",
        prepare: |lab| plant(&lab.dir.join("plant")),
        run: |lab| copy(lab, CopyFlags::SYNC),
        again: &[Errno::NOTEMPTY],
        ..OP
    },
    Op {
        name: "copy-links",
        prepare: |lab| plant(&lab.dir.join("plant")),
        run: |lab| copy(lab, CopyFlags::HARD_LINK),
        again: &[Errno::NOTEMPTY],
        ..OP
    },
    Op {
        name: "copy-into",
        prepare: |lab| {
            plant(&lab.dir.join("plant"));
            let to = lab.dir.join("copy");
            fs::create_dir(&to).unwrap();
            xattr::set(&to, "user.own", b"before").unwrap();
        },
        run: |lab| copy(lab, CopyFlags::empty()),
        again: &[Errno::NOTEMPTY],
        in_place: true,
        ..OP
    },
];

/// The operation of a name.
pub fn find(name: &str) -> &'static Op {
    let mut all = all().chain(crate::proof::CARELESS);
    let found = all.find(|op| op.name == name);
    found.unwrap_or_else(|| panic!("there is no operation {name}"))
}
