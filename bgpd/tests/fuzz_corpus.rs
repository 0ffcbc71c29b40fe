//! Every input that the fuzzers keep in git is replayed through the same functions, so that what was found once stays found.

#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "a library to the fuzz targets")]
mod targets;

use std::fs;
use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let inputs: Vec<_> = fs::read_dir(&corpus).expect("the corpus is in git").flatten().collect();
    assert!(!inputs.is_empty(), "{} is empty", corpus.display());
    for input in inputs {
        run(&fs::read(input.path()).expect("an input"));
    }
}

#[test]
fn messages() {
    replay("message", targets::message);
}

#[test]
fn round_trips() {
    replay("roundtrip", targets::roundtrip);
}

#[test]
fn differences() {
    replay("differential", targets::differential);
}

#[test]
fn attributes() {
    replay("attributes", targets::attributes);
}

#[test]
fn sessions() {
    replay("session", targets::session);
}

#[test]
fn tables() {
    replay("table", targets::table);
}

#[test]
fn clusters() {
    replay("cluster", targets::cluster);
}

#[test]
fn files_and_commands_of_bird() {
    replay("birdcfg", targets::birdcfg);
}
