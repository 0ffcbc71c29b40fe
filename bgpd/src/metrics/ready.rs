//! When a node is ready.
//!
//! Calico's rule, which its users' rollouts depend on: without peers a node is ready; in the first 30 seconds all peers must be
//! Established, so that a rolling update does not go on too early; after that one suffices, so that a single dead neighbour does not take
//! a node out of service. Before the first routes of the peers are in, it is not ready in any case.

use std::time::Duration;

use crate::control::protocol::Instance;

/// How long all peers are expected.
const ALL_EXPECTED: Duration = Duration::from_secs(30);

/// Whether the node is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It is.
    Ready,
    /// It is not, for this reason.
    NotReady(String),
}

/// Judges a snapshot.
pub fn judge(instance: &Instance) -> Readiness {
    let (up, all) = (instance.peers_established, instance.peers_configured);
    if all == 0 {
        return Readiness::Ready;
    }
    let young = instance.started.secs < ALL_EXPECTED.as_secs();
    if young && up < all {
        return Readiness::NotReady(format!(
            "{up} of {all} peers are Established; all are expected in the first {} s",
            ALL_EXPECTED.as_secs()
        ));
    }
    if up == 0 {
        return Readiness::NotReady(format!("no peer is Established (0 of {all})"));
    }
    if instance.syncing {
        return Readiness::NotReady("the peers' first routes are not complete yet".into());
    }
    Readiness::Ready
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn said(age_secs: u64, up: u64, all: u64, syncing: bool) -> String {
        let mut instance = samples::instance();
        instance.started.secs = age_secs;
        instance.peers_established = up;
        instance.peers_configured = all;
        instance.syncing = syncing;
        match judge(&instance) {
            Readiness::Ready => "ready".into(),
            Readiness::NotReady(why) => why,
        }
    }

    #[test]
    fn calicos_rule_holds() {
        assert_eq!(said(0, 0, 0, true), "ready");
        assert_eq!(said(5, 3, 3, false), "ready");
        assert_eq!(said(5, 2, 3, false), "2 of 3 peers are Established; all are expected in the first 30 s");
        assert_eq!(said(30, 2, 3, false), "ready");
        assert_eq!(said(30, 0, 3, false), "no peer is Established (0 of 3)");
        assert_eq!(said(5, 3, 3, true), "the peers' first routes are not complete yet");
    }
}
