//! The small values that cross between sessions, the table and the daemon.

use bgp_proto::attr::{Egress, ExtCommunity, MacAddr, TunnelBuilder, TunnelType, Vxlan};
use bgp_proto::{
    Asn, AttrCode, AttrSet, AttrSetBuilder, Family, FamilySet, Nlri, PathId, Prefix, RouterId, WireContext,
};
use core::net::IpAddr;

use crate::ids::IfName;

use crate::time::Duration;

/// What both sides of a session agreed on (RFC 5492), the outcome of the exchange of OPEN messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The peer's AS number: its 4-octet capability's if it sent one (RFC 6793), else its OPEN's.
    pub peer_asn: Asn,
    /// The peer's BGP Identifier.
    pub peer_router_id: RouterId,
    /// The hold time in use, seconds; 0: no keepalives and no expiry.
    pub hold_secs: u16,
    /// Families that both sides announced.
    pub families: FamilySet,
    /// How to decode what the peer sends.
    pub receive: WireContext,
    /// How to encode what the peer is sent.
    pub transmit: WireContext,
    /// Whether the peer answers ROUTE-REFRESH, and how.
    pub refresh: RefreshMode,
    /// The peer's graceful restart capability (RFC 4724), where both sides have it.
    pub restart: Option<PeerRestart>,
    /// What is known of long-lived graceful restart (RFC 9494).
    pub long_lived: LongLived,
}

/// Long-lived graceful restart in one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LongLived {
    /// Whether the peer can be told of long-lived stale routes.
    pub peer: LongLivedPeer,
    /// How long the peer's stale routes may be kept, in each family where both sides have it: the lesser of what it and
    /// we say, never 0.
    pub times: Vec<(Family, Duration)>,
    /// Families for which the peer kept its forwarding state.
    pub forwarding: FamilySet,
}

/// Whether a peer knows what a long-lived stale route is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LongLivedPeer {
    /// It does not.
    #[default]
    Unaware,
    /// It sent the capability.
    Aware,
}

impl LongLived {
    /// How long the peer's stale routes of a family may be kept, if at all.
    pub fn time(&self, family: Family) -> Option<Duration> {
        self.times.iter().find(|(known, _)| *known == family).map(|(_, time)| *time)
    }
}

/// What a peer can do about ROUTE-REFRESH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshMode {
    /// It did not announce it.
    None,
    /// RFC 2918.
    Plain,
    /// RFC 7313: demarcated by BoRR and EoRR.
    Enhanced,
}

/// A peer's graceful restart capability (RFC 4724 section 3, RFC 8538 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerRestart {
    /// How long to wait for the peer to come back.
    pub restart_time: Duration,
    /// The R bit: the peer has just restarted.
    pub restarting: bool,
    /// The N bit: NOTIFICATION messages too lead to a graceful restart.
    pub notification: bool,
    /// Families whose routes are worth keeping.
    pub families: FamilySet,
    /// Families with the F bit: the peer kept forwarding while it restarted.
    pub forwarding: FamilySet,
}

/// Route changes in the order in which the peer sent them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    /// The attribute sets that `changes` name by index.
    pub attrs: Vec<AttrSet>,
    /// What changed.
    pub changes: Vec<RouteChange>,
}

/// One path announced or withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteChange {
    /// The family of `nlri`.
    pub family: Family,
    /// The peer's path identifier; 0 without add-path (RFC 7911).
    pub path_id: PathId,
    /// What is reached or no longer reached.
    pub nlri: Nlri,
    /// Index into [`Routes::attrs`], or `None` for a withdrawal.
    pub attrs: Option<u32>,
}

/// Whether a peer's routes outlive its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// They go at once.
    Drop,
    /// They stay, stale, for `restart_time` (RFC 4724 section 4.2), in `families`.
    Stale {
        /// How long to wait for the peer to come back.
        restart_time: Duration,
        /// Families whose routes stay; others go at once.
        families: FamilySet,
    },
}

/// A route that the kernel should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FibRoute {
    /// Forward to these next hops, as BGP names them: not yet resolved to interfaces.
    Via(Vec<Hop>),
    /// Drop: the node's own block, of which only more specific parts exist.
    Blackhole,
}

/// One next hop of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hop {
    /// The BGP next hop.
    pub addr: IpAddr,
    /// Relative weight, 1 to 255.
    pub weight: u8,
    /// The VXLAN tunnel behind it that the route names (RFC 9012), if any.
    pub vxlan: Option<FarEnd>,
    /// The device that takes the packets, with the next hop as the neighbour on it, whatever way leads there otherwise.
    pub device: Option<IfName>,
}

/// The far end of a VXLAN tunnel, as a route names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FarEnd {
    /// Where the outer packet goes; `None`: to the route's next hop.
    pub addr: Option<IpAddr>,
    /// Virtual network; `None`: the one that the receiver is configured with.
    pub vni: Option<u32>,
    /// Destination of the inner frame.
    pub mac: MacAddr,
}

impl FarEnd {
    /// The first VXLAN tunnel of the attribute that says where it ends and which hardware address is there (RFC 9012 section 3); without
    /// one, what an encapsulation community of that type (section 4.1) and a router's MAC (RFC 9135 section 8.1) say.
    pub fn of(attrs: &AttrSet) -> Option<FarEnd> {
        let named = attrs.tunnels().filter(|tunnel| tunnel.kind() == TunnelType::VXLAN).find_map(|tunnel| {
            let Vxlan { vni, mac } = tunnel.vxlan()?;
            let addr = match tunnel.egress()? {
                Egress::NextHop => None,
                Egress::Addr(addr) => Some(addr),
            };
            Some(FarEnd { addr, vni, mac: mac? })
        });
        named.or_else(|| {
            let communities = || attrs.ext_communities().iter();
            let mac = communities().find_map(|community| community.as_router_mac())?;
            let is_vxlan = communities().any(|c| c.as_encapsulation() == Some(TunnelType::VXLAN));
            is_vxlan.then_some(FarEnd { addr: None, vni: None, mac })
        })
    }

    /// Names it in the attribute, and in communities for those who read no more.
    pub fn name_in(&self, attrs: &mut AttrSetBuilder) {
        let mut tunnel = TunnelBuilder::new(TunnelType::VXLAN);
        tunnel.egress(self.addr.map_or(Egress::NextHop, Egress::Addr));
        tunnel.vxlan(Vxlan { vni: self.vni, mac: Some(self.mac) });
        attrs.add_tunnel(&tunnel);
        attrs.add_ext_community(ExtCommunity::encapsulation(TunnelType::VXLAN));
        attrs.add_ext_community(ExtCommunity::router_mac(self.mac));
    }

    /// Whether something names a tunnel of whatever type: the attribute, or an encapsulation community.
    pub fn is_named_in(attrs: &AttrSet) -> bool {
        let is_encapsulation = |community: ExtCommunity| community.as_encapsulation().is_some();
        attrs.iter().any(|attr| attr.code == AttrCode::TUNNEL_ENCAP)
            || attrs.ext_communities().iter().any(is_encapsulation)
    }

    /// Takes all that names a tunnel out of `edit`, which began as `attrs`.
    pub fn forget_in(edit: &mut AttrSetBuilder, attrs: &AttrSet) {
        let others =
            attrs.ext_communities().iter().filter(|community| community.as_encapsulation().is_none());
        edit.ext_communities(&others.collect::<Vec<_>>()).remove(AttrCode::TUNNEL_ENCAP);
    }
}

/// One change of what the kernel should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FibChange {
    /// The destination.
    pub prefix: Prefix,
    /// The route, or `None` if there should be none.
    pub route: Option<FibRoute>,
    /// Its metric, unless it is the one that all routes have.
    pub metric: Option<u32>,
    /// Whether the import policy of those it comes from spoke of its prefix.
    pub naming: Naming,
}

/// Whether the rule that accepted a path spoke of its prefix, or of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Naming {
    /// A condition of the rule named exactly this prefix.
    Exact,
    /// A condition of the rule named prefixes, and this is one.
    Named,
    /// The rule would have accepted other prefixes as well.
    Blanket,
}

/// What is known about the way to a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    /// Not known yet; a route through it is not usable (RFC 4271 section 9.1.2).
    Unknown,
    /// Reachable at this interior cost.
    Reachable {
        /// The interior cost that the decision compares (RFC 4271 section 9.1.2.2 e).
        metric: u32,
    },
    /// There is no route to it.
    Unreachable,
}

#[cfg(test)]
mod tests {
    use super::*;
    use bgp_proto::NextHop;

    #[test]
    fn a_far_end_is_read_from_the_attribute_and_without_it_from_communities() {
        let mac = MacAddr([0x66, 0, 0, 0, 0, 1]);
        for addr in [None, Some("2001:db8::1".parse().unwrap())] {
            let far_end = FarEnd { addr, vni: Some(77), mac };
            let mut attrs = AttrSetBuilder::new(NextHop::NONE);
            far_end.name_in(&mut attrs);
            assert_eq!(FarEnd::of(&attrs.build()), Some(far_end));
            attrs.remove(AttrCode::TUNNEL_ENCAP);
            assert_eq!(FarEnd::of(&attrs.build()), Some(FarEnd { addr: None, vni: None, mac }));
            attrs.ext_communities(&[ExtCommunity::router_mac(mac)]);
            assert_eq!(FarEnd::of(&attrs.build()), None, "nothing says that it is VXLAN");
        }
    }
}
