//! The verdict on one prefix: what has to be done so that the kernel has what is wanted, and what became of it.

use std::time::{Duration, Instant};

use bgp_proto::{Prefix, Version};

use super::slot::{Entry, Held};
use super::{Action, Aim, Attempt, Goal, Op, Plan, Refused, State, enqueue, goal, lies_at};
use crate::fib::facts::{Place, Target};
use crate::fib::intern::Id;
use crate::fib::refusal::{Cause, Outcome, Refusal};
use crate::fib::resolve::Underlay;

/// First wait after a refusal; doubled each time.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest wait after a refusal.
const BACKOFF_MAX: Duration = Duration::from_secs(64);
/// Refused routes tried again in one go; the rest waits for the next.
const RETRIES_MAX: usize = 1024;

impl Plan {
    /// The next operations, about `max` of them. Each must be carried out and settled before this is asked again.
    pub(in crate::fib) fn next(&mut self, underlay: &Underlay, now: Instant, max: usize, ops: &mut Vec<Op>) {
        if self.lost {
            return;
        }
        let max = match &self.denied {
            Some(denied) if denied.retry_at.is_some_and(|at| at > now) => return,
            Some(_) => 1,
            None => max,
        };
        while ops.len() < max
            && let Some(prefix) = self.queue.pop_front()
        {
            self.judge(prefix, underlay, now, ops);
        }
    }

    /// Whether there is something to judge that need not wait.
    pub(in crate::fib) fn is_busy(&self, now: Instant) -> bool {
        let denied = self.denied.as_ref().and_then(|denied| denied.retry_at).is_some_and(|at| at > now);
        !self.queue.is_empty() && !denied && !self.lost
    }

    /// Puts refusals whose time has come to the test.
    pub(in crate::fib) fn tick(&mut self, now: Instant) {
        for _ in 0..RETRIES_MAX {
            let Some((at, prefix)) = self.retries.first().copied() else { return };
            if at > now {
                return;
            }
            self.retries.remove(&(at, prefix));
            if let Some(refused) = self.refused.get_mut(&prefix) {
                refused.retry_at = None;
            }
            if let Some(slot) = self.slots.get_mut(&prefix) {
                enqueue(&mut self.queue, &prefix, slot);
            }
        }
    }

    /// When [`Plan::tick`] or [`Plan::next`] has something to do although nothing happens.
    pub(in crate::fib) fn deadline(&self) -> Option<Instant> {
        let retry = self.retries.first().map(|(at, _)| *at);
        let probe =
            self.denied.as_ref().filter(|_| !self.queue.is_empty()).and_then(|denied| denied.retry_at);
        [retry, probe].into_iter().flatten().min()
    }

    fn judge(&mut self, prefix: Prefix, underlay: &Underlay, now: Instant, ops: &mut Vec<Op>) {
        let Some(slot) = self.slots.get_mut(&prefix) else { return };
        slot.queued = false;
        let (was, inherited, held) = (slot.state, slot.inherited, slot.held.clone());
        let goal = goal(&self.rules, &self.aims, &prefix, slot);
        let before = ops.len();
        let state = match goal {
            Goal::Target(target) => self.pursue(prefix, target, &held, inherited, underlay, now, ops),
            Goal::Nothing if inherited && !held.is_empty() => State::Leftover,
            Goal::Nothing => State::Idle,
            Goal::Unresolved(_) => State::Unresolved,
            Goal::Protected => State::Protected,
        };
        if !matches!(goal, Goal::Target(_)) && !self.waits(&prefix, now) {
            self.vacate(prefix, &held, inherited, None, ops);
            if ops.len() == before {
                self.acquit(&prefix, goal);
            }
        }
        let under_way = ops.len() > before && state != State::Installed;
        let state = if under_way { State::Pending } else { state };
        if state != was {
            self.set_state(&prefix, state);
        }
        if state == State::Idle {
            self.drop_if_empty(&prefix);
        }
    }

    /// The prefix should have this target.
    #[allow(clippy::too_many_arguments, reason = "the parts of one slot, taken apart")]
    fn pursue(
        &mut self,
        prefix: Prefix,
        target: Id,
        held: &Held,
        inherited: bool,
        underlay: &Underlay,
        now: Instant,
        ops: &mut Vec<Op>,
    ) -> State {
        let home = self.home(&prefix);
        let at_home = |entry: &&Entry| self.place_of(&prefix, entry) == home;
        let crowd = held.as_slice().iter().filter(at_home).count();
        let is_right = |entry: &Entry| entry.target == target && entry.mark == self.mark && at_home(&entry);
        let waits = self.waits(&prefix, now);
        if held.as_slice().iter().any(is_right) {
            let others = held.as_slice().iter().filter(|entry| !is_right(entry));
            match others.clone().next() {
                Some(_) if waits => {}
                // The right one may be gone, and the other all there is.
                Some(_) if self.doubt => self.postpone(prefix),
                Some(_) => ops.extend(others.map(|entry| self.deletion(prefix, entry, crowd > 1))),
                None => self.acquit(&prefix, Goal::Target(target)),
            }
            return State::Installed;
        }
        if let Some(owner) = underlay.owner(&prefix, home) {
            self.refuse(prefix, Refusal::taken_by(owner.protocol), Attempt::Put, None);
            self.vacate(prefix, held, inherited, Some(target), ops);
            return State::Refused;
        }
        if waits {
            if self.refused.get(&prefix).is_some_and(Refused::is_final) {
                self.vacate(prefix, held, inherited, Some(target), ops);
            }
            return State::Refused;
        }
        if crowd > 0 && self.doubt {
            self.postpone(prefix);
        } else if let Some(value) = self.targets.value(target).cloned() {
            let action = if crowd == 0 { Action::Add(value) } else { Action::Replace(value) };
            ops.push(Op { prefix, place: home, protocol: self.rules.owner.protocol, action });
        }
        State::Pending
    }

    /// Judges the prefix again after the next walk.
    fn postpone(&mut self, prefix: Prefix) {
        self.postponed.insert(prefix);
    }

    /// Deletes what is held, unless it is inherited or leads where the wish wants to go.
    fn vacate(&self, prefix: Prefix, held: &Held, inherited: bool, keep: Option<Id>, ops: &mut Vec<Op>) {
        if inherited {
            return;
        }
        let entries = held.as_slice();
        let unwanted = entries.iter().filter(|entry| Some(entry.target) != keep);
        ops.extend(unwanted.map(|entry| {
            let place = self.place_of(&prefix, entry);
            let crowd = entries.iter().filter(|other| self.place_of(&prefix, other) == place).count();
            self.deletion(prefix, entry, crowd > 1)
        }));
    }

    /// In IPv6 a deletion always names the paths: without, it would take along those that somebody added to the route.
    fn deletion(&self, prefix: Prefix, entry: &Entry, crowded: bool) -> Op {
        let exact = crowded || prefix.version() == Version::V6;
        let target = self.targets.value(entry.target).filter(|target| exact && ***target != Target::Other);
        let mark = self.marks.get(usize::from(entry.mark)).unwrap_or(&self.rules.owner);
        Op {
            prefix,
            place: self.place_of(&prefix, entry),
            protocol: mark.protocol,
            action: Action::Delete(target.cloned()),
        }
    }

    /// What became of an operation.
    pub(in crate::fib) fn settle(&mut self, op: &Op, outcome: Outcome, now: Instant) {
        match (&op.action, outcome) {
            (Action::Add(target) | Action::Replace(target), Outcome::Done) => {
                return self.entered(op, target);
            }
            (Action::Delete(target), Outcome::Done | Outcome::Absent) => {
                return self.left(op, target.as_deref());
            }
            (_, Outcome::Lost) => self.lost = true,
            (_, Outcome::Refused(refusal)) if refusal.cause == Cause::NotPermitted => self.deny(refusal, now),
            (Action::Add(_) | Action::Replace(_), Outcome::Absent) => {
                self.refuse(op.prefix, Refusal::new(libc::ENOENT, None), Attempt::Put, Some(now));
            }
            (Action::Add(_), Outcome::Refused(refusal)) => {
                // The place was believed to be empty.
                self.doubt |= refusal.cause == Cause::Taken;
                self.refuse(op.prefix, refusal, Attempt::Put, Some(now));
            }
            (Action::Replace(target), Outcome::Refused(refusal)) => {
                // IPv6 replaces path by path, and a path refused in the middle takes the others with it.
                self.doubt |= op.prefix.version() == Version::V6 && target.paths().len() > 1;
                self.doubt |= refusal.cause == Cause::Taken;
                self.refuse(op.prefix, refusal, Attempt::Put, Some(now));
            }
            (Action::Delete(_), Outcome::Refused(refusal)) => {
                self.refuse(op.prefix, refusal, Attempt::Delete, Some(now));
            }
        }
        if let Some(slot) = self.slots.get_mut(&op.prefix) {
            enqueue(&mut self.queue, &op.prefix, slot);
        }
    }

    /// The kernel took a route.
    fn entered(&mut self, op: &Op, target: &Target) {
        self.denied = None;
        let (Some(id), Some(slot)) = (self.targets.find(target), self.slots.get_mut(&op.prefix)) else {
            return;
        };
        self.targets.retain(id);
        let (marks, place) = (&self.marks, op.place);
        let at_place = |entry: &Entry| lies_at(marks, entry, place);
        // Which of several is replaced is the kernel's choice.
        self.doubt |= slot.held.as_slice().iter().filter(|entry| at_place(entry)).count() > 1;
        let ousted = slot.held.extract_first(at_place);
        slot.held.push(Entry { target: id, metric: place.metric, mark: self.mark, round: self.round });
        let wanted = slot.want.and_then(|want| self.aims.get(want.index()));
        let right = matches!(wanted, Some(Aim::Target { id: aim, .. }) if *aim == id);
        if right && slot.held.as_slice().len() == 1 {
            self.states.leaves(slot.state);
            self.states.enters(State::Installed);
            slot.state = State::Installed;
            self.acquit(&op.prefix, Goal::Target(id));
        } else {
            enqueue(&mut self.queue, &op.prefix, slot);
        }
        if let Some(entry) = ousted {
            self.targets.release(entry.target);
        }
    }

    /// The kernel let a route go.
    fn left(&mut self, op: &Op, target: Option<&Target>) {
        self.denied = None;
        let id = target.and_then(|target| self.targets.find(target));
        let marks = &self.marks;
        let Some(slot) = self.slots.get_mut(&op.prefix) else { return };
        let out = slot.held.extract_first(|entry| {
            let ours = marks.get(usize::from(entry.mark)).is_some_and(|mark| mark.protocol == op.protocol);
            ours && lies_at(marks, entry, op.place) && id.is_none_or(|id| id == entry.target)
        });
        if slot.state != State::Installed && (slot.want.is_some() || !slot.held.is_empty()) {
            enqueue(&mut self.queue, &op.prefix, slot);
        }
        if let Some(entry) = out {
            self.targets.release(entry.target);
        }
        self.drop_if_empty(&op.prefix);
    }

    /// The prefix is refused from now on. `now`: tried again by the clock; without, only when something changes.
    fn refuse(&mut self, prefix: Prefix, refusal: Refusal, attempt: Attempt, now: Option<Instant>) {
        let old = self.refused.remove(&prefix);
        if let Some(at) = old.as_ref().and_then(|old| old.retry_at) {
            self.retries.remove(&(at, prefix));
        }
        let attempts = old.as_ref().map_or(0, |old| old.attempts);
        if old.is_none_or(|old| old.refusal != refusal) {
            self.verdicts.insert(prefix);
        }
        let retry_at = now.map(|now| now + backoff(attempts));
        self.retries.extend(retry_at.map(|at| (at, prefix)));
        self.refused
            .insert(prefix, Refused { refusal, attempt, attempts: attempts.saturating_add(1), retry_at });
    }

    /// The prefix is refused no longer.
    fn acquit(&mut self, prefix: &Prefix, goal: Goal) {
        let Some(refused) = self.refused.remove(prefix) else { return };
        if let Some(at) = refused.retry_at {
            self.retries.remove(&(at, *prefix));
        }
        match goal {
            Goal::Target(_) | Goal::Unresolved(_) | Goal::Protected => self.verdicts.insert(*prefix),
            Goal::Nothing => self.verdicts.remove(prefix),
        };
    }

    /// Whether a refusal of the prefix has not waited long enough yet.
    fn waits(&self, prefix: &Prefix, now: Instant) -> bool {
        self.refused.get(prefix).and_then(|refused| refused.retry_at).is_some_and(|at| at > now)
    }

    /// The process may not change routes: nothing is tried for a while.
    fn deny(&mut self, refusal: Refusal, now: Instant) {
        let attempts = self.denied.take().map_or(0, |denied| denied.attempts);
        let retry_at = Some(now + backoff(attempts));
        self.denied =
            Some(Refused { refusal, attempt: Attempt::Put, attempts: attempts.saturating_add(1), retry_at });
    }

    fn set_state(&mut self, prefix: &Prefix, state: State) {
        let Some(slot) = self.slots.get_mut(prefix) else { return };
        if slot.state != state {
            self.states.leaves(slot.state);
            self.states.enters(state);
            slot.state = state;
        }
    }

    fn drop_if_empty(&mut self, prefix: &Prefix) {
        let Some(slot) = self.slots.get(prefix) else { return };
        if slot.want.is_some() || !slot.held.is_empty() || slot.queued {
            return;
        }
        self.states.leaves(slot.state);
        self.slots.remove(prefix);
        self.acquit(prefix, Goal::Nothing);
    }
}

fn backoff(attempts: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1 << attempts.min(16)).min(BACKOFF_MAX)
}

impl Refused {
    /// Whether waiting alone will not help, so that what is held in its stead must go.
    fn is_final(&self) -> bool {
        self.attempt == Attempt::Put && self.refusal.cause != Cause::Busy
    }
}

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Place { table, metric } = self.place;
        let verb = match self.action {
            Action::Add(_) => "add",
            Action::Replace(_) => "replace",
            Action::Delete(_) => "delete",
        };
        write!(f, "{verb} {} table {table} metric {metric}", self.prefix)
    }
}
