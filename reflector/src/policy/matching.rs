//! The conditions of a rule.

use bgp_proto::attr::{Community, LargeCommunity};
use bgp_proto::{Asn, AttrSet, Family, FamilySet, Nlri, Prefix};
use core::net::IpAddr;

use crate::ids::{EntryId, IfName};

/// A path, as a policy sees it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its family.
    pub family: Family,
    /// Its destination.
    pub nlri: &'a Nlri,
    /// Its attributes.
    pub attrs: &'a AttrSet,
    /// The entry of who announced it; [`EntryId::LOCAL`] for what this speaker originates.
    pub source: EntryId,
    /// This speaker's AS number, which `prepend` without a number means.
    pub local_asn: Asn,
    /// This speaker's address on the session, which next hop `self` means.
    pub local_addr: Option<IpAddr>,
    /// Where it is on its way.
    pub stage: Stage,
    /// What is known of it beside its attributes.
    pub facts: Facts,
}

/// Where a path is on its way through this speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// From a peer into the table.
    #[default]
    Import,
    /// To peers in this AS.
    ToInternal,
    /// To peers in other ASes.
    ToExternal,
    /// To the kernel.
    ToKernel,
}

/// Where a route comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Provenance {
    /// A BGP peer.
    #[default]
    Bgp,
    /// This speaker's configuration.
    Static,
    /// A network that the node is connected to.
    Device,
    /// The kernel's table, where somebody else put it.
    Inherited,
}

/// What is known of a path beside its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Where it comes from.
    pub provenance: Provenance,
    /// Its rank before anything else counts.
    pub preference: u32,
    /// Its metric in the kernel, if it was found there.
    pub metric: Option<u32>,
    /// Who put it into the kernel, if it was found there.
    pub kernel_source: Option<u8>,
    /// The interface that its packets leave by.
    pub interface: Option<IfName>,
    /// The neighbour that takes them.
    pub gateway: Option<IpAddr>,
    /// Who announced it.
    pub from: Option<IpAddr>,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The family is one of these.
    Families(FamilySet),
    /// The destination is in one of these ranges.
    Prefixes(Vec<PrefixRange>),
    /// One of these communities is present (RFC 1997).
    Communities(Vec<Community>),
    /// One of these large communities is present (RFC 8092).
    LargeCommunities(Vec<LargeCommunity>),
    /// One of these AS numbers is in AS_PATH.
    AsPathContains(Vec<Asn>),
    /// The AS_PATH begins with one of these: the neighbouring AS.
    AsPathFirst(Vec<Asn>),
    /// The AS_PATH ends with one of these: the originating AS.
    AsPathOrigin(Vec<Asn>),
    /// The next hop is in one of these prefixes.
    NextHops(Vec<Prefix>),
    /// A peer of one of these entries announced it.
    Sources(Vec<EntryId>),
    /// The condition does not hold.
    Not(Box<Condition>),
}

/// A prefix and the lengths that its parts may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixRange {
    /// Contains the destination.
    pub within: Prefix,
    /// The destination's least length.
    pub len_min: u8,
    /// The destination's greatest length.
    pub len_max: u8,
}

impl PrefixRange {
    /// Only `prefix` itself.
    pub fn exact(prefix: Prefix) -> PrefixRange {
        PrefixRange { within: prefix, len_min: prefix.len(), len_max: prefix.len() }
    }

    /// Whether it is one prefix and no other.
    pub(super) fn is_exact(&self) -> bool {
        let len = self.within.len();
        (self.len_min, self.len_max) == (len, len)
    }

    pub(super) fn contains(&self, prefix: &Prefix) -> bool {
        (self.len_min..=self.len_max).contains(&prefix.len()) && self.within.contains(prefix)
    }
}

impl Condition {
    pub(super) fn names_prefixes(&self) -> bool {
        match self {
            Condition::Prefixes(_) => true,
            Condition::Not(inner) => inner.names_prefixes(),
            _ => false,
        }
    }

    pub(super) fn holds(&self, s: &Subject<'_>) -> bool {
        match self {
            Condition::Families(set) => set.contains(s.family),
            Condition::Prefixes(ranges) => match s.nlri {
                Nlri::Prefix(prefix) => ranges.iter().any(|r| r.contains(prefix)),
                Nlri::Opaque(_) => false,
            },
            Condition::Communities(any) => s.attrs.communities().iter().any(|c| any.contains(&c)),
            Condition::LargeCommunities(any) => s.attrs.large_communities().iter().any(|c| any.contains(&c)),
            Condition::AsPathContains(any) => any.iter().any(|asn| s.attrs.as_path().contains(*asn)),
            Condition::AsPathFirst(any) => s.attrs.as_path().first_as().is_some_and(|a| any.contains(&a)),
            Condition::AsPathOrigin(any) => s.attrs.as_path().origin_as().is_some_and(|a| any.contains(&a)),
            Condition::NextHops(any) => match s.attrs.next_hop().addr() {
                Some(addr) => any.iter().any(|p| p.contains_addr(addr)),
                None => false,
            },
            Condition::Sources(any) => any.contains(&s.source),
            Condition::Not(inner) => !inner.holds(s),
        }
    }
}
