//! The plan as the operator sees it: one prefix, desired against held.

use bgp_proto::Prefix;
use reflector::events::FibRoute;

use super::slot::{State, States};
use super::{Goal, Plan, Slot, Want, goal};
use crate::fib::facts::{Place, Target};
use crate::fib::refusal::Refusal;
use crate::fib::resolve::Unresolved;

/// One prefix: what BGP wants, what the kernel has of ours, and what stands between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteReport {
    /// The prefix.
    pub prefix: Prefix,
    /// How it stands.
    pub state: State,
    /// What BGP wants.
    pub desired: Option<FibRoute>,
    /// Where its packets are to go, if the next hops can be reached.
    pub target: Option<Target>,
    /// Routes of ours in the kernel.
    pub held: Vec<HeldRoute>,
    /// Why no next hop can be reached.
    pub unresolved: Option<Unresolved>,
    /// Why the kernel does not have it.
    pub refusal: Option<Refusal>,
}

/// A route of ours in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRoute {
    /// Table and metric.
    pub place: Place,
    /// Protocol number.
    pub protocol: u8,
    /// What it does.
    pub target: Target,
}

impl Plan {
    /// How many prefixes stand how.
    pub(in crate::fib) fn states(&self) -> States {
        self.states
    }

    /// The refusal that keeps every operation back: no permission.
    pub(in crate::fib) fn denied(&self) -> Option<&Refusal> {
        self.denied.as_ref().map(|denied| &denied.refusal)
    }

    /// A prefix that came to be refused, or no longer is, since the last call.
    pub(in crate::fib) fn poll_verdict(&mut self) -> Option<(Prefix, Option<Refusal>)> {
        let prefix = self.verdicts.pop_first()?;
        Some((prefix, self.refused.get(&prefix).map(|refused| refused.refusal.clone())))
    }

    /// One prefix, if there is anything to say of it.
    pub(in crate::fib) fn report(&self, prefix: &Prefix) -> Option<RouteReport> {
        self.slots.find(prefix).and_then(|id| self.slots.get(id)).map(|slot| self.report_slot(slot))
    }

    /// Prefixes in order, at most `max` of those after the given one.
    pub(in crate::fib) fn report_page(&self, after: Option<Prefix>, max: usize) -> Vec<RouteReport> {
        let beyond = |prefix: &Prefix| after.is_none_or(|after| *prefix > after);
        let mut prefixes: Vec<Prefix> =
            self.slots.iter().map(|(_, slot)| slot.prefix).filter(beyond).collect();
        if prefixes.len() > max {
            prefixes.select_nth_unstable(max);
            prefixes.truncate(max);
        }
        prefixes.sort_unstable();
        prefixes.iter().filter_map(|prefix| self.report(prefix)).collect()
    }

    fn report_slot(&self, slot: &Slot) -> RouteReport {
        let prefix = &slot.prefix;
        let goal = match slot.state {
            State::Protected => Goal::Protected,
            _ => goal(&self.rules, &self.aims, slot),
        };
        let desired = slot.want.and_then(|want| self.wishes.value(want)).map(|wish| match &wish.want {
            Want::Blackhole => FibRoute::Blackhole,
            Want::Via(hops, _) => FibRoute::Via(hops.to_vec()),
        });
        let target = match goal {
            Goal::Target(id) => self.targets.value(id).map(|target| (**target).clone()),
            Goal::Nothing | Goal::Protected | Goal::Unresolved(_) => None,
        };
        let unresolved = match goal {
            Goal::Unresolved(reason) => Some(reason),
            Goal::Nothing | Goal::Protected | Goal::Target(_) => None,
        };
        let held = slot.held.as_slice().iter().filter_map(|entry| {
            Some(HeldRoute {
                place: self.place_of(prefix, entry),
                protocol: self.marks.get(usize::from(entry.mark))?.protocol,
                target: (**self.targets.value(entry.target)?).clone(),
            })
        });
        let denied = || self.denied().filter(|_| slot.state == State::Pending);
        let refusal = self.refused.get(prefix).map(|refused| &refused.refusal).or_else(denied);
        RouteReport {
            prefix: *prefix,
            state: if refusal.is_some() && slot.state == State::Pending {
                State::Refused
            } else {
                slot.state
            },
            desired,
            target,
            held: held.collect(),
            unresolved,
            refusal: refusal.cloned(),
        }
    }
}
