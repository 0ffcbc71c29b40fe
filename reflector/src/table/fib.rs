//! The routes that the kernel should have: the multipath set of the best path's prefix.

use bgp_proto::{FamilySet, Nlri, Prefix};

use super::{OwnRoute, Table};
use crate::decide::{Contender, Source};
use crate::events::{FibChange, FibRoute, Hop};
use crate::ids::PeerId;
use crate::limits::MULTIPATH_MAX;
use crate::rib::nexthop::Resolution;
use crate::rib::{Candidate, PrefixId};

use core::net::{IpAddr, Ipv4Addr};

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
        let mut hops: Vec<Hop> = Vec::new();
        let add = |hops: &mut Vec<Hop>, addr: Option<IpAddr>| {
            if let Some(addr) = addr.filter(|a| hops.iter().all(|h| h.addr != *a)) {
                hops.push(Hop { addr, weight: 1 });
            }
        };
        add(&mut hops, self.attrs.get(best.attrs).next_hop().addr());
        for equal in self.decider.multipath() {
            if hops.len() >= max {
                break;
            }
            let attrs = candidates.get(*equal).map(|c| self.attrs.get(c.attrs));
            add(&mut hops, attrs.and_then(|a| a.next_hop().addr()));
        }
        hops.sort_unstable();
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
