//! The demo: a newcomer types one command and watches nodes exchange Pod CIDRs over BGP, the kernel routes appear, Pods
//! reach each other under their own addresses, and a node's routes leave when it stops.
//!
//! Outside, it installs what is missing, builds `bgpd` and asks for namespaces; inside, it is the show. Whatever ends it,
//! Ctrl-C included, ends all: see [`sandbox`].

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::net::{Family, NODES_MAX};
use crate::peers::ours::{self, Bgpd};
use crate::speaker::Speaker;
use crate::{sandbox, shell, uml};

mod cluster;
pub mod echo;
mod mode;
mod reach;
mod show;
mod wire;

use cluster::{Cluster, Daemons};
pub use mode::{Mode, When};
use reach::Reach;
use show::{Show, Tone};

/// Nodes up to which each pair of Pods gets a line of its own.
const NODES_LISTED_MAX: u16 = 4;

/// What to show.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes with a Pod each.
    pub nodes: u16,
    /// Reflectors that the nodes peer with; none: a full mesh.
    pub reflectors: u16,
    /// In which packets travel.
    pub mode: Mode,
    /// To which nodes they travel in a tunnel.
    pub when: When,
    /// Whether it stays up at the end.
    pub end: End,
}

impl Options {
    /// How many of the nodes are in the far subnet.
    fn far(&self) -> usize {
        let is_flat = self.mode == Mode::Bgp && self.when == When::Always;
        if is_flat { 0 } else { usize::from((self.nodes / 3).max(1)) }
    }
}

/// What happens when everything was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything goes.
    Leave,
    /// It stays up until Ctrl-C.
    Stay,
}

/// Runs the demo, from whichever side this process is on.
pub fn run(options: &Options) -> Result<ExitCode> {
    let machines = u32::from(options.nodes) + u32::from(options.reflectors);
    ensure!(options.nodes >= 2, "a demo needs two nodes to talk to each other");
    ensure!(machines <= u32::from(NODES_MAX), "at most {NODES_MAX} machines fit on one underlay");
    if sandbox::is_inside() {
        let outside = sandbox::enter(Duration::MAX)?;
        let passed = perform(options, outside).inspect_err(|_| sandbox::tails())?;
        return Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    prepare()?;
    if options.mode == Mode::Ipip && !uml::is_inside() && !mode::has_ipip() {
        return in_another_kernel(options);
    }
    let status = sandbox::run(env::args_os().skip(1))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// This kernel has no IPIP: the same demo in one that has.
fn in_another_kernel(options: &Options) -> Result<ExitCode> {
    ensure!(options.end == End::Leave, "--keep needs a kernel with ipip: modprobe ipip");
    install_missing(&uml::TOOLS)?;
    Show::new().line("this kernel has no ipip module: the demo runs in user-mode Linux");
    let arguments: Vec<String> = env::args().skip(1).collect();
    uml::run(&arguments, &[("BGPD_BIN", ours::binary()?.display().to_string())])
}

/// Installs missing tools, where that is possible, and builds the daemon.
fn prepare() -> Result<()> {
    install_missing(&shell::TOOLS)?;
    if env::var_os("BGPD_BIN").is_some() {
        return Ok(());
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = shell::command(&cargo.to_string_lossy());
    build.args(["build", "--release", "--package", "bgpd", "--bin", "bgpd"]);
    build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    ensure!(build.status().context("cannot run cargo")?.success(), "bgpd does not build");
    ours::binary().map(drop)
}

fn install_missing(tools: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> = tools.iter().filter(|(tool, _)| shell::which(tool).is_none()).collect();
    if !missing.is_empty() {
        let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
        packages.dedup();
        let packages = packages.join(" ");
        ensure!(
            sandbox::is_root() && shell::which("apt-get").is_some(),
            "missing: {}; install them first, on Debian with: sudo apt-get install {packages}",
            missing.iter().map(|(tool, _)| *tool).collect::<Vec<_>>().join(", ")
        );
        let show = Show::new();
        show.step(&format!("apt-get install {packages}"), || install(&packages))?;
    }
    Ok(())
}

fn install(packages: &str) -> Result<()> {
    let apt = |words: &str| {
        let mut command = shell::command("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq").args(words.split(' '));
        shell::read(&mut command)
    };
    let words = format!("install -y --no-install-recommends {packages}");
    // A fresh machine has no package lists yet.
    if apt(&words).is_err() {
        apt("update")?;
        apt(&words)?;
    }
    Ok(())
}

/// The show itself; true when every check passed.
fn perform(options: &Options, outside: u32) -> Result<bool> {
    let show = Show::new();
    let (nodes, reflectors) = (options.nodes, options.reflectors);
    let shape = match reflectors {
        0 => "in a full mesh".to_owned(),
        1 => "with one route reflector".to_owned(),
        _ => format!("with {reflectors} route reflectors"),
    };
    let versions = if options.mode == Mode::Ipip { "IPv4" } else { "IPv4 and IPv6" };
    show.heading(&format!("{nodes} nodes {shape}, {versions}"));
    let place = match options.far() {
        0 => "on one network".to_owned(),
        far => format!("in two subnets with a router between, {far} in the second"),
    };
    let cluster = show.step(&format!("{nodes} nodes {place}, a Pod on each"), || Cluster::build(options))?;
    let mut daemons = show.step("bgpd runs on every one of them", || cluster.start())?;
    let wanted = cluster.sessions_wanted();
    show.step(&format!("every node has {wanted} of {wanted} sessions established"), || {
        daemons.wait_established(wanted)
    })?;
    show.step("every kernel has the Pod CIDRs of all other nodes", || cluster.wait_routes())?;
    look(&show, &cluster, &daemons)?;
    reach(&show, options, &cluster)?;
    if options.far() > 0 {
        look_at_wire(&show, options, &cluster)?;
    }
    stop(&show, &cluster, &mut daemons)?;
    let passed = show.end();
    if options.end == End::Stay {
        stay(&show, &cluster, &daemons, outside)?;
    }
    Ok(passed)
}

/// The first node, as its operator sees it.
fn look(show: &Show, cluster: &Cluster, daemons: &Daemons) -> Result<()> {
    let (node, bgpd) = (&cluster.nodes[0], &daemons.nodes[0]);
    show.heading(&format!("{}, as its operator sees it", node.name));
    show.terminal(&node.name, "cat bgpd.yaml", &cluster.node_config(node)?);
    show.line("");
    show.terminal(&node.name, "bgpd status", &bgpd.show(&["status"])?);
    for command in ["ip route", "ip -6 route"] {
        show.line("");
        show.terminal(&node.name, command, &node.sh(&format!("{command}\n"))?);
    }
    Ok(())
}

/// Pod to Pod.
fn reach(show: &Show, options: &Options, cluster: &Cluster) -> Result<()> {
    let whom = match cluster.pods.len() - 1 {
        ..=reach::OTHERS_MAX => "every other".to_owned(),
        _ => format!("{} others", reach::OTHERS_MAX),
    };
    show.heading(&format!("Every Pod pings {whom}, and asks which address it is seen by"));
    let found = reach::all(&cluster.pods, options.mode.families())?;
    let failed = |reach: &&Reach| reach.ping_ms.is_none() || reach.seen_as != Some(reach.own);
    let listed: Vec<&Reach> = match options.nodes {
        ..=NODES_LISTED_MAX => found.iter().collect(),
        _ => found.iter().filter(failed).collect(),
    };
    for reach in listed {
        let ping = reach.ping_ms.map_or("no answer".to_owned(), |ms| format!("{ms:.2} ms"));
        let seen = reach.seen_as.map_or("nobody".to_owned(), |seen| seen.to_string());
        let Reach { from, to, address, .. } = reach;
        show.line(&format!("    {from} -> {to}  {:<18} {ping:>9}  seen as {seen}", address.to_string()));
    }
    let all = found.len();
    let answered = found.iter().filter(|reach| reach.ping_ms.is_some()).count();
    let own = found.iter().filter(|reach| reach.seen_as == Some(reach.own)).count();
    show.check(answered == all, &format!("{answered} of {all} pings answered"));
    show.check(own == all, &format!("{own} of {all} times the Pod's own address was seen: no NAT"));
    Ok(())
}

/// What packets look like on the way to a Pod in the same subnet and to one in the other, and a transfer to each.
fn look_at_wire(show: &Show, options: &Options, cluster: &Cluster) -> Result<()> {
    show.heading("On the wire of the first node");
    let underlay = 1500;
    for device in cluster.devices() {
        let (family, overhead) = match device {
            "tunl0" => (Family::V4, 20),
            "vxlan.bgpd" => (Family::V4, 50),
            _ => (Family::V6, 70),
        };
        let mtu = underlay - overhead;
        show.step(&format!("{device} carries {} packets of {mtu} octets", family.word()), || {
            cluster.nodes.iter().try_for_each(|node| wire::wait_device(node, device, mtu))
        })?;
    }
    for to in [1, cluster.nodes.len() - 1] {
        for family in options.mode.families() {
            let (packet, is_right) = wire::look(cluster, to, *family)?;
            show.line(&format!("    {packet}"));
            let way = match cluster.device(&cluster.nodes[0], &cluster.nodes[to], *family) {
                "eth0" => "as it is".to_owned(),
                device => format!("through {device}"),
            };
            show.check(is_right, &format!("to {} {way}", cluster.pods[to].address(*family)));
            let said = wire::transfer(cluster, to, *family);
            let text = said.as_ref().map_or_else(|error| format!("{error:#}"), Clone::clone);
            show.check(said.is_ok(), &format!("TCP to {}: {text}", cluster.pods[to].address(*family)));
        }
    }
    Ok(())
}

/// One node's daemon dies and comes back.
fn stop(show: &Show, cluster: &Cluster, daemons: &mut Daemons) -> Result<()> {
    let Some((last, others)) = cluster.nodes.split_last() else { bail!("no nodes") };
    let Some(bgpd) = daemons.nodes.last_mut() else { bail!("no daemons") };
    show.heading(&format!("bgpd on {} is killed", last.name));
    bgpd.daemon().kill();
    let gone = match others {
        [only] => format!("{} has", only.name),
        _ => format!("{} others have", others.len()),
    };
    show.step(&format!("{gone} no route to {}'s Pods any more", last.name), || {
        others.iter().try_for_each(|node| cluster.wait_gone(node, last))
    })?;
    show.step("started again, and everybody has every route", || {
        bgpd.relaunch()?;
        cluster.wait_routes()
    })
}

/// Leaves it up, with directions.
fn stay(show: &Show, cluster: &Cluster, daemons: &Daemons, outside: u32) -> Result<()> {
    let flags = sandbox::inside().map_or("", sandbox::Grant::nsenter);
    let enter = format!("nsenter --target {outside} {flags}");
    let node = &cluster.nodes[0];
    let status = daemons.nodes.first().map(Bgpd::status_command).transpose()?.unwrap_or_default();
    show.heading("It stays up until Ctrl-C. From another terminal:");
    show.line(&format!("  {}", show.tone(Tone::Faint, "# a shell inside, and from there:")));
    show.line(&format!("  {enter} bash"));
    show.line(&format!("  ip netns exec {} {status}", node.name));
    show.line(&format!("  ip -n {} route", node.name));
    show.line(&format!("  ip netns exec {} tcpdump -ni eth0 port 179", node.name));
    show.line(&format!("  nsenter --target {} --net ping {}", cluster.pods[0].pid(), cluster.pods[1].v4));
    show.line("  tail -f /run/lab/*.log");
    loop {
        // The watch on the outer process ends this one.
        std::thread::park();
    }
}
