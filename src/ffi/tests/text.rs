use super::*;
use std::ptr::null;

#[test]
fn strings_are_bytes() {
    // SAFETY: C strings, and NULL.
    unsafe {
        assert_eq!(bytes(c"\xff\x01".as_ptr(), "id").unwrap(), b"\xff\x01");
        assert_eq!(optional(c"".as_ptr()), Some(&b""[..]));
        assert_eq!(optional(null()), None);
        let error = bytes(null(), "id").unwrap_err();
        assert_eq!(error.message(), "id is NULL");
    }
}

#[test]
fn arrays_end_in_nul() {
    fn of(text: &str) -> [u8; 4] {
        array::<4>(text).map(|byte| byte as u8)
    }
    assert_eq!(of(""), *b"\0\0\0\0");
    assert_eq!(of("ab"), *b"ab\0\0");
    assert_eq!(of("abcdef"), *b"abc\0");
}

#[test]
fn a_text_has_its_length_and_a_nul() {
    let text = Text::new("a\0b");
    assert_eq!(text.len(), 3);
    // SAFETY: four bytes are there.
    let whole = unsafe { std::slice::from_raw_parts(text.as_ptr().cast::<u8>(), 4) };
    assert_eq!(whole, b"a\0b\0");
}
