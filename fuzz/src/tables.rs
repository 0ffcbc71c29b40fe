//! A table that is told anything in any order: peers that come, go and change, routes of every colour, and time.
//!
//! The octets draw the steps through the simulator's generator. After each, every peer that reads must have heard exactly
//! what the table says it tells it, octets decoded; and when everybody is gone, nothing may be left.

use bgp_proto::attr::{Community, Origin};
use bgp_proto::capability::Role;
use bgp_proto::{
    Asn, AsnWidth, AttrSet, AttrSetBuilder, ClusterId, Family, FamilySet, Features, Frame, HEADER_OCTETS,
    NextHop, Nlri, PathId, Prefix, RouterId, Update, WireContext,
};
use reflector::events::{
    LongLived, LongLivedPeer, Negotiated, PeerRestart, Reachability, RefreshMode, Retention, RouteChange,
    Routes,
};
use reflector::feed::{Cursor, Feed, LogView, Run};
use reflector::group::{Local, LongLivedRule, NextHopRule, PolicyChoice, TunnelScope};
use reflector::ids::{EntryId, GroupId, PeerId};
use reflector::reflection::PeerKind;
use reflector::rib::nexthop::Resolution;
use reflector::table::{
    Attachment, Config, Excess, Origination, OwnAddrs, OwnRoute, PeerConfig, PrefixLimit, Table,
};
use reflector::time::{Duration, Instant};
use sim::random::Random;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

const V4: Family = Family::IPV4_UNICAST;
const PEERS: usize = 5;
const PREFIXES: usize = 6;
const STEPS_MAX: usize = 400;

/// See the head of the file.
pub fn table(data: &[u8]) {
    let mut world = World::new(Random::scripted(data));
    for _ in 0..(data.len() / 4).min(STEPS_MAX) {
        world.step();
        world.settle();
    }
    world.end();
}

struct Listener {
    cursor: Cursor,
    group: GroupId,
    view: Arc<LogView>,
    ctx: WireContext,
    heard: BTreeMap<(PathId, Prefix), AttrSet>,
}

struct World {
    random: Random,
    table: Table,
    now: Instant,
    listeners: BTreeMap<PeerId, Listener>,
}

impl World {
    fn new(mut random: Random) -> World {
        let local = Local { asn: Asn(65001), router_id: RouterId(0xFE), cluster_id: ClusterId(0xFE) };
        let resolution = if random.chance(50) { Resolution::Kernel } else { Resolution::Assumed };
        let kernel_export = PolicyChoice::Everything;
        let table = Table::new(Config {
            local,
            resolution,
            multipath_max: 2,
            kernel_export,
            rules: Default::default(),
        });
        World { random, table, now: Instant::EPOCH + Duration::from_secs(1), listeners: BTreeMap::new() }
    }

    fn peer(&mut self) -> PeerId {
        PeerId(1 + self.random.below(PEERS) as u32)
    }

    fn prefix(&mut self) -> Prefix {
        let net = self.random.below(PREFIXES) as u8;
        Prefix::new(IpAddr::V4(Ipv4Addr::new(10, net, 0, 0)), 16).expect("a prefix")
    }

    fn step(&mut self) {
        let (peer, now) = (self.peer(), self.now);
        match self.random.below(20) {
            0 | 1 => self.up(peer),
            2 | 3 => self.down(peer),
            4..=8 => self.routes(peer),
            9 => self.table.end_of_rib(peer, V4),
            10 => self.refresh(peer),
            11 => self.table.refresh_begun(peer, V4),
            12 => self.table.refresh_ended(peer, V4),
            13 => {
                self.now = now + self.random.span(Duration::ZERO, Duration::from_secs(120));
                self.table.timeout(self.now);
            }
            14 => {
                let metric = self.random.below(3) as u32;
                let way = match metric {
                    0 => Reachability::Unreachable,
                    _ => Reachability::Reachable { metric },
                };
                self.table.next_hop(hop(peer), way);
            }
            15 => self.change(peer),
            16 => {
                let prefix = self.prefix();
                let med = Some(self.random.below(3) as u32);
                let (communities, large_communities) = (Vec::new(), Vec::new());
                let kernel = OwnRoute::Blackhole;
                let own = Origination {
                    prefix,
                    communities,
                    large_communities,
                    local_pref: None,
                    med,
                    kernel,
                    vxlan: None,
                };
                self.table.originate(own, now);
            }
            17 => {
                let prefix = self.prefix();
                self.table.retract(prefix, now);
            }
            18 => drop(self.table.tidy().into_iter().map(|(group, view)| self.publish(group, &view)).count()),
            _ => self.table.set_cluster(ClusterId(1 + self.random.below(2) as u32)),
        }
    }

    fn config(&mut self, peer: PeerId) -> PeerConfig {
        let kind = [PeerKind::Client, PeerKind::NonClient, PeerKind::External][peer.0 as usize % 3];
        let limit = PrefixLimit { prefixes: 3, excess: Excess::Warned };
        let role = [None, Some(Role::Provider), Some(Role::Customer)][self.random.below(3)];
        let mut door = |closed: usize| match self.random.below(8) == closed {
            true => PolicyChoice::Nothing,
            false => PolicyChoice::Everything,
        };
        PeerConfig {
            entry: EntryId(peer.0),
            kind,
            import: door(1),
            export: door(2),
            next_hop: [NextHopRule::Auto, NextHopRule::Own, NextHopRule::Unchanged][self.random.below(3)],
            prefix_limit: self.random.chance(20).then_some(limit),
            local_asn: Asn(65001),
            role: role.filter(|_| kind == PeerKind::External),
            long_lived_unaware: LongLivedRule::Withheld,
            own_as_max: 0,
            tunnels: TunnelScope::Outside,
            paths_max: 1 + self.random.below(3),
            stale_path_time: Duration::from_secs(60),
        }
    }

    fn up(&mut self, peer: PeerId) {
        if self.listeners.contains_key(&peer) {
            return;
        }
        let config = self.config(peer);
        let (asn, side) = match config.kind {
            PeerKind::External => (Asn(65000 + 10 * peer.0), bgp_proto::PeerKind::External),
            PeerKind::Client | PeerKind::NonClient => (Asn(65001), bgp_proto::PeerKind::Internal),
        };
        self.table.set_peer(peer, config);
        let families = FamilySet::IPV4;
        let add_path = if self.random.chance(30) { families } else { FamilySet::EMPTY };
        let ctx = WireContext {
            families,
            add_path,
            peer: side,
            asn_width: AsnWidth::Four,
            features: Features::ROLES,
            ..WireContext::default()
        };
        let forwarding = if self.random.chance(70) { families } else { FamilySet::EMPTY };
        let restart_time = Duration::from_secs(30);
        let restart =
            PeerRestart { restart_time, restarting: false, notification: false, families, forwarding };
        let aware = LongLivedPeer::Aware;
        let long_lived = LongLived { peer: aware, times: vec![(V4, Duration::from_secs(100))], forwarding };
        let negotiated = Negotiated {
            peer_asn: asn,
            peer_router_id: RouterId(peer.0),
            hold_secs: 90,
            families,
            receive: ctx,
            transmit: ctx,
            refresh: RefreshMode::Enhanced,
            restart: self.random.chance(70).then_some(restart),
            long_lived: if self.random.chance(50) { long_lived } else { LongLived::default() },
        };
        let own = OwnAddrs { v4: Some(Ipv4Addr::new(192, 0, 2, 254)), v6: None };
        let attachment = Attachment { peer_addr: hop(peer), own };
        for feed in self.table.peer_up(peer, &negotiated, &attachment, self.now) {
            self.attach(peer, feed, ctx, BTreeMap::new());
        }
    }

    fn down(&mut self, peer: PeerId) {
        if self.listeners.remove(&peer).is_none() {
            return;
        }
        let stale = Retention::Stale { restart_time: Duration::from_secs(30), families: FamilySet::IPV4 };
        match self.random.below(3) {
            0 => self.table.peer_down(peer, Retention::Drop, self.now),
            1 => self.table.peer_down(peer, stale, self.now),
            _ => self.table.remove_peer(peer),
        }
    }

    fn change(&mut self, peer: PeerId) {
        let config = self.config(peer);
        for feed in self.table.set_peer(peer, config) {
            let Some(former) = self.listeners.remove(&peer) else { return };
            self.attach(peer, feed, former.ctx, former.heard);
        }
    }

    fn refresh(&mut self, peer: PeerId) {
        if let (Some(feed), Some(listener)) = (self.table.refresh(peer, V4), self.listeners.get_mut(&peer)) {
            assert_eq!(feed.run, Run::Refresh);
            listener.cursor.restart(&feed);
            listener.view = feed.view;
        }
    }

    fn attach(
        &mut self,
        peer: PeerId,
        feed: Feed,
        ctx: WireContext,
        heard: BTreeMap<(PathId, Prefix), AttrSet>,
    ) {
        let cursor = Cursor::new(peer, &feed);
        let mut listener = Listener { cursor, group: feed.group, view: feed.view, ctx, heard };
        feed.prelude.iter().for_each(|octets| listener.hear(octets));
        self.listeners.insert(peer, listener);
    }

    fn routes(&mut self, peer: PeerId) {
        let mut routes = Routes::default();
        for _ in 0..self.random.between(1, 4) {
            let nlri = Nlri::Prefix(self.prefix());
            let path_id = PathId(self.random.below(2) as u32);
            let attrs = self.random.chance(70).then(|| {
                routes.attrs.push(self.attrs(peer));
                routes.attrs.len() as u32 - 1
            });
            routes.changes.push(RouteChange { family: V4, path_id, nlri, attrs });
        }
        self.table.routes(peer, &routes, self.now);
    }

    fn attrs(&mut self, peer: PeerId) -> AttrSet {
        let marks = [
            Community::NO_EXPORT,
            Community::NO_ADVERTISE,
            Community::LLGR_STALE,
            Community::NO_LLGR,
            Community::GRACEFUL_SHUTDOWN,
        ];
        let mut edit = AttrSetBuilder::new(NextHop::from(hop(PeerId(1 + self.random.below(PEERS) as u32))));
        let paths: [&[Asn]; 4] = [&[], &[Asn(65000 + 10 * peer.0)], &[Asn(7), Asn(8)], &[Asn(65001)]];
        edit.origin(Origin::Igp).as_path(paths[self.random.below(paths.len())]);
        edit.local_pref(self.random.chance(50).then_some(100 + self.random.below(2) as u32));
        edit.med(self.random.chance(30).then_some(self.random.below(2) as u32));
        let count = self.random.below(2);
        edit.communities(&self.random.sample(&marks, count));
        if self.random.chance(20) {
            edit.originator_id(Some(RouterId(1 + self.random.below(PEERS) as u32)));
        }
        edit.build()
    }

    fn publish(&mut self, group: GroupId, view: &Arc<LogView>) {
        for listener in self.listeners.values_mut().filter(|listener| listener.group == group) {
            listener.view = view.clone();
        }
    }

    /// Commits, lets some peers read, and compares what those have heard with what the table tells.
    fn settle(&mut self) {
        for (group, view) in self.table.commit().advanced {
            self.publish(group, &view);
        }
        let skipped = self.random.below(PEERS + 1) as u32;
        for (peer, listener) in self.listeners.iter_mut().filter(|(peer, _)| peer.0 != skipped) {
            listener.read();
            let told = told(&self.table, *peer);
            assert_eq!(listener.heard, told, "{peer} heard something else than it is told");
        }
    }

    fn end(mut self) {
        for peer in 1..=PEERS as u32 {
            self.listeners.remove(&PeerId(peer));
            self.table.remove_peer(PeerId(peer));
        }
        for net in 0..PREFIXES as u8 {
            let prefix = Prefix::new(IpAddr::V4(Ipv4Addr::new(10, net, 0, 0)), 16).expect("a prefix");
            self.table.retract(prefix, self.now);
        }
        self.table.commit();
        assert_eq!(self.table.prefixes(V4, None).count(), 0, "something is left");
        assert_eq!(self.table.deadline(), None);
    }
}

fn told(table: &Table, peer: PeerId) -> BTreeMap<(PathId, Prefix), AttrSet> {
    let mut all = BTreeMap::new();
    for (id, nlri) in table.prefixes(V4, None) {
        let Nlri::Prefix(prefix) = nlri else { continue };
        for (path_id, attrs, _) in table.told(peer, V4, id) {
            all.insert((path_id, prefix), attrs.clone());
        }
    }
    all
}

fn hop(peer: PeerId) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, peer.0 as u8))
}

impl Listener {
    fn read(&mut self) {
        loop {
            let mut taken = Vec::new();
            let view = self.view.clone();
            let took = self.cursor.take(&view, |octets| taken.push(octets));
            taken.iter().for_each(|octets| self.hear(octets));
            self.cursor.take_due(&view);
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
                    self.heard.remove(&(path_id, prefix));
                }
            }
            for reach in update.reach() {
                for (path_id, prefix) in reach.nlri.prefixes() {
                    self.heard.insert((path_id, prefix), update.attr_set(reach.next_hop));
                }
            }
        }
    }
}
