//! Counters that anybody may read at any time, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::plan::{Action, Op, States};
use super::refusal::Outcome;

/// Counters, written by the FIB's thread alone.
#[derive(Debug, Default)]
pub struct FibStats {
    added: AtomicU64,
    replaced: AtomicU64,
    deleted: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
    repairs: AtomicU64,
    walks: AtomicU64,
    overruns: AtomicU64,
    states: [AtomicU64; 7],
}

/// Their values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Routes added.
    pub added: u64,
    /// Routes replaced in place.
    pub replaced: u64,
    /// Routes deleted.
    pub deleted: u64,
    /// Operations that the kernel refused.
    pub refused: u64,
    /// Operations whose answer was lost.
    pub lost: u64,
    /// Routes that somebody else took away or altered, and that were put right.
    pub repairs: u64,
    /// Walks through the kernel.
    pub walks: u64,
    /// Times that notifications were lost.
    pub overruns: u64,
    /// How many prefixes stand how.
    pub states: States,
}

impl FibStats {
    pub(super) fn outcome(&self, op: &Op, outcome: &Outcome) {
        let counter = match (outcome, &op.action) {
            (Outcome::Done, Action::Add(_)) => &self.added,
            (Outcome::Done, Action::Replace(_)) => &self.replaced,
            (Outcome::Done, Action::Delete(_)) => &self.deleted,
            (Outcome::Refused(_), _) => &self.refused,
            (Outcome::Lost, _) => &self.lost,
            (Outcome::Absent, _) => return,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn walked(&self) {
        self.walks.fetch_add(1, Relaxed);
    }

    pub(super) fn overran(&self) {
        self.overruns.fetch_add(1, Relaxed);
    }

    pub(super) fn stands(&self, states: States, repairs: u64) {
        self.repairs.store(repairs, Relaxed);
        let States { pending, installed, unresolved, refused, protected, leftover, idle } = states;
        let now = [pending, installed, unresolved, refused, protected, leftover, idle];
        for (counter, value) in self.states.iter().zip(now) {
            counter.store(value, Relaxed);
        }
    }

    /// The values now.
    pub fn totals(&self) -> Totals {
        let [pending, installed, unresolved, refused, protected, leftover, idle] =
            self.states.each_ref().map(|counter| counter.load(Relaxed));
        Totals {
            added: self.added.load(Relaxed),
            replaced: self.replaced.load(Relaxed),
            deleted: self.deleted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            lost: self.lost.load(Relaxed),
            repairs: self.repairs.load(Relaxed),
            walks: self.walks.load(Relaxed),
            overruns: self.overruns.load(Relaxed),
            states: States { pending, installed, unresolved, refused, protected, leftover, idle },
        }
    }
}
