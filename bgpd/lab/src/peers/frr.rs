//! FRR: `zebra` and `bgpd` as the user it wants to be, driven and asked through `vtysh`, which answers in JSON.
//!
//! Whatever makes it wait or refuse by default is turned off: the minimum route advertisement interval, the
//! coalescing of peers, the policy requirement of RFC 8212, and the check of `network` against the kernel.

use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::daemon::{Daemon, label};
use crate::net::{Family, Node};
use crate::sandbox::{self, Need};
use crate::shell;
use crate::speaker::{Neighbor, Plan, Presence, Role, Route, Speaker};
use crate::wait;

const ZEBRA: &str = "/usr/lib/frr/zebra";
const BGPD: &str = "/usr/lib/frr/bgpd";

/// What a test with FRR needs.
pub const NEED: Need =
    Need { name: "FRR", programs: &[ZEBRA, BGPD, "vtysh"], package: "frr", needs_users: true };

/// A running pair of `zebra` and `bgpd`.
#[derive(Debug)]
pub struct Frr {
    asn: u32,
    directory: PathBuf,
    daemon: Daemon,
    zebra: Daemon,
}

impl Frr {
    /// Starts both in a node.
    pub fn start(node: &Node, plan: &Plan) -> Result<Self> {
        let label = label("frr", node);
        let directory = sandbox::work()?.join(&label);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("vtysh.conf"), "")?;
        fs::write(directory.join("zebra.conf"), "log stdout informational\n")?;
        fs::write(directory.join("bgpd.conf"), render(plan)?)?;
        // It also leaves a directory for each process in /var/tmp/frr; here that is the sandbox's own.
        shell::read(shell::command("sh").args([
            "-c",
            "mkdir -p /var/tmp/frr && mount -t tmpfs tmpfs /var/tmp/frr && chown -R frr:frr /var/tmp/frr \"$0\"",
            &directory.to_string_lossy(),
        ]))?;
        let start = |program: &str, name: &str| -> Result<Daemon> {
            let mut command = node.command(program);
            command.arg("-f").arg(directory.join(format!("{name}.conf")));
            command.arg("-z").arg(directory.join("zserv"));
            command.arg("-i").arg(directory.join(format!("{name}.pid")));
            command.arg("--vty_socket").arg(&directory).args(["-u", "frr", "-g", "frr"]);
            Daemon::spawn(&format!("{label}-{name}"), command)
        };
        let zebra = start(ZEBRA, "zebra")?;
        wait::until("zebra's socket", wait::SOON, || {
            zebra.alive()?;
            fs::metadata(directory.join("zserv")).map(drop).context("not there")
        })?;
        let daemon = start(BGPD, "bgpd")?;
        daemon.wait_listen(179)?;
        Ok(Frr { asn: plan.asn, directory, daemon, zebra })
    }

    fn vtysh(&self, lines: &[&str]) -> Command {
        let mut command = shell::command("vtysh");
        command.arg("--vty_socket").arg(&self.directory).arg("--config_dir").arg(&self.directory);
        command.args(["-d", "bgpd"]);
        for line in lines {
            command.args(["-c", line]);
        }
        command
    }

    /// Asks for JSON.
    pub fn ask(&self, line: &str) -> Result<Value> {
        let text = shell::read(&mut self.vtysh(&[line]))?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }
}

impl Speaker for Frr {
    fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    fn pids(&self) -> Vec<u32> {
        vec![self.daemon.pid(), self.zebra.pid()]
    }

    fn set(&mut self, prefix: &str, presence: Presence) -> Result<()> {
        let router = format!("router bgp {}", self.asn);
        let family = format!("address-family {} unicast", Family::of(prefix).word());
        let network = match presence {
            Presence::Announced => format!("network {prefix}"),
            Presence::Withdrawn => format!("no network {prefix}"),
        };
        shell::read(&mut self.vtysh(&["configure terminal", &router, &family, &network])).map(drop)
    }

    fn state(&self, neighbor: IpAddr) -> Result<String> {
        let answer = self.ask(&format!("show bgp neighbors {neighbor} json"))?;
        let state = answer[neighbor.to_string()]["bgpState"].as_str();
        Ok(state.with_context(|| format!("no state in {answer}"))?.to_owned())
    }

    fn routes(&self, prefix: &str) -> Result<Vec<Route>> {
        let word = Family::of(prefix).word();
        let answer = self.ask(&format!("show bgp {word} unicast {prefix} json"))?;
        // Without a path for exactly this prefix it answers with a covering one.
        if answer["prefix"].as_str().is_some_and(|shown| shown != prefix) {
            return Ok(Vec::new());
        }
        let paths = answer["paths"].as_array().into_iter().flatten();
        paths.filter(|path| path["sourced"] != true && path["local"] != true).map(route).collect()
    }

    fn reset(&self, neighbor: IpAddr) -> Result<()> {
        shell::read(&mut self.vtysh(&[&format!("clear bgp {neighbor}")])).map(drop)
    }
}

fn render(plan: &Plan) -> Result<String> {
    let mut text = format!(
        "log stdout informational\nrouter bgp {}\n bgp router-id {}\n no bgp ebgp-requires-policy\n \
         no bgp network import-check\n no bgp default ipv4-unicast\n coalesce-time 0\n",
        plan.asn, plan.router_id
    );
    for neighbor in &plan.neighbors {
        let Neighbor { address, local, asn, hold_secs, .. } = neighbor;
        writeln!(text, " neighbor {address} remote-as {asn}\n neighbor {address} update-source {local}")?;
        writeln!(text, " neighbor {address} timers {} {hold_secs}", hold_secs / 3)?;
        writeln!(text, " neighbor {address} timers connect 1\n neighbor {address} advertisement-interval 0")?;
        if let Some(password) = &neighbor.password {
            writeln!(text, " neighbor {address} password {password}")?;
        }
    }
    for family in Family::BOTH {
        writeln!(text, " address-family {} unicast", family.word())?;
        for network in plan.networks.iter().filter(|network| Family::of(network) == family) {
            writeln!(text, "  network {network}")?;
        }
        for neighbor in plan.neighbors.iter().filter(|neighbor| neighbor.family() == family) {
            writeln!(text, "  neighbor {} activate", neighbor.address)?;
            if neighbor.role == Role::Client {
                writeln!(text, "  neighbor {} route-reflector-client", neighbor.address)?;
            }
        }
        writeln!(text, " exit-address-family")?;
    }
    Ok(text)
}

fn route(path: &Value) -> Result<Route> {
    // An IPv6 path lists its link-local next hop beside the global one.
    let hops = path["nexthops"].as_array().into_iter().flatten();
    let mut addresses = hops.filter_map(|hop| hop["ip"].as_str()).filter(|ip| !ip.starts_with("fe80:"));
    let next_hop = addresses.next().with_context(|| format!("no next hop in {path}"))?.parse()?;
    let list = path["clusterList"]["list"].as_array().into_iter().flatten();
    let path_words = path["aspath"]["string"].as_str().unwrap_or_default().split_whitespace();
    let communities = path["community"]["list"].as_array().into_iter().flatten();
    Ok(Route {
        next_hop,
        as_path: path_words.filter_map(|asn| asn.parse().ok()).collect(),
        local_pref: path["locPrf"].as_u64().and_then(|value| value.try_into().ok()),
        originator: path["originatorId"].as_str().and_then(|id| id.parse().ok()),
        cluster_list: list.filter_map(|id| id.as_str()?.parse().ok()).collect(),
        communities: communities.filter_map(|community| community.as_str().map(str::to_owned)).collect(),
    })
}
