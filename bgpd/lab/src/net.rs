//! A cluster's machines as network namespaces: one [`Underlay`], any number of [`Node`]s on it.
//!
//! The underlay is a namespace with a bridge for each [`Subnet`] and, once asked for, a router between them; each node is a
//! namespace with `eth0` on one of the bridges. Node `i` (counted from 1) has the addresses 10.0.0.i/16 and fd00::i/64, in the
//! far subnet 10.1.0.i/16 and fd00:0:0:1::i/64, and, when it runs Pods, the Pod CIDRs 10.244.i.0/24 and fd00:10:244:i::/64. Setting up is one `ip -batch` for the links and one shell for each node.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::kernel::{self, KernelRoute};
use crate::shell;

/// A Linux bridge takes 1,023 ports.
pub const NODES_MAX: u16 = 1000;
/// The namespace of the bridge.
const SWITCH: &str = "underlay";
/// Switches without which a node would not route, or would lose time to duplicate address detection.
const SYSCTLS: [(&str, &str); 7] = [
    ("ipv4/ip_forward", "1"),
    ("ipv4/fib_multipath_hash_policy", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/dad_transmits", "0"),
];

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in order.
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

    /// The family of a prefix or an address in text.
    pub fn of(text: &str) -> Family {
        if text.contains(':') { Family::V6 } else { Family::V4 }
    }

    /// The family of an address.
    pub fn of_address(address: IpAddr) -> Family {
        if address.is_ipv6() { Family::V6 } else { Family::V4 }
    }

    /// `ipv4` or `ipv6`, as most configurations call it.
    pub fn word(self) -> &'static str {
        match self {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        }
    }

    /// `ip -4` or `ip -6`.
    pub fn flag(self) -> &'static str {
        match self {
            Family::V4 => "-4",
            Family::V6 => "-6",
        }
    }
}

/// Which of the underlay's bridges a node is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subnet {
    /// 10.0.0.0/16 and fd00::/64.
    Near,
    /// 10.1.0.0/16 and fd00:0:0:1::/64.
    Far,
}

impl Subnet {
    const BOTH: [Subnet; 2] = [Subnet::Near, Subnet::Far];

    fn number(self) -> u8 {
        match self {
            Subnet::Near => 0,
            Subnet::Far => 1,
        }
    }

    /// The router's address on this side.
    fn router(self, family: Family) -> String {
        match family {
            Family::V4 => format!("10.{}.255.254", self.number()),
            Family::V6 => format!("fd00:0:0:{}::ffff", self.number()),
        }
    }
}

/// The network all nodes stand on.
#[derive(Debug)]
pub struct Underlay {
    nodes: Cell<u16>,
}

impl Underlay {
    /// The bridge, with nothing on it yet.
    pub fn new() -> Result<Self> {
        shell::ip_batch(&format!("netns add {SWITCH}\n"))?;
        // IPv6 on the switch itself would only add multicast to every port.
        shell::feed(
            shell::command("ip").args(["-n", SWITCH, "-batch", "-"]),
            "link add br0 type bridge\nlink set br0 addrgenmode none up\n\
             link add br1 type bridge\nlink set br1 addrgenmode none up\n",
        )?;
        Ok(Self { nodes: Cell::new(0) })
    }

    /// The next node, in a namespace of this name.
    pub fn node(&self, name: &str) -> Result<Node> {
        Ok(self.nodes(&[name])?.remove(0))
    }

    /// The next nodes in the near subnet, one for each name, all at once.
    pub fn nodes(&self, names: &[&str]) -> Result<Vec<Node>> {
        self.nodes_in(Subnet::Near, names)
    }

    /// Puts a router between the subnets, and gives these nodes their default routes through it.
    pub fn route(&self, nodes: &[Node]) -> Result<()> {
        let mut lines = "link set lo up\n".to_owned();
        for subnet in Subnet::BOTH {
            let [v4, v6] = Family::BOTH.map(|family| subnet.router(family));
            let number = subnet.number();
            lines += &format!("addr add {v4}/16 dev br{number}\naddr add {v6}/64 dev br{number} nodad\n");
        }
        shell::feed(shell::command("ip").args(["-n", SWITCH, "-batch", "-"]), &lines)?;
        let forward =
            "echo 1 > /proc/sys/net/ipv4/ip_forward\necho 1 > /proc/sys/net/ipv6/conf/all/forwarding\n";
        let mut router = shell::command("nsenter");
        router.arg(format!("--net=/run/netns/{SWITCH}")).args(["--", "sh", "-e", "-s"]);
        shell::feed(&mut router, forward)?;
        for node in nodes {
            let defaults = Family::BOTH.map(|family| {
                format!("{} route add default via {}\n", family.flag(), node.subnet.router(family))
            });
            node.sh(&defaults.map(|line| format!("ip {line}")).concat())?;
        }
        Ok(())
    }

    /// Gives the router routes to these nodes' Pods, as a fabric would have them.
    pub fn learn(&self, nodes: &[Node]) -> Result<()> {
        let lines = nodes.iter().flat_map(|node| {
            Family::BOTH
                .map(|family| format!("route add {} via {}\n", node.pod_cidr(family), node.address(family)))
        });
        let lines = lines.collect::<String>();
        shell::feed(shell::command("ip").args(["-n", SWITCH, "-batch", "-"]), &lines).map(drop)
    }

    /// Plugs the namespace of the caller in too, with this address in the near subnet.
    pub fn join(&self, address: Ipv4Addr) -> Result<()> {
        shell::ip_batch(&format!(
            "link add eth0 type veth peer name outside netns {SWITCH}\naddr add {address}/16 dev eth0\nlink set eth0 up\n"
        ))?;
        self.switch("link set outside master br0 up")
    }

    /// The next nodes in a subnet, one for each name, all at once.
    pub fn nodes_in(&self, subnet: Subnet, names: &[&str]) -> Result<Vec<Node>> {
        let first = self.nodes.get() + 1;
        let nodes: Vec<Node> =
            names.iter().zip(first..).map(|(name, index)| Node::named(name, index, subnet)).collect();
        let last = first as usize + names.len() - 1;
        ensure!(last <= NODES_MAX as usize, "{last} nodes are more than a bridge has ports ({NODES_MAX})");
        shell::ip_batch(&nodes.iter().map(|node| format!("netns add {}\n", node.name)).collect::<String>())?;
        for node in &nodes {
            node.sh(&SYSCTLS.map(|(key, value)| format!("echo {value} > /proc/sys/net/{key}\n")).concat())?;
        }
        let cable = |node: &Node| {
            let (name, mac, port) = (&node.name, node.mac(), node.port());
            format!("link add eth0 netns {name} address {mac} type veth peer name {port} netns {SWITCH}\n")
        };
        shell::ip_batch(&nodes.iter().map(cable).collect::<String>())?;
        let plug = |node: &Node| {
            let port = node.port();
            let bridge = subnet.number();
            format!("link set {port} master br{bridge}\nlink set {port} addrgenmode none up\n")
        };
        let plugs = nodes.iter().map(plug).collect::<String>();
        shell::feed(shell::command("ip").args(["-n", SWITCH, "-batch", "-"]), &plugs)?;
        for node in &nodes {
            node.ip(&format!(
                "addr add {}/16 dev eth0\naddr add {}/64 dev eth0 nodad\nlink set lo up\nlink set eth0 up\n",
                node.v4, node.v6
            ))?;
        }
        self.nodes.set(last as u16);
        Ok(nodes)
    }

    fn switch(&self, line: &str) -> Result<()> {
        shell::feed(shell::command("ip").args(["-n", SWITCH, "-batch", "-"]), &format!("{line}\n")).map(drop)
    }
}

/// Gives each of these machines permanent neighbour entries for all others of its subnet.
///
/// The kernel's neighbour table takes 1,024 entries over all namespaces together, and says so only by dropping packets;
/// permanent ones are not counted. A full mesh of two families meets that from 23 nodes on.
pub fn introduce(nodes: &[Node]) -> Result<()> {
    for node in nodes {
        let others = nodes.iter().filter(|other| other.index != node.index && other.subnet == node.subnet);
        let lines = others.flat_map(|other| {
            Family::BOTH.map(|family| {
                format!(
                    "neigh replace {} lladdr {} dev eth0 nud permanent\n",
                    other.address(family),
                    other.mac()
                )
            })
        });
        node.ip(&lines.collect::<String>())?;
    }
    Ok(())
}

/// One machine: a network namespace with `eth0` on the underlay. Cloning gives another handle to the same machine.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name, and its namespace's.
    pub name: Arc<str>,
    /// Its number on the underlay, from 1.
    pub index: u16,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    /// Where it is.
    pub subnet: Subnet,
}

impl Node {
    fn named(name: &str, index: u16, subnet: Subnet) -> Self {
        let [high, low] = index.to_be_bytes();
        let number = subnet.number();
        Node {
            name: name.into(),
            index,
            v4: Ipv4Addr::new(10, number, high, low),
            v6: Ipv6Addr::new(0xfd00, 0, 0, number.into(), 0, 0, 0, index),
            subnet,
        }
    }

    /// Its address in a family.
    pub fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }

    /// Its Pod CIDR in a family.
    pub fn pod_cidr(&self, family: Family) -> String {
        let [high, low] = self.index.to_be_bytes();
        match family {
            Family::V4 => format!("10.{}.{low}.0/24", 244 + u16::from(high)),
            Family::V6 => format!("fd00:10:244:{:x}::/64", self.index),
        }
    }

    /// A command that will run in this machine's network namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = shell::command("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg("--");
        command.arg(shell::which(program).unwrap_or_else(|| program.into()));
        command
    }

    /// Runs a shell script here, which must succeed, and returns what it printed.
    pub fn sh(&self, script: &str) -> Result<String> {
        shell::feed(self.command("sh").args(["-e", "-s"]), script)
    }

    /// One `ip -batch` here.
    pub fn ip(&self, lines: &str) -> Result<()> {
        shell::feed(shell::command("ip").args(["-n", &self.name, "-batch", "-"]), lines).map(drop)
    }

    /// The routes of its main table.
    pub fn routes(&self, family: Family) -> Result<Vec<KernelRoute>> {
        let words = ["-n", &self.name, "-N", "-j", "-d", family.flag(), "route", "show"];
        kernel::parse(&shell::read(shell::command("ip").args(words))?)
    }

    /// The main table's routes for exactly this prefix.
    pub fn routes_to(&self, prefix: &str) -> Result<Vec<KernelRoute>> {
        let family = Family::of(prefix);
        let words = ["-n", &self.name, "-N", "-j", "-d", family.flag(), "route", "show", "exact", prefix];
        let mut routes = kernel::parse(&shell::read(shell::command("ip").args(words))?)?;
        // A default route answers to `exact` for every prefix in some versions of iproute2.
        routes.retain(|route| route.prefix == prefix);
        Ok(routes)
    }

    /// Pulls the cable such that nobody notices: links stay up everywhere, frames go nowhere.
    pub fn cut(&self) -> Result<()> {
        self.switch(&format!("link set {} nomaster", self.port()))
    }

    /// Puts the cable back after [`Node::cut`].
    pub fn mend(&self) -> Result<()> {
        self.switch(&format!("link set {} master br{}", self.port(), self.subnet.number()))
    }

    fn switch(&self, line: &str) -> Result<()> {
        shell::feed(shell::command("ip").args(["-n", SWITCH, "-batch", "-"]), &format!("{line}\n")).map(drop)
    }

    fn mac(&self) -> String {
        let [high, low] = self.index.to_be_bytes();
        format!("02:00:0a:00:{high:02x}:{low:02x}")
    }

    fn port(&self) -> String {
        format!("port{}", self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{here, sandbox};

    #[test]
    fn addresses_and_pod_cidrs_follow_the_index() {
        let node = Node::named("x", 300, Subnet::Near);
        assert_eq!(node.address(Family::V4).to_string(), "10.0.1.44");
        assert_eq!(node.address(Family::V6).to_string(), "fd00::12c");
        assert_eq!(node.pod_cidr(Family::V4), "10.245.44.0/24");
        assert_eq!(node.pod_cidr(Family::V6), "fd00:10:244:12c::/64");
    }

    #[test]
    fn nodes_reach_each_other_until_cut() -> Result<()> {
        sandbox::isolated(here!(), &[], || {
            let underlay = Underlay::new()?;
            let nodes = underlay.nodes(&["a", "b"])?;
            let c = underlay.node("c")?;
            let ping = |from: &Node, to: IpAddr| {
                shell::output(from.command("ping").args(["-c1", "-W1", &to.to_string()]))
                    .map(|output| output.status.success())
            };
            for family in Family::BOTH {
                ensure!(ping(&nodes[0], nodes[1].address(family))?, "a does not reach b over {family:?}");
                ensure!(ping(&c, nodes[0].address(family))?, "c does not reach a over {family:?}");
            }
            nodes[1].cut()?;
            ensure!(!ping(&nodes[0], nodes[1].v4.into())?, "a reaches b though it was cut");
            ensure!(nodes[1].sh("ip link show eth0")?.contains("LOWER_UP"), "b noticed the cut");
            nodes[1].mend()?;
            ensure!(ping(&nodes[0], nodes[1].v4.into())?, "a does not reach b after mending");
            Ok(())
        })
    }
}
