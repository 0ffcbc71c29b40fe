//! What the fuzz targets do with octets. A target is five lines around one of these; `bgpd/tests/fuzz_corpus.rs` replays the
//! corpus through the same functions in every test run.

mod birdcfg;
mod tables;
mod wire;

pub use birdcfg::birdcfg;
use sim::random::Random;
pub use tables::table;
pub use wire::{attributes, differential, message, roundtrip};

/// Steps of a meeting, at most.
const STEPS_MAX: usize = 300;

/// A node of the simulation and a peer that is nobody's session: the octets draw what it says, and what else happens.
pub fn session(data: &[u8]) {
    let steps = (data.len() / 4).min(STEPS_MAX);
    if let Err(what) = sim::stranger::meet(Random::scripted(data), steps) {
        panic!("{what}");
    }
}

/// A simulated cluster in which the octets draw who there is and what goes wrong: in the end all is well.
pub fn cluster(data: &[u8]) {
    if let Err(failure) = sim::run_scripted(data, 3) {
        panic!("{}\n{}", failure.what, failure.trace);
    }
}
