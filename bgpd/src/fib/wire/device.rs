//! Messages about tunnel devices: making them, their addresses, and whom a VXLAN device finds where.

use std::net::IpAddr;

use bgp_proto::Version;
use bgp_proto::attr::MacAddr;

use super::{
    AF_INET, AF_INET6, F_ACK, F_CREATE, F_DUMP, F_EXCL, F_REPLACE, IFF_UP, IFLA_ADDRESS, IFLA_IFNAME,
    IFLA_LINKINFO, IFLA_MTU, INFO_DATA, INFO_KIND, NEW_ADDR, NEW_LINK, SCOPE_UNIVERSE, VXLAN_ID, VXLAN_PORT,
    attributes, begin, end, family, patch_len, put, put_address, put_u32, text, u32_at,
};
use crate::config::tunnel::DeviceKind;
use crate::fib::facts::{LinkKind, Neighbour};
use crate::fib::tunnel::{Action, TunnelOp};

const DEL_LINK: u16 = 17;
const DEL_ADDR: u16 = 21;
const NEW_NEIGHBOUR: u16 = 28;
const DEL_NEIGHBOUR: u16 = 29;
const GET_NEIGHBOUR: u16 = 30;
const AF_UNSPEC: u8 = 0;
/// The family of forwarding entries, which share the messages of neighbours.
const AF_BRIDGE: u8 = 7;

const VXLAN_LEARNING: u16 = 7;
const VXLAN_LOCAL6: u16 = 17;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_IFINDEX: u16 = 8;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;
/// The entry is the device's own, not that of a bridge it is a port of.
const NTF_SELF: u8 = 2;
const NEIGHBOUR_LEN: usize = 12;

/// Appends the request, acknowledged.
pub(in crate::fib) fn write_tunnel(buf: &mut Vec<u8>, seq: u32, op: &TunnelOp) {
    match &op.action {
        Action::Create { name, kind, version, mtu } => create(buf, seq, name, *kind, *version, *mtu),
        Action::Delete { ifindex } => {
            let start = begin(buf, DEL_LINK, F_ACK, seq);
            put_link_header(buf, *ifindex, 0, 0);
            end(buf, start);
        }
        Action::Adjust { ifindex, mtu, mac, up } => {
            let start = begin(buf, NEW_LINK, F_ACK, seq);
            put_link_header(buf, *ifindex, if *up { IFF_UP } else { 0 }, IFF_UP);
            if let Some(mtu) = mtu {
                put_u32(buf, IFLA_MTU, *mtu);
            }
            if let Some(mac) = mac {
                put_mac(buf, IFLA_ADDRESS, *mac);
            }
            end(buf, start);
        }
        Action::AddAddress { ifindex, addr } => {
            put_own_address(buf, seq, NEW_ADDR, F_ACK | F_CREATE | F_REPLACE, *ifindex, *addr);
        }
        Action::DropAddress { ifindex, addr } => put_own_address(buf, seq, DEL_ADDR, F_ACK, *ifindex, *addr),
        Action::AddNeighbour(neighbour) => {
            put_neighbour(buf, seq, NEW_NEIGHBOUR, F_ACK | F_CREATE | F_REPLACE, neighbour);
        }
        Action::DropNeighbour(neighbour) => put_neighbour(buf, seq, DEL_NEIGHBOUR, F_ACK, neighbour),
    }
}

/// A device that is up from the start. VXLAN learns nothing from the packets it gets: who is where is said by BGP alone.
fn create(buf: &mut Vec<u8>, seq: u32, name: &str, kind: DeviceKind, version: Version, mtu: Option<u32>) {
    let start = begin(buf, NEW_LINK, F_ACK | F_CREATE | F_EXCL, seq);
    put_link_header(buf, 0, IFF_UP, IFF_UP);
    put_text(buf, IFLA_IFNAME, name);
    if let Some(mtu) = mtu {
        put_u32(buf, IFLA_MTU, mtu);
    }
    if let DeviceKind::Vxlan { mac, .. } = kind {
        put_mac(buf, IFLA_ADDRESS, mac);
    }
    let link_info = buf.len();
    put(buf, IFLA_LINKINFO, 0);
    match kind {
        DeviceKind::Ipip => put_text(buf, INFO_KIND, "ipip"),
        DeviceKind::Vxlan { vni, port, mac: _ } => {
            put_text(buf, INFO_KIND, "vxlan");
            put_vxlan(buf, vni, port, version);
        }
    }
    patch_len(buf, link_info);
    end(buf, start);
}

fn put_vxlan(buf: &mut Vec<u8>, vni: u32, port: u16, version: Version) {
    let info_data = buf.len();
    put(buf, INFO_DATA, 0);
    put_u32(buf, VXLAN_ID, vni);
    put(buf, VXLAN_LEARNING, 1);
    buf.extend_from_slice(&[0; 4]);
    put(buf, VXLAN_PORT, 2);
    buf.extend_from_slice(&port.to_be_bytes());
    buf.extend_from_slice(&[0; 2]);
    if version == Version::V6 {
        // From any address, but an IPv6 one: without, the device takes IPv4 ends only.
        put(buf, VXLAN_LOCAL6, 16);
        buf.extend_from_slice(&[0; 16]);
    }
    patch_len(buf, info_data);
}

/// Appends the request for all neighbours of a device, or for its forwarding entries.
pub(in crate::fib) fn write_dump_neighbours(buf: &mut Vec<u8>, seq: u32, ifindex: u32, is_forwarding: bool) {
    let start = begin(buf, GET_NEIGHBOUR, F_DUMP, seq);
    let family = if is_forwarding { AF_BRIDGE } else { AF_UNSPEC };
    buf.extend_from_slice(&[family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    put_u32(buf, NDA_IFINDEX, ifindex);
    end(buf, start);
}

/// Reads a neighbour or a forwarding entry that does not go by itself.
pub(super) fn neighbour(body: &[u8]) -> Option<Neighbour> {
    let family = *body.first()?;
    let state = super::u16_at(body, 8)?;
    let (mut addr, mut mac) = (None, None);
    for attr in attributes(body.get(NEIGHBOUR_LEN..)?) {
        match attr.kind {
            NDA_DST => {
                addr = match attr.value.len() {
                    4 => super::address(Version::V4, attr.value),
                    _ => super::address(Version::V6, attr.value),
                }
            }
            NDA_LLADDR => mac = attr.value.first_chunk().map(|octets| MacAddr(*octets)),
            _ => {}
        }
    }
    let is_forwarding = match family {
        AF_BRIDGE => true,
        AF_INET | AF_INET6 => false,
        _ => return None,
    };
    if state & NUD_PERMANENT == 0 {
        return None;
    }
    Some(Neighbour { ifindex: u32_at(body, 4)?, addr: addr?, mac: mac?, is_forwarding })
}

/// What kind of device a link is, from its attribute.
pub(super) fn link_kind(info: &[u8]) -> LinkKind {
    let (mut kind, mut data) = ("", &[][..]);
    for attr in attributes(info) {
        match attr.kind {
            INFO_KIND => kind = text(attr.value).unwrap_or(""),
            INFO_DATA => data = attr.value,
            _ => {}
        }
    }
    match kind {
        "ipip" => LinkKind::Ipip,
        "vxlan" => {
            let (mut vni, mut port) = (0, 0);
            for attr in attributes(data) {
                match (attr.kind, attr.value) {
                    (VXLAN_ID, value) => vni = u32_at(value, 0).unwrap_or(0),
                    (VXLAN_PORT, [high, low, ..]) => port = u16::from_be_bytes([*high, *low]),
                    _ => {}
                }
            }
            LinkKind::Vxlan { vni, port }
        }
        _ => LinkKind::Other,
    }
}

fn put_link_header(buf: &mut Vec<u8>, ifindex: u32, flags: u32, change: u32) {
    buf.extend_from_slice(&[AF_UNSPEC, 0, 0, 0]);
    buf.extend_from_slice(&ifindex.to_ne_bytes());
    buf.extend_from_slice(&flags.to_ne_bytes());
    buf.extend_from_slice(&change.to_ne_bytes());
}

fn put_own_address(buf: &mut Vec<u8>, seq: u32, kind: u16, flags: u16, ifindex: u32, addr: IpAddr) {
    let start = begin(buf, kind, flags, seq);
    let (version, len) = if addr.is_ipv4() { (Version::V4, 32) } else { (Version::V6, 128) };
    buf.extend_from_slice(&[family(version), len, IFA_F_NODAD, SCOPE_UNIVERSE]);
    buf.extend_from_slice(&ifindex.to_ne_bytes());
    put_address(buf, IFA_LOCAL, addr);
    put_address(buf, IFA_ADDRESS, addr);
    end(buf, start);
}

fn put_neighbour(buf: &mut Vec<u8>, seq: u32, kind: u16, flags: u16, neighbour: &Neighbour) {
    let Neighbour { ifindex, addr, mac, is_forwarding } = *neighbour;
    let version = if addr.is_ipv4() { Version::V4 } else { Version::V6 };
    let (family, state, entry_flags) = match is_forwarding {
        true => (AF_BRIDGE, NUD_PERMANENT | NUD_NOARP, NTF_SELF),
        false => (family(version), NUD_PERMANENT, 0),
    };
    let start = begin(buf, kind, flags, seq);
    buf.extend_from_slice(&[family, 0, 0, 0]);
    buf.extend_from_slice(&ifindex.to_ne_bytes());
    buf.extend_from_slice(&state.to_ne_bytes());
    buf.extend_from_slice(&[entry_flags, 0]);
    put_address(buf, NDA_DST, addr);
    put_mac(buf, NDA_LLADDR, mac);
    end(buf, start);
}

fn put_mac(buf: &mut Vec<u8>, kind: u16, mac: MacAddr) {
    put(buf, kind, mac.0.len());
    buf.extend_from_slice(&mac.0);
    buf.extend_from_slice(&[0; 2]);
}

/// A text with its zero, padded.
fn put_text(buf: &mut Vec<u8>, kind: u16, value: &str) {
    put(buf, kind, value.len() + 1);
    buf.extend_from_slice(value.as_bytes());
    buf.push(0);
    while !buf.len().is_multiple_of(4) {
        buf.push(0);
    }
}
