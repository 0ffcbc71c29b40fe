//! Transitions: how connections come and go, and what follows (RFC 4271 section 8.2.2).
//!
//! Everything here is private to the session and leaves the reporting of the state to its caller. A connection ends in
//! one of two ways: [`Session::close`] with a NOTIFICATION of ours, or [`Session::drop_conn`] without. Both take it out of
//! its slot and come together in `lost`, which says what became of the session: another connection may take its place, or
//! the dialer waits, longer after each failure.

use bgp_proto::{ErrorCode, Notification, Open, RefreshKind};
use bytes::Bytes;

use super::collision::{self, Challenge, Incumbent};
use super::config::Connect;
use super::conn::{Conn, Due, KeepaliveDue, Phase, Progress};
use super::event::{Action, ConnId, Ended, Epoch, Event, Manner, Messages, Side, State, Verdict};
use super::inbound::Inbound;
use super::reason::{Afterwards, Failure, Reason, Stop};
use super::timers::{Deadline, Timer, is_due};
use super::{Backlog, Session, Up, Updated, message, negotiate, restart};
use crate::events::{Negotiated, Retention};
use crate::time::{Duration, Instant};

/// How long the verdict of the hold timer is put off while octets wait to be read.
const HOLD_RECHECK: Duration = Duration::from_secs(1);

/// KEEPALIVE messages are never closer together (RFC 4271 section 4.4).
const KEEPALIVE_MIN: Duration = Duration::from_secs(1);

/// Whether the session may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admin {
    /// It may not.
    Down,
    /// Not before this.
    Suspended(Instant),
    /// It may.
    Up,
}

impl Admin {
    pub(super) fn offer(&self, deadline: &mut Deadline) {
        if let Admin::Suspended(until) = self {
            deadline.offer(Some(*until), Timer::IdleHold);
        }
    }
}

/// What the side that dials is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialer {
    /// Nothing: not ours to do, or done.
    Off,
    /// Opening a connection until then.
    Dialing(Instant),
    /// Waiting: the last attempt reached nobody.
    Retry(Instant),
    /// Waiting: the last connection failed.
    Hold(Instant),
}

impl Dialer {
    pub(super) fn offer(&self, deadline: &mut Deadline) {
        match self {
            Dialer::Off => {}
            Dialer::Dialing(at) | Dialer::Retry(at) => deadline.offer(Some(*at), Timer::ConnectRetry),
            Dialer::Hold(at) => deadline.offer(Some(*at), Timer::IdleHold),
        }
    }

    fn is_due(self, now: Instant) -> bool {
        match self {
            Dialer::Off => false,
            Dialer::Dialing(at) | Dialer::Retry(at) | Dialer::Hold(at) => at <= now,
        }
    }
}

impl Conn {
    pub(super) fn offer(&self, deadline: &mut Deadline) {
        deadline.offer(self.delay_open, Timer::DelayOpen(self.id));
        deadline.offer(self.hold, Timer::Hold(self.id));
        deadline.offer(self.keepalive, Timer::Keepalive(self.id));
        deadline.offer(self.sending.check_at, Timer::SendHold(self.id));
        deadline.offer(self.collision, Timer::Collision(self.id));
    }
}

impl Due {
    /// Hands over the control messages that wait.
    pub(super) fn take(&mut self, sent: &mut Messages, out: &mut impl FnMut(Bytes)) -> usize {
        let mut taken = 0;
        let mut put = |message: Bytes| {
            taken += message.len();
            out(message);
        };
        if let Some(open) = self.open.take() {
            sent.opens += 1;
            put(open);
        }
        if let Some(KeepaliveDue) = self.keepalive.take() {
            sent.keepalives += 1;
            put(message::keepalive());
        }
        for family in core::mem::take(&mut self.refreshes).iter() {
            sent.refreshes += 1;
            put(message::refresh(family, RefreshKind::Request));
        }
        taken
    }
}

impl Session {
    pub(super) fn current_state(&self) -> State {
        let conns = self.conns.iter().flatten().map(|conn| conn.state());
        let idle = match (self.admin, self.dialer) {
            (Admin::Down | Admin::Suspended(_), _) => State::Idle,
            (Admin::Up, Dialer::Hold(_)) => State::Idle,
            (Admin::Up, Dialer::Dialing(_)) => State::Connect,
            (Admin::Up, Dialer::Retry(_) | Dialer::Off) => State::Active,
        };
        conns.max().unwrap_or(idle).max(idle)
    }

    /// Starts, or ends a wait.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.admin != Admin::Up {
            self.admin = Admin::Up;
            self.backoff.reset();
        }
        let waits = !matches!(self.dialer, Dialer::Dialing(_));
        if waits && self.conns.iter().all(Option::is_none) {
            self.dial(now);
        }
    }

    /// The configuration changed while there was no connection, or who dials did: no wait is worth keeping.
    pub(super) fn redirect(&mut self, now: Instant) {
        self.backoff.reset();
        match (self.config.connect, self.admin) {
            (Connect::Passive, _) => self.cancel_dial(),
            (Connect::Active, Admin::Up) => self.begin(now),
            (Connect::Active, Admin::Down | Admin::Suspended(_)) => {}
        }
    }

    /// Ends everything for `stop`.
    pub(super) fn end(&mut self, stop: &Stop, now: Instant) {
        self.cancel_dial();
        self.admin = Admin::Down;
        let ids: Vec<ConnId> = self.connections().map(|(id, _)| id).collect();
        for id in ids {
            match stop.notification() {
                Some(notification) => {
                    let notification = self.hardened(id, stop, notification);
                    self.close(id, notification, now);
                }
                None => self.drop_conn(id, Reason::Left, now),
            }
        }
        match stop.afterwards() {
            Afterwards::Down => {}
            Afterwards::Later(wait) => self.admin = Admin::Suspended(now + wait),
            Afterwards::Again => {
                self.admin = Admin::Up;
                let wait = self.backoff.wait(self.config.timing.idle_hold_min, &mut self.random);
                self.hold_dialer(now + wait);
            }
        }
    }

    /// A Hard Reset around `notification` where anything less would keep routes (RFC 8538 section 3).
    fn hardened(&self, id: ConnId, stop: &Stop, notification: Notification) -> Notification {
        let established = self.conns.iter().flatten().any(|c| c.id == id && c.phase == Phase::Established);
        let gentle = self
            .up
            .as_ref()
            .is_some_and(|up| restart::notification_restarts(self.config.restart.as_ref(), &up.negotiated));
        if established && gentle && stop.is_hard() {
            Notification::hard_reset(&notification)
        } else {
            notification
        }
    }

    fn dial(&mut self, now: Instant) {
        if self.config.connect == Connect::Passive {
            self.dialer = Dialer::Off;
            return;
        }
        let retry = self.random.shortened(self.config.timing.connect_retry);
        self.dialer = Dialer::Dialing(now + retry);
        self.counters.dials += 1;
        self.actions.push_back(Action::Dial);
    }

    fn cancel_dial(&mut self) {
        if let Dialer::Dialing(_) = self.dialer {
            self.actions.push_back(Action::CancelDial);
        }
        self.dialer = Dialer::Off;
    }

    /// Lets the dialer wait until `at`, if it is to dial at all.
    fn hold_dialer(&mut self, at: Instant) {
        self.dialer = match self.config.connect {
            Connect::Active => Dialer::Hold(at),
            Connect::Passive => Dialer::Off,
        };
    }

    pub(super) fn dial_ended(&mut self, failure: Failure, now: Instant) {
        let Dialer::Dialing(retry) = self.dialer else { return };
        self.counters.dials_unanswered =
            if failure == Failure::TimedOut { self.counters.dials_unanswered.saturating_add(1) } else { 0 };
        self.events.push_back(Event::ConnectionFailed(failure));
        self.note_end(Reason::Dial(failure), now);
        self.dialer = Dialer::Retry(retry);
    }

    pub(super) fn admit_dialed(&mut self, now: Instant) -> Verdict {
        self.counters.dials_unanswered = 0;
        let Dialer::Dialing(_) = self.dialer else { return self.refuse(ErrorCode::CEASE_COLLISION) };
        self.dialer = Dialer::Off;
        self.admit(Side::Dialed, now)
    }

    pub(super) fn admit_accepted(&mut self, now: Instant) -> Verdict {
        if self.admin != Admin::Up {
            return self.refuse(ErrorCode::CEASE_REJECTED);
        }
        if self.up.is_some() {
            self.probe(now);
            if self.challenge(now) == Challenge::Rejected {
                return self.refuse(ErrorCode::CEASE_COLLISION);
            }
        }
        let older =
            self.conns.iter().flatten().find(|c| c.side == Side::Accepted && c.phase != Phase::Established);
        if let Some(id) = older.map(|conn| conn.id) {
            self.supersede(id);
        }
        self.admit(Side::Accepted, now)
    }

    /// Sends a KEEPALIVE over the established connection: if the peer has forgotten it, its kernel says so at once.
    fn probe(&mut self, now: Instant) {
        let Some(up) = self.up.as_mut().filter(|up| up.probe_after <= now) else { return };
        up.probe_after = now + KEEPALIVE_MIN;
        if let Some(conn) = self.established_mut() {
            conn.due.keepalive = Some(KeepaliveDue);
        }
    }

    /// Closes a connection that the peer has given up by opening another. Not a failure.
    fn supersede(&mut self, id: ConnId) {
        self.counters.collisions += 1;
        if self.remove(id).is_some() {
            let farewell = Some(self.farewell(Notification::new(ErrorCode::CEASE_COLLISION)));
            self.actions.push_back(Action::Close { conn: id, farewell, manner: Manner::Orderly });
        }
    }

    fn refuse(&mut self, error: ErrorCode) -> Verdict {
        self.counters.collisions += 1;
        self.counters.sent.notifications += 1;
        Verdict::Refused(message::notification(&Notification::new(error)))
    }

    fn admit(&mut self, side: Side, now: Instant) -> Verdict {
        let id = ConnId(self.next_conn);
        let Some(slot) = self.conns.iter().position(Option::is_none) else {
            return self.refuse(ErrorCode::CEASE_COLLISION);
        };
        self.next_conn = self.next_conn.wrapping_add(1);
        let timing = &self.config.timing;
        let mut conn = Box::new(Conn::new(id, side));
        conn.hold = Some(now + timing.open_hold);
        match timing.delay_open {
            Some(delay) => conn.delay_open = Some(now + delay),
            None => conn.send_open(&negotiate::offer(&self.config)),
        }
        if let Some(place) = self.conns.get_mut(slot) {
            *place = Some(conn);
        }
        Verdict::Accepted(id)
    }

    /// The peer's OPEN is acceptable.
    pub(super) fn opened(&mut self, id: ConnId, negotiated: Box<Negotiated>, now: Instant) {
        if self.loses_to_other(id, &negotiated, now) {
            self.counters.collisions += 1;
            self.close(id, Notification::new(ErrorCode::CEASE_COLLISION), now);
            return;
        }
        let offer = negotiate::offer(&self.config);
        let Some(conn) = self.conn_mut(id) else { return };
        if conn.phase == Phase::Delayed {
            conn.send_open(&offer);
        }
        conn.phase = Phase::OpenConfirm;
        conn.negotiated = Some(negotiated);
        conn.due.keepalive = Some(KeepaliveDue);
        conn.heard(now);
        let interval = self.keepalive_interval(id);
        if let Some(conn) = self.conn_mut(id) {
            conn.keepalive = interval.map(|interval| now + interval);
        }
    }

    /// Decides between a connection whose OPEN has just come and another that has come as far. If this one stays, the
    /// other is closed.
    fn loses_to_other(&mut self, id: ConnId, negotiated: &Negotiated, now: Instant) -> bool {
        let Some(other) = self.conns.iter().flatten().find(|conn| conn.id != id) else { return false };
        let (other, side, phase) = (other.id, other.side, other.phase);
        match phase {
            Phase::Delayed | Phase::OpenSent => false,
            Phase::OpenConfirm | Phase::Held if side == self.winner(negotiated) => true,
            Phase::OpenConfirm | Phase::Held => {
                self.counters.collisions += 1;
                self.close(other, Notification::new(ErrorCode::CEASE_COLLISION), now);
                false
            }
            // It was let in because it may replace the session.
            Phase::Established => {
                self.drop_conn(other, Reason::Replaced, now);
                false
            }
        }
    }

    fn challenge(&self, now: Instant) -> Challenge {
        let Some(up) = &self.up else { return Challenge::Replaces };
        collision::challenge(Incumbent {
            restartable: up.negotiated.restart.is_some_and(|peer| !peer.families.is_empty()),
            age: now - up.since,
            updated: up.updated == Updated::Yes,
        })
    }

    fn winner(&self, negotiated: &Negotiated) -> Side {
        let local = (self.config.router_id, self.config.local_asn);
        collision::winner(local, (negotiated.peer_router_id, negotiated.peer_asn))
    }

    /// The peer's first KEEPALIVE: Established, unless a collision may still go the other way.
    pub(super) fn confirmed(&mut self, id: ConnId, now: Instant) {
        let winner = self.conns.iter().flatten().find(|conn| conn.id == id);
        let winner =
            winner.and_then(|conn| conn.negotiated.as_ref()).map(|negotiated| self.winner(negotiated));
        let rival = self.conns.iter().flatten().any(|conn| conn.id != id && Some(conn.side) == winner);
        if !rival {
            self.establish(id, now);
        } else if let Some(conn) = self.conn_mut(id) {
            conn.phase = Phase::Held;
            conn.collision = Some(now + collision::HOLD_LOSER);
        }
    }

    /// The connection becomes the session.
    pub(super) fn establish(&mut self, id: ConnId, now: Instant) {
        let others: Vec<ConnId> =
            self.connections().map(|(other, _)| other).filter(|other| *other != id).collect();
        let Some(conn) = self.conn_mut(id) else { return };
        conn.phase = Phase::Established;
        conn.collision = None;
        let Some(negotiated) = conn.negotiated.clone() else { return };
        for other in others {
            self.counters.collisions += 1;
            self.close(other, Notification::new(ErrorCode::CEASE_COLLISION), now);
        }
        self.cancel_dial();
        let timing = self.config.timing;
        if let Some(conn) = self.conn_mut(id) {
            let send_hold = timing.send_hold(conn.hold_time());
            conn.sending.watch(send_hold, now);
        }
        self.epoch = Epoch(self.epoch.0.wrapping_add(1));
        self.counters.established += 1;
        self.events.push_back(Event::Up { epoch: self.epoch, negotiated: negotiated.clone() });
        self.up = Some(Box::new(Up {
            since: now,
            updated: Updated::No,
            negotiated,
            inbound: Inbound::default(),
            outbound: Vec::new(),
            asked: bgp_proto::FamilySet::EMPTY,
            probe_after: now,
            turn: 0,
        }));
    }

    /// Sends a NOTIFICATION and closes.
    pub(super) fn close(&mut self, id: ConnId, notification: Notification, now: Instant) {
        let reason = Reason::Sent(notification.clone());
        self.close_for(id, notification, reason, now);
    }

    /// Sends a NOTIFICATION and closes, for a reason that says more.
    pub(super) fn close_for(&mut self, id: ConnId, notification: Notification, reason: Reason, now: Instant) {
        let manner = if notification.error == ErrorCode::SEND_HOLD_TIMER_EXPIRED {
            Manner::Abort
        } else {
            Manner::Orderly
        };
        let Some(conn) = self.remove(id) else { return };
        let farewell = Some(self.farewell(notification));
        self.actions.push_back(Action::Close { conn: id, farewell, manner });
        self.lost(&conn, reason, now);
    }

    /// Ends a connection without a NOTIFICATION of ours: it is gone already, or nothing may be answered.
    pub(super) fn drop_conn(&mut self, id: ConnId, reason: Reason, now: Instant) {
        let Some(conn) = self.remove(id) else { return };
        if !matches!(reason, Reason::Transport(_)) {
            self.actions.push_back(Action::Close { conn: id, farewell: None, manner: Manner::Orderly });
        }
        self.lost(&conn, reason, now);
    }

    fn farewell(&mut self, notification: Notification) -> Bytes {
        let octets = message::notification(&notification);
        self.counters.sent.notifications += 1;
        self.events.push_back(Event::NotificationSent(notification));
        octets
    }

    fn remove(&mut self, id: ConnId) -> Option<Box<Conn>> {
        let slot = self.conns.iter_mut().find(|slot| slot.as_ref().is_some_and(|conn| conn.id == id))?;
        slot.take()
    }

    /// A connection is gone: says so if it was the session, and decides what comes next.
    fn lost(&mut self, conn: &Conn, reason: Reason, now: Instant) {
        let fault = match conn.phase {
            Phase::Established => self.went_down(&reason, now),
            _ => Fault::of(&reason),
        };
        let collided = is_collision(&reason);
        let other = self.conns.iter().flatten().next().map(|other| (other.id, other.phase));
        if other.is_none() || !collided {
            self.note_end(reason.clone(), now);
        }
        match (self.admin, other) {
            (Admin::Down | Admin::Suspended(_), _) => {}
            (Admin::Up, Some((id, Phase::Held))) => self.establish(id, now),
            (Admin::Up, Some(_)) => {}
            (Admin::Up, None) => self.wait_after(fault, now),
        }
    }

    fn went_down(&mut self, reason: &Reason, now: Instant) -> Fault {
        let Some(mut up) = self.up.take() else { return Fault::of(reason) };
        up.inbound.flush(&mut self.events);
        if now - up.since >= self.config.timing.stable_after {
            self.backoff.reset();
        }
        let retention = restart::retention(self.config.restart.as_ref(), &up.negotiated, reason);
        let is_restart = matches!((reason, &retention), (Reason::Transport(_), Retention::Stale { .. }));
        self.events.push_back(Event::Down { reason: reason.clone(), retention });
        // RFC 4724 section 4.2: a connection that closes without a NOTIFICATION is a restart. It keeps routes for as long
        // as it waits for us, which may be a few seconds only.
        if is_restart { Fault::Nobodys } else { Fault::of(reason) }
    }

    /// Lets the dialer wait after a failure, unless it is under way already.
    fn wait_after(&mut self, fault: Fault, now: Instant) {
        let (min, max) = (self.config.timing.idle_hold_min, self.config.timing.idle_hold_max);
        let wait = match fault {
            Fault::Nobodys => self.backoff.wait(min, &mut self.random),
            Fault::Somebodys => self.backoff.fail(min, max, &mut self.random),
        };
        if !matches!(self.dialer, Dialer::Dialing(_)) {
            self.hold_dialer(now + wait);
        }
    }

    fn note_end(&mut self, reason: Reason, at: Instant) {
        self.ended = Some(Box::new(Ended { reason, at }));
    }

    /// The time between KEEPALIVE messages: a third of the hold time, shortened by jitter.
    pub(super) fn keepalive_interval(&mut self, id: ConnId) -> Option<Duration> {
        let hold = self.conn_mut(id)?.hold_time()?;
        Some(self.random.shortened(hold / 3).max(KEEPALIVE_MIN))
    }

    /// Does what is due.
    pub(super) fn expire(&mut self, now: Instant, backlog: &impl Backlog) {
        if matches!(self.admin, Admin::Suspended(until) if until <= now) {
            self.begin(now);
        }
        if self.dialer.is_due(now) {
            self.dialer_expired(now);
        }
        let ids: Vec<ConnId> = self.connections().map(|(id, _)| id).collect();
        for id in ids {
            self.conn_expired(id, now, backlog);
        }
        if let Some(up) = &mut self.up {
            up.inbound.timeout(now, &mut self.events);
            for outbound in &mut up.outbound {
                if outbound.pass_wish(now) {
                    self.events.push_back(Event::RefreshRequested(outbound.family()));
                }
            }
        }
    }

    fn dialer_expired(&mut self, now: Instant) {
        if let Dialer::Dialing(_) = self.dialer {
            self.actions.push_back(Action::CancelDial);
            self.dial_ended(Failure::TimedOut, now);
        }
        let busy = self.conns.iter().flatten().any(|conn| conn.state() >= State::OpenConfirm);
        if busy {
            let retry = self.random.shortened(self.config.timing.connect_retry);
            self.dialer = Dialer::Retry(now + retry);
        } else {
            self.dial(now);
        }
    }

    fn conn_expired(&mut self, id: ConnId, now: Instant, backlog: &impl Backlog) {
        let offer = self.conn_mut(id).filter(|conn| is_due(conn.delay_open, now)).is_some();
        let offer = offer.then(|| negotiate::offer(&self.config));
        let interval = self.keepalive_interval(id);
        let timing = self.config.timing;
        let Some(conn) = self.conn_mut(id) else { return };
        let send_hold = timing.send_hold(conn.hold_time());
        if let Some(offer) = offer {
            conn.send_open(&offer);
        }
        if is_due(conn.keepalive, now) {
            conn.due.keepalive = Some(KeepaliveDue);
            conn.keepalive = interval.map(|interval| now + interval);
        }
        if is_due(conn.hold, now) {
            if !backlog.has_unread(id) {
                self.close(id, Notification::new(ErrorCode::HOLD_TIMER_EXPIRED), now);
                return;
            }
            conn.hold = Some(now + HOLD_RECHECK);
        }
        if is_due(conn.sending.check_at, now)
            && conn.sending.check(backlog.unsent(id), send_hold, now) == Progress::Stalled
        {
            self.close(id, Notification::new(ErrorCode::SEND_HOLD_TIMER_EXPIRED), now);
            return;
        }
        if is_due(conn.collision, now) {
            self.establish(id, now);
        }
    }
}

impl Conn {
    /// Makes our OPEN the next thing to send.
    fn send_open(&mut self, offer: &Open) {
        self.due.open = Some(message::open(offer));
        self.delay_open = None;
        self.phase = Phase::OpenSent;
    }
}

/// Whether the dialer waits longer each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing is wrong with either speaker.
    Nobodys,
    /// It may well happen again.
    Somebodys,
}

impl Fault {
    /// RFC 4271 section 8.2.2 exempts Event 24, another version; a collision settles itself.
    fn of(reason: &Reason) -> Fault {
        let is_version = matches!(reason, Reason::Received(n) if n.error == ErrorCode::OPEN_VERSION);
        if is_version || is_collision(reason) { Fault::Nobodys } else { Fault::Somebodys }
    }
}

fn is_collision(reason: &Reason) -> bool {
    match reason {
        Reason::Sent(n) | Reason::Received(n) => n.error == ErrorCode::CEASE_COLLISION,
        Reason::Dial(_) | Reason::Transport(_) | Reason::WrongAs { .. } => false,
        Reason::Unreadable | Reason::Replaced | Reason::Left => false,
    }
}
