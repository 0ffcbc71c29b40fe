//! Scenarios, their runs and their table.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::contender::{Contender, Running, Usage};
use super::full::FullTable;
use super::swarm::{Attention, Play, Swarm};
use super::wire::{HOLD_SECS, Mesh};
use crate::{sandbox, shell};

/// Nobody is waited for longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// The shortest hold time that there is (RFC 4271 section 4.2).
const HOLD_SECS_MIN: u16 = 3;
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
    /// A full table from one to another.
    R4,
    /// Several announce the same prefixes.
    R5,
    /// Some stop reading.
    R6,
    /// All are established; then all announce at once.
    R7,
    /// All connect within a second and stay.
    R8,
}

impl Scenario {
    /// Clients, and prefixes of each, unless asked otherwise.
    fn usual(self) -> (u32, u32) {
        match self {
            Scenario::R1 | Scenario::R6 | Scenario::R7 => (1000, 4),
            Scenario::R8 => (10_000, 1),
            Scenario::R2 | Scenario::R3 => (500, 1),
            Scenario::R4 => (2, 1_000_000),
            Scenario::R5 => (10, 100_000),
        }
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "r1" => Ok(Scenario::R1),
            "r2" => Ok(Scenario::R2),
            "r3" => Ok(Scenario::R3),
            "r4" => Ok(Scenario::R4),
            "r5" => Ok(Scenario::R5),
            "r6" => Ok(Scenario::R6),
            "r7" => Ok(Scenario::R7),
            "r8" => Ok(Scenario::R8),
            other => Err(format!("no scenario `{other}`; known are r1 to r8")),
        }
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is measured; without one, the whole table.
    pub scenario: Option<Scenario>,
    /// Clients, unless as usual.
    pub clients: Option<u32>,
    /// Prefixes of each, unless as usual.
    pub prefixes: Option<u32>,
    /// Runs of each daemon.
    pub runs: u32,
    /// Whom to measure.
    pub contenders: Vec<Contender>,
}

/// A row of the table for every contender.
#[derive(Clone, Copy, Debug)]
struct Row {
    scenario: Scenario,
    clients: u32,
    prefixes: u32,
}

/// The whole table, unless something is asked for.
const TABLE: [(Scenario, u32, u32); 12] = [
    (Scenario::R1, 200, 4),
    (Scenario::R1, 1000, 4),
    (Scenario::R1, 2000, 1),
    (Scenario::R1, 5000, 1),
    (Scenario::R1, 10_000, 1),
    (Scenario::R2, 500, 1),
    (Scenario::R3, 500, 1),
    (Scenario::R4, 2, 1_000_000),
    (Scenario::R5, 10, 100_000),
    (Scenario::R6, 1000, 4),
    (Scenario::R7, 1000, 4),
    (Scenario::R8, 10_000, 1),
];

/// What one run gave.
#[derive(Clone, Debug)]
struct Sample {
    time: Duration,
    /// For churn: the 50th and 99th percentile and the maximum.
    latency: Option<[Duration; 3]>,
    /// For a storm: the longest that a client heard nothing.
    silence: Option<Duration>,
    usage: Usage,
    octets: u64,
    updates: u64,
    retries: u32,
}

/// Runs scenarios in a sandbox and prints their table.
pub fn run(options: &Options) -> Result<()> {
    if !sandbox::is_inside() {
        let status = sandbox::run(std::env::args_os().skip(1))?;
        ensure!(status.success(), "the load did not run");
        return Ok(());
    }
    sandbox::enter(Duration::MAX)?;
    prepare()?;
    heading()?;
    let rows: Vec<Row> = match options.scenario {
        None => TABLE.map(|(scenario, clients, prefixes)| Row { scenario, clients, prefixes }).into(),
        Some(scenario) => {
            let (clients, prefixes) = scenario.usual();
            let clients = options.clients.unwrap_or(clients);
            vec![Row { scenario, clients, prefixes: options.prefixes.unwrap_or(prefixes) }]
        }
    };
    for row in rows {
        print(row, options, &row.measure_all(options)?)?;
    }
    Ok(())
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

type Samples = BTreeMap<String, Vec<Result<Sample>>>;

impl Row {
    /// Every contender in turn, as often as asked for.
    fn measure_all(self, options: &Options) -> Result<Samples> {
        let mut samples = Samples::new();
        for run in 0..options.runs {
            for contender in &options.contenders {
                let Row { scenario, clients, .. } = self;
                let directory = PathBuf::from(format!("/run/lab/{scenario:?}-{clients}-{contender}-{run}"));
                let sample = self.measure(*contender, &directory);
                if let Err(error) = &sample {
                    writeln!(io::stderr(), "{contender}: {error:#}")?;
                }
                samples.entry(contender.to_string()).or_default().push(sample);
            }
        }
        Ok(samples)
    }

    fn measure(self, contender: Contender, directory: &Path) -> Result<Sample> {
        let Row { scenario, clients, prefixes } = self;
        let daemon = Running::start(contender, clients, directory)?;
        let mesh = Mesh { clients, prefixes };
        match scenario {
            Scenario::R1 | Scenario::R2 | Scenario::R3 | Scenario::R6 => {
                self.over_mesh(Swarm::new(mesh, daemon.address)?, &daemon)
            }
            Scenario::R7 => {
                let swarm = Swarm::new(mesh, daemon.address)?.restrained(HOLD_SECS);
                all_announce(swarm, &daemon)
            }
            Scenario::R8 => storm(Swarm::new(mesh, daemon.address)?.restrained(HOLD_SECS_MIN), &daemon),
            Scenario::R4 => cold_start(
                Swarm::new(FullTable::new(prefixes as usize, clients, 1), daemon.address)?,
                &daemon,
            ),
            Scenario::R5 => cold_start(
                Swarm::new(FullTable::new(prefixes as usize, clients, clients), daemon.address)?,
                &daemon,
            ),
        }
    }

    fn over_mesh(self, mut swarm: Swarm<Mesh>, daemon: &Running) -> Result<Sample> {
        let mut latency = None;
        let began = Instant::now();
        swarm.connect(daemon.at_once)?;
        let mut time = match self.scenario {
            Scenario::R6 => cold_start_with_deaf(&mut swarm, began)?,
            _ => {
                swarm.run(PATIENCE, |s| s.complete() == self.clients)?;
                began.elapsed()
            }
        };
        match self.scenario {
            Scenario::R2 => latency = Some(churn(&mut swarm)?),
            Scenario::R3 => {
                let again = Instant::now();
                swarm.connect(daemon.at_once)?;
                swarm.run(PATIENCE, |s| s.complete() == self.clients)?;
                time = again.elapsed();
            }
            Scenario::R1 | Scenario::R4 | Scenario::R5 | Scenario::R6 | Scenario::R7 | Scenario::R8 => {}
        }
        sample(&swarm, daemon, time, latency)
    }
}

fn cold_start<P: Play>(mut swarm: Swarm<P>, daemon: &Running) -> Result<Sample> {
    let clients = swarm.clients();
    let began = Instant::now();
    swarm.connect(daemon.at_once)?;
    swarm.run(PATIENCE, |s| s.complete() == clients)?;
    sample(&swarm, daemon, began.elapsed(), None)
}

/// Everybody is established, and the daemon has nothing to do; then everybody announces.
fn all_announce(mut swarm: Swarm<Mesh>, daemon: &Running) -> Result<Sample> {
    let clients = swarm.clients();
    swarm.connect(daemon.at_once)?;
    swarm.run(PATIENCE, |s| s.established() == clients)?;
    swarm.idle(Duration::from_secs(1))?;
    let before = daemon.usage()?;
    let began = Instant::now();
    swarm.announce()?;
    swarm.run(PATIENCE, |s| s.complete() == clients)?;
    let mut sample = sample(&swarm, daemon, began.elapsed(), None)?;
    sample.usage.cpu -= before.cpu;
    sample.usage.system -= before.system;
    Ok(sample)
}

/// Everybody connects within a second, and hears a KEEPALIVE within every hold time.
fn storm(mut swarm: Swarm<Mesh>, daemon: &Running) -> Result<Sample> {
    let clients = swarm.clients();
    let began = Instant::now();
    swarm.connect_within(Duration::from_secs(1))?;
    swarm.run(PATIENCE, |s| s.established() == clients)?;
    let time = began.elapsed();
    let hold = Duration::from_secs(u64::from(HOLD_SECS_MIN));
    let silence = swarm.idle(3 * hold)?;
    ensure!(silence < hold, "a client heard nothing for {silence:?}");
    Ok(Sample { silence: Some(silence), ..sample(&swarm, daemon, time, None)? })
}

fn sample<P: Play>(
    swarm: &Swarm<P>,
    daemon: &Running,
    time: Duration,
    latency: Option<[Duration; 3]>,
) -> Result<Sample> {
    let (octets, updates) = swarm.received();
    let (usage, retries, silence) = (daemon.usage()?, swarm.retries(), None);
    Ok(Sample { time, latency, silence, usage, octets, updates, retries })
}

/// The first [`DEAF`] clients never read; the others must have everything.
fn cold_start_with_deaf(swarm: &mut Swarm<Mesh>, began: Instant) -> Result<Duration> {
    let clients = swarm.clients();
    ensure!(clients > DEAF, "more than {DEAF} clients are needed");
    swarm.run(PATIENCE, |s| s.established() == clients)?;
    for deaf in 0..DEAF {
        swarm.attend(deaf, Attention::Ignores);
    }
    swarm.run(PATIENCE, |s| s.complete() >= clients - DEAF)?;
    Ok(began.elapsed())
}

/// One withdrawal or announcement at a time; from the send to the last receiver.
fn churn(swarm: &mut Swarm<Mesh>) -> Result<[Duration; 3]> {
    let mesh = *swarm.mesh();
    let mut latencies = Vec::new();
    for change in 0..CHANGES {
        let client = (change / 2) * 7 % mesh.clients;
        let number = client * mesh.prefixes;
        let (octets, holders) = match change % 2 {
            0 => (mesh.withdrawal(client), 0),
            _ => (mesh.routes(client, None)?, mesh.clients - 1),
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

fn heading() -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "| scenario | daemon | finished | time s | CPU s | kernel % | peak MB | MB out | UPDATEs | retries \
         | time, CPU, memory / BIRD's | time / relay's | churn ms p50, p99, max; longest silence |"
    )?;
    writeln!(out, "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|---|")?;
    Ok(())
}

/// The run with the median time, of those that finished.
fn median(samples: &Samples, contender: Contender) -> (usize, Option<&Sample>) {
    let all = samples.get(&contender.to_string()).into_iter().flatten();
    let mut good: Vec<&Sample> = all.flat_map(|s| s.as_ref().ok()).collect();
    good.sort_by_key(|s| s.latency.map_or(s.time, |l| l[0]));
    (good.len(), good.get(good.len() / 2).copied())
}

fn print(row: Row, options: &Options, samples: &Samples) -> Result<()> {
    let mut out = io::stdout().lock();
    let Row { scenario, clients, prefixes } = row;
    let head = format!("{scenario:?} {clients} x {prefixes}");
    let (_, bird) = median(samples, Contender::Bird);
    let (_, relay) = median(samples, Contender::Relay);
    for contender in &options.contenders {
        let (finished, median) = median(samples, *contender);
        let finished = format!("{finished}/{}", options.runs);
        let Some(own) = median else {
            writeln!(out, "| {head} | {contender} | {finished} | | | | | | | | | | |")?;
            continue;
        };
        let secs = |d: Duration| d.as_secs_f64();
        let ratio = |own: f64, other: f64| format!("{:.2}", own / other.max(0.001));
        let to_bird = bird.map(|bird| {
            let time = ratio(secs(own.time), secs(bird.time));
            let cpu = ratio(secs(own.usage.cpu), secs(bird.usage.cpu));
            format!("{time}, {cpu}, {}", ratio(own.usage.memory as f64, bird.usage.memory as f64))
        });
        let to_relay = relay.map(|relay| ratio(secs(own.time), secs(relay.time)));
        let millis = |d: Duration| format!("{:.1}", secs(d) * 1e3);
        let latency = own.latency.map(|l| l.map(millis).join(", ")).or(own.silence.map(millis));
        writeln!(
            out,
            "| {head} | {contender} | {finished} | {:.3} | {:.2} | {:.0} | {:.1} | {:.1} | {} | {} | {} | {} | {} |",
            secs(own.time),
            secs(own.usage.cpu),
            100.0 * secs(own.usage.system) / secs(own.usage.cpu).max(0.001),
            own.usage.memory as f64 / 1e6,
            own.octets as f64 / 1e6,
            own.updates,
            own.retries,
            to_bird.unwrap_or_default(),
            to_relay.unwrap_or_default(),
            latency.unwrap_or_default()
        )?;
    }
    Ok(out.flush()?)
}
