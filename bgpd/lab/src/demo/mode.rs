//! The network modes of a cluster: what a node is told, and which device its routes then lead through.

use clap::ValueEnum;

use crate::net::{Family, Node};
use crate::shell;

/// In which packets to Pods of other nodes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// As they are.
    Bgp,
    /// In IPIP; IPv4 only.
    Ipip,
    /// In VXLAN.
    Vxlan,
}

/// To which nodes packets travel in a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// To all.
    Always,
    /// To those of the other subnet.
    CrossSubnet,
}

impl Mode {
    /// The families that the mode carries.
    pub(super) fn families(self) -> &'static [Family] {
        match self {
            Mode::Ipip => &[Family::V4],
            Mode::Bgp | Mode::Vxlan => &Family::BOTH,
        }
    }

    /// What a node's configuration says of it.
    pub(super) fn yaml(self, when: When) -> String {
        let when = match when {
            When::Always => "",
            When::CrossSubnet => ", when: crossSubnet",
        };
        match self {
            Mode::Bgp => String::new(),
            Mode::Ipip => {
                format!("pools: [ {{ prefixes: 10.244.0.0/16, tunnel: {{ mode: ipip{when} }} }} ]\n")
            }
            Mode::Vxlan => format!(
                "pools: [ {{ prefixes: [10.244.0.0/16, \"fd00:10:244::/48\"], tunnel: {{ mode: vxlan{when} }} }} ]\n"
            ),
        }
    }

    /// The device that routes to another node lead through.
    pub(super) fn device(self, when: When, node: &Node, other: &Node, family: Family) -> &'static str {
        let is_direct = when == When::CrossSubnet && node.subnet == other.subnet;
        match (self, family) {
            (Mode::Bgp, _) => "eth0",
            _ if is_direct => "eth0",
            (Mode::Ipip, _) => "tunl0",
            (Mode::Vxlan, Family::V4) => "vxlan.bgpd",
            (Mode::Vxlan, Family::V6) => "vxlan-v6.bgpd",
        }
    }
}

/// Whether this kernel can make IPIP devices.
pub(super) fn has_ipip() -> bool {
    let mut probe = shell::command("unshare");
    probe.args(["-Urn", "--", "ip", "link", "add", "probe", "type", "ipip", "remote", "192.0.2.1"]);
    shell::output(&mut probe).is_ok_and(|output| output.status.success())
}
