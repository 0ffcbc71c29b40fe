//! Restarts without loss, on real kernels: while daemons die and come back, in one way or another, alone or all at once, no
//! kernel sees a single change of a route.

use std::time::Duration;

use anyhow::{Result, ensure};

use lab::daemon::Daemon;
use lab::here;
use lab::net::{Family, Node, Underlay};
use lab::peers::ours::Bgpd;
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

#[test]
fn killed_and_started_again_one_after_the_other() -> Result<()> {
    isolated(here!(), &[], || {
        let mut mesh = Mesh::start()?;
        for _ in 0..3 {
            for at in 0..mesh.daemons.len() {
                mesh.daemons[at].relaunch()?;
                mesh.wait_settled()?;
            }
        }
        mesh.ensure_quiet()
    })
}

#[test]
fn ended_by_sigterm_and_started_again() -> Result<()> {
    isolated(here!(), &[], || {
        let mut mesh = Mesh::start()?;
        for _ in 0..3 {
            mesh.daemons[1].daemon().signal("TERM")?;
            mesh.daemons[1].daemon().wait_exit(Duration::from_secs(5))?;
            mesh.daemons[1].relaunch()?;
            mesh.wait_settled()?;
        }
        mesh.ensure_quiet()
    })
}

#[test]
fn all_killed_at_once() -> Result<()> {
    isolated(here!(), &[], || {
        let mut mesh = Mesh::start()?;
        for _ in 0..3 {
            mesh.daemons.iter().for_each(|daemon| daemon.daemon().kill());
            mesh.daemons.iter_mut().try_for_each(Bgpd::relaunch)?;
            mesh.wait_settled()?;
        }
        mesh.ensure_quiet()
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
