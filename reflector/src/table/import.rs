//! From what a peer said to a candidate: RFC 4271 section 9.1.2, RFC 4456 section 8, RFC 8212, import policy.
//!
//! A path that is not accepted is not kept, and the path that it replaces goes: the peer no longer offers it.
//! Why it was not accepted is counted, and remembered for the last few prefixes.

use bgp_proto::attr::Community;
use bgp_proto::{AttrSet, Family, Nlri, PathId, Prefix};
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use super::peers::Peer;
use super::rejected::Rejected;
use super::{Notice, Origination, Table};
use crate::events::{FarEnd, Naming, RouteChange, Routes};
use crate::group::{Local, PolicyChoice};
use crate::ids::PeerId;
use crate::policy::leak::{self, Leak};
use crate::policy::{Facts, Marks, Stage, Subject, Verdict};
use crate::reflection::{self, PeerKind};
use crate::rib::nexthop::Resolution;
use crate::rib::{AttrId, Candidate, Freshness, said};
use crate::time::Instant;

/// Rank of what a BGP peer announces, before anything else counts.
pub(super) const PREFERENCE_BGP: u16 = 100;
/// Rank of what this speaker originates.
pub(super) const PREFERENCE_STATIC: u16 = 200;
/// Rank of the networks that the node is connected to.
pub(super) const PREFERENCE_DIRECT: u16 = 240;
/// Rank of what somebody else put into the kernel.
pub(super) const PREFERENCE_KERNEL: u16 = 10;

/// What the import policy made of a path.
struct Accepted {
    /// One use of these is the receiver's.
    attrs: AttrId,
    preference: u16,
    naming: Naming,
}

impl Table {
    /// Takes what a peer said. Changes of peers that are not up, or whose session ends because they said too much, are
    /// ignored.
    pub fn routes(&mut self, peer: PeerId, routes: &Routes, now: Instant) {
        if !peer.is_own() && self.peers.get(&peer).is_none_or(|p| p.up.is_none() || p.is_over_limit) {
            return;
        }
        // What does not depend on the prefix is found out once for each attribute set.
        let mut loops: Vec<Option<Result<(), Rejected>>> = vec![None; routes.attrs.len()];
        for change in &routes.changes {
            let Some(index) = change.attrs else {
                self.remove_path(peer, change);
                continue;
            };
            let Some(attrs) = routes.attrs.get(index as usize) else { continue };
            let looked = &mut loops[index as usize];
            let sane = *looked.get_or_insert_with(|| check(self.peers.get(&peer), attrs, &self.config.local));
            let accepted = sane.and_then(|()| self.apply_policy(peer, change, attrs));
            match accepted {
                Ok(accepted) => self.accept_path(peer, change, accepted, now),
                Err(reason) => {
                    self.remove_path(peer, change);
                    if let Some(peer) = self.peers.get_mut(&peer) {
                        peer.note_rejection(&change.nlri, reason);
                    }
                }
            }
        }
    }

    /// The accepted attributes, with one use for the caller.
    fn apply_policy(
        &mut self,
        peer: PeerId,
        change: &RouteChange,
        attrs: &AttrSet,
    ) -> Result<Accepted, Rejected> {
        let Some(p) = self.peers.get(&peer) else {
            let preference = match peer {
                PeerId::KERNEL => PREFERENCE_KERNEL,
                PeerId::DIRECT => PREFERENCE_DIRECT,
                _ => PREFERENCE_STATIC,
            };
            let attrs = self.attrs.intern_said(attrs, said(&change.nlri, change.family));
            return Ok(Accepted { attrs, preference, naming: Naming::Blanket });
        };
        let (edited, naming, marks) = match &p.config.import {
            PolicyChoice::Everything => (None, Naming::Blanket, Marks::default()),
            PolicyChoice::Nothing => return Err(Rejected::NoPolicy),
            PolicyChoice::Policy(policy) => {
                let link = attrs.next_hop().addr().and_then(|addr| self.next_hops.link(addr));
                let subject = Subject {
                    family: change.family,
                    nlri: &change.nlri,
                    attrs,
                    source: p.config.entry,
                    local_asn: p.config.local_asn,
                    stage: Stage::Import,
                    facts: Facts {
                        preference: u32::from(PREFERENCE_BGP),
                        from: Some(p.addr),
                        interface: link.map(|link| link.interface),
                        gateway: link.map(|link| link.gateway),
                        ..Facts::default()
                    },
                    local_addr: p.up.as_ref().and_then(|up| up.own.of(change.family)?.addr()),
                };
                match policy.evaluate(&subject) {
                    Verdict::Reject { .. } => return Err(Rejected::Policy),
                    Verdict::Accept { edited, naming, marks } => (edited, naming, marks),
                }
            }
        };
        if naming == Naming::Blanket && needs_naming(&change.nlri, &self.originations) {
            return Err(Rejected::NotNamed);
        }
        let edited = finish(p, change.family, attrs, edited)?;
        let preference = marks.preference.and_then(|p| u16::try_from(p).ok()).unwrap_or(PREFERENCE_BGP);
        let attrs = edited.as_ref().unwrap_or(attrs);
        let attrs = self.attrs.intern_said(attrs, said(&change.nlri, change.family));
        Ok(Accepted { attrs, preference, naming })
    }

    fn accept_path(
        &mut self,
        peer: PeerId,
        change: &RouteChange,
        Accepted { attrs, preference, naming }: Accepted,
        now: Instant,
    ) {
        let at = self.rib_at(change.family);
        let id = self.ribs[at].intern(&change.nlri);
        let since_secs = u32::try_from(now.as_nanos() / 1_000_000_000).unwrap_or(u32::MAX);
        let known =
            self.ribs[at].candidates(id).into_iter().find(|c| c.peer == peer && c.path_id == change.path_id);
        if let Some(known) = known {
            if (known.attrs, known.preference, known.naming) == (attrs, preference, naming) {
                // Said again: nobody is told, no decision is due (RFC 4271 section 9.2).
                self.attrs.release(attrs);
                self.ribs[at].confirm(id, peer, change.path_id);
                return;
            }
            self.use_next_hop(attrs);
            self.drop_next_hop(known.attrs);
            self.attrs.release(known.attrs);
            if let Some(path) = self.ribs[at].candidates_mut(id).find_mut(peer, change.path_id) {
                (path.attrs, path.freshness, path.since_secs) = (attrs, Freshness::Fresh, since_secs);
                (path.preference, path.naming) = (preference, naming);
            }
            return;
        }
        self.use_next_hop(attrs);
        let (path_id, local_id, freshness) = (change.path_id, PathId(0), Freshness::Fresh);
        let path = Candidate { peer, path_id, local_id, attrs, preference, naming, freshness, since_secs };
        self.ribs[at].add_path(id, path);
        self.askers.moved(peer, change.family);
        let Some(p) = self.peers.get_mut(&peer) else { return };
        if let Some(limit) = p.count_path(change.family) {
            let family = change.family;
            self.pending.notices.push(Notice::PrefixLimit { peer, family, limit });
        }
    }

    fn remove_path(&mut self, peer: PeerId, change: &RouteChange) {
        let Some(at) = self.find_rib(change.family) else { return };
        let Some(id) = self.ribs[at].find(&change.nlri) else { return };
        self.remove_candidates(at, id, |c| c.peer == peer && c.path_id == change.path_id);
    }

    /// Removes a prefix's paths for which `gone` holds; returns how many.
    pub(super) fn remove_candidates(
        &mut self,
        at: usize,
        id: crate::rib::PrefixId,
        gone: impl Fn(&Candidate) -> bool,
    ) -> usize {
        if !self.ribs[at].candidates(id).iter().any(&gone) {
            return 0;
        }
        let family = self.ribs[at].family;
        let mut removed = 0;
        while let Some(path) = self.ribs[at].candidates_mut(id).remove_first(&gone) {
            removed += 1;
            self.drop_next_hop(path.attrs);
            self.attrs.release(path.attrs);
            self.askers.moved(path.peer, family);
            if let Some(peer) = self.peers.get_mut(&path.peer) {
                peer.uncount_path(family);
            }
        }
        removed
    }

    /// The prefix has become this node's own: paths that peers announced before need a rule that names it, which is
    /// looked at when they announce them again.
    pub(super) fn reconsider_own(&mut self, change: &RouteChange) {
        let Some(at) = self.find_rib(change.family) else { return };
        let Some(id) = self.ribs[at].find(&change.nlri) else { return };
        let foreign = |c: &Candidate| !c.peer.is_own();
        let sources: BTreeSet<PeerId> =
            self.ribs[at].candidates(id).iter().filter(|c| foreign(c)).map(|c| c.peer).collect();
        self.remove_candidates(at, id, foreign);
        self.want_refresh(sources, change.family);
    }

    /// A prefix is this node's own no longer: peers whose paths were rejected as such may announce them again.
    pub(super) fn reconsider_foreign(&mut self, family: Family) {
        let turned_away = |p: &Peer| p.rejected().any(|(why, count)| why == Rejected::NotNamed && count > 0);
        let sources: Vec<PeerId> =
            self.peers.iter().filter(|(_, p)| turned_away(p)).map(|(id, _)| *id).collect();
        self.want_refresh(sources, family);
    }

    fn want_refresh(&mut self, peers: impl IntoIterator<Item = PeerId>, family: Family) {
        let carries = |id: &PeerId| {
            let up = self.peers.get(id).and_then(|p| p.up.as_ref());
            up.is_some_and(|up| up.families.contains(family))
        };
        let wanted = peers.into_iter().filter(carries).map(|peer| Notice::RefreshWanted { peer, family });
        self.pending.notices.extend(wanted);
    }

    /// Follows the way to a peer whose import policy looks at ways, for as long as it is up: what it announces first comes before the way
    /// is known, and what was rejected is held nowhere.
    pub(super) fn watch_way(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let is_up = peer.up.is_some();
        let wanted = (is_up && peer.config.import.depends_on_way()).then_some(peer.addr);
        let watched = core::mem::replace(&mut peer.watched, wanted);
        if watched != wanted {
            wanted.into_iter().for_each(|addr| self.next_hops.hold(addr));
            watched.into_iter().for_each(|addr| self.next_hops.release(addr));
        }
    }

    /// Has peers announce their routes again whose import policy looks at ways, where one of these ways is another now.
    pub(super) fn reimport_over(&mut self, moved: &[IpAddr]) {
        let is_moved = |addr: IpAddr| moved.binary_search(&addr).is_ok();
        let watching: BTreeSet<PeerId> =
            self.peers.iter().filter(|(_, p)| p.watched.is_some()).map(|(id, _)| *id).collect();
        if watching.is_empty() {
            return;
        }
        for at in 0..self.ribs.len() {
            let (family, rib) = (self.ribs[at].family, &self.ribs[at]);
            let through = rib.ids().flat_map(|id| rib.candidates(id)).filter(|c| {
                watching.contains(&c.peer) && self.attrs.get(c.attrs).next_hop().addr().is_some_and(is_moved)
            });
            let directly = self.peers.iter().filter(|(_, p)| p.watched.is_some_and(is_moved));
            let affected: BTreeSet<PeerId> =
                through.map(|c| c.peer).chain(directly.map(|(id, _)| *id)).collect();
            self.want_refresh(affected, family);
        }
    }

    fn use_next_hop(&mut self, attrs: AttrId) {
        if self.config.resolution == Resolution::Assumed {
            return;
        }
        if let Some(addr) = self.attrs.get(attrs).next_hop().addr().filter(|a| !a.is_unspecified()) {
            self.next_hops.hold(addr);
        }
    }

    fn drop_next_hop(&mut self, attrs: AttrId) {
        if let Some(addr) = self.attrs.get(attrs).next_hop().addr().filter(|a| !a.is_unspecified()) {
            self.next_hops.release(addr);
        }
    }
}

/// What standards do to a route of an external peer, whatever its policy: RFC 9234 section 5, RFC 8326 section 4, RFC 9012
/// section 11.
fn finish(
    peer: &Peer,
    family: Family,
    attrs: &AttrSet,
    edited: Option<AttrSet>,
) -> Result<Option<AttrSet>, Rejected> {
    if peer.config.kind != PeerKind::External {
        return Ok(edited);
    }
    let Some(up) = &peer.up else { return Ok(edited) };
    let leak = leak::entering(peer.config.role, family, attrs, up.peer_asn);
    if leak == Leak::Stopped {
        return Err(Rejected::RouteLeak);
    }
    let is_leaving = attrs.communities().contains(Community::GRACEFUL_SHUTDOWN);
    let entering = edited.as_ref().unwrap_or(attrs);
    let is_lured = peer.config.tunnels.filters(peer.config.kind, family) && FarEnd::is_named_in(entering);
    if leak == Leak::Passes && !is_leaving && !is_lured {
        return Ok(edited);
    }
    let mut edit = entering.edit();
    if is_lured {
        FarEnd::forget_in(&mut edit, entering);
    }
    if let Leak::Marked(asn) = leak {
        leak::mark(&mut edit, asn);
    }
    if is_leaving {
        edit.local_pref(Some(0));
    }
    Ok(Some(edit.build()))
}

/// What can be said of an attribute set whatever its prefixes.
fn check(peer: Option<&Peer>, attrs: &AttrSet, local: &Local) -> Result<(), Rejected> {
    let Some(peer) = peer else { return Ok(()) };
    let path = attrs.as_path();
    let shown = peer.config.local_asn;
    let own = path.count(local.asn) + if shown == local.asn { 0 } else { path.count(shown) };
    if own > usize::from(peer.config.own_as_max) {
        return Err(Rejected::OwnAsInPath);
    }
    match peer.config.kind {
        // Whether the path begins with the peer's AS, its session has judged (RFC 7606 section 7.2).
        PeerKind::External => {}
        PeerKind::Client | PeerKind::NonClient => {
            if reflection::is_loop(attrs, local.router_id, local.cluster_id) {
                return Err(Rejected::ReflectionLoop);
            }
        }
    }
    let own = peer.up.as_ref().map(|up| &up.own);
    match attrs.next_hop().addr() {
        // RFC 2545 section 3: a link-local address alone means something on the link of the session only.
        Some(addr) if is_link_local(addr) && !is_link_local(peer.addr) => Err(Rejected::BadNextHop),
        Some(addr) if !is_usable(addr) || own.is_some_and(|o| o.contains(addr)) => Err(Rejected::BadNextHop),
        Some(_) | None => Ok(()),
    }
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}

fn is_usable(addr: IpAddr) -> bool {
    !addr.is_unspecified() && !addr.is_multicast() && !addr.is_loopback()
}

/// A default route or a prefix of this node's own needs a rule that names it.
fn needs_naming(nlri: &Nlri, originations: &BTreeMap<Prefix, Origination>) -> bool {
    match nlri {
        Nlri::Prefix(prefix) => prefix.len() == 0 || originations.contains_key(prefix),
        Nlri::Opaque(_) => false,
    }
}
