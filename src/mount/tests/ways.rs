//! Each way to make an overlay, and which failure is told.

use super::*;
use crate::error::{Code, Errno};
use crate::mount::{Api, Detached, overlay};
use crate::sys::mount_testing::{Denied, isolated};

const SET_FD: u32 = 5;

/// fsconfig's second argument is its command.
fn set_fd(errno: Errno) -> Denied {
    Denied {
        call: libc::SYS_fsconfig,
        argument: Some((1, SET_FD)),
        errno,
    }
}

/// Every lower is there, in the right order, and writes go where they must.
fn assert_works(layers: &Layers, made: &Detached, writable: bool) {
    assert_eq!(read(&made.fd, "who"), "0");
    for index in 0..layers.count {
        assert!(exists(&made.fd, &format!("only-{index}")), "{index}");
    }
    if writable {
        touch(&made.fd, "made").unwrap();
        assert!(exists(&layers.upper, "made"));
    } else {
        assert_eq!(touch(&made.fd, "made"), Err(Errno::ROFS));
    }
    let flags = rustix::io::fcntl_getfd(&made.fd).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    layers.assert_scratch_empty();
}

#[test]
fn one_to_five_hundred_lowers() {
    if lacks_overlay("one_to_five_hundred_lowers") {
        return;
    }
    for count in [1, 2, 128, 400, 500] {
        let layers = Layers::new(count);
        let made = overlay(&layers.writable()).unwrap();
        assert_works(&layers, &made, true);
        drop(made);
        if count > 1 {
            assert_works(&layers, &overlay(&layers.view()).unwrap(), false);
        }
    }
}

#[test]
fn too_many_lowers_in_the_kernels_words() {
    if lacks_overlay("too_many_lowers_in_the_kernels_words") {
        return;
    }
    let layers = Layers::new(501);
    let error = overlay(&layers.writable()).unwrap_err();
    assert_eq!(error.errno(), Errno::INVAL);
    assert!(error.message().contains("limit is 500"), "{error}");
    layers.assert_scratch_empty();
}

#[test]
fn a_plan_without_enough_layers() {
    let none = Overlay::new(Lowers::new(0, |_| unreachable!()), Marks::Trusted);
    assert_eq!(overlay(&none).unwrap_err().errno(), Errno::INVAL);
    let one = Overlay::new(Lowers::new(1, |_| unreachable!()), Marks::Trusted);
    let error = overlay(&one).unwrap_err();
    assert!(error.message().contains("bind"), "{error}");
}

#[test]
fn path_descriptors_do() {
    if lacks_overlay("path_descriptors_do") {
        return;
    }
    let layers = Layers::new(3);
    let (upper, work) = (
        open_path(layers.base.join("upper")),
        open_path(layers.base.join("work")),
    );
    let plan = Overlay {
        lowers: Lowers::new(3, |index| {
            Ok(open_path(layers.base.join(format!("lower/{index}"))))
        }),
        upper: Some(Upper {
            upper: upper.as_fd(),
            work: work.as_fd(),
        }),
        ..layers.view()
    };
    assert_works(&layers, &overlay(&plan).unwrap(), true);
}

#[test]
fn read_only_with_an_upper() {
    if lacks_overlay("read_only_with_an_upper") {
        return;
    }
    for denied in [vec![], vec![Denied::all(libc::SYS_fsopen, Errno::NOSYS)]] {
        isolated(&denied, || {
            let layers = Layers::new(1);
            let plan = Overlay {
                read_only: true,
                ..layers.writable()
            };
            let made = overlay(&plan).unwrap();
            assert_works(&layers, &made, false);
        });
    }
}

#[test]
fn falls_back_to_strings() {
    if lacks_overlay("falls_back_to_strings") {
        return;
    }
    for errno in [Errno::INVAL, Errno::BADF] {
        isolated(&[set_fd(errno)], || {
            for count in [1, 2, 400] {
                let layers = Layers::new(count);
                let made = overlay(&layers.writable()).unwrap();
                assert_eq!(made.api, Api::Strings);
                assert_works(&layers, &made, true);
            }
        });
    }
}

#[test]
fn falls_back_to_mount() {
    if lacks_overlay("falls_back_to_mount") {
        return;
    }
    for denied in [
        Denied::all(libc::SYS_fsopen, Errno::NOSYS),
        Denied::all(libc::SYS_fsopen, Errno::PERM),
        Denied::all(libc::SYS_fsconfig, Errno::NOSYS),
        // Linux 5.10 to 6.4.
        set_fd(Errno::OPNOTSUPP),
    ] {
        isolated(&[denied], || {
            let before = std::fs::read("/proc/thread-self/mountinfo").unwrap();
            for count in [1, 2, 128, 200] {
                let layers = Layers::new(count);
                let made = overlay(&layers.writable()).unwrap();
                assert_eq!(made.api, Api::Legacy);
                assert_works(&layers, &made, true);
            }
            let after = std::fs::read("/proc/thread-self/mountinfo").unwrap();
            assert_eq!(before, after);
        });
    }
}

#[test]
fn mount_cannot_say_everything() {
    if lacks_overlay("mount_cannot_say_everything") {
        return;
    }
    isolated(&[Denied::all(libc::SYS_fsopen, Errno::NOSYS)], || {
        let layers = Layers::new(201);
        let error = overlay(&layers.writable()).unwrap_err();
        assert_eq!(error.errno(), Errno::OPNOTSUPP);
        assert_eq!(error.code(), Code::Unsupported);
        assert!(error.message().contains("Linux 6.7"), "{error}");
        assert!(error.message().contains("fsopen"), "{error}");

        let layers = Layers::new(2);
        let plan = Overlay {
            scratch: None,
            ..layers.writable()
        };
        let error = overlay(&plan).unwrap_err();
        assert_eq!(error.errno(), Errno::OPNOTSUPP);
        assert!(error.message().contains("scratch"), "{error}");
    });
}

#[test]
fn nobody_may_mount() {
    if lacks_overlay("nobody_may_mount") {
        return;
    }
    let denied = [
        Denied::all(libc::SYS_fsopen, Errno::PERM),
        Denied::all(libc::SYS_mount, Errno::PERM),
    ];
    isolated(&denied, || {
        let layers = Layers::new(2);
        let error = overlay(&layers.writable()).unwrap_err();
        assert_eq!(error.errno(), Errno::PERM);
        layers.assert_scratch_empty();
        let plan = Overlay {
            scratch: None,
            ..layers.writable()
        };
        assert_eq!(overlay(&plan).unwrap_err().errno(), Errno::PERM);
    });
}

/// A real failure is told as it is, though older ways could be tried.
#[test]
fn a_real_failure_is_not_explained_away() {
    if lacks_overlay("a_real_failure_is_not_explained_away") {
        return;
    }
    let layers = Layers::new(2);
    let proc = open("/proc");
    let plan = Overlay {
        upper: Some(Upper {
            upper: proc.as_fd(),
            work: layers.work.as_fd(),
        }),
        ..layers.writable()
    };
    let error = overlay(&plan).unwrap_err();
    assert_eq!(error.errno(), Errno::INVAL);
    assert!(error.message().contains("fsconfig"), "{error}");
    assert!(!error.message().contains("mount(2)"), "{error}");

    // A lower that is no directory, and the first one at that.
    let file = layers.base.join("file");
    std::fs::write(&file, "").unwrap();
    for denied in [vec![], vec![set_fd(Errno::INVAL)]] {
        isolated(&denied, || {
            let plan = Overlay {
                lowers: Lowers::new(2, |_| Ok(std::fs::File::open(&file).unwrap().into())),
                ..layers.view()
            };
            let error = overlay(&plan).unwrap_err();
            assert!(matches!(error.errno(), Errno::INVAL | Errno::NOTDIR));
            assert!(error.message().contains("fsconfig(lowerdir+"), "{error}");
            assert!(error.message().contains("not a directory"), "{error}");
        });
    }
    layers.assert_scratch_empty();
}

#[test]
fn a_lower_that_cannot_be_opened() {
    let plan = Overlay::new(
        Lowers::new(2, |index| {
            Err(crate::error::Error::sys(Errno::NOENT, "open").at(format!("{index}")))
        }),
        Marks::Trusted,
    );
    if lacks_overlay("a_lower_that_cannot_be_opened") {
        return;
    }
    let error = overlay(&plan).unwrap_err();
    assert_eq!((error.errno(), error.path()), (Errno::NOENT, &b"0"[..]));
}

#[test]
fn any_bytes_in_paths() {
    if lacks_overlay("any_bytes_in_paths") {
        return;
    }
    use std::os::unix::ffi::OsStrExt;
    let odd: &[u8] = b"a:b,c\\d\ne\"f g=\xff";
    for denied in [
        vec![],
        vec![set_fd(Errno::INVAL)],
        vec![Denied::all(libc::SYS_fsopen, Errno::NOSYS)],
    ] {
        isolated(&denied, || {
            let base = tempfile::tempdir().unwrap();
            let home = base.path().join(std::ffi::OsStr::from_bytes(odd));
            let layers = Layers::below(home, 3);
            assert_works(&layers, &overlay(&layers.writable()).unwrap(), true);
        });
    }
}

#[test]
fn a_label_without_selinux() {
    if lacks_overlay("a_label_without_selinux") {
        return;
    }
    if Path::new("/sys/fs/selinux/enforce").exists() {
        return skip("a_label_without_selinux", "a kernel without SELinux");
    }
    let layers = Layers::new(2);
    let labelled = || Overlay {
        label: Some(b"system_u:object_r:container_file_t:s0:c1,c2".to_vec()),
        ..layers.writable()
    };
    let error = overlay(&labelled()).unwrap_err();
    assert_eq!(error.errno(), Errno::INVAL);
    assert!(
        error.message().contains("Unknown parameter 'context'"),
        "{error}"
    );
    isolated(&[Denied::all(libc::SYS_fsopen, Errno::NOSYS)], || {
        let error = overlay(&labelled()).unwrap_err();
        assert_eq!(error.errno(), Errno::INVAL);
        assert!(error.message().contains("system log"), "{error}");
        layers.assert_scratch_empty();
        let plan = Overlay {
            label: Some(b"\",upperdir=/".to_vec()),
            ..layers.writable()
        };
        let error = overlay(&plan).unwrap_err();
        assert!(error.message().contains("label"), "{error}");
    });
}

#[test]
fn the_mount_says_what_it_is() {
    if lacks_overlay("the_mount_says_what_it_is") {
        return;
    }
    for denied in [vec![], vec![Denied::all(libc::SYS_fsopen, Errno::NOSYS)]] {
        isolated(&denied, || {
            let layers = Layers::new(2);
            let plan = Overlay {
                source: b"my source".to_vec(),
                volatile: true,
                marks: Marks::User,
                ..layers.writable()
            };
            let made = overlay(&plan).unwrap();
            let merged = open_path(layers.base.join("merged"));
            crate::mount::attach(made.fd.as_fd(), merged.as_fd()).unwrap();
            let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            let line = table.lines().last().unwrap();
            assert!(line.contains(" overlay my\\040source "), "{line}");
            for option in ["redirect_dir=nofollow", "userxattr", "volatile"] {
                assert!(line.contains(option), "{option}: {line}");
            }
            for on in ["index=on", "metacopy=on", "nfs_export=on", "xino=on"] {
                assert!(!line.contains(on), "{line}");
            }
        });
    }
}

/// A mount can only be made of directories that were opened in the caller's mount namespace.
#[test]
fn directories_of_another_namespace() {
    if lacks_overlay("directories_of_another_namespace") {
        return;
    }
    let layers = Layers::new(2);
    let lowers = [
        open(layers.base.join("lower/0")),
        open(layers.base.join("lower/1")),
    ];
    isolated(&[], || {
        let plan = Overlay::new(Lowers::open_already(&lowers), Marks::Trusted);
        let error = overlay(&plan).unwrap_err();
        assert_eq!(error.errno(), Errno::INVAL);
        assert!(error.message().contains("system log"), "{error}");
    });
}
