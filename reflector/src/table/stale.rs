//! Routes that outlive their session, and how long.
//!
//! A session that ends with retention leaves its routes stale (RFC 4724 section 4.2): used and told like any others.
//! Each family of the peer then waits by itself, in one of three ways:
//!
//! ```text
//!              session ends                  restart time over, with RFC 9494
//!   (nothing) --------------> Away ------------------------------------> LongLived
//!                              |  peer is back                              |
//!                              v                                            |  End-of-RIB, or time over:
//!                             Back --------------------------------------> (swept)
//!                                   End-of-RIB, or stale-path time over
//! ```
//!
//! A path that becomes long-lived stale is marked with LLGR_STALE right in the table (RFC 9494 section 4.3), so that the
//! decision and every group see it as they see one that came marked; a path that carries NO_LLGR goes instead. When the
//! peer says the path again, it replaces the marked one, so the mark goes without being remembered.
//!
//! The clock of a long-lived wait is never set back: not when the peer is back, and not when it is lost again before
//! End-of-RIB.

use bgp_proto::attr::Community;
use bgp_proto::{Family, FamilySet};

use super::{Notice, Table};
use crate::events::{Negotiated, Retention};
use crate::ids::PeerId;
use crate::rib::{AttrId, Candidate, Freshness, PrefixId};
use crate::time::{Duration, Instant};

/// What the stale routes of one family of a peer wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    family: Family,
    phase: Phase,
    /// When they go, or when the next phase begins.
    until: Instant,
    /// How long they may wait after the restart time; zero: not at all.
    long_lived: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The peer, within its restart time.
    Away,
    /// The End-of-RIB of a peer that is back.
    Back,
    /// The peer or its End-of-RIB, as a last resort (RFC 9494).
    LongLived,
}

impl Table {
    /// The peer's session is over.
    pub fn peer_down(&mut self, id: PeerId, retention: Retention, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(up) = peer.up.take() else { return self.forget_stale(id) };
        self.watch_way(id);
        self.askers.forget(id);
        let (restart_time, kept) = match retention {
            Retention::Drop => (Duration::ZERO, FamilySet::EMPTY),
            Retention::Stale { restart_time, families } => (restart_time, families),
        };
        for (_, group) in &up.groups {
            self.leave_group(id, *group);
        }
        let before = self.stale.remove(&id).unwrap_or_default();
        for at in 0..self.ribs.len() {
            let family = self.ribs[at].family;
            if !kept.contains(family) && self.peers.get(&id).is_some_and(|p| p.accepted(family) > 0) {
                self.remove_paths(at, |c_peer, _| c_peer == id);
            }
        }
        let mut waits = Vec::new();
        for family in kept.iter() {
            let long_lived = up.long_lived.time(family).unwrap_or(Duration::ZERO);
            let running = before.iter().find(|w| w.family == family && w.phase == Phase::LongLived);
            if let Some(running) = running {
                // RFC 9494 section 4.2: the clock runs on. What was said meanwhile is no better off.
                waits.push(*running);
                self.make_stale(id, family);
                self.make_long_lived(id, family);
                continue;
            }
            // What is stale already did not survive the last restart (RFC 4724 section 4.2).
            self.sweep(id, family);
            self.make_stale(id, family);
            // RFC 9494 section 4.2: a family that only that capability lists has no restart time.
            let restart_time = if up.restarts.contains(family) { restart_time } else { Duration::ZERO };
            waits.push(Wait { family, phase: Phase::Away, until: now + restart_time, long_lived });
        }
        self.keep_waits(id, waits);
        self.timeout_of(id, now);
    }

    /// Drops what is stale of a peer that is gone for good.
    fn forget_stale(&mut self, id: PeerId) {
        for wait in self.stale.remove(&id).unwrap_or_default() {
            self.sweep(id, wait.family);
        }
    }

    /// The peer is back. Stale routes of a family that it did not keep forwarding for go at once (RFC 4724 section 4.2,
    /// RFC 9494 section 4.2); the others wait for End-of-RIB.
    pub(super) fn peer_back(&mut self, id: PeerId, negotiated: &Negotiated, now: Instant) {
        let Some(waits) = self.stale.remove(&id) else { return };
        let stale_path_time = self.peers.get(&id).map_or(Duration::ZERO, |peer| peer.config.stale_path_time);
        let restart = negotiated.restart.map_or(FamilySet::EMPTY, |r| r.forwarding.intersection(r.families));
        let mut left = Vec::new();
        for mut wait in waits {
            let kept = match wait.phase {
                Phase::Away | Phase::Back => restart,
                Phase::LongLived => negotiated.long_lived.forwarding,
            };
            if !kept.contains(wait.family) || !negotiated.families.contains(wait.family) {
                self.sweep(id, wait.family);
                continue;
            }
            if wait.phase != Phase::LongLived {
                (wait.phase, wait.until) = (Phase::Back, now + stale_path_time);
            }
            left.push(wait);
        }
        self.keep_waits(id, left);
    }

    /// Only peers that have something to wait for are remembered.
    fn keep_waits(&mut self, id: PeerId, waits: Vec<Wait>) {
        if waits.is_empty() {
            self.stale.remove(&id);
        } else {
            self.stale.insert(id, waits);
        }
    }

    /// The peer said all it has to say of `family` (RFC 4724 section 2): what it did not repeat goes.
    pub fn end_of_rib(&mut self, id: PeerId, family: Family) {
        self.askers.ended(id, family);
        let Some(mut waits) = self.stale.remove(&id) else { return };
        let before = waits.len();
        waits.retain(|wait| wait.family != family);
        let is_over = waits.len() < before;
        self.keep_waits(id, waits);
        if is_over {
            self.sweep(id, family);
        }
    }

    /// The peer begins to say everything of `family` again (RFC 7313 section 4).
    pub fn refresh_begun(&mut self, id: PeerId, family: Family) {
        self.make_stale(id, family);
    }

    /// It is done: what it did not repeat goes.
    pub fn refresh_ended(&mut self, id: PeerId, family: Family) {
        self.sweep(id, family);
    }

    /// Whether the peer has routes that wait for it to come back, or to confirm them.
    pub fn awaits(&self, id: PeerId) -> bool {
        self.stale.contains_key(&id)
    }

    /// When [`Table::timeout`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let stale = self.stale.values().flatten().map(|wait| wait.until);
        stale.chain(self.askers.deadline()).min()
    }

    /// Drops stale routes whose time is over, lets others become the last resort, and waits no longer for peers that do
    /// not say what they ask for.
    pub fn timeout(&mut self, now: Instant) {
        self.askers.timeout(now);
        let is_due = |waits: &Vec<Wait>| waits.iter().any(|wait| wait.until <= now);
        let due: Vec<PeerId> = self.stale.iter().filter(|(_, w)| is_due(w)).map(|(id, _)| *id).collect();
        for id in due {
            self.timeout_of(id, now);
        }
    }

    fn timeout_of(&mut self, id: PeerId, now: Instant) {
        let Some(waits) = self.stale.remove(&id) else { return };
        let (mut left, mut gone) = (Vec::new(), None);
        for mut wait in waits {
            if wait.until > now {
                left.push(wait);
            } else if wait.phase == Phase::Away && !wait.long_lived.is_zero() {
                // RFC 9494 section 4.2: the time counts from the end of the restart time.
                (wait.phase, wait.until) = (Phase::LongLived, wait.until + wait.long_lived);
                self.make_long_lived(id, wait.family);
                left.push(wait);
            } else {
                *gone.get_or_insert(0) += self.sweep(id, wait.family);
            }
        }
        self.keep_waits(id, left);
        if let Some(routes) = gone {
            self.pending.notices.push(Notice::StaleExpired { peer: id, routes });
        }
    }

    fn make_stale(&mut self, id: PeerId, family: Family) {
        let Some(at) = self.find_rib(family) else { return };
        for prefix in self.prefixes_of(id, at) {
            self.ribs[at].make_stale(prefix, id);
        }
    }

    /// RFC 9494 section 4.2: NO_LLGR goes, everything else that is stale is marked LLGR_STALE.
    fn make_long_lived(&mut self, id: PeerId, family: Family) {
        let Some(at) = self.find_rib(family) else { return };
        let attrs = &self.attrs;
        let unwilling = |path: &Candidate| {
            path.peer == id
                && path.freshness == Freshness::Stale
                && attrs.get(path.attrs).communities().contains(Community::NO_LLGR)
        };
        let going: Vec<(PrefixId, AttrId)> = self.ribs[at]
            .ids()
            .flat_map(|prefix| self.ribs[at].candidates(prefix).into_iter().map(move |path| (prefix, path)))
            .filter(|(_, path)| unwilling(path))
            .map(|(prefix, path)| (prefix, path.attrs))
            .collect();
        for (prefix, attrs) in going {
            self.remove_candidates(at, prefix, |path| path.peer == id && path.attrs == attrs);
        }
        for prefix in self.prefixes_of(id, at) {
            self.mark_long_lived(at, prefix, id);
        }
    }

    fn mark_long_lived(&mut self, at: usize, prefix: PrefixId, id: PeerId) {
        let (ribs, attrs) = (&mut self.ribs, &mut self.attrs);
        for path in ribs[at].candidates_mut(prefix).as_mut_slice() {
            if path.peer != id || path.freshness != Freshness::Stale {
                continue;
            }
            path.freshness = Freshness::LongLived;
            let mut edit = attrs.get(path.attrs).edit();
            edit.add_community(Community::LLGR_STALE);
            let said = attrs.said(path.attrs).cloned();
            let marked = attrs.intern_said(&edit.build(), said.as_ref());
            attrs.release(core::mem::replace(&mut path.attrs, marked));
        }
    }

    fn prefixes_of(&self, id: PeerId, at: usize) -> Vec<PrefixId> {
        let rib = &self.ribs[at];
        rib.ids().filter(|p| rib.candidates(*p).iter().any(|c| c.peer == id)).collect()
    }

    /// Removes the peer's stale routes of `family`; returns how many.
    fn sweep(&mut self, id: PeerId, family: Family) -> usize {
        let Some(at) = self.find_rib(family) else { return 0 };
        self.remove_paths(at, |peer, freshness| peer == id && freshness != Freshness::Fresh)
    }

    fn remove_paths(&mut self, at: usize, gone: impl Fn(PeerId, Freshness) -> bool) -> usize {
        let ids: Vec<PrefixId> = self.ribs[at].ids().collect();
        let mut removed = 0;
        for id in ids {
            removed += self.remove_candidates(at, id, |c| gone(c.peer, c.freshness));
        }
        removed
    }
}
