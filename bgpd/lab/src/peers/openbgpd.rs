//! OpenBGPD: started by full path, because FRR has a `bgpd` too and so have we. No kernel coupling on Linux.

use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::daemon::{Daemon, label, write};
use crate::net::{Family, Node};
use crate::sandbox::{self, Need};
use crate::shell;
use crate::speaker::{Neighbor, Plan, Presence, Role, Route, Speaker};
use crate::wait;

const BGPD: &str = "/usr/sbin/bgpd";
const BGPCTL: &str = "/usr/sbin/bgpctl";
/// The home of its user, into which its processes change their root.
const CHROOT: &str = "/run/openbgpd";

/// What a test with OpenBGPD needs.
pub const NEED: Need =
    Need { name: "OpenBGPD", programs: &[BGPD, BGPCTL], package: "openbgpd", needs_users: true };

/// A running OpenBGPD.
#[derive(Debug)]
pub struct OpenBgpd {
    socket: PathBuf,
    daemon: Daemon,
}

impl OpenBgpd {
    /// Starts it in a node.
    pub fn start(node: &Node, plan: &Plan) -> Result<Self> {
        let label = label("openbgpd", node);
        let socket = sandbox::work()?.join(format!("{label}.ctl"));
        let config = write(&format!("{label}.conf"), &render(plan, &socket.to_string_lossy())?)?;
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600))?;
        fs::create_dir_all(CHROOT)?;
        let mut command = node.command(BGPD);
        command.args(["-d", "-v", "-f"]).arg(config);
        let daemon = Daemon::spawn(&label, command)?;
        daemon.wait_listen(179)?;
        let openbgpd = OpenBgpd { socket, daemon };
        wait::until("OpenBGPD answers", wait::SOON, || {
            openbgpd.daemon.alive()?;
            openbgpd.ask(&["show"]).map(drop)
        })?;
        Ok(openbgpd)
    }

    fn client(&self, words: &[&str]) -> Command {
        let mut command = shell::command(BGPCTL);
        command.arg("-s").arg(&self.socket).args(words);
        command
    }

    /// Asks for JSON.
    pub fn ask(&self, words: &[&str]) -> Result<Value> {
        let text = shell::read(&mut self.client(&[&["-j"], words].concat()))?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }
}

impl Speaker for OpenBgpd {
    fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    fn set(&mut self, prefix: &str, presence: Presence) -> Result<()> {
        let verb = match presence {
            Presence::Announced => "add",
            Presence::Withdrawn => "delete",
        };
        shell::read(&mut self.client(&["network", verb, prefix])).map(drop)
    }

    fn state(&self, neighbor: IpAddr) -> Result<String> {
        let answer = self.ask(&["show", "neighbor", &neighbor.to_string()])?;
        let state = answer["neighbors"][0]["state"].as_str();
        Ok(state.with_context(|| format!("no state in {answer}"))?.to_owned())
    }

    fn routes(&self, prefix: &str) -> Result<Vec<Route>> {
        let answer = self.ask(&["show", "rib", "detail", prefix])?;
        let paths = answer["rib"].as_array().into_iter().flatten();
        paths.filter(|path| path["prefix"] == prefix && path["announced"] != true).map(route).collect()
    }

    fn reset(&self, neighbor: IpAddr) -> Result<()> {
        shell::read(&mut self.client(&["neighbor", &neighbor.to_string(), "clear"])).map(drop)
    }
}

fn render(plan: &Plan, socket: &str) -> Result<String> {
    let mut text = format!(
        "AS {}\nrouter-id {}\nsocket \"{socket}\"\nlisten on 0.0.0.0\nlisten on ::\nfib-update no\nconnect-retry 1\n",
        plan.asn, plan.router_id
    );
    for network in &plan.networks {
        writeln!(text, "network {network}")?;
    }
    for neighbor in &plan.neighbors {
        let Neighbor { address, local, asn, hold_secs, .. } = neighbor;
        let word = match neighbor.family() {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        writeln!(text, "neighbor {address} {{\n  remote-as {asn}\n  local-address {local}")?;
        writeln!(text, "  holdtime {hold_secs}\n  announce {word} unicast")?;
        if let Some(password) = &neighbor.password {
            writeln!(text, "  tcp md5sig password \"{password}\"")?;
        }
        if neighbor.role == Role::Client {
            writeln!(text, "  route-reflector")?;
        }
        writeln!(text, "}}")?;
    }
    writeln!(text, "allow from any\nallow to any")?;
    Ok(text)
}

fn route(path: &Value) -> Result<Route> {
    let hop = path["exit_nexthop"].as_str().with_context(|| format!("no next hop in {path}"))?;
    let attributes = || path["attributes"].as_array().into_iter().flatten();
    let attribute = |name: &str| attributes().find(|attribute| attribute["type"] == name);
    let clusters = attribute("Cluster Id List").and_then(|found| found["cluster_list"].as_array());
    let communities = path["communities"].as_array().into_iter().flatten();
    Ok(Route {
        next_hop: hop.parse()?,
        as_path: path["aspath"]
            .as_str()
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|asn| asn.parse().ok())
            .collect(),
        local_pref: path["localpref"].as_u64().and_then(|value| value.try_into().ok()),
        originator: attribute("Originator Id").and_then(|found| found["originator"].as_str()?.parse().ok()),
        cluster_list: clusters.into_iter().flatten().filter_map(|id| id.as_str()?.parse().ok()).collect(),
        communities: communities.filter_map(|community| community.as_str().map(str::to_owned)).collect(),
    })
}
