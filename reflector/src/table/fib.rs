//! The routes that the kernel should have: the multipath set of the best path's prefix.

use bgp_proto::{FamilySet, Nlri, Prefix};

use super::{OwnRoute, Table};
use crate::decide::{Contender, Source};
use crate::events::{FarEnd, FibChange, FibRoute, Hop};
use crate::ids::PeerId;
use crate::limits::MULTIPATH_MAX;
use crate::rib::nexthop::Resolution;
use crate::rib::{Candidate, PrefixId};

use core::net::{IpAddr, Ipv4Addr};

/// The weight of the widest link: a number that most small ratios divide.
const WEIGHT_TOP: f32 = 240.0;

impl Table {
    /// What the decision knows of a candidate.
    pub(super) fn contender(&self, candidate: &Candidate) -> Contender {
        let merits = *self.attrs.merits(candidate.attrs);
        let path_id = candidate.path_id;
        let Some(peer) = self.peers.get(&candidate.peer) else {
            return Contender {
                source: Source::Local,
                interior_cost: (candidate.peer == PeerId::LOCAL).then_some(0),
                merits,
                router_id: self.config.local.router_id,
                peer_addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                path_id,
            };
        };
        let next_hop = self.attrs.get(candidate.attrs).next_hop().addr();
        Contender {
            source: peer.source(),
            interior_cost: next_hop.map_or(Some(0), |addr| self.next_hops.cost(addr)),
            merits,
            router_id: peer.router_id,
            peer_addr: peer.addr,
            path_id,
        }
    }

    /// Compares what the kernel should have for a prefix with what it was told, right after its decision.
    pub(super) fn settle_fib(&mut self, at: usize, id: PrefixId) {
        if self.config.resolution == Resolution::Assumed || !FamilySet::UNICAST.contains(self.ribs[at].family)
        {
            return;
        }
        let Nlri::Prefix(prefix) = *self.ribs[at].nlri(id) else { return };
        let route = self.wanted_route(at, id, &prefix);
        if self.ribs[at].fib(id) == route.as_ref() {
            return;
        }
        self.ribs[at].set_fib(id, route.clone());
        self.pending.fib.push(FibChange { prefix, route });
    }

    fn wanted_route(&self, at: usize, id: PrefixId, prefix: &Prefix) -> Option<FibRoute> {
        let best = self.ribs[at].best(id)?;
        if best.peer == PeerId::LOCAL {
            return match self.originations.get(prefix)?.kernel {
                OwnRoute::Blackhole => Some(FibRoute::Blackhole),
                OwnRoute::None => None,
            };
        }
        let max = self.config.multipath_max.clamp(1, MULTIPATH_MAX);
        let candidates = self.ribs[at].candidates(id);
        let equals = self.decider.multipath().iter().filter_map(|equal| candidates.get(*equal));
        let mut hops: Vec<(Hop, Option<f32>)> = Vec::new();
        for attrs in std::iter::once(best.attrs).chain(equals.map(|candidate| candidate.attrs)) {
            let attrs = self.attrs.get(attrs);
            let Some(addr) = attrs.next_hop().addr() else { continue };
            if hops.len() < max && hops.iter().all(|(hop, _)| hop.addr != addr) {
                let bandwidth = attrs.ext_communities().iter().find_map(|c| c.as_link_bandwidth());
                hops.push((Hop { addr, weight: 1, vxlan: FarEnd::of(attrs) }, bandwidth));
            }
        }
        let hops = weighed(hops);
        (!hops.is_empty()).then_some(FibRoute::Via(hops))
    }

    /// Everything the kernel should have, for a daemon that starts over with its kernel.
    pub fn fib_all(&self) -> Vec<FibChange> {
        let mut all = Vec::new();
        for rib in &self.ribs {
            for id in rib.ids() {
                if let (Nlri::Prefix(prefix), Some(route)) = (rib.nlri(id), rib.fib(id)) {
                    all.push(FibChange { prefix: *prefix, route: Some(route.clone()) });
                }
            }
        }
        all
    }
}

/// The next hops in order. Their weights are in proportion to the bandwidths of the links if all are known, and equal otherwise
/// (draft-ietf-idr-link-bandwidth section 3).
fn weighed(hops: Vec<(Hop, Option<f32>)>) -> Vec<Hop> {
    let known: Option<Vec<f32>> = hops.iter().map(|(_, bandwidth)| *bandwidth).collect();
    let top = known.filter(|all| all.len() > 1).and_then(|all| all.into_iter().reduce(f32::max));
    let weight = |bandwidth: Option<f32>| match (top, bandwidth) {
        // In range: at least 0, at most `WEIGHT_TOP`.
        (Some(top), Some(bandwidth)) => ((bandwidth / top * WEIGHT_TOP).round() as u8).max(1),
        _ => 1,
    };
    let mut hops: Vec<Hop> =
        hops.into_iter().map(|(hop, bandwidth)| Hop { weight: weight(bandwidth), ..hop }).collect();
    hops.sort_unstable();
    hops
}
