//! A simulated cluster: real sessions and real tables of many nodes in one process, and a clock that jumps.
//!
//! A run is a function of its seed: [`topology`] draws who peers with whom, [`faults`] what goes wrong, [`world`] lets it
//! happen, octet by octet through [`wire`], and [`check`] compares the end with a model that does not speak BGP. A run that
//! fails prints its seed, and is kept as a test under the name of what it found.
//!
//! There is no wall clock to step here: neither machine knows one, time is an argument of each call and only grows, and a test of
//! the house keeps it so. What of a daemon does know one, and nothing but what it prints does, is stepped over a running daemon
//! by the conformance suite (row M8).

pub mod check;
pub mod faults;
pub mod node;
pub mod random;
pub mod stranger;
pub mod topology;
pub mod trace;
pub mod wire;
pub mod world;

use reflector::time::{Duration, Instant};
use std::collections::BTreeMap;

use crate::faults::{Effect, Fault};
use crate::random::Random;
use crate::topology::{NodeId, Restarts, Topology};
use crate::world::World;

/// How long after the last fault everything must be as the model says. Long enough for a hold time, a restart time and the
/// longest back-off, one after the other.
const SETTLED_AFTER: Duration = Duration::from_secs(330);
/// How often bounds are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A run that did not end as it should.
#[derive(Debug)]
pub struct Failure {
    /// What was wrong.
    pub what: String,
    /// What happened before.
    pub trace: String,
}

/// What a run took.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Nodes.
    pub nodes: usize,
    /// Sessions.
    pub sessions: usize,
    /// Faults.
    pub faults: usize,
    /// Events.
    pub steps: u64,
    /// What the faults did.
    pub effects: BTreeMap<Effect, u64>,
    /// When everything was as the model says, counted from the end of the last fault.
    pub converged: Duration,
}

/// Runs one seed in which all restart gracefully and one process after the other crashes and comes back, or all at once: no
/// kernel may lose a route (RFC 4724).
pub fn run_restarts(seed: u64, size: usize) -> Result<Summary, Failure> {
    let mut random = Random::new(seed);
    let mut topology = Topology::draw(size, &mut random);
    topology.restarts = Restarts::Graceful;
    let mut faults = Vec::new();
    let mut at = Instant::EPOCH + Duration::from_secs(60);
    if random.chance(20) {
        // All at once: nobody is left to ask, and what the kernels have must last until everybody is back.
        let span = random.span(Duration::from_millis(1), Duration::from_secs(2));
        faults.push((at, Fault::Blackout(span)));
        at = at + span + Duration::from_secs(60);
    }
    for _ in 0..random.between(1, 4) {
        let node = NodeId(random.below(topology.nodes.len()) as u16);
        let span = random.span(Duration::from_millis(1), Duration::from_secs(40));
        faults.push((at, Fault::Crash(node, span)));
        at = at + span + Duration::from_secs(60);
    }
    run_with(topology, faults, seed, Some(Instant::EPOCH + Duration::from_secs(50)))
}

/// Runs one seed.
pub fn run(seed: u64, size: usize) -> Result<Summary, Failure> {
    let mut random = Random::new(seed);
    let topology = Topology::draw(size, &mut random);
    let faults = faults::draw(&topology, &mut random);
    run_with(topology, faults, seed, None)
}

/// Runs what a script says, two octets a draw: who there is, and what goes wrong.
pub fn run_scripted(script: &[u8], size: usize) -> Result<Summary, Failure> {
    let mut random = Random::scripted(script);
    let topology = Topology::draw(size, &mut random);
    let faults = faults::draw(&topology, &mut random);
    run_with(topology, faults, random.any(), None)
}

fn run_with(
    topology: Topology,
    faults: Vec<(Instant, Fault)>,
    seed: u64,
    loses_nothing_from: Option<Instant>,
) -> Result<Summary, Failure> {
    let (nodes, sessions, count) = (topology.nodes.len(), topology.peerings.len(), faults.len());
    let last = faults.iter().map(|(at, fault)| fault.end(*at)).max();
    let calm = last.unwrap_or(Instant::EPOCH + faults::FAULTS_FROM);
    let mut world = World::new(topology, faults, seed);
    world.loses_nothing_from = loses_nothing_from;
    let deadline = calm + SETTLED_AFTER;
    let mut converged = None;
    while world.now < deadline {
        world.run_until((world.now + LOOK_EVERY).min(deadline));
        if let Some(what) = world.broken.take().or_else(|| check::check_bounds(&world)) {
            return Err(failure(&world, what));
        }
        if world.now >= calm && converged.is_none() && check::check(&world).is_none() {
            converged = Some(world.now - calm);
        }
    }
    match (check::check(&world), converged) {
        (None, Some(converged)) => {
            let (steps, effects) = (world.steps, world.effects);
            Ok(Summary { nodes, sessions, faults: count, steps, effects, converged })
        }
        (wrong, _) => Err(failure(&world, wrong.unwrap_or_else(|| "did not settle".to_owned()))),
    }
}

fn failure(world: &World, what: String) -> Failure {
    Failure { what, trace: world.trace.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_clusters_settle_and_every_fault_really_happens() {
        let mut effects: BTreeMap<Effect, u64> = BTreeMap::new();
        for seed in 0..100 {
            let summary = run(seed, 8)
                .unwrap_or_else(|failure| panic!("seed {seed}: {}\n{}", failure.what, failure.trace));
            summary.effects.iter().for_each(|(effect, count)| *effects.entry(*effect).or_insert(0) += count);
        }
        for effect in Effect::ALL {
            let count = effects.get(&effect).copied().unwrap_or(0);
            assert!(count >= 3, "{effect:?} happened {count} times: {effects:?}");
        }
    }

    #[test]
    fn graceful_restarts_lose_no_route() {
        for seed in 0..20 {
            if let Err(failure) = run_restarts(seed, 8) {
                panic!("seed {seed}, 8 nodes: {}\n{}", failure.what, failure.trace);
            }
        }
    }

    /// Reflectors that are each other's clients, a small window, a refresh: a withdrawn route came back and stayed.
    #[test]
    fn a_refresh_brings_no_withdrawn_route_back() {
        if let Err(failure) = run(51, 60) {
            panic!("{}\n{}", failure.what, failure.trace);
        }
    }

    /// Three reflectors, and a prefix that comes in by two nodes: that is how RFC 4456 works, not a restart that loses.
    #[test]
    fn a_better_path_at_another_reflector_is_no_loss() {
        for seed in [52, 924] {
            assert!(run_restarts(seed, 20).is_ok());
        }
    }

    #[test]
    fn a_run_is_a_function_of_its_seed() {
        let steps = |_| run(3, 12).ok().map(|summary| summary.steps);
        assert_eq!(steps(()), steps(()));
    }
}
