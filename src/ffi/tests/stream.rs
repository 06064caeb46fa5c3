use super::*;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;
use std::time::Duration;

fn pipe(flags: c_int) -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: two ints of ours; the descriptors are new and owned by nobody else.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | flags), 0);
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    }
}

fn read_from<'a>(fd: &'a OwnedFd, cancel: Option<&'a Cancel>) -> Box<dyn Source + 'a> {
    // SAFETY: the descriptor is open for `'a`; no callback.
    unsafe { source(fd.as_raw_fd(), None, null_mut(), cancel) }.unwrap()
}

fn write_to<'a>(fd: &'a OwnedFd, cancel: Option<&'a Cancel>) -> Box<dyn Sink + 'a> {
    // SAFETY: as above.
    unsafe { sink(fd.as_raw_fd(), None, null_mut(), cancel) }.unwrap()
}

unsafe extern "C" fn says(user: *mut c_void, _: *mut c_void, _: usize) -> i64 {
    // SAFETY: the tests give a number of theirs.
    unsafe { *user.cast::<i64>() }
}

unsafe extern "C" fn takes(user: *mut c_void, _: *const c_void, _: usize) -> i64 {
    // SAFETY: as above.
    unsafe { *user.cast::<i64>() }
}

fn read_callback(mut said: i64) -> Result<usize> {
    // SAFETY: the callback and its number.
    let mut source = unsafe { source(-1, Some(says), (&raw mut said).cast(), None) }.unwrap();
    source.read(&mut [0; 8])
}

fn write_callback(mut said: i64) -> Result<()> {
    // SAFETY: the callback and its number.
    let mut sink = unsafe { sink(-1, Some(takes), (&raw mut said).cast(), None) }.unwrap();
    sink.write_all(&[0; 8])
}

#[test]
fn one_of_both() {
    let closed = 1_000_000;
    for (fd, callback, errno) in [
        (-1, false, Errno::INVAL),
        (0, true, Errno::INVAL),
        (-2, false, Errno::BADF),
        (-100, false, Errno::BADF),
        (i32::MIN, false, Errno::BADF),
        (closed, false, Errno::BADF),
    ] {
        // SAFETY: none of these is used.
        unsafe {
            let read: ovl_read_fn = if callback { Some(says) } else { None };
            let error = source(fd, read, null_mut(), None).err().unwrap();
            assert_eq!(error.errno(), errno, "{fd}");
            let write: ovl_write_fn = if callback { Some(takes) } else { None };
            let error = sink(fd, write, null_mut(), None).err().unwrap();
            assert_eq!(error.errno(), errno, "{fd}");
        }
    }
}

#[test]
fn what_a_callback_says() {
    assert_eq!(read_callback(0).unwrap(), 0);
    assert_eq!(read_callback(8).unwrap(), 8);
    assert!(write_callback(8).is_ok());
    assert!(
        write_callback(3).is_err(),
        "three, three, then three of two"
    );
    assert!(write_callback(2).is_ok());
    for said in [9, i64::MAX] {
        assert_eq!(read_callback(said).unwrap_err().errno(), Errno::IO);
        assert_eq!(write_callback(said).unwrap_err().errno(), Errno::IO);
    }
    assert_eq!(write_callback(0).unwrap_err().errno(), Errno::IO);
    for (said, errno, kept) in [
        (-i64::from(libc::EPERM), Errno::PERM, -libc::EPERM),
        (-5000, Errno::IO, -5000),
        (i64::MIN, Errno::IO, i32::MIN),
    ] {
        for error in [
            read_callback(said).unwrap_err(),
            write_callback(said).unwrap_err(),
        ] {
            assert_eq!(error.errno(), errno);
            assert_eq!(error.code(), Code::Callback);
            assert_eq!(error.said_by_callback(), kept);
        }
    }
}

#[test]
fn bytes_go_through_pipes_of_either_mode() {
    let data: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    for flags in [0, libc::O_NONBLOCK] {
        for cancel in [None, Some(Cancel::new())] {
            let (read_end, write_end) = pipe(flags);
            let mut got = Vec::new();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    write_to(&write_end, cancel.as_ref())
                        .write_all(&data)
                        .unwrap();
                });
                let mut source = read_from(&read_end, cancel.as_ref());
                let mut buf = [0; 9000];
                while got.len() < data.len() {
                    let n = source.read(&mut buf).unwrap();
                    assert!(n > 0);
                    got.extend_from_slice(&buf[..n]);
                }
            });
            drop(write_end);
            assert!(got == data);
            assert_eq!(read_from(&read_end, None).read(&mut [0; 8]).unwrap(), 0);
        }
    }
}

#[test]
fn a_wait_can_be_cancelled() {
    let (read_end, write_end) = pipe(0);
    let cancel = Cancel::new();
    let room = vec![0; 1 << 20];
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_from(&read_end, Some(&cancel)).read(&mut [0; 8]));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!reader.is_finished());
        cancel.trigger();
        assert_eq!(reader.join().unwrap().unwrap_err().errno(), Errno::CANCELED);
    });
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_to(&write_end, Some(&cancel)).write_all(&room));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!writer.is_finished());
        cancel.trigger();
        assert_eq!(writer.join().unwrap().unwrap_err().errno(), Errno::CANCELED);
    });
}

#[test]
fn the_wrong_end_is_refused() {
    let (read_end, write_end) = pipe(0);
    let error = read_from(&write_end, None).read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.errno(), Errno::BADF);
    let error = write_to(&read_end, None).write_all(b"x").unwrap_err();
    assert_eq!(error.errno(), Errno::BADF);
}

#[test]
fn a_file_is_read_from_where_it_stands() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(4)).unwrap();
    let fd = OwnedFd::from(file);
    let mut buf = [0; 16];
    assert_eq!(read_from(&fd, None).read(&mut buf).unwrap(), 6);
    assert_eq!(&buf[..6], b"456789");
}

/// A socket of messages takes no message that is longer than its buffer.
#[test]
fn bytes_go_through_sockets_of_messages() {
    let data: Vec<u8> = (0..1_500_000_u32).map(|n| (n % 251) as u8).collect();
    for cancel in [None, Some(Cancel::new())] {
        let mut ends = [0; 2];
        // SAFETY: two ints of ours; the descriptors are new and owned by nobody else.
        let (read_end, write_end) = unsafe {
            let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
            assert_eq!(
                libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()),
                0
            );
            (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
        };
        let mut got = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                write_to(&write_end, cancel.as_ref())
                    .write_all(&data)
                    .unwrap()
            });
            let mut buf = vec![0; 1 << 20];
            while got.len() < data.len() {
                let n = rustix::io::read(&read_end, &mut buf).unwrap();
                got.extend_from_slice(&buf[..n]);
            }
        });
        assert!(got == data);
    }
}
