//! The shared machine: the only place where the rooms meet.
//!
//! What peers say enters through [`Table::routes`], passes import policy into the candidates, and marks prefixes
//! dirty. [`Table::commit`] decides every dirty prefix once, tells the groups, and returns what the daemon must
//! do: views to publish, kernel routes to change, next hops to watch, things to say. Whoever drives the table
//! drains its inbox before committing, so that a burst of changes to one prefix costs one decision and transient
//! best paths are never announced.
//!
//! The table's work per change depends on the number of groups, never on the number of peers.

mod fib;
mod groups;
mod import;
mod interest;
mod peers;
mod query;
mod rejected;
mod stale;

#[cfg(test)]
mod tests;

pub use peers::{Attachment, Excess, OwnAddrs, PeerConfig, PeerCounts, PrefixLimit};
pub use query::{Explanation, GroupAnswer, PathAnswer};
pub use rejected::Rejected;

use bgp_proto::attr::{Community, LargeCommunity, Origin};
use bgp_proto::{AttrSetBuilder, ClusterId, Family, NextHop, Nlri, PathId, Prefix};
use core::net::IpAddr;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decide::{Contender, Decider, Rules};
use crate::events::{FarEnd, FibChange, Reachability, RouteChange, Routes};
use crate::feed::LogView;
use crate::group::{Group, Local, PolicyChoice, Store};
use crate::ids::{GroupId, IfName, PeerId};
use crate::rib::merits::Step;
use crate::rib::nexthop::{Link, Resolution, Tracking};
use crate::rib::{AttrTable, Best, Candidate, NextHops, PrefixId, Rib};
use crate::time::Instant;
use interest::Askers;
use peers::{Peer, Selection};
use stale::Wait;

/// What the table needs to know of its instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This speaker.
    pub local: Local,
    /// Whether next hops are looked up, and kernel routes wanted.
    pub resolution: Resolution,
    /// Next hops of one kernel route, at most.
    pub multipath_max: usize,
    /// What of the table's choice goes into the kernel.
    pub kernel_export: PolicyChoice,
    /// How the best path is decided.
    pub rules: Rules,
}

/// A route that this speaker originates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origination {
    /// The destination.
    pub prefix: Prefix,
    /// Communities it carries.
    pub communities: Vec<Community>,
    /// Large communities it carries.
    pub large_communities: Vec<LargeCommunity>,
    /// LOCAL_PREF, unless the default.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC, if any.
    pub med: Option<u32>,
    /// The VXLAN tunnel that packets to it are to travel in, if any.
    pub vxlan: Option<FarEnd>,
    /// What the kernel should have for the prefix itself.
    pub kernel: OwnRoute,
}

/// What the kernel should have for a prefix of this node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnRoute {
    /// Drop what no more specific route takes.
    Blackhole,
    /// Forward to this neighbour.
    Via(IpAddr),
    /// Nothing of ours.
    None,
}

/// A route that was found in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learned {
    /// Its metric there, of routes that somebody put there.
    pub metric: Option<u32>,
    /// Who put it there (`RTPROT_*`).
    pub protocol: Option<u8>,
    /// The interface that its packets leave by.
    pub interface: Option<IfName>,
    /// The neighbour that takes them.
    pub gateway: Option<IpAddr>,
}

/// What one commit asks the daemon to do.
#[derive(Debug, Default)]
pub struct Commit {
    /// Groups with something new to read.
    pub advanced: Vec<(GroupId, Arc<LogView>)>,
    /// What the kernel should have now.
    pub fib: Vec<FibChange>,
    /// Next hops to watch, or no longer.
    pub tracking: Vec<Tracking>,
    /// Things for the daemon to act on or to say.
    pub notices: Vec<Notice>,
}

/// Something for the daemon to act on or to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The peer announced more prefixes than it may.
    PrefixLimit {
        /// The peer.
        peer: PeerId,
        /// The family.
        family: Family,
        /// The limit, and what follows: a warning, or Cease, subcode 1 (RFC 4486).
        limit: PrefixLimit,
    },
    /// Import policy changed: ask the peer to send its routes again (RFC 2918), or reset a peer that cannot.
    RefreshWanted {
        /// The peer.
        peer: PeerId,
        /// The family.
        family: Family,
    },
    /// A route's attributes do not fit into a message for these peers; they are not told (RFC 4271 section 9.2).
    TooLong {
        /// The group.
        group: GroupId,
        /// The destination.
        nlri: Nlri,
    },
    /// The peer reads so slowly that its group would have to remember ever more for it; it is no longer waited for.
    /// Cease, subcode 8 (RFC 4486).
    TooSlow {
        /// The peer.
        peer: PeerId,
    },
    /// The peer asks for other VPN routes than before (RFC 4684): attach what [`Table::follow_interest`] returns.
    InterestChanged {
        /// The peer.
        peer: PeerId,
    },
    /// The peer was away, or silent, for too long; its stale routes went.
    StaleExpired {
        /// The peer.
        peer: PeerId,
        /// How many routes went.
        routes: usize,
    },
}

/// The shared machine.
#[derive(Debug)]
pub struct Table {
    config: Config,
    attrs: AttrTable,
    ribs: Vec<Rib>,
    next_hops: NextHops,
    peers: BTreeMap<PeerId, Peer>,
    /// Peers with routes that they have yet to confirm.
    stale: BTreeMap<PeerId, Vec<Wait>>,
    groups: BTreeMap<GroupId, Group>,
    groups_made: u32,
    /// Peers that ask for VPN routes.
    askers: Askers,
    originations: BTreeMap<Prefix, Origination>,
    learned: BTreeMap<(PeerId, Prefix), Learned>,
    selection: Selection,
    moved_next_hops: Vec<IpAddr>,
    moved_links: Vec<IpAddr>,
    pending: Commit,
    decider: Decider,
    contenders: Vec<Contender>,
}

impl Table {
    /// An empty table.
    pub fn new(config: Config) -> Table {
        Table {
            next_hops: NextHops::new(config.resolution),
            decider: Decider::new(config.rules),
            config,
            attrs: AttrTable::default(),
            ribs: Vec::new(),
            peers: BTreeMap::new(),
            stale: BTreeMap::new(),
            groups: BTreeMap::new(),
            groups_made: 0,
            askers: Askers::default(),
            originations: BTreeMap::new(),
            learned: BTreeMap::new(),
            selection: Selection::default(),
            moved_next_hops: Vec::new(),
            moved_links: Vec::new(),
            pending: Commit::default(),
            contenders: Vec::new(),
        }
    }

    /// The instance's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Originates a route, or changes one.
    pub fn originate(&mut self, origination: Origination, now: Instant) {
        let next_hop = match origination.kernel {
            OwnRoute::Via(addr) => NextHop::from(addr),
            OwnRoute::Blackhole | OwnRoute::None => NextHop::NONE,
        };
        let mut attrs = AttrSetBuilder::new(next_hop);
        attrs.origin(Origin::Igp).as_path(&[]).communities(&origination.communities);
        attrs.large_communities(&origination.large_communities).local_pref(origination.local_pref);
        attrs.med(origination.med);
        if let Some(far_end) = &origination.vxlan {
            far_end.name_in(&mut attrs);
        }
        let change = RouteChange {
            family: origination.prefix.family(),
            path_id: PathId(0),
            nlri: Nlri::Prefix(origination.prefix),
            attrs: Some(0),
        };
        match self.originations.insert(origination.prefix, origination.clone()) {
            None => self.reconsider_own(&change),
            Some(before) if before.kernel != origination.kernel => {
                if let Some(at) = self.find_rib(change.family)
                    && let Some(id) = self.ribs[at].find(&change.nlri)
                {
                    self.ribs[at].mark(id);
                }
            }
            Some(_) => {}
        }
        self.routes(PeerId::LOCAL, &Routes { attrs: vec![attrs.build()], changes: vec![change] }, now);
    }

    /// Takes back a route of this speaker's own.
    pub fn retract(&mut self, prefix: Prefix, now: Instant) {
        if self.originations.remove(&prefix).is_none() {
            return;
        }
        let nlri = Nlri::Prefix(prefix);
        let change = RouteChange { family: prefix.family(), path_id: PathId(0), nlri, attrs: None };
        self.reconsider_foreign(change.family);
        self.routes(PeerId::LOCAL, &Routes { attrs: Vec::new(), changes: vec![change] }, now);
    }

    /// A route is in the kernel, or no longer: `source` is [`PeerId::KERNEL`] or [`PeerId::DIRECT`].
    pub fn learn(&mut self, source: PeerId, prefix: Prefix, learned: Option<Learned>, now: Instant) {
        debug_assert!(source == PeerId::KERNEL || source == PeerId::DIRECT);
        let before = match learned {
            Some(learned) => self.learned.insert((source, prefix), learned),
            None => self.learned.remove(&(source, prefix)),
        };
        if before == learned {
            return;
        }
        let nlri = Nlri::Prefix(prefix);
        let change = RouteChange {
            family: prefix.family(),
            path_id: PathId(0),
            nlri,
            attrs: learned.is_some().then_some(0),
        };
        if before.is_some() && learned.is_some() {
            // The path stays, and what is known of it beside its attributes does not.
            self.routes(
                source,
                &Routes { attrs: Vec::new(), changes: vec![RouteChange { attrs: None, ..change.clone() }] },
                now,
            );
            if let Some(at) = self.find_rib(change.family)
                && let Some(id) = self.ribs[at].find(&change.nlri)
            {
                self.retell(at, id);
            }
        }
        let attrs = AttrSetBuilder::new(NextHop::NONE).origin(Origin::Igp).as_path(&[]).build();
        self.routes(source, &Routes { attrs: vec![attrs], changes: vec![change] }, now);
    }

    /// Has the groups and the kernel told of a prefix again though its best path may be the same.
    fn retell(&mut self, at: usize, id: PrefixId) {
        if let Some(best) = self.ribs[at].best(id) {
            self.ribs[at].set_best(id, None);
            self.attrs.release(best.attrs);
        }
        self.ribs[at].mark(id);
    }

    /// Another policy at the kernel's door: every prefix is looked at again.
    pub fn set_kernel_export(&mut self, policy: PolicyChoice) {
        if self.config.kernel_export == policy {
            return;
        }
        self.config.kernel_export = policy;
        for rib in &mut self.ribs {
            let ids: Vec<PrefixId> = rib.ids().collect();
            ids.into_iter().for_each(|id| rib.mark(id));
        }
    }

    /// Tells the first step on the way to a next hop.
    pub fn next_hop_link(&mut self, addr: IpAddr, link: Option<Link>) {
        if self.next_hops.set_link(addr, link) {
            self.moved_links.push(addr);
        }
    }

    /// Tells what is known of the way to a next hop.
    pub fn next_hop(&mut self, addr: IpAddr, reachability: Reachability) {
        if self.next_hops.set(addr, reachability) {
            self.moved_next_hops.push(addr);
        }
    }

    /// Renames the cluster (RFC 4456 section 7): whatever was reflected is told again.
    pub fn set_cluster(&mut self, cluster_id: ClusterId) {
        self.config.local.cluster_id = cluster_id;
        for at in 0..self.ribs.len() {
            let ids: Vec<PrefixId> = self.ribs[at].ids().collect();
            ids.into_iter().for_each(|id| self.retell(at, id));
        }
    }

    /// Decides by other rules from now on: every prefix is looked at again.
    pub fn set_rules(&mut self, rules: Rules) {
        self.config.rules = rules;
        self.decider = Decider::new(rules);
        for rib in &mut self.ribs {
            let ids: Vec<PrefixId> = rib.ids().collect();
            ids.into_iter().for_each(|id| rib.mark(id));
        }
    }

    /// Tidies the groups' logs; for a quiet moment. Returns the groups with a new view.
    pub fn tidy(&mut self) -> Vec<(GroupId, Arc<LogView>)> {
        let mut advanced = Vec::new();
        for group in self.groups.values_mut() {
            let Ok(at) = self.ribs.binary_search_by_key(&group.key.family, |r| r.family) else { continue };
            if group.log.tidy(&mut Store { attrs: &mut self.attrs, rib: &mut self.ribs[at] }) {
                advanced.push((group.id, group.log.view()));
            }
        }
        advanced
    }

    /// Whether a next hop was asked for and nothing is known of it yet, so that more kernel routes may be wanted soon.
    pub fn has_unknown_next_hops(&self) -> bool {
        self.next_hops.has_unknown()
    }

    /// Decides every dirty prefix and returns what follows from it.
    pub fn commit(&mut self) -> Commit {
        self.mark_moved_next_hops();
        self.retell_moved_links();
        for at in 0..self.ribs.len() {
            let dirty = self.ribs[at].take_dirty();
            for id in &dirty {
                self.settle(at, *id);
            }
            self.ribs[at].reuse_dirty(dirty);
        }
        self.seal_groups();
        self.note_interest();
        self.pending.tracking.extend(self.next_hops.take_asked());
        core::mem::take(&mut self.pending)
    }

    /// Marks the prefixes that have a path through a next hop whose reachability changed.
    fn mark_moved_next_hops(&mut self) {
        let mut moved = core::mem::take(&mut self.moved_next_hops);
        if moved.is_empty() {
            return;
        }
        moved.sort_unstable();
        moved.dedup();
        let attrs = &self.attrs;
        for rib in &mut self.ribs {
            let through = |id: &PrefixId| {
                let mut paths = rib.candidates(*id).into_iter();
                paths.any(|c| {
                    attrs.get(c.attrs).next_hop().addr().is_some_and(|a| moved.binary_search(&a).is_ok())
                })
            };
            let affected: Vec<PrefixId> = rib.ids().filter(through).collect();
            for id in affected {
                rib.mark(id);
            }
        }
    }

    /// Has those prefixes told again whose best path begins with another step: one pass for all that moved together.
    fn retell_moved_links(&mut self) {
        let mut moved = core::mem::take(&mut self.moved_links);
        if moved.is_empty() {
            return;
        }
        moved.sort_unstable();
        self.reimport_over(&moved);
        for at in 0..self.ribs.len() {
            let (attrs, rib) = (&self.attrs, &self.ribs[at]);
            let is_through = |id: &PrefixId| {
                let next_hop = rib.best(*id).and_then(|best| attrs.get(best.attrs).next_hop().addr());
                next_hop.is_some_and(|addr| moved.binary_search(&addr).is_ok())
            };
            let ids: Vec<PrefixId> = rib.ids().filter(is_through).collect();
            ids.into_iter().for_each(|id| self.retell(at, id));
        }
    }

    /// Decides one prefix, then tells the kernel's side and the groups.
    fn settle(&mut self, at: usize, id: PrefixId) {
        // Groups let go of the prefix as they forget it; it must outlive the last of them.
        self.ribs[at].hold(id);
        let best = self.decide(at, id);
        let before = self.ribs[at].best(id);
        if let Some(best) = best {
            self.attrs.hold(best.attrs);
        }
        self.ribs[at].set_best(id, best);
        self.settle_fib(at, id);
        let is_same_path = same_path(before, best);
        self.tell_groups(at, id, is_same_path);
        if let Some(before) = before {
            self.attrs.release(before.attrs);
        }
        self.ribs[at].unhold(id);
    }

    fn decide(&mut self, at: usize, id: PrefixId) -> Option<Best> {
        if let ([only], Resolution::Assumed) = (&*self.ribs[at].candidates(id), self.config.resolution) {
            let Candidate { peer, path_id, attrs, .. } = *only;
            return Some(Best { peer, path_id, attrs, step: Step::OnlyPath });
        }
        let mut contenders = core::mem::take(&mut self.contenders);
        contenders.clear();
        let paths = self.ribs[at].candidates(id);
        contenders.extend(paths.iter().map(|c| self.contender(c)));
        let decision = self.decider.decide(&contenders);
        self.contenders = contenders;
        let decision = decision?;
        let paths = self.ribs[at].candidates(id);
        let won = paths.get(decision.best)?;
        Some(Best { peer: won.peer, path_id: won.path_id, attrs: won.attrs, step: decision.step })
    }

    /// The family's table, made if need be.
    fn rib_at(&mut self, family: Family) -> usize {
        match self.ribs.binary_search_by_key(&family, |r| r.family) {
            Ok(at) => at,
            Err(at) => {
                self.ribs.insert(at, Rib::new(family));
                at
            }
        }
    }

    fn find_rib(&self, family: Family) -> Option<usize> {
        self.ribs.binary_search_by_key(&family, |r| r.family).ok()
    }
}

fn same_path(before: Option<Best>, after: Option<Best>) -> bool {
    match (before, after) {
        (Some(a), Some(b)) => (a.peer, a.path_id, a.attrs) == (b.peer, b.path_id, b.attrs),
        // Without a path before, as after `retell`, groups may still have been told one.
        (None, _) | (Some(_), None) => false,
    }
}
