//! What the peer tells: UPDATE messages become batches of route changes, and marks between them stay in order.
//!
//! A batch grows over as many messages as arrive together, so that the table is asked once, not once a message. It is
//! closed when it is full, or when something must be said after it. RFC 7606 is carried out here: an UPDATE whose verdict
//! is "withdrawn" withdraws exactly the prefixes it would have announced.

use bgp_proto::{
    Asn, AttrCode, AttrSet, Cause, Family, FamilySet, Fault, Nlri, PathId, Remedy, Update, Verdict,
};
use core::mem;
use std::collections::VecDeque;

use super::event::{Counters, Event};
use super::timers::is_due;
use crate::events::{RouteChange, Routes};
use crate::limits::BATCH_CHANGES_MAX;
use crate::time::Instant;

/// Whose number a path must begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstAsRule {
    /// This one's: the peer is external.
    MustBe(Asn),
    /// Anything.
    Free,
}

/// The open batch, and refreshes that the peer has begun.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    batch: Routes,
    refreshing: FamilySet,
    refresh_end: Option<Instant>,
}

impl Inbound {
    /// Takes an UPDATE apart.
    pub(super) fn update(
        &mut self,
        update: &Update<'_>,
        rule: FirstAsRule,
        counters: &mut Counters,
        events: &mut VecDeque<Event>,
    ) {
        if let Some(family) = update.end_of_rib() {
            self.mark(Event::EndOfRib(family), events);
            return;
        }
        for unreach in update.unreach() {
            let family = unreach.family;
            let gone = unreach.nlri.map(|(path_id, nlri)| (path_id, nlri.to_withdrawn(family)));
            self.changes(family, gone, None, events);
        }
        let misled = rule.fault_in(update);
        let verdict = if misled.is_some() { Verdict::Withdrawn } else { update.verdict() };
        let mut attrs: Option<AttrSet> = None;
        for reach in update.reach() {
            attrs = match (verdict, attrs) {
                (Verdict::Withdrawn, _) => None,
                (Verdict::Sound | Verdict::Trimmed, None) => Some(update.attr_set(reach.next_hop)),
                // The other next hop of one message: the rest of the set is shared.
                (Verdict::Sound | Verdict::Trimmed, Some(set)) => Some(set.with_next_hop(reach.next_hop)),
            };
            let routes = reach.nlri.map(|(path_id, nlri)| (path_id, nlri.to_owned()));
            self.changes(reach.family, routes, attrs.as_ref(), events);
        }
        count(update, verdict, misled, counters, events);
    }

    /// Closes the batch.
    pub(super) fn flush(&mut self, events: &mut VecDeque<Event>) {
        if !self.batch.changes.is_empty() {
            events.push_back(Event::Routes(mem::take(&mut self.batch)));
        }
    }

    /// BoRR: RFC 7313 section 4.
    pub(super) fn refresh_begun(&mut self, family: Family, expiry: Instant, events: &mut VecDeque<Event>) {
        self.refreshing.insert(family);
        self.refresh_end = Some(expiry);
        self.mark(Event::RefreshBegun(family), events);
    }

    /// EoRR. `false` if there was no BoRR.
    pub(super) fn refresh_ended(&mut self, family: Family, events: &mut VecDeque<Event>) -> bool {
        let begun = self.refreshing.remove(family);
        if begun {
            self.mark(Event::RefreshEnded(family), events);
        }
        if self.refreshing.is_empty() {
            self.refresh_end = None;
        }
        begun
    }

    /// When refreshes that the peer began are taken as ended.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.refresh_end
    }

    /// Ends what was begun too long ago.
    pub(super) fn timeout(&mut self, now: Instant, events: &mut VecDeque<Event>) {
        if !is_due(self.refresh_end, now) {
            return;
        }
        for family in self.refreshing.iter() {
            self.refresh_ended(family, events);
        }
    }

    fn mark(&mut self, event: Event, events: &mut VecDeque<Event>) {
        self.flush(events);
        events.push_back(event);
    }

    /// Appends a change for each NLRI.
    fn changes(
        &mut self,
        family: Family,
        nlri: impl Iterator<Item = (PathId, Nlri)>,
        attrs: Option<&AttrSet>,
        events: &mut VecDeque<Event>,
    ) {
        let mut index = None;
        for (path_id, nlri) in nlri {
            if self.batch.changes.len() >= BATCH_CHANGES_MAX {
                self.flush(events);
                index = None;
            }
            let attrs = attrs.map(|set| *index.get_or_insert_with(|| self.index_of(set)));
            self.batch.changes.push(RouteChange { family, path_id, nlri, attrs });
        }
    }

    /// The place of a set in the batch. Messages in a row often share theirs.
    fn index_of(&mut self, set: &AttrSet) -> u32 {
        if self.batch.attrs.last() != Some(set) {
            self.batch.attrs.push(set.clone());
        }
        u32::try_from(self.batch.attrs.len() - 1).unwrap_or(u32::MAX)
    }
}

impl FirstAsRule {
    /// RFC 4271 section 6.3: the leftmost AS of an external peer's path. RFC 7606 section 7.2 makes it an error that
    /// withdraws.
    fn fault_in(self, update: &Update<'_>) -> Option<Fault> {
        let FirstAsRule::MustBe(asn) = self else { return None };
        let misled = update.as_path().first_as() != Some(asn) && update.reach().next().is_some();
        let (cause, attribute) = (Cause::AttributeValue, AttrCode::AS_PATH);
        misled.then_some(Fault { cause, attribute, remedy: Remedy::Withdraw })
    }
}

/// Counts what was wrong and says the worst of it.
fn count(
    update: &Update<'_>,
    verdict: Verdict,
    misled: Option<Fault>,
    counters: &mut Counters,
    events: &mut VecDeque<Event>,
) {
    match verdict {
        Verdict::Sound => return,
        Verdict::Trimmed => counters.attributes_discarded += update.faults().count() as u64,
        Verdict::Withdrawn => counters.treated_as_withdrawn += 1,
    }
    // The first of the worst.
    let worst = update
        .faults()
        .chain(misled)
        .reduce(|worst, fault| if fault.remedy > worst.remedy { fault } else { worst });
    if let Some(fault) = worst {
        events.push_back(Event::Faulted(fault));
    }
}
