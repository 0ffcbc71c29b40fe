//! From an announcement to the kernels of the others, and from a deletion to the route's return.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use super::mesh::Mesh;
use super::{Whose, spread};
use crate::daemon::Daemon;
use crate::net::Node;
use crate::wait;

const PATIENCE: Duration = Duration::from_secs(60);
const CHANGES: u16 = 100;
const DELETIONS: u16 = 10;
/// After this no further route is deleted.
const DELETING: Duration = Duration::from_secs(20);
/// BIRD looks at the kernel once a minute.
const BACK: Duration = Duration::from_secs(75);

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

pub(super) fn change(whose: Whose) -> Result<String> {
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
