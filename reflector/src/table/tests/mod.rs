//! The table as its peers see it: what was said to it, what each peer heard.

mod interest;
mod leaks;
mod long_lived;
mod naming;
mod restart;
mod ways;

use bgp_proto::attr::{Community, Origin};
use bgp_proto::{
    Asn, AttrCode, AttrSet, ClusterId, Family, FamilySet, Frame, HEADER_OCTETS, NextHop, Nlri, PathId,
    Prefix, RouterId, Update, WireContext,
};
use core::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::decide::Multipath;
use crate::events::{
    FibRoute, Hop, LongLived, LongLivedPeer, Negotiated, PeerRestart, RefreshMode, Retention,
};
use crate::feed::{Cursor, Feed};
use crate::group::{LongLivedRule, NextHopRule, PolicyChoice, TunnelScope};
use crate::ids::EntryId;
use crate::policy::{self, Action, Condition, Edit, Policy, PrefixRange};
use crate::reflection::PeerKind;
use crate::time::Duration;

const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
const V4: Family = Family::IPV4_UNICAST;

type Heard = BTreeMap<(Prefix, PathId), AttrSet>;

struct Listener {
    cursor: Cursor,
    group: GroupId,
    view: Arc<LogView>,
    ctx: WireContext,
    heard: Heard,
    announcements: usize,
    withdrawals: usize,
    ends: usize,
}

/// A table and the peers that listen to it.
struct World {
    table: Table,
    listeners: BTreeMap<u32, Listener>,
    fib: BTreeMap<Prefix, FibRoute>,
    notices: Vec<Notice>,
    now: Instant,
}

fn config(resolution: Resolution) -> Config {
    Config {
        local: Local { asn: Asn(65001), router_id: RouterId::from(OWN), cluster_id: ClusterId(0x0909_0909) },
        resolution,
        multipath_max: 4,
        kernel_export: PolicyChoice::Everything,
        rules: Rules::default(),
    }
}

fn peer_config(kind: PeerKind) -> PeerConfig {
    PeerConfig {
        entry: EntryId(1),
        kind,
        import: PolicyChoice::Everything,
        export: PolicyChoice::Everything,
        next_hop: NextHopRule::Auto,
        prefix_limit: None,
        local_asn: Asn(65001),
        role: None,
        long_lived_unaware: LongLivedRule::Withheld,
        own_as_max: 0,
        tunnels: TunnelScope::Outside,
        stale_path_time: Duration::from_secs(360),
        paths_max: 1,
    }
}

fn negotiated(peer: u32, asn: u32) -> Negotiated {
    let kind = if asn == 65001 { bgp_proto::PeerKind::Internal } else { bgp_proto::PeerKind::External };
    let ctx = WireContext { families: FamilySet::UNICAST, peer: kind, ..WireContext::default() };
    Negotiated {
        peer_asn: Asn(asn),
        peer_router_id: RouterId(peer),
        hold_secs: 90,
        families: FamilySet::IPV4,
        receive: ctx,
        transmit: ctx,
        refresh: RefreshMode::Plain,
        restart: None,
        long_lived: LongLived::default(),
    }
}

fn addr(peer: u32) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, peer as u8)
}

fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

/// A path of `peer`: external ones begin with its AS.
fn attrs(peer: u32, path: &[u32]) -> bgp_proto::AttrSetBuilder {
    let mut b = AttrSet::builder(NextHop::from(addr(peer)));
    b.origin(Origin::Igp).as_path(&path.iter().map(|a| Asn(*a)).collect::<Vec<_>>());
    b
}

impl World {
    fn new(resolution: Resolution) -> World {
        World {
            table: Table::new(config(resolution)),
            listeners: BTreeMap::new(),
            fib: BTreeMap::new(),
            notices: Vec::new(),
            now: Instant::EPOCH,
        }
    }

    /// A reflector with clients 1 and 2, internal peers 3 and 4, external peers 5 (AS 65005) and 6 (AS 65006).
    fn reflector() -> World {
        let mut world = World::new(Resolution::Assumed);
        for peer in [1, 2] {
            world.up(peer, peer_config(PeerKind::Client), negotiated(peer, 65001));
        }
        for peer in [3, 4] {
            world.up(peer, peer_config(PeerKind::NonClient), negotiated(peer, 65001));
        }
        for peer in [5, 6] {
            world.up(peer, peer_config(PeerKind::External), negotiated(peer, 65000 + peer));
        }
        world.settle();
        world
    }

    fn up(&mut self, peer: u32, config: PeerConfig, negotiated: Negotiated) {
        let feeds = self.table.set_peer(PeerId(peer), config);
        assert!(feeds.is_empty());
        let own = OwnAddrs { v4: Some(OWN), v6: None };
        let attachment = Attachment { peer_addr: IpAddr::V4(addr(peer)), own };
        for feed in self.table.peer_up(PeerId(peer), &negotiated, &attachment, self.now) {
            self.attach(peer, feed, negotiated.transmit);
        }
    }

    fn attach(&mut self, peer: u32, feed: Feed, ctx: WireContext) {
        let heard = self.listeners.remove(&peer).map(|l| l.heard).unwrap_or_default();
        let cursor = Cursor::new(PeerId(peer), &feed);
        let mut listener = Listener {
            cursor,
            group: feed.group,
            view: feed.view,
            ctx,
            heard,
            announcements: 0,
            withdrawals: 0,
            ends: 0,
        };
        for octets in &feed.prelude {
            listener.hear(octets);
        }
        self.listeners.insert(peer, listener);
    }

    fn down(&mut self, peer: u32, retention: Retention) {
        self.listeners.remove(&peer);
        self.table.peer_down(PeerId(peer), retention, self.now);
        self.settle();
    }

    fn announce(&mut self, peer: u32, to: &str, attrs: AttrSet) {
        self.announce_path(peer, to, 0, attrs);
    }

    fn announce_path(&mut self, peer: u32, to: &str, path_id: u32, attrs: AttrSet) {
        let nlri = Nlri::Prefix(prefix(to));
        let change = RouteChange { family: V4, path_id: PathId(path_id), nlri, attrs: Some(0) };
        self.table.routes(PeerId(peer), &Routes { attrs: vec![attrs], changes: vec![change] }, self.now);
        self.settle();
    }

    fn withdraw(&mut self, peer: u32, from: &str) {
        let nlri = Nlri::Prefix(prefix(from));
        let change = RouteChange { family: V4, path_id: PathId(0), nlri, attrs: None };
        self.table.routes(PeerId(peer), &Routes { attrs: Vec::new(), changes: vec![change] }, self.now);
        self.settle();
    }

    /// Commits, publishes, and lets everybody read to the end.
    fn settle(&mut self) {
        let commit = self.table.commit();
        for change in commit.fib {
            match change.route {
                Some(route) => self.fib.insert(change.prefix, route),
                None => self.fib.remove(&change.prefix),
            };
        }
        self.notices.extend(commit.notices);
        for (group, view) in commit.advanced {
            for listener in self.listeners.values_mut().filter(|l| l.group == group) {
                listener.view = view.clone();
            }
        }
        for listener in self.listeners.values_mut() {
            listener.read();
        }
    }

    fn heard(&self, peer: u32, of: &str) -> Option<&AttrSet> {
        self.listeners[&peer].heard.get(&(prefix(of), PathId(0)))
    }

    /// The peers that hold a route to `of`.
    fn holders(&self, of: &str) -> Vec<u32> {
        let holds = |l: &Listener| l.heard.keys().any(|(p, _)| *p == prefix(of));
        self.listeners.iter().filter(|(_, l)| holds(l)).map(|(peer, _)| *peer).collect()
    }
}

impl Listener {
    fn read(&mut self) {
        loop {
            let mut taken = Vec::new();
            let view = self.view.clone();
            let took = self.cursor.take(&view, |octets| taken.push(octets));
            for octets in taken {
                self.hear(&octets);
            }
            self.ends += usize::from(self.cursor.take_due(&view));
            if !took {
                return;
            }
        }
    }

    fn hear(&mut self, mut octets: &[u8]) {
        while let Some(frame) = Frame::first(octets, &self.ctx).expect("a sound header") {
            octets = &octets[HEADER_OCTETS + frame.body().len()..];
            let update = Update::decode(frame.body(), &self.ctx).expect("a sound UPDATE");
            for unreach in update.unreach() {
                for (path_id, prefix) in unreach.nlri.prefixes() {
                    self.withdrawals += 1;
                    self.heard.remove(&(prefix, path_id));
                }
            }
            for reach in update.reach() {
                for (path_id, prefix) in reach.nlri.prefixes() {
                    self.announcements += 1;
                    self.heard.insert((prefix, path_id), update.attr_set(reach.next_hop));
                }
            }
        }
    }
}

const P: &str = "10.1.0.0/24";

#[test]
fn a_route_of_a_client_goes_to_everybody_else() {
    let mut world = World::reflector();
    world.announce(1, P, attrs(1, &[]).local_pref(Some(100)).build());
    assert_eq!(world.holders(P), [2, 3, 4, 5, 6]);
}

#[test]
fn a_route_of_an_internal_peer_goes_to_clients_and_external_peers() {
    let mut world = World::reflector();
    world.announce(3, P, attrs(3, &[]).local_pref(Some(100)).build());
    assert_eq!(world.holders(P), [1, 2, 5, 6]);
}

#[test]
fn a_route_of_an_external_peer_goes_to_everybody_else_without_reflections_marks() {
    let mut world = World::reflector();
    world.announce(5, P, attrs(5, &[65005]).build());
    assert_eq!(world.holders(P), [1, 2, 3, 4, 6]);
    let heard = world.heard(1, P).expect("a route");
    assert_eq!((heard.originator_id(), heard.cluster_list().len()), (None, 0));
    assert_eq!(heard.local_pref(), Some(100));
    assert_eq!(heard.next_hop().addr(), Some(IpAddr::V4(addr(5))));
}

#[test]
fn reflection_adds_originator_and_cluster_and_touches_nothing_else() {
    let mut world = World::reflector();
    let mut sent = attrs(1, &[65100]);
    sent.local_pref(Some(120)).med(Some(7)).communities(&[Community::new(65001, 1)]);
    let sent = sent.build();
    world.announce(1, P, sent.clone());
    let heard = world.heard(3, P).expect("a route").clone();
    assert_eq!(heard.originator_id(), Some(RouterId(1)));
    assert_eq!(heard.cluster_list().iter().collect::<Vec<_>>(), [ClusterId(0x0909_0909)]);
    let mut unmarked = heard.edit();
    unmarked.originator_id(None).remove(AttrCode::CLUSTER_LIST);
    assert_eq!(unmarked.build(), sent);
}

#[test]
fn an_originator_is_kept_and_the_cluster_goes_first() {
    let mut world = World::reflector();
    let mut sent = attrs(3, &[]);
    sent.local_pref(Some(100)).originator_id(Some(RouterId(77))).cluster_prepend(ClusterId(0x0101_0101));
    world.announce(3, P, sent.build());
    let heard = world.heard(1, P).expect("a route");
    assert_eq!(heard.originator_id(), Some(RouterId(77)));
    let clusters: Vec<_> = heard.cluster_list().iter().collect();
    assert_eq!(clusters, [ClusterId(0x0909_0909), ClusterId(0x0101_0101)]);
}

#[test]
fn an_external_peer_hears_own_as_own_next_hop_and_nothing_internal() {
    let mut world = World::reflector();
    let mut sent = attrs(1, &[65100]);
    sent.local_pref(Some(120)).med(Some(7)).originator_id(Some(RouterId(9))).cluster_prepend(ClusterId(5));
    world.announce(1, P, sent.build());
    let heard = world.heard(5, P).expect("a route");
    assert_eq!(heard.as_path().to_string(), "65001 65100");
    assert_eq!(heard.next_hop().addr(), Some(IpAddr::V4(OWN)));
    assert_eq!((heard.local_pref(), heard.med(), heard.originator_id()), (None, None, None));
    assert!(heard.cluster_list().is_empty());
}

#[test]
fn a_path_that_was_here_before_is_dropped_and_takes_its_former_version_along() {
    let own = RouterId::from(OWN);
    let looped: [fn(&mut bgp_proto::AttrSetBuilder, RouterId); 3] = [
        |b, own| {
            b.originator_id(Some(own));
        },
        |b, _| {
            b.cluster_prepend(ClusterId(0x0909_0909)).cluster_prepend(ClusterId(3));
        },
        |b, _| {
            b.as_path(&[Asn(65100), Asn(65001)]);
        },
    ];
    for make in looped {
        let mut world = World::reflector();
        world.announce(3, P, attrs(3, &[]).local_pref(Some(100)).build());
        assert_eq!(world.holders(P), [1, 2, 5, 6]);
        let mut again = attrs(3, &[]);
        again.local_pref(Some(100));
        make(&mut again, own);
        world.announce(3, P, again.build());
        assert_eq!(world.holders(P), [] as [u32; 0]);
    }
}

#[test]
fn the_next_best_path_replaces_the_best_without_a_withdrawal_in_between() {
    let mut world = World::reflector();
    world.announce(1, P, attrs(1, &[]).local_pref(Some(200)).build());
    world.announce(2, P, attrs(2, &[]).local_pref(Some(100)).build());
    assert_eq!(world.heard(3, P).and_then(AttrSet::originator_id), Some(RouterId(1)));
    assert_eq!(world.holders(P), [2, 3, 4, 5, 6], "not back to its source");
    world.withdraw(1, P);
    assert_eq!(world.heard(3, P).and_then(AttrSet::originator_id), Some(RouterId(2)));
    assert_eq!(world.listeners[&3].withdrawals, 0);
    assert_eq!(world.holders(P), [1, 3, 4, 5, 6], "the new source gave up the old path");
}

#[test]
fn the_same_route_again_and_a_withdrawal_of_nothing_say_nothing() {
    let mut world = World::reflector();
    let route = attrs(1, &[]).local_pref(Some(100)).build();
    world.announce(1, P, route.clone());
    world.announce(1, P, route);
    world.withdraw(2, P);
    world.withdraw(1, "10.2.0.0/24");
    assert_eq!((world.listeners[&3].announcements, world.listeners[&3].withdrawals), (1, 0));
}

#[test]
fn a_changed_next_hop_alone_is_told() {
    let mut world = World::reflector();
    world.announce(1, P, attrs(1, &[]).local_pref(Some(100)).build());
    world.announce(1, P, attrs(9, &[]).local_pref(Some(100)).build());
    assert_eq!(world.heard(3, P).and_then(|a| a.next_hop().addr()), Some(IpAddr::V4(addr(9))));
}

#[test]
fn a_next_hop_out_of_reach_is_withdrawn_though_its_link_went_first() {
    let mut world = World::new(Resolution::Kernel);
    world.up(1, peer_config(PeerKind::Client), negotiated(1, 65001));
    world.up(3, peer_config(PeerKind::NonClient), negotiated(3, 65001));
    let hop = IpAddr::V4(addr(1));
    let interface = crate::ids::IfName::new("eth0").expect("a name");
    let link = crate::rib::nexthop::Link { interface, gateway: hop };
    world.announce(1, P, attrs(1, &[]).local_pref(Some(100)).build());
    world.table.next_hop_link(hop, Some(link));
    world.table.next_hop(hop, Reachability::Reachable { metric: 0 });
    world.settle();
    assert!(world.heard(3, P).is_some());
    world.table.next_hop_link(hop, None);
    world.table.next_hop(hop, Reachability::Unreachable);
    world.settle();
    assert!(world.heard(3, P).is_none());
}

#[test]
fn announced_and_withdrawn_within_one_batch_is_never_told() {
    let mut world = World::reflector();
    let nlri = Nlri::Prefix(prefix(P));
    let route = attrs(1, &[]).local_pref(Some(100)).build();
    let change = RouteChange { family: V4, path_id: PathId(0), nlri, attrs: Some(0) };
    let gone = RouteChange { attrs: None, ..change.clone() };
    let batch = Routes { attrs: vec![route], changes: vec![change, gone] };
    world.table.routes(PeerId(1), &batch, world.now);
    world.settle();
    assert_eq!((world.listeners[&3].announcements, world.listeners[&3].withdrawals), (0, 0));
}

#[test]
fn well_known_communities_keep_a_route_in() {
    for (community, holders) in [
        (Community::NO_ADVERTISE, &[][..]),
        (Community::NO_EXPORT, &[2, 3, 4]),
        (Community::NO_EXPORT_SUBCONFED, &[2, 3, 4]),
        (Community(0xFFFF_1234), &[2, 3, 4, 5, 6]),
    ] {
        let mut world = World::reflector();
        world.announce(1, P, attrs(1, &[]).local_pref(Some(100)).communities(&[community]).build());
        assert_eq!(world.holders(P), holders, "{community}");
    }
}

#[test]
fn an_external_peer_without_policy_neither_gives_nor_gets() {
    let mut world = World::reflector();
    let closed = PeerConfig {
        import: PolicyChoice::Nothing,
        export: PolicyChoice::Nothing,
        ..peer_config(PeerKind::External)
    };
    world.up(7, closed, negotiated(7, 65007));
    world.announce(1, P, attrs(1, &[]).local_pref(Some(100)).build());
    world.announce(7, "10.7.0.0/24", attrs(7, &[65007]).build());
    assert_eq!(world.holders("10.7.0.0/24"), [] as [u32; 0]);
    assert!(world.listeners[&7].heard.is_empty());
    assert_eq!(world.listeners[&7].ends, 1, "End-of-RIB is due all the same");
    assert_eq!(world.table.rejected(PeerId(7)), [(Rejected::NoPolicy, 1)]);
}

#[test]
fn unusable_next_hops_are_not_accepted() {
    let mut world = World::reflector();
    for hop in [Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(224, 0, 0, 5), OWN, Ipv4Addr::LOCALHOST] {
        let mut route = attrs(1, &[]);
        route.local_pref(Some(100)).next_hop(NextHop::from(hop));
        world.announce(1, P, route.build());
    }
    assert_eq!(world.table.rejected(PeerId(1)), [(Rejected::BadNextHop, 4)]);
    // The session is over IPv4: a link-local address names no link.
    let mut route = attrs(1, &[]);
    let local = core::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    route.local_pref(Some(100)).next_hop(NextHop::from(core::net::IpAddr::V6(local)));
    world.announce(1, P, route.build());
    assert_eq!(world.table.rejected(PeerId(1)), [(Rejected::BadNextHop, 5)]);
}

fn own_block() -> Origination {
    Origination {
        prefix: prefix(P),
        communities: vec![Community::new(65001, 1)],
        large_communities: Vec::new(),
        local_pref: None,
        med: None,
        vxlan: None,
        kernel: OwnRoute::Blackhole,
    }
}

#[test]
fn own_routes_are_told_with_own_next_hop_and_are_blackholes_in_the_kernel() {
    let mut world = World::new(Resolution::Kernel);
    world.up(1, peer_config(PeerKind::NonClient), negotiated(1, 65001));
    world.table.originate(own_block(), world.now);
    world.settle();
    let heard = world.heard(1, P).expect("a route");
    assert_eq!(heard.next_hop().addr(), Some(IpAddr::V4(OWN)));
    assert_eq!((heard.local_pref(), heard.as_path().to_string()), (Some(100), String::new()));
    assert_eq!(heard.communities().iter().collect::<Vec<_>>(), [Community::new(65001, 1)]);
    assert_eq!(world.fib.get(&prefix(P)), Some(&FibRoute::Blackhole));
    world.table.retract(prefix(P), world.now);
    world.settle();
    assert!(world.listeners[&1].heard.is_empty());
    assert!(world.fib.is_empty());
}

#[test]
fn default_and_own_prefixes_need_a_rule_that_names_them() {
    let rule = |when| policy::Rule { when, action: Action::Accept, edits: Vec::new() };
    let named = vec![Condition::Prefixes(vec![
        PrefixRange::exact(prefix("0.0.0.0/0")),
        PrefixRange::exact(prefix(P)),
    ])];
    let policy = |rules| {
        let (name, otherwise) = ("p".to_owned(), Action::Reject);
        PolicyChoice::Policy(Arc::new(Policy { name, rules, otherwise, program: None }))
    };
    for (import, accepted) in
        [(PolicyChoice::Everything, 0), (policy(vec![rule(Vec::new())]), 0), (policy(vec![rule(named)]), 2)]
    {
        let mut world = World::new(Resolution::Assumed);
        world.table.originate(own_block(), world.now);
        world.up(1, PeerConfig { import, ..peer_config(PeerKind::NonClient) }, negotiated(1, 65001));
        for to in ["0.0.0.0/0", P] {
            world.announce(1, to, attrs(1, &[]).local_pref(Some(100)).build());
        }
        assert_eq!(world.table.counts(V4)[&PeerId(1)].accepted, accepted);
    }
}

#[test]
fn policies_edit_what_enters_and_what_leaves() {
    let edits = |edits| {
        let rules = vec![policy::Rule { when: Vec::new(), action: Action::Accept, edits }];
        let (name, otherwise) = ("p".to_owned(), Action::Reject);
        PolicyChoice::Policy(Arc::new(Policy { name, rules, otherwise, program: None }))
    };
    let mut world = World::new(Resolution::Assumed);
    let import = edits(vec![Edit::LocalPref(50)]);
    world.up(5, PeerConfig { import, ..peer_config(PeerKind::External) }, negotiated(5, 65005));
    let export = edits(vec![Edit::Med(9), Edit::Prepend { asn: None, count: 2 }]);
    world.up(6, PeerConfig { export, ..peer_config(PeerKind::External) }, negotiated(6, 65006));
    world.up(1, peer_config(PeerKind::NonClient), negotiated(1, 65001));
    world.announce(5, P, attrs(5, &[65005]).med(Some(3)).build());
    assert_eq!(world.heard(1, P).and_then(AttrSet::local_pref), Some(50));
    let heard = world.heard(6, P).expect("a route");
    assert_eq!(heard.as_path().to_string(), "65001 65001 65001 65005");
    assert_eq!(heard.med(), Some(9));
}

#[test]
fn next_hops_are_watched_and_decide() {
    let mut world = World::new(Resolution::Kernel);
    for peer in [1, 2] {
        world.up(peer, peer_config(PeerKind::NonClient), negotiated(peer, 65001));
        world.announce(peer, P, attrs(peer, &[]).local_pref(Some(100)).build());
    }
    assert!(world.fib.is_empty(), "nothing is known of the next hops yet");
    let via = |peers: &[u32]| {
        let hop = |p: &u32| Hop { addr: IpAddr::V4(addr(*p)), weight: 1, vxlan: None, device: None };
        FibRoute::Via(peers.iter().map(hop).collect())
    };
    let reachable = |metric| Reachability::Reachable { metric };
    world.table.next_hop(IpAddr::V4(addr(2)), reachable(0));
    world.settle();
    assert_eq!(world.fib.get(&prefix(P)), Some(&via(&[2])));
    world.table.next_hop(IpAddr::V4(addr(1)), reachable(0));
    world.settle();
    assert_eq!(world.fib.get(&prefix(P)), Some(&via(&[1, 2])), "equal paths share the load");
    world.table.next_hop(IpAddr::V4(addr(2)), reachable(10));
    world.settle();
    assert_eq!(world.fib.get(&prefix(P)), Some(&via(&[1])), "a farther next hop is not equal");
    world.table.next_hop(IpAddr::V4(addr(1)), Reachability::Unreachable);
    world.table.next_hop(IpAddr::V4(addr(2)), Reachability::Unreachable);
    world.settle();
    assert!(world.fib.is_empty());
}

#[test]
fn equal_paths_through_other_ases_share_the_load_or_not() {
    let mut world = World::new(Resolution::Kernel);
    for peer in [5, 6] {
        world.up(peer, peer_config(PeerKind::External), negotiated(peer, 65000 + peer));
        world.announce(peer, P, attrs(peer, &[65000 + peer]).build());
        world.table.next_hop(IpAddr::V4(addr(peer)), Reachability::Reachable { metric: 0 });
    }
    world.settle();
    let hops = |world: &World| match world.fib.get(&prefix(P)) {
        Some(FibRoute::Via(hops)) => hops.len(),
        _ => 0,
    };
    assert_eq!(hops(&world), 2);
    world.table.set_rules(Rules { multipath: Multipath::SamePath, ..Rules::default() });
    world.settle();
    assert_eq!(hops(&world), 1);
}

#[test]
fn more_prefixes_than_allowed_are_noticed_once() {
    let mut world = World::new(Resolution::Assumed);
    let limit = PrefixLimit { prefixes: 2, excess: Excess::Closed { restart: None } };
    let limited = PeerConfig { prefix_limit: Some(limit), ..peer_config(PeerKind::NonClient) };
    world.up(1, limited, negotiated(1, 65001));
    for to in ["10.1.0.0/24", "10.2.0.0/24", "10.2.0.0/24"] {
        world.announce(1, to, attrs(1, &[]).local_pref(Some(100)).build());
    }
    world.withdraw(1, "10.1.0.0/24");
    world.announce(1, "10.3.0.0/24", attrs(1, &[]).local_pref(Some(100)).build());
    assert_eq!(world.notices, []);
    for to in ["10.4.0.0/24", "10.5.0.0/24"] {
        world.announce(1, to, attrs(1, &[]).local_pref(Some(100)).build());
    }
    assert_eq!(world.notices, [Notice::PrefixLimit { peer: PeerId(1), family: V4, limit }]);
}

#[test]
fn a_limit_that_only_warns_takes_the_routes_and_warns_again_once_there_were_few_enough() {
    let mut world = World::new(Resolution::Assumed);
    let limit = PrefixLimit { prefixes: 1, excess: Excess::Warned };
    world.up(
        1,
        PeerConfig { prefix_limit: Some(limit), ..peer_config(PeerKind::NonClient) },
        negotiated(1, 65001),
    );
    let announce = |world: &mut World, to: &str| {
        world.announce(1, to, attrs(1, &[]).local_pref(Some(100)).build());
    };
    for to in ["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24"] {
        announce(&mut world, to);
    }
    assert_eq!(world.table.counts(V4)[&PeerId(1)].accepted, 3);
    assert_eq!(world.notices.len(), 1);
    for to in ["10.1.0.0/24", "10.2.0.0/24"] {
        world.withdraw(1, to);
    }
    announce(&mut world, "10.4.0.0/24");
    assert_eq!(world.notices.len(), 2);
}

#[test]
fn add_path_tells_every_path_under_an_identifier_of_its_own() {
    let mut world = World::reflector();
    let mut many = negotiated(7, 65001);
    many.transmit.add_path = FamilySet::IPV4;
    world.up(7, PeerConfig { paths_max: 2, ..peer_config(PeerKind::Client) }, many);
    for (peer, pref) in [(1, 100), (2, 300), (3, 200)] {
        world.announce(peer, P, attrs(peer, &[]).local_pref(Some(pref)).build());
    }
    let prefs = |world: &World| -> Vec<_> {
        let mut prefs: Vec<_> = world.listeners[&7].heard.values().map(|a| a.local_pref()).collect();
        prefs.sort_unstable();
        prefs
    };
    assert_eq!(prefs(&world), [Some(200), Some(300)], "the best two");
    world.withdraw(2, P);
    assert_eq!(prefs(&world), [Some(100), Some(200)]);
}

#[test]
fn an_export_policy_changed_at_run_time_withdraws_what_no_longer_passes() {
    let mut world = World::reflector();
    for (to, community) in [(P, 1), ("10.2.0.0/24", 2)] {
        let mut route = attrs(1, &[]);
        route.local_pref(Some(100)).communities(&[Community::new(65001, community)]);
        world.announce(1, to, route.build());
    }
    let when = vec![Condition::Communities(vec![Community::new(65001, 1)])];
    let rules = vec![policy::Rule { when, action: Action::Accept, edits: Vec::new() }];
    let policy = Policy { name: "p".to_owned(), rules, otherwise: Action::Reject, program: None };
    let export = PolicyChoice::Policy(Arc::new(policy));
    let feeds = world.table.set_peer(PeerId(5), PeerConfig { export, ..peer_config(PeerKind::External) });
    for feed in feeds {
        world.attach(5, feed, negotiated(5, 65005).transmit);
    }
    world.settle();
    assert_eq!(world.holders(P), [2, 3, 4, 5, 6]);
    assert_eq!(world.holders("10.2.0.0/24"), [2, 3, 4, 6]);
}

#[test]
fn a_client_that_becomes_an_ordinary_peer_is_told_and_told_of_accordingly() {
    let mut world = World::reflector();
    world.announce(1, P, attrs(1, &[]).local_pref(Some(100)).build());
    world.announce(3, "10.3.0.0/24", attrs(3, &[]).local_pref(Some(100)).build());
    for feed in world.table.set_peer(PeerId(1), peer_config(PeerKind::NonClient)) {
        world.attach(1, feed, negotiated(1, 65001).transmit);
    }
    world.settle();
    assert_eq!(world.holders(P), [2, 5, 6], "no longer to ordinary internal peers");
    assert_eq!(world.holders("10.3.0.0/24"), [2, 5, 6]);
}

#[test]
fn attributes_that_fit_into_no_message_are_not_told_and_noticed() {
    let mut world = World::reflector();
    world.announce(1, P, attrs(1, &[]).local_pref(Some(100)).build());
    let many: Vec<Community> = (0..1012).map(|i| Community::new(65001, i)).collect();
    world.announce(1, P, attrs(1, &[]).local_pref(Some(100)).communities(&many).build());
    assert_eq!(world.holders(P), [] as [u32; 0]);
    assert!(world.notices.iter().any(|n| matches!(n, Notice::TooLong { .. })));
}

#[test]
fn nothing_is_left_when_everybody_is_gone() {
    let mut world = World::reflector();
    for peer in [1, 3] {
        world.announce(peer, P, attrs(peer, &[]).local_pref(Some(100)).build());
    }
    for peer in 1..=6 {
        world.down(peer, Retention::Drop);
        world.table.remove_peer(PeerId(peer));
    }
    world.settle();
    assert!(world.table.attrs.is_empty());
    assert!(world.table.ribs.iter().all(Rib::is_empty));
    assert!(world.table.groups.is_empty());
}

#[test]
fn counters_tell_what_each_peer_gave_and_got() {
    let mut world = World::reflector();
    world.announce(1, P, attrs(1, &[]).local_pref(Some(200)).build());
    world.announce(2, P, attrs(2, &[]).local_pref(Some(100)).build());
    world.announce(3, "10.2.0.0/24", attrs(3, &[]).local_pref(Some(100)).build());
    let counts = world.table.counts(V4);
    let of = |peer: u32| {
        let c = counts[&PeerId(peer)];
        (c.accepted, c.best, c.advertised)
    };
    assert_eq!([of(1), of(2), of(3), of(4)], [(1, 1, 1), (1, 0, 2), (1, 1, 1), (0, 0, 1)]);
    assert_eq!(world.table.totals(V4), (2, 3));
}

#[test]
fn a_prefix_that_becomes_ours_or_no_longer_is_asks_for_what_others_announce() {
    let mut world = World::new(Resolution::Kernel);
    world.up(1, peer_config(PeerKind::NonClient), negotiated(1, 65001));
    world.settle();
    let block = prefix("10.9.0.0/24");
    let theirs = attrs(1, &[]).local_pref(Some(200)).build();
    let announce = |world: &mut World| {
        let nlri = Nlri::Prefix(block);
        let change = RouteChange { family: V4, path_id: PathId(0), nlri, attrs: Some(0) };
        let routes = Routes { attrs: vec![theirs.clone()], changes: vec![change] };
        world.table.routes(PeerId(1), &routes, Instant::EPOCH);
        world.table.next_hop(IpAddr::V4(addr(1)), Reachability::Reachable { metric: 0 });
        world.settle();
    };
    announce(&mut world);
    let origination = Origination { prefix: block, communities: Vec::new(), ..own_block() };
    world.notices.clear();
    world.table.originate(origination, Instant::EPOCH);
    world.settle();
    // However preferred theirs is.
    assert_eq!(world.fib.get(&block), Some(&FibRoute::Blackhole));
    let wanted = Notice::RefreshWanted { peer: PeerId(1), family: V4 };
    assert_eq!(world.notices, std::slice::from_ref(&wanted));
    announce(&mut world);
    assert_eq!(world.fib.get(&block), Some(&FibRoute::Blackhole));
    world.notices.clear();
    world.table.retract(block, Instant::EPOCH);
    world.settle();
    assert_eq!(world.notices, [wanted]);
    announce(&mut world);
    assert_eq!(
        world.fib.get(&block),
        Some(&FibRoute::Via(vec![Hop { addr: IpAddr::V4(addr(1)), weight: 1, vxlan: None, device: None }]))
    );
}

#[test]
fn the_explanation_names_the_step_and_the_audience() {
    let mut world = World::reflector();
    world.announce(1, P, attrs(1, &[]).local_pref(Some(200)).build());
    world.announce(3, P, attrs(3, &[]).local_pref(Some(100)).build());
    let explained = world.table.explain(V4, &Nlri::Prefix(prefix(P))).expect("something is known");
    let steps: Vec<_> = explained.paths.iter().map(|(p, fell)| (p.peer, p.best, *fell)).collect();
    use crate::decide::Step;
    let expected = [(PeerId(1), Some(Step::LocalPref), None), (PeerId(3), None, Some(Step::LocalPref))];
    assert_eq!(steps, expected);
    assert_eq!(explained.groups.len(), 3);
    assert!(explained.groups.iter().all(|g| g.told.is_ok()));
}
