//! `lab calico`: what a node's daemon costs in a mesh of thousands, under files as Calico writes them.
//!
//! The daemon, this one under the name of BIRD or BIRD 2 itself, gets one file with a session for each peer, as confd renders it: `passive on`, an import
//! and an export filter in each, the block list in a function that every export filter calls. All peers are one process
//! ([`super::swarm`]). Processor time is the scheduler's own count of all threads, with what the daemon uses at rest taken off.
//!
//! 1. **start**: until the control socket answers and the daemon is at rest.
//! 2. **up**: every session established, a /26 from each, all of them in the kernel.
//! 3. **peer**: one session more in the file, SIGHUP.
//! 4. **block**: one block of addresses more, SIGHUP; until every peer was told.
//! 5. **same**: the same files again, SIGHUP.
//!
//! BIRD 2 is the nearest that can be installed to the BIRD 1.6 of Calico; its files say the same in its own syntax. Calico's default has BIRD
//! log every route at every filter (`debug`), which is most of what a block costs it: it is measured without as well.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use super::swarm::{Play, Swarm};
use super::wire::{self, ASN, Mesh};
use crate::peers::ours;
use crate::wait::{self, Gone};
use crate::{sandbox, shell};

/// Nobody is waited for longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Processor time in a second that counts as rest.
const REST: Duration = Duration::from_millis(6);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Ours,
    Bird,
    /// Without the lines that have it log everything.
    SilentBird,
}

impl Whose {
    fn name(self) -> &'static str {
        match self {
            Whose::Ours => "bgpd as bird",
            Whose::Bird => "BIRD 2",
            Whose::SilentBird => "BIRD 2, no debug",
        }
    }
}

/// What a step cost.
struct Cost {
    cpu: Duration,
    /// Resident, octets, when it is done.
    memory: u64,
    time: Duration,
}

/// Measures each daemon in a sandbox and prints a row for each step.
pub fn run(peers: u32) -> Result<()> {
    if !sandbox::is_inside() {
        let status = sandbox::run(std::env::args_os().skip(1))?;
        ensure!(status.success(), "{status}");
        return Ok(());
    }
    sandbox::enter(Duration::MAX)?;
    for line in [
        "link set lo up",
        "link add eth0 type veth peer name far",
        "link set eth0 up",
        "link set far up",
        "addr add 100.127.255.254/10 dev eth0",
    ] {
        shell::read(Command::new("ip").args(line.split(' ')))?;
    }
    let mut out = io::stdout().lock();
    writeln!(out, "| {peers} peers | step | CPU ms | resident MB | time ms |\n|---|---|---:|---:|---:|")?;
    for whose in [Whose::Ours, Whose::Bird, Whose::SilentBird] {
        for (step, cost) in measure(whose, peers)? {
            writeln!(
                out,
                "| {} | {step} | {:.1} | {:.1} | {:.0} |",
                whose.name(),
                cost.cpu.as_secs_f64() * 1e3,
                cost.memory as f64 / 1e6,
                cost.time.as_secs_f64() * 1e3
            )?;
            out.flush()?;
        }
    }
    Ok(())
}

fn measure(whose: Whose, peers: u32) -> Result<Vec<(&'static str, Cost)>> {
    let directory = PathBuf::from(format!("/run/lab/{whose:?}"));
    let mut files = Files { whose, peers, blocks: 2, directory: directory.clone() };
    files.write()?;
    let began = Instant::now();
    let daemon = Daemon::start(whose, &directory)?;
    let play = Node(Mesh { clients: peers, prefixes: 1 });
    let mut swarm = Swarm::new(play, ([127, 0, 0, 1], 179).into())?;
    let mut costs = Vec::new();
    let time = began.elapsed();
    rest(&mut swarm, &daemon)?;
    costs.push(("start", Cost { cpu: daemon.cpu()?, memory: daemon.memory()?, time }));
    let mut step = |name, swarm: &mut Swarm<Node>, act: &mut dyn FnMut(&mut Swarm<Node>) -> Result<()>| {
        let idle = idle(swarm, &daemon)?;
        let (before, began) = (daemon.cpu()?, Instant::now());
        act(swarm)?;
        let time = began.elapsed();
        rest(swarm, &daemon)?;
        let cpu = (daemon.cpu()? - before).saturating_sub(idle.mul_f64(began.elapsed().as_secs_f64()));
        costs.push((name, Cost { cpu, memory: daemon.memory()?, time }));
        anyhow::Ok(())
    };
    // BIRD listens with a backlog of 8: a crowd would measure how long the kernel waits before it tries again.
    let told = |swarm: &Swarm<Node>, blocks: u32| swarm.heard().all(|h| h.count_ones() == blocks);
    step("sessions up, a /26 from each", &mut swarm, &mut |swarm| {
        swarm.connect(4)?;
        swarm.run(PATIENCE, |s| s.established() == peers && told(s, 2))?;
        installed(swarm, peers)
    })?;
    files.peers += 1;
    step("reload with a peer more", &mut swarm, &mut |swarm| {
        files.write()?;
        daemon.hang_up()?;
        rest(swarm, &daemon)
    })?;
    files.blocks += 1;
    step("reload with a block more", &mut swarm, &mut |swarm| {
        files.write()?;
        daemon.hang_up()?;
        swarm.run(PATIENCE, |s| told(s, 3))
    })?;
    step("reload of the same", &mut swarm, &mut |swarm| {
        daemon.hang_up()?;
        rest(swarm, &daemon)
    })?;
    ensure!(swarm.established() == peers, "a session was lost: {}", swarm.progress());
    Ok(costs)
}

/// Waits until the kernel has a route from every peer.
fn installed(swarm: &mut Swarm<Node>, peers: u32) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let routes = shell::read(Command::new("ip").args(["-4", "route", "show", "proto", "bird"]))?;
        let count = routes.lines().filter(|line| line.contains("via")).count();
        if count >= peers as usize {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{count} of {peers} routes in the kernel");
        swarm.pass(Duration::from_millis(100))?;
    }
}

/// Waits until the daemon does next to nothing.
fn rest(swarm: &mut Swarm<Node>, daemon: &Daemon) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = daemon.cpu()?;
        swarm.pass(Duration::from_secs(1))?;
        if daemon.cpu()? - before < REST {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the daemon does not come to rest");
    }
}

/// Processor time of a second at rest.
fn idle(swarm: &mut Swarm<Node>, daemon: &Daemon) -> Result<Duration> {
    let before = daemon.cpu()?;
    // BIRD looks at the kernel every 2 seconds, as Calico has it.
    swarm.pass(Duration::from_secs(4))?;
    Ok((daemon.cpu()? - before) / 4)
}

/// Peers that announce a prefix each and hear of the node's blocks.
struct Node(Mesh);

impl Play for Node {
    /// A bit for each block of the node that was heard of.
    type Heard = u32;

    fn clients(&self) -> u32 {
        self.0.clients
    }

    fn announcement(&self, client: u32) -> Result<Bytes> {
        self.0.routes(client, None)
    }

    fn nothing(&self, _client: u32) -> u32 {
        0
    }

    fn hear(&self, _client: u32, heard: &mut u32, message: &[u8]) -> Result<()> {
        let (_, _, nlri) = wire::parts(message)?;
        wire::each_prefix(nlri, |addr| {
            let [first, second, block, _] = addr.to_be_bytes();
            ensure!((first, second) == (172, 16), "a route of another peer is told in a mesh");
            *heard |= 1u32.checked_shl(u32::from(block)).unwrap_or(0);
            Ok(())
        })
    }

    fn has_all(&self, _client: u32, _heard: &u32) -> bool {
        false
    }
}

/// What is in the node's files.
struct Files {
    whose: Whose,
    peers: u32,
    blocks: u32,
    directory: PathBuf,
}

impl Files {
    /// As confd does: each beside its place, then into it.
    fn write(&self) -> Result<()> {
        fs::create_dir_all(&self.directory)?;
        for (name, text) in
            [("bird_ipam.cfg", ipam()), ("bird_aggr.cfg", self.aggregates()), ("bird.cfg", self.main())]
        {
            let staged = self.directory.join(format!(".{name}1"));
            fs::write(&staged, text)?;
            fs::rename(staged, self.directory.join(name))?;
        }
        Ok(())
    }

    fn is_ours(&self) -> bool {
        self.whose == Whose::Ours
    }

    fn aggregates(&self) -> String {
        let channel = if self.is_ours() { "" } else { " ipv4;" };
        let blocks = (0..self.blocks).map(|at| format!("172.16.{at}.0/26"));
        let (mut routes, mut rules) = (String::new(), String::new());
        for block in blocks {
            let _ = writeln!(routes, "  route {block} blackhole;");
            let _ = writeln!(
                rules,
                "  if ( net = {block} ) then {{ accept; }}\n  if ( net ~ {block} && krt_metric < 1024 ) then {{ accept; }}\n\
                 \x20 if ( net ~ {block} ) then {{ reject; }}"
            );
        }
        format!(
            "protocol static {{{channel}\n{routes}}}\nfunction apply_communities ()\n{{\n}}\n\
             function calico_aggr ()\n{{\n{rules}}}\n"
        )
    }

    fn main(&self) -> String {
        let debug = |what: &str| match self.whose {
            Whose::SilentBird => String::new(),
            Whose::Ours | Whose::Bird => format!("  debug {{ {what} }};\n"),
        };
        let (states, all) = (debug("states"), debug("states, routes, filters, events"));
        let head = "include \"bird_aggr.cfg\";\ninclude \"bird_ipam.cfg\";\nrouter id 9.9.9.9;\n";
        let session = "  graceful restart;\n  connect delay time 2;\n  connect retry time 5;\n  error wait time 5,30;\n  multihop;\n";
        let kernel = "  learn;\n  persist;\n  scan time 2;\n  merge paths on;\n";
        let (kernel, template) = match self.is_ours() {
            true => (
                format!(
                    "{kernel}  import all;\n  export filter calico_kernel_programming;\n  graceful restart;\n"
                ),
                format!("  local as {ASN};\n  gateway recursive;\n  add paths on;\n{session}{all}"),
            ),
            false => (
                format!("{kernel}  ipv4 {{ import all; export filter calico_kernel_programming; }};\n"),
                format!("  local 127.0.0.1 as {ASN};\n{session}{all}"),
            ),
        };
        let log = if self.is_ours() { "" } else { "log stderr all;\n" };
        let direct = if self.is_ours() { "" } else { "  ipv4;\n" };
        let mut text = format!(
            "{log}{head}protocol kernel {{\n{kernel}}}\nprotocol device {{\n{states}  scan time 2;\n}}\n\
             protocol direct {{\n{direct}{states}  interface -\"cali*\", -\"kube-ipvs*\", \"*\";\n}}\n\
             template bgp bgp_template {{\n{template}}}\n"
        );
        for peer in 0..self.peers {
            text += &self.session(peer);
        }
        text
    }

    fn session(&self, peer: u32) -> String {
        let addr = wire::address_of(peer);
        let name = addr.to_string().replace('.', "_");
        let filters = "  import filter {\n    if (defined(bgp_local_pref)&&(bgp_local_pref > 2147482623)) then\n      preference = 200;\n    accept;\n  };\n\
                       \x20 export filter {\n    if (defined(source) && source = RTS_BGP && defined(bgp_local_pref)) then {\n\
                       \x20     krt_metric = 2147483647 - bgp_local_pref;\n    } else {\n      if (!defined(krt_metric)) then { krt_metric = 1024; }\n\
                       \x20     bgp_local_pref = 2147483647 - krt_metric;\n    }\n    calico_export_to_bgp_peers(true);\n    reject;\n  };\n";
        let head = format!("protocol bgp Mesh_{name} from bgp_template {{\n  neighbor {addr} as {ASN};\n");
        if self.is_ours() {
            format!("{head}  source address 127.0.0.1;\n  ttl security off;\n{filters}  passive on;\n}}\n")
        } else {
            format!(
                "{head}  ttl security off;\n  ipv4 {{ gateway recursive; add paths on;\n{filters}  }};\n  passive on;\n}}\n"
            )
        }
    }
}

fn ipam() -> String {
    "function calico_export_to_bgp_peers(bool internal_peer) {\n  if (internal_peer) then {\n    if (defined(ifname)) then {\n\
     \x20     if ((ifname ~ \"*.cali\") || (ifname ~ \"*.calico\")) then { reject; }\n    }\n  }\n  apply_communities();\n\
     \x20 calico_aggr();\n  if (net ~ 172.16.0.0/16) then { accept; }\n  if (net ~ 10.0.0.0/8) then { accept; }\n}\n\
     filter calico_kernel_programming {\n  if (defined(source) && (source = RTS_BGP) && !defined(krt_metric)) then {\n\
     \x20   krt_metric = 1024;\n    if (defined(bgp_local_pref)) then {\n      krt_metric = 2147483647 - bgp_local_pref;\n    }\n\
     \x20   if (krt_metric < 1024) then {\n      preference = 200;\n    }\n  }\n\
     \x20 if (net ~ 10.0.0.0/8) then { accept; }\n  accept;\n}\n"
        .to_owned()
}

/// The daemon. It ends with this value.
struct Daemon(Child);

impl Daemon {
    /// Starts it and waits until its control socket answers.
    fn start(whose: Whose, directory: &Path) -> Result<Daemon> {
        let program = match whose {
            Whose::Ours => {
                let link = directory.join("bird");
                std::os::unix::fs::symlink(ours::binary()?, &link)?;
                link
            }
            Whose::Bird | Whose::SilentBird => PathBuf::from("/usr/sbin/bird"),
        };
        let socket = directory.join("ctl");
        let log = fs::File::create(directory.join("log"))?;
        let mut command = Command::new(program);
        command.arg("-R").arg("-d").arg("-c").arg(directory.join("bird.cfg")).arg("-s").arg(&socket);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut daemon = Daemon(command.spawn().context("cannot start it")?);
        wait::closely("the control socket answers", PATIENCE, || {
            if daemon.0.try_wait()?.is_some() {
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                return Err(Gone(format!("it has exited: {log}")).into());
            }
            UnixStream::connect(&socket)?;
            Ok(())
        })?;
        Ok(daemon)
    }

    fn hang_up(&self) -> Result<()> {
        shell::read(Command::new("kill").args(["-HUP", &self.0.id().to_string()])).map(drop)
    }

    /// Processor time of all its threads, as the scheduler has it.
    fn cpu(&self) -> Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let stat = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            nanos += stat.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0u64);
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Resident octets.
    fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let kilo = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next());
        Ok(1024 * kilo.and_then(|k| k.parse::<u64>().ok()).context("no VmRSS")?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
