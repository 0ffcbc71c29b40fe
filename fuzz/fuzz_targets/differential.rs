//! See [`fuzz::differential`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::differential(data));
