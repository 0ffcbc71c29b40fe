//! Import policies that look at the way that packets take.

use super::*;
use crate::ids::IfName;
use crate::policy::program::{Attribute, Expression, Operator, Program, Statement, Value};
use crate::rib::nexthop::Link;

/// Accepts what leaves by `eth0`.
fn by_eth0() -> PolicyChoice {
    let pattern = Expression::Constant(Value::Text("eth0".into()));
    let interface = Expression::Attribute(Attribute::Interface);
    let condition = Expression::Binary(Operator::Matches, Box::new(interface), Box::new(pattern));
    let body = vec![Statement::If { condition, then: vec![Statement::Accept], otherwise: Vec::new() }];
    PolicyChoice::Policy(Arc::new(Policy::from_program("by_eth0".to_owned(), Program { body })))
}

#[test]
fn a_peer_is_asked_again_when_the_way_that_its_policy_looks_at_is_known() {
    let mut world = World::new(Resolution::Kernel);
    world.up(1, PeerConfig { import: by_eth0(), ..peer_config(PeerKind::NonClient) }, negotiated(1, 65001));
    world.up(2, peer_config(PeerKind::NonClient), negotiated(2, 65001));
    let paths = |world: &World| world.table.totals(V4).1;
    let route = || attrs(1, &[]).local_pref(Some(100)).build();
    world.announce(1, P, route());
    assert_eq!(paths(&world), 0, "the way is not known yet");
    world.notices.clear();
    let hop = IpAddr::V4(addr(1));
    let link = |name: &str| Link { interface: IfName::new(name).expect("a name"), gateway: hop };
    world.table.next_hop_link(hop, Some(link("eth0")));
    world.settle();
    let wanted = Notice::RefreshWanted { peer: PeerId(1), family: V4 };
    assert_eq!(world.notices, std::slice::from_ref(&wanted), "and nobody else is asked");
    world.announce(1, P, route());
    assert_eq!(paths(&world), 1);
    world.notices.clear();
    world.table.next_hop_link(hop, Some(link("eth1")));
    world.settle();
    assert_eq!(world.notices, [wanted]);
    world.announce(1, P, route());
    assert_eq!(paths(&world), 0);
}
