//! What a route costs, counted by the allocator: candidates, decision, and the log of the group that is told of it.
//!
//! The bounds are what was measured and a tenth more. Whoever adds a field to what is kept of a route meets them here.

use std::alloc::System;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bgp_proto::attr::Origin;
use bgp_proto::{
    Asn, AttrSet, ClusterId, Family, FamilySet, NextHop, Nlri, PathId, PeerKind, Prefix, RouterId,
    WireContext,
};
use reflector::events::{LongLived, Negotiated, RefreshMode, RouteChange, Routes};
use reflector::group::{Local, LongLivedRule, NextHopRule, PolicyChoice, TunnelScope};
use reflector::ids::{EntryId, PeerId};
use reflector::reflection;
use reflector::rib::nexthop::Resolution;
use reflector::table::{Attachment, Config, OwnAddrs, PeerConfig, Table};
use reflector::time::Instant;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Just below a power of two, so that no vector's spare room is counted as a route's.
const ROUTES: u32 = 65_000;
const BATCH: usize = 4096;

fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// A reflector with two clients.
fn reflector() -> Table {
    let local = Local { asn: Asn(65001), router_id: RouterId(1), cluster_id: ClusterId(1) };
    let mut table = Table::new(Config {
        local,
        resolution: Resolution::Assumed,
        multipath_max: 4,
        kernel_export: PolicyChoice::Everything,
        rules: Default::default(),
    });
    for id in [1, 2] {
        let config = PeerConfig {
            entry: EntryId(1),
            kind: reflection::PeerKind::Client,
            import: PolicyChoice::Everything,
            export: PolicyChoice::Everything,
            next_hop: NextHopRule::Auto,
            prefix_limit: None,
            local_asn: Asn(65001),
            role: None,
            long_lived_unaware: LongLivedRule::Withheld,
            stale_path_time: Duration::from_secs(360),
            own_as_max: 0,
            tunnels: TunnelScope::Outside,
            paths_max: 1,
        };
        table.set_peer(PeerId(id), config);
        let wire = WireContext { families: FamilySet::IPV4, ..WireContext::modern(PeerKind::Internal) };
        let negotiated = Negotiated {
            peer_asn: Asn(65001),
            peer_router_id: RouterId(100 + id),
            hold_secs: 90,
            families: FamilySet::IPV4,
            receive: wire,
            transmit: wire,
            refresh: RefreshMode::Plain,
            restart: None,
            long_lived: LongLived::default(),
        };
        let peer_addr = IpAddr::V4(Ipv4Addr::from(0x0A00_0000 + id));
        let attachment = Attachment { peer_addr, own: OwnAddrs::default() };
        table.peer_up(PeerId(id), &negotiated, &attachment, Instant::EPOCH);
    }
    table
}

/// Has the first client announce its routes, so many in a row with the same attributes. Returns octets in use for each.
fn octets_a_route(same: u32) -> usize {
    let mut table = reflector();
    let before = in_use();
    let numbers: Vec<u32> = (0..ROUTES).collect();
    for chunk in numbers.chunks(BATCH) {
        let mut routes = Routes::default();
        for number in chunk {
            let set = number / same;
            let mut attrs = AttrSet::builder(NextHop::from(Ipv4Addr::new(192, 0, 2, 1)));
            let path = [Asn(3000), Asn(4000 + set % 50), Asn(100_000 + set)];
            attrs.origin(Origin::Igp).as_path(&path).local_pref(Some(100));
            let attrs = attrs.build();
            if routes.attrs.last() != Some(&attrs) {
                routes.attrs.push(attrs);
            }
            let prefix = Prefix::new(IpAddr::V4(Ipv4Addr::from(0x1000_0000 + (number << 8))), 24);
            routes.changes.push(RouteChange {
                family: Family::IPV4_UNICAST,
                path_id: PathId(0),
                nlri: Nlri::Prefix(prefix.expect("a prefix")),
                attrs: Some(routes.attrs.len() as u32 - 1),
            });
        }
        table.routes(PeerId(1), &routes, Instant::EPOCH);
        table.commit();
    }
    drop(numbers);
    (in_use() - before) / ROUTES as usize
}

/// One test, so that nothing else allocates meanwhile.
#[test]
fn a_route_costs_no_more_than_it_did() {
    let alone = octets_a_route(ROUTES);
    let usual = octets_a_route(6);
    println!("{alone} octets a route, {usual} with its share of attributes for every six");
    assert!(alone <= ALONE_MAX, "{alone} octets a route");
    assert!(usual <= USUAL_MAX, "{usual} octets a route with attributes");
}

const ALONE_MAX: usize = 80;
const USUAL_MAX: usize = 134;
