//! What operators of a cluster feel, measured in its kernels: `lab kernels`. Each daemon in turn runs a full mesh of one IPv4 session a pair, on the same
//! machine in the same run.
//!
//! - **change**: on one of 10 nodes a prefix is announced, in the way the daemon's operator would, and the time is taken until the last of the
//!   other kernels has it, from the kernels' own timestamps.
//! - **deleted**: somebody deletes a route of the daemon's from a kernel, and the time is taken until it is back. One that is not told but
//!   looks once a minute, as BIRD does, has that happen once or twice only.
//! - **cold**: 50 nodes with two prefixes each start from nothing; the time until every kernel has all 98 routes of the others.
//! - **idle**: 20 such nodes do nothing; memory and processor time of one node's daemon, averaged.

use std::fs;
use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::daemon::Daemon;
use crate::net::{Family, Node, Underlay, introduce};
use crate::peers::Make;
use crate::peers::ours::Bgpd;
use crate::sandbox;
use crate::speaker::{Neighbor, Plan, Speaker};
use crate::wait;

const ASN: u32 = 64512;
const PATIENCE: Duration = Duration::from_secs(60);
/// Most that one daemon may take.
const LIFE_MAX: Duration = Duration::from_secs(150);
const CHANGES: u16 = 30;
const DELETIONS: u16 = 10;
/// After this no further route is deleted.
const DELETING: Duration = Duration::from_secs(20);
/// BIRD looks at the kernel once a minute.
const BACK: Duration = Duration::from_secs(75);
/// For how long idleness is watched.
const IDLE: Duration = Duration::from_secs(20);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// A change, to all kernels of 10 nodes; and a deleted route, back.
    Change,
    /// 50 nodes from nothing.
    Cold,
    /// 20 nodes at rest.
    Idle,
}

/// Whose daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Whose {
    /// Ours.
    Bgpd,
    /// BIRD 2.
    Bird,
    /// FRR with zebra.
    Frr,
}

/// Measures one scenario with each daemon, each in a sandbox of its own, and prints a line for each.
pub fn run(scenario: Scenario, daemons: &[Whose]) -> Result<()> {
    if sandbox::is_inside() {
        sandbox::enter(LIFE_MAX)?;
        for whose in daemons {
            let line = measure(scenario, *whose).inspect_err(|_| sandbox::tails())?;
            writeln!(io::stdout(), "{whose:?}: {line}")?;
        }
        return Ok(());
    }
    let grant = sandbox::grant()?;
    let word = |value: clap::builder::PossibleValue| value.get_name().to_owned();
    for whose in daemons {
        let [scenario, whose] = [scenario.to_possible_value(), whose.to_possible_value()]
            .map(|value| value.map(word).unwrap_or_default());
        let arguments = ["kernels", &scenario, "--daemons", &whose];
        let mut child = sandbox::command(grant, arguments)?.spawn().context("cannot run unshare")?;
        let hold = child.stdin.take();
        let status = child.wait()?;
        drop(hold);
        ensure!(status.success(), "{whose}: {status}");
    }
    Ok(())
}

fn measure(scenario: Scenario, whose: Whose) -> Result<String> {
    match scenario {
        Scenario::Change => change(whose),
        Scenario::Cold => cold(whose),
        Scenario::Idle => idle(whose),
    }
}

/// A full mesh.
struct Mesh {
    nodes: Vec<Node>,
    speakers: Vec<Box<dyn Speaker>>,
    began: Instant,
}

impl Mesh {
    /// Starts the daemons one after the other, as fast as they can be started.
    fn start(whose: Whose, count: u16) -> Result<Mesh> {
        let names: Vec<String> = (1..=count).map(|index| format!("n{index}")).collect();
        let nodes = Underlay::new()?.nodes(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        introduce(&nodes)?;
        let began = Instant::now();
        let speakers =
            nodes.iter().map(|node| speaker(whose, node, plan(&nodes, node))).collect::<Result<_>>()?;
        Ok(Mesh { nodes, speakers, began })
    }

    /// Waits until every kernel has this many routes of its daemon's.
    fn wait_routes(&self, count: usize) -> Result<()> {
        for node in &self.nodes {
            wait::closely(&format!("{} has {count} routes", node.name), PATIENCE, || {
                let routes = node.sh("ip -4 route show | grep -v blackhole | grep -c ' proto b' || true")?;
                let has: usize = routes.trim().parse()?;
                ensure!(has >= count, "{has} of {count}");
                Ok(())
            })?;
        }
        Ok(())
    }
}

fn plan(nodes: &[Node], node: &Node) -> Plan {
    let mut plan = Plan::new(node, ASN);
    for other in nodes.iter().filter(|other| other.index != node.index) {
        plan = plan.neighbor(Neighbor::new(node, other, Family::V4, ASN));
    }
    let [high, low] = node.index.to_be_bytes();
    plan.network(&format!("10.{}.{low}.0/25", 100 + u16::from(high)))
        .network(&format!("10.{}.{low}.128/25", 100 + u16::from(high)))
}

fn speaker(whose: Whose, node: &Node, plan: Plan) -> Result<Box<dyn Speaker>> {
    match whose {
        Whose::Bgpd => Ok(Box::new(Bgpd::start_unwatched(node, plan)?)),
        Whose::Bird => Make::Bird.start(node, plan),
        Whose::Frr => Make::Frr.start(node, plan),
    }
}

/// `ip -ts monitor route` in a node.
fn monitor(node: &Node) -> Result<Daemon> {
    let mut command = node.command("ip");
    command.args(["-ts", "-4", "monitor", "route"]);
    let monitor = Daemon::spawn(&format!("monitor-{}", node.name), command)?;
    wait::until("the monitor listens", wait::SOON, || {
        node.sh("ip route replace blackhole 203.0.113.0/24; ip route del blackhole 203.0.113.0/24")?;
        ensure!(monitor.log().contains("203.0.113.0/24"), "nothing yet");
        Ok(())
    })?;
    Ok(monitor)
}

/// When a monitor saw a route to a prefix last, in seconds of the day.
fn seen(monitor: &Daemon, prefix: &str) -> Result<f64> {
    wait::closely(&format!("a route to {prefix}"), PATIENCE, || {
        let log = monitor.log();
        let is_it = |line: &&str| line.contains(&format!("] {prefix} ")) && !line.contains("Deleted");
        let line = log.lines().rev().find(is_it).with_context(|| "not yet".to_owned())?;
        stamp(line).with_context(|| format!("no time in {line}"))
    })
}

/// The time of `[2026-11-25T09:41:07.123456] ...`, in seconds of the day.
fn stamp(line: &str) -> Option<f64> {
    let (_, time) = line.split_once('T')?;
    let mut parts = time.split_once(']')?.0.split(':');
    let mut next = || parts.next()?.parse::<f64>().ok();
    Some(next()? * 3600.0 + next()? * 60.0 + next()?)
}

fn now() -> Result<f64> {
    // The lab's clock and the monitors' are one; time zones are not, but the seconds of an hour are.
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64().rem_euclid(3600.0))
}

/// Milliseconds from one moment of an hour to another of the day.
fn millis(from: f64, to: f64) -> f64 {
    (to.rem_euclid(3600.0) - from).rem_euclid(3600.0) * 1000.0
}

fn change(whose: Whose) -> Result<String> {
    let mut mesh = Mesh::start(whose, 10)?;
    mesh.wait_routes(18)?;
    let monitors = mesh.nodes.iter().map(monitor).collect::<Result<Vec<_>>>()?;
    let mut took = Vec::new();
    for index in 0..CHANGES {
        let prefix = format!("10.99.{index}.0/24");
        let began = now()?;
        mesh.speakers[0].announce(&prefix)?;
        let mut last = 0.0_f64;
        for monitor in &monitors[1..] {
            last = last.max(millis(began, seen(monitor, &prefix)?));
        }
        took.push(last);
    }
    let (mut back, deleting) = (Vec::new(), Instant::now());
    for index in (0..DELETIONS).take_while(|_| deleting.elapsed() < DELETING) {
        let prefix = format!("10.99.{index}.0/24");
        let began = now()?;
        mesh.nodes[1].sh(&format!("ip route del {prefix}"))?;
        wait::closely("the route is back", BACK, || {
            let at = seen(&monitors[1], &prefix)?;
            let millis = millis(began, at);
            ensure!(millis < 1_800_000.0, "the old one");
            back.push(millis);
            Ok(())
        })?;
    }
    Ok(format!("change to 9 other kernels {}; deleted route back {}", spread(&mut took)?, spread(&mut back)?))
}

fn spread(values: &mut [f64]) -> Result<String> {
    values.sort_by(f64::total_cmp);
    let (Some(middle), Some(last)) = (values.get(values.len() / 2), values.last()) else {
        bail!("nothing measured")
    };
    Ok(format!("p50 {middle:.1} ms, worst of {} {last:.1} ms", values.len()))
}

fn cold(whose: Whose) -> Result<String> {
    let mesh = Mesh::start(whose, 50)?;
    let started = mesh.began.elapsed();
    mesh.wait_routes(98)?;
    let took = mesh.began.elapsed();
    Ok(format!(
        "50 nodes, 98 routes each: {:.2} s, of which starting the processes {:.2} s",
        took.as_secs_f64(),
        started.as_secs_f64()
    ))
}

fn idle(whose: Whose) -> Result<String> {
    let mesh = Mesh::start(whose, 20)?;
    mesh.wait_routes(38)?;
    let pids: Vec<Vec<u32>> = mesh.speakers.iter().map(|speaker| speaker.pids()).collect();
    let all = || pids.iter().flatten().map(|pid| processor(*pid)).sum::<Result<f64>>();
    let (before, began) = (all()?, Instant::now());
    wait::holds("nothing happens", IDLE, || Ok(()))?;
    let cpu = (all()? - before) * 30.0 / began.elapsed().as_secs_f64() / pids.len() as f64;
    let memory = pids.iter().flatten().map(|pid| memory(*pid)).sum::<Result<f64>>()? / pids.len() as f64;
    Ok(format!("one of 20 nodes: {memory:.1} MB resident, {cpu:.1} ms of processor in 30 s"))
}

/// Milliseconds of processor time that a process has had, all its threads together.
fn processor(pid: u32) -> Result<f64> {
    let mut millis = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let nanos: f64 = text.split_whitespace().next().context("empty")?.parse()?;
        millis += nanos / 1e6;
    }
    Ok(millis)
}

/// Resident memory in MB.
fn memory(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes / 1024.0)
}
