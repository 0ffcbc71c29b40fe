//! `sim --seed N --nodes N [--seeds COUNT] [--kind faults|restarts|strangers]`: runs seeds, prints what they took, and stops at the
//! first failure.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use sim::random::Random;

/// What to run.
#[derive(Debug, Clone, Copy)]
struct Args {
    seed: u64,
    seeds: u64,
    nodes: usize,
    kind: Kind,
}

/// What happens in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Whatever can go wrong; in the end all is well.
    Faults,
    /// Graceful restarts, one after the other; nothing may be lost.
    Restarts,
    /// One node, and a peer that says anything.
    Strangers,
}

/// Steps of a meeting with a stranger.
const STEPS: usize = 300;

impl Kind {
    /// What a run took, in words.
    fn run(self, seed: u64, nodes: usize) -> Result<String, sim::Failure> {
        let done = match self {
            Kind::Faults => sim::run(seed, nodes)?,
            Kind::Restarts => sim::run_restarts(seed, nodes)?,
            Kind::Strangers => {
                let met = sim::stranger::meet(Random::new(seed), STEPS);
                let failed = |what| sim::Failure { what, trace: String::new() };
                return met.map(|()| format!("{STEPS} steps")).map_err(failed);
            }
        };
        Ok(format!(
            "{} nodes, {} sessions, {} faults, {} events, settled {:.0?} after the last",
            done.nodes, done.sessions, done.faults, done.steps, done.converged
        ))
    }

    fn word(self) -> &'static str {
        match self {
            Kind::Faults => "faults",
            Kind::Restarts => "restarts",
            Kind::Strangers => "strangers",
        }
    }
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program speaks to people")]
fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(wrong) => {
            eprintln!(
                "sim: {wrong}\nusage: sim [--seed N] [--seeds COUNT] [--nodes N] [--kind KIND]\n\
                 KIND: faults, restarts, strangers"
            );
            return ExitCode::from(2);
        }
    };
    let next = AtomicU64::new(args.seed);
    let end = args.seed.saturating_add(args.seeds);
    let failed = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || failed.load(Ordering::Relaxed) > 0 {
                        return;
                    }
                    match args.kind.run(seed, args.nodes) {
                        Ok(done) => println!("seed {seed}: {done}"),
                        Err(failure) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            eprintln!(
                                "{}FAILED: {}\nagain: sim --kind {} --seed {seed} --nodes {} (commit {})",
                                failure.trace,
                                failure.what,
                                args.kind.word(),
                                args.nodes,
                                commit()
                            );
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!("{} passed, {failed} failed", args.seeds.saturating_sub(failed));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args { seed: 0, seeds: 1, nodes: 60, kind: Kind::Faults };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        if word == "--kind" {
            let kinds = [Kind::Faults, Kind::Restarts, Kind::Strangers];
            let kind = kinds.into_iter().find(|kind| kind.word() == value);
            args.kind = kind.ok_or_else(|| format!("there is no kind {value}"))?;
            continue;
        }
        let number: u64 = value.parse().map_err(|_| format!("{word} needs a number, not {value}"))?;
        match word.as_str() {
            "--seed" => args.seed = number,
            "--seeds" => args.seeds = number,
            "--nodes" => args.nodes = usize::try_from(number.min(10_000)).unwrap_or(10_000),
            _ => return Err(format!("there is no {word}")),
        }
    }
    Ok(args)
}

/// The commit of the source tree that this was built in, as far as its git folder says.
fn commit() -> String {
    let git = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.git");
    let read = |name: &str| fs::read_to_string(git.join(name)).map(|text| text.trim().to_owned());
    let head = read("HEAD").and_then(|head| match head.strip_prefix("ref: ") {
        Some(name) => read(name),
        None => Ok(head),
    });
    head.map_or_else(|_| "unknown".to_owned(), |commit| commit.chars().take(9).collect())
}
