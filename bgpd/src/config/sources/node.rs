//! What the node itself says: its first global IPv4 address, the default router id.
//!
//! Bridges and tunnels of container networks carry the same address on many nodes, and two speakers with one router id do not
//! speak to each other (RFC 6286), so their interfaces come last.

use std::net::Ipv4Addr;

use bgp_proto::RouterId;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// Interfaces that a container network made, by the beginning of their names; Calico excludes the same ones.
const MADE_FOR_CONTAINERS: [&str; 19] = [
    "br-",
    "cali",
    "cbr",
    "cni",
    "docker",
    "dummy",
    "flannel",
    "kube",
    "lxcbr",
    "lxc",
    "nodelocaldns",
    "podman",
    "tunl",
    "veth",
    "virbr",
    "vxlan",
    "weave",
    "wg",
    "wireguard",
];

/// The first global IPv4 address of an interface that is up, in the kernel's order.
pub fn router_id() -> Option<RouterId> {
    let addresses: Vec<(String, Ipv4Addr)> = getifaddrs()
        .ok()?
        .filter(|entry| entry.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|entry| {
            let address = entry.address?.as_sockaddr_in()?.ip();
            Some((entry.interface_name, address))
        })
        .collect();
    first_global(&addresses).map(RouterId::from)
}

fn first_global(addresses: &[(String, Ipv4Addr)]) -> Option<Ipv4Addr> {
    let global =
        |address: Ipv4Addr| !address.is_loopback() && !address.is_link_local() && !address.is_unspecified();
    let candidates = || addresses.iter().filter(|(_, address)| global(*address));
    let of_the_node = |name: &str| !MADE_FOR_CONTAINERS.iter().any(|made| name.starts_with(made));
    candidates()
        .find(|(name, _)| of_the_node(name))
        .or_else(|| candidates().next())
        .map(|(_, address)| *address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(addresses: &[(&str, [u8; 4])]) -> Option<Ipv4Addr> {
        let owned: Vec<_> =
            addresses.iter().map(|(name, octets)| ((*name).to_owned(), Ipv4Addr::from(*octets))).collect();
        first_global(&owned)
    }

    #[test]
    fn container_bridges_come_last() {
        let lo = ("lo", [127, 0, 0, 1]);
        let docker = ("docker0", [172, 17, 0, 1]);
        let eth = ("eth0", [10, 0, 0, 1]);
        assert_eq!(first(&[lo, docker, eth]), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(first(&[lo, docker]), Some(Ipv4Addr::new(172, 17, 0, 1)));
        assert_eq!(first(&[lo, ("eth0", [169, 254, 1, 1])]), None);
    }
}
