//! Whose policy named the prefix of a kernel route.

use super::*;
use crate::events::Naming;

/// Accepts these prefixes and no others.
fn only(ranges: Vec<PrefixRange>) -> PolicyChoice {
    let rule =
        policy::Rule { when: vec![Condition::Prefixes(ranges)], action: Action::Accept, edits: vec![] };
    let (name, otherwise) = ("only".to_owned(), Action::Reject);
    PolicyChoice::Policy(Arc::new(Policy { name, rules: vec![rule], otherwise, program: None }))
}

/// What the kernel should have for `P`: through how many next hops, and who named it.
fn told(world: &mut World) -> (usize, Naming) {
    world.settle();
    let all = world.table.fib_all();
    let change = all.into_iter().find(|change| change.prefix == prefix(P)).expect("a route");
    match change.route {
        Some(FibRoute::Via(hops)) => (hops.len(), change.naming),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_policy_speaks_for_its_own_peer_only() {
    let mut world = World::new(Resolution::Kernel);
    let named = only(vec![PrefixRange::exact(prefix(P))]);
    let within = only(vec![PrefixRange { within: prefix("10.0.0.0/8"), len_min: 8, len_max: 32 }]);
    for (peer, import) in [(1, named), (2, PolicyChoice::Everything), (3, within)] {
        let config = PeerConfig { import, ..peer_config(PeerKind::NonClient) };
        world.up(peer, config, negotiated(peer, 65001));
    }
    let say = |world: &mut World, peer, local_pref| {
        world.announce(peer, P, attrs(peer, &[]).local_pref(Some(local_pref)).build());
        world.table.next_hop(IpAddr::V4(addr(peer)), Reachability::Reachable { metric: 0 });
    };
    say(&mut world, 2, 100);
    assert_eq!(told(&mut world), (1, Naming::Blanket));
    say(&mut world, 3, 200);
    assert_eq!(told(&mut world), (1, Naming::Named), "a range is not a name");
    say(&mut world, 1, 300);
    assert_eq!(told(&mut world), (1, Naming::Exact));
    say(&mut world, 2, 300);
    assert_eq!(told(&mut world), (1, Naming::Exact), "no peer rides along on another's policy");
    say(&mut world, 2, 400);
    assert_eq!(told(&mut world), (1, Naming::Blanket), "a better path, but nobody named its prefix");
}
