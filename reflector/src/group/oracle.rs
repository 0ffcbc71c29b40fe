//! The log against its oracle: a naive Adj-RIB-Out per peer.
//!
//! Histories of decisions, seals, folds, reads of possibly stale views, refreshes that begin later than they were
//! granted, and reconnects; in the end every peer has read everything, and must hold exactly what a naive implementation would have sent it: the best path
//! of every prefix, unless it is its own.

use bgp_proto::attr::Origin;
use bgp_proto::{
    Asn, AttrSet, Family, Frame, HEADER_OCTETS, NextHop, Nlri, PathId, Prefix, Update, WireContext,
};
use core::net::{IpAddr, Ipv4Addr};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Group, GroupKey, LogKey, LongLivedRule, NextHopRule, PolicyChoice, Store, TunnelScope};
use crate::feed::{Cursor, Feed, LogView};
use crate::ids::{GroupId, PeerId};
use crate::reflection::PeerKind;
use crate::rib::{AttrTable, Rib};

const PEERS: u32 = 4;
const PREFIXES: u8 = 5;
const FAMILY: Family = Family::IPV4_UNICAST;

#[derive(Debug, Clone)]
enum Op {
    Best { prefix: u8, source: u32, med: u32 },
    NoBest { prefix: u8 },
    Seal,
    Tidy,
    Hollow,
    Publish { peer: u32 },
    Take { peer: u32 },
    Refresh { peer: u32 },
    Begin { peer: u32 },
    Reconnect { peer: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    let peer = 1..=PEERS;
    prop_oneof![
        6 => (0..PREFIXES, 0..=PEERS, 0..3u32).prop_map(|(prefix, source, med)| Op::Best { prefix, source, med }),
        3 => (0..PREFIXES).prop_map(|prefix| Op::NoBest { prefix }),
        4 => Just(Op::Seal),
        1 => Just(Op::Tidy),
        1 => Just(Op::Hollow),
        4 => peer.clone().prop_map(|peer| Op::Publish { peer }),
        5 => peer.clone().prop_map(|peer| Op::Take { peer }),
        1 => peer.clone().prop_map(|peer| Op::Refresh { peer }),
        2 => peer.clone().prop_map(|peer| Op::Begin { peer }),
        1 => peer.prop_map(|peer| Op::Reconnect { peer }),
    ]
}

struct Receiver {
    cursor: Cursor,
    view: Arc<LogView>,
    /// A refresh that was granted and has not begun.
    granted: Option<Feed>,
    heard: BTreeMap<Prefix, u32>,
}

struct World {
    attrs: AttrTable,
    rib: Rib,
    group: Group,
    best: BTreeMap<u8, (u32, u32)>,
    receivers: BTreeMap<u32, Receiver>,
}

fn prefix(at: u8) -> Prefix {
    Prefix::new(IpAddr::V4(Ipv4Addr::new(10, at, 0, 0)), 16).expect("a prefix")
}

fn attrs(med: u32) -> AttrSet {
    let mut b = AttrSet::builder(NextHop::from(Ipv4Addr::new(192, 0, 2, 1)));
    b.origin(Origin::Igp).as_path(&[]).local_pref(Some(100)).med(Some(med));
    b.build()
}

impl World {
    fn new() -> World {
        let key = GroupKey {
            family: FAMILY,
            kind: PeerKind::Client,
            export: PolicyChoice::Everything,
            next_hop: NextHopRule::Auto,
            own: None,
            wire: WireContext::default(),
            paths_max: 1,
            local_asn: Asn(65001),
            role: None,
            tunnels: TunnelScope::Outside,
            long_lived: LongLivedRule::Told,
            interest: None,
        };
        let mut world = World {
            attrs: AttrTable::default(),
            rib: Rib::new(FAMILY),
            group: Group::new(GroupId(1), key),
            best: BTreeMap::new(),
            receivers: BTreeMap::new(),
        };
        for peer in 1..=PEERS {
            world.connect(peer);
        }
        world
    }

    fn connect(&mut self, peer: u32) {
        self.group.leave(PeerId(peer));
        let mut store = Store { attrs: &mut self.attrs, rib: &mut self.rib };
        let feed = self.group.join(PeerId(peer), &mut store);
        let cursor = Cursor::new(PeerId(peer), &feed);
        self.receivers
            .insert(peer, Receiver { cursor, view: feed.view, granted: None, heard: BTreeMap::new() });
    }

    fn key(&mut self, at: u8) -> LogKey {
        LogKey { prefix: self.rib.intern(&Nlri::Prefix(prefix(at))), path_id: PathId(0) }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Best { prefix, source, med } => {
                let key = self.key(prefix);
                let id = self.attrs.intern(&attrs(med));
                let mut store = Store { attrs: &mut self.attrs, rib: &mut self.rib };
                self.group.log.announce(key, id, PeerId(source), &mut store);
                self.best.insert(prefix, (source, med));
            }
            Op::NoBest { prefix } => {
                let key = self.key(prefix);
                self.group.log.withdraw(key, &mut Store { attrs: &mut self.attrs, rib: &mut self.rib });
                self.rib.forget_unused(key.prefix);
                self.best.remove(&prefix);
            }
            Op::Seal => {
                self.group.log.seal(&mut Store { attrs: &mut self.attrs, rib: &mut self.rib });
            }
            Op::Tidy => {
                self.group.log.tidy(&mut Store { attrs: &mut self.attrs, rib: &mut self.rib });
            }
            Op::Hollow => {
                self.group.log.hollow(0);
                self.group.log.tidy(&mut Store { attrs: &mut self.attrs, rib: &mut self.rib });
            }
            Op::Publish { peer } => {
                let view = self.group.log.view();
                self.receivers.entry(peer).and_modify(|r| r.view = view);
            }
            Op::Take { peer } => {
                self.receivers.get_mut(&peer).map(take);
            }
            Op::Refresh { peer } => {
                let mut store = Store { attrs: &mut self.attrs, rib: &mut self.rib };
                let feed = self.group.restart(PeerId(peer), &mut store).expect("a member");
                self.receivers.entry(peer).and_modify(|r| r.granted = Some(feed));
            }
            Op::Begin { peer } => {
                self.receivers.get_mut(&peer).map(begin);
            }
            Op::Reconnect { peer } => self.connect(peer),
        }
    }

    /// Everybody reads everything.
    fn drain(&mut self) {
        self.apply(&Op::Seal);
        for peer in 1..=PEERS {
            self.apply(&Op::Begin { peer });
            self.apply(&Op::Publish { peer });
            while self.receivers.get_mut(&peer).is_some_and(take) {}
        }
    }

    fn check(&self) {
        for (peer, receiver) in &self.receivers {
            let due: BTreeMap<Prefix, u32> = self
                .best
                .iter()
                .filter(|(_, (source, _))| source != peer)
                .map(|(at, (_, med))| (prefix(*at), *med))
                .collect();
            assert_eq!(receiver.heard, due, "peer {peer} against the naive Adj-RIB-Out");
        }
    }
}

fn begin(receiver: &mut Receiver) {
    let Some(feed) = receiver.granted.take() else { return };
    receiver.cursor.restart(&feed);
    if feed.view.end() >= receiver.view.end() {
        receiver.view = feed.view;
    }
}

fn take(receiver: &mut Receiver) -> bool {
    let Receiver { cursor, view, heard, .. } = receiver;
    let took = cursor.take(view, |octets| hear(heard, &octets));
    cursor.take_due(view);
    took
}

fn hear(heard: &mut BTreeMap<Prefix, u32>, mut octets: &[u8]) {
    let ctx = WireContext::default();
    while let Some(frame) = Frame::first(octets, &ctx).expect("a sound header") {
        octets = &octets[HEADER_OCTETS + frame.body().len()..];
        let update = Update::decode(frame.body(), &ctx).expect("a sound UPDATE");
        for unreach in update.unreach() {
            for (_, prefix) in unreach.nlri.prefixes() {
                heard.remove(&prefix);
            }
        }
        for reach in update.reach() {
            for (_, prefix) in reach.nlri.prefixes() {
                heard.insert(prefix, update.med().expect("a MED"));
            }
        }
    }
    assert!(octets.is_empty(), "slices are whole messages");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_peer_ends_with_its_naive_adj_rib_out(ops in prop::collection::vec(op(), 1..120)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.drain();
        world.check();
    }

    #[test]
    fn tidying_with_all_cursors_at_the_end_leaves_the_live_state_only(ops in prop::collection::vec(op(), 1..120)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.drain();
        world.apply(&Op::Tidy);
        world.apply(&Op::Reconnect { peer: 1 });
        world.drain();
        world.check();
        prop_assert_eq!(world.group.log.tombstones(), 0);
        prop_assert_eq!(world.group.log.live(), world.best.len());
        prop_assert_eq!(world.rib.len(), world.best.len());
    }

    #[test]
    fn nothing_is_kept_of_a_log_that_was_cleared(ops in prop::collection::vec(op(), 1..80)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.group.log.clear(&mut Store { attrs: &mut world.attrs, rib: &mut world.rib });
        prop_assert!(world.attrs.is_empty());
        prop_assert!(world.rib.is_empty());
    }
}

fn run(ops: &[Op]) {
    let mut world = World::new();
    for op in ops {
        world.apply(op);
    }
    world.drain();
    world.check();
}

#[test]
fn a_source_that_joins_late_does_not_hear_what_its_own_path_superseded() {
    run(&[
        Op::Best { prefix: 1, source: 0, med: 0 },
        Op::Seal,
        Op::Best { prefix: 1, source: 1, med: 0 },
        Op::Seal,
        Op::Reconnect { peer: 1 },
    ]);
}

#[test]
fn a_cursor_on_its_first_run_does_not_miss_a_tombstone_that_is_swept_meanwhile() {
    run(&[
        Op::Best { prefix: 4, source: 0, med: 0 },
        Op::Seal,
        Op::NoBest { prefix: 4 },
        Op::Seal,
        Op::Reconnect { peer: 2 },
        Op::Take { peer: 2 },
        Op::Tidy,
    ]);
}

#[test]
fn a_takeover_is_heard_though_the_entry_moved_to_the_tail_since() {
    run(&[
        Op::Best { prefix: 1, source: 2, med: 0 },
        Op::Seal,
        Op::Publish { peer: 1 },
        Op::Take { peer: 1 },
        Op::Best { prefix: 1, source: 1, med: 0 },
        Op::Seal,
        Op::Best { prefix: 1, source: 1, med: 1 },
        Op::Seal,
        Op::Tidy,
    ]);
}

#[test]
fn a_refresh_that_begins_late_tells_again_what_takes_back_what_it_tells() {
    run(&[
        Op::Refresh { peer: 2 },
        Op::Best { prefix: 1, source: 0, med: 0 },
        Op::Seal,
        Op::Publish { peer: 2 },
        Op::Take { peer: 2 },
        Op::NoBest { prefix: 1 },
        Op::Seal,
        Op::Publish { peer: 2 },
        Op::Take { peer: 2 },
        Op::Begin { peer: 2 },
    ]);
}
