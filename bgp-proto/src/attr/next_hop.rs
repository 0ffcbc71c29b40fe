//! Where to send packets: NEXT_HOP, or the next hop field of MP_REACH_NLRI.
//!
//! One small copied value for both (RFC 4271 section 5.1.3, RFC 4760, RFC 2545, RFC 8950). Forms that are neither an
//! IPv4 address nor one or two IPv6 addresses, such as those of VPN families with a route distinguisher, are kept as
//! octets and passed on unread.

use crate::context::WireContext;
use crate::family::{Afi, Family, Safi};
use crate::text::{ParseError, unhex};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// A next hop. Text form: the address; `GLOBAL LINK-LOCAL` where there are two; `none`; other octets in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextHop {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, perhaps with a link-local one for the shared link (RFC 2545 section 3).
    V6 {
        /// The first address. Link-local itself on a session that has only such addresses.
        global: Ipv6Addr,
        /// The second.
        link_local: Option<Ipv6Addr>,
    },
    /// Another form, passed on unread; none at all for flow specifications.
    Opaque(HopOctets),
}

/// The octets of a next hop, at most 48.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HopOctets {
    octets: [u8; 48],
    len: u8,
}

impl HopOctets {
    /// No octets.
    pub const EMPTY: HopOctets = HopOctets { octets: [0; 48], len: 0 };

    /// A copy of at most 48 octets.
    pub fn new(octets: &[u8]) -> Option<HopOctets> {
        let mut hop = HopOctets { octets: [0; 48], len: octets.len().try_into().ok()? };
        hop.octets.get_mut(..octets.len())?.copy_from_slice(octets);
        Some(hop)
    }

    /// The octets.
    pub fn as_slice(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

impl NextHop {
    /// No next hop, for families that have none.
    pub const NONE: NextHop = NextHop::Opaque(HopOctets::EMPTY);

    /// The next hop of the field's octets: 4 are IPv4, 16 and 32 are IPv6, others are kept unread up to 48.
    #[inline]
    pub fn from_octets(octets: &[u8]) -> Option<NextHop> {
        match octets.len() {
            4 => octets.first_chunk::<4>().map(|v4| NextHop::V4(Ipv4Addr::from(*v4))),
            16 => octets
                .first_chunk::<16>()
                .map(|v6| NextHop::V6 { global: Ipv6Addr::from(*v6), link_local: None }),
            32 => {
                let (global, rest) = octets.split_first_chunk::<16>()?;
                let link_local = rest.first_chunk::<16>().map(|v6| Ipv6Addr::from(*v6));
                Some(NextHop::V6 { global: Ipv6Addr::from(*global), link_local })
            }
            _ => HopOctets::new(octets).map(NextHop::Opaque),
        }
    }

    /// Calls with the field's octets.
    #[inline]
    pub(crate) fn with_octets<T>(&self, then: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            NextHop::V4(v4) => then(&v4.octets()),
            NextHop::V6 { global, link_local: None } => then(&global.octets()),
            NextHop::V6 { global, link_local: Some(second) } => {
                let mut both = [0; 32];
                both[..16].copy_from_slice(&global.octets());
                both[16..].copy_from_slice(&second.octets());
                then(&both)
            }
            NextHop::Opaque(octets) => then(octets.as_slice()),
        }
    }

    /// How many octets the field has.
    pub const fn octets_len(&self) -> usize {
        match self {
            NextHop::V4(_) => 4,
            NextHop::V6 { link_local: None, .. } => 16,
            NextHop::V6 { link_local: Some(_), .. } => 32,
            NextHop::Opaque(octets) => octets.len as usize,
        }
    }

    /// The address to resolve: the first one. `None` for an opaque form.
    pub const fn addr(&self) -> Option<IpAddr> {
        match self {
            NextHop::V4(v4) => Some(IpAddr::V4(*v4)),
            NextHop::V6 { global, .. } => Some(IpAddr::V6(*global)),
            NextHop::Opaque(_) => None,
        }
    }

    /// Whether the session takes a next hop of this form for routes of the family.
    pub fn fits(&self, family: Family, ctx: &WireContext) -> bool {
        is_hop_len(family, self.octets_len(), ctx)
    }

    /// Whether the address can be one host's: not unspecified, not multicast, not broadcast. Loopback passes, since sessions
    /// within one host have nothing else; so do opaque forms.
    pub fn is_host(&self) -> bool {
        self.with_octets(NextHop::are_host)
    }

    /// As [`NextHop::is_host`], of the field's octets.
    #[inline]
    pub(crate) fn are_host(octets: &[u8]) -> bool {
        match (octets.len(), octets.first_chunk::<4>(), octets.first_chunk::<16>()) {
            (4, Some(v4), _) => {
                let v4 = u32::from_be_bytes(*v4);
                v4 >> 24 != 0 && v4 >> 28 != 0xE && v4 != u32::MAX
            }
            (16 | 32, _, Some(v6)) => v6[0] != 0xFF && u128::from_be_bytes(*v6) != 0,
            _ => true,
        }
    }
}

/// Next hop lengths by family (RFC 4760, 2545, 4364, 4659, 8950, 8955).
#[inline]
pub(crate) fn is_hop_len(family: Family, len: usize, ctx: &WireContext) -> bool {
    let extended = || ctx.extended_next_hop.contains(family);
    let v6 = len == 16 || len == 32;
    match (family.afi, family.safi) {
        (Afi::IPV4, Safi::UNICAST | Safi::MULTICAST | Safi::LABELLED) => len == 4 || v6 && extended(),
        (Afi::IPV6, Safi::UNICAST | Safi::MULTICAST | Safi::LABELLED) => v6,
        (Afi::IPV4, Safi::VPN) => len == 12 || (len == 24 || len == 48) && extended(),
        (Afi::IPV6, Safi::VPN) => len == 24 || len == 48,
        (_, Safi::FLOWSPEC | Safi::FLOWSPEC_VPN) => matches!(len, 0 | 4 | 16 | 32 | 12 | 24),
        (Afi::LINK_STATE, _) => matches!(len, 4 | 16 | 32 | 12 | 24 | 48),
        _ => len == 4 || v6,
    }
}

impl From<IpAddr> for NextHop {
    fn from(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(v4) => NextHop::V4(v4),
            IpAddr::V6(global) => NextHop::V6 { global, link_local: None },
        }
    }
}

impl From<Ipv4Addr> for NextHop {
    fn from(addr: Ipv4Addr) -> Self {
        NextHop::V4(addr)
    }
}

impl From<Ipv6Addr> for NextHop {
    fn from(global: Ipv6Addr) -> Self {
        NextHop::V6 { global, link_local: None }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NextHop::V4(v4) => v4.fmt(f),
            NextHop::V6 { global, link_local: None } => global.fmt(f),
            NextHop::V6 { global, link_local: Some(second) } => write!(f, "{global} {second}"),
            NextHop::Opaque(octets) if octets.len == 0 => f.pad("none"),
            NextHop::Opaque(octets) => {
                f.write_str("0x")?;
                octets.as_slice().iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

impl FromStr for NextHop {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        const WRONG: ParseError = ParseError(
            "a next hop is an address, a global and a link-local one, or octets in hexadecimal behind 0x",
        );
        if s == "none" {
            return Ok(NextHop::NONE);
        }
        if let Some(digits) = s.strip_prefix("0x") {
            let mut octets = [0; 48];
            let octets = octets.get_mut(..digits.len() / 2).ok_or(WRONG)?;
            unhex(digits, octets).ok_or(WRONG)?;
            let hop = NextHop::from_octets(octets).filter(|hop| matches!(hop, NextHop::Opaque(_)));
            return hop.ok_or(WRONG);
        }
        match s.split_once(' ') {
            None => s.parse::<IpAddr>().map(NextHop::from).map_err(|_| WRONG),
            Some((global, link_local)) => Ok(NextHop::V6 {
                global: global.parse().map_err(|_| WRONG)?,
                link_local: Some(link_local.parse().map_err(|_| WRONG)?),
            }),
        }
    }
}

impl fmt::Debug for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn octets_read_back() {
        for n in [0usize, 4, 12, 16, 24, 32, 48] {
            let octets: alloc::vec::Vec<u8> = (0..n as u8).map(|i| i + 1).collect();
            let hop = NextHop::from_octets(&octets).unwrap();
            assert_eq!(hop.octets_len(), n);
            hop.with_octets(|read| assert_eq!(read, octets));
            assert_eq!(hop.to_string().parse(), Ok(hop));
        }
        assert!(NextHop::from_octets(&[0; 49]).is_none());
    }

    #[test]
    fn hosts_are_told_from_other_addresses() {
        let hop = |s: &str| NextHop::from(s.parse::<IpAddr>().unwrap()).is_host();
        assert!(hop("10.0.0.1") && hop("2001:db8::1") && hop("fe80::1") && hop("127.0.0.1") && hop("::1"));
        for bad in ["0.0.0.0", "224.0.0.5", "255.255.255.255", "::", "ff02::1"] {
            assert!(!hop(bad), "{bad}");
        }
    }
}
