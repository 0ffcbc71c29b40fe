//! What a log remembers: for a cursor that never moves, and for nobody.

use bgp_proto::attr::Origin;
use bgp_proto::{Asn, AttrSet, Family, NextHop, Nlri, PathId, Prefix, WireContext};
use core::net::{IpAddr, Ipv4Addr};

use super::{Group, GroupKey, LogKey, LongLivedRule, NextHopRule, PolicyChoice, Sealed, Store, TunnelScope};
use crate::feed::{Cursor, LogView};
use crate::ids::{GroupId, PeerId};
use crate::limits::{LOG_BYTES_KEPT, TOMBSTONES_MAX};
use crate::reflection::PeerKind;
use crate::rib::{AttrTable, Rib};

const ROUND: u32 = 20_000;

fn group() -> Group {
    let key = GroupKey {
        family: Family::IPV4_UNICAST,
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
    Group::new(GroupId(1), key)
}

fn attrs_of(med: u32) -> AttrSet {
    let mut told = AttrSet::builder(NextHop::from(Ipv4Addr::new(192, 0, 2, 1)));
    told.origin(Origin::Igp).as_path(&[]).med(Some(med)).build()
}

#[test]
fn what_everybody_has_read_of_a_large_table_is_forgotten_and_said_again_to_who_comes() {
    let (mut attrs, mut rib) = (AttrTable::default(), Rib::new(Family::IPV4_UNICAST));
    let mut group = group();
    let reading = group.join(PeerId(1), &mut Store { attrs: &mut attrs, rib: &mut rib });
    let mut cursor = Cursor::new(PeerId(1), &reading);
    let read = |cursor: &mut Cursor, view: &LogView| {
        let mut octets = 0;
        while cursor.take(view, |slice| octets += slice.len()) {}
        octets
    };
    let mut heard = 0;
    for at in 0..100_000 {
        let prefix = Prefix::host(IpAddr::V4(Ipv4Addr::from(0x0A00_0000 + at)));
        let key = LogKey { prefix: rib.intern(&Nlri::Prefix(prefix)), path_id: PathId(0) };
        let mut store = Store { attrs: &mut attrs, rib: &mut rib };
        let told = store.attrs.intern(&attrs_of(at));
        group.log.announce(key, told, PeerId::LOCAL, &mut store);
        if at % 1000 == 999 {
            group.log.seal(&mut store);
            heard += read(&mut cursor, &group.log.view());
        }
    }
    assert!(heard > LOG_BYTES_KEPT, "{heard} octets are no large table");
    let mut store = Store { attrs: &mut attrs, rib: &mut rib };
    group.log.tidy(&mut store);
    let kept = group.log.view().len();
    assert!(kept <= LOG_BYTES_KEPT, "{kept} octets kept");
    let late = group.join(PeerId(2), &mut store);
    assert_eq!(read(&mut Cursor::new(PeerId(2), &late), &late.view), heard, "everything, as the first");
}

#[test]
fn a_peer_that_never_reads_is_given_up_before_the_log_outgrows_its_bound() {
    let (mut attrs, mut rib) = (AttrTable::default(), Rib::new(Family::IPV4_UNICAST));
    let mut group = group();
    let feed = |group: &mut Group, peer, attrs: &mut AttrTable, rib: &mut Rib| {
        group.join(PeerId(peer), &mut Store { attrs, rib })
    };
    let _deaf = feed(&mut group, 1, &mut attrs, &mut rib);
    let reading = feed(&mut group, 2, &mut attrs, &mut rib);
    let mut cursor = Cursor::new(PeerId(2), &reading);
    let told = attrs_of(0);
    let mut given_up = Vec::new();
    let mut seal = |group: &mut Group, attrs: &mut AttrTable, rib: &mut Rib| {
        let Sealed { too_slow, .. } = group.log.seal(&mut Store { attrs, rib });
        let view = group.log.view();
        while cursor.take(&view, drop) {}
        given_up.extend(too_slow);
        assert!(group.log.tombstones() <= TOMBSTONES_MAX, "{} tombstones", group.log.tombstones());
    };
    for round in 0..6 {
        let prefixes = (round * ROUND..(round + 1) * ROUND)
            .map(|at| Prefix::host(IpAddr::V4(Ipv4Addr::from(0x0A00_0000 + at))));
        let keys: Vec<LogKey> =
            prefixes.map(|p| LogKey { prefix: rib.intern(&Nlri::Prefix(p)), path_id: PathId(0) }).collect();
        for key in &keys {
            let id = attrs.intern(&told);
            group.log.announce(*key, id, PeerId::LOCAL, &mut Store { attrs: &mut attrs, rib: &mut rib });
        }
        seal(&mut group, &mut attrs, &mut rib);
        for key in &keys {
            group.log.withdraw(*key, &mut Store { attrs: &mut attrs, rib: &mut rib });
        }
        seal(&mut group, &mut attrs, &mut rib);
    }
    assert_eq!(given_up, [PeerId(1)]);
    assert_eq!(group.log.members().collect::<Vec<_>>(), [PeerId(2)]);
}
