//! What the kernel says and what we say to it, as values: routes, links, addresses, changes of these.
//!
//! The codec (`wire`) produces these from bytes and turns them into bytes; `resolve`, `plan` and `machine` know nothing
//! else of netlink. A route's way is a [`Target`], in one normal form, so that "is the kernel's route the one we want" is
//! `==`: paths are sorted, weights have no common divisor, flags that the kernel adds for its own use (dead, linkdown,
//! offloaded) are left out, and whatever we would never write ourselves is [`Target::Other`], which equals nothing we want.

use std::cmp::Ordering;
use std::net::IpAddr;

use bgp_proto::attr::MacAddr;
use bgp_proto::{Prefix, Version};

/// The kernel's main routing table.
pub const TABLE_MAIN: u32 = 254;

/// IPv6 has no metric 0: the kernel reads it as this.
const METRIC_IPV6_DEFAULT: u32 = 1024;

/// Interfaces whose addresses are not the node's: bridges and ends of Pods, tunnels, and the one on which kube-proxy
/// keeps every service's address. By the beginning of their names, as Calico's own detection has it.
const NOT_THE_NODES: [&str; 16] = [
    "docker",
    "cbr",
    "dummy",
    "virbr",
    "lxcbr",
    "veth",
    "cali",
    "tunl",
    "flannel",
    "kube-ipvs",
    "cni",
    "vxlan",
    "br-",
    "wireguard",
    "lxc",
    "nodelocaldns",
];

/// The kernel's limit on one path's weight.
pub(super) const WEIGHT_MAX: u32 = 256;

/// One way out of the node: a next hop as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// The neighbour that takes the packet; `None` if the destination itself is on the link.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub ifindex: u32,
    /// Relative weight among the paths of one route, 1 to 256.
    pub weight: u16,
    /// The kernel is not to check that the gateway is on the link.
    pub onlink: bool,
}

/// What a kernel route does with a packet, in normal form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Drop it silently.
    Blackhole,
    /// Forward it along one of these paths: sorted, distinct, never empty.
    Via(Box<[Path]>),
    /// Anything that this daemon never installs: unreachable, prohibit, local, with encapsulation, with metrics.
    Other,
}

impl Target {
    /// The normal form of a set of paths: paths that coincide are added up, weights are divided by what they have in
    /// common and fitted to the kernel's range, and at most `paths_max` are kept. `Other` if there is no path.
    pub fn via(mut paths: Vec<Path>, paths_max: usize) -> Target {
        paths.sort_unstable();
        paths.dedup_by(|path, kept| {
            let same = path.gateway == kept.gateway && path.ifindex == kept.ifindex;
            if same {
                kept.weight = kept.weight.saturating_add(path.weight);
                kept.onlink |= path.onlink;
            }
            same
        });
        paths.truncate(paths_max.max(1));
        let top = paths.iter().map(|path| u32::from(path.weight)).max().unwrap_or(1);
        if top > WEIGHT_MAX {
            for path in &mut paths {
                let scaled = u32::from(path.weight) * WEIGHT_MAX / top;
                path.weight = u16::try_from(scaled.max(1)).unwrap_or(1);
            }
        }
        let common = paths.iter().fold(0, |common, path| gcd(common, path.weight));
        for path in &mut paths {
            path.weight = path.weight.checked_div(common).unwrap_or(1).max(1);
        }
        if paths.is_empty() { Target::Other } else { Target::Via(paths.into_boxed_slice()) }
    }

    /// The paths, none for a route that forwards nothing.
    pub fn paths(&self) -> &[Path] {
        match self {
            Target::Via(paths) => paths,
            Target::Blackhole | Target::Other => &[],
        }
    }

    /// Whether a packet can leave by this interface.
    pub fn uses(&self, ifindex: u32) -> bool {
        self.paths().iter().any(|path| path.ifindex == ifindex)
    }

    /// Whether this interface was the last one by which packets could leave: the others are not up.
    pub(super) fn ends_with(&self, ifindex: u32, is_up: impl Fn(u32) -> bool) -> bool {
        self.uses(ifindex) && self.paths().iter().all(|path| path.ifindex == ifindex || !is_up(path.ifindex))
    }
}

fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Where a route lies in the kernel: of routes to one prefix, two at one place are in each other's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Routing table.
    pub table: u32,
    /// Metric, as the kernel counts it; the lowest wins.
    pub metric: u32,
}

impl Place {
    /// The place that a route of this version gets when it asks for this metric.
    pub fn of(version: Version, table: u32, metric: u32) -> Place {
        let metric = match version {
            Version::V6 if metric == 0 => METRIC_IPV6_DEFAULT,
            Version::V4 | Version::V6 => metric,
        };
        Place { table, metric }
    }
}

/// A route as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KernelRoute {
    /// Destination.
    pub(super) prefix: Prefix,
    /// Table and metric.
    pub(super) place: Place,
    /// Who put it there (`RTPROT_*`, shown by `ip route` as `proto`).
    pub(super) protocol: u8,
    /// What it does. Of a route with attributes that we never write, the paths are still told, for resolving through it.
    pub(super) target: Target,
    /// Whether the route has nothing that we would not write ourselves.
    pub(super) plain: bool,
}

impl KernelRoute {
    /// The target as it counts for a route of our own: one with foreign attributes is not what we want.
    pub(super) fn own_target(&self) -> Target {
        if self.plain { self.target.clone() } else { Target::Other }
    }
}

/// What others have in the main table for one prefix.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundRoutes {
    /// Of routes that neither the kernel made by itself nor we installed, the one with the lowest metric.
    pub alien: Option<FoundRoute>,
    /// The route that the kernel made because the node is connected to the network.
    pub connected: Option<FoundRoute>,
}

/// A route that somebody else put into the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRoute {
    /// Who (`RTPROT_*`).
    pub protocol: u8,
    /// Its metric.
    pub metric: u32,
    /// The interface of its first path; none for one that forwards nothing.
    pub ifname: Option<Box<str>>,
    /// The neighbour of its first path.
    pub gateway: Option<IpAddr>,
}

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// Its number.
    pub(super) ifindex: u32,
    /// Its name.
    pub(super) name: Box<str>,
    /// Administratively up. Without it the kernel has no IPv4 route through the interface.
    pub(super) up: bool,
    /// The loopback interface.
    pub(super) loopback: bool,
    /// Largest packet.
    pub(super) mtu: u32,
    /// Hardware address, of interfaces that have one of six octets.
    pub(super) mac: Option<MacAddr>,
    /// What it is.
    pub(super) kind: LinkKind,
}

impl Link {
    /// Whether the interface is the node's own, by its name.
    pub(super) fn is_the_nodes(&self) -> bool {
        NOT_THE_NODES.iter().all(|beginning| !self.name.starts_with(beginning))
    }
}

/// Kinds of interfaces that matter here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum LinkKind {
    /// Any other.
    #[default]
    Other,
    /// A tunnel for IPv4 in IPv4.
    Ipip,
    /// A VXLAN device.
    Vxlan {
        /// Virtual network.
        vni: u32,
        /// UDP port.
        port: u16,
    },
}

/// A permanent entry of a VXLAN device: which hardware address a neighbour has, or behind which end of the tunnel a
/// hardware address is.
///
/// In order, those of which the kernel keeps only one are neighbours: it knows neighbours by address, ends by hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Neighbour {
    /// The device.
    pub(super) ifindex: u32,
    /// Whether it is about the end of the tunnel.
    pub(super) is_forwarding: bool,
    /// The neighbour, or the end of the tunnel.
    pub(super) addr: IpAddr,
    /// The hardware address.
    pub(super) mac: MacAddr,
}

impl Ord for Neighbour {
    fn cmp(&self, other: &Self) -> Ordering {
        let table = (self.ifindex, self.is_forwarding).cmp(&(other.ifindex, other.is_forwarding));
        table.then_with(|| match self.is_forwarding {
            true => (self.mac, self.addr).cmp(&(other.mac, other.addr)),
            false => (self.addr, self.mac).cmp(&(other.addr, other.mac)),
        })
    }
}

impl PartialOrd for Neighbour {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An address of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    /// The interface that has it.
    pub(super) ifindex: u32,
    /// The address.
    pub(super) addr: IpAddr,
    /// Valid everywhere, not only on the link or the host.
    pub(super) global: bool,
    /// In use: not an IPv6 address that is still being checked, not one that is about to go.
    pub(super) settled: bool,
}

/// How the kernel announced a route (the `NLM_F_*` flags of the notification).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Beside whatever was there.
    Added,
    /// In the place of a route with the same prefix, table and metric.
    Replaced,
}

/// One thing that changed in the kernel, as told by its notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KernelChange {
    /// A route came.
    RouteCame(KernelRoute, Arrival),
    /// A route went.
    RouteWent(KernelRoute),
    /// An interface came or changed.
    LinkCame(Link),
    /// An interface went.
    LinkWent(u32),
    /// An address came or changed.
    AddressCame(Address),
    /// An address went.
    AddressWent(Address),
    /// A device has a permanent neighbour or forwarding entry: told when asked only.
    NeighbourSeen(Neighbour),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(gateway: &str, ifindex: u32, weight: u16) -> Path {
        Path { gateway: Some(gateway.parse().unwrap()), ifindex, weight, onlink: false }
    }

    #[test]
    fn equal_sets_of_paths_have_one_form() {
        let a = Target::via(vec![path("10.0.0.2", 1, 2), path("10.0.0.1", 1, 2)], 16);
        let b = Target::via(vec![path("10.0.0.1", 1, 1), path("10.0.0.2", 1, 1)], 16);
        assert_eq!(a, b);
        assert_eq!(Target::via(vec![path("10.0.0.1", 1, 77)], 16).paths(), [path("10.0.0.1", 1, 1)]);
    }

    #[test]
    fn paths_that_coincide_are_one_with_the_weight_of_both() {
        let paths = vec![path("10.0.0.1", 1, 1), path("10.0.0.2", 1, 1), path("10.0.0.1", 1, 1)];
        let target = Target::via(paths, 16);
        assert_eq!(target.paths(), [path("10.0.0.1", 1, 2), path("10.0.0.2", 1, 1)]);
    }

    #[test]
    fn weights_are_fitted_to_the_kernels_range() {
        let target =
            Target::via(vec![path("10.0.0.1", 1, 1024), path("10.0.0.2", 1, 1), path("10.0.0.3", 1, 7)], 16);
        let weights: Vec<u16> = target.paths().iter().map(|path| path.weight).collect();
        assert_eq!(weights, [256, 1, 1]);
        assert_eq!(Target::via(vec![], 16), Target::Other);
    }

    #[test]
    fn metric_zero_is_another_place_in_ipv6() {
        assert_eq!(Place::of(Version::V6, 254, 0).metric, 1024);
        assert_eq!(Place::of(Version::V4, 254, 0).metric, 0);
    }
}
