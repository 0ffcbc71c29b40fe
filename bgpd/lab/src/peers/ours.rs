//! `bgpd`, the daemon this project is about: a YAML file, reread on SIGHUP; its client answers in JSON.
//!
//! A [`Plan`] becomes what an operator would write for it. External peers get a policy that accepts everything,
//! because without one nothing passes (RFC 8212).

use std::env;
use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::daemon::{Daemon, label, write};
use crate::net::Node;
use crate::sandbox;
use crate::shell;
use crate::speaker::{Neighbor, Plan, Presence, Role, Route, Speaker};
use crate::wait;

/// The executable: `BGPD_BIN`, or the one cargo built beside this one.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("BGPD_BIN") {
        return Ok(path.into());
    }
    let this = env::current_exe()?;
    let beside = this.ancestors().skip(1).take(2).map(|directory| directory.join("bgpd"));
    let found = beside.into_iter().find(|path| path.is_file());
    found.with_context(|| format!("no bgpd beside {}: cargo build -p bgpd, or set BGPD_BIN", this.display()))
}

/// A running `bgpd`.
#[derive(Debug)]
pub struct Bgpd {
    plan: Plan,
    more: String,
    label: String,
    node: Node,
    config: PathBuf,
    socket: PathBuf,
    daemon: Daemon,
}

impl Bgpd {
    /// Starts it in a node, configured by a plan.
    pub fn start(node: &Node, plan: Plan) -> Result<Self> {
        Self::start_with(node, plan, "")
    }

    /// Starts it with `more` lines of YAML behind what the plan says.
    pub fn start_with(node: &Node, plan: Plan, more: &str) -> Result<Self> {
        let text = render(&plan)? + more;
        Self::launch(node, plan, more, &text)
    }

    /// Starts it with exactly this configuration, apart from the control socket.
    pub fn start_yaml(node: &Node, yaml: &str) -> Result<Self> {
        Self::launch(node, Plan::new(node, 0), "", yaml)
    }

    /// Starts it as [`Bgpd::start`] does, without waiting for anything.
    pub fn start_unwatched(node: &Node, plan: Plan) -> Result<Self> {
        let text = render(&plan)?;
        Self::spawn(node, plan, "", &text)
    }

    fn launch(node: &Node, plan: Plan, more: &str, yaml: &str) -> Result<Self> {
        let bgpd = Self::spawn(node, plan, more, yaml)?;
        bgpd.wait_answer()?;
        Ok(bgpd)
    }

    fn spawn(node: &Node, plan: Plan, more: &str, yaml: &str) -> Result<Self> {
        let label = label("bgpd", node);
        let (config, socket) = files(node, yaml)?;
        let daemon = Daemon::spawn(&label, command(node, &config)?)?;
        Ok(Bgpd { plan, more: more.into(), label, node: node.clone(), config, socket, daemon })
    }

    /// Waits until its control socket answers.
    pub fn wait_answer(&self) -> Result<()> {
        wait::until("bgpd answers", wait::SOON, || {
            self.daemon.alive()?;
            self.ask(&["status"]).map(drop)
        })
    }

    /// Ends it with `kill -9` and starts it again with the same configuration.
    pub fn relaunch(&mut self) -> Result<()> {
        self.daemon.kill();
        self.daemon = Daemon::spawn(&self.label, command(&self.node, &self.config)?)?;
        self.wait_answer()
    }

    /// A client command, as `bgpd status`, on this daemon.
    pub fn client(&self, words: &[&str]) -> Result<Command> {
        let mut command = shell::command(&binary()?.to_string_lossy());
        command.args(words).arg("--socket").arg(&self.socket);
        Ok(command)
    }

    /// What a client command prints for people.
    pub fn show(&self, words: &[&str]) -> Result<String> {
        shell::read(&mut self.client(words)?)
    }

    /// What a client command answers in JSON.
    pub fn ask(&self, words: &[&str]) -> Result<Value> {
        let text = shell::read(&mut self.client(&[words, &["-o", "json"]].concat())?)?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// `bgpd status` for this daemon as one types it.
    pub fn status_command(&self) -> Result<String> {
        Ok(format!("{} status --socket {}", binary()?.display(), self.socket.display()))
    }

    /// Every peer, as `bgpd peers -o json` has it.
    pub fn peers(&self) -> Result<Vec<Value>> {
        rows(self.ask(&["peers"])?)
    }

    /// One peer, as `bgpd peers ADDRESS -o json` has it.
    pub fn peer(&self, address: IpAddr) -> Result<Value> {
        let peers = rows(self.ask(&["peers", &address.to_string()])?)?;
        let own = peers.into_iter().find(|peer| peer["address"] == address.to_string());
        own.with_context(|| format!("no peer {address}"))
    }

    /// The state of every session.
    pub fn states(&self) -> Result<Vec<String>> {
        let peers = self.peers()?;
        Ok(peers.iter().map(|peer| peer["state"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Replaces the configuration file and tells the daemon.
    pub fn reload(&self, yaml: &str) -> Result<()> {
        // By renaming, so that a reload still going on never reads half of it.
        let fresh = self.config.with_extension("new");
        fs::write(&fresh, with_socket(yaml, &self.socket))?;
        fs::rename(&fresh, &self.config)?;
        self.daemon.signal("HUP")
    }

    /// The plan's configuration as it is now, without the control socket.
    pub fn yaml(&self) -> Result<String> {
        Ok(render(&self.plan)? + &self.more)
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }
}

/// The command that runs the daemon in the foreground.
pub fn command(node: &Node, config: &Path) -> Result<Command> {
    let mut command = node.command(&binary()?.to_string_lossy());
    command.args(["run", "--config"]).arg(config);
    Ok(command)
}

/// Writes a configuration for a node's daemon; returns its path and that of the control socket.
pub fn files(node: &Node, yaml: &str) -> Result<(PathBuf, PathBuf)> {
    let label = label("bgpd", node);
    let socket = sandbox::work()?.join(format!("{label}.sock"));
    let config = write(&format!("{label}.yaml"), &with_socket(yaml, &socket))?;
    Ok((config, socket))
}

fn with_socket(yaml: &str, socket: &Path) -> String {
    if yaml.contains("\ncontrol:") {
        return yaml.to_owned();
    }
    format!("{yaml}control: {{ socket: {} }}\n", socket.display())
}

fn render(plan: &Plan) -> Result<String> {
    let mut text =
        format!("asn: {}\nrouterId: {}\ngracefulRestart: \"off\"\npeers:\n", plan.asn, plan.router_id);
    let mut policies = "";
    let mut reflector = String::new();
    for neighbor in &plan.neighbors {
        let Neighbor { name, address, local, asn, hold_secs, .. } = neighbor;
        let family = neighbor.family().word();
        write!(text, "- {{ name: {name}, address: \"{address}\", asn: {asn}, localAddress: \"{local}\"")?;
        write!(text, ", families: [{family}], holdTime: {hold_secs}s, connectRetry: 1s")?;
        if neighbor.watched {
            write!(text, ", bfd: {{ interval: 100ms }}")?;
        }
        if let Some(password) = &neighbor.password {
            let file = write_secret(name, password)?;
            write!(text, ", password: {{ file: {} }}", file.display())?;
        }
        if neighbor.role == Role::Client {
            write!(text, ", reflectorClient: true")?;
            reflector = format!("reflector: {{ clusterId: {} }}\n", plan.router_id);
        }
        if *asn != plan.asn {
            write!(text, ", import: all, export: all")?;
            policies = "policy: { all: [ { action: accept } ] }\n";
        }
        writeln!(text, " }}")?;
    }
    if !plan.networks.is_empty() {
        let quoted: Vec<String> = plan.networks.iter().map(|network| format!("\"{network}\"")).collect();
        writeln!(text, "advertise: [ {{ prefixes: [{}] }} ]", quoted.join(", "))?;
    }
    Ok(text + policies + &reflector)
}

fn write_secret(name: &str, password: &str) -> Result<PathBuf> {
    write(&format!("{name}.secret"), &format!("{password}\n"))
}

impl Speaker for Bgpd {
    fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    fn set(&mut self, prefix: &str, presence: Presence) -> Result<()> {
        self.plan.set(prefix, presence);
        self.reload(&self.yaml()?)
    }

    fn state(&self, neighbor: IpAddr) -> Result<String> {
        let peer = self.peer(neighbor)?;
        Ok(peer["state"].as_str().with_context(|| format!("no state in {peer}"))?.to_owned())
    }

    fn routes(&self, prefix: &str) -> Result<Vec<Route>> {
        let paths = rows(self.ask(&["routes", "in", prefix])?)?;
        // What has no peer is our own.
        paths.iter().filter(|path| path["prefix"] == prefix && path["peer"].is_string()).map(route).collect()
    }

    fn reset(&self, neighbor: IpAddr) -> Result<()> {
        ensure!(neighbor.is_ipv4() || neighbor.is_ipv6());
        anyhow::bail!("bgpd has no command to reset a session")
    }
}

/// A list in JSON: the array itself, or the `rows` of an answer.
fn rows(answer: Value) -> Result<Vec<Value>> {
    let list = answer.as_array().or_else(|| answer["rows"].as_array());
    Ok(list.with_context(|| format!("no list in {answer}"))?.clone())
}

fn route(path: &Value) -> Result<Route> {
    let attributes = &path["attributes"];
    let texts = |key: &str| attributes[key].as_array().into_iter().flatten().filter_map(Value::as_str);
    let hop = path["nextHops"][0].as_str().with_context(|| format!("no next hop in {path}"))?;
    let asns = attributes["asPath"].as_str().unwrap_or_default().split_whitespace();
    Ok(Route {
        next_hop: hop.parse()?,
        as_path: asns.filter_map(|asn| asn.parse().ok()).collect(),
        local_pref: attributes["localPref"].as_u64().and_then(|value| value.try_into().ok()),
        originator: attributes["originatorId"].as_str().and_then(|id| id.parse().ok()),
        cluster_list: texts("clusterList").filter_map(|id| id.parse().ok()).collect(),
        communities: texts("communities").map(str::to_owned).collect(),
    })
}
