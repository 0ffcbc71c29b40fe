//! Routes that outlive a session or a refresh (RFC 4724, 7313), and what this speaker tells after its own restart.

use super::*;

fn restarting(peer: u32, forwarding: FamilySet) -> Negotiated {
    let restart_time = Duration::from_secs(30);
    let families = FamilySet::IPV4;
    let restart =
        Some(PeerRestart { restart_time, restarting: true, notification: false, families, forwarding });
    Negotiated { restart, ..negotiated(peer, 65001) }
}

fn stale() -> Retention {
    Retention::Stale { restart_time: Duration::from_secs(30), families: FamilySet::IPV4 }
}

/// Peer 1 with two routes, told to peer 2, whose session then ended with retention.
fn restarted() -> World {
    let mut world = World::new(Resolution::Assumed);
    world.up(1, peer_config(PeerKind::Client), restarting(1, FamilySet::IPV4));
    world.up(2, peer_config(PeerKind::Client), negotiated(2, 65001));
    for to in [P, "10.2.0.0/24"] {
        world.announce(1, to, attrs(1, &[]).local_pref(Some(100)).build());
    }
    world.down(1, stale());
    assert_eq!(world.listeners[&2].heard.len(), 2, "others see nothing of the restart");
    world
}

#[test]
fn stale_routes_go_when_the_restart_time_is_over() {
    let mut world = restarted();
    assert_eq!(world.table.deadline(), Some(Instant::EPOCH + Duration::from_secs(30)));
    world.table.timeout(Instant::EPOCH + Duration::from_secs(30));
    world.settle();
    assert!(world.listeners[&2].heard.is_empty());
    assert_eq!(world.notices, [Notice::StaleExpired { peer: PeerId(1), routes: 2 }]);
}

#[test]
fn what_was_not_said_again_goes_at_end_of_rib() {
    let mut world = restarted();
    world.up(1, peer_config(PeerKind::Client), restarting(1, FamilySet::IPV4));
    world.announce(1, P, attrs(1, &[]).local_pref(Some(100)).build());
    assert_eq!(world.listeners[&2].heard.len(), 2);
    world.table.end_of_rib(PeerId(1), V4);
    world.settle();
    assert_eq!(world.holders(P), [2]);
    assert_eq!(world.holders("10.2.0.0/24"), [] as [u32; 0]);
    assert_eq!(world.listeners[&2].announcements, 2, "the same route again is not told again");
}

#[test]
fn a_family_that_was_not_forwarded_meanwhile_loses_its_routes_at_once() {
    let mut world = restarted();
    world.up(1, peer_config(PeerKind::Client), restarting(1, FamilySet::EMPTY));
    world.settle();
    assert!(world.listeners[&2].heard.is_empty());
}

#[test]
fn a_second_restart_keeps_only_what_the_first_one_confirmed() {
    let mut world = restarted();
    world.up(1, peer_config(PeerKind::Client), restarting(1, FamilySet::IPV4));
    world.announce(1, P, attrs(1, &[]).local_pref(Some(100)).build());
    world.down(1, stale());
    assert_eq!(world.holders(P), [2]);
    assert_eq!(world.holders("10.2.0.0/24"), [] as [u32; 0]);
}

#[test]
fn a_refresh_sweeps_what_was_not_repeated() {
    let mut world = World::reflector();
    for to in [P, "10.2.0.0/24"] {
        world.announce(1, to, attrs(1, &[]).local_pref(Some(100)).build());
    }
    world.table.refresh_begun(PeerId(1), V4);
    world.announce(1, P, attrs(1, &[]).local_pref(Some(100)).build());
    assert_eq!(world.holders("10.2.0.0/24"), [2, 3, 4, 5, 6]);
    world.table.refresh_ended(PeerId(1), V4);
    world.settle();
    assert_eq!(world.holders("10.2.0.0/24"), [] as [u32; 0]);
    assert_eq!(world.holders(P), [2, 3, 4, 5, 6]);
}

#[test]
fn a_speaker_that_restarted_tells_nothing_until_it_is_released() {
    let mut world = World::new(Resolution::Assumed);
    world.table.defer();
    for peer in [1, 2] {
        world.up(peer, peer_config(PeerKind::Client), negotiated(peer, 65001));
    }
    world.announce(1, "10.1.0.0/16", attrs(1, &[]).local_pref(Some(100)).build());
    world.settle();
    assert!(world.table.is_deferring() && world.listeners.is_empty());
    let granted = world.table.release();
    let feeds: Vec<_> = granted.iter().map(|(peer, feeds)| (peer.0, feeds.len())).collect();
    assert_eq!(feeds, [(1, 1), (2, 1)]);
    let ctx = negotiated(1, 65001).transmit;
    for (peer, feeds) in granted {
        feeds.into_iter().for_each(|feed| world.attach(peer.0, feed, ctx));
    }
    world.settle();
    assert_eq!(world.holders("10.1.0.0/16"), [2]);
    assert!(world.table.release().is_empty());
}
