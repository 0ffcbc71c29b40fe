//! When a start is over: every peer has told what it has, or had time to.
//!
//! Until then routes that the kernel kept from before are left alone; afterwards, those that nobody announced go. The
//! wait is for peers that are there, and bounded for each of them alone:
//!
//! * a peer that is not established is waited for [`Patience::unreachable`], counted from the start, so that a dead
//!   one costs seconds, not minutes;
//! * one that is established, and restarts gracefully (RFC 4724), is waited for until End-of-RIB in every family;
//! * one that says nothing about its end is waited for [`Patience::quiet`] after its last routes;
//! * and nobody longer than [`Patience::total`].
//!
//! Two things wait for it. What the kernel kept and nobody announced goes when *everybody* has spoken. What this speaker
//! has to tell, after a restart of its own, it tells when everybody has spoken that does not wait in the same way
//! (RFC 4724 section 4.1): else two that restart together would wait for each other.
//!
//! Pure: the clock is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use bgp_proto::FamilySet;
use reflector::ids::PeerId;
use reflector::time::Instant;

/// How long to wait for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// For a peer that is not established, from the start.
    pub(super) unreachable: Duration,
    /// For a peer that will not say End-of-RIB, from its last routes.
    pub(super) quiet: Duration,
    /// For anybody, from the start.
    pub(super) total: Duration,
}

impl Patience {
    /// With these bounds for peers that are not there, and for anybody.
    pub(super) fn new(unreachable: Duration, total: Duration) -> Patience {
        Patience { unreachable, quiet: Duration::from_secs(2), total }
    }
}

/// What one peer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// To be established.
    Session,
    /// To say End-of-RIB in these families.
    Ends(FamilySet),
    /// To be quiet since this moment.
    Quiet(Instant),
}

/// The start that is under way.
#[derive(Debug)]
pub(super) struct Startup {
    began: Instant,
    patience: Patience,
    waits: BTreeMap<PeerId, Wait>,
    strangers: Strangers,
}

/// Whether peers may come that have no name in the configuration: through a listen range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strangers {
    /// All who may come are known.
    None,
    /// They have the time of a peer that is not there; those that came are waited for as others are.
    Welcome,
}

/// Whether a peer announces the end of its initial routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It negotiated graceful restart, so it says End-of-RIB.
    Said,
    /// It may, or not.
    Unsaid,
}

impl Startup {
    /// A start that waits for `peers`.
    pub(super) fn new(
        began: Instant,
        patience: Patience,
        peers: impl IntoIterator<Item = PeerId>,
        strangers: Strangers,
    ) -> Startup {
        Startup { began, patience, waits: peers.into_iter().map(|p| (p, Wait::Session)).collect(), strangers }
    }

    /// The peer is established.
    pub(super) fn up(&mut self, peer: PeerId, families: FamilySet, ending: Ending, now: Instant) {
        let is_welcome =
            self.strangers == Strangers::Welcome && now <= self.began + self.patience.unreachable;
        if self.waits.contains_key(&peer) || is_welcome {
            let wait = match ending {
                Ending::Said => Wait::Ends(families),
                Ending::Unsaid => Wait::Quiet(now),
            };
            self.waits.insert(peer, wait);
        }
    }

    /// The peer sent routes.
    pub(super) fn heard(&mut self, peer: PeerId, now: Instant) {
        if let Some(Wait::Quiet(since)) = self.waits.get_mut(&peer) {
            *since = now;
        }
    }

    /// The peer said End-of-RIB.
    pub(super) fn ended(&mut self, peer: PeerId, family: bgp_proto::Family) {
        match self.waits.get_mut(&peer) {
            Some(Wait::Ends(families)) => {
                families.remove(family);
                if families.is_empty() {
                    self.waits.remove(&peer);
                }
            }
            // It says it though it need not: families that it says nothing of are not waited for.
            Some(Wait::Quiet(_)) => {
                self.waits.remove(&peer);
            }
            Some(Wait::Session) | None => {}
        }
    }

    /// The peer's session ended.
    pub(super) fn down(&mut self, peer: PeerId) {
        if let Some(wait) = self.waits.get_mut(&peer) {
            *wait = Wait::Session;
        }
    }

    /// The peer is no longer configured.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.waits.remove(&peer);
    }

    fn due(&self, wait: &Wait) -> Instant {
        let total = self.began + self.patience.total;
        match wait {
            Wait::Session => total.min(self.began + self.patience.unreachable),
            Wait::Ends(_) => total,
            Wait::Quiet(since) => total.min(*since + self.patience.quiet),
        }
    }

    /// How many are waited for.
    pub(super) fn waiting(&self) -> usize {
        self.waits.len()
    }

    /// Whether the start is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.strangers_due().is_none_or(|due| due <= now)
            && self.waits.values().all(|wait| self.due(wait) <= now)
    }

    fn strangers_due(&self) -> Option<Instant> {
        match self.strangers {
            Strangers::None => None,
            Strangers::Welcome => Some(self.due(&Wait::Session)),
        }
    }

    /// When to ask again, if nothing is heard.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waits.values().map(|wait| self.due(wait)).chain(self.strangers_due()).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bgp_proto::Family;

    const A: PeerId = PeerId(1);
    const B: PeerId = PeerId(2);

    fn at(secs: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(secs)
    }

    fn patience() -> Patience {
        Patience::new(Duration::from_secs(3), Duration::from_secs(120))
    }

    fn startup() -> Startup {
        Startup::new(at(0), patience(), [A, B], Strangers::None)
    }

    #[test]
    fn nobody_to_wait_for_is_no_wait() {
        let startup = Startup::new(at(0), patience(), [], Strangers::None);
        assert!(startup.is_over(at(0)));
    }

    #[test]
    fn strangers_have_the_time_of_a_peer_that_is_not_there_and_are_waited_for_once_they_came() {
        let mut startup = Startup::new(at(0), patience(), [], Strangers::Welcome);
        assert_eq!((startup.is_over(at(2)), startup.deadline()), (false, Some(at(3))));
        startup.up(A, FamilySet::IPV4, Ending::Said, at(2));
        assert!(!startup.is_over(at(60)));
        startup.up(B, FamilySet::IPV4, Ending::Said, at(4));
        startup.ended(A, Family::IPV4_UNICAST);
        assert!(startup.is_over(at(4)), "who comes late is not waited for");
    }

    #[test]
    fn dead_peers_cost_their_own_patience_only() {
        let startup = startup();
        assert_eq!(startup.deadline(), Some(at(3)));
        assert!(!startup.is_over(at(2)));
        assert!(startup.is_over(at(3)));
    }

    #[test]
    fn a_peer_that_restarts_gracefully_is_waited_for_until_its_last_end_of_rib() {
        let mut startup = startup();
        startup.up(A, FamilySet::UNICAST, Ending::Said, at(1));
        assert!(!startup.is_over(at(60)));
        startup.ended(A, Family::IPV4_UNICAST);
        assert!(!startup.is_over(at(60)));
        startup.ended(A, Family::IPV6_UNICAST);
        assert!(startup.is_over(at(3)));
    }

    #[test]
    fn a_peer_that_says_no_end_is_waited_for_while_it_talks() {
        let mut startup = startup();
        startup.up(A, FamilySet::UNICAST, Ending::Unsaid, at(1));
        startup.heard(A, at(5));
        assert!(!startup.is_over(at(6)));
        assert!(startup.is_over(at(7)));
    }

    #[test]
    fn nobody_is_waited_for_for_ever() {
        let mut startup = startup();
        startup.up(A, FamilySet::UNICAST, Ending::Said, at(1));
        assert!(startup.is_over(at(120)));
    }
}
