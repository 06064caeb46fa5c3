//! Streams, callbacks, progress, and ways to stop.

use crate::api::*;
use crate::tar::Tar;
use crate::world::*;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

fn crowd(path: &Path) {
    for at in 0..300 {
        put(path.join(format!("file{at}")), "x");
    }
}

/// A tar through a file, from where it stands; through a socket; through a callback: the same layer,
/// and the same tar again.
pub fn streams_are_alike<A: Api>(w: &World<'_, A>) {
    let bytes = Tar::new().dir("dir/").file("dir/file", "data").bytes();
    let wanted = w.apply("callback", &bytes, Apply::default()).unwrap();
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(w.base.join("tar"))
        .unwrap();
    file.write_all(b"before").unwrap();
    file.write_all(&bytes).unwrap();
    file.seek(std::io::SeekFrom::Start(6)).unwrap();
    let (reader, writer) = UnixStream::pair().unwrap();
    let apply = |id: &str, from| A::apply(&w.store, id, from, &Apply::default(), calm());
    let infos = std::thread::scope(|scope| {
        let bytes = &bytes;
        scope.spawn(move || (&writer).write_all(bytes).unwrap());
        [
            apply("file", Input::Fd(file.as_fd())).unwrap(),
            apply("socket", Input::Fd(reader.as_fd())).unwrap(),
        ]
    });
    // The descriptor is the caller's, and stands at the end.
    assert_eq!(file.stream_position().unwrap(), 6 + bytes.len() as u64);
    for info in &infos {
        assert_eq!(info.diff_id, wanted.diff_id);
        let about = (info.entries, info.size, info.tar_size);
        assert_eq!(about, (2, 4, bytes.len() as u64));
    }
    let (through_callback, told) = w.diff("socket");
    let out = File::create(w.base.join("out")).unwrap();
    let to = Output::Fd(out.as_fd());
    let info = A::diff(
        &w.store,
        "file",
        Against::Parent,
        to,
        &Diff::default(),
        calm(),
    )
    .unwrap();
    assert_eq!(std::fs::read(w.base.join("out")).unwrap(), through_callback);
    assert_eq!(info.diff_id, told.diff_id);
}

/// What a callback says ends the call, and comes back.
pub fn callbacks_may_fail<A: Api>(w: &World<'_, A>) {
    w.make("box", None, crowd);
    let bytes = Tar::new().file("file", "x".repeat(100_000)).bytes();
    let mut left = 2;
    let mut read = |buf: &mut [u8]| {
        left -= 1;
        if left == 0 {
            return Err(libc::ENETDOWN);
        }
        let n = buf.len().min(1024);
        buf[..n].copy_from_slice(&bytes[..n]);
        Ok(n)
    };
    let from = Input::Read(&mut read);
    let done = A::apply(&w.store, "new", from, &Apply::default(), calm());
    let failure = done.unwrap_err();
    let is = (failure.errno, failure.code, failure.said);
    assert_eq!(is, (libc::ENETDOWN, 24, -libc::ENETDOWN), "{failure:?}");
    assert!(!A::exists(&w.store, "new").unwrap());
    let mut write = |_: &[u8]| Err(libc::EDQUOT);
    let to = Output::Write(&mut write);
    let done = A::diff(
        &w.store,
        "box",
        Against::Parent,
        to,
        &Diff::default(),
        calm(),
    );
    let failure = done.unwrap_err();
    let is = (failure.errno, failure.code, failure.said);
    assert_eq!(is, (libc::EDQUOT, 24, -libc::EDQUOT), "{failure:?}");
    w.assert_clean();
}

/// Each long call, by name.
fn long_calls<A: Api>(
    w: &World<'_, A>,
    mut watch: impl FnMut(&str, &dyn Fn(Control<'_, A>) -> Done<()>),
) {
    let store = &w.store;
    let from = w.dir("from");
    crowd(&from);
    let mut tar = Tar::new();
    for at in 0..300 {
        tar = tar.file(&format!("file{at}"), "x");
    }
    let bytes = tar.bytes();
    let how = Create::default();
    watch("create", &|c| {
        A::create(store, "copy", Some("init"), how, c)
    });
    watch(A::NAMES.apply, &|c| {
        let mut rest = &bytes[..];
        let mut read = |buf: &mut [u8]| {
            let n = rest.len().min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            Ok(n)
        };
        A::apply(store, "tar", Input::Read(&mut read), &Apply::default(), c).map(drop)
    });
    watch("commit", &|c| {
        A::commit(store, "init", Durability::Verified, c)
    });
    watch("diff", &|c| {
        let mut all = |buf: &[u8]| Ok(buf.len());
        let to = Output::Write(&mut all);
        A::diff(store, "init", Against::Parent, to, &Diff::default(), c).map(drop)
    });
    watch("changes", &|c| {
        A::changes(store, "init", Against::Parent, c).map(drop)
    });
    watch("diff_size", &|c| {
        A::diff_size(store, "init", Against::Nothing, c).map(drop)
    });
    watch("copy_dir", &|c| {
        let (from, to) = ((None, &*from), (None, &*w.base.join("to")));
        A::copy_dir(from, to, &Copying::default(), c).map(drop)
    });
    watch("check", &|c| A::check(store, false, c).map(drop));
}

/// ECANCELED by a flag that is up: nothing was done.
pub fn cancelled<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |_| {});
    w.make("init", Some("base"), crowd);
    let cancel = A::cancel();
    A::trigger(&cancel);
    long_calls(w, |op, call| {
        let control = Control {
            cancel: Some(&cancel),
            progress: None,
        };
        let failure = call(control).expect_err(op);
        let is = (failure.errno, failure.code, failure.operation.as_str());
        assert_eq!(is, (libc::ECANCELED, 16, op), "{failure:?}");
        assert_eq!(failure.said, 0);
    });
    assert_eq!(w.list(), ["base", "init"]);
    assert!(!w.stat("init").committed);
    assert!(!there(w.base.join("to")));
    w.assert_clean();
}

/// ECANCELED too where there is hardly anything to do.
pub fn cancelled_before_it_began<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |_| {});
    w.create("box", None).unwrap();
    let cancel = A::cancel();
    A::trigger(&cancel);
    let raised = || Control {
        cancel: Some(&cancel),
        progress: None,
    };
    let told = |done: Done<()>, op, path| fails(done, libc::ECANCELED, 16, op, path);
    let store = &w.store;
    let create = |id, parent| A::create(store, id, parent, Create::default(), raised());
    told(create("new", None), "create", "new");
    told(create("new", Some("base")), "create", "new");
    let commit = A::commit(store, "box", Durability::Default, raised());
    told(commit, "commit", "box");
    told(A::remove(store, "box", false, raised()), "remove", "box");
    let mut none = |_: &mut [u8]| Ok(0);
    let from = Input::Read(&mut none);
    let apply = A::apply(store, "new", from, &Apply::default(), raised());
    told(apply.map(drop), A::NAMES.apply, "new");
    let mut all = |buf: &[u8]| Ok(buf.len());
    let to = Output::Write(&mut all);
    let diff = A::diff(
        store,
        "base",
        Against::Parent,
        to,
        &Diff::default(),
        raised(),
    );
    told(diff.map(drop), "diff", "base");
    let changes = A::changes(store, "base", Against::Parent, raised());
    told(changes.map(drop), "changes", "base");
    let size = A::diff_size(store, "base", Against::Parent, raised());
    told(size.map(drop), "diff_size", "base");
    let home = w.home().display().to_string();
    told(A::cleanup(store, 0, raised()).map(drop), "cleanup", &home);
    told(A::check(store, false, raised()).map(drop), "check", &home);
    let (from, to) = (w.dir("from"), w.base.join("to"));
    let copy = A::copy_dir((None, &from), (None, &to), &Copying::default(), raised());
    told(copy.map(drop), "copy_dir", "");
    assert_eq!(w.list(), ["base", "box"]);
    assert!(!w.stat("box").committed && !there(&to));
}

/// ECANCELED by a progress callback, which is told what it said; then each call again, which tells
/// of growing numbers and is done.
pub fn progress_may_stop<A: Api>(w: &World<'_, A>) {
    w.layer("base", None, |_| {});
    w.make("init", Some("base"), crowd);
    long_calls(w, |op, call| {
        let mut told = 0;
        let mut stop = |_: Progress| {
            told += 1;
            42
        };
        let control = Control {
            cancel: None,
            progress: Some(&mut stop),
        };
        let failure = call(control).expect_err(op);
        let is = (failure.errno, failure.code, failure.operation.as_str());
        assert_eq!(is, (libc::ECANCELED, 16, op), "{failure:?}");
        assert_eq!((failure.said, told), (42, 1), "{op}");
        let mut seen = vec![(0, 0)];
        let mut look = |now: Progress| {
            seen.push(now);
            0
        };
        let control = Control {
            cancel: None,
            progress: Some(&mut look),
        };
        call(control).expect(op);
        assert!(seen.len() > 1, "{op}");
        assert!(
            seen.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1),
            "{op}: {seen:?}"
        );
    });
    assert_eq!(w.list(), ["base", "copy", "init", "tar"]);
    assert!(w.stat("init").committed);
}

/// A flag raised by another thread while the call waits for bytes.
pub fn cancelled_from_elsewhere<A: Api>(w: &World<'_, A>) {
    let cancel = A::cancel();
    let bytes = Tar::new().file("file", "x".repeat(1 << 16)).bytes();
    let mut at = 0;
    // A tar without an end, so that nothing but the flag ends the call.
    let mut read = |buf: &mut [u8]| {
        let n = buf.len().min(bytes.len() - 1024 - at);
        buf[..n].copy_from_slice(&bytes[at..at + n]);
        at = (at + n) % (bytes.len() - 1024);
        if at == 0 {
            std::thread::scope(|scope| {
                scope.spawn(|| A::trigger(&cancel));
            });
        }
        Ok(n)
    };
    let from = Input::Read(&mut read);
    let control = Control {
        cancel: Some(&cancel),
        progress: None,
    };
    let done = A::apply(&w.store, "new", from, &Apply::default(), control);
    assert_eq!(done.unwrap_err().errno, libc::ECANCELED);
    assert_eq!(w.list(), [""; 0]);
    w.assert_clean();
}
