//! What goes into a session and what comes out of it, as values.

use bgp_proto::{Family, Fault, Notification};
use bytes::Bytes;
use core::fmt;

use super::reason::{Failure, Reason};
use crate::events::{Negotiated, Retention, Routes};
use crate::time::Instant;

/// Names one connection of a session, for as long as the session lives; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(super) u32);

/// Tells one established session with the peer from the next. What was meant for an earlier one is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u32);

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// We did.
    Dialed,
    /// The peer did.
    Accepted,
}

/// The state of a session: that of its most advanced connection (RFC 4271 section 8.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Stopped, or waiting after a failure.
    Idle,
    /// Dialing.
    Connect,
    /// Waiting for the peer to connect, or for the next attempt.
    Active,
    /// Our OPEN is sent.
    OpenSent,
    /// The peer's OPEN is taken.
    OpenConfirm,
    /// Routes flow.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Idle => "Idle",
            State::Connect => "Connect",
            State::Active => "Active",
            State::OpenSent => "OpenSent",
            State::OpenConfirm => "OpenConfirm",
            State::Established => "Established",
        })
    }
}

/// The answer to a new connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to the session and has this name from now on.
    Accepted(ConnId),
    /// Write these octets, a NOTIFICATION, if that is possible, and close it.
    Refused(Bytes),
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a connection, and report [`Session::dialed`](super::Session::dialed) or
    /// [`Session::dial_failed`](super::Session::dial_failed).
    Dial,
    /// Give up opening a connection. Nothing is to be reported.
    CancelDial,
    /// Finish the message that is partly written, write the farewell, and close. Everything else that was handed over
    /// for the connection is void, and nothing more is to be reported about it.
    Close {
        /// The connection.
        conn: ConnId,
        /// The last octets to write: a NOTIFICATION.
        farewell: Option<Bytes>,
        /// How to close.
        manner: Manner,
    },
}

/// How to close a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Let the peer read the farewell first.
    Orderly,
    /// At once, by a reset: the peer reads nothing (RFC 9687 section 3).
    Abort,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The state changed.
    StateChanged {
        /// From this.
        from: State,
        /// To this.
        to: State,
    },
    /// The session is Established.
    Up {
        /// What to give to [`Session::attach`](super::Session::attach).
        epoch: Epoch,
        /// What both sides agreed on.
        negotiated: Box<Negotiated>,
    },
    /// The peer announced or withdrew routes.
    Routes(Routes),
    /// The peer has told everything it had, in this family (RFC 4724 section 2).
    EndOfRib(Family),
    /// The peer wants everything told again (RFC 2918): attach what the table grants for it.
    RefreshRequested(Family),
    /// The peer begins to tell everything again (RFC 7313 section 4).
    RefreshBegun(Family),
    /// The peer has told everything again, or was given up waiting for: what it did not repeat is gone.
    RefreshEnded(Family),
    /// The session is no longer Established.
    Down {
        /// Why.
        reason: Reason,
        /// Which of the peer's routes stay.
        retention: Retention,
    },
    /// We sent a NOTIFICATION.
    NotificationSent(Notification),
    /// The peer sent a NOTIFICATION.
    NotificationReceived(Notification),
    /// A connection, or an attempt to open one, failed.
    ConnectionFailed(Failure),
    /// The peer sent something wrong. At most one event a message, its worst fault; [`Counters`] have them all.
    Faulted(Fault),
}

/// Why the last connection or attempt ended, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub reason: Reason,
    /// When.
    pub at: Instant,
}

/// Messages by type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Messages {
    /// OPEN.
    pub opens: u64,
    /// UPDATE. Of those sent, only what the session makes itself is counted: groups share the rest, see
    /// [`Counters::octets_sent`].
    pub updates: u64,
    /// NOTIFICATION.
    pub notifications: u64,
    /// KEEPALIVE.
    pub keepalives: u64,
    /// ROUTE-REFRESH.
    pub refreshes: u64,
}

/// What a session counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages received.
    pub received: Messages,
    /// Messages sent.
    pub sent: Messages,
    /// Octets received.
    pub octets_received: u64,
    /// Octets that the driver said it wrote.
    pub octets_sent: u64,
    /// Times that the session became Established.
    pub established: u64,
    /// Attempts to open a connection.
    pub dials: u64,
    /// Of those, attempts without any answer, one after the other; 0 as soon as a connection opens.
    pub dials_unanswered: u32,
    /// Attributes dropped for their faults (RFC 7606, attribute discard).
    pub attributes_discarded: u64,
    /// UPDATE messages taken as withdrawals for their faults (RFC 7606, treat-as-withdraw).
    pub treated_as_withdrawn: u64,
    /// Messages without effect: refreshes of families not negotiated, unknown subtypes, EoRR without BoRR.
    pub ignored: u64,
    /// Connections refused or closed in favour of another.
    pub collisions: u64,
}
