//! Octets in: framing, and what each message means in each phase (RFC 4271 section 8.2.2, RFC 6608).
//!
//! Messages are decoded where the driver has them. Only the octets of a message that is not whole are copied, and then
//! just as many more as complete it, so that the rest is again read in place.
//!
//! An unexpected message gets the NOTIFICATION of RFC 6608 for the phase. A NOTIFICATION never gets one, whatever is
//! wrong with it.

use bgp_proto::{
    ErrorCode, Frame, Message, Notification, RefreshKind, Reset, RouteRefresh, Update, WireContext, frame,
};

use super::conn::{Conn, Phase};
use super::event::{ConnId, Event};
use super::inbound::FirstAsRule;
use super::reason::Reason;
use super::{FirstAs, Session, Updated, negotiate};
use crate::events::{Negotiated, RefreshMode};
use crate::time::Instant;

/// A partial message's buffer is kept for the next one up to this size.
const PARTIAL_KEPT: usize = 4096;

/// Whether the connection is still there after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Open,
    Closed,
}

impl Session {
    /// Takes octets of a connection. What follows the end of the connection is dropped.
    pub(super) fn receive(&mut self, id: ConnId, octets: &[u8], now: Instant) {
        self.counters.octets_received += octets.len() as u64;
        let mut rest = octets;
        while !rest.is_empty() {
            let Some(conn) = self.conn_mut(id) else { return };
            let ctx = conn.receive_context();
            if !conn.partial.is_empty() {
                rest = self.complete(id, rest, &ctx, now);
                continue;
            }
            match Frame::first(rest, &ctx) {
                Err(reset) => return self.reset(id, reset, now),
                Ok(None) => return conn.partial.extend_from_slice(rest),
                Ok(Some(frame)) => {
                    rest = rest.get(frame.octets.len()..).unwrap_or(&[]);
                    self.message(id, &frame, &ctx, now);
                }
            }
        }
    }

    /// Adds to a partial message what it lacks, at first of its header. Returns what is left.
    fn complete<'a>(&mut self, id: ConnId, octets: &'a [u8], ctx: &WireContext, now: Instant) -> &'a [u8] {
        let Some(conn) = self.conn_mut(id) else { return &[] };
        let mut partial = core::mem::take(&mut conn.partial);
        let header = match frame::header(&partial, ctx) {
            Ok(header) => header,
            Err(reset) => {
                self.reset(id, reset, now);
                return &[];
            }
        };
        let whole = header.map_or(bgp_proto::HEADER_OCTETS, |header| header.len);
        let lacking = whole.saturating_sub(partial.len()).min(octets.len());
        let (more, rest) = octets.split_at(lacking);
        partial.extend_from_slice(more);
        match Frame::first(&partial, ctx) {
            Err(reset) => self.reset(id, reset, now),
            Ok(None) => self.keep_partial(id, partial),
            Ok(Some(frame)) => {
                self.message(id, &frame, ctx, now);
                partial.clear();
                if partial.capacity() <= PARTIAL_KEPT {
                    self.keep_partial(id, partial);
                }
            }
        }
        rest
    }

    fn keep_partial(&mut self, id: ConnId, partial: Vec<u8>) {
        if let Some(conn) = self.conn_mut(id) {
            conn.partial = partial;
        }
    }

    /// The octets cannot be read: says so and closes, unless nothing may be said.
    fn reset(&mut self, id: ConnId, reset: Reset, now: Instant) {
        self.events.push_back(Event::Faulted(reset.fault));
        match reset.answer {
            Some(answer) => self.close(id, answer, now),
            None => self.drop_conn(id, Reason::Unreadable, now),
        }
    }

    fn message(&mut self, id: ConnId, frame: &Frame<'_>, ctx: &WireContext, now: Instant) {
        let phase = self.conn_mut(id).map(|conn| conn.phase);
        let Some(phase) = phase else { return };
        let message = match Message::decode(frame, ctx) {
            Ok(message) => message,
            Err(reset) => return self.reset(id, reset, now),
        };
        match message {
            Message::Open(open) => {
                self.counters.received.opens += 1;
                match phase {
                    Phase::Delayed | Phase::OpenSent => self.take_open(id, &open, now),
                    Phase::OpenConfirm | Phase::Held | Phase::Established => self.unexpected(id, phase, now),
                }
            }
            Message::Notification(notification) => {
                self.counters.received.notifications += 1;
                self.events.push_back(Event::NotificationReceived(notification.clone()));
                self.drop_conn(id, Reason::Received(notification), now);
            }
            Message::Keepalive => {
                self.counters.received.keepalives += 1;
                self.take_keepalive(id, phase, now);
            }
            Message::Update(update) => {
                self.counters.received.updates += 1;
                if self.flows(id, phase, now) == Flow::Open {
                    self.take_update(&update);
                }
            }
            Message::RouteRefresh(refresh) => {
                self.counters.received.refreshes += 1;
                if self.flows(id, phase, now) == Flow::Open {
                    self.take_refresh(refresh, now);
                }
            }
        }
    }

    fn take_open(&mut self, id: ConnId, open: &bgp_proto::Open, now: Instant) {
        match negotiate::negotiate(&self.config, open) {
            Ok(negotiated) => self.opened(id, Box::new(negotiated), now),
            Err(notification) if notification.error == ErrorCode::OPEN_PEER_AS => {
                let (said, configured) = (open.asn, self.config.peer_asn);
                self.close_for(id, notification, Reason::WrongAs { said, configured }, now);
            }
            Err(notification) => self.close(id, notification, now),
        }
    }

    fn take_keepalive(&mut self, id: ConnId, phase: Phase, now: Instant) {
        match phase {
            Phase::Delayed | Phase::OpenSent => self.unexpected(id, phase, now),
            Phase::OpenConfirm | Phase::Held | Phase::Established => {
                if let Some(conn) = self.conn_mut(id) {
                    conn.heard(now);
                }
            }
        }
        if phase == Phase::OpenConfirm {
            self.confirmed(id, now);
        }
    }

    /// Whether routes may flow over a connection. A peer that sends them over one that is held has decided the collision.
    fn flows(&mut self, id: ConnId, phase: Phase, now: Instant) -> Flow {
        match phase {
            Phase::Delayed | Phase::OpenSent | Phase::OpenConfirm => {
                self.unexpected(id, phase, now);
                return Flow::Closed;
            }
            Phase::Held => self.establish(id, now),
            Phase::Established => {}
        }
        if let Some(conn) = self.conn_mut(id) {
            conn.heard(now);
        }
        Flow::Open
    }

    fn unexpected(&mut self, id: ConnId, phase: Phase, now: Instant) {
        let error = match phase {
            Phase::Delayed => ErrorCode::FSM,
            Phase::OpenSent => ErrorCode::FSM_OPEN_SENT,
            Phase::OpenConfirm | Phase::Held => ErrorCode::FSM_OPEN_CONFIRM,
            Phase::Established => ErrorCode::FSM_ESTABLISHED,
        };
        self.close(id, Notification::new(error), now);
    }

    fn take_update(&mut self, update: &Update<'_>) {
        let Some(up) = &mut self.up else { return };
        up.updated = Updated::Yes;
        let rule = match (self.config.first_as, self.config.is_internal()) {
            (FirstAs::Enforced, false) => FirstAsRule::MustBe(up.negotiated.peer_asn),
            (FirstAs::Enforced, true) | (FirstAs::Any, _) => FirstAsRule::Free,
        };
        up.inbound.update(update, rule, &mut self.counters, &mut self.events);
    }

    /// RFC 2918 section 4, RFC 7313 sections 4 and 5.
    fn take_refresh(&mut self, refresh: RouteRefresh, now: Instant) {
        let Some(up) = &mut self.up else { return };
        let RouteRefresh { family, kind } = refresh;
        let known = up.negotiated.families.contains(family);
        let marks = known && up.negotiated.refresh == RefreshMode::Enhanced;
        let expiry = now + self.config.timing.refresh_end;
        let taken = match kind {
            RefreshKind::Request if known => {
                up.asked_again(family);
                true
            }
            RefreshKind::Begin if marks => {
                up.inbound.refresh_begun(family, expiry, &mut self.events);
                true
            }
            RefreshKind::End if marks => up.inbound.refresh_ended(family, &mut self.events),
            RefreshKind::Request | RefreshKind::Begin | RefreshKind::End | RefreshKind::Unknown(_) => false,
        };
        if !taken {
            self.counters.ignored += 1;
        }
    }
}

impl Conn {
    /// How to read what the peer sends: before its OPEN is taken, by RFC 4271 alone.
    fn receive_context(&self) -> WireContext {
        self.negotiated.as_deref().map_or(WireContext::PLAIN, |Negotiated { receive, .. }| *receive)
    }
}
