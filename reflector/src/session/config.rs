//! What an operator can choose about one session.
//!
//! Everything here is a plain value that can be compared: a changed configuration is applied without touching a
//! session that does not need it (see [`Config::needs_reset`]). Addresses, keys and ports belong to the daemon.

use bgp_proto::capability::Role;
use bgp_proto::{AsSets, Asn, FamilySet, MessageMax, RouterId};

use crate::time::Duration;

/// How one session is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Our AS number towards this peer.
    pub local_asn: Asn,
    /// Our BGP Identifier.
    pub router_id: RouterId,
    /// The peer's AS number.
    pub peer_asn: Asn,
    /// Whether we dial.
    pub connect: Connect,
    /// Families to run.
    pub families: FamilySet,
    /// Families in which we want to send several paths (RFC 7911).
    pub add_path_send: FamilySet,
    /// Families in which we want to receive several paths.
    pub add_path_receive: FamilySet,
    /// IPv4 families whose next hops may be IPv6 (RFC 8950).
    pub extended_next_hop: FamilySet,
    /// The largest message that we take (RFC 8654).
    pub message_max: MessageMax,
    /// Whether paths with AS sets are taken (RFC 9774).
    pub as_sets: AsSets,
    /// Whether a path must begin with the peer's own AS number (RFC 4271 section 6.3).
    pub first_as: FirstAs,
    /// Our role towards the peer (RFC 9234).
    pub role: Option<RoleRule>,
    /// Our graceful restart capability (RFC 4724), if we announce it.
    pub restart: Option<Restart>,
    /// How long things take.
    pub timing: Timing,
}

/// Who dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connect {
    /// Both sides.
    Active,
    /// Only the peer.
    Passive,
}

/// What the first AS of an external peer's path must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstAs {
    /// The peer's.
    Enforced,
    /// Anything: the peer is a route server (RFC 7947 section 2.2.2.1).
    Any,
}

/// Our role, and what to make of a peer without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleRule {
    /// What we are to the peer.
    pub role: Role,
    /// Whether a peer that tells no role is refused (RFC 9234 section 4.2).
    pub strictness: Strictness,
}

/// What to make of a peer that tells no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Take it.
    Lenient,
    /// Refuse it.
    Strict,
}

/// Our graceful restart capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// How long others should keep our routes; up to 4,095 s.
    pub restart_time: Duration,
    /// Families whose routes others should keep.
    pub families: FamilySet,
    /// Families whose forwarding state outlived our last restart: the F bit.
    pub forwarding: FamilySet,
    /// Whether we have just restarted and wait for End-of-RIB: the R bit.
    pub phase: RestartPhase,
    /// Whether NOTIFICATION messages too lead to a graceful restart (RFC 8538): the N bit.
    pub notification: NotificationRestart,
    /// How long stale routes may be kept after the restart time, ours by others and theirs by us (RFC 9494).
    pub long_lived: Option<Duration>,
}

/// Where we are in our own restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPhase {
    /// Routes are selected and advertised.
    Normal,
    /// We have just come back and have not selected routes yet.
    Restarting,
}

/// Whether a NOTIFICATION keeps routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationRestart {
    /// It removes them (RFC 4724).
    Off,
    /// It keeps them, unless it is a Hard Reset (RFC 8538).
    On,
}

/// Timers of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The hold time that we offer, seconds; 0 for none, else at least 3.
    pub hold_secs: u16,
    /// The lowest non-zero hold time that we accept from the peer, seconds.
    pub hold_secs_min: u16,
    /// Between dial attempts that reach nobody.
    pub connect_retry: Duration,
    /// The shortest wait after a session that failed.
    pub idle_hold_min: Duration,
    /// The longest such wait, before jitter.
    pub idle_hold_max: Duration,
    /// A session that lasted this long starts the waits over.
    pub stable_after: Duration,
    /// How long to wait for the peer's OPEN (RFC 4271 section 8.2.2: a large hold time).
    pub open_hold: Duration,
    /// How long to wait with our own OPEN for the peer's.
    pub delay_open: Option<Duration>,
    /// How long a peer may take nothing (RFC 9687); by default 8 minutes or twice the hold time, what is longer.
    pub send_hold: Option<Duration>,
    /// How long a route refresh that the peer began may take before what it did not repeat goes.
    pub refresh_end: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            hold_secs: 90,
            hold_secs_min: 3,
            connect_retry: Duration::from_secs(5),
            idle_hold_min: Duration::from_secs(1),
            idle_hold_max: Duration::from_secs(120),
            stable_after: Duration::from_secs(60),
            open_hold: Duration::from_secs(240),
            delay_open: None,
            send_hold: None,
            refresh_end: Duration::from_secs(360),
        }
    }
}

impl Timing {
    /// The send hold time, given the hold time in use (RFC 9687 section 3).
    pub(super) fn send_hold(&self, hold: Option<Duration>) -> Duration {
        let twice = hold.unwrap_or(Duration::ZERO) * 2;
        self.send_hold.unwrap_or(twice.max(Duration::from_secs(480)))
    }
}

impl Config {
    /// A session between two speakers with everything at its default: IPv4 and IPv6 unicast, both sides dial.
    pub fn new(local_asn: Asn, router_id: RouterId, peer_asn: Asn) -> Config {
        Config {
            local_asn,
            router_id,
            peer_asn,
            connect: Connect::Active,
            families: FamilySet::UNICAST,
            add_path_send: FamilySet::EMPTY,
            add_path_receive: FamilySet::EMPTY,
            extended_next_hop: FamilySet::EMPTY,
            message_max: MessageMax::Extended,
            as_sets: AsSets::Refused,
            first_as: FirstAs::Enforced,
            role: None,
            restart: None,
            timing: Timing::default(),
        }
    }

    /// Whether the peer is in our own AS.
    pub fn is_internal(&self) -> bool {
        self.local_asn == self.peer_asn
    }

    /// Whether going from `self` to `next` takes new OPENs, hence a new session. Timers other than the hold time,
    /// who dials, and where we are in our own restart do not.
    pub fn needs_reset(&self, next: &Config) -> bool {
        self.as_negotiated() != next.as_negotiated()
    }

    /// The configuration with everything levelled that a running session takes over as it is.
    fn as_negotiated(&self) -> Config {
        let restart = self.restart.map(|restart| Restart {
            forwarding: FamilySet::EMPTY,
            phase: RestartPhase::Normal,
            ..restart
        });
        let Timing { hold_secs, hold_secs_min, .. } = self.timing;
        let timing = Timing { hold_secs, hold_secs_min, ..Timing::default() };
        Config { connect: Connect::Active, restart, timing, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new(Asn(65001), RouterId(1), Asn(65002))
    }

    #[test]
    fn only_what_an_open_says_needs_a_reset() {
        let old = config();
        let mut next = old.clone();
        next.connect = Connect::Passive;
        next.timing.connect_retry = Duration::from_secs(1);
        next.timing.send_hold = Some(Duration::from_secs(9));
        assert!(!old.needs_reset(&next));
        next.timing.hold_secs = 9;
        assert!(old.needs_reset(&next));
        assert!(old.needs_reset(&Config { families: FamilySet::IPV4, ..config() }));
    }

    #[test]
    fn send_hold_is_eight_minutes_or_twice_the_hold_time() {
        let timing = Timing::default();
        let secs = Duration::from_secs;
        assert_eq!(timing.send_hold(None), secs(480));
        assert_eq!(timing.send_hold(Some(secs(90))), secs(480));
        assert_eq!(timing.send_hold(Some(secs(300))), secs(600));
    }
}
