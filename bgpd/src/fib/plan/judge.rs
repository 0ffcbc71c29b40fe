//! The verdict on one prefix: what has to be done so that the kernel has what is wanted, and what became of it.

use std::time::{Duration, Instant};

use bgp_proto::{Prefix, Version};

use super::slot::{Entry, Held};
use super::slots::SlotId;
use super::{Action, Aim, Attempt, Goal, Guard, Op, Plan, Refused, State, Token, enqueue, goal, lies_at};
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
            && let Some(id) = self.queue.pop_front()
        {
            self.judge(id, underlay, now, ops);
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
            let Some(id) = self.slots.find(&prefix) else { continue };
            if let Some(slot) = self.slots.get_mut(id) {
                enqueue(&mut self.queue, id, slot);
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

    fn judge(&mut self, id: SlotId, underlay: &Underlay, now: Instant, ops: &mut Vec<Op>) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.queued = false;
        let was = slot.state;
        let case = Case {
            id,
            prefix: slot.prefix,
            held: slot.held.clone(),
            inherited: slot.inherited,
            want: slot.want,
        };
        let goal = match goal(&self.rules, &self.aims, slot) {
            Goal::Target(_) | Goal::Unresolved(_) if self.is_protected(&case, underlay) => Goal::Protected,
            goal => goal,
        };
        let before = ops.len();
        let state = match goal {
            Goal::Target(target) => self.pursue(&case, target, underlay, now, ops),
            Goal::Nothing if case.inherited && !case.held.is_empty() => State::Leftover,
            Goal::Nothing => State::Idle,
            Goal::Unresolved(_) => State::Unresolved,
            Goal::Protected => State::Protected,
        };
        if !matches!(goal, Goal::Target(_)) && !self.waits(&case.prefix, now) {
            self.vacate(&case, None, ops);
            if ops.len() == before {
                self.acquit(&case.prefix, goal);
            }
        }
        let under_way = ops.len() > before && state != State::Installed;
        let state = if under_way { State::Pending } else { state };
        if state != was
            && let Some(slot) = self.slots.get_mut(id)
        {
            slot.enter(state, &mut self.states);
        }
        if state == State::Idle {
            self.drop_if_empty(id);
        }
    }

    /// The prefixes that the configuration names are not for peers to take, nor are the subnets of this node, which are the kernel's own
    /// business, unless the policy of the peer names exactly this prefix.
    fn is_protected(&self, case: &Case, underlay: &Underlay) -> bool {
        let wish = case.want.and_then(|id| self.wishes.value(id));
        let guarded = wish.is_none_or(|wish| wish.guard == Guard::Obeyed);
        guarded && (self.rules.protect.contains(&case.prefix) || underlay.is_connected(&case.prefix))
    }

    /// The prefix should have this target.
    fn pursue(
        &mut self,
        case: &Case,
        target: Id,
        underlay: &Underlay,
        now: Instant,
        ops: &mut Vec<Op>,
    ) -> State {
        let (prefix, home) = (case.prefix, self.home(&case.prefix, case.want));
        let entries = case.held.as_slice();
        let at_home = |entry: &Entry| lies_at(&self.marks, entry, home);
        let crowd = entries.iter().filter(|entry| at_home(entry)).count();
        let is_right = |entry: &Entry| entry.target == target && entry.mark == self.mark && at_home(entry);
        let waits = self.waits(&prefix, now);
        if entries.iter().any(is_right) {
            let others = entries.iter().filter(|entry| !is_right(entry));
            match others.clone().next() {
                Some(_) if waits => {}
                // The right one may be gone, and the other all there is.
                Some(_) if self.doubt => self.postponed.extend([prefix]),
                Some(_) => ops.extend(others.map(|entry| self.deletion(case, entry))),
                None => self.acquit(&prefix, Goal::Target(target)),
            }
            return State::Installed;
        }
        if let Some(owner) = underlay.owner(&prefix, home) {
            self.refuse(prefix, Refusal::taken_by(owner.protocol), Attempt::Put, None);
            self.vacate(case, Some(target), ops);
            return State::Refused;
        }
        if waits {
            if self.refused.get(&prefix).is_some_and(Refused::is_final) {
                self.vacate(case, Some(target), ops);
            }
            return State::Refused;
        }
        if crowd > 0 && self.doubt {
            self.postponed.insert(prefix);
        } else if let Some(value) = self.targets.value(target).cloned() {
            let action = if crowd == 0 { Action::Add(value) } else { Action::Replace(value) };
            let token = Token { slot: case.id, target: Some(target) };
            ops.push(Op { prefix, place: home, protocol: self.rules.owner.protocol, action, token });
        }
        State::Pending
    }

    /// Deletes what is held, unless it is inherited or leads where the wish wants to go.
    fn vacate(&self, case: &Case, keep: Option<Id>, ops: &mut Vec<Op>) {
        if case.inherited {
            return;
        }
        let unwanted = case.held.as_slice().iter().filter(|entry| Some(entry.target) != keep);
        ops.extend(unwanted.map(|entry| self.deletion(case, entry)));
    }

    /// The target is named where several routes of ours lie at the place, and always in IPv6: without, the kernel would
    /// take along the paths that somebody added to the route.
    fn deletion(&self, case: &Case, entry: &Entry) -> Op {
        let place = self.place_of(&case.prefix, entry);
        let crowd = case.held.as_slice().iter().filter(|other| lies_at(&self.marks, other, place)).count();
        let exact = crowd > 1 || case.prefix.version() == Version::V6;
        let target = self.targets.value(entry.target).filter(|target| exact && ***target != Target::Other);
        let mark = self.marks.get(usize::from(entry.mark)).unwrap_or(&self.rules.owner);
        Op {
            prefix: case.prefix,
            place,
            protocol: mark.protocol,
            action: Action::Delete(target.cloned()),
            token: Token { slot: case.id, target: Some(entry.target) },
        }
    }

    /// What became of an operation.
    pub(in crate::fib) fn settle(&mut self, op: &Op, outcome: Outcome, now: Instant) {
        match (&op.action, outcome) {
            (Action::Add(_) | Action::Replace(_), Outcome::Done) => return self.entered(op),
            (Action::Delete(_), Outcome::Done | Outcome::Absent) => return self.left(op),
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
        if let Some(slot) = self.slots.get_mut(op.token.slot) {
            enqueue(&mut self.queue, op.token.slot, slot);
        }
    }

    /// The kernel took a route.
    fn entered(&mut self, op: &Op) {
        self.denied = None;
        let Token { slot: id, target } = op.token;
        let (Some(target), Some(slot)) = (target, self.slots.get_mut(id)) else { return };
        self.targets.retain(target);
        let (marks, place) = (&self.marks, op.place);
        let at_place = |entry: &Entry| lies_at(marks, entry, place);
        // Which of several is replaced is the kernel's choice.
        self.doubt |= slot.held.as_slice().iter().filter(|entry| at_place(entry)).count() > 1;
        let ousted = slot.held.extract_first(at_place);
        slot.held.push(Entry { target, metric: place.metric, mark: self.mark, round: self.round });
        let wanted = slot.want.and_then(|want| self.aims.get(want.index()));
        let right = matches!(wanted, Some(Aim::Target { id: aim, .. }) if *aim == target);
        if right && slot.held.as_slice().len() == 1 {
            slot.enter(State::Installed, &mut self.states);
            self.acquit(&op.prefix, Goal::Target(target));
        } else {
            enqueue(&mut self.queue, id, slot);
        }
        if let Some(entry) = ousted {
            self.targets.release(entry.target);
        }
    }

    /// The kernel let a route go.
    fn left(&mut self, op: &Op) {
        self.denied = None;
        let Token { slot: id, target } = op.token;
        let marks = &self.marks;
        let Some(slot) = self.slots.get_mut(id) else { return };
        let meant = |entry: &Entry| {
            let ours = marks.get(usize::from(entry.mark)).is_some_and(|mark| mark.protocol == op.protocol);
            ours && lies_at(marks, entry, op.place)
        };
        // Of several with this mark the kernel took one of its own choice, if none was named.
        let several = slot.held.as_slice().iter().filter(|entry| meant(entry)).count() > 1;
        self.doubt |= several && op.action == Action::Delete(None);
        let out = slot.held.extract_first(|entry| meant(entry) && Some(entry.target) == target);
        if slot.state != State::Installed && (slot.want.is_some() || !slot.held.is_empty()) {
            enqueue(&mut self.queue, id, slot);
        }
        if let Some(entry) = out {
            self.targets.release(entry.target);
        }
        self.drop_if_empty(id);
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
        if self.refused.is_empty() {
            return;
        }
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

    fn drop_if_empty(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get(id) else { return };
        if slot.want.is_some() || !slot.held.is_empty() || slot.queued {
            return;
        }
        let prefix = slot.prefix;
        self.states.leaves(slot.state);
        self.slots.remove(id);
        self.acquit(&prefix, Goal::Nothing);
    }
}

/// One slot under judgement.
struct Case {
    id: SlotId,
    prefix: Prefix,
    held: Held,
    inherited: bool,
    want: Option<Id>,
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
