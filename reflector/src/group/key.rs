//! What two peers must have in common to hear the same octets.

use bgp_proto::capability::Role;
use bgp_proto::{Asn, Family, FamilySet, NextHop, WireContext};
use std::sync::Arc;

use super::Interest;
use crate::policy::Policy;
use crate::reflection::PeerKind;

/// Everything that changes what a peer is told in one family.
///
/// [`WireContext`] is the codec's own parameter, so that a capability cannot be forgotten here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupKey {
    /// The family.
    pub family: Family,
    /// What the peers are to this speaker.
    pub kind: PeerKind,
    /// What may leave.
    pub export: PolicyChoice,
    /// Whose address the next hop becomes.
    pub next_hop: NextHopRule,
    /// This speaker's address as a next hop for the family, on the peers' sessions; `None` where it has none.
    pub own: Option<NextHop>,
    /// How messages are encoded.
    pub wire: WireContext,
    /// Paths a prefix, with add-path (RFC 7911); 1 without.
    pub paths_max: usize,
    /// The AS number that this speaker shows.
    pub local_asn: Asn,
    /// What this speaker is to the peers (RFC 9234), if they are external.
    pub role: Option<Role>,
    /// Whether the peers may hear of tunnels.
    pub tunnels: TunnelScope,
    /// What becomes of long-lived stale routes (RFC 9494).
    pub long_lived: LongLivedRule,
    /// The route targets that the peers asked for (RFC 4684); `None` where they need not ask.
    pub interest: Option<Arc<Interest>>,
}

/// Whether an external peer is among those who may send packets into each other's tunnels. Internal peers always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TunnelScope {
    /// No: what unicast routes say of tunnels is neither believed nor told (RFC 9012 section 11, which makes it the default).
    #[default]
    Outside,
    /// Yes.
    Inside,
}

impl TunnelScope {
    /// Whether routes of a family must not name tunnels on their way from or to such a peer. Families that are never
    /// installed are passed on as they are: a fabric's EVPN lives by these communities.
    pub fn filters(self, kind: PeerKind, family: Family) -> bool {
        self == TunnelScope::Outside && kind == PeerKind::External && FamilySet::UNICAST.contains(family)
    }
}

/// What a peer is told of long-lived stale routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum LongLivedRule {
    /// Nothing: it would not know them as such (RFC 9494 section 4.3).
    #[default]
    Withheld,
    /// Everything.
    Told,
    /// The routes, as bad as can be: an internal peer that does not know them as such (section 4.6).
    Depreferred,
}

impl GroupKey {
    /// Forgets what concerns other families, so that it does not keep peers apart.
    pub fn normalized(mut self) -> GroupKey {
        let only = FamilySet::from(self.family);
        self.wire.families = self.wire.families.intersection(only);
        self.wire.add_path = self.wire.add_path.intersection(only);
        self.wire.extended_next_hop = self.wire.extended_next_hop.intersection(only);
        if !self.wire.add_path.contains(self.family) {
            self.paths_max = 1;
        }
        self.interest = self.interest.filter(|_| Interest::concerns(self.family));
        self
    }
}

/// Which policy stands at a door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyChoice {
    /// Everything passes: an internal peer without a policy.
    Everything,
    /// Nothing passes: an external peer without a policy (RFC 8212).
    Nothing,
    /// This policy decides.
    Policy(Arc<Policy>),
}

impl PolicyChoice {
    /// Whether it looks at the way that a route's packets take.
    pub fn depends_on_way(&self) -> bool {
        matches!(self, PolicyChoice::Policy(policy) if policy.depends_on_way())
    }

    /// Whether two prefixes with equal attributes may fare differently.
    pub fn depends_on_prefix(&self) -> bool {
        match self {
            PolicyChoice::Everything | PolicyChoice::Nothing => false,
            PolicyChoice::Policy(policy) => policy.depends_on_prefix(),
        }
    }
}

/// Whose address the next hop of what is told becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum NextHopRule {
    /// Own to external peers and for own routes, else unchanged (RFC 4271 section 5.1.3).
    #[default]
    Auto,
    /// Own, also for what is reflected.
    Own,
    /// Unchanged, also to external peers; own only for own routes.
    Unchanged,
}
