//! `pools`: in which packets to Pods of other nodes travel.
//!
//! ```yaml
//! pools:
//! - { prefixes: [10.244.0.0/16, "fd00:10:244::/48"], tunnel: { mode: vxlan, when: crossSubnet } }
//! ```
//!
//! A pool is a range that Pods of all nodes have their addresses from. Packets to a prefix of another node go as they are
//! (`none`, as outside of any pool), or inside a tunnel between the nodes: always, or only to nodes beyond this node's own
//! subnet. The longest pool that contains a prefix counts.
//!
//! Written pools become an [`Overlay`]: each tunnel needs a device, devices are shared by name, and one device carries one version
//! of IP. What a device needs beyond the text is made up here, the same on every start: its hardware address from the
//! router id, its own address from the first prefix of this node in the pool.

use std::net::IpAddr;

use bgp_proto::attr::MacAddr;
use bgp_proto::{Prefix, RouterId, Version};
use reflector::events::FarEnd;
use serde::Deserialize;

use super::problem::{Path, Report};
use super::text::{Any, Text, Unreadable, Word};

/// `tunnel.port`: IANA's (RFC 7348).
const PORT: u16 = 4789;
/// `tunnel.vni`: Calico's.
const VNI: u32 = 4096;
/// A virtual network has 24 bits (RFC 7348 section 5).
const VNI_MAX: u32 = (1 << 24) - 1;
/// What every host takes (RFC 791 section 3.1, RFC 8200 section 5).
const MTU_MIN: [u32; 2] = [576, 1280];
/// `tunnel.name`: of IPIP the device that Linux makes by itself.
const NAME_IPIP: &str = "tunl0";
const NAME_VXLAN: [&str; 2] = ["vxlan.bgpd", "vxlan-v6.bgpd"];
/// How hardware addresses of our devices begin: locally administered, one for each version of IP.
const MAC: [[u8; 2]; 2] = [[0x66, 0xb9], [0x66, 0xba]];

/// One of `pools`, as written.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Pool {
    /// The ranges.
    pub prefixes: Any<Prefix>,
    /// How packets to them travel.
    pub tunnel: Tunnel,
}

/// `pools[].tunnel`, as written.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tunnel {
    /// In what.
    pub mode: Mode,
    /// To which nodes.
    #[serde(default)]
    pub when: When,
    /// UDP port of VXLAN.
    #[serde(default)]
    pub port: Option<u16>,
    /// Virtual network of VXLAN.
    #[serde(default)]
    pub vni: Option<u32>,
    /// Largest packet inside, or `auto`: what the links of the node leave room for.
    #[serde(default)]
    pub mtu: Text<Mtu>,
    /// Name of the device.
    #[serde(default)]
    pub name: Option<Text<DeviceName>>,
    /// Whose the device is.
    #[serde(default)]
    pub owner: Owner,
    /// The device's own address; by default the first of this node's first prefix in the pool.
    #[serde(default)]
    pub address: Option<Text<IpAddr>>,
}

/// `pools[].tunnel.mode`.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// No tunnel.
    None,
    /// IP in IP (RFC 2003), for IPv4.
    Ipip,
    /// VXLAN (RFC 7348).
    Vxlan,
}

/// `pools[].tunnel.when`.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// To every node.
    #[default]
    Always,
    /// To nodes that are not on a link of this node.
    CrossSubnet,
}

/// `pools[].tunnel.owner`.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Owner {
    /// This daemon's: it makes the device and keeps it right.
    #[default]
    #[serde(rename = "self")]
    Own,
    /// Somebody else's, such as Felix's: never touched. Routes go through a tunnel device of IPIP; those of a VXLAN pool are left to the owner as well.
    External,
}

/// A packet size in octets, or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mtu(pub Option<u32>);

impl Default for Text<Mtu> {
    fn default() -> Self {
        Text(Mtu(None))
    }
}

impl Word for Mtu {
    const ACCEPTED: &'static str = "`auto` or a number of octets from 576 to 65535";

    fn read(text: &str) -> Result<Self, Unreadable> {
        if text == "auto" {
            return Ok(Mtu(None));
        }
        let mtu = text.parse().ok().filter(|mtu| (MTU_MIN[0]..=65535).contains(mtu));
        mtu.map(|mtu| Mtu(Some(mtu))).ok_or(Unreadable::Other)
    }
}

/// The name of a network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceName(pub String);

impl Word for DeviceName {
    const ACCEPTED: &'static str = "a device name of at most 15 letters, digits, `-`, `_` or `.`";

    fn read(text: &str) -> Result<Self, Unreadable> {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let fits = (1..=15).contains(&text.len()) && text.chars().all(good) && text != "." && text != "..";
        if fits { Ok(DeviceName(text.to_owned())) } else { Err(Unreadable::Other) }
    }
}

/// What pools come to: tunnel devices, and which prefixes go through which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlay {
    /// The devices, each name once.
    pub devices: Vec<Device>,
    /// Pools, the longest prefix first; the first that contains a destination counts.
    pub pools: Vec<(Prefix, Option<Lane>)>,
}

/// How packets to a pool travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lane {
    /// The device's index in [`Overlay::devices`].
    pub device: usize,
    /// To which nodes.
    pub when: When,
}

/// A tunnel device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// The version of IP inside and outside.
    pub version: Version,
    /// What it is.
    pub kind: DeviceKind,
    /// Largest packet inside; `None`: what the node's links leave room for.
    pub mtu: Option<u32>,
    /// Whose it is.
    pub owner: Owner,
    /// Its own addresses, in order, each once.
    pub addresses: Vec<IpAddr>,
}

/// What a tunnel device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// IP in IP.
    Ipip,
    /// VXLAN.
    Vxlan {
        /// Virtual network.
        vni: u32,
        /// UDP port.
        port: u16,
        /// Hardware address, as other nodes are told.
        mac: MacAddr,
    },
}

impl Overlay {
    /// How packets to a prefix travel; `None`: as they are.
    pub fn lane(&self, prefix: &Prefix) -> Option<Lane> {
        self.pools.iter().find(|(pool, _)| pool.contains(prefix)).and_then(|(_, lane)| *lane)
    }

    /// What a route to a prefix of this node must say for others to find the tunnel.
    pub fn far_end(&self, prefix: &Prefix) -> Option<FarEnd> {
        let device = self.devices.get(self.lane(prefix)?.device)?;
        match device.kind {
            DeviceKind::Vxlan { vni, mac, .. } if device.owner == Owner::Own => {
                Some(FarEnd { addr: None, vni: Some(vni), mac })
            }
            DeviceKind::Vxlan { .. } | DeviceKind::Ipip => None,
        }
    }
}

/// Resolves and checks the pools; `own`: this node's prefixes, in order.
pub(super) fn overlay(written: &[Pool], router_id: RouterId, own: &[Prefix], report: &mut Report) -> Overlay {
    let root = Path::Root;
    let list = root.key("pools");
    let mut overlay = Overlay::default();
    for (n, pool) in written.iter().enumerate() {
        let entry = list.index(n);
        let at = entry.key("prefixes");
        if pool.prefixes.0.is_empty() {
            report.add(at, "there is no prefix in this list");
        }
        for (m, prefix) in pool.prefixes.0.iter().enumerate() {
            if overlay.pools.iter().any(|(other, _)| other == prefix) {
                report.add(at.index(m), format!("{prefix} is in two pools"));
            }
            let own = own.iter().find(|own| prefix.contains(own));
            let lane = device(pool, *prefix, router_id, own, &entry, report).map(|device| Lane {
                device: enter(&mut overlay.devices, device, &entry, report),
                when: pool.tunnel.when,
            });
            overlay.pools.push((*prefix, lane));
        }
    }
    overlay.pools.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    overlay
}

/// The device that a pool's prefix needs.
fn device(
    pool: &Pool,
    prefix: Prefix,
    router_id: RouterId,
    own: Option<&Prefix>,
    entry: &Path<'_>,
    report: &mut Report,
) -> Option<Device> {
    let Tunnel { mode, when: _, port, vni, mtu: Text(Mtu(mtu)), name, owner, address } = &pool.tunnel;
    let at = entry.key("tunnel");
    let version = prefix.version();
    let slot = usize::from(version == Version::V6);
    let vni = vni.unwrap_or(VNI);
    if vni > VNI_MAX {
        report.add(at.key("vni"), format!("expected at most {VNI_MAX}, found `{vni}`"));
    }
    if *port == Some(0) {
        report.add(at.key("port"), "expected a UDP port from 1 to 65535, found `0`");
    }
    if mtu.is_some_and(|mtu| mtu < MTU_MIN[slot]) {
        report.add(at.key("mtu"), format!("IPv6 needs at least {} octets (RFC 8200 section 5)", MTU_MIN[1]));
    }
    let (kind, usual) = match mode {
        Mode::None => return None,
        Mode::Ipip if version == Version::V6 => {
            report.add(at.key("mode"), format!("ipip carries IPv4 only: use vxlan or none for {prefix}"));
            return None;
        }
        Mode::Ipip => (DeviceKind::Ipip, NAME_IPIP),
        Mode::Vxlan => {
            let ([a, b], [c, d, e, f]) = (MAC[slot], router_id.0.to_be_bytes());
            let mac = MacAddr([a, b, c, d, e, f]);
            (DeviceKind::Vxlan { vni, port: port.unwrap_or(PORT), mac }, NAME_VXLAN[slot])
        }
    };
    let of_version = |addr: &IpAddr| addr.is_ipv6() == (version == Version::V6);
    let written = address.as_ref().map(|Text(addr)| *addr).filter(of_version);
    Some(Device {
        name: name.as_ref().map_or(usual, |Text(DeviceName(name))| name).to_owned(),
        version,
        kind,
        mtu: *mtu,
        owner: *owner,
        addresses: written.or_else(|| own.map(Prefix::addr)).into_iter().collect(),
    })
}

/// Adds a device, or finds the one of its name.
fn enter(devices: &mut Vec<Device>, device: Device, entry: &Path<'_>, report: &mut Report) -> usize {
    let Some(index) = devices.iter().position(|other| other.name == device.name) else {
        devices.push(device);
        return devices.len() - 1;
    };
    if let Some(other) = devices.get_mut(index) {
        let alike = (other.version, other.kind, other.mtu, other.owner)
            == (device.version, device.kind, device.mtu, device.owner);
        if !alike {
            let at = entry.key("tunnel");
            report.add(
                at.key("name"),
                format!(
                    "another pool uses the device `{}` in another way: give each its own name",
                    device.name
                ),
            );
        }
        for addr in device.addresses {
            if !other.addresses.contains(&addr) {
                other.addresses.push(addr);
            }
        }
    }
    index
}
