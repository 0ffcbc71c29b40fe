//! What operators of a cluster feel, measured in its kernels: `lab kernels`. Each daemon in turn, on the same machine in the same run.
//!
//! In a full mesh of one IPv4 session a pair ([`mesh`]):
//!
//! - **change**: on one of 10 nodes a prefix is announced, in the way the daemon's operator would, and the time is taken until the last of the
//!   other kernels has it, from the kernels' own timestamps.
//! - **deleted**: somebody deletes a route of the daemon's from a kernel, and the time is taken until it is back. One that is not told but
//!   looks once a minute, as BIRD does, has that happen once or twice only.
//! - **cold**: 50 nodes with two prefixes each start from nothing; the time until every kernel has all 98 routes of the others.
//! - **idle**: 20 such nodes do nothing; memory and processor time of one node's daemon, averaged.
//!
//! On one node with one peer, which is the lab itself ([`rate`]): 100,000 routes come, change their next hop, and go.

mod change;
mod mesh;
mod rate;

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;

use crate::net::Node;
use crate::peers::bird::Bird;
use crate::peers::frr::Frr;
use crate::peers::ours::Bgpd;
use crate::sandbox;
use crate::speaker::{Plan, Speaker};

const ASN: u32 = 64512;
/// Most that one daemon may take.
const LIFE_MAX: Duration = Duration::from_secs(150);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// A change, to all kernels of 10 nodes; and a deleted route, back.
    Change,
    /// 50 nodes from nothing.
    Cold,
    /// 20 nodes at rest.
    Idle,
    /// 100,000 routes in, changed, and out.
    Rate,
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
    let word = |value: clap::builder::PossibleValue| value.get_name().to_owned();
    for whose in daemons {
        let [scenario, whose] = [scenario.to_possible_value(), whose.to_possible_value()]
            .map(|value| value.map(word).unwrap_or_default());
        let arguments = ["kernels", &scenario, "--daemons", &whose];
        let status = sandbox::run(arguments)?;
        ensure!(status.success(), "{whose}: {status}");
    }
    Ok(())
}

fn measure(scenario: Scenario, whose: Whose) -> Result<String> {
    match scenario {
        Scenario::Change => change::change(whose),
        Scenario::Cold => mesh::cold(whose),
        Scenario::Idle => mesh::idle(whose),
        Scenario::Rate => rate::rate(whose),
    }
}

fn speaker(whose: Whose, node: &Node, plan: Plan) -> Result<Box<dyn Speaker + Send>> {
    match whose {
        Whose::Bgpd => Ok(Box::new(Bgpd::start_unwatched(node, plan)?)),
        Whose::Bird => Ok(Box::new(Bird::start(node, plan)?)),
        Whose::Frr => Ok(Box::new(Frr::start(node, &plan)?)),
    }
}

/// The middle, the 99th hundredth and the worst of some milliseconds.
fn spread(values: &mut [f64]) -> Result<String> {
    values.sort_by(f64::total_cmp);
    let (Some(middle), Some(most), Some(last)) = (
        values.get(values.len() / 2),
        values.get((values.len() * 99).div_ceil(100).saturating_sub(1)),
        values.last(),
    ) else {
        bail!("nothing measured")
    };
    Ok(format!("p50 {middle:.1} ms, p99 {most:.1} ms, worst of {} {last:.1} ms", values.len()))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
