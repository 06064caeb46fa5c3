//! The oracle's answers, and that it touches nothing.

use super::*;
use crate::mount::oracle::{InUse, self_check, upper_in_use};
use crate::mount::{attach, bind, overlay};
use crate::sys::mount_testing::{Denied, isolated};

fn ask(layers: &Layers) -> InUse {
    upper_in_use(layers.upper.as_fd(), layers.scratch.as_fd(), Marks::Trusted).unwrap()
}

/// Another test may fork a child that holds our descriptors until it execs.
fn assert_soon_free(layers: &Layers) {
    for _ in 0..100 {
        if ask(layers) == InUse::Free {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{:?}", ask(layers));
}

/// All that can be seen of a directory and what is in it: stat (without atime), names, attributes.
fn picture(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut seen = Vec::new();
    for entry in walkdir::WalkDir::new(dir).sort_by_file_name() {
        let entry = entry.unwrap();
        let at = entry.metadata().unwrap();
        let attributes: Vec<_> = xattr::list(entry.path()).unwrap().collect();
        seen.push(format!(
            "{:?} {} {} {} {} {}.{} {}.{} {attributes:?}",
            entry.path(),
            at.ino(),
            at.mode(),
            at.nlink(),
            at.size(),
            at.mtime(),
            at.mtime_nsec(),
            at.ctime(),
            at.ctime_nsec(),
        ));
    }
    seen
}

fn whole_story(layers: &Layers, marks: Marks) {
    assert_eq!(ask(layers), InUse::Free);
    let plan = || Overlay {
        marks,
        ..layers.writable()
    };
    let made = overlay(&plan()).unwrap();
    assert_eq!(ask(layers), InUse::Busy);
    // Asking again does not change the answer, nor does it end the mount.
    assert_eq!(ask(layers), InUse::Busy);
    touch(&made.fd, "made").unwrap();
    drop(made);
    assert_soon_free(layers);
    assert_eq!(ask(layers), InUse::Free);
    // Nor does it hinder the next mount.
    touch(overlay(&plan()).unwrap().fd, "again").unwrap();
}

#[test]
fn busy_while_detached() {
    if lacks_overlay("busy_while_detached") {
        return;
    }
    let layers = Layers::new(2);
    whole_story(&layers, Marks::Trusted);
    whole_story(&layers, Marks::User);
}

#[test]
fn nothing_is_touched() {
    if lacks_overlay("nothing_is_touched") {
        return;
    }
    let mounts = || std::fs::read("/proc/thread-self/mountinfo").unwrap();
    isolated(&[], || {
        let layers = Layers::new(1);
        std::fs::write(layers.base.join("upper/file"), "x").unwrap();
        let seen = || {
            let names = std::fs::read_dir(layers.base.join("scratch")).unwrap();
            let trees = ["upper", "work", "lower"].map(|name| picture(&layers.base.join(name)));
            (trees, names.count(), mounts())
        };
        let before = seen();
        for _ in 0..3 {
            assert_eq!(ask(&layers), InUse::Free);
        }
        assert_eq!(seen(), before);
        let made = overlay(&layers.writable()).unwrap();
        let before = seen();
        assert_eq!(ask(&layers), InUse::Busy);
        assert_eq!(seen(), before);
        drop(made);
    });
}

#[test]
fn busy_from_another_namespace() {
    if lacks_overlay("busy_from_another_namespace") {
        return;
    }
    let layers = Layers::new(2);
    let (mounted, is_mounted) = std::sync::mpsc::channel();
    let (asked, is_asked) = std::sync::mpsc::channel::<()>();
    let there = layers.base.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            isolated(&[], move || {
                // A directory must be of the namespace that mounts it.
                let there = Layers::below(there, 2);
                let made = overlay(&there.writable()).unwrap();
                let merged = open_path(there.base.join("merged"));
                attach(made.fd.as_fd(), merged.as_fd()).unwrap();
                drop(made);
                mounted.send(()).unwrap();
                let _ = is_asked.recv();
            });
        });
        is_mounted.recv().unwrap();
        let seen = std::fs::read_dir(layers.base.join("merged"))
            .unwrap()
            .count();
        let answer = ask(&layers);
        asked.send(()).unwrap();
        assert_eq!(
            (seen, answer),
            (0, InUse::Busy),
            "busy, and not visible here"
        );
    });
    assert_soon_free(&layers);
}

#[test]
fn on_tmpfs() {
    if lacks_overlay("on_tmpfs") {
        return;
    }
    isolated(&[], || {
        let base = tempfile::tempdir().unwrap();
        rustix::mount::mount(
            "tmpfs",
            base.path(),
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            None,
        )
        .unwrap();
        let layers = Layers::below(base.path().to_path_buf(), 2);
        whole_story(&layers, Marks::Trusted);
        drop(layers);
        rustix::mount::unmount(base.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}

#[test]
fn unknown_is_said() {
    if lacks_overlay("unknown_is_said") {
        return;
    }
    let layers = Layers::new(1);
    let read_only = bind(layers.upper.as_fd(), true, None).unwrap();
    let answer = upper_in_use(read_only.as_fd(), layers.scratch.as_fd(), Marks::Trusted).unwrap();
    assert!(
        matches!(&answer, InUse::Unknown(why) if why.contains("read-only")),
        "{answer:?}"
    );
    // Where the upper's mount cannot be cloned, EINVAL would say nothing of the mark.
    isolated(&[], || {
        let held = overlay(&Layers::below(layers.base.clone(), 1).writable()).unwrap();
        let answer = ask(&layers);
        assert!(
            matches!(answer, InUse::Unknown(_)),
            "of another namespace: {answer:?}"
        );
        drop(held);
        let base = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", base.path(), "tmpfs", flags, None).unwrap();
        let unbindable = rustix::mount::MountPropagationFlags::UNBINDABLE;
        rustix::mount::mount_change(base.path(), unbindable).unwrap();
        let scratch = open(layers.base.join("scratch"));
        let answer =
            upper_in_use(open(base.path()).as_fd(), scratch.as_fd(), Marks::Trusted).unwrap();
        assert!(matches!(answer, InUse::Unknown(_)), "{answer:?}");
        rustix::mount::unmount(base.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    });
    isolated(
        &[Denied::all(libc::SYS_fsopen, crate::error::Errno::NOSYS)],
        || {
            let layers = Layers::new(1);
            let answer = ask(&layers);
            assert!(
                matches!(&answer, InUse::Unknown(why) if why.contains("fsopen")),
                "{answer:?}"
            );
        },
    );
}

#[test]
fn checks_itself() {
    if lacks_overlay("checks_itself") {
        return;
    }
    let layers = Layers::new(0);
    let check = || {
        self_check(
            layers.scratch.as_fd(),
            layers.upper.as_fd(),
            layers.work.as_fd(),
            Marks::Trusted,
        )
    };
    check().unwrap();
    // An upper that is held already is not free: the check must see that.
    let lowers = [open(layers.base.join("scratch"))];
    let held = overlay(&Overlay {
        lowers: Lowers::open_already(&lowers),
        ..layers.writable()
    })
    .unwrap();
    assert!(check().unwrap_err().message().contains("before a mount"));
    drop(held);
}

#[test]
fn in_a_user_namespace() {
    if !lacks_overlay("in_a_user_namespace") && !in_user_namespace("oracle::inside_user_namespace")
    {
        skip("in_a_user_namespace", "userns");
    }
}

/// Run by [`in_a_user_namespace`].
#[test]
#[ignore = "for a user namespace"]
fn inside_user_namespace() {
    let layers = Layers::new(2);
    whole_story(&layers, Marks::User);
}
