//! Path attributes.
//!
//! An attribute is flags, a code, a length and a value (RFC 4271 section 4.3). Values are read through views that
//! borrow the bytes and cannot fail, because a block of attributes is checked once, by
//! [`Update::decode`](crate::Update::decode) or by [`AttrSetBuilder`], and never again. What is kept of a route is an
//! [`AttrSet`]: the attributes in canonical form, sorted by code, as one shared block of bytes.

mod as_path;
mod build;
pub(crate) mod check;
mod ext_community;
mod list;
pub(crate) mod merge;
mod next_hop;
mod services;
mod set;
mod tlv;
mod tunnel;

pub use as_path::{AsPath, Asns, PathAsns, Segment, SegmentKind, Segments};
pub use build::AttrSetBuilder;
pub(crate) use build::{header as attr_header, is_outside_sets};
pub use ext_community::{ExtCommunities, ExtCommunity, Ipv6ExtCommunities, Ipv6ExtCommunity};
pub use list::{ClusterList, Communities, Community, Item, LargeCommunities, LargeCommunity, List, ListIter};
pub(crate) use next_hop::is_hop_len;
pub use next_hop::{HopOctets, NextHop};
pub use services::{CustomerAttrs, PmsiTunnel, PrefixSid};
pub use set::AttrSet;
pub use tlv::{Tlv, Tlvs};
pub use tunnel::{Egress, MacAddr, Tunnel, TunnelBuilder, TunnelType, Tunnels, Vxlan};

use crate::iana::AttrCode;
use crate::id::{Asn, RouterId};
use crate::text::ParseError;
use core::fmt;
use core::str::FromStr;

/// Attribute flags. The low four bits mean nothing and are cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// Not well-known.
    pub const OPTIONAL: Flags = Flags(0x80);
    /// Passed on, whether understood or not.
    pub const TRANSITIVE: Flags = Flags(0x40);
    /// Some speaker on the way did not understand it.
    pub const PARTIAL: Flags = Flags(0x20);
    /// The length is two octets.
    pub const EXTENDED: Flags = Flags(0x10);
    /// Well-known attributes.
    pub const WELL_KNOWN: Flags = Flags(0x40);
    /// Optional attributes that are passed on.
    pub const OPTIONAL_TRANSITIVE: Flags = Flags(0xC0);

    /// Whether all the other's flags are set.
    #[inline]
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Flags of both.
    pub const fn union(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// The Optional and Transitive bits, which an attribute's definition fixes.
    #[inline]
    pub const fn class(self) -> Flags {
        Flags(self.0 & 0xC0)
    }
}

/// One attribute, its value unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RawAttr<'a> {
    /// Flags.
    pub flags: Flags,
    /// Type code.
    pub code: AttrCode,
    /// Value.
    pub value: &'a [u8],
}

/// The attributes of a block, in their order. Ends early at an attribute that runs past the block.
#[derive(Clone, Debug)]
pub struct RawAttrs<'a> {
    rest: &'a [u8],
}

impl<'a> RawAttrs<'a> {
    #[inline]
    pub(crate) const fn new(block: &'a [u8]) -> RawAttrs<'a> {
        RawAttrs { rest: block }
    }

    /// What has not been read, header first.
    #[inline]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for RawAttrs<'a> {
    type Item = RawAttr<'a>;

    #[inline]
    fn next(&mut self) -> Option<RawAttr<'a>> {
        let [flags, code, rest @ ..] = self.rest else { return None };
        let (len, rest) = if flags & Flags::EXTENDED.0 == 0 {
            let (len, rest) = rest.split_first()?;
            (usize::from(*len), rest)
        } else {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*len)), rest)
        };
        let (value, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some(RawAttr { flags: Flags(*flags), code: AttrCode(*code), value })
    }
}

/// ORIGIN (RFC 4271 section 5.1.1), the preferred first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Origin {
    /// Interior to the originating AS.
    Igp = 0,
    /// Learned by EGP.
    Egp = 1,
    /// By other means.
    #[default]
    Incomplete = 2,
}

impl Origin {
    /// The value for an octet.
    #[inline]
    pub const fn from_octet(octet: u8) -> Option<Origin> {
        match octet {
            0 => Some(Origin::Igp),
            1 => Some(Origin::Egp),
            2 => Some(Origin::Incomplete),
            _ => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Origin::Igp => "igp",
            Origin::Egp => "egp",
            Origin::Incomplete => "incomplete",
        })
    }
}

impl FromStr for Origin {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        match s {
            "igp" => Ok(Origin::Igp),
            "egp" => Ok(Origin::Egp),
            "incomplete" => Ok(Origin::Incomplete),
            _ => Err(ParseError("an origin is igp, egp or incomplete")),
        }
    }
}

/// AGGREGATOR (RFC 4271 section 5.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Aggregator {
    /// The aggregating AS.
    pub asn: Asn,
    /// The aggregating speaker.
    pub router_id: RouterId,
}

impl fmt::Display for Aggregator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.asn, self.router_id)
    }
}

/// A value of exactly four octets as a number.
#[inline]
pub(crate) fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

/// Defines the readers of attributes on a type that has `value(AttrCode) -> Option<&[u8]>`, `number(AttrCode)` for values of
/// four octets, `origin_value()` and `asn_width()`; and `unjudged(AttrCode) -> Option<&[u8]>` for attributes that are passed on
/// whatever their value.
macro_rules! attr_readers {
    () => {
        /// ORIGIN; incomplete if absent.
        #[inline]
        pub fn origin(&self) -> $crate::attr::Origin {
            self.origin_value()
        }

        /// AS_PATH; empty if absent.
        #[inline]
        pub fn as_path(&self) -> $crate::attr::AsPath<'_> {
            let octets = self.value($crate::iana::AttrCode::AS_PATH).unwrap_or(&[]);
            $crate::attr::AsPath::trusted(octets, self.asn_width())
        }

        /// MULTI_EXIT_DISC.
        #[inline]
        pub fn med(&self) -> Option<u32> {
            self.number($crate::iana::AttrCode::MED)
        }

        /// LOCAL_PREF.
        #[inline]
        pub fn local_pref(&self) -> Option<u32> {
            self.number($crate::iana::AttrCode::LOCAL_PREF)
        }

        /// Whether ATOMIC_AGGREGATE is there.
        #[inline]
        pub fn atomic_aggregate(&self) -> bool {
            self.value($crate::iana::AttrCode::ATOMIC_AGGREGATE).is_some()
        }

        /// AGGREGATOR.
        pub fn aggregator(&self) -> Option<$crate::attr::Aggregator> {
            let value = self.value($crate::iana::AttrCode::AGGREGATOR)?;
            let (asn, id) = value.split_at_checked(self.asn_width().octets())?;
            let asn = asn.iter().fold(0, |n, octet| n << 8 | u32::from(*octet));
            let router_id = $crate::id::RouterId($crate::attr::number(id)?);
            Some($crate::attr::Aggregator { asn: $crate::id::Asn(asn), router_id })
        }

        /// COMMUNITIES; empty if absent.
        #[inline]
        pub fn communities(&self) -> $crate::attr::Communities<'_> {
            $crate::attr::List::new(self.value($crate::iana::AttrCode::COMMUNITIES).unwrap_or(&[]))
        }

        /// Extended communities; empty if absent.
        #[inline]
        pub fn ext_communities(&self) -> $crate::attr::ExtCommunities<'_> {
            $crate::attr::List::new(self.value($crate::iana::AttrCode::EXT_COMMUNITIES).unwrap_or(&[]))
        }

        /// Extended communities with IPv6 addresses; empty if absent.
        #[inline]
        pub fn ipv6_ext_communities(&self) -> $crate::attr::Ipv6ExtCommunities<'_> {
            $crate::attr::List::new(self.value($crate::iana::AttrCode::IPV6_EXT_COMMUNITIES).unwrap_or(&[]))
        }

        /// Large communities; empty if absent.
        #[inline]
        pub fn large_communities(&self) -> $crate::attr::LargeCommunities<'_> {
            $crate::attr::List::new(self.value($crate::iana::AttrCode::LARGE_COMMUNITIES).unwrap_or(&[]))
        }

        /// ORIGINATOR_ID.
        #[inline]
        pub fn originator_id(&self) -> Option<$crate::id::RouterId> {
            self.number($crate::iana::AttrCode::ORIGINATOR_ID).map($crate::id::RouterId)
        }

        /// CLUSTER_LIST; empty if absent.
        #[inline]
        pub fn cluster_list(&self) -> $crate::attr::ClusterList<'_> {
            $crate::attr::List::new(self.value($crate::iana::AttrCode::CLUSTER_LIST).unwrap_or(&[]))
        }

        /// The accumulated metric of AIGP (RFC 7311).
        pub fn aigp(&self) -> Option<u64> {
            self.value($crate::iana::AttrCode::AIGP).and_then($crate::attr::check::aigp_metric)
        }

        /// ONLY_TO_CUSTOMER (RFC 9234).
        #[inline]
        pub fn only_to_customer(&self) -> Option<$crate::id::Asn> {
            let value = self.value($crate::iana::AttrCode::ONLY_TO_CUSTOMER)?;
            $crate::attr::number(value).map($crate::id::Asn)
        }

        /// The tunnels of TUNNEL_ENCAP (RFC 9012); none if absent.
        pub fn tunnels(&self) -> $crate::attr::Tunnels<'_> {
            $crate::attr::Tunnels::new(self.unjudged($crate::iana::AttrCode::TUNNEL_ENCAP).unwrap_or(&[]))
        }

        /// PMSI_TUNNEL (RFC 6514).
        pub fn pmsi_tunnel(&self) -> Option<$crate::attr::PmsiTunnel<'_>> {
            self.unjudged($crate::iana::AttrCode::PMSI_TUNNEL).and_then($crate::attr::PmsiTunnel::new)
        }

        /// PREFIX_SID (RFC 8669).
        pub fn prefix_sid(&self) -> Option<$crate::attr::PrefixSid<'_>> {
            self.unjudged($crate::iana::AttrCode::PREFIX_SID).map($crate::attr::PrefixSid::new)
        }

        /// ATTR_SET (RFC 6368).
        pub fn customer_attrs(&self) -> Option<$crate::attr::CustomerAttrs<'_>> {
            self.unjudged($crate::iana::AttrCode::ATTR_SET).and_then($crate::attr::CustomerAttrs::new)
        }

        /// The octets of BGPSEC_PATH (RFC 8205).
        pub fn bgpsec_path(&self) -> Option<&[u8]> {
            self.unjudged($crate::iana::AttrCode::BGPSEC_PATH)
        }
    };
}
pub(crate) use attr_readers;
