//! BIRD 2: one text configuration, reread by `birdc configure`; its client answers in text only.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};

use crate::daemon::{Daemon, label, write};
use crate::net::{Family, Node};
use crate::sandbox::{self, Need};
use crate::shell;
use crate::speaker::{Neighbor, Plan, Presence, Role, Route, Speaker};

/// What a test with BIRD needs.
pub const NEED: Need =
    Need { name: "BIRD", programs: &["bird", "birdc"], package: "bird2", needs_users: false };

/// A running BIRD.
#[derive(Debug)]
pub struct Bird {
    plan: Plan,
    label: String,
    socket: PathBuf,
    daemon: Daemon,
}

impl Bird {
    /// Starts it in a node.
    pub fn start(node: &Node, plan: Plan) -> Result<Self> {
        let label = label("bird", node);
        let config = write(&format!("{label}.conf"), &render(&plan)?)?;
        let socket = sandbox::work()?.join(format!("{label}.ctl"));
        let mut command = node.command("bird");
        command.arg("-f").arg("-c").arg(config).arg("-s").arg(&socket);
        let daemon = Daemon::spawn(&label, command)?;
        daemon.wait_listen(179)?;
        Ok(Bird { plan, label, socket, daemon })
    }

    /// Asks its client.
    pub fn ask(&self, words: &[&str]) -> Result<String> {
        shell::read(shell::command("birdc").arg("-r").arg("-s").arg(&self.socket).args(words))
    }

    fn tell(&self, words: &[&str]) -> Result<String> {
        shell::read(shell::command("birdc").arg("-s").arg(&self.socket).args(words))
    }

    fn protocol(&self, neighbor: IpAddr) -> Result<&str> {
        let found = self.plan.neighbors.iter().find(|known| known.address == neighbor);
        found.map(|known| known.name.as_str()).with_context(|| format!("no neighbor {neighbor}"))
    }
}

impl Speaker for Bird {
    fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    fn set(&mut self, prefix: &str, presence: Presence) -> Result<()> {
        self.plan.set(prefix, presence);
        write(&format!("{}.conf", self.label), &render(&self.plan)?)?;
        self.tell(&["configure"]).map(drop)
    }

    fn state(&self, neighbor: IpAddr) -> Result<String> {
        let text = self.ask(&["show", "protocols", "all", self.protocol(neighbor)?])?;
        let state = text.lines().find_map(|line| line.trim().strip_prefix("BGP state:"));
        Ok(state.ok_or_else(|| anyhow!("no BGP state in {text}"))?.trim().to_owned())
    }

    fn routes(&self, prefix: &str) -> Result<Vec<Route>> {
        let table = if Family::of(prefix) == Family::V4 { "master4" } else { "master6" };
        // `for` would answer with a shorter prefix, `all PREFIX` with this one only.
        let output = shell::output(
            shell::command("birdc")
                .args(["-r", "-s"])
                .arg(&self.socket)
                .args(["show", "route", "table", table, "all", prefix]),
        )?;
        parse(&String::from_utf8_lossy(&output.stdout))
    }

    fn reset(&self, neighbor: IpAddr) -> Result<()> {
        self.tell(&["restart", self.protocol(neighbor)?]).map(drop)
    }
}

fn render(plan: &Plan) -> Result<String> {
    let mut text = format!(
        "log stderr all;\nrouter id {};\nprotocol device {{}}\nprotocol bfd {{}}\n\
         protocol direct {{ ipv4; ipv6; interface \"eth0\"; }}\n",
        plan.router_id
    );
    for family in Family::BOTH {
        let word = family.word();
        writeln!(
            text,
            "protocol kernel kernel_{word} {{ {word} {{ import none; export where source ~ [RTS_STATIC, RTS_BGP]; }}; }}"
        )?;
        writeln!(text, "protocol static own_{word} {{ {word};")?;
        for network in plan.networks.iter().filter(|network| Family::of(network) == family) {
            writeln!(text, "  route {network} blackhole;")?;
        }
        writeln!(text, "}}")?;
    }
    let reflects = plan.neighbors.iter().any(|neighbor| neighbor.role == Role::Client);
    for neighbor in &plan.neighbors {
        session(&mut text, plan.asn, neighbor, reflects)?;
    }
    Ok(text)
}

fn session(text: &mut String, asn: u32, neighbor: &Neighbor, reflects: bool) -> Result<()> {
    let Neighbor { name, address, local, asn: remote_asn, hold_secs, .. } = neighbor;
    writeln!(text, "protocol bgp {name} {{ local {local} as {asn}; neighbor {address} as {remote_asn};")?;
    writeln!(
        text,
        "  connect delay time 1; connect retry time 1; error wait time 1, 2; error forget time 1;"
    )?;
    writeln!(text, "  hold time {hold_secs};")?;
    if let Some(password) = &neighbor.password {
        writeln!(text, "  password \"{password}\";")?;
    }
    if neighbor.watched {
        // One hop: inside an AS BIRD takes several for granted (RFC 5883).
        writeln!(text, "  direct; bfd on;")?;
    }
    if neighbor.role == Role::Client {
        writeln!(text, "  rr client;")?;
    }
    let (export, next_hop) = if reflects {
        ("source ~ [RTS_STATIC, RTS_BGP]", "")
    } else {
        ("source = RTS_STATIC", " next hop self;")
    };
    let word = neighbor.family().word();
    writeln!(text, "  {word} {{ import all; export where {export};{next_hop} }};\n}}")?;
    Ok(())
}

/// Paths in `show route all`: below a heading, each has its attributes as `KEY: VALUE`, the first being `Type`.
fn parse(text: &str) -> Result<Vec<Route>> {
    let mut routes: Vec<Route> = Vec::new();
    let mut learnt = false;
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once(": ") else { continue };
        if key == "Type" {
            learnt = value.starts_with("BGP");
            if learnt {
                routes.push(Route::via(Ipv4Addr::UNSPECIFIED.into()));
            }
        }
        if let (true, Some(route)) = (learnt, routes.last_mut()) {
            attribute(route, key, value)?;
        }
    }
    Ok(routes)
}

fn attribute(route: &mut Route, key: &str, value: &str) -> Result<()> {
    let words = value.split_whitespace();
    match key {
        "BGP.next_hop" => {
            // An IPv6 next hop may be followed by a link-local one.
            let first = words.clone().next().unwrap_or_default();
            route.next_hop = first.parse().with_context(|| format!("next hop {value}"))?;
        }
        "BGP.as_path" => route.as_path = words.filter_map(|asn| asn.parse().ok()).collect(),
        "BGP.local_pref" => route.local_pref = value.parse().ok(),
        "BGP.originator_id" => route.originator = value.parse().ok(),
        "BGP.cluster_list" => route.cluster_list = words.filter_map(|id| id.parse().ok()).collect(),
        "BGP.community" => {
            route.communities = words.map(|pair| pair.trim_matches(['(', ')']).replace(',', ":")).collect();
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learnt_paths_are_read_and_own_ones_left_out() {
        let text = "BIRD 2.0.12 ready.\nTable master4:\n\
            10.244.2.0/24        unicast [n 03:22:11.123] * (100) [i]\n\tvia 10.0.0.2 on eth0\n\
            \tType: BGP univ\n\tBGP.origin: IGP\n\tBGP.as_path: 65001 65002\n\tBGP.next_hop: 10.0.0.2\n\
            \tBGP.local_pref: 100\n\tBGP.originator_id: 10.0.0.3\n\tBGP.cluster_list: 10.0.0.9 10.0.0.8\n\
            \tBGP.community: (64512,1) (64512,2)\n\
            \u{20}                    blackhole [own 03:22:10.000] (200)\n\tType: static univ\n";
        let routes = parse(text).unwrap();
        assert_eq!(routes.len(), 1);
        assert_eq!(routes[0].as_path, [65001, 65002]);
        assert_eq!(routes[0].next_hop.to_string(), "10.0.0.2");
        assert_eq!(routes[0].originator.unwrap().to_string(), "10.0.0.3");
        assert_eq!(routes[0].cluster_list.len(), 2);
        assert_eq!(routes[0].communities, ["64512:1", "64512:2"]);
    }
}
