//! Extended communities: eight octets (RFC 4360), or twenty with an IPv6 address in them (RFC 5701).
//!
//! Type and subtype say what the rest means. Those that operators write have a text form of their own; all others are
//! written as their octets, so that each has exactly one text and reads back from it.

use super::list::{Item, List, sealed::Sealed};
use super::tunnel::{MacAddr, TunnelType};
use crate::id::Asn;
use crate::text::{ParseError, unhex};
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// Extended communities (RFC 4360).
pub type ExtCommunities<'a> = List<'a, ExtCommunity>;
/// Extended communities with an IPv6 address (RFC 5701).
pub type Ipv6ExtCommunities<'a> = List<'a, Ipv6ExtCommunity>;

/// An extended community (RFC 4360). Text form: `rt:65001:100`, `ro:10.0.0.1:100`, `rt:70000L:1`, `encapsulation:8`,
/// `color:7`, `router-mac:02:00:00:00:00:01`, otherwise the octets in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtCommunity(pub [u8; 8]);

/// Subtypes of a community that names an administrator (RFC 4360 sections 4 and 5).
const ADMINISTERED: [(u8, &str); 2] = [(2, "rt"), (3, "ro")];

impl ExtCommunity {
    /// A route target of a two-octet AS (RFC 4360 section 4).
    pub const fn route_target(asn: u16, value: u32) -> ExtCommunity {
        let ([a, b], [c, d, e, f]) = (asn.to_be_bytes(), value.to_be_bytes());
        ExtCommunity([0, 2, a, b, c, d, e, f])
    }

    /// A route target of an AS of any width (RFC 5668); an AS number of two octets takes the shorter form.
    pub const fn route_target_of(asn: Asn, value: u16) -> ExtCommunity {
        if asn.0 <= 0xFFFF {
            return ExtCommunity::route_target(asn.0 as u16, value as u32);
        }
        let ([a, b, c, d], [e, f]) = (asn.0.to_be_bytes(), value.to_be_bytes());
        ExtCommunity([2, 2, a, b, c, d, e, f])
    }

    /// Says that packets to the next hop go through such a tunnel (RFC 9012 section 4.1).
    pub const fn encapsulation(tunnel: TunnelType) -> ExtCommunity {
        let [a, b] = tunnel.0.to_be_bytes();
        ExtCommunity([0x03, 0x0C, 0, 0, 0, 0, a, b])
    }

    /// A colour, to be matched with that of tunnels (RFC 9012 section 4.3).
    pub const fn color(color: u32) -> ExtCommunity {
        let [a, b, c, d] = color.to_be_bytes();
        ExtCommunity([0x03, 0x0B, 0, 0, a, b, c, d])
    }

    /// The MAC address of the router behind the next hop (RFC 9135 section 8.1).
    pub const fn router_mac(mac: MacAddr) -> ExtCommunity {
        let [a, b, c, d, e, f] = mac.0;
        ExtCommunity([0x06, 0x03, a, b, c, d, e, f])
    }

    /// The tunnel of an encapsulation community.
    pub const fn as_encapsulation(&self) -> Option<TunnelType> {
        match self.0 {
            [0x03, 0x0C, _, _, _, _, a, b] => Some(TunnelType(u16::from_be_bytes([a, b]))),
            _ => None,
        }
    }

    /// The colour of a colour community.
    pub const fn as_color(&self) -> Option<u32> {
        match self.0 {
            [0x03, 0x0B, _, _, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
            _ => None,
        }
    }

    /// The address of a router's MAC community.
    pub const fn as_router_mac(&self) -> Option<MacAddr> {
        match self.0 {
            [0x06, 0x03, a, b, c, d, e, f] => Some(MacAddr([a, b, c, d, e, f])),
            _ => None,
        }
    }

    /// The bandwidth of a link in octets per second, if it is that and greater than zero (draft-ietf-idr-link-bandwidth, in the transitive
    /// form too).
    pub fn as_link_bandwidth(&self) -> Option<f32> {
        let [0x00 | 0x40, 0x04, _, _, bandwidth @ ..] = self.0 else { return None };
        Some(f32::from_be_bytes(bandwidth)).filter(|bandwidth| bandwidth.is_finite() && *bandwidth > 0.0)
    }

    /// Type octet.
    pub const fn kind(&self) -> u8 {
        self.0[0]
    }

    /// Subtype octet.
    pub const fn subtype(&self) -> u8 {
        self.0[1]
    }

    /// Whether the community may leave the AS (RFC 4360 section 2).
    pub const fn is_transitive(&self) -> bool {
        self.0[0] & 0x40 == 0
    }
}

impl Sealed for ExtCommunity {}

impl Item for ExtCommunity {
    type Octets = [u8; 8];
    const OCTETS: usize = 8;

    fn to_octets(self) -> [u8; 8] {
        self.0
    }

    #[inline]
    fn from_octets(octets: &[u8]) -> Option<Self> {
        octets.first_chunk().map(|octets| ExtCommunity(*octets))
    }
}

impl fmt::Display for ExtCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kind, subtype, a, b, c, d, g, h] = self.0;
        let administered = ADMINISTERED.iter().find(|(known, _)| *known == subtype);
        match (kind, administered) {
            (0, Some((_, name))) => {
                write!(f, "{name}:{}:{}", u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, g, h]))
            }
            (1, Some((_, name))) => write!(f, "{name}:{a}.{b}.{c}.{d}:{}", u16::from_be_bytes([g, h])),
            (2, Some((_, name))) => {
                write!(f, "{name}:{}L:{}", u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([g, h]))
            }
            _ => match self.0 {
                [0x03, 0x0C, 0, 0, 0, 0, ..] => write!(f, "encapsulation:{}", u16::from_be_bytes([g, h])),
                [0x03, 0x0B, 0, 0, ..] => write!(f, "color:{}", u32::from_be_bytes([c, d, g, h])),
                [0x06, 0x03, ..] => write!(f, "router-mac:{}", MacAddr([a, b, c, d, g, h])),
                octets => write!(f, "0x{:016x}", u64::from_be_bytes(octets)),
            },
        }
    }
}

impl fmt::Debug for ExtCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ExtCommunity {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        const WRONG: ParseError = ParseError(
            "an extended community is rt:AS:VALUE, ro:AS:VALUE, or eight octets such as 0x0002fde900000064",
        );
        if let Some(digits) = s.strip_prefix("0x") {
            let mut octets = [0; 8];
            return unhex(digits, &mut octets).map(|()| ExtCommunity(octets)).ok_or(WRONG);
        }
        let (word, rest) = s.split_once(':').ok_or(WRONG)?;
        let parsed = match word {
            "encapsulation" => {
                rest.parse().ok().map(|number| ExtCommunity::encapsulation(TunnelType(number)))
            }
            "color" => rest.parse().ok().map(ExtCommunity::color),
            "router-mac" => rest.parse().ok().map(ExtCommunity::router_mac),
            _ => ADMINISTERED
                .iter()
                .find(|(_, name)| *name == word)
                .and_then(|(subtype, _)| administered(*subtype, rest)),
        };
        parsed.ok_or(WRONG)
    }
}

/// A community of an administrator: an address, a four-octet AS marked by `L` or by being too large for two, or an AS.
fn administered(subtype: u8, text: &str) -> Option<ExtCommunity> {
    let (administrator, value) = text.split_once(':')?;
    let with = |kind: u8, administrator: u32, value: u16| {
        let ([a, b, c, d], [e, f]) = (administrator.to_be_bytes(), value.to_be_bytes());
        ExtCommunity([kind, subtype, a, b, c, d, e, f])
    };
    if let Ok(addr) = administrator.parse::<Ipv4Addr>() {
        return Some(with(1, u32::from(addr), value.parse().ok()?));
    }
    if let Some(asn) = administrator.strip_suffix('L') {
        return Some(with(2, asn.parse().ok()?, value.parse().ok()?));
    }
    let asn: u32 = administrator.parse().ok()?;
    let Ok(short) = u16::try_from(asn) else {
        return Some(with(2, asn, value.parse().ok()?));
    };
    let ([a, b], [c, d, e, f]) = (short.to_be_bytes(), value.parse::<u32>().ok()?.to_be_bytes());
    Some(ExtCommunity([0, subtype, a, b, c, d, e, f]))
}

/// An extended community with an IPv6 address (RFC 5701). Text form: the octets in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv6ExtCommunity(pub [u8; 20]);

impl Ipv6ExtCommunity {
    /// The global administrator.
    pub fn address(&self) -> Ipv6Addr {
        let octets = self.0.get(2..).and_then(|rest| rest.first_chunk::<16>());
        octets.map_or(Ipv6Addr::UNSPECIFIED, |octets| Ipv6Addr::from(*octets))
    }
}

impl Sealed for Ipv6ExtCommunity {}

impl Item for Ipv6ExtCommunity {
    type Octets = [u8; 20];
    const OCTETS: usize = 20;

    fn to_octets(self) -> [u8; 20] {
        self.0
    }

    #[inline]
    fn from_octets(octets: &[u8]) -> Option<Self> {
        octets.first_chunk().map(|octets| Ipv6ExtCommunity(*octets))
    }
}

impl fmt::Display for Ipv6ExtCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Ipv6ExtCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Ipv6ExtCommunity {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        let mut octets = [0; 20];
        let read = s.strip_prefix("0x").and_then(|digits| unhex(digits, &mut octets));
        let wrong = ParseError("an IPv6 extended community is twenty octets in hexadecimal behind 0x");
        read.map(|()| Ipv6ExtCommunity(octets)).ok_or(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn written_forms_read_back() {
        for text in [
            "rt:65001:100",
            "ro:65001:4294967295",
            "rt:10.0.0.1:100",
            "rt:70000L:1",
            "rt:1L:1",
            "encapsulation:8",
            "color:7",
            "router-mac:02:00:00:00:00:01",
            "0x4002fde900000064",
        ] {
            assert_eq!(text.parse::<ExtCommunity>().unwrap().to_string(), text);
        }
        assert_eq!("rt:70000:1".parse(), Ok(ExtCommunity::route_target_of(Asn(70000), 1)));
        assert_eq!("rt:65001:100".parse(), Ok(ExtCommunity::route_target(65001, 100)));
        assert_eq!(
            ExtCommunity::encapsulation(TunnelType::VXLAN).as_encapsulation(),
            Some(TunnelType::VXLAN)
        );
        for text in ["rt:1", "rt:70000:70000", "xx:1:1", "0x00", "0x+002fde900000064", "rt::", "rt:1:1:1"] {
            assert!(text.parse::<ExtCommunity>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_community_reads_back(low: [u8; 6], kind in 0u8..7, subtype in 0u8..16, long: [u8; 20]) {
            let [a, b, c, d, e, f] = low;
            let community = ExtCommunity([kind, subtype, a, b, c, d, e, f]);
            prop_assert_eq!(community.to_string().parse(), Ok(community));
            prop_assert_eq!(Ipv6ExtCommunity(long).to_string().parse(), Ok(Ipv6ExtCommunity(long)));
        }
    }
}
