//! Structs across the boundary: options in, results out.
//!
//! A caller may be older or newer than the library, so a struct comes with the size that the
//! caller knows. Options follow the rule of openat2(2): what a shorter struct lacks is zero, which
//! always means the default; what a longer one has beyond ours must be zero, else it asks for
//! something that this library cannot do, and is refused. Results go the other way and never fail.

use crate::error::{Code, Errno, Error, Result};
use std::fmt::Debug;
use std::mem::MaybeUninit;

/// No option struct is longer, ever; a size beyond is a caller's mistake, and reading it would run
/// off the caller's memory.
const LARGEST: usize = 4096;

/// A struct that C and Rust share.
///
/// # Safety
/// `repr(C)`, and every pattern of bytes that C can write is a value: integers, pointers, and
/// function pointers in an `Option`.
pub(super) unsafe trait Plain: Copy {}

/// The caller's options in our size.
///
/// # Safety
/// `from` is NULL or readable for `size` bytes; it need not be aligned.
pub(super) unsafe fn read<T: Plain>(from: *const T, size: usize) -> Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    if from.is_null() {
        if size != 0 {
            return Err(Error::invalid(
                "the options are NULL, but their size is not 0",
            ));
        }
        // SAFETY: zeroes are a value of a `Plain`.
        return Ok(unsafe { value.assume_init() });
    }
    if size > LARGEST {
        return Err(too_big(format!("options of {size} bytes")));
    }
    let ours = size_of::<T>();
    // SAFETY: `size` bytes at `from` are readable; `value` has room for `ours`; they are apart,
    // since `value` is a local of this function.
    unsafe {
        from.cast::<u8>()
            .copy_to_nonoverlapping(value.as_mut_ptr().cast(), size.min(ours));
    }
    for at in ours..size {
        // SAFETY: below `size`.
        if unsafe { from.cast::<u8>().add(at).read() } != 0 {
            return Err(too_big(format!(
                "the option at byte {at} is unknown to this libovl"
            )));
        }
    }
    // SAFETY: every pattern of bytes is a value of a `Plain`.
    Ok(unsafe { value.assume_init() })
}

/// Writes a result to the caller's struct of `size` bytes: as much as both know, then zeroes. NULL
/// says that the caller does not want it.
///
/// # Safety
/// `to` is NULL or writable for `size` bytes; it need not be aligned.
pub(super) unsafe fn write<T: Plain>(to: *mut T, size: usize, value: &T) {
    if to.is_null() {
        return;
    }
    let both = size.min(size_of::<T>());
    // SAFETY: `to` is writable for `size` bytes, `value` is a reference to its own; they are apart,
    // since nothing of ours is in the caller's hands.
    unsafe {
        std::ptr::from_ref(value)
            .cast::<u8>()
            .copy_to_nonoverlapping(to.cast(), both);
        to.cast::<u8>().add(both).write_bytes(0, size - both);
    }
}

/// The flags of `bits`; EINVAL for those that are unknown.
pub(super) fn flags<F: bitflags::Flags<Bits = u64>>(bits: u64) -> Result<F> {
    F::from_bits(bits)
        .ok_or_else(|| Error::invalid(format!("unknown flags {:#x}", bits & !F::all().bits())))
}

/// EINVAL: a member that names one of several choices names none.
pub(super) fn unknown(member: &str, number: u32) -> Error {
    Error::invalid(format!("unknown {member} {number}"))
}

/// EINVAL unless a reserved member is zero.
pub(super) fn reserved<T: PartialEq + Default + Debug>(value: T) -> Result<()> {
    if value != T::default() {
        return Err(Error::invalid(format!(
            "a reserved member is {value:?}, not 0"
        )));
    }
    Ok(())
}

fn too_big(message: String) -> Error {
    Error::new(Code::Invalid, Errno::TOOBIG, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "tests/opts.rs"]
mod tests;
