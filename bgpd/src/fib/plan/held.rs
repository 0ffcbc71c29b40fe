//! The kernel's side of the plan: routes of ours that came, went, or were found on a walk through the kernel.
//!
//! Notifications of our own operations do not come here (the watching socket leaves them out); their acknowledgements do,
//! through [`Plan::settle`]. So whatever is reported here was done by somebody else, or by the kernel on its own, and
//! counts as a repair if it took away what was wanted.

use bgp_proto::{Prefix, Version};

use super::slot::Entry;
use super::slots::SlotId;
use super::{Plan, State, enqueue, forgive, lies_at};
use crate::fib::facts::{Arrival, KernelRoute, Place, Target};
use crate::fib::intern::Id;
use crate::fib::resolve::Underlay;

impl Plan {
    /// Somebody else added a route with our mark.
    pub(in crate::fib) fn own_came(&mut self, route: &KernelRoute, arrival: Arrival) {
        // An IPv6 route that comes to a place where one lies becomes one more path of it.
        let merged = route.prefix.version() == Version::V6 && self.count_at(&route.prefix, route.place) > 0;
        self.doubt |= merged && arrival == Arrival::Added;
        if self.meet(route) {
            self.repairs += 1;
        }
    }

    /// A route of ours is there; whether that is news.
    fn meet(&mut self, route: &KernelRoute) -> bool {
        let Some(mark) = self.mark_of(route) else { return false };
        let Some(target) = self.targets.acquire(route.own_target()) else { return false };
        let entry = Entry { target, metric: route.place.metric, mark, round: self.round };
        let inherited =
            !self.rules.install || !self.swept[usize::from(route.prefix.version() == Version::V6)];
        let round = self.round;
        let id = self.slots.find_or_make(route.prefix, &mut self.states);
        let Some((id, slot)) = id.and_then(|id| Some((id, self.slots.get_mut(id)?))) else { return false };
        let known = |old: &&mut Entry| (old.target, old.metric, old.mark) == (target, entry.metric, mark);
        if let Some(old) = slot.held.as_mut_slice().iter_mut().find(known) {
            old.round = round;
            self.targets.release(target);
            return false;
        }
        slot.held.push(entry);
        slot.inherited |= inherited;
        enqueue(&mut self.queue, id, slot);
        forgive(&mut self.refused, &mut self.retries, &route.prefix);
        true
    }

    /// Somebody deleted a route of ours, or the kernel took it away.
    pub(in crate::fib) fn own_went(&mut self, route: &KernelRoute) {
        let Some(mark) = self.mark_of(route) else { return };
        let target = self.targets.find(&route.own_target());
        let gone = |entry: &Entry| {
            Some(entry.target) == target && entry.metric == route.place.metric && entry.mark == mark
        };
        let id = self.slots.find(&route.prefix);
        if !id.is_some_and(|id| self.drop_entries(id, gone)) {
            // One path of a multipath route went, or an older state of it: only a walk tells which.
            self.doubt |= self.count_at(&route.prefix, route.place) > 0;
        }
    }

    /// A foreign route took the place of whatever lay there.
    pub(in crate::fib) fn oust(&mut self, prefix: &Prefix, place: Place) {
        let marks = self.marks.clone();
        if let Some(id) = self.slots.find(prefix) {
            self.drop_entries(id, |entry| lies_at(&marks, entry, place));
        }
    }

    /// How many routes of ours lie at a place.
    pub(in crate::fib) fn count_at(&self, prefix: &Prefix, place: Place) -> usize {
        let Some(slot) = self.slots.find(prefix).and_then(|id| self.slots.get(id)) else { return 0 };
        slot.held.as_slice().iter().filter(|entry| lies_at(&self.marks, entry, place)).count()
    }

    /// The kernel dropped the IPv4 routes that had no other interface left than this, as it does without a word.
    pub(in crate::fib) fn flushed(&mut self, ifindex: u32, underlay: &Underlay) {
        let is_lost = |target: &Target| target.ends_with(ifindex, |other| underlay.is_up(other));
        let lost: Vec<Id> =
            self.targets.iter().filter(|(_, target)| is_lost(target)).map(|(id, _)| id).collect();
        if lost.is_empty() {
            return;
        }
        let concerned: Vec<SlotId> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.prefix.version() == Version::V4)
            .filter(|(_, slot)| slot.held.as_slice().iter().any(|entry| lost.contains(&entry.target)))
            .map(|(id, _)| id)
            .collect();
        for id in concerned {
            self.drop_entries(id, |entry| lost.contains(&entry.target));
        }
    }

    /// Whether any route of ours can leave by the interface.
    pub(in crate::fib) fn uses(&self, ifindex: u32) -> bool {
        self.targets.iter().any(|(_, target)| target.uses(ifindex))
    }

    /// A walk through the kernel begins.
    pub(in crate::fib) fn walk_begins(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    /// The walk met a route of ours; whether that is news.
    pub(in crate::fib) fn walk_own(&mut self, route: &KernelRoute) -> bool {
        self.meet(route)
    }

    /// The walk is complete: what it did not meet is gone. How many were missing.
    pub(in crate::fib) fn walk_ends(&mut self) -> usize {
        let round = self.round;
        let missed = |entry: &Entry| entry.round != round;
        let concerned: Vec<SlotId> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.held.as_slice().iter().any(missed))
            .map(|(id, _)| id)
            .collect();
        for id in &concerned {
            self.drop_entries(*id, missed);
        }
        self.doubt = false;
        self.lost = false;
        for prefix in std::mem::take(&mut self.postponed) {
            self.poke(&prefix);
        }
        concerned.len()
    }

    /// Takes entries out because somebody else took them away; whether there were any.
    fn drop_entries(&mut self, id: SlotId, gone: impl FnMut(&Entry) -> bool) -> bool {
        let Some(slot) = self.slots.get_mut(id) else { return false };
        let out = slot.held.extract(gone);
        if out.is_empty() {
            return false;
        }
        self.repairs += u64::from(slot.state == State::Installed);
        enqueue(&mut self.queue, id, slot);
        forgive(&mut self.refused, &mut self.retries, &slot.prefix);
        for entry in out {
            self.targets.release(entry.target);
        }
        true
    }
}
