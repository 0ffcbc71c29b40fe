//! What standards do to routes at the border of the AS, whatever the policy: RFC 9234, 8326, 7999, 9012.

use super::*;
use crate::events::FarEnd;
use bgp_proto::attr::{Community, ExtCommunity, MacAddr};
use bgp_proto::capability::Role;

/// Internal peer 1, and external peers 5 and 6 (AS 65005 and 65006) to whom this speaker has these roles.
fn world(to_5: Role, to_6: Role) -> World {
    let mut world = World::new(Resolution::Assumed);
    world.up(1, peer_config(PeerKind::Client), negotiated(1, 65001));
    for (peer, role) in [(5, to_5), (6, to_6)] {
        let config = PeerConfig { role: Some(role), ..peer_config(PeerKind::External) };
        world.up(peer, config, negotiated(peer, 65000 + peer));
    }
    world
}

fn marked_by(asn: u32) -> AttrSet {
    let mut edit = attrs(5, &[65005]);
    policy::leak::mark(&mut edit, Asn(asn));
    edit.build()
}

#[test]
fn a_customer_that_sends_what_only_customers_may_have_is_not_believed() {
    let mut world = world(Role::Provider, Role::Provider);
    world.announce(5, P, marked_by(65009));
    assert_eq!(world.holders(P), [] as [u32; 0]);
    assert_eq!(world.table.rejected(PeerId(5)), [(Rejected::RouteLeak, 1)]);
}

#[test]
fn what_a_provider_sends_is_marked_and_goes_to_customers_only() {
    let mut world = world(Role::Customer, Role::Peer);
    world.announce(5, P, attrs(5, &[65005]).build());
    assert_eq!(world.holders(P), [1]);
    assert_eq!(world.heard(1, P).and_then(|a| a.only_to_customer()), Some(Asn(65005)));
}

#[test]
fn what_goes_to_a_customer_is_marked_with_our_own_as() {
    let mut world = world(Role::Provider, Role::Provider);
    world.announce(5, P, attrs(5, &[65005]).build());
    assert_eq!(world.heard(6, P).and_then(|a| a.only_to_customer()), Some(Asn(65001)));
    assert_eq!(world.heard(1, P).and_then(|a| a.only_to_customer()), None);
}

#[test]
fn a_route_on_its_way_out_is_the_last_resort() {
    let mut world = World::reflector();
    world.announce(5, P, attrs(5, &[65005]).communities(&[Community::GRACEFUL_SHUTDOWN]).build());
    assert_eq!(world.heard(1, P).and_then(|a| a.local_pref()), Some(0));
    world.announce(3, P, attrs(3, &[65007, 65008]).local_pref(Some(1)).build());
    assert_eq!(world.heard(1, P).and_then(|a| a.local_pref()), Some(1));
}

#[test]
fn a_blackhole_does_not_leave_the_as() {
    let mut world = World::reflector();
    world.announce(5, P, attrs(5, &[65005]).communities(&[Community::BLACKHOLE]).build());
    assert_eq!(world.holders(P), [1, 2, 3, 4]);
}

#[test]
fn an_external_peer_is_shown_the_as_that_it_knows_us_by() {
    let mut world = World::new(Resolution::Assumed);
    world.up(1, peer_config(PeerKind::Client), negotiated(1, 65001));
    let config = PeerConfig { local_asn: Asn(65099), ..peer_config(PeerKind::External) };
    world.up(5, config, negotiated(5, 65005));
    world.announce(1, P, attrs(1, &[]).local_pref(Some(100)).build());
    assert_eq!(world.heard(5, P).and_then(|a| a.as_path().first_as()), Some(Asn(65099)));
    world.announce(5, "10.9.0.0/24", attrs(5, &[65005, 65099]).build());
    assert_eq!(world.table.rejected(PeerId(5)), [(Rejected::OwnAsInPath, 1)]);
}

/// A path of `peer` that names a tunnel, and a route target beside it.
fn tunnelled(peer: u32, path: &[u32]) -> AttrSet {
    let far_end =
        FarEnd { addr: Some("192.0.2.66".parse().unwrap()), vni: None, mac: MacAddr([2, 0, 0, 0, 0, 1]) };
    let mut edit = attrs(peer, path);
    edit.add_ext_community("rt:65001:1".parse::<ExtCommunity>().unwrap());
    far_end.name_in(&mut edit);
    edit.build()
}

/// Clients 1 and 2, external peers 5 and 6, all in reach; what 5 is to our tunnels.
fn on_a_node(tunnels: TunnelScope) -> World {
    let mut world = World::new(Resolution::Kernel);
    for peer in [1, 2] {
        world.up(peer, peer_config(PeerKind::Client), negotiated(peer, 65001));
    }
    world.up(5, PeerConfig { tunnels, ..peer_config(PeerKind::External) }, negotiated(5, 65005));
    world.up(6, peer_config(PeerKind::External), negotiated(6, 65006));
    world
}

/// A peer's path, in reach.
fn announce(world: &mut World, peer: u32, path: &[u32]) {
    world.announce(peer, P, tunnelled(peer, path));
    world.table.next_hop(IpAddr::V4(addr(peer)), Reachability::Reachable { metric: 0 });
    world.settle();
}

/// The tunnel that the kernel's route goes through.
fn installed(world: &World) -> Option<FarEnd> {
    match world.fib.get(&prefix(P)) {
        Some(FibRoute::Via(hops)) => hops.first()?.vxlan,
        Some(FibRoute::Blackhole) | None => panic!("no route"),
    }
}

#[test]
fn an_external_peer_does_not_say_into_which_tunnel_packets_go() {
    let mut world = on_a_node(TunnelScope::Outside);
    announce(&mut world, 5, &[65005]);
    assert_eq!(installed(&world), None);
    let heard = world.heard(1, P).expect("a route");
    assert!(!FarEnd::is_named_in(heard));
    assert!(heard.ext_communities().contains("rt:65001:1".parse().unwrap()), "the rest stays");
}

#[test]
fn tunnels_are_told_to_internal_peers_only() {
    let mut world = on_a_node(TunnelScope::Outside);
    announce(&mut world, 1, &[]);
    assert!(installed(&world).is_some());
    assert!(world.heard(2, P).is_some_and(FarEnd::is_named_in));
    let outside = world.heard(5, P).expect("a route");
    assert!(!FarEnd::is_named_in(outside));
    assert!(outside.ext_communities().contains("rt:65001:1".parse().unwrap()), "the rest stays");
}

#[test]
fn an_external_peer_within_the_scope_is_believed_and_told() {
    let mut world = on_a_node(TunnelScope::Inside);
    announce(&mut world, 5, &[65005]);
    assert!(installed(&world).is_some());
    assert!(world.heard(6, P).is_some_and(|heard| !FarEnd::is_named_in(heard)), "peer 6 is outside");
    assert!(world.heard(1, P).is_some_and(FarEnd::is_named_in));
    announce(&mut world, 1, &[]);
    assert!(world.heard(5, P).is_some_and(FarEnd::is_named_in));
}
