//! The lab's command line: `lab demo` for people, `lab echo` and `lab ask` for the Pods of the demo.

use std::io::{self, Write};
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use lab::demo::{self, End, Mode, When, echo};
use lab::kernels;
use lab::load::{self, Contender, Options, Scenario};

#[derive(Debug, Parser)]
#[command(name = "lab", about = "Network-namespace topologies for bgpd")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch nodes exchange Pod CIDRs over BGP and Pods reach each other. Leaves nothing behind.
    Demo {
        /// Nodes, each with a Pod.
        #[arg(long, default_value_t = 3, value_name = "N")]
        nodes: u16,
        /// Route reflectors the nodes peer with, instead of a full mesh.
        #[arg(long, default_value_t = 0, value_name = "N")]
        reflectors: u16,
        /// In which packets to Pods of other nodes travel.
        #[arg(long, value_enum, default_value = "bgp")]
        mode: Mode,
        /// Two subnets with a router between; a tunnel only from one to the other.
        #[arg(long)]
        cross_subnet: bool,
        /// Leave it up until Ctrl-C, and say how to look around.
        #[arg(long)]
        keep: bool,
    },
    /// Measure route reflectors under load, beside others and beside the physical limit.
    Load {
        /// r1 cold start, r2 churn, r3 all reconnect, r4 full table, r5 the same table from many, r6 some stop reading;
        /// without one, the whole table.
        scenario: Option<Scenario>,
        /// Clients.
        #[arg(long, value_name = "N")]
        clients: Option<u32>,
        /// Prefixes of each.
        #[arg(long, value_name = "N")]
        prefixes: Option<u32>,
        /// Runs of each daemon, interleaved.
        #[arg(long, default_value_t = 3, value_name = "N")]
        runs: u32,
        /// Whom to measure.
        #[arg(long, value_delimiter = ',', default_value = "relay,bgpd,bird,frr,gobgp,openbgpd")]
        daemons: Vec<Contender>,
    },
    /// Measure a node's daemon in a large mesh, under files as Calico writes them: this one, and BIRD.
    Calico {
        /// Sessions.
        #[arg(long, default_value_t = 1000, value_name = "N")]
        peers: u32,
    },
    /// Measure what a cluster's kernels see of bgpd, BIRD and FRR.
    Kernels {
        /// change, cold, idle or rate.
        scenario: kernels::Scenario,
        /// Whom to measure.
        #[arg(long, value_delimiter = ',', default_value = "bgpd,bird,frr")]
        daemons: Vec<kernels::Whose>,
    },
    /// The physical limit of a load.
    #[command(hide = true)]
    Relay { port: u16 },
    /// Tell whoever connects to port 7 where they seem to come from.
    #[command(hide = true)]
    Echo,
    /// Send a megabyte to an address and say how long that took.
    #[command(hide = true)]
    Send { address: IpAddr },
    /// Ask the echo service at each address.
    #[command(hide = true)]
    Ask { addresses: Vec<IpAddr> },
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "lab: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode> {
    match Arguments::parse().command {
        Command::Demo { nodes, reflectors, mode, cross_subnet, keep } => {
            let end = if keep { End::Stay } else { End::Leave };
            let when = if cross_subnet { When::CrossSubnet } else { When::Always };
            demo::run(&demo::Options { nodes, reflectors, mode, when, end })
        }
        Command::Load { scenario, clients, prefixes, runs, daemons } => {
            load::run(&Options { scenario, clients, prefixes, runs, contenders: daemons })
                .map(|()| ExitCode::SUCCESS)
        }
        Command::Calico { peers } => load::calico::run(peers).map(|()| ExitCode::SUCCESS),
        Command::Kernels { scenario, daemons } => {
            kernels::run(scenario, &daemons).map(|()| ExitCode::SUCCESS)
        }
        Command::Relay { port } => load::relay::run(port).map(|()| ExitCode::SUCCESS),
        Command::Echo => echo::serve().map(|()| ExitCode::SUCCESS),
        Command::Send { address } => echo::send(address).map(|()| ExitCode::SUCCESS),
        Command::Ask { addresses } => echo::ask(&addresses).map(|()| ExitCode::SUCCESS),
    }
}
