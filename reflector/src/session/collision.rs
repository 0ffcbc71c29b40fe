//! Which of two connections to one peer survives (RFC 4271 section 6.8, RFC 6286 section 2.3, RFC 4724 section 5).
//!
//! Both speakers dial, so for a moment there may be two connections. Both must give up the same one. The rule of
//! the RFC names it by what both know: the connection that the speaker with the higher BGP Identifier dialed
//! stays; between equal identifiers (possible between autonomous systems) the larger AS number decides.
//!
//! The rule alone does not make both speakers agree, since it says to spare a connection that is Established, and
//! one side may be there on the losing connection while the other still sees both in OpenConfirm. Each then closes
//! the connection that the other keeps. So a losing connection is *held* in OpenConfirm, for a short and bounded
//! time, while a winning one is alive. An UPDATE on it ends the wait: only a peer that has decided sends one.
//!
//! A connection that arrives while the session is Established is a challenger. It is either what a collision left
//! behind, or a peer that lost its state and came back. [`challenge`] tells which, before our OPEN is sent over it: a peer
//! that still holds the established connection would take that OPEN for the end of the collision.

use bgp_proto::{Asn, RouterId};
use core::cmp::Ordering;

use super::Side;
use crate::time::Duration;

/// How long a losing connection is held while the winning one may still become usable. Less than the three
/// seconds within which a session must recover if the winner turns out to be dead.
pub(super) const HOLD_LOSER: Duration = Duration::from_millis(1500);

/// A session younger than this, over which no UPDATE came, may be one that the peer still holds in OpenConfirm.
pub(super) const YOUNG: Duration = Duration::from_secs(2);

/// The side whose connection stays.
pub(super) fn winner(local: (RouterId, Asn), remote: (RouterId, Asn)) -> Side {
    match local.cmp(&remote) {
        Ordering::Greater => Side::Dialed,
        Ordering::Less | Ordering::Equal => Side::Accepted,
    }
}

/// What an Established session knows about itself when a second connection arrives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Incumbent {
    /// Whether graceful restart with at least one family is in force.
    pub(super) restartable: bool,
    /// Time since it became Established.
    pub(super) age: Duration,
    /// Whether an UPDATE was received over it.
    pub(super) updated: bool,
}

/// Who stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Challenge {
    /// The established connection; the new one gets Cease, Connection Collision Resolution.
    Rejected,
    /// The new one, if its OPEN is valid: the peer restarted. The old one is then dropped without a NOTIFICATION
    /// (RFC 4724 section 5).
    Replaces,
}

/// Judges a connection that arrived while the session was Established.
pub(super) fn challenge(incumbent: Incumbent) -> Challenge {
    let left_over = incumbent.age < YOUNG && !incumbent.updated;
    if incumbent.restartable && !left_over { Challenge::Replaces } else { Challenge::Rejected }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: (RouterId, Asn) = (RouterId(1), Asn(65001));
    const HIGH: (RouterId, Asn) = (RouterId(2), Asn(65001));

    #[test]
    fn higher_identifier_keeps_what_it_dialed() {
        assert_eq!(winner(HIGH, LOW), Side::Dialed);
        assert_eq!(winner(LOW, HIGH), Side::Accepted);
    }

    #[test]
    fn equal_identifiers_are_decided_by_the_larger_as_number() {
        let other = (LOW.0, Asn(65002));
        assert_eq!(winner(LOW, other), Side::Accepted);
        assert_eq!(winner(other, LOW), Side::Dialed);
    }

    #[test]
    fn a_restarted_peer_replaces_its_session_and_a_collision_does_not() {
        let old = Incumbent { restartable: true, age: Duration::from_secs(60), updated: false };
        assert_eq!(challenge(old), Challenge::Replaces);
        assert_eq!(challenge(Incumbent { restartable: false, ..old }), Challenge::Rejected);
        let young = Incumbent { age: Duration::from_millis(10), ..old };
        assert_eq!(challenge(young), Challenge::Rejected);
        assert_eq!(challenge(Incumbent { updated: true, ..young }), Challenge::Replaces);
    }
}
