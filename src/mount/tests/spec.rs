//! The plan as strings.

use super::*;
use crate::error::Errno;
use crate::mount::spec::{OverlayPaths, Spec, bind, overlay};
use crate::sys::mount_testing::isolated;

fn paths<'a>(lowers: &'a [&'a [u8]], upper: Option<(&'a [u8], &'a [u8])>) -> OverlayPaths<'a> {
    OverlayPaths {
        lowers,
        upper,
        marks: Marks::Trusted,
        read_only: false,
        volatile: false,
        label: None,
        long: false,
    }
}

fn options(spec: &Spec) -> String {
    String::from_utf8(spec.options.join(&b',')).unwrap()
}

#[test]
fn the_classic_form() {
    let spec = overlay(&paths(&[b"/s/b", b"/s/a"], Some((b"/s/u", b"/s/w")))).unwrap();
    assert_eq!(
        (spec.fs_type, spec.source.as_slice()),
        ("overlay", &b"overlay"[..])
    );
    assert_eq!(
        options(&spec),
        "lowerdir=/s/b:/s/a,upperdir=/s/u,workdir=/s/w,index=off,metacopy=off,redirect_dir=nofollow,xino=off,nfs_export=off"
    );
    let spec = overlay(&OverlayPaths {
        marks: Marks::User,
        volatile: true,
        read_only: true,
        label: Some(b"u:r:t:s0:c1,c2"),
        ..paths(&[b"/a"], Some((b"/u", b"/w")))
    })
    .unwrap();
    assert!(options(&spec).ends_with(",userxattr,volatile,context=\"u:r:t:s0:c1,c2\",ro"));
    let view = overlay(&paths(&[b"/b", b"/a"], None)).unwrap();
    assert!(options(&view).ends_with("nfs_export=off,ro"));
}

#[test]
fn single_directories_are_binds() {
    let spec = overlay(&paths(&[b"/only: one"], None)).unwrap();
    assert_eq!(
        (spec.fs_type, options(&spec).as_str()),
        ("bind", "rbind,ro")
    );
    assert_eq!(spec.source, b"/only: one");
    assert_eq!(options(&bind(b"/root", false).unwrap()), "rbind,rw");
    assert!(overlay(&paths(&[], None)).is_err());
    assert!(bind(b"relative", true).is_err());
    let labelled = OverlayPaths {
        label: Some(b"x"),
        ..paths(&[b"/a"], None)
    };
    assert!(overlay(&labelled).is_err());
}

#[test]
fn what_cannot_be_said() {
    for bad in [&b"/a:b"[..], b"/a,b", b"/a\\b", b"/a\0b", b"a", b""] {
        for plan in [
            paths(&[b"/ok", bad], None),
            paths(&[b"/ok"], Some((bad, b"/w"))),
            paths(&[b"/ok"], Some((b"/u", bad))),
        ] {
            assert_eq!(overlay(&plan).unwrap_err().errno(), Errno::INVAL);
        }
    }
    // One page and not a byte more: the rest of the options is measured first.
    let rest = options(&overlay(&paths(&[b"/x", b"/y"], None)).unwrap()).len() - 4;
    let fits = [b"/".to_vec(), vec![b'p'; 4095 - rest - 3]].concat();
    assert!(overlay(&paths(&[&fits, b"/y"], None)).is_ok());
    let long = [fits.as_slice(), b"p"].concat();
    let error = overlay(&paths(&[&long, b"/y"], None)).unwrap_err();
    assert_eq!(error.errno(), Errno::INVAL);
    assert!(error.message().contains("4096 bytes"), "{error}");
    let spec = overlay(&OverlayPaths {
        long: true,
        ..paths(&[&long, b"/y"], None)
    });
    assert_eq!(options(&spec.unwrap()).len(), 4096);
}

#[test]
fn the_oci_entry() {
    let spec = overlay(&paths(&["/a \"é\"\n".as_bytes(), b"/b"], None)).unwrap();
    assert_eq!(
        spec.to_oci_json(b"/").unwrap(),
        "{\"destination\":\"/\",\"type\":\"overlay\",\"source\":\"overlay\",\"options\":[\
         \"lowerdir=/a \\\"é\\\"\\u000a:/b\",\"index=off\",\"metacopy=off\",\
         \"redirect_dir=nofollow\",\"xino=off\",\"nfs_export=off\",\"ro\"]}"
    );
    assert_eq!(
        bind(b"/r\\", true).unwrap().to_oci_json(b"/m").unwrap(),
        "{\"destination\":\"/m\",\"type\":\"bind\",\"source\":\"/r\\\\\",\"options\":[\"rbind\",\"ro\"]}"
    );
    assert!(bind(b"/\xff", true).unwrap().to_oci_json(b"/").is_err());
    assert!(spec.to_oci_json(b"\xff").is_err());
}

/// What it says, mount(2) takes.
#[test]
fn the_kernel_takes_it() {
    if lacks_overlay("the_kernel_takes_it") {
        return;
    }
    isolated(&[], || {
        use std::os::unix::ffi::OsStrExt;
        let layers = Layers::new(3);
        let path = |name: &str| layers.base.join(name).as_os_str().as_bytes().to_vec();
        let lowers = [path("lower/0"), path("lower/1"), path("lower/2")];
        let lowers: Vec<&[u8]> = lowers.iter().map(Vec::as_slice).collect();
        let (upper, work) = (path("upper"), path("work"));
        let spec = overlay(&OverlayPaths {
            volatile: true,
            ..paths(&lowers, Some((&upper, &work)))
        })
        .unwrap();
        nix::mount::mount(
            Some(spec.source.as_slice()),
            &layers.base.join("merged"),
            Some(spec.fs_type),
            nix::mount::MsFlags::empty(),
            Some(spec.options.join(&b',').as_slice()),
        )
        .unwrap();
        assert!(layers.base.join("merged/only-2").exists());
        touch(open(layers.base.join("merged")), "made").unwrap();
        assert!(exists(&layers.upper, "made"));
    });
}
