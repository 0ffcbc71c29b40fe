//! The routes that the kernel should have: the multipath set of the best path's prefix.

use bgp_proto::{FamilySet, Nlri, Prefix};

use super::{Learned, OwnRoute, Table};
use crate::decide::{Contender, Multipath, Source};
use crate::events::{FarEnd, FibChange, FibRoute, Hop, Naming};
use crate::group::PolicyChoice;
use crate::ids::{EntryId, PeerId};
use crate::limits::MULTIPATH_MAX;
use crate::policy::program::Provenance;
use crate::policy::{Facts, Stage, Subject, Tunnel, Verdict};
use crate::rib::nexthop::Resolution;
use crate::rib::{AttrId, Candidate, PrefixId, Wanted};

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
                preference: candidate.preference,
                interior_cost: candidate.peer.is_own().then_some(0),
                merits,
                router_id: self.config.local.router_id,
                peer_addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                path_id,
                since_secs: candidate.since_secs,
            };
        };
        let next_hop = self.attrs.get(candidate.attrs).next_hop().addr();
        Contender {
            source: peer.source(),
            preference: candidate.preference,
            interior_cost: next_hop.map_or(Some(0), |addr| self.next_hops.cost(addr)),
            merits,
            router_id: peer.router_id,
            peer_addr: peer.addr,
            path_id,
            since_secs: candidate.since_secs,
        }
    }

    /// Compares what the kernel should have for a prefix with what it was told, right after its decision.
    pub(super) fn settle_fib(&mut self, at: usize, id: PrefixId) {
        if self.config.resolution == Resolution::Assumed || !FamilySet::UNICAST.contains(self.ribs[at].family)
        {
            return;
        }
        let Nlri::Prefix(prefix) = self.ribs[at].nlri(id) else { return };
        let wanted = self.wanted(at, id, &prefix);
        if self.ribs[at].wanted(id) == wanted.as_ref() {
            return;
        }
        self.pending.fib.push(change(prefix, wanted.as_ref()));
        self.ribs[at].set_fib(id, wanted);
    }

    /// The route of a prefix, if the kernel's policy lets it through, and where that puts it.
    fn wanted(&self, at: usize, id: PrefixId, prefix: &Prefix) -> Option<Wanted> {
        let PolicyChoice::Policy(policy) = &self.config.kernel_export else {
            let (route, naming) = self.wanted_route(at, id, prefix)?;
            return Some(Wanted { route, metric: None, naming });
        };
        let best = self.ribs[at].best(id)?;
        let subject = Subject {
            family: prefix.family(),
            nlri: &self.ribs[at].nlri(id),
            attrs: self.attrs.get(best.attrs),
            source: self.peers.get(&best.peer).map_or(EntryId::LOCAL, |p| p.config.entry),
            local_asn: self.config.local.asn,
            local_addr: None,
            stage: Stage::ToKernel,
            facts: self.facts(at, id, best.peer, best.attrs),
        };
        let Verdict::Accept { marks, .. } = policy.evaluate(&subject) else { return None };
        let (mut route, naming) = self.wanted_route(at, id, prefix)?;
        if let (FibRoute::Via(hops), Some(Tunnel::Device(device))) = (&mut route, marks.tunnel) {
            hops.iter_mut().for_each(|hop| hop.device = Some(device));
        }
        // A blackhole has no metric unless it is given one: the kernel's default.
        let metric = marks.metric.or(Some(0));
        Some(Wanted { route, metric, naming })
    }

    /// What is known of a path beside its attributes.
    pub(super) fn facts(&self, at: usize, id: PrefixId, source: PeerId, attrs: AttrId) -> Facts {
        let found = self.ribs[at].candidates(id).into_iter().find(|c| c.peer == source && c.attrs == attrs);
        let preference = u32::from(found.map_or(0, |c| c.preference));
        let (provenance, found) = match source {
            PeerId::LOCAL => {
                let via = self.attrs.get(attrs).next_hop().addr();
                let interface = via.and_then(|a| self.next_hops.link(a)).map(|l| l.interface);
                let provenance = Provenance::Static;
                return Facts { provenance, preference, interface, gateway: via, ..Facts::default() };
            }
            PeerId::KERNEL => (Provenance::Inherited, self.learned(at, id, source)),
            PeerId::DIRECT => (Provenance::Device, self.learned(at, id, source)),
            _ => {
                let link = self.attrs.get(attrs).next_hop().addr().and_then(|a| self.next_hops.link(a));
                return Facts {
                    provenance: Provenance::Bgp,
                    preference,
                    interface: link.map(|l| l.interface),
                    gateway: link.map(|l| l.gateway),
                    from: self.peers.get(&source).map(|p| p.addr),
                    ..Facts::default()
                };
            }
        };
        Facts {
            provenance,
            preference,
            metric: found.and_then(|l| l.metric),
            kernel_source: found.and_then(|l| l.protocol),
            interface: found.and_then(|l| l.interface),
            gateway: found.and_then(|l| l.gateway),
            from: None,
        }
    }

    /// What was found in the kernel for a prefix.
    pub fn learned(&self, at: usize, id: PrefixId, source: PeerId) -> Option<&Learned> {
        let Nlri::Prefix(prefix) = self.ribs[at].nlri(id) else { return None };
        self.learned.get(&(source, prefix))
    }

    /// The route of a prefix, and how the import policies of its peers came to accept it.
    fn wanted_route(&self, at: usize, id: PrefixId, prefix: &Prefix) -> Option<(FibRoute, Naming)> {
        let best = self.ribs[at].best(id)?;
        if best.peer == PeerId::LOCAL {
            let route = match self.originations.get(prefix)?.kernel {
                OwnRoute::Blackhole => FibRoute::Blackhole,
                OwnRoute::Via(addr) => {
                    FibRoute::Via(vec![Hop { addr, weight: 1, vxlan: None, device: None }])
                }
                OwnRoute::None => return None,
            };
            return Some((route, Naming::Blanket));
        }
        if best.peer.is_own() {
            // The kernel has it.
            return None;
        }
        let max = self.config.multipath_max.clamp(1, MULTIPATH_MAX);
        let candidates = self.ribs[at].candidates(id);
        let won = candidates.iter().find(|c| (c.peer, c.path_id) == (best.peer, best.path_id));
        let naming = won.map_or(Naming::Blanket, |won| won.naming);
        let same_path = self.config.rules.multipath == Multipath::SamePath;
        let way = self.attrs.get(best.attrs).as_path();
        let equals = self.decider.multipath().iter().filter_map(|equal| candidates.get(*equal));
        // What a policy let through by its name alone is not shared with peers that have no such policy.
        let equals = equals.filter(|c| naming != Naming::Exact || c.naming == naming);
        let equals = equals.filter(|c| !same_path || self.attrs.get(c.attrs).as_path() == way);
        let mut hops: Vec<(Hop, Option<f32>)> = Vec::new();
        for attrs in std::iter::once(best.attrs).chain(equals.map(|candidate| candidate.attrs)) {
            let attrs = self.attrs.get(attrs);
            let Some(addr) = attrs.next_hop().addr() else { continue };
            if hops.len() < max && hops.iter().all(|(hop, _)| hop.addr != addr) {
                let bandwidth = attrs.ext_communities().iter().find_map(|c| c.as_link_bandwidth());
                hops.push((Hop { addr, weight: 1, vxlan: FarEnd::of(attrs), device: None }, bandwidth));
            }
        }
        let hops = weighed(hops);
        (!hops.is_empty()).then_some((FibRoute::Via(hops), naming))
    }

    /// Everything the kernel should have, for a daemon that starts over with its kernel.
    pub fn fib_all(&self) -> Vec<FibChange> {
        let mut all = Vec::new();
        for rib in &self.ribs {
            for id in rib.ids() {
                if let (Nlri::Prefix(prefix), Some(wanted)) = (rib.nlri(id), rib.wanted(id)) {
                    all.push(change(prefix, Some(wanted)));
                }
            }
        }
        all
    }
}

fn change(prefix: Prefix, wanted: Option<&Wanted>) -> FibChange {
    FibChange {
        prefix,
        route: wanted.map(|wanted| wanted.route.clone()),
        metric: wanted.and_then(|wanted| wanted.metric),
        naming: wanted.map_or(Naming::Blanket, |wanted| wanted.naming),
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
