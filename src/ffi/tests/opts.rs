use super::*;
use std::ptr::null;

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Sample {
    flags: u64,
    number: u32,
    reserved: u32,
}

// SAFETY: integers.
unsafe impl Plain for Sample {}

/// Reads the options from `bytes`, which begin at an odd address.
fn read_bytes(bytes: &[u8]) -> Result<Sample> {
    let mut room = vec![0xff_u8; bytes.len() + 17];
    let start = 1 + room.as_ptr() as usize % 2;
    room[start..start + bytes.len()].copy_from_slice(bytes);
    // SAFETY: that many bytes are there.
    unsafe { read(room[start..].as_ptr().cast::<Sample>(), bytes.len()) }
}

const WHOLE: [u8; 16] = [1, 0, 0, 0, 0, 0, 0, 2, 3, 0, 0, 4, 5, 0, 0, 6];

#[test]
fn null_is_the_defaults() {
    // SAFETY: NULL is allowed.
    let sample: Sample = unsafe { read(null(), 0) }.unwrap();
    assert_eq!((sample.flags, sample.number), (0, 0));
    // SAFETY: as above.
    let error = unsafe { read::<Sample>(null(), 8) }.unwrap_err();
    assert_eq!(error.errno(), Errno::INVAL);
}

#[test]
fn every_shorter_size_is_filled_with_zeroes() {
    for size in 0..=WHOLE.len() {
        let mut expected = [0; 16];
        expected[..size].copy_from_slice(&WHOLE[..size]);
        let sample = read_bytes(&WHOLE[..size]).unwrap();
        let mut got = [0; 16];
        got[..8].copy_from_slice(&sample.flags.to_ne_bytes());
        got[8..12].copy_from_slice(&sample.number.to_ne_bytes());
        got[12..].copy_from_slice(&sample.reserved.to_ne_bytes());
        assert_eq!(got, expected, "{size}");
    }
}

#[test]
fn a_longer_tail_must_be_zero() {
    for tail in [1, 7, 100, LARGEST - 16] {
        let mut bytes = WHOLE.to_vec();
        bytes.resize(16 + tail, 0);
        assert_eq!(read_bytes(&bytes).unwrap().reserved, 0x0600_0005);
        for at in [16, 15 + tail] {
            bytes[at] = 1;
            assert_eq!(read_bytes(&bytes).unwrap_err().errno(), Errno::TOOBIG);
            bytes[at] = 0;
        }
    }
}

#[test]
fn a_size_beyond_reason_is_not_read() {
    // SAFETY: the size is refused before the bytes are looked at.
    let error = unsafe { read::<Sample>(WHOLE.as_ptr().cast(), usize::MAX) }.unwrap_err();
    assert_eq!(error.errno(), Errno::TOOBIG);
}

#[test]
fn results_fit_every_size() {
    let sample = Sample {
        flags: 0x0102_0304_0506_0708,
        number: 0x1112_1314,
        reserved: 0x2122_2324,
    };
    for size in 0..40 {
        let mut room = [0xee_u8; 42];
        // SAFETY: that many bytes are there.
        unsafe { write(room[1..].as_mut_ptr().cast::<Sample>(), size, &sample) };
        let mut expected = [0xee; 42];
        expected[1..=size].fill(0);
        let mut whole = sample.flags.to_ne_bytes().to_vec();
        whole.extend(sample.number.to_ne_bytes());
        whole.extend(sample.reserved.to_ne_bytes());
        let both = size.min(16);
        expected[1..=both].copy_from_slice(&whole[..both]);
        assert_eq!(room, expected, "{size}");
    }
    // SAFETY: NULL is allowed, whatever the size.
    unsafe { write(std::ptr::null_mut(), 64, &sample) };
}

#[test]
fn unknown_flags_are_refused() {
    use crate::tree::CopyFlags;
    assert_eq!(flags::<CopyFlags>(3).unwrap().bits(), 3);
    assert_eq!(flags::<CopyFlags>(0).unwrap(), CopyFlags::empty());
    let error = flags::<CopyFlags>(1 << 63 | 1).unwrap_err();
    assert_eq!(error.errno(), Errno::INVAL);
    assert_eq!(error.message(), "unknown flags 0x8000000000000000");
    assert!(reserved(0_u32).is_ok());
    assert_eq!(reserved(1_u64).unwrap_err().errno(), Errno::INVAL);
}
