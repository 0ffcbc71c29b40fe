//! A simulated cluster.

fn main() {}
