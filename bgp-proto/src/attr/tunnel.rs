//! How to reach a next hop through a tunnel: the Tunnel Encapsulation attribute (RFC 9012).
//!
//! The attribute is a list of tunnels that the sender offers, each a list of sub-TLVs: where the tunnel ends, and what its
//! encapsulation needs to know. [`Tunnels`] reads one, [`TunnelBuilder`] writes one for
//! [`AttrSetBuilder::add_tunnel`](super::AttrSetBuilder::add_tunnel). A sender that has nothing to say but the kind of
//! tunnel uses the encapsulation extended community instead ([`ExtCommunity::encapsulation`](super::ExtCommunity)).
//!
//! A decoder passes the attribute on unread. What is read here is judged here: a tunnel or sub-TLV whose form is wrong reads
//! as absent (RFC 9012 section 13).

use super::tlv::{TlvForm, Tlvs};
use crate::reader::Cursor;
use alloc::vec::Vec;
use core::fmt;
use core::iter::FusedIterator;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A kind of tunnel (IANA "BGP Tunnel Encapsulation Attribute Tunnel Types").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelType(pub u16);

impl TunnelType {
    /// L2TPv3 over IP.
    pub const L2TPV3: TunnelType = TunnelType(1);
    /// GRE.
    pub const GRE: TunnelType = TunnelType(2);
    /// IP in IP.
    pub const IP_IN_IP: TunnelType = TunnelType(7);
    /// VXLAN.
    pub const VXLAN: TunnelType = TunnelType(8);
    /// NVGRE.
    pub const NVGRE: TunnelType = TunnelType(9);
    /// MPLS.
    pub const MPLS: TunnelType = TunnelType(10);
    /// MPLS in GRE.
    pub const MPLS_IN_GRE: TunnelType = TunnelType(11);
    /// VXLAN with the generic protocol extension.
    pub const VXLAN_GPE: TunnelType = TunnelType(12);
    /// MPLS in UDP.
    pub const MPLS_IN_UDP: TunnelType = TunnelType(13);
    /// Segment routing policy (RFC 9830).
    pub const SR_POLICY: TunnelType = TunnelType(15);
    /// Geneve.
    pub const GENEVE: TunnelType = TunnelType(19);

    const NAMES: [(TunnelType, &'static str); 11] = [
        (TunnelType::L2TPV3, "l2tpv3"),
        (TunnelType::GRE, "gre"),
        (TunnelType::IP_IN_IP, "ip-in-ip"),
        (TunnelType::VXLAN, "vxlan"),
        (TunnelType::NVGRE, "nvgre"),
        (TunnelType::MPLS, "mpls"),
        (TunnelType::MPLS_IN_GRE, "mpls-in-gre"),
        (TunnelType::VXLAN_GPE, "vxlan-gpe"),
        (TunnelType::MPLS_IN_UDP, "mpls-in-udp"),
        (TunnelType::SR_POLICY, "sr-policy"),
        (TunnelType::GENEVE, "geneve"),
    ];
}

impl fmt::Display for TunnelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TunnelType::NAMES.iter().find(|(known, _)| known == self) {
            Some((_, name)) => f.pad(name),
            None => write!(f, "tunnel type {}", self.0),
        }
    }
}

impl fmt::Debug for TunnelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Sub-TLVs that are read or written here.
mod sub {
    pub(super) const ENCAPSULATION: u8 = 1;
    pub(super) const PROTOCOL: u8 = 2;
    pub(super) const COLOR: u8 = 4;
    pub(super) const EGRESS: u8 = 6;
    pub(super) const UDP_PORT: u8 = 8;
}

/// A MAC address. Text form: `02:00:00:00:00:01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for MacAddr {
    type Err = crate::text::ParseError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        const WRONG: crate::text::ParseError =
            crate::text::ParseError("a MAC address is six octets such as 02:00:00:00:00:01");
        let mut octets = [0; 6];
        let mut parts = s.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+')).ok_or(WRONG)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| WRONG)?;
        }
        if parts.next().is_some() { Err(WRONG) } else { Ok(MacAddr(octets)) }
    }
}

/// What VXLAN needs to know (RFC 9012 section 3.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vxlan {
    /// Virtual network identifier, 24 bits.
    pub vni: Option<u32>,
    /// Destination of the inner Ethernet header.
    pub mac: Option<MacAddr>,
}

impl Vxlan {
    const HAS_VNI: u8 = 0x80;
    const HAS_MAC: u8 = 0x40;

    fn from_octets(value: &[u8]) -> Option<Vxlan> {
        let [flags, v1, v2, v3, a, b, c, d, e, f, _, _] = value else { return None };
        Some(Vxlan {
            vni: (flags & Self::HAS_VNI != 0).then(|| u32::from_be_bytes([0, *v1, *v2, *v3])),
            mac: (flags & Self::HAS_MAC != 0).then_some(MacAddr([*a, *b, *c, *d, *e, *f])),
        })
    }

    fn to_octets(self) -> [u8; 12] {
        let [_, v1, v2, v3] = self.vni.unwrap_or(0).to_be_bytes();
        let MacAddr([a, b, c, d, e, f]) = self.mac.unwrap_or(MacAddr([0; 6]));
        let vni = if self.vni.is_some() { Self::HAS_VNI } else { 0 };
        let mac = if self.mac.is_some() { Self::HAS_MAC } else { 0 };
        [vni | mac, v1, v2, v3, a, b, c, d, e, f, 0, 0]
    }
}

/// Where a tunnel ends (RFC 9012 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Egress {
    /// At the route's next hop.
    NextHop,
    /// At this address.
    Addr(IpAddr),
}

/// The tunnels of an attribute, in wire order. Ends early at one that runs past the attribute.
#[derive(Clone, Debug)]
pub struct Tunnels<'a> {
    tlvs: Tlvs<'a>,
}

impl<'a> Tunnels<'a> {
    /// The tunnels in an attribute's value.
    pub const fn new(octets: &'a [u8]) -> Tunnels<'a> {
        Tunnels { tlvs: Tlvs::new(octets, TlvForm::TwoTwo) }
    }
}

impl<'a> Iterator for Tunnels<'a> {
    type Item = Tunnel<'a>;

    fn next(&mut self) -> Option<Tunnel<'a>> {
        let tlv = self.tlvs.next()?;
        Some(Tunnel { kind: TunnelType(tlv.kind), octets: tlv.value })
    }
}

impl FusedIterator for Tunnels<'_> {}

/// One tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tunnel<'a> {
    kind: TunnelType,
    octets: &'a [u8],
}

impl<'a> Tunnel<'a> {
    /// Its kind.
    pub const fn kind(&self) -> TunnelType {
        self.kind
    }

    /// What it consists of, in wire order.
    pub const fn sub_tlvs(&self) -> Tlvs<'a> {
        Tlvs::new(self.octets, TlvForm::SubTlv)
    }

    fn value(&self, kind: u8) -> Option<&'a [u8]> {
        self.sub_tlvs().value(u16::from(kind))
    }

    /// Where it ends. `None` unless it says so exactly once: then the whole tunnel is to be ignored (RFC 9012 section 13).
    pub fn egress(&self) -> Option<Egress> {
        let mut all = self.sub_tlvs().filter(|tlv| tlv.kind == u16::from(sub::EGRESS));
        let (Some(one), None) = (all.next(), all.next()) else { return None };
        let mut cursor = Cursor::new(one.value);
        let (_reserved, family) = (cursor.u32()?, cursor.u16()?);
        let egress = match family {
            0 => Egress::NextHop,
            1 => Egress::Addr(Ipv4Addr::from(cursor.array::<4>()?).into()),
            2 => Egress::Addr(Ipv6Addr::from(cursor.array::<16>()?).into()),
            _ => return None,
        };
        cursor.is_empty().then_some(egress)
    }

    /// The parameters of VXLAN, if it is one and gives them.
    pub fn vxlan(&self) -> Option<Vxlan> {
        if self.kind != TunnelType::VXLAN {
            return None;
        }
        self.value(sub::ENCAPSULATION).and_then(Vxlan::from_octets)
    }

    /// The Ethernet type of the payload (RFC 9012 section 3.4.1).
    pub fn protocol(&self) -> Option<u16> {
        self.value(sub::PROTOCOL)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// The tunnel's colour, to be matched with that of routes (RFC 9012 section 3.4.2).
    pub fn color(&self) -> Option<u32> {
        let octets: [u8; 8] = self.value(sub::COLOR)?.try_into().ok()?;
        match octets {
            [0x03, 0x0B, _, _, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
            _ => None,
        }
    }

    /// The destination port of the outer UDP header (RFC 9012 section 3.3.2).
    pub fn udp_port(&self) -> Option<u16> {
        self.value(sub::UDP_PORT)?.try_into().ok().map(u16::from_be_bytes)
    }
}

/// Writes one tunnel.
///
/// ```
/// use bgp_proto::attr::{Egress, MacAddr, TunnelBuilder, TunnelType, Vxlan};
/// use bgp_proto::{AttrSet, NextHop};
///
/// let mac = MacAddr([2, 0, 0, 0, 0, 1]);
/// let mut tunnel = TunnelBuilder::new(TunnelType::VXLAN);
/// tunnel.egress(Egress::Addr([10, 0, 0, 1].into())).vxlan(Vxlan { vni: Some(4096), mac: Some(mac) });
///
/// let mut attrs = AttrSet::builder(NextHop::V4([10, 0, 0, 1].into()));
/// let attrs = attrs.add_tunnel(&tunnel).build();
///
/// let tunnel = attrs.tunnels().next().unwrap();
/// assert_eq!(tunnel.vxlan().unwrap().vni, Some(4096));
/// assert_eq!(tunnel.egress(), Some(Egress::Addr([10, 0, 0, 1].into())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TunnelBuilder {
    kind: TunnelType,
    octets: Vec<u8>,
}

impl TunnelBuilder {
    /// A tunnel about which nothing else is said yet.
    pub const fn new(kind: TunnelType) -> TunnelBuilder {
        TunnelBuilder { kind, octets: Vec::new() }
    }

    /// Says where it ends.
    pub fn egress(&mut self, egress: Egress) -> &mut Self {
        match egress {
            Egress::NextHop => self.sub_tlv(sub::EGRESS, &[0; 6]),
            Egress::Addr(IpAddr::V4(v4)) => {
                let [a, b, c, d] = v4.octets();
                self.sub_tlv(sub::EGRESS, &[0, 0, 0, 0, 0, 1, a, b, c, d])
            }
            Egress::Addr(IpAddr::V6(v6)) => {
                let mut value = [0; 22];
                value[5] = 2;
                value[6..].copy_from_slice(&v6.octets());
                self.sub_tlv(sub::EGRESS, &value)
            }
        }
    }

    /// Says what VXLAN needs to know. A network identifier of more than 24 bits loses the high ones.
    pub fn vxlan(&mut self, vxlan: Vxlan) -> &mut Self {
        self.sub_tlv(sub::ENCAPSULATION, &vxlan.to_octets())
    }

    /// Says the destination port of the outer UDP header.
    pub fn udp_port(&mut self, port: u16) -> &mut Self {
        self.sub_tlv(sub::UDP_PORT, &port.to_be_bytes())
    }

    /// Gives the tunnel a colour.
    pub fn color(&mut self, color: u32) -> &mut Self {
        let [a, b, c, d] = color.to_be_bytes();
        self.sub_tlv(sub::COLOR, &[0x03, 0x0B, 0, 0, a, b, c, d])
    }

    /// Adds a sub-TLV. A value longer than its length field can say is left out.
    pub fn sub_tlv(&mut self, kind: u8, value: &[u8]) -> &mut Self {
        match (kind, u8::try_from(value.len()), u16::try_from(value.len())) {
            (0..128, Ok(len), _) => self.octets.extend_from_slice(&[kind, len]),
            (128.., _, Ok(len)) => {
                self.octets.push(kind);
                self.octets.extend_from_slice(&len.to_be_bytes());
            }
            _ => return self,
        }
        self.octets.extend_from_slice(value);
        self
    }

    /// Appends the tunnel. One that is too long for its length field is left out.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        if let Ok(len) = u16::try_from(self.octets.len()) {
            out.extend_from_slice(&self.kind.0.to_be_bytes());
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(&self.octets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_tunnel_reads_back() {
        let mac: MacAddr = "02:00:00:00:00:0a".parse().unwrap();
        let vxlan = Vxlan { vni: Some(0x00AB_CDEF), mac: Some(mac) };
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        for egress in [Egress::NextHop, Egress::Addr([10, 0, 0, 1].into()), Egress::Addr(v6)] {
            let mut builder = TunnelBuilder::new(TunnelType::VXLAN);
            builder.egress(egress).vxlan(vxlan).udp_port(4789).color(7).sub_tlv(200, &[7; 300]);
            let mut octets = Vec::new();
            builder.encode(&mut octets);
            TunnelBuilder::new(TunnelType::GRE).encode(&mut octets);
            let tunnels: Vec<Tunnel<'_>> = Tunnels::new(&octets).collect();
            assert_eq!(tunnels.len(), 2);
            assert_eq!((tunnels[0].egress(), tunnels[0].vxlan()), (Some(egress), Some(vxlan)));
            assert_eq!((tunnels[0].udp_port(), tunnels[0].color()), (Some(4789), Some(7)));
            assert_eq!(tunnels[0].sub_tlvs().last().map(|tlv| tlv.value.len()), Some(300));
            assert_eq!((tunnels[1].kind(), tunnels[1].egress()), (TunnelType::GRE, None));
        }
        assert_eq!(mac.to_string(), "02:00:00:00:00:0a");
        assert!("02:00:00:00:00".parse::<MacAddr>().is_err() && "2:0:0:0:0:0".parse::<MacAddr>().is_err());
    }

    #[test]
    fn vxlan_octets_stand_as_in_the_rfc() {
        let vxlan = Vxlan { vni: Some(0x0001_0203), mac: Some(MacAddr([2, 0, 0, 0, 0, 1])) };
        assert_eq!(vxlan.to_octets(), [0xC0, 1, 2, 3, 2, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(Vxlan::default().to_octets(), [0; 12]);
        assert_eq!(Vxlan::from_octets(&[0x80, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn a_damaged_tunnel_reads_as_absent() {
        let cut = [0, 8, 0, 9, 6, 6, 0, 0];
        assert_eq!(Tunnels::new(&cut).count(), 0);
        let lying = [0, 8, 0, 4, 6, 9, 0, 0];
        assert_eq!(Tunnels::new(&lying).next().and_then(|tunnel| tunnel.egress()), None);
        let family = [0, 8, 0, 12, 6, 10, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4];
        assert_eq!(Tunnels::new(&family).next().and_then(|tunnel| tunnel.egress()), None);
        let twice = [0, 8, 0, 16, 6, 6, 0, 0, 0, 0, 0, 0, 6, 6, 0, 0, 0, 0, 0, 0];
        assert_eq!(Tunnels::new(&twice).next().and_then(|tunnel| tunnel.egress()), None);
        let once = [0, 8, 0, 8, 6, 6, 0, 0, 0, 0, 0, 0];
        assert_eq!(Tunnels::new(&once).next().and_then(|tunnel| tunnel.egress()), Some(Egress::NextHop));
    }
}
