//! One peer: the state machine of RFC 4271 over up to two connections, and what flows through it.
//!
//! A [`Session`] does nothing by itself. Its driver tells it what happened and when ([`Session::accepted`],
//! [`Session::received`], [`Session::timeout`], ...), then asks what is to be done ([`Session::poll_action`]), what happened
//! ([`Session::poll_event`]), what is to be written ([`Session::poll_transmit`]) and when to come back
//! ([`Session::deadline`]). Drain the first two after every input. It runs where its socket is, so that a busy table
//! never costs a keepalive.
//!
//! ```text
//!          received -> frame -> message -> phase of the connection -> Inbound -> Event::Routes  (to the table)
//!   poll_transmit <- Due (OPEN, KEEPALIVE, refresh) <- Outbound (cursor) <- Feed, LogView       (from the table)
//! ```
//!
//! # Connections
//!
//! While the session is not Established there are at most two: one dialed, one accepted. Once it is, there is at most
//! one more, a challenger, let in only if graceful restart is in force. `collision` says who stays; the newest accepted
//! connection always replaces an older one that is not Established, because a peer that dials again has given up the old one.
//!
//! A connection that is closed is gone from the session at once: the order to close it carries the NOTIFICATION.
//!
//! # Hold timer
//!
//! A peer is silent if it sent nothing, not if we read nothing. So before the hold timer expires the driver is asked
//! what the kernel holds ([`Backlog`]). Octets that wait to be read, because our own back-pressure or a busy machine keeps
//! us from them, put the verdict off. The same way RFC 9687's send hold timer counts what the peer acknowledged, not
//! what fits into the kernel's buffer.
//!
//! # Bounds
//!
//! Received octets are decoded in the driver's buffer; a connection keeps at most one partial message. Everything that is
//! queued for the driver came out of one input. Control messages to send are marks, not a queue. Outbound routes
//! are shared octets that nobody queues.
//!
//! RFC 4271, 4486, 4724, 5492, 6286, 6608, 6793, 7313, 7606, 8538, 8654, 9003, 9687.

mod collision;
mod config;
mod conn;
mod event;
mod fsm;
mod inbound;
mod message;
mod negotiate;
mod outbound;
mod reason;
mod receive;
mod restart;
mod timers;

pub use config::{
    Config, Connect, FirstAs, NotificationRestart, Restart, RestartPhase, RoleRule, Strictness, Timing,
};
pub use event::{Action, ConnId, Counters, Ended, Epoch, Event, Manner, Messages, Side, State, Verdict};
pub use reason::{Failure, Reason, Stop};
pub use timers::Timer;

use bgp_proto::{Family, FamilySet};
use bytes::Bytes;
use core::mem;
use std::collections::VecDeque;
use std::sync::Arc;

use self::conn::{Conn, Phase};
use self::fsm::{Admin, Dialer};
use self::inbound::Inbound;
use self::outbound::Outbound;
use self::timers::{Backoff, Deadline, Random};
use crate::events::{Negotiated, RefreshMode};
use crate::feed::{Feed, LogView};
use crate::ids::{GroupId, PeerId};
use crate::time::Instant;

/// What the kernel holds for a connection. The driver answers; a simulation makes it up.
pub trait Backlog {
    /// Whether octets have arrived that were not given to [`Session::received`].
    fn has_unread(&self, conn: ConnId) -> bool;
    /// Octets that were written and that the peer has not acknowledged.
    fn unsent(&self, conn: ConnId) -> usize;
}

/// Whether a changed configuration ended the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconfigured {
    /// It goes on.
    Kept,
    /// What an OPEN says has changed: it was closed with Cease, Other Configuration Change, and starts again.
    Reset,
}

/// One peer's state machine. See the module's text.
#[derive(Debug)]
pub struct Session {
    peer: PeerId,
    config: Config,
    admin: Admin,
    dialer: Dialer,
    conns: [Option<Box<Conn>>; 2],
    next_conn: u32,
    up: Option<Box<Up>>,
    epoch: Epoch,
    backoff: Backoff,
    random: Random,
    state: State,
    since: Instant,
    ended: Option<Box<Ended>>,
    counters: Box<Counters>,
    events: VecDeque<Event>,
    actions: VecDeque<Action>,
}

/// What exists only while the session is Established.
#[derive(Debug)]
struct Up {
    since: Instant,
    updated: Updated,
    negotiated: Box<Negotiated>,
    inbound: Inbound,
    outbound: Vec<Outbound>,
    /// Families that the peer asked for again before they had a feed.
    asked: FamilySet,
    /// The old connection is not probed again before this, however often the peer opens new ones.
    probe_after: Instant,
    /// Which family goes first when the next octets are taken.
    turn: usize,
}

/// Whether an UPDATE came over the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Updated {
    No,
    Yes,
}

impl Session {
    /// A session that is not started. `seed` sets its timers apart from those of others.
    pub fn new(peer: PeerId, config: Config, seed: u64) -> Session {
        Session {
            peer,
            config,
            admin: Admin::Down,
            dialer: Dialer::Off,
            conns: [None, None],
            next_conn: 0,
            up: None,
            epoch: Epoch(0),
            backoff: Backoff::default(),
            random: Random::new(seed),
            state: State::Idle,
            since: Instant::EPOCH,
            ended: None,
            counters: Box::default(),
            events: VecDeque::new(),
            actions: VecDeque::new(),
        }
    }

    /// Starts the session, or starts it again at once if it waits after a failure.
    pub fn start(&mut self, now: Instant) {
        self.begin(now);
        self.settle(now);
    }

    /// Ends all connections for `stop`.
    pub fn stop(&mut self, stop: &Stop, now: Instant) {
        self.end(stop, now);
        self.settle(now);
    }

    /// Whether nothing but [`Session::start`] ends the wait.
    pub fn is_kept_down(&self) -> bool {
        self.admin == Admin::Down
    }

    /// A connection that [`Action::Dial`] asked for is open.
    pub fn dialed(&mut self, now: Instant) -> Verdict {
        let verdict = self.admit_dialed(now);
        self.settle(now);
        verdict
    }

    /// A connection that [`Action::Dial`] asked for could not be opened.
    pub fn dial_failed(&mut self, failure: Failure, now: Instant) {
        self.dial_ended(failure, now);
        self.settle(now);
    }

    /// The peer opened a connection.
    pub fn accepted(&mut self, now: Instant) -> Verdict {
        let verdict = self.admit_accepted(now);
        self.settle(now);
        verdict
    }

    /// Octets arrived. All of them are consumed; what comes of them is to be polled before more are given.
    pub fn received(&mut self, conn: ConnId, octets: &[u8], now: Instant) {
        self.receive(conn, octets, now);
        if let Some(up) = &mut self.up {
            up.inbound.flush(&mut self.events);
        }
        self.settle(now);
    }

    /// The driver wrote octets that it had from [`Session::poll_transmit`].
    pub fn wrote(&mut self, conn: ConnId, octets: usize) {
        if let Some(conn) = self.conn_mut(conn) {
            conn.sending.written += octets as u64;
            self.counters.octets_sent += octets as u64;
        }
    }

    /// A connection ended, by the peer or by the network.
    pub fn closed(&mut self, conn: ConnId, failure: Failure, now: Instant) {
        if self.conn_mut(conn).is_some() {
            self.events.push_back(Event::ConnectionFailed(failure));
            self.drop_conn(conn, Reason::Transport(failure), now);
        }
        self.settle(now);
    }

    /// Does what is due at `now`.
    pub fn timeout(&mut self, now: Instant, backlog: &impl Backlog) {
        self.expire(now, backlog);
        self.settle(now);
    }

    /// Gives the session its places in groups. Of an earlier epoch, they are dropped.
    pub fn attach(&mut self, epoch: Epoch, feeds: impl IntoIterator<Item = Feed>) {
        let Some(up) = self.up.as_mut().filter(|_| epoch == self.epoch) else { return };
        for feed in feeds {
            up.attach(self.peer, feed);
        }
    }

    /// Takes a newer view of a group's log.
    pub fn publish(&mut self, group: GroupId, view: &Arc<LogView>) {
        for outbound in self.up.iter_mut().flat_map(|up| &mut up.outbound) {
            outbound.publish(group, view);
        }
    }

    /// Asks the peer for all routes of a family again (RFC 2918). `false` if it cannot be asked.
    pub fn request_refresh(&mut self, family: Family) -> bool {
        let Some(up) = &self.up else { return false };
        if up.negotiated.refresh == RefreshMode::None || !up.negotiated.families.contains(family) {
            return false;
        }
        if let Some(conn) = self.established_mut() {
            conn.due.refreshes.insert(family);
        }
        true
    }

    /// Takes over a changed configuration.
    pub fn configure(&mut self, config: Config, now: Instant) -> Reconfigured {
        let differs = self.config.needs_reset(&config);
        let reset = differs && self.conns.iter().any(Option::is_some);
        if reset {
            self.end(&Stop::ConfigChanged, now);
        }
        let redirected = self.config.connect != config.connect;
        self.config = config;
        if redirected || (differs && !reset) {
            self.redirect(now);
        }
        self.settle(now);
        if reset { Reconfigured::Reset } else { Reconfigured::Kept }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        pop(&mut self.actions)
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        pop(&mut self.events)
    }

    /// Hands over about `room` octets to write, in slices of whole messages: control messages first, then what the table
    /// has to tell. Returns how many; it may be more than `room` by one segment.
    pub fn poll_transmit(
        &mut self,
        conn: ConnId,
        room: usize,
        now: Instant,
        mut out: impl FnMut(Bytes),
    ) -> usize {
        let interval = self.keepalive_interval(conn);
        let Some(conn) = self.conns.iter_mut().flatten().find(|c| c.id == conn) else { return 0 };
        let control = conn.due.take(&mut self.counters.sent, &mut out);
        let mut routes = 0;
        if let (Phase::Established, Some(up)) = (conn.phase, &mut self.up) {
            routes = up.take(room.saturating_sub(control), &mut out);
        }
        if routes > 0 {
            // An UPDATE does for a KEEPALIVE (RFC 4271 section 4.4).
            conn.keepalive = interval.map(|interval| now + interval);
        }
        conn.sending.handed += (control + routes) as u64;
        control + routes
    }

    /// When [`Session::timeout`] wants to be called, and what for.
    pub fn deadline(&self) -> Option<(Instant, Timer)> {
        let mut deadline = Deadline::default();
        self.dialer.offer(&mut deadline);
        self.admin.offer(&mut deadline);
        for conn in self.conns.iter().flatten() {
            conn.offer(&mut deadline);
        }
        if let Some(up) = &self.up {
            deadline.offer(up.inbound.deadline(), Timer::RefreshEnd);
            for outbound in &up.outbound {
                deadline.offer(outbound.deadline(), Timer::Refresh);
            }
        }
        deadline.earliest()
    }

    /// The peer.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The state, and since when.
    pub fn state(&self) -> (State, Instant) {
        (self.state, self.since)
    }

    /// What both sides agreed on, while the session is Established.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.up.as_ref().map(|up| &*up.negotiated)
    }

    /// Why the last connection or attempt ended.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_deref()
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Connections that exist now, with their sides.
    pub fn connections(&self) -> impl Iterator<Item = (ConnId, Side)> + '_ {
        self.conns.iter().flatten().map(|conn| (conn.id, conn.side))
    }

    /// Families that are told to the peer: for those it has a feed.
    pub fn fed_families(&self) -> FamilySet {
        self.up.iter().flat_map(|up| &up.outbound).map(Outbound::family).collect()
    }

    fn conn_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.iter_mut().flatten().map(|conn| &mut **conn).find(|conn| conn.id == id)
    }

    fn established_mut(&mut self) -> Option<&mut Conn> {
        self.conns.iter_mut().flatten().map(|conn| &mut **conn).find(|conn| conn.phase == Phase::Established)
    }

    /// Reports a change of state.
    fn settle(&mut self, now: Instant) {
        let state = self.current_state();
        let from = mem::replace(&mut self.state, state);
        if from != state {
            self.since = now;
            self.events.push_back(Event::StateChanged { from, to: state });
        }
    }
}

/// The next one. A queue that is empty keeps no room: there are thousands, and nearly all are.
fn pop<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let next = queue.pop_front();
    if next.is_none() && queue.capacity() > 0 {
        *queue = VecDeque::new();
    }
    next
}

impl Up {
    fn attach(&mut self, peer: PeerId, feed: Feed) {
        let family = feed.family;
        if let Some(outbound) = self.outbound.iter_mut().find(|outbound| outbound.family() == family) {
            outbound.attach(peer, feed, self.negotiated.refresh);
        } else if self.negotiated.families.contains(family) {
            self.outbound.push(Outbound::new(peer, feed));
            if self.asked.remove(family) {
                self.asked_again(family);
            }
        }
    }

    /// The peer wants all routes of a family again.
    fn asked_again(&mut self, family: Family) {
        match self.outbound.iter_mut().find(|outbound| outbound.family() == family) {
            Some(outbound) => outbound.wish(),
            None => {
                self.asked.insert(family);
            }
        }
    }

    /// Takes octets from the feeds, starting with another family each time, so that none starves the rest.
    fn take(&mut self, room: usize, out: &mut impl FnMut(Bytes)) -> usize {
        let families = self.outbound.len();
        let mut taken = 0;
        for step in 0..families {
            let index = (self.turn + step) % families;
            if let Some(outbound) = self.outbound.get_mut(index).filter(|_| taken < room) {
                taken += outbound.take(room - taken, out);
            }
        }
        self.turn = self.turn.wrapping_add(1);
        taken
    }
}

#[cfg(test)]
mod tests;
