//! Long-lived graceful restart (RFC 9494), as the table carries it out.

use super::*;
use bgp_proto::attr::Community;

const RESTART: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(3600);
const Q: &str = "10.2.0.0/24";

fn knows(peer: u32, restart_time: Duration, forwarding: FamilySet) -> Negotiated {
    let families = FamilySet::IPV4;
    let restart =
        PeerRestart { restart_time, restarting: false, notification: false, families, forwarding: families };
    let long_lived = LongLived { peer: LongLivedPeer::Aware, times: vec![(V4, LONG)], forwarding };
    Negotiated { restart: Some(restart), long_lived, ..negotiated(peer, 65001) }
}

fn stale(restart_time: Duration) -> Retention {
    Retention::Stale { restart_time, families: FamilySet::IPV4 }
}

fn at(time: Duration) -> Instant {
    Instant::EPOCH + time
}

fn route(peer: u32, communities: &[Community]) -> AttrSet {
    attrs(peer, &[]).local_pref(Some(100)).communities(communities).build()
}

/// Client 1, which restarts, with two routes; client 2 knows RFC 9494, client 3 does not, client 4 is told all the same.
fn world(restart_time: Duration) -> World {
    let mut world = World::new(Resolution::Assumed);
    let client = peer_config(PeerKind::Client);
    world.up(1, client.clone(), knows(1, restart_time, FamilySet::IPV4));
    world.up(2, client.clone(), knows(2, RESTART, FamilySet::IPV4));
    world.up(3, client.clone(), negotiated(3, 65001));
    let told = PeerConfig { long_lived_unaware: LongLivedRule::Depreferred, ..client };
    world.up(4, told, negotiated(4, 65001));
    for to in [P, Q] {
        world.announce(1, to, route(1, &[]));
    }
    world
}

fn pass(world: &mut World, time: Duration) {
    world.now = at(time);
    world.table.timeout(world.now);
    world.settle();
}

fn is_marked(world: &World, peer: u32, of: &str) -> Option<bool> {
    Some(world.heard(peer, of)?.communities().contains(Community::LLGR_STALE))
}

#[test]
fn after_the_restart_time_routes_stay_as_a_last_resort_for_those_who_know_them() {
    let mut world = world(RESTART);
    world.down(1, stale(RESTART));
    assert_eq!(is_marked(&world, 2, P), Some(false), "until then nobody sees anything");
    pass(&mut world, RESTART);
    assert_eq!(is_marked(&world, 2, P), Some(true));
    assert_eq!(world.holders(P), [2, 4]);
    let told = world.heard(4, P).expect("the route");
    assert_eq!(told.local_pref(), Some(0));
    assert!(told.communities().contains(Community::NO_EXPORT));
    assert_eq!(world.table.deadline(), Some(at(RESTART + LONG)));
    pass(&mut world, RESTART + LONG);
    assert_eq!(world.holders(P), [] as [u32; 0]);
}

#[test]
fn a_restart_time_of_zero_goes_straight_to_the_last_resort() {
    let mut world = world(Duration::ZERO);
    world.down(1, stale(Duration::ZERO));
    assert_eq!(is_marked(&world, 2, P), Some(true));
}

#[test]
fn a_route_that_does_not_want_it_goes_with_the_restart_time() {
    let mut world = world(RESTART);
    world.announce(1, Q, route(1, &[Community::NO_LLGR]));
    world.down(1, stale(RESTART));
    assert_eq!(world.holders(Q).len(), 3);
    pass(&mut world, RESTART);
    assert_eq!(world.holders(Q), [] as [u32; 0]);
    assert_eq!(is_marked(&world, 2, P), Some(true));
}

#[test]
fn any_other_route_is_better_whatever_the_preference_also_than_one_that_came_marked() {
    let mut world = world(RESTART);
    let weak = |peer| attrs(peer, &[]).local_pref(Some(1)).build();
    world.announce(2, P, weak(2));
    assert_eq!(world.heard(3, P).and_then(|a| a.local_pref()), Some(100));
    world.down(1, stale(RESTART));
    pass(&mut world, RESTART);
    assert_eq!(world.heard(3, P).and_then(|a| a.local_pref()), Some(1));
    world.announce(2, Q, route(2, &[Community::LLGR_STALE]));
    world.announce(3, Q, weak(3));
    assert_eq!(world.heard(2, Q).and_then(|a| a.local_pref()), Some(1));
}

#[test]
fn the_mark_goes_when_the_peer_says_the_route_again_and_stays_if_it_says_it_with_it() {
    let mut world = world(RESTART);
    world.down(1, stale(RESTART));
    pass(&mut world, RESTART);
    world.up(1, peer_config(PeerKind::Client), knows(1, RESTART, FamilySet::IPV4));
    world.announce(1, P, route(1, &[]));
    world.announce(1, Q, route(1, &[Community::LLGR_STALE]));
    assert_eq!((is_marked(&world, 2, P), is_marked(&world, 2, Q)), (Some(false), Some(true)));
    world.table.end_of_rib(PeerId(1), V4);
    world.settle();
    assert_eq!(world.table.deadline(), None, "the clock stops at End-of-RIB");
    assert_eq!((is_marked(&world, 2, P), is_marked(&world, 2, Q)), (Some(false), Some(true)));
}

#[test]
fn what_is_not_said_again_goes_at_end_of_rib() {
    let mut world = world(RESTART);
    world.down(1, stale(RESTART));
    pass(&mut world, RESTART);
    world.up(1, peer_config(PeerKind::Client), knows(1, RESTART, FamilySet::IPV4));
    assert_eq!(is_marked(&world, 2, Q), Some(true));
    world.table.end_of_rib(PeerId(1), V4);
    world.settle();
    assert_eq!(world.holders(Q), [] as [u32; 0]);
}

#[test]
fn a_peer_back_without_its_forwarding_state_loses_its_routes_at_once() {
    let mut world = world(RESTART);
    world.down(1, stale(RESTART));
    pass(&mut world, RESTART);
    world.up(1, peer_config(PeerKind::Client), knows(1, RESTART, FamilySet::EMPTY));
    world.settle();
    assert_eq!(world.holders(P), [] as [u32; 0]);
}

#[test]
fn a_second_loss_before_end_of_rib_does_not_set_the_clock_back() {
    let mut world = world(RESTART);
    world.down(1, stale(RESTART));
    pass(&mut world, RESTART);
    pass(&mut world, RESTART + LONG / 2);
    world.up(1, peer_config(PeerKind::Client), knows(1, RESTART, FamilySet::IPV4));
    world.announce(1, Q, route(1, &[]));
    world.down(1, stale(RESTART));
    assert_eq!(world.table.deadline(), Some(at(RESTART + LONG)));
    assert_eq!((is_marked(&world, 2, P), is_marked(&world, 2, Q)), (Some(true), Some(true)));
}

#[test]
fn a_peer_that_is_no_longer_configured_leaves_nothing_behind() {
    let mut world = world(RESTART);
    world.down(1, stale(RESTART));
    pass(&mut world, RESTART);
    world.table.remove_peer(PeerId(1));
    world.settle();
    assert_eq!(world.holders(P), [] as [u32; 0]);
    assert_eq!(world.table.deadline(), None);
}
