//! Restarts without loss, on real kernels: while daemons die and come back, in one way or another, alone or all at once, no
//! kernel sees a single change of a route.

use std::io::Write;
use std::time::Duration;

use anyhow::{Result, ensure};

use lab::daemon::Daemon;
use lab::flow::Flow;
use lab::here;
use lab::net::{Family, Node, Underlay};
use lab::peers::Make;
use lab::peers::ours::Bgpd;
use lab::pod::Pod;
use lab::sandbox::isolated;
use lab::speaker::Speaker;
use lab::wait::{self, SOON};

const ASN: u32 = 64512;

/// Three nodes in a full mesh that restart gracefully, which is the default, and a listener on each kernel's routes.
struct Mesh {
    nodes: Vec<Node>,
    daemons: Vec<Bgpd>,
    monitors: Vec<Daemon>,
}

impl Mesh {
    fn start() -> Result<Mesh> {
        let nodes = Underlay::new()?.nodes(&["a", "b", "c"])?;
        let daemons =
            nodes.iter().map(|node| Bgpd::start_yaml(node, &yaml(&nodes, node))).collect::<Result<_>>()?;
        let mut mesh = Mesh { nodes, daemons, monitors: Vec::new() };
        mesh.wait_settled()?;
        for node in &mesh.nodes {
            let mut command = node.command("ip");
            command.args(["monitor", "route"]);
            mesh.monitors.push(Daemon::spawn(&format!("monitor-{}", node.name), command)?);
        }
        mesh.prove_monitors()?;
        Ok(mesh)
    }

    /// Every session is up, every initial route is in, and every kernel has every route.
    fn wait_settled(&self) -> Result<()> {
        wait::until("the mesh is settled", SOON, || {
            for (node, daemon) in self.nodes.iter().zip(&self.daemons) {
                let status = daemon.ask(&["status"])?;
                ensure!(
                    status["syncing"] == false && status["peersEstablished"] == 2,
                    "{}: {status}",
                    node.name
                );
                for prefix in self.prefixes() {
                    ensure!(!node.routes_to(&prefix)?.is_empty(), "{} has no route to {prefix}", node.name);
                }
            }
            Ok(())
        })
    }

    fn prefixes(&self) -> Vec<String> {
        self.nodes.iter().flat_map(|node| Family::BOTH.map(|family| node.pod_cidr(family))).collect()
    }

    /// A silent monitor proves nothing: each must show a route that is not ours.
    fn prove_monitors(&self) -> Result<()> {
        for (node, monitor) in self.nodes.iter().zip(&self.monitors) {
            wait::until("the monitor listens", SOON, || {
                node.sh(
                    "ip route replace blackhole 203.0.113.0/24 && ip route del blackhole 203.0.113.0/24",
                )?;
                ensure!(monitor.log().contains("203.0.113.0/24"), "nothing yet");
                Ok(())
            })?;
        }
        Ok(())
    }

    /// No monitor saw a change of a route to Pods. A change made now comes after all others, and must be seen.
    fn ensure_quiet(&self) -> Result<()> {
        for (node, monitor) in self.nodes.iter().zip(&self.monitors) {
            node.sh("ip route add blackhole 198.51.100.0/24")?;
            monitor.wait_log("198.51.100.0/24", SOON)?;
            node.sh("ip route del blackhole 198.51.100.0/24")?;
            let log = monitor.log();
            let ours: Vec<&str> =
                log.lines().filter(|l| self.prefixes().iter().any(|p| l.contains(p))).collect();
            ensure!(ours.is_empty(), "the kernel of {} saw {ours:#?}", node.name);
        }
        Ok(())
    }
}

fn yaml(nodes: &[Node], node: &Node) -> String {
    let others = nodes.iter().filter(|other| other.index != node.index);
    let peers: String = others
        .map(|other| format!("- {{ name: {}, address: {}, asn: {ASN} }}\n", other.name, other.v4))
        .collect();
    let [v4, v6] = Family::BOTH.map(|family| node.pod_cidr(family));
    format!(
        "asn: {ASN}\nrouterId: {}\npeers:\n{peers}advertise: [ {{ prefixes: [{v4}, \"{v6}\"] }} ]\n",
        node.v4
    )
}

/// One end of a flow, when told so.
#[test]
fn flow() -> Result<()> {
    lab::flow::act()
}

/// Restarts while a thousand packets a second go between Pods of two nodes, and each must be answered.
fn under_a_flow(restarts: impl FnOnce(&mut Mesh) -> Result<()>) -> Result<()> {
    let mut mesh = Mesh::start()?;
    let pods = [Pod::start(&mesh.nodes[0])?, Pod::start(&mesh.nodes[1])?];
    let flows = Family::BOTH.map(|family| Flow::start(&pods[0], &pods[1], family));
    restarts(&mut mesh)?;
    for flow in flows {
        let tally = flow?.end()?;
        ensure!(tally.sent > 100 && tally.answered == tally.sent, "packets were lost: {tally:?}");
        writeln!(std::io::stdout(), "{tally:?}")?;
    }
    mesh.ensure_quiet()
}

#[test]
fn killed_ten_times_in_a_row() -> Result<()> {
    isolated(here!(), &[], || {
        under_a_flow(|mesh| {
            for _ in 0..10 {
                mesh.daemons[0].relaunch()?;
                mesh.wait_settled()?;
            }
            Ok(())
        })
    })
}

#[test]
fn ended_by_sigterm_and_started_again() -> Result<()> {
    isolated(here!(), &[], || {
        under_a_flow(|mesh| {
            for _ in 0..3 {
                mesh.daemons[1].daemon().signal("TERM")?;
                mesh.daemons[1].daemon().wait_exit(Duration::from_secs(5))?;
                mesh.daemons[1].relaunch()?;
                mesh.wait_settled()?;
            }
            Ok(())
        })
    })
}

#[test]
fn all_killed_at_once() -> Result<()> {
    isolated(here!(), &[], || {
        under_a_flow(|mesh| {
            for _ in 0..3 {
                mesh.daemons.iter().for_each(|daemon| daemon.daemon().kill());
                mesh.daemons.iter_mut().try_for_each(Bgpd::relaunch)?;
                mesh.wait_settled()?;
            }
            Ok(())
        })
    })
}

/// BIRD as Calico configures it: its metric, graceful restart, and `-R` to recover.
fn bird(nodes: &[Node], node: &Node, start: &str) -> Result<Daemon> {
    let mut text = format!(
        "log stderr all; router id {}; protocol device {{}} protocol direct {{ ipv4; ipv6; interface \"eth0\"; }}\n",
        node.v4
    );
    for family in Family::BOTH {
        let (word, own) = (family.word(), node.pod_cidr(family));
        let local = node.address(family);
        text += &format!(
            "protocol kernel k{word} {{ learn; persist; graceful restart; metric 1024; {word} {{ import none; export where source ~ [RTS_STATIC, RTS_BGP]; }}; }}\n\
             protocol static s{word} {{ {word}; route {own} blackhole; }}\n"
        );
        for other in nodes.iter().filter(|other| other.index != node.index) {
            let (name, remote) = (&other.name, other.address(family));
            text += &format!(
                "protocol bgp {name}{word} {{ local {local} as {ASN}; neighbor {remote} as {ASN}; graceful restart; connect delay time 1; \
                 {word} {{ import all; export where source = RTS_STATIC; next hop self; }}; }}\n"
            );
        }
    }
    let config = lab::daemon::write(&format!("bird-{start}.conf"), &text)?;
    let mut command = node.command("bird");
    let control = lab::sandbox::work()?.join(format!("bird-{start}.ctl"));
    command.arg("-f").arg("-R").arg("-c").arg(config).arg("-s").arg(control);
    Daemon::spawn(&format!("bird-{start}"), command)
}

#[test]
fn a_node_moves_from_bird_and_back_without_one_route_event() -> Result<()> {
    isolated(here!(), &[Make::Bird.need()], || {
        let nodes = Underlay::new()?.nodes(&["a", "b"])?;
        let both = |node: &Node| {
            let other = nodes.iter().find(|other| other.index != node.index).map_or(node, |other| other);
            let sessions = Family::BOTH.map(|family| {
                let (word, remote, local) = (family.word(), other.address(family), node.address(family));
                format!("- {{ name: {word}, address: \"{remote}\", localAddress: \"{local}\", families: [{word}], asn: {ASN} }}\n")
            });
            let [v4, v6] = Family::BOTH.map(|family| node.pod_cidr(family));
            format!(
                "asn: {ASN}\nrouterId: {}\npeers:\n{}advertise: [ {{ prefixes: [{v4}, \"{v6}\"] }} ]\n",
                node.v4,
                sessions.concat()
            )
        };
        let peer = Bgpd::start_yaml(&nodes[1], &both(&nodes[1]))?;
        let has_routes = || {
            for family in Family::BOTH {
                for node in &nodes {
                    let prefix = node.pod_cidr(family);
                    ensure!(nodes[0].routes_to(&prefix)?.len() == 1, "no {prefix}");
                }
            }
            Ok(())
        };
        let settled = || {
            wait::until("sessions and routes", SOON, || {
                let status = peer.ask(&["status"])?;
                ensure!(status["peersEstablished"] == 2, "{status}");
                has_routes()
            })
        };
        let first = bird(&nodes, &nodes[0], "first")?;
        settled()?;
        let mut command = nodes[0].command("ip");
        command.args(["monitor", "route"]);
        let monitor = Daemon::spawn("monitor-bird", command)?;
        wait::until("the monitor listens", SOON, || {
            nodes[0]
                .sh("ip route replace blackhole 203.0.113.0/24; ip route del blackhole 203.0.113.0/24")?;
            ensure!(monitor.log().contains("203.0.113.0/24"), "nothing yet");
            Ok(())
        })?;
        first.kill();
        let ours = Bgpd::start_yaml(&nodes[0], &both(&nodes[0]))?;
        wait::until("ours has taken over", SOON, || {
            let status = ours.ask(&["status"])?;
            ensure!(status["syncing"] == false && status["peersEstablished"] == 2, "{status}");
            has_routes()
        })?;
        let seen = |what: &str, mark: &str| -> Result<Vec<String>> {
            nodes[0].sh(&format!("ip route add blackhole {mark}"))?;
            monitor.wait_log(mark, SOON)?;
            Ok(monitor.log().lines().filter(|line| line.contains(what)).map(str::to_owned).collect())
        };
        for what in ["10.244", "fd00:10:244"] {
            let seen = seen(what, if what == "10.244" { "198.51.100.0/24" } else { "198.51.101.0/24" })?;
            ensure!(seen.is_empty(), "from BIRD to us the kernel saw {seen:#?}");
        }
        ours.daemon().kill();
        let second = bird(&nodes, &nodes[0], "second")?;
        settled()?;
        second.wait_log("Graceful restart done", SOON)?;
        // BIRD 2.0.12 writes its IPv6 routes once more after any restart, one of its own included.
        let seen = seen("10.244", "198.51.102.0/24")?;
        ensure!(seen.is_empty(), "from us to BIRD the kernel saw {seen:#?}");
        Ok(())
    })
}

#[test]
fn a_dead_peer_delays_nobody_for_long() -> Result<()> {
    isolated(here!(), &[], || {
        let mut mesh = Mesh::start()?;
        mesh.daemons[2].daemon().kill();
        mesh.daemons[1].relaunch()?;
        wait::until("the start is over without the dead one", Duration::from_secs(5), || {
            let status = mesh.daemons[1].ask(&["status"])?;
            ensure!(status["syncing"] == false && status["peersEstablished"] == 1, "{status}");
            Ok(())
        })
    })
}
