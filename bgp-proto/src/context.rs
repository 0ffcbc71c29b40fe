//! What two speakers agreed on that changes the meaning of bytes.
//!
//! One [`WireContext`] describes one direction of one session: the same value is the parameter of decoding and of
//! encoding, so a capability cannot be remembered in one place and forgotten in the other. Peers with equal sending
//! contexts can be served with the same bytes.
//!
//! Rules of RFC 7606 that depend on nothing but the session are decided by the decoder from this value. Left to the
//! caller, because they need knowledge that is not the wire's: the first AS of a path (compare
//! [`AsPath::first_as`](crate::attr::AsPath::first_as) with the peer's number), our own AS in a path, our own router
//! identifier or cluster in a reflected route, a next hop that is our own address, and a next hop that is link-local only.

use crate::family::FamilySet;

/// How wide AS numbers are in AS_PATH and AGGREGATOR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AsnWidth {
    /// Two octets: the four-octet AS capability was not exchanged (RFC 6793).
    #[default]
    Two,
    /// Four octets.
    Four,
}

impl AsnWidth {
    /// Octets of one number.
    #[inline]
    pub const fn octets(self) -> usize {
        match self {
            AsnWidth::Two => 2,
            AsnWidth::Four => 4,
        }
    }
}

/// The largest UPDATE, NOTIFICATION and ROUTE-REFRESH.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageMax {
    /// 4,096 octets (RFC 4271).
    #[default]
    Standard,
    /// 65,535 octets (RFC 8654). Only if both speakers sent the capability.
    Extended,
}

impl MessageMax {
    /// The limit, header included.
    #[inline]
    pub const fn octets(self) -> usize {
        match self {
            MessageMax::Standard => 4096,
            MessageMax::Extended => 65535,
        }
    }
}

/// What kind of neighbour the peer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerKind {
    /// Another AS.
    #[default]
    External,
    /// Our AS.
    Internal,
    /// Another member AS of our confederation (RFC 5065).
    Confederation,
}

/// Whether paths with an AS_SET or AS_CONFED_SET are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AsSets {
    /// Routes with one are taken as withdrawn (RFC 9774).
    #[default]
    Refused,
    /// As before RFC 9774.
    Accepted,
}

/// Attributes of optional features that this session runs. What is not in here is handled as RFC 4271 says of
/// unrecognised attributes: passed on unread with the Partial bit if transitive, dropped if not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Features(u8);

impl Features {
    /// None.
    pub const NONE: Features = Features(0);
    /// ONLY_TO_CUSTOMER is checked and used (RFC 9234).
    pub const ROLES: Features = Features(1);
    /// AIGP is accepted (RFC 7311).
    pub const AIGP: Features = Features(2);
    /// PREFIX_SID is checked (RFC 8669).
    pub const PREFIX_SID: Features = Features(4);
    /// BGPSEC_PATH is kept (RFC 8205).
    pub const BGPSEC: Features = Features(8);

    /// Features of both.
    pub const fn union(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }

    /// Whether all the other's features are here.
    #[inline]
    pub const fn contains(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Everything outside a message that changes how it is read or written. The default is a session with RFC 4271 alone:
/// external peer, IPv4 unicast, two-octet AS numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireContext {
    /// Width of AS numbers, the same in both directions.
    pub asn_width: AsnWidth,
    /// The largest message, the same in both directions.
    pub message_max: MessageMax,
    /// What kind of neighbour: decides where LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST and confederation segments are in
    /// place (decoding only).
    pub peer: PeerKind,
    /// Whether AS sets are taken (decoding only).
    pub as_sets: AsSets,
    /// Optional attributes in use (decoding only).
    pub features: Features,
    /// Families that were negotiated. Routes of others are skipped unread (decoding only).
    pub families: FamilySet,
    /// Families whose NLRI carry a path identifier in this direction (RFC 7911).
    pub add_path: FamilySet,
    /// IPv4 families for which a next hop may be IPv6 (RFC 8950).
    pub extended_next_hop: FamilySet,
}

impl WireContext {
    /// RFC 4271 alone.
    pub const PLAIN: WireContext = WireContext {
        asn_width: AsnWidth::Two,
        message_max: MessageMax::Standard,
        peer: PeerKind::External,
        as_sets: AsSets::Refused,
        features: Features::NONE,
        families: FamilySet::IPV4,
        add_path: FamilySet::EMPTY,
        extended_next_hop: FamilySet::EMPTY,
    };

    /// What two of today's speakers agree on: IPv4 and IPv6 unicast, four-octet AS numbers.
    pub const fn modern(peer: PeerKind) -> WireContext {
        WireContext { asn_width: AsnWidth::Four, peer, families: FamilySet::UNICAST, ..WireContext::PLAIN }
    }
}

impl Default for WireContext {
    fn default() -> Self {
        WireContext::PLAIN
    }
}
