//! How fast routes go in, change and go out: the FIB beside a bare loop that writes prepared batches to the same socket, in
//! the same namespace and run, taking turns. `cargo test --release -p bgpd --lib fib::tests::rate -- --nocapture` inside a sandbox
//! prints it; without optimisation only the counts are checked, not the ratio.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use bgp_proto::{Prefix, Version};
use lab::here;
use lab::sandbox::isolated;
use reflector::events::{FibRoute, Hop};

use crate::fib::facts::{Path, Place, TABLE_MAIN, Target};
use crate::fib::machine::{FibConfig, Machine};
use crate::fib::netlink::{BATCH, Requests};
use crate::fib::plan::{Action, Op, Token};
use crate::fib::refusal::Outcome;
use crate::fib::tests::{link, wish};

const ROUTES: u32 = if cfg!(debug_assertions) { 5_000 } else { 100_000 };
const ROUNDS: usize = 5;
/// Of the bare loop's rate.
const RATIO_MIN: f64 = 0.8;
const STEPS: [&str; 3] = ["install", "replace", "remove"];

#[test]
fn routes_change_almost_as_fast_as_the_kernel_can() -> Result<()> {
    isolated(here!(), &[], || {
        link()?;
        let prefix = |index: u32| Prefix::new(Ipv4Addr::from(0x0b00_0000_u32 + (index << 4)).into(), 28);
        let prefixes: Vec<Prefix> =
            (0..ROUTES).map(prefix).collect::<Result<_, _>>().map_err(|error| anyhow!("{error}"))?;
        let mut requests = Requests::open()?;
        let mut machine = machine(&mut requests)?;
        let (mut bare, mut ours) = ([Duration::MAX; 3], [Duration::MAX; 3]);
        for _ in 0..ROUNDS {
            for (step, best) in bare.iter_mut().enumerate() {
                *best = bare_loop(&mut requests, &prefixes, step)?.min(*best);
            }
            for (step, best) in ours.iter_mut().enumerate() {
                *best = whole_fib(&mut requests, &mut machine, &prefixes, step)?.min(*best);
            }
        }
        let mut worst = f64::MAX;
        for (step, name) in STEPS.iter().enumerate() {
            let rate = |took: Duration| f64::from(ROUTES) / took.as_secs_f64();
            let ratio = rate(ours[step]) / rate(bare[step]);
            println!(
                "{name}: {:.0}/s, bare loop {:.0}/s, ratio {ratio:.2}",
                rate(ours[step]),
                rate(bare[step])
            );
            worst = worst.min(ratio);
        }
        ensure!(cfg!(debug_assertions) || worst >= RATIO_MIN, "ratio {worst:.2}");
        Ok(())
    })
}

fn gateway(step: usize) -> &'static str {
    ["192.0.2.2", "192.0.2.3"][step % 2]
}

fn machine(requests: &mut Requests) -> Result<Machine> {
    let now = Instant::now();
    let mut machine = Machine::new(FibConfig::default(), now);
    machine.walk_begins(requests.links()?, &requests.addresses()?);
    requests.routes(Version::V4, TABLE_MAIN, |route| machine.walk_route(route))?;
    machine.walk_ends(now);
    machine.sweep(Version::V4);
    Ok(machine)
}

fn bare_loop(requests: &mut Requests, prefixes: &[Prefix], step: usize) -> Result<Duration> {
    let links = requests.links()?;
    let ifindex = links.iter().find(|link| &*link.name == "eth0").map_or(0, |link| link.ifindex);
    let path = Path { gateway: Some(gateway(step).parse()?), ifindex, weight: 1, onlink: false };
    let target = Arc::new(Target::via(vec![path], 1));
    let action = match step {
        0 => Action::Add(target),
        1 => Action::Replace(target),
        _ => Action::Delete(None),
    };
    let place = Place { table: TABLE_MAIN, metric: 1024 };
    let op = |prefix: &Prefix| Op {
        prefix: *prefix,
        place,
        protocol: 12,
        action: action.clone(),
        token: Token::default(),
    };
    let ops: Vec<Op> = prefixes.iter().map(op).collect();
    let mut outcomes = Vec::new();
    let begin = Instant::now();
    for batch in ops.chunks(BATCH) {
        requests.apply(batch, &mut outcomes);
        ensure!(outcomes.iter().all(|outcome| *outcome == Outcome::Done), "{outcomes:?}");
    }
    Ok(begin.elapsed())
}

fn whole_fib(
    requests: &mut Requests,
    machine: &mut Machine,
    prefixes: &[Prefix],
    step: usize,
) -> Result<Duration> {
    let hop = Hop { addr: gateway(step).parse()?, weight: 1, vxlan: None, device: None };
    let route = (step < 2).then(|| FibRoute::Via(vec![hop]));
    let (mut ops, mut outcomes, mut done) = (Vec::new(), Vec::new(), 0);
    let begin = Instant::now();
    for prefix in prefixes {
        machine.desire(wish(*prefix, route.clone()));
    }
    loop {
        machine.next(begin, BATCH, &mut ops);
        if ops.is_empty() {
            break;
        }
        requests.apply(&ops, &mut outcomes);
        done += outcomes.iter().filter(|outcome| **outcome == Outcome::Done).count();
        for (op, outcome) in ops.drain(..).zip(outcomes.drain(..)) {
            machine.settle(&op, outcome, begin);
        }
    }
    let took = begin.elapsed();
    ensure!(done == prefixes.len(), "{done} of {}", prefixes.len());
    Ok(took)
}
