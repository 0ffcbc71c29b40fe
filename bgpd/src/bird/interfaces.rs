//! `show interfaces`: what the node has, in BIRD's words.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};

use super::reply::Reply;

/// Interfaces shown, at most: a node has a few hundred.
const INTERFACES_MAX: usize = 10_000;

#[derive(Default)]
struct Interface {
    flags: Option<InterfaceFlags>,
    addresses: Vec<(IpAddr, Option<u32>)>,
}

/// The reply.
pub(super) fn show() -> String {
    let mut all: BTreeMap<String, Interface> = BTreeMap::new();
    let Ok(list) = getifaddrs() else { return Reply::one(8008, "no way to the interfaces") };
    for entry in list {
        if all.len() >= INTERFACES_MAX {
            break;
        }
        let interface = all.entry(entry.interface_name.clone()).or_default();
        interface.flags = Some(entry.flags);
        let Some(address) = entry.address else { continue };
        let mask = entry.netmask;
        if let Some(v4) = address.as_sockaddr_in() {
            let ones = mask.and_then(|m| m.as_sockaddr_in().map(|m| u32::from(m.ip()).count_ones()));
            interface.addresses.push((v4.ip().into(), ones));
        } else if let Some(v6) = address.as_sockaddr_in6() {
            let ones = mask.and_then(|m| m.as_sockaddr_in6().map(|m| u128::from(m.ip()).count_ones()));
            interface.addresses.push((v6.ip().into(), ones));
        }
    }
    let mut reply = Reply::new();
    for (name, interface) in &all {
        show_one(name, interface, &mut reply);
    }
    reply.end(0, "")
}

fn show_one(name: &str, interface: &Interface, reply: &mut Reply) {
    let flags = interface.flags.unwrap_or(InterfaceFlags::empty());
    let has = |flag: InterfaceFlags| flags.contains(flag);
    let state = if has(InterfaceFlags::IFF_UP) && !interface.addresses.is_empty() { "UP" } else { "DOWN" };
    let index = if_nametoindex(name).unwrap_or(0);
    reply.line(1001, &format!("{name} {state} (index={index})"));
    let kind = if has(InterfaceFlags::IFF_POINTOPOINT) { "PtP" } else { "MultiAccess" };
    let words = [
        (InterfaceFlags::IFF_BROADCAST, " Broadcast"),
        (InterfaceFlags::IFF_MULTICAST, " Multicast"),
        (InterfaceFlags::IFF_UP, " AdminUp"),
        (InterfaceFlags::IFF_RUNNING, " LinkUp"),
        (InterfaceFlags::IFF_LOOPBACK, " Loopback"),
        (InterfaceFlags::IFF_LOOPBACK, " Ignored"),
    ];
    let words: String = words.iter().filter(|(flag, _)| has(*flag)).map(|(_, word)| *word).collect();
    let mtu = std::fs::read_to_string(format!("/sys/class/net/{name}/mtu")).unwrap_or_default();
    reply.line(1004, &format!("\t{kind}{words} MTU={}", mtu.trim()));
    let mut is_first = true;
    for (address, len) in &interface.addresses {
        let scope = match address {
            IpAddr::V4(a) if a.is_loopback() => "host",
            IpAddr::V4(a) if a.is_private() => "site",
            IpAddr::V6(a) if a.is_loopback() => "host",
            IpAddr::V6(a) if a.is_unicast_link_local() => "link",
            IpAddr::V6(a) if a.is_unique_local() => "site",
            IpAddr::V4(_) | IpAddr::V6(_) => "univ",
        };
        let primary = if std::mem::replace(&mut is_first, false) { "Primary, " } else { "" };
        let len = len.map(|len| format!("/{len}")).unwrap_or_default();
        reply.line(1003, &format!("\t{address}{len} ({primary}scope {scope})"));
    }
}
