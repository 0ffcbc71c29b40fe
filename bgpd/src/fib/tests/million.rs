//! A kernel with a million routes of ours, and a daemon that starts on it: it walks through all of them, is told of each that it is wanted
//! as it is, sweeps, and has changed nothing. What that takes, in time and memory, is printed by
//! `cargo test --release -p bgpd --lib fib::tests::million -- --nocapture`.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
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

const ROUTES: u32 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
/// Octets of memory that a route may take, both sides of it together.
const BYTES_MAX: u64 = 256;

#[test]
fn a_million_routes_are_adopted_within_bounds() -> Result<()> {
    isolated(here!(), &[], || {
        link()?;
        let mut requests = Requests::open()?;
        fill(&mut requests)?;
        let before = resident()?;
        let (mut machine, now) = (Machine::new(FibConfig::default(), Instant::now()), Instant::now());
        machine.walk_begins(requests.links()?, &requests.addresses()?);
        requests.routes(Version::V4, TABLE_MAIN, |route| machine.walk_route(route))?;
        machine.walk_ends(now);
        let walked = now.elapsed();
        let hop = Hop { addr: "192.0.2.2".parse()?, weight: 1, vxlan: None, device: None };
        for index in 0..ROUTES {
            machine.desire(wish(prefix(index)?, Some(FibRoute::Via(vec![hop]))));
        }
        machine.sweep(Version::V4);
        let mut ops = Vec::new();
        while machine.is_busy(now) {
            machine.next(now, BATCH, &mut ops);
            ensure!(ops.is_empty(), "a route was touched: {ops:?}");
        }
        let took = now.elapsed();
        ensure!(machine.states().installed == u64::from(ROUTES), "{:?}", machine.states());
        let octets = (resident()? - before) / u64::from(ROUTES);
        println!(
            "{ROUTES} routes: dumped in {:.2} s, reconciled after {:.2} s, {octets} octets of memory each at most",
            walked.as_secs_f64(),
            took.as_secs_f64()
        );
        ensure!(cfg!(debug_assertions) || octets <= BYTES_MAX, "{octets} octets a route");
        Ok(())
    })
}

fn prefix(index: u32) -> Result<Prefix> {
    Ok(Prefix::new(Ipv4Addr::from(0x0b00_0000_u32 + (index << 4)).into(), 28)?)
}

fn fill(requests: &mut Requests) -> Result<()> {
    let links = requests.links()?;
    let ifindex = links.iter().find(|link| &*link.name == "eth0").map_or(0, |link| link.ifindex);
    let path = Path { gateway: Some("192.0.2.2".parse()?), ifindex, weight: 1, onlink: false };
    let target = std::sync::Arc::new(Target::via(vec![path], 1));
    let mut outcomes = Vec::new();
    for first in (0..ROUTES).step_by(BATCH) {
        let op = |index| {
            let place = Place { table: TABLE_MAIN, metric: 1024 };
            let action = Action::Add(target.clone());
            Ok(Op { prefix: prefix(index)?, place, protocol: 12, action, token: Token::default() })
        };
        let last = (first + BATCH as u32).min(ROUTES);
        let ops: Vec<Op> = (first..last).map(op).collect::<Result<_>>()?;
        requests.apply(&ops, &mut outcomes);
        ensure!(outcomes.iter().all(|outcome| *outcome == Outcome::Done), "{outcomes:?}");
    }
    Ok(())
}

/// The most memory that this process has had, in octets.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}
