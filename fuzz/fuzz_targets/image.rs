#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ovl::fuzzing::image(data));
