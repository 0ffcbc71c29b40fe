//! Questions about the table: what is known, what is best and why, what a peer is told.
//!
//! Answers borrow the table; a caller who wants many asks for a page at a time, so that answering an operator
//! never holds up routing.

use bgp_proto::{AttrSet, Family, Nlri, PathId};

use core::net::IpAddr;
use std::collections::BTreeMap;

use super::{PeerCounts, Rejected, Table};
use crate::decide::{Decider, Step};
use crate::events::FibRoute;
use crate::group::{GroupKey, Outcome, State, Withheld};
use crate::ids::{GroupId, PeerId};
use crate::policy::Facts;
use crate::rib::nexthop::Link;
use crate::rib::{Candidate, Freshness, PrefixId};

/// A path as an answer.
#[derive(Debug, Clone)]
pub struct PathAnswer<'a> {
    /// The destination.
    pub nlri: Nlri,
    /// Who announced it.
    pub peer: PeerId,
    /// The peer's path identifier.
    pub path_id: PathId,
    /// Its attributes after import policy.
    pub attrs: &'a AttrSet,
    /// Whether it is the best path, and the step that decided.
    pub best: Option<Step>,
    /// Whether the peer has yet to confirm it after a restart.
    pub freshness: Freshness,
    /// When it was announced in this form, seconds since the driver's epoch.
    pub since_secs: u32,
}

/// What is known of one prefix, and why things are as they are.
#[derive(Debug, Clone)]
pub struct Explanation<'a> {
    /// The destination.
    pub nlri: Nlri,
    /// Its paths, each with the step at which it fell; `None` for the best one.
    pub paths: Vec<(PathAnswer<'a>, Option<Step>)>,
    /// What the kernel should have.
    pub fib: Option<&'a FibRoute>,
    /// What each group is told.
    pub groups: Vec<GroupAnswer<'a>>,
}

/// What a group is told of a prefix.
#[derive(Debug, Clone)]
pub struct GroupAnswer<'a> {
    /// The group.
    pub group: GroupId,
    /// What its peers have in common.
    pub key: &'a GroupKey,
    /// Its peers.
    pub members: Vec<PeerId>,
    /// What they are told, but for the path's own source; or why they are not.
    pub told: Result<AttrSet, Withheld>,
    /// Whose path it is.
    pub source: Option<PeerId>,
}

impl Table {
    /// The families of which something was ever known.
    pub fn families(&self) -> impl Iterator<Item = Family> + '_ {
        self.ribs.iter().map(|r| r.family)
    }

    /// Prefixes of a family from `after` on, in table order, with their ids.
    pub fn prefixes(
        &self,
        family: Family,
        after: Option<PrefixId>,
    ) -> impl Iterator<Item = (PrefixId, Nlri)> + '_ {
        let rib = self.find_rib(family).map(|at| &self.ribs[at]);
        rib.into_iter().flat_map(move |rib| rib.ids_after(after).map(move |id| (id, rib.nlri(id))))
    }

    /// The id of a prefix, if anything is known of it.
    pub fn find(&self, family: Family, nlri: &Nlri) -> Option<PrefixId> {
        self.ribs[self.find_rib(family)?].find(nlri)
    }

    /// The candidates of a prefix.
    pub fn paths(&self, family: Family, id: PrefixId) -> impl Iterator<Item = PathAnswer<'_>> + '_ {
        let rib = self.find_rib(family).map(|at| &self.ribs[at]);
        rib.into_iter().flat_map(move |rib| {
            rib.candidates(id).into_iter().map(move |c| self.path_answer(rib.nlri(id), rib.best(id), &c))
        })
    }

    /// What `peer` is told of a prefix: path identifier, attributes, and the path's source.
    pub fn told(
        &self,
        peer: PeerId,
        family: Family,
        id: PrefixId,
    ) -> impl Iterator<Item = (PathId, AttrSet, PeerId)> + '_ {
        let entries = self.group_of(peer, family).map_or(&[][..], |g| g.log.entries(id));
        entries.iter().filter(move |e| e.source() != peer).filter_map(|e| match e.state() {
            State::Live(attrs) => Some((e.path_id(), self.attrs.told(attrs).into_owned(), e.source())),
            State::Tombstone => None,
        })
    }

    /// What is known of a path beside its attributes.
    pub fn facts_of(&self, family: Family, id: PrefixId, path: &PathAnswer<'_>) -> Facts {
        let found = self.find_rib(family).and_then(|at| {
            let mut candidates = self.ribs[at].candidates(id).into_iter();
            let candidate = candidates.find(|c| (c.peer, c.path_id) == (path.peer, path.path_id))?;
            Some((at, candidate.attrs))
        });
        found.map_or_else(Facts::default, |(at, attrs)| self.facts(at, id, path.peer, attrs))
    }

    /// The interior cost of a next hop, if it can be reached.
    pub fn next_hop_cost(&self, addr: IpAddr) -> Option<u32> {
        self.next_hops.cost(addr)
    }

    /// The first step on the way to a next hop.
    pub fn link_of(&self, addr: IpAddr) -> Option<Link> {
        self.next_hops.link(addr)
    }

    /// What the kernel should have for a prefix.
    pub fn fib_route(&self, family: Family, nlri: &Nlri) -> Option<&FibRoute> {
        let rib = &self.ribs[self.find_rib(family)?];
        rib.fib(rib.find(nlri)?)
    }

    /// Why things are as they are for a prefix; `None` if nothing is known of it.
    pub fn explain(&self, family: Family, nlri: &Nlri) -> Option<Explanation<'_>> {
        let at = self.find_rib(family)?;
        let rib = &self.ribs[at];
        let id = rib.find(nlri)?;
        let candidates = rib.candidates(id);
        let contenders: Vec<_> = candidates.iter().map(|c| self.contender(c)).collect();
        let mut decider = Decider::new(self.config.rules);
        decider.decide(&contenders);
        let fell = |i: usize| decider.fallen().iter().find(|(at, _)| *at == i).map(|(_, step)| *step);
        let paths = candidates
            .iter()
            .enumerate()
            .map(|(i, c)| (self.path_answer(rib.nlri(id), rib.best(id), c), fell(i)))
            .collect();
        let groups = self
            .groups
            .values()
            .filter(|g| g.key.family == family)
            .map(|g| {
                let source = rib.best(id).map(|b| b.peer);
                let members = g.log.members().collect();
                GroupAnswer { group: g.id, key: &g.key, members, told: self.told_group(at, id, g.id), source }
            })
            .collect();
        Some(Explanation { nlri: rib.nlri(id), paths, fib: rib.fib(id), groups })
    }

    fn told_group(&self, at: usize, id: PrefixId, group: GroupId) -> Result<AttrSet, Withheld> {
        let rib = &self.ribs[at];
        let (Some(group), Some(best)) = (self.groups.get(&group), rib.best(id)) else {
            return Err(Withheld::NoPath);
        };
        let live = group.log.entries(id).iter().find_map(|e| match e.state() {
            State::Live(attrs) => Some(self.attrs.told(attrs).into_owned()),
            State::Tombstone => None,
        });
        if let Some(attrs) = live {
            return Ok(attrs);
        }
        let export = self.path_out(at, id, best.peer, best.attrs);
        match export.to(&group.key, &self.config.local) {
            Outcome::Withheld(why) => Err(why),
            Outcome::Told(_) | Outcome::Reflected { .. } => Err(Withheld::TooLong),
        }
    }

    /// Why the peer's latest path to `nlri` was not accepted, if that was lately.
    pub fn rejection(&self, peer: PeerId, nlri: &Nlri) -> Option<Rejected> {
        self.peers.get(&peer)?.rejection(nlri)
    }

    /// How many of the peer's paths were not accepted so far, by reason.
    pub fn rejected(&self, peer: PeerId) -> Vec<(Rejected, u64)> {
        self.peers.get(&peer).map(|p| p.rejected().collect()).unwrap_or_default()
    }

    /// The counters of all peers in a family, from one walk over its table.
    pub fn counts(&self, family: Family) -> BTreeMap<PeerId, PeerCounts> {
        let mut all = BTreeMap::new();
        self.count_some(family, None, usize::MAX, &mut all);
        all.remove(&PeerId::LOCAL);
        all
    }

    /// Counts on in `all`, this speaker's own parts included, from `after` over so many prefixes at most, and says
    /// where to go on: `None` when that was all.
    pub fn count_some(
        &self,
        family: Family,
        after: Option<PrefixId>,
        prefixes_max: usize,
        all: &mut BTreeMap<PeerId, PeerCounts>,
    ) -> Option<PrefixId> {
        if after.is_none() {
            for (id, peer) in &self.peers {
                let counts = all.entry(*id).or_default();
                counts.accepted = peer.accepted(family);
                counts.rejected = peer.rejected().map(|(_, n)| n).sum();
                counts.advertised = self.group_of(*id, family).map_or(0, |g| g.log.live() as u32);
            }
        }
        let rib = self.find_rib(family).map(|at| &self.ribs[at])?;
        let mut last = None;
        for (at, id) in rib.ids_after(after).enumerate() {
            if at >= prefixes_max {
                return last;
            }
            last = Some(id);
            for candidate in rib.candidates(id) {
                let is_stale = candidate.freshness != Freshness::Fresh;
                if is_stale || candidate.peer.is_own() {
                    let counts = all.entry(candidate.peer).or_default();
                    counts.stale += u32::from(is_stale);
                    counts.accepted += u32::from(candidate.peer.is_own());
                }
            }
            if let Some(best) = rib.best(id) {
                all.entry(best.peer).or_default().best += 1;
            }
            // A peer's own paths are in its group's log, and it is not told them.
            for group in self.groups.values().filter(|g| g.key.family == family) {
                let own = |e: &&crate::group::Entry| {
                    e.state() != State::Tombstone
                        && self.group_of(e.source(), family).is_some_and(|g| g.id == group.id)
                };
                for entry in group.log.entries(id).iter().filter(own) {
                    let counts = all.entry(entry.source()).or_default();
                    counts.advertised = counts.advertised.saturating_sub(1);
                }
            }
        }
        None
    }

    /// Prefixes and paths known of a family.
    pub fn totals(&self, family: Family) -> (usize, usize) {
        let Some(rib) = self.find_rib(family).map(|at| &self.ribs[at]) else { return (0, 0) };
        rib.ids()
            .map(|id| rib.candidates(id).len())
            .filter(|n| *n > 0)
            .fold((0, 0), |(p, n), paths| (p + 1, n + paths))
    }

    pub(super) fn group_of(&self, peer: PeerId, family: Family) -> Option<&crate::group::Group> {
        let up = self.peers.get(&peer)?.up.as_ref()?;
        let (_, id) = up.groups.iter().find(|(f, _)| *f == family)?;
        self.groups.get(id)
    }

    fn path_answer<'a>(
        &'a self,
        nlri: Nlri,
        best: Option<crate::rib::Best>,
        c: &Candidate,
    ) -> PathAnswer<'a> {
        let best = best.filter(|b| (b.peer, b.path_id) == (c.peer, c.path_id)).map(|b| b.step);
        let attrs = self.attrs.get(c.attrs);
        let (peer, path_id, freshness, since_secs) = (c.peer, c.path_id, c.freshness, c.since_secs);
        PathAnswer { nlri, peer, path_id, attrs, best, freshness, since_secs }
    }
}
