//! The daemon and its clients in one binary.

fn main() {}
