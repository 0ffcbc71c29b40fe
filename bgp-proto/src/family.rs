//! Address families: what kind of routes a session carries.
//!
//! A [`Family`] is an AFI and a SAFI (RFC 4760). Any pair can be named; those the codec knows the NLRI form of have a
//! constant here and a place in [`FamilySet`], a small bit set that is passed about by value. A family outside the
//! known list never gets into a set, so nothing negotiated through sets can reach a family that we cannot parse.
//!
//! How NLRI of a family are delimited is its [`Shape`]; that one table replaces a `match` on families in every file.

use crate::text::ParseError;
use core::fmt;
use core::str::FromStr;

/// An address family number (IANA "Address Family Numbers").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Afi(pub u16);

impl Afi {
    /// IP version 4.
    pub const IPV4: Afi = Afi(1);
    /// IP version 6.
    pub const IPV6: Afi = Afi(2);
    /// Layer 2 VPN: EVPN and VPLS.
    pub const L2VPN: Afi = Afi(25);
    /// Link-state (RFC 9552).
    pub const LINK_STATE: Afi = Afi(16388);
}

/// A subsequent address family identifier (IANA "SAFI Values").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Safi(pub u8);

impl Safi {
    /// Unicast forwarding.
    pub const UNICAST: Safi = Safi(1);
    /// Multicast reverse-path lookup.
    pub const MULTICAST: Safi = Safi(2);
    /// Prefixes with MPLS labels (RFC 8277).
    pub const LABELLED: Safi = Safi(4);
    /// Multicast VPN (RFC 6514).
    pub const MVPN: Safi = Safi(5);
    /// VPLS (RFC 4761).
    pub const VPLS: Safi = Safi(65);
    /// EVPN (RFC 7432).
    pub const EVPN: Safi = Safi(70);
    /// Link-state (RFC 9552).
    pub const LINK_STATE: Safi = Safi(71);
    /// Link-state within a VPN (RFC 9552).
    pub const LINK_STATE_VPN: Safi = Safi(72);
    /// Segment routing policy (RFC 9830).
    pub const SR_POLICY: Safi = Safi(73);
    /// MPLS-labelled VPN prefixes (RFC 4364).
    pub const VPN: Safi = Safi(128);
    /// Route target constraint (RFC 4684).
    pub const RT_CONSTRAINT: Safi = Safi(132);
    /// Flow specification (RFC 8955).
    pub const FLOWSPEC: Safi = Safi(133);
    /// Flow specification within a VPN (RFC 8955).
    pub const FLOWSPEC_VPN: Safi = Safi(134);
}

/// An AFI and SAFI. Text form: a short word such as `ipv4`, `vpnv6`, `evpn`; `AFI/SAFI` in digits if unknown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    /// Address family.
    pub afi: Afi,
    /// Subsequent address family.
    pub safi: Safi,
}

/// How NLRI of a family are delimited on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Bit length, then that many bits of an IPv4 address (RFC 4271).
    PrefixV4,
    /// Bit length, then that many bits of an IPv6 address (RFC 4760).
    PrefixV6,
    /// Bit length of at most this many bits, then the bits: labelled, VPN and route target families.
    Bits(u16),
    /// Type octet, length octet, value: EVPN and multicast VPN.
    TypeLength8,
    /// Type of two octets, length of two octets, value: link-state.
    TypeLength16,
    /// Length of two octets, value: VPLS.
    Length16,
    /// Length of one octet, or two when it starts with 0xF, then the rules: flow specification.
    FlowSpec,
}

/// The known families, in bit order of [`FamilySet`].
const KNOWN: [(Family, &str, Shape); 21] = [
    (Family::IPV4_UNICAST, "ipv4", Shape::PrefixV4),
    (Family::IPV6_UNICAST, "ipv6", Shape::PrefixV6),
    (Family::IPV4_MULTICAST, "ipv4-multicast", Shape::PrefixV4),
    (Family::IPV6_MULTICAST, "ipv6-multicast", Shape::PrefixV6),
    (Family::IPV4_LABELLED, "ipv4-labelled", Shape::Bits(255)),
    (Family::IPV6_LABELLED, "ipv6-labelled", Shape::Bits(255)),
    (Family::VPNV4, "vpnv4", Shape::Bits(255)),
    (Family::VPNV6, "vpnv6", Shape::Bits(255)),
    (Family::EVPN, "evpn", Shape::TypeLength8),
    (Family::RT_CONSTRAINT, "rt-constraint", Shape::Bits(96)),
    (Family::FLOWSPEC_V4, "flowspec4", Shape::FlowSpec),
    (Family::FLOWSPEC_V6, "flowspec6", Shape::FlowSpec),
    (Family::FLOWSPEC_VPNV4, "flowspec-vpnv4", Shape::FlowSpec),
    (Family::FLOWSPEC_VPNV6, "flowspec-vpnv6", Shape::FlowSpec),
    (Family::LINK_STATE, "link-state", Shape::TypeLength16),
    (Family::LINK_STATE_VPN, "link-state-vpn", Shape::TypeLength16),
    (Family::VPLS, "vpls", Shape::Length16),
    (Family::MVPNV4, "mvpn4", Shape::TypeLength8),
    (Family::MVPNV6, "mvpn6", Shape::TypeLength8),
    (Family::SR_POLICY_V4, "sr-policy4", Shape::Bits(96)),
    (Family::SR_POLICY_V6, "sr-policy6", Shape::Bits(192)),
];

impl Family {
    /// IPv4 unicast, the only family of RFC 4271.
    pub const IPV4_UNICAST: Family = Family::new(Afi::IPV4, Safi::UNICAST);
    /// IPv6 unicast (RFC 2545).
    pub const IPV6_UNICAST: Family = Family::new(Afi::IPV6, Safi::UNICAST);
    /// IPv4 multicast.
    pub const IPV4_MULTICAST: Family = Family::new(Afi::IPV4, Safi::MULTICAST);
    /// IPv6 multicast.
    pub const IPV6_MULTICAST: Family = Family::new(Afi::IPV6, Safi::MULTICAST);
    /// IPv4 with labels (RFC 8277).
    pub const IPV4_LABELLED: Family = Family::new(Afi::IPV4, Safi::LABELLED);
    /// IPv6 with labels (RFC 8277, 4798).
    pub const IPV6_LABELLED: Family = Family::new(Afi::IPV6, Safi::LABELLED);
    /// IPv4 VPN (RFC 4364).
    pub const VPNV4: Family = Family::new(Afi::IPV4, Safi::VPN);
    /// IPv6 VPN (RFC 4659).
    pub const VPNV6: Family = Family::new(Afi::IPV6, Safi::VPN);
    /// Ethernet VPN (RFC 7432).
    pub const EVPN: Family = Family::new(Afi::L2VPN, Safi::EVPN);
    /// Route target constraint (RFC 4684).
    pub const RT_CONSTRAINT: Family = Family::new(Afi::IPV4, Safi::RT_CONSTRAINT);
    /// IPv4 flow specification (RFC 8955).
    pub const FLOWSPEC_V4: Family = Family::new(Afi::IPV4, Safi::FLOWSPEC);
    /// IPv6 flow specification (RFC 8956).
    pub const FLOWSPEC_V6: Family = Family::new(Afi::IPV6, Safi::FLOWSPEC);
    /// IPv4 flow specification within a VPN (RFC 8955).
    pub const FLOWSPEC_VPNV4: Family = Family::new(Afi::IPV4, Safi::FLOWSPEC_VPN);
    /// IPv6 flow specification within a VPN (RFC 8956).
    pub const FLOWSPEC_VPNV6: Family = Family::new(Afi::IPV6, Safi::FLOWSPEC_VPN);
    /// Link-state (RFC 9552).
    pub const LINK_STATE: Family = Family::new(Afi::LINK_STATE, Safi::LINK_STATE);
    /// Link-state within a VPN (RFC 9552).
    pub const LINK_STATE_VPN: Family = Family::new(Afi::LINK_STATE, Safi::LINK_STATE_VPN);
    /// VPLS (RFC 4761).
    pub const VPLS: Family = Family::new(Afi::L2VPN, Safi::VPLS);
    /// IPv4 multicast VPN (RFC 6514).
    pub const MVPNV4: Family = Family::new(Afi::IPV4, Safi::MVPN);
    /// IPv6 multicast VPN (RFC 6514).
    pub const MVPNV6: Family = Family::new(Afi::IPV6, Safi::MVPN);
    /// IPv4 segment routing policy (RFC 9830).
    pub const SR_POLICY_V4: Family = Family::new(Afi::IPV4, Safi::SR_POLICY);
    /// IPv6 segment routing policy (RFC 9830).
    pub const SR_POLICY_V6: Family = Family::new(Afi::IPV6, Safi::SR_POLICY);

    /// Any pair of numbers.
    pub const fn new(afi: Afi, safi: Safi) -> Family {
        Family { afi, safi }
    }

    /// How the family's NLRI are delimited; `None` for a family that the codec does not know.
    #[inline]
    pub fn shape(self) -> Option<Shape> {
        match (self.afi, self.safi) {
            (Afi::IPV4, Safi::UNICAST) => Some(Shape::PrefixV4),
            (Afi::IPV6, Safi::UNICAST) => Some(Shape::PrefixV6),
            _ => self.search().map(|i| KNOWN[i].2),
        }
    }

    /// Place in the table of known families.
    #[inline(always)]
    fn index(self) -> Option<usize> {
        match (self.afi, self.safi) {
            (Afi::IPV4, Safi::UNICAST) => Some(0),
            (Afi::IPV6, Safi::UNICAST) => Some(1),
            _ => self.search(),
        }
    }

    /// As [`Family::index`], for the less common.
    #[inline(never)]
    fn search(self) -> Option<usize> {
        KNOWN.iter().position(|(family, _, _)| *family == self)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index() {
            Some(i) => f.pad(KNOWN[i].1),
            None => write!(f, "{}/{}", self.afi.0, self.safi.0),
        }
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Family {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        const WRONG: ParseError =
            ParseError("a family is a word such as ipv4 or ipv6, or AFI/SAFI in digits");
        if let Some((family, _, _)) = KNOWN.iter().find(|(_, word, _)| *word == s) {
            return Ok(*family);
        }
        let (afi, safi) = s.split_once('/').ok_or(WRONG)?;
        Ok(Family::new(Afi(afi.parse().map_err(|_| WRONG)?), Safi(safi.parse().map_err(|_| WRONG)?)))
    }
}

/// A set of known families, passed by value.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FamilySet(u32);

impl FamilySet {
    /// No family.
    pub const EMPTY: FamilySet = FamilySet(0);
    /// IPv4 unicast alone, what a session carries when nothing is negotiated.
    pub const IPV4: FamilySet = FamilySet(1);
    /// IPv4 and IPv6 unicast.
    pub const UNICAST: FamilySet = FamilySet(3);
    /// Every family that the codec knows.
    pub const ALL: FamilySet = FamilySet((1 << KNOWN.len()) - 1);

    /// Adds a family; `false` if it was there already, or is not a known one and cannot be added.
    pub fn insert(&mut self, family: Family) -> bool {
        let before = self.0;
        if let Some(i) = family.index() {
            self.0 |= 1 << i;
        }
        self.0 != before
    }

    /// Takes a family out; `false` if it was not there.
    pub fn remove(&mut self, family: Family) -> bool {
        let before = self.0;
        if let Some(i) = family.index() {
            self.0 &= !(1 << i);
        }
        self.0 != before
    }

    /// Whether the family is in the set.
    #[inline(always)]
    pub fn contains(self, family: Family) -> bool {
        self.0 != 0 && family.index().is_some_and(|i| self.0 >> i & 1 == 1)
    }

    /// Families in either.
    pub const fn union(self, other: FamilySet) -> FamilySet {
        FamilySet(self.0 | other.0)
    }

    /// Families in both.
    pub const fn intersection(self, other: FamilySet) -> FamilySet {
        FamilySet(self.0 & other.0)
    }

    /// Families in this and not in the other.
    pub const fn difference(self, other: FamilySet) -> FamilySet {
        FamilySet(self.0 & !other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The families, unicast first, always in the same order.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        KNOWN.iter().enumerate().filter(move |(i, _)| self.0 >> i & 1 == 1).map(|(_, (family, _, _))| *family)
    }
}

impl From<Family> for FamilySet {
    fn from(family: Family) -> Self {
        core::iter::once(family).collect()
    }
}

impl FromIterator<Family> for FamilySet {
    fn from_iter<I: IntoIterator<Item = Family>>(families: I) -> Self {
        let mut set = FamilySet::EMPTY;
        set.extend(families);
        set
    }
}

impl Extend<Family> for FamilySet {
    fn extend<I: IntoIterator<Item = Family>>(&mut self, families: I) {
        for family in families {
            self.insert(family);
        }
    }
}

impl fmt::Debug for FamilySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_known_family_reads_back_from_its_word() {
        for family in FamilySet::ALL.iter() {
            assert_eq!(family.to_string().parse(), Ok(family));
        }
        assert_eq!(FamilySet::ALL.len(), KNOWN.len());
        assert_eq!("7/9".parse(), Ok(Family::new(Afi(7), Safi(9))));
        assert!("ipv5".parse::<Family>().is_err());
    }

    #[test]
    fn a_set_holds_known_families_only() {
        let mut set: FamilySet = [Family::IPV6_UNICAST, Family::EVPN].into_iter().collect();
        assert!(set.contains(Family::EVPN) && !set.contains(Family::IPV4_UNICAST));
        assert!(!set.insert(Family::new(Afi(99), Safi(1))));
        assert_eq!(set.len(), 2);
        assert_eq!(set.intersection(FamilySet::UNICAST), FamilySet::from(Family::IPV6_UNICAST));
        assert!(set.remove(Family::EVPN) && !set.remove(Family::EVPN));
    }
}
