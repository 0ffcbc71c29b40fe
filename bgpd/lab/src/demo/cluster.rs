//! The cluster of the demo: nodes with a Pod each, `bgpd` on every node in a full mesh or as clients of reflectors.
//!
//! The configurations are the shortest that do it: one session between two speakers carries both families. Graceful
//! restart is off: it would keep the routes of a killed daemon, which is what it is for, and not what the demo shows.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};

use crate::daemon::Daemon;
use crate::demo::mode::{Mode, When};
use crate::demo::{Options, echo};
use crate::net::{Family, Node, Subnet, Underlay, introduce};
use crate::peers::ours::Bgpd;
use crate::pod::Pod;
use crate::speaker::Speaker;
use crate::wait::{self, SOON};

/// The AS of every speaker: Calico's default.
const ASN: u32 = 64512;
/// How every configuration begins.
const HEAD: &str = "asn: 64512\ngracefulRestart: off\npeers:\n";
/// The routing protocol number of our routes, `bird` in /etc/iproute2/rt_protos.
const PROTOCOL: u8 = 12;

/// The machines and Pods, before any daemon runs.
#[derive(Debug)]
pub(super) struct Cluster {
    /// The nodes, with a Pod each.
    pub nodes: Vec<Node>,
    /// One Pod for each node, in the same order.
    pub pods: Vec<Pod>,
    /// Machines that only reflect.
    pub reflectors: Vec<Node>,
    mode: Mode,
    when: When,
    _echoes: Vec<Daemon>,
}

impl Cluster {
    /// Namespaces, cables, addresses, Pods, and in each Pod the echo service as a second process.
    pub(super) fn build(options: &Options) -> Result<Self> {
        let underlay = Underlay::new()?;
        let names = |kind: &str, count: u16| -> Vec<String> {
            (1..=count).map(|index| format!("{kind}{index}")).collect()
        };
        let make = |subnet: Subnet, names: &[String]| match names {
            [] => Ok(Vec::new()),
            names => underlay.nodes_in(subnet, &names.iter().map(String::as_str).collect::<Vec<_>>()),
        };
        let node_names = names("node", options.nodes);
        let (near, far) = node_names.split_at(node_names.len() - options.far());
        let mut nodes = make(Subnet::Near, near)?;
        nodes.extend(make(Subnet::Far, far)?);
        let reflectors = make(Subnet::Near, &names("reflector", options.reflectors))?;
        if options.far() > 0 {
            underlay.route(&[nodes.as_slice(), reflectors.as_slice()].concat())?;
        }
        if options.mode == Mode::Bgp && options.far() > 0 {
            // Without a tunnel whatever is between must know the Pods' addresses: a fabric that speaks BGP, in short.
            underlay.learn(&nodes)?;
        }
        introduce(&[nodes.as_slice(), reflectors.as_slice()].concat())?;
        let pods = nodes.iter().map(Pod::start).collect::<Result<Vec<_>>>()?;
        let exe = std::env::current_exe()?;
        let serve = |pod: &Pod| {
            let mut command = pod.command(&exe.to_string_lossy());
            command.arg("echo");
            Daemon::spawn(&format!("echo-{}", pod.name), command)
        };
        let echoes = pods.iter().map(serve).collect::<Result<Vec<_>>>()?;
        echoes.iter().try_for_each(|echo| echo.wait_listen(echo::PORT))?;
        Ok(Cluster { nodes, pods, reflectors, mode: options.mode, when: options.when, _echoes: echoes })
    }

    /// The configuration of a node's daemon.
    pub(super) fn node_config(&self, node: &Node) -> Result<String> {
        let peers = if self.reflectors.is_empty() { &self.nodes } else { &self.reflectors };
        let mut text = HEAD.to_owned();
        for peer in peers.iter().filter(|peer| peer.index != node.index) {
            writeln!(text, "- {{ name: {}, address: {}, asn: {ASN} }}", peer.name, peer.v4)?;
        }
        let own = self.mode.families().iter().map(|family| format!("\"{}\"", node.pod_cidr(*family)));
        writeln!(text, "advertise: [ {{ prefixes: [{}] }} ]", own.collect::<Vec<_>>().join(", "))?;
        Ok(text + &self.mode.yaml(self.when))
    }

    /// The configuration of a reflector's daemon: whoever connects from the underlay is a client.
    pub(super) fn reflector_config(&self) -> Result<String> {
        let mut text = HEAD.to_owned();
        writeln!(text, "- {{ name: nodes, range: 10.0.0.0/15, asn: {ASN}, reflectorClient: true }}")?;
        // The same on every reflector: together they are one cluster.
        writeln!(text, "reflector: {{ clusterId: {} }}", self.reflectors[0].v4)?;
        writeln!(text, "kernel: {{ install: false }}")?;
        Ok(text)
    }

    /// Starts the reflectors and then the nodes.
    pub(super) fn start(&self) -> Result<Daemons> {
        let reflectors = self.reflectors.iter();
        let reflectors = reflectors
            .map(|node| Bgpd::start_yaml(node, &self.reflector_config()?))
            .collect::<Result<Vec<_>>>()?;
        let nodes = self
            .nodes
            .iter()
            .map(|node| Bgpd::start_yaml(node, &self.node_config(node)?))
            .collect::<Result<Vec<_>>>()?;
        Ok(Daemons { nodes, _reflectors: reflectors })
    }

    /// The sessions each node has when all is well.
    pub(super) fn sessions_wanted(&self) -> usize {
        if self.reflectors.is_empty() { self.nodes.len() - 1 } else { self.reflectors.len() }
    }

    /// Waits until every node's kernel has every other node's Pod CIDRs, by way of that node, as routes of ours.
    pub(super) fn wait_routes(&self) -> Result<()> {
        for node in &self.nodes {
            for family in self.mode.families() {
                wait::until(&format!("{}'s {} routes", node.name, family.word()), SOON, || {
                    self.has_all(node, *family)
                })?;
            }
        }
        Ok(())
    }

    fn has_all(&self, node: &Node, family: Family) -> Result<()> {
        let routes = node.routes(family)?;
        for other in self.nodes.iter().filter(|other| other.index != node.index) {
            let prefix = other.pod_cidr(family);
            let route = routes.iter().find(|route| route.prefix == prefix);
            let route = route.with_context(|| format!("no route to {prefix}"))?;
            ensure!(route.protocol == PROTOCOL, "{prefix} has protocol {}", route.protocol);
            ensure!(route.devices == [self.device(node, other, family)], "{prefix}: {:?}", route.devices);
            if node.subnet == other.subnet && route.devices == ["eth0"] {
                ensure!(
                    route.gateways == [other.address(family).to_string()],
                    "{prefix}: {:?}",
                    route.gateways
                );
            }
        }
        Ok(())
    }

    /// The device that one node's routes to another's Pods lead through.
    pub(super) fn device(&self, node: &Node, other: &Node, family: Family) -> &'static str {
        self.mode.device(self.when, node, other, family)
    }

    /// The tunnel devices of each node.
    pub(super) fn devices(&self) -> Vec<&'static str> {
        let Some((first, last)) = self.nodes.first().zip(self.nodes.last()) else { return Vec::new() };
        let families = self.mode.families().iter();
        let all = families.map(|family| self.device(first, last, *family));
        all.filter(|device| *device != "eth0").collect()
    }

    /// Waits until a node's kernel has no route to another's Pod CIDRs.
    pub(super) fn wait_gone(&self, node: &Node, other: &Node) -> Result<()> {
        for family in self.mode.families() {
            let prefix = other.pod_cidr(*family);
            wait::closely(&format!("{} without {prefix}", node.name), SOON, || {
                let routes = node.routes_to(&prefix)?;
                ensure!(routes.is_empty(), "{routes:?}");
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// The running daemons of a cluster.
pub(super) struct Daemons {
    /// One for each node, in the cluster's order.
    pub nodes: Vec<Bgpd>,
    _reflectors: Vec<Bgpd>,
}

impl Daemons {
    /// Waits until every node's daemon says that all its sessions are established.
    pub(super) fn wait_established(&self, wanted: usize) -> Result<()> {
        for bgpd in &self.nodes {
            wait::until("sessions", SOON, || {
                bgpd.daemon().alive()?;
                let states = bgpd.states()?;
                let up = states.iter().filter(|state| *state == "Established").count();
                ensure!(up == wanted && states.len() == wanted, "{up} of {wanted} established: {states:?}");
                Ok(())
            })?;
        }
        Ok(())
    }
}
