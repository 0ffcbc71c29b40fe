//! GoBGP: a TOML file for the sessions, its client for everything else. It has no kernel coupling of its own.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::daemon::{Daemon, label, write};
use crate::net::{Family, Node};
use crate::sandbox::Need;
use crate::shell;
use crate::speaker::{Neighbor, Plan, Presence, Role, Route, Speaker};
use crate::wait;

const API: &str = "127.0.0.1:50051";

/// What a test with GoBGP needs.
pub const NEED: Need =
    Need { name: "GoBGP", programs: &["gobgpd", "gobgp"], package: "gobgpd", needs_users: false };

/// A running GoBGP.
#[derive(Debug)]
pub struct GoBgp {
    node: Node,
    daemon: Daemon,
}

impl GoBgp {
    /// Starts it in a node.
    pub fn start(node: &Node, plan: &Plan) -> Result<Self> {
        let label = label("gobgp", node);
        let config = write(&format!("{label}.toml"), &render(plan)?)?;
        let mut command = node.command("gobgpd");
        command.arg("-f").arg(config).args(["--api-hosts", API, "--pprof-disable"]);
        let daemon = Daemon::spawn(&label, command)?;
        daemon.wait_listen(50051)?;
        daemon.wait_listen(179)?;
        let mut gobgp = GoBgp { node: node.clone(), daemon };
        wait::until("GoBGP answers", wait::SOON, || {
            gobgp.daemon.alive()?;
            shell::read(gobgp.client(&["global"]).arg("-j")).map(drop)
        })?;
        for network in &plan.networks {
            gobgp.announce(network)?;
        }
        Ok(gobgp)
    }

    fn client(&self, words: &[&str]) -> Command {
        let mut command = self.node.command("gobgp");
        command.args(words);
        command
    }

    /// Asks for JSON.
    pub fn ask(&self, words: &[&str]) -> Result<Value> {
        self.daemon.alive()?;
        let text = shell::read(self.client(words).arg("-j"))?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// Injects a TABLE_DUMP_V2 file of `count` IPv4 prefixes, which is far quicker than one `add` for each.
    pub fn inject(&self, dump: &Path, count: u16) -> Result<()> {
        wait::until(&format!("{count} prefixes in GoBGP"), wait::SOON, || {
            shell::read(self.client(&["mrt", "inject", "global"]).arg(dump))?;
            let summary = self.ask(&["global", "rib", "summary"])?;
            let have = summary["num_destination"].as_u64().unwrap_or(0);
            ensure!(have >= u64::from(count), "{have}: {summary}");
            Ok(())
        })
    }
}

impl Speaker for GoBgp {
    fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    fn set(&mut self, prefix: &str, presence: Presence) -> Result<()> {
        let verb = match presence {
            Presence::Announced => "add",
            Presence::Withdrawn => "del",
        };
        let family = Family::of(prefix).word();
        let printed = shell::read(&mut self.client(&["global", "rib", verb, prefix, "-a", family]))?;
        ensure!(printed.trim().is_empty(), "gobgp: {printed}");
        Ok(())
    }

    fn state(&self, neighbor: IpAddr) -> Result<String> {
        let answer = self.ask(&["neighbor", &neighbor.to_string()])?;
        let entry = answer.as_array().and_then(|list| list.first()).unwrap_or(&answer);
        let states = ["Unknown", "Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established"];
        let number = entry["state"]["session_state"].as_u64().unwrap_or(0) as usize;
        Ok(states.get(number).copied().unwrap_or("Unknown").to_owned())
    }

    fn routes(&self, prefix: &str) -> Result<Vec<Route>> {
        let family = Family::of(prefix).word();
        let output = shell::output(self.client(&["global", "rib", prefix, "-a", family]).arg("-j"))?;
        // "Network not in table" comes with a failure status and no JSON.
        let Ok(answer) = serde_json::from_slice::<Value>(&output.stdout) else { return Ok(Vec::new()) };
        let paths = answer[prefix].as_array().or_else(|| answer.as_array()).into_iter().flatten();
        paths.filter(|path| path["neighbor-ip"].is_string()).map(route).collect()
    }

    fn reset(&self, neighbor: IpAddr) -> Result<()> {
        // A plain reset keeps it idle for half a minute; down and up does not.
        shell::read(&mut self.client(&["neighbor", &neighbor.to_string(), "disable"]))?;
        wait::until(&format!("{neighbor} is down"), wait::SOON, || {
            let state = self.state(neighbor)?;
            ensure!(state != "Established", "{state}");
            Ok(())
        })?;
        shell::read(&mut self.client(&["neighbor", &neighbor.to_string(), "enable"])).map(drop)
    }
}

fn render(plan: &Plan) -> Result<String> {
    let mut text = format!("[global.config]\nas = {}\nrouter-id = \"{}\"\n", plan.asn, plan.router_id);
    for neighbor in &plan.neighbors {
        let Neighbor { address, local, asn, hold_secs, .. } = neighbor;
        writeln!(
            text,
            "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{address}\"\npeer-as = {asn}"
        )?;
        if let Some(password) = &neighbor.password {
            writeln!(text, "auth-password = \"{password}\"")?;
        }
        writeln!(text, "[neighbors.timers.config]\nconnect-retry = 1\nidle-hold-time-after-reset = 1")?;
        writeln!(text, "hold-time = {hold_secs}\nkeepalive-interval = {}", hold_secs / 3)?;
        writeln!(text, "[neighbors.transport.config]\nlocal-address = \"{local}\"")?;
        if neighbor.role == Role::Client {
            writeln!(text, "[neighbors.route-reflector.config]\nroute-reflector-client = true")?;
            writeln!(text, "route-reflector-cluster-id = \"{}\"", plan.router_id)?;
        }
        let family = neighbor.family().word();
        writeln!(
            text,
            "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}-unicast\""
        )?;
    }
    Ok(text)
}

/// Attributes come by their type code.
fn route(path: &Value) -> Result<Route> {
    let attributes = || path["attrs"].as_array().into_iter().flatten();
    let attribute = |code: u64| attributes().find(|attribute| attribute["type"] == code);
    let hop = attribute(14).or_else(|| attribute(3)).and_then(|found| found["nexthop"].as_str());
    let segments = attribute(2).and_then(|found| found["as_paths"].as_array()).into_iter().flatten();
    let asns = segments.flat_map(|segment| segment["asns"].as_array().into_iter().flatten());
    let numbers =
        |code: u64| attribute(code).and_then(|found| found["communities"].as_array()).into_iter().flatten();
    let clusters = attribute(10).and_then(|found| found["value"].as_array()).into_iter().flatten();
    Ok(Route {
        next_hop: hop.with_context(|| format!("no next hop in {path}"))?.parse()?,
        as_path: asns.filter_map(|asn| asn.as_u64()?.try_into().ok()).collect(),
        local_pref: attribute(5).and_then(|found| found["value"].as_u64()?.try_into().ok()),
        originator: attribute(9).and_then(|found| found["value"].as_str()?.parse().ok()),
        cluster_list: clusters.filter_map(|id| id.as_str()?.parse().ok()).collect(),
        communities: numbers(8)
            .filter_map(Value::as_u64)
            .map(|value| format!("{}:{}", value >> 16, value & 0xffff))
            .collect(),
    })
}
