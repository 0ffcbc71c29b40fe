//! See [`fuzz::cluster`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::cluster(data));
