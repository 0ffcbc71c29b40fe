//! Several reflectors that tell each other: same and different clusters, a mesh above clusters, and families that are passed
//! on unread. RFC 4456.
//!
//! A cluster is a set of tables joined by links without a network: what one's log says to a neighbour is decoded and
//! handed to that neighbour's table, until nobody has anything new to say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bgp_proto::attr::Origin;
use bgp_proto::{
    Asn, AttrSet, ClusterId, Family, FamilySet, Frame, HEADER_OCTETS, NextHop, Nlri, PathId, RouterId,
    Update, WireContext,
};
use reflector::events::{LongLived, Negotiated, RefreshMode, RouteChange, Routes};
use reflector::feed::{Cursor, LogView};
use reflector::group::{Local, LongLivedRule, NextHopRule, PolicyChoice, TunnelScope};
use reflector::ids::{EntryId, GroupId, PeerId};
use reflector::reflection::PeerKind;
use reflector::rib::nexthop::Resolution;
use reflector::table::{Attachment, Config, OwnAddrs, PeerConfig, Table};
use reflector::time::Instant;

const ASN: Asn = Asn(65001);
const V4: Family = Family::IPV4_UNICAST;
/// Deliveries after which it is plain that something goes round and round.
const DELIVERIES_MAX: usize = 10_000;

type Key = (Family, PathId, Nlri);

/// One direction of a session: a place in the sender's log.
struct Link {
    cursors: Vec<(GroupId, Cursor, Arc<LogView>)>,
    wire: WireContext,
}

/// A speaker that remembers what it heard, besides what its table makes of it.
struct Node {
    table: Table,
    links: BTreeMap<u32, Link>,
    heard: BTreeMap<Key, AttrSet>,
}

#[derive(Default)]
struct World {
    nodes: BTreeMap<u32, Node>,
    deliveries: usize,
}

fn addr(node: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0A00_0000 + node)
}

impl World {
    fn add(&mut self, node: u32, cluster: u32) {
        let local = Local { asn: ASN, router_id: RouterId(node), cluster_id: ClusterId(cluster) };
        let table = Table::new(Config {
            local,
            resolution: Resolution::Assumed,
            multipath_max: 1,
            kernel_export: PolicyChoice::Everything,
            rules: Default::default(),
        });
        self.nodes.insert(node, Node { table, links: BTreeMap::new(), heard: BTreeMap::new() });
    }

    /// Joins two speakers; `kind` says what `other` is to `one`, which is an ordinary internal peer to it, or a client too.
    fn join(
        &mut self,
        (one, other): (u32, u32),
        kinds: [PeerKind; 2],
        families: FamilySet,
        paths_max: usize,
    ) {
        for ((from, to), kind) in [((one, other), kinds[0]), ((other, one), kinds[1])] {
            let add_path = if paths_max > 1 { families } else { FamilySet::EMPTY };
            let wire =
                WireContext { families, add_path, ..WireContext::modern(bgp_proto::PeerKind::Internal) };
            let negotiated = Negotiated {
                peer_asn: ASN,
                peer_router_id: RouterId(to),
                hold_secs: 90,
                families,
                receive: wire,
                transmit: wire,
                refresh: RefreshMode::Plain,
                restart: None,
                long_lived: LongLived::default(),
            };
            let config = PeerConfig {
                entry: EntryId(1),
                kind,
                import: PolicyChoice::Everything,
                export: PolicyChoice::Everything,
                next_hop: NextHopRule::Auto,
                prefix_limit: None,
                local_asn: ASN,
                role: None,
                long_lived_unaware: LongLivedRule::Withheld,
                stale_path_time: Duration::from_secs(360),
                own_as_max: 0,
                tunnels: TunnelScope::Outside,
                paths_max,
            };
            let node = self.nodes.get_mut(&from).expect("a node");
            node.table.set_peer(PeerId(to), config);
            let own = OwnAddrs { v4: Some(addr(from)), v6: None };
            let attachment = Attachment { peer_addr: IpAddr::V4(addr(to)), own };
            let feeds = node.table.peer_up(PeerId(to), &negotiated, &attachment, Instant::EPOCH);
            let cursors =
                feeds.iter().map(|f| (f.group, Cursor::new(PeerId(to), f), f.view.clone())).collect();
            node.links.insert(to, Link { cursors, wire });
        }
    }

    /// A client of a reflector: it has one neighbour.
    fn client(&mut self, client: u32, of: u32) {
        self.add(client, client);
        self.join((of, client), [PeerKind::Client, PeerKind::NonClient], FamilySet::IPV4, 1);
    }

    /// `client` says something to `to`, as from its own routes.
    fn say(&mut self, client: u32, to: u32, (family, nlri): (Family, Nlri), attrs: Option<AttrSet>) {
        let index = attrs.is_some().then_some(0);
        let change = RouteChange { family, path_id: PathId(0), nlri, attrs: index };
        let routes = Routes { attrs: attrs.into_iter().collect(), changes: vec![change] };
        let reflector = self.nodes.get_mut(&to).expect("a node");
        reflector.table.routes(PeerId(client), &routes, Instant::EPOCH);
        self.settle();
    }

    fn settle(&mut self) {
        let ids: Vec<u32> = self.nodes.keys().copied().collect();
        loop {
            let mut is_quiet = true;
            for from in &ids {
                for (to, routes) in self.nodes.get_mut(from).map(Node::speak).unwrap_or_default() {
                    is_quiet = false;
                    self.deliveries += 1;
                    assert!(self.deliveries < DELIVERIES_MAX, "it never ends");
                    let node = self.nodes.get_mut(&to).expect("a node");
                    node.hear(*from, &routes);
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    /// Who holds a route, of those that were told of it.
    fn holders(&self, key: &(Family, Nlri)) -> BTreeSet<u32> {
        let holds = |node: &Node| node.heard.keys().any(|(f, _, n)| (*f, n) == (key.0, &key.1));
        self.nodes.iter().filter(|(_, node)| holds(node)).map(|(id, _)| *id).collect()
    }

    fn heard(&self, node: u32, key: &(Family, Nlri)) -> Vec<&AttrSet> {
        let all = self.nodes[&node].heard.iter();
        all.filter(|((f, _, n), _)| (*f, n) == (key.0, &key.1)).map(|(_, attrs)| attrs).collect()
    }
}

impl Node {
    /// What there is to tell every neighbour.
    fn speak(&mut self) -> Vec<(u32, Routes)> {
        let commit = self.table.commit();
        let mut said = Vec::new();
        for (to, link) in &mut self.links {
            let mut routes = Routes::default();
            for (group, cursor, view) in &mut link.cursors {
                if let Some((_, newer)) = commit.advanced.iter().find(|(advanced, _)| advanced == group) {
                    *view = newer.clone();
                }
                let mut octets = Vec::new();
                while cursor.take(view, |slice| octets.extend_from_slice(&slice)) {}
                decode(&octets, &link.wire, &mut routes);
            }
            if !routes.changes.is_empty() {
                said.push((*to, routes));
            }
        }
        said
    }

    fn hear(&mut self, from: u32, routes: &Routes) {
        for change in &routes.changes {
            let (family, path_id) = (change.family, change.path_id);
            let is_it =
                |f, p, nlri: &Nlri| (f, p) == (family, path_id) && nlri.key(f) == change.nlri.key(family);
            self.heard.retain(|(f, p, nlri), _| !is_it(*f, *p, nlri));
            if let Some(at) = change.attrs {
                let key = (family, path_id, change.nlri.clone());
                self.heard.insert(key, routes.attrs[at as usize].clone());
            }
        }
        self.table.routes(PeerId(from), routes, Instant::EPOCH);
    }
}

fn decode(mut octets: &[u8], wire: &WireContext, routes: &mut Routes) {
    while let Some(frame) = Frame::first(octets, wire).expect("a sound header") {
        octets = &octets[HEADER_OCTETS + frame.body().len()..];
        let update = Update::decode(frame.body(), wire).expect("a sound UPDATE");
        for unreach in update.unreach() {
            let (family, attrs) = (unreach.family, None);
            let gone =
                unreach.nlri.map(|(path_id, n)| RouteChange { family, path_id, nlri: n.to_owned(), attrs });
            routes.changes.extend(gone);
        }
        for reach in update.reach() {
            routes.attrs.push(update.attr_set(reach.next_hop));
            let (family, attrs) = (reach.family, Some(routes.attrs.len() as u32 - 1));
            let come =
                reach.nlri.map(|(path_id, n)| RouteChange { family, path_id, nlri: n.to_owned(), attrs });
            routes.changes.extend(come);
        }
    }
}

fn route() -> (Family, Nlri) {
    (V4, Nlri::Prefix("10.1.0.0/24".parse().expect("a prefix")))
}

fn path(next_hop: u32) -> AttrSet {
    let mut attrs = AttrSet::builder(NextHop::from(addr(next_hop)));
    attrs.origin(Origin::Igp).as_path(&[]).local_pref(Some(100)).build()
}

fn clusters(attrs: &AttrSet) -> Vec<u32> {
    attrs.cluster_list().iter().map(|cluster| cluster.0).collect()
}

const MESH: [PeerKind; 2] = [PeerKind::NonClient, PeerKind::NonClient];
const BELOW: [PeerKind; 2] = [PeerKind::Client, PeerKind::NonClient];

/// RFC 4456 section 7: two reflectors for the same clients.
#[test]
fn reflectors_of_one_cluster_drop_what_the_other_reflected_and_of_two_clusters_keep_it() {
    for (clusters, hears_twice) in [([9, 9], false), ([8, 9], true)] {
        let mut world = World::default();
        world.add(1, clusters[0]);
        world.add(2, clusters[1]);
        world.join((1, 2), MESH, FamilySet::IPV4, 1);
        world.client(11, 1);
        world.client(12, 1);
        world.join((2, 12), BELOW, FamilySet::IPV4, 1);
        world.say(11, 1, route(), Some(path(11)));
        let known = world.nodes[&2].table.explain(V4, &route().1).filter(|known| !known.paths.is_empty());
        assert_eq!(known.is_some(), hears_twice, "clusters {clusters:?}");
        assert!(world.holders(&route()).contains(&12));
        world.say(11, 1, route(), None);
        assert_eq!(world.holders(&route()), BTreeSet::new());
    }
}

/// Three reflectors in a full mesh, each with a reflector below it that has clients of its own.
#[test]
fn a_hierarchy_tells_everybody_once_ends_and_forgets() {
    let mut world = World::default();
    for top in 1..=3 {
        world.add(top, top);
    }
    for pair in [(1, 2), (1, 3), (2, 3)] {
        world.join(pair, MESH, FamilySet::IPV4, 1);
    }
    let mut leaves = BTreeSet::new();
    for top in 1..=3 {
        world.add(10 + top, 10 + top);
        world.join((top, 10 + top), BELOW, FamilySet::IPV4, 1);
        for leaf in [100 + 10 * top, 101 + 10 * top] {
            world.client(leaf, 10 + top);
            leaves.insert(leaf);
        }
    }
    world.say(110, 11, route(), Some(path(110)));
    leaves.remove(&110);
    let holders = world.holders(&route());
    assert!(leaves.is_subset(&holders), "{holders:?}");
    let far = world.heard(131, &route());
    assert_eq!(far.iter().map(|attrs| clusters(attrs)).collect::<Vec<_>>(), [[13, 3, 1, 11]]);
    assert_eq!(far[0].originator_id(), Some(RouterId(110)));
    assert_eq!(far[0].next_hop().addr(), Some(IpAddr::V4(addr(110))));
    let told = world.deliveries;
    world.say(110, 11, route(), None);
    assert_eq!(world.holders(&route()), BTreeSet::new());
    assert!(world.deliveries <= 2 * told, "a withdrawal goes the way of the announcement, once");
}

/// ECMP to a service survives reflection: clients hear every path, each with its own next hop.
#[test]
fn add_path_clients_of_a_reflector_hear_every_path_of_every_client() {
    let mut world = World::default();
    world.add(1, 1);
    for client in 11..=14 {
        world.add(client, client);
        world.join((1, client), BELOW, FamilySet::IPV4, 8);
    }
    for client in 11..=13 {
        world.say(client, 1, route(), Some(path(client)));
    }
    let hops = |world: &World, node| {
        let heard = world.heard(node, &route()).into_iter();
        heard.filter_map(|attrs| attrs.next_hop().addr()).collect::<BTreeSet<_>>()
    };
    let of = |clients: &[u32]| clients.iter().map(|c| IpAddr::V4(addr(*c))).collect::<BTreeSet<_>>();
    assert_eq!(hops(&world, 14), of(&[11, 12, 13]));
    assert_eq!(hops(&world, 11), of(&[12, 13]));
    world.say(12, 1, route(), None);
    assert_eq!(hops(&world, 14), of(&[11, 13]));
}

/// What a family means is its speakers' affair: NLRI pass octet by octet, beside unicast.
#[test]
fn families_that_are_not_read_pass_through_reflectors_unchanged() {
    let opaque = [
        (Family::VPNV4, vec![112, 0x12, 0x34, 0x51, 0, 0, 0xFD, 0xE9, 0, 0, 0, 1, 10, 7, 0]),
        (Family::EVPN, [&[2, 33][..], &[7; 33]].concat()),
        (Family::IPV4_LABELLED, vec![48, 0, 1, 0x11, 10, 9, 8]),
    ];
    let families: FamilySet = opaque.iter().map(|(family, _)| *family).chain([V4]).collect();
    let mut world = World::default();
    for reflector in [1, 2] {
        world.add(reflector, reflector);
    }
    world.join((1, 2), MESH, families, 1);
    for (client, of) in [(11, 1), (12, 2)] {
        world.add(client, client);
        world.join((of, client), BELOW, families, 1);
    }
    world.say(11, 1, route(), Some(path(11)));
    for (family, octets) in &opaque {
        let key = (*family, Nlri::Opaque(octets.clone().into()));
        let mut attrs = path(11);
        if *family == Family::VPNV4 {
            // RFC 4364 section 4.3.2: with a route distinguisher of zero.
            let octets = [&[0; 8][..], &addr(11).octets()].concat();
            attrs = attrs.with_next_hop(NextHop::from_octets(&octets).expect("a next hop"));
        }
        world.say(11, 1, key.clone(), Some(attrs));
        let heard = world.heard(12, &key);
        assert_eq!(heard.len(), 1, "{family} {:?}", world.nodes[&12].heard.keys());
        assert_eq!(clusters(heard[0]), [2, 1]);
    }
    assert_eq!(world.heard(12, &route()).len(), 1);
    for (family, octets) in opaque {
        let key = (family, Nlri::Opaque(octets.into()));
        world.say(11, 1, key.clone(), None);
        assert_eq!(world.holders(&key), BTreeSet::new(), "{family}");
    }
    assert_eq!(world.heard(12, &route()).len(), 1, "unicast stays");
}

/// RFC 8277 section 2.4: another label is another path to the same route, and a withdrawal need not name the label.
#[test]
fn a_label_belongs_to_the_path_and_not_to_the_route() {
    let family = Family::IPV4_LABELLED;
    let mut world = World::default();
    world.add(1, 1);
    for client in [11, 12, 13] {
        world.add(client, client);
        world.join((1, client), BELOW, FamilySet::from(family), 1);
    }
    let labelled = |label: [u8; 3]| {
        let octets = [&[24 + 24][..], &label, &[10, 9, 8]].concat();
        (family, Nlri::Opaque(octets.into()))
    };
    let heard = |world: &World| -> Vec<(Family, Nlri)> {
        world.nodes[&13].heard.keys().map(|(family, _, nlri)| (*family, nlri.clone())).collect()
    };
    let gone = labelled([0x80, 0, 0]);
    world.say(11, 1, labelled([0, 1, 0x11]), Some(path(11)));
    world.say(12, 1, labelled([0, 2, 0x11]), Some(path(12)));
    assert_eq!(heard(&world), [labelled([0, 1, 0x11])], "the best path's label");
    world.say(11, 1, gone.clone(), None);
    assert_eq!(heard(&world), [labelled([0, 2, 0x11])], "the other path's label");
    world.say(12, 1, labelled([0, 3, 0x11]), Some(path(12)));
    assert_eq!(heard(&world), [labelled([0, 3, 0x11])], "nothing but the label is new");
    world.say(12, 1, gone, None);
    assert_eq!(heard(&world), []);
}
