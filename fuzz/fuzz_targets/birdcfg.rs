//! See [`fuzz::birdcfg`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::birdcfg(data));
