//! A full mesh of nodes, from nothing and at rest.
//!
//! What a kernel has is read from the `/proc` of its daemon, without a process of its own: on a machine with fewer processors than nodes,
//! whoever looks takes from whom is looked at.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::{ASN, Whose, speaker};
use crate::net::{Family, Node, Underlay, introduce};
use crate::speaker::{Neighbor, Plan, Speaker};
use crate::wait;

const PATIENCE: Duration = Duration::from_secs(60);
/// For how long idleness is watched: as long as a third of the hold time, so that each session's keepalives are in it.
const IDLE: Duration = Duration::from_secs(30);

/// A full mesh.
pub(super) struct Mesh {
    pub(super) nodes: Vec<Node>,
    pub(super) speakers: Vec<Box<dyn Speaker + Send>>,
    began: Instant,
}

impl Mesh {
    /// Starts the daemons all at once.
    pub(super) fn start(whose: Whose, count: u16) -> Result<Mesh> {
        let names: Vec<String> = (1..=count).map(|index| format!("n{index}")).collect();
        let nodes = Underlay::new()?.nodes(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        introduce(&nodes)?;
        let began = Instant::now();
        let speakers = thread::scope(|scope| {
            let starting = nodes.iter().map(|node| scope.spawn(|| speaker(whose, node, plan(&nodes, node))));
            let starting: Vec<_> = starting.collect();
            let joined =
                starting.into_iter().map(|one| one.join().map_err(|_| anyhow!("a start panicked"))?);
            joined.collect::<Result<_>>()
        })?;
        Ok(Mesh { nodes, speakers, began })
    }

    /// Waits until every kernel has this many routes through others.
    pub(super) fn wait_routes(&self, count: usize) -> Result<()> {
        for speaker in &self.speakers {
            wait::closely(&format!("{count} routes"), PATIENCE, || {
                let has = gatewayed(speaker.daemon().pid())?;
                ensure!(has >= count, "{has} of {count}");
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// How many IPv4 routes with a gateway the kernel has where this process is.
fn gatewayed(pid: u32) -> Result<usize> {
    const GATEWAY: u32 = 2;
    let table = fs::read_to_string(format!("/proc/{pid}/net/route"))?;
    let flags = |line: &str| u32::from_str_radix(line.split_whitespace().nth(3)?, 16).ok();
    Ok(table.lines().filter_map(flags).filter(|flags| flags & GATEWAY != 0).count())
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

pub(super) fn cold(whose: Whose) -> Result<String> {
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

pub(super) fn idle(whose: Whose) -> Result<String> {
    let mesh = Mesh::start(whose, 20)?;
    mesh.wait_routes(38)?;
    let pids: Vec<Vec<u32>> = mesh.speakers.iter().map(|speaker| speaker.pids()).collect();
    let all = || pids.iter().flatten().map(|pid| processor(*pid)).sum::<Result<f64>>();
    let (before, began) = (all()?, Instant::now());
    wait::holds("nothing happens", IDLE, || Ok(()))?;
    let cpu = (all()? - before) * 30.0 / began.elapsed().as_secs_f64() / pids.len() as f64;
    let (mut resident, mut own) = (0.0, 0.0);
    for pid in pids.iter().flatten() {
        let [all, anonymous] = memory(*pid)?;
        resident += all / pids.len() as f64;
        own += anonymous / pids.len() as f64;
    }
    Ok(format!(
        "one of 20 nodes: {resident:.1} MB resident, {own:.1} MB of it not of files, {cpu:.1} ms of processor in 30 s"
    ))
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

/// Memory of a process in MB: all that is resident, and what of it belongs to no file.
fn memory(pid: u32) -> Result<[f64; 2]> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let megabytes = |key: &str| -> Result<f64> {
        let line =
            text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
    };
    Ok([megabytes("VmRSS:")?, megabytes("RssAnon:")?])
}
