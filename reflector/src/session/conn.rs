//! One connection: its phase, its timers, and what of it waits to be sent or to be completed.
//!
//! There is no queue of control messages. What may be waiting is one OPEN, one KEEPALIVE and one ROUTE-REFRESH a
//! family, so it is a set of marks, bounded by its form. A NOTIFICATION is never among them: it travels with
//! the order to close.
//!
//! Received octets are decoded where the driver has them. Only a message that is not complete is kept, in a buffer that
//! exists as long as it is needed, so an idle connection costs no memory for it.

use bgp_proto::FamilySet;

use super::event::{ConnId, Side, State};
use crate::events::Negotiated;
use crate::time::{Duration, Instant};

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Our OPEN waits for the peer's (RFC 4271 section 8.1.1, DelayOpen).
    Delayed,
    /// Our OPEN is sent.
    OpenSent,
    /// The peer's OPEN is taken.
    OpenConfirm,
    /// The peer's KEEPALIVE too, but the connection would lose a collision that is not decided.
    Held,
    /// Routes flow.
    Established,
}

/// One connection of a session.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) side: Side,
    pub(super) phase: Phase,
    /// A message of which only a part has arrived.
    pub(super) partial: Vec<u8>,
    /// What the OPENs agreed on, once the peer's is taken.
    pub(super) negotiated: Option<Box<Negotiated>>,
    pub(super) due: Due,
    pub(super) sending: Sending,
    /// The hold timer; before Established, the time for the peer's OPEN.
    pub(super) hold: Option<Instant>,
    pub(super) keepalive: Option<Instant>,
    pub(super) delay_open: Option<Instant>,
    pub(super) collision: Option<Instant>,
}

/// Control messages that wait to be sent, in this order.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) open: Option<bytes::Bytes>,
    pub(super) keepalive: Option<KeepaliveDue>,
    pub(super) refreshes: FamilySet,
}

/// A KEEPALIVE waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeepaliveDue;

/// Progress of what was written (RFC 9687).
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// Octets handed to the driver.
    pub(super) handed: u64,
    /// Octets that it wrote.
    pub(super) written: u64,
    /// Octets known to have reached the peer.
    delivered: u64,
    /// When they last became more, or nothing was outstanding.
    progress_at: Instant,
    /// When to look again.
    pub(super) check_at: Option<Instant>,
}

/// Whether the peer takes what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It does, or there is nothing for it to take.
    Made,
    /// Not for the send hold time.
    Stalled,
}

impl Sending {
    /// Starts to watch.
    pub(super) fn watch(&mut self, send_hold: Duration, now: Instant) {
        self.progress_at = now;
        self.check_at = Some(now + send_hold / 4);
    }

    /// Looks at what has been delivered, given what the kernel still holds.
    pub(super) fn check(&mut self, unsent: usize, send_hold: Duration, now: Instant) -> Progress {
        let delivered = self.written.saturating_sub(u64::try_from(unsent).unwrap_or(u64::MAX));
        if delivered > self.delivered || delivered == self.handed {
            self.delivered = delivered;
            self.progress_at = now;
        }
        let expiry = self.progress_at + send_hold;
        self.check_at = Some(expiry.min(now + send_hold / 4));
        if now >= expiry { Progress::Stalled } else { Progress::Made }
    }
}

impl Conn {
    /// A connection that has just opened.
    pub(super) fn new(id: ConnId, side: Side) -> Conn {
        Conn {
            id,
            side,
            phase: Phase::Delayed,
            partial: Vec::new(),
            negotiated: None,
            due: Due::default(),
            sending: Sending::default(),
            hold: None,
            keepalive: None,
            delay_open: None,
            collision: None,
        }
    }

    /// The state that RFC 4271 calls this.
    pub(super) fn state(&self) -> State {
        match (self.phase, self.side) {
            (Phase::Delayed, Side::Dialed) => State::Connect,
            (Phase::Delayed, Side::Accepted) => State::Active,
            (Phase::OpenSent, _) => State::OpenSent,
            (Phase::OpenConfirm | Phase::Held, _) => State::OpenConfirm,
            (Phase::Established, _) => State::Established,
        }
    }

    /// The hold time in use, if there is one.
    pub(super) fn hold_time(&self) -> Option<Duration> {
        let secs = self.negotiated.as_ref().map_or(0, |negotiated| negotiated.hold_secs);
        (secs > 0).then(|| Duration::from_secs(u64::from(secs)))
    }

    /// Something was heard: the hold timer starts again (RFC 4271 section 8.2.2).
    pub(super) fn heard(&mut self, now: Instant) {
        if self.negotiated.is_some() {
            self.hold = self.hold_time().map(|hold| now + hold);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(480);

    fn at(secs: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(secs)
    }

    #[test]
    fn a_peer_that_takes_octets_slowly_makes_progress() {
        let mut sending = Sending { handed: 1000, written: 900, ..Sending::default() };
        sending.watch(HOLD, at(0));
        for tick in 1..100 {
            assert_eq!(sending.check(800 - tick, HOLD, at(120 * tick as u64)), Progress::Made);
        }
    }

    #[test]
    fn a_peer_that_takes_nothing_stalls_after_the_send_hold_time() {
        let mut sending = Sending { handed: 1000, written: 900, ..Sending::default() };
        sending.watch(HOLD, at(0));
        assert_eq!(sending.check(900, HOLD, at(120)), Progress::Made);
        assert_eq!(sending.check(900, HOLD, at(479)), Progress::Made);
        assert_eq!(sending.check(900, HOLD, at(480)), Progress::Stalled);
    }

    #[test]
    fn silence_with_nothing_to_send_is_no_stall() {
        let mut sending = Sending { handed: 900, written: 900, ..Sending::default() };
        sending.watch(HOLD, at(0));
        assert_eq!(sending.check(0, HOLD, at(10_000)), Progress::Made);
    }
}
