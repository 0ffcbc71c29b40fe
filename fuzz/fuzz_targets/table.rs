//! See [`fuzz::table`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::table(data));
