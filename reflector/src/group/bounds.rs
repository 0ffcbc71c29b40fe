//! What a log remembers for a cursor that never moves.

use bgp_proto::attr::Origin;
use bgp_proto::{Asn, AttrSet, Family, NextHop, Nlri, PathId, Prefix, WireContext};
use core::net::{IpAddr, Ipv4Addr};

use super::{Group, GroupKey, LogKey, LongLivedRule, NextHopRule, PolicyChoice, Sealed, Store, TunnelScope};
use crate::feed::Cursor;
use crate::ids::{GroupId, PeerId};
use crate::limits::TOMBSTONES_MAX;
use crate::reflection::PeerKind;
use crate::rib::{AttrTable, Rib};

const ROUND: u32 = 20_000;

#[test]
fn a_peer_that_never_reads_is_given_up_before_the_log_outgrows_its_bound() {
    let family = Family::IPV4_UNICAST;
    let key = GroupKey {
        family,
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
    let (mut attrs, mut rib) = (AttrTable::default(), Rib::new(family));
    let mut group = Group::new(GroupId(1), key);
    let feed = |group: &mut Group, peer, attrs: &mut AttrTable, rib: &mut Rib| {
        group.join(PeerId(peer), &mut Store { attrs, rib })
    };
    let _deaf = feed(&mut group, 1, &mut attrs, &mut rib);
    let reading = feed(&mut group, 2, &mut attrs, &mut rib);
    let mut cursor = Cursor::new(PeerId(2), &reading);
    let mut told = AttrSet::builder(NextHop::from(Ipv4Addr::new(192, 0, 2, 1)));
    let told = told.origin(Origin::Igp).as_path(&[]).build();
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
