//! The daemons that are measured, configured as route reflectors with every loopback address a client.
//!
//! Each gets what makes it fast and nothing that makes it slow: no kernel routes, no coalescing or advertisement delays,
//! no graceful restart.

use std::fmt::{self, Write};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::wire::{self, ASN};
use crate::peers::ours;

/// Where the daemon listens.
const PORT: u16 = 1790;

/// A daemon to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// This project's.
    Bgpd,
    /// The physical limit.
    Relay,
    /// BIRD 2.
    Bird,
    /// FRR's bgpd, without zebra.
    Frr,
    /// GoBGP.
    Gobgp,
    /// OpenBGPD.
    Openbgpd,
}

impl Contender {
    /// All of them.
    pub const ALL: [Contender; 6] = [
        Contender::Relay,
        Contender::Bgpd,
        Contender::Bird,
        Contender::Frr,
        Contender::Gobgp,
        Contender::Openbgpd,
    ];

    /// How many clients connect at a time. BIRD listens with a backlog of 8 and OpenBGPD with one of 5: a crowd would
    /// measure the seconds that the kernel lets pass before it tries again, so they are spared it.
    fn at_once(self) -> u32 {
        match self {
            Contender::Bird | Contender::Openbgpd => 4,
            Contender::Relay | Contender::Bgpd | Contender::Frr | Contender::Gobgp => u32::MAX,
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Contender::Bgpd => "bgpd",
            Contender::Relay => "relay",
            Contender::Bird => "bird",
            Contender::Frr => "frr",
            Contender::Gobgp => "gobgp",
            Contender::Openbgpd => "openbgpd",
        })
    }
}

impl FromStr for Contender {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Contender::ALL.into_iter().find(|c| c.to_string() == text);
        found.ok_or_else(|| format!("no daemon `{text}`; known are relay, bgpd, bird, frr, gobgp, openbgpd"))
    }
}

/// A daemon under load. It ends with this value.
pub(super) struct Running {
    child: Child,
    /// Where to connect.
    pub(super) address: SocketAddr,
    /// How many clients may connect at a time.
    pub(super) at_once: u32,
}

/// What a daemon has used so far, with its children.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// CPU, user and system.
    pub(super) cpu: Duration,
    /// Of this, in the kernel.
    pub(super) system: Duration,
    /// Peak resident memory, octets.
    pub(super) memory: u64,
}

impl Running {
    /// Starts a daemon and waits until it listens.
    pub(super) fn start(contender: Contender, clients: u32, directory: &Path) -> Result<Running> {
        fs::create_dir_all(directory)?;
        let port = if matches!(contender, Contender::Openbgpd | Contender::Bird | Contender::Frr) {
            179
        } else {
            PORT
        };
        let mut command = command(contender, clients, directory)?;
        let log = fs::File::create(directory.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().with_context(|| format!("cannot start {contender}"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_err() {
            let log = || fs::read_to_string(directory.join("log")).unwrap_or_default();
            if let Some(status) = child.try_wait()? {
                bail!("{contender} ended with {status}: {}", log());
            }
            ensure!(Instant::now() < deadline, "{contender} does not listen: {}", log());
            std::thread::yield_now();
        }
        Ok(Running { child, address, at_once: contender.at_once() })
    }

    /// What it has used so far.
    pub(super) fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        for pid in family(self.child.id())? {
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
            let ticks = |at: usize| fields.get(at).and_then(|f| f.parse().ok()).unwrap_or(0u64);
            // utime and stime are fields 14 and 15, in ticks of 10 ms.
            usage.cpu += Duration::from_millis(10 * (ticks(11) + ticks(12)));
            usage.system += Duration::from_millis(10 * ticks(12));
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
            let kilo = peak.and_then(|p| p.split_whitespace().next()).and_then(|k| k.parse().ok());
            usage.memory += 1024 * kilo.unwrap_or(0u64);
        }
        Ok(usage)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pids = family(self.child.id()).unwrap_or_default();
        for pid in pids.iter().skip(1) {
            // A child may be gone already.
            drop(Command::new("kill").args(["-9", &pid.to_string()]).status());
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A process and its children, those that OpenBGPD splits into.
fn family(pid: u32) -> Result<Vec<u32>> {
    let mut all = vec![pid];
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    all.extend(children.split_whitespace().filter_map(|c| c.parse::<u32>().ok()));
    Ok(all)
}

fn command(contender: Contender, clients: u32, directory: &Path) -> Result<Command> {
    let file = |name: &str, text: String| -> Result<PathBuf> {
        let path = directory.join(name);
        fs::write(&path, text)?;
        Ok(path)
    };
    let program = |path: &str| {
        ensure!(Path::new(path).exists(), "{path} is not installed");
        Ok(Command::new(path))
    };
    Ok(match contender {
        Contender::Relay => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["relay", &PORT.to_string()]);
            command
        }
        Contender::Bgpd => {
            let mut command = Command::new(ours::binary()?);
            let socket = directory.join("sock");
            command.args(["run", "--config"]).arg(file("bgpd.yaml", bgpd(&socket))?);
            command
        }
        Contender::Bird => {
            let mut command = program("/usr/sbin/bird")?;
            command.args(["-f", "-c"]).arg(file("bird.conf", bird())?).arg("-s").arg(directory.join("ctl"));
            command
        }
        Contender::Frr => {
            let mut command = program("/usr/lib/frr/bgpd")?;
            // `-Z`: next hops are not asked for, nothing is installed.
            command.args([
                "-Z",
                "-S",
                "-u",
                "root",
                "-g",
                "root",
                "-l",
                "127.0.0.1",
                "--limit-fds",
                "19000",
                "-f",
            ]);
            command.arg(file("frr.conf", frr(clients)?)?).arg("-i").arg(directory.join("pid"));
            command.arg("--vty_socket").arg(directory);
            command
        }
        Contender::Gobgp => {
            let mut command = program("/usr/bin/gobgpd")?;
            command
                .args(["--api-hosts", "127.0.0.1:50051", "-l", "error", "-f"])
                .arg(file("gobgp.toml", gobgp())?);
            command
        }
        Contender::Openbgpd => {
            let mut command = program("/usr/sbin/bgpd")?;
            // The home of its user, into which its processes change their root.
            fs::create_dir_all("/run/openbgpd")?;
            let config = file("openbgpd.conf", openbgpd(directory))?;
            fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
            command.args(["-d", "-f"]).arg(config);
            command
        }
    })
}

fn bgpd(socket: &Path) -> String {
    format!(
        "asn: {ASN}\nrouterId: 9.9.9.9\nlisten: {{ addresses: [127.0.0.1], port: {PORT} }}\n\
         reflector: {{ clusterId: 9.9.9.9 }}\nkernel: {{ install: false }}\ngracefulRestart: off\nlog: {{ level: warn }}\n\
         peers:\n- {{ name: clients, range: 127.0.0.0/8, asn: {ASN}, reflectorClient: true, families: [ipv4] }}\n\
         control: {{ socket: {} }}\n",
        socket.display()
    )
}

fn bird() -> String {
    format!(
        "router id 9.9.9.9;\nprotocol device {{}}\nprotocol bgp clients {{ local 127.0.0.1 as {ASN};\n\
         neighbor range 127.0.0.0/8 as {ASN}; dynamic name \"c\"; passive; multihop; rr client; rr cluster id 9.9.9.9;\n\
         ipv4 {{ import all; export all; next hop keep; }}; }}\n"
    )
}

/// Neighbours one by one: those that come through a listen range cost FRR several times as much.
fn frr(clients: u32) -> Result<String> {
    let mut text = format!(
        "router bgp {ASN}\n bgp router-id 9.9.9.9\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n\
         coalesce-time 0\n neighbor c peer-group\n neighbor c remote-as {ASN}\n neighbor c passive\n\
         neighbor c advertisement-interval 0\n"
    );
    for client in 0..clients {
        writeln!(text, " neighbor {} peer-group c", wire::address_of(client))?;
    }
    text.push_str(" address-family ipv4 unicast\n  neighbor c activate\n  neighbor c route-reflector-client\n exit-address-family\n");
    Ok(text)
}

fn gobgp() -> String {
    format!(
        "[global.config]\nas={ASN}\nrouter-id=\"9.9.9.9\"\nport={PORT}\nlocal-address-list=[\"127.0.0.1\"]\n\
         [[peer-groups]]\n[peer-groups.config]\npeer-group-name=\"c\"\npeer-as={ASN}\n\
         [peer-groups.route-reflector.config]\nroute-reflector-client=true\nroute-reflector-cluster-id=\"9.9.9.9\"\n\
         [peer-groups.transport.config]\npassive-mode=true\n\
         [[peer-groups.afi-safis]]\n[peer-groups.afi-safis.config]\nafi-safi-name=\"ipv4-unicast\"\n\
         [[dynamic-neighbors]]\n[dynamic-neighbors.config]\nprefix=\"127.0.0.0/8\"\npeer-group=\"c\"\n"
    )
}

fn openbgpd(directory: &Path) -> String {
    format!(
        "AS {ASN}\nrouter-id 9.9.9.9\nsocket \"{}/ctl\"\nlisten on 127.0.0.1\nfib-update no\nnexthop qualify via default\n\
         neighbor 127.0.0.0/8 {{\n remote-as {ASN}\n passive\n route-reflector 9.9.9.9\n announce IPv4 unicast\n}}\n\
         allow from any\nallow to any\n",
        directory.display()
    )
}
