//! Why connections and sessions end, in the words that an operator reads.
//!
//! A session ends because the transport failed ([`Failure`]), because one side said so (a NOTIFICATION), because a
//! restarted peer replaced it, or because we were told to ([`Stop`]). The text of a [`Reason`] starts with the class
//! that BIRD's users know: `Socket:` for the transport, `Received:` for what the peer said, `BGP Error:` for what we
//! said. RFC 4486, RFC 8538 and RFC 9003 give the forms of Cease.

use bgp_proto::{Asn, ErrorCode, Family, Notification};
use core::fmt;

use crate::time::Duration;

/// How the transport failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The peer closed the connection in order.
    Ended,
    /// The peer, or a kernel on the way, reset it.
    Reset,
    /// Nothing listens there.
    Refused,
    /// No answer.
    TimedOut,
    /// No route to the host.
    HostUnreachable,
    /// No route to its network.
    NetworkUnreachable,
    /// The local address to use does not exist.
    AddressNotAvailable,
    /// Any other error, as the operating system numbers it.
    Os(i32),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::Ended => "Connection closed",
            Failure::Reset => "Connection reset by peer",
            Failure::Refused => "Connection refused",
            Failure::TimedOut => "Connection timed out",
            Failure::HostUnreachable => "No route to host",
            Failure::NetworkUnreachable => "Network is unreachable",
            Failure::AddressNotAvailable => "Cannot assign requested address",
            Failure::Os(code) => return write!(f, "System error {code}"),
        })
    }
}

/// Why a connection or a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Dialing failed.
    Dial(Failure),
    /// An open connection failed.
    Transport(Failure),
    /// We sent this NOTIFICATION.
    Sent(Notification),
    /// We refused a peer that is in another AS than configured (RFC 4271 section 6.2).
    WrongAs {
        /// Its own word.
        said: Asn,
        /// The configuration's.
        configured: Asn,
    },
    /// The peer sent this NOTIFICATION.
    Received(Notification),
    /// The peer sent a NOTIFICATION that cannot be read; nothing may be answered (RFC 4271 section 6.4).
    Unreadable,
    /// The peer came back on a new connection (RFC 4724 section 5).
    Replaced,
    /// We closed without a NOTIFICATION, so that a helper keeps our routes.
    Left,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Dial(failure) | Reason::Transport(failure) => write!(f, "Socket: {failure}"),
            Reason::Sent(notification) => write!(f, "BGP Error: {notification}"),
            Reason::WrongAs { said, configured } => {
                write!(
                    f,
                    "BGP Error: Bad Peer AS: the peer says it is in AS {said}, configured is AS {configured}"
                )
            }
            Reason::Received(notification) => write!(f, "Received: {notification}"),
            Reason::Unreadable => f.write_str("Received: a malformed NOTIFICATION"),
            Reason::Replaced => f.write_str("Replaced by a new connection of the peer"),
            Reason::Left => f.write_str("Left without a NOTIFICATION"),
        }
    }
}

/// Why the session is to end, and whether it may start again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The operator shuts the session down and says why (RFC 9003). It stays down.
    Shutdown(String),
    /// The operator resets the session. It starts again.
    Reset(String),
    /// The peer is no longer configured. It stays down.
    Deconfigured,
    /// A setting changed that needs new OPENs. It starts again.
    ConfigChanged,
    /// The peer announced more than its limit. It starts again after `restart`, if given.
    PrefixLimit {
        /// The family whose limit it is.
        family: Family,
        /// The limit.
        limit: u32,
        /// When to try again.
        restart: Option<Duration>,
    },
    /// Something ran out here. It starts again.
    OutOfResources,
    /// The forwarding path to the peer is down (RFC 9384). It starts again.
    BfdDown,
    /// This process ends and says so.
    Exit,
    /// This process ends and comes back soon: no NOTIFICATION, so that helpers keep its routes (RFC 4724).
    Leave,
}

/// What happens after a [`Stop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// The session stays down until it is started.
    Down,
    /// It starts again after the shortest wait.
    Again,
    /// It starts again after this long.
    Later(Duration),
}

impl Stop {
    /// The NOTIFICATION that says so, `None` to leave without one.
    pub(super) fn notification(&self) -> Option<Notification> {
        Some(match self {
            Stop::Shutdown(text) => communication(ErrorCode::CEASE_SHUTDOWN, text),
            Stop::Reset(text) => communication(ErrorCode::CEASE_RESET, text),
            Stop::Deconfigured => Notification::new(ErrorCode::CEASE_DECONFIGURED),
            Stop::ConfigChanged => Notification::new(ErrorCode::CEASE_CONFIG_CHANGE),
            Stop::PrefixLimit { family, limit, .. } => Notification::max_prefixes(*family, *limit),
            Stop::OutOfResources => Notification::new(ErrorCode::CEASE_RESOURCES),
            Stop::BfdDown => Notification::new(ErrorCode::CEASE_BFD_DOWN),
            Stop::Exit => Notification::new(ErrorCode::CEASE_SHUTDOWN),
            Stop::Leave => return None,
        })
    }

    /// Whether neither side should keep the other's routes, so that, between speakers that restart gracefully after
    /// a NOTIFICATION too, it must be a Hard Reset (RFC 8538 section 3).
    pub(super) fn is_hard(&self) -> bool {
        match self {
            Stop::Shutdown(_) | Stop::Deconfigured | Stop::PrefixLimit { .. } | Stop::Exit => true,
            Stop::OutOfResources | Stop::BfdDown => true,
            Stop::Reset(_) | Stop::ConfigChanged | Stop::Leave => false,
        }
    }

    pub(super) fn afterwards(&self) -> Afterwards {
        match self {
            Stop::Shutdown(_) | Stop::Deconfigured | Stop::Exit | Stop::Leave => Afterwards::Down,
            Stop::PrefixLimit { restart: None, .. } => Afterwards::Down,
            Stop::PrefixLimit { restart: Some(wait), .. } => Afterwards::Later(*wait),
            Stop::Reset(_) | Stop::ConfigChanged | Stop::OutOfResources | Stop::BfdDown => Afterwards::Again,
        }
    }
}

fn communication(error: ErrorCode, text: &str) -> Notification {
    if text.is_empty() { Notification::new(error) } else { Notification::with_communication(error, text) }
}
