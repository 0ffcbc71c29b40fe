//! The node's own addresses, asked once: for the default router id, and for whoever wants to show them.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use super::netlink::Requests;

/// An address of the node that is valid everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAddress {
    /// The address.
    pub addr: IpAddr,
    /// The interface that has it.
    pub ifname: Box<str>,
    /// The interface's number.
    pub ifindex: u32,
}

/// Global addresses on the node's own interfaces that are up, in order of interface, then as the kernel lists them
/// (primary addresses first).
pub fn node_addresses() -> io::Result<Vec<NodeAddress>> {
    let mut requests = Requests::open()?;
    let links = requests.links()?;
    let mut addresses = requests.addresses()?;
    addresses.retain(|address| address.global && address.settled);
    addresses.sort_by_key(|address| address.ifindex);
    let on_own_link = addresses.iter().filter_map(|address| {
        let link = links.iter().find(|link| link.ifindex == address.ifindex && link.up && !link.loopback)?;
        let ifname = link.name.clone();
        link.is_the_nodes().then_some(NodeAddress { addr: address.addr, ifname, ifindex: address.ifindex })
    });
    Ok(on_own_link.collect())
}

/// The default router id: the first global IPv4 address of the node.
pub fn first_global_ipv4() -> io::Result<Option<Ipv4Addr>> {
    Ok(node_addresses()?.iter().find_map(|address| match address.addr {
        IpAddr::V4(addr) => Some(addr),
        IpAddr::V6(_) => None,
    }))
}
