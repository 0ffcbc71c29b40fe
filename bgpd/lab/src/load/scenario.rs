//! Scenarios, their runs and their table.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::contender::{Contender, Running, Usage};
use super::swarm::{Attention, Swarm};
use super::wire::Shape;
use crate::{sandbox, shell};

/// Nobody is waited for longer.
const PATIENCE: Duration = Duration::from_secs(180);
/// Changes of the churn scenario.
const CHANGES: u32 = 300;
/// Clients that stop reading.
const DEAF: u32 = 100;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Cold start.
    R1,
    /// Churn in steady state.
    R2,
    /// All reconnect at once.
    R3,
    /// Some stop reading.
    R6,
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "r1" => Ok(Scenario::R1),
            "r2" => Ok(Scenario::R2),
            "r3" => Ok(Scenario::R3),
            "r6" => Ok(Scenario::R6),
            other => Err(format!("no scenario `{other}`; known are r1, r2, r3, r6")),
        }
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is measured.
    pub scenario: Scenario,
    /// Clients.
    pub clients: u32,
    /// Prefixes of each.
    pub prefixes: u32,
    /// Runs of each daemon.
    pub runs: u32,
    /// Whom to measure.
    pub contenders: Vec<Contender>,
}

/// What one run gave.
#[derive(Clone, Debug)]
struct Sample {
    time: Duration,
    /// For churn: the 50th and 99th percentile and the maximum.
    latency: Option<[Duration; 3]>,
    usage: Usage,
    octets: u64,
    updates: u64,
}

/// Runs a scenario in a sandbox and prints its table.
pub fn run(options: &Options) -> Result<()> {
    if !sandbox::is_inside() {
        let grant = sandbox::grant()?;
        let mut child =
            sandbox::command(grant, std::env::args_os().skip(1))?.spawn().context("cannot run unshare")?;
        // The sandbox ends with its standard input.
        let hold = child.stdin.take();
        let status = child.wait()?;
        drop(hold);
        ensure!(status.success(), "the load did not run");
        return Ok(());
    }
    sandbox::enter(Duration::MAX)?;
    prepare()?;
    let mut samples: BTreeMap<String, Vec<Result<Sample>>> = BTreeMap::new();
    for run in 0..options.runs {
        for contender in &options.contenders {
            let directory = PathBuf::from(format!("/run/lab/{contender}-{run}"));
            let sample = measure(options, *contender, &directory);
            if let Err(error) = &sample {
                writeln!(io::stderr(), "{contender}: {error:#}")?;
            }
            samples.entry(contender.to_string()).or_default().push(sample);
        }
    }
    print(options, &samples)
}

/// Loopback, a route for the clients' next hops, and room for thousands who connect at once.
fn prepare() -> Result<()> {
    for words in [
        &["link", "set", "lo", "up"][..],
        &["route", "add", "100.64.0.0/10", "dev", "lo"],
        &["route", "add", "default", "dev", "lo"],
    ] {
        shell::read(Command::new("ip").args(words))?;
    }
    for setting in ["net.core.somaxconn=65535", "net.ipv4.tcp_max_syn_backlog=65535"] {
        shell::read(Command::new("sysctl").args(["-qw", setting]))?;
    }
    Ok(())
}

fn measure(options: &Options, contender: Contender, directory: &std::path::Path) -> Result<Sample> {
    let daemon = Running::start(contender, directory)?;
    let shape = Shape { clients: options.clients, prefixes: options.prefixes };
    let began = Instant::now();
    let mut swarm = Swarm::connect(shape, daemon.address)?;
    let mut latency = None;
    let mut time = match options.scenario {
        Scenario::R6 => cold_start_with_deaf(&mut swarm, began)?,
        Scenario::R1 | Scenario::R2 | Scenario::R3 => {
            swarm.run(PATIENCE, |s| s.complete() == shape.clients)?;
            began.elapsed()
        }
    };
    match options.scenario {
        Scenario::R1 | Scenario::R6 => {}
        Scenario::R2 => latency = Some(churn(&mut swarm)?),
        Scenario::R3 => {
            drop(swarm);
            let again = Instant::now();
            swarm = Swarm::connect(shape, daemon.address)?;
            swarm.run(PATIENCE, |s| s.complete() == shape.clients)?;
            time = again.elapsed();
        }
    }
    let (octets, updates) = swarm.received();
    Ok(Sample { time, latency, usage: daemon.usage()?, octets, updates })
}

/// The first [`DEAF`] clients never read; the others must have everything.
fn cold_start_with_deaf(swarm: &mut Swarm, began: Instant) -> Result<Duration> {
    let clients = swarm.shape().clients;
    ensure!(clients > DEAF, "more than {DEAF} clients are needed");
    swarm.run(PATIENCE, |s| s.established() == clients)?;
    for deaf in 0..DEAF {
        swarm.attend(deaf, Attention::Ignores);
    }
    swarm.run(PATIENCE, |s| s.complete() >= clients - DEAF)?;
    Ok(began.elapsed())
}

/// One withdrawal or announcement at a time; from the send to the last receiver.
fn churn(swarm: &mut Swarm) -> Result<[Duration; 3]> {
    let shape = *swarm.shape();
    let mut latencies = Vec::new();
    for change in 0..CHANGES {
        let client = (change / 2) * 7 % shape.clients;
        let number = client * shape.prefixes;
        let (octets, holders) = match change % 2 {
            0 => (swarm.shape().withdrawal(client), 0),
            _ => (swarm.shape().announcement(client, None)?, shape.clients - 1),
        };
        let began = Instant::now();
        swarm.say(client, octets)?;
        swarm.run(PATIENCE, |s| s.holders(number) == holders)?;
        latencies.push(began.elapsed());
    }
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    Ok([at(50), at(99), at(100)])
}

fn print(options: &Options, samples: &BTreeMap<String, Vec<Result<Sample>>>) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:?}, {} clients with {} prefixes each, median of those of {} runs that finished",
        options.scenario, options.clients, options.prefixes, options.runs
    )?;
    writeln!(
        out,
        "{:9} {:>8} {:>9} {:>8} {:>8} {:>8} {:>10} {:>9}  latency ms p50/p99/max",
        "daemon", "finished", "time s", "cpu s", "kernel", "peak MB", "octets MB", "updates"
    )?;
    for contender in &options.contenders {
        let all = samples.get(&contender.to_string()).into_iter().flatten();
        let mut good: Vec<&Sample> = all.flat_map(|s| s.as_ref().ok()).collect();
        good.sort_by_key(|s| s.latency.map_or(s.time, |l| l[0]));
        let Some(median) = good.get(good.len() / 2) else {
            writeln!(out, "{contender:9} {:>8}", format!("0/{}", options.runs))?;
            continue;
        };
        let kernel = 100.0 * median.usage.system.as_secs_f64() / median.usage.cpu.as_secs_f64().max(0.001);
        let latency = median.latency.map(|l| l.map(|d| format!("{:.1}", d.as_secs_f64() * 1e3)).join(" / "));
        writeln!(
            out,
            "{contender:9} {:>8} {:9.3} {:8.2} {:7.0}% {:8.1} {:10.1} {:9}  {}",
            format!("{}/{}", good.len(), options.runs),
            median.time.as_secs_f64(),
            median.usage.cpu.as_secs_f64(),
            kernel,
            median.usage.memory as f64 / 1e6,
            median.octets as f64 / 1e6,
            median.updates,
            latency.unwrap_or_default()
        )?;
    }
    Ok(())
}
